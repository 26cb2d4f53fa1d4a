//! The layers by their definition in `NUMERICS.md`: plain loops.
//!
//! Biases hold `-zero_point * sum(weights)` already, so the kernels multiply activations as they lie, and a tap on padding
//! adds its weight times the zero point, which stands for a real 0. Arithmetic wraps: an exporter proves that no
//! accumulator leaves 31 bits, and a faulty model must not stop a chip.

use core::num::NonZeroU32;

use eigenlet_shared::description::Window;
use eigenlet_shared::numerics::{Channel, Output};

use crate::geometry::Shape;
use crate::step::{Step, Weighted};

/// `sum(weights * inputs)`. One copy of the loop for all layers: small before fast, here.
#[inline(never)]
pub(crate) fn dot(weights: &[i8], inputs: &[i8]) -> i32 {
    let products = weights.iter().zip(inputs).map(|(w, x)| product(*w, *x));
    products.fold(0, i32::wrapping_add)
}

/// An accumulator's output. One copy, as for `dot`.
#[inline(never)]
pub(crate) fn finish(channel: &Channel, sum: i32, output: Output) -> i8 {
    channel.output(sum, output)
}

pub(super) fn dense(table: &Weighted, input: &[i8], output: &mut [i8]) {
    rows(table, input.len(), output, &|row| dot(row, input));
}

/// A dense layer over `inputs` values that are 1 at the `indices` and 0 elsewhere.
pub(crate) fn dense_at(table: &Weighted, inputs: usize, indices: &[u16], output: &mut [i8]) {
    rows(table, inputs, output, &|row| {
        let weights = indices.iter().filter_map(|index| row.get(usize::from(*index)));
        weights.fold(0, |sum, weight| sum.wrapping_add((*weight).into()))
    });
}

/// The outputs of a dense layer over `inputs` values, given what a row of weights sums up to.
// One copy, as for `dot`.
#[inline(never)]
fn rows(table: &Weighted, inputs: usize, output: &mut [i8], sum: &dyn Fn(&[i8]) -> i32) {
    let rows = table.weights.chunks_exact(inputs.max(1));
    for ((to, row), channel) in output.iter_mut().zip(rows).zip(table.channels) {
        *to = finish(channel, sum(row).wrapping_add(channel.bias), table.output);
    }
}

pub(super) fn conv2d(step: &Step, window: &Window, table: &Weighted, input: &[i8], output: &mut [i8]) {
    let channels = step.input.channels;
    let [height, width] = window.kernel.map(usize::from);
    let filter = height.wrapping_mul(width).wrapping_mul(channels);
    slide(step, window, input, output, &mut |pixel, taps| {
        let filters = table.weights.chunks_exact(filter.max(1));
        for ((to, filter), channel) in pixel.iter_mut().zip(filters).zip(table.channels) {
            let mut sum = channel.bias;
            for (weights, tap) in filter.chunks_exact(channels.max(1)).zip(taps) {
                sum = sum.wrapping_add(match tap {
                    Some(inputs) => dot(weights, inputs),
                    None => padding(weights, step.zero_point),
                });
            }
            *to = finish(channel, sum, table.output);
        }
    });
}

pub(super) fn depthwise_conv2d(step: &Step, window: &Window, table: &Weighted, input: &[i8], output: &mut [i8]) {
    let channels = step.input.channels;
    slide(step, window, input, output, &mut |pixel, taps| {
        for (index, (to, channel)) in pixel.iter_mut().zip(table.channels).enumerate() {
            let mut sum = channel.bias;
            for (weights, tap) in table.weights.chunks_exact(channels.max(1)).zip(taps) {
                let input = tap.and_then(|inputs| inputs.get(index));
                let weight = weights.get(index).unwrap_or(&0);
                sum = sum.wrapping_add(product(*weight, *input.unwrap_or(&step.zero_point)));
            }
            *to = finish(channel, sum, table.output);
        }
    });
}

pub(super) fn max_pool2d(step: &Step, window: &Window, input: &[i8], output: &mut [i8]) {
    slide(step, window, input, output, &mut |pixel, taps| {
        // The first pixel's values come as they are: filling the output before would call a memset, which is more code.
        let mut is_first = true;
        for inputs in taps.flatten() {
            for (to, input) in pixel.iter_mut().zip(inputs) {
                *to = if is_first { *input } else { (*to).max(*input) };
            }
            is_first = false;
        }
    });
}

pub(super) fn average_pool2d(step: &Step, window: &Window, input: &[i8], output: &mut [i8]) {
    slide(step, window, input, output, &mut |pixel, taps| {
        for (index, to) in pixel.iter_mut().enumerate() {
            let (mut sum, mut count) = (0i32, 0u32);
            for input in taps.flatten().filter_map(|inputs| inputs.get(index)) {
                sum = sum.wrapping_add((*input).into());
                count = count.wrapping_add(1);
            }
            *to = mean(sum, count);
        }
    });
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

/// Calls `fill` for every pixel of the output with what the window sees there.
// One copy, as for `dot`.
#[inline(never)]
fn slide(step: &Step, window: &Window, input: &[i8], output: &mut [i8], fill: &mut dyn FnMut(&mut [i8], Taps)) {
    let [down, right] = window.stride.map(usize::from);
    let (mut row, mut column) = (0usize, 0usize);
    for pixel in output.chunks_exact_mut(step.output.channels.max(1)) {
        let (top, left) = (row.wrapping_mul(down), column.wrapping_mul(right));
        fill(pixel, Taps { window, input, shape: step.input, top, left, y: 0, x: 0 });
        column = column.wrapping_add(1);
        if column == step.output.width {
            (row, column) = (row.wrapping_add(1), 0);
        }
    }
}

/// The input's pixels under a window, in the order of a filter's taps; `None` on padding.
#[derive(Clone, Copy)]
struct Taps<'a> {
    window: &'a Window,
    input: &'a [i8],
    shape: Shape,
    /// The window's corner in the padded input.
    top: usize,
    left: usize,
    /// The next tap.
    y: usize,
    x: usize,
}

impl<'a> Iterator for Taps<'a> {
    type Item = Option<&'a [i8]>;

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        let [height, width] = self.window.kernel.map(usize::from);
        if self.y >= height {
            return None;
        }
        let tap = self.pixel();
        self.x = self.x.wrapping_add(1);
        if self.x == width {
            (self.y, self.x) = (self.y.wrapping_add(1), 0);
        }
        Some(tap)
    }
}

impl<'a> Taps<'a> {
    fn pixel(&self) -> Option<&'a [i8]> {
        let [top, left, _, _] = self.window.padding.map(usize::from);
        let row = self.top.wrapping_add(self.y).checked_sub(top)?;
        let column = self.left.wrapping_add(self.x).checked_sub(left)?;
        if column >= self.shape.width {
            return None;
        }
        let pixel = row.wrapping_mul(self.shape.width).wrapping_add(column);
        let start = pixel.wrapping_mul(self.shape.channels);
        self.input.get(start..)?.get(..self.shape.channels)
    }
}
