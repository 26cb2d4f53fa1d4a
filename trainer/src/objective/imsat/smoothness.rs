//! Self-augmented training: outputs must not change when a sample is moved a little.
//!
//! ```text
//! R = E[ KL( sg p(y | x) || p(y | T(x)) ) ]
//! ```
//!
//! `T` moves a sample by its radius: in a random direction (RPT), or in the one that changes the outputs most (VAT,
//! Miyato et al. 2015, found by power iteration on the input gradient), or it is any other perturbation. The clean side
//! is a constant (`sg`).

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use rayon::prelude::*;

/// What a row of logits says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// One of `K` clusters: softmax.
    Categorical,
    /// `M` independent bits: sigmoids.
    Bits,
}

/// `KL(sg clean || perturbed)` in nats, summed over bits, mean over rows, of logits `[n, outputs]`.
pub fn divergence<B: Backend>(
    distribution: Distribution,
    clean: Tensor<B, 2>,
    perturbed: Tensor<B, 2>,
) -> Tensor<B, 1> {
    let clean = clean.detach();
    let rows = clean.dims()[0];
    let expected_change =
        |clean: Tensor<B, 2>, perturbed: Tensor<B, 2>| (clean.clone().exp() * (clean - perturbed)).sum();
    let sum = match distribution {
        Distribution::Categorical => expected_change(log_softmax(clean, 1), log_softmax(perturbed, 1)),
        Distribution::Bits => {
            expected_change(log_sigmoid(clean.clone()), log_sigmoid(perturbed.clone()))
                + expected_change(log_sigmoid(-clean), log_sigmoid(-perturbed))
        }
    };
    sum / rows as f64
}

/// Images `[n, h, w, c]` moved by `lengths` (`[n]`) along unit `directions`.
pub fn moved<B: Backend>(images: Tensor<B, 4>, directions: Tensor<B, 4>, lengths: Tensor<B, 1>) -> Tensor<B, 4> {
    let n = lengths.dims()[0];
    images + directions * lengths.reshape([n, 1, 1, 1])
}

/// Directions uniform on the sphere, one of `size` values for each sample. They depend on the arguments alone, so that a
/// resumed run draws what it would have drawn.
pub fn random_directions(seed: u64, seen: u64, samples: &[u32], size: usize) -> Vec<f32> {
    let direction = |&sample: &u32| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&seen.to_le_bytes());
        key[16..20].copy_from_slice(&sample.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        let draws: Vec<f64> = (0..size).map(|_| StandardNormal.sample(&mut rng)).collect();
        let length = draws.iter().map(|draw| draw * draw).sum::<f64>().sqrt();
        draws.into_iter().map(move |draw| (draw / length) as f32)
    };
    samples.par_iter().flat_map_iter(direction).collect()
}

/// [`random_directions`] shaped like `images`.
pub fn random_like<B: Backend>(images: &Tensor<B, 4>, seed: u64, seen: u64, samples: &[u32]) -> Tensor<B, 4> {
    let shape = images.dims();
    let values = random_directions(seed, seen, samples, shape[1..].iter().product());
    Tensor::from_data(TensorData::new(values, shape), &images.device())
}

/// How an adversarial direction is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerIteration {
    /// Length of the step at whose end the gradient is taken, in network units.
    pub xi: f64,
    /// Iterations.
    pub count: usize,
}

/// The direction in which each image changes `logits` most, as a constant: `count` times, the gradient of the divergence
/// at `images + xi * direction`, scaled to unit length. A sample whose gradient is zero keeps its direction.
///
/// The gradients of the network's parameters are not wanted: `logits` should hold them constant.
pub fn adversarial<B: AutodiffBackend>(
    logits: impl Fn(Tensor<B, 4>) -> Tensor<B, 2>,
    distribution: Distribution,
    images: Tensor<B, 4>,
    clean: Tensor<B, 2>,
    directions: Tensor<B, 4>,
    search: PowerIteration,
) -> Tensor<B, 4> {
    let (images, clean) = (images.detach(), clean.detach());
    let mut directions = directions.inner();
    for _ in 0..search.count {
        // The gradient over the step is that over the direction, times xi.
        let step = Tensor::from_inner(directions.clone() * search.xi).require_grad();
        let change = divergence(distribution, clean.clone(), logits(images.clone() + step.clone()));
        let gradient = step.grad(&change.backward()).expect("the step is tracked");
        directions = unit_or(gradient, directions);
    }
    Tensor::from_inner(directions)
}

/// Largest slope that is as good as none: a sum of squares of smaller ones is not what it should be.
const FLAT: f64 = 1e-30;

/// Each row's `vector` at unit length; `otherwise` where it is zero.
fn unit_or<B: Backend>(vectors: Tensor<B, 4>, otherwise: Tensor<B, 4>) -> Tensor<B, 4> {
    let shape = vectors.dims();
    let size = shape[1..].iter().product();
    let rows = vectors.reshape([shape[0], size]);
    let largest = rows.clone().abs().max_dim(1);
    let flat = largest.clone().lower_elem(FLAT);
    // Near the uniform distribution slopes are so small that their squares vanish: scaled first, then normalised.
    let scaled = rows / largest.clamp_min(FLAT);
    let length = scaled.clone().square().sum_dim(1).sqrt();
    let unit = scaled / length.clamp_min(0.5);
    unit.mask_where(flat.expand([shape[0], size]), otherwise.reshape([shape[0], size])).reshape(shape)
}
