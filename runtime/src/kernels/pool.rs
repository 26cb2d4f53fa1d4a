//! Pooling: the largest, or the mean, of what a window sees of each channel; padding is not seen.

use core::hint::black_box;
use core::num::NonZeroU32;
use core::ops::Range as Lines;

use super::Slide;
use super::window::{Seen, Walk, outputs_of};

/// The largest values under the window: the output's `lines`.
pub fn max_pool2d(slide: &Slide, lines: Lines<usize>, input: &[i8], output: &mut [i8]) {
    pool(slide, lines, input, output, largest);
}

/// The means of the values under the window, halves away from zero: the output's `lines`.
pub fn average_pool2d(slide: &Slide, lines: Lines<usize>, input: &[i8], output: &mut [i8]) {
    pool(slide, lines, input, output, means);
}

// One copy for both.
#[inline(never)]
fn pool(
    slide: &Slide,
    lines: Lines<usize>,
    input: &[i8],
    output: &mut [i8],
    of: fn(seen: &Seen, from: &[i8], pixel: &mut [i8]),
) {
    let mut walk = Walk::new(slide, &lines, input);
    for pixel in outputs_of(slide, &lines, output).chunks_exact_mut(slide.output.channels.max(1)) {
        let seen = Seen::new(slide, walk.next());
        of(&seen, input.get(seen.first..).unwrap_or_default(), pixel);
    }
}

/// Of as many channels as the pixel has, over the image from the first value on that is seen.
fn largest(seen: &Seen, from: &[i8], pixel: &mut [i8]) {
    let channels = pixel.len().max(1);
    // No constant to the compiler, which would call memset: code of which a chip may have no other need.
    pixel.iter_mut().for_each(|to| *to = black_box(i8::MIN));
    let mut row = from;
    for _ in 0..seen.rows {
        for values in row.chunks_exact(channels).take(seen.columns) {
            pixel.iter_mut().zip(values).for_each(|(to, value)| *to = (*value).max(*to));
        }
        row = row.get(seen.line..).unwrap_or_default();
    }
}

/// Likewise.
fn means(seen: &Seen, from: &[i8], pixel: &mut [i8]) {
    let channels = pixel.len().max(1);
    let count = NonZeroU32::new(seen.rows.wrapping_mul(seen.columns) as u32).unwrap_or(NonZeroU32::MIN);
    let values = seen.columns.wrapping_mul(channels);
    for (channel, to) in pixel.iter_mut().enumerate() {
        let mut sum = 0i32;
        let mut row = from.get(channel..).unwrap_or_default();
        for _ in 0..seen.rows {
            let values = row.get(..values.min(row.len())).unwrap_or_default();
            sum = values.iter().step_by(channels).fold(sum, |sum, value| sum.wrapping_add((*value).into()));
            row = row.get(seen.line..).unwrap_or_default();
        }
        // Halves away from zero.
        let magnitude = sum.unsigned_abs().wrapping_add(count.get() / 2) / count;
        *to = (magnitude as i32).wrapping_mul(sum.signum()) as i8;
    }
}
