//! A row: the runs of one recipe with their seeds, or a baseline.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Measured;
use super::figure::{Figure, MapAt};
use crate::data::Learn;
use crate::evaluate::{FeatureReport, HashPoint, TruncationPoint};
use crate::run::metrics::{ClusterMatch, Metrics};

/// One row of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The recipe's or the baseline's name.
    pub name: String,
    /// The objective's name; `None` for a baseline.
    pub objective: Option<String>,
    /// What was learned from: where it is all, the figures are transductive; `None` for a baseline.
    pub learn: Option<Learn>,
    /// The runs, by rising seed; none for a baseline.
    pub runs: Vec<Member>,
    /// What ACC, NMI and ARI judge: `native, C` or `prototypes, C`, the model's own C clusters on the test split, or
    /// `k-means`, as many clusters as classes in the features of both splits; `None` where they are not measured.
    pub clusters_by: Option<String>,
    /// The blob's figures; `None` for a baseline.
    pub int8: Option<Figures>,
    /// The float network's, or the baseline's.
    pub float: Figures,
    /// Flash for the blob, in bytes; `None` for a baseline.
    pub blob_bytes: Option<Figure>,
    /// RAM for activations, in bytes; `None` for a baseline.
    pub arena_bytes: Option<Figure>,
    /// Time of training, in seconds; `None` for a baseline.
    pub train_s: Option<Figure>,
}

/// A run of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its seed.
    pub seed: u64,
    /// Its folder.
    pub folder: String,
    /// The backend that trained it.
    pub backend: String,
    /// Passes over the training data.
    pub epochs: usize,
}

/// The figures of one network: fractions in [0, 1] (`ari` in [-0.5, 1]).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// kNN accuracy with all dimensions.
    pub knn_acc: Figure,
    /// Linear-probe accuracy with all dimensions.
    pub linear_acc: Figure,
    /// Accuracy of clusters.
    pub cluster_acc: Figure,
    /// Normalised mutual information of the same clusters.
    pub nmi: Figure,
    /// Adjusted Rand index of the same clusters.
    pub ari: Figure,
    /// Retrieval mAP with all dimensions.
    pub map: Figure,
    /// Retrieval mAP by dimensions kept, rising.
    pub truncation: Vec<MapAt>,
    /// Retrieval mAP by bits kept, rising.
    pub hash: Vec<MapAt>,
}

impl Row {
    /// Of the runs of one recipe; at least one.
    pub(super) fn of_runs(mut runs: Vec<&Measured>) -> Self {
        runs.sort_by_key(|run| run.entry.recipe.seed);
        let metrics: Vec<&Metrics> = runs.iter().map(|run| &run.metrics).collect();
        let reports = |of: fn(&Metrics) -> &FeatureReport| metrics.iter().map(|metrics| of(metrics)).collect();
        let (mut int8, mut float) = (Figures::of(reports(|run| &run.int8)), Figures::of(reports(|run| &run.float)));
        let mut clusters_by = float.cluster_acc.mean.map(|_| "k-means".to_string());
        let own: Vec<_> = metrics.iter().filter_map(|metrics| metrics.assignments.as_ref()).collect();
        if own.len() == metrics.len() {
            int8.judge(own.iter().map(|own| own.int8).collect());
            float.judge(own.iter().map(|own| own.float).collect());
            clusters_by = own.first().map(|own| format!("{}, {}", own.by, own.clusters));
        }
        let over = |value: fn(&Metrics) -> f64| Some(Figure::over(metrics.iter().map(|metrics| value(metrics))));
        let member = |run: &&Measured| Member {
            seed: run.metrics.seed,
            folder: run.entry.folder.display().to_string(),
            backend: run.metrics.backend.clone(),
            epochs: run.metrics.epochs,
        };
        Self {
            name: runs[0].entry.name.clone(),
            objective: Some(metrics[0].objective.clone()),
            learn: Some(metrics[0].learn),
            runs: runs.iter().map(member).collect(),
            clusters_by,
            int8: Some(int8),
            float,
            blob_bytes: over(|run| run.blob.bytes as f64),
            arena_bytes: over(|run| run.blob.arena_bytes as f64),
            train_s: over(|run| run.wall_s),
        }
    }

    fn of_baseline(name: String, figures: Figures) -> Self {
        Self {
            name,
            objective: None,
            learn: None,
            runs: Vec::new(),
            clusters_by: figures.cluster_acc.mean.map(|_| "k-means".into()),
            int8: None,
            float: figures,
            blob_bytes: None,
            arena_bytes: None,
            train_s: None,
        }
    }
}

/// PCA, PCA with ITQ, and the input itself. They follow from the data alone, so any run's will do; but recipes may ask for
/// more or fewer dimensions and bits, so the widest counts, and every size that any run measured is there.
pub fn baselines(metrics: &[&Metrics]) -> Vec<Row> {
    let all = || metrics.iter().map(|metrics| &metrics.baselines);
    let Some(widest) = all().map(|baselines| &baselines.pca).reduce(|a, b| if b.dims > a.dims { b } else { a }) else {
        return Vec::new();
    };
    let pca = FeatureReport {
        truncation: sizes(all().flat_map(|baselines| &baselines.pca.truncation), |point| point.dims),
        hash: sizes(all().flat_map(|baselines| &baselines.pca.hash), |point| point.bits),
        ..widest.clone()
    };
    let itq: Vec<HashPoint> = sizes(all().flat_map(|baselines| &baselines.itq), |point| point.bits);
    let raw = &metrics[0].baselines.raw_input;
    vec![
        Row::of_baseline(format!("PCA, {} dimensions", pca.dims), Figures::of(vec![&pca])),
        Row::of_baseline("PCA and ITQ".into(), Figures { hash: codes(&[&itq]), ..Figures::default() }),
        Row::of_baseline(format!("raw input, {} dimensions", raw.dims), Figures::of(vec![raw])),
    ]
}

/// The first point of each size, by rising size.
fn sizes<'a, T: Copy + 'a>(points: impl Iterator<Item = &'a T>, size: fn(&T) -> usize) -> Vec<T> {
    let mut known = BTreeMap::new();
    for point in points {
        known.entry(size(point)).or_insert(*point);
    }
    known.into_values().collect()
}

impl Figures {
    /// Of one report for each seed; clusters are those of k-means.
    fn of(reports: Vec<&FeatureReport>) -> Self {
        let over = |value: fn(&FeatureReport) -> Option<f64>| Figure::over(reports.iter().map(|report| value(report)));
        let hash: Vec<&[HashPoint]> = reports.iter().map(|report| &report.hash[..]).collect();
        let truncation: Vec<&[TruncationPoint]> = reports.iter().map(|report| &report.truncation[..]).collect();
        Self {
            knn_acc: over(|report| report.knn_acc),
            linear_acc: over(|report| report.linear_acc),
            cluster_acc: over(|report| report.cluster_acc),
            nmi: over(|report| report.nmi),
            ari: over(|report| report.ari),
            map: over(|report| report.map),
            truncation: curve(&truncation, |point| (point.dims, point.map)),
            hash: codes(&hash),
        }
    }

    /// Puts the model's own clusters, one match for each seed, in the place of k-means'.
    fn judge(&mut self, own: Vec<ClusterMatch>) {
        self.cluster_acc = Figure::over(own.iter().map(|own| own.acc));
        self.nmi = Figure::over(own.iter().map(|own| own.nmi));
        self.ari = Figure::over(own.iter().map(|own| own.ari));
    }
}

fn codes(hash: &[&[HashPoint]]) -> Vec<MapAt> {
    curve(hash, |point| (point.bits, point.map))
}

/// mAP by rising size, over the seeds' points.
fn curve<T>(seeds: &[&[T]], place: fn(&T) -> (usize, f64)) -> Vec<MapAt> {
    let mut sizes: Vec<usize> = seeds.iter().flat_map(|points| points.iter()).map(|point| place(point).0).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let value = |points: &&[T], size| points.iter().map(place).find(|point| point.0 == size).map(|point| point.1);
    let at = |size| MapAt { size, map: Figure::over(seeds.iter().map(|points| value(points, size))) };
    sizes.into_iter().map(at).collect()
}
