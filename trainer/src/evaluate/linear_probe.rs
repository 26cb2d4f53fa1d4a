//! A linear probe: multinomial logistic regression on frozen features.
//!
//! Minimises `mean cross-entropy + ‖W‖² / (2 C n)` (the bias is not penalised) by L-BFGS, on features standardised with the
//! training split's mean and deviation.

use std::cell::RefCell;

use argmin::core::{CostFunction, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 10;

/// The fit ends when the gradient's norm is below this.
const GRADIENT_TOLERANCE: f64 = 1e-4;

/// The fit ends when a step gains less than this.
const COST_TOLERANCE: f64 = 1e-7;

/// Rows whose gradient is summed by one task. Fixed, so that the order of additions does not depend on the number of
/// threads.
const CHUNK: usize = 512;

/// How a probe is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// `C`, the inverse strength of the penalty, above 0.
    pub c: f64,
    /// The standard deviation of what will be added to every feature where the probe is used: none is weighed as if it varied less.
    pub noise: f64,
    /// Steps of L-BFGS, at most.
    pub iterations: u64,
}

/// A fitted probe.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbe {
    mean: Array1<f64>,
    /// One over the deviation; 0 for a feature that does not vary.
    scale: Array1<f64>,
    /// `[d + 1, classes]`; the last row is the bias.
    weights: Array2<f64>,
    /// The label of each column of `weights`, ascending.
    classes: Vec<u16>,
}

impl LinearProbe {
    /// Fits to `features` `[n, d]` with `labels` `[n]`, by `settings`.
    ///
    /// # Panics
    /// When there are no samples, or the lengths differ.
    pub fn fit(features: &ArrayView2<f32>, labels: &[u16], settings: Settings) -> Self {
        let Settings { c, noise, iterations } = settings;
        assert!(!labels.is_empty(), "a probe needs at least one sample");
        assert_eq!(features.nrows(), labels.len(), "one label for every row");
        let (mean, scale) = standardisation(features, noise);
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let targets = labels.iter().map(|label| classes.binary_search(label).expect("a known class")).collect();
        let features = standardise(features, &mean, &scale);
        let loss = Loss::new(features, targets, classes.len(), c);
        let weights = loss.minimum(iterations);
        Self { mean, scale, weights, classes }
    }

    /// The most probable class of every row of `features` `[m, d]`; of equals the lower one.
    pub fn classify(&self, features: &ArrayView2<f32>) -> Vec<u16> {
        let features = standardise(features, &self.mean, &self.scale).mapv(f64::from);
        let logits = features.dot(&self.weights.slice(s![..-1, ..])) + self.weights.row(self.mean.len());
        let best = |row: ndarray::ArrayView1<f64>| {
            (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
        };
        logits.rows().into_iter().map(|row| self.classes[best(row)]).collect()
    }

    /// The logit of each class as a function of the features themselves: the class, its weights, its bias.
    pub fn logits(&self) -> impl Iterator<Item = (u16, Array1<f32>, f32)> {
        let d = self.mean.len();
        self.classes.iter().enumerate().map(move |(column, &class)| {
            let weights = &self.weights.slice(s![..d, column]) * &self.scale;
            let bias = self.weights[[d, column]] - weights.dot(&self.mean);
            (class, weights.mapv(|weight| weight as f32), bias as f32)
        })
    }
}

/// Mean of every column, and one over its deviation with noise.
fn standardisation(features: &ArrayView2<f32>, noise: f64) -> (Array1<f64>, Array1<f64>) {
    let (n, d) = features.dim();
    let column_sums = |term: &dyn Fn(f64, usize) -> f64| {
        let mut sum = Array1::<f64>::zeros(d);
        for row in features.rows() {
            for (j, (sum, &value)) in sum.iter_mut().zip(row).enumerate() {
                *sum += term(f64::from(value), j);
            }
        }
        sum / n as f64
    };
    let mean = column_sums(&|value, _| value);
    let variance = column_sums(&|value, j| (value - mean[j]).powi(2));
    // What varies by less than f32 can resolve is constant.
    let varies = |variance: f64, mean: f64| variance.sqrt() > 1e-6 * mean.abs();
    let scale = ndarray::Zip::from(&variance).and(&mean).map_collect(|&variance, &mean| {
        if varies(variance, mean) { 1.0 / (variance + noise * noise).sqrt() } else { 0.0 }
    });
    (mean, scale)
}

fn standardise(features: &ArrayView2<f32>, mean: &Array1<f64>, scale: &Array1<f64>) -> Array2<f32> {
    let mut standard = features.as_standard_layout().into_owned();
    for mut row in standard.rows_mut() {
        for ((value, mean), scale) in row.iter_mut().zip(mean).zip(scale) {
            *value = ((f64::from(*value) - mean) * scale) as f32;
        }
    }
    standard
}

/// The penalised loss, as a function of the weights `[d + 1, classes]` in one row-major vector.
struct Loss {
    features: Array2<f32>,
    targets: Vec<usize>,
    classes: usize,
    c: f64,
    /// L-BFGS asks for the cost and the gradient at one point in turn; they are computed together.
    last: RefCell<Option<Point>>,
    /// The best point seen, kept in case the line search gives up.
    best: RefCell<Option<Point>>,
}

#[derive(Clone)]
struct Point {
    weights: Vec<f64>,
    cost: f64,
    gradient: Vec<f64>,
}

impl Loss {
    fn new(features: Array2<f32>, targets: Vec<usize>, classes: usize, c: f64) -> Self {
        Self { features, targets, classes, c, last: RefCell::default(), best: RefCell::default() }
    }

    /// Runs L-BFGS from zero. A line search that can no longer improve is the end of a fit, not an error.
    fn minimum(&self, iterations: u64) -> Array2<f64> {
        let shape = (self.features.ncols() + 1, self.classes);
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
            .with_tolerance_grad(GRADIENT_TOLERANCE)
            .and_then(|solver| solver.with_tolerance_cost(COST_TOLERANCE))
            .expect("the tolerances are positive");
        let start = vec![0.0; shape.0 * shape.1];
        let _ = Executor::new(self, solver).configure(|state| state.param(start).max_iters(iterations)).run();
        let best = self.best.borrow_mut().take().expect("the start was evaluated");
        Array2::from_shape_vec(shape, best.weights).expect("the parameters have the weights' shape")
    }

    fn at<T>(&self, weights: &Vec<f64>, read: impl Fn(&Point) -> T) -> T {
        let mut last = self.last.borrow_mut();
        if let Some(point) = last.as_ref().filter(|point| point.weights == *weights) {
            return read(point);
        }
        let (cost, gradient) = self.evaluate(weights);
        let point = Point { weights: weights.clone(), cost, gradient };
        let mut best = self.best.borrow_mut();
        if best.as_ref().is_none_or(|best| cost < best.cost) {
            *best = Some(point.clone());
        }
        read(last.insert(point))
    }

    fn evaluate(&self, weights: &[f64]) -> (f64, Vec<f64>) {
        let (n, d) = self.features.dim();
        let weights = ArrayView2::from_shape((d + 1, self.classes), weights).expect("the weights' shape");
        let chunks: Vec<_> = self.features.axis_chunks_iter(Axis(0), CHUNK).zip(self.targets.chunks(CHUNK)).collect();
        let parts: Vec<(f64, Array2<f64>)> =
            chunks.par_iter().map(|(rows, targets)| chunk_loss(rows, targets, &weights)).collect();

        let mut cost = 0.0;
        let mut gradient = Array2::<f64>::zeros((d + 1, self.classes));
        for (part_cost, part_gradient) in parts {
            cost += part_cost;
            gradient += &part_gradient;
        }
        let n = n as f64;
        let penalised = weights.slice(s![..d, ..]);
        cost = cost / n + penalised.iter().map(|w| w * w).sum::<f64>() / (2.0 * self.c * n);
        gradient /= n;
        gradient.slice_mut(s![..d, ..]).scaled_add(1.0 / (self.c * n), &penalised);
        (cost, gradient.into_raw_vec_and_offset().0)
    }
}

/// Sum of the cross-entropies of some rows, and its gradient `[d + 1, classes]`.
fn chunk_loss(rows: &ArrayView2<f32>, targets: &[usize], weights: &ArrayView2<f64>) -> (f64, Array2<f64>) {
    let d = rows.ncols();
    let rows = rows.mapv(f64::from);
    let mut residual = rows.dot(&weights.slice(s![..d, ..])) + weights.row(d);
    let mut cost = 0.0;
    for (mut logits, &target) in residual.rows_mut().into_iter().zip(targets) {
        let largest = logits.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        cost += largest - logits[target];
        logits.mapv_inplace(|logit| (logit - largest).exp());
        let sum = logits.sum();
        cost += sum.ln();
        logits /= sum;
        logits[target] -= 1.0;
    }
    let mut gradient = Array2::zeros(weights.dim());
    gradient.slice_mut(s![..d, ..]).assign(&rows.t().dot(&residual));
    gradient.row_mut(d).assign(&residual.sum_axis(Axis(0)));
    (cost, gradient)
}

impl CostFunction for &Loss {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, weights: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        Ok(self.at(weights, |point| point.cost))
    }
}

impl Gradient for &Loss {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, weights: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        Ok(self.at(weights, |point| point.gradient.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::accuracy;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn within(iterations: u64) -> Settings {
        Settings { c: 0.5, noise: 0.0, iterations }
    }

    /// Three overlapping clouds in the plane and one feature that never varies.
    fn clouds(n: usize, seed: u64) -> (Array2<f32>, Vec<u16>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<u16> = (0..n).map(|i| [3, 5, 8][i % 3]).collect();
        let features = Array2::from_shape_fn((n, 3), |(i, j)| {
            let centre = [[0.0, 0.0], [2.0, 0.0], [0.0, 200.0]];
            let noise: f32 = rng.random_range(-1.5..1.5);
            match j {
                0 => centre[i % 3][0] + noise,
                1 => centre[i % 3][1] + 100.0 * noise,
                _ => 7.0,
            }
        });
        (features, labels)
    }

    #[test]
    fn the_gradient_is_that_of_the_cost() {
        let (features, labels) = clouds(700, 1);
        let (mean, scale) = standardisation(&features.view(), 0.0);
        let targets = (0..labels.len()).map(|i| i % 3).collect();
        let loss = Loss::new(standardise(&features.view(), &mean, &scale), targets, 3, 0.5);
        let weights: Vec<f64> = (0..12).map(|i| (i as f64 * 0.7).sin()).collect();
        let (_, gradient) = loss.evaluate(&weights);
        for i in 0..weights.len() {
            let nudged = |by: f64| {
                let mut weights = weights.clone();
                weights[i] += by;
                loss.evaluate(&weights).0
            };
            let numeric = (nudged(1e-5) - nudged(-1e-5)) / 2e-5;
            assert!((numeric - gradient[i]).abs() < 1e-8, "{i}: {numeric} and {}", gradient[i]);
        }
    }

    #[test]
    fn the_fit_is_where_the_gradient_vanishes() {
        let (features, labels) = clouds(600, 2);
        let (mean, scale) = standardisation(&features.view(), 0.0);
        let probe = LinearProbe::fit(&features.view(), &labels, within(200));
        let targets = labels.iter().map(|label| probe.classes.binary_search(label).unwrap()).collect();
        let loss = Loss::new(standardise(&features.view(), &mean, &scale), targets, 3, 0.5);
        let (_, gradient) = loss.evaluate(probe.weights.as_slice().unwrap());
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(norm < 1e-3, "gradient norm {norm}");
    }

    #[test]
    fn clouds_are_told_apart_on_unseen_samples() {
        let (train, train_labels) = clouds(900, 3);
        let (test, test_labels) = clouds(300, 4);
        let probe = LinearProbe::fit(&train.view(), &train_labels, within(100));
        let score = accuracy(&probe.classify(&test.view()), &test_labels);
        assert!(score > 0.75, "accuracy {score}");
    }

    #[test]
    fn one_class_is_always_right() {
        let (features, _) = clouds(9, 5);
        let probe = LinearProbe::fit(&features.view(), &[4; 9], within(10));
        assert_eq!(probe.classify(&features.view()), [4; 9]);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let (features, labels) = clouds(2000, 6);
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| LinearProbe::fit(&features.view(), &labels, within(20)))
        };
        assert_eq!(fit(1), fit(3));
    }
}
