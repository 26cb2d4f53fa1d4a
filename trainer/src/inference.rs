//! Running a blob on a host: the very crate that the chip runs, over many samples on all threads.

use eigenlet_runtime::{Dims, EncoderError, Features, Model, Raw, Sample};
use eigenlet_shared::description::{Clusters, Description, Hash};
use eigenlet_shared::numerics::nonzero_indices;
use ndarray::Array2;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::evaluate::Codes;

/// A blob that this program made, as the chip would take it.
///
/// # Errors
/// The runtime refuses it: the exporter is wrong.
pub fn parse(blob: &[u8]) -> Result<Model<'_>> {
    Model::parse(blob).map_err(|error| Error::Check(format!("the exported blob is not valid: {error}")))
}

/// What a blob that this program made says of itself.
///
/// # Errors
/// As for [`parse`].
pub fn description<'a>(model: &Model<'a>) -> Result<Description<'a>> {
    model.description().map_err(|error| Error::Check(format!("the exported blob is not valid: {error}")))
}

/// RAM for a model, as words, so that it lies as the runtime wants it.
pub fn arena(model: &Model) -> Vec<u32> {
    vec![0; model.arena_bytes().div_ceil(size_of::<u32>())]
}

/// What a model's code is made of, and what a sample's cluster is; `none` where there is no such head.
pub fn heads_in_words(description: &Description) -> (String, String) {
    let hash = match description.hash {
        None => "none".into(),
        Some(hash @ Hash::Thresholds { .. }) => format!("{} thresholds", hash.bits()),
        Some(Hash::Product { heads, classes, .. }) => format!("ids of {heads} heads of {classes} classes"),
        Some(Hash::Experts { rows, .. }) => format!("the cluster's id and {rows} signs of its expert"),
    };
    let clusters = match description.clusters {
        None => "none".into(),
        Some(Clusters::Prototypes { count, dims, .. }) => {
            let many = if dims == 1 { "" } else { "s" };
            format!("the nearest of {count} prototypes in {dims} dimension{many}")
        }
        Some(Clusters::Linear { count, .. }) => format!("the largest of {count} logits"),
        Some(Clusters::Residual { count, .. }) => format!("the least of {count} residuals"),
    };
    (hash, clusters)
}

/// Runs samples of raw bytes through a model and reads what is wanted of each. A model that takes indices gets those of the values
/// other than 0.
///
/// # Errors
/// A sample of the wrong length, or a head that the model does not have.
pub fn run<T: Send>(
    model: &Model,
    samples: &[&[u8]],
    read: impl Fn(&mut Features) -> std::result::Result<T, EncoderError> + Sync,
) -> Result<Vec<T>> {
    samples
        .par_iter()
        .map_init(|| arena(model), |arena, sample| read(&mut features(model, bytemuck::cast_slice_mut(arena), sample)?))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::Check(error.to_string()))
}

/// The layers' output on a row of values.
fn features<'s>(model: &'s Model, arena: &'s mut [i8], row: &[u8]) -> std::result::Result<Features<'s>, EncoderError> {
    match model.raw() {
        Raw::U8 => model.run(arena, row),
        Raw::Indices if row.len() != model.input_len() => {
            Err(EncoderError::Sample { expected: model.input_len(), found: row.len() })
        }
        Raw::Indices => {
            let indices: Vec<u16> = nonzero_indices(row).collect();
            model.run_sample(arena, Sample::Indices(&indices))
        }
    }
}

/// Every output that a model has, on each sample.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// `[n, dims]`, in the blob's int8 steps.
    pub embeddings: Array2<i8>,
    /// Hash codes, where the model has any.
    pub codes: Option<Codes>,
    /// `[n]`; empty where the model has no clusters.
    pub clusters: Vec<u16>,
    /// How unlike all clusters each sample is, `[n]`; empty where clusters are not told apart by residuals.
    pub scores: Vec<u32>,
}

/// Every output of a model with an embedding, in one pass over the samples.
///
/// # Errors
/// As for [`run`].
pub fn outputs(model: &Model, samples: &[&[u8]]) -> Result<Outputs> {
    let (dims, bits) = (usize::from(model.dims()), model.bits());
    let is_residual = matches!(description(model)?.clusters, Some(Clusters::Residual { .. }));
    let rows = run(model, samples, |features| {
        let mut embedding = vec![0i8; dims];
        features.embed_into(&mut embedding)?;
        let mut code = vec![0u8; usize::from(bits).div_ceil(8)];
        if bits > 0 {
            features.hash_into(bits, &mut code)?;
        }
        let found = if model.clusters() > 0 { Some(features.assign()?) } else { None };
        let score = found.and_then(|found| found.distance).filter(|_| is_residual);
        Ok((embedding, code, found.map(|found| found.id), score))
    })?;
    let mut embeddings = Vec::with_capacity(samples.len() * dims);
    let (mut codes, mut clusters, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for (embedding, code, cluster, score) in rows {
        embeddings.extend(embedding);
        codes.extend(code);
        clusters.extend(cluster);
        scores.extend(score);
    }
    Ok(Outputs {
        embeddings: Array2::from_shape_vec((samples.len(), dims), embeddings).expect("one row for each sample"),
        codes: (bits > 0).then(|| Codes::from_bytes("the model's codes", bits.into(), codes)).transpose()?,
        clusters,
        scores,
    })
}

/// The first `dims` dimensions of each sample's embedding, `[n, dims]`, in the blob's int8 steps.
///
/// # Errors
/// As for [`run`].
pub fn embeddings(model: &Model, samples: &[&[u8]], dims: usize) -> Result<Array2<i8>> {
    let rows = run(model, samples, |features| {
        let mut embedding = vec![0i8; dims];
        features.embed_into(&mut embedding)?;
        Ok(embedding)
    })?;
    Ok(stacked(rows, dims))
}

/// The first `dims` dimensions of each sample's representation by the expert of its cluster, `[n, dims]`, in the blob's int8
/// steps. Those of different clusters do not compare.
///
/// # Errors
/// As for [`run`].
pub fn expert_embeddings(model: &Model, samples: &[&[u8]], dims: usize) -> Result<Array2<i8>> {
    let rows = run(model, samples, |features| Ok(features.expert(Dims::new(dims as u16))?.embedding.to_vec()))?;
    Ok(stacked(rows, dims))
}

fn stacked(rows: Vec<Vec<i8>>, dims: usize) -> Array2<i8> {
    Array2::from_shape_vec((rows.len(), dims), rows.concat()).expect("one row for each sample")
}

/// Each sample's first `bits` bits.
///
/// # Errors
/// As for [`run`].
pub fn codes(model: &Model, samples: &[&[u8]], bits: usize) -> Result<Codes> {
    let rows = run(model, samples, |features| {
        let mut code = vec![0u8; bits.div_ceil(8)];
        features.hash_into(bits as u16, &mut code)?;
        Ok(code)
    })?;
    Codes::from_bytes("the model's codes", bits, rows.concat())
}

/// Each sample's cluster and its margin over the next, as [`eigenlet_runtime::Features::assign`] says it.
///
/// # Errors
/// As for [`run`].
pub fn assignments(model: &Model, samples: &[&[u8]]) -> Result<Vec<(u16, u32)>> {
    run(model, samples, |features| features.assign().map(|found| (found.id, found.margin)))
}
