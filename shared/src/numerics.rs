//! The arithmetic of `int8.v1` that host and device share: requantisation, and the input map.
//!
//! It is TensorFlow Lite's int8 reference arithmetic with double rounding (gemmlowp's
//! `SaturatingRoundingDoublingHighMul`, then `RoundingDivideByPOT`). `NUMERICS.md` is the normative text.

use bytemuck::{Pod, Zeroable};

/// The accumulator bound that an exporter proves for every row: `|acc| < 2^30`.
pub const ACCUMULATOR_BOUND: i64 = 1 << 30;

/// Constants of one output channel, as they lie in the blob: 12 bytes, little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Channel {
    /// Added to the sum of products; holds `-input_zero_point * sum(weights)` already.
    pub bias: i32,
    /// Significand of the real multiplier, in `2^30 ..= 2^31 - 1` (or 0 for a channel that is always zero).
    pub multiplier: i32,
    /// Right shift, `0 ..= 31`: the real multiplier is `multiplier / 2^31 / 2^shift`, so it is below one.
    pub shift: i32,
}

/// `round(a * b / 2^31)`, halves towards plus infinity, saturating (only `a = b = -2^31` saturates).
#[inline(always)]
pub const fn doubling_high_multiply(a: i32, b: i32) -> i32 {
    let product = a as i64 * b as i64;
    let rounded = (product + (1 << 30)) >> 31;
    if rounded > i32::MAX as i64 {
        i32::MAX
    } else {
        rounded as i32
    }
}

/// `round(x / 2^shift)`, halves away from zero; `shift` in `0 ..= 31` (taken modulo 32).
#[inline(always)]
pub const fn rounding_shift_right(x: i32, shift: i32) -> i32 {
    let shift = (shift & 31) as u32;
    let mask = (1u32 << shift).wrapping_sub(1) as i32;
    let remainder = x & mask;
    let threshold = (mask >> 1) + (x < 0) as i32;
    (x >> shift) + (remainder > threshold) as i32
}

impl Channel {
    /// The real value `acc * multiplier / 2^31 / 2^shift`, rounded twice as TensorFlow Lite does.
    #[inline(always)]
    pub const fn requantize(self, acc: i32) -> i32 {
        rounding_shift_right(doubling_high_multiply(acc, self.multiplier), self.shift)
    }

    /// Requantises an accumulator to an int8 activation: adds the output's zero point and clamps.
    #[inline(always)]
    pub const fn output(self, acc: i32, out: Output) -> i8 {
        let value = self.requantize(acc).wrapping_add(out.zero_point as i32);
        if value < out.minimum as i32 {
            out.minimum
        } else if value > out.maximum as i32 {
            out.maximum
        } else {
            value as i8
        }
    }
}

/// Where a layer's outputs lie on the int8 grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Output {
    /// The int8 value that stands for the real number zero.
    pub zero_point: i8,
    /// Lowest value, inclusive. A fused ReLU sets it to the zero point.
    pub minimum: i8,
    /// Highest value, inclusive.
    pub maximum: i8,
}

/// Quantises a raw `u8` sensor value: `raw - 128`. The real value is `scale * raw`, so nothing is lost.
#[inline(always)]
pub const fn quantize_u8(raw: u8) -> i8 {
    (raw ^ 0x80) as i8
}

/// The int8 value of a real zero at the input, for raw `u8` values.
pub const INPUT_ZERO_POINT_U8: i8 = -128;
