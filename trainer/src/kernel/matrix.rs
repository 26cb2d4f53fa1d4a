//! A kernel as a table: a user's own, or one that was computed.

use std::path::Path;

use ndarray::{Array2, Ix2};

use super::{Kernel, Rows};
use crate::data::npy;
use crate::error::{Error, Result};

/// Entries that mirror each other may differ by this part of the largest one: rounding.
const SYMMETRY: f64 = 1e-6;

/// A Gram matrix `[n, n]`: entry `(i, j)` is that of training samples `i` and `j`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Where it is from, for errors.
    pub(super) place: String,
    pub(super) table: Array2<f64>,
}

impl Matrix {
    /// Reads a `.npy` file of `f64`, `f32` or `u8`.
    ///
    /// # Errors
    /// A file that cannot be read, is no square table of floats, holds a number that is not finite, or two entries that mirror
    /// each other and differ.
    pub fn read(file: &Path) -> Result<Self> {
        let table = npy::doubles(file)?;
        let dims = table.ndim();
        let table = table.into_dimensionality::<Ix2>().map_err(|_| {
            Error::input(file.display(), "not a Gram matrix", "a square table", format!("{dims} dimension(s)"))
        })?;
        let wrong =
            |what: &str, expected: &str, found: String| Err(Error::input(file.display(), what, expected, found));
        let (rows, columns) = table.dim();
        if rows != columns || rows == 0 {
            return wrong("not a Gram matrix", "a square table", format!("{rows} x {columns}"));
        }
        if let Some(((i, j), value)) = table.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return wrong("not a number", "finite numbers", format!("{value} at ({i}, {j})"));
        }
        let most = table.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let apart = |&((i, j), value): &((usize, usize), &f64)| (value - table[[j, i]]).abs() > SYMMETRY * most;
        if let Some(((i, j), value)) = table.indexed_iter().find(apart) {
            let found = format!("{value} at ({i}, {j}) and {} at ({j}, {i})", table[[j, i]]);
            return wrong("an affinity that is not symmetric", "the same in both directions", found);
        }
        Ok(Self { place: file.display().to_string(), table })
    }
}

impl Kernel for Matrix {
    fn gram(&self, rows: Rows, columns: Rows) -> Array2<f64> {
        let (rows, columns) = (rows.samples, columns.samples);
        Array2::from_shape_fn((rows.len(), columns.len()), |(i, j)| self.table[[rows[i] as usize, columns[j] as usize]])
    }

    fn fits(&self, samples: usize, _values: usize) -> Result<()> {
        if self.table.nrows() != samples {
            let expected = format!("{samples} rows and columns, one for each training sample");
            return Err(Error::input(&self.place, "a Gram matrix of other data", expected, self.table.nrows()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use ndarray_npy::write_npy;

    fn read(table: &Array2<f64>) -> Result<Matrix> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gram.npy");
        write_npy(&file, table).unwrap();
        Matrix::read(&file)
    }

    #[test]
    fn entries_are_looked_up_by_sample() {
        let kernel = read(&array![[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]]).unwrap();
        let none = Array2::zeros((2, 0));
        let gram =
            kernel.gram(Rows { samples: &[2, 0], values: none.view() }, Rows { samples: &[1, 2], values: none.view() });
        assert_eq!(gram, array![[5.0, 6.0], [2.0, 3.0]]);
        assert!(kernel.fits(3, 7).is_ok());
        let error = kernel.fits(4, 7).unwrap_err().to_string();
        assert!(error.contains("a Gram matrix of other data") && error.ends_with("found 3"), "{error}");
    }

    #[test]
    fn tables_that_are_no_kernels_are_refused_by_entry() {
        let refused = |table: Array2<f64>| read(&table).unwrap_err().to_string();
        assert!(refused(Array2::zeros((2, 3))).ends_with("not a Gram matrix: expected a square table, found 2 x 3"));
        assert!(refused(array![[1.0, f64::NAN], [0.0, 1.0]]).ends_with("found NaN at (0, 1)"));
        assert!(refused(array![[1.0, 0.5], [0.25, 1.0]]).ends_with("found 0.5 at (0, 1) and 0.25 at (1, 0)"));
        assert!(read(&array![[1.0, 0.5], [0.5 + 1e-9, 1.0]]).is_ok(), "rounding");
        let error = Matrix::read(Path::new("nowhere.npy")).unwrap_err().to_string();
        assert!(error.starts_with("nowhere.npy: "), "{error}");
    }
}
