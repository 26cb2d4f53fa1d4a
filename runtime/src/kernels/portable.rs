//! The kernels in safe Rust, for cores that multiply one lane at a time: Cortex-M0, M3, RISC-V, and the host.

#[cfg(feature = "conv")]
use eigenlet_shared::packed::filter_words;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE};

use super::parts::{part_by_one, part_by_two};
use super::widen::lanes;
use super::{Rows, finish};

/// Which kernels these are.
#[cfg(not(any(eigenlet_armv7m, eigenlet_thumb1)))]
pub const KERNELS: &str = "portable";
#[cfg(eigenlet_armv7m)]
pub const KERNELS: &str = "Armv7-M";
#[cfg(eigenlet_thumb1)]
pub const KERNELS: &str = "Thumb-1";

#[inline(always)]
pub(super) fn widen(groups: &[[i8; SIDE]], to: &mut [[u32; 2]]) {
    for (to, group) in to.iter_mut().zip(groups) {
        *to = lanes(*group);
    }
}

/// Windows of rows, each `row` values, whole groups, and `line` values from one to the next.
pub(super) struct Windows {
    rows: usize,
    row: usize,
    line: usize,
}

impl Windows {
    #[inline(always)]
    pub(super) fn new([rows, row, line]: [usize; 3]) -> Self {
        Self { rows, row, line }
    }

    /// Widens two windows; whether all is there.
    #[inline(never)]
    pub(super) fn widen(&self, first: &[i8], second: &[i8], to: &mut [u32]) -> bool {
        if !self.row.is_multiple_of(SIDE) {
            return false;
        }
        let (mut first, mut second) = (first, second);
        for to in to.chunks_exact_mut(self.row.max(1)).take(self.rows) {
            let (Some(one), Some(other)) = (first.get(..self.row), second.get(..self.row)) else { return false };
            let groups = one.as_chunks().0.iter().zip(other.as_chunks().0);
            for ([a, b, c, d], (one, other)) in to.as_chunks_mut().0.iter_mut().zip(groups) {
                ([*a, *c], [*b, *d]) = (lanes(*one), lanes(*other));
            }
            first = first.get(self.line..).unwrap_or_default();
            second = second.get(self.line..).unwrap_or_default();
        }
        true
    }
}

/// Copies `rows` rows of so many values, `from_line` and `to_line` values from one to the next, as far as they are there.
#[inline(always)]
pub(super) fn copy_rows(from: &[i8], to: &mut [i8], [rows, values]: [usize; 2], [from_line, to_line]: [usize; 2]) {
    for (to, from) in to.chunks_mut(to_line.max(1)).zip(from.chunks(from_line.max(1))).take(rows) {
        if let (Some(to), Some(from)) = (to.get_mut(..values), from.get(..values)) {
            to.copy_from_slice(from);
        }
    }
}

/// Adds the sums of a quad's rows, over words and widened pixels.
type Part = fn(words: &[u32], x: &[u32], sums: &mut [[i32; SIDE]; 2]);

/// How many pixels are computed at once, with what computes a part of a quad: a program that names only `ONE` links only that.
#[derive(Clone, Copy)]
pub(super) struct Pixels {
    count: usize,
    part: Part,
}

pub(super) const ONE: Pixels = Pixels { count: 1, part: part_by_one };
pub(super) const TWO: Pixels = Pixels { count: 2, part: part_by_two };

/// Rows over widened pixels.
pub(super) struct Layer<'a> {
    rows: Rows<'a>,
    pixels: Pixels,
    wanted: usize,
}

impl<'a> Layer<'a> {
    /// The first `wanted` rows.
    #[inline(always)]
    pub(super) fn new(rows: &Rows<'a>, pixels: Pixels, wanted: usize) -> Self {
        Self { rows: *rows, pixels, wanted }
    }

    /// The outputs over the words of one pixel, or of two that alternate.
    #[inline(never)]
    pub(super) fn outputs(&self, x: &[u32], to: &mut [i8]) {
        let mut done = 0usize;
        while done < self.wanted {
            let Some(rows) = self.rows.from(done / SIDE) else { return };
            let mut sums = [[0; SIDE]; 2];
            by(&rows, self.pixels, x, &mut sums);
            // Not by chunks, which divide: a call, on a core that has no instruction for it.
            let (mut first, mut end) = (done, self.wanted.min(done.wrapping_add(SIDE)));
            for sums in sums.iter().take(self.pixels.count) {
                finish(sums, rows.scales, to.get_mut(first..end).unwrap_or_default());
                (first, end) = (first.wrapping_add(self.wanted), end.wrapping_add(self.wanted));
            }
            done = done.wrapping_add(SIDE);
        }
    }
}

#[cfg(feature = "conv")]
impl Layer<'_> {
    /// The outputs of pairs of windows, each `advance` values behind the one before; whether all is there.
    #[inline(never)]
    pub(super) fn pairs(
        &self,
        windows: &Windows,
        x: &[i8],
        advance: usize,
        scratch: &mut [u32],
        to: &mut [i8],
    ) -> bool {
        let mut x = x;
        for to in to.chunks_exact_mut(self.wanted.wrapping_mul(2).max(1)) {
            let second = x.get(advance..).unwrap_or_default();
            if !windows.widen(x, second, scratch) {
                return false;
            }
            self.outputs(scratch, to);
            x = second.get(advance..).unwrap_or_default();
        }
        true
    }
}

/// The sums of a quad's rows over the words of a pixel, biases included.
#[inline(always)]
pub(super) fn sums(rows: &Rows, x: &[u32], to: &mut [i32; SIDE]) {
    let mut sums = [[0; SIDE]; 2];
    by(rows, ONE, x, &mut sums);
    let [sums, _] = sums;
    *to = sums;
}

/// The same by one pixel or two.
#[inline(never)]
fn by(rows: &Rows, pixels: Pixels, x: &[u32], sums: &mut [[i32; SIDE]; 2]) {
    let Some(biases) = rows.biases.first_chunk() else { return };
    *sums = [*biases; 2];
    let mut words = rows.words.get(..rows.quad).unwrap_or_default();
    let mut x = x;
    // So few columns at a time that the two sums of a lane can be told apart. Not by chunks, as above.
    while !words.is_empty() {
        let (part, rest) = words.split_at_checked(EXACT_COLUMNS).unwrap_or((words, &[]));
        let of_part = (EXACT_COLUMNS / 2).wrapping_mul(pixels.count);
        let (x_part, x_rest) = x.split_at_checked(of_part).unwrap_or((x, &[]));
        (pixels.part)(part, x_part, sums);
        (words, x) = (rest, x_rest);
    }
}

/// Filters over a window as it lies: channels beside each other.
#[cfg(feature = "conv")]
pub(super) struct Filters<'a> {
    rows: Rows<'a>,
    height: usize,
    width: usize,
    line: usize,
}

#[cfg(feature = "conv")]
impl<'a> Filters<'a> {
    /// Over windows of so many rows and columns, with `line` values from a row to the next.
    #[inline(always)]
    pub(super) fn new(rows: &Rows<'a>, [height, width]: [usize; 2], line: usize) -> Self {
        Self { rows: *rows, height, width, line }
    }

    /// The outputs of pixels whose windows begin with `x`, each `advance` values behind the one before; whether all is there.
    pub(super) fn outputs(&self, x: &[i8], advance: usize, to: &mut [i8]) -> bool {
        let mut x = x;
        to.chunks_exact_mut(self.rows.rows.max(1)).all(|to| {
            let is_there = self.pixel(x, to);
            x = x.get(advance..).unwrap_or_default();
            is_there
        })
    }

    #[inline(never)]
    fn pixel(&self, x: &[i8], to: &mut [i8]) -> bool {
        let Rows { words, biases, scales, rows: channels, quad: _ } = self.rows;
        let constants = biases.as_chunks::<SIDE>().0.iter().zip(scales.as_chunks::<SIDE>().0);
        let (mut x, mut taps) = (x, words);
        for (to, (biases, scales)) in to.chunks_mut(SIDE).zip(constants) {
            // Four variables, since a loop over four sums is kept a loop where code is to be small.
            let [mut a, mut b, mut c, mut d] = *biases;
            let mut row = x;
            for _ in 0..self.height {
                let mut inputs = row;
                // Not by chunks, as above.
                let Some((of_row, rest)) = taps.split_at_checked(filter_words(self.width)) else { return false };
                taps = rest;
                for lanes in bytemuck::must_cast_slice::<u32, i16>(of_row).as_chunks::<SIDE>().0 {
                    let Some(values) = inputs.first_chunk::<SIDE>() else { return false };
                    let ([w, y, x, z], [p, q, r, s]) = (lanes, values);
                    a = a.wrapping_add(i32::from(*w).wrapping_mul((*p).into()));
                    b = b.wrapping_add(i32::from(*x).wrapping_mul((*q).into()));
                    c = c.wrapping_add(i32::from(*y).wrapping_mul((*r).into()));
                    d = d.wrapping_add(i32::from(*z).wrapping_mul((*s).into()));
                    inputs = inputs.get(channels..).unwrap_or_default();
                }
                row = row.get(self.line..).unwrap_or_default();
            }
            finish(&[a, b, c, d], scales, to);
            x = x.get(SIDE..).unwrap_or_default();
        }
        true
    }
}
