//! A model's layers, one at a time, with their shapes worked out and their tables found.

use eigenlet_shared::description::{Layer, Window};
use eigenlet_shared::numerics::{Channel, INPUT_ZERO_POINT_U8, Output};

use crate::geometry::{Shape, product};
use crate::model::{Fault, table};

/// One layer, ready to run.
pub(crate) struct Step<'a> {
    pub input: Shape,
    pub output: Shape,
    /// The int8 value of a real zero in the input: what padding reads as.
    pub zero_point: i8,
    pub operation: Operation<'a>,
}

pub(crate) enum Operation<'a> {
    Dense(Weighted<'a>),
    Conv2d(Window, Weighted<'a>),
    DepthwiseConv2d(Window, Weighted<'a>),
    MaxPool2d(Window),
    AveragePool2d(Window),
}

/// What a layer with weights reads from the data section.
pub(crate) struct Weighted<'a> {
    pub weights: &'a [i8],
    pub channels: &'a [Channel],
    pub output: Output,
}

impl Step<'_> {
    /// Multiply-accumulates, padding's included.
    pub fn macs(&self) -> u64 {
        let outputs = self.output.len() as u64;
        let pixels = (self.output.height as u64).wrapping_mul(self.output.width as u64);
        match &self.operation {
            Operation::Dense(table) => table.weights.len() as u64,
            Operation::Conv2d(_, table) => pixels.wrapping_mul(table.weights.len() as u64),
            Operation::DepthwiseConv2d(window, _) => {
                let [height, width] = window.kernel;
                outputs.wrapping_mul(u64::from(height)).wrapping_mul(u64::from(width))
            }
            Operation::MaxPool2d(_) | Operation::AveragePool2d(_) => 0,
        }
    }

    pub fn weighted(&self) -> Option<&Weighted<'_>> {
        match &self.operation {
            Operation::Dense(table) | Operation::Conv2d(_, table) | Operation::DepthwiseConv2d(_, table) => Some(table),
            Operation::MaxPool2d(_) | Operation::AveragePool2d(_) => None,
        }
    }
}

/// The steps of a model, in order. Cheap: no weight is looked at.
pub(crate) struct Steps<'m, 'a> {
    data: &'a [u8],
    layers: core::slice::Iter<'m, Layer>,
    shape: Shape,
    zero_point: i8,
}

impl<'m, 'a> Steps<'m, 'a> {
    pub fn new(input: Shape, layers: &'m [Layer], data: &'a [u8]) -> Self {
        // Only padding reads the zero point, and the layer that reads an input of indices is dense.
        Self { data, layers: layers.iter(), shape: input, zero_point: INPUT_ZERO_POINT_U8 }
    }

    fn step(&mut self, layer: &Layer) -> Result<Step<'a>, Fault> {
        let input = self.shape;
        let (shape, operation) = match layer {
            Layer::Dense(dense) => {
                let outputs = usize::from(dense.outputs);
                let table = self.table(dense.weights, dense.channels, dense.output, outputs, input.len())?;
                (Shape::vector(outputs), Operation::Dense(table))
            }
            Layer::Conv2d(conv) => {
                let outputs = usize::from(conv.outputs);
                let taps = taps(&conv.window, input.channels)?;
                let table = self.table(conv.weights, conv.channels, conv.output, outputs, taps)?;
                (input.under(&conv.window, outputs), Operation::Conv2d(conv.window, table))
            }
            Layer::DepthwiseConv2d(conv) => {
                let outputs = input.channels;
                let taps = taps(&conv.window, 1)?;
                let table = self.table(conv.weights, conv.channels, conv.output, outputs, taps)?;
                (input.under(&conv.window, outputs), Operation::DepthwiseConv2d(conv.window, table))
            }
            Layer::MaxPool2d(window) => (input.under(window, input.channels), Operation::MaxPool2d(*window)),
            Layer::AveragePool2d(window) => (input.under(window, input.channels), Operation::AveragePool2d(*window)),
        };
        let step = Step { input, output: shape.ok_or(Fault::Geometry)?, zero_point: self.zero_point, operation };
        self.shape = step.output;
        if let Some(table) = step.weighted() {
            self.zero_point = table.output.zero_point;
        }
        Ok(step)
    }

    // One copy for all layers.
    #[inline(never)]
    fn table(
        &self,
        weights: u32,
        channels: u32,
        output: Output,
        outputs: usize,
        taps: usize,
    ) -> Result<Weighted<'a>, Fault> {
        if output.minimum > output.maximum {
            return Err(Fault::Constants);
        }
        Ok(Weighted {
            weights: table(self.data, weights, outputs, taps)?,
            channels: table(self.data, channels, outputs, 1)?,
            output,
        })
    }
}

/// Products for each output of a window over so many channels.
fn taps(window: &Window, channels: usize) -> Result<usize, Fault> {
    let [height, width] = window.kernel;
    product(&[height.into(), width.into(), channels]).ok_or(Fault::Geometry)
}

impl<'a> Iterator for Steps<'_, 'a> {
    type Item = Result<Step<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let layer = self.layers.next()?;
        Some(self.step(layer))
    }
}
