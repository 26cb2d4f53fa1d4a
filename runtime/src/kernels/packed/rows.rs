//! Sums and outputs of packed rows, and the dense layer.

use eigenlet_shared::numerics::Scale;
#[cfg(feature = "bench")]
use eigenlet_shared::packed::widened_words;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE, groups};

#[cfg(feature = "bench")]
use super::widen;
use super::{Range, Rows, engine, requantise};

/// A dense layer: `input` has `rows.columns` values, `output` at most `rows.rows`.
#[cfg(feature = "bench")]
pub fn dense(rows: &Rows, range: Range, input: &[i8], scratch: &mut [u32], output: &mut [i8]) {
    let Some(x) = scratch.get_mut(..widened_words(rows.columns)) else { return };
    widen(input, x);
    outputs(rows, x, 0, range, output);
}

/// The sums of rows `first .. first + to.len()`, biases included, over the widened input `x`.
#[inline(never)]
pub fn sums(rows: &Rows, x: &[u32], first: usize, to: &mut [i32]) {
    let mut to = to;
    let mut row = first;
    while !to.is_empty() {
        let whole = rows.whole_quads(row, to.len(), x.len());
        let done = match rows.quads(row) {
            Some((words, biases, _)) if whole > 0 => match to.get_mut(..whole) {
                Some(to) => engine::sums(words, x, biases, to),
                None => 0,
            },
            _ => 0,
        };
        let done = if done > 0 {
            done
        } else {
            let [sums] = rows.block::<1>(x, row / SIDE);
            let wanted = sums.iter().skip(row % SIDE).zip(to.iter_mut());
            wanted.map(|(sum, to)| *to = *sum).count()
        };
        to = to.get_mut(done..).unwrap_or_default();
        row = row.wrapping_add(done);
    }
}

/// The outputs of rows `first .. first + to.len()` over the widened input `x`.
pub fn outputs(rows: &Rows, x: &[u32], first: usize, range: Range, to: &mut [i8]) {
    pixels(rows, x, first, [&mut *to]);
    range.clamp(to);
}

/// The outputs of rows from `first` on, for one pixel or for two whose widened words alternate; all of int8.
#[inline(never)]
pub(super) fn pixels<const PIXELS: usize>(rows: &Rows, x: &[u32], first: usize, to: [&mut [i8]; PIXELS]) {
    let mut to = to;
    let mut row = first;
    loop {
        let left = to.first().map_or(0, |to| to.len());
        if left == 0 {
            return;
        }
        let whole = rows.whole_quads(row, left, x.len().checked_div(PIXELS).unwrap_or(0));
        let mut done = 0;
        if whole > 0
            && let Some((words, biases, scales)) = rows.quads(row)
        {
            let to = to.each_mut().map(|to| to.get_mut(..whole).unwrap_or_default());
            done = engine::outputs(words, x, biases, scales, to);
        }
        if done == 0 {
            let sums = rows.block::<PIXELS>(x, row / SIDE);
            let scales = rows.scales.get(row..).unwrap_or_default();
            done = left.min(SIDE.wrapping_sub(row % SIDE));
            for (to, sums) in to.iter_mut().zip(&sums) {
                let sums = sums.iter().skip(row % SIDE);
                for ((to, sum), scale) in to.iter_mut().zip(sums).zip(scales) {
                    *to = requantise(*sum, scale);
                }
            }
        }
        to = to.map(|to| to.get_mut(done..).unwrap_or_default());
        row = row.wrapping_add(done);
    }
}

impl<'a> Rows<'a> {
    /// Of `wanted` rows from `first` on, how many are quads that the engine may do in one go; `x` is one pixel's words.
    #[inline(always)]
    fn whole_quads(&self, first: usize, wanted: usize, x: usize) -> usize {
        if !first.is_multiple_of(SIDE) || x > EXACT_COLUMNS / 2 {
            return 0;
        }
        let rows = self.rows.saturating_sub(first).min(wanted);
        rows.wrapping_sub(rows % SIDE)
    }

    /// The words and constants of the quads from row `first` on.
    #[inline(always)]
    fn quads(&self, first: usize) -> Option<(&'a [u32], &'a [i32], &'a [Scale])> {
        let before = groups(self.columns).wrapping_mul(first);
        Some((self.words.get(before..)?, self.biases.get(first..)?, self.scales.get(first..).unwrap_or_default()))
    }

    /// The sums of the rows of a quad, or of the pair at the end, over any number of columns; 0 in places without a row.
    // One copy: edges of layers, and layers that are too wide for the engine's own loop over quads.
    #[inline(never)]
    fn block<const PIXELS: usize>(&self, x: &[u32], quad: usize) -> [[i32; SIDE]; PIXELS] {
        let first = quad.wrapping_mul(SIDE);
        let mut sums = [[0i32; SIDE]; PIXELS];
        let biases = self.biases.get(first..).unwrap_or_default();
        for sums in &mut sums {
            for (sum, bias) in sums.iter_mut().zip(biases) {
                *sum = *bias;
            }
        }
        let words = groups(self.columns).wrapping_mul(first);
        let words = self.words.get(words..).unwrap_or_default();
        let is_quad = self.rows.wrapping_sub(first) > 2;
        // So few columns that the two sums of a lane can be told apart.
        let part = EXACT_COLUMNS / 2;
        let words = words.chunks(if is_quad { part << 1 } else { part });
        let parts = words.zip(x.chunks(part.wrapping_mul(PIXELS.max(1))));
        for (words, x) in parts {
            let part = if is_quad { engine::quad::<PIXELS>(words, x) } else { engine::pair::<PIXELS>(words, x) };
            for (sums, part) in sums.iter_mut().zip(part) {
                for (sum, part) in sums.iter_mut().zip(part) {
                    *sum = sum.wrapping_add(part);
                }
            }
        }
        sums
    }
}
