//! IMSAT (Hu et al. 2017, "Learning discrete representations via information maximizing self-augmented training"):
//! clusters, or bits, that say as much as possible about the input and do not change when it is moved a little.
//!
//! ```text
//! clusters:  L = R + lambda * ( H(Y | X) + mu * KL(p̄ || q) )
//! bits:      L = R + lambda * ( sum_m H(Y_m | X) - sum_m H(Y_m) + pair_weight * sum_{m < m'} I(Y_m; Y_m') )
//! ```
//!
//! `R` is the [`smoothness`] penalty, `p̄` the batch's mean assignment and `q` the prior of the clusters' sizes. With the
//! uniform `q`, `KL(p̄ || q)` is `log K - H(Y)`, so that `mu` is the authors' weight of `H(Y)` and `mu = 1` makes the
//! bracket the mutual information. Without `R` this is RIM (Gomes et al. 2010), whose weight decay is the optimiser's.
//!
//! * [`information`]: the entropies;
//! * [`smoothness`]: the perturbations and the penalty;
//! * [`radius`]: how far each sample is moved.

pub mod information;
pub mod radius;
pub mod smoothness;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{Batch, ClusterLogits, Loss, Native, NativeBits, Objective, Position, State};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Encoder, Mode, Trainable};
use crate::train::source::Source;
use smoothness::{Distribution, PowerIteration};

/// What the output layer's first weights should be multiplied by: the authors' deviation is `0.01 / sqrt(fan in)`. All
/// samples then start near the uniform distribution; exactly there, nothing would ever move.
pub const OUTPUT_GAIN: f64 = 0.01;

/// Settings of IMSAT for clusters.
///
/// ```
/// use eigenlet_trainer::objective::imsat::ImsatClusterSpec;
///
/// let spec: ImsatClusterSpec = toml::from_str(r#"
///     clusters = 4
///     prior = [0.4, 0.3, 0.2, 0.1]
///     [smoothness]
///     perturbation = "rpt"
/// "#).unwrap();
/// assert!(spec.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImsatClusterSpec {
    /// Number of clusters.
    pub clusters: usize,
    /// Weight of the information, above 0.
    pub lambda: f64,
    /// Weight of the clusters' balance in it, above 0. With `delta`, its first value.
    pub mu: f64,
    /// The share of the samples that each cluster should have; the same for all where this is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<Vec<f64>>,
    /// Makes the balance a constraint, `KL(p̄ || q) <= delta` (nats, above 0; the paper's is a hundredth of `q`'s entropy):
    /// only what is beyond `delta` is penalised, and `mu` grows for as long as the running mean of `p̄` breaks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// The other half of the loss.
    pub smoothness: SmoothnessSpec,
}

/// Settings of IMSAT for hash codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImsatHashSpec {
    /// Number of bits.
    pub bits: usize,
    /// Weight of the information, above 0.
    pub lambda: f64,
    /// Weight of the information that pairs of bits share, 0 or more: 1 by the mathematics, 2 as the authors released it.
    /// At 0 bits may become copies of each other.
    pub pair_weight: f64,
    /// The other half of the loss.
    pub smoothness: SmoothnessSpec,
}

/// How samples are perturbed, in which their outputs must not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmoothnessSpec {
    /// What moves a sample.
    pub perturbation: Perturbation,
    /// Length of a move, as a fraction of the distance to the neighbour; above 0.
    pub alpha: f64,
    /// Which nearest neighbour gives that distance; from 1.
    pub neighbour: usize,
    /// Length of the step at which an adversarial direction is looked for, in network units; above 0. The authors' 10 is
    /// in inputs scaled to `[-1, 1]`, twice as wide as ours.
    pub xi: f64,
    /// Power iterations, from 1.
    pub power: usize,
}

/// What moves a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Perturbation {
    /// The direction that changes the outputs most (virtual adversarial training).
    Vat,
    /// A random direction (random perturbation training).
    Rpt,
    /// The recipe's `[augment.first]`.
    Affine,
    /// `vat` and `affine`: the sum of their penalties.
    VatAffine,
    /// Nothing: RIM.
    None,
}

impl Default for ImsatClusterSpec {
    fn default() -> Self {
        Self { clusters: 10, lambda: 0.1, mu: 4.0, prior: None, delta: None, smoothness: SmoothnessSpec::default() }
    }
}

impl Default for ImsatHashSpec {
    fn default() -> Self {
        Self { bits: 16, lambda: 0.1, pair_weight: 2.0, smoothness: SmoothnessSpec::default() }
    }
}

impl Default for SmoothnessSpec {
    fn default() -> Self {
        Self { perturbation: Perturbation::Vat, alpha: 0.25, neighbour: 10, xi: 5.0, power: 1 }
    }
}

fn above_zero(key: &str, value: f64) -> Result<()> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(Error::input(key, "impossible value", "a positive number", value)),
    }
}

/// Farthest that the shares of a prior may be from a sum of 1.
const SUM_TOLERANCE: f64 = 1e-6;

impl ImsatClusterSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        if self.clusters < 2 {
            return Err(Error::input("objective.clusters", "impossible value", "at least 2", self.clusters));
        }
        above_zero("objective.lambda", self.lambda)?;
        above_zero("objective.mu", self.mu)?;
        if let Some(delta) = self.delta {
            above_zero("objective.delta", delta)?;
        }
        if let Some(prior) = &self.prior {
            let wrong = |expected: String, found: String| {
                Err(Error::input("objective.prior", "not a distribution over the clusters", expected, found))
            };
            if prior.len() != self.clusters {
                return wrong(format!("{} shares, one a cluster", self.clusters), prior.len().to_string());
            }
            if let Some(share) = prior.iter().find(|&&share| !(share > 0.0 && share.is_finite())) {
                return wrong("positive shares".into(), share.to_string());
            }
            let sum: f64 = prior.iter().sum();
            if (sum - 1.0).abs() > SUM_TOLERANCE {
                return wrong("a sum of 1".into(), sum.to_string());
            }
        }
        self.smoothness.check()
    }

    /// Checks the settings against the number of training samples and the samples in a batch.
    ///
    /// # Errors
    /// A batch with fewer samples than clusters, which would look unbalanced however good it is; a neighbour that does not
    /// exist.
    pub fn fits(&self, samples: usize, batch: usize) -> Result<()> {
        if batch.min(samples) < self.clusters {
            let expected = format!("at most {}, the samples in a batch", batch.min(samples));
            return Err(Error::input("objective.clusters", "more clusters than samples", expected, self.clusters));
        }
        self.smoothness.fits(samples)
    }

    /// The clusters' shares, as logarithms.
    fn log_prior(&self) -> Vec<f32> {
        match &self.prior {
            Some(prior) => prior.iter().map(|share| share.ln() as f32).collect(),
            None => vec![-(self.clusters as f64).ln() as f32; self.clusters],
        }
    }
}

impl ImsatHashSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        if self.bits == 0 {
            return Err(Error::input("objective.bits", "impossible value", "at least 1", self.bits));
        }
        above_zero("objective.lambda", self.lambda)?;
        if !(self.pair_weight >= 0.0 && self.pair_weight.is_finite()) {
            return Err(Error::input("objective.pair_weight", "impossible value", "0 or more", self.pair_weight));
        }
        self.smoothness.check()
    }

    /// Checks the settings against the number of training samples and the samples in a batch.
    ///
    /// # Errors
    /// A batch of one, of which nothing can be told apart; a neighbour that does not exist.
    pub fn fits(&self, samples: usize, batch: usize) -> Result<()> {
        if batch.min(samples) < 2 {
            return Err(Error::input("train.batch", "no two samples to tell apart", "at least 2", batch.min(samples)));
        }
        self.smoothness.fits(samples)
    }
}

impl SmoothnessSpec {
    fn check(&self) -> Result<()> {
        let key = |name: &str| format!("objective.smoothness.{name}");
        above_zero(&key("alpha"), self.alpha)?;
        above_zero(&key("xi"), self.xi)?;
        for (name, count) in [("neighbour", self.neighbour), ("power", self.power)] {
            if count == 0 {
                return Err(Error::input(key(name), "impossible value", "at least 1", count));
            }
        }
        Ok(())
    }

    fn fits(&self, samples: usize) -> Result<()> {
        if self.perturbation.needs_radius() && samples <= self.neighbour {
            return Err(Error::input(
                "objective.smoothness.neighbour",
                "no such neighbour",
                format!("below {samples}, the number of training samples"),
                self.neighbour,
            ));
        }
        Ok(())
    }
}

impl Perturbation {
    fn needs_radius(self) -> bool {
        matches!(self, Self::Vat | Self::Rpt | Self::VatAffine)
    }

    /// Whether it is, or contains, the recipe's first view.
    pub fn needs_view(self) -> bool {
        matches!(self, Self::Affine | Self::VatAffine)
    }
}

/// What the outputs are.
enum Task<B: Backend> {
    Clusters { spec: ImsatClusterSpec, balance: Balance<B> },
    Bits(ImsatHashSpec),
}

/// What a constraint on the clusters' balance remembers.
struct Balance<B: Backend> {
    /// The weight, as far as it has grown; one number.
    mu: Option<Tensor<B, 1>>,
    /// Running mean of `p̄`, `[clusters]`.
    mean: Option<Tensor<B, 1>>,
}

/// Weight of the past in the running mean of `p̄`.
const MOMENTUM: f64 = 0.99;
/// Growth of `mu` with each batch that finds the constraint broken, and how far it may grow in all: an impossible
/// constraint must not drown everything else in infinity.
const GROWTH: f64 = 1.01;
const LARGEST_MU: f64 = 1e4;

/// The objective, for clusters or for bits.
pub struct Imsat<B: Backend> {
    task: Task<B>,
    /// How far each training sample is moved; empty until asked for.
    lengths: Vec<f32>,
}

/// The information half of a loss.
struct Information<B: Trainable> {
    loss: Tensor<B, 1>,
    terms: Vec<(&'static str, Tensor<B::InnerBackend, 1>)>,
}

impl<B: Backend> Imsat<B> {
    /// For clusters, at the start of training.
    pub fn clusters(spec: ImsatClusterSpec) -> Self {
        Self { task: Task::Clusters { spec, balance: Balance { mu: None, mean: None } }, lengths: Vec::new() }
    }

    /// For hash codes, at the start of training.
    pub fn bits(spec: ImsatHashSpec) -> Self {
        Self { task: Task::Bits(spec), lengths: Vec::new() }
    }

    fn smoothness(&self) -> &SmoothnessSpec {
        match &self.task {
            Task::Clusters { spec, .. } => &spec.smoothness,
            Task::Bits(spec) => &spec.smoothness,
        }
    }

    fn distribution(&self) -> Distribution {
        match self.task {
            Task::Clusters { .. } => Distribution::Categorical,
            Task::Bits(_) => Distribution::Bits,
        }
    }

    /// The information half, times lambda, of clean logits.
    fn information<T: Trainable<InnerBackend = B>>(&mut self, logits: Tensor<T, 2>) -> Information<T> {
        match &mut self.task {
            Task::Clusters { spec, balance } => {
                let device = logits.device();
                let found = information::cluster_terms(logits);
                let log_prior = Tensor::from_data(TensorData::new(spec.log_prior(), [spec.clusters]), &device);
                let imbalance = information::divergence_from(found.mean.clone(), log_prior.clone());
                let mut terms = vec![
                    ("conditional_entropy", found.conditional.clone().inner()),
                    ("marginal_entropy", found.marginal.inner()),
                ];
                let weighted = match spec.delta {
                    None => imbalance * spec.mu,
                    Some(delta) => {
                        let mu = balance.grown(spec.mu, delta, found.mean.inner(), log_prior.inner());
                        terms.push(("mu", mu.clone()));
                        (imbalance - delta).clamp_min(0.0) * Tensor::from_inner(mu)
                    }
                };
                Information { loss: (found.conditional + weighted) * spec.lambda, terms }
            }
            Task::Bits(spec) => {
                let found = information::bit_terms(logits);
                let terms = vec![
                    ("conditional_entropy", found.conditional.clone().inner()),
                    ("marginal_entropy", found.marginal.clone().inner()),
                    ("pair_information", found.pairs.clone().inner()),
                ];
                let loss = found.conditional - found.marginal + found.pairs * spec.pair_weight;
                Information { loss: loss * spec.lambda, terms }
            }
        }
    }
}

impl<B: Backend> Balance<B> {
    /// The weight for a batch whose mean assignment is `mean`.
    fn grown(&mut self, first: f64, delta: f64, mean: Tensor<B, 1>, log_prior: Tensor<B, 1>) -> Tensor<B, 1> {
        let mean = match self.mean.take() {
            Some(past) => past * MOMENTUM + mean * (1.0 - MOMENTUM),
            None => mean,
        };
        let mu = self.mu.take().unwrap_or_else(|| Tensor::full([1], first, &mean.device()));
        let broken = information::divergence_from(mean.clone(), log_prior).greater_elem(delta).float();
        let mu = (mu * (broken * (GROWTH - 1.0) + 1.0)).clamp_max(LARGEST_MU.max(first));
        self.mean = Some(mean);
        self.mu = Some(mu.clone());
        mu
    }
}

impl<B: Trainable> Objective<B> for Imsat<B::InnerBackend> {
    fn views(&self) -> &'static [View] {
        match self.smoothness().perturbation.needs_view() {
            true => &[View::Plain, View::First],
            false => &[View::Plain],
        }
    }

    fn prepare(
        &mut self,
        _encoder: &Encoder<B>,
        source: &dyn Source,
        _position: Position,
        _device: &B::Device,
    ) -> Result<()> {
        let spec = self.smoothness();
        if !spec.perturbation.needs_radius() || !self.lengths.is_empty() {
            return Ok(());
        }
        let Some((samples, raw_max)) = source.raw() else {
            let place = "objective.smoothness.perturbation";
            let expected = "affine or none for data without raw samples, whose distances are unknown";
            return Err(Error::input(place, "the radius of a sample is unknown", expected, "a random move"));
        };
        let alpha = spec.alpha as f32;
        let radii = radius::radii(samples, raw_max, spec.neighbour)?;
        self.lengths = radii.into_iter().map(|radius| alpha * radius).collect();
        Ok(())
    }

    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B> {
        let n = batch.samples.len();
        let images = batch.images.clone().narrow(0, 0, n);
        let logits = encoder.forward(images.clone(), Mode::Train);
        let Information { loss, mut terms } = self.information(logits.clone());

        // The target of the penalty. The authors run the network once more for it, on the same batch and its moments,
        // which gives the same numbers.
        let clean = logits.detach();
        let distribution = self.distribution();
        let change = |perturbed: Tensor<B, 4>| {
            smoothness::divergence(distribution, clean.clone(), encoder.forward(perturbed, Mode::Probe))
        };
        let spec = self.smoothness();
        let mut penalties = Vec::new();
        if spec.perturbation.needs_radius() {
            let Position { seed, seen, .. } = batch.position;
            let random = smoothness::random_like(&images, seed, seen, &batch.samples);
            let directions = match spec.perturbation {
                Perturbation::Rpt => random,
                _ => {
                    let frozen = encoder.frozen();
                    let probe = |images| frozen.forward(images, Mode::Probe);
                    let search = PowerIteration { xi: spec.xi, count: spec.power };
                    smoothness::adversarial(probe, distribution, images.clone(), clean.clone(), random, search)
                }
            };
            let lengths: Vec<f32> = batch.samples.iter().map(|&sample| self.lengths[sample as usize]).collect();
            let lengths = Tensor::from_data(TensorData::new(lengths, [n]), &images.device());
            penalties.push(change(smoothness::moved(images, directions, lengths)));
        }
        if spec.perturbation.needs_view() {
            penalties.push(change(batch.images.narrow(0, n, n)));
        }
        match penalties.into_iter().reduce(|sum, penalty| sum + penalty) {
            Some(penalty) => {
                terms.push(("smoothness", penalty.clone().inner()));
                Loss { total: loss + penalty, terms }
            }
            None => Loss { total: loss, terms },
        }
    }

    fn state(&self) -> State {
        let mut state = State::new();
        if let Task::Clusters { balance, .. } = &self.task {
            for (name, value) in [("mu", &balance.mu), ("mean", &balance.mean)] {
                if let Some(tensor) = value {
                    let values = tensor.to_data().convert::<f32>().to_vec().expect("converted to f32");
                    state.insert(name.into(), values);
                }
            }
        }
        state
    }

    fn restore(&mut self, mut state: State, device: &B::Device) {
        let mut take = |name: &str| {
            let values = state.remove(name)?;
            let length = values.len();
            Some(Tensor::from_data(TensorData::new(values, [length]), device))
        };
        if let Task::Clusters { balance, .. } = &mut self.task {
            *balance = Balance { mu: take("mu"), mean: take("mean") };
        }
    }

    fn native(&self) -> Native {
        match &self.task {
            Task::Clusters { spec, .. } => {
                let clusters = ClusterLogits { rows: 0..spec.clusters, offsets: vec![0.0; spec.clusters] };
                Native { clusters: Some(clusters), bits: None }
            }
            Task::Bits(_) => Native { clusters: None, bits: Some(NativeBits::Signs) },
        }
    }
}
