//! A model: a blob whose every length, offset and constant has been checked.

use core::fmt;

use bytemuck::AnyBitPattern;
use eigenlet_shared::blob::{Blob, BlobError};
use eigenlet_shared::description::{Card, Clusters, Description, Embedding, Hash, IndexList, Layer, MAX_INDEXED, Raw};

use crate::geometry::{Shape, product};
use crate::sample::Sample;
use crate::step::Steps;

/// A model that can run. It borrows the blob's bytes, and takes some 900 bytes itself.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    blob: Blob<'a>,
    input: Shape,
    features: usize,
    bits: u16,
    clusters: u16,
    arena: usize,
    tables: Tables<'a>,
}

/// What the heads read; an absent head's is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables<'a> {
    /// Rows with a channel each.
    pub embedding: Rows<'a>,
    /// The same, of all experts.
    pub experts: Rows<'a>,
    /// Rows with a threshold or a bias each; none where the code is made of experts.
    pub hash: Rows<'a>,
    /// Prototypes, rows with a bias each, or centres.
    pub clusters: Rows<'a>,
}

/// A part of a model, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Part {
    /// The layer of that number, from 0.
    Layer(u8),
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
    /// A table of numbers wider than a byte does not lie on a multiple of their size.
    Misaligned {
        /// Whose table it is.
        part: Part,
    },
    /// A constant lies outside its range: a multiplier, a shift, an activation's range, a scale, eigenvalues.
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

/// Rows of int8 values, and some constants for each: a bias or a threshold, the three of a [`Channel`], or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rows<'a> {
    pub values: &'a [i8],
    pub constants: &'a [i32],
}

impl<'a> Model<'a> {
    /// Reads a model in place. After this, running it cannot fail but for the arguments given there.
    ///
    /// `bytes` lie on a 16-byte boundary and may be longer than the model (a flash region). Costs one pass over them.
    ///
    /// # Errors
    /// Any [`ModelError`] but [`ModelError::Card`]; the card is decoded by [`Model::card`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let blob = Blob::parse(bytes).map_err(ModelError::Blob)?;
        let mut model = Self {
            blob,
            // What follows from the description is found below, where it lies by then: copied apart, it would be more code.
            input: Shape { height: 0, width: 0, channels: 0 },
            features: 0,
            bits: 0,
            clusters: 0,
            arena: 0,
            tables: Tables::default(),
        };
        let Description { input, layers, hash, clusters, .. } = &model.blob.description;
        let [height, width, channels] = input.shape.map(usize::from);
        if !is_positive(input.scale) || !is_finite(input.offset) {
            return Err(ModelError::Input);
        }
        model.input = Shape::new(height, width, channels).ok_or(ModelError::Input)?;
        model.bits = hash.map_or(0, Hash::bits);
        model.clusters = clusters.map_or(0, Clusters::count);
        match input.raw {
            Raw::U8 => model.arena = model.input.len(),
            // The first layer reads them where they lie.
            Raw::Indices => {
                if !matches!(layers.first(), Some(Layer::Dense(_))) || model.input.len() > MAX_INDEXED {
                    return Err(ModelError::Input);
                }
            }
        }
        let mut part = Part::Layer(0);
        match model.check(&mut part) {
            Ok(()) => Ok(model),
            Err(fault) => Err(fault.of(part)),
        }
    }

    /// Checks one part after another; `part` is the one at hand.
    fn check(&mut self, part: &mut Part) -> Result<(), Fault> {
        self.check_layers(part)?;
        let dims = self.dims().max(self.expert_dims());
        self.arena = self.arena.max(self.features.saturating_add(dims.into()));
        self.tables = self.check_heads(part)?;
        *part = Part::Golden;
        GoldenList::ALL.iter().try_for_each(|list| self.check_golden(*list))?;
        let mut samples = 0..self.blob.description.golden.count;
        match self.raw() {
            Raw::U8 => Ok(()),
            Raw::Indices => samples.try_for_each(|number| self.golden_indices(number).map(|_| ())),
        }
    }

    fn check_layers(&mut self, part: &mut Part) -> Result<(), Fault> {
        // What of the arena is taken at most, and by a step's input.
        let (mut arena, mut taken) = (self.arena, self.arena);
        let mut shape = self.input;
        for (number, step) in self.steps().enumerate() {
            *part = Part::Layer(number as u8);
            let step = step?;
            if let Some(table) = step.weighted()
                && !table.channels.iter().all(|channel| is_lawful(channel.multiplier, channel.shift))
            {
                return Err(Fault::Constants);
            }
            shape = step.output;
            arena = arena.max(taken.checked_add(shape.len()).ok_or(Fault::Geometry)?);
            taken = shape.len();
        }
        (self.features, self.arena) = (shape.len(), arena);
        Ok(())
    }

    fn check_heads(&self, part: &mut Part) -> Result<Tables<'a>, Fault> {
        let Description { embedding, experts, hash, clusters, .. } = &self.blob.description;
        let mut tables = Tables::default();
        if let Some(head) = embedding {
            *part = Part::Embedding;
            tables.embedding = self.check_embeddings(head, 1)?;
        }
        if let Some(head) = experts {
            *part = Part::Experts;
            tables.experts = self.check_embeddings(head, self.clusters)?;
        }
        if let Some(head) = hash {
            *part = Part::Hash;
            let (rows, weights, constants) = match *head {
                Hash::Thresholds { bits, weights, thresholds } => (bits.into(), weights, thresholds),
                Hash::Product { heads, classes, weights, biases } => {
                    (product_of(heads.into(), classes), weights, biases)
                }
                Hash::Experts { classes, rows } => {
                    if classes != self.experts() || rows > self.expert_dims() {
                        return Err(Fault::Head);
                    }
                    (0, 0, 0)
                }
            };
            if self.bits == 0 {
                return Err(Fault::Head);
            }
            tables.hash = self.rows(rows, (weights, self.features), (constants, 1))?;
        }
        if let Some(head) = clusters {
            *part = Part::Clusters;
            let (valid, values, columns, constants, words) = match *head {
                Clusters::Prototypes { dims, prototypes, .. } => {
                    (dims > 0 && dims <= self.dims(), prototypes, dims.into(), 0, 0)
                }
                Clusters::Linear { weights, biases, .. } => (true, weights, self.features, biases, 1),
                Clusters::Residual { centres, shift, scale_shift, .. } => {
                    if shift > 31 || scale_shift > 63 {
                        return Err(Fault::Constants);
                    }
                    // More features could be farther away than 32 bits hold.
                    let valid = experts.is_some() && self.features <= u16::MAX.into();
                    (valid, centres, self.features, 0, 0)
                }
            };
            if !valid || self.clusters == 0 {
                return Err(Fault::Head);
            }
            tables.clusters = self.rows(self.clusters.into(), (values, columns), (constants, words))?;
        }
        Ok(tables)
    }

    /// The rows of the embedding, or of `count` experts.
    // One copy for both.
    #[inline(never)]
    fn check_embeddings(&self, head: &Embedding, count: u16) -> Result<Rows<'a>, Fault> {
        let count = product_of(count, head.rows);
        let rows = self.rows(count, (head.weights, self.features), (head.channels, 3))?;
        let eigenvalues: &[f32] = table(self.blob.data, head.eigenvalues, count, 1)?;
        if count == 0 {
            return Err(Fault::Head);
        }
        let (channels, _) = rows.constants.as_chunks();
        let lawful = channels.iter().all(|[_, multiplier, shift]| is_lawful(*multiplier, *shift));
        let mut eigenvalues = eigenvalues.chunks_exact(usize::from(head.rows).max(1));
        if !lawful || !is_positive(head.scale) || !eigenvalues.all(is_falling) {
            return Err(Fault::Constants);
        }
        Ok(rows)
    }

    // Apart from the loop over lists, which would be unrolled.
    #[inline(never)]
    fn check_golden(&self, list: GoldenList) -> Result<(), Fault> {
        let (offset, columns, unit) = self.golden_list(list);
        bytes(self.blob.data, offset, self.blob.description.golden.count.into(), columns, unit).map(|_| ())
    }

    /// Height, width and channels of a sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The form of a sample.
    pub fn raw(&self) -> Raw {
        self.blob.description.input.raw
    }

    /// Values of the input: the bytes of a sample, or what its indices are below.
    pub fn input_len(&self) -> usize {
        self.input.len()
    }

    /// Values that the layers give and the heads read.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Dimensions of the embedding; 0 where the model has none.
    pub fn dims(&self) -> u16 {
        self.blob.description.embedding.map_or(0, |embedding| embedding.rows)
    }

    /// Bits of the hash code; 0 where the model has none.
    pub fn bits(&self) -> u16 {
        self.bits
    }

    /// Number of clusters; 0 where the model has none.
    pub fn clusters(&self) -> u16 {
        self.clusters
    }

    /// Number of experts, one for each cluster; 0 where the model has none.
    pub fn experts(&self) -> u16 {
        self.blob.description.experts.map_or(0, |_| self.clusters)
    }

    /// Local dimensions, those of each expert; 0 where the model has none.
    pub fn expert_dims(&self) -> u16 {
        self.blob.description.experts.map_or(0, |experts| experts.rows)
    }

    /// Bytes of RAM that running takes for activations: the largest sum of a layer's input and output.
    pub fn arena_bytes(&self) -> usize {
        self.arena
    }

    /// Real value of one raw step of the input, in the sensor's unit.
    pub fn input_scale(&self) -> f32 {
        self.blob.description.input.scale
    }

    /// Real value of raw 0: real = offset + scale * raw.
    pub fn input_offset(&self) -> f32 {
        self.blob.description.input.offset
    }

    /// Real value of one step of the embedding, the same in every dimension; `None` where the model has none.
    pub fn scale(&self) -> Option<f32> {
        self.blob.description.embedding.map(|embedding| embedding.scale)
    }

    /// The embedding's eigenvalues, one a dimension, not rising; empty where the model has no embedding.
    pub fn eigenvalues(&self) -> &'a [f32] {
        self.eigenvalue_table(self.blob.description.embedding, 0)
    }

    /// Whether clusters are chosen by residuals, which are anomaly scores.
    pub(crate) fn scores(&self) -> bool {
        matches!(self.blob.description.clusters, Some(Clusters::Residual { .. }))
    }

    /// Real value of one step of the local embeddings, the same for all experts; `None` where the model has none.
    pub fn expert_scale(&self) -> Option<f32> {
        self.blob.description.experts.map(|experts| experts.scale)
    }

    /// The eigenvalues of one expert, one a local dimension, not rising; empty where the model has no such expert.
    pub fn expert_eigenvalues(&self, expert: u16) -> &'a [f32] {
        self.eigenvalue_table(self.blob.description.experts.filter(|_| expert < self.clusters), expert)
    }

    /// The description as it stands in the blob, for tools that show it.
    pub fn description(&self) -> &Description<'a> {
        &self.blob.description
    }

    /// Where the model comes from and how good it is.
    ///
    /// # Errors
    /// [`ModelError::Card`].
    pub fn card(&self) -> Result<Card<'a>, ModelError> {
        postcard::from_bytes(self.blob.description.card).map_err(|_| ModelError::Card)
    }

    /// The golden vectors.
    pub fn golden(&self) -> impl Iterator<Item = GoldenVector<'a>> {
        (0..self.blob.description.golden.count).map_while(|number| {
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

    // One copy, as for `rows`.
    #[inline(never)]
    pub(crate) fn steps(&self) -> Steps<'_, 'a> {
        Steps::new(self.input, &self.blob.description.layers, self.blob.data)
    }

    pub(crate) fn tables(&self) -> &Tables<'a> {
        &self.tables
    }

    fn eigenvalue_table(&self, head: Option<Embedding>, number: u16) -> &'a [f32] {
        let of = |head: Embedding| {
            let rows = usize::from(head.rows);
            let (before, all) = (product_of(number, head.rows), product_of(number.saturating_add(1), head.rows));
            table(self.blob.data, head.eigenvalues, all, 1).ok()?.get(before..)?.get(..rows)
        };
        head.and_then(of).unwrap_or_default()
    }

    /// `count` rows: the offset and the columns of their values, and the offset of their constants and how many each has.
    // One copy for all heads.
    #[inline(never)]
    fn rows(&self, count: usize, values: (u32, usize), constants: (u32, usize)) -> Result<Rows<'a>, Fault> {
        Ok(Rows {
            values: table(self.blob.data, values.0, count, values.1)?,
            constants: table(self.blob.data, constants.0, count, constants.1)?,
        })
    }

    /// Where a list lies, how many values it has for a sample, and their bytes; no values where the model lacks them.
    // One copy, as for `rows`.
    #[inline(never)]
    fn golden_list(&self, list: GoldenList) -> (u32, usize, usize) {
        let golden = &self.blob.description.golden;
        match list {
            GoldenList::Samples => match self.raw() {
                Raw::U8 => (golden.samples, self.input_len(), 1),
                // The two numbers of an `IndexList`.
                Raw::Indices => (golden.samples, 2, size_of::<u32>()),
            },
            GoldenList::Embeddings => (golden.embeddings, self.dims().into(), 1),
            GoldenList::Codes => (golden.codes, usize::from(self.bits).div_ceil(8), 1),
            GoldenList::Clusters => (golden.clusters, (self.clusters > 0).into(), size_of::<u16>()),
            GoldenList::Experts => (golden.experts, self.expert_dims().into(), 1),
            GoldenList::Scores => (golden.scores, self.scores().into(), size_of::<u32>()),
        }
    }

    /// A sample in its form; `None` where the model has none of that number.
    pub(crate) fn golden_sample(&self, number: u16) -> Option<Sample<'a>> {
        match self.raw() {
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
        table(self.blob.data, list.offset, list.count as usize, 1)
    }

    /// A sample's bytes in a list; `None` where the model lacks them.
    // One copy, as for `rows`.
    #[inline(never)]
    pub(crate) fn golden_values(&self, list: GoldenList, number: u16) -> Option<&'a [u8]> {
        if number >= self.blob.description.golden.count {
            return None;
        }
        let (offset, columns, unit) = self.golden_list(list);
        let width = columns.wrapping_mul(unit);
        let start = (offset as usize).wrapping_add(usize::from(number).wrapping_mul(width));
        self.blob.data.get(start..)?.get(..width).filter(|values| !values.is_empty())
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

/// At most 65535^2, which 32 bits hold.
fn product_of(a: u16, b: u16) -> usize {
    usize::from(a).wrapping_mul(b.into())
}

/// What can be wrong with a part.
// A whole word: results with it are moved by words, which is smaller code.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Fault {
    Geometry,
    OutOfBounds,
    Misaligned,
    Constants,
    Head,
}

impl Fault {
    fn of(self, part: Part) -> ModelError {
        match (self, part) {
            (Self::Geometry, Part::Layer(layer)) => ModelError::Geometry { layer },
            (Self::OutOfBounds, part) => ModelError::OutOfBounds { part },
            (Self::Misaligned, part) => ModelError::Misaligned { part },
            (Self::Constants, part) => ModelError::Constants { part },
            (Self::Head | Self::Geometry, part) => ModelError::Head { part },
        }
    }
}

/// The `[rows][columns]` values at `offset` of the data section; none lie anywhere.
pub(crate) fn table<T: AnyBitPattern>(data: &[u8], offset: u32, rows: usize, columns: usize) -> Result<&[T], Fault> {
    let unit = align_of::<T>();
    let units = size_of::<T>().checked_div(unit).unwrap_or_default();
    let bytes = bytes(data, offset, rows, columns.wrapping_mul(units), unit)?;
    Ok(bytemuck::try_cast_slice(bytes).unwrap_or_default())
}

/// The bytes of `[rows][columns]` values of `unit` bytes, which lie on a multiple of that.
// One copy for tables of every type.
#[inline(never)]
fn bytes(data: &[u8], offset: u32, rows: usize, columns: usize, unit: usize) -> Result<&[u8], Fault> {
    let offset = offset as usize;
    match product(&[rows, columns, unit]) {
        Some(0) => Ok(&[]),
        Some(length) => {
            let bytes = data.get(offset..).and_then(|rest| rest.get(..length)).ok_or(Fault::OutOfBounds)?;
            // The data section itself lies on a multiple of 16.
            if offset.is_multiple_of(unit) { Ok(bytes) } else { Err(Fault::Misaligned) }
        }
        None => Err(Fault::OutOfBounds),
    }
}

/// Whether a channel's constants are in their ranges.
fn is_lawful(multiplier: i32, shift: i32) -> bool {
    (0..=31).contains(&shift) && (multiplier == 0 || multiplier >= 1 << 30)
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
            Self::Misaligned { part } => write!(f, "{part}: a table lies off its alignment"),
            Self::Constants { part } => write!(f, "{part}: a constant lies outside its range"),
            Self::Head { part } => write!(f, "{part}: a size is too small, too large, or does not fit another head's"),
            Self::Card => f.write_str("its card does not decode"),
        }
    }
}

impl core::error::Error for ModelError {}
