//! Self-augmented training: outputs must not change when a sample is moved a little.
//!
//! ```text
//! R = E[ KL( sg p(y | x) || p(y | T(x)) ) ]
//! ```
//!
//! `T` moves a sample by its radius: in a random direction (RPT), or in the one that changes the outputs most (VAT,
//! Miyato et al. 2015, found by power iteration on the input gradient), or it is any other perturbation. The clean side
//! is a constant (`sg`).

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use rayon::prelude::*;

/// What a row of logits says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// One of `K` clusters: softmax.
    Categorical,
    /// `M` independent bits: sigmoids.
    Bits,
}

/// `KL(sg clean || perturbed)` in nats, summed over bits, mean over rows, of logits `[n, outputs]`.
pub fn divergence<B: Backend>(
    distribution: Distribution,
    clean: Tensor<B, 2>,
    perturbed: Tensor<B, 2>,
) -> Tensor<B, 1> {
    let clean = clean.detach();
    let rows = clean.dims()[0];
    let expected_change =
        |clean: Tensor<B, 2>, perturbed: Tensor<B, 2>| (clean.clone().exp() * (clean - perturbed)).sum();
    let sum = match distribution {
        Distribution::Categorical => expected_change(log_softmax(clean, 1), log_softmax(perturbed, 1)),
        Distribution::Bits => {
            expected_change(log_sigmoid(clean.clone()), log_sigmoid(perturbed.clone()))
                + expected_change(log_sigmoid(-clean), log_sigmoid(-perturbed))
        }
    };
    sum / rows as f64
}

/// Images `[n, h, w, c]` moved by `lengths` (`[n]`) along unit `directions`.
pub fn moved<B: Backend>(images: Tensor<B, 4>, directions: Tensor<B, 4>, lengths: Tensor<B, 1>) -> Tensor<B, 4> {
    let n = lengths.dims()[0];
    images + directions * lengths.reshape([n, 1, 1, 1])
}

/// Directions uniform on the sphere, one of `size` values for each sample. They depend on the arguments alone, so that a
/// resumed run draws what it would have drawn.
pub fn random_directions(seed: u64, seen: u64, samples: &[u32], size: usize) -> Vec<f32> {
    let direction = |&sample: &u32| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&seen.to_le_bytes());
        key[16..20].copy_from_slice(&sample.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        let draws: Vec<f64> = (0..size).map(|_| StandardNormal.sample(&mut rng)).collect();
        let length = draws.iter().map(|draw| draw * draw).sum::<f64>().sqrt();
        draws.into_iter().map(move |draw| (draw / length) as f32)
    };
    samples.par_iter().flat_map_iter(direction).collect()
}

/// [`random_directions`] shaped like `images`.
pub fn random_like<B: Backend>(images: &Tensor<B, 4>, seed: u64, seen: u64, samples: &[u32]) -> Tensor<B, 4> {
    let shape = images.dims();
    let values = random_directions(seed, seen, samples, shape[1..].iter().product());
    Tensor::from_data(TensorData::new(values, shape), &images.device())
}

/// How an adversarial direction is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerIteration {
    /// Length of the step at whose end the gradient is taken, in network units.
    pub xi: f64,
    /// Iterations.
    pub count: usize,
}

/// The direction in which each image changes `logits` most, as a constant: `count` times, the gradient of the divergence
/// at `images + xi * direction`, scaled to unit length. A sample whose gradient is zero keeps its direction.
///
/// The gradients of the network's parameters are not wanted: `logits` should hold them constant.
pub fn adversarial<B: AutodiffBackend>(
    logits: impl Fn(Tensor<B, 4>) -> Tensor<B, 2>,
    distribution: Distribution,
    images: Tensor<B, 4>,
    clean: Tensor<B, 2>,
    directions: Tensor<B, 4>,
    search: PowerIteration,
) -> Tensor<B, 4> {
    let (images, clean) = (images.detach(), clean.detach());
    let mut directions = directions.inner();
    for _ in 0..search.count {
        // The gradient over the step is that over the direction, times xi.
        let step = Tensor::from_inner(directions.clone() * search.xi).require_grad();
        let change = divergence(distribution, clean.clone(), logits(images.clone() + step.clone()));
        let gradient = step.grad(&change.backward()).expect("the step is tracked");
        directions = unit_or(gradient, directions);
    }
    Tensor::from_inner(directions)
}

/// Largest slope that is as good as none: a sum of squares of smaller ones is not what it should be.
const FLAT: f64 = 1e-30;

/// Each row's `vector` at unit length; `otherwise` where it is zero.
fn unit_or<B: Backend>(vectors: Tensor<B, 4>, otherwise: Tensor<B, 4>) -> Tensor<B, 4> {
    let shape = vectors.dims();
    let size = shape[1..].iter().product();
    let rows = vectors.reshape([shape[0], size]);
    let largest = rows.clone().abs().max_dim(1);
    let flat = largest.clone().lower_elem(FLAT);
    // Near the uniform distribution slopes are so small that their squares vanish: scaled first, then normalised.
    let scaled = rows / largest.clamp_min(FLAT);
    let length = scaled.clone().square().sum_dim(1).sqrt();
    let unit = scaled / length.clamp_min(0.5);
    unit.mask_where(flat.expand([shape[0], size]), otherwise.reshape([shape[0], size])).reshape(shape)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::ElementConversion;
    use rand::RngExt;

    use super::*;

    type Plain = burn::backend::Flex;
    type Tracked = crate::backend::Flex;

    const ROWS: usize = 3;
    const OUTPUTS: usize = 4;
    const INPUTS: usize = 6;

    fn random(count: usize, size: f64, seed: u64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| size * rng.random_range(-1.0..1.0)).collect()
    }

    fn tensor<B: Backend, const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<B, D> {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }

    fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    fn value<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
        tensor.into_scalar().elem()
    }

    fn softmax(logits: &[f64]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / sum).collect()
    }

    fn naive(distribution: Distribution, clean: &[f64], perturbed: &[f64]) -> f64 {
        let kl = |p: f64, q: f64| p * (p / q).ln();
        let on = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        let row = |(clean, perturbed): (&[f64], &[f64])| -> f64 {
            match distribution {
                Distribution::Categorical => {
                    softmax(clean).into_iter().zip(softmax(perturbed)).map(|(p, q)| kl(p, q)).sum()
                }
                Distribution::Bits => {
                    let bit = |(&a, &b): (&f64, &f64)| kl(on(a), on(b)) + kl(on(-a), on(-b));
                    clean.iter().zip(perturbed).map(bit).sum()
                }
            }
        };
        clean.chunks(OUTPUTS).zip(perturbed.chunks(OUTPUTS)).map(row).sum::<f64>() / ROWS as f64
    }

    const BOTH: [Distribution; 2] = [Distribution::Categorical, Distribution::Bits];

    #[test]
    fn the_divergence_and_its_gradient_are_those_of_the_formula() {
        let (clean, perturbed) = (random(ROWS * OUTPUTS, 2.0, 1), random(ROWS * OUTPUTS, 2.0, 2));
        for distribution in BOTH {
            let shape = [ROWS, OUTPUTS];
            let tracked = tensor::<Tracked, 2>(&perturbed, shape).require_grad();
            let loss = divergence(distribution, tensor(&clean, shape), tracked.clone());
            let expected = naive(distribution, &clean, &perturbed);
            let found = value(loss.clone());
            assert!((found - expected).abs() < 1e-6, "{distribution:?}: {found}, naively {expected}");
            let slopes = values(tracked.grad(&loss.backward()).unwrap());
            for (i, slope) in slopes.into_iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = perturbed.clone();
                    moved[i] += step;
                    naive(distribution, &clean, &moved)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((slope - difference).abs() < 1e-6, "{distribution:?}, {i}: {slope} and {difference}");
            }
        }
    }

    #[test]
    fn the_clean_side_is_a_constant() {
        for distribution in BOTH {
            let shape = [ROWS, OUTPUTS];
            let clean = tensor::<Tracked, 2>(&random(ROWS * OUTPUTS, 2.0, 1), shape).require_grad();
            let perturbed = tensor::<Tracked, 2>(&random(ROWS * OUTPUTS, 2.0, 2), shape).require_grad();
            let gradients = divergence(distribution, clean.clone(), perturbed.clone()).backward();
            assert!(clean.grad(&gradients).is_none(), "{distribution:?}");
            assert!(perturbed.grad(&gradients).is_some(), "{distribution:?}");
        }
    }

    #[test]
    fn unchanged_outputs_cost_nothing_and_certain_ones_stay_finite() {
        for distribution in BOTH {
            let certain = tensor::<Tracked, 2>(&[200.0, -200.0, 0.0, -90.0].repeat(ROWS), [ROWS, OUTPUTS]);
            assert_eq!(value(divergence(distribution, certain.clone(), certain.clone())), 0.0, "{distribution:?}");
            let other = (-certain.clone()).detach().require_grad();
            let loss = divergence(distribution, certain, other.clone());
            assert!(value(loss.clone()) > 100.0 && value(loss.clone()).is_finite(), "{distribution:?}");
            assert!(values(other.grad(&loss.backward()).unwrap()).iter().all(|slope| slope.is_finite()));
        }
    }

    /// `softmax(W x)` or sigmoids of it, for samples of `[1, 1, INPUTS]`.
    struct Linear {
        weights: Vec<f64>,
    }

    impl Linear {
        fn logits<B: Backend>(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
            let n = images.dims()[0];
            images.reshape([n, INPUTS]).matmul(tensor(&self.weights, [INPUTS, OUTPUTS]))
        }

        /// Hessian of the divergence at `x`, times `v`: `W (diag p - p p^T) W^T v`, without `p p^T` for bits.
        fn hessian(&self, distribution: Distribution, x: &[f64], v: &[f64]) -> Vec<f64> {
            let project =
                |v: &[f64], k: usize| -> f64 { (0..INPUTS).map(|i| v[i] * self.weights[i * OUTPUTS + k]).sum() };
            let logits: Vec<f64> = (0..OUTPUTS).map(|k| project(x, k)).collect();
            let change: Vec<f64> = (0..OUTPUTS).map(|k| project(v, k)).collect();
            let curved: Vec<f64> = match distribution {
                Distribution::Categorical => {
                    let p = softmax(&logits);
                    let mean: f64 = (0..OUTPUTS).map(|k| p[k] * change[k]).sum();
                    (0..OUTPUTS).map(|k| p[k] * (change[k] - mean)).collect()
                }
                Distribution::Bits => {
                    let slope = |logit: f64| 1.0 / (2.0 + logit.exp() + (-logit).exp());
                    (0..OUTPUTS).map(|k| slope(logits[k]) * change[k]).collect()
                }
            };
            (0..INPUTS).map(|i| (0..OUTPUTS).map(|k| self.weights[i * OUTPUTS + k] * curved[k]).sum()).collect()
        }

        /// Its largest eigenvalue, with the vector.
        fn steepest(&self, distribution: Distribution, x: &[f64]) -> (f64, Vec<f64>) {
            let (mut value, mut vector) = (0.0, random(INPUTS, 1.0, 77));
            for _ in 0..5000 {
                let next = self.hessian(distribution, x, &vector);
                value = next.iter().map(|v| v * v).sum::<f64>().sqrt();
                vector = next.into_iter().map(|v| v / value).collect();
            }
            (value, vector)
        }

        fn search(&self, distribution: Distribution, x: &[f64], search: PowerIteration) -> Tensor<Tracked, 4> {
            let images: Tensor<Tracked, 4> = tensor(x, [x.len() / INPUTS, 1, 1, INPUTS]);
            let samples: Vec<u32> = (0..images.dims()[0] as u32).collect();
            let random = random_like(&images, 1, 0, &samples);
            let clean = self.logits(images.clone());
            adversarial(|images| self.logits(images), distribution, images, clean, random, search)
        }
    }

    #[test]
    fn power_iteration_finds_the_leading_eigenvector_of_the_hessian() {
        let network = Linear { weights: random(INPUTS * OUTPUTS, 1.0, 3) };
        for distribution in BOTH {
            let x = random(ROWS * INPUTS, 0.5, 4);
            let found = values(network.search(distribution, &x, PowerIteration { xi: 0.03, count: 40 }));
            for (x, found) in x.chunks(INPUTS).zip(found.chunks(INPUTS)) {
                let (eigenvalue, vector) = network.steepest(distribution, x);
                let cosine: f64 = found.iter().zip(&vector).map(|(a, b)| a * b).sum();
                assert!(cosine.abs() > 0.999, "{distribution:?}: cosine {cosine}");

                // A short way along it costs half the eigenvalue times the square of the length.
                let images: Tensor<Plain, 4> = tensor(x, [1, 1, 1, INPUTS]);
                let length = 0.1;
                let there = moved(
                    images.clone(),
                    tensor(found, [1, 1, 1, INPUTS]),
                    Tensor::from_data([length as f32], &Default::default()),
                );
                let cost = value(divergence(distribution, network.logits(images), network.logits(there)));
                let expected = length * length * eigenvalue / 2.0;
                assert!((cost / expected - 1.0).abs() < 0.1, "{distribution:?}: {cost}, expected {expected}");
            }
        }
    }

    #[test]
    fn an_adversarial_direction_costs_more_than_a_random_one() {
        let network = Linear { weights: random(INPUTS * OUTPUTS, 1.0, 3) };
        let n = 50;
        let images: Tensor<Tracked, 4> = tensor(&random(n * INPUTS, 0.5, 5), [n, 1, 1, INPUTS]);
        let samples: Vec<u32> = (0..n as u32).collect();
        for distribution in BOTH {
            let clean = network.logits(images.clone());
            let cost = |directions: Tensor<Tracked, 4>| {
                let there = moved(images.clone(), directions, Tensor::full([n], 0.3, &Default::default()));
                value(divergence(distribution, clean.clone(), network.logits(there)))
            };
            let random = random_like(&images, 1, 0, &samples);
            let after = |count: usize| {
                let search = PowerIteration { xi: 0.1, count };
                let logits = |images| network.logits(images);
                cost(adversarial(logits, distribution, images.clone(), clean.clone(), random.clone(), search))
            };
            let costs = [cost(random.clone()), after(1), after(20)];
            assert!(costs[0] < costs[1] && costs[1] <= costs[2] * 1.001, "{distribution:?}: {costs:?}");
        }
    }

    #[test]
    fn where_nothing_changes_the_random_direction_stays() {
        let network = Linear { weights: vec![0.0; INPUTS * OUTPUTS] };
        let x = random(ROWS * INPUTS, 0.5, 4);
        let found = values(network.search(Distribution::Categorical, &x, PowerIteration { xi: 1.0, count: 2 }));
        let expected: Vec<f64> = random_directions(1, 0, &[0, 1, 2], INPUTS).into_iter().map(f64::from).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn slopes_whose_squares_vanish_still_give_a_unit_direction() {
        let slopes = tensor::<Plain, 4>(&[3e-25, 4e-25, 0.0, 0.0, 3e25, -4e25], [3, 1, 1, 2]);
        let otherwise = tensor::<Plain, 4>(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0], [3, 1, 1, 2]);
        let unit = values(unit_or(slopes, otherwise));
        for (found, expected) in unit.iter().zip([0.6, 0.8, 0.0, 1.0, 0.6, -0.8]) {
            assert!((found - expected).abs() < 1e-6, "{unit:?}");
        }
    }

    #[test]
    fn random_directions_are_uniform_on_the_sphere() {
        let samples: Vec<u32> = (0..4000).collect();
        let directions = random_directions(1, 0, &samples, 3);
        for direction in directions.chunks(3) {
            let square: f32 = direction.iter().map(|value| value * value).sum();
            assert!((square - 1.0).abs() < 1e-6);
        }
        for axis in 0..3 {
            let column = || directions.iter().skip(axis).step_by(3).map(|&value| f64::from(value));
            let (mean, square) = (column().sum::<f64>() / 4000.0, column().map(|v| v * v).sum::<f64>() / 4000.0);
            // A coordinate of the sphere is uniform in [-1, 1]: deviations 0.009 and 0.005 of these means.
            assert!(mean.abs() < 0.04 && (square - 1.0 / 3.0).abs() < 0.02, "axis {axis}: {mean}, {square}");
        }
    }

    #[test]
    fn a_random_direction_depends_on_run_moment_and_sample_and_on_nothing_else() {
        let alone = random_directions(1, 500, &[7], 5);
        assert_eq!(random_directions(1, 500, &[3, 7, 9], 5)[5..10], alone);
        for other in
            [random_directions(2, 500, &[7], 5), random_directions(1, 750, &[7], 5), random_directions(1, 500, &[8], 5)]
        {
            assert_ne!(other, alone);
        }
    }
}
