//! IMSAT's classifiers: a sub-model's loss for a sample is how unsure it is of the sample's class, and how much its answer
//! changes with the view.
//!
//! With `p_j = softmax` of sub-model `j`'s outputs, one class each, for the sample `x_i` and its first view `x_i'`, and `p̄_j`
//! the mean of `p_j(x_i)` over the sub-model's members in the batch:
//!
//! ```text
//! l_ij = lambda H(p_j(x_i)) + KL(sg p_j(x_i) || p_j(x_i'))
//! batch: sum_j n_j / n * lambda mu KL(p̄_j || uniform)
//! ```
//!
//! One sub-model is the plain objective with the perturbation `affine`. Adversarial moves (VAT) are not among the perturbations:
//! a direction for each sub-model would cost as many power iterations as there are sub-models, and the one that moves a sample's
//! own sub-model most would make that sub-model look worse than the others.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use serde::{Deserialize, Serialize};

use super::super::imsat::information::divergence_from;
use super::{Case, Family, Losses};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Mode, Trainable, floats};

/// Settings of the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterImsatSpec {
    /// Weight of the information, above 0.
    pub lambda: f64,
    /// Weight of the classes' balance in it, above 0.
    pub mu: f64,
}

impl Default for ClusterImsatSpec {
    /// The objective's.
    fn default() -> Self {
        Self { lambda: 0.1, mu: 4.0 }
    }
}

impl ClusterImsatSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A `lambda` or `mu` that is not positive.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [("lambda", self.lambda), ("mu", self.mu)] {
            if !(value > 0.0 && value.is_finite()) {
                let place = format!("objective.family.{key}");
                return Err(Error::input(place, "impossible value", "a positive number", value));
            }
        }
        Ok(())
    }

    /// `sum_j n_j / n * KL(p̄_j || uniform)` of probabilities `[n, clusters, classes]` and memberships `[n, clusters]`, and
    /// the same sum of the entropies of `p̄_j`.
    fn imbalance<B: Trainable>(probabilities: Tensor<B, 3>, weights: Tensor<B, 2>) -> [Tensor<B, 1>; 2] {
        let [n, _, classes] = probabilities.dims();
        let sizes = floats(weights.clone().inner().sum_dim(0));
        let uniform = (classes as f64).ln();
        let log_prior = Tensor::full([classes], -uniform, &probabilities.device());
        let mut sum = Tensor::zeros([1], &probabilities.device());
        let mut entropy = sum.clone();
        for (j, size) in sizes.into_iter().enumerate().filter(|(_, size)| *size > 0.0) {
            let own = probabilities.clone().narrow(1, j, 1).reshape([n, classes]);
            let mean = (own * weights.clone().narrow(1, j, 1)).sum_dim(0).reshape([classes]) / size;
            let divergence = divergence_from(mean, log_prior.clone());
            let share = f64::from(size) / n as f64;
            entropy = entropy + (-divergence.clone() + uniform) * share;
            sum = sum + divergence * share;
        }
        [sum, entropy]
    }
}

impl<B: Trainable> Family<B> for ClusterImsatSpec {
    fn views(&self) -> &'static [View] {
        &[View::First, View::Plain]
    }

    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B> {
        // As in the plain objective, running moments see the samples as they are.
        let probe = if case.mode == Mode::Train { Mode::Probe } else { case.mode };
        let clean = log_softmax(case.outputs(case.images.clone().narrow(0, n, n)), 2);
        let moved = log_softmax(case.outputs_in(case.images.clone().narrow(0, 0, n), probe), 2);
        let clusters = clean.dims()[1];
        let per_sample = |values: Tensor<B, 3>| values.sum_dim(2).reshape([n, clusters]);

        let probabilities = clean.clone().exp();
        let conditional = per_sample(-(probabilities.clone() * clean.clone()));
        let constant = clean.detach();
        let change = per_sample(constant.clone().exp() * (constant - moved));
        let matrix = conditional * self.lambda + change;
        let Some(known) = &case.known else { return Losses::of(matrix) };
        let [imbalance, entropy] = Self::imbalance(probabilities, known.weights.clone());
        let terms = vec![("marginal_entropy", entropy.inner())];
        Losses { batch: Some(imbalance * (self.lambda * self.mu)), terms, ..Losses::of(matrix) }
    }

    fn compares_views(&self) -> bool {
        true
    }
}
