//! Sums and outputs of packed rows, and the dense layer.

use eigenlet_shared::numerics::Scale;
#[cfg(feature = "bench")]
use eigenlet_shared::packed::widened_words;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE, groups};

#[cfg(feature = "bench")]
use super::widen;
use super::engine::{self, Quads};
use super::{Range, Rows, requantise};

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
    let Some((head, to)) = to.split_at_mut_checked(to.len().min(before_quad(first))) else { return };
    sums_by_block(rows, x, first, head);
    let first = first.wrapping_add(head.len());
    let done = rows.quads(1, first, None, to.len()).sums(x, to);
    sums_by_block(rows, x, first.wrapping_add(done), to.get_mut(done..).unwrap_or_default());
}

#[inline(never)]
fn sums_by_block(rows: &Rows, x: &[u32], first: usize, to: &mut [i32]) {
    let (mut to, mut row) = (to, first);
    while !to.is_empty() {
        let [sums, _] = rows.block(1, x, row / SIDE);
        let done = to.len().min(SIDE.wrapping_sub(row % SIDE));
        for (to, sum) in to.iter_mut().zip(sums.iter().skip(row % SIDE)) {
            *to = *sum;
        }
        to = to.get_mut(done..).unwrap_or_default();
        row = row.wrapping_add(done);
    }
}

/// The outputs of rows `first .. first + to.len()` over the widened input `x`.
#[inline(never)]
pub fn outputs(rows: &Rows, x: &[u32], first: usize, range: Range, to: &mut [i8]) {
    let Some((head, tail)) = to.split_at_mut_checked(to.len().min(before_quad(first))) else { return };
    let head_rows = Pixels { rows: *rows, quads: rows.quads(1, 0, None, 0), count: 1, first, wanted: head.len() };
    head_rows.outputs(x, head);
    Pixels::new(rows, 1, first.wrapping_add(head.len()), tail.len()).outputs(x, tail);
    range.clamp(to);
}

/// How many rows lie before the next quad.
fn before_quad(row: usize) -> usize {
    row.wrapping_neg() % SIDE
}

/// Some rows, over one pixel or two at a time.
pub(super) struct Pixels<'a> {
    rows: Rows<'a>,
    quads: Quads<'a>,
    count: usize,
    first: usize,
    wanted: usize,
}

impl<'a> Pixels<'a> {
    /// `wanted` rows from `first` on, the first of a quad, over `count` pixels.
    #[inline(never)]
    pub(super) fn new(rows: &Rows<'a>, count: usize, first: usize, wanted: usize) -> Self {
        let scales = rows.scales.get(first..).unwrap_or_default();
        Self { rows: *rows, quads: rows.quads(count, first, Some(scales), wanted), count, first, wanted }
    }

    /// The outputs over widened pixels (two alternate), one pixel's after the other's; all of int8.
    #[inline(always)]
    pub(super) fn outputs(&self, x: &[u32], to: &mut [i8]) {
        let done = self.quads.outputs(x, to);
        if done != self.wanted {
            self.by_block(x, done, to);
        }
    }

    #[inline(never)]
    fn by_block(&self, x: &[u32], done: usize, to: &mut [i8]) {
        let mut done = done;
        while done < self.wanted {
            let row = self.first.wrapping_add(done);
            let sums = self.rows.block(self.count, x, row / SIDE);
            let scales = self.rows.scales.get(row..).unwrap_or_default();
            let rows = SIDE.wrapping_sub(row % SIDE).min(self.wanted.wrapping_sub(done));
            for (to, sums) in to.chunks_mut(self.wanted.max(1)).zip(&sums) {
                let to = to.get_mut(done..).unwrap_or_default().iter_mut().take(rows);
                for ((to, sum), scale) in to.zip(sums.iter().skip(row % SIDE)).zip(scales) {
                    *to = requantise(*sum, scale);
                }
            }
            done = done.wrapping_add(rows);
        }
    }
}

impl<'a> Rows<'a> {
    /// The whole quads of `wanted` rows from `first` on, the first of a quad, over so many pixels.
    fn quads(&self, pixels: usize, first: usize, scales: Option<&'a [Scale]>, wanted: usize) -> Quads<'a> {
        let groups = groups(self.columns);
        let words = self.words.get(groups.wrapping_mul(first)..).unwrap_or_default();
        let biases = self.biases.get(first..).unwrap_or_default();
        // The last rows may be less than a quad.
        let biases = biases.get(..self.rows.saturating_sub(first).min(biases.len())).unwrap_or_default();
        Quads::new(words, pixels, groups.wrapping_mul(2).wrapping_mul(pixels), biases, scales, wanted)
    }

    /// The sums of the rows of a quad, or of the pair at the end, over one pixel or two and any number of columns; 0 in places without
    /// a row.
    // One copy: edges of layers, and layers that are too wide for quads in one go.
    #[inline(never)]
    fn block(&self, pixels: usize, x: &[u32], quad: usize) -> [[i32; SIDE]; 2] {
        let first = quad.wrapping_mul(SIDE);
        let words = groups(self.columns).wrapping_mul(first);
        let words = self.words.get(words..).unwrap_or_default();
        let is_quad = self.rows.wrapping_sub(first) > 2;
        // So few columns that the two sums of a lane can be told apart.
        let part = EXACT_COLUMNS / 2;
        let words = words.chunks(if is_quad { part << 1 } else { part });
        let parts = words.zip(x.chunks(if pixels == 2 { part << 1 } else { part }));
        let mut sums = [[0i32; SIDE]; 2];
        for (words, x) in parts {
            let part = engine::block(is_quad, pixels, words, x);
            add(sums.as_flattened_mut(), part.as_flattened());
        }
        let biases = self.biases.get(first..).unwrap_or_default();
        for sums in &mut sums {
            add(sums, biases);
        }
        sums
    }
}

#[inline(always)]
fn add(sums: &mut [i32], more: &[i32]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.wrapping_add(*more);
    }
}
