//! `eigenlet eval`.

use std::path::PathBuf;

use super::progress::Bar;
use super::{DataArgs, summary};
use crate::error::Result;
use crate::run::{self, Options};

#[derive(clap::Args)]
pub struct Eval {
    /// The folder of a finished run
    run: PathBuf,
    /// Print metrics.json and nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

impl Eval {
    pub fn run(self) -> Result<()> {
        let name = self.run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let options = Options {
            folder: &self.run,
            name: &name,
            backend: self.data.backend,
            data_dir: self.data.data_dir.as_deref(),
            resume: true,
        };
        let evaluated = run::evaluate(&options, &mut Bar::new(0))?;
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&evaluated.metrics).expect("metrics are JSON")),
            false => summary::print(&evaluated.metrics, &self.run),
        }
        Ok(())
    }
}
