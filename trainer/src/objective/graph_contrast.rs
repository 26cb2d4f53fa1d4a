//! Representations of whole graphs that tell each graph's own nodes from those of other graphs: InfoGraph (Sun, Hoffmann,
//! Verma, Tang 2020), its negatives weighted by how hard they are (Robinson, Chuang, Sra, Jegelka 2021, the graph form).
//!
//! Of a batch, every node and every graph have a score, the inner product of their projections over a temperature. With the score
//! `r` of a node and its own graph, `q` of a node and one of the `N` other graphs, and `sp(x) = ln(1 + e^x)`:
//!
//! ```text
//! w_i = e^(2 beta q_i / Q) / mean_i e^(2 beta q_i / Q)          Q the largest |q| of the batch
//! M   = max((mean_i w_i sp(q_i) - tau sp(r)) / (1 - tau), 0)    without the graphs that are of the node's own class
//! L   = mean over nodes of sp(-r) + M
//! ```
//!
//! `beta = tau = 0` is InfoGraph's Jensen-Shannon estimate, without its constant `-2 ln 2`. Means are over the `N` other graphs
//! alone.
//!
//! The authors' code differs from their paper and from this. Its exponent is `-2 beta q_i / Q`, which gives hard negatives the
//! least weight ([`Emphasis::Easy`]). It adds `tau sp(r) / (1 - tau)`, where leaving out a share `tau` of positives among the
//! negatives takes it away (Chuang et al. 2020): at the code's `tau = 0.5` a node's own score would be best at 0. It has no lower
//! bound, without which the difference has no minimum. And it counts the node's own graph among the others, with a score of 0.

use burn::module::Module;
use burn::tensor::activation::{log_sigmoid, relu};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Loss, two_samples};
use crate::error::{Error, Result};
use crate::network::encoder::Affine;
use crate::network::gin::Representations;
use crate::network::kernels::Kernels;
use crate::network::{Gin, GinSpec, GraphBatch, Mode, Trainable};

/// Settings of the objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphContrastSpec {
    /// What inner products are divided by. InfoGraph has 1: but graphs are sums over nodes, and scores in the hundreds, as they
    /// begin with then, take many epochs to come down to where the loss tells them apart.
    pub temperature: f64,
    /// How unlike the weights of negatives are; 0: all 1.
    pub beta: f64,
    /// Share of other graphs that are taken to be of a graph's own class; 0: none.
    pub tau_plus: f64,
    /// Which negatives get more weight.
    pub emphasis: Emphasis,
    /// Whether the weights are constants. As the authors have it they are not.
    pub detach_weights: bool,
}

/// Which negatives get more weight: the sign of the exponent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Emphasis {
    /// Those of high score, as in the paper.
    #[default]
    Hard,
    /// Those of low score, as in the authors' code.
    Easy,
}

impl Default for GraphContrastSpec {
    fn default() -> Self {
        Self { temperature: 100.0, beta: 1.0, tau_plus: 0.0, emphasis: Emphasis::Hard, detach_weights: false }
    }
}

/// Added to the largest score, so that scores of 0 have weights.
const SCALE_GUARD: f64 = 1e-12;
/// In place of a node's own graph among exponents, so that it has no weight.
const NOT_A_NEGATIVE: f64 = -1e30;

impl GraphContrastSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A `temperature` that is not above 0, a negative `beta`, a `tau_plus` outside `[0, 1)`.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let place = "objective.temperature";
            return Err(Error::input(place, "impossible value", "a positive number", self.temperature));
        }
        if !(self.beta >= 0.0 && self.beta.is_finite()) {
            return Err(Error::input("objective.beta", "impossible value", "0 or a positive number", self.beta));
        }
        if !(0.0..1.0).contains(&self.tau_plus) {
            return Err(Error::input("objective.tau_plus", "impossible value", "0 to below 1", self.tau_plus));
        }
        Ok(())
    }

    /// Checks that batches hold other graphs.
    ///
    /// # Errors
    /// Batches of one graph, because `batch` is one or there are no more `graphs`.
    pub fn fits(&self, graphs: usize, batch: usize) -> Result<()> {
        two_samples(graphs, batch, "a batch holds no negatives")
    }
}

/// The loss of a batch, each `[1]`.
pub struct LocalGlobal<B: Backend> {
    /// The loss.
    pub total: Tensor<B, 1>,
    /// Mean score of a node and its own graph.
    pub own: Tensor<B, 1>,
    /// Mean score of a node and another graph.
    pub other: Tensor<B, 1>,
    /// Share of nodes whose corrected negatives were held at 0. No gradient reaches these negatives.
    pub clamped: Tensor<B, 1>,
}

/// The objective as a function of the scores `[nodes, graphs]` and of each node's graph `[nodes]`; there are at least two graphs.
pub fn local_global_loss<B: Backend>(
    scores: Tensor<B, 2>,
    graph_of: Tensor<B, 1, Int>,
    spec: &GraphContrastSpec,
) -> LocalGlobal<B> {
    let [nodes, graphs] = scores.dims();
    let negatives = (graphs - 1) as f64;
    let graph_of = graph_of.reshape([nodes, 1]);
    let numbers = Tensor::<B, 1, Int>::arange(0..graphs as i64, &scores.device()).reshape([1, graphs]);
    let is_own = graph_of.clone().repeat(&[1, graphs]).equal(numbers.repeat(&[nodes, 1]));

    let own = scores.clone().gather(1, graph_of);
    let others = scores.mask_fill(is_own.clone(), 0.0);
    // -ln(sigmoid(-x)) = sp(x).
    let costs = (-log_sigmoid(-others.clone())).mask_fill(is_own.clone(), 0.0);
    let cost = if spec.beta == 0.0 {
        costs.sum_dim(1) / negatives
    } else {
        let others = if spec.detach_weights { others.clone().detach() } else { others.clone() };
        let weights = relative_weights(others, is_own, spec);
        (weights.clone() * costs).sum_dim(1) / weights.sum_dim(1)
    };
    let (cost, clamped) = debiased(cost, own.clone(), spec);
    LocalGlobal {
        total: (cost - log_sigmoid(own.clone())).mean(),
        own: own.detach().mean(),
        other: others.detach().sum() / (nodes as f64 * negatives),
        clamped,
    }
}

/// Weights of scores `[nodes, graphs]` but for a factor of each row; 0 for a node's own graph, whose score is 0.
///
/// Exponents are relative to a row's largest, so none overflows and no row is zero.
fn relative_weights<B: Backend>(
    others: Tensor<B, 2>,
    is_own: Tensor<B, 2, burn::tensor::Bool>,
    spec: &GraphContrastSpec,
) -> Tensor<B, 2> {
    let factor = match spec.emphasis {
        Emphasis::Hard => 2.0 * spec.beta,
        Emphasis::Easy => -2.0 * spec.beta,
    };
    let all: usize = others.dims().iter().product();
    let largest = others.clone().abs().reshape([1, all]).max_dim(1) + SCALE_GUARD;
    let exponents = (others / largest * factor).mask_fill(is_own, NOT_A_NEGATIVE);
    let highest = exponents.clone().detach().max_dim(1);
    (exponents - highest).exp()
}

/// `M`, `[nodes, 1]`, from the mean over negatives and the own scores; and the share of nodes that were clamped.
fn debiased<B: Backend>(
    cost: Tensor<B, 2>,
    own: Tensor<B, 2>,
    spec: &GraphContrastSpec,
) -> (Tensor<B, 2>, Tensor<B, 1>) {
    if spec.tau_plus == 0.0 {
        let none = Tensor::zeros([1], &cost.device());
        return (cost, none);
    }
    let same_class = -log_sigmoid(-own) * spec.tau_plus;
    let difference = (cost - same_class) / (1.0 - spec.tau_plus);
    let clamped = difference.clone().detach().lower_equal_elem(0.0);
    (difference.mask_fill(clamped.clone(), 0.0), clamped.float().mean())
}

/// What a node's or a graph's representation goes through before scores, as InfoGraph has it: three dense layers with ReLU, and
/// a linear map beside them.
#[derive(Module, Debug)]
pub struct Projection<B: Backend> {
    /// The dense layers.
    pub dense: Vec<Affine<B>>,
    /// The linear map.
    pub shortcut: Affine<B>,
}

impl<B: Kernels> Projection<B> {
    /// A fresh one that keeps the length `size`. Weights are normal with variance `2 / size` before a ReLU, else `1 / size`.
    pub fn new(size: usize, rng: &mut ChaCha8Rng, device: &B::Device) -> Self {
        let dense = (0..3).map(|_| Affine::linear([size; 2], 2.0, rng, device)).collect();
        Self { dense, shortcut: Affine::linear([size; 2], 1.0, rng, device) }
    }

    /// Of `[rows, size]`: `[rows, size]`.
    pub fn forward(&self, rows: Tensor<B, 2>) -> Tensor<B, 2> {
        let layer = |rows, affine: &Affine<B>| relu(affine.apply(rows, Mode::Evaluate));
        let beside = self.shortcut.apply(rows.clone(), Mode::Evaluate);
        self.dense.iter().fold(rows, layer) + beside
    }
}

/// The encoder with the projections that it is trained through.
#[derive(Module, Debug)]
pub struct GraphContrast<B: Backend> {
    /// What is kept.
    pub encoder: Gin<B>,
    /// Of nodes.
    pub local: Projection<B>,
    /// Of graphs.
    pub global: Projection<B>,
}

impl<B: Trainable> GraphContrast<B> {
    /// A fresh one for nodes of so many features; equal seeds give equal ones.
    pub fn new(spec: &GinSpec, columns: usize, seed: u64, device: &B::Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let encoder = Gin::new(spec, columns, &mut rng, device);
        let mut projection = || Projection::new(spec.outputs(), &mut rng, device);
        Self { encoder, local: projection(), global: projection() }
    }

    /// The loss of a batch of at least two graphs.
    pub fn loss(&self, batch: &GraphBatch<B>, spec: &GraphContrastSpec) -> Loss<B> {
        let Representations { nodes, graphs } = self.encoder.forward(batch, Mode::Train);
        let scores = self.local.forward(nodes).matmul(self.global.forward(graphs).transpose());
        let found = local_global_loss(scores / spec.temperature, batch.graph_of.clone(), spec);
        let mut terms = vec![("own", found.own.inner()), ("other", found.other.inner())];
        if spec.tau_plus > 0.0 {
            terms.push(("clamped", found.clamped.inner()));
        }
        Loss { total: found.total, terms }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{ElementConversion, TensorData};
    use rand::RngExt;

    use super::*;
    use crate::graph::GraphSet;
    use crate::graph::families::Families;

    type Plain = burn::backend::Flex;
    type Tracked = crate::backend::Flex;

    const GRAPHS: usize = 4;
    /// The graph of each node.
    const GRAPH_OF: [usize; 9] = [0, 0, 0, 1, 2, 2, 3, 3, 3];

    /// Scores `[nodes * graphs]`, up to `size` on either side of 0.
    fn scores(size: f64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (0..GRAPH_OF.len() * GRAPHS).map(|_| rng.random_range(-size..size)).collect()
    }

    fn spec(beta: f64, tau_plus: f64) -> GraphContrastSpec {
        GraphContrastSpec { beta, tau_plus, ..Default::default() }
    }

    fn every_spec() -> Vec<GraphContrastSpec> {
        let mut specs = Vec::new();
        for (beta, tau_plus) in [(0.0, 0.0), (0.0, 0.3), (0.5, 0.0), (1.0, 0.1), (2.0, 0.5), (10.0, 0.25)] {
            for (emphasis, detach_weights) in [(Emphasis::Hard, false), (Emphasis::Hard, true), (Emphasis::Easy, false)]
            {
                specs.push(GraphContrastSpec { emphasis, detach_weights, ..spec(beta, tau_plus) });
            }
        }
        specs
    }

    fn tensor<B: Backend>(scores: &[f64]) -> Tensor<B, 2> {
        let values: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
        Tensor::from_data(TensorData::new(values, [GRAPH_OF.len(), GRAPHS]), &Default::default())
    }

    fn graph_of<B: Backend>() -> Tensor<B, 1, Int> {
        Tensor::from_data(GRAPH_OF.map(|graph| graph as i64), &Default::default())
    }

    fn value<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
        tensor.into_scalar().elem()
    }

    fn found(scores: &[f64], spec: &GraphContrastSpec) -> LocalGlobal<Plain> {
        local_global_loss(tensor(scores), graph_of(), spec)
    }

    fn loss(scores: &[f64], spec: &GraphContrastSpec) -> f64 {
        value(found(scores, spec).total)
    }

    fn gradient(scores: &[f64], spec: &GraphContrastSpec) -> Vec<f32> {
        let scores = tensor::<Tracked>(scores).require_grad();
        let gradients = local_global_loss(scores.clone(), graph_of(), spec).total.backward();
        scores.grad(&gradients).unwrap().into_data().to_vec().unwrap()
    }

    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    /// The weights of a node's negatives, in their order.
    fn weights(scores: &[f64], node: usize, spec: &GraphContrastSpec) -> Vec<f64> {
        let other = |node: usize, graph: usize| (graph != GRAPH_OF[node]).then(|| scores[node * GRAPHS + graph]);
        let all = (0..GRAPH_OF.len()).flat_map(|node| (0..GRAPHS).filter_map(move |graph| other(node, graph)));
        let largest = all.map(f64::abs).fold(0.0, f64::max);
        let sign = if spec.emphasis == Emphasis::Hard { 2.0 } else { -2.0 };
        let exponential = |q: f64| (sign * spec.beta * q / largest).exp();
        let raw: Vec<f64> = (0..GRAPHS).filter_map(|graph| other(node, graph)).map(exponential).collect();
        let mean = raw.iter().sum::<f64>() / raw.len() as f64;
        raw.into_iter().map(|weight| weight / mean).collect()
    }

    /// The loss as the module's text writes it, in plain loops. Detached weights are read from `constant`, so that the slope over
    /// `scores` is the one that training must follow. Also: how many nodes clamp.
    fn naive(constant: &[f64], scores: &[f64], spec: &GraphContrastSpec) -> (f64, usize) {
        let (mut loss, mut clamped) = (0.0, 0);
        for (node, &own) in GRAPH_OF.iter().enumerate() {
            let weights = weights(if spec.detach_weights { constant } else { scores }, node, spec);
            let others = (0..GRAPHS).filter(|&graph| graph != own).map(|graph| scores[node * GRAPHS + graph]);
            let mean = others.zip(&weights).map(|(q, w)| w * softplus(q)).sum::<f64>() / weights.len() as f64;
            let r = scores[node * GRAPHS + own];
            let corrected = (mean - spec.tau_plus * softplus(r)) / (1.0 - spec.tau_plus);
            clamped += usize::from(corrected <= 0.0);
            loss += (softplus(-r) + corrected.max(0.0)) / GRAPH_OF.len() as f64;
        }
        (loss, clamped)
    }

    #[test]
    fn the_loss_is_the_formula() {
        let mut partly_clamped = 0;
        for size in [0.1, 2.0, 30.0] {
            let scores = scores(size);
            for spec in every_spec() {
                let (found, (expected, clamped)) = (found(&scores, &spec), naive(&scores, &scores, &spec));
                let total = value(found.total);
                assert!((total - expected).abs() < 1e-6 * expected.max(1.0), "{spec:?}: {total}, naively {expected}");
                let share = clamped as f64 / GRAPH_OF.len() as f64;
                assert!((value(found.clamped) - share).abs() < 1e-6, "{spec:?}: {share} clamped");
                partly_clamped += usize::from(clamped > 0 && clamped < GRAPH_OF.len());
            }
        }
        assert!(partly_clamped > 0, "no case clamps some nodes and not all");
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let scores = scores(2.0);
        for spec in every_spec() {
            for (i, slope) in gradient(&scores, &spec).into_iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = scores.clone();
                    moved[i] += step;
                    naive(&scores, &moved, &spec).0
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(slope) - difference).abs() < 1e-5, "{spec:?}, {i}: {slope} and {difference}");
            }
        }
    }

    /// Sun et al.'s `E_neg - E_pos`, as their code computes it: masked scores and all.
    #[test]
    fn without_beta_and_tau_it_is_infograph() {
        let scores = scores(2.0);
        let ln_2 = std::f64::consts::LN_2;
        let (mut positive, mut negative) = (0.0, 0.0);
        for (i, score) in scores.iter().enumerate() {
            let own = GRAPH_OF[i / GRAPHS] == i % GRAPHS;
            let [of_own, of_other] = if own { [*score, 0.0] } else { [0.0, *score] };
            positive += ln_2 - softplus(-of_own);
            negative += softplus(-of_other) + of_other - ln_2;
        }
        let nodes = GRAPH_OF.len() as f64;
        let expected = negative / (nodes * (GRAPHS - 1) as f64) - positive / nodes;
        for emphasis in [Emphasis::Hard, Emphasis::Easy] {
            let found = loss(&scores, &GraphContrastSpec { emphasis, ..spec(0.0, 0.0) }) - 2.0 * ln_2;
            assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
        // And it is where small betas lead.
        assert!((loss(&scores, &spec(1e-6, 0.0)) - loss(&scores, &spec(0.0, 0.0))).abs() < 1e-5);
    }

    #[test]
    fn the_emphasis_says_which_negative_weighs_most() {
        let scores = scores(2.0);
        for node in 0..GRAPH_OF.len() {
            let others: Vec<f64> = (0..GRAPHS)
                .filter(|&graph| graph != GRAPH_OF[node])
                .map(|graph| scores[node * GRAPHS + graph])
                .collect();
            let most = |of: &[f64]| (0..of.len()).max_by(|&a, &b| of[a].total_cmp(&of[b])).unwrap();
            let least = |of: &[f64]| (0..of.len()).min_by(|&a, &b| of[a].total_cmp(&of[b])).unwrap();
            let [hard, easy] = [Emphasis::Hard, Emphasis::Easy]
                .map(|emphasis| most(&weights(&scores, node, &GraphContrastSpec { emphasis, ..spec(1.0, 0.0) })));
            assert_eq!([hard, easy], [most(&others), least(&others)]);
        }
        let at = |beta, emphasis| loss(&scores, &GraphContrastSpec { emphasis, ..spec(beta, 0.0) });
        let hard = [0.0, 0.5, 1.0, 2.0, 10.0].map(|beta| at(beta, Emphasis::Hard));
        let easy = [0.0, 0.5, 1.0, 2.0, 10.0].map(|beta| -at(beta, Emphasis::Easy));
        assert!(hard.is_sorted() && hard[0] < hard[4] && easy.is_sorted() && easy[0] < easy[4], "{hard:?} {easy:?}");
    }

    #[test]
    fn constant_weights_change_gradients_only_where_there_are_weights() {
        let scores = scores(2.0);
        for beta in [0.0, 1.0] {
            let detached = GraphContrastSpec { detach_weights: true, ..spec(beta, 0.1) };
            assert_eq!(loss(&scores, &spec(beta, 0.1)), loss(&scores, &detached));
            let same = gradient(&scores, &spec(beta, 0.1)) == gradient(&scores, &detached);
            assert_eq!(same, beta == 0.0);
        }
    }

    #[test]
    fn scores_of_zero_and_very_large_ones_leave_everything_finite() {
        for spec in every_spec() {
            for scores in [vec![0.0; GRAPH_OF.len() * GRAPHS], scores(1e6)] {
                assert!(loss(&scores, &spec).is_finite(), "{spec:?}");
                assert!(gradient(&scores, &spec).iter().all(|slope| slope.is_finite()), "{spec:?}");
            }
        }
        // Alike scores, alike weights.
        assert!((loss(&[0.0; GRAPH_OF.len() * GRAPHS], &spec(2.0, 0.0)) - 2.0 * std::f64::consts::LN_2).abs() < 1e-6);
        assert!(loss(&scores(2.0), &spec(1e4, 0.0)).is_finite());
    }

    #[test]
    fn the_loss_of_graphs_does_not_depend_on_their_order() {
        let set = Families { graphs: 2, nodes: [16, 20], seed: 1 }.sample().unwrap();
        let model = GraphContrast::<Tracked>::new(&GinSpec::default(), set.columns(), 1, &Default::default());
        let at = |set: &GraphSet, places: &[u32]| {
            let batch = GraphBatch::of(set, places, &Default::default());
            value(model.loss(&batch, &spec(1.0, 0.1)).total)
        };
        let (some, same) = (at(&set, &[0, 1, 2, 5, 7]), at(&set, &[7, 2, 0, 5, 1]));
        assert!((some / same - 1.0).abs() < 1e-5, "{some} and {same}");
        assert_ne!(some, at(&set, &[0, 1, 2, 5, 6]));
    }

    #[test]
    fn impossible_settings_name_their_key() {
        for (key, spec) in [
            ("temperature", GraphContrastSpec { temperature: 0.0, ..spec(0.0, 0.0) }),
            ("temperature", GraphContrastSpec { temperature: f64::NAN, ..spec(0.0, 0.0) }),
            ("beta", spec(-0.5, 0.0)),
            ("beta", spec(f64::NAN, 0.0)),
            ("tau_plus", spec(0.0, 1.0)),
            ("tau_plus", spec(0.0, -0.1)),
        ] {
            let error = spec.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("objective.{key}: impossible value")), "{error}");
        }
        assert!(GraphContrastSpec::default().check().is_ok());
        let error = GraphContrastSpec::default().fits(1, 100).unwrap_err().to_string();
        assert!(error.starts_with("train.batch: a batch holds no negatives"), "{error}");
    }
}
