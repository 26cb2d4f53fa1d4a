//! The dequantised embedding has length 1 and its direction.
#![cfg(feature = "float")]

mod common;

use common::Random;
use eigenlet_runtime::unit_norm;

#[test]
fn unit_norm_is_what_64_bit_floats_give() {
    let mut random = Random(1);
    for length in 1..200 {
        let embedding: Vec<i8> = random.bytes(length).iter().map(|byte| *byte as i8).collect();
        let norm = embedding.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let mut unit = vec![f32::NAN; length];
        unit_norm(&embedding, &mut unit);
        for (found, value) in unit.iter().zip(&embedding) {
            assert!((f64::from(*found) - f64::from(*value) / norm).abs() < 1e-5, "{embedding:?}");
        }
    }
}

#[test]
fn an_embedding_of_zeros_stays_zero() {
    let mut unit = [f32::NAN; 3];
    unit_norm(&[0; 3], &mut unit);
    assert_eq!(unit, [0.0; 3]);
}
