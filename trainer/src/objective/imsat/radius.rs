//! How far each training sample may be moved: the distance to its `k`-th nearest neighbour.
//!
//! Distances are exact, so they depend neither on the machine nor on the number of threads: of values shifted to
//! `[-128, 127]`, a sum of up to 1024 products is an integer of at most 2^24, which `f32` holds whatever the order of
//! summation. A matrix product in `f32` is therefore an exact one.
//!
//! The neighbour is counted without the sample itself; a duplicate counts as a neighbour at distance 0. The released
//! IMSAT code meant the 10th too and, by an index off by one, took the 11th.

use std::path::Path;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::cache::{self, Cache};
use crate::data::Samples;
use crate::error::{Error, Result};

/// Of the positive radii, the quantile that takes the place of a radius of 0.
const FLOOR: f64 = 0.01;

/// Distance of every sample to its `neighbour`-th nearest, in network units (`raw / raw_max`). Where it is 0, because
/// there are so many duplicates, it is the lowest percentile of the others: every sample can be moved.
///
/// The distances are kept: see [`cache`](crate::cache).
///
/// # Errors
/// No more samples than `neighbour`; no sample with a positive distance (all equal, say).
pub fn radii(samples: &Samples, raw_max: u8, neighbour: usize) -> Result<Vec<f32>> {
    in_folder(samples, raw_max, neighbour, cache::folder().as_deref())
}

/// [`radii`], kept in `folder`.
fn in_folder(samples: &Samples, raw_max: u8, neighbour: usize, folder: Option<&Path>) -> Result<Vec<f32>> {
    if neighbour == 0 || samples.len() <= neighbour {
        return Err(Error::input(
            "objective.smoothness.neighbour",
            "no such neighbour",
            format!("1 to {}, below the number of training samples", samples.len().saturating_sub(1)),
            neighbour,
        ));
    }
    let squares = cached(samples, neighbour, folder);
    let positive = lifted(&squares).ok_or_else(|| {
        Error::input(
            "data",
            "the training samples are all alike",
            format!("some that differ from their {neighbour} nearest"),
            format!("{} samples, each with {neighbour} or more equal to it", samples.len()),
        )
    })?;
    Ok(positive.into_iter().map(|square| ((square as f64).sqrt() / f64::from(raw_max)) as f32).collect())
}

/// Zeros replaced by a low quantile of the others; `None` where there are no others.
fn lifted(squares: &[u64]) -> Option<Vec<u64>> {
    let mut positive: Vec<u64> = squares.iter().copied().filter(|&square| square > 0).collect();
    positive.sort_unstable();
    let floor = *positive.get((positive.len() as f64 * FLOOR) as usize)?;
    Some(squares.iter().map(|&square| if square == 0 { floor } else { square }).collect())
}

/// Squared distances from the cache, else computed and, where that is possible, cached.
fn cached(samples: &Samples, neighbour: usize, folder: Option<&Path>) -> Vec<u64> {
    let cache = Cache { folder, suffix: "radius" };
    cache.words(&content(samples, neighbour), samples.len(), || squared_distances(samples, neighbour))
}

/// SHA-256 of everything that the distances depend on, and of the file's format.
fn content(samples: &Samples, neighbour: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"eigenlet radius 1");
    for extent in samples.shape {
        hash.update((extent as u64).to_le_bytes());
    }
    hash.update((neighbour as u64).to_le_bytes());
    hash.update(&samples.raw);
    hash.finalize().into()
}

/// Rows and columns of the distance matrix that are in memory at once.
const BLOCK: usize = 512;
/// Values of which a product sum is exact in `f32`.
const EXACT: usize = 1024;

/// Squared raw distance of each sample to its `neighbour`-th nearest other one.
fn squared_distances(samples: &Samples, neighbour: usize) -> Vec<u64> {
    let shifted = samples.raw.iter().map(|&value| f32::from(value) - 128.0).collect();
    let values = Array2::from_shape_vec([samples.len(), samples.size()], shifted).expect("all values of all samples");
    let blocks: Vec<Block> = values.axis_chunks_iter(Axis(0), BLOCK).map(Block::new).collect();
    let fresh = |block: &Block| vec![Nearest::new(neighbour); block.squares.len()];
    let mut nearest: Vec<Vec<Nearest>> = blocks.iter().map(fresh).collect();
    for (i, block) in blocks.iter().enumerate() {
        let (earlier, later) = nearest.split_at_mut(i + 1);
        let own = &mut earlier[i];
        block.each_distance(block, |row, column, square| {
            if row != column {
                own[row].offer(square);
            }
        });
        // A pair of blocks is met once, for both; what it says of the one here is gathered afterwards.
        let found: Vec<Vec<Nearest>> = later
            .par_iter_mut()
            .zip(&blocks[i + 1..])
            .map(|(theirs, other)| {
                let mut ours = fresh(block);
                block.each_distance(other, |row, column, square| {
                    ours[row].offer(square);
                    theirs[column].offer(square);
                });
                ours
            })
            .collect();
        for found in found {
            for (own, found) in own.iter_mut().zip(found) {
                found.values.into_iter().for_each(|square| own.offer(square));
            }
        }
    }
    nearest.iter().flatten().map(|nearest| nearest.farthest as u64).collect()
}

/// Some of the samples, shifted.
struct Block<'a> {
    /// `[samples, values]`.
    values: ArrayView2<'a, f32>,
    /// Sum of squares of each.
    squares: Vec<f64>,
}

impl<'a> Block<'a> {
    fn new(values: ArrayView2<'a, f32>) -> Self {
        let square = |&value: &f32| f64::from(value) * f64::from(value);
        let squares = values.outer_iter().map(|row| row.iter().map(square).sum()).collect();
        Self { values, squares }
    }

    /// Shows `see` the exact squared distance of each sample here (first number) to each sample of `other` (second).
    fn each_distance(&self, other: &Block, mut see: impl FnMut(usize, usize, f64)) {
        let shape = [self.squares.len(), other.squares.len()];
        let mut products = Array2::<f64>::zeros(shape);
        let mut part = Array2::<f32>::zeros(shape);
        let parts = self.values.axis_chunks_iter(Axis(1), EXACT).zip(other.values.axis_chunks_iter(Axis(1), EXACT));
        for (rows, columns) in parts {
            general_mat_mul(1.0, &rows, &columns.t(), 0.0, &mut part);
            products.zip_mut_with(&part, |sum, &part| *sum += f64::from(part));
        }
        for (row, (products, own)) in products.outer_iter().zip(&self.squares).enumerate() {
            for (column, (product, square)) in products.iter().zip(&other.squares).enumerate() {
                see(row, column, own + square - 2.0 * product);
            }
        }
    }
}

/// The lowest squared distances seen.
#[derive(Clone)]
struct Nearest {
    /// Sorted; infinite where too few were seen.
    values: Vec<f64>,
    /// The last of them.
    farthest: f64,
}

impl Nearest {
    fn new(count: usize) -> Self {
        Self { values: vec![f64::INFINITY; count], farthest: f64::INFINITY }
    }

    fn offer(&mut self, square: f64) {
        if square < self.farthest {
            let place = self.values.partition_point(|&other| other <= square);
            self.values.pop();
            self.values.insert(place, square);
            self.farthest = self.values[self.values.len() - 1];
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Random samples with few different values, so that there are ties and duplicates.
    fn random(n: usize, size: usize, levels: u8) -> Samples {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let step = 255 / (levels - 1);
        let raw = (0..n * size).map(|_| rng.random_range(0..levels) * step).collect();
        Samples { shape: [1, size, 1], raw }
    }

    fn naive(samples: &Samples, neighbour: usize) -> Vec<u64> {
        let square = |i: usize, j: usize| -> u64 {
            samples.sample(i).iter().zip(samples.sample(j)).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum()
        };
        let one = |i: usize| {
            let mut squares: Vec<u64> = (0..samples.len()).filter(|&j| j != i).map(|j| square(i, j)).collect();
            squares.sort();
            squares[neighbour - 1]
        };
        (0..samples.len()).map(one).collect()
    }

    #[test]
    fn distances_are_those_of_all_pairs_to_the_last_bit() {
        // Within one block, over three, with duplicates, and with more values than one exact product sum holds.
        for (n, size, levels) in [(5, 3, 4), (2 * BLOCK + 7, 4, 6), (300, 2, 3), (24, 2 * EXACT + 5, 2), (40, 700, 250)]
        {
            let samples = random(n, size, levels);
            for neighbour in [1, 2, 4] {
                let found = squared_distances(&samples, neighbour);
                assert!(found == naive(&samples, neighbour), "{n} of {size}, neighbour {neighbour}");
            }
        }
    }

    #[test]
    fn the_largest_possible_distances_are_exact() {
        let size = 3 * EXACT;
        let samples = Samples { shape: [1, 1, size], raw: [vec![0; size], vec![255; size]].concat() };
        assert_eq!(squared_distances(&samples, 1), [size as u64 * 255 * 255; 2]);
    }

    #[test]
    fn a_duplicate_is_a_neighbour_at_distance_zero() {
        let samples = Samples { shape: [1, 1, 1], raw: vec![7, 7, 7, 10, 20] };
        assert_eq!(squared_distances(&samples, 1), [0, 0, 0, 9, 100]);
        assert_eq!(squared_distances(&samples, 2), [0, 0, 0, 9, 169]);
        assert_eq!(squared_distances(&samples, 3), [9, 9, 9, 9, 169]);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let samples = random(3 * BLOCK, 8, 5);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| squared_distances(&samples, 3))
        };
        assert_eq!(with(1), with(5));
    }

    #[test]
    fn only_a_radius_of_zero_is_lifted_to_the_lowest_percentile_of_the_others() {
        let mut squares: Vec<u64> = (101..=300).collect();
        squares.extend([0, 0]);
        let lifted = lifted(&squares).unwrap();
        assert_eq!(lifted[..200], squares[..200]);
        // Two of 200 lie below it.
        assert_eq!(lifted[200..], [103, 103]);
        assert_eq!(super::lifted(&[0, 0, 0]), None);
    }

    #[test]
    fn a_radius_is_in_network_units() {
        let samples = Samples { shape: [1, 2, 1], raw: vec![0, 0, 3, 4, 0, 8, 0, 0] };
        let folder = tempfile::tempdir().unwrap();
        let radii = in_folder(&samples, 16, 2, Some(folder.path())).unwrap();
        // To (3, 4): 5 / 16; sample 0 has a duplicate, which is its first neighbour.
        assert_eq!(radii[0], 5.0 / 16.0);
        assert_eq!(radii.len(), 4);
    }

    fn message(samples: &Samples, neighbour: usize) -> String {
        let error = in_folder(samples, 255, neighbour, None).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    }

    #[test]
    fn samples_that_are_all_alike_are_one_clear_error() {
        let message = message(&Samples { shape: [1, 2, 1], raw: vec![9; 24] }, 3);
        assert!(message.starts_with("data: the training samples are all alike: expected"), "{message}");
        assert!(message.ends_with("12 samples, each with 3 or more equal to it"), "{message}");
    }

    #[test]
    fn a_neighbour_that_does_not_exist_is_refused() {
        let samples = random(4, 3, 9);
        assert!(message(&samples, 4).contains("expected 1 to 3"), "{}", message(&samples, 4));
        assert!(message(&samples, 0).starts_with("objective.smoothness.neighbour: "));
        assert!(in_folder(&samples, 255, 3, None).is_ok());
    }

    #[test]
    fn what_is_kept_is_not_computed_again() {
        let samples = random(30, 4, 9);
        let folder = tempfile::tempdir().unwrap();
        let fresh = cached(&samples, 2, Some(folder.path()));
        assert_eq!(fresh, naive(&samples, 2));
        assert_eq!(cached(&samples, 2, Some(folder.path())), fresh);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(cached(&samples, 2, None), fresh);
    }

    #[test]
    fn everything_that_matters_is_in_the_key() {
        let samples = random(6, 4, 9);
        let key = content(&samples, 2);
        let mut other = samples.clone();
        other.raw[5] ^= 1;
        let shorter = Samples { shape: [1, 2, 1], raw: samples.raw.clone() };
        for (samples, neighbour) in [(&samples, 3), (&other, 2), (&shorter, 2)] {
            assert_ne!(key, content(samples, neighbour));
        }
        assert_eq!(key, content(&samples.clone(), 2));
    }
}
