//! A model's layers, one at a time, with their shapes worked out and their tables found.

use core::ops::Range;

#[cfg(feature = "conv")]
use eigenlet_shared::description::Window;
use eigenlet_shared::geometry::Shape;
#[cfg(feature = "conv")]
use eigenlet_shared::geometry::taps;
use eigenlet_shared::numerics::Sum;
#[cfg(feature = "conv")]
use eigenlet_shared::packed::{filter_patch_words, filter_words, patch_words};
use eigenlet_shared::packed::{quad_words, widened_words};
use eigenlet_shared::reader::{Cursor, LayerRecord, kind};

#[cfg(feature = "conv")]
use crate::kernels::Slide;
use crate::kernels::{self, Rows};
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
    /// Of a dense layer or a convolution.
    pub rows: Rows<'a>,
    /// Weights in a row, or taps of a filter.
    columns: usize,
    /// Of an addition: one.
    pub sum: &'a [Sum],
}

impl<'a> Steps<'a> {
    /// The `left` steps that `cursor` is at, on that input.
    #[inline(always)]
    pub fn new(data: Data<'a>, cursor: Cursor<'a>, left: u32, input: Tensor) -> Self {
        Self {
            data,
            cursor,
            left,
            record: LayerRecord::unread(),
            input,
            output: input,
            scratch_words: 0,
            rows: Rows::default(),
            columns: 0,
            sum: &[],
        }
    }

    /// The next layer; there is one left.
    #[inline(never)]
    pub fn advance(&mut self) -> Result<(), Fault> {
        self.left = self.left.wrapping_sub(1);
        let record = &mut self.record;
        self.cursor.layer(record);
        if self.cursor.failed() {
            return Err(Fault::Description);
        }
        self.input = self.output;
        let input = self.input.shape;
        self.scratch_words = 0;
        self.output.place = record.place as usize;
        self.output.zero_point = record.output.zero_point;
        self.rows = Rows::default();
        self.columns = input.len();
        let (outputs, quad) = (record.outputs, quad_words(self.columns));
        #[cfg(feature = "conv")]
        let (mut outputs, mut quad) = (outputs, quad);
        let shape = match record.kind {
            kind::DENSE => {
                self.scratch_words = widened_words(self.columns);
                Shape::vector(outputs as usize)
            }
            #[cfg(not(feature = "conv"))]
            _ => return Err(Fault::Unsupported),
            #[cfg(feature = "conv")]
            kind::ADD => {
                self.output.place = self.input.place;
                const WORDS: usize = size_of::<Sum>() / size_of::<u32>();
                let words = self.data.words(record.sum, 0, 1, WORDS as u32);
                self.data.fault?;
                self.sum = bytemuck::must_cast_slice(words.as_chunks::<WORDS>().0);
                if !self.sum.iter().all(Sum::is_lawful) {
                    return Err(Fault::Constants);
                }
                Some(input)
            }
            #[cfg(feature = "conv")]
            kind::RECALL => {
                self.output.zero_point = record.zero_point as i8;
                let [height, width, channels] = record.shape.map(|side| side as usize);
                Shape::new(height, width, channels)
            }
            #[cfg(feature = "conv")]
            _ => {
                self.columns = taps(&record.window, input.channels).ok_or(Fault::Geometry)?;
                match record.kind {
                    kind::CONV_2D => {
                        quad = quad_words(self.columns);
                        self.scratch_words = patch_words(&record.window, input.channels);
                    }
                    kind => {
                        outputs = input.channels as u32;
                        if kind == kind::DEPTHWISE_CONV_2D {
                            self.columns = self.columns.checked_div(input.channels).unwrap_or(0);
                            quad = filter_words(self.columns);
                            self.scratch_words = filter_patch_words(&record.window, input.channels);
                        } else {
                            // Pooling keeps the grid.
                            self.output.zero_point = self.input.zero_point;
                        }
                    }
                }
                input.under(&record.window, outputs as usize)
            }
        };
        self.output.shape = shape.ok_or(Fault::Geometry)?;
        if record.kind <= kind::DEPTHWISE_CONV_2D {
            let tables = [record.weights, record.biases];
            self.rows = self.data.rows(tables, Some(record.scales), 0, [outputs, quad as u32]);
        }
        self.data.fault
    }

    /// Where the step reads, works and writes; what it reads need not be apart from what it writes where it does one after the
    /// other.
    // One copy for those who check and those who run.
    #[inline(never)]
    pub fn regions(&self) -> [Range<usize>; 3] {
        let region = |place: u32, bytes: usize| place as usize..(place as usize).wrapping_add(bytes);
        let input = match self.record.kind {
            #[cfg(feature = "conv")]
            kind::ADD => region(self.record.other, self.input.shape.len()),
            #[cfg(feature = "conv")]
            kind::RECALL => 0..0,
            _ => self.input.range(),
        };
        let scratch = match self.scratch_words {
            0 => 0..0,
            words => region(self.record.scratch, words.wrapping_mul(size_of::<u32>())),
        };
        [input, scratch, self.output.range()]
    }

    /// The window that slides over the input; `None` for other layers.
    #[cfg(feature = "conv")]
    pub fn window(&self) -> Option<Window> {
        (kind::CONV_2D..=kind::AVERAGE_POOL_2D).contains(&self.record.kind).then_some(self.record.window)
    }

    /// The window where it slides.
    #[cfg(feature = "conv")]
    pub fn slide(&self) -> Slide<'_> {
        let (input, output) = (self.input.shape, self.output.shape);
        Slide { input, output, window: &self.record.window, zero_point: self.input.zero_point }
    }

    /// The range of the layer's outputs.
    pub fn range(&self) -> kernels::Range {
        let output = self.record.output;
        kernels::Range { minimum: output.minimum, maximum: output.maximum }
    }

    /// Multiply-accumulates, padding's included.
    pub fn macs(&self) -> u64 {
        let shape = self.output.shape;
        let pixels = (shape.height as u64).wrapping_mul(shape.width as u64);
        let weights = (self.rows.rows() as u64).wrapping_mul(self.columns as u64);
        pixels.wrapping_mul(weights)
    }

    /// Bytes of flash that the step reads.
    pub fn table_bytes(&self) -> usize {
        let rows = &self.rows;
        let sum = if self.record.kind == kind::ADD { size_of_val(self.sum) } else { 0 };
        let tables = [size_of_val(rows.words()), size_of_val(rows.biases()), size_of_val(rows.scales()), sum];
        tables.into_iter().fold(0, usize::saturating_add)
    }

    /// What each of the steps to come gives.
    pub fn map<T>(mut self, mut of: impl FnMut(&Self) -> T) -> impl Iterator<Item = T> {
        core::iter::from_fn(move || (self.left > 0 && self.advance().is_ok()).then(|| of(&self)))
    }
}
