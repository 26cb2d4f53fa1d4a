//! Barlow Twins (Zbontar et al. 2021): outputs of two views shall agree, and different outputs shall be uncorrelated.
//!
//! Each view's outputs are brought to mean 0 and variance 1 over the batch, `a` and `b`; with `C = E[a b^T]`:
//!
//! ```text
//! L = sum_i (1 - C_ii)^2 + lambda * sum_i sum_{j != i} C_ij^2
//! ```

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::{Batch, Loss, Objective, State, two_samples};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Encoder, Mode, Trainable};

/// Settings of the objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BarlowTwinsSpec {
    /// Factor of the correlations between different outputs. There are as many of them for each output as there are
    /// outputs, so fewer outputs than the authors' 8192 bear a larger one.
    pub lambda: f64,
    /// Outputs of the projection that the loss compares. It does not ship: the embedding is read before the projector.
    pub outputs: usize,
}

impl Default for BarlowTwinsSpec {
    /// The authors' lambda.
    fn default() -> Self {
        Self { lambda: 0.0051, outputs: 128 }
    }
}

/// Added to variances, as the authors' batch norm does: a constant output stays zero.
const VARIANCE_GUARD: f64 = 1e-5;

impl BarlowTwinsSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A `lambda` that is not positive and finite, no `outputs`.
    pub fn check(&self) -> Result<()> {
        if !(self.lambda > 0.0 && self.lambda.is_finite()) {
            return Err(Error::input("objective.lambda", "impossible value", "a positive number", self.lambda));
        }
        if self.outputs == 0 {
            return Err(Error::input("objective.outputs", "impossible value", "at least 1", self.outputs));
        }
        Ok(())
    }

    /// Checks that batches have correlations.
    ///
    /// # Errors
    /// Batches of one sample, because `batch` is one or the training set has no more `samples`.
    pub fn fits(&self, samples: usize, batch: usize) -> Result<()> {
        two_samples(samples, batch, "a batch has no correlations")
    }
}

/// The loss of a batch, each `[1]`.
pub struct Twins<B: Backend> {
    /// The loss.
    pub total: Tensor<B, 1>,
    /// `sum_i (1 - C_ii)^2`.
    pub invariance: Tensor<B, 1>,
    /// The other sum, times lambda.
    pub redundancy: Tensor<B, 1>,
    /// Mean of `C_ii`.
    pub alignment: Tensor<B, 1>,
}

/// The objective as a function of raw outputs `[2n, k]`, first views before second ones.
pub fn barlow_twins_loss<B: Backend>(outputs: Tensor<B, 2>, lambda: f64) -> Twins<B> {
    let [rows, _] = outputs.dims();
    let n = rows / 2;
    let standardised = |view: Tensor<B, 2>| {
        let centred = view.clone() - view.mean_dim(0);
        let variance = centred.clone().square().mean_dim(0);
        centred / (variance + VARIANCE_GUARD).sqrt()
    };
    let (first, second) = (standardised(outputs.clone().narrow(0, 0, n)), standardised(outputs.narrow(0, n, n)));
    let diagonal = (first.clone() * second.clone()).mean_dim(0);
    let correlations = first.transpose().matmul(second) / n as f64;
    let invariance = (-diagonal.clone() + 1.0).square().sum();
    let redundancy = (correlations.clone().triu(1) + correlations.tril(-1)).square().sum() * lambda;
    Twins {
        total: invariance.clone() + redundancy.clone(),
        invariance,
        redundancy,
        alignment: diagonal.detach().mean(),
    }
}

/// The objective.
pub struct BarlowTwins {
    spec: BarlowTwinsSpec,
}

impl BarlowTwins {
    /// At the start of training.
    pub fn new(spec: BarlowTwinsSpec) -> Self {
        Self { spec }
    }
}

impl<B: Trainable> Objective<B> for BarlowTwins {
    fn views(&self) -> &'static [View] {
        &[View::First, View::Second]
    }

    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B> {
        let outputs = encoder.forward(batch.images, Mode::Train);
        let twins = barlow_twins_loss(outputs, self.spec.lambda);
        Loss {
            total: twins.total,
            terms: vec![
                ("invariance", twins.invariance.inner()),
                ("redundancy", twins.redundancy.inner()),
                ("alignment", twins.alignment.inner()),
            ],
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

    const SAMPLES: usize = 9;
    const K: usize = 4;

    /// Raw outputs of different means and sizes whose two views are alike, `[2 * SAMPLES * K]`.
    fn outputs() -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut values = vec![0.0; 2 * SAMPLES * K];
        for i in 0..SAMPLES * K {
            let shared = rng.random_range(-1.0..1.0);
            for view in [0, SAMPLES * K] {
                let output = (i % K) as f64;
                values[view + i] = output - 1.0 + (1.0 + output) * (shared + 0.4 * rng.random_range(-1.0..1.0));
            }
        }
        values
    }

    fn tensor<B: Backend>(values: &[f64]) -> Tensor<B, 2> {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [2 * SAMPLES, K]), &Default::default())
    }

    fn value<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
        tensor.into_scalar().elem()
    }

    fn loss(outputs: &[f64], lambda: f64) -> f64 {
        value(barlow_twins_loss::<Plain>(tensor(outputs), lambda).total)
    }

    fn gradient(outputs: &[f64], lambda: f64) -> Vec<f32> {
        let tracked = tensor::<Tracked>(outputs).require_grad();
        let gradients = barlow_twins_loss(tracked.clone(), lambda).total.backward();
        tracked.grad(&gradients).unwrap().into_data().to_vec().unwrap()
    }

    /// The loss as the module's text writes it, in plain loops.
    fn naive(outputs: &[f64], lambda: f64) -> f64 {
        let mean = |of: &dyn Fn(usize) -> f64| (0..SAMPLES).map(of).sum::<f64>() / SAMPLES as f64;
        let standardised = |view: usize, sample: usize, output: usize| {
            let raw = |sample: usize| outputs[(view * SAMPLES + sample) * K + output];
            let centre = mean(&raw);
            let variance = mean(&|sample| (raw(sample) - centre).powi(2));
            (raw(sample) - centre) / (variance + VARIANCE_GUARD).sqrt()
        };
        let mut loss = 0.0;
        for i in 0..K {
            for j in 0..K {
                let correlation = mean(&|sample| standardised(0, sample, i) * standardised(1, sample, j));
                loss += if i == j { (1.0 - correlation).powi(2) } else { lambda * correlation.powi(2) };
            }
        }
        loss
    }

    #[test]
    fn the_loss_is_the_formula() {
        for lambda in [0.0051, 1.0] {
            let twins = barlow_twins_loss::<Plain>(tensor(&outputs()), lambda);
            let (found, expected) = (value(twins.total), naive(&outputs(), lambda));
            assert!((found - expected).abs() < 2e-6, "lambda {lambda}: {found}, naively {expected}");
            let parts = value(twins.invariance) + value(twins.redundancy);
            assert!((found - parts).abs() < 1e-6, "lambda {lambda}: {found} is not the sum of its parts, {parts}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let outputs = outputs();
        for lambda in [0.0051, 1.0] {
            for (i, slope) in gradient(&outputs, lambda).into_iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = outputs.clone();
                    moved[i] += step;
                    naive(&moved, lambda)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(slope) - difference).abs() < 1e-5, "lambda {lambda}, {i}: {slope} and {difference}");
            }
        }
    }

    /// Rows of a Hadamard matrix: balanced and orthogonal.
    #[test]
    fn equal_views_with_uncorrelated_outputs_cost_nothing() {
        let mut balanced = vec![0.0; 2 * SAMPLES * K];
        // Eight of the samples; the ninth is the mean of all.
        for (row, values) in balanced.chunks_exact_mut(K).enumerate() {
            let sample = row % SAMPLES;
            for (output, value) in values.iter_mut().enumerate().filter(|_| sample < 8) {
                let parity = ((output + 1) & sample).count_ones() % 2;
                *value = if parity == 0 { 5.0 } else { -5.0 };
            }
        }
        assert!(loss(&balanced, 1.0) < 1e-8);
        assert!(loss(&outputs(), 1.0) > 0.1);
    }

    #[test]
    fn neither_the_place_and_scale_of_an_output_nor_the_order_of_views_matters() {
        let expected = loss(&outputs(), 1.0);
        let [mut moved, mut swapped] = [outputs(), outputs()];
        moved.chunks_exact_mut(K).for_each(|row| {
            row[1] = -300.0 * row[1] + 70.0;
            row[2] = 0.5 * row[2] - 3.0;
        });
        swapped.rotate_left(SAMPLES * K);
        for (what, changed) in [("place and scale", moved), ("views", swapped)] {
            let found = loss(&changed, 1.0);
            assert!((found - expected).abs() < 1e-4, "{what}: {found}, expected {expected}");
        }
    }

    #[test]
    fn a_constant_output_costs_one_and_leaves_every_gradient_finite() {
        let mut outputs = outputs();
        outputs.iter_mut().skip(1).step_by(K).for_each(|value| *value = 3.0);
        let twins = barlow_twins_loss::<Plain>(tensor(&outputs), 1.0);
        let others = {
            outputs.iter_mut().skip(1).step_by(K).for_each(|value| *value = 0.0);
            naive(&outputs, 1.0) - 1.0
        };
        assert!((value(twins.total) - 1.0 - others).abs() < 1e-5);
        assert!(gradient(&outputs, 1.0).iter().all(|slope| slope.is_finite()));
    }

    #[test]
    fn impossible_settings_name_their_key() {
        let lambda = BarlowTwinsSpec { lambda: 0.0, ..Default::default() }.check().unwrap_err().to_string();
        assert!(lambda.starts_with("objective.lambda: impossible value"), "{lambda}");
        let outputs = BarlowTwinsSpec { outputs: 0, ..Default::default() }.check().unwrap_err().to_string();
        assert!(outputs.starts_with("objective.outputs: impossible value"), "{outputs}");
        let one = BarlowTwinsSpec::default().fits(100, 1).unwrap_err().to_string();
        assert!(one.starts_with("train.batch: a batch has no correlations"), "{one}");
        assert!(BarlowTwinsSpec::default().check().is_ok() && BarlowTwinsSpec::default().fits(2, 2).is_ok());
    }
}
