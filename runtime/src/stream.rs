//! A sample that slides over a longer series: each layer computes only what the new values change.

use core::ops::Range;

use eigenlet_shared::description::{Raw, Window};
use eigenlet_shared::numerics::quantize_u8;

use crate::encoder::{Arena, EncoderError, Features, run_window};
use crate::model::Model;

/// A model whose sample is a window that slides along its height: a series, or an image that is read line by line. What the layers
/// computed for lines that are still in the window is kept, for as many first layers as are convolutions and poolings, so that a
/// new sample costs its new lines and the few at either end that padding reaches. It gives what the whole sample would give, to
/// the bit.
///
/// `BYTES` is at least [`Model::stream_bytes`].
#[derive(Clone, Debug)]
pub struct Stream<'m, const BYTES: usize> {
    model: &'m Model<'m>,
    /// The sample and the outputs of the layers that slide, one after another; behind them, the arena.
    memory: Arena<BYTES>,
    /// Lines of the sample that have come, at most all.
    lines: usize,
    /// Whether the layers' outputs are those of the sample before the newest lines.
    is_known: bool,
}

impl Model<'_> {
    /// Bytes of RAM that a [`Stream`] takes: the arena, and what the layers that slide keep; 0 where the first layer is no window.
    pub fn stream_bytes(&self) -> usize {
        match self.kept_bytes() {
            0 => 0,
            kept => kept.saturating_add(self.arena_bytes()),
        }
    }

    /// Bytes of the sample and of the outputs of all layers that slide, up to a multiple of 4; 0 where there are none.
    fn kept_bytes(&self) -> usize {
        let kept = self.steps().map(|step| step.window().map(|_| step.output.shape.len()));
        let kept = kept.map_while(|bytes| bytes).fold(0, usize::saturating_add);
        if kept == 0 {
            return 0;
        }
        kept.saturating_add(self.input_len()).checked_next_multiple_of(align_of::<u32>()).unwrap_or(usize::MAX)
    }

    /// Multiply-accumulates of the layers when so many new lines come.
    pub fn macs_of_lines(&self, lines: usize) -> u64 {
        let mut known = Known::input(self.input().height, lines, true);
        let layers = self.steps().map(|step| {
            let height = step.output.shape.height;
            let new = match step.window() {
                Some(window) => {
                    known = known.under(&window, height);
                    height.saturating_sub(known.rows.len())
                }
                None => {
                    known = Known::nothing();
                    height
                }
            };
            // All lines cost the same, padding included.
            let line = step.macs().checked_div(height as u64).unwrap_or(0);
            line.saturating_mul(new as u64)
        });
        layers.fold(0, u64::saturating_add)
    }
}

impl<'m, const BYTES: usize> Stream<'m, BYTES> {
    /// A stream without any lines yet.
    ///
    /// # Errors
    /// [`EncoderError::Form`], [`EncoderError::NoWindow`], [`EncoderError::Arena`].
    pub fn new(model: &'m Model<'m>) -> Result<Self, EncoderError> {
        model.expect(Raw::U8)?;
        let (expected, found) = (model.stream_bytes(), BYTES);
        if expected == 0 {
            return Err(EncoderError::NoWindow);
        }
        if found < expected {
            return Err(EncoderError::Arena { expected, found });
        }
        Ok(Self { model, memory: Arena::new(), lines: 0, is_known: false })
    }

    /// Moves the window on by some lines of raw sensor bytes, each the sample's width by its channels, at most the sample's height;
    /// none leave it where it is. `None` until enough lines have come for a whole sample.
    ///
    /// # Errors
    /// [`EncoderError::Sample`], with the bytes of a whole sample, where these are no whole lines or too many.
    pub fn push(&mut self, lines: &[u8]) -> Result<Option<Features<'_>>, EncoderError> {
        let shape = self.model.input();
        let line = shape.width.saturating_mul(shape.channels);
        let (expected, found) = (self.model.input_len(), lines.len());
        if found > expected || !found.is_multiple_of(line) {
            return Err(EncoderError::Sample { expected, found });
        }
        let new = found.checked_div(line).unwrap_or(0);
        let memory = self.memory.bytes();
        if let Some(sample) = memory.get_mut(..expected) {
            move_down(sample, found..expected, 0);
            let to = sample.iter_mut().rev().zip(lines.iter().rev());
            to.for_each(|(to, raw)| *to = quantize_u8(*raw));
        }
        self.lines = self.lines.saturating_add(new).min(shape.height);
        if self.lines < shape.height {
            return Ok(None);
        }
        let known = Known::input(shape.height, new, self.is_known);
        self.is_known = true;
        Ok(slide(self.model, known, memory))
    }

    /// Forgets all lines: what comes next does not follow on them.
    pub fn clear(&mut self) {
        (self.lines, self.is_known) = (0, false);
    }
}

/// Brings the outputs of the layers that slide up to date, and runs the others.
// One copy for all sizes of memory.
#[inline(never)]
fn slide<'s>(model: &'s Model<'s>, mut known: Known, memory: &'s mut [i8]) -> Option<Features<'s>> {
    let (mut kept, arena) = memory.split_at_mut_checked(model.kept_bytes())?;
    let mut steps = model.steps();
    let mut rest = steps.clone();
    while steps.left > 0
        && steps.advance().is_ok()
        && let Some(window) = steps.window()
    {
        let shape = steps.output.shape;
        known = known.under(&window, shape.height);
        let (input, behind) = kept.split_at_mut_checked(steps.input.shape.len())?;
        let output = behind.get_mut(..shape.len())?;
        let line = shape.width.wrapping_mul(shape.channels);
        let bytes = |lines: &Range<usize>| lines.start.wrapping_mul(line)..lines.end.wrapping_mul(line);
        let Range { start, end } = known.rows;
        let before = start.wrapping_add(known.shift)..end.wrapping_add(known.shift);
        let (from, to) = (bytes(&before), bytes(&known.rows));
        move_down(output, from, to.start);
        let [_, scratch, _] = steps.regions();
        let scratch = arena.get_mut(scratch)?;
        for lines in [0..start, end..shape.height] {
            run_window(&steps, lines, input, scratch, output);
        }
        kept = behind;
        rest = steps.clone();
    }
    let last = rest.output;
    arena.get_mut(last.range())?.iter_mut().zip(kept).for_each(|(to, value)| *to = *value);
    Some(model.run_steps(arena, &mut rest, None))
}

/// Moves values to a lower place; what does not lie inside stays as it is.
// Not by `copy_within`, which panics about what does not.
fn move_down(values: &mut [i8], from: Range<usize>, to: usize) {
    for (from, to) in from.zip(to..) {
        let value = values.get(from).copied();
        if let (Some(value), Some(to)) = (value, values.get_mut(to)) {
            *to = value;
        }
    }
}

/// Which rows of a tensor are known from the sample before: `rows`, and each was `shift` rows further down there.
#[derive(Clone)]
struct Known {
    rows: Range<usize>,
    shift: usize,
}

impl Known {
    fn nothing() -> Self {
        Self { rows: 0..0, shift: 0 }
    }

    /// Of a sample that moved on by some lines.
    fn input(height: usize, lines: usize, is_known: bool) -> Self {
        if is_known { Self { rows: 0..height.saturating_sub(lines), shift: lines } } else { Self::nothing() }
    }

    /// Of what a window makes of such an input: the rows at which it sees nothing but known rows, and no padding, as it did there.
    fn under(&self, window: &Window, height: usize) -> Self {
        let [size, _] = window.kernel.map(usize::from);
        let [step, _] = window.stride.map(usize::from);
        let [top, ..] = window.padding.map(usize::from);
        if self.rows.is_empty() || !self.shift.is_multiple_of(step) {
            return Self::nothing();
        }
        let start = self.rows.start.saturating_add(top).saturating_add(step).saturating_sub(1).checked_div(step);
        let end = self.rows.end.saturating_add(top).checked_sub(size).and_then(|end| end.checked_div(step));
        let (Some(start), Some(end)) = (start, end) else { return Self::nothing() };
        let end = end.saturating_add(1).min(height);
        if start >= end {
            return Self::nothing();
        }
        Self { rows: start..end, shift: self.shift.checked_div(step).unwrap_or(0) }
    }
}
