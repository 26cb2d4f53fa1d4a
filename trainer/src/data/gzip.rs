//! Reading files that may be gzipped, told apart by their first bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// The plain bytes of a file, gzipped or not.
///
/// # Errors
/// The file cannot be read, its gzip data is damaged, or there are more than `limit` plain bytes, so that a small file
/// cannot fill the memory.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(|error| Error::reading(path, error))?;
    let expected = format!("at most {limit} bytes");
    let bytes = read_at_most(&place, &mut plain(&place, BufReader::new(file))?, limit + 1, &expected)?;
    if bytes.len() > limit {
        return Err(Error::input(place, "too large", expected, "more"));
    }
    Ok(bytes)
}

/// What is in `bytes`, unpacked where they are gzipped; errors name `place`.
///
/// # Errors
/// What the system says.
pub fn plain<'a>(place: &str, mut bytes: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>> {
    let start = bytes.fill_buf().map_err(|error| Error::reading(place, error))?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) })
}

/// Reads up to `limit` bytes, fewer only at the end. Memory grows with the bytes that are there, not with `limit`,
/// which an untrue header may have set. `expected` says in errors what should have been there.
///
/// # Errors
/// What the system says; damaged gzip data.
pub fn read_at_most(place: &str, bytes: &mut impl Read, limit: usize, expected: &str) -> Result<Vec<u8>> {
    let mut read = Vec::new();
    match bytes.take(limit as u64).read_to_end(&mut read) {
        Ok(_) => Ok(read),
        Err(error) => Err(match error.kind() {
            ErrorKind::UnexpectedEof => cut_short(place, expected.into(), read.len()),
            ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                Error::input(place, "damaged gzip data", "an intact gzip file", error)
            }
            _ => Error::reading(place, error),
        }),
    }
}

/// The error for a file that ends after `read` bytes.
pub fn cut_short(place: &str, expected: String, read: usize) -> Error {
    Error::input(place, "the file is cut short", expected, format!("{read} bytes"))
}

/// Gzipped bytes for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::io::Write;

    /// One gzip member.
    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::gzip;
    use super::*;

    #[test]
    fn plain_and_gzipped_files_read_alike_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for content in [b"hello".to_vec(), gzip(b"hello"), [gzip(b"he"), gzip(b"llo")].concat()] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path, 5).unwrap(), b"hello");
            let message = read(&path, 4).unwrap_err().to_string();
            assert!(message.ends_with("file: too large: expected at most 4 bytes, found more"), "{message}");
        }
    }
}
