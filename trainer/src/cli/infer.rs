//! `eigenlet embed`, `hash` and `assign`: the chip's answers on a host.

use std::path::PathBuf;

use eigenlet_runtime::Model;
use ndarray::{Array1, Array2};

use super::{model_file, npy};
use crate::error::{Error, Result};
use crate::inference;

#[derive(clap::Args)]
struct Files {
    /// The model, *.eigenlet
    model: PathBuf,
    /// Raw samples: .npy of uint8 with the samples along the first axis, or an IDX file of images
    input: PathBuf,
    /// Where the answers go
    #[arg(short, long, value_name = "OUT.npy")]
    output: PathBuf,
}

#[derive(clap::Args)]
pub struct Embed {
    #[command(flatten)]
    files: Files,
    /// Leading dimensions [default: all]
    #[arg(long, value_name = "K")]
    dims: Option<usize>,
    /// Instead, what the expert of each sample's cluster says of it; `assign` says which cluster
    #[arg(long)]
    expert: bool,
}

#[derive(clap::Args)]
pub struct Hash {
    #[command(flatten)]
    files: Files,
    /// Leading bits [default: all]
    #[arg(long, value_name = "B", alias = "dims")]
    bits: Option<usize>,
}

#[derive(clap::Args)]
pub struct Assign {
    #[command(flatten)]
    files: Files,
}

impl Files {
    /// Reads model and samples and gives both to `answer`.
    fn with<T>(&self, answer: impl FnOnce(&Model, &[&[u8]]) -> Result<T>) -> Result<T> {
        let bytes = model_file::read(&self.model)?;
        let model = model_file::parse(&self.model, &bytes)?;
        let samples = npy::read_samples(&self.input, &model)?;
        let rows: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        answer(&model, &rows)
    }
}

/// The asked-for size, or all that the model has.
fn size(option: &str, asked: Option<usize>, available: u16) -> Result<usize> {
    let available = usize::from(available);
    match asked.unwrap_or(available) {
        0 if available == 0 => Err(Error::input(option, "the model has no such head", "a model with one", "none")),
        size if (1..=available).contains(&size) => Ok(size),
        size => Err(Error::input(option, "the model has not as many", format!("1 to {available}"), size)),
    }
}

impl Embed {
    pub fn run(self) -> Result<()> {
        let found = self.files.with(|model, samples| match self.expert {
            true => inference::expert_embeddings(model, samples, size("--expert", self.dims, model.expert_dims())?),
            false => inference::embeddings(model, samples, size("--dims", self.dims, model.dims())?),
        })?;
        npy::write(&self.files.output, found.view())
    }
}

impl Hash {
    pub fn run(self) -> Result<()> {
        let found = self.files.with(|model, samples| {
            let codes = inference::codes(model, samples, size("--bits", self.bits, model.bits())?)?;
            let bytes: Vec<u8> = codes.rows().flatten().copied().collect();
            let width = codes.bits().div_ceil(8);
            Ok(Array2::from_shape_vec((samples.len(), width), bytes).expect("one row for each sample"))
        })?;
        npy::write(&self.files.output, found.view())
    }
}

impl Assign {
    pub fn run(self) -> Result<()> {
        let found = self.files.with(|model, samples| {
            size("assign", None, model.clusters())?;
            Ok(inference::assignments(model, samples)?
                .into_iter()
                .map(|(id, _)| i32::from(id))
                .collect::<Array1<i32>>())
        })?;
        npy::write(&self.files.output, found.view())
    }
}
