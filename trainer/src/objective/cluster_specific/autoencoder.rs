//! Autoencoders: a sub-model's loss for a sample is what it does not reconstruct.
//!
//! ```text
//! z = encode_j(x),  l_ij = |c_j + decode_j(z) - x|^2 / d + penalty |z|^2
//! ```
//!
//! Each sub-model has its own encoder output and its own first step of the [decoder](super::decoder); what follows is shared. Without
//! hidden layers both are linear, and each sub-model's best is the plane of its cluster's leading principal components.

use serde::{Deserialize, Serialize};

use super::decoder::DecoderSpec;
use super::{Case, Family, Losses};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::Trainable;

/// Settings of the family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoencoderSpec {
    /// Hidden layers of the decoders; without any they are linear.
    pub decoder: DecoderSpec,
    /// Weight of the codes' squared lengths, 0 or more. With a decoder of its own scale it fixes nothing but that scale.
    pub penalty: f64,
    /// Whether the encoder sees the sample's first view (`[augment.first]`, with noise in it) and must give the sample.
    pub denoise: bool,
}

impl AutoencoderSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A hidden layer without units, a negative penalty.
    pub fn check(&self) -> Result<()> {
        self.decoder.check()?;
        if !(self.penalty >= 0.0 && self.penalty.is_finite()) {
            let what = "impossible value";
            return Err(Error::input("objective.family.penalty", what, "0 or a positive number", self.penalty));
        }
        Ok(())
    }
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
        let errors = (case.decoded(&self.decoder, codes.clone()) - from).square().mean_dim(2).reshape([n, clusters]);
        let matrix = match self.penalty > 0.0 {
            true => errors + codes.square().sum_dim(2).reshape([n, clusters]) * self.penalty,
            false => errors,
        };
        Losses::of(matrix)
    }

    fn hides_target(&self) -> bool {
        self.denoise
    }

    fn finds_planes(&self) -> bool {
        self.decoder.is_linear()
    }
}
