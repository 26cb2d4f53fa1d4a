//! Running a model on a sample.

use core::fmt;
use core::ops::Range;

use eigenlet_shared::description::Raw;
#[cfg(feature = "clusters")]
use eigenlet_shared::description::class_bits;
use eigenlet_shared::numerics::quantize_u8;
#[cfg(feature = "clusters")]
use eigenlet_shared::reader::ClustersRecord;
use eigenlet_shared::reader::{EmbeddingRecord, HashRecord, head, kind};

use crate::code::Code;
use crate::heads::{EMBEDDING, Words, code};
#[cfg(feature = "clusters")]
use crate::heads::{explained, largest, nearest};
use crate::kernels::{self, Rows};
use crate::model::Model;
#[cfg(feature = "clusters")]
use crate::model::{clusters, hash};
use crate::sample::Sample;
#[cfg(feature = "indices")]
use crate::sample::check_indices;
use crate::step::{Steps, Tensor};
use crate::verify::Head;
#[cfg(feature = "verify")]
use crate::verify::VerifyError;

/// A number of leading dimensions of an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Dims(u16);

impl Dims {
    /// The first `dims` dimensions, at least 1 and at most the model's.
    pub const fn new(dims: u16) -> Self {
        Self(dims)
    }

    /// How many.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The cluster of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Assignment {
    /// The nearest prototype, the largest sum of a linear head, or the least residual.
    pub id: u16,
    /// The squared distance to that prototype in int8 steps of the embedding, or that residual in squared int8 steps of the
    /// features; `None` for a linear head. The larger, the less the sample is like any cluster.
    pub distance: Option<u32>,
    /// How much farther the second-nearest prototype is, how much larger the second-least residual, or how much smaller the
    /// second-largest sum, in the steps of the head's accumulators; `u32::MAX` where there is no other. Comparable within one
    /// model.
    pub margin: u32,
}

/// A sample's cluster, and its local embedding by that cluster's expert. Local embeddings of different experts are not
/// comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Expert<'s> {
    /// The cluster, which is the expert's number.
    pub id: u16,
    /// As [`Assignment::margin`].
    pub margin: u32,
    /// How much of the features the expert does not explain, in their squared int8 steps: the higher, the more anomalous is the
    /// sample. `None` where clusters are not chosen by residuals.
    pub score: Option<u32>,
    /// Local dimensions, the expert's most important first, in -127..=127 steps of [`Model::expert_scale`].
    pub embedding: &'s [i8],
}

/// Why a sample gives no output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// A tag of a word: moved by words, which is smaller code.
#[repr(u32)]
pub enum EncoderError {
    /// The model needs more activations than there is room for.
    Arena {
        /// Bytes that the model needs.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// The arena does not begin on a multiple of 4; that of an [`Encoder`] always does.
    Misaligned,
    /// The sample is not as long as the model's input.
    Sample {
        /// Bytes of the model's input.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The sample has another form than the model's input.
    Form {
        /// The form of the model's input.
        expected: Raw,
        /// The form given.
        found: Raw,
    },
    /// A stream's first layer is no window over an image or series, so nothing could be kept between samples.
    NoWindow,
    /// An index is not above the one before it, or not below the number of the input's values.
    Index {
        /// Its position in the sample, from 0.
        position: usize,
        /// Values of the model's input.
        below: usize,
        /// The index.
        found: u16,
    },
    /// The number of dimensions is 0 or more than the model has.
    Dims {
        /// Dimensions that the model has.
        expected: u16,
        /// Dimensions asked for.
        found: usize,
    },
    /// The number of bits is 0, or the code is longer than all of the model's bits need.
    Bits {
        /// Bits that the model has.
        expected: u16,
        /// Bits asked for.
        found: usize,
    },
    /// The model lacks the head for this.
    NoHead(Head),
}

/// A model with the RAM that it runs in: `ARENA` bytes, at least [`Model::arena_bytes`].
#[derive(Clone, Debug)]
pub struct Encoder<'m, const ARENA: usize> {
    model: &'m Model<'m>,
    arena: Arena<ARENA>,
}

/// RAM on a 4-byte boundary, as [`Model::run`] takes it.
#[derive(Clone, Debug)]
#[repr(align(4))]
pub struct Arena<const BYTES: usize>([i8; BYTES]);

impl<const BYTES: usize> Arena<BYTES> {
    /// All zeros.
    pub const fn new() -> Self {
        Self([0; BYTES])
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [i8] {
        &mut self.0
    }
}

impl<const BYTES: usize> Default for Arena<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'m, const ARENA: usize> Encoder<'m, ARENA> {
    /// An encoder of `model`.
    ///
    /// # Errors
    /// [`EncoderError::Arena`].
    pub fn new(model: &'m Model<'m>) -> Result<Self, EncoderError> {
        let (expected, found) = (model.arena_bytes(), ARENA);
        if found < expected {
            return Err(EncoderError::Arena { expected, found });
        }
        Ok(Self { model, arena: Arena::new() })
    }

    /// The model.
    pub fn model(&self) -> &'m Model<'m> {
        self.model
    }

    /// Computes the layers, once for any number of outputs. The sample is raw sensor bytes, as everywhere here but in
    /// [`Encoder::run_sample`].
    ///
    /// # Errors
    /// [`EncoderError::Sample`], [`EncoderError::Form`].
    pub fn run(&mut self, sample: &[u8]) -> Result<Features<'_>, EncoderError> {
        self.model.run(self.arena.bytes(), sample)
    }

    /// As [`Encoder::run`], on a sample of any form.
    ///
    /// # Errors
    /// [`EncoderError::Sample`], [`EncoderError::Index`], [`EncoderError::Form`].
    pub fn run_sample(&mut self, sample: Sample) -> Result<Features<'_>, EncoderError> {
        self.model.run_sample(self.arena.bytes(), sample)
    }

    /// The first `dims` dimensions of the sample's embedding, in -127..=127 steps of [`Model::scale`].
    ///
    /// # Errors
    /// [`EncoderError::Sample`], [`EncoderError::Form`], [`EncoderError::Dims`], [`EncoderError::NoHead`].
    pub fn embed(&mut self, sample: &[u8], dims: Dims) -> Result<&[i8], EncoderError> {
        self.run(sample)?.into_embedding(dims)
    }

    /// The sample's hash code: its first `8 * BYTES` bits, or all where the last byte has unused ones; those are 0.
    ///
    /// # Errors
    /// [`EncoderError::Sample`], [`EncoderError::Form`], [`EncoderError::Bits`], [`EncoderError::NoHead`].
    pub fn hash<const BYTES: usize>(&mut self, sample: &[u8]) -> Result<Code<BYTES>, EncoderError> {
        self.run(sample)?.hash()
    }

    /// The sample's cluster.
    ///
    /// # Errors
    /// [`EncoderError::Sample`], [`EncoderError::Form`], [`EncoderError::NoHead`].
    #[cfg(feature = "clusters")]
    pub fn assign(&mut self, sample: &[u8]) -> Result<Assignment, EncoderError> {
        self.run(sample)?.assign()
    }

    /// The sample's cluster, and the first `dims` dimensions of its local embedding.
    ///
    /// # Errors
    /// [`EncoderError::Sample`], [`EncoderError::Form`], [`EncoderError::Dims`], [`EncoderError::NoHead`].
    #[cfg(feature = "clusters")]
    pub fn expert(&mut self, sample: &[u8], dims: Dims) -> Result<Expert<'_>, EncoderError> {
        self.run(sample)?.into_expert(dims)
    }

    /// Runs every golden vector, and gives their number; see [`Model::verify`].
    ///
    /// # Errors
    /// [`VerifyError`].
    #[cfg(feature = "verify")]
    pub fn verify(&mut self) -> Result<u16, VerifyError> {
        self.model.verify(self.arena.bytes())
    }
}

/// What the layers gave for a sample. Heads are computed from it, each when it is asked for.
#[derive(Debug)]
pub struct Features<'s> {
    model: &'s Model<'s>,
    /// Holds the features, the same as kernels read them, and room for embeddings: [`Model::regions`].
    pub(crate) arena: &'s mut [i8],
}

impl Model<'_> {
    /// Computes the layers on a sample of raw sensor bytes, in an arena of at least [`Model::arena_bytes`] on a 4-byte boundary.
    ///
    /// # Errors
    /// [`EncoderError::Arena`], [`EncoderError::Misaligned`], [`EncoderError::Sample`], [`EncoderError::Form`].
    pub fn run<'s>(&'s self, arena: &'s mut [i8], sample: &[u8]) -> Result<Features<'s>, EncoderError> {
        self.run_sample(arena, Sample::Bytes(sample))
    }

    /// As [`Model::run`], on a sample of any form.
    ///
    /// # Errors
    /// [`EncoderError::Arena`], [`EncoderError::Misaligned`], [`EncoderError::Sample`], [`EncoderError::Index`],
    /// [`EncoderError::Form`].
    // One copy, as for `code`.
    #[inline(never)]
    pub fn run_sample<'s>(&'s self, arena: &'s mut [i8], sample: Sample) -> Result<Features<'s>, EncoderError> {
        let steps = &mut self.steps();
        self.expect(sample.raw())?;
        let (expected, found) = (self.arena_bytes(), arena.len());
        if found < expected {
            return Err(EncoderError::Arena { expected, found });
        }
        if arena.as_ptr().align_offset(align_of::<u32>()) != 0 {
            return Err(EncoderError::Misaligned);
        }
        let expected = steps.output.shape.len();
        match sample {
            Sample::Bytes(bytes) if bytes.len() != expected => {
                return Err(EncoderError::Sample { expected, found: bytes.len() });
            }
            #[cfg(feature = "indices")]
            Sample::Indices(indices) => check_indices(indices, expected)?,
            _ => {}
        }
        Ok(self.run_steps(arena, steps, Some(sample)))
    }

    pub(crate) fn expect(&self, found: Raw) -> Result<(), EncoderError> {
        let expected = self.raw();
        if found == expected { Ok(()) } else { Err(EncoderError::Form { expected, found }) }
    }

    /// Runs steps, in an arena that was checked: regions are apart, since `parse` saw to it. Without a sample, the first step's input lies in
    /// the arena.
    // One copy, for samples and streams.
    #[inline(never)]
    pub(crate) fn run_steps<'s>(
        &'s self,
        arena: &'s mut [i8],
        steps: &mut Steps,
        mut sample: Option<Sample>,
    ) -> Features<'s> {
        while steps.left > 0 && steps.advance().is_ok() {
            let regions = steps.regions();
            let sample = sample.take();
            if steps.record.kind == kind::DENSE {
                run_dense(steps, sample, arena, &regions);
                continue;
            }
            #[cfg(feature = "conv")]
            {
                put(sample, arena, &steps.input);
                match steps.record.kind {
                    kind::RECALL => {}
                    kind::ADD => {
                        let [other, _, output] = &regions;
                        let [other, output] = apart(arena, other, output);
                        if let [sum] = steps.sum {
                            kernels::add(sum, steps.record.output, other, output);
                        }
                    }
                    _ => {
                        let [input, scratch, output] = arena.get_disjoint_mut(regions).unwrap_or_default();
                        run_window(steps, 0..steps.output.shape.height, input, scratch, output);
                    }
                }
            }
        }
        // Of a model without layers, the sample itself.
        put(sample, arena, &steps.output);
        let [values, widened, _] = &self.regions;
        widen(arena, values, widened);
        Features { model: self, arena }
    }
}

/// A dense layer, which reads a sample where it lies, or its input in the arena.
fn run_dense(steps: &Steps, sample: Option<Sample>, arena: &mut [i8], regions: &[Range<usize>; 3]) {
    let [input, scratch, output] = regions;
    match sample {
        #[cfg(feature = "indices")]
        Some(Sample::Indices(indices)) => {
            let [_, output] = apart(arena, &(0..0), output);
            return kernels::dense_at(&steps.rows, steps.range(), indices, output);
        }
        Some(Sample::Bytes(bytes)) => {
            let [_, scratch] = apart(arena, &(0..0), scratch);
            kernels::widen_raw(bytes, words(scratch));
        }
        _ => widen(arena, input, scratch),
    }
    // The output may take the input's place, since that is read before.
    let [scratch, output] = apart(arena, scratch, output);
    kernels::outputs(&steps.rows, words(scratch), steps.range(), output);
}

/// Widens one region into another.
#[inline(never)]
fn widen(arena: &mut [i8], from: &Range<usize>, to: &Range<usize>) {
    let [from, to] = apart(arena, from, to);
    kernels::widen(from, words(to));
}

/// Puts a sample of bytes in its place.
#[inline(never)]
fn put(sample: Option<Sample>, arena: &mut [i8], place: &Tensor) {
    if let (Some(Sample::Bytes(bytes)), Some(to)) = (sample, arena.get_mut(place.range())) {
        to.iter_mut().zip(bytes).for_each(|(to, raw)| *to = quantize_u8(*raw));
    }
}

/// Computes some lines of what a window makes of an image; `output` is the whole of it.
// One copy, for samples and streams.
#[cfg(feature = "conv")]
#[inline(never)]
pub(crate) fn run_window(steps: &Steps, lines: Range<usize>, input: &[i8], scratch: &mut [i8], output: &mut [i8]) {
    let slide = steps.slide();
    match steps.record.kind {
        kind::CONV_2D => {
            kernels::conv2d(&steps.rows, &slide, steps.range(), lines, input, words(scratch), output);
        }
        kind::DEPTHWISE_CONV_2D => {
            kernels::depthwise_conv2d(&steps.rows, &slide, steps.range(), lines, input, words(scratch), output);
        }
        kind::MAX_POOL_2D => kernels::max_pool2d(&slide, lines, input, output),
        _ => kernels::average_pool2d(&slide, lines, input, output),
    }
}

/// Two regions of the arena; `parse` saw to it that they are apart.
// One copy for all who need some.
#[inline(never)]
pub(crate) fn apart<'s>(arena: &'s mut [i8], one: &Range<usize>, other: &Range<usize>) -> [&'s mut [i8]; 2] {
    // One of them may be empty, and lie anywhere.
    let is_before = one.end <= other.start;
    let (first, last) = if is_before { (one, other) } else { (other, one) };
    let Some((before, behind)) = arena.split_at_mut_checked(last.start) else { return Default::default() };
    let first = before.get_mut(first.clone()).unwrap_or_default();
    let last = behind.get_mut(..last.end.wrapping_sub(last.start)).unwrap_or_default();
    if is_before { [first, last] } else { [last, first] }
}

/// Bytes of the arena as words: the arena lies on a multiple of 4, and so do the regions that are words.
#[inline(never)]
pub(crate) fn words(bytes: &mut [i8]) -> &mut [u32] {
    bytemuck::try_cast_slice_mut(bytes).unwrap_or_default()
}

impl<'s> Features<'s> {
    #[cfg(feature = "clusters")]
    pub(crate) fn model(&self) -> &'s Model<'s> {
        self.model
    }

    /// The last layer's output as it is, an int8 image in NHWC order.
    pub fn values(&self) -> &[i8] {
        let [values, ..] = &self.model.regions;
        self.arena.get(values.clone()).unwrap_or_default()
    }

    /// The first `dims` dimensions of the embedding.
    ///
    /// # Errors
    /// [`EncoderError::Dims`], [`EncoderError::NoHead`].
    pub fn embed(&mut self, dims: Dims) -> Result<&[i8], EncoderError> {
        embed(self.model, self.arena, head::EMBEDDING, 0, dims)
    }

    /// As [`Features::embed`], for as long as the arena is borrowed.
    ///
    /// # Errors
    /// [`EncoderError::Dims`], [`EncoderError::NoHead`].
    pub fn into_embedding(self, dims: Dims) -> Result<&'s [i8], EncoderError> {
        embed(self.model, self.arena, head::EMBEDDING, 0, dims)
    }

    /// Fills `embedding` with as many dimensions as it is long.
    ///
    /// # Errors
    /// [`EncoderError::Dims`], [`EncoderError::NoHead`].
    pub fn embed_into(&self, embedding: &mut [i8]) -> Result<(), EncoderError> {
        let found = embedding.len();
        let dims = Dims(u16::try_from(found).unwrap_or(u16::MAX));
        let rows = embedding_rows(self.model, head::EMBEDDING, 0, dims)?;
        let [_, widened, _] = &self.model.regions;
        let widened = self.arena.get(widened.clone()).unwrap_or_default();
        kernels::outputs(&rows, bytemuck::try_cast_slice(widened).unwrap_or_default(), EMBEDDING, embedding);
        Ok(())
    }

    /// The hash code's first `8 * BYTES` bits, or all where the last byte has unused ones; those are 0.
    ///
    /// # Errors
    /// [`EncoderError::Bits`], [`EncoderError::NoHead`].
    pub fn hash<const BYTES: usize>(&mut self) -> Result<Code<BYTES>, EncoderError> {
        let mut code = Code([0; BYTES]);
        self.fill(&mut code.0)?;
        Ok(code)
    }

    // One copy for all lengths.
    #[inline(never)]
    fn fill(&mut self, code: &mut [u8]) -> Result<(), EncoderError> {
        let bits = self.bits_of(code.len())?;
        self.code_into(bits, code)
    }

    /// The bits of a code of so many bytes: a whole last byte means all of the model's bits, where they end in it.
    pub(crate) fn bits_of(&self, bytes: usize) -> Result<u16, EncoderError> {
        let (expected, found) = (self.model.bits(), bytes.saturating_mul(8));
        if expected == 0 {
            return Err(EncoderError::NoHead(Head::Hash));
        }
        match u16::try_from(found) {
            _ if bytes == usize::from(expected).div_ceil(8) => Ok(expected),
            Ok(bits) if bits > 0 && bits <= expected => Ok(bits),
            _ => Err(EncoderError::Bits { expected, found }),
        }
    }

    /// Fills `code`, `bits.div_ceil(8)` bytes, with the hash code's first `bits` bits: bit `j` is bit `j % 8` of byte `j / 8`.
    /// No more rows are computed than these bits take; of a product code, whole heads; of experts, those that choose the
    /// cluster, and of its expert one for each bit after the id.
    ///
    /// # Errors
    /// [`EncoderError::Bits`], also where `code` has another length; [`EncoderError::NoHead`].
    pub fn hash_into(&mut self, bits: u16, code: &mut [u8]) -> Result<(), EncoderError> {
        let (expected, found) = (self.model.bits(), bits.into());
        if expected == 0 {
            return Err(EncoderError::NoHead(Head::Hash));
        }
        if bits == 0 || bits > expected || code.len() != usize::from(bits).div_ceil(8) {
            return Err(EncoderError::Bits { expected, found });
        }
        self.code_into(bits, code)
    }

    fn code_into(&mut self, bits: u16, code: &mut [u8]) -> Result<(), EncoderError> {
        let mut places = code.iter_mut();
        self.code(bits, &mut |byte| {
            if let Some(to) = places.next() {
                *to = byte;
            }
            true
        })
    }

    /// Gives the bytes of the code's first `bits` bits to `take`, for as long as that wants more.
    // One copy: both who ask for a code and who verify it come here.
    #[inline(never)]
    pub(crate) fn code(&mut self, bits: u16, take: &mut dyn FnMut(u8) -> bool) -> Result<(), EncoderError> {
        let model = self.model;
        let numbers = model.numbers(head::HASH);
        let hash = HashRecord::of(&numbers);
        let data = &mut model.data();
        let rows;
        let first = match hash.kind {
            #[cfg(feature = "clusters")]
            hash::EXPERTS => {
                let id = self.assign()?.id;
                rows = model.block(data, EmbeddingRecord::of(&model.numbers(head::EXPERTS)), id.into());
                (id, class_bits(hash.classes as u16))
            }
            _ => {
                // Of a product code, those of the first head; the others' are looked for when it is their turn.
                rows = model.hash_rows(data, hash, 0);
                (0, 0)
            }
        };
        let words = Words {
            #[cfg(feature = "clusters")]
            model,
            #[cfg(feature = "clusters")]
            hash,
            features: widened(model, self.arena),
            rows,
            next: 0,
        };
        code(first, words, bits, take);
        Ok(())
    }

    /// The cluster. Of the embedding, only as many dimensions are computed as prototypes have; none for a linear head or for
    /// residuals, which compute all rows of all experts.
    ///
    /// # Errors
    /// [`EncoderError::NoHead`].
    #[cfg(feature = "clusters")]
    pub fn assign(&mut self) -> Result<Assignment, EncoderError> {
        assign(self.model, self.arena)
    }

    /// The cluster, and the first `dims` dimensions of the local embedding by its expert. Beyond what [`Features::assign`]
    /// computes, only these rows of this expert are.
    ///
    /// # Errors
    /// [`EncoderError::Dims`], [`EncoderError::NoHead`].
    #[cfg(feature = "clusters")]
    pub fn expert(&mut self, dims: Dims) -> Result<Expert<'_>, EncoderError> {
        expert(self.model, self.arena, dims)
    }

    /// As [`Features::expert`], for as long as the arena is borrowed.
    ///
    /// # Errors
    /// [`EncoderError::Dims`], [`EncoderError::NoHead`].
    #[cfg(feature = "clusters")]
    pub fn into_expert(self, dims: Dims) -> Result<Expert<'s>, EncoderError> {
        expert(self.model, self.arena, dims)
    }
}

/// The first dimensions of the embedding, or of an expert's.
// One copy, as for `assign`.
#[inline(never)]
fn embed<'s>(
    model: &Model,
    arena: &'s mut [i8],
    first: usize,
    block: u32,
    dims: Dims,
) -> Result<&'s [i8], EncoderError> {
    let rows = embedding_rows(model, first, block, dims)?;
    let [_, widened, spare] = &model.regions;
    let [widened, spare] = apart(arena, widened, spare);
    let embedding = spare.get_mut(..dims.0.into()).unwrap_or_default();
    kernels::outputs(&rows, words(widened), EMBEDDING, embedding);
    Ok(embedding)
}

/// The features as kernels read them.
fn widened<'s>(model: &Model, arena: &'s mut [i8]) -> &'s [u32] {
    let [_, widened, spare] = &model.regions;
    let [widened, _] = apart(arena, widened, spare);
    words(widened)
}

/// The rows of the embedding, or of an expert; there are so many dimensions.
fn embedding_rows<'m>(model: &Model<'m>, first: usize, block: u32, dims: Dims) -> Result<Rows<'m>, EncoderError> {
    let numbers = model.numbers(first);
    let record = EmbeddingRecord::of(&numbers);
    let (expected, found) = (record.count as u16, dims.0);
    if expected == 0 {
        return Err(EncoderError::NoHead(if first == head::EMBEDDING { Head::Embedding } else { Head::Experts }));
    }
    if found == 0 || found > expected {
        return Err(EncoderError::Dims { expected, found: found.into() });
    }
    Ok(model.block(&mut model.data(), record, block))
}

// One copy: a code asks for the cluster, too.
#[cfg(feature = "clusters")]
#[inline(never)]
fn assign(model: &Model, arena: &mut [i8]) -> Result<Assignment, EncoderError> {
    let numbers = model.numbers(head::CLUSTERS);
    let clusters = ClustersRecord::of(&numbers);
    if clusters.is_there == 0 {
        return Err(EncoderError::NoHead(Head::Clusters));
    }
    let data = &mut model.data();
    let least = if clusters.kind == clusters::LINEAR {
        largest(&model.cluster_rows(data, clusters), widened(model, arena))
    } else {
        let centres = model.prototypes(data, clusters);
        if clusters.kind == clusters::PROTOTYPES {
            nearest(embed(model, arena, head::EMBEDDING, 0, Dims(clusters.dims as u16))?, centres, &mut |_| 0)
        } else {
            let [values, widened, _] = &model.regions;
            let [values, widened] = apart(arena, values, widened);
            let widened = words(widened);
            let experts = model.numbers(head::EXPERTS);
            let experts = EmbeddingRecord::of(&experts);
            nearest(values, centres, &mut |expert| explained(clusters, &model.block(data, experts, expert), widened))
        }
    };
    let distance = (clusters.kind != clusters::LINEAR).then_some(least.cost);
    Ok(Assignment { id: least.id, distance, margin: least.margin })
}

// One copy, as for `assign`.
#[cfg(feature = "clusters")]
#[inline(never)]
fn expert<'s>(model: &Model, arena: &'s mut [i8], dims: Dims) -> Result<Expert<'s>, EncoderError> {
    if model.experts() == 0 {
        return Err(EncoderError::NoHead(Head::Experts));
    }
    let Assignment { id, distance, margin } = assign(model, arena)?;
    let score = distance.filter(|_| model.scores());
    Ok(Expert { id, margin, score, embedding: embed(model, arena, head::EXPERTS, id.into(), dims)? })
}

impl fmt::Display for EncoderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arena { expected, found } => {
                write!(f, "the arena is too small: expected at least {expected} bytes, found {found}")
            }
            Self::Misaligned => f.write_str("the arena does not begin on a multiple of 4 bytes"),
            Self::Sample { expected, found } => {
                write!(f, "the sample has the wrong length: expected {expected} bytes, found {found}")
            }
            Self::Form { expected, found } => {
                let words = |raw: &Raw| match raw {
                    Raw::U8 => "bytes",
                    Raw::Indices => "indices",
                };
                write!(f, "the sample has the wrong form: expected {}, found {}", words(expected), words(found))
            }
            Self::NoWindow => f.write_str("the model's first layer is no window, so its sample cannot slide"),
            Self::Index { position, below, found } => {
                write!(f, "the sample's indices must rise and be below {below}: found {found} at position {position}")
            }
            Self::Dims { expected, found } => {
                write!(f, "the embedding has no such prefix: expected 1 to {expected} dimensions, found {found}")
            }
            Self::Bits { expected, found } => {
                write!(f, "the hash code has no such prefix: expected 1 to {expected} bits, found {found}")
            }
            Self::NoHead(head) => write!(f, "the model has no {head}"),
        }
    }
}

impl core::error::Error for EncoderError {}
