//! Reader of IDX files, the format of MNIST: <https://yann.lecun.com/exdb/mnist/>. Plain or gzipped, told apart by
//! their first bytes.
//!
//! Two zero bytes, the type of the values, the number of dimensions; then each dimension as a big-endian `u32`; then
//! the values, big-endian, last dimension fastest.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::Samples;
use super::gzip::{cut_short, plain, read_at_most};
use crate::error::{Error, Result};

/// The most bytes of values that are read, so that a small gzipped file cannot fill the memory.
const MAX_BYTES: usize = 1 << 31;

/// Reads images: `u8`, `[n, height, width]` (one channel) or `[n, height, width, channels]`.
///
/// # Errors
/// The file cannot be read, is not such an IDX file, is cut short, goes on after its last value, or holds no image.
pub fn images(path: &Path) -> Result<Samples> {
    let file = File::open(path).map_err(|error| Error::reading(path, error))?;
    parse_images(&path.display().to_string(), BufReader::new(file))
}

/// Reads labels: `u8` or `i16`, `[n]`, or `[n, columns]`, of which the first column counts.
///
/// # Errors
/// As for [`images`]; also a label that is negative.
pub fn labels(path: &Path) -> Result<Vec<u16>> {
    let file = File::open(path).map_err(|error| Error::reading(path, error))?;
    parse_labels(&path.display().to_string(), BufReader::new(file))
}

/// Reads 16-bit measurements or tables of whole numbers: `i16`, with their dimensions.
///
/// # Errors
/// As for [`images`].
pub fn shorts(path: &Path) -> Result<(Vec<usize>, Vec<i16>)> {
    let file = File::open(path).map_err(|error| Error::reading(path, error))?;
    let place = path.display().to_string();
    let array = Array::parse(&place, BufReader::new(file))?;
    match array.values {
        Values::I16(values) => Ok((array.dims, values)),
        Values::U8(_) => Err(Error::input(place, "wrong type of values", "i16 (0x0B)", "u8 (0x08)")),
    }
}

/// [`images`] from bytes; errors name `place`.
pub fn parse_images(place: &str, bytes: impl BufRead) -> Result<Samples> {
    let array = Array::parse(place, bytes)?;
    let shape = match array.dims[..] {
        [_, height, width] => [height, width, 1],
        [_, height, width, channels] => [height, width, channels],
        _ => {
            return Err(wrong_rank(place, "3 or 4 dimensions for images", &array.dims));
        }
    };
    match array.values {
        Values::U8(raw) => Ok(Samples { shape, raw }),
        Values::I16(_) => Err(Error::input(place, "wrong type of values", "u8 (0x08) for images", "i16 (0x0B)")),
    }
}

/// [`labels`] from bytes; errors name `place`.
pub fn parse_labels(place: &str, bytes: impl BufRead) -> Result<Vec<u16>> {
    let array = Array::parse(place, bytes)?;
    let columns = match array.dims[..] {
        [_] => 1,
        [_, columns] => columns,
        _ => {
            return Err(wrong_rank(place, "1 or 2 dimensions for labels", &array.dims));
        }
    };
    match array.values {
        Values::U8(values) => Ok(values.into_iter().step_by(columns).map(u16::from).collect()),
        Values::I16(values) => values
            .into_iter()
            .step_by(columns)
            .enumerate()
            .map(|(i, label)| {
                u16::try_from(label)
                    .map_err(|_| Error::input(place, format!("label {i} is negative"), "0 or more", label))
            })
            .collect(),
    }
}

fn wrong_rank(place: &str, expected: &str, dims: &[usize]) -> Error {
    Error::input(place, "wrong number of dimensions", expected, format!("{}: {dims:?}", dims.len()))
}

/// What an IDX file holds; no dimension is zero.
struct Array {
    dims: Vec<usize>,
    values: Values,
}

enum Values {
    U8(Vec<u8>),
    I16(Vec<i16>),
}

impl Array {
    fn parse(place: &str, bytes: impl BufRead) -> Result<Self> {
        Self::parse_plain(place, plain(place, bytes)?)
    }

    fn parse_plain(place: &str, mut bytes: impl Read) -> Result<Self> {
        let magic = read_at_most(place, &mut bytes, 4, "4 bytes of magic")?;
        let &[0, 0, value_type, rank] = &magic[..] else {
            let found = magic.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
            return Err(Error::input(
                place,
                "not an IDX file",
                "a file that starts with 00 00",
                if found.is_empty() { "an empty file".into() } else { found.join(" ") },
            ));
        };
        let width = match value_type {
            0x08 => 1,
            0x0B => 2,
            other => {
                return Err(Error::input(
                    place,
                    "unsupported type of values",
                    "u8 (0x08) or i16 (0x0B)",
                    type_name(other),
                ));
            }
        };
        if !(1..=4).contains(&rank) {
            return Err(Error::input(place, "unsupported number of dimensions", "1 to 4", rank));
        }

        let header = format!("{rank} dimensions of 4 bytes");
        let sizes = read_at_most(place, &mut bytes, 4 * usize::from(rank), &header)?;
        if sizes.len() < 4 * usize::from(rank) {
            return Err(cut_short(place, header, sizes.len()));
        }
        let dims: Vec<usize> = sizes
            .chunks_exact(4)
            .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
            .collect();
        if dims.contains(&0) {
            return Err(Error::input(place, "no values", "no dimension of 0", format!("{dims:?}")));
        }
        let length = dims
            .iter()
            .try_fold(width, |product: usize, &dim| product.checked_mul(dim))
            .filter(|&length| length <= MAX_BYTES)
            .ok_or_else(|| {
                let expected = format!("at most {MAX_BYTES} bytes of values");
                Error::input(place, "too large", expected, format!("dimensions {dims:?}"))
            })?;

        let expected = format!("{length} bytes of values for dimensions {dims:?}");
        let values = read_at_most(place, &mut bytes, length + 1, &expected)?;
        if values.len() < length {
            return Err(cut_short(place, expected, values.len()));
        }
        if values.len() > length {
            return Err(Error::input(place, "bytes after the last value", expected, "more"));
        }
        let values = match width {
            1 => Values::U8(values),
            _ => Values::I16(values.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()),
        };
        Ok(Self { dims, values })
    }
}

fn type_name(value_type: u8) -> String {
    let name = match value_type {
        0x09 => "i8",
        0x0C => "i32",
        0x0D => "f32",
        0x0E => "f64",
        _ => "unknown",
    };
    format!("{name} (0x{value_type:02X})")
}

/// IDX files for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    /// An IDX file of the given type, dimensions and value bytes, which need not fit together.
    pub fn idx_bytes(value_type: u8, dims: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, value_type, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    /// [`idx_bytes`] into a file.
    pub fn write_idx(path: &Path, value_type: u8, dims: &[u32], values: &[u8]) {
        std::fs::write(path, idx_bytes(value_type, dims, values)).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::testing::idx_bytes;
    use super::*;
    use crate::data::gzip::testing::gzip;

    fn wrong_images(bytes: &[u8]) -> String {
        let error = parse_images("some.idx", bytes).expect_err("the file is wrong");
        assert!(matches!(error, Error::Input { .. }), "{error}");
        error.to_string()
    }

    fn wrong_labels(bytes: &[u8]) -> String {
        let error = parse_labels("some.idx", bytes).expect_err("the file is wrong");
        assert!(matches!(error, Error::Input { .. }), "{error}");
        error.to_string()
    }

    #[test]
    fn images_have_one_channel_or_as_many_as_they_say() {
        let grey = parse_images("", &idx_bytes(8, &[1, 2, 3], &[1, 2, 3, 4, 5, 6])[..]).unwrap();
        assert_eq!(grey, Samples { shape: [2, 3, 1], raw: vec![1, 2, 3, 4, 5, 6] });
        let colour = parse_images("", &idx_bytes(8, &[2, 1, 1, 3], &[1, 2, 3, 4, 5, 6])[..]).unwrap();
        assert_eq!(colour, Samples { shape: [1, 1, 3], raw: vec![1, 2, 3, 4, 5, 6] });
    }

    #[test]
    fn gzipped_files_read_like_plain_ones() {
        let plain = idx_bytes(8, &[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]);
        let whole = parse_images("", &plain[..]).unwrap();
        assert_eq!(parse_images("", &gzip(&plain)[..]).unwrap(), whole);
        // Gzip allows a file in several members.
        let members = [gzip(&plain[..7]), gzip(&plain[7..])].concat();
        assert_eq!(parse_images("", &members[..]).unwrap(), whole);
    }

    #[test]
    fn labels_come_from_the_first_column() {
        let bytes = idx_bytes(8, &[3], &[7, 0, 255]);
        assert_eq!(parse_labels("", &bytes[..]).unwrap(), [7, 0, 255]);
        let short = idx_bytes(0x0B, &[2, 2], &[0x03, 0xC3, 0, 9, 0x7F, 0xFF, 0, 8]);
        assert_eq!(parse_labels("", &short[..]).unwrap(), [963, 32767]);
    }

    #[test]
    fn negative_labels_are_refused() {
        let message = wrong_labels(&idx_bytes(0x0B, &[2], &[0, 1, 0xFF, 0xFE]));
        assert_eq!(message, "some.idx: label 1 is negative: expected 0 or more, found -2");
    }

    #[test]
    fn foreign_files_are_refused() {
        assert!(wrong_images(b"\x89PNG\r\n").contains("not an IDX file"));
        assert!(wrong_images(b"").ends_with("found an empty file"));
        assert!(wrong_images(&gzip(b"hello")).contains("not an IDX file"));
        let message = wrong_images(&idx_bytes(0x0D, &[1, 1, 1], &[0; 4]));
        assert!(message.ends_with("expected u8 (0x08) or i16 (0x0B), found f32 (0x0D)"), "{message}");
    }

    #[test]
    fn wrong_ranks_and_types_are_refused() {
        assert!(wrong_images(&idx_bytes(8, &[2], &[0; 2])).contains("3 or 4 dimensions"));
        assert!(wrong_labels(&idx_bytes(8, &[1, 1, 1], &[0])).contains("1 or 2 dimensions"));
        assert!(wrong_images(&idx_bytes(8, &[1; 5], &[0])).contains("expected 1 to 4, found 5"));
        assert!(wrong_images(&idx_bytes(8, &[], &[0])).contains("expected 1 to 4, found 0"));
        assert!(wrong_images(&idx_bytes(0x0B, &[1, 1, 1], &[0; 2])).contains("found i16"));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let plain = idx_bytes(8, &[2, 2, 3], &[9; 12]);
        let zipped = gzip(&plain);
        for whole in [plain, zipped] {
            for length in 0..whole.len() {
                wrong_images(&whole[..length]);
            }
        }
        let message = wrong_images(&idx_bytes(8, &[2, 2, 3], &[9; 11]));
        let expected = "expected 12 bytes of values for dimensions [2, 2, 3], found 11 bytes";
        assert!(message.ends_with(expected), "{message}");
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let long = idx_bytes(8, &[2, 2, 3], &[9; 13]);
        assert!(wrong_images(&long).contains("bytes after the last value"));
        assert!(wrong_images(&gzip(&long)).contains("bytes after the last value"));
        let mut garbage = gzip(&idx_bytes(8, &[2, 2, 3], &[9; 12]));
        garbage.extend(b"garbage garbage");
        assert!(wrong_images(&garbage).contains("damaged gzip"));
    }

    #[test]
    fn a_damaged_gzip_file_never_gives_other_values() {
        let plain = idx_bytes(8, &[1, 16, 16], &(0..=255).collect::<Vec<u8>>());
        let whole = parse_images("", &plain[..]).unwrap();
        let zipped = gzip(&plain);
        let mut harmless = 0;
        for position in 10..zipped.len() {
            let mut damaged = zipped.clone();
            damaged[position] ^= 0x10;
            match parse_images("some.idx", &damaged[..]) {
                Ok(samples) => {
                    assert_eq!(samples, whole);
                    harmless += 1;
                }
                Err(error) => assert!(matches!(error, Error::Input { .. }), "{error}"),
            }
        }
        assert!(harmless <= 1, "only the padding of the block header may change: {harmless}");
    }

    #[test]
    fn a_header_cannot_ask_for_memory() {
        assert!(wrong_images(&idx_bytes(8, &[u32::MAX; 4], &[1])).contains("too large"));
        assert!(wrong_images(&idx_bytes(8, &[u32::MAX, 28, 28], &[1])).contains("too large"));
        assert!(wrong_images(&idx_bytes(8, &[1 << 20, 32, 64], &[1])).contains("cut short"));
        assert!(wrong_images(&gzip(&idx_bytes(8, &[1 << 20, 32, 64], &[1]))).contains("cut short"));
    }

    #[test]
    fn an_empty_set_is_refused() {
        assert!(wrong_images(&idx_bytes(8, &[0, 28, 28], &[])).contains("no values"));
        assert!(wrong_labels(&idx_bytes(8, &[0], &[])).contains("no values"));
    }
}
