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
//! * [`spec`]: what a recipe says; [`family`]: what the driver asks of sub-models;
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
pub mod family;
pub mod imsat;
pub mod members;
pub mod planes;
pub mod self_labelling;
pub mod spec;
pub mod variational;

use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Assigned, Batch, Experts, Loss, Objective, Portraits, Position, State};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Encoder, Mode, Trainable, floats};
use crate::train::source::Source;
pub use family::{Case, Family, Frame, Known, Losses, Pass};
pub use members::{Members, Start};
pub use spec::{Assign, ClusterSpecificSpec, FamilySpec};

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
        let rule = |images| self.losses(&Self::case(&self.spec, members, encoder, images, position)).1;
        let of_target = rule(images.clone());
        if !self.family.hides_target() {
            let (clusters, losses) = of_target.chunks_exact(self.spec.clusters).map(least).unzip();
            return Some(Assigned { clusters, losses });
        }
        let views = self.family.views().len();
        let given = images.clone().narrow(0, 0, images.dims()[0] / views).repeat_dim(0, views);
        let clusters: Vec<u32> = rule(given).chunks_exact(self.spec.clusters).map(|row| least(row).0).collect();
        let losses = of_target.chunks_exact(self.spec.clusters).zip(&clusters).map(|(row, &id)| row[id as usize]);
        Some(Assigned { losses: losses.collect(), clusters })
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
