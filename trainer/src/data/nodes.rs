//! A graph whose nodes are the samples: each has features and perhaps a class.

use ndarray::Array2;

use super::{DataSource, Dataset, JUDGED, Labelled, Samples, Split, Unit};
use crate::error::{Error, Result};
use crate::graph::{Graph, Survey};

/// A graph with features, classes and a split of its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSet {
    /// Which nodes are neighbours.
    pub graph: Graph,
    /// What was found while building the graph.
    pub survey: Survey,
    /// A row for each node.
    pub features: Features,
    /// The class of each node, where it is known: below `classes`.
    pub labels: Vec<Option<u16>>,
    /// What each node is for.
    pub split: Vec<Part>,
    /// Number of classes; 0 without labels.
    pub classes: usize,
}

impl NodeSet {
    /// The set in which `classes` is one more than the highest label. Node numbers have been checked already.
    ///
    /// # Errors
    /// There is not one row of features, one label and one part for each node; `place` is named.
    pub(super) fn new(
        place: &str,
        (graph, survey): (Graph, Survey),
        features: Features,
        labels: Vec<Option<u16>>,
        split: Vec<Part>,
    ) -> Result<Self> {
        for (what, count) in [("rows of features", features.rows()), ("labels", labels.len()), ("parts", split.len())] {
            if count != graph.len() {
                let expected = format!("{}, one for each node", graph.len());
                return Err(Error::input(place, format!("wrong number of {what}"), expected, count));
            }
        }
        let classes = labels.iter().flatten().max().map_or(0, |&label| usize::from(label) + 1);
        Ok(Self { graph, survey, features, labels, split, classes })
    }

    /// The set as samples to learn from: nodes that are judged on make the test split, all others the training split. Where nothing
    /// says which are judged on, every fifth is, of those with a class where any has one.
    ///
    /// Nodes with neither a feature nor a class are left out: an encoder would have nothing to read. Features that are 0 or 1 stay that; others are mapped
    /// to bytes, the least of all to 0 and the largest to 255.
    ///
    /// # Errors
    /// Nodes without features; keys of the `[data]` table that would tear the graph apart.
    pub(super) fn dataset(self, source: &DataSource, name: &str) -> Result<Dataset> {
        let torn = [
            ("classes", source.classes.is_some()),
            ("per_class", source.per_class.is_some()),
            ("outliers", !source.outliers.is_empty()),
            ("limit_train", source.limit_train.is_some()),
            ("limit_test", source.limit_test.is_some()),
        ];
        if let Some((key, _)) = torn.iter().find(|(_, given)| *given) {
            let what = "a part of a graph is another graph";
            return Err(Error::input(format!("data.{key}"), what, "no such key for a graph", *key));
        }
        let columns = self.features.columns();
        if columns == 0 {
            let what = "nodes without features: an encoder has nothing to read";
            return Err(Error::input("data", what, "at least one feature", 0));
        }
        let says_nothing = |node: u32| {
            self.labels[node as usize].is_none() && self.features.gather(&[node]).iter().all(|&value| value == 0.0)
        };
        let kept: Vec<u32> = (0..self.graph.len() as u32).filter(|&node| !says_nothing(node)).collect();
        let names = |part: Part| self.split.contains(&part);
        let (names_train, names_test, has_classes) = (names(Part::Train), names(Part::Test), self.classes > 0);
        let label = |node: u32| self.labels[node as usize];
        let mut judgeable = 0;
        let mut is_test = |node: u32| {
            if names_test {
                return self.split[node as usize] == Part::Test;
            }
            let counts = !has_classes || label(node).is_some();
            judgeable += usize::from(counts);
            counts && judgeable % JUDGED == 0
        };
        let (test, train): (Vec<u32>, Vec<u32>) = kept.into_iter().partition(|&node| is_test(node));
        if train.is_empty() || test.is_empty() {
            let found = format!("{} and {}", train.len(), test.len());
            return Err(Error::input("data", "a split without nodes", "nodes to learn from and to judge on", found));
        }
        let labelled = |wanted: &dyn Fn(u32) -> bool| -> Labelled {
            let known = |(place, &node)| Some((place, label(node).filter(|_| wanted(node))?));
            let (places, labels) = (0..).zip(&train).filter_map(known).unzip();
            Labelled { places, labels }
        };
        let part = |node: u32| self.split[node as usize];
        let teachers = labelled(&|node| !names_train || part(node) == Part::Train);
        let choosing = names(Part::Validate).then(|| labelled(&|node| part(node) == Part::Validate));
        let is_part = has_classes && teachers.places.len() < train.len();
        let labelled = is_part.then_some(teachers);
        let (raw_max, unit) = self.features.scale();
        let split = |nodes: &[u32]| {
            let raw = self.features.gather(nodes).into_iter().map(|value| unit.raw(value.into())).collect();
            let labels = nodes.iter().map(|&node| label(node)).collect::<Option<Vec<u16>>>();
            Split { samples: Samples { shape: [1, 1, columns], raw }, labels }
        };
        let splits = (split(&train), split(&test));
        let graph = self.graph.renumbered(&[train, test].concat())?;
        let sha256 = super::fingerprint([&splits.0, &splits.1], Some(&graph));
        let (train, test) = splits;
        Ok(Dataset {
            name: name.into(),
            train,
            test,
            learn: source.learn,
            outliers: Vec::new(),
            raw_max,
            unit,
            graph: Some(graph),
            survey: Some(self.survey),
            labelled,
            choosing,
            sha256,
        })
    }

    /// The nodes of a part, ascending.
    pub fn nodes(&self, part: Part) -> Vec<u32> {
        (0..self.split.len() as u32).filter(|&node| self.split[node as usize] == part).collect()
    }
}

/// What a node is for when features are judged. What learns without labels learns from all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A probe is fitted to its label.
    Train,
    /// A probe's settings are chosen by its label.
    Validate,
    /// A probe is judged by its label.
    Test,
    /// None of these.
    Rest,
}

/// The features of the nodes, a row each.
#[derive(Debug, Clone, PartialEq)]
pub enum Features {
    /// Few of many columns are not zero.
    Sparse(SparseRows),
    /// All columns, `[nodes, columns]`. No column at all if nothing is known of the nodes but their edges.
    Dense(Array2<f32>),
}

impl Features {
    /// Number of nodes.
    pub fn rows(&self) -> usize {
        match self {
            Self::Sparse(rows) => rows.len(),
            Self::Dense(rows) => rows.nrows(),
        }
    }

    /// Features of a node.
    pub fn columns(&self) -> usize {
        match self {
            Self::Sparse(rows) => rows.columns,
            Self::Dense(rows) => rows.ncols(),
        }
    }

    /// How values become bytes: the byte that means 1 in network units, and what bytes stand for.
    fn scale(&self) -> (u8, Unit) {
        let values = || -> Box<dyn Iterator<Item = f32>> {
            match self {
                Self::Sparse(rows) => match &rows.values {
                    // What is not there is 0.
                    Some(values) => Box::new(values.iter().copied().chain([0.0])),
                    None => Box::new([0.0, 1.0].into_iter()),
                },
                Self::Dense(rows) => Box::new(rows.iter().copied()),
            }
        };
        let is_binary = values().all(|value| value == 0.0 || value == 1.0);
        let (low, high) = values().fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(value), high.max(value)));
        match is_binary {
            true => (1, Unit::of_full_scale(1)),
            false => (u8::MAX, Unit::between(low.into(), high.into())),
        }
    }

    /// The features of `nodes`, in this order: `[nodes, columns]`, row by row.
    ///
    /// # Panics
    /// When a node is not below [`rows`](Self::rows).
    pub fn gather(&self, nodes: &[u32]) -> Vec<f32> {
        let columns = self.columns();
        let mut gathered = vec![0.0; nodes.len() * columns];
        for (row, &node) in gathered.chunks_exact_mut(columns.max(1)).zip(nodes) {
            match self {
                Self::Sparse(rows) => rows.row(node as usize).for_each(|(column, value)| row[column as usize] = value),
                Self::Dense(rows) => row.iter_mut().zip(rows.row(node as usize)).for_each(|(to, from)| *to = *from),
            }
        }
        gathered
    }
}

/// Rows of few values that are not zero.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseRows {
    /// Number of columns.
    pub columns: usize,
    /// Where each row begins in `indices`; one more for the end.
    pub offsets: Vec<usize>,
    /// The columns of the values, ascending in each row.
    pub indices: Vec<u32>,
    /// The values; without them each is 1.
    pub values: Option<Vec<f32>>,
}

impl SparseRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns and values of row `i`, which must be below [`len`](Self::len).
    pub fn row(&self, i: usize) -> impl Iterator<Item = (u32, f32)> {
        let range = self.offsets[i]..self.offsets[i + 1];
        range.map(|place| (self.indices[place], self.values.as_ref().map_or(1.0, |values| values[place])))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::data::{DataKind, Learn};
    use crate::graph::{Edges, Options};

    /// A path of nodes with one feature each, which tells its number, or none where `blank`.
    fn dataset(labels: &[Option<u16>], split: Vec<Part>, blank: &[usize]) -> Dataset {
        let nodes = labels.len();
        let ends = (1..nodes as u32).map(|node| [node - 1, node]).collect();
        let graph = Graph::new("", nodes, &Edges::new(ends), Options::default()).unwrap();
        let feature = |node: usize| if blank.contains(&node) { 0.0 } else { (node + 1) as f32 };
        let features = Features::Dense(Array2::from_shape_fn((nodes, 1), |(node, _)| feature(node)));
        let set = NodeSet::new("", graph, features, labels.to_vec(), split).unwrap();
        set.dataset(&DataSource { learn: Learn::All, ..DataSource::new(DataKind::Nodes) }, "nodes").unwrap()
    }

    #[test]
    fn nodes_of_no_known_class_are_learned_from_and_neither_teach_nor_are_judged() {
        let labels: Vec<Option<u16>> = (0..30).map(|node| (node % 3 > 0).then_some(node % 2)).collect();
        let found = dataset(&labels, vec![Part::Rest; 30], &[]);
        let (judged, known) = (found.test.labels.unwrap(), found.labelled.unwrap());
        assert_eq!((judged.len(), known.labels.len(), found.train.samples.len()), (4, 16, 26));
        assert_eq!(found.train.labels, None);
        // Without the judged ones, the nodes stand in the order of their features.
        let raw = &found.train.samples.raw;
        for (&place, &label) in known.places.iter().zip(&known.labels) {
            let node = (f64::from(raw[place]) * 29.0 / 255.0).round() as usize;
            assert_eq!(labels[node], Some(label), "node {node}");
        }
    }

    #[test]
    fn only_the_nodes_that_a_split_names_teach() {
        let labels: Vec<Option<u16>> = (0..20).map(|node| (node != 7).then_some(node % 2)).collect();
        let part = |node| match node {
            0..4 => Part::Train,
            4..12 => Part::Rest,
            _ => Part::Test,
        };
        let found = dataset(&labels, (0..20).map(part).collect(), &[]);
        assert_eq!(found.labelled.unwrap(), Labelled { places: vec![0, 1, 2, 3], labels: vec![0, 1, 0, 1] });
        assert_eq!(found.test.labels.unwrap().len(), 8);
        // A node that says nothing at all is no sample: then the class of every other is known.
        let found = dataset(&labels, (0..20).map(part).collect(), &[7]);
        assert_eq!((found.train.samples.len(), found.train.labels.unwrap().len()), (11, 11));
    }

    #[test]
    fn without_classes_every_fifth_node_is_judged() {
        let found = dataset(&[None; 20], vec![Part::Rest; 20], &[]);
        assert_eq!((found.train.samples.len(), found.test.samples.len()), (16, 4));
        assert_eq!((found.train.labels, found.test.labels, found.labelled), (None, None, None));
    }

    #[test]
    fn sparse_and_dense_features_gather_alike() {
        let dense = arr2(&[[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]]);
        let sparse = SparseRows {
            columns: 3,
            offsets: vec![0, 1, 1, 3],
            indices: vec![1, 0, 2],
            values: Some(vec![2.0, 1.0, 3.0]),
        };
        let nodes = [2, 0, 1, 2];
        let expected = [1.0, 0.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0];
        assert_eq!(Features::Dense(dense).gather(&nodes), expected);
        let binary = SparseRows { values: None, ..sparse.clone() };
        assert_eq!(Features::Sparse(sparse).gather(&nodes), expected);
        assert_eq!(Features::Sparse(binary).gather(&[0]), [0.0, 1.0, 0.0]);
        assert!(Features::Dense(Array2::zeros((3, 0))).gather(&nodes).is_empty());
    }
}
