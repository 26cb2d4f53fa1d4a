//! Learns encoders without labels, orders their outputs, lowers them to int8, and writes the models that
//! `eigenlet-runtime` runs on a microcontroller.
//!
//! ```
//! use eigenlet_trainer::backend::BackendName;
//! use eigenlet_trainer::error::Result;
//! use eigenlet_trainer::recipe::Recipe;
//! use eigenlet_trainer::run::{self, Options, Silent};
//!
//! # fn main() -> Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! // The shipped recipe, cut short.
//! let recipe = Recipe::load("digits-neural-eigenmap", &["train.epochs=2".into(), "train.warmup=0".into()])?;
//! let options = Options {
//!     folder: &folder.path().join("run"),
//!     name: "digits",
//!     backend: BackendName::Flex,
//!     data_dir: None,
//!     resume: false,
//! };
//! let evaluated = run::train(&recipe, &options, &mut Silent)?;
//! assert!(evaluated.metrics.float.knn_acc.unwrap() > 0.5);
//! assert!(evaluated.metrics.blob.arena_bytes <= 4096);
//! # Ok(())
//! # }
//! ```
//!
//! One way through, in one direction: [`data`] → [`augment`] → [`network`] → [`objective`] → [`train`] → [`order`] →
//! [`quantize`] → the blob. [`run`] goes that way for a [`recipe`]; [`evaluate`] measures what comes out, [`report`] draws
//! it, [`cli`] is the command line. [`kernel`] says what two samples have in common where a formula does, [`graph`] where
//! edges do. Everything right of the blob is `eigenlet-runtime`'s: [`inference`] calls it, and nothing here computes a quantised
//! model's answer in another way.
//!
//! Only [`backend`] names burn's backends; the rest is generic over [`network::Trainable`].

pub mod augment;
pub mod backend;
pub mod cache;
pub mod chip;
pub mod cli;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod graph;
pub mod inference;
pub mod kernel;
pub mod network;
pub mod objective;
pub mod order;
pub mod quantize;
pub mod recipe;
pub mod report;
pub mod run;
pub mod train;
