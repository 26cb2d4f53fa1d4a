//! The charts: training, spectrum, eigenfunctions, truncation, codes.

use maud::{Markup, html};

use super::plot::{Chart, HALF, Ink, Layer, Mark, SQUARE, Scale};
use super::units::{duration, fraction, percent};
use super::{Gallery, left_out};
use crate::error::Result;
use crate::evaluate::{FeatureReport, HashPoint, SubsetPoint, TruncationPoint};
use crate::run::metrics::Metrics;
use crate::train::Epoch;

/// The most dots in a scatter plot; of more, every so many-th is drawn.
const DOTS: usize = 2000;

/// Loss and spectrum, side by side.
pub fn training(metrics: &Metrics, epochs: &[Epoch]) -> Result<Markup> {
    let rate = metrics.samples_per_s;
    Ok(html! {
        div.pair { (loss(epochs)?) (spectrum(metrics)?) }
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

fn spectrum(metrics: &Metrics) -> Result<Markup> {
    let ordering = &metrics.ordering;
    let points = ordering.eigenvalues.iter().enumerate().map(|(i, &value)| ((i + 1) as f64, value)).collect();
    let dropped = match ordering.dropped {
        0 => "The outputs span all their dimensions.".into(),
        1 => "One direction was dropped: the outputs do not span it.".into(),
        many => format!("{many} directions were dropped: the outputs do not span them."),
    };
    let constant = match ordering.constant {
        Some(output) => format!(" Raw output {output} was the constant function, which says nothing, and is left out."),
        None => String::new(),
    };
    let chart = Chart {
        title: "Spectrum".into(),
        x_label: "ordered output".into(),
        scale: Scale::Linear,
        size: HALF,
        layers: vec![Layer { name: String::new(), ink: Ink::INT8, mark: Mark::Bars, points }],
        caption: format!(
            "Eigenvalue of each output: 1 means that two views of an image always get the same value, 0 that they \
             have nothing in common. Good falls slowly. {dropped}{constant}"
        ),
    };
    chart.figure()
}

/// Scatter plots of the first four outputs on the test split.
pub fn eigenfunctions(test: &Gallery) -> Result<Markup> {
    let pairs: Vec<[usize; 2]> = [[0, 1], [2, 3]].into_iter().filter(|pair| pair[1] < test.float.ncols()).collect();
    if pairs.is_empty() {
        return Ok(left_out("the embedding has fewer than two dimensions"));
    }
    let figures = pairs.into_iter().map(|pair| scatter(test, pair)).collect::<Result<Vec<Markup>>>()?;
    Ok(html! { div.pair { @for figure in figures { (figure) } } })
}

fn scatter(test: &Gallery, [a, b]: [usize; 2]) -> Result<Markup> {
    let samples = test.float.nrows();
    let shown: Vec<usize> = match samples {
        0..=DOTS => (0..samples).collect(),
        _ => (0..DOTS).map(|dot| dot * samples / DOTS).collect(),
    };
    let at = |sample: usize| (f64::from(test.float[[sample, a]]), f64::from(test.float[[sample, b]]));
    let dots = |name: String, ink: Ink, chosen: &dyn Fn(usize) -> bool| Layer {
        name,
        ink,
        mark: Mark::Dots,
        points: shown.iter().copied().filter(|&sample| chosen(sample)).map(at).collect(),
    };
    let (layers, colours) = match test.labels {
        None => (vec![dots(String::new(), Ink::INT8, &|_| true)], "The set has no labels."),
        Some(labels) => {
            let mut classes: Vec<u16> = labels.to_vec();
            classes.sort_unstable();
            classes.dedup();
            let (coloured, others) = classes.split_at(classes.len().min(Ink::CLASSES.len()));
            let mut layers = Vec::new();
            for (&class, ink) in coloured.iter().zip(Ink::CLASSES) {
                layers.push(dots(class.to_string(), ink, &|sample| labels[sample] == class));
            }
            if !others.is_empty() {
                layers.push(dots("others".into(), Ink::RAW, &|sample| others.contains(&labels[sample])));
            }
            (layers, "Colours are labels, which training never saw. Good shows classes as groups or arms.")
        }
    };
    let some =
        if shown.len() < samples { format!("{} of {samples} test images. ", shown.len()) } else { String::new() };
    let chart = Chart {
        title: format!("ψ{} up, ψ{} across", b + 1, a + 1),
        x_label: format!("ψ{}", a + 1),
        scale: Scale::Linear,
        size: SQUARE,
        layers,
        caption: format!("{some}{colours}"),
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
