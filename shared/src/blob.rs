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

/// A blob whose header and checksum are right and whose description decodes. Offsets are not checked yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob<'a> {
    /// What the blob holds.
    pub description: Description<'a>,
    /// The data section, 16-byte aligned.
    pub data: &'a [u8],
}

/// Why bytes are not a blob that this reader can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
            Self::TooNew { found, supported } => write!(
                f,
                "the model's format is too new: expected major version {supported} or older, found {found}"
            ),
            Self::Checksum { expected, found } => write!(
                f,
                "the model is damaged: expected checksum {expected:08x}, found {found:08x}"
            ),
            Self::Layout => f.write_str("the model's header is inconsistent: its sections do not fit its length"),
            Self::Misaligned => f.write_str("the model does not lie on a 16-byte boundary"),
            Self::Description => {
                f.write_str("the model's description does not decode: it holds something this reader does not know")
            }
        }
    }
}

impl core::error::Error for BlobError {}

/// The header's numbers, as they stand.
struct Header {
    total: usize,
    crc: u32,
    description: usize,
    data_offset: usize,
    data_length: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, BlobError> {
        let head: &[u8; HEADER] = bytes.first_chunk().ok_or(BlobError::TooShort {
            expected: HEADER,
            found: bytes.len(),
        })?;
        let (magic, _) = head.split_first_chunk::<8>().ok_or(BlobError::NotABlob)?;
        if *magic != MAGIC {
            return Err(BlobError::NotABlob);
        }
        let mut words = head.chunks_exact(4).skip(2).map(|word| match *word {
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        });
        let mut next = || words.next().unwrap_or(0);
        let major = next() as u16;
        if major > MAJOR {
            return Err(BlobError::TooNew {
                found: major,
                supported: MAJOR,
            });
        }
        if major == 0 {
            return Err(BlobError::Layout);
        }
        Ok(Self {
            total: next() as usize,
            crc: next(),
            description: next() as usize,
            data_offset: next() as usize,
            data_length: next() as usize,
        })
    }
}

/// The whole length in bytes that a blob's header announces: enough of `bytes` to hold the header will do.
///
/// # Errors
/// [`BlobError::TooShort`], [`BlobError::NotABlob`], [`BlobError::TooNew`], [`BlobError::Layout`].
pub fn announced_length(bytes: &[u8]) -> Result<usize, BlobError> {
    Header::parse(bytes).map(|header| header.total)
}

impl<'a> Blob<'a> {
    /// Reads a blob in place. `bytes` may be longer than the blob (a flash region).
    ///
    /// Costs one pass over the bytes (the checksum); copies nothing but the description's numbers.
    ///
    /// # Errors
    /// Any [`BlobError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        let header = Header::parse(bytes)?;
        let blob = bytes.get(..header.total).ok_or(BlobError::TooShort {
            expected: header.total,
            found: bytes.len(),
        })?;
        let checked = blob.get(20..).ok_or(BlobError::Layout)?;
        let crc = crc32(checked);
        if crc != header.crc {
            return Err(BlobError::Checksum {
                expected: header.crc,
                found: crc,
            });
        }
        let (before, data) = blob
            .split_at_checked(header.data_offset)
            .ok_or(BlobError::Layout)?;
        if data.len() != header.data_length || header.data_offset % ALIGNMENT != 0 {
            return Err(BlobError::Layout);
        }
        let description = before
            .get(HEADER..)
            .and_then(|rest| rest.get(..header.description))
            .ok_or(BlobError::Layout)?;
        if data.as_ptr().align_offset(ALIGNMENT) != 0 {
            return Err(BlobError::Misaligned);
        }
        let description = postcard::from_bytes(description).map_err(|_| BlobError::Description)?;
        Ok(Self { description, data })
    }
}

/// The 32 header bytes of a blob; `description` and `data` are lengths in bytes, `crc` is over bytes 20.. of the whole.
pub fn header(description: u32, data_offset: u32, data: u32, crc: u32) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    let words = [
        MAJOR as u32 | (MINOR as u32) << 16,
        data_offset.wrapping_add(data),
        crc,
        description,
        data_offset,
        data,
    ];
    let bytes = MAGIC
        .into_iter()
        .chain(words.into_iter().flat_map(u32::to_le_bytes));
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    head
}
