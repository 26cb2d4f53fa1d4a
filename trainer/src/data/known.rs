//! Known data sets: which files they consist of, and where those are.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A set that is found in the data folder.
#[derive(Debug)]
pub struct KnownSet {
    /// Its folder there, which is also the recipe's `data.kind`.
    folder: &'static str,
    /// Train images, train labels, test images, test labels.
    files: [&'static str; 4],
    /// Where a person finds the files.
    origin: &'static str,
}

/// The files of MNIST and of the sets that took over its layout.
const MNIST_FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];

/// LeCun, Cortes, Burges: 60,000 and 10,000 handwritten digits, 28x28.
pub const MNIST: KnownSet = KnownSet {
    folder: "mnist",
    files: MNIST_FILES,
    origin: "they are at https://storage.googleapis.com/cvdf-datasets/mnist/",
};

/// Xiao, Rasul, Vollgraf, 2017: 60,000 and 10,000 pieces of clothing, 28x28.
pub const FASHION_MNIST: KnownSet = KnownSet {
    folder: "fashion-mnist",
    files: MNIST_FILES,
    origin: "they are in data/fashion of https://github.com/zalandoresearch/fashion-mnist",
};

/// Lake, Salakhutdinov, Tenenbaum, 2015: 20 drawings of each of 964 and 659 characters. The set has no IDX files of its
/// own; these are its pictures averaged down to 28x28, ink 255, and for each the character, alphabet and drawer.
pub const OMNIGLOT: KnownSet = KnownSet {
    folder: "omniglot",
    files: [
        "omniglot28-background-images-idx3-ubyte.gz",
        "omniglot28-background-labels-idx2-short.gz",
        "omniglot28-evaluation-images-idx3-ubyte.gz",
        "omniglot28-evaluation-labels-idx2-short.gz",
    ],
    origin: "they are made from https://github.com/brendenlake/omniglot by averaging down to 28x28",
};

impl KnownSet {
    /// The paths of train images, train labels, test images and test labels.
    ///
    /// Each is looked for in the set's folder in `data_dir`, with `.gz` and then without.
    ///
    /// # Errors
    /// No data folder was given, or a file is missing: one error that names every path looked for and where the files
    /// can be had.
    pub fn find(&self, data_dir: Option<&Path>) -> Result<[PathBuf; 4]> {
        let Some(data_dir) = data_dir else {
            return Err(Error::input(
                "data folder",
                format!("data.kind = \"{}\" needs files", self.folder),
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
            format!("files of data.kind = \"{}\" are missing", self.folder),
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
