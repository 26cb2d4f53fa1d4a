//! How much the outputs say about the input, in nats, from a batch of logits.
//!
//! Clusters, with `p = softmax(logits)` and the batch mean `p̄`:
//!
//! ```text
//! I(X; Y) = H(Y) - H(Y | X),   H(Y) = H(p̄),   H(Y | X) = E[H(p)],   KL(p̄ || uniform) = log K - H(Y)
//! ```
//!
//! Bits, with `p_m = sigmoid(logit_m)`: the same sums for each bit alone, less what pairs of bits say twice:
//!
//! ```text
//! I(X; Y_1..Y_M) ~ sum_m I(X; Y_m) - sum_{m < m'} I(Y_m; Y_m')
//! ```
//!
//! which is exact for one and two bits (Hu et al. 2017, section 3.3). Their released code subtracts every pair twice.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, log_softmax, sigmoid};
use burn::tensor::backend::Backend;

/// What a batch's cluster logits say.
pub struct ClusterTerms<B: Backend> {
    /// `p̄`, `[clusters]`.
    pub mean: Tensor<B, 1>,
    /// `H(Y | X)`, one number.
    pub conditional: Tensor<B, 1>,
    /// `H(Y)`, one number.
    pub marginal: Tensor<B, 1>,
}

/// The terms of logits `[n, clusters]`.
pub fn cluster_terms<B: Backend>(logits: Tensor<B, 2>) -> ClusterTerms<B> {
    let [n, clusters] = logits.dims();
    let log = log_softmax(logits, 1);
    let probabilities = log.clone().exp();
    let conditional = (probabilities.clone() * log).sum() / -(n as f64);
    let mean = probabilities.mean_dim(0).reshape([clusters]);
    let marginal = -x_log_x(mean.clone()).sum();
    ClusterTerms { mean, conditional, marginal }
}

/// `KL(p || q)` of probabilities, `q` given by its logarithms; one number.
pub fn divergence_from<B: Backend>(p: Tensor<B, 1>, log_q: Tensor<B, 1>) -> Tensor<B, 1> {
    (x_log_x(p.clone()) - p * log_q).sum()
}

/// What a batch's bit logits say.
pub struct BitTerms<B: Backend> {
    /// `sum_m H(Y_m | X)`, one number.
    pub conditional: Tensor<B, 1>,
    /// `sum_m H(Y_m)`, one number.
    pub marginal: Tensor<B, 1>,
    /// `sum_{m < m'} I(Y_m; Y_m')`, one number.
    pub pairs: Tensor<B, 1>,
}

/// The terms of logits `[n, bits]`.
pub fn bit_terms<B: Backend>(logits: Tensor<B, 2>) -> BitTerms<B> {
    let [n, bits] = logits.dims();
    let surprise = |logits: Tensor<B, 2>| (sigmoid(logits.clone()) * log_sigmoid(logits)).sum() / -(n as f64);
    let conditional = surprise(logits.clone()) + surprise(-logits.clone());

    let on = sigmoid(logits);
    let mean = on.clone().mean_dim(0);
    let entropy = -x_log_x(mean.clone()) - x_log_x(1.0 - mean.clone());
    let marginal = entropy.clone().sum();

    // The joint distribution of every pair at once, [bits, bits] for each of the four outcomes.
    let (row, column) = (mean.clone().reshape([bits, 1]), mean);
    let both = on.clone().transpose().matmul(on) / n as f64;
    let first = row.clone() - both.clone();
    let second = column.clone() - both.clone();
    let neither = 1.0 - row - column + both.clone();
    let joint = -(x_log_x(both) + x_log_x(first) + x_log_x(second) + x_log_x(neither));
    let shared = entropy.clone().reshape([bits, 1]) + entropy - joint;
    BitTerms { conditional, marginal, pairs: shared.triu(1).sum() }
}

/// Lowest number that a logarithm is taken of. Differences of probabilities may also come out below zero by rounding.
const LOWEST: f64 = 1e-30;

/// `x log x`, 0 at 0, with a finite slope.
fn x_log_x<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let x = x.clamp_min(LOWEST);
    x.clone() * x.log()
}
