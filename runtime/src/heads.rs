//! The heads by their definition in `NUMERICS.md`.

use eigenlet_shared::description::class_bits;
use eigenlet_shared::numerics::{Channel, Output, rounding_shift_right};

use crate::kernels::{dot, finish};
use crate::model::{Rows, Tables};

/// The grid of every embedding.
const EMBEDDING: Output = Output { zero_point: 0, minimum: -127, maximum: 127 };

/// The best of several candidates.
#[derive(Clone, Copy)]
pub(crate) struct Least {
    /// Its number, from 0; of equals, the lowest.
    pub id: u16,
    pub cost: u32,
    /// How much more the second-best costs; `u32::MAX` where there is none.
    pub margin: u32,
}

impl Rows<'_> {
    /// The values from a row of `columns` on.
    fn values(&self, row: usize, columns: usize) -> &[i8] {
        self.values.get(row.wrapping_mul(columns)..).unwrap_or_default()
    }

    fn constant(&self, number: usize) -> i32 {
        self.constants.get(number).copied().unwrap_or_default()
    }

    /// A row's accumulator; its bias is the first of its `words` of constants.
    // One copy, as for `dot`.
    #[inline(never)]
    fn sum(&self, features: &[i8], row: usize, words: usize) -> i32 {
        let bias = self.constant(row.wrapping_mul(words));
        dot(self.values(row, features.len()), features).wrapping_add(bias)
    }
}

/// Words of a [`Channel`].
const CHANNEL: usize = 3;

/// As many rows of an embedding as `to` has room for, beginning with row `first`.
// One copy, as for `dot`.
#[inline(never)]
pub(crate) fn project(features: &[i8], rows: &Rows, first: usize, to: &mut [i8]) {
    for (row, to) in (first..).zip(to) {
        let at = row.wrapping_mul(CHANNEL);
        let (multiplier, shift) = (rows.constant(at.wrapping_add(1)), rows.constant(at.wrapping_add(2)));
        let channel = Channel { bias: 0, multiplier, shift };
        *to = finish(&channel, rows.sum(features, row, CHANNEL), EMBEDDING);
    }
}

/// A code's bits, one word of it after another.
pub(crate) struct Words<'a> {
    pub rows: &'a Rows<'a>,
    /// The next row.
    pub row: usize,
    pub kind: Word,
}

/// What a code is made of.
#[derive(Clone, Copy)]
pub(crate) enum Word {
    /// Whether a sum is above the row's threshold.
    Threshold,
    /// Whether an accumulator is above 0.
    Sign,
    /// The choice of a linear head with so many rows.
    Class(u16),
}

impl Words<'_> {
    /// The next bits, and how many.
    // Apart from the loop over words, which would become one for each kind.
    #[inline(never)]
    fn next(&mut self, features: &[i8]) -> (u16, u16) {
        let Self { rows, row, .. } = *self;
        let (word, width, used) = match self.kind {
            Word::Threshold => {
                let sum = dot(rows.values(row, features.len()), features);
                ((sum > rows.constant(row)).into(), 1, 1)
            }
            Word::Sign => ((rows.sum(features, row, CHANNEL) > 0).into(), 1, 1),
            Word::Class(classes) => (largest(features, rows, row, classes).id, class_bits(classes), classes),
        };
        self.row = row.wrapping_add(used.into());
        (word, width)
    }
}

/// Gives the bytes of a code's first `bits` bits to `take`: eight bits a byte, the first one lowest, those of `first` (a
/// value and its width) before all others. No row is computed before a byte needs it.
pub(crate) fn code(features: &[i8], first: (u16, u16), mut words: Words, bits: u16, take: &mut dyn FnMut(u8)) {
    // Bits that are not given yet, the next one lowest: at most 7, and 16 of a word.
    let (mut known, mut count) = (u32::from(first.0), first.1);
    let mut left = bits;
    while left > 0 {
        let wanted = left.min(8);
        while count < wanted {
            let (word, width) = words.next(features);
            known |= u32::from(word).wrapping_shl(count.into());
            count = count.wrapping_add(width);
        }
        take(known as u8 & u8::MAX.wrapping_shr(8u32.wrapping_sub(wanted.into())));
        known >>= 8;
        count = count.saturating_sub(8);
        left = left.wrapping_sub(wanted);
    }
}

/// The prototype at the least squared distance to `embedding`; the cost is that distance.
pub(crate) fn nearest(embedding: &[i8], prototypes: &Rows, count: u16) -> Least {
    least(count, &|id| squared_distance(prototypes.values(id, embedding.len()), embedding))
}

/// Which of `count` rows, beginning with row `first`, has the largest sum, its bias included; the cost is how far that is
/// below 2^31 - 1.
pub(crate) fn largest(features: &[i8], rows: &Rows, first: usize, count: u16) -> Least {
    least(count, &|id| i32::MAX.wrapping_sub(rows.sum(features, first.wrapping_add(id), 1)) as u32)
}

/// How squared accumulators become squared steps of the features; [`Clusters::Residual`] says what the numbers are.
///
/// [`Clusters::Residual`]: eigenlet_shared::description::Clusters::Residual
#[derive(Clone, Copy)]
pub(crate) struct Energy {
    pub rows: u16,
    pub shift: u8,
    pub multiplier: u16,
    pub scale_shift: u8,
}

impl Energy {
    /// What the expert `id` explains.
    fn projected(self, features: &[i8], experts: &Rows, id: usize) -> u32 {
        let first = id.wrapping_mul(self.rows.into());
        let mut energy = 0u64;
        for row in (first..).take(self.rows.into()) {
            let sum = experts.sum(features, row, CHANNEL);
            let a = rounding_shift_right(sum, self.shift.into()).clamp(i16::MIN.into(), i16::MAX.into());
            // Each square is at most 2^30 and there are less than 2^16: the sum is below 2^46 ...
            energy = energy.wrapping_add(a.wrapping_mul(a) as u64);
        }
        // ... and the product below 2^62.
        let scaled = energy.wrapping_mul(self.multiplier.into()).wrapping_shr(self.scale_shift.into());
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }
}

/// The cluster with the least residual; the cost is that.
pub(crate) fn least_residual(features: &[i8], tables: &Tables, count: u16, energy: Energy) -> Least {
    least(count, &|id| {
        let distance = squared_distance(tables.clusters.values(id, features.len()), features);
        distance.saturating_sub(energy.projected(features, &tables.experts, id))
    })
}

// One copy of the loop for all that choose, as for `dot`.
#[inline(never)]
fn least(count: u16, cost: &dyn Fn(usize) -> u32) -> Least {
    let mut least = Least { id: 0, cost: cost(0), margin: u32::MAX };
    for id in 1..count {
        let cost = cost(id.into());
        if cost < least.cost {
            least = Least { id, cost, margin: least.cost.wrapping_sub(cost) };
        } else {
            least.margin = least.margin.min(cost.wrapping_sub(least.cost));
        }
    }
    least
}

/// At most 255^2 * 65535, which 32 bits hold; of the longer slice, only its beginning counts.
// One copy, as for `dot`.
#[inline(never)]
fn squared_distance(a: &[i8], b: &[i8]) -> u32 {
    let squares = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)));
    squares.fold(0, |sum, difference| sum.wrapping_add(difference.wrapping_mul(difference)))
}
