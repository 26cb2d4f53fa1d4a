//! The layers by their definition in `NUMERICS.md`: plain loops.
//!
//! Biases hold `-zero_point * sum(weights)` already, so the kernels multiply activations as they lie, and a tap on padding
//! adds its weight times the zero point, which stands for a real 0. Arithmetic wraps: an exporter proves that no
//! accumulator leaves 31 bits, and a faulty model must not stop a chip.

use core::num::NonZeroU32;

use eigenlet_shared::description::Window;

use crate::geometry::Shape;
use crate::step::{Step, Weighted};

/// `sum(weights * inputs)`.
pub(crate) fn dot(weights: &[i8], inputs: &[i8]) -> i32 {
    let products = weights.iter().zip(inputs).map(|(w, x)| product(*w, *x));
    products.fold(0, i32::wrapping_add)
}

pub(super) fn dense(table: &Weighted, input: &[i8], output: &mut [i8]) {
    let rows = table.weights.chunks_exact(input.len().max(1));
    for ((to, row), channel) in output.iter_mut().zip(rows).zip(table.channels) {
        let sum = dot(row, input).wrapping_add(channel.bias);
        *to = channel.output(sum, table.output);
    }
}

pub(super) fn conv2d(step: &Step, window: &Window, table: &Weighted, input: &[i8], output: &mut [i8]) {
    let taps = Taps { window, input, shape: step.input };
    let channels = step.input.channels.max(1);
    let [height, width] = window.kernel.map(usize::from);
    let filter = height.wrapping_mul(width).wrapping_mul(channels);
    for (pixel, at) in pixels(output, step.output) {
        let filters = table.weights.chunks_exact(filter.max(1));
        for ((to, filter), channel) in pixel.iter_mut().zip(filters).zip(table.channels) {
            let weights = filter.chunks_exact(channels);
            let sum = weights.zip(taps.at(at)).fold(channel.bias, |sum, (weights, tap)| {
                sum.wrapping_add(match tap {
                    Some(inputs) => dot(weights, inputs),
                    None => padding(weights, step.zero_point),
                })
            });
            *to = channel.output(sum, table.output);
        }
    }
}

pub(super) fn depthwise_conv2d(step: &Step, window: &Window, table: &Weighted, input: &[i8], output: &mut [i8]) {
    let taps = Taps { window, input, shape: step.input };
    let channels = step.input.channels.max(1);
    for (pixel, at) in pixels(output, step.output) {
        for (index, (to, channel)) in pixel.iter_mut().zip(table.channels).enumerate() {
            let weights = table.weights.iter().skip(index).step_by(channels);
            let sum = weights.zip(taps.at(at)).fold(channel.bias, |sum, (weight, tap)| {
                let input = tap.and_then(|inputs| inputs.get(index));
                sum.wrapping_add(product(*weight, *input.unwrap_or(&step.zero_point)))
            });
            *to = channel.output(sum, table.output);
        }
    }
}

pub(super) fn max_pool2d(step: &Step, window: &Window, input: &[i8], output: &mut [i8]) {
    let taps = Taps { window, input, shape: step.input };
    for (pixel, at) in pixels(output, step.output) {
        pixel.fill(i8::MIN);
        for inputs in taps.at(at).flatten() {
            for (to, input) in pixel.iter_mut().zip(inputs) {
                *to = (*to).max(*input);
            }
        }
    }
}

pub(super) fn average_pool2d(step: &Step, window: &Window, input: &[i8], output: &mut [i8]) {
    let taps = Taps { window, input, shape: step.input };
    for (pixel, at) in pixels(output, step.output) {
        for (index, to) in pixel.iter_mut().enumerate() {
            let inputs = taps.at(at).flatten().filter_map(|inputs| inputs.get(index));
            let (sum, count) = inputs
                .fold((0i32, 0u32), |(sum, count), input| (sum.wrapping_add((*input).into()), count.wrapping_add(1)));
            *to = mean(sum, count);
        }
    }
}

/// `sum / count`, halves away from zero.
fn mean(sum: i32, count: u32) -> i8 {
    let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let magnitude = sum.unsigned_abs().wrapping_add(count.get() / 2) / count;
    (magnitude as i32).wrapping_mul(sum.signum()) as i8
}

fn product(weight: i8, input: i8) -> i32 {
    i32::from(weight).wrapping_mul(input.into())
}

fn padding(weights: &[i8], zero_point: i8) -> i32 {
    let products = weights.iter().map(|weight| product(*weight, zero_point));
    products.fold(0, i32::wrapping_add)
}

/// The pixels of an output, each with its row and column.
fn pixels(output: &mut [i8], shape: Shape) -> impl Iterator<Item = (&mut [i8], (usize, usize))> {
    let positions = (0..shape.height).flat_map(move |row| (0..shape.width).map(move |column| (row, column)));
    output.chunks_exact_mut(shape.channels.max(1)).zip(positions)
}

/// What a window sees of an input.
struct Taps<'a> {
    window: &'a Window,
    input: &'a [i8],
    shape: Shape,
}

impl<'a> Taps<'a> {
    /// The input's pixels under the window at an output's row and column, in the order of a filter; `None` on padding.
    fn at(&self, (row, column): (usize, usize)) -> impl Iterator<Item = Option<&'a [i8]>> {
        let [height, width] = self.window.kernel.map(usize::from);
        let [down, right] = self.window.stride.map(usize::from);
        let [top, left, _, _] = self.window.padding.map(usize::from);
        let (row, column) = (row.wrapping_mul(down), column.wrapping_mul(right));
        (0..height).flat_map(move |y| {
            let y = row.wrapping_add(y).checked_sub(top);
            (0..width).map(move |x| {
                let x = column.wrapping_add(x).checked_sub(left);
                self.pixel(y?, x?)
            })
        })
    }

    fn pixel(&self, row: usize, column: usize) -> Option<&'a [i8]> {
        if column >= self.shape.width {
            return None;
        }
        let pixel = row.wrapping_mul(self.shape.width).wrapping_add(column);
        let start = pixel.wrapping_mul(self.shape.channels);
        self.input.get(start..)?.get(..self.shape.channels)
    }
}
