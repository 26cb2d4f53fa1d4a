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
    if rounded > i32::MAX as i64 { i32::MAX } else { rounded as i32 }
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

/// How the accumulators of one row become int8 values, as it lies in the blob: 12 bytes, little-endian. The same arithmetic as
/// [`Channel::output`], the zero point and the rounding's half folded into one addend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Scale {
    /// Significand of the real multiplier, `0 ..= 2^31 - 1`.
    pub multiplier: i32,
    /// `(2 * zero point + 1) << (shift - 1)`: half a step, and the output's zero point in steps of `2^-shift`.
    pub addend: i32,
    /// Right shift, `1 ..= 22`: the real multiplier is `multiplier / 2^31 / 2^shift`, so it is below a half.
    pub shift: i32,
}

impl Scale {
    /// The largest shift: the addend of any zero point, and any product with an accumulator in its bound, add up within 32 bits.
    pub const MAX_SHIFT: i32 = 22;

    /// The constants for a multiplier, a shift and the output's zero point.
    pub const fn new(multiplier: i32, shift: i32, zero_point: i8) -> Self {
        Self { multiplier, addend: (2 * zero_point as i32 + 1) << (shift - 1), shift }
    }

    /// Whether the numbers lie in their ranges and belong to that zero point.
    pub const fn is_lawful(self, zero_point: i8) -> bool {
        self.multiplier >= 0
            && self.shift >= 1
            && self.shift <= Self::MAX_SHIFT
            && self.addend == (2 * zero_point as i32 + 1) << (self.shift - 1)
    }

    /// An accumulator's int8 value, before the clamp to the layer's own range.
    #[inline(always)]
    pub const fn output(self, acc: i32) -> i8 {
        let high = doubling_high_multiply(acc, self.multiplier);
        // Halves away from zero: below zero, a half less than that.
        let rounded = high.wrapping_add(high >> 31).wrapping_add(self.addend) >> (self.shift & 31);
        if rounded < i8::MIN as i32 {
            i8::MIN
        } else if rounded > i8::MAX as i32 {
            i8::MAX
        } else {
            rounded as i8
        }
    }
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

/// How two int8 tensors on grids of their own add up on a third one: TensorFlow Lite's int8 `ADD`, its reference arithmetic.
/// Both operands are shifted left by [`Addition::LEFT_SHIFT`] and brought to a common grid, which is twice the coarser one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Addition {
    /// The two operands: how each comes to the common grid.
    pub operands: [Operand; 2],
    /// Significand of the real multiplier from the common grid to the output's, `2^30 ..= 2^31 - 1`.
    pub multiplier: i32,
    /// Right shift, `0 ..= 31`: that multiplier is `multiplier / 2^31 / 2^shift`.
    pub shift: u8,
    /// The output's grid and range.
    pub output: Output,
}

/// One operand of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Operand {
    /// The int8 value that stands for the real number zero.
    pub zero_point: i8,
    /// Significand of the real multiplier to the common grid, `2^30 ..= 2^31 - 1`.
    pub multiplier: i32,
    /// Right shift, `0 ..= 31`: that multiplier is `multiplier / 2^31 / 2^shift`, at most a half.
    pub shift: u8,
}

impl Operand {
    /// A value on the common grid.
    #[inline(always)]
    const fn common(self, value: i8) -> i32 {
        let shifted = (value as i32 - self.zero_point as i32) << Addition::LEFT_SHIFT;
        rounding_shift_right(doubling_high_multiply(shifted, self.multiplier), self.shift as i32)
    }
}

impl Addition {
    /// Binary places that operands gain before they are added.
    pub const LEFT_SHIFT: u32 = 20;

    /// The int8 value of two values' sum.
    #[inline(always)]
    pub const fn output(self, a: i8, b: i8) -> i8 {
        let [first, second] = self.operands;
        let sum = first.common(a).wrapping_add(second.common(b));
        Channel { bias: 0, multiplier: self.multiplier, shift: self.shift as i32 }.output(sum, self.output)
    }
}

/// Quantises a raw `u8` sensor value: `raw - 128`, so nothing is lost.
#[inline(always)]
pub const fn quantize_u8(raw: u8) -> i8 {
    (raw ^ 0x80) as i8
}

/// The int8 value of the layers' zero at the input, for raw `u8` values: that of raw 0.
pub const INPUT_ZERO_POINT_U8: i8 = -128;

/// Where the values other than 0 stand, rising: the indices of a sample that somebody has as a row of values, one after another.
/// Values past the first 65,536 are not looked at.
pub fn nonzero_indices(values: &[u8]) -> impl Iterator<Item = u16> {
    (0..=u16::MAX).zip(values).filter(|(_, value)| **value != 0).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// `SaturatingRoundingDoublingHighMul` as gemmlowp publishes it: the doubled product's upper half, after a nudge away
    /// from zero by a half, by a division that truncates.
    fn gemmlowp_multiply(a: i32, b: i32) -> i32 {
        if a == i32::MIN && b == i32::MIN {
            return i32::MAX;
        }
        let product = i128::from(a) * i128::from(b);
        let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
        i32::try_from((product + nudge) / (1 << 31)).unwrap()
    }

    /// `RoundingDivideByPOT`, from the exact quotient.
    fn rounded_quotient(x: i32, shift: i32) -> i32 {
        let (x, divisor) = (i128::from(x), 1i128 << shift);
        let magnitude = (2 * x.abs() + divisor) / (2 * divisor);
        i32::try_from(magnitude * x.signum()).unwrap()
    }

    /// The corners of 32 bits, everything near them and near powers of two, and pseudo-random numbers between.
    fn numbers() -> Vec<i32> {
        let mut numbers = Vec::new();
        for bit in 0..32 {
            for near in -2..=2 {
                numbers.push((1i32 << bit).wrapping_add(near));
                numbers.push((3i32 << bit).wrapping_add(near));
                numbers.push((-3i32 << bit).wrapping_add(near));
            }
        }
        let random = core::iter::successors(Some(1u64), |state| {
            Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
        });
        numbers.extend(random.take(400).map(|state| (state >> 32) as i32));
        numbers
    }

    #[test]
    fn multiplication_is_gemmlowps_at_every_extreme() {
        for a in numbers() {
            for b in numbers() {
                assert_eq!(doubling_high_multiply(a, b), gemmlowp_multiply(a, b), "{a} * {b}");
            }
        }
        assert_eq!(doubling_high_multiply(i32::MIN, i32::MIN), i32::MAX);
    }

    #[test]
    fn shifts_round_halves_away_from_zero() {
        for x in numbers() {
            for shift in 0..=31 {
                assert_eq!(rounding_shift_right(x, shift), rounded_quotient(x, shift), "{x} >> {shift}");
            }
        }
        assert_eq!([3, -3, 1, -1, 5].map(|x| rounding_shift_right(x, 1)), [2, -2, 1, -1, 3]);
    }

    #[test]
    fn requantisation_is_within_one_step_of_the_exact_value() {
        for acc in numbers() {
            for multiplier in [0, 1 << 30, 1_518_500_250, i32::MAX] {
                for shift in 0..=31 {
                    let found = Channel { bias: 0, multiplier, shift }.requantize(acc);
                    let exact =
                        f64::from(acc) * f64::from(multiplier) / f64::from(1u32 << 31) / f64::from(1u32 << shift);
                    // Half a step of the second rounding, and half a step of the first seen through it.
                    let bound = 0.5 + 0.5 / f64::from(1u32 << shift);
                    assert!((f64::from(found) - exact).abs() <= bound, "{acc} {multiplier} {shift}: {found}");
                }
            }
        }
    }

    #[test]
    fn outputs_are_clamped_to_their_range() {
        for acc in numbers() {
            for (zero_point, minimum, maximum) in [(-128, -128, 127), (5, 5, 127), (127, -7, 9), (0, 3, 3)] {
                let out = Output { zero_point, minimum, maximum };
                let channel = Channel { bias: 0, multiplier: i32::MAX, shift: 3 };
                let exact = i64::from(channel.requantize(acc)) + i64::from(zero_point);
                let expected = exact.clamp(minimum.into(), maximum.into());
                assert_eq!(i64::from(channel.output(acc, out)), expected);
            }
        }
    }

    #[test]
    fn a_scale_gives_what_the_two_roundings_give() {
        let accumulators = numbers().into_iter().filter(|acc| i64::from(*acc).abs() < ACCUMULATOR_BOUND);
        for acc in accumulators {
            for multiplier in [0, 3, 1 << 30, 1_518_500_250, i32::MAX] {
                for shift in 1..=Scale::MAX_SHIFT {
                    for zero_point in [-128, -1, 0, 5, 127] {
                        let scale = Scale::new(multiplier, shift, zero_point);
                        assert!(scale.is_lawful(zero_point));
                        let whole = Output { zero_point, minimum: -128, maximum: 127 };
                        let expected = Channel { bias: 0, multiplier, shift }.output(acc, whole);
                        assert_eq!(scale.output(acc), expected, "{acc} {multiplier} {shift} {zero_point}");
                    }
                }
            }
        }
    }

    #[test]
    fn raw_bytes_lose_nothing() {
        for raw in 0..=u8::MAX {
            assert_eq!(i32::from(quantize_u8(raw)), i32::from(raw) - 128);
        }
        assert_eq!(quantize_u8(0), INPUT_ZERO_POINT_U8);
    }

    #[test]
    fn indices_are_where_values_are_not_zero() {
        let found = |values: &[u8]| nonzero_indices(values).collect::<Vec<u16>>();
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[0, 0, 0]), []);
        assert_eq!(found(&[1, 0, 255, 7, 0]), [0, 2, 3]);
        assert_eq!(found(&[1; 1 << 16]), (0..=u16::MAX).collect::<Vec<u16>>());
    }
}
