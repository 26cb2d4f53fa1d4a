//! Depthwise convolution: each channel has a filter of its own.

use core::ops::Range as Lines;

use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::SIDE;

use super::engine::{self, MAX_COLUMNS, Tap};
use super::window::{Corner, Seen, outputs_of};
use super::{Range, Slide};

/// The most taps that windows have which are computed four channels at once.
const MAX_TAPS: usize = 25;

/// Four channels of a layer, for pixels that see the same part of the window.
pub(super) struct Taps<'a> {
    /// Those taps that are seen.
    pub(super) taps: [Tap; MAX_TAPS],
    /// What sums start from, with what padding adds to them.
    pub(super) biases: [i32; SIDE],
    pub(super) scales: &'a [Scale; SIDE],
    /// Rows and columns that are seen.
    pub(super) size: [usize; 2],
}

/// How windows lie in memory.
pub(super) struct Path {
    pub(super) pixels: usize,
    /// From a pixel's window to the next one's, and from its outputs to the next one's.
    pub(super) advance: usize,
    pub(super) to_advance: usize,
    /// From a row of a window to the next, and from a column to the next.
    pub(super) line: usize,
    pub(super) step: usize,
}

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
    let channels = slide.output.channels;
    let size = slide.window.kernel.map(usize::from);
    let is_small = size[0].wrapping_mul(size[1]) <= MAX_TAPS && size[1] <= MAX_COLUMNS;
    let inside = [inside(slide, 0), inside(slide, 1)];
    let layer = Layer { weights, biases, scales, slide, inside, lines, input };
    let output = outputs_of(slide, &layer.lines, output);
    if is_small && channels >= SIDE {
        for channel in (0..channels).step_by(SIDE) {
            // The last four may be some of those before once more.
            layer.block(channel.min(channels.wrapping_sub(SIDE)), output);
        }
    } else {
        for channel in 0..channels {
            layer.channel(channel, output);
        }
    }
    range.clamp(output);
}

/// The outputs of a line, or the lines, whose windows lie in the image from end to end.
fn inside(slide: &Slide, axis: usize) -> Lines<usize> {
    let of = |from: &[u8]| from.get(axis).copied().map_or(0, usize::from);
    let window = slide.window;
    let (kernel, stride, before) = (of(&window.kernel), of(&window.stride), of(&window.padding));
    let [from, to] = [slide.input, slide.output].map(|shape| if axis == 0 { shape.height } else { shape.width });
    let room = from.wrapping_add(before).checked_sub(kernel);
    let end = room.and_then(|room| room.checked_div(stride)).map_or(0, |last| last.wrapping_add(1)).min(to);
    let start = before.wrapping_add(stride).saturating_sub(1).checked_div(stride).unwrap_or(0);
    start.min(end)..end
}

struct Layer<'a> {
    weights: &'a [i8],
    biases: &'a [i32],
    scales: &'a [Scale],
    slide: &'a Slide<'a>,
    /// Lines and columns of the output whose windows lie in the image from end to end.
    inside: [Lines<usize>; 2],
    /// The lines of the output that are wanted.
    lines: Lines<usize>,
    input: &'a [i8],
}

impl Layer<'_> {
    /// A window's first row or column.
    #[inline(always)]
    fn corner(&self, axis: usize, at: usize) -> i32 {
        let window = self.slide.window;
        let (Some(stride), Some(padding)) = (window.stride.get(axis), window.padding.get(axis)) else { return 0 };
        (at as i32).wrapping_mul((*stride).into()).wrapping_sub((*padding).into())
    }

    /// Four channels from `channel` on: those pixels together that see the same part of the window.
    #[inline(never)]
    fn block(&self, channel: usize, output: &mut [i8]) {
        let end = |inside: &Lines<usize>, at: usize, of: usize| {
            (if inside.contains(&at) { inside.end } else { at.wrapping_add(1) }).min(of)
        };
        let Some(scales) = self.scales.get(channel..).and_then(<[Scale]>::first_chunk) else { return };
        let mut shared = Taps { taps: [Tap::default(); MAX_TAPS], biases: [0; SIDE], scales, size: [0; 2] };
        let [inside_lines, inside_columns] = &self.inside;
        let width = self.slide.output.width;
        let mut y = self.lines.start;
        while y < self.lines.end {
            let next_y = end(inside_lines, y, self.lines.end);
            let mut x = 0;
            while x < width {
                let next_x = end(inside_columns, x, width);
                self.region(&mut shared, [y..next_y, x..next_x], channel, output);
                x = next_x;
            }
            y = next_y;
        }
    }

    fn region(&self, shared: &mut Taps<'_>, [lines, columns]: [Lines<usize>; 2], channel: usize, output: &mut [i8]) {
        let slide = self.slide;
        let channels = slide.output.channels;
        let [top, left] = [self.corner(0, lines.start), self.corner(1, columns.start)];
        let seen = Seen::new(slide, Corner { top, left });
        let found = self.find(shared, (seen.above, seen.rows), (seen.before, seen.columns), channel);
        if found.is_none() {
            return;
        }
        let x = slide.pixels_from(self.input, top.max(0) as usize, left.max(0) as usize);
        let first = lines.start.wrapping_sub(self.lines.start).wrapping_mul(slide.output.width);
        let to = output.get_mut(first.wrapping_add(columns.start).wrapping_mul(channels)..).unwrap_or_default();
        let (mut x, mut to) = (x.get(channel..).unwrap_or_default(), to.get_mut(channel..).unwrap_or_default());
        let line = slide.input.width.wrapping_mul(channels);
        // From a pixel to the next one below, and to the next one beside, in the image and in the outputs.
        let [down, across] = slide.window.stride.map(usize::from);
        let below = [down.wrapping_mul(line), slide.output.width.wrapping_mul(channels)];
        let beside = [across.wrapping_mul(channels), channels];
        // The longer side in one go.
        let is_tall = lines.len() > columns.len();
        let (pixels, times) = if is_tall { (lines.len(), columns.len()) } else { (columns.len(), lines.len()) };
        let ([advance, to_advance], [between, to_between]) = if is_tall { (below, beside) } else { (beside, below) };
        let path = Path { pixels, advance, to_advance, line, step: channels };
        for _ in 0..times {
            engine::depthwise(shared, &path, x, to);
            x = x.get(between..).unwrap_or_default();
            to = to.get_mut(to_between..).unwrap_or_default();
        }
    }

    /// Finds what pixels share that see so many rows and columns of the window, after so many that they don't; none where something is missing.
    fn find(
        &self,
        shared: &mut Taps<'_>,
        (above, rows): (usize, usize),
        (before, columns): (usize, usize),
        channel: usize,
    ) -> Option<()> {
        let slide = self.slide;
        shared.size = [rows, columns];
        shared.biases = *self.biases.get(channel..)?.first_chunk()?;
        let mut seen = shared.taps.iter_mut();
        let mut weights = self.weights.get(channel..)?;
        let [height, width] = slide.window.kernel.map(usize::from);
        for row in 0..height {
            for column in 0..width {
                let four: &[i8; SIDE] = weights.first_chunk()?;
                if row.wrapping_sub(above) < rows && column.wrapping_sub(before) < columns {
                    *seen.next()? = engine::tap(*four);
                } else {
                    for (bias, weight) in shared.biases.iter_mut().zip(four) {
                        *bias = bias.wrapping_add(i32::from(*weight).wrapping_mul(slide.zero_point.into()));
                    }
                }
                weights = weights.get(slide.output.channels..).unwrap_or_default();
            }
        }
        Some(())
    }

    /// A channel, tap by tap: large windows, and few channels.
    #[inline(never)]
    fn channel(&self, channel: usize, output: &mut [i8]) {
        let slide = self.slide;
        let channels = slide.output.channels;
        let (Some(bias), Some(scale)) = (self.biases.get(channel), self.scales.get(channel)) else { return };
        for (y, outputs) in output.chunks_exact_mut(slide.output.width.wrapping_mul(channels).max(1)).enumerate() {
            let top = self.corner(0, self.lines.start.wrapping_add(y));
            for (x, pixel) in outputs.chunks_exact_mut(channels.max(1)).enumerate() {
                let left = self.corner(1, x);
                let mut sum = *bias;
                let mut taps = self.weights.get(channel..).unwrap_or_default().iter().step_by(channels.max(1));
                for row in 0..i32::from(slide.window.kernel[0]) {
                    let row = top.wrapping_add(row) as u32 as usize;
                    for column in 0..i32::from(slide.window.kernel[1]) {
                        let column = left.wrapping_add(column) as u32 as usize;
                        let is_seen = row < slide.input.height && column < slide.input.width;
                        let seen = if is_seen { slide.pixels_from(self.input, row, column).get(channel) } else { None };
                        let value = seen.copied().unwrap_or(slide.zero_point);
                        let weight = taps.next().copied().unwrap_or(0);
                        sum = sum.wrapping_add(i32::from(weight).wrapping_mul(value.into()));
                    }
                }
                if let Some(to) = pixel.get_mut(channel) {
                    *to = scale.output(sum);
                }
            }
        }
    }
}
