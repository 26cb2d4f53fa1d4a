//! Every kernel gives, on every shape, exactly what the definition of `int8.v1` gives.

mod common;

use common::{ModelPlan, Plan, Random, TestModel, output_shape, packed_bytes, room};
use eigenlet_runtime::Model;
use eigenlet_shared::description::{Raw, Window};
use proptest::prelude::*;

/// Runs random samples through the runtime and the oracle.
fn check(plan: &ModelPlan) {
    let test = TestModel::new(plan);
    let model = Model::parse(&test.blob).unwrap();
    let mut arena = room(0x55, model.arena_bytes());
    assert_eq!(model.arena_bytes(), test.arena, "the reader finds what the planner laid out: {plan:?}");
    let mut random = Random(!plan.seed);
    let length = test.input_len();
    // The lowest and the highest values make the largest sums.
    let extremes = [vec![0; length], vec![255; length]];
    for sample in (0..3).map(|_| random.bytes(length)).chain(extremes) {
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

/// Residual connections that fit whatever an image has become.
#[derive(Clone, Copy, Debug)]
enum Block {
    /// Two convolutions, and what went in.
    Identity,
    /// Two convolutions, the first with that stride and those channels; and a convolution of what went in, with padding or of
    /// single pixels.
    Projection(u8, u16, bool),
    /// A depthwise convolution, and what went in.
    Depthwise,
    /// Three dense layers, the last one's output and the first one's.
    Dense(u16),
    /// An earlier tensor of the same size, if there still is one.
    Earlier(usize),
}

fn block() -> impl Strategy<Value = Block> {
    prop_oneof![
        Just(Block::Identity),
        (1u8..3, 1u16..6, any::<bool>())
            .prop_map(|(stride, outputs, padded)| Block::Projection(stride, outputs, padded)),
        Just(Block::Depthwise),
        (1u16..9).prop_map(Block::Dense),
        (0usize..8).prop_map(Block::Earlier),
    ]
}

/// The layers of blocks one after another.
fn residual(input: [u16; 3], blocks: &[Block]) -> Vec<Plan> {
    let same = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
    let mut layers = Vec::new();
    // Of each tensor, its shape, and the one that lies where it lay.
    let mut tensors = vec![(input.map(usize::from), 0)];
    let mut push = |layers: &mut Vec<Plan>, layer: Plan| {
        let (shape, place) = tensors[tensors.len() - 1];
        let number = tensors.len();
        tensors.push(match layer {
            Plan::Recall(tensor) => tensors[tensor],
            Plan::Add(_) => (shape, place),
            _ => (output_shape(shape, &layer), number),
        });
        if let Plan::Add(_) = layer {
            // What lay there no longer does.
            tensors[..number].iter_mut().filter(|tensor| tensor.1 == place).for_each(|tensor| tensor.1 = usize::MAX);
        }
        layers.push(layer);
        tensors.clone()
    };
    let mut known = push(&mut layers, Plan::Conv2d(3, same));
    for block in blocks {
        let start = known.len() - 1;
        let ([_, _, channels], place) = known[start];
        let channels = channels as u16;
        let plans = match *block {
            Block::Identity => vec![Plan::Conv2d(channels, same), Plan::Conv2d(channels, same), Plan::Add(start)],
            Block::Projection(stride, outputs, padded) => {
                let first = Window { stride: [stride; 2], ..same };
                let pixel = Window { kernel: [1, 1], stride: [stride; 2], padding: [0; 4] };
                let shortcut = if padded { first } else { pixel };
                vec![
                    Plan::Conv2d(outputs, first),
                    Plan::Conv2d(outputs, same),
                    Plan::Recall(start),
                    Plan::Conv2d(outputs, shortcut),
                    Plan::Add(start + 2),
                ]
            }
            Block::Depthwise => vec![Plan::DepthwiseConv2d(same), Plan::Add(start)],
            Block::Dense(outputs) => {
                vec![Plan::Dense(outputs), Plan::Dense(5), Plan::Dense(outputs), Plan::Add(start + 1)]
            }
            Block::Earlier(number) => {
                let alive = |other: &usize| {
                    let (shape, other) = known[*other];
                    shape == known[start].0 && other != place && other != usize::MAX
                };
                let others: Vec<usize> = (0..start).filter(alive).collect();
                if others.is_empty() { vec![] } else { vec![Plan::Add(others[number % others.len()])] }
            }
        };
        if layers.len() + plans.len() > 64 {
            break;
        }
        for plan in plans {
            known = push(&mut layers, plan);
        }
    }
    layers
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn residual_connections_are_their_definition(
        height in 1u16..8, width in 1u16..8, channels in 1u16..4,
        blocks in prop::collection::vec(block(), 1..6), seed: u64,
    ) {
        let input = [height, width, channels];
        let layers = residual(input, &blocks);
        prop_assume!(layers.iter().any(|layer| matches!(layer, Plan::Add(_))));
        check(&ModelPlan { layers, rows: 4, ..one_layer(input, Plan::Dense(1), seed) });
    }
}

#[test]
fn sixty_four_layers_are_their_definition() {
    let layers = residual([5, 5, 2], &[Block::Projection(1, 3, true); 40]);
    assert!((60..=64).contains(&layers.len()), "{} layers", layers.len());
    let more = [layers, vec![Plan::Dense(9); 64]].concat()[..64].to_vec();
    check(&ModelPlan { layers: more, ..one_layer([5, 5, 2], Plan::Dense(1), 64) });
}

#[test]
fn the_arena_is_the_largest_sum_of_what_lives_at_the_same_time() {
    let window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
    let pool = Window { kernel: [2, 2], stride: [2, 2], padding: [0; 4] };
    let layers = vec![Plan::Conv2d(8, window), Plan::MaxPool2d(pool), Plan::Dense(32)];
    let plan = ModelPlan { layers, rows: 16, ..one_layer([8, 8, 1], Plan::Dense(1), 1) };
    assert_eq!(output_shape([8, 8, 8], &Plan::MaxPool2d(pool)), [4, 4, 8]);
    let test = TestModel::new(&plan);
    let model = Model::parse(&test.blob).unwrap();
    assert_eq!(model.arena_bytes(), 64 + 72 + 8 * 8 * 8, "the convolution's input, scratch and output");
    assert_eq!(model.macs_for(0), 64 * 9 * 8 + 128 * 32);
    assert_eq!(model.macs_for(4), model.macs_for(0) + 4 * 32);
    assert_eq!(model.macs(), model.macs_for(16));
    let weights = packed_bytes(8, 9) + packed_bytes(32, 128) + packed_bytes(16, 32);
    assert_eq!(weights, 8 * 12 + 128 * 32 + 32 * 16, "nine columns count as twelve");
    assert_eq!(model.weight_bytes(), weights + (4 + 12) * (8 + 32 + 16));

    // A convolution takes its input, its output, six bytes for each weight of a filter, four weights at a time.
    let plan = ModelPlan { layers: vec![Plan::Conv2d(2, window)], ..one_layer([8, 8, 7], Plan::Dense(1), 1) };
    let test = TestModel::new(&plan);
    assert_eq!(Model::parse(&test.blob).unwrap().arena_bytes(), 8 * 8 * 7 + 6 * 64 + 8 * 8 * 2);

    // A dense layer's output may lie where its input does, which is widened to 16 bits first.
    let plan = ModelPlan { layers: vec![Plan::Dense(40), Plan::Dense(60)], ..one_layer([1, 1, 9], Plan::Dense(1), 1) };
    let test = TestModel::new(&plan);
    let first = 2 * 12 + 40;
    let (second, heads) = (2 * 40 + 60, 60 + 2 * 60);
    assert_eq!(Model::parse(&test.blob).unwrap().arena_bytes(), heads);
    assert!(heads > second && second > first);

    let plan = ModelPlan { layers: vec![], rows: 50, ..plan };
    let test = TestModel::new(&ModelPlan { input: [8, 8, 1], ..plan });
    let arena = Model::parse(&test.blob).unwrap().arena_bytes();
    assert_eq!(arena, 64 + 2 * 64 + 50, "the quantised sample, the same widened, and the embedding");
}
