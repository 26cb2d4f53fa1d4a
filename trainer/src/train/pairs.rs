//! What a positive pair is: two views of one sample, or of two samples that a graph joins.

use std::borrow::Cow;

use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::source::{Augmented, Source};
use crate::augment::View;
use crate::augment::walk::Walk;
use crate::cache;
use crate::data::{Dataset, Learn};
use crate::error::{Error, Result};
use crate::graph::nearest::Nearest;
use crate::graph::{AdjacencySpec, Graph};

/// A recipe's `[pairs]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PairsSpec {
    /// Two views of one sample.
    Views {},
    /// A view of each end of a walk on the data's own graph.
    Graph {
        /// Whether every node also counts as its own neighbour: nodes without edges then take part.
        #[serde(default)]
        self_loops: bool,
        /// Steps of the walk between the two, at least 1; an even number makes all eigenvalues positive.
        #[serde(default = "one")]
        steps: usize,
    },
    /// A view of each end of a walk between near neighbours among the samples, the nearer the more often: see
    /// [`Nearest::affinities`](crate::graph::nearest::Nearest::affinities).
    Neighbours {
        /// Neighbours of each sample, at least 1.
        #[serde(default = "ten")]
        neighbours: usize,
        /// As for `graph`.
        #[serde(default = "one")]
        steps: usize,
    },
}

fn one() -> usize {
    1
}

fn ten() -> usize {
    10
}

impl Default for PairsSpec {
    fn default() -> Self {
        Self::Views {}
    }
}

impl PairsSpec {
    /// Whether it is two views of one sample.
    pub fn is_of_views(&self) -> bool {
        *self == Self::Views {}
    }

    /// Whether data can be paired so.
    ///
    /// # Errors
    /// Data without a graph where theirs is meant, or without an edge, or of which only a part is learned from; as many neighbours
    /// as samples; walks without a step.
    pub fn fits(&self, data: &Dataset) -> Result<()> {
        match self {
            Self::Graph { steps: 0, .. } | Self::Neighbours { steps: 0, .. } => {
                Err(Error::input("pairs.steps", "impossible value", "at least 1", 0))
            }
            Self::Graph { .. } if data.graph.is_none() => {
                Err(Error::input("pairs.kind", "the data have no graph", "data of nodes and edges", "graph"))
            }
            Self::Graph { self_loops: false, .. } if data.graph.as_ref().is_some_and(|graph| graph.steps() == 0) => {
                Err(Error::input("data", "a graph without edges says nothing", "at least one edge", "none"))
            }
            Self::Graph { .. } if data.learn != Learn::All => {
                let what = "the graph joins the samples of both splits";
                Err(Error::input("data.learn", what, "\"all\"", "\"train\""))
            }
            Self::Neighbours { neighbours, .. } if !(1..data.learning_len()).contains(neighbours) => {
                let expected = format!("1 to {}, below the number of samples", data.learning_len() - 1);
                Err(Error::input("pairs.neighbours", "no such neighbours", expected, neighbours))
            }
            _ => Ok(()),
        }
    }

    /// The graph that joins what is learned from, where pairs are drawn from one.
    ///
    /// # Errors
    /// As for [`fits`](Self::fits); more samples than a graph may have nodes.
    pub fn graph<'a>(&self, data: &'a Dataset) -> Result<Option<Cow<'a, Graph>>> {
        self.fits(data)?;
        match self {
            Self::Views {} => Ok(None),
            Self::Graph { .. } => Ok(data.graph.as_ref().map(Cow::Borrowed)),
            Self::Neighbours { neighbours, .. } => {
                let samples = &data.learning().samples;
                let values = samples.scaled(0..samples.len(), data.raw_max);
                let values = ArrayView2::from_shape((samples.len(), samples.size()), &values).expect("whole samples");
                let (graph, _) = Nearest::of(&values, *neighbours, cache::folder().as_deref())?.affinities()?;
                Ok(Some(Cow::Owned(graph)))
            }
        }
    }

    /// What functions learned from these pairs have as eigenvalues where nothing is lost, on what [`graph`](Self::graph) gave: those
    /// of the walk, largest first, without the constant's 1. No more than `count`.
    pub fn eigenvalues(&self, graph: &Graph, count: usize, seed: u64) -> Vec<f64> {
        let (self_loops, steps) = match *self {
            Self::Graph { self_loops, steps } => (self_loops, steps),
            Self::Neighbours { steps, .. } => (false, steps),
            Self::Views {} => unreachable!("two views of one sample have no graph"),
        };
        // After an even number of steps, eigenvalues near to -1 are among the largest.
        let squared = steps % 2 == 0;
        let power = if squared { steps / 2 } else { steps };
        let found = graph.leading(AdjacencySpec { self_loops, squared }, count + 1, seed).eigenvalues;
        // Rounding may put one beyond 1, and a long walk would make much of it.
        found.into_iter().skip(1).map(|value| value.clamp(-1.0, 1.0).powi(power as i32)).collect()
    }

    /// What a pair is, in words.
    pub fn in_words(&self) -> String {
        let walk = |steps: usize| match steps {
            1 => "both ends of a step".to_string(),
            _ => format!("both ends of a walk of {steps} steps"),
        };
        match self {
            Self::Views {} => "two views of a sample".into(),
            Self::Graph { steps, .. } => format!("{} along the graph's edges", walk(*steps)),
            Self::Neighbours { steps, .. } => format!("{} between near neighbours", walk(*steps)),
        }
    }

    /// The walk whose ends are the pairs, on what [`graph`](Self::graph) gave.
    fn walk<'a>(&self, graph: &'a Graph) -> Result<Walk<'a>> {
        match *self {
            Self::Graph { self_loops, steps } => Walk::new(graph, self_loops, steps),
            Self::Neighbours { steps, .. } => Walk::new(graph, false, steps),
            Self::Views {} => unreachable!("two views of one sample have no graph"),
        }
    }
}

/// Views of the two ends of a walk's steps: what a source calls a sample is a step here.
pub struct Steps<'a> {
    views: Augmented<'a>,
    walk: Walk<'a>,
}

impl<'a> Steps<'a> {
    /// Steps on a graph whose nodes are the samples of `views`.
    ///
    /// # Errors
    /// A graph without edges.
    pub fn new(views: Augmented<'a>, graph: &'a Graph, spec: &PairsSpec) -> Result<Self> {
        assert_eq!(views.len(), graph.len(), "a node for each sample");
        Ok(Self { views, walk: spec.walk(graph)? })
    }
}

impl Source for Steps<'_> {
    fn len(&self) -> usize {
        self.walk.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.views.shape()
    }

    /// The second view is that of a step's second end, any other that of its first.
    fn view(&self, view: View, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
        let end = |&step: &u32| match view {
            View::Second => self.walk.end(step, seed, epoch),
            _ => self.walk.start(step, seed, epoch),
        };
        let nodes: Vec<u32> = samples.par_iter().map(end).collect();
        self.views.view(view, seed, epoch, &nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Views;
    use crate::data::{Samples, Split, Unit};
    use crate::graph::generate;

    /// Samples of one value to learn from.
    fn data(raw: &[u8]) -> Dataset {
        let split = |raw: &[u8]| Split { samples: Samples { shape: [1, 1, 1], raw: raw.to_vec() }, labels: None };
        Dataset {
            name: "written".into(),
            train: split(raw),
            test: split(&raw[..1]),
            learn: Learn::Train,
            outliers: Vec::new(),
            raw_max: u8::MAX,
            unit: Unit::of_full_scale(u8::MAX),
            graph: None,
            survey: None,
            labelled: None,
            choosing: None,
            sha256: String::new(),
        }
    }

    #[test]
    fn the_two_views_are_those_of_the_two_ends() {
        let (data, graph) = (data(&[0, 1, 2, 3, 4, 5]), generate::cycle(6));
        let spec = PairsSpec::Graph { self_loops: false, steps: 1 };
        let views = Augmented::new(&data.train.samples, 255, &Views::default()).unwrap();
        let source = Steps::new(views, &graph, &spec).unwrap();
        let all: Vec<u32> = (0..source.len() as u32).collect();
        let [first, second] = [View::First, View::Second].map(|view| source.view(view, 1, 2, &all));
        assert_eq!(source.view(View::Plain, 1, 2, &all), first);
        let node = |values: &[f32]| (values[0] * 255.0).round() as u32;
        for (from, to) in first.chunks_exact(1).zip(second.chunks_exact(1)) {
            assert!(graph.neighbours(node(from)).contains(&node(to)));
        }
    }

    #[test]
    fn eigenvalues_are_those_of_the_walk_without_the_constants() {
        // Those of one step on a cycle of 12 are the cosines of 0, 30, … 330 degrees.
        let of = |steps| PairsSpec::Graph { self_loops: false, steps }.eigenvalues(&generate::cycle(12), 5, 1);
        let root = 0.75_f64.sqrt();
        let expected =
            [[root, root, 0.5, 0.5, 0.0], [1.0, 0.75, 0.75, 0.75, 0.75], [0.75 * root, 0.75 * root, 0.125, 0.125, 0.0]];
        for (steps, expected) in (1..).zip(expected) {
            let found = of(steps);
            assert_eq!(found.len(), 5);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{steps}: {found:?}");
        }
        let graph = generate::cycle(3);
        let lazy = PairsSpec::Graph { self_loops: true, steps: 1 }.eigenvalues(&graph, 5, 1);
        assert!(lazy.len() == 2 && lazy.iter().all(|value| value.abs() < 1e-5), "{lazy:?}");
    }

    #[test]
    fn near_samples_are_joined_whatever_their_order() {
        let data = data(&[0, 100, 1, 101, 2, 102, 3, 103]);
        let graph = PairsSpec::Neighbours { neighbours: 2, steps: 1 }.graph(&data).unwrap().unwrap();
        assert_eq!(graph.components(), [0, 1, 0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_table_names_its_kind_and_no_key_of_another() {
        let read = |table: &str| toml::from_str::<PairsSpec>(table);
        assert_eq!(read("kind = 'neighbours'").unwrap(), PairsSpec::Neighbours { neighbours: 10, steps: 1 });
        assert!(read("kind = 'views'\nneighbours = 3").is_err());
    }

    #[test]
    fn data_that_cannot_be_paired_so_are_refused_by_name() {
        let refused = |spec: PairsSpec, data: &Dataset| spec.fits(data).unwrap_err().to_string();
        let of_a_graph = || PairsSpec::Graph { self_loops: false, steps: 1 };
        let mut data = data(&[1, 2, 3]);
        assert!(refused(of_a_graph(), &data).starts_with("pairs.kind: the data have no graph"));
        data.graph = Some(generate::cycle(4));
        assert!(refused(of_a_graph(), &data).starts_with("data.learn: the graph joins the samples of both splits"));
        assert!(
            refused(PairsSpec::Neighbours { neighbours: 3, steps: 1 }, &data)
                .ends_with("expected 1 to 2, below the number of samples, found 3")
        );
        data.learn = Learn::All;
        assert_eq!(
            of_a_graph().fits(&data).is_ok(),
            PairsSpec::Neighbours { neighbours: 3, steps: 1 }.fits(&data).is_ok()
        );
    }
}
