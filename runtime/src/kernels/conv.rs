//! Convolution: the patches under the window, two pixels at a time, are the inputs of a dense layer.

use core::ops::Range as Lines;

use super::engine::{Layer, TWO, Windows};
use super::rows::outputs;
use super::widen::widen_two;
use super::window::{Corners, View, outputs_of};
use super::{Range, Rows, Slide, widen};

/// A convolution: the output's `lines`. `rows` are as wide as the window's size by the input's channels; `scratch` has
/// [`patch_words`](eigenlet_shared::packed::patch_words); `input` and `output` are as long as their shapes say.
pub fn conv2d(
    rows: &Rows,
    slide: &Slide,
    range: Range,
    lines: Lines<usize>,
    input: &[i8],
    scratch: &mut [u32],
    output: &mut [i8],
) {
    let output = outputs_of(slide, &lines, output);
    // A quad has a word for each column. Patches are whole groups: whatever lies in the columns that the last one lacks, the weights there
    // are 0.
    let columns = rows.quad;
    let Some((x, patches)) = scratch.split_at_mut_checked(columns) else { return };
    let Some((patch, second_patch)) = bytemuck::must_cast_slice_mut(patches).split_at_mut_checked(columns) else {
        return;
    };
    let Some(second_patch) = second_patch.get_mut(..columns) else { return };
    let view = View::new(slide, input);
    let both = Layer::new(rows, TWO, rows.rows);
    let windows = Windows::new(view.size);
    let mut corners = Corners::new(slide, &lines);
    let pair = rows.rows.wrapping_mul(2);
    for outputs in output.chunks_mut(pair.max(1)) {
        let first = corners.next();
        if outputs.len() < pair {
            // The last pixel, where their number is odd.
            view.gather(first, patch);
            one(rows, patch, x, outputs);
            break;
        }
        let second = corners.next();
        // Straight from the image, where both windows lie inside.
        let inside = view.inside(first).zip(view.inside(second));
        if !inside.is_some_and(|(first, second)| windows.widen(first, second, x)) {
            view.gather(first, patch);
            view.gather(second, second_patch);
            widen_two(patch, second_patch, x);
        }
        both.outputs(x, outputs);
    }
    range.clamp(output);
}

/// One pixel.
#[inline(never)]
fn one(rows: &Rows, patch: &[i8], x: &mut [u32], to: &mut [i8]) {
    let Some(x) = x.get_mut(..rows.quad / 2) else { return };
    widen(patch, x);
    outputs(rows, x, Range::WHOLE, to);
}
