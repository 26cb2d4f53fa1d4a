//! Lowering a float model to `int8.v1` and writing its blob. `NUMERICS.md` says what the numbers mean.

use eigenlet_runtime::Dims;
use eigenlet_shared::description::{
    self as blob, Card, Clusters, Conv2d, Dense, DepthwiseConv2d, Description, Embedding, Golden, Hash, HashQuality,
    Input, Layer, Layers, MAX_INDEXED, Places, Raw, TruncationQuality,
};
use eigenlet_shared::numerics::{ACCUMULATOR_BOUND, INPUT_ZERO_POINT_U8, Output, Scale, nonzero_indices};
use eigenlet_shared::plan;
use eigenlet_shared::writer::{AlignedBytes, BlobWriter, GoldenOutputs, encode_card};
use ndarray::{Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::experts::{ExpertHeads, Gate};
use super::float_model::Weights;
use super::native::{NativeCode, id_bits};
use super::{Calibration, FloatModel};
use crate::data::{Samples, Unit};
use crate::error::{Error, Result};
use crate::evaluate::{FeatureReport, kmeans};
use crate::inference::{self, parse};
use crate::network::spec::{Operation, Window};

/// Which heads the blob is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Dimensions of the embedding; at most the model's.
    pub dims: usize,
    /// Bits of the hash code; 0 leaves the head out.
    pub bits: usize,
    /// What the bits are made of.
    pub hash: HashHead,
    /// How a sample gets its cluster.
    pub clusters: ClusterHead,
}

/// What hash bits are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashHead {
    /// Thresholds along directions of the first `leading` functions; 0 makes each bit of one function (then there are at
    /// most as many bits as dimensions).
    Functions {
        /// How many functions.
        leading: usize,
    },
    /// The code that the network itself learned.
    Native,
}

/// How a sample gets its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterHead {
    /// It gets none.
    None,
    /// The nearest of k-means' centres.
    Prototypes {
        /// Number of clusters.
        count: usize,
        /// Leading dimensions that are compared.
        dims: usize,
    },
    /// The largest of the logits that the network itself learned.
    Native,
}

/// Where the model comes from, for its card.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The objective's name.
    pub objective: String,
    /// The data set's name.
    pub dataset: String,
    /// SHA-256 of the data set.
    pub dataset_sha256: [u8; 32],
    /// SHA-256 of the resolved recipe.
    pub recipe_sha256: [u8; 32],
    /// The run's seed.
    pub seed: u64,
}

/// Quality for a model card; empty where nothing was measured.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    /// Of truncated int8 embeddings.
    pub truncation: Vec<TruncationQuality>,
    /// Of truncated codes.
    pub hash: Vec<HashQuality>,
}

impl Quality {
    /// Of an embedding measured by the protocol; empty without labels.
    pub fn of(report: &FeatureReport) -> Self {
        let truncation = report.truncation.iter().map(|point| TruncationQuality {
            dims: point.dims as u16,
            knn_acc: point.knn_acc as f32,
            map: point.map as f32,
        });
        let hash = report.hash.iter().map(|point| HashQuality { bits: point.bits as u16, map: point.map as f32 });
        Self { truncation: truncation.collect(), hash: hash.collect() }
    }
}

/// Golden vectors in a blob.
const GOLDEN: usize = 16;
/// Training samples at most that thresholds and prototypes are found on.
pub const HEAD_SAMPLES: usize = 4096;
/// k-means restarts for prototypes.
const RESTARTS: usize = 10;

/// A lowered model: a blob but for its card.
pub struct Lowered {
    builder: Builder,
}

impl Lowered {
    /// The same, saying what its raw values are of what was measured.
    pub fn in_unit(mut self, unit: Unit) -> Self {
        let input = &mut self.builder.description.input;
        (input.scale, input.offset) = (unit.scale, unit.offset);
        self
    }

    /// The blob.
    ///
    /// # Errors
    /// A blob that the runtime refuses.
    pub fn blob(&self, provenance: &Provenance, quality: &Quality) -> Result<AlignedBytes> {
        let card = encode_card(&Card {
            objective: &provenance.objective,
            dataset: &provenance.dataset,
            dataset_sha256: provenance.dataset_sha256,
            recipe_sha256: provenance.recipe_sha256,
            seed: provenance.seed,
            producer: concat!("eigenlet ", env!("CARGO_PKG_VERSION")),
            truncation: quality.truncation.iter().copied().take(blob::MAX_QUALITY).collect(),
            hash: quality.hash.iter().copied().take(blob::MAX_QUALITY).collect(),
        });
        let bytes = self.builder.seal(&card)?;
        parse(&bytes)?;
        Ok(bytes)
    }
}

/// Quantises a model. `samples` are training samples, for thresholds, prototypes and golden vectors; `projection` is the
/// hash's, `[dims, bits]` ([`binarize`](super::binarize)), where it is made of functions; `seed` is k-means'.
///
/// # Errors
/// Heads that the model cannot have, more layers than a blob holds, or accumulators that could overflow.
pub fn lower(
    model: &FloatModel,
    calibration: &Calibration,
    samples: &Samples,
    raw_max: u8,
    heads: Heads,
    projection: &ArrayView2<f32>,
    seed: u64,
) -> Result<Lowered> {
    let mut builder = Builder::layers(model, calibration, raw_max, model.plan.steps.len() - 1)?;
    at_most("export.dims", "dimensions", heads.dims, model.eigenvalues.len())?;
    builder.embedding(model, calibration, heads.dims)?;
    let some = samples.spread(HEAD_SAMPLES);
    let experts = model.native.experts.as_ref().filter(|_| heads.clusters == ClusterHead::Native);
    if let Some(experts) = experts {
        builder.experts(experts, &some)?;
    }
    match (heads.hash, experts) {
        _ if heads.bits == 0 => {}
        (HashHead::Native, Some(experts)) => builder.expert_hash(experts, heads.bits)?,
        (HashHead::Functions { leading }, _) => builder.hash(model, projection, leading == 0, &some)?,
        (HashHead::Native, None) => {
            let code = model.native.code.as_ref().ok_or_else(|| no_native("export.hash", "hash code"))?;
            builder.native_hash(code, heads.bits)?;
        }
    }
    match heads.clusters {
        ClusterHead::None => {}
        ClusterHead::Native if experts.is_some() => {}
        ClusterHead::Prototypes { count, dims } => {
            at_most("export.cluster_dims", "dimensions", dims, heads.dims)?;
            at_most("export.clusters", "clusters", count, some.len())?;
            builder.prototypes(count, dims, seed, &some)?;
        }
        ClusterHead::Native => {
            let rows = model.native.clusters.as_ref().ok_or_else(|| no_native("export.cluster_by", "clusters"))?;
            builder.native_clusters(rows)?;
        }
    }
    builder.golden(&samples.spread(GOLDEN))?;
    Ok(Lowered { builder })
}

fn no_native(key: &str, what: &str) -> Error {
    Error::input(key, format!("the objective learns no {what}"), "functions or prototypes", "native")
}

/// The first `layers` steps alone, without heads: for looking at what they compute.
///
/// # Errors
/// As for [`lower`].
pub fn lower_layers(
    model: &FloatModel,
    calibration: &Calibration,
    raw_max: u8,
    layers: usize,
) -> Result<(AlignedBytes, Grid)> {
    let builder = Builder::layers(model, calibration, raw_max, layers)?;
    Ok((builder.seal(&[])?, builder.grid))
}

fn at_most(place: &str, what: &str, asked: usize, available: usize) -> Result<()> {
    match asked <= available {
        true => Ok(()),
        false => Err(Error::input(place, format!("the model has fewer {what}"), format!("at most {available}"), asked)),
    }
}

/// An affine int8 grid: `real = scale * (value - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Real value of one step.
    pub scale: f32,
    /// The value that stands for zero.
    pub zero_point: i8,
}

impl Grid {
    /// Zero to `top`, for what a ReLU leaves.
    fn above_zero(top: f32) -> Self {
        Self { scale: top / 255.0, zero_point: -128 }
    }

    fn output(self) -> Output {
        Output { zero_point: self.zero_point, minimum: self.zero_point, maximum: 127 }
    }
}

/// Quantised rows: int8 weights with the constants that bring their accumulators to the output grid.
struct Rows {
    weights: Vec<i8>,
    biases: Vec<i32>,
    scales: Vec<Scale>,
}

impl Rows {
    /// Puts the rows, of so many weights each, into the blob, packed in blocks of as many rows.
    fn write(&self, writer: &mut BlobWriter, block: usize, columns: usize) -> blob::Rows {
        blob::Rows {
            weights: writer.push_blocks(&self.weights, block, columns),
            biases: writer.push_biases(&self.biases, block),
            scales: writer.push_scales(&self.scales, block),
        }
    }
}

/// Real value of one weight step: as fine as the largest weight allows, and coarse enough that no bias needs more than 28
/// bits, however small the weights are.
fn weight_step(weights: impl IntoIterator<Item = f32>, bias: f32, input: Grid) -> f64 {
    let largest = weights.into_iter().fold(0.0f32, |top, weight| top.max(weight.abs()));
    let needed = f64::from(bias.abs()) / f64::from(input.scale) / f64::from(1 << 28);
    (f64::from(largest) / 127.0).max(needed).max(f64::MIN_POSITIVE)
}

/// Quantises one row: its weights, and the bias that brings `sum(weights * features)` to the real sum in steps of
/// `step * input.scale`.
fn quantised_row(weights: ArrayView1<f32>, bias: f32, input: Grid, step: f64) -> Result<(Vec<i8>, i32)> {
    let quantised: Vec<i8> =
        weights.iter().map(|&weight| (f64::from(weight) / step).round().clamp(-127.0, 127.0) as i8).collect();
    let sum: i64 = quantised.iter().map(|&weight| i64::from(weight)).sum();
    let magnitude: i64 = quantised.iter().map(|&weight| i64::from(weight).abs()).sum();
    let scale = f64::from(input.scale) * step;
    let bias = (f64::from(bias) / scale).round() as i64 - i64::from(input.zero_point) * sum;
    if bias.abs() + 128 * magnitude >= ACCUMULATOR_BOUND {
        return Err(Error::Check(format!(
            "a row of {} inputs could overflow its accumulator: split the layer",
            weights.len()
        )));
    }
    Ok((quantised, bias as i32))
}

/// Quantises one output channel: its weights, bias and requantisation to that grid.
fn channel(weights: ArrayView1<f32>, bias: f32, input: Grid, output: Grid) -> Result<(Vec<i8>, i32, Scale)> {
    let step = weight_step(weights.iter().copied(), bias, input);
    let (quantised, bias) = quantised_row(weights, bias, input, step)?;
    Ok((quantised, bias, scale(f64::from(input.scale) * step / f64::from(output.scale), output.zero_point)))
}

/// A real factor below one half as the runtime multiplies by it; one too small for 31 bits has fewer.
fn scale(real: f64, zero_point: i8) -> Scale {
    debug_assert!((0.0..0.5).contains(&real));
    let mut shift = 1;
    let mut significand = 2.0 * real;
    while significand < 0.5 && shift < Scale::MAX_SHIFT {
        significand *= 2.0;
        shift += 1;
    }
    let multiplier = match (significand * 2f64.powi(31)).round() as i64 {
        // Rounded up to one.
        value if value == 1 << 31 && shift > 1 => {
            shift -= 1;
            1 << 30
        }
        value => value.min(i64::from(i32::MAX)) as i32,
    };
    Scale::new(multiplier, shift, zero_point)
}

/// The output scale with every row's factor below one half: an accumulator's step is at most half as coarse as the output's.
fn widened(scale: f32, weights: &Array2<f32>, input: Grid) -> f32 {
    let largest = weights.iter().fold(0.0f32, |top, weight| top.max(weight.abs()));
    scale.max(input.scale * largest / 127.0 * 2.002)
}

/// A blob in the making.
struct Builder {
    writer: BlobWriter,
    description: Description<'static>,
    /// The grid of what the layers give.
    grid: Grid,
}

impl Builder {
    /// Quantises the first `count` steps.
    fn layers(model: &FloatModel, calibration: &Calibration, raw_max: u8, count: usize) -> Result<Self> {
        let [height, width, channels] = model.plan.input;
        let shape = [height as u16, width as u16, channels as u16];
        // Values of 0 and 1 are given by where they are 1, if the first layer can sum over these alone.
        let first = model.plan.steps.iter().take(count).next();
        let is_dense = first.is_some_and(|step| step.operation == Operation::Dense);
        let (raw, zero_point) = match raw_max == 1 && is_dense && model.plan.input_len() <= MAX_INDEXED {
            true => (Raw::Indices, 0),
            false => (Raw::U8, INPUT_ZERO_POINT_U8),
        };
        let mut grid = Grid { scale: 1.0 / f32::from(raw_max), zero_point };
        let input = Input { shape, place: 0, raw, scale: grid.scale, offset: 0.0 };
        let mut writer = BlobWriter::new();
        let mut layers = Layers::new();
        let mut weights = model.weights.iter();
        for (index, step) in model.plan.steps.iter().take(count).enumerate() {
            let mut rows = |grid: &mut Grid, by_row: bool| -> Result<(blob::Rows, Output)> {
                let weights = weights.next().expect("weights for each step that has any");
                let mut out = Grid::above_zero(calibration.tops[index]);
                out.scale = widened(out.scale, &weights.weight, *grid);
                let rows = quantise(&weights.weight, &weights.bias, by_row, *grid, out)?;
                *grid = out;
                let (count, columns) = weights.weight.dim();
                let offsets = match by_row {
                    true => rows.write(&mut writer, count, columns),
                    false => blob::Rows {
                        weights: writer.push_filters(&rows.weights, columns),
                        biases: writer.push_biases(&rows.biases, columns),
                        scales: writer.push_scales(&rows.scales, columns),
                    },
                };
                Ok((offsets, out.output()))
            };
            let outputs = step.output[2] as u16;
            let operation = match step.operation {
                Operation::Conv2d(window) => {
                    let (rows, output) = rows(&mut grid, true)?;
                    blob::Operation::Conv2d(Conv2d { outputs, window: window_of(window), rows, output })
                }
                Operation::DepthwiseConv2d(window) => {
                    let (rows, output) = rows(&mut grid, false)?;
                    blob::Operation::DepthwiseConv2d(DepthwiseConv2d { window: window_of(window), rows, output })
                }
                Operation::Dense | Operation::Linear => {
                    let (rows, output) = rows(&mut grid, true)?;
                    blob::Operation::Dense(Dense { outputs, rows, output })
                }
                Operation::MaxPool(window) => blob::Operation::MaxPool2d(window_of(window)),
                Operation::AveragePool(window) => blob::Operation::AveragePool2d(window_of(window)),
            };
            layers.push(Layer { places: Places::default(), operation }).map_err(|_| {
                let expected = format!("at most {}", blob::MAX_LAYERS);
                Error::input("network.layers", "too many layers for a blob", expected, model.plan.steps.len() - 1)
            })?;
        }
        let description = Description {
            input,
            layers,
            heads: Places::default(),
            embedding: None,
            hash: None,
            clusters: None,
            experts: None,
            golden: Golden::default(),
            card: &[],
        };
        Ok(Self { writer, description, grid })
    }

    fn embedding(&mut self, model: &FloatModel, calibration: &Calibration, dims: usize) -> Result<()> {
        let last = model.weights.last().expect("a plan ends with a linear step");
        let weight = last.weight.slice(ndarray::s![..dims, ..]).to_owned();
        let bias = last.bias.slice(ndarray::s![..dims]).to_owned();
        // All rows decide the grid, so that a model with fewer dimensions gives a prefix of the same bytes.
        let scale = widened(calibration.embedding / 127.0, &last.weight, self.grid);
        let rows = quantise(&weight, &bias, true, self.grid, Grid { scale, zero_point: 0 })?;
        let eigenvalues: Vec<f32> = model.eigenvalues[..dims].iter().map(|&value| value as f32).collect();
        self.description.embedding = Some(Embedding {
            count: dims as u16,
            rows: rows.write(&mut self.writer, dims, weight.ncols()),
            scale,
            eigenvalues: self.writer.push_f32(&eigenvalues),
        });
        Ok(())
    }

    /// Bits are balanced on the given samples: each threshold is the median accumulator. Bits that are the embedding's own
    /// dimensions share its weights, where these lie alike for fewer rows.
    fn hash(
        &mut self,
        model: &FloatModel,
        projection: &ArrayView2<f32>,
        shared: bool,
        samples: &[&[u8]],
    ) -> Result<()> {
        let embedding = self.description.embedding.expect("the embedding is made before the hash");
        let dims = usize::from(embedding.count);
        let last = model.weights.last().expect("a plan ends with a linear step").weight.slice(ndarray::s![..dims, ..]);
        let directions = projection.t().dot(&last);
        let mut rows = Vec::with_capacity(directions.len());
        for direction in directions.outer_iter() {
            // Thresholds are compared with accumulators, so no bias matters.
            let step = weight_step(direction.iter().copied(), 0.0, self.grid);
            rows.extend(quantised_row(direction, 0.0, self.grid, step)?.0);
        }

        let features = self.run(samples, |features| Ok(features.values().to_vec()))?;
        let biases: Vec<i32> = rows
            .par_chunks(directions.ncols())
            .map(|row| {
                let mut sums: Vec<i32> = features
                    .iter()
                    .map(|values| row.iter().zip(values).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum())
                    .collect();
                let middle = (sums.len() - 1) / 2;
                -*sums.select_nth_unstable(middle).1
            })
            .collect();
        let bits = directions.nrows();
        let weights = match shared && bits <= dims {
            true => embedding.rows.weights,
            false => self.writer.push_packed(&rows, directions.ncols()),
        };
        let biases = self.writer.push_biases(&biases, bits);
        self.description.hash = Some(Hash::Thresholds { bits: bits as u16, weights, biases });
        Ok(())
    }

    /// The code that the network learned, or its first `bits` bits.
    fn native_hash(&mut self, code: &NativeCode, bits: usize) -> Result<()> {
        at_most("export.bits", "bits", bits, code.bits())?;
        self.description.hash = Some(match code {
            NativeCode::Signs(rows) => {
                let (mut weights, mut biases) = (Vec::new(), Vec::new());
                for (row, &bias) in rows.weight.outer_iter().zip(&rows.bias).take(bits) {
                    let step = weight_step(row.iter().copied(), bias, self.grid);
                    let (row, bias) = quantised_row(row, bias, self.grid, step)?;
                    weights.extend(row);
                    biases.push(bias);
                }
                let weights = self.writer.push_packed(&weights, rows.weight.ncols());
                Hash::Thresholds { bits: bits as u16, weights, biases: self.writer.push_biases(&biases, bits) }
            }
            NativeCode::Product { classes, rows, .. } => {
                let width = id_bits(*classes);
                let heads = bits / width;
                if !bits.is_multiple_of(width) || heads > usize::from(u8::MAX) {
                    let expected = format!("a multiple of {width}, the bits of one head's id, at most 255 of them");
                    return Err(Error::input("export.bits", "not whole ids", expected, bits));
                }
                let (mut weights, mut biases) = (Vec::new(), Vec::new());
                for head in 0..heads {
                    let (rows, offsets) = self.comparable(rows, head * classes..(head + 1) * classes)?;
                    weights.extend(rows);
                    biases.extend(offsets);
                }
                let weights = self.writer.push_blocks(&weights, *classes, rows.weight.ncols());
                let biases = self.writer.push_biases(&biases, *classes);
                Hash::Product { heads: heads as u8, classes: *classes as u16, weights, biases }
            }
        });
        Ok(())
    }

    /// The clusters that the network learned.
    fn native_clusters(&mut self, rows: &Weights) -> Result<()> {
        let count = rows.bias.len();
        let (weights, biases) = self.comparable(rows, 0..count)?;
        let weights = self.writer.push_packed(&weights, rows.weight.ncols());
        let biases = self.writer.push_biases(&biases, count);
        self.description.clusters = Some(Clusters::Linear { count: count as u16, weights, biases });
        Ok(())
    }

    /// The experts, and the clusters by their gate.
    fn experts(&mut self, heads: &ExpertHeads, samples: &[&[u8]]) -> Result<()> {
        let ExpertHeads { count, dims, rows, eigenvalues, reach, gate } = heads;
        let scale = widened(reach / 127.0, &rows.weight, self.grid);
        let (quantised, clusters) = match gate {
            Gate::Linear(logits) => {
                let quantised = quantise(&rows.weight, &rows.bias, true, self.grid, Grid { scale, zero_point: 0 })?;
                let (weights, biases) = self.comparable(logits, 0..*count)?;
                let weights = self.writer.push_packed(&weights, logits.weight.ncols());
                let biases = self.writer.push_biases(&biases, *count);
                (quantised, Clusters::Linear { count: *count as u16, weights, biases })
            }
            Gate::Residual { points } => self.residuals(heads, points, scale, samples)?,
        };
        self.description.experts = Some(blob::Experts {
            count: *dims as u16,
            rows: quantised.write(&mut self.writer, *dims, rows.weight.ncols()),
            scale,
            eigenvalues: self.writer.push_f32(eigenvalues),
        });
        self.description.clusters = Some(clusters);
        Ok(())
    }

    /// Rows with one weight step, whose accumulators are zero at quantised points, so that squares of accumulators are squared
    /// distances along the planes in the features' own steps.
    fn residuals(
        &mut self,
        heads: &ExpertHeads,
        points: &Array2<f32>,
        output_scale: f32,
        samples: &[&[u8]],
    ) -> Result<(Rows, Clusters)> {
        let grid = self.grid;
        let place = |value: f32| (value / grid.scale).round() + f32::from(grid.zero_point);
        let centres: Vec<i8> = points.iter().map(|&value| place(value).clamp(-128.0, 127.0) as i8).collect();
        let size = points.ncols();
        let step = weight_step(heads.rows.weight.iter().copied(), 0.0, grid);
        let scale = scale(f64::from(grid.scale) * step / f64::from(output_scale), 0);
        let mut rows = Rows { weights: Vec::new(), biases: Vec::new(), scales: Vec::new() };
        for (index, row) in heads.rows.weight.outer_iter().enumerate() {
            let (weights, _) = quantised_row(row, 0.0, grid, step)?;
            let centre = &centres[index / heads.dims * size..][..size];
            let bias: i32 = weights.iter().zip(centre).map(|(&w, &c)| -i32::from(w) * i32::from(c)).sum();
            rows.weights.extend(weights);
            rows.biases.push(bias);
            rows.scales.push(scale);
        }

        let features = self.run(samples, |features| Ok(features.values().to_vec()))?;
        let largest = features
            .par_iter()
            .map(|values| {
                let sums = rows.weights.chunks_exact(size).zip(&rows.biases).map(|(row, bias)| {
                    let sum: i32 = row.iter().zip(values).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
                    (sum + bias).unsigned_abs()
                });
                sums.max().unwrap_or(0)
            })
            .max()
            .unwrap_or(0);
        // The least shift that brings every accumulator seen into 16 bits.
        let halvings = (0..31).find(|shift| (largest >> shift) <= i16::MAX.unsigned_abs().into()).unwrap_or(31);
        let factor = (step * 2f64.powi(halvings)).powi(2);
        let scale_shift = (f64::from(u16::MAX) / factor).log2().floor().clamp(0.0, 63.0) as i32;
        let clusters = Clusters::Residual {
            count: heads.count as u16,
            centres: self.writer.push_i8(&centres),
            shift: halvings as u8,
            multiplier: (factor * 2f64.powi(scale_shift)).round() as u16,
            scale_shift: scale_shift as u8,
        };
        Ok((rows, clusters))
    }

    /// The id of a sample's expert, and signs of its representation.
    fn expert_hash(&mut self, heads: &ExpertHeads, bits: usize) -> Result<()> {
        at_most("export.bits", "bits", bits, heads.bits())?;
        let rows = bits.saturating_sub(id_bits(heads.count));
        if rows == 0 {
            let expected = format!("more than {}, the bits of the cluster's id", id_bits(heads.count));
            return Err(Error::input("export.bits", "no bit of the representation would be left", expected, bits));
        }
        self.description.hash = Some(Hash::Experts { classes: heads.count as u16, rows: rows as u16 });
        Ok(())
    }

    /// Rows quantised with one step, so that their accumulators can be compared, and their biases.
    fn comparable(&self, rows: &Weights, range: std::ops::Range<usize>) -> Result<(Vec<i8>, Vec<i32>)> {
        // What all have in common changes no comparison and would only cost steps.
        let weight = rows.weight.slice(ndarray::s![range.clone(), ..]);
        let bias = rows.bias.slice(ndarray::s![range]);
        let common = weight.mean_axis(ndarray::Axis(0)).expect("a head has rows");
        let middle = bias.mean().unwrap_or(0.0);
        let (weight, bias) = (&weight - &common, bias.mapv(|bias| bias - middle));
        let largest_bias = bias.iter().fold(0.0f32, |top, bias| top.max(bias.abs()));
        let step = weight_step(weight.iter().copied(), largest_bias, self.grid);
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for (row, &bias) in weight.outer_iter().zip(&bias) {
            let (row, bias) = quantised_row(row, bias, self.grid, step)?;
            weights.extend(row);
            biases.push(bias);
        }
        Ok((weights, biases))
    }

    /// Prototypes are k-means centres of the int8 embeddings of the given samples.
    fn prototypes(&mut self, count: usize, dims: usize, seed: u64, samples: &[&[u8]]) -> Result<()> {
        let embeddings = self.run(samples, |features| {
            let mut embedding = vec![0i8; dims];
            features.embed_into(&mut embedding)?;
            Ok(embedding)
        })?;
        let values = embeddings.into_iter().flatten().map(f32::from).collect();
        let points = Array2::from_shape_vec((samples.len(), dims), values).expect("one row for each sample");
        let found = kmeans(&points.view(), count, RESTARTS, seed);
        let prototypes: Vec<i8> = found.centroids.iter().map(|value| value.round() as i8).collect();
        let prototypes = self.writer.push_i8(&prototypes);
        self.description.clusters = Some(Clusters::Prototypes { count: count as u16, dims: dims as u16, prototypes });
        Ok(())
    }

    fn golden(&mut self, samples: &[&[u8]]) -> Result<()> {
        let description = &self.description;
        let (dims, bits) = (description.embedding.map_or(0, |e| e.count), description.hash.map_or(0, |h| h.bits()));
        let clusters = description.clusters.is_some();
        let expert_dims = description.experts.map_or(0, |experts| experts.count);
        let outputs = self.run(samples, |features| {
            let mut outputs = GoldenOutputs {
                embedding: vec![0; dims.into()],
                code: vec![0; usize::from(bits).div_ceil(8)],
                ..GoldenOutputs::default()
            };
            features.embed_into(&mut outputs.embedding)?;
            if bits > 0 {
                features.hash_into(bits, &mut outputs.code)?;
            }
            if clusters {
                outputs.cluster = Some(features.assign()?.id);
            }
            if expert_dims > 0 {
                let expert = features.expert(Dims::new(expert_dims))?;
                (outputs.score, outputs.expert) = (expert.score, expert.embedding.to_vec());
            }
            Ok(outputs)
        })?;
        let writer = &mut self.writer;
        let count = samples.len() as u16;
        let samples = match self.description.input.raw {
            Raw::U8 => writer.push_u8(&samples.concat()),
            Raw::Indices => {
                let lists: Vec<Vec<u16>> = samples.iter().map(|sample| nonzero_indices(sample).collect()).collect();
                writer.push_indices(&lists)
            }
        };
        let outputs = writer.push_golden(&outputs);
        self.description.golden = Golden { count, samples, outputs };
        Ok(())
    }

    /// What there is so far, as a blob.
    fn seal(&self, card: &[u8]) -> Result<AlignedBytes> {
        let mut description = Description { card, ..self.description.clone() };
        plan::place(&mut description)
            .map_err(|error| Error::Check(format!("the arena cannot be laid out: {error}")))?;
        Ok(self.writer.finish(&description))
    }

    /// Runs what there is so far on samples, through the runtime.
    fn run<T: Send>(
        &self,
        samples: &[&[u8]],
        read: impl Fn(&mut eigenlet_runtime::Features) -> std::result::Result<T, eigenlet_runtime::EncoderError> + Sync,
    ) -> Result<Vec<T>> {
        let bytes = self.seal(&[])?;
        inference::run(&parse(&bytes)?, samples, read)
    }
}

fn window_of(window: Window) -> blob::Window {
    let [[top, bottom], [left, right]] = window.padding.map(|sides| sides.map(|size| size as u8));
    blob::Window {
        kernel: window.kernel.map(|size| size as u8),
        stride: window.stride.map(|step| step as u8),
        padding: [top, left, bottom, right],
    }
}

/// Quantises a weight matrix: one channel a row, or one a column (depthwise); the weights keep their order.
fn quantise(
    weight: &Array2<f32>,
    bias: &ndarray::Array1<f32>,
    by_row: bool,
    input: Grid,
    output: Grid,
) -> Result<Rows> {
    let mut quantised = Array2::<i8>::zeros(weight.dim());
    let (mut biases, mut scales) = (Vec::with_capacity(bias.len()), Vec::with_capacity(bias.len()));
    for (index, &bias) in bias.iter().enumerate() {
        let axis = ndarray::Axis(if by_row { 0 } else { 1 });
        let (weights, bias, scale) = channel(weight.index_axis(axis, index), bias, input, output)?;
        quantised.index_axis_mut(axis, index).assign(&ArrayView1::from(&weights));
        biases.push(bias);
        scales.push(scale);
    }
    Ok(Rows { weights: quantised.into_raw_vec_and_offset().0, biases, scales })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_the_real_factor_to_31_bits() {
        for real in [0.499_999_999_9, 0.25, 0.123_456, 1e-3, 7.7e-6, 2f64.powi(-23)] {
            let scale = scale(real, 5);
            let back = f64::from(scale.multiplier) / 2f64.powi(31 + scale.shift);
            assert!((back / real - 1.0).abs() < 1e-9, "{real}: {scale:?}");
            assert!(scale.multiplier >= 1 << 30 && scale.is_lawful(5));
        }
        // Smaller ones to 2^-53.
        for real in [0.0, 1e-12, 3.3e-9] {
            let scale = scale(real, -128);
            let back = f64::from(scale.multiplier) / 2f64.powi(31 + scale.shift);
            assert!((back - real).abs() <= 2f64.powi(-54) && scale.is_lawful(-128), "{real}: {scale:?}");
        }
    }

    #[test]
    fn requantised_accumulators_are_the_real_outputs_to_half_a_step() {
        let input = Grid { scale: 0.013, zero_point: -128 };
        let weights = ndarray::array![0.31f32, -0.07, 0.002, 0.21];
        let output_scale = 0.021;
        let output = Grid { scale: output_scale, zero_point: -128 };
        let (quantised, bias, scale) = channel(weights.view(), 0.4, input, output).unwrap();
        let output_scale = f64::from(output_scale);
        for seed in 0..200u32 {
            let x: Vec<i8> =
                (0..4).map(|i| (seed.wrapping_mul(2_654_435_761).rotate_left(8 * i) >> 24) as u8 as i8).collect();
            let acc: i32 = quantised.iter().zip(&x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
            let real: f64 =
                weights.iter().zip(&x).map(|(&w, &x)| f64::from(w) * 0.013 * (f64::from(x) + 128.0)).sum::<f64>() + 0.4;
            let found = f64::from(i32::from(scale.output(acc + bias)) + 128) * output_scale;
            let real = real.clamp(0.0, 255.0 * output_scale);
            // Half a step of the output, and what rounding four weights can add.
            let tolerance = output_scale / 2.0 + 4.0 * 255.0 * 0.013 * (0.31 / 127.0) / 2.0;
            assert!((found - real).abs() <= tolerance, "{found} {real}");
        }
    }

    #[test]
    fn accumulators_that_could_overflow_are_refused() {
        let input = Grid { scale: 1.0, zero_point: 0 };
        let many = ndarray::Array1::from_elem(70_000, 1.0f32);
        assert!(channel(many.view(), 0.0, input, Grid { scale: 1e9, zero_point: 0 }).is_err());
    }
}
