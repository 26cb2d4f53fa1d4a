//! The first screen: what was learned, in one line; what it costs; what is wrong with it.

use maud::{Markup, html};

use super::ReportInput;
use super::picture::Form;
use super::units::{bytes, count, duration, fraction, percent};
use crate::data::Learn;
use crate::evaluate::TruncationPoint;
use crate::run::metrics::Metrics;

/// Title, verdict and tiles.
pub fn header(input: &ReportInput) -> Markup {
    let metrics = input.metrics;
    let shape = match Form::of(input.train.samples.shape) {
        Form::Picture => input.train.samples.shape.map(|extent| extent.to_string()).join(" × "),
        Form::Series => format!("{} × {}", input.train.samples.shape[0], input.train.samples.shape[2]),
        Form::Point | Form::List { .. } => format!("{} values", input.train.samples.size()),
    };
    let samples = match metrics.learn {
        Learn::Train => input.train.samples.len(),
        Learn::All => input.train.samples.len() + input.test.samples.len(),
    };
    html! {
        header {
            p.eyebrow { (metrics.dataset) " · " (metrics.objective) " · seed " (metrics.seed) }
            h1 { (input.title) }
            p.verdict { (verdict(metrics)) }
            div.tiles {
                @for (value, name, note) in tiles(metrics) {
                    div.tile { span.name { (name) } strong { (value) } span.note { (note) } }
                }
            }
            p.none {
                "Trained without labels on " (samples) " samples of " (shape) " for "
                (metrics.epochs) " epochs, " (duration(metrics.wall_s)) "."
            }
        }
    }
}

/// What needs the reader's attention; one calm line, where nothing does.
pub fn warnings(warnings: &[String]) -> Markup {
    html! {
        @if warnings.is_empty() {
            p.fine { "No warnings: the checks for collapse found nothing." }
        } @else {
            div.warnings role="note" {
                h2 { (warnings.len()) @if warnings.len() == 1 { " warning" } @else { " warnings" } }
                ul { @for warning in warnings { li { (warning) } } }
            }
        }
    }
}

/// The blob in one sentence.
fn verdict(metrics: &Metrics) -> String {
    let mut parts = Vec::new();
    if let Some(knn) = metrics.int8.knn_acc {
        parts.push(format!("kNN {knn:.2} at {} dimensions", metrics.int8.dims));
    }
    if let Some(short) = short(metrics) {
        let pca = metrics.baselines.pca.truncation.iter().find(|point| point.dims == short.dims);
        let pca = pca.map_or(String::new(), |pca| format!(" (PCA {:.2})", pca.map));
        parts.push(format!("mAP {:.2} at {} dimensions{pca}", short.map, short.dims));
    }
    if parts.is_empty() {
        let collapse = &metrics.int8.collapse;
        parts.push(format!("Effective rank {:.1} of {} dimensions", collapse.effective_rank, collapse.dims));
    }
    let blob = &metrics.blob;
    parts.push(format!("{} flash, {} RAM", bytes(blob.bytes), bytes(blob.arena_bytes)));
    parts.extend(metrics.agreement.bits.map(|bits| format!("{} of bits as in float", percent(bits))));
    parts.join("; ")
}

/// A truncation worth naming: 8 dimensions or, where that was not measured, the next more (else the most).
fn short(metrics: &Metrics) -> Option<&TruncationPoint> {
    let points = &metrics.int8.truncation;
    points.iter().filter(|point| point.dims >= 8).min_by_key(|point| point.dims).or(points.last())
}

/// Value, name and note of each.
fn tiles(metrics: &Metrics) -> Vec<(String, &'static str, String)> {
    let mut tiles = Vec::new();
    if metrics.int8.knn_acc.is_some() {
        tiles.push((
            fraction(metrics.int8.knn_acc),
            "kNN accuracy",
            format!("raw input {}", fraction(metrics.baselines.raw_input.knn_acc)),
        ));
    }
    if let Some(short) = short(metrics) {
        let raw = fraction(metrics.baselines.raw_input.map);
        tiles.push((fraction(short.map), "Retrieval mAP", format!("at {} dimensions; raw input {raw}", short.dims)));
    }
    let blob = &metrics.blob;
    tiles.push((bytes(blob.bytes), "Flash", "model with its golden vectors".into()));
    tiles.push((bytes(blob.arena_bytes), "RAM", "activations".into()));
    tiles.push((count(blob.macs), "Multiply-adds", "one whole embedding".into()));
    let cosine = format!("mean cosine {:.4}", metrics.agreement.cosine);
    tiles.extend(metrics.agreement.bits.map(|bits| (percent(bits), "Bits as in float", cosine)));
    tiles
}
