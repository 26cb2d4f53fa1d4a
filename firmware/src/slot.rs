//! The model's own region of flash, apart from the program's: a new model needs no new firmware.

use core::slice;

use eigenlet_runtime::{Model, ModelError};

/// The region that `boards/<board>.x` gives the model.
pub fn region() -> &'static [u8] {
    unsafe extern "C" {
        static _model_start: u8;
        static _model_end: u8;
    }
    let (start, end) = (&raw const _model_start, &raw const _model_end);
    // SAFETY: both symbols bound one region of readable memory that neither the program nor its data touch; nothing writes
    // to it while the program runs.
    unsafe { slice::from_raw_parts(start, end as usize - start as usize) }
}

/// Why the slot holds no model that can be used.
#[derive(Clone, Copy, Debug)]
pub enum SlotError {
    /// Erased: flash reads as ones, the emulator's memory as zeros.
    Absent,
    /// Something is there, and this is wrong with it.
    Damaged(ModelError),
}

/// The model in the slot, checked.
///
/// # Errors
/// [`SlotError`].
pub fn model() -> Result<Model<'static>, SlotError> {
    let region = region();
    let erased = |blank: u8| region.iter().take(ERASED).all(|byte| *byte == blank);
    if erased(0xff) || erased(0x00) {
        return Err(SlotError::Absent);
    }
    Model::parse(region).map_err(SlotError::Damaged)
}

/// So many blank bytes at the start mean that nothing was put there: longer than a blob's magic, shorter than its header.
const ERASED: usize = 16;
