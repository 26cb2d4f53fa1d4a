//! Cluster-specific autoencoders through the training loop that every run uses, on sets whose clusters are lines.
//!
//! The sets in `tests/lines` have the distributions of the authors' notebooks: points about lines in two or three
//! dimensions, then three of normal noise with deviation 0.1; the last column is the cluster. They were drawn by NumPy's
//! legacy generator with seed 0, cluster by cluster: first `multivariate_normal`, then the noise.

use eigenlet_trainer::augment::View;
use eigenlet_trainer::backend::Flex;
use eigenlet_trainer::error::Result;
use eigenlet_trainer::evaluate::Contingency;
use eigenlet_trainer::network::{Encoder, NetworkSpec, floats};
use eigenlet_trainer::objective::ObjectiveSpec;
use eigenlet_trainer::objective::cluster_specific::{ClusterSpecificSpec, Start};
use eigenlet_trainer::train::optimizer::OptimizerSpec;
use eigenlet_trainer::train::source::Source;
use eigenlet_trainer::train::{Epoch, TrainSpec, Trainee, Watch, fit};
use nalgebra::{DMatrix, SymmetricEigen};

/// The mean adjusted Rand index over twenty starts is at least that of exact alternation between local principal
/// components and assignments (K-affine lines) from the same kind of start. No label is used in training or choosing.
#[test]
fn clusters_that_are_lines_are_found_from_most_starts() {
    for (name, text, clusters, exact) in [
        ("parallel", include_str!("lines/parallel.csv"), 2, 1.000),
        ("orthogonal", include_str!("lines/orthogonal.csv"), 2, 0.880),
        ("triangle", include_str!("lines/triangle.csv"), 3, 0.767),
        ("lines in 3-D", include_str!("lines/lines-3d.csv"), 3, 0.934),
    ] {
        let set = Points::parse(text);
        let found: Vec<f64> = (0..20).map(|seed| set.agreement(&set.clusters(clusters, seed))).collect();
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        println!("{name}: mean {mean:.3} of {found:.2?}");
        assert!(mean >= exact, "{name}: mean {mean}, exact alternation {exact}: {found:?}");
    }
}

/// With assignments that do not move, each sub-model's decoder spans the leading eigenvectors of its cluster's covariance,
/// and its loss is the sum of the others' eigenvalues.
#[test]
fn each_sub_model_finds_its_clusters_principal_plane() {
    let set = Points::two_planes();
    let spec = ClusterSpecificSpec { clusters: 2, code: 2, ..Default::default() };
    let (trained, epochs) = set.train(&spec, 3000, 1, 0.02);
    let assignments = trained.objective.assign(&trained.encoder, set.tensor(), None).expect("clusters").clusters;
    assert_eq!(set.agreement(&assignments), 1.0, "the clusters are far apart");

    let decoder = floats(trained.encoder.valid().parameters.beside[0].val());
    let mut trailing = 0.0;
    for cluster in 0..2 {
        let rows: Vec<&[f32]> =
            set.rows().zip(&assignments).filter(|(_, id)| **id == cluster).map(|(row, _)| row).collect();
        let covariance = covariance(&rows);
        let share = rows.len() as f64 / set.len() as f64;
        let eigen = SymmetricEigen::new(covariance);
        let mut order: Vec<usize> = (0..set.size).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        trailing += share * order[2..].iter().map(|&i| eigen.eigenvalues[i]).sum::<f64>();

        let exact = DMatrix::from_fn(set.size, 2, |i, j| eigen.eigenvectors[(i, order[j])]);
        let own = &decoder[cluster as usize * 2 * set.size..][..2 * set.size];
        let learned = DMatrix::from_fn(set.size, 2, |i, j| f64::from(own[j * set.size + i])).qr().q();
        // The sine of the largest principal angle: what of the learned plane lies off the exact one.
        let off = &learned - &exact * (exact.transpose() * &learned);
        let sine = off.singular_values().max();
        assert!(sine < 1e-3, "cluster {cluster}: principal angle {sine}");
    }
    let loss = epochs.last().expect("epochs").loss * set.size as f64;
    assert!((loss / trailing - 1.0).abs() < 1e-3, "loss {loss}, trailing eigenvalues {trailing}");
}

#[test]
fn the_same_seed_gives_the_same_clusters_and_parameters() {
    let set = Points::parse(include_str!("lines/triangle.csv"));
    let spec = ClusterSpecificSpec { clusters: 3, code: 1, ..Default::default() };
    let run = || {
        let (trained, _) = set.train(&spec, 20, 3, 0.02);
        (trained.objective.state(), floats(trained.encoder.valid().parameters.beside[0].val()))
    };
    assert_eq!(run(), run());
}

/// Points with known clusters.
struct Points {
    size: usize,
    values: Vec<f32>,
    labels: Vec<u16>,
}

impl Source for Points {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, self.size]
    }

    fn view(&self, _: View, _: u64, _: u64, samples: &[u32]) -> Vec<f32> {
        let row = |&sample: &u32| &self.values[sample as usize * self.size..][..self.size];
        samples.iter().flat_map(row).copied().collect()
    }
}

impl Points {
    /// Lines of numbers, the last one the cluster. All values are divided by one number, so that their variance is 1.
    fn parse(text: &str) -> Self {
        let rows: Vec<Vec<f32>> = text
            .lines()
            .map(|line| line.split(',').map(|number| number.parse().expect("a number")).collect())
            .collect();
        let size = rows[0].len() - 1;
        let labels = rows.iter().map(|row| row[size] as u16).collect();
        let values: Vec<f32> = rows.iter().flat_map(|row| &row[..size]).copied().collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32;
        Self { size, values: values.into_iter().map(|value| value / variance.sqrt()).collect(), labels }
    }

    /// Two clusters of 60 points in five dimensions, far apart, with different variances along different axes.
    fn two_planes() -> Self {
        let (size, count) = (5, 120);
        let value = |i: usize| {
            let (point, axis) = (i / size, i % size);
            let cluster = point % 2;
            // Deviations fall along the axes in one cluster, rise in the other.
            let deviation = [1.0, 0.6, 0.3, 0.2, 0.1][if cluster == 0 { axis } else { size - 1 - axis }];
            let phase = (point * (axis + 2) * 37 + axis * 11) as f32;
            6.0 * cluster as f32 + deviation * (0.7 * phase).sin() * 1.4
        };
        Self {
            size,
            values: (0..size * count).map(value).collect(),
            labels: (0..count).map(|point| point as u16 % 2).collect(),
        }
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.size)
    }

    fn tensor(&self) -> burn::tensor::Tensor<Flex, 4> {
        let data = burn::tensor::TensorData::new(self.values.clone(), [self.len(), 1, 1, self.size]);
        burn::tensor::Tensor::from_data(data, &Default::default())
    }

    fn train(&self, spec: &ClusterSpecificSpec, epochs: usize, seed: u64, rate: f64) -> (Trainee<Flex>, Vec<Epoch>) {
        let network = NetworkSpec { layers: Vec::new(), projector: 0, dims: 1 };
        let plan = network.plan(self.shape(), spec.outputs()).expect("the network fits");
        spec.fits_plan(&plan).expect("the code is smaller than the sample");
        let encoder = Encoder::new(plan, seed, &Default::default()).with_beside(
            &spec.beside([1, 1, self.size]),
            seed,
            &Default::default(),
        );
        let objective = ObjectiveSpec::ClusterSpecific(spec.clone()).build::<Flex>();
        let optimizer = OptimizerSpec::Adam { rate, weight_decay: 0.0 };
        let train = TrainSpec { epochs, batch: self.len(), warmup: 0, final_rate: 1e-3, optimizer };
        let trainee = Trainee::new(encoder, objective, &train);
        let mut kept = Kept(Vec::new());
        let trained = fit(trainee, self, &train, seed, &Default::default(), &mut kept).expect("training succeeds");
        (trained, kept.0)
    }

    /// The clusters that linear autoencoders with one-dimensional codes end with.
    fn clusters(&self, clusters: usize, seed: u64) -> Vec<u32> {
        let spec = ClusterSpecificSpec { clusters, code: 1, start: Start::Planes, hold: 0.2, ..Default::default() };
        let (trained, _) = self.train(&spec, 300, seed, 0.05);
        trained.objective.assign(&trained.encoder, self.tensor(), None).expect("clusters").clusters
    }

    /// Adjusted Rand index.
    fn agreement(&self, found: &[u32]) -> f64 {
        Contingency::new(found, &self.labels).ari()
    }
}

/// Keeps every epoch.
struct Kept(Vec<Epoch>);

impl Watch<Flex> for Kept {
    fn epoch(&mut self, _: &Trainee<Flex>, epoch: &Epoch) -> Result<()> {
        self.0.push(epoch.clone());
        Ok(())
    }
}

fn covariance(rows: &[&[f32]]) -> DMatrix<f64> {
    let size = rows[0].len();
    let mean = |axis: usize| rows.iter().map(|row| f64::from(row[axis])).sum::<f64>() / rows.len() as f64;
    let means: Vec<f64> = (0..size).map(mean).collect();
    DMatrix::from_fn(size, size, |a, b| {
        let product = |row: &&[f32]| (f64::from(row[a]) - means[a]) * (f64::from(row[b]) - means[b]);
        rows.iter().map(product).sum::<f64>() / rows.len() as f64
    })
}
