//! Sums and outputs of packed rows, and the dense layer.

use eigenlet_shared::numerics::Scale;
#[cfg(feature = "bench")]
use eigenlet_shared::packed::widened_words;
use eigenlet_shared::packed::{SIDE, groups};

#[cfg(feature = "conv")]
use super::engine::TWO;
use super::engine::{self, ONE, Pixels, Quads};
#[cfg(feature = "bench")]
use super::widen;
use super::{Range, Rows, finish};

/// A dense layer: `input` has `rows.columns` values, `output` at most `rows.rows`.
#[cfg(feature = "bench")]
pub fn dense(rows: &Rows, range: Range, input: &[i8], scratch: &mut [u32], output: &mut [i8]) {
    let Some(x) = scratch.get_mut(..widened_words(rows.columns)) else { return };
    widen(input, x);
    outputs(rows, x, 0, range, output);
}

/// The sums of rows `first .. first + to.len()`, biases included, over the widened input `x`.
#[cfg(feature = "bench")]
pub fn sums(rows: &Rows, x: &[u32], first: usize, to: &mut [i32]) {
    let done = rows.quads(ONE, first, None, to.len()).sums(x, to);
    for (number, to) in to.iter_mut().enumerate().skip(done) {
        let row = first.wrapping_add(number);
        *to = quad_sums(rows, x, row / SIDE).get(row % SIDE).copied().unwrap_or_default();
    }
}

/// The sums of a quad of rows, or of the pair at the end, biases included, over the widened input `x`; 0 in places without a row.
#[inline(never)]
pub fn quad_sums(rows: &Rows, x: &[u32], quad: usize) -> [i32; SIDE] {
    let mut sums = [[0; SIDE]; 2];
    rows.block(ONE, x, quad, &mut sums);
    let [sums, _] = sums;
    sums
}

/// The outputs of rows `first .. first + to.len()` over the widened input `x`.
#[inline(never)]
pub fn outputs(rows: &Rows, x: &[u32], first: usize, range: Range, to: &mut [i8]) {
    let scales = rows.scales.get(first..).unwrap_or_default();
    let wanted = to.len();
    let done = rows.quads(ONE, first, Some(scales), wanted).outputs(x, to);
    if LEAVES_ROWS && done != wanted {
        rows.by_block(ONE, x, first, done..wanted, to);
    }
    range.clamp(to);
}

/// Whether the engine may leave rows to be done block by block: assembly does all from a quad on, and only measurements and tests ask for
/// others.
const LEAVES_ROWS: bool = !cfg!(eigenlet_dsp) || cfg!(feature = "bench");

/// All rows of a layer, over two pixels at a time.
#[cfg(feature = "conv")]
pub(super) struct Layer<'a> {
    rows: Rows<'a>,
    quads: Quads<'a>,
}

#[cfg(feature = "conv")]
impl<'a> Layer<'a> {
    #[inline(never)]
    pub(super) fn new(rows: &Rows<'a>) -> Self {
        Self { rows: *rows, quads: rows.quads(TWO, 0, Some(rows.scales), rows.rows) }
    }

    /// The outputs over widened pixels, whose words alternate, one pixel's after the other's; all of int8.
    #[inline(never)]
    pub(super) fn outputs(&self, x: &[u32], to: &mut [i8]) {
        let done = self.quads.outputs(x, to);
        // Assembly does all.
        if !cfg!(eigenlet_dsp) && done != self.rows.rows {
            self.rows.by_block(TWO, x, 0, done..self.rows.rows, to);
        }
    }
}

impl<'a> Rows<'a> {
    /// The blocks of `wanted` rows from `first` on, over so many pixels; none where `first` is in the middle of a quad.
    // One copy for one pixel and for two.
    #[cfg_attr(feature = "conv", inline(never))]
    fn quads(&self, pixels: Pixels, first: usize, scales: Option<&'a [Scale]>, wanted: usize) -> Quads<'a> {
        let groups = groups(self.columns);
        let is_simple = first.is_multiple_of(SIDE);
        // The last rows may be less than a quad.
        let rows = if is_simple { self.rows.saturating_sub(first) } else { 0 };
        let words = self.words.get(groups.wrapping_mul(first)..).unwrap_or_default();
        let biases = self.biases.get(first..).unwrap_or_default();
        let biases = biases.get(..rows).unwrap_or_default();
        Quads::new(words, pixels, groups.wrapping_mul(if pixels.is_two { 4 } else { 2 }), biases, scales, wanted)
    }

    /// Outputs number `of.start .. of.end` of those of rows from `first` on; a second pixel's begin `of.end` after the first's.
    #[inline(never)]
    fn by_block(&self, pixels: Pixels, x: &[u32], first: usize, of: core::ops::Range<usize>, to: &mut [i8]) {
        let wanted = of.end;
        let mut done = of.start;
        while done < wanted {
            let row = first.wrapping_add(done);
            let mut sums = [[0; SIDE]; 2];
            self.block(pixels, x, row / SIDE, &mut sums);
            let scales = self.scales.get(row..).unwrap_or_default();
            let end = wanted.min(done.wrapping_add(SIDE.wrapping_sub(row % SIDE)));
            let mut pixel = 0usize;
            for sums in sums.iter().take(if pixels.is_two { 2 } else { 1 }) {
                let sums = sums.get(row % SIDE..).unwrap_or_default();
                let to = to.get_mut(pixel.wrapping_add(done)..pixel.wrapping_add(end)).unwrap_or_default();
                finish(sums, scales, to);
                pixel = pixel.wrapping_add(wanted);
            }
            done = end;
        }
    }

    /// The sums of the rows of a quad, or of the pair at the end, over one pixel or two and any number of columns; 0 in places without
    /// a row.
    #[inline(never)]
    fn block(&self, pixels: Pixels, x: &[u32], quad: usize, sums: &mut [[i32; SIDE]; 2]) {
        let first = quad.wrapping_mul(SIDE);
        let words = groups(self.columns).wrapping_mul(first);
        let words = self.words.get(words..).unwrap_or_default();
        let biases = self.biases.get(first..).unwrap_or_default();
        for sums in sums.iter_mut() {
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = biases.get(row).copied().unwrap_or(0);
            }
        }
        engine::block(self.rows.wrapping_sub(first) > 2, pixels, words, x, sums);
    }
}
