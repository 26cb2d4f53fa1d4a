//! The command line: one file a command, thin.

/// Prints a line on stdout. Whoever reads it may stop reading (`eigenlet inspect … | head -1`): that is no error.
macro_rules! say {
    () => { $crate::cli::print_line(format_args!("")) };
    ($($text:tt)*) => { $crate::cli::print_line(format_args!($($text)*)) };
}

mod cluster;
mod compare;
mod demo;
mod eval;
mod export;
mod graphs;
mod infer;
mod inspect;
mod model_file;
mod npy;
mod progress;
mod search;
mod spectrum;
mod summary;
mod train;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::backend::BackendName;

/// Self-supervised encoders that fit a microcontroller.
#[derive(Parser)]
#[command(name = "eigenlet", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train, order, quantise and verify an encoder of handwritten digits, and write a report: the main job, on shipped data
    Demo(demo::Demo),
    /// Train a recipe, then order, quantise, measure and export it
    Train(train::Train),
    /// Measure a finished run again, float and int8
    Eval(eval::Eval),
    /// Train or load several runs and put them into one table
    Compare(compare::Compare),
    /// Spectral clustering of samples, with a model that assigns new ones
    Cluster(cluster::Cluster),
    /// Learn a kernel's eigenfunctions on some samples, and compare them with the exact ones
    Spectrum(spectrum::Spectrum),
    /// Learn representations of whole graphs, with hard negatives, and measure them by cross-validation
    Graphs(graphs::Graphs),
    /// Export a finished run with other dimensions or bits
    Export(export::Export),
    /// What is in a model, and what it costs on a chip
    Inspect(inspect::Inspect),
    /// Run a model's golden vectors through the runtime
    Verify(verify::Verify),
    /// Int8 embeddings of samples
    Embed(infer::Embed),
    /// Hash codes of samples, packed
    Hash(infer::Hash),
    /// Clusters of samples
    Assign(infer::Assign),
    /// Nearest codes by Hamming distance
    Search(search::Search),
}

/// Options of everything that touches training data.
#[derive(Args)]
struct DataArgs {
    /// Where known data sets lie [default: the environment variable EIGENLET_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What tensors are computed by
    #[arg(long, value_enum, default_value = "flex")]
    backend: BackendName,
}

/// Parses the command line, does what it says, and gives the exit status: 0 done, 1 a check failed, 2 bad usage or input.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return usage(&error),
    };
    let result = match command {
        Command::Demo(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Cluster(command) => command.run(),
        Command::Spectrum(command) => command.run(),
        Command::Graphs(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Embed(command) => command.run(),
        Command::Hash(command) => command.run(),
        Command::Assign(command) => command.run(),
        Command::Search(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eigenlet: {}", error.to_string().replace('\n', " "));
            ExitCode::from(error.exit_status())
        }
    }
}

/// Help and version as clap prints them; wrong usage on one line, as any other wrong input.
fn usage(error: &clap::Error) -> ExitCode {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion) {
        error.exit();
    }
    let text = error.to_string();
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraphs: Vec<String> = text.trim_start_matches("error:").trim().split("\n\n").map(words).collect();
    eprintln!("eigenlet: {}", paragraphs.join("; "));
    ExitCode::from(2)
}

fn print_line(text: std::fmt::Arguments) {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("eigenlet: stdout: cannot write: {error}");
            std::process::exit(2);
        }
        _ => {}
    }
}
