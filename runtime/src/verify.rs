//! The golden vectors that a model carries, run through this implementation.

use core::fmt;

use crate::encoder::{Dims, EncoderError};
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
}

/// Why a model is not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
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
        /// Position in the output: dimension, byte of the code, or 0.
        position: u16,
        /// What it must be.
        expected: i32,
        /// What it is.
        found: i32,
    },
}

impl Model<'_> {
    /// Runs every golden vector in `arena` (at least [`Model::arena_bytes`]), compares every byte of every output, and gives
    /// the number of vectors.
    ///
    /// # Errors
    /// The first difference, or [`VerifyError::NoGolden`], or [`VerifyError::Encoder`] with [`EncoderError::Arena`].
    pub fn verify(&self, arena: &mut [i8]) -> Result<u16, VerifyError> {
        let mut count = 0u16;
        for golden in self.golden() {
            let mut features = self.run(arena, golden.sample)?;
            if let Some(expected) = golden.embedding {
                let found = features.embed(Dims::new(self.dims()))?;
                let pairs = expected.iter().zip(found);
                let mut pairs = pairs.map(|(expected, found)| ((*expected).into(), (*found).into()));
                compare(count, Head::Embedding, &mut pairs)?;
            }
            if let Some(expected) = golden.code {
                let pairs = expected.iter().zip(features.code());
                let mut pairs = pairs.map(|(expected, found)| ((*expected).into(), found.into()));
                compare(count, Head::Hash, &mut pairs)?;
            }
            if let Some(expected) = golden.cluster {
                let mut pair = core::iter::once((expected.into(), features.assign()?.id.into()));
                compare(count, Head::Clusters, &mut pair)?;
            }
            count = count.wrapping_add(1);
        }
        if count == 0 { Err(VerifyError::NoGolden) } else { Ok(count) }
    }
}

/// The first of the pairs, expected and found, that differs.
fn compare(sample: u16, head: Head, pairs: &mut dyn Iterator<Item = (i32, i32)>) -> Result<(), VerifyError> {
    for ((expected, found), position) in pairs.zip(0u16..) {
        if expected != found {
            return Err(VerifyError::Mismatch { sample, head, position, expected, found });
        }
    }
    Ok(())
}

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
        })
    }
}

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

impl core::error::Error for VerifyError {}
