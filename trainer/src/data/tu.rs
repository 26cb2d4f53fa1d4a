//! Collections of small graphs in the text format of the TU benchmark (Morris and others, "TUDataset: a collection of
//! benchmark datasets for learning with graphs", 2020).
//!
//! Nodes and graphs are numbered from 1 through the whole collection. Of a collection `NAME`, gzipped or not:
//!
//! * `NAME_A.txt`: the two nodes of an edge on each line;
//! * `NAME_graph_indicator.txt`: for each node the number of its graph;
//! * `NAME_graph_labels.txt`, if there are classes: for each graph a whole number;
//! * `NAME_node_labels.txt` and `NAME_node_attributes.txt`, if nodes have them: for each node a whole number, and
//!   numbers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis, concatenate, s};

use super::text::{Line, Text};
use crate::error::{Error, Result};
use crate::graph::set::{GraphSet, degree_features};
use crate::graph::{Edges, Graph, Options, Survey};

/// The most different node labels, each of which makes a column.
const MOST_NODE_LABELS: usize = 4096;
/// The number of neighbours from which on they count alike, where they are all that is known of a node.
const MOST_NEIGHBOURS: usize = 63;

/// Reads the collection `name` from its folder, with a survey of all graphs together.
///
/// A node's features are its label, one-hot in the ascending order of labels, and then its attributes; where there are
/// neither, its one-hot number of neighbours, up to 63. Classes are numbered from 0 in the ascending order of the
/// graphs' labels.
///
/// # Errors
/// A missing or damaged file; files that do not fit together; an edge between two graphs; a label that is no whole
/// number, more than 4,096 node labels or 65,536 classes.
pub fn load(folder: &Path, name: &str) -> Result<(GraphSet, Survey)> {
    let file = |part: &str| {
        let [zipped, plain] = ["txt.gz", "txt"].map(|ending| folder.join(format!("{name}_{part}.{ending}")));
        if zipped.is_file() { zipped } else { plain }
    };
    let graph_of = indicator(&file("graph_indicator"))?;
    let (whole, survey) = edges(&file("A"), &graph_of)?;
    let graphs: Vec<Graph> = ranges(&graph_of).into_iter().map(|range| whole.piece(range)).collect();

    let nodes = (graph_of.len(), "node");
    let labels = optional(file("node_labels"), |path| one_hot(path, nodes))?;
    let attributes = optional(file("node_attributes"), |path| attributes(path, nodes))?;
    let features: Vec<Array2<f32>> = match [labels, attributes] {
        [None, None] => graphs.iter().map(|graph| degree_features(graph, MOST_NEIGHBOURS)).collect(),
        parts => {
            let parts: Vec<_> = parts.iter().flatten().map(|part| part.view()).collect();
            let all = concatenate(Axis(1), &parts).expect("each has a row for every node");
            let rows =
                |range: std::ops::Range<u32>| all.slice(s![range.start as usize..range.end as usize, ..]).to_owned();
            ranges(&graph_of).into_iter().map(rows).collect()
        }
    };
    let labels = optional(file("graph_labels"), |path| classes(path, (graphs.len(), "graph")))?;
    Ok((GraphSet { graphs, features, labels }, survey))
}

/// The name of the one collection that a folder holds.
///
/// # Errors
/// A folder that cannot be read, or that holds none or several.
pub fn name_in(folder: &Path) -> Result<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(|error| Error::reading(folder, error))? {
        let file = entry.map_err(|error| Error::reading(folder, error))?.file_name();
        let file = file.to_string_lossy();
        let file = file.strip_suffix(".gz").unwrap_or(&file);
        names.extend(file.strip_suffix("_graph_indicator.txt").map(String::from));
    }
    let mut found = names.into_iter();
    match (found.next(), found.next()) {
        (Some(name), None) => Ok(name),
        (first, second) => {
            let found = match (first, second) {
                (Some(first), Some(second)) => format!("{first} and {second}"),
                _ => "none".into(),
            };
            Err(Error::input(folder.display(), "not one collection of graphs", "one NAME_graph_indicator.txt", found))
        }
    }
}

fn optional<T>(path: PathBuf, read: impl FnOnce(&Path) -> Result<T>) -> Result<Option<T>> {
    if path.is_file() { read(&path).map(Some) } else { Ok(None) }
}

/// For each node its graph, from 0.
fn indicator(path: &Path) -> Result<Vec<u32>> {
    let mut graph_of: Vec<u32> = Vec::new();
    let text = Text::read(path)?;
    for line in text.lines() {
        let number: u32 = line_of_one(&line, "the number of a graph")?;
        let same = graph_of.last().map_or(0, |&graph| graph + 1);
        if number == 0 || !(same..=same + 1).contains(&number) {
            let expected = if same == 0 { "1".into() } else { format!("{same} or {}", same + 1) };
            return Err(line.error("graphs out of order", expected, number));
        }
        graph_of.push(number - 1);
    }
    match graph_of.is_empty() {
        false => Ok(graph_of),
        true => Err(Error::input(text.place(), "no nodes", "a line for each node", "none")),
    }
}

/// The nodes of each graph.
fn ranges(graph_of: &[u32]) -> Vec<std::ops::Range<u32>> {
    let mut start = 0;
    let range = |run: &[u32]| {
        let range = start..start + run.len() as u32;
        start = range.end;
        range
    };
    graph_of.chunk_by(|a, b| a == b).map(range).collect()
}

/// All graphs as one.
fn edges(path: &Path, graph_of: &[u32]) -> Result<(Graph, Survey)> {
    let text = Text::read(path)?;
    let mut ends = Vec::new();
    for line in text.lines() {
        let mut fields = line.fields();
        let mut node = || {
            let number: u32 = line.parse(&mut fields, "the number of a node")?;
            match (1..=graph_of.len()).contains(&(number as usize)) {
                true => Ok(number - 1),
                false => Err(line.error("no such node", format!("a number from 1 to {}", graph_of.len()), number)),
            }
        };
        let pair = [node()?, node()?];
        line.end(fields)?;
        let [first, second] = pair.map(|node| graph_of[node as usize] + 1);
        if first != second {
            let found = format!("an edge from graph {first} to graph {second}");
            return Err(line.error("an edge that leaves its graph", "two nodes of one graph", found));
        }
        ends.push(pair);
    }
    Graph::new(text.place(), graph_of.len(), &Edges::new(ends), Options::default())
}

/// How many lines there must be, and for what.
type Count = (usize, &'static str);

/// One number a line, as the place among all different ones in ascending order; and how many different ones there are.
fn places(path: &Path, (count, of): Count) -> Result<(Vec<usize>, usize)> {
    let text = Text::read(path)?;
    let labels: Vec<i64> = text.lines().map(|line| line_of_one(&line, "a whole number")).collect::<Result<_>>()?;
    check_count(&text, labels.len(), (count, of))?;
    let different: Vec<i64> = labels.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let place = |label: &i64| different.binary_search(label).expect("it is one of them");
    Ok((labels.iter().map(place).collect(), different.len()))
}

fn classes(path: &Path, count: Count) -> Result<Vec<u16>> {
    let (labels, different) = places(path, count)?;
    let too_many = |_| Error::input(path.display(), "too many classes", "at most 65536", different);
    labels.into_iter().map(|label| u16::try_from(label).map_err(too_many)).collect()
}

fn one_hot(path: &Path, count: Count) -> Result<Array2<f32>> {
    let (labels, different) = places(path, count)?;
    if different > MOST_NODE_LABELS {
        let expected = format!("at most {MOST_NODE_LABELS} different ones");
        return Err(Error::input(path.display(), "too many node labels", expected, different));
    }
    let mut features = Array2::zeros((labels.len(), different));
    for (node, label) in labels.into_iter().enumerate() {
        features[[node, label]] = 1.0;
    }
    Ok(features)
}

fn attributes(path: &Path, count: Count) -> Result<Array2<f32>> {
    let text = Text::read(path)?;
    let attributes = text.numbers()?;
    check_count(&text, attributes.nrows(), count)?;
    Ok(attributes)
}

fn line_of_one<T: std::str::FromStr>(line: &Line, expected: &str) -> Result<T> {
    let mut fields = line.fields();
    let value = line.parse(&mut fields, expected)?;
    line.end(fields)?;
    Ok(value)
}

fn check_count(text: &Text, found: usize, (count, of): Count) -> Result<()> {
    match found == count {
        true => Ok(()),
        false => {
            let expected = format!("{count}, one for each {of}");
            Err(Error::input(text.place(), "wrong number of lines", expected, found))
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::super::gzip::testing::gzip;
    use super::*;

    /// A triangle, a single node, and a path of three.
    const FILES: [(&str, &str); 5] = [
        ("A", "1, 2\n2, 1\n2, 3\n3, 2\n1, 3\n3, 1\n5, 6\n6, 5\n6, 7\n7, 6\n"),
        ("graph_indicator", "1\n1\n1\n2\n3\n3\n3\n"),
        ("graph_labels", "1\n-1\n1\n"),
        ("node_labels", "0\n5\n0\n5\n2\n2\n0\n"),
        ("node_attributes", "0.5, 1\n1, 1\n2, 1\n3, 1\n4, 1\n5, 1\n6, -1e1\n"),
    ];

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (part, content) in files {
            std::fs::write(folder.path().join(format!("SET_{part}.txt")), content).unwrap();
        }
        folder
    }

    fn read(files: &[(&str, &str)]) -> Result<(GraphSet, Survey)> {
        load(folder(files).path(), "SET")
    }

    /// What is said when one file is replaced.
    fn refused(part: &str, content: &str) -> String {
        let files = FILES.map(|(other, old)| (other, if other == part { content } else { old }));
        let error = read(&files).expect_err("the file is wrong");
        assert_eq!(error.exit_status(), 2);
        let message = error.to_string();
        assert!(message.contains(&format!("SET_{part}.txt")) && !message.contains('\n'), "{message}");
        message
    }

    #[test]
    fn a_collection_is_read_as_written() {
        let (set, survey) = read(&FILES).unwrap();
        assert_eq!((survey.nodes, survey.edges, survey.mutual, survey.components), (7, 5, 5, 3));
        assert_eq!(set.graphs.iter().map(Graph::len).collect::<Vec<_>>(), [3, 1, 3]);
        assert_eq!(set.labels, Some(vec![1, 0, 1]));
        let path = &set.graphs[2];
        assert_eq!([path.neighbours(0), path.neighbours(2)], [[1], [1]]);
        assert_eq!((path.neighbours(1), path.degree(1)), (&[0, 2][..], 2.0));
        assert_eq!(set.columns(), 5);
        let expected = arr2(&[[0.0, 1.0, 0.0, 4.0, 1.0], [0.0, 1.0, 0.0, 5.0, 1.0], [1.0, 0.0, 0.0, 6.0, -10.0]]);
        assert_eq!(set.features[2], expected);
    }

    #[test]
    fn a_piece_of_a_collection_is_the_graph_of_its_edges() {
        let (set, _) = read(&FILES).unwrap();
        for (graph, ends) in set.graphs.iter().zip([vec![[0, 1], [1, 2], [2, 0]], vec![], vec![[0, 1], [1, 2]]]) {
            let (expected, _) = Graph::new("", graph.len(), &Edges::new(ends), Options::default()).unwrap();
            assert_eq!(*graph, expected);
        }
    }

    #[test]
    fn what_is_optional_may_be_missing() {
        let (set, _) = read(&FILES[..2]).unwrap();
        assert_eq!((set.labels, set.features[0].dim()), (None, (3, 64)));
        assert_eq!(set.features[2][[1, 2]], 1.0);
        let (set, _) = read(&FILES[..4]).unwrap();
        assert_eq!(set.features[1], arr2(&[[0.0, 0.0, 1.0]]));
        let folder = folder(&FILES);
        std::fs::remove_file(folder.path().join("SET_A.txt")).unwrap();
        let message = load(folder.path(), "SET").unwrap_err().to_string();
        assert!(message.contains("SET_A.txt: cannot read"), "{message}");
        std::fs::write(folder.path().join("SET_A.txt.gz"), gzip(FILES[0].1.as_bytes())).unwrap();
        assert_eq!(load(folder.path(), "SET").unwrap(), read(&FILES).unwrap());
    }

    #[test]
    fn a_folder_says_which_collection_it_holds() {
        let folder = folder(&FILES);
        assert_eq!(name_in(folder.path()).unwrap(), "SET");
        std::fs::write(folder.path().join("OTHER_graph_indicator.txt.gz"), "").unwrap();
        let message = name_in(folder.path()).unwrap_err().to_string();
        assert!(message.ends_with("expected one NAME_graph_indicator.txt, found OTHER and SET"), "{message}");
        let message = name_in(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
        assert!(message.ends_with("found none"), "{message}");
        assert!(name_in(&folder.path().join("nowhere")).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn damaged_files_are_refused_by_line() {
        let ends = |message: String, end: &str| assert!(message.ends_with(end), "{message}");
        ends(refused("A", "1, 2\n3, 8\n"), "A.txt:2: no such node: expected a number from 1 to 7, found 8");
        ends(refused("A", "0, 1\n"), "expected a number from 1 to 7, found 0");
        ends(refused("A", "3, 4\n"), "expected two nodes of one graph, found an edge from graph 1 to graph 2");
        ends(
            refused("A", "1, 2\n2\n"),
            "A.txt:2: too few fields: expected the number of a node, found the end of the line",
        );
        ends(refused("A", "1, 2, 3\n"), "too many fields: expected the end of the line, found \"3\"");
        ends(refused("graph_indicator", "1\n1\n3\n"), "indicator.txt:3: graphs out of order: expected 1 or 2, found 3");
        ends(refused("graph_indicator", "1\n2\n1\n"), "expected 2 or 3, found 1");
        ends(refused("graph_indicator", "0\n"), "expected 1, found 0");
        ends(refused("graph_indicator", "1\n4294967295\n"), "expected 1 or 2, found 4294967295");
        ends(refused("graph_indicator", ""), "no nodes: expected a line for each node, found none");
        ends(refused("graph_labels", "1\n2\n"), "wrong number of lines: expected 3, one for each graph, found 2");
        ends(
            refused("graph_labels", "1\n2\n0.5\n"),
            "labels.txt:3: wrong value: expected a whole number, found \"0.5\"",
        );
        ends(refused("node_labels", "1\n2\n"), "wrong number of lines: expected 7, one for each node, found 2");
        ends(refused("node_attributes", "1\n2\n"), "wrong number of lines: expected 7, one for each node, found 2");
        ends(
            refused("node_attributes", "1, 2\n3\n"),
            "attributes.txt:2: wrong number of fields: expected 2, as above, found 1",
        );
        ends(
            refused("node_attributes", "1\nnan\n"),
            "attributes.txt:2: wrong value: expected a finite number, found NaN",
        );
    }

    #[test]
    fn node_labels_that_would_fill_the_memory_are_refused() {
        let lines = |line: fn(usize) -> String| (0..5000).map(line).collect::<String>();
        let (indicator, labels) = (lines(|_| "1\n".into()), lines(|i| format!("{i}\n")));
        let files = [("A", "1, 2\n"), ("graph_indicator", &indicator), ("node_labels", &labels)];
        let message = read(&files).unwrap_err().to_string();
        assert!(
            message.ends_with("too many node labels: expected at most 4096 different ones, found 5000"),
            "{message}"
        );
    }
}
