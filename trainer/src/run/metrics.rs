//! `metrics.json`: every figure of a run, with the protocol that it was measured by.

use serde::{Deserialize, Serialize};

use crate::data::Learn;
use crate::evaluate::{Baselines, Contingency, FeatureReport};
use crate::quantize::{Agreement, LayerError};

/// The file's format; a reader may rely on the keys of this version.
pub const SCHEMA: &str = "eigenlet.metrics.v1";

/// Everything measured of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// [`SCHEMA`].
    pub schema: String,
    /// The objective's name.
    pub objective: String,
    /// The data set's name.
    pub dataset: String,
    /// SHA-256 of the data set, in hexadecimal.
    pub dataset_sha256: String,
    /// What was learned from; where it is all, the test split was seen in training, and figures on it are transductive.
    #[serde(default)]
    pub learn: Learn,
    /// The run's seed.
    pub seed: u64,
    /// The backend that trained.
    pub backend: String,
    /// Passes over the training data.
    pub epochs: usize,
    /// Seconds of training.
    pub wall_s: f64,
    /// Training samples a second, each with all its views.
    pub samples_per_s: f64,
    /// Share of the training time in which the network waited for views.
    pub waiting: f64,
    /// How the figures were measured.
    pub protocol: String,
    /// The float network, ordered.
    pub float: FeatureReport,
    /// The blob, run by the runtime.
    pub int8: FeatureReport,
    /// What the embedding is compared with.
    pub baselines: Baselines,
    /// How well the clusters that the model gives match the labels; `None` without labels or clusters.
    pub assignments: Option<Assignments>,
    /// Representations that clusters have of their own; `None` where they have none, or the blob does not hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<ExpertReport>,
    /// Agreement of int8 with float on the test split.
    pub agreement: Agreement,
    /// The error of each int8 layer on calibration samples.
    pub layers: Vec<LayerError>,
    /// How the outputs were ordered.
    pub ordering: OrderingReport,
    /// What the blob costs.
    pub blob: BlobCost,
    /// Signs of collapse, and what may help; empty where all is well.
    pub warnings: Vec<String>,
}

/// How well clusters match the labels that nothing learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignments {
    /// `prototypes`, `native` or `experts`.
    pub by: String,
    /// Clusters that the model can give.
    pub clusters: usize,
    /// The float network's, on the test split.
    pub float: ClusterMatch,
    /// The blob's, on the test split.
    pub int8: ClusterMatch,
    /// The blob's, on both splits together: the transductive figure, where training saw both.
    pub all: ClusterMatch,
}

/// Clusters that have representations of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpertReport {
    /// Dimensions of each representation.
    pub dims: usize,
    /// What the chip chooses by: `residual` or `linear`.
    pub gate: String,
    /// Share of the test samples that the gate, in float, gives the objective's own cluster.
    pub agreement: f64,
    /// Mean loss of the test split as it comes in training (noise where there is noise, chance where there is chance), each
    /// sample under its own cluster: for autoencoders the mean squared error and the penalty (denoising ones choose the cluster
    /// from the noisy sample and are compared with the clean one), for variational ones the negative evidence lower bound in
    /// nats a value (where `beta` is 1), given the cluster: to say which costs up to `ln(clusters)` nats a sample more.
    pub loss: f64,
    /// The objective's own clusters on the test split, where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<ClusterMatch>,
    /// How well samples of classes that were not learned from are told from the others, where the recipe names such classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outliers: Option<Outliers>,
}

/// Areas under the curve (AUROC) of scores that should be larger for outliers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outliers {
    /// The classes.
    pub classes: Vec<u16>,
    /// By the objective's own least loss.
    pub own: f64,
    /// By the blob's least residual; `None` where its clusters are no planes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<f64>,
    /// A baseline: by the distance to the nearest of at most 2000 training samples.
    pub nearest: f64,
}

/// Clusters against labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterMatch {
    /// Accuracy under the best one-to-one matching (Hungarian).
    pub acc: f64,
    /// Mutual information over the mean entropy.
    pub nmi: f64,
    /// Adjusted Rand index.
    pub ari: f64,
}

impl ClusterMatch {
    /// Of clusters and the labels of the same samples.
    pub fn of(clusters: &[u16], labels: &[u16]) -> Self {
        let clusters: Vec<u32> = clusters.iter().map(|&id| id.into()).collect();
        let table = Contingency::new(&clusters, labels);
        Self { acc: table.accuracy(), nmi: table.nmi(), ari: table.ari() }
    }
}

/// How the outputs were ordered, by Rayleigh-Ritz.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderingReport {
    /// Eigenvalue of each ordered function, not rising: the mean product of its values at the two ends of a pair (its mean is 0,
    /// its mean square 1); of a kernel instead of pairs, that of the kernel's operator. The constant is left out.
    pub eigenvalues: Vec<f64>,
    /// The leading eigenvalues of the walk that pairs come from, in the same unit and without the constant's; `None`, where pairs
    /// come from no graph, or from one too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Vec<f64>>,
    /// Directions that the outputs did not span.
    pub dropped: usize,
    /// The raw output that was the constant function, if one was.
    pub constant: Option<usize>,
}

/// What a blob costs on a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobCost {
    /// Flash for the whole blob.
    pub bytes: usize,
    /// Multiply-accumulates of a whole embedding.
    pub macs: u64,
    /// RAM for activations.
    pub arena_bytes: usize,
}
