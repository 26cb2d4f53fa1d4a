//! The first functions over the data: what each tells apart, and how the samples lie along several.

use maud::{Markup, html};

use super::dots::{Dots, FULL};
use super::picture::{Form, image};
use super::plot::{Chart, Ink, Layer, Mark, SQUARE, Scale, THIRD};
use super::{ReportInput, left_out};
use crate::error::Result;

/// Functions shown over the data.
const FUNCTIONS: usize = 6;

/// Samples shown at each end of a function.
const ENDS: usize = 8;

/// The most edges that are drawn: more would hide the nodes.
const EDGES: usize = 500;

/// Each function over the data where samples can be shown, then the first four against each other.
///
/// # Errors
/// As for [`image`].
pub fn functions(input: &ReportInput) -> Result<Markup> {
    let over = match Form::of(input.train.samples.shape) {
        Form::Picture | Form::Series => ends(input)?,
        Form::Point => planes(input)?,
        Form::List { .. } => html! {},
    };
    Ok(html! { (over) (scatters(input)?) })
}

/// How many functions are shown, each with its eigenvalue.
fn first(input: &ReportInput) -> impl Iterator<Item = (usize, String)> {
    let eigenvalue = |j: usize| match input.metrics.ordering.eigenvalues.get(j) {
        Some(value) => format!("eigenvalue {value:.3}"),
        None => String::new(),
    };
    (0..FUNCTIONS.min(input.test.float.ncols())).map(move |j| (j, eigenvalue(j)))
}

/// The samples where each function is lowest and highest.
fn ends(input: &ReportInput) -> Result<Markup> {
    let test = &input.test;
    let count = ENDS.min(test.samples.len().div_ceil(2));
    let mut rows = Vec::new();
    for (j, eigenvalue) in first(input) {
        let mut order: Vec<usize> = (0..test.samples.len()).collect();
        order.sort_by(|&a, &b| test.float[[a, j]].total_cmp(&test.float[[b, j]]));
        let strip = |samples: &[usize]| -> Result<Markup> {
            let images = samples.iter().map(|&sample| image(input, test, sample, false)).collect::<Result<Vec<_>>>()?;
            Ok(html! { div.strip { @for image in images { (image) } } })
        };
        rows.push(html! {
            div.row {
                span.name { strong { "ψ" (j + 1) } span.note { (eigenvalue) } }
                (strip(&order[..count])?)
                (strip(&order[order.len() - count..])?)
            }
        });
    }
    Ok(html! {
        div.ends {
            div.row.ends-head { span {} span.note { "lowest …" } span.note { "… highest" } }
            @for row in rows { (row) }
        }
        p.caption {
            "Test samples in the order of each output's value: the " (count) " lowest, then the " (count) " highest. What differs "
            "between the two is what the function tells apart; its sign means nothing."
        }
    })
}

/// Samples of two values where these put them, in the colours of each function.
fn planes(input: &ReportInput) -> Result<Markup> {
    let dots = Dots::of(vec![input.train, input.test]);
    let mut figures = Vec::new();
    for (j, eigenvalue) in first(input) {
        let chart = Chart {
            title: format!("ψ{}, {eigenvalue}", j + 1),
            x_label: String::new(),
            scale: Scale::Linear,
            size: THIRD,
            layers: dots.by_value(|dot| input.place(dot), |dot| dot.function(j)),
            caption: String::new(),
        };
        figures.push(chart.figure()?);
    }
    let ramp: Vec<String> = [-1.0, 0.0, 1.0].map(|value| Ink::diverging(value).css()).into();
    Ok(html! {
        p.ramp.note {
            "−" (FULL) " or less" i style=(format!("background:linear-gradient(90deg,{})", ramp.join(","))) {} (FULL) " or more"
        }
        div.trio { @for figure in figures { (figure) } }
        p.caption {
            "Dots: " (dots.share("samples of both splits")) ". Each lies where its two values put it, the first across and the "
            "second up; its colour is the function's value, grey for 0. A function's mean square is 1; its sign means nothing. Good is one "
            "colour on a group that hangs together, and a smooth change along it."
        }
    })
}

/// The first four functions against each other, in pairs.
fn scatters(input: &ReportInput) -> Result<Markup> {
    let pairs: Vec<[usize; 2]> =
        [[0, 1], [2, 3]].into_iter().filter(|pair| pair[1] < input.test.float.ncols()).collect();
    if pairs.is_empty() {
        return Ok(left_out("one function alone has no other to be drawn against"));
    }
    // A graph joins both splits.
    let dots = Dots::of(if input.graph.is_some() { vec![input.train, input.test] } else { vec![input.test] });
    let figures = pairs.into_iter().map(|pair| scatter(input, &dots, pair)).collect::<Result<Vec<Markup>>>()?;
    Ok(html! { div.pair { @for figure in figures { (figure) } } })
}

fn scatter(input: &ReportInput, dots: &Dots, [a, b]: [usize; 2]) -> Result<Markup> {
    let (mut layers, colours) = dots.by_group(|dot| (dot.function(a), dot.function(b)));
    let what = if input.graph.is_some() { "nodes" } else { "test samples" };
    let edges = edges(input, dots, [a, b]);
    let joined = if edges.is_some() { " Lines are the graph's edges." } else { "" };
    layers.extend(edges);
    let chart = Chart {
        title: format!("ψ{} up, ψ{} across", b + 1, a + 1),
        x_label: format!("ψ{}", a + 1),
        scale: Scale::Linear,
        size: SQUARE,
        layers,
        caption: format!("Dots: {}. {colours}{joined} Good shows groups or arms.", dots.share(what)),
    };
    chart.figure()
}

/// The edges between nodes that are all drawn, where they are few.
fn edges(input: &ReportInput, dots: &Dots, [a, b]: [usize; 2]) -> Option<Layer> {
    let graph = input.graph?;
    if graph.steps() > 2 * EDGES || dots.shown().len() < graph.len() {
        return None;
    }
    let at = |node: u32| {
        let dot = dots.shown()[node as usize];
        (dot.function(a), dot.function(b))
    };
    let pairs = (0..graph.len() as u32).flat_map(|node| graph.neighbours(node).iter().map(move |&other| [node, other]));
    let points = pairs.filter(|[node, other]| node < other).flatten().map(at).collect();
    Some(Layer { name: String::new(), ink: Ink::RAW, mark: Mark::Segments, points })
}
