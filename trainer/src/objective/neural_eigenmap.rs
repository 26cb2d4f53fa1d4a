//! Neural Eigenmaps (Deng et al. 2022): output `j` becomes the `j`-th eigenfunction of a [kernel](crate::kernel).
//!
//! With outputs scaled to unit second moment over the batch, and `R = E[psi(x) psi(x+)^T]` over two views of a sample for the
//! augmentation kernel, `R = E[k(x, x') psi(x) psi(x')^T]` over pairs of samples for any other:
//!
//! ```text
//! L = - sum_j R_jj + alpha * sum_j sum_{i<j} w_i * E[sg(psi_i(x)) psi_j(x+)]^2
//! ```
//!
//! `w_i` is 1 (fixed penalty) or `1 / R_ii` (NeuralEF, Deng et al. 2022: the safe default, since it always exceeds the
//! bound below which an early output is repeated by a later one). `sg` stops the gradient, so a more important function
//! is not disturbed by a less important one; without it the outputs span the same space in no order.

use std::sync::Arc;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{Batch, Loss, Objective, Position, State, keep, take};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, KernelSpec, Pairs, Rows};
use crate::network::{Encoder, Mode, Trainable, floats};
use crate::train::source::Source;

/// Settings of the objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeuralEigenmapSpec {
    /// Whose eigenfunctions are learned.
    pub kernel: KernelSpec,
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
        Self {
            kernel: KernelSpec::Augmentation {},
            penalty: Penalty::Eigenvalue,
            alpha: 1.0,
            stop_gradient: true,
            momentum: 0.99,
        }
    }
}

impl NeuralEigenmapSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// An `alpha` that is not positive and finite, a `momentum` outside `[0, 1)`.
    pub fn check(&self) -> Result<()> {
        self.check_in("objective")
    }

    /// [`NeuralEigenmapSpec::check`] of settings in a recipe's table `place`.
    ///
    /// # Errors
    /// The same.
    pub fn check_in(&self, place: &str) -> Result<()> {
        let key = |name: &str| format!("{place}.{name}");
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return Err(Error::input(key("alpha"), "impossible value", "a positive number", self.alpha));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(Error::input(key("momentum"), "impossible value", "0 to below 1", self.momentum));
        }
        self.kernel.check(&key("kernel"))
    }

    /// Checks that a batch can tell the functions apart.
    ///
    /// # Errors
    /// Fewer samples in a batch than there are functions.
    pub fn fits(&self, samples: usize, batch: usize, dims: usize) -> Result<()> {
        let batch = batch.min(samples);
        if batch <= dims {
            let expected = format!("below {batch}, the samples in a batch");
            return Err(Error::input("network.dims", "more dimensions than samples in a batch", expected, dims));
        }
        Ok(())
    }
}

/// Lowest root mean square that an output is divided by: a dead output stays zero.
const LOWEST_RMS: f64 = 1e-6;
/// Lowest eigenvalue that a penalty of the augmentation kernel, whose largest is 1, is divided by. Estimates near zero are noise
/// of the batch.
const LOWEST_EIGENVALUE: f64 = 1e-2;
/// The same for other kernels, as a part of the batch's largest eigenvalue: theirs fall fast, and their estimates have less noise.
const LOWEST_SHARE: f64 = 1e-3;

/// The objective with its running moments.
pub struct NeuralEigenmap<B: Backend> {
    spec: NeuralEigenmapSpec,
    /// `None` for pairs of views, and before a kernel of the specification is loaded.
    kernel: Option<Arc<dyn Kernel>>,
    /// Training samples, known from the first batch on.
    samples: usize,
    /// Running mean square of each raw output, `[k]`.
    mean_square: Option<Tensor<B, 1>>,
    /// Running eigenvalue of each output, `[k]`.
    eigenvalues: Option<Tensor<B, 1>>,
}

impl<B: Backend> NeuralEigenmap<B> {
    /// At the start of training.
    pub fn new(spec: NeuralEigenmapSpec) -> Self {
        Self { spec, kernel: None, samples: 0, mean_square: None, eigenvalues: None }
    }

    /// At the start of training, for a kernel that is not among those of a specification.
    pub fn with_kernel(spec: NeuralEigenmapSpec, kernel: Arc<dyn Kernel>) -> Self {
        Self { kernel: Some(kernel), ..Self::new(spec) }
    }

    /// Whether pairs of views say what the kernel is.
    fn is_of_views(&self) -> bool {
        self.kernel.is_none() && self.spec.kernel.is_of_views()
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
    /// The outputs of unit second moment, `[2n, k]`.
    pub psi: Tensor<B, 2>,
}

/// The objective as a function of the raw outputs `[2n, k]`.
pub fn spectral_loss<B: Backend>(outputs: Tensor<B, 2>, spec: &NeuralEigenmapSpec) -> Spectral<B> {
    weighted_spectral_loss(outputs, None, spec)
}

/// The root mean square that an output with this mean square is divided by.
pub fn root_mean_square<B: Backend, const D: usize>(mean_square: Tensor<B, D>) -> Tensor<B, D> {
    // Clamped before the root, whose slope at 0 is infinite.
    mean_square.clamp_min(LOWEST_RMS * LOWEST_RMS).sqrt()
}

/// [`spectral_loss`] where samples count as `weights` `[n, 1]` of mean 1 say, or all alike.
pub fn weighted_spectral_loss<B: Backend>(
    outputs: Tensor<B, 2>,
    weights: Option<Tensor<B, 2>>,
    spec: &NeuralEigenmapSpec,
) -> Spectral<B> {
    let n = outputs.dims()[0] / 2;
    let weigh = |values: Tensor<B, 2>| match &weights {
        Some(weights) => {
            let views = values.dims()[0] / n;
            values * weights.clone().repeat_dim(0, views)
        }
        None => values,
    };
    let mean_square = weigh(outputs.clone().square()).mean_dim(0);
    let psi = outputs / root_mean_square(mean_square.clone());
    let (first, second) = (psi.clone().narrow(0, 0, n), psi.clone().narrow(0, n, n));
    let eigenvalues = weigh(first.clone() * second.clone()).mean_dim(0);

    let important = |view: &Tensor<B, 2>| match spec.stop_gradient {
        true => view.clone().detach(),
        false => view.clone(),
    };
    // Entry (i, j), i < j: the more important function i of one view against function j of the other.
    let cross =
        |a: &Tensor<B, 2>, b: &Tensor<B, 2>| (weigh(important(a)).transpose().matmul(b.clone()) / n as f64).triu(1);
    let squares = cross(&first, &second).square() + cross(&second, &first).square();
    let floored = eigenvalues.clone().detach().clamp_min(LOWEST_EIGENVALUE);
    spectral(psi, mean_square, eigenvalues, squares / 2.0, floored, spec)
}

/// The objective as a function of the raw outputs `[n, k]` and of the weighted Gram matrix `[n, n]` of their samples, over which
/// sums are means over pairs.
pub fn gram_spectral_loss<B: Backend>(
    outputs: Tensor<B, 2>,
    gram: Tensor<B, 2>,
    spec: &NeuralEigenmapSpec,
) -> Spectral<B> {
    let mean_square = outputs.clone().square().mean_dim(0);
    let psi = outputs / root_mean_square(mean_square.clone());
    let image = gram.matmul(psi.clone());
    let eigenvalues = (psi.clone() * image.clone()).sum_dim(0);
    let important = match spec.stop_gradient {
        true => psi.clone().detach(),
        false => psi.clone(),
    };
    let squares = important.transpose().matmul(image).triu(1).square();
    let known = eigenvalues.clone().detach();
    let lowest = (known.clone().max_dim(1) * LOWEST_SHARE).clamp_min(f64::from(f32::MIN_POSITIVE));
    let floored = known.max_pair(lowest.expand(eigenvalues.dims()));
    spectral(psi, mean_square, eigenvalues, squares, floored, spec)
}

/// The loss from its parts: `mean_square`, `eigenvalues` `R_jj` and what they are at least, `floored`, `[1, k]`; `R_ij^2` where
/// `i < j`, `[k, k]`.
fn spectral<B: Backend>(
    psi: Tensor<B, 2>,
    mean_square: Tensor<B, 2>,
    eigenvalues: Tensor<B, 2>,
    squares: Tensor<B, 2>,
    floored: Tensor<B, 2>,
    spec: &NeuralEigenmapSpec,
) -> Spectral<B> {
    let k = eigenvalues.dims()[1];
    let weighted = match spec.penalty {
        Penalty::Fixed => squares,
        Penalty::Eigenvalue => squares * floored.recip().reshape([k, 1]),
    };
    let penalty = weighted.sum() * spec.alpha;
    let reward = -eigenvalues.clone().sum();
    Spectral {
        total: reward.clone() + penalty.clone(),
        reward,
        penalty,
        eigenvalues: eigenvalues.reshape([k]),
        mean_square: mean_square.reshape([k]),
        psi,
    }
}

impl<B: Trainable> Objective<B> for NeuralEigenmap<B::InnerBackend> {
    fn views(&self) -> &'static [View] {
        match self.is_of_views() {
            true => &[View::First, View::Second],
            false => &[View::Plain],
        }
    }

    fn prepare(&mut self, _: &Encoder<B>, source: &dyn Source, _: Position, _: &B::Device) -> Result<()> {
        if self.kernel.is_none() {
            self.kernel = self.spec.kernel.load()?;
        }
        if let (Some(kernel), true) = (&self.kernel, self.samples != source.len()) {
            kernel.fits(source.len(), source.shape().iter().product())?;
            self.samples = source.len();
        }
        Ok(())
    }

    fn loss(&mut self, encoder: &Encoder<B>, batch: Batch<B>) -> Loss<B> {
        let Batch { images, samples, .. } = batch;
        let spectral = match &self.kernel {
            // One forward for both views, so that batch norm sees both.
            None => spectral_loss(encoder.forward(images, Mode::Train), &self.spec),
            Some(kernel) => {
                let device = images.device();
                let n = samples.len();
                let values = floats(images.clone().inner());
                let values = ArrayView2::from_shape((n, values.len() / n), &values).expect("one view of each sample");
                let rows = Rows { samples: &samples, values };
                let gram = Pairs::of(n, self.samples).weigh(kernel.gram(rows, rows));
                let gram: Vec<f32> = gram.into_iter().map(|value| value as f32).collect();
                let gram = Tensor::from_data(TensorData::new(gram, [n, n]), &device);
                gram_spectral_loss(encoder.forward(images, Mode::Train), gram, &self.spec)
            }
        };
        blend(&mut self.mean_square, spectral.mean_square.inner(), self.spec.momentum);
        blend(&mut self.eigenvalues, spectral.eigenvalues.inner(), self.spec.momentum);
        Loss {
            total: spectral.total,
            terms: vec![("reward", spectral.reward.inner()), ("penalty", spectral.penalty.inner())],
        }
    }

    fn state(&self) -> State {
        let mut state = State::new();
        keep(&mut state, "mean_square", &self.mean_square);
        keep(&mut state, "eigenvalues", &self.eigenvalues);
        state
    }

    fn restore(&mut self, mut state: State, device: &B::Device) {
        self.mean_square = take(&mut state, "mean_square", device);
        self.eigenvalues = take(&mut state, "eigenvalues", device);
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{ElementConversion, TensorData};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::Position;
    use super::*;
    use crate::network::NetworkSpec;

    type Plain = burn::backend::Flex;
    type Tracked = crate::backend::Flex;

    const ROWS: usize = 14;
    const K: usize = 4;

    /// Raw outputs whose two views are alike, of different sizes, `[ROWS * K]`.
    fn outputs() -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut values = vec![0.0; ROWS * K];
        for i in 0..ROWS / 2 * K {
            let (shared, size) = (rng.random_range(-1.0..1.0), 1.0 + (i % K) as f64);
            for view in [0, ROWS / 2 * K] {
                values[view + i] = size * (shared + 0.3 * rng.random_range(-1.0..1.0));
            }
        }
        values
    }

    fn tensor<B: Backend>(values: &[f64]) -> Tensor<B, 2> {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [ROWS, K]), &Default::default())
    }

    fn every_spec() -> Vec<NeuralEigenmapSpec> {
        [(Penalty::Eigenvalue, true), (Penalty::Eigenvalue, false), (Penalty::Fixed, true), (Penalty::Fixed, false)]
            .map(|(penalty, stop_gradient)| NeuralEigenmapSpec {
                penalty,
                stop_gradient,
                alpha: 0.7,
                momentum: 0.5,
                ..Default::default()
            })
            .into()
    }

    fn value<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
        tensor.into_scalar().elem()
    }

    /// `E[a_i(first view) b_j(second view)]`, or with the views exchanged.
    fn moment(a: &[f64], b: &[f64], i: usize, j: usize, exchanged: bool) -> f64 {
        let n = ROWS / 2;
        let (from, to) = if exchanged { (n, 0) } else { (0, n) };
        (0..n).map(|row| a[(from + row) * K + i] * b[(to + row) * K + j]).sum::<f64>() / n as f64
    }

    fn normalised(outputs: &[f64]) -> Vec<f64> {
        let rms = |j: usize| ((0..ROWS).map(|row| outputs[row * K + j].powi(2)).sum::<f64>() / ROWS as f64).sqrt();
        (0..ROWS * K).map(|i| outputs[i] / rms(i % K)).collect()
    }

    /// The loss as the module's text writes it, in plain loops. What a stop-gradient holds fast is read from `constant`,
    /// so that the slope over `outputs` is the one that training must follow.
    fn naive(constant: &[f64], outputs: &[f64], spec: &NeuralEigenmapSpec) -> f64 {
        let (constant, psi) = (normalised(constant), normalised(outputs));
        let important = if spec.stop_gradient { &constant } else { &psi };
        let mut loss = 0.0;
        for j in 0..K {
            loss -= moment(&psi, &psi, j, j, false);
            for i in 0..j {
                let weight = match spec.penalty {
                    Penalty::Fixed => 1.0,
                    Penalty::Eigenvalue => 1.0 / moment(&constant, &constant, i, i, false),
                };
                for exchanged in [false, true] {
                    loss += spec.alpha / 2.0 * weight * moment(important, &psi, i, j, exchanged).powi(2);
                }
            }
        }
        loss
    }

    #[test]
    fn the_loss_is_the_formula() {
        let outputs = outputs();
        for spec in every_spec() {
            let spectral = spectral_loss::<Plain>(tensor(&outputs), &spec);
            let (found, expected) = (value(spectral.total), naive(&outputs, &outputs, &spec));
            assert!((found - expected).abs() < 1e-5, "{spec:?}: {found}, naively {expected}");
            let parts = value(spectral.reward) + value(spectral.penalty);
            assert!((found - parts).abs() < 1e-5, "{spec:?}: {found} is not the sum of its parts, {parts}");
        }
    }

    /// Through the normalisation, for every variant: a stop-gradient is a constant of the differences.
    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let outputs = outputs();
        for spec in every_spec() {
            let tracked = tensor::<Tracked>(&outputs).require_grad();
            let gradients = spectral_loss(tracked.clone(), &spec).total.backward();
            let slopes: Vec<f32> = tracked.grad(&gradients).unwrap().into_data().to_vec().unwrap();
            for (i, slope) in slopes.into_iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = outputs.clone();
                    moved[i] += step;
                    naive(&outputs, &moved, &spec)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(slope) - difference).abs() < 1e-5, "{spec:?}, {i}: {slope} and {difference}");
            }
        }
    }

    /// A symmetric table with a heavy diagonal, so that its first eigenvalues are above 0.
    fn table() -> Vec<f64> {
        let at = |i: usize, j: usize| ((i * j + i + j) as f64).sin() / 9.0 + f64::from(u8::from(i == j));
        (0..ROWS * ROWS).map(|i| at(i / ROWS, i % ROWS) / ROWS as f64).collect()
    }

    fn gram<B: Backend>() -> Tensor<B, 2> {
        let values: Vec<f32> = table().into_iter().map(|value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [ROWS, ROWS]), &Default::default())
    }

    /// As [`naive`], with sums over all pairs of rows.
    fn naive_gram(constant: &[f64], outputs: &[f64], spec: &NeuralEigenmapSpec) -> f64 {
        let table = table();
        let (constant, psi) = (normalised(constant), normalised(outputs));
        let important = if spec.stop_gradient { &constant } else { &psi };
        let moment = |a: &[f64], b: &[f64], i: usize, j: usize| -> f64 {
            (0..ROWS * ROWS).map(|at| a[at / ROWS * K + i] * table[at] * b[at % ROWS * K + j]).sum()
        };
        let mut loss = 0.0;
        for j in 0..K {
            loss -= moment(&psi, &psi, j, j);
            for i in 0..j {
                let weight = match spec.penalty {
                    Penalty::Fixed => 1.0,
                    Penalty::Eigenvalue => 1.0 / moment(&constant, &constant, i, i),
                };
                loss += spec.alpha * weight * moment(important, &psi, i, j).powi(2);
            }
        }
        loss
    }

    #[test]
    fn with_a_gram_matrix_loss_and_gradient_are_the_formulas() {
        let outputs = outputs();
        for spec in every_spec() {
            let found = value(gram_spectral_loss::<Plain>(tensor(&outputs), gram(), &spec).total);
            let expected = naive_gram(&outputs, &outputs, &spec);
            assert!((found - expected).abs() < 1e-5, "{spec:?}: {found}, naively {expected}");

            let tracked = tensor::<Tracked>(&outputs).require_grad();
            let gradients = gram_spectral_loss(tracked.clone(), gram(), &spec).total.backward();
            let slopes: Vec<f32> = tracked.grad(&gradients).unwrap().into_data().to_vec().unwrap();
            for (i, slope) in slopes.into_iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = outputs.clone();
                    moved[i] += step;
                    naive_gram(&outputs, &moved, &spec)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(slope) - difference).abs() < 1e-5, "{spec:?}, {i}: {slope} and {difference}");
            }
        }
    }

    #[test]
    fn a_penalty_moves_only_the_less_important_function() {
        for spec in every_spec() {
            let tracked = tensor::<Tracked>(&outputs()).require_grad();
            let gradients = spectral_loss(tracked.clone(), &spec).penalty.backward();
            let slopes: Vec<f32> = tracked.grad(&gradients).unwrap().into_data().to_vec().unwrap();
            let column = |j: usize| slopes.iter().skip(j).step_by(K);
            let still = column(0).all(|&slope| slope == 0.0);
            assert_eq!(still, spec.stop_gradient, "{spec:?}: the first function");
            assert!((1..K).all(|j| column(j).any(|&slope| slope != 0.0)), "{spec:?}: the others");
        }
    }

    #[test]
    fn less_important_functions_do_not_change_the_gradient_of_more_important_ones() {
        let slopes = |outputs: &[f64]| -> Vec<f32> {
            let tracked = tensor::<Tracked>(outputs).require_grad();
            let gradients = spectral_loss(tracked.clone(), &NeuralEigenmapSpec::default()).total.backward();
            tracked.grad(&gradients).unwrap().into_data().to_vec().unwrap()
        };
        let first = outputs();
        let mut other = first.clone();
        other.iter_mut().skip(K - 1).step_by(K).for_each(|value| *value = (*value * 7.0).sin());
        let (first, other) = (slopes(&first), slopes(&other));
        for (i, (a, b)) in first.iter().zip(&other).enumerate() {
            assert!(i % K == K - 1 || (a - b).abs() < 1e-6, "value {i}: {a} and {b}");
        }
        assert!((0..ROWS).any(|row| (first[row * K + K - 1] - other[row * K + K - 1]).abs() > 1e-3));
    }

    #[test]
    fn without_stop_gradient_the_loss_knows_no_order() {
        let outputs = outputs();
        let mut permuted = outputs.clone();
        permuted.chunks_exact_mut(K).for_each(|row| row.rotate_left(1));
        for spec in every_spec().into_iter().filter(|spec| spec.penalty == Penalty::Fixed && !spec.stop_gradient) {
            let loss = |outputs: &[f64]| value(spectral_loss::<Plain>(tensor(outputs), &spec).total);
            assert!((loss(&outputs) - loss(&permuted)).abs() < 1e-5);
        }
    }

    #[test]
    fn the_scale_and_sign_of_an_output_do_not_matter() {
        let outputs = outputs();
        let mut scaled = outputs.clone();
        scaled.chunks_exact_mut(K).for_each(|row| {
            row[1] *= -300.0;
            row[2] *= 1e-3;
        });
        for spec in every_spec() {
            let loss = |outputs: &[f64]| value(spectral_loss::<Plain>(tensor(outputs), &spec).total);
            assert!((loss(&outputs) - loss(&scaled)).abs() < 1e-4, "{spec:?}");
        }
    }

    #[test]
    fn a_dead_output_earns_nothing_and_leaves_every_gradient_finite() {
        let mut outputs = outputs();
        outputs.iter_mut().skip(1).step_by(K).for_each(|value| *value = 0.0);
        for spec in every_spec() {
            let tracked = tensor::<Tracked>(&outputs).require_grad();
            let spectral = spectral_loss(tracked.clone(), &spec);
            let eigenvalues: Vec<f32> = spectral.eigenvalues.into_data().to_vec().unwrap();
            assert_eq!(eigenvalues[1], 0.0, "{spec:?}");
            let gradients = spectral.total.backward();
            let slopes: Vec<f32> = tracked.grad(&gradients).unwrap().into_data().to_vec().unwrap();
            assert!(slopes.iter().all(|slope| slope.is_finite()), "{spec:?}: {slopes:?}");
        }
    }

    #[test]
    fn the_state_is_a_running_average_that_can_be_taken_up_again() {
        let spec = NeuralEigenmapSpec { momentum: 0.75, ..Default::default() };
        let network = NetworkSpec { layers: Vec::new(), projector: 0, dims: 2 };
        let encoder = Encoder::<Tracked>::new(network.plan([1, 1, 3], 2).unwrap(), 1, &Default::default());
        let batch = |seed: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let values: Vec<f32> = (0..24).map(|_| rng.random_range(-1.0..1.0)).collect();
            let images = Tensor::from_data(TensorData::new(values, [8, 1, 1, 3]), &Default::default());
            let position = Position { seed: 1, seen: 0, total: 4, epoch: 0 };
            Batch { images, samples: vec![0, 1, 2, 3], position }
        };
        let alone = |seed: u64| {
            let mut objective = NeuralEigenmap::<Plain>::new(spec.clone());
            let _ = Objective::<Tracked>::loss(&mut objective, &encoder, batch(seed));
            Objective::<Tracked>::state(&objective)
        };
        let mut objective = NeuralEigenmap::<Plain>::new(spec.clone());
        assert!(Objective::<Tracked>::state(&objective).is_empty());
        let _ = Objective::<Tracked>::loss(&mut objective, &encoder, batch(1));
        let _ = Objective::<Tracked>::loss(&mut objective, &encoder, batch(2));
        let state = Objective::<Tracked>::state(&objective);
        assert_eq!(state.keys().collect::<Vec<_>>(), ["eigenvalues", "mean_square"]);
        for (name, values) in &state {
            for (j, value) in values.iter().enumerate() {
                let expected = 0.75 * alone(1)[name][j] + 0.25 * alone(2)[name][j];
                assert!((value - expected).abs() < 1e-6, "{name}[{j}]: {value}, expected {expected}");
            }
        }

        let mut taken_up = NeuralEigenmap::<Plain>::new(spec);
        Objective::<Tracked>::restore(&mut taken_up, state, &Default::default());
        let _ = Objective::<Tracked>::loss(&mut objective, &encoder, batch(3));
        let _ = Objective::<Tracked>::loss(&mut taken_up, &encoder, batch(3));
        assert_eq!(Objective::<Tracked>::state(&objective), Objective::<Tracked>::state(&taken_up));
    }

    #[test]
    fn impossible_settings_name_their_key() {
        let alpha = NeuralEigenmapSpec { alpha: 0.0, ..Default::default() }.check().unwrap_err();
        assert!(alpha.to_string().starts_with("objective.alpha: impossible value"), "{alpha}");
        let momentum = NeuralEigenmapSpec { momentum: 1.0, ..Default::default() }.check().unwrap_err();
        assert!(momentum.to_string().starts_with("objective.momentum: impossible value"), "{momentum}");
        assert!(NeuralEigenmapSpec::default().check().is_ok());
    }
}
