//! A model's layers, one at a time, with their shapes worked out and their tables found.

use core::ops::Range;

use eigenlet_shared::description::{self, Places};
use eigenlet_shared::geometry::{Shape, taps};
use eigenlet_shared::numerics::{Output, Sum};
use eigenlet_shared::packed::{patch_words, widened_words};
use eigenlet_shared::reader::Cursor;

use crate::kernels::{self, Rows, Slide};
use crate::model::{Data, Fault};

/// Activations in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensor {
    pub shape: Shape,
    pub place: usize,
    /// The int8 value of a real zero: what padding reads as.
    pub zero_point: i8,
}

impl Tensor {
    /// Its bytes in the arena.
    pub fn range(&self) -> Range<usize> {
        self.place..self.place.wrapping_add(self.shape.len())
    }
}

/// One layer, ready to run.
pub(crate) struct Step<'a> {
    pub input: Tensor,
    pub output: Tensor,
    /// Bytes of the arena; empty where none is needed.
    pub scratch: Range<usize>,
    pub operation: Operation<'a>,
}

/// What a layer computes, with the tables that it reads.
pub(crate) enum Operation<'a> {
    Dense(Rows<'a>, kernels::Range),
    Conv2d(description::Window, Rows<'a>, kernels::Range),
    DepthwiseConv2d(description::Window, &'a [i8], Rows<'a>, kernels::Range),
    MaxPool2d(description::Window),
    AveragePool2d(description::Window),
    Add(Range<usize>, &'a Sum, Output),
    Recall,
}

impl Step<'_> {
    /// Where the step reads, works and writes; what it reads need not be apart from what it writes where it does one after the
    /// other.
    pub fn regions(&self) -> [Range<usize>; 3] {
        let (input, output) = (self.input.range(), self.output.range());
        match &self.operation {
            Operation::Add(other, ..) => [other.clone(), 0..0, output],
            Operation::Recall => [0..0, 0..0, output],
            _ => [input, self.scratch.clone(), output],
        }
    }

    /// The window that slides over the input.
    pub fn slide<'w>(&self, window: &'w description::Window) -> Slide<'w> {
        Slide { input: self.input.shape, output: self.output.shape, window, zero_point: self.input.zero_point }
    }

    /// Multiply-accumulates, padding's included.
    pub fn macs(&self) -> u64 {
        let shape = self.output.shape;
        let pixels = (shape.height as u64).wrapping_mul(shape.width as u64);
        let weights = |rows: &Rows| (rows.rows as u64).wrapping_mul(rows.columns as u64);
        match &self.operation {
            Operation::Dense(rows, _) => weights(rows),
            Operation::Conv2d(_, rows, _) => pixels.wrapping_mul(weights(rows)),
            Operation::DepthwiseConv2d(_, weights, ..) => pixels.wrapping_mul(weights.len() as u64),
            _ => 0,
        }
    }

    /// Bytes of flash that the step reads.
    pub fn table_bytes(&self) -> usize {
        let of = |rows: &Rows| {
            size_of_val(rows.words).wrapping_add(size_of_val(rows.biases)).wrapping_add(size_of_val(rows.scales))
        };
        match &self.operation {
            Operation::Dense(rows, _) | Operation::Conv2d(_, rows, _) => of(rows),
            Operation::DepthwiseConv2d(_, weights, rows, _) => of(rows).wrapping_add(weights.len()),
            Operation::Add(..) => size_of::<Sum>(),
            Operation::MaxPool2d(_) | Operation::AveragePool2d(_) | Operation::Recall => 0,
        }
    }
}

/// The steps of a model, in order. Cheap: no weight is looked at.
#[derive(Clone)]
pub(crate) struct Steps<'a> {
    data: Data<'a>,
    /// At the next layer.
    pub cursor: Cursor<'a>,
    left: usize,
    /// What the next step reads; at the end, what the heads do.
    pub tensor: Tensor,
}

impl<'a> Steps<'a> {
    /// The `count` steps that `cursor` is at, on that input.
    pub fn new(data: Data<'a>, cursor: Cursor<'a>, count: usize, tensor: Tensor) -> Self {
        Self { data, cursor, left: count, tensor }
    }

    fn step(&mut self) -> Result<Step<'a>, Fault> {
        let Places { output, scratch } = self.cursor.places();
        let operation = self.cursor.operation();
        if self.cursor.failed() {
            return Err(Fault::Description);
        }
        let input = self.tensor;
        let shape = input.shape;
        let mut scratch_words = 0;
        let mut place = output as usize;
        let mut zero_point = input.zero_point;
        let (shape, operation) = match operation {
            description::Operation::Dense(dense) => {
                let outputs = usize::from(dense.outputs);
                scratch_words = widened_words(shape.len());
                zero_point = dense.output.zero_point;
                let rows = self.data.rows(dense.rows, outputs, shape.len())?;
                (Shape::vector(outputs), Operation::Dense(rows, range(&rows, dense.output)?))
            }
            description::Operation::Conv2d(conv) => {
                let outputs = usize::from(conv.outputs);
                let columns = taps(&conv.window, shape.channels).ok_or(Fault::Geometry)?;
                scratch_words = patch_words(&conv.window, shape.channels);
                zero_point = conv.output.zero_point;
                let rows = self.data.rows(conv.rows, outputs, columns)?;
                let range = range(&rows, conv.output)?;
                (shape.under(&conv.window, outputs), Operation::Conv2d(conv.window, rows, range))
            }
            description::Operation::DepthwiseConv2d(conv) => {
                let columns = taps(&conv.window, 1).ok_or(Fault::Geometry)?;
                zero_point = conv.output.zero_point;
                let weights = self.data.table(conv.rows.weights, shape.channels, columns)?;
                let rows = self.data.constants(conv.rows, shape.channels)?;
                let range = range(&rows, conv.output)?;
                let operation = Operation::DepthwiseConv2d(conv.window, weights, rows, range);
                (shape.under(&conv.window, shape.channels), operation)
            }
            description::Operation::MaxPool2d(window) => {
                (shape.under(&window, shape.channels), Operation::MaxPool2d(window))
            }
            description::Operation::AveragePool2d(window) => {
                (shape.under(&window, shape.channels), Operation::AveragePool2d(window))
            }
            description::Operation::Add(add) => {
                let other = add.other as usize;
                place = input.place;
                zero_point = add.output.zero_point;
                let sum: &[Sum] = self.data.table(add.sum, 1, 1)?;
                let sum = sum.first().filter(|sum| sum.is_lawful() && is_lawful(add.output)).ok_or(Fault::Constants)?;
                (Some(shape), Operation::Add(other..other.wrapping_add(shape.len()), sum, add.output))
            }
            description::Operation::Recall(recall) => {
                let [height, width, channels] = recall.shape.map(usize::from);
                zero_point = recall.zero_point;
                (Shape::new(height, width, channels), Operation::Recall)
            }
        };
        self.tensor = Tensor { shape: shape.ok_or(Fault::Geometry)?, place, zero_point };
        let scratch = scratch as usize;
        let scratch = scratch..scratch.wrapping_add(scratch_words.wrapping_mul(size_of::<u32>()));
        let scratch = if scratch_words == 0 { 0..0 } else { scratch };
        Ok(Step { input, output: self.tensor, scratch, operation })
    }
}

fn is_lawful(output: Output) -> bool {
    output.minimum <= output.maximum
}

/// The range of a layer's outputs, if its rows' scales belong to its grid.
// One copy for all layers.
#[inline(never)]
fn range(rows: &Rows, output: Output) -> Result<kernels::Range, Fault> {
    let Output { zero_point, minimum, maximum } = output;
    if is_lawful(output) && rows.scales.iter().all(|scale| scale.is_lawful(zero_point)) {
        Ok(kernels::Range { minimum, maximum })
    } else {
        Err(Fault::Constants)
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Result<Step<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.step())
    }
}
