//! What a blob says of its model, as postcard encodes it.
//!
//! Offsets count bytes from the start of the blob's data section, places bytes from the start of the arena, the RAM that a model
//! runs in. Shapes that follow from other shapes (a layer's input, the multiply-accumulates) are not stored: they are derived when
//! the model is parsed.
//!
//! Weights of rows lie as [`packed`](crate::packed) says. A row's bias is an i32, its [`Scale`](crate::numerics::Scale) three.

use bytemuck::{Pod, Zeroable};
use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::numerics::Output;

/// The most layers that a model may have before its heads.
pub const MAX_LAYERS: usize = 64;
/// The most entries in each of the model card's quality lists.
pub const MAX_QUALITY: usize = 12;

/// The layers of a model, in order.
pub type Layers = Vec<Layer, MAX_LAYERS>;

/// The whole description. The card comes last and stays encoded, so that a chip need not hold it in RAM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description<'a> {
    /// What goes in.
    pub input: Input,
    /// The layers in order; the last one's output is what the heads read.
    pub layers: Layers,
    /// Where the heads work.
    pub heads: Places,
    /// An embedding whose rows are ordered, most important first.
    pub embedding: Option<Embedding>,
    /// A hash code: the most informative bits, or heads, come first where the writer knows an order.
    pub hash: Option<Hash>,
    /// Cluster ids.
    pub clusters: Option<Clusters>,
    /// An embedding of its own for each cluster; a model without clusters has none.
    pub experts: Option<Experts>,
    /// Inputs and the exact outputs that every implementation must give for them.
    pub golden: Golden,
    /// A [`Card`], postcard-encoded.
    #[serde(borrow)]
    pub card: &'a [u8],
}

/// The input: an image, height by width by channels (a feature vector is 1 by 1 by its length).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Height, width, channels; values lie in that order (NHWC).
    pub shape: [u16; 3],
    /// Place of the int8 values; of no meaning where the first layer is dense, which reads the sample where it lies.
    pub place: u32,
    /// The form of the raw sensor values, and their map to int8.
    pub raw: Raw,
    /// Real value of one raw step, in the sensor's unit, above 0. No kernel reads it, nor [`Input::offset`]: they say to people
    /// what raw values mean, and to a device how to make raw values of its readings.
    pub scale: f32,
    /// Real value of raw 0, in the same unit: real = offset + scale * raw. Finite; 0 where raw values are counts or intensities.
    pub offset: f32,
}

/// The form of the raw sensor values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Raw {
    /// Unsigned bytes; int8 value = raw - 128.
    U8,
    /// Values of 0 and 1, few of them 1: a sample is the rising list of the indices of its ones, each a u16. Int8 value = raw.
    /// The input has at most [`MAX_INDEXED`] values, and the first layer is dense.
    Indices,
}

/// The most values that an input given by indices can have: as many as a u16 can tell apart.
pub const MAX_INDEXED: usize = 1 << u16::BITS;

/// One layer. Its input's shape, place and zero point are its predecessor's output's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Where the output goes, and what is scratch meanwhile. The input does not overlap the output, but for a dense layer's, nor
    /// the scratch; and the scratch overlaps neither. An addition's output stays in its input's place, whatever stands here.
    pub places: Places,
    /// What is computed.
    pub operation: Operation,
}

/// Places in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Of the output; of the heads, that of an embedding, and of no meaning where there is none.
    pub output: u32,
    /// Of the scratch, a multiple of 4: the activations widened to 16 bits; of no meaning where none is needed.
    pub scratch: u32,
}

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Every output reads every input (an image is read flat, in its NHWC order).
    Dense(Dense),
    /// Every output channel reads a window of all input channels.
    Conv2d(Conv2d),
    /// Every channel reads a window of itself; as many channels out as in.
    DepthwiseConv2d(DepthwiseConv2d),
    /// The largest value of each window; padding never wins.
    MaxPool2d(Window),
    /// The rounded mean of each window; padding is not counted.
    AveragePool2d(Window),
    /// Adds what lies elsewhere in the arena to the input, value by value, and leaves the sum in the input's place: a residual
    /// connection.
    Add(Add),
    /// Computes nothing: what lies at the output's place since an earlier layer is the next layer's input.
    Recall(Recall),
}

/// A dense layer: weights packed `[outputs][inputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dense {
    /// Number of outputs.
    pub outputs: u16,
    /// Where the rows' weights and constants lie.
    pub rows: Rows,
    /// The output's grid.
    pub output: Output,
}

/// A convolution: weights packed `[outputs][kernel height * kernel width * input channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Number of output channels.
    pub outputs: u16,
    /// The window.
    pub window: Window,
    /// Where the rows' weights and constants lie.
    pub rows: Rows,
    /// The output's grid.
    pub output: Output,
}

/// A depthwise convolution: weights packed as filters, taps in the order `[kernel height][kernel width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthwiseConv2d {
    /// The window.
    pub window: Window,
    /// Where the weights and the channels' constants lie.
    pub rows: Rows,
    /// The output's grid.
    pub output: Output,
}

/// Where the tables of rows lie: three offsets, multiples of 4. The tables are as long as whole quads of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Of the weights.
    pub weights: u32,
    /// Of an i32 for each row; they hold `-zero_point * sum(weights)` already.
    pub biases: u32,
    /// Of a [`Scale`](crate::numerics::Scale) for each row.
    pub scales: u32,
}

/// A residual connection, in the arithmetic of [`numerics::Sum`](crate::numerics::Sum).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add {
    /// Place of the other tensor, as large as the input; the two do not overlap.
    pub other: u32,
    /// Offset of a [`Sum`](crate::numerics::Sum), a multiple of 4.
    pub sum: u32,
    /// The output's grid.
    pub output: Output,
}

/// What a recalled tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// Height, width, channels.
    pub shape: [u16; 3],
    /// The int8 value of a real zero.
    pub zero_point: i8,
}

/// A sliding window over an image. Output size: `(size + padding before + padding after - kernel) / stride + 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Serialize, Deserialize, Zeroable)]
#[repr(C)]
pub struct Window {
    /// Height and width, each at least 1.
    pub kernel: [u8; 2],
    /// Vertical and horizontal step, each at least 1.
    pub stride: [u8; 2],
    /// Rows or columns of real zeros added: top, left, bottom, right; each less than the kernel's size there.
    pub padding: [u8; 4],
}

/// Ordered embedding: weights packed `[rows][features]`, row 0 the most important. A device computes any prefix of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Number of dimensions, at least 1.
    pub count: u16,
    /// Where the rows' weights and constants lie. Outputs have zero point 0, range -127..=127.
    pub rows: Rows,
    /// Real value of one step, the same for every dimension: integer dot products and distances are those of the embedding.
    pub scale: f32,
    /// Offset of `count` f32 eigenvalues, 4-byte aligned, not rising.
    pub eigenvalues: u32,
}

/// The embeddings of a model's experts, one expert for each cluster: a sample gets that of its cluster's. `count` are the rows of
/// one expert, and every table holds the experts one after another: weights packed expert by expert, each `[count][features]`, and
/// `[clusters][count]` biases, scales and eigenvalues, which do not rise inside an expert. The real scale is the same for all.
pub type Experts = Embedding;

/// How a sample gets its hash code. Weights may be another head's own: offsets may point into the same data, and fewer packed rows are the
/// beginning of more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hash {
    /// Bit `j` is 1 where `sum(weights[j] * features) + bias[j] > 0`.
    Thresholds {
        /// Number of bits.
        bits: u16,
        /// Offset of the weights, packed `[bits][features]`.
        weights: u32,
        /// Offset of `bits` i32 biases, 4-byte aligned: the thresholds, negated.
        biases: u32,
    },
    /// A product code: the classes that several linear heads choose, one head after another, each in [`class_bits`] bits,
    /// the lowest first. A head chooses as [`Clusters::Linear`] does.
    Product {
        /// Number of heads.
        heads: u8,
        /// Number of classes of each head, at least 2.
        classes: u16,
        /// Offset of the weights, packed head by head, each `[classes][features]`; one scale for all rows of a head.
        weights: u32,
        /// Offset of i32 `[heads][classes]` biases, 4-byte aligned; they hold `-zero_point * sum(weights)` already.
        biases: u32,
    },
    /// The cluster's id in [`class_bits`] bits, the lowest first, and the signs of its expert: bit `r` of these is 1 where the
    /// accumulator of the expert's row `r`, its bias included, is above 0.
    Experts {
        /// Number of clusters.
        classes: u16,
        /// Rows of the expert, at most all.
        rows: u16,
    },
}

impl Hash {
    /// Bits of the whole code; 0 where a size is invalid.
    pub const fn bits(self) -> u16 {
        match self {
            Self::Thresholds { bits, .. } => bits,
            Self::Product { heads, classes, .. } => heads as u16 * class_bits(classes),
            Self::Experts { classes, rows } => match rows.checked_add(class_bits(classes)) {
                Some(bits) => bits,
                None => 0,
            },
        }
    }
}

/// Bits that a code has for one of so many classes: `ceil(log2(classes))`, at most 16.
pub const fn class_bits(classes: u16) -> u16 {
    (u16::BITS - classes.saturating_sub(1).leading_zeros()) as u16
}

/// How a sample gets its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clusters {
    /// The prototype at the smallest squared distance in the first `dims` dimensions of the int8 embedding; ties go to
    /// the lower id. Prototypes int8 `[count][dims]`.
    Prototypes {
        /// Number of clusters.
        count: u16,
        /// Dimensions compared, at most the embedding's.
        dims: u16,
        /// Offset of the prototypes.
        prototypes: u32,
    },
    /// The `c` with the largest `sum(weights[c] * features) + bias[c]`; ties go to the lower id. May be one head of a
    /// [`Hash::Product`]: offsets may point to its tables.
    Linear {
        /// Number of clusters.
        count: u16,
        /// Offset of the weights, packed `[count][features]`; one scale for all rows, so that sums are comparable.
        weights: u32,
        /// Offset of `count` i32 biases, 4-byte aligned; they hold `-zero_point * sum(weights)` already.
        biases: u32,
    },
    /// The cluster whose centre and expert leave the least of the features unexplained; ties go to the lower id. What is left
    /// is the squared distance to the centre less `(sum(a^2) * multiplier) >> scale_shift`, at least 0, over the expert's rows,
    /// where `a` is the row's accumulator shifted right by `shift`, rounded, and saturated to 16 bits: the exact residual
    /// of a linear autoencoder with orthonormal rows. `NUMERICS.md` has the definition. Needs [`Experts`].
    Residual {
        /// Number of clusters.
        count: u16,
        /// Offset of the centres, int8 `[count][features]` on the features' own grid; at most 65535 features.
        centres: u32,
        /// Right shift of the accumulators, `0 ..= 31`.
        shift: u8,
        /// Significand of the factor from squared accumulators to squared steps of the features.
        multiplier: u16,
        /// Exponent of the same, `0 ..= 63`.
        scale_shift: u8,
    },
}

impl Clusters {
    /// Number of clusters.
    pub const fn count(self) -> u16 {
        match self {
            Self::Prototypes { count, .. } | Self::Linear { count, .. } | Self::Residual { count, .. } => count,
        }
    }
}

/// Golden vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Golden {
    /// Number of samples.
    pub count: u16,
    /// Offset of the raw samples, each as long as the input; for [`Raw::Indices`], of an [`IndexList`] for each, 4-byte aligned.
    pub samples: u32,
    /// Offset of the outputs: a record of bytes for each sample, one right after another. A record holds what the model has heads
    /// for, in this order, numbers the lowest byte first: the embedding (int8, all dimensions), the code ([`Hash::bits`]`.div_ceil(8)`
    /// bytes; bit `j` is bit `j % 8` of byte `j / 8`), the cluster's id (u16), the least residual (u32; only
    /// [`Clusters::Residual`] has it), the embedding by the cluster's expert (int8, all dimensions).
    pub outputs: u32,
}

/// Where the indices of a golden sample lie, and how many they are: 8 bytes in the blob, little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct IndexList {
    /// Offset of the indices, u16, 2-byte aligned.
    pub offset: u32,
    /// Number of indices; 0 to [`MAX_INDEXED`].
    pub count: u32,
}

/// Where a model comes from and how good it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card<'a> {
    /// The objective's name, as in a recipe.
    pub objective: &'a str,
    /// The data set's name.
    pub dataset: &'a str,
    /// SHA-256 of the data set.
    pub dataset_sha256: [u8; 32],
    /// SHA-256 of the resolved recipe.
    pub recipe_sha256: [u8; 32],
    /// The run's seed.
    pub seed: u64,
    /// The trainer's version.
    pub producer: &'a str,
    /// Quality of truncated int8 embeddings.
    pub truncation: Vec<TruncationQuality, MAX_QUALITY>,
    /// Quality of truncated codes.
    pub hash: Vec<HashQuality, MAX_QUALITY>,
}

/// Quality of the first `dims` dimensions, as fractions; measured as the card's producer documents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruncationQuality {
    /// Dimensions kept.
    pub dims: u16,
    /// Accuracy of a nearest-neighbour vote.
    pub knn_acc: f32,
    /// Mean average precision of retrieval.
    pub map: f32,
}

/// Quality of the first `bits` bits, as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HashQuality {
    /// Bits kept.
    pub bits: u16,
    /// Mean average precision of retrieval by Hamming distance.
    pub map: f32,
}
