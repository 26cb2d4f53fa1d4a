//! Neural eigenmaps: a sub-model's loss for a sample is how far its functions are from saying the same of two views.
//!
//! With sub-model `j`'s outputs scaled to unit second moment over its members in the batch, `psi_j`, and their moments over
//! the same members, `R_j = E[psi_j(x) psi_j(x+)^T]`:
//!
//! ```text
//! l_ij = |psi_j(x_i) - psi_j(x_i+)|^2 / 2
//! batch: sum_j n_j / n * alpha * sum_b sum_{a<b} w_a R_jab^2        with the objective's weights and stop-gradient
//! ```
//!
//! Over the `n_j` members `l` sums to `n_j (code - tr R_j)`: the objective's reward, but for a constant that makes it
//! bounded from below. One sub-model is the plain objective plus `code`.
//!
//! The most invariant function of all is the constant: as in the plain objective, one output of each sub-model becomes it.

use burn::tensor::{Tensor, TensorData};

use super::super::State;
use super::super::neural_eigenmap::{NeuralEigenmapSpec, root_mean_square, weighted_spectral_loss};
use super::{Case, Family, Known, Losses};
use crate::augment::View;
use crate::network::{Trainable, floats};

/// The family with its running moments, by which samples are told apart that are not learned from.
pub struct Eigenmaps {
    spec: NeuralEigenmapSpec,
    /// Running mean square of each sub-model's outputs over its members, one sub-model after the other.
    mean_square: Vec<f32>,
    /// Running eigenvalues, in the same order.
    eigenvalues: Vec<f32>,
}

/// Names in the state and in what a batch measures.
const MEAN_SQUARE: &str = "mean_square";
const EIGENVALUES: &str = "eigenvalues";
/// Members of each sub-model in a batch.
const SIZES: &str = "sizes";

impl Eigenmaps {
    /// At the start of training.
    pub fn new(spec: NeuralEigenmapSpec) -> Self {
        Self { spec, mean_square: Vec::new(), eigenvalues: Vec::new() }
    }

    /// The losses of raw outputs `[2n, clusters, code]` of samples that are learned from.
    fn learned<B: Trainable>(&self, outputs: Tensor<B, 3>, known: &Known<B>) -> Losses<B> {
        let [rows, _, code] = outputs.dims();
        let n = rows / 2;
        let sizes = floats(known.weights.clone().inner().sum_dim(0));
        let spectral: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(j, &size)| {
                let own = outputs.clone().narrow(1, j, 1).reshape([rows, code]);
                // A cluster that is not in the batch has the whole batch's moments, or none could join it.
                let weights =
                    (size > 0.0).then(|| known.weights.clone().narrow(1, j, 1) * (n as f64 / f64::from(size)));
                weighted_spectral_loss(own, weights, &self.spec)
            })
            .collect();
        let psi = spectral.iter().map(|own| own.psi.clone().unsqueeze_dim::<3>(1)).collect();
        let penalties = spectral.iter().zip(&sizes).map(|(own, &size)| own.penalty.clone() * (size / n as f32));
        let penalty = penalties.reduce(|sum, own| sum + own).expect("at least one sub-model");
        let mean_square = spectral.iter().map(|own| own.mean_square.clone().inner()).collect();
        let eigenvalues = spectral.iter().map(|own| own.eigenvalues.clone().inner()).collect();
        let measured = State::from([
            (SIZES.into(), sizes),
            (MEAN_SQUARE.into(), floats(Tensor::<_, 1>::cat(mean_square, 0))),
            (EIGENVALUES.into(), floats(Tensor::<_, 1>::cat(eigenvalues, 0))),
        ]);
        let terms = vec![("penalty", penalty.clone().inner())];
        Losses { batch: Some(penalty), measured, terms, ..Losses::of(changes(Tensor::cat(psi, 1))) }
    }
}

/// `|psi(x) - psi(x+)|^2 / 2` of each sample, `[n, clusters]`, for `psi` `[2n, clusters, code]`, first views before second.
fn changes<B: Trainable>(psi: Tensor<B, 3>) -> Tensor<B, 2> {
    let [rows, clusters, _] = psi.dims();
    let n = rows / 2;
    let change = psi.clone().narrow(0, 0, n) - psi.narrow(0, n, n);
    change.square().sum_dim(2).reshape([n, clusters]) / 2.0
}

impl<B: Trainable> Family<B> for Eigenmaps {
    fn views(&self) -> &'static [View] {
        &[View::First, View::Second, View::Plain]
    }

    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B> {
        let outputs = case.outputs(case.images.clone().narrow(0, 0, 2 * n));
        match &case.known {
            Some(known) => self.learned(outputs, known),
            None => {
                let [_, clusters, code] = outputs.dims();
                let known = match self.mean_square.is_empty() {
                    // Before training, outputs are as they are.
                    true => vec![1.0; clusters * code],
                    false => self.mean_square.clone(),
                };
                let mean_square = TensorData::new(known, [1, clusters, code]);
                let mean_square = Tensor::<B, 3>::from_data(mean_square, &outputs.device());
                Losses::of(changes(outputs / root_mean_square(mean_square)))
            }
        }
    }

    fn follow(&mut self, mut measured: State) {
        let mut take = |name: &str| measured.remove(name).unwrap_or_default();
        let (sizes, momentum) = (take(SIZES), self.spec.momentum as f32);
        for (average, new) in [(&mut self.mean_square, take(MEAN_SQUARE)), (&mut self.eigenvalues, take(EIGENVALUES))] {
            if average.is_empty() {
                *average = new;
                continue;
            }
            let code = average.len() / sizes.len();
            for (i, (average, new)) in average.iter_mut().zip(new).enumerate() {
                if sizes[i / code] > 0.0 {
                    *average = momentum * *average + (1.0 - momentum) * new;
                }
            }
        }
    }

    fn state(&self) -> State {
        State::from([(MEAN_SQUARE.into(), self.mean_square.clone()), (EIGENVALUES.into(), self.eigenvalues.clone())])
    }

    fn restore(&mut self, mut state: State) {
        self.mean_square = state.remove(MEAN_SQUARE).unwrap_or_default();
        self.eigenvalues = state.remove(EIGENVALUES).unwrap_or_default();
    }

    fn compares_views(&self) -> bool {
        true
    }

    /// Unit second moment, then the root of the eigenvalue: the most invariant functions vary most.
    fn scales(&self) -> Option<Vec<f32>> {
        let scale = |(&square, &value): (&f32, &f32)| value.max(0.0).sqrt() / square.max(f32::MIN_POSITIVE).sqrt();
        let scales = self.mean_square.iter().zip(&self.eigenvalues).map(scale).collect::<Vec<f32>>();
        (!scales.is_empty()).then_some(scales)
    }
}
