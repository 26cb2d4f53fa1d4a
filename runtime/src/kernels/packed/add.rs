//! The sum of two images: what a residual connection adds to a layer's output.

use eigenlet_shared::numerics::Addition;

/// Adds `other` to `output`, value by value: `constants.output(output[i], other[i])`.
#[inline(never)]
pub fn add(constants: &Addition, other: &[i8], output: &mut [i8]) {
    for (to, other) in output.iter_mut().zip(other) {
        *to = constants.output(*to, *other);
    }
}
