//! What the driver asks of a family of sub-models, and what it gives it.

use burn::tensor::Tensor;

use super::decoder::DecoderSpec;
use crate::augment::View;
use crate::error::Result;
use crate::network::{Encoder, Mode, Trainable};
use crate::objective::{Position, State};
use crate::train::source::Source;

/// A batch as sub-models see it.
pub struct Case<'a, B: Trainable> {
    /// The network whose outputs are the sub-models' encoders.
    pub encoder: &'a Encoder<B>,
    /// `[views * n, height, width, channels]`.
    pub images: Tensor<B, 4>,
    /// The centres, `[clusters, values of a sample]`.
    pub centres: Tensor<B, 2>,
    /// How batch norm runs.
    pub mode: Mode,
    /// When it is; `None` where nothing is left to chance.
    pub position: Option<Position>,
    /// What is known of the samples; `None` where they are not learned from.
    pub known: Option<Known<'a, B>>,
    /// Outputs of one sub-model.
    pub width: usize,
    /// Whether sub-models have their own shares of the features.
    pub separate: bool,
}

/// What is known of samples that are learned from.
pub struct Known<'a, B: Trainable> {
    /// Their numbers in the training set, `n` long.
    pub samples: &'a [u32],
    /// Whose they were before this batch, `[n, clusters]`: constant rows of sum 1.
    pub weights: Tensor<B, 2>,
}

/// Losses of a batch.
pub struct Losses<B: Trainable> {
    /// Of each sample under each sub-model, `[n, clusters]`: the gradient follows it.
    pub matrix: Tensor<B, 2>,
    /// What assignments compare, where that is not the same.
    pub rule: Option<Tensor<B::InnerBackend, 2>>,
    /// What is minimised beside, of the batch as a whole, one number: assignments do not compare it.
    pub batch: Option<Tensor<B, 1>>,
    /// What [`Family::follow`] gets of a batch that was learned from.
    pub measured: State,
    /// What the log shows beside.
    pub terms: Vec<(&'static str, Tensor<B::InnerBackend, 1>)>,
}

impl<B: Trainable> Losses<B> {
    /// Losses `[n, clusters]` that assignments compare and the gradient follows, and nothing beside.
    pub fn of(matrix: Tensor<B, 2>) -> Self {
        Self { matrix, rule: None, batch: None, measured: State::new(), terms: Vec::new() }
    }
}

/// The whole training set between two epochs.
pub struct Pass<'a, B: Trainable> {
    /// Its samples.
    pub source: &'a dyn Source,
    /// The cluster of each.
    pub assignments: &'a [u32],
    /// When it is.
    pub position: Position,
    /// Where tensors live.
    pub device: &'a B::Device,
    /// Each sub-model's outputs for some images, on batch norm's running moments: `[rows, clusters, width]`.
    pub outputs: &'a dyn Fn(Tensor<B::InnerBackend, 4>) -> Tensor<B::InnerBackend, 3>,
}

/// A representation learner that has a loss for every sample.
pub trait Family<B: Trainable> {
    /// The views of a batch; the last one is the sample that centres are means of.
    fn views(&self) -> &'static [View];

    /// The losses of `n` samples.
    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B>;

    /// Samples that each sub-model draws, `[clusters, drawn, values]`: decoded from standard normal codes
    /// `[drawn, clusters, code]`, about the centres `[clusters, values]`; `None` where the family is no such distribution.
    fn draw(&self, _encoder: &Encoder<B>, _centres: Tensor<B, 2>, _codes: Tensor<B, 3>) -> Option<Tensor<B, 3>> {
        None
    }

    /// Does what is due on the whole training set before an epoch.
    ///
    /// # Errors
    /// Data that the family cannot learn from.
    fn prepare(&mut self, _pass: &Pass<B>) -> Result<()> {
        Ok(())
    }

    /// Takes up what [`Family::losses`] measured in a batch that was learned from.
    fn follow(&mut self, _measured: State) {}

    /// The state to checkpoint, beside the members'.
    fn state(&self) -> State {
        State::new()
    }

    /// Takes up a state that [`Family::state`] gave.
    fn restore(&mut self, _state: State) {}

    /// Whether losses compare views, and say nothing of a sample whose views are all the same.
    fn compares_views(&self) -> bool {
        false
    }

    /// Whether the last view is what sub-models have to give and are not given: a sample's cluster is then chosen from the first.
    fn hides_target(&self) -> bool {
        false
    }

    /// What each output is multiplied by in a representation that ships, one sub-model after the other, where the loss does
    /// not know outputs' scale.
    fn scales(&self) -> Option<Vec<f32>> {
        None
    }

    /// Where sub-models without layers before them read a sample from: its cluster's centre, or nothing; and what the
    /// difference is divided by.
    fn frame(&self) -> Frame {
        Frame { centred: true, unit: 1.0 }
    }

    /// Whether sub-models without layers before them find planes, as linear decoders do.
    fn finds_planes(&self) -> bool {
        false
    }
}

/// How sub-models without layers before them read a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// From its cluster's centre.
    pub centred: bool,
    /// In units of this size.
    pub unit: f64,
}

impl<B: Trainable> Case<'_, B> {
    /// Number of sub-models.
    pub fn clusters(&self) -> usize {
        self.centres.dims()[0]
    }

    /// The samples of one view, flat: `[n, values]`.
    pub fn flat(&self, view: usize, n: usize) -> Tensor<B, 2> {
        let [_, height, width, channels] = self.images.dims();
        self.images.clone().narrow(0, view * n, n).reshape([n, height * width * channels])
    }

    /// Each sub-model's outputs for some images, `[rows, clusters, width]`.
    pub fn outputs(&self, images: Tensor<B, 4>) -> Tensor<B, 3> {
        self.outputs_in(images, self.mode)
    }

    /// [`Case::outputs`] with another mode of batch norm.
    pub fn outputs_in(&self, images: Tensor<B, 4>, mode: Mode) -> Tensor<B, 3> {
        let rows = images.dims()[0];
        let shape = [rows, self.clusters(), self.width];
        let last = self.encoder.parameters.affines.last().expect("a plan ends with a linear step");
        let (weight, bias) = (last.weight.val(), last.bias.as_ref().expect("the output has a bias").val());
        let features = self.encoder.features(images, mode);
        if self.separate {
            // Only a sub-model's own block has gradients: the rest, zero at the start, stays zero.
            let share = features.dims()[1] / self.clusters();
            let block = |j: usize| {
                let weight = weight.clone().narrow(0, j * share, share).narrow(1, j * self.width, self.width);
                features.clone().narrow(1, j * share, share).matmul(weight)
            };
            let blocks = (0..self.clusters()).map(block).collect();
            return (Tensor::cat(blocks, 1) + bias.unsqueeze()).reshape(shape);
        }
        let offsets = match self.is_centred() {
            // W (x - c) = W x - W c, for each sub-model its own c.
            true => self.own_blocks(self.centres.clone().matmul(weight.clone())),
            false => Tensor::zeros([1, weight.dims()[1]], &weight.device()),
        };
        (features.matmul(weight) + bias.unsqueeze() - offsets).reshape(shape)
    }

    /// What decoders make of codes `[rows, clusters, code]`: `[rows, clusters, values]`.
    pub fn decoded(&self, decoder: &DecoderSpec, codes: Tensor<B, 3>) -> Tensor<B, 3> {
        decoder.decode(&self.encoder.parameters, codes, self.encoder.plan.input)
    }

    /// Whether sub-models read samples from their centres.
    fn is_centred(&self) -> bool {
        self.encoder.plan.steps.len() == 1
    }

    /// Of `[clusters, clusters * width]` the blocks on the diagonal, `[1, clusters * width]`.
    fn own_blocks(&self, all: Tensor<B, 2>) -> Tensor<B, 2> {
        let block = |j: usize| all.clone().narrow(0, j, 1).narrow(1, j * self.width, self.width);
        Tensor::cat((0..self.clusters()).map(block).collect(), 1)
    }

    /// Differences of samples `[n, values]` to every centre, `[n, clusters, values]`.
    pub fn from_centres(&self, samples: Tensor<B, 2>) -> Tensor<B, 3> {
        samples.unsqueeze_dim::<3>(1) - self.centres.clone().unsqueeze_dim::<3>(0)
    }
}
