//! The layers by their definition in `shared/NUMERICS.md`: plain loops, the oracle of the kernels on packed rows.
//! Without an allocator, so that a chip can run it too.
#![allow(dead_code, clippy::too_many_arguments)]

use eigenlet_runtime::kernels::{Range, Slide};
use eigenlet_shared::numerics::{Output, Scale, Sum, doubling_high_multiply, rounding_shift_right};

/// Pseudo-random numbers: xorshift, the same on every machine.
pub struct Random(pub u32);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(bound)) >> 32) as u32
    }

    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below((high - low + 1) as u32) as usize
    }
}

/// How values are drawn.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    Any,
    /// All the highest, all the lowest, or both by turns.
    High,
    Low,
    Alternating,
}

impl Values {
    pub const ALL: [Self; 4] = [Self::Any, Self::High, Self::Low, Self::Alternating];

    /// Fills with values of `low..=127`.
    pub fn fill(self, low: i8, random: &mut Random, to: &mut [i8]) {
        for (at, to) in to.iter_mut().enumerate() {
            *to = match self {
                Self::Any => (random.next() >> 24) as i8,
                Self::High => 127,
                Self::Low => -128,
                Self::Alternating => [127, -128][at % 2],
            };
            *to = (*to).max(low);
        }
    }
}

/// A requantisation after which most sums of some thousand still differ.
pub fn any_scale(random: &mut Random, zero_point: i8) -> Scale {
    let multiplier = (1 << 30) | (random.next() >> 2) as i32;
    Scale::new(if random.below(16) == 0 { 0 } else { multiplier }, random.between(1, 22) as i32, zero_point)
}

pub fn requantised(sum: i32, scale: &Scale, range: Range) -> i8 {
    // By the definition, not by the folded constants.
    let zero_point = (((scale.addend >> (scale.shift - 1)) - 1) / 2) as i8;
    let value =
        rounding_shift_right(doubling_high_multiply(sum, scale.multiplier), scale.shift) + i32::from(zero_point);
    value.clamp(range.minimum.into(), range.maximum.into()) as i8
}

/// `weights` are `[rows][columns]`.
pub fn sum(weights: &[i8], columns: usize, biases: &[i32], row: usize, x: &[i8]) -> i32 {
    let mut sum = biases[row];
    for column in 0..columns {
        sum = sum.wrapping_add(i32::from(weights[row * columns + column]) * i32::from(x[column]));
    }
    sum
}

/// The sum of two values.
pub fn sum_of_two(sum: &Sum, grid: Output, input: i8, other: i8) -> i8 {
    let scaled = |value: i32, multiplier: i32, shift: i32| {
        rounding_shift_right(doubling_high_multiply(value, multiplier), shift)
    };
    let operand = |value: i8, at: usize| {
        let above_zero = (i32::from(value) - sum.zero_points[at]) * (1 << 20);
        scaled(above_zero, sum.multipliers[at], sum.shifts[at])
    };
    // Factors so large that this wraps belong to no two images.
    let total =
        scaled(operand(input, 0).wrapping_add(operand(other, 1)), sum.multiplier, sum.shift) + grid.zero_point as i32;
    total.max(grid.minimum.into()).min(grid.maximum.into()) as i8
}

/// What the window's tap sees; `None` on padding.
pub fn seen(slide: &Slide, input: &[i8], at: [usize; 2], [y, x]: [usize; 2], channel: usize) -> Option<i8> {
    let row = (at[0] * usize::from(slide.window.stride[0]) + y).checked_sub(slide.window.padding[0].into())?;
    let column = (at[1] * usize::from(slide.window.stride[1]) + x).checked_sub(slide.window.padding[1].into())?;
    let shape = slide.input;
    (row < shape.height && column < shape.width).then(|| input[(row * shape.width + column) * shape.channels + channel])
}

/// One output of a convolution; `weights` are `[outputs][kernel height][kernel width][channels]`.
pub fn conv2d(
    weights: &[i8],
    biases: &[i32],
    scales: &[Scale],
    slide: &Slide,
    range: Range,
    input: &[i8],
    at: [usize; 3],
) -> i8 {
    let [height, width] = slide.window.kernel.map(usize::from);
    let [out_y, out_x, row] = at;
    let mut sum = biases[row];
    let mut weights = weights[row * height * width * slide.input.channels..].iter();
    for y in 0..height {
        for x in 0..width {
            for channel in 0..slide.input.channels {
                let value = seen(slide, input, [out_y, out_x], [y, x], channel).unwrap_or(slide.zero_point);
                sum = sum.wrapping_add(i32::from(*weights.next().unwrap()) * i32::from(value));
            }
        }
    }
    requantised(sum, &scales[row], range)
}

/// One output of a depthwise convolution; `weights` are `[kernel height][kernel width][channels]`.
pub fn depthwise_conv2d(
    weights: &[i8],
    biases: &[i32],
    scales: &[Scale],
    slide: &Slide,
    range: Range,
    input: &[i8],
    at: [usize; 3],
) -> i8 {
    let [height, width] = slide.window.kernel.map(usize::from);
    let [out_y, out_x, channel] = at;
    let mut sum = biases[channel];
    for y in 0..height {
        for x in 0..width {
            let value = seen(slide, input, [out_y, out_x], [y, x], channel).unwrap_or(slide.zero_point);
            let weight = weights[(y * width + x) * slide.input.channels + channel];
            sum = sum.wrapping_add(i32::from(weight) * i32::from(value));
        }
    }
    requantised(sum, &scales[channel], range)
}

/// One output of pooling: the largest value, and the mean.
pub fn pool2d(slide: &Slide, input: &[i8], at: [usize; 3]) -> [i8; 2] {
    let [height, width] = slide.window.kernel.map(usize::from);
    let [out_y, out_x, channel] = at;
    let (mut largest, mut sum, mut count) = (i8::MIN, 0i32, 0i32);
    for y in 0..height {
        for x in 0..width {
            if let Some(value) = seen(slide, input, [out_y, out_x], [y, x], channel) {
                largest = largest.max(value);
                sum += i32::from(value);
                count += 1;
            }
        }
    }
    let magnitude = (2 * sum.abs() + count) / (2 * count);
    [largest, (magnitude * sum.signum()) as i8]
}
