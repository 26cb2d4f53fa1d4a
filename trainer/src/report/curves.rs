//! The curves: training, truncation, codes.

use maud::{Markup, html};

use super::left_out;
use super::plot::{Chart, HALF, Ink, Layer, Mark, Scale};
use super::units::{duration, fraction, percent};
use crate::error::Result;
use crate::evaluate::{FeatureReport, HashPoint, SubsetPoint, TruncationPoint};
use crate::run::metrics::Metrics;
use crate::train::Epoch;

/// The loss, and what training took.
pub fn training(metrics: &Metrics, epochs: &[Epoch]) -> Result<Markup> {
    let rate = metrics.samples_per_s;
    Ok(html! {
        div.pair { (loss(epochs)?) }
        p.prose {
            (metrics.epochs) " epochs in " (duration(metrics.wall_s)) " on the backend " (metrics.backend) ": "
            (format!("{rate:.0}")) " samples a second. The network waited for augmented views in "
            (percent(metrics.waiting)) " of the time."
        }
    })
}

fn loss(epochs: &[Epoch]) -> Result<Markup> {
    let points = epochs.iter().map(|epoch| (epoch.epoch as f64, epoch.loss)).collect();
    let last = epochs.last().filter(|last| !last.terms.is_empty()).map(|last| {
        let terms: Vec<String> = last.terms.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        format!(" Its terms at the end: {}.", terms.join(", "))
    });
    let chart = Chart {
        title: "Loss".into(),
        x_label: "epoch".into(),
        scale: Scale::Linear,
        size: HALF,
        layers: vec![Layer { name: String::new(), ink: Ink::INT8, mark: Mark::Line, points }],
        caption: format!(
            "Mean loss of each epoch. Good falls fast, then flattens; one that still falls at the end asks for more \
             epochs.{}",
            last.unwrap_or_default()
        ),
    };
    chart.figure()
}

/// mAP and kNN accuracy against the number of dimensions.
pub fn truncation(metrics: &Metrics) -> Result<Markup> {
    if metrics.int8.truncation.is_empty() && metrics.float.truncation.is_empty() {
        return Ok(left_out("retrieval and kNN are measured with labels, and this data set has none"));
    }
    let map = Curve {
        name: "Retrieval mAP",
        point: |point| point.map,
        whole: |report| report.map,
        subset: |subset| (subset.map, subset.map_std),
    };
    let knn = Curve {
        name: "kNN accuracy",
        point: |point| point.knn_acc,
        whole: |report| report.knn_acc,
        subset: |subset| (subset.knn_acc, subset.knn_acc_std),
    };
    Ok(html! { div.pair { (truncation_chart(metrics, &map).figure()?) (truncation_chart(metrics, &knn).figure()?) } })
}

/// A figure that depends on the number of dimensions, and where it stands.
struct Curve {
    name: &'static str,
    point: fn(&TruncationPoint) -> f64,
    whole: fn(&FeatureReport) -> Option<f64>,
    /// Mean and standard deviation.
    subset: fn(&SubsetPoint) -> (f64, f64),
}

fn truncation_chart(metrics: &Metrics, figure: &Curve) -> Chart {
    let curve = |name: &str, ink, mark, report: &FeatureReport| {
        let points = report.truncation.iter().map(|point| (point.dims as f64, (figure.point)(point))).collect();
        Layer { name: name.into(), ink, mark, points }
    };
    let baselines = &metrics.baselines;
    let subsets = &baselines.random_subsets;
    let mut layers = vec![
        curve("int8 blob", Ink::INT8, Mark::Line, &metrics.int8),
        curve("float", Ink::FLOAT, Mark::Broad, &metrics.float),
        curve("PCA", Ink::PCA, Mark::Line, &baselines.pca),
        Layer {
            name: "random dimensions".into(),
            ink: Ink::RANDOM,
            mark: Mark::Band(subsets.iter().map(|subset| (figure.subset)(subset).1).collect()),
            points: subsets.iter().map(|subset| (subset.dims as f64, (figure.subset)(subset).0)).collect(),
        },
    ];
    if let Some(untrained) = &baselines.untrained {
        layers.push(curve("untrained", Ink::UNTRAINED, Mark::Line, untrained));
    }
    if let Some(raw) = (figure.whole)(&baselines.raw_input) {
        let measured = || metrics.int8.truncation.iter().map(|point| point.dims as f64);
        let ends = [measured().fold(f64::INFINITY, f64::min), measured().fold(0.0, f64::max)];
        let name = format!("raw input, all {}", baselines.raw_input.dims);
        layers.push(Layer { name, ink: Ink::RAW, mark: Mark::Dashes, points: ends.map(|dims| (dims, raw)).to_vec() });
    }
    layers.retain(|layer| !layer.points.is_empty());
    Chart {
        title: format!("{} by dimensions kept", figure.name),
        x_label: "dimensions kept".into(),
        scale: Scale::Doubling,
        size: HALF,
        layers,
        caption: "Good lies above PCA and above random dimensions of the same embedding (band: one standard deviation \
                  over the draws), with float and int8 on one line."
            .into(),
    }
}

/// mAP against the number of bits, and the other figures of codes as a table.
pub fn codes(metrics: &Metrics) -> Result<Markup> {
    let baselines = &metrics.baselines;
    let mut kinds: Vec<(&str, Ink, Mark, &[HashPoint])> = vec![
        ("int8 blob", Ink::INT8, Mark::Line, &metrics.int8.hash),
        ("float", Ink::FLOAT, Mark::Broad, &metrics.float.hash),
        ("ITQ", Ink::ITQ, Mark::Line, &baselines.itq),
        ("PCA signs", Ink::PCA, Mark::Line, &baselines.pca.hash),
    ];
    kinds.retain(|(.., points)| !points.is_empty());
    if metrics.agreement.bits.is_none() {
        return Ok(left_out("the model has no codes"));
    }
    if kinds.is_empty() {
        return Ok(left_out("codes are judged with labels, and this data set has none"));
    }
    let layers = kinds.iter().map(|(name, ink, mark, points)| Layer {
        name: name.to_string(),
        ink: *ink,
        mark: mark.clone(),
        points: points.iter().map(|point| (point.bits as f64, point.map)).collect(),
    });
    let chart = Chart {
        title: "Hash mAP by bits".into(),
        x_label: "bits".into(),
        scale: Scale::Doubling,
        size: HALF,
        layers: layers.collect(),
        caption: "Mean average precision of the whole gallery, ranked by Hamming distance. Good lies above ITQ, which \
                  learns the best rotation of PCA for each length."
            .into(),
    };
    Ok(html! {
        div.pair {
            (chart.figure()?)
            figure.wide { h3 { "Precision of codes" } table {
                thead { tr { th { "codes" } th { "bits" } th { "mAP" } th { "P@500" } th { "P, radius 2" } } }
                tbody {
                    @for (name, .., points) in &kinds {
                        @for (place, point) in points.iter().enumerate() {
                            tr.first[place == 0] {
                                th { @if place == 0 { (name) } }
                                td { (point.bits) } td { (fraction(point.map)) }
                                td { (fraction(point.precision_at_500)) } td { (fraction(point.precision_r2)) }
                            }
                        }
                    }
                }
            } figcaption {
                "P@500: precision among the 500 nearest. P, radius 2: precision within two differing bits; for long \
                 codes many balls are empty and count 0."
            } }
        }
    })
}
