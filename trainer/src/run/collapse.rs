//! Collapse noticed while a run trains: outputs that have become constant, one cluster that swallows all, bits that never
//! change or repeat one another.

use burn::tensor::{Tensor, TensorData};
use ndarray::{Array1, Array2, Axis, s};

use crate::data::Samples;
use crate::evaluate::{ClusterCollapse, CodeCollapse, Codes, FeatureCollapse};
use crate::network::{Mode, Trainable, floats};
use crate::objective::NativeBits;
use crate::train::Trainee;

/// Training samples that are looked at.
const SAMPLES: usize = 1024;
/// Looks in a whole training.
const LOOKS: usize = 10;

/// Looks at a network's outputs ten times in a training.
pub struct CollapseWatch {
    /// Images in network units, one after another.
    pixels: Vec<f32>,
    count: usize,
    every: usize,
    /// Whether the last look found something: it is said once, when it begins.
    found: bool,
}

impl CollapseWatch {
    /// For a training of so many epochs on `samples`.
    pub fn new(samples: &Samples, raw_max: u8, epochs: usize) -> Self {
        let some = Samples { shape: samples.shape, raw: samples.spread(SAMPLES).concat() };
        let pixels = some.scaled(0..some.len(), raw_max);
        Self { pixels, count: some.len(), every: epochs.div_ceil(LOOKS), found: false }
    }

    /// What is wrong after an epoch, and what may help; empty where all is well, where it was said before, and between
    /// looks.
    pub fn look<B: Trainable>(&mut self, trainee: &Trainee<B>, device: &B::Device) -> Vec<String> {
        if !trainee.epochs.is_multiple_of(self.every) {
            return Vec::new();
        }
        let [height, width, channels] = trainee.encoder.plan.input;
        let images = TensorData::new(self.pixels.clone(), [self.count, height, width, channels]);
        let outputs = trainee.encoder.valid().forward(Tensor::from_data(images, device), Mode::Evaluate);
        let columns = outputs.dims()[1];
        let outputs = Array2::from_shape_vec((self.count, columns), floats(outputs)).expect("one row for each image");

        let native = trainee.objective.native();
        let mut warnings = Vec::new();
        if let Some(logits) = &native.clusters {
            let offsets = Array1::from_vec(logits.offsets.clone());
            let logits = &outputs.slice(s![.., logits.rows.clone()]) + &offsets;
            let largest = |row: ndarray::ArrayView1<f32>| {
                row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(id, _)| id as u32)
            };
            let ids: Vec<u32> = logits.axis_iter(Axis(0)).map(largest).collect();
            warnings.extend(ClusterCollapse::of(&ids, logits.ncols()).warnings());
        }
        if native.bits == Some(NativeBits::Signs) {
            warnings.extend(CodeCollapse::of(&Codes::from_signs(&outputs.view())).warnings());
        }
        if native.clusters.is_none() && native.bits.is_none() {
            warnings.extend(FeatureCollapse::of(&outputs.view()).warnings());
        }
        let before = std::mem::replace(&mut self.found, !warnings.is_empty());
        if before { Vec::new() } else { warnings }
    }
}
