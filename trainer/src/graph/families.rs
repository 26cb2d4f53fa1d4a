//! A generated data set for telling graphs apart: four families that differ in how edges are placed, not in how many
//! there are.
//!
//! Each graph has a random number of nodes and twice as many edges, whatever its family, and its nodes are numbered at
//! random.

use std::collections::BTreeSet;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::generate::graph;
use super::set::{GraphSet, degree_features};
use crate::error::{Error, Result};

/// Edges for each node.
const EDGES_PER_NODE: usize = 2;
/// The fewest nodes at which the dense community has enough pairs for its edges.
const FEWEST_NODES: usize = 16;
/// The probability that an edge of a small world is moved.
const REWIRED: f64 = 0.1;
/// The shares of the edges inside the dense and inside the sparse community; the others join the two.
const SHARES: [f64; 2] = [0.6, 0.25];
/// The number of neighbours from which on the features do not tell more.
const MOST_NEIGHBOURS: usize = 15;

/// The families; a graph's label is the place of its family here.
pub const FAMILIES: [&str; 4] = ["small world", "preferential attachment", "two communities", "uniformly random"];

/// Which graphs are generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Families {
    /// Graphs of each family.
    pub graphs: usize,
    /// The fewest and the most nodes of a graph; all numbers between are equally likely.
    pub nodes: [usize; 2],
    /// Equal seeds give equal sets.
    pub seed: u64,
}

impl Families {
    /// The graphs, the families by turns, with one-hot numbers of neighbours as features.
    ///
    /// # Errors
    /// Too few nodes for the families to differ.
    pub fn sample(&self) -> Result<GraphSet> {
        let [fewest, most] = self.nodes;
        if !(FEWEST_NODES..=most).contains(&fewest) {
            let expected = format!("the fewest, at least {FEWEST_NODES}, and the most, no fewer");
            return Err(Error::input("graph families", "numbers of nodes", expected, format!("{:?}", self.nodes)));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut set = GraphSet { graphs: Vec::new(), features: Vec::new(), labels: None };
        let mut labels = Vec::new();
        for _ in 0..self.graphs {
            for label in 0..FAMILIES.len() {
                let nodes = rng.random_range(fewest..=most);
                let mut ends = match label {
                    0 => small_world(nodes, &mut rng),
                    1 => preferential_attachment(nodes, &mut rng),
                    2 => two_communities(nodes, &mut rng),
                    _ => uniformly_random(nodes, &mut rng),
                };
                let mut numbers: Vec<u32> = (0..nodes as u32).collect();
                numbers.shuffle(&mut rng);
                ends.iter_mut().flatten().for_each(|node| *node = numbers[*node as usize]);
                let (graph, _) = graph(nodes, ends);
                set.features.push(degree_features(&graph, MOST_NEIGHBOURS));
                set.graphs.push(graph);
                labels.push(label as u16);
            }
        }
        set.labels = Some(labels);
        Ok(set)
    }
}

/// Watts, Strogatz, "Collective dynamics of small-world networks", 1998: a ring in which each node is joined to the
/// next two, and few edges lead elsewhere.
fn small_world(nodes: usize, rng: &mut ChaCha8Rng) -> Vec<[u32; 2]> {
    let nodes = nodes as u32;
    let ring = (0..nodes).flat_map(|node| (1..=EDGES_PER_NODE as u32).map(move |step| [node, (node + step) % nodes]));
    let ring: Vec<[u32; 2]> = ring.collect();
    let mut placed: BTreeSet<[u32; 2]> = ring.iter().copied().map(ascending).collect();
    for [node, next] in ring {
        if rng.random_bool(REWIRED) {
            let other = rng.random_range(0..nodes);
            if other != node && placed.insert(ascending([node, other])) {
                placed.remove(&ascending([node, next]));
            }
        }
    }
    placed.into_iter().collect()
}

/// Barabási, Albert, "Emergence of scaling in random networks", 1999: each new node is joined to two older ones, to
/// those with more edges more likely. Five nodes joined to each other are the start.
fn preferential_attachment(nodes: usize, rng: &mut ChaCha8Rng) -> Vec<[u32; 2]> {
    const START: u32 = 2 * EDGES_PER_NODE as u32 + 1;
    let mut ends: Vec<[u32; 2]> = (1..START).flat_map(|node| (0..node).map(move |older| [node, older])).collect();
    for node in START..nodes as u32 {
        // An end of an edge drawn uniformly is a node drawn in proportion to its edges.
        let older = ends.as_flattened();
        let mut chosen = BTreeSet::new();
        while chosen.len() < EDGES_PER_NODE {
            chosen.extend(older.choose(rng).copied());
        }
        ends.extend(chosen.into_iter().map(|older| [node, older]));
    }
    ends
}

/// A dense half, a sparse half, and few edges between them.
fn two_communities(nodes: usize, rng: &mut ChaCha8Rng) -> Vec<[u32; 2]> {
    let (half, nodes) = (nodes as u32 / 2, nodes as u32);
    let edges = EDGES_PER_NODE * nodes as usize;
    let [dense, sparse] = SHARES.map(|share| (share * edges as f64) as usize);
    let mut placed = BTreeSet::new();
    place(&mut placed, dense, || [rng.random_range(0..half), rng.random_range(0..half)]);
    place(&mut placed, sparse, || [rng.random_range(half..nodes), rng.random_range(half..nodes)]);
    place(&mut placed, edges - dense - sparse, || [rng.random_range(0..half), rng.random_range(half..nodes)]);
    placed.into_iter().collect()
}

/// Erdős, Rényi, "On random graphs", 1959: all sets of edges are equally likely.
fn uniformly_random(nodes: usize, rng: &mut ChaCha8Rng) -> Vec<[u32; 2]> {
    let mut placed = BTreeSet::new();
    let count = nodes as u32;
    place(&mut placed, EDGES_PER_NODE * nodes, || [rng.random_range(0..count), rng.random_range(0..count)]);
    placed.into_iter().collect()
}

/// Adds `count` new edges between different nodes, of those drawn.
fn place(placed: &mut BTreeSet<[u32; 2]>, count: usize, mut draw: impl FnMut() -> [u32; 2]) {
    let enough = placed.len() + count;
    while placed.len() < enough {
        let [u, v] = draw();
        if u != v {
            placed.insert(ascending([u, v]));
        }
    }
}

fn ascending([u, v]: [u32; 2]) -> [u32; 2] {
    [u.min(v), u.max(v)]
}

#[cfg(test)]
mod tests {
    use super::super::Graph;
    use super::*;

    const SOME: Families = Families { graphs: 50, nodes: [16, 60], seed: 1 };

    fn edges(graph: &Graph) -> usize {
        (0..graph.len()).map(|node| graph.neighbours(node as u32).len()).sum::<usize>() / 2
    }

    /// Closed triangles among pairs of edges that meet.
    fn clustering(graph: &Graph) -> f64 {
        let (mut closed, mut all) = (0.0, 0.0);
        for node in 0..graph.len() as u32 {
            for &a in graph.neighbours(node) {
                for &b in graph.neighbours(node).iter().filter(|&&b| b > a) {
                    all += 1.0;
                    closed += f64::from(u8::from(graph.neighbours(a).contains(&b)));
                }
            }
        }
        closed / all
    }

    fn mean(set: &GraphSet, family: u16, measure: impl Fn(&Graph) -> f64) -> f64 {
        let labels = set.labels.as_ref().unwrap();
        let found: Vec<f64> = set
            .graphs
            .iter()
            .zip(labels)
            .filter(|(_, label)| **label == family)
            .map(|(graph, _)| measure(graph))
            .collect();
        found.iter().sum::<f64>() / found.len() as f64
    }

    #[test]
    fn the_number_of_edges_says_nothing_of_the_family() {
        let set = SOME.sample().unwrap();
        assert_eq!((set.graphs.len(), set.columns()), (200, 16));
        for (graph, features) in set.graphs.iter().zip(&set.features) {
            assert!((16..=60).contains(&graph.len()));
            assert_eq!(edges(graph), 2 * graph.len());
            assert_eq!(features.dim(), (graph.len(), 16));
        }
        let sizes: Vec<f64> = (0..4).map(|family| mean(&set, family, |graph| graph.len() as f64)).collect();
        // The mean of 50 draws from 16 to 60 has a standard deviation of 1.8.
        assert!(sizes.iter().all(|size| (size - 38.0).abs() < 7.0), "{sizes:?}");
    }

    #[test]
    fn families_differ_in_structure() {
        let set = Families { nodes: [40, 60], ..SOME }.sample().unwrap();
        let clusterings: Vec<f64> = (0..4).map(|family| mean(&set, family, clustering)).collect();
        assert!(clusterings[0] > 0.3 && clusterings[3] < 0.12, "{clusterings:?}");
        let most = |graph: &Graph| (0..graph.len() as u32).map(|node| graph.degree(node) as f64).fold(0.0, f64::max);
        let hubs: Vec<f64> = (0..4).map(|family| mean(&set, family, most)).collect();
        assert!(hubs[0] < 7.0 && hubs[1] > hubs[3] + 3.0, "{hubs:?}");
        // Degrees of neighbours are alike where there are communities of different density.
        let alike = |graph: &Graph| {
            let joined = (0..graph.len() as u32).flat_map(|u| graph.neighbours(u).iter().map(move |&v| (u, v)));
            let pairs: Vec<(f64, f64)> =
                joined.map(|(u, v)| (f64::from(graph.degree(u)), f64::from(graph.degree(v)))).collect();
            let mean = pairs.iter().map(|pair| pair.0).sum::<f64>() / pairs.len() as f64;
            let covariance: f64 = pairs.iter().map(|(a, b)| (a - mean) * (b - mean)).sum();
            covariance / pairs.iter().map(|(a, _)| (a - mean).powi(2)).sum::<f64>()
        };
        let alike: Vec<f64> = (0..4).map(|family| mean(&set, family, alike)).collect();
        assert!(alike[2] > 0.1 && alike[3] < 0.05, "{alike:?}");
    }

    #[test]
    fn a_seed_says_which_set() {
        let few = Families { graphs: 3, ..SOME };
        assert_eq!(few.sample().unwrap(), few.sample().unwrap());
        assert_ne!(few.sample().unwrap(), Families { seed: 2, ..few }.sample().unwrap());
    }

    #[test]
    fn too_few_nodes_are_refused() {
        let message = Families { nodes: [15, 60], ..SOME }.sample().unwrap_err().to_string();
        assert!(
            message.contains("expected the fewest, at least 16, and the most, no fewer, found [15, 60]"),
            "{message}"
        );
        assert!(Families { nodes: [60, 30], ..SOME }.sample().is_err());
        assert_eq!(Families { nodes: [16, 16], ..SOME }.sample().unwrap().graphs.len(), 200);
    }
}
