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
//! Activations live in an arena that is used from both ends: a layer reads its input at one end and writes its output to
//! the other, the next layer goes the other way. So [`Model::arena_bytes`] is the largest sum of one layer's input and
//! output; the quantised sample, and the embedding after the last layer, are counted in. [`Encoder`] owns an arena of
//! constant size; where the size is known at run time only (on a host), [`Model::run`] borrows one.
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
//! # Features
//! * `defmt`: errors and results can be logged from a chip.
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
mod encoder;
#[cfg(feature = "float")]
mod float;
mod geometry;
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
mod verify;

pub use code::Code;
pub use eigenlet_shared::blob::BlobError;
pub use eigenlet_shared::description::{Card, HashQuality, Raw, TruncationQuality};
pub use encoder::{Assignment, Dims, Encoder, EncoderError, Expert, Features};
#[cfg(feature = "float")]
pub use float::unit_norm;
pub use geometry::Shape;
pub use include::Aligned;
pub use index::{Full, Hit, Index, nearest_in};
pub use model::{GoldenVector, Model, ModelError, Part};
pub use sample::Sample;
pub use verify::{Head, VerifyError};
