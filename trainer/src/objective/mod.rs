//! What an encoder is trained for. The training loop knows only the trait [`Objective`]; adding one is a file here
//! and its arms in [`ObjectiveSpec`].

pub mod barlow_twins;
pub mod cluster_specific;
pub mod contrastive;
pub mod graph_contrast;
pub mod imsat;
pub mod neural_eigenmap;
pub mod sela;
pub mod sinkhorn;
pub mod spectral_contrastive;

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use eigenlet_shared::description::class_bits;
use serde::{Deserialize, Serialize};

use crate::augment::View;
use crate::error::{Error, Result};
use crate::kernel::KernelSpec;
use crate::network::{Body, Encoder, Extra, Plan, Trainable, floats};
use crate::train::source::Source;
use barlow_twins::{BarlowTwins, BarlowTwinsSpec};
use cluster_specific::{ClusterSpecific, ClusterSpecificSpec};
use contrastive::{Contrastive, ContrastiveSpec};
use imsat::{Imsat, ImsatClusterSpec, ImsatHashSpec};
use neural_eigenmap::{NeuralEigenmap, NeuralEigenmapSpec};
use sela::{Sela, SelaSpec};
use spectral_contrastive::{SpectralContrastive, SpectralContrastiveSpec};

/// How far training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The run's seed.
    pub seed: u64,
    /// Samples seen before this batch, over all epochs.
    pub seen: u64,
    /// Samples that the whole training sees.
    pub total: u64,
    /// Passes over the training set before this one.
    pub epoch: u64,
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

/// Keeps a tensor `[length]`, where there is one, under a name.
fn keep<B: Backend>(state: &mut State, name: &str, tensor: &Option<Tensor<B, 1>>) {
    if let Some(tensor) = tensor {
        state.insert(name.into(), floats(tensor.clone()));
    }
}

/// Takes out what [`keep`] kept.
fn take<B: Backend>(state: &mut State, name: &str, device: &B::Device) -> Option<Tensor<B, 1>> {
    let values = state.remove(name)?;
    let length = values.len();
    Some(Tensor::from_data(TensorData::new(values, [length]), device))
}

/// Refuses batches of one sample, because `batch` is one or the training set has no more `samples`; `what` such a batch lacks.
fn two_samples(samples: usize, batch: usize, what: &str) -> Result<()> {
    match samples.min(batch) {
        0 | 1 => {
            let found = format!("{batch}, of {samples} training samples");
            Err(Error::input("train.batch", what, "at least 2 samples", found))
        }
        _ => Ok(()),
    }
}

/// What a network's outputs mean by themselves, beside being an embedding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Native {
    /// Outputs whose largest says the cluster.
    pub clusters: Option<ClusterLogits>,
    /// Outputs that say a hash code.
    pub bits: Option<NativeBits>,
}

/// Samples' clusters, and their losses there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assigned {
    /// Numbers from 0.
    pub clusters: Vec<u32>,
    /// What assignments compare: of each sample in its cluster.
    pub losses: Vec<f32>,
}

/// Linear representations of the clusters, each of its own, over what a network's last step reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Experts {
    /// Number of clusters.
    pub count: usize,
    /// Dimensions of each representation.
    pub dims: usize,
    /// `[count * dims][features]`
    pub weight: Vec<f32>,
    /// `[count * dims]`
    pub bias: Vec<f32>,
    /// Where clusters are planes among the features, `[count][features]`: a point of each. An expert's rows are then an
    /// orthonormal basis of its plane, and its outputs are zero at the point.
    pub points: Option<Vec<f32>>,
}

/// What clusters look like, in network units, for people to see.
#[derive(Clone, Debug, PartialEq)]
pub struct Portraits {
    /// `[clusters][values]`: the mean of each cluster's training samples.
    pub centres: Vec<f32>,
    /// `[clusters][drawn][values]`: samples drawn from each cluster's own model; empty where it is no distribution.
    pub drawn: Vec<f32>,
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

    /// Views of a sample on which [`Objective::assign`] says where the sample itself belongs: as many as in a batch, plain ones
    /// unless the rule compares views.
    fn rule_views(&self) -> Vec<View> {
        vec![View::Plain; self.views().len()]
    }

    /// The cluster of each sample by the objective's own rule, where it has one that is no [`Objective::native`]. `images` are
    /// as in a [`Batch`], and what sub-models are not given in one chooses no cluster; with a position, what is left to chance in training is drawn, without one it is not.
    fn assign(&self, _encoder: &Encoder<B>, _images: Tensor<B, 4>, _position: Option<Position>) -> Option<Assigned> {
        None
    }

    /// The representations that clusters have of their own.
    fn experts(&self, _encoder: &Encoder<B>) -> Option<Experts> {
        None
    }

    /// What the clusters that have representations of their own look like, with so many samples `drawn` of each.
    fn portraits(&self, _encoder: &Encoder<B>, _drawn: usize, _seed: u64) -> Option<Portraits> {
        None
    }

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
    /// SeLa: labels that the network gives itself, each class to its share of the samples.
    Sela(SelaSpec),
    /// IMSAT: clusters that say much about the input and do not change when it is moved a little.
    ImsatCluster(ImsatClusterSpec),
    /// IMSAT: bits that do.
    ImsatHash(ImsatHashSpec),
    /// Contrastive learning with hard negatives; debiased and SimCLR are its limits.
    #[serde(rename = "hard-negative")]
    Contrastive(ContrastiveSpec),
    /// Barlow Twins, a baseline.
    BarlowTwins(BarlowTwinsSpec),
    /// The spectral contrastive loss, a baseline.
    SpectralContrastive(SpectralContrastiveSpec),
    /// Clusters, and a representation for each.
    ClusterSpecific(ClusterSpecificSpec),
}

impl ObjectiveSpec {
    /// The objective's name, as recipes write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NeuralEigenmap(_) => "neural-eigenmap",
            Self::Sela(_) => "sela",
            Self::ImsatCluster(_) => "imsat-cluster",
            Self::ImsatHash(_) => "imsat-hash",
            Self::Contrastive(_) => "hard-negative",
            Self::BarlowTwins(_) => "barlow-twins",
            Self::SpectralContrastive(_) => "spectral-contrastive",
            Self::ClusterSpecific(spec) => spec.name(),
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::NeuralEigenmap(spec) => spec.check(),
            Self::Sela(spec) => spec.check(),
            Self::ImsatCluster(spec) => spec.check(),
            Self::ImsatHash(spec) => spec.check(),
            Self::Contrastive(spec) => spec.check(),
            Self::BarlowTwins(spec) => spec.check(),
            Self::SpectralContrastive(_) => Ok(()),
            Self::ClusterSpecific(spec) => spec.check(),
        }
    }

    /// Checks the settings against the number of training samples, the samples in a batch and the embedding's dimensions.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn fits(&self, samples: usize, batch: usize, dims: usize) -> Result<()> {
        match self {
            Self::NeuralEigenmap(spec) => spec.fits(samples, batch, dims),
            Self::Sela(spec) => spec.fits(samples),
            Self::ImsatCluster(spec) => spec.fits(samples, batch),
            Self::ImsatHash(spec) => spec.fits(samples, batch),
            Self::Contrastive(spec) => spec.fits(samples, batch),
            Self::BarlowTwins(spec) => spec.fits(samples, batch),
            Self::SpectralContrastive(spec) => spec.fits(samples, batch),
            Self::ClusterSpecific(spec) => spec.fits(samples, batch),
        }
    }

    /// Checks the settings against the network's shapes.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn fits_plan(&self, plan: &Plan) -> Result<()> {
        match self {
            Self::ClusterSpecific(spec) => spec.fits_plan(plan),
            _ => Ok(()),
        }
    }

    /// How many samples that differ from one another training needs at least.
    pub fn different_samples(&self) -> usize {
        match self {
            Self::ClusterSpecific(spec) => spec.clusters,
            _ => 1,
        }
    }

    /// What is learned beside the encoder, for samples of `size` values.
    pub fn beside(&self, shape: [usize; 3]) -> Vec<Extra> {
        match self {
            Self::ClusterSpecific(spec) => spec.beside(shape),
            _ => Vec::new(),
        }
    }

    /// Groups of outputs of which each reads its own share of the last hidden layer; 1 where all read all.
    pub fn separate(&self) -> usize {
        match self {
            Self::ClusterSpecific(spec) if spec.separate => spec.clusters,
            _ => 1,
        }
    }

    /// Outputs that the network learns, for an embedding of `dims` dimensions.
    pub fn outputs(&self, dims: usize) -> usize {
        match self {
            Self::NeuralEigenmap(spec) if !spec.kernel.is_of_views() => dims,
            // The constant is the first eigenfunction of every augmentation kernel; it is learned, then dropped.
            Self::NeuralEigenmap(_) | Self::SpectralContrastive(_) => dims + 1,
            Self::Sela(spec) => spec.outputs(),
            Self::ImsatCluster(spec) => spec.clusters,
            Self::ImsatHash(spec) => spec.bits,
            Self::Contrastive(spec) => spec.outputs,
            Self::BarlowTwins(spec) => spec.outputs,
            Self::ClusterSpecific(spec) => spec.outputs(),
        }
    }

    /// Where the embedding is read.
    pub fn body(&self) -> Body {
        match self {
            Self::NeuralEigenmap(_) | Self::SpectralContrastive(_) => Body::Outputs,
            Self::Sela(_) | Self::ImsatCluster(_) | Self::ImsatHash(_) | Self::ClusterSpecific(_) => Body::Hidden,
            Self::Contrastive(_) | Self::BarlowTwins(_) => Body::Backbone,
        }
    }

    /// Whether it compares a sample with its first view, which then must differ from it.
    pub fn perturbs_first(&self) -> bool {
        match self {
            Self::ImsatCluster(spec) => spec.smoothness.perturbation.needs_view(),
            Self::ImsatHash(spec) => spec.smoothness.perturbation.needs_view(),
            Self::ClusterSpecific(spec) => spec.perturbs_first(),
            _ => false,
        }
    }

    /// The kernel whose eigenfunctions are learned, where no pair of views says it: then nothing compares views.
    pub fn kernel(&self) -> Option<&KernelSpec> {
        match self {
            Self::NeuralEigenmap(spec) if !spec.kernel.is_of_views() => Some(&spec.kernel),
            _ => None,
        }
    }

    /// Clusters that its outputs say by themselves; 0 where they say none.
    pub fn native_clusters(&self) -> usize {
        match self {
            Self::Sela(spec) => spec.classes,
            Self::ImsatCluster(spec) => spec.clusters,
            Self::ClusterSpecific(spec) => spec.clusters,
            _ => 0,
        }
    }

    /// Bits of the code that its outputs say by themselves; 0 where they say none.
    pub fn native_bits(&self) -> usize {
        match self {
            Self::Sela(spec) => spec.heads * usize::from(class_bits(spec.classes as u16)),
            Self::ImsatHash(spec) => spec.bits,
            Self::ClusterSpecific(spec) => usize::from(class_bits(spec.clusters as u16)) + spec.code,
            _ => 0,
        }
    }

    /// Bits that a cut of that code must keep whole: those of one head's id in a product code, else one.
    pub fn native_word(&self) -> usize {
        match self {
            Self::Sela(spec) => class_bits(spec.classes as u16).into(),
            _ => 1,
        }
    }

    /// What the output layer's first weights are multiplied by.
    pub fn output_gain(&self) -> f64 {
        match self {
            Self::ImsatCluster(_) | Self::ImsatHash(_) => imsat::OUTPUT_GAIN,
            Self::ClusterSpecific(spec) => spec.output_gain(),
            _ => 1.0,
        }
    }

    /// The objective at the start of training.
    pub fn build<B: Trainable>(&self) -> Box<dyn Objective<B>> {
        match self {
            Self::NeuralEigenmap(spec) => Box::new(NeuralEigenmap::new(spec.clone())),
            Self::Sela(spec) => Box::new(Sela::new(spec.clone())),
            Self::ImsatCluster(spec) => Box::new(Imsat::<B::InnerBackend>::clusters(spec.clone())),
            Self::ImsatHash(spec) => Box::new(Imsat::<B::InnerBackend>::bits(spec.clone())),
            Self::Contrastive(spec) => Box::new(Contrastive::new(spec.clone())),
            Self::BarlowTwins(spec) => Box::new(BarlowTwins::new(spec.clone())),
            Self::SpectralContrastive(_) => Box::new(SpectralContrastive),
            Self::ClusterSpecific(spec) => Box::new(ClusterSpecific::new(spec.clone())),
        }
    }
}
