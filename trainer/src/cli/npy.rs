//! Samples in, arrays out: `.npy` and IDX files.

use std::path::Path;

use eigenlet_runtime::{Model, Shape};
use eigenlet_shared::description::Raw;
use ndarray::{Array2, ArrayD, ArrayView, Dimension};
use ndarray_npy::{WritableElement, WriteNpyExt};

use crate::data::{self, Unit, idx};
use crate::error::{Error, Result};
use crate::files;

/// An array of bytes, `[n, …]`.
///
/// # Errors
/// A file that cannot be read, is no `.npy` of unsigned bytes, or has no axis.
pub fn read_bytes(path: &Path) -> Result<ArrayD<u8>> {
    let array = data::npy::bytes(path)?;
    match array.ndim() {
        0 => Err(Error::input(path.display(), "not a list", "an array with at least one axis", "a single number")),
        _ => Ok(array),
    }
}

/// Numbers, one sample a row, whatever the shape of a sample: from a `.npy` of float64, float32 or uint8.
///
/// # Errors
/// A file that cannot be read, is no such array, has no sample or no value, or holds a number that is not finite.
pub fn read_rows(path: &Path) -> Result<Array2<f32>> {
    let array = data::npy::floats(path)?;
    let (samples, values) = (array.shape().first().copied().unwrap_or(0), array.len());
    if values == 0 {
        let found = format!("an array of shape {:?}", array.shape());
        return Err(Error::input(path.display(), "no samples", "[n, values], neither 0", found));
    }
    let rows: Vec<f32> = array.iter().copied().collect();
    let width = values / samples;
    if let Some(place) = rows.iter().position(|value| !value.is_finite()) {
        let found = format!("{} in sample {}, value {}", rows[place], place / width, place % width);
        return Err(Error::input(path.display(), "not a number", "finite numbers", found));
    }
    Ok(Array2::from_shape_vec((samples, width), rows).expect("whole samples"))
}

/// Raw samples for a model, one a row, each of the model's shape (height, width, channels) read flat: from a `.npy` of raw values
/// (uint8) or of measured ones (floats), or an IDX file of images (gzipped or not). In a `.npy` the samples may be flat, and a
/// single channel may be left out.
///
/// # Errors
/// A file that is neither, samples of another shape, a measured value that is not finite, or a raw one above 1 where the model
/// takes nothing but 0 and 1.
pub fn read_samples(path: &Path, model: &Model) -> Result<Vec<Vec<u8>>> {
    let (found, raw): (Vec<usize>, Vec<u8>) = if data::npy::is_npy(path) {
        let unit = Unit { scale: model.input_scale(), offset: model.input_offset() };
        raw_values(path, unit)?
    } else {
        let samples = idx::images(path)?;
        (samples.shape.to_vec(), samples.raw)
    };
    let Shape { height, width, channels } = model.input();
    let size = model.input_len();
    let fits = found == [size] || found == [height, width, channels] || channels == 1 && found == [height, width];
    if !fits {
        let expected = format!("samples of {height}x{width}x{channels}, as the model reads");
        return Err(Error::input(path.display(), "samples of another shape", expected, format!("{found:?}")));
    }
    if let (Raw::Indices, Some(place)) = (model.raw(), raw.iter().position(|&value| value > 1)) {
        let found = format!("{} in sample {}, value {}", raw[place], place / size, place % size);
        return Err(Error::input(path.display(), "the model takes values of 0 and 1", "no other", found));
    }
    Ok(raw.chunks_exact(size).map(<[u8]>::to_vec).collect())
}

/// The shape of a sample and the raw values of all.
fn raw_values(path: &Path, unit: Unit) -> Result<(Vec<usize>, Vec<u8>)> {
    let shape = |shape: &[usize]| match shape {
        [] => Err(Error::input(path.display(), "not a list", "an array with at least one axis", "a single number")),
        [_, sample @ ..] => Ok(sample.to_vec()),
    };
    if data::npy::is_of_bytes(path)? {
        let array = data::npy::bytes(path)?;
        return Ok((shape(array.shape())?, array.iter().copied().collect()));
    }
    let array = data::npy::doubles(path)?;
    let sample = shape(array.shape())?;
    if let Some((place, value)) = array.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        let found = format!("{value}, value {place} of the file");
        return Err(Error::input(path.display(), "not a number", "finite numbers", found));
    }
    Ok((sample, array.iter().map(|&value| unit.raw(value)).collect()))
}

/// Writes an array beside its place and renames it.
///
/// # Errors
/// What the system says.
pub fn write<T: WritableElement + Clone, D: Dimension>(path: &Path, array: ArrayView<T, D>) -> Result<()> {
    files::write_beside(path, |file| array.write_npy(file).map_err(std::io::Error::other))
}
