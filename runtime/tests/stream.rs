//! A sample that slides over a longer series gives what each of its positions gives as a sample, to the bit, and costs less.

mod common;

use common::{ClusterPlan, HashPlan, ModelPlan, Plan, Random, TestModel, output_shape};
use eigenlet_runtime::{Dims, EncoderError, Model, Raw, Stream};
use eigenlet_shared::description::Window;
use proptest::prelude::*;

/// Room for every model here.
const BYTES: usize = 64 * 1024;

fn plan(input: [u16; 3], layers: Vec<Plan>, seed: u64) -> ModelPlan {
    ModelPlan {
        input,
        raw: Raw::U8,
        layers,
        rows: 6,
        hash: Some(HashPlan::Thresholds(9)),
        clusters: Some(ClusterPlan::Prototypes { count: 3, dims: 5 }),
        experts: 0,
        golden: 0,
        seed,
    }
}

/// A layer over lines: its kind, its channels, and a kernel, stride and paddings in both directions.
fn stage() -> impl Strategy<Value = (u8, u16, [[u8; 4]; 2])> {
    let side = || (1u8..6).prop_flat_map(|kernel| (Just(kernel), 1u8..4, 0..kernel, 0..kernel));
    let sides = (side(), side()).prop_map(|(down, across)| [down, across].map(|(k, s, b, a)| [k, s, b, a]));
    (0u8..5, 1u16..5, sides)
}

/// As many of the stages as fit, one after another, then a dense layer.
fn layers(input: [u16; 3], stages: &[(u8, u16, [[u8; 4]; 2])]) -> Vec<Plan> {
    let mut shape = input.map(usize::from);
    let mut layers = Vec::new();
    for (kind, outputs, [down, across]) in stages {
        let window = Window {
            kernel: [down[0], across[0]],
            stride: [down[1], across[1]],
            padding: [down[2], across[2], down[3], across[3]],
        };
        let fits = |size: usize, side: &[u8; 4]| size + usize::from(side[2] + side[3]) >= side[0].into();
        if !fits(shape[0], down) || !fits(shape[1], across) {
            break;
        }
        let layer = match kind {
            0 => Plan::DepthwiseConv2d(window),
            1 => Plan::MaxPool2d(window),
            2 => Plan::AveragePool2d(window),
            _ => Plan::Conv2d(*outputs, window),
        };
        shape = output_shape(shape, &layer);
        layers.push(layer);
    }
    layers.push(Plan::Dense(7));
    layers
}

/// Pushes parts of a series, and compares every output with that of the window as a sample.
fn check(test: &TestModel, hops: &[usize], random: &mut Random) -> Result<(), TestCaseError> {
    let model = Model::parse(&test.blob).unwrap();
    let shape = model.input();
    let line = shape.width * shape.channels;
    let mut stream = Stream::<BYTES>::new(&model).unwrap();
    let mut arena = vec![0; model.arena_bytes()];
    let mut series = Vec::new();
    for hop in hops {
        let new = random.bytes(hop * line);
        series.extend_from_slice(&new);
        let found = stream.push(&new).unwrap();
        if series.len() < model.input_len() {
            prop_assert!(found.is_none());
            continue;
        }
        let mut found = found.unwrap();
        let sample = &series[series.len() - model.input_len()..];
        let mut expected = model.run(&mut arena, sample).unwrap();
        prop_assert_eq!(found.values(), expected.values());
        prop_assert_eq!(found.embed(Dims::new(6)).unwrap(), expected.embed(Dims::new(6)).unwrap());
        prop_assert_eq!(found.hash::<2>().unwrap(), expected.hash::<2>().unwrap());
        prop_assert_eq!(found.assign().unwrap(), expected.assign().unwrap());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_position_gives_what_it_gives_as_a_sample(
        height in 1u16..24, width in 1u16..5, channels in 1u16..4,
        stages in prop::collection::vec(stage(), 1..5), hops in prop::collection::vec(0usize..10, 1..12), seed: u64,
    ) {
        let input = [height, width, channels];
        let layers = layers(input, &stages);
        // The first layer slides, or there is no stream.
        prop_assume!(layers.len() > 1);
        let test = TestModel::new(&plan(input, layers, seed));
        let hops: Vec<usize> = hops.iter().map(|hop| hop % (usize::from(height) + 1)).collect();
        check(&test, &hops, &mut Random(!seed))?;
    }
}

/// Kernels of five with padding that keeps the length, then halves.
fn series() -> TestModel {
    let window = |stride| Window { kernel: [5, 1], stride: [stride, 1], padding: [2, 0, 2, 0] };
    let layers =
        vec![Plan::Conv2d(8, window(1)), Plan::Conv2d(8, window(2)), Plan::DepthwiseConv2d(window(1)), Plan::Dense(7)];
    TestModel::new(&plan([64, 1, 3], layers, 5))
}

#[test]
fn a_hop_costs_its_new_lines_and_the_few_that_padding_reaches() {
    let test = series();
    let model = Model::parse(&test.blob).unwrap();
    let line = [8 * 15, 8 * 40, 8 * 5];
    let dense = 32 * 8 * 7;
    assert_eq!(model.macs_of_lines(64), 64 * line[0] + 32 * (line[1] + line[2]) + dense);
    // Four new lines: the first layer's outputs change in the last four, and in two more at either end, which see padding.
    let first = 4 + 2 + 2;
    let hop = model.macs_of_lines(4);
    assert!(hop < model.macs_of_lines(64) / 3, "{hop}");
    assert!(hop >= first * line[0] + dense, "{hop}");
    // An odd hop leaves no line of the layer that takes every second one.
    assert!(model.macs_of_lines(3) > hop);
    check(&test, &[64, 4, 4, 3, 4, 64, 1, 0, 2], &mut Random(3)).unwrap();
}

#[test]
fn lines_that_are_new_are_all_that_is_computed() {
    let test = series();
    let model = Model::parse(&test.blob).unwrap();
    let mut stream = Stream::<BYTES>::new(&model).unwrap();
    let mut random = Random(4);
    stream.push(&random.bytes(64 * 3)).unwrap().unwrap();
    // After `clear`, nothing is known and the same lines again give the same.
    let lines = random.bytes(64 * 3);
    let found = stream.push(&lines).unwrap().unwrap().values().to_vec();
    stream.clear();
    assert!(stream.push(&lines[..63 * 3]).unwrap().is_none());
    assert_eq!(stream.push(&lines[63 * 3..]).unwrap().unwrap().values(), found);
}

#[test]
fn what_cannot_slide_is_refused() {
    let dense = TestModel::new(&plan([8, 1, 2], vec![Plan::Dense(5)], 1));
    let dense = Model::parse(&dense.blob).unwrap();
    assert_eq!(dense.stream_bytes(), 0);
    assert_eq!(Stream::<BYTES>::new(&dense).unwrap_err(), EncoderError::NoWindow);

    let indices = TestModel::new(&ModelPlan { raw: Raw::Indices, ..plan([8, 1, 2], vec![Plan::Dense(5)], 1) });
    let indices = Model::parse(&indices.blob).unwrap();
    let form = EncoderError::Form { expected: Raw::Indices, found: Raw::U8 };
    assert_eq!(Stream::<BYTES>::new(&indices).unwrap_err(), form);

    let test = series();
    let model = Model::parse(&test.blob).unwrap();
    let expected = model.stream_bytes();
    assert_eq!(expected, 64 * 3 + 64 * 8 + 32 * 8 + 32 * 8 + model.arena_bytes());
    assert_eq!(Stream::<100>::new(&model).unwrap_err(), EncoderError::Arena { expected, found: 100 });
    let mut stream = Stream::<BYTES>::new(&model).unwrap();
    for found in [1, 64 * 3 + 3, 5] {
        let wrong = EncoderError::Sample { expected: 192, found };
        assert_eq!(stream.push(&vec![0; found]).map(|_| ()).unwrap_err(), wrong);
    }
}
