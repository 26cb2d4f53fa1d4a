//! Models with every kind of layer and random weights: what no training would give, and every kernel must run. Five seeds in a
//! row give every kind of head: bits by thresholds and clusters by prototypes; a product code with clusters in the rows of one
//! of its heads; and experts with a code of theirs, chosen by residuals, by prototypes, by a linear head.

use eigenlet_runtime::{Dims, Model};
use eigenlet_shared::{
    blob::crc32,
    description::{
        Add, Clusters, Conv2d, Dense, DepthwiseConv2d, Description, Embedding, Experts, Golden, Hash, Input, Layer,
        Operation, Places, Raw, Recall, Rows, Window, class_bits,
    },
    numerics::{INPUT_ZERO_POINT_U8, Output, Scale, Sum},
    packed, plan,
    writer::{AlignedBytes, BlobWriter, GoldenOutputs},
};

/// Bytes of the model's input, 9 x 7 x 2.
pub const SAMPLE: usize = 9 * 7 * 2;
/// What the heads read.
const FEATURES: usize = 24;
const DIMS: u16 = 33;
/// Of either kind of hash: the heads of the product code take three bits each.
const BITS: u16 = HEADS as u16 * class_bits(CLUSTERS);
const HEADS: u8 = 15;
/// Also the classes of each head.
const CLUSTERS: u16 = 7;
/// The head that the clusters share.
const SHARED: u32 = 4;
const CLUSTER_DIMS: u16 = 12;
/// Rows of each expert.
const EXPERT_ROWS: u16 = 17;
/// Rows of an expert that the code takes.
const EXPERT_BITS: u16 = 16;
const GOLDEN: u16 = 16;

/// xorshift32: the same numbers everywhere, for ever.
pub struct Random(u32);

impl Random {
    /// Numbers from a seed other than 0.
    pub fn new(seed: u32) -> Self {
        Self(seed)
    }

    /// The next 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.bits() >> 13) as u8).collect()
    }

    pub(crate) fn weights(&mut self, count: usize) -> Vec<i8> {
        self.bytes(count).into_iter().map(|byte| (byte as i8).max(-127)).collect()
    }

    /// A bias and a scale for each of `sums`, the sums of a row's weights: the input's zero point folded in, and sums of
    /// `products` products spread over most of the int8 range around the output's zero point.
    pub(crate) fn constants(
        &mut self,
        sums: &[i32],
        products: usize,
        [input, output]: [i8; 2],
    ) -> (Vec<i32>, Vec<Scale>) {
        let spread = 73.0 * 110.0 * (products as f64).sqrt();
        let shift = (spread / 80.0).log2().floor() as i32;
        let bias = |bits: u32, sum: &i32| bits as i32 % spread as i32 - i32::from(input) * sum;
        let scale = |bits: u32| Scale::new((1 << 30) + (bits >> 2) as i32, shift, output);
        sums.iter().map(|sum| (bias(self.bits(), sum), scale(self.bits()))).unzip()
    }

    /// Packed rows in the blob, `[blocks][rows][products]`, with their constants.
    pub(crate) fn rows(&mut self, writer: &mut BlobWriter, [rows, products]: [usize; 2], zero_points: [i8; 2]) -> Rows {
        let weights = self.weights(rows * products);
        let sums: Vec<i32> = weights.chunks_exact(products).map(sum).collect();
        let (biases, scales) = self.constants(&sums, products, zero_points);
        Rows {
            weights: writer.push_packed(&weights, products),
            biases: writer.push_biases(&biases, rows),
            scales: writer.push_scales(&scales, rows),
        }
    }
}

/// The model that `seed` gives. Its golden vectors are what the host's runtime makes of random samples.
///
/// # Panics
/// Where the runtime refuses the model.
pub fn random_model(seed: u32) -> AlignedBytes {
    let samples = Random::new(seed ^ 0x5bd1_e995).bytes(SAMPLE * usize::from(GOLDEN));
    let untuned = build(seed, &Centre::default(), &[], &[]);
    let centre = centre(&untuned, &samples[..SAMPLE]);
    let bare = build(seed, &centre, &[], &[]);
    build(seed, &centre, &samples, &outputs(&bare, &samples))
}

/// What a sample gives: hash and clusters decide about there, lest all samples give the same.
struct Centre {
    features: Vec<i8>,
    embedding: Vec<i8>,
}

impl Default for Centre {
    fn default() -> Self {
        Self { features: vec![0; FEATURES], embedding: vec![0; DIMS.into()] }
    }
}

fn centre(blob: &[u8], sample: &[u8]) -> Centre {
    let model = Model::parse(blob).expect("a valid model");
    let mut arena = vec![0; model.arena_bytes()];
    let mut features = model.run(&mut arena, sample).expect("a valid sample");
    Centre {
        features: features.values().to_vec(),
        embedding: features.embed(Dims::new(DIMS)).expect("a head").to_vec(),
    }
}

fn outputs(blob: &[u8], samples: &[u8]) -> Vec<GoldenOutputs> {
    let model = Model::parse(blob).expect("a valid model");
    let mut arena = vec![0; model.arena_bytes()];
    let of_sample = |sample: &[u8]| {
        let mut features = model.run(&mut arena, sample).expect("a valid sample");
        let mut outputs = GoldenOutputs {
            embedding: features.embed(Dims::new(DIMS)).expect("a head").to_vec(),
            code: vec![0; usize::from(model.bits()).div_ceil(8)],
            ..GoldenOutputs::default()
        };
        features.hash_into(model.bits(), &mut outputs.code).expect("a head");
        outputs.cluster = Some(features.assign().expect("a head").id);
        if model.experts() > 0 {
            let expert = features.expert(Dims::new(model.expert_dims())).expect("experts");
            (outputs.score, outputs.expert) = (expert.score, expert.embedding.to_vec());
        }
        outputs
    };
    samples.chunks_exact(SAMPLE).map(of_sample).collect()
}

/// `blob` with the byte at `at` xored with `flip`, and the checksum made right again.
pub fn forged(blob: &[u8], at: usize, flip: u8) -> Vec<u8> {
    let mut blob = blob.to_vec();
    blob[at] ^= flip;
    let crc = crc32(&blob[20..]);
    blob[16..20].copy_from_slice(&crc.to_le_bytes());
    blob
}

fn sum<'a>(weights: impl IntoIterator<Item = &'a i8>) -> i32 {
    weights.into_iter().map(|weight| i32::from(*weight)).sum()
}

fn build(seed: u32, centre: &Centre, samples: &[u8], outputs: &[GoldenOutputs]) -> AlignedBytes {
    let random = &mut Random::new(seed);
    let writer = &mut BlobWriter::new();
    let relu = Output { zero_point: -128, minimum: -128, maximum: 127 };
    let linear = Output { zero_point: 3, minimum: -128, maximum: 127 };
    let window = |kernel, stride, padding| Window { kernel, stride, padding };

    let conv = random.rows(writer, [6, 18], [INPUT_ZERO_POINT_U8, linear.zero_point]);
    let pointwise = random.rows(writer, [8, 6], [relu.zero_point, relu.zero_point]);
    let branch = random.rows(writer, [8, 8 * 25], [relu.zero_point, linear.zero_point]);
    let dense = random.rows(writer, [FEATURES, 48], [relu.zero_point, relu.zero_point]);
    let embedding = random.rows(writer, [DIMS.into(), FEATURES], [relu.zero_point, 0]);
    // Here the channels are the columns.
    let weights = random.weights(9 * 6);
    let sums: Vec<i32> = (0..6).map(|channel| weights.iter().skip(channel).step_by(6)).map(sum).collect();
    let (biases, scales) = random.constants(&sums, 9, [linear.zero_point, relu.zero_point]);
    let depthwise = Rows {
        weights: writer.push_filters(&weights, 6),
        biases: writer.push_biases(&biases, 6),
        scales: writer.push_scales(&scales, 6),
    };
    let sum_constants = writer.push_sum(Sum {
        zero_points: [linear.zero_point.into(), relu.zero_point.into()],
        multipliers: [1 << 30, (1 << 30) + 77_777_777],
        shifts: [0, 1],
        multiplier: (1 << 30) + 12_345_678,
        shift: 17,
    });
    let operations = [
        // 9 x 7 x 2 -> 9 x 7 x 6
        Operation::Conv2d(Conv2d {
            outputs: 6,
            window: window([3, 3], [1, 1], [1, 1, 1, 1]),
            rows: conv,
            output: linear,
        }),
        // -> 5 x 4 x 6
        Operation::DepthwiseConv2d(DepthwiseConv2d {
            window: window([3, 3], [2, 2], [1, 1, 1, 1]),
            rows: depthwise,
            output: relu,
        }),
        // -> 4 x 4 x 6
        Operation::MaxPool2d(window([2, 2], [1, 1], [0, 0, 0, 1])),
        // -> 4 x 4 x 8
        Operation::Conv2d(Conv2d { outputs: 8, window: window([1, 1], [1, 1], [0; 4]), rows: pointwise, output: relu }),
        // A branch over that, and both together.
        Operation::Conv2d(Conv2d {
            outputs: 8,
            window: window([5, 5], [1, 1], [2, 2, 2, 2]),
            rows: branch,
            output: linear,
        }),
        Operation::Add(Add { other: 4, sum: sum_constants, output: relu }),
        // The sum as it lies.
        Operation::Recall(Recall { shape: [4, 4, 8], zero_point: relu.zero_point }),
        // -> 3 x 2 x 8
        Operation::AveragePool2d(window([2, 3], [2, 2], [1, 1, 1, 0])),
        Operation::Dense(Dense { outputs: FEATURES as u16, rows: dense, output: relu }),
    ];
    // The number of the tensor that is recalled: the sixth layer's, the others' places have no meaning yet.
    let layer = |operation| Layer { places: Places { output: 6, scratch: 0 }, operation };

    let eigenvalues: Vec<f32> = (0..DIMS).map(|row| 1.0 / f32::from(row + 1)).collect();
    let ((hash, clusters), experts) = match seed % 5 {
        1 => ((thresholds(random, writer, centre), prototypes(random, writer, centre)), None),
        2 => (product_code(random, writer, centre), None),
        gate => {
            let clusters = match gate {
                3 => residual(random, writer, centre),
                4 => prototypes(random, writer, centre),
                _ => linear_clusters(random, writer, centre),
            };
            let hash = Hash::Experts { classes: CLUSTERS, rows: EXPERT_BITS };
            ((hash, clusters), Some(experts(random, writer, centre)))
        }
    };
    let mut description = Description {
        input: Input { shape: [9, 7, 2], place: 0, raw: Raw::U8, scale: 1.0 / 255.0, offset: 0.0 },
        layers: operations.into_iter().map(layer).collect(),
        heads: Places::default(),
        embedding: Some(Embedding {
            count: DIMS,
            rows: embedding,
            scale: 0.01,
            eigenvalues: writer.push_f32(&eigenvalues),
        }),
        hash: Some(hash),
        clusters: Some(clusters),
        experts,
        golden: Golden {
            count: outputs.len() as u16,
            samples: writer.push_u8(samples),
            outputs: writer.push_golden(outputs),
        },
        card: &[],
    };
    plan::place(&mut description).expect("shapes that fit");
    writer.finish(&description)
}

fn thresholds(random: &mut Random, writer: &mut BlobWriter, centre: &Centre) -> Hash {
    let (weights, biases) = linear_rows(random, BITS.into(), centre);
    let weights = writer.push_packed(&weights, FEATURES);
    Hash::Thresholds { bits: BITS, weights, biases: writer.push_biases(&biases, BITS.into()) }
}

fn prototypes(random: &mut Random, writer: &mut BlobWriter, centre: &Centre) -> Clusters {
    let offsets = random.weights(usize::from(CLUSTERS * CLUSTER_DIMS));
    let about = centre.embedding.iter().take(CLUSTER_DIMS.into()).cycle();
    let prototypes: Vec<i8> = offsets.iter().zip(about).map(|(offset, at)| at.saturating_add(offset / 8)).collect();
    let prototypes = writer.push_i8(&prototypes);
    Clusters::Prototypes { count: CLUSTERS, dims: CLUSTER_DIMS, prototypes }
}

fn linear_clusters(random: &mut Random, writer: &mut BlobWriter, centre: &Centre) -> Clusters {
    let (weights, biases) = linear_rows(random, CLUSTERS.into(), centre);
    Clusters::Linear {
        count: CLUSTERS,
        weights: writer.push_packed(&weights, FEATURES),
        biases: writer.push_biases(&biases, CLUSTERS.into()),
    }
}

/// Centres near the centre; about as much is explained as there is to explain.
fn residual(random: &mut Random, writer: &mut BlobWriter, centre: &Centre) -> Clusters {
    let offsets = random.weights(usize::from(CLUSTERS) * FEATURES);
    let about = centre.features.iter().cycle();
    let centres: Vec<i8> = offsets.iter().zip(about).map(|(offset, at)| at.saturating_add(offset / 8)).collect();
    // A row's length is about 73 * sqrt(24): 1 / 360^2 = 2^12 / 2^29, and twice four more for accumulators without their
    // lowest four bits.
    let (shift, multiplier, scale_shift) = (4, 1 << 12, 21);
    Clusters::Residual { count: CLUSTERS, centres: writer.push_i8(&centres), shift, multiplier, scale_shift }
}

fn experts(random: &mut Random, writer: &mut BlobWriter, centre: &Centre) -> Experts {
    let count = usize::from(CLUSTERS * EXPERT_ROWS);
    let (weights, biases) = linear_rows(random, count, centre);
    let scale = |_: &i32| Scale::new((1 << 30) + (random.bits() >> 2) as i32, 6, 0);
    let scales: Vec<Scale> = biases.iter().map(scale).collect();
    Experts {
        count: EXPERT_ROWS,
        rows: Rows {
            weights: writer.push_blocks(&weights, EXPERT_ROWS.into(), FEATURES),
            biases: writer.push_biases(&biases, EXPERT_ROWS.into()),
            scales: writer.push_scales(&scales, EXPERT_ROWS.into()),
        },
        scale: 0.01,
        eigenvalues: writer.push_f32(&vec![0.0; count]),
    }
}

fn product_code(random: &mut Random, writer: &mut BlobWriter, centre: &Centre) -> (Hash, Clusters) {
    let (weights, biases) = linear_rows(random, usize::from(HEADS) * usize::from(CLUSTERS), centre);
    let weights = writer.push_blocks(&weights, CLUSTERS.into(), FEATURES);
    let biases = writer.push_biases(&biases, CLUSTERS.into());
    let block = packed::words(CLUSTERS.into(), FEATURES) * size_of::<u32>();
    let clusters = Clusters::Linear {
        count: CLUSTERS,
        weights: weights + SHARED * block as u32,
        biases: biases + SHARED * u32::from(CLUSTERS).next_multiple_of(packed::SIDE as u32) * size_of::<i32>() as u32,
    };
    (Hash::Product { heads: HEADS, classes: CLUSTERS, weights, biases }, clusters)
}

/// Weights over the features, and biases that leave small sums at the centre.
fn linear_rows(random: &mut Random, rows: usize, centre: &Centre) -> (Vec<i8>, Vec<i32>) {
    let weights = random.weights(rows * FEATURES);
    let sum =
        |row: &[i8]| -> i32 { row.iter().zip(&centre.features).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum() };
    let biases = weights.chunks_exact(FEATURES).map(|row| random.bits() as i32 % 1000 - sum(row)).collect();
    (weights, biases)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn cast(values: &[i8]) -> Vec<u8> {
        values.iter().map(|value| *value as u8).collect()
    }

    #[test]
    fn a_random_model_is_valid_and_its_outputs_differ_between_samples() {
        for seed in 1..20 {
            let blob = random_model(seed);
            let model = Model::parse(&blob).unwrap();
            assert_eq!(model.verify(&mut vec![0; model.arena_bytes()]), Ok(GOLDEN));
            let embeddings: Vec<_> = model.golden().map(|golden| golden.embedding.unwrap()).collect();
            let alive = (0..usize::from(DIMS)).filter(|dim| {
                let mut values: Vec<i8> = embeddings.iter().map(|embedding| embedding[*dim]).collect();
                values.sort_unstable();
                values.dedup();
                values.len() > 4
            });
            let alive = alive.count();
            assert!(alive * 3 > usize::from(DIMS) * 2, "seed {seed}: {alive} of {DIMS} dimensions vary");
            let distinct = |outputs: &mut dyn Iterator<Item = Vec<u8>>| outputs.collect::<BTreeSet<_>>().len();
            let codes = distinct(&mut model.golden().map(|golden| golden.code.unwrap().to_vec()));
            assert!(codes * 2 > usize::from(GOLDEN), "seed {seed}: {codes} of {GOLDEN} codes differ");
            let clusters = distinct(&mut model.golden().map(|golden| golden.cluster.unwrap().to_le_bytes().to_vec()));
            assert!(clusters > 1, "seed {seed}: all samples in one cluster");
            if model.experts() > 0 {
                let experts = distinct(&mut model.golden().map(|golden| cast(golden.expert.unwrap())));
                assert!(experts > 8, "seed {seed}: {experts} of {GOLDEN} local embeddings differ");
            }
            if let Some(Clusters::Residual { .. }) = model.description().unwrap().clusters {
                let scores: Vec<u32> = model.golden().map(|golden| golden.score.unwrap()).collect();
                let explained = scores.iter().filter(|score| **score == 0).count();
                let distinct = scores.iter().collect::<BTreeSet<_>>().len();
                assert!(explained < 8 && distinct > 8, "seed {seed}: {scores:?}");
            }
        }
    }
}
