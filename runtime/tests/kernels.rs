//! Every kernel gives, on every shape, exactly what the definition of `int8.v1` gives.

mod common;

use common::{ModelPlan, Plan, Random, TestModel, output_shape};
use eigenlet_runtime::Model;
use eigenlet_shared::description::{Raw, Window};
use proptest::prelude::*;

/// Runs random samples through the runtime and the oracle.
fn check(plan: &ModelPlan) {
    let test = TestModel::new(plan);
    let model = Model::parse(&test.blob).unwrap();
    let mut arena = vec![0x55; model.arena_bytes()];
    let mut random = Random(!plan.seed);
    for _ in 0..3 {
        let sample = random.bytes(test.input_len());
        let features = model.run(&mut arena, &sample).unwrap();
        assert_eq!(features.values(), test.outputs(&sample).features, "{plan:?}");
    }
}

fn one_layer(input: [u16; 3], layer: Plan, seed: u64) -> ModelPlan {
    ModelPlan {
        input,
        raw: Raw::U8,
        layers: vec![layer],
        rows: 0,
        hash: None,
        clusters: None,
        experts: 0,
        golden: 0,
        seed,
    }
}

/// An image side, and a kernel, a stride and two paddings that fit it.
fn side() -> impl Strategy<Value = (u16, u8, u8, u8, u8)> {
    (1u8..8, 1u8..6)
        .prop_flat_map(|(size, kernel)| (Just(size), Just(kernel), 1u8..5, 0..kernel, 0..kernel))
        .prop_filter_map("the kernel must fit", |(size, kernel, stride, before, after)| {
            (size + before + after >= kernel).then_some((size.into(), kernel, stride, before, after))
        })
}

/// An image, and a window that fits it.
fn image() -> impl Strategy<Value = ([u16; 3], Window)> {
    (side(), side(), 1u16..6).prop_map(|(down, across, channels)| {
        let window = Window {
            kernel: [down.1, across.1],
            stride: [down.2, across.2],
            padding: [down.3, across.3, down.4, across.4],
        };
        ([down.0, across.0, channels], window)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn dense_is_its_definition(h in 1u16..6, w in 1u16..6, c in 1u16..30, outputs in 1u16..20, seed: u64) {
        check(&one_layer([h, w, c], Plan::Dense(outputs), seed));
    }

    #[test]
    fn conv2d_is_its_definition((input, window) in image(), outputs in 1u16..6, seed: u64) {
        check(&one_layer(input, Plan::Conv2d(outputs, window), seed));
    }

    #[test]
    fn depthwise_conv2d_is_its_definition((input, window) in image(), seed: u64) {
        check(&one_layer(input, Plan::DepthwiseConv2d(window), seed));
    }

    #[test]
    fn max_pool2d_is_its_definition((input, window) in image(), seed: u64) {
        check(&one_layer(input, Plan::MaxPool2d(window), seed));
    }

    #[test]
    fn average_pool2d_is_its_definition((input, window) in image(), seed: u64) {
        check(&one_layer(input, Plan::AveragePool2d(window), seed));
    }

    #[test]
    fn layers_one_after_another_are_their_definition(
        (input, window) in image(), outputs in 1u16..6, kinds in prop::collection::vec(0u8..5, 1..6), seed: u64,
    ) {
        // The window that fits the input, then 1x1 and dense layers, which fit whatever is left.
        let small = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4] };
        let mut layers = vec![Plan::Conv2d(outputs, window)];
        layers.extend(kinds.iter().map(|kind| match kind {
            0 => Plan::Dense(7),
            1 => Plan::Conv2d(3, small),
            2 => Plan::DepthwiseConv2d(small),
            3 => Plan::MaxPool2d(small),
            _ => Plan::AveragePool2d(small),
        }));
        check(&ModelPlan { layers, ..one_layer(input, Plan::Dense(1), seed) });
    }

    /// A series is an image of width 1, and a 1-d layer one with a kernel of width 1.
    #[test]
    fn layers_over_a_series_are_their_definition(
        length in 1u16..120, channels in 1u16..7, stages in prop::collection::vec(stage(), 1..5), seed: u64,
    ) {
        let input = [length, 1, channels];
        let mut shape = input.map(usize::from);
        let mut layers = Vec::new();
        for (kind, outputs, [kernel, stride, before, after]) in stages {
            let window = Window { kernel: [kernel, 1], stride: [stride, 1], padding: [before, 0, after, 0] };
            if shape[0] + usize::from(before + after) < kernel.into() {
                break;
            }
            let layer = match kind {
                0 => Plan::DepthwiseConv2d(window),
                1 => Plan::MaxPool2d(window),
                2 => Plan::AveragePool2d(window),
                _ => Plan::Conv2d(outputs, window),
            };
            shape = output_shape(shape, &layer);
            layers.push(layer);
        }
        prop_assert_eq!(shape[1], 1);
        layers.push(Plan::Dense(5));
        check(&ModelPlan { layers, ..one_layer(input, Plan::Dense(1), seed) });
    }
}

/// A layer over a series: its kind, its channels, its kernel, stride and paddings.
fn stage() -> impl Strategy<Value = (u8, u16, [u8; 4])> {
    let window = (1u8..12).prop_flat_map(|kernel| (Just(kernel), 1u8..5, 0..kernel, 0..kernel));
    (0u8..6, 1u16..7, window.prop_map(|(kernel, stride, before, after)| [kernel, stride, before, after]))
}

#[test]
fn the_arena_is_the_largest_sum_of_an_input_and_an_output() {
    let window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
    let pool = Window { kernel: [2, 2], stride: [2, 2], padding: [0; 4] };
    let layers = vec![Plan::Conv2d(8, window), Plan::MaxPool2d(pool), Plan::Dense(32)];
    let plan = ModelPlan { layers, rows: 16, ..one_layer([8, 8, 1], Plan::Dense(1), 1) };
    assert_eq!(output_shape([8, 8, 8], &Plan::MaxPool2d(pool)), [4, 4, 8]);
    let test = TestModel::new(&plan);
    let model = Model::parse(&test.blob).unwrap();
    assert_eq!(model.arena_bytes(), 8 * 8 * 8 + 4 * 4 * 8, "the pooling layer's");
    assert_eq!(model.macs_for(0), 64 * 9 * 8 + 128 * 32);
    assert_eq!(model.macs_for(4), model.macs_for(0) + 4 * 32);
    assert_eq!(model.macs(), model.macs_for(16));
    assert_eq!(model.weight_bytes(), (9 * 8 + 128 * 32 + 32 * 16) + 12 * (8 + 32 + 16));

    let plan = ModelPlan { layers: vec![], rows: 50, ..plan };
    let test = TestModel::new(&plan);
    assert_eq!(Model::parse(&test.blob).unwrap().arena_bytes(), 64 + 50, "the quantised sample and the embedding");
}
