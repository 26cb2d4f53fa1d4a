//! `eigenlet spectrum`.

use std::path::PathBuf;

use clap::ValueEnum;
use ndarray::Array2;
use serde_json::json;

use super::npy;
use crate::backend::BackendName;
use crate::cache;
use crate::data::edges;
use crate::error::{Error, Result};
use crate::graph::nearest::Nearest;
use crate::graph::{Graph, Options, Survey};
use crate::kernel::KernelSpec;
use crate::run::spectrum::{Answer, Question, answer};

#[derive(clap::Args)]
pub struct Spectrum {
    /// Samples, one a row: .npy of float64, float32 or uint8
    data: PathBuf,
    /// What two samples have in common
    #[arg(long, value_enum)]
    kernel: Name,
    /// Width of `rbf` and `laplacian`
    #[arg(long, value_name = "L")]
    length: Option<f64>,
    /// Power of `polynomial` and `arc-cosine`
    #[arg(long, value_name = "D")]
    degree: Option<u32>,
    /// What `polynomial` adds to the inner product [default: 0]
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    offset: Option<f64>,
    /// The table of `matrix`: .npy of floats [n, n]
    #[arg(long, value_name = "FILE")]
    gram: Option<PathBuf>,
    /// Nearest neighbours of each sample that `neighbours` joins it with [default: 10]
    #[arg(long, value_name = "N")]
    neighbours: Option<usize>,
    /// The edges of `graph`, between samples numbered from 0: two numbers a line, perhaps a weight; or .npy [edges, 2]
    #[arg(long, value_name = "FILE")]
    edges: Option<PathBuf>,
    /// Functions
    #[arg(long, value_name = "K", default_value_t = 5)]
    k: usize,
    /// Compute the exact ones, too, and compare
    #[arg(long)]
    exact: bool,
    /// Print JSON, nothing else
    #[arg(long)]
    json: bool,
    /// Of the network and the batches
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What tensors are computed by
    #[arg(long, value_enum, default_value = "flex")]
    backend: BackendName,
}

/// The kernels of [`KernelSpec`] that a Gram matrix says, and those of graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    Rbf,
    Laplacian,
    #[value(alias = "poly")]
    Polynomial,
    Cosine,
    ArcCosine,
    #[value(aliases = ["gram", "precomputed"])]
    Matrix,
    #[value(aliases = ["neighbors", "knn"])]
    Neighbours,
    #[value(alias = "adjacency")]
    Graph,
}

impl Spectrum {
    pub fn run(self) -> Result<()> {
        self.check_options()?;
        let samples = npy::read_rows(&self.data)?;
        let question = Question { exact: self.exact, seed: self.seed, ..self.question(samples)? };
        let answer = answer(&question, self.backend)?;
        let alignment = answer.exact.as_ref().map(|exact| exact.alignment(&answer.functions, ALIKE));
        match self.json {
            true => self.print_json(&answer, alignment),
            false => print_table(&answer, alignment),
        }
        Ok(())
    }

    /// Each option is for some kernels and foreign to the others.
    fn check_options(&self) -> Result<()> {
        let name = self.kernel.to_possible_value().expect("every kernel has a name");
        let takes: &[&str] = match self.kernel {
            Name::Rbf | Name::Laplacian => &["--length"],
            Name::Polynomial => &["--degree", "--offset"],
            Name::ArcCosine => &["--degree"],
            Name::Matrix => &["--gram"],
            Name::Neighbours => &["--neighbours"],
            Name::Graph => &["--edges"],
            Name::Cosine => &[],
        };
        let given = [
            ("--length", self.length.is_some()),
            ("--degree", self.degree.is_some()),
            ("--offset", self.offset.is_some()),
            ("--gram", self.gram.is_some()),
            ("--neighbours", self.neighbours.is_some()),
            ("--edges", self.edges.is_some()),
        ];
        for (option, given) in given {
            if given && !takes.contains(&option) {
                let what = format!("--kernel {} has no such option", name.get_name());
                return Err(Error::input(option, what, format!("{takes:?}"), option));
            }
        }
        Ok(())
    }

    /// The error for an option that a kernel needs.
    fn missing(&self, option: &str) -> Error {
        let name = self.kernel.to_possible_value().expect("every kernel has a name");
        Error::input(option, format!("--kernel {} needs it", name.get_name()), "a value", "none")
    }

    fn question(&self, samples: Array2<f32>) -> Result<Question> {
        let needed = |option: &str, value: Option<f64>| value.ok_or_else(|| self.missing(option));
        let degree = || self.degree.ok_or_else(|| self.missing("--degree"));
        let spec = match self.kernel {
            Name::Rbf => KernelSpec::Rbf { length: needed("--length", self.length)? },
            Name::Laplacian => KernelSpec::Laplacian { length: needed("--length", self.length)? },
            Name::Polynomial => KernelSpec::Polynomial { degree: degree()?, offset: self.offset.unwrap_or(0.0) },
            Name::ArcCosine => KernelSpec::ArcCosine { degree: degree()? },
            Name::Cosine => KernelSpec::Cosine {},
            Name::Matrix => KernelSpec::Matrix { file: self.gram.clone().ok_or_else(|| self.missing("--gram"))? },
            Name::Neighbours => return self.on_graph(self.neighbours(&samples)?, samples),
            Name::Graph => return self.on_graph(self.graph(samples.nrows())?, samples),
        };
        spec.check("--kernel")?;
        Ok(Question::new(samples, spec.load()?.expect("a kernel with a Gram matrix"), self.k))
    }

    fn on_graph(&self, (graph, survey): (Graph, Survey), samples: Array2<f32>) -> Result<Question> {
        if !self.json {
            say!("the graph: {survey}");
        }
        Ok(Question::of_graph(samples, graph, self.k))
    }

    fn neighbours(&self, samples: &Array2<f32>) -> Result<(Graph, Survey)> {
        let (neighbours, others) = (self.neighbours.unwrap_or(NEIGHBOURS), samples.nrows().saturating_sub(1));
        if !(1..=others).contains(&neighbours) {
            let expected = format!("1 to {others}, below the number of samples");
            return Err(Error::input("--neighbours", "no such neighbours", expected, neighbours));
        }
        Nearest::of(&samples.view(), neighbours, cache::folder().as_deref())?.affinities()
    }

    fn graph(&self, nodes: usize) -> Result<(Graph, Survey)> {
        let file = self.edges.as_ref().ok_or_else(|| self.missing("--edges"))?;
        Graph::new(&file.display().to_string(), nodes, &edges::edges(file, Some(nodes))?, Options::default())
    }

    fn print_json(&self, answer: &Answer, alignment: Option<Vec<f64>>) {
        let mut object = json!({
            "samples": answer.functions.nrows(),
            "seed": self.seed,
            "learned": answer.learned,
        });
        if let (Some(exact), Some(alignment)) = (&answer.exact, alignment) {
            object["exact"] = json!(exact.eigenvalues);
            object["alignment"] = json!(alignment);
            object["least"] = json!(exact.least);
        }
        say!("{object:#}");
    }
}

/// Neighbours of each sample, where no option says.
const NEIGHBOURS: usize = 10;
/// Exact eigenvalues this near to each other (relative) count as one: their functions are any basis of their span.
const ALIKE: f64 = 1e-3;
/// A least eigenvalue below this part of the largest, negative, is no rounding.
const ROUNDING: f64 = 1e-9;

fn print_table(answer: &Answer, alignment: Option<Vec<f64>>) {
    match (&answer.exact, alignment) {
        (Some(exact), Some(alignment)) => {
            say!("      learned        exact    |cos|");
            for (j, (learned, exact)) in answer.learned.iter().zip(&exact.eigenvalues).enumerate() {
                say!("{:>3}  {learned:>12.6} {exact:>12.6}   {:.4}", j + 1, alignment[j]);
            }
            let largest = exact.eigenvalues.first().copied().unwrap_or(0.0).abs();
            if exact.least < -ROUNDING * largest {
                say!(
                    "the kernel is not positive: its least eigenvalue is {:.6}; eigenvalues below 0 are never learned",
                    exact.least
                );
            }
        }
        _ => {
            say!("      learned");
            for (j, learned) in answer.learned.iter().enumerate() {
                say!("{:>3}  {learned:>12.6}", j + 1);
            }
        }
    }
}
