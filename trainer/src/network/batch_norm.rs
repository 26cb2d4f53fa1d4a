//! Batch norm over the rows of a matrix, with the ReLU that always follows it.

use burn::module::{Module, Param, RunningState};
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use super::Mode;
use super::kernels::{EPSILON, Kernels};

/// Weight of a batch in the running moments.
const MOMENTUM: f64 = 0.1;

/// Batch norm over `[rows, channels]` (Ioffe and Szegedy 2015): biased variance, affine.
#[derive(Module, Debug)]
pub struct BatchNorm<B: Backend> {
    /// Scale, `[channels]`.
    pub gamma: Param<Tensor<B, 1>>,
    /// Shift, `[channels]`.
    pub beta: Param<Tensor<B, 1>>,
    /// Running mean, `[channels]`.
    pub running_mean: RunningState<Tensor<B, 1>>,
    /// Running variance, `[channels]`.
    pub running_var: RunningState<Tensor<B, 1>>,
}

impl<B: Kernels> BatchNorm<B> {
    /// Identity: scale 1, shift 0, mean 0, variance 1.
    pub fn new(channels: usize, device: &B::Device) -> Self {
        let filled = |value: f32| Tensor::from_data(TensorData::new(vec![value; channels], [channels]), device);
        Self {
            gamma: Param::from_tensor(filled(1.0)),
            beta: Param::from_tensor(filled(0.0)),
            running_mean: RunningState::new(filled(0.0)),
            running_var: RunningState::new(filled(1.0)),
        }
    }

    /// Normalises `[rows, channels]`, then ReLU. [`Mode::Train`] uses the batch's moments and updates the running ones;
    /// [`Mode::Evaluate`] uses the running ones.
    pub fn forward(&self, x: Tensor<B, 2>, mode: Mode) -> Tensor<B, 2> {
        let channels = x.dims()[1];
        match mode {
            Mode::Train => {
                let out = B::norm_relu(x, self.gamma.val(), self.beta.val());
                let blend = |state: &RunningState<Tensor<B, 1>>, batch: Tensor<B, 1>| {
                    state.update((state.value_sync() * (1.0 - MOMENTUM) + batch * MOMENTUM).detach());
                };
                blend(&self.running_mean, out.mean);
                blend(&self.running_var, out.variance);
                out.y
            }
            Mode::Evaluate => {
                let row = |state: &RunningState<Tensor<B, 1>>| state.value_sync().reshape([1, channels]);
                let scale = self.gamma.val().unsqueeze() / (row(&self.running_var) + EPSILON).sqrt();
                relu((x - row(&self.running_mean)) * scale + self.beta.val().unsqueeze())
            }
        }
    }
}
