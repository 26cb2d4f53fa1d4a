//! Undirected graphs of up to millions of nodes, sparse throughout.
//!
//! * this file: a graph from a list of edges, in time and memory linear in nodes and edges;
//! * [`adjacency`]: the normalised adjacency as a kernel between nodes, in blocks or times a matrix;
//! * [`nearest`]: the graph of samples' nearest neighbours;
//! * [`generate`]: graphs whose spectrum or communities are known;
//! * [`set`]: many small graphs, each a sample; [`families`]: such a set, generated.

pub mod adjacency;
pub mod families;
pub mod generate;
pub mod leading;
pub mod nearest;
pub mod set;

use std::fmt::{Display, Formatter};
use std::ops::Range;

use serde::Serialize;

pub use adjacency::AdjacencySpec;
pub use set::GraphSet;

use crate::error::{Error, Result};

/// The most nodes of a graph: the top bit of a node's number is free while a graph is built.
pub const MAX_NODES: usize = 1 << 31;

/// While a graph is built: the edge was given from the other node to this one.
const OTHER_WAY: u32 = 1 << 31;

/// Relative difference up to which two weights of an edge are one weight, rounded twice.
const SAME_WEIGHT: f32 = 1e-6;

/// Edges as a source gives them: in one direction or both, perhaps more than once, in any order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edges {
    /// The numbers, from 0, of the two nodes of each edge.
    pub ends: Vec<[u32; 2]>,
    /// A weight for each edge, 0 or more; without weights each is 1.
    pub weights: Option<Vec<f32>>,
}

impl Edges {
    /// Edges of weight 1.
    pub fn new(ends: Vec<[u32; 2]>) -> Self {
        Self { ends, weights: None }
    }

    /// One more than the highest node number; 0 without edges.
    pub fn nodes(&self) -> usize {
        self.ends.iter().flatten().max().map_or(0, |&node| node as usize + 1)
    }

    fn weight(&self, edge: usize) -> f32 {
        self.weights.as_ref().map_or(1.0, |weights| weights[edge])
    }
}

/// What is done with peculiar edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether an edge from a node to itself stays. It then counts once in the node's degree.
    pub keep_self_loops: bool,
}

/// What was found while building a graph. None of it is an error, all of it may surprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Survey {
    /// Nodes.
    pub nodes: usize,
    /// Edges between two different nodes, each counted once.
    pub edges: usize,
    /// Of these, edges that were given in both directions.
    pub mutual: usize,
    /// Edges given again in the same direction, and merged.
    pub duplicates: usize,
    /// Self loops met, whether dropped or kept; repeated ones are among the duplicates too where they are kept.
    pub self_loops: usize,
    /// Edges of weight 0, which are no edges.
    pub weightless: usize,
    /// Nodes without an edge to another node.
    pub isolated: usize,
    /// Connected components; an isolated node is one.
    pub components: usize,
}

impl Display for Survey {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        write!(f, "{} nodes, {} edges, {} connected component(s)", self.nodes, self.edges, self.components)?;
        let peculiar = [
            (self.isolated, "isolated node(s)"),
            (self.duplicates, "duplicate edge(s)"),
            (self.self_loops, "self loop(s)"),
            (self.weightless, "edge(s) of weight 0"),
        ];
        peculiar.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, name)| write!(f, ", {count} {name}"))
    }
}

/// An undirected graph as compressed sparse rows. Nodes are numbered from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Where each node's neighbours begin in `neighbours`; one more for the end.
    offsets: Vec<usize>,
    /// The neighbours of all nodes, ascending for each node.
    neighbours: Vec<u32>,
    /// The weights of the edges to these neighbours; without them each is 1.
    weights: Option<Vec<f32>>,
    /// The sum of each node's weights.
    degrees: Vec<f32>,
}

impl Graph {
    /// The graph of these edges, and what was found on the way. An edge between two nodes counts once, in whatever
    /// direction and however often it is given.
    ///
    /// # Errors
    /// Too many nodes; a node number that is not below `nodes`; a weight that is negative or no number; an edge with
    /// two weights, be it in opposite directions or in one; weights whose sum is no number. Errors name `place`.
    pub fn new(place: &str, nodes: usize, edges: &Edges, options: Options) -> Result<(Self, Survey)> {
        check(place, nodes, edges)?;
        let mut survey = Survey { nodes, ..Survey::default() };
        for (edge, [u, v]) in edges.ends.iter().enumerate() {
            survey.self_loops += usize::from(u == v);
            survey.weightless += usize::from(u != v && edges.weight(edge) == 0.0);
        }
        let mut rows = Rows::given(nodes, edges, options).transposed();
        rows.merge(place, edges, &mut survey)?;
        let graph =
            Self { degrees: rows.sums(), offsets: rows.offsets, neighbours: rows.entries, weights: rows.weights };
        if let Some(node) = graph.degrees.iter().position(|degree| !degree.is_finite()) {
            let what = format!("the weights of node {node} are too large");
            return Err(Error::input(place, what, "a finite sum", graph.degrees[node]));
        }
        let alone = |node: &u32| graph.neighbours(*node).iter().all(|other| other == node);
        survey.isolated = (0..nodes as u32).filter(alone).count();
        survey.components = graph.components().iter().max().map_or(0, |&last| last as usize + 1);
        Ok((graph, survey))
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.degrees.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.degrees.is_empty()
    }

    /// The neighbours of a node, ascending; the node itself is among them if it has a self loop.
    ///
    /// # Panics
    /// When the node is not below [`len`](Self::len), as all functions here that take a node.
    pub fn neighbours(&self, node: u32) -> &[u32] {
        &self.neighbours[self.offsets[node as usize]..self.offsets[node as usize + 1]]
    }

    /// The neighbours of a node, ascending, with the weights of the edges to them.
    pub fn edges(&self, node: u32) -> impl Iterator<Item = (u32, f32)> {
        let range = self.offsets[node as usize]..self.offsets[node as usize + 1];
        range.map(|i| (self.neighbours[i], self.weights.as_ref().map_or(1.0, |weights| weights[i])))
    }

    /// Number of steps from a node to a neighbour: two for each edge, one for a self loop.
    pub fn steps(&self) -> usize {
        self.neighbours.len()
    }

    /// The number of the first step from a node; those of its other neighbours follow.
    pub fn first_step(&self, node: u32) -> usize {
        self.offsets[node as usize]
    }

    /// The two ends of a step, which must be below [`steps`](Self::steps).
    pub fn step(&self, step: usize) -> [u32; 2] {
        // The last node whose steps begin at or before this one; nodes without steps begin where the next one does.
        let node = self.offsets.partition_point(|&offset| offset <= step) - 1;
        [node as u32, self.neighbours[step]]
    }

    /// Whether edges have weights.
    pub fn is_weighted(&self) -> bool {
        self.weights.is_some()
    }

    /// The sum of the weights of a node's edges: their number, where there are no weights.
    pub fn degree(&self, node: u32) -> f32 {
        self.degrees[node as usize]
    }

    /// The graph of some of the nodes: node `nodes[i]` becomes node `i`. Edges to other nodes go.
    ///
    /// # Errors
    /// As for [`new`](Self::new), but for what a graph cannot be any more.
    pub fn renumbered(&self, nodes: &[u32]) -> Result<Self> {
        let mut places = vec![u32::MAX; self.len()];
        nodes.iter().zip(0..).for_each(|(&node, place)| places[node as usize] = place);
        let (mut ends, mut weights) = (Vec::new(), Vec::new());
        for &node in nodes {
            for (other, weight) in self.edges(node) {
                let pair = [places[node as usize], places[other as usize]];
                // Each edge once.
                if pair[1] != u32::MAX && pair[0] <= pair[1] {
                    ends.push(pair);
                    weights.push(weight);
                }
            }
        }
        let edges = Edges { ends, weights: self.is_weighted().then_some(weights) };
        Ok(Self::new("graph", nodes.len(), &edges, Options { keep_self_loops: true })?.0)
    }

    /// The nodes of a range as a graph of their own, numbered from 0. No edge may leave the range.
    pub(crate) fn piece(&self, nodes: Range<u32>) -> Self {
        let rows = nodes.start as usize..nodes.end as usize;
        let offsets = &self.offsets[rows.start..=rows.end];
        let entries = offsets[0]..offsets[rows.len()];
        Self {
            offsets: offsets.iter().map(|offset| offset - entries.start).collect(),
            neighbours: self.neighbours[entries.clone()].iter().map(|node| node - nodes.start).collect(),
            weights: self.weights.as_ref().map(|weights| weights[entries].to_vec()),
            degrees: self.degrees[rows].to_vec(),
        }
    }

    /// The connected component of each node, numbered from 0 in the order of their lowest nodes.
    pub fn components(&self) -> Vec<u32> {
        const NONE: u32 = u32::MAX;
        let mut labels = vec![NONE; self.len()];
        let mut count = 0;
        let mut reached = Vec::new();
        for start in 0..self.len() as u32 {
            if labels[start as usize] != NONE {
                continue;
            }
            labels[start as usize] = count;
            reached.push(start);
            while let Some(node) = reached.pop() {
                for &next in self.neighbours(node) {
                    if labels[next as usize] == NONE {
                        labels[next as usize] = count;
                        reached.push(next);
                    }
                }
            }
            count += 1;
        }
        labels
    }
}

fn check(place: &str, nodes: usize, edges: &Edges) -> Result<()> {
    if nodes > MAX_NODES {
        return Err(Error::input(place, "too many nodes", format!("at most {MAX_NODES}"), nodes));
    }
    let outside = |ends: &[u32; 2]| ends.iter().any(|&node| node as usize >= nodes);
    if let Some(edge) = edges.ends.iter().position(outside) {
        let [u, v] = edges.ends[edge];
        let what = format!("edge {edge} leads out of the graph");
        return Err(Error::input(place, what, format!("node numbers below {nodes}"), format!("{u} - {v}")));
    }
    let Some(weights) = &edges.weights else { return Ok(()) };
    if weights.len() != edges.ends.len() {
        let expected = format!("{}, one for each edge", edges.ends.len());
        return Err(Error::input(place, "wrong number of weights", expected, weights.len()));
    }
    match weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        None => Ok(()),
        Some(edge) => {
            let [u, v] = edges.ends[edge];
            let what = format!("edge {edge} ({u} - {v}) has no valid weight");
            Err(Error::input(place, what, "a number of 0 or more", weights[edge]))
        }
    }
}

/// Rows of a graph that is being built. An entry is a node's number, with [`OTHER_WAY`].
struct Rows {
    offsets: Vec<usize>,
    entries: Vec<u32>,
    weights: Option<Vec<f32>>,
}

impl Rows {
    /// Each edge in the rows of both its nodes, in the order of `edges`; a self loop once or not at all.
    fn given(nodes: usize, edges: &Edges, options: Options) -> Self {
        Self::sorted(nodes, edges.weights.is_some(), || {
            edges.ends.iter().enumerate().flat_map(move |(edge, &[u, v])| {
                let weight = edges.weight(edge);
                let there = weight > 0.0 && (u != v || options.keep_self_loops);
                let back = there && u != v;
                let both = [there.then_some((u, v, weight)), back.then_some((v, u | OTHER_WAY, weight))];
                both.into_iter().flatten()
            })
        })
    }

    /// The same edges, ascending in each row: rows are visited in ascending order, and each is written into the rows of
    /// its entries.
    fn transposed(&self) -> Self {
        Self::sorted(self.offsets.len() - 1, self.weights.is_some(), || {
            (0..self.offsets.len() - 1).flat_map(move |row| {
                (self.offsets[row]..self.offsets[row + 1]).map(move |i| {
                    let weight = self.weights.as_ref().map_or(1.0, |weights| weights[i]);
                    (self.entries[i] & !OTHER_WAY, row as u32 | (self.entries[i] & OTHER_WAY), weight)
                })
            })
        })
    }

    /// A counting sort of (row, entry, weight) by row, which keeps the order within a row. `triples` is called twice.
    fn sorted<I: Iterator<Item = (u32, u32, f32)>>(nodes: usize, weighted: bool, triples: impl Fn() -> I) -> Self {
        let mut offsets = vec![0_usize; nodes + 1];
        triples().for_each(|(row, ..)| offsets[row as usize + 1] += 1);
        for row in 0..nodes {
            offsets[row + 1] += offsets[row];
        }
        let mut next = offsets.clone();
        let mut entries = vec![0; offsets[nodes]];
        let mut weights = weighted.then(|| vec![0.0; offsets[nodes]]);
        triples().for_each(|(row, entry, weight)| {
            let place = &mut next[row as usize];
            entries[*place] = entry;
            if let Some(weights) = &mut weights {
                weights[*place] = weight;
            }
            *place += 1;
        });
        Self { offsets, entries, weights }
    }

    /// Makes one of all entries of a row that name one node, and counts what was merged. `edges` is where they come
    /// from.
    fn merge(&mut self, place: &str, edges: &Edges, survey: &mut Survey) -> Result<()> {
        let mut kept = 0;
        let mut start = 0;
        for row in 0..self.offsets.len() - 1 {
            let end = self.offsets[row + 1];
            while start < end {
                let node = self.entries[start] & !OTHER_WAY;
                let run = self.entries[start..end].iter().take_while(|&&entry| entry & !OTHER_WAY == node).count();
                if node as usize >= row {
                    let other_way =
                        self.entries[start..start + run].iter().filter(|&&entry| entry & OTHER_WAY != 0).count();
                    let directions = if other_way == 0 || other_way == run { 1 } else { 2 };
                    survey.duplicates += run - directions;
                    survey.mutual += directions - 1;
                    survey.edges += usize::from(node as usize > row);
                }
                if let Some(weights) = &mut self.weights {
                    let given = &weights[start..start + run];
                    let least = given.iter().copied().fold(f32::INFINITY, f32::min);
                    let most = given.iter().copied().fold(0.0, f32::max);
                    if most - least > SAME_WEIGHT * most {
                        return Err(two_weights(place, edges, [row as u32, node]));
                    }
                    weights[kept] = most;
                }
                self.entries[kept] = node;
                kept += 1;
                start += run;
            }
            self.offsets[row + 1] = kept;
        }
        self.entries.truncate(kept);
        self.entries.shrink_to_fit();
        if let Some(weights) = &mut self.weights {
            weights.truncate(kept);
            weights.shrink_to_fit();
        }
        Ok(())
    }

    fn sums(&self) -> Vec<f32> {
        let rows = self.offsets.windows(2);
        match &self.weights {
            None => rows.map(|row| (row[1] - row[0]) as f32).collect(),
            Some(weights) => rows
                .map(|row| weights[row[0]..row[1]].iter().map(|&weight| f64::from(weight)).sum::<f64>() as f32)
                .collect(),
        }
    }
}

/// The error for an edge that was given with different weights.
fn two_weights(place: &str, edges: &Edges, [u, v]: [u32; 2]) -> Error {
    let of = |ends: [u32; 2]| {
        let given = edges.ends.iter().enumerate().filter(move |(_, given)| **given == ends);
        given.map(|(edge, _)| edges.weight(edge)).filter(|&weight| weight > 0.0)
    };
    let first = of([u, v]).next().zip(of([v, u]).next()).filter(|(there, back)| there != back);
    match first {
        Some((there, back)) => Error::input(
            place,
            format!("asymmetric weights between nodes {u} and {v}"),
            "the same weight in both directions",
            format!("{there} from {u} to {v}, {back} from {v} to {u}"),
        ),
        None => {
            let mut found: Vec<String> = of([u, v]).chain(of([v, u])).map(|weight| weight.to_string()).collect();
            found.dedup();
            let what = format!("the edge between nodes {u} and {v} is given with different weights");
            Error::input(place, what, "one weight", found.join(" and "))
        }
    }
}

/// Random graphs for tests.
#[cfg(test)]
pub(crate) mod testing {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::{Edges, Graph, Options};

    /// `count` edges between `nodes` nodes, with duplicates in both directions and self loops; `weighted` with weights
    /// that depend on the two nodes alone.
    pub fn random_edges(nodes: u32, count: usize, weighted: bool, seed: u64) -> Edges {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ends: Vec<[u32; 2]> =
            (0..count).map(|_| [rng.random_range(0..nodes), rng.random_range(0..nodes)]).collect();
        let weight = |&[u, v]: &[u32; 2]| (1 + (u * v + u + v) % 7) as f32 / 4.0;
        let weights = weighted.then(|| ends.iter().map(weight).collect());
        Edges { ends, weights }
    }

    /// The graph of [`random_edges`].
    pub fn random_graph(nodes: u32, count: usize, weighted: bool, seed: u64) -> Graph {
        Graph::new("", nodes as usize, &random_edges(nodes, count, weighted, seed), Options::default()).unwrap().0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::testing::{random_edges, random_graph};
    use super::*;

    fn graph(nodes: usize, ends: &[[u32; 2]]) -> (Graph, Survey) {
        Graph::new("", nodes, &Edges::new(ends.to_vec()), Options::default()).unwrap()
    }

    fn refused(nodes: usize, ends: &[[u32; 2]], weights: Option<&[f32]>) -> String {
        let edges = Edges { ends: ends.to_vec(), weights: weights.map(<[f32]>::to_vec) };
        let error = Graph::new("some graph", nodes, &edges, Options::default()).expect_err("the edges are wrong");
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    }

    #[test]
    fn a_renumbered_graph_has_the_same_edges_between_the_nodes_that_are_left() {
        let graph = random_graph(40, 120, true, 3);
        let nodes: Vec<u32> = (0..40).rev().filter(|node| node % 7 != 0).collect();
        let found = graph.renumbered(&nodes).unwrap();
        for (place, &node) in nodes.iter().enumerate() {
            let mut own: Vec<(u32, f32)> =
                found.edges(place as u32).map(|(other, weight)| (nodes[other as usize], weight)).collect();
            own.sort_by_key(|&(other, _)| other);
            let expected: Vec<(u32, f32)> = graph.edges(node).filter(|(other, _)| nodes.contains(other)).collect();
            assert_eq!(own, expected);
        }
    }

    #[test]
    fn rows_are_those_of_a_map_of_edges() {
        for (weighted, keep_self_loops) in [(false, false), (false, true), (true, false), (true, true)] {
            let edges = random_edges(40, 300, weighted, 1);
            let mut naive = vec![BTreeMap::new(); 40];
            for (edge, &[u, v]) in edges.ends.iter().enumerate() {
                if u != v || keep_self_loops {
                    naive[u as usize].insert(v, edges.weight(edge));
                    naive[v as usize].insert(u, edges.weight(edge));
                }
            }
            let (graph, _) = Graph::new("", 40, &edges, Options { keep_self_loops }).unwrap();
            assert_eq!(graph.len(), 40);
            for (node, row) in naive.iter().enumerate() {
                let node = node as u32;
                assert!(graph.neighbours(node).iter().eq(row.keys()));
                assert!(graph.edges(node).eq(row.iter().map(|(&other, &weight)| (other, weight))));
                assert_eq!(graph.degree(node), row.values().sum::<f32>());
            }
        }
    }

    #[test]
    fn the_survey_counts_what_sets_of_edges_count() {
        let edges = random_edges(40, 300, false, 2);
        let given: BTreeSet<[u32; 2]> = edges.ends.iter().copied().filter(|[u, v]| u != v).collect();
        let self_loops = edges.ends.iter().filter(|[u, v]| u == v).count();
        let mutual = given.iter().filter(|&&[u, v]| u < v && given.contains(&[v, u])).count();
        let (_, survey) = Graph::new("", 60, &edges, Options::default()).unwrap();
        assert!(self_loops > 0 && mutual > 0 && survey.isolated > 0, "{survey}");
        assert_eq!((survey.nodes, survey.self_loops, survey.mutual), (60, self_loops, mutual));
        assert_eq!(survey.edges, given.len() - mutual);
        assert_eq!(survey.duplicates, 300 - self_loops - given.len());
        let touched: BTreeSet<u32> = given.iter().flatten().copied().collect();
        assert_eq!(survey.isolated, 60 - touched.len());
    }

    #[test]
    fn the_order_and_direction_of_edges_do_not_matter() {
        let edges = random_edges(50, 200, true, 3);
        let turned = Edges {
            ends: edges.ends.iter().rev().map(|&[u, v]| [v, u]).collect(),
            weights: edges.weights.as_ref().map(|weights| weights.iter().rev().copied().collect()),
        };
        let build = |edges| Graph::new("", 50, edges, Options::default()).unwrap();
        assert_eq!(build(&edges), build(&turned));
    }

    #[test]
    fn components_are_what_can_be_reached() {
        let graph = random_graph(60, 40, false, 4);
        let labels = graph.components();
        // Transitive closure, by Warshall's algorithm.
        let mut reaches: Vec<Vec<bool>> =
            (0..60).map(|u| (0..60).map(|v| u == v || graph.neighbours(u).contains(&v)).collect()).collect();
        for through in 0..60 {
            for u in 0..60 {
                for v in 0..60 {
                    reaches[u][v] |= reaches[u][through] && reaches[through][v];
                }
            }
        }
        for u in 0..60 {
            for v in 0..60 {
                assert_eq!(labels[u] == labels[v], reaches[u][v]);
            }
        }
        // Numbered in the order of their lowest nodes.
        let mut seen = 0;
        for label in labels {
            assert!(label <= seen);
            seen = seen.max(label + 1);
        }
    }

    #[test]
    fn a_path_of_a_hundred_thousand_nodes_is_one_component() {
        let ends: Vec<[u32; 2]> = (1..100_000).rev().map(|node| [node, node - 1]).collect();
        assert_eq!(graph(100_000, &ends).1.components, 1);
    }

    #[test]
    fn peculiar_graphs_are_surveyed_in_one_line() {
        let (_, survey) = graph(6, &[[0, 1], [1, 0], [0, 1], [2, 2], [3, 4]]);
        let expected =
            "6 nodes, 2 edges, 4 connected component(s), 2 isolated node(s), 1 duplicate edge(s), 1 self loop(s)";
        assert_eq!(survey.to_string(), expected);
        let (empty, survey) = graph(0, &[]);
        assert!(empty.is_empty());
        assert_eq!(survey.to_string(), "0 nodes, 0 edges, 0 connected component(s)");
    }

    #[test]
    fn edges_of_weight_0_connect_nothing() {
        let edges = Edges { ends: vec![[0, 1], [1, 2]], weights: Some(vec![0.0, 2.5]) };
        let (graph, survey) = Graph::new("", 3, &edges, Options::default()).unwrap();
        assert_eq!((survey.weightless, survey.edges, survey.isolated, survey.components), (1, 1, 1, 2));
        assert!(graph.neighbours(0).is_empty());
    }

    #[test]
    fn weights_that_differ_by_rounding_are_one_weight() {
        let weight = 0.1_f32;
        let edges = Edges { ends: vec![[0, 1], [1, 0]], weights: Some(vec![weight, weight.next_up()]) };
        let (graph, _) = Graph::new("", 2, &edges, Options::default()).unwrap();
        assert_eq!(graph.edges(0).next(), Some((1, weight.next_up())));
        assert_eq!(graph.degree(0), graph.degree(1));
    }

    #[test]
    fn nodes_out_of_range_are_refused_by_edge() {
        let message = refused(3, &[[0, 1], [2, 3]], None);
        let expected = "some graph: edge 1 leads out of the graph: expected node numbers below 3, found 2 - 3";
        assert_eq!(message, expected);
        assert!(refused(MAX_NODES + 1, &[], None).contains("too many nodes"));
    }

    #[test]
    fn weights_that_are_no_weights_are_refused_by_edge() {
        let message = refused(3, &[[0, 1], [1, 2]], Some(&[1.0, -0.5]));
        assert_eq!(
            message,
            "some graph: edge 1 (1 - 2) has no valid weight: expected a number of 0 or more, found -0.5"
        );
        assert!(refused(3, &[[0, 1]], Some(&[f32::NAN])).ends_with("found NaN"));
        assert!(refused(3, &[[0, 1]], Some(&[f32::INFINITY])).ends_with("found inf"));
        assert!(refused(3, &[[0, 1]], Some(&[])).ends_with("expected 1, one for each edge, found 0"));
        let message = refused(3, &[[0, 1], [0, 2]], Some(&[f32::MAX, f32::MAX]));
        assert!(message.contains("the weights of node 0 are too large"), "{message}");
    }

    #[test]
    fn an_edge_has_one_weight() {
        let message = refused(3, &[[0, 1], [2, 1], [1, 2]], Some(&[1.0, 2.0, 3.0]));
        assert!(message.contains("asymmetric weights between nodes 1 and 2"), "{message}");
        assert!(message.ends_with("found 3 from 1 to 2, 2 from 2 to 1"), "{message}");
        let message = refused(3, &[[0, 1], [0, 1]], Some(&[1.0, 2.0]));
        assert!(message.ends_with("given with different weights: expected one weight, found 1 and 2"), "{message}");
    }
}
