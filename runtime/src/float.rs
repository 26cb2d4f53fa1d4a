//! Real numbers before and after a model, for those who have or need them. Nothing between a raw value and a code is here.

use micromath::F32Ext;

use crate::model::Model;

impl Model<'_> {
    /// The raw value that is nearest to a reading in the sensor's unit: `(reading - offset) / scale`, halves up. Readings below or
    /// above all raw values give the lowest or the highest; what is no number gives 0.
    pub fn raw_value(&self, reading: f32) -> u8 {
        // The cast rounds towards 0 and stays within the byte.
        ((reading - self.input_offset()) / self.input_scale() + 0.5) as u8
    }
}

/// Writes the embedding, scaled to length 1, to `unit`, value by value as far as the shorter of both goes. The length is that
/// of the whole `embedding` given (any prefix will do); where it is 0, so is the result.
///
/// One step means the same in every dimension, so the embedding's scale cancels.
pub fn unit_norm(embedding: &[i8], unit: &mut [f32]) {
    let squares = embedding.iter().map(|value| u32::from(value.unsigned_abs()));
    let norm = squares.fold(0u32, |sum, value| sum.saturating_add(value.wrapping_mul(value))) as f32;
    // micromath's inverse square root is some tenths of a percent off; two Newton steps leave what f32 can hold.
    let newton = |inverse: f32| inverse * (1.5 - 0.5 * norm * inverse * inverse);
    let inverse = if norm > 0.0 { newton(newton(norm.invsqrt())) } else { 0.0 };
    for (to, value) in unit.iter_mut().zip(embedding) {
        *to = f32::from(*value) * inverse;
    }
}
