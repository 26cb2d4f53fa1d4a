//! The kernels in safe Rust, for cores that multiply one lane at a time: Cortex-M0, M3, RISC-V, and the host.

use core::marker::PhantomData;

use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::SIDE;

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

/// Widens two windows of `rows` rows, each `row` values, whole groups, and `line` values from one to the next; whether all is there.
#[inline(never)]
pub(super) fn widen_windows(first: &[i8], second: &[i8], [rows, row, line]: [usize; 3], to: &mut [u32]) -> bool {
    let (mut first, mut second) = (first, second);
    for to in to.chunks_exact_mut(row.max(1)).take(rows) {
        let (Some(one), Some(other)) = (first.get(..row), second.get(..row)) else { return false };
        widen_two(one.as_chunks().0, other.as_chunks().0, to.as_chunks_mut().0);
        first = first.get(line..).unwrap_or_default();
        second = second.get(line..).unwrap_or_default();
    }
    true
}

/// Copies values to the beginning of `to`, where they fit.
#[inline(always)]
pub(super) fn copy(to: &mut [i8], from: &[i8]) {
    if let Some(to) = to.get_mut(..from.len()) {
        to.copy_from_slice(from);
    }
}

/// Whole quads of a layer: none, since nothing is gained here over block by block.
pub(super) struct Quads<'a>(PhantomData<&'a [u32]>);

impl<'a> Quads<'a> {
    #[inline(always)]
    pub(super) fn new(_: &'a [u32], _: usize, _: usize, _: &'a [i32], _: Option<&'a [Scale]>, _: usize) -> Self {
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

/// The sums of a quad's four rows, or of a pair's two in the first places, for each of one or two pixels; biases left out.
#[inline(always)]
pub(super) fn block(is_quad: bool, pixels: usize, words: &[u32], x: &[u32]) -> [[i32; SIDE]; 2] {
    match (is_quad, pixels) {
        (true, 2) => quad::<2>(words, x),
        (true, _) => {
            let [sums] = quad::<1>(words, x);
            [sums, [0; SIDE]]
        }
        (false, 2) => pair::<2>(words, x),
        (false, _) => {
            let [sums] = pair::<1>(words, x);
            [sums, [0; SIDE]]
        }
    }
}

fn quad<const PIXELS: usize>(words: &[u32], x: &[u32]) -> [[i32; SIDE]; PIXELS] {
    let mut sums = [[0; SIDE]; PIXELS];
    let first = lanes_of_rows::<2, PIXELS>(words, x);
    let second = lanes_of_rows::<2, PIXELS>(words.get(1..).unwrap_or_default(), x);
    for ((to, [a, b]), [c, d]) in sums.iter_mut().zip(first).zip(second) {
        *to = [a, b, c, d];
    }
    sums
}

fn pair<const PIXELS: usize>(words: &[u32], x: &[u32]) -> [[i32; SIDE]; PIXELS] {
    lanes_of_rows::<1, PIXELS>(words, x).map(|[even, odd]| [even, odd, 0, 0])
}

/// The sums of two rows whose words are `STEP` apart.
#[inline(never)]
fn lanes_of_rows<const STEP: usize, const PIXELS: usize>(words: &[u32], x: &[u32]) -> [[i32; 2]; PIXELS] {
    let mut sums = [[0i32; 2]; PIXELS];
    let (x, _) = x.as_chunks::<PIXELS>();
    for (word, x) in words.iter().step_by(STEP).zip(x) {
        for (sums, x) in sums.iter_mut().zip(x) {
            let [both, even] = sums;
            *both = both.wrapping_add((*word as i16 as i32).wrapping_mul(*x as i16 as i32));
            *even = even.wrapping_add((*word as i8 as i32).wrapping_mul(*x as i16 as i32));
            *both = both.wrapping_add((*word as i32 >> 16).wrapping_mul(*x as i32 >> 16));
            *even = even.wrapping_add(((*word >> 16) as i8 as i32).wrapping_mul(*x as i32 >> 16));
        }
    }
    sums.map(|[both, even]| [even, both.wrapping_sub(even) >> 8])
}
