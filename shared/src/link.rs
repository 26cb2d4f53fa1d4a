//! The messages between a host and a board, and the frames that carry them over a serial line.
//!
//! The host asks, the board answers, one question at a time:
//!
//! ```text
//! frame   = COBS(content) 0x00
//! content = sequence (1 byte)  message (postcard)  CRC-32 of both (4 bytes, little-endian, IEEE 802.3)
//! ```
//!
//! An answer repeats its question's sequence number. A frame that arrives damaged is dropped: the host hears nothing and asks
//! again, which is safe because every question may be asked twice. The zero byte occurs nowhere else in a frame, so a
//! receiver that joins late, or hears noise, is back in step at the next zero.
//!
//! ```
//! use eigenlet_shared::link::{MAX_FRAME, Receiver, Request, decode, encode};
//!
//! let mut buffer = [0; MAX_FRAME];
//! let frame = encode(7, &Request::Embed { dims: 8, sample: &[1, 2, 3] }, &mut buffer).unwrap();
//!
//! let mut receiver = Receiver::new();
//! let (last, rest) = frame.split_last().unwrap();
//! assert!(rest.iter().all(|byte| receiver.push(*byte).is_none()));
//! let content = receiver.push(*last).unwrap().unwrap();
//! assert_eq!(decode(content), Ok((7, Request::Embed { dims: 8, sample: &[1, 2, 3] })));
//! ```

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};
use heapless::Vec;
use postcard::ser_flavors::{Cobs, Flavor, Slice};
use serde::{Deserialize, Serialize};

use crate::description::Raw;

/// Version of the messages below; [`Hello`] carries the board's.
pub const VERSION: u16 = 1;
/// The longest content of a frame in bytes: a sample of 4,096 bytes, or of 2,048 indices, and what stands around it.
pub const MAX_CONTENT: usize = 4096 + 16;
/// The longest frame in bytes: COBS adds a byte for every 254, and the zero.
pub const MAX_FRAME: usize = MAX_CONTENT + MAX_CONTENT / 254 + 2;

/// Bytes of the checksum at the end of a content.
const CHECK: usize = 4;
static CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// What a host asks. Samples are raw sensor bytes, as long as the model's input; or, where [`ModelInfo::raw`] is
/// [`Raw::Indices`], indices, two bytes each, the low one first: [`indices`] reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who is there? Answered by [`Response::Hello`].
    Hello,
    /// Do all golden vectors come out right? Answered by [`Response::Verified`].
    Verify,
    /// The first `dims` dimensions of the embedding. Answered by [`Response::Embedding`].
    Embed {
        /// Dimensions to compute, from 1 to the model's.
        dims: u16,
        /// The sample.
        sample: &'a [u8],
    },
    /// The hash code. Answered by [`Response::Code`].
    Hash {
        /// The sample.
        sample: &'a [u8],
    },
    /// The cluster. Answered by [`Response::Cluster`].
    Assign {
        /// The sample.
        sample: &'a [u8],
    },
    /// The cluster, and the first `dims` dimensions of the embedding by its expert. Answered by [`Response::Expert`].
    Expert {
        /// Local dimensions to compute, from 1 to the expert's.
        dims: u16,
        /// The sample.
        sample: &'a [u8],
    },
}

/// What a board answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response<'a> {
    /// The board and its model.
    Hello(Hello),
    /// All golden vectors came out right.
    Verified {
        /// How many samples there were.
        samples: u16,
    },
    /// The embedding: int8 values (two's complement), one byte a dimension.
    Embedding(&'a [u8]),
    /// The code: bit `j` is bit `j % 8` of byte `j / 8`, unused bits are 0.
    Code(&'a [u8]),
    /// The cluster.
    Cluster {
        /// Its id.
        id: u16,
        /// How much farther the second-nearest prototype is, or how much larger the second-least residual, in squared int8
        /// steps, or how much smaller a linear head's second-largest sum; `u32::MAX` where there is no other.
        margin: u32,
    },
    /// The question cannot be answered.
    Refused(Refusal),
    /// The cluster and the embedding by its expert.
    Expert {
        /// The cluster's id, which is the expert's number.
        id: u16,
        /// As a cluster's.
        margin: u32,
        /// What the expert leaves unexplained, in squared int8 steps of the features, where clusters are chosen by that.
        score: Option<u32>,
        /// The local embedding: int8 values (two's complement), one byte a dimension.
        embedding: &'a [u8],
    },
}

/// A board and its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The board's [`VERSION`].
    pub version: u16,
    /// Bytes of activations that the firmware has room for.
    pub arena: u32,
    /// The model in the slot, or why none is in use.
    pub model: Result<ModelInfo, NoModel>,
}

/// The model in a board's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The form of a sample.
    pub raw: Raw,
    /// Values of the input: the bytes of one sample, or what its indices are below.
    pub sample: u32,
    /// Dimensions of the embedding; 0 without that head.
    pub dims: u16,
    /// Bits of the hash code; 0 without that head.
    pub bits: u16,
    /// Number of clusters; 0 without that head.
    pub clusters: u16,
    /// Local dimensions, those of each cluster's expert; 0 without experts.
    pub expert_dims: u16,
    /// Number of golden samples.
    pub golden: u16,
}

/// Why a board has no model in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoModel {
    /// The slot is erased.
    Absent,
    /// Something lies in the slot that is no model this firmware can read; the board's log says what.
    Damaged,
    /// The model needs more bytes of activations than the firmware has.
    Arena {
        /// Bytes needed.
        expected: u32,
        /// Bytes there.
        found: u32,
    },
}

/// Why a question cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The frame was whole, but the message in it is none that this firmware knows.
    NotUnderstood,
    /// No model is in use.
    NoModel(NoModel),
    /// The model lacks the head for this.
    NoHead,
    /// The sample's length is wrong.
    Sample {
        /// Bytes of the model's input.
        expected: u32,
        /// Bytes received.
        found: u32,
    },
    /// The number of dimensions is 0 or more than the model has.
    Dims {
        /// The most that the model has.
        expected: u16,
        /// Those asked for.
        found: u16,
    },
    /// The answer would be longer than [`MAX_CONTENT`].
    TooLong,
    /// A golden vector came out wrong.
    Golden {
        /// The first sample whose output differs.
        sample: u16,
    },
    /// An index of the sample has no second byte, is not above the one before it, or not below the number of values.
    Index {
        /// Its position in the sample, from 0.
        position: u32,
    },
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// The frame is cut short, or its COBS code is broken.
    Framing,
    /// The content is longer than [`MAX_CONTENT`], or than the buffer it was to be written to.
    TooLong,
    /// The checksum does not match: the bytes were damaged.
    Checksum {
        /// What the frame says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The content is whole, but no message that this side knows.
    Message,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Framing => f.write_str("the frame is cut short or broken"),
            Self::TooLong => write!(f, "the message does not fit: expected at most {MAX_CONTENT} bytes"),
            Self::Checksum { expected, found } => {
                write!(f, "the frame is damaged: expected checksum {expected:08x}, found {found:08x}")
            }
            Self::Message => f.write_str("the frame is whole, but holds no message that this side knows"),
        }
    }
}

impl core::error::Error for LinkError {}

/// Writes `message` as a frame into `buffer` ([`MAX_FRAME`] bytes are always enough) and returns the frame.
///
/// # Errors
/// [`LinkError::TooLong`] where it does not fit.
pub fn encode<'b, T: Serialize>(sequence: u8, message: &T, buffer: &'b mut [u8]) -> Result<&'b [u8], LinkError> {
    let room = buffer.len().min(MAX_FRAME);
    let buffer = buffer.get_mut(..room).ok_or(LinkError::TooLong)?;
    let flavor = Cobs::try_new(Slice::new(buffer)).map_err(|_| LinkError::TooLong)?;
    let flavor = Checked { inner: flavor, digest: CRC.digest() };
    match postcard::serialize_with_flavor(&(sequence, message), flavor) {
        Ok(frame) => Ok(frame),
        Err(_) => Err(LinkError::TooLong),
    }
}

/// Reads a frame's content, as [`Receiver::push`] gives it: the sequence number and the message.
///
/// # Errors
/// [`LinkError::Message`] where it is no `T`, or bytes are left over. Its sequence number still is `content`'s first byte.
pub fn decode<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<(u8, T), LinkError> {
    match postcard::take_from_bytes(content) {
        Ok((message, [])) => Ok(message),
        _ => Err(LinkError::Message),
    }
}

/// Reads a sample of indices, as [`Request`] has it, into the beginning of `buffer`.
///
/// ```
/// use eigenlet_shared::link::indices;
///
/// let sample: Vec<u8> = [3u16, 1433].iter().flat_map(|index| index.to_le_bytes()).collect();
/// assert_eq!(indices(&sample, &mut [0; 2]), Ok(&[3, 1433][..]));
/// ```
///
/// # Errors
/// [`LinkError::Message`] where half an index is left over, [`LinkError::TooLong`] where there are more than `buffer` holds.
pub fn indices<'b>(sample: &[u8], buffer: &'b mut [u16]) -> Result<&'b [u16], LinkError> {
    let (indices, []) = sample.as_chunks() else { return Err(LinkError::Message) };
    let buffer = buffer.get_mut(..indices.len()).ok_or(LinkError::TooLong)?;
    buffer.iter_mut().zip(indices).for_each(|(to, index)| *to = u16::from_le_bytes(*index));
    Ok(buffer)
}

/// Appends a CRC-32 to what postcard writes.
struct Checked<F> {
    inner: F,
    digest: Digest<'static, u32, NoTable>,
}

impl<F: Flavor> Flavor for Checked<F> {
    type Output = F::Output;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.digest.update(&[byte]);
        self.inner.try_push(byte)
    }

    fn finalize(mut self) -> postcard::Result<Self::Output> {
        self.inner.try_extend(&self.digest.finalize().to_le_bytes())?;
        self.inner.finalize()
    }
}

/// Puts frames together from single bytes. Takes [`MAX_CONTENT`] bytes and a few more.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    content: Vec<u8, MAX_CONTENT>,
    /// Bytes until the next COBS code byte; at 0 the next byte is one.
    until_code: u8,
    /// A zero stands before the next block.
    zero_due: bool,
    too_long: bool,
    /// The last push ended a frame.
    done: bool,
}

impl Receiver {
    /// A receiver at the start of a frame.
    pub const fn new() -> Self {
        Self { content: Vec::new(), until_code: 0, zero_due: false, too_long: false, done: false }
    }

    /// Takes one byte. Gives a frame's content, without its checksum, when the byte ends a frame (zeros between frames
    /// give nothing). After an error the receiver is at the start of a frame again.
    ///
    /// # Errors
    /// [`LinkError::Framing`], [`LinkError::TooLong`], [`LinkError::Checksum`], at the zero that ends the frame.
    pub fn push(&mut self, byte: u8) -> Option<Result<&[u8], LinkError>> {
        if self.done {
            self.restart();
        }
        if byte == 0 {
            let silent = self.content.is_empty() && self.until_code == 0 && !self.zero_due && !self.too_long;
            self.done = true;
            return if silent { None } else { Some(self.checked()) };
        }
        if self.until_code == 0 {
            if self.zero_due {
                self.store(0);
            }
            self.zero_due = byte != u8::MAX;
            self.until_code = byte - 1;
        } else {
            self.store(byte);
            self.until_code -= 1;
        }
        None
    }

    fn restart(&mut self) {
        self.content.clear();
        (self.until_code, self.zero_due, self.too_long, self.done) = (0, false, false, false);
    }

    fn store(&mut self, byte: u8) {
        self.too_long |= self.content.push(byte).is_err();
    }

    fn checked(&self) -> Result<&[u8], LinkError> {
        if self.too_long {
            return Err(LinkError::TooLong);
        }
        if self.until_code != 0 {
            return Err(LinkError::Framing);
        }
        let (content, check) = self.content.split_last_chunk::<CHECK>().ok_or(LinkError::Framing)?;
        if content.is_empty() {
            return Err(LinkError::Framing);
        }
        let (expected, found) = (u32::from_le_bytes(*check), CRC.checksum(content));
        if expected == found { Ok(content) } else { Err(LinkError::Checksum { expected, found }) }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{format, vec, vec::Vec};

    use super::*;

    fn frame(sequence: u8, message: &impl Serialize) -> Vec<u8> {
        encode(sequence, message, &mut [0; MAX_FRAME]).unwrap().to_vec()
    }

    /// Everything that a receiver makes of `bytes`.
    fn receive(receiver: &mut Receiver, bytes: &[u8]) -> Vec<Result<Vec<u8>, LinkError>> {
        bytes.iter().filter_map(|byte| receiver.push(*byte).map(|frame| frame.map(<[u8]>::to_vec))).collect()
    }

    /// xorshift32: junk that is the same every time.
    fn junk(seed: u32) -> impl Iterator<Item = u8> {
        core::iter::successors(Some(seed), |x| {
            let x = x ^ (x << 13);
            let x = x ^ (x >> 17);
            Some(x ^ (x << 5))
        })
        .map(|x| (x >> 11) as u8)
    }

    #[test]
    fn every_sample_length_survives_the_line() {
        for length in (0..600).chain([4095, 4096]) {
            for fill in [0u8, 1, 0xff] {
                let sample = vec![fill; length];
                let request = Request::Hash { sample: &sample };
                let frame = frame(length as u8, &request);
                assert_eq!(frame.iter().filter(|byte| **byte == 0).count(), 1, "one zero, at the end");
                let contents = receive(&mut Receiver::new(), &frame);
                assert_eq!(contents.len(), 1);
                assert_eq!(decode(contents[0].as_ref().unwrap()), Ok((length as u8, request)));
            }
        }
    }

    #[test]
    fn every_message_survives_the_line() {
        let raw = Raw::Indices;
        let info = ModelInfo { raw, sample: 64, dims: 32, bits: 64, clusters: 10, expert_dims: 8, golden: 16 };
        let responses = [
            Response::Hello(Hello { version: VERSION, arena: 16384, model: Ok(info) }),
            Response::Hello(Hello { version: 9, arena: 1, model: Err(NoModel::Arena { expected: 2, found: 1 }) }),
            Response::Verified { samples: 16 },
            Response::Embedding(&[0, 1, 255]),
            Response::Code(&[]),
            Response::Cluster { id: 3, margin: u32::MAX },
            Response::Refused(Refusal::Sample { expected: 64, found: 63 }),
            Response::Refused(Refusal::Index { position: 70_000 }),
            Response::Expert { id: 300, margin: 7, score: None, embedding: &[0, 255] },
            Response::Expert { id: 0, margin: u32::MAX, score: Some(u32::MAX), embedding: &[1] },
        ];
        for response in responses {
            let contents = receive(&mut Receiver::new(), &frame(1, &response));
            assert_eq!(decode(contents[0].as_ref().unwrap()), Ok((1, response)));
        }
    }

    #[test]
    fn every_index_survives_the_line() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        for sent in all.chunks(2048).chain([&all[..0], &[0], &[u16::MAX]]) {
            let sample: Vec<u8> = sent.iter().flat_map(|index| index.to_le_bytes()).collect();
            let contents = receive(&mut Receiver::new(), &frame(5, &Request::Embed { dims: 9, sample: &sample }));
            let Ok((5, Request::Embed { dims: 9, sample })) = decode(contents[0].as_ref().unwrap()) else { panic!() };
            assert_eq!(indices(sample, &mut [0; 2048]), Ok(sent));
        }
    }

    #[test]
    fn half_an_index_and_too_many_are_refused() {
        assert_eq!(indices(&[1], &mut [0; 4]), Err(LinkError::Message));
        assert_eq!(indices(&[1, 2, 3], &mut [0; 4]), Err(LinkError::Message));
        assert_eq!(indices(&[1, 2, 3, 4], &mut [0; 2]), Ok(&[0x0201, 0x0403][..]));
        assert_eq!(indices(&[1, 2, 3, 4], &mut [0; 1]), Err(LinkError::TooLong));
    }

    #[test]
    fn a_receiver_is_in_step_again_after_junk() {
        let whole = frame(9, &Request::Hello);
        let mut receiver = Receiver::new();
        for seed in 1..500 {
            let mut line: Vec<u8> = junk(seed).take(seed as usize % 97).collect();
            line.push(0);
            line.extend(&whole);
            let contents = receive(&mut receiver, &line);
            assert_eq!(decode(contents.last().unwrap().as_ref().unwrap()), Ok((9, Request::Hello)), "seed {seed}");
            assert!(contents.iter().rev().skip(1).all(Result::is_err), "junk passed as a frame at seed {seed}");
        }
    }

    #[test]
    fn no_single_damaged_byte_passes() {
        let whole = frame(3, &Request::Embed { dims: 8, sample: &[0, 5, 0, 0, 7, 255] });
        let good = receive(&mut Receiver::new(), &whole);
        for at in 0..whole.len() {
            for flip in 1..=255u8 {
                let mut line = whole.clone();
                line[at] ^= flip;
                line.push(0);
                assert_ne!(receive(&mut Receiver::new(), &line).first(), good.first(), "byte {at} ^ {flip}");
            }
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_an_error_and_the_next_is_whole() {
        let whole = frame(3, &Request::Assign { sample: &[1; 300] });
        for cut in 1..whole.len() - 1 {
            let line = [&whole[..cut], &[0], &whole].concat();
            let contents = receive(&mut Receiver::new(), &line);
            assert!(contents[0].is_err());
            assert!(contents[1].is_ok());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_on_both_sides() {
        let sample = [1; MAX_CONTENT];
        let long = Request::Hash { sample: &sample };
        assert_eq!(encode(0, &long, &mut [0; MAX_FRAME]), Err(LinkError::TooLong));
        assert_eq!(encode(0, &Request::Hello, &mut [0; 3]), Err(LinkError::TooLong));
        let mut line = vec![1; MAX_FRAME + 10];
        line.push(0);
        assert_eq!(receive(&mut Receiver::new(), &line), [Err(LinkError::TooLong)]);
    }

    #[test]
    fn a_message_of_a_newer_version_is_named_so_and_keeps_its_sequence() {
        let contents = receive(&mut Receiver::new(), &frame(77, &200u8));
        let content = contents[0].as_ref().unwrap();
        assert_eq!(decode::<Request>(content), Err(LinkError::Message));
        assert_eq!(content[0], 77);
        let contents = receive(&mut Receiver::new(), &frame(1, &(Request::Hello, 1u8)));
        assert_eq!(decode::<Request>(contents[0].as_ref().unwrap()), Err(LinkError::Message), "left-over bytes");
    }

    #[test]
    fn errors_say_what_was_expected_and_found() {
        let text = format!("{}", LinkError::Checksum { expected: 1, found: 0xab });
        assert_eq!(text, "the frame is damaged: expected checksum 00000001, found 000000ab");
    }
}
