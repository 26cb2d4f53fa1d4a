//! `eigenlet train`.

use std::path::{Path, PathBuf};

use super::progress::Bar;
use super::{DataArgs, summary};
use crate::error::Result;
use crate::recipe::Recipe;
use crate::run::{self, Options};

#[derive(clap::Args)]
pub struct Train {
    /// A recipe's file, or the name of a shipped one
    recipe: String,
    /// The run's folder [default: runs/RECIPE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run that the folder holds
    #[arg(long)]
    resume: bool,
    /// Instead of the recipe's seed
    #[arg(long)]
    seed: Option<u64>,
    /// Instead of what the recipe says, for instance `--set train.epochs=20`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
}

impl Train {
    pub fn run(self) -> Result<()> {
        let mut settings = self.set;
        settings.extend(self.seed.map(|seed| format!("seed={seed}")));
        let recipe = Recipe::load(&self.recipe, &settings)?;
        let stem = Path::new(&self.recipe).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = self.out.unwrap_or_else(|| Path::new("runs").join(&stem));
        let options = Options {
            folder: &folder,
            name: &stem,
            backend: self.data.backend,
            data_dir: self.data.data_dir.as_deref(),
            resume: self.resume,
        };
        let evaluated = run::train(&recipe, &options, &mut Bar::new(recipe.train.epochs))?;
        summary::print(&evaluated.metrics, &folder);
        Ok(())
    }
}
