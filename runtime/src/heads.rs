//! The heads by their definition in `NUMERICS.md`.

#[cfg(feature = "clusters")]
use eigenlet_shared::description::class_bits;
#[cfg(feature = "clusters")]
use eigenlet_shared::numerics::rounding_shift_right;
use eigenlet_shared::packed::SIDE;
#[cfg(feature = "clusters")]
use eigenlet_shared::reader::{ClustersRecord, HashRecord};

use crate::kernels::{self, Range, Rows};
#[cfg(feature = "clusters")]
use crate::model::{Model, hash};

/// The range of every embedding.
pub(crate) const EMBEDDING: Range = Range { minimum: -127, maximum: 127 };

/// The best of several candidates, which come in the order of their numbers, from 0.
#[cfg(feature = "clusters")]
#[derive(Clone, Copy)]
pub(crate) struct Least {
    /// Its number; of equals, the lowest.
    pub id: u16,
    pub cost: u32,
    /// How much more the second-best costs; `u32::MAX` where there is none.
    pub margin: u32,
    /// The next one's number.
    next: u16,
}

#[cfg(feature = "clusters")]
impl Least {
    const fn of_none() -> Self {
        Self { id: 0, cost: 0, margin: u32::MAX, next: 0 }
    }

    // One copy for all that choose.
    #[inline(never)]
    fn take(&mut self, cost: u32) {
        if self.next == 0 {
            self.cost = cost;
        } else if cost < self.cost {
            (self.id, self.margin) = (self.next, self.cost.wrapping_sub(cost));
            self.cost = cost;
        } else {
            self.margin = self.margin.min(cost.wrapping_sub(self.cost));
        }
        self.next = self.next.wrapping_add(1);
    }
}

/// Gives the sums of all rows to `take`.
// One copy for all who ask, as for `Least::take`.
#[cfg(feature = "clusters")]
#[inline(never)]
fn each_sum(rows: &Rows, features: &[u32], take: &mut dyn FnMut(i32)) {
    for first in (0..rows.rows()).step_by(SIDE) {
        let sums = kernels::quad_sums(rows, features, first / SIDE);
        sums.iter().take(rows.rows().wrapping_sub(first)).for_each(|sum| take(*sum));
    }
}

/// A code's bits, one word of it after another.
pub(crate) struct Words<'a> {
    #[cfg(feature = "clusters")]
    pub model: &'a Model<'a>,
    #[cfg(feature = "clusters")]
    pub hash: &'a HashRecord,
    pub features: &'a [u32],
    /// Whose sums' signs are the bits; none where heads' choices are.
    pub rows: Rows<'a>,
    /// The next row, or the next head.
    pub next: usize,
}

impl Words<'_> {
    /// The next bits, and how many: of signs, at most `wanted`.
    // Apart from the loop over words, which would become one for each kind.
    #[inline(never)]
    fn next(&mut self, wanted: u16) -> (u16, u16) {
        let Self { features, rows, next, .. } = self;
        #[cfg(feature = "clusters")]
        if self.hash.kind == hash::PRODUCT {
            *rows = self.model.hash_rows(&mut self.model.data(), self.hash, *next as u32);
            *next = next.wrapping_add(1);
            // A head has at least two classes; without rows, the loop over words would not end.
            return (largest(rows, features).id, class_bits(rows.rows() as u16).max(1));
        }
        let sums = kernels::quad_sums(rows, features, *next / SIDE);
        let sums = sums.get(*next % SIDE..).unwrap_or_default();
        let sums = sums.get(..wanted.into()).unwrap_or(sums);
        let mut word = 0;
        for sum in sums.iter().rev() {
            word = word << 1 | u16::from(*sum > 0);
        }
        *next = next.wrapping_add(sums.len());
        (word, sums.len() as u16)
    }
}

/// Gives the bytes of a code's first `bits` bits to `take`, for as long as that wants more: eight bits a byte, the first one lowest,
/// those of `first` (a value and its width) before all others. No row is computed before a byte needs it.
pub(crate) fn code(first: (u16, u16), mut words: Words, bits: u16, take: &mut dyn FnMut(u8) -> bool) {
    // Bits that are not given yet, the next one lowest: at most 7, and 16 of a word.
    let (mut known, mut count) = (u32::from(first.0), first.1);
    let mut left = bits;
    while left > 0 {
        let wanted = left.min(8);
        while count < wanted {
            let (word, width) = words.next(wanted.wrapping_sub(count));
            known |= u32::from(word).wrapping_shl(count.into());
            count = count.wrapping_add(width);
        }
        if !take(known as u8 & u8::MAX.wrapping_shr(8u32.wrapping_sub(wanted.into()))) {
            return;
        }
        known >>= 8;
        count = count.saturating_sub(8);
        left = left.wrapping_sub(wanted);
    }
}

/// Which row has the largest sum, its bias included; the cost is how far that is below 2^31 - 1.
#[cfg(feature = "clusters")]
#[inline(never)]
pub(crate) fn largest(rows: &Rows, features: &[u32]) -> Least {
    let mut least = Least::of_none();
    each_sum(rows, features, &mut |sum| least.take(i32::MAX.wrapping_sub(sum) as u32));
    least
}

/// The centre that leaves the least of `values`: of centres one after another, the cost is the squared distance, less what `explained`
/// says of the centre of that number.
#[cfg(feature = "clusters")]
#[inline(never)]
pub(crate) fn nearest(values: &[i8], centres: &[i8], explained: &mut dyn FnMut(u32) -> u32) -> Least {
    let mut least = Least::of_none();
    for (centre, number) in centres.chunks_exact(values.len().max(1)).zip(0..) {
        least.take(squared_distance(centre, values).saturating_sub(explained(number)));
    }
    least
}

/// What an expert with such rows explains of the features; [`Clusters::Residual`] says what the numbers are.
///
/// [`Clusters::Residual`]: eigenlet_shared::description::Clusters::Residual
#[cfg(feature = "clusters")]
pub(crate) fn explained(clusters: &ClustersRecord, rows: &Rows, features: &[u32]) -> u32 {
    let ClustersRecord { shift, multiplier, scale_shift, .. } = *clusters;
    let mut energy = 0u64;
    each_sum(rows, features, &mut |sum| {
        let a = rounding_shift_right(sum, shift as i32).clamp(i16::MIN.into(), i16::MAX.into());
        // Each square is at most 2^30 and there are less than 2^16: the sum is below 2^46 ...
        energy = energy.wrapping_add(a.wrapping_mul(a) as u64);
    });
    // ... and the product below 2^62.
    let explained = energy.wrapping_mul(multiplier.into()).wrapping_shr(scale_shift);
    u32::try_from(explained).unwrap_or(u32::MAX)
}

/// At most 255^2 * 65535, which 32 bits hold; of the longer slice, only its beginning counts.
// One copy, as for `Least::take`.
#[cfg(feature = "clusters")]
#[inline(never)]
pub(crate) fn squared_distance(a: &[i8], b: &[i8]) -> u32 {
    let squares = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)));
    squares.fold(0, |sum, difference| sum.wrapping_add(difference.wrapping_mul(difference)))
}
