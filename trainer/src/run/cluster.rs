//! Spectral clustering as a recipe: affinities of near neighbours, the first eigenfunctions of their random walk as a network, and
//! k-means on those. What comes out assigns samples that it has never seen, on a chip too.

use crate::augment::Views;
use crate::data::{DataSource, Dataset};
use crate::error::{Error, Result};
use crate::graph::AdjacencySpec;
use crate::network::NetworkSpec;
use crate::network::spec::LayerSpec;
use crate::objective::ObjectiveSpec;
use crate::objective::neural_eigenmap::NeuralEigenmapSpec;
use crate::recipe::{EvaluateSpec, ExportSpec, OrderSpec, Recipe};
use crate::train::TrainSpec;
use crate::train::optimizer::OptimizerSpec;
use crate::train::pairs::PairsSpec;

/// Units in each of the two hidden layers.
const UNITS: usize = 128;
/// Functions learned beyond those that tell the clusters apart: what the last of these lack is in them, and a gap between
/// eigenvalues beyond them would say that there are more clusters.
const SPARE: usize = 10;
/// Training steps, about: a sample and a neighbour of it come as often as the affinities say.
const STEPS: usize = 4000;
/// What a long walk leaves of the first function that no cluster needs.
const FORGOTTEN: f64 = 0.25;
/// Steps of a walk at most.
const MOST_STEPS: usize = 1000;
/// A distance of an eigenvalue to 1 that is no more than the error of computing it.
const NO_DISTANCE: f64 = 1e-5;
/// Pairs in a batch, where so many functions can be told apart by them.
const BATCH: usize = 256;

/// What is to be clustered.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// The samples. With `learn = "train"`, those of the test split are assigned, not learned from.
    pub data: DataSource,
    /// Clusters, at least 2.
    pub clusters: usize,
    /// Neighbours of each sample that its affinities reach, at least 1.
    pub neighbours: usize,
    /// Of the network, the batches and k-means.
    pub seed: u64,
}

/// How the samples hang together.
#[derive(Clone, Debug, PartialEq)]
pub struct Affinities {
    /// The leading eigenvalues of one step of the walk between neighbours, the constant's 1 first, exactly.
    pub eigenvalues: Vec<f64>,
    /// Parts that no affinity joins.
    pub parts: usize,
    /// Samples.
    samples: usize,
}

impl Clustering {
    /// The pairs that affinities are made of, `steps` steps apart.
    fn pairs(&self, steps: usize) -> PairsSpec {
        PairsSpec::Neighbours { neighbours: self.neighbours, steps }
    }

    /// The affinities of the samples, which are those of `self.data`.
    ///
    /// # Errors
    /// As many neighbours or clusters as samples.
    pub fn affinities(&self, data: &Dataset) -> Result<Affinities> {
        let samples = data.learning_len();
        if !(1..samples).contains(&self.neighbours) {
            let expected = format!("1 to {}, below the number of samples", samples - 1);
            return Err(Error::input("--neighbours", "no such neighbours", expected, self.neighbours));
        }
        let most = data.train.samples.len().min(samples.saturating_sub(SPARE + 1));
        if !(2..=most).contains(&self.clusters) {
            let expected = format!("2 to {most} of {samples} samples");
            return Err(Error::input("--k", "no such number of clusters", expected, self.clusters));
        }
        let graph = self.pairs(1).graph(data)?.expect("neighbours make a graph");
        let parts = graph.components().into_iter().max().map_or(0, |last| last as usize + 1);
        let eigenvalues = graph.leading(AdjacencySpec::default(), self.clusters + SPARE, self.seed).eigenvalues;
        Ok(Affinities { eigenvalues, parts, samples })
    }

    /// The recipe.
    ///
    /// Of `clusters` groups that no affinity joins, the walk has as many eigenfunctions of eigenvalue 1: the constant, which
    /// ordering leaves out, and one less than there are clusters. So many are given to k-means. The walk takes so many steps that
    /// the next function would keep [`FORGOTTEN`] of itself: in single steps all would seem equally good.
    pub fn recipe(&self, affinities: &Affinities) -> Recipe {
        let told_by = self.clusters - 1;
        let dims = told_by + SPARE;
        let batch = BATCH.max(2 * dims).min(affinities.samples);
        let first_too_many = affinities.eigenvalues.get(self.clusters).copied().unwrap_or(0.0);
        Recipe {
            seed: self.seed,
            data: self.data.clone(),
            augment: Views::default(),
            pairs: self.pairs(steps(first_too_many)),
            network: NetworkSpec { layers: vec![LayerSpec::Dense { units: UNITS }], projector: UNITS, dims },
            objective: ObjectiveSpec::NeuralEigenmap(NeuralEigenmapSpec::default()),
            train: TrainSpec {
                epochs: (STEPS * batch).div_ceil(affinities.samples * self.neighbours),
                batch,
                warmup: 1,
                final_rate: 1e-3,
                optimizer: OptimizerSpec::Adam { rate: 1e-2, weight_decay: 0.0 },
            },
            order: OrderSpec::default(),
            export: ExportSpec {
                bits: Some(0),
                clusters: self.clusters,
                cluster_dims: told_by,
                ..ExportSpec::default()
            },
            evaluate: EvaluateSpec { dims: vec![told_by, dims], bits: Vec::new() },
        }
    }
}

/// Steps after which a function of this eigenvalue keeps [`FORGOTTEN`] of itself, an even number: then no eigenvalue is negative.
pub fn steps(eigenvalue: f64) -> usize {
    let lost = -eigenvalue.clamp(f64::MIN_POSITIVE, 1.0).ln();
    let steps = -FORGOTTEN.ln() / lost.max(f64::MIN_POSITIVE);
    if steps < MOST_STEPS as f64 { 2 * ((steps / 2.0).ceil() as usize).max(1) } else { MOST_STEPS }
}

/// How many clusters a walk's eigenvalues, 1 first and not rising, speak for, at least 2: as many as there are up to the widest gap, in
/// which their distance to 1 grows by the largest factor (von Luxburg 2007, section 8.3: the eigenvalues of the Laplacian are
/// these distances). `None`, where there are fewer than three.
pub fn suggested(eigenvalues: &[f64]) -> Option<usize> {
    let growth = |count: &usize| (1.0 - eigenvalues[*count]) / (1.0 - eigenvalues[count - 1]).max(NO_DISTANCE);
    // The first, of equals.
    (2..eigenvalues.len()).rev().max_by(|a, b| growth(a).total_cmp(&growth(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataKind;

    #[test]
    fn the_widest_gap_counts_the_clusters() {
        assert_eq!(suggested(&[1.0, 0.999, 0.998, 0.7, 0.65]), Some(3));
        assert_eq!(suggested(&[1.0, 1.0, 0.9996, 0.9996, 0.9986, 0.99]), Some(2));
        assert_eq!(suggested(&[1.0, 1.0, 1.0, 0.999, 0.998]), Some(3));
        assert_eq!([suggested(&[]), suggested(&[1.0, 0.5])], [None, None]);
    }

    #[test]
    fn walks_are_long_where_eigenvalues_are_near_to_one_another() {
        assert_eq!(steps(0.5), 2);
        assert_eq!(steps(0.99), 138);
        assert!(0.99_f64.powi(138) <= FORGOTTEN);
        assert_eq!([steps(1.0), steps(0.0), steps(-0.5)], [MOST_STEPS, 2, 2]);
    }

    #[test]
    fn every_number_of_clusters_and_samples_makes_a_recipe() {
        for (clusters, samples) in [(2, 13), (3, 1000), (200, 70_000)] {
            let clustering = Clustering { data: DataSource::new(DataKind::Digits), clusters, neighbours: 5, seed: 1 };
            let recipe = clustering.recipe(&Affinities { eigenvalues: vec![1.0; clusters], parts: 1, samples });
            recipe.check().unwrap();
            assert_eq!(Recipe::parse("written", &recipe.resolved(), &[]).unwrap(), recipe);
            assert_eq!(recipe.export.cluster_dims, clusters - 1);
        }
    }
}
