//! The same layers by the runtime's kernels.

use eigenlet_runtime::Shape;
use eigenlet_runtime::kernels::{self, Range, Rows, Slide};
use eigenlet_shared::description::Window;
use eigenlet_shared::numerics::{self, Output, Scale};
use eigenlet_shared::packed::{filter_patch_words, filter_words, pack, pack_filters, patch_words, quad_words};

use crate::layers::{self, padding, quantised_multiplier, range};
use crate::vectors::{Case, Operator};

/// A layer's outputs for all samples.
pub fn outputs(case: &Case) -> Vec<i8> {
    let [minimum, maximum] = range(case.activation, case.output_grid);
    if case.operator == Operator::Add {
        let mut output = case.input.clone();
        let grid = Output { zero_point: case.output_grid.zero_point, minimum, maximum };
        kernels::add(&sum(case), grid, &case.other, &mut output);
        return output;
    }
    let shape = |[height, width, channels]: [usize; 3]| Shape::new(height, width, channels).unwrap();
    let window = Window {
        kernel: case.kernel.map(|side| side as u8),
        stride: case.stride.map(|step| step as u8),
        padding: padding(case).map(|side| side as u8),
    };
    let (input, output) = (shape(case.input_shape), shape(case.output_shape));
    let slide = Slide { input, output, window: &window, zero_point: case.input_grid.zero_point };
    let (range, lines) = (Range { minimum, maximum }, 0..output.height);
    let has_weights = !matches!(case.operator, Operator::MaxPool | Operator::AveragePool);
    let constants = has_weights.then(|| layers::Rows::of(case));
    let columns = case.weights.len() / case.biases.len().max(1);
    let words = match case.operator {
        Operator::MaxPool | Operator::AveragePool => Vec::new(),
        Operator::Depthwise => pack_filters(&case.weights, input.channels),
        _ => pack(&case.weights, columns),
    };
    let scratch_words = match case.operator {
        Operator::Depthwise => filter_patch_words(&window, input.channels),
        _ => patch_words(&window, input.channels),
    };
    let mut scratch = vec![0; scratch_words];
    // Constants for whole quads.
    let padded = |rows: usize| (0..rows.next_multiple_of(4)).map(move |row| row.min(rows - 1));
    let (biases, scales): (Vec<i32>, Vec<Scale>) = match &constants {
        Some(layers::Rows { biases, scales, .. }) => padded(biases.len()).map(|row| (biases[row], scales[row])).unzip(),
        None => Default::default(),
    };
    let quad = if case.operator == Operator::Depthwise { filter_words(columns) } else { quad_words(columns) };
    let rows = Rows::new(&words, &biases, &scales, case.biases.len(), quad).unwrap();
    let mut outputs = Vec::new();
    for sample in case.input.chunks_exact(input.len()) {
        let mut found = vec![0; output.len()];
        match (case.operator, &constants) {
            (Operator::MaxPool, _) => kernels::max_pool2d(&slide, lines.clone(), sample, &mut found),
            (Operator::AveragePool, _) => kernels::average_pool2d(&slide, lines.clone(), sample, &mut found),
            (operator, Some(_)) => {
                if operator == Operator::Depthwise {
                    kernels::depthwise_conv2d(&rows, &slide, range, lines.clone(), sample, &mut scratch, &mut found);
                } else {
                    kernels::conv2d(&rows, &slide, range, lines.clone(), sample, &mut scratch, &mut found);
                }
            }
            (_, None) => unreachable!("what is no pool has weights"),
        }
        outputs.extend(found);
    }
    outputs
}

fn sum(case: &Case) -> numerics::Sum {
    let [input, other, output] = [case.input_grid, case.other_grid, case.output_grid].map(|grid| f64::from(grid.scale));
    let common = 2.0 * input.max(other);
    let [first, second] = [input / common, other / common].map(quantised_multiplier);
    let (multiplier, shift) = quantised_multiplier(common / (f64::from(1 << numerics::Sum::LEFT_SHIFT) * output));
    let sum = numerics::Sum {
        zero_points: [case.input_grid.zero_point.into(), case.other_grid.zero_point.into()],
        multipliers: [first.0, second.0],
        shifts: [first.1, second.1],
        multiplier,
        shift,
    };
    assert!(sum.is_lawful(), "{case:?}");
    sum
}
