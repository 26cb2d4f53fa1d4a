//! Random models, and an oracle that runs them by definition: real zeros as padding, zero points subtracted one by one,
//! 64-bit sums, rounding from the published definitions. It shares no arithmetic with the runtime.
#![allow(dead_code)] // each test file uses its part

use std::ops::{Deref, DerefMut};

use eigenlet_runtime::Sample;
use eigenlet_shared::blob::Blob;
use eigenlet_shared::description::{
    Add, Clusters, Conv2d, Dense, DepthwiseConv2d, Description, Embedding, Experts, Golden, Hash, Input, Layer, Layers,
    Operation, Places, Raw, Recall, Rows, Window,
};
use eigenlet_shared::numerics::{Output, Scale, Sum, nonzero_indices};
use eigenlet_shared::writer::{AlignedBytes, BlobWriter, GoldenOutputs};
use eigenlet_shared::{packed, plan};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Values of every kind.
    fn values(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.next() as i8).collect()
    }

    /// Weights, never -128; now and then all of them as far from 0 as can be, with one sign or with both.
    fn weights(&mut self, count: usize) -> Vec<i8> {
        match self.below(12) {
            0 => vec![if self.below(2) == 0 { 127 } else { -127 }; count],
            1 => (0..count).map(|_| if self.below(2) == 0 { 127 } else { -127 }).collect(),
            _ => (0..count).map(|_| (self.next() as i8).max(-127)).collect(),
        }
    }
}

/// An arena of any length, on a multiple of 4 as [`eigenlet_runtime::Model::run`] takes it.
#[derive(Clone, Debug)]
pub struct Room {
    words: Vec<u32>,
    bytes: usize,
}

/// So many bytes of that value.
pub fn room(value: i8, bytes: usize) -> Room {
    Room { words: vec![u32::from_ne_bytes([value as u8; 4]); bytes.div_ceil(4)], bytes }
}

impl Deref for Room {
    type Target = [i8];

    fn deref(&self) -> &[i8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [i8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }
}

/// What a blob says of its model. A runtime without its feature `card` cannot tell.
pub fn described(blob: &[u8]) -> Description<'_> {
    Blob::parse(blob).unwrap().decode().unwrap()
}

/// Bytes that packed rows take.
pub fn packed_bytes(rows: usize, columns: usize) -> usize {
    4 * packed::words(rows, columns)
}

/// Rows up to whole quads: as many constants lie in the blob.
pub fn padded(rows: usize) -> usize {
    rows.next_multiple_of(4)
}

/// What to make a layer of; its constants are random.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    Dense(u16),
    Conv2d(u16, Window),
    DepthwiseConv2d(Window),
    MaxPool2d(Window),
    AveragePool2d(Window),
    /// Adds the tensor of that number: 0 is the sample, `n` what the `n`-th layer gives.
    Add(usize),
    /// Goes on with the tensor of that number.
    Recall(usize),
}

/// What to make a model of.
#[derive(Clone, Debug)]
pub struct ModelPlan {
    pub input: [u16; 3],
    /// The samples' form. Of indices, too, a sample here is a row of values: bytes of 0 and 1.
    pub raw: Raw,
    pub layers: Vec<Plan>,
    pub rows: u16,
    pub hash: Option<HashPlan>,
    pub clusters: Option<ClusterPlan>,
    /// Rows of each cluster's expert; 0 for none.
    pub experts: u16,
    pub golden: u16,
    pub seed: u64,
}

/// What to make a hash head of.
#[derive(Clone, Copy, Debug)]
pub enum HashPlan {
    /// So many bits.
    Thresholds(u16),
    Product {
        heads: u8,
        classes: u16,
    },
    /// The cluster's id, and so many rows of its expert.
    Experts(u16),
}

/// Bits of a class, found by counting up.
fn width(classes: u16) -> usize {
    (0..).find(|bits| 1u32 << bits >= classes.into()).unwrap()
}

/// What to make clusters of.
#[derive(Clone, Copy, Debug)]
pub enum ClusterPlan {
    Prototypes {
        count: u16,
        dims: u16,
    },
    Linear(u16),
    /// One head of the product code, of that number, in the same tables.
    Head(u8),
    /// So many centres, with experts.
    Residual(u16),
}

impl ClusterPlan {
    fn count(self, hash: Option<HashPlan>) -> u16 {
        match (self, hash) {
            (Self::Prototypes { count, .. } | Self::Linear(count) | Self::Residual(count), _) => count,
            (Self::Head(_), Some(HashPlan::Product { classes, .. })) => classes,
            (Self::Head(_), _) => panic!("a product code has heads"),
        }
    }
}

/// Centres, and how squared accumulators become squared steps.
pub struct Centres {
    pub values: Vec<i8>,
    pub shift: u8,
    pub multiplier: u16,
    pub scale_shift: u8,
}

/// Where a sample's ones stand.
pub fn indices(sample: &[u8]) -> Vec<u16> {
    nonzero_indices(sample).collect()
}

/// A sample of bytes.
pub fn bytes_of(sample: Sample<'_>) -> &[u8] {
    match sample {
        Sample::Bytes(bytes) => bytes,
        Sample::Indices(_) => panic!("expected bytes, found {sample:?}"),
    }
}

/// What an addition takes, but for the zero points.
struct Factors {
    multipliers: [i32; 2],
    shifts: [i32; 2],
    multiplier: i32,
    shift: i32,
    output: Output,
}

/// A layer's numbers.
enum Table {
    None,
    Rows(Weighted),
    Sum(Factors),
}

/// What a layer gives: its values, its shape, the value of a real zero.
struct Tensor {
    values: Vec<i64>,
    shape: [usize; 3],
    zero_point: i64,
}

struct Weighted {
    weights: Vec<i8>,
    /// Without the input's zero point.
    bias: Vec<i64>,
    multiplier: Vec<i32>,
    shift: Vec<i32>,
    output: Output,
}

/// A model as the oracle runs it, and as a blob.
pub struct TestModel {
    plan: ModelPlan,
    layers: Vec<(Plan, Table)>,
    embedding: Option<Weighted>,
    hash: Vec<i8>,
    hash_biases: Vec<i32>,
    product: Option<Linear>,
    prototypes: Vec<i8>,
    linear: Option<Linear>,
    centres: Option<Centres>,
    experts: Vec<Weighted>,
    pub eigenvalues: Vec<f32>,
    pub blob: AlignedBytes,
    /// Bytes that the planner laid out.
    pub arena: usize,
}

/// What a sample must give.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    pub features: Vec<i8>,
    pub embedding: Vec<i8>,
    pub bits: Vec<bool>,
    /// Squared distance to each prototype.
    pub distances: Vec<i64>,
    /// Sum of each cluster's row, its bias included.
    pub sums: Vec<i64>,
    /// What each cluster's centre and expert leave of the features.
    pub residuals: Vec<i64>,
    /// The embedding by each cluster's expert.
    pub locals: Vec<Vec<i8>>,
}

impl Outputs {
    pub fn code(&self, bits: usize) -> Vec<u8> {
        let mut code = vec![0; bits.div_ceil(8)];
        for bit in 0..bits {
            code[bit / 8] |= u8::from(self.bits[bit]) << (bit % 8);
        }
        code
    }

    /// The nearest prototype, the largest sum, or the least residual.
    pub fn cluster(&self) -> u16 {
        first_largest(self.distances.iter().chain(&self.residuals).map(|cost| -cost).chain(self.sums.iter().copied()))
    }

    /// The least residual.
    pub fn score(&self) -> u32 {
        u32::try_from(*self.residuals.iter().min().unwrap()).unwrap()
    }

    /// The local embedding of the cluster's expert.
    pub fn local(&self) -> &[i8] {
        &self.locals[usize::from(self.cluster())]
    }
}

/// Where the largest value stands, found by sorting; of equals, the first.
fn first_largest(values: impl Iterator<Item = i64>) -> u16 {
    let mut order: Vec<(i64, u16)> = values.zip(0..).map(|(value, id)| (-value, id)).collect();
    order.sort();
    order[0].1
}

/// Rows of a linear head.
struct Linear {
    weights: Vec<i8>,
    /// Without the features' zero point.
    bias: Vec<i64>,
}

impl Linear {
    /// Random rows; about one in four repeats its predecessor, so that sums are equal now and then.
    fn new(random: &mut Random, count: usize, features: usize) -> Self {
        let spread = (features as f64).sqrt() * 74.0 * 74.0;
        let mut head = Self { weights: Vec::new(), bias: Vec::new() };
        for row in 0..count {
            if row > 0 && random.below(4) == 0 {
                head.weights.extend_from_within((row - 1) * features..);
                head.bias.push(head.bias[row - 1]);
            } else {
                head.weights.extend(random.weights(features));
                head.bias.push((f64::from(random.next() as i8) / 127.0 * spread) as i64);
            }
        }
        head
    }

    fn rows(&self) -> impl Iterator<Item = (&[i8], i64)> {
        self.weights.chunks(self.weights.len() / self.bias.len()).zip(self.bias.iter().copied())
    }

    fn sums(&self, x: &[i64], zero_point: i64) -> Vec<i64> {
        let sum = |(row, bias): (&[i8], i64)| -> i64 {
            bias + row.iter().zip(x).map(|(w, x)| i64::from(*w) * (x - zero_point)).sum::<i64>()
        };
        self.rows().map(sum).collect()
    }

    /// The offsets of weights and biases, the zero point folded in; so many rows to a block.
    fn write(&self, writer: &mut BlobWriter, zero_point: i64, rows: usize) -> (u32, u32) {
        let folded = |(row, bias): (&[i8], i64)| bias - zero_point * row.iter().map(|w| i64::from(*w)).sum::<i64>();
        let biases: Vec<i32> = self.rows().map(|row| i32::try_from(folded(row)).unwrap()).collect();
        let columns = self.weights.len() / self.bias.len();
        (writer.push_blocks(&self.weights, rows, columns), writer.push_biases(&biases, rows))
    }
}

impl TestModel {
    pub fn new(plan: &ModelPlan) -> Self {
        let mut random = Random(plan.seed);
        let mut shape = plan.input.map(usize::from);
        let mut shapes = vec![shape];
        let mut layers = Vec::new();
        for layer in &plan.layers {
            let [_, _, c] = shape;
            let grid = |random: &mut Random| {
                let (a, b) = (random.next() as i8, random.next() as i8);
                let zero_point = random.next() as i8;
                match random.below(3) {
                    0 => Output { zero_point, minimum: zero_point, maximum: 127 }, // ReLU
                    1 => Output { zero_point, minimum: -128, maximum: 127 },
                    _ => Output { zero_point, minimum: a.min(b), maximum: a.max(b) },
                }
            };
            let table = match layer {
                Plan::Dense(outputs) => {
                    let grid = grid(&mut random);
                    // What zeros and ones sum up to is smaller by the range of bytes.
                    let range = if plan.raw == Raw::Indices && layers.is_empty() { 1.0 } else { 128.0 };
                    let taps = shape.iter().product();
                    Table::Rows(Weighted::in_range(&mut random, *outputs as usize, taps, grid, range))
                }
                Plan::Conv2d(outputs, window) => {
                    let [height, width] = window.kernel.map(usize::from);
                    let grid = grid(&mut random);
                    Table::Rows(Weighted::new(&mut random, *outputs as usize, height * width * c, grid))
                }
                Plan::DepthwiseConv2d(window) => {
                    let [height, width] = window.kernel.map(usize::from);
                    let grid = grid(&mut random);
                    Table::Rows(Weighted::new(&mut random, c, height * width, grid))
                }
                Plan::Add(_) => {
                    let grid = grid(&mut random);
                    Table::Sum(Factors::new(&mut random, grid))
                }
                Plan::MaxPool2d(_) | Plan::AveragePool2d(_) | Plan::Recall(_) => Table::None,
            };
            shape = if let Plan::Recall(tensor) = layer { shapes[*tensor] } else { output_shape(shape, layer) };
            shapes.push(shape);
            layers.push((*layer, table));
        }
        let features: usize = shape.iter().product();
        let embedding = (plan.rows > 0).then(|| {
            let grid = Output { zero_point: 0, minimum: -127, maximum: 127 };
            Weighted::new(&mut random, plan.rows.into(), features, grid)
        });
        let bits = if let Some(HashPlan::Thresholds(bits)) = plan.hash { bits } else { 0 };
        let hash = random.weights(features * usize::from(bits));
        let spread = 4000.0 * (features as f64).sqrt();
        let hash_biases = (0..bits).map(|_| ((random.next() as i8) as f64 / 127.0 * spread) as i32).collect();
        let product = match plan.hash {
            Some(HashPlan::Product { heads, classes }) => {
                Some(Linear::new(&mut random, usize::from(heads) * usize::from(classes), features))
            }
            _ => None,
        };
        let (mut prototypes, mut linear) = (Vec::new(), None);
        match plan.clusters {
            Some(ClusterPlan::Prototypes { count, dims }) => {
                prototypes = random.values(usize::from(count) * usize::from(dims));
            }
            Some(ClusterPlan::Linear(count)) => linear = Some(Linear::new(&mut random, count.into(), features)),
            Some(ClusterPlan::Head(head)) => {
                let Some(HashPlan::Product { classes, .. }) = plan.hash else { panic!("a product code has heads") };
                let (first, classes) = (usize::from(head) * usize::from(classes), usize::from(classes));
                let product = product.as_ref().unwrap();
                linear = Some(Linear {
                    weights: product.weights[first * features..][..classes * features].to_vec(),
                    bias: product.bias[first..][..classes].to_vec(),
                });
            }
            Some(ClusterPlan::Residual(_)) | None => {}
        }
        let count = plan.clusters.map_or(0, |clusters| clusters.count(plan.hash));
        let centres = match plan.clusters {
            Some(ClusterPlan::Residual(_)) => Some(Centres::new(&mut random, count.into(), features)),
            _ => None,
        };
        let expert = |_| {
            let grid = Output { zero_point: 0, minimum: -127, maximum: 127 };
            Weighted::new(&mut random, plan.experts.into(), features, grid)
        };
        let experts = if plan.experts > 0 { (0..count).map(expert).collect() } else { Vec::new() };
        let mut model = Self {
            plan: plan.clone(),
            layers,
            embedding,
            hash,
            hash_biases,
            product,
            prototypes,
            linear,
            centres,
            experts,
            eigenvalues: (0..plan.rows).map(|row| 1.0 / f32::from(row + 1)).collect(),
            blob: AlignedBytes::from(&[][..]),
            arena: 0,
        };
        (model.blob, model.arena) = model.write(&mut random);
        model
    }

    /// Falling, and 0 at the end.
    pub fn expert_eigenvalues(&self, id: usize) -> Vec<f32> {
        let rows = self.plan.experts;
        (0..rows).map(|row| f32::from(rows - 1 - row) * (id + 1) as f32).collect()
    }

    pub fn input_len(&self) -> usize {
        self.plan.input.iter().map(|side| usize::from(*side)).product()
    }

    /// The model that gives the same for the same row of values, with samples of bytes.
    pub fn of_bytes(mut self) -> Self {
        self.plan.raw = Raw::U8;
        self.plan.golden = 0;
        (self.blob, self.arena) = self.write(&mut Random(0));
        self
    }

    /// A random sample.
    pub fn sample(&self, random: &mut Random) -> Vec<u8> {
        match self.plan.raw {
            Raw::U8 => random.bytes(self.input_len()),
            Raw::Indices => {
                let ones = random.below(self.input_len() + 1);
                (0..self.input_len()).map(|_| u8::from(random.below(self.input_len()) < ones)).collect()
            }
        }
    }

    /// The input's zero point in the blob.
    fn zero_point(&self) -> i64 {
        match self.plan.raw {
            Raw::U8 => -128,
            Raw::Indices => 0,
        }
    }

    /// Runs a sample by definition.
    pub fn outputs(&self, sample: &[u8]) -> Outputs {
        let zero_point = self.zero_point();
        let mut tensors = vec![Tensor {
            values: sample.iter().map(|raw| i64::from(*raw) + zero_point).collect(),
            shape: self.plan.input.map(usize::from),
            zero_point,
        }];
        for (layer, table) in &self.layers {
            tensors.push(run_layer(layer, table, &tensors));
        }
        let Tensor { values, zero_point, .. } = tensors.pop().unwrap();
        let embedding: Vec<i64> = match &self.embedding {
            Some(table) => dense(table, &values, zero_point),
            None => Vec::new(),
        };
        let count = values.len();
        let mut bits: Vec<bool> = Vec::new();
        for (bit, bias) in self.hash_biases.iter().enumerate() {
            let sum: i64 = (0..count).map(|i| i64::from(self.hash[bit * count + i]) * values[i]).sum();
            bits.push(sum + i64::from(*bias) > 0);
        }
        if let (Some(product), Some(HashPlan::Product { classes, .. })) = (&self.product, self.plan.hash) {
            for sums in product.sums(&values, zero_point).chunks(classes.into()) {
                let class = first_largest(sums.iter().copied());
                bits.extend((0..width(classes)).map(|bit| class >> bit & 1 == 1));
            }
        }
        let dims = if let Some(ClusterPlan::Prototypes { dims, .. }) = self.plan.clusters { dims.into() } else { 1 };
        let distances = self
            .prototypes
            .chunks(dims)
            .map(|prototype| prototype.iter().zip(&embedding).map(|(a, b)| (i64::from(*a) - b).pow(2)).sum());
        let int8 = |values: &[i64]| values.iter().map(|value| i8::try_from(*value).unwrap()).collect::<Vec<_>>();
        let sums: Vec<Vec<i64>> = self.experts.iter().map(|expert| expert.sums(&values, zero_point)).collect();
        let residuals = |centres: &Centres| -> Vec<i64> {
            let centre = centres.values.chunks(count);
            centre.zip(&sums).map(|(centre, sums)| centres.residual(centre, &values, sums)).collect()
        };
        let locals = self.experts.iter().map(|expert| int8(&dense(expert, &values, zero_point)));
        let mut outputs = Outputs {
            distances: distances.collect(),
            sums: self.linear.as_ref().map_or(Vec::new(), |head| head.sums(&values, zero_point)),
            residuals: self.centres.as_ref().map_or(Vec::new(), residuals),
            locals: locals.collect(),
            features: int8(&values),
            embedding: int8(&embedding),
            bits,
        };
        if let (Some(HashPlan::Experts(rows)), Some(clusters)) = (self.plan.hash, self.plan.clusters) {
            let cluster = outputs.cluster();
            outputs.bits.extend((0..width(clusters.count(None))).map(|bit| cluster >> bit & 1 == 1));
            outputs.bits.extend((0..rows).map(|row| sums[usize::from(cluster)][usize::from(row)] > 0));
        }
        outputs
    }

    /// The blob, and the bytes of its arena.
    fn write(&self, random: &mut Random) -> (AlignedBytes, usize) {
        let mut writer = BlobWriter::new();
        // Of each tensor, its shape and zero point.
        let mut tensors = vec![(self.plan.input.map(usize::from), self.zero_point())];
        let mut layers = Layers::new();
        for (layer, table) in &self.layers {
            let (shape, zero_point) = tensors[tensors.len() - 1];
            let (rows, output) = match table {
                Table::Rows(table) => {
                    (table.write(&mut writer, zero_point, matches!(layer, Plan::DepthwiseConv2d(_))), table.output)
                }
                Table::Sum(table) => (Rows::default(), table.output),
                Table::None => (Rows::default(), Output { zero_point: zero_point as i8, minimum: -128, maximum: 127 }),
            };
            let mut places = Places::default();
            let mut next = (output_shape(shape, layer), output.zero_point.into());
            let operation = match (*layer, table) {
                (Plan::Dense(outputs), _) => Operation::Dense(Dense { outputs, rows, output }),
                (Plan::Conv2d(outputs, window), _) => Operation::Conv2d(Conv2d { outputs, window, rows, output }),
                (Plan::DepthwiseConv2d(window), _) => {
                    Operation::DepthwiseConv2d(DepthwiseConv2d { window, rows, output })
                }
                (Plan::MaxPool2d(window), _) => Operation::MaxPool2d(window),
                (Plan::AveragePool2d(window), _) => Operation::AveragePool2d(window),
                (Plan::Add(other), Table::Sum(factors)) => {
                    let sum = writer.push_sum(factors.with([zero_point, tensors[other].1]));
                    Operation::Add(Add { other: other as u32, sum, output })
                }
                (Plan::Recall(tensor), _) => {
                    places.output = tensor as u32;
                    next = tensors[tensor];
                    let (shape, zero_point) = next;
                    Operation::Recall(Recall { shape: shape.map(|side| side as u16), zero_point: zero_point as i8 })
                }
                (Plan::Add(_), _) => unreachable!(),
            };
            layers.push(Layer { places, operation }).unwrap();
            tensors.push(next);
        }
        let (shape, zero_point) = tensors[tensors.len() - 1];
        let features: usize = shape.iter().product();
        let embedding = self.embedding.as_ref().map(|table| {
            let rows = table.write(&mut writer, zero_point, false);
            let eigenvalues = writer.push_f32(&self.eigenvalues);
            Embedding { count: self.plan.rows, rows, scale: 0.02, eigenvalues }
        });
        let hash = self.plan.hash.map(|hash| match hash {
            HashPlan::Thresholds(bits) => Hash::Thresholds {
                bits,
                weights: writer.push_packed(&self.hash, features),
                biases: writer.push_biases(&self.hash_biases, bits.into()),
            },
            HashPlan::Product { heads, classes } => {
                let (weights, biases) = self.product.as_ref().unwrap().write(&mut writer, zero_point, classes.into());
                Hash::Product { heads, classes, weights, biases }
            }
            HashPlan::Experts(rows) => {
                Hash::Experts { classes: self.plan.clusters.unwrap().count(self.plan.hash), rows }
            }
        });
        let clusters = self.plan.clusters.map(|clusters| match (clusters, hash) {
            (ClusterPlan::Prototypes { count, dims }, _) => {
                Clusters::Prototypes { count, dims, prototypes: writer.push_i8(&self.prototypes) }
            }
            (ClusterPlan::Head(head), Some(Hash::Product { classes, weights, biases, .. })) => {
                let head = u32::from(head);
                Clusters::Linear {
                    count: classes,
                    weights: weights + head * packed_bytes(classes.into(), features) as u32,
                    biases: biases + head * padded(classes.into()) as u32 * 4,
                }
            }
            (ClusterPlan::Linear(count), _) => {
                let (weights, biases) = self.linear.as_ref().unwrap().write(&mut writer, zero_point, count.into());
                Clusters::Linear { count, weights, biases }
            }
            (ClusterPlan::Residual(count), _) => {
                let Centres { values, shift, multiplier, scale_shift } = self.centres.as_ref().unwrap();
                let (shift, multiplier, scale_shift) = (*shift, *multiplier, *scale_shift);
                Clusters::Residual { count, centres: writer.push_i8(values), shift, multiplier, scale_shift }
            }
            (ClusterPlan::Head(_), _) => unreachable!(),
        });
        let experts = (!self.experts.is_empty()).then(|| {
            let weights: Vec<i8> = self.experts.iter().flat_map(|expert| expert.weights.clone()).collect();
            let biases: Vec<i32> = self.experts.iter().flat_map(|expert| expert.biases(zero_point)).collect();
            let scales: Vec<Scale> = self.experts.iter().flat_map(Weighted::scales).collect();
            let eigenvalues: Vec<f32> = (0..self.experts.len()).flat_map(|id| self.expert_eigenvalues(id)).collect();
            Experts {
                count: self.plan.experts,
                rows: Rows {
                    weights: writer.push_blocks(&weights, self.plan.experts.into(), features),
                    biases: writer.push_biases(&biases, self.plan.experts.into()),
                    scales: writer.push_scales(&scales, self.plan.experts.into()),
                },
                scale: 0.03,
                eigenvalues: writer.push_f32(&eigenvalues),
            }
        });
        let samples: Vec<Vec<u8>> = (0..self.plan.golden).map(|_| self.sample(random)).collect();
        let record = |sample: &Vec<u8>| {
            let outputs = self.outputs(sample);
            GoldenOutputs {
                embedding: outputs.embedding.clone(),
                code: outputs.code(outputs.bits.len()),
                cluster: clusters.map(|_| outputs.cluster()),
                score: self.centres.as_ref().map(|_| outputs.score()),
                expert: experts.map_or(Vec::new(), |_| outputs.local().to_vec()),
            }
        };
        let outputs: Vec<GoldenOutputs> = samples.iter().map(record).collect();
        let golden = Golden {
            count: self.plan.golden,
            samples: match self.plan.raw {
                Raw::U8 => writer.push_u8(&samples.concat()),
                Raw::Indices => writer.push_indices(&samples.iter().map(|sample| indices(sample)).collect::<Vec<_>>()),
            },
            outputs: writer.push_golden(&outputs),
        };
        let input = Input { shape: self.plan.input, place: 0, raw: self.plan.raw, scale: 1.0 / 255.0, offset: 0.0 };
        let heads = Places::default();
        let mut description =
            Description { input, layers, heads, embedding, hash, clusters, experts, golden, card: &[] };
        let arena = plan::place(&mut description).unwrap();
        (writer.finish(&description), arena)
    }
}

impl Weighted {
    /// Weights `[channels][taps]`, with constants that spread the outputs over the grid, and some extreme ones.
    fn new(random: &mut Random, channels: usize, taps: usize, output: Output) -> Self {
        Self::in_range(random, channels, taps, output, 128.0)
    }

    /// As [`Weighted::new`], for inputs of another range than 128.
    fn in_range(random: &mut Random, channels: usize, taps: usize, output: Output, range: f64) -> Self {
        let spread = (taps as f64).sqrt() * 74.0 * range;
        let shift = |random: &mut Random| match random.below(16) {
            0 => 1,
            1 => 22,
            _ => ((spread / 64.0).log2() as i32 - 1 + random.below(3) as i32).clamp(1, 22),
        };
        let multiplier = |random: &mut Random| match random.below(16) {
            0 => 0,
            1 => 1 << 30,
            2 => i32::MAX,
            3 => random.below(1 << 31) as i32,
            _ => (1 << 30) + random.below(1 << 30) as i32,
        };
        Self {
            weights: random.weights(channels * taps),
            bias: (0..channels).map(|_| (f64::from(random.next() as i8) / 127.0 * spread) as i64).collect(),
            multiplier: (0..channels).map(|_| multiplier(random)).collect(),
            shift: (0..channels).map(|_| shift(random)).collect(),
            output,
        }
    }

    fn taps(&self) -> usize {
        self.weights.len() / self.bias.len()
    }

    fn finish(&self, channel: usize, sum: i64) -> i64 {
        let value = requantize(sum, self.multiplier[channel], self.shift[channel]);
        (value + i64::from(self.output.zero_point)).clamp(self.output.minimum.into(), self.output.maximum.into())
    }

    /// Each row's accumulator over the features.
    fn sums(&self, x: &[i64], zero_point: i64) -> Vec<i64> {
        let rows = self.weights.chunks(self.taps()).zip(&self.bias);
        let sum = |(row, bias): (&[i8], &i64)| -> i64 {
            bias + row.iter().zip(x).map(|(w, x)| i64::from(*w) * (x - zero_point)).sum::<i64>()
        };
        rows.map(sum).collect()
    }

    /// Where the tables lie. Depthwise weights go as filters into the blob, all others as rows.
    fn write(&self, writer: &mut BlobWriter, zero_point: i64, depthwise: bool) -> Rows {
        let (channels, taps) = (self.bias.len(), self.taps());
        let weights = if depthwise {
            let turned: Vec<i8> =
                (0..taps * channels).map(|i| self.weights[i % channels * taps + i / channels]).collect();
            writer.push_filters(&turned, channels)
        } else {
            writer.push_packed(&self.weights, taps)
        };
        let biases: Vec<i32> = self.biases(zero_point).collect();
        let scales: Vec<Scale> = self.scales().collect();
        Rows { weights, biases: writer.push_biases(&biases, channels), scales: writer.push_scales(&scales, channels) }
    }

    /// The biases with the input's zero point folded in.
    fn biases(&self, zero_point: i64) -> impl Iterator<Item = i32> {
        let sums = self.weights.chunks(self.taps()).map(|row| row.iter().map(|weight| i64::from(*weight)).sum::<i64>());
        self.bias.iter().zip(sums).map(move |(bias, sum)| i32::try_from(bias - zero_point * sum).unwrap())
    }

    /// The scales as `NUMERICS.md` forms them.
    fn scales(&self) -> impl Iterator<Item = Scale> {
        let zero_point = i32::from(self.output.zero_point);
        self.multiplier.iter().zip(&self.shift).map(move |(multiplier, shift)| Scale {
            multiplier: *multiplier,
            addend: (2 * zero_point + 1) * 2i32.pow(*shift as u32 - 1),
            shift: *shift,
        })
    }
}

impl Factors {
    /// Numbers that spread the sums over the grid, and some extreme ones.
    fn new(random: &mut Random, output: Output) -> Self {
        let multiplier = |random: &mut Random| match random.below(12) {
            0 => 0,
            1 => i32::MAX,
            2 => random.below(1 << 31) as i32,
            _ => (1 << 30) + random.below(1 << 30) as i32,
        };
        let shift = |random: &mut Random, usual: usize| match random.below(12) {
            0 => 0,
            1 => 31,
            _ => (usual + random.below(3)) as i32,
        };
        Self {
            multipliers: [multiplier(random), multiplier(random)],
            shifts: [shift(random, 0), shift(random, 0)],
            multiplier: multiplier(random),
            shift: shift(random, 17),
            output,
        }
    }

    fn with(&self, zero_points: [i64; 2]) -> Sum {
        let Self { multipliers, shifts, multiplier, shift, .. } = *self;
        Sum { zero_points: zero_points.map(|zero| zero as i32), multipliers, shifts, multiplier, shift }
    }

    /// The sum of two values, each less its zero point.
    fn sum(&self, operands: [i64; 2]) -> i64 {
        let operand = |side: usize| requantize(operands[side] * (1 << 20), self.multipliers[side], self.shifts[side]);
        let value = requantize(operand(0) + operand(1), self.multiplier, self.shift);
        let Output { zero_point, minimum, maximum } = self.output;
        (value + i64::from(zero_point)).clamp(minimum.into(), maximum.into())
    }
}

impl Centres {
    /// Random centres, and numbers that leave some of most distances, or extreme ones.
    fn new(random: &mut Random, count: usize, features: usize) -> Self {
        let spread = ((features as f64).sqrt() * 74.0 * 128.0).log2() as i32;
        let shift = match random.below(8) {
            0 => 0,
            1 => 31,
            _ => (spread - 12 + random.below(4) as i32).max(0) as u8,
        };
        let scale_shift = match random.below(8) {
            0 => 0,
            1 => 63,
            _ => 20 + random.below(16) as u8,
        };
        let multiplier = match random.below(8) {
            0 => 0,
            1 => u16::MAX,
            _ => random.next() as u16,
        };
        Self { values: random.values(count * features), shift, multiplier, scale_shift }
    }

    /// The squared distance to the centre less what the accumulators explain.
    pub fn residual(&self, centre: &[i8], features: &[i64], sums: &[i64]) -> i64 {
        let distance: i128 = centre.iter().zip(features).map(|(c, f)| i128::from(i64::from(*c) - f).pow(2)).sum();
        let square = |sum: &i64| -> i128 {
            // To the nearest, halves away from zero; then to 16 bits.
            let divisor = 1i128 << self.shift;
            let magnitude = (2 * i128::from(sum.abs()) + divisor) / (2 * divisor);
            (magnitude * i128::from(sum.signum())).clamp(-32768, 32767).pow(2)
        };
        let energy: i128 = sums.iter().map(square).sum();
        let projected = (energy * i128::from(self.multiplier)).div_euclid(1 << self.scale_shift);
        (distance - projected.min(u32::MAX.into())).max(0) as i64
    }
}

fn run_layer(layer: &Plan, table: &Table, tensors: &[Tensor]) -> Tensor {
    let Tensor { values: x, shape, zero_point } = &tensors[tensors.len() - 1];
    let (shape, zero_point) = (*shape, *zero_point);
    let [_, _, c] = shape;
    let values = match (layer, table) {
        (Plan::Dense(_), Table::Rows(table)) => dense(table, x, zero_point),
        (Plan::Conv2d(outputs, window), Table::Rows(table)) => {
            slide(shape, window, (*outputs).into(), |output, inside| {
                let mut sum = table.bias[output];
                for channel in 0..c {
                    for (tap, pixel) in inside {
                        let weight = table.weights[output * table.taps() + tap * c + channel];
                        sum += i64::from(weight) * (x[pixel * c + channel] - zero_point);
                    }
                }
                table.finish(output, sum)
            })
        }
        (Plan::DepthwiseConv2d(window), Table::Rows(table)) => slide(shape, window, c, |channel, inside| {
            let mut sum = table.bias[channel];
            for (tap, pixel) in inside {
                let weight = table.weights[channel * table.taps() + tap];
                sum += i64::from(weight) * (x[pixel * c + channel] - zero_point);
            }
            table.finish(channel, sum)
        }),
        (Plan::MaxPool2d(window), _) => slide(shape, window, c, |channel, inside| {
            inside.iter().map(|(_, pixel)| x[pixel * c + channel]).max().unwrap()
        }),
        (Plan::AveragePool2d(window), _) => slide(shape, window, c, |channel, inside| {
            let sum: i64 = inside.iter().map(|(_, pixel)| x[pixel * c + channel]).sum();
            (sum as f64 / inside.len() as f64).round() as i64 // halves away from zero
        }),
        (Plan::Add(other), Table::Sum(factors)) => {
            let other = &tensors[*other];
            assert_eq!(other.shape, shape, "values are added one by one");
            let sum = |(a, b): (&i64, &i64)| factors.sum([a - zero_point, b - other.zero_point]);
            x.iter().zip(&other.values).map(sum).collect()
        }
        (Plan::Recall(tensor), _) => {
            let Tensor { values, shape, zero_point } = &tensors[*tensor];
            return Tensor { values: values.clone(), shape: *shape, zero_point: *zero_point };
        }
        _ => unreachable!(),
    };
    let zero_point = match table {
        Table::Rows(table) => table.output.zero_point.into(),
        Table::Sum(factors) => factors.output.zero_point.into(),
        Table::None => zero_point,
    };
    Tensor { values, shape: output_shape(shape, layer), zero_point }
}

fn dense(table: &Weighted, x: &[i64], zero_point: i64) -> Vec<i64> {
    let row = |output| {
        let weights = &table.weights[output * x.len()..];
        let sum: i64 = (0..x.len()).map(|i| i64::from(weights[i]) * (x[i] - zero_point)).sum();
        table.finish(output, table.bias[output] + sum)
    };
    (0..table.bias.len()).map(row).collect()
}

/// Calls `value` for every channel of every output pixel with the taps that lie inside the image: number of the tap, and
/// of the pixel.
fn slide(
    [h, w, _]: [usize; 3],
    window: &Window,
    channels: usize,
    value: impl Fn(usize, &[(usize, usize)]) -> i64,
) -> Vec<i64> {
    let [kernel_h, kernel_w] = window.kernel.map(i64::from);
    let [step_y, step_x] = window.stride.map(i64::from);
    let [top, left, bottom, right] = window.padding.map(i64::from);
    let (h, w) = (h as i64, w as i64);
    let mut out = Vec::new();
    let mut y = -top;
    while y + kernel_h <= h + bottom {
        let mut x = -left;
        while x + kernel_w <= w + right {
            let mut inside = Vec::new();
            for (tap, (dy, dx)) in (0..kernel_h).flat_map(|dy| (0..kernel_w).map(move |dx| (dy, dx))).enumerate() {
                if (0..h).contains(&(y + dy)) && (0..w).contains(&(x + dx)) {
                    inside.push((tap, ((y + dy) * w + x + dx) as usize));
                }
            }
            out.extend((0..channels).map(|channel| value(channel, &inside)));
            x += step_x;
        }
        y += step_y;
    }
    out
}

/// The shape that a layer gives; a recalled tensor keeps its own.
pub fn output_shape([h, w, c]: [usize; 3], layer: &Plan) -> [usize; 3] {
    let sides = |window: &Window| {
        let [kernel_h, kernel_w] = window.kernel.map(usize::from);
        let [step_y, step_x] = window.stride.map(usize::from);
        let [top, left, bottom, right] = window.padding.map(usize::from);
        [(h + top + bottom - kernel_h) / step_y + 1, (w + left + right - kernel_w) / step_x + 1]
    };
    match layer {
        Plan::Dense(outputs) => [1, 1, (*outputs).into()],
        Plan::Conv2d(outputs, window) => {
            let [h, w] = sides(window);
            [h, w, (*outputs).into()]
        }
        Plan::DepthwiseConv2d(window) | Plan::MaxPool2d(window) | Plan::AveragePool2d(window) => {
            let [h, w] = sides(window);
            [h, w, c]
        }
        Plan::Add(_) | Plan::Recall(_) => [h, w, c],
    }
}

/// Both roundings of TensorFlow Lite's reference, from exact quotients.
pub fn requantize(sum: i64, multiplier: i32, shift: i32) -> i64 {
    let sum = i128::from(i32::try_from(sum).unwrap());
    // To the nearest, halves up: floor(p / 2^31 + 1/2).
    let high = (2 * sum * i128::from(multiplier) + (1 << 31)).div_euclid(1 << 32);
    // To the nearest, halves away from zero.
    let divisor = 1i128 << shift;
    let magnitude = (2 * high.abs() + divisor) / (2 * divisor);
    (magnitude * high.signum()) as i64
}
