//! The heads by their definition in `NUMERICS.md`.

use eigenlet_shared::numerics::{Channel, Output};

use crate::kernels::dot;
use crate::model::{CodeRows, Rows};

/// The grid of every embedding.
const EMBEDDING: Output = Output { zero_point: 0, minimum: -127, maximum: 127 };

/// The best of several candidates.
pub(crate) struct Least {
    /// Its number, from 0; of equals, the lowest.
    pub id: u16,
    pub cost: u32,
    /// How much more the second-best costs; `u32::MAX` where there is none.
    pub margin: u32,
}

/// As many rows of the embedding as `to` has room for.
pub(crate) fn project(features: &[i8], rows: Rows<Channel>, to: &mut [i8]) {
    let weights = rows.weights.chunks_exact(features.len().max(1));
    for ((to, weights), channel) in to.iter_mut().zip(weights).zip(rows.constants) {
        let sum = dot(weights, features).wrapping_add(channel.bias);
        *to = channel.output(sum, EMBEDDING);
    }
}

/// A code's bytes: eight bits a byte, the first one lowest. No row is computed before a byte needs it.
pub(crate) struct CodeBytes<'a> {
    features: &'a [i8],
    head: CodeRows<'a>,
    /// Bits still wanted.
    left: u16,
    /// Bits that are known and not given yet, the next one lowest: at most 7, and 16 of a word.
    known: u32,
    count: u16,
}

impl<'a> CodeBytes<'a> {
    /// The code's first `bits` bits.
    pub fn new(features: &'a [i8], head: CodeRows<'a>, bits: u16) -> Self {
        Self { features, head, left: bits, known: 0, count: 0 }
    }

    /// The next `head.width` bits.
    fn word(&mut self) -> Option<u16> {
        let Rows { weights, constants } = &mut self.head.rows;
        let classes = usize::from(self.head.classes);
        let constants = constants.split_off(..classes)?;
        let weights = weights.split_off(..self.features.len().wrapping_mul(classes))?;
        Some(match constants {
            [threshold] => (dot(weights, self.features) > *threshold).into(),
            biases => largest(self.features, Rows { weights, constants: biases }).id,
        })
    }
}

impl Iterator for CodeBytes<'_> {
    type Item = u8;

    // One copy: both who ask for a code and who verify it come here.
    #[inline(never)]
    fn next(&mut self) -> Option<u8> {
        let wanted = self.left.min(8);
        if wanted == 0 {
            return None;
        }
        while self.count < wanted {
            self.known |= u32::from(self.word()?).wrapping_shl(self.count.into());
            self.count = self.count.wrapping_add(self.head.width);
        }
        let byte = self.known as u8 & u8::MAX.wrapping_shr(8u32.wrapping_sub(wanted.into()));
        self.known >>= 8;
        self.count = self.count.saturating_sub(8);
        self.left = self.left.wrapping_sub(wanted);
        Some(byte)
    }
}

/// The prototype, of `[count][dims]`, at the least squared distance to `embedding`, `dims` long; the cost is that distance.
pub(crate) fn nearest(prototypes: &[i8], embedding: &[i8]) -> Least {
    let prototypes = prototypes.chunks_exact(embedding.len().max(1));
    least(&mut prototypes.map(|prototype| squared_distance(prototype, embedding)))
}

/// The row with the largest sum, its bias included; the cost is how far that is below 2^31 - 1.
pub(crate) fn largest(features: &[i8], rows: Rows<i32>) -> Least {
    let weights = rows.weights.chunks_exact(features.len().max(1));
    let sums = weights.zip(rows.constants).map(|(weights, bias)| dot(weights, features).wrapping_add(*bias));
    least(&mut sums.map(|sum| i32::MAX.wrapping_sub(sum) as u32))
}

// One copy of the loop for all that choose, as for `dot`.
#[inline(never)]
fn least(costs: &mut dyn Iterator<Item = u32>) -> Least {
    let mut least = Least { id: 0, cost: costs.next().unwrap_or(u32::MAX), margin: u32::MAX };
    for (cost, id) in costs.zip(1u16..) {
        if cost < least.cost {
            least = Least { id, cost, margin: least.cost.wrapping_sub(cost) };
        } else {
            least.margin = least.margin.min(cost.wrapping_sub(least.cost));
        }
    }
    least
}

/// At most 255^2 * 65535, which 32 bits hold.
fn squared_distance(a: &[i8], b: &[i8]) -> u32 {
    let squares = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)));
    squares.fold(0, |sum, difference| sum.wrapping_add(difference.wrapping_mul(difference)))
}
