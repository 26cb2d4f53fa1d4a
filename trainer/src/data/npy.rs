//! Arrays of numbers from `.npy` files, gzipped or not.

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

/// Whether the path says that it is an array.
pub fn is_npy(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".npy") || name.ends_with(".npy.gz")
}

/// Whole numbers, of 8 to 64 bits.
///
/// # Errors
/// The file cannot be read, is damaged or has other values.
pub fn integers(path: &Path) -> Result<ArrayD<i64>> {
    let file = File::read(path)?;
    match file.value_type.as_str() {
        "i1" => file.array::<i8, i64>(i64::from),
        "u1" => file.array::<u8, _>(i64::from),
        "i2" => file.array::<i16, _>(i64::from),
        "u2" => file.array::<u16, _>(i64::from),
        "i4" => file.array::<i32, _>(i64::from),
        "u4" => file.array::<u32, _>(i64::from),
        "i8" => file.array::<i64, _>(|value| value),
        // What exceeds i64 is out of every range that is asked for, as -1 is.
        "u8" => file.array::<u64, _>(|value| i64::try_from(value).unwrap_or(-1)),
        _ => Err(file.wrong_type("whole numbers of 8 to 64 bits")),
    }
}

/// Whether the values are unsigned bytes.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn is_of_bytes(path: &Path) -> Result<bool> {
    Ok(File::read(path)?.value_type == "u1")
}

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

/// Numbers: `f32`, `f64` or `u8`.
///
/// # Errors
/// The file cannot be read, is damaged or has other values.
pub fn doubles(path: &Path) -> Result<ArrayD<f64>> {
    let file = File::read(path)?;
    match file.value_type.as_str() {
        "f4" => file.array::<f32, _>(f64::from),
        "f8" => file.array::<f64, _>(|value| value),
        "u1" => file.array::<u8, _>(f64::from),
        _ => Err(file.wrong_type("float32, float64 or uint8")),
    }
}

/// As [`doubles`], rounded to `f32`.
///
/// # Errors
/// The file cannot be read, is damaged or has other values.
pub fn floats(path: &Path) -> Result<ArrayD<f32>> {
    Ok(doubles(path)?.mapv(|value| value as f32))
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
        // At eight bytes a value. The other extents count even beside an extent of 0: an array's strides are made of
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

    fn refused(bytes: &[u8]) -> String {
        with_file(bytes, |path| floats(path).expect_err("the file is wrong").to_string())
    }

    #[test]
    fn all_types_of_numbers_are_read() {
        let whole = |bytes: Vec<u8>| with_file(&bytes, integers).unwrap();
        let expected = arr2(&[[1_i64, 2], [3, 100]]).into_dyn();
        assert_eq!(whole(npy(expected.mapv(|value| value as i8))), expected);
        assert_eq!(whole(npy(expected.mapv(|value| value as u8))), expected);
        assert_eq!(whole(npy(expected.mapv(|value| value as i16))), expected);
        assert_eq!(whole(npy(expected.mapv(|value| value as u16))), expected);
        assert_eq!(whole(npy(expected.mapv(|value| value as i32))), expected);
        assert_eq!(whole(npy(expected.mapv(|value| value as u32))), expected);
        assert_eq!(whole(npy(expected.mapv(|value| value as u64))), expected);
        assert_eq!(whole(gzip(&npy(expected.clone()))), expected);
        assert_eq!(whole(npy(arr1(&[u64::MAX]).into_dyn())), arr1(&[-1]).into_dyn());

        let number = |bytes: Vec<u8>| with_file(&bytes, floats).unwrap();
        let expected = arr1(&[0.0_f32, 1.0, 255.0]).into_dyn();
        assert_eq!(number(npy(expected.clone())), expected);
        assert_eq!(number(npy(expected.mapv(f64::from))), expected);
        assert_eq!(number(npy(expected.mapv(|value| value as u8))), expected);
        let no_row = ArrayD::<f32>::zeros(vec![0, 3]);
        assert_eq!(number(npy(no_row.clone())), no_row);
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let message = refused(&npy(arr1(&[1_i64]).into_dyn()));
        assert!(message.ends_with("expected float32, float64 or uint8, found i8"), "{message}");
        let message = with_file(&npy(arr1(&[1.0_f32]).into_dyn()), |path| integers(path).unwrap_err().to_string());
        assert!(message.contains("wrong type of values: expected whole numbers"), "{message}");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let whole = npy(arr2(&[[1.0_f32, 2.0], [3.0, 4.0]]).into_dyn());
        for length in 0..whole.len() {
            refused(&whole[..length]);
        }
        refused(&[&whole[..], b"more"].concat());
    }

    #[test]
    fn a_changed_byte_never_causes_a_panic() {
        let whole = npy(arr2(&[[1.0_f32, 2.0], [3.0, 4.0]]).into_dyn());
        for place in 0..whole.len() {
            for change in 1..=255 {
                let mut changed = whole.clone();
                changed[place] ^= change;
                // An error or other values.
                let _ = File::check("some.npy".into(), changed).and_then(|file| file.array::<f32, f32>(|value| value));
            }
        }
    }

    #[test]
    fn a_header_asks_neither_for_memory_nor_for_depth() {
        let with_header = |text: &[u8]| {
            let version = [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes()].concat();
            refused(&[version, text.to_vec()].concat())
        };
        let message = with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}\n");
        assert!(message.contains("cut short"), "{message}");
        let message = with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}\n");
        assert!(message.contains("cut short"), "{message}");
        with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 18446744073709551615)}\n");
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
