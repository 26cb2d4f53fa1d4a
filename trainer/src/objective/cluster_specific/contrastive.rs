//! Contrastive models: a sub-model's loss for a sample is how badly its two views find each other among the batch, in that
//! sub-model's unit representations; bounded from below, unlike products of raw ones.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::super::contrastive::{ContrastiveSpec, anchor_losses};
use super::{Case, Family, Losses};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::Trainable;

/// Settings of the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterContrastiveSpec {
    /// The loss of an anchor: `temperature`, `beta`, `tau_plus` and so on, as of the objective `hard-negative`; with `beta`
    /// and `tau_plus` 0 it is SimCLR's. `outputs` is not used: the representation is the code.
    pub loss: ContrastiveSpec,
}

impl ClusterContrastiveSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// As for [`ContrastiveSpec::check`]; annealing, which is not for a loss that assignments compare.
    pub fn check(&self) -> Result<()> {
        if self.loss.anneal != 0 {
            let what = "a loss that changes by itself would move assignments";
            return Err(Error::input("objective.family.loss.anneal", what, "0 (off)", self.loss.anneal));
        }
        self.loss.check()
    }
}

impl<B: Trainable> Family<B> for ClusterContrastiveSpec {
    fn views(&self) -> &'static [View] {
        &[View::First, View::Second, View::Plain]
    }

    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B> {
        let codes = case.outputs(case.images.clone().narrow(0, 0, 2 * n));
        let [_, clusters, code] = codes.dims();
        let of = |j: usize| {
            let anchors = anchor_losses(codes.clone().narrow(1, j, 1).reshape([2 * n, code]), &self.loss);
            (anchors.clone().narrow(0, 0, n) + anchors.narrow(0, n, n)) / 2.0
        };
        Losses::of(Tensor::cat((0..clusters).map(of).collect(), 1))
    }
}
