//! Samples in, arrays out: `.npy` and IDX files.

use std::path::Path;

use ndarray::{Array2, ArrayD, ArrayView, Axis, Dimension};
use ndarray_npy::{WritableElement, WriteNpyExt};

use crate::data::{self, idx};
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

/// Raw samples, one a row, each `shape` (height, width, channels) read flat: from a `.npy` of uint8 or an IDX file of
/// images (gzipped or not). In a `.npy` the samples may be flat, and a single channel may be left out.
///
/// # Errors
/// A file that is neither, or samples of another shape.
pub fn read_samples(path: &Path, shape: [usize; 3]) -> Result<Vec<Vec<u8>>> {
    let (found, rows): (Vec<usize>, Vec<Vec<u8>>) = if path.extension().is_some_and(|extension| extension == "npy") {
        let array = read_bytes(path)?;
        let rows = array.axis_iter(Axis(0)).map(|row| row.iter().copied().collect());
        (array.shape()[1..].to_vec(), rows.collect())
    } else {
        let samples = idx::images(path)?;
        (samples.shape.to_vec(), (0..samples.len()).map(|index| samples.sample(index).to_vec()).collect())
    };
    let [height, width, channels] = shape;
    let fits = found == [height * width * channels] || found == shape || channels == 1 && found == [height, width];
    match fits {
        true => Ok(rows),
        false => {
            let expected = format!("samples of {height}x{width}x{channels}, as the model reads");
            Err(Error::input(path.display(), "samples of another shape", expected, format!("{found:?}")))
        }
    }
}

/// Writes an array beside its place and renames it.
///
/// # Errors
/// What the system says.
pub fn write<T: WritableElement + Clone, D: Dimension>(path: &Path, array: ArrayView<T, D>) -> Result<()> {
    files::write_beside(path, |file| array.write_npy(file).map_err(std::io::Error::other))
}
