//! The arithmetic of `int8.v1` that host and device share: requantisation, and the input map.
//!
//! It is TensorFlow Lite's int8 reference arithmetic with double rounding (gemmlowp's
//! `SaturatingRoundingDoublingHighMul`, then `RoundingDivideByPOT`). `NUMERICS.md` is the normative text.

use bytemuck::{Pod, Zeroable};

/// The accumulator bound that an exporter proves for every row: `|acc| < 2^30`.
pub const ACCUMULATOR_BOUND: i64 = 1 << 30;

/// `round(a * b / 2^31)`, halves towards plus infinity, for `b` of at least 0: so it saturates nowhere.
#[inline(always)]
pub const fn doubling_high_multiply(a: i32, b: i32) -> i32 {
    let product = a as i64 * b as i64;
    ((product + (1 << 30)) >> 31) as i32
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
/// [`doubling_high_multiply`] and then [`rounding_shift_right`], the zero point and the rounding's half folded into one addend.
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

    /// The int8 value of an accumulator below 2^30, before the clamp to the layer's own range: at the cost of a product's upper half.
    #[inline(always)]
    pub const fn output(self, acc: i32) -> i8 {
        let doubled = acc.wrapping_shl(1);
        let product = (doubled as i64).wrapping_mul(self.multiplier as i64).wrapping_add(1 << 31);
        self.shifted(doubled, (product >> 32) as i32)
    }

    /// The same, of twice the accumulator and the rounded upper half of its product with the multiplier, for cores that have another way to that.
    #[inline(always)]
    pub const fn shifted(self, doubled: i32, high: i32) -> i8 {
        // Halves away from zero: below zero, a half less than that. A negative accumulator whose product rounds to 0 loses one here
        // that it would not there; below a half, that changes nothing.
        let rounded = high.wrapping_add(doubled >> 31).wrapping_add(self.addend) >> (self.shift & 31);
        if rounded < i8::MIN as i32 {
            i8::MIN
        } else if rounded > i8::MAX as i32 {
            i8::MAX
        } else {
            rounded as i8
        }
    }
}

/// How two int8 tensors add up, as it lies in the blob: 32 bytes, little-endian. TensorFlow Lite's int8 `ADD`: each operand less its
/// zero point is shifted left by [`Sum::LEFT_SHIFT`] bits and brought to a common scale, and their sum to the output's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Sum {
    /// Zero points of the input and of the other operand, each an int8.
    pub zero_points: [i32; 2],
    /// Significands of the factors to the common scale, `0 ..= 2^31 - 1`.
    pub multipliers: [i32; 2],
    /// Exponents of the same, `0 ..= 31`.
    pub shifts: [i32; 2],
    /// Significand of the factor from the common scale to the output's, `0 ..= 2^31 - 1`.
    pub multiplier: i32,
    /// Exponent of the same, `0 ..= 31`.
    pub shift: i32,
}

impl Sum {
    /// Bits by which operands are shifted left: what the roundings at the common scale lose is far below an int8 step.
    pub const LEFT_SHIFT: i32 = 20;

    /// Whether the numbers lie in their ranges.
    pub fn is_lawful(&self) -> bool {
        let is_int8 = |value: &i32| i8::try_from(*value).is_ok();
        let factors = self.multipliers.iter().zip(&self.shifts).chain([(&self.multiplier, &self.shift)]);
        self.zero_points.iter().all(is_int8) && factors.into_iter().all(|(m, s)| *m >= 0 && (0..=31).contains(s))
    }

    /// The sum of two values.
    #[inline(always)]
    pub const fn output(&self, input: i8, other: i8, out: Output) -> i8 {
        let [input_zero, other_zero] = self.zero_points;
        let [input_multiplier, other_multiplier] = self.multipliers;
        let [input_shift, other_shift] = self.shifts;
        let a = scaled((input as i32).wrapping_sub(input_zero) << Self::LEFT_SHIFT, input_multiplier, input_shift);
        let b = scaled((other as i32).wrapping_sub(other_zero) << Self::LEFT_SHIFT, other_multiplier, other_shift);
        out.clamp(scaled(a.wrapping_add(b), self.multiplier, self.shift).wrapping_add(out.zero_point as i32))
    }
}

/// The real value `acc * multiplier / 2^31 / 2^shift`, rounded twice as TensorFlow Lite does.
#[inline(always)]
const fn scaled(acc: i32, multiplier: i32, shift: i32) -> i32 {
    rounding_shift_right(doubling_high_multiply(acc, multiplier), shift)
}

/// Where a layer's outputs lie on the int8 grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, serde::Serialize, serde::Deserialize, Zeroable)]
#[repr(C)]
pub struct Output {
    /// The int8 value that stands for the real number zero.
    pub zero_point: i8,
    /// Lowest value, inclusive. A fused ReLU sets it to the zero point.
    pub minimum: i8,
    /// Highest value, inclusive.
    pub maximum: i8,
}

impl Output {
    /// The value in the range that is nearest.
    #[inline(always)]
    pub const fn clamp(self, value: i32) -> i8 {
        if value < self.minimum as i32 {
            self.minimum
        } else if value > self.maximum as i32 {
            self.maximum
        } else {
            value as i8
        }
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
            for b in numbers().into_iter().filter(|b| *b >= 0) {
                assert_eq!(doubling_high_multiply(a, b), gemmlowp_multiply(a, b), "{a} * {b}");
            }
        }
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
                    let found = scaled(acc, multiplier, shift);
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
                assert_eq!(i64::from(out.clamp(acc)), i64::from(acc).clamp(minimum.into(), maximum.into()));
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
                        let expected = whole.clamp(scaled(acc, multiplier, shift) + i32::from(zero_point));
                        assert_eq!(scale.output(acc), expected, "{acc} {multiplier} {shift} {zero_point}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sum_is_that_of_the_published_definition() {
        let grids = [(-128, -128, 127), (3, -100, 90), (127, 127, 127)];
        let factors = [(0, 0), (1 << 30, 0), (i32::MAX, 0), (1_518_500_250, 1), (i32::MAX, 31), (3, 2)];
        let outputs = [(1 << 30, 18), (i32::MAX, 0), (1_234_567_890, 19), (i32::MAX, 31), (0, 7)];
        for (at, first) in factors.into_iter().enumerate() {
            for (second, output) in factors.into_iter().zip(outputs.into_iter().cycle().skip(at)) {
                for (zero_point, minimum, maximum) in grids {
                    let (zero_points, out) = ([5, -128], Output { zero_point, minimum, maximum });
                    let (multipliers, shifts) = ([first.0, second.0], [first.1, second.1]);
                    let sum = Sum { zero_points, multipliers, shifts, multiplier: output.0, shift: output.1 };
                    assert!(sum.is_lawful());
                    let scaled =
                        |value, (multiplier, shift)| rounded_quotient(gemmlowp_multiply(value, multiplier), shift);
                    for a in i8::MIN..=i8::MAX {
                        for b in [-128, -127, -77, -1, 0, 5, 100, 126, 127] {
                            let operand = |value: i8, zero: i32| (i32::from(value) - zero) * (1 << 20);
                            let common = scaled(operand(a, 5), first) + scaled(operand(b, -128), second);
                            let expected = scaled(common, output) + i32::from(zero_point);
                            let expected = expected.clamp(minimum.into(), maximum.into());
                            assert_eq!(i32::from(sum.output(a, b, out)), expected, "{sum:?}: {a}, {b}");
                        }
                    }
                }
            }
        }
    }

    /// What the reader of a model relies on: at the largest shift, nothing wraps.
    #[test]
    fn addends_and_products_add_up_within_32_bits() {
        let most = (ACCUMULATOR_BOUND - 1) as i32;
        for zero_point in [i8::MIN, 0, i8::MAX] {
            let scale = Scale::new(i32::MAX, Scale::MAX_SHIFT, zero_point);
            for high in [most, -most] {
                assert!((doubling_high_multiply(high, i32::MAX) - 1).checked_add(scale.addend).is_some());
            }
        }
        assert!(!Scale { shift: 0, ..Scale::new(1, 1, 0) }.is_lawful(0));
        assert!(!Scale::new(1, Scale::MAX_SHIFT + 1, 0).is_lawful(0));
        assert!(!Scale::new(-1, 1, 0).is_lawful(0));
        assert!(!Scale::new(1, 1, 0).is_lawful(1));
    }

    /// Two lanes apart, at the edge of what they hold: see `NUMERICS.md`.
    #[test]
    fn lanes_tell_both_sums_of_512_columns_and_not_of_more() {
        use crate::packed::EXACT_COLUMNS;
        let odd_sum = |columns: usize, even: i32, odd: i32, x: i32| {
            let both = (0..columns).fold(0i32, |sum, _| sum.wrapping_add((256 * odd + even).wrapping_mul(x)));
            both.wrapping_sub(columns as i32 * even * x) >> 8
        };
        for even in [-127, 127] {
            for odd in [-127, 127] {
                for x in [-128, 127] {
                    assert_eq!(odd_sum(EXACT_COLUMNS, even, odd, x), EXACT_COLUMNS as i32 * odd * x);
                }
            }
        }
        assert_ne!(odd_sum(EXACT_COLUMNS + 5, 127, -127, -128), (EXACT_COLUMNS + 5) as i32 * -127 * -128);
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
