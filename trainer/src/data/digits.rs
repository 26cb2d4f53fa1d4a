//! The shipped data: 1,797 handwritten digits of 8x8 pixels with 17 grey levels, the test part of the UCI "Optical
//! Recognition of Handwritten Digits" set (E. Alpaydin, C. Kaynak, 1998; <https://doi.org/10.24432/C50P49>; CC BY 4.0).

use sha2::{Digest, Sha256};

use super::{Samples, Split, idx};
use crate::error::Result;

/// A pixel counts the inked dots of a 4x4 block.
pub const RAW_MAX: u8 = 16;

static IMAGES: &[u8] = include_bytes!("../../assets/digits-images-idx3-ubyte.gz");
static LABELS: &[u8] = include_bytes!("../../assets/digits-labels-idx1-ubyte.gz");

/// The digits, split into 1,347 to learn from and 450 to be judged on, each part in the order of the source.
///
/// The split is stratified and never changes: with the images sorted by class and, within a class, by the SHA-256 of
/// their 64 pixels, every fourth is a test image, starting with the first. The file does not say who wrote what, so both
/// parts hold digits of the same people.
///
/// # Errors
/// None, unless the files inside the program are damaged.
pub fn splits() -> Result<(Split, Split)> {
    let images = idx::parse_images("the digits inside this program", IMAGES)?;
    let labels = idx::parse_labels("the digits inside this program", LABELS)?;
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_cached_key(|&i| (labels[i], Sha256::digest(images.sample(i))));
    let mut in_test = vec![false; images.len()];
    for &i in order.iter().step_by(4) {
        in_test[i] = true;
    }
    let part = |test: bool| {
        let chosen: Vec<usize> = (0..images.len()).filter(|&i| in_test[i] == test).collect();
        let raw = chosen.iter().flat_map(|&i| images.sample(i)).copied().collect();
        Split {
            samples: Samples { shape: images.shape, raw },
            labels: Some(chosen.iter().map(|&i| labels[i]).collect()),
        }
    };
    Ok((part(false), part(true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataKind, DataSource, Dataset};

    #[test]
    fn the_assets_stay_small() {
        assert!(IMAGES.len() + LABELS.len() < 64 * 1024);
    }

    #[test]
    fn the_set_and_its_split_never_change() {
        let set = Dataset::load(&DataSource::new(DataKind::Digits), None).unwrap();
        assert_eq!((set.train.samples.len(), set.test.samples.len()), (1347, 450));
        assert_eq!(set.train.samples.shape, [8, 8, 1]);
        assert_eq!(set.train.samples.raw.iter().max(), Some(&RAW_MAX));
        // The same bytes by another program: a script over the CSV file that the assets were made from.
        assert_eq!(set.sha256, "02040307c45c9d001593ebef2bff649f062cc5843b647e96c711607864f8f1b1");
    }

    #[test]
    fn the_split_is_stratified() {
        let (train, test) = splits().unwrap();
        let count =
            |split: &Split, class: u16| split.labels.as_ref().unwrap().iter().filter(|&&label| label == class).count();
        for class in 0..10 {
            let (train, test) = (count(&train, class), count(&test, class));
            assert!((4 * test).abs_diff(train + test) < 4, "class {class}: {train} and {test}");
        }
    }

    #[test]
    fn no_test_image_is_a_train_image() {
        let (train, test) = splits().unwrap();
        let train: std::collections::HashSet<&[u8]> =
            (0..train.samples.len()).map(|i| train.samples.sample(i)).collect();
        assert!((0..test.samples.len()).all(|i| !train.contains(test.samples.sample(i))));
    }
}
