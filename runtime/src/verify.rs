//! The golden vectors that a model carries, run through this implementation.

use core::fmt;

#[cfg(feature = "verify")]
use crate::encoder::{Dims, EncoderError, Features};
#[cfg(feature = "verify")]
use crate::golden::Golden;
#[cfg(all(feature = "clusters", feature = "verify"))]
use crate::golden::{CLUSTER, SCORE};
#[cfg(feature = "verify")]
use crate::model::Model;

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
        let golden = self.golden_records();
        let mut outcome = Outcome { golden, position: 0, result: Err(VerifyError::NoGolden) };
        while outcome.golden.advance() {
            match self.run_sample(arena, outcome.golden.sample) {
                Ok(features) => outcome.compare(features),
                Err(error) => outcome.result = Err(error.into()),
            }
            if outcome.result.is_err() {
                break;
            }
        }
        outcome.result
    }
}

/// What comes of the golden vectors.
#[cfg(feature = "verify")]
struct Outcome<'a> {
    golden: Golden<'a>,
    /// Where the next value stands in its output.
    position: u16,
    /// How many came out right, or the first difference.
    result: Result<u16, VerifyError>,
}

#[cfg(feature = "verify")]
impl Outcome<'_> {
    /// Compares every value of every output, in the order of a record. A head gives none only where the model lacks it, and then its
    /// records lack it, too.
    fn compare(&mut self, mut features: Features) {
        self.result = Ok(self.golden.done as u16);
        if let Ok(found) = features.embed(Dims::new(self.golden.dims)) {
            self.embedding(Head::Embedding, found);
        }
        self.position = 0;
        let _ = features.code(self.golden.bits, &mut |found| {
            self.value(Head::Hash, 1, found.into());
            true
        });
        #[cfg(feature = "clusters")]
        if let Ok(found) = features.assign() {
            self.position = 0;
            self.value(Head::Clusters, CLUSTER, found.id.into());
        }
        #[cfg(feature = "clusters")]
        if let Ok(found) = features.expert(Dims::new(self.golden.expert_dims)) {
            if let Some(score) = found.score {
                self.value(Head::Clusters, SCORE, score);
            }
            self.embedding(Head::Experts, found.embedding);
        }
    }

    // One copy for both kinds of embeddings.
    #[inline(never)]
    fn embedding(&mut self, head: Head, found: &[i8]) {
        self.position = 0;
        for found in found {
            self.value(head, 1, *found as u8 as u32);
        }
    }

    /// Compares the next value of the record.
    #[inline(never)]
    fn value(&mut self, head: Head, width: u32, found: u32) {
        let position = self.position;
        self.position = position.wrapping_add(1);
        let expected = self.golden.number(width);
        if expected != found && self.result.is_ok() {
            let sample = self.golden.done.wrapping_sub(1) as u16;
            let number = |value: u32| match head {
                Head::Embedding | Head::Experts => i64::from(value as i8),
                _ => value.into(),
            };
            let (expected, found) = (number(expected), number(found));
            self.result = Err(VerifyError::Mismatch { sample, head, position, expected, found });
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
