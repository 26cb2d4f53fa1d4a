//! `eigenlet graphs`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::npy;
use super::progress::Bar;
use crate::backend::BackendName;
use crate::data::tu;
use crate::error::{Error, Result};
use crate::graph::GraphSet;
use crate::graph::families::Families;
use crate::run::compare::Figure;
use crate::run::graphs::{Answer, GraphRecipe, Question, answer};

/// What is generated where nothing is asked for; always the same graphs, so that seeds differ in training and folds alone.
const GENERATED: Families = Families { graphs: 100, nodes: [16, 60], seed: 1 };

#[derive(clap::Args)]
pub struct Graphs {
    /// A folder with a collection of graphs in the format of the TU benchmark, or `families`: generated graphs of four kinds
    data: PathBuf,
    /// Graphs of each kind, where they are generated [default: 100]
    #[arg(long, value_name = "N")]
    graphs: Option<usize>,
    /// Fewest and most nodes of a generated graph [default: 16,60]
    #[arg(long, value_name = "FEWEST,MOST", value_delimiter = ',')]
    nodes: Vec<usize>,
    /// How much more weight hard negatives get, 0: none; each a training [default: 1, or what `--set objective.beta` says]
    #[arg(long, value_name = "BETA,…", value_delimiter = ',', allow_negative_numbers = true)]
    beta: Vec<f64>,
    /// Train and measure with each of these seeds
    #[arg(long, value_name = "SEED,…", value_delimiter = ',', default_value = "1")]
    seeds: Vec<u64>,
    /// Instead of the defaults, for instance `--set train.epochs=20`; tables: network, objective, train, evaluate
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the representations go, .npy of float32 [graphs, values]; with one beta and one seed
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON, nothing else
    #[arg(long)]
    json: bool,
    /// What tensors are computed by
    #[arg(long, value_enum, default_value = "flex")]
    backend: BackendName,
}

impl Graphs {
    pub fn run(self) -> Result<()> {
        let recipe = GraphRecipe::with(&self.set)?;
        let betas = if self.beta.is_empty() { &[recipe.objective.beta][..] } else { &self.beta };
        if self.output.is_some() && betas.len() * self.seeds.len() != 1 {
            let found = format!("{} and {}", betas.len(), self.seeds.len());
            return Err(Error::input("--output", "which representations?", "one of --beta and one of --seeds", found));
        }
        let set = self.load()?;
        let question = Question { set: &set, recipe: &recipe, betas, seeds: &self.seeds };
        let answer =
            answer(&question, self.backend, &mut Bar::new(recipe.train.epochs)).map_err(|error| match error {
                Error::Interrupted(_) => Error::Interrupted("nothing is kept".into()),
                other => other,
            })?;
        if let Some(path) = &self.output {
            npy::write(path, answer.representations.view())?;
        }
        match self.json {
            true => self.print_json(&set, &recipe, &answer),
            false => self.print_table(&set, &recipe, &answer),
        }
        Ok(())
    }

    fn load(&self) -> Result<GraphSet> {
        if self.data == Path::new("families") {
            let nodes = match self.nodes[..] {
                [] => GENERATED.nodes,
                [fewest, most] => [fewest, most],
                _ => {
                    let found = format!("{:?}", self.nodes);
                    return Err(Error::input("--nodes", "not two numbers", "the fewest and the most", found));
                }
            };
            return Families { graphs: self.graphs.unwrap_or(GENERATED.graphs), nodes, ..GENERATED }.sample();
        }
        for (option, given) in [("--graphs", self.graphs.is_some()), ("--nodes", !self.nodes.is_empty())] {
            if given {
                let what = "graphs from files are as they are";
                return Err(Error::input(option, what, "families", self.data.display()));
            }
        }
        Ok(tu::load(&self.data, &tu::name_in(&self.data)?)?.0)
    }

    fn print_json(&self, set: &GraphSet, recipe: &GraphRecipe, answer: &Answer) {
        let object = json!({
            "data": self.data,
            "graphs": set.graphs.len(),
            "nodes": nodes(set),
            "features": set.columns(),
            "classes": classes(set),
            "seeds": self.seeds,
            "recipe": recipe,
            "rows": answer.rows,
        });
        say!("{object:#}");
    }

    fn print_table(&self, set: &GraphSet, recipe: &GraphRecipe, answer: &Answer) {
        let (graphs, nodes, columns) = (set.graphs.len(), nodes(set), set.columns());
        say!("{graphs} graphs of {nodes} nodes, {columns} features each, {} classes", classes(set));
        let folds = recipe.evaluate.folds;
        say!("accuracy of a linear probe, {folds}-fold cross-validation; seeds: {}", self.seeds.len());
        say!();
        say!("{:<22} {:>15} {:>12} {:>9}", "", "accuracy", "over folds", "loss");
        for row in &answer.rows {
            let loss = Figure::over(row.losses.iter().copied()).mean.map_or(String::new(), |loss| format!("{loss:.4}"));
            let over_folds = row.over_folds().map_or(String::new(), |deviation| format!("± {deviation:.3}"));
            let line = format!("{:<22} {:>15} {over_folds:>12} {loss:>9}", row.name, shown(&row.accuracy));
            say!("{}", line.trim_end());
        }
    }
}

/// `0.983`, `0.983 ± 0.004` over seeds, a dash where there are no classes.
fn shown(figure: &Figure) -> String {
    match (figure.mean, figure.deviation) {
        (None, _) => "–".into(),
        (Some(mean), Some(deviation)) => format!("{mean:.3} ± {deviation:.3}"),
        (Some(mean), None) => format!("{mean:.3}"),
    }
}

fn nodes(set: &GraphSet) -> usize {
    set.graphs.iter().map(|graph| graph.len()).sum()
}

fn classes(set: &GraphSet) -> usize {
    set.labels.iter().flatten().max().map_or(0, |&last| usize::from(last) + 1)
}
