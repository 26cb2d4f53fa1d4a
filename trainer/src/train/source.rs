//! Where batches of views come from, and how they are made ahead of the network.

use std::sync::mpsc::{Receiver, sync_channel};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::augment::{self, Augmenter, BatchKey, View};
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

    /// One view of each of `samples` in an epoch, NHWC. Depends on nothing but the arguments.
    fn view(&self, view: View, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32>;

    /// The samples as the sensor gave them, and the raw value that means 1; `None` where there are no such values.
    fn raw(&self) -> Option<(&Samples, u8)> {
        None
    }
}

/// All first views of `samples`, then all second ones, and so on.
pub fn views_of(source: &dyn Source, views: &[View], seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
    let mut values = Vec::with_capacity(views.len() * samples.len() * source.shape().iter().product::<usize>());
    for &view in views {
        values.extend(source.view(view, seed, epoch, samples));
    }
    values
}

/// Views of the samples of a data set.
pub struct Augmented<'a> {
    samples: &'a Samples,
    raw_max: u8,
    augmenters: [Box<dyn Augmenter>; 2],
}

impl<'a> Augmented<'a> {
    /// Views of `samples`, whose full scale is `raw_max`, as the recipe's `[augment]` table says.
    ///
    /// # Errors
    /// A setting out of its range, or of another kind of data.
    pub fn new(samples: &'a Samples, raw_max: u8, views: &augment::Views) -> Result<Self> {
        Ok(Self { samples, raw_max, augmenters: views.augmenters(samples.shape, raw_max)? })
    }
}

impl Source for Augmented<'_> {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.samples.shape
    }

    fn view(&self, view: View, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
        let indices: Vec<usize> = samples.iter().map(|&sample| sample as usize).collect();
        let perturbed = |view: usize| {
            let key = BatchKey { seed, epoch, view: view as u64 };
            self.augmenters[view].batch(self.samples, &indices, key)
        };
        match view {
            View::Plain => indices.iter().flat_map(|&i| self.samples.scaled(i..i + 1, self.raw_max)).collect(),
            View::First => perturbed(0),
            View::Second => perturbed(1),
        }
    }

    fn raw(&self) -> Option<(&Samples, u8)> {
        Some((self.samples, self.raw_max))
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
    views: &'static [View],
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
                if send.send(views_of(source, views, seed, epoch, samples)).is_err() {
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

    const BOTH: &[View] = &[View::First, View::Second];

    fn noisy() -> augment::Views {
        toml::from_str("kind = 'image'\n[first]\nshift = 1.0\nnoise = 0.1\n[second]\nnoise = 0.2").expect("a table")
    }

    #[test]
    fn batches_arrive_in_order() {
        let images = images();
        let source = Augmented::new(&images, 255, &noisy()).unwrap();
        let batches: Vec<&[u32]> = vec![&[3, 1], &[0, 5], &[2, 4], &[1, 1], &[5, 0]];
        prefetch(&source, BOTH, 1, 2, &batches, |views| {
            for samples in &batches {
                assert_eq!(views.take(), views_of(&source, BOTH, 1, 2, samples));
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_consumer_may_stop_early() {
        let images = images();
        let source = Augmented::new(&images, 255, &noisy()).unwrap();
        let batches: Vec<&[u32]> = vec![&[0, 1]; 20];
        let stopped = prefetch(&source, BOTH, 1, 0, &batches, |views| {
            views.take();
            Err::<(), _>(Error::Interrupted("test".into()))
        });
        assert!(stopped.is_err());
    }

    #[test]
    fn a_samples_views_do_not_depend_on_its_batch() {
        let images = images();
        let source = Augmented::new(&images, 255, &noisy()).unwrap();
        let size = images.size();
        let (alone, among) = (views_of(&source, BOTH, 1, 3, &[4]), views_of(&source, BOTH, 1, 3, &[0, 4, 2]));
        assert_eq!((alone.len(), among.len()), (2 * size, 6 * size));
        assert_eq!(alone[..size], among[size..2 * size], "first view");
        assert_eq!(alone[size..], among[4 * size..5 * size], "second view");
        assert_ne!(alone[..size], alone[size..], "the two views differ");
        assert_eq!(views_of(&source, &[View::Plain], 1, 3, &[4]), images.scaled(4..5, 255), "as it is");
        assert_ne!(alone, views_of(&source, BOTH, 1, 4, &[4]), "another epoch");
        assert_ne!(alone, views_of(&source, BOTH, 2, 3, &[4]), "another seed");
    }
}
