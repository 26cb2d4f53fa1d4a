//! The encoder: a plan's steps with their parameters, generic over burn's backends.

use burn::module::{AutodiffModule, Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::batch_norm::BatchNorm;
use super::kernels::{Kernels, Trainable};
use super::spec::{Operation, Plan, Step, Window};

/// How batch norm runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On the batch's own moments; running moments are updated.
    Train,
    /// On the running moments.
    Evaluate,
}

/// The parameters of one step.
#[derive(Module, Debug)]
pub struct Affine<B: Backend> {
    /// `[inputs, outputs]`; for a depthwise convolution `[taps, channels]`.
    pub weight: Param<Tensor<B, 2>>,
    /// `[outputs]`, only where no batch norm follows.
    pub bias: Option<Param<Tensor<B, 1>>>,
    /// Batch norm, then ReLU.
    pub norm: Option<BatchNorm<B>>,
}

/// All that is learned, step by step (steps without weights have no entry).
#[derive(Module, Debug)]
pub struct Parameters<B: Backend> {
    /// In the plan's order.
    pub affines: Vec<Affine<B>>,
}

/// A network: `[n, height, width, channels]` in, `[n, outputs]` out.
#[derive(Clone, Debug)]
pub struct Encoder<B: Backend> {
    /// Its steps and shapes.
    pub plan: Plan,
    /// What it has learned.
    pub parameters: Parameters<B>,
}

impl<B: Kernels> Encoder<B> {
    /// A fresh network. Weights are normal with variance `2 / fan in` before a ReLU (He et al. 2015) and `1 / fan in`
    /// at the output, drawn on the host from `seed`: the same on every backend.
    pub fn new(plan: Plan, seed: u64, device: &B::Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let affine = |step: &Step| {
            let [inputs, outputs] = step.weight_shape()?;
            let linear = step.operation == Operation::Linear;
            let gain: f32 = if linear { 1.0 } else { 2.0 };
            let deviation = (gain / step.fan_in() as f32).sqrt();
            let values: Vec<f32> = (0..inputs * outputs)
                .map(|_| {
                    let draw: f32 = StandardNormal.sample(&mut rng);
                    draw * deviation
                })
                .collect();
            let weight = Tensor::from_data(TensorData::new(values, [inputs, outputs]), device);
            Some(Affine {
                weight: Param::from_tensor(weight),
                bias: linear.then(|| Param::from_tensor(Tensor::zeros([outputs], device))),
                norm: (!linear).then(|| BatchNorm::new(outputs, device)),
            })
        };
        let affines = plan.steps.iter().filter_map(affine).collect();
        Self { plan, parameters: Parameters { affines } }
    }

    /// The outputs `[n, outputs]` for images `[n, height, width, channels]`.
    pub fn forward(&self, images: Tensor<B, 4>, mode: Mode) -> Tensor<B, 2> {
        let n = images.dims()[0];
        let last = self.run(images, mode, |_| ());
        let outputs = self.plan.outputs();
        last.reshape([n, outputs])
    }

    /// Runs every step and shows each one's output `[n, height, width, channels]` to `see`.
    pub fn run(&self, images: Tensor<B, 4>, mode: Mode, mut see: impl FnMut(&Tensor<B, 4>)) -> Tensor<B, 4> {
        let mut affines = self.parameters.affines.iter();
        let mut next = || affines.next().expect("one affine for each step with weights");
        let mut x = images;
        for step in &self.plan.steps {
            let n = x.dims()[0];
            let [height, width, channels] = step.output;
            // A window's patches as `[pixels, taps, channels]`, for what treats every channel alone.
            let by_channel = |x, window: &Window| {
                let patches = B::gather(x, window);
                let pixels = patches.dims()[0];
                patches.reshape([pixels, window.kernel[0] * window.kernel[1], channels])
            };
            let pixels = n * height * width;
            x = match step.operation {
                Operation::MaxPool(window) => by_channel(x, &window).max_dim(1).reshape([pixels, channels]),
                Operation::AveragePool(window) => by_channel(x, &window).mean_dim(1).reshape([pixels, channels]),
                Operation::Conv2d(window) => next().apply(B::gather(x, &window), mode),
                Operation::DepthwiseConv2d(window) => {
                    let affine = next();
                    let products = by_channel(x, &window) * affine.weight.val().unsqueeze();
                    affine.finish(products.sum_dim(1).reshape([pixels, channels]), mode)
                }
                Operation::Dense | Operation::Linear => next().apply(x.reshape([n, step.input.iter().product()]), mode),
            }
            .reshape([n, height, width, channels]);
            see(&x);
        }
        x
    }
}

impl<B: Trainable> Encoder<B> {
    /// The same network without gradients.
    pub fn valid(&self) -> Encoder<B::InnerBackend> {
        Encoder { plan: self.plan.clone(), parameters: self.parameters.valid() }
    }
}

impl<B: Kernels> Affine<B> {
    fn apply(&self, rows: Tensor<B, 2>, mode: Mode) -> Tensor<B, 2> {
        self.finish(rows.matmul(self.weight.val()), mode)
    }

    /// Batch norm and ReLU, or the bias.
    fn finish(&self, rows: Tensor<B, 2>, mode: Mode) -> Tensor<B, 2> {
        match (&self.norm, &self.bias) {
            (Some(norm), _) => norm.forward(rows, mode),
            (None, Some(bias)) => rows + bias.val().unsqueeze(),
            (None, None) => rows,
        }
    }
}
