//! The layers of `NUMERICS.md` as naive loops, on the constants that a TensorFlow Lite model has in `int8.v1`.

use eigenlet_shared::numerics::{ACCUMULATOR_BOUND, Scale, doubling_high_multiply, rounding_shift_right};

use crate::vectors::{Activation, Case, Grid, Operator};

/// A real factor as TensorFlow Lite's `QuantizeMultiplier` makes it an integer: `multiplier / 2^31 / 2^shift`, the
/// significand to the nearest, halves away from zero. A shift below 0 is one to the left.
pub fn quantised_multiplier(real: f64) -> (i32, i32) {
    assert!(real == 0.0 || real.is_normal() && real > 0.0, "{real}");
    if real == 0.0 {
        return (0, 0);
    }
    // `frexp`: a significand of a half to one, and its exponent.
    let exponent = (real.to_bits() >> 52) as i32 - 1022;
    let significand = f64::from_bits(real.to_bits() & ((1 << 52) - 1) | 1022 << 52);
    let (mut multiplier, mut exponent) = ((significand * 2f64.powi(31)).round() as i64, exponent);
    if multiplier == 1 << 31 {
        (multiplier, exponent) = (1 << 30, exponent + 1);
    }
    if exponent < -31 {
        return (0, 0);
    }
    (multiplier as i32, -exponent)
}

/// The int8 values that an activation lets through: TensorFlow Lite places zero and six on the output's grid, in `f32`.
pub fn range(activation: Activation, grid: Grid) -> [i8; 2] {
    let place = |real: f32| i32::from(grid.zero_point) + (real / grid.scale).round() as i32;
    match activation {
        Activation::None => [i8::MIN, i8::MAX],
        Activation::Relu => [grid.zero_point, i8::MAX],
        Activation::Relu6 => [grid.zero_point, place(6.0).min(127) as i8],
    }
}

/// Padding at the top, the left, the bottom and the right, as a window of `int8.v1` has it. TensorFlow Lite's `SAME` puts the odd
/// one at the end.
pub fn padding(case: &Case) -> [usize; 4] {
    let side = |side: usize| {
        let [size, output] = [case.input_shape[side], case.output_shape[side]];
        let [kernel, stride] = [case.kernel[side], case.stride[side]];
        let whole = if case.is_same { ((output - 1) * stride + kernel).saturating_sub(size) } else { 0 };
        let (before, after) = (whole / 2, whole - whole / 2);
        assert!(before < kernel && after < kernel, "{case:?}");
        assert_eq!((size + before + after - kernel) / stride + 1, output, "{case:?}");
        (before, after)
    };
    let ((top, bottom), (left, right)) = (side(0), side(1));
    [top, left, bottom, right]
}

/// What the accumulators of a layer need to become its outputs.
pub struct Rows {
    /// Each output channel's, with `-zero_point * sum(weights)` folded in.
    pub biases: Vec<i32>,
    pub scales: Vec<Scale>,
    /// The real factors, for whoever multiplies by them in floating point.
    pub factors: Vec<f64>,
}

impl Rows {
    pub fn of(case: &Case) -> Self {
        let zero_point = i32::from(case.input_grid.zero_point);
        let outputs = case.biases.len();
        let is_depthwise = case.operator == Operator::Depthwise;
        let row = |channel: usize| -> Vec<i32> {
            let taps = case.weights.len() / outputs;
            let at = |tap: usize| if is_depthwise { tap * outputs + channel } else { channel * taps + tap };
            (0..taps).map(|tap| case.weights[at(tap)].into()).collect()
        };
        let biases = (0..outputs).map(|channel| {
            let row = row(channel);
            let bias = case.biases[channel] - zero_point * row.iter().sum::<i32>();
            let magnitude: i64 = row.iter().map(|&weight| i64::from(weight).abs()).sum();
            assert!(i64::from(bias).abs() + 128 * magnitude < ACCUMULATOR_BOUND, "{case:?}");
            bias
        });
        // In this order, and in 64 bits: as `PopulateConvolutionQuantizationParams` does.
        let factor =
            |scale: f32| f64::from(case.input_grid.scale) * f64::from(scale) / f64::from(case.output_grid.scale);
        let factors: Vec<f64> =
            (0..outputs).map(|channel| factor(case.weight_scales[channel % case.weight_scales.len()])).collect();
        let scales = factors.iter().map(|&factor| scale(factor, case.output_grid.zero_point)).collect();
        Self { biases: biases.collect(), scales, factors }
    }

    /// The same for a `FULLY_CONNECTED` layer with one scale for all rows, in kernels that multiply by an integer: its
    /// factor comes from a product that is rounded to `f32` (`GetQuantizedConvolutionMultipler`).
    pub fn of_fully_connected(case: &Case) -> Self {
        let mut rows = Self::of(case);
        if let [weight_scale] = case.weight_scales[..] {
            let factor = f64::from(case.input_grid.scale * weight_scale) / f64::from(case.output_grid.scale);
            rows.factors.fill(factor);
            rows.scales.fill(scale(factor, case.output_grid.zero_point));
        }
        rows
    }
}

fn scale(factor: f64, zero_point: i8) -> Scale {
    let (multiplier, shift) = quantised_multiplier(factor);
    let scale = Scale::new(multiplier, shift, zero_point);
    assert!(scale.is_lawful(zero_point), "a factor of {factor}");
    scale
}

/// The constants of `ADD`, as TensorFlow Lite computes them: both operands, shifted left by 20 bits, come to a grid of twice the
/// coarser scale, and their sum to the output's.
pub struct Sum {
    /// Multiplier and shift of each operand.
    operands: [(i32, i32); 2],
    /// The same of the sum.
    output: (i32, i32),
}

impl Sum {
    const LEFT_SHIFT: i32 = 20;

    pub fn of(case: &Case) -> Self {
        let [input, other, output] =
            [case.input_grid, case.other_grid, case.output_grid].map(|grid| f64::from(grid.scale));
        let common = 2.0 * input.max(other);
        Self {
            operands: [input / common, other / common].map(quantised_multiplier),
            output: quantised_multiplier(common / (f64::from(1 << Self::LEFT_SHIFT) * output)),
        }
    }

    /// The sum of two values from which their zero points are taken, on the output's grid without its zero point.
    pub fn output(&self, operands: [i32; 2]) -> i32 {
        let scaled = |value: i32, (multiplier, shift): (i32, i32)| {
            rounding_shift_right(doubling_high_multiply(value, multiplier), shift)
        };
        let [input, other] = [0, 1].map(|side| scaled(operands[side] << Self::LEFT_SHIFT, self.operands[side]));
        scaled(input + other, self.output)
    }
}

/// A layer's outputs for all samples, by this project's arithmetic.
pub fn outputs(case: &Case) -> Vec<i8> {
    let [minimum, maximum] = range(case.activation, case.output_grid);
    match case.operator {
        Operator::Add => {
            let sum = Sum::of(case);
            let pairs = case.input.iter().zip(&case.other);
            pairs
                .map(|(&input, &other)| {
                    let operands = [(input, case.input_grid), (other, case.other_grid)]
                        .map(|(value, grid)| i32::from(value) - i32::from(grid.zero_point));
                    let value = sum.output(operands) + i32::from(case.output_grid.zero_point);
                    value.clamp(minimum.into(), maximum.into()) as i8
                })
                .collect()
        }
        Operator::MaxPool => {
            windows(case, |channel, pixels| pixels.iter().flatten().map(|pixel| pixel[channel]).max().unwrap())
        }
        Operator::AveragePool => windows(case, |channel, pixels| {
            let sum: i32 = pixels.iter().flatten().map(|pixel| i32::from(pixel[channel])).sum();
            let count = pixels.iter().flatten().count() as i32;
            // To the nearest, halves away from zero.
            ((2 * sum.abs() + count) / (2 * count) * sum.signum()) as i8
        }),
        _ => {
            let rows = Rows::of(case);
            accumulators(case, &rows)
                .into_iter()
                .enumerate()
                .map(|(at, acc)| rows.scales[at % rows.scales.len()].output(acc).clamp(minimum, maximum))
                .collect()
        }
    }
}

/// The accumulators of a layer with weights; a tap outside the image counts as the input's zero point.
pub fn accumulators(case: &Case, rows: &Rows) -> Vec<i32> {
    let outputs = rows.biases.len();
    let outside = vec![case.input_grid.zero_point; case.input_shape[2]];
    let product = |(&weight, &value): (&i8, &i8)| i32::from(weight) * i32::from(value);
    windows(case, |channel, pixels| {
        let pixels = pixels.iter().map(|pixel| pixel.unwrap_or(&outside));
        let sum: i32 = match case.operator {
            Operator::Depthwise => {
                let row = case.weights[channel..].iter().step_by(outputs);
                row.zip(pixels.map(|pixel| &pixel[channel])).map(product).sum()
            }
            _ => {
                let taps = case.weights.len() / outputs;
                case.weights[channel * taps..][..taps].iter().zip(pixels.flatten()).map(product).sum()
            }
        };
        rows.biases[channel] + sum
    })
}

/// Calls `value` for every output: with its channel, and with the pixels that it sees, row by row; none where it sees padding.
fn windows<T>(case: &Case, value: impl Fn(usize, &[Option<&[i8]>]) -> T) -> Vec<T> {
    let [height, width, channels] = case.input_shape;
    let [top, left, ..] = padding(case);
    assert_eq!(case.input.len(), case.samples * height * width * channels, "{case:?}");
    let mut values = Vec::new();
    for sample in case.input.chunks_exact(height * width * channels) {
        for line in 0..case.output_shape[0] {
            for column in 0..case.output_shape[1] {
                let mut pixels = Vec::new();
                for y in 0..case.kernel[0] {
                    for x in 0..case.kernel[1] {
                        let row = (line * case.stride[0] + y).checked_sub(top).filter(|row| *row < height);
                        let at = (column * case.stride[1] + x).checked_sub(left).filter(|at| *at < width);
                        pixels.push(row.zip(at).map(|(row, at)| &sample[(row * width + at) * channels..][..channels]));
                    }
                }
                values.extend((0..case.output_shape[2]).map(|channel| value(channel, &pixels)));
            }
        }
    }
    values
}
