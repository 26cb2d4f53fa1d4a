//! The eigenvalues of the ordered outputs, beside the exact ones where these are known.

use maud::{Markup, html};

use super::ReportInput;
use super::plot::{Chart, HALF, Ink, Layer, Mark, Scale};
use super::units::change;
use crate::error::Result;
use crate::run::metrics::OrderingReport;

/// Eigenvalues in the table, at most.
const ROWS: usize = 12;

/// The chart; where exact eigenvalues are known, with a table of both.
///
/// # Errors
/// None, unless the drawing library fails.
pub fn spectrum(input: &ReportInput) -> Result<Markup> {
    let ordering = &input.metrics.ordering;
    let points = |values: &[f64]| (1..).map(f64::from).zip(values.iter().copied()).collect();
    let mut layers = vec![Layer {
        name: ordering.exact.as_ref().map_or(String::new(), |_| "learned".into()),
        ink: Ink::INT8,
        mark: Mark::Bars,
        points: points(&ordering.eigenvalues),
    }];
    if let Some(exact) = &ordering.exact {
        layers.insert(0, Layer { name: "exact".into(), ink: Ink::PCA, mark: Mark::Line, points: points(exact) });
    }
    let chart = Chart {
        title: "Eigenvalues".into(),
        x_label: "ordered output".into(),
        scale: Scale::Linear,
        size: HALF,
        layers,
        caption: format!("{}{}", meaning(input.pairs), kept(ordering)),
    };
    Ok(
        html! { div.pair { (chart.figure()?) @if let Some(exact) = &ordering.exact { (table(&ordering.eigenvalues, exact)) } } },
    )
}

/// What an eigenvalue is.
fn meaning(pairs: Option<&str>) -> String {
    match pairs {
        Some(pairs) => format!(
            "Eigenvalue of an output: the mean product of its values at {pairs}, its mean being 0 and its mean square 1. \
             1 says that the two are always the same, 0 that they have nothing in common. The constant function, with \
             eigenvalue 1, says nothing and is not among them."
        ),
        None => "Eigenvalue of an output: that of the kernel's operator under the distribution of the samples.".into(),
    }
}

/// What ordering left out, and why nothing exact is shown where it is not.
fn kept(ordering: &OrderingReport) -> String {
    let dropped = match ordering.dropped {
        0 => " The outputs span all their dimensions.".into(),
        1 => " One direction was dropped: the outputs do not span it.".into(),
        many => format!(" {many} directions were dropped: the outputs do not span them."),
    };
    let constant = ordering.constant.map_or(String::new(), |output| format!(" Raw output {output} was the constant."));
    let exact = match ordering.exact {
        Some(_) => "",
        None => " Good falls slowly. Exact ones are known only where pairs come from a graph that is not too large.",
    };
    format!("{dropped}{constant}{exact}")
}

fn table(learned: &[f64], exact: &[f64]) -> Markup {
    let rows = learned.len().min(exact.len());
    html! {
        figure.wide {
            h3 { "Learned against exact" }
            table {
                thead { tr { th { "output" } th { "learned" } th { "exact" } th { "difference" } } }
                tbody {
                    @for (output, (learned, exact)) in learned.iter().zip(exact).take(ROWS).enumerate() {
                        tr {
                            th { "ψ" (output + 1) } td { (number(*learned)) } td { (number(*exact)) }
                            td { (change(learned - exact, 4)) }
                        }
                    }
                }
            }
            figcaption {
                "Exact: the leading eigenvalues of the same walk, from the graph itself, without the constant's. A network falls "
                "short of them where a sample's values do not say what the graph says, or views leave it out; above them it comes "
                "by the chance of which pairs were drawn. Good agrees."
                @match as_good_as_1(exact) {
                    0 => {}
                    1 => " One is as good as 1: the graph falls into two parts that hardly anything joins.",
                    many => { " The first " (many) " are as good as 1: the graph falls into parts that hardly anything joins." }
                }
                @if rows > ROWS { " The first " (ROWS) " of " (rows) " are shown." }
            }
        }
    }
}

/// How many eigenvalues are as good as 1, besides the constant's.
fn as_good_as_1(exact: &[f64]) -> usize {
    exact.iter().take_while(|&&value| value > 0.999).count()
}

fn number(value: f64) -> String {
    format!("{value:.4}").replace('-', "−")
}
