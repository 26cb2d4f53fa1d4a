//! Reading a [`Description`](crate::description::Description) record by record, as postcard encodes it, without holding it.
//!
//! A chip needs a layer at a time and a head or two, and would pay kilobytes of code for a decoder of the whole structure. Here the variants
//! of an enumeration share one record of numbers, and one loop over a table of fields reads them all:
//! `what_postcard_writes_is_read_alike` in this file's tests holds it to the description's own decoder, on whole and on damaged bytes.

use bytemuck::{Pod, Zeroable};

use crate::description::{MAX_LAYERS, Window};
use crate::numerics::Output;

/// A field: in the lower byte how it is encoded, in the upper one the variants of its record that have it, a bit for each.
type Field = u16;

// Encodings: so many bytes, the lowest first ...
const BYTE: u16 = 1;
const TRIPLE: u16 = 3;
const FLOAT: u16 = 4;
// ... or a varint of so many bits: seven a byte, the lowest first, bit 7 set on all but the last byte.
const SHORT: u16 = 16;
const LONG: u16 = 32;

/// A byte that says whether the optional fields after it are there.
const OPTION: Field = ALWAYS;
/// Bit of the variant that stands for an option that is not there.
const ABSENT: u32 = 7;
/// In every variant.
const ALWAYS: u16 = 0xff << 8;

/// Which of so many variants the fields after it belong to.
const fn variant_of(count: u16) -> u16 {
    LONG + count
}

/// A field of the variants whose numbers are set in `variants`.
const fn only(variants: u16, encoding: u16) -> Field {
    variants << 8 | encoding
}

const fn always(encoding: u16) -> Field {
    ALWAYS | encoding
}

/// What is left to read. What does not decode reads as 0, and from then on nothing is left: [`Cursor::failed`] says so at the end.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    failed: bool,
}

/// The input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct InputRecord {
    /// Height, width, channels.
    pub shape: [u32; 3],
    /// [`Input::place`](crate::description::Input::place).
    pub place: u32,
    /// 0: bytes, 1: indices.
    pub raw: u32,
    /// The bits of [`Input::scale`](crate::description::Input::scale).
    pub scale: u32,
    /// The bits of [`Input::offset`](crate::description::Input::offset).
    pub offset: u32,
}

const INPUT: [Field; 7] =
    [always(SHORT), always(SHORT), always(SHORT), always(LONG), always(variant_of(2)), always(FLOAT), always(FLOAT)];

/// A layer; 0 where its kind has no such field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LayerRecord {
    /// Place of the output.
    pub place: u32,
    /// Place of the scratch.
    pub scratch: u32,
    /// Which [`Operation`](crate::description::Operation): one of [`kind`].
    pub kind: u32,
    /// Rows.
    pub outputs: u32,
    /// The window.
    pub window: Window,
    /// Offset of the weights.
    pub weights: u32,
    /// Offset of the biases.
    pub biases: u32,
    /// Offset of the scales.
    pub scales: u32,
    /// Place of what is added.
    pub other: u32,
    /// Offset of an addition's constants.
    pub sum: u32,
    /// A recalled tensor's height, width, channels.
    pub shape: [u32; 3],
    /// The output's grid; 0 for poolings, which keep their input's, and for a recalled tensor.
    pub output: Output,
    /// Fills the word.
    pub unused: u8,
    /// A recalled tensor's zero point, an int8 in the lowest byte.
    pub zero_point: u32,
}

impl LayerRecord {
    /// Of no layer yet.
    #[inline(always)]
    pub fn unread() -> Self {
        let [none] = unread();
        let bytes = [none as u8; 4];
        let [kernel, stride] = [[none as u8; 2]; 2];
        Self {
            place: none,
            scratch: none,
            kind: none,
            outputs: none,
            window: Window { kernel, stride, padding: bytes },
            weights: none,
            biases: none,
            scales: none,
            other: none,
            sum: none,
            shape: [none; 3],
            output: Output::default(),
            unused: 0,
            zero_point: none,
        }
    }
}

/// The kinds of layers, as they are encoded.
pub mod kind {
    /// [`Operation::Dense`](crate::description::Operation::Dense)
    pub const DENSE: u32 = 0;
    /// [`Operation::Conv2d`](crate::description::Operation::Conv2d)
    pub const CONV_2D: u32 = 1;
    /// [`Operation::DepthwiseConv2d`](crate::description::Operation::DepthwiseConv2d)
    pub const DEPTHWISE_CONV_2D: u32 = 2;
    /// [`Operation::MaxPool2d`](crate::description::Operation::MaxPool2d)
    pub const MAX_POOL_2D: u32 = 3;
    /// [`Operation::AveragePool2d`](crate::description::Operation::AveragePool2d)
    pub const AVERAGE_POOL_2D: u32 = 4;
    /// [`Operation::Add`](crate::description::Operation::Add)
    pub const ADD: u32 = 5;
    /// [`Operation::Recall`](crate::description::Operation::Recall)
    pub const RECALL: u32 = 6;
}

const LAYER: [Field; 16] = {
    const OUTPUTS: u16 = 0b000_0011;
    const WINDOW: u16 = 0b001_1110;
    const ROWS: u16 = 0b000_0111;
    const ADD: u16 = 0b010_0000;
    const RECALL: u16 = 0b100_0000;
    [
        always(LONG),
        always(LONG),
        always(variant_of(7)),
        only(OUTPUTS, SHORT),
        only(WINDOW, FLOAT),
        only(WINDOW, FLOAT),
        only(ROWS, LONG),
        only(ROWS, LONG),
        only(ROWS, LONG),
        only(ADD, LONG),
        only(ADD, LONG),
        only(RECALL, SHORT),
        only(RECALL, SHORT),
        only(RECALL, SHORT),
        only(ROWS | ADD, TRIPLE),
        only(RECALL, BYTE),
    ]
};

/// Where the heads work and write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PlacesRecord {
    /// Place of an embedding.
    pub output: u32,
    /// Place of the widened features.
    pub scratch: u32,
}

/// An embedding, or the experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct EmbeddingRecord {
    /// 1 where there is one; else 0, as all the others.
    pub is_there: u32,
    /// Rows.
    pub count: u32,
    /// Offset of the weights.
    pub weights: u32,
    /// Offset of the biases.
    pub biases: u32,
    /// Offset of the scales.
    pub scales: u32,
    /// The bits of the real scale.
    pub scale: u32,
    /// Offset of the eigenvalues.
    pub eigenvalues: u32,
}

/// A hash: which fields have a meaning depends on its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HashRecord {
    /// 1 where there is one; else 0, as all the others.
    pub is_there: u32,
    /// The number of the [`Hash`](crate::description::Hash).
    pub kind: u32,
    /// Heads of a product code.
    pub heads: u32,
    /// Classes of each, or clusters.
    pub classes: u32,
    /// Thresholds, or an expert's rows.
    pub rows: u32,
    /// Offset of the weights.
    pub weights: u32,
    /// Offset of the biases.
    pub biases: u32,
}

/// Clusters: which fields have a meaning depends on their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ClustersRecord {
    /// 1 where there are some; else 0, as all the others.
    pub is_there: u32,
    /// The number of the [`Clusters`](crate::description::Clusters).
    pub kind: u32,
    /// Number of clusters.
    pub count: u32,
    /// Dimensions of prototypes.
    pub dims: u32,
    /// Offset of prototypes, centres or weights.
    pub weights: u32,
    /// Offset of the biases.
    pub biases: u32,
    /// Right shift of accumulators.
    pub shift: u32,
    /// Significand of the factor to squared steps.
    pub multiplier: u32,
    /// Exponent of the same.
    pub scale_shift: u32,
}

/// The golden vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GoldenRecord {
    /// Number of samples.
    pub count: u32,
    /// Offset of the samples.
    pub samples: u32,
    /// Offset of the outputs.
    pub outputs: u32,
}

/// So many numbers of what follows the layers: as many as its longest record has.
pub type Numbers = [u32; 9];

macro_rules! of_numbers {
    ($($record:ty, $words:literal;)*) => {$(
        impl $record {
            /// The record that begins these numbers.
            #[inline(always)]
            pub fn of(numbers: &Numbers) -> &Self {
                const NONE: &[u32; $words] = &[0; $words];
                bytemuck::must_cast_ref(numbers.first_chunk().unwrap_or(NONE))
            }
        }
    )*};
}

of_numbers! {
    PlacesRecord, 2;
    EmbeddingRecord, 7;
    HashRecord, 7;
    ClustersRecord, 9;
    GoldenRecord, 3;
}

/// Where the records of what follows the layers lie among its numbers, see [`Cursor::heads`].
pub mod head {
    /// A [`PlacesRecord`](super::PlacesRecord).
    pub const PLACES: usize = 0;
    /// An [`EmbeddingRecord`](super::EmbeddingRecord).
    pub const EMBEDDING: usize = 2;
    /// A [`HashRecord`](super::HashRecord).
    pub const HASH: usize = 9;
    /// A [`ClustersRecord`](super::ClustersRecord).
    pub const CLUSTERS: usize = 16;
    /// An [`EmbeddingRecord`](super::EmbeddingRecord).
    pub const EXPERTS: usize = 25;
    /// A [`GoldenRecord`](super::GoldenRecord).
    pub const GOLDEN: usize = 32;
}

const HEADS: [Field; 35] = {
    const THERE: u16 = 1;
    const THRESHOLDS: u16 = 1;
    const PRODUCT: u16 = 1 << 1;
    const OF_EXPERTS: u16 = 1 << 2;
    const PROTOTYPES: u16 = 1;
    const LINEAR: u16 = 1 << 1;
    const RESIDUAL: u16 = 1 << 2;
    [
        always(LONG),
        always(LONG),
        // The embedding.
        OPTION,
        only(THERE, SHORT),
        only(THERE, LONG),
        only(THERE, LONG),
        only(THERE, LONG),
        only(THERE, FLOAT),
        only(THERE, LONG),
        // The hash.
        OPTION,
        only(THERE, variant_of(3)),
        only(PRODUCT, BYTE),
        only(PRODUCT | OF_EXPERTS, SHORT),
        only(THRESHOLDS | OF_EXPERTS, SHORT),
        only(THRESHOLDS | PRODUCT, LONG),
        only(THRESHOLDS | PRODUCT, LONG),
        // The clusters.
        OPTION,
        only(THERE, variant_of(3)),
        only(PROTOTYPES | LINEAR | RESIDUAL, SHORT),
        only(PROTOTYPES, SHORT),
        only(PROTOTYPES | LINEAR | RESIDUAL, LONG),
        only(LINEAR, LONG),
        only(RESIDUAL, BYTE),
        only(RESIDUAL, SHORT),
        only(RESIDUAL, BYTE),
        // The experts.
        OPTION,
        only(THERE, SHORT),
        only(THERE, LONG),
        only(THERE, LONG),
        only(THERE, LONG),
        only(THERE, FLOAT),
        only(THERE, LONG),
        // The golden vectors.
        always(SHORT),
        always(LONG),
        always(LONG),
    ]
};

/// Numbers of a record that is still to be read.
// Zeros that the compiler does not know as such: it would clear them by a call of memset, of whose code a chip may have no other need.
#[inline(always)]
pub fn unread<const N: usize>() -> [u32; N] {
    [core::hint::black_box(0); N]
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, failed: false }
    }

    /// Whether something did not decode.
    pub const fn failed(&self) -> bool {
        self.failed
    }

    fn fail(&mut self) {
        *self = Self { rest: &[], failed: true };
    }

    #[inline(never)]
    fn byte(&mut self) -> u32 {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                u32::from(*first)
            }
            [] => {
                self.fail();
                0
            }
        }
    }

    /// The next number, encoded so.
    // One copy for all encodings.
    #[inline(never)]
    fn number(&mut self, encoding: u16) -> u32 {
        let encoding = u32::from(encoding);
        let (mut value, mut shift) = (0u32, 0u32);
        if encoding < SHORT.into() {
            let bits = encoding.max(1).wrapping_mul(8);
            while shift < bits {
                value |= self.byte().wrapping_shl(shift);
                shift = shift.wrapping_add(8);
            }
            if encoding > 0 || value <= 1 {
                return value;
            }
        } else {
            let bits = encoding.min(u32::BITS);
            while shift < bits {
                let byte = self.byte();
                let low = byte & 0x7f;
                value |= low.wrapping_shl(shift);
                if byte < 0x80 {
                    // What the last byte holds must fit, and a variant must be known.
                    let is_over = low.checked_shr(bits.wrapping_sub(shift)).unwrap_or(0) != 0;
                    if is_over || encoding > bits && value >= encoding.wrapping_sub(bits) {
                        break;
                    }
                    return value;
                }
                shift = shift.wrapping_add(7);
            }
        }
        self.fail();
        0
    }

    /// Reads the numbers of `fields`, and stores those from number `first` on.
    #[inline(never)]
    fn record(&mut self, fields: &[Field], first: usize, to: &mut [u32]) {
        let mut variant = 0u32;
        let mut place = 0usize.wrapping_sub(first);
        for field in fields {
            let encoding = field & 0xff;
            let mut value = 0;
            if (field >> 8).wrapping_shr(variant) & 1 != 0 {
                value = self.number(encoding);
                if encoding == 0 {
                    // There: variant 0.
                    variant = value.wrapping_sub(1) & ABSENT;
                } else if encoding > LONG {
                    variant = value;
                }
            }
            if let Some(to) = to.get_mut(place) {
                *to = value;
            }
            place = place.wrapping_add(1);
        }
    }

    /// [`Description::input`](crate::description::Description::input), the first field.
    pub fn input(&mut self) -> InputRecord {
        let mut numbers = unread();
        self.record(&INPUT, 0, &mut numbers);
        let [height, width, channels, place, raw, scale, offset] = numbers;
        InputRecord { shape: [height, width, channels], place, raw, scale, offset }
    }

    /// The number of layers, which follow.
    pub fn layers(&mut self) -> u32 {
        let count = self.number(LONG);
        if count as usize > MAX_LAYERS {
            self.fail();
        }
        count
    }

    /// The next layer.
    pub fn layer(&mut self, to: &mut LayerRecord) {
        self.record(&LAYER, 0, bytemuck::must_cast_mut::<_, [u32; 16]>(to));
    }

    /// What follows the layers, but for the card: stores the numbers from `first` on, one of [`head`]'s.
    pub fn heads(&mut self, first: usize, to: &mut [u32]) {
        self.record(&HEADS, first, to);
    }

    /// Passes the card, the last field.
    pub fn card(&mut self) {
        match self.number(LONG) as usize {
            length if length <= self.rest.len() => {}
            _ => self.fail(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::description::{
        Add, Clusters, Conv2d, Dense, DepthwiseConv2d, Description, Embedding, Golden, Hash, Input, Layer, Operation,
        Places, Raw, Recall, Rows,
    };

    /// All that follows the layers.
    #[derive(Debug, PartialEq)]
    struct Heads {
        places: PlacesRecord,
        embedding: EmbeddingRecord,
        hash: HashRecord,
        clusters: ClustersRecord,
        experts: EmbeddingRecord,
        golden: GoldenRecord,
    }

    /// The numbers of a description, by the cursor; `None` where it does not decode.
    fn read(bytes: &[u8]) -> Option<(InputRecord, Vec<LayerRecord>, Heads)> {
        let cursor = &mut Cursor::new(bytes);
        let input = cursor.input();
        let count = cursor.layers();
        let mut layers = Vec::new();
        for _ in 0..count {
            if cursor.failed() {
                return None;
            }
            let mut layer = LayerRecord::default();
            cursor.layer(&mut layer);
            layers.push(layer);
        }
        fn head<R: Pod>(cursor: &Cursor, first: usize) -> R {
            let mut record = R::zeroed();
            cursor.clone().heads(first, bytemuck::cast_slice_mut(core::slice::from_mut(&mut record)));
            record
        }
        let heads = Heads {
            places: head(cursor, head::PLACES),
            embedding: head(cursor, head::EMBEDDING),
            hash: head(cursor, head::HASH),
            clusters: head(cursor, head::CLUSTERS),
            experts: head(cursor, head::EXPERTS),
            golden: head(cursor, head::GOLDEN),
        };
        cursor.heads(0, &mut []);
        cursor.card();
        (!cursor.failed()).then_some((input, layers, heads))
    }

    /// The same numbers, from the description.
    fn records(description: &Description) -> (InputRecord, Vec<LayerRecord>, Heads) {
        let Input { shape, place, raw, scale, offset } = description.input;
        let input = InputRecord {
            shape: shape.map(u32::from),
            place,
            raw: (raw == Raw::Indices).into(),
            scale: scale.to_bits(),
            offset: offset.to_bits(),
        };
        let heads = Heads {
            places: PlacesRecord { output: description.heads.output, scratch: description.heads.scratch },
            embedding: embedding_record(description.embedding),
            hash: match description.hash {
                None => HashRecord::default(),
                Some(Hash::Thresholds { bits, weights, biases }) => {
                    HashRecord { is_there: 1, kind: 0, rows: bits.into(), weights, biases, ..Default::default() }
                }
                Some(Hash::Product { heads, classes, weights, biases }) => HashRecord {
                    is_there: 1,
                    kind: 1,
                    heads: heads.into(),
                    classes: classes.into(),
                    rows: 0,
                    weights,
                    biases,
                },
                Some(Hash::Experts { classes, rows }) => HashRecord {
                    is_there: 1,
                    kind: 2,
                    classes: classes.into(),
                    rows: rows.into(),
                    ..Default::default()
                },
            },
            clusters: match description.clusters {
                None => ClustersRecord::default(),
                Some(Clusters::Prototypes { count, dims, prototypes: weights }) => ClustersRecord {
                    is_there: 1,
                    kind: 0,
                    count: count.into(),
                    dims: dims.into(),
                    weights,
                    ..Default::default()
                },
                Some(Clusters::Linear { count, weights, biases }) => {
                    ClustersRecord { is_there: 1, kind: 1, count: count.into(), weights, biases, ..Default::default() }
                }
                Some(Clusters::Residual { count, centres, shift, multiplier, scale_shift }) => ClustersRecord {
                    is_there: 1,
                    kind: 2,
                    count: count.into(),
                    weights: centres,
                    shift: shift.into(),
                    multiplier: multiplier.into(),
                    scale_shift: scale_shift.into(),
                    ..Default::default()
                },
            },
            experts: embedding_record(description.experts),
            golden: {
                let Golden { count, samples, outputs } = description.golden;
                GoldenRecord { count: count.into(), samples, outputs }
            },
        };
        (input, description.layers.iter().map(layer_record).collect(), heads)
    }

    fn embedding_record(embedding: Option<Embedding>) -> EmbeddingRecord {
        embedding.map_or(EmbeddingRecord::default(), |Embedding { count, rows, scale, eigenvalues }| EmbeddingRecord {
            is_there: 1,
            count: count.into(),
            weights: rows.weights,
            biases: rows.biases,
            scales: rows.scales,
            scale: scale.to_bits(),
            eigenvalues,
        })
    }

    fn layer_record(layer: &Layer) -> LayerRecord {
        let mut record =
            LayerRecord { place: layer.places.output, scratch: layer.places.scratch, ..Default::default() };
        let mut outputs_of = |outputs: u16| record.outputs = outputs.into();
        match &layer.operation {
            Operation::Dense(dense) => outputs_of(dense.outputs),
            Operation::Conv2d(conv) => outputs_of(conv.outputs),
            _ => {}
        }
        let (kind, window, rows, output) = match &layer.operation {
            Operation::Dense(dense) => (kind::DENSE, None, Some(dense.rows), Some(dense.output)),
            Operation::Conv2d(conv) => (kind::CONV_2D, Some(conv.window), Some(conv.rows), Some(conv.output)),
            Operation::DepthwiseConv2d(conv) => {
                (kind::DEPTHWISE_CONV_2D, Some(conv.window), Some(conv.rows), Some(conv.output))
            }
            Operation::MaxPool2d(window) => (kind::MAX_POOL_2D, Some(*window), None, None),
            Operation::AveragePool2d(window) => (kind::AVERAGE_POOL_2D, Some(*window), None, None),
            Operation::Add(add) => {
                (record.other, record.sum) = (add.other, add.sum);
                (kind::ADD, None, None, Some(add.output))
            }
            Operation::Recall(recall) => {
                record.shape = recall.shape.map(u32::from);
                record.zero_point = (recall.zero_point as u8).into();
                (kind::RECALL, None, None, None)
            }
        };
        record.kind = kind;
        record.window = window.unwrap_or_default();
        if let Some(Rows { weights, biases, scales }) = rows {
            (record.weights, record.biases, record.scales) = (weights, biases, scales);
        }
        record.output = output.unwrap_or_default();
        record
    }

    /// xorshift32; as many small numbers as large ones.
    struct Random(u32);

    impl Random {
        fn bits(&mut self) -> u32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            self.0
        }

        fn u32(&mut self) -> u32 {
            let shift = self.bits() % 32;
            self.bits() >> shift
        }

        fn u16(&mut self) -> u16 {
            self.u32() as u16
        }

        fn rows(&mut self) -> Rows {
            Rows { weights: self.u32(), biases: self.u32(), scales: self.u32() }
        }

        fn window(&mut self) -> Window {
            let mut byte = || self.bits() as u8;
            Window { kernel: [byte(), byte()], stride: [byte(), byte()], padding: [byte(), byte(), byte(), byte()] }
        }

        fn output(&mut self) -> Output {
            Output { zero_point: self.bits() as i8, minimum: self.bits() as i8, maximum: self.bits() as i8 }
        }

        fn layer(&mut self) -> Layer {
            let places = Places { output: self.u32(), scratch: self.u32() };
            let operation = match self.bits() % 7 {
                0 => Operation::Dense(Dense { outputs: self.u16(), rows: self.rows(), output: self.output() }),
                1 => Operation::Conv2d(Conv2d {
                    outputs: self.u16(),
                    window: self.window(),
                    rows: self.rows(),
                    output: self.output(),
                }),
                2 => Operation::DepthwiseConv2d(DepthwiseConv2d {
                    window: self.window(),
                    rows: self.rows(),
                    output: self.output(),
                }),
                3 => Operation::MaxPool2d(self.window()),
                4 => Operation::AveragePool2d(self.window()),
                5 => Operation::Add(Add { other: self.u32(), sum: self.u32(), output: self.output() }),
                _ => Operation::Recall(Recall {
                    shape: [self.u16(), self.u16(), self.u16()],
                    zero_point: self.bits() as i8,
                }),
            };
            Layer { places, operation }
        }

        fn embedding(&mut self) -> Option<Embedding> {
            (!self.bits().is_multiple_of(4)).then(|| Embedding {
                count: self.u16(),
                rows: self.rows(),
                // A number: what is none is not equal to itself.
                scale: (self.bits() >> 8) as f32,
                eigenvalues: self.u32(),
            })
        }

        fn description(&mut self) -> Description<'static> {
            let layers = (0..self.bits() % 9).map(|_| self.layer()).collect();
            let hash = match self.bits() % 4 {
                0 => None,
                1 => Some(Hash::Thresholds { bits: self.u16(), weights: self.u32(), biases: self.u32() }),
                2 => Some(Hash::Product {
                    heads: self.bits() as u8,
                    classes: self.u16(),
                    weights: self.u32(),
                    biases: self.u32(),
                }),
                _ => Some(Hash::Experts { classes: self.u16(), rows: self.u16() }),
            };
            let clusters = match self.bits() % 4 {
                0 => None,
                1 => Some(Clusters::Prototypes { count: self.u16(), dims: self.u16(), prototypes: self.u32() }),
                2 => Some(Clusters::Linear { count: self.u16(), weights: self.u32(), biases: self.u32() }),
                _ => Some(Clusters::Residual {
                    count: self.u16(),
                    centres: self.u32(),
                    shift: self.bits() as u8,
                    multiplier: self.u16(),
                    scale_shift: self.bits() as u8,
                }),
            };
            Description {
                input: Input {
                    shape: [self.u16(), self.u16(), self.u16()],
                    place: self.u32(),
                    raw: if self.bits().is_multiple_of(2) { Raw::U8 } else { Raw::Indices },
                    scale: self.bits() as f32,
                    offset: -(self.bits() as f32),
                },
                layers,
                heads: Places { output: self.u32(), scratch: self.u32() },
                embedding: self.embedding(),
                hash,
                clusters,
                experts: self.embedding(),
                golden: Golden { count: self.u16(), samples: self.u32(), outputs: self.u32() },
                card: b"a card",
            }
        }
    }

    /// Whether both decoders make the same of the bytes.
    fn agree(bytes: &[u8]) -> bool {
        read(bytes) == postcard::from_bytes::<Description>(bytes).ok().map(|description| records(&description))
    }

    #[test]
    fn what_postcard_writes_is_read_alike() {
        let random = &mut Random(1);
        let (mut whole, mut damaged) = (0, 0);
        for _ in 0..300 {
            let description = random.description();
            let mut bytes = postcard::to_allocvec(&description).unwrap();
            assert_eq!(read(&bytes), Some(records(&description)));
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), None, "cut to {end} bytes");
            }
            for _ in 0..200 {
                let at = random.bits() as usize % bytes.len();
                let before = bytes[at];
                bytes[at] = random.bits() as u8;
                assert!(agree(&bytes), "{bytes:?}");
                *if read(&bytes).is_some() { &mut whole } else { &mut damaged } += 1;
                bytes[at] = before;
            }
        }
        assert!(whole > 1000 && damaged > 1000, "{whole} whole, {damaged} not");
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        for (bytes, bits, expected) in [
            (&[0x7f][..], 16, Some(127)),
            (&[0xff, 0xff, 3], 16, Some(65535)),
            (&[0xff, 0xff, 4], 16, None),
            (&[0x80, 0x80, 0x80, 0], 16, None),
            (&[0xff, 0xff, 0xff, 0xff, 15], 32, Some(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 16], 32, None),
            (&[0x80, 0], 16, Some(0)),
            (&[0x80], 32, None),
        ] {
            let mut cursor = Cursor::new(bytes);
            let found = cursor.number(bits);
            assert_eq!((!cursor.failed()).then_some(found), expected, "{bytes:?}");
        }
    }
}
