//! The dequantised embedding has length 1 and its direction; readings become the nearest raw values.
#![cfg(feature = "float")]

mod common;

use common::{ModelPlan, Plan, Random, TestModel};
use eigenlet_runtime::{Model, Raw, unit_norm};
use eigenlet_shared::blob::Blob;
use eigenlet_shared::writer::BlobWriter;

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

#[test]
fn a_reading_becomes_the_nearest_raw_value() {
    let plan = ModelPlan {
        input: [1, 1, 3],
        raw: Raw::U8,
        layers: vec![Plan::Dense(2)],
        rows: 0,
        hash: None,
        clusters: None,
        experts: 0,
        golden: 0,
        seed: 1,
    };
    let test = TestModel::new(&plan);
    let blob = Blob::parse(&test.blob).unwrap();
    for (offset, scale) in [(0.0, 1.0), (-3.5, 0.1), (20.0, 1e-3), (-1e4, 900.0)] {
        let mut description = blob.decode().unwrap();
        (description.input.offset, description.input.scale) = (offset, scale);
        let mut writer = BlobWriter::new();
        writer.push_u8(blob.data);
        let bytes = writer.finish(&description);
        let model = Model::parse(&bytes).unwrap();
        assert_eq!((model.input_offset(), model.input_scale()), (offset, scale));
        for raw in 0..=u8::MAX {
            for near in [-0.49, 0.0, 0.49] {
                let reading = offset + scale * (f32::from(raw) + near);
                assert_eq!(model.raw_value(reading), raw, "{reading}");
            }
        }
        let nearest = [f32::NEG_INFINITY, offset - 10.0 * scale, offset + 300.0 * scale, f32::INFINITY, f32::NAN];
        assert_eq!(nearest.map(|reading| model.raw_value(reading)), [0, 0, 255, 255, 0]);
    }
}
