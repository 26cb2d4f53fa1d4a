//! What the kernels do for a model, counted by hand.
#![cfg(feature = "card")]

mod common;

use common::{ModelPlan, Plan, TestModel};
use eigenlet_runtime::{Kernels, Model, Work};
use eigenlet_shared::description::{Raw, Window};

const SAME: Window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };

fn work(kernels: Kernels, input: [u16; 3], layer: Plan, dims: u16) -> Work {
    let raw = Raw::U8;
    let (hash, clusters) = (None, None);
    let model = TestModel::new(&ModelPlan {
        input,
        raw,
        layers: vec![layer],
        rows: 6,
        hash,
        clusters,
        experts: 0,
        golden: 1,
        seed: 3,
    });
    Model::parse(&model.blob).unwrap().work(kernels, 0, dims)
}

#[test]
fn pairs_are_gathered_but_for_those_that_lie_inside() {
    let found = work(Kernels::Dsp, [8, 8, 4], Plan::Conv2d(7, SAME), 6);
    // Of 32 pairs those in the middle of 6 lines, two each.
    assert_eq!((found.pixels, found.single, found.gathered), (32.0, 0.0, 40.0));
    // A quad and three rows, over nine groups.
    assert_eq!((found.pixels_block, found.pixels_rest, found.pixels_quad_group), (64.0, 32.0, 576.0));
    // Three rows of three groups, or all nine in one.
    assert_eq!((found.pixels_group, found.pixels_row, found.pixels_odd_row), (288.0, 12.0 * 3.0 + 20.0, 0.0));
    // Of the 40, twelve lie inside, beside one that does not; corners and the sides above and below see two rows, the other sides three.
    let whole = 6.0 * 2.0;
    assert_eq!(found.gathered_row, 3.0 * whole + 2.0 * 4.0 + 6.0 * (3.0 + 3.0 + 2.0 + 2.0));
    assert_eq!(found.filled_group, 9.0 * 28.0);
    assert_eq!((found.run, found.layer, found.window, found.sample_byte), (1.0, 1.0, 1.0, 256.0));
}

#[test]
fn what_can_be_read_in_place_depends_on_the_kernels() {
    // Rows of 9 values; a single pixel of three is left, whose window lies inside, and is gathered all the same.
    let window = Window { padding: [0; 4], ..SAME };
    let [dsp, portable] =
        [Kernels::Dsp, Kernels::Portable].map(|kernels| work(kernels, [3, 5, 3], Plan::Conv2d(4, window), 6));
    assert_eq!((dsp.pixels, dsp.single, dsp.gathered, dsp.pixels_odd_row), (1.0, 1.0, 1.0, 3.0));
    assert_eq!((portable.pixels, portable.single, portable.gathered), (1.0, 1.0, 3.0));
}

#[test]
fn depthwise_windows_that_see_the_same_are_one_region() {
    let found = work(Kernels::Dsp, [5, 4, 6], Plan::DepthwiseConv2d(SAME), 6);
    // The middle, sides, corners, for four channels and for the last four.
    assert_eq!((found.region, found.region_weight), (2.0 * 9.0, 2.0 * 81.0));
    assert_eq!(found.region_line, 2.0 * (2.0 + 4.0 + 4.0));
    assert_eq!(found.depthwise_output, 2.0 * 20.0);
    assert_eq!(found.depthwise_weight, 2.0 * 13.0 * 10.0);
    let found = work(Kernels::Dsp, [5, 4, 3], Plan::DepthwiseConv2d(SAME), 6);
    assert_eq!((found.region, found.channel_output, found.channel_weight), (0.0, 60.0, 540.0));
    assert_eq!(found.channel_seen, 3.0 * 130.0);
}

#[test]
fn rows_are_counted_as_far_as_they_are_wanted() {
    let all = work(Kernels::Dsp, [1, 1, 10], Plan::Dense(9), 6);
    // Nine rows over three groups; six over three, whose last two are a pair.
    assert_eq!((all.block, all.quad_group, all.pair_group, all.rest), (3.0 + 2.0, 6.0 + 3.0, 3.0 + 3.0, 2.0));
    assert_eq!((all.raw_group, all.group, all.sample_byte), (3.0, 3.0, 0.0));
    let some = work(Kernels::Dsp, [1, 1, 10], Plan::Dense(9), 4);
    assert_eq!((all.block - some.block, all.rest - some.rest), (1.0, 1.0));
}
