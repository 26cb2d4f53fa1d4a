//! SeLa (Asano et al. 2020, "Self-labelling via simultaneous clustering and representation learning"): the network learns
//! to predict labels that it gave to the samples itself, and every class has its share of them.
//!
//! With `p = softmax` of a head's outputs and labels `q(y | i)`, both sides minimise
//!
//! ```text
//! L = - mean_i sum_y q(y | i) log p(y | x_i)          subject to    mean_i q(y | i) = r_y
//! ```
//!
//! the network by its gradient, batch by batch, and the labels now and then on the whole training set, by optimal
//! transport ([`sinkhorn`](super::sinkhorn)) with `log p` averaged over views. Without the constraint one class would soon
//! have all samples. Several heads on one network have labels, and a transport problem, each of their own.
//!
//! Two baselines go the same way: labels by k-means of the features, as DeepCluster (Caron et al. 2018) gives them, and
//! random labels that stay as they are.

use burn::tensor::activation::log_softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use ndarray::{Array2, ArrayView2, s};
use pathfinding::prelude::{Matrix, kuhn_munkres};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::sinkhorn::Sinkhorn;
use super::{Batch, ClusterLogits, Loss, Native, NativeBits, Objective, Position, State};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::evaluate::kmeans;
use crate::network::{Encoder, Mode, Trainable, floats};
use crate::train::source::{Source, shuffled};

/// The views that are learned from and labelled.
const VIEWS: &[View] = &[View::First, View::Second];

/// Samples whose outputs are read at once, at most.
const READ: usize = 512;

/// Most outputs that a network can have.
const OUTPUTS: usize = u16::MAX as usize;

/// Most values that soft labels may have: a gigabyte.
const SOFT: usize = 1 << 28;

/// Largest `lambda` and `tolerance`: beyond it, arithmetic fails before anything gets harder.
const LARGEST: f64 = 1e6;

/// Settings of the objective.
///
/// ```
/// use eigenlet_trainer::objective::sela::SelaSpec;
///
/// let spec: SelaSpec = toml::from_str(r#"
///     heads = 4
///     classes = 32
///     labels = "soft"
///     rotate = true
/// "#).unwrap();
/// assert!(spec.check().is_ok() && spec.outputs() == 128);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelaSpec {
    /// Heads, each with classes and labels of its own.
    pub heads: usize,
    /// Classes of a head, from 2; no more than there are samples.
    pub classes: usize,
    /// How hard the transport is, above 0: the labels cost at most `log(classes) / lambda` more than the best ones.
    pub lambda: f64,
    /// How often labels are updated in the whole training; the first time before the first batch.
    pub updates: usize,
    /// When.
    pub schedule: UpdateSchedule,
    /// Whether an update gives labels to one head only, each in its turn. The others keep theirs.
    pub rotate: bool,
    /// What a label is.
    pub labels: Labels,
    /// On which moments batch norm runs while labels are given.
    pub label_mode: LabelMode,
    /// Views of a sample over which `log p` is averaged for its label, first and second ones in turn; 0 takes the sample as it
    /// is.
    pub label_views: usize,
    /// The share of the samples that each class should have; the same for all where this is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marginals: Option<Vec<f64>>,
    /// Relative error of a class's share at which the transport stops, above 0.
    pub tolerance: f64,
    /// Iterations after which it stops all the same.
    pub iterations: usize,
    /// Who gives the labels.
    pub labeller: Labeller,
    /// The head that ships, from 0; left out, the one whose labels were the likeliest at its last update (for
    /// k-means, the closest to their means).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ship_head: Option<usize>,
}

/// When labels are updated, for update `u` of `updates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateSchedule {
    /// After `u / updates` of the training.
    Linear,
    /// After `(u / updates)^2` of it: often while the network still learns fast.
    Quadratic,
}

/// What a label is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// The likeliest class.
    Hard,
    /// The distribution over classes.
    Soft,
}

/// On which moments batch norm runs while labels are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelMode {
    /// The running ones. Before the first batch they are those of no data yet: the first labels are a rough start.
    Evaluate,
    /// Those of random batches, as in the authors' code (which also updates the running ones meanwhile; this does not).
    Train,
}

/// Who gives the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labeller {
    /// Balanced transport of the head's own probabilities: SeLa.
    Transport,
    /// k-means of the features on the unit sphere; each cluster weighs the same in the loss: DeepCluster. There a head starts
    /// anew with each update, because k-means numbers its clusters by chance; here a cluster takes the number of the old
    /// one that it shares most samples with (by the best matching of all), so that a head can go on.
    KMeans,
    /// Chance, once. What any of it must beat.
    Random,
}

impl Default for SelaSpec {
    fn default() -> Self {
        Self {
            heads: 10,
            classes: 64,
            lambda: 25.0,
            updates: 80,
            schedule: UpdateSchedule::Quadratic,
            rotate: false,
            labels: Labels::Hard,
            label_mode: LabelMode::Evaluate,
            label_views: 2,
            marginals: None,
            tolerance: 0.01,
            iterations: 2000,
            labeller: Labeller::Transport,
            ship_head: None,
        }
    }
}

impl SelaSpec {
    /// Outputs of all heads, one head after the other.
    pub fn outputs(&self) -> usize {
        self.heads.saturating_mul(self.classes)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        let count = |key: &str, value: usize, range: std::ops::RangeInclusive<usize>| match range.contains(&value) {
            true => Ok(()),
            false => Err(impossible(key, format!("{} to {}", range.start(), range.end()), value)),
        };
        count("heads", self.heads, 1..=OUTPUTS)?;
        count("classes", self.classes, 2..=OUTPUTS)?;
        if self.outputs() > OUTPUTS {
            return Err(impossible("classes", format!("at most {OUTPUTS} in all heads"), self.outputs()));
        }
        count("updates", self.updates, 1..=1_000_000)?;
        count("label_views", self.label_views, 0..=1000)?;
        count("iterations", self.iterations, 1..=1_000_000)?;
        if self.rotate && self.labeller != Labeller::Random && self.updates < self.heads {
            return Err(impossible(
                "updates",
                format!("at least {}, one for each head in turn", self.heads),
                self.updates,
            ));
        }
        if let Some(head) = self.ship_head {
            count("ship_head", head, 0..=self.heads - 1)?;
        }
        for (key, value) in [("lambda", self.lambda), ("tolerance", self.tolerance)] {
            if !(value > 0.0 && value <= LARGEST) {
                return Err(impossible(key, format!("above 0, at most {LARGEST}"), value));
            }
        }
        if let Some(shares) = &self.marginals {
            if shares.len() != self.classes {
                return Err(impossible(
                    "marginals",
                    format!("a share for each of {} classes", self.classes),
                    shares.len(),
                ));
            }
            if let Some(share) = shares.iter().find(|share| !share.is_finite() || **share <= 0.0) {
                return Err(impossible("marginals", "positive shares", share));
            }
            let sum: f64 = shares.iter().sum();
            if (sum - 1.0).abs() > 1e-6 {
                return Err(impossible("marginals", "shares that sum to 1", format!("a sum of {sum}")));
            }
        }
        if self.labeller == Labeller::KMeans && self.marginals.is_some() {
            return Err(impossible("marginals", "none with k-means, which does not balance", "shares"));
        }
        if self.labeller != Labeller::Transport && self.labels == Labels::Soft {
            return Err(impossible("labels", "hard ones, except by transport", "soft"));
        }
        Ok(())
    }

    /// Checks the settings against the number of training samples.
    ///
    /// # Errors
    /// More classes than samples, a class whose share is less than a sample, soft labels beyond a gigabyte.
    pub fn fits(&self, samples: usize) -> Result<()> {
        if self.classes > samples {
            let expected = format!("at most one for each of {samples} training samples");
            return Err(Error::input("objective.classes", "too many classes", expected, self.classes));
        }
        let smallest = self.shares().into_iter().fold(1.0, f64::min);
        if self.marginals.is_some() && smallest * (samples as f64) < 1.0 {
            let expected = format!("at least one of {samples} training samples for each class");
            return Err(Error::input("objective.marginals", "too small a share", expected, smallest));
        }
        if self.labels == Labels::Soft && self.outputs().saturating_mul(samples) > SOFT {
            let expected = format!("at most {} outputs for {samples} training samples", SOFT / samples);
            return Err(Error::input("objective.labels", "soft labels beyond a gigabyte", expected, self.outputs()));
        }
        Ok(())
    }

    /// The classes' shares, of sum 1.
    fn shares(&self) -> Vec<f64> {
        match &self.marginals {
            Some(shares) => {
                let sum: f64 = shares.iter().sum();
                shares.iter().map(|share| share / sum).collect()
            }
            None => vec![1.0 / self.classes as f64; self.classes],
        }
    }

    /// Updates that should have been made before this batch.
    fn due(&self, position: Position) -> usize {
        if self.labeller == Labeller::Random {
            return 0;
        }
        let due = |update: usize| {
            let share = update as f64 / self.updates as f64;
            let share = match self.schedule {
                UpdateSchedule::Linear => share,
                UpdateSchedule::Quadratic => share * share,
            };
            share * position.total as f64 <= position.seen as f64
        };
        (0..self.updates).take_while(|&update| due(update)).count()
    }
}

fn impossible(key: &str, expected: impl ToString, found: impl ToString) -> Error {
    Error::input(format!("objective.{key}"), "impossible value", expected, found)
}

/// The objective with its labels.
pub struct Sela {
    spec: SelaSpec,
    /// Empty before the first batch.
    heads: Vec<Head>,
    /// Updates made.
    updates: usize,
}

/// What one head is taught.
#[derive(Clone, Debug, Default, PartialEq)]
struct Head {
    /// The class of every sample.
    labels: Vec<u32>,
    /// `[n, classes]`, where labels are soft and were updated.
    soft: Vec<f32>,
    /// Of the last update, for the next one to start from and for the decision rule; of mean 0.
    log_alpha: Vec<f32>,
    figures: Figures,
}

/// What the last update was like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Figures {
    /// Mean `-log p` of the labels; for k-means, the inertia per sample.
    cost: f32,
    /// Largest relative error of a class's share: in the coupling.
    residual: f32,
    /// In the labels that were made of it.
    imbalance: f32,
    /// Share of the samples whose label changed.
    changed: f32,
}

impl Sela {
    /// At the start of training.
    pub fn new(spec: SelaSpec) -> Self {
        Self { spec, heads: Vec::new(), updates: 0 }
    }

    /// The heads whose turn it is in the updates that are due.
    fn in_turn(&self, due: usize) -> Vec<usize> {
        let heads = 0..self.spec.heads;
        match self.spec.rotate {
            true => heads.filter(|head| (self.updates..due).any(|update| update % self.spec.heads == *head)).collect(),
            false => heads.collect(),
        }
    }

    /// Labels by transport, for the head's mean `log p` over views, `[n, classes]`.
    fn transport(&self, head: &Head, log_p: ArrayView2<f32>) -> Head {
        let SelaSpec { lambda, tolerance, iterations, .. } = self.spec;
        let shares = self.spec.shares();
        let start: Vec<f64> = head.log_alpha.iter().map(|&value| f64::from(value)).collect();
        let coupling = Sinkhorn { lambda, tolerance, iterations }.couple(log_p, &shares, &start);
        let labels = coupling.labels(&head.labels);
        let (soft, cost) = match self.spec.labels {
            Labels::Hard => {
                let costs = labels.iter().zip(log_p.rows()).map(|(&label, row)| -f64::from(row[label as usize]));
                (Vec::new(), costs.sum::<f64>())
            }
            Labels::Soft => {
                let soft = coupling.soft();
                let costs = soft.iter().zip(log_p).map(|(&q, &log_p)| -f64::from(q) * f64::from(log_p));
                let cost = costs.sum();
                (soft.into_raw_vec_and_offset().0, cost)
            }
        };
        let figures = Figures {
            cost: (cost / labels.len() as f64) as f32,
            residual: coupling.residual as f32,
            imbalance: imbalance(&labels, &shares),
            changed: changed(&head.labels, &labels),
        };
        let log_alpha = coupling.log_alpha.iter().map(|&value| value as f32).collect();
        Head { labels, soft, log_alpha, figures }
    }

    /// Labels by k-means of `features` `[n, d]`.
    fn cluster(&self, head: &Head, features: &ArrayView2<f32>, seed: u64) -> Head {
        let found = kmeans(features, self.spec.classes, 1, seed);
        let labels = renumbered(&found.assignment, &head.labels, self.spec.classes);
        let imbalance = imbalance(&labels, &self.spec.shares());
        let figures = Figures {
            cost: (found.inertia / labels.len() as f64) as f32,
            residual: imbalance,
            imbalance,
            changed: changed(&head.labels, &labels),
        };
        Head { labels, figures, ..head.clone() }
    }

    /// What the heads are to predict for `samples`, `[samples, heads * classes]`.
    fn targets(&self, samples: &[u32]) -> Vec<f32> {
        let classes = self.spec.classes;
        let weights: Vec<Vec<f32>> = self.heads.iter().map(|head| self.weights(&head.labels)).collect();
        let mut targets = Vec::with_capacity(samples.len() * self.spec.outputs());
        for &sample in samples {
            let sample = sample as usize;
            for (head, weights) in self.heads.iter().zip(&weights) {
                match head.soft.is_empty() {
                    true => {
                        let label = head.labels[sample] as usize;
                        targets.extend((0..classes).map(|class| if class == label { weights[class] } else { 0.0 }));
                    }
                    false => targets.extend_from_slice(&head.soft[sample * classes..(sample + 1) * classes]),
                }
            }
        }
        targets
    }

    /// How much a label of each class weighs: those of k-means so that all clusters weigh the same.
    fn weights(&self, labels: &[u32]) -> Vec<f32> {
        if self.spec.labeller != Labeller::KMeans || self.updates == 0 {
            return vec![1.0; self.spec.classes];
        }
        let sizes = sizes(labels, self.spec.classes);
        let used = sizes.iter().filter(|&&size| size > 0).count();
        sizes.iter().map(|&size| labels.len() as f32 / (used * size.max(1)) as f32).collect()
    }

    /// The offsets of a head's outputs in its decision rule, `log alpha / lambda`.
    fn offsets(&self, head: usize) -> Vec<f32> {
        match self.heads.get(head) {
            Some(head) => head.log_alpha.iter().map(|value| value / self.spec.lambda as f32).collect(),
            None => vec![0.0; self.spec.classes],
        }
    }

    fn shipped(&self) -> usize {
        // In rotation, heads whose turn has not come keep their random labels, and no cost.
        let taught = if self.spec.rotate { self.updates } else { self.spec.heads };
        let cheapest = || {
            let costs = self.heads.iter().take(taught).map(|head| head.figures.cost).enumerate();
            costs.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(head, _)| head)
        };
        self.spec.ship_head.unwrap_or_else(cheapest)
    }
}

/// Runs a network over the whole training set: the mean over `label_views` views, the first and second ones in turn or the
/// samples as they are at 0, of what `read` gives for images; one row for each sample. Views are drawn anew in each pass.
///
/// # Errors
/// Values that are not finite.
pub fn read_all<B: Trainable>(
    source: &dyn Source,
    label_views: usize,
    seed: u64,
    pass: u64,
    device: &B::Device,
    read: impl Fn(Tensor<B::InnerBackend, 4>) -> Tensor<B::InnerBackend, 2>,
) -> Result<Array2<f32>> {
    let n = source.len();
    // Training counts its epochs from 0.
    let epoch = |view: usize| u64::MAX - (pass * 1000 + view as u64);
    let views: Vec<(View, u64)> = match label_views {
        0 => vec![(View::Plain, 0)],
        count => (0..count).map(|view| (VIEWS[view % VIEWS.len()], epoch(view))).collect(),
    };
    // Random, and evenly divided, for the moments of batches.
    let order = shuffled(n, seed, epoch(0));
    let batches = n.div_ceil(READ);
    let [height, width, channels] = source.shape();
    let mut all = Array2::zeros((0, 0));
    for batch in 0..batches {
        let samples = &order[batch * n / batches..(batch + 1) * n / batches];
        let one = |&(view, epoch): &(View, u64)| {
            let shape = [samples.len(), height, width, channels];
            let data = TensorData::new(source.view(view, seed, epoch, samples), shape);
            read(Tensor::from_data(data, device))
        };
        let sum = views.iter().map(one).reduce(|a, b| a + b).expect("at least one view");
        let mean = sum / views.len() as f64;
        let columns = mean.dims()[1];
        let values = floats(mean);
        if all.is_empty() {
            all = Array2::zeros((n, columns));
        }
        for (&sample, values) in samples.iter().zip(values.chunks_exact(columns)) {
            all.row_mut(sample as usize).as_slice_mut().expect("rows are contiguous").copy_from_slice(values);
        }
    }
    match all.iter().all(|value| value.is_finite()) {
        true => Ok(all),
        false => Err(Error::Check("the outputs are not finite: lower the learning rate".into())),
    }
}

/// Labels of a random order of the samples: every class has its share, up to one sample.
pub fn random_labels(n: usize, shares: &[f64], seed: u64, head: usize) -> Vec<u32> {
    let mut labels = Vec::with_capacity(n);
    let mut sum = 0.0;
    for (class, share) in shares.iter().enumerate() {
        sum += share;
        let end = if class + 1 == shares.len() { n } else { (sum * n as f64).round() as usize };
        labels.resize(end.max(labels.len()), class as u32);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Far from the streams that the orders of epochs are drawn from.
    rng.set_stream((1 << 63) + head as u64);
    labels.shuffle(&mut rng);
    labels
}

fn sizes(labels: &[u32], classes: usize) -> Vec<usize> {
    let mut sizes = vec![0; classes];
    labels.iter().for_each(|&label| sizes[label as usize] += 1);
    sizes
}

/// Largest relative error of a class's share.
fn imbalance(labels: &[u32], shares: &[f64]) -> f32 {
    let errors = sizes(labels, shares.len()).into_iter().zip(shares).map(|(size, share)| {
        let found = size as f64 / labels.len() as f64;
        (found / share - 1.0).abs()
    });
    errors.fold(0.0, f64::max) as f32
}

/// `labels` with their numbers exchanged so that as many as can be are the `old` ones.
fn renumbered(labels: &[u32], old: &[u32], classes: usize) -> Vec<u32> {
    let mut common = Matrix::new(classes, classes, 0i64);
    for (&label, &old) in labels.iter().zip(old) {
        common[(label as usize, old as usize)] += 1;
    }
    let (_, numbers) = kuhn_munkres(&common);
    labels.iter().map(|&label| numbers[label as usize] as u32).collect()
}

/// Share of the labels that differ.
pub fn changed(old: &[u32], new: &[u32]) -> f32 {
    old.iter().zip(new).filter(|(old, new)| old != new).count() as f32 / new.len() as f32
}

/// Rows of length 1; a row of zeros stays.
fn unit_rows(mut rows: Array2<f32>) -> Array2<f32> {
    for mut row in rows.rows_mut() {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
    rows
}

/// `log p` of every head, `[n, heads * classes]`, from its outputs.
fn log_probabilities<B: Backend>(outputs: Tensor<B, 2>, heads: usize) -> Tensor<B, 2> {
    let [n, all] = outputs.dims();
    log_softmax(outputs.reshape([n, heads, all / heads]), 2).reshape([n, all])
}

/// The mean over samples and heads of `- sum_y target_y log p_y`; outputs and targets are `[n, heads * classes]`.
pub fn cross_entropy<B: Backend>(outputs: Tensor<B, 2>, targets: Tensor<B, 2>, heads: usize) -> Tensor<B, 1> {
    let n = outputs.dims()[0];
    (log_probabilities(outputs, heads) * targets).sum() / -((n * heads) as f64)
}

impl<B: Trainable> Objective<B> for Sela {
    fn views(&self) -> &'static [View] {
        VIEWS
    }

    fn prepare(
        &mut self,
        encoder: &Encoder<B>,
        source: &dyn Source,
        position: Position,
        device: &B::Device,
    ) -> Result<()> {
        let SelaSpec { heads, classes, .. } = self.spec;
        let Position { seed, .. } = position;
        if self.heads.is_empty() {
            let shares = self.spec.shares();
            let head = |head| Head {
                labels: random_labels(source.len(), &shares, seed, head),
                log_alpha: vec![0.0; classes],
                ..Head::default()
            };
            self.heads = (0..heads).map(head).collect();
        }
        if let Some(head) = self.heads.iter().find(|head| head.labels.len() != source.len()) {
            let expected = format!("labels of {} training samples", source.len());
            return Err(Error::input("checkpoint", "labels of other data", expected, head.labels.len()));
        }
        // What has become due since the last batch is one pass: between two the network would be the same.
        let due = self.spec.due(position);
        if due == self.updates {
            return Ok(());
        }
        let encoder = encoder.valid();
        let mode = match self.spec.label_mode {
            LabelMode::Evaluate => Mode::Evaluate,
            LabelMode::Train => Mode::Probe,
        };
        let pass = due as u64;
        match self.spec.labeller {
            Labeller::Random => {}
            Labeller::Transport => {
                let read = |images| log_probabilities(encoder.forward(images, mode), heads);
                let log_p = read_all::<B>(source, self.spec.label_views, seed, pass, device, read)?;
                for head in self.in_turn(due) {
                    let log_p = log_p.slice(s![.., head * classes..(head + 1) * classes]);
                    self.heads[head] = self.transport(&self.heads[head], log_p);
                }
            }
            Labeller::KMeans => {
                let read = |images| encoder.features(images, mode);
                let features = unit_rows(read_all::<B>(source, self.spec.label_views, seed, pass, device, read)?);
                for head in self.in_turn(due) {
                    let seed = seed.wrapping_add(pass * heads as u64 + head as u64);
                    self.heads[head] = self.cluster(&self.heads[head], &features.view(), seed);
                }
            }
        }
        self.updates = due;
        Ok(())
    }

    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B> {
        let device = batch.images.device();
        let outputs = encoder.forward(batch.images, Mode::Train);
        let [rows, all] = outputs.dims();
        let n = batch.samples.len();
        let targets = Tensor::<B, 2>::from_data(TensorData::new(self.targets(&batch.samples), [n, all]), &device);
        let total = cross_entropy(outputs, targets.repeat_dim(0, rows / n), self.spec.heads);
        let figures = || self.heads.iter().map(|head| head.figures);
        let term = |value: f32| Tensor::from_data([value], &device);
        let terms = vec![
            ("residual", term(figures().map(|figures| figures.residual).fold(0.0, f32::max))),
            ("imbalance", term(figures().map(|figures| figures.imbalance).fold(0.0, f32::max))),
            ("changed", term(figures().map(|figures| figures.changed).sum::<f32>() / self.heads.len() as f32)),
        ];
        Loss { total, terms }
    }

    fn state(&self) -> State {
        let mut state = State::from([("updates".into(), vec![self.updates as f32])]);
        for (number, head) in self.heads.iter().enumerate() {
            let Figures { cost, residual, imbalance, changed } = head.figures;
            let mut keep = |name: &str, values: Vec<f32>| state.insert(format!("{name}.{number}"), values);
            // Classes are far below 2^24: exact.
            keep("labels", head.labels.iter().map(|&label| label as f32).collect());
            keep("soft", head.soft.clone());
            keep("log_alpha", head.log_alpha.clone());
            keep("figures", vec![cost, residual, imbalance, changed]);
        }
        state
    }

    fn restore(&mut self, mut state: State, _device: &B::Device) {
        let mut take = |name: String| state.remove(&name).unwrap_or_default();
        self.updates = take("updates".into()).first().map_or(0, |&updates| updates as usize);
        let head = |number: usize| {
            let figures = match take(format!("figures.{number}"))[..] {
                [cost, residual, imbalance, changed] => Figures { cost, residual, imbalance, changed },
                _ => Figures::default(),
            };
            let labels = take(format!("labels.{number}")).into_iter().map(|label| label as u32).collect();
            Head {
                labels,
                soft: take(format!("soft.{number}")),
                log_alpha: take(format!("log_alpha.{number}")),
                figures,
            }
        };
        let heads: Vec<Head> = (0..self.spec.heads).map(head).collect();
        // Before the first batch there are no labels yet.
        self.heads = if heads.iter().all(|head| head.labels.is_empty()) { Vec::new() } else { heads };
    }

    fn native(&self) -> Native {
        let SelaSpec { heads, classes, .. } = self.spec;
        let head = self.shipped();
        Native {
            clusters: Some(ClusterLogits { rows: head * classes..(head + 1) * classes, offsets: self.offsets(head) }),
            bits: Some(NativeBits::Product {
                heads,
                classes,
                offsets: (0..heads).flat_map(|head| self.offsets(head)).collect(),
            }),
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::module::Param;
    use burn::tensor::ElementConversion;
    use ndarray::Axis;
    use rand::RngExt;

    use super::*;
    use crate::network::NetworkSpec;
    use crate::network::spec::LayerSpec;

    type Tracked = crate::backend::Flex;

    const D: usize = 5;
    const K: usize = 4;

    /// Samples around `2 * K` centres; perturbed views differ by a little noise.
    struct Blobs(usize);

    impl Source for Blobs {
        fn len(&self) -> usize {
            self.0
        }

        fn shape(&self) -> [usize; 3] {
            [1, 1, D]
        }

        fn view(&self, view: View, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
            let draw = |key: u64, stream: u64| -> Vec<f32> {
                let mut rng = ChaCha8Rng::seed_from_u64(key);
                rng.set_stream(stream);
                (0..D).map(|_| rng.random_range(-1.0..1.0)).collect()
            };
            let one = |&sample: &u32| {
                let centre = draw(1, u64::from(sample) % (2 * K as u64));
                let own = draw(2, u64::from(sample));
                let noise = match view {
                    View::Plain => vec![0.0; D],
                    View::First => draw(seed ^ epoch, u64::from(sample)),
                    View::Second => draw(!(seed ^ epoch), u64::from(sample)),
                };
                let values = centre.into_iter().zip(own).zip(noise);
                values.map(|((centre, own), noise)| centre + 0.3 * own + 0.05 * noise).collect::<Vec<f32>>()
            };
            samples.iter().flat_map(one).collect()
        }
    }

    fn small() -> SelaSpec {
        SelaSpec { heads: 3, classes: K, updates: 4, schedule: UpdateSchedule::Linear, ..Default::default() }
    }

    fn encoder(layers: Vec<LayerSpec>, outputs: usize, seed: u64) -> Encoder<Tracked> {
        let spec = NetworkSpec { layers, projector: 0, dims: 2 };
        Encoder::new(spec.plan([1, 1, D], outputs).unwrap(), seed, &Default::default())
    }

    fn hidden() -> Vec<LayerSpec> {
        vec![LayerSpec::Dense { units: 7 }]
    }

    fn at(seen: u64, total: u64) -> Position {
        Position { seed: 1, seen, total, epoch: 0 }
    }

    fn prepare(sela: &mut Sela, encoder: &Encoder<Tracked>, source: &Blobs, position: Position) {
        sela.prepare(encoder, source, position, &Default::default()).unwrap();
    }

    /// After its first update.
    fn updated(spec: SelaSpec, encoder: &Encoder<Tracked>, source: &Blobs) -> Sela {
        spec.check().unwrap();
        let mut sela = Sela::new(spec);
        prepare(&mut sela, encoder, source, at(0, 1));
        sela
    }

    fn images(source: &Blobs, views: &[View]) -> Tensor<Tracked, 4> {
        let samples: Vec<u32> = (0..source.0 as u32).collect();
        let values: Vec<f32> = views.iter().flat_map(|&view| source.view(view, 3, 0, &samples)).collect();
        Tensor::from_data(TensorData::new(values, [views.len() * source.0, 1, 1, D]), &Default::default())
    }

    /// The loss of all samples.
    fn loss(sela: &mut Sela, encoder: &Encoder<Tracked>, source: &Blobs, views: &[View]) -> Loss<Tracked> {
        let samples = (0..source.0 as u32).collect();
        sela.loss(encoder, Batch { images: images(source, views), samples, position: at(0, 1) })
    }

    fn value<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
        tensor.into_scalar().elem()
    }

    fn values<B: Backend, const R: usize>(tensor: Tensor<B, R>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    /// The loss of the module's text, in plain loops, over rows of `heads * K`.
    fn naive(outputs: &[f64], targets: &[f64], heads: usize) -> f64 {
        let mut loss = 0.0;
        for (logits, targets) in outputs.chunks_exact(K).zip(targets.chunks_exact(K)) {
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            loss -= logits.iter().zip(targets).map(|(logit, target)| target * (logit.exp() / sum).ln()).sum::<f64>();
        }
        loss / (outputs.len() / (heads * K)) as f64 / heads as f64
    }

    #[test]
    fn the_loss_and_its_gradient_are_those_of_the_formula_with_soft_labels() {
        const HEADS: usize = 2;
        const N: usize = 6;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let outputs: Vec<f64> = (0..N * HEADS * K).map(|_| rng.random_range(-2.0..2.0)).collect();
        let mut targets: Vec<f64> = (0..N * HEADS * K).map(|_| rng.random_range(0.0..1.0)).collect();
        for row in targets.chunks_exact_mut(K) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|target| *target /= sum);
        }
        let tensor = |values: &[f64]| -> Tensor<Tracked, 2> {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::from_data(TensorData::new(values, [N, HEADS * K]), &Default::default())
        };
        let tracked = tensor(&outputs).require_grad();
        let loss = cross_entropy(tracked.clone(), tensor(&targets), HEADS);
        let gradients = loss.backward();
        assert!((value(loss) - naive(&outputs, &targets, HEADS)).abs() < 1e-5);
        for (i, slope) in values(tracked.grad(&gradients).unwrap()).into_iter().enumerate() {
            let at = |step: f64| {
                let mut moved = outputs.clone();
                moved[i] += step;
                naive(&moved, &targets, HEADS)
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((f64::from(slope) - difference).abs() < 1e-6, "{i}: {slope} and {difference}");
        }
    }

    #[test]
    fn every_view_is_taught_its_samples_labels() {
        let (source, encoder) = (Blobs(40), encoder(hidden(), 3 * K, 1));
        for labels in [Labels::Hard, Labels::Soft] {
            let mut sela = updated(SelaSpec { labels, ..small() }, &encoder, &source);
            let found = value(loss(&mut sela, &encoder, &source, &[View::First, View::Second]).total);
            let outputs = encoder.forward(images(&source, &[View::First, View::Second]), Mode::Probe);
            let outputs: Vec<f64> = values(outputs).into_iter().map(f64::from).collect();
            let mut targets = Vec::new();
            for (sample, head) in (0..2 * 40 * 3).map(|i| (i / 3 % 40, i % 3)) {
                let head = &sela.heads[head];
                targets.extend((0..K).map(|class| match labels {
                    Labels::Hard => f64::from(u8::from(head.labels[sample] as usize == class)),
                    Labels::Soft => f64::from(head.soft[sample * K + class]),
                }));
            }
            let expected = naive(&outputs, &targets, 3);
            assert!((found - expected).abs() < 1e-5, "{labels:?}: {found}, naively {expected}");
        }
    }

    #[test]
    fn updates_are_due_by_the_samples_seen() {
        let due = |spec: &SelaSpec, seen| spec.due(at(seen, 1600));
        let linear = small();
        assert_eq!([0, 399, 400, 800, 1599, 1600].map(|seen| due(&linear, seen)), [1, 1, 2, 3, 4, 4]);
        let quadratic = SelaSpec { schedule: UpdateSchedule::Quadratic, ..small() };
        assert_eq!([0, 99, 100, 400, 899, 900, 1600].map(|seen| due(&quadratic, seen)), [1, 1, 2, 3, 3, 4, 4]);
        let random = SelaSpec { labeller: Labeller::Random, ..small() };
        assert_eq!(due(&random, 1600), 0);
    }

    #[test]
    fn an_update_is_of_all_heads_or_of_the_one_whose_turn_it_is() {
        let source = Blobs(40);
        let mut all = Sela::new(small());
        let mut rotating = Sela::new(SelaSpec { rotate: true, ..small() });
        let turns = [(0, vec![0]), (100, vec![1]), (150, vec![]), (200, vec![2]), (399, vec![0])];
        for (step, (seen, turn)) in turns.into_iter().enumerate() {
            let encoder = encoder(hidden(), 3 * K, step as u64);
            for (sela, expected) in [(&mut rotating, turn.clone()), (&mut all, vec![0, 1, 2])] {
                let before = sela.heads.clone();
                prepare(sela, &encoder, &source, at(seen, 400));
                let figures = |head: usize| before.get(head).map_or(Figures::default(), |head| head.figures);
                let moved: Vec<usize> = (0..3).filter(|&head| sela.heads[head].figures != figures(head)).collect();
                let expected = if turn.is_empty() { Vec::new() } else { expected };
                assert_eq!(moved, expected, "after {seen} samples");
            }
        }
        // What piles up between two batches is made up for at once.
        let mut late = Sela::new(SelaSpec { rotate: true, ..small() });
        prepare(&mut late, &encoder(hidden(), 3 * K, 0), &source, at(100, 400));
        assert_eq!(late.updates, 2);
        assert!(late.heads[1].figures.cost > 0.0 && late.heads[2].figures.cost == 0.0);
    }

    #[test]
    fn copies_of_a_head_learn_what_the_one_head_learns() {
        let source = Blobs(60);
        let one = encoder(hidden(), K, 1);
        let mut three = encoder(hidden(), 3 * K, 1);
        three.parameters.affines[0] = one.parameters.affines[0].clone();
        let copies = one.parameters.affines[1].weight.val().inner().repeat_dim(1, 3);
        three.parameters.affines[1].weight = Param::from_tensor(Tensor::from_inner(copies));
        for labels in [Labels::Hard, Labels::Soft] {
            let mut single = updated(SelaSpec { heads: 1, labels, ..small() }, &one, &source);
            let mut triple = updated(SelaSpec { labels, ..small() }, &three, &source);
            assert!(triple.heads.iter().all(|head| head.labels == single.heads[0].labels));
            let [a, b] = [(&mut single, &one), (&mut triple, &three)].map(|(sela, encoder)| {
                let total = loss(sela, encoder, &source, VIEWS).total;
                let gradients = total.backward();
                let trunk = encoder.parameters.affines[0].weight.val().grad(&gradients).unwrap();
                (value(total), values(trunk))
            });
            assert!((a.0 - b.0).abs() < 1e-5, "{} and {}", a.0, b.0);
            assert!(a.1.iter().any(|slope| slope.abs() > 1e-3));
            assert!(a.1.iter().zip(&b.1).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn taken_up_in_the_middle_it_gives_the_same_labels() {
        let source = Blobs(50);
        for labeller in [Labeller::Transport, Labeller::KMeans, Labeller::Random] {
            let labels = if labeller == Labeller::Transport { Labels::Soft } else { Labels::Hard };
            let spec = SelaSpec { labeller, labels, rotate: true, updates: 6, ..small() };
            let mut straight = Sela::new(spec.clone());
            let mut broken = Sela::new(spec.clone());
            for step in 0..8 {
                // Another network at each step, as if it had learned.
                let encoder = encoder(hidden(), 3 * K, step);
                for sela in [&mut straight, &mut broken] {
                    prepare(sela, &encoder, &source, at(50 * step, 400));
                }
                let state = Objective::<Tracked>::state(&broken);
                broken = Sela::new(spec.clone());
                Objective::<Tracked>::restore(&mut broken, state, &Default::default());
                assert_eq!(straight.heads, broken.heads, "{labeller:?}, step {step}");
                assert_eq!(straight.updates, broken.updates, "{labeller:?}, step {step}");
            }
        }
    }

    #[test]
    fn labels_of_other_data_are_refused() {
        let encoder = encoder(hidden(), 3 * K, 1);
        let mut sela = updated(small(), &encoder, &Blobs(40));
        let error = sela.prepare(&encoder, &Blobs(41), at(0, 1), &Default::default()).unwrap_err().to_string();
        assert_eq!(error, "checkpoint: labels of other data: expected labels of 41 training samples, found 40");
    }

    /// `<Q, -log P> + KL(Q || r c^T) / lambda` falls with each exact label step, and with each step of the network that
    /// lowers the cross-entropy.
    #[test]
    fn the_energy_never_rises() {
        const ROUNDS: u64 = 12;
        const LAMBDA: f64 = 5.0;
        let (source, mut encoder) = (Blobs(48), encoder(Vec::new(), K, 1));
        let spec = SelaSpec {
            heads: 1,
            lambda: LAMBDA,
            updates: ROUNDS as usize,
            labels: Labels::Soft,
            label_views: 0,
            tolerance: 1e-10,
            iterations: 100_000,
            ..small()
        };
        let mut sela = Sela::new(spec);
        let mut energies = Vec::new();
        for round in 0..ROUNDS {
            prepare(&mut sela, &encoder, &source, at(round, ROUNDS));
            let divergence = |&q: &f32| f64::from(q) * (f64::from(q.max(f32::MIN_POSITIVE)) * K as f64).ln();
            let divergence = sela.heads[0].soft.iter().map(divergence).sum::<f64>() / 48.0;
            let total = loss(&mut sela, &encoder, &source, &[View::Plain]).total;
            let cost = value(total.clone());
            assert!((cost - f64::from(sela.heads[0].figures.cost)).abs() < 1e-5, "the labels' cost is the loss");
            energies.push(cost + divergence / LAMBDA);

            let gradients = total.backward();
            let weight = encoder.parameters.affines[0].weight.val();
            let moved = weight.clone().inner() - weight.grad(&gradients).unwrap() * 0.2;
            encoder.parameters.affines[0].weight = Param::from_tensor(Tensor::from_inner(moved));
            let after = value(loss(&mut sela, &encoder, &source, &[View::Plain]).total);
            assert!(after <= cost, "the step of the network is too long for this test");
            energies.push(after + divergence / LAMBDA);
        }
        assert!(energies.is_sorted_by(|a, b| *b <= a + 1e-6), "{energies:?}");
        assert!(energies[0] - energies[energies.len() - 1] > 0.05, "{energies:?}");
    }

    #[test]
    fn the_decision_rule_gives_the_labels_back() {
        let (source, encoder) = (Blobs(60), encoder(hidden(), 3 * K, 1));
        let marginals = Some(vec![0.4, 0.3, 0.2, 0.1]);
        let sela = updated(SelaSpec { label_views: 0, marginals, ..small() }, &encoder, &source);
        let Native { clusters: Some(clusters), bits: Some(bits) } = Objective::<Tracked>::native(&sela) else {
            panic!("clusters and bits")
        };
        let outputs = values(encoder.forward(images(&source, &[View::Plain]), Mode::Evaluate));
        let outputs = Array2::from_shape_vec((60, 3 * K), outputs).unwrap();
        let largest = |rows: std::ops::Range<usize>, offsets: &[f32]| -> Vec<u32> {
            let rule = |row: ndarray::ArrayView1<f32>| {
                (0..K as u32).max_by(|&a, &b| {
                    let score = |class: u32| row[rows.start + class as usize] + offsets[class as usize];
                    score(a).total_cmp(&score(b))
                })
            };
            outputs.axis_iter(Axis(0)).map(|row| rule(row).unwrap()).collect()
        };
        let cheapest = (0..3).min_by(|&a, &b| sela.heads[a].figures.cost.total_cmp(&sela.heads[b].figures.cost));
        assert_eq!(clusters.rows, cheapest.unwrap() * K..(cheapest.unwrap() + 1) * K);
        assert_eq!(largest(clusters.rows.clone(), &clusters.offsets), sela.heads[cheapest.unwrap()].labels);
        let NativeBits::Product { heads: 3, classes: K, offsets } = bits else { panic!("{bits:?}") };
        for (head, offsets) in offsets.chunks_exact(K).enumerate() {
            assert_eq!(largest(head * K..(head + 1) * K, offsets), sela.heads[head].labels, "head {head}");
        }
        assert!(sela.heads.iter().all(|head| head.figures.residual <= 0.01));

        let chosen = Sela { spec: SelaSpec { ship_head: Some(2), ..sela.spec.clone() }, ..sela };
        assert_eq!(Objective::<Tracked>::native(&chosen).clusters.unwrap().rows, 2 * K..3 * K);
    }

    #[test]
    fn labels_come_from_the_mean_over_the_views_in_either_mode() {
        let (source, encoder) = (Blobs(20), encoder(hidden(), 3 * K, 1));
        for mode in [Mode::Evaluate, Mode::Probe] {
            let valid = encoder.valid();
            let read = |images| log_probabilities(valid.forward(images, mode), 3);
            let found = read_all::<Tracked>(&source, 3, 9, 2, &Default::default(), read).unwrap();
            let samples: Vec<u32> = (0..20).collect();
            let mut expected = vec![0.0; 20 * 3 * K];
            for (view, epoch) in [(View::First, 2000), (View::Second, 2001), (View::First, 2002)] {
                let data = TensorData::new(source.view(view, 9, u64::MAX - epoch, &samples), [20, 1, 1, D]);
                let log_p = log_probabilities(valid.forward(Tensor::from_data(data, &Default::default()), mode), 3);
                expected.iter_mut().zip(values(log_p)).for_each(|(sum, log_p)| *sum += log_p / 3.0);
            }
            let errors = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            assert!(errors.fold(0.0, f32::max) < 1e-5, "{mode:?}");
        }
    }

    #[test]
    fn giving_labels_leaves_the_network_alone() {
        let (source, encoder) = (Blobs(30), encoder(hidden(), 3 * K, 1));
        let outputs = || values(encoder.forward(images(&source, &[View::Plain]), Mode::Evaluate));
        let before = outputs();
        updated(SelaSpec { label_mode: LabelMode::Train, ..small() }, &encoder, &source);
        assert_eq!(before, outputs());
    }

    #[test]
    fn random_labels_are_balanced_and_stay() {
        let source = Blobs(43);
        let mut sela = Sela::new(SelaSpec { labeller: Labeller::Random, ..small() });
        prepare(&mut sela, &encoder(hidden(), 3 * K, 1), &source, at(0, 400));
        let first = sela.heads.clone();
        prepare(&mut sela, &encoder(hidden(), 3 * K, 2), &source, at(399, 400));
        assert_eq!(first, sela.heads);
        assert!(first.iter().all(|head| sizes(&head.labels, K).iter().all(|size| [10, 11].contains(size))));
        assert!(first[0].labels != first[1].labels);
        assert_eq!(sizes(&random_labels(20, &[0.5, 0.3, 0.15, 0.05], 1, 0), K), [10, 6, 3, 1]);
    }

    #[test]
    fn k_means_labels_are_clusters_of_the_unit_features_and_all_weigh_the_same() {
        let (source, encoder) = (Blobs(64), encoder(hidden(), 3 * K, 1));
        let spec = SelaSpec { labeller: Labeller::KMeans, label_views: 0, ..small() };
        let sela = updated(spec, &encoder, &source);
        let features = values(encoder.features(images(&source, &[View::Plain]), Mode::Evaluate));
        let features = Array2::from_shape_fn((64, 7), |(i, j)| {
            let row = &features[i * 7..(i + 1) * 7];
            row[j] / row.iter().map(|value| value * value).sum::<f32>().sqrt()
        });
        let samples: Vec<u32> = (0..64).collect();
        let targets = Array2::from_shape_vec((64, 3 * K), sela.targets(&samples)).unwrap();
        for (head, taught) in sela.heads.iter().enumerate() {
            let sizes = sizes(&taught.labels, K);
            assert!(sizes.iter().all(|&size| size > 0) && sizes.iter().min() < sizes.iter().max(), "{sizes:?}");
            // Where k-means ends, every sample is with the nearest mean.
            let mean = |class: usize| {
                let members: Vec<usize> = (0..64).filter(|&i| taught.labels[i] as usize == class).collect();
                features.select(Axis(0), &members).mean_axis(Axis(0)).unwrap()
            };
            let distance = |i: usize, class: usize| (&features.row(i) - &mean(class)).mapv(|d| d * d).sum();
            for i in 0..64 {
                let own = distance(i, taught.labels[i] as usize);
                assert!((0..K).all(|class| own <= distance(i, class) + 1e-6), "head {head}, sample {i}");
            }
            for class in 0..K {
                let weight = targets.column(head * K + class).sum();
                assert!((weight - 64.0 / K as f32).abs() < 1e-3, "head {head}, class {class}: {weight}");
            }
        }
    }

    #[test]
    fn clusters_keep_the_numbers_of_those_that_they_share_most_samples_with() {
        let old = [0, 0, 0, 1, 1, 1, 2, 2, 2];
        assert_eq!(renumbered(&[1, 1, 1, 0, 0, 0, 2, 2, 2], &old, 3), old);
        assert_eq!(renumbered(&[2, 2, 1, 1, 1, 0, 0, 0, 2], &old, 3), [0, 0, 1, 1, 1, 2, 2, 2, 0]);
        // A class that has gone leaves its number to none.
        assert_eq!(renumbered(&[0, 0, 0, 0, 0, 1, 1, 1, 1], &old, 3), [0, 0, 0, 0, 0, 2, 2, 2, 2]);
    }

    #[test]
    fn constant_outputs_keep_the_random_labels() {
        let source = Blobs(40);
        let constant = encoder(hidden(), 3 * K, 1).with_output_gain(0.0);
        let sela = updated(small(), &constant, &source);
        for (number, head) in sela.heads.iter().enumerate() {
            assert_eq!(head.labels, random_labels(40, &[0.25; K], 1, number));
        }
    }

    #[test]
    fn outputs_that_are_not_finite_are_named() {
        let source = Blobs(40);
        let broken = encoder(hidden(), 3 * K, 1).with_output_gain(f64::INFINITY);
        let error = Sela::new(small()).prepare(&broken, &source, at(0, 1), &Default::default()).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }

    #[test]
    fn impossible_settings_name_their_key() {
        let wrong = |text: &str| toml::from_str::<SelaSpec>(text).unwrap().check().unwrap_err().to_string();
        for (key, text) in [
            ("heads", "heads = 0"),
            ("classes", "classes = 1"),
            ("classes", "classes = 40000\nheads = 2"),
            ("lambda", "lambda = 0"),
            ("lambda", "lambda = nan"),
            ("updates", "updates = 0"),
            ("tolerance", "tolerance = -1"),
            ("iterations", "iterations = 0"),
            ("label_views", "label_views = 100000"),
            ("ship_head", "heads = 3\nship_head = 3"),
            ("marginals", "classes = 3\nmarginals = [0.5, 0.5]"),
            ("marginals", "classes = 2\nmarginals = [0.5, 0.4]"),
            ("marginals", "classes = 2\nmarginals = [1.5, -0.5]"),
            ("marginals", "classes = 2\nmarginals = [nan, 0.5]"),
            ("marginals", "classes = 2\nmarginals = [0.5, 0.5]\nlabeller = \"k-means\""),
            ("labels", "labels = \"soft\"\nlabeller = \"random\""),
        ] {
            assert!(
                wrong(text).starts_with(&format!("objective.{key}: impossible value: expected")),
                "{}",
                wrong(text)
            );
        }
        assert!(SelaSpec::default().check().is_ok());
        assert!(toml::from_str::<SelaSpec>("class = 3").is_err());
    }

    #[test]
    fn what_the_samples_cannot_fill_names_its_key() {
        let spec = SelaSpec { classes: 10, ..small() };
        assert!(spec.fits(10).is_ok());
        let error = spec.fits(9).unwrap_err().to_string();
        assert!(error.starts_with("objective.classes: too many classes") && error.ends_with("found 10"), "{error}");
        let spec = SelaSpec { classes: 2, marginals: Some(vec![0.99, 0.01]), ..small() };
        assert!(spec.fits(100).is_ok());
        assert!(spec.fits(99).unwrap_err().to_string().starts_with("objective.marginals: too small a share"));
        let spec = SelaSpec { labels: Labels::Soft, heads: 10, classes: 1000, ..small() };
        assert!(spec.fits(20_000).is_ok());
        assert!(spec.fits(50_000).unwrap_err().to_string().starts_with("objective.labels: soft labels"));
    }
}
