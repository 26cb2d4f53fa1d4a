//! A dense layer over few ones among many zeros.

use eigenlet_shared::packed::{SIDE, groups};

use super::{Range, Rows, finish};

/// A dense layer over an input that is 1 at the `indices` and 0 elsewhere: only the weights there are read, two rows at once. At most
/// 65,536 indices: the sums of more could not be told apart in a lane. An index past the last group of columns adds nothing.
#[inline(never)]
pub fn dense_at(rows: &Rows, range: Range, indices: &[u16], output: &mut [i8]) {
    let (mut words, mut left) = (rows.words, rows.rows);
    let (mut biases, mut scales) = (rows.biases, rows.scales);
    for outputs in output.chunks_mut(SIDE) {
        let is_quad = left > 2;
        let of_block = groups(rows.columns).wrapping_mul(if is_quad { 4 } else { 2 });
        let Some((block, rest)) = words.split_at_checked(of_block) else { return };
        (words, left) = (rest, left.saturating_sub(SIDE));
        let mut sums = sums(block, indices, if is_quad { 2 } else { 1 });
        for (sum, bias) in sums.iter_mut().zip(biases) {
            *sum = sum.wrapping_add(*bias);
        }
        finish(&sums, scales, outputs);
        biases = biases.get(SIDE..).unwrap_or_default();
        scales = scales.get(SIDE..).unwrap_or_default();
    }
    range.clamp(output);
}

/// The sums of the weights at the indices, for the rows of one block of so many pairs; of a block of one, the last two mean nothing.
// One copy: of a block of one pair, the second one's sums are of lanes of other columns.
#[inline(never)]
fn sums(words: &[u32], indices: &[u16], pairs: usize) -> [i32; SIDE] {
    let lanes: &[i16] = bytemuck::must_cast_slice(words);
    let mut both = [0i32; 2];
    let mut even = [0i32; 2];
    for index in indices {
        let column = usize::from(*index);
        // `packed::lane` without the rows.
        let word = (column / SIDE).wrapping_mul(2).wrapping_add(column % 2).wrapping_mul(pairs);
        let first = word.wrapping_mul(2).wrapping_add(column % SIDE / 2);
        let lanes = lanes.get(first..).unwrap_or_default();
        for ((both, even), lane) in both.iter_mut().zip(&mut even).zip(lanes.iter().step_by(2)) {
            *both = both.wrapping_add((*lane).into());
            *even = even.wrapping_add((*lane as i8).into());
        }
    }
    let ([a, c], [both_a, both_c]) = (even, both);
    [a, both_a.wrapping_sub(a) >> 8, c, both_c.wrapping_sub(c) >> 8]
}
