//! Encoders of whole graphs, trained without labels and measured by cross-validation, beside what needs no training.
//!
//! Graphs have no shape in common, so that neither views nor the blob's layers apply to them: this is a road of its own beside a
//! run of a recipe, which keeps no folder. It is short, and the same seed takes it the same way.

mod training;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::backend::{self, BackendName, Work};
use crate::error::{Error, Result};
use crate::evaluate::{cross_validated, stratified_folds};
use crate::graph::GraphSet;
use crate::graph::set::degree_histogram;
use crate::network::{GinSpec, Trainable};
use crate::objective::graph_contrast::{GraphContrast, GraphContrastSpec};
use crate::recipe::settled;
use crate::run::Progress;
use crate::run::compare::Figure;
use crate::train::TrainSpec;
use crate::train::optimizer::OptimizerSpec;

/// The number of neighbours from which on a degree histogram does not tell more.
const MOST_NEIGHBOURS: usize = 63;

/// How an encoder is trained and measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphRecipe {
    /// The encoder.
    pub network: GinSpec,
    /// What it is trained for.
    pub objective: GraphContrastSpec,
    /// How. A batch is one of graphs.
    pub train: TrainSpec,
    /// What is measured.
    pub evaluate: FoldsSpec,
}

/// A recipe's `[evaluate]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldsSpec {
    /// Folds of the cross-validation, at least 2.
    pub folds: usize,
}

impl Default for GraphRecipe {
    /// The network and the optimiser of Robinson et al., with smaller batches for smaller sets, and a rate that falls.
    fn default() -> Self {
        let optimizer = OptimizerSpec::Adam { rate: 1e-3, weight_decay: 0.0 };
        Self {
            network: GinSpec::default(),
            objective: GraphContrastSpec::default(),
            train: TrainSpec { epochs: 30, batch: 32, warmup: 0, final_rate: 1e-2, optimizer },
            evaluate: FoldsSpec { folds: 10 },
        }
    }
}

impl GraphRecipe {
    /// The default with `settings`, `key=value` with dotted keys.
    ///
    /// # Errors
    /// A setting that is none, an unknown key, a value out of its range.
    pub fn with(settings: &[String]) -> Result<Self> {
        let text = toml::to_string(&Self::default()).expect("a recipe is TOML");
        let recipe: Self = settled("graphs", &text, settings)?;
        recipe.network.check()?;
        recipe.objective.check()?;
        recipe.train.check()?;
        Ok(recipe)
    }
}

/// What is asked for.
pub struct Question<'a> {
    /// The graphs.
    pub set: &'a GraphSet,
    /// The settings, but for `beta`.
    pub recipe: &'a GraphRecipe,
    /// Each `beta` that is trained with.
    pub betas: &'a [f64],
    /// The seeds, each of a network, its batches and the folds.
    pub seeds: &'a [u64],
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The baselines, then one row for each `beta`.
    pub rows: Vec<Row>,
    /// Representations by the last encoder trained, in the order of the set, `[graphs, layers * units]`.
    pub representations: Array2<f32>,
}

/// Representations of one kind, and how well a linear probe of them does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What they are.
    pub name: String,
    /// What they were trained with, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Mean accuracy over the folds, a fraction in `[0, 1]`, for each seed; no values where graphs have no classes.
    pub accuracy: Figure,
    /// The accuracy on each fold, for each seed.
    pub folds: Vec<Vec<f64>>,
    /// The last epoch's loss, for each seed, where they were trained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<f64>,
}

impl Row {
    /// The sample standard deviation of the accuracy over folds, the mean over seeds.
    pub fn over_folds(&self) -> Option<f64> {
        let deviations = self.folds.iter().map(|folds| Figure::over(folds.iter().copied()).deviation);
        Figure::over(deviations).mean
    }

    fn new(name: impl Into<String>, folds: Vec<Vec<f64>>) -> Self {
        let mean = |folds: &Vec<f64>| folds.iter().sum::<f64>() / folds.len() as f64;
        Self {
            name: name.into(),
            beta: None,
            accuracy: Figure::over(folds.iter().map(mean)),
            folds,
            losses: Vec::new(),
        }
    }
}

/// Trains and measures.
///
/// # Errors
/// A set without graphs, or with a graph that has no nodes; a setting that does not fit it; training that diverges or is
/// interrupted.
pub fn answer(question: &Question, backend: BackendName, progress: &mut dyn Progress) -> Result<Answer> {
    let Question { set, recipe, betas, seeds } = question;
    if betas.is_empty() || seeds.is_empty() {
        let what = "nothing to train";
        return Err(Error::input("graphs", what, "a beta and a seed", format!("{betas:?} and {seeds:?}")));
    }
    if let Some(graph) = set.graphs.iter().position(|graph| graph.is_empty()) {
        return Err(Error::input("graphs", format!("graph {graph} is empty"), "at least one node", 0));
    }
    let graphs = set.graphs.len();
    for &beta in *betas {
        GraphContrastSpec { beta, ..recipe.objective.clone() }.check()?;
    }
    recipe.objective.fits(graphs, recipe.train.batch)?;
    if !(2..=graphs).contains(&recipe.evaluate.folds) {
        let expected = format!("2 to {graphs}, the number of graphs");
        return Err(Error::input("evaluate.folds", "impossible value", expected, recipe.evaluate.folds));
    }
    backend::check(backend)?;
    backend::on(backend, Train { question, progress })
}

struct Train<'a> {
    question: &'a Question<'a>,
    progress: &'a mut dyn Progress,
}

impl Work for Train<'_> {
    type Output = Answer;

    fn run<B: Trainable>(self, device: &B::Device) -> Result<Answer> {
        let Self { question: &Question { set, recipe, betas, seeds }, progress } = self;
        let probe = |features: &Array2<f32>, seed: u64| {
            set.labels.as_ref().map(|labels| {
                let folds = stratified_folds(labels, recipe.evaluate.folds, seed);
                cross_validated(&features.view(), labels, &folds, recipe.evaluate.folds)
            })
        };
        let of_all = |features: &Array2<f32>| seeds.iter().filter_map(|&seed| probe(features, seed)).collect();
        let fresh = |seed: u64| GraphContrast::<B>::new(&recipe.network, set.columns(), seed, device);

        let mut rows = vec![
            Row::new("degree histogram", of_all(&degree_histograms(set))),
            Row::new("sum of node features", of_all(&feature_sums(set))),
        ];
        let untrained = |&seed: &u64| {
            let encoder = burn::module::AutodiffModule::valid(&fresh(seed).encoder);
            probe(&training::represent::<B>(&encoder, set, device), seed)
        };
        rows.push(Row::new("untrained", seeds.iter().filter_map(untrained).collect()));

        let mut representations = Array2::zeros((0, 0));
        for &beta in betas {
            let objective = GraphContrastSpec { beta, ..recipe.objective.clone() };
            let recipe = GraphRecipe { objective, ..recipe.clone() };
            let (mut folds, mut losses) = (Vec::new(), Vec::new());
            for &seed in seeds {
                progress.stage(&format!("beta {beta}, seed {seed}"));
                let (model, loss) = training::fit(fresh(seed), set, &recipe, seed, device, progress)?;
                let encoder = burn::module::AutodiffModule::valid(&model.encoder);
                representations = training::represent::<B>(&encoder, set, device);
                folds.extend(probe(&representations, seed));
                losses.push(loss);
            }
            rows.push(Row { beta: Some(beta), losses, ..Row::new(format!("beta = {beta}"), folds) });
        }
        Ok(Answer { rows, representations })
    }
}

/// Of each graph, `[graphs, 65]`.
fn degree_histograms(set: &GraphSet) -> Array2<f32> {
    let rows = set.graphs.iter().flat_map(|graph| degree_histogram(graph, MOST_NEIGHBOURS)).collect();
    Array2::from_shape_vec((set.graphs.len(), MOST_NEIGHBOURS + 2), rows).expect("one row for each graph")
}

/// Of each graph, `[graphs, columns]`: an encoder without layers.
fn feature_sums(set: &GraphSet) -> Array2<f32> {
    let rows = set.features.iter().flat_map(|features| features.sum_axis(ndarray::Axis(0))).collect();
    Array2::from_shape_vec((set.graphs.len(), set.columns()), rows).expect("one row for each graph")
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::graph::families::Families;
    use crate::run::Silent;

    fn families(graphs: usize) -> GraphSet {
        Families { graphs, nodes: [16, 40], seed: 1 }.sample().unwrap()
    }

    fn recipe(settings: &[&str]) -> Result<GraphRecipe> {
        GraphRecipe::with(&settings.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn asked(set: &GraphSet, settings: &[&str], betas: &[f64], seeds: &[u64]) -> Result<Answer> {
        let recipe = recipe(settings)?;
        answer(&Question { set, recipe: &recipe, betas, seeds }, BackendName::Flex, &mut Silent)
    }

    const SHORT: [&str; 4] = ["train.epochs=3", "train.batch=16", "network.units=8", "evaluate.folds=3"];

    #[test]
    fn after_a_short_training_nodes_know_their_graphs_and_graphs_their_families() {
        let set = families(40);
        let found = asked(&set, &["train.epochs=20", "evaluate.folds=5"], &[0.0, 1.0], &[1]).unwrap();
        // Scores of 0, which know nothing, cost 2 ln 2.
        let ignorance = 2.0 * std::f64::consts::LN_2;
        for row in &found.rows[3..] {
            assert!(row.losses[0] < 0.8 * ignorance, "{}: {:?}", row.name, row.losses);
            // A quarter is chance.
            assert!(row.accuracy.mean.unwrap() > 0.8, "{}: {:?}", row.name, row.accuracy);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_answer_whatever_the_number_of_threads() {
        let set = families(8);
        let asked = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| asked(&set, &SHORT, &[0.0, 2.0], &[1, 2]).unwrap())
        };
        let some = asked(1);
        assert_eq!(some, asked(3));
        let shape = |row: &Row| (row.folds.len(), row.folds[0].len(), row.losses.len());
        assert_eq!(
            some.rows.iter().map(shape).collect::<Vec<_>>(),
            [(2, 3, 0), (2, 3, 0), (2, 3, 0), (2, 3, 2), (2, 3, 2)]
        );
        assert_ne!(some.rows[3].losses[0], some.rows[3].losses[1]);
        assert_eq!(some.representations.dim(), (32, 24));
    }

    #[test]
    fn graphs_without_classes_are_represented_all_the_same() {
        let set = GraphSet { labels: None, ..families(4) };
        let found = asked(&set, &SHORT, &[1.0], &[1]).unwrap();
        assert!(found.rows.iter().all(|row| row.accuracy.mean.is_none() && row.over_folds().is_none()));
        assert_eq!(found.rows[3].losses.len(), 1);
        assert_eq!(found.representations.dim(), (16, 24));
    }

    #[test]
    fn baselines_are_what_they_say() {
        let set = families(2);
        let (sums, histograms) = (feature_sums(&set), degree_histograms(&set));
        for (graph, (sum, histogram)) in set.graphs.iter().zip(sums.outer_iter().zip(histograms.outer_iter())) {
            assert_eq!((sum.len(), histogram.len()), (16, 65));
            assert_eq!((sum.sum(), histogram[64]), (graph.len() as f32, graph.len() as f32));
            let threes = (0..graph.len() as u32).filter(|&node| graph.degree(node) == 3.0).count() as f32;
            assert!(sum[3] == threes && (histogram[3] * graph.len() as f32 - threes).abs() < 1e-4);
        }
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let set = families(2);
        for (setting, start) in [
            ("objective.beta=-1", "objective.beta: impossible value"),
            ("objective.tau_plus=1", "objective.tau_plus: impossible value"),
            ("objective.emphasis='soft'", "objective.emphasis"),
            ("network.layers=0", "network.layers: impossible size"),
            ("train.batch=1", "train.batch: impossible value"),
            ("train.epochs=0", "train.epochs: impossible value"),
            ("train.epoch=1", "train.epoch"),
            ("evaluate.folds=1", "evaluate.folds: impossible value: expected 2 to 8, the number of graphs, found 1"),
            ("evaluate.folds=9", "evaluate.folds: impossible value"),
        ] {
            let error = asked(&set, &[setting], &[1.0], &[1]).unwrap_err().to_string();
            assert!(error.starts_with(start), "{setting}: {error}");
        }
        let error = asked(&set, &[], &[1.0, -1.0], &[1]).unwrap_err().to_string();
        assert!(error.starts_with("objective.beta: impossible value"), "{error}");
        let none = GraphSet { graphs: Vec::new(), features: Vec::new(), labels: None };
        let error = asked(&none, &[], &[1.0], &[1]).unwrap_err().to_string();
        assert!(error.starts_with("train.batch: a batch holds no negatives"), "{error}");
    }
}
