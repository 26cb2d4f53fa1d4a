//! Two ends of an edge as two views: a graph says what belongs together.
//!
//! With steps of the random walk drawn as often as it takes them, the pairs' kernel is `p(u, v) / (p(u) p(v))` for the walk's
//! stationary distribution `p`, in which a node comes as often as it has edges. Its eigenvalues are those of the normalised adjacency
//! `D^-1/2 A D^-1/2`, its eigenfunctions that matrix's eigenvectors divided by `D^1/2` (Shi and Malik 2000), so what learns from two
//! views learns a graph without a matrix, at a cost that does not grow with its nodes.

use rand::RngExt;

use super::rng_of;
use crate::error::{Error, Result};
use crate::graph::{AdjacencySpec, Graph};

/// The steps of a graph's random walk.
pub struct Walk<'a> {
    graph: &'a Graph,
    spec: AdjacencySpec,
    /// Of a weighted graph: the weights of the steps from all nodes before each one, and at the end of all.
    before: Option<Vec<f64>>,
}

impl<'a> Walk<'a> {
    /// On a graph; with self loops, a step may stay where it is, and squared, views are two steps apart.
    ///
    /// # Errors
    /// A graph without a step.
    pub fn new(graph: &'a Graph, spec: AdjacencySpec) -> Result<Self> {
        let before = graph.is_weighted().then(|| {
            let mut sum = 0.0;
            let mut before = vec![0.0];
            before.extend((0..graph.len() as u32).map(|node| {
                sum += f64::from(graph.degree(node));
                sum
            }));
            before
        });
        let walk = Self { graph, spec, before };
        match walk.is_empty() {
            true => Err(Error::input("data", "a graph without edges says nothing", "at least one edge", "none")),
            false => Ok(walk),
        }
    }

    /// Steps in an epoch: each that the graph has, and with self loops one more for each node.
    pub fn len(&self) -> usize {
        self.graph.steps() + if self.spec.self_loops { self.graph.len() } else { 0 }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The two nodes of step number `step`, below [`len`](Self::len), in an epoch. Without weights an epoch has every step once;
    /// with weights, on average as often as the walk takes it.
    pub fn ends(&self, step: u32, seed: u64, epoch: u64) -> [u32; 2] {
        let mut rng = rng_of(&[seed, epoch, u64::from(step), WALK]);
        let [from, to] = self.step(step as usize, &mut rng);
        match self.spec.squared {
            // Two steps from the same node, which comes as often as it has edges: the walk is reversible.
            true => [self.neighbour(from, &mut rng), to],
            false => [from, to],
        }
    }

    fn step(&self, step: usize, rng: &mut impl RngExt) -> [u32; 2] {
        let steps = self.graph.steps();
        let Some(before) = &self.before else {
            let stays = |step: usize| [(step - steps) as u32; 2];
            return if step < steps { self.graph.step(step) } else { stays(step) };
        };
        let weights = before[before.len() - 1];
        let all = weights + (self.len() - steps) as f64;
        let place = (step as f64 + rng.random::<f64>()) / self.len() as f64 * all;
        // Rounding may put a place at the very end.
        let last = self.graph.len() - 1;
        if place >= weights && self.len() > steps {
            return [((place - weights) as usize).min(last) as u32; 2];
        }
        // The last node that begins at or before the place.
        let node = (before.partition_point(|&weight| weight <= place) - 1).min(last) as u32;
        [node, self.along(node, place - before[node as usize])]
    }

    /// A neighbour of `from`, drawn as the walk draws it.
    fn neighbour(&self, from: u32, rng: &mut impl RngExt) -> u32 {
        let degree = f64::from(self.graph.degree(from));
        let place = rng.random::<f64>() * (degree + if self.spec.self_loops { 1.0 } else { 0.0 });
        if place >= degree { from } else { self.along(from, place) }
    }

    /// The neighbour at a place among the weights of a node's edges.
    fn along(&self, node: u32, place: f64) -> u32 {
        let mut left = place;
        let mut last = node;
        for (other, weight) in self.graph.edges(node) {
            last = other;
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

/// Sets these random numbers apart from those of views.
const WALK: u64 = 0x57a1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Edges, Options, generate};

    fn weighted() -> Graph {
        let ends = vec![[0, 1], [1, 2], [2, 0], [2, 3]];
        let edges = Edges { ends, weights: Some(vec![1.0, 2.0, 3.0, 4.0]) };
        Graph::new("test", 5, &edges, Options::default()).unwrap().0
    }

    /// How often each pair comes in many epochs, as a share.
    fn shares(graph: &Graph, spec: AdjacencySpec, epochs: u64) -> Vec<f64> {
        let walk = Walk::new(graph, spec).unwrap();
        let mut counts = vec![0.0; graph.len() * graph.len()];
        for epoch in 0..epochs {
            for step in 0..walk.len() as u32 {
                let [from, to] = walk.ends(step, 1, epoch);
                counts[from as usize * graph.len() + to as usize] += 1.0;
            }
        }
        counts.iter().map(|count| count / (epochs as f64 * walk.len() as f64)).collect()
    }

    #[test]
    fn an_epoch_has_every_step_once() {
        let graph = generate::path(4);
        let walk = Walk::new(&graph, AdjacencySpec::default()).unwrap();
        let mut steps: Vec<_> = (0..walk.len() as u32).map(|step| walk.ends(step, 1, 0)).collect();
        steps.sort();
        assert_eq!(steps, [[0, 1], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2]]);
        let lazy = Walk::new(&graph, AdjacencySpec { self_loops: true, squared: false }).unwrap();
        assert_eq!(lazy.len(), 10);
        assert!((6..10).all(|step| lazy.ends(step, 1, 0) == [step - 6, step - 6]));
    }

    /// `p(u, v) = sqrt(d_u) K_uv sqrt(d_v) / sum of degrees`, for every variant of the kernel.
    #[test]
    fn pairs_come_as_often_as_the_kernel_says() {
        for graph in [generate::path(4), weighted()] {
            for spec in [(false, false), (true, false), (false, true), (true, true)] {
                let spec = AdjacencySpec { self_loops: spec.0, squared: spec.1 };
                let nodes: Vec<u32> = (0..graph.len() as u32).collect();
                let block = graph.normalised_block(spec, &nodes, &nodes);
                let degree =
                    |node: usize| f64::from(graph.degree(node as u32)) + if spec.self_loops { 1.0 } else { 0.0 };
                let total: f64 = (0..graph.len()).map(degree).sum();
                for (pair, share) in shares(&graph, spec, 4000).into_iter().enumerate() {
                    let (u, v) = (pair / graph.len(), pair % graph.len());
                    let expected = f64::from(block[pair]) * (degree(u) * degree(v)).sqrt() / total;
                    assert!(
                        (share - expected).abs() < 0.01,
                        "{spec:?}, {u} and {v}: {share}, by the kernel {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_graph_without_edges_is_refused() {
        let graph = Graph::new("test", 3, &Edges::new(Vec::new()), Options::default()).unwrap().0;
        let error = Walk::new(&graph, AdjacencySpec::default()).err().expect("no edges").to_string();
        assert!(error.contains("a graph without edges"), "{error}");
    }
}
