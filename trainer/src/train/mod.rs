//! Training: one loop that reads like a recipe. It knows no particular objective, data set or backend.
//!
//! * [`schedule`], [`optimizer`]: the learning rate, and who applies it;
//! * [`source`]: where batches of views come from;
//! * [`pairs`]: what a positive pair is;
//! * [`checkpoint`]: everything that a resumed run needs to continue to the same bytes;
//! * [`fit`]: the loop.

pub mod checkpoint;
pub mod optimizer;
pub mod pairs;
pub mod schedule;
pub mod source;

use std::time::{Duration, Instant};

use burn::optim::GradientsParams;
use burn::tensor::{ElementConversion, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::{Encoder, Trainable};
use crate::objective::{Batch, Objective, Position};
use checkpoint::Checkpoint;
use optimizer::{Optimizer, OptimizerSpec};
use schedule::Schedule;
use source::Source;

/// A recipe's `[train]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples in a batch; each contributes all its views. Where there are fewer samples, a batch holds them all.
    pub batch: usize,
    /// Epochs in which the learning rate rises from zero; all of them, where there are fewer.
    #[serde(default)]
    pub warmup: usize,
    /// The learning rate at the end, as a fraction of its peak.
    #[serde(default = "a_thousandth")]
    pub final_rate: f64,
    /// The optimiser.
    pub optimizer: OptimizerSpec,
}

fn a_thousandth() -> f64 {
    1e-3
}

impl TrainSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        if self.epochs == 0 || self.epochs > 1_000_000 {
            return Err(Error::input("train.epochs", "impossible value", "1 to 1000000", self.epochs));
        }
        if self.batch < 2 {
            return Err(Error::input("train.batch", "impossible value", "at least 2", self.batch));
        }
        if !(0.0..=1.0).contains(&self.final_rate) {
            return Err(Error::input("train.final_rate", "impossible value", "0 to 1", self.final_rate));
        }
        self.optimizer.check()
    }
}

/// What one epoch was like; a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number, from 1.
    pub epoch: usize,
    /// Mean loss over the epoch's batches.
    pub loss: f64,
    /// Means of the loss's terms.
    pub terms: std::collections::BTreeMap<String, f64>,
    /// Learning rate at its end.
    pub rate: f64,
    /// Seconds it took.
    pub wall_s: f64,
    /// Share of that time in which the network waited for views.
    pub waiting: f64,
}

/// What is trained.
pub struct Trainee<B: Trainable> {
    /// The network.
    pub encoder: Encoder<B>,
    /// What it is trained for.
    pub objective: Box<dyn Objective<B>>,
    /// Who applies the gradients.
    pub optimizer: Optimizer<B>,
    /// Epochs done.
    pub epochs: usize,
}

impl<B: Trainable> Trainee<B> {
    /// At the start of training.
    pub fn new(encoder: Encoder<B>, objective: Box<dyn Objective<B>>, spec: &TrainSpec) -> Self {
        let optimizer = Optimizer::new(&spec.optimizer);
        Self { encoder, objective, optimizer, epochs: 0 }
    }

    /// Everything, as bytes to continue from.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::of(self)
    }

    /// Continues from a checkpoint of a trainee built from the same recipe.
    ///
    /// # Errors
    /// A checkpoint of another network.
    pub fn resume(self, checkpoint: Checkpoint, device: &B::Device) -> Result<Self> {
        checkpoint.restore(self, device)
    }
}

/// What the caller does between epochs.
pub trait Watch<B: Trainable> {
    /// Called after every batch; `Err` stops training (Ctrl-C).
    ///
    /// # Errors
    /// Whatever stops training.
    fn batch(&mut self, _epoch: usize, _step: usize, _steps: usize) -> Result<()> {
        Ok(())
    }

    /// Called after every epoch.
    ///
    /// # Errors
    /// Whatever stops training.
    fn epoch(&mut self, trainee: &Trainee<B>, epoch: &Epoch) -> Result<()>;
}

/// Trains to the end of the recipe.
///
/// The order of samples and their views depend on `seed`, the epoch and the sample alone, so that a run resumed after any
/// epoch continues exactly as it would have.
///
/// # Errors
/// A loss that is not finite, or whatever `watch` returns.
pub fn fit<B: Trainable>(
    mut trainee: Trainee<B>,
    source: &dyn Source,
    spec: &TrainSpec,
    seed: u64,
    device: &B::Device,
    watch: &mut dyn Watch<B>,
) -> Result<Trainee<B>> {
    let batch = spec.batch.min(source.len());
    let steps = source.len() / batch;
    let schedule = Schedule::new(spec, steps);
    for epoch in trainee.epochs..spec.epochs {
        let started = Instant::now();
        let mut waiting = Duration::ZERO;
        let mut means = Means::default();
        let order = source::shuffled(source.len(), seed, epoch as u64);
        let batches: Vec<&[u32]> = order.chunks_exact(batch).collect();
        let kinds = trainee.objective.views();
        let rate = source::prefetch(source, kinds, seed, epoch as u64, &batches, |views| {
            let mut rate = 0.0;
            for (step, samples) in batches.iter().enumerate() {
                let seen = ((epoch * steps + step) * batch) as u64;
                let total = (spec.epochs * steps * batch) as u64;
                let position = Position { seed, seen, total, epoch: epoch as u64 };
                trainee.objective.prepare(&trainee.encoder, source, position, device)?;

                let asked = Instant::now();
                let pixels = views.take();
                waiting += asked.elapsed();

                let [height, width, channels] = source.shape();
                let shape = [kinds.len() * samples.len(), height, width, channels];
                let images = Tensor::from_data(TensorData::new(pixels, shape), device);
                let batch = Batch { images, samples: samples.to_vec(), position };

                let loss = trainee.objective.loss(&trainee.encoder, batch);
                means.add("loss", loss.total.clone().inner());
                for (name, term) in loss.terms {
                    means.add(name, term);
                }

                let gradients = loss.total.backward();
                let gradients = GradientsParams::from_grads(gradients, &trainee.encoder.parameters);
                rate = schedule.rate(epoch * steps + step);
                let parameters = trainee.encoder.parameters.clone();
                trainee.encoder.parameters = trainee.optimizer.step(rate, parameters, gradients);
                watch.batch(epoch, step, steps)?;
            }
            Ok(rate)
        })?;
        trainee.epochs = epoch + 1;
        let wall = started.elapsed();
        let record = means.finish(epoch + 1, rate, wall, waiting)?;
        watch.epoch(&trainee, &record)?;
    }
    Ok(trainee)
}

/// Sums of loss terms, kept on the device until the epoch's end.
pub(crate) struct Means<B: burn::tensor::backend::Backend> {
    sums: Vec<(&'static str, Tensor<B, 1>, usize)>,
}

impl<B: burn::tensor::backend::Backend> Default for Means<B> {
    fn default() -> Self {
        Self { sums: Vec::new() }
    }
}

impl<B: burn::tensor::backend::Backend> Means<B> {
    /// Adds one batch's value of a term.
    pub(crate) fn add(&mut self, name: &'static str, value: Tensor<B, 1>) {
        match self.sums.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, sum, count)) => {
                *sum = sum.clone() + value;
                *count += 1;
            }
            None => self.sums.push((name, value, 1)),
        }
    }

    /// The record of the epoch of this number, from 1; the term `loss` is its loss.
    ///
    /// # Errors
    /// A loss that is not finite.
    pub(crate) fn finish(self, epoch: usize, rate: f64, wall: Duration, waiting: Duration) -> Result<Epoch> {
        let mut terms: std::collections::BTreeMap<String, f64> = self
            .sums
            .into_iter()
            .map(|(name, sum, count)| (name.to_string(), sum.into_scalar().elem::<f64>() / count as f64))
            .collect();
        let loss = terms.remove("loss").unwrap_or(f64::NAN);
        if !loss.is_finite() {
            let what = format!("epoch {epoch}: the loss is not finite ({loss}): lower the learning rate");
            return Err(Error::Check(what));
        }
        let wall_s = wall.as_secs_f64();
        Ok(Epoch { epoch, loss, terms, rate, wall_s, waiting: waiting.as_secs_f64() / wall_s })
    }
}
