//! The kernels in safe Rust, for cores that multiply one lane at a time: Cortex-M0, M3, RISC-V, and the host.

use core::marker::PhantomData;

use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE};

use super::widen::{alternate, lanes};

/// Which kernels these are.
pub const KERNELS: &str = "portable";

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

/// Whether `depthwise` does anything.
pub(super) const IS_DEPTHWISE: bool = false;

/// Channels of a pixel of a depthwise convolution: none.
#[inline(always)]
pub(super) fn depthwise(_: &[i8], _: &[i32], _: &[Scale], _: [usize; 3], _: &[i8], _: &mut [i8]) -> usize {
    0
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

fn part_by_one(is_quad: bool, words: &[u32], x: &[u32]) -> [[i32; SIDE]; 2] {
    [if is_quad { quad(words, x) } else { joined(pair(words, x), [0; 2]) }, [0; SIDE]]
}

fn part_by_two(is_quad: bool, words: &[u32], x: &[u32]) -> [[i32; SIDE]; 2] {
    if is_quad {
        let ([a, b], [c, d]) = (pair_by_two::<4, 0>(words, x), pair_by_two::<4, 2>(words, x));
        [joined(a, c), joined(b, d)]
    } else {
        pair_by_two::<2, 0>(words, x).map(|sums| joined(sums, [0; 2]))
    }
}

fn joined([a, b]: [i32; 2], [c, d]: [i32; 2]) -> [i32; SIDE] {
    [a, b, c, d]
}

/// Two rows' sums on their way.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// That of the even row, and 256 times the odd row's.
    both: i32,
    even: i32,
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, lane: i16, x: i16) {
        self.both = self.both.wrapping_add(i32::from(lane).wrapping_mul(x.into()));
        self.even = self.even.wrapping_add(i32::from(lane as i8).wrapping_mul(x.into()));
    }

    #[inline(always)]
    fn rows(self) -> [i32; 2] {
        [self.even, self.both.wrapping_sub(self.even) >> 8]
    }
}

// Each loop takes two columns at a time: with a whole group the compiler loads all of it first, and spills.

#[inline(never)]
fn quad(words: &[u32], x: &[u32]) -> [i32; SIDE] {
    let (lanes, _) = bytemuck::must_cast_slice::<u32, i16>(words).as_chunks::<4>();
    let (x, _) = bytemuck::must_cast_slice::<u32, i16>(x).as_chunks::<2>();
    let [mut low, mut high] = [Sums::default(); 2];
    for ([a, b, c, d], [x, y]) in lanes.iter().zip(x) {
        low.add(*a, *x);
        high.add(*c, *x);
        low.add(*b, *y);
        high.add(*d, *y);
    }
    joined(low.rows(), high.rows())
}

#[inline(never)]
fn pair(words: &[u32], x: &[u32]) -> [i32; 2] {
    let mut sums = Sums::default();
    for (lane, x) in bytemuck::must_cast_slice(words).iter().zip(bytemuck::must_cast_slice::<u32, i16>(x)) {
        sums.add(*lane, *x);
    }
    sums.rows()
}

/// The pair whose lanes begin at `FIRST` of the `OF_STEP` that two columns have, by two pixels.
// More would not fit the registers of an M3.
#[inline(never)]
fn pair_by_two<const OF_STEP: usize, const FIRST: usize>(words: &[u32], x: &[u32]) -> [[i32; 2]; 2] {
    let (lanes, _) = bytemuck::must_cast_slice::<u32, i16>(words).as_chunks::<OF_STEP>();
    let (x, _) = bytemuck::must_cast_slice::<u32, i16>(x).as_chunks::<4>();
    let [mut first, mut second] = [Sums::default(); 2];
    for (lanes, [x0, x1, y0, y1]) in lanes.iter().zip(x) {
        let [a, b, ..] = lanes.get(FIRST..).unwrap_or_default() else { continue };
        first.add(*a, *x0);
        second.add(*a, *y0);
        first.add(*b, *x1);
        second.add(*b, *y1);
    }
    [first.rows(), second.rows()]
}
