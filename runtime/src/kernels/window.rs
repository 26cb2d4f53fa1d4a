//! The positions of a window, and what it sees there.

use core::ops::Range as Lines;

use eigenlet_shared::geometry::Shape;
use eigenlet_shared::packed::SIDE;

use super::Slide;
use super::engine::copy_rows;

/// Where the window's corner lies in the image; before its first row or column on padding.
#[derive(Clone, Copy)]
pub(super) struct Corner {
    pub(super) top: i32,
    pub(super) left: i32,
}

/// The corners of the window for all outputs of some lines, in order.
pub(super) struct Corners<'a> {
    slide: &'a Slide<'a>,
    next: Corner,
    /// Outputs left in the line.
    left: usize,
}

impl<'a> Corners<'a> {
    pub(super) fn new(slide: &'a Slide, lines: &Lines<usize>) -> Self {
        let [top, left, ..] = slide.window.padding;
        let (top, left) = (i32::from(top), i32::from(left));
        let top = (lines.start as i32).wrapping_mul(slide.window.stride[0].into()).wrapping_sub(top);
        Self { slide, next: Corner { top, left: left.wrapping_neg() }, left: slide.output.width }
    }
}

impl Corners<'_> {
    /// The next corner; without end.
    #[inline(never)]
    pub(super) fn next(&mut self) -> Corner {
        let corner = self.next;
        let window = self.slide.window;
        self.left = self.left.wrapping_sub(1);
        self.next.left = corner.left.wrapping_add(window.stride[1].into());
        if self.left == 0 {
            self.left = self.slide.output.width;
            self.next = Corner {
                top: corner.top.wrapping_add(window.stride[0].into()),
                left: i32::from(window.padding[1]).wrapping_neg(),
            };
        }
        corner
    }
}

/// What a window sees at a position.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Where the first value lies in the image.
    pub(super) first: usize,
    /// Rows and columns of the image.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Rows and columns of padding before those.
    pub(super) above: usize,
    pub(super) before: usize,
    /// Values from a row of the image to the next.
    pub(super) line: usize,
}

impl Seen {
    // One copy for all kinds of windows.
    #[inline(never)]
    pub(super) fn new(slide: &Slide, Corner { top, left }: Corner) -> Self {
        let line = slide.input.width.wrapping_mul(slide.input.channels);
        let [height, width] = slide.window.kernel;
        let (above, rows) = seen(top, height, slide.input.height);
        let (before, columns) = seen(left, width, slide.input.width);
        let first = (top.max(0) as usize).wrapping_mul(line);
        let first = first.wrapping_add((left.max(0) as usize).wrapping_mul(slide.input.channels));
        Self { first, rows, columns, above, before, line }
    }
}

/// What windows see.
pub(super) struct View<'a> {
    slide: &'a Slide<'a>,
    input: &'a [i8],
    /// Rows of the window, their values, and values from a line of the image to the next.
    pub(super) size: [usize; 3],
    /// The last corner of a window that lies inside.
    last: Corner,
}

impl<'a> View<'a> {
    pub(super) fn new(slide: &'a Slide, input: &'a [i8]) -> Self {
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
    pub(super) fn inside(&self, Corner { top, left }: Corner) -> Option<&'a [i8]> {
        let is_inside = top >= 0 && top <= self.last.top && left >= 0 && left <= self.last.left;
        is_inside.then(|| self.slide.pixels_from(self.input, top as usize, left as usize))
    }

    /// All rows of the window, one after another.
    #[inline(never)]
    pub(super) fn gather(&self, corner: Corner, patch: &mut [i8]) {
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

/// The outputs of some lines.
pub(super) fn outputs_of<'o>(slide: &Slide, lines: &Lines<usize>, output: &'o mut [i8]) -> &'o mut [i8] {
    let line = slide.output.width.wrapping_mul(slide.output.channels);
    output.get_mut(lines.start.wrapping_mul(line)..lines.end.wrapping_mul(line)).unwrap_or_default()
}

impl Slide<'_> {
    /// Values in a row of the window.
    #[inline(always)]
    pub(super) fn window_row(&self) -> usize {
        usize::from(self.window.kernel[1]).wrapping_mul(self.input.channels)
    }

    /// The image's values from a pixel on.
    #[inline(always)]
    pub(super) fn pixels_from<'i>(&self, input: &'i [i8], row: usize, column: usize) -> &'i [i8] {
        let pixel = row.wrapping_mul(self.input.width).wrapping_add(column);
        input.get(pixel.wrapping_mul(self.input.channels)..).unwrap_or_default()
    }
}

/// Of `kernel` positions from `start` on: how many lie before the first of `size`, and how many among them.
#[inline(always)]
fn seen(start: i32, kernel: u8, size: usize) -> (usize, usize) {
    let before = 0i32.wrapping_sub(start).clamp(0, kernel.into());
    let end = (size as i32).wrapping_sub(start).clamp(before, kernel.into());
    (before as usize, end.wrapping_sub(before) as usize)
}
