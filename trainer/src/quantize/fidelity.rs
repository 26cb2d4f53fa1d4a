//! How far a blob is from the float network it was lowered from.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::lower::lower_layers;
use super::{Calibration, FloatModel};
use crate::data::Samples;
use crate::error::Result;
use crate::inference;

/// The error of one layer's int8 outputs against the float network's, both fed from the input on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    /// The layer, counted from 0.
    pub layer: usize,
    /// What it is: `conv2d`, `dense`, …
    pub kind: String,
    /// Root mean square of the error over that of the outputs.
    pub relative_rms: f64,
    /// Signal to quantisation noise in decibels.
    pub sqnr_db: f64,
}

/// Agreement of int8 with float outputs on the same samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Share of hash bits that are equal; `None` for a blob without a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<f64>,
    /// Share of samples in the same cluster; `None` for a blob without clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<f64>,
    /// Mean cosine between int8 and float embeddings.
    pub cosine: f64,
}

/// The error of every layer before the heads, on the samples that `calibration` holds.
///
/// # Errors
/// As for [`lower`](super::lower()).
pub fn layer_errors(
    model: &FloatModel,
    calibration: &Calibration,
    samples: &Samples,
    raw_max: u8,
) -> Result<Vec<LayerError>> {
    let samples = samples.rows();
    (0..model.plan.steps.len() - 1)
        .map(|layer| {
            let (bytes, grid) = lower_layers(model, calibration, raw_max, layer + 1)?;
            let found =
                inference::run(&inference::parse(&bytes)?, &samples, |features| Ok(features.values().to_vec()))?
                    .concat();
            let (mut signal, mut noise) = (0.0, 0.0);
            for (&float, &quantised) in calibration.activations[layer].iter().zip(&found) {
                let steps = i32::from(quantised) - i32::from(grid.zero_point);
                signal += f64::from(float).powi(2);
                noise += (f64::from(float) - f64::from(grid.scale) * f64::from(steps)).powi(2);
            }
            let ratio = if signal > 0.0 { noise / signal } else { 0.0 };
            Ok(LayerError {
                layer,
                kind: model.plan.steps[layer].operation.name().into(),
                relative_rms: ratio.sqrt(),
                sqnr_db: -10.0 * ratio.max(1e-30).log10(),
            })
        })
        .collect()
}

/// Mean cosine between the rows of two matrices of one shape.
pub fn mean_cosine(a: &ArrayView2<f32>, b: &ArrayView2<f32>) -> f64 {
    let cosines = a.outer_iter().zip(b.outer_iter()).map(|(a, b)| {
        let dot = |x: &ndarray::ArrayView1<f32>, y: &ndarray::ArrayView1<f32>| -> f64 {
            x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
        };
        dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt().max(1e-30)
    });
    cosines.sum::<f64>() / a.nrows().max(1) as f64
}
