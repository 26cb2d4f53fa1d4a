//! Convolution: the patches under the window, two pixels at a time, are the inputs of a dense layer.

use core::ops::Range as Lines;

use eigenlet_shared::packed::{SIDE, groups};

use super::engine::{Windows, copy_rows};
use super::rows::{Layer, outputs};
use super::widen::widen_two;
use super::window::{Corner, Corners, Seen, outputs_of};
use super::{Range, Rows, Slide, widen};
use eigenlet_shared::geometry::Shape;

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
#[inline(never)]
fn pointwise(rows: &Rows, input: &[i8], x: &mut [u32], output: &mut [i8]) {
    let both = Layer::new(rows);
    let windows = Windows::new([1, rows.columns, rows.columns]);
    let inputs = input.chunks(rows.columns.wrapping_mul(2).max(1));
    for (inputs, outputs) in inputs.zip(output.chunks_mut(rows.rows.wrapping_mul(2).max(1))) {
        if outputs.len() < rows.rows.wrapping_mul(2) {
            one(rows, inputs, x, outputs);
        } else if let Some((first, second)) = inputs.split_at_checked(rows.columns) {
            // Rows of less than a group go another way.
            if !windows.widen(first, second, x) {
                widen_two(first, second, x);
            }
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

#[inline(never)]
fn windows(
    rows: &Rows,
    slide: &Slide,
    lines: &Lines<usize>,
    input: &[i8],
    x: &mut [u32],
    bytes: &mut [i8],
    output: &mut [i8],
) {
    let of_patch = groups(rows.columns).wrapping_mul(SIDE);
    // Whole groups. Whatever lies in the columns that the last one lacks, the weights there are 0.
    let Some((patch, second_patch)) = bytes.split_at_mut_checked(of_patch) else { return };
    let Some(second_patch) = second_patch.get_mut(..of_patch) else { return };
    let view = View::new(slide, input);
    let both = Layer::new(rows);
    let windows = Windows::new(view.size);
    let mut corners = Corners::new(slide, lines);
    for outputs in output.chunks_mut(rows.rows.wrapping_mul(2).max(1)) {
        let first = corners.next();
        if outputs.len() < rows.rows.wrapping_mul(2) {
            view.gather(first, patch);
            one(rows, patch, x, outputs);
            continue;
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
}

/// What windows see.
struct View<'a> {
    slide: &'a Slide<'a>,
    input: &'a [i8],
    /// Rows of the window, their values, and values from a line of the image to the next.
    size: [usize; 3],
    /// The last corner of a window that lies inside.
    last: Corner,
}

impl<'a> View<'a> {
    fn new(slide: &'a Slide, input: &'a [i8]) -> Self {
        let [rows, columns] = slide.window.kernel;
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let Shape { height, width, channels } = slide.input;
        let last = Corner {
            top: (height as i32).wrapping_sub(rows as i32),
            left: (width as i32).wrapping_sub(columns as i32),
        };
        Self { slide, input, size: [rows, slide.window_row(), width.wrapping_mul(channels)], last }
    }

    /// The image from a window's first value on, if the window lies inside.
    #[inline(always)]
    fn inside(&self, Corner { top, left }: Corner) -> Option<&'a [i8]> {
        let is_inside = top >= 0 && top <= self.last.top && left >= 0 && left <= self.last.left;
        is_inside.then(|| self.slide.pixels_from(self.input, top as usize, left as usize))
    }

    /// All rows of the window, one after another.
    #[inline(never)]
    fn gather(&self, corner: Corner, patch: &mut [i8]) {
        let [rows, row, line] = self.size;
        let seen = Seen::new(self.slide, corner);
        let channels = self.slide.input.channels;
        let values = seen.columns.wrapping_mul(channels);
        if seen.rows != rows || values != row {
            // Not by `fill`: that is a call of memset, of which a chip may have no other need.
            let group = core::hint::black_box([self.slide.zero_point; SIDE]);
            patch.as_chunks_mut().0.iter_mut().for_each(|to| *to = group);
        }
        let from = self.input.get(seen.first..).unwrap_or_default();
        let before = seen.before.wrapping_mul(channels).wrapping_add(seen.above.wrapping_mul(row));
        let to = patch.get_mut(before..).unwrap_or_default();
        copy_rows(from, to, [seen.rows, values], [line, row]);
    }
}
