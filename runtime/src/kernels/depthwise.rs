//! Depthwise convolution: each channel has a filter of its own.

use core::mem::take;
use core::ops::Range as Lines;

use super::engine::Filters;
use super::window::{View, Walk, outputs_of};
use super::{Range, Rows, Slide};

/// A depthwise convolution: the output's `lines`. `rows` are the channels' filters; `scratch` has
/// [`filter_patch_words`](eigenlet_shared::packed::filter_patch_words); `input` and `output` are as long as their shapes say.
#[inline(never)]
pub fn depthwise_conv2d(
    rows: &Rows,
    slide: &Slide,
    range: Range,
    lines: Lines<usize>,
    input: &[i8],
    scratch: &mut [u32],
    output: &mut [i8],
) {
    let patch = bytemuck::must_cast_slice_mut(scratch);
    let view = View::new(slide, input);
    let size = slide.window.kernel.map(usize::from);
    let [_, row, line] = view.size;
    let (of_image, of_patch) = (Filters::new(rows, size, line), Filters::new(rows, size, row));
    let mut walk = Walk::new(slide, &lines, input);
    let (channels, advance) = (slide.output.channels.max(1), walk.advance());
    let mut left = outputs_of(slide, &lines, output);
    while !left.is_empty() {
        let (count, x) = walk.inside();
        let Some((to, rest)) = take(&mut left).split_at_mut_checked(count.max(1).wrapping_mul(channels)) else { break };
        left = rest;
        // Straight from the image, as far as windows lie inside.
        if count > 0 && of_image.outputs(x, advance, to) {
            walk.pass(count);
            continue;
        }
        for to in to.chunks_exact_mut(channels) {
            view.gather(walk.next(), patch);
            of_patch.outputs(patch, 0, to);
        }
    }
    range.clamp(outputs_of(slide, &lines, output));
}
