//! Reading a [`Description`](crate::description::Description) field by field, as postcard encodes it, without holding it.
//!
//! A chip needs a layer at a time and some heads, and would pay kilobytes of code for a decoder of the whole structure. [`Cursor`]
//! reads the same bytes: `what_postcard_writes_is_read_alike` in this file's tests holds the two to each other, on whole and on
//! damaged descriptions.

use crate::description::{
    Add, Clusters, Conv2d, Dense, DepthwiseConv2d, Embedding, Golden, Hash, Input, MAX_LAYERS, Operation, Places, Raw,
    Recall, Rows, Window,
};
use crate::numerics::Output;

/// What is left to read. What does not decode reads as 0, and from then on nothing is left: [`Cursor::failed`] says so at the end.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    failed: bool,
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
    fn byte(&mut self) -> u8 {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                *first
            }
            [] => {
                self.fail();
                0
            }
        }
    }

    /// A varint of so many bits, 16 or 32: seven a byte, the lowest first, bit 7 set on all but the last byte.
    // One copy for both widths.
    #[inline(never)]
    fn varint(&mut self, bits: u32) -> u32 {
        let mut value = 0u32;
        let mut shift = 0u32;
        while shift < bits {
            let byte = self.byte();
            let low = u32::from(byte & 0x7f);
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

    fn u16(&mut self) -> u16 {
        self.varint(16) as u16
    }

    fn u32(&mut self) -> u32 {
        self.varint(32)
    }

    /// A number below `end`: which variant of an enumeration.
    fn variant(&mut self, end: u32) -> u32 {
        let number = self.varint(32);
        if number >= end {
            self.fail();
        }
        number
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.iter_mut().for_each(|byte| *byte = self.byte());
        bytes
    }

    fn f32(&mut self) -> f32 {
        f32::from_le_bytes(self.bytes())
    }

    fn is_some(&mut self) -> bool {
        let tag = self.byte();
        if tag > 1 {
            self.fail();
        }
        tag == 1
    }

    fn shape(&mut self) -> [u16; 3] {
        [self.u16(), self.u16(), self.u16()]
    }

    /// [`Description::input`](crate::description::Description::input), the first field.
    pub fn input(&mut self) -> Input {
        let shape = self.shape();
        let place = self.u32();
        let raw = if self.variant(2) == 0 { Raw::U8 } else { Raw::Indices };
        Input { shape, place, raw, scale: self.f32(), offset: self.f32() }
    }

    /// The number of layers, which follow.
    pub fn layers(&mut self) -> usize {
        let count = self.varint(32) as usize;
        if count > MAX_LAYERS {
            self.fail();
        }
        count
    }

    /// The next layer's operation, which follows its places.
    #[inline(never)]
    pub fn operation(&mut self) -> Operation {
        // The variants have the same fields in the same order, where they have them.
        let kind = self.variant(7);
        let outputs = if kind < 2 { self.u16() } else { 0 };
        let window = if (1..5).contains(&kind) { self.window() } else { Window::default() };
        match kind {
            3 => Operation::MaxPool2d(window),
            4 => Operation::AveragePool2d(window),
            5 => Operation::Add(Add { other: self.u32(), sum: self.u32(), output: self.output() }),
            6 => Operation::Recall(Recall { shape: self.shape(), zero_point: self.byte() as i8 }),
            _ => {
                let (rows, output) = (self.rows(), self.output());
                match kind {
                    0 => Operation::Dense(Dense { outputs, rows, output }),
                    1 => Operation::Conv2d(Conv2d { outputs, window, rows, output }),
                    _ => Operation::DepthwiseConv2d(DepthwiseConv2d { window, rows, output }),
                }
            }
        }
    }

    /// Places, of a layer or of the heads.
    #[inline(never)]
    pub fn places(&mut self) -> Places {
        Places { output: self.u32(), scratch: self.u32() }
    }

    #[inline(never)]
    fn rows(&mut self) -> Rows {
        Rows { weights: self.u32(), biases: self.u32(), scales: self.u32() }
    }

    fn window(&mut self) -> Window {
        Window { kernel: self.bytes(), stride: self.bytes(), padding: self.bytes() }
    }

    #[inline(never)]
    fn output(&mut self) -> Output {
        let [zero_point, minimum, maximum] = self.bytes::<3>().map(|byte| byte as i8);
        Output { zero_point, minimum, maximum }
    }

    /// An embedding, or the experts.
    #[inline(never)]
    pub fn embedding(&mut self) -> Option<Embedding> {
        self.is_some().then(|| Embedding {
            count: self.u16(),
            rows: self.rows(),
            scale: self.f32(),
            eigenvalues: self.u32(),
        })
    }

    /// The hash.
    #[inline(never)]
    pub fn hash(&mut self) -> Option<Hash> {
        self.is_some().then(|| match self.variant(3) {
            0 => Hash::Thresholds { bits: self.u16(), weights: self.u32(), biases: self.u32() },
            1 => Hash::Product { heads: self.byte(), classes: self.u16(), weights: self.u32(), biases: self.u32() },
            _ => Hash::Experts { classes: self.u16(), rows: self.u16() },
        })
    }

    /// The clusters.
    #[inline(never)]
    pub fn clusters(&mut self) -> Option<Clusters> {
        self.is_some().then(|| match self.variant(3) {
            0 => Clusters::Prototypes { count: self.u16(), dims: self.u16(), prototypes: self.u32() },
            1 => Clusters::Linear { count: self.u16(), weights: self.u32(), biases: self.u32() },
            _ => Clusters::Residual {
                count: self.u16(),
                centres: self.u32(),
                shift: self.byte(),
                multiplier: self.u16(),
                scale_shift: self.byte(),
            },
        })
    }

    /// The golden vectors.
    pub fn golden(&mut self) -> Golden {
        Golden {
            count: self.u16(),
            samples: self.u32(),
            embeddings: self.u32(),
            codes: self.u32(),
            clusters: self.u32(),
            experts: self.u32(),
            scores: self.u32(),
        }
    }

    /// The card, still encoded: the last field.
    pub fn card(&mut self) -> &'a [u8] {
        let length = self.varint(32) as usize;
        match self.rest.split_at_checked(length) {
            Some((card, rest)) => {
                self.rest = rest;
                card
            }
            None => {
                self.fail();
                &[]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{Description, Layer, Layers};

    /// The whole description, by the cursor; `None` where it does not decode.
    fn read(bytes: &[u8]) -> Option<Description<'_>> {
        let cursor = &mut Cursor::new(bytes);
        let input = cursor.input();
        let count = cursor.layers();
        let mut layers = Layers::new();
        for _ in 0..count {
            if cursor.failed() {
                return None;
            }
            layers.push(Layer { places: cursor.places(), operation: cursor.operation() }).unwrap();
        }
        let description = Description {
            input,
            layers,
            heads: cursor.places(),
            embedding: cursor.embedding(),
            hash: cursor.hash(),
            clusters: cursor.clusters(),
            experts: cursor.embedding(),
            golden: cursor.golden(),
            card: cursor.card(),
        };
        (!cursor.failed()).then_some(description)
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

    /// What both decoders make of the same bytes; floats by their bits.
    fn agree(bytes: &[u8]) -> bool {
        let encoded = |description: Description| postcard::to_allocvec(&description).unwrap();
        let expected = postcard::from_bytes::<Description>(bytes).ok().map(encoded);
        read(bytes).map(encoded) == expected
    }

    #[test]
    fn what_postcard_writes_is_read_alike() {
        let random = &mut Random(1);
        let (mut whole, mut damaged) = (0, 0);
        for _ in 0..300 {
            let description = random.description();
            let mut bytes = postcard::to_allocvec(&description).unwrap();
            assert_eq!(read(&bytes), Some(description));
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
            let found = cursor.varint(bits);
            assert_eq!((!cursor.failed()).then_some(found), expected, "{bytes:?}");
        }
    }
}
