//! Answers that stop early are those of the whole computation, and do stop early where they can.

mod common;

use common::{ClusterPlan, HashPlan, ModelPlan, Plan, Random, TestModel};
use eigenlet_runtime::{Early, EncoderError, Head, Index, Model, Raw};
use proptest::prelude::*;

fn plan(hash: Option<HashPlan>, clusters: Option<ClusterPlan>, seed: u64) -> ModelPlan {
    let layers = vec![Plan::Dense(13)];
    ModelPlan { input: [3, 5, 1], raw: Raw::U8, layers, rows: 24, hash, clusters, experts: 0, golden: 0, seed }
}

/// What a sample gives early, beside what it gives in the end.
fn assigned(model: &Model, sample: &[u8]) -> (Early, u32) {
    let mut arena = vec![0; model.arena_bytes()];
    let mut features = model.run(&mut arena, sample).unwrap();
    let early = features.assign_early().unwrap();
    (early, features.assign().unwrap().id.into())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn the_cluster_is_that_of_all_dimensions(count in 1u16..12, dims in 1u16..25, seed: u64) {
        let test = TestModel::new(&plan(None, Some(ClusterPlan::Prototypes { count, dims }), seed));
        let model = Model::parse(&test.blob).unwrap();
        for number in 0..8 {
            let (early, id) = assigned(&model, &Random(seed ^ number).bytes(15));
            prop_assert_eq!(early.id, id);
            prop_assert!(early.computed <= dims && early.computed >= dims.min(4));
            // One alone is nearest before anything is compared with it.
            prop_assert!(count > 1 || early.computed == dims.min(4));
        }
    }

    #[test]
    fn the_nearest_code_is_that_of_all_bits(bits in 1u16..65, codes in 0usize..30, repeats in 1usize..4, seed: u64) {
        let test = TestModel::new(&plan(Some(HashPlan::Thresholds(bits)), None, seed));
        let model = Model::parse(&test.blob).unwrap();
        let mut random = Random(seed);
        let mut arena = vec![0; model.arena_bytes()];
        match bits.div_ceil(8) {
            1 => search::<1>(&model, &mut arena, codes, repeats, &mut random)?,
            2 => search::<2>(&model, &mut arena, codes, repeats, &mut random)?,
            3 => search::<3>(&model, &mut arena, codes, repeats, &mut random)?,
            4 => search::<4>(&model, &mut arena, codes, repeats, &mut random)?,
            5 => search::<5>(&model, &mut arena, codes, repeats, &mut random)?,
            _ => search::<6>(&model, &mut arena, codes, repeats, &mut random)?,
        }
    }
}

/// Samples' codes, some of them more than once, and the search for other samples among them.
fn search<const BYTES: usize>(
    model: &Model,
    arena: &mut [i8],
    codes: usize,
    repeats: usize,
    random: &mut Random,
) -> Result<(), TestCaseError> {
    let mut index = Index::<BYTES, 128>::new();
    for _ in 0..codes {
        let code = model.run(arena, &random.bytes(15)).unwrap().hash::<BYTES>().unwrap();
        for _ in 0..repeats {
            index.insert(code, random.below(1000) as u32).unwrap();
        }
    }
    for _ in 0..4 {
        let mut features = model.run(arena, &random.bytes(15)).unwrap();
        let code = features.hash::<BYTES>().unwrap();
        let expected = index.nearest::<1>(&code).first().map(|hit| hit.id);
        let early = features.nearest_early(&index).unwrap();
        prop_assert_eq!(early.map(|early| early.id), expected);
        if let Some(early) = early {
            prop_assert!(early.computed >= 1 && early.computed <= model.bits());
        }
    }
    Ok(())
}

#[test]
fn clusters_far_apart_are_told_apart_by_their_first_dimensions() {
    let mut stopped = 0;
    for seed in 0..40 {
        let clusters = Some(ClusterPlan::Prototypes { count: 2, dims: 6 });
        let test = TestModel::new(&plan(None, clusters, seed));
        let model = Model::parse(&test.blob).unwrap();
        let (early, id) = assigned(&model, &Random(seed).bytes(15));
        assert_eq!(early.id, id);
        stopped += u32::from(early.computed < 6);
    }
    assert!(stopped > 0, "no sample was certain after four of six dimensions");
}

#[test]
fn a_model_without_the_head_says_so() {
    let test = TestModel::new(&plan(None, None, 1));
    let model = Model::parse(&test.blob).unwrap();
    let mut arena = vec![0; model.arena_bytes()];
    let mut features = model.run(&mut arena, &[7; 15]).unwrap();
    assert_eq!(features.assign_early().unwrap_err(), EncoderError::NoHead(Head::Clusters));
    let index = Index::<2, 4>::new();
    assert_eq!(features.nearest_early(&index).unwrap_err(), EncoderError::NoHead(Head::Hash));

    let linear = TestModel::new(&plan(None, Some(ClusterPlan::Linear(5)), 1));
    let model = Model::parse(&linear.blob).unwrap();
    let (early, id) = assigned(&model, &[7; 15]);
    assert_eq!((early.id, early.computed), (id, 24), "a linear head computes all of its rows");
}
