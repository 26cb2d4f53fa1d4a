//! How much the outputs say about the input, in nats, from a batch of logits.
//!
//! Clusters, with `p = softmax(logits)` and the batch mean `p̄`:
//!
//! ```text
//! I(X; Y) = H(Y) - H(Y | X),   H(Y) = H(p̄),   H(Y | X) = E[H(p)],   KL(p̄ || uniform) = log K - H(Y)
//! ```
//!
//! Bits, with `p_m = sigmoid(logit_m)`: the same sums for each bit alone, less what pairs of bits say twice:
//!
//! ```text
//! I(X; Y_1..Y_M) ~ sum_m I(X; Y_m) - sum_{m < m'} I(Y_m; Y_m')
//! ```
//!
//! which is exact for one and two bits (Hu et al. 2017, section 3.3). Their released code subtracts every pair twice.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, log_softmax, sigmoid};
use burn::tensor::backend::Backend;

/// What a batch's cluster logits say.
pub struct ClusterTerms<B: Backend> {
    /// `p̄`, `[clusters]`.
    pub mean: Tensor<B, 1>,
    /// `H(Y | X)`, one number.
    pub conditional: Tensor<B, 1>,
    /// `H(Y)`, one number.
    pub marginal: Tensor<B, 1>,
}

/// The terms of logits `[n, clusters]`.
pub fn cluster_terms<B: Backend>(logits: Tensor<B, 2>) -> ClusterTerms<B> {
    let [n, clusters] = logits.dims();
    let log = log_softmax(logits, 1);
    let probabilities = log.clone().exp();
    let conditional = (probabilities.clone() * log).sum() / -(n as f64);
    let mean = probabilities.mean_dim(0).reshape([clusters]);
    let marginal = -x_log_x(mean.clone()).sum();
    ClusterTerms { mean, conditional, marginal }
}

/// `KL(p || q)` of probabilities, `q` given by its logarithms; one number.
pub fn divergence_from<B: Backend>(p: Tensor<B, 1>, log_q: Tensor<B, 1>) -> Tensor<B, 1> {
    (x_log_x(p.clone()) - p * log_q).sum()
}

/// What a batch's bit logits say.
pub struct BitTerms<B: Backend> {
    /// `sum_m H(Y_m | X)`, one number.
    pub conditional: Tensor<B, 1>,
    /// `sum_m H(Y_m)`, one number.
    pub marginal: Tensor<B, 1>,
    /// `sum_{m < m'} I(Y_m; Y_m')`, one number.
    pub pairs: Tensor<B, 1>,
}

/// The terms of logits `[n, bits]`.
pub fn bit_terms<B: Backend>(logits: Tensor<B, 2>) -> BitTerms<B> {
    let [n, bits] = logits.dims();
    let surprise = |logits: Tensor<B, 2>| (sigmoid(logits.clone()) * log_sigmoid(logits)).sum() / -(n as f64);
    let conditional = surprise(logits.clone()) + surprise(-logits.clone());

    let on = sigmoid(logits);
    let mean = on.clone().mean_dim(0);
    let entropy = -x_log_x(mean.clone()) - x_log_x(1.0 - mean.clone());
    let marginal = entropy.clone().sum();

    // The joint distribution of every pair at once, [bits, bits] for each of the four outcomes.
    let (row, column) = (mean.clone().reshape([bits, 1]), mean);
    let both = on.clone().transpose().matmul(on) / n as f64;
    let first = row.clone() - both.clone();
    let second = column.clone() - both.clone();
    let neither = 1.0 - row - column + both.clone();
    let joint = -(x_log_x(both) + x_log_x(first) + x_log_x(second) + x_log_x(neither));
    let shared = entropy.clone().reshape([bits, 1]) + entropy - joint;
    BitTerms { conditional, marginal, pairs: shared.triu(1).sum() }
}

/// Lowest number that a logarithm is taken of. Differences of probabilities may also come out below zero by rounding.
const LOWEST: f64 = 1e-30;

/// `x log x`, 0 at 0, with a finite slope.
fn x_log_x<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let x = x.clamp_min(LOWEST);
    x.clone() * x.log()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{ElementConversion, TensorData};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    type Plain = burn::backend::Flex;
    type Tracked = crate::backend::Flex;

    const ROWS: usize = 8;

    fn random(columns: usize, size: f64, seed: u64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..ROWS * columns).map(|_| size * rng.random_range(-1.0..1.0)).collect()
    }

    fn tensor<B: Backend>(values: &[f64], columns: usize) -> Tensor<B, 2> {
        let rows = values.len() / columns;
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows, columns]), &Default::default())
    }

    fn value<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
        tensor.into_scalar().elem()
    }

    fn entropy(p: &[f64]) -> f64 {
        p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum()
    }

    fn column_means(rows: &[Vec<f64>]) -> Vec<f64> {
        (0..rows[0].len()).map(|k| rows.iter().map(|row| row[k]).sum::<f64>() / rows.len() as f64).collect()
    }

    /// `H(Y | X)` and `H(Y)` of a distribution for each row.
    fn entropies(rows: &[Vec<f64>]) -> (f64, f64) {
        (rows.iter().map(|row| entropy(row)).sum::<f64>() / rows.len() as f64, entropy(&column_means(rows)))
    }

    fn softmax(logits: &[f64]) -> Vec<f64> {
        let largest = logits.iter().fold(f64::MIN, |a, &b| a.max(b));
        let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        logits.iter().map(|logit| (logit - largest).exp() / sum).collect()
    }

    fn on(logit: f64) -> f64 {
        1.0 / (1.0 + (-logit).exp())
    }

    /// The distribution over all words of a row's chosen bits.
    fn words(logits: &[f64], chosen: &[usize]) -> Vec<f64> {
        let bit =
            |word: usize, place: usize| on(logits[chosen[place]] * if word >> place & 1 == 1 { 1.0 } else { -1.0 });
        (0..1 << chosen.len()).map(|word| (0..chosen.len()).map(|place| bit(word, place)).product()).collect()
    }

    /// Entropies of the words of chosen bits, by brute force.
    fn word_entropies(logits: &[f64], bits: usize, chosen: &[usize]) -> (f64, f64) {
        entropies(&logits.chunks(bits).map(|row| words(row, chosen)).collect::<Vec<_>>())
    }

    /// Conditional, marginal and pair terms, by brute force over single bits and pairs.
    fn naive_bits(logits: &[f64], bits: usize) -> [f64; 3] {
        let single: Vec<(f64, f64)> = (0..bits).map(|m| word_entropies(logits, bits, &[m])).collect();
        let mut pairs = 0.0;
        for a in 0..bits {
            for b in 0..a {
                pairs += single[a].1 + single[b].1 - word_entropies(logits, bits, &[a, b]).1;
            }
        }
        [single.iter().map(|s| s.0).sum(), single.iter().map(|s| s.1).sum(), pairs]
    }

    /// `H(Y) - H(Y | X)` of whole words.
    fn exact(logits: &[f64], bits: usize) -> f64 {
        let (conditional, marginal) = word_entropies(logits, bits, &(0..bits).collect::<Vec<_>>());
        marginal - conditional
    }

    fn approximate(logits: &[f64], bits: usize, pair_weight: f64) -> f64 {
        let terms = bit_terms::<Plain>(tensor(logits, bits));
        value(terms.marginal) - value(terms.conditional) - pair_weight * value(terms.pairs)
    }

    #[test]
    fn cluster_terms_are_the_entropies() {
        let logits = random(5, 3.0, 1);
        let terms = cluster_terms::<Plain>(tensor(&logits, 5));
        let rows: Vec<Vec<f64>> = logits.chunks(5).map(softmax).collect();
        let (conditional, marginal) = entropies(&rows);
        assert!((value(terms.conditional) - conditional).abs() < 1e-6);
        assert!((value(terms.marginal) - marginal).abs() < 1e-6);
        let mean: Vec<f64> = terms.mean.into_data().iter::<f64>().collect();
        assert!(mean.iter().zip(column_means(&rows)).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn certain_balanced_clusters_say_log_k_and_constant_ones_nothing() {
        let certain: Vec<f64> = (0..ROWS * 4).map(|i| if i % 4 == i / 4 % 4 { 80.0 } else { -80.0 }).collect();
        let constant = [0.3, -1.0, 2.0, 0.0].repeat(ROWS);
        for (logits, expected) in [(certain, 4.0f64.ln()), (constant, 0.0)] {
            let terms = cluster_terms::<Plain>(tensor(&logits, 4));
            assert!((value(terms.marginal) - value(terms.conditional) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn divergence_from_the_uniform_prior_is_log_k_less_the_entropy() {
        let terms = cluster_terms::<Plain>(tensor(&random(5, 3.0, 2), 5));
        let log_prior = Tensor::full([5], -5.0f64.ln(), &Default::default());
        let found = value(divergence_from(terms.mean, log_prior));
        assert!((found - (5.0f64.ln() - value(terms.marginal))).abs() < 1e-6);
    }

    #[test]
    fn divergence_from_a_prior_is_the_formula() {
        let (p, q) = ([0.5f32, 0.25, 0.25, 0.0], [0.1f64, 0.2, 0.3, 0.4]);
        let log_q = Tensor::<Plain, 1>::from_data(q.map(|q| q.ln() as f32), &Default::default());
        let found = value(divergence_from(Tensor::from_data(p, &Default::default()), log_q));
        let expected: f64 =
            p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(&p, q)| f64::from(p) * (f64::from(p) / q).ln()).sum();
        assert!((found - expected).abs() < 1e-6, "{found}, naively {expected}");
    }

    #[test]
    fn bit_terms_are_those_of_brute_force() {
        for bits in [1, 2, 3, 6] {
            let logits = random(bits, 3.0, 3);
            let terms = bit_terms::<Plain>(tensor(&logits, bits));
            let found = [terms.conditional, terms.marginal, terms.pairs].map(value);
            let expected = naive_bits(&logits, bits);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{bits}: {found:?} {expected:?}");
        }
    }

    #[test]
    fn for_one_bit_and_two_counting_each_pair_once_is_exact_and_twice_is_not() {
        let one = random(1, 3.0, 4);
        assert!((approximate(&one, 1, 1.0) - exact(&one, 1)).abs() < 1e-6);
        let two = random(2, 3.0, 4);
        assert!((approximate(&two, 2, 1.0) - exact(&two, 2)).abs() < 1e-6);
        assert!((approximate(&two, 2, 2.0) - exact(&two, 2)).abs() > 1e-3);
    }

    #[test]
    fn for_more_bits_counting_each_pair_once_is_close() {
        for bits in [3, 4] {
            let logits = random(bits, 1.0, 5);
            let [once, twice, exact] =
                [approximate(&logits, bits, 1.0), approximate(&logits, bits, 2.0), exact(&logits, bits)];
            assert!((once - exact).abs() < 0.01 * exact, "{bits}: {once}, exactly {exact}");
            assert!((once - exact).abs() < (twice - exact).abs(), "{bits}: {once}, {twice}, exactly {exact}");
        }
    }

    #[test]
    fn a_copied_bit_says_nothing_new_and_an_independent_one_does() {
        let bits = |second: fn(usize) -> usize| -> Vec<f64> {
            (0..ROWS).flat_map(|row| [row % 2, second(row) % 2].map(|bit| 160.0 * bit as f64 - 80.0)).collect()
        };
        let (copied, independent) = (bits(|row| row), bits(|row| row / 2));
        let bit = 2.0f64.ln();
        for (logits, pair_weight, expected) in
            [(&copied, 1.0, bit), (&copied, 2.0, 0.0), (&independent, 1.0, 2.0 * bit), (&independent, 2.0, 2.0 * bit)]
        {
            let found = approximate(logits, 2, pair_weight);
            assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
    }

    fn slopes(logits: &[f64], columns: usize, loss: fn(Tensor<Tracked, 2>) -> Tensor<Tracked, 1>) -> Vec<f64> {
        let tracked = tensor::<Tracked>(logits, columns).require_grad();
        let gradients = loss(tracked.clone()).backward();
        tracked.grad(&gradients).expect("the logits are tracked").into_data().iter::<f64>().collect()
    }

    /// Each term with a weight of its own, so that none can hide behind another.
    fn cluster_loss(logits: Tensor<Tracked, 2>) -> Tensor<Tracked, 1> {
        let terms = cluster_terms(logits);
        let log_prior = Tensor::from_data([0.1f32, 0.2, 0.3, 0.4].map(f32::ln), &Default::default());
        terms.conditional + terms.marginal * 0.7 + divergence_from(terms.mean, log_prior) * 0.3
    }

    fn bit_loss(logits: Tensor<Tracked, 2>) -> Tensor<Tracked, 1> {
        let terms = bit_terms(logits);
        terms.conditional + terms.marginal * 0.7 + terms.pairs * 0.3
    }

    fn assert_slopes(logits: &[f64], slopes: Vec<f64>, naive: impl Fn(&[f64]) -> f64) {
        for (i, slope) in slopes.into_iter().enumerate() {
            let at = |step: f64| {
                let mut moved = logits.to_vec();
                moved[i] += step;
                naive(&moved)
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - difference).abs() < 1e-6, "{i}: {slope} and {difference}");
        }
    }

    #[test]
    fn the_gradients_are_those_of_finite_differences() {
        let logits = random(4, 2.0, 6);
        assert_slopes(&logits, slopes(&logits, 4, cluster_loss), |logits| {
            let rows: Vec<Vec<f64>> = logits.chunks(4).map(softmax).collect();
            let (conditional, marginal) = entropies(&rows);
            let kl = |(k, p): (usize, &f64)| p * (p / (0.1 * (k + 1) as f64)).ln();
            conditional + 0.7 * marginal + 0.3 * column_means(&rows).iter().enumerate().map(kl).sum::<f64>()
        });
        assert_slopes(&logits, slopes(&logits, 4, bit_loss), |logits| {
            let [conditional, marginal, pairs] = naive_bits(logits, 4);
            conditional + 0.7 * marginal + 0.3 * pairs
        });
    }

    #[test]
    fn certain_outputs_and_empty_clusters_leave_every_value_and_slope_finite() {
        let logits = [300.0, -300.0, 0.0, -90.0].repeat(ROWS);
        for loss in [cluster_loss, bit_loss] {
            assert!(value(loss(tensor(&logits, 4))).is_finite());
            assert!(slopes(&logits, 4, loss).iter().all(|slope| slope.is_finite()));
        }
    }
}
