//! Depthwise convolution: each channel has a filter of its own.

use core::ops::Range as Lines;

use eigenlet_shared::numerics::Scale;

use super::window::{Corner, Corners, outputs_of};
use super::{Range, Slide, engine, finish};

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
        let mut channel = window.in_one_go(biases, scales, pixel);
        let (blocks, rest) = pixel.get_mut(channel..).unwrap_or_default().as_chunks_mut::<BLOCK>();
        for to in blocks {
            finish(&window.sums::<BLOCK>(biases, channel), scales.get(channel..).unwrap_or_default(), to);
            channel = channel.wrapping_add(BLOCK);
        }
        for to in rest {
            let to = core::slice::from_mut(to);
            finish(&window.sums::<1>(biases, channel), scales.get(channel..).unwrap_or_default(), to);
            channel = channel.wrapping_add(1);
        }
    }
    range.clamp(output);
}

/// A window's taps, and which of them lie in the image.
struct Seen<'a> {
    weights: &'a [i8],
    /// The image from the first pixel on that the window sees.
    input: &'a [i8],
    channels: usize,
    zero_point: i8,
    /// Rows of the window: all, those above the image, and those in it; columns likewise.
    rows: [usize; 3],
    columns: [usize; 3],
    /// Values from a line of the image to the next, and from a row of the window to the next.
    line: usize,
    row: usize,
    is_inside: bool,
}

impl<'a> Seen<'a> {
    #[inline(never)]
    fn new(slide: &Slide, corner: Corner, weights: &'a [i8], input: &'a [i8]) -> Self {
        let channels = slide.input.channels.max(1);
        let [height, width] = slide.window.kernel.map(usize::from);
        let (above, rows) = slide.rows_seen(corner.top);
        let (before, columns) = slide.columns_seen(corner.left);
        Self {
            weights,
            input: slide.pixels_from(input, corner.top.max(0) as usize, corner.left.max(0) as usize),
            channels,
            zero_point: slide.zero_point,
            rows: [height, above, rows],
            columns: [width, before, columns],
            line: slide.input.width.wrapping_mul(channels),
            row: width.wrapping_mul(channels),
            is_inside: rows == height && columns == width,
        }
    }

    /// The outputs of the first channels, as many as the engine does at once; all of int8.
    #[inline(always)]
    fn in_one_go(&self, biases: &[i32], scales: &[Scale], pixel: &mut [i8]) -> usize {
        if !self.is_inside || pixel.len() != self.channels {
            return 0;
        }
        let size = [self.rows[0], self.columns[0], self.line];
        engine::depthwise(self.weights, biases, scales, size, self.input, pixel)
    }

    /// The sums of `N` channels from `channel` on.
    #[inline(always)]
    fn sums<const N: usize>(&self, biases: &[i32], channel: usize) -> [i32; N] {
        if self.is_inside && N == BLOCK && !engine::IS_DEPTHWISE {
            self.inside(biases, channel)
        } else {
            self.edge(biases, channel)
        }
    }

    /// The same, where the whole window lies in the image.
    #[inline(never)]
    fn inside<const N: usize>(&self, biases: &[i32], channel: usize) -> [i32; N] {
        let mut sums = started(biases, channel);
        let mut input = self.input.get(channel..).unwrap_or_default();
        let mut weights = self.weights.get(channel..).unwrap_or_default();
        // From the first tap of a row to the end of its last.
        let length = self.row.wrapping_sub(self.channels).wrapping_add(N);
        for _ in 0..self.rows[0] {
            let (Some(inputs), Some(row)) = (input.get(..length), weights.get(..length)) else { break };
            let mut at = 0usize;
            while let (Some(these), Some(values)) = (part::<N>(row, at), part::<N>(inputs, at)) {
                for ((sum, weight), value) in sums.iter_mut().zip(these).zip(values) {
                    *sum = sum.wrapping_add(i32::from(*weight).wrapping_mul((*value).into()));
                }
                at = at.wrapping_add(self.channels);
            }
            input = input.get(self.line..).unwrap_or_default();
            weights = weights.get(self.row..).unwrap_or_default();
        }
        sums
    }

    /// The same, where padding is seen too.
    #[inline(never)]
    fn edge<const N: usize>(&self, biases: &[i32], channel: usize) -> [i32; N] {
        let mut sums = started(biases, channel);
        let mut weights = self.weights.get(channel..).unwrap_or_default();
        let mut input = self.input.get(channel..).unwrap_or_default();
        let ([height, above, rows], [width, before, columns]) = (self.rows, self.columns);
        let padding = [self.zero_point; N];
        for y in 0..height {
            let mut row = weights;
            weights = weights.get(self.row..).unwrap_or_default();
            // Usual rows lie inside from end to end.
            let seen = if y.wrapping_sub(above) < rows { columns } else { 0 };
            if seen != width {
                let before = if seen == 0 { width } else { before };
                row = self.taps(&mut sums, row, &padding, 0, before);
            }
            if seen == 0 {
                continue;
            }
            row = self.taps(&mut sums, row, input, self.channels, seen);
            input = input.get(self.line..).unwrap_or_default();
            if seen != width {
                self.taps(&mut sums, row, &padding, 0, width.wrapping_sub(seen).wrapping_sub(before));
            }
        }
        sums
    }

    /// Adds so many taps, whose inputs are `step` apart; gives the weights after them.
    #[inline(always)]
    fn taps<'w, const N: usize>(
        &self,
        sums: &mut [i32; N],
        weights: &'w [i8],
        inputs: &[i8],
        step: usize,
        count: usize,
    ) -> &'w [i8] {
        let (mut at, mut input) = (0usize, 0usize);
        for _ in 0..count {
            let (Some(these), Some(values)) = (part::<N>(weights, at), part::<N>(inputs, input)) else { break };
            for ((sum, weight), value) in sums.iter_mut().zip(these).zip(values) {
                *sum = sum.wrapping_add(i32::from(*weight).wrapping_mul((*value).into()));
            }
            at = at.wrapping_add(self.channels);
            input = input.wrapping_add(step);
        }
        weights.get(at..).unwrap_or_default()
    }
}

/// The biases of `N` channels.
#[inline(always)]
fn started<const N: usize>(biases: &[i32], channel: usize) -> [i32; N] {
    biases.get(channel..).unwrap_or_default().first_chunk().copied().unwrap_or([0; N])
}

/// `N` values from `at` on.
#[inline(always)]
fn part<const N: usize>(values: &[i8], at: usize) -> Option<&[i8; N]> {
    values.get(at..at.wrapping_add(N))?.first_chunk()
}
