//! What an encoder is trained for. The training loop knows only the trait [`Objective`]; adding one is a file here
//! and a line in [`ObjectiveSpec`].

pub mod neural_eigenmap;

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::augment::View;
use crate::error::Result;
use crate::network::{Body, Encoder, Trainable};
use crate::train::source::Source;
use neural_eigenmap::{NeuralEigenmap, NeuralEigenmapSpec};

/// How far training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The run's seed.
    pub seed: u64,
    /// Samples seen before this batch, over all epochs.
    pub seen: u64,
    /// Samples that the whole training sees.
    pub total: u64,
}

/// Views of the same samples.
pub struct Batch<B: Trainable> {
    /// `[views * n, height, width, channels]`: the first view of all samples, then the second, and so on.
    pub images: Tensor<B, 4>,
    /// Index of each sample in the training set, `n` long.
    pub samples: Vec<u32>,
    /// When it comes.
    pub position: Position,
}

/// A loss with the terms that the log shows.
pub struct Loss<B: Trainable> {
    /// What is minimised, one number.
    pub total: Tensor<B, 1>,
    /// Names and values of its terms, one number each.
    pub terms: Vec<(&'static str, Tensor<B::InnerBackend, 1>)>,
}

/// Named arrays: what an objective keeps from step to step beside the network's parameters.
pub type State = BTreeMap<String, Vec<f32>>;

/// What a network's outputs mean by themselves, beside being an embedding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Native {
    /// Outputs whose largest says the cluster.
    pub clusters: Option<ClusterLogits>,
    /// Outputs that say a hash code.
    pub bits: Option<NativeBits>,
}

/// Outputs `rows`, plus `offsets`: the largest is the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterLogits {
    /// Which outputs.
    pub rows: Range<usize>,
    /// Added to them, one each.
    pub offsets: Vec<f32>,
}

/// How a hash code is read from a network's outputs.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeBits {
    /// Bit `j` is 1 where output `j` is above zero.
    Signs,
    /// The ids of `heads` groups of `classes` outputs, one after the other: each group's largest output, `offsets` added.
    Product {
        /// Groups.
        heads: usize,
        /// Outputs in each.
        classes: usize,
        /// Added to the outputs, one each.
        offsets: Vec<f32>,
    },
}

/// A training objective.
pub trait Objective<B: Trainable> {
    /// The views that a batch holds, in order.
    fn views(&self) -> &'static [View];

    /// Does what is due on the whole training set before a batch.
    ///
    /// # Errors
    /// Data that the objective cannot learn from.
    fn prepare(
        &mut self,
        _encoder: &Encoder<B>,
        _source: &dyn Source,
        _position: Position,
        _device: &B::Device,
    ) -> Result<()> {
        Ok(())
    }

    /// The loss of one batch. May update the objective's own state.
    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B>;

    /// The state to checkpoint.
    fn state(&self) -> State;

    /// Takes up a state that [`Objective::state`] gave, so that training continues to the same bytes.
    fn restore(&mut self, state: State, device: &B::Device);

    /// What the outputs mean by themselves.
    fn native(&self) -> Native {
        Native::default()
    }
}

/// A recipe's `[objective]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ObjectiveSpec {
    /// Neural Eigenmaps: ordered eigenfunctions of the augmentation kernel.
    NeuralEigenmap(NeuralEigenmapSpec),
}

impl ObjectiveSpec {
    /// The objective's name, as recipes write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NeuralEigenmap(_) => "neural-eigenmap",
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::NeuralEigenmap(spec) => spec.check(),
        }
    }

    /// Outputs that the network learns, for an embedding of `dims` dimensions.
    pub fn outputs(&self, dims: usize) -> usize {
        match self {
            // The constant is the first eigenfunction of every augmentation kernel; it is learned, then dropped.
            Self::NeuralEigenmap(_) => dims + 1,
        }
    }

    /// Where the embedding is read.
    pub fn body(&self) -> Body {
        match self {
            Self::NeuralEigenmap(_) => Body::Outputs,
        }
    }

    /// What the output layer's first weights are multiplied by.
    pub fn output_gain(&self) -> f64 {
        match self {
            Self::NeuralEigenmap(_) => 1.0,
        }
    }

    /// The objective at the start of training.
    pub fn build<B: Trainable>(&self) -> Box<dyn Objective<B>> {
        match self {
            Self::NeuralEigenmap(spec) => Box::new(NeuralEigenmap::new(spec.clone())),
        }
    }
}
