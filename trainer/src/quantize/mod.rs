//! From a trained network to a blob: batch norm is folded, ranges are calibrated on training data, everything becomes
//! `int8.v1`.
//!
//! * [`float_model`]: the network as plain arrays, batch norm and ordering folded in;
//! * [`calibrate`]: which part of the real line each int8 grid covers;
//! * [`binarize`]: which directions become hash bits;
//! * [`native`]: clusters and codes that the network's own outputs say;
//! * [`lower`]: int8 weights, requantisation constants, heads, golden vectors: the blob;
//! * [`fidelity`]: how far the blob is from the float network, layer by layer and output by output.

pub mod binarize;
pub mod calibrate;
pub mod experts;
pub mod fidelity;
pub mod float_model;
pub mod lower;
pub mod native;

pub use calibrate::Calibration;
pub use fidelity::{Agreement, LayerError, layer_errors, mean_cosine};
pub use float_model::FloatModel;
pub use lower::{ClusterHead, HEAD_SAMPLES, HashHead, Heads, Lowered, Provenance, Quality, lower};

/// What int8 is taken to add to the outputs of a hidden layer, as a part of their root mean square, before heads are made
/// for it. Measured errors of last hidden layers are 0.005 to 0.05.
pub const NOISE: f64 = 0.01;
