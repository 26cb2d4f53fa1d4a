//! Experts, the residuals that choose among them and the codes that they give are their definition.

mod common;

use common::{
    Centres, ClusterPlan, HashPlan, ModelPlan, Plan, Random, TestModel, bytes_of, described, packed_bytes, padded,
    requantize, room,
};
use eigenlet_runtime::{Assignment, Dims, Encoder, EncoderError, Expert, Head, Model, ModelError, Part, VerifyError};
use eigenlet_shared::blob::crc32;
use eigenlet_shared::description::{Clusters, Description, Experts, Golden, Hash, Input, Places, Raw, Rows};
use eigenlet_shared::numerics::Scale;
use eigenlet_shared::writer::{AlignedBytes, BlobWriter};
use proptest::prelude::*;

fn plan(experts: u16, clusters: ClusterPlan, hash: Option<HashPlan>, seed: u64) -> ModelPlan {
    let layers = vec![Plan::Dense(24), Plan::Dense(13)];
    ModelPlan {
        input: [3, 5, 1],
        raw: Raw::U8,
        layers,
        rows: 7,
        hash,
        clusters: Some(clusters),
        experts,
        golden: 3,
        seed,
    }
}

/// Every kind of gate, with up to 20 experts.
fn gate() -> impl Strategy<Value = ClusterPlan> {
    prop_oneof![
        (1u16..20, 1u16..8).prop_map(|(count, dims)| ClusterPlan::Prototypes { count, dims }),
        (1u16..20).prop_map(ClusterPlan::Linear),
        (1u16..20).prop_map(ClusterPlan::Residual),
    ]
}

/// How much more the second-least costs than the least.
fn margin(costs: impl Iterator<Item = i64>) -> u32 {
    let mut sorted: Vec<i64> = costs.collect();
    sorted.sort();
    sorted.get(1).map_or(u32::MAX, |second| u32::try_from(second - sorted[0]).unwrap())
}

fn sealed(mut bytes: Vec<u8>) -> AlignedBytes {
    let crc = crc32(&bytes[20..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    AlignedBytes::from(&bytes[..])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn the_cluster_is_that_of_the_least_residual(count in 1u16..20, rows in 1u16..12, seed: u64) {
        let test = TestModel::new(&plan(rows, ClusterPlan::Residual(count), None, seed));
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        let outputs = test.outputs(&sample);
        let margin = margin(outputs.residuals.iter().copied());
        let expected = Assignment { id: outputs.cluster(), distance: Some(outputs.score()), margin };
        let mut encoder = Encoder::<128>::new(&model).unwrap();
        prop_assert_eq!(encoder.assign(&sample).unwrap(), expected);
    }

    #[test]
    fn a_local_embedding_is_that_of_the_chosen_expert(rows in 1u16..30, gate in gate(), seed: u64) {
        let test = TestModel::new(&plan(rows, gate, None, seed));
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        let outputs = test.outputs(&sample);
        let costs = outputs.distances.iter().chain(&outputs.residuals).copied();
        let margin = margin(costs.chain(outputs.sums.iter().map(|sum| -sum)));
        let score = matches!(gate, ClusterPlan::Residual(_)).then(|| outputs.score());
        let mut encoder = Encoder::<128>::new(&model).unwrap();
        for dims in 1..=rows {
            let embedding = &outputs.local()[..dims.into()];
            let expected = Expert { id: outputs.cluster(), margin, score, embedding };
            prop_assert_eq!(encoder.expert(&sample, Dims::new(dims)).unwrap(), expected);
            let mut features = encoder.run(&sample).unwrap();
            prop_assert_eq!(features.expert(Dims::new(dims)).unwrap(), expected);
            // One output does not disturb the next.
            prop_assert_eq!(features.embed(Dims::new(7)).unwrap(), &outputs.embedding);
            prop_assert_eq!(features.assign().unwrap().id, expected.id);
            prop_assert_eq!(features.into_expert(Dims::new(dims)).unwrap(), expected);
        }
        prop_assert_eq!(model.experts(), outputs.locals.len() as u16);
        prop_assert_eq!((model.expert_dims(), model.expert_scale()), (rows, Some(0.03)));
        for id in 0..model.experts() {
            prop_assert_eq!(model.expert_eigenvalues(id), test.expert_eigenvalues(id.into()));
        }
        prop_assert_eq!(model.expert_eigenvalues(model.experts()), &[0f32; 0]);
    }

    #[test]
    fn a_code_is_the_id_and_the_signs_of_its_expert(rows in 1u16..30, used in 0u16..30, gate in gate(), seed: u64) {
        let test = TestModel::new(&plan(rows, gate, Some(HashPlan::Experts(used.min(rows))), seed));
        let model = match Model::parse(&test.blob) {
            // One cluster and no row: the code would have no bits.
            Err(error) => {
                let part = Part::Hash;
                let single = matches!(
                    gate,
                    ClusterPlan::Prototypes { count: 1, .. } | ClusterPlan::Linear(1) | ClusterPlan::Residual(1)
                );
                prop_assert!(single && used == 0);
                prop_assert_eq!(error, ModelError::Head { part });
                return Ok(());
            }
            Ok(model) => model,
        };
        let sample = Random(!seed).bytes(15);
        let outputs = test.outputs(&sample);
        let mut arena = room(0, model.arena_bytes());
        let mut features = model.run(&mut arena, &sample).unwrap();
        prop_assert_eq!(usize::from(model.bits()), outputs.bits.len());
        for asked in 1..=model.bits() {
            let mut code = vec![0xff; usize::from(asked).div_ceil(8)];
            features.hash_into(asked, &mut code).unwrap();
            prop_assert_eq!(code, outputs.code(asked.into()));
        }
        prop_assert_eq!(model.verify(&mut arena), Ok(3));
    }

    #[test]
    fn rows_past_the_last_one_asked_for_are_not_computed(rows in 2u16..30, seed: u64) {
        let test = TestModel::new(&ModelPlan { rows: 0, ..plan(rows, ClusterPlan::Linear(3), None, seed) });
        let model = Model::parse(&test.blob).unwrap();
        let sample = Random(!seed).bytes(15);
        for dims in 1..rows {
            // As for embeddings: values that none has stand where the rows would go.
            let mut arena = room(-128, model.arena_bytes() + 7);
            model.run(&mut arena, &sample).unwrap();
            let before = arena.clone();
            model.run(&mut arena, &sample).unwrap().expert(Dims::new(dims)).unwrap();
            let place = described(&test.blob).heads.output as usize;
            let changed = &arena[place..];
            prop_assert!(changed[..dims.into()].iter().all(|value| *value != -128));
            prop_assert_eq!(&changed[dims.into()..], &before[place + usize::from(dims)..]);
            prop_assert_eq!(&arena[..place], &before[..place]);
        }
    }

    #[test]
    fn the_oracles_golden_vectors_verify(rows in 1u16..10, gate in gate(), seed: u64) {
        let test = TestModel::new(&plan(rows, gate, Some(HashPlan::Thresholds(9)), seed));
        let model = Model::parse(&test.blob).unwrap();
        prop_assert_eq!(model.verify(&mut room(0, model.arena_bytes())), Ok(3));
        for golden in model.golden() {
            let outputs = test.outputs(bytes_of(golden.sample));
            prop_assert_eq!(golden.cluster, Some(outputs.cluster()));
            prop_assert_eq!(golden.expert, Some(outputs.local()));
            prop_assert_eq!(golden.score, matches!(gate, ClusterPlan::Residual(_)).then(|| outputs.score()));
        }
    }
}

/// Extreme numbers, straight on the input: no layers, so that a raw 255 is a feature of 127, and 0 one of -128.
struct Extreme {
    shape: [u16; 3],
    raw: u8,
    centres: Centres,
    weight: i8,
    bias: i32,
    /// Of each expert; there are as many experts as there are centres, all with the same rows.
    rows: u16,
}

impl Extreme {
    fn features(&self) -> usize {
        self.shape.iter().map(|side| usize::from(*side)).product()
    }

    fn blob(&self) -> AlignedBytes {
        let mut writer = BlobWriter::new();
        let count = (self.centres.values.len() / self.features()) as u16;
        let rows = usize::from(count) * usize::from(self.rows);
        let weights = vec![self.weight; rows * self.features()];
        let experts = Experts {
            count: self.rows,
            rows: Rows {
                weights: writer.push_blocks(&weights, self.rows.into(), self.features()),
                biases: writer.push_biases(&vec![self.bias; rows], self.rows.into()),
                scales: writer.push_scales(&vec![Scale::new(i32::MAX, 1, 0); rows], self.rows.into()),
            },
            scale: 1.0,
            eigenvalues: writer.push_f32(&vec![0.0; rows]),
        };
        let Centres { values, shift, multiplier, scale_shift } = &self.centres;
        let (shift, multiplier, scale_shift) = (*shift, *multiplier, *scale_shift);
        let centres = writer.push_i8(values);
        let mut description = Description {
            input: Input { shape: self.shape, place: 0, raw: Raw::U8, scale: 1.0, offset: 0.0 },
            layers: heapless::Vec::new(),
            heads: Places::default(),
            embedding: None,
            hash: Some(Hash::Experts { classes: count, rows: 1 }),
            clusters: Some(Clusters::Residual { count, centres, shift, multiplier, scale_shift }),
            experts: Some(experts),
            golden: Golden::default(),
            card: &[],
        };
        eigenlet_shared::plan::place(&mut description).unwrap();
        writer.finish(&description)
    }

    /// The assignment by definition, which the runtime must give.
    fn check(&self) -> Assignment {
        let blob = self.blob();
        let model = Model::parse(&blob).unwrap();
        let mut arena = room(0, model.arena_bytes());
        let sample = vec![self.raw; self.features()];
        let features = vec![i64::from(self.raw) - 128; self.features()];
        let sum: i64 = features.iter().map(|f| f * i64::from(self.weight)).sum::<i64>() + i64::from(self.bias);
        let sums = vec![sum; self.rows.into()];
        let centres = self.centres.values.chunks(self.features());
        let residuals: Vec<i64> = centres.map(|centre| self.centres.residual(centre, &features, &sums)).collect();
        let least = *residuals.iter().min().unwrap();
        let id = residuals.iter().position(|residual| *residual == least).unwrap() as u16;
        let distance = Some(u32::try_from(least).unwrap());
        let expected = Assignment { id, distance, margin: margin(residuals.iter().copied()) };
        let mut features = model.run(&mut arena, &sample).unwrap();
        assert_eq!(features.assign().unwrap(), expected);
        let value = requantize(sum, i32::MAX, 1).clamp(-127, 127) as i8;
        assert_eq!(features.expert(Dims::new(1)).unwrap().embedding, [value]);
        let mut code = vec![0; usize::from(model.bits()).div_ceil(8)];
        features.hash_into(model.bits(), &mut code).unwrap();
        let last = model.bits() - 1;
        assert_eq!(code[usize::from(last / 8)] >> (last % 8) & 1 == 1, sum > 0);
        expected
    }
}

#[test]
fn accumulators_saturate_at_both_ends_of_16_bits() {
    let most = |raw, weight, bias, shift| Extreme {
        shape: [1, 1, 300],
        raw,
        centres: Centres { values: vec![0; 600], shift, multiplier: 1, scale_shift: 16 },
        weight,
        bias,
        rows: 3,
    };
    let distance = |value: i64| 300 * value * value;
    // 300 * 127 * 127 is far above 32767, and 300 * -128 * 127 far below -32768.
    let found = most(255, 127, 0, 0).check();
    assert_eq!(found.distance, Some((distance(127) - (3 * 32767 * 32767) / 65536) as u32));
    let found = most(0, 127, 0, 0).check();
    assert_eq!(found.distance, Some((distance(128) - (3i64 * 32768 * 32768) / 65536) as u32));
    // Below saturation, rounding is to the nearest, halves away from zero.
    for (bias, shift, a) in
        [(3, 1, 2), (-3, 1, -2), (5, 2, 1), (-5, 2, -1), (6, 2, 2), (-6, 2, -2), ((1 << 30) - 1, 30, 1)]
    {
        let mut extreme = most(255, 0, bias, shift);
        (extreme.centres.multiplier, extreme.centres.scale_shift) = (3, 0);
        let found = extreme.check();
        assert_eq!(found.distance, Some((distance(127) - 3 * 3 * a * a) as u32), "{bias} >> {shift}");
    }
    for shift in 0..=31 {
        for (raw, weight) in [(255, 127), (255, -127), (0, 127), (0, -127)] {
            most(raw, weight, 0, shift).check();
        }
    }
}

#[test]
fn what_is_explained_saturates_and_never_makes_a_residual_negative() {
    for scale_shift in 0..=63 {
        for multiplier in [0, 1, 0x8000, u16::MAX] {
            let centres =
                Centres { values: [vec![-128; 40], vec![127; 40]].concat(), shift: 0, multiplier, scale_shift };
            let extreme = Extreme { shape: [2, 4, 5], raw: 255, centres, weight: 127, bias: 0, rows: 5 };
            let found = extreme.check();
            if multiplier == u16::MAX && scale_shift == 0 {
                // Everything is explained by every expert: a tie, which the lower id wins.
                assert_eq!(found, Assignment { id: 0, distance: Some(0), margin: 0 });
            }
            if multiplier == 0 || scale_shift == 63 {
                // Nothing is: the nearest centre wins.
                assert_eq!(found, Assignment { id: 1, distance: Some(0), margin: 255 * 255 * 40 });
            }
        }
    }
}

#[test]
fn what_is_explained_does_not_wrap_at_32_bits() {
    // Four squares of 32768 are 2^32, of which the lower half is 0.
    for (rows, scale_shift, distance) in [(4, 0, 0), (5, 0, 0), (4, 1, 0), (4, 12, 80 * 128 * 128 - (1 << 20))] {
        let centres = Centres { values: vec![0; 80], shift: 0, multiplier: 1, scale_shift };
        let found = Extreme { shape: [1, 1, 80], raw: 0, centres, weight: 127, bias: 0, rows }.check();
        assert_eq!(found.distance, Some(distance), "{rows} rows, shift {scale_shift}");
    }
}

#[test]
fn as_many_rows_as_there_can_be_do_not_overflow() {
    for (scale_shift, multiplier) in [(0, u16::MAX), (30, u16::MAX), (31, u16::MAX), (63, u16::MAX), (46, 1)] {
        let centres = Centres { values: vec![127], shift: 0, multiplier, scale_shift };
        // 65535 squares of 32768: nearly 2^62, times the multiplier.
        Extreme { shape: [1, 1, 1], raw: 0, centres, weight: 1, bias: -1 << 29, rows: u16::MAX }.check();
    }
}

#[test]
fn as_many_features_as_there_can_be_do_not_overflow() {
    let centres = Centres { values: vec![127; 65535], shift: 0, multiplier: 0, scale_shift: 0 };
    let found = Extreme { shape: [1, 1, 65535], raw: 0, centres, weight: 0, bias: 0, rows: 1 }.check();
    assert_eq!(found.distance, Some(255 * 255 * 65535));
}

#[test]
fn more_features_than_a_distance_can_hold_are_refused() {
    let centres = Centres { values: vec![127; 65536], shift: 0, multiplier: 0, scale_shift: 0 };
    let extreme = Extreme { shape: [256, 256, 1], raw: 0, centres, weight: 0, bias: 0, rows: 1 };
    assert_eq!(Model::parse(&extreme.blob()).unwrap_err(), ModelError::Head { part: Part::Clusters });
}

#[test]
fn equal_residuals_give_the_lower_id_and_no_margin() {
    let random = &mut Random(3);
    let (mut ties, mut others) = (0, 0);
    for _ in 0..300 {
        // One feature, few centres: some are equally far, on both sides or in the same place.
        let values = (0..6).map(|_| random.below(9) as i8 - 4).collect();
        let centres = Centres { values, shift: 0, multiplier: 1, scale_shift: 0 };
        let extreme = Extreme { shape: [1, 1, 1], raw: 128, centres, weight: 1, bias: 1, rows: 1 };
        match extreme.check().margin {
            0 => ties += 1,
            _ => others += 1,
        }
    }
    assert!(ties > 20 && others > 20, "{ties} ties, {others} others");
}

#[test]
fn an_accumulator_of_0_gives_a_zero_bit() {
    for (bias, bit) in [(-1, 0), (0, 0), (1, 1)] {
        let centres = Centres { values: vec![0], shift: 0, multiplier: 0, scale_shift: 0 };
        let blob = Extreme { shape: [1, 1, 1], raw: 77, centres, weight: 0, bias, rows: 1 }.blob();
        let model = Model::parse(&blob).unwrap();
        // One cluster takes no bits.
        assert_eq!(model.bits(), 1);
        assert_eq!(Encoder::<16>::new(&model).unwrap().hash::<1>(&[77]).unwrap().0, [bit]);
    }
}

#[test]
fn experts_cost_the_choice_and_the_rows_of_one() {
    let cost = |clusters, hash| {
        let test = TestModel::new(&plan(5, clusters, hash, 1));
        let model = Model::parse(&test.blob).unwrap();
        (
            model.macs(),
            [Head::Hash, Head::Clusters, Head::Experts].map(|head| model.head_macs(head)),
            model.weight_bytes(),
        )
    };
    let layers = 15 * 24 + 24 * 13;
    let rows = 24 + padded(13) + padded(7) + 4 * padded(5);
    let packed = packed_bytes(24, 15) + packed_bytes(13, 24) + packed_bytes(7, 13) + 4 * packed_bytes(5, 13);
    let common = packed + (4 + 12) * rows;
    let code = Some(HashPlan::Experts(2));

    let linear = cost(ClusterPlan::Linear(4), code);
    assert_eq!(linear.0, layers + 7 * 13);
    assert_eq!(linear.1, [4 * 13 + 2 * 13, 4 * 13, 4 * 13 + 5 * 13]);
    assert_eq!(linear.2, common + packed_bytes(4, 13) + 4 * 4);

    let gate = 3 * 13 + 4 * 3;
    let prototypes = cost(ClusterPlan::Prototypes { count: 4, dims: 3 }, code);
    assert_eq!(prototypes.1, [gate + 2 * 13, gate, gate + 5 * 13]);
    assert_eq!(prototypes.2, common + 4 * 3);

    // All rows of all experts, and the distances.
    let gate = 4 * 5 * 13 + 4 * 13;
    let residual = cost(ClusterPlan::Residual(4), code);
    assert_eq!(residual.1, [gate + 2 * 13, gate, gate + 5 * 13]);
    assert_eq!(residual.2, common + 4 * 13);

    let without = TestModel::new(&plan(0, ClusterPlan::Linear(4), None, 1));
    assert_eq!(Model::parse(&without.blob).unwrap().head_macs(Head::Experts), 0);
}

#[test]
fn any_changed_golden_byte_is_found_and_named() {
    let test = TestModel::new(&plan(5, ClusterPlan::Residual(4), Some(HashPlan::Experts(4)), 78));
    let data = u32::from_le_bytes(test.blob[24..28].try_into().unwrap()) as usize;
    let outputs = data + described(&test.blob).golden.outputs as usize;
    let (embedding, code, cluster, score, expert) = (0, 7, 7 + 1, 7 + 1 + 2, 7 + 1 + 2 + 4);
    let record = expert + 5;
    // Where a byte is, what it belongs to, and how much its highest bit says there: of an int8, it is the sign.
    let places = [
        (record + embedding + 6, Head::Embedding, 1, 6, 256 - 0x80),
        (record + code, Head::Hash, 1, 0, 0x80),
        (record + cluster, Head::Clusters, 1, 0, 0x80),
        (record + cluster + 1, Head::Clusters, 1, 0, 0x8000),
        (2 * record + score, Head::Clusters, 2, 1, 0x80),
        (2 * record + score + 3, Head::Clusters, 2, 1, 0x8000_0000),
        (record + expert + 4, Head::Experts, 1, 4, 256 - 0x80),
    ];
    for (offset, expected_head, expected_sample, expected_position, changed) in places {
        let mut bytes = test.blob.to_vec();
        bytes[outputs + offset] ^= 0x80;
        let bytes = sealed(bytes);
        let model = Model::parse(&bytes).unwrap();
        match model.verify(&mut room(0, model.arena_bytes())) {
            Err(VerifyError::Mismatch { sample, head, position, expected, found }) => {
                assert_eq!((head, sample, position), (expected_head, expected_sample, expected_position));
                assert_eq!((expected - found).abs(), changed);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn wrong_arguments_are_named() {
    let test = TestModel::new(&plan(9, ClusterPlan::Residual(4), None, 3));
    let model = Model::parse(&test.blob).unwrap();
    let sample = [0; 15];
    let mut encoder = Encoder::<128>::new(&model).unwrap();
    for dims in [0, 10, u16::MAX] {
        let expected = EncoderError::Dims { expected: 9, found: dims.into() };
        assert_eq!(encoder.expert(&sample, Dims::new(dims)).unwrap_err(), expected);
    }
    // There is room for nine, but the embedding has seven.
    let expected = EncoderError::Dims { expected: 7, found: 8 };
    assert_eq!(encoder.embed(&sample, Dims::new(8)).unwrap_err(), expected);
    let expected = EncoderError::Sample { expected: 15, found: 14 };
    assert_eq!(encoder.expert(&sample[1..], Dims::new(1)).unwrap_err(), expected);

    let without = TestModel::new(&plan(0, ClusterPlan::Linear(4), None, 3));
    let model = Model::parse(&without.blob).unwrap();
    let mut encoder = Encoder::<128>::new(&model).unwrap();
    assert_eq!(encoder.expert(&sample, Dims::new(1)).unwrap_err(), EncoderError::NoHead(Head::Experts));
    assert_eq!((model.experts(), model.expert_dims(), model.expert_scale()), (0, 0, None));
    assert_eq!(model.expert_eigenvalues(0), &[0f32; 0]);
}

#[test]
fn the_arena_has_room_for_the_local_embedding() {
    // The last layer's output, the same widened, and the most rows are the largest sum.
    let plan = ModelPlan { layers: vec![Plan::Dense(20)], ..plan(30, ClusterPlan::Linear(2), None, 5) };
    let test = TestModel::new(&plan);
    let model = Model::parse(&test.blob).unwrap();
    let needed = 20 + 2 * 20 + 30;
    assert_eq!(model.arena_bytes(), needed);
    let mut arena = room(0, needed);
    let mut features = model.run(&mut arena, &[9; 15]).unwrap();
    assert_eq!(features.expert(Dims::new(30)).unwrap().embedding, test.outputs(&[9; 15]).local());
    let mut short = room(0, needed - 1);
    let expected = EncoderError::Arena { expected: needed, found: needed - 1 };
    assert_eq!(model.run(&mut short, &[9; 15]).unwrap_err(), expected);
}
