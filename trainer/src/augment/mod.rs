//! Random perturbations of raw samples: what a network must learn to overlook.
//!
//! A perturbed sample depends on the seed, the epoch, the view and the sample's number, and on nothing else: neither on
//! the batch it is in nor on the thread that makes it.

pub mod image;
mod warp;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

pub use image::{ImageAugment, ImageAugmenter};

use crate::error::Result;

/// The recipe's `[augment]` table: how each of the two views of a sample is made.
///
/// They may differ, so that one stays close to the sample and the other goes far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// `[augment.first]`
    pub first: ImageAugment,
    /// `[augment.second]`
    pub second: ImageAugment,
}

impl Views {
    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// A setting that is not; the error names its key.
    pub fn check(&self) -> Result<()> {
        self.first.check("augment.first")?;
        self.second.check("augment.second")
    }

    /// What makes the first and the second view of images of `shape` (height, width, channels) whose full scale is
    /// `raw_max`.
    ///
    /// # Errors
    /// As for [`check`](Self::check); also a distance that is longer than the image.
    pub fn augmenters(&self, shape: [usize; 3], raw_max: u8) -> Result<[ImageAugmenter; 2]> {
        Ok([
            ImageAugmenter::new(&self.first, "augment.first", shape, raw_max)?,
            ImageAugmenter::new(&self.second, "augment.second", shape, raw_max)?,
        ])
    }
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
        let words = [self.seed, self.epoch, self.view, sample as u64];
        Xoshiro256PlusPlus::seed_from_u64(words.into_iter().fold(0, |key, word| mix(key ^ word)))
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): a bijection that
/// spreads every bit of `word` over all bits.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
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
        let views: Views = toml::from_str("[second]\nnoise = -0.1").unwrap();
        assert!(views.check().unwrap_err().to_string().starts_with("augment.second.noise: "));
        let views: Views = toml::from_str("[first]\nrotate = nan").unwrap();
        assert!(views.check().unwrap_err().to_string().starts_with("augment.first.rotate: "));
        assert!(toml::from_str::<Views>("[third]\nshift = 1").is_err());
        assert!(toml::from_str::<Views>("[first]\nshfit = 1").is_err());
    }

    #[test]
    fn views_are_perturbed_only_as_far_as_the_table_says() {
        let views: Views = toml::from_str("[first]\nshift = 1.0").unwrap();
        assert_eq!(views.first, ImageAugment { shift: 1.0, ..ImageAugment::default() });
        assert_eq!(views.second, ImageAugment::default());
    }
}
