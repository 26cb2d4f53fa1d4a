//! Reading a model's file.

use std::path::Path;

use eigenlet_runtime::{BlobError, Model, ModelError};
use eigenlet_shared::writer::AlignedBytes;

use crate::error::{Error, Result};

/// A model's bytes, aligned.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path) -> Result<AlignedBytes> {
    let bytes = std::fs::read(path).map_err(|error| Error::reading(path, error))?;
    Ok(AlignedBytes::from(&bytes[..]))
}

/// The model in those bytes.
///
/// # Errors
/// Bytes that are no model: truncated, damaged, too new, foreign.
pub fn parse<'a>(path: &Path, bytes: &'a AlignedBytes) -> Result<Model<'a>> {
    let wrong = |what: &str, expected: String, found: String| Error::input(path.display(), what, expected, found);
    Model::parse(bytes).map_err(|error| match error {
        ModelError::Blob(BlobError::TooShort { expected, found }) => {
            wrong("the model is cut short", format!("{expected} bytes"), format!("{found}"))
        }
        ModelError::Blob(BlobError::NotABlob) => {
            let first = String::from_utf8_lossy(&bytes[..bytes.len().min(8)]).into_owned();
            wrong("not an Eigenlet model", "a file that begins with EIGENLET".into(), format!("{first:?}"))
        }
        ModelError::Blob(BlobError::TooNew { found, supported }) => {
            let expected = format!("major version {supported} or older");
            wrong("the model's format is too new", expected, format!("version {found}"))
        }
        ModelError::Blob(BlobError::Checksum { expected, found }) => {
            wrong("the model is damaged", format!("checksum {expected:08x}"), format!("{found:08x}"))
        }
        other => wrong(&other.to_string(), "a model that can run".into(), format!("{} bytes", bytes.len())),
    })
}
