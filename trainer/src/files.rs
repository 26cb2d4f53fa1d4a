//! Files are written beside their place and renamed: whoever reads finds the old file or the new one, never a half.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Creates or replaces `path` with what `write` writes.
///
/// # Errors
/// What the system says; the old file, if there is one, stays.
pub fn write_beside(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let attempt = || {
        let mut builder = tempfile::Builder::new();
        // A result is as readable as any file that the user makes, unlike a temporary file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut beside = BufWriter::new(builder.tempfile_in(&folder)?);
        write(&mut beside)?;
        let beside = beside.into_inner().map_err(|error| error.into_error())?;
        beside.as_file().sync_all()?;
        beside.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(|error| Error::writing(path, error))
}

/// Creates or replaces `path` with `bytes`.
///
/// # Errors
/// What the system says; the old file, if there is one, stays.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_beside(path, |file| file.write_all(bytes))
}

/// Creates a folder and those above it.
///
/// # Errors
/// What the system says.
pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| Error::writing(path, error))
}
