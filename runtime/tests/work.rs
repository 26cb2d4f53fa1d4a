//! What the kernels do for a model, counted by hand.
#![cfg(feature = "card")]

mod common;

use common::{ModelPlan, Plan, TestModel};
use eigenlet_runtime::{Kernels, Model, Work};
use eigenlet_shared::description::{Raw, Window};

const SAME: Window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };

fn work(kernels: Kernels, input: [u16; 3], layer: Plan, dims: u16) -> Work {
    let (raw, layers, hash, clusters) = (Raw::U8, vec![layer], None, None);
    let plan = ModelPlan { input, raw, layers, rows: 6, hash, clusters, experts: 0, golden: 1, seed: 3 };
    Model::parse(&TestModel::new(&plan).blob).unwrap().work(kernels, 0, dims)
}

#[test]
fn pairs_are_gathered_but_for_those_that_lie_inside() {
    let found = work(Kernels::Dsp, [8, 8, 4], Plan::Conv2d(7, SAME), 6);
    // In 6 lines: a pair from the edge on, two inside, a pair to the other edge; in two lines four.
    assert_eq!((found.pair, found.single, found.gathered), (32.0, 0.0, 40.0));
    assert_eq!((found.stretch, found.read_stretch), (6.0 * 3.0 + 2.0 * 4.0, 6.0));
    // A quad and three rows, over nine groups.
    assert_eq!((found.pair_quad, found.pair_rest, found.pair_quad_group), (64.0, 32.0, 576.0));
    // Three rows of three groups, or all nine in one.
    assert_eq!((found.pair_group, found.pair_row, found.pair_odd_row), (288.0, 12.0 * 3.0 + 20.0, 0.0));
    // Of the 40, twelve lie inside, beside one that does not; corners and the sides above and below see two rows, the other sides three.
    assert_eq!(found.gathered_row, 3.0 * 12.0 + 2.0 * (4.0 + 12.0) + 3.0 * 12.0);
    assert_eq!(found.filled_group, 9.0 * 28.0);
    assert_eq!((found.run, found.layer, found.window, found.sample_byte), (1.0, 1.0, 1.0, 256.0));
}

#[test]
fn what_can_be_read_in_place_depends_on_the_kernels() {
    // Rows of 9 values; a single pixel of three is left, whose window lies inside, and is gathered all the same.
    let window = Window { padding: [0; 4], ..SAME };
    let [dsp, portable] =
        [Kernels::Dsp, Kernels::Portable].map(|kernels| work(kernels, [3, 5, 3], Plan::Conv2d(4, window), 6));
    assert_eq!((dsp.pair, dsp.single, dsp.gathered, dsp.pair_odd_row), (1.0, 1.0, 1.0, 3.0));
    assert_eq!((portable.pair, portable.single, portable.gathered), (1.0, 1.0, 3.0));
}

#[test]
fn a_series_is_one_line() {
    let kernel = Window { kernel: [5, 1], stride: [1, 1], padding: [2, 0, 2, 0] };
    let found = work(Kernels::Dsp, [12, 1, 8], Plan::Conv2d(4, kernel), 6);
    // Two at either end, gathered from three and four rows, and eight between.
    assert_eq!((found.pair, found.stretch, found.read_stretch, found.gathered), (6.0, 3.0, 1.0, 4.0));
    assert_eq!((found.gathered_row, found.gathered_group), (14.0, 28.0));
}

#[test]
fn filters_read_whole_words() {
    let found = work(Kernels::Dsp, [5, 4, 6], Plan::DepthwiseConv2d(SAME), 6);
    // In two lines two inside; in the third the last word would lie behind the image.
    assert_eq!((found.read_stretch, found.gathered), (2.0, 16.0));
    assert_eq!((found.filtered, found.filtered_quad, found.filtered_rest), (20.0, 40.0, 20.0));
    assert_eq!((found.filtered_row, found.filtered_weight), (120.0, 360.0));
    let window = Window { padding: [0; 4], ..SAME };
    let [odd, whole] = [6, 8].map(|channels| work(Kernels::Dsp, [5, 4, channels], Plan::DepthwiseConv2d(window), 6));
    assert_eq!((odd.stretch, odd.read_stretch, odd.gathered), (3.0, 2.0, 2.0));
    assert_eq!((whole.stretch, whole.read_stretch, whole.gathered), (3.0, 3.0, 0.0));
}

#[test]
fn rows_are_counted_as_far_as_they_are_wanted() {
    let all = work(Kernels::Dsp, [1, 1, 10], Plan::Dense(9), 6);
    // Nine rows over three groups; six over three.
    assert_eq!((all.quad, all.quad_group, all.rest), (3.0 + 2.0, 9.0 + 6.0, 2.0));
    assert_eq!((all.raw_group, all.group, all.sample_byte), (3.0, 3.0, 0.0));
    let some = work(Kernels::Dsp, [1, 1, 10], Plan::Dense(9), 4);
    assert_eq!((all.quad - some.quad, all.rest - some.rest), (1.0, 1.0));
}
