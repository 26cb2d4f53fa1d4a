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

    /// Normalises `[rows, channels]`, then ReLU. [`Mode::Train`] and [`Mode::Probe`] use the batch's moments, the former updates the
    /// running ones; [`Mode::Evaluate`] uses the running ones.
    pub fn forward(&self, x: Tensor<B, 2>, mode: Mode) -> Tensor<B, 2> {
        let channels = x.dims()[1];
        match mode {
            Mode::Probe => B::norm_relu(x, self.gamma.val(), self.beta.val()).y,
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::super::kernels::tests::{Plain, assert_close, random, values};
    use super::*;

    #[test]
    fn training_gives_each_channel_mean_beta_and_deviation_gamma() {
        let mut norm = BatchNorm::<Plain>::new(3, &Default::default());
        // So far up that the ReLU cuts nothing.
        norm.beta = Param::from_data([20.0f32, 20.0, 20.0], &Default::default());
        norm.gamma = Param::from_data([1.0f32, 2.0, 0.5], &Default::default());
        let y = norm.forward(random::<Plain, 2>([500, 3], 1) * 3.0 - 1.0, Mode::Train);
        let mean = y.clone().mean_dim(0);
        assert_close(&[20.0; 3], &values(mean.clone()), 1e-5, "mean");
        let deviation = (y - mean).square().mean_dim(0).sqrt();
        assert_close(&[1.0, 2.0, 0.5], &values(deviation), 1e-3, "deviation");
    }

    #[test]
    fn nothing_below_zero_comes_out() {
        let norm = BatchNorm::<Plain>::new(2, &Default::default());
        for mode in [Mode::Train, Mode::Evaluate] {
            let y = values(norm.forward(random::<Plain, 2>([50, 2], 1), mode));
            assert!(y.iter().all(|&y| y >= 0.0) && y.contains(&0.0) && y.iter().any(|&y| y > 0.0));
        }
    }

    #[test]
    fn running_moments_take_a_tenth_of_each_batch_in_training_only() {
        let norm = BatchNorm::<Plain>::new(1, &Default::default());
        let batch = || Tensor::<Plain, 2>::from_data([[1.0f32], [3.0]], &Default::default());
        norm.forward(batch(), Mode::Train);
        // The batch has mean 2 and biased variance 1.
        assert_close(&[0.2], &values(norm.running_mean.value_sync()), 1e-6, "mean");
        assert_close(&[1.0], &values(norm.running_var.value_sync()), 1e-6, "variance");
        norm.forward(batch() * 2.0, Mode::Train);
        assert_close(&[0.9 * 0.2 + 0.1 * 4.0], &values(norm.running_mean.value_sync()), 1e-6, "mean");
        assert_close(&[0.9 + 0.1 * 4.0], &values(norm.running_var.value_sync()), 1e-6, "variance");

        let y = norm.forward(batch(), Mode::Evaluate);
        let expected = [1.0f32, 3.0].map(|x| (x - 0.58) / (1.3f32 + 1e-5).sqrt());
        assert_close(&expected, &values(y), 1e-6, "evaluated");
        assert_close(&[0.58], &values(norm.running_mean.value_sync()), 1e-6, "mean after evaluation");
    }
}
