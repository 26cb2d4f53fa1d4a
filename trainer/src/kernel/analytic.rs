//! Kernels with a formula.

use std::f64::consts::PI;

use ndarray::{Array1, Array2, ArrayView1, Axis, Zip};

use super::{Kernel, Rows};

/// A kernel with a formula; [`KernelSpec`](super::KernelSpec) has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Analytic {
    /// Radial basis functions.
    Rbf {
        /// Their width.
        length: f64,
    },
    /// Of the sum of absolute differences.
    Laplacian {
        /// Its width.
        length: f64,
    },
    /// Of the inner product.
    Polynomial {
        /// The power.
        degree: u32,
        /// What is added to the product.
        offset: f64,
    },
    /// Of the angle.
    Cosine,
    /// Of the angle and the lengths.
    ArcCosine {
        /// The units' power.
        degree: u32,
    },
}

impl Kernel for Analytic {
    fn gram(&self, rows: Rows, columns: Rows) -> Array2<f64> {
        let (x, y) = (rows.values.mapv(f64::from), columns.values.mapv(f64::from));
        if let Self::Laplacian { length } = *self {
            let distance =
                |a: ArrayView1<f64>, b: ArrayView1<f64>| Zip::from(a).and(b).fold(0.0, |sum, a, b| sum + (a - b).abs());
            let mut gram = Array2::zeros((x.nrows(), y.nrows()));
            for (a, mut row) in x.outer_iter().zip(gram.outer_iter_mut()) {
                for (b, value) in y.outer_iter().zip(row.iter_mut()) {
                    *value = (-distance(a, b) / length).exp();
                }
            }
            return gram;
        }
        let squares = |values: &Array2<f64>| -> Array1<f64> { values.map_axis(Axis(1), |row| row.dot(&row)) };
        let (own, other) = (squares(&x), squares(&y));
        let mut gram = x.dot(&y.t());
        for ((i, j), value) in gram.indexed_iter_mut() {
            *value = self.of(*value, own[i], other[j]);
        }
        gram
    }
}

impl Analytic {
    /// `k` of two samples with this inner product and these squared lengths; not of [`Analytic::Laplacian`], which needs more.
    fn of(self, product: f64, own: f64, other: f64) -> f64 {
        match self {
            Self::Rbf { length } => (-(own + other - 2.0 * product).max(0.0) / (2.0 * length * length)).exp(),
            Self::Polynomial { degree, offset } => (product + offset).powi(degree as i32),
            Self::Cosine => cosine(product, own, other),
            Self::ArcCosine { degree } => {
                let cosine = cosine(product, own, other);
                let (angle, sine) = (cosine.acos(), (1.0 - cosine * cosine).sqrt());
                let dependence = match degree {
                    0 => PI - angle,
                    1 => sine + (PI - angle) * cosine,
                    _ => 3.0 * sine * cosine + (PI - angle) * (1.0 + 2.0 * cosine * cosine),
                };
                (own * other).sqrt().powi(degree as i32) * dependence / PI
            }
            Self::Laplacian { .. } => unreachable!("not a function of the inner product"),
        }
    }
}

/// 0 for a sample that is all zeros.
fn cosine(product: f64, own: f64, other: f64) -> f64 {
    match own * other > 0.0 {
        true => (product / (own * other).sqrt()).clamp(-1.0, 1.0),
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    fn values(n: usize, d: usize, seed: u64) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_fn((n, d), |_| rng.random_range(-1.0..1.0))
    }

    fn gram(kernel: Analytic, x: &Array2<f32>, y: &Array2<f32>) -> Array2<f64> {
        kernel.gram(Rows { samples: &[], values: x.view() }, Rows { samples: &[], values: y.view() })
    }

    #[test]
    fn every_kernel_is_its_formula_pair_by_pair() {
        let (x, y) = (values(5, 3, 1), values(4, 3, 2));
        type Formula = fn(&[f64], &[f64]) -> f64;
        let pairs: [(Analytic, Formula); 4] = [
            (Analytic::Rbf { length: 0.7 }, |a, b| {
                (-a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / (2.0 * 0.49)).exp()
            }),
            (Analytic::Laplacian { length: 0.7 }, |a, b| {
                (-a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 0.7).exp()
            }),
            (Analytic::Polynomial { degree: 3, offset: 1.5 }, |a, b| {
                (a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() + 1.5).powi(3)
            }),
            (Analytic::Cosine, |a, b| {
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
            }),
        ];
        for (kernel, naive) in pairs {
            let found = gram(kernel, &x, &y);
            for ((i, j), found) in found.indexed_iter() {
                let row =
                    |values: &Array2<f32>, i: usize| values.row(i).iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
                let expected = naive(&row(&x, i), &row(&y, j));
                assert!((found - expected).abs() < 1e-12, "{kernel:?} of {i} and {j}: {found}, naively {expected}");
            }
        }
    }

    /// Cho and Saul 2009: twice the mean of the products of two samples' units over normal weights.
    #[test]
    fn arc_cosine_kernels_are_means_over_random_units() {
        let (x, mut rng) = (values(2, 3, 3), ChaCha8Rng::seed_from_u64(4));
        let mut sums = [0.0; 3];
        const UNITS: usize = 400_000;
        for _ in 0..UNITS {
            let weights: Vec<f64> = (0..3).map(|_| StandardNormal.sample(&mut rng)).collect();
            let sum = |row: usize| x.row(row).iter().zip(&weights).map(|(&x, w)| f64::from(x) * w).sum::<f64>();
            let (a, b) = (sum(0), sum(1));
            if a > 0.0 && b > 0.0 {
                for (degree, total) in sums.iter_mut().enumerate() {
                    *total += 2.0 * (a * b).powi(degree as i32) / UNITS as f64;
                }
            }
        }
        for (degree, expected) in sums.into_iter().enumerate() {
            let found = gram(Analytic::ArcCosine { degree: degree as u32 }, &x, &x)[[0, 1]];
            assert!((found - expected).abs() < 0.02 * expected.max(0.1), "degree {degree}: {found}, drawn {expected}");
        }
    }

    #[test]
    fn a_sample_that_is_all_zeros_has_nothing_in_common_with_any_by_angle() {
        let mut x = values(2, 3, 5);
        x.row_mut(0).fill(0.0);
        assert_eq!(gram(Analytic::Cosine, &x, &x)[[0, 1]], 0.0);
        assert!(gram(Analytic::ArcCosine { degree: 1 }, &x, &x).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_sample_is_as_near_to_itself_as_can_be() {
        let x = values(50, 3, 6) * 1e3;
        for kernel in [Analytic::Rbf { length: 1e-3 }, Analytic::Laplacian { length: 1e-3 }] {
            assert!(gram(kernel, &x, &x).diag().iter().all(|&value| (value - 1.0).abs() < 1e-3), "{kernel:?}");
        }
    }
}
