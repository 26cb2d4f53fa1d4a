//! Convolution: the patches under the window, two pixels at a time, are the inputs of a dense layer.

use core::ops::Range as Lines;

use eigenlet_shared::packed::{SIDE, groups};

use super::engine::{copy, widen_windows};
use super::rows::{Layer, outputs};
use super::widen::widen_two;
use super::window::{Corner, Corners, outputs_of};
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
    let inputs = input.chunks(rows.columns.wrapping_mul(2).max(1));
    for (inputs, outputs) in inputs.zip(output.chunks_mut(rows.rows.wrapping_mul(2).max(1))) {
        if outputs.len() < rows.rows.wrapping_mul(2) {
            one(rows, inputs, x, outputs);
        } else if let Some((first, second)) = inputs.split_at_checked(rows.columns) {
            // Whole groups need no look at their end.
            if !widen_windows(first, second, [1, rows.columns, rows.columns], x) {
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
    let row = slide.window_row();
    let of_patch = groups(rows.columns).wrapping_mul(SIDE);
    let Some((patch, bytes)) = bytes.split_at_mut_checked(of_patch) else { return };
    let Some((second_patch, padding)) = bytes.split_at_mut_checked(of_patch) else { return };
    let (Some(patch), Some(second_patch)) = (patch.get_mut(..rows.columns), second_patch.get_mut(..rows.columns))
    else {
        return;
    };
    let Some(padding) = padding.get_mut(..row) else { return };
    // Not by `fill`: that is a call of memset, of which a chip may have no other need.
    padding.iter_mut().for_each(|value| *value = core::hint::black_box(slide.zero_point));
    let view = View::new(slide, input, padding);
    let both = Layer::new(rows);
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
            let inside = view.inside(first).zip(view.inside(second));
            if !inside.is_some_and(|(first, second)| widen_windows(first, second, view.size, x)) {
                view.widen_rows(first, second, x, patch, second_patch);
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
    /// Rows of the window, their values, and values from a line of the image to the next.
    size: [usize; 3],
    /// The last corner of a window that lies inside.
    last: Corner,
}

impl<'a> View<'a> {
    fn new(slide: &'a Slide, input: &'a [i8], padding: &'a [i8]) -> Self {
        let [rows, columns] = slide.window.kernel;
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let Shape { height, width, channels } = slide.input;
        let last = Corner {
            top: (height as i32).wrapping_sub(rows as i32),
            left: (width as i32).wrapping_sub(columns as i32),
        };
        Self { slide, input, padding, size: [rows, padding.len(), width.wrapping_mul(channels)], last }
    }

    /// The image from a window's first value on, if the window lies inside.
    #[inline(always)]
    fn inside(&self, Corner { top, left }: Corner) -> Option<&'a [i8]> {
        let is_inside = top >= 0 && top <= self.last.top && left >= 0 && left <= self.last.left;
        is_inside.then(|| self.slide.pixels_from(self.input, top as usize, left as usize))
    }

    /// Widens two windows row by row, from the image where a row lies inside.
    #[inline(never)]
    fn widen_rows(&self, first: Corner, second: Corner, x: &mut [u32], buffer: &mut [i8], second_buffer: &mut [i8]) {
        let row = self.padding.len().max(1);
        let Some(buffer) = buffer.get_mut(..row) else { return };
        let Some(second_buffer) = second_buffer.get_mut(..row) else { return };
        let (mut first, mut second) = (WindowRows::new(self, first), WindowRows::new(self, second));
        for x in x.chunks_exact_mut(row) {
            widen_two(first.next(buffer), second.next(second_buffer), x);
        }
    }

    /// All rows of the window, one after another.
    #[inline(never)]
    fn gather(&self, corner: Corner, patch: &mut [i8]) {
        let row = self.padding.len().max(1);
        let mut rows = WindowRows::new(self, corner);
        for to in patch.chunks_exact_mut(row) {
            rows.copy_to(to);
        }
    }
}

/// The rows of a window, from its first on.
struct WindowRows<'a> {
    view: &'a View<'a>,
    /// The next row: its line in the image, and where its first value that the window sees lies.
    line: i32,
    start: usize,
    /// Values before the image, and values in it.
    before: usize,
    inside: usize,
}

impl<'a> WindowRows<'a> {
    #[inline(never)]
    fn new(view: &'a View, Corner { top, left }: Corner) -> Self {
        let Shape { width, channels, .. } = view.slide.input;
        let (before, inside) = view.slide.columns_seen(left);
        let column = top.wrapping_mul(width as i32).wrapping_add(left.max(0));
        let start = (column as usize).wrapping_mul(channels);
        let (before, inside) = (before.wrapping_mul(channels), inside.wrapping_mul(channels));
        Self { view, line: top, start, before, inside }
    }

    /// What the window sees of the next row; nothing where that lies outside.
    #[inline(always)]
    fn seen(&mut self) -> &'a [i8] {
        let Shape { height, width, channels } = self.view.slide.input;
        let (line, start) = (self.line as u32 as usize, self.start);
        self.line = self.line.wrapping_add(1);
        self.start = start.wrapping_add(width.wrapping_mul(channels));
        let seen = if line < height { self.view.input.get(start..start.wrapping_add(self.inside)) } else { None };
        seen.unwrap_or_default()
    }

    /// The next row, from the image if all of it lies there, else put together in `buffer`.
    #[inline(never)]
    fn next<'r>(&mut self, buffer: &'r mut [i8]) -> &'r [i8]
    where
        'a: 'r,
    {
        let padding = self.view.padding;
        let seen = self.seen();
        if seen.len() == padding.len() {
            seen
        } else if seen.is_empty() {
            padding
        } else {
            self.put(seen, buffer);
            buffer
        }
    }

    /// Copies the next row.
    #[inline(always)]
    fn copy_to(&mut self, to: &mut [i8]) {
        let seen = self.seen();
        if seen.len() == to.len() { copy(to, seen) } else { self.put(seen, to) }
    }

    /// What is seen of a row between what is padding.
    #[inline(never)]
    fn put(&self, seen: &[i8], to: &mut [i8]) {
        copy(to, self.view.padding);
        copy(to.get_mut(self.before..).unwrap_or_default(), seen);
    }
}
