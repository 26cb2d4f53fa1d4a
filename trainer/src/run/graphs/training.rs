//! The training of one encoder of graphs.

use std::time::{Duration, Instant};

use burn::optim::GradientsParams;
use ndarray::Array2;

use super::GraphRecipe;
use crate::error::Result;
use crate::graph::GraphSet;
use crate::network::{Gin, GraphBatch, Mode, Trainable, floats};
use crate::objective::graph_contrast::GraphContrast;
use crate::run::Progress;
use crate::train::Means;
use crate::train::optimizer::Optimizer;
use crate::train::schedule::Schedule;
use crate::train::source::shuffled;

/// Graphs whose representations are computed at a time.
const AT_ONCE: usize = 256;

/// Trains to the end of the recipe; also the last epoch's mean loss. The order of graphs depends on `seed` and the epoch alone.
///
/// # Errors
/// A loss that is not finite, or what `progress` returns.
pub fn fit<B: Trainable>(
    mut model: GraphContrast<B>,
    set: &GraphSet,
    recipe: &GraphRecipe,
    seed: u64,
    device: &B::Device,
    progress: &mut dyn Progress,
) -> Result<(GraphContrast<B>, f64)> {
    let spec = &recipe.train;
    let batch = spec.batch.min(set.graphs.len());
    let steps = set.graphs.len() / batch;
    let schedule = Schedule::new(spec, steps);
    let mut optimizer = Optimizer::new(&spec.optimizer);
    let mut loss = f64::NAN;
    for epoch in 0..spec.epochs {
        let started = Instant::now();
        let mut means = Means::default();
        let order = shuffled(set.graphs.len(), seed, epoch as u64);
        for (step, graphs) in order.chunks_exact(batch).enumerate() {
            let found = model.loss(&GraphBatch::of(set, graphs, device), &recipe.objective);
            means.add("loss", found.total.clone().inner());
            found.terms.into_iter().for_each(|(name, term)| means.add(name, term));
            let gradients = GradientsParams::from_grads(found.total.backward(), &model);
            model = optimizer.step(schedule.rate(epoch * steps + step), model, gradients);
            progress.batch(epoch, step, steps)?;
        }
        let rate = schedule.rate((epoch + 1) * steps - 1);
        let record = means.finish(epoch + 1, rate, started.elapsed(), Duration::ZERO)?;
        progress.epoch(&record, spec.epochs);
        loss = record.loss;
    }
    Ok((model, loss))
}

/// Representations of all graphs of a set, in its order, `[graphs, layers * units]`.
pub fn represent<B: Trainable>(encoder: &Gin<B::InnerBackend>, set: &GraphSet, device: &B::Device) -> Array2<f32> {
    let places: Vec<u32> = (0..set.graphs.len() as u32).collect();
    let mut values = Vec::new();
    for places in places.chunks(AT_ONCE) {
        values.extend(floats(encoder.forward(&GraphBatch::of(set, places, device), Mode::Evaluate).graphs));
    }
    let width = values.len() / places.len();
    Array2::from_shape_vec((places.len(), width), values).expect("one row for each graph")
}
