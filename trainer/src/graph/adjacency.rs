//! The normalised adjacency `K = D^-1/2 A D^-1/2` as a kernel between nodes: never as a whole, but in dense blocks or
//! times a dense matrix.
//!
//! `D` holds the degrees. The eigenvalues of `K` lie in `[-1, 1]`: 1 once for every connected component with an edge,
//! -1 where a component is bipartite. Rows and columns of isolated nodes are zero.

use std::collections::HashMap;
use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Graph;

/// Which variant of the normalised adjacency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdjacencySpec {
    /// Whether a self loop of weight 1 is added to every node, in `A` and in `D`. Isolated nodes then have a row, with
    /// 1 on the diagonal.
    pub self_loops: bool,
    /// Whether the kernel is `K^2`: positive semidefinite, with the same eigenvectors and the eigenvalues squared.
    pub squared: bool,
}

impl Graph {
    /// The kernel between the nodes of `rows` and those of `columns`, both in any order and perhaps more than once:
    /// `[rows, columns]`, row by row.
    ///
    /// Takes time for the edges at `rows` and the block; squared, also for the edges at `columns` and the paths of two
    /// edges between them, but never for all neighbours' neighbours.
    pub fn normalised_block(&self, spec: AdjacencySpec, rows: &[u32], columns: &[u32]) -> Vec<f32> {
        if columns.is_empty() {
            return Vec::new();
        }
        let towards = Towards::new(self, spec, columns);
        let mut block = vec![0.0; rows.len() * columns.len()];
        block.par_chunks_mut(columns.len()).zip(rows).for_each(|(values, &row)| {
            for (node, weight) in self.normalised_row(spec, row) {
                for &(column, onwards) in towards.from(node) {
                    values[column as usize] += weight * onwards;
                }
            }
        });
        block
    }

    /// The kernel times `dense` `[nodes, k]`: `[nodes, k]`. The result does not depend on the number of threads.
    ///
    /// # Panics
    /// When `dense` has not one row for each node.
    pub fn normalised_times(&self, spec: AdjacencySpec, dense: &ArrayView2<f32>) -> Array2<f32> {
        assert_eq!(dense.nrows(), self.len(), "one row for each node");
        let once = self.once_times(spec, dense);
        if spec.squared { self.once_times(spec, &once.view()) } else { once }
    }

    fn once_times(&self, spec: AdjacencySpec, dense: &ArrayView2<f32>) -> Array2<f32> {
        let mut product = Array2::zeros(dense.dim());
        product.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(node, mut row)| {
            for (other, weight) in self.normalised_row(spec, node as u32) {
                row.scaled_add(weight, &dense.row(other as usize));
            }
        });
        product
    }

    /// The entries of a row of `K`, not squared, that are not zero. A node may come twice: its entry is the sum.
    fn normalised_row(&self, spec: AdjacencySpec, node: u32) -> impl Iterator<Item = (u32, f32)> {
        let scale = self.scale(spec, node);
        let added = spec.self_loops.then_some((node, 1.0));
        self.edges(node).chain(added).map(move |(other, weight)| (other, scale * weight * self.scale(spec, other)))
    }

    /// A diagonal entry of `D^-1/2`; 0 for a node without edges.
    fn scale(&self, spec: AdjacencySpec, node: u32) -> f32 {
        let degree = self.degree(node) + f32::from(u8::from(spec.self_loops));
        if degree > 0.0 { degree.sqrt().recip() } else { 0.0 }
    }
}

/// How the columns of a block are reached from any node.
struct Towards {
    /// Places in the block's columns, with the factor of the last step to them; those of one node together.
    steps: Vec<(u32, f32)>,
    /// Which of the steps leave from a node; nodes without any are missing.
    ranges: HashMap<u32, Range<usize>>,
}

impl Towards {
    fn new(graph: &Graph, spec: AdjacencySpec, columns: &[u32]) -> Self {
        let mut steps: Vec<(u32, u32, f32)> = Vec::new();
        for (place, &column) in columns.iter().enumerate() {
            let place = place as u32;
            match spec.squared {
                false => steps.push((column, place, 1.0)),
                // The kernel is symmetric: a column's entries are those of its row.
                true => steps.extend(graph.normalised_row(spec, column).map(|(node, weight)| (node, place, weight))),
            }
        }
        steps.sort_by_key(|&(node, ..)| node);
        let mut ranges = HashMap::new();
        let mut start = 0;
        for run in steps.chunk_by(|a, b| a.0 == b.0) {
            ranges.insert(run[0].0, start..start + run.len());
            start += run.len();
        }
        Self { steps: steps.into_iter().map(|(_, place, weight)| (place, weight)).collect(), ranges }
    }

    fn from(&self, node: u32) -> &[(u32, f32)] {
        self.ranges.get(&node).map_or(&[], |range| &self.steps[range.clone()])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::super::generate::{cycle, path};
    use super::super::testing::{random_edges, random_graph};
    use super::super::{Edges, Options};
    use super::*;

    const SPECS: [AdjacencySpec; 4] = [
        AdjacencySpec { self_loops: false, squared: false },
        AdjacencySpec { self_loops: true, squared: false },
        AdjacencySpec { self_loops: false, squared: true },
        AdjacencySpec { self_loops: true, squared: true },
    ];

    /// The whole kernel, by dense matrix products.
    fn naive(graph: &Graph, spec: AdjacencySpec) -> Array2<f64> {
        let n = graph.len();
        let mut adjacency = Array2::<f64>::zeros((n, n));
        for node in 0..n {
            for (other, weight) in graph.edges(node as u32) {
                adjacency[[node, other as usize]] += f64::from(weight);
            }
            adjacency[[node, node]] += f64::from(u8::from(spec.self_loops));
        }
        let degrees: Array1<f64> = adjacency.sum_axis(Axis(1));
        let scales = degrees.mapv(|degree| if degree > 0.0 { 1.0 / degree.sqrt() } else { 0.0 });
        let kernel = Array2::from_diag(&scales).dot(&adjacency).dot(&Array2::from_diag(&scales));
        if spec.squared { kernel.dot(&kernel) } else { kernel }
    }

    fn graphs() -> [Graph; 3] {
        let edges = random_edges(30, 70, true, 5);
        let (loops, _) = Graph::new("", 30, &edges, Options { keep_self_loops: true }).unwrap();
        [random_graph(30, 45, false, 6), random_graph(30, 90, true, 7), loops]
    }

    #[test]
    fn blocks_are_parts_of_the_dense_kernel() {
        let rows: Vec<u32> = vec![3, 17, 0, 29, 17];
        let columns: Vec<u32> = vec![8, 3, 3, 21, 0, 12, 8, 17];
        for graph in graphs() {
            for spec in SPECS {
                let whole = naive(&graph, spec);
                let block = graph.normalised_block(spec, &rows, &columns);
                assert_eq!(block.len(), rows.len() * columns.len());
                for (i, &row) in rows.iter().enumerate() {
                    for (j, &column) in columns.iter().enumerate() {
                        let expected = whole[[row as usize, column as usize]];
                        let found = f64::from(block[i * columns.len() + j]);
                        assert!((found - expected).abs() < 1e-6, "{spec:?} {row} {column}: {found} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_dense_kernel() {
        let dense = Array2::from_shape_fn((30, 3), |(i, j)| ((i * 7 + j * 11) % 13) as f32 - 6.0);
        for graph in graphs() {
            for spec in SPECS {
                let expected = naive(&graph, spec).dot(&dense.mapv(f64::from));
                // A transposed layout is read like any other.
                let columns_first = dense.t().as_standard_layout().into_owned();
                for found in
                    [graph.normalised_times(spec, &dense.view()), graph.normalised_times(spec, &columns_first.t())]
                {
                    let error = (&found.mapv(f64::from) - &expected).mapv(f64::abs).iter().copied().fold(0.0, f64::max);
                    assert!(error < 1e-5, "{spec:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn isolated_nodes_have_zero_rows_unless_self_loops_are_added() {
        let (graph, _) = Graph::new("", 3, &Edges::new(vec![[0, 2]]), Options::default()).unwrap();
        for spec in SPECS {
            let block = graph.normalised_block(spec, &[1], &[0, 1, 2]);
            assert_eq!(block, if spec.self_loops { [0.0, 1.0, 0.0] } else { [0.0; 3] });
        }
    }

    #[test]
    fn empty_blocks_are_empty() {
        let graph = cycle(5);
        for spec in SPECS {
            assert!(graph.normalised_block(spec, &[], &[1, 2]).is_empty());
            assert!(graph.normalised_block(spec, &[1, 2], &[]).is_empty());
        }
    }

    #[test]
    fn cycles_have_cosines_for_eigenvalues() {
        let (n, spec) = (12, AdjacencySpec::default());
        for m in 0..=n / 2 {
            let angle = 2.0 * std::f32::consts::PI * m as f32 / n as f32;
            let wave = Array2::from_shape_fn((n as usize, 1), |(i, _)| (angle * i as f32).cos());
            let found = cycle(n).normalised_times(spec, &wave.view());
            assert!((found - &wave * angle.cos()).iter().all(|error| error.abs() < 1e-6), "wave {m}");
        }
    }

    #[test]
    fn paths_have_cosines_for_eigenvalues() {
        let (n, spec) = (9, AdjacencySpec { squared: true, ..AdjacencySpec::default() });
        let graph = path(n);
        for m in 0..n {
            // D^1/2 times a cosine: the walk's eigenfunctions are cosines.
            let angle = std::f32::consts::PI * m as f32 / (n - 1) as f32;
            let wave = Array2::from_shape_fn((n as usize, 1), |(i, _)| {
                graph.degree(i as u32).sqrt() * (angle * i as f32).cos()
            });
            let found = graph.normalised_times(spec, &wave.view());
            assert!((found - &wave * angle.cos().powi(2)).iter().all(|error| error.abs() < 1e-6), "wave {m}");
        }
    }

    #[test]
    fn a_spec_reads_from_toml() {
        let spec: AdjacencySpec = toml::from_str("squared = true").unwrap();
        assert_eq!(spec, AdjacencySpec { self_loops: false, squared: true });
        assert!(toml::from_str::<AdjacencySpec>("cubed = true").is_err());
    }
}
