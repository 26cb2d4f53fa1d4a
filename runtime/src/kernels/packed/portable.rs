//! The kernels in safe Rust, for cores that multiply one lane at a time: Cortex-M0, M3, RISC-V, and the host.

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

/// Outputs of whole quads, as many as are done: none, since nothing is gained here over quad by quad.
#[inline(always)]
pub(super) fn outputs<const PIXELS: usize>(
    _words: &[u32],
    _x: &[u32],
    _biases: &[i32],
    _scales: &[Scale],
    _to: [&mut [i8]; PIXELS],
) -> usize {
    0
}

/// Sums of whole quads, as many as are done: as for `outputs`.
#[inline(always)]
pub(super) fn sums(_words: &[u32], _x: &[u32], _biases: &[i32], _to: &mut [i32]) -> usize {
    0
}

/// The sums of a quad's four rows, for each pixel, biases left out.
pub(super) fn quad<const PIXELS: usize>(words: &[u32], x: &[u32]) -> [[i32; SIDE]; PIXELS] {
    let mut sums = [[0; SIDE]; PIXELS];
    for (pair, offset) in [(0, 0), (1, 2)] {
        let words = words.get(pair..).unwrap_or_default();
        for (to, [even, odd]) in sums.iter_mut().zip(lanes_of_rows::<2, PIXELS>(words, x)) {
            for (to, sum) in to.iter_mut().skip(offset).zip([even, odd]) {
                *to = sum;
            }
        }
    }
    sums
}

/// The sums of a pair's two rows, in the first two places.
pub(super) fn pair<const PIXELS: usize>(words: &[u32], x: &[u32]) -> [[i32; SIDE]; PIXELS] {
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
