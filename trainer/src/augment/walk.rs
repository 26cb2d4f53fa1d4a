//! Two ends of a walk as two views: a graph says what belongs together.
//!
//! With steps of the random walk drawn as often as it takes them, the pairs' kernel is `p(u, v) / (p(u) p(v))` for the walk's
//! stationary distribution `p`, in which a node comes as often as it has edges. Its eigenvalues are those of the normalised adjacency
//! `D^-1/2 A D^-1/2`, its eigenfunctions that matrix's eigenvectors divided by `D^1/2` (Shi and Malik 2000), so what learns from two
//! views learns a graph without a matrix, at a cost that does not grow with its nodes.

use rand::RngExt;

use super::rng_of;
use crate::error::{Error, Result};
use crate::graph::Graph;

/// The random walk on a graph.
pub struct Walk<'a> {
    graph: &'a Graph,
    /// Whether every node is its own neighbour, too, with weight 1.
    self_loops: bool,
    /// Steps between the two ends.
    steps: usize,
    /// Of a weighted graph.
    weighted: Option<Weighted>,
}

/// What draws nodes and edges by their weights.
struct Weighted {
    /// The weights of the steps from all nodes before each one, and at the end of all.
    before: Vec<f64>,
    /// For each step of the graph, what to do when it is drawn with all steps from its node alike (Walker 1977): of random numbers
    /// from this one on, take the other neighbour.
    aliases: Vec<(f32, u32)>,
}

impl Weighted {
    fn new(graph: &Graph) -> Self {
        let nodes = 0..graph.len() as u32;
        let mut before = vec![0.0];
        let mut sum = 0.0;
        before.extend(nodes.clone().map(|node| {
            sum += f64::from(graph.degree(node));
            sum
        }));
        Self { before, aliases: nodes.flat_map(|node| aliases(graph, node)).collect() }
    }
}

/// The aliases of the steps from a node.
fn aliases(graph: &Graph, node: u32) -> Vec<(f32, u32)> {
    let count = graph.neighbours(node).len();
    let total: f64 = graph.edges(node).map(|(_, weight)| f64::from(weight)).sum();
    // In units of a fair share: what has less gets the rest of its place from what has more.
    let mut shares: Vec<f64> = graph.edges(node).map(|(_, weight)| f64::from(weight) * count as f64 / total).collect();
    let mut aliases: Vec<(f32, u32)> = graph.neighbours(node).iter().map(|&other| (1.0, other)).collect();
    let (mut less, mut more): (Vec<usize>, Vec<usize>) = (0..count).partition(|&place| shares[place] < 1.0);
    while let (Some(poor), Some(&rich)) = (less.pop(), more.last()) {
        aliases[poor] = (shares[poor] as f32, graph.neighbours(node)[rich]);
        shares[rich] -= 1.0 - shares[poor];
        if shares[rich] < 1.0 {
            less.extend(more.pop());
        }
    }
    aliases
}

impl<'a> Walk<'a> {
    /// On a graph; with self loops, a step may stay where it is. The two ends are `steps` apart, at least 1: eigenvalues are those
    /// of the adjacency to that power.
    ///
    /// # Errors
    /// A graph without a step.
    pub fn new(graph: &'a Graph, self_loops: bool, steps: usize) -> Result<Self> {
        let walk = Self { graph, self_loops, steps, weighted: graph.is_weighted().then(|| Weighted::new(graph)) };
        match walk.is_empty() {
            true => Err(Error::input("data", "a graph without edges says nothing", "at least one edge", "none")),
            false => Ok(walk),
        }
    }

    /// Walks in an epoch, by their first steps: each that the graph has, and with self loops one more for each node.
    pub fn len(&self) -> usize {
        self.graph.steps() + if self.self_loops { self.graph.len() } else { 0 }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the walk begins that has step number `step`, below [`len`](Self::len), in an epoch. Without weights an epoch has every
    /// step once; with weights, on average as often as the walk takes it.
    pub fn start(&self, step: u32, seed: u64, epoch: u64) -> u32 {
        self.first(step, &mut rng_of(&[seed, epoch, u64::from(step), WALK]))[0]
    }

    /// Where it ends.
    pub fn end(&self, step: u32, seed: u64, epoch: u64) -> u32 {
        let mut rng = rng_of(&[seed, epoch, u64::from(step), WALK]);
        let [_, to] = self.first(step, &mut rng);
        (1..self.steps).fold(to, |node, _| self.neighbour(node, &mut rng))
    }

    /// The two ends of the first step.
    fn first(&self, step: u32, rng: &mut impl RngExt) -> [u32; 2] {
        let (step, steps) = (step as usize, self.graph.steps());
        let Some(Weighted { before, .. }) = &self.weighted else {
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
        // The last node that begins at or before the place; nodes without edges begin where the next one does.
        let node = (before.partition_point(|&weight| weight <= place) - 1).min(last) as u32;
        [node, self.along(node, rng)]
    }

    /// A neighbour of `from`, itself with self loops, drawn as the walk draws it.
    fn neighbour(&self, from: u32, rng: &mut impl RngExt) -> u32 {
        let stays = self.self_loops && {
            let degree = f64::from(self.graph.degree(from));
            rng.random::<f64>() * (degree + 1.0) >= degree
        };
        if stays { from } else { self.along(from, rng) }
    }

    /// The other end of one of a node's edges; the node itself, where it has none.
    fn along(&self, node: u32, rng: &mut impl RngExt) -> u32 {
        let neighbours = self.graph.neighbours(node);
        if neighbours.is_empty() {
            return node;
        }
        // One random number says both: its whole part the place, the rest whether to take the alias.
        let drawn = rng.random::<f64>() * neighbours.len() as f64;
        let place = (drawn as usize).min(neighbours.len() - 1);
        match &self.weighted {
            None => neighbours[place],
            Some(Weighted { aliases, .. }) => {
                let (share, alias) = aliases[self.graph.first_step(node) + place];
                if drawn - (place as f64) < f64::from(share) { neighbours[place] } else { alias }
            }
        }
    }
}

/// Sets these random numbers apart from those of views.
const WALK: u64 = 0x57a1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{AdjacencySpec, Edges, Options, generate};

    fn weighted() -> Graph {
        let ends = vec![[0, 1], [1, 2], [2, 0], [2, 3]];
        let edges = Edges { ends, weights: Some(vec![1.0, 2.0, 3.0, 4.0]) };
        Graph::new("test", 5, &edges, Options::default()).unwrap().0
    }

    /// How often each pair comes in many epochs, as a share.
    fn shares(walk: &Walk, epochs: u64) -> Vec<f64> {
        let graph = walk.graph;
        let mut counts = vec![0.0; graph.len() * graph.len()];
        for epoch in 0..epochs {
            for step in 0..walk.len() as u32 {
                let [from, to] = [walk.start(step, 1, epoch), walk.end(step, 1, epoch)];
                counts[from as usize * graph.len() + to as usize] += 1.0;
            }
        }
        counts.iter().map(|count| count / (epochs as f64 * walk.len() as f64)).collect()
    }

    #[test]
    fn an_epoch_has_every_step_once() {
        let graph = generate::path(4);
        let walk = Walk::new(&graph, false, 1).unwrap();
        let mut steps: Vec<_> =
            (0..walk.len() as u32).map(|step| [walk.start(step, 1, 0), walk.end(step, 1, 0)]).collect();
        steps.sort();
        assert_eq!(steps, [[0, 1], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2]]);
        let lazy = Walk::new(&graph, true, 1).unwrap();
        assert_eq!(lazy.len(), 10);
        assert!((6..10).all(|step| [lazy.start(step, 1, 0), lazy.end(step, 1, 0)] == [step - 6; 2]));
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
                for (pair, share) in
                    shares(&Walk::new(&graph, spec.self_loops, if spec.squared { 2 } else { 1 }).unwrap(), 4000)
                        .into_iter()
                        .enumerate()
                {
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
        let error = Walk::new(&graph, false, 1).err().expect("no edges").to_string();
        assert!(error.contains("a graph without edges"), "{error}");
    }
}
