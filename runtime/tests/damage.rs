//! Whatever the bytes are, parsing gives an error or a model that runs.

mod common;

use common::{ClusterPlan, HashPlan, ModelPlan, Plan, Random, TestModel, indices};
use eigenlet_runtime::{BlobError, Dims, EncoderError, Head, Model, ModelError, Part, Sample, VerifyError};
use eigenlet_shared::blob::{Blob, crc32};
use eigenlet_shared::description::{Clusters, Description, Experts, Hash, IndexList, Layer, Raw, Window};
use eigenlet_shared::writer::{AlignedBytes, BlobWriter};

/// A small model with every kind of layer, an embedding, and what is made of it.
fn model() -> TestModel {
    TestModel::new(&plan())
}

/// Small models that together have every kind of layer and head: the second has no embedding, and clusters in its code's rows;
/// the third has experts; the fourth is the second with samples of indices.
fn models() -> [TestModel; 4] {
    let native = ModelPlan {
        layers: vec![Plan::Dense(6)],
        rows: 0,
        hash: Some(HashPlan::Product { heads: 3, classes: 5 }),
        clusters: Some(ClusterPlan::Head(1)),
        ..plan()
    };
    let local = ModelPlan {
        layers: vec![Plan::Dense(6)],
        rows: 0,
        hash: Some(HashPlan::Experts(3)),
        clusters: Some(ClusterPlan::Residual(5)),
        experts: 4,
        ..plan()
    };
    [model(), TestModel::new(&native), TestModel::new(&local), TestModel::new(&sparse_plan())]
}

fn sparse_plan() -> ModelPlan {
    ModelPlan {
        raw: Raw::Indices,
        layers: vec![Plan::Dense(6)],
        rows: 0,
        hash: Some(HashPlan::Product { heads: 3, classes: 5 }),
        clusters: Some(ClusterPlan::Head(1)),
        golden: 4,
        ..plan()
    }
}

fn plan() -> ModelPlan {
    let window = Window { kernel: [3, 2], stride: [1, 1], padding: [1, 1, 0, 0] };
    let pool = Window { kernel: [2, 2], stride: [1, 2], padding: [0; 4] };
    ModelPlan {
        input: [6, 5, 1],
        raw: Raw::U8,
        layers: vec![
            Plan::Conv2d(3, window),
            Plan::DepthwiseConv2d(window),
            Plan::MaxPool2d(pool),
            Plan::AveragePool2d(pool),
            Plan::Dense(6),
        ],
        rows: 4,
        hash: Some(HashPlan::Thresholds(12)),
        clusters: Some(ClusterPlan::Prototypes { count: 3, dims: 4 }),
        experts: 0,
        golden: 2,
        seed: 9,
    }
}

fn sealed(mut bytes: Vec<u8>) -> AlignedBytes {
    let crc = crc32(&bytes[20..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    AlignedBytes::from(&bytes[..])
}

/// Uses everything that a model offers, unless a hostile one would take minutes. Gives whether it ran.
fn exercise(model: &Model) -> bool {
    let _ = model.card().map_err(|error| error.to_string());
    let _ = (model.eigenvalues().len(), model.scale(), model.weight_bytes(), model.golden().count());
    let area = model.description().layers.iter().map(|layer| match layer {
        Layer::Dense(_) => 1,
        Layer::Conv2d(conv) => conv.window.kernel.map(u64::from).iter().product(),
        Layer::DepthwiseConv2d(conv) => conv.window.kernel.map(u64::from).iter().product(),
        Layer::MaxPool2d(window) | Layer::AveragePool2d(window) => window.kernel.map(u64::from).iter().product(),
    });
    let _ = (model.expert_scale(), model.expert_eigenvalues(0).len(), model.expert_eigenvalues(u16::MAX).len());
    let heads = [Head::Hash, Head::Clusters, Head::Experts].map(|head| model.head_macs(head));
    let work = model.macs() + heads.iter().sum::<u64>() + model.arena_bytes() as u64 * area.sum::<u64>();
    if work > 1_000_000 {
        return false;
    }
    let mut arena = vec![0; model.arena_bytes()];
    let _ = model.verify(&mut arena).map_err(|error| error.to_string());
    let (values, ones) = (vec![200; model.input_len()], vec![1; model.input_len()]);
    let sample = match model.raw() {
        Raw::U8 => Sample::Bytes(&values),
        Raw::Indices => Sample::Indices(&indices(&ones)),
    };
    let mut features = model.run_sample(&mut arena, sample).unwrap();
    for dims in [0, 1, model.dims(), model.dims().saturating_add(1)] {
        let _ = features.embed(Dims::new(dims)).map_err(|error| error.to_string());
    }
    for dims in [0, 1, model.expert_dims(), model.expert_dims().saturating_add(1)] {
        let _ = features.expert(Dims::new(dims)).map_err(|error| error.to_string());
    }
    let _ = features.hash::<1>();
    let _ = features.hash_into(model.bits(), &mut vec![0; usize::from(model.bits()).div_ceil(8)]);
    let _ = features.assign();
    true
}

#[test]
fn every_truncation_is_an_error() {
    let test = model();
    assert!(exercise(&Model::parse(&test.blob).unwrap()));
    for length in 0..test.blob.len() {
        let cut = AlignedBytes::from(&test.blob[..length]);
        let error = Model::parse(&cut).unwrap_err();
        assert!(matches!(error, ModelError::Blob(BlobError::TooShort { found, .. }) if found == length));
    }
}

#[test]
fn a_model_may_lie_in_a_longer_region() {
    let test = model();
    let mut region = test.blob.to_vec();
    region.resize(4096, 0xff);
    assert!(Model::parse(&AlignedBytes::from(&region[..])).is_ok());
}

#[test]
fn every_flipped_bit_is_an_error() {
    let test = model();
    for bit in 0..test.blob.len() * 8 {
        // The minor version may be any: it stands before the checksum on purpose.
        if (80..96).contains(&bit) {
            continue;
        }
        let mut bytes = test.blob.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let bytes = AlignedBytes::from(&bytes[..]);
        assert!(matches!(Model::parse(&bytes), Err(ModelError::Blob(_))), "bit {bit}");
    }
}

#[test]
fn a_flipped_bit_under_a_right_checksum_is_an_error_or_a_model_that_runs() {
    for test in models() {
        for bit in 0..test.blob.len() * 8 {
            let mut bytes = test.blob.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(model) = Model::parse(&sealed(bytes)) {
                exercise(&model);
            }
        }
    }
}

#[test]
fn whatever_the_bytes_are_there_is_an_error_or_a_model_that_runs() {
    models().iter().for_each(damage);
}

fn damage(test: &TestModel) {
    let description = u32::from_le_bytes(test.blob[20..24].try_into().unwrap()) as usize;
    let mut random = Random(2026);
    let (mut refused, mut ran) = (0, 0);
    for _ in 0..10_000 {
        let mut bytes = test.blob.to_vec();
        for _ in 0..1 + random.below(4) {
            // Most damage goes where it is most dangerous: header and description.
            let end = if random.below(4) == 0 { bytes.len() } else { 32 + description };
            let at = random.below(end);
            bytes[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ 1 << random.below(8),
                _ => random.next() as u8,
            };
        }
        match Model::parse(&sealed(bytes)) {
            Ok(model) => ran += u32::from(exercise(&model)),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 2_500 && ran > 1_000, "both ways must be seen: {refused} refused, {ran} ran");
}

#[test]
fn a_newer_major_version_is_refused_with_both_numbers() {
    let mut bytes = model().blob.to_vec();
    bytes[8] = 2;
    let error = Model::parse(&sealed(bytes)).unwrap_err();
    assert_eq!(error, ModelError::Blob(BlobError::TooNew { found: 2, supported: 1 }));
    assert!(error.to_string().contains("expected major version 1 or older, found 2"));
}

#[test]
fn a_newer_minor_version_with_more_in_its_description_is_read() {
    let test = model();
    let blob = Blob::parse(&test.blob).unwrap();
    // What `BlobWriter` does, with a field more at the description's end.
    let mut description = postcard::to_allocvec(&blob.description).unwrap();
    description.extend([1, 2, 3]);
    let start = (32 + description.len()).next_multiple_of(16);
    let mut bytes = test.blob[..20].to_vec();
    bytes[10] = 1;
    let total = (start + blob.data.len()) as u32;
    bytes[12..16].copy_from_slice(&total.to_le_bytes());
    for number in [description.len(), start, blob.data.len()] {
        bytes.extend((number as u32).to_le_bytes());
    }
    bytes.extend(&description);
    bytes.resize(start, 0);
    bytes.extend(blob.data);
    let bytes = sealed(bytes);
    let model = Model::parse(&bytes).unwrap();
    assert_eq!(model.verify(&mut vec![0; model.arena_bytes()]), Ok(2));
}

#[test]
fn something_else_is_refused() {
    let mut bytes = AlignedBytes::from(&[0u8; 64][..]).to_vec();
    bytes[..4].copy_from_slice(b"\x7fELF");
    let bytes = AlignedBytes::from(&bytes[..]);
    assert_eq!(Model::parse(&bytes).unwrap_err(), ModelError::Blob(BlobError::NotABlob));
}

#[test]
fn a_model_off_its_boundary_is_refused() {
    let test = model();
    for offset in 1..16 {
        let mut bytes = vec![0; offset];
        bytes.extend_from_slice(&test.blob);
        let bytes = AlignedBytes::from(&bytes[..]);
        assert_eq!(Model::parse(&bytes[offset..]).unwrap_err(), ModelError::Blob(BlobError::Misaligned));
    }
}

/// The model with a changed description, over the same data.
fn with(test: &TestModel, change: impl FnOnce(&mut Description)) -> Result<(), ModelError> {
    let blob = Blob::parse(&test.blob).unwrap();
    let mut description = blob.description.clone();
    change(&mut description);
    let mut writer = BlobWriter::new();
    writer.push_u8(blob.data);
    Model::parse(&writer.finish(&description)).map(|_| ())
}

#[test]
fn every_fault_of_a_description_is_named() {
    let test = model();
    assert_eq!(with(&test, |_| ()), Ok(()));

    assert_eq!(with(&test, |d| d.input.shape[2] = 0), Err(ModelError::Input));
    assert_eq!(with(&test, |d| d.input.shape = [u16::MAX; 3]), Err(ModelError::Input));
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(with(&test, |d| d.input.scale = scale), Err(ModelError::Input));
        let constants = Err(ModelError::Constants { part: Part::Embedding });
        assert_eq!(with(&test, |d| d.embedding.as_mut().unwrap().scale = scale), constants);
    }
    for offset in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(with(&test, |d| d.input.offset = offset), Err(ModelError::Input));
    }
    for offset in [0.0, -0.0, f32::MIN, f32::MAX, f32::MIN_POSITIVE / 2.0] {
        assert_eq!(with(&test, |d| d.input.offset = offset), Ok(()));
    }

    let windows: [fn(&mut Window); 6] = [
        |window| window.kernel[0] = 0,
        |window| window.kernel[1] = 100,
        |window| window.stride[0] = 0,
        |window| window.stride[1] = 0,
        |window| window.padding[0] = window.kernel[0],
        |window| window.padding[3] = window.kernel[1],
    ];
    for fault in windows {
        let outcome = with(&test, |d| match &mut d.layers[2] {
            Layer::MaxPool2d(window) => fault(window),
            _ => unreachable!(),
        });
        assert_eq!(outcome, Err(ModelError::Geometry { layer: 2 }));
    }

    let conv = |change: fn(&mut eigenlet_shared::description::Conv2d)| {
        with(&test, |d| match &mut d.layers[0] {
            Layer::Conv2d(conv) => change(conv),
            _ => unreachable!(),
        })
    };
    let part = Part::Layer(0);
    assert_eq!(conv(|conv| conv.outputs = 0), Err(ModelError::Geometry { layer: 0 }));
    assert_eq!(conv(|conv| conv.weights = u32::MAX), Err(ModelError::OutOfBounds { part }));
    assert_eq!(conv(|conv| conv.channels = u32::MAX), Err(ModelError::OutOfBounds { part }));
    assert_eq!(conv(|conv| conv.channels += 2), Err(ModelError::Misaligned { part }));
    assert_eq!(conv(|conv| conv.output.minimum = 127), Ok(()), "a constant output is a lawful one");
    assert_eq!(conv(|conv| (conv.output.minimum, conv.output.maximum) = (1, 0)), Err(ModelError::Constants { part }));
    // Weights where channels should be: no lawful multipliers.
    assert_eq!(conv(|conv| conv.channels = conv.weights), Err(ModelError::Constants { part }));

    let part = Part::Embedding;
    assert_eq!(with(&test, |d| d.embedding.as_mut().unwrap().rows = 0), Err(ModelError::Head { part }));
    let rising = with(&test, |d| d.embedding.as_mut().unwrap().eigenvalues = thresholds_of(d));
    assert_eq!(rising, Err(ModelError::Constants { part }));
    assert_eq!(with(&test, |d| d.embedding = None), Err(ModelError::Head { part: Part::Clusters }));
    assert_eq!(with(&test, |d| d.golden.samples = u32::MAX - 1), Err(ModelError::OutOfBounds { part: Part::Golden }));
    assert_eq!(with(&test, |d| d.golden.clusters -= 1), Err(ModelError::Misaligned { part: Part::Golden }));
}

fn thresholds_of(description: &Description) -> u32 {
    match description.hash {
        Some(Hash::Thresholds { thresholds, .. }) => thresholds,
        _ => unreachable!(),
    }
}

#[test]
fn every_fault_of_a_hash_or_of_clusters_is_named() {
    let [classic, native, ..] = models();
    let data = Blob::parse(&native.blob).unwrap().data.len() as u32;
    let (hash_part, cluster_part) = (Part::Hash, Part::Clusters);

    let threshold = |change: fn(&mut u16, &mut u32, &mut u32)| {
        with(&classic, |d| match d.hash.as_mut() {
            Some(Hash::Thresholds { bits, weights, thresholds }) => change(bits, weights, thresholds),
            _ => unreachable!(),
        })
    };
    assert_eq!(threshold(|bits, _, _| *bits = 0), Err(ModelError::Head { part: hash_part }));
    assert_eq!(threshold(|_, weights, _| *weights = u32::MAX), Err(ModelError::OutOfBounds { part: hash_part }));
    assert_eq!(threshold(|_, _, thresholds| *thresholds += 1), Err(ModelError::Misaligned { part: hash_part }));

    let product = |change: &dyn Fn(&mut u8, &mut u16, &mut u32, &mut u32)| {
        with(&native, |d| match d.hash.as_mut() {
            Some(Hash::Product { heads, classes, weights, biases }) => change(heads, classes, weights, biases),
            _ => unreachable!(),
        })
    };
    let (none, out, misaligned) = (
        Err(ModelError::Head { part: hash_part }),
        Err(ModelError::OutOfBounds { part: hash_part }),
        Err(ModelError::Misaligned { part: hash_part }),
    );
    assert_eq!(product(&|_, _, _, _| ()), Ok(()));
    assert_eq!(product(&|heads, _, _, _| *heads = 0), none);
    for too_few in [0, 1] {
        assert_eq!(product(&|_, classes, _, _| *classes = too_few), none);
    }
    assert_eq!(product(&|heads, _, _, _| *heads = 255), out);
    assert_eq!(product(&|_, classes, _, _| *classes = u16::MAX), out);
    assert_eq!(product(&|heads, classes, _, _| (*heads, *classes) = (255, u16::MAX)), out);
    // The tables may end where the data ends, and no byte later.
    assert_eq!(product(&|_, _, weights, _| *weights = data - 15 * 6), Ok(()));
    assert_eq!(product(&|_, _, weights, _| *weights = data - 15 * 6 + 1), out);
    assert_eq!(product(&|_, _, weights, _| *weights = u32::MAX), out);
    assert_eq!(product(&|_, _, _, biases| *biases = data.next_multiple_of(4) - 14 * 4), out);
    assert_eq!(product(&|_, _, _, biases| *biases = u32::MAX - 3), out);
    for off in 1..4 {
        assert_eq!(product(&|_, _, _, biases| *biases += off), misaligned);
    }

    let linear = |change: &dyn Fn(&mut u16, &mut u32, &mut u32)| {
        with(&native, |d| match d.clusters.as_mut() {
            Some(Clusters::Linear { count, weights, biases }) => change(count, weights, biases),
            _ => unreachable!(),
        })
    };
    let out = Err(ModelError::OutOfBounds { part: cluster_part });
    assert_eq!(linear(&|count, _, _| *count = 0), Err(ModelError::Head { part: cluster_part }));
    assert_eq!(linear(&|count, _, _| *count = 1), Ok(()), "one cluster is a lawful number");
    assert_eq!(linear(&|count, _, _| *count = u16::MAX), out);
    assert_eq!(linear(&|_, weights, _| *weights = data - 5 * 6), Ok(()));
    assert_eq!(linear(&|_, weights, _| *weights = data - 5 * 6 + 1), out);
    assert_eq!(linear(&|_, _, biases| *biases = u32::MAX - 3), out);
    assert_eq!(linear(&|_, _, biases| *biases += 2), Err(ModelError::Misaligned { part: cluster_part }));

    // Golden tables are as long as the heads say.
    let part = Part::Golden;
    assert_eq!(with(&native, |d| d.golden.codes = data - 1), Err(ModelError::OutOfBounds { part }));
    assert_eq!(with(&native, |d| d.golden.clusters = data), Err(ModelError::OutOfBounds { part }));
    assert_eq!(
        with(&native, |d| d.golden.embeddings = u32::MAX),
        Ok(()),
        "without the head, the offset has no meaning"
    );
}

#[test]
fn every_fault_of_experts_is_named() {
    let [classic, native, local, _] = models();
    let data = Blob::parse(&local.blob).unwrap().data.len() as u32;
    let part = Part::Experts;
    let (none, out, misaligned, constants) = (
        Err(ModelError::Head { part }),
        Err(ModelError::OutOfBounds { part }),
        Err(ModelError::Misaligned { part }),
        Err(ModelError::Constants { part }),
    );
    let experts = |change: &dyn Fn(&mut Experts)| with(&local, |d| change(d.experts.as_mut().unwrap()));
    assert_eq!(experts(&|_| ()), Ok(()));
    assert_eq!(experts(&|experts| experts.rows = 0), none);
    assert_eq!(experts(&|experts| experts.rows = u16::MAX), out);
    // Five experts of four rows over six features: tables may end where the data ends.
    assert_eq!(experts(&|experts| experts.weights = data - 5 * 4 * 6), Ok(()));
    assert_eq!(experts(&|experts| experts.weights = data - 5 * 4 * 6 + 1), out);
    assert_eq!(experts(&|experts| experts.weights = u32::MAX), out);
    assert_eq!(experts(&|experts| experts.channels = data.next_multiple_of(4) - 5 * 4 * 12 + 4), out);
    assert_eq!(experts(&|experts| experts.channels = u32::MAX - 3), out);
    assert_eq!(experts(&|experts| experts.eigenvalues = data.next_multiple_of(4) - 5 * 4 * 4 + 4), out);
    assert_eq!(experts(&|experts| experts.eigenvalues = u32::MAX - 3), out);
    for off in 1..4 {
        assert_eq!(experts(&|experts| experts.channels += off), misaligned);
        assert_eq!(experts(&|experts| experts.eigenvalues += off), misaligned);
    }
    // Weights where channels should be: no lawful multipliers.
    assert_eq!(experts(&|experts| experts.channels = experts.weights), constants);
    // The eigenvalues of the second expert begin anew, higher; from one off, they rise within an expert.
    assert_eq!(experts(&|experts| experts.eigenvalues -= 4), constants);
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(experts(&|experts| experts.scale = scale), constants);
    }
    assert_eq!(with(&local, |d| (d.clusters, d.hash) = (None, None)), none, "experts without clusters");
    let linear = Clusters::Linear { count: 5, weights: 0, biases: 0 };
    let no_experts = |d: &mut Description, hash| (d.clusters, d.experts, d.hash) = (Some(linear), None, hash);
    assert_eq!(with(&local, |d| no_experts(d, None)), Ok(()), "clusters without experts");

    // The code.
    let wrong = Err(ModelError::Head { part: Part::Hash });
    let hash = |classes, rows| with(&local, |d| d.hash = Some(Hash::Experts { classes, rows }));
    assert_eq!(hash(5, 4), Ok(()));
    assert_eq!(hash(5, 0), Ok(()), "the id alone is a code");
    for (classes, rows) in [(5, 5), (5, u16::MAX), (4, 3), (6, 3), (0, 3), (u16::MAX, 3)] {
        assert_eq!(hash(classes, rows), wrong, "{classes} classes, {rows} rows");
    }
    for rows in [0, 3] {
        let hash = Some(Hash::Experts { classes: 5, rows });
        assert_eq!(with(&local, |d| no_experts(d, hash)), wrong, "a code without experts");
    }
    assert_eq!(with(&local, |d| (d.clusters, d.experts) = (None, None)), wrong);

    // The gate.
    let part = Part::Clusters;
    let wrong = Err(ModelError::Head { part });
    let gate = |change: &dyn Fn(&mut u16, &mut u32, &mut u8, &mut u16, &mut u8)| {
        with(&local, |d| match d.clusters.as_mut() {
            Some(Clusters::Residual { count, centres, shift, multiplier, scale_shift }) => {
                d.hash = None;
                change(count, centres, shift, multiplier, scale_shift);
            }
            _ => unreachable!(),
        })
    };
    assert_eq!(gate(&|_, _, _, _, _| ()), Ok(()));
    assert_eq!(gate(&|count, _, _, _, _| *count = 4), Ok(()), "tables may be longer");
    // Experts are looked at first, and there must be some.
    assert_eq!(gate(&|count, _, _, _, _| *count = 0), none);
    assert_eq!(gate(&|count, _, _, _, _| *count = u16::MAX), out);
    assert_eq!(gate(&|_, centres, _, _, _| *centres = data - 5 * 6), Ok(()));
    assert_eq!(gate(&|_, centres, _, _, _| *centres = data - 5 * 6 + 1), Err(ModelError::OutOfBounds { part }));
    assert_eq!(gate(&|_, centres, _, _, _| *centres = u32::MAX), Err(ModelError::OutOfBounds { part }));
    for (shift, expected) in [
        (0, Ok(())),
        (31, Ok(())),
        (32, Err(ModelError::Constants { part })),
        (255, Err(ModelError::Constants { part })),
    ] {
        assert_eq!(gate(&|_, _, to, _, _| *to = shift), expected, "shift {shift}");
    }
    for (shift, expected) in [
        (0, Ok(())),
        (63, Ok(())),
        (64, Err(ModelError::Constants { part })),
        (255, Err(ModelError::Constants { part })),
    ] {
        assert_eq!(gate(&|_, _, _, _, to| *to = shift), expected, "scale shift {shift}");
    }
    for multiplier in [0, u16::MAX] {
        assert_eq!(gate(&|_, _, _, to, _| *to = multiplier), Ok(()));
    }
    let residual = |test| {
        with(test, |d| {
            let (shift, multiplier, scale_shift) = (0, 1, 0);
            d.clusters = Some(Clusters::Residual { count: 3, centres: 0, shift, multiplier, scale_shift });
        })
    };
    assert_eq!(residual(&classic), wrong, "residuals without experts");
    assert_eq!(residual(&native), wrong);

    // Golden tables are as long as the heads say.
    let part = Part::Golden;
    assert_eq!(with(&local, |d| d.golden.experts = data - 2 * 4), Ok(()));
    assert_eq!(with(&local, |d| d.golden.experts = data - 2 * 4 + 1), Err(ModelError::OutOfBounds { part }));
    assert_eq!(with(&local, |d| d.golden.scores = data.next_multiple_of(4) - 4), Err(ModelError::OutOfBounds { part }));
    assert_eq!(with(&local, |d| d.golden.scores -= 2), Err(ModelError::Misaligned { part }));
    let other = |d: &mut Description| (d.clusters, d.golden.scores) = (Some(linear), u32::MAX);
    assert_eq!(with(&local, other), Ok(()), "only residuals have scores");
    assert_eq!(with(&native, |d| (d.golden.experts, d.golden.scores) = (u32::MAX, u32::MAX)), Ok(()));
}

#[test]
fn every_fault_of_indices_is_named() {
    let [classic, _, _, sparse] = models();
    let blob = Blob::parse(&sparse.blob).unwrap();
    let data = blob.data.len() as u32;
    assert_eq!(with(&sparse, |_| ()), Ok(()));

    // The first layer has to be dense.
    assert_eq!(with(&classic, |d| d.input.raw = Raw::Indices), Err(ModelError::Input));
    assert_eq!(with(&sparse, |d| d.layers.clear()), Err(ModelError::Input));
    let pool = Layer::MaxPool2d(Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4] });
    assert_eq!(with(&sparse, |d| d.layers.insert(0, pool).unwrap()), Err(ModelError::Input));
    // An index tells 65,536 values apart; as many are looked at for their weights, which are not there.
    let out = Err(ModelError::OutOfBounds { part: Part::Layer(0) });
    assert_eq!(with(&sparse, |d| d.input.shape = [256, 2, 128]), out);
    for shape in [[2, 3, 10923], [257, 2, 128], [u16::MAX, 1, 2], [u16::MAX; 3], [0, 1, 1]] {
        assert_eq!(with(&sparse, |d| d.input.shape = shape), Err(ModelError::Input), "{shape:?}");
    }

    // The golden samples' lists, and what they point to.
    let part = Part::Golden;
    let (out, misaligned) = (Err(ModelError::OutOfBounds { part }), Err(ModelError::Misaligned { part }));
    let at = |samples| with(&sparse, |d| d.golden.samples = samples);
    assert_eq!(at(data.next_multiple_of(4) - 4 * 8 + 4), out);
    assert_eq!(at(u32::MAX - 3), out);
    assert_eq!(with(&sparse, |d| d.golden.samples += 2), misaligned);
    let samples = blob.description.golden.samples as usize;
    let listed = |list: IndexList| {
        let mut data = blob.data.to_vec();
        // The last sample's.
        data[samples + 3 * 8..][..4].copy_from_slice(&list.offset.to_le_bytes());
        data[samples + 3 * 8 + 4..][..4].copy_from_slice(&list.count.to_le_bytes());
        let mut writer = BlobWriter::new();
        writer.push_u8(&data);
        let bytes = writer.finish(&blob.description);
        let model = Model::parse(&bytes)?;
        assert_eq!(model.golden().count(), 4);
        Ok(model.verify(&mut vec![0; model.arena_bytes()]))
    };
    let list = |offset, count| listed(IndexList { offset, count }).map(|_| ());
    let end = data / 2 * 2;
    assert_eq!(list(end - 6, 3), Ok(()));
    assert_eq!(list(end - 6, 4), out);
    assert_eq!(list(end, 1), out);
    assert_eq!(list(u32::MAX - 1, 1), out);
    assert_eq!(list(0, u32::MAX), out);
    assert_eq!(list(0, 1 << 31), out);
    assert_eq!(list(1, 1), misaligned);
    assert_eq!(list(u32::MAX, 0), Ok(()), "none lie anywhere");
    // What is at the start are weights: indices that are too large, or do not rise.
    let verified = listed(IndexList { offset: 0, count: 8 }).unwrap();
    assert!(matches!(verified, Err(VerifyError::Encoder(EncoderError::Index { below: 30, .. }))), "{verified:?}");
}

#[test]
fn an_input_of_indices_has_up_to_65536_values() {
    let plan = ModelPlan { input: [256, 2, 128], ..sparse_plan() };
    let test = TestModel::new(&plan);
    let model = Model::parse(&test.blob).unwrap();
    let mut arena = vec![0; model.arena_bytes()];
    assert_eq!(model.verify(&mut arena), Ok(4));
    for sample in [vec![0; 1 << 16], vec![1; 1 << 16]] {
        let indices = indices(&sample);
        let features = model.run_sample(&mut arena, Sample::Indices(&indices)).unwrap();
        assert_eq!(features.values(), test.outputs(&sample).features);
    }
    let last = model.run_sample(&mut arena, Sample::Indices(&[u16::MAX]));
    let mut sample = vec![0; 1 << 16];
    sample[0xffff] = 1;
    assert_eq!(last.unwrap().values(), test.outputs(&sample).features);
}
