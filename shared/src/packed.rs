//! Packed rows: how the int8 weights of rows lie in the data section, laid out once for every kernel.
//!
//! A word holds four weights, of two rows by two columns, in two 16-bit lanes of `256 * w[odd row] + w[even row]`. A multiplication
//! by a lane serves both rows: with `A` the sum of `lane * x` and `S0` that of `w[even row] * x`, which the lane's sign-extended low byte is,
//! the odd row's sum is `(A - S0) >> 8`.
//!
//! Rows come in quads, rows `4q` to `4q + 3`, one quad after another; columns in groups of four. A quad has four words for each group
//! `c .. c + 4`: rows 0, 1 by columns `c, c + 2`; rows 2, 3 by the same; rows 0, 1 by `c + 1, c + 3`; rows 2, 3 by the same. So columns
//! come in the order in which two sign extensions, of a word of four activations and of that word turned by a byte, give them.
//! What is missing to a multiple of four rows or columns is weights of 0, so fewer rows are always the beginning of more. The rows'
//! constants are there for whole quads, too.
//!
//! Filters, of which each channel of a depthwise convolution has its own, come by four channels, too: for each tap two words, of channels
//! `c, c + 2` and `c + 1, c + 3`, a weight in each lane.

use crate::description::Window;

/// Rows of a quad, and columns of a group.
pub const SIDE: usize = 4;

/// The most columns over which the two sums of a lane can be told apart, for any int8 activations and weights of -127 to 127:
/// the odd row's sum stays within 24 bits.
pub const EXACT_COLUMNS: usize = 512;

/// Groups of four columns, the last one perhaps not full.
pub const fn groups(columns: usize) -> usize {
    columns.div_ceil(SIDE)
}

/// Words of a quad of packed rows.
pub const fn quad_words(columns: usize) -> usize {
    groups(columns).wrapping_mul(SIDE)
}

/// Words of four channels' filters.
pub const fn filter_words(taps: usize) -> usize {
    taps.wrapping_mul(2)
}

/// Words that so many packed rows take; a product that does not fit wraps.
pub const fn words(rows: usize, columns: usize) -> usize {
    rows.div_ceil(SIDE).wrapping_mul(quad_words(columns))
}

/// Words that so many activations take, widened to 16 bits: two for each group.
pub const fn widened_words(columns: usize) -> usize {
    groups(columns).wrapping_mul(2)
}

/// Words of scratch that a convolution needs whose window slides over so many channels: two pixels' patches, widened and as they lie.
pub const fn patch_words(window: &Window, channels: usize) -> usize {
    groups(taps(window).wrapping_mul(channels)).wrapping_mul(6)
}

/// Words of scratch that a depthwise convolution needs: a patch as it lies, of whole words at every tap.
pub const fn filter_patch_words(window: &Window, channels: usize) -> usize {
    groups(taps(window).wrapping_mul(channels).wrapping_add(SIDE - 1))
}

const fn taps(window: &Window) -> usize {
    (window.kernel[0] as usize).wrapping_mul(window.kernel[1] as usize)
}

/// Where the lane of a weight lies, counted in half-words, and whether the weight is the lane's odd row.
pub const fn lane(columns: usize, row: usize, column: usize) -> (usize, bool) {
    let before = (row / SIDE).wrapping_mul(quad_words(columns));
    let word = (column / SIDE).wrapping_mul(2).wrapping_add(column % 2).wrapping_mul(2);
    let word = before.wrapping_add(word).wrapping_add(row % SIDE / 2);
    (word.wrapping_mul(2).wrapping_add(column % SIDE / 2), row % 2 == 1)
}

/// A lane's weights, of the even and of the odd row.
pub const fn weights(lane: i16) -> [i8; 2] {
    let even = lane as i8;
    [even, (lane.wrapping_sub(even as i16) >> 8) as i8]
}

/// Packs weights `[rows][columns]`, each -127 to 127.
///
/// # Panics
/// Where they are not whole rows.
#[cfg(any(test, feature = "write"))]
pub fn pack(values: &[i8], columns: usize) -> alloc::vec::Vec<u32> {
    assert!(values.len().is_multiple_of(columns), "whole rows of {columns} columns, found {} weights", values.len());
    let rows = values.len() / columns;
    let mut lanes = alloc::vec![0i16; 2 * words(rows, columns)];
    for (row, values) in values.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            let (lane, is_odd) = lane(columns, row, column);
            lanes[lane] += i16::from(*value) * if is_odd { 256 } else { 1 };
        }
    }
    lanes.chunks_exact(2).map(|lanes| word(lanes[0], lanes[1])).collect()
}

/// Packs filters `[taps][channels]`.
///
/// # Panics
/// Where they are not whole taps.
#[cfg(any(test, feature = "write"))]
pub fn pack_filters(values: &[i8], channels: usize) -> alloc::vec::Vec<u32> {
    assert!(values.len().is_multiple_of(channels), "whole taps of {channels} channels, found {} weights", values.len());
    let mut words = alloc::vec::Vec::new();
    for first in (0..channels).step_by(SIDE) {
        for tap in values.chunks_exact(channels) {
            let weight = |channel: usize| tap.get(first + channel).copied().unwrap_or(0).into();
            words.extend([word(weight(0), weight(2)), word(weight(1), weight(3))]);
        }
    }
    words
}

#[cfg(any(test, feature = "write"))]
fn word(low: i16, high: i16) -> u32 {
    u32::from(low as u16) | u32::from(high as u16) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_is_found_where_it_was_packed() {
        for rows in 1..=11 {
            for columns in 1..=9 {
                let value = |at: usize| (at * 89 % 255) as i8;
                let values: alloc::vec::Vec<i8> = (0..rows * columns).map(|at| value(at).max(-127)).collect();
                let packed = pack(&values, columns);
                assert_eq!(packed.len(), words(rows, columns));
                for (at, expected) in values.iter().enumerate() {
                    let (lane, is_odd) = lane(columns, at / columns, at % columns);
                    let found = (packed[lane / 2] >> (16 * (lane % 2))) as i16;
                    assert_eq!(weights(found)[usize::from(is_odd)], *expected, "{rows} {columns} {at}");
                }
            }
        }
    }

    #[test]
    fn fewer_rows_are_the_beginning_of_more() {
        let values: alloc::vec::Vec<i8> = (0..13 * 5).map(|at| (at * 89 % 251) as u8 as i8 / 2 + 1).collect();
        let whole = pack(&values, 5);
        for rows in (4..=12).step_by(SIDE) {
            let alone = pack(&values[..rows * 5], 5);
            assert_eq!(alone, whole[..alone.len()], "{rows}");
        }
    }

    /// The order that the text above gives, by an example.
    #[test]
    fn quads_lie_as_described() {
        // Six rows of five columns: weight = 10 * row + column.
        let values: alloc::vec::Vec<i8> = (0..30).map(|at| (at / 5 * 10 + at % 5) as i8).collect();
        let lane = |even: u32, odd: u32| 256 * odd + even;
        let word = |even: u32, a: u32, b: u32| lane(even + a, even + 10 + a) | lane(even + b, even + 10 + b) << 16;
        let packed = pack(&values, 5);
        assert_eq!(packed[..4], [word(0, 0, 2), word(20, 0, 2), word(0, 1, 3), word(20, 1, 3)]);
        assert_eq!(packed[4..8], [lane(4, 14), lane(24, 34), 0, 0]);
        assert_eq!(packed[8..12], [word(40, 0, 2), 0, word(40, 1, 3), 0]);
        assert_eq!(packed[12..], [lane(44, 54), 0, 0, 0]);
    }

    #[test]
    fn filters_lie_as_described() {
        // Two taps of five channels: weight = 10 * tap + channel.
        let values: alloc::vec::Vec<i8> = (0..10).map(|at| (at / 5 * 10 + at % 5) as i8).collect();
        let word = |low: u32, high: u32| low | high << 16;
        let expected = [word(0, 2), word(1, 3), word(10, 12), word(11, 13), 4, 0, 14, 0];
        assert_eq!(pack_filters(&values, 5), expected);
        assert_eq!(pack_filters(&[-1, -2], 2), [0xffff, 0xfffe]);
    }
}
