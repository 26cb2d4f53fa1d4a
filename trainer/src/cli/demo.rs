//! `eigenlet demo`.

use std::path::PathBuf;

use super::progress::Bar;
use super::{DataArgs, summary, verify};
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::run::{self, Options};

/// The recipe that the demo runs.
const RECIPE: &str = "digits-neural-eigenmap";

#[derive(clap::Args)]
pub struct Demo {
    /// The run's folder
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    out: PathBuf,
    #[command(flatten)]
    data: DataArgs,
}

impl Demo {
    pub fn run(self) -> Result<()> {
        let recipe = Recipe::load(RECIPE, &[])?;
        let options = Options {
            folder: &self.out,
            name: RECIPE,
            backend: self.data.backend,
            data_dir: self.data.data_dir.as_deref(),
            // A demo that was done before is shown again; one that was interrupted goes on.
            resume: true,
        };
        eprintln!("1,797 handwritten digits of 8x8 pixels; their labels are used to judge, never to learn");
        let evaluated = run::train(&recipe, &options, &mut Bar::new(recipe.train.epochs))?;
        summary::print(&evaluated.metrics, &self.out);
        let model = eigenlet_runtime::Model::parse(&evaluated.blob).map_err(|error| Error::Check(error.to_string()))?;
        say!("{}", verify::golden(&model)?);
        Ok(())
    }
}
