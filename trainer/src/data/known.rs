//! Known data sets: which files they consist of, and where those are.

use std::path::{Path, PathBuf};

use super::source::{DataKind, NewsPair};
use crate::error::{Error, Result};

/// A set that is found in the data folder.
#[derive(Debug)]
pub struct KnownSet<const FILES: usize> {
    /// The recipe's `data.kind`.
    kind: &'static str,
    /// Its folder there.
    folder: &'static str,
    /// Its files in that folder.
    files: [&'static str; FILES],
    /// Where a person finds the files.
    origin: &'static str,
}

/// The files of MNIST and of the sets that took over its layout: train images, train labels, test images, test labels.
const MNIST_FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];

/// LeCun, Cortes, Burges: 60,000 and 10,000 handwritten digits, 28x28.
pub const MNIST: KnownSet<4> = KnownSet {
    kind: "mnist",
    folder: "mnist",
    files: MNIST_FILES,
    origin: "they are at https://storage.googleapis.com/cvdf-datasets/mnist/",
};

/// Xiao, Rasul, Vollgraf, 2017: 60,000 and 10,000 pieces of clothing, 28x28.
pub const FASHION_MNIST: KnownSet<4> = KnownSet {
    kind: "fashion-mnist",
    folder: "fashion-mnist",
    files: MNIST_FILES,
    origin: "they are in data/fashion of https://github.com/zalandoresearch/fashion-mnist",
};

/// Lake, Salakhutdinov, Tenenbaum, 2015: 20 drawings of each of 964 and 659 characters. The set has no IDX files of its
/// own; these are its pictures averaged down to 28x28, ink 255, and for each the character, alphabet and drawer.
pub const OMNIGLOT: KnownSet<4> = KnownSet {
    kind: "omniglot",
    folder: "omniglot",
    files: [
        "omniglot28-background-images-idx3-ubyte.gz",
        "omniglot28-background-labels-idx2-short.gz",
        "omniglot28-evaluation-images-idx3-ubyte.gz",
        "omniglot28-evaluation-labels-idx2-short.gz",
    ],
    origin: "they are made from https://github.com/brendenlake/omniglot by averaging down to 28x28",
};

/// Krizhevsky, "Learning multiple layers of features from tiny images", 2009: 50,000 and 10,000 colour pictures, 32x32.
pub const CIFAR10: KnownSet<6> = KnownSet {
    kind: "cifar10",
    folder: "cifar-10-batches-bin",
    files: [
        "data_batch_1.bin.gz",
        "data_batch_2.bin.gz",
        "data_batch_3.bin.gz",
        "data_batch_4.bin.gz",
        "data_batch_5.bin.gz",
        "test_batch.bin.gz",
    ],
    origin: "they are the binary version at https://www.cs.toronto.edu/~kriz/cifar.html",
};

/// A part of CIFAR-10 in the same format: the first 4,000 pictures of `data_batch_1`, and the 200 test pictures that MLPerf
/// Tiny measures accuracy on.
pub const CIFAR10_4K: KnownSet<2> = KnownSet {
    kind: "cifar10-4k",
    folder: "cifar10-lossless-4k",
    files: ["data_batch_1_first4000.bin.gz", "test_mlperftiny_ic01_200.bin.gz"],
    origin: "they are cut from https://www.cs.toronto.edu/~kriz/cifar.html and https://github.com/mlcommons/tiny",
};

/// Altun, Barshan, Tuncel, 2010, "Daily and Sports Activities": the accelerometer and the gyroscope on the torso of 8
/// people at 19 activities, 25 values a second, as 16-bit integers.
pub const DSADS_TORSO: KnownSet<2> = KnownSet {
    kind: "dsads-torso",
    folder: "dsads-torso",
    files: ["dsads-torso-accgyr-idx3-short.gz", "dsads-labels-idx2-short.gz"],
    origin: "they are made from \"Daily and Sports Activities\" of https://archive.ics.uci.edu as the documentation of \
             `data::dsads` says",
};

/// Jackson and others, "Free Spoken Digit Dataset", 2016 on: 3,000 recordings of spoken digits.
pub const FSDD: KnownSet<1> = KnownSet {
    kind: "fsdd",
    folder: "fsdd",
    files: ["recordings.tar.gz"],
    origin: "it is the folder recordings of https://github.com/Jakobovski/free-spoken-digit-dataset, packed with tar",
};

/// Lang, 1995, "20 Newsgroups", two groups of them as bags of words.
pub const fn twenty_newsgroups(pair: NewsPair) -> KnownSet<1> {
    KnownSet {
        kind: "20ng-pairs",
        folder: "20ng-pairs",
        files: [match pair {
            NewsPair::Basehock => "BASEHOCK.svmlight.gz",
            NewsPair::Pcmac => "PCMAC.svmlight.gz",
            NewsPair::Relathe => "RELATHE.svmlight.gz",
        }],
        origin: "they are made from skfeature/data of https://github.com/jundongl/scikit-feature as the documentation of \
                 `data::twenty_newsgroups` says",
    }
}

/// Yang, Cohen, Salakhutdinov, 2016, the graph sets of "Revisiting semi-supervised learning with graph embeddings".
pub const fn planetoid(kind: DataKind) -> KnownSet<8> {
    KnownSet {
        kind: if let DataKind::Cora = kind { "cora" } else { "citeseer" },
        folder: "planetoid",
        files: match kind {
            DataKind::Cora => [
                "original/ind.cora.x",
                "original/ind.cora.y",
                "original/ind.cora.tx",
                "original/ind.cora.ty",
                "original/ind.cora.allx",
                "original/ind.cora.ally",
                "original/ind.cora.graph",
                "original/ind.cora.test.index",
            ],
            _ => [
                "original/ind.citeseer.x",
                "original/ind.citeseer.y",
                "original/ind.citeseer.tx",
                "original/ind.citeseer.ty",
                "original/ind.citeseer.allx",
                "original/ind.citeseer.ally",
                "original/ind.citeseer.graph",
                "original/ind.citeseer.test.index",
            ],
        },
        origin: "they are in data of https://github.com/kimiyoung/planetoid",
    }
}

impl KnownSet<8> {
    /// The folder of a Planetoid set, in whichever layout it is there.
    ///
    /// # Errors
    /// As for [`find`](Self::find), where neither layout is there.
    pub fn folder(&self, data_dir: Option<&Path>) -> Result<PathBuf> {
        let text = format!("text/{}.nodes.txt", self.kind);
        let folder = data_dir.map(|data_dir| data_dir.join(self.folder));
        match folder {
            Some(folder) if folder.join(&text).is_file() || folder.join(format!("{text}.gz")).is_file() => Ok(folder),
            _ => {
                let found = self.find(data_dir)?;
                let layout = found[0].parent().and_then(Path::parent).expect("a file in a folder in a folder");
                Ok(layout.to_path_buf())
            }
        }
    }
}

impl<const FILES: usize> KnownSet<FILES> {
    /// The paths of the set's files, in the order in which it names them.
    ///
    /// Each is looked for in the set's folder in `data_dir`, with `.gz` and then without.
    ///
    /// # Errors
    /// No data folder was given, or a file is missing: one error that names every path looked for and where the files
    /// can be had.
    pub fn find(&self, data_dir: Option<&Path>) -> Result<[PathBuf; FILES]> {
        let Some(data_dir) = data_dir else {
            return Err(Error::input(
                "data folder",
                format!("data.kind = \"{}\" needs files", self.kind),
                format!(
                    "--data-dir DIR, or DIR in EIGENLET_DATA, with {} in DIR/{} ({})",
                    self.files.join(", "),
                    self.folder,
                    self.origin
                ),
                "neither",
            ));
        };
        let folder = data_dir.join(self.folder);
        let mut missing = Vec::new();
        let paths = self.files.map(|name| {
            let zipped = folder.join(name);
            let plain = folder.join(name.trim_end_matches(".gz"));
            if zipped.is_file() {
                zipped
            } else {
                if !plain.is_file() {
                    missing.push(name);
                }
                plain
            }
        });
        if missing.is_empty() { Ok(paths) } else { Err(self.missing(&folder, &missing)) }
    }

    fn missing(&self, folder: &Path, missing: &[&str]) -> Error {
        let looked_for = self.files.map(|name| folder.join(name).display().to_string());
        let found = if !folder.is_dir() {
            "no such folder".to_string()
        } else if missing.len() == self.files.len() {
            "none of them".to_string()
        } else {
            format!("no {}", missing.join(", no "))
        };
        Error::input(
            folder.display(),
            format!("files of data.kind = \"{}\" are missing", self.kind),
            format!(
                "{} (each with or without .gz; {}; put them there, or pass --data-dir or set EIGENLET_DATA)",
                looked_for.join(", "),
                self.origin
            ),
            found,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzipped_files_are_preferred_to_plain_ones() {
        let folder = tempfile::tempdir().unwrap();
        let set = folder.path().join("fashion-mnist");
        std::fs::create_dir(&set).unwrap();
        for name in MNIST_FILES {
            std::fs::write(set.join(name.trim_end_matches(".gz")), "").unwrap();
        }
        std::fs::write(set.join(MNIST_FILES[2]), "").unwrap();
        let [train, _, test, _] = FASHION_MNIST.find(Some(folder.path())).unwrap();
        assert_eq!(train, set.join("train-images-idx3-ubyte"));
        assert_eq!(test, set.join("t10k-images-idx3-ubyte.gz"));
    }

    #[test]
    fn a_missing_folder_names_every_file_looked_for_and_their_origin() {
        let folder = tempfile::tempdir().unwrap();
        for set in [MNIST, FASHION_MNIST, OMNIGLOT] {
            let message = set.find(Some(folder.path())).unwrap_err().to_string();
            for name in set.files {
                let path = folder.path().join(set.folder).join(name).display().to_string();
                assert!(message.contains(&path), "{message}");
            }
            assert!(message.contains("https://") && message.contains("--data-dir"), "{message}");
            assert!(message.ends_with("found no such folder"), "{message}");
        }
    }

    #[test]
    fn only_the_missing_file_is_reported_missing() {
        let folder = tempfile::tempdir().unwrap();
        let set = folder.path().join("omniglot");
        std::fs::create_dir(&set).unwrap();
        for name in &OMNIGLOT.files[..3] {
            std::fs::write(set.join(name), "").unwrap();
        }
        let message = OMNIGLOT.find(Some(folder.path())).unwrap_err().to_string();
        assert!(message.ends_with(&format!("found no {}", OMNIGLOT.files[3])), "{message}");
    }

    #[test]
    fn without_a_data_folder_both_ways_to_name_one_are_told() {
        let message = MNIST.find(None).unwrap_err().to_string();
        assert!(message.contains("--data-dir") && message.contains("EIGENLET_DATA"), "{message}");
        assert!(message.contains(MNIST_FILES[0]), "{message}");
    }
}
