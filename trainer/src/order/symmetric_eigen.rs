//! Eigenvalues and eigenvectors of a symmetric matrix, largest eigenvalue first.

use nalgebra::{DMatrix, SymmetricEigen};

/// Eigenvalues of `symmetric` `[k, k]`, not increasing, and the unit eigenvectors as columns in the same order. Of a
/// matrix that is symmetric only up to rounding, the symmetric part is meant.
///
/// # Panics
/// When the matrix is not square.
pub fn symmetric_eigen(symmetric: &DMatrix<f64>) -> (Vec<f64>, DMatrix<f64>) {
    let size = symmetric.nrows();
    if size == 0 {
        return (Vec::new(), DMatrix::zeros(0, 0));
    }
    let eigen = SymmetricEigen::new(symmetric_part(symmetric));
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));
    let values = order.iter().map(|&j| eigen.eigenvalues[j]).collect();
    let vectors = DMatrix::from_fn(size, size, |i, j| eigen.eigenvectors[(i, order[j])]);
    (values, vectors)
}

/// The eigenvalues of [`symmetric_eigen`] alone: for a large matrix in a small part of its time.
///
/// # Panics
/// When the matrix is not square.
pub fn symmetric_eigenvalues(symmetric: &DMatrix<f64>) -> Vec<f64> {
    if symmetric.nrows() == 0 {
        return Vec::new();
    }
    let mut values: Vec<f64> = symmetric_part(symmetric).symmetric_eigenvalues().iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// Rounding leaves the two triangles a little different, and the solver reads only one.
fn symmetric_part(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    (matrix + matrix.transpose()) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_alone_are_those_with_eigenvectors() {
        let matrix = DMatrix::from_fn(9, 9, |i, j| ((i * j + i + j) as f64).sin());
        for (alone, with) in symmetric_eigenvalues(&matrix).iter().zip(symmetric_eigen(&matrix).0) {
            assert!((alone - with).abs() < 1e-12);
        }
        assert!(symmetric_eigenvalues(&DMatrix::zeros(0, 0)).is_empty());
    }

    #[test]
    fn the_matrix_is_the_sum_of_its_eigenvectors_products() {
        let matrix = DMatrix::from_fn(7, 7, |i, j| ((i * j + i + j) as f64).sin());
        let (values, vectors) = symmetric_eigen(&matrix);
        assert!(values.is_sorted_by(|a, b| a >= b));
        let mut sum = DMatrix::zeros(7, 7);
        for (value, vector) in values.iter().zip(vectors.column_iter()) {
            sum += *value * vector * vector.transpose();
        }
        assert!((sum - matrix).amax() < 1e-12);
    }
}
