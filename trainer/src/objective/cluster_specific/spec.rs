//! What a recipe says of the objective.

use serde::{Deserialize, Serialize};

use super::autoencoder::AutoencoderSpec;
use super::boltzmann::{self, BoltzmannSpec};
use super::contrastive::ClusterContrastiveSpec;
use super::decoder::DecoderSpec;
use super::eigenmap::Eigenmaps;
use super::family::Family;
use super::imsat::ClusterImsatSpec;
use super::members::Start;
use super::self_labelling::{ClusterSelaSpec, SelfLabelling};
use super::variational::VariationalSpec;
use crate::error::{Error, Result};
use crate::network::{Extra, Plan, Trainable};
use crate::objective::neural_eigenmap::NeuralEigenmapSpec;

/// Settings of the objective.
///
/// ```
/// use eigenlet_trainer::objective::cluster_specific::ClusterSpecificSpec;
///
/// let spec: ClusterSpecificSpec = toml::from_str(r#"
///     clusters = 5
///     code = 2
///     family = { kind = "autoencoder", decoder = { units = [32] } }
/// "#).unwrap();
/// assert!(spec.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpecificSpec {
    /// Number of clusters, and of sub-models; 1 makes it the family's plain form.
    pub clusters: usize,
    /// Dimensions of each sub-model's representation.
    pub code: usize,
    /// What first clusters are.
    pub start: Start,
    /// Share of the training, at its start, in which every sample stays in its first cluster and sub-models learn what they have;
    /// 0 to below 1. Before that, what is least says little.
    pub hold: f64,
    /// Which assignments the gradient follows after that.
    pub assign: Assign,
    /// Softness of `soft` assignments at the start, in units of the batch's mean least loss; above 0. It falls linearly to
    /// nothing at the end of training.
    pub temperature: f64,
    /// Whether each sub-model has its own share of the last hidden layer, rather than all reading all of it.
    pub separate: bool,
    /// Weight of the squared distance to the centre, 0 or more. It moves assignments, not parameters.
    pub pull: f64,
    /// What the sub-models are.
    pub family: FamilySpec,
}

/// Which assignments the gradient follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assign {
    /// Each sample's least loss in this step.
    Hard,
    /// The one that the sample had after it was last seen: the authors' for autoencoders.
    Delayed,
    /// All, those with lower losses more: a softmax.
    Soft,
}

/// What the sub-models are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FamilySpec {
    /// Autoencoders.
    Autoencoder(AutoencoderSpec),
    /// Variational autoencoders.
    Variational(VariationalSpec),
    /// Contrastive models.
    Contrastive(ClusterContrastiveSpec),
    /// Restricted Boltzmann machines.
    Boltzmann(BoltzmannSpec),
    /// Neural eigenmaps: the settings are the objective's.
    NeuralEigenmap(NeuralEigenmapSpec),
    /// IMSAT's classifiers.
    Imsat(ClusterImsatSpec),
    /// SeLa's classifiers.
    Sela(ClusterSelaSpec),
}

impl Default for ClusterSpecificSpec {
    fn default() -> Self {
        Self {
            clusters: 10,
            code: 4,
            start: Start::KMeans,
            hold: 0.1,
            assign: Assign::Hard,
            temperature: 1.0,
            separate: false,
            pull: 0.0,
            family: FamilySpec::Autoencoder(AutoencoderSpec::default()),
        }
    }
}

impl ClusterSpecificSpec {
    /// The objective's name: `cluster-specific-` and the family's short name.
    pub fn name(&self) -> &'static str {
        match self.family {
            FamilySpec::Autoencoder(_) => "cluster-specific-ae",
            FamilySpec::Variational(_) => "cluster-specific-vae",
            FamilySpec::Contrastive(_) => "cluster-specific-contrastive",
            FamilySpec::Boltzmann(_) => "cluster-specific-rbm",
            FamilySpec::NeuralEigenmap(_) => "cluster-specific-eigenmap",
            FamilySpec::Imsat(_) => "cluster-specific-imsat",
            FamilySpec::Sela(_) => "cluster-specific-sela",
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, expected: &str, found: &dyn std::fmt::Display| {
            Err(Error::input(format!("objective.{key}"), "impossible value", expected, found))
        };
        if self.clusters == 0 || self.clusters > usize::from(u16::MAX) {
            return wrong("clusters", "1 to 65535", &self.clusters);
        }
        if self.code == 0 {
            return wrong("code", "at least 1", &self.code);
        }
        if self.classifies() && self.code < 2 {
            return wrong("code", "at least 2, the classes of a cluster", &self.code);
        }
        if !(0.0..1.0).contains(&self.hold) {
            return wrong("hold", "0 to below 1", &self.hold);
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return wrong("temperature", "a positive number", &self.temperature);
        }
        if !(self.pull >= 0.0 && self.pull.is_finite()) {
            return wrong("pull", "0 or a positive number", &self.pull);
        }
        match &self.family {
            FamilySpec::Autoencoder(spec) => spec.check(),
            FamilySpec::Variational(spec) => spec.check(),
            FamilySpec::Contrastive(spec) => spec.check(),
            FamilySpec::Boltzmann(spec) => spec.check(),
            FamilySpec::NeuralEigenmap(spec) if !spec.kernel.is_of_views() => wrong(
                "family.kernel",
                "the augmentation kernel: a cluster's members change while it learns",
                &"another",
            ),
            FamilySpec::NeuralEigenmap(spec) => spec.check_in("objective.family"),
            FamilySpec::Imsat(spec) => spec.check(),
            FamilySpec::Sela(spec) => spec.check(),
        }
    }

    /// Whether the code is logits of classes.
    fn classifies(&self) -> bool {
        matches!(self.family, FamilySpec::Imsat(_) | FamilySpec::Sela(_))
    }

    /// Checks the settings against the number of training samples and the samples in a batch.
    ///
    /// # Errors
    /// More clusters than samples; what the family cannot learn from, as batches without negatives or clusters of fewer
    /// samples than a code has dimensions.
    pub fn fits(&self, samples: usize, batch: usize) -> Result<()> {
        if self.clusters > samples {
            let expected = format!("at most one for each of {samples} training samples");
            return Err(Error::input("objective.clusters", "more clusters than samples", expected, self.clusters));
        }
        let own = batch.min(samples) / self.clusters;
        let (what, members, least) = match &self.family {
            FamilySpec::Contrastive(spec) => return spec.loss.fits(samples, batch),
            FamilySpec::NeuralEigenmap(_) => {
                ("a cluster has no more samples in a batch than functions to tell apart", own, self.code + 1)
            }
            FamilySpec::Imsat(_) => ("a cluster has fewer samples in a batch than classes", own, self.code),
            FamilySpec::Sela(_) => ("a cluster has fewer samples than classes", samples / self.clusters, self.code),
            _ => return Ok(()),
        };
        match members < least {
            true => {
                let expected =
                    format!("at most {}, for {members} samples a cluster", (members + self.code).saturating_sub(least));
                Err(Error::input("objective.code", what, expected, self.code))
            }
            false => Ok(()),
        }
    }

    /// Whether it compares a sample with its first view, which then must differ from it.
    pub fn perturbs_first(&self) -> bool {
        matches!(self.family, FamilySpec::Imsat(_))
    }

    /// What the output layer's first weights are multiplied by: the family's objective's own gain.
    pub fn output_gain(&self) -> f64 {
        match self.family {
            FamilySpec::Imsat(_) => crate::objective::imsat::OUTPUT_GAIN,
            _ => 1.0,
        }
    }

    /// Checks the settings against the network's shapes.
    ///
    /// # Errors
    /// A representation that is no smaller than the sample, which then says nothing about its cluster; layers that do not
    /// divide among the sub-models; layers before a Boltzmann machine; a decoder's maps that do not double into the sample.
    pub fn fits_plan(&self, plan: &Plan) -> Result<()> {
        let size: usize = plan.input.iter().product();
        if let Some(decoder) = self.decoder() {
            if self.code >= size {
                let what =
                    "a code as large as the sample reconstructs it from every centre: clusters would mean nothing";
                return Err(Error::input("objective.code", what, format!("below {size}"), self.code));
            }
            decoder.fits(plan.input)?;
        }
        let features = plan.features();
        if self.separate && (plan.steps.len() == 1 || !features.is_multiple_of(self.clusters)) {
            let what = "the last hidden layer does not divide among the clusters";
            let expected = format!("a multiple of objective.clusters = {}", self.clusters);
            let found = if plan.steps.len() == 1 { "no layer".into() } else { format!("{features} outputs") };
            return Err(Error::input("network", what, expected, found));
        }
        if matches!(self.family, FamilySpec::Boltzmann(_)) && plan.steps.len() > 1 {
            let what = "a Boltzmann machine's visible units are the sample itself";
            return Err(Error::input("network", what, "no layers, no projector", plan.steps.len() - 1));
        }
        Ok(())
    }

    /// Outputs of one sub-model's encoder.
    pub fn width(&self) -> usize {
        match self.family {
            FamilySpec::Variational(_) => 2 * self.code,
            _ => self.code,
        }
    }

    /// Outputs of all, one sub-model after the other.
    pub fn outputs(&self) -> usize {
        self.clusters.saturating_mul(self.width())
    }

    /// The decoders of a family that has some.
    fn decoder(&self) -> Option<&DecoderSpec> {
        match &self.family {
            FamilySpec::Autoencoder(spec) => Some(&spec.decoder),
            FamilySpec::Variational(spec) => Some(&spec.decoder),
            FamilySpec::Contrastive(_)
            | FamilySpec::Boltzmann(_)
            | FamilySpec::NeuralEigenmap(_)
            | FamilySpec::Imsat(_)
            | FamilySpec::Sela(_) => None,
        }
    }

    /// What is learned beside the encoder, for samples `[height, width, channels]`.
    pub fn beside(&self, shape: [usize; 3]) -> Vec<Extra> {
        match (&self.family, self.decoder()) {
            (_, Some(decoder)) => decoder.parameters(self.clusters, self.code, shape),
            (FamilySpec::Boltzmann(_), _) => boltzmann::visible_bias(shape.iter().product()),
            _ => Vec::new(),
        }
    }

    pub(super) fn build_family<B: Trainable>(&self) -> Box<dyn Family<B>> {
        match &self.family {
            FamilySpec::Autoencoder(spec) => Box::new(spec.clone()),
            FamilySpec::Variational(spec) => Box::new(spec.clone()),
            FamilySpec::Contrastive(spec) => Box::new(spec.clone()),
            FamilySpec::Boltzmann(spec) => Box::new(spec.clone()),
            FamilySpec::NeuralEigenmap(spec) => Box::new(Eigenmaps::new(spec.clone())),
            FamilySpec::Imsat(spec) => Box::new(spec.clone()),
            FamilySpec::Sela(spec) => Box::new(SelfLabelling::new(spec.clone(), self.clusters, self.code)),
        }
    }
}
