//! Reading a model's file.

use std::path::Path;

use eigenlet_runtime::Model;
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
    Model::parse(bytes)
        .map_err(|error| Error::input(path.display(), error, "an Eigenlet model", format!("{} bytes", bytes.len())))
}
