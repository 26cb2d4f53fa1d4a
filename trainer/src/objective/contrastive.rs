//! Contrastive learning with hard negatives (Robinson et al. 2021), with debiased contrastive learning (Chuang et al.
//! 2020) and SimCLR (Chen et al. 2020) as its limits.
//!
//! A batch of `n` samples has `2n` anchors, its views. Similarities are `s = cos / t` between unit outputs; an anchor's
//! positive `p` is the other view of its sample, its `N = 2n - 2` negatives are all views of the other samples:
//!
//! ```text
//! R = N * sum_i e^(beta s_i) e^(s_i) / sum_i e^(beta s_i)         negatives weighted by how hard they are
//! M = max((R - tau N e^p) / (1 - tau), N e^(-1/t))                without those of the anchor's own class
//! L = mean over anchors of ln(1 + M / e^p)
//! ```
//!
//! `beta = 0` is debiased contrastive learning, `beta = tau = 0` the NT-Xent loss of SimCLR; `tau = 0` alone only weights.
//! This is the authors' code, not the listing in their paper, which leaves out the exponent of the weights. In it the
//! concentration of the weights over the sphere is `beta / t`.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::{Batch, Loss, Objective, Position, State, two_samples};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Encoder, Mode, Trainable};

/// Settings of the objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContrastiveSpec {
    /// What cosines are divided by, `t`.
    pub temperature: f64,
    /// How much more weight hard negatives get; 0: none.
    pub beta: f64,
    /// Share of negatives that are taken to be of the anchor's own class; 0: none. Above the true share it
    /// over-corrects: the term `clamped` then rises.
    pub tau_plus: f64,
    /// Whether the weights are constants. As the authors have it they are not, and then the easier negatives, those with
    /// `e^s` below `beta / (1 + beta) * R / N`, are drawn towards the anchor.
    pub detach_weights: bool,
    /// Stages of equal length in which `beta` falls linearly, from itself in the first to 0 in the last; 0: it stays.
    pub anneal: usize,
    /// Outputs of the projection that the loss compares. It does not ship: the embedding is read before the projector.
    pub outputs: usize,
}

impl Default for ContrastiveSpec {
    /// The authors' settings.
    fn default() -> Self {
        Self { temperature: 0.5, beta: 1.0, tau_plus: 0.1, detach_weights: false, anneal: 0, outputs: 128 }
    }
}

/// Below it, differences of similarities leave nothing but the hardest negative.
const LOWEST_TEMPERATURE: f64 = 1e-3;
/// Added to squared norms, so that a zero output has a finite gradient.
const NORM_GUARD: f64 = 1e-12;
/// Added to similarities that are not of negatives: even times a small `beta`, it leaves a weight of zero.
const NOT_A_NEGATIVE: f64 = -1e30;

impl ContrastiveSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A `temperature` below 0.001, a negative `beta`, a `tau_plus` outside `[0, 1)`, an `anneal` of one stage, no
    /// `outputs`.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, expected: &str, found: &dyn std::fmt::Display| {
            Err(Error::input(format!("objective.{key}"), "impossible value", expected, found))
        };
        if !(self.temperature >= LOWEST_TEMPERATURE && self.temperature.is_finite()) {
            return wrong("temperature", "a number from 0.001", &self.temperature);
        }
        if !(self.beta >= 0.0 && self.beta.is_finite()) {
            return wrong("beta", "0 or a positive number", &self.beta);
        }
        if !(0.0..1.0).contains(&self.tau_plus) {
            return wrong("tau_plus", "0 to below 1", &self.tau_plus);
        }
        if self.anneal == 1 || self.anneal > 1_000_000 {
            return wrong("anneal", "0 (off), or 2 to 1000000 stages", &self.anneal);
        }
        if self.outputs == 0 {
            return wrong("outputs", "at least 1", &self.outputs);
        }
        Ok(())
    }

    /// Checks that batches hold negatives.
    ///
    /// # Errors
    /// Batches of one sample, because `batch` is one or the training set has no more `samples`.
    pub fn fits(&self, samples: usize, batch: usize) -> Result<()> {
        two_samples(samples, batch, "a batch holds no negatives")
    }

    /// The settings at a moment of training: with `beta` as far down as `anneal` says.
    ///
    /// The authors' code keeps the first stage's `beta` for two stages, since its schedule starts with the value that is
    /// already in use; here the last stage is the one at 0.
    pub fn at(&self, position: Position) -> Self {
        let Position { seen, total, .. } = position;
        let last = self.anneal.saturating_sub(1) as u64;
        if last == 0 {
            return self.clone();
        }
        let stage = (seen * self.anneal as u64 / total.max(1)).min(last);
        Self { beta: self.beta * (last - stage) as f64 / last as f64, ..self.clone() }
    }
}

/// The loss of a batch, each `[1]`.
pub struct Contrast<B: Backend> {
    /// The loss.
    pub total: Tensor<B, 1>,
    /// Mean cosine of anchor and positive.
    pub alignment: Tensor<B, 1>,
    /// Mean over anchors of the largest cosine to a negative.
    pub hardest: Tensor<B, 1>,
    /// Share of anchors whose corrected negatives were held at their lowest possible sum. No gradient reaches these
    /// negatives.
    pub clamped: Tensor<B, 1>,
}

/// The objective as a function of raw outputs `[2n, k]`, first views before second ones; `n` is at least 2.
pub fn contrastive_loss<B: Backend>(outputs: Tensor<B, 2>, spec: &ContrastiveSpec) -> Contrast<B> {
    let Anchors { losses, positive, hardest, clamped } = anchors(outputs, spec);
    Contrast {
        total: losses.mean(),
        alignment: positive.detach().mean() * spec.temperature,
        hardest: hardest.mean() * spec.temperature,
        clamped,
    }
}

/// Each anchor's own loss, `[2n, 1]`, of raw outputs `[2n, k]`, first views before second ones; `n` is at least 2.
pub fn anchor_losses<B: Backend>(outputs: Tensor<B, 2>, spec: &ContrastiveSpec) -> Tensor<B, 2> {
    anchors(outputs, spec).losses
}

/// Of each anchor, `[2n, 1]`: its loss, its similarity to the positive, the largest to a negative.
struct Anchors<B: Backend> {
    losses: Tensor<B, 2>,
    positive: Tensor<B, 2>,
    hardest: Tensor<B, 2>,
    /// The share whose corrected negatives were held.
    clamped: Tensor<B, 1>,
}

fn anchors<B: Backend>(outputs: Tensor<B, 2>, spec: &ContrastiveSpec) -> Anchors<B> {
    let [rows, _] = outputs.dims();
    let n = rows / 2;
    let negatives = (rows - 2) as f64;
    let device = outputs.device();

    let norm = (outputs.clone().square().sum_dim(1) + NORM_GUARD).sqrt();
    // Products of these are similarities: each factor brings the root of 1 / t.
    let unit = outputs / (norm * spec.temperature.sqrt());
    let (first, second) = (unit.clone().narrow(0, 0, n), unit.clone().narrow(0, n, n));
    let positive = (first * second).sum_dim(1);
    // Not `repeat_dim`: its gradient in burn 0.21 is that of another order of rows.
    let positive = Tensor::cat(vec![positive.clone(), positive], 0);
    let others = (Tensor::<B, 2>::eye(n, &device) * NOT_A_NEGATIVE).repeat(&[2, 2]);
    let similarities = unit.clone().matmul(unit.transpose()) + others;

    let Reweighted { log_mean, hardest } = reweighted(similarities, negatives, spec);
    let (log_mean, clamped) = debiased(log_mean, positive.clone(), spec);
    // ln(1 + e^x) at x = ln(M) - p.
    let losses = -log_sigmoid(positive.clone() - log_mean - negatives.ln());
    Anchors { losses, positive, hardest, clamped }
}

/// The logarithm of each row's weighted mean, `ln(R / N)`, and the largest similarity of its negatives, a constant; both
/// `[rows, 1]`.
struct Reweighted<B: Backend> {
    log_mean: Tensor<B, 2>,
    hardest: Tensor<B, 2>,
}

/// Weighs similarities `[rows, columns]`, of which each row has `negatives` that are of negatives.
///
/// Everything is relative to a row's largest similarity, so no exponential overflows and no sum is zero.
fn reweighted<B: Backend>(similarities: Tensor<B, 2>, negatives: f64, spec: &ContrastiveSpec) -> Reweighted<B> {
    let hardest = similarities.clone().detach().max_dim(1);
    let below = similarities - hardest.clone();
    let exponentials = below.clone().exp();
    let relative = if spec.beta == 0.0 {
        exponentials.sum_dim(1) / negatives
    } else {
        let below = if spec.detach_weights { below.detach() } else { below };
        let weights = (below * spec.beta).exp();
        (weights.clone() * exponentials).sum_dim(1) / weights.sum_dim(1)
    };
    Reweighted { log_mean: relative.log() + hardest.clone(), hardest }
}

/// `ln(M / N)`, `[rows, 1]`, from `ln(R / N)` and the positives' similarities; and the share of rows that were clamped.
fn debiased<B: Backend>(
    log_mean: Tensor<B, 2>,
    positive: Tensor<B, 2>,
    spec: &ContrastiveSpec,
) -> (Tensor<B, 2>, Tensor<B, 1>) {
    if spec.tau_plus == 0.0 {
        // No mean is below the lowest that its terms can be: nothing to clamp, whatever rounding says.
        let none = Tensor::zeros([1], &log_mean.device());
        return (log_mean, none);
    }
    let lowest = -1.0 / spec.temperature;
    let largest = log_mean.clone().detach().max_pair(positive.clone().detach());
    let same_class = (positive - largest.clone()).exp() * spec.tau_plus;
    let difference = ((log_mean - largest.clone()).exp() - same_class) / (1.0 - spec.tau_plus);
    let clamped = difference.clone().detach().lower_equal((-largest.clone() + lowest).exp());
    // What is clamped may be negative, and must not reach the logarithm.
    let corrected = difference.mask_fill(clamped.clone(), 1.0).log() + largest;
    (corrected.mask_fill(clamped.clone(), lowest), clamped.float().mean())
}

/// The objective.
pub struct Contrastive {
    spec: ContrastiveSpec,
}

impl Contrastive {
    /// At the start of training.
    pub fn new(spec: ContrastiveSpec) -> Self {
        Self { spec }
    }
}

impl<B: Trainable> Objective<B> for Contrastive {
    fn views(&self) -> &'static [View] {
        &[View::First, View::Second]
    }

    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B> {
        let spec = self.spec.at(batch.position);
        let device = batch.images.device();
        let outputs = encoder.forward(batch.images, Mode::Train);
        let contrast = contrastive_loss(outputs, &spec);
        let mut terms = vec![("alignment", contrast.alignment.inner()), ("hardest_negative", contrast.hardest.inner())];
        if spec.tau_plus > 0.0 {
            terms.push(("clamped", contrast.clamped.inner()));
        }
        if spec.anneal > 0 {
            terms.push(("beta", Tensor::from_floats([spec.beta as f32], &device)));
        }
        Loss { total: contrast.total, terms }
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
    use crate::network::NetworkSpec;

    type Plain = burn::backend::Flex;
    type Tracked = crate::backend::Flex;

    const SAMPLES: usize = 8;
    const K: usize = 5;

    /// Raw outputs, `[2 * samples * K]`. Every other sample's views are alike (`noise` is small beside 1), the rest are not.
    fn outputs(samples: usize, noise: f64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut values = vec![0.0; 2 * samples * K];
        for i in 0..samples * K {
            let shared = rng.random_range(-1.0..1.0);
            let noise = noise * [0.25, 4.0][i / K % 2];
            for view in [0, samples * K] {
                values[view + i] = shared + noise * rng.random_range(-1.0..1.0);
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

    fn loss(outputs: &[f64], spec: &ContrastiveSpec) -> f64 {
        value(contrastive_loss::<Plain>(tensor(outputs), spec).total)
    }

    fn gradient(outputs: &[f64], spec: &ContrastiveSpec) -> Vec<f32> {
        let tracked = tensor::<Tracked>(outputs).require_grad();
        let gradients = contrastive_loss(tracked.clone(), spec).total.backward();
        tracked.grad(&gradients).unwrap().into_data().to_vec().unwrap()
    }

    fn spec(temperature: f64, beta: f64, tau_plus: f64) -> ContrastiveSpec {
        ContrastiveSpec { temperature, beta, tau_plus, ..Default::default() }
    }

    /// SimCLR, debiased, weighted, both, over-corrected so that some anchors clamp, and hardly weighted.
    fn every_spec() -> Vec<ContrastiveSpec> {
        [
            (0.5, 0.0, 0.0),
            (0.5, 0.0, 0.1),
            (0.3, 1.0, 0.0),
            (0.5, 1.0, 0.1),
            (0.7, 2.0, 0.05),
            (0.5, 0.5, 0.3),
            (0.5, 1e-6, 0.1),
        ]
        .into_iter()
        .flat_map(|(temperature, beta, tau_plus)| {
            let spec = spec(temperature, beta, tau_plus);
            [ContrastiveSpec { detach_weights: true, ..spec.clone() }, spec]
        })
        .collect()
    }

    fn cosine(outputs: &[f64], a: usize, b: usize) -> f64 {
        let row = |i: usize| &outputs[i * K..(i + 1) * K];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(row(a), row(b)) / (dot(row(a), row(a)) * dot(row(b), row(b))).sqrt()
    }

    /// The loss as the module's text writes it, in plain loops. Detached weights are read from `constant`, so that the
    /// slope over `outputs` is the one that training must follow. Also: how many anchors clamp.
    fn naive(constant: &[f64], outputs: &[f64], spec: &ContrastiveSpec) -> (f64, usize) {
        let rows = outputs.len() / K;
        let samples = rows / 2;
        let negatives = (rows - 2) as f64;
        let (mut loss, mut clamped) = (0.0, 0);
        for anchor in 0..rows {
            let positive = (cosine(outputs, anchor, (anchor + samples) % rows) / spec.temperature).exp();
            let (mut weighted, mut weights) = (0.0, 0.0);
            for other in (0..rows).filter(|other| other % samples != anchor % samples) {
                let of_weight = if spec.detach_weights { constant } else { outputs };
                let weight = (spec.beta * cosine(of_weight, anchor, other) / spec.temperature).exp();
                weighted += weight * (cosine(outputs, anchor, other) / spec.temperature).exp();
                weights += weight;
            }
            let corrected =
                (negatives * weighted / weights - spec.tau_plus * negatives * positive) / (1.0 - spec.tau_plus);
            let lowest = negatives * (-1.0 / spec.temperature).exp();
            clamped += usize::from(corrected < lowest);
            loss -= (positive / (positive + corrected.max(lowest))).ln() / rows as f64;
        }
        (loss, clamped)
    }

    /// At every batch size, down to the smallest that has negatives.
    #[test]
    fn the_loss_is_the_formula() {
        for samples in [2, 3, SAMPLES] {
            let outputs = outputs(samples, 0.3);
            for spec in every_spec() {
                let (found, (expected, clamped)) =
                    (contrastive_loss::<Plain>(tensor(&outputs), &spec), naive(&outputs, &outputs, &spec));
                let total = value(found.total);
                assert!((total - expected).abs() < 2e-6, "{samples} samples, {spec:?}: {total}, naively {expected}");
                let share = clamped as f64 / (2 * samples) as f64;
                assert!((value(found.clamped) - share).abs() < 1e-6, "{samples} samples, {spec:?}: {share} clamped");
            }
        }
        let some = spec(0.5, 0.5, 0.3);
        let clamped = naive(&outputs(SAMPLES, 0.3), &outputs(SAMPLES, 0.3), &some).1;
        assert!(clamped > 0 && clamped < 2 * SAMPLES, "the case of some clamped anchors has {clamped}");
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let outputs = outputs(SAMPLES, 0.3);
        for spec in every_spec() {
            for (i, slope) in gradient(&outputs, &spec).into_iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = outputs.clone();
                    moved[i] += step;
                    naive(&outputs, &moved, &spec).0
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(slope) - difference).abs() < 1e-5, "{spec:?}, {i}: {slope} and {difference}");
            }
        }
    }

    /// The cross entropy of finding the positive among all other views.
    #[test]
    fn without_beta_and_tau_it_is_nt_xent() {
        let outputs = outputs(SAMPLES, 0.6);
        let (rows, temperature) = (2 * SAMPLES, 0.4);
        let mut expected = 0.0;
        for anchor in 0..rows {
            let exponential = |other| (cosine(&outputs, anchor, other) / temperature).exp();
            let all: f64 = (0..rows).filter(|&other| other != anchor).map(exponential).sum();
            expected -= (exponential((anchor + SAMPLES) % rows) / all).ln() / rows as f64;
        }
        let found = loss(&outputs, &spec(temperature, 0.0, 0.0));
        assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
    }

    const ROW: [f32; 6] = [1.5, -2.0, 0.3, 1.1, -0.4, 0.9];

    /// `R / N` and its gradient in the similarities, of one row of negatives.
    fn weighted_mean(spec: &ContrastiveSpec) -> (f64, Vec<f32>) {
        let row = Tensor::<Tracked, 2>::from_floats([ROW], &Default::default()).require_grad();
        let log_mean = reweighted(row.clone(), ROW.len() as f64, spec).log_mean;
        let gradients = log_mean.clone().sum().backward();
        let mean: f64 = log_mean.exp().into_scalar().elem();
        (mean, row.grad(&gradients).unwrap().into_data().to_vec().unwrap())
    }

    fn softmax(scale: f64) -> Vec<f64> {
        let exponentials: Vec<f64> = ROW.iter().map(|&s| (scale * f64::from(s)).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        exponentials.into_iter().map(|exponential| exponential / sum).collect()
    }

    #[test]
    fn the_gradient_of_the_weighted_mean_is_a_difference_of_two_softmaxes() {
        for beta in [0.0, 0.5, 1.0, 4.0] {
            let (_, slopes) = weighted_mean(&spec(0.5, beta, 0.1));
            for (slope, (hard, weight)) in slopes.iter().zip(softmax(1.0 + beta).into_iter().zip(softmax(beta))) {
                let expected = (1.0 + beta) * hard - beta * weight;
                assert!((f64::from(*slope) - expected).abs() < 1e-6, "beta {beta}: {slope}, expected {expected}");
            }
        }
    }

    #[test]
    fn easy_negatives_are_attracted_unless_the_weights_are_constants() {
        let beta = 1.0;
        let (mean, slopes) = weighted_mean(&spec(0.5, beta, 0.1));
        let easy: Vec<bool> = ROW.iter().map(|&s| f64::from(s).exp() < beta / (1.0 + beta) * mean).collect();
        assert!(easy.contains(&true) && easy.contains(&false));
        assert_eq!(slopes.iter().map(|&slope| slope < 0.0).collect::<Vec<_>>(), easy);

        let (same, slopes) = weighted_mean(&ContrastiveSpec { detach_weights: true, ..spec(0.5, beta, 0.1) });
        assert_eq!(mean, same);
        for (slope, expected) in slopes.iter().zip(softmax(1.0 + beta)) {
            assert!((f64::from(*slope) - expected).abs() < 1e-6, "{slope}, expected {expected}");
        }
    }

    #[test]
    fn constant_weights_change_gradients_only_where_there_are_weights() {
        let outputs = outputs(SAMPLES, 0.3);
        for beta in [0.0, 0.5, 2.0] {
            let (spec, detached) =
                (spec(0.5, beta, 0.1), ContrastiveSpec { detach_weights: true, ..spec(0.5, beta, 0.1) });
            assert_eq!(loss(&outputs, &spec), loss(&outputs, &detached), "beta {beta}");
            assert_eq!(gradient(&outputs, &spec) == gradient(&outputs, &detached), beta == 0.0, "beta {beta}");
        }
    }

    #[test]
    fn the_weighted_mean_grows_with_beta_up_to_the_hardest_negative() {
        let means = [0.0, 0.1, 0.5, 1.0, 2.0, 8.0, 50.0].map(|beta| weighted_mean(&spec(0.5, beta, 0.1)).0);
        assert!(means.is_sorted(), "{means:?}");
        assert!(means[0] < means[5]);
        let ratio = weighted_mean(&spec(0.5, 200.0, 0.1)).0 / f64::from(ROW[0]).exp();
        assert!((ratio - 1.0).abs() < 1e-6, "{ratio}");

        let outputs = outputs(SAMPLES, 0.3);
        let losses = [0.0, 0.5, 1.0, 2.0, 8.0, 200.0].map(|beta| loss(&outputs, &spec(0.5, beta, 0.1)));
        assert!(losses.is_sorted() && losses[0] < losses[4], "{losses:?}");
    }

    #[test]
    fn collapsed_outputs_cost_the_logarithm_of_all_candidates() {
        let same: Vec<f64> = (0..2 * SAMPLES * K).map(|i| [0.3, -0.2, 1.0, 0.5, -2.0][i % K]).collect();
        for spec in every_spec() {
            let found = loss(&same, &spec);
            let expected = ((2 * SAMPLES - 1) as f64).ln();
            assert!((found - expected).abs() < 1e-5, "{spec:?}: {found}, expected {expected}");
        }
    }

    #[test]
    fn neither_the_order_of_samples_nor_that_of_views_nor_the_size_of_outputs_matters() {
        let outputs = outputs(SAMPLES, 0.3);
        let [mut rotated, mut swapped, mut sized] = [(); 3].map(|()| outputs.clone());
        rotated.chunks_exact_mut(SAMPLES * K).for_each(|view| view.rotate_left(3 * K));
        swapped.rotate_left(SAMPLES * K);
        sized.chunks_exact_mut(K).enumerate().for_each(|(i, row)| row.iter_mut().for_each(|x| *x *= 0.1 + i as f64));
        for spec in every_spec() {
            let expected = loss(&outputs, &spec);
            for (what, changed) in [("samples", &rotated), ("views", &swapped), ("sizes", &sized)] {
                let found = loss(changed, &spec);
                assert!((found - expected).abs() < 2e-6, "{what}, {spec:?}: {found}, expected {expected}");
            }
        }
    }

    /// A sample whose two views agree has nothing to gain as an anchor, so what moves it, it gets as a negative of others.
    #[test]
    fn no_gradient_reaches_the_negatives_of_clamped_anchors() {
        let mut outputs = outputs(SAMPLES, 0.05);
        let (first, second) = outputs.split_at_mut(SAMPLES * K);
        second[..K].copy_from_slice(&first[..K]);
        for clamping in [true, false] {
            let spec = spec(0.5, 1.0, if clamping { 0.9 } else { 0.0 });
            let share = value(contrastive_loss::<Plain>(tensor(&outputs), &spec).clamped);
            assert_eq!(share, f64::from(u8::from(clamping)));
            let slopes = gradient(&outputs, &spec);
            let largest =
                |sample: usize| slopes[sample * K..][..K].iter().fold(0.0f32, |most, slope| most.max(slope.abs()));
            assert_eq!(largest(0) < 1e-7, clamping, "{}", largest(0));
            assert!((1..SAMPLES).all(|sample| largest(sample) > 1e-5), "the positives still pull");
        }
    }

    /// Where plain exponentials leave `f32`, though not yet the `f64` of the naive sums.
    #[test]
    fn low_temperatures_and_large_beta_neither_overflow_nor_vanish() {
        let outputs = outputs(SAMPLES, 0.6);
        for (temperature, beta, tau_plus) in [(0.05, 8.0, 0.0), (0.05, 8.0, 0.1), (0.01, 3.0, 0.1), (0.005, 1.0, 0.0)] {
            let spec = spec(temperature, beta, tau_plus);
            let (found, expected) = (loss(&outputs, &spec), naive(&outputs, &outputs, &spec).0);
            assert!((found / expected - 1.0).abs() < 1e-5, "{spec:?}: {found}, naively {expected}");
            assert!(gradient(&outputs, &spec).iter().all(|slope| slope.is_finite()), "{spec:?}");
        }
    }

    #[test]
    fn zero_outputs_leave_every_gradient_finite() {
        let mut outputs = outputs(SAMPLES, 0.3);
        outputs[K..2 * K].fill(0.0);
        for spec in every_spec() {
            assert!(gradient(&outputs, &spec).iter().all(|slope| slope.is_finite()), "{spec:?}");
            assert!(gradient(&vec![0.0; outputs.len()], &spec).iter().all(|slope| slope.is_finite()), "{spec:?}");
        }
    }

    #[test]
    fn the_diagnostics_are_cosines() {
        let outputs = outputs(SAMPLES, 0.3);
        let rows = 2 * SAMPLES;
        let found = contrastive_loss::<Plain>(tensor(&outputs), &spec(0.3, 1.0, 0.1));
        let mean = |of: &dyn Fn(usize) -> f64| (0..rows).map(of).sum::<f64>() / rows as f64;
        let alignment = mean(&|anchor| cosine(&outputs, anchor, (anchor + SAMPLES) % rows));
        let hardest = mean(&|anchor| {
            let negatives = (0..rows).filter(|other| other % SAMPLES != anchor % SAMPLES);
            negatives.map(|other| cosine(&outputs, anchor, other)).fold(-1.0, f64::max)
        });
        assert!((value(found.alignment) - alignment).abs() < 1e-6);
        assert!((value(found.hardest) - hardest).abs() < 1e-6);
    }

    #[test]
    fn annealing_goes_down_in_equal_stages_from_beta_to_zero() {
        let annealed = ContrastiveSpec { beta: 2.0, anneal: 9, ..Default::default() };
        let at = |seen| annealed.at(Position { seed: 1, seen, total: 900, epoch: 0 }).beta;
        let stages: Vec<f64> = (0..9).map(|stage| at(100 * stage)).collect();
        assert_eq!(stages, [2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5, 0.25, 0.0]);
        assert_eq!([at(99), at(100), at(899), at(900)], [2.0, 1.75, 0.0, 0.0]);
        let constant = ContrastiveSpec { anneal: 0, ..annealed };
        assert_eq!(constant.at(Position { seed: 1, seen: 899, total: 900, epoch: 0 }), constant);
    }

    #[test]
    fn the_log_shows_what_the_settings_make_worth_showing() {
        let network = NetworkSpec { layers: Vec::new(), projector: 0, dims: 2 };
        let encoder = Encoder::<Tracked>::new(network.plan([1, 1, K], 4).unwrap(), 1, &Default::default());
        let shown = |spec: ContrastiveSpec| {
            let batch = Batch {
                images: tensor::<Tracked>(&outputs(4, 0.3)).reshape([8, 1, 1, K]),
                samples: vec![0, 1, 2, 3],
                position: Position { seed: 1, seen: 60, total: 100, epoch: 0 },
            };
            Contrastive::new(spec).loss(&encoder, batch).terms.into_iter().map(|(name, of)| (name, value(of))).collect()
        };
        let terms: Vec<(&str, f64)> = shown(spec(0.5, 1.0, 0.0));
        assert_eq!(terms.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["alignment", "hardest_negative"]);
        let terms: Vec<(&str, f64)> = shown(ContrastiveSpec { anneal: 3, ..Default::default() });
        assert_eq!(terms[2].0, "clamped");
        assert_eq!(terms[3], ("beta", 0.5));
    }

    #[test]
    fn impossible_settings_name_their_key() {
        let default = ContrastiveSpec::default;
        for (key, spec) in [
            ("temperature", ContrastiveSpec { temperature: 0.0, ..default() }),
            ("temperature", ContrastiveSpec { temperature: f64::NAN, ..default() }),
            ("beta", ContrastiveSpec { beta: -0.5, ..default() }),
            ("beta", ContrastiveSpec { beta: f64::INFINITY, ..default() }),
            ("tau_plus", ContrastiveSpec { tau_plus: 1.0, ..default() }),
            ("tau_plus", ContrastiveSpec { tau_plus: -0.1, ..default() }),
            ("anneal", ContrastiveSpec { anneal: 1, ..default() }),
            ("outputs", ContrastiveSpec { outputs: 0, ..default() }),
        ] {
            let error = spec.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("objective.{key}: impossible value")), "{error}");
        }
        assert!(default().check().is_ok());
    }

    #[test]
    fn a_batch_of_one_is_refused() {
        let spec = ContrastiveSpec::default();
        for (samples, batch) in [(100, 1), (1, 100)] {
            let error = spec.fits(samples, batch).unwrap_err().to_string();
            assert!(error.starts_with("train.batch: a batch holds no negatives"), "{error}");
        }
        assert!(spec.fits(2, 2).is_ok());
    }
}
