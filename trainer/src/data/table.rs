//! Samples of numbers from `.npy` files, as the bytes that a sensor of their range would give.
//!
//! Bytes stay what they are. Other numbers are mapped by one line for all of them, the least of the training file to 0 and its
//! largest to 255: a chip has to map what it measures alike. Numbers of a test file that lie outside become 0 or 255.

use std::path::Path;

use ndarray::{ArrayD, Axis};

use super::{JUDGED, Samples, Split, Unit, npy};
use crate::error::{Error, Result};

/// A file of samples and, where there is one, that of their classes.
pub type Files<'a> = (&'a Path, Option<&'a Path>);

/// The training and the test split, and what their bytes stand for; without `test`, every fifth sample of the file is judged on.
///
/// Samples are `[n, values]`, series `[n, length, channels]` or images `[n, height, width, channels]`.
///
/// # Errors
/// A file that cannot be read or holds something else, a number that is not finite, test samples of another shape, classes that
/// are not one for each sample.
pub fn splits(train: Files, test: Option<Files>) -> Result<(Split, Split, Unit)> {
    let (whole, unit) = read(train, None)?;
    let Some(test) = test else {
        let n = whole.samples.len();
        if n < JUDGED {
            return Err(Error::input(train.0.display(), "too few samples", format!("at least {JUDGED}"), n));
        }
        let (judged, learned) = (0..n).partition::<Vec<usize>, _>(|place| place % JUDGED == JUDGED - 1);
        return Ok((whole.select(learned), whole.select(judged), unit));
    };
    let (judged, _) = read(test, Some(unit))?;
    if judged.samples.shape != whole.samples.shape {
        let expected = format!("{:?} as in {}", whole.samples.shape, train.0.display());
        return Err(Error::input(
            test.0.display(),
            "samples of another shape",
            expected,
            format!("{:?}", judged.samples.shape),
        ));
    }
    Ok((whole, judged, unit))
}

/// What was said of the samples of one file, in the order of the file: `judged` of every fifth.
pub fn in_order<T: Copy>(learned: &[T], judged: &[T]) -> Vec<T> {
    let (mut learned, mut judged) = (learned.iter(), judged.iter());
    let place = |place| if place % JUDGED == JUDGED - 1 { judged.next() } else { learned.next() };
    (0..).map_while(place).copied().collect()
}

/// The samples of a file in a unit, or in the file's own.
fn read((file, labels): Files, unit: Option<Unit>) -> Result<(Split, Unit)> {
    let values = npy::doubles(file)?;
    let shape = match *values.shape() {
        [_, values] => [1, 1, values],
        [_, length, channels] => [length, 1, channels],
        [_, height, width, channels] => [height, width, channels],
        ref shape => {
            let expected = "[n, values], [n, length, channels] or [n, height, width, channels]";
            return Err(Error::input(file.display(), "not a list of samples", expected, format!("{shape:?}")));
        }
    };
    if values.is_empty() {
        return Err(Error::input(file.display(), "no samples", "at least one value", format!("{:?}", values.shape())));
    }
    let (n, size) = (values.len_of(Axis(0)), shape.iter().product::<usize>());
    if let Some((place, value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        let found = format!("{value} in sample {}, value {}", place / size, place % size);
        return Err(Error::input(file.display(), "not a number", "finite numbers", found));
    }
    let unit = unit.unwrap_or_else(|| own_unit(&values));
    let raw = values.iter().map(|&value| unit.raw(value)).collect();
    let labels = labels.map(|path| classes(path, n)).transpose()?;
    Ok((Split { samples: Samples { shape, raw }, labels }, unit))
}

/// Bytes as they are, anything else from the least to the largest.
fn own_unit(values: &ArrayD<f64>) -> Unit {
    if values.iter().all(|value| (0.0..=255.0).contains(value) && value.fract() == 0.0) {
        return Unit { scale: 1.0, offset: 0.0 };
    }
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (low.min(value), high.max(value)));
    Unit::between(low, high)
}

fn classes(path: &Path, samples: usize) -> Result<Vec<u16>> {
    let labels = npy::integers(path)?;
    if labels.len() != samples {
        return Err(Error::input(
            path.display(),
            "wrong number of labels",
            format!("{samples}, one for each sample"),
            labels.len(),
        ));
    }
    let class =
        |&label: &i64| u16::try_from(label).map_err(|_| Error::input(path.display(), "no class", "0 to 65535", label));
    labels.iter().map(class).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ndarray::{Array, Dimension, array};
    use ndarray_npy::{WritableElement, write_npy};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn file<T: WritableElement, D: Dimension>(&self, name: &str, values: &Array<T, D>) -> PathBuf {
            let path = self.0.path().join(name);
            write_npy(&path, values).unwrap();
            path
        }
    }

    fn folder() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    #[test]
    fn numbers_become_bytes_by_the_line_of_the_training_file() {
        let folder = folder();
        let train = folder.file("train.npy", &array![[-1.0, 0.01], [1.0, 0.5]]);
        let test = folder.file("test.npy", &array![[-9.0, 9.0]]);
        let (train, test, unit) = splits((&train, None), Some((&test, None))).unwrap();
        assert!((unit.scale - 2.0 / 255.0).abs() < 1e-9 && unit.offset == -1.0);
        assert_eq!(train.samples, Samples { shape: [1, 1, 2], raw: vec![0, 129, 255, 191] });
        assert_eq!(test.samples.raw, [0, 255]);
    }

    #[test]
    fn bytes_stay_what_they_are_and_every_fifth_is_judged_on() {
        let folder = folder();
        let values = Array::from_shape_fn((10, 2, 3), |(i, j, k)| (i * 6 + j * 3 + k) as u8);
        let labels = folder.file("labels.npy", &Array::from_shape_fn(10, |i| i as i64));
        let file = folder.file("series.npy", &values);
        let (train, test, _) = splits((&file, Some(&labels)), None).unwrap();
        assert_eq!((train.samples.shape, train.samples.len(), test.samples.len()), ([2, 1, 3], 8, 2));
        assert_eq!(test.labels.unwrap(), [4, 9]);
        assert_eq!(test.samples.raw[..6], [24, 25, 26, 27, 28, 29]);
    }

    #[test]
    fn the_order_of_a_file_is_found_again() {
        for count in 5..13_u8 {
            let rows: Vec<u8> = (0..count).collect();
            let folder = folder();
            let file = folder.file("rows.npy", &Array::from_shape_fn((rows.len(), 1), |(i, _)| rows[i]));
            let (train, test, _) = splits((&file, None), None).unwrap();
            assert_eq!(in_order(&train.samples.raw, &test.samples.raw), rows);
        }
    }

    #[test]
    fn what_is_no_list_of_samples_is_refused() {
        let folder = folder();
        let refused =
            |file: PathBuf, labels: Option<PathBuf>| splits((&file, labels.as_deref()), None).unwrap_err().to_string();
        assert!(refused(folder.file("flat.npy", &array![1.0, 2.0]), None).contains("not a list of samples"));
        assert!(
            refused(folder.file("nan.npy", &array![[1.0, f64::NAN]]), None).ends_with("found NaN in sample 0, value 1")
        );
        let file = folder.file("some.npy", &array![[0.5], [1.0], [2.0], [3.0], [4.0]]);
        let labels = folder.file("labels.npy", &array![1_i64, 2]);
        assert!(refused(file.clone(), Some(labels)).ends_with("expected 5, one for each sample, found 2"));
        let labels = folder.file("negative.npy", &array![1_i64, 2, -1, 4, 5]);
        assert!(refused(file, Some(labels)).ends_with("no class: expected 0 to 65535, found -1"));
        assert!(refused(folder.file("few.npy", &array![[1.0]]), None).contains("too few samples"));
    }
}
