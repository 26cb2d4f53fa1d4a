//! Hash codes.

/// A code of `8 * BYTES` bits, most informative first: bit `j` is bit `j % 8` of byte `j / 8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Code<const BYTES: usize>(
    /// The bytes.
    pub [u8; BYTES],
);

impl<const BYTES: usize> Code<BYTES> {
    /// Number of bits in which two codes differ.
    pub fn distance(&self, other: &Self) -> u32 {
        distance(&self.0, &other.0)
    }

    /// Number of bits in which two codes' first `bits` bits differ.
    pub fn prefix_distance(&self, other: &Self, bits: u16) -> u32 {
        prefix_distance(&self.0, &other.0, bits)
    }
}

/// Number of bits in which the first `bits` bits of equally long codes differ.
pub(crate) fn prefix_distance(a: &[u8], b: &[u8], bits: u16) -> u32 {
    let (bytes, rest) = (usize::from(bits / 8), u32::from(bits % 8));
    let whole = a.iter().zip(b).take(bytes);
    let whole = whole.fold(0u32, |sum, (a, b)| sum.wrapping_add((a ^ b).count_ones()));
    let mask = !u8::MAX.wrapping_shl(rest);
    match (a.get(bytes), b.get(bytes)) {
        (Some(a), Some(b)) => whole.wrapping_add(((a ^ b) & mask).count_ones()),
        _ => whole,
    }
}

/// Number of bits in which equally long codes differ.
pub(crate) fn distance(a: &[u8], b: &[u8]) -> u32 {
    distance_within(a, b, u32::MAX).unwrap_or(u32::MAX)
}

/// The distance, or `None` as soon as a prefix is farther than `limit`: the first bits are the most telling ones.
pub(crate) fn distance_within(a: &[u8], b: &[u8], limit: u32) -> Option<u32> {
    let (words_a, rest_a) = a.as_chunks::<4>();
    let (words_b, rest_b) = b.as_chunks::<4>();
    let mut sum = 0u32;
    for (a, b) in words_a.iter().zip(words_b) {
        let different = u32::from_le_bytes(*a) ^ u32::from_le_bytes(*b);
        sum = sum.wrapping_add(ones(different));
        if sum > limit {
            return None;
        }
    }
    for (a, b) in rest_a.iter().zip(rest_b) {
        sum = sum.wrapping_add(ones((a ^ b).into()));
    }
    if sum > limit { None } else { Some(sum) }
}

/// How many bits are 1.
// One copy: a chip has no instruction for it.
#[inline(never)]
fn ones(word: u32) -> u32 {
    word.count_ones()
}
