//! Neural Eigenmaps (Deng et al. 2022) for augmentation kernels: output `j` becomes the `j`-th eigenfunction of the
//! kernel whose positive pairs are two views of one sample.
//!
//! With outputs scaled to unit second moment over both views of the batch and `R = E[psi(x) psi(x+)^T]`:
//!
//! ```text
//! L = - sum_j R_jj + alpha * sum_j sum_{i<j} w_i * E[sg(psi_i(x)) psi_j(x+)]^2
//! ```
//!
//! `w_i` is 1 (fixed penalty) or `1 / R_ii` (NeuralEF, Deng et al. 2022: the safe default, since it always exceeds the
//! bound below which an early output is repeated by a later one). `sg` stops the gradient, so a more important function
//! is not disturbed by a less important one; without it the outputs span the same space in no order.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{Batch, Loss, Objective, State};
use crate::error::{Error, Result};
use crate::network::{Encoder, Mode, Trainable};

/// Settings of the objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeuralEigenmapSpec {
    /// Which weight the penalty gives to a pair.
    pub penalty: Penalty,
    /// Factor of the penalty, in the paper's scale (the authors' code divides it by 10). At [`Penalty::Eigenvalue`], 1 is
    /// NeuralEF's.
    pub alpha: f64,
    /// Whether a more important function is a constant in its penalties with less important ones.
    pub stop_gradient: bool,
    /// Weight of the past in the running second moments and eigenvalues.
    pub momentum: f64,
}

/// Which weight the penalty gives to a pair `i < j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// `1 / R_ii`.
    Eigenvalue,
    /// 1.
    Fixed,
}

impl Default for NeuralEigenmapSpec {
    fn default() -> Self {
        Self { penalty: Penalty::Eigenvalue, alpha: 1.0, stop_gradient: true, momentum: 0.99 }
    }
}

impl NeuralEigenmapSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// An `alpha` that is not positive and finite, a `momentum` outside `[0, 1)`.
    pub fn check(&self) -> Result<()> {
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return Err(Error::input("objective.alpha", "impossible value", "a positive number", self.alpha));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(Error::input("objective.momentum", "impossible value", "0 to below 1", self.momentum));
        }
        Ok(())
    }
}

/// Lowest root mean square that an output is divided by: a dead output stays zero.
const LOWEST_RMS: f64 = 1e-6;
/// Lowest eigenvalue that a penalty is divided by. Estimates near zero are noise of the batch.
const LOWEST_EIGENVALUE: f64 = 1e-2;

/// The objective with its running moments.
pub struct NeuralEigenmap<B: Backend> {
    spec: NeuralEigenmapSpec,
    /// Running mean square of each raw output, `[k]`.
    mean_square: Option<Tensor<B, 1>>,
    /// Running eigenvalue of each output, `[k]`.
    eigenvalues: Option<Tensor<B, 1>>,
}

impl<B: Backend> NeuralEigenmap<B> {
    /// At the start of training.
    pub fn new(spec: NeuralEigenmapSpec) -> Self {
        Self { spec, mean_square: None, eigenvalues: None }
    }
}

/// An exponential moving average; the first value is taken as it is.
fn blend<B: Backend>(average: &mut Option<Tensor<B, 1>>, new: Tensor<B, 1>, momentum: f64) {
    *average = Some(match average.take() {
        Some(old) => old * momentum + new * (1.0 - momentum),
        None => new,
    });
}

/// The loss on raw outputs `[2n, k]`, first views before second ones.
pub struct Spectral<B: Backend> {
    /// The loss.
    pub total: Tensor<B, 1>,
    /// `- sum_j R_jj`.
    pub reward: Tensor<B, 1>,
    /// The penalty, times alpha.
    pub penalty: Tensor<B, 1>,
    /// `R_jj`, `[k]`.
    pub eigenvalues: Tensor<B, 1>,
    /// Mean square of each raw output, `[k]`.
    pub mean_square: Tensor<B, 1>,
}

/// The objective as a function of the raw outputs `[2n, k]`.
pub fn spectral_loss<B: Backend>(outputs: Tensor<B, 2>, spec: &NeuralEigenmapSpec) -> Spectral<B> {
    let [rows, k] = outputs.dims();
    let n = rows / 2;
    let mean_square = outputs.clone().square().mean_dim(0);
    let psi = outputs / mean_square.clone().sqrt().clamp_min(LOWEST_RMS);
    let (first, second) = (psi.clone().narrow(0, 0, n), psi.narrow(0, n, n));
    let eigenvalues = (first.clone() * second.clone()).mean_dim(0);

    let important = |view: &Tensor<B, 2>| match spec.stop_gradient {
        true => view.clone().detach(),
        false => view.clone(),
    };
    // Entry (i, j), i < j: the more important function i of one view against function j of the other.
    let cross = |a: &Tensor<B, 2>, b: &Tensor<B, 2>| (important(a).transpose().matmul(b.clone()) / n as f64).triu(1);
    let squares = cross(&first, &second).square() + cross(&second, &first).square();
    let weighted = match spec.penalty {
        Penalty::Fixed => squares,
        Penalty::Eigenvalue => {
            let weight = eigenvalues.clone().detach().clamp_min(LOWEST_EIGENVALUE).recip();
            squares * weight.reshape([k, 1])
        }
    };
    let penalty = weighted.sum() * (spec.alpha / 2.0);
    let reward = -eigenvalues.clone().sum();
    Spectral {
        total: reward.clone() + penalty.clone(),
        reward,
        penalty,
        eigenvalues: eigenvalues.reshape([k]),
        mean_square: mean_square.reshape([k]),
    }
}

impl<B: Trainable> Objective<B> for NeuralEigenmap<B::InnerBackend> {
    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B> {
        // One forward for both views, so that batch norm sees both.
        let outputs = encoder.forward(batch.images, Mode::Train);
        let spectral = spectral_loss(outputs, &self.spec);
        blend(&mut self.mean_square, spectral.mean_square.inner(), self.spec.momentum);
        blend(&mut self.eigenvalues, spectral.eigenvalues.inner(), self.spec.momentum);
        Loss {
            total: spectral.total,
            terms: vec![("reward", spectral.reward.inner()), ("penalty", spectral.penalty.inner())],
        }
    }

    fn state(&self) -> State {
        let mut state = State::new();
        for (name, value) in [("mean_square", &self.mean_square), ("eigenvalues", &self.eigenvalues)] {
            if let Some(tensor) = value {
                let values = tensor.to_data().convert::<f32>().to_vec().expect("converted to f32");
                state.insert(name.into(), values);
            }
        }
        state
    }

    fn restore(&mut self, mut state: State, device: &B::Device) {
        let mut take = |name: &str| {
            let values = state.remove(name)?;
            let length = values.len();
            Some(Tensor::from_data(TensorData::new(values, [length]), device))
        };
        self.mean_square = take("mean_square");
        self.eigenvalues = take("eigenvalues");
    }
}
