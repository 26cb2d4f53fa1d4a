//! A graph's normalised adjacency as a kernel between its nodes.

use ndarray::Array2;

use super::matrix::Matrix;
use super::{Kernel, Rows};
use crate::error::{Error, Result};
use crate::graph::{AdjacencySpec, Graph};

/// `n D^-1/2 A D^-1/2` of a graph with `n` nodes and degrees `D`, so that eigenvalues of the operator are those of the normalised
/// adjacency itself: 1 once for every part of the graph, -1 where a part is bipartite.
///
/// Sample `i` is node `i`; its values are not looked at. A batch sees the edges inside it, so it should have a good share of all
/// nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjacency {
    /// The graph.
    pub graph: Graph,
    /// Which variant.
    pub spec: AdjacencySpec,
}

impl Adjacency {
    /// The kernel of so many steps, at least 1: a power of this one, with the same eigenfunctions, whose eigenvalues lie farther
    /// apart. Dense: memory grows with the square, time with the cube of the number of nodes.
    pub fn walk(&self, steps: usize) -> Matrix {
        let nodes: Vec<u32> = (0..self.graph.len() as u32).collect();
        let block = self.graph.normalised_block(self.spec, &nodes, &nodes);
        let mut square = Array2::from_shape_vec((nodes.len(), nodes.len()), block).expect("one for each pair");
        let mut power: Option<Array2<f32>> = None;
        let mut left = steps;
        while left > 0 {
            if left % 2 == 1 {
                power = Some(power.map_or_else(|| square.clone(), |power| power.dot(&square)));
            }
            left /= 2;
            if left > 0 {
                square = square.dot(&square);
            }
        }
        let table = power.expect("at least one step").mapv(f64::from) * nodes.len() as f64;
        Matrix { place: "the graph".into(), table }
    }
}

impl Kernel for Adjacency {
    fn gram(&self, rows: Rows, columns: Rows) -> Array2<f64> {
        let block = self.graph.normalised_block(self.spec, rows.samples, columns.samples);
        let block =
            Array2::from_shape_vec((rows.samples.len(), columns.samples.len()), block).expect("one for each pair");
        block.mapv(f64::from) * self.graph.len() as f64
    }

    fn fits(&self, samples: usize, _values: usize) -> Result<()> {
        if self.graph.len() != samples {
            let expected = format!("{samples} nodes, one for each sample");
            return Err(Error::input("the kernel", "a graph of other data", expected, self.graph.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::generate::{cycle, path};
    use crate::graph::testing::random_graph;
    use crate::kernel::exact::Exact;
    use std::f64::consts::{PI, TAU};

    fn exact(graph: Graph, count: usize) -> Exact {
        let nodes: Vec<u32> = (0..graph.len() as u32).collect();
        let none = Array2::zeros((nodes.len(), 0));
        let kernel = Adjacency { graph, spec: AdjacencySpec::default() };
        Exact::of(&kernel, Rows { samples: &nodes, values: none.view() }, count)
    }

    #[test]
    fn a_cycle_and_a_path_have_cosines_for_eigenvalues() {
        let found = exact(cycle(12), 4);
        for (m, value) in [0.0, 1.0, 1.0, 2.0].into_iter().zip(&found.eigenvalues) {
            assert!((value - (TAU * m / 12.0).cos()).abs() < 1e-6, "{value}");
        }
        assert!((found.least + 1.0).abs() < 1e-6, "an even cycle is bipartite: {}", found.least);
        let found = exact(path(12), 4);
        for (m, value) in found.eigenvalues.iter().enumerate() {
            assert!((value - (PI * m as f64 / 11.0).cos()).abs() < 1e-6, "{value}");
        }
    }

    #[test]
    fn a_walk_is_a_power_of_a_step() {
        let kernel = Adjacency { graph: random_graph(30, 60, true, 1), spec: AdjacencySpec::default() };
        let nodes: Vec<u32> = (0..30).collect();
        let none = Array2::zeros((30, 0));
        let rows = Rows { samples: &nodes, values: none.view() };
        let step = kernel.gram(rows, rows) / 30.0;
        let mut power = step.clone();
        for steps in 1..8 {
            let found = kernel.walk(steps).gram(rows, rows) / 30.0;
            assert!(found.iter().zip(&power).all(|(found, naive)| (found - naive).abs() < 1e-5), "{steps} steps");
            power = power.dot(&step);
        }
    }

    #[test]
    fn a_graph_of_other_data_is_refused() {
        let kernel = Adjacency { graph: cycle(5), spec: AdjacencySpec::default() };
        assert!(kernel.fits(5, 3).is_ok());
        let error = kernel.fits(6, 3).unwrap_err().to_string();
        assert!(error.ends_with("expected 6 nodes, one for each sample, found 5"), "{error}");
    }
}
