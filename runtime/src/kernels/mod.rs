//! Layers on int8 activations. `reference` is the oracle that every faster path must equal, bit for bit.

#[cfg_attr(not(feature = "bench"), allow(dead_code, unreachable_pub, unused_imports))]
pub mod packed;
mod reference;

pub(crate) use reference::{dense_at, dot, finish};

use crate::step::{Operation, Step};

/// Runs a step. `input` and `output` are as long as its shapes say.
pub(crate) fn run(step: &Step, input: &[i8], output: &mut [i8]) {
    match &step.operation {
        Operation::Dense(table) => reference::dense(table, input, output),
        Operation::Conv2d(window, table) => reference::conv2d(step, window, table, input, output),
        Operation::DepthwiseConv2d(window, table) => {
            reference::depthwise_conv2d(step, window, table, input, output);
        }
        Operation::MaxPool2d(window) => reference::max_pool2d(step, window, input, output),
        Operation::AveragePool2d(window) => reference::average_pool2d(step, window, input, output),
    }
}
