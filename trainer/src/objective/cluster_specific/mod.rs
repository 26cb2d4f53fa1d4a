//! Cluster-specific representations (Sabanayagam et al. 2024; for autoencoders Esser et al. 2023, "Improved representation
//! learning through tensorized autoencoders"): clusters, and a representation for each, learned together.
//!
//! There are `K` sub-models of one [family](Family) and `K` centres `c_j`. Sub-model `j` sees sample `i` from its own centre
//! and has a loss `l_ij` for it; `S_i` says whose the sample is:
//!
//! ```text
//! L = mean over i of sum_j S_ij (l_ij + pull * |x_i - c_j|^2 / d)
//! ```
//!
//! For fixed losses `L` is linear in `S`, so giving each sample to its least loss is optimal. Each step uses the batch's
//! losses for the gradient and for the assignments; centres are the means of their samples at every moment.
//!
//! Objectives that say something of a batch as a whole (functions do not repeat each other, classes are used alike) add a
//! term of each sub-model's members, as their share of the batch weighs it; it moves parameters, not assignments.
//!
//! Where the network has no layers, sub-model `j` reads `x - c_j`. Where it has, they are shared and read `x`, so that a
//! chip computes them once; the sub-models' own biases then say where their centres are.
//!
//! * [`members`]: who belongs to whom;
//! * [`planes`]: where linear sub-models start;
//! * [`decoder`]: what some of them make of a code;
//! * [`autoencoder`], [`variational`], [`boltzmann`]: families that model the sample;
//! * [`contrastive`], [`eigenmap`], [`imsat`], [`self_labelling`]: families that are objectives of this crate, wrapped.

pub mod autoencoder;
pub mod boltzmann;
pub mod contrastive;
pub mod decoder;
pub mod eigenmap;
pub mod imsat;
pub mod members;
pub mod planes;
pub mod self_labelling;
pub mod variational;

use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::neural_eigenmap::NeuralEigenmapSpec;
use super::{Assigned, Batch, Experts, Loss, Objective, Portraits, Position, State};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Encoder, Extra, Mode, Plan, Trainable, floats};
use crate::train::source::Source;
use autoencoder::AutoencoderSpec;
use boltzmann::BoltzmannSpec;
use contrastive::ClusterContrastiveSpec;
use decoder::DecoderSpec;
use eigenmap::Eigenmaps;
use imsat::ClusterImsatSpec;
use members::Members;
pub use members::Start;
use self_labelling::{ClusterSelaSpec, SelfLabelling};
use variational::VariationalSpec;

/// Settings of the objective.
///
/// ```
/// use eigenlet_trainer::objective::cluster_specific::ClusterSpecificSpec;
///
/// let spec: ClusterSpecificSpec = toml::from_str(r#"
///     clusters = 5
///     code = 2
///     family = { kind = "autoencoder", decoder = { units = [32] } }
/// "#).unwrap();
/// assert!(spec.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpecificSpec {
    /// Number of clusters, and of sub-models; 1 makes it the family's plain form.
    pub clusters: usize,
    /// Dimensions of each sub-model's representation.
    pub code: usize,
    /// What first clusters are.
    pub start: Start,
    /// Share of the training, at its start, in which every sample stays in its first cluster and sub-models learn what they have;
    /// 0 to below 1. Before that, what is least says little.
    pub hold: f64,
    /// Which assignments the gradient follows after that.
    pub assign: Assign,
    /// Softness of `soft` assignments at the start, in units of the batch's mean least loss; above 0. It falls linearly to
    /// nothing at the end of training.
    pub temperature: f64,
    /// Whether each sub-model has its own share of the last hidden layer, rather than all reading all of it.
    pub separate: bool,
    /// Weight of the squared distance to the centre, 0 or more. It moves assignments, not parameters.
    pub pull: f64,
    /// What the sub-models are.
    pub family: FamilySpec,
}

/// Which assignments the gradient follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assign {
    /// Each sample's least loss in this step.
    Hard,
    /// The one that the sample had after it was last seen: the authors' for autoencoders.
    Delayed,
    /// All, those with lower losses more: a softmax.
    Soft,
}

/// What the sub-models are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FamilySpec {
    /// Autoencoders.
    Autoencoder(AutoencoderSpec),
    /// Variational autoencoders.
    Variational(VariationalSpec),
    /// Contrastive models.
    Contrastive(ClusterContrastiveSpec),
    /// Restricted Boltzmann machines.
    Boltzmann(BoltzmannSpec),
    /// Neural eigenmaps: the settings are the objective's.
    NeuralEigenmap(NeuralEigenmapSpec),
    /// IMSAT's classifiers.
    Imsat(ClusterImsatSpec),
    /// SeLa's classifiers.
    Sela(ClusterSelaSpec),
}

impl Default for ClusterSpecificSpec {
    fn default() -> Self {
        Self {
            clusters: 10,
            code: 4,
            start: Start::KMeans,
            hold: 0.1,
            assign: Assign::Hard,
            temperature: 1.0,
            separate: false,
            pull: 0.0,
            family: FamilySpec::Autoencoder(AutoencoderSpec::default()),
        }
    }
}

impl ClusterSpecificSpec {
    /// The objective's name: `cluster-specific-` and the family's short name.
    pub fn name(&self) -> &'static str {
        match self.family {
            FamilySpec::Autoencoder(_) => "cluster-specific-ae",
            FamilySpec::Variational(_) => "cluster-specific-vae",
            FamilySpec::Contrastive(_) => "cluster-specific-contrastive",
            FamilySpec::Boltzmann(_) => "cluster-specific-rbm",
            FamilySpec::NeuralEigenmap(_) => "cluster-specific-eigenmap",
            FamilySpec::Imsat(_) => "cluster-specific-imsat",
            FamilySpec::Sela(_) => "cluster-specific-sela",
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, expected: &str, found: &dyn std::fmt::Display| {
            Err(Error::input(format!("objective.{key}"), "impossible value", expected, found))
        };
        if self.clusters == 0 || self.clusters > usize::from(u16::MAX) {
            return wrong("clusters", "1 to 65535", &self.clusters);
        }
        if self.code == 0 {
            return wrong("code", "at least 1", &self.code);
        }
        if self.classifies() && self.code < 2 {
            return wrong("code", "at least 2, the classes of a cluster", &self.code);
        }
        if !(0.0..1.0).contains(&self.hold) {
            return wrong("hold", "0 to below 1", &self.hold);
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return wrong("temperature", "a positive number", &self.temperature);
        }
        if !(self.pull >= 0.0 && self.pull.is_finite()) {
            return wrong("pull", "0 or a positive number", &self.pull);
        }
        match &self.family {
            FamilySpec::Autoencoder(spec) => spec.check(),
            FamilySpec::Variational(spec) => spec.check(),
            FamilySpec::Contrastive(spec) => spec.check(),
            FamilySpec::Boltzmann(spec) => spec.check(),
            FamilySpec::NeuralEigenmap(spec) => spec.check_in("objective.family"),
            FamilySpec::Imsat(spec) => spec.check(),
            FamilySpec::Sela(spec) => spec.check(),
        }
    }

    /// Whether the code is logits of classes.
    fn classifies(&self) -> bool {
        matches!(self.family, FamilySpec::Imsat(_) | FamilySpec::Sela(_))
    }

    /// Checks the settings against the number of training samples and the samples in a batch.
    ///
    /// # Errors
    /// More clusters than samples; what the family cannot learn from, as batches without negatives or clusters of fewer
    /// samples than a code has dimensions.
    pub fn fits(&self, samples: usize, batch: usize) -> Result<()> {
        if self.clusters > samples {
            let expected = format!("at most one for each of {samples} training samples");
            return Err(Error::input("objective.clusters", "more clusters than samples", expected, self.clusters));
        }
        let own = batch.min(samples) / self.clusters;
        let (what, members, least) = match &self.family {
            FamilySpec::Contrastive(spec) => return spec.loss.fits(samples, batch),
            FamilySpec::NeuralEigenmap(_) => {
                ("a cluster has no more samples in a batch than functions to tell apart", own, self.code + 1)
            }
            FamilySpec::Imsat(_) => ("a cluster has fewer samples in a batch than classes", own, self.code),
            FamilySpec::Sela(_) => ("a cluster has fewer samples than classes", samples / self.clusters, self.code),
            _ => return Ok(()),
        };
        match members < least {
            true => {
                let expected =
                    format!("at most {}, for {members} samples a cluster", (members + self.code).saturating_sub(least));
                Err(Error::input("objective.code", what, expected, self.code))
            }
            false => Ok(()),
        }
    }

    /// Whether it compares a sample with its first view, which then must differ from it.
    pub fn perturbs_first(&self) -> bool {
        matches!(self.family, FamilySpec::Imsat(_))
    }

    /// What the output layer's first weights are multiplied by: the family's objective's own gain.
    pub fn output_gain(&self) -> f64 {
        match self.family {
            FamilySpec::Imsat(_) => super::imsat::OUTPUT_GAIN,
            _ => 1.0,
        }
    }

    /// Checks the settings against the network's shapes.
    ///
    /// # Errors
    /// A representation that is no smaller than the sample, which then says nothing about its cluster; layers that do not
    /// divide among the sub-models; layers before a Boltzmann machine; a decoder's maps that do not double into the sample.
    pub fn fits_plan(&self, plan: &Plan) -> Result<()> {
        let size: usize = plan.input.iter().product();
        if let Some(decoder) = self.decoder() {
            if self.code >= size {
                let what =
                    "a code as large as the sample reconstructs it from every centre: clusters would mean nothing";
                return Err(Error::input("objective.code", what, format!("below {size}"), self.code));
            }
            decoder.fits(plan.input)?;
        }
        let features = plan.features();
        if self.separate && (plan.steps.len() == 1 || !features.is_multiple_of(self.clusters)) {
            let what = "the last hidden layer does not divide among the clusters";
            let expected = format!("a multiple of objective.clusters = {}", self.clusters);
            let found = if plan.steps.len() == 1 { "no layer".into() } else { format!("{features} outputs") };
            return Err(Error::input("network", what, expected, found));
        }
        if matches!(self.family, FamilySpec::Boltzmann(_)) && plan.steps.len() > 1 {
            let what = "a Boltzmann machine's visible units are the sample itself";
            return Err(Error::input("network", what, "no layers, no projector", plan.steps.len() - 1));
        }
        Ok(())
    }

    /// Outputs of one sub-model's encoder.
    pub fn width(&self) -> usize {
        match self.family {
            FamilySpec::Variational(_) => 2 * self.code,
            _ => self.code,
        }
    }

    /// Outputs of all, one sub-model after the other.
    pub fn outputs(&self) -> usize {
        self.clusters.saturating_mul(self.width())
    }

    /// The decoders of a family that has some.
    fn decoder(&self) -> Option<&DecoderSpec> {
        match &self.family {
            FamilySpec::Autoencoder(spec) => Some(&spec.decoder),
            FamilySpec::Variational(spec) => Some(&spec.decoder),
            FamilySpec::Contrastive(_)
            | FamilySpec::Boltzmann(_)
            | FamilySpec::NeuralEigenmap(_)
            | FamilySpec::Imsat(_)
            | FamilySpec::Sela(_) => None,
        }
    }

    /// What is learned beside the encoder, for samples `[height, width, channels]`.
    pub fn beside(&self, shape: [usize; 3]) -> Vec<Extra> {
        match (&self.family, self.decoder()) {
            (_, Some(decoder)) => decoder.parameters(self.clusters, self.code, shape),
            (FamilySpec::Boltzmann(_), _) => boltzmann::visible_bias(shape.iter().product()),
            _ => Vec::new(),
        }
    }

    fn build_family<B: Trainable>(&self) -> Box<dyn Family<B>> {
        match &self.family {
            FamilySpec::Autoencoder(spec) => Box::new(spec.clone()),
            FamilySpec::Variational(spec) => Box::new(spec.clone()),
            FamilySpec::Contrastive(spec) => Box::new(spec.clone()),
            FamilySpec::Boltzmann(spec) => Box::new(spec.clone()),
            FamilySpec::NeuralEigenmap(spec) => Box::new(Eigenmaps::new(spec.clone())),
            FamilySpec::Imsat(spec) => Box::new(spec.clone()),
            FamilySpec::Sela(spec) => Box::new(SelfLabelling::new(spec.clone(), self.clusters, self.code)),
        }
    }
}

/// A batch as sub-models see it.
pub struct Case<'a, B: Trainable> {
    /// The network whose outputs are the sub-models' encoders.
    pub encoder: &'a Encoder<B>,
    /// `[views * n, height, width, channels]`.
    pub images: Tensor<B, 4>,
    /// The centres, `[clusters, values of a sample]`.
    pub centres: Tensor<B, 2>,
    /// How batch norm runs.
    pub mode: Mode,
    /// When it is; `None` where nothing is left to chance.
    pub position: Option<Position>,
    /// What is known of the samples; `None` where they are not learned from.
    pub known: Option<Known<'a, B>>,
    /// Outputs of one sub-model.
    pub width: usize,
    /// Whether sub-models have their own shares of the features.
    pub separate: bool,
}

/// What is known of samples that are learned from.
pub struct Known<'a, B: Trainable> {
    /// Their numbers in the training set, `n` long.
    pub samples: &'a [u32],
    /// Whose they were before this batch, `[n, clusters]`: constant rows of sum 1.
    pub weights: Tensor<B, 2>,
}

/// Losses of a batch.
pub struct Losses<B: Trainable> {
    /// Of each sample under each sub-model, `[n, clusters]`: the gradient follows it.
    pub matrix: Tensor<B, 2>,
    /// What assignments compare, where that is not the same.
    pub rule: Option<Tensor<B::InnerBackend, 2>>,
    /// What is minimised beside, of the batch as a whole, one number: assignments do not compare it.
    pub batch: Option<Tensor<B, 1>>,
    /// What [`Family::follow`] gets of a batch that was learned from.
    pub measured: State,
    /// What the log shows beside.
    pub terms: Vec<(&'static str, Tensor<B::InnerBackend, 1>)>,
}

impl<B: Trainable> Losses<B> {
    /// Losses `[n, clusters]` that assignments compare and the gradient follows, and nothing beside.
    pub fn of(matrix: Tensor<B, 2>) -> Self {
        Self { matrix, rule: None, batch: None, measured: State::new(), terms: Vec::new() }
    }
}

/// The whole training set between two epochs.
pub struct Pass<'a, B: Trainable> {
    /// Its samples.
    pub source: &'a dyn Source,
    /// The cluster of each.
    pub assignments: &'a [u32],
    /// When it is.
    pub position: Position,
    /// Where tensors live.
    pub device: &'a B::Device,
    /// Each sub-model's outputs for some images, on batch norm's running moments: `[rows, clusters, width]`.
    pub outputs: &'a dyn Fn(Tensor<B::InnerBackend, 4>) -> Tensor<B::InnerBackend, 3>,
}

/// A representation learner that has a loss for every sample.
pub trait Family<B: Trainable> {
    /// The views of a batch; the last one is the sample that centres are means of.
    fn views(&self) -> &'static [View];

    /// The losses of `n` samples.
    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B>;

    /// Samples that each sub-model draws, `[clusters, drawn, values]`: decoded from standard normal codes
    /// `[drawn, clusters, code]`, about the centres `[clusters, values]`; `None` where the family is no such distribution.
    fn draw(&self, _encoder: &Encoder<B>, _centres: Tensor<B, 2>, _codes: Tensor<B, 3>) -> Option<Tensor<B, 3>> {
        None
    }

    /// Does what is due on the whole training set before an epoch.
    ///
    /// # Errors
    /// Data that the family cannot learn from.
    fn prepare(&mut self, _pass: &Pass<B>) -> Result<()> {
        Ok(())
    }

    /// Takes up what [`Family::losses`] measured in a batch that was learned from.
    fn follow(&mut self, _measured: State) {}

    /// The state to checkpoint, beside the members'.
    fn state(&self) -> State {
        State::new()
    }

    /// Takes up a state that [`Family::state`] gave.
    fn restore(&mut self, _state: State) {}

    /// Whether losses compare views, and say nothing of a sample whose views are all the same.
    fn compares_views(&self) -> bool {
        false
    }

    /// What each output is multiplied by in a representation that ships, one sub-model after the other, where the loss does
    /// not know outputs' scale.
    fn scales(&self) -> Option<Vec<f32>> {
        None
    }

    /// Where sub-models without layers before them read a sample from: its cluster's centre, or nothing; and what the
    /// difference is divided by.
    fn frame(&self) -> Frame {
        Frame { centred: true, unit: 1.0 }
    }

    /// Whether sub-models without layers before them find planes, as linear decoders do.
    fn finds_planes(&self) -> bool {
        false
    }
}

/// How sub-models without layers before them read a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// From its cluster's centre.
    pub centred: bool,
    /// In units of this size.
    pub unit: f64,
}

impl<B: Trainable> Case<'_, B> {
    /// Number of sub-models.
    pub fn clusters(&self) -> usize {
        self.centres.dims()[0]
    }

    /// The samples of one view, flat: `[n, values]`.
    pub fn flat(&self, view: usize, n: usize) -> Tensor<B, 2> {
        let [_, height, width, channels] = self.images.dims();
        self.images.clone().narrow(0, view * n, n).reshape([n, height * width * channels])
    }

    /// Each sub-model's outputs for some images, `[rows, clusters, width]`.
    pub fn outputs(&self, images: Tensor<B, 4>) -> Tensor<B, 3> {
        self.outputs_in(images, self.mode)
    }

    /// [`Case::outputs`] with another mode of batch norm.
    pub fn outputs_in(&self, images: Tensor<B, 4>, mode: Mode) -> Tensor<B, 3> {
        let rows = images.dims()[0];
        let shape = [rows, self.clusters(), self.width];
        let last = self.encoder.parameters.affines.last().expect("a plan ends with a linear step");
        let (weight, bias) = (last.weight.val(), last.bias.as_ref().expect("the output has a bias").val());
        let features = self.encoder.features(images, mode);
        if self.separate {
            // Only a sub-model's own block has gradients: the rest, zero at the start, stays zero.
            let share = features.dims()[1] / self.clusters();
            let block = |j: usize| {
                let weight = weight.clone().narrow(0, j * share, share).narrow(1, j * self.width, self.width);
                features.clone().narrow(1, j * share, share).matmul(weight)
            };
            let blocks = (0..self.clusters()).map(block).collect();
            return (Tensor::cat(blocks, 1) + bias.unsqueeze()).reshape(shape);
        }
        let offsets = match self.is_centred() {
            // W (x - c) = W x - W c, for each sub-model its own c.
            true => self.own_blocks(self.centres.clone().matmul(weight.clone())),
            false => Tensor::zeros([1, weight.dims()[1]], &weight.device()),
        };
        (features.matmul(weight) + bias.unsqueeze() - offsets).reshape(shape)
    }

    /// What decoders make of codes `[rows, clusters, code]`: `[rows, clusters, values]`.
    pub fn decoded(&self, decoder: &DecoderSpec, codes: Tensor<B, 3>) -> Tensor<B, 3> {
        decoder.decode(&self.encoder.parameters, codes, self.encoder.plan.input)
    }

    /// Whether sub-models read samples from their centres.
    fn is_centred(&self) -> bool {
        self.encoder.plan.steps.len() == 1
    }

    /// Of `[clusters, clusters * width]` the blocks on the diagonal, `[1, clusters * width]`.
    fn own_blocks(&self, all: Tensor<B, 2>) -> Tensor<B, 2> {
        let block = |j: usize| all.clone().narrow(0, j, 1).narrow(1, j * self.width, self.width);
        Tensor::cat((0..self.clusters()).map(block).collect(), 1)
    }

    /// Differences of samples `[n, values]` to every centre, `[n, clusters, values]`.
    pub fn from_centres(&self, samples: Tensor<B, 2>) -> Tensor<B, 3> {
        samples.unsqueeze_dim::<3>(1) - self.centres.clone().unsqueeze_dim::<3>(0)
    }
}

/// The objective.
pub struct ClusterSpecific<B: Trainable> {
    spec: ClusterSpecificSpec,
    family: Box<dyn Family<B>>,
    /// `None` before the first batch.
    members: Option<Members>,
    /// The epoch that [`Objective::prepare`] has prepared.
    prepared: Option<u64>,
}

/// What names of a family's state begin with.
const FAMILY: &str = "family.";

impl<B: Trainable> ClusterSpecific<B> {
    /// At the start of training.
    pub fn new(spec: ClusterSpecificSpec) -> Self {
        let family = spec.build_family();
        Self { spec, family, members: None, prepared: None }
    }

    /// Who belongs to whom; `None` before training.
    pub fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }

    /// Whether samples still stay in their first clusters.
    fn holds(&self, position: Position) -> bool {
        (position.seen as f64) < self.spec.hold * position.total as f64
    }

    /// A batch outside training.
    fn case<'a>(
        spec: &ClusterSpecificSpec,
        members: &Members,
        encoder: &'a Encoder<B>,
        images: Tensor<B, 4>,
        position: Option<Position>,
    ) -> Case<'a, B> {
        let centres = centres(members, spec.clusters, &images.device());
        let (width, separate) = (spec.width(), spec.separate);
        Case { encoder, images, centres, mode: Mode::Evaluate, position, known: None, width, separate }
    }

    /// The losses with the pull to the centres, and what assignments compare, on the host.
    fn losses(&self, case: &Case<B>) -> (Losses<B>, Vec<f32>) {
        let n = case.images.dims()[0] / self.family.views().len();
        let mut losses = self.family.losses(case, n);
        let mut rule = losses.rule.take().unwrap_or_else(|| losses.matrix.clone().inner());
        if self.spec.pull > 0.0 {
            let from = case.from_centres(case.flat(self.family.views().len() - 1, n)).inner();
            let distances = from.square().mean_dim(2).reshape([n, self.spec.clusters]) * self.spec.pull;
            losses.matrix = losses.matrix + Tensor::from_inner(distances.clone());
            rule = rule + distances;
        }
        (losses, floats(rule))
    }

    /// The weights `S`, `[n, clusters]`, constants.
    fn weights(&self, rule: &[f32], chosen: &[u32], before: &[u32], position: Position) -> Vec<f32> {
        let clusters = self.spec.clusters;
        match self.spec.assign {
            _ if self.holds(position) => one_hot(before, clusters),
            Assign::Hard => one_hot(chosen, clusters),
            Assign::Delayed => one_hot(before, clusters),
            Assign::Soft => {
                let lowest = rule.chunks_exact(clusters).map(|row| f64::from(least(row).1));
                let mean = lowest.sum::<f64>() / chosen.len() as f64;
                let left = 1.0 - position.seen as f64 / position.total.max(1) as f64;
                let scale = (self.spec.temperature * left * mean).max(f64::MIN_POSITIVE);
                let soft = |row: &[f32]| -> Vec<f32> {
                    let lowest = f64::from(least(row).1);
                    let terms: Vec<f64> = row.iter().map(|&loss| ((lowest - f64::from(loss)) / scale).exp()).collect();
                    let sum: f64 = terms.iter().sum();
                    terms.into_iter().map(|term| (term / sum) as f32).collect()
                };
                rule.chunks_exact(clusters).flat_map(soft).collect()
            }
        }
    }
}

/// Standard normal numbers that depend on nothing but the arguments.
fn normal(seed: u64, stream: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// The centres, `[clusters, values]`.
fn centres<B: Trainable>(members: &Members, clusters: usize, device: &B::Device) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(members.centres(), [clusters, members.size()]), device)
}

/// Rows `[ids, clusters]` with a 1 at each id.
fn one_hot(ids: &[u32], clusters: usize) -> Vec<f32> {
    let mut weights = vec![0.0; ids.len() * clusters];
    for (row, &id) in weights.chunks_exact_mut(clusters).zip(ids) {
        row[id as usize] = 1.0;
    }
    weights
}

/// The least of a row, and its place: of equals the first.
fn least(row: &[f32]) -> (u32, f32) {
    let mut found = (0, row[0]);
    for (j, &loss) in row.iter().enumerate() {
        if loss < found.1 {
            found = (j as u32, loss);
        }
    }
    found
}

impl<B: Trainable> Objective<B> for ClusterSpecific<B> {
    fn views(&self) -> &'static [View] {
        self.family.views()
    }

    fn prepare(
        &mut self,
        encoder: &Encoder<B>,
        source: &dyn Source,
        position: Position,
        device: &B::Device,
    ) -> Result<()> {
        if self.prepared == Some(position.epoch) {
            return Ok(());
        }
        self.prepared = Some(position.epoch);
        let Self { spec, family, members, .. } = self;
        let all: Vec<u32> = (0..source.len() as u32).collect();
        let samples = source.view(View::Plain, position.seed, 0, &all);
        let size = source.shape().iter().product();
        match members {
            None => {
                *members = Some(Members::start(&samples, size, spec.clusters, spec.start, spec.code, position.seed)?)
            }
            Some(members) if members.len() != source.len() => {
                let expected = format!("clusters of {} training samples", source.len());
                return Err(Error::input("checkpoint", "clusters of other data", expected, members.len()));
            }
            Some(members) => members.refresh(&samples, size),
        }
        let members = members.as_ref().expect("just made");
        let frozen = encoder.frozen();
        let outputs = |images: Tensor<B::InnerBackend, 4>| {
            let images = Tensor::from_inner(images);
            Self::case(spec, members, &frozen, images.clone(), None).outputs(images).inner()
        };
        family.prepare(&Pass { source, assignments: members.assignments(), position, device, outputs: &outputs })
    }

    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B> {
        let Batch { images, samples, position } = batch;
        let (n, clusters) = (samples.len(), self.spec.clusters);
        let device = images.device();
        let members = self.members.as_ref().expect("prepared before a batch");
        let before: Vec<u32> = samples.iter().map(|&sample| members.of(sample)).collect();
        let weights = Tensor::from_data(TensorData::new(one_hot(&before, clusters), [n, clusters]), &device);
        let known = Some(Known { samples: &samples, weights });
        let case = Self::case(&self.spec, members, encoder, images, Some(position));
        let case = Case { mode: Mode::Train, known, ..case };
        let (losses, rule) = self.losses(&case);
        let values = floats(case.flat(self.family.views().len() - 1, n).inner());
        let chosen = match self.holds(position) {
            true => before.clone(),
            false => rule.chunks_exact(clusters).map(|row| least(row).0).collect(),
        };
        let own: Vec<f32> = rule.chunks_exact(clusters).zip(&chosen).map(|(row, &id)| row[id as usize]).collect();
        let weights = TensorData::new(self.weights(&rule, &chosen, &before, position), [n, clusters]);
        let weights = Tensor::from_data(weights, &device);
        let mut total = (losses.matrix * weights).sum_dim(1).mean();
        if let Some(batch) = losses.batch {
            total = total + batch;
        }

        self.family.follow(losses.measured);
        let members = self.members.as_mut().expect("prepared before a batch");
        members.update(&samples, &chosen, &own, &values);
        let moved = before.iter().zip(&chosen).filter(|(before, chosen)| before != chosen).count();
        let share = |count: usize, of: usize| Tensor::from_floats([count as f32 / of as f32], &device);
        let mut terms = losses.terms;
        terms.push(("moved", share(moved, n)));
        terms.push(("largest_cluster", share(members.sizes().iter().copied().max().unwrap_or(0), members.len())));
        terms.push(("smallest_cluster", share(members.sizes().iter().copied().min().unwrap_or(0), members.len())));
        Loss { total, terms }
    }

    fn state(&self) -> State {
        let mut state = self.members.as_ref().map(Members::state).unwrap_or_default();
        let own = self.family.state().into_iter();
        state.extend(own.map(|(name, values)| (format!("{FAMILY}{name}"), values)));
        state
    }

    fn restore(&mut self, state: State, _device: &B::Device) {
        let mut own = State::new();
        for (name, values) in &state {
            if let Some(name) = name.strip_prefix(FAMILY) {
                own.insert(name.into(), values.clone());
            }
        }
        self.family.restore(own);
        self.members = Members::restored(state, self.spec.clusters);
        // The next batch begins an epoch.
        self.prepared = None;
    }

    fn experts(&self, encoder: &Encoder<B>) -> Option<Experts> {
        let members = self.members.as_ref()?;
        let (count, dims, width) = (self.spec.clusters, self.spec.code, self.spec.width());
        let last = encoder.parameters.affines.last()?;
        let [features, outputs] = last.weight.val().dims();
        let (weight, bias) = (floats(last.weight.val()), floats(last.bias.as_ref()?.val()));
        let is_layered = encoder.plan.steps.len() > 1;
        let centres = members.centres();
        if !is_layered && self.family.finds_planes() {
            let decoder = floats(encoder.parameters.beside[0].val());
            let offsets = floats(encoder.parameters.beside[1].val());
            return Some(planes::experts(&decoder, &centres, &offsets, count, dims));
        }
        let frame = match is_layered {
            true => Frame { centred: false, unit: 1.0 },
            false => self.family.frame(),
        };
        let scales = self.family.scales();
        let mut experts = Experts { count, dims, weight: Vec::new(), bias: Vec::new(), points: None };
        for (expert, k) in (0..count).flat_map(|expert| (0..dims).map(move |k| (expert, k))) {
            let column = expert * width + k;
            let scale = scales.as_ref().map_or(1.0, |scales| scales[column]);
            let row: Vec<f32> =
                (0..features).map(|i| scale * weight[i * outputs + column] / frame.unit as f32).collect();
            let centre = &centres[expert * members.size()..][..members.size()];
            let at_centre: f32 = match frame.centred {
                true => row.iter().zip(centre).map(|(weight, value)| weight * value).sum(),
                false => 0.0,
            };
            experts.bias.push(scale * bias[column] - at_centre);
            experts.weight.extend(row);
        }
        Some(experts)
    }

    fn portraits(&self, encoder: &Encoder<B>, drawn: usize, seed: u64) -> Option<Portraits> {
        let members = self.members.as_ref()?;
        let device = encoder.parameters.affines.last()?.weight.val().device();
        let shape = [drawn, self.spec.clusters, self.spec.code];
        let codes = TensorData::new(normal(seed, 0, shape.iter().product()), shape);
        let centres = centres(members, self.spec.clusters, &device);
        let drawn = self.family.draw(encoder, centres, Tensor::from_data(codes, &device));
        Some(Portraits { centres: members.centres(), drawn: drawn.map(floats).unwrap_or_default() })
    }

    fn rule_views(&self) -> Vec<View> {
        match self.family.compares_views() {
            true => self.views().to_vec(),
            false => vec![View::Plain; self.views().len()],
        }
    }

    fn assign(&self, encoder: &Encoder<B>, images: Tensor<B, 4>, position: Option<Position>) -> Option<Assigned> {
        let members = self.members.as_ref()?;
        let (_, rule) = self.losses(&Self::case(&self.spec, members, encoder, images, position));
        let (clusters, losses) = rule.chunks_exact(self.spec.clusters).map(least).unzip();
        Some(Assigned { clusters, losses })
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
