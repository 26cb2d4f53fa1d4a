//! A run's folder on disk.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::encoded::Evaluated;
use crate::error::{Error, Result};
use crate::files;
use crate::recipe::Recipe;
use crate::train::Epoch;
use crate::train::checkpoint::Checkpoint;

/// A folder with a recipe in it.
pub struct RunFolder {
    /// The folder.
    pub path: PathBuf,
    /// What it holds a run of.
    pub recipe: Recipe,
}

impl RunFolder {
    /// Takes a new folder for a recipe, or, to resume, one that holds the same recipe (a new one where there is none).
    ///
    /// # Errors
    /// A folder that holds a run already, or, to resume, another one.
    pub fn open(path: &Path, recipe: &Recipe, resume: bool) -> Result<Self> {
        let folder = Self { path: path.into(), recipe: recipe.clone() };
        let held = folder.recipe_file();
        if held.exists() {
            if !resume {
                let expected = "an empty folder, or --resume to go on with the run";
                return Err(Error::input(path.display(), "the folder holds a run", expected, "recipe.toml"));
            }
            let old = Self::recipe_in(path)?;
            if old != *recipe {
                let expected = "the recipe that the folder's run began with";
                return Err(Error::input(held.display(), "cannot resume", expected, difference(&old, recipe)));
            }
        } else {
            files::create_folder(&path.join("checkpoint"))?;
            files::write_bytes(&held, recipe.resolved().as_bytes())?;
        }
        Ok(folder)
    }

    /// A folder that a run was started in.
    ///
    /// # Errors
    /// No folder, or one without a recipe.
    pub fn finished(path: &Path) -> Result<Self> {
        if !path.join("recipe.toml").exists() {
            let expected = "the folder of a run, with recipe.toml in it";
            let found = if path.exists() { "no recipe.toml" } else { "nothing there" };
            return Err(Error::input(path.display(), "not a run", expected, found));
        }
        Ok(Self { path: path.into(), recipe: Self::recipe_in(path)? })
    }

    fn recipe_in(path: &Path) -> Result<Recipe> {
        Recipe::load(&path.join("recipe.toml").to_string_lossy(), &[])
    }

    /// The error for a run whose training has not ended.
    pub fn unfinished(&self, epochs: usize) -> Error {
        let expected = format!("{} epochs: go on with `eigenlet train … --resume`", self.recipe.train.epochs);
        Error::input(self.path.display(), "the run is not finished", expected, epochs)
    }

    fn recipe_file(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    fn checkpoint_file(&self) -> PathBuf {
        self.path.join("checkpoint").join("last.bin")
    }

    fn log_file(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The blob.
    pub fn model_file(&self) -> PathBuf {
        self.path.join("model.eigenlet")
    }

    /// The page.
    pub fn report_file(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The last checkpoint, if there is one.
    ///
    /// # Errors
    /// A damaged one.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let path = self.checkpoint_file();
        path.exists().then(|| Checkpoint::read(&path)).transpose()
    }

    /// Replaces the last checkpoint.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        files::create_folder(&self.path.join("checkpoint"))?;
        checkpoint.write(&self.checkpoint_file())
    }

    /// The epochs logged so far.
    ///
    /// # Errors
    /// A log that cannot be read, or a line that is no epoch.
    pub fn epochs(&self) -> Result<Vec<Epoch>> {
        let path = self.log_file();
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&path).map_err(|error| Error::reading(&path, error))?;
        let parse = |(index, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| {
                let place = format!("{}:{}", path.display(), index + 1);
                Error::input(place, "not an epoch's line", "one JSON object", error)
            })
        };
        text.lines().enumerate().map(parse).collect()
    }

    /// Keeps the first `count` lines of the log: a run that was killed may have logged an epoch that it did not save.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep_epochs(&self, count: usize) -> Result<()> {
        let path = self.log_file();
        if !path.exists() {
            return Ok(());
        }
        let text = std::fs::read_to_string(&path).map_err(|error| Error::reading(&path, error))?;
        let kept: String = text.lines().take(count).flat_map(|line| [line, "\n"]).collect();
        files::write_bytes(&path, kept.as_bytes())
    }

    /// Adds an epoch's line to the log.
    ///
    /// # Errors
    /// What the system says.
    pub fn add_epoch(&self, epoch: &Epoch) -> Result<()> {
        let path = self.log_file();
        let line = serde_json::to_string(epoch).expect("an epoch is a JSON object");
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{line}"))
            .map_err(|error| Error::writing(&path, error))
    }

    /// Writes the blob and the metrics.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_results(&self, evaluated: &Evaluated) -> Result<()> {
        files::write_bytes(&self.model_file(), &evaluated.blob)?;
        let mut text = serde_json::to_string_pretty(&evaluated.metrics).expect("metrics are a JSON object");
        text.push('\n');
        files::write_bytes(&self.path.join("metrics.json"), text.as_bytes())
    }

    /// Writes the page.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_report(&self, page: &str) -> Result<()> {
        files::write_bytes(&self.report_file(), page.as_bytes())
    }
}

/// The first setting in which two recipes differ.
fn difference(old: &Recipe, new: &Recipe) -> String {
    let (old, new) = (old.resolved(), new.resolved());
    let missing = |from: &str, other: &str| -> Option<String> {
        from.lines().find(|line| !other.lines().any(|known| known == *line)).map(str::to_string)
    };
    let key = |line: &str| line.split('=').next().map(str::to_string);
    match (missing(&old, &new), missing(&new, &old)) {
        (Some(old), Some(new)) if key(&old) == key(&new) => format!("`{new}` instead of `{old}`"),
        (Some(old), _) => format!("a recipe without `{old}`"),
        (None, Some(new)) => format!("a recipe with `{new}`"),
        (None, None) => "the same settings in other places".into(),
    }
}
