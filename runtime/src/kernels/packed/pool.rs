//! Pooling: the largest, or the mean, of what a window sees of each channel; padding is not seen.

use core::num::NonZeroU32;
use core::ops::Range as Lines;

use super::Slide;
use super::window::{Corner, Corners, outputs_of};

/// The largest values under the window: the output's `lines`.
pub fn max_pool2d(slide: &Slide, lines: Lines<usize>, input: &[i8], output: &mut [i8]) {
    pool(slide, &lines, input, output, |pixel, rows| {
        // The first pixel's values come as they are.
        let mut is_first = true;
        for inputs in rows {
            for inputs in inputs.chunks_exact(pixel.len().max(1)) {
                for (to, input) in pixel.iter_mut().zip(inputs) {
                    *to = if is_first { *input } else { (*to).max(*input) };
                }
                is_first = false;
            }
        }
    });
}

/// The means of the values under the window, halves away from zero: the output's `lines`.
pub fn average_pool2d(slide: &Slide, lines: Lines<usize>, input: &[i8], output: &mut [i8]) {
    pool(slide, &lines, input, output, |pixel, rows| {
        let channels = pixel.len().max(1);
        for (channel, to) in pixel.iter_mut().enumerate() {
            let (mut sum, mut count) = (0i32, 0u32);
            for inputs in rows.clone() {
                for input in inputs.get(channel..).unwrap_or_default().iter().step_by(channels) {
                    sum = sum.wrapping_add((*input).into());
                    count = count.wrapping_add(1);
                }
            }
            *to = mean(sum, count);
        }
    });
}

/// Calls `fill` for every output pixel with the rows of pixels that the window sees.
#[inline(always)]
fn pool<'a>(
    slide: &'a Slide,
    lines: &Lines<usize>,
    input: &'a [i8],
    output: &mut [i8],
    fill: impl Fn(&mut [i8], RowsSeen<'a>),
) {
    let mut corners = Corners::new(slide, lines);
    for pixel in outputs_of(slide, lines, output).chunks_exact_mut(slide.output.channels.max(1)) {
        fill(pixel, RowsSeen::new(slide, corners.next(), input));
    }
}

/// The rows of pixels that a window sees.
#[derive(Clone)]
struct RowsSeen<'a> {
    /// The image from the next row's first pixel on.
    rest: &'a [i8],
    rows: usize,
    /// Values seen in a row, and values from a row's first to the next one's.
    row: usize,
    line: usize,
}

impl<'a> RowsSeen<'a> {
    #[inline(never)]
    fn new(slide: &Slide, corner: Corner, input: &'a [i8]) -> Self {
        let (_, rows) = slide.rows_seen(corner.top);
        let (_, columns) = slide.columns_seen(corner.left);
        let rest = slide.pixels_from(input, corner.top.max(0) as usize, corner.left.max(0) as usize);
        let channels = slide.input.channels;
        Self { rest, rows, row: columns.wrapping_mul(channels), line: slide.input.width.wrapping_mul(channels) }
    }
}

impl<'a> Iterator for RowsSeen<'a> {
    type Item = &'a [i8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [i8]> {
        self.rows = self.rows.checked_sub(1)?;
        let row = self.rest.get(..self.row)?;
        self.rest = self.rest.get(self.line..).unwrap_or_default();
        Some(row)
    }
}

/// `sum / count`, halves away from zero.
fn mean(sum: i32, count: u32) -> i8 {
    let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let magnitude = sum.unsigned_abs().wrapping_add(count.get() / 2) / count;
    (magnitude as i32).wrapping_mul(sum.signum()) as i8
}
