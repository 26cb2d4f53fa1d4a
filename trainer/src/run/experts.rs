//! Clusters that have representations of their own: what a trained objective says of a data set, and how good that is.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::encoded::{BATCH, ORDERING_EPOCH};
use super::metrics::{ClusterMatch, ExpertReport, Outliers};
use crate::augment::View;
use crate::data::{Dataset, Samples};
use crate::error::Result;
use crate::evaluate::auroc;
use crate::network::Trainable;
use crate::objective::{Assigned, Experts, Portraits, Position};
use crate::quantize::experts::ExpertHeads;
use crate::recipe::Recipe;
use crate::train::Trainee;
use crate::train::source::{Augmented, views_of};

/// Training samples at most that outliers are compared with as a baseline.
const NEIGHBOURS: usize = 2000;
/// Samples that each cluster draws for the report.
const DRAWN: usize = 7;

/// Representations that clusters have of their own, and what the objective itself says of every sample.
pub struct Local {
    /// The representations.
    pub experts: Experts,
    /// Clusters of the training split.
    pub train: Vec<u16>,
    /// Of the test split.
    pub test: OwnRule,
    /// What the clusters look like.
    pub portraits: Portraits,
}

/// What an objective says of the test split, with what a chip cannot compute.
pub struct OwnRule {
    clusters: Vec<u16>,
    /// Of the samples as they are, nothing left to chance but the views that a rule compares.
    losses: Vec<f32>,
    /// Mean loss of samples as they come in training.
    loss: f64,
}

/// What a trained objective says of its clusters' own representations; `None` where it has none.
///
/// # Errors
/// A setting out of its range.
pub fn local<B: Trainable>(
    trainee: &Trainee<B>,
    recipe: &Recipe,
    data: &Dataset,
    device: &B::Device,
) -> Result<Option<Local>> {
    // What no gradient goes back through would be kept for one.
    let encoder = trainee.encoder.frozen();
    let Some(experts) = trainee.objective.experts(&encoder) else { return Ok(None) };
    let own = trainee.objective.rule_views();
    let assign = |samples: &Samples, views: &[View], chance: bool| -> Result<Assigned> {
        let source = Augmented::new(samples, data.raw_max, &recipe.augment)?;
        let [height, width, channels] = samples.shape;
        let all: Vec<u32> = (0..samples.len() as u32).collect();
        let mut assigned = Assigned::default();
        for batch in all.chunks(BATCH) {
            let pixels = views_of(&source, views, recipe.seed, ORDERING_EPOCH, batch);
            let pixels = TensorData::new(pixels, [views.len() * batch.len(), height, width, channels]);
            let seen = u64::from(batch[0]);
            let position = Position { seed: recipe.seed, seen, total: all.len() as u64, epoch: ORDERING_EPOCH };
            let images = Tensor::from_data(pixels, device);
            let some = trainee.objective.assign(&encoder, images, chance.then_some(position));
            let some = some.expect("an objective with experts assigns samples to them");
            assigned.clusters.extend(some.clusters);
            assigned.losses.extend(some.losses);
        }
        Ok(assigned)
    };
    let ids = |clusters: Vec<u32>| clusters.into_iter().map(|id| id as u16).collect();
    let test = &data.test.samples;
    let train = ids(assign(&data.train.samples, &own, false)?.clusters);
    let Assigned { clusters, losses } = assign(test, &own, false)?;
    let drawn = assign(test, trainee.objective.views(), true)?.losses;
    let loss = drawn.iter().map(|&loss| f64::from(loss)).sum::<f64>() / drawn.len() as f64;
    let portraits = trainee.objective.portraits(&encoder, DRAWN, recipe.seed);
    let portraits = portraits.expect("an objective with experts has their centres");
    Ok(Some(Local { experts, train, test: OwnRule { clusters: ids(clusters), losses, loss }, portraits }))
}

impl OwnRule {
    /// How it compares with what a chip computes: the clusters that the heads' gate gives the test split in float, and the
    /// blob's scores (empty where it gives none).
    pub fn report(&self, heads: &ExpertHeads, gate: &[u16], scores: &[u32], data: &Dataset) -> ExpertReport {
        let labels = data.test.labels.as_deref();
        let equal = gate.iter().zip(&self.clusters).filter(|(gate, own)| gate == own).count();
        ExpertReport {
            dims: heads.dims,
            gate: heads.gate.name().into(),
            agreement: equal as f64 / self.clusters.len() as f64,
            loss: self.loss,
            exact: labels.map(|labels| ClusterMatch::of(&self.clusters, labels)),
            outliers: labels.and_then(|labels| {
                let outlier: Vec<bool> = labels.iter().map(|label| data.outliers.contains(label)).collect();
                let scores: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
                Some(Outliers {
                    classes: data.outliers.clone(),
                    own: auroc(&self.losses, &outlier)?,
                    blob: if scores.is_empty() { None } else { auroc(&scores, &outlier) },
                    nearest: auroc(&distances_to_nearest(data), &outlier)?,
                })
            }),
        }
    }
}

/// The squared distance of each test sample to the nearest of some training samples, in raw values.
fn distances_to_nearest(data: &Dataset) -> Vec<f32> {
    let known = data.train.samples.spread(NEIGHBOURS);
    let distance =
        |a: &[u8], b: &[u8]| -> u64 { a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum() };
    let nearest = |sample: &&[u8]| known.iter().map(|other| distance(sample, other)).min().unwrap_or(0) as f32;
    data.test.samples.rows().par_iter().map(nearest).collect()
}
