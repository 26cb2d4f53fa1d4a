//! A model: a blob whose every length, offset and constant has been checked.

use core::fmt;

use bytemuck::AnyBitPattern;
use eigenlet_shared::blob::{Blob, BlobError};
use eigenlet_shared::description::{Card, Clusters, Description, Embedding, Hash, Raw, class_bits};
use eigenlet_shared::numerics::Channel;

use crate::geometry::{Shape, product};
use crate::step::Steps;

/// A model that can run. It borrows the blob's bytes, and takes some 800 bytes itself.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    description: Description<'a>,
    data: &'a [u8],
    input: Shape,
    features: usize,
    arena: usize,
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
    /// The input has no size, or more than 2^31 - 1 values.
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
    /// A constant lies outside its range: a multiplier, a shift, an activation's range, a scale, an eigenvalue.
    Constants {
        /// Whose constant it is.
        part: Part,
    },
    /// A head has a size of 0, a product code fewer than 2 classes, or prototypes dimensions that the embedding lacks.
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
    /// Raw sensor bytes.
    pub sample: &'a [u8],
    /// All dimensions.
    pub embedding: Option<&'a [i8]>,
    /// All bits, in `bits.div_ceil(8)` bytes.
    pub code: Option<&'a [u8]>,
    /// The cluster's id.
    pub cluster: Option<u16>,
}

/// Rows of int8 weights over the features, with one word of constants for each.
pub(crate) struct Rows<'a, T> {
    pub weights: &'a [i8],
    pub constants: &'a [T],
}

/// A hash head: every `classes` rows give the next `width` bits of the code.
pub(crate) struct CodeRows<'a> {
    pub rows: Rows<'a, i32>,
    /// 1: the row's constant is a threshold. More: the rows are a linear head, which chooses one of them.
    pub classes: u16,
    pub width: u16,
}

/// What the clusters are chosen by.
pub(crate) enum ClusterTable<'a> {
    /// Prototypes int8 `[count][dims]`.
    Prototypes {
        values: &'a [i8],
        dims: u16,
    },
    Linear(Rows<'a, i32>),
}

impl<'a> Model<'a> {
    /// Reads a model in place. After this, running it cannot fail but for the arguments given there.
    ///
    /// `bytes` lie on a 16-byte boundary and may be longer than the model (a flash region). Costs one pass over them.
    ///
    /// # Errors
    /// Any [`ModelError`] but [`ModelError::Card`]; the card is decoded by [`Model::card`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let Blob { description, data } = Blob::parse(bytes).map_err(ModelError::Blob)?;
        let [height, width, channels] = description.input.shape.map(usize::from);
        let input = Shape::new(height, width, channels).ok_or(ModelError::Input)?;
        if !is_positive(description.input.scale) {
            return Err(ModelError::Input);
        }
        let mut model = Self { description, data, input, features: 0, arena: input.len() };
        model.check_layers()?;
        model.check_heads()?;
        model.golden_tables()?;
        Ok(model)
    }

    fn check_layers(&mut self) -> Result<(), ModelError> {
        let (mut shape, mut arena) = (self.input, self.arena);
        for (number, step) in self.steps().enumerate() {
            let (step, layer) = (step?, number as u8);
            if let Some(table) = step.weighted() {
                check_channels(table.channels, Part::Layer(layer))?;
            }
            arena = arena.max(step.arena_bytes().ok_or(ModelError::Geometry { layer })?);
            shape = step.output;
        }
        (self.features, self.arena) = (shape.len(), arena);
        Ok(())
    }

    fn check_heads(&mut self) -> Result<(), ModelError> {
        if let Some(embedding) = self.description.embedding {
            let part = Part::Embedding;
            let rows = self.embedding_rows(&embedding)?;
            if embedding.rows == 0 {
                return Err(ModelError::Head { part });
            }
            check_channels(rows.constants, part)?;
            if !is_positive(embedding.scale) || !is_falling(self.eigenvalue_table(&embedding)?) {
                return Err(ModelError::Constants { part });
            }
            let arena = self.features.checked_add(embedding.rows.into());
            self.arena = self.arena.max(arena.ok_or(ModelError::Head { part })?);
        }
        if let Some(hash) = self.description.hash {
            if hash.bits() == 0 {
                return Err(ModelError::Head { part: Part::Hash });
            }
            self.code_rows(&hash)?;
        }
        if let Some(clusters) = self.description.clusters {
            let valid = match clusters {
                Clusters::Prototypes { count, dims, .. } => count > 0 && dims > 0 && dims <= self.dims(),
                Clusters::Linear { count, .. } => count > 0,
            };
            if !valid {
                return Err(ModelError::Head { part: Part::Clusters });
            }
            self.cluster_rows(&clusters)?;
        }
        Ok(())
    }

    /// Height, width and channels of a sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Bytes of a sample.
    pub fn input_len(&self) -> usize {
        let Raw::U8 = self.description.input.raw;
        self.input.len()
    }

    /// Values that the layers give and the heads read.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Dimensions of the embedding; 0 where the model has none.
    pub fn dims(&self) -> u16 {
        self.description.embedding.map_or(0, |embedding| embedding.rows)
    }

    /// Bits of the hash code; 0 where the model has none.
    pub fn bits(&self) -> u16 {
        self.description.hash.map_or(0, Hash::bits)
    }

    /// Number of clusters; 0 where the model has none.
    pub fn clusters(&self) -> u16 {
        match self.description.clusters {
            Some(Clusters::Prototypes { count, .. } | Clusters::Linear { count, .. }) => count,
            None => 0,
        }
    }

    /// Bytes of RAM that running takes for activations: the largest sum of a layer's input and output.
    pub fn arena_bytes(&self) -> usize {
        self.arena
    }

    /// Real value of one raw step of the input.
    pub fn input_scale(&self) -> f32 {
        self.description.input.scale
    }

    /// Real value of one step of the embedding, the same in every dimension; `None` where the model has none.
    pub fn scale(&self) -> Option<f32> {
        self.description.embedding.map(|embedding| embedding.scale)
    }

    /// The embedding's eigenvalues, one a dimension, not rising; empty where the model has no embedding.
    pub fn eigenvalues(&self) -> &'a [f32] {
        let table = self.description.embedding.map(|embedding| self.eigenvalue_table(&embedding));
        table.and_then(Result::ok).unwrap_or(&[])
    }

    /// The description as it stands in the blob, for tools that show it.
    pub fn description(&self) -> &Description<'a> {
        &self.description
    }

    /// Where the model comes from and how good it is.
    ///
    /// # Errors
    /// [`ModelError::Card`].
    pub fn card(&self) -> Result<Card<'a>, ModelError> {
        postcard::from_bytes(self.description.card).map_err(|_| ModelError::Card)
    }

    /// The golden vectors.
    pub fn golden(&self) -> impl Iterator<Item = GoldenVector<'a>> {
        let (dims, bits) = (usize::from(self.dims()), usize::from(self.bits()));
        let tables = self.golden_tables().unwrap_or_default();
        let mut samples = tables.samples.chunks_exact(self.input_len().max(1));
        let mut embeddings = tables.embeddings.chunks_exact(dims.max(1));
        let mut codes = tables.codes.chunks_exact(bits.div_ceil(8).max(1));
        let mut clusters = tables.clusters.iter();
        core::iter::from_fn(move || {
            Some(GoldenVector {
                sample: samples.next()?,
                embedding: embeddings.next(),
                code: codes.next(),
                cluster: clusters.next().copied(),
            })
        })
    }

    pub(crate) fn steps(&self) -> Steps<'_, 'a> {
        Steps::new(self.input, &self.description.layers, self.data)
    }

    pub(crate) fn embedding(&self) -> Option<Rows<'a, Channel>> {
        self.embedding_rows(self.description.embedding.as_ref()?).ok()
    }

    pub(crate) fn hash(&self) -> Option<CodeRows<'a>> {
        self.code_rows(self.description.hash.as_ref()?).ok()
    }

    pub(crate) fn cluster_table(&self) -> Option<ClusterTable<'a>> {
        self.cluster_rows(self.description.clusters.as_ref()?).ok()
    }

    fn embedding_rows(&self, head: &Embedding) -> Result<Rows<'a, Channel>, ModelError> {
        self.rows(head.weights, head.channels, head.rows.into(), Part::Embedding)
    }

    fn eigenvalue_table(&self, head: &Embedding) -> Result<&'a [f32], ModelError> {
        section(self.data, head.eigenvalues, head.rows.into(), Part::Embedding)
    }

    // One copy, as for `rows`.
    #[inline(never)]
    fn code_rows(&self, head: &Hash) -> Result<CodeRows<'a>, ModelError> {
        let (groups, classes, width, weights, constants) = match *head {
            Hash::Thresholds { bits, weights, thresholds } => (bits, 1, 1, weights, thresholds),
            Hash::Product { heads, classes, weights, biases } => {
                (heads.into(), classes, class_bits(classes), weights, biases)
            }
        };
        let count = usize::from(groups).wrapping_mul(classes.into());
        Ok(CodeRows { rows: self.rows(weights, constants, count, Part::Hash)?, classes, width })
    }

    fn cluster_rows(&self, head: &Clusters) -> Result<ClusterTable<'a>, ModelError> {
        let part = Part::Clusters;
        Ok(match *head {
            Clusters::Prototypes { count, dims, prototypes } => {
                ClusterTable::Prototypes { values: self.matrix(prototypes, count.into(), dims.into(), part)?, dims }
            }
            Clusters::Linear { count, weights, biases } => {
                ClusterTable::Linear(self.rows(weights, biases, count.into(), part)?)
            }
        })
    }

    // One copy, small: a chip comes here once for each sample and head.
    #[inline(never)]
    fn rows<T: AnyBitPattern>(
        &self,
        weights: u32,
        constants: u32,
        count: usize,
        part: Part,
    ) -> Result<Rows<'a, T>, ModelError> {
        Ok(Rows {
            weights: self.matrix(weights, count, self.features, part)?,
            constants: section(self.data, constants, count, part)?,
        })
    }

    fn golden_tables(&self) -> Result<GoldenTables<'a>, ModelError> {
        let golden = &self.description.golden;
        let (part, count) = (Part::Golden, golden.count.into());
        let bytes = usize::from(self.bits()).div_ceil(8);
        Ok(GoldenTables {
            samples: self.matrix(golden.samples, count, self.input_len(), part)?,
            embeddings: self.matrix(golden.embeddings, count, self.dims().into(), part)?,
            codes: self.matrix(golden.codes, count, bytes, part)?,
            clusters: self.matrix(golden.clusters, count, (self.clusters() > 0).into(), part)?,
        })
    }

    fn matrix<T: AnyBitPattern>(
        &self,
        offset: u32,
        rows: usize,
        columns: usize,
        part: Part,
    ) -> Result<&'a [T], ModelError> {
        let count = product(&[rows, columns]).ok_or(ModelError::OutOfBounds { part })?;
        section(self.data, offset, count, part)
    }
}

#[derive(Default)]
struct GoldenTables<'a> {
    samples: &'a [u8],
    embeddings: &'a [i8],
    codes: &'a [u8],
    clusters: &'a [u16],
}

/// The `count` values at `offset` of the data section; none lie anywhere.
pub(crate) fn section<T: AnyBitPattern>(
    data: &[u8],
    offset: u32,
    count: usize,
    part: Part,
) -> Result<&[T], ModelError> {
    if count == 0 {
        return Ok(&[]);
    }
    let bytes = count
        .checked_mul(size_of::<T>())
        .and_then(|length| data.get(offset as usize..)?.get(..length))
        .ok_or(ModelError::OutOfBounds { part })?;
    bytemuck::try_cast_slice(bytes).map_err(|_| ModelError::Misaligned { part })
}

fn check_channels(channels: &[Channel], part: Part) -> Result<(), ModelError> {
    let valid = channels
        .iter()
        .all(|channel| (0..=31).contains(&channel.shift) && (channel.multiplier == 0 || channel.multiplier >= 1 << 30));
    if valid { Ok(()) } else { Err(ModelError::Constants { part }) }
}

/// Whether a number is finite and above 0, without a float instruction.
fn is_positive(number: f32) -> bool {
    (1..f32::INFINITY.to_bits()).contains(&number.to_bits())
}

/// Whether numbers are finite and never rise, without a float instruction; -0 counts as less than 0.
fn is_falling(numbers: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    numbers.iter().all(|number| number.to_bits() & EXPONENT != EXPONENT)
        && numbers.is_sorted_by(|a, b| a.total_cmp(b).is_ge())
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(number) => write!(f, "layer {number}"),
            Self::Embedding => f.write_str("the embedding"),
            Self::Hash => f.write_str("the hash head"),
            Self::Clusters => f.write_str("the clusters"),
            Self::Golden => f.write_str("the golden vectors"),
        }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model cannot run: ")?;
        match self {
            Self::Blob(error) => error.fmt(f),
            Self::Input => f.write_str("its input has no size, too many values, or no valid scale"),
            Self::Geometry { layer } => {
                write!(f, "layer {layer}: its window does not fit its input, a size is 0, or it has too many values")
            }
            Self::OutOfBounds { part } => {
                write!(f, "{part}: a table reaches past the end of the data")
            }
            Self::Misaligned { part } => write!(f, "{part}: a table lies off its alignment"),
            Self::Constants { part } => write!(f, "{part}: a constant lies outside its range"),
            Self::Head { part } => write!(f, "{part}: a size is too small, or more than the embedding's"),
            Self::Card => f.write_str("its card does not decode"),
        }
    }
}

impl core::error::Error for ModelError {}
