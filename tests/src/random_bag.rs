//! A model of a bag of words with random weights: samples are the indices of few ones among many zeros.

use eigenlet_runtime::{Dims, Model, Sample};
use eigenlet_shared::{
    description::{Clusters, Dense, Description, Embedding, Golden, Hash, Input, Layer, Operation, Places, Raw, Rows},
    numerics::{Output, Scale},
    plan,
    writer::{AlignedBytes, BlobWriter, GoldenOutputs},
};

use crate::random_model::Random;

/// Values of the model's input.
pub const WORDS: u16 = 1433;
/// Ones of a sample, about.
const ONES: usize = 18;
const FEATURES: usize = 24;
const DIMS: u16 = 33;
const BITS: u16 = 45;
const CLUSTERS: u16 = 7;
const CLUSTER_DIMS: u16 = 12;
const GOLDEN: usize = 16;

/// A random sample with about so many ones.
pub fn bag(random: &mut Random, ones: usize) -> Vec<u16> {
    let ones = ones as u32;
    (0..WORDS).filter(|_| random.bits() % u32::from(WORDS) < ones).collect()
}

/// The model that `seed` gives. Its golden vectors are what the host's runtime makes of random samples, of the empty one and of
/// that with every word.
///
/// # Panics
/// Where the runtime refuses the model.
pub fn random_bag_model(seed: u32) -> AlignedBytes {
    let mut random = Random::new(seed ^ 0x5bd1_e995);
    let mut samples: Vec<Vec<u16>> = (2..GOLDEN).map(|_| bag(&mut random, ONES)).collect();
    samples.extend([Vec::new(), (0..WORDS).collect()]);
    let bare = build(seed, &[], &[]);
    build(seed, &samples, &outputs(&bare, &samples))
}

fn outputs(blob: &[u8], samples: &[Vec<u16>]) -> Vec<GoldenOutputs> {
    let model = Model::parse(blob).expect("a valid model");
    let mut arena = vec![0; model.arena_bytes()];
    let of_sample = |sample: &Vec<u16>| {
        let mut features = model.run_sample(&mut arena, Sample::Indices(sample)).expect("a valid sample");
        let embedding = features.embed(Dims::new(DIMS)).expect("a head").to_vec();
        let mut code = vec![0; usize::from(BITS).div_ceil(8)];
        features.hash_into(BITS, &mut code).expect("a head");
        let cluster = Some(features.assign().expect("a head").id);
        GoldenOutputs { embedding, code, cluster, ..GoldenOutputs::default() }
    };
    samples.iter().map(of_sample).collect()
}

fn build(seed: u32, samples: &[Vec<u16>], outputs: &[GoldenOutputs]) -> AlignedBytes {
    let random = &mut Random::new(seed);
    let writer = &mut BlobWriter::new();
    let relu = Output { zero_point: -128, minimum: -128, maximum: 127 };

    let weights = random.weights(FEATURES * usize::from(WORDS));
    // No zero point is folded in: a bias and some ones spread over the grid.
    let biases: Vec<i32> = (0..FEATURES).map(|_| random.bits() as i32 % 300).collect();
    let scale = |_| Scale::new((1 << 30) + (random.bits() >> 2) as i32, 1, relu.zero_point);
    let scales: Vec<Scale> = (0..FEATURES).map(scale).collect();
    let dense = Dense {
        outputs: FEATURES as u16,
        rows: Rows {
            weights: writer.push_packed(&weights, WORDS.into()),
            biases: writer.push_biases(&biases, FEATURES),
            scales: writer.push_scales(&scales, FEATURES),
        },
        output: relu,
    };
    let embedding = Embedding {
        count: DIMS,
        rows: random.rows(writer, [DIMS.into(), FEATURES], [relu.zero_point, 0]),
        scale: 0.01,
        eigenvalues: writer.push_f32(&(0..DIMS).map(|row| 1.0 / f32::from(row + 1)).collect::<Vec<_>>()),
    };
    let hash = random.weights(usize::from(BITS) * FEATURES);
    let thresholds: Vec<i32> = (0..BITS).map(|_| -(random.bits() as i32 % 40_000)).collect();
    let prototypes = random.weights(usize::from(CLUSTERS * CLUSTER_DIMS));
    let mut description = Description {
        input: Input { shape: [1, 1, WORDS], place: 0, raw: Raw::Indices, scale: 1.0, offset: 0.0 },
        layers: [Layer { places: Places::default(), operation: Operation::Dense(dense) }].into_iter().collect(),
        heads: Places::default(),
        embedding: Some(embedding),
        hash: Some(Hash::Thresholds {
            bits: BITS,
            weights: writer.push_packed(&hash, FEATURES),
            biases: writer.push_biases(&thresholds, BITS.into()),
        }),
        clusters: Some(Clusters::Prototypes {
            count: CLUSTERS,
            dims: CLUSTER_DIMS,
            prototypes: writer.push_i8(&prototypes),
        }),
        experts: None,
        golden: Golden {
            count: samples.len() as u16,
            samples: writer.push_indices(samples),
            outputs: writer.push_golden(outputs),
        },
        card: &[],
    };
    plan::place(&mut description).expect("shapes that fit");
    writer.finish(&description)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_outputs_of_a_random_bag_model_differ_from_sample_to_sample() {
        for seed in 1..6 {
            let blob = random_bag_model(seed);
            let model = Model::parse(&blob).unwrap();
            assert_eq!(model.verify(&mut vec![0; model.arena_bytes()]), Ok(GOLDEN as u16));
            let embeddings: BTreeSet<_> = model.golden().map(|golden| golden.embedding.unwrap()).collect();
            let codes: BTreeSet<_> = model.golden().map(|golden| golden.code.unwrap()).collect();
            assert!(embeddings.len() == GOLDEN && codes.len() == GOLDEN, "seed {seed}");
        }
    }
}
