//! The container: a 32-byte header, one postcard-encoded [`Description`], one opaque data section.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic `EIGENLET` |
//! | 8..10, 10..12 | format version: major, minor |
//! | 12..16 | total length in bytes |
//! | 16..20 | CRC-32 (IEEE 802.3) over everything that follows |
//! | 20..24 | length of the description |
//! | 24..28 | offset of the data section, a multiple of 16 |
//! | 28..32 | length of the data section |
//!
//! All numbers are little-endian. Between description and data stand zeros; nothing follows the data.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

use crate::description::Description;

/// First bytes of every blob.
pub const MAGIC: [u8; 8] = *b"EIGENLET";
/// The major version that this reader knows.
pub const MAJOR: u16 = 1;
/// The minor version that this writer writes.
pub const MINOR: u16 = 0;
/// Length of the header in bytes.
pub const HEADER: usize = 32;
/// Alignment of the blob and of its data section in bytes.
pub const ALIGNMENT: usize = 16;

/// CRC-32 without a table: a chip reads a blob once, and 1 KB of flash is worth more than that moment.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// The CRC-32 of a blob whose bytes after the CRC field are `rest`.
pub fn crc32(rest: &[u8]) -> u32 {
    CRC.checksum(rest)
}

/// A blob whose header and checksum are right. What it holds is not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    /// What the blob holds: a [`Description`], encoded; a chip reads it by a [`Cursor`](crate::reader::Cursor).
    pub description: &'a [u8],
    /// The data section, 16-byte aligned.
    pub data: &'a [u8],
}

/// Why bytes are not a blob that this reader can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// A tag of a word: moved by words, which is smaller code.
#[repr(u32)]
pub enum BlobError {
    /// Fewer bytes than a header, or than the header announces.
    TooShort {
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// The first bytes are not the magic: this is something else.
    NotABlob,
    /// Made by a newer major version of the format.
    TooNew {
        /// The blob's major version.
        found: u16,
        /// The newest major version that this reader knows.
        supported: u16,
    },
    /// The checksum does not match: the bytes were damaged.
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The header's lengths and offsets do not fit together.
    Layout,
    /// The bytes do not lie on a 16-byte boundary.
    Misaligned,
    /// The description does not decode: a layer or head of a newer format, or a faulty writer.
    Description,
}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { expected, found } => {
                write!(f, "the model is cut short: expected {expected} bytes, found {found}")
            }
            Self::NotABlob => f.write_str("not an Eigenlet model: expected it to begin with EIGENLET"),
            Self::TooNew { found, supported } => {
                write!(f, "the model's format is too new: expected major version {supported} or older, found {found}")
            }
            Self::Checksum { expected, found } => {
                write!(f, "the model is damaged: expected checksum {expected:08x}, found {found:08x}")
            }
            Self::Layout => f.write_str("the model's header is inconsistent: its sections do not fit its length"),
            Self::Misaligned => f.write_str("the model does not lie on a 16-byte boundary"),
            Self::Description => {
                f.write_str("the model's description does not decode: it holds something this reader does not know")
            }
        }
    }
}

impl core::error::Error for BlobError {}

/// The header's words, as they stand: two of the magic, the version, and what the table above says.
#[derive(Clone, Copy)]
struct Header<'a>(&'a [[u8; 4]; HEADER / 4]);

impl<'a> Header<'a> {
    const TOTAL: usize = 3;
    const CRC: usize = 4;
    const DESCRIPTION: usize = 5;
    const DATA_OFFSET: usize = 6;
    const DATA_LENGTH: usize = 7;

    #[inline(always)]
    fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        let head: &[u8; HEADER] =
            bytes.first_chunk().ok_or(BlobError::TooShort { expected: HEADER, found: bytes.len() })?;
        let header = Self(bytemuck::must_cast_ref(head));
        if head.first_chunk() != Some(&MAGIC) {
            return Err(BlobError::NotABlob);
        }
        let major = header.word(2) as u16;
        if major > MAJOR {
            return Err(BlobError::TooNew { found: major, supported: MAJOR });
        }
        if major == 0 { Err(BlobError::Layout) } else { Ok(header) }
    }

    #[inline(always)]
    fn word(self, number: usize) -> u32 {
        let Self(words) = self;
        words.get(number).map_or(0, |word| u32::from_le_bytes(*word))
    }

    #[inline(always)]
    fn length(self, number: usize) -> usize {
        self.word(number) as usize
    }
}

/// The whole length in bytes that a blob's header announces: enough of `bytes` to hold the header will do.
///
/// # Errors
/// [`BlobError::TooShort`], [`BlobError::NotABlob`], [`BlobError::TooNew`], [`BlobError::Layout`].
pub fn announced_length(bytes: &[u8]) -> Result<usize, BlobError> {
    Header::parse(bytes).map(|header| header.length(Header::TOTAL))
}

impl<'a> Blob<'a> {
    /// Reads a blob in place. `bytes` may be longer than the blob (a flash region).
    ///
    /// Costs one pass over the bytes (the checksum), and copies nothing.
    ///
    /// # Errors
    /// Any [`BlobError`].
    // Kept out of its callers, so that it is compiled for size even where they are compiled for speed.
    #[inline(never)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        let header = Header::parse(bytes)?;
        let expected = header.length(Header::TOTAL);
        let blob = bytes.get(..expected).ok_or(BlobError::TooShort { expected, found: bytes.len() })?;
        let checked = blob.get(20..).ok_or(BlobError::Layout)?;
        let (expected, found) = (header.word(Header::CRC), crc32(checked));
        if expected != found {
            return Err(BlobError::Checksum { expected, found });
        }
        let (before, data) = blob.split_at_checked(header.length(Header::DATA_OFFSET)).ok_or(BlobError::Layout)?;
        let description = before.get(HEADER..).and_then(|rest| rest.get(..header.length(Header::DESCRIPTION)));
        let is_aligned = before.len().is_multiple_of(ALIGNMENT);
        let (Some(description), true, true) =
            (description, is_aligned, data.len() == header.length(Header::DATA_LENGTH))
        else {
            return Err(BlobError::Layout);
        };
        if data.as_ptr().align_offset(ALIGNMENT) != 0 {
            return Err(BlobError::Misaligned);
        }
        Ok(Self { description, data })
    }

    /// The whole description, for tools on a host: a few kilobytes of memory and of code.
    ///
    /// # Errors
    /// [`BlobError::Description`].
    pub fn decode(&self) -> Result<Description<'a>, BlobError> {
        postcard::from_bytes(self.description).map_err(|_| BlobError::Description)
    }
}

/// The 32 header bytes of a blob; `description` and `data` are lengths in bytes, `crc` is over bytes 20.. of the whole.
pub fn header(description: u32, data_offset: u32, data: u32, crc: u32) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    let words =
        [MAJOR as u32 | (MINOR as u32) << 16, data_offset.wrapping_add(data), crc, description, data_offset, data];
    let bytes = MAGIC.into_iter().chain(words.into_iter().flat_map(u32::to_le_bytes));
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    head
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::description::{
        Add, Clusters, Conv2d, Dense, DepthwiseConv2d, Embedding, Golden, Hash, Input, Layer, Operation, Places, Raw,
        Recall, Rows, Window,
    };
    use crate::numerics::{Output, Scale, Sum};
    use crate::writer::{AlignedBytes, BlobWriter, GoldenOutputs};

    fn description() -> Description<'static> {
        Description {
            input: Input { shape: [1, 1, 4], place: 5, raw: Raw::U8, scale: 0.5, offset: -2.0 },
            layers: heapless::Vec::new(),
            heads: Places { output: 6, scratch: 300 },
            embedding: None,
            hash: None,
            clusters: None,
            experts: None,
            golden: Golden::default(),
            card: b"card",
        }
    }

    fn blob() -> AlignedBytes {
        let mut writer = BlobWriter::new();
        writer.push_i8(&[1, 2, 3]);
        writer.push_u8(&[4, 5]);
        writer.finish(&description())
    }

    /// `bytes` with one header field changed, and the checksum set right.
    fn with_word(offset: usize, word: u32) -> AlignedBytes {
        let mut bytes = blob().to_vec();
        bytes[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
        let crc = crc32(&bytes[20..]);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        AlignedBytes::from(&bytes[..])
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = blob();
        let blob = Blob::parse(&bytes).unwrap();
        assert_eq!(blob.decode(), Ok(description()));
        assert_eq!(blob.data, [1, 2, 3, 0, 4, 5]);
        assert_eq!(announced_length(&bytes[..HEADER]), Ok(bytes.len()));
    }

    /// The bytes of `FORMAT.md`: this test fails where a change would make old models unreadable.
    #[test]
    fn the_bytes_are_those_of_the_format() {
        let bytes = blob();
        let expected: [u8; 70] = [
            b'E', b'I', b'G', b'E', b'N', b'L', b'E', b'T', 1, 0, 0, 0, 70, 0, 0, 0, 188, 89, 84, 213, 29, 0, 0, 0, 64,
            0, 0, 0, 6, 0, 0, 0, // the header
            1, 1, 4, 5, 0, 0, 0, 0, 0x3f, 0, 0, 0, 0xc0, // input: shape, place, raw form, scale 0.5, offset -2
            0, 6, 0xac, 2, 0, 0, 0, 0, // no layers, places of the heads, no heads
            0, 0, 0, // no golden vectors
            4, b'c', b'a', b'r', b'd', // the card
            0, 0, 0, // up to a multiple of 16
            1, 2, 3, 0, 4, 5, // the data
        ];
        assert_eq!(bytes[..], expected);
    }

    /// As for the whole: records of a model with every head, and of one with a code and clusters alone.
    #[test]
    fn the_golden_records_bytes_are_those_of_the_format() {
        let (cluster, score) = (Some(0x0102), Some(0x0304_0506));
        let every = |embedding| GoldenOutputs { embedding, code: vec![7, 8], cluster, score, expert: vec![-1, -2] };
        let few = GoldenOutputs { code: vec![9], cluster, ..GoldenOutputs::default() };
        for (outputs, expected) in [
            (
                &[every(vec![-3]), every(vec![4])][..],
                &[253, 7, 8, 2, 1, 6, 5, 4, 3, 255, 254, 4, 7, 8, 2, 1, 6, 5, 4, 3, 255, 254][..],
            ),
            (&[few.clone(), few], &[9, 2, 1, 9, 2, 1]),
        ] {
            let mut writer = BlobWriter::new();
            assert_eq!(writer.push_golden(outputs), 0);
            assert_eq!(Blob::parse(&writer.finish(&description())).unwrap().data, expected);
        }
    }

    /// The numbers and fields of `FORMAT.md`, as for the whole.
    #[test]
    fn the_heads_bytes_are_those_of_the_format() {
        let hashes = [
            (Hash::Thresholds { bits: 300, weights: 1, biases: 2 }, &[0, 0xac, 2, 1, 2][..]),
            (Hash::Product { heads: 200, classes: 300, weights: 1, biases: 2 }, &[1, 200, 0xac, 2, 1, 2]),
            (Hash::Experts { classes: 300, rows: 9 }, &[2, 0xac, 2, 9]),
        ];
        for (head, bytes) in hashes {
            assert_eq!(postcard::to_allocvec(&head).unwrap(), bytes);
        }
        let clusters = [
            (Clusters::Prototypes { count: 300, dims: 1, prototypes: 2 }, &[0, 0xac, 2, 1, 2][..]),
            (Clusters::Linear { count: 300, weights: 1, biases: 2 }, &[1, 0xac, 2, 1, 2]),
            (
                Clusters::Residual { count: 300, centres: 1, shift: 200, multiplier: 300, scale_shift: 63 },
                &[2, 0xac, 2, 1, 200, 0xac, 2, 63],
            ),
        ];
        for (head, bytes) in clusters {
            assert_eq!(postcard::to_allocvec(&head).unwrap(), bytes);
        }
    }

    /// As for the whole: places first, then what is computed.
    #[test]
    fn the_layers_bytes_are_those_of_the_format() {
        let window = Window { kernel: [3, 5], stride: [1, 2], padding: [2, 4, 1, 0] };
        let rows = Rows { weights: 4, biases: 300, scales: 8 };
        let output = Output { zero_point: -1, minimum: -128, maximum: 127 };
        let operations = [
            (Operation::Dense(Dense { outputs: 300, rows, output }), &[0, 0xac, 2, 4, 0xac, 2, 8, 255, 128, 127][..]),
            (
                Operation::Conv2d(Conv2d { outputs: 9, window, rows, output }),
                &[1, 9, 3, 5, 1, 2, 2, 4, 1, 0, 4, 0xac, 2, 8, 255, 128, 127],
            ),
            (
                Operation::DepthwiseConv2d(DepthwiseConv2d { window, rows, output }),
                &[2, 3, 5, 1, 2, 2, 4, 1, 0, 4, 0xac, 2, 8, 255, 128, 127],
            ),
            (Operation::MaxPool2d(window), &[3, 3, 5, 1, 2, 2, 4, 1, 0]),
            (Operation::AveragePool2d(window), &[4, 3, 5, 1, 2, 2, 4, 1, 0]),
            (Operation::Add(Add { other: 300, sum: 12, output }), &[5, 0xac, 2, 12, 255, 128, 127]),
            (Operation::Recall(Recall { shape: [7, 300, 2], zero_point: -128 }), &[6, 7, 0xac, 2, 2, 128]),
        ];
        for (operation, bytes) in operations {
            let layer = Layer { places: Places { output: 300, scratch: 16 }, operation };
            assert_eq!(postcard::to_allocvec(&layer).unwrap(), [&[0xac, 2, 16], bytes].concat());
        }
        let embedding = Embedding { count: 300, rows, scale: 0.5, eigenvalues: 5 };
        let bytes = [0xac, 2, 4, 0xac, 2, 8, 0, 0, 0, 0x3f, 5];
        assert_eq!(postcard::to_allocvec(&embedding).unwrap(), bytes);

        let mut writer = BlobWriter::new();
        // Constants of two blocks of a row, each four times.
        let scale = |multiplier| Scale { multiplier, addend: -2, shift: 3 };
        assert_eq!(writer.push_scales(&[scale(1), scale(4)], 1), 0);
        assert_eq!(writer.push_biases(&[6, 7], 2), 96);
        let factors = ([5, 6], [7, 8]);
        let sum = Sum { zero_points: [3, -4], multipliers: factors.0, shifts: factors.1, multiplier: 9, shift: 10 };
        assert_eq!(writer.push_sum(sum), 112);
        let scales = [[1, -2, 3]; 4].iter().chain(&[[4, -2, 3]; 4]).flatten().copied();
        let words = scales.chain([6, 7, 7, 7]).chain([3, -4, 5, 6, 7, 8, 9, 10]);
        let data: alloc::vec::Vec<u8> = words.flat_map(i32::to_le_bytes).collect();
        assert_eq!(Blob::parse(&writer.finish(&description())).unwrap().data, data);
        // Two blocks of one row of one column are four words each; two rows of one column are four together.
        assert_eq!(writer.push_blocks(&[1, 2], 1, 1), 144);
        assert_eq!(writer.push_packed(&[1, 2], 1), 176);
        assert_eq!(writer.push_filters(&[1, 2], 1), 192);
        let packed = [[1, 0, 0, 0], [2, 0, 0, 0], [513, 0, 0, 0], [1, 0, 2, 0]];
        let packed = packed.concat().into_iter().flat_map(u32::to_le_bytes).collect::<alloc::vec::Vec<u8>>();
        assert_eq!(Blob::parse(&writer.finish(&description())).unwrap().data[144..], packed);
    }

    /// As for the whole: samples of different lengths.
    #[test]
    fn the_bytes_of_indices_are_those_of_the_format() {
        let input = Input { shape: [1, 2, 300], place: 7, raw: Raw::Indices, scale: 1.0, offset: 0.0 };
        let bytes = [1, 2, 0xac, 2, 7, 1, 0, 0, 0x80, 0x3f, 0, 0, 0, 0];
        assert_eq!(postcard::to_allocvec(&input).unwrap(), bytes);

        let mut writer = BlobWriter::new();
        assert_eq!(writer.push_indices(&[&[1, 515, 599][..], &[], &[7]]), 12);
        let lists = [[0, 0, 0, 0, 3, 0, 0, 0], [8, 0, 0, 0, 0, 0, 0, 0], [8, 0, 0, 0, 1, 0, 0, 0]].concat();
        let data = [&[1, 0, 3, 2, 0x57, 2, 0, 0, 7, 0, 0, 0][..], &lists].concat();
        assert_eq!(Blob::parse(&writer.finish(&description())).unwrap().data, data);
        assert_eq!(writer.push_indices::<[u16; 0]>(&[]), 36, "no samples take nothing");
    }

    #[test]
    fn the_checksum_is_the_common_crc32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn headers_that_do_not_fit_are_refused() {
        let length = blob().len() as u32;
        for (offset, word) in [
            (8, 0),  // major version 0
            (12, 0), // total length
            (12, 31),
            (20, 49), // the description would reach into the data
            (20, u32::MAX),
            (24, 76), // the data off its alignment
            (24, 0),
            (24, 96),
            (24, u32::MAX),
            (28, 7), // data shorter or longer than what is there
            (28, 9),
            (28, u32::MAX),
        ] {
            let bytes = with_word(offset, word);
            let found = Blob::parse(&bytes).unwrap_err();
            // A changed length moves what the checksum covers.
            let expected =
                matches!(found, BlobError::Layout) || offset == 12 && matches!(found, BlobError::Checksum { .. });
            assert!(expected, "{offset}: {word}: {found:?}");
        }
        let bytes = with_word(12, length + 1);
        let found = Blob::parse(&bytes).unwrap_err();
        assert_eq!(found, BlobError::TooShort { expected: bytes.len() + 1, found: bytes.len() });
    }

    #[test]
    fn a_description_that_does_not_decode_is_refused() {
        let description = blob()[20];
        // Cut short by one byte: the card then is missing its last.
        let bytes = with_word(20, u32::from(description) - 1);
        assert_eq!(Blob::parse(&bytes).unwrap().decode(), Err(BlobError::Description));
    }

    #[test]
    fn errors_say_what_was_expected_and_found() {
        extern crate std;
        use std::string::ToString;
        let error = BlobError::TooNew { found: 3, supported: MAJOR }.to_string();
        assert!(error.contains("expected major version 1 or older, found 3"));
        let error = BlobError::TooShort { expected: 99, found: 7 }.to_string();
        assert!(error.contains("expected 99 bytes, found 7"));
    }
}
