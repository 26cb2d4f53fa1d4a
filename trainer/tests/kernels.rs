//! The eigenfunctions of kernels with known spectra, learned from batches by `eigenlet spectrum`'s own training.
//!
//! Samples stand at the quantiles of their distribution, so that their Gram matrix has the eigenvalues of the operator itself.

use std::f64::consts::{PI, TAU};

use eigenlet_trainer::backend::BackendName;
use eigenlet_trainer::graph::Graph;
use eigenlet_trainer::graph::generate::{BlockModel, cycle, path};
use eigenlet_trainer::kernel::KernelSpec;
use eigenlet_trainer::run::spectrum::{Answer, Question, answer};
use ndarray::Array2;

fn learned(samples: Array2<f32>, kernel: KernelSpec, count: usize) -> Answer {
    let kernel = kernel.load().expect("nothing to read").expect("a Gram matrix");
    let question = Question { exact: true, ..Question::new(samples, kernel, count) };
    answer(&question, BackendName::Flex).expect("training succeeds")
}

/// The nodes of a graph, of which the network knows nothing but the number.
fn learned_on(graph: Graph, count: usize) -> Answer {
    let nodes = Array2::eye(graph.len());
    answer(&Question { exact: true, ..Question::of_graph(nodes, graph, count) }, BackendName::Flex)
        .expect("training succeeds")
}

/// Learned eigenvalues within 1 % of the operator's, and functions that are the exact ones on the samples.
fn check(found: &Answer, operator: &[f64]) {
    let exact = found.exact.as_ref().expect("asked for");
    let alignment = exact.alignment(&found.functions, 1e-3);
    for (j, expected) in operator.iter().enumerate() {
        let learned = found.learned[j];
        assert!((learned / expected - 1.0).abs() < 0.01, "eigenvalue {j}: {learned}, of the operator {expected}");
        assert!(alignment[j] > 0.99, "function {j}: cosine {}", alignment[j]);
    }
}

fn uniform(n: usize, half: f32) -> Array2<f32> {
    Array2::from_shape_fn((n, 1), |(i, _)| half * ((2 * i + 1) as f32 / n as f32 - 1.0))
}

/// The normal distribution's quantiles, each found by halving an interval of its own integral.
fn normal(n: usize) -> Array2<f32> {
    // Simpson's rule from 0 on: the integrand is smooth.
    let below = |x: f64| {
        let (steps, density) = (400, |t: f64| (-t * t / 2.0).exp() / TAU.sqrt());
        let step = x / f64::from(steps);
        let weight = |i: i32| if i == 0 || i == steps { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
        0.5 + step / 3.0 * (0..=steps).map(|i| weight(i) * density(f64::from(i) * step)).sum::<f64>()
    };
    Array2::from_shape_fn((n, 1), |(i, _)| {
        let (mut low, mut high) = (-8.0, 8.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if below(middle) < (i as f64 + 0.5) / n as f64 { low = middle } else { high = middle }
        }
        low as f32
    })
}

/// `mu_m` is a power of the golden ratio.
#[test]
fn radial_basis_functions_under_a_normal_distribution() {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let operator: Vec<f64> = (0..5).map(|m| golden.powi(2 * m + 1)).collect();
    check(&learned(normal(1000), KernelSpec::Rbf { length: 1.0 }, 5), &operator);
}

#[test]
fn radial_basis_functions_on_an_interval() {
    let operator = [0.521216, 0.302539, 0.125742, 0.038924, 0.009388];
    check(&learned(uniform(1000, 2.0), KernelSpec::Rbf { length: 1.0 }, 5), &operator);
}

#[test]
fn a_polynomial_has_as_many_functions_as_powers() {
    let found = learned(uniform(1000, 1.0), KernelSpec::Polynomial { degree: 4, offset: 1.5 }, 7);
    check(&found, &[6.944134, 5.239353, 0.923980]);
    assert!((found.learned[3] / 0.117790 - 1.0).abs() < 0.05, "{:?}", found.learned);
    assert!(found.learned[5..].iter().all(|value| value.abs() < 1e-3), "{:?}", found.learned);
}

#[test]
fn a_cycle_has_cosines_in_pairs() {
    let operator: Vec<f64> = [0, 1, 1, 2, 2].map(|m| (TAU * f64::from(m) / 100.0).cos()).into();
    check(&learned_on(cycle(100), 5), &operator);
}

#[test]
fn a_path_has_cosines() {
    let operator: Vec<f64> = (0..5).map(|m| (PI * f64::from(m) / 59.0).cos()).collect();
    check(&learned_on(path(60), 5), &operator);
}

/// Of the expected graph; a drawn one differs from it by the square root of its degrees.
#[test]
fn two_communities_are_the_second_function() {
    let (within, between) = (0.4, 0.1);
    let (graph, ..) =
        BlockModel { sizes: vec![200, 200], within, between, seed: 1 }.sample().expect("a graph of 400 nodes");
    let found = learned_on(graph, 2);
    let exact = found.exact.as_ref().expect("asked for");
    check(&found, &exact.eigenvalues);
    let second = (within - between) / (within + between);
    assert!((found.learned[1] / second - 1.0).abs() < 0.05, "{}, of the expected graph {second}", found.learned[1]);
    let side = |node: usize| found.functions[[node, 1]] > 0.0;
    let right = (0..400).filter(|node| (side(*node) == side(0)) == (*node < 200)).count();
    assert_eq!(right, 400, "the signs are the communities");
}

#[test]
fn parts_that_no_edge_joins_have_an_eigenvalue_of_1_each() {
    let (graph, survey, _) =
        BlockModel { sizes: vec![30, 50, 40], within: 0.5, between: 0.0, seed: 2 }.sample().expect("a graph");
    assert_eq!(survey.components, 3);
    let found = learned_on(graph, 4);
    assert!(found.learned[..3].iter().all(|value| (value - 1.0).abs() < 0.01), "{:?}", found.learned);
    let alignment = found.exact.as_ref().expect("asked for").alignment(&found.functions, 1e-3);
    assert!(alignment[..3].iter().all(|cosine| *cosine > 0.99), "{alignment:?}");
    assert!(found.learned[3] < 0.8, "{:?}", found.learned);
}
