//! Rayleigh-Ritz: the best ordered basis of what an encoder has learned.
//!
//! Any encoder `f` spans a space of functions of the input. Two views of the same sample tell how well each function
//! of that space survives augmentation: `E[g(x) g(x⁺)]` for `E[g²] = 1`, the eigenvalue of the augmentation kernel
//! where `g` is one of its eigenfunctions. With the centred moments
//!
//! ```text
//! G = ½ (E[f₁ f₁ᵀ] + E[f₂ f₂ᵀ]) − m mᵀ      R = ½ (E[f₁ f₂ᵀ] + E[f₂ f₁ᵀ]) − m mᵀ      m = ½ (E[f₁] + E[f₂])
//! ```
//!
//! the generalised eigenproblem `R v = μ G v` gives the functions `(f − m)·v`: ordered by `μ`, decorrelated, of unit
//! variance. They are an affine map of the output, so they fold into the encoder's last layer.
//!
//! A chip adds rounding noise to the outputs. Where it is known, its variance joins `G` (not `R`: two views have noise of
//! their own), so that a function which hardly shows above it comes late, however well it survives augmentation; otherwise
//! the function's large weights would blow the noise up to unit variance.
//!
//! Centring is the same as adding the constant 1 to the outputs and then dropping it again: the constant is an
//! eigenfunction with `μ = 1` that says nothing about the input, and every other eigenfunction has mean zero.

use nalgebra::{DMatrix, DVector};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

use super::symmetric_eigen;

/// Directions whose share of the variance is below this part of the largest one are not in the span.
const RANK_TOLERANCE: f64 = 1e-6;

/// An output whose squared mean is more than this part of its mean square counts as constant.
const CONSTANT_SHARE: f64 = 0.99;

/// Two loadings closer than this (relative) count as equal when the sign is chosen, so that rounding cannot flip it.
const SIGN_TOLERANCE: f64 = 1e-6;

/// Rows turned to `f64` at a time.
const CHUNK: usize = 1024;

/// Running first and second moments of an encoder's outputs on two views of the same samples, in `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    samples: usize,
    /// Σ (f₁ + f₂), `[k]`.
    sum: Array1<f64>,
    /// Σ (f₁ f₁ᵀ + f₂ f₂ᵀ), `[k, k]`.
    within: Array2<f64>,
    /// Σ f₁ f₂ᵀ, `[k, k]`, not symmetrised.
    across: Array2<f64>,
}

impl Moments {
    /// Nothing seen yet, for an encoder of `outputs` outputs.
    pub fn new(outputs: usize) -> Self {
        Self {
            samples: 0,
            sum: Array1::zeros(outputs),
            within: Array2::zeros((outputs, outputs)),
            across: Array2::zeros((outputs, outputs)),
        }
    }

    /// Adds a batch: row `i` of `first` and of `second`, both `[n, k]`, are the outputs on two views of sample `i`.
    ///
    /// # Panics
    /// When the shapes differ from each other, or `k` from the number of outputs.
    pub fn add(&mut self, first: &ArrayView2<f32>, second: &ArrayView2<f32>) {
        assert_eq!(first.dim(), second.dim(), "two views must have the same shape");
        assert_eq!(first.ncols(), self.sum.len(), "the number of outputs must not change");
        let chunks = first.axis_chunks_iter(Axis(0), CHUNK).zip(second.axis_chunks_iter(Axis(0), CHUNK));
        for (first, second) in chunks {
            let (first, second) = (first.mapv(f64::from), second.mapv(f64::from));
            self.sum += &(first.sum_axis(Axis(0)) + second.sum_axis(Axis(0)));
            self.within += &(first.t().dot(&first) + second.t().dot(&second));
            self.across += &first.t().dot(&second);
        }
        self.samples += first.nrows();
    }

    /// Adds a batch of a kernel that is no pair of views: row `i` of `outputs` `[n, k]` is sample `i`'s, and `gram` `[n, n]` is
    /// weighted so that sums over it are means over pairs of samples. Such a kernel need not have the constant among its
    /// functions, so nothing is centred.
    ///
    /// # Panics
    /// When the shapes do not fit each other, or `k` is not the number of outputs.
    pub fn add_gram(&mut self, outputs: &ArrayView2<f32>, gram: &ArrayView2<f64>) {
        assert_eq!(outputs.ncols(), self.sum.len(), "the number of outputs must not change");
        let (n, outputs) = (outputs.nrows(), outputs.mapv(f64::from));
        self.within += &(outputs.t().dot(&outputs) * 2.0);
        self.across += &(outputs.t().dot(gram).dot(&outputs) * n as f64);
        self.samples += n;
    }

    /// Samples seen (pairs of views).
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Solves for the ordered functions. Outputs of any scale are welcome: each is first divided by its root mean
    /// square. `noise` is the standard deviation of what a chip adds to every output, as a part of the root mean square of
    /// all outputs together; 0 where it adds nothing.
    ///
    /// With no samples, no outputs, or outputs that are all constant, no function is kept.
    pub fn ordering(&self, noise: f64) -> Ordering {
        let outputs = self.sum.len();
        let views = 2.0 * (self.samples.max(1) as f64);
        let rms: Array1<f64> = self.within.diag().mapv(|square| (square / views).sqrt());
        let scale = rms.mapv(|rms| if rms > 0.0 { 1.0 / rms } else { 0.0 });
        let mean = &self.sum / views * &scale;

        let constant = (0..outputs).find(|&j| mean[j] * mean[j] > CONSTANT_SHARE);

        let centred = |raw: f64, i: usize, j: usize| raw * scale[i] * scale[j] - mean[i] * mean[j];
        let g = DMatrix::from_fn(outputs, outputs, |i, j| centred(self.within[[i, j]] / views, i, j));
        let r = DMatrix::from_fn(outputs, outputs, |i, j| {
            centred((self.across[[i, j]] + self.across[[j, i]]) / views, i, j)
        });

        let mut whitening = whitening(&g, RANK_TOLERANCE);
        let kept = whitening.ncols();
        if noise > 0.0 && kept > 0 {
            let variance = noise * noise * self.within.diag().sum() / views / outputs as f64;
            let added = DMatrix::from_diagonal(&DVector::from_fn(outputs, |i, _| variance * scale[i] * scale[i]));
            let with_noise = DMatrix::identity(kept, kept) + whitening.transpose() * added * &whitening;
            // All directions are kept: none has less than 1, and those with little noise have hardly more.
            whitening *= self::whitening(&with_noise, 0.0);
        }
        let (eigenvalues, rotation) = symmetric_eigen(&(whitening.transpose() * r * &whitening));
        let mut transform = whitening * rotation;
        fix_signs(&mut transform, &g);

        let transform = Array2::from_shape_fn((outputs, kept), |(i, j)| transform[(i, j)] * scale[i]);
        let bias = -(&self.sum / views).dot(&transform);
        Ordering { transform, bias, eigenvalues, dropped: outputs - kept, constant }
    }
}

/// An affine map from an encoder's outputs to ordered functions: `f · transform + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordering {
    /// `[outputs, kept]`; column `j` is the function of the `j`-th largest eigenvalue.
    pub transform: Array2<f64>,
    /// `[kept]`; makes the mean of every function zero.
    pub bias: Array1<f64>,
    /// Correlation of each function between two views of a sample, with the noise, in [-1, 1], not increasing.
    pub eigenvalues: Vec<f64>,
    /// Directions left out because the outputs do not span them (the constant's among them, if they do span it).
    pub dropped: usize,
    /// The first raw output that was (nearly) the constant function, if one was.
    pub constant: Option<usize>,
}

impl Ordering {
    /// Functions kept.
    pub fn kept(&self) -> usize {
        self.eigenvalues.len()
    }

    /// The ordered features `[n, kept]` of outputs `[n, outputs]`.
    pub fn apply(&self, outputs: &ArrayView2<f32>) -> Array2<f32> {
        let mut features = Array2::zeros((outputs.nrows(), self.kept()));
        let chunks = outputs.axis_chunks_iter(Axis(0), CHUNK).zip(features.axis_chunks_iter_mut(Axis(0), CHUNK));
        for (outputs, mut features) in chunks {
            let ordered = outputs.mapv(f64::from).dot(&self.transform) + &self.bias;
            features.assign(&ordered.mapv(|value| value as f32));
        }
        features
    }

    /// The first `dims` functions alone; all, where there are fewer.
    pub fn first(mut self, dims: usize) -> Self {
        let dims = dims.min(self.kept());
        self.transform = self.transform.slice(s![.., ..dims]).to_owned();
        self.bias = self.bias.slice(s![..dims]).to_owned();
        self.eigenvalues.truncate(dims);
        self
    }

    /// The map as a linear layer: weight `[outputs, kept]` and bias `[kept]`.
    pub fn affine(&self) -> (Array2<f32>, Array1<f32>) {
        (self.transform.mapv(|value| value as f32), self.bias.mapv(|value| value as f32))
    }

    /// Folds the map into the linear layer `x · weight + bias` that made the outputs: returns the weight
    /// `[inputs, kept]` and bias `[kept]` of a layer that makes the ordered features at once. `weight` is
    /// `[inputs, outputs]`, `bias` is `[outputs]`.
    pub fn fold_into(&self, weight: &ArrayView2<f32>, bias: &ArrayView1<f32>) -> (Array2<f32>, Array1<f32>) {
        let folded_weight = weight.mapv(f64::from).dot(&self.transform);
        let folded_bias = bias.mapv(f64::from).dot(&self.transform) + &self.bias;
        (folded_weight.mapv(|value| value as f32), folded_bias.mapv(|value| value as f32))
    }
}

/// `[k, kept]` with `Wᵀ G W = I`, leaving out the directions of which `G` has no more than this part of its most.
fn whitening(g: &DMatrix<f64>, tolerance: f64) -> DMatrix<f64> {
    let (variances, directions) = symmetric_eigen(g);
    let largest = variances.first().copied().unwrap_or(0.0);
    // The inputs are scaled to unit mean square, so what is this small beside 1 is rounding.
    let floor = (tolerance * largest).max(1e-12);
    let kept = variances.iter().take_while(|&&variance| variance > floor).count();
    DMatrix::from_fn(g.nrows(), kept, |i, j| directions[(i, j)] / variances[j].sqrt())
}

/// Eigenvectors have no sign of their own: makes each function correlate positively with the raw output that it
/// correlates with most (the first of them, when several do so equally).
fn fix_signs(transform: &mut DMatrix<f64>, g: &DMatrix<f64>) {
    let loadings = g * &*transform;
    for (mut function, loading) in transform.column_iter_mut().zip(loadings.column_iter()) {
        let threshold = loading.amax() * (1.0 - SIGN_TOLERANCE);
        if loading.iter().find(|value| value.abs() >= threshold).is_some_and(|&value| value < 0.0) {
            function.neg_mut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::f64::consts::{PI, SQRT_2};

    const STATES: usize = 60;

    /// Probability of stepping from state `a` to state `b` of the ring: half to stay, a quarter to either side.
    fn ring_step(a: usize, b: usize) -> f64 {
        match (b + STATES - a) % STATES {
            0 => 0.5,
            1 | 59 => 0.25,
            _ => 0.0,
        }
    }

    /// The non-constant eigenfunctions of the ring, unit mean square, `[states, 2·pairs]`, eigenvalue descending:
    /// √2 cos and √2 sin of 2πma/60 have the eigenvalue ½ + ½ cos(2πm/60).
    fn ring_functions(pairs: usize) -> (Array2<f64>, Vec<f64>) {
        let angle = |m: usize, a: usize| 2.0 * PI * (m * a) as f64 / STATES as f64;
        let functions = Array2::from_shape_fn((STATES, 2 * pairs), |(a, j)| {
            let angle = angle(j / 2 + 1, a);
            SQRT_2 * if j % 2 == 0 { angle.cos() } else { angle.sin() }
        });
        let values = (0..2 * pairs).map(|j| 0.5 + 0.5 * angle(j / 2 + 1, 1).cos()).collect();
        (functions, values)
    }

    /// Two-view outputs with every pair of states as often as the chain has it (in quarters).
    fn ring_pairs(outputs: &Array2<f64>) -> (Array2<f32>, Array2<f32>) {
        let mut rows = Vec::new();
        for a in 0..STATES {
            for b in 0..STATES {
                rows.extend(std::iter::repeat_n((a, b), (4.0 * ring_step(a, b)) as usize));
            }
        }
        let view = |state: fn(&(usize, usize)) -> usize| {
            Array2::from_shape_fn((rows.len(), outputs.ncols()), |(i, j)| outputs[[state(&rows[i]), j]] as f32)
        };
        (view(|pair| pair.0), view(|pair| pair.1))
    }

    fn random_matrix(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_fn((rows, columns), |_| rng.random_range(-1.0..1.0))
    }

    fn solve(first: &Array2<f32>, second: &Array2<f32>) -> Ordering {
        let mut moments = Moments::new(first.ncols());
        moments.add(&first.view(), &second.view());
        moments.ordering(0.0)
    }

    fn ordering_of_ring(outputs: &Array2<f64>) -> Ordering {
        let (first, second) = ring_pairs(outputs);
        solve(&first, &second)
    }

    /// Cosine between a function and its projection on a few orthonormal ones.
    fn cosine_to_span(function: ArrayView1<f64>, span: &Array2<f64>) -> f64 {
        let inner = span.t().dot(&function) / STATES as f64;
        (inner.dot(&inner) / (function.dot(&function) / STATES as f64)).sqrt()
    }

    #[test]
    fn known_eigenfunctions_come_back_from_a_random_mixture() {
        let (functions, values) = ring_functions(3);
        let shift = random_matrix(1, 6, 2);
        let mixed = functions.dot(&random_matrix(6, 6, 1)) + &shift;
        let ordering = ordering_of_ring(&mixed);

        assert_eq!((ordering.kept(), ordering.dropped), (6, 0));
        for (found, exact) in ordering.eigenvalues.iter().zip(&values) {
            assert!((found - exact).abs() < 1e-5, "eigenvalue {found}, exactly {exact}");
        }
        let ordered = ordering.apply(&mixed.mapv(|value| value as f32).view()).mapv(f64::from);
        for j in 0..6 {
            let pair = functions.slice(s![.., j / 2 * 2..j / 2 * 2 + 2]).to_owned();
            let cosine = cosine_to_span(ordered.column(j), &pair);
            assert!(cosine > 0.9999, "function {j}: cosine {cosine}");
        }
    }

    #[test]
    fn eigenvalues_of_a_full_table_are_those_of_the_chain() {
        let table = Array2::from_shape_fn((STATES, STATES), |(a, j)| f64::from(u8::from(a == j)));
        let ordering = ordering_of_ring(&table);

        let mut exact: Vec<f64> =
            (1..STATES).map(|m| 0.5 + 0.5 * (2.0 * PI * m as f64 / STATES as f64).cos()).collect();
        exact.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(ordering.dropped, 1, "the constant is in the span of a table and must be dropped");
        assert_eq!(ordering.kept(), exact.len());
        for (found, exact) in ordering.eigenvalues.iter().zip(&exact) {
            assert!((found - exact).abs() < 1e-9, "eigenvalue {found}, exactly {exact}");
        }
    }

    #[test]
    fn ordered_features_are_centred_decorrelated_and_of_unit_variance() {
        let (functions, _) = ring_functions(4);
        let mixed = functions.dot(&random_matrix(8, 5, 3)) + 2.5;
        let (first, second) = ring_pairs(&mixed);
        let ordering = solve(&first, &second);

        let mut ordered = Moments::new(ordering.kept());
        ordered.add(&ordering.apply(&first.view()).view(), &ordering.apply(&second.view()).view());
        let views = 2.0 * ordered.samples() as f64;
        for i in 0..ordering.kept() {
            assert!((ordered.sum[i] / views).abs() < 1e-5);
            for j in 0..ordering.kept() {
                let identity = f64::from(u8::from(i == j));
                assert!((ordered.within[[i, j]] / views - identity).abs() < 1e-4);
                let across = (ordered.across[[i, j]] + ordered.across[[j, i]]) / views;
                assert!((across - identity * ordering.eigenvalues[i]).abs() < 1e-4);
            }
        }
        assert!(ordering.eigenvalues.is_sorted_by(|a, b| a >= b));
        assert!(ordering.eigenvalues.iter().all(|value| (-1.0..=1.0).contains(value)));
    }

    #[test]
    fn directions_that_the_outputs_do_not_span_are_dropped() {
        let (functions, values) = ring_functions(2);
        let mixed = functions.slice(s![.., ..3]).dot(&random_matrix(3, 7, 4));
        let ordering = ordering_of_ring(&mixed);

        assert_eq!((ordering.kept(), ordering.dropped), (3, 4));
        assert!((ordering.eigenvalues[0] - values[0]).abs() < 1e-5);
    }

    #[test]
    fn a_constant_or_dead_output_is_recognised_and_changes_nothing() {
        let (functions, _) = ring_functions(2);
        let mut outputs = Array2::zeros((STATES, 6));
        outputs.slice_mut(s![.., ..2]).assign(&functions.slice(s![.., ..2]));
        outputs.column_mut(2).fill(-3.0);
        outputs.slice_mut(s![.., 4..]).assign(&functions.slice(s![.., 2..]));
        let ordering = ordering_of_ring(&outputs);

        assert_eq!(ordering.constant, Some(2));
        assert_eq!((ordering.kept(), ordering.dropped), (4, 2));
        let without = ordering_of_ring(&functions);
        assert_eq!(without.constant, None);
        for (with, without) in ordering.eigenvalues.iter().zip(&without.eigenvalues) {
            assert!((with - without).abs() < 1e-9);
        }
    }

    #[test]
    fn the_scale_of_an_output_does_not_matter() {
        let (functions, _) = ring_functions(2);
        let mixed = functions.dot(&random_matrix(4, 4, 5));
        let scaled = &mixed * &ndarray::array![1e-4, 1.0, 1e4, 30.0];
        let (plain, scaled) = (ordering_of_ring(&mixed), ordering_of_ring(&scaled));

        assert_eq!(plain.kept(), scaled.kept());
        for (a, b) in plain.eigenvalues.iter().zip(&scaled.eigenvalues) {
            assert!((a - b).abs() < 1e-6);
        }
    }

    #[test]
    fn a_function_below_the_noise_comes_late_and_with_small_weights() {
        // The first function of the ring is a hundredth of one output, all else of both is the second.
        let (functions, values) = ring_functions(2);
        let (first, second) = (functions.column(0), functions.column(2));
        let outputs = Array2::from_shape_fn((STATES, 2), |(a, j)| second[a] + j as f64 * 0.01 * first[a]);
        let (one, other) = ring_pairs(&outputs);
        let mut moments = Moments::new(2);
        moments.add(&one.view(), &other.view());

        let largest =
            |ordering: &Ordering| ordering.transform.iter().fold(0.0f64, |most, weight| most.max(weight.abs()));
        let exact = moments.ordering(0.0);
        assert!((exact.eigenvalues[0] - values[0]).abs() < 1e-3 && largest(&exact) > 90.0);
        let noisy = moments.ordering(0.03);
        assert!((noisy.eigenvalues[0] - values[2]).abs() < 1e-3 && noisy.eigenvalues[1] < 0.1);
        assert!(largest(&noisy) < 30.0);
        // A chip's variance: of what the outputs say and of the noise.
        for function in noisy.transform.columns() {
            let spread = outputs.dot(&function).mapv(|value| value * value).mean().unwrap();
            let noise = 0.03f64.powi(2) * function.dot(&function);
            assert!((spread + noise - 1.0).abs() < 1e-3, "{spread} and {noise}");
        }
    }

    #[test]
    fn an_output_far_below_the_noise_costs_no_other_its_place() {
        let (functions, values) = ring_functions(2);
        let outputs = &functions * &ndarray::array![1.0, 1.0, 1.0, 1e-6];
        let (first, second) = ring_pairs(&outputs);
        let mut moments = Moments::new(4);
        moments.add(&first.view(), &second.view());
        let ordering = moments.ordering(0.01);
        assert_eq!((ordering.kept(), ordering.dropped), (4, 0));
        for (found, exact) in ordering.eigenvalues.iter().zip(&values).take(3) {
            assert!((found - exact).abs() < 1e-3, "{found}, exactly {exact}");
        }
        assert!(ordering.eigenvalues[3] < 1e-6);
    }

    #[test]
    fn batches_add_up_to_the_whole() {
        let (first, second) = ring_pairs(&ring_functions(3).0);
        let mut parts = Moments::new(first.ncols());
        for (first, second) in first.axis_chunks_iter(Axis(0), 17).zip(second.axis_chunks_iter(Axis(0), 17)) {
            parts.add(&first, &second);
        }
        let whole = solve(&first, &second);
        for (a, b) in parts.ordering(0.0).eigenvalues.iter().zip(&whole.eigenvalues) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn the_functions_of_a_gram_matrix_come_back_from_a_random_mixture() {
        // Of the ring's walk, whose first function is the constant, here one among others; unevenly mixed.
        let gram = Array2::from_shape_fn((STATES, STATES), |(a, b)| ring_step(a, b) / STATES as f64);
        let (functions, values) = ring_functions(2);
        let mut all = Array2::ones((STATES, 5));
        all.slice_mut(s![.., 1..]).assign(&functions);
        let mixed = all.dot(&random_matrix(5, 5, 9)).mapv(|value| value as f32);
        let mut moments = Moments::new(5);
        moments.add_gram(&mixed.view(), &gram.view());
        let ordering = moments.ordering(0.0);
        let exact: Vec<f64> = std::iter::once(1.0).chain(values).collect();
        for (found, exact) in ordering.eigenvalues.iter().zip(&exact) {
            assert!((found - exact).abs() < 1e-5, "eigenvalue {found}, exactly {exact}");
        }
        let ordered = ordering.apply(&mixed.view()).mapv(f64::from);
        assert!(ordered.column(0).iter().all(|value| (value.abs() - 1.0).abs() < 1e-3));
        for j in 0..4 {
            let pair = functions.slice(s![.., j / 2 * 2..j / 2 * 2 + 2]).to_owned();
            assert!(cosine_to_span(ordered.column(j + 1), &pair) > 0.9999);
        }
    }

    #[test]
    fn the_sign_does_not_depend_on_the_order_of_the_views() {
        let (functions, _) = ring_functions(1);
        // Two functions of different eigenvalues, so that nothing but the sign is free.
        let cosines = Array2::from_shape_fn((STATES, 2), |(a, j)| {
            if j == 0 {
                functions[[a, 0]]
            } else {
                (4.0 * PI * a as f64 / STATES as f64).cos() + 0.1 * functions[[a, 0]]
            }
        });
        let (first, second) = ring_pairs(&cosines);
        let (forward, backward) = (solve(&first, &second), solve(&second, &first));
        for (a, b) in forward.transform.iter().zip(&backward.transform) {
            assert!((a - b).abs() < 1e-6);
        }
    }

    #[test]
    fn folding_into_the_last_layer_gives_the_same_features() {
        let hidden = random_matrix(STATES, 5, 6).mapv(|value| value as f32);
        let weight = random_matrix(5, 4, 7).mapv(|value| value as f32);
        let bias = random_matrix(1, 4, 8).row(0).mapv(|value| value as f32);
        let outputs = hidden.dot(&weight) + &bias;
        let ordering = ordering_of_ring(&outputs.mapv(f64::from));

        let (folded_weight, folded_bias) = ordering.fold_into(&weight.view(), &bias.view());
        assert_eq!(folded_weight.dim(), (5, ordering.kept()));
        let folded = hidden.dot(&folded_weight) + &folded_bias;
        let applied = ordering.apply(&outputs.view());
        for (a, b) in folded.iter().zip(&applied) {
            assert!((a - b).abs() < 1e-4, "{a} and {b}");
        }
    }

    #[test]
    fn nothing_to_order_gives_nothing() {
        assert_eq!(Moments::new(0).ordering(0.0).kept(), 0);
        let ordering = Moments::new(3).ordering(0.0);
        assert_eq!((ordering.kept(), ordering.dropped), (0, 3));
    }
}
