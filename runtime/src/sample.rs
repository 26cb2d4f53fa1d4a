//! Samples, in the forms that a model's input can have.

use eigenlet_shared::description::Raw;

#[cfg(feature = "indices")]
use crate::encoder::EncoderError;

/// A sample in the form that the model's input has, see [`Model::raw`](crate::Model::raw).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Sample<'a> {
    /// Raw sensor bytes, as many as the input has values: [`Raw::U8`].
    Bytes(&'a [u8]),
    /// Where the ones among the input's values stand, rising; all other values are 0: [`Raw::Indices`].
    Indices(&'a [u16]),
}

impl Sample<'_> {
    /// The form.
    pub const fn raw(self) -> Raw {
        match self {
            Self::Bytes(_) => Raw::U8,
            Self::Indices(_) => Raw::Indices,
        }
    }
}

/// Whether indices rise and are below `below`.
#[cfg(feature = "indices")]
pub(crate) fn check_indices(indices: &[u16], below: usize) -> Result<(), EncoderError> {
    let mut least = 0;
    for (position, found) in indices.iter().enumerate() {
        let index = usize::from(*found);
        if !(least..below).contains(&index) {
            return Err(EncoderError::Index { position, below, found: *found });
        }
        least = index.wrapping_add(1);
    }
    Ok(())
}
