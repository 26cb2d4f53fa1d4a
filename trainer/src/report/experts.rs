//! Clusters that have representations of their own: how well the chip's gate knows them, and what they look like.

use maud::{Markup, html};

use super::neighbours::CLUSTERS;
use super::picture::{Form, data_uri};
use super::units::{fraction, percent};
use super::{ReportInput, left_out};
use crate::data::Samples;
use crate::error::Result;
use crate::objective::Portraits;
use crate::run::metrics::{ClusterMatch, ExpertReport, Outliers};

/// The figures, then the pictures.
///
/// # Errors
/// As for [`data_uri`].
pub fn experts(input: &ReportInput, report: &ExpertReport) -> Result<Markup> {
    let pictures = match (input.portraits, Form::of(input.train.samples.shape)) {
        (Some(_), Form::Point | Form::List { .. }) => left_out("samples are values that make no pictures"),
        (Some(portraits), _) => pictures(input, portraits)?,
        (None, _) => left_out("the clusters' centres were not kept"),
    };
    Ok(html! {
        div.pair {
            figure { h3 { "Clusters" } (clusters(input, report)) }
            @if let Some(outliers) = &report.outliers { figure { h3 { "Outliers" } (scores(outliers)) } }
        }
        (pictures)
    })
}

/// The exact rule beside the chip's.
fn clusters(input: &ReportInput, report: &ExpertReport) -> Markup {
    let int8 = input.metrics.assignments.as_ref().map(|assignments| assignments.int8);
    let rows: [(&str, Option<ClusterMatch>); 2] = [("exact rule, float", report.exact), ("gate, int8", int8)];
    html! {
        table {
            thead { tr { th { "test split" } th { "ACC" } th { "NMI" } th { "ARI" } } }
            tbody {
                @for (name, found) in rows {
                    @if let Some(found) = found {
                        tr { th { (name) } @for value in [found.acc, found.nmi, found.ari] { td { (fraction(value)) } } }
                    }
                }
            }
        }
        table {
            tbody {
                tr { th { "dimensions of each representation" } td { (report.dims) } }
                tr { th { "gate" } td { (report.gate) } }
                tr { th { "gate as the exact rule, in float" } td { (percent(report.agreement)) } }
                tr { th { "mean loss of the test split" } td { (format!("{:.4}", report.loss)) } }
            }
        }
        figcaption {
            "The exact rule gives a sample to the least loss, for which it may need what a chip does not have; the gate \
             stands for it there. A residual gate is that rule; a linear one was fitted to it."
        }
    }
}

fn scores(outliers: &Outliers) -> Markup {
    let rows = [
        ("least loss, float", Some(outliers.own)),
        ("least residual, int8", outliers.blob),
        ("distance to the nearest training sample", Some(outliers.nearest)),
    ];
    let classes: Vec<String> = outliers.classes.iter().map(u16::to_string).collect();
    html! {
        table {
            thead { tr { th { "score" } th { "AUROC" } } }
            tbody { @for (name, value) in rows { @if let Some(value) = value { tr { th { (name) } td { (fraction(value)) } } } } }
        }
        figcaption {
            "How well samples of what was not learned from (" (classes.join(", ")) ") are told from the others: 1 is always, \
             0.5 is chance."
        }
    }
}

/// For each cluster its centre, then what its own model draws.
fn pictures(input: &ReportInput, portraits: &Portraits) -> Result<Markup> {
    let shape = input.train.samples.shape;
    let series = Form::of(shape) == Form::Series;
    let raw_max = f32::from(input.raw_max);
    let samples = |values: &[f32]| -> Samples {
        let raw = values.iter().map(|value| (value * raw_max).round().clamp(0.0, raw_max) as u8).collect();
        Samples { shape, raw }
    };
    let (centres, drawn) = (samples(&portraits.centres), samples(&portraits.drawn));
    let each = drawn.len() / centres.len().max(1);
    let mut rows = Vec::new();
    for cluster in 0..centres.len().min(CLUSTERS) {
        let mut images = vec![(data_uri(&centres, cluster, input.raw_max)?, format!("centre of cluster {cluster}"))];
        for sample in cluster * each..(cluster + 1) * each {
            images.push((data_uri(&drawn, sample, input.raw_max)?, format!("drawn by cluster {cluster}")));
        }
        let count = input.train.clusters.iter().filter(|&&id| usize::from(id) == cluster).count();
        rows.push(html! {
            div.row {
                span.name { strong { (cluster) } span.note { (count) " samples" } }
                @for (picture, what) in &images { img.series[series] src=(picture) alt=(what) title=(what); }
            }
        });
    }
    Ok(html! {
        div.rows.clusters { @for row in rows { (row) } }
        p.caption {
            "Each row is one cluster: its number, the training samples that the chip gives it, and the mean of those that it \
             was trained on" @if each > 0 { "; then samples that its own model draws" } "."
            @if centres.len() > CLUSTERS { " The first " (CLUSTERS) " of " (centres.len()) " are shown." }
        }
    })
}
