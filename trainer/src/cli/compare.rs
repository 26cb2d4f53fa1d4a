//! `eigenlet compare`.

use std::path::PathBuf;

use super::DataArgs;
use super::progress::Bar;
use crate::error::{Error, Result};
use crate::run::compare::{self, Comparison};
use crate::run::{self, Options};

#[derive(clap::Args)]
pub struct Compare {
    /// Recipes (files, or names of shipped ones), and folders of finished runs
    #[arg(required = true, value_name = "RECIPE|RUN")]
    arguments: Vec<String>,
    /// Train each recipe once with each of these seeds [default: the recipe's seed]
    #[arg(long, value_name = "SEED,…", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Where the table goes, and the runs of the recipes, as RECIPE-seedK; those that are there go on or are taken as they are
    #[arg(long, value_name = "DIR", default_value = "runs/compare")]
    out: PathBuf,
    /// Instead of what the recipes say, for instance `--set train.epochs=20`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
}

impl Compare {
    pub fn run(self) -> Result<()> {
        let entries = compare::entries(&self.arguments, &self.seeds, &self.set, &self.out)?;
        compare::check(&entries)?;
        let unfinished: Vec<_> = entries.iter().filter(|entry| !entry.is_finished()).collect();
        // What is wrong with the last recipe is said before the first is trained.
        let of_another_recipe = |at: &usize| *at == 0 || unfinished[*at].name != unfinished[*at - 1].name;
        for entry in (0..unfinished.len()).filter(of_another_recipe).map(|at| unfinished[at]) {
            run::check(&entry.recipe, self.data.data_dir.as_deref(), self.data.backend)?;
        }
        for entry in unfinished {
            eprintln!("{}", entry.folder.display());
            let options = Options {
                folder: &entry.folder,
                name: &entry.name,
                backend: self.data.backend,
                data_dir: self.data.data_dir.as_deref(),
                resume: true,
            };
            run::train(&entry.recipe, &options, &mut Bar::new(entry.recipe.train.epochs)).map_err(
                |error| match error {
                    Error::Interrupted(_) => Error::Interrupted("the same command goes on from here".into()),
                    other => other,
                },
            )?;
        }
        // From the files, whether they were written now or before: the same call says the same again.
        let comparison = Comparison::load(&entries)?;
        comparison.write(&self.out)?;
        say!("{}", comparison.text());
        say!("{0}/compare.md  {0}/compare.json  {0}/compare.svg", self.out.display());
        Ok(())
    }
}
