//! A dense layer over few ones among many zeros.

use eigenlet_shared::packed::SIDE;

use super::{Range, Rows, finish};

/// A dense layer over an input that is 1 at the `indices` and 0 elsewhere: only the weights there are read, two rows at once. At most
/// 65,536 indices: the sums of more could not be told apart in a lane. An index past the last group of columns adds nothing.
#[inline(never)]
pub fn dense_at(rows: &Rows, range: Range, indices: &[u16], output: &mut [i8]) {
    let quads = rows.words.chunks_exact(rows.quad.max(1));
    let constants = rows.biases.as_chunks::<SIDE>().0.iter().zip(rows.scales.as_chunks::<SIDE>().0);
    for ((outputs, words), (biases, scales)) in output.chunks_mut(SIDE).zip(quads).zip(constants) {
        let lanes: &[i16] = bytemuck::must_cast_slice(words);
        let mut both = [0i32; 2];
        let mut even = [0i32; 2];
        for index in indices {
            let column = usize::from(*index);
            // `packed::lane` without the rows: of a column, the lanes of both pairs of rows lie a word apart.
            let first = (column / SIDE)
                .wrapping_mul(8)
                .wrapping_add((column % 2).wrapping_mul(4))
                .wrapping_add(column % SIDE / 2);
            let lanes = lanes.get(first..).unwrap_or_default();
            for ((both, even), lane) in both.iter_mut().zip(&mut even).zip(lanes.iter().step_by(2)) {
                *both = both.wrapping_add((*lane).into());
                *even = even.wrapping_add((*lane as i8).into());
            }
        }
        let ([a, c], [both_a, both_c], [first, second, third, fourth]) = (even, both, *biases);
        let (b, d) = (both_a.wrapping_sub(a) >> 8, both_c.wrapping_sub(c) >> 8);
        let sums = [first.wrapping_add(a), second.wrapping_add(b), third.wrapping_add(c), fourth.wrapping_add(d)];
        finish(&sums, scales, outputs);
    }
    range.clamp(output);
}
