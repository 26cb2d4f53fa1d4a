//! Several runs side by side under one protocol: what `eigenlet compare` prints and writes.
//!
//! * [`entries`]: what takes part, from the command's arguments;
//! * [`Comparison`]: finished runs, one table for each data set, one [`Row`] for each recipe, whatever the seed;
//! * `figure`, `row`: a figure over seeds, all figures of a row;
//! * `text`, `chart`: the table as Markdown, the curves as SVG.

mod chart;
mod entry;
mod figure;
mod row;
mod text;

use std::path::Path;

use serde::Serialize;

pub use entry::{Entry, entries};
pub use figure::{Figure, MapAt};
pub use row::{Figures, Member, Row};

use super::metrics::Metrics;
use crate::error::{Error, Result};
use crate::evaluate::PROTOCOL;
use crate::files;
use crate::recipe::Recipe;

/// The format of `compare.json`; a reader may rely on the keys of this version.
pub const SCHEMA: &str = "eigenlet.compare.v1";

/// Finished runs, grouped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// How all figures were measured.
    pub protocol: String,
    /// One table for each data set, in the order of the arguments.
    pub tables: Vec<Table>,
}

/// Everything measured on one data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// The data set's name.
    pub dataset: String,
    /// SHA-256, in hexadecimal, of what was loaded of it.
    pub dataset_sha256: String,
    /// The recipes in the order of the arguments, then the baselines.
    pub rows: Vec<Row>,
}

/// A finished run with its figures.
struct Measured<'a> {
    entry: &'a Entry,
    metrics: Metrics,
}

/// Refuses, before anything is trained, finished runs whose figures could not stand in one table with the others'.
///
/// # Errors
/// Metrics that cannot be read, or that were measured by another protocol than the rest will be.
pub fn check(entries: &[Entry]) -> Result<()> {
    let (finished, missing): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.is_finished());
    let measured = measured(finished)?;
    let next = missing.first().map(|entry| (entry.folder.as_path(), PROTOCOL));
    one_protocol(next.into_iter().chain(protocols(&measured)))
}

impl Comparison {
    /// Groups the runs of `entries`, all of them finished.
    ///
    /// # Errors
    /// Metrics that cannot be read, or that were measured by different protocols.
    pub fn load(entries: &[Entry]) -> Result<Self> {
        let measured = measured(entries)?;
        one_protocol(protocols(&measured))?;
        Ok(Self::new(&measured))
    }

    fn new(measured: &[Measured]) -> Self {
        let protocol = measured.first().map_or(String::new(), |first| first.metrics.protocol.clone());
        let key = |run: &Measured| (run.metrics.dataset.clone(), run.metrics.dataset_sha256.clone());
        let table = |((dataset, dataset_sha256), runs): (_, Vec<&Measured>)| {
            let metrics: Vec<&Metrics> = runs.iter().map(|run| &run.metrics).collect();
            let recipes = grouped(runs, |run| Recipe { seed: 0, ..run.entry.recipe.clone() });
            let mut rows: Vec<Row> = recipes.into_iter().map(|(_, runs)| Row::of_runs(runs)).collect();
            tell_apart(&mut rows);
            rows.extend(row::baselines(&metrics));
            Table { dataset, dataset_sha256, rows }
        };
        let tables = grouped(measured.iter(), |run| key(run)).into_iter().map(table).collect();
        Self { schema: SCHEMA.into(), protocol, tables }
    }

    /// The tables as Markdown, padded so that they can be read as they are.
    pub fn text(&self) -> String {
        text::tables(self)
    }

    /// Writes `compare.md`, `compare.json` and `compare.svg` into a folder, which is made where there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, folder: &Path) -> Result<()> {
        files::create_folder(folder)?;
        let page = format!("{}\n![{}](compare.svg)\n", self.text(), chart::CAPTION);
        files::write_bytes(&folder.join("compare.md"), page.as_bytes())?;
        let mut json = serde_json::to_string_pretty(self).expect("a comparison is a JSON object");
        json.push('\n');
        files::write_bytes(&folder.join("compare.json"), json.as_bytes())?;
        files::write_bytes(&folder.join("compare.svg"), chart::svg(&self.tables)?.as_bytes())
    }
}

fn measured<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Vec<Measured<'a>>> {
    entries.into_iter().map(|entry| Ok(Measured { entry, metrics: entry.metrics()? })).collect()
}

fn protocols<'a>(measured: &'a [Measured]) -> impl Iterator<Item = (&'a Path, &'a str)> {
    measured.iter().map(|run| (run.entry.folder.as_path(), run.metrics.protocol.as_str()))
}

/// Refuses the first folder whose figures were measured otherwise than the first one's.
fn one_protocol<'a>(mut protocols: impl Iterator<Item = (&'a Path, &'a str)>) -> Result<()> {
    let Some((first, expected)) = protocols.next() else { return Ok(()) };
    let Some((folder, found)) = protocols.find(|(_, found)| *found != expected) else { return Ok(()) };
    let sentences = |text: &'a str| text.split(". ").map(Some).chain(std::iter::repeat(None));
    let differing = sentences(expected).zip(sentences(found)).find(|(expected, found)| expected != found);
    let (expected, found) = differing.unwrap_or_default();
    let shown = |sentence: Option<&str>| sentence.map_or("nothing of it".into(), |sentence| format!("`{sentence}`"));
    Err(Error::input(
        folder.display(),
        "measured by another protocol than the rest (`eigenlet eval` measures a run again)",
        format!("{}, as in {}", shown(expected), first.display()),
        shown(found),
    ))
}

/// Items of equal keys together; keys and items in the order in which they came.
fn grouped<T, K: PartialEq>(items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for item in items {
        let key = key(&item);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

/// Rows of one name are called by the folder of their first run.
fn tell_apart(rows: &mut [Row]) {
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    for row in rows {
        if names.iter().filter(|name| **name == row.name).count() > 1 {
            row.name = row.runs[0].folder.clone();
        }
    }
}

#[cfg(test)]
mod tests;
