//! A graph isomorphism network (Xu, Hu, Leskovec, Jegelka, "How powerful are graph neural networks?", 2019) over batches of
//! graphs.
//!
//! Layer by layer, a node `v` gets a vector made of its own one and of the sum of its neighbours' (their equation 4.1):
//!
//! ```text
//! h_v <- MLP((1 + epsilon) h_v + sum over neighbours u of h_u)
//! ```
//!
//! The perceptron is two dense layers, each with batch norm over the nodes of the batch, and ReLU. A node's representation is
//! its vectors of all layers side by side, that of a graph the sum of its nodes'. Neither depends on how nodes are numbered.
//! A batch is one graph whose parts are not joined: sums over neighbours take time for the edges, not for pairs of nodes.

use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Mode;
use super::encoder::Affine;
use super::kernels::Kernels;
use crate::error::{Error, Result};
use crate::graph::GraphSet;

/// Shape of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GinSpec {
    /// How many layers; the last one's vectors tell of neighbours that many steps away.
    pub layers: usize,
    /// Length of a node's vector in each layer.
    pub units: usize,
    /// Whether each layer learns its `epsilon`, from 0 on; else it stays 0.
    pub learn_epsilon: bool,
}

impl Default for GinSpec {
    /// As Sun et al. and Robinson et al. have it.
    fn default() -> Self {
        Self { layers: 3, units: 32, learn_epsilon: false }
    }
}

impl GinSpec {
    /// Checks the sizes.
    ///
    /// # Errors
    /// No or more than 64 `layers`, no or more than 65,535 `units`.
    pub fn check(&self) -> Result<()> {
        for (key, size, most) in [("layers", self.layers, 64), ("units", self.units, usize::from(u16::MAX))] {
            if size == 0 || size > most {
                return Err(Error::input(format!("network.{key}"), "impossible size", format!("1 to {most}"), size));
            }
        }
        Ok(())
    }

    /// Length of a node's representation and of a graph's.
    pub fn outputs(&self) -> usize {
        self.layers * self.units
    }
}

/// Some graphs as one, their nodes numbered one graph after the other. An edge counts once, whatever its weight.
#[derive(Clone, Debug)]
pub struct GraphBatch<B: Backend> {
    /// Features of all nodes, `[nodes, columns]`.
    pub features: Tensor<B, 2>,
    /// The graph of each node, from 0, `[nodes]`.
    pub graph_of: Tensor<B, 1, Int>,
    /// Number of graphs.
    pub graphs: usize,
    /// From which node to which, of every edge in both directions, ascending by the second; `None` without edges, since a tensor
    /// of no length is none to every backend.
    steps: Option<[Tensor<B, 1, Int>; 2]>,
}

impl<B: Backend> GraphBatch<B> {
    /// The graphs of `set` at these places, in their order.
    ///
    /// # Panics
    /// When a place is not in the set, or there is no node in all of the graphs.
    pub fn of(set: &GraphSet, places: &[u32], device: &B::Device) -> Self {
        let (mut features, mut graph_of) = (Vec::<f32>::new(), Vec::<i64>::new());
        let (mut from, mut to) = (Vec::<i64>::new(), Vec::<i64>::new());
        for (number, &place) in places.iter().enumerate() {
            let graph = &set.graphs[place as usize];
            let first = graph_of.len() as i64;
            for node in 0..graph.len() as u32 {
                for &neighbour in graph.neighbours(node) {
                    from.push(first + i64::from(neighbour));
                    to.push(first + i64::from(node));
                }
            }
            features.extend(set.features[place as usize].iter());
            graph_of.extend(std::iter::repeat_n(number as i64, graph.len()));
        }
        let nodes = graph_of.len();
        assert!(nodes > 0, "a batch has nodes");
        let list = |values: Vec<i64>| {
            let length = values.len();
            Tensor::from_data(TensorData::new(values, [length]), device)
        };
        Self {
            features: Tensor::from_data(TensorData::new(features, [nodes, set.columns()]), device),
            graph_of: list(graph_of),
            graphs: places.len(),
            steps: (!to.is_empty()).then(|| [list(from), list(to)]),
        }
    }

    /// The sum of each node's neighbours, `[nodes, d]` of `[nodes, d]`.
    fn over_neighbours(&self, nodes: Tensor<B, 2>) -> Tensor<B, 2> {
        let none = nodes.zeros_like();
        match &self.steps {
            None => none,
            Some([from, to]) => none.select_assign(0, to.clone(), nodes.select(0, from.clone()), IndexingUpdateOp::Add),
        }
    }

    /// The sum of each graph's nodes, `[graphs, d]` of `[nodes, d]`.
    fn over_nodes(&self, nodes: Tensor<B, 2>) -> Tensor<B, 2> {
        let none = Tensor::zeros([self.graphs, nodes.dims()[1]], &nodes.device());
        none.select_assign(0, self.graph_of.clone(), nodes, IndexingUpdateOp::Add)
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Gin<B: Backend> {
    /// Its layers, from the features on.
    pub layers: Vec<GinLayer<B>>,
}

/// One layer.
#[derive(Module, Debug)]
pub struct GinLayer<B: Backend> {
    /// The perceptron's first layer.
    pub first: Affine<B>,
    /// Its second one.
    pub second: Affine<B>,
    /// `[1]`, where it is learned.
    pub epsilon: Option<Param<Tensor<B, 1>>>,
}

/// What a network says of a batch.
pub struct Representations<B: Backend> {
    /// Of each node, `[nodes, layers * units]`.
    pub nodes: Tensor<B, 2>,
    /// Of each graph, `[graphs, layers * units]`.
    pub graphs: Tensor<B, 2>,
}

impl<B: Kernels> Gin<B> {
    /// A fresh network for nodes of so many features. Weights are normal with variance `2 / fan in`, drawn on the host: the same
    /// on every backend.
    pub fn new(spec: &GinSpec, columns: usize, rng: &mut ChaCha8Rng, device: &B::Device) -> Self {
        let layer = |number: usize| {
            let inputs = if number == 0 { columns } else { spec.units };
            GinLayer {
                first: Affine::normalised([inputs, spec.units], inputs, rng, device),
                second: Affine::normalised([spec.units; 2], spec.units, rng, device),
                epsilon: spec.learn_epsilon.then(|| Param::from_tensor(Tensor::zeros([1], device))),
            }
        };
        Self { layers: (0..spec.layers).map(layer).collect() }
    }

    /// Representations of nodes and graphs.
    pub fn forward(&self, batch: &GraphBatch<B>, mode: Mode) -> Representations<B> {
        let mut layers = Vec::with_capacity(self.layers.len());
        let mut nodes = batch.features.clone();
        for layer in &self.layers {
            let own = match &layer.epsilon {
                Some(epsilon) => nodes.clone() * (epsilon.val() + 1.0).unsqueeze(),
                None => nodes.clone(),
            };
            let sums = own + batch.over_neighbours(nodes);
            nodes = layer.second.apply(layer.first.apply(sums, mode), mode);
            layers.push(nodes.clone());
        }
        let nodes = Tensor::cat(layers, 1);
        Representations { graphs: batch.over_nodes(nodes.clone()), nodes }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use ndarray::{Array2, Axis};
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::super::kernels::tests::{Plain, assert_close, values};
    use super::*;
    use crate::graph::families::Families;
    use crate::graph::{Edges, Graph, Options};

    type Tracked = crate::backend::Flex;

    const SPEC: GinSpec = GinSpec { layers: 3, units: 6, learn_epsilon: true };

    /// A path, a star, two nodes without an edge, and a graph of every family; features at random.
    fn graphs() -> GraphSet {
        let graph =
            |nodes, ends: &[[u32; 2]]| Graph::new("", nodes, &Edges::new(ends.to_vec()), Options::default()).unwrap().0;
        let mut graphs = vec![graph(3, &[[0, 1], [1, 2]]), graph(4, &[[0, 1], [0, 2], [0, 3]]), graph(2, &[])];
        graphs.extend(Families { graphs: 1, nodes: [16, 20], seed: 1 }.sample().unwrap().graphs);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let features = |graph: &Graph| Array2::from_shape_fn((graph.len(), 4), |_| rng.random_range(-1.0..1.0));
        GraphSet { features: graphs.iter().map(features).collect(), graphs, labels: None }
    }

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(2)
    }

    /// A network whose epsilons and running moments are not those of the beginning.
    fn network<B: Kernels>(spec: &GinSpec) -> Gin<B> {
        let device = Default::default();
        let mut gin = Gin::<B>::new(spec, 4, &mut rng(), &device);
        for (layer, epsilon) in gin.layers.iter_mut().zip([0.3f32, -0.4, 0.1]) {
            layer.epsilon = spec.learn_epsilon.then(|| Param::from_data([epsilon], &device));
        }
        gin.forward(&GraphBatch::of(&graphs(), &all(&graphs()), &device), Mode::Train);
        gin
    }

    fn all(set: &GraphSet) -> Vec<u32> {
        (0..set.graphs.len() as u32).collect()
    }

    fn represent(gin: &Gin<Plain>, set: &GraphSet, places: &[u32], mode: Mode) -> [Vec<f32>; 2] {
        let found = gin.forward(&GraphBatch::of(set, places, &Default::default()), mode);
        [values(found.nodes), values(found.graphs)]
    }

    /// A dense layer, batch norm by the running moments, ReLU.
    fn naive_layer(affine: &Affine<Plain>, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let [_, outputs] = affine.weight.val().dims();
        let weight = values(affine.weight.val());
        let norm = affine.norm.as_ref().unwrap();
        let [mean, variance] = [&norm.running_mean, &norm.running_var].map(|state| values(state.value_sync()));
        let one = |row: &Vec<f64>, j: usize| {
            let sum: f64 = row.iter().enumerate().map(|(i, x)| x * f64::from(weight[i * outputs + j])).sum();
            ((sum - f64::from(mean[j])) / (f64::from(variance[j]) + 1e-5).sqrt()).max(0.0)
        };
        rows.iter().map(|row| (0..outputs).map(|j| one(row, j)).collect()).collect()
    }

    #[test]
    fn representations_are_the_formula() {
        let set = graphs();
        for spec in [SPEC, GinSpec { learn_epsilon: false, ..SPEC }] {
            let gin = network::<Plain>(&spec);
            let (mut nodes, mut sums) = (Vec::new(), Vec::new());
            for (graph, features) in set.graphs.iter().zip(&set.features) {
                let mut x: Vec<Vec<f64>> =
                    features.outer_iter().map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect();
                let mut seen = vec![Vec::new(); graph.len()];
                for layer in &gin.layers {
                    let epsilon = layer.epsilon.as_ref().map_or(0.0, |epsilon| f64::from(values(epsilon.val())[0]));
                    let sum = |node: usize, i: usize| {
                        let neighbours = graph.neighbours(node as u32).iter();
                        (1.0 + epsilon) * x[node][i] + neighbours.map(|&other| x[other as usize][i]).sum::<f64>()
                    };
                    let added: Vec<Vec<f64>> =
                        (0..graph.len()).map(|node| (0..x[0].len()).map(|i| sum(node, i)).collect()).collect();
                    x = naive_layer(&layer.second, &naive_layer(&layer.first, &added));
                    seen.iter_mut().zip(&x).for_each(|(seen, x)| seen.extend(x.iter().map(|&x| x as f32)));
                }
                let total = |i: usize| seen.iter().map(|row| row[i]).sum::<f32>();
                sums.extend((0..spec.outputs()).map(total));
                nodes.extend(seen.concat());
            }
            let [found_nodes, found_sums] = represent(&gin, &set, &all(&set), Mode::Evaluate);
            assert_close(&nodes, &found_nodes, 1e-5, "nodes");
            assert_close(&sums, &found_sums, 1e-5, "graphs");
        }
    }

    #[test]
    fn the_numbers_of_nodes_do_not_matter() {
        let (set, gin) = (graphs(), network(&SPEC));
        let mut rng = rng();
        let mut renumbered = set.clone();
        for (graph, features) in renumbered.graphs.iter_mut().zip(&mut renumbered.features) {
            let mut order: Vec<u32> = (0..graph.len() as u32).collect();
            order.shuffle(&mut rng);
            *graph = graph.renumbered(&order).unwrap();
            let order: Vec<usize> = order.into_iter().map(|node| node as usize).collect();
            *features = features.select(Axis(0), &order);
        }
        assert_ne!(set, renumbered);
        for mode in [Mode::Probe, Mode::Evaluate] {
            let [of_set, of_renumbered] =
                [&set, &renumbered].map(|set| represent(&gin, set, &all(set), mode)[1].clone());
            assert_close(&of_set, &of_renumbered, 1e-5, "graphs");
        }
    }

    #[test]
    fn a_batch_is_its_graphs_one_by_one() {
        let (set, gin) = (graphs(), network(&SPEC));
        let together = represent(&gin, &set, &all(&set), Mode::Evaluate);
        let alone: Vec<_> = all(&set).iter().map(|&place| represent(&gin, &set, &[place], Mode::Evaluate)).collect();
        for (what, together) in together.iter().enumerate() {
            let alone: Vec<f32> = alone.iter().flat_map(|found| found[what].clone()).collect();
            assert_close(together, &alone, 1e-6, "alone");
        }
    }

    #[test]
    fn gradients_of_sums_reach_every_node_that_was_added() {
        let set = graphs();
        let batch = GraphBatch::<Tracked>::of(&set, &all(&set), &Default::default());
        let features = batch.features.clone().require_grad();
        // Each graph's sum of sums over neighbours: a node counts once for each of its neighbours.
        let sums = batch.over_nodes(batch.over_neighbours(features.clone()));
        let gradients = sums.sum().backward();
        let expected: Vec<f32> = set
            .graphs
            .iter()
            .flat_map(|graph| (0..graph.len() as u32).flat_map(|node| [graph.degree(node); 4]))
            .collect();
        assert_eq!(values(features.grad(&gradients).unwrap()), expected);
    }

    #[test]
    fn epsilons_are_learned_where_they_are_to_be() {
        let set = graphs();
        let gin = network::<Tracked>(&SPEC);
        let found = gin.forward(&GraphBatch::of(&set, &all(&set), &Default::default()), Mode::Evaluate);
        let gradients = found.graphs.square().mean().backward();
        for layer in &gin.layers {
            let slope = values(layer.epsilon.as_ref().unwrap().val().grad(&gradients).unwrap());
            assert!(slope[0].abs() > 1e-6, "{slope:?}");
        }
        let fixed = network::<Tracked>(&GinSpec { learn_epsilon: false, ..SPEC });
        assert!(fixed.layers.iter().all(|layer| layer.epsilon.is_none()));
    }

    #[test]
    fn impossible_sizes_name_their_key() {
        for (key, spec) in [
            ("layers", GinSpec { layers: 0, ..SPEC }),
            ("layers", GinSpec { layers: 65, ..SPEC }),
            ("units", GinSpec { units: 0, ..SPEC }),
            ("units", GinSpec { units: 65_536, ..SPEC }),
        ] {
            let error = spec.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("network.{key}: impossible size")), "{error}");
        }
        assert!(GinSpec::default().check().is_ok());
    }
}
