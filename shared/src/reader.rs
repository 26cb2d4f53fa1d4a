//! Reading a [`Description`](crate::description::Description) record by record, as postcard encodes it, without holding it.
//!
//! A chip needs a layer at a time and some heads, and would pay kilobytes of code for a decoder of the whole structure. Here the variants
//! of an enumeration share one record of numbers, and one loop reads them all: `what_postcard_writes_is_read_alike` in this
//! file's tests holds it to the description's own decoder, on whole and on damaged bytes.

use bytemuck::{Pod, Zeroable};

use crate::description::{MAX_LAYERS, Window};
use crate::numerics::Output;

/// How a field lies: a varint of so many bits, or one of these.
const BYTE: u8 = 8;
const FLOAT: u8 = 0;

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
    /// Height and width.
    pub kernel: [u32; 2],
    /// Down and right.
    pub stride: [u32; 2],
    /// Top, left, bottom, right.
    pub padding: [u32; 4],
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
    /// The output's zero point, minimum and maximum, each an int8 in the lowest byte.
    pub output: [u32; 3],
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

impl LayerRecord {
    /// The window, of kinds that have one.
    pub fn window(&self) -> Window {
        Window {
            kernel: self.kernel.map(|value| value as u8),
            stride: self.stride.map(|value| value as u8),
            padding: self.padding.map(|value| value as u8),
        }
    }

    /// The output's grid; of a recalled tensor, only the zero point.
    pub fn output(&self) -> Output {
        let [zero_point, minimum, maximum] = self.output.map(|value| value as i8);
        Output { zero_point, minimum, maximum }
    }
}

/// All heads, and the golden vectors. Of an absent head, all is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HeadsRecord {
    /// Place of an embedding.
    pub place: u32,
    /// Place of the widened features.
    pub scratch: u32,
    /// The embedding.
    pub embedding: EmbeddingRecord,
    /// The hash.
    pub hash: HashRecord,
    /// The clusters.
    pub clusters: ClustersRecord,
    /// The experts.
    pub experts: EmbeddingRecord,
    /// The golden vectors.
    pub golden: GoldenRecord,
}

/// An embedding, or the experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct EmbeddingRecord {
    /// 0: none, 1: some.
    pub kind: u32,
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
    /// 0: none; else one more than the number of the [`Hash`](crate::description::Hash).
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
    /// 0: none; else one more than the number of the [`Clusters`](crate::description::Clusters).
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

/// The golden vectors' number and offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GoldenRecord {
    /// Number of samples.
    pub count: u32,
    /// Offsets of samples, embeddings, codes, clusters, experts' embeddings, scores.
    pub lists: [u32; 6],
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

    /// The next field, [`BYTE`], [`FLOAT`], or a varint of 16 or 32 bits: seven a byte, the lowest first, bit 7 set on all but the last
    /// byte.
    // One copy for all widths.
    #[inline(never)]
    fn field(&mut self, width: u8) -> u32 {
        if width == BYTE {
            return self.byte();
        }
        let (mut value, mut shift) = (0u32, 0u32);
        if width == FLOAT {
            while shift < u32::BITS {
                value |= self.byte().wrapping_shl(shift);
                shift = shift.wrapping_add(8);
            }
            return value;
        }
        let bits = u32::from(width);
        while shift < bits {
            let byte = self.byte();
            let low = byte & 0x7f;
            value |= low.wrapping_shl(shift);
            if byte < 0x80 {
                // What the last byte holds must fit.
                if low.checked_shr(bits.wrapping_sub(shift)).unwrap_or(0) != 0 {
                    break;
                }
                return value;
            }
            shift = shift.wrapping_add(7);
        }
        self.fail();
        0
    }

    /// Reads fields of those widths, but for those whose bit in `mask` is 0.
    #[inline(never)]
    fn fields(&mut self, widths: &[u8], mask: u32, to: &mut [u32]) {
        let mut mask = mask;
        for (to, width) in to.iter_mut().zip(widths) {
            if mask & 1 != 0 {
                *to = self.field(*width);
            }
            mask >>= 1;
        }
    }

    /// Whether an option is there: 1, or 0.
    #[inline(never)]
    fn option(&mut self) -> u32 {
        let tag = self.byte();
        if tag > 1 {
            self.fail();
            return 0;
        }
        tag
    }

    /// The mask of the variant that is next, and its number; none fails.
    #[inline(never)]
    fn variant(&mut self, masks: &[u32]) -> (u32, u32) {
        let number = self.field(32);
        match masks.get(number as usize) {
            Some(mask) => (*mask, number),
            None => {
                self.fail();
                (0, 0)
            }
        }
    }

    /// [`Description::input`](crate::description::Description::input), the first field.
    pub fn input(&mut self) -> InputRecord {
        let mut input = InputRecord::default();
        self.fields(&[16, 16, 16, 32, 32, FLOAT, FLOAT], !0, bytemuck::must_cast_mut::<_, [u32; 7]>(&mut input));
        if input.raw > 1 {
            self.fail();
        }
        input
    }

    /// The number of layers, which follow.
    pub fn layers(&mut self) -> u32 {
        let count = self.field(32);
        if count as usize > MAX_LAYERS {
            self.fail();
        }
        count
    }

    /// The next layer.
    #[inline(never)]
    pub fn layer(&mut self, to: &mut LayerRecord) {
        const WIDTHS: [u8; 23] = [
            16, BYTE, BYTE, BYTE, BYTE, BYTE, BYTE, BYTE, BYTE, 32, 32, 32, 32, 32, 16, 16, 16, BYTE, BYTE, BYTE, 0, 0,
            0,
        ];
        const OUTPUTS: u32 = 1;
        const WINDOW: u32 = 0xff << 1;
        const ROWS: u32 = 0b111 << 9;
        const SUM: u32 = 0b11 << 12;
        const SHAPE: u32 = 0b111 << 14;
        const ZERO_POINT: u32 = 1 << 17;
        const OUTPUT: u32 = 0b111 << 17;
        *to = LayerRecord::default();
        let [place, scratch, kind, rest @ ..] = bytemuck::must_cast_mut::<_, [u32; 23]>(to);
        (*place, *scratch) = (self.field(32), self.field(32));
        let (mask, number) = self.variant(&[
            OUTPUTS | ROWS | OUTPUT,
            OUTPUTS | WINDOW | ROWS | OUTPUT,
            WINDOW | ROWS | OUTPUT,
            WINDOW,
            WINDOW,
            SUM | OUTPUT,
            SHAPE | ZERO_POINT,
        ]);
        *kind = number;
        self.fields(&WIDTHS, mask, rest);
    }

    /// What follows the layers, but for the card.
    #[inline(never)]
    pub fn heads(&mut self, to: &mut HeadsRecord) {
        (to.place, to.scratch) = (self.field(32), self.field(32));
        self.embedding(&mut to.embedding);
        if self.option() != 0 {
            let (mask, number) = self.variant(&[0b11100, 0b11011, 0b00110]);
            let [kind, rest @ ..] = bytemuck::must_cast_mut::<_, [u32; 6]>(&mut to.hash);
            *kind = number.wrapping_add(1);
            self.fields(&[BYTE, 16, 16, 32, 32], mask, rest);
        }
        if self.option() != 0 {
            let (mask, number) = self.variant(&[0b000_0111, 0b000_1101, 0b111_0101]);
            let [kind, rest @ ..] = bytemuck::must_cast_mut::<_, [u32; 8]>(&mut to.clusters);
            *kind = number.wrapping_add(1);
            self.fields(&[16, 16, 32, 32, BYTE, 16, BYTE], mask, rest);
        }
        self.embedding(&mut to.experts);
        let golden = bytemuck::must_cast_mut::<_, [u32; 7]>(&mut to.golden);
        self.fields(&[16, 32, 32, 32, 32, 32, 32], !0, golden);
    }

    #[inline(never)]
    fn embedding(&mut self, to: &mut EmbeddingRecord) {
        let [kind, rest @ ..] = bytemuck::must_cast_mut::<_, [u32; 7]>(to);
        *kind = self.option();
        self.fields(&[16, 32, 32, 32, FLOAT, 32], 0u32.wrapping_sub(*kind), rest);
    }

    /// Passes the card, the last field.
    pub fn card(&mut self) {
        match self.field(32) as usize {
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

    /// The numbers of a description, by the cursor; `None` where it does not decode.
    fn read(bytes: &[u8]) -> Option<(InputRecord, Vec<LayerRecord>, HeadsRecord)> {
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
        let mut heads = HeadsRecord::default();
        cursor.heads(&mut heads);
        cursor.card();
        (!cursor.failed()).then_some((input, layers, heads))
    }

    /// The same numbers, from the description.
    fn records(description: &Description) -> (InputRecord, Vec<LayerRecord>, HeadsRecord) {
        let Input { shape, place, raw, scale, offset } = description.input;
        let input = InputRecord {
            shape: shape.map(u32::from),
            place,
            raw: (raw == Raw::Indices).into(),
            scale: scale.to_bits(),
            offset: offset.to_bits(),
        };
        let heads = HeadsRecord {
            place: description.heads.output,
            scratch: description.heads.scratch,
            embedding: embedding_record(description.embedding),
            hash: match description.hash {
                None => HashRecord::default(),
                Some(Hash::Thresholds { bits, weights, biases }) => {
                    HashRecord { kind: 1, rows: bits.into(), weights, biases, ..Default::default() }
                }
                Some(Hash::Product { heads, classes, weights, biases }) => {
                    HashRecord { kind: 2, heads: heads.into(), classes: classes.into(), rows: 0, weights, biases }
                }
                Some(Hash::Experts { classes, rows }) => {
                    HashRecord { kind: 3, classes: classes.into(), rows: rows.into(), ..Default::default() }
                }
            },
            clusters: match description.clusters {
                None => ClustersRecord::default(),
                Some(Clusters::Prototypes { count, dims, prototypes: weights }) => {
                    ClustersRecord { kind: 1, count: count.into(), dims: dims.into(), weights, ..Default::default() }
                }
                Some(Clusters::Linear { count, weights, biases }) => {
                    ClustersRecord { kind: 2, count: count.into(), weights, biases, ..Default::default() }
                }
                Some(Clusters::Residual { count, centres, shift, multiplier, scale_shift }) => ClustersRecord {
                    kind: 3,
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
                let Golden { count, samples, embeddings, codes, clusters, experts, scores } = description.golden;
                GoldenRecord { count: count.into(), lists: [samples, embeddings, codes, clusters, experts, scores] }
            },
        };
        (input, description.layers.iter().map(layer_record).collect(), heads)
    }

    fn embedding_record(embedding: Option<Embedding>) -> EmbeddingRecord {
        embedding.map_or(EmbeddingRecord::default(), |Embedding { count, rows, scale, eigenvalues }| EmbeddingRecord {
            kind: 1,
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
                record.output[0] = (recall.zero_point as u8).into();
                (kind::RECALL, None, None, None)
            }
        };
        record.kind = kind;
        if let Some(Window { kernel, stride, padding }) = window {
            (record.kernel, record.stride) = (kernel.map(u32::from), stride.map(u32::from));
            record.padding = padding.map(u32::from);
            assert_eq!(record.window(), window.unwrap());
        }
        if let Some(Rows { weights, biases, scales }) = rows {
            (record.weights, record.biases, record.scales) = (weights, biases, scales);
        }
        if let Some(output) = output {
            record.output = [output.zero_point, output.minimum, output.maximum].map(|value| (value as u8).into());
            assert_eq!(record.output(), output);
        }
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
                golden: Golden {
                    count: self.u16(),
                    samples: self.u32(),
                    embeddings: self.u32(),
                    codes: self.u32(),
                    clusters: self.u32(),
                    experts: self.u32(),
                    scores: self.u32(),
                },
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
            let found = cursor.field(bits);
            assert_eq!((!cursor.failed()).then_some(found), expected, "{bytes:?}");
        }
    }
}
