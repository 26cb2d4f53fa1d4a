//! CIFAR-10 in its binary format: colour pictures of 32x32, whose raw values are their bytes.
//!
//! A record is one byte of label and 3,072 bytes of picture, the red plane first, then green, then blue; pictures become
//! height x width x channels. Two sets come in it:
//!
//! * `cifar10`, in `cifar-10-batches-bin`, the whole: 50,000 pictures to learn from, 10,000 to be judged on;
//! * `cifar10-4k`, in `cifar10-lossless-4k`, a part for small experiments: 4,000 pictures of the official training
//!   split and 200 of the official test split. The first 3,200 are learnt from; 200 judged on would be too few to tell
//!   encoders apart, so the other 800 and the 200 are.

use std::path::Path;

use super::known::{CIFAR10, CIFAR10_4K};
use super::{Samples, Split, gzip};
use crate::error::{Error, Result};

const SHAPE: [usize; 3] = [32, 32, 3];
const PLANE: usize = 32 * 32;
const RECORD: usize = 1 + 3 * PLANE;
const CLASSES: u8 = 10;
/// A file of the whole set holds this many records, and none holds more.
const MOST_RECORDS: usize = 10_000;
/// Of the small part's first file, the records that are learnt from.
const LEARNT_OF_4K: usize = 3200;

/// The pictures to learn from and the pictures to be judged on.
///
/// # Errors
/// No data folder, a missing file, a file that is not whole records, a label that is none of ten.
pub fn splits(data_dir: Option<&Path>) -> Result<(Split, Split)> {
    let files = CIFAR10.find(data_dir)?;
    let [.., test] = &files;
    let train = files[..5].iter().map(|file| records(file)).collect::<Result<Vec<_>>>()?;
    Ok((split(&train), split(&[records(test)?])))
}

/// The same of the small part.
///
/// # Errors
/// As for [`splits`].
pub fn part_splits(data_dir: Option<&Path>) -> Result<(Split, Split)> {
    let [train, test] = CIFAR10_4K.find(data_dir)?;
    let mut train = records(&train)?;
    let rest = train.split_off(LEARNT_OF_4K.min((4 * train.len()).div_ceil(5)));
    Ok((split(&[train]), split(&[rest, records(&test)?])))
}

type Record = [u8; RECORD];

fn records(path: &Path) -> Result<Vec<Record>> {
    let bytes = gzip::read(path, MOST_RECORDS * RECORD)?;
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if records.is_empty() || !rest.is_empty() {
        let expected = format!("records of {RECORD} bytes, at least one");
        return Err(Error::input(path.display(), "not a file of CIFAR-10", expected, format!("{} bytes", bytes.len())));
    }
    for (i, record) in records.iter().enumerate() {
        if record[0] >= CLASSES {
            let expected = format!("below {CLASSES}");
            return Err(Error::input(path.display(), format!("label {i} is no class"), expected, record[0]));
        }
    }
    Ok(records.to_vec())
}

fn split(files: &[Vec<Record>]) -> Split {
    let records = || files.iter().flatten();
    let raw = records().flat_map(|record| {
        let (red, rest) = record[1..].split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        red.iter().zip(green).zip(blue).flat_map(|((&red, &green), &blue)| [red, green, blue])
    });
    Split {
        samples: Samples { shape: SHAPE, raw: raw.collect() },
        labels: Some(records().map(|record| record[0].into()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gzip::testing::gzip;
    use super::super::testing::known_set;
    use super::*;
    use crate::data::DataKind;

    /// A picture of one colour, but for the last pixel.
    fn record(label: u8, colour: [u8; 3]) -> Vec<u8> {
        let mut bytes = vec![label];
        for value in colour {
            bytes.extend([value; PLANE - 1]);
            bytes.push(value + 1);
        }
        bytes
    }

    fn small_part(folder: &Path) {
        let folder = folder.join("cifar10-lossless-4k");
        std::fs::create_dir(&folder).unwrap();
        let train: Vec<u8> = (0..5).flat_map(|i| record(i, [10 * i, 100, 200])).collect();
        std::fs::write(folder.join("data_batch_1_first4000.bin.gz"), gzip(&train)).unwrap();
        std::fs::write(folder.join("test_mlperftiny_ic01_200.bin"), record(9, [1, 2, 3])).unwrap();
    }

    #[test]
    fn planes_become_pixels_and_the_small_part_is_split_again() {
        let folder = tempfile::tempdir().unwrap();
        small_part(folder.path());
        let (train, test) = part_splits(Some(folder.path())).unwrap();
        assert_eq!(train.labels.as_deref(), Some(&[0, 1, 2, 3][..]));
        assert_eq!(test.labels.as_deref(), Some(&[4, 9][..]));
        assert_eq!(train.samples.shape, [32, 32, 3]);
        assert_eq!(train.samples.sample(2)[..6], [20, 100, 200, 20, 100, 200]);
        assert_eq!(train.samples.sample(2)[3069..], [21, 101, 201]);
        assert_eq!(test.samples.sample(1)[3069..], [2, 3, 4]);
    }

    #[test]
    fn all_files_of_the_whole_set_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("cifar-10-batches-bin");
        std::fs::create_dir(&whole).unwrap();
        let message = splits(Some(folder.path())).unwrap_err().to_string();
        assert!(message.contains("files of data.kind = \"cifar10\" are missing"), "{message}");
        for i in 1..6 {
            std::fs::write(whole.join(format!("data_batch_{i}.bin")), record(i, [i; 3])).unwrap();
        }
        std::fs::write(whole.join("test_batch.bin"), record(0, [0; 3])).unwrap();
        let (train, test) = splits(Some(folder.path())).unwrap();
        assert_eq!(train.labels.as_deref(), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(test.samples.len(), 1);
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        small_part(folder.path());
        let path = folder.path().join("cifar10-lossless-4k/test_mlperftiny_ic01_200.bin");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            part_splits(Some(folder.path())).unwrap_err().to_string()
        };
        assert!(refused(&[0; RECORD - 1]).ends_with("expected records of 3073 bytes, at least one, found 3072 bytes"));
        assert!(refused(&[]).ends_with("found 0 bytes"));
        assert!(refused(&[10; RECORD]).ends_with("label 0 is no class: expected below 10, found 10"));
    }

    #[test]
    fn the_real_set_is_what_its_readme_says() {
        let Some(set) = known_set(DataKind::Cifar10Part) else { return };
        // The well-known start of data_batch_1.
        assert_eq!(set.train.labels.unwrap()[..10], [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
        let reds: Vec<u8> = set.train.samples.sample(0).iter().step_by(3).take(6).copied().collect();
        assert_eq!(reds, [59, 43, 50, 68, 98, 119]);
        assert_eq!(set.train.samples.sample(0)[3 * PLANE - 1], 72);
        assert_eq!((set.train.samples.len(), set.test.samples.len()), (3200, 1000));
    }
}
