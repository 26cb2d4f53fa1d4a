//! `metrics.json`: every figure of a run, with the protocol that it was measured by.

use serde::{Deserialize, Serialize};

use crate::evaluate::{Baselines, FeatureReport};
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

/// What Rayleigh-Ritz found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderingReport {
    /// Eigenvalue of each ordered function, not rising.
    pub eigenvalues: Vec<f64>,
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
