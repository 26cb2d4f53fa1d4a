//! The two places where a convnet spends its time beside the matrix product, each with its own backward pass:
//! gathering the patches of a convolution, and batch norm with ReLU.
//!
//! Every backend can do both with tensor operations (the default methods, which are also the oracle of the tests). On a
//! CPU that moves each value through memory some twenty times, so the CPU backends use plain loops instead
//! ([`host`](super::host)).

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Slice, Tensor, TensorPrimitive};

use super::spec::Window;

/// A backend that networks run on.
pub trait Kernels: Backend {
    /// The patches of a window over images `[n, height, width, channels]`:
    /// `[n * out height * out width, kernel height * kernel width * channels]`, zeros beyond the edges.
    fn gather(images: Tensor<Self, 4>, window: &Window) -> Tensor<Self, 2> {
        tensor::gather(images, window)
    }

    /// The adjoint of [`Kernels::gather`]: adds patches up to images of `shape`.
    fn scatter(patches: Tensor<Self, 2>, shape: [usize; 4], window: &Window) -> Tensor<Self, 4> {
        tensor::scatter(patches, shape, window)
    }

    /// Batch norm on the batch's own moments, then ReLU, of `[rows, channels]`.
    fn norm_relu(x: Tensor<Self, 2>, gamma: Tensor<Self, 1>, beta: Tensor<Self, 1>) -> NormRelu<Self> {
        tensor::norm_relu(x, gamma, beta)
    }

    /// Gradients of [`Kernels::norm_relu`] for its three inputs, given the gradient of `y`.
    fn norm_relu_backward(saved: NormReluInputs<Self>, gradient: Tensor<Self, 2>) -> NormReluInputs<Self> {
        tensor::norm_relu_backward(saved, gradient)
    }
}

/// A backend that networks are trained on.
pub trait Trainable: AutodiffBackend<InnerBackend: Kernels> + Kernels {}
impl<B: AutodiffBackend<InnerBackend: Kernels> + Kernels> Trainable for B {}

/// Batch norm and ReLU, done.
pub struct NormRelu<B: Backend> {
    /// The result, `[rows, channels]`.
    pub y: Tensor<B, 2>,
    /// The batch's mean, `[channels]`, without gradient.
    pub mean: Tensor<B, 1>,
    /// The batch's biased variance, `[channels]`, without gradient.
    pub variance: Tensor<B, 1>,
}

/// The inputs of [`Kernels::norm_relu`], or their gradients.
#[derive(Clone, Debug)]
pub struct NormReluInputs<B: Backend> {
    /// `[rows, channels]`.
    pub x: Tensor<B, 2>,
    /// Scale, `[channels]`.
    pub gamma: Tensor<B, 1>,
    /// Shift, `[channels]`.
    pub beta: Tensor<B, 1>,
}

/// Added to the variance.
pub const EPSILON: f64 = 1e-5;

/// With tensor operations, on any backend.
pub mod tensor {
    use super::*;

    /// Which rows or columns of a padded image one tap of the window reads.
    fn strided(start: usize, count: usize, stride: usize) -> Slice {
        let end = start + stride * (count - 1) + 1;
        Slice::new(start as isize, Some(end as isize), stride as isize)
    }

    /// The slice of each tap in a padded image.
    fn taps(shape: [usize; 4], window: &Window) -> Vec<[Slice; 4]> {
        let [rows, columns] = window.outputs([shape[1], shape[2]]);
        let [height, width] = window.kernel;
        (0..height * width)
            .map(|tap| {
                [
                    Slice::full(),
                    strided(tap / width, rows, window.stride[0]),
                    strided(tap % width, columns, window.stride[1]),
                    Slice::full(),
                ]
            })
            .collect()
    }

    /// The images of `shape` inside padded ones.
    fn inside(shape: [usize; 4], window: &Window) -> [std::ops::Range<usize>; 4] {
        let [n, height, width, channels] = shape;
        let [above, left] = window.before();
        [0..n, above..above + height, left..left + width, 0..channels]
    }

    fn padded<B: Backend>(shape: [usize; 4], window: &Window, device: &B::Device) -> Tensor<B, 4> {
        let [taller, wider] = window.padding.map(|[before, after]| before + after);
        Tensor::zeros([shape[0], shape[1] + taller, shape[2] + wider, shape[3]], device)
    }

    /// See [`Kernels::gather`].
    pub fn gather<B: Backend>(images: Tensor<B, 4>, window: &Window) -> Tensor<B, 2> {
        let shape = images.dims();
        let images = match window.padding {
            [[0, 0], [0, 0]] => images,
            _ => padded(shape, window, &images.device()).slice_assign(inside(shape, window), images),
        };
        let slices: Vec<_> = taps(shape, window).into_iter().map(|slice| images.clone().slice(slice)).collect();
        let stacked = Tensor::cat(slices, 3);
        let [n, rows, columns, values] = stacked.dims();
        stacked.reshape([n * rows * columns, values])
    }

    /// See [`Kernels::scatter`].
    pub fn scatter<B: Backend>(patches: Tensor<B, 2>, shape: [usize; 4], window: &Window) -> Tensor<B, 4> {
        let [n, _, _, channels] = shape;
        let [rows, columns] = window.outputs([shape[1], shape[2]]);
        let values = patches.dims()[1];
        let patches = patches.reshape([n, rows, columns, values]);
        let mut sum = padded(shape, window, &patches.device());
        for (tap, slice) in taps(shape, window).into_iter().enumerate() {
            let part = patches.clone().slice([0..n, 0..rows, 0..columns, tap * channels..(tap + 1) * channels]);
            let before = sum.clone().slice(slice);
            sum = sum.slice_assign(slice, before + part);
        }
        sum.slice(inside(shape, window))
    }

    fn moments<B: Backend>(x: &Tensor<B, 2>) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let mean = x.clone().mean_dim(0);
        let variance = (x.clone() - mean.clone()).square().mean_dim(0);
        (mean, variance)
    }

    /// See [`Kernels::norm_relu`].
    pub fn norm_relu<B: Backend>(x: Tensor<B, 2>, gamma: Tensor<B, 1>, beta: Tensor<B, 1>) -> NormRelu<B> {
        let channels = x.dims()[1];
        let (mean, variance) = moments(&x);
        let scale = gamma.unsqueeze() / (variance.clone() + EPSILON).sqrt();
        let y = burn::tensor::activation::relu((x - mean.clone()) * scale + beta.unsqueeze());
        NormRelu { y, mean: mean.detach().reshape([channels]), variance: variance.detach().reshape([channels]) }
    }

    /// See [`Kernels::norm_relu_backward`] (Ioffe and Szegedy 2015, section 3).
    pub fn norm_relu_backward<B: Backend>(saved: NormReluInputs<B>, gradient: Tensor<B, 2>) -> NormReluInputs<B> {
        let [rows, channels] = saved.x.dims();
        let (mean, variance) = moments(&saved.x);
        let inverse = (variance + EPSILON).sqrt().recip();
        let unit = (saved.x - mean) * inverse.clone();
        let gamma = saved.gamma.unsqueeze::<2>();
        let active = (unit.clone() * gamma.clone() + saved.beta.unsqueeze()).greater_elem(0.0).float();
        let slope = gradient * active;
        let beta = slope.clone().sum_dim(0);
        let weight = (slope.clone() * unit.clone()).sum_dim(0);
        let n = rows as f64;
        let x = (slope - beta.clone() / n - unit * (weight.clone() / n)) * (gamma * inverse);
        NormReluInputs { x, gamma: weight.reshape([channels]), beta: beta.reshape([channels]) }
    }
}

fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> B::FloatTensorPrimitive {
    tensor.into_primitive().tensor()
}

fn wrap<B: Backend, const D: usize>(primitive: B::FloatTensorPrimitive) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The backward pass of a gather.
#[derive(Debug)]
struct Gather;

impl<B: Kernels> Backward<B, 1> for Gather {
    type State = ([usize; 4], Window);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (shape, window) = ops.state;
        let gradient = wrap::<B, 2>(gradients.consume::<B>(&ops.node));
        if let [Some(images)] = ops.parents {
            gradients.register::<B>(images.id, primitive(B::scatter(gradient, shape, &window)));
        }
    }
}

/// The backward pass of batch norm and ReLU.
#[derive(Debug)]
struct NormReluStep;

impl<B: Kernels> Backward<B, 3> for NormReluStep {
    type State = NormReluInputs<B>;

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = wrap::<B, 2>(gradients.consume::<B>(&ops.node));
        let slopes = B::norm_relu_backward(ops.state, gradient);
        let [x, gamma, beta] = ops.parents;
        if let Some(node) = x {
            gradients.register::<B>(node.id, primitive(slopes.x));
        }
        if let Some(node) = gamma {
            gradients.register::<B>(node.id, primitive(slopes.gamma));
        }
        if let Some(node) = beta {
            gradients.register::<B>(node.id, primitive(slopes.beta));
        }
    }
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn gather(images: Tensor<Self, 4>, window: &Window) -> Tensor<Self, 2> {
        let shape = images.dims();
        let images = primitive(images);
        let patches = primitive(B::gather(wrap(images.primitive.clone()), window));
        wrap(match Gather.prepare::<C>([images.node.clone()]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((shape, *window), patches),
            OpsKind::UnTracked(step) => step.finish(patches),
        })
    }

    fn norm_relu(x: Tensor<Self, 2>, gamma: Tensor<Self, 1>, beta: Tensor<Self, 1>) -> NormRelu<Self> {
        let (x, gamma, beta) = (primitive(x), primitive(gamma), primitive(beta));
        let inputs = NormReluInputs::<B> {
            x: wrap(x.primitive.clone()),
            gamma: wrap(gamma.primitive.clone()),
            beta: wrap(beta.primitive.clone()),
        };
        let saved = inputs.clone();
        let NormRelu { y, mean, variance } = B::norm_relu(inputs.x, inputs.gamma, inputs.beta);
        let nodes = [x.node.clone(), gamma.node.clone(), beta.node.clone()];
        let y = match NormReluStep.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(saved, primitive(y)),
            OpsKind::UnTracked(step) => step.finish(primitive(y)),
        };
        NormRelu { y: wrap(y), mean: Tensor::from_inner(mean), variance: Tensor::from_inner(variance) }
    }
}

#[cfg(all(test, feature = "flex"))]
pub(super) mod tests {
    use super::*;
    use burn::tensor::TensorData;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    pub type Plain = burn::backend::Flex;
    type Tracked = crate::backend::Flex;

    /// Uniform in [-1, 1).
    pub fn random<B: Backend, const D: usize>(shape: [usize; D], seed: u64) -> Tensor<B, D> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }

    pub fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
        tensor.into_data().to_vec().expect("f32")
    }

    /// Equal within `tolerance` of the largest value.
    pub fn assert_close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
        assert_eq!(a.len(), b.len(), "{what}");
        let largest = a.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() <= tolerance * largest, "{what}: value {i}: {a} and {b}");
        }
    }

    /// Image shapes with windows: every way of falling on and off the edges, then random ones.
    pub fn windows() -> Vec<([usize; 4], Window)> {
        let window = |kernel, stride: usize, padding| Window { kernel, stride: [stride; 2], padding: [padding; 2] };
        let mut cases = vec![
            ([2, 5, 7, 3], window([3, 3], 1, [1, 1])),
            ([2, 5, 7, 3], window([3, 3], 2, [1, 1])),
            ([1, 6, 4, 2], window([2, 2], 1, [0, 1])),
            ([1, 6, 4, 2], window([4, 4], 3, [1, 2])),
            ([3, 1, 1, 4], window([3, 3], 1, [1, 1])),
            ([1, 2, 3, 1], window([7, 7], 1, [3, 3])),
            ([2, 9, 8, 1], window([2, 2], 3, [0, 0])),
            ([2, 4, 6, 5], window([4, 6], 4, [0, 0])),
            ([2, 3, 3, 5], window([1, 1], 1, [0, 0])),
        ];
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        while cases.len() < 60 {
            let kernel = [rng.random_range(1..6), rng.random_range(1..6)];
            let padding = [rng.random_range(0..kernel[0].min(kernel[1])), rng.random_range(0..3)];
            let mut window = window(kernel, rng.random_range(1..5), padding);
            if rng.random_bool(0.5) {
                window.stride[1] = rng.random_range(1..5);
                window.padding[1] = [rng.random_range(0..kernel[1]), rng.random_range(0..3)];
            }
            let shape = [1, 10, 10, 4].map(|largest| rng.random_range(1..=largest));
            if (0..2).all(|axis| window.output(axis, shape[1 + axis]).is_some()) {
                cases.push((shape, window));
            }
        }
        cases
    }

    #[test]
    fn a_patch_holds_the_pixels_under_the_window_and_zeros_beyond_the_edges() {
        for (shape, window) in windows() {
            let [n, height, width, channels] = shape;
            let images = random::<Plain, 4>(shape, 1);
            let pixels = values(images.clone());
            let [rows, columns] = window.outputs([height, width]);
            let mut naive = Vec::new();
            for (image, y, x) in
                (0..n * rows * columns).map(|i| (i / (rows * columns), i / columns % rows, i % columns))
            {
                for tap in 0..window.kernel[0] * window.kernel[1] {
                    let row = (y * window.stride[0] + tap / window.kernel[1]).checked_sub(window.before()[0]);
                    let column = (x * window.stride[1] + tap % window.kernel[1]).checked_sub(window.before()[1]);
                    for channel in 0..channels {
                        naive.push(match (row, column) {
                            (Some(row), Some(column)) if row < height && column < width => {
                                pixels[((image * height + row) * width + column) * channels + channel]
                            }
                            _ => 0.0,
                        });
                    }
                }
            }
            let patches = tensor::gather(images, &window);
            assert_eq!(patches.dims()[0], n * rows * columns);
            assert_eq!(values(patches), naive, "{shape:?} {window:?}");
        }
    }

    #[test]
    fn scatter_is_the_adjoint_of_gather() {
        for (shape, window) in windows() {
            let images = random::<Plain, 4>(shape, 1);
            let patches = Plain::gather(images.clone(), &window);
            let other = random::<Plain, 2>(patches.dims(), 2);
            let inner =
                |a: Vec<f32>, b: Vec<f32>| -> f64 { a.iter().zip(b).map(|(&a, b)| f64::from(a) * f64::from(b)).sum() };
            let gathered = inner(values(patches), values(other.clone()));
            for scattered in [Plain::scatter(other.clone(), shape, &window), tensor::scatter(other, shape, &window)] {
                let scattered = inner(values(images.clone()), values(scattered));
                assert!((gathered - scattered).abs() < 1e-4, "{shape:?} {window:?}: {gathered} and {scattered}");
            }
        }
    }

    #[test]
    fn the_gradient_of_a_gather_is_that_of_the_tensor_operations() {
        for (shape, window) in windows() {
            let gradient = |gather: fn(Tensor<Tracked, 4>, &Window) -> Tensor<Tracked, 2>| {
                let images = random::<Tracked, 4>(shape, 1).require_grad();
                let patches = gather(images.clone(), &window);
                let weights = random::<Tracked, 2>(patches.dims(), 2);
                let gradients = (patches * weights).sum().backward();
                values(images.grad(&gradients).expect("the images are tracked"))
            };
            let (kernel, oracle) = (gradient(Tracked::gather), gradient(tensor::gather));
            assert_close(&oracle, &kernel, 1e-6, &format!("{shape:?} {window:?}"));
        }
    }

    #[test]
    fn the_gradients_of_norm_relu_are_those_of_the_tensor_operations() {
        type Norm<B> = fn(Tensor<B, 2>, Tensor<B, 1>, Tensor<B, 1>) -> NormRelu<B>;
        // Of two rows batch norm makes -1 and 1 whatever they are: their slope is nothing but rounding.
        for (rows, channels) in [(3, 1), (7, 3), (64, 16), (1500, 5)] {
            let run = |norm: Norm<Tracked>| {
                let x = (random::<Tracked, 2>([rows, channels], 1) * 2.0 + 0.5).detach().require_grad();
                let gamma = (random::<Tracked, 1>([channels], 2) + 1.5).detach().require_grad();
                let beta = random::<Tracked, 1>([channels], 3).require_grad();
                let out = norm(x.clone(), gamma.clone(), beta.clone());
                let weights = random::<Tracked, 2>([rows, channels], 4);
                let gradients = (out.y.clone() * weights).sum().backward();
                let slopes = NormReluInputs {
                    x: x.grad(&gradients).expect("x is tracked"),
                    gamma: gamma.grad(&gradients).expect("gamma is tracked"),
                    beta: beta.grad(&gradients).expect("beta is tracked"),
                };
                (out, slopes)
            };
            let (oracle, oracle_slopes) = run(tensor::norm_relu);
            let (kernel, kernel_slopes) = run(Tracked::norm_relu);
            let what = |part| format!("{rows} rows, {channels} channels: {part}");
            assert_close(&values(oracle.y), &values(kernel.y), 1e-5, &what("y"));
            assert_close(&values(oracle.mean), &values(kernel.mean), 1e-5, &what("mean"));
            assert_close(&values(oracle.variance), &values(kernel.variance), 1e-5, &what("variance"));
            assert_close(&values(oracle_slopes.x), &values(kernel_slopes.x), 1e-4, &what("slope of x"));
            assert_close(&values(oracle_slopes.gamma), &values(kernel_slopes.gamma), 1e-4, &what("slope of gamma"));
            assert_close(&values(oracle_slopes.beta), &values(kernel_slopes.beta), 1e-4, &what("slope of beta"));
        }
    }
}
