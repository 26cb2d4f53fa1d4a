//! Convolution: the patches under the window, two pixels at a time, are the inputs of a dense layer.

use core::mem::take;
use core::ops::Range as Lines;

use super::engine::{Layer, TWO, Windows};
use super::rows::outputs;
use super::window::{View, Walk, outputs_of};
use super::{Range, Rows, Slide, widen};

/// A convolution: the output's `lines`. `rows` are as wide as the window's size by the input's channels; `scratch` has
/// [`patch_words`](eigenlet_shared::packed::patch_words); `input` and `output` are as long as their shapes say.
#[inline(never)]
pub fn conv2d(
    rows: &Rows,
    slide: &Slide,
    range: Range,
    lines: Lines<usize>,
    input: &[i8],
    scratch: &mut [u32],
    output: &mut [i8],
) {
    // A quad has a word for each column. Patches are whole groups: whatever lies in the columns that the last one lacks, the weights there
    // are 0.
    let columns = rows.quad;
    let Some((x, bytes)) = scratch.split_at_mut_checked(columns) else { return };
    let Some((patch, second_patch)) = bytemuck::must_cast_slice_mut(bytes).split_at_mut_checked(columns) else {
        return;
    };
    let Some(second_patch) = second_patch.get_mut(..columns) else { return };
    let view = View::new(slide, input);
    let both = Layer::new(rows, TWO, rows.rows);
    let (windows, patches) = (Windows::new(view.size), Windows::new([1, columns, columns]));
    let mut walk = Walk::new(slide, &lines, input);
    let (pair, advance) = (rows.rows.wrapping_mul(2).max(1), walk.advance());
    let mut left = outputs_of(slide, &lines, output);
    while !left.is_empty() {
        let (inside, image) = walk.inside();
        let pairs = inside / 2;
        let length = pairs.max(1).wrapping_mul(pair).min(left.len());
        let Some((to, rest)) = take(&mut left).split_at_mut_checked(length) else { break };
        left = rest;
        // Straight from the image, as far as windows lie inside.
        if pairs > 0 && both.pairs(&windows, image, advance, x, to) {
            walk.pass(pairs.wrapping_mul(2));
            continue;
        }
        for to in to.chunks_mut(pair) {
            view.gather(walk.next(), patch);
            if to.len() < pair {
                // The last pixel, where their number is odd.
                one(rows, patch, x, to);
                continue;
            }
            view.gather(walk.next(), second_patch);
            patches.widen(patch, second_patch, x);
            both.outputs(x, to);
        }
    }
    range.clamp(outputs_of(slide, &lines, output));
}

/// One pixel.
#[inline(never)]
fn one(rows: &Rows, patch: &[i8], x: &mut [u32], to: &mut [i8]) {
    let Some(x) = x.get_mut(..rows.quad / 2) else { return };
    widen(patch, x);
    outputs(rows, x, Range::WHOLE, to);
}
