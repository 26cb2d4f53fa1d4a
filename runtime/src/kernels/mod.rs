//! Layers and heads on int8 activations. The tests hold every kernel to plain loops, bit for bit, on every core.

#[cfg_attr(not(feature = "bench"), allow(unreachable_pub))]
pub mod packed;

pub use packed::*;
