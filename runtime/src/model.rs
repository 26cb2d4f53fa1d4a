//! A model: a blob whose every length, offset, place and constant has been checked.

use core::fmt;
use core::ops::Range;

use bytemuck::AnyBitPattern;
use eigenlet_shared::blob::{Blob, BlobError};
use eigenlet_shared::description::{self, Clusters, Embedding, Golden, Hash, IndexList, MAX_INDEXED, Places, Raw};
#[cfg(feature = "card")]
use eigenlet_shared::description::{Card, Description};
use eigenlet_shared::geometry::{Shape, product};
use eigenlet_shared::numerics::{INPUT_ZERO_POINT_U8, Scale};
use eigenlet_shared::packed::{self, widened_words};
use eigenlet_shared::reader::Cursor;

use crate::kernels::Rows;
use crate::sample::Sample;
use crate::step::{Operation, Steps, Tensor};

/// A model that can run. It borrows the blob's bytes, and takes some 200 bytes itself: layers are read where they lie, too.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    data: Data<'a>,
    input: Tensor,
    raw: Raw,
    /// Real value of a raw step, and of raw 0.
    unit: [f32; 2],
    /// At the first layer.
    layers: Cursor<'a>,
    layer_count: usize,
    features: Tensor,
    heads: Places,
    embedding: Embedding,
    hash: Option<Hash>,
    clusters: Option<Clusters>,
    experts: Embedding,
    golden: Golden,
    #[cfg(feature = "card")]
    blob: Blob<'a>,
    arena: usize,
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
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let blob = Blob::parse(bytes).map_err(ModelError::Blob)?;
        let mut cursor = Cursor::new(blob.description);
        let input = cursor.input();
        let [height, width, channels] = input.shape.map(usize::from);
        if !is_positive(input.scale) || !is_finite(input.offset) {
            return Err(ModelError::Input);
        }
        let shape = Shape::new(height, width, channels).ok_or(ModelError::Input)?;
        if input.raw == Raw::Indices && shape.len() > MAX_INDEXED {
            return Err(ModelError::Input);
        }
        // Only padding reads the zero point, and the layer that reads an input of indices is dense.
        let tensor = Tensor { shape, place: input.place as usize, zero_point: INPUT_ZERO_POINT_U8 };
        let mut model = Self {
            data: Data(blob.data),
            input: tensor,
            raw: input.raw,
            unit: [input.scale, input.offset],
            layer_count: cursor.layers(),
            layers: cursor,
            features: tensor,
            heads: Places::default(),
            embedding: Embedding::default(),
            hash: None,
            clusters: None,
            experts: Embedding::default(),
            golden: Golden::default(),
            #[cfg(feature = "card")]
            blob,
            arena: 0,
        };
        let mut part = Part::Layer(0);
        match model.check(&mut part) {
            Ok(()) => Ok(model),
            Err(fault) => Err(fault.of(part)),
        }
    }

    /// Checks one part after another; `part` is the one at hand.
    fn check(&mut self, part: &mut Part) -> Result<(), Fault> {
        let mut steps = self.steps();
        let mut number = 0;
        for step in steps.by_ref() {
            *part = Part::Layer(number);
            let step = step?;
            let [input, scratch, output] = step.regions();
            // The first layer of all, where it is dense, reads the sample where it lies.
            let is_dense = matches!(step.operation, Operation::Dense(..));
            match (is_dense, number) {
                // Indices are not even widened.
                (true, 0) if self.raw == Raw::Indices => self.claim([0..0, 0..0, output])?,
                (true, 0) => self.claim([0..0, scratch, output])?,
                (true, _) => {
                    self.claim([input, scratch.clone(), 0..0])?;
                    self.claim([0..0, scratch, output])?;
                }
                (false, 0) if self.raw == Raw::Indices => return Err(Fault::Input),
                (false, _) => self.claim([input, scratch, output])?,
            }
            number = number.wrapping_add(1);
        }
        if self.raw == Raw::Indices && number == 0 {
            return Err(Fault::Input);
        }
        self.features = steps.tensor;
        *part = Part::Heads;
        let cursor = &mut steps.cursor;
        self.heads = cursor.places();
        let embedding = cursor.embedding();
        self.embedding = embedding.unwrap_or_default();
        self.hash = cursor.hash();
        self.clusters = cursor.clusters();
        let experts = cursor.embedding();
        self.experts = experts.unwrap_or_default();
        self.golden = cursor.golden();
        cursor.card();
        if cursor.failed() {
            return Err(Fault::Description);
        }
        self.claim(self.regions())?;
        if embedding.is_some() {
            *part = Part::Embedding;
            self.check_embedding(&self.embedding, 1)?;
        }
        if experts.is_some() {
            *part = Part::Experts;
            self.check_embedding(&self.experts, self.clusters())?;
        }
        self.check_heads(part)?;
        *part = Part::Golden;
        GoldenList::ALL.iter().try_for_each(|list| self.check_golden(*list))?;
        match self.raw {
            Raw::U8 => Ok(()),
            Raw::Indices => (0..self.golden.count).try_for_each(|number| self.golden_indices(number).map(|_| ())),
        }
    }

    /// Checks that regions of the arena are apart and scratch is aligned; the arena is large enough for them from then on.
    #[inline(never)]
    fn claim(&mut self, [a, b, c]: [Range<usize>; 3]) -> Result<(), Fault> {
        if !b.start.is_multiple_of(align_of::<u32>()) {
            return Err(Fault::Misaligned);
        }
        let apart = |a: &Range<usize>, b: &Range<usize>| a.end <= b.start || b.end <= a.start;
        if !apart(&a, &b) || !apart(&b, &c) || !apart(&a, &c) {
            return Err(Fault::Places);
        }
        for region in [a, b, c] {
            // A place is any u32, and a tensor less than 2^31: on a chip, the sum may wrap.
            if region.end < region.start || region.end > i32::MAX as usize {
                return Err(Fault::Places);
            }
            self.arena = self.arena.max(region.end);
        }
        Ok(())
    }

    /// Where the heads read, work and write.
    pub(crate) fn regions(&self) -> [Range<usize>; 3] {
        let region = |place: u32, bytes: usize| place as usize..(place as usize).wrapping_add(bytes);
        let widened = widened_words(self.features.shape.len()).wrapping_mul(size_of::<u32>());
        let rows = self.embedding.count.max(self.experts.count);
        // Of no meaning without rows: nothing would lie anywhere, and could lie in what does.
        let output = if rows > 0 { self.heads.output } else { 0 };
        [self.features.range(), region(self.heads.scratch, widened), region(output, rows.into())]
    }

    /// The hash and the clusters.
    fn check_heads(&self, part: &mut Part) -> Result<(), Fault> {
        let columns = self.features();
        if let Some(hash) = self.hash {
            *part = Part::Hash;
            if self.bits() == 0 {
                return Err(Fault::Head);
            }
            let count = match hash {
                Hash::Thresholds { .. } => 1,
                Hash::Product { heads, .. } => heads.into(),
                Hash::Experts { classes, rows } => {
                    if classes != self.experts() || rows > self.expert_dims() {
                        return Err(Fault::Head);
                    }
                    0
                }
            };
            (0..count).try_for_each(|number| self.hash_rows(number).map(|_| ()))?;
        }
        if let Some(clusters) = self.clusters {
            *part = Part::Clusters;
            let valid = match clusters {
                Clusters::Prototypes { dims, .. } => {
                    self.prototypes()?;
                    dims > 0 && dims <= self.dims()
                }
                Clusters::Linear { count, weights, biases } => {
                    self.data.sums(weights, biases, count.into(), columns)?;
                    true
                }
                Clusters::Residual { shift, scale_shift, .. } => {
                    if shift > 31 || scale_shift > 63 {
                        return Err(Fault::Constants);
                    }
                    self.prototypes()?;
                    // More features could be farther away than 32 bits hold.
                    self.experts.count > 0 && columns <= u16::MAX.into()
                }
            };
            if !valid || self.clusters() == 0 {
                return Err(Fault::Head);
            }
        }
        Ok(())
    }

    /// The rows of the embedding, or of `blocks` experts.
    // One copy for both.
    #[inline(never)]
    fn check_embedding(&self, head: &Embedding, blocks: u16) -> Result<(), Fault> {
        for block in 0..blocks {
            let rows = self.block(head, block)?;
            let eigenvalues = self.eigenvalue_table(head, block)?;
            let lawful = rows.scales.iter().all(|scale| scale.is_lawful(0));
            if !lawful || !is_positive(head.scale) || !is_falling(eigenvalues) {
                return Err(Fault::Constants);
            }
        }
        if blocks == 0 || head.count == 0 { Err(Fault::Head) } else { Ok(()) }
    }

    // Apart from the loop over lists, which would be unrolled.
    #[inline(never)]
    fn check_golden(&self, list: GoldenList) -> Result<(), Fault> {
        let (offset, columns, unit) = self.golden_list(list);
        self.data.bytes(offset, self.golden.count.into(), columns, unit).map(|_| ())
    }

    /// The rows of the embedding, or of an expert.
    #[inline(never)]
    pub(crate) fn block(&self, head: &Embedding, block: u16) -> Result<Rows<'a>, Fault> {
        let (count, columns) = (usize::from(head.count), self.features());
        let before = usize::from(block).wrapping_mul(count);
        let rows = head.rows;
        let at = description::Rows {
            weights: after(rows.weights, block, packed::words(count, columns), size_of::<u32>())?,
            biases: after(rows.biases, 1, before, size_of::<i32>())?,
            scales: after(rows.scales, 1, before, size_of::<Scale>())?,
        };
        self.data.rows(at, count, columns)
    }

    /// The rows of the embedding.
    pub(crate) fn embedding_rows(&self) -> Rows<'a> {
        self.block(&self.embedding, 0).unwrap_or_default()
    }

    /// The rows of an expert.
    pub(crate) fn expert_rows(&self, expert: u16) -> Rows<'a> {
        self.block(&self.experts, expert).unwrap_or_default()
    }

    /// The rows of the thresholds, or of a head of a product code.
    #[inline(never)]
    pub(crate) fn hash_rows(&self, head: u16) -> Result<Rows<'a>, Fault> {
        let columns = self.features();
        match self.hash {
            Some(Hash::Thresholds { bits, weights, biases }) => self.data.sums(weights, biases, bits.into(), columns),
            Some(Hash::Product { classes, weights, biases, .. }) => {
                let rows = usize::from(classes);
                let weights = after(weights, head, packed::words(rows, columns), size_of::<u32>())?;
                let biases = after(biases, head, rows, size_of::<i32>())?;
                self.data.sums(weights, biases, rows, columns)
            }
            Some(Hash::Experts { .. }) | None => Ok(Rows::default()),
        }
    }

    /// The rows of linear clusters.
    pub(crate) fn cluster_rows(&self) -> Rows<'a> {
        match self.clusters {
            Some(Clusters::Linear { count, weights, biases }) => {
                self.data.sums(weights, biases, count.into(), self.features()).unwrap_or_default()
            }
            _ => Rows::default(),
        }
    }

    /// Prototypes, or centres: one row for each cluster.
    #[inline(never)]
    pub(crate) fn prototypes(&self) -> Result<&'a [i8], Fault> {
        match self.clusters {
            Some(Clusters::Prototypes { count, dims, prototypes }) => {
                self.data.table(prototypes, count.into(), dims.into())
            }
            Some(Clusters::Residual { count, centres, .. }) => self.data.table(centres, count.into(), self.features()),
            _ => Ok(&[]),
        }
    }

    pub(crate) fn hash_head(&self) -> Option<Hash> {
        self.hash
    }

    pub(crate) fn cluster_head(&self) -> Option<Clusters> {
        self.clusters
    }

    pub(crate) fn input_tensor(&self) -> Tensor {
        self.input
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
        self.embedding.count
    }

    /// Bits of the hash code; 0 where the model has none.
    pub fn bits(&self) -> u16 {
        self.hash.map_or(0, Hash::bits)
    }

    /// Number of clusters; 0 where the model has none.
    pub fn clusters(&self) -> u16 {
        self.clusters.map_or(0, Clusters::count)
    }

    /// Number of experts, one for each cluster; 0 where the model has none.
    pub fn experts(&self) -> u16 {
        if self.experts.count > 0 { self.clusters() } else { 0 }
    }

    /// Local dimensions, those of each expert; 0 where the model has none.
    pub fn expert_dims(&self) -> u16 {
        self.experts.count
    }

    /// Bytes of RAM that running takes for activations, as the exporter laid them out.
    pub fn arena_bytes(&self) -> usize {
        self.arena
    }

    /// Real value of one raw step of the input, in the sensor's unit.
    pub fn input_scale(&self) -> f32 {
        let [scale, _] = self.unit;
        scale
    }

    /// Real value of raw 0: real = offset + scale * raw.
    pub fn input_offset(&self) -> f32 {
        let [_, offset] = self.unit;
        offset
    }

    /// Real value of one step of the embedding, the same in every dimension; `None` where the model has none.
    pub fn scale(&self) -> Option<f32> {
        (self.embedding.count > 0).then_some(self.embedding.scale)
    }

    /// The embedding's eigenvalues, one a dimension, not rising; empty where the model has no embedding.
    pub fn eigenvalues(&self) -> &'a [f32] {
        self.eigenvalue_table(&self.embedding, 0).unwrap_or_default()
    }

    /// Whether clusters are chosen by residuals, which are anomaly scores.
    pub(crate) fn scores(&self) -> bool {
        matches!(self.clusters, Some(Clusters::Residual { .. }))
    }

    /// Real value of one step of the local embeddings, the same for all experts; `None` where the model has none.
    pub fn expert_scale(&self) -> Option<f32> {
        (self.experts.count > 0).then_some(self.experts.scale)
    }

    /// The eigenvalues of one expert, one a local dimension, not rising; empty where the model has no such expert.
    pub fn expert_eigenvalues(&self, expert: u16) -> &'a [f32] {
        if expert >= self.experts() {
            return &[];
        }
        self.eigenvalue_table(&self.experts, expert).unwrap_or_default()
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
        (0..self.golden.count).map_while(|number| {
            let values = |list| self.golden_values(list, number);
            Some(GoldenVector {
                sample: self.golden_sample(number)?,
                embedding: values(GoldenList::Embeddings).map(bytemuck::cast_slice),
                code: values(GoldenList::Codes),
                cluster: values(GoldenList::Clusters).and_then(as_array).map(u16::from_le_bytes),
                expert: values(GoldenList::Experts).map(bytemuck::cast_slice),
                score: values(GoldenList::Scores).and_then(as_array).map(u32::from_le_bytes),
            })
        })
    }

    pub(crate) fn steps(&self) -> Steps<'a> {
        Steps::new(self.data, self.layers, self.layer_count, self.input)
    }

    fn eigenvalue_table(&self, head: &Embedding, block: u16) -> Result<&'a [f32], Fault> {
        let count = usize::from(head.count);
        self.data.table(after(head.eigenvalues, block, count, size_of::<f32>())?, count, 1)
    }

    /// Where a list lies, how many values it has for a sample, and their bytes; no values where the model lacks them.
    // One copy, as for `rows`.
    #[inline(never)]
    fn golden_list(&self, list: GoldenList) -> (u32, usize, usize) {
        let golden = &self.golden;
        match list {
            GoldenList::Samples => match self.raw {
                Raw::U8 => (golden.samples, self.input_len(), 1),
                // The two numbers of an `IndexList`.
                Raw::Indices => (golden.samples, 2, size_of::<u32>()),
            },
            GoldenList::Embeddings => (golden.embeddings, self.dims().into(), 1),
            GoldenList::Codes => (golden.codes, usize::from(self.bits()).div_ceil(8), 1),
            GoldenList::Clusters => (golden.clusters, (self.clusters() > 0).into(), size_of::<u16>()),
            GoldenList::Experts => (golden.experts, self.expert_dims().into(), 1),
            GoldenList::Scores => (golden.scores, self.scores().into(), size_of::<u32>()),
        }
    }

    /// A sample in its form; `None` where the model has none of that number.
    pub(crate) fn golden_sample(&self, number: u16) -> Option<Sample<'a>> {
        match self.raw {
            Raw::U8 => self.golden_values(GoldenList::Samples, number).map(Sample::Bytes),
            Raw::Indices => self.golden_indices(number).ok().map(Sample::Indices),
        }
    }

    /// The indices of a sample as they stand: whether they rise is looked at when it runs.
    // One copy, as for `rows`.
    #[inline(never)]
    fn golden_indices(&self, number: u16) -> Result<&'a [u16], Fault> {
        let list = self.golden_values(GoldenList::Samples, number).ok_or(Fault::OutOfBounds)?;
        let list: IndexList = bytemuck::try_pod_read_unaligned(list).unwrap_or_default();
        self.data.table(list.offset, list.count as usize, 1)
    }

    /// A sample's bytes in a list; `None` where the model lacks them.
    // One copy, as for `rows`.
    #[inline(never)]
    pub(crate) fn golden_values(&self, list: GoldenList, number: u16) -> Option<&'a [u8]> {
        if number >= self.golden.count {
            return None;
        }
        let (offset, columns, unit) = self.golden_list(list);
        let width = columns.wrapping_mul(unit);
        let start = (offset as usize).wrapping_add(usize::from(number).wrapping_mul(width));
        self.data.0.get(start..)?.get(..width).filter(|values| !values.is_empty())
    }
}

/// The lists of the golden vectors.
#[derive(Clone, Copy)]
pub(crate) enum GoldenList {
    Samples,
    Embeddings,
    Codes,
    Clusters,
    Experts,
    Scores,
}

impl GoldenList {
    const ALL: [Self; 6] = [Self::Samples, Self::Embeddings, Self::Codes, Self::Clusters, Self::Experts, Self::Scores];
}

pub(crate) fn as_array<const BYTES: usize>(bytes: &[u8]) -> Option<[u8; BYTES]> {
    bytes.first_chunk().copied()
}

/// The data section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a>(&'a [u8]);

impl<'a> Data<'a> {
    /// Packed rows with their biases and scales.
    // One copy for all layers and heads, as what follows.
    #[inline(never)]
    pub fn rows(self, at: description::Rows, rows: usize, columns: usize) -> Result<Rows<'a>, Fault> {
        let constants = self.constants(at, rows)?;
        Ok(Rows { words: self.packed(at.weights, rows, columns)?, rows, columns, ..constants })
    }

    fn packed(self, offset: u32, rows: usize, columns: usize) -> Result<&'a [u32], Fault> {
        // Below 2^31, the number of words does not wrap.
        product(&[rows, columns]).ok_or(Fault::OutOfBounds)?;
        self.table(offset, packed::words(rows, columns), 1)
    }

    /// Biases and scales without packed weights.
    #[inline(never)]
    pub fn constants(self, at: description::Rows, rows: usize) -> Result<Rows<'a>, Fault> {
        let (biases, scales) = (self.table(at.biases, rows, 1)?, self.table(at.scales, rows, 1)?);
        Ok(Rows { words: &[], rows, columns: 0, biases, scales })
    }

    /// Packed rows of which only the sums are wanted.
    #[inline(never)]
    pub fn sums(self, weights: u32, biases: u32, rows: usize, columns: usize) -> Result<Rows<'a>, Fault> {
        let words = self.packed(weights, rows, columns)?;
        Ok(Rows { words, rows, columns, biases: self.table(biases, rows, 1)?, scales: &[] })
    }

    /// The `[rows][columns]` values at `offset`; none lie anywhere.
    pub fn table<T: AnyBitPattern>(self, offset: u32, rows: usize, columns: usize) -> Result<&'a [T], Fault> {
        let unit = align_of::<T>();
        let units = size_of::<T>().checked_div(unit).unwrap_or_default();
        let bytes = self.bytes(offset, rows, columns.wrapping_mul(units), unit)?;
        Ok(bytemuck::try_cast_slice(bytes).unwrap_or_default())
    }

    /// The bytes of `[rows][columns]` values of `unit` bytes, which lie on a multiple of that.
    // One copy for tables of every type.
    #[inline(never)]
    fn bytes(self, offset: u32, rows: usize, columns: usize, unit: usize) -> Result<&'a [u8], Fault> {
        let offset = offset as usize;
        match product(&[rows, columns, unit]) {
            Some(0) => Ok(&[]),
            Some(length) => {
                let bytes = self.0.get(offset..).and_then(|rest| rest.get(..length)).ok_or(Fault::OutOfBounds)?;
                // The data section itself lies on a multiple of 16.
                if offset.is_multiple_of(unit) { Ok(bytes) } else { Err(Fault::Misaligned) }
            }
            None => Err(Fault::OutOfBounds),
        }
    }
}

/// The offset behind `blocks` blocks of so many values of `unit` bytes at `offset`.
// One copy for all heads.
#[inline(never)]
fn after(offset: u32, blocks: u16, values: usize, unit: usize) -> Result<u32, Fault> {
    let bytes = product(&[blocks.into(), values, unit]).ok_or(Fault::OutOfBounds)?;
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

/// Whether a number is finite and above 0, without a float instruction.
fn is_positive(number: f32) -> bool {
    (1..f32::INFINITY.to_bits()).contains(&number.to_bits())
}

/// Whether a number is finite, without a float instruction.
fn is_finite(number: f32) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    number.to_bits() & EXPONENT != EXPONENT
}

/// Whether numbers are finite and never rise, without a float instruction; -0 counts as less than 0.
fn is_falling(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| is_finite(*number)) && numbers.is_sorted_by(|a, b| a.total_cmp(b).is_ge())
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
