//! The kernels in safe Rust, for cores that multiply one lane at a time: Cortex-M0, M3, RISC-V, and the host.

use core::marker::PhantomData;

use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE};

#[cfg(feature = "conv")]
use super::depthwise::{Path, Taps};
#[cfg(feature = "conv")]
use super::finish;
use super::parts::{part_by_one, part_by_two};
use super::widen::{alternate, lanes};

/// Which kernels these are.
#[cfg(not(eigenlet_thumb1))]
pub const KERNELS: &str = "portable";
#[cfg(eigenlet_thumb1)]
pub const KERNELS: &str = "Thumb-1";

#[inline(always)]
pub(super) fn widen(groups: &[[i8; SIDE]], to: &mut [[u32; 2]]) {
    for (to, group) in to.iter_mut().zip(groups) {
        *to = lanes(*group);
    }
}

#[inline(always)]
pub(super) fn widen_two(first: &[[i8; SIDE]], second: &[[i8; SIDE]], to: &mut [[u32; 4]]) {
    for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
        *to = alternate(lanes(*first), lanes(*second));
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
            widen_two(one.as_chunks().0, other.as_chunks().0, to.as_chunks_mut().0);
            first = first.get(self.line..).unwrap_or_default();
            second = second.get(self.line..).unwrap_or_default();
        }
        true
    }
}

/// The most columns of a window that `depthwise` is for.
pub(super) const MAX_COLUMNS: usize = 25;

/// A tap's weights for four channels.
pub(super) type Tap = [i8; SIDE];

#[inline(always)]
pub(super) fn tap(weights: [i8; SIDE]) -> Tap {
    weights
}

#[cfg(feature = "conv")]
/// Four channels of a depthwise convolution, over pixels whose windows are all there.
#[inline(never)]
pub(super) fn depthwise(taps: &Taps, path: &Path, x: &[i8], to: &mut [i8]) {
    let [rows, columns] = taps.size;
    let (mut x, mut to) = (x, to);
    for _ in 0..path.pixels {
        // Four variables, since a loop over four sums is kept a loop where code is to be small.
        let [mut a, mut b, mut c, mut d] = taps.biases;
        let (mut row, mut weights) = (x, taps.taps.iter());
        for _ in 0..rows {
            let mut inputs = row;
            for _ in 0..columns {
                let (Some(weights), Some(values)) = (weights.next(), inputs.first_chunk::<SIDE>()) else { return };
                let ([w, x, y, z], [p, q, r, s]) = (weights, values);
                a = a.wrapping_add(i32::from(*w).wrapping_mul((*p).into()));
                b = b.wrapping_add(i32::from(*x).wrapping_mul((*q).into()));
                c = c.wrapping_add(i32::from(*y).wrapping_mul((*r).into()));
                d = d.wrapping_add(i32::from(*z).wrapping_mul((*s).into()));
                inputs = inputs.get(path.step..).unwrap_or_default();
            }
            row = row.get(path.line..).unwrap_or_default();
        }
        let Some(outputs) = to.first_chunk_mut::<SIDE>() else { return };
        finish(&[a, b, c, d], taps.scales, outputs);
        x = x.get(path.advance..).unwrap_or_default();
        to = to.get_mut(path.to_advance..).unwrap_or_default();
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

/// The sums of a block, a quad or else a pair, over words and widened pixels.
type Part = fn(is_quad: bool, words: &[u32], x: &[u32]) -> [[i32; SIDE]; 2];

/// How many pixels are computed at once, with what computes a part of a block: a program that names only `ONE` links only that.
#[derive(Clone, Copy)]
pub(super) struct Pixels {
    pub(super) is_two: bool,
    part: Part,
}

pub(super) const ONE: Pixels = Pixels { is_two: false, part: part_by_one };
pub(super) const TWO: Pixels = Pixels { is_two: true, part: part_by_two };

/// Whole quads of a layer: none, since nothing is gained here over block by block.
pub(super) struct Quads<'a>(PhantomData<&'a [u32]>);

impl<'a> Quads<'a> {
    #[inline(always)]
    pub(super) fn new(_: &'a [u32], _: Pixels, _: usize, _: &'a [i32], _: Option<&'a [Scale]>, _: usize) -> Self {
        Self(PhantomData)
    }

    #[inline(always)]
    pub(super) fn outputs(&self, _: &[u32], _: &mut [i8]) -> usize {
        0
    }

    #[inline(always)]
    pub(super) fn sums(&self, _: &[u32], _: &mut [i32]) -> usize {
        0
    }
}

/// Adds the sums of a quad's four rows, or of a pair's two to the first places, for each of one or two pixels; biases left out.
#[inline(always)]
pub(super) fn block(is_quad: bool, pixels: Pixels, words: &[u32], x: &[u32], sums: &mut [[i32; SIDE]; 2]) {
    // So few columns that the two sums of a lane can be told apart.
    let part = EXACT_COLUMNS / 2;
    let words = words.chunks(if is_quad { part << 1 } else { part });
    for (words, x) in words.zip(x.chunks(if pixels.is_two { part << 1 } else { part })) {
        let part = (pixels.part)(is_quad, words, x);
        for (sum, part) in sums.as_flattened_mut().iter_mut().zip(part.as_flattened()) {
            *sum = sum.wrapping_add(*part);
        }
    }
}
