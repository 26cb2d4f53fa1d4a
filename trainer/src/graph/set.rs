//! Many small graphs, each a sample of its own.

use ndarray::Array2;

use super::Graph;

/// Graphs with features of their nodes and, where there are any, a class for each graph.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphSet {
    /// The graphs.
    pub graphs: Vec<Graph>,
    /// For each graph `[nodes, columns]`, with the same columns for all.
    pub features: Vec<Array2<f32>>,
    /// One class number a graph.
    pub labels: Option<Vec<u16>>,
}

impl GraphSet {
    /// Number of features of a node; 0 without graphs.
    pub fn columns(&self) -> usize {
        self.features.first().map_or(0, Array2::ncols)
    }
}

/// One-hot numbers of neighbours `[nodes, most + 1]`: the features of nodes that have no others. What exceeds `most`
/// counts as `most`.
pub fn degree_features(graph: &Graph, most: usize) -> Array2<f32> {
    let mut features = Array2::zeros((graph.len(), most + 1));
    for node in 0..graph.len() {
        features[[node, graph.neighbours(node as u32).len().min(most)]] = 1.0;
    }
    features
}

/// What numbers of neighbours alone say of a graph: the share of nodes that have 0, 1, … `most` or more, and the number of nodes;
/// `most + 2` values.
pub fn degree_histogram(graph: &Graph, most: usize) -> Vec<f32> {
    let nodes = graph.len() as f32;
    let mut histogram = vec![0.0; most + 2];
    for node in 0..graph.len() {
        histogram[graph.neighbours(node as u32).len().min(most)] += 1.0 / nodes;
    }
    histogram[most + 1] = nodes;
    histogram
}

#[cfg(test)]
mod tests {
    use super::super::generate::graph;
    use super::*;

    #[test]
    fn degree_features_are_one_hot_and_capped() {
        let (star, _) = graph(5, vec![[0, 1], [0, 2], [0, 3]]);
        let features = degree_features(&star, 2);
        let row = |node| features.row(node).to_vec();
        assert_eq!([row(0), row(1), row(4)], [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]);
    }

    #[test]
    fn a_degree_histogram_is_of_shares_and_ends_with_the_size() {
        let (star, _) = graph(5, vec![[0, 1], [0, 2], [0, 3]]);
        let expected = [0.2, 0.6, 0.2, 5.0];
        let found = degree_histogram(&star, 2);
        assert!(found.len() == 4 && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }
}
