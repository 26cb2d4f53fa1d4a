//! Convolution: the patches under the window, two pixels at a time, are the inputs of a dense layer.

use core::ops::Range as Lines;

use eigenlet_shared::description::Window;
use eigenlet_shared::packed::{SIDE, groups};

use super::rows::{Pixels, outputs};
use super::widen::widen_two;
use super::window::{Corner, Corners, outputs_of};
use super::{Range, Rows, Slide, widen};
use crate::geometry::Shape;

/// The words of scratch that [`conv2d`] takes for a window over so many channels: two widened patches, two patches as they lie, and
/// a row of padding.
pub const fn conv_scratch_words(window: &Window, channels: usize) -> usize {
    let row = (window.kernel[1] as usize).wrapping_mul(channels);
    let patch = groups(row.wrapping_mul(window.kernel[0] as usize));
    patch.wrapping_mul(6).wrapping_add(groups(row))
}

/// A convolution: the output's `lines` of `rows.rows` channels. `rows.columns` is the window's size by the input's channels;
/// `scratch` has [`conv_scratch_words`]; `input` and `output` are as long as their shapes say.
pub fn conv2d(
    rows: &Rows,
    slide: &Slide,
    range: Range,
    lines: Lines<usize>,
    input: &[i8],
    scratch: &mut [u32],
    output: &mut [i8],
) {
    let patch = groups(rows.columns);
    let output = outputs_of(slide, &lines, output);
    let Some((x, bytes)) = scratch.split_at_mut_checked(patch.wrapping_mul(4)) else { return };
    if slide.window.kernel == [1, 1] && slide.window.stride == [1, 1] {
        let input = slide.pixels_from(input, lines.start, 0);
        pointwise(rows, input, x, output);
    } else {
        windows(rows, slide, &lines, input, x, bytemuck::must_cast_slice_mut(bytes), output);
    }
    range.clamp(output);
}

/// Every pixel is a patch.
fn pointwise(rows: &Rows, input: &[i8], x: &mut [u32], output: &mut [i8]) {
    let both = Pixels::new(rows, 2, 0, rows.rows);
    let inputs = input.chunks(rows.columns.wrapping_mul(2).max(1));
    for (inputs, outputs) in inputs.zip(output.chunks_mut(rows.rows.wrapping_mul(2).max(1))) {
        if outputs.len() < rows.rows.wrapping_mul(2) {
            one(rows, inputs, x, outputs);
        } else if let Some((first, second)) = inputs.split_at_checked(rows.columns) {
            widen_two(first, second, x);
            both.outputs(x, outputs);
        }
    }
}

/// One patch: that of the last pixel, where their number is odd.
#[inline(never)]
fn one(rows: &Rows, patch: &[i8], x: &mut [u32], to: &mut [i8]) {
    let Some(x) = x.get_mut(..groups(rows.columns).wrapping_mul(2)) else { return };
    widen(patch.get(..rows.columns).unwrap_or_default(), x);
    outputs(rows, x, 0, Range::WHOLE, to);
}

fn windows(
    rows: &Rows,
    slide: &Slide,
    lines: &Lines<usize>,
    input: &[i8],
    x: &mut [u32],
    bytes: &mut [i8],
    output: &mut [i8],
) {
    let row = slide.window_row();
    let of_patch = groups(rows.columns).wrapping_mul(SIDE);
    let Some((patch, bytes)) = bytes.split_at_mut_checked(of_patch) else { return };
    let Some((second_patch, padding)) = bytes.split_at_mut_checked(of_patch) else { return };
    let (Some(patch), Some(second_patch)) = (patch.get_mut(..rows.columns), second_patch.get_mut(..rows.columns))
    else {
        return;
    };
    let Some(padding) = padding.get_mut(..row) else { return };
    padding.fill(slide.zero_point);
    let view = View { slide, input, padding };
    let both = Pixels::new(rows, 2, 0, rows.rows);
    let mut corners = Corners::new(slide, lines);
    // Row by row, mostly straight from the image, where a row is whole groups.
    let is_straight = row.is_multiple_of(SIDE) && row > 0;
    for outputs in output.chunks_mut(rows.rows.wrapping_mul(2).max(1)) {
        let first = corners.next();
        if outputs.len() < rows.rows.wrapping_mul(2) {
            view.gather(first, patch);
            one(rows, patch, x, outputs);
            continue;
        }
        let second = corners.next();
        if is_straight {
            for (y, x) in x.chunks_exact_mut(row).enumerate() {
                widen_two(view.row(first, y, patch), view.row(second, y, second_patch), x);
            }
        } else {
            view.gather(first, patch);
            view.gather(second, second_patch);
            widen_two(patch, second_patch, x);
        }
        both.outputs(x, outputs);
    }
}

/// What windows see.
struct View<'a> {
    slide: &'a Slide<'a>,
    input: &'a [i8],
    /// A row of the window that lies outside.
    padding: &'a [i8],
}

impl View<'_> {
    /// A row of the window, from the image where it lies inside, else put together in `buffer`.
    #[inline(never)]
    fn row<'r>(&'r self, corner: Corner, y: usize, buffer: &'r mut [i8]) -> &'r [i8] {
        let length = self.padding.len();
        let line = corner.top.wrapping_add(y as i32) as u32 as usize;
        let Shape { height, width, channels } = self.slide.input;
        if line >= height {
            return self.padding;
        }
        let kernel = usize::from(self.slide.window.kernel[1]);
        let pixels = self.slide.pixels_from(self.input, line, corner.left.max(0) as usize);
        if corner.left >= 0 && (corner.left as usize).wrapping_add(kernel) <= width {
            return pixels.get(..length).unwrap_or_default();
        }
        let (before, inside) = self.slide.columns_seen(corner.left);
        let Some(buffer) = buffer.get_mut(..length) else { return &[] };
        buffer.copy_from_slice(self.padding);
        let to = buffer.get_mut(before.wrapping_mul(channels)..).unwrap_or_default();
        copy(to, pixels, inside.wrapping_mul(channels));
        buffer
    }

    /// All rows of the window, one after another.
    #[inline(never)]
    fn gather(&self, corner: Corner, patch: &mut [i8]) {
        let row = self.padding.len().max(1);
        for (y, to) in patch.chunks_exact_mut(row).enumerate() {
            let line = corner.top.wrapping_add(y as i32) as u32 as usize;
            let (before, inside) =
                if line < self.slide.input.height { self.slide.columns_seen(corner.left) } else { (0, 0) };
            let channels = self.slide.input.channels;
            let pixels = self.slide.pixels_from(self.input, line, corner.left.max(0) as usize);
            if inside.wrapping_mul(channels) < row {
                copy(to, self.padding, row);
            }
            copy(
                to.get_mut(before.wrapping_mul(channels)..).unwrap_or_default(),
                pixels,
                inside.wrapping_mul(channels),
            );
        }
    }
}

/// Copies so many values, where there are as many.
#[inline(always)]
fn copy(to: &mut [i8], from: &[i8], count: usize) {
    if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
        to.copy_from_slice(from);
    }
}
