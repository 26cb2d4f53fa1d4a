//! The recipe's `[data]` table: which data set, from which files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::edges::GraphFiles;
use super::part::Classes;
use crate::error::{Error, Result};

/// Where a data set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataKind {
    /// The 8x8 digits inside the program.
    Digits,
    /// MNIST, found in the data folder.
    Mnist,
    /// Fashion-MNIST, found in the data folder.
    FashionMnist,
    /// Omniglot at 28x28, found in the data folder: see [`omniglot`](super::omniglot).
    Omniglot,
    /// CIFAR-10, found in the data folder: see [`cifar10`](super::cifar10).
    Cifar10,
    /// A part of CIFAR-10 for small experiments, found in the data folder: see [`cifar10`](super::cifar10).
    #[serde(rename = "cifar10-4k")]
    Cifar10Part,
    /// Daily and Sports Activities, the sensors on the torso, found in the data folder: see [`dsads`](super::dsads).
    DsadsTorso,
    /// Spoken digits as log-mel features, found in the data folder: see [`fsdd`](super::fsdd).
    Fsdd,
    /// Two groups of the 20 Newsgroups as tf-idf features, found in the data folder: see
    /// [`twenty_newsgroups`](super::twenty_newsgroups).
    #[serde(rename = "20ng-pairs")]
    TwentyNewsgroups,
    /// Cora, a graph of papers that cite each other, found in the data folder: see [`planetoid`](super::planetoid).
    Cora,
    /// Citeseer, likewise.
    Citeseer,
    /// Nodes of a graph with features, from files named in the table: see [`edges`](super::edges).
    Nodes,
    /// IDX files, plain or gzipped, named in the table.
    Idx,
    /// `.npy` files of numbers, named in the table: see [`table`](super::table).
    Npy,
}

impl DataKind {
    /// The name as a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Omniglot => "omniglot",
            Self::Cifar10 => "cifar10",
            Self::Cifar10Part => "cifar10-4k",
            Self::DsadsTorso => "dsads-torso",
            Self::Fsdd => "fsdd",
            Self::TwentyNewsgroups => "20ng-pairs",
            Self::Cora => "cora",
            Self::Citeseer => "citeseer",
            Self::Nodes => "nodes",
            Self::Idx => "idx",
            Self::Npy => "npy",
        }
    }
}

/// Which two of the 20 Newsgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewsPair {
    /// Baseball and hockey.
    #[default]
    Basehock,
    /// PC and Macintosh hardware.
    Pcmac,
    /// Religion and atheism.
    Relathe,
}

impl NewsPair {
    /// The name as a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Basehock => "basehock",
            Self::Pcmac => "pcmac",
            Self::Relathe => "relathe",
        }
    }
}

/// Which samples are learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learn {
    /// Those of the training split.
    #[default]
    Train,
    /// Those of both splits, without their labels: what is learnt is judged on samples that it has seen, as clusterings
    /// are (the transductive protocol of Hu et al., IMSAT, 2017). Results are not those of held-out data.
    All,
}

/// The recipe's `[data]` table.
///
/// One flat table, so that any key of it can be set from the command line; [`check`](Self::check) rejects keys that do
/// not belong to the kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Which set.
    pub kind: DataKind,
    /// Which samples are learnt from.
    #[serde(default)]
    pub learn: Learn,
    /// `20ng-pairs` only, optional: which pair; `basehock` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<NewsPair>,
    /// `idx` and `npy` only: samples to learn from; for `idx`, `u8` images `[n, height, width]` or `[n, height, width, channels]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_images: Option<PathBuf>,
    /// `idx` and `npy` only, optional: their classes, `[n]`; for `idx` also `[n, columns]` with the class in the first column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_labels: Option<PathBuf>,
    /// `idx` and `npy` only: samples to be judged on, of the same shape; for `npy` optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_images: Option<PathBuf>,
    /// `idx` and `npy` only, optional: their classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// `nodes` only: the edges, two node numbers a line or `.npy` `[n, 2]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<PathBuf>,
    /// `nodes` only: the nodes' features, a row for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
    /// `nodes` only, optional: the nodes' classes, -1 where one is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Only these classes, in both splits: a list, or a number, which means those below it. Needs labels. Which samples
    /// there are is then chosen by label, what is learnt from them is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// No more than this many samples of each class, the first ones, in each split; at least 1. Needs labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<usize>,
    /// Classes that are judged on but never learned from, so that what is found unlike the rest can be compared with what is.
    /// Needs labels, and `learn = "train"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outliers: Vec<u16>,
    /// Learn from no more than this many samples, the first ones; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_train: Option<usize>,
    /// Judge on no more than this many samples, the first ones; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_test: Option<usize>,
}

impl DataSource {
    /// The whole of a set that needs no files.
    pub fn new(kind: DataKind) -> Self {
        Self {
            kind,
            learn: Learn::Train,
            pair: None,
            train_images: None,
            train_labels: None,
            test_images: None,
            test_labels: None,
            edges: None,
            features: None,
            labels: None,
            classes: None,
            per_class: None,
            outliers: Vec::new(),
            limit_train: None,
            limit_test: None,
        }
    }

    /// Whether the keys fit the kind.
    ///
    /// # Errors
    /// An image file that `idx` needs is not named; a key belongs to another kind; a limit is 0; no class is asked for; outliers would be learned from.
    pub fn check(&self) -> Result<()> {
        match self.kind {
            DataKind::Idx => {
                self.train_images()?;
                self.test_images()?;
            }
            DataKind::Npy => {
                self.train_images()?;
                if let (None, Some(labels)) = (&self.test_images, &self.test_labels) {
                    let (what, expected) = ("labels of nothing", "data.test_images, too");
                    return Err(Error::input("data.test_labels", what, expected, labels.display()));
                }
            }
            DataKind::Nodes => {
                self.node_files()?;
            }
            _ => {}
        }
        self.check_files()?;
        if let (Some(pair), false) = (self.pair, self.kind == DataKind::TwentyNewsgroups) {
            return Err(self.foreign_key("pair", DataKind::TwentyNewsgroups, pair.name()));
        }
        if self.classes.as_ref().is_some_and(Classes::is_empty) {
            return Err(Error::input("data.classes", "no sample would be left", "at least one class", "none"));
        }
        if self.learn == Learn::All && !self.outliers.is_empty() {
            let what = "outliers are of classes that were not learned from";
            return Err(Error::input("data.outliers", what, "learn = \"train\", or no outliers", "learn = \"all\""));
        }
        for (key, limit) in
            [("per_class", self.per_class), ("limit_train", self.limit_train), ("limit_test", self.limit_test)]
        {
            if limit == Some(0) {
                return Err(Error::input(format!("data.{key}"), "no sample would be left", "at least 1", 0));
            }
        }
        Ok(())
    }

    pub(super) fn train_images(&self) -> Result<&Path> {
        required("data.train_images", &self.train_images)
    }

    pub(super) fn test_images(&self) -> Result<&Path> {
        required("data.test_images", &self.test_images)
    }

    pub(super) fn node_files(&self) -> Result<GraphFiles> {
        Ok(GraphFiles {
            edges: required("data.edges", &self.edges)?.into(),
            features: Some(required("data.features", &self.features)?.into()),
            labels: self.labels.clone(),
            keep_self_loops: false,
        })
    }

    /// No file is named that the kind does not read.
    fn check_files(&self) -> Result<()> {
        let is_listed = matches!(self.kind, DataKind::Idx | DataKind::Npy);
        for (key, path, kind, is_own) in [
            ("train_images", &self.train_images, DataKind::Idx, is_listed),
            ("train_labels", &self.train_labels, DataKind::Idx, is_listed),
            ("test_images", &self.test_images, DataKind::Idx, is_listed),
            ("test_labels", &self.test_labels, DataKind::Idx, is_listed),
            ("edges", &self.edges, DataKind::Nodes, self.kind == DataKind::Nodes),
            ("features", &self.features, DataKind::Nodes, self.kind == DataKind::Nodes),
            ("labels", &self.labels, DataKind::Nodes, self.kind == DataKind::Nodes),
        ] {
            if let (Some(path), false) = (path, is_own) {
                return Err(self.foreign_key(key, kind, path.display()));
            }
        }
        Ok(())
    }

    fn foreign_key(&self, key: &str, kind: DataKind, found: impl ToString) -> Error {
        Error::input(
            format!("data.{key}"),
            format!("this key belongs to data.kind = \"{}\"", kind.name()),
            format!("no such key with data.kind = \"{}\"", self.kind.name()),
            found,
        )
    }
}

fn required<'a>(key: &str, path: &'a Option<PathBuf>) -> Result<&'a Path> {
    path.as_deref().ok_or_else(|| Error::input(key, "this data.kind needs the key", "the path of a file", "nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(table: &str) -> DataSource {
        toml::from_str(table).unwrap()
    }

    fn message(table: &str) -> String {
        parse(table).check().expect_err("the table is wrong").to_string()
    }

    #[test]
    fn every_kind_is_written_as_it_is_named() {
        for kind in [
            DataKind::Digits,
            DataKind::Mnist,
            DataKind::FashionMnist,
            DataKind::Omniglot,
            DataKind::Cifar10,
            DataKind::Cifar10Part,
            DataKind::DsadsTorso,
            DataKind::Fsdd,
            DataKind::TwentyNewsgroups,
            DataKind::Cora,
            DataKind::Citeseer,
            DataKind::Nodes,
            DataKind::Idx,
            DataKind::Npy,
        ] {
            assert_eq!(parse(&format!("kind = \"{}\"", kind.name())).kind, kind);
        }
    }

    #[test]
    fn a_table_survives_writing_and_reading() {
        let table = "kind = \"idx\"\nlearn = \"all\"\ntrain_images = \"a\"\ntest_images = \"b\"\nlimit_train = 5\n";
        let source = parse(table);
        source.check().unwrap();
        assert_eq!(toml::to_string(&source).unwrap(), table);
    }

    #[test]
    fn unknown_keys_and_kinds_are_refused() {
        assert!(toml::from_str::<DataSource>("kind = \"digits\"\nlimit = 3").is_err());
        assert!(toml::from_str::<DataSource>("kind = \"digits\"\nlearn = \"test\"").is_err());
        assert!(toml::from_str::<DataSource>("kind = \"svhn\"").is_err());
        assert!(toml::from_str::<DataSource>("kind = \"digits\"\nlimit_train = -3").is_err());
        assert!(toml::from_str::<DataSource>("limit_train = 3").is_err());
    }

    #[test]
    fn keys_of_another_kind_are_refused_by_name() {
        let message = message("kind = \"mnist\"\ntest_labels = \"x\"");
        assert!(message.starts_with("data.test_labels: "), "{message}");
        assert!(message.contains("\"mnist\""), "{message}");
        let message = self::message("kind = \"mnist\"\npair = \"pcmac\"");
        assert!(message.starts_with("data.pair: this key belongs to data.kind = \"20ng-pairs\""), "{message}");
        assert!(message.ends_with("found pcmac"), "{message}");
        assert!(
            self::message("kind = \"digits\"\nedges = \"x\"")
                .starts_with("data.edges: this key belongs to data.kind = \"nodes\"")
        );
        assert!(
            self::message("kind = \"nodes\"\nedges = \"x\"").starts_with("data.features: this data.kind needs the key")
        );
    }

    #[test]
    fn idx_without_images_names_the_missing_key() {
        assert!(message("kind = \"idx\"").starts_with("data.train_images: "));
        let message = message("kind = \"idx\"\ntrain_images = \"x\"");
        assert!(message.starts_with("data.test_images: "), "{message}");
    }

    #[test]
    fn outliers_that_would_be_learned_from_are_refused() {
        assert!(message("kind = \"digits\"\nlearn = \"all\"\noutliers = [3]").starts_with("data.outliers: "));
    }

    #[test]
    fn a_limit_of_zero_is_refused() {
        assert!(message("kind = \"digits\"\nlimit_test = 0").starts_with("data.limit_test: "));
        assert!(message("kind = \"digits\"\nper_class = 0").starts_with("data.per_class: "));
        assert!(message("kind = \"digits\"\nclasses = 0").starts_with("data.classes: "));
        assert!(message("kind = \"digits\"\nclasses = []").starts_with("data.classes: "));
    }
}
