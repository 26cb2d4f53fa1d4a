//! Eigenvectors of a symmetric matrix, largest eigenvalue first.

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
    // Rounding leaves the two triangles a little different, and the solver reads only one.
    let eigen = SymmetricEigen::new((symmetric + symmetric.transpose()) * 0.5);
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));
    let values = order.iter().map(|&j| eigen.eigenvalues[j]).collect();
    let vectors = DMatrix::from_fn(size, size, |i, j| eigen.eigenvectors[(i, order[j])]);
    (values, vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

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
