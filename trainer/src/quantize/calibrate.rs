//! Which part of the real line each int8 grid covers, found on training samples.

use burn::tensor::{Tensor, TensorData};
use ndarray::ArrayView2;

use crate::network::kernels::Kernels;
use crate::network::spec::Operation;
use crate::network::{Encoder, Mode, floats};

/// Outputs of every step but the last on calibration samples, and the clipping chosen from them.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// For each step but the last: the largest value that its grid covers, above zero.
    pub tops: Vec<f32>,
    /// Largest magnitude that the embedding's grid covers, above zero.
    pub embedding: f32,
    /// For each step but the last: its float outputs, sample by sample.
    pub activations: Vec<Vec<f32>>,
}

/// Fractions of the largest value that are tried as clipping.
const FRACTIONS: [f32; 14] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35];

/// Values looked at in a search for a clipping.
const SAMPLED: usize = 1 << 18;

impl Calibration {
    /// Runs `pixels` (whole images in network units) through the encoder's body. `embeddings` are the ordered features of
    /// training samples.
    pub fn new<B: Kernels>(
        body: &Encoder<B>,
        pixels: &[f32],
        embeddings: &ArrayView2<f32>,
        device: &B::Device,
    ) -> Self {
        let [height, width, channels] = body.plan.input;
        let samples = pixels.len() / body.plan.input_len();
        let images = TensorData::new(pixels.to_vec(), [samples, height, width, channels]);
        let mut activations = Vec::new();
        body.run(Tensor::from_data(images, device), Mode::Evaluate, |output| activations.push(floats(output.clone())));
        if body.plan.steps.last().is_some_and(|step| step.operation == Operation::Linear) {
            activations.pop();
        }
        let tops = activations.iter().map(|values| clipping(values, 255.0)).collect();
        let magnitudes: Vec<f32> = embeddings.iter().map(|value| value.abs()).collect();
        Self { tops, embedding: clipping(&magnitudes, 127.0), activations }
    }
}

/// The top of a grid of `steps` steps from zero up that represents `values` with the least squared error.
pub(super) fn clipping(values: &[f32], steps: f32) -> f32 {
    let largest = values.iter().copied().fold(0.0, f32::max);
    if largest <= f32::MIN_POSITIVE {
        // Nothing ever fires: any grid will do.
        return 1.0;
    }
    let stride = values.len().div_ceil(SAMPLED).max(1);
    let error = |top: f32| -> f64 {
        let step = top / steps;
        values
            .iter()
            .step_by(stride)
            .map(|&value| f64::from(value - (value / step).round().min(steps) * step).powi(2))
            .sum()
    };
    let best = FRACTIONS.into_iter().map(|fraction| fraction * largest).min_by(|a, b| error(*a).total_cmp(&error(*b)));
    best.unwrap_or(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_outlier_is_clipped_and_an_even_spread_is_not() {
        let even: Vec<f32> = (0..10_000).map(|i| i as f32 / 10_000.0).collect();
        assert!(clipping(&even, 255.0) > 0.99);
        // Over 15 steps the rounding of many small values outweighs one clipped large one.
        let mut outlier: Vec<f32> = (0..100_000).map(|i| (i % 100) as f32 / 100.0).collect();
        outlier.push(2.0);
        assert!(clipping(&outlier, 15.0) < 1.5);
        assert_eq!(clipping(&[0.0; 4], 255.0), 1.0);
    }
}
