//! `eigenlet spectrum`.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use super::npy;
use crate::backend::BackendName;
use crate::error::{Error, Result};
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

/// The kernels of [`KernelSpec`] that a Gram matrix says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    Rbf,
    Laplacian,
    Polynomial,
    Cosine,
    ArcCosine,
    Matrix,
}

impl Spectrum {
    pub fn run(self) -> Result<()> {
        let kernel = self.kernel()?;
        let samples = npy::read_rows(&self.data)?;
        let question = Question { samples, kernel, count: self.k, exact: self.exact, seed: self.seed };
        let answer = answer(&question, self.backend)?;
        let alignment = answer.exact.as_ref().map(|exact| exact.alignment(&answer.functions, ALIKE));
        match self.json {
            true => self.print_json(&answer, alignment),
            false => print_table(&answer, alignment),
        }
        Ok(())
    }

    /// The kernel that the options say: each of them is needed by some kernels and foreign to the others.
    fn kernel(&self) -> Result<KernelSpec> {
        let name = self.kernel.to_possible_value().expect("every kernel has a name");
        let name = name.get_name();
        let takes: &[&str] = match self.kernel {
            Name::Rbf | Name::Laplacian => &["--length"],
            Name::Polynomial => &["--degree", "--offset"],
            Name::ArcCosine => &["--degree"],
            Name::Matrix => &["--gram"],
            Name::Cosine => &[],
        };
        let given = [
            ("--length", self.length.is_some()),
            ("--degree", self.degree.is_some()),
            ("--offset", self.offset.is_some()),
            ("--gram", self.gram.is_some()),
        ];
        for (option, given) in given {
            if given && !takes.contains(&option) {
                let what = format!("--kernel {name} has no such option");
                return Err(Error::input(option, what, format!("{takes:?}"), option));
            }
        }
        let missing = |option: &str| Error::input(option, format!("--kernel {name} needs it"), "a value", "none");
        Ok(match self.kernel {
            Name::Rbf => KernelSpec::Rbf { length: self.length.ok_or_else(|| missing("--length"))? },
            Name::Laplacian => KernelSpec::Laplacian { length: self.length.ok_or_else(|| missing("--length"))? },
            Name::Polynomial => KernelSpec::Polynomial {
                degree: self.degree.ok_or_else(|| missing("--degree"))?,
                offset: self.offset.unwrap_or(0.0),
            },
            Name::Cosine => KernelSpec::Cosine {},
            Name::ArcCosine => KernelSpec::ArcCosine { degree: self.degree.ok_or_else(|| missing("--degree"))? },
            Name::Matrix => KernelSpec::Matrix { file: self.gram.clone().ok_or_else(|| missing("--gram"))? },
        })
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
