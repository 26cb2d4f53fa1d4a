//! Graphs whose spectrum or communities are known: cycles, paths, stochastic block models.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Edges, Graph, MAX_NODES, Options, Survey};
use crate::error::{Error, Result};

/// The most edges that a block model is expected to have: 8 GB of them.
const MAX_EDGES: f64 = 1e9;

/// A ring of nodes. The normalised adjacency has the eigenvalues `cos(2 pi m / nodes)`. Fewer than three nodes are a
/// path.
///
/// # Panics
/// When there are more than [`MAX_NODES`] nodes, as for [`path`].
pub fn cycle(nodes: u32) -> Graph {
    let last = (nodes > 2).then(|| [nodes - 1, 0]);
    graph(nodes as usize, (1..nodes).map(|node| [node - 1, node]).chain(last).collect()).0
}

/// Nodes in a line. The normalised adjacency has the eigenvalues `cos(pi m / (nodes - 1))`.
pub fn path(nodes: u32) -> Graph {
    graph(nodes as usize, (1..nodes).map(|node| [node - 1, node]).collect()).0
}

/// The graph of edges made here, whose nodes are below `nodes`.
pub(super) fn graph(nodes: usize, ends: Vec<[u32; 2]>) -> (Graph, Survey) {
    let graph = Graph::new("a generated graph", nodes, &Edges::new(ends), Options::default());
    graph.expect("generated edges are in range and without weights")
}

/// A stochastic block model (Holland, Laskey, Leinhardt, "Stochastic blockmodels: first steps", 1983): every pair of
/// nodes has an edge by chance, with one probability inside a block and another between blocks.
///
/// Nodes are numbered block by block. For two equal blocks the second eigenvalue of the normalised adjacency of the
/// expected graph is `(within - between) / (within + between)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockModel {
    /// The number of nodes in each block.
    pub sizes: Vec<usize>,
    /// The probability of an edge inside a block, 0 to 1.
    pub within: f64,
    /// The probability of an edge between blocks, 0 to 1.
    pub between: f64,
    /// Equal seeds give equal graphs.
    pub seed: u64,
}

impl BlockModel {
    /// The model in which a node has on average `within` neighbours in its own block and `between` in others.
    pub fn with_mean_degrees(sizes: Vec<usize>, within: f64, between: f64, seed: u64) -> Self {
        let nodes: f64 = sizes.iter().map(|&size| size as f64).sum();
        let squares: f64 = sizes.iter().map(|&size| size as f64 * size as f64).sum();
        // Without any pair of that kind there is no edge of it, whatever the probability.
        let share = |degree: f64, pairs: f64| if pairs > 0.0 { degree * nodes / pairs } else { 0.0 };
        let (within, between) = (share(within, squares - nodes), share(between, nodes * nodes - squares));
        Self { sizes, within, between, seed }
    }

    /// A graph of the model, and the block of each node. Takes time for the nodes, the edges and the pairs of blocks,
    /// not for the pairs of nodes.
    ///
    /// # Errors
    /// A probability that is none, more nodes or blocks than can be numbered, more than 1e9 edges to expect.
    pub fn sample(&self) -> Result<(Graph, Survey, Vec<u16>)> {
        let expected_edges = self.check()?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut ends = Vec::with_capacity((expected_edges * 1.01) as usize);
        let mut first = 0;
        for (block, &size) in self.sizes.iter().enumerate() {
            let (mut row, mut passed) = (1, 0);
            // Pairs in the order (1, 0), (2, 0), (2, 1), (3, 0)...
            visit_chosen(pairs_in(size), self.within, &mut rng, |pair| {
                while pair - passed >= row {
                    passed += row;
                    row += 1;
                }
                ends.push([first + row as u32, first + (pair - passed) as u32]);
            });
            let mut other = first + size as u32;
            for &other_size in &self.sizes[block + 1..] {
                visit_chosen(size as u64 * other_size as u64, self.between, &mut rng, |pair| {
                    let (row, column) = (pair / other_size as u64, pair % other_size as u64);
                    ends.push([first + row as u32, other + column as u32]);
                });
                other += other_size as u32;
            }
            first += size as u32;
        }
        let blocks = self.sizes.iter().enumerate().flat_map(|(block, &size)| std::iter::repeat_n(block as u16, size));
        let (graph, survey) = graph(first as usize, ends);
        Ok((graph, survey, blocks.collect()))
    }

    /// Checks the model; the number of edges to expect.
    fn check(&self) -> Result<f64> {
        let place = "block model";
        for (name, probability) in [("within", self.within), ("between", self.between)] {
            if !(0.0..=1.0).contains(&probability) {
                let what = format!("{name} is no probability");
                return Err(Error::input(place, what, "a number from 0 to 1", probability));
            }
        }
        if self.sizes.len() > usize::from(u16::MAX) + 1 {
            let expected = format!("at most {}", u32::from(u16::MAX) + 1);
            return Err(Error::input(place, "too many blocks", expected, self.sizes.len()));
        }
        let nodes = self.sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
        if nodes.is_none_or(|nodes| nodes > MAX_NODES) {
            let found = format!("the sizes {:?}", self.sizes);
            return Err(Error::input(place, "too many nodes", format!("at most {MAX_NODES}"), found));
        }
        let nodes: f64 = self.sizes.iter().map(|&size| size as f64).sum();
        let inside: f64 = self.sizes.iter().map(|&size| pairs_in(size) as f64).sum();
        let expected_edges = inside * self.within + (nodes * (nodes - 1.0) / 2.0 - inside).max(0.0) * self.between;
        if expected_edges > MAX_EDGES {
            let found = format!("about {expected_edges:.0}");
            return Err(Error::input(place, "too many edges", format!("at most {MAX_EDGES:.0} to expect"), found));
        }
        Ok(expected_edges)
    }
}

fn pairs_in(size: usize) -> u64 {
    size as u64 * (size as u64).saturating_sub(1) / 2
}

/// Visits, in ascending order, the numbers below `count` that chance chooses, each with `probability`. The distance
/// from one chosen number to the next is geometrically distributed, so that only chosen numbers cost time (Batagelj,
/// Brandes, "Efficient generation of large random networks", 2005).
fn visit_chosen(count: u64, probability: f64, rng: &mut ChaCha8Rng, mut visit: impl FnMut(u64)) {
    if probability <= 0.0 {
        return;
    }
    let log_missed = (-probability).ln_1p();
    let mut next = 0;
    while next < count {
        // For a probability of 1 the logarithm is infinite, and every skip 0.
        let skip = ((-rng.random::<f64>()).ln_1p() / log_missed).floor();
        if skip >= (count - next) as f64 {
            return;
        }
        next += skip as u64;
        visit(next);
        next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_and_paths_are_rings_and_lines() {
        let ring = cycle(5);
        assert_eq!([ring.neighbours(0), ring.neighbours(3)], [[1, 4], [2, 4]]);
        let line = path(5);
        assert_eq!([line.neighbours(0), line.neighbours(4)], [[1], [3]]);
        assert_eq!(line.neighbours(2), [1, 3]);
        for few in 0..3 {
            assert_eq!(cycle(few), path(few));
        }
    }

    #[test]
    fn skips_choose_each_number_with_its_probability() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for probability in [0.0, 0.03, 0.4, 1.0] {
            let mut counts = [0_u32; 50];
            for _ in 0..4000 {
                let mut last = None;
                visit_chosen(50, probability, &mut rng, |number| {
                    assert!(last < Some(number));
                    last = Some(number);
                    counts[number as usize] += 1;
                });
            }
            // Five standard deviations of the binomial distribution.
            let tolerance = 5.0 * (4000.0 * probability * (1.0 - probability)).sqrt();
            for count in counts {
                assert!((f64::from(count) - 4000.0 * probability).abs() <= tolerance, "{probability}: {count}");
            }
        }
    }

    #[test]
    fn every_pair_of_nodes_may_get_an_edge_and_gets_it_once() {
        let model = BlockModel { sizes: vec![4, 0, 1, 3], within: 1.0, between: 1.0, seed: 0 };
        let (graph, survey, blocks) = model.sample().unwrap();
        assert_eq!((survey.edges, survey.duplicates, survey.self_loops), (28, 0, 0));
        assert!((0..8).all(|node| graph.degree(node) == 7.0));
        assert_eq!(blocks, [0, 0, 0, 0, 2, 3, 3, 3]);
        let (_, survey, _) = BlockModel { between: 0.0, ..model }.sample().unwrap();
        assert_eq!((survey.edges, survey.components), (9, 3));
    }

    #[test]
    fn mean_degrees_are_as_asked() {
        let (graph, _, blocks) = BlockModel::with_mean_degrees(vec![3000, 1000], 12.0, 3.0, 2).sample().unwrap();
        let mut degrees = [0.0; 2];
        for node in 0..4000 {
            for &other in graph.neighbours(node) {
                degrees[usize::from(blocks[node as usize] != blocks[other as usize])] += 1.0 / 4000.0;
            }
        }
        assert!((degrees[0] - 12.0_f64).abs() < 0.5 && (degrees[1] - 3.0_f64).abs() < 0.25, "{degrees:?}");
    }

    #[test]
    fn the_second_eigenvalue_of_two_blocks_is_that_of_the_expected_graph() {
        let model = BlockModel { sizes: vec![400, 400], within: 0.3, between: 0.1, seed: 3 };
        let (graph, _, blocks) = model.sample().unwrap();
        let signs = ndarray::Array2::from_shape_fn((800, 1), |(node, _)| 1.0 - 2.0 * f32::from(blocks[node]));
        let product = graph.normalised_times(Default::default(), &signs.view());
        let quotient = (&signs * &product).sum() / 800.0;
        assert!((quotient - 0.5).abs() < 0.02, "{quotient}");
    }

    #[test]
    fn a_seed_says_which_graph() {
        let model = BlockModel { sizes: vec![30, 30], within: 0.2, between: 0.05, seed: 4 };
        assert_eq!(model.sample().unwrap(), model.sample().unwrap());
        assert_ne!(model.sample().unwrap().0, BlockModel { seed: 5, ..model }.sample().unwrap().0);
    }

    #[test]
    fn models_that_are_none_are_refused() {
        let refused = |sizes: &[usize], within, between| {
            let model = BlockModel { sizes: sizes.to_vec(), within, between, seed: 0 };
            model.sample().unwrap_err().to_string()
        };
        let message = refused(&[2], 1.5, 0.0);
        assert_eq!(message, "block model: within is no probability: expected a number from 0 to 1, found 1.5");
        assert!(refused(&[2], 0.0, f64::NAN).contains("between is no probability"));
        assert!(refused(&[usize::MAX, 2], 0.0, 0.0).contains("too many nodes"));
        assert!(refused(&vec![1; 65_537], 0.0, 0.0).contains("too many blocks"));
        assert!(refused(&[1_000_000, 1], 0.5, 0.0).contains("too many edges"));
    }
}
