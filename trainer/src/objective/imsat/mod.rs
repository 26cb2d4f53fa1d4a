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

use super::{Batch, ClusterLogits, Loss, Native, NativeBits, Objective, Position, State, keep, take};
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
    /// Weight of the information that pairs of bits share, 0 or more: 1 by the mathematics, 2 as the authors released it,
    /// which parts alike bits more surely. At 0 bits may become copies of each other.
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
            return Err(Error::input(place, "the radius of a sample is unknown", expected, "vat or rpt"));
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
            keep(&mut state, "mu", &balance.mu);
            keep(&mut state, "mean", &balance.mean);
        }
        state
    }

    fn restore(&mut self, mut state: State, device: &B::Device) {
        if let Task::Clusters { balance, .. } = &mut self.task {
            *balance = Balance { mu: take(&mut state, "mu", device), mean: take(&mut state, "mean", device) };
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::ElementConversion;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::data::Samples;
    use crate::network::NetworkSpec;
    use crate::train::source::Augmented;
    use crate::train::{Epoch, TrainSpec, Trainee, Watch, fit};

    type Plain = burn::backend::Flex;
    type Tracked = crate::backend::Flex;

    const SAMPLES: usize = 12;
    const OUTPUTS: usize = 3;

    fn encoder() -> Encoder<Tracked> {
        let network: NetworkSpec = toml::from_str("layers = [{ kind = \"dense\", units = 5 }]\ndims = 2").unwrap();
        Encoder::new(network.plan([1, 2, 2], OUTPUTS).unwrap(), 1, &Default::default())
    }

    /// The same images twice: `other` of them different the second time.
    fn batch(views: usize, other: bool, seen: u64) -> Batch<Tracked> {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut image = || -> Vec<f32> { (0..SAMPLES * 4).map(|_| rng.random_range(0.0..1.0)).collect() };
        let first = image();
        let second = if other { image() } else { first.clone() };
        let values = if views == 2 { [first, second].concat() } else { first };
        let images = Tensor::from_data(TensorData::new(values, [views * SAMPLES, 1, 2, 2]), &Default::default());
        Batch {
            images,
            samples: (0..SAMPLES as u32).rev().collect(),
            position: Position { seed: 1, seen, total: 1000, epoch: 0 },
        }
    }

    fn smoothness(perturbation: Perturbation) -> SmoothnessSpec {
        SmoothnessSpec { perturbation, ..Default::default() }
    }

    fn clusters(perturbation: Perturbation) -> ImsatClusterSpec {
        ImsatClusterSpec { clusters: OUTPUTS, smoothness: smoothness(perturbation), ..Default::default() }
    }

    fn bits(perturbation: Perturbation) -> ImsatHashSpec {
        ImsatHashSpec { bits: OUTPUTS, smoothness: smoothness(perturbation), ..Default::default() }
    }

    /// Both objectives, with moves of lengths that differ.
    fn both(perturbation: Perturbation) -> [Imsat<Plain>; 2] {
        [Imsat::clusters(clusters(perturbation)), Imsat::bits(bits(perturbation))].map(|mut objective| {
            objective.lengths = (1..=SAMPLES).map(|i| 0.1 * i as f32).collect();
            objective
        })
    }

    fn scalar<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
        tensor.into_scalar().elem()
    }

    /// The loss and its terms by name.
    fn run(objective: &mut Imsat<Plain>, encoder: &Encoder<Tracked>, batch: Batch<Tracked>) -> (f64, State) {
        let loss = objective.loss(encoder, batch);
        let terms = loss.terms.into_iter().map(|(name, term)| (name.to_string(), vec![scalar(term) as f32])).collect();
        (scalar(loss.total), terms)
    }

    const EVERY: [Perturbation; 5] =
        [Perturbation::Vat, Perturbation::Rpt, Perturbation::Affine, Perturbation::VatAffine, Perturbation::None];

    #[test]
    fn the_loss_is_the_sum_that_the_text_says() {
        for perturbation in EVERY {
            let views = if perturbation.needs_view() { 2 } else { 1 };
            for (mut objective, bits) in both(perturbation).into_iter().zip([false, true]) {
                assert_eq!(Objective::<Tracked>::views(&objective).len(), views);
                let (total, terms) = run(&mut objective, &encoder(), batch(views, true, 0));
                let term = |name: &str| terms.get(name).map_or(0.0, |value| f64::from(value[0]));
                assert_eq!(terms.contains_key("smoothness"), perturbation != Perturbation::None);
                let information = match bits {
                    false => term("conditional_entropy") + 4.0 * ((OUTPUTS as f64).ln() - term("marginal_entropy")),
                    true => term("conditional_entropy") - term("marginal_entropy") + 2.0 * term("pair_information"),
                };
                let expected = term("smoothness") + 0.1 * information;
                assert!((total - expected).abs() < 1e-6, "{perturbation:?}, bits {bits}: {total}, expected {expected}");
            }
        }
    }

    #[test]
    fn a_prior_moves_the_optimum_to_its_shares() {
        // Uniform assignments agree with the uniform prior, and not with another.
        let encoder = encoder().with_output_gain(0.0);
        let loss = |prior: Option<Vec<f64>>| {
            let spec = ImsatClusterSpec { prior, ..clusters(Perturbation::None) };
            run(&mut Imsat::clusters(spec), &encoder, batch(1, false, 0)).0
        };
        let prior = vec![0.5, 0.3, 0.2];
        let kl: f64 = prior.iter().map(|&q: &f64| -(3.0 * q).ln() / 3.0).sum();
        assert!((loss(Some(prior)) - loss(None) - 0.1 * 4.0 * kl).abs() < 1e-6);
    }

    #[test]
    fn vat_costs_more_than_rpt_and_an_unchanged_view_costs_nothing() {
        for index in 0..2 {
            let smoothness = |perturbation, other| {
                let views = if Perturbation::needs_view(perturbation) { 2 } else { 1 };
                run(&mut both(perturbation)[index], &encoder(), batch(views, other, 0)).1["smoothness"][0]
            };
            assert!(smoothness(Perturbation::Vat, true) > smoothness(Perturbation::Rpt, true));
            assert!(smoothness(Perturbation::Rpt, true) > 0.0);
            assert!(smoothness(Perturbation::Affine, false).abs() < 1e-6);
            assert!(smoothness(Perturbation::Affine, true) > 1e-3);
            let sum = smoothness(Perturbation::Vat, true) + smoothness(Perturbation::Affine, true);
            assert!((smoothness(Perturbation::VatAffine, true) - sum).abs() < 1e-5 * sum);
        }
    }

    #[test]
    fn a_sample_is_moved_by_its_own_length() {
        for index in 0..2 {
            let cost = |lengths: Vec<f32>| {
                let mut objective = both(Perturbation::Rpt).into_iter().nth(index).expect("two");
                objective.lengths = lengths;
                run(&mut objective, &encoder(), batch(1, false, 0)).1["smoothness"][0]
            };
            assert!(cost(vec![0.0; SAMPLES]).abs() < 1e-6);
            let one = |sample: usize| (0..SAMPLES).map(|i| if i == sample { 0.5 } else { 0.0 }).collect::<Vec<f32>>();
            assert!(cost(one(0)) > 1e-5 && cost(one(0)) != cost(one(1)));
        }
    }

    #[test]
    fn the_running_moments_see_the_clean_images_alone() {
        let moments = |encoder: &Encoder<Tracked>| {
            let norm = encoder.parameters.affines[0].norm.as_ref().expect("batch norm");
            [norm.running_mean.value_sync(), norm.running_var.value_sync()].map(|value| value.into_data())
        };
        let expected = encoder();
        expected.forward(batch(1, false, 0).images, Mode::Train);
        for objective in &mut both(Perturbation::VatAffine) {
            let encoder = encoder();
            run(objective, &encoder, batch(2, true, 0));
            assert_eq!(moments(&encoder), moments(&expected));
        }
    }

    #[test]
    fn the_same_moment_gives_the_same_loss_and_another_does_not() {
        for index in 0..2 {
            let loss = |seen| run(&mut both(Perturbation::Rpt)[index], &encoder(), batch(1, false, seen)).0;
            assert_eq!(loss(24), loss(24));
            assert_ne!(loss(24), loss(36));
        }
    }

    #[test]
    fn a_constraint_costs_what_is_beyond_it_and_its_weight_grows_while_it_is_broken() {
        let spec = |delta| ImsatClusterSpec { delta: Some(delta), ..clusters(Perturbation::None) };
        let encoder = encoder();
        let mut kept = Imsat::<Plain>::clusters(spec(0.9));
        let mut broken = Imsat::<Plain>::clusters(spec(1e-4));
        for step in 1..=3 {
            let (total, terms) = run(&mut kept, &encoder, batch(1, false, 0));
            assert!((total - 0.1 * f64::from(terms["conditional_entropy"][0])).abs() < 1e-6);
            assert_eq!(terms["mu"], [4.0]);

            let (total, terms) = run(&mut broken, &encoder, batch(1, false, 0));
            let mu = f64::from(terms["mu"][0]);
            assert!((mu - 4.0 * 1.01f64.powi(step)).abs() < 1e-5, "{mu}");
            let imbalance = (OUTPUTS as f64).ln() - f64::from(terms["marginal_entropy"][0]);
            let expected = f64::from(terms["conditional_entropy"][0]) + mu * (imbalance - 1e-4);
            assert!((total - 0.1 * expected).abs() < 1e-6, "{total}, expected {}", 0.1 * expected);
        }
    }

    #[test]
    fn a_constraint_is_taken_up_where_it_was() {
        let spec = ImsatClusterSpec { delta: Some(1e-4), ..clusters(Perturbation::None) };
        let mut objective = Imsat::<Plain>::clusters(spec.clone());
        assert!(Objective::<Tracked>::state(&objective).is_empty());
        let encoder = encoder();
        run(&mut objective, &encoder, batch(1, false, 0));
        let state = Objective::<Tracked>::state(&objective);
        assert_eq!(state.keys().collect::<Vec<_>>(), ["mean", "mu"]);
        let mut taken_up = Imsat::<Plain>::clusters(spec);
        Objective::<Tracked>::restore(&mut taken_up, state, &Default::default());
        let second = |objective: &mut Imsat<Plain>| {
            let total = run(objective, &encoder, batch(1, false, 12)).0;
            (total, Objective::<Tracked>::state(objective))
        };
        assert_eq!(second(&mut objective), second(&mut taken_up));
    }

    /// A source of nothing but views.
    struct NoRaw;

    impl Source for NoRaw {
        fn len(&self) -> usize {
            SAMPLES
        }
        fn shape(&self) -> [usize; 3] {
            [1, 2, 2]
        }
        fn view(&self, _view: View, _seed: u64, _epoch: u64, samples: &[u32]) -> Vec<f32> {
            vec![0.0; samples.len() * 4]
        }
    }

    #[test]
    fn a_radius_needs_raw_samples() {
        for perturbation in EVERY {
            let mut objective = Imsat::<Plain>::clusters(clusters(perturbation));
            let position = Position { seed: 1, seen: 0, total: 12, epoch: 0 };
            let prepared =
                Objective::<Tracked>::prepare(&mut objective, &encoder(), &NoRaw, position, &Default::default());
            assert_eq!(prepared.is_err(), perturbation.needs_radius(), "{perturbation:?}");
        }
    }

    /// Four blobs of two values, far from each other: sample `i` is in blob `i % 4`.
    fn blobs() -> Samples {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let corner = |high: bool| if high { 200 } else { 40 };
        let sample = |i: usize| [corner(i % 2 == 1), corner(i / 2 % 2 == 1)];
        let raw = (0..160).flat_map(|i| sample(i).map(|value| value + rng.random_range(0..20))).collect();
        Samples { shape: [1, 1, 2], raw }
    }

    struct Nothing;
    impl Watch<Tracked> for Nothing {
        fn epoch(&mut self, _: &Trainee<Tracked>, _: &Epoch) -> Result<()> {
            Ok(())
        }
    }

    /// The outputs `[160 * outputs]` for the blobs after training.
    fn trained(mut objective: Imsat<Plain>, outputs: usize) -> Vec<f32> {
        let samples = blobs();
        objective.lengths = vec![0.005; samples.len()];
        let network: NetworkSpec = toml::from_str("layers = [{ kind = \"dense\", units = 24 }]\ndims = 2").unwrap();
        let encoder = Encoder::<Tracked>::new(network.plan(samples.shape, outputs).unwrap(), 1, &Default::default());
        let table = "epochs = 60\nbatch = 80\nfinal_rate = 1.0\noptimizer = { kind = \"adam\", rate = 0.01 }";
        let spec: TrainSpec = toml::from_str(table).unwrap();
        let trainee = Trainee::new(encoder.with_output_gain(OUTPUT_GAIN), Box::new(objective), &spec);
        let source = Augmented::new(&samples, 255, &Default::default()).unwrap();
        let trained = fit(trainee, &source, &spec, 1, &Default::default(), &mut Nothing).unwrap();
        let images = TensorData::new(samples.scaled(0..samples.len(), 255), [samples.len(), 1, 1, 2]);
        let images = Tensor::from_data(images, &Default::default());
        trained.encoder.valid().forward(images, Mode::Evaluate).into_data().to_vec().unwrap()
    }

    #[test]
    fn every_blob_becomes_a_cluster() {
        let spec = ImsatClusterSpec { clusters: 4, ..Default::default() };
        let outputs = trained(Imsat::clusters(spec), 4);
        let largest = |row: &[f32]| (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("four");
        let found: Vec<usize> = outputs.chunks(4).map(largest).collect();
        let mut ids = found[..4].to_vec();
        assert!((0..160).all(|i| found[i] == ids[i % 4]), "{found:?}");
        ids.sort();
        assert_eq!(ids, [0, 1, 2, 3]);
    }

    #[test]
    fn every_blob_becomes_a_code() {
        // Of a small lambda, smoothness may first make a bit that says nothing, and keep it.
        let spec = ImsatHashSpec { bits: 2, lambda: 1.0, ..Default::default() };
        let outputs = trained(Imsat::bits(spec), 2);
        let found: Vec<[bool; 2]> = outputs.chunks(2).map(|row| [row[0] > 0.0, row[1] > 0.0]).collect();
        let mut codes = found[..4].to_vec();
        assert!((0..160).all(|i| found[i] == codes[i % 4]), "{found:?}");
        codes.sort();
        assert_eq!(codes, [[false, false], [false, true], [true, false], [true, true]]);
    }

    #[test]
    fn the_outputs_say_clusters_or_bits() {
        let [clusters, bits] = both(Perturbation::None);
        let logits = ClusterLogits { rows: 0..OUTPUTS, offsets: vec![0.0; OUTPUTS] };
        assert_eq!(Objective::<Tracked>::native(&clusters), Native { clusters: Some(logits), bits: None });
        assert_eq!(Objective::<Tracked>::native(&bits), Native { clusters: None, bits: Some(NativeBits::Signs) });
    }

    #[test]
    fn impossible_settings_name_their_key() {
        for (key, table) in [
            ("clusters", "clusters = 1"),
            ("lambda", "lambda = 0.0"),
            ("mu", "mu = -1.0"),
            ("delta", "delta = nan"),
            ("prior", "clusters = 2\nprior = [0.5, 0.4]"),
            ("prior", "clusters = 2\nprior = [1.0, 0.0]"),
            ("prior", "clusters = 3\nprior = [0.5, 0.5]"),
            ("smoothness.alpha", "[smoothness]\nalpha = 0.0"),
            ("smoothness.xi", "[smoothness]\nxi = inf"),
            ("smoothness.neighbour", "[smoothness]\nneighbour = 0"),
            ("smoothness.power", "[smoothness]\npower = 0"),
        ] {
            let error = toml::from_str::<ImsatClusterSpec>(table).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("objective.{key}: ")), "{table}: {error}");
        }
        for (key, table) in [("bits", "bits = 0"), ("lambda", "lambda = inf"), ("pair_weight", "pair_weight = -1.0")] {
            let error = toml::from_str::<ImsatHashSpec>(table).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("objective.{key}: ")), "{table}: {error}");
        }
        assert!(ImsatClusterSpec::default().check().is_ok() && ImsatHashSpec::default().check().is_ok());
        assert!(toml::from_str::<ImsatHashSpec>("clusters = 3").is_err());
        assert!(toml::from_str::<ImsatClusterSpec>("[smoothness]\nperturbation = \"vta\"").is_err());
    }

    #[test]
    fn settings_that_do_not_fit_the_data_name_their_key() {
        let spec = ImsatClusterSpec::default();
        assert!(spec.fits(11, 250).is_ok());
        assert!(spec.fits(10, 250).unwrap_err().to_string().starts_with("objective.smoothness.neighbour: "));
        assert!(
            spec.fits(100, 9).unwrap_err().to_string().starts_with("objective.clusters: more clusters than samples")
        );
        assert!(clusters(Perturbation::Affine).fits(3, 3).is_ok(), "no neighbour is asked for");
        let hash = ImsatHashSpec::default();
        assert!(hash.fits(11, 2).is_ok());
        assert!(hash.fits(100, 1).unwrap_err().to_string().starts_with("train.batch: "));
    }
}
