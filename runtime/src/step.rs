//! A model's layers, one at a time, with their shapes worked out and their tables found.

use core::ops::Range;

use eigenlet_shared::description::Window;
use eigenlet_shared::geometry::{Shape, taps};
use eigenlet_shared::numerics::Sum;
use eigenlet_shared::packed::{patch_words, widened_words};
use eigenlet_shared::reader::{Cursor, LayerRecord, kind};

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

/// The steps of a model, one layer after another. Everything but the walk itself is about the layer at hand.
// One structure that changes in place: moving a step for each layer would be more code.
#[derive(Clone, Debug)]
pub(crate) struct Steps<'a> {
    data: Data<'a>,
    pub cursor: Cursor<'a>,
    /// Layers that are still to come.
    pub left: u32,
    pub record: LayerRecord,
    pub input: Tensor,
    /// The next layer's input; at the end, what the heads read.
    pub output: Tensor,
    scratch_words: usize,
    /// Of a dense layer or a convolution; of a depthwise one, without words.
    pub rows: Rows<'a>,
    /// Of a depthwise convolution.
    pub weights: &'a [i8],
    /// Of an addition.
    pub sum: Sum,
}

impl<'a> Steps<'a> {
    /// The `count` steps that `cursor` is at, on that input.
    pub fn new(data: Data<'a>, cursor: Cursor<'a>, count: u32, input: Tensor) -> Self {
        Self {
            data,
            cursor,
            left: count,
            record: LayerRecord::default(),
            input,
            output: input,
            scratch_words: 0,
            rows: Rows::default(),
            weights: &[],
            sum: Sum::default(),
        }
    }

    /// The next layer; there is one left.
    #[inline(never)]
    pub fn advance(&mut self) -> Result<(), Fault> {
        self.left = self.left.saturating_sub(1);
        let record = &mut self.record;
        self.cursor.layer(record);
        if self.cursor.failed() {
            return Err(Fault::Description);
        }
        self.input = self.output;
        let input = self.input.shape;
        (self.rows, self.weights, self.scratch_words) = (Rows::default(), &[], 0);
        self.output.place = record.place as usize;
        let mut shape = Some(input);
        let mut columns = input.len();
        match record.kind {
            kind::DENSE => {
                shape = Shape::vector(record.outputs as usize);
                self.scratch_words = widened_words(columns);
            }
            kind::ADD => {
                self.output.place = self.input.place;
                let words = self.data.words(record.sum, Some(size_of::<Sum>() / size_of::<u32>()))?;
                self.sum =
                    *words.first_chunk().map(bytemuck::must_cast_ref::<[u32; 8], Sum>).ok_or(Fault::Constants)?;
                if !self.sum.is_lawful() {
                    return Err(Fault::Constants);
                }
            }
            kind::RECALL => {
                let [height, width, channels] = record.shape.map(|side| side as usize);
                shape = Shape::new(height, width, channels);
            }
            _ => {
                let window = record.window();
                let mut outputs = input.channels;
                columns = taps(&window, outputs).ok_or(Fault::Geometry)?;
                if record.kind == kind::CONV_2D {
                    outputs = record.outputs as usize;
                    self.scratch_words = patch_words(&window, input.channels);
                }
                shape = input.under(&window, outputs);
            }
        }
        self.output.shape = shape.ok_or(Fault::Geometry)?;
        let LayerRecord { weights, biases, scales, .. } = *record;
        match record.kind {
            kind::DENSE | kind::CONV_2D => {
                self.rows = self.data.rows([weights, biases], Some(scales), 0, record.outputs, columns)?;
            }
            kind::DEPTHWISE_CONV_2D => {
                self.weights = self.data.int8(weights, Some(columns))?;
                self.rows = self.data.constants(biases, Some(scales), 0, input.channels)?;
            }
            // Pooling keeps the grid.
            kind::MAX_POOL_2D | kind::AVERAGE_POOL_2D => return Ok(()),
            _ => {}
        }
        self.output.zero_point = record.output().zero_point;
        Ok(())
    }

    /// Where the step reads, works and writes; what it reads need not be apart from what it writes where it does one after the
    /// other.
    pub fn regions(&self) -> [Range<usize>; 3] {
        let scratch = self.record.scratch as usize;
        let scratch = scratch..scratch.wrapping_add(self.scratch_words.wrapping_mul(size_of::<u32>()));
        let input = match self.record.kind {
            kind::ADD => {
                let other = self.record.other as usize;
                other..other.wrapping_add(self.input.shape.len())
            }
            kind::RECALL => 0..0,
            _ => self.input.range(),
        };
        [input, if self.scratch_words == 0 { 0..0 } else { scratch }, self.output.range()]
    }

    /// The window that slides over the input; `None` for other layers.
    pub fn window(&self) -> Option<Window> {
        (kind::CONV_2D..=kind::AVERAGE_POOL_2D).contains(&self.record.kind).then(|| self.record.window())
    }

    /// The window where it slides.
    pub fn slide<'w>(&self, window: &'w Window) -> Slide<'w> {
        Slide { input: self.input.shape, output: self.output.shape, window, zero_point: self.input.zero_point }
    }

    /// The range of the layer's outputs.
    pub fn range(&self) -> kernels::Range {
        let output = self.record.output();
        kernels::Range { minimum: output.minimum, maximum: output.maximum }
    }

    /// Multiply-accumulates, padding's included.
    pub fn macs(&self) -> u64 {
        let shape = self.output.shape;
        let pixels = (shape.height as u64).wrapping_mul(shape.width as u64);
        let weights = (self.rows.rows as u64).wrapping_mul(self.rows.columns as u64);
        pixels.wrapping_mul(weights.wrapping_add(self.weights.len() as u64))
    }

    /// Bytes of flash that the step reads.
    pub fn table_bytes(&self) -> usize {
        let Rows { words, biases, scales, .. } = self.rows;
        let sum = if self.record.kind == kind::ADD { size_of::<Sum>() } else { 0 };
        [size_of_val(words), size_of_val(biases), size_of_val(scales), self.weights.len(), sum]
            .into_iter()
            .fold(0, usize::saturating_add)
    }

    /// What each of the steps to come gives.
    pub fn map<T>(mut self, mut of: impl FnMut(&Self) -> T) -> impl Iterator<Item = T> {
        core::iter::from_fn(move || (self.left > 0 && self.advance().is_ok()).then(|| of(&self)))
    }
}
