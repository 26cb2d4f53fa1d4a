//! Convolution: the patches under the window, two pixels at a time, are the inputs of a dense layer.

use core::ops::Range as Lines;

use eigenlet_shared::packed::{SIDE, groups};

use super::widen::widen_two;
use super::window::{Corner, Corners, outputs_of};
use super::{Range, Rows, Slide, rows::pixels, widen};

/// A convolution: the output's `lines` of `rows.rows` channels. `rows.columns` is the window's size by the input's channels;
/// `scratch` has [`patch_words`](eigenlet_shared::packed::patch_words); `input` and `output` are as long as their shapes say.
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
    let (channels, outputs) = (rows.columns, rows.rows);
    let inputs = input.chunks(channels.wrapping_mul(2).max(1));
    for (inputs, outputs_of_both) in inputs.zip(output.chunks_mut(outputs.wrapping_mul(2).max(1))) {
        match (inputs.split_at_checked(channels), outputs_of_both.split_at_mut_checked(outputs)) {
            (Some((first, second)), Some((to, and_to))) if to.len() == and_to.len() => {
                widen_two(first, second, x);
                pixels(rows, x, 0, [to, and_to]);
            }
            _ => one(rows, inputs, x, outputs_of_both),
        }
    }
}

/// One patch: that of the last pixel, where their number is odd.
#[inline(never)]
fn one(rows: &Rows, patch: &[i8], x: &mut [u32], to: &mut [i8]) {
    let Some(x) = x.get_mut(..groups(rows.columns).wrapping_mul(2)) else { return };
    widen(patch.get(..rows.columns).unwrap_or_default(), x);
    pixels(rows, x, 0, [to]);
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
    let patch = groups(rows.columns).wrapping_mul(SIDE);
    let Some((patches, padding)) = bytes.split_at_mut_checked(patch.wrapping_mul(2)) else { return };
    let Some(padding) = padding.get_mut(..row) else { return };
    let Some((patch, second_patch)) = patches.split_at_mut_checked(patch) else { return };
    let (Some(patch), Some(second_patch)) = (patch.get_mut(..rows.columns), second_patch.get_mut(..rows.columns))
    else {
        return;
    };
    padding.fill(slide.zero_point);
    let view = View { slide, input, padding };
    let mut corners = Corners::new(slide, lines);
    for outputs in output.chunks_mut(rows.rows.wrapping_mul(2).max(1)) {
        let corner = corners.next();
        match outputs.split_at_mut_checked(rows.rows) {
            Some((to, and_to)) if to.len() == and_to.len() => {
                let second = corners.next();
                if row.is_multiple_of(SIDE) && row > 0 {
                    // Row by row, mostly straight from the image.
                    for (y, x) in x.chunks_exact_mut(row).enumerate() {
                        let (first, second) = (view.row(corner, y, patch), view.row(second, y, second_patch));
                        widen_two(first, second, x);
                    }
                } else {
                    view.gather(corner, patch);
                    view.gather(second, second_patch);
                    widen_two(patch, second_patch, x);
                }
                pixels(rows, x, 0, [to, and_to]);
            }
            _ => {
                view.gather(corner, patch);
                one(rows, patch, x, outputs);
            }
        }
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
    #[inline(always)]
    fn row<'r>(&'r self, corner: Corner, y: usize, buffer: &'r mut [i8]) -> &'r [i8] {
        let row = self.padding.len();
        let line = corner.top.wrapping_add(y as i32);
        let right = corner.left.wrapping_add(self.slide.window.kernel[1].into());
        if corner.left >= 0
            && right <= self.slide.input.width as i32
            && (line as u32 as usize) < self.slide.input.height
        {
            let pixels = self.slide.pixels_from(self.input, line as usize, corner.left as usize);
            return pixels.get(..row).unwrap_or_default();
        }
        self.edge(corner, line, buffer)
    }

    #[inline(never)]
    fn edge<'r>(&'r self, corner: Corner, line: i32, buffer: &'r mut [i8]) -> &'r [i8] {
        if line as u32 as usize >= self.slide.input.height {
            return self.padding;
        }
        let Some(buffer) = buffer.get_mut(..self.padding.len()) else { return &[] };
        let channels = self.slide.input.channels;
        let (before, inside) = self.slide.columns_seen(corner.left);
        let column = corner.left.max(0) as usize;
        let pixels = self.slide.pixels_from(self.input, line as usize, column);
        buffer.copy_from_slice(self.padding);
        let to = buffer.get_mut(before.wrapping_mul(channels)..).unwrap_or_default();
        for (to, value) in to.iter_mut().zip(pixels.iter().take(inside.wrapping_mul(channels))) {
            *to = *value;
        }
        buffer
    }

    /// All rows of the window, one after another.
    #[inline(never)]
    fn gather(&self, corner: Corner, patch: &mut [i8]) {
        let row = self.padding.len().max(1);
        for (y, to) in patch.chunks_exact_mut(row).enumerate() {
            let line = corner.top.wrapping_add(y as i32);
            if line as u32 as usize >= self.slide.input.height {
                for (to, value) in to.iter_mut().zip(self.padding) {
                    *to = *value;
                }
            } else {
                self.edge(corner, line, to);
            }
        }
    }
}
