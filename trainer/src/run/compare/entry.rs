//! What takes part in a comparison: recipes, each with every seed, and finished runs.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::recipe::{Recipe, SHIPPED};
use crate::run::folder::RunFolder;
use crate::run::metrics::{Metrics, SCHEMA};

/// A run, finished or to be trained.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The recipe's name, or that of the run's folder without its `-seed…`.
    pub name: String,
    /// The run's folder.
    pub folder: PathBuf,
    /// The recipe with the run's seed.
    pub recipe: Recipe,
}

/// The runs that the arguments name. A folder is a finished run; anything else is a recipe, which gives a run
/// `out/NAME-seedK` for each of `seeds`, or for its own seed where there are none. `settings` change recipes only.
///
/// # Errors
/// An argument that is neither; a run that is not finished; a folder in `out` that holds a run of another recipe; the same
/// run or seed twice; seeds or settings without a recipe.
pub fn entries(arguments: &[String], seeds: &[u64], settings: &[String], out: &Path) -> Result<Vec<Entry>> {
    if let Some(seed) = seeds.iter().enumerate().find(|(place, seed)| seeds[..*place].contains(seed)) {
        return Err(Error::input("--seeds", "a seed twice", "each seed once", seed.1));
    }
    let is_run = |argument: &String| Path::new(argument).is_dir();
    for (option, given) in [("--seeds", !seeds.is_empty()), ("--set", !settings.is_empty())] {
        if given && arguments.iter().all(is_run) {
            let found = format!("{} finished runs", arguments.len());
            return Err(Error::input(option, "nothing to be trained", "a recipe among the arguments", found));
        }
    }
    let mut entries = Vec::new();
    for argument in arguments {
        match is_run(argument) {
            true => entries.push(finished_run(Path::new(argument))?),
            false => entries.extend(runs_of_recipe(argument, seeds, settings, out)?),
        }
    }
    no_run_twice(&entries)?;
    Ok(entries)
}

impl Entry {
    /// Whether there is nothing left to train or to measure.
    pub fn is_finished(&self) -> bool {
        self.folder.join("recipe.toml").exists() && self.metrics_file().exists()
    }

    /// The figures of a finished run.
    ///
    /// # Errors
    /// A file that cannot be read, or that another version wrote.
    pub fn metrics(&self) -> Result<Metrics> {
        let path = self.metrics_file();
        let text = std::fs::read_to_string(&path).map_err(|error| Error::reading(&path, error))?;
        let expected = format!("{SCHEMA}, as `eigenlet eval` writes it");
        let wrong = |found: String| Error::input(path.display(), "not this version's metrics", &expected, found);
        let metrics: Metrics = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if metrics.schema != SCHEMA {
            return Err(wrong(metrics.schema));
        }
        Ok(metrics)
    }

    fn metrics_file(&self) -> PathBuf {
        self.folder.join("metrics.json")
    }
}

fn finished_run(path: &Path) -> Result<Entry> {
    let folder = RunFolder::finished(path)?;
    // `.` and `runs/..` have a name only when they are resolved.
    let whole = std::fs::canonicalize(path).map_err(|error| Error::reading(path, error))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.strip_suffix(&format!("-seed{}", folder.recipe.seed)).unwrap_or(&name).to_string();
    let entry = Entry { name, folder: path.into(), recipe: folder.recipe.clone() };
    if entry.is_finished() {
        return Ok(entry);
    }
    let epochs = folder.checkpoint()?.map_or(0, |checkpoint| checkpoint.epochs);
    if epochs < entry.recipe.train.epochs {
        return Err(folder.unfinished(epochs));
    }
    Err(Error::input(path.display(), "the run is not measured", "metrics.json, as `eigenlet eval` writes it", "none"))
}

fn runs_of_recipe(argument: &str, seeds: &[u64], settings: &[String], out: &Path) -> Result<Vec<Entry>> {
    let shipped: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    if !Path::new(argument).exists() && !shipped.contains(&argument.trim_end_matches(".toml")) {
        let expected =
            format!("the folder of a finished run, a file, or one of the shipped recipes: {}", shipped.join(", "));
        return Err(Error::input(argument, "neither a run nor a recipe", expected, "nothing there"));
    }
    let seed_settings: Vec<Option<String>> = match seeds {
        [] => vec![None],
        seeds => seeds.iter().map(|seed| Some(format!("seed={seed}"))).collect(),
    };
    let name = Path::new(argument).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let entry = |seed: Option<String>| {
        let settings: Vec<String> = settings.iter().cloned().chain(seed).collect();
        let recipe = Recipe::load(argument, &settings)?;
        let folder = out.join(format!("{name}-seed{}", recipe.seed));
        // A run of another recipe is refused now, before others are trained.
        if folder.join("recipe.toml").exists() {
            RunFolder::open(&folder, &recipe, true)?;
        }
        Ok(Entry { name: name.clone(), folder, recipe })
    };
    seed_settings.into_iter().map(entry).collect()
}

fn no_run_twice(entries: &[Entry]) -> Result<()> {
    for (place, entry) in entries.iter().enumerate() {
        for before in &entries[..place] {
            let twice = |what: &str, expected: &str| {
                let found = format!("{} before", before.folder.display());
                Err(Error::input(entry.folder.display(), what, expected, found))
            };
            if before.recipe == entry.recipe {
                return twice("the same run twice", "each recipe once with each seed");
            }
            if before.folder == entry.folder {
                return twice("two runs for one folder", "recipes of different names");
            }
        }
    }
    Ok(())
}
