//! The Neural Eigenmaps objective against kernels whose eigenfunctions are known, through the training loop that every
//! run uses.
//!
//! A positive pair is two views of one sample, so the kernel is `p(x, x+) / (p(x) p(x+))`; its eigenfunctions are
//! compared up to sign and, where an eigenvalue is repeated, up to rotation.

use std::f64::consts::{PI, SQRT_2};

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use eigenlet_trainer::augment::View;
use eigenlet_trainer::backend::Flex;
use eigenlet_trainer::error::Result;
use eigenlet_trainer::network::spec::LayerSpec;
use eigenlet_trainer::network::{Encoder, Mode, NetworkSpec};
use eigenlet_trainer::objective::ObjectiveSpec;
use eigenlet_trainer::objective::neural_eigenmap::{NeuralEigenmapSpec, Penalty};
use eigenlet_trainer::order::{Moments, Ordering, symmetric_eigen};
use eigenlet_trainer::train::optimizer::OptimizerSpec;
use eigenlet_trainer::train::source::{Source, views_of};
use eigenlet_trainer::train::{Epoch, TrainSpec, Trainee, Watch, fit};
use nalgebra::DMatrix;
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

// ---------------------------------------------------------------------------------------------------------------------
// Finite kernels: one batch holds every pair of states as often as the kernel has it, so there is no noise.

#[test]
fn a_table_learns_the_first_eigenfunctions_of_a_walk_in_order() {
    let walk = walk();
    let outputs = walk.train(5, &NeuralEigenmapSpec::default(), walk.random_table(5));
    for j in 0..5 {
        let cosine = walk.cosine(&outputs, j, &walk_function(j));
        assert!(cosine > 0.999, "output {j}: cosine {cosine} to eigenfunction {j}");
        let (found, exact) = (walk.eigenvalue(&outputs, j), walk_eigenvalue(j));
        assert!((found / exact - 1.0).abs() < 0.01, "output {j}: eigenvalue {found}, exactly {exact}");
    }
}

/// With the earlier outputs exact, output `j` scores `mu_i (1 - alpha n_i mu_i)` for eigenfunction `i`, which `n_i`
/// earlier outputs have taken: a small alpha makes it repeat one.
#[test]
fn an_alpha_below_the_threshold_repeats_the_predicted_eigenfunctions() {
    let walk = walk();
    for alpha in [0.12, 0.3] {
        let predicted = predicted_functions(5, alpha);
        assert!(predicted.iter().any(|i| predicted.iter().filter(|j| *j == i).count() > 1), "alpha {alpha}");
        let outputs = walk.train(5, &fixed(alpha, true), walk.random_table(5));
        for (j, &i) in predicted.iter().enumerate() {
            let cosine = walk.cosine(&outputs, j, &walk_function(i));
            assert!(cosine > 0.99, "alpha {alpha}, output {j}: cosine {cosine} to eigenfunction {i} of {predicted:?}");
        }
    }
}

#[test]
fn an_alpha_above_the_threshold_recovers_every_eigenfunction() {
    let walk = walk();
    let values: Vec<f64> = (0..5).map(walk_eigenvalue).collect();
    let threshold = (0..5)
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .map(|(i, j)| (values[i] - values[j]) / (values[i] * values[i]))
        .fold(0.0, f64::max);
    let outputs = walk.train(5, &fixed(1.2 * threshold, true), walk.random_table(5));
    for j in 0..5 {
        let cosine = walk.cosine(&outputs, j, &walk_function(j));
        assert!(cosine > 0.999, "output {j}: cosine {cosine} to eigenfunction {j}");
    }
}

#[test]
fn learned_functions_are_those_of_a_dense_eigendecomposition() {
    let kernel = scattered_points();
    let (values, functions) = kernel.eigenfunctions();
    let smallest_gap = (0..4).map(|j| values[j] - values[j + 1]).fold(1.0, f64::min);
    assert!(smallest_gap > 0.03, "the first eigenvalues must be apart to be told apart: {:?}", &values[..5]);

    let outputs = kernel.train(4, &NeuralEigenmapSpec::default(), kernel.random_table(4));
    for (j, exact) in values[..4].iter().enumerate() {
        let cosine = kernel.cosine(&outputs, j, functions.column(j).as_slice());
        assert!(cosine > 0.999, "output {j}: cosine {cosine}");
        let found = kernel.eigenvalue(&outputs, j);
        assert!((found / exact - 1.0).abs() < 0.01, "output {j}: eigenvalue {found}, exactly {exact}");
    }
    let ordering = kernel.ordering(&outputs);
    assert_eq!(ordering.constant, Some(0), "the first output is the constant");
    for (found, exact) in ordering.eigenvalues.iter().zip(&values[1..]) {
        assert!((found / exact - 1.0).abs() < 0.005, "ordered eigenvalue {found}, exactly {exact}");
    }
}

/// Without the stop-gradient the loss does not change when the outputs are permuted: they span the same space, and
/// Rayleigh-Ritz gives the order back.
#[test]
fn without_stop_gradient_the_span_is_the_same_and_rayleigh_ritz_orders_it() {
    let walk = walk();
    let exact = DMatrix::from_fn(walk.states(), 4, |a, j| walk_function(j)[a]);
    for table in [walk.random_table(4), reversed_table(&walk, 4)] {
        let outputs = walk.train(4, &fixed(1.0, false), table);
        let cosines = walk.principal_cosines(&outputs, &exact);
        assert!(cosines.iter().all(|&cosine| cosine > 0.999), "principal cosines {cosines:?}");

        let ordering = walk.ordering(&outputs);
        let ordered = ordering.apply(&outputs.mapv(|value| value as f32).view()).mapv(f64::from);
        for j in 0..3 {
            let cosine = walk.cosine(&ordered, j, &walk_function(j + 1));
            assert!(cosine > 0.999, "ordered function {j}: cosine {cosine}");
            let (found, exact) = (ordering.eigenvalues[j], walk_eigenvalue(j + 1));
            assert!((found / exact - 1.0).abs() < 0.01, "ordered eigenvalue {found}, exactly {exact}");
        }
    }
}

#[test]
fn only_the_stop_gradient_gives_the_raw_outputs_an_order() {
    let walk = walk();
    let ordered = walk.train(4, &fixed(1.0, true), reversed_table(&walk, 4));
    let unordered = walk.train(4, &fixed(1.0, false), reversed_table(&walk, 4));
    for j in 0..4 {
        let cosine = walk.cosine(&ordered, j, &walk_function(j));
        assert!(cosine > 0.999, "with stop-gradient, output {j}: cosine {cosine} to eigenfunction {j}");
        let cosine = walk.cosine(&unordered, j, &walk_function(3 - j));
        assert!(cosine > 0.99, "without, output {j} stays where it started: cosine {cosine}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Continuous kernels, learned by a network with batch norm from noisy batches.

/// Views are `theta + N(0, s^2)`: eigenvalues `exp(-m^2 s^2)`, twice for `m >= 1`; eigenfunctions `sqrt 2 cos m theta`
/// and `sqrt 2 sin m theta`. A repeated eigenvalue has no order of its own, so its plane is compared.
#[test]
fn a_network_learns_the_harmonics_of_the_circle() {
    let circle = Circle { samples: 1024, deviation: 0.4 };
    let eigenvalue = |m: f64| (-m * m * circle.deviation * circle.deviation).exp();
    let encoder = train_network(&circle, 4);
    let (angles, [first, second]) =
        evaluate(&encoder, &circle, 128, |input| f64::from(input[1]).atan2(input[0].into()));

    let mut moments = Moments::new(5);
    moments.add(&first.view(), &second.view());
    let ordering = moments.ordering(0.0);
    let ordered = ordering.apply(&first.view()).mapv(f64::from);
    let raw = first.mapv(f64::from);

    let constant = cosine(raw.column(0).iter().copied(), angles.iter().map(|_| 1.0));
    assert!(constant > 0.99, "raw output 0: cosine {constant} to the constant");
    for m in [1, 2] {
        let plane = DMatrix::from_fn(angles.len(), 2, |i, j| {
            let angle = f64::from(m) * angles[i];
            if j == 0 { angle.cos() } else { angle.sin() }
        });
        let first = 2 * (m as usize - 1);
        let columns =
            |values: &Array2<f64>, first: usize| DMatrix::from_fn(angles.len(), 2, |i, j| values[[i, first + j]]);
        for (which, found) in [("raw", columns(&raw, first + 1)), ("ordered", columns(&ordered, first))] {
            let cosines = principal_cosines(found, plane.clone());
            assert!(cosines.iter().all(|&cosine| cosine > 0.99), "{which} plane {m}: principal cosines {cosines:?}");
        }
        for j in [first, first + 1] {
            let (found, exact) = (ordering.eigenvalues[j], eigenvalue(m.into()));
            assert!((found / exact - 1.0).abs() < 0.02, "eigenvalue {j}: {found}, exactly {exact}");
        }
    }
}

/// Samples are `N(0, 1)` and views `rho sample + sqrt(1 - rho^2) N(0, 1)`: eigenvalues `rho^(2m)`, eigenfunctions the
/// Hermite polynomials `He_m / sqrt(m!)`.
#[test]
fn a_network_learns_the_hermite_functions_of_a_gaussian() {
    let gaussian = Gaussian { samples: 1024, rho: 0.85 };
    let encoder = train_network(&gaussian, 3);
    let (points, [first, second]) = evaluate(&encoder, &gaussian, 256, |input| input[0].into());

    let mut moments = Moments::new(4);
    moments.add(&first.view(), &second.view());
    let ordering = moments.ordering(0.0);
    let ordered = ordering.apply(&first.view()).mapv(f64::from);
    let raw = first.mapv(f64::from);
    let hermite: [fn(f64) -> f64; 3] = [|_| 1.0, |x| x, |x| (x * x - 1.0) / SQRT_2];
    for (m, function) in hermite.iter().enumerate() {
        let exact = || points.iter().map(|&x| function(x));
        let cosine_raw = cosine(raw.column(m).iter().copied(), exact());
        assert!(cosine_raw > 0.99, "raw output {m}: cosine {cosine_raw}");
        if m > 0 {
            let cosine = cosine(ordered.column(m - 1).iter().copied(), exact());
            assert!(cosine > 0.99, "ordered function {m}: cosine {cosine}");
            let (found, exact) = (ordering.eigenvalues[m - 1], gaussian.rho.powi(2 * m as i32));
            assert!((found / exact - 1.0).abs() < 0.02, "eigenvalue {m}: {found}, exactly {exact}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let circle = Circle { samples: 256, deviation: 0.4 };
    let outputs = |seed: u64| {
        let encoder = encoder(&network(4), &circle, seed);
        let trained = train(encoder, &circle, &NeuralEigenmapSpec::default(), &schedule(3, 64, 0.01), seed);
        bits(&run(&trained, &views_of(&circle, &[View::First, View::Second], 9, 0, &[0, 1, 2, 3]), 2))
    };
    let first = outputs(1);
    assert_eq!(first, outputs(1));
    assert_ne!(first, outputs(2));
}

// ---------------------------------------------------------------------------------------------------------------------
// Training.

struct Silent;

impl Watch<Flex> for Silent {
    fn epoch(&mut self, _: &Trainee<Flex>, _: &Epoch) -> Result<()> {
        Ok(())
    }
}

fn train(
    encoder: Encoder<Flex>,
    source: &dyn Source,
    objective: &NeuralEigenmapSpec,
    spec: &TrainSpec,
    seed: u64,
) -> Encoder<Flex> {
    let objective = ObjectiveSpec::NeuralEigenmap(objective.clone()).build::<Flex>();
    let trainee = Trainee::new(encoder, objective, spec);
    fit(trainee, source, spec, seed, &Default::default(), &mut Silent).expect("training succeeds").encoder
}

fn schedule(epochs: usize, batch: usize, rate: f64) -> TrainSpec {
    let optimizer = OptimizerSpec::Adam { rate, weight_decay: 0.0 };
    TrainSpec { epochs, batch, warmup: 1, final_rate: 1e-3, optimizer }
}

fn fixed(alpha: f64, stop_gradient: bool) -> NeuralEigenmapSpec {
    NeuralEigenmapSpec { penalty: Penalty::Fixed, alpha, stop_gradient, ..Default::default() }
}

fn encoder(spec: &NetworkSpec, source: &dyn Source, seed: u64) -> Encoder<Flex> {
    let objective = ObjectiveSpec::NeuralEigenmap(NeuralEigenmapSpec::default());
    let plan = spec.plan(source.shape(), objective.outputs(spec.dims)).expect("the network fits");
    Encoder::new(plan, seed, &Default::default())
}

/// Two hidden layers, `dims + 1` outputs.
fn network(dims: usize) -> NetworkSpec {
    NetworkSpec { layers: vec![LayerSpec::Dense { units: 48 }], projector: 48, dims }
}

fn train_network(source: &dyn Source, dims: usize) -> Encoder<Flex> {
    let encoder = encoder(&network(dims), source, 1);
    train(encoder, source, &NeuralEigenmapSpec::default(), &schedule(400, source.len(), 0.01), 1)
}

/// Outputs `[n, k]` for inputs `[n, width]`.
fn run(encoder: &Encoder<Flex>, inputs: &[f32], width: usize) -> Array2<f32> {
    let n = inputs.len() / width;
    let images = Tensor::from_data(TensorData::new(inputs.to_vec(), [n, 1, 1, width]), &Default::default());
    let outputs = encoder.valid().forward(images, Mode::Evaluate);
    let k = outputs.dims()[1];
    Array2::from_shape_vec((n, k), outputs.into_data().to_vec().expect("f32")).expect("n rows of k")
}

/// On views that training has not seen: what `of` says of each first view, and the outputs on both views.
fn evaluate(
    encoder: &Encoder<Flex>,
    source: &dyn Source,
    epochs: u64,
    of: impl Fn(&[f32]) -> f64,
) -> (Vec<f64>, [Array2<f32>; 2]) {
    let width = source.shape()[2];
    let samples: Vec<u32> = (0..source.len() as u32).collect();
    let mut views = [Vec::new(), Vec::new()];
    for epoch in 0..epochs {
        for (values, view) in views.iter_mut().zip([View::First, View::Second]) {
            values.extend(source.view(view, 1 << 40, epoch, &samples));
        }
    }
    (views[0].chunks_exact(width).map(of).collect(), [&views[0], &views[1]].map(|view| run(encoder, view, width)))
}

// ---------------------------------------------------------------------------------------------------------------------
// Sources.

/// A kernel on finitely many states: `pairs` holds `(x, x+)` as often as the kernel has it. Inputs are one-hot.
struct FiniteKernel {
    counts: Vec<Vec<usize>>,
    pairs: Vec<(usize, usize)>,
}

impl Source for FiniteKernel {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, self.states()]
    }

    fn view(&self, view: View, _: u64, _: u64, samples: &[u32]) -> Vec<f32> {
        let states = samples.iter().map(|&sample| {
            let (first, second) = self.pairs[sample as usize];
            if view == View::Second { second } else { first }
        });
        states.flat_map(|state| (0..self.states()).map(move |other| f32::from(u8::from(other == state)))).collect()
    }
}

impl FiniteKernel {
    /// `counts[x][x+]`, symmetric.
    fn new(counts: Vec<Vec<usize>>) -> Self {
        let states = counts.len();
        let pairs = (0..states * states)
            .map(|i| (i / states, i % states))
            .flat_map(|(a, b)| std::iter::repeat_n((a, b), counts[a][b]))
            .collect();
        Self { counts, pairs }
    }

    fn states(&self) -> usize {
        self.counts.len()
    }

    /// How often each state is a first view.
    fn weight(&self, state: usize) -> f64 {
        self.counts[state].iter().sum::<usize>() as f64
    }

    /// Raw outputs on all states, `[states, k]`, of a linear layer trained from `table`.
    fn train(&self, k: usize, objective: &NeuralEigenmapSpec, table: DMatrix<f64>) -> Array2<f64> {
        let spec = NetworkSpec { layers: Vec::new(), projector: 0, dims: k - 1 };
        let mut encoder = encoder(&spec, self, 0);
        let values: Vec<f32> = table.transpose().iter().map(|&value| value as f32).collect();
        let data = TensorData::new(values, [self.states(), k]);
        encoder.parameters.affines[0].weight = Param::from_data(data, &Default::default());
        let trained = train(encoder, self, objective, &schedule(1500, self.len(), 0.03), 1);
        let states: Vec<f32> =
            (0..self.states().pow(2)).map(|i| f32::from(u8::from(i % (self.states() + 1) == 0))).collect();
        run(&trained, &states, self.states()).mapv(f64::from)
    }

    fn random_table(&self, k: usize) -> DMatrix<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        DMatrix::from_fn(self.states(), k, |_, _| StandardNormal.sample(&mut rng)) * 0.1
    }

    /// Cosine, without its sign, between output `j` and a function, weighing states by their probability.
    fn cosine(&self, outputs: &Array2<f64>, j: usize, function: &[f64]) -> f64 {
        let root = |state: usize| self.weight(state).sqrt();
        let found = outputs.column(j).iter().enumerate().map(|(a, value)| value * root(a)).collect::<Vec<_>>();
        cosine(found, function.iter().enumerate().map(|(a, value)| value * root(a)))
    }

    fn principal_cosines(&self, outputs: &Array2<f64>, functions: &DMatrix<f64>) -> Vec<f64> {
        let root = |state: usize| self.weight(state).sqrt();
        let found = DMatrix::from_fn(self.states(), outputs.ncols(), |a, j| outputs[[a, j]] * root(a));
        let exact = DMatrix::from_fn(self.states(), functions.ncols(), |a, j| functions[(a, j)] * root(a));
        principal_cosines(found, exact)
    }

    /// `E[f(x) f(x+)] / E[f(x)^2]` of output `j`.
    fn eigenvalue(&self, outputs: &Array2<f64>, j: usize) -> f64 {
        let f = outputs.column(j);
        let across: f64 = self.pairs.iter().map(|&(a, b)| f[a] * f[b]).sum();
        let within: f64 = self.pairs.iter().map(|&(a, _)| f[a] * f[a]).sum();
        across / within
    }

    fn ordering(&self, outputs: &Array2<f64>) -> Ordering {
        let view = |state: fn(&(usize, usize)) -> usize| {
            Array2::from_shape_fn((self.pairs.len(), outputs.ncols()), |(i, j)| {
                outputs[[state(&self.pairs[i]), j]] as f32
            })
        };
        let mut moments = Moments::new(outputs.ncols());
        moments.add(&view(|pair| pair.0).view(), &view(|pair| pair.1).view());
        moments.ordering(0.0)
    }

    /// All eigenvalues, not increasing, and the eigenfunctions as columns, by dense eigendecomposition of
    /// `D^(-1/2) counts D^(-1/2)`.
    fn eigenfunctions(&self) -> (Vec<f64>, DMatrix<f64>) {
        let states = self.states();
        let root = |state: usize| self.weight(state).sqrt();
        let operator = DMatrix::from_fn(states, states, |a, b| self.counts[a][b] as f64 / (root(a) * root(b)));
        let (values, vectors) = symmetric_eigen(&operator);
        (values, DMatrix::from_fn(states, states, |a, j| vectors[(a, j)] / root(a)))
    }
}

/// States of the walk.
const STATES: usize = 12;

/// Three steps of a lazy walk on a row of states: half to stay, a quarter to either side, reflected at the ends.
fn walk() -> FiniteKernel {
    let step = |a: usize, b: usize| match a.abs_diff(b) {
        0 if a == 0 || a == STATES - 1 => 3,
        0 => 2,
        1 => 1,
        _ => 0,
    };
    let times_step = |counts: &Vec<Vec<usize>>| -> Vec<Vec<usize>> {
        let entry = |a: usize, b: usize| (0..STATES).map(|c| counts[a][c] * step(c, b)).sum();
        (0..STATES).map(|a| (0..STATES).map(|b| entry(a, b)).collect()).collect()
    };
    let one: Vec<Vec<usize>> = (0..STATES).map(|a| (0..STATES).map(|b| step(a, b)).collect()).collect();
    FiniteKernel::new(times_step(&times_step(&one)))
}

/// Eigenfunction `m` of the walk, from 0: the cosines that are flat at both ends.
fn walk_function(m: usize) -> Vec<f64> {
    (0..STATES).map(|a| (PI * m as f64 * (a as f64 + 0.5) / STATES as f64).cos()).collect()
}

fn walk_eigenvalue(m: usize) -> f64 {
    (0.5 + 0.5 * (PI * m as f64 / STATES as f64).cos()).powi(3)
}

/// The first `k` eigenfunctions of the walk in the wrong order, with a little noise.
fn reversed_table(walk: &FiniteKernel, k: usize) -> DMatrix<f64> {
    DMatrix::from_fn(STATES, k, |a, j| walk_function(k - 1 - j)[a]) + walk.random_table(k) * 0.2
}

/// Which eigenfunction each of `k` outputs becomes with the fixed penalty `alpha`.
fn predicted_functions(k: usize, alpha: f64) -> Vec<usize> {
    let mut taken: Vec<usize> = Vec::new();
    for _ in 0..k {
        let score = |i: usize| {
            let (value, times) = (walk_eigenvalue(i), taken.iter().filter(|&&j| j == i).count());
            value * (1.0 - alpha * times as f64 * value)
        };
        let mut best: Vec<usize> = (0..STATES).collect();
        best.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        assert!(score(best[0]) - score(best[1]) > 0.015, "alpha {alpha} leaves the choice open");
        taken.push(best[0]);
    }
    taken
}

/// Irregular points in the plane; a sample's views are the points around it, the nearer the more often.
fn scattered_points() -> FiniteKernel {
    const POINTS: usize = 18;
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let points: Vec<[f64; 2]> = (0..POINTS).map(|_| [0, 1].map(|_| StandardNormal.sample(&mut rng))).collect();
    let views = |sample: usize, point: usize| {
        let squared = (0..2).map(|axis| (points[sample][axis] - points[point][axis]).powi(2)).sum::<f64>();
        (2.0 * (-squared / 2.0).exp()).round() as usize
    };
    let count = |a: usize, b: usize| (0..POINTS).map(|sample| views(sample, a) * views(sample, b)).sum();
    FiniteKernel::new((0..POINTS).map(|a| (0..POINTS).map(|b| count(a, b)).collect()).collect())
}

/// Noise of one view, or of the sample itself: depends on the arguments alone.
fn normal(seed: u64, epoch: u64, sample: u32, view: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    rng.set_word_pos(u128::from(sample) << 16 | u128::from(view) << 12);
    StandardNormal.sample(&mut rng)
}

/// The second view's number is 1, any other's 0.
fn number(view: View) -> u64 {
    u64::from(view == View::Second)
}

/// Angles, evenly spaced, given as cosine and sine; views turn by `N(0, deviation^2)`.
struct Circle {
    samples: usize,
    deviation: f64,
}

impl Source for Circle {
    fn len(&self) -> usize {
        self.samples
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, 2]
    }

    fn view(&self, view: View, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
        let angle = |&sample: &u32| {
            let turn = self.deviation * normal(seed, epoch, sample, number(view));
            2.0 * PI * f64::from(sample) / self.samples as f64 + turn
        };
        samples.iter().map(angle).flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect()
    }
}

/// Normal numbers, drawn afresh each epoch.
struct Gaussian {
    samples: usize,
    rho: f64,
}

impl Source for Gaussian {
    fn len(&self) -> usize {
        self.samples
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, 1]
    }

    fn view(&self, view: View, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
        let value = |&sample: &u32| {
            let centre = normal(seed, epoch, sample, 2);
            let noise = normal(seed, epoch, sample, number(view));
            (self.rho * centre + (1.0 - self.rho * self.rho).sqrt() * noise) as f32
        };
        samples.iter().map(value).collect()
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Comparisons.

/// The cosine between two functions on the same points, without its sign.
fn cosine(a: impl IntoIterator<Item = f64>, b: impl IntoIterator<Item = f64>) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.into_iter().zip(b) {
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    (ab / (aa * bb).sqrt()).abs()
}

/// Cosines of the principal angles between the column spaces of two matrices.
fn principal_cosines(a: DMatrix<f64>, b: DMatrix<f64>) -> Vec<f64> {
    let inner = a.qr().q().transpose() * b.qr().q();
    inner.singular_values().iter().copied().collect()
}

fn bits(values: &Array2<f32>) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
