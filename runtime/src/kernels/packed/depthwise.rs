//! Depthwise convolution: each channel has a filter of its own.

use core::ops::Range as Lines;

use eigenlet_shared::numerics::Scale;

use super::window::{Corners, Seen, outputs_of};
use super::{Range, Slide, engine, finish};

/// Channels whose sums are kept in registers together.
const BLOCK: usize = 4;

/// A depthwise convolution: the output's `lines`. Weights lie `[kernel height][kernel width][channels]`, as bytes; biases and scales,
/// one a channel.
#[allow(clippy::too_many_arguments)]
#[inline(never)]
pub fn depthwise_conv2d(
    weights: &[i8],
    biases: &[i32],
    scales: &[Scale],
    slide: &Slide,
    range: Range,
    lines: Lines<usize>,
    input: &[i8],
    output: &mut [i8],
) {
    let mut corners = Corners::new(slide, &lines);
    let output = outputs_of(slide, &lines, output);
    let channels = slide.output.channels.max(1);
    for pixel in output.chunks_exact_mut(channels) {
        let window = Window::new(slide, Seen::new(slide, corners.next()), weights, input);
        let mut channel = if window.is_inside { window.in_one_go(biases, scales, pixel) } else { 0 };
        while channel < channels {
            // The last block may have some channels of the one before again.
            channel = channel.min(channels.saturating_sub(BLOCK));
            let mut sums = [0; BLOCK];
            for (sum, bias) in sums.iter_mut().zip(biases.get(channel..).unwrap_or_default()) {
                *sum = *bias;
            }
            if window.is_inside && !engine::IS_DEPTHWISE && channels >= BLOCK {
                window.add_inside(channel, &mut sums);
            } else {
                window.add(channel, &mut sums);
            }
            let to = pixel.get_mut(channel..).unwrap_or_default();
            finish(&sums, scales.get(channel..).unwrap_or_default(), to);
            channel = channel.wrapping_add(BLOCK);
        }
    }
    range.clamp(output);
}

/// A window's taps, and which of them lie in the image.
struct Window<'a> {
    weights: &'a [i8],
    /// The image from the first pixel on that the window sees.
    input: &'a [i8],
    seen: Seen,
    channels: usize,
    zero_point: i8,
    /// Rows and columns of the window.
    height: usize,
    width: usize,
    is_inside: bool,
}

impl<'a> Window<'a> {
    #[inline(always)]
    fn new(slide: &Slide, seen: Seen, weights: &'a [i8], input: &'a [i8]) -> Self {
        let [height, width] = slide.window.kernel;
        let (height, width) = (usize::from(height), usize::from(width));
        Self {
            weights,
            input: input.get(seen.first..).unwrap_or_default(),
            seen,
            channels: slide.input.channels,
            zero_point: slide.zero_point,
            height,
            width,
            is_inside: seen.rows == height && seen.columns == width,
        }
    }

    /// The outputs of the first channels, as many as the engine does at once; all of int8.
    #[inline(always)]
    fn in_one_go(&self, biases: &[i32], scales: &[Scale], pixel: &mut [i8]) -> usize {
        if pixel.len() != self.channels {
            return 0;
        }
        engine::depthwise(self.weights, biases, scales, [self.height, self.width, self.seen.line], self.input, pixel)
    }

    /// Adds what the window sees of a block of channels from `channel` on, where all of it lies in the image.
    #[inline(never)]
    fn add_inside(&self, channel: usize, sums: &mut [i32; BLOCK]) {
        let mut input = self.input.get(channel..).unwrap_or_default();
        let mut weights = self.weights.get(channel..).unwrap_or_default();
        let row = self.width.wrapping_mul(self.channels);
        // From the first tap of a row to the end of its last.
        let length = row.wrapping_sub(self.channels).wrapping_add(BLOCK);
        for _ in 0..self.height {
            let (Some(inputs), Some(of_row)) = (input.get(..length), weights.get(..length)) else { break };
            let mut at = 0usize;
            while let (Some(these), Some(values)) = (part(of_row, at), part(inputs, at)) {
                add(sums, these, values);
                at = at.wrapping_add(self.channels);
            }
            input = input.get(self.seen.line..).unwrap_or_default();
            weights = weights.get(row..).unwrap_or_default();
        }
    }

    /// Adds what the window sees of a block of channels from `channel` on; what it sees outside the image is the zero point.
    #[inline(never)]
    fn add(&self, channel: usize, sums: &mut [i32; BLOCK]) {
        let Seen { rows, columns, above, before, line, .. } = self.seen;
        let mut weights = self.weights.get(channel..).unwrap_or_default();
        let mut input = self.input.get(channel..).unwrap_or_default();
        let padding = [self.zero_point; BLOCK];
        for y in 0..self.height {
            let is_row = y.wrapping_sub(above) < rows;
            let mut values = input;
            for x in 0..self.width {
                if is_row && x.wrapping_sub(before) < columns {
                    add_tap(sums, weights, values);
                    values = values.get(self.channels..).unwrap_or_default();
                } else {
                    add_tap(sums, weights, &padding);
                }
                weights = weights.get(self.channels..).unwrap_or_default();
            }
            if is_row {
                input = input.get(line..).unwrap_or_default();
            }
        }
    }
}

/// Adds a tap of a block, of which some channels may be missing.
// A call for each tap would take as long as the tap.
#[inline(always)]
fn add_tap(sums: &mut [i32; BLOCK], weights: &[i8], values: &[i8]) {
    match (weights.first_chunk(), values.first_chunk()) {
        (Some(weights), Some(values)) => add(sums, weights, values),
        _ => {
            for ((sum, weight), value) in sums.iter_mut().zip(weights).zip(values) {
                *sum = product_added(*sum, *weight, *value);
            }
        }
    }
}

// Written out: as a loop it would not stay in registers.
#[inline(always)]
fn add([a, b, c, d]: &mut [i32; BLOCK], weights: &[i8; BLOCK], values: &[i8; BLOCK]) {
    *a = product_added(*a, weights[0], values[0]);
    *b = product_added(*b, weights[1], values[1]);
    *c = product_added(*c, weights[2], values[2]);
    *d = product_added(*d, weights[3], values[3]);
}

#[inline(always)]
fn product_added(sum: i32, weight: i8, value: i8) -> i32 {
    sum.wrapping_add(i32::from(weight).wrapping_mul(value.into()))
}

/// The block of values from `at` on.
#[inline(always)]
fn part(values: &[i8], at: usize) -> Option<&[i8; BLOCK]> {
    values.get(at..at.wrapping_add(BLOCK))?.first_chunk()
}
