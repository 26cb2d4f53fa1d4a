//! The positions of a window, and what it sees there.

use core::num::NonZeroU32;
use core::ops::Range as Lines;

use eigenlet_shared::geometry::Shape;
use eigenlet_shared::packed::SIDE;

use super::Slide;
use super::engine::copy_rows;

/// Where the window's corner lies in the image; before its first row or column on padding.
#[derive(Clone, Copy)]
pub(crate) struct Corner {
    top: i32,
    left: i32,
}

#[cfg(feature = "card")]
impl Corner {
    /// Row and column.
    pub(crate) fn place(self) -> (i32, i32) {
        (self.top, self.left)
    }
}

/// The window's positions for all outputs of some lines, in order.
#[cfg_attr(feature = "card", derive(Clone))]
pub(crate) struct Walk<'a> {
    slide: &'a Slide<'a>,
    input: &'a [i8],
    /// Whether the image is a series, as wide as the window's one column: then all lines are one, and go down.
    is_series: bool,
    /// Of the next position: the line's row, and where in the line; before the first one on padding.
    across: i32,
    along: i32,
    /// Where a line begins.
    first: i32,
    stride: u8,
    /// Where the corner lies among the image's values; of no meaning on padding.
    at: usize,
    /// Positions before this one are those of windows that lie inside: none where their rows don't.
    end: u32,
    /// Outputs of a line, and those left.
    of_line: usize,
    outputs: usize,
}

impl<'a> Walk<'a> {
    #[inline(never)]
    pub(crate) fn new(slide: &'a Slide, lines: &Lines<usize>, input: &'a [i8]) -> Self {
        let ([down, right], [top, left, ..]) = (slide.window.stride, slide.window.padding);
        let row = (lines.start as i32).wrapping_mul(down.into()).wrapping_sub(top.into());
        let mut walk = Self {
            slide,
            input,
            is_series: false,
            across: row,
            along: 0,
            first: 0,
            stride: right,
            at: 0,
            end: 0,
            of_line: 0,
            outputs: 0,
        };
        walk.is_series = slide.input.width == 1 && slide.window.kernel[1] == 1;
        if walk.is_series {
            (walk.across, walk.first, walk.stride, walk.of_line) = (0, row, down, lines.len());
        } else {
            (walk.first, walk.of_line) = (i32::from(left).wrapping_neg(), slide.output.width);
        }
        walk.begin();
        walk
    }

    /// At the beginning of a line.
    #[inline(never)]
    fn begin(&mut self) {
        let Shape { height, width, channels } = self.slide.input;
        let [rows, columns] = self.slide.window.kernel.map(usize::from);
        let (height, width, rows, columns) =
            if self.is_series { (width, height, columns, rows) } else { (height, width, rows, columns) };
        self.along = self.first;
        self.at = (self.across as usize).wrapping_mul(width).wrapping_add(self.first as usize).wrapping_mul(channels);
        self.outputs = self.of_line;
        let is_inside = height.checked_sub(rows).is_some_and(|last| self.across as usize <= last);
        self.end = if is_inside { width.wrapping_add(1).saturating_sub(columns) as u32 } else { 0 };
    }

    /// How many positions from the next one on in its line lie inside, and the image from the first of them on.
    #[inline(never)]
    pub(crate) fn inside(&self) -> (usize, &'a [i8]) {
        // Before the first one, the number wraps to a large one.
        let room = self.end.saturating_sub(self.along as u32);
        let stride = NonZeroU32::new(self.stride.into()).unwrap_or(NonZeroU32::MIN);
        let count = room.wrapping_add(stride.get()).wrapping_sub(1) / stride;
        (self.outputs.min(count as usize), self.input.get(self.at..).unwrap_or_default())
    }

    /// Values of the image from a position to the next one.
    pub(super) fn advance(&self) -> usize {
        usize::from(self.stride).wrapping_mul(self.slide.input.channels)
    }

    /// Passes so many positions of the line.
    #[inline(never)]
    pub(crate) fn pass(&mut self, count: usize) {
        self.along = self.along.wrapping_add(i32::from(self.stride).wrapping_mul(count as i32));
        self.at = self.at.wrapping_add(self.advance().wrapping_mul(count));
        self.outputs = self.outputs.wrapping_sub(count);
        if self.outputs == 0 {
            self.across = self.across.wrapping_add(self.slide.window.stride[0].into());
            self.begin();
        }
    }

    /// The next position; without end.
    pub(crate) fn next(&mut self) -> Corner {
        let (top, left) = if self.is_series { (self.along, self.across) } else { (self.across, self.along) };
        self.pass(1);
        Corner { top, left }
    }
}

/// What a window sees at a position.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// Where the first value lies in the image.
    pub(super) first: usize,
    /// Rows and columns of the image.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Rows and columns of padding before those.
    pub(super) above: usize,
    pub(super) before: usize,
    /// Values from a row of the image to the next.
    pub(super) line: usize,
}

impl Seen {
    // One copy for all kinds of windows.
    #[inline(never)]
    pub(crate) fn new(slide: &Slide, Corner { top, left }: Corner) -> Self {
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
}

impl<'a> View<'a> {
    pub(super) fn new(slide: &'a Slide, input: &'a [i8]) -> Self {
        let [rows, columns] = slide.window.kernel.map(usize::from);
        let Shape { width, channels, .. } = slide.input;
        Self { slide, input, size: [rows, columns.wrapping_mul(channels), width.wrapping_mul(channels)] }
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

/// Of `kernel` positions from `start` on: how many lie before the first of `size`, and how many among them.
#[inline(always)]
fn seen(start: i32, kernel: u8, size: usize) -> (usize, usize) {
    let before = 0i32.wrapping_sub(start).clamp(0, kernel.into());
    let end = (size as i32).wrapping_sub(start).clamp(before, kernel.into());
    (before as usize, end.wrapping_sub(before) as usize)
}
