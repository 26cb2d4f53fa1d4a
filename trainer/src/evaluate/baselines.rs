//! What an encoder must beat: principal components, their signs, rotated signs (ITQ), and random dimensions.

use nalgebra::{DMatrix, SVD};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

use super::covariance::{covariance, mean};
use crate::order::symmetric_eigen;

/// Rounds of ITQ, as in its paper.
const ITQ_ROUNDS: usize = 50;

/// Rows one task works on. Fixed, so that the order of additions does not depend on the number of threads.
const CHUNK: usize = 1024;

/// Principal components of centred features.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    mean: Array1<f32>,
    /// `[d, kept]`, orthonormal columns, most variance first.
    components: Array2<f32>,
    /// Variance along each component, not increasing.
    pub variances: Vec<f64>,
}

impl Pca {
    /// The first `components` principal components of `features` `[n, d]`; as many as there are dimensions and
    /// samples, if that is fewer.
    pub fn fit(features: &ArrayView2<f32>, components: usize) -> Self {
        let (n, d) = features.dim();
        let mean = mean(features);
        let centred = features - &mean;
        let kept = components.min(d).min(n);
        let (variances, components) = if d <= n {
            let covariance = covariance(&centred.view());
            let (variances, vectors) = symmetric_eigen(&DMatrix::from_fn(d, d, |i, j| covariance[[i, j]]));
            (variances, Array2::from_shape_fn((d, kept), |(i, j)| vectors[(i, j)] as f32))
        } else {
            components_from_gram(&centred, kept)
        };
        Self { mean, components, variances: variances[..kept].iter().map(|value| value.max(0.0)).collect() }
    }

    /// Coordinates `[n, kept]` of `features` `[n, d]` along the components.
    pub fn project(&self, features: &ArrayView2<f32>) -> Array2<f32> {
        (features - &self.mean).dot(&self.components)
    }
}

/// With fewer samples than dimensions the `[n, n]` matrix of inner products has the same non-zero spectrum.
fn components_from_gram(centred: &Array2<f32>, kept: usize) -> (Vec<f64>, Array2<f32>) {
    let n = centred.nrows();
    let gram = centred.dot(&centred.t());
    let (variances, vectors) = symmetric_eigen(&DMatrix::from_fn(n, n, |i, j| f64::from(gram[[i, j]]) / n as f64));
    let vectors = Array2::from_shape_fn((n, kept), |(i, j)| vectors[(i, j)] as f32);
    let mut components = centred.t().dot(&vectors);
    for mut component in components.columns_mut() {
        let norm = component.dot(&component).sqrt();
        if norm > 0.0 {
            component /= norm;
        }
    }
    (variances, components)
}

/// Iterative quantisation (Gong and Lazebnik 2011): the rotation of principal coordinates under which taking signs
/// loses least.
#[derive(Clone, Debug, PartialEq)]
pub struct Itq {
    /// `[bits, bits]`, orthogonal.
    rotation: Array2<f32>,
}

impl Itq {
    /// Finds the rotation for `coordinates` `[n, bits]`, centred principal coordinates of the training data, from a
    /// random start.
    pub fn fit(coordinates: &ArrayView2<f32>, seed: u64) -> Self {
        let mut rotation = random_rotation(coordinates.ncols(), seed);
        for _ in 0..ITQ_ROUNDS {
            rotation = better_rotation(coordinates, &rotation);
        }
        Self { rotation }
    }

    /// The rotation, `[bits, bits]`.
    pub fn rotation(&self) -> ArrayView2<'_, f32> {
        self.rotation.view()
    }

    /// Rotated coordinates `[n, bits]`; their signs are the code.
    pub fn rotate(&self, coordinates: &ArrayView2<f32>) -> Array2<f32> {
        coordinates.dot(&self.rotation)
    }
}

/// An orthogonal matrix: the Q of a Gaussian matrix, its signs made unique by a positive diagonal of R.
fn random_rotation(size: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let gaussian = DMatrix::from_fn(size, size, |_, _| rng.sample::<f64, _>(StandardNormal));
    let (q, r) = gaussian.qr().unpack();
    Array2::from_shape_fn((size, size), |(i, j)| (q[(i, j)] * r[(j, j)].signum()) as f32)
}

/// With `B` the signs of the rotated coordinates `V`, the rotation nearest to taking `V` to `B`: `U Wᵀ` where
/// `Vᵀ B = U S Wᵀ` (orthogonal Procrustes).
fn better_rotation(coordinates: &ArrayView2<f32>, rotation: &Array2<f32>) -> Array2<f32> {
    let bits = rotation.nrows();
    let chunks: Vec<ArrayView2<f32>> = coordinates.axis_chunks_iter(Axis(0), CHUNK).collect();
    let products: Vec<Array2<f32>> = chunks
        .par_iter()
        .map(|rows| {
            let signs = rows.dot(rotation).mapv(|value| if value > 0.0 { 1.0 } else { -1.0 });
            rows.t().dot(&signs)
        })
        .collect();
    let mut sum = DMatrix::<f64>::zeros(bits, bits);
    for product in &products {
        sum += DMatrix::from_fn(bits, bits, |i, j| f64::from(product[[i, j]]));
    }
    let svd = SVD::new(sum, true, true);
    let (u, w) = (svd.u.expect("asked for"), svd.v_t.expect("asked for"));
    let rotation = u * w;
    Array2::from_shape_fn((bits, bits), |(i, j)| rotation[(i, j)] as f32)
}

/// `count` of the dimensions `0..total`, ascending; the same for the same `draw` and `seed`.
///
/// # Panics
/// When `count` is more than `total`.
pub fn random_dims(total: usize, count: usize, seed: u64, draw: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(draw);
    let mut dims: Vec<usize> = (0..total).collect();
    dims.shuffle(&mut rng);
    let mut dims = dims[..count].to_vec();
    dims.sort_unstable();
    dims
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaussian samples whose variance along three skewed but orthogonal directions is 9, 4 and 1.
    fn gaussian(n: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let axes = random_rotation(3, seed + 1);
        let scaled = Array2::from_shape_fn((n, 3), |(_, j)| (3 - j) as f32 * rng.sample::<f32, _>(StandardNormal));
        (scaled.dot(&axes.t()) + &ndarray::array![5.0, -3.0, 1.0], axes)
    }

    #[test]
    fn principal_components_are_the_axes_of_a_gaussian() {
        let (features, axes) = gaussian(20_000, 1);
        let pca = Pca::fit(&features.view(), 3);
        for j in 0..3 {
            let cosine = pca.components.column(j).dot(&axes.column(j)).abs();
            assert!(cosine > 0.999, "component {j}: cosine {cosine}");
            let exact = ((3 - j) * (3 - j)) as f64;
            assert!((pca.variances[j] - exact).abs() < 0.05 * exact);
        }
    }

    #[test]
    fn coordinates_are_decorrelated_with_the_stated_variances() {
        let (features, _) = gaussian(500, 2);
        let pca = Pca::fit(&features.view(), 2);
        let coordinates = pca.project(&features.view());
        assert_eq!(coordinates.dim(), (500, 2));
        assert!(mean(&coordinates.view()).iter().all(|value| value.abs() < 1e-5));
        let found = covariance(&coordinates.view());
        assert!(found[[0, 1]].abs() < 1e-5);
        assert!((found[[0, 0]] - pca.variances[0]).abs() < 1e-4);
        assert!((found[[1, 1]] - pca.variances[1]).abs() < 1e-4);
    }

    #[test]
    fn wide_and_tall_features_take_different_ways_to_the_same_components() {
        let wide = Array2::from_shape_fn((6, 9), |(i, j)| ((i * 13 + j * 7 + i * j) as f32).sin());
        let through_gram = Pca::fit(&wide.view(), 4);
        // Every sample twice leaves the components as they are, and makes the set tall.
        let tall = ndarray::concatenate![Axis(0), wide, wide];
        let through_covariance = Pca::fit(&tall.view(), 4);
        for j in 0..4 {
            let cosine = through_gram.components.column(j).dot(&through_covariance.components.column(j));
            assert!(cosine.abs() > 0.9999);
            assert!((through_gram.variances[j] - through_covariance.variances[j]).abs() < 1e-5);
        }
        assert_eq!(Pca::fit(&wide.view(), 99).variances.len(), 6);
    }

    #[test]
    fn every_round_of_itq_lowers_the_quantisation_error() {
        let (features, _) = gaussian(3000, 3);
        let coordinates = Pca::fit(&features.view(), 3).project(&features.view());
        let error = |rotation: &Array2<f32>| {
            let rotated = coordinates.dot(rotation);
            rotated.iter().map(|&v| f64::from((v - if v > 0.0 { 1.0 } else { -1.0 }).powi(2))).sum::<f64>()
        };
        let mut rotation = random_rotation(3, 4);
        let start = error(&rotation);
        for _ in 0..20 {
            let better = better_rotation(&coordinates.view(), &rotation);
            assert!(error(&better) <= error(&rotation) * (1.0 + 1e-6));
            rotation = better;
        }
        assert!(error(&rotation) < 0.99 * start);
        let identity = rotation.t().dot(&rotation);
        for ((i, j), &value) in identity.indexed_iter() {
            assert!((value - f32::from(u8::from(i == j))).abs() < 1e-5);
        }
    }

    #[test]
    fn itq_turns_a_square_back_upright() {
        // However a square is turned, its corners lie in four different quadrants: no other optimum is in the way.
        let corners = ndarray::array![[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]];
        for seed in 0..5 {
            let turned = corners.dot(&random_rotation(2, seed));
            let back = Itq::fit(&turned.view(), 6).rotate(&turned.view());
            assert!(back.iter().all(|value: &f32| (value.abs() - 1.0).abs() < 1e-4), "{back}");
        }
    }

    #[test]
    fn draws_of_dimensions_are_distinct_and_repeatable() {
        let dims = random_dims(50, 20, 1, 3);
        assert!(dims.is_sorted_by(|a, b| a < b) && dims.len() == 20);
        assert_eq!(dims, random_dims(50, 20, 1, 3));
        assert_ne!(dims, random_dims(50, 20, 1, 4));
        assert_eq!(random_dims(3, 3, 1, 0), [0, 1, 2]);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let (features, _) = gaussian(5000, 7);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let pca = Pca::fit(&features.view(), 3);
                let itq = Itq::fit(&pca.project(&features.view()).view(), 1);
                (pca, itq)
            })
        };
        assert_eq!(run(1), run(3));
    }
}
