//! Pooling: the largest, or the mean, of what a window sees of each channel; padding is not seen.

use core::num::NonZeroU32;
use core::ops::Range as Lines;

use super::Slide;
use super::window::{Seen, Walk, outputs_of};

/// The largest values under the window: the output's `lines`.
pub fn max_pool2d(slide: &Slide, lines: Lines<usize>, input: &[i8], output: &mut [i8]) {
    pool(slide, lines, input, output, true);
}

/// The means of the values under the window, halves away from zero: the output's `lines`.
pub fn average_pool2d(slide: &Slide, lines: Lines<usize>, input: &[i8], output: &mut [i8]) {
    pool(slide, lines, input, output, false);
}

// One copy for both.
#[inline(never)]
fn pool(slide: &Slide, lines: Lines<usize>, input: &[i8], output: &mut [i8], is_max: bool) {
    let mut walk = Walk::new(slide, &lines, input);
    let channels = slide.output.channels.max(1);
    for pixel in outputs_of(slide, &lines, output).chunks_exact_mut(channels) {
        let seen = Seen::new(slide, walk.next());
        let count = seen.rows.wrapping_mul(seen.columns);
        let row = seen.columns.wrapping_mul(channels);
        let from = input.get(seen.first..).unwrap_or_default();
        for (channel, to) in pixel.iter_mut().enumerate() {
            let mut from = from.get(channel..).unwrap_or_default();
            let (mut sum, mut largest) = (0i32, i32::from(i8::MIN));
            for _ in 0..seen.rows {
                for value in from.get(..row.min(from.len())).unwrap_or_default().iter().step_by(channels) {
                    let value = i32::from(*value);
                    sum = sum.wrapping_add(value);
                    largest = largest.max(value);
                }
                from = from.get(seen.line..).unwrap_or_default();
            }
            *to = if is_max { largest as i8 } else { mean(sum, count as u32) };
        }
    }
}

/// `sum / count`, halves away from zero.
fn mean(sum: i32, count: u32) -> i8 {
    let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let magnitude = sum.unsigned_abs().wrapping_add(count.get() / 2) / count;
    (magnitude as i32).wrapping_mul(sum.signum()) as i8
}
