//! Samples that lie close together: neighbours and clusters.

use maud::{Markup, html};
use ndarray::{ArrayView2, s};

use super::dots::Dots;
use super::picture::{Form, image};
use super::plot::{Chart, SQUARE, Scale};
use super::{Gallery, ReportInput, left_out};
use crate::error::Result;

/// Test samples shown as queries.
const QUERIES: usize = 12;

/// Training samples shown beside each query, and for each cluster.
const SHOWN: usize = 8;

/// Leading dimensions compared.
const DIMS: usize = 16;

/// The most clusters shown; of more, the largest.
pub const CLUSTERS: usize = 20;

/// Queries with their nearest training samples by cosine.
///
/// # Errors
/// As for [`image`].
pub fn nearest(input: &ReportInput) -> Result<Markup> {
    let (train, test) = (&input.train, &input.test);
    let dims = DIMS.min(train.embeddings.ncols()).min(test.embeddings.ncols());
    if dims == 0 || train.samples.is_empty() || test.samples.is_empty() {
        return Ok(left_out("there is nothing to compare"));
    }
    match Form::of(train.samples.shape) {
        Form::Picture | Form::Series => {}
        Form::Point => return Ok(left_out("a sample is two values, which the scatters below show")),
        Form::List { values } => {
            return Ok(left_out(&format!("a sample is a list of {values} values, which makes no picture")));
        }
    }
    let gallery = unit_rows(&train.embeddings.slice(s![.., ..dims]));
    let queries = unit_rows(&test.embeddings.slice(s![.., ..dims]));
    let labels = comparable_labels(train, test);
    let mut rows = Vec::new();
    let (mut wrong, mut all) = (0, 0);
    for query in queries_of(test) {
        let mut images = Vec::new();
        for neighbour in top(&gallery, &queries[query]) {
            let differs = labels.is_some_and(|(train, test)| train[neighbour] != test[query]);
            wrong += usize::from(differs);
            all += 1;
            images.push(image(input, train, neighbour, differs)?);
        }
        let query = image(input, test, query, false)?;
        rows.push(html! { div.row { (query) span.arrow { "→" } @for shown in images { (shown) } } });
    }
    Ok(html! {
        div.rows { @for row in rows { (row) } }
        p.caption {
            "On the left a test sample, then its " (SHOWN.min(gallery.len())) " nearest training samples by cosine of "
            "the first " (dims) " int8 dimensions. The queries are spread evenly over the test split, not picked."
            @if labels.is_some() {
                " Neighbours with another label stand in a " span.wrongly { "red frame" } ": " (wrong) " of " (all) "."
            }
            @if Form::of(train.samples.shape) == Form::Series { " Time runs to the right, with a row for each channel." }
        }
    })
}

/// The clusters of the training split: as pictures of the samples nearest to the middle of each, in the plane, or as a table.
///
/// # Errors
/// As for [`image`].
pub fn clusters(input: &ReportInput) -> Result<Markup> {
    let train = &input.train;
    if train.clusters.is_empty() || train.embeddings.ncols() == 0 {
        return Ok(left_out("the model has no clusters"));
    }
    let mut members: Vec<(u16, Vec<usize>)> = Vec::new();
    for number in 0..=train.clusters.iter().copied().max().unwrap_or(0) {
        members.push((number, (0..train.samples.len()).filter(|&sample| train.clusters[sample] == number).collect()));
    }
    members.retain(|(_, members)| !members.is_empty());
    members.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    let total = members.len();
    members.truncate(CLUSTERS);
    members.sort_by_key(|(number, _)| *number);
    let rest = if total > members.len() {
        format!(" The {} largest of {total} are shown.", members.len())
    } else {
        String::new()
    };
    match Form::of(train.samples.shape) {
        Form::Picture | Form::Series => middles(input, &members, &rest),
        Form::Point => Ok(html! { div.pair { (plane(input)?) (table(train, &members, &rest)) } }),
        Form::List { .. } => Ok(html! { div.pair { (table(train, &members, &rest)) } }),
    }
}

/// The samples nearest to the middle of each cluster.
fn middles(input: &ReportInput, members: &[(u16, Vec<usize>)], rest: &str) -> Result<Markup> {
    let train = &input.train;
    let dims = DIMS.min(train.embeddings.ncols());
    let rows = unit_rows(&train.embeddings.slice(s![.., ..dims]));
    let mut shown = Vec::new();
    for (number, members) in members {
        let mean: Vec<f32> = (0..dims).map(|j| members.iter().map(|&sample| rows[sample][j]).sum()).collect();
        let inside: Vec<Vec<f32>> = members.iter().map(|&sample| rows[sample].clone()).collect();
        let mut images = Vec::new();
        for place in top(&inside, &mean) {
            images.push(image(input, train, members[place], false)?);
        }
        shown.push(html! {
            div.row {
                span.name {
                    strong { (number) }
                    span.note { (members.len()) " samples" }
                    span.note { (purity(train, members)) }
                }
                @for shown in images { (shown) }
            }
        });
    }
    Ok(html! {
        div.rows.clusters { @for row in shown { (row) } }
        p.caption {
            "Each row is one cluster: its number, then the training samples nearest to its middle in the embedding."
            (rest)
            @if train.labels.is_some() { " The share is that of the cluster's most frequent label." }
            " Good rows look alike inside and differ from one another."
        }
    })
}

/// Samples of two values where these put them, in the colours of their clusters.
fn plane(input: &ReportInput) -> Result<Markup> {
    let both = Dots::of(vec![input.train, input.test]);
    let dots = if both.has_clusters() { both } else { Dots::of(vec![input.train]) };
    let chart = Chart {
        title: "Clusters in the plane".into(),
        x_label: "first value".into(),
        scale: Scale::Linear,
        size: SQUARE,
        layers: dots.by_cluster(|dot| input.place(dot)),
        caption: format!(
            "Dots: {}. Each lies where its two values put it, the first across and the second up; its colour is the cluster \
             that the blob gives it.",
            dots.share("samples")
        ),
    };
    chart.figure()
}

fn table(train: &Gallery, members: &[(u16, Vec<usize>)], rest: &str) -> Markup {
    html! {
        figure.wide {
            h3 { "Clusters of the training samples" }
            table {
                thead { tr { th { "cluster" } th { "samples" } @if train.labels.is_some() { th { "most frequent label" } } } }
                tbody {
                    @for (number, members) in members {
                        tr {
                            th { (number) } td { (members.len()) }
                            @if train.labels.is_some() { td { (purity(train, members)) } }
                        }
                    }
                }
            }
            figcaption { "Good has one label a cluster, or nearly." (rest) }
        }
    }
}

/// `97 % label 3`: the most frequent label among some samples (the lowest, of equals); nothing without labels.
fn purity(gallery: &Gallery, members: &[usize]) -> String {
    let Some(labels) = gallery.labels else { return String::new() };
    let mut counts = std::collections::BTreeMap::new();
    for &sample in members {
        *counts.entry(labels[sample]).or_insert(0_usize) += 1;
    }
    let most = counts.iter().max_by_key(|&(&label, &count)| (count, std::cmp::Reverse(label)));
    most.map_or(String::new(), |(label, &count)| {
        format!("{:.0}\u{a0}% label {label}", 100.0 * count as f64 / members.len() as f64)
    })
}

/// Labels of both splits, where a test sample can have the label of a training sample at all.
fn comparable_labels<'a>(train: &Gallery<'a>, test: &Gallery<'a>) -> Option<(&'a [u16], &'a [u16])> {
    let (train, test) = (train.labels?, test.labels?);
    let known: std::collections::BTreeSet<u16> = train.iter().copied().collect();
    test.iter().any(|label| known.contains(label)).then_some((train, test))
}

/// Samples spread evenly over the split, and over its classes where it has labels.
fn queries_of(test: &Gallery) -> Vec<usize> {
    let mut order: Vec<usize> = (0..test.samples.len()).collect();
    if let Some(labels) = test.labels {
        order.sort_by_key(|&sample| labels[sample]);
    }
    let queries = QUERIES.min(order.len());
    (0..queries).map(|query| order[(2 * query + 1) * order.len() / (2 * queries)]).collect()
}

/// The rows nearest to a query by cosine, nearest first; of equals the first. Rows have unit length.
fn top(rows: &[Vec<f32>], query: &[f32]) -> Vec<usize> {
    let similarity = |row: &[f32]| -> f32 { row.iter().zip(query).map(|(a, b)| a * b).sum() };
    let mut ranked: Vec<(f32, usize)> = rows.iter().map(|row| similarity(row)).zip(0..).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().take(SHOWN).map(|(_, row)| row).collect()
}

/// Rows divided by their length; a row of zeros stays.
fn unit_rows(embeddings: &ArrayView2<i8>) -> Vec<Vec<f32>> {
    let unit = |row: ndarray::ArrayView1<i8>| {
        let length = row.iter().map(|&value| i32::from(value).pow(2)).sum::<i32>().max(1) as f32;
        row.iter().map(|&value| f32::from(value) / length.sqrt()).collect()
    };
    embeddings.rows().into_iter().map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_nearest_by_cosine_come_first_and_equals_in_order() {
        let rows = unit_rows(&array![[-3_i8, 0], [10, 10], [1, 0], [0, 0], [127, 1], [2, 0]].view());
        assert_eq!(top(&rows, &[1.0, 0.0]), [2, 5, 4, 1, 3, 0]);
    }

    #[test]
    fn the_most_frequent_label_names_a_cluster() {
        let samples = crate::data::Samples { shape: [1, 1, 1], raw: vec![0; 4] };
        let (embeddings, float) = (ndarray::Array2::zeros((4, 1)), ndarray::Array2::zeros((4, 1)));
        let labels = [5, 5, 9, 5];
        let mut gallery = Gallery {
            samples: &samples,
            labels: Some(&labels),
            embeddings: embeddings.view(),
            float: float.view(),
            clusters: &[],
        };
        assert_eq!(purity(&gallery, &[0, 1, 2]), "67\u{a0}% label 5");
        assert_eq!(purity(&gallery, &[1, 2]), "50\u{a0}% label 5");
        assert_eq!(queries_of(&gallery), [0, 1, 3, 2]);
        gallery.labels = None;
        assert_eq!(purity(&gallery, &[0, 1, 2]), "");
    }
}
