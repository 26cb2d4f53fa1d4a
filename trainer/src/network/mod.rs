//! Encoders that int8 can hold: dense layers, convolutions, depthwise convolutions and pooling, each learned layer
//! followed by batch norm and ReLU, then a projector whose outputs the objectives order.
//!
//! * [`spec`]: what a recipe says, and the shapes that follow from it;
//! * [`encoder`]: the network itself, generic over burn's backends;
//! * [`batch_norm`]: its normalisation;
//! * [`kernels`], [`host`]: what it spends its time in;
//! * [`gin`]: the network of whole graphs, which int8 does not hold.

pub mod batch_norm;
pub mod encoder;
pub mod gin;
pub mod host;
pub mod kernels;
pub mod spec;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

pub use encoder::{Encoder, Extra, Mode, Parameters};
pub use gin::{Gin, GinSpec, GraphBatch};
pub use kernels::{Kernels, Trainable};
pub use spec::{Body, NetworkSpec, Plan};

/// A tensor's values, row by row, on the host.
pub fn floats<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().expect("converted to f32")
}
