//! Balanced labels by optimal transport: the Sinkhorn-Knopp iteration (Cuturi 2013) as Asano et al. 2020 use it (SeLa).
//!
//! Of all couplings `Q [n, k]` of samples and classes whose rows sum to `1/n` and whose columns sum to the classes' shares
//! `r`, the one that solves
//!
//! ```text
//! min <Q, -log P> + (1/lambda) KL(Q || r c^T)      c = 1/n
//! ```
//!
//! is `Q_iy = beta_i * P_iy^lambda * alpha_y`. It is found in the log domain: `P^25` leaves the range of any float. Rows
//! are made exact last, so that every sample has its whole mass and the classes' shares carry what is left of the error.
//! At its solution the coupling costs at most `log k / lambda` more than the best one.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

/// Rows one task works on. Fixed, so that the order of additions does not depend on the number of threads.
const CHUNK: usize = 512;

/// How far `log alpha` may move before the kernel is made anew.
const FAR: f64 = 30.0;

/// What is smaller counts as zero, and a class whose mass is, is summed in the log domain.
const VANISHING: f64 = 1e-200;

/// Log probabilities that differ by no more are equal: what rounding leaves of `f32` logits of some tens.
const TIE: f64 = 1e-5;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sinkhorn {
    /// Inverse temperature, above 0: the larger, the closer to the best assignment, and the more iterations.
    pub lambda: f64,
    /// Residual at which to stop.
    pub tolerance: f64,
    /// Iterations after which to stop all the same.
    pub iterations: usize,
}

impl Sinkhorn {
    /// Couples samples with log probabilities `[n, k]` (finite; a constant added to a row changes nothing) to classes with
    /// `shares` (`k` long, positive, of sum 1). The iteration starts from the `log_alpha` (`k` long, finite) of a similar
    /// coupling, or from zeros.
    ///
    /// # Panics
    /// When there are no samples, or not as many shares or `log_alpha` as classes.
    pub fn couple<'a>(
        &self,
        log_probabilities: ArrayView2<'a, f32>,
        shares: &[f64],
        log_alpha: &[f64],
    ) -> Coupling<'a> {
        let (n, classes) = log_probabilities.dim();
        assert!(n > 0 && classes > 0, "samples and classes");
        assert_eq!([shares.len(), log_alpha.len()], [classes; 2], "one share and one log alpha for each class");
        let mut coupling = Coupling {
            log_probabilities,
            lambda: self.lambda,
            log_shares: shares.iter().map(|share| share.ln()).collect(),
            log_alpha: log_alpha.to_vec(),
            residual: f64::INFINITY,
            iterations: 0,
        };
        let mut kernel = Kernel::of(&coupling);
        loop {
            if kernel.is_far_from(&coupling.log_alpha) {
                kernel = Kernel::of(&coupling);
            }
            let masses = kernel.masses(&coupling.log_alpha);
            let log_masses = match masses.iter().all(|&mass| mass > VANISHING) {
                true => masses.into_iter().map(f64::ln).collect(),
                false => coupling.log_masses(),
            };
            // By how much each class has too little.
            let missing: Vec<f64> =
                coupling.log_shares.iter().zip(log_masses).map(|(share, mass)| share - mass).collect();
            coupling.residual = missing.iter().map(|missing| (-missing).exp_m1().abs()).fold(0.0, f64::max);
            if coupling.residual <= self.tolerance || coupling.iterations == self.iterations {
                break;
            }
            coupling.log_alpha.iter_mut().zip(missing).for_each(|(log_alpha, missing)| *log_alpha += missing);
            coupling.iterations += 1;
        }
        let mean = coupling.log_alpha.iter().sum::<f64>() / classes as f64;
        coupling.log_alpha.iter_mut().for_each(|log_alpha| *log_alpha -= mean);
        coupling
    }
}

/// A coupling of samples and classes. Rows are exact.
#[derive(Clone, Debug)]
pub struct Coupling<'a> {
    log_probabilities: ArrayView2<'a, f32>,
    lambda: f64,
    log_shares: Vec<f64>,
    /// `log alpha_y` for every class, of mean 0. `log P + log alpha / lambda` is largest where the coupling is.
    pub log_alpha: Vec<f64>,
    /// The largest relative violation of a class's share: `max_y |sum_i Q_iy / r_y - 1|`.
    pub residual: f64,
    /// Iterations done.
    pub iterations: usize,
}

impl Coupling<'_> {
    /// `q(y | i) = n Q_iy`, `[n, k]`; rows sum to 1.
    pub fn soft(&self) -> Array2<f32> {
        self.conditional().mapv(|value| value as f32)
    }

    /// The class of every sample: the likeliest of its row. Two degenerate cases would otherwise send all samples to one
    /// class: a row that equals the classes' shares says nothing about its sample (the outputs are constant), which keeps its
    /// `previous` class; and of classes that only rounding tells apart, a sample keeps its previous one, or else takes the one
    /// that its number points to.
    ///
    /// # Panics
    /// When there are not as many previous classes as samples.
    pub fn labels(&self, previous: &[u32]) -> Vec<u32> {
        self.labels_of(self.log_probabilities, previous)
    }

    /// What the rule of [`Coupling::labels`] says of other samples with log probabilities `[n, k]`.
    ///
    /// # Panics
    /// When there are not as many previous classes as samples.
    pub fn labels_of(&self, log_probabilities: ArrayView2<f32>, previous: &[u32]) -> Vec<u32> {
        assert_eq!(previous.len(), log_probabilities.nrows(), "one previous class for each sample");
        let previous: Vec<&[u32]> = previous.chunks(CHUNK).collect();
        let parts: Vec<Vec<u32>> = log_probabilities
            .axis_chunks_iter(Axis(0), CHUNK)
            .into_par_iter()
            .zip(previous)
            .enumerate()
            .map(|(chunk, (logs, previous))| {
                let mut row = vec![0.0; logs.ncols()];
                let rows = logs.rows().into_iter().zip(previous).enumerate();
                rows.map(|(i, (logs, &previous))| {
                    self.scores(logs, &mut row);
                    self.label(chunk * CHUNK + i, previous, &row)
                })
                .collect()
            })
            .collect();
        parts.concat()
    }

    fn label(&self, sample: usize, previous: u32, scores: &[f64]) -> u32 {
        let rounding = TIE * self.lambda;
        let told: Vec<f64> = scores.iter().zip(&self.log_shares).map(|(score, share)| score - share).collect();
        let best = largest(scores);
        let tied = |y: &usize| best - scores[*y] <= rounding;
        if largest(&told) - smallest(&told) <= rounding || tied(&(previous as usize)) {
            return previous;
        }
        let tied: Vec<usize> = (0..scores.len()).filter(tied).collect();
        tied[sample % tied.len()] as u32
    }

    /// `n Q`, `[n, k]`.
    fn conditional(&self) -> Array2<f64> {
        let mut conditional = Array2::zeros(self.log_probabilities.dim());
        let rows = conditional.axis_chunks_iter_mut(Axis(0), CHUNK).into_par_iter();
        let chunks = self.log_probabilities.axis_chunks_iter(Axis(0), CHUNK).into_par_iter();
        rows.zip(chunks).for_each(|(mut rows, logs)| {
            for (row, logs) in rows.rows_mut().into_iter().zip(logs.rows()) {
                let row = row.into_slice().expect("fresh rows are contiguous");
                self.scores(logs, row);
                normalise(row);
            }
        });
        conditional
    }

    /// `log sum_i Q_iy` of every class.
    fn log_masses(&self) -> Vec<f64> {
        let (n, classes) = self.log_probabilities.dim();
        let log_sum = |logs: ArrayView1<f32>| {
            let mut row = vec![0.0; classes];
            self.scores(logs, &mut row);
            normalise(&mut row)
        };
        let log_sums: Vec<f64> = (0..n).into_par_iter().map(|i| log_sum(self.log_probabilities.row(i))).collect();
        let log_mass = |y: usize| {
            let terms = self.log_probabilities.column(y).into_iter().zip(&log_sums);
            let mut terms: Vec<f64> =
                terms.map(|(&log, sum)| self.lambda * f64::from(log) + self.log_alpha[y] - sum).collect();
            normalise(&mut terms) - (n as f64).ln()
        };
        (0..classes).into_par_iter().map(log_mass).collect()
    }

    /// `log Q` of one row, but for a constant.
    fn scores(&self, logs: ArrayView1<f32>, scores: &mut [f64]) {
        for ((score, &log), alpha) in scores.iter_mut().zip(logs).zip(&self.log_alpha) {
            *score = self.lambda * f64::from(log) + alpha;
        }
    }
}

/// `n Q` at one `log alpha`, from which that at another, nearby one follows without the exponential of every entry.
struct Kernel {
    values: Array2<f64>,
    log_alpha: Array1<f64>,
}

impl Kernel {
    fn of(coupling: &Coupling) -> Self {
        let mut values = coupling.conditional();
        // Arithmetic with numbers that have lost their leading digits is many times slower.
        values.par_mapv_inplace(|value| if value < VANISHING { 0.0 } else { value });
        Self { values, log_alpha: coupling.log_alpha.iter().copied().collect() }
    }

    fn is_far_from(&self, log_alpha: &[f64]) -> bool {
        self.log_alpha.iter().zip(log_alpha).any(|(here, there)| (here - there).abs() > FAR)
    }

    /// `sum_i Q_iy` of every class at another `log alpha`.
    fn masses(&self, log_alpha: &[f64]) -> Vec<f64> {
        let (n, classes) = self.values.dim();
        let scale: Array1<f64> =
            self.log_alpha.iter().zip(log_alpha).map(|(here, there)| (there - here).exp()).collect();
        let parts: Vec<Array1<f64>> = self
            .values
            .axis_chunks_iter(Axis(0), CHUNK)
            .into_par_iter()
            .map(|rows| {
                let mut sums = Array1::zeros(classes);
                for row in rows.rows() {
                    sums.scaled_add(1.0 / row.dot(&scale), &row);
                }
                sums
            })
            .collect();
        let sums = parts.into_iter().fold(Array1::zeros(classes), |a, b| a + b);
        (sums * scale / n as f64).to_vec()
    }
}

/// Turns logarithms into what they are the logarithms of, divided by its sum. Gives the logarithm of that sum.
fn normalise(logs: &mut [f64]) -> f64 {
    let shift = largest(logs);
    logs.iter_mut().for_each(|log| *log = (*log - shift).exp());
    let sum: f64 = logs.iter().sum();
    logs.iter_mut().for_each(|value| *value /= sum);
    shift + sum.ln()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use ndarray::s;
    use pathfinding::kuhn_munkres::kuhn_munkres_min;
    use pathfinding::matrix::Matrix;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    use super::*;

    const N: usize = 60;
    const K: usize = 5;
    const UNIFORM: [f64; K] = [1.0 / K as f64; K];
    const UNEVEN: [f64; K] = [0.4, 0.3, 0.15, 0.1, 0.05];

    /// The log softmax of normal logits of deviation `spread`, `[n, k]`.
    fn problem(n: usize, classes: usize, spread: f32) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let logits = Array2::from_shape_fn((n, classes), |_| spread * rng.sample::<f32, _>(StandardNormal));
        let log_sums: Array1<f32> = logits.rows().into_iter().map(|row| row.mapv(f32::exp).sum().ln()).collect();
        logits - log_sums.insert_axis(Axis(1))
    }

    /// Far enough for the tests of what holds at the solution.
    fn converged(lambda: f64) -> Sinkhorn {
        Sinkhorn { lambda, tolerance: 1e-12, iterations: 100_000 }
    }

    fn cost(soft: &Array2<f32>, log_probabilities: &Array2<f32>) -> f64 {
        let terms = soft.iter().zip(log_probabilities).map(|(&q, &log)| -f64::from(q) * f64::from(log));
        terms.sum::<f64>() / soft.nrows() as f64
    }

    /// The best balanced assignment: each class stands for `n / k` places of an assignment problem.
    fn best_assignment(log_probabilities: &Array2<f32>) -> (Vec<u32>, f64) {
        let (n, classes) = log_probabilities.dim();
        let places = n / classes;
        // The solver's weights are integers.
        let weight = |(i, place): (usize, usize)| (-f64::from(log_probabilities[[i, place / places]]) * 1e9) as i64;
        let (total, chosen) = kuhn_munkres_min(&Matrix::from_fn(n, n, weight));
        (chosen.into_iter().map(|place| (place / places) as u32).collect(), total as f64 / 1e9 / n as f64)
    }

    fn sizes(labels: &[u32], classes: usize) -> Vec<usize> {
        (0..classes).map(|y| labels.iter().filter(|&&label| label as usize == y).count()).collect()
    }

    /// Sinkhorn-Knopp as textbooks write it, without logarithms: `n Q`.
    fn naive(log_probabilities: &Array2<f32>, lambda: f64, shares: &[f64]) -> Array2<f64> {
        let kernel = log_probabilities.mapv(|log| (lambda * f64::from(log)).exp());
        let (n, classes) = kernel.dim();
        let mut beta = vec![1.0; n];
        let mut alpha = vec![1.0; classes];
        for _ in 0..3_000 {
            for y in 0..classes {
                alpha[y] = shares[y] / (0..n).map(|i| kernel[[i, y]] * beta[i]).sum::<f64>();
            }
            for i in 0..n {
                beta[i] = 1.0 / n as f64 / (0..classes).map(|y| kernel[[i, y]] * alpha[y]).sum::<f64>();
            }
        }
        Array2::from_shape_fn((n, classes), |(i, y)| n as f64 * beta[i] * kernel[[i, y]] * alpha[y])
    }

    #[test]
    fn agrees_with_the_naive_iteration() {
        let logs = problem(N, K, 1.0);
        for (lambda, shares) in [(1.0, UNIFORM), (10.0, UNIFORM), (5.0, UNEVEN)] {
            let soft = converged(lambda).couple(logs.view(), &shares, &[0.0; K]).soft();
            let expected = naive(&logs, lambda, &shares);
            for (found, expected) in soft.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "lambda {lambda}: {found}, naively {expected}");
            }
        }
    }

    #[test]
    fn costs_at_least_as_much_as_the_best_assignment_and_at_most_log_k_over_lambda_more() {
        let logs = problem(N, K, 1.0);
        let (_, best) = best_assignment(&logs);
        let gap = |lambda| cost(&converged(lambda).couple(logs.view(), &UNIFORM, &[0.0; K]).soft(), &logs) - best;
        let gaps = [1.0, 5.0, 10.0, 25.0, 50.0].map(|lambda| {
            let gap = gap(lambda);
            assert!((-1e-6..(K as f64).ln() / lambda).contains(&gap), "lambda {lambda}: {gap}");
            gap
        });
        assert!(gaps.is_sorted_by(|a, b| a > b) && gaps[0] > 0.1 && gaps[4] < 0.002, "{gaps:?}");
    }

    #[test]
    fn a_large_lambda_finds_the_best_assignment_and_a_small_one_knows_only_the_shares() {
        let logs = problem(N, K, 1.0);
        let (best, _) = best_assignment(&logs);
        assert_eq!(sizes(&best, K), [N / K; K]);
        assert_eq!(converged(400.0).couple(logs.view(), &UNIFORM, &[0.0; K]).labels(&[0; N]), best);
        for row in converged(1e-6).couple(logs.view(), &UNEVEN, &[0.0; K]).soft().rows() {
            assert!(row.iter().zip(UNEVEN).all(|(&q, share)| (f64::from(q) - share).abs() < 1e-5), "{row}");
        }
    }

    #[test]
    fn rows_are_exact_and_the_residual_is_the_worst_relative_error_of_a_class() {
        let logs = problem(N, K, 2.0);
        for (iterations, shares) in [(0, UNIFORM), (1, UNEVEN), (3, UNEVEN), (100_000, UNIFORM), (100_000, UNEVEN)] {
            let coupling =
                Sinkhorn { lambda: 10.0, tolerance: 1e-3, iterations }.couple(logs.view(), &shares, &[0.0; K]);
            let soft = coupling.soft().mapv(f64::from);
            assert!(soft.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-6));
            let error = |y: usize| (soft.column(y).sum() / N as f64 / shares[y] - 1.0).abs();
            let worst = (0..K).map(error).fold(0.0, f64::max);
            assert!((coupling.residual - worst).abs() < 1e-5 * (1.0 + worst), "{} and {worst}", coupling.residual);
            assert_eq!(coupling.residual <= 1e-3, iterations == 100_000);
            assert!(coupling.iterations <= iterations && coupling.log_alpha.iter().sum::<f64>().abs() < 1e-9);
        }
    }

    /// `log Q - lambda log P = u_y + v_i`, and `u_y` is `log alpha_y`.
    #[test]
    fn differs_from_the_probabilities_power_by_a_row_and_a_column() {
        let logs = problem(N, K, 1.0);
        let coupling = converged(5.0).couple(logs.view(), &UNEVEN, &[0.0; K]);
        let soft = coupling.soft();
        let rest = Array2::from_shape_fn((N, K), |at| f64::from(soft[at]).ln() - 5.0 * f64::from(logs[at]));
        for row in rest.rows() {
            let mean = row.mean().unwrap();
            assert!(row.iter().zip(&coupling.log_alpha).all(|(u, alpha)| (u - mean - alpha).abs() < 1e-4));
        }
    }

    #[test]
    fn the_scale_of_a_samples_probabilities_does_not_matter() {
        let logs = problem(N, K, 1.0);
        // Powers of two, so that nothing is rounded.
        let scaled = logs.mapv(|log| (log * 1024.0).round() / 1024.0);
        let moved = Array2::from_shape_fn((N, K), |(i, y)| scaled[[i, y]] + (i % 7) as f32 * 32.0);
        let [a, b] = [&scaled, &moved].map(|logs| converged(10.0).couple(logs.view(), &UNIFORM, &[0.0; K]).soft());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn exchanged_classes_and_samples_exchange_their_labels() {
        let logs = problem(N, K, 1.0);
        let permuted = logs.slice(s![..;-1, ..;-1]).to_owned();
        let shares: Vec<f64> = UNEVEN.into_iter().rev().collect();
        let [a, b] = [(&logs, &UNEVEN[..]), (&permuted, &shares)].map(|(logs, shares)| {
            let coupling = converged(25.0).couple(logs.view(), shares, &[0.0; K]);
            (coupling.labels(&[0; N]), coupling.log_alpha)
        });
        assert!(a.0.iter().eq(b.0.iter().rev().map(|label| K as u32 - 1 - label).collect::<Vec<_>>().iter()));
        assert!(a.1.iter().zip(b.1.iter().rev()).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn the_labels_are_the_balanced_decision_rule() {
        let logs = problem(N, K, 1.0);
        let coupling = converged(25.0).couple(logs.view(), &UNEVEN, &[0.0; K]);
        let labels = coupling.labels(&[0; N]);
        for (row, label) in logs.rows().into_iter().zip(&labels) {
            let score = |y: usize| f64::from(row[y]) + coupling.log_alpha[y] / 25.0;
            assert!((0..K).all(|y| score(y) <= score(*label as usize)));
        }
        let sizes = sizes(&labels, K);
        assert!(
            sizes.iter().zip(UNEVEN).all(|(&size, share)| (size as f64 - share * N as f64).abs() <= 1.0),
            "{sizes:?}"
        );
    }

    #[test]
    fn probabilities_far_below_any_float_still_get_their_share() {
        // All of a class's; or all but too few.
        for penalty in [|_: usize| 90.0, |i: usize| if i < N / K / 2 { 8.5 } else { 10.9 }] {
            let mut logs = problem(N, K, 1.0);
            for (i, log) in logs.column_mut(2).iter_mut().enumerate() {
                *log = *log * 0.1 - penalty(i);
            }
            let coupling = converged(50.0).couple(logs.view(), &UNIFORM, &[0.0; K]);
            assert!(coupling.residual <= 1e-12, "{}", coupling.residual);
            assert_eq!(sizes(&coupling.labels(&[0; N]), K), [N / K; K]);
        }
    }

    #[test]
    fn a_start_near_the_solution_saves_iterations_and_leads_to_it_too() {
        let logs = problem(N, K, 2.0);
        let from = |log_alpha: &[f64]| converged(10.0).couple(logs.view(), &UNIFORM, log_alpha);
        let cold = from(&[0.0; K]);
        let near: Vec<f64> = cold.log_alpha.iter().map(|value| (value * 1e6).round() / 1e6).collect();
        let (warm, far) = (from(&near), from(&[100.0, -200.0, 0.0, 50.0, 900.0]));
        assert!(warm.iterations < cold.iterations, "{} and {}", warm.iterations, cold.iterations);
        for (other, cold) in [&warm, &far].into_iter().flat_map(|other| other.log_alpha.iter().zip(&cold.log_alpha)) {
            assert!((other - cold).abs() < 1e-6, "{other} and {cold}");
        }
    }

    #[test]
    fn constant_outputs_change_no_label() {
        let previous: Vec<u32> = (0..N as u32).map(|i| i * 7 % K as u32).collect();
        for row in [[-1.609_438; K], [-0.1, -2.0, -3.0, -40.0, -1.0]] {
            let logs = Array2::from_shape_fn((N, K), |(i, y)| row[y] + if i > 50 { 1e-6 } else { 0.0 });
            for shares in [UNIFORM, UNEVEN] {
                let coupling = converged(25.0).couple(logs.view(), &shares, &[0.0; K]);
                assert_eq!(coupling.labels(&previous), previous, "{row:?} {shares:?}");
            }
        }
    }

    #[test]
    fn tied_classes_keep_their_samples_or_share_them() {
        // The first class is out of the question; the other two are alike.
        let logs = Array2::from_shape_fn((N, 3), |(i, y)| if y == 0 { -9.0 - (i % 3) as f32 } else { -0.69 });
        let coupling =
            Sinkhorn { lambda: 1.0, tolerance: 1.0, iterations: 0 }.couple(logs.view(), &[1.0 / 3.0; 3], &[0.0; 3]);
        let kept: Vec<u32> = (0..N as u32).map(|i| 1 + i / 13 % 2).collect();
        assert_eq!(coupling.labels(&kept), kept);
        assert_eq!(sizes(&coupling.labels(&[0; N]), 3), [0, N / 2, N / 2]);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let logs = problem(3 * CHUNK + 7, K, 2.0);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let coupling = Sinkhorn { lambda: 25.0, tolerance: 1e-4, iterations: 2000 }.couple(
                    logs.view(),
                    &UNEVEN,
                    &[0.0; K],
                );
                (coupling.labels(&vec![0; logs.nrows()]), coupling.soft(), coupling.log_alpha, coupling.iterations)
            })
        };
        assert_eq!(run(1), run(3));
    }
}
