//! Where batches of views come from, and how they are made ahead of the network.

use std::sync::mpsc::{Receiver, sync_channel};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::augment::{self, BatchKey, ImageAugmenter};
use crate::data::Samples;
use crate::error::Result;

/// Training samples with random views.
pub trait Source: Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Height, width, channels of a view.
    fn shape(&self) -> [usize; 3];

    /// Views of each sample.
    fn views(&self) -> usize;

    /// The views of `samples` in an epoch: all first views, then all second ones, NHWC. Depends on nothing but the
    /// arguments.
    fn views_of(&self, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32>;
}

/// Two augmented views of each training image.
pub struct ImageViews<'a> {
    samples: &'a Samples,
    augmenters: [ImageAugmenter; 2],
}

impl<'a> ImageViews<'a> {
    /// Views of `samples`, whose full scale is `raw_max`, as the recipe's `[augment]` table says.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(samples: &'a Samples, raw_max: u8, views: &augment::Views) -> Result<Self> {
        Ok(Self { samples, augmenters: views.augmenters(samples.shape, raw_max)? })
    }
}

impl Source for ImageViews<'_> {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.samples.shape
    }

    fn views(&self) -> usize {
        2
    }

    fn views_of(&self, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
        let indices: Vec<usize> = samples.iter().map(|&sample| sample as usize).collect();
        let mut pixels = Vec::with_capacity(2 * indices.len() * self.samples.size());
        for (view, augmenter) in self.augmenters.iter().enumerate() {
            let key = BatchKey { seed, epoch, view: view as u64 };
            pixels.extend(augmenter.batch(self.samples, &indices, key));
        }
        pixels
    }
}

/// The order of samples in an epoch.
pub fn shuffled(len: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len as u32).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch.wrapping_add(1));
    order.shuffle(&mut rng);
    order
}

/// Batches made so far, in order.
pub struct Views {
    ready: Receiver<Vec<f32>>,
}

impl Views {
    /// The next batch's views.
    pub fn take(&mut self) -> Vec<f32> {
        self.ready.recv().expect("the maker makes one batch for each that is asked for")
    }
}

/// Makes an epoch's views on a thread of its own, two batches ahead of `consume`.
///
/// # Errors
/// What `consume` returns.
pub fn prefetch<T>(
    source: &dyn Source,
    seed: u64,
    epoch: u64,
    batches: &[&[u32]],
    consume: impl FnOnce(&mut Views) -> Result<T>,
) -> Result<T> {
    std::thread::scope(|scope| {
        let (send, ready) = sync_channel(2);
        scope.spawn(move || {
            for samples in batches {
                // The consumer stops asking when training is interrupted.
                if send.send(source.views_of(seed, epoch, samples)).is_err() {
                    break;
                }
            }
        });
        consume(&mut Views { ready })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn every_epoch_is_another_permutation() {
        let (a, b) = (shuffled(100, 1, 0), shuffled(100, 1, 1));
        assert_ne!(a, b);
        assert_ne!(a, shuffled(100, 2, 0));
        assert_eq!(a, shuffled(100, 1, 0));
        let mut sorted = b.clone();
        sorted.sort();
        assert_eq!(sorted, (0..100).collect::<Vec<u32>>());
    }

    fn images() -> Samples {
        Samples { shape: [4, 5, 1], raw: (0..4 * 5 * 6).map(|i| (i * 37 % 251) as u8).collect() }
    }

    fn noisy() -> augment::Views {
        toml::from_str("[first]\nshift = 1.0\nnoise = 0.1\n[second]\nnoise = 0.2").expect("a table")
    }

    #[test]
    fn batches_arrive_in_order() {
        let images = images();
        let source = ImageViews::new(&images, 255, &noisy()).unwrap();
        let batches: Vec<&[u32]> = vec![&[3, 1], &[0, 5], &[2, 4], &[1, 1], &[5, 0]];
        prefetch(&source, 1, 2, &batches, |views| {
            for samples in &batches {
                assert_eq!(views.take(), source.views_of(1, 2, samples));
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_consumer_may_stop_early() {
        let images = images();
        let source = ImageViews::new(&images, 255, &noisy()).unwrap();
        let batches: Vec<&[u32]> = vec![&[0, 1]; 20];
        let stopped = prefetch(&source, 1, 0, &batches, |views| {
            views.take();
            Err::<(), _>(Error::Interrupted("test".into()))
        });
        assert!(stopped.is_err());
    }

    #[test]
    fn a_samples_views_do_not_depend_on_its_batch() {
        let images = images();
        let source = ImageViews::new(&images, 255, &noisy()).unwrap();
        let size = images.size();
        let (alone, among) = (source.views_of(1, 3, &[4]), source.views_of(1, 3, &[0, 4, 2]));
        assert_eq!((alone.len(), among.len()), (2 * size, 6 * size));
        assert_eq!(alone[..size], among[size..2 * size], "first view");
        assert_eq!(alone[size..], among[4 * size..5 * size], "second view");
        assert_ne!(alone[..size], alone[size..], "the two views differ");
        assert_ne!(alone, source.views_of(1, 4, &[4]), "another epoch");
        assert_ne!(alone, source.views_of(2, 3, &[4]), "another seed");
    }
}
