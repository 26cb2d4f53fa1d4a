//! The citation networks of Planetoid (Yang, Cohen, Salakhutdinov, "Revisiting semi-supervised learning with graph
//! embeddings", 2016): Cora, Citeseer, Pubmed, and sets in their layout. Nodes are documents, edges citations, features
//! words, classes topics; the split is the public one.
//!
//! Two layouts, each in a folder of its own, hold the same:
//!
//! * `text/`: `NAME.nodes.txt` has a line for each node: its number, class (-1 if unknown), part (`train`, `val`,
//!   `test`, `none`), and the columns of its features, each 1; `NAME.edges.txt` has the two nodes of an edge on each
//!   line. Gzipped or not.
//! * `original/`: the files `ind.NAME.*` of <https://github.com/kimiyoung/planetoid>, see [`original`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::nodes::{Features, NodeSet, Part, SparseRows};
use super::pickle::{self, Csr, Integers};
use super::text::{Line, Text};
use crate::error::{Error, Result};
use crate::graph::{Edges, Graph, Options};

/// Nodes in the middle part of the public split.
const VALIDATION: usize = 500;
/// The most test numbers that may be missing for each that is there; a few of Citeseer are.
const MOST_MISSING: usize = 10;

/// The most columns of features in a text, far above all vocabularies.
const MOST_COLUMNS: u32 = 1 << 24;

/// What a well-known set consists of, so that files that are cut between two lines are noticed.
struct Known {
    name: &'static str,
    nodes: usize,
    edges: usize,
    classes: usize,
    columns: usize,
    /// Features that are not zero; `None` where the features have not come down to us as text.
    features: Option<usize>,
}

const KNOWN: [Known; 3] = [
    Known { name: "cora", nodes: 2708, edges: 5278, classes: 7, columns: 1433, features: Some(49_216) },
    Known { name: "citeseer", nodes: 3327, edges: 4552, classes: 6, columns: 3703, features: Some(105_165) },
    Known { name: "pubmed", nodes: 19_717, edges: 44_324, classes: 3, columns: 500, features: None },
];

/// The set `name` (`cora`, `citeseer`, `pubmed`, or another in the same layout) from a folder with `text/` or
/// `original/` in it; from `text/` where both have it.
///
/// # Errors
/// A missing or damaged file, or a known set that is not whole.
pub fn load(folder: &Path, name: &str) -> Result<NodeSet> {
    let [text_folder, original_folder] = ["text", "original"].map(|layout| folder.join(layout));
    let first_file = original_folder.join(format!("ind.{name}.graph"));
    if nodes_file(&text_folder, name).is_file() || !first_file.is_file() {
        text(&text_folder, name)
    } else {
        original(&original_folder, name)
    }
}

/// The set `name` from a folder in the text layout.
///
/// Where no node has a feature, as in Pubmed's files, the features have no column.
///
/// # Errors
/// As for [`load`].
pub fn text(folder: &Path, name: &str) -> Result<NodeSet> {
    let path = nodes_file(folder, name);
    let nodes = Text::read(&path)?;
    let mut rows = SparseRows { columns: 0, offsets: vec![0], indices: Vec::new(), values: None };
    let (mut labels, mut split) = (Vec::new(), Vec::new());
    for (node, line) in nodes.lines().enumerate() {
        let (label, part) = parse_node(&line, node, &mut rows.indices, rows.offsets[node])?;
        labels.push(label);
        split.push(part);
        rows.offsets.push(rows.indices.len());
    }
    let known = KNOWN.iter().find(|known| known.name == name);
    let highest = rows.indices.iter().max().map_or(0, |&column| column as usize + 1);
    // The last columns of a known set may be empty.
    rows.columns = if highest == 0 { 0 } else { known.map_or(highest, |known| known.columns.max(highest)) };

    let path = either(folder, &format!("{name}.edges.txt"));
    let edges = Text::read(&path)?;
    let ends = edges.lines().map(|line| parse_edge(&line, labels.len())).collect::<Result<_>>()?;
    let graph = Graph::new(edges.place(), labels.len(), &Edges::new(ends), Options::default())?;
    let features =
        if rows.columns == 0 { Features::Dense(Array2::zeros((labels.len(), 0))) } else { Features::Sparse(rows) };
    let set = NodeSet::new(nodes.place(), graph, features, labels, split)?;
    whole(&folder.display().to_string(), name, set)
}

fn nodes_file(folder: &Path, name: &str) -> PathBuf {
    either(folder, &format!("{name}.nodes.txt"))
}

/// The gzipped file if it is there, else the plain one.
fn either(folder: &Path, name: &str) -> PathBuf {
    let zipped = folder.join(format!("{name}.gz"));
    if zipped.is_file() { zipped } else { folder.join(name) }
}

/// The label and part of node number `node`; its columns are added to `indices`, where they begin at `start`.
fn parse_node(line: &Line, node: usize, indices: &mut Vec<u32>, start: usize) -> Result<(Option<u16>, Part)> {
    let mut fields = line.fields();
    let number: usize = line.parse(&mut fields, "the number of the node")?;
    if number != node {
        return Err(line.error("nodes out of order", format!("node {node}"), number));
    }
    let label: i32 = line.parse(&mut fields, "a class, or -1")?;
    let label = match u16::try_from(label) {
        Ok(label) => Some(label),
        Err(_) if label == -1 => None,
        Err(_) => return Err(line.error("wrong class", "0 to 65535, or -1", label)),
    };
    let part = match fields.next() {
        Some("train") => Part::Train,
        Some("val") => Part::Validate,
        Some("test") => Part::Test,
        Some("none") => Part::Rest,
        other => return Err(line.error("wrong part", "train, val, test or none", other.unwrap_or("nothing"))),
    };
    for field in fields {
        let column: u32 = line.parse(&mut std::iter::once(field), "the number of a column")?;
        if column >= MOST_COLUMNS {
            return Err(line.error("too high a column", format!("a number below {MOST_COLUMNS}"), column));
        }
        if indices[start..].last().is_some_and(|&last| last >= column) {
            return Err(line.error("columns out of order", "each once, ascending", column));
        }
        indices.push(column);
    }
    Ok((label, part))
}

fn parse_edge(line: &Line, nodes: usize) -> Result<[u32; 2]> {
    let mut fields = line.fields();
    let mut node = || {
        let node: u32 = line.parse(&mut fields, "the number of a node")?;
        match (node as usize) < nodes {
            true => Ok(node),
            false => Err(line.error("no such node", format!("a number below {nodes}"), node)),
        }
    };
    let ends = [node()?, node()?];
    line.end(fields)?;
    Ok(ends)
}

/// The set `name` from a folder in the original layout, pickles of Python 2.
///
/// `allx` and `ally` hold features and one-hot classes of the first nodes, of which as many as `y` has rows are to be
/// trained on and the next 500 to validate on; `tx` and `ty` hold those of the nodes that `test.index` names. Numbers
/// that it leaves out below the highest are nodes without features and class. `graph` lists the neighbours of each
/// node. `x` says nothing that the others do not.
///
/// # Errors
/// As for [`load`]; files that do not fit together.
pub fn original(folder: &Path, name: &str) -> Result<NodeSet> {
    let file = |part: &str| folder.join(format!("ind.{name}.{part}"));
    let train = pickle::integers(&file("y"))?.rows;
    let (first, first_classes) = (pickle::csr(&file("allx"))?, pickle::integers(&file("ally"))?);
    let (last, last_classes) = (pickle::csr(&file("tx"))?, pickle::integers(&file("ty"))?);
    let same = |part: &str, what: &str, expected: usize, found: usize| match expected == found {
        true => Ok(()),
        false => Err(Error::input(file(part).display(), format!("wrong number of {what}"), expected, found)),
    };
    same("ally", "rows", first.rows, first_classes.rows)?;
    same("ty", "rows", last.rows, last_classes.rows)?;
    same("tx", "columns", first.columns, last.columns)?;
    same("ty", "columns", first_classes.columns, last_classes.columns)?;
    if train > first.rows {
        return Err(Error::input(file("y").display(), "too many rows", format!("at most {}", first.rows), train));
    }
    let tests = test_numbers(&file("test.index"), first.rows, last.rows)?;

    // For each node the file that it is in, and the row there.
    let nodes = tests.iter().max().map_or(first.rows, |&highest| highest as usize + 1);
    let mut sources: Vec<Option<(bool, usize)>> =
        (0..nodes).map(|node| (node < first.rows).then_some((false, node))).collect();
    let mut split = vec![Part::Rest; nodes];
    split[..train].fill(Part::Train);
    split[train..(train + VALIDATION).min(first.rows)].fill(Part::Validate);
    for (row, &node) in tests.iter().enumerate() {
        sources[node as usize] = Some((true, row));
        split[node as usize] = Part::Test;
    }

    let mut rows = SparseRows { columns: first.columns, offsets: vec![0], indices: Vec::new(), values: None };
    let mut values = Vec::new();
    let mut labels = Vec::new();
    for source in sources {
        let label = match source {
            None => None,
            Some((false, row)) => {
                push_row(&file("allx"), &first, row, &mut rows.indices, &mut values)?;
                one_hot(&file("ally"), &first_classes, row)?
            }
            Some((true, row)) => {
                push_row(&file("tx"), &last, row, &mut rows.indices, &mut values)?;
                one_hot(&file("ty"), &last_classes, row)?
            }
        };
        labels.push(label);
        rows.offsets.push(rows.indices.len());
    }
    rows.values = values.iter().any(|&value| value != 1.0).then_some(values);

    let graph_file = file("graph");
    let place = graph_file.display().to_string();
    let mut ends = Vec::new();
    for (node, neighbours) in pickle::lists(&graph_file)? {
        for other in neighbours {
            let number = |node: i64| u32::try_from(node).ok().filter(|&node| (node as usize) < nodes);
            let (Some(u), Some(v)) = (number(node), number(other)) else {
                let expected = format!("numbers below {nodes}");
                return Err(Error::input(place, "no such node", expected, format!("an edge {node} - {other}")));
            };
            ends.push([u, v]);
        }
    }
    let graph = Graph::new(&place, nodes, &Edges::new(ends), Options::default())?;
    let place = folder.display().to_string();
    whole(&place, name, NodeSet::new(&place, graph, Features::Sparse(rows), labels, split)?)
}

/// The nodes of the test part, in the order of their rows.
fn test_numbers(path: &Path, first: usize, count: usize) -> Result<Vec<u32>> {
    let text = Text::read(path)?;
    let mut numbers = Vec::new();
    let mut seen = HashSet::new();
    let most = first + count * (1 + MOST_MISSING);
    for line in text.lines() {
        let mut fields = line.fields();
        let number: u32 = line.parse(&mut fields, "the number of a node")?;
        line.end(fields)?;
        if !(first..most).contains(&(number as usize)) {
            let expected = format!("{first}, the number of other nodes, or somewhat more");
            return Err(line.error("not the number of a test node", expected, number));
        }
        if !seen.insert(number) {
            return Err(line.error("a node for the second time", "each once", number));
        }
        numbers.push(number);
    }
    match numbers.len() == count {
        true => Ok(numbers),
        false => {
            let expected = format!("{count}, one for each row of tx");
            Err(Error::input(text.place(), "wrong number of test nodes", expected, numbers.len()))
        }
    }
}

/// Adds a row of `matrix`, its columns ascending and without zeros.
fn push_row(path: &Path, matrix: &Csr, row: usize, indices: &mut Vec<u32>, values: &mut Vec<f32>) -> Result<()> {
    let wrong =
        |what: String, expected: String, found: String| Err(Error::input(path.display(), what, expected, found));
    let [start, end] = [matrix.offsets[row], matrix.offsets[row + 1]];
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let Some((range, columns)) = range.and_then(|(start, end)| Some((start..end, matrix.indices.get(start..end)?)))
    else {
        let expected = format!("an ascending range below {}", matrix.indices.len());
        return wrong(format!("row {row} is not in the matrix"), expected, format!("{start}..{end}"));
    };
    let mut entries: Vec<(i32, f32)> = columns.iter().copied().zip(matrix.values[range].iter().copied()).collect();
    entries.sort_by_key(|&(column, _)| column);
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return wrong(format!("row {row} has a column twice"), "each once".into(), pair[0].0.to_string());
    }
    for (column, value) in entries {
        let Some(column) = u32::try_from(column).ok().filter(|&column| (column as usize) < matrix.columns) else {
            return wrong(
                format!("row {row} leaves the matrix"),
                format!("columns below {}", matrix.columns),
                column.to_string(),
            );
        };
        if !value.is_finite() {
            return wrong(format!("row {row} has no valid value"), "a finite number".into(), value.to_string());
        }
        if value != 0.0 {
            indices.push(column);
            values.push(value);
        }
    }
    Ok(())
}

/// The class that a row of zeros and a one names; none if there is no one.
fn one_hot(path: &Path, classes: &Integers, row: usize) -> Result<Option<u16>> {
    let values = &classes.values[row * classes.columns..(row + 1) * classes.columns];
    let is_one_hot =
        values.iter().all(|value| [0, 1].contains(value)) && values.iter().filter(|&&value| value == 1).count() <= 1;
    match values.iter().position(|&value| value == 1) {
        Some(class) if is_one_hot && class <= usize::from(u16::MAX) => Ok(Some(class as u16)),
        None if is_one_hot => Ok(None),
        _ => Err(Error::input(
            path.display(),
            format!("row {row} names no class"),
            "zeros and at most a one",
            format!("{values:?}"),
        )),
    }
}

/// Checks a set of a known name for being whole.
fn whole(place: &str, name: &str, set: NodeSet) -> Result<NodeSet> {
    let Some(known) = KNOWN.iter().find(|known| known.name == name) else { return Ok(set) };
    let features = match &set.features {
        Features::Sparse(rows) => rows.indices.len(),
        Features::Dense(_) => 0,
    };
    let columns = if features == 0 && known.features.is_none() { 0 } else { known.columns };
    for (what, expected, found) in [
        ("nodes", known.nodes, set.graph.len()),
        ("edges", known.edges, set.survey.edges),
        ("classes", known.classes, set.classes),
        ("columns of features", columns, set.features.columns()),
        ("features that are not zero", known.features.unwrap_or(features), features),
    ] {
        if expected != found {
            return Err(Error::input(place, format!("{name} has the wrong number of {what}"), expected, found));
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::super::gzip::testing::gzip;
    use super::super::pickle::testing;
    use super::*;

    const NODES: &str = "0 1 train 0 3\n1 0 train 1\n2 1 none 2 3\n3 -1 none\n4 0 test 0 1 2\n";
    const EDGES: &str = "0 1\n1 2\n0 4\n";

    fn write_text(folder: &Path, nodes: &str, edges: &str) {
        std::fs::write(folder.join("small.nodes.txt"), nodes).unwrap();
        std::fs::write(folder.join("small.edges.txt"), edges).unwrap();
    }

    fn refused_text(nodes: &str, edges: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        write_text(folder.path(), nodes, edges);
        message(text(folder.path(), "small"))
    }

    fn message(result: Result<NodeSet>) -> String {
        let error = result.expect_err("the files are wrong");
        assert_eq!(error.exit_status(), 2);
        let message = error.to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    /// The same set as in [`NODES`] and [`EDGES`], but that node 2 is there to validate on.
    fn write_original(folder: &Path) {
        let files = [
            ("y", testing::integers(2, 2, &[0, 1, 1, 0])),
            ("allx", testing::csr(3, 4, &[0, 2, 3, 5], &[3, 0, 1, 2, 3], &[1.0; 5])),
            ("ally", testing::integers(3, 2, &[0, 1, 1, 0, 0, 1])),
            ("tx", testing::csr(1, 4, &[0, 3], &[0, 1, 2], &[1.0; 3])),
            ("ty", testing::integers(1, 2, &[1, 0])),
            ("graph", testing::lists(&[(0, &[1, 4, 1]), (1, &[0, 2]), (2, &[1, 2]), (4, &[0])])),
            ("test.index", b"4\n".to_vec()),
        ];
        for (part, bytes) in files {
            std::fs::write(folder.join(format!("ind.small.{part}")), bytes).unwrap();
        }
    }

    #[test]
    fn a_set_is_read_as_its_text_says() {
        let folder = tempfile::tempdir().unwrap();
        write_text(folder.path(), NODES, EDGES);
        let set = text(folder.path(), "small").unwrap();
        assert_eq!(set.labels, [Some(1), Some(0), Some(1), None, Some(0)]);
        assert_eq!((set.classes, set.features.columns()), (2, 4));
        assert_eq!(
            [Part::Train, Part::Test, Part::Validate].map(|part| set.nodes(part)),
            [vec![0, 1], vec![4], vec![]]
        );
        assert_eq!(set.features.gather(&[2, 3]), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(set.graph.neighbours(0), [1, 4]);
        assert_eq!((set.survey.edges, set.survey.isolated, set.survey.components), (3, 1, 2));
    }

    #[test]
    fn both_layouts_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        write_original(folder.path());
        let set = original(folder.path(), "small").unwrap();
        write_text(folder.path(), &NODES.replace("2 1 none", "2 1 val"), EDGES);
        let same = text(folder.path(), "small").unwrap();
        assert_eq!((set.survey.mutual, set.survey.duplicates, set.survey.self_loops), (3, 1, 1));
        assert_eq!(NodeSet { survey: same.survey, ..set }, same);
    }

    #[test]
    fn gzipped_files_are_preferred_and_text_is_preferred_to_pickles() {
        let folder = tempfile::tempdir().unwrap();
        let layouts = ["text", "original"].map(|layout| folder.path().join(layout));
        layouts.iter().for_each(|layout| std::fs::create_dir(layout).unwrap());
        let missing = message(load(folder.path(), "small"));
        assert!(missing.contains("text/small.nodes.txt: cannot read"), "{missing}");
        write_original(&layouts[1]);
        assert_eq!(load(folder.path(), "small").unwrap().survey.self_loops, 1);
        write_text(&layouts[0], "no node", EDGES);
        std::fs::write(layouts[0].join("small.nodes.txt.gz"), gzip(NODES.as_bytes())).unwrap();
        assert_eq!(load(folder.path(), "small").unwrap().survey.self_loops, 0);
    }

    #[test]
    fn values_other_than_1_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        write_original(folder.path());
        let words = testing::csr(3, 4, &[0, 2, 3, 5], &[3, 0, 1, 2, 3], &[0.5, 1.0, 0.0, 1.0, 1.0]);
        std::fs::write(folder.path().join("ind.small.allx"), words).unwrap();
        let set = original(folder.path(), "small").unwrap();
        assert_eq!(set.features.gather(&[0, 1]), [1.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn lines_that_are_no_node_or_edge_are_refused_by_number() {
        let node = |line: &str| {
            let message = refused_text(&format!("0 1 train 0 3\n{line}\n"), "");
            assert!(message.contains("small.nodes.txt:2: "), "{message}");
            message
        };
        assert!(node("2 1 train").ends_with("nodes out of order: expected node 1, found 2"));
        assert!(node("1 x train").ends_with("wrong value: expected a class, or -1, found \"x\""));
        assert!(node("1 -2 train").ends_with("wrong class: expected 0 to 65535, or -1, found -2"));
        assert!(node("1 1").ends_with("expected train, val, test or none, found nothing"));
        assert!(node("1 1 maybe 3").ends_with("expected train, val, test or none, found maybe"));
        assert!(node("1 1 val 3 3").ends_with("expected each once, ascending, found 3"));
        assert!(node("1 1 val 3 -4").ends_with("expected the number of a column, found \"-4\""));
        assert!(node("1 1 val 4294967295").ends_with("expected a number below 16777216, found 4294967295"));
        let edge = |line: &str| refused_text(NODES, &format!("0 1\n\n{line}\n"));
        assert!(edge("1 5").ends_with("small.edges.txt:3: no such node: expected a number below 5, found 5"));
        assert!(edge("1").ends_with("expected the number of a node, found the end of the line"));
        assert!(edge("1 2 3").ends_with("too many fields: expected the end of the line, found \"3\""));
    }

    #[test]
    fn pickles_that_do_not_fit_together_are_refused() {
        let refused = |part: &str, bytes: Vec<u8>| {
            let folder = tempfile::tempdir().unwrap();
            write_original(folder.path());
            std::fs::write(folder.path().join(format!("ind.small.{part}")), bytes).unwrap();
            let message = message(original(folder.path(), "small"));
            assert!(message.contains(&format!("ind.small.{part}")), "{message}");
            message
        };
        let ends = |message: String, end: &str| assert!(message.ends_with(end), "{message}");
        ends(refused("y", testing::integers(4, 1, &[1; 4])), "too many rows: expected at most 3, found 4");
        ends(refused("ally", testing::integers(1, 2, &[0, 1])), "wrong number of rows: expected 3, found 1");
        ends(refused("ty", testing::integers(1, 1, &[1])), "wrong number of columns: expected 2, found 1");
        ends(refused("ty", testing::integers(1, 2, &[1, 1])), "zeros and at most a one, found [1, 1]");
        let matrix = |offsets: &[i32], indices: &[i32]| testing::csr(1, 4, offsets, indices, &vec![1.0; indices.len()]);
        ends(refused("tx", testing::csr(1, 5, &[0, 0], &[], &[])), "wrong number of columns: expected 4, found 5");
        ends(refused("tx", matrix(&[0, 2], &[1])), "expected an ascending range below 1, found 0..2");
        ends(refused("tx", matrix(&[1, 0], &[1])), "found 1..0");
        ends(refused("tx", matrix(&[0, 1], &[4])), "row 0 leaves the matrix: expected columns below 4, found 4");
        ends(refused("tx", matrix(&[0, 2], &[1, 1])), "row 0 has a column twice: expected each once, found 1");
        ends(refused("tx", testing::csr(1, 4, &[0, 1], &[1], &[f32::NAN])), "expected a finite number, found NaN");
        ends(refused("graph", testing::lists(&[(0, &[5])])), "expected numbers below 5, found an edge 0 - 5");
        ends(refused("graph", testing::integers(1, 1, &[1])), "found an array");
        ends(refused("test.index", b"2".to_vec()), "expected 3, the number of other nodes, or somewhat more, found 2");
        ends(refused("test.index", b"4000000000".to_vec()), "found 4000000000");
        ends(refused("test.index", b"4\n4".to_vec()), "a node for the second time: expected each once, found 4");
        ends(refused("test.index", b"3\n4".to_vec()), "expected 1, one for each row of tx, found 2");
    }

    /// The folder with the real sets, where it is at hand.
    fn real() -> Option<PathBuf> {
        let folder = std::env::var_os("EIGENLET_DATA").map(|folder| PathBuf::from(folder).join("planetoid"));
        if folder.is_none() {
            eprintln!("SKIPPED: nothing was tested on Planetoid's sets, for EIGENLET_DATA is not set");
        }
        folder
    }

    #[test]
    fn both_layouts_of_the_real_sets_say_the_same() {
        let Some(folder) = real() else { return };
        for (name, train, unlabelled, components) in [("cora", 140, 0, 78), ("citeseer", 120, 15, 438)] {
            let set = text(&folder.join("text"), name).unwrap();
            let same = original(&folder.join("original"), name).unwrap();
            assert_eq!(set.survey.components, components);
            assert_eq!([Part::Train, Part::Validate, Part::Test].map(|part| set.nodes(part).len()), [train, 500, 1000]);
            assert_eq!(set.labels.iter().filter(|label| label.is_none()).count(), unlabelled);
            assert_eq!(set, NodeSet { survey: set.survey, ..same }, "{name}");
            assert_eq!(load(&folder, name).unwrap(), set);
        }
    }

    #[test]
    fn pubmed_is_a_graph_with_classes_and_without_features() {
        let Some(folder) = real() else { return };
        let set = load(&folder, "pubmed").unwrap();
        assert_eq!((set.graph.len(), set.survey.edges, set.features.columns()), (19_717, 44_324, 0));
        let message = message(original(&folder.join("original"), "pubmed"));
        assert!(message.contains("ind.pubmed.allx: cannot read"), "{message}");
    }

    #[test]
    fn a_real_set_that_lacks_a_line_is_refused() {
        let Some(folder) = real() else { return };
        let copy = tempfile::tempdir().unwrap();
        let plain = |name: &str| {
            let bytes = super::super::gzip::read(&folder.join("text").join(format!("{name}.gz")), 1 << 24).unwrap();
            std::fs::write(copy.path().join(name), &bytes).unwrap();
            bytes
        };
        let (nodes, edges) = (plain("cora.nodes.txt"), plain("cora.edges.txt"));
        assert!(text(copy.path(), "cora").is_ok());
        let shorter = edges.len() - edges.iter().rev().skip(1).position(|&byte| byte == b'\n').unwrap() - 1;
        std::fs::write(copy.path().join("cora.edges.txt"), &edges[..shorter]).unwrap();
        let found = message(text(copy.path(), "cora"));
        assert!(found.ends_with("cora has the wrong number of edges: expected 5278, found 5277"), "{found}");
        std::fs::write(copy.path().join("cora.edges.txt"), &edges).unwrap();
        std::fs::write(copy.path().join("cora.nodes.txt"), &nodes[..nodes.len() - 6]).unwrap();
        assert!(message(text(copy.path(), "cora")).contains("features that are not zero: expected 49216, found 4921"));
    }
}
