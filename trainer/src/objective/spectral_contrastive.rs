//! The spectral contrastive loss (HaoChen et al. 2021): the best low-rank factors of the augmentation kernel.
//!
//! With `x, x+` two views of one sample and `x, x'` views of different ones:
//!
//! ```text
//! L = -2 E[f(x)^T f(x+)] + E[(f(x)^T f(x'))^2]
//! ```
//!
//! Up to a constant this is `||K - F F^T||^2`, so at its minimum the outputs are the kernel's leading eigenfunctions, each
//! times the root of its eigenvalue, under any rotation. The theory is thus about the outputs themselves, and they are what
//! ships (the paper's experiments read features before the projector, as is the custom); Rayleigh-Ritz undoes the rotation.
//! The first of these functions is the constant, so one output more than the embedding has dimensions is learned.
//!
//! The authors' code also clips outputs to a ball, in which the minimum need not lie; here they are free.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::{Batch, Loss, Objective, State, two_samples};
use crate::augment::View;
use crate::error::Result;
use crate::network::{Encoder, Mode, Trainable};

/// Settings of the objective: it has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpectralContrastiveSpec {}

impl SpectralContrastiveSpec {
    /// Checks that batches hold different samples.
    ///
    /// # Errors
    /// Batches of one sample, because `batch` is one or the training set has no more `samples`.
    pub fn fits(&self, samples: usize, batch: usize) -> Result<()> {
        two_samples(samples, batch, "a batch holds no two samples")
    }
}

/// The loss of a batch, each `[1]`.
pub struct Factors<B: Backend> {
    /// The loss.
    pub total: Tensor<B, 1>,
    /// `-2 E[f(x)^T f(x+)]`.
    pub attraction: Tensor<B, 1>,
    /// `E[(f(x)^T f(x'))^2]`.
    pub repulsion: Tensor<B, 1>,
}

/// The objective as a function of raw outputs `[2n, k]`, first views before second ones; `n` is at least 2.
///
/// The second mean is over all `4n(n - 1)` pairs of views of different samples. Squared products of all pairs add up to
/// the squares of the `k` by `k` matrix `F^T F`; what a sample's views have with themselves and each other is taken off.
pub fn spectral_contrastive_loss<B: Backend>(outputs: Tensor<B, 2>) -> Factors<B> {
    let [rows, _] = outputs.dims();
    let n = rows / 2;
    let (first, second) = (outputs.clone().narrow(0, 0, n), outputs.clone().narrow(0, n, n));
    let agreement = (first * second).sum_dim(1);
    let norm = outputs.clone().square().sum_dim(1);
    let all = outputs.clone().transpose().matmul(outputs).square().sum();
    let own = norm.square().sum() + agreement.clone().square().sum() * 2.0;

    let attraction = agreement.mean() * -2.0;
    let repulsion = (all - own) / (4 * n * (n - 1)) as f64;
    Factors { total: attraction.clone() + repulsion.clone(), attraction, repulsion }
}

/// The objective.
pub struct SpectralContrastive;

impl<B: Trainable> Objective<B> for SpectralContrastive {
    fn views(&self) -> &'static [View] {
        &[View::First, View::Second]
    }

    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B> {
        let factors = spectral_contrastive_loss(encoder.forward(batch.images, Mode::Train));
        Loss {
            total: factors.total,
            terms: vec![("attraction", factors.attraction.inner()), ("repulsion", factors.repulsion.inner())],
        }
    }

    fn state(&self) -> State {
        State::new()
    }

    fn restore(&mut self, _state: State, _device: &B::Device) {}
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{ElementConversion, TensorData};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    type Plain = burn::backend::Flex;
    type Tracked = crate::backend::Flex;

    const K: usize = 4;

    /// Raw outputs whose two views are alike, `[2 * samples * K]`.
    fn outputs(samples: usize) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut values = vec![0.0; 2 * samples * K];
        for i in 0..samples * K {
            let shared = rng.random_range(-1.0..1.0);
            for view in [0, samples * K] {
                values[view + i] = shared + 0.4 * rng.random_range(-1.0..1.0);
            }
        }
        values
    }

    fn tensor<B: Backend>(values: &[f64]) -> Tensor<B, 2> {
        let rows = values.len() / K;
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows, K]), &Default::default())
    }

    fn value<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
        tensor.into_scalar().elem()
    }

    fn loss(outputs: &[f64]) -> f64 {
        value(spectral_contrastive_loss::<Plain>(tensor(outputs)).total)
    }

    fn gradient(outputs: &[f64]) -> Vec<f32> {
        let tracked = tensor::<Tracked>(outputs).require_grad();
        let gradients = spectral_contrastive_loss(tracked.clone()).total.backward();
        tracked.grad(&gradients).unwrap().into_data().to_vec().unwrap()
    }

    /// The loss as the module's text writes it, pair by pair.
    fn naive(outputs: &[f64]) -> f64 {
        let rows = outputs.len() / K;
        let samples = rows / 2;
        let product = |a: usize, b: usize| (0..K).map(|j| outputs[a * K + j] * outputs[b * K + j]).sum::<f64>();
        let (mut attraction, mut repulsion, mut pairs) = (0.0, 0.0, 0);
        for a in 0..rows {
            attraction += product(a, (a + samples) % rows);
            for b in (0..rows).filter(|b| b % samples != a % samples) {
                repulsion += product(a, b).powi(2);
                pairs += 1;
            }
        }
        -2.0 * attraction / rows as f64 + repulsion / pairs as f64
    }

    #[test]
    fn the_loss_is_the_formula() {
        for samples in [2, 3, 9] {
            let factors = spectral_contrastive_loss::<Plain>(tensor(&outputs(samples)));
            let (found, expected) = (value(factors.total), naive(&outputs(samples)));
            assert!((found - expected).abs() < 2e-6, "{samples} samples: {found}, naively {expected}");
            let parts = value(factors.attraction) + value(factors.repulsion);
            assert!((found - parts).abs() < 1e-6, "{samples} samples: {found} is not the sum of its parts, {parts}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let outputs = outputs(9);
        for (i, slope) in gradient(&outputs).into_iter().enumerate() {
            let at = |step: f64| {
                let mut moved = outputs.clone();
                moved[i] += step;
                naive(&moved)
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((f64::from(slope) - difference).abs() < 1e-5, "{i}: {slope} and {difference}");
        }
    }

    #[test]
    fn a_rotation_of_the_outputs_does_not_matter_but_their_scale_does() {
        let outputs = outputs(9);
        let (sine, cosine) = 0.7f64.sin_cos();
        let [mut turned, mut scaled] = [outputs.clone(), outputs.clone()];
        turned.chunks_exact_mut(K).for_each(|row| {
            (row[0], row[2]) = (cosine * row[0] - sine * row[2], sine * row[0] + cosine * row[2]);
        });
        scaled.iter_mut().for_each(|value| *value *= 1.3);
        assert!((loss(&turned) - loss(&outputs)).abs() < 2e-6);
        assert!((loss(&scaled) - loss(&outputs)).abs() > 1e-2);
    }

    /// As many classes as outputs, views of a class all alike: the kernel's eigenvalues are 1, its eigenfunctions the
    /// classes, and the least loss is minus their number. Within a batch, equal samples repel a little: `n` of each class
    /// of `c` make it `-2 c + c^2 * c * n (n - 1) / (c n (c n - 1))`.
    #[test]
    fn the_eigenfunctions_of_a_kernel_of_classes_are_where_the_gradient_vanishes() {
        let of_each = 50;
        let samples = of_each * K;
        let outputs_at = |scale: f64| -> Vec<f64> {
            (0..2 * samples * K).map(|i| if i / K % K == i % K { scale } else { 0.0 }).collect()
        };
        let root = (K as f64).sqrt();
        let (c, n) = (K as f64, of_each as f64);
        let expected = -2.0 * c + c * c * (n - 1.0) / (c * n - 1.0);
        assert!((loss(&outputs_at(root)) - expected).abs() < 1e-4, "{}, expected {expected}", loss(&outputs_at(root)));
        // Nearly: the batch holds a little fewer equal samples than the kernel does.
        let least = root * ((c * n - 1.0) / (c * (n - 1.0))).sqrt();
        let largest =
            |scale| gradient(&outputs_at(scale)).into_iter().fold(0.0f32, |most, slope| most.max(slope.abs()));
        assert!(largest(least) < 1e-6, "{}", largest(least));
        assert!(largest(1.2 * least) > 1e-3);
    }

    #[test]
    fn a_batch_of_one_is_refused() {
        let one = SpectralContrastiveSpec::default().fits(100, 1).unwrap_err().to_string();
        assert!(one.starts_with("train.batch: a batch holds no two samples"), "{one}");
        assert!(SpectralContrastiveSpec::default().fits(2, 2).is_ok());
    }
}
