//! A sample that is given by the indices of its ones gives what its row of zeros and ones gives.

mod common;

use common::{ClusterPlan, HashPlan, ModelPlan, Plan, Random, TestModel, indices, room};
use eigenlet_runtime::{Dims, Encoder, EncoderError, Model, Raw, Sample};
use eigenlet_shared::description::Window;
use proptest::prelude::*;

fn plan(input: [u16; 3], layers: Vec<Plan>, seed: u64) -> ModelPlan {
    ModelPlan {
        input,
        raw: Raw::Indices,
        layers,
        rows: 5,
        hash: Some(HashPlan::Thresholds(11)),
        clusters: Some(ClusterPlan::Prototypes { count: 3, dims: 4 }),
        experts: 0,
        golden: 3,
        seed,
    }
}

/// Random samples, nothing set, everything set, and one value set at each end.
fn samples(test: &TestModel, random: &mut Random) -> Vec<Vec<u8>> {
    let length = test.input_len();
    let one = |place: usize| (0..length).map(|index| u8::from(index == place)).collect();
    let mut samples: Vec<Vec<u8>> = (0..4).map(|_| test.sample(random)).collect();
    samples.extend([vec![0; length], vec![1; length], one(0), one(length - 1)]);
    samples
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn indices_give_what_the_definition_gives_for_their_row(
        h in 1u16..8, w in 1u16..8, c in 1u16..40, kinds in prop::collection::vec(0u8..5, 0..4), seed: u64,
    ) {
        let small = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4] };
        let mut layers = vec![Plan::Dense(1 + (seed % 20) as u16)];
        layers.extend(kinds.iter().map(|kind| match kind {
            0 => Plan::Dense(7),
            1 => Plan::Conv2d(3, small),
            2 => Plan::DepthwiseConv2d(small),
            3 => Plan::MaxPool2d(small),
            _ => Plan::AveragePool2d(small),
        }));
        let test = TestModel::new(&plan([h, w, c], layers, seed));
        let model = Model::parse(&test.blob).unwrap();
        let mut arena = room(0x55, model.arena_bytes());
        prop_assert_eq!(model.verify(&mut arena), Ok(3));
        let mut random = Random(!seed);
        let mut found = Vec::new();
        let samples = samples(&test, &mut random);
        for sample in &samples {
            let expected = test.outputs(sample);
            let mut features = model.run_sample(&mut arena, Sample::Indices(&indices(sample))).unwrap();
            prop_assert_eq!(features.values(), &expected.features);
            prop_assert_eq!(features.embed(Dims::new(5)).unwrap(), &expected.embedding);
            prop_assert_eq!(features.hash::<2>().unwrap().0, &expected.code(11)[..]);
            prop_assert_eq!(features.assign().unwrap().id, expected.cluster());
            found.push(expected.features);
        }

        // The same weights on bytes, where the bias takes their zero point into account.
        let test = test.of_bytes();
        let model = Model::parse(&test.blob).unwrap();
        let mut arena = room(0x55, model.arena_bytes());
        for (sample, expected) in samples.iter().zip(found) {
            let features = model.run(&mut arena, sample).unwrap();
            prop_assert_eq!(features.values(), expected);
        }
    }

    #[test]
    fn whatever_the_indices_are_they_run_or_are_refused_by_name(
        list in prop::collection::vec(0u16..40, 0..12), seed in 0u64..20,
    ) {
        let test = TestModel::new(&plan([1, 1, 30], vec![Plan::Dense(3)], seed));
        let model = Model::parse(&test.blob).unwrap();
        let mut arena = room(0, model.arena_bytes());
        let wrong = (0..list.len()).find(|at| list[*at] >= 30 || *at > 0 && list[at - 1] >= list[*at]);
        let expected = wrong.map(|position| EncoderError::Index { position, below: 30, found: list[position] });
        prop_assert_eq!(model.run_sample(&mut arena, Sample::Indices(&list)).err(), expected);
    }
}

#[test]
fn samples_of_another_form_are_refused() {
    let layers = vec![Plan::Dense(3)];
    let sparse = TestModel::new(&plan([1, 1, 6], layers.clone(), 1));
    let sparse = Model::parse(&sparse.blob).unwrap();
    let bytes = TestModel::new(&ModelPlan { raw: Raw::U8, ..plan([1, 1, 6], layers, 1) });
    let bytes = Model::parse(&bytes.blob).unwrap();
    assert_eq!((sparse.raw(), bytes.raw()), (Raw::Indices, Raw::U8));
    assert_eq!((Sample::Indices(&[]).raw(), Sample::Bytes(&[]).raw()), (Raw::Indices, Raw::U8));

    let mut encoder = Encoder::<128>::new(&sparse).unwrap();
    let form = EncoderError::Form { expected: Raw::Indices, found: Raw::U8 };
    assert_eq!(encoder.run(&[0; 6]).unwrap_err(), form);
    assert_eq!(encoder.run_sample(Sample::Bytes(&[0; 6])).unwrap_err(), form);
    assert_eq!(encoder.embed(&[0; 6], Dims::new(1)).unwrap_err(), form);
    assert_eq!(encoder.hash::<1>(&[0; 6]).unwrap_err(), form);
    assert_eq!(encoder.assign(&[0; 6]).unwrap_err(), form);
    assert_eq!(form.to_string(), "the sample has the wrong form: expected indices, found bytes");
    assert!(encoder.run_sample(Sample::Indices(&[0, 5])).is_ok());

    let mut encoder = Encoder::<128>::new(&bytes).unwrap();
    let form = EncoderError::Form { expected: Raw::U8, found: Raw::Indices };
    assert_eq!(encoder.run_sample(Sample::Indices(&[0, 5])).unwrap_err(), form);
    assert!(encoder.run_sample(Sample::Bytes(&[0; 6])).is_ok());
    let short = EncoderError::Sample { expected: 6, found: 5 };
    assert_eq!(encoder.run_sample(Sample::Bytes(&[0; 5])).unwrap_err(), short);
}

#[test]
fn indices_that_do_not_rise_or_are_too_large_are_refused() {
    let test = TestModel::new(&plan([1, 2, 3], vec![Plan::Dense(3)], 2));
    let model = Model::parse(&test.blob).unwrap();
    let mut arena = room(0, model.arena_bytes());
    let mut run = |indices: &[u16]| model.run_sample(&mut arena, Sample::Indices(indices)).map(|_| ());
    let wrong = |position, found| Err(EncoderError::Index { position, below: 6, found });
    assert_eq!(run(&[]), Ok(()));
    assert_eq!(run(&[0, 1, 2, 3, 4, 5]), Ok(()));
    assert_eq!(run(&[6]), wrong(0, 6));
    assert_eq!(run(&[u16::MAX]), wrong(0, u16::MAX));
    assert_eq!(run(&[1, 5, 6]), wrong(2, 6));
    assert_eq!(run(&[3, 3]), wrong(1, 3));
    assert_eq!(run(&[0, 0]), wrong(1, 0));
    assert_eq!(run(&[1, 4, 2]), wrong(2, 2));
    let text = EncoderError::Index { position: 2, below: 6, found: 9 }.to_string();
    assert_eq!(text, "the sample's indices must rise and be below 6: found 9 at position 2");
}

#[test]
fn the_input_takes_no_arena_and_costs_what_is_set() {
    let test = TestModel::new(&plan([1, 1, 1433], vec![Plan::Dense(32), Plan::Dense(16)], 3));
    let model = Model::parse(&test.blob).unwrap();
    assert_eq!(model.input_len(), 1433);
    // The second layer's input, the same widened to 16 bits, and nothing else.
    assert_eq!(model.arena_bytes(), 32 + 2 * 32);
    let sample = Sample::Indices(&[7, 1432]);
    assert!(model.run_sample(&mut room(0, 96), sample).is_ok());
    for found in [0, 31, 95] {
        let short = EncoderError::Arena { expected: 96, found };
        assert_eq!(model.run_sample(&mut room(0, found), sample).unwrap_err(), short);
    }

    assert_eq!(model.macs_of_ones(18, 4), 18 * 32 + 32 * 16 + 4 * 16);
    assert_eq!(model.macs_of_ones(0, 0), 32 * 16);
    assert_eq!(model.macs_of_ones(usize::MAX, 4), model.macs_for(4));
    let all = 1433 * 32 + 32 * 16 + 4 * 16;
    assert_eq!(model.macs_for(4), all);
    assert_eq!(model.macs(), model.macs_for(5));

    let bytes = test.of_bytes();
    let bytes = Model::parse(&bytes.blob).unwrap();
    assert_eq!(bytes.arena_bytes(), 2 * 1436 + 32, "read where the sample lies, and widened");
    assert_eq!(bytes.macs_of_ones(18, 4), bytes.macs_for(4), "bytes all count");
    assert_eq!(bytes.macs_for(4), all);
}

#[test]
fn golden_samples_are_given_back_as_indices() {
    let test = TestModel::new(&ModelPlan { golden: 40, ..plan([1, 1, 9], vec![Plan::Dense(4)], 4) });
    let model = Model::parse(&test.blob).unwrap();
    assert_eq!(model.verify(&mut room(0, model.arena_bytes())), Ok(40));
    let mut lengths = Vec::new();
    for golden in model.golden() {
        let Sample::Indices(indices) = golden.sample else { panic!("{golden:?}") };
        let row: Vec<u8> = (0..9).map(|index| u8::from(indices.contains(&index))).collect();
        let expected = test.outputs(&row);
        assert_eq!(golden.embedding.unwrap(), expected.embedding);
        assert_eq!(golden.code.unwrap(), expected.code(11));
        assert_eq!(golden.cluster.unwrap(), expected.cluster());
        lengths.push(indices.len());
    }
    assert_eq!(lengths.len(), 40);
    assert!(lengths.contains(&0) && lengths.contains(&9) && lengths.contains(&4), "all kinds are seen: {lengths:?}");
}
