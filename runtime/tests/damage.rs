//! Whatever the bytes are, parsing gives an error or a model that runs.

mod common;

use common::{ClusterPlan, HashPlan, ModelPlan, Plan, Random, TestModel, described, indices, packed_bytes, room};
use eigenlet_runtime::{BlobError, Dims, EncoderError, Head, Model, ModelError, Part, Sample, VerifyError};
use eigenlet_shared::blob::{Blob, crc32};
use eigenlet_shared::description::{
    Add, Clusters, Conv2d, DepthwiseConv2d, Description, Embedding, Experts, Hash, IndexList, Layer, Operation, Places,
    Raw, Recall, Window,
};
use eigenlet_shared::numerics::{Scale, Sum};
use eigenlet_shared::writer::{AlignedBytes, BlobWriter};

/// A small model with every kind of layer, an embedding, and what is made of it.
fn model() -> TestModel {
    TestModel::new(&plan())
}

/// Small models that together have every kind of layer and head: the second has no embedding, and clusters in its code's rows;
/// the third has experts; the fourth is the second with samples of indices; the fifth has residual connections.
fn models() -> [TestModel; 5] {
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
    let [native, local, sparse, residual] =
        [native, local, sparse_plan(), residual_plan()].map(|plan| TestModel::new(&plan));
    [model(), native, local, sparse, residual]
}

/// A block around which its input goes by, one whose input goes through a convolution, and a dense one.
fn residual_plan() -> ModelPlan {
    let same = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
    let shortcut = Window { kernel: [1, 1], stride: [2, 2], padding: [0; 4] };
    ModelPlan {
        layers: vec![
            Plan::Conv2d(2, same),
            Plan::DepthwiseConv2d(same),
            Plan::Add(1),
            Plan::Conv2d(3, Window { stride: [2, 2], ..same }),
            Plan::Recall(3),
            Plan::Conv2d(3, shortcut),
            Plan::Add(4),
            Plan::Dense(6),
            Plan::Dense(6),
            Plan::Add(8),
        ],
        ..plan()
    }
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
fn exercise(model: &Model, blob: &[u8]) -> bool {
    #[cfg(feature = "card")]
    {
        let _ = model.card().map_err(|error| error.to_string());
        assert_eq!(model.description().map(|description| description.golden), Ok(described(blob).golden));
    }
    let _ = (model.eigenvalues().len(), model.scale(), model.weight_bytes(), model.golden().count());
    let area = described(blob).layers.into_iter().map(|layer| match layer.operation {
        Operation::Dense(_) | Operation::Add(_) | Operation::Recall(_) => 1,
        Operation::Conv2d(Conv2d { window, .. }) | Operation::DepthwiseConv2d(DepthwiseConv2d { window, .. }) => {
            window.kernel.map(u64::from).iter().product()
        }
        Operation::MaxPool2d(window) | Operation::AveragePool2d(window) => {
            window.kernel.map(u64::from).iter().product::<u64>()
        }
    });
    let _ = (model.expert_scale(), model.expert_eigenvalues(0).len(), model.expert_eigenvalues(u16::MAX).len());
    let heads = [Head::Hash, Head::Clusters, Head::Experts].map(|head| model.head_macs(head));
    let work = model.macs() + heads.iter().sum::<u64>() + model.arena_bytes() as u64 * area.sum::<u64>();
    if work > 1_000_000 {
        return false;
    }
    let mut arena = room(0, model.arena_bytes());
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
    assert!(exercise(&Model::parse(&test.blob).unwrap(), &test.blob));
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
            let bytes = sealed(bytes);
            if let Ok(model) = Model::parse(&bytes) {
                exercise(&model, &bytes);
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
        let bytes = sealed(bytes);
        match Model::parse(&bytes) {
            Ok(model) => ran += u32::from(exercise(&model, &bytes)),
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
    let mut description = blob.description.to_vec();
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
    assert_eq!(model.verify(&mut room(0, model.arena_bytes())), Ok(2));
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
    with_data(test, |description, _| change(description))
}

/// The model with a changed description and changed data, which end on a multiple of 4.
fn with_data(test: &TestModel, change: impl FnOnce(&mut Description, &mut Vec<u8>)) -> Result<(), ModelError> {
    let blob = Blob::parse(&test.blob).unwrap();
    let mut description = blob.decode().unwrap();
    let mut data = blob.data.to_vec();
    data.resize(data.len().next_multiple_of(4), 0);
    change(&mut description, &mut data);
    let mut writer = BlobWriter::new();
    writer.push_u8(&data);
    Model::parse(&writer.finish(&description)).map(|_| ())
}

/// The length of the data that [`with`] writes.
fn data_length(test: &TestModel) -> u32 {
    Blob::parse(&test.blob).unwrap().data.len().next_multiple_of(4) as u32
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
        let outcome = with(&test, |d| match &mut d.layers[2].operation {
            Operation::MaxPool2d(window) => fault(window),
            _ => unreachable!(),
        });
        assert_eq!(outcome, Err(ModelError::Geometry { layer: 2 }));
    }

    let conv = |change: &dyn Fn(&mut Conv2d)| {
        with(&test, |d| match &mut d.layers[0].operation {
            Operation::Conv2d(conv) => change(conv),
            _ => unreachable!(),
        })
    };
    let part = Part::Layer(0);
    let (out, misaligned) = (Err(ModelError::OutOfBounds { part }), Err(ModelError::Misaligned { part }));
    let constants = Err(ModelError::Constants { part });
    assert_eq!(conv(&|conv| conv.outputs = 0), Err(ModelError::Geometry { layer: 0 }));
    assert_eq!(conv(&|conv| conv.rows.weights = u32::MAX), out);
    assert_eq!(conv(&|conv| conv.rows.biases = u32::MAX), out);
    assert_eq!(conv(&|conv| conv.rows.scales = u32::MAX), out);
    // Tables may end where the data ends, and no byte later.
    let data = data_length(&test);
    let lengths = [packed_bytes(3, 6) as u32, 4 * 4, 4 * 12];
    assert_eq!(conv(&|conv| conv.rows.weights = data - lengths[0]), Ok(()));
    assert_eq!(conv(&|conv| conv.rows.weights = data - lengths[0] + 4), out);
    assert_eq!(conv(&|conv| conv.rows.biases = data - lengths[1]), Ok(()));
    assert_eq!(conv(&|conv| conv.rows.biases = data - lengths[1] + 4), out);
    assert_eq!(conv(&|conv| conv.rows.scales = data - lengths[2] + 4), out);
    for off in 1..4 {
        assert_eq!(conv(&|conv| conv.rows.weights += off), misaligned);
        assert_eq!(conv(&|conv| conv.rows.biases += off), misaligned);
        assert_eq!(conv(&|conv| conv.rows.scales += off), misaligned);
    }
    assert_eq!(conv(&|conv| conv.output.minimum = 127), Ok(()), "a constant output is a lawful one");
    assert_eq!(conv(&|conv| (conv.output.minimum, conv.output.maximum) = (1, 0)), constants);
    // Weights where scales should be: no lawful multipliers.
    assert_eq!(conv(&|conv| conv.rows.scales = conv.rows.weights), constants);
    let depthwise = with(&test, |d| match &mut d.layers[1].operation {
        Operation::DepthwiseConv2d(conv) => conv.rows.weights += 1,
        _ => unreachable!(),
    });
    assert_eq!(depthwise, Err(ModelError::Misaligned { part: Part::Layer(1) }));

    let part = Part::Embedding;
    assert_eq!(with(&test, |d| d.embedding.as_mut().unwrap().count = 0), Err(ModelError::Head { part }));
    let rising = with_data(&test, |d, data| {
        let last = d.embedding.unwrap().eigenvalues as usize + 4 * 3;
        data[last..last + 4].copy_from_slice(&2f32.to_le_bytes());
    });
    assert_eq!(rising, Err(ModelError::Constants { part }));
    let embedding = |change: &dyn Fn(&mut Embedding)| with(&test, |d| change(d.embedding.as_mut().unwrap()));
    for off in 1..4 {
        assert_eq!(embedding(&|head| head.rows.weights += off), Err(ModelError::Misaligned { part }));
        assert_eq!(embedding(&|head| head.rows.biases += off), Err(ModelError::Misaligned { part }));
        assert_eq!(embedding(&|head| head.rows.scales += off), Err(ModelError::Misaligned { part }));
    }
    assert_eq!(with(&test, |d| d.embedding = None), Err(ModelError::Head { part: Part::Clusters }));
    assert_eq!(with(&test, |d| d.golden.samples = u32::MAX - 1), Err(ModelError::OutOfBounds { part: Part::Golden }));
    assert_eq!(with(&test, |d| d.golden.outputs = u32::MAX), Err(ModelError::OutOfBounds { part: Part::Golden }));
    let bare = |d: &mut Description| {
        (d.embedding, d.hash, d.clusters, d.golden.outputs) = (None, None, None, u32::MAX);
    };
    assert_eq!(with(&test, bare), Ok(()), "without heads, there are no outputs");
}

/// Bytes of a table in the data.
fn table(data: &mut [u8], offset: u32, length: usize) -> &mut [u8] {
    &mut data[offset as usize..][..length]
}

#[test]
fn every_scale_that_its_grid_has_not_is_refused() {
    let test = model();
    let scale = |change: &dyn Fn(&mut Scale, i8)| {
        with_data(&test, |d, data| match d.layers[0].operation {
            Operation::Conv2d(Conv2d { rows, output, .. }) => {
                // The last row's.
                let bytes = table(data, rows.scales + 2 * 12, 12);
                let mut scale = bytemuck::pod_read_unaligned(bytes);
                change(&mut scale, output.zero_point);
                bytes.copy_from_slice(bytemuck::bytes_of(&scale));
            }
            _ => unreachable!(),
        })
    };
    let wrong = Err(ModelError::Constants { part: Part::Layer(0) });
    assert_eq!(scale(&|_, _| ()), Ok(()));
    for multiplier in [0, 1, 1 << 30, i32::MAX] {
        assert_eq!(scale(&|scale, _| scale.multiplier = multiplier), Ok(()));
    }
    for multiplier in [-1, i32::MIN] {
        assert_eq!(scale(&|scale, _| scale.multiplier = multiplier), wrong);
    }
    for shift in 1..=22 {
        assert_eq!(scale(&|scale, zero_point| *scale = Scale::new(scale.multiplier, shift, zero_point)), Ok(()));
    }
    for shift in [0, -1, 23, 31, 32, i32::MIN, i32::MAX] {
        assert_eq!(scale(&|scale, _| scale.shift = shift), wrong);
    }
    for off in [-1, 1, i32::MIN] {
        assert_eq!(scale(&|scale, _| scale.addend = scale.addend.wrapping_add(off)), wrong);
    }
    // The addend of another zero point.
    assert_eq!(scale(&|scale, zero_point| *scale = Scale::new(1, scale.shift, zero_point.wrapping_add(1))), wrong);
    let grid = with(&test, |d| match &mut d.layers[0].operation {
        Operation::Conv2d(conv) => conv.output.zero_point = conv.output.zero_point.wrapping_add(1),
        _ => unreachable!(),
    });
    assert_eq!(grid, wrong);
    // An embedding's zero point is 0.
    let embedding = with_data(&test, |d, data| {
        let scale = Scale::new(1 << 30, 5, 1);
        table(data, d.embedding.unwrap().rows.scales, 12).copy_from_slice(bytemuck::bytes_of(&scale));
    });
    assert_eq!(embedding, Err(ModelError::Constants { part: Part::Embedding }));
}

#[test]
fn every_fault_of_places_is_named() {
    let [test, .., sparse, residual] = models();
    let places = |test, layer: usize, change: &dyn Fn(&mut Places)| with(test, |d| change(&mut d.layers[layer].places));
    let far = 1 << 20;
    // Wherever there is room, layers run.
    for layer in [0, 4] {
        assert_eq!(places(&test, layer, &|places| places.scratch = far), Ok(()));
        for off in 1..4 {
            let misaligned = Err(ModelError::Misaligned { part: Part::Layer(layer as u8) });
            assert_eq!(places(&test, layer, &|places| places.scratch = far + off), misaligned);
        }
    }
    assert_eq!(places(&test, 2, &|places| places.scratch = 3), Ok(()), "of no meaning where none is needed");
    assert_eq!(with(&test, |d| d.input.place = far), Ok(()));
    assert_eq!(with(&test, |d| d.heads = Places { output: far, scratch: 2 * far }), Ok(()));

    // Regions may touch, and not meet: the first layer reads 30 bytes, has 52 of scratch and gives 75.
    let first = |input: u32, scratch: u32, output: u32| {
        with(&test, |d| {
            d.input.place = input;
            d.layers[0].places = Places { output, scratch };
            // The rest, out of its way.
            let mut place = far;
            for layer in &mut d.layers[1..] {
                layer.places = Places { output: place, scratch: 2 * far };
                place += 1000;
            }
            d.heads = Places { output: place, scratch: 2 * far };
        })
    };
    let met = Err(ModelError::Places { part: Part::Layer(0) });
    assert_eq!(first(0, 32, 84), Ok(()));
    assert_eq!(first(54, 0, 84), Ok(()));
    assert_eq!(first(55, 0, 84), met, "input and output");
    assert_eq!(first(0, 28, 84), met, "input and scratch");
    assert_eq!(first(0, 32, 80), Ok(()));
    assert_eq!(first(0, 32, 79), met, "scratch and output");
    assert_eq!(first(500, 72, 0), met, "output and scratch");
    assert_eq!(first(0, 92, 0), met, "input and output, from the same place");
    assert_eq!(first(500, 76, 0), Ok(()));
    assert_eq!(first(75, 128, 0), Ok(()));
    assert_eq!(first(74, 128, 0), met);

    // Arenas of 2^31 bytes and more are refused, also where the sum of place and length would wrap at 32 bits.
    let end = i32::MAX as u32;
    assert_eq!(first(end - 30, 32, 84), Ok(()));
    assert_eq!(first(end - 29, 32, 84), met);
    assert_eq!(first(0, end - 51, 84), Ok(()));
    assert_eq!(first(0, end - 47, 84), met);
    assert_eq!(first(0, 32, end - 75), Ok(()));
    assert_eq!(first(0, 32, end - 74), met);
    for place in [end, end + 1, u32::MAX - 3, u32::MAX - 74, u32::MAX] {
        assert_eq!(first(place, 32, 84), met, "{place}");
        assert_eq!(first(0, 32, place), met, "{place}");
    }
    assert_eq!(first(0, u32::MAX - 3, 72), met);
    assert_eq!(first(0, u32::MAX - 39, 72), met);

    // A dense layer's output may lie where its input does; neither may meet its scratch.
    let dense = |change: &dyn Fn(&mut Places, u32)| {
        with(&test, |d| {
            let input = d.layers[3].places.output;
            change(&mut d.layers[4].places, input);
            d.heads = Places { output: far, scratch: 2 * far };
        })
    };
    let met = Err(ModelError::Places { part: Part::Layer(4) });
    assert_eq!(dense(&|places, input| *places = Places { output: input, scratch: far }), Ok(()));
    assert_eq!(dense(&|places, input| *places = Places { output: input + 1, scratch: far }), Ok(()));
    assert_eq!(dense(&|places, input| *places = Places { output: far, scratch: input }), met);
    assert_eq!(dense(&|places, _| *places = Places { output: far, scratch: far }), met);

    // The same of a sample of bytes that is read where it lies; indices need no scratch.
    let first_dense = TestModel::new(&ModelPlan { layers: vec![Plan::Dense(6)], ..plan() });
    let met = Err(ModelError::Places { part: Part::Layer(0) });
    assert_eq!(places(&first_dense, 0, &|places| places.scratch = places.output & !3), met);
    assert_eq!(with(&first_dense, |d| d.input.place = u32::MAX), Ok(()), "of no meaning");
    for scratch in [0, 1, u32::MAX] {
        assert_eq!(places(&sparse, 0, &|places| places.scratch = scratch), Ok(()));
    }

    // The heads: features, scratch and an embedding.
    let met = Err(ModelError::Places { part: Part::Heads });
    let heads = |output, scratch| {
        with(&test, |d| {
            d.layers[4].places = Places { output: far, scratch: 2 * far };
            d.heads = Places { output, scratch };
        })
    };
    assert_eq!(heads(far + 6, far + 12), Ok(()));
    assert_eq!(heads(far + 5, far + 12), met);
    assert_eq!(heads(far - 4, far + 8), Ok(()));
    assert_eq!(heads(far - 3, far + 8), met);
    assert_eq!(heads(0, far + 4), met);
    assert_eq!(heads(far + 9, far + 12), met);
    assert_eq!(heads(0, far + 10), Err(ModelError::Misaligned { part: Part::Heads }));
    assert_eq!(heads(u32::MAX, far + 8), met);
    assert_eq!(heads(0, u32::MAX - 3), met);

    // Without an embedding, or experts, its place has no meaning.
    for output in [0, 1, 3, u32::MAX] {
        let change = |d: &mut Description| d.heads.output = output;
        assert_eq!(with(&sparse, change), Ok(()));
    }

    // Additions: the operands do not meet. Recalled tensors lie in the arena.
    let add = |change: &dyn Fn(&mut Add, u32)| {
        with(&residual, |d| {
            let input = d.layers[1].places.output;
            match &mut d.layers[2].operation {
                Operation::Add(add) => change(add, input),
                _ => unreachable!(),
            }
        })
    };
    let met = Err(ModelError::Places { part: Part::Layer(2) });
    assert_eq!(add(&|_, _| ()), Ok(()));
    assert_eq!(add(&|add, _| add.other = far), Ok(()));
    assert_eq!(add(&|add, input| add.other = input), met);
    assert_eq!(add(&|add, input| add.other = input + 59), met);
    assert_eq!(add(&|add, input| add.other = input + 60), Ok(()));
    for other in [end - 59, end, u32::MAX - 59, u32::MAX] {
        assert_eq!(add(&|add, _| add.other = other), met);
    }
    let met = Err(ModelError::Places { part: Part::Layer(4) });
    for place in [end - 59, end, u32::MAX - 59, u32::MAX] {
        assert_eq!(places(&residual, 4, &|places| places.output = place), met);
    }
}

#[test]
fn every_fault_of_an_addition_or_of_what_is_recalled_is_named() {
    let [.., residual] = models();
    assert_eq!(with(&residual, |_| ()), Ok(()));
    let add = |change: &dyn Fn(&mut Add)| {
        with(&residual, |d| match &mut d.layers[2].operation {
            Operation::Add(add) => change(add),
            _ => unreachable!(),
        })
    };
    let part = Part::Layer(2);
    let wrong = Err(ModelError::Constants { part });
    let data = data_length(&residual);
    assert_eq!(add(&|add| (add.output.minimum, add.output.maximum) = (1, 0)), wrong);
    assert_eq!(add(&|add| add.sum = data - 28), Err(ModelError::OutOfBounds { part }));
    assert_eq!(add(&|add| add.sum = u32::MAX - 3), Err(ModelError::OutOfBounds { part }));
    for off in 1..4 {
        assert_eq!(add(&|add| add.sum += off), Err(ModelError::Misaligned { part }));
    }
    let sum = |change: &dyn Fn(&mut Sum)| {
        with_data(&residual, |d, data| match d.layers[2].operation {
            Operation::Add(add) => {
                let bytes = table(data, add.sum, 32);
                let mut sum = bytemuck::pod_read_unaligned(bytes);
                change(&mut sum);
                bytes.copy_from_slice(bytemuck::bytes_of(&sum));
            }
            _ => unreachable!(),
        })
    };
    for (value, outcome) in [(-128, Ok(())), (127, Ok(())), (-129, wrong), (128, wrong), (i32::MIN, wrong)] {
        for side in 0..2 {
            assert_eq!(sum(&|sum| sum.zero_points[side] = value), outcome, "zero point {value}");
        }
    }
    for (value, outcome) in [(0, Ok(())), (1, Ok(())), (i32::MAX, Ok(())), (-1, wrong), (i32::MIN, wrong)] {
        for side in 0..2 {
            assert_eq!(sum(&|sum| sum.multipliers[side] = value), outcome, "multiplier {value}");
        }
        assert_eq!(sum(&|sum| sum.multiplier = value), outcome, "multiplier {value}");
    }
    for (value, outcome) in [(0, Ok(())), (31, Ok(())), (-1, wrong), (32, wrong), (i32::MIN, wrong), (i32::MAX, wrong)]
    {
        for side in 0..2 {
            assert_eq!(sum(&|sum| sum.shifts[side] = value), outcome, "shift {value}");
        }
        assert_eq!(sum(&|sum| sum.shift = value), outcome, "shift {value}");
    }

    // What is recalled has a size, and the layers after it are checked for that.
    let recall = |shape: [u16; 3]| {
        with(&residual, |d| match &mut d.layers[4].operation {
            Operation::Recall(recall) => recall.shape = shape,
            _ => unreachable!(),
        })
    };
    assert_eq!(recall([6, 5, 2]), Ok(()));
    for shape in [[0, 5, 2], [6, 0, 2], [6, 5, 0], [u16::MAX; 3]] {
        assert_eq!(recall(shape), Err(ModelError::Geometry { layer: 4 }), "{shape:?}");
    }
    // More channels than the next layer has weights for: the tables behind it are read as its own, or end.
    assert_eq!(recall([6, 5, u16::MAX]), Err(ModelError::OutOfBounds { part: Part::Layer(5) }));

    // Neither may be the first layer of a model whose samples are indices.
    let [.., sparse, _] = models();
    let recall = Operation::Recall(Recall { shape: [1, 1, 30], zero_point: 0 });
    let layer = Layer { places: Places { output: 1 << 20, scratch: 0 }, operation: recall };
    assert_eq!(with(&sparse, |d| d.layers.insert(0, layer).unwrap()), Err(ModelError::Input));
}

/// It stops no model: a device does not look at it.
#[cfg(feature = "card")]
#[test]
fn a_card_that_does_not_decode_is_named() {
    let test = model();
    assert_eq!(Model::parse(&test.blob).unwrap().card(), Err(ModelError::Card), "the model was written without one");
    let card = eigenlet_runtime::Card {
        objective: "objective",
        dataset: "data",
        dataset_sha256: [1; 32],
        recipe_sha256: [2; 32],
        seed: 3,
        producer: "tests",
        truncation: heapless::Vec::new(),
        hash: heapless::Vec::new(),
    };
    let encoded = eigenlet_shared::writer::encode_card(&card);
    let blob = Blob::parse(&test.blob).unwrap();
    let mut writer = BlobWriter::new();
    writer.push_u8(blob.data);
    let bytes = writer.finish(&Description { card: &encoded, ..blob.decode().unwrap() });
    assert_eq!(Model::parse(&bytes).unwrap().card(), Ok(card));
}

#[test]
fn more_than_64_layers_are_refused() {
    let test = TestModel::new(&ModelPlan { layers: vec![Plan::Dense(6); 64], golden: 0, ..plan() });
    assert!(Model::parse(&test.blob).is_ok());
    let blob = Blob::parse(&test.blob).unwrap();
    // Shape, place, form, scale and offset stand before the number of layers.
    let place = blob.description.iter().position(|byte| *byte == 64).unwrap();
    for (count, error) in [(65, true), (127, true), (63, false)] {
        let mut bytes = test.blob.to_vec();
        bytes[32 + place] = count;
        let outcome = Model::parse(&sealed(bytes)).map(|_| ());
        if error {
            assert_eq!(outcome, Err(ModelError::Blob(BlobError::Description)));
        } else {
            assert!(outcome.is_err(), "the last layer is no head");
        }
    }
}

#[test]
fn every_fault_of_a_hash_or_of_clusters_is_named() {
    let [classic, native, ..] = models();
    let data = data_length(&native);
    let (hash_part, cluster_part) = (Part::Hash, Part::Clusters);

    let threshold = |change: &dyn Fn(&mut u16, &mut u32, &mut u32)| {
        with(&classic, |d| match d.hash.as_mut() {
            Some(Hash::Thresholds { bits, weights, biases }) => change(bits, weights, biases),
            _ => unreachable!(),
        })
    };
    assert_eq!(threshold(&|bits, _, _| *bits = 0), Err(ModelError::Head { part: hash_part }));
    assert_eq!(threshold(&|_, weights, _| *weights = u32::MAX), Err(ModelError::OutOfBounds { part: hash_part }));
    for off in 1..4 {
        assert_eq!(threshold(&|_, weights, _| *weights += off), Err(ModelError::Misaligned { part: hash_part }));
        assert_eq!(threshold(&|_, _, biases| *biases += off), Err(ModelError::Misaligned { part: hash_part }));
    }

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
    let length = 3 * packed_bytes(5, 6) as u32;
    assert_eq!(product(&|_, _, weights, _| *weights = data - length), Ok(()));
    assert_eq!(product(&|_, _, weights, _| *weights = data - length + 4), out);
    assert_eq!(product(&|_, _, weights, _| *weights = u32::MAX), out);
    assert_eq!(product(&|_, _, _, biases| *biases = data - 3 * 8 * 4), Ok(()));
    assert_eq!(product(&|_, _, _, biases| *biases = data - 3 * 8 * 4 + 4), out);
    assert_eq!(product(&|_, _, _, biases| *biases = u32::MAX - 3), out);
    for off in 1..4 {
        assert_eq!(product(&|_, _, weights, _| *weights += off), misaligned);
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
    let length = packed_bytes(5, 6) as u32;
    assert_eq!(linear(&|_, weights, _| *weights = data - length), Ok(()));
    assert_eq!(linear(&|_, weights, _| *weights = data - length + 1), out);
    assert_eq!(linear(&|_, weights, _| *weights += 2), Err(ModelError::Misaligned { part: cluster_part }));
    assert_eq!(linear(&|_, _, biases| *biases = u32::MAX - 3), out);
    assert_eq!(linear(&|_, _, biases| *biases += 2), Err(ModelError::Misaligned { part: cluster_part }));

    // A golden record is as long as the heads say: two bytes of a code of nine bits, and a cluster.
    let part = Part::Golden;
    assert_eq!(with(&native, |d| d.golden.outputs = data - 2 * 4), Ok(()));
    assert_eq!(with(&native, |d| d.golden.outputs = data - 2 * 4 + 1), Err(ModelError::OutOfBounds { part }));
}

#[test]
fn every_fault_of_experts_is_named() {
    let [classic, native, local, ..] = models();
    let data = data_length(&local);
    let part = Part::Experts;
    let (none, out, misaligned, constants) = (
        Err(ModelError::Head { part }),
        Err(ModelError::OutOfBounds { part }),
        Err(ModelError::Misaligned { part }),
        Err(ModelError::Constants { part }),
    );
    let experts = |change: &dyn Fn(&mut Experts)| {
        with(&local, |d| {
            // Room for any number of rows: places are looked at first.
            d.heads.output = 1 << 20;
            change(d.experts.as_mut().unwrap());
        })
    };
    assert_eq!(experts(&|_| ()), Ok(()));
    assert_eq!(experts(&|experts| experts.count = 0), none);
    assert_eq!(experts(&|experts| experts.count = u16::MAX), out);
    // Five experts of four rows over six features: tables may end where the data ends.
    let length = 5 * packed_bytes(4, 6) as u32;
    assert_eq!(experts(&|experts| experts.rows.weights = data - length), Ok(()));
    assert_eq!(experts(&|experts| experts.rows.weights = data - length + 4), out);
    assert_eq!(experts(&|experts| experts.rows.weights = u32::MAX), out);
    assert_eq!(experts(&|experts| experts.rows.biases = data - 5 * 4 * 4), Ok(()));
    assert_eq!(experts(&|experts| experts.rows.biases = data - 5 * 4 * 4 + 4), out);
    assert_eq!(experts(&|experts| experts.rows.biases = u32::MAX - 3), out);
    let short = with_data(&local, |d, data| {
        // Lawful scales up to the end, of all rows but the last.
        d.experts.as_mut().unwrap().rows.scales = data.len() as u32;
        data.extend(bytemuck::cast_slice(&[Scale::new(1, 1, 0); 19]));
    });
    assert_eq!(short, out);
    assert_eq!(experts(&|experts| experts.rows.scales = u32::MAX - 3), out);
    // What is looked at first lies inside the data.
    let short = with_data(&local, |d, data| {
        d.experts.as_mut().unwrap().eigenvalues = data.len() as u32;
        data.extend([0; 19 * 4]);
    });
    assert_eq!(short, out);
    assert_eq!(experts(&|experts| experts.eigenvalues = u32::MAX - 3), out);
    for off in 1..4 {
        assert_eq!(experts(&|experts| experts.rows.weights += off), misaligned);
        assert_eq!(experts(&|experts| experts.rows.biases += off), misaligned);
        assert_eq!(experts(&|experts| experts.rows.scales += off), misaligned);
        assert_eq!(experts(&|experts| experts.eigenvalues += off), misaligned);
    }
    // Weights where scales should be: no lawful multipliers.
    assert_eq!(experts(&|experts| experts.rows.scales = experts.rows.weights), constants);
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
    // Experts are looked at one after another: what lies behind the last one is no scale, before the data ends.
    assert_eq!(gate(&|count, _, _, _, _| *count = u16::MAX), constants);
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

    // A golden record is as long as the heads say: one byte of a code of six bits, a cluster, a score and four dimensions.
    let part = Part::Golden;
    assert_eq!(with(&local, |d| d.golden.outputs = data - 2 * 11), Ok(()));
    assert_eq!(with(&local, |d| d.golden.outputs = data - 2 * 11 + 1), Err(ModelError::OutOfBounds { part }));
    let other = |outputs| with(&local, |d| (d.clusters, d.golden.outputs) = (Some(linear), outputs));
    assert_eq!(other(data - 2 * 7), Ok(()), "only residuals have scores");
    assert_eq!(other(data - 2 * 7 + 1), Err(ModelError::OutOfBounds { part }));
}

#[test]
fn every_fault_of_indices_is_named() {
    let [classic, _, _, sparse, _] = models();
    let blob = Blob::parse(&sparse.blob).unwrap();
    let description = blob.decode().unwrap();
    let data = blob.data.len() as u32;
    assert_eq!(with(&sparse, |_| ()), Ok(()));

    // The first layer has to be dense.
    assert_eq!(with(&classic, |d| d.input.raw = Raw::Indices), Err(ModelError::Input));
    assert_eq!(with(&sparse, |d| d.layers.clear()), Err(ModelError::Input));
    let pool = Operation::MaxPool2d(Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4] });
    let pool = Layer { places: Places { output: 1 << 20, scratch: 0 }, operation: pool };
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
    let samples = description.golden.samples as usize;
    let listed = |list: IndexList| {
        let mut data = blob.data.to_vec();
        // The last sample's.
        data[samples + 3 * 8..][..4].copy_from_slice(&list.offset.to_le_bytes());
        data[samples + 3 * 8 + 4..][..4].copy_from_slice(&list.count.to_le_bytes());
        let mut writer = BlobWriter::new();
        writer.push_u8(&data);
        let bytes = writer.finish(&description);
        let model = Model::parse(&bytes)?;
        assert_eq!(model.golden().count(), 4);
        Ok(model.verify(&mut room(0, model.arena_bytes())))
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
    let mut arena = room(0, model.arena_bytes());
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
