//! What two samples have in common, as a number: the kernels whose eigenfunctions Neural Eigenmaps learns.
//!
//! The eigenfunctions of a kernel `k` under the data's distribution `p` solve
//!
//! ```text
//! integral of k(x, x') f(x') p(x') dx' = mu f(x)
//! ```
//!
//! and on `N` samples `mu` is an eigenvalue of their Gram matrix over `N`. Training and ordering only ever compute the Gram
//! matrix of a batch, from which [`Pairs`] estimates the whole one without bias.
//!
//! * [`analytic`]: kernels with a formula;
//! * [`matrix`]: a table, say a user's own in a file;
//! * [`adjacency`]: a graph's, between its nodes;
//! * [`exact`]: the eigenfunctions themselves, for few enough samples to know them.
//!
//! A kernel of a user's own with a formula is an implementation of [`Kernel`], given to
//! [`NeuralEigenmap::with_kernel`](crate::objective::neural_eigenmap::NeuralEigenmap::with_kernel).

pub mod adjacency;
pub mod analytic;
pub mod exact;
pub mod matrix;

use std::path::PathBuf;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use analytic::Analytic;
use matrix::Matrix;

/// Some samples.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Their numbers in the data set, `n` long.
    pub samples: &'a [u32],
    /// Their values, `[n, d]`.
    pub values: ArrayView2<'a, f32>,
}

/// A symmetric function of two samples.
pub trait Kernel: Send + Sync {
    /// `k` of each of some samples with each of others, `[rows, columns]`.
    fn gram(&self, rows: Rows, columns: Rows) -> Array2<f64>;

    /// Checks that it is defined for `samples` samples of `values` values each.
    ///
    /// # Errors
    /// Says what does not fit.
    fn fits(&self, _samples: usize, _values: usize) -> Result<()> {
        Ok(())
    }
}

/// Which kernel, as a recipe or a command line says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KernelSpec {
    /// How much likelier two samples are to be views of one sample than to come together by chance.
    Augmentation {},
    /// `exp(-|x - y|^2 / (2 length^2))`.
    Rbf {
        /// In units of the samples' values, above 0.
        length: f64,
    },
    /// `exp(-sum_i |x_i - y_i| / length)`.
    Laplacian {
        /// In units of the samples' values, above 0.
        length: f64,
    },
    /// `(x . y + offset)^degree`.
    Polynomial {
        /// 1 to 64.
        degree: u32,
        /// Any number; below 0 the kernel may not be positive.
        offset: f64,
    },
    /// The cosine of the angle between two samples; 0 for a sample that is all zeros.
    Cosine {},
    /// What infinitely many random units with the activation `max(0, u)^degree` make of two samples (Cho and Saul 2009):
    /// `|x|^degree |y|^degree J_degree(angle) / pi`.
    ArcCosine {
        /// 0 (steps), 1 (ReLU) or 2.
        degree: u32,
    },
    /// A table that a file holds.
    Matrix {
        /// A `.npy` file of floats `[n, n]`, row and column `i` for training sample `i`.
        file: PathBuf,
    },
}

impl Default for KernelSpec {
    fn default() -> Self {
        Self::Augmentation {}
    }
}

impl KernelSpec {
    /// Checks the ranges; `place` is the table that holds them.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self, place: &str) -> Result<()> {
        match self {
            Self::Rbf { length } | Self::Laplacian { length } if !(*length > 0.0 && length.is_finite()) => {
                Err(Error::input(format!("{place}.length"), "impossible value", "a positive number", length))
            }
            Self::Polynomial { degree, .. } if !(1..=64).contains(degree) => {
                Err(Error::input(format!("{place}.degree"), "impossible value", "1 to 64", degree))
            }
            Self::Polynomial { offset, .. } if !offset.is_finite() => {
                Err(Error::input(format!("{place}.offset"), "impossible value", "a number", offset))
            }
            Self::ArcCosine { degree } if *degree > 2 => {
                Err(Error::input(format!("{place}.degree"), "impossible value", "0, 1 or 2", degree))
            }
            _ => Ok(()),
        }
    }

    /// Whether pairs of views say it, and no Gram matrix.
    pub fn is_of_views(&self) -> bool {
        *self == Self::Augmentation {}
    }

    /// The kernel, where a Gram matrix says it.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no table.
    pub fn load(&self) -> Result<Option<Arc<dyn Kernel>>> {
        let analytic = match *self {
            Self::Augmentation {} => return Ok(None),
            Self::Matrix { ref file } => return Ok(Some(Arc::new(Matrix::read(file)?))),
            Self::Rbf { length } => Analytic::Rbf { length },
            Self::Laplacian { length } => Analytic::Laplacian { length },
            Self::Polynomial { degree, offset } => Analytic::Polynomial { degree, offset },
            Self::Cosine {} => Analytic::Cosine,
            Self::ArcCosine { degree } => Analytic::ArcCosine { degree },
        };
        Ok(Some(Arc::new(analytic)))
    }
}

/// Weights of the pairs of a batch, so that sums over them estimate means over all pairs of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pairs {
    /// Of a sample with itself.
    pub same: f64,
    /// Of two different samples.
    pub different: f64,
}

impl Pairs {
    /// In a batch of `batch` of `samples` samples: a pair of all `samples^2` is a sample with itself once in `samples`, and a
    /// batch has more or fewer of those. With all samples in the batch, both weights are `1 / samples^2`.
    pub fn of(batch: usize, samples: usize) -> Self {
        let (n, total) = (batch as f64, samples as f64);
        let different = if batch > 1 { (1.0 - 1.0 / total) / (n * (n - 1.0)) } else { 0.0 };
        Self { same: 1.0 / (n * total), different }
    }

    /// A batch's Gram matrix `[n, n]`, weighted.
    pub fn weigh(self, mut gram: Array2<f64>) -> Array2<f64> {
        for ((i, j), value) in gram.indexed_iter_mut() {
            *value *= if i == j { self.same } else { self.different };
        }
        gram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_say_on_average_what_all_pairs_say() {
        // All batches of 3 of 5 samples, with a table that has a heavy diagonal.
        let table = Array2::from_shape_fn((5, 5), |(i, j)| if i == j { 7.0 } else { ((i + 1) * (j + 1)) as f64 });
        let whole = table.sum() / 25.0;
        let mut sums = Vec::new();
        for a in 0..5 {
            for b in a + 1..5 {
                for c in b + 1..5 {
                    let batch = [a, b, c];
                    let gram = Array2::from_shape_fn((3, 3), |(i, j)| table[[batch[i], batch[j]]]);
                    sums.push(Pairs::of(3, 5).weigh(gram).sum());
                }
            }
        }
        let mean = sums.iter().sum::<f64>() / sums.len() as f64;
        assert!((mean - whole).abs() < 1e-12, "{mean}, of all pairs {whole}");
        assert_eq!(Pairs::of(5, 5), Pairs { same: 1.0 / 25.0, different: 1.0 / 25.0 });
    }

    #[test]
    fn impossible_settings_name_their_key() {
        let refused = |table: &str| {
            let spec: KernelSpec = toml::from_str(table).unwrap();
            spec.check("objective.kernel").unwrap_err().to_string()
        };
        assert!(refused("kind = 'rbf'\nlength = 0.0").starts_with("objective.kernel.length: impossible value"));
        assert!(refused("kind = 'laplacian'\nlength = nan").starts_with("objective.kernel.length: "));
        assert!(refused("kind = 'polynomial'\ndegree = 0\noffset = 1.0").starts_with("objective.kernel.degree: "));
        assert!(refused("kind = 'polynomial'\ndegree = 2\noffset = inf").starts_with("objective.kernel.offset: "));
        assert!(refused("kind = 'arc-cosine'\ndegree = 3").ends_with("expected 0, 1 or 2, found 3"));
        assert!(toml::from_str::<KernelSpec>("kind = 'rbf'").unwrap_err().to_string().contains("length"));
        assert!(toml::from_str::<KernelSpec>("kind = 'cosine'\nlength = 1.0").is_err());
    }
}
