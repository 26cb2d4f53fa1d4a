//! What an encoder is trained for. The training loop knows only the trait [`Objective`]; adding one is a file here
//! and a line in [`ObjectiveSpec`].

pub mod neural_eigenmap;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::network::{Encoder, Trainable};
use neural_eigenmap::{NeuralEigenmap, NeuralEigenmapSpec};

/// Several views of the same samples.
pub struct Batch<B: Trainable> {
    /// `[views * n, height, width, channels]`: the first view of all samples, then the second, and so on.
    pub images: Tensor<B, 4>,
    /// Index of each sample in the training set, `n` long.
    pub samples: Vec<u32>,
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

/// A training objective.
pub trait Objective<B: Trainable> {
    /// The loss of one batch. May update the objective's own state.
    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B>;

    /// The state to checkpoint.
    fn state(&self) -> State;

    /// Takes up a state that [`Objective::state`] gave, so that training continues to the same bytes.
    fn restore(&mut self, state: State, device: &B::Device);
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

    /// Outputs that the network learns beside the embedding's dimensions.
    pub fn extra_outputs(&self) -> usize {
        match self {
            // The constant is the first eigenfunction of every augmentation kernel; it is learned, then dropped.
            Self::NeuralEigenmap(_) => 1,
        }
    }

    /// The objective at the start of training.
    pub fn build<B: Trainable>(&self) -> Box<dyn Objective<B>> {
        match self {
            Self::NeuralEigenmap(spec) => Box::new(NeuralEigenmap::new(spec.clone())),
        }
    }
}
