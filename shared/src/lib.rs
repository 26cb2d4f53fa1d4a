//! What an Eigenlet host and an Eigenlet device agree on.
//!
//! * [`blob`]: the model file, `*.eigenlet`, as bytes that are used where they lie (`FORMAT.md` is the normative text);
//! * [`description`]: what the blob says of the model: layers, heads, golden vectors, model card;
//! * [`reader`]: reading it on a chip, field by field;
//! * [`numerics`]: the integer arithmetic of `int8.v1` (`NUMERICS.md` is the normative text);
//! * [`packed`]: how weights lie for the kernels;
//! * [`geometry`]: shapes, and what windows make of them;
//! * [`link`]: the messages between a host and a board;
//! * `plan` and `writer` (feature `write`): laying out the arena and writing blobs on a host.
//!
//! Everything but these two is `no_std`, allocates nothing and never panics on bytes from outside.
//!
//! ```
//! use eigenlet_shared::blob::{Blob, BlobError};
//!
//! // Anything may arrive from flash or from a wire; what is no blob is a typed error.
//! assert_eq!(Blob::parse(b"not a model").unwrap_err(), BlobError::TooShort { expected: 32, found: 11 });
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "write"))]
extern crate alloc;

#[cfg(target_endian = "big")]
compile_error!("the blob is little-endian and used in place: big-endian targets are not supported");

pub mod blob;
pub mod description;
pub mod geometry;
pub mod link;
pub mod numerics;
pub mod packed;
#[cfg(any(test, feature = "write"))]
pub mod plan;
pub mod reader;
#[cfg(any(test, feature = "write"))]
pub mod writer;
