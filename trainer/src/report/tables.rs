//! The tables: float against int8, baselines, cost.

use maud::{Markup, html};

use super::units::{bytes, change, count, fraction, percent};
use crate::evaluate::FeatureReport;
use crate::quantize::LayerError;
use crate::run::metrics::{BlobCost, Metrics};

/// The name of a figure, and where it stands.
type Figure = (&'static str, fn(&FeatureReport) -> Option<f64>);

const FIGURES: [Figure; 6] = [
    ("kNN", |report| report.knn_acc),
    ("linear probe", |report| report.linear_acc),
    ("mAP", |report| report.map),
    ("cluster ACC", |report| report.cluster_acc),
    ("NMI", |report| report.nmi),
    ("ARI", |report| report.ari),
];

/// Figures of both side by side, their agreement, and the error of each layer.
pub fn quantisation(metrics: &Metrics) -> Markup {
    let ranks = [&metrics.float, &metrics.int8].map(|report| report.collapse.effective_rank);
    let agreement = &metrics.agreement;
    html! {
        div.pair {
            figure {
                h3 { "Figures" }
                table {
                    thead { tr { th { "all dimensions" } th { "float" } th { "int8" } th { "change" } } }
                    tbody {
                        @for (name, value) in FIGURES {
                            @if let (Some(float), Some(int8)) = (value(&metrics.float), value(&metrics.int8)) {
                                tr {
                                    th { (name) } td { (fraction(float)) } td { (fraction(int8)) }
                                    td { (change(int8 - float, 3)) }
                                }
                            }
                        }
                        tr {
                            th { "effective rank" } @for rank in ranks { td { (format!("{rank:.1}")) } }
                            td { (change(ranks[1] - ranks[0], 1)) }
                        }
                    }
                }
                table {
                    thead { tr { th { "agreement on test images" } th { "" } } }
                    tbody {
                        @if let Some(bits) = agreement.bits {
                            tr { th { "equal hash bits" } td { (percent(bits)) } }
                        }
                        @if let Some(clusters) = agreement.clusters {
                            tr { th { "same cluster" } td { (percent(clusters)) } }
                        }
                        tr { th { "mean cosine" } td { (format!("{:.4}", agreement.cosine)) } }
                    }
                }
                figcaption {
                    "Good changes kNN and mAP by no more than 0.005 and keeps 98 % of the bits. Clusters may change \
                     more: k-means can settle elsewhere."
                }
            }
            figure {
                h3 { "Error layer by layer" }
                (layers(&metrics.layers))
                figcaption {
                    "Error of the int8 outputs against the float ones, both computed from the input on, as part of \
                     the outputs; SQNR says the same in decibels. Good grows slowly from layer to layer; a jump names \
                     the layer that eight bits do not suit."
                }
            }
        }
    }
}

fn layers(layers: &[LayerError]) -> Markup {
    let worst = layers.iter().map(|layer| layer.relative_rms).fold(f64::MIN_POSITIVE, f64::max);
    let bar = |layer: &LayerError| format!("width:{:.1}%", 100.0 * layer.relative_rms / worst);
    html! {
        table {
            thead { tr { th { "layer" } th { "error" } th.bar { "" } th { "SQNR" } } }
            tbody {
                @for layer in layers {
                    tr {
                        th { span.note { (layer.layer) } " " (layer.kind) }
                        td { (format!("{:.2} %", 100.0 * layer.relative_rms)) }
                        td.bar { i style=(bar(layer)) {} }
                        td { (format!("{:.1} dB", layer.sqnr_db)) }
                    }
                }
            }
        }
    }
}

/// One row for each kind of features.
pub fn baselines(metrics: &Metrics) -> Markup {
    let baselines = &metrics.baselines;
    let rows = [
        ("int8 blob", Some(&metrics.int8)),
        ("float network", Some(&metrics.float)),
        ("untrained network", baselines.untrained.as_ref()),
        ("PCA", Some(&baselines.pca)),
        ("raw input", Some(&baselines.raw_input)),
    ];
    let rows: Vec<(&str, &FeatureReport)> =
        rows.iter().filter_map(|(name, report)| Some((*name, (*report)?))).collect();
    let figures: Vec<Figure> =
        FIGURES.into_iter().filter(|(_, value)| rows.iter().any(|(_, report)| value(report).is_some())).collect();
    html! {
        div.wide { table {
            thead { tr {
                th { "features" } th { "dims" }
                @for (name, _) in &figures { th { (name) } }
                th { "effective rank" }
            } }
            tbody {
                @for (place, (name, report)) in rows.iter().enumerate() {
                    tr.ours[place == 0] {
                        th { (name) } td { (report.dims) }
                        @for (_, value) in &figures { td { (fraction(value(report))) } }
                        td { (format!("{:.1}", report.collapse.effective_rank)) }
                    }
                }
            }
        } }
        p.caption {
            "All dimensions, but for the clusters, which see the leading ones (of the raw input all). PCA has as many \
             components as the longest truncation or code asks for."
            @if figures.is_empty() { " The data set has no labels, so there is nothing else to measure by." }
        }
    }
}

/// What the blob needs on a chip.
pub fn cost(blob: &BlobCost) -> Markup {
    let rows = [
        (
            "Flash for the model",
            bytes(blob.bytes),
            format!("{} bytes, golden vectors and model card included", blob.bytes),
        ),
        ("RAM for activations", bytes(blob.arena_bytes), format!("{} bytes, set aside once", blob.arena_bytes)),
        ("Multiply-accumulates", count(blob.macs), "for one embedding with all its dimensions".into()),
    ];
    html! {
        table.cost { tbody {
            @for (name, value, note) in rows { tr { th { (name) } td { (value) } td.note { (note) } } }
        } }
    }
}
