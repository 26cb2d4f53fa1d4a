//! The tables as Markdown, padded.

use super::figure::{Figure, at};
use super::row::{Figures, Row};
use super::{Comparison, Table};
use crate::data::Learn;

/// Bits and dimensions that have a column.
const BITS: [usize; 2] = [16, 64];
const DIMS: [usize; 3] = [8, 16, 32];

const NOTES: &str = "\
int8 is the blob as the chip runs it, float the network that it was made from. Several seeds: mean ± sample standard \
deviation.\n\
ACC, NMI and ARI judge the clusters named beside them: the model's own (native or prototypes, and how many) on the test \
split, or k-means on the features of both splits with as many clusters as classes.\n\
mAP is retrieval from the whole training split, by Hamming distance for bits, by cosine for leading dimensions. Flash and \
RAM in bytes, training in seconds. \
Transductive: training saw the test split, without labels.\n";

/// All tables, with what is to be known of them.
pub fn tables(comparison: &Comparison) -> String {
    let name = comparison.protocol.split(':').next().unwrap_or_default();
    let mut text = String::new();
    for table in &comparison.tables {
        let mut backends: Vec<&str> =
            table.rows.iter().flat_map(|row| &row.runs).map(|run| run.backend.as_str()).collect();
        backends.sort_unstable();
        backends.dedup();
        let (dataset, sha256) = (&table.dataset, &table.dataset_sha256);
        text += &format!("# {dataset}\n\n");
        text += &format!("data sha256 {sha256}  \nprotocol {name}  \ntrained by {}\n\n", backends.join(", "));
        text += &markdown(&lines(table));
        text += "\n";
    }
    text + NOTES
}

/// The heads, and one line for each row and network.
fn lines(table: &Table) -> Vec<Vec<String>> {
    let mut heads: Vec<String> =
        ["recipe", "seeds", "as", "kNN", "linear", "ACC", "NMI", "ARI", "clusters by"].map(String::from).to_vec();
    heads.extend(BITS.map(|bits| format!("mAP, {bits} bits")));
    heads.extend(DIMS.map(|dims| format!("mAP, {dims} dims")));
    heads.extend(["mAP, all dims", "flash", "RAM", "training"].map(String::from));
    let mut lines = vec![heads];
    for row in &table.rows {
        lines.extend(row.int8.as_ref().map(|int8| line(row, "int8", int8)));
        lines.push(line(row, "float", &row.float));
    }
    lines
}

fn line(row: &Row, network: &str, figures: &Figures) -> Vec<String> {
    // Costs and names are the row's, so they stand once, in its first line.
    let first = row.int8.is_none() || network == "int8";
    let once = |text: String| if first { text } else { String::new() };
    let seeds: Vec<String> = row.runs.iter().map(|run| run.seed.to_string()).collect();
    let mut cells = vec![once(title(row).replace('|', "\\|")), once(seeds.join(", ")), network.into()];
    let Figures { knn_acc, linear_acc, cluster_acc, nmi, ari, map, truncation, hash } = figures;
    cells.extend([knn_acc, linear_acc, cluster_acc, nmi, ari].map(|figure| shown(figure, 3)));
    cells.push(once(row.clusters_by.clone().unwrap_or_default()));
    cells.extend(BITS.map(|bits| shown(&at(hash, bits), 3)));
    cells.extend(DIMS.map(|dims| shown(&at(truncation, dims), 3)));
    cells.push(shown(map, 3));
    let costs = [&row.blob_bytes, &row.arena_bytes, &row.train_s];
    cells.extend(costs.map(|cost| once(cost.as_ref().map_or(String::new(), |cost| shown(cost, 0)))));
    cells
}

/// The row's name, with its objective where the name does not say it, and a mark where training saw the test split.
fn title(row: &Row) -> String {
    let objective = row.objective.as_deref().filter(|objective| !row.name.contains(objective));
    let transductive = (row.learn == Some(Learn::All)).then_some("transductive");
    let said: Vec<&str> = objective.into_iter().chain(transductive).collect();
    if said.is_empty() { row.name.clone() } else { format!("{} ({})", row.name, said.join(", ")) }
}

/// `0.983`, `0.983 ± 0.004` over seeds, a dash where it was not measured.
fn shown(figure: &Figure, decimals: usize) -> String {
    match (figure.mean, figure.deviation) {
        (None, _) => "–".into(),
        (Some(mean), Some(deviation)) => format!("{mean:.decimals$} ± {deviation:.decimals$}"),
        (Some(mean), None) => format!("{mean:.decimals$}"),
    }
}

/// A Markdown table of lines, the first of them the heads; names to the left, the rest to the right.
fn markdown(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            text += &if column == 0 { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") };
        }
        text += "|\n";
        if place == 0 {
            for (column, width) in widths.iter().enumerate() {
                let rule = "-".repeat(width + 1);
                text += &if column == 0 { format!("|{rule}-") } else { format!("|{rule}:") };
            }
            text += "|\n";
        }
    }
    text
}
