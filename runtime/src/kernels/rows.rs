//! Sums and outputs of packed rows, and the dense layer.

use eigenlet_shared::packed::SIDE;

use super::engine::{self, Layer, ONE};
use super::{Range, Rows};

/// A dense layer: `input` as long as the rows are wide, `output` at most as long as there are rows.
#[cfg(feature = "bench")]
pub fn dense(rows: &Rows, range: Range, input: &[i8], scratch: &mut [u32], output: &mut [i8]) {
    super::widen(input, scratch);
    outputs(rows, scratch, range, output);
}

/// The outputs of the first rows over the widened input `x`, as many as `to` has places.
#[inline(never)]
pub fn outputs(rows: &Rows, x: &[u32], range: Range, to: &mut [i8]) {
    Layer::new(rows, ONE, to.len()).outputs(x, to);
    range.clamp(to);
}

/// The sums of a quad of rows, biases included, over the widened input `x`; 0 where there is none.
#[inline(never)]
pub fn quad_sums(rows: &Rows, x: &[u32], quad: usize) -> [i32; SIDE] {
    let mut sums = [0; SIDE];
    if let Some(rows) = rows.from(quad) {
        engine::sums(&rows, x, &mut sums);
    }
    sums
}
