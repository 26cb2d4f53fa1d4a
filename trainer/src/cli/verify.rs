//! `eigenlet verify`.

use std::path::PathBuf;

use eigenlet_runtime::Model;

use super::model_file;
use crate::error::{Error, Result};
use crate::inference;

#[derive(clap::Args)]
pub struct Verify {
    /// The model, *.eigenlet
    model: PathBuf,
}

impl Verify {
    pub fn run(self) -> Result<()> {
        let bytes = model_file::read(&self.model)?;
        say!("{}", golden(&model_file::parse(&self.model, &bytes)?)?);
        Ok(())
    }
}

/// Runs the golden vectors; one line that says so.
///
/// # Errors
/// An output that is not what the vector says.
pub fn golden(model: &Model) -> Result<String> {
    let mut arena = inference::arena(model);
    match model.verify(bytemuck::cast_slice_mut(&mut arena)) {
        Ok(count) => Ok(format!("verify ok: {count} golden vectors, byte for byte")),
        Err(error) => Err(Error::Check(format!("verify failed: {error}"))),
    }
}
