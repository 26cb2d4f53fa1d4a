//! A model: a blob whose every length, offset, place and constant has been checked.

use core::fmt;
use core::ops::Range;

use eigenlet_shared::blob::{Blob, BlobError};
#[cfg(feature = "card")]
use eigenlet_shared::description::{Card, Description};
use eigenlet_shared::description::{MAX_INDEXED, Raw, class_bits};
use eigenlet_shared::geometry::{Shape, product};
use eigenlet_shared::numerics::{INPUT_ZERO_POINT_U8, Scale};
use eigenlet_shared::packed::{self, widened_words};
use eigenlet_shared::reader::{Cursor, EmbeddingRecord, HeadsRecord, kind};

use crate::kernels::Rows;
use crate::sample::Sample;
use crate::step::{Steps, Tensor};

/// A model that can run. It borrows the blob's bytes, and takes some 100 bytes itself: layers and heads are read where they lie, too.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    pub(crate) data: Data<'a>,
    /// At the first layer.
    layers: Cursor<'a>,
    layer_count: u32,
    /// Behind the layers.
    heads: Cursor<'a>,
    pub(crate) input: Tensor,
    raw: Raw,
    /// Real value of a raw step, and of raw 0: their bits.
    unit: [u32; 2],
    pub(crate) features: Tensor,
    arena: usize,
    #[cfg(feature = "card")]
    blob: Blob<'a>,
}

/// The kinds of hashes and of clusters, as the records number them.
pub(crate) mod head {
    pub const NONE: u32 = 0;
    pub const THRESHOLDS: u32 = 1;
    pub const PRODUCT: u32 = 2;
    pub const EXPERTS: u32 = 3;
    pub const PROTOTYPES: u32 = 1;
    pub const LINEAR: u32 = 2;
    pub const RESIDUAL: u32 = 3;
}

/// A part of a model, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Part {
    /// The layer of that number, from 0.
    Layer(u8),
    /// All heads.
    Heads,
    /// The embedding.
    Embedding,
    /// The hash code.
    Hash,
    /// The clusters.
    Clusters,
    /// The clusters' experts.
    Experts,
    /// The golden vectors.
    Golden,
}

/// Why bytes are not a model that this runtime can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ModelError {
    /// The bytes are no blob, or no whole one.
    Blob(BlobError),
    /// The input has no size, more than 2^31 - 1 values, or a scale or offset that is no lawful number; or it is given by indices,
    /// and has more than 65,536 values, or the first layer is not dense.
    Input,
    /// A window does not fit its input, a size or stride is 0, or there are more than 2^31 - 1 values.
    Geometry {
        /// The layer's number, from 0.
        layer: u8,
    },
    /// A table reaches past the end of the data section.
    OutOfBounds {
        /// Whose table it is.
        part: Part,
    },
    /// A table of numbers wider than a byte does not lie on a multiple of their size, or scratch not on a multiple of 4.
    Misaligned {
        /// Whose it is.
        part: Part,
    },
    /// What is read, worked on and written meets in the arena, or the arena would take 2^31 bytes or more.
    Places {
        /// Whose places they are.
        part: Part,
    },
    /// A constant lies outside its range: a multiplier, a shift, an addend, an activation's range, a scale, eigenvalues.
    Constants {
        /// Whose constant it is.
        part: Part,
    },
    /// A head has a size of 0, a product code fewer than 2 classes, prototypes dimensions that the embedding lacks, residuals
    /// more than 65535 features; or a head needs experts, or experts need clusters, that are not there, or are not as many.
    Head {
        /// Which head.
        part: Part,
    },
    /// The model card does not decode.
    Card,
}

/// A sample and the outputs that every implementation must give for it; `None` where the model lacks the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoldenVector<'a> {
    /// The sample, in the form of the model's input.
    pub sample: Sample<'a>,
    /// All dimensions.
    pub embedding: Option<&'a [i8]>,
    /// All bits, in `bits.div_ceil(8)` bytes.
    pub code: Option<&'a [u8]>,
    /// The cluster's id.
    pub cluster: Option<u16>,
    /// All local dimensions, by the cluster's expert.
    pub expert: Option<&'a [i8]>,
    /// What the cluster's centre and expert leave unexplained; `None` also where clusters are chosen otherwise.
    pub score: Option<u32>,
}

impl<'a> Model<'a> {
    /// Reads a model in place. After this, running it cannot fail but for the arguments given there.
    ///
    /// `bytes` lie on a 16-byte boundary and may be longer than the model (a flash region). Costs one pass over them.
    ///
    /// # Errors
    /// Any [`ModelError`] but [`ModelError::Card`]; the card is decoded by `Model::card`.
    #[inline(never)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let blob = Blob::parse(bytes).map_err(ModelError::Blob)?;
        let mut cursor = Cursor::new(blob.description);
        let input = cursor.input();
        if !is_positive(input.scale) || !is_finite(input.offset) {
            return Err(ModelError::Input);
        }
        let [height, width, channels] = input.shape.map(|side| side as usize);
        let shape = Shape::new(height, width, channels).ok_or(ModelError::Input)?;
        let raw = if input.raw == 0 { Raw::U8 } else { Raw::Indices };
        // Only padding reads the zero point, and the layer that reads an input of indices is dense.
        let tensor = Tensor { shape, place: input.place as usize, zero_point: INPUT_ZERO_POINT_U8 };
        let mut model = Self {
            data: Data(blob.data),
            layer_count: cursor.layers(),
            layers: cursor,
            heads: cursor,
            input: tensor,
            raw,
            unit: [input.scale, input.offset],
            features: tensor,
            arena: 0,
            #[cfg(feature = "card")]
            blob,
        };
        let mut part = Part::Layer(0);
        match model.check(&mut part) {
            Ok(()) => Ok(model),
            Err(fault) => Err(fault.of(part)),
        }
    }

    /// Checks one part after another; `part` is the one at hand.
    #[inline(never)]
    fn check(&mut self, part: &mut Part) -> Result<(), Fault> {
        if self.raw == Raw::Indices && (self.layer_count == 0 || self.input_len() > MAX_INDEXED) {
            return Err(Fault::Input);
        }
        let mut steps = self.steps();
        let mut number = 0;
        while steps.left > 0 {
            *part = Part::Layer(number);
            steps.advance()?;
            let is_dense = steps.record.kind == kind::DENSE;
            // The layer that reads indices, and the first one that is dense, read the sample where it lies.
            if number == 0 && self.raw == Raw::Indices && !is_dense {
                return Err(Fault::Input);
            }
            let output = steps.record.output();
            let scales = steps.rows.scales;
            if !scales.iter().all(|scale| scale.is_lawful(output.zero_point)) || output.minimum > output.maximum {
                return Err(Fault::Constants);
            }
            let [input, scratch, output] = steps.regions();
            if is_dense {
                // The output may take the input's place, since that is read before. Indices are not even widened.
                let input = if number == 0 { 0..0 } else { input };
                let scratch = if number == 0 && self.raw == Raw::Indices { 0..0 } else { scratch };
                self.claim([input, scratch.clone(), 0..0])?;
                self.claim([0..0, scratch, output])?;
            } else {
                self.claim([input, scratch, output])?;
            }
            number = number.wrapping_add(1);
        }
        self.features = steps.output;
        self.heads = steps.cursor;
        *part = Part::Heads;
        let mut cursor = steps.cursor;
        let mut heads = HeadsRecord::default();
        cursor.heads(&mut heads);
        cursor.card();
        if cursor.failed() {
            return Err(Fault::Description);
        }
        self.claim(self.regions(&heads))?;
        self.check_heads(&heads, part)?;
        *part = Part::Golden;
        for list in 0..GoldenList::COUNT {
            let (offset, columns, unit) = self.golden_list(&heads, list);
            self.data.bytes(offset, product(&[heads.golden.count as usize, columns]), unit)?;
        }
        match self.raw {
            Raw::U8 => Ok(()),
            Raw::Indices => {
                (0..heads.golden.count).try_for_each(|number| self.golden_indices(&heads, number).map(|_| ()))
            }
        }
    }

    /// Checks that regions of the arena are apart and scratch is aligned; the arena is large enough for them from then on.
    #[inline(never)]
    fn claim(&mut self, regions: [Range<usize>; 3]) -> Result<(), Fault> {
        let [a, b, c] = &regions;
        if !b.start.is_multiple_of(align_of::<u32>()) {
            return Err(Fault::Misaligned);
        }
        let meets = |a: &Range<usize>, b: &Range<usize>| a.end > b.start && b.end > a.start;
        if meets(a, b) || meets(b, c) || meets(a, c) {
            return Err(Fault::Places);
        }
        for region in regions {
            // A place is any u32, and a tensor less than 2^31: on a chip, the sum may wrap.
            if region.end < region.start || region.end > i32::MAX as usize {
                return Err(Fault::Places);
            }
            self.arena = self.arena.max(region.end);
        }
        Ok(())
    }

    /// Where the heads read, work and write.
    pub(crate) fn regions(&self, heads: &HeadsRecord) -> [Range<usize>; 3] {
        let region = |place: u32, bytes: usize| place as usize..(place as usize).wrapping_add(bytes);
        let widened = widened_words(self.features()).wrapping_mul(size_of::<u32>());
        let rows = heads.embedding.count.max(heads.experts.count) as usize;
        // Of no meaning without rows: nothing would lie anywhere, and could lie in what does.
        let place = if rows > 0 { heads.place } else { 0 };
        [self.features.range(), region(heads.scratch, widened), region(place, rows)]
    }

    #[inline(never)]
    fn check_heads(&self, heads: &HeadsRecord, part: &mut Part) -> Result<(), Fault> {
        let HeadsRecord { embedding, hash, clusters, experts, .. } = heads;
        let columns = self.features();
        if embedding.kind > 0 {
            *part = Part::Embedding;
            self.check_embedding(embedding, 1)?;
        }
        if experts.kind > 0 {
            *part = Part::Experts;
            self.check_embedding(experts, clusters.count)?;
        }
        if hash.kind != head::NONE {
            *part = Part::Hash;
            let valid = match hash.kind {
                head::EXPERTS => experts.count > 0 && hash.classes == clusters.count && hash.rows <= experts.count,
                _ => {
                    (0..hash.heads.max(1)).try_for_each(|number| self.hash_rows(heads, number).map(|_| ()))?;
                    hash.kind == head::THRESHOLDS || hash.heads > 0 && hash.classes > 1
                }
            };
            if !valid || bits(heads) == 0 {
                return Err(Fault::Head);
            }
        }
        if clusters.kind != head::NONE {
            *part = Part::Clusters;
            let valid = match clusters.kind {
                head::LINEAR => self.cluster_rows(heads).map(|_| true)?,
                head::PROTOTYPES => {
                    self.prototypes(heads)?;
                    clusters.dims > 0 && clusters.dims <= embedding.count
                }
                _ => {
                    if clusters.shift > 31 || clusters.scale_shift > 63 {
                        return Err(Fault::Constants);
                    }
                    self.prototypes(heads)?;
                    // More features could be farther away than 32 bits hold.
                    experts.count > 0 && columns <= u16::MAX.into()
                }
            };
            if !valid || clusters.count == 0 {
                return Err(Fault::Head);
            }
        }
        Ok(())
    }

    /// The rows of the embedding, or of `blocks` experts.
    // One copy for both.
    #[inline(never)]
    fn check_embedding(&self, head: &EmbeddingRecord, blocks: u32) -> Result<(), Fault> {
        if blocks == 0 || head.count == 0 {
            return Err(Fault::Head);
        }
        for block in 0..blocks {
            let rows = self.block(head, block)?;
            let eigenvalues = self.eigenvalue_table(head, block)?;
            let lawful = rows.scales.iter().all(|scale| scale.is_lawful(0));
            if !lawful || !is_positive(head.scale) || !is_falling(eigenvalues) {
                return Err(Fault::Constants);
            }
        }
        Ok(())
    }

    /// The heads' numbers, read anew.
    #[inline(never)]
    pub(crate) fn heads(&self) -> HeadsRecord {
        let mut heads = HeadsRecord::default();
        let mut cursor = self.heads;
        cursor.heads(&mut heads);
        heads
    }

    /// The rows of the embedding, or of an expert.
    pub(crate) fn block(&self, head: &EmbeddingRecord, block: u32) -> Result<Rows<'a>, Fault> {
        self.data.rows([head.weights, head.biases], Some(head.scales), block, head.count, self.features())
    }

    /// The rows of the thresholds, or of a head of a product code.
    pub(crate) fn hash_rows(&self, heads: &HeadsRecord, number: u32) -> Result<Rows<'a>, Fault> {
        let hash = &heads.hash;
        let rows = if hash.kind == head::PRODUCT { hash.classes } else { hash.rows };
        self.data.rows([hash.weights, hash.biases], None, number, rows, self.features())
    }

    /// The rows of linear clusters.
    pub(crate) fn cluster_rows(&self, heads: &HeadsRecord) -> Result<Rows<'a>, Fault> {
        let clusters = &heads.clusters;
        self.data.rows([clusters.weights, clusters.biases], None, 0, clusters.count, self.features())
    }

    /// Prototypes, or centres: one row for each cluster.
    pub(crate) fn prototypes(&self, heads: &HeadsRecord) -> Result<&'a [i8], Fault> {
        let clusters = &heads.clusters;
        let columns = if clusters.kind == head::RESIDUAL { self.features() } else { clusters.dims as usize };
        self.data.int8(clusters.weights, product(&[clusters.count as usize, columns]))
    }

    /// Height, width and channels of a sample.
    pub fn input(&self) -> Shape {
        self.input.shape
    }

    /// The form of a sample.
    pub fn raw(&self) -> Raw {
        self.raw
    }

    /// Values of the input: the bytes of a sample, or what its indices are below.
    pub fn input_len(&self) -> usize {
        self.input.shape.len()
    }

    /// Values that the layers give and the heads read.
    pub fn features(&self) -> usize {
        self.features.shape.len()
    }

    /// Dimensions of the embedding; 0 where the model has none.
    pub fn dims(&self) -> u16 {
        self.heads().embedding.count as u16
    }

    /// Bits of the hash code; 0 where the model has none.
    pub fn bits(&self) -> u16 {
        bits(&self.heads())
    }

    /// Number of clusters; 0 where the model has none.
    pub fn clusters(&self) -> u16 {
        self.heads().clusters.count as u16
    }

    /// Number of experts, one for each cluster; 0 where the model has none.
    pub fn experts(&self) -> u16 {
        let heads = self.heads();
        if heads.experts.count > 0 { heads.clusters.count as u16 } else { 0 }
    }

    /// Local dimensions, those of each expert; 0 where the model has none.
    pub fn expert_dims(&self) -> u16 {
        self.heads().experts.count as u16
    }

    /// Bytes of RAM that running takes for activations, as the exporter laid them out.
    pub fn arena_bytes(&self) -> usize {
        self.arena
    }

    /// Number of golden vectors.
    pub fn golden_count(&self) -> u16 {
        self.heads().golden.count as u16
    }

    /// Real value of one raw step of the input, in the sensor's unit.
    pub fn input_scale(&self) -> f32 {
        let [scale, _] = self.unit;
        f32::from_bits(scale)
    }

    /// Real value of raw 0: real = offset + scale * raw.
    pub fn input_offset(&self) -> f32 {
        let [_, offset] = self.unit;
        f32::from_bits(offset)
    }

    /// Real value of one step of the embedding, the same in every dimension; `None` where the model has none.
    pub fn scale(&self) -> Option<f32> {
        let head = self.heads().embedding;
        (head.count > 0).then_some(f32::from_bits(head.scale))
    }

    /// The embedding's eigenvalues, one a dimension, not rising; empty where the model has no embedding.
    pub fn eigenvalues(&self) -> &'a [f32] {
        self.eigenvalue_table(&self.heads().embedding, 0).unwrap_or_default()
    }

    /// Real value of one step of the local embeddings, the same for all experts; `None` where the model has none.
    pub fn expert_scale(&self) -> Option<f32> {
        let head = self.heads().experts;
        (head.count > 0).then_some(f32::from_bits(head.scale))
    }

    /// The eigenvalues of one expert, one a local dimension, not rising; empty where the model has no such expert.
    pub fn expert_eigenvalues(&self, expert: u16) -> &'a [f32] {
        if expert >= self.experts() {
            return &[];
        }
        self.eigenvalue_table(&self.heads().experts, expert.into()).unwrap_or_default()
    }

    /// The description as it stands in the blob, for tools on a host that show it.
    ///
    /// # Errors
    /// [`ModelError::Blob`] with [`BlobError::Description`].
    #[cfg(feature = "card")]
    pub fn description(&self) -> Result<Description<'a>, ModelError> {
        self.blob.decode().map_err(ModelError::Blob)
    }

    /// Where the model comes from and how good it is.
    ///
    /// # Errors
    /// [`ModelError::Card`].
    #[cfg(feature = "card")]
    pub fn card(&self) -> Result<Card<'a>, ModelError> {
        let description = self.description()?;
        postcard::from_bytes(description.card).map_err(|_| ModelError::Card)
    }

    /// The golden vectors.
    pub fn golden(&self) -> impl Iterator<Item = GoldenVector<'a>> {
        let heads = self.heads();
        (0..heads.golden.count).map_while(move |number| {
            let values = |list| self.golden_values(&heads, list, number);
            Some(GoldenVector {
                sample: self.golden_sample(&heads, number)?,
                embedding: values(GoldenList::EMBEDDINGS).map(bytemuck::must_cast_slice),
                code: values(GoldenList::CODES),
                cluster: values(GoldenList::CLUSTERS).map(|id| number_of(id) as u16),
                expert: values(GoldenList::EXPERTS).map(bytemuck::must_cast_slice),
                score: values(GoldenList::SCORES).map(number_of),
            })
        })
    }

    pub(crate) fn steps(&self) -> Steps<'a> {
        Steps::new(self.data, self.layers, self.layer_count, self.input)
    }

    fn eigenvalue_table(&self, head: &EmbeddingRecord, block: u32) -> Result<&'a [f32], Fault> {
        let count = head.count as usize;
        let offset = after(head.eigenvalues, block, product(&[count, size_of::<f32>()]))?;
        self.data.words(offset, Some(count)).map(bytemuck::must_cast_slice)
    }

    /// Where a list lies, how many values it has for a sample, and their bytes; no values where the model lacks them.
    // One copy, as for `check_embedding`.
    #[inline(never)]
    fn golden_list(&self, heads: &HeadsRecord, list: usize) -> (u32, usize, usize) {
        let has = |has: bool| usize::from(has);
        let (columns, unit) = match list {
            GoldenList::SAMPLES => match self.raw {
                Raw::U8 => (self.input_len(), 1),
                // The two numbers of an `IndexList`.
                Raw::Indices => (2, size_of::<u32>()),
            },
            GoldenList::EMBEDDINGS => (heads.embedding.count as usize, 1),
            GoldenList::CODES => (usize::from(bits(heads)).div_ceil(8), 1),
            GoldenList::CLUSTERS => (has(heads.clusters.kind != head::NONE), size_of::<u16>()),
            GoldenList::EXPERTS => (heads.experts.count as usize, 1),
            _ => (has(heads.clusters.kind == head::RESIDUAL), size_of::<u32>()),
        };
        (heads.golden.lists.get(list).copied().unwrap_or_default(), columns, unit)
    }

    /// A sample in its form; `None` where the model has none of that number.
    pub(crate) fn golden_sample(&self, heads: &HeadsRecord, number: u32) -> Option<Sample<'a>> {
        match self.raw {
            Raw::U8 => self.golden_values(heads, GoldenList::SAMPLES, number).map(Sample::Bytes),
            Raw::Indices => self.golden_indices(heads, number).ok().map(Sample::Indices),
        }
    }

    /// The indices of a sample as they stand: whether they rise is looked at when it runs.
    // One copy, as for `check_embedding`.
    #[inline(never)]
    fn golden_indices(&self, heads: &HeadsRecord, number: u32) -> Result<&'a [u16], Fault> {
        let list = self.golden_values(heads, GoldenList::SAMPLES, number).ok_or(Fault::OutOfBounds)?;
        let (offset, count) = list.split_at_checked(size_of::<u32>()).unwrap_or_default();
        let bytes = self.data.bytes(number_of(offset), Some(number_of(count) as usize), size_of::<u16>())?;
        Ok(bytemuck::try_cast_slice(bytes).unwrap_or_default())
    }

    /// A sample's bytes in a list; `None` where the model lacks them.
    // One copy, as for `check_embedding`.
    #[inline(never)]
    pub(crate) fn golden_values(&self, heads: &HeadsRecord, list: usize, number: u32) -> Option<&'a [u8]> {
        if number >= heads.golden.count {
            return None;
        }
        let (offset, columns, unit) = self.golden_list(heads, list);
        let width = columns.wrapping_mul(unit);
        let start = (offset as usize).wrapping_add((number as usize).wrapping_mul(width));
        self.data.0.get(start..)?.get(..width).filter(|values| !values.is_empty())
    }
}

/// The numbers of the golden vectors' lists.
pub(crate) struct GoldenList;

impl GoldenList {
    pub const SAMPLES: usize = 0;
    pub const EMBEDDINGS: usize = 1;
    pub const CODES: usize = 2;
    pub const CLUSTERS: usize = 3;
    pub const EXPERTS: usize = 4;
    pub const SCORES: usize = 5;
    const COUNT: usize = 6;
}

/// A little-endian number of at most four bytes.
pub(crate) fn number_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Bits of the whole code; 0 where a size is invalid.
pub(crate) fn bits(heads: &HeadsRecord) -> u16 {
    let hash = &heads.hash;
    let id = u32::from(class_bits(hash.classes as u16));
    let bits = match hash.kind {
        head::PRODUCT => hash.heads.wrapping_mul(id),
        head::EXPERTS => hash.rows.wrapping_add(id),
        _ => hash.rows,
    };
    u16::try_from(bits).unwrap_or(0)
}

/// The data section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a>(pub &'a [u8]);

impl<'a> Data<'a> {
    /// A block of `rows` packed rows: offsets of weights and biases, and of scales unless only sums are wanted; blocks lie one after
    /// another.
    // One copy for all layers and heads, as what follows.
    #[inline(never)]
    pub fn rows(
        self,
        [weights, biases]: [u32; 2],
        scales: Option<u32>,
        block: u32,
        rows: u32,
        columns: usize,
    ) -> Result<Rows<'a>, Fault> {
        let rows = rows as usize;
        // Below 2^31, the number of words does not wrap.
        product(&[rows, columns]).ok_or(Fault::OutOfBounds)?;
        let words = packed::words(rows, columns);
        let weights = after(weights, block, Some(words.wrapping_mul(size_of::<u32>())))?;
        let words = self.words(weights, Some(words))?;
        Ok(Rows { words, columns, ..self.constants(biases, scales, block, rows)? })
    }

    /// Biases and scales without packed weights.
    #[inline(never)]
    pub fn constants(self, biases: u32, scales: Option<u32>, block: u32, rows: usize) -> Result<Rows<'a>, Fault> {
        let biases = after(biases, block, product(&[rows, size_of::<i32>()]))?;
        let biases = bytemuck::must_cast_slice(self.words(biases, Some(rows))?);
        let mut of = Rows { words: &[], rows, columns: 0, biases, scales: &[] };
        if let Some(scales) = scales {
            const WORDS: usize = size_of::<Scale>() / size_of::<u32>();
            let bytes = product(&[rows, size_of::<Scale>()]);
            let words = self.words(after(scales, block, bytes)?, product(&[rows, WORDS]))?;
            of.scales = bytemuck::try_cast_slice(words).unwrap_or_default();
        }
        Ok(of)
    }

    /// So many words at `offset`, a multiple of 4; none lie anywhere.
    pub fn words(self, offset: u32, count: Option<usize>) -> Result<&'a [u32], Fault> {
        Ok(bytemuck::try_cast_slice(self.bytes(offset, count, size_of::<u32>())?).unwrap_or_default())
    }

    /// So many int8 values at `offset`.
    pub fn int8(self, offset: u32, count: Option<usize>) -> Result<&'a [i8], Fault> {
        self.bytes(offset, count, 1).map(bytemuck::must_cast_slice)
    }

    /// The bytes of `count` values of `unit` bytes, which lie on a multiple of that.
    #[inline(never)]
    fn bytes(self, offset: u32, count: Option<usize>, unit: usize) -> Result<&'a [u8], Fault> {
        let offset = offset as usize;
        let length = count.and_then(|count| product(&[count, unit])).ok_or(Fault::OutOfBounds)?;
        if length == 0 {
            return Ok(&[]);
        }
        let bytes = self.0.get(offset..).and_then(|rest| rest.get(..length)).ok_or(Fault::OutOfBounds)?;
        // The data section itself lies on a multiple of 16, and units are powers of two.
        if offset & unit.wrapping_sub(1) == 0 { Ok(bytes) } else { Err(Fault::Misaligned) }
    }
}

/// The offset behind `blocks` blocks of so many bytes at `offset`.
// One copy for all heads.
#[inline(never)]
fn after(offset: u32, blocks: u32, bytes: Option<usize>) -> Result<u32, Fault> {
    let bytes = bytes.and_then(|bytes| product(&[blocks as usize, bytes])).ok_or(Fault::OutOfBounds)?;
    offset.checked_add(bytes as u32).ok_or(Fault::OutOfBounds)
}

/// What can be wrong with a part.
// A whole word: results with it are moved by words, which is smaller code.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Fault {
    Description,
    Input,
    Geometry,
    OutOfBounds,
    Misaligned,
    Places,
    Constants,
    Head,
}

impl Fault {
    fn of(self, part: Part) -> ModelError {
        match (self, part) {
            (Self::Description, _) => ModelError::Blob(BlobError::Description),
            (Self::Input, _) => ModelError::Input,
            (Self::Geometry, Part::Layer(layer)) => ModelError::Geometry { layer },
            (Self::OutOfBounds, part) => ModelError::OutOfBounds { part },
            (Self::Misaligned, part) => ModelError::Misaligned { part },
            (Self::Places, part) => ModelError::Places { part },
            (Self::Constants, part) => ModelError::Constants { part },
            (Self::Head | Self::Geometry, part) => ModelError::Head { part },
        }
    }
}

/// Whether the bits of a number are those of a finite one above 0, without a float instruction.
fn is_positive(bits: u32) -> bool {
    (1..f32::INFINITY.to_bits()).contains(&bits)
}

/// Whether the bits of a number are those of a finite one, without a float instruction.
fn is_finite(bits: u32) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    bits & EXPONENT != EXPONENT
}

/// Whether numbers are finite and never rise, without a float instruction; -0 counts as less than 0.
fn is_falling(numbers: &[f32]) -> bool {
    // As integers, the numbers have the same order, but for those below 0, which have the reverse.
    let mut before = i32::MAX;
    numbers.iter().all(|number| {
        let bits = number.to_bits();
        let key = bits as i32 ^ ((bits as i32 >> 31) as u32 >> 1) as i32;
        let falls = key <= before && is_finite(bits);
        before = key;
        falls
    })
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(number) => write!(f, "layer {number}"),
            Self::Heads => f.write_str("the heads"),
            Self::Embedding => f.write_str("the embedding"),
            Self::Hash => f.write_str("the hash head"),
            Self::Clusters => f.write_str("the clusters"),
            Self::Experts => f.write_str("the experts"),
            Self::Golden => f.write_str("the golden vectors"),
        }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model cannot run: ")?;
        match self {
            Self::Blob(error) => error.fmt(f),
            Self::Input => f.write_str("its input has no size, too many values, no valid scale or offset, or indices that no dense layer reads"),
            Self::Geometry { layer } => {
                write!(f, "layer {layer}: its window does not fit its input, a size is 0, or it has too many values")
            }
            Self::OutOfBounds { part } => {
                write!(f, "{part}: a table reaches past the end of the data")
            }
            Self::Misaligned { part } => write!(f, "{part}: a table or scratch lies off its alignment"),
            Self::Places { part } => write!(f, "{part}: what is read and what is written meet in the arena"),
            Self::Constants { part } => write!(f, "{part}: a constant lies outside its range"),
            Self::Head { part } => write!(f, "{part}: a size is too small, too large, or does not fit another head's"),
            Self::Card => f.write_str("its card does not decode"),
        }
    }
}

impl core::error::Error for ModelError {}
