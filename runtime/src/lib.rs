//! Runs Eigenlet models on a microcontroller: no heap, no float, no panics, the weights used where they lie.
//!
//! ```
//! use eigenlet_runtime::{Dims, Encoder, Index, Model};
//!
//! // The model lies in flash; `parse` checks everything once and copies nothing.
//! let model = Model::parse(eigenlet_runtime::include_model!("../tests/tiny.eigenlet"))?;
//! // 64 bytes of RAM for activations. Too few would be an error that says how many it takes.
//! let mut encoder = Encoder::<64>::new(&model)?;
//!
//! let sample = [0, 40, 80, 120, 160, 200, 240, 255, 5]; // raw sensor bytes
//! let embedding = encoder.embed(&sample, Dims::new(2))?; // the two dimensions that matter most; no others are computed
//! assert_eq!(embedding.len(), 2);
//!
//! // Remember a sample by its 8 most informative bits, and find it again.
//! let mut index = Index::<1, 16>::new();
//! index.insert(encoder.hash(&sample)?, 7)?;
//! let hits = index.nearest::<3>(&encoder.hash(&sample)?);
//! assert_eq!((hits[0].id, hits[0].distance), (7, 0));
//!
//! let cluster = encoder.assign(&sample)?;
//! assert!(cluster.id < model.clusters());
//! assert!(encoder.verify()? > 0); // every golden vector in the model came out right, byte for byte
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Truncation
//! The rows of an embedding are ordered, most important first, and so are the bits of a code, or the heads that a product
//! code is made of, where the exporter knows an order. Computing fewer of them is cheaper, and gives exactly the beginning of the whole result; [`Dims`] says how
//! many, call by call. Distances between
//! truncated embeddings are plain integer distances, since one step means the same in every dimension.
//!
//! # The arena
//! Activations live in an arena that the exporter laid out: every tensor has its place there for as long as it is read, and the
//! bytes of those that are done serve others. [`Model::parse`] checks that nothing is overwritten while it is read. [`Encoder`] owns an
//! arena of constant size; where the size is known at run time only (on a host), [`Model::run`] borrows one.
//!
//! # Several outputs of one sample
//! [`Encoder::run`] computes the layers once and gives [`Features`], from which embeddings, codes, clusters and their
//! experts' embeddings are read.
//!
//! # Few ones among many zeros
//! The input of a model may be wide, and each of its values 0 or 1 ([`Model::raw`] is [`Raw::Indices`]): a bag of words. A sample
//! then is the rising list of the indices of its ones, and the first layer costs no more than these:
//!
//! ```no_run
//! # use eigenlet_runtime::{Dims, Encoder, EncoderError, Sample};
//! # fn words(encoder: &mut Encoder<64>) -> Result<(), EncoderError> {
//! let embedding = encoder.run_sample(Sample::Indices(&[3, 17, 1_250]))?.into_embedding(Dims::new(8))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Stopping early
//! [`Features::assign_early`] and [`Features::nearest_early`] compute the first rows, and stop when the others cannot change the
//! answer any more.
//!
//! # Sliding windows
//! Where samples are windows that slide along a series, [`Stream`] keeps what the layers computed: the next window costs its new
//! values alone, and gives what [`Encoder`] gives, to the bit.
//!
//! # Features
//! On by default; a firmware without them is smaller, and refuses models that need them ([`ModelError::Unsupported`]):
//!
//! * `clusters`: clusters, experts, product codes;
//! * `conv`: all layers but dense ones, and streams;
//! * `indices`: samples that are indices of ones;
//! * `verify`: golden vectors. Models with some run without it, too: then nobody looks at them.
//!
//! Others:
//!
//! * `defmt`: errors and results can be logged from a chip.
//! * `card`: the model's card and whole description, and what the kernels do for it, for tools on a host: kilobytes of code.
//! * `float`: raw values of real readings, and a dequantised, unit-norm embedding.
//! * `dsp`: the target's cores have the DSP extension, where the target's name leaves that open (Armv8-M). Armv7E-M needs no feature.
#![no_std]
#![deny(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod code;
mod cost;
mod early;
mod encoder;
#[cfg(feature = "float")]
mod float;
#[cfg(feature = "verify")]
mod golden;
mod heads;
mod include;
mod index;
#[cfg(not(feature = "bench"))]
mod kernels;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod kernels;
mod model;
mod sample;
mod step;
#[cfg(feature = "conv")]
mod stream;
mod verify;
#[cfg(feature = "card")]
mod work;

pub use code::Code;
pub use early::Early;
pub use eigenlet_shared::blob::BlobError;
pub use eigenlet_shared::description::Raw;
#[cfg(feature = "card")]
pub use eigenlet_shared::description::{Card, HashQuality, TruncationQuality};
pub use eigenlet_shared::geometry::Shape;
pub use encoder::{Arena, Assignment, Dims, Encoder, EncoderError, Expert, Features};
#[cfg(feature = "float")]
pub use float::unit_norm;
#[cfg(feature = "verify")]
pub use golden::GoldenVector;
pub use include::Aligned;
pub use index::{Full, Hit, Index, nearest_in};
pub use kernels::KERNELS;
pub use model::{Model, ModelError, Part};
pub use sample::Sample;
#[cfg(feature = "conv")]
pub use stream::Stream;
pub use verify::Head;
#[cfg(feature = "verify")]
pub use verify::VerifyError;
#[cfg(feature = "card")]
pub use work::{Kernels, Work};
