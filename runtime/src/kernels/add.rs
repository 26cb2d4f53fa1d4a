//! The sum of two images: what a residual connection adds to a layer's output.

use eigenlet_shared::numerics::{Output, Sum};

/// Adds `other` to `output`, value by value: `sum.output(output[i], other[i], grid)`.
#[inline(never)]
pub fn add(sum: &Sum, grid: Output, other: &[i8], output: &mut [i8]) {
    for (to, other) in output.iter_mut().zip(other) {
        *to = sum.output(*to, *other, grid);
    }
}
