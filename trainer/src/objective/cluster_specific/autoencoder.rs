//! Autoencoders: a sub-model's loss for a sample is what it does not reconstruct.
//!
//! ```text
//! z = encode_j(x),  l_ij = |c_j + decode_j(z) - x|^2 / d + penalty |z|^2
//! ```
//!
//! Each sub-model has its own encoder output and its own first step of the decoder; what follows is shared. Without hidden
//! layers both are linear, and each sub-model's best is the plane of its cluster's leading principal components.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

use super::{Case, Family, Losses};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Extra, Trainable};

/// Settings of the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoencoderSpec {
    /// Widths of the decoder's hidden layers, from the code on; the first is each sub-model's own.
    pub decoder: Vec<usize>,
    /// Weight of the codes' squared lengths, 0 or more. With a decoder of its own scale it fixes nothing but that scale.
    pub penalty: f64,
    /// Whether the encoder sees the sample's first view (`[augment.first]`, with noise in it) and must give the sample.
    pub denoise: bool,
}

impl Default for AutoencoderSpec {
    fn default() -> Self {
        Self { decoder: Vec::new(), penalty: 0.0, denoise: false }
    }
}

impl AutoencoderSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A hidden layer without units, a negative penalty.
    pub fn check(&self) -> Result<()> {
        check_decoder(&self.decoder)?;
        if !(self.penalty >= 0.0 && self.penalty.is_finite()) {
            let what = "impossible value";
            return Err(Error::input("objective.family.penalty", what, "0 or a positive number", self.penalty));
        }
        Ok(())
    }
}

/// Checks a decoder's hidden layers.
///
/// # Errors
/// One without units.
pub fn check_decoder(layers: &[usize]) -> Result<()> {
    match layers.contains(&0) {
        true => Err(Error::input("objective.family.decoder", "a layer without units", "at least 1 in each", 0)),
        false => Ok(()),
    }
}

/// What the decoders of `clusters` sub-models learn: for each step weights and biases, of the first step each sub-model's
/// own, one after the other.
pub fn decoder(layers: &[usize], clusters: usize, code: usize, size: usize) -> Vec<Extra> {
    let widths = [layers, &[size]].concat();
    let mut inputs = code;
    let mut extras = Vec::new();
    for (step, &outputs) in widths.iter().enumerate() {
        let own = if step == 0 { clusters } else { 1 };
        // He et al. 2015 before a ReLU.
        let gain = if step + 1 == widths.len() { 1.0 } else { 2.0 };
        extras.push(Extra { shape: [own * inputs, outputs], deviation: (gain / inputs as f64).sqrt() });
        extras.push(Extra { shape: [own, outputs], deviation: 0.0 });
        inputs = outputs;
    }
    extras
}

/// What the decoders make of codes `[rows, clusters, code]`: `[rows, clusters, values]`, from the centres.
pub fn decode<B: Trainable>(case: &Case<B>, codes: Tensor<B, 3>) -> Tensor<B, 3> {
    let [rows, clusters, code] = codes.dims();
    let steps = case.encoder.parameters.beside.chunks_exact(2);
    let last = steps.len() - 1;
    let mut x = codes;
    for (step, pair) in steps.enumerate() {
        let (weight, bias) = (pair[0].val(), pair[1].val());
        let outputs = weight.dims()[1];
        x = if step == 0 {
            let own = weight.reshape([clusters, code, outputs]);
            x.swap_dims(0, 1).matmul(own).swap_dims(0, 1) + bias.unsqueeze_dim::<3>(0)
        } else {
            let inputs = weight.dims()[0];
            let flat = x.reshape([rows * clusters, inputs]).matmul(weight) + bias;
            flat.reshape([rows, clusters, outputs])
        };
        if step < last {
            x = relu(x);
        }
    }
    x
}

impl<B: Trainable> Family<B> for AutoencoderSpec {
    fn views(&self) -> &'static [View] {
        if self.denoise { &[View::First, View::Plain] } else { &[View::Plain] }
    }

    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B> {
        let codes = case.outputs(case.images.clone().narrow(0, 0, n));
        let views = <Self as Family<B>>::views(self).len();
        let from = case.from_centres(case.flat(views - 1, n));
        let clusters = case.clusters();
        let errors = (decode(case, codes.clone()) - from).square().mean_dim(2).reshape([n, clusters]);
        let matrix = match self.penalty > 0.0 {
            true => errors + codes.square().sum_dim(2).reshape([n, clusters]) * self.penalty,
            false => errors,
        };
        Losses::of(matrix)
    }

    fn finds_planes(&self) -> bool {
        self.decoder.is_empty()
    }
}
