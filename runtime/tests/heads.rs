//! Embeddings, codes and clusters are their definition, and every prefix of one is the beginning of the whole.

mod common;

use common::{ClusterPlan, HashPlan, ModelPlan, Plan, Random, TestModel, described, packed_bytes, padded, room};
use eigenlet_runtime::{Assignment, Dims, Encoder, EncoderError, Head, Model, VerifyError};
use eigenlet_shared::blob::crc32;
use eigenlet_shared::description::{Clusters, Hash, Raw, class_bits};
use eigenlet_shared::packed;
use eigenlet_shared::writer::AlignedBytes;
use proptest::prelude::*;

fn plan(rows: u16, hash: Option<HashPlan>, clusters: Option<ClusterPlan>, seed: u64) -> ModelPlan {
    let layers = vec![Plan::Dense(24), Plan::Dense(13)];
    ModelPlan { input: [3, 5, 1], raw: Raw::U8, layers, rows, hash, clusters, experts: 0, golden: 3, seed }
}

fn thresholds(bits: u16) -> Option<HashPlan> {
    Some(HashPlan::Thresholds(bits))
}

fn prototypes(count: u16, dims: u16) -> Option<ClusterPlan> {
    Some(ClusterPlan::Prototypes { count, dims })
}

/// Every kind of hash head, of at most 80 bits, or none.
fn hash() -> impl Strategy<Value = Option<HashPlan>> {
    prop::option::of(prop_oneof![
        (1u16..80).prop_map(HashPlan::Thresholds),
        (1u8..9, 2u16..40).prop_map(|(heads, classes)| HashPlan::Product { heads, classes }),
    ])
}

/// Every prefix of the code, against the oracle's.
fn check_prefixes(test: &TestModel, sample: &[u8]) -> Result<(), TestCaseError> {
    let model = Model::parse(&test.blob).unwrap();
    let outputs = test.outputs(sample);
    let mut arena = room(0, model.arena_bytes());
    let mut features = model.run(&mut arena, sample).unwrap();
    prop_assert_eq!(usize::from(model.bits()), outputs.bits.len());
    for asked in 1..=model.bits() {
        let mut code = vec![0xff; usize::from(asked).div_ceil(8)];
        features.hash_into(asked, &mut code).unwrap();
        prop_assert_eq!(code, outputs.code(asked.into()));
    }
    Ok(())
}

/// Where the blob's data begins.
fn data_offset(blob: &[u8]) -> usize {
    u32::from_le_bytes(blob[24..28].try_into().unwrap()) as usize
}

/// The bytes under a right checksum.
fn sealed(mut bytes: Vec<u8>) -> AlignedBytes {
    let crc = crc32(&bytes[20..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    AlignedBytes::from(&bytes[..])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_truncated_embedding_is_the_beginning_of_the_whole(rows in 1u16..40, seed: u64) {
        let test = TestModel::new(&plan(rows, None, None, seed));
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        let whole = test.outputs(&sample).embedding;
        let mut arena = room(0, model.arena_bytes());
        for dims in 1..=rows {
            let mut features = model.run(&mut arena, &sample).unwrap();
            prop_assert_eq!(features.embed(Dims::new(dims)).unwrap(), &whole[..dims.into()]);
            let mut into = vec![0; dims.into()];
            features.embed_into(&mut into).unwrap();
            prop_assert_eq!(into, &whole[..dims.into()]);
        }
    }

    #[test]
    fn rows_past_the_last_one_asked_for_are_not_computed(rows in 2u16..40, seed: u64) {
        let test = TestModel::new(&plan(rows, None, None, seed));
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        for dims in 1..rows {
            // Values that no embedding has stand where the rows would go; so many of them are overwritten.
            let mut arena = room(-128, model.arena_bytes() + 7);
            model.run(&mut arena, &sample).unwrap();
            let before = arena.clone();
            model.run(&mut arena, &sample).unwrap().embed(Dims::new(dims)).unwrap();
            let place = described(&test.blob).heads.output as usize;
            let changed = &arena[place..];
            prop_assert!(changed[..dims.into()].iter().all(|value| *value != -128));
            prop_assert_eq!(&changed[dims.into()..], &before[place + usize::from(dims)..]);
            prop_assert_eq!(&arena[..place], &before[..place]);
        }
    }

    #[test]
    fn a_bit_is_whether_an_accumulator_is_above_0(bits in 1u16..80, seed: u64) {
        let test = TestModel::new(&plan(3, thresholds(bits), None, seed));
        let sample = Random(!seed).bytes(15);
        check_prefixes(&test, &sample)?;

        let model = Model::parse(&test.blob).unwrap();
        let outputs = test.outputs(&sample);
        let mut arena = room(0, model.arena_bytes());
        let mut features = model.run(&mut arena, &sample).unwrap();
        if bits >= 8 {
            prop_assert_eq!(features.hash::<1>().unwrap().0.to_vec(), outputs.code(8));
        }
        match features.hash::<4>() {
            Ok(code) => prop_assert_eq!(&code.0[..], outputs.code(usize::from(bits).min(32))),
            Err(error) => {
                prop_assert!(bits <= 24);
                prop_assert_eq!(error, EncoderError::Bits { expected: bits, found: 32 });
            }
        }
    }

    #[test]
    fn the_cluster_is_the_nearest_prototype(count in 1u16..20, dims in 1u16..12, seed: u64) {
        let test = TestModel::new(&plan(12, None, prototypes(count, dims), seed));
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        let outputs = test.outputs(&sample);
        let mut sorted = outputs.distances.clone();
        sorted.sort();
        let distance = sorted[0] as u32;
        let margin = sorted.get(1).map_or(u32::MAX, |second| *second as u32 - distance);
        let expected = Assignment { id: outputs.cluster(), distance: Some(distance), margin };
        let mut encoder = Encoder::<128>::new(&model).unwrap();
        prop_assert_eq!(encoder.assign(&sample).unwrap(), expected);
    }

    #[test]
    fn a_product_code_is_its_heads_classes_one_after_another(
        rows in 0u16..3, heads in 1u8..9, classes in 2u16..40, seed: u64,
    ) {
        let test = TestModel::new(&plan(rows, Some(HashPlan::Product { heads, classes }), None, seed));
        check_prefixes(&test, &Random(!seed).bytes(15))?;
    }

    #[test]
    fn a_linear_head_gives_the_largest_sum(rows in 0u16..3, count in 1u16..20, seed: u64) {
        let test = TestModel::new(&plan(rows, None, Some(ClusterPlan::Linear(count)), seed));
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        let outputs = test.outputs(&sample);
        let mut sorted = outputs.sums.clone();
        sorted.sort();
        sorted.reverse();
        let margin = sorted.get(1).map_or(u32::MAX, |second| (sorted[0] - second) as u32);
        let expected = Assignment { id: outputs.cluster(), distance: None, margin };
        let mut encoder = Encoder::<128>::new(&model).unwrap();
        prop_assert_eq!(encoder.assign(&sample).unwrap(), expected);
    }

    #[test]
    fn clusters_may_be_a_head_of_the_product_code(heads in 1u8..5, head in 0u8..5, classes in 2u16..40, seed: u64) {
        let (head, hash) = (head % heads, HashPlan::Product { heads, classes });
        let test = TestModel::new(&plan(0, Some(hash), Some(ClusterPlan::Head(head)), seed));
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        let id = test.outputs(&sample).cluster();
        let mut encoder = Encoder::<128>::new(&model).unwrap();
        prop_assert_eq!(encoder.assign(&sample).unwrap().id, id);
        let width = model.bits() / u16::from(heads);
        let bits = &test.outputs(&sample).bits[usize::from(head) * usize::from(width)..][..width.into()];
        prop_assert_eq!(bits.iter().rev().fold(0, |id, bit| 2 * id + u16::from(*bit)), id);
        // The shared rows are kept, and counted, once.
        let alone = TestModel::new(&plan(0, Some(hash), None, seed));
        prop_assert_eq!(model.weight_bytes(), Model::parse(&alone.blob).unwrap().weight_bytes());
    }

    #[test]
    fn the_oracles_golden_vectors_verify(rows in 0u16..10, hash in hash(), clusters in 0u8..3, seed: u64) {
        let clusters = match clusters {
            0 => None,
            1 if rows > 0 => prototypes(5, rows),
            _ => Some(ClusterPlan::Linear(5)),
        };
        let test = TestModel::new(&plan(rows, hash, clusters, seed));
        let model = Model::parse(&test.blob).unwrap();
        prop_assert_eq!(model.verify(&mut room(0, model.arena_bytes())), Ok(3));
        prop_assert_eq!(model.eigenvalues(), &test.eigenvalues);
        prop_assert_eq!((model.dims(), model.clusters()), (rows, clusters.map_or(0, |_| 5)));
        prop_assert_eq!(usize::from(model.bits()), test.outputs(&[0; 15]).bits.len());
    }
}

#[test]
fn equally_near_prototypes_give_the_lower_id_and_no_margin() {
    // One embedding dimension, many prototypes: some are bound to be equal.
    let test = TestModel::new(&plan(1, None, prototypes(2000, 1), 5));
    let model = Model::parse(&test.blob).unwrap();
    let mut encoder = Encoder::<128>::new(&model).unwrap();
    let mut random = Random(1);
    let mut ties = 0;
    for _ in 0..20 {
        let sample = random.bytes(15);
        let outputs = test.outputs(&sample);
        let least = outputs.distances.iter().min().unwrap();
        let first = outputs.distances.iter().position(|distance| distance == least).unwrap();
        let cluster = encoder.assign(&sample).unwrap();
        assert_eq!(usize::from(cluster.id), first);
        if outputs.distances.iter().filter(|distance| *distance == least).count() > 1 {
            assert_eq!(cluster.margin, 0);
            ties += 1;
        }
    }
    assert!(ties > 10);
}

#[test]
fn equally_large_sums_give_the_lower_id_and_no_margin() {
    let (mut ties, mut others) = (0, 0);
    for seed in 0..200 {
        let test = TestModel::new(&plan(0, None, Some(ClusterPlan::Linear(6)), seed));
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        let sums = test.outputs(&sample).sums;
        let largest = sums.iter().max().unwrap();
        let cluster = Encoder::<128>::new(&model).unwrap().assign(&sample).unwrap();
        assert_eq!(usize::from(cluster.id), sums.iter().position(|sum| sum == largest).unwrap());
        match sums.iter().filter(|sum| *sum == largest).count() {
            1 => others += u32::from(cluster.margin > 0),
            _ => ties += u32::from(cluster.margin == 0),
        }
    }
    assert!(ties > 10 && others > 10 && ties + others == 200, "{ties} ties, {others} others");
}

#[test]
fn sums_are_compared_as_they_are_over_all_of_their_range() {
    let test = TestModel::new(&plan(0, None, Some(ClusterPlan::Linear(2)), 21));
    let Some(Clusters::Linear { weights, biases, .. }) = described(&test.blob).clusters else { unreachable!() };
    let data = data_offset(&test.blob);
    let (weights, biases) = (data + weights as usize, data + biases as usize);
    for pair in [[0, -1], [-1, 0], [1 << 30, -1 << 30], [-5, -3], [7, 7], [i32::MIN, i32::MAX], [i32::MAX, i32::MIN]] {
        let mut bytes = test.blob.to_vec();
        bytes[weights..weights + packed_bytes(2, 13)].fill(0); // so that the sums are the biases
        for (row, bias) in pair.iter().enumerate() {
            bytes[biases + 4 * row..][..4].copy_from_slice(&bias.to_le_bytes());
        }
        let bytes = sealed(bytes);
        let model = Model::parse(&bytes).unwrap();
        let found = Encoder::<128>::new(&model).unwrap().assign(&[0; 15]).unwrap();
        assert_eq!((found.id, found.margin), (u16::from(pair[1] > pair[0]), pair[0].abs_diff(pair[1])), "{pair:?}");
    }
}

#[test]
fn the_bits_of_a_class_are_as_few_as_can_be() {
    for (classes, bits) in
        [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (128, 7), (129, 8), (32769, 16), (65535, 16)]
    {
        assert_eq!(class_bits(classes), bits, "{classes} classes");
        assert_eq!(Hash::Product { heads: 3, classes, weights: 0, biases: 0 }.bits(), 3 * bits);
    }
}

#[test]
fn heads_cost_their_rows() {
    let model = |plan: &ModelPlan| TestModel::new(plan).blob;
    let macs = |blob: &[u8]| {
        let model = Model::parse(blob).unwrap();
        let heads = [Head::Embedding, Head::Hash, Head::Clusters].map(|head| model.head_macs(head));
        (model.macs(), heads, model.weight_bytes())
    };
    let layers = 15 * 24 + 24 * 13;
    let tables = packed_bytes(24, 15) + packed_bytes(13, 24) + (4 + 12) * (24 + padded(13));
    let bare = macs(&model(&plan(0, None, None, 1)));
    assert_eq!(bare, (layers, [0, 0, 0], tables));
    let classic = macs(&model(&plan(5, thresholds(9), prototypes(4, 3), 1)));
    assert_eq!((classic.0, classic.1), (layers + 5 * 13, [5 * 13, 9 * 13, 3 * 13 + 4 * 3]));
    assert_eq!(
        classic.2 - bare.2,
        packed_bytes(5, 13) + padded(5) * (4 + 12) + packed_bytes(9, 13) + padded(9) * 4 + 4 * 3
    );
    let product = Some(HashPlan::Product { heads: 3, classes: 7 });
    let native = macs(&model(&plan(0, product, Some(ClusterPlan::Linear(6)), 1)));
    assert_eq!((native.0, native.1), (layers, [0, 21 * 13, 6 * 13]));
    assert_eq!(native.2 - bare.2, 3 * packed_bytes(7, 13) + packed_bytes(6, 13) + (3 * padded(7) + padded(6)) * 4);
}

#[test]
fn a_sum_of_0_gives_a_zero_bit() {
    let test = TestModel::new(&plan(0, thresholds(2), None, 11));
    let model = Model::parse(&test.blob).unwrap();
    let sample = Random(12).bytes(15);
    let mut arena = room(0, model.arena_bytes());
    let features = model.run(&mut arena, &sample).unwrap().values().to_vec();

    let Some(Hash::Thresholds { weights, biases, .. }) = described(&test.blob).hash else { unreachable!() };
    let data = data_offset(&test.blob);
    let mut bytes = test.blob.to_vec();
    for (bit, more) in [(0, 0), (1, 1)] {
        let product = |(column, x): (usize, &i8)| {
            let (lane, is_odd) = packed::lane(features.len(), bit, column);
            let at = data + weights as usize + 2 * lane;
            let [even, odd] = packed::weights(i16::from_le_bytes([bytes[at], bytes[at + 1]]));
            i32::from(if is_odd { odd } else { even }) * i32::from(*x)
        };
        let sum: i32 = features.iter().enumerate().map(product).sum();
        let at = data + biases as usize + bit * 4;
        bytes[at..at + 4].copy_from_slice(&(more - sum).to_le_bytes());
    }
    let bytes = sealed(bytes);
    let model = Model::parse(&bytes).unwrap();
    let code = model.run(&mut arena, &sample).unwrap().hash::<1>().unwrap();
    assert_eq!(code.0, [0b10]);
}

#[test]
fn any_changed_golden_byte_is_found_and_named() {
    changed_golden_bytes_are_found(thresholds(12), prototypes(4, 5));
    changed_golden_bytes_are_found(Some(HashPlan::Product { heads: 4, classes: 7 }), Some(ClusterPlan::Linear(4)));
}

/// Of a code of 12 bits.
fn changed_golden_bytes_are_found(hash: Option<HashPlan>, clusters: Option<ClusterPlan>) {
    let test = TestModel::new(&plan(5, hash, clusters, 77));
    let outputs = data_offset(&test.blob) + described(&test.blob).golden.outputs as usize;
    let (embedding, code, cluster) = (0, 5, 5 + 2);
    let record = cluster + 2;
    let places = [
        (record + embedding + 2, Head::Embedding, 1, 2),
        (2 * record + code + 1, Head::Hash, 2, 1),
        (cluster, Head::Clusters, 0, 0),
    ];
    for (offset, expected_head, expected_sample, expected_position) in places {
        let mut bytes = test.blob.to_vec();
        bytes[outputs + offset] ^= 1;
        let bytes = sealed(bytes);
        let model = Model::parse(&bytes).unwrap();
        match model.verify(&mut room(0, model.arena_bytes())) {
            Err(VerifyError::Mismatch { sample, head, position, expected, found }) => {
                assert_eq!((head, sample, position), (expected_head, expected_sample, expected_position));
                assert_eq!((expected ^ found).abs() & 0xff, 1);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn wrong_arguments_are_named() {
    let test = TestModel::new(&plan(6, thresholds(20), prototypes(4, 5), 3));
    let model = Model::parse(&test.blob).unwrap();
    let needed = model.arena_bytes();
    assert_eq!(Encoder::<8>::new(&model).unwrap_err(), EncoderError::Arena { expected: needed, found: 8 });
    let mut short = room(0, needed - 1);
    assert_eq!(
        model.run(&mut short, &[0; 15]).unwrap_err(),
        EncoderError::Arena { expected: needed, found: needed - 1 }
    );
    let mut off = room(0, needed + 4);
    for offset in 1..4 {
        assert_eq!(model.run(&mut off[offset..], &[0; 15]).unwrap_err(), EncoderError::Misaligned);
    }
    assert!(model.run(&mut off[4..], &[0; 15]).is_ok());
    let mut encoder = Encoder::<128>::new(&model).unwrap();
    let sample = [0; 15];
    assert_eq!(encoder.run(&sample[1..]).unwrap_err(), EncoderError::Sample { expected: 15, found: 14 });
    for dims in [0, 7, u16::MAX] {
        let expected = EncoderError::Dims { expected: 6, found: dims.into() };
        assert_eq!(encoder.embed(&sample, Dims::new(dims)).unwrap_err(), expected);
        assert_eq!(encoder.run(&sample).unwrap().embed_into(&mut vec![0; dims.into()]).unwrap_err(), expected);
    }
    let bits = |found| EncoderError::Bits { expected: 20, found };
    assert!(encoder.hash::<3>(&sample).is_ok(), "20 bits end in the third byte");
    assert_eq!(encoder.hash::<4>(&sample).unwrap_err(), bits(32));
    assert_eq!(encoder.hash::<0>(&sample).unwrap_err(), bits(0));
    let mut features = encoder.run(&sample).unwrap();
    assert_eq!(features.hash_into(21, &mut [0; 3]).unwrap_err(), bits(21));
    assert_eq!(features.hash_into(8, &mut [0; 2]).unwrap_err(), bits(8));

    let bare = TestModel::new(&ModelPlan { golden: 0, ..plan(0, None, None, 3) });
    let model = Model::parse(&bare.blob).unwrap();
    let mut encoder = Encoder::<128>::new(&model).unwrap();
    let none = EncoderError::NoHead;
    assert_eq!(encoder.embed(&sample, Dims::new(1)).unwrap_err(), none(Head::Embedding));
    assert_eq!(encoder.hash::<1>(&sample).unwrap_err(), none(Head::Hash));
    assert_eq!(encoder.assign(&sample).unwrap_err(), none(Head::Clusters));
    assert_eq!(encoder.verify().unwrap_err(), VerifyError::NoGolden);
}
