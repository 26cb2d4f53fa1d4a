//! Exact nearest neighbours among hash codes.

use core::fmt;

use heapless::Vec;

use crate::code::{Code, distance_within};

/// A code that was found. Hits are ordered by distance, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hit {
    /// Number of bits that differ.
    pub distance: u32,
    /// What the code was inserted with.
    pub id: u32,
}

impl Hit {
    /// Farther than any code: a place that no hit has taken yet.
    // Its bytes are not all the same: filling would call a memset, which is more code.
    const NONE: Self = Self { distance: u32::MAX, id: 0 };
}

/// The index holds as many codes as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Full;

/// At most `CAPACITY` codes of `BYTES` bytes, each with an id; takes `CAPACITY * (BYTES + 4)` bytes and a few more.
#[derive(Clone, Debug, Default)]
pub struct Index<const BYTES: usize, const CAPACITY: usize> {
    codes: Vec<[u8; BYTES], CAPACITY>,
    ids: Vec<u32, CAPACITY>,
}

impl<const BYTES: usize, const CAPACITY: usize> Index<BYTES, CAPACITY> {
    /// An empty index.
    pub const fn new() -> Self {
        Self { codes: Vec::new(), ids: Vec::new() }
    }

    /// Number of codes held.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Adds a code. Ids and codes may repeat.
    ///
    /// # Errors
    /// [`Full`].
    pub fn insert(&mut self, code: Code<BYTES>, id: u32) -> Result<(), Full> {
        self.codes.push(code.0).map_err(|_| Full)?;
        self.ids.push(id).map_err(|_| Full)
    }

    /// The codes with their ids, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8; BYTES], u32)> {
        self.codes.iter().zip(self.ids.iter().copied())
    }

    /// The `K` nearest codes, or all where there are fewer: nearest first, ties by id, the lower first.
    pub fn nearest<const K: usize>(&self, query: &Code<BYTES>) -> Vec<Hit, K> {
        let mut hits = Vec::from([Hit::NONE; K]);
        let found = scan(self.codes.as_flattened(), Some(&self.ids), &query.0, &mut hits);
        hits.truncate(found);
        hits
    }
}

/// The nearest of many packed codes, each as long as `query`; a code's id is its position. Fills `hits`, nearest first, ties
/// by id, the lower first, and gives their number: less than `hits.len()` only where there are fewer codes.
pub fn nearest_in(codes: &[u8], query: &[u8], hits: &mut [Hit]) -> usize {
    hits.fill(Hit::NONE);
    scan(codes, None, query, hits)
}

/// Puts the nearest codes into `hits`, which holds none yet, and gives their number. Codes without ids have their positions.
// One copy for all lengths.
#[inline(never)]
fn scan(codes: &[u8], ids: Option<&[u32]>, query: &[u8], hits: &mut [Hit]) -> usize {
    let mut count = 0usize;
    for code in codes.chunks_exact(query.len().max(1)) {
        let id = match ids {
            Some(ids) => ids.get(count).copied().unwrap_or_default(),
            None => count as u32,
        };
        let Some(farthest) = hits.last() else { break };
        count = count.wrapping_add(1);
        if let Some(distance) = distance_within(code, query, farthest.distance) {
            // The newcomer takes its place, and each later hit moves on by one; the last one falls out.
            let mut moving = Hit { distance, id };
            for hit in hits.iter_mut() {
                if moving < *hit {
                    core::mem::swap(&mut moving, hit);
                }
            }
        }
    }
    count.min(hits.len())
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the index is full")
    }
}

impl core::error::Error for Full {}
