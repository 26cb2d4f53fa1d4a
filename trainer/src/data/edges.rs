//! A graph from a list of edges, and features and labels of its nodes from files of their own: text or `.npy`, gzipped
//! or not.
//!
//! Nodes are numbered from 0. Which file is which:
//!
//! * edges: a line for each edge with the numbers of its two nodes and perhaps its weight; or whole numbers `[edges,
//!   2]` as `.npy`;
//! * features: a line for each node; or numbers `[nodes, columns]` as `.npy`;
//! * labels: a line for each node with a whole number, -1 where the class is unknown; or whole numbers `[nodes]` as
//!   `.npy`.
//!
//! Fields are apart by commas, or else by blanks or tabs. Lines that begin with `#` or `%` say nothing; the first of the
//! others may be a header, without a number in it.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Ix1, Ix2};

use super::nodes::{Features, NodeSet, Part};
use super::npy::{self, is_npy};
use super::text::{Line, Text};
use crate::error::{Error, Result};
use crate::graph::{Edges, Graph, Options};

/// Where only the edges say how many nodes there are, so many nodes for each edge are believed, and in any case
/// [`BELIEVED_NODES`].
const NODES_PER_EDGE: usize = 100;
const BELIEVED_NODES: usize = 1_000_000;

/// The files of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphFiles {
    /// The edges.
    pub edges: PathBuf,
    /// Features of the nodes; without them there is no column.
    pub features: Option<PathBuf>,
    /// Classes of the nodes.
    pub labels: Option<PathBuf>,
    /// Whether edges from a node to itself stay.
    pub keep_self_loops: bool,
}

/// Reads a graph. It has as many nodes as the features have rows; else as there are labels; else as the edges name. All
/// nodes belong to [`Part::Rest`].
///
/// # Errors
/// A missing or damaged file; files that do not fit together; edges that are no graph (see [`Graph::new`]).
pub fn load(files: &GraphFiles) -> Result<NodeSet> {
    let features = files.features.as_deref().map(features).transpose()?;
    let labels = files.labels.as_deref().map(labels).transpose()?;
    let stated = features.as_ref().map(Array2::nrows).or(labels.as_ref().map(Vec::len));
    let edges = edges(&files.edges, stated)?;
    let place = files.edges.display().to_string();
    let nodes = match stated {
        Some(nodes) => nodes,
        None => believed(&place, &edges)?,
    };
    let graph = Graph::new(&place, nodes, &edges, Options { keep_self_loops: files.keep_self_loops })?;
    let features = Features::Dense(features.unwrap_or_else(|| Array2::zeros((nodes, 0))));
    let labels_place = files.labels.as_ref().map_or(place, |path| path.display().to_string());
    let labels = labels.unwrap_or_else(|| vec![None; nodes]);
    NodeSet::new(&labels_place, graph, features, labels, vec![Part::Rest; nodes])
}

/// The number of nodes that edges name, unless a single number far off would make it fill the memory.
fn believed(place: &str, edges: &Edges) -> Result<usize> {
    let most = BELIEVED_NODES.max(edges.ends.len().saturating_mul(NODES_PER_EDGE));
    match edges.nodes() {
        nodes if nodes <= most => Ok(nodes),
        nodes => {
            let expected = format!("below {most} for {} edges, unless features or labels tell", edges.ends.len());
            Err(Error::input(place, "high numbers of nodes", expected, nodes - 1))
        }
    }
}

/// Reads edges; those between the first `nodes` nodes, where it is known how many there are.
///
/// # Errors
/// The file cannot be read or is damaged; a line that is no edge; lines with and without weight; a node that there is
/// not; a weight that is negative or no number.
pub fn edges(path: &Path, nodes: Option<usize>) -> Result<Edges> {
    if is_npy(path) {
        return edges_from_npy(path, nodes);
    }
    let text = Text::read(path)?;
    let mut ends = Vec::new();
    let mut weights = Vec::new();
    for line in text.records() {
        let mut fields = line.fields();
        let pair = [parse_node(&line, &mut fields, nodes)?, parse_node(&line, &mut fields, nodes)?];
        match fields.next() {
            Some(weight) if weights.len() == ends.len() => weights.push(parse_weight(&line, weight)?),
            None if weights.is_empty() => {}
            Some(weight) => return Err(line.error("a weight", "none, as above", weight)),
            None => return Err(line.error("no weight", "one, as above", "the end of the line")),
        }
        line.end(fields)?;
        ends.push(pair);
    }
    Ok(Edges { weights: (!weights.is_empty()).then_some(weights), ends })
}

fn parse_node<'a>(line: &Line<'a>, fields: &mut impl Iterator<Item = &'a str>, nodes: Option<usize>) -> Result<u32> {
    let node: u32 = line.parse(fields, "the number of a node")?;
    match nodes {
        Some(nodes) if node as usize >= nodes => {
            Err(line.error("no such node", format!("a number below {nodes}"), node))
        }
        _ => Ok(node),
    }
}

fn parse_weight<'a>(line: &Line<'a>, field: &'a str) -> Result<f32> {
    let expected = "a weight of 0 or more";
    let weight: f32 = line.parse(&mut std::iter::once(field), expected)?;
    match weight.is_finite() && weight >= 0.0 {
        true => Ok(weight),
        false => Err(line.error("wrong weight", expected, field)),
    }
}

fn edges_from_npy(path: &Path, nodes: Option<usize>) -> Result<Edges> {
    let array = npy::integers(path)?;
    let &[_, 2] = array.shape() else {
        return Err(wrong_dimensions(path, "[edges, 2]", array.shape()));
    };
    let array = array.into_dimensionality::<Ix2>().expect("there are two dimensions");
    let number = |edge: usize, node: i64| match u32::try_from(node) {
        Ok(number) if nodes.is_none_or(|nodes| (number as usize) < nodes) => Ok(number),
        _ => {
            let expected =
                nodes.map_or("a number from 0 on".into(), |nodes| format!("a number from 0 to below {nodes}"));
            Err(Error::input(path.display(), format!("no such node in edge {edge}"), expected, node))
        }
    };
    let ends =
        array.rows().into_iter().enumerate().map(|(edge, row)| Ok([number(edge, row[0])?, number(edge, row[1])?]));
    Ok(Edges::new(ends.collect::<Result<_>>()?))
}

/// Reads features `[nodes, columns]`.
///
/// # Errors
/// The file cannot be read or is damaged; a value that is no finite number; lines of different lengths; no line.
pub fn features(path: &Path) -> Result<Array2<f32>> {
    let features = if is_npy(path) {
        let array = npy::floats(path)?;
        let shape = array.shape().to_vec();
        array.into_dimensionality::<Ix2>().map_err(|_| wrong_dimensions(path, "[nodes, columns]", &shape))?
    } else {
        Text::read(path)?.numbers()?
    };
    if features.is_empty() {
        return Err(wrong_dimensions(path, "[nodes, columns], none of them 0", features.shape()));
    }
    match features.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(features),
        Some(((node, column), value)) => {
            let what = format!("the feature of node {node} in column {column}");
            Err(Error::input(path.display(), what, "a finite number", value))
        }
    }
}

/// Reads the class of each node, where it is known.
///
/// # Errors
/// The file cannot be read or is damaged; a label outside -1 to 65535; no label.
pub fn labels(path: &Path) -> Result<Vec<Option<u16>>> {
    const EXPECTED: &str = "a whole number from 0 to 65535, or -1";
    let label = |label: i64| match label {
        -1 => Some(None),
        _ => u16::try_from(label).ok().map(Some),
    };
    let labels: Vec<Option<u16>> = if is_npy(path) {
        let array = npy::integers(path)?;
        let shape = array.shape().to_vec();
        let array = array.into_dimensionality::<Ix1>().map_err(|_| wrong_dimensions(path, "[nodes]", &shape))?;
        let wrong = |node, found| Error::input(path.display(), format!("wrong label of node {node}"), EXPECTED, found);
        array
            .iter()
            .enumerate()
            .map(|(node, &found)| label(found).ok_or_else(|| wrong(node, found)))
            .collect::<Result<_>>()?
    } else {
        let text = Text::read(path)?;
        let parse = |line: Line| {
            let mut fields = line.fields();
            let found = line.parse(&mut fields, EXPECTED)?;
            line.end(fields)?;
            label(found).ok_or_else(|| line.error("wrong label", EXPECTED, found))
        };
        text.records().map(parse).collect::<Result<_>>()?
    };
    match labels.is_empty() {
        false => Ok(labels),
        true => Err(Error::input(path.display(), "no labels", "one for each node", "none")),
    }
}

fn wrong_dimensions(path: &Path, expected: &str, found: &[usize]) -> Error {
    Error::input(path.display(), "wrong dimensions", expected, format!("{found:?}"))
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, arr2};
    use ndarray_npy::write_npy;

    use super::super::gzip::testing::gzip;
    use super::*;

    fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn read_edges(content: impl AsRef<[u8]>, nodes: Option<usize>) -> Result<Edges> {
        let folder = tempfile::tempdir().unwrap();
        edges(&write(folder.path(), "edges.csv", content), nodes)
    }

    fn message<T>(result: Result<T>) -> String {
        let error = result.err().expect("the files are wrong");
        assert_eq!(error.exit_status(), 2);
        let message = error.to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    #[test]
    fn all_ways_to_write_edges_say_the_same() {
        let expected = Edges::new(vec![[0, 1], [2, 0]]);
        for content in
            ["0,1\n2,0", "0 1\r\n2 0\r\n", "# comment\n0\t1\n\n% comment\n2\t0\n", "source,target\n0, 1\n2, 0\n"]
        {
            assert_eq!(read_edges(content, None).unwrap(), expected);
            assert_eq!(read_edges(gzip(content.as_bytes()), Some(3)).unwrap(), expected);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edges.npy");
        write_npy(&path, &arr2(&[[0_i64, 1], [2, 0]])).unwrap();
        assert_eq!(edges(&path, Some(3)).unwrap(), expected);
        let weighted = Edges { weights: Some(vec![0.5, 2.0]), ..expected };
        assert_eq!(read_edges("u v w\n0 1 0.5\n2 0 2e0", None).unwrap(), weighted);
        assert_eq!(read_edges("", None).unwrap(), Edges::default());
    }

    #[test]
    fn lines_that_are_no_edge_are_refused_by_number() {
        let refused = |line: &str| {
            let message = message(read_edges(format!("# comment\n0 1 1\n{line}\n"), Some(9)));
            assert!(message.contains("edges.csv:3: "), "{message}");
            message
        };
        assert!(refused("0 9 1").ends_with("no such node: expected a number below 9, found 9"));
        assert!(refused("0 -1 1").ends_with("expected the number of a node, found \"-1\""));
        assert!(refused("0 5000000000 1").ends_with("found \"5000000000\""));
        assert!(refused("0").ends_with("expected the number of a node, found the end of the line"));
        assert!(refused("0 1").ends_with("no weight: expected one, as above, found the end of the line"));
        assert!(refused("0 1 -1").ends_with("wrong weight: expected a weight of 0 or more, found -1"));
        assert!(refused("0 1 nan").ends_with("found nan"));
        assert!(refused("0 1 x").ends_with("expected a weight of 0 or more, found \"x\""));
        assert!(refused("0 1 1 1").ends_with("too many fields: expected the end of the line, found \"1\""));
        assert!(message(read_edges("0 1\n1 2 3", None)).ends_with("a weight: expected none, as above, found 3"));
    }

    #[test]
    fn arrays_that_are_no_edges_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edges.npy");
        write_npy(&path, &arr2(&[[0_i32, 1, 2]])).unwrap();
        assert!(message(edges(&path, None)).ends_with("wrong dimensions: expected [edges, 2], found [1, 3]"));
        write_npy(&path, &arr2(&[[0_i32, 1], [2, -1]])).unwrap();
        assert!(message(edges(&path, None)).ends_with("no such node in edge 1: expected a number from 0 on, found -1"));
        assert!(message(edges(&path, Some(2))).ends_with("expected a number from 0 to below 2, found 2"));
    }

    #[test]
    fn features_and_labels_read_alike_from_text_and_arrays() {
        let folder = tempfile::tempdir().unwrap();
        let text = write(folder.path(), "features.csv", "a,b\n1,2.5\n-3,4e1\n");
        let array = folder.path().join("features.npy");
        write_npy(&array, &arr2(&[[1.0_f64, 2.5], [-3.0, 40.0]])).unwrap();
        assert_eq!(features(&text).unwrap(), arr2(&[[1.0, 2.5], [-3.0, 40.0]]));
        assert_eq!(features(&array).unwrap(), features(&text).unwrap());
        let text = write(folder.path(), "labels.csv", "label\n3\n-1\n0\n");
        let array = folder.path().join("labels.npy");
        write_npy(&array, &arr1(&[3_i32, -1, 0])).unwrap();
        assert_eq!(labels(&text).unwrap(), [Some(3), None, Some(0)]);
        assert_eq!(labels(&array).unwrap(), labels(&text).unwrap());
    }

    #[test]
    fn values_that_are_no_features_or_labels_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let of = |content: &str| write(folder.path(), "values.csv", content);
        let refused = |content: &str| message(features(&of(content)));
        assert!(refused("1,2\n3\n").ends_with("values.csv:2: wrong number of fields: expected 2, as above, found 1"));
        assert!(refused("1,2\n3,\n").ends_with("values.csv:2: wrong value: expected a number, found \"\""));
        assert!(refused("1,2\n3,inf\n").ends_with("values.csv:2: wrong value: expected a finite number, found inf"));
        assert!(refused("a,b\n").ends_with("expected [nodes, columns], none of them 0, found [0, 0]"));
        let refused = |content: &str| message(labels(&of(content)));
        assert!(
            refused("1\n-2")
                .ends_with("values.csv:2: wrong label: expected a whole number from 0 to 65535, or -1, found -2")
        );
        assert!(refused("1\n1.5").contains("values.csv:2: wrong value"));
        assert!(refused("1 2").contains("too many fields"));
        assert!(refused("").ends_with("no labels: expected one for each node, found none"));
        let path = folder.path().join("values.npy");
        write_npy(&path, &arr1(&[1_i64, 65_536])).unwrap();
        assert!(message(labels(&path)).contains("wrong label of node 1: expected a whole number"));
        assert!(message(features(&path)).contains("wrong type of values"));
        write_npy(&path, &arr2(&[[1.0_f32, 2.0], [0.0, f32::NAN]])).unwrap();
        let expected = "the feature of node 1 in column 1: expected a finite number, found NaN";
        assert!(message(features(&path)).ends_with(expected));
    }

    #[test]
    fn features_or_else_labels_or_else_edges_say_how_many_nodes_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = GraphFiles { edges: write(folder.path(), "edges", "0 1\n1 1\n3 1\n"), ..GraphFiles::default() };
        let set = load(&files).unwrap();
        assert_eq!((set.graph.len(), set.features.columns(), set.classes), (4, 0, 0));
        assert_eq!((set.survey.self_loops, set.survey.isolated, set.graph.degree(1)), (1, 1, 2.0));
        files.keep_self_loops = true;
        assert_eq!(load(&files).unwrap().graph.degree(1), 3.0);
        files.labels = Some(write(folder.path(), "labels", "1\n0\n-1\n1\n-1\n"));
        let set = load(&files).unwrap();
        assert_eq!((set.graph.len(), set.classes, set.labels[2]), (5, 2, None));
        files.features = Some(write(folder.path(), "features", "1\n2\n3\n4\n"));
        assert!(
            message(load(&files)).ends_with("labels: wrong number of labels: expected 4, one for each node, found 5")
        );
        files.labels = None;
        assert_eq!(load(&files).unwrap().features.gather(&[3, 1]), [4.0, 2.0]);
        files.features = Some(write(folder.path(), "features", "1\n2\n3\n"));
        assert!(message(load(&files)).ends_with("edges:3: no such node: expected a number below 3, found 3"));
    }

    #[test]
    fn a_single_high_number_does_not_fill_the_memory() {
        let folder = tempfile::tempdir().unwrap();
        let files = GraphFiles { edges: write(folder.path(), "edges", "0 1\n0 2000000000\n"), ..GraphFiles::default() };
        let found = message(load(&files));
        let expected = "expected below 1000000 for 2 edges, unless features or labels tell, found 2000000000";
        assert!(found.ends_with(expected), "{found}");
    }
}
