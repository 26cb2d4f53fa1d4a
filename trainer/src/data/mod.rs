//! Data sets: the raw sensor values to learn from, and labels where there are any.
//!
//! Values stay the bytes that a sensor would give, height x width x channels, from the file to the chip. Labels are
//! optional everywhere: nothing that learns may ask for them, only what evaluates.

pub mod cifar10;
pub mod digits;
pub mod dsads;
pub mod edges;
pub mod fsdd;
mod gzip;
pub mod idx;
pub mod known;
pub mod log_mel;
pub mod nodes;
pub mod npy;
pub mod omniglot;
pub mod part;
mod pickle;
pub mod planetoid;
pub mod source;
pub mod table;
mod text;
pub mod tu;
pub mod twenty_newsgroups;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use part::Classes;
pub use source::{DataKind, DataSource, Learn, NewsPair};

use crate::error::{Error, Result};
use crate::graph::{Graph, Survey};

/// Samples of one shape as raw sensor values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// Height, width, channels; none is zero.
    pub shape: [usize; 3],
    /// The values of all samples, one sample after the other, each in height, width, channel order.
    pub raw: Vec<u8>,
}

impl Samples {
    /// Values in one sample.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.raw.len() / self.size()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The raw values of sample `i`, which must be below [`len`](Self::len).
    pub fn sample(&self, i: usize) -> &[u8] {
        &self.raw[i * self.size()..(i + 1) * self.size()]
    }

    /// The samples of `range` as a network sees them without augmentation: `raw / raw_max`, in `[0, 1]`.
    pub fn scaled(&self, range: Range<usize>, raw_max: u8) -> Vec<f32> {
        let raw = &self.raw[range.start * self.size()..range.end * self.size()];
        raw.iter().map(|&value| f32::from(value) / f32::from(raw_max)).collect()
    }

    /// The raw values of every sample.
    pub fn rows(&self) -> Vec<&[u8]> {
        self.raw.chunks_exact(self.size()).collect()
    }

    /// How many samples differ from one another, counted up to `most`.
    pub fn different(&self, most: usize) -> usize {
        let mut seen = HashSet::new();
        let mut rows = self.raw.chunks_exact(self.size());
        while seen.len() < most
            && let Some(row) = rows.next()
        {
            seen.insert(row);
        }
        seen.len()
    }

    /// At most `count` samples, evenly spread.
    pub fn spread(&self, count: usize) -> Vec<&[u8]> {
        spread(self.len(), count).map(|index| self.sample(index)).collect()
    }
}

/// At most `count` of the numbers below `len`, evenly spread.
pub fn spread(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(len);
    (0..count).map(move |index| index * len / count)
}

/// One half of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The samples, at least one.
    pub samples: Samples,
    /// One class number a sample, where the set has labels.
    pub labels: Option<Vec<u16>>,
}

impl Split {
    /// The samples at these places, which must be below their number, in this order.
    pub fn select(&self, places: impl IntoIterator<Item = usize>) -> Self {
        let places: Vec<usize> = places.into_iter().collect();
        let raw = places.iter().flat_map(|&place| self.samples.sample(place)).copied().collect();
        let labels = self.labels.as_ref().map(|labels| places.iter().map(|&place| labels[place]).collect());
        Self { samples: Samples { shape: self.samples.shape, raw }, labels }
    }
}

/// Some samples of a split, and their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Their numbers in the split, ascending.
    pub places: Vec<usize>,
    /// A class for each.
    pub labels: Vec<u16>,
}

/// Where files do not say what is judged on, one sample in this many is.
const JUDGED: usize = 5;

/// What raw values are in the unit of what was measured: `offset + scale * raw`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// One raw step, above 0.
    pub scale: f32,
    /// Raw 0.
    pub offset: f32,
}

impl Unit {
    /// 0 to 1 at full scale.
    pub fn of_full_scale(raw_max: u8) -> Self {
        Self { scale: 1.0 / f32::from(raw_max), offset: 0.0 }
    }

    /// Raw 0 to 255 for what was measured from `low` to `high`; steps of 1 where these are the same, or as good as.
    pub fn between(low: f64, high: f64) -> Self {
        let scale = ((high - low) / 255.0) as f32;
        Self { scale: if scale.is_normal() { scale } else { 1.0 }, offset: low as f32 }
    }

    /// The raw value of a measured one; what lies outside is the nearest that there is.
    pub fn raw(self, measured: f64) -> u8 {
        // A cast of floats to bytes saturates.
        ((measured - f64::from(self.offset)) / f64::from(self.scale)).round() as u8
    }
}

/// A data set in memory: samples of one shape, split once and for all into train and test.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The recipe's `data.kind`; for the newsgroups, which pair.
    pub name: String,
    /// What is learnt from, unless `learn` says otherwise.
    pub train: Split,
    /// What is judged on.
    pub test: Split,
    /// The recipe's `data.learn`.
    pub learn: Learn,
    /// The recipe's `data.outliers`: classes of the test split alone.
    pub outliers: Vec<u16>,
    /// The raw value that means full scale to a network: 16 for the digits, 1 for values of 0 and 1 alone, else 255.
    pub raw_max: u8,
    /// What raw values are of what was measured.
    pub unit: Unit,
    /// Which samples are neighbours, where the set says it: its nodes are the samples of the training split, then those of the
    /// test split.
    pub graph: Option<Graph>,
    /// What was found while building it: isolated nodes, parts that nothing joins, edges given twice.
    pub survey: Option<Survey>,
    /// The samples of the training split whose labels probes may learn from and neighbours may vote with, where not all may: others'
    /// may be unknown.
    pub labelled: Option<Labelled>,
    /// The samples of the training split by whose labels a probe's settings are chosen, where the set names such.
    pub choosing: Option<Labelled>,
    /// SHA-256, in hexadecimal, of what was loaded (the part that `[data]` asks for): for train, then test, the
    /// shape as three little-endian `u32`, the number of samples as `u64`, the raw bytes, one byte that says whether
    /// labels follow, and the labels as `u16`; where there is a graph, then its steps as pairs of `u32`.
    pub sha256: String,
}

impl Dataset {
    /// Loads what the recipe's `[data]` table names.
    ///
    /// Known sets are looked for in `data_dir`, else in the folder that the environment variable `EIGENLET_DATA`
    /// names. The files of `kind = "idx"` are taken as they stand, relative to the current folder.
    ///
    /// # Errors
    /// A wrong `[data]` table, a missing or damaged file, labels that do not match their images in number, train and
    /// test images of different shapes.
    pub fn load(source: &DataSource, data_dir: Option<&Path>) -> Result<Self> {
        source.check()?;
        let data_dir = data_folder(data_dir);
        let data_dir = data_dir.as_deref();
        if let DataKind::Cora | DataKind::Citeseer = source.kind {
            let name = source.kind.name();
            let folder = known::planetoid(source.kind).folder(data_dir)?;
            return planetoid::load(&folder, name)?.dataset(source, name);
        }
        if source.kind == DataKind::Nodes {
            return edges::load(&source.node_files()?)?.dataset(source, source.kind.name());
        }
        let mut unit = None;
        let (train, test, raw_max) = match source.kind {
            DataKind::Cora | DataKind::Citeseer | DataKind::Nodes => unreachable!("loaded already"),
            DataKind::Digits => {
                let (train, test) = digits::splits()?;
                (train, test, digits::RAW_MAX)
            }
            DataKind::Idx => {
                let (train, test) = read_splits(
                    (source.train_images()?, source.train_labels.as_deref()),
                    (source.test_images()?, source.test_labels.as_deref()),
                )?;
                (train, test, u8::MAX)
            }
            DataKind::Npy => {
                let test = source.test_images.as_deref().map(|images| (images, source.test_labels.as_deref()));
                let (train, test, own) = table::splits((source.train_images()?, source.train_labels.as_deref()), test)?;
                unit = Some(own);
                bytes((train, test))
            }
            DataKind::Mnist => bytes(read_known(&known::MNIST, data_dir)?),
            DataKind::FashionMnist => bytes(read_known(&known::FASHION_MNIST, data_dir)?),
            DataKind::Omniglot => bytes(omniglot::splits(data_dir)?),
            DataKind::Cifar10 => bytes(cifar10::splits(data_dir)?),
            DataKind::Cifar10Part => bytes(cifar10::part_splits(data_dir)?),
            DataKind::DsadsTorso => bytes(dsads::splits(data_dir)?),
            DataKind::Fsdd => bytes(fsdd::splits(data_dir)?),
            DataKind::TwentyNewsgroups => bytes(twenty_newsgroups::splits(source.pair.unwrap_or_default(), data_dir)?),
        };
        let (train, test) = part::select(source, train, test)?;
        let name = match source.kind {
            DataKind::TwentyNewsgroups => format!("20ng-{}", source.pair.unwrap_or_default().name()),
            kind => kind.name().into(),
        };
        let sha256 = fingerprint([&train, &test], None);
        let (learn, outliers) = (source.learn, source.outliers.clone());
        let unit = unit.unwrap_or(Unit::of_full_scale(raw_max));
        Ok(Self {
            name,
            train,
            test,
            learn,
            outliers,
            raw_max,
            unit,
            graph: None,
            survey: None,
            labelled: None,
            choosing: None,
            sha256,
        })
    }

    /// The samples to learn from: the training split, or with `learn = "all"` the training split and then the test split.
    /// Labels are there if all of these samples have one, for measuring only.
    pub fn learning(&self) -> Cow<'_, Split> {
        match self.learn {
            Learn::Train => Cow::Borrowed(&self.train),
            Learn::All => Cow::Owned(joined(&self.train, &self.test)),
        }
    }

    /// Number of samples to learn from.
    pub fn learning_len(&self) -> usize {
        match self.learn {
            Learn::Train => self.train.samples.len(),
            Learn::All => self.train.samples.len() + self.test.samples.len(),
        }
    }
}

/// Where known sets lie: `data_dir`, else what the environment variable `EIGENLET_DATA` says.
fn data_folder(data_dir: Option<&Path>) -> Option<PathBuf> {
    let environment = || std::env::var_os("EIGENLET_DATA").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    data_dir.map(Path::to_path_buf).or_else(environment)
}

/// Splits whose full scale is that of a byte.
fn bytes((train, test): (Split, Split)) -> (Split, Split, u8) {
    (train, test, u8::MAX)
}

/// The samples of `first`, then those of `second`, which have the same shape.
fn joined(first: &Split, second: &Split) -> Split {
    let raw = [&first.samples.raw[..], &second.samples.raw].concat();
    let labels = first.labels.as_ref().zip(second.labels.as_ref());
    Split {
        samples: Samples { shape: first.samples.shape, raw },
        labels: labels.map(|(first, second)| [&first[..], second].concat()),
    }
}

fn read_known(set: &known::KnownSet<4>, data_dir: Option<&Path>) -> Result<(Split, Split)> {
    let [train_images, train_labels, test_images, test_labels] = set.find(data_dir)?;
    read_splits((&train_images, Some(&train_labels)), (&test_images, Some(&test_labels)))
}

/// An image file and, where there is one, its label file.
type Files<'a> = (&'a Path, Option<&'a Path>);

fn read_splits(train_files: Files, test_files: Files) -> Result<(Split, Split)> {
    let train = read_split(train_files)?;
    let test = read_split(test_files)?;
    if train.samples.shape != test.samples.shape {
        let shown = |[height, width, channels]: [usize; 3]| format!("{height}x{width}x{channels}");
        return Err(Error::input(
            test_files.0.display(),
            "train and test images differ in shape",
            format!("{} as in {}", shown(train.samples.shape), train_files.0.display()),
            shown(test.samples.shape),
        ));
    }
    Ok((train, test))
}

fn read_split((images, labels): Files) -> Result<Split> {
    let samples = idx::images(images)?;
    let Some(path) = labels else {
        return Ok(Split { samples, labels: None });
    };
    let labels = idx::labels(path)?;
    if labels.len() != samples.len() {
        return Err(Error::input(
            path.display(),
            "wrong number of labels",
            format!("{}, one for each image in {}", samples.len(), images.display()),
            labels.len(),
        ));
    }
    Ok(Split { samples, labels: Some(labels) })
}

fn fingerprint(splits: [&Split; 2], graph: Option<&Graph>) -> String {
    let mut hash = Sha256::new();
    for split in splits {
        for extent in split.samples.shape {
            hash.update((extent as u32).to_le_bytes());
        }
        hash.update((split.samples.len() as u64).to_le_bytes());
        hash.update(&split.samples.raw);
        hash.update([u8::from(split.labels.is_some())]);
        for label in split.labels.iter().flatten() {
            hash.update(label.to_le_bytes());
        }
    }
    if let Some(graph) = graph {
        (0..graph.steps()).flat_map(|step| graph.step(step)).for_each(|end| hash.update(end.to_le_bytes()));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Known sets for tests, where they are at hand.
#[cfg(test)]
pub(crate) mod testing {
    use super::{DataKind, DataSource, Dataset};

    /// The set in the folder that `EIGENLET_DATA` names; without that variable none, which is said on standard error.
    pub fn known_set(kind: DataKind) -> Option<Dataset> {
        if super::data_folder(None).is_none() {
            eprintln!("SKIPPED: nothing was tested on {}, for EIGENLET_DATA is not set", kind.name());
            return None;
        }
        Some(Dataset::load(&DataSource::new(kind), None).expect("EIGENLET_DATA names a folder with the known sets"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use idx::testing::write_idx;
    use std::path::PathBuf;

    /// Four 2x3 train images and two test images with labels, in a folder.
    fn small_set(folder: &Path) -> DataSource {
        let file = |name: &str| folder.join(name);
        write_idx(&file("train"), 0x08, &[4, 2, 3], &(0..24).collect::<Vec<u8>>());
        write_idx(&file("train-labels"), 0x08, &[4], &[3, 1, 4, 1]);
        write_idx(&file("test"), 0x08, &[2, 2, 3], &(100..112).collect::<Vec<u8>>());
        write_idx(&file("test-labels"), 0x08, &[2], &[5, 9]);
        DataSource {
            train_images: Some(file("train")),
            train_labels: Some(file("train-labels")),
            test_images: Some(file("test")),
            test_labels: Some(file("test-labels")),
            ..DataSource::new(DataKind::Idx)
        }
    }

    fn message(result: Result<Dataset>) -> String {
        let error = result.expect_err("the input is wrong");
        assert_eq!(error.exit_status(), 2);
        let message = error.to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    #[test]
    fn files_by_path_load_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let set = Dataset::load(&small_set(folder.path()), None).unwrap();
        assert_eq!(set.name, "idx");
        assert_eq!(set.raw_max, 255);
        assert_eq!(set.train.samples.shape, [2, 3, 1]);
        assert_eq!(set.train.samples.len(), 4);
        assert_eq!(set.train.samples.sample(1), [6, 7, 8, 9, 10, 11]);
        assert_eq!(set.train.labels.as_deref(), Some(&[3, 1, 4, 1][..]));
        assert_eq!(set.test.samples.scaled(0..1, 200)[0], 0.5);
        assert_eq!(set.test.samples.scaled(1..2, 200).len(), 6);
        assert_eq!(set.test.labels.as_deref(), Some(&[5, 9][..]));
    }

    #[test]
    fn labels_are_optional_and_counted_in_the_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let source = small_set(folder.path());
        let with = Dataset::load(&source, None).unwrap();
        let unlabelled = DataSource { train_labels: None, test_labels: None, ..source };
        let without = Dataset::load(&unlabelled, None).unwrap();
        assert_eq!(without.train.labels, None);
        assert_eq!(without.test.labels, None);
        assert_eq!(without.train.samples, with.train.samples);
        assert_ne!(without.sha256, with.sha256);
    }

    #[test]
    fn limits_keep_the_first_samples_and_their_labels() {
        let folder = tempfile::tempdir().unwrap();
        let source = small_set(folder.path());
        let whole = Dataset::load(&source, None).unwrap();
        let limited = DataSource { limit_train: Some(3), limit_test: Some(usize::MAX), ..source };
        let some = Dataset::load(&limited, None).unwrap();
        assert_eq!(some.train.samples.raw, whole.train.samples.raw[..18]);
        assert_eq!(some.train.labels.as_deref(), Some(&[3, 1, 4][..]));
        assert_eq!(some.test, whole.test);
        assert_ne!(some.sha256, whole.sha256);
    }

    #[test]
    fn all_samples_are_the_training_ones_and_then_the_test_ones() {
        let folder = tempfile::tempdir().unwrap();
        let source = small_set(folder.path());
        let held_out = Dataset::load(&source, None).unwrap();
        assert_eq!(*held_out.learning(), held_out.train);

        let source = DataSource { learn: Learn::All, limit_train: Some(3), limit_test: Some(1), ..source };
        let set = Dataset::load(&source, None).unwrap();
        let learning = set.learning();
        assert_eq!(learning.samples.raw, (0..18).chain(100..106).collect::<Vec<u8>>());
        assert_eq!(learning.labels.as_deref(), Some(&[3, 1, 4, 5][..]));
        assert_eq!((set.test.samples.len(), &set.test.labels), (1, &Some(vec![5])), "the test split stays");

        let half_labelled = DataSource { test_labels: None, ..source };
        assert_eq!(Dataset::load(&half_labelled, None).unwrap().learning().labels, None);
    }

    #[test]
    fn the_checksum_is_over_the_bytes_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let set = Dataset::load(&small_set(folder.path()), None).unwrap();
        let mut bytes = Vec::new();
        bytes.extend([2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(0..24);
        bytes.extend([1, 3, 0, 1, 0, 4, 0, 1, 0]);
        bytes.extend([2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(100..112);
        bytes.extend([1, 5, 0, 9, 0]);
        let expected: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(set.sha256, expected);
    }

    #[test]
    fn label_count_must_match_the_images() {
        let folder = tempfile::tempdir().unwrap();
        let source = small_set(folder.path());
        write_idx(source.train_labels.as_ref().unwrap(), 0x08, &[3], &[3, 1, 4]);
        let message = message(Dataset::load(&source, None));
        assert!(message.contains("train-labels: wrong number of labels"), "{message}");
        assert!(message.ends_with("found 3") && message.contains("expected 4"), "{message}");
    }

    #[test]
    fn train_and_test_must_have_one_shape() {
        let folder = tempfile::tempdir().unwrap();
        let source = small_set(folder.path());
        write_idx(source.test_images.as_ref().unwrap(), 0x08, &[2, 3, 2], &[0; 12]);
        let message = message(Dataset::load(&source, None));
        assert!(message.contains("expected 2x3x1") && message.contains("found 3x2x1"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let source = DataSource {
            train_images: Some(PathBuf::from("no/such/train")),
            test_images: Some(PathBuf::from("no/such/test")),
            ..DataSource::new(DataKind::Idx)
        };
        assert!(message(Dataset::load(&source, None)).starts_with("no/such/train: cannot read"));
    }

    /// Copies the files of `source` to where a known set has them.
    fn as_known(source: &DataSource, folder: &Path, names: [&str; 4]) {
        std::fs::create_dir(folder).unwrap();
        let DataSource { train_images, train_labels, test_images, test_labels, .. } = source;
        for (from, to) in [train_images, train_labels, test_images, test_labels].into_iter().zip(names) {
            std::fs::copy(from.as_ref().unwrap(), folder.join(to)).unwrap();
        }
    }

    #[test]
    fn a_known_set_loads_from_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let source = small_set(folder.path());
        let names =
            ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
        as_known(&source, &folder.path().join("mnist"), names);
        let set = Dataset::load(&DataSource::new(DataKind::Mnist), Some(folder.path())).unwrap();
        let by_path = Dataset::load(&source, None).unwrap();
        assert_eq!(set.name, "mnist");
        assert_eq!((set.train, set.test), (by_path.train, by_path.test));
    }
}
