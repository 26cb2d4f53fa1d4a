//! The families against naive loops and closed forms, and what alternation must do.
//!
//! * [`objectives`]: the families that are objectives of this crate, wrapped.

mod objectives;

use burn::module::Param;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor, TensorData};
use nalgebra::{DMatrix, SymmetricEigen};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::autoencoder::AutoencoderSpec;
use super::boltzmann::{BoltzmannSpec, Machines, Visible};
use super::contrastive::ClusterContrastiveSpec;
use super::decoder::DecoderSpec;
use super::variational::{Likelihood, VariationalSpec, divergence};
use super::*;
use crate::network::NetworkSpec;
use crate::objective::contrastive::{ContrastiveSpec, contrastive_loss};

type Tracked = crate::backend::Flex;
type Plain = <Tracked as AutodiffBackend>::InnerBackend;

const ROWS: usize = 7;
const SIZE: usize = 5;
const CODE: usize = 2;

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn tensor<B: Backend, const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Default::default())
}

fn value<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_scalar().elem()
}

/// A network without layers for a specification, all its matrices random.
fn encoder(spec: &ClusterSpecificSpec) -> Encoder<Tracked> {
    let network = NetworkSpec { layers: Vec::new(), projector: 0, dims: 1 };
    let plan = network.plan([1, 1, SIZE], spec.outputs()).unwrap();
    let mut encoder =
        Encoder::new(plan, 1, &Default::default()).with_beside(&spec.beside([1, 1, SIZE]), 1, &Default::default());
    let bias = random(spec.outputs(), 2);
    encoder.parameters.affines[0].bias = Some(Param::from_tensor(tensor(&bias, [bias.len()])));
    for (i, matrix) in encoder.parameters.beside.iter_mut().enumerate() {
        let shape = matrix.val().dims();
        *matrix = Param::from_tensor(tensor(&random(shape[0] * shape[1], 3 + i as u64), shape));
    }
    encoder
}

/// What a family says of random samples about random centres, with what it was computed from.
struct Example {
    losses: Vec<f32>,
    rule: Option<Vec<f32>>,
    batch: Option<f64>,
    /// One view of all samples after the other.
    samples: Vec<f64>,
    centres: Vec<f64>,
    /// Weights `[SIZE][clusters * width]`, biases, then the matrices beside.
    matrices: Vec<Vec<f64>>,
}

fn doubles(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// Every view is the sample.
fn example(spec: &ClusterSpecificSpec) -> Example {
    let family = spec.build_family::<Tracked>();
    // Probabilities, which bits can be as well.
    let samples: Vec<f32> = random(ROWS * SIZE, 20).into_iter().map(|value| 0.5 + value / 2.0).collect();
    example_of(spec, family.as_ref(), samples.repeat(family.views().len()), None)
}

/// `samples` are views, one after the other; they are learned from where it is known whose they are.
fn example_of(
    spec: &ClusterSpecificSpec,
    family: &dyn Family<Tracked>,
    samples: Vec<f32>,
    members: Option<&[u32]>,
) -> Example {
    let encoder = encoder(spec);
    let centres = random(spec.clusters * SIZE, 21);
    let numbers: Vec<u32> = (0..ROWS as u32).collect();
    let known = members
        .map(|ids| Known { samples: &numbers, weights: tensor(&one_hot(ids, spec.clusters), [ROWS, spec.clusters]) });
    let case = Case {
        encoder: &encoder,
        images: tensor(&samples, [samples.len() / SIZE, 1, 1, SIZE]),
        centres: tensor(&centres, [spec.clusters, SIZE]),
        mode: Mode::Evaluate,
        position: None,
        known,
        width: spec.width(),
        separate: false,
    };
    let losses = family.losses(&case, ROWS);
    let affine = &encoder.parameters.affines[0];
    let mut matrices = vec![floats(affine.weight.val()), floats(affine.bias.as_ref().unwrap().val())];
    matrices.extend(encoder.parameters.beside.iter().map(|matrix| floats(matrix.val())));
    Example {
        losses: floats(losses.matrix),
        rule: losses.rule.map(floats),
        batch: losses.batch.map(value),
        samples: doubles(samples),
        centres: doubles(centres),
        matrices: matrices.into_iter().map(doubles).collect(),
    }
}

impl Example {
    fn clusters(&self) -> usize {
        self.centres.len() / SIZE
    }

    fn sample(&self, i: usize) -> &[f64] {
        &self.samples[i * SIZE..][..SIZE]
    }

    fn off_centre(&self, i: usize, j: usize) -> Vec<f64> {
        self.sample(i).iter().zip(&self.centres[j * SIZE..]).map(|(x, c)| x - c).collect()
    }

    /// Sub-model `j`'s outputs.
    fn encode(&self, from: &[f64], j: usize, width: usize) -> Vec<f64> {
        let all = self.clusters() * width;
        let output = |k: usize| {
            let column = j * width + k;
            let sum: f64 = from.iter().enumerate().map(|(i, x)| x * self.matrices[0][i * all + column]).sum();
            sum + self.matrices[1][column]
        };
        (0..width).map(output).collect()
    }

    /// Sub-model `j`'s decoder; `widths` from the code to the sample.
    fn decode(&self, code: &[f64], j: usize, widths: &[usize]) -> Vec<f64> {
        let mut x = code.to_vec();
        for (step, pair) in self.matrices[2..].chunks_exact(2).enumerate() {
            let outputs = widths[step];
            let (weight, bias) = match step {
                0 => (&pair[0][j * x.len() * outputs..], &pair[1][j * outputs..]),
                _ => (&pair[0][..], &pair[1][..]),
            };
            let output =
                |o: usize| bias[o] + x.iter().enumerate().map(|(i, x)| x * weight[i * outputs + o]).sum::<f64>();
            let sums: Vec<f64> = (0..outputs).map(output).collect();
            x = match step + 1 < widths.len() {
                true => sums.into_iter().map(|sum| sum.max(0.0)).collect(),
                false => sums,
            };
        }
        x
    }

    fn check(&self, found: &[f32], naive: impl Fn(usize, usize) -> f64) {
        for i in 0..ROWS {
            for j in 0..self.clusters() {
                let (found, expected) = (f64::from(found[i * self.clusters() + j]), naive(i, j));
                assert!((found - expected).abs() < 1e-5, "sample {i}, sub-model {j}: {found}, naively {expected}");
            }
        }
    }
}

fn square(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// One cluster, which is the plain model, and three.
const CLUSTERS: [usize; 2] = [1, 3];

#[test]
fn autoencoders_lose_what_they_do_not_reconstruct_from_each_centre() {
    for clusters in CLUSTERS {
        for (units, penalty, denoise) in [(vec![], 0.0, false), (vec![4, 3], 0.2, true)] {
            let widths = [&units[..], &[SIZE]].concat();
            let decoder = DecoderSpec { units, maps: Vec::new() };
            let family = FamilySpec::Autoencoder(AutoencoderSpec { decoder, penalty, denoise });
            let example = example(&ClusterSpecificSpec { clusters, code: CODE, family, ..Default::default() });
            example.check(&example.losses, |i, j| {
                let from = example.off_centre(i, j);
                let code = example.encode(&from, j, CODE);
                let missed = differences(&example.decode(&code, j, &widths), &from);
                square(&missed) / SIZE as f64 + penalty * square(&code)
            });
        }
    }
}

#[test]
fn a_noisy_samples_cluster_is_chosen_without_the_clean_one() {
    let family = FamilySpec::Autoencoder(AutoencoderSpec { denoise: true, ..Default::default() });
    let spec = ClusterSpecificSpec { clusters: 3, code: CODE, family, ..Default::default() };
    let encoder = encoder(&spec);
    let (noisy, clean) = (random(ROWS * SIZE, 20), random(ROWS * SIZE, 21));
    let mut objective = ClusterSpecific::<Tracked>::new(spec.clone());
    objective.members = Some(Members::start(&clean, SIZE, spec.clusters, Start::KMeans, CODE, 1).unwrap());
    let images = |first: &[f32], last: &[f32]| tensor(&[first, last].concat(), [2 * ROWS, 1, 1, SIZE]);
    let assign = |first, last| objective.assign(&encoder, images(first, last), None).unwrap();

    let found = assign(&noisy, &clean);
    assert_eq!(found.clusters, assign(&noisy, &noisy).clusters);
    let members = objective.members().unwrap();
    let case = ClusterSpecific::case(&spec, members, &encoder, images(&noisy, &clean), None);
    let matrix = objective.losses(&case).1;
    let rows = || matrix.chunks_exact(spec.clusters).zip(&found.clusters);
    let own: Vec<f32> = rows().map(|(row, &id)| row[id as usize]).collect();
    assert_eq!(found.losses, own);
    assert!(rows().any(|(row, &id)| least(row).0 != id), "the clean samples would choose the same");
}

#[test]
fn variational_losses_are_negative_evidence_bounds() {
    for clusters in CLUSTERS {
        for likelihood in [Likelihood::Bits, Likelihood::Numbers] {
            let own = VariationalSpec {
                decoder: DecoderSpec { units: vec![4], maps: Vec::new() },
                beta: 0.7,
                likelihood,
                deviation: 0.3,
            };
            let family = FamilySpec::Variational(own);
            let example = example(&ClusterSpecificSpec { clusters, code: CODE, family, ..Default::default() });
            example.check(&example.losses, |i, j| {
                let from = example.off_centre(i, j);
                let outputs = example.encode(&from, j, 2 * CODE);
                let (mu, log_variance) = outputs.split_at(CODE);
                let decoded = example.decode(mu, j, &[4, SIZE]);
                let misfit: f64 = match likelihood {
                    Likelihood::Bits => {
                        let bit = |(logit, x): (&f64, &f64)| {
                            let on = 1.0 / (1.0 + (-logit).exp());
                            -x * on.ln() - (1.0 - x) * (1.0 - on).ln()
                        };
                        decoded.iter().zip(example.sample(i)).map(bit).sum()
                    }
                    Likelihood::Numbers => {
                        let constant = (2.0 * std::f64::consts::PI * 0.09).ln() / 2.0;
                        square(&differences(&decoded, &from)) / 0.18 + SIZE as f64 * constant
                    }
                };
                let pairs = mu.iter().zip(log_variance);
                let divergence: f64 = pairs.map(|(mu, v)| (mu * mu + v.exp() - v - 1.0) / 2.0).sum();
                (misfit + 0.7 * divergence) / SIZE as f64
            });
        }
    }
}

#[test]
fn the_divergence_is_that_of_a_monte_carlo_estimate() {
    let (mu, log_variance) = (0.8f64, -0.9f64);
    let found = value(
        divergence::<Tracked>(tensor(&[mu as f32], [1, 1, 1]), tensor(&[log_variance as f32], [1, 1, 1])).reshape([1]),
    );
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let deviation = (log_variance / 2.0).exp();
    let draws = 400_000;
    let log_ratio = |_| {
        let draw: f64 = rand_distr::Distribution::sample(&rand_distr::StandardNormal, &mut rng);
        let z = mu + deviation * draw;
        // ln q(z) - ln p(z)
        -draw * draw / 2.0 - deviation.ln() + z * z / 2.0
    };
    let estimate = (0..draws).map(log_ratio).sum::<f64>() / f64::from(draws);
    assert!((found - estimate).abs() < 0.01, "{found}, estimated {estimate}");
}

#[test]
fn contrastive_losses_are_those_of_the_objective_in_each_sub_models_codes() {
    let loss = ContrastiveSpec { beta: 0.5, ..Default::default() };
    let family = FamilySpec::Contrastive(ClusterContrastiveSpec { loss: loss.clone() });
    let example = example(&ClusterSpecificSpec { clusters: 3, code: CODE, family, ..Default::default() });
    for j in 0..3 {
        // Both views are the sample.
        let codes: Vec<f32> = (0..2 * ROWS)
            .flat_map(|i| example.encode(&example.off_centre(i % ROWS, j), j, CODE))
            .map(|code| code as f32)
            .collect();
        let expected = value(contrastive_loss::<Plain>(tensor(&codes, [2 * ROWS, CODE]), &loss).total);
        let found = (0..ROWS).map(|i| f64::from(example.losses[i * 3 + j])).sum::<f64>() / ROWS as f64;
        assert!((found - expected).abs() < 1e-5, "sub-model {j}: {found}, the objective {expected}");
    }
}

#[test]
fn boltzmann_assignments_compare_reconstructions() {
    for visible in [Visible::Bits, Visible::Numbers] {
        let family = FamilySpec::Boltzmann(BoltzmannSpec { steps: 1, visible, deviation: 0.5 });
        let example = example(&ClusterSpecificSpec { clusters: 3, code: CODE, family, ..Default::default() });
        let on = |x: f64| 1.0 / (1.0 + (-x).exp());
        example.check(example.rule.as_ref().unwrap(), |i, j| {
            let seen: Vec<f64> = match visible {
                Visible::Bits => example.sample(i).to_vec(),
                Visible::Numbers => example.off_centre(i, j).into_iter().map(|x| x / 0.5).collect(),
            };
            let hidden: Vec<f64> = example.encode(&seen, j, CODE).into_iter().map(on).collect();
            let misfit = |v: usize| {
                let weight = |k: usize| example.matrices[0][v * 3 * CODE + j * CODE + k];
                let input: f64 = example.matrices[2][v] + (0..CODE).map(|k| hidden[k] * weight(k)).sum::<f64>();
                match visible {
                    Visible::Bits => -seen[v] * on(input).ln() - (1.0 - seen[v]) * on(-input).ln(),
                    Visible::Numbers => (input - seen[v]).powi(2) / 2.0,
                }
            };
            (0..SIZE).map(misfit).sum::<f64>() / SIZE as f64
        });
    }
}

/// A machine of 4 visible and 3 hidden bits, small enough to enumerate.
struct Small {
    weights: Vec<f32>,
    hidden: Vec<f32>,
    visible: Vec<f32>,
}

impl Small {
    fn new() -> Self {
        let wide = |count, seed| random(count, seed).into_iter().map(|value| 2.0 * value).collect();
        Self { weights: wide(12, 1), hidden: wide(3, 2), visible: wide(4, 3) }
    }

    fn machines<B: Backend>(&self, weights: Tensor<B, 3>) -> Machines<B> {
        Machines {
            weights,
            hidden: tensor(&self.hidden, [1, 1, 3]),
            visible: tensor(&self.visible, [1, 1, 4]),
            kind: Visible::Bits,
        }
    }

    fn all_visible() -> Vec<f32> {
        (0..16).flat_map(|word: u32| (0..4).map(move |bit| (word >> bit & 1) as f32)).collect()
    }

    /// Minus the energy, `a.v + b.h + v W h`.
    fn exponent(&self, v: u32, h: u32, weights: &[f64]) -> f64 {
        let on = |word: u32, bit: usize| f64::from(word >> bit & 1);
        let mut sum: f64 = (0..4).map(|i| f64::from(self.visible[i]) * on(v, i)).sum();
        sum += (0..3).map(|k| f64::from(self.hidden[k]) * on(h, k)).sum::<f64>();
        sum + (0..12).map(|i| weights[i] * on(v, i / 3) * on(h, i % 3)).sum::<f64>()
    }

    /// `ln sum_h exp(-energy)` of every visible word.
    fn log_sums(&self, weights: &[f64]) -> Vec<f64> {
        (0..16).map(|v| (0..8).map(|h| self.exponent(v, h, weights).exp()).sum::<f64>().ln()).collect()
    }
}

#[test]
fn free_energy_is_that_of_enumeration() {
    let small = Small::new();
    let machines = small.machines::<Plain>(tensor(&small.weights, [1, 4, 3]));
    let found = floats(machines.free_energy(tensor(&Small::all_visible(), [1, 16, 4])));
    for (found, log_sum) in found.into_iter().zip(small.log_sums(&doubles(small.weights.clone()))) {
        assert!((f64::from(found) + log_sum).abs() < 1e-5, "{found}, by enumeration {}", -log_sum);
    }
}

/// With an endless chain, the end is a draw of the model: then the loss's slope is that of minus the log-likelihood.
#[test]
fn the_slope_with_an_endless_chain_is_that_of_the_likelihood() {
    let small = Small::new();
    let data = [3, 3, 9, 14];
    let log_likelihood = |weights: &[f64]| {
        let log_sums = small.log_sums(weights);
        let partition = log_sums.iter().map(|sum| sum.exp()).sum::<f64>().ln();
        data.iter().map(|&v: &usize| log_sums[v] - partition).sum::<f64>() / data.len() as f64
    };
    let weights = doubles(small.weights.clone());
    let log_sums = small.log_sums(&weights);
    let partition: f64 = log_sums.iter().map(|sum| sum.exp()).sum();
    let model: Vec<f32> = log_sums.iter().map(|sum| (sum.exp() / partition) as f32).collect();
    let mut seen = [0.0f32; 16];
    data.iter().for_each(|&v| seen[v] += 1.0 / data.len() as f32);

    let tracked = tensor::<Tracked, 3>(&small.weights, [1, 4, 3]).require_grad();
    let energies = small.machines(tracked.clone()).free_energy(tensor(&Small::all_visible(), [1, 16, 4]));
    let balance: Vec<f32> = seen.iter().zip(&model).map(|(seen, model)| seen - model).collect();
    let loss = (energies * tensor(&balance, [1, 16])).sum();
    let slopes = floats(tracked.grad(&loss.backward()).unwrap());
    for (i, slope) in slopes.into_iter().enumerate() {
        let at = |step: f64| {
            let mut moved = weights.clone();
            moved[i] += step;
            -log_likelihood(&moved)
        };
        let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((f64::from(slope) - expected).abs() < 1e-4, "weight {i}: {slope}, numerically {expected}");
    }
}

#[test]
fn long_chains_draw_from_the_model() {
    let small = Small::new();
    let machines = small.machines::<Plain>(tensor(&small.weights, [1, 4, 3]));
    let chains = 20_000;
    let ends = floats(machines.chain(tensor(&vec![0.0; chains * 4], [1, chains, 4]), 50, 1, 0));
    let mut counts = [0.0; 16];
    for end in ends.chunks_exact(4) {
        counts[end.iter().enumerate().map(|(bit, &on)| (on as usize) << bit).sum::<usize>()] += 1.0;
    }
    let log_sums = small.log_sums(&doubles(small.weights.clone()));
    let partition: f64 = log_sums.iter().map(|sum| sum.exp()).sum();
    let statistic: f64 = counts
        .iter()
        .zip(&log_sums)
        .map(|(count, sum)| {
            let expected = chains as f64 * sum.exp() / partition;
            (count - expected).powi(2) / expected
        })
        .sum();
    // The 0.1 % point of chi-squared with 15 degrees of freedom.
    assert!(statistic < 37.7, "chi-squared {statistic}");
}

/// Samples in three groups, and what a batch of all of them is.
struct Groups {
    values: Vec<f32>,
}

impl Source for Groups {
    fn len(&self) -> usize {
        self.values.len() / SIZE
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, SIZE]
    }

    fn view(&self, _: View, _: u64, _: u64, samples: &[u32]) -> Vec<f32> {
        samples.iter().flat_map(|&i| &self.values[i as usize * SIZE..][..SIZE]).copied().collect()
    }
}

impl Groups {
    fn new() -> Self {
        let noise = random(60 * SIZE, 5);
        let values = noise.into_iter().enumerate().map(|(i, noise)| (i / SIZE % 3 * (i % SIZE)) as f32 * 0.3 + noise);
        Self { values: values.collect() }
    }

    /// One step on all samples, after the epoch's preparation.
    fn step(&self, objective: &mut ClusterSpecific<Tracked>, encoder: &Encoder<Tracked>, epoch: u64) -> f64 {
        let all: Vec<u32> = (0..self.len() as u32).collect();
        let position = Position { seed: 1, seen: epoch * self.len() as u64, total: 1000, epoch };
        objective.prepare(encoder, self, position, &Default::default()).unwrap();
        let images =
            tensor(&self.values.repeat(objective.views().len()), [self.len() * objective.views().len(), 1, 1, SIZE]);
        value(objective.loss(encoder, Batch { images, samples: all, position }).total)
    }
}

/// Nothing is learned: what is left is the distance to the centre.
struct Nothing;

impl Family<Tracked> for Nothing {
    fn views(&self) -> &'static [View] {
        &[View::Plain]
    }

    fn losses(&self, case: &Case<Tracked>, n: usize) -> Losses<Tracked> {
        let matrix = Tensor::zeros([n, case.clusters()], &Default::default());
        Losses::of(matrix)
    }
}

#[test]
fn without_codes_the_driver_is_lloyds_algorithm() {
    let start = Start::Seeds;
    let spec = ClusterSpecificSpec { clusters: 3, code: 1, start, pull: 1.0, hold: 0.0, ..Default::default() };
    let (groups, encoder) = (Groups::new(), encoder(&spec));
    let mut objective = ClusterSpecific { family: Box::new(Nothing), ..ClusterSpecific::new(spec) };
    let mut centres: Option<Vec<f64>> = None;
    let mut before = f64::INFINITY;
    for epoch in 0..12 {
        let loss = groups.step(&mut objective, &encoder, epoch);
        assert!(loss <= before, "step {epoch}: {loss} after {before}");
        before = loss;
        let members = objective.members().unwrap();
        if let Some(centres) = centres {
            for (i, sample) in groups.values.chunks_exact(SIZE).enumerate() {
                let distance = |j: u32| -> f64 {
                    let centre = &centres[j as usize * SIZE..][..SIZE];
                    sample.iter().zip(centre).map(|(x, c)| (f64::from(*x) - c).powi(2)).sum()
                };
                let nearest = (0..3).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap();
                assert_eq!(members.of(i as u32), nearest, "step {epoch}, sample {i}");
            }
        }
        centres = Some(doubles(members.centres()));
    }
}

/// Each sub-model is set to its cluster's exact principal components after every assignment.
#[test]
fn the_objective_never_rises_with_exact_steps() {
    let start = Start::Seeds;
    let spec = ClusterSpecificSpec { clusters: 3, code: CODE, start, hold: 0.0, ..Default::default() };
    let (groups, mut encoder) = (Groups::new(), encoder(&spec));
    let mut objective = ClusterSpecific::new(spec);
    let mut before = f64::INFINITY;
    for epoch in 0..12 {
        let loss = groups.step(&mut objective, &encoder, epoch);
        // The first network was no exact step.
        assert!(epoch < 2 || loss <= before + 1e-6, "step {epoch}: {loss} after {before}");
        before = loss;
        let members = objective.members().unwrap();
        let (mut weight, mut decoder) = (vec![0.0; SIZE * 3 * CODE], Vec::new());
        for j in 0..3 {
            let centre = &members.centres()[j * SIZE..][..SIZE];
            let mut covariance = DMatrix::<f64>::zeros(SIZE, SIZE);
            for (_, row) in
                groups.values.chunks_exact(SIZE).enumerate().filter(|(i, _)| members.of(*i as u32) == j as u32)
            {
                let from = nalgebra::DVector::from_fn(SIZE, |axis, _| f64::from(row[axis] - centre[axis]));
                covariance += &from * from.transpose();
            }
            let eigen = SymmetricEigen::new(covariance);
            let mut order: Vec<usize> = (0..SIZE).collect();
            order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
            for k in 0..CODE {
                for axis in 0..SIZE {
                    let component = eigen.eigenvectors[(axis, order[k])] as f32;
                    weight[axis * 3 * CODE + j * CODE + k] = component;
                    decoder.push(component);
                }
            }
        }
        encoder.parameters.affines[0].weight = Param::from_tensor(tensor(&weight, [SIZE, 3 * CODE]));
        encoder.parameters.affines[0].bias = Some(Param::from_tensor(tensor(&[0.0; 3 * CODE], [3 * CODE])));
        encoder.parameters.beside[0] = Param::from_tensor(tensor(&decoder, [3 * CODE, SIZE]));
        encoder.parameters.beside[1] = Param::from_tensor(tensor(&[0.0; 3 * SIZE], [3, SIZE]));
    }
}

#[test]
fn clusters_of_other_data_are_refused() {
    let spec = ClusterSpecificSpec { clusters: 3, code: 1, ..Default::default() };
    let (groups, encoder) = (Groups::new(), encoder(&spec));
    let mut objective = ClusterSpecific::new(spec);
    groups.step(&mut objective, &encoder, 0);
    let fewer = Groups { values: groups.values[SIZE..].to_vec() };
    let position = Position { seed: 1, seen: 60, total: 1000, epoch: 1 };
    let error = objective.prepare(&encoder, &fewer, position, &Default::default()).unwrap_err().to_string();
    assert_eq!(error, "checkpoint: clusters of other data: expected clusters of 59 training samples, found 60");
}

#[test]
fn soft_assignments_are_a_softmax_that_hardens() {
    let spec =
        ClusterSpecificSpec { clusters: 2, assign: Assign::Soft, temperature: 0.5, hold: 0.0, ..Default::default() };
    let objective = ClusterSpecific::<Tracked>::new(spec);
    let rule = [1.0, 2.0, 4.0, 3.0];
    let at = |seen| objective.weights(&rule, &[0, 1], &[0, 0], Position { seed: 1, seen, total: 100, epoch: 0 });
    // The mean least loss is 2: at the start a difference of 1 is one unit.
    let expected = 1.0 / (1.0 + (-1.0f32).exp());
    let start = at(0);
    assert!((start[0] - expected).abs() < 1e-6 && (start[3] - expected).abs() < 1e-6, "{start:?}");
    assert_eq!(at(100), [1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let message = |spec: ClusterSpecificSpec| spec.check().unwrap_err().to_string();
    let base = ClusterSpecificSpec::default;
    assert!(message(ClusterSpecificSpec { clusters: 0, ..base() }).starts_with("objective.clusters: "));
    assert!(message(ClusterSpecificSpec { code: 0, ..base() }).starts_with("objective.code: "));
    assert!(message(ClusterSpecificSpec { pull: f64::NAN, ..base() }).starts_with("objective.pull: "));
    assert!(base().fits(9, 9).unwrap_err().to_string().contains("more clusters than samples"));
    let plan = |dims, outputs| NetworkSpec { layers: Vec::new(), projector: 0, dims }.plan([1, 1, 4], outputs).unwrap();
    let error = base().fits_plan(&plan(1, 40)).unwrap_err().to_string();
    assert!(error.starts_with("objective.code: ") && error.ends_with("found 4"), "{error}");
    let separate = ClusterSpecificSpec { code: 1, separate: true, ..base() };
    assert!(separate.fits_plan(&plan(1, 10)).unwrap_err().to_string().starts_with("network: "));
}
