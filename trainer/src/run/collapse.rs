//! Collapse noticed while a run trains: outputs that have become constant, one cluster that swallows all, bits that never
//! change or repeat one another.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use ndarray::{Array1, Array2, Axis, s};

use crate::augment::View;
use crate::data::spread;
use crate::evaluate::{ClusterCollapse, CodeCollapse, Codes, FeatureCollapse};
use crate::network::{Mode, Trainable, floats};
use crate::objective::NativeBits;
use crate::quantize::native::largest;
use crate::train::Trainee;
use crate::train::source::{Source, views_of};

/// Training samples that are looked at.
const SAMPLES: usize = 1024;
/// An output whose squared mean is more than this part of its mean square counts as constant.
const CONSTANT_SHARE: f32 = 0.99;
/// Looks in a whole training.
const LOOKS: usize = 10;
/// Where views are looked at, always the same ones, their seed and an epoch that no training reaches.
const DRAWN: (u64, u64) = (0, 1 << 32);

/// Looks at a network's outputs ten times in a training.
pub struct CollapseWatch<'a> {
    source: &'a dyn Source,
    /// Which of its samples are looked at.
    samples: Vec<u32>,
    every: usize,
    /// Whether the last look found something: it is said once, when it begins.
    found: bool,
}

impl<'a> CollapseWatch<'a> {
    /// For a training of so many epochs on a source's samples.
    pub fn new(source: &'a dyn Source, epochs: usize) -> Self {
        let samples = spread(source.len(), SAMPLES).map(|sample| sample as u32).collect();
        Self { source, samples, every: epochs.div_ceil(LOOKS), found: false }
    }

    fn images<B: Backend>(&self, views: &[View], device: &B::Device) -> Tensor<B, 4> {
        let [height, width, channels] = self.source.shape();
        let (seed, epoch) = DRAWN;
        let pixels = views_of(self.source, views, seed, epoch, &self.samples);
        Tensor::from_data(TensorData::new(pixels, [views.len() * self.samples.len(), height, width, channels]), device)
    }

    /// What is wrong after an epoch, and what may help; empty where all is well, where it was said before, and between
    /// looks.
    pub fn look<B: Trainable>(&mut self, trainee: &Trainee<B>, device: &B::Device) -> Vec<String> {
        if !trainee.epochs.is_multiple_of(self.every) {
            return Vec::new();
        }
        let plain = self.images(&[View::Plain], device);
        let outputs = trainee.encoder.valid().forward(plain, Mode::Evaluate);
        let shape = (self.samples.len(), outputs.dims()[1]);
        let outputs = Array2::from_shape_vec(shape, floats(outputs)).expect("one row for each image");

        let native = trainee.objective.native();
        let mut warnings = Vec::new();
        if let Some(logits) = &native.clusters {
            let offsets = Array1::from_vec(logits.offsets.clone());
            let logits = &outputs.slice(s![.., logits.rows.clone()]) + &offsets;
            let ids: Vec<u32> = logits.axis_iter(Axis(0)).map(|row| largest(row.iter().copied()).into()).collect();
            warnings.extend(ClusterCollapse::of(&ids, logits.ncols()).warnings());
        }
        if native.bits == Some(NativeBits::Signs) {
            warnings.extend(CodeCollapse::of(&Codes::from_signs(&outputs.view())).warnings());
        }
        let views = self.images(&trainee.objective.rule_views(), device);
        if let Some(found) = trainee.objective.assign(&trainee.encoder.frozen(), views, None) {
            let clusters = trainee.objective.experts(&trainee.encoder).map_or(1, |experts| experts.count);
            warnings.extend(ClusterCollapse::of(&found.clusters, clusters).warnings());
        } else if native.clusters.is_none() && native.bits.is_none() {
            warnings.extend(features(outputs));
        }
        let before = std::mem::replace(&mut self.found, !warnings.is_empty());
        if before { Vec::new() } else { warnings }
    }
}

/// Signs of collapse in outputs `[n, k]` of any scale, the constant function aside, which some objectives learn.
fn features(mut outputs: Array2<f32>) -> Vec<String> {
    let varying: Vec<usize> = (0..outputs.ncols())
        .filter(|&j| {
            let mut column = outputs.column_mut(j);
            let mean = column.mean().unwrap_or(0.0);
            let rms = (column.iter().map(|x| x * x).sum::<f32>() / column.len() as f32).sqrt();
            let varies = mean * mean < CONSTANT_SHARE * rms * rms;
            column.mapv_inplace(|x| if varies { x / rms } else { x });
            varies
        })
        .collect();
    match varying[..] {
        [] => vec!["every output is constant: weaken the augmentation, or lower the learning rate".into()],
        _ => FeatureCollapse::of(&outputs.select(Axis(1), &varying).view()).warnings(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_and_a_constant_are_no_collapse_and_copies_are() {
        let wave = |i: usize, j: usize| ((i * (j + 1)) as f32 * 0.37).sin();
        let healthy =
            Array2::from_shape_fn((200, 4), |(i, j)| if j == 0 { 5.0 } else { 10f32.powi(j as i32) * wave(i, j) });
        assert_eq!(features(healthy), Vec::<String>::new());
        let copies = Array2::from_shape_fn((200, 8), |(i, _)| wave(i, 0));
        assert!(!features(copies).is_empty());
        assert!(features(Array2::from_elem((200, 4), 2.0))[0].starts_with("every output is constant"));
        assert!(features(Array2::zeros((200, 4)))[0].starts_with("every output is constant"));
    }
}
