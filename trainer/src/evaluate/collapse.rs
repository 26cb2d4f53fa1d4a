//! Signs that an encoder has learned less than its outputs could hold.

use nalgebra::DMatrix;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::Codes;
use super::covariance::{covariance, mean};
use crate::order::symmetric_eigenvalues;

/// A dimension whose variance is below this part of the largest one is dead.
const DEAD_SHARE: f64 = 1e-6;

/// Two bits with a correlation beyond this (either sign) carry the same information.
const DUPLICATE_CORRELATION: f64 = 0.99;

/// A bit that is set in less than this share of the samples, or in more than the rest, hardly tells them apart.
const UNBALANCED_SHARE: f64 = 0.05;

/// One cluster with more than this share of the samples is a collapse.
const LARGEST_CLUSTER_SHARE: f64 = 0.9;

/// An effective rank below this share of the dimensions is worth a warning.
const LOW_RANK_SHARE: f64 = 0.25;

/// What the features hold, label-free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureCollapse {
    /// Dimensions of the features.
    pub dims: usize,
    /// exp of the entropy of the covariance's normalised eigenvalues (Roy and Vetterli 2007): 1 when all variance is
    /// in one direction, `dims` when it is equal in all; 0 for constant features.
    pub effective_rank: f64,
    /// Dimensions that hardly vary.
    pub dead_dims: Vec<usize>,
}

/// What the bits of codes hold, label-free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeCollapse {
    /// For every bit the share of codes in which it is set, in [0, 1]; 0.5 is best.
    pub balance: Vec<f64>,
    /// The bit whose share is farthest from 0.5; the first, of equals.
    pub worst_bit: usize,
    /// Pairs of bits that are (nearly) equal or (nearly) opposite in all codes. Bits that never change are in none.
    pub duplicates: Vec<(usize, usize)>,
}

/// How the samples spread over clusters, label-free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterCollapse {
    /// The share of samples in the largest cluster.
    pub largest_share: f64,
    /// Clusters without a sample.
    pub empty: usize,
}

impl FeatureCollapse {
    /// Of `features` `[n, d]`.
    pub fn of(features: &ArrayView2<f32>) -> Self {
        let dims = features.ncols();
        let centred = features - &mean(features);
        let covariance = covariance(&centred.view());
        let largest = covariance.diag().fold(0.0_f64, |a, &b| a.max(b));
        let dead = |&j: &usize| covariance[[j, j]] <= DEAD_SHARE * largest;
        let dead_dims = (0..dims).filter(dead).collect();
        let values = symmetric_eigenvalues(&DMatrix::from_fn(dims, dims, |i, j| covariance[[i, j]]));
        Self { dims, effective_rank: effective_rank(&values), dead_dims }
    }

    /// A line for each problem, with what to try; none when all is well.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.dead_dims.is_empty() {
            warnings.push(format!(
                "{} of {} dimensions are dead ({}): train longer, use a larger batch, or fewer dimensions",
                self.dead_dims.len(),
                self.dims,
                list(&self.dead_dims),
            ));
        }
        if self.effective_rank < LOW_RANK_SHARE * self.dims as f64 {
            warnings.push(format!(
                "the effective rank is {:.1} of {} dimensions: keep fewer dimensions, or use a larger batch",
                self.effective_rank, self.dims,
            ));
        }
        warnings
    }
}

impl CodeCollapse {
    /// Of `codes`.
    pub fn of(codes: &Codes) -> Self {
        let bits = codes.bits();
        let n = codes.len().max(1) as f64;
        let mut set = vec![0_u64; bits];
        let mut both = vec![0_u64; bits * bits];
        for code in codes.rows() {
            let ones: Vec<usize> = (0..bits).filter(|bit| code[bit / 8] >> (bit % 8) & 1 == 1).collect();
            for (place, &a) in ones.iter().enumerate() {
                set[a] += 1;
                for &b in &ones[place + 1..] {
                    both[a * bits + b] += 1;
                }
            }
        }
        let balance: Vec<f64> = set.iter().map(|&ones| ones as f64 / n).collect();
        let correlation = |a: usize, b: usize| {
            let deviation = |p: f64| (p * (1.0 - p)).sqrt();
            let deviations = deviation(balance[a]) * deviation(balance[b]);
            let covariance = both[a * bits + b] as f64 / n - balance[a] * balance[b];
            if deviations > 0.0 { covariance / deviations } else { 0.0 }
        };
        let pairs = (0..bits).flat_map(|a| (a + 1..bits).map(move |b| (a, b)));
        let duplicates = pairs.filter(|&(a, b)| correlation(a, b).abs() > DUPLICATE_CORRELATION).collect();
        let off = |bit: usize| (balance[bit] - 0.5).abs();
        let worst_bit = (1..bits).fold(0, |worst, bit| if off(bit) > off(worst) { bit } else { worst });
        Self { balance, worst_bit, duplicates }
    }

    /// A line for each problem, with what to try; none when all is well.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let share = self.balance.get(self.worst_bit).copied().unwrap_or(0.5);
        if !(UNBALANCED_SHARE..=1.0 - UNBALANCED_SHARE).contains(&share) {
            warnings.push(format!(
                "bit {} is set in {:.1} % of the codes and says little: keep fewer bits (`eigenlet export --bits`), or train \
                 longer",
                self.worst_bit,
                100.0 * share,
            ));
        }
        if let Some((a, b)) = self.duplicates.first() {
            warnings.push(format!(
                "{} pairs of bits say the same ({a} and {b}, say): keep fewer bits, or train longer",
                self.duplicates.len(),
            ));
        }
        warnings
    }
}

impl ClusterCollapse {
    /// Of samples assigned to `clusters` clusters.
    ///
    /// # Panics
    /// When a sample's cluster is not in `0..clusters`.
    pub fn of(assignment: &[u32], clusters: usize) -> Self {
        let mut sizes = vec![0_usize; clusters];
        for &cluster in assignment {
            sizes[cluster as usize] += 1;
        }
        let largest = sizes.iter().copied().max().unwrap_or(0);
        Self {
            largest_share: largest as f64 / assignment.len().max(1) as f64,
            empty: sizes.iter().filter(|&&size| size == 0).count(),
        }
    }

    /// A line for each problem, with what to try; none when all is well.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.largest_share > LARGEST_CLUSTER_SHARE {
            warnings.push(format!(
                "one cluster holds {:.1} % of the samples: give balance more weight, or lower the learning rate",
                100.0 * self.largest_share,
            ));
        }
        if self.empty > 0 {
            warnings.push(format!("{} clusters are empty: use fewer clusters, or a larger batch", self.empty));
        }
        warnings
    }
}

fn effective_rank(eigenvalues: &[f64]) -> f64 {
    let total: f64 = eigenvalues.iter().filter(|&&value| value > 0.0).sum();
    if total == 0.0 {
        return 0.0;
    }
    let shares = eigenvalues.iter().map(|value| value / total).filter(|&share| share > 0.0);
    shares.map(|share| -share * share.ln()).sum::<f64>().exp()
}

/// The first few of them, for a message.
fn list(numbers: &[usize]) -> String {
    let shown: Vec<String> = numbers.iter().take(8).map(usize::to_string).collect();
    shown.join(", ") + if numbers.len() > 8 { ", …" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn the_effective_rank_counts_equal_directions() {
        assert!((effective_rank(&[2.0, 2.0, 2.0, 0.0]) - 3.0).abs() < 1e-12);
        assert!((effective_rank(&[5.0, 0.0, -1e-18]) - 1.0).abs() < 1e-12);
        assert_eq!(effective_rank(&[0.0, 0.0]), 0.0);
    }

    #[test]
    fn repeated_and_dead_dimensions_are_seen() {
        let wave = |i: usize, m: usize| (2.0 * std::f32::consts::PI * (i * m) as f32 / 240.0).sin();
        // Two directions, the first of them three times, and a constant.
        let features =
            Array2::from_shape_fn((240, 5), |(i, j)| [wave(i, 1), wave(i, 1), wave(i, 1), wave(i, 2), 4.0][j]);
        let found = FeatureCollapse::of(&features.view());
        assert_eq!(found.dead_dims, [4]);
        // Shares 3/4 and 1/4.
        let expected = (-0.75 * 0.75_f64.ln() - 0.25 * 0.25_f64.ln()).exp();
        assert!((found.effective_rank - expected).abs() < 1e-3, "{}", found.effective_rank);
        assert_eq!(found.warnings().len(), 1);
    }

    #[test]
    fn constant_features_are_a_total_collapse() {
        let found = FeatureCollapse::of(&Array2::from_elem((10, 3), 2.0).view());
        assert_eq!((found.effective_rank, found.dead_dims.len()), (0.0, 3));
        assert_eq!(found.warnings().len(), 2);
    }

    #[test]
    fn healthy_features_raise_no_warning() {
        let features = Array2::from_shape_fn((256, 8), |(i, j)| if i >> j & 1 == 1 { 1.0 } else { -1.0 });
        let found = FeatureCollapse::of(&features.view());
        assert!((found.effective_rank - 8.0).abs() < 1e-6);
        assert!(found.warnings().is_empty());
        assert!(CodeCollapse::of(&Codes::from_signs(&features.view())).warnings().is_empty());
    }

    #[test]
    fn constant_repeated_and_opposite_bits_are_seen() {
        // Bits: a, b, a again, not b, never set.
        let features = Array2::from_shape_fn((64, 5), |(i, j)| {
            let bit = [i & 1 == 1, i & 2 == 2, i & 1 == 1, i & 2 == 0, false][j];
            if bit { 1.0 } else { -1.0 }
        });
        let found = CodeCollapse::of(&Codes::from_signs(&features.view()));
        assert_eq!(found.balance, [0.5, 0.5, 0.5, 0.5, 0.0]);
        assert_eq!(found.worst_bit, 4);
        assert_eq!(found.duplicates, [(0, 2), (1, 3)]);
        assert_eq!(found.warnings().len(), 2);
    }

    #[test]
    fn a_swallowed_set_and_empty_clusters_are_seen() {
        let found = ClusterCollapse::of(&[1; 20], 3);
        assert_eq!(found, ClusterCollapse { largest_share: 1.0, empty: 2 });
        assert_eq!(found.warnings().len(), 2);
        assert!(ClusterCollapse::of(&[0, 1, 2], 3).warnings().is_empty());
    }
}
