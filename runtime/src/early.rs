//! Stopping as soon as the answer is certain: heads whose rows are ordered decide most in the first ones.
//!
//! The answers are those of the whole computation, always. What is not computed yet is bounded: an embedding's value by the int8 range
//! -127 to 127 that every row has, a bit by 0 and 1. (A bound by the rows' norms, Cauchy and Schwarz's, is wider than that range.)

#[cfg(feature = "clusters")]
use eigenlet_shared::packed::SIDE;
#[cfg(feature = "clusters")]
use eigenlet_shared::reader::{ClustersRecord, EmbeddingRecord, head};

use crate::code::{Code, prefix_distance};
use crate::encoder::{EncoderError, Features};
#[cfg(feature = "clusters")]
use crate::encoder::{apart, words};
#[cfg(feature = "clusters")]
use crate::heads::{EMBEDDING, squared_distance};
use crate::index::Index;
#[cfg(feature = "clusters")]
use crate::kernels;
#[cfg(feature = "clusters")]
use crate::model::clusters;

/// A cluster, or the nearest code, and what it took to be certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Early {
    /// The cluster, or what the nearest code was inserted with.
    pub id: u32,
    /// Dimensions of the embedding, or bits of the code, that were computed.
    pub computed: u16,
}

impl Features<'_> {
    /// The cluster that [`Features::assign`] gives. Prototypes are compared in four dimensions after another, until none can come
    /// nearer than the nearest so far; linear heads and residuals compute all of theirs.
    ///
    /// # Errors
    /// [`EncoderError::NoHead`].
    #[cfg(feature = "clusters")]
    pub fn assign_early(&mut self) -> Result<Early, EncoderError> {
        let model = self.model();
        let numbers = model.numbers(head::CLUSTERS);
        let clusters = ClustersRecord::of(&numbers);
        if clusters.is_there == 0 || clusters.kind != clusters::PROTOTYPES {
            return Ok(Early { id: self.assign()?.id.into(), computed: model.dims() });
        }
        let data = &mut model.data();
        let rows = model.block(data, EmbeddingRecord::of(&model.numbers(head::EMBEDDING)), 0);
        let prototypes = model.prototypes(data, clusters);
        let dims = clusters.dims as usize;
        let mut computed = 0usize;
        loop {
            let next = computed.saturating_add(SIDE).min(dims);
            let [_, widened, spare] = &model.regions;
            let [widened, spare] = apart(self.arena, widened, spare);
            if let (Some(rows), Some(to)) = (rows.from(computed / SIDE), spare.get_mut(computed..next)) {
                kernels::outputs(&rows, words(widened), EMBEDDING, to);
            }
            computed = next;
            let known = spare.get(..computed).unwrap_or_default();
            let best = nearest_prefix(known, prototypes, dims);
            if computed == dims || is_nearest(best, known, prototypes, dims) {
                return Ok(Early { id: best as u32, computed: computed as u16 });
            }
        }
    }

    /// The id that [`Index::nearest`] gives first, of the sample's code; `None` where the index is empty. The code is computed in
    /// eight bits after another, until the other codes cannot come nearer.
    ///
    /// # Errors
    /// [`EncoderError::Bits`] where the code of `BYTES` bytes is longer than the model's; [`EncoderError::NoHead`].
    pub fn nearest_early<const BYTES: usize, const CAPACITY: usize>(
        &mut self,
        index: &Index<BYTES, CAPACITY>,
    ) -> Result<Option<Early>, EncoderError> {
        let bits = self.bits_of(BYTES)?;
        let mut code = Code([0; BYTES]);
        let mut computed = 0u16;
        let mut found = None;
        self.code(bits, &mut |byte| {
            if let Some(to) = code.0.get_mut(usize::from(computed / 8)) {
                *to = byte;
            }
            computed = computed.saturating_add(8).min(bits);
            let (best, is_certain) = nearest_so_far(index, &code.0, computed, bits);
            found = best.map(|id| Early { id, computed });
            !is_certain && best.is_some()
        })?;
        Ok(found)
    }
}

/// The first of the prototypes at the least distance in the dimensions that are known.
#[cfg(feature = "clusters")]
fn nearest_prefix(known: &[i8], prototypes: &[i8], dims: usize) -> usize {
    let distances = prototypes.chunks_exact(dims.max(1)).map(|prototype| squared_distance(known, prototype));
    let nearest = distances.enumerate().min_by_key(|(_, distance)| *distance);
    nearest.map_or(0, |(id, _)| id)
}

/// Whether no prototype can be nearer than that one, nor as near with a lower id, whatever the other dimensions are.
#[cfg(feature = "clusters")]
fn is_nearest(best: usize, known: &[i8], prototypes: &[i8], dims: usize) -> bool {
    let prototype = |id: usize| prototypes.get(id.wrapping_mul(dims)..).unwrap_or_default();
    let nearest = prototype(best);
    let distance = squared_distance(known, nearest);
    prototypes.chunks_exact(dims.max(1)).enumerate().filter(|(id, _)| *id != best).all(|(id, other)| {
        let ahead = i64::from(squared_distance(known, other)).wrapping_sub(distance.into());
        let rest = other.iter().zip(nearest).skip(known.len());
        // (o - e)^2 - (n - e)^2 = o^2 - n^2 - 2 e (o - n), least where e is 127 or -127.
        let least = rest.fold(0i64, |sum, (o, n)| {
            let (o, n) = (i64::from(*o), i64::from(*n));
            let squares = o.wrapping_mul(o).wrapping_sub(n.wrapping_mul(n));
            sum.wrapping_add(squares).wrapping_sub(o.wrapping_sub(n).wrapping_abs().wrapping_mul(254))
        });
        let least = ahead.wrapping_add(least);
        least > 0 || least == 0 && id > best
    })
}

/// The id of the code at the least distance in the first `computed` bits, of equals the lowest, and whether no other can become
/// nearer in the rest.
fn nearest_so_far<const BYTES: usize, const CAPACITY: usize>(
    index: &Index<BYTES, CAPACITY>,
    code: &[u8],
    computed: u16,
    bits: u16,
) -> (Option<u32>, bool) {
    let left = u32::from(bits.saturating_sub(computed));
    let of = |(other, id): (&[u8; BYTES], u32)| (prefix_distance(code, other, computed), id);
    let Some((distance, id)) = index.iter().map(of).min() else { return (None, true) };
    let is_behind = |(other, other_id): (u32, u32)| {
        let ahead = other.saturating_sub(distance);
        other_id == id || ahead > left || ahead == left && other_id > id
    };
    (Some(id), index.iter().map(of).all(is_behind))
}
