//! The encoder: a plan's steps with their parameters, generic over burn's backends.

use burn::module::{AutodiffModule, Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::batch_norm::BatchNorm;
use super::kernels::{Kernels, Trainable};
use super::spec::{Body, Operation, Plan, Step, Window};

/// How batch norm runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On the batch's own moments; running moments are updated.
    Train,
    /// On the batch's own moments; running moments are left alone.
    Probe,
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
    /// What an objective learns beside the encoder, a decoder for instance; no encoder's output depends on it.
    pub beside: Vec<Param<Tensor<B, 2>>>,
}

/// A matrix that an objective learns beside the encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extra {
    /// Rows, columns.
    pub shape: [usize; 2],
    /// Standard deviation of its first, normal values.
    pub deviation: f64,
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
            let shape = step.weight_shape()?;
            Some(match step.operation {
                Operation::Linear => Affine::linear(shape, 1.0, &mut rng, device),
                _ => Affine::normalised(shape, step.fan_in(), &mut rng, device),
            })
        };
        let affines = plan.steps.iter().filter_map(affine).collect();
        Self { plan, parameters: Parameters { affines, beside: Vec::new() } }
    }

    /// The same network with fresh matrices beside it, drawn on the host from `seed`.
    pub fn with_beside(mut self, extras: &[Extra], seed: u64, device: &B::Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // The encoder's own draws are stream 0.
        rng.set_stream(1);
        let fresh = |extra: &Extra| {
            let draws = (0..extra.shape.iter().product()).map(|_| {
                let draw: f64 = StandardNormal.sample(&mut rng);
                (draw * extra.deviation) as f32
            });
            let values = TensorData::new(draws.collect::<Vec<f32>>(), extra.shape);
            Param::from_tensor(Tensor::from_data(values, device))
        };
        self.parameters.beside = extras.iter().map(fresh).collect();
        self
    }

    /// The same network whose outputs, in `groups` of equal size, read equal shares of the last hidden layer, each its own:
    /// all other weights of the last, linear step are zero.
    pub fn with_separate_outputs(mut self, groups: usize) -> Self {
        if let (Some(last), 2..) = (self.parameters.affines.last_mut(), groups) {
            let weight = last.weight.val().detach();
            let [features, outputs] = weight.dims();
            let own = |i: usize| f32::from(i / outputs / (features / groups) == i % outputs / (outputs / groups));
            let mask: Vec<f32> = (0..features * outputs).map(own).collect();
            let mask = Tensor::from_data(TensorData::new(mask, [features, outputs]), &weight.device());
            last.weight = Param::from_tensor(weight * mask);
        }
        self
    }

    /// The same network with the weights of its last, linear step times `gain`.
    pub fn with_output_gain(mut self, gain: f64) -> Self {
        if let Some(last) = self.parameters.affines.last_mut() {
            last.weight = Param::from_tensor((last.weight.val() * gain).detach());
        }
        self
    }

    /// The network up to where an embedding is read.
    pub fn body(&self, body: Body) -> Self {
        let plan = self.plan.body(body);
        let with_weights = plan.steps.iter().filter(|step| step.weight_shape().is_some()).count();
        let affines = self.parameters.affines[..with_weights].to_vec();
        Self { plan, parameters: Parameters { affines, beside: Vec::new() } }
    }

    /// What the last, linear step reads, `[n, features]`.
    pub fn features(&self, images: Tensor<B, 4>, mode: Mode) -> Tensor<B, 2> {
        self.body(Body::Hidden).forward(images, mode)
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
    /// The same network whose parameters are constants: gradients pass through it, and none is spent on it.
    pub fn frozen(&self) -> Self {
        Self { plan: self.plan.clone(), parameters: self.parameters.clone().no_grad() }
    }

    /// The same network without gradients.
    pub fn valid(&self) -> Encoder<B::InnerBackend> {
        Encoder { plan: self.plan.clone(), parameters: self.parameters.valid() }
    }
}

/// Normal weights of a variance.
fn normal<B: Backend>(
    shape: [usize; 2],
    variance: f32,
    rng: &mut ChaCha8Rng,
    device: &B::Device,
) -> Param<Tensor<B, 2>> {
    let deviation = variance.sqrt();
    let draws = (0..shape.iter().product()).map(|_| {
        let draw: f32 = StandardNormal.sample(rng);
        draw * deviation
    });
    Param::from_tensor(Tensor::from_data(TensorData::new(draws.collect::<Vec<f32>>(), shape), device))
}

impl<B: Kernels> Affine<B> {
    /// Fresh weights `[inputs, outputs]` of variance `gain / inputs`, and a bias of 0.
    pub(crate) fn linear(shape: [usize; 2], gain: f32, rng: &mut ChaCha8Rng, device: &B::Device) -> Self {
        let bias = Param::from_tensor(Tensor::zeros([shape[1]], device));
        Self { weight: normal(shape, gain / shape[0] as f32, rng, device), bias: Some(bias), norm: None }
    }

    /// Fresh weights `[inputs, outputs]` of variance `2 / fan_in`, `fan_in` being the inputs that one output reads, and batch
    /// norm with ReLU behind them.
    pub(crate) fn normalised(shape: [usize; 2], fan_in: usize, rng: &mut ChaCha8Rng, device: &B::Device) -> Self {
        let norm = Some(BatchNorm::new(shape[1], device));
        Self { weight: normal(shape, 2.0 / fan_in as f32, rng, device), bias: None, norm }
    }

    /// Of `[rows, inputs]`: `[rows, outputs]`.
    pub(crate) fn apply(&self, rows: Tensor<B, 2>, mode: Mode) -> Tensor<B, 2> {
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::PaddedConvOptions;

    use super::super::batch_norm::BatchNorm;
    use super::super::kernels::EPSILON;
    use super::super::kernels::tests::{Plain, assert_close, random, values};
    use super::super::spec::{LayerSpec, NetworkSpec};
    use super::*;

    /// The output `[n, height, width, channels]` of a network's first layer on its first step's input, fresh weights.
    fn first_layer(layer: LayerSpec, shape: [usize; 4]) -> (Encoder<Plain>, Tensor<Plain, 4>, Tensor<Plain, 4>) {
        let spec = NetworkSpec { layers: vec![layer], projector: 0, dims: 2 };
        let plan = spec.plan([shape[1], shape[2], shape[3]], 2).expect("the layer fits");
        let encoder = Encoder::<Plain>::new(plan, 1, &Default::default());
        let images = random(shape, 2);
        let mut seen = None;
        encoder.run(images.clone(), Mode::Evaluate, |output| {
            seen.get_or_insert_with(|| output.clone());
        });
        (encoder, images, seen.expect("a layer ran"))
    }

    /// What a fresh batch norm (mean 0, variance 1) and the ReLU make of a layer's sums.
    fn finish(sums: Vec<f32>) -> Vec<f32> {
        let scale = 1.0 / (1.0 + EPSILON as f32).sqrt();
        sums.into_iter().map(|sum| (sum * scale).max(0.0)).collect()
    }

    #[test]
    fn a_convolution_equals_burns() {
        for (kernel, stride, shape) in [
            (3, 1, [2, 6, 5, 3]),
            (3, 2, [2, 6, 5, 3]),
            (5, 3, [1, 8, 7, 2]),
            (2, 1, [2, 4, 4, 1]),
            (4, 2, [1, 5, 6, 2]),
            (1, 1, [2, 3, 3, 4]),
        ] {
            let (encoder, images, output) = first_layer(LayerSpec::Conv2d { channels: 4, kernel, stride }, shape);
            let weight = encoder.parameters.affines[0].weight.val();
            let weight = weight.reshape([kernel, kernel, shape[3], 4]).permute([3, 2, 0, 1]);
            let [before, after] = [(kernel - 1) / 2, kernel / 2];
            let options = PaddedConvOptions::asymmetric([stride; 2], [before; 2], [after; 2], [1; 2], 1);
            let expected = conv2d(images.permute([0, 3, 1, 2]), weight, None, options).permute([0, 2, 3, 1]);
            assert_eq!(output.dims(), expected.dims(), "kernel {kernel}, stride {stride}");
            assert_close(
                &finish(values(expected)),
                &values(output),
                1e-5,
                &format!("kernel {kernel}, stride {stride}"),
            );
        }
    }

    /// What `fold` makes of the pixels under each window, naively; `fold` sees `(tap, value)`, zeros beyond the edges
    /// included.
    fn naive(
        images: &Tensor<Plain, 4>,
        [kernel_height, kernel_width]: [usize; 2],
        stride: usize,
        before: usize,
        [rows, columns]: [usize; 2],
        fold: impl Fn(usize, &[f32]) -> f32,
    ) -> Vec<f32> {
        let [n, height, width, channels] = images.dims();
        let pixels = values(images.clone());
        let mut out = Vec::new();
        for i in 0..n * rows * columns * channels {
            let (channel, x, y, image) =
                (i % channels, i / channels % columns, i / channels / columns % rows, i / channels / columns / rows);
            let under: Vec<f32> = (0..kernel_height * kernel_width)
                .map(|tap| {
                    let row = (y * stride + tap / kernel_width).wrapping_sub(before);
                    let column = (x * stride + tap % kernel_width).wrapping_sub(before);
                    match row < height && column < width {
                        true => pixels[((image * height + row) * width + column) * channels + channel],
                        false => 0.0,
                    }
                })
                .collect();
            out.push(fold(channel, &under));
        }
        out
    }

    #[test]
    fn a_depthwise_convolution_equals_naive_sums() {
        for (kernel, stride, shape) in [(3, 1, [2, 5, 6, 3]), (3, 2, [1, 5, 6, 3]), (2, 1, [2, 3, 4, 1])] {
            let (encoder, images, output) = first_layer(LayerSpec::DepthwiseConv2d { kernel, stride }, shape);
            let weight = values(encoder.parameters.affines[0].weight.val());
            let [_, rows, columns, channels] = output.dims();
            let sums = naive(&images, [kernel; 2], stride, (kernel - 1) / 2, [rows, columns], |channel, under| {
                under.iter().enumerate().map(|(tap, value)| weight[tap * channels + channel] * value).sum()
            });
            assert_close(&finish(sums), &values(output), 1e-5, &format!("kernel {kernel}, stride {stride}"));
        }
    }

    #[test]
    fn pooling_takes_the_largest_value_or_the_mean_of_each_window() {
        for (kernel, shape) in [(2, [2, 4, 6, 3]), (2, [1, 5, 7, 2]), (3, [1, 7, 3, 1])] {
            let size = [shape[1] / kernel, shape[2] / kernel];
            let (_, images, output) = first_layer(LayerSpec::MaxPool { kernel }, shape);
            let largest = |_: usize, under: &[f32]| under.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(naive(&images, [kernel; 2], kernel, 0, size, largest), values(output));

            let mean = |_: usize, under: &[f32]| under.iter().sum::<f32>() / under.len() as f32;
            let (_, images, output) = first_layer(LayerSpec::AveragePool { kernel }, shape);
            assert_close(&naive(&images, [kernel; 2], kernel, 0, size, mean), &values(output), 1e-6, "average");

            let (_, images, output) = first_layer(LayerSpec::GlobalAveragePool, shape);
            assert_eq!(output.dims(), [shape[0], 1, 1, shape[3]]);
            let whole = naive(&images, [shape[1], shape[2]], shape[1], 0, [1, 1], mean);
            assert_close(&whole, &values(output), 1e-6, "global average");
        }
    }

    #[test]
    fn a_dense_layer_and_the_output_are_matrix_products() {
        let spec = NetworkSpec { layers: vec![LayerSpec::Dense { units: 5 }], projector: 0, dims: 2 };
        let mut encoder = Encoder::<Plain>::new(spec.plan([2, 3, 1], 3).unwrap(), 1, &Default::default());
        encoder.parameters.affines[1].bias = Some(Param::from_data([0.5f32, -1.0, 2.0], &Default::default()));
        let images = random([4, 2, 3, 1], 2);
        let weights: Vec<_> = encoder.parameters.affines.iter().map(|affine| values(affine.weight.val())).collect();
        let mut expected = Vec::new();
        for image in values(images.clone()).chunks_exact(6) {
            let product = |inputs: &[f32], weight: &[f32], outputs: usize| -> Vec<f32> {
                let sum = |j| inputs.iter().enumerate().map(|(i, x)| x * weight[i * outputs + j]).sum();
                (0..outputs).map(sum).collect()
            };
            let hidden = finish(product(image, &weights[0], 5));
            let outputs = product(&hidden, &weights[1], 3);
            expected.extend(outputs.iter().zip([0.5, -1.0, 2.0]).map(|(output, bias)| output + bias));
        }
        let found = encoder.forward(images, Mode::Evaluate);
        assert_eq!(found.dims(), [4, 3]);
        assert_close(&expected, &values(found), 1e-5, "outputs");
    }

    #[test]
    fn fresh_weights_depend_on_the_seed_alone_and_have_the_variance_of_their_layer() {
        let spec = NetworkSpec { layers: vec![LayerSpec::Dense { units: 200 }], projector: 0, dims: 200 };
        let fresh = |seed| -> Vec<Vec<f32>> {
            let encoder = Encoder::<Plain>::new(spec.plan([1, 1, 100], 200).unwrap(), seed, &Default::default());
            encoder.parameters.affines.iter().map(|affine| values(affine.weight.val())).collect()
        };
        let weights = fresh(1);
        assert_eq!(weights, fresh(1));
        assert_ne!(weights, fresh(2));
        for (weights, expected) in weights.iter().zip([2.0 / 100.0, 1.0 / 200.0]) {
            let variance = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
            assert!((variance / expected - 1.0).abs() < 0.05, "variance {variance}, expected {expected}");
        }
    }

    #[test]
    fn a_hidden_layer_has_batch_norm_and_the_output_a_bias() {
        let spec = NetworkSpec { layers: vec![LayerSpec::MaxPool { kernel: 2 }], projector: 4, dims: 2 };
        let encoder = Encoder::<Plain>::new(spec.plan([4, 4, 1], 2).unwrap(), 1, &Default::default());
        let [hidden, output] = &encoder.parameters.affines[..] else { panic!("two steps have weights") };
        assert!(hidden.bias.is_none() && output.norm.is_none());
        let norm: &BatchNorm<Plain> = hidden.norm.as_ref().expect("batch norm");
        assert_eq!(norm.gamma.val().dims(), [4]);
        assert_eq!(output.bias.as_ref().expect("a bias").val().dims(), [2]);
    }
}
