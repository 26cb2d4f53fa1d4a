//! A run: a recipe and a folder, from data to blob.
//!
//! The folder holds `recipe.toml` (resolved), `metrics.jsonl` (one line an epoch), `checkpoint/last.bin`, and, when training
//! is done, `metrics.json`, `model.eigenlet` and `report.html`. Everything behind the checkpoint follows from recipe, data
//! and checkpoint alone, so that `eval` and `export` give what training gave.

pub mod cluster;
pub mod collapse;
pub mod compare;
pub mod encoded;
mod experts;
pub mod folder;
pub mod graphs;
mod learning;
pub mod metrics;
pub mod spectrum;

use std::path::Path;

use crate::backend::{self, BackendName, Work};
use crate::data::{Dataset, Split};
use crate::error::{Error, Result};
use crate::inference;
use crate::network::{Encoder, Trainable};
use crate::objective::ObjectiveSpec;
use crate::recipe::Recipe;
use crate::report::{self, Gallery, ReportInput};
use crate::train::checkpoint::Checkpoint;
use crate::train::pairs::PairsSpec;
use crate::train::source::Augmented;
use crate::train::{Epoch, Trainee, Watch, fit};
use collapse::CollapseWatch;
use encoded::{Encoded, Evaluated, SplitOutputs};
use folder::RunFolder;
use learning::Learning;

/// What the caller is told while a run goes on.
pub trait Progress {
    /// A stage begins: "training", "evaluating", …
    fn stage(&mut self, name: &str);

    /// A batch is done, of `steps` in the epoch; epochs are counted from 0. `Err` interrupts.
    ///
    /// # Errors
    /// Whatever is to stop the run.
    fn batch(&mut self, epoch: usize, step: usize, steps: usize) -> Result<()>;

    /// An epoch of `epochs` is done.
    fn epoch(&mut self, epoch: &Epoch, epochs: usize);

    /// Something that the user should know.
    fn note(&mut self, text: &str);
}

/// Progress that nobody watches.
pub struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &str) {}

    fn batch(&mut self, _: usize, _: usize, _: usize) -> Result<()> {
        Ok(())
    }

    fn epoch(&mut self, _: &Epoch, _: usize) {}

    fn note(&mut self, _: &str) {}
}

/// Where and how a recipe is run.
pub struct Options<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// The name that titles the report.
    pub name: &'a str,
    /// The backend.
    pub backend: BackendName,
    /// Where known data sets lie.
    pub data_dir: Option<&'a Path>,
    /// Go on with what the folder holds.
    pub resume: bool,
}

/// Everything that can be known of a recipe before anything is written: are the data there, does the network fit them, do
/// objective and heads fit both, can it be computed? Gives the data.
///
/// # Errors
/// Whatever does not fit, or is not there.
pub fn check(recipe: &Recipe, data_dir: Option<&Path>, backend: BackendName) -> Result<Dataset> {
    let data = Dataset::load(&recipe.data, data_dir)?;
    let plan = plan(recipe, &data)?;
    recipe.objective.fits_plan(&plan)?;
    let available = plan.body(recipe.objective.body()).outputs();
    if recipe.network.dims > available {
        let what = "more than the layers that the embedding is read from have outputs";
        return Err(Error::input("network.dims", what, format!("at most {available}"), recipe.network.dims));
    }
    recipe.objective.fits(data.learning_len(), recipe.train.batch, recipe.network.dims)?;
    let needed = recipe.objective.different_samples();
    let different = data.learning().samples.different(needed);
    if different < needed {
        let what = "more clusters than different samples";
        return Err(Error::input("objective.clusters", what, format!("at most {different}"), needed));
    }
    recipe.export.fits(&recipe.objective, recipe.network.dims, data.train.samples.len())?;
    Augmented::new(&data.train.samples, data.raw_max, &recipe.augment)?;
    recipe.pairs.fits(&data)?;
    backend::check(backend)?;
    Ok(data)
}

/// Trains a recipe to its end and writes everything; a run that is done already is only evaluated again.
///
/// # Errors
/// Bad input, a folder that holds another run, an interrupted or diverged training.
pub fn train(recipe: &Recipe, options: &Options, progress: &mut dyn Progress) -> Result<Evaluated> {
    let data = check(recipe, options.data_dir, options.backend)?;
    let folder = RunFolder::open(options.folder, recipe, options.resume)?;
    backend::on(options.backend, TrainAndFinish { recipe, options, data: &data, folder: &folder, progress })
}

/// Orders, quantises and measures a finished run again, and writes everything again.
///
/// # Errors
/// A folder that holds no finished run, or whose data are not what they were.
pub fn evaluate(options: &Options, progress: &mut dyn Progress) -> Result<Evaluated> {
    let folder = RunFolder::finished(options.folder)?;
    let data = Dataset::load(&folder.recipe.data, options.data_dir)?;
    backend::on(options.backend, Finish { options, data: &data, folder: &folder, progress })
}

/// The ordered encoder of a finished run, to be exported.
///
/// # Errors
/// As for [`evaluate`].
pub fn encode<T>(
    options: &Options,
    progress: &mut dyn Progress,
    then: impl FnOnce(&Recipe, &Dataset, &Encoded) -> Result<T>,
) -> Result<T> {
    let folder = RunFolder::finished(options.folder)?;
    let data = Dataset::load(&folder.recipe.data, options.data_dir)?;
    let encoded = backend::on(options.backend, Encode { data: &data, folder: &folder, progress })?;
    then(&folder.recipe, &data, &encoded)
}

fn plan(recipe: &Recipe, data: &Dataset) -> Result<crate::network::Plan> {
    recipe.network.plan(data.train.samples.shape, recipe.objective.outputs(recipe.network.dims))
}

/// A trainee at the start of a recipe.
fn trainee<B: Trainable>(recipe: &Recipe, data: &Dataset, device: &B::Device) -> Result<Trainee<B>> {
    let plan = plan(recipe, data)?;
    let beside = recipe.objective.beside(plan.input);
    let encoder = Encoder::new(plan, recipe.seed, device)
        .with_output_gain(recipe.objective.output_gain())
        .with_separate_outputs(recipe.objective.separate())
        .with_beside(&beside, recipe.seed, device);
    Ok(Trainee::new(encoder, ObjectiveSpec::build::<B>(&recipe.objective), &recipe.train))
}

struct TrainAndFinish<'a> {
    recipe: &'a Recipe,
    options: &'a Options<'a>,
    data: &'a Dataset,
    folder: &'a RunFolder,
    progress: &'a mut dyn Progress,
}

impl Work for TrainAndFinish<'_> {
    type Output = Evaluated;

    fn run<B: Trainable>(self, device: &B::Device) -> Result<Evaluated> {
        let Self { recipe, options, data, folder, progress } = self;
        let mut trainee = trainee::<B>(recipe, data, device)?;
        if let Some(checkpoint) = folder.checkpoint()? {
            trainee = trainee.resume(checkpoint, device)?;
            progress.note(&format!("resuming after epoch {}", trainee.epochs));
        }
        folder.keep_epochs(trainee.epochs)?;

        if let Some(survey) = &data.survey {
            progress.note(&format!("the graph: {survey}"));
        }
        if let PairsSpec::Neighbours { .. } = recipe.pairs {
            progress.stage("neighbours");
        }
        let learning = Learning::new(recipe, data)?;
        let samples = &learning.split.samples;
        if samples.len() < recipe.train.batch {
            let (batch, len) = (recipe.train.batch, samples.len());
            progress.note(&format!("batches of {len}: there are fewer training samples than train.batch = {batch}"));
        }
        progress.stage("training");
        let source = learning.source()?;
        let source = source.as_ref();
        let collapse = CollapseWatch::new(source, recipe.train.epochs);
        let mut watch = Recording::<B> { folder, progress, epochs: recipe.train.epochs, collapse, device };
        let trainee = fit(trainee, source, &recipe.train, recipe.seed, device, &mut watch)?;
        finish(&trainee, &learning, options, folder, progress, device)
    }
}

struct Finish<'a> {
    options: &'a Options<'a>,
    data: &'a Dataset,
    folder: &'a RunFolder,
    progress: &'a mut dyn Progress,
}

impl Work for Finish<'_> {
    type Output = Evaluated;

    fn run<B: Trainable>(self, device: &B::Device) -> Result<Evaluated> {
        let Self { options, data, folder, progress } = self;
        let trainee = restored::<B>(folder, data, device)?;
        let learning = Learning::new(&folder.recipe, data)?;
        finish(&trainee, &learning, options, folder, progress, device)
    }
}

struct Encode<'a> {
    data: &'a Dataset,
    folder: &'a RunFolder,
    progress: &'a mut dyn Progress,
}

impl Work for Encode<'_> {
    type Output = Encoded;

    fn run<B: Trainable>(self, device: &B::Device) -> Result<Encoded> {
        let trainee = restored::<B>(self.folder, self.data, device)?;
        self.progress.stage("ordering");
        encoded(&trainee, &Learning::new(&self.folder.recipe, self.data)?, device)
    }
}

/// The trained network of a finished run.
fn restored<B: Trainable>(folder: &RunFolder, data: &Dataset, device: &B::Device) -> Result<Trainee<B>> {
    let checkpoint: Checkpoint = folder.checkpoint()?.ok_or_else(|| folder.unfinished(0))?;
    if checkpoint.epochs < folder.recipe.train.epochs {
        return Err(folder.unfinished(checkpoint.epochs));
    }
    trainee::<B>(&folder.recipe, data, device)?.resume(checkpoint, device)
}

/// Orders a trained network.
fn encoded<B: Trainable>(trainee: &Trainee<B>, learning: &Learning, device: &B::Device) -> Result<Encoded> {
    let Learning { recipe, data, .. } = *learning;
    let native = trainee.objective.native();
    let local = experts::local(trainee, recipe, data, device)?;
    Encoded::new(&trainee.encoder.valid(), &native, local, learning, device)
}

/// Orders, quantises, measures, and writes the blob, the metrics and the report.
fn finish<B: Trainable>(
    trainee: &Trainee<B>,
    learning: &Learning,
    options: &Options,
    folder: &RunFolder,
    progress: &mut dyn Progress,
    device: &B::Device,
) -> Result<Evaluated> {
    let Learning { recipe, data, .. } = *learning;
    progress.stage("ordering");
    let encoded = encoded(trainee, learning, device)?;
    progress.stage("untrained network");
    let untrained = encoded::untrained::<B::InnerBackend>(learning, device)?;
    progress.stage("quantising and measuring");
    let epochs = folder.epochs()?;
    let evaluated = encoded.evaluate(learning, options.backend, &epochs, &untrained)?;
    folder.write_results(&evaluated)?;
    progress.stage("writing the report");
    let heads = inference::heads_in_words(&inference::description(&inference::parse(&evaluated.blob)?)?);
    let page = report::html(&ReportInput {
        title: options.name,
        metrics: &evaluated.metrics,
        epochs: &epochs,
        recipe: &recipe.resolved(),
        train: gallery(&data.train, &evaluated.train),
        test: gallery(&data.test, &evaluated.test),
        heads: &heads,
        pairs: learning.pairs_in_words().as_deref(),
        graph: data.graph.as_ref(),
        portraits: encoded.portraits.as_ref(),
        raw_max: data.raw_max,
        unit: data.unit,
    })?;
    folder.write_report(&page)?;
    Ok(evaluated)
}

fn gallery<'a>(split: &'a Split, outputs: &'a SplitOutputs) -> Gallery<'a> {
    Gallery {
        samples: &split.samples,
        labels: split.labels.as_deref(),
        embeddings: outputs.int8.embeddings.view(),
        float: outputs.float.embeddings.view(),
        clusters: &outputs.int8.clusters,
    }
}

/// Writes each epoch's line and checkpoint as it ends, and says where outputs collapse.
struct Recording<'a, B: Trainable> {
    folder: &'a RunFolder,
    progress: &'a mut dyn Progress,
    epochs: usize,
    collapse: CollapseWatch<'a>,
    device: &'a B::Device,
}

impl<B: Trainable> Watch<B> for Recording<'_, B> {
    fn batch(&mut self, epoch: usize, step: usize, steps: usize) -> Result<()> {
        self.progress.batch(epoch, step, steps).map_err(|error| match error {
            Error::Interrupted(_) => Error::Interrupted(format!(
                "{} epochs are kept in {}: go on with --resume",
                epoch,
                self.folder.path.display()
            )),
            other => other,
        })
    }

    fn epoch(&mut self, trainee: &Trainee<B>, epoch: &Epoch) -> Result<()> {
        // The line first: a resumed run drops lines beyond its checkpoint, so none is ever missing.
        self.folder.add_epoch(epoch)?;
        self.folder.write_checkpoint(&trainee.checkpoint())?;
        self.progress.epoch(epoch, self.epochs);
        for warning in self.collapse.look(trainee, self.device) {
            self.progress.note(&format!("after epoch {}: {warning}", epoch.epoch));
        }
        Ok(())
    }
}
