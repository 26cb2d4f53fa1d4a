//! Which directions of the ordered embedding become hash bits.
//!
//! Signs of the ordered functions themselves make a code that gets worse with its length: after the first functions the
//! rest say less and less of what samples have in common, yet each bit weighs the same. So all bits are spent on the
//! first functions: they are turned by ITQ (Gong and Lazebnik 2011), which finds the rotation whose signs lose least, once
//! for each block of as many bits, every time from another start. Any prefix of the code is a code.

use ndarray::{Array2, ArrayView2, s};

use crate::evaluate::Itq;

/// The projection `[dims, bits]` of ordered features to what the bits are thresholds of. `features` are training samples,
/// `[n, dims]`; the first `leading` dimensions are turned, 0 takes the functions as they are (then `bits` is at most
/// `dims`).
pub fn projection(features: &ArrayView2<f32>, bits: usize, leading: usize, seed: u64) -> Array2<f32> {
    let dims = features.ncols();
    let mut projection = Array2::zeros((dims, bits));
    if leading == 0 {
        projection.diag_mut().fill(1.0);
        return projection;
    }
    let leading = leading.min(dims);
    let coordinates = features.slice(s![.., ..leading]);
    for block in 0..bits.div_ceil(leading) {
        let rotation = Itq::fit(&coordinates, seed.wrapping_add(block as u64));
        let first = block * leading;
        let width = leading.min(bits - first);
        projection.slice_mut(s![..leading, first..first + width]).assign(&rotation.rotation().slice(s![.., ..width]));
    }
    projection
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Array2<f32> {
        Array2::from_shape_fn((200, 6), |(i, j)| ((i * 37 + j * 101 + i * j) % 97) as f32 / 48.0 - 1.0)
    }

    #[test]
    fn blocks_are_orthonormal_and_stay_in_the_leading_dimensions() {
        let found = projection(&features().view(), 10, 4, 1);
        assert_eq!(found.dim(), (6, 10));
        assert!(found.slice(s![4.., ..]).iter().all(|&value| value == 0.0));
        for start in [0, 4] {
            let block = found.slice(s![..4, start..start + 4]);
            let gram = block.t().dot(&block);
            assert!(gram.indexed_iter().all(|((i, j), &g)| (g - f32::from(u8::from(i == j))).abs() < 1e-4));
        }
        assert_ne!(found.slice(s![.., ..4]), found.slice(s![.., 4..8]));
    }

    #[test]
    fn a_shorter_code_is_a_prefix_of_a_longer_one() {
        let (short, long) = (projection(&features().view(), 7, 4, 1), projection(&features().view(), 16, 4, 1));
        assert_eq!(short, long.slice(s![.., ..7]));
    }

    #[test]
    fn without_leading_dimensions_bits_are_the_functions() {
        assert_eq!(projection(&features().view(), 3, 0, 1), Array2::<f32>::eye(6).slice(s![.., ..3]));
    }
}
