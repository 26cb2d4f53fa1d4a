//! What a trained encoder makes of a data set: ordered features, the blob, and every figure of both.

use burn::tensor::{Tensor, TensorData};
use eigenlet_runtime::Model;
use eigenlet_shared::blob::Blob;
use eigenlet_shared::description::{Clusters, HashQuality, TruncationQuality};
use eigenlet_shared::writer::AlignedBytes;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::metrics::{BlobCost, Metrics, OrderingReport, SCHEMA};
use crate::augment::View;
use crate::backend::BackendName;
use crate::data::{Dataset, Samples};
use crate::error::{Error, Result};
use crate::evaluate::{
    ClusterCollapse, CodeCollapse, CodeSplit, Codes, FeatureReport, PROTOCOL, Split, evaluate_baselines,
    evaluate_codes, evaluate_features, evaluate_random_subsets,
};
use crate::inference;
use crate::network::kernels::Kernels;
use crate::network::{Encoder, Mode, Trainable};
use crate::order::{Moments, Ordering};
use crate::quantize::binarize::projection;
use crate::quantize::{Agreement, Calibration, FloatModel, Heads, Provenance, layer_errors, lower, mean_cosine};
use crate::recipe::Recipe;
use crate::train::Epoch;
use crate::train::source::{Augmented, Source, views_of};

/// The views that ordering compares.
const PAIR: &[View] = &[View::First, View::Second];
/// Images that the network sees at a time outside training.
const BATCH: usize = 512;
/// Views for measuring moments come from epochs that no training reaches.
const ORDERING_EPOCH: u64 = 1 << 32;
/// Training samples at most that the hash's directions are found on.
const PROJECTED: usize = 4096;
/// Batches that settle an untrained network's batch norm.
const SETTLING: usize = 50;

/// An encoder with its order, its float features and what quantising it needs.
pub struct Encoded {
    ordering: Ordering,
    model: FloatModel,
    calibration: Calibration,
    calibration_samples: Samples,
    train: Array2<f32>,
    test: Array2<f32>,
}

/// Everything that was made and measured.
pub struct Evaluated {
    /// The figures.
    pub metrics: Metrics,
    /// The blob.
    pub blob: AlignedBytes,
    /// Outputs on the training split.
    pub train: SplitOutputs,
    /// Outputs on the test split.
    pub test: SplitOutputs,
}

/// A model's outputs on one split.
pub struct SplitOutputs {
    /// `[n, dims]`, ordered, of unit variance over the views.
    pub float: Array2<f32>,
    /// The blob's.
    pub int8: inference::Outputs,
}

/// Outputs `[n, outputs]` of a network for whole images in network units.
fn outputs<B: Kernels>(encoder: &Encoder<B>, pixels: &[f32], device: &B::Device) -> Array2<f32> {
    let [height, width, channels] = encoder.plan.input;
    let size = encoder.plan.input_len();
    let mut values = Vec::with_capacity(pixels.len() / size * encoder.plan.outputs());
    for chunk in pixels.chunks(BATCH * size) {
        let images = TensorData::new(chunk.to_vec(), [chunk.len() / size, height, width, channels]);
        let outputs = encoder.forward(Tensor::from_data(images, device), Mode::Evaluate);
        values.extend(outputs.into_data().convert::<f32>().to_vec::<f32>().expect("converted to f32"));
    }
    Array2::from_shape_vec((pixels.len() / size, encoder.plan.outputs()), values).expect("one row for each image")
}

/// Orders a network's outputs on new views of the training split.
fn order<B: Kernels>(encoder: &Encoder<B>, recipe: &Recipe, data: &Dataset, device: &B::Device) -> Result<Ordering> {
    let source = Augmented::new(&data.train.samples, data.raw_max, &recipe.augment)?;
    let all: Vec<u32> = (0..source.len() as u32).collect();
    let mut moments = Moments::new(encoder.plan.outputs());
    for pass in 0..recipe.order.passes as u64 {
        for samples in all.chunks(BATCH) {
            let views = views_of(&source, PAIR, recipe.seed, ORDERING_EPOCH + pass, samples);
            let outputs = outputs(encoder, &views, device);
            let (first, second) = outputs.view().split_at(Axis(0), samples.len());
            moments.add(&first, &second);
        }
    }
    Ok(moments.ordering())
}

/// Ordered features `[n, kept]` of samples as they are.
fn features<B: Kernels>(
    encoder: &Encoder<B>,
    ordering: &Ordering,
    samples: &Samples,
    raw_max: u8,
    device: &B::Device,
) -> Array2<f32> {
    let mut features = Array2::zeros((samples.len(), ordering.kept()));
    for start in (0..samples.len()).step_by(BATCH) {
        let end = (start + BATCH).min(samples.len());
        let outputs = outputs(encoder, &samples.scaled(start..end, raw_max), device);
        features.slice_mut(s![start..end, ..]).assign(&ordering.apply(&outputs.view()));
    }
    features
}

/// Ordered float features of the same network before training, its batch norm settled on training views: train, test.
///
/// # Errors
/// A setting out of its range.
pub fn untrained<B: Trainable>(
    recipe: &Recipe,
    data: &Dataset,
    device: &B::Device,
) -> Result<(Array2<f32>, Array2<f32>)> {
    let encoder = Encoder::<B>::new(super::plan(recipe, data)?, recipe.seed, device);
    let source = Augmented::new(&data.train.samples, data.raw_max, &recipe.augment)?;
    let all: Vec<u32> = (0..source.len() as u32).collect();
    let [height, width, channels] = encoder.plan.input;
    for samples in all.chunks(BATCH).cycle().take(SETTLING) {
        let views = TensorData::new(
            views_of(&source, PAIR, recipe.seed, 0, samples),
            [2 * samples.len(), height, width, channels],
        );
        encoder.forward(Tensor::from_data(views, device), Mode::Train);
    }
    let encoder = encoder.valid();
    let ordering = order(&encoder, recipe, data, device)?;
    let dims = recipe.network.dims.min(ordering.kept());
    let of = |samples: &Samples| -> Array2<f32> {
        features(&encoder, &ordering, samples, data.raw_max, device).slice(s![.., ..dims]).to_owned()
    };
    Ok((of(&data.train.samples), of(&data.test.samples)))
}

impl Encoded {
    /// Orders a trained network and runs it over the data.
    ///
    /// # Errors
    /// Outputs that are all constant.
    pub fn new<B: Kernels>(encoder: &Encoder<B>, recipe: &Recipe, data: &Dataset, device: &B::Device) -> Result<Self> {
        let ordering = order(encoder, recipe, data, device)?;
        if ordering.kept() == 0 {
            return Err(Error::Check(
                "the encoder has collapsed: every output is constant; weaken the augmentation or lower the learning rate".into(),
            ));
        }
        let dims = recipe.network.dims.min(ordering.kept());
        let all = |samples: &Samples| -> Array2<f32> {
            features(encoder, &ordering, samples, data.raw_max, device).slice(s![.., ..dims]).to_owned()
        };
        let (train, test) = (all(&data.train.samples), all(&data.test.samples));
        let calibration_samples = spread(&data.train.samples, recipe.export.calibration);
        let pixels = calibration_samples.scaled(0..calibration_samples.len(), data.raw_max);
        let calibration = Calibration::new(encoder, &pixels, &train.view(), device);
        let model = FloatModel::new(encoder, &ordering, dims);
        Ok(Self { ordering, model, calibration, calibration_samples, train, test })
    }

    /// Dimensions that there are.
    pub fn dims(&self) -> usize {
        self.model.eigenvalues.len()
    }

    /// The blob with the given heads, its card without quality.
    ///
    /// # Errors
    /// Heads that the model cannot have.
    pub fn lower(&self, recipe: &Recipe, data: &Dataset, heads: Heads, quality: Quality) -> Result<AlignedBytes> {
        let provenance = Provenance {
            objective: recipe.objective.name().into(),
            dataset: data.name.clone(),
            dataset_sha256: hexadecimal(&data.sha256),
            recipe_sha256: recipe.sha256(),
            seed: recipe.seed,
            truncation: quality.truncation,
            hash: quality.hash,
        };
        let projection = self.projection(recipe, heads)?;
        let samples = &data.train.samples;
        lower(&self.model, &self.calibration, samples, data.raw_max, heads, &projection.view(), &provenance)
    }

    /// The hash's directions in the ordered features, `[dims, bits]`.
    fn projection(&self, recipe: &Recipe, heads: Heads) -> Result<Array2<f32>> {
        let Heads { dims, bits, hash_dims, .. } = heads;
        let available = if hash_dims == 0 { dims.min(self.dims()) } else { usize::from(u16::MAX) };
        if bits > available {
            let expected = format!("at most {available} with export.hash_dims = {hash_dims}");
            return Err(Error::input("export.bits", "not so many bits", expected, bits));
        }
        let samples = self.train.nrows().min(PROJECTED);
        let spread: Vec<usize> = (0..samples).map(|index| index * self.train.nrows() / samples).collect();
        let features = self.train.slice(s![.., ..dims.min(self.dims())]).select(Axis(0), &spread);
        Ok(projection(&features.view(), bits, hash_dims, recipe.seed))
    }

    /// Quantises, runs both networks over the data, and measures everything.
    ///
    /// # Errors
    /// Heads that the model cannot have.
    pub fn evaluate(
        &self,
        recipe: &Recipe,
        data: &Dataset,
        backend: BackendName,
        epochs: &[Epoch],
        untrained: &(Array2<f32>, Array2<f32>),
    ) -> Result<Evaluated> {
        let heads = recipe.export.heads(self.dims());
        let Heads { dims, cluster_dims, .. } = heads;
        let spec = &recipe.evaluate;
        let labels = (data.train.labels.as_deref(), data.test.labels.as_deref());
        let measure = |train: ArrayView2<f32>, test: ArrayView2<f32>| {
            let split = |features, labels| Split { features, labels };
            evaluate_features(split(train, labels.0), split(test, labels.1), &spec.dims, cluster_dims)
        };
        let measure_codes = |train: &Codes, test: &Codes| {
            let split = |codes, labels| CodeSplit { codes, labels };
            evaluate_codes(split(train, labels.0), split(test, labels.1), &spec.bits)
        };

        let unmarked = self.lower(recipe, data, heads, Quality::default())?;
        let model = parse(&unmarked)?;
        let train = SplitOutputs::of(&model, &data.train.samples, self.train.slice(s![.., ..dims]))?;
        let test = SplitOutputs::of(&model, &data.test.samples, self.test.slice(s![.., ..dims]))?;

        let mut float = measure(train.float.view(), test.float.view())?;
        let steps = |outputs: &SplitOutputs| outputs.int8.embeddings.mapv(f32::from);
        let (train_steps, test_steps) = (steps(&train), steps(&test));
        let mut int8 = measure(train_steps.view(), test_steps.view())?;

        let mut equal_bits = 1.0;
        let mut warnings = int8.collapse.warnings();
        if let (Some(train_codes), Some(test_codes)) = (&train.int8.codes, &test.int8.codes) {
            let projection = self.projection(recipe, heads)?;
            let middle = medians(&train.float.dot(&projection).view());
            let balanced =
                |outputs: &SplitOutputs| Codes::from_signs(&(outputs.float.dot(&projection) - &middle).view());
            let (train_float, test_float) = (balanced(&train), balanced(&test));
            float.hash = measure_codes(&train_float, &test_float)?;
            int8.hash = measure_codes(train_codes, test_codes)?;
            equal_bits = share_of_equal_bits(&test_float, test_codes);
            warnings.extend(CodeCollapse::of(test_codes).warnings());
        }
        if heads.clusters > 0 {
            let ids: Vec<u32> = test.int8.clusters.iter().map(|&id| id.into()).collect();
            warnings.extend(ClusterCollapse::of(&ids, heads.clusters).warnings());
        }
        let agreement = Agreement {
            bits: equal_bits,
            clusters: share_of_equal_clusters(&unmarked, &test),
            cosine: mean_cosine(&test.float.view(), &test_steps.view()),
        };

        let pixels = |samples: &Samples| -> Array2<f32> {
            let pixels = samples.scaled(0..samples.len(), data.raw_max);
            Array2::from_shape_vec((samples.len(), samples.size()), pixels).expect("one row for each sample")
        };
        let (train_pixels, test_pixels) = (pixels(&data.train.samples), pixels(&data.test.samples));
        let split = |features, labels| Split { features, labels };
        let (raw_train, raw_test) = (split(train_pixels.view(), labels.0), split(test_pixels.view(), labels.1));
        let mut baselines = evaluate_baselines(raw_train, raw_test, &spec.dims, &spec.bits, cluster_dims)?;
        baselines.random_subsets = evaluate_random_subsets(
            split(train.float.view(), labels.0),
            split(test.float.view(), labels.1),
            &spec.dims,
        )?;
        baselines.untrained = Some(measure(untrained.0.view(), untrained.1.view())?);

        let blob = self.lower(recipe, data, heads, Quality::of(&int8))?;
        let cost = BlobCost { bytes: blob.len(), macs: model.macs(), arena_bytes: model.arena_bytes() };
        let wall_s: f64 = epochs.iter().map(|epoch| epoch.wall_s).sum();
        let waited: f64 = epochs.iter().map(|epoch| epoch.wall_s * epoch.waiting).sum();
        let metrics = Metrics {
            schema: SCHEMA.into(),
            objective: recipe.objective.name().into(),
            dataset: data.name.clone(),
            dataset_sha256: data.sha256.clone(),
            seed: recipe.seed,
            backend: backend.name().into(),
            epochs: epochs.len(),
            wall_s,
            samples_per_s: (epochs.len() * data.train.samples.len()) as f64 / wall_s.max(1e-9),
            waiting: waited / wall_s.max(1e-9),
            protocol: PROTOCOL.into(),
            float,
            int8,
            baselines,
            agreement,
            layers: layer_errors(&self.model, &self.calibration, &self.calibration_samples, data.raw_max)?,
            ordering: OrderingReport {
                eigenvalues: self.model.eigenvalues.clone(),
                dropped: self.ordering.dropped,
                constant: self.ordering.constant,
            },
            blob: cost,
            warnings,
        };
        Ok(Evaluated { metrics, blob, train, test })
    }
}

impl SplitOutputs {
    fn of(model: &Model, samples: &Samples, float: ArrayView2<f32>) -> Result<Self> {
        Ok(Self { float: float.to_owned(), int8: inference::outputs(model, &rows(samples))? })
    }
}

fn parse(blob: &AlignedBytes) -> Result<Model<'_>> {
    Model::parse(blob).map_err(|error| Error::Check(format!("the exported blob is not valid: {error}")))
}

fn rows(samples: &Samples) -> Vec<&[u8]> {
    (0..samples.len()).map(|index| samples.sample(index)).collect()
}

/// At most `count` samples, evenly spread.
fn spread(samples: &Samples, count: usize) -> Samples {
    let count = count.min(samples.len());
    let raw = (0..count).flat_map(|index| samples.sample(index * samples.len() / count)).copied().collect();
    Samples { shape: samples.shape, raw }
}

/// The median of each column.
fn medians(features: &ArrayView2<f32>) -> Array1<f32> {
    let middle = features.nrows().saturating_sub(1) / 2;
    features
        .axis_iter(Axis(1))
        .map(|column| *column.to_vec().select_nth_unstable_by(middle, f32::total_cmp).1)
        .collect()
}

fn share_of_equal_bits(a: &Codes, b: &Codes) -> f64 {
    let different: u32 =
        a.rows().zip(b.rows()).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a ^ b).count_ones()).sum();
    1.0 - f64::from(different) / (a.len() * a.bits()).max(1) as f64
}

/// The share of samples whose float embedding is nearest to the prototype that the blob chose.
fn share_of_equal_clusters(blob: &[u8], outputs: &SplitOutputs) -> f64 {
    let Ok(Blob { description, data }) = Blob::parse(blob) else { return 0.0 };
    let (Some(Clusters::Prototypes { count, dims, prototypes }), Some(embedding)) =
        (description.clusters, description.embedding)
    else {
        return 1.0;
    };
    let dims = usize::from(dims);
    let bytes = &data[prototypes as usize..][..usize::from(count) * dims];
    let prototypes: Vec<f32> =
        bytemuck::cast_slice::<u8, i8>(bytes).iter().map(|&step| f32::from(step) * embedding.scale).collect();
    let equal = outputs.float.outer_iter().zip(&outputs.int8.clusters).filter(|(float, id)| {
        let distance = |prototype: &[f32]| -> f32 { prototype.iter().zip(float).map(|(p, x)| (p - x).powi(2)).sum() };
        let distances: Vec<f32> = prototypes.chunks(dims).map(distance).collect();
        let nearest = (0..distances.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        nearest == Some(usize::from(**id))
    });
    equal.count() as f64 / outputs.int8.clusters.len().max(1) as f64
}

fn hexadecimal(digest: &str) -> [u8; 32] {
    std::array::from_fn(|byte| {
        digest.get(2 * byte..2 * byte + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0)
    })
}

/// Quality for a model card.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    /// Of truncated embeddings.
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
