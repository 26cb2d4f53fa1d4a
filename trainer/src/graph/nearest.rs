//! The graph of nearest neighbours: samples as nodes, with an edge where one is among the other's nearest.

use std::path::Path;

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Edges, Graph, Options, Survey};
use crate::cache::Cache;
use crate::error::{Error, Result};

/// Rows of the distance matrix that one task holds, and columns at a time.
const BLOCK: usize = 512;
/// Candidates beyond the neighbours asked for: distances in `f32` put these in nearly the right order, in `f64` in the right one.
const SPARE: usize = 8;

/// The neighbours of every sample, nearest first; of equals the lower number.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// `[n][count]`: the neighbours' numbers. A sample is not its own neighbour.
    pub neighbours: Vec<u32>,
    /// `[n][count]`: their squared Euclidean distances.
    pub squares: Vec<f64>,
    /// Neighbours of each sample.
    pub count: usize,
}

impl Nearest {
    /// The `count` nearest of each of the samples `[n, d]`, exactly: time grows with the square of their number, memory does not.
    /// They are kept in `folder`, if there is one: see [`cache`](crate::cache).
    ///
    /// # Errors
    /// No more samples than `count`, or a `count` of 0.
    pub fn of(values: &ArrayView2<f32>, count: usize, folder: Option<&Path>) -> Result<Self> {
        let n = values.nrows();
        if count == 0 || count >= n {
            let expected = format!("1 to {}, below the number of samples", n.saturating_sub(1));
            return Err(Error::input("neighbours", "no such neighbours", expected, count));
        }
        let cache = Cache { folder, suffix: "neighbours" };
        let words = cache.words(&content(values, count), 2 * n * count, || Self::found(values, count));
        let (neighbours, squares) = words.split_at(n * count);
        let neighbours = neighbours.iter().map(|&word| word as u32).collect();
        Ok(Self { neighbours, squares: squares.iter().map(|&word| f64::from_bits(word)).collect(), count })
    }

    /// The neighbours' numbers, then the bits of their distances.
    fn found(values: &ArrayView2<f32>, count: usize) -> Vec<u64> {
        let n = values.nrows();
        // Squares of what lies far from zero would hide small differences.
        let middle = values.mean_axis(Axis(0)).expect("there are samples");
        let centred = values - &middle;
        let squares = centred.map_axis(Axis(1), |row| row.dot(&row));
        let kept = (count + SPARE).min(n - 1);
        let rows: Vec<(Vec<u32>, Vec<f64>)> = (0..n.div_ceil(BLOCK))
            .into_par_iter()
            .flat_map_iter(|block| {
                let rows = block * BLOCK..((block + 1) * BLOCK).min(n);
                let candidates = candidates(&centred, &squares, rows.clone(), kept);
                rows.zip(candidates).map(|(row, found)| ranked(values, row, found, count)).collect::<Vec<_>>()
            })
            .collect();
        let neighbours = rows.iter().flat_map(|(neighbours, _)| neighbours.iter().map(|&other| other.into()));
        let squares = rows.iter().flat_map(|(_, squares)| squares.iter().map(|square| square.to_bits()));
        neighbours.chain(squares).collect()
    }

    /// Samples are joined with their nearest, by how near they are for the place they are in (Zelnik-Manor and Perona 2004): with
    /// `s_i` the distance of sample `i` to its farthest neighbour here, the weight is `exp(-|x_i - x_j|^2 / (s_i s_j))`.
    ///
    /// # Errors
    /// More samples than a graph may have nodes.
    pub fn affinities(&self) -> Result<(Graph, Survey)> {
        let n = self.neighbours.len() / self.count;
        let scales: Vec<f64> = self.squares.chunks_exact(self.count).map(|row| row[self.count - 1].sqrt()).collect();
        let (mut ends, mut weights) = (Vec::new(), Vec::new());
        for (place, (&other, &square)) in self.neighbours.iter().zip(&self.squares).enumerate() {
            let sample = place / self.count;
            let back = &self.neighbours[other as usize * self.count..][..self.count];
            // An edge that both ends name is given once.
            if back.contains(&(sample as u32)) && (other as usize) < sample {
                continue;
            }
            // Duplicates have no distance to tell by.
            let scale = scales[sample] * scales[other as usize];
            ends.push([sample as u32, other]);
            weights.push(if square > 0.0 { (-square / scale).exp() as f32 } else { 1.0 });
        }
        // So far apart that the weight is no number of f32: still neighbours.
        weights.iter_mut().for_each(|weight| *weight = weight.max(f32::MIN_POSITIVE));
        Graph::new("neighbours", n, &Edges { ends, weights: Some(weights) }, Options::default())
    }
}

/// SHA-256 of everything that the neighbours depend on, and of the file's format.
fn content(values: &ArrayView2<f32>, count: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"eigenlet neighbours 1");
    for extent in [values.nrows(), values.ncols(), count] {
        hash.update((extent as u64).to_le_bytes());
    }
    values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    hash.finalize().into()
}

/// The `kept` nearest of each row in `f32`, in no order.
fn candidates(
    centred: &Array2<f32>,
    squares: &Array1<f32>,
    rows: std::ops::Range<usize>,
    kept: usize,
) -> Vec<Vec<(f32, u32)>> {
    let own = centred.slice(s![rows.clone(), ..]);
    let mut found = vec![Vec::with_capacity(2 * kept); rows.len()];
    for start in (0..centred.nrows()).step_by(BLOCK) {
        let columns = start..(start + BLOCK).min(centred.nrows());
        let products = own.dot(&centred.slice(s![columns.clone(), ..]).t());
        for ((row, products), found) in rows.clone().zip(products.outer_iter()).zip(&mut found) {
            for (column, product) in columns.clone().zip(products) {
                if column != row {
                    found.push((squares[row] + squares[column] - 2.0 * product, column as u32));
                }
                if found.len() == 2 * kept {
                    keep(found, kept);
                }
            }
        }
    }
    found.iter_mut().for_each(|found| keep(found, kept));
    found
}

/// The `kept` least.
fn keep(found: &mut Vec<(f32, u32)>, kept: usize) {
    if found.len() > kept {
        found.select_nth_unstable_by(kept - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(kept);
    }
}

/// The `count` nearest among candidates, by their distances in `f64`.
fn ranked(values: &ArrayView2<f32>, row: usize, candidates: Vec<(f32, u32)>, count: usize) -> (Vec<u32>, Vec<f64>) {
    let distance = |other: u32| -> f64 {
        let pairs = values.row(row).into_iter().zip(values.row(other as usize));
        pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    };
    let mut exact: Vec<(f64, u32)> = candidates.into_iter().map(|(_, other)| (distance(other), other)).collect();
    exact.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    exact.into_iter().take(count).map(|(square, other)| (other, square)).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn values(n: usize, d: usize, seed: u64) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_fn((n, d), |_| 100.0 + rng.random_range(-1.0..1.0))
    }

    #[test]
    fn neighbours_are_those_of_a_whole_distance_table() {
        let values = values(700, 3, 1);
        let found = Nearest::of(&values.view(), 6, None).unwrap();
        for row in 0..700 {
            let distance = |other: usize| -> f64 {
                (0..3).map(|k| (f64::from(values[[row, k]]) - f64::from(values[[other, k]])).powi(2)).sum()
            };
            let mut all: Vec<(f64, u32)> =
                (0..700).filter(|&other| other != row).map(|other| (distance(other), other as u32)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (k, (square, other)) in all[..6].iter().enumerate() {
                assert_eq!(found.neighbours[row * 6 + k], *other, "neighbour {k} of {row}");
                assert!((found.squares[row * 6 + k] - square).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn affinities_are_symmetric_and_know_their_place() {
        let values = values(60, 2, 2);
        let nearest = Nearest::of(&values.view(), 4, None).unwrap();
        let (graph, survey) = nearest.affinities().unwrap();
        assert_eq!((survey.nodes, survey.isolated, survey.self_loops), (60, 0, 0));
        let scale = |node: usize| nearest.squares[node * 4 + 3].sqrt();
        for node in 0..60u32 {
            for (other, weight) in graph.edges(node) {
                let named = |a: u32, b: u32| nearest.neighbours[a as usize * 4..][..4].contains(&b);
                assert!(named(node, other) || named(other, node));
                let square: f64 = (0..2)
                    .map(|k| (f64::from(values[[node as usize, k]]) - f64::from(values[[other as usize, k]])).powi(2))
                    .sum();
                let expected = (-square / (scale(node as usize) * scale(other as usize))).exp();
                assert!((f64::from(weight) - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn duplicates_are_the_nearest_of_all() {
        let mut values = values(30, 2, 3);
        let twin = values.row(4).to_owned();
        for copy in [9, 17, 25] {
            values.row_mut(copy).assign(&twin);
        }
        let nearest = Nearest::of(&values.view(), 3, None).unwrap();
        assert_eq!(nearest.neighbours[12..15], [9, 17, 25]);
        let (graph, _) = nearest.affinities().unwrap();
        assert!(graph.edges(4).any(|(other, weight)| other == 25 && weight == 1.0));
        assert!((0..30).all(|node| graph.degree(node).is_finite()));
    }

    #[test]
    fn more_neighbours_than_there_are_others_are_refused() {
        let error = Nearest::of(&values(5, 2, 4).view(), 5, None).unwrap_err().to_string();
        assert!(error.ends_with("expected 1 to 4, below the number of samples, found 5"), "{error}");
        assert!(Nearest::of(&values(5, 2, 4).view(), 0, None).is_err());
        assert!(Nearest::of(&values(5, 2, 4).view(), 4, None).is_ok());
    }
}
