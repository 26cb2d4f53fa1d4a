//! Depthwise convolution: each channel has a filter of its own.

use core::ops::Range as Lines;

use eigenlet_shared::numerics::Scale;

use super::window::{Corner, Corners, outputs_of};
use super::{Range, Slide, requantise};

/// Channels whose sums are kept in registers together.
const BLOCK: usize = 4;

/// A depthwise convolution: the output's `lines`. Weights lie `[kernel height][kernel width][channels]`, as bytes; biases and scales,
/// one a channel.
#[allow(clippy::too_many_arguments)]
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
    for pixel in output.chunks_exact_mut(slide.output.channels.max(1)) {
        let taps = Taps::new(slide, corners.next(), weights, input);
        let constants = biases.chunks(BLOCK).zip(scales.chunks(BLOCK));
        for (block, (to, (biases, scales))) in pixel.chunks_mut(BLOCK).zip(constants).enumerate() {
            let sums = taps.sums(block.wrapping_mul(BLOCK));
            for (((to, sum), bias), scale) in to.iter_mut().zip(sums).zip(biases).zip(scales) {
                *to = requantise(sum.wrapping_add(*bias), scale);
            }
        }
    }
    range.clamp(output);
}

/// A window's taps: all of its weights, and the pixels that it sees.
struct Taps<'a> {
    weights: &'a [i8],
    input: &'a [i8],
    slide: &'a Slide<'a>,
    corner: Corner,
}

impl<'a> Taps<'a> {
    fn new(slide: &'a Slide, corner: Corner, weights: &'a [i8], input: &'a [i8]) -> Self {
        Self { weights, input, slide, corner }
    }

    /// The sums of the channels from `channel` on.
    #[inline(never)]
    fn sums(&self, channel: usize) -> [i32; BLOCK] {
        let channels = self.slide.input.channels.max(1);
        let mut sums = [0i32; BLOCK];
        let kernel_row = self.slide.window_row().max(1);
        for (y, weights) in self.weights.chunks_exact(kernel_row).enumerate() {
            let line = self.corner.top.wrapping_add(y as i32);
            let is_line = (line as u32 as usize) < self.slide.input.height;
            for (x, weights) in weights.chunks_exact(channels).enumerate() {
                let column = self.corner.left.wrapping_add(x as i32);
                let weights = weights.get(channel..).unwrap_or_default();
                if is_line && (column as u32 as usize) < self.slide.input.width {
                    let inputs = self.slide.pixels_from(self.input, line as usize, column as usize);
                    let inputs = inputs.get(channel..).unwrap_or_default();
                    for ((sum, weight), input) in sums.iter_mut().zip(weights).zip(inputs) {
                        *sum = sum.wrapping_add(i32::from(*weight).wrapping_mul((*input).into()));
                    }
                } else {
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = sum.wrapping_add(i32::from(*weight).wrapping_mul(self.slide.zero_point.into()));
                    }
                }
            }
        }
        sums
    }
}
