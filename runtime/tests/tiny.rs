//! `tiny.eigenlet`, the model of the crate's example, and a witness that the format stays readable.

mod common;

use common::{ClusterPlan, HashPlan, ModelPlan, Plan, TestModel};
use eigenlet_runtime::{Arena, Model, include_model};
use eigenlet_shared::description::{Raw, Window};

static TINY: &[u8] = include_model!("tiny.eigenlet");

fn tiny() -> TestModel {
    TestModel::new(&ModelPlan {
        input: [3, 3, 1],
        raw: Raw::U8,
        layers: vec![Plan::Conv2d(4, Window { kernel: [2, 2], stride: [1, 1], padding: [0; 4] }), Plan::Dense(8)],
        rows: 4,
        hash: Some(HashPlan::Thresholds(8)),
        clusters: Some(ClusterPlan::Prototypes { count: 3, dims: 4 }),
        experts: 0,
        golden: 16,
        seed: 8,
    })
}

/// `UPDATE=1 cargo test -p eigenlet-runtime --test tiny` writes it anew.
#[test]
fn todays_writer_writes_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiny.eigenlet");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &*tiny().blob).unwrap();
    }
    assert!(std::fs::read(path).unwrap() == *tiny().blob, "the writer's bytes have changed");
}

#[test]
fn it_verifies() {
    let model = Model::parse(TINY).unwrap();
    assert_eq!(model.verify(Arena::<64>::new().bytes()), Ok(16));
}
