//! A recipe: everything that determines a run, in one TOML file.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::augment::Views;
use crate::data::DataSource;
use crate::error::{Error, Result};
use crate::network::NetworkSpec;
use crate::objective::ObjectiveSpec;
use crate::quantize::{ClusterHead, HEAD_SAMPLES, HashHead, Heads};
use crate::train::TrainSpec;
use crate::train::pairs::PairsSpec;

/// The recipes that the binary carries: name, text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("digits-cluster-specific-rbm", include_str!("../recipes/digits-cluster-specific-rbm.toml")),
    ("digits-cluster-specific-eigenmap", include_str!("../recipes/digits-cluster-specific-eigenmap.toml")),
    ("digits-cluster-specific-imsat", include_str!("../recipes/digits-cluster-specific-imsat.toml")),
    ("digits-cluster-specific-sela", include_str!("../recipes/digits-cluster-specific-sela.toml")),
    ("digits-cluster-specific-contrastive", include_str!("../recipes/digits-cluster-specific-contrastive.toml")),
    ("digits-cluster-specific-vae", include_str!("../recipes/digits-cluster-specific-vae.toml")),
    ("digits-cluster-specific-ae", include_str!("../recipes/digits-cluster-specific-ae.toml")),
    ("digits-hard-negative", include_str!("../recipes/digits-hard-negative.toml")),
    ("digits-imsat-cluster", include_str!("../recipes/digits-imsat-cluster.toml")),
    ("digits-imsat-hash", include_str!("../recipes/digits-imsat-hash.toml")),
    ("digits-neural-eigenmap", include_str!("../recipes/digits-neural-eigenmap.toml")),
    ("digits-sela", include_str!("../recipes/digits-sela.toml")),
    ("mnist-hard-negative", include_str!("../recipes/mnist-hard-negative.toml")),
    ("mnist-cluster-specific-ae", include_str!("../recipes/mnist-cluster-specific-ae.toml")),
    ("mnist-imsat-cluster", include_str!("../recipes/mnist-imsat-cluster.toml")),
    ("mnist-imsat-hash", include_str!("../recipes/mnist-imsat-hash.toml")),
    ("mnist-neural-eigenmap", include_str!("../recipes/mnist-neural-eigenmap.toml")),
    ("mnist-neural-eigenmap-small", include_str!("../recipes/mnist-neural-eigenmap-small.toml")),
    ("mnist-sela", include_str!("../recipes/mnist-sela.toml")),
    ("fashion-mnist-hard-negative", include_str!("../recipes/fashion-mnist-hard-negative.toml")),
    ("fashion-mnist-imsat-cluster", include_str!("../recipes/fashion-mnist-imsat-cluster.toml")),
    ("fashion-mnist-neural-eigenmap", include_str!("../recipes/fashion-mnist-neural-eigenmap.toml")),
    ("fashion-mnist-sela", include_str!("../recipes/fashion-mnist-sela.toml")),
    ("omniglot-imsat-vat-affine", include_str!("../recipes/omniglot-imsat-vat-affine.toml")),
    ("omniglot-imsat-vat", include_str!("../recipes/omniglot-imsat-vat.toml")),
    ("cifar10-4k-hard-negative", include_str!("../recipes/cifar10-4k-hard-negative.toml")),
    ("fsdd-hard-negative", include_str!("../recipes/fsdd-hard-negative.toml")),
    ("fsdd-neural-eigenmap", include_str!("../recipes/fsdd-neural-eigenmap.toml")),
    ("dsads-cluster-specific-ae", include_str!("../recipes/dsads-cluster-specific-ae.toml")),
    ("dsads-hard-negative", include_str!("../recipes/dsads-hard-negative.toml")),
    ("dsads-neural-eigenmap", include_str!("../recipes/dsads-neural-eigenmap.toml")),
    ("cora-neural-eigenmap", include_str!("../recipes/cora-neural-eigenmap.toml")),
    ("citeseer-neural-eigenmap", include_str!("../recipes/citeseer-neural-eigenmap.toml")),
    ("20ng-hard-negative", include_str!("../recipes/20ng-hard-negative.toml")),
    ("20ng-imsat-cluster", include_str!("../recipes/20ng-imsat-cluster.toml")),
];

/// A whole recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where all randomness begins.
    #[serde(default)]
    pub seed: u64,
    /// What is learned from.
    pub data: DataSource,
    /// The two views of a sample.
    #[serde(default)]
    pub augment: Views,
    /// What a positive pair is.
    #[serde(default, skip_serializing_if = "PairsSpec::is_of_views")]
    pub pairs: PairsSpec,
    /// The encoder.
    pub network: NetworkSpec,
    /// What it is trained for.
    pub objective: ObjectiveSpec,
    /// How.
    pub train: TrainSpec,
    /// How its outputs are ordered.
    #[serde(default)]
    pub order: OrderSpec,
    /// What the blob holds.
    #[serde(default)]
    pub export: ExportSpec,
    /// What is measured.
    #[serde(default)]
    pub evaluate: EvaluateSpec,
}

/// A recipe's `[order]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderSpec {
    /// Passes over the training data, each with new views, that the moments are measured on.
    pub passes: usize,
}

impl Default for OrderSpec {
    fn default() -> Self {
        Self { passes: 4 }
    }
}

/// A recipe's `[export]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportSpec {
    /// Dimensions of the embedding; all of the network's where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dims: Option<usize>,
    /// Bits of the hash code; one for each dimension where it is left out, none at 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<usize>,
    /// What hash bits are made of; where it is left out, the objective's own code if it learns one, else functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashKind>,
    /// Leading dimensions that hash bits of functions are made of, turned by ITQ; at 0 each bit is the sign of one
    /// dimension.
    pub hash_dims: usize,
    /// How a sample gets its cluster; where it is left out, the objective's own clusters if it learns any, else prototypes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_by: Option<ClusterKind>,
    /// Number of prototypes; at 0 there are none.
    pub clusters: usize,
    /// Leading dimensions that prototypes are compared in.
    pub cluster_dims: usize,
    /// Training samples that the int8 grids are calibrated on, at most.
    pub calibration: usize,
}

/// What hash bits are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashKind {
    /// The ordered functions.
    Functions,
    /// The code that the objective learns.
    Native,
}

/// How a sample gets its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterKind {
    /// By the nearest of k-means' centres in the embedding.
    Prototypes,
    /// By the logits that the objective learns.
    Native,
}

impl Default for ExportSpec {
    fn default() -> Self {
        Self {
            dims: None,
            bits: None,
            hash: None,
            hash_dims: 10,
            cluster_by: None,
            clusters: 10,
            cluster_dims: 10,
            calibration: 1024,
        }
    }
}

impl ExportSpec {
    /// The heads for a model of `available` ordered dimensions, trained for `objective`. Left-out sizes and the dimensions of
    /// prototypes follow what is there; a size that the recipe names must be there.
    pub fn heads(&self, objective: &ObjectiveSpec, available: usize) -> Heads {
        let dims = self.dims.unwrap_or(available);
        let (code, classes) = (objective.native_bits(), objective.native_clusters());
        let hash = match self.hash.unwrap_or(if code > 0 { HashKind::Native } else { HashKind::Functions }) {
            HashKind::Native => HashHead::Native,
            HashKind::Functions => HashHead::Functions { leading: self.hash_dims.min(dims) },
        };
        let by = self.cluster_by.unwrap_or(if classes > 0 { ClusterKind::Native } else { ClusterKind::Prototypes });
        let clusters = match by {
            ClusterKind::Native => ClusterHead::Native,
            ClusterKind::Prototypes if self.clusters == 0 => ClusterHead::None,
            ClusterKind::Prototypes => {
                ClusterHead::Prototypes { count: self.clusters, dims: self.cluster_dims.min(dims) }
            }
        };
        let bits = self.bits.unwrap_or(if hash == HashHead::Native { code } else { dims });
        Heads { dims, bits, hash, clusters }
    }

    /// Checks the sizes against the network's dimensions, the objective's outputs and the number of training samples.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn fits(&self, objective: &ObjectiveSpec, available: usize, samples: usize) -> Result<()> {
        let heads = self.heads(objective, available);
        if heads.hash == HashHead::Native && objective.native_bits() == 0 && heads.bits > 0 {
            let what = format!("{} learns no code", objective.name());
            return Err(Error::input("export.hash", what, "functions", "native"));
        }
        if heads.clusters == ClusterHead::Native && objective.native_clusters() == 0 {
            let what = format!("{} learns no clusters", objective.name());
            return Err(Error::input("export.cluster_by", what, "prototypes", "native"));
        }
        let bits = match heads.hash {
            HashHead::Native => objective.native_bits(),
            HashHead::Functions { leading: 0 } => heads.dims,
            HashHead::Functions { .. } => u16::MAX.into(),
        };
        if heads.hash == HashHead::Native {
            whole_ids("export.bits", objective, heads.bits)?;
        }
        let prototypes = if let ClusterHead::Prototypes { count, .. } = heads.clusters { count } else { 0 };
        for (key, asked, most) in [
            ("export.dims", heads.dims, available),
            ("export.bits", heads.bits, bits),
            ("export.clusters", prototypes, samples.min(HEAD_SAMPLES)),
        ] {
            if asked > most {
                return Err(Error::input(key, "more than there can be", format!("at most {most}"), asked));
            }
        }
        Ok(())
    }
}

/// Whether a native code can be cut to `bits`.
///
/// # Errors
/// A part of a head's id, or more heads than a blob holds; `place` is who asked.
pub fn whole_ids(place: &str, objective: &ObjectiveSpec, bits: usize) -> Result<()> {
    let word = objective.native_word();
    if word > 1 && (!bits.is_multiple_of(word) || bits / word > usize::from(u8::MAX)) {
        let expected = format!("a multiple of {word}, the bits of one head's id, at most 255 of them");
        return Err(Error::input(place, "not whole ids", expected, bits));
    }
    Ok(())
}

/// A recipe's `[evaluate]` table. Sizes beyond the model's are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateSpec {
    /// Numbers of dimensions to measure truncated embeddings at.
    pub dims: Vec<usize>,
    /// Numbers of bits to measure truncated codes at.
    pub bits: Vec<usize>,
}

impl Default for EvaluateSpec {
    fn default() -> Self {
        Self { dims: vec![2, 4, 8, 16, 32, 64, 128], bits: vec![8, 16, 32, 64, 128] }
    }
}

impl Recipe {
    /// Reads a recipe: a file, or the name of a shipped one. `settings` are `key=value` with dotted keys, as from the
    /// command line; a value is TOML, or else a string.
    ///
    /// # Errors
    /// A file that cannot be read, text that is no recipe, an unknown key, a value out of its range.
    pub fn load(name: &str, settings: &[String]) -> Result<Self> {
        let shipped = SHIPPED.iter().find(|(known, _)| *known == name.trim_end_matches(".toml"));
        let text = match (Path::new(name).exists(), shipped) {
            (false, Some((_, text))) => (*text).to_string(),
            (false, None) => {
                let names: Vec<&str> = SHIPPED.iter().map(|(known, _)| *known).collect();
                let expected = format!("a file, or one of the shipped recipes: {}", names.join(", "));
                return Err(Error::input(name, "no such recipe", expected, "neither"));
            }
            (true, _) => std::fs::read_to_string(name).map_err(|error| Error::reading(name, error))?,
        };
        Self::parse(name, &text, settings)
    }

    /// Reads a recipe from text; `place` names it in errors.
    ///
    /// # Errors
    /// As for [`Recipe::load`], but for the file.
    pub fn parse(place: &str, text: &str, settings: &[String]) -> Result<Self> {
        let recipe: Self = settled(place, text, settings)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Checks every range that can be known without the data.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        self.data.check()?;
        self.augment.check()?;
        self.objective.check()?;
        let [first, second] = self.augment.are_identities();
        if self.pairs.is_of_views()
            && self.objective.kernel().is_none()
            && first
            && (second || self.objective.perturbs_first())
        {
            let (key, expected) = match second {
                true => ("augment", "a perturbation in [augment.first] or [augment.second]"),
                false => ("augment.first", "a perturbation: the objective learns to overlook it"),
            };
            return Err(Error::input(key, "the views of a sample are all the same", expected, "none"));
        }
        self.train.check()?;
        if self.order.passes == 0 {
            return Err(Error::input("order.passes", "impossible value", "at least 1", 0));
        }
        if self.export.calibration == 0 {
            return Err(Error::input("export.calibration", "impossible value", "at least 1", 0));
        }
        if self.export.clusters > 0 && self.export.cluster_dims == 0 {
            return Err(Error::input("export.cluster_dims", "impossible value", "at least 1", 0));
        }
        for (key, size) in [("export.bits", self.export.bits), ("export.clusters", Some(self.export.clusters))] {
            if size.is_some_and(|size| size > usize::from(u16::MAX)) {
                return Err(Error::input(key, "impossible value", "0 to 65535", size.unwrap_or(0)));
            }
        }
        for (key, sizes) in [("evaluate.dims", &self.evaluate.dims), ("evaluate.bits", &self.evaluate.bits)] {
            if sizes.contains(&0) {
                return Err(Error::input(key, "impossible value", "at least 1", 0));
            }
        }
        if self.export.dims == Some(0) {
            return Err(Error::input("export.dims", "impossible value", "at least 1", 0));
        }
        Ok(())
    }

    /// The recipe as TOML, with every default written out.
    pub fn resolved(&self) -> String {
        toml::to_string(self).expect("a recipe is a TOML table")
    }

    /// SHA-256 of the resolved recipe.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.resolved()).into()
    }
}

/// What a TOML text says once `settings`, as for [`Recipe::load`], went into it; `place` names it in errors.
///
/// # Errors
/// Text that is no TOML or does not say a `T`, a setting that is none, an unknown key.
pub fn settled<T: DeserializeOwned>(place: &str, text: &str, settings: &[String]) -> Result<T> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| broken(place, text, &error))?;
    for setting in settings {
        apply(&mut table, setting)?;
    }
    let text = if settings.is_empty() { text.to_string() } else { table.to_string() };
    toml::from_str(&text).map_err(|error| {
        // Lines of the text that settings went into mean nothing to the user; its keys do.
        let key = error.span().filter(|_| !settings.is_empty()).and_then(|span| key_at(&text, span.start));
        let error = broken(place, &text, &error);
        match (key, error) {
            (Some(key), Error::Input { what, expected, found, .. }) => Error::input(key, what, expected, found),
            (_, error) => error,
        }
    })
}

/// Applies one `key=value`.
fn apply(table: &mut toml::Table, setting: &str) -> Result<()> {
    let wrong = |found: &str| Error::input("--set", "not a setting", "key=value, the key dotted", found);
    let (key, value) = setting.split_once('=').ok_or_else(|| wrong(setting))?;
    let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_string()));
    let mut parts: Vec<&str> = key.split('.').map(str::trim).collect();
    let last = parts.pop().filter(|part| !part.is_empty()).ok_or_else(|| wrong(setting))?;
    let mut place = table;
    for part in parts {
        let entry = place.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = entry
            .as_table_mut()
            .ok_or_else(|| Error::input("--set", format!("`{part}` in `{key}` is no table"), "a table's key", part))?;
    }
    place.insert(last.to_string(), value);
    Ok(())
}

/// toml's error as ours: `unknown field …, expected …` is split at its seam, and the place gets a line number.
fn broken(place: &str, text: &str, error: &toml::de::Error) -> Error {
    let span = error.span();
    let line = span.as_ref().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let place = match line {
        Some(line) => format!("{place}:{line}"),
        None => place.to_string(),
    };
    let found = span
        .and_then(|span| text.get(span))
        .map(|found| found.lines().next().unwrap_or("").trim().to_string())
        .filter(|found| !found.is_empty());
    let message = error.message().replace('\n', " ");
    match message.split_once(", expected ") {
        Some((what, expected)) => {
            let expected = match expected {
                "usize" | "u64" | "u16" | "u8" => "a whole number, 0 or more",
                other => other,
            };
            let found = found.unwrap_or_else(|| what.split('`').nth(1).unwrap_or("another").to_string());
            Error::input(place, what, expected, found)
        }
        None => Error::input(place, message, "a recipe", found.unwrap_or_else(|| "none".into())),
    }
}

/// The dotted key whose line in `text` holds the byte at `place`; none in the line of a table's name.
fn key_at(text: &str, place: usize) -> Option<String> {
    let start = text.get(..place)?.rfind('\n').map_or(0, |end| end + 1);
    let (key, _) = text.get(start..)?.lines().next()?.split_once('=')?;
    let table = text.get(..start)?.lines().rev().find(|line| line.starts_with('['));
    let table = table.map_or(String::new(), |line| format!("{}.", line.trim_matches(['[', ']'])));
    Some(format!("{table}{}", key.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(settings: &[&str]) -> Result<Recipe> {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_string()).collect();
        Recipe::load("digits-neural-eigenmap", &settings)
    }

    #[test]
    fn every_shipped_recipe_is_valid_and_survives_being_resolved() {
        for (name, text) in SHIPPED {
            let recipe = Recipe::parse(name, text, &[]).unwrap();
            assert_eq!(Recipe::parse(name, &recipe.resolved(), &[]).unwrap(), recipe, "{name}");
        }
    }

    #[test]
    fn settings_reach_every_table() {
        let recipe = digits(&["train.epochs=3", "seed = 7", "data.kind=mnist", "objective.penalty=fixed"]).unwrap();
        assert_eq!((recipe.train.epochs, recipe.seed), (3, 7));
        assert_eq!(recipe.data.kind, crate::data::DataKind::Mnist);
    }

    #[test]
    fn wrong_recipes_name_the_key_and_what_was_expected() {
        let message = |settings: &[&str]| digits(settings).unwrap_err().to_string();
        assert!(message(&["train.epoch=3"]).contains("unknown field `epoch`"), "{}", message(&["train.epoch=3"]));
        assert!(message(&["train.epochs=-3"]).contains("expected a whole number, 0 or more"));
        assert!(message(&["train.epochs=0"]).starts_with("train.epochs: impossible value"));
        assert!(message(&["train.batch"]).contains("not a setting"));
        let line = Recipe::parse("my.toml", "seed = 1\nsede = 2\n", &[]).unwrap_err().to_string();
        assert!(line.starts_with("my.toml:2: unknown field `sede`"), "{line}");
        assert!(Recipe::load("no-such-recipe", &[]).unwrap_err().to_string().contains("digits-neural-eigenmap"));
    }
}
