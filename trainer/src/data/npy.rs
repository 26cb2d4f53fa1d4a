//! Arrays of bytes from `.npy` files, gzipped or not.

use std::fmt::Display;
use std::path::Path;

use ndarray::ArrayD;
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyExt, ReadableElement};

use super::gzip;
use crate::error::{Error, Result};

/// The longest file, in plain bytes.
const MAX_BYTES: usize = 1 << 33;
/// The longest header, which holds little more than a type and the dimensions: what it nests cannot be deep.
const MAX_HEADER: usize = 1 << 10;
/// Where a header's text begins at the latest.
const HEADER_START: usize = 12;
/// The most brackets in it, more than the two pairs of any array of numbers: the time to parse them may double with
/// each.
const MAX_BRACKETS: usize = 8;

/// Unsigned bytes.
///
/// # Errors
/// The file cannot be read, is damaged or has other values.
pub fn bytes(path: &Path) -> Result<ArrayD<u8>> {
    let file = File::read(path)?;
    match file.value_type.as_str() {
        "u1" => file.array(|value: u8| value),
        _ => Err(file.wrong_type("uint8")),
    }
}

/// A file whose header was checked, so that no more values are read than there are bytes.
struct File {
    place: String,
    bytes: Vec<u8>,
    /// The header's `descr` without the order of bytes, as `f4`.
    value_type: String,
}

impl File {
    fn read(path: &Path) -> Result<Self> {
        Self::check(path.display().to_string(), gzip::read(path, MAX_BYTES)?)
    }

    fn check(place: String, bytes: Vec<u8>) -> Result<Self> {
        // The header's length is a u16 in version 1 of the format, a u32 in later ones.
        let length = match bytes.get(6..12) {
            Some(&[1, _, low, high, ..]) => u32::from_le_bytes([low, high, 0, 0]),
            Some(&[_, _, a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        };
        if length as usize > MAX_HEADER {
            return Err(damaged(&place, format!("a header of {length} bytes")));
        }
        let header = &bytes[..bytes.len().min(HEADER_START + length as usize)];
        if header.iter().filter(|byte| b"()[]{}".contains(byte)).count() > MAX_BRACKETS {
            return Err(damaged(&place, "a header with many brackets"));
        }
        let mut values = &bytes[..];
        let header = Header::from_reader(&mut values).map_err(|error| damaged(&place, error))?;
        // At eight bytes a value, the widest type. The other extents count even beside an extent of 0: an array's strides are made of
        // them.
        let mut extents = header.shape.iter().map(|&extent| extent.max(1));
        let size = extents.try_fold(8_usize, |size, extent| size.checked_mul(extent));
        let size = size.filter(|&size| size <= isize::MAX as usize);
        if size.is_none_or(|size| !header.shape.contains(&0) && size / 8 > values.len()) {
            let what = "the file is cut short";
            let expected = format!("values for dimensions {:?}", header.shape);
            return Err(Error::input(place, what, expected, format!("{} bytes", values.len())));
        }
        let value_type = header.type_descriptor.to_string().trim_matches(['\'', '<', '>', '|']).to_string();
        Ok(Self { place, bytes, value_type })
    }

    fn array<T: ReadableElement + Clone + 'static, U: 'static>(&self, convert: impl Fn(T) -> U) -> Result<ArrayD<U>> {
        let array = ArrayD::<T>::read_npy(&self.bytes[..]).map_err(|error| damaged(&self.place, error))?;
        Ok(array.mapv_into_any(convert))
    }

    fn wrong_type(&self, expected: &str) -> Error {
        Error::input(&self.place, "wrong type of values", expected, &self.value_type)
    }
}

fn damaged(place: &str, found: impl Display) -> Error {
    Error::input(place, "not an array", "an intact .npy file", found)
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, arr1, arr2};
    use ndarray_npy::{WritableElement, WriteNpyExt};

    use super::super::gzip::testing::gzip;
    use super::*;

    fn npy<T: WritableElement + Clone>(array: ArrayD<T>) -> Vec<u8> {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        bytes
    }

    fn with_file<T>(bytes: &[u8], read: impl Fn(&Path) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.npy");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    fn refused(contents: &[u8]) -> String {
        with_file(contents, |path| bytes(path).expect_err("the file is wrong").to_string())
    }

    #[test]
    fn bytes_are_read_plain_or_gzipped_and_other_types_are_refused_by_name() {
        let expected = arr2(&[[1_u8, 2], [3, 255]]).into_dyn();
        let whole = npy(expected.clone());
        assert_eq!(with_file(&whole, bytes).unwrap(), expected);
        assert_eq!(with_file(&gzip(&whole), bytes).unwrap(), expected);
        let no_row = ArrayD::<u8>::zeros(vec![0, 3]);
        assert_eq!(with_file(&npy(no_row.clone()), bytes).unwrap(), no_row);
        let message = refused(&npy(arr1(&[1.0_f32]).into_dyn()));
        assert!(message.ends_with("wrong type of values: expected uint8, found f4"), "{message}");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let whole = npy(arr2(&[[1_u8, 2], [3, 4]]).into_dyn());
        for length in 0..whole.len() {
            refused(&whole[..length]);
        }
        refused(&[&whole[..], b"more"].concat());
    }

    #[test]
    fn a_changed_byte_never_causes_a_panic() {
        let whole = npy(arr2(&[[1_u8, 2], [3, 4]]).into_dyn());
        for place in 0..whole.len() {
            for change in 1..=255 {
                let mut changed = whole.clone();
                changed[place] ^= change;
                // An error or other values.
                let _ = File::check("some.npy".into(), changed).and_then(|file| file.array(|value: u8| value));
            }
        }
    }

    #[test]
    fn a_header_asks_neither_for_memory_nor_for_depth() {
        let with_header = |text: &[u8]| {
            let version = [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes()].concat();
            refused(&[version, text.to_vec()].concat())
        };
        let message = with_header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,)}\n");
        assert!(message.contains("cut short"), "{message}");
        let message = with_header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296)}\n");
        assert!(message.contains("cut short"), "{message}");
        with_header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 18446744073709551615)}\n");
        for deep in [b'(', b'[', b'{'] {
            assert!(with_header(&[deep; MAX_HEADER]).ends_with("found a header with many brackets"));
            with_header(&[vec![deep; MAX_BRACKETS], b"\n".to_vec()].concat());
        }
        for long in [b'-', b'+', b'1', b'\'', b'\\', b' '] {
            with_header(&[vec![long; MAX_HEADER - 1], b"\n".to_vec()].concat());
        }
        assert!(with_header(&[b' '; MAX_HEADER + 1]).ends_with("found a header of 1025 bytes"));
    }
}
