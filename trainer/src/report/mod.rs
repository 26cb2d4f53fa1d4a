//! The report of a run: one HTML file that needs nothing but a browser, neither a network nor scripts.
//!
//! * [`html`]: the page, section by section;
//! * `summary`: what the first screen says;
//! * `curves`, `tables`, `spectrum`, `functions`, `neighbours`, `experts`: what the sections show;
//! * `plot`, `dots`, `picture`, `units`: how charts, samples and numbers are shown.
//!
//! Text reaches the page only through `maud`, which escapes it.

mod curves;
mod dots;
mod experts;
mod functions;
mod neighbours;
mod picture;
mod plot;
mod spectrum;
mod summary;
mod tables;
mod units;

use maud::{DOCTYPE, Markup, PreEscaped};
use ndarray::ArrayView2;

use crate::data::{Samples, Unit};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::objective::Portraits;
use crate::run::metrics::Metrics;
use crate::train::Epoch;

/// What a report shows of a run.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// The run's name, say its recipe's.
    pub title: &'a str,
    /// All figures.
    pub metrics: &'a Metrics,
    /// The epochs of training, in order.
    pub epochs: &'a [Epoch],
    /// The resolved recipe, as TOML.
    pub recipe: &'a str,
    /// The training split, in which neighbours and clusters are shown.
    pub train: Gallery<'a>,
    /// The test split, which gives the scatter plots and the queries.
    pub test: Gallery<'a>,
    /// What the blob's code is made of and what a cluster is, in words.
    pub heads: &'a (String, String),
    /// What clusters that have representations of their own look like, where there are such.
    pub portraits: Option<&'a Portraits>,
    /// What the outputs are ordered by, in words: a pair; none, where it is a kernel.
    pub pairs: Option<&'a str>,
    /// What joins the samples where the set says it: its nodes are those of the training split, then those of the test split.
    pub graph: Option<&'a Graph>,
    /// The raw value that is shown as white.
    pub raw_max: u8,
    /// What raw values are of what was measured.
    pub unit: Unit,
}

impl ReportInput<'_> {
    /// Where a sample of two values lies.
    fn place(&self, dot: &dots::Dot) -> (f64, f64) {
        let raw = dot.split.samples.sample(dot.sample);
        let measured = |raw: u8| f64::from(self.unit.offset) + f64::from(self.unit.scale) * f64::from(raw);
        (measured(raw[0]), measured(raw[1]))
    }
}

/// One split of the data set, and what the encoder makes of it: `n` samples, `d` dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Gallery<'a> {
    /// `n` samples.
    pub samples: &'a Samples,
    /// `[n]`, where the set has labels.
    pub labels: Option<&'a [u16]>,
    /// `[n, d]`: the blob's ordered outputs, as the runtime gives them.
    pub embeddings: ArrayView2<'a, i8>,
    /// `[n, d]`: the float network's ordered outputs.
    pub float: ArrayView2<'a, f32>,
    /// `[n]`: the cluster of each sample; empty, where none were made.
    pub clusters: &'a [u16],
}

/// The page. The same input gives the same bytes. What needs labels or clusters is left out without them, and says so.
///
/// # Errors
/// Samples, labels, embeddings and clusters that differ in number.
pub fn html(input: &ReportInput) -> Result<String> {
    check("the training split", &input.train)?;
    check("the test split", &input.test)?;
    let page = maud::html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (input.title) " · eigenlet" }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (summary::header(input))
                main {
                    (summary::warnings(&input.metrics.warnings))
                    (section("truncation", "Truncation", "The outputs are ordered, the most telling first, so an \
                        embedding is cut by dropping its end. Good is a curve that is high from the start.",
                        curves::truncation(input.metrics)?))
                    (section("neighbours", "Nearest neighbours", "Test samples and the training samples that the blob \
                        puts nearest to them.", neighbours::nearest(input)?))
                    (section("codes", "Codes", &codes(input), curves::codes(input.metrics)?))
                    (section("spectrum", "Spectrum", "How much of each output is the same at both ends of a pair, which is \
                        what the outputs are ordered by.", spectrum::spectrum(input)?))
                    (section("eigenfunctions", "First eigenfunctions", "What the first outputs of the float network tell \
                        apart.", functions::functions(input)?))
                    (section("clusters", "Clusters", &clusters(input), neighbours::clusters(input)?))
                    @if let Some(experts) = &input.metrics.experts {
                        (section("experts", "Experts", "Each cluster has a representation of its own. A gate says \
                            whose a sample is.", experts::experts(input, experts)?))
                    }
                    (section("quantisation", "Float against int8", "The float network is what was trained; the int8 \
                        blob is what runs on the chip.", tables::quantisation(input.metrics)))
                    (section("baselines", "Baselines", "The same protocol for everything that an encoder has to beat.",
                        tables::baselines(input.metrics)))
                    (section("training", "Training", "", curves::training(input.metrics, input.epochs)?))
                    (section("cost", "Cost on a chip", "", tables::cost(&input.metrics.blob)))
                    (section("protocol", "Protocol", "", protocol(input)))
                }
            }
        }
    };
    Ok(page.into_string())
}

fn section(id: &str, title: &str, lead: &str, body: Markup) -> Markup {
    maud::html! {
        section id=(id) {
            h2 { (title) }
            @if !lead.is_empty() { p.lead { (lead) } }
            (body)
        }
    }
}

fn codes(input: &ReportInput) -> String {
    match input.metrics.agreement.bits {
        None => String::new(),
        Some(_) => format!("A code comes from {}, found without labels. A search is XOR and counting.", input.heads.0),
    }
}

fn clusters(input: &ReportInput) -> String {
    match input.train.clusters.is_empty() {
        true => String::new(),
        false => format!("A sample belongs to the cluster with {}. No label was used.", input.heads.1),
    }
}

fn protocol(input: &ReportInput) -> Markup {
    let metrics = input.metrics;
    let facts = [
        ("Objective", metrics.objective.clone()),
        ("Data set", metrics.dataset.clone()),
        ("SHA-256 of the data", metrics.dataset_sha256.clone()),
        ("Training and test samples", format!("{} and {}", input.train.samples.len(), input.test.samples.len())),
        ("Seed", metrics.seed.to_string()),
        ("Backend", metrics.backend.clone()),
    ];
    maud::html! {
        p.prose { (metrics.protocol) }
        dl { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
        details { summary { "Recipe, with every default filled in" } pre { (input.recipe) } }
    }
}

/// The line that stands for a part that cannot be shown.
fn left_out(why: &str) -> Markup {
    maud::html! { p.none { "Left out: " (why) "." } }
}

fn check(place: &str, gallery: &Gallery) -> Result<()> {
    let samples = gallery.samples.len();
    let clusters = if gallery.clusters.is_empty() { samples } else { gallery.clusters.len() };
    let counts = [
        ("labels", gallery.labels.map_or(samples, <[u16]>::len)),
        ("int8 embeddings", gallery.embeddings.nrows()),
        ("float embeddings", gallery.float.nrows()),
        ("cluster numbers", clusters),
    ];
    for (what, found) in counts {
        if found != samples {
            let expected = format!("{samples}, one for each sample");
            return Err(Error::input(place, format!("wrong number of {what}"), expected, found));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
