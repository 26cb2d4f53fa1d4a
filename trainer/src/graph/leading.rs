//! The leading eigenvectors of the normalised adjacency, exactly: what is learned from steps of the walk is compared with these.
//!
//! Subspace iteration with a Chebyshev filter (Zhou, Saad, Tiago and Chelikowsky 2006): a polynomial of the matrix that is small
//! where eigenvalues are unwanted and grows steeply towards 1, then Rayleigh-Ritz. Time grows with the edges, memory with the nodes.

use nalgebra::DMatrix;
use ndarray::{Array2, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{AdjacencySpec, Graph};
use crate::order::symmetric_eigen;

/// Vectors beyond those asked for: they carry what is nearest below, so that the last of these converge, too.
const SPARE: usize = 10;
/// Products with the matrix in one filter, at most.
const DEGREE: usize = 50;
/// How much more a filter may let through at 1 than at the cut: beyond it, `f32` would hold nothing but the first vector.
const GROWTH: f64 = 1e3;
/// Filters at most.
const ROUNDS: usize = 40;
/// Norm of `K v - lambda v` that is accepted: `f32` gives little better.
const RESIDUAL: f64 = 2e-6;

/// Leading eigenvalues and eigenvectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Leading {
    /// Largest first, in `[-1, 1]`.
    pub eigenvalues: Vec<f64>,
    /// `[nodes, count]`: unit columns in that order.
    pub vectors: Array2<f32>,
    /// The largest norm of `K v - lambda v` among them: an eigenvalue is this near to the one found.
    pub residual: f64,
}

impl Graph {
    /// The `count` leading eigenvectors of the normalised adjacency, no more than there are nodes.
    pub fn leading(&self, spec: AdjacencySpec, count: usize, seed: u64) -> Leading {
        let (n, count) = (self.len(), count.min(self.len()));
        let size = (count + SPARE).min(n);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut basis = Array2::from_shape_simple_fn((n, size), || StandardNormal.sample(&mut rng));
        let mut rounds = 0;
        loop {
            let (eigenvalues, vectors, residual) = self.ritz(spec, &basis, count);
            if residual < RESIDUAL || rounds == ROUNDS || size == n {
                let vectors = vectors.slice(s![.., ..count]).to_owned();
                return Leading { eigenvalues: eigenvalues[..count].to_vec(), vectors, residual };
            }
            basis = self.filtered(spec, vectors, eigenvalues[size - 1]);
            rounds += 1;
        }
    }

    /// Ritz values and vectors of the columns' span, largest first, and the largest residual of the first `count`.
    fn ritz(&self, spec: AdjacencySpec, basis: &Array2<f32>, count: usize) -> (Vec<f64>, Array2<f32>, f64) {
        let (n, size) = basis.dim();
        let columns = DMatrix::from_fn(n, size, |i, j| f64::from(basis[[i, j]]));
        let orthonormal = columns.qr().q();
        let orthonormal = Array2::from_shape_fn((n, size), |(i, j)| orthonormal[(i, j)] as f32);
        let product = self.normalised_times(spec, &orthonormal.view());
        let inner = orthonormal.t().mapv(f64::from).dot(&product.mapv(f64::from));
        let (eigenvalues, rotation) = symmetric_eigen(&DMatrix::from_fn(size, size, |i, j| inner[[i, j]]));
        let rotation = Array2::from_shape_fn((size, size), |(i, j)| rotation[(i, j)] as f32);
        let (vectors, product) = (orthonormal.dot(&rotation), product.dot(&rotation));
        let residual = (0..count).map(|j| {
            let pairs = product.column(j).into_iter().zip(vectors.column(j));
            pairs.map(|(p, v)| (f64::from(*p) - eigenvalues[j] * f64::from(*v)).powi(2)).sum::<f64>().sqrt()
        });
        let residual = residual.fold(0.0, f64::max);
        (eigenvalues, vectors, residual)
    }

    /// The Chebyshev polynomial of `[-1, cut]`, scaled to 1 at 1, of the matrix, times `vectors`.
    fn filtered(&self, spec: AdjacencySpec, vectors: Array2<f32>, cut: f64) -> Array2<f32> {
        let (half, middle) = ((cut + 1.0) / 2.0, (cut - 1.0) / 2.0);
        let shifted = |x: &Array2<f32>| {
            let mut product = self.normalised_times(spec, &x.view());
            product.scaled_add(-middle as f32, x);
            product
        };
        let first = half / (1.0 - middle);
        let degree = (GROWTH.acosh() / (1.0 / first).acosh()) as usize;
        let mut sigma = first;
        let mut before = vectors;
        let mut now = shifted(&before) * ((sigma / half) as f32);
        for _ in 1..degree.clamp(1, DEGREE) {
            let next = 1.0 / (2.0 / first - sigma);
            let mut filtered = shifted(&now) * ((2.0 * next / half) as f32);
            filtered.scaled_add(-(sigma * next) as f32, &before);
            (before, now, sigma) = (now, filtered, next);
        }
        // Columns that the filter left small would be lost in rounding.
        for mut column in now.axis_iter_mut(Axis(1)) {
            let norm = column.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            if norm > 0.0 {
                column.mapv_inplace(|value| (f64::from(value) / norm) as f32);
            }
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::super::generate::{cycle, path};
    use super::super::testing::random_graph;
    use super::super::{Edges, Options};
    use super::*;

    const PLAIN: AdjacencySpec = AdjacencySpec { self_loops: false, squared: false };

    #[test]
    fn a_cycle_and_a_path_have_cosines() {
        let found = cycle(301).leading(PLAIN, 5, 1).eigenvalues;
        for (j, found) in found.iter().enumerate() {
            let expected = (2.0 * PI * j.div_ceil(2) as f64 / 301.0).cos();
            assert!((found - expected).abs() < 1e-5, "{j}: {found}, expected {expected}");
        }
        for (j, found) in path(200).leading(PLAIN, 4, 1).eigenvalues.iter().enumerate() {
            let expected = (PI * j as f64 / 199.0).cos();
            assert!((found - expected).abs() < 1e-5, "{j}: {found}, expected {expected}");
        }
    }

    #[test]
    fn a_random_graph_has_those_of_its_whole_matrix() {
        for (self_loops, squared) in [(false, false), (true, true)] {
            let (graph, spec) = (random_graph(80, 300, true, 3), AdjacencySpec { self_loops, squared });
            let nodes: Vec<u32> = (0..80).collect();
            let whole = graph.normalised_block(spec, &nodes, &nodes);
            let (expected, _) = symmetric_eigen(&DMatrix::from_fn(80, 80, |i, j| f64::from(whole[i * 80 + j])));
            let found = graph.leading(spec, 6, 1);
            for (found, expected) in found.eigenvalues.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
            }
            assert!(found.residual < 1e-5, "{}", found.residual);
        }
    }

    #[test]
    fn every_part_of_a_graph_has_an_eigenvalue_of_1() {
        let ends = (0..30).flat_map(|i| [[3 * i, 3 * i + 1], [3 * i + 1, 3 * i + 2], [3 * i + 2, 3 * i]]).collect();
        let graph = Graph::new("test", 90, &Edges::new(ends), Options::default()).unwrap().0;
        let found = graph.leading(PLAIN, 31, 1).eigenvalues;
        assert!(found[..30].iter().all(|value| (value - 1.0).abs() < 1e-5), "{found:?}");
        assert!(found[30] < 0.9);
        assert_eq!(graph.leading(PLAIN, 200, 1).eigenvalues.len(), 90);
    }
}
