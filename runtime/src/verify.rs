//! The golden vectors that a model carries, run through this implementation.

use core::fmt;

#[cfg(feature = "verify")]
use crate::encoder::{Dims, EncoderError, Features};
#[cfg(all(feature = "clusters", feature = "verify"))]
use crate::model::number_of;
#[cfg(feature = "verify")]
use crate::model::{GoldenList, Model};

/// One of a model's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Head {
    /// The embedding.
    Embedding,
    /// The hash code.
    Hash,
    /// The cluster.
    Clusters,
    /// The local embedding by the cluster's expert.
    Experts,
}

/// Why a model is not verified.
#[cfg(feature = "verify")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// A tag of a word: moved by words, which is smaller code.
#[repr(u32)]
pub enum VerifyError {
    /// The model carries no golden vectors.
    NoGolden,
    /// A sample did not run.
    Encoder(EncoderError),
    /// An output is not what it must be.
    Mismatch {
        /// The sample's number, from 0.
        sample: u16,
        /// Which output.
        head: Head,
        /// Position in the output: dimension, byte of the code; of a cluster, 0 for its id and 1 for the score.
        position: u16,
        /// What it must be.
        expected: i64,
        /// What it is.
        found: i64,
    },
}

#[cfg(feature = "verify")]
impl Model<'_> {
    /// Runs every golden vector in `arena` (at least [`Model::arena_bytes`]), compares every byte of every output, and gives
    /// the number of vectors.
    ///
    /// # Errors
    /// The first difference, or [`VerifyError::NoGolden`], or [`VerifyError::Encoder`] with [`EncoderError::Arena`], or with
    /// [`EncoderError::Index`] where the indices of a golden sample do not rise.
    #[inline(never)]
    pub fn verify(&self, arena: &mut [i8]) -> Result<u16, VerifyError> {
        let mut count = 0;
        while let Some(sample) = self.golden_sample(count) {
            let mut outcome = Outcome { sample: count as u16, first: Ok(()) };
            outcome.compare(self.run_sample(arena, sample)?, count)?;
            outcome.first?;
            count = count.wrapping_add(1);
        }
        if count == 0 { Err(VerifyError::NoGolden) } else { Ok(count as u16) }
    }
}

/// What comes of one golden vector: its first difference.
#[cfg(feature = "verify")]
struct Outcome {
    sample: u16,
    first: Result<(), VerifyError>,
}

#[cfg(feature = "verify")]
impl Outcome {
    /// Compares every value of every output.
    fn compare(&mut self, mut features: Features, number: u32) -> Result<(), EncoderError> {
        let model = features.model();
        let values = |list| model.golden_values(list, number);
        if let Some(expected) = values(GoldenList::EMBEDDINGS) {
            self.embedding(Head::Embedding, expected, features.embed(Dims::new(model.dims()))?);
        }
        if let Some(expected) = values(GoldenList::CODES) {
            let mut places = expected.iter().zip(0..);
            features.code(model.bits(), &mut |found| {
                if let Some((expected, position)) = places.next() {
                    self.value(Head::Hash, position, (*expected).into(), found.into());
                }
                true
            })?;
        }
        #[cfg(feature = "clusters")]
        if let Some(expected) = values(GoldenList::CLUSTERS) {
            let found = features.assign()?;
            self.value(Head::Clusters, 0, number_of(expected), found.id.into());
            if let Some(expected) = values(GoldenList::SCORES) {
                self.value(Head::Clusters, 1, number_of(expected), found.distance.unwrap_or_default());
            }
        }
        #[cfg(feature = "clusters")]
        if let Some(expected) = values(GoldenList::EXPERTS) {
            let found = features.expert(Dims::new(model.expert_dims()))?.embedding;
            self.embedding(Head::Experts, expected, found);
        }
        Ok(())
    }

    // One copy for both kinds of embeddings.
    #[inline(never)]
    fn embedding(&mut self, head: Head, expected: &[u8], found: &[i8]) {
        for ((expected, found), position) in expected.iter().zip(found).zip(0..) {
            let (expected, found) = (*expected as i8, *found);
            if expected != found {
                self.differs(head, position, expected.into(), found.into());
            }
        }
    }

    #[inline(never)]
    fn value(&mut self, head: Head, position: u16, expected: u32, found: u32) {
        if expected != found {
            self.differs(head, position, expected.into(), found.into());
        }
    }

    #[inline(never)]
    fn differs(&mut self, head: Head, position: u16, expected: i64, found: i64) {
        if self.first.is_ok() {
            self.first = Err(VerifyError::Mismatch { sample: self.sample, head, position, expected, found });
        }
    }
}

#[cfg(feature = "verify")]
impl From<EncoderError> for VerifyError {
    fn from(error: EncoderError) -> Self {
        Self::Encoder(error)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedding => "embedding",
            Self::Hash => "hash code",
            Self::Clusters => "clusters",
            Self::Experts => "experts",
        })
    }
}

#[cfg(feature = "verify")]
impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGolden => f.write_str("the model carries no golden vectors"),
            Self::Encoder(error) => error.fmt(f),
            Self::Mismatch { sample, head, position, expected, found } => {
                write!(f, "golden vector {sample}: {head}[{position}]: expected {expected}, found {found}")
            }
        }
    }
}

#[cfg(feature = "verify")]
impl core::error::Error for VerifyError {}
