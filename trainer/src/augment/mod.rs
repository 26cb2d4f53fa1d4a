//! Random perturbations of raw samples: what a network must learn to overlook.
//!
//! A perturbed sample depends on the seed, the epoch, the view and the sample's number, and on nothing else: neither on
//! the batch it is in nor on the thread that makes it.

pub mod image;
pub mod series;
pub mod walk;
mod warp;
pub mod words;

use std::ops::RangeInclusive;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use image::{ImageAugment, ImageAugmenter};
pub use series::{SeriesAugment, SeriesAugmenter};
pub use words::{WordsAugment, WordsAugmenter};

use crate::data::Samples;
use crate::error::{Error, Result};

/// The recipe's `[augment]` table: `kind` says what the samples are, `[augment.first]` and `[augment.second]` how each
/// of the two views of a sample is made. Without the table both views are the sample itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Views {
    /// Pictures, of one channel or more.
    Image(Pair<ImageAugment>),
    /// Measurements one after the other: samples of shape `[length, 1, channels]`.
    Series(Pair<SeriesAugment>),
    /// Bags of words: samples of shape `[1, 1, words]`.
    Words(Pair<WordsAugment>),
}

/// Settings of the two views.
///
/// They may differ, so that one stays close to the sample and the other goes far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pair<T> {
    /// `[augment.first]`
    pub first: T,
    /// `[augment.second]`
    pub second: T,
}

impl Default for Views {
    fn default() -> Self {
        Self::Image(Pair::default())
    }
}

impl Views {
    /// Whether every setting is in its range, as far as that does not depend on the data.
    ///
    /// # Errors
    /// A setting that is not; the error names its key.
    pub fn check(&self) -> Result<()> {
        let [first, second] = PLACES;
        match self {
            Self::Image(views) => views.first.check(first).and_then(|()| views.second.check(second)),
            Self::Series(views) => views.first.check(first).and_then(|()| views.second.check(second)),
            Self::Words(views) => views.first.check(first).and_then(|()| views.second.check(second)),
        }
    }

    /// Which of the two views are the sample itself, whatever the sample is.
    pub fn are_identities(&self) -> [bool; 2] {
        match self {
            Self::Image(views) => [views.first.is_identity(), views.second.is_identity()],
            Self::Series(views) => [views.first.is_identity(), views.second.is_identity()],
            Self::Words(views) => [views.first.is_identity(), views.second.is_identity()],
        }
    }

    /// What makes the first and the second view of samples of `shape` (height, width, channels) whose full scale is
    /// `raw_max`, at least 1.
    ///
    /// # Errors
    /// As for [`check`](Self::check); also a kind or a setting that does not fit samples of this shape.
    pub fn augmenters(&self, shape: [usize; 3], raw_max: u8) -> Result<[Box<dyn Augmenter>; 2]> {
        self.check_fits(shape)?;
        let [first, second] = PLACES;
        Ok(match self {
            Self::Image(views) => [
                Box::new(ImageAugmenter::new(&views.first, first, shape, raw_max)?),
                Box::new(ImageAugmenter::new(&views.second, second, shape, raw_max)?),
            ],
            Self::Series(views) => [
                Box::new(SeriesAugmenter::new(&views.first, first, shape, raw_max)?),
                Box::new(SeriesAugmenter::new(&views.second, second, shape, raw_max)?),
            ],
            Self::Words(views) => [
                Box::new(WordsAugmenter::new(&views.first, first, shape, raw_max)?),
                Box::new(WordsAugmenter::new(&views.second, second, shape, raw_max)?),
            ],
        })
    }

    /// What a kind needs to mean anything; views that change nothing fit all data.
    fn check_fits(&self, shape @ [height, width, _]: [usize; 3]) -> Result<()> {
        let (fits, kind, expected) = match self {
            Self::Image(_) => (width > 1, "image", "pictures more than one pixel wide"),
            Self::Series(_) => (height > 1 && width == 1, "series", "series, of shape length x 1 x channels"),
            Self::Words(_) => (height == 1 && width == 1, "words", "bags of words, of shape 1 x 1 x words"),
        };
        if fits || self.are_identities() == [true, true] {
            return Ok(());
        }
        let [height, width, channels] = shape.map(|extent| extent.to_string());
        let found = format!("samples of {height} x {width} x {channels}");
        Err(Error::input("augment.kind", format!("\"{kind}\" does not fit the data"), expected, found))
    }
}

/// Where the settings of the two views stand in a recipe.
const PLACES: [&str; 2] = ["augment.first", "augment.second"];

/// Makes one view of samples of one shape.
pub trait Augmenter: Send + Sync {
    /// The view of the samples at `indices`: one after the other, each in height, width, channel order, in units of
    /// full scale and clamped to `[0, 1]`.
    ///
    /// Uses all threads; what it gives does not depend on their number.
    ///
    /// # Panics
    /// If the samples are of another shape, or an index is out of range.
    fn batch(&self, samples: &Samples, indices: &[usize], key: BatchKey) -> Vec<f32>;
}

/// A way to look at a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// As it is.
    Plain,
    /// Perturbed as `[augment.first]` says.
    First,
    /// Perturbed as `[augment.second]` says.
    Second,
}

/// What the randomness of a batch depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchKey {
    /// The run's seed.
    pub seed: u64,
    /// Which pass over the data.
    pub epoch: u64,
    /// Which view of the sample: 0 or 1.
    pub view: u64,
}

impl BatchKey {
    /// The random numbers of one sample.
    fn sample_rng(self, sample: usize) -> Xoshiro256PlusPlus {
        rng_of(&[self.seed, self.epoch, self.view, sample as u64])
    }

    /// More random numbers of one sample: what draws from them leaves [`sample_rng`](Self::sample_rng) as it was.
    fn more_rng(self, sample: usize) -> Xoshiro256PlusPlus {
        rng_of(&[self.seed, self.epoch, self.view, sample as u64, 1])
    }
}

fn rng_of(words: &[u64]) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(words.iter().fold(0, |key, word| mix(key ^ word)))
}

/// One step of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): a bijection that
/// spreads every bit of `word` over all bits.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Fills one sample after the other, on all threads: `perturb` gets a thread's buffers, the sample's index and where
/// its view goes.
fn for_each_sample<S: Default>(
    size: usize,
    indices: &[usize],
    perturb: impl Fn(&mut S, usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let mut out = vec![0.0; indices.len() * size];
    out.par_chunks_mut(size)
        .zip(indices)
        .with_min_len(16)
        .for_each_init(S::default, |scratch, (out, &index)| perturb(scratch, index, out));
    out
}

/// Refuses what is not in `range`, which NaN is not either.
fn check_range(place: &str, key: &str, value: f32, range: RangeInclusive<f32>, expected: &str) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::input(format!("{place}.{key}"), "out of range", expected, value))
}

/// [`check_range`] for settings from 0 up to a largest value.
fn check_up_to(place: &str, settings: &[(&str, f32, f32)]) -> Result<()> {
    for &(key, value, max) in settings {
        check_range(place, key, value, 0.0..=max, &format!("0 to {max}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::HashSet;

    #[test]
    fn every_part_of_the_key_changes_the_numbers() {
        let mut seen = HashSet::new();
        for seed in 0..8 {
            for epoch in 0..8 {
                for view in 0..2 {
                    for sample in 0..64 {
                        let mut rng = BatchKey { seed, epoch, view }.sample_rng(sample);
                        assert!(seen.insert(rng.next_u64()));
                        let mut more = BatchKey { seed, epoch, view }.more_rng(sample);
                        assert!(seen.insert(more.next_u64()));
                    }
                }
            }
        }
    }

    #[test]
    fn mix_is_splitmix64() {
        // The first output of the published generator for the states 0 and 1234567.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

    #[test]
    fn an_error_names_the_view_and_the_key() {
        let views: Views = toml::from_str("kind = 'image'\n[second]\nnoise = -0.1").unwrap();
        assert!(views.check().unwrap_err().to_string().starts_with("augment.second.noise: "));
        let views: Views = toml::from_str("kind = 'image'\n[first]\nrotate = nan").unwrap();
        assert!(views.check().unwrap_err().to_string().starts_with("augment.first.rotate: "));
        let views: Views = toml::from_str("kind = 'series'\n[second]\nwarp = 7").unwrap();
        assert!(views.check().unwrap_err().to_string().starts_with("augment.second.warp: "));
        let views: Views = toml::from_str("kind = 'words'\n[first]\ndropout = 1.0").unwrap();
        assert!(views.check().unwrap_err().to_string().starts_with("augment.first.dropout: "));
    }

    #[test]
    fn a_table_has_one_kind_and_no_key_of_another() {
        let refused = |table: &str| toml::from_str::<Views>(table).unwrap_err().to_string();
        assert!(refused("[first]\nshift = 1").contains("missing field `kind`"));
        assert!(refused("kind = 'sound'").contains("unknown variant `sound`, expected one of `image`"));
        assert!(refused("kind = 'image'\n[third]\nshift = 1").contains("unknown field `third`"));
        assert!(refused("kind = 'image'\n[first]\nshfit = 1").contains("unknown field `shfit`"));
        assert!(refused("kind = 'words'\n[first]\nshift = 1").contains("unknown field `shift`"));
    }

    #[test]
    fn a_table_survives_writing_and_reading() {
        for table in [
            "kind = 'image'\n[second]\nelastic = 0.5",
            "kind = 'series'\n[first]\nrotate = 20",
            "kind = 'words'\n[first]\ndropout = 0.25",
        ] {
            let views: Views = toml::from_str(table).unwrap();
            assert_eq!(toml::from_str::<Views>(&toml::to_string(&views).unwrap()).unwrap(), views);
        }
    }

    #[test]
    fn views_are_perturbed_only_as_far_as_the_table_says() {
        let views: Views = toml::from_str("kind = 'image'\n[first]\nshift = 1.0").unwrap();
        let Views::Image(pair) = &views else { panic!("{views:?}") };
        assert_eq!(pair.first, ImageAugment { shift: 1.0, ..ImageAugment::default() });
        assert_eq!(pair.second, ImageAugment::default());
        assert_eq!(views.are_identities(), [false, true]);
    }

    #[test]
    fn a_kind_fits_only_its_data() {
        let views = |table: &str| toml::from_str::<Views>(table).unwrap();
        let image = views("kind = 'image'\n[second]\nnoise = 0.1");
        let series = views("kind = 'series'\n[second]\njitter = 0.1");
        let words = views("kind = 'words'\n[second]\ndropout = 0.1");
        let (picture, motion, bag) = ([28, 28, 1], [125, 1, 6], [1, 1, 2000]);
        for (views, own) in [(&image, picture), (&series, motion), (&words, bag)] {
            for shape in [picture, motion, bag] {
                let fits = views.augmenters(shape, 255).map(|_| ());
                assert_eq!(fits.is_ok(), shape == own, "{views:?} on {shape:?}");
                if let Err(error) = fits {
                    let message = error.to_string();
                    assert!(message.starts_with("augment.kind: \""), "{message}");
                    let found = format!("found samples of {} x {} x {}", shape[0], shape[1], shape[2]);
                    assert!(message.ends_with(&found), "{message}");
                }
            }
        }
    }

    #[test]
    fn a_table_that_changes_nothing_fits_all_data() {
        for kind in ["image", "series", "words"] {
            let views: Views = toml::from_str(&format!("kind = '{kind}'")).unwrap();
            assert_eq!(views.are_identities(), [true, true]);
            for shape in [[28, 28, 1], [125, 1, 6], [1, 1, 40]] {
                let size: usize = shape.iter().product();
                let samples = Samples { shape, raw: (0..3 * size).map(|i| (i % 256) as u8).collect() };
                let key = BatchKey { seed: 1, epoch: 2, view: 0 };
                for augmenter in views.augmenters(shape, 255).unwrap() {
                    assert_eq!(augmenter.batch(&samples, &[0, 1, 2], key), samples.scaled(0..3, 255));
                }
            }
        }
    }
}
