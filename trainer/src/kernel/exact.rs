//! The eigenfunctions of a kernel on few enough samples to solve for them: what a learned eigenmap is compared with.

use nalgebra::DMatrix;
use ndarray::{Array2, s};

use super::{Kernel, Rows};
use crate::order::symmetric_eigen;

/// Exact eigenvalues and eigenfunctions on all samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Exact {
    /// Eigenvalues of the Gram matrix over the number of samples, largest first.
    pub eigenvalues: Vec<f64>,
    /// `[n, k]`: the eigenfunctions at the samples, of unit mean square.
    pub functions: Array2<f64>,
    /// The least of all eigenvalues: below 0 by more than rounding where the kernel is not positive.
    pub least: f64,
}

impl Exact {
    /// The first `count` eigenfunctions on these samples, by a dense eigendecomposition: memory grows with the square, time with
    /// the cube of their number.
    pub fn of(kernel: &dyn Kernel, rows: Rows, count: usize) -> Self {
        let n = rows.samples.len();
        let gram = kernel.gram(rows, rows);
        let (values, vectors) = symmetric_eigen(&DMatrix::from_fn(n, n, |i, j| gram[[i, j]] / n as f64));
        let count = count.min(n);
        let scale = (n as f64).sqrt();
        Self {
            least: values.last().copied().unwrap_or(0.0),
            functions: Array2::from_shape_fn((n, count), |(i, j)| scale * vectors[(i, j)]),
            eigenvalues: values[..count].to_vec(),
        }
    }

    /// `|cos|` between each eigenfunction and the learned function beside it, `[n, k]`. Where eigenvalues are equal up to
    /// `tolerance` (relative), between the learned function and the span of all of theirs: none of them is any nearer.
    pub fn alignment(&self, learned: &Array2<f64>, tolerance: f64) -> Vec<f64> {
        let n = self.functions.nrows() as f64;
        (0..learned.ncols().min(self.eigenvalues.len()))
            .map(|j| {
                let value = self.eigenvalues[j];
                let alike = |other: &&usize| (self.eigenvalues[**other] - value).abs() <= tolerance * value.abs();
                let places: Vec<usize> = (0..self.eigenvalues.len()).collect();
                let own: Vec<usize> = places.iter().filter(alike).copied().collect();
                let function = learned.column(j);
                let length = function.dot(&function) / n;
                let along = |&place: &usize| (self.functions.slice(s![.., place]).dot(&function) / n).powi(2);
                let share: f64 = own.iter().map(along).sum::<f64>() / length.max(f64::MIN_POSITIVE);
                share.min(1.0).sqrt()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::analytic::Analytic;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn grid(n: usize, low: f32, high: f32) -> Array2<f32> {
        Array2::from_shape_fn((n, 1), |(i, _)| low + (high - low) * (i as f32 + 0.5) / n as f32)
    }

    fn exact(kernel: Analytic, values: &Array2<f32>, count: usize) -> Exact {
        let samples: Vec<u32> = (0..values.nrows() as u32).collect();
        Exact::of(&kernel, Rows { samples: &samples, values: values.view() }, count)
    }

    /// The eigenvalues of the operator itself, of which a fine grid has nearly all.
    #[test]
    fn a_fine_grid_has_the_eigenvalues_of_the_operator() {
        let found = exact(Analytic::Rbf { length: 1.0 }, &grid(300, -2.0, 2.0), 5);
        for (found, expected) in found.eigenvalues.iter().zip([0.521216, 0.302539, 0.125742, 0.038924, 0.009388]) {
            assert!((found - expected).abs() < 1e-4, "{found}, of the operator {expected}");
        }
        let found = exact(Analytic::Polynomial { degree: 4, offset: 1.5 }, &grid(300, -1.0, 1.0), 7);
        for (found, expected) in
            found.eigenvalues.iter().zip([6.944134, 5.239353, 0.923980, 0.117790, 0.005496, 0.0, 0.0])
        {
            assert!((found - expected).abs() < 1e-3 * expected.max(0.01), "{found}, of the operator {expected}");
        }
    }

    #[test]
    fn functions_are_orthonormal_and_solve_the_eigenproblem() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let values = Array2::from_shape_fn((40, 2), |_| rng.random_range(-1.0..1.0));
        let kernel = Analytic::Laplacian { length: 0.8 };
        let found = exact(kernel, &values, 4);
        let samples: Vec<u32> = (0..40).collect();
        let rows = Rows { samples: &samples, values: values.view() };
        let image = kernel.gram(rows, rows).dot(&found.functions) / 40.0;
        for ((i, j), value) in image.indexed_iter() {
            assert!((value - found.eigenvalues[j] * found.functions[[i, j]]).abs() < 1e-10);
        }
        let moments = found.functions.t().dot(&found.functions) / 40.0;
        for ((i, j), value) in moments.indexed_iter() {
            assert!((value - f64::from(u8::from(i == j))).abs() < 1e-10);
        }
        assert!(found.least > 0.0);
    }

    #[test]
    fn alignment_is_to_the_function_or_to_all_that_share_its_eigenvalue() {
        // On a ring, cosines and sines come in pairs.
        let angle = |i: usize| std::f32::consts::TAU * i as f32 / 30.0;
        let ring = Array2::from_shape_fn((30, 2), |(i, j)| if j == 0 { angle(i).cos() } else { angle(i).sin() });
        let found = exact(Analytic::Rbf { length: 1.0 }, &ring, 5);
        let mut turned = found.functions.clone();
        let (a, b) = (found.functions.column(1).to_owned(), found.functions.column(2).to_owned());
        turned.column_mut(1).assign(&((&a - &b) * -0.5f64.sqrt()));
        turned.column_mut(2).assign(&((&a + &b) * 3.0));
        for aligned in found.alignment(&turned, 1e-6) {
            assert!((aligned - 1.0).abs() < 1e-9, "{aligned}");
        }
        turned.column_mut(0).assign(&a);
        assert!(found.alignment(&turned, 1e-6)[0] < 1e-9);
    }

    #[test]
    fn a_kernel_that_is_not_positive_shows_in_the_least_eigenvalue() {
        assert!(exact(Analytic::Polynomial { degree: 1, offset: -3.0 }, &grid(20, -1.0, 1.0), 2).least < -1.0);
    }
}
