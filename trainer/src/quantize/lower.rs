//! Lowering a float model to `int8.v1` and writing its blob. `NUMERICS.md` says what the numbers mean.

use eigenlet_runtime::Model;
use eigenlet_shared::description::{
    self as blob, Card, Clusters, Conv2d, Dense, DepthwiseConv2d, Description, Embedding, Golden, Hash, HashQuality,
    Input, Layer, Layers, Raw, TruncationQuality,
};
use eigenlet_shared::numerics::{ACCUMULATOR_BOUND, Channel, INPUT_ZERO_POINT_U8, Output};
use eigenlet_shared::writer::{AlignedBytes, BlobWriter, encode_card};
use ndarray::{Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::{Calibration, FloatModel};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::evaluate::kmeans;
use crate::network::spec::{Operation, Window};

/// Which heads the blob is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Dimensions of the embedding; at most the model's.
    pub dims: usize,
    /// Bits of the hash code; 0 leaves the head out.
    pub bits: usize,
    /// Leading dimensions that bits are made of; 0 makes each bit of one dimension (then `bits` is at most `dims`).
    pub hash_dims: usize,
    /// Number of clusters; 0 leaves the head out.
    pub clusters: usize,
    /// Leading dimensions that prototypes are compared in.
    pub cluster_dims: usize,
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
    /// Quality of truncated int8 embeddings, if measured.
    pub truncation: Vec<TruncationQuality>,
    /// Quality of truncated codes, if measured.
    pub hash: Vec<HashQuality>,
}

/// Golden vectors in a blob.
const GOLDEN: usize = 16;
/// Training samples at most that thresholds and prototypes are found on.
const HEAD_SAMPLES: usize = 4096;
/// k-means restarts for prototypes.
const RESTARTS: usize = 10;

/// The whole blob. `samples` are training samples, for thresholds, prototypes and golden vectors; `projection` is the
/// hash's, `[dims, bits]` ([`binarize`](super::binarize)).
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
    provenance: &Provenance,
) -> Result<AlignedBytes> {
    let mut builder = Builder::layers(model, calibration, raw_max, model.plan.steps.len() - 1)?;
    let available = model.eigenvalues.len();
    at_most("export.dims", "dimensions", heads.dims, available)?;
    if heads.clusters > 0 {
        at_most("export.cluster_dims", "dimensions", heads.cluster_dims, heads.dims)?;
        at_most("export.clusters", "clusters", heads.clusters, samples.len())?;
    }

    builder.embedding(model, calibration, heads.dims)?;
    let some = spread(samples, HEAD_SAMPLES);
    if heads.bits > 0 {
        builder.hash(model, projection, heads.hash_dims == 0, &some)?;
    }
    if heads.clusters > 0 {
        builder.clusters(heads.clusters, heads.cluster_dims, provenance.seed, &some)?;
    }
    builder.golden(&spread(samples, GOLDEN))?;
    builder.finish(provenance)
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
    Ok((builder.seal(&[]), builder.grid))
}

fn at_most(place: &str, what: &str, asked: usize, available: usize) -> Result<()> {
    match asked <= available {
        true => Ok(()),
        false => Err(Error::input(place, format!("the model has fewer {what}"), format!("at most {available}"), asked)),
    }
}

/// At most `count` samples, evenly spread.
fn spread(samples: &Samples, count: usize) -> Vec<&[u8]> {
    let count = count.min(samples.len());
    (0..count).map(|index| samples.sample(index * samples.len() / count)).collect()
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
    channels: Vec<Channel>,
}

/// Quantises one output channel: its weights, bias and requantisation.
fn channel(weights: ArrayView1<f32>, bias: f32, input: Grid, output_scale: f64) -> Result<(Vec<i8>, Channel)> {
    let largest = weights.iter().fold(0.0f32, |top, weight| top.max(weight.abs()));
    let input_scale = f64::from(input.scale);
    // A bias must not need more than 28 bits, however small its weights are.
    let needed = f64::from(bias.abs()) / input_scale / f64::from(1 << 28);
    let step = (f64::from(largest) / 127.0).max(needed).max(f64::MIN_POSITIVE);
    let quantised: Vec<i8> =
        weights.iter().map(|&weight| (f64::from(weight) / step).round().clamp(-127.0, 127.0) as i8).collect();
    let scale = input_scale * step;
    let sum: i64 = quantised.iter().map(|&weight| i64::from(weight)).sum();
    let magnitude: i64 = quantised.iter().map(|&weight| i64::from(weight).abs()).sum();
    let bias = (f64::from(bias) / scale).round() as i64 - i64::from(input.zero_point) * sum;
    if bias.abs() + 128 * magnitude >= ACCUMULATOR_BOUND {
        return Err(Error::Check(format!(
            "a row of {} inputs could overflow its accumulator: split the layer",
            weights.len()
        )));
    }
    let (multiplier, shift) = multiplier(scale / output_scale);
    Ok((quantised, Channel { bias: bias as i32, multiplier, shift }))
}

/// A real factor below one as `multiplier / 2^31 / 2^shift`; what is too small for that is zero.
fn multiplier(real: f64) -> (i32, i32) {
    debug_assert!((0.0..1.0).contains(&real));
    if real < 2f64.powi(-32) {
        return (0, 0);
    }
    let mut shift = 0;
    let mut significand = real;
    while significand < 0.5 {
        significand *= 2.0;
        shift += 1;
    }
    match (significand * 2f64.powi(31)).round() as i64 {
        // Rounded up to one.
        value if value == 1 << 31 && shift > 0 => (1 << 30, shift - 1),
        value => (value.min(i64::from(i32::MAX)) as i32, shift),
    }
}

/// The output scale with every row's factor below one: an accumulator's step never is coarser than the output's.
fn widened(scale: f32, weights: &Array2<f32>, input: Grid) -> f32 {
    let largest = weights.iter().fold(0.0f32, |top, weight| top.max(weight.abs()));
    scale.max(input.scale * largest / 127.0 * 1.001)
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
        let mut grid = Grid { scale: 1.0 / f32::from(raw_max), zero_point: INPUT_ZERO_POINT_U8 };
        let [height, width, channels] = model.plan.input;
        let input = Input { shape: [height as u16, width as u16, channels as u16], raw: Raw::U8, scale: grid.scale };
        let mut writer = BlobWriter::new();
        let mut layers = Layers::new();
        let mut weights = model.weights.iter();
        for (index, step) in model.plan.steps.iter().take(count).enumerate() {
            let mut rows = |grid: &mut Grid, by_row: bool| -> Result<(u32, u32, Output)> {
                let weights = weights.next().expect("weights for each step that has any");
                let mut out = Grid::above_zero(calibration.tops[index]);
                out.scale = widened(out.scale, &weights.weight, *grid);
                let rows = quantise(&weights.weight, &weights.bias, by_row, *grid, out.scale)?;
                *grid = out;
                Ok((writer.push_i8(&rows.weights), writer.push_channels(&rows.channels), out.output()))
            };
            let outputs = step.output[2] as u16;
            let layer = match step.operation {
                Operation::Conv2d(window) => {
                    let (weights, channels, output) = rows(&mut grid, true)?;
                    Layer::Conv2d(Conv2d { outputs, window: window_of(window), weights, channels, output })
                }
                Operation::DepthwiseConv2d(window) => {
                    let (weights, channels, output) = rows(&mut grid, false)?;
                    Layer::DepthwiseConv2d(DepthwiseConv2d { window: window_of(window), weights, channels, output })
                }
                Operation::Dense | Operation::Linear => {
                    let (weights, channels, output) = rows(&mut grid, true)?;
                    Layer::Dense(Dense { outputs, weights, channels, output })
                }
                Operation::MaxPool(window) => Layer::MaxPool2d(window_of(window)),
                Operation::AveragePool(window) => Layer::AveragePool2d(window_of(window)),
            };
            layers.push(layer).map_err(|_| {
                let expected = format!("at most {}", blob::MAX_LAYERS);
                Error::input("network.layers", "too many layers for a blob", expected, model.plan.steps.len() - 1)
            })?;
        }
        let description = Description {
            input,
            layers,
            embedding: None,
            hash: None,
            clusters: None,
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
        let rows = quantise(&weight, &bias, true, self.grid, scale)?;
        let eigenvalues: Vec<f32> = model.eigenvalues[..dims].iter().map(|&value| value as f32).collect();
        self.description.embedding = Some(Embedding {
            rows: dims as u16,
            weights: self.writer.push_i8(&rows.weights),
            channels: self.writer.push_channels(&rows.channels),
            scale,
            eigenvalues: self.writer.push_f32(&eigenvalues),
        });
        Ok(())
    }

    /// Bits are balanced on the given samples: each threshold is the median accumulator. Bits that are the embedding's own
    /// dimensions share its weights.
    fn hash(
        &mut self,
        model: &FloatModel,
        projection: &ArrayView2<f32>,
        shared: bool,
        samples: &[&[u8]],
    ) -> Result<()> {
        let embedding = self.description.embedding.expect("the embedding is made before the hash");
        let dims = usize::from(embedding.rows);
        let last = model.weights.last().expect("a plan ends with a linear step").weight.slice(ndarray::s![..dims, ..]);
        let directions = projection.t().dot(&last);
        // Thresholds are compared with accumulators, so neither bias nor requantisation matters.
        let zeros = ndarray::Array1::zeros(directions.nrows());
        let scale = widened(0.0, &directions, self.grid);
        let rows = quantise(&directions, &zeros, true, self.grid, scale)?.weights;

        let features = self.run(samples, |features| Ok(features.values().to_vec()))?;
        let thresholds: Vec<i32> = rows
            .par_chunks(directions.ncols())
            .map(|row| {
                let mut sums: Vec<i32> = features
                    .iter()
                    .map(|values| row.iter().zip(values).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum())
                    .collect();
                let middle = (sums.len() - 1) / 2;
                *sums.select_nth_unstable(middle).1
            })
            .collect();
        let weights = if shared { embedding.weights } else { self.writer.push_i8(&rows) };
        let thresholds = self.writer.push_i32(&thresholds);
        self.description.hash = Some(Hash { bits: directions.nrows() as u16, weights, thresholds });
        Ok(())
    }

    /// Prototypes are k-means centres of the int8 embeddings of the given samples.
    fn clusters(&mut self, count: usize, dims: usize, seed: u64, samples: &[&[u8]]) -> Result<()> {
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
        let (dims, bits) = (description.embedding.map_or(0, |e| e.rows), description.hash.map_or(0, |h| h.bits));
        let clusters = description.clusters.is_some();
        let outputs = self.run(samples, |features| {
            let mut embedding = vec![0i8; dims.into()];
            features.embed_into(&mut embedding)?;
            let mut code = vec![0u8; usize::from(bits).div_ceil(8)];
            if bits > 0 {
                features.hash_into(bits, &mut code)?;
            }
            let cluster = if clusters { features.assign()?.id } else { 0 };
            Ok((embedding, code, cluster))
        })?;
        let writer = &mut self.writer;
        let mut golden = Golden { count: samples.len() as u16, ..Golden::default() };
        golden.samples = writer.push_u8(&samples.concat());
        golden.embeddings = writer.push_i8(&outputs.iter().flat_map(|(e, ..)| e).copied().collect::<Vec<_>>());
        if bits > 0 {
            golden.codes = writer.push_u8(&outputs.iter().flat_map(|(_, c, _)| c).copied().collect::<Vec<_>>());
        }
        if clusters {
            golden.clusters = writer.push_u16(&outputs.iter().map(|(.., id)| *id).collect::<Vec<_>>());
        }
        self.description.golden = golden;
        Ok(())
    }

    fn finish(&self, provenance: &Provenance) -> Result<AlignedBytes> {
        let card = encode_card(&Card {
            objective: &provenance.objective,
            dataset: &provenance.dataset,
            dataset_sha256: provenance.dataset_sha256,
            recipe_sha256: provenance.recipe_sha256,
            seed: provenance.seed,
            producer: concat!("eigenlet ", env!("CARGO_PKG_VERSION")),
            truncation: provenance.truncation.iter().copied().take(blob::MAX_QUALITY).collect(),
            hash: provenance.hash.iter().copied().take(blob::MAX_QUALITY).collect(),
        });
        let bytes = self.seal(&card);
        Model::parse(&bytes).map_err(|error| Error::Check(format!("the exported blob is not valid: {error}")))?;
        Ok(bytes)
    }

    /// What there is so far, as a blob.
    fn seal(&self, card: &[u8]) -> AlignedBytes {
        self.writer.finish(&Description { card, ..self.description.clone() })
    }

    /// Runs what there is so far on samples, through the runtime.
    fn run<T: Send>(
        &self,
        samples: &[&[u8]],
        read: impl Fn(&mut eigenlet_runtime::Features) -> std::result::Result<T, eigenlet_runtime::EncoderError> + Sync,
    ) -> Result<Vec<T>> {
        let bytes = self.seal(&[]);
        let model = Model::parse(&bytes)
            .map_err(|error| Error::Check(format!("the blob in the making is not valid: {error}")))?;
        crate::inference::run(&model, samples, read)
    }
}

fn window_of(window: Window) -> blob::Window {
    let [before, after] = window.padding.map(|size| size as u8);
    let stride = window.stride as u8;
    blob::Window {
        kernel: window.kernel.map(|size| size as u8),
        stride: [stride, stride],
        padding: [before, before, after, after],
    }
}

/// Quantises a weight matrix: one channel a row, or one a column (depthwise); the weights keep their order.
fn quantise(
    weight: &Array2<f32>,
    bias: &ndarray::Array1<f32>,
    by_row: bool,
    input: Grid,
    output_scale: f32,
) -> Result<Rows> {
    let mut quantised = Array2::<i8>::zeros(weight.dim());
    let mut channels = Vec::with_capacity(bias.len());
    for (index, &bias) in bias.iter().enumerate() {
        let axis = ndarray::Axis(if by_row { 0 } else { 1 });
        let (weights, constants) = channel(weight.index_axis(axis, index), bias, input, f64::from(output_scale))?;
        quantised.index_axis_mut(axis, index).assign(&ArrayView1::from(&weights));
        channels.push(constants);
    }
    Ok(Rows { weights: quantised.into_raw_vec_and_offset().0, channels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiplier_is_the_real_factor_to_31_bits() {
        for real in [0.999_999_999_9, 0.5, 0.25, 0.123_456, 1e-3, 7.7e-6, 2f64.powi(-31)] {
            let (multiplier, shift) = multiplier(real);
            let back = f64::from(multiplier) / 2f64.powi(31 + shift);
            assert!((back / real - 1.0).abs() < 1e-9, "{real}: {multiplier} >> {shift}");
            assert!(multiplier >= 1 << 30 && (0..=31).contains(&shift));
        }
        assert_eq!(multiplier(0.0), (0, 0));
    }

    #[test]
    fn requantised_accumulators_are_the_real_outputs_to_half_a_step() {
        let input = Grid { scale: 0.013, zero_point: -128 };
        let weights = ndarray::array![0.31f32, -0.07, 0.002, 0.21];
        let output_scale = 0.021;
        let (quantised, constants) = channel(weights.view(), 0.4, input, output_scale).unwrap();
        for seed in 0..200u32 {
            let x: Vec<i8> =
                (0..4).map(|i| (seed.wrapping_mul(2_654_435_761).rotate_left(8 * i) >> 24) as u8 as i8).collect();
            let acc: i32 = quantised.iter().zip(&x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
            let real: f64 =
                weights.iter().zip(&x).map(|(&w, &x)| f64::from(w) * 0.013 * (f64::from(x) + 128.0)).sum::<f64>() + 0.4;
            let found = f64::from(constants.requantize(acc + constants.bias)) * output_scale;
            // Half a step of the output, and what rounding four weights can add.
            let tolerance = output_scale / 2.0 + 4.0 * 255.0 * 0.013 * (0.31 / 127.0) / 2.0;
            assert!((found - real).abs() <= tolerance, "{found} {real}");
        }
    }

    #[test]
    fn accumulators_that_could_overflow_are_refused() {
        let input = Grid { scale: 1.0, zero_point: 0 };
        let many = ndarray::Array1::from_elem(70_000, 1.0f32);
        assert!(channel(many.view(), 0.0, input, 1e9).is_err());
    }
}
