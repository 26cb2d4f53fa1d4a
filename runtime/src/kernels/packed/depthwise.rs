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
        let window = Seen::new(slide, corners.next(), weights, input);
        let mut channel = 0usize;
        let mut constants = biases.iter().zip(scales);
        for to in pixel.chunks_mut(BLOCK) {
            let sums = window.sums(channel, to.len());
            for ((to, sum), (bias, scale)) in to.iter_mut().zip(sums).zip(&mut constants) {
                *to = requantise(sum.wrapping_add(*bias), scale);
            }
            channel = channel.wrapping_add(BLOCK);
        }
    }
    range.clamp(output);
}

/// A window's taps, and which of them lie in the image.
struct Seen<'a> {
    weights: &'a [i8],
    input: &'a [i8],
    channels: usize,
    zero_point: i8,
    /// Rows and columns of the window.
    kernel: [usize; 2],
    /// Its rows and columns that lie in the image.
    rows: Lines<usize>,
    columns: Lines<usize>,
    /// The first value of the window's first row, which may lie before the image, and values from a line to the next.
    start: usize,
    line: usize,
}

impl<'a> Seen<'a> {
    #[inline(always)]
    fn new(slide: &Slide, corner: Corner, weights: &'a [i8], input: &'a [i8]) -> Self {
        let channels = slide.input.channels;
        let (above, rows) = slide.rows_seen(corner.top);
        let (before, columns) = slide.columns_seen(corner.left);
        let line = slide.input.width.wrapping_mul(channels);
        let start =
            (corner.top as usize).wrapping_mul(line).wrapping_add((corner.left as usize).wrapping_mul(channels));
        Self {
            weights,
            input,
            channels,
            zero_point: slide.zero_point,
            kernel: slide.window.kernel.map(usize::from),
            rows: above..above.wrapping_add(rows),
            columns: before..before.wrapping_add(columns),
            start,
            line,
        }
    }

    /// The sums of up to four channels from `channel` on.
    #[inline(never)]
    fn sums(&self, channel: usize, count: usize) -> [i32; BLOCK] {
        let mut sums = [0i32; BLOCK];
        let padding = [self.zero_point; BLOCK];
        let [height, width] = self.kernel;
        let mut weight = channel;
        let mut line = self.start.wrapping_add(channel);
        for y in 0..height {
            let is_line = self.rows.contains(&y);
            let mut at = line;
            for x in 0..width {
                let weights = four(self.weights, weight, count);
                let inputs = if is_line && self.columns.contains(&x) { four(self.input, at, count) } else { padding };
                for ((sum, weight), input) in sums.iter_mut().zip(weights).zip(inputs) {
                    *sum = sum.wrapping_add(i32::from(weight).wrapping_mul(input.into()));
                }
                weight = weight.wrapping_add(self.channels);
                at = at.wrapping_add(self.channels);
            }
            line = line.wrapping_add(self.line);
        }
        sums
    }
}

/// Four values from `at` on, or `count` and zeros.
#[inline(always)]
fn four(values: &[i8], at: usize, count: usize) -> [i8; BLOCK] {
    let values = values.get(at..).unwrap_or_default();
    match values.first_chunk::<BLOCK>() {
        Some(four) => *four,
        None => few(values, count),
    }
}

#[cold]
#[inline(never)]
fn few(values: &[i8], count: usize) -> [i8; BLOCK] {
    let mut four = [0; BLOCK];
    for (to, value) in four.iter_mut().zip(values.iter().take(count)) {
        *to = *value;
    }
    four
}
