//! A model: a blob whose every length, offset, place and constant has been checked.

use core::fmt;
use core::ops::Range;

use eigenlet_shared::blob::{Blob, BlobError};
#[cfg(feature = "clusters")]
use eigenlet_shared::description::class_bits;
#[cfg(feature = "card")]
use eigenlet_shared::description::{Card, Description};
use eigenlet_shared::description::{MAX_INDEXED, Raw};
use eigenlet_shared::geometry::Shape;
use eigenlet_shared::numerics::{INPUT_ZERO_POINT_U8, Scale};
use eigenlet_shared::packed::{SIDE, quad_words, widened_words};
use eigenlet_shared::reader::{
    ClustersRecord, Cursor, EmbeddingRecord, GoldenRecord, HashRecord, InputRecord, Numbers, head, kind, unread,
};

use crate::kernels::Rows;
use crate::step::{Steps, Tensor};

/// A model that can run. It borrows the blob's bytes, and takes some 60 bytes itself: what it says of its input, layers and heads is read
/// where it lies, too, each time that it is needed.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    blob: Blob<'a>,
    /// Behind the layers.
    heads: Cursor<'a>,
    /// Where the heads read, work and write.
    pub(crate) regions: [Range<usize>; 3],
    arena: usize,
}

/// The kinds of hashes, as the records number them.
pub(crate) mod hash {
    pub const THRESHOLDS: u32 = 0;
    pub const PRODUCT: u32 = 1;
    pub const EXPERTS: u32 = 2;
}

/// The kinds of clusters, likewise.
#[cfg_attr(not(feature = "clusters"), allow(dead_code))]
pub(crate) mod clusters {
    pub const PROTOTYPES: u32 = 0;
    pub const LINEAR: u32 = 1;
    pub const RESIDUAL: u32 = 2;
}

/// A part of a model, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Part {
    /// The input.
    Input,
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
// A tag of a word: moved by words, which is smaller code.
#[repr(u32)]
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
    /// This program was built without what the model needs: the runtime's features say what can be left out.
    Unsupported {
        /// What of the model needs it.
        part: Part,
    },
    /// The model card does not decode.
    Card,
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
        let [none] = unread().map(|none| none as usize);
        let mut model =
            Self { blob, heads: Cursor::new(&[]), regions: [none..none, none..none, none..none], arena: none };
        let mut part = Part::Layer(0);
        match model.check(&mut part) {
            Ok(()) => Ok(model),
            Err(fault) => Err(fault.of(part)),
        }
    }

    /// Checks one part after another; `part` is the one at hand.
    #[inline(never)]
    fn check(&mut self, part: &mut Part) -> Result<(), Fault> {
        let input = self.input_record();
        let [height, width, channels] = input.shape.map(|side| side as usize);
        let shape = Shape::new(height, width, channels).ok_or(Fault::Input)?;
        if !is_positive(input.scale) || !is_finite(input.offset) {
            return Err(Fault::Input);
        }
        let mut steps = self.steps();
        let is_indexed = input.raw != 0;
        if is_indexed && !cfg!(feature = "indices") {
            *part = Part::Input;
            return Err(Fault::Unsupported);
        }
        if is_indexed && (steps.left == 0 || shape.len() > MAX_INDEXED) {
            return Err(Fault::Input);
        }
        let mut number = 0u8;
        while steps.left > 0 {
            steps.advance()?;
            let is_dense = steps.record.kind == kind::DENSE;
            let is_first = number == 0;
            // The layer that reads indices, and the first one that is dense, read the sample where it lies.
            if is_first && is_indexed && !is_dense {
                return Err(Fault::Input);
            }
            let output = steps.record.output;
            if !are_lawful(&steps.rows, output.zero_point) || output.minimum > output.maximum {
                return Err(Fault::Constants);
            }
            let [mut input, mut scratch, output] = steps.regions();
            if is_dense {
                if is_first {
                    input = 0..0;
                    // Indices are not even widened.
                    if is_indexed {
                        scratch = 0..0;
                    }
                }
                // The output may take the input's place, since that is read before.
                self.claim([input, scratch.clone(), 0..0])?;
                input = 0..0;
            }
            self.claim([input, scratch, output])?;
            number = number.wrapping_add(1);
            *part = Part::Layer(number);
        }
        self.heads = steps.cursor;
        *part = Part::Heads;
        let mut cursor = steps.cursor;
        cursor.heads(0, &mut []);
        cursor.card();
        if cursor.failed() {
            return Err(Fault::Description);
        }
        self.check_heads(part, &steps.output)?;
        #[cfg(feature = "verify")]
        {
            *part = Part::Golden;
            self.check_golden()?;
        }
        Ok(())
    }

    /// Checks that regions of the arena are apart and scratch is aligned; the arena is large enough for them from then on.
    #[inline(never)]
    fn claim(&mut self, regions: [Range<usize>; 3]) -> Result<(), Fault> {
        let [a, b, c] = &regions;
        if !b.start.is_multiple_of(align_of::<u32>()) {
            return Err(Fault::Misaligned);
        }
        for (first, second) in [(a, b), (b, c), (c, a)] {
            // A place is any u32, and a tensor less than 2^31: on a chip, the sum may wrap.
            let is_valid = first.start <= first.end && first.end <= i32::MAX as usize;
            if !is_valid || first.end > second.start && second.end > first.start {
                return Err(Fault::Places);
            }
            self.arena = self.arena.max(first.end);
        }
        Ok(())
    }

    #[inline(never)]
    fn check_heads(&mut self, part: &mut Part, features: &Tensor) -> Result<(), Fault> {
        let [output, scratch, ..] = self.numbers(head::PLACES);
        let numbers = self.numbers(head::EMBEDDING);
        let embedding = EmbeddingRecord::of(&numbers);
        let numbers = self.numbers(head::EXPERTS);
        let experts = EmbeddingRecord::of(&numbers);
        let region = |place: u32, bytes: usize| place as usize..(place as usize).wrapping_add(bytes);
        let columns = features.shape.len();
        let widened = widened_words(columns).wrapping_mul(size_of::<u32>());
        let rows = embedding.count.max(experts.count) as usize;
        // Of no meaning without rows: nothing would lie anywhere, and could lie in what does.
        let output = if rows > 0 { output } else { 0 };
        self.regions = [features.range(), region(scratch, widened), region(output, rows)];
        self.claim(self.regions.clone())?;
        if embedding.is_there != 0 {
            *part = Part::Embedding;
            self.check_embedding(embedding, 1)?;
        }
        #[cfg(feature = "clusters")]
        if experts.is_there != 0 {
            *part = Part::Experts;
            self.check_embedding(experts, self.clusters().into())?;
        }
        let numbers = self.numbers(head::HASH);
        let hash = HashRecord::of(&numbers);
        if hash.is_there != 0 {
            *part = Part::Hash;
            let data = &mut self.data();
            let valid = match hash.kind {
                hash::THRESHOLDS => {
                    self.hash_rows(data, hash, 0);
                    true
                }
                #[cfg(not(feature = "clusters"))]
                _ => return Err(Fault::Unsupported),
                #[cfg(feature = "clusters")]
                hash::PRODUCT => {
                    for number in 0..hash.heads {
                        self.hash_rows(data, hash, number);
                    }
                    hash.heads > 0 && hash.classes > 1
                }
                #[cfg(feature = "clusters")]
                _ => {
                    let count = self.clusters().into();
                    experts.count > 0 && hash.classes == count && hash.rows <= experts.count
                }
            };
            data.fault?;
            if !valid || self.bits() == 0 {
                return Err(Fault::Head);
            }
        }
        #[cfg(feature = "clusters")]
        let (dims, expert_dims) = (embedding.count, experts.count);
        let numbers = self.numbers(head::CLUSTERS);
        let clusters = ClustersRecord::of(&numbers);
        if clusters.is_there != 0 {
            *part = Part::Clusters;
            #[cfg(not(feature = "clusters"))]
            return Err(Fault::Unsupported);
            #[cfg(feature = "clusters")]
            self.check_clusters(clusters, dims, expert_dims)?;
        }
        Ok(())
    }

    #[cfg(feature = "clusters")]
    fn check_clusters(&self, clusters: &ClustersRecord, dims: u32, expert_dims: u32) -> Result<(), Fault> {
        if clusters.shift > 31 || clusters.scale_shift > 63 {
            return Err(Fault::Constants);
        }
        let data = &mut self.data();
        let valid = match clusters.kind {
            clusters::LINEAR => {
                self.cluster_rows(data, clusters);
                true
            }
            kind => {
                self.prototypes(data, clusters);
                if kind == clusters::PROTOTYPES {
                    clusters.dims > 0 && clusters.dims <= dims
                } else {
                    // More features could be farther away than 32 bits hold.
                    expert_dims > 0 && self.features() <= u16::MAX.into()
                }
            }
        };
        data.fault?;
        if valid && clusters.count > 0 { Ok(()) } else { Err(Fault::Head) }
    }

    /// The rows of the embedding, or of `blocks` experts.
    // One copy for both.
    #[inline(never)]
    fn check_embedding(&self, head: &EmbeddingRecord, blocks: u32) -> Result<(), Fault> {
        if blocks == 0 || head.count == 0 {
            return Err(Fault::Head);
        }
        for block in 0..blocks {
            let data = &mut self.data();
            let rows = self.block(data, head, block);
            let eigenvalues = self.eigenvalue_table(data, head, block);
            data.fault?;
            if !are_lawful(&rows, 0) || !is_positive(head.scale) || !is_falling(eigenvalues) {
                return Err(Fault::Constants);
            }
        }
        Ok(())
    }

    pub(crate) fn data(&self) -> Data<'a> {
        Data { bytes: self.blob.data, fault: Ok(()) }
    }

    #[inline(never)]
    pub(crate) fn input_record(&self) -> InputRecord {
        Cursor::new(self.blob.description).input()
    }

    /// The numbers of what follows the layers, read anew, from one of [`head`]'s on.
    // One copy for all records.
    #[inline(never)]
    pub(crate) fn numbers(&self, first: usize) -> Numbers {
        let mut numbers = unread();
        let mut cursor = self.heads;
        cursor.heads(first, &mut numbers);
        numbers
    }

    // Tables are looked for in `data`, which holds the first fault. After `parse` there is none.

    /// The rows of the embedding, or of an expert.
    #[inline(never)]
    pub(crate) fn block(&self, data: &mut Data<'a>, head: &EmbeddingRecord, block: u32) -> Rows<'a> {
        data.rows([head.weights, head.biases], Some(head.scales), block, [head.count, self.quad()])
    }

    /// The rows of the thresholds, or of a head of a product code.
    #[inline(never)]
    pub(crate) fn hash_rows(&self, data: &mut Data<'a>, hash: &HashRecord, number: u32) -> Rows<'a> {
        let count = if cfg!(feature = "clusters") && hash.kind == hash::PRODUCT { hash.classes } else { hash.rows };
        data.rows([hash.weights, hash.biases], None, number, [count, self.quad()])
    }

    /// The rows of linear clusters.
    #[cfg(feature = "clusters")]
    pub(crate) fn cluster_rows(&self, data: &mut Data<'a>, clusters: &ClustersRecord) -> Rows<'a> {
        data.rows([clusters.weights, clusters.biases], None, 0, [clusters.count, self.quad()])
    }

    /// Prototypes, or centres: one row for each cluster.
    #[cfg(feature = "clusters")]
    pub(crate) fn prototypes(&self, data: &mut Data<'a>, clusters: &ClustersRecord) -> &'a [i8] {
        let columns = if clusters.kind == clusters::RESIDUAL { self.features() as u64 } else { clusters.dims.into() };
        data.int8(clusters.weights, u64::from(clusters.count).wrapping_mul(columns))
    }

    /// Words of a quad of rows that read the features.
    fn quad(&self) -> u32 {
        quad_words(self.features()) as u32
    }

    /// Height, width and channels of a sample.
    pub fn input(&self) -> Shape {
        let [height, width, channels] = self.input_record().shape.map(|side| side as usize);
        Shape { height, width, channels }
    }

    /// The form of a sample.
    pub fn raw(&self) -> Raw {
        if self.input_record().raw == 0 { Raw::U8 } else { Raw::Indices }
    }

    /// Values of the input: the bytes of a sample, or what its indices are below.
    pub fn input_len(&self) -> usize {
        self.input().len()
    }

    /// Values that the layers give and the heads read.
    pub fn features(&self) -> usize {
        let [features, ..] = &self.regions;
        features.end.wrapping_sub(features.start)
    }

    /// Dimensions of the embedding; 0 where the model has none.
    pub fn dims(&self) -> u16 {
        EmbeddingRecord::of(&self.numbers(head::EMBEDDING)).count as u16
    }

    /// Bits of the hash code; 0 where the model has none.
    #[inline(never)]
    pub fn bits(&self) -> u16 {
        bits(HashRecord::of(&self.numbers(head::HASH)))
    }

    /// Number of clusters; 0 where the model has none.
    pub fn clusters(&self) -> u16 {
        ClustersRecord::of(&self.numbers(head::CLUSTERS)).count as u16
    }

    /// Number of experts, one for each cluster; 0 where the model has none.
    pub fn experts(&self) -> u16 {
        if self.expert_dims() > 0 { self.clusters() } else { 0 }
    }

    /// Local dimensions, those of each expert; 0 where the model has none.
    pub fn expert_dims(&self) -> u16 {
        EmbeddingRecord::of(&self.numbers(head::EXPERTS)).count as u16
    }

    /// Whether clusters are chosen by residuals, and experts so give scores.
    #[cfg(any(feature = "clusters", feature = "verify"))]
    pub(crate) fn scores(&self) -> bool {
        ClustersRecord::of(&self.numbers(head::CLUSTERS)).kind == clusters::RESIDUAL
    }

    /// Bytes of RAM that running takes for activations, as the exporter laid them out.
    pub fn arena_bytes(&self) -> usize {
        self.arena
    }

    /// Number of golden vectors.
    pub fn golden_count(&self) -> u16 {
        GoldenRecord::of(&self.numbers(head::GOLDEN)).count as u16
    }

    /// Real value of one raw step of the input, in the sensor's unit.
    pub fn input_scale(&self) -> f32 {
        f32::from_bits(self.input_record().scale)
    }

    /// Real value of raw 0: real = offset + scale * raw.
    pub fn input_offset(&self) -> f32 {
        f32::from_bits(self.input_record().offset)
    }

    /// Real value of one step of the embedding, the same in every dimension; `None` where the model has none.
    pub fn scale(&self) -> Option<f32> {
        let numbers = self.numbers(head::EMBEDDING);
        let head = EmbeddingRecord::of(&numbers);
        (head.count > 0).then_some(f32::from_bits(head.scale))
    }

    /// The embedding's eigenvalues, one a dimension, not rising; empty where the model has no embedding.
    pub fn eigenvalues(&self) -> &'a [f32] {
        self.eigenvalue_table(&mut self.data(), EmbeddingRecord::of(&self.numbers(head::EMBEDDING)), 0)
    }

    /// Real value of one step of the local embeddings, the same for all experts; `None` where the model has none.
    pub fn expert_scale(&self) -> Option<f32> {
        let numbers = self.numbers(head::EXPERTS);
        let head = EmbeddingRecord::of(&numbers);
        (head.count > 0).then_some(f32::from_bits(head.scale))
    }

    /// The eigenvalues of one expert, one a local dimension, not rising; empty where the model has no such expert.
    pub fn expert_eigenvalues(&self, expert: u16) -> &'a [f32] {
        if expert >= self.experts() {
            return &[];
        }
        self.eigenvalue_table(&mut self.data(), EmbeddingRecord::of(&self.numbers(head::EXPERTS)), expert.into())
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

    /// The layers, at the first one.
    // One copy for those who check and those who run.
    #[inline(never)]
    pub(crate) fn steps(&self) -> Steps<'a> {
        let mut cursor = Cursor::new(self.blob.description);
        let input = cursor.input();
        let [height, width, channels] = input.shape.map(|side| side as usize);
        let shape = Shape { height, width, channels };
        // Only padding reads the zero point, and the layer that reads an input of indices is dense.
        let input = Tensor { shape, place: input.place as usize, zero_point: INPUT_ZERO_POINT_U8 };
        let left = cursor.layers();
        Steps::new(self.data(), cursor, left, input)
    }

    fn eigenvalue_table(&self, data: &mut Data<'a>, head: &EmbeddingRecord, block: u32) -> &'a [f32] {
        bytemuck::must_cast_slice(data.words(head.eigenvalues, block, head.count, 1))
    }
}

/// Bits of the whole code; 0 where there is none, or a size is invalid.
fn bits(hash: &HashRecord) -> u16 {
    #[cfg(feature = "clusters")]
    let id = u32::from(class_bits(hash.classes as u16));
    let bits = match hash.kind {
        #[cfg(feature = "clusters")]
        hash::PRODUCT => hash.heads.wrapping_mul(id),
        #[cfg(feature = "clusters")]
        hash::EXPERTS => hash.rows.wrapping_add(id),
        _ => hash.rows,
    };
    u16::try_from(bits).unwrap_or(0)
}

/// Whether all scales lie in their ranges and belong to that zero point.
#[inline(never)]
fn are_lawful(rows: &Rows, zero_point: i8) -> bool {
    rows.scales().iter().all(|scale| scale.is_lawful(zero_point))
}

/// The data section, as tables are looked for in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    bytes: &'a [u8],
    /// The first fault of a table, which then reads as empty.
    // Looked at after the last one: less code than after each.
    pub fault: Result<(), Fault>,
}

impl<'a> Data<'a> {
    /// Block number `block` of those of `count` rows, `quad` words for every four of them, that lie one after another: offsets of
    /// weights and biases, and of scales if they have some.
    // One copy for all layers and heads, as what follows.
    #[inline(never)]
    pub fn rows(
        &mut self,
        [weights, biases]: [u32; 2],
        scales: Option<u32>,
        block: u32,
        [count, quad]: [u32; 2],
    ) -> Rows<'a> {
        const SCALE: usize = size_of::<Scale>() / size_of::<u32>();
        let quads = count.div_ceil(SIDE as u32);
        let words = self.words(weights, block, quads, quad);
        let biases = bytemuck::must_cast_slice(self.words(biases, block, quads, SIDE as u32));
        let scales = scales.map_or(&[][..], |scales| self.words(scales, block, quads, (SIDE * SCALE) as u32));
        let scales = bytemuck::must_cast_slice(scales.as_chunks::<SCALE>().0);
        // A table that is not there is a fault already.
        Rows::new(words, biases, scales, count as usize, quad as usize).unwrap_or_default()
    }

    /// `count` times so many words, which lie on a multiple of 4.
    #[inline(never)]
    pub fn words(&mut self, offset: u32, block: u32, count: u32, of_one: u32) -> &'a [u32] {
        // Does not overflow: there are at most 2^16 of one.
        let length = u64::from(count).wrapping_mul(of_one.into()).wrapping_mul(size_of::<u32>() as u64);
        let bytes = self.bytes(offset, block, length, size_of::<u32>());
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }

    /// So many int8 values at `offset`.
    #[cfg(feature = "clusters")]
    pub fn int8(&mut self, offset: u32, count: u64) -> &'a [i8] {
        bytemuck::must_cast_slice(self.bytes(offset, 0, count, 1))
    }

    /// Block number `block` of those of `length` bytes that lie one after another from `offset` on, on multiples of `unit`, a power
    /// of two; none lie anywhere.
    #[inline(never)]
    pub fn bytes(&mut self, offset: u32, block: u32, length: u64, unit: usize) -> &'a [u8] {
        if length == 0 {
            return &[];
        }
        let size = u32::try_from(length).unwrap_or(u32::MAX);
        // Does not overflow: (2^32 - 1)^2 + 2 (2^32 - 1) is 2^64 - 1.
        let start = u64::from(block).wrapping_mul(size.into()).wrapping_add(offset.into());
        let end = start.wrapping_add(size.into());
        let fault = if end > self.bytes.len() as u64 {
            Fault::OutOfBounds
        } else if start as usize & unit.wrapping_sub(1) == 0 {
            // The data section itself lies on a multiple of 16.
            return self.bytes.get(start as usize..end as usize).unwrap_or_default();
        } else {
            Fault::Misaligned
        };
        self.fault = self.fault.and(Err(fault));
        &[]
    }
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
    Unsupported,
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
            (Self::Unsupported, part) => ModelError::Unsupported { part },
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
            Self::Input => f.write_str("the input"),
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
            Self::Unsupported { part } => write!(f, "{part}: this program was built without what it needs"),
            Self::Card => f.write_str("its card does not decode"),
        }
    }
}

impl core::error::Error for ModelError {}
