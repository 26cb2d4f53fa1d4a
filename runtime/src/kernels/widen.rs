//! Activations from bytes to lanes: four of them, `a b c d`, become the two words `(a, c)` and `(b, d)`.

use eigenlet_shared::packed::SIDE;

use super::engine;

/// Widens `input` to `2 * groups(input.len())` words. Columns that the last group lacks read as 0.
#[inline(never)]
pub fn widen(input: &[i8], to: &mut [u32]) {
    let (groups, rest) = input.as_chunks::<SIDE>();
    let (words, _) = to.as_chunks_mut::<2>();
    let Some((words, last)) = words.split_at_mut_checked(groups.len()) else { return };
    engine::widen(groups, words);
    if let Some(to) = last.first_mut() {
        *to = lanes(padded(rest));
    }
}

/// Widens raw bytes, quantised on the way, as [`widen`] does; columns that the last group lacks are any.
#[inline(never)]
pub fn widen_raw(input: &[u8], to: &mut [u32]) {
    let (groups, rest) = input.as_chunks::<SIDE>();
    let mut to = to.as_chunks_mut::<2>().0.iter_mut();
    for (raw, to) in groups.iter().zip(&mut to) {
        *to = quantised(u32::from_le_bytes(*raw));
    }
    if let Some(to) = to.next() {
        *to = quantised(rest.iter().rev().fold(0, |word, raw| word << 8 | u32::from(*raw)));
    }
}

/// The lanes of four raw bytes.
#[inline(always)]
fn quantised(raw: u32) -> [u32; 2] {
    // In each lane a byte less 128, without a borrow from the next lane.
    let lanes = |bytes: u32| (bytes & 0x00ff_00ff).wrapping_add(0x7f80_7f80) ^ 0x8000_8000;
    [lanes(raw), lanes(raw >> 8)]
}

/// A group's lanes.
#[inline(always)]
pub(super) fn lanes([a, b, c, d]: [i8; SIDE]) -> [u32; 2] {
    let word = |low: i8, high: i8| u32::from(i16::from(low) as u16) | u32::from(i16::from(high) as u16) << 16;
    [word(a, c), word(b, d)]
}

/// The columns of a group that is not full.
// By shifts, since a loop that copies would become a call.
fn padded(rest: &[i8]) -> [i8; SIDE] {
    rest.iter().rev().fold(0, |group, value| group << 8 | u32::from(*value as u8)).to_le_bytes().map(|byte| byte as i8)
}
