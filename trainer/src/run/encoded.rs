//! What a trained encoder makes of a data set: ordered features, the blob, and every figure of both.

use std::borrow::Cow;

use burn::tensor::{Tensor, TensorData};
use eigenlet_runtime::Model;
use eigenlet_shared::blob::Blob;
use eigenlet_shared::description::Clusters;
use eigenlet_shared::writer::AlignedBytes;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, CowArray, Ix2, s};

use super::experts::{Local, OwnRule};
use super::learning::Learning;
use super::metrics::{Assignments, BlobCost, ClusterMatch, Metrics, OrderingReport, SCHEMA};
use crate::augment::View;
use crate::backend::BackendName;
use crate::data::{Dataset, Labelled, Samples, spread};
use crate::error::{Error, Result};
use crate::evaluate::{
    ClusterCollapse, CodeCollapse, CodeSplit, Codes, PROTOCOL, Split, evaluate_baselines, evaluate_codes,
    evaluate_features, evaluate_random_subsets,
};
use crate::inference::{self, parse};
use crate::kernel::{KernelSpec, Pairs, Rows};
use crate::network::kernels::Kernels;
use crate::network::{Body, Encoder, Mode, floats};
use crate::objective::{Native, Portraits};
use crate::order::{Moments, Ordering};
use crate::quantize::binarize::projection;
use crate::quantize::experts::ExpertHeads;
use crate::quantize::native::{NativeCode, NativeHeads, informative_order};
use crate::quantize::{
    Agreement, Calibration, ClusterHead, FloatModel, HashHead, Heads, Lowered, NOISE, Provenance, Quality,
    layer_errors, lower, mean_cosine,
};
use crate::recipe::Recipe;
use crate::train::Epoch;
use crate::train::source::{shuffled, views_of};

/// The views that ordering compares.
const PAIR: &[View] = &[View::First, View::Second];
/// Images that the network sees at a time outside training.
pub(super) const BATCH: usize = 512;
/// Views for measuring moments come from epochs that no training reaches.
pub(super) const ORDERING_EPOCH: u64 = 1 << 32;
/// Training samples at most that the hash's directions are found on.
const PROJECTED: usize = 4096;
/// Batches that settle an untrained network's batch norm.
const SETTLING: usize = 50;

/// An encoder with its order, its float outputs and what quantising it needs.
pub struct Encoded {
    ordering: Ordering,
    model: FloatModel,
    calibration: Calibration,
    calibration_samples: Samples,
    train: FloatOutputs,
    test: FloatOutputs,
    /// What the objective itself says of the test split, where clusters have representations of their own.
    own_rule: Option<OwnRule>,
    /// What its clusters look like, where the objective has them.
    pub portraits: Option<Portraits>,
}

/// What the float network makes of one split.
#[derive(Clone)]
pub struct FloatOutputs {
    /// `[n, dims]`, ordered, of unit variance over the views.
    pub embeddings: Array2<f32>,
    /// The network's own clusters, where it has learned any.
    pub clusters: Option<Vec<u16>>,
    /// The network's own codes, where it has learned any.
    pub codes: Option<Codes>,
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
    /// The float network's.
    pub float: FloatOutputs,
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
        values.extend(floats(outputs));
    }
    Array2::from_shape_vec((pixels.len() / size, encoder.plan.outputs()), values).expect("one row for each image")
}

/// What int8 adds to the features that heads read, as a part of their root mean square: nothing to a sample itself; and where
/// they are outputs, the objective has seen to it that each shows above it.
fn noise<B: Kernels>(body: &Encoder<B>, recipe: &Recipe) -> f64 {
    let is_hidden = recipe.objective.body() != Body::Outputs && !body.plan.steps.is_empty();
    if is_hidden { NOISE } else { 0.0 }
}

/// Orders what a network's body gives on new views of the training split, or by the kernel that is learned instead.
fn order<B: Kernels>(body: &Encoder<B>, learning: &Learning, device: &B::Device) -> Result<Ordering> {
    let recipe = learning.recipe;
    let source = learning.ordering_source()?;
    let source = source.as_ref();
    let all: Vec<u32> = (0..source.len() as u32).collect();
    let mut moments = Moments::new(body.plan.outputs());
    let kernel = recipe.objective.kernel().map(KernelSpec::load).transpose()?.flatten();
    for pass in 0..recipe.order.passes as u64 {
        if let Some(kernel) = &kernel {
            for samples in shuffled(all.len(), recipe.seed, ORDERING_EPOCH + pass).chunks(BATCH) {
                let values = views_of(source, &[View::Plain], recipe.seed, ORDERING_EPOCH, samples);
                let outputs = outputs(body, &values, device);
                let values = ArrayView2::from_shape((samples.len(), source.shape().iter().product()), &values);
                let rows = Rows { samples, values: values.expect("one row for each sample") };
                let gram = Pairs::of(samples.len(), all.len()).weigh(kernel.gram(rows, rows));
                moments.add_gram(&outputs.view(), &gram.view());
            }
            continue;
        }
        for samples in all.chunks(BATCH) {
            let views = views_of(source, PAIR, recipe.seed, ORDERING_EPOCH + pass, samples);
            let outputs = outputs(body, &views, device);
            let (first, second) = outputs.view().split_at(Axis(0), samples.len());
            moments.add(&first, &second);
        }
    }
    Ok(moments.ordering(noise(body, recipe)).first(recipe.network.dims))
}

/// What a network makes of samples as they are.
fn float_outputs<B: Kernels>(
    body: &Encoder<B>,
    ordering: &Ordering,
    native: &NativeHeads,
    samples: &Samples,
    raw_max: u8,
    device: &B::Device,
) -> FloatOutputs {
    let mut embeddings = Array2::zeros((samples.len(), ordering.kept()));
    let (mut clusters, mut codes) = (None, None);
    for start in (0..samples.len()).step_by(BATCH) {
        let end = (start + BATCH).min(samples.len());
        let features = outputs(body, &samples.scaled(start..end, raw_max), device);
        embeddings.slice_mut(s![start..end, ..]).assign(&ordering.apply(&features.view()));
        if let Some(some) = native.clusters(&features.view()) {
            clusters.get_or_insert_with(Vec::new).extend(some);
        }
        if let Some(some) = native.codes(&features.view()) {
            match &mut codes {
                None => codes = Some(some),
                Some(all) => all.append(&some),
            }
        }
    }
    FloatOutputs { embeddings, clusters, codes }
}

/// Ordered float features of the same network before training, its batch norm settled on training views: train, test.
///
/// # Errors
/// A setting out of its range.
pub(super) fn untrained<B: Kernels>(learning: &Learning, device: &B::Device) -> Result<(Array2<f32>, Array2<f32>)> {
    let Learning { recipe, data, .. } = *learning;
    let body = Encoder::<B>::new(super::plan(recipe, data)?, recipe.seed, device).body(recipe.objective.body());
    let source = learning.ordering_source()?;
    let all: Vec<u32> = (0..source.len() as u32).collect();
    let [height, width, channels] = body.plan.input;
    for samples in all.chunks(BATCH).cycle().take(SETTLING) {
        let views = views_of(source.as_ref(), PAIR, recipe.seed, 0, samples);
        let views = TensorData::new(views, [2 * samples.len(), height, width, channels]);
        body.forward(Tensor::from_data(views, device), Mode::Train);
    }
    let ordering = order(&body, learning, device)?;
    let of = |samples: &Samples| {
        float_outputs(&body, &ordering, &NativeHeads::default(), samples, data.raw_max, device).embeddings
    };
    Ok((of(&data.train.samples), of(&data.test.samples)))
}

/// The samples of the training split that others are judged by: all, or those whose labels count.
struct Judged<'d> {
    places: Option<&'d [usize]>,
    labels: Option<&'d [u16]>,
    choosing: Option<&'d Labelled>,
}

impl<'d> Judged<'d> {
    fn of(data: &'d Dataset) -> Self {
        let choosing = data.choosing.as_ref();
        match &data.labelled {
            None => Self { places: None, labels: data.train.labels.as_deref(), choosing },
            Some(labelled) => Self { places: Some(&labelled.places), labels: Some(&labelled.labels), choosing },
        }
    }

    /// Of the training split, what settings are chosen by.
    fn choosing_of_train(&self, features: ArrayView2<f32>) -> Option<(Array2<f32>, &'d [u16])> {
        self.choosing.map(|Labelled { places, labels }| (features.select(Axis(0), places), &labels[..]))
    }

    fn of_train<'a>(&self, features: ArrayView2<'a, f32>) -> CowArray<'a, f32, Ix2> {
        match &self.places {
            None => features.into(),
            Some(places) => features.select(Axis(0), places).into(),
        }
    }

    fn codes_of_train<'a>(&self, codes: &'a Codes) -> Cow<'a, Codes> {
        match &self.places {
            None => Cow::Borrowed(codes),
            Some(places) => Cow::Owned(codes.select(places)),
        }
    }
}

/// Where a recipe's model comes from.
pub fn provenance(recipe: &Recipe, data: &Dataset) -> Provenance {
    Provenance {
        objective: recipe.objective.name().into(),
        dataset: data.name.clone(),
        dataset_sha256: hexadecimal(&data.sha256),
        recipe_sha256: recipe.sha256(),
        seed: recipe.seed,
    }
}

impl Encoded {
    /// Orders a trained network and runs it over the data. `native` is what its outputs mean by themselves, `local` what
    /// its clusters have of their own.
    ///
    /// # Errors
    /// Outputs that are all constant.
    pub(super) fn new<B: Kernels>(
        encoder: &Encoder<B>,
        native: &Native,
        local: Option<Local>,
        learning: &Learning,
        device: &B::Device,
    ) -> Result<Self> {
        let Learning { recipe, data, .. } = *learning;
        let kind = recipe.objective.body();
        let body = encoder.body(kind);
        let ordering = order(&body, learning, device)?;
        if ordering.kept() == 0 {
            return Err(Error::Check(
                "the encoder has collapsed: every output is constant; weaken the augmentation or lower the learning rate".into(),
            ));
        }
        let mut model = FloatModel::new(encoder, kind, &ordering, recipe.network.dims, native);
        model.native.experts = local.as_ref().map(|local| {
            let samples = &data.train.samples;
            let features = outputs(&body, &samples.scaled(0..samples.len(), data.raw_max), device);
            ExpertHeads::new(&local.experts, &features.view(), &local.train, noise(&body, recipe))
        });
        let all = |samples| float_outputs(&body, &ordering, &model.native, samples, data.raw_max, device);
        let (mut train, mut test) = (all(&data.train.samples), all(&data.test.samples));
        if let (Some(NativeCode::Signs(_)), Some(codes)) = (&model.native.code, &train.codes) {
            let order = informative_order(codes);
            model.native.reorder(&order);
            for outputs in [&mut train, &mut test] {
                outputs.codes = outputs.codes.as_ref().map(|codes| codes.reordered(&order));
            }
        }
        let samples = &data.train.samples;
        let raw = samples.spread(recipe.export.calibration).concat();
        let calibration_samples = Samples { shape: samples.shape, raw };
        let pixels = calibration_samples.scaled(0..calibration_samples.len(), data.raw_max);
        let calibration = Calibration::new(&body, &pixels, &train.embeddings.view(), device);
        let (own_rule, portraits) = local.map(|local| (local.test, local.portraits)).unzip();
        Ok(Self { ordering, model, calibration, calibration_samples, train, test, own_rule, portraits })
    }

    /// Dimensions that there are.
    pub fn dims(&self) -> usize {
        self.model.eigenvalues.len()
    }

    /// The model with the given heads, quantised.
    ///
    /// # Errors
    /// Heads that the model cannot have.
    pub fn lower(&self, recipe: &Recipe, data: &Dataset, heads: Heads) -> Result<Lowered> {
        self.lower_along(recipe, data, heads, &self.projection(recipe, heads)?)
    }

    fn lower_along(&self, recipe: &Recipe, data: &Dataset, heads: Heads, projection: &Array2<f32>) -> Result<Lowered> {
        let samples = &data.train.samples;
        let projection = projection.view();
        let lowered = lower(&self.model, &self.calibration, samples, data.raw_max, heads, &projection, recipe.seed)?;
        Ok(lowered.in_unit(data.unit))
    }

    /// The directions in the ordered features, `[dims, bits]`, of a hash that is made of functions.
    fn projection(&self, recipe: &Recipe, heads: Heads) -> Result<Array2<f32>> {
        let Heads { dims, bits, .. } = heads;
        let HashHead::Functions { leading } = heads.hash else { return Ok(Array2::zeros((dims, 0))) };
        let available = if leading == 0 { dims.min(self.dims()) } else { usize::from(u16::MAX) };
        if bits > available {
            let expected = format!("at most {available} with export.hash_dims = {leading}");
            return Err(Error::input("export.bits", "not so many bits", expected, bits));
        }
        let features = &self.train.embeddings;
        let spread: Vec<usize> = spread(features.nrows(), PROJECTED).collect();
        let features = features.slice(s![.., ..dims.min(self.dims())]).select(Axis(0), &spread);
        Ok(projection(&features.view(), bits, leading, recipe.seed))
    }

    /// Quantises, runs both networks over the data, and measures everything.
    ///
    /// # Errors
    /// Heads that the model cannot have.
    pub(super) fn evaluate(
        &self,
        learning: &Learning,
        backend: BackendName,
        epochs: &[Epoch],
        untrained: &(Array2<f32>, Array2<f32>),
    ) -> Result<Evaluated> {
        let Learning { recipe, data, .. } = *learning;
        let heads = recipe.export.heads(&recipe.objective, self.dims());
        let dims = heads.dims;
        let cluster_dims = recipe.export.cluster_dims.clamp(1, dims);
        let spec = &recipe.evaluate;
        let judged = Judged::of(data);
        let labels = (judged.labels, data.test.labels.as_deref());
        fn split<'s>(features: ArrayView2<'s, f32>, labels: Option<&'s [u16]>) -> Split<'s> {
            Split { features, labels }
        }
        let measure = |train: ArrayView2<f32>, test: ArrayView2<f32>| {
            let choosing = judged.choosing_of_train(train);
            let choosing = choosing.as_ref().map(|(features, labels)| split(features.view(), Some(labels)));
            let train = judged.of_train(train);
            evaluate_features(split(train.view(), labels.0), choosing, split(test, labels.1), &spec.dims, cluster_dims)
        };
        let measure_codes = |train: &Codes, test: &Codes| {
            let train = judged.codes_of_train(train);
            let split = |codes, labels| CodeSplit { codes, labels };
            evaluate_codes(split(&train, labels.0), split(test, labels.1), &spec.bits)
        };

        let directions = self.projection(recipe, heads)?;
        let lowered = self.lower_along(recipe, data, heads, &directions)?;
        let provenance = provenance(recipe, data);
        let unmarked = lowered.blob(&provenance, &Quality::default())?;
        let model = parse(&unmarked)?;
        let train = SplitOutputs::of(&model, &data.train.samples, &self.train, dims)?;
        let test = SplitOutputs::of(&model, &data.test.samples, &self.test, dims)?;

        let mut float = measure(train.float.embeddings.view(), test.float.embeddings.view())?;
        let steps = |outputs: &SplitOutputs| outputs.int8.embeddings.mapv(f32::from);
        let (train_steps, test_steps) = (steps(&train), steps(&test));
        let mut int8 = measure(train_steps.view(), test_steps.view())?;

        let mut equal_bits = None;
        let mut warnings = int8.collapse.warnings();
        if let (Some(train_codes), Some(test_codes)) = (&train.int8.codes, &test.int8.codes) {
            let (train_float, test_float) = match heads.hash {
                HashHead::Native => {
                    // The blob may hold the first bits alone.
                    let held: Vec<usize> = (0..heads.bits).collect();
                    let codes = |outputs: &SplitOutputs| {
                        outputs.float.codes.as_ref().expect("the blob has native codes").reordered(&held)
                    };
                    (codes(&train), codes(&test))
                }
                HashHead::Functions { .. } => {
                    let middle = medians(&train.float.embeddings.dot(&directions).view());
                    let balanced = |outputs: &SplitOutputs| {
                        Codes::from_signs(&(outputs.float.embeddings.dot(&directions) - &middle).view())
                    };
                    (balanced(&train), balanced(&test))
                }
            };
            float.hash = measure_codes(&train_float, &test_float)?;
            int8.hash = measure_codes(train_codes, test_codes)?;
            equal_bits = Some(share_of_equal_bits(&test_float, test_codes));
            warnings.extend(CodeCollapse::of(test_codes).warnings());
        }

        let mut equal_clusters = None;
        let mut assignments = None;
        if heads.clusters != ClusterHead::None {
            let found = &test.int8.clusters;
            let (by, float) = match &test.float.clusters {
                Some(own) if heads.clusters == ClusterHead::Native => {
                    (if self.own_rule.is_some() { "experts" } else { "native" }, own.clone())
                }
                _ => ("prototypes", nearest_prototypes(&unmarked, &test.float.embeddings)),
            };
            let equal = float.iter().zip(found).filter(|(float, int8)| float == int8).count();
            equal_clusters = Some(equal as f64 / found.len().max(1) as f64);
            let clusters = usize::from(model.clusters());
            let ids: Vec<u32> = found.iter().map(|&id| id.into()).collect();
            warnings.extend(ClusterCollapse::of(&ids, clusters).warnings());
            let of_train = match (&data.train.labels, &data.labelled) {
                (Some(labels), _) => Some((train.int8.clusters.clone(), labels)),
                (None, Some(Labelled { places, labels })) => {
                    Some((places.iter().map(|&place| train.int8.clusters[place]).collect(), labels))
                }
                (None, None) => None,
            };
            if let (Some((train_clusters, train_labels)), Some(test_labels)) = (of_train, labels.1) {
                let all = [&train_clusters[..], found].concat();
                assignments = Some(Assignments {
                    by: by.into(),
                    clusters,
                    float: ClusterMatch::of(&float, test_labels),
                    int8: ClusterMatch::of(found, test_labels),
                    all: ClusterMatch::of(&all, &[&train_labels[..], test_labels].concat()),
                });
            }
        }
        let experts = self.model.native.experts.as_ref().filter(|_| heads.clusters == ClusterHead::Native);
        let experts = experts.zip(self.own_rule.as_ref()).map(|(experts, own)| {
            let gate = test.float.clusters.as_deref().unwrap_or_default();
            own.report(experts, gate, &test.int8.scores, data)
        });
        let agreement = Agreement {
            bits: equal_bits,
            clusters: equal_clusters,
            cosine: mean_cosine(&test.float.embeddings.view(), &test_steps.view()),
        };

        let pixels = |samples: &Samples| -> Array2<f32> {
            let pixels = samples.scaled(0..samples.len(), data.raw_max);
            Array2::from_shape_vec((samples.len(), samples.size()), pixels).expect("one row for each sample")
        };
        let (train_pixels, test_pixels) = (pixels(&data.train.samples), pixels(&data.test.samples));
        let choosing = judged.choosing_of_train(train_pixels.view());
        let choosing = choosing.as_ref().map(|(features, labels)| split(features.view(), Some(labels)));
        let train_pixels = judged.of_train(train_pixels.view());
        let (raw_train, raw_test) = (split(train_pixels.view(), labels.0), split(test_pixels.view(), labels.1));
        let mut baselines = evaluate_baselines(raw_train, choosing, raw_test, &spec.dims, &spec.bits, cluster_dims)?;
        baselines.random_subsets = evaluate_random_subsets(
            split(judged.of_train(train.float.embeddings.view()).view(), labels.0),
            split(test.float.embeddings.view(), labels.1),
            &spec.dims,
        )?;
        baselines.untrained = Some(measure(untrained.0.view(), untrained.1.view())?);

        let blob = lowered.blob(&provenance, &Quality::of(&int8))?;
        let cost = BlobCost { bytes: blob.len(), macs: model.macs(), arena_bytes: model.arena_bytes() };
        let wall_s: f64 = epochs.iter().map(|epoch| epoch.wall_s).sum();
        let waited: f64 = epochs.iter().map(|epoch| epoch.wall_s * epoch.waiting).sum();
        let metrics = Metrics {
            schema: SCHEMA.into(),
            objective: recipe.objective.name().into(),
            dataset: data.name.clone(),
            dataset_sha256: data.sha256.clone(),
            learn: data.learn,
            seed: recipe.seed,
            backend: backend.name().into(),
            epochs: epochs.len(),
            wall_s,
            samples_per_s: (epochs.len() * data.learning_len()) as f64 / wall_s.max(1e-9),
            waiting: waited / wall_s.max(1e-9),
            protocol: PROTOCOL.into(),
            float,
            int8,
            baselines,
            assignments,
            experts,
            agreement,
            layers: layer_errors(&self.model, &self.calibration, &self.calibration_samples, data.raw_max)?,
            ordering: OrderingReport {
                eigenvalues: self.model.eigenvalues.clone(),
                exact: learning.exact_eigenvalues(self.dims()),
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
    fn of(model: &Model, samples: &Samples, float: &FloatOutputs, dims: usize) -> Result<Self> {
        let embeddings = float.embeddings.slice(s![.., ..dims]).to_owned();
        let float = FloatOutputs { embeddings, clusters: float.clusters.clone(), codes: float.codes.clone() };
        Ok(Self { float, int8: inference::outputs(model, &samples.rows())? })
    }
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
    assert_eq!(a.bits(), b.bits(), "codes of one length");
    let different: u32 =
        a.rows().zip(b.rows()).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a ^ b).count_ones()).sum();
    1.0 - f64::from(different) / (a.len() * a.bits()).max(1) as f64
}

/// The blob's prototype that is nearest to each float embedding.
fn nearest_prototypes(blob: &[u8], embeddings: &Array2<f32>) -> Vec<u16> {
    let read = Blob::parse(blob).and_then(|blob| Ok((blob.decode()?, blob.data)));
    let Ok((description, data)) = read else { return Vec::new() };
    let (Some(Clusters::Prototypes { count, dims, prototypes }), Some(embedding)) =
        (description.clusters, description.embedding)
    else {
        return Vec::new();
    };
    let dims = usize::from(dims);
    let bytes = &data[prototypes as usize..][..usize::from(count) * dims];
    let prototypes: Vec<f32> =
        bytemuck::cast_slice::<u8, i8>(bytes).iter().map(|&step| f32::from(step) * embedding.scale).collect();
    let nearest = |float: ArrayView1<f32>| {
        let distance = |prototype: &[f32]| -> f32 { prototype.iter().zip(float).map(|(p, x)| (p - x).powi(2)).sum() };
        let distances: Vec<f32> = prototypes.chunks(dims).map(distance).collect();
        (0..count).min_by(|&a, &b| distances[usize::from(a)].total_cmp(&distances[usize::from(b)])).unwrap_or(0)
    };
    embeddings.outer_iter().map(nearest).collect()
}

fn hexadecimal(digest: &str) -> [u8; 32] {
    std::array::from_fn(|byte| {
        digest.get(2 * byte..2 * byte + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0)
    })
}
