//! How well clusters agree with classes: accuracy, purity, normalised mutual information, adjusted Rand index.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

/// How many samples each pair of cluster and class has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contingency {
    /// `[clusters][classes]`; only clusters and classes that occur.
    counts: Vec<Vec<u64>>,
    samples: u64,
}

impl Contingency {
    /// Counts the pairs. Numbers of clusters and classes need be neither equal nor consecutive.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn new(assignment: &[u32], labels: &[u16]) -> Self {
        assert_eq!(assignment.len(), labels.len(), "one cluster for every label");
        let clusters = distinct(assignment);
        let classes = distinct(labels);
        let mut counts = vec![vec![0; classes.len()]; clusters.len()];
        for (cluster, class) in assignment.iter().zip(labels) {
            let row = clusters.binary_search(cluster).expect("a cluster that occurs");
            counts[row][classes.binary_search(class).expect("a class that occurs")] += 1;
        }
        Self { counts, samples: labels.len() as u64 }
    }

    /// Clustering accuracy (ACC): the share of samples that are right when every cluster may stand for at most one
    /// class and every class for at most one cluster, under the best such matching (Hungarian algorithm). In [0, 1];
    /// 0 without samples.
    pub fn accuracy(&self) -> f64 {
        if self.samples == 0 {
            return 0.0;
        }
        let (rows, columns) = (self.counts.len(), self.counts[0].len());
        // The solver wants no more rows than columns.
        let weights = Matrix::from_fn(rows.min(columns), rows.max(columns), |(i, j)| {
            if rows <= columns { self.counts[i][j] as i64 } else { self.counts[j][i] as i64 }
        });
        let (matched, _) = kuhn_munkres(&weights);
        matched as f64 / self.samples as f64
    }

    /// Purity: the share of samples that belong to the commonest class of their cluster. In [0, 1]; never below the
    /// accuracy, and it rewards more clusters than classes.
    pub fn purity(&self) -> f64 {
        let largest = self.counts.iter().filter_map(|row| row.iter().max()).sum::<u64>();
        largest as f64 / self.samples.max(1) as f64
    }

    /// Mutual information over the arithmetic mean of the two entropies. In [0, 1]; 1 when there is but one cluster
    /// and one class.
    pub fn nmi(&self) -> f64 {
        let entropies = entropy(&self.cluster_sizes()) + entropy(&self.class_sizes());
        if entropies == 0.0 {
            return 1.0;
        }
        let joint = entropy(&self.counts.concat());
        (2.0 * (entropies - joint) / entropies).clamp(0.0, 1.0)
    }

    /// Rand index adjusted for chance (Hubert and Arabie 1985): 1 for equal partitions, about 0 for independent ones,
    /// and down to -0.5. Equal partitions have 1 also where chance alone gives it (all in one cluster, or each alone).
    pub fn ari(&self) -> f64 {
        let pairs = |n: u64| n as f64 * n.saturating_sub(1) as f64 / 2.0;
        let pairs_in = |sizes: &[u64]| sizes.iter().map(|&n| pairs(n)).sum::<f64>();
        let together = pairs_in(&self.counts.concat());
        let (in_clusters, in_classes) = (pairs_in(&self.cluster_sizes()), pairs_in(&self.class_sizes()));
        let largest = (in_clusters + in_classes) / 2.0;
        let expected = in_clusters * in_classes / pairs(self.samples).max(1.0);
        if largest == expected { 1.0 } else { (together - expected) / (largest - expected) }
    }

    fn cluster_sizes(&self) -> Vec<u64> {
        self.counts.iter().map(|row| row.iter().sum()).collect()
    }

    fn class_sizes(&self) -> Vec<u64> {
        let classes = self.counts.first().map_or(0, Vec::len);
        (0..classes).map(|class| self.counts.iter().map(|row| row[class]).sum()).collect()
    }
}

fn distinct<T: Ord + Copy>(values: &[T]) -> Vec<T> {
    let mut distinct = values.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

/// Entropy, in nats, of the distribution with these counts.
fn entropy(counts: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    counts.iter().filter(|&&n| n > 0).map(|&n| n as f64 / total).map(|p| -p * p.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Every one-to-one matching, one by one.
    fn naive_accuracy(assignment: &[u32], labels: &[u16], clusters: u32, classes: u16) -> f64 {
        fn best(cluster: u32, clusters: u32, free: &mut Vec<u16>, hits: &BTreeMap<(u32, u16), usize>) -> usize {
            if cluster == clusters {
                return 0;
            }
            let mut most = best(cluster + 1, clusters, free, hits);
            for i in 0..free.len() {
                let class = free.remove(i);
                let here = hits.get(&(cluster, class)).copied().unwrap_or(0);
                most = most.max(here + best(cluster + 1, clusters, free, hits));
                free.insert(i, class);
            }
            most
        }
        let mut hits = BTreeMap::new();
        for pair in assignment.iter().copied().zip(labels.iter().copied()) {
            *hits.entry(pair).or_insert(0) += 1;
        }
        best(0, clusters, &mut (0..classes).collect(), &hits) as f64 / labels.len() as f64
    }

    /// The Rand index's definition, pair by pair, with the chance-adjustment of its 2x2 table of pairs.
    fn naive_ari(assignment: &[u32], labels: &[u16]) -> f64 {
        let (mut both, mut cluster_only, mut class_only, mut neither) = (0.0, 0.0, 0.0, 0.0);
        for i in 0..labels.len() {
            for j in 0..i {
                match (assignment[i] == assignment[j], labels[i] == labels[j]) {
                    (true, true) => both += 1.0,
                    (true, false) => cluster_only += 1.0,
                    (false, true) => class_only += 1.0,
                    (false, false) => neither += 1.0,
                }
            }
        }
        2.0 * (both * neither - cluster_only * class_only)
            / ((both + class_only) * (class_only + neither) + (both + cluster_only) * (cluster_only + neither))
    }

    fn example(samples: u64, clusters: u32, classes: u16) -> (Vec<u32>, Vec<u16>) {
        let noise = |i: u64| (i * 2_654_435_761) % 97;
        let labels: Vec<u16> = (0..samples).map(|i| (i % u64::from(classes)) as u16).collect();
        let assignment = (0..samples).map(|i| {
            if noise(i) < 60 {
                u32::from(labels[i as usize]) % clusters
            } else {
                (noise(i) % u64::from(clusters)) as u32
            }
        });
        (assignment.collect(), labels)
    }

    #[test]
    fn accuracy_is_the_best_of_all_matchings() {
        for (clusters, classes) in [(4, 4), (3, 6), (6, 3), (1, 5), (5, 1)] {
            let (assignment, labels) = example(101, clusters, classes);
            let found = Contingency::new(&assignment, &labels).accuracy();
            assert_eq!(found, naive_accuracy(&assignment, &labels, clusters, classes), "{clusters} x {classes}");
        }
    }

    #[test]
    fn the_rand_index_is_that_of_all_pairs() {
        for (clusters, classes) in [(4, 4), (3, 6), (6, 3)] {
            let (assignment, labels) = example(101, clusters, classes);
            let found = Contingency::new(&assignment, &labels).ari();
            assert!((found - naive_ari(&assignment, &labels)).abs() < 1e-12);
        }
    }

    #[test]
    fn figures_are_those_of_scikit_learn() {
        // normalized_mutual_info_score and adjusted_rand_score of scikit-learn 1.9.1.
        let labels = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3];
        let assignment = [1, 1, 1, 0, 0, 0, 0, 2, 2, 2, 4, 2, 2, 5];
        let found = Contingency::new(&assignment, &labels);
        assert!((found.nmi() - 0.6117593242177811).abs() < 1e-12);
        assert!((found.ari() - 0.3347953216374269).abs() < 1e-12);
    }

    #[test]
    fn a_hand_made_table_has_the_figures_worked_out_by_hand() {
        // Cluster 5 holds two of class 0 and one of class 1, cluster 9 one of class 1.
        let found = Contingency::new(&[5, 5, 5, 9], &[0, 0, 1, 1]);
        assert_eq!(found.accuracy(), 0.75);
        assert_eq!(found.purity(), 0.75);
        assert_eq!(found.ari(), 0.0); // One pair together, 3 · 2 / 6 = 1 expected.
        let (clusters, classes): (f64, f64) = (-0.75 * 0.75_f64.ln() - 0.25 * 0.25_f64.ln(), 2.0_f64.ln());
        let joint = -0.5 * 0.5_f64.ln() - 0.5 * 0.25_f64.ln();
        assert!((found.nmi() - 2.0 * (clusters + classes - joint) / (clusters + classes)).abs() < 1e-12);
    }

    #[test]
    fn equal_partitions_are_perfect_whatever_the_names() {
        for (assignment, labels) in
            [(vec![7, 7, 3, 3, 0], vec![1, 1, 0, 0, 4]), (vec![2, 2, 2], vec![5, 5, 5]), (vec![0, 1, 2], vec![4, 3, 2])]
        {
            let found = Contingency::new(&assignment, &labels);
            assert_eq!([found.accuracy(), found.purity(), found.ari()], [1.0; 3]);
            assert!((found.nmi() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn one_cluster_tells_nothing() {
        let found = Contingency::new(&[0; 6], &[0, 0, 0, 1, 1, 2]);
        assert_eq!((found.accuracy(), found.nmi(), found.ari()), (0.5, 0.0, 0.0));
    }

    #[test]
    fn purity_rewards_many_clusters_and_accuracy_does_not() {
        let found = Contingency::new(&[0, 1, 2, 3], &[0, 0, 1, 1]);
        assert_eq!((found.purity(), found.accuracy()), (1.0, 0.5));
    }
}
