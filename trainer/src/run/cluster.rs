//! Spectral clustering as a recipe: affinities of near neighbours, the first eigenfunctions of their random walk as a network, and
//! k-means on those. What comes out assigns samples that it has never seen, on a chip too.

use crate::augment::Views;
use crate::data::{DataSource, Learn};
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
const STEPS: usize = 6000;
/// Pairs in a batch, where so many functions can be told apart by them.
const BATCH: usize = 256;

/// What is to be clustered.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// The samples; all are learned from, for no label is.
    pub data: DataSource,
    /// Clusters, at least 2.
    pub clusters: usize,
    /// Neighbours of each sample that its affinities reach, at least 1.
    pub neighbours: usize,
    /// Of the network, the batches and k-means.
    pub seed: u64,
}

impl Clustering {
    /// The recipe for data of so many samples.
    ///
    /// Of `clusters` groups that no affinity joins, the walk has as many eigenfunctions of eigenvalue 1: the constant, which
    /// ordering leaves out, and one less than there are clusters. So many are given to k-means.
    pub fn recipe(&self, samples: usize) -> Recipe {
        let told_by = self.clusters - 1;
        let dims = told_by + SPARE;
        let batch = BATCH.max(2 * dims).min(samples);
        let steps = samples * self.neighbours;
        Recipe {
            seed: self.seed,
            data: DataSource { learn: Learn::All, ..self.data.clone() },
            augment: Views::default(),
            pairs: PairsSpec::Neighbours { neighbours: self.neighbours },
            network: NetworkSpec { layers: vec![LayerSpec::Dense { units: UNITS }], projector: UNITS, dims },
            objective: ObjectiveSpec::NeuralEigenmap(NeuralEigenmapSpec::default()),
            train: TrainSpec {
                epochs: (STEPS * batch).div_ceil(steps),
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

/// How many clusters the eigenvalues of a walk's functions, not rising and without the constant's, speak for: as many as there are,
/// with the constant's, before the widest gap (von Luxburg 2007, section 8.3). 1 says that nothing falls into parts; `None`, that
/// there are no eigenvalues.
pub fn suggested(eigenvalues: &[f64]) -> Option<usize> {
    let with_constant: Vec<f64> = std::iter::once(1.0).chain(eigenvalues.iter().copied()).collect();
    let gap = |pair: &[f64]| pair[0] - pair[1];
    let widest = with_constant.windows(2).enumerate().max_by(|(_, a), (_, b)| gap(a).total_cmp(&gap(b)));
    widest.map(|(before, _)| before + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataKind;

    #[test]
    fn the_widest_gap_counts_the_clusters() {
        assert_eq!(suggested(&[0.999, 0.998, 0.7, 0.65]), Some(3));
        assert_eq!(suggested(&[0.5, 0.4]), Some(1));
        assert_eq!(suggested(&[]), None);
    }

    #[test]
    fn every_number_of_clusters_and_samples_makes_a_recipe() {
        for (clusters, samples) in [(2, 12), (3, 1000), (200, 70_000)] {
            let clustering = Clustering { data: DataSource::new(DataKind::Digits), clusters, neighbours: 5, seed: 1 };
            let recipe = clustering.recipe(samples);
            recipe.check().unwrap();
            assert_eq!(Recipe::parse("written", &recipe.resolved(), &[]).unwrap(), recipe);
            assert_eq!(recipe.export.cluster_dims, clusters - 1);
        }
    }
}
