//! Depthwise convolution: each channel has a filter of its own.

use core::ops::Range as Lines;

use super::engine::Filters;
use super::window::{Corners, View, outputs_of};
use super::{Range, Rows, Slide};

/// A depthwise convolution: the output's `lines`. `rows` are the channels' filters; `scratch` has
/// [`filter_patch_words`](eigenlet_shared::packed::filter_patch_words); `input` and `output` are as long as their shapes say.
pub fn depthwise_conv2d(
    rows: &Rows,
    slide: &Slide,
    range: Range,
    lines: Lines<usize>,
    input: &[i8],
    scratch: &mut [u32],
    output: &mut [i8],
) {
    let output = outputs_of(slide, &lines, output);
    let patch = bytemuck::must_cast_slice_mut(scratch);
    let view = View::new(slide, input);
    let size = slide.window.kernel.map(usize::from);
    let [_, row, line] = view.size;
    let (of_image, of_patch) = (Filters::new(rows, size, line), Filters::new(rows, size, row));
    let mut corners = Corners::new(slide, &lines);
    for to in output.chunks_exact_mut(slide.output.channels.max(1)) {
        let corner = corners.next();
        // Straight from the image, where the window lies inside.
        if !view.inside(corner).is_some_and(|x| of_image.outputs(x, to)) {
            view.gather(corner, patch);
            of_patch.outputs(patch, to);
        }
    }
    range.clamp(output);
}
