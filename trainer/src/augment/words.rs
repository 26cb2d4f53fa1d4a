//! Perturbation of bags of words: words are left out.
//!
//! Dropping words is word dropout as in Iyyer et al., "Deep unordered composition rivals syntactic methods for text
//! classification", 2015.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Augmenter, BatchKey, check_range, for_each_sample};
use crate::data::Samples;
use crate::error::Result;

/// How far one view of a bag of words may go from it. The default changes nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordsAugment {
    /// Probability that a word is left out, each for itself; 0 to 0.99.
    ///
    /// What is left is scaled up so that the bag keeps its Euclidean length, which tf-idf gives all documents alike, and
    /// is clamped to full scale. A bag of which nothing would be left stays whole.
    pub dropout: f32,
}

impl WordsAugment {
    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// A setting that is not; the error names it `place.key`.
    pub fn check(&self, place: &str) -> Result<()> {
        check_range(place, "dropout", self.dropout, 0.0..=0.99, "0 to 0.99")
    }

    /// Whether it changes nothing.
    pub fn is_identity(&self) -> bool {
        self.dropout == 0.0
    }
}

/// Makes one view of bags of words of one size.
#[derive(Debug, Clone)]
pub struct WordsAugmenter {
    config: WordsAugment,
    shape: [usize; 3],
    raw_max: f32,
}

impl WordsAugmenter {
    /// Prepares views of bags of `shape` (1, 1, words) with weights up to `raw_max`, at least 1.
    ///
    /// # Errors
    /// A setting out of its range; the error names it `place.key`.
    pub fn new(config: &WordsAugment, place: &str, shape: [usize; 3], raw_max: u8) -> Result<Self> {
        config.check(place)?;
        Ok(Self { config: config.clone(), shape, raw_max: raw_max.into() })
    }

    fn perturb(&self, raw: &[u8], rng: &mut impl Rng, out: &mut [f32]) {
        let (mut before, mut after) = (0.0, 0.0);
        for (out, &weight) in out.iter_mut().zip(raw) {
            let weight = f32::from(weight) / self.raw_max;
            let dropped = weight > 0.0 && rng.random::<f32>() < self.config.dropout;
            *out = if dropped { 0.0 } else { weight };
            before += weight * weight;
            after += *out * *out;
        }
        if after > 0.0 && after < before {
            let factor = (before / after).sqrt();
            out.iter_mut().for_each(|weight| *weight = (factor * *weight).min(1.0));
        } else {
            out.iter_mut().zip(raw).for_each(|(out, &weight)| *out = f32::from(weight) / self.raw_max);
        }
    }
}

impl Augmenter for WordsAugmenter {
    fn batch(&self, samples: &Samples, indices: &[usize], key: BatchKey) -> Vec<f32> {
        assert_eq!(samples.shape, self.shape, "the augmenter is for another shape");
        for_each_sample(samples.size(), indices, |(), index, out| {
            self.perturb(samples.sample(index), &mut key.sample_rng(index), out);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: BatchKey = BatchKey { seed: 1, epoch: 2, view: 0 };

    /// Bags of 100 words, every other one there.
    fn bags(count: usize) -> Samples {
        let raw = (0..100 * count).map(|i| if i % 2 == 0 { 10 + (i * 37 % 20) as u8 } else { 0 }).collect();
        Samples { shape: [1, 1, 100], raw }
    }

    fn view(dropout: f32, samples: &Samples, key: BatchKey) -> Vec<f32> {
        let augmenter = WordsAugmenter::new(&WordsAugment { dropout }, "", samples.shape, 255).unwrap();
        augmenter.batch(samples, &(0..samples.len()).collect::<Vec<_>>(), key)
    }

    #[test]
    fn words_are_left_out_as_often_as_asked_and_the_rest_keeps_the_length() {
        let bags = bags(200);
        let plain = bags.scaled(0..200, 255);
        let mut left_out = 0;
        for (new, old) in view(0.3, &bags, KEY).chunks(100).zip(plain.chunks(100)) {
            let length = |bag: &[f32]| bag.iter().map(|weight| weight * weight).sum::<f32>().sqrt();
            assert!((length(new) - length(old)).abs() < 1e-5);
            let kept: Vec<f32> = new.iter().zip(old).filter(|(new, _)| **new > 0.0).map(|(a, b)| a / b).collect();
            assert!(kept.iter().all(|factor| (factor - kept[0]).abs() < 1e-4 && *factor >= 1.0));
            left_out += 50 - kept.len();
        }
        // Binomial: 3000 expected, standard deviation 46.
        assert!((2800..3200).contains(&left_out), "{left_out}");
    }

    #[test]
    fn no_word_comes_in() {
        let bags = bags(50);
        for (new, &old) in view(0.5, &bags, KEY).iter().zip(&bags.raw) {
            assert!(*new == 0.0 || old > 0);
        }
    }

    #[test]
    fn a_bag_of_which_nothing_would_be_left_stays_whole() {
        let mut one = Samples { shape: [1, 1, 5], raw: vec![0; 500] };
        one.raw.iter_mut().skip(2).step_by(5).for_each(|weight| *weight = 90);
        assert_eq!(view(0.99, &one, KEY), one.scaled(0..100, 255));
        let empty = Samples { shape: [1, 1, 5], raw: vec![0; 5] };
        assert_eq!(view(0.5, &empty, KEY), [0.0; 5]);
    }

    #[test]
    fn weights_stay_within_full_scale() {
        let strong = Samples { shape: [1, 1, 4], raw: [200; 400].to_vec() };
        let values = view(0.7, &strong, KEY);
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)) && values.contains(&1.0));
    }

    #[test]
    fn a_view_does_not_depend_on_threads_or_on_the_batch() {
        let bags = bags(300);
        let augmenter = WordsAugmenter::new(&WordsAugment { dropout: 0.4 }, "", bags.shape, 255).unwrap();
        let all: Vec<usize> = (0..300).collect();
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let whole = pool(1).install(|| augmenter.batch(&bags, &all, KEY));
        assert_eq!(whole, pool(4).install(|| augmenter.batch(&bags, &all, KEY)));
        assert_eq!(augmenter.batch(&bags, &[123], KEY), whole[12_300..12_400]);
        assert_ne!(whole, augmenter.batch(&bags, &all, BatchKey { view: 1, ..KEY }));
        assert_ne!(whole, augmenter.batch(&bags, &all, BatchKey { epoch: 3, ..KEY }));
    }

    #[test]
    fn a_dropout_out_of_range_is_refused_by_name() {
        for dropout in [-0.1, 1.0, f32::NAN] {
            let error = WordsAugmenter::new(&WordsAugment { dropout }, "augment.first", [1, 1, 4], 255).unwrap_err();
            assert!(
                error.to_string().starts_with("augment.first.dropout: out of range: expected 0 to 0.99"),
                "{error}"
            );
        }
    }
}
