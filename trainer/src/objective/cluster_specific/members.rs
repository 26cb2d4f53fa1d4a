//! Who belongs to whom: the assignment of every training sample, by its index, and the centres that follow.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::planes::planes;
use crate::error::{Error, Result};
use crate::evaluate::{kmeans, kmeans_seeds};

/// Of a cluster's fair share of the samples, the part that an empty cluster is given.
const RESEEDED: usize = 4;

/// Runs of k-means that the best end is taken of.
const RUNS: usize = 10;

/// What first clusters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The samples nearest to each of a draw of k-means++ seeds, as the authors have it: groups.
    Seeds,
    /// The clusters of k-means: groups, found more surely. Training mends little of a bad start.
    KMeans,
    /// The samples nearest to each of some [`planes`](super::planes) of as many dimensions as the code: clusters that may cross
    /// each other.
    Planes,
}

/// The assignments, and the means of the samples that have them.
#[derive(Clone, Debug, PartialEq)]
pub struct Members {
    /// Values of a sample.
    size: usize,
    /// One for each sample.
    assignments: Vec<u32>,
    /// Each sample's least loss when it was last seen; infinite before.
    losses: Vec<f32>,
    /// Sums of the samples, one cluster after the other.
    sums: Vec<f64>,
    /// How many they are.
    sizes: Vec<usize>,
    /// The means. A cluster without samples keeps its last one.
    centres: Vec<f32>,
}

impl Members {
    /// Gives `samples`, each `size` values, their first clusters; planes have `dims` dimensions.
    ///
    /// # Errors
    /// Fewer different samples than clusters.
    pub fn start(samples: &[f32], size: usize, clusters: usize, start: Start, dims: usize, seed: u64) -> Result<Self> {
        let rows = ArrayView2::from_shape((samples.len() / size, size), samples).expect("whole samples");
        let (centres, nearest) = kmeans_seeds(&rows, clusters, seed, 0);
        if let Some(different) = (0..clusters as u32).find(|id| !nearest.contains(id)) {
            let what = "more clusters than different samples";
            return Err(Error::input("objective.clusters", what, format!("at most {different}"), clusters));
        }
        let assignments = match start {
            Start::Seeds => nearest,
            Start::KMeans => kmeans(&rows, clusters, RUNS, seed).assignment,
            Start::Planes => planes(&rows, clusters, dims, seed),
        };
        let mut members = Self {
            size,
            losses: vec![f32::INFINITY; assignments.len()],
            assignments,
            sums: vec![0.0; clusters * size],
            sizes: vec![0; clusters],
            centres: centres.into_raw_vec_and_offset().0,
        };
        members.sum(samples);
        Ok(members)
    }

    /// Makes the sums anew, so that what rounding left in them goes and a resumed run has the same; gives each empty cluster
    /// the samples that fit worst.
    pub fn refresh(&mut self, samples: &[f32], size: usize) {
        self.size = size;
        for cluster in 0..self.sizes.len() {
            if !self.assignments.contains(&(cluster as u32)) {
                self.reseed(cluster as u32);
            }
        }
        self.sum(samples);
    }

    /// Gives a cluster some of the samples with the largest losses, leaving no other cluster empty.
    fn reseed(&mut self, cluster: u32) {
        let mut sizes = vec![0usize; self.sizes.len()];
        self.assignments.iter().for_each(|&id| sizes[id as usize] += 1);
        let mut worst: Vec<usize> = (0..self.len()).filter(|&i| self.losses[i].is_finite()).collect();
        worst.sort_by(|&a, &b| self.losses[b].total_cmp(&self.losses[a]).then(a.cmp(&b)));
        let wanted = (self.len() / (RESEEDED * sizes.len())).max(1);
        let mut given = 0;
        for i in worst {
            let from = &mut sizes[self.assignments[i] as usize];
            if given < wanted && *from > 1 {
                *from -= 1;
                self.assignments[i] = cluster;
                given += 1;
            }
        }
    }

    fn sum(&mut self, samples: &[f32]) {
        self.sums.fill(0.0);
        self.sizes.fill(0);
        for (sample, &id) in samples.chunks_exact(self.size).zip(&self.assignments) {
            add(&mut self.sums[id as usize * self.size..][..self.size], sample, 1.0);
            self.sizes[id as usize] += 1;
        }
        (0..self.sizes.len()).for_each(|cluster| self.mean(cluster));
    }

    fn mean(&mut self, cluster: usize) {
        if let count @ 1.. = self.sizes[cluster] {
            let span = cluster * self.size..(cluster + 1) * self.size;
            for (centre, sum) in self.centres[span.clone()].iter_mut().zip(&self.sums[span]) {
                *centre = (sum / count as f64) as f32;
            }
        }
    }

    /// Moves samples to where they now belong: `chosen` and `losses` one for each of `samples`, `values` theirs, flat.
    pub fn update(&mut self, samples: &[u32], chosen: &[u32], losses: &[f32], values: &[f32]) {
        let mut changed = vec![false; self.sizes.len()];
        let news = samples.iter().zip(chosen).zip(losses).zip(values.chunks_exact(self.size));
        for (((&sample, &to), &loss), values) in news {
            self.losses[sample as usize] = loss;
            let from = std::mem::replace(&mut self.assignments[sample as usize], to);
            if from != to {
                for (cluster, sign) in [(from as usize, -1.0), (to as usize, 1.0)] {
                    add(&mut self.sums[cluster * self.size..][..self.size], values, sign);
                    changed[cluster] = true;
                }
                self.sizes[from as usize] -= 1;
                self.sizes[to as usize] += 1;
            }
        }
        changed.iter().enumerate().filter(|(_, changed)| **changed).for_each(|(cluster, _)| self.mean(cluster));
    }

    /// The cluster of a sample.
    pub fn of(&self, sample: u32) -> u32 {
        self.assignments[sample as usize]
    }

    /// The cluster of every sample.
    pub fn assignments(&self) -> &[u32] {
        &self.assignments
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.assignments.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.assignments.is_empty()
    }

    /// Samples in each cluster.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Values of a sample.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The centres, one after the other.
    pub fn centres(&self) -> Vec<f32> {
        self.centres.clone()
    }

    /// What a checkpoint keeps; sums follow from it and the samples.
    pub fn state(&self) -> State {
        // Ids are below 2^16: an f32 holds them exactly.
        let assignments = self.assignments.iter().map(|&id| id as f32).collect();
        State::from([
            ("assignments".into(), assignments),
            ("losses".into(), self.losses.clone()),
            ("centres".into(), self.centres.clone()),
        ])
    }

    /// Takes up a state that [`Members::state`] gave, but for the sums, which [`Members::refresh`] makes.
    pub fn restored(mut state: State, clusters: usize) -> Option<Self> {
        let assignments: Vec<u32> = state.remove("assignments")?.into_iter().map(|id| id as u32).collect();
        let centres = state.remove("centres")?;
        let size = centres.len() / clusters;
        let mut sizes = vec![0; clusters];
        assignments.iter().for_each(|&id| sizes[id as usize] += 1);
        let losses = state.remove("losses")?;
        Some(Self { size, losses, assignments, sums: vec![0.0; clusters * size], sizes, centres })
    }
}

fn add(sums: &mut [f64], values: &[f32], sign: f64) {
    sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += sign * f64::from(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups of three numbers.
    const SAMPLES: [f32; 6] = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];

    fn seeded(clusters: usize) -> Members {
        Members::start(&SAMPLES, 1, clusters, Start::Seeds, 1, 1).unwrap()
    }

    fn naive_centres(members: &Members) -> Vec<f32> {
        let mean = |cluster: u32| {
            let own = || SAMPLES.iter().zip(members.assignments()).filter(|(_, id)| **id == cluster);
            own().map(|(value, _)| value).sum::<f32>() / own().count() as f32
        };
        (0..members.sizes().len() as u32).map(mean).collect()
    }

    #[test]
    fn centres_are_the_means_of_their_samples_after_every_move() {
        let mut members = seeded(2);
        assert_eq!(members.centres(), naive_centres(&members));
        let (first, second) = (members.of(0), members.of(5));
        members.update(&[2, 4, 3], &[second, first, second], &[1.0; 3], &[2.0, 11.0, 10.0]);
        assert_eq!((members.of(2), members.of(4), members.of(3)), (second, first, second));
        assert_eq!(members.centres(), naive_centres(&members));
        assert_eq!(members.sizes().iter().sum::<usize>(), 6);
    }

    #[test]
    fn an_empty_cluster_keeps_its_centre_until_it_is_given_what_fits_worst() {
        let mut members = seeded(2);
        let (first, second) = (members.of(0), members.of(5));
        let centre = members.centres()[second as usize];
        members.update(&[0, 1, 2, 3, 4, 5], &[first; 6], &[0.0, 0.0, 0.0, 1.0, 9.0, 2.0], &SAMPLES);
        assert_eq!(members.centres()[second as usize], centre);
        members.refresh(&SAMPLES, 1);
        assert_eq!((members.of(4), members.sizes()[second as usize]), (second, 1));
        assert_eq!(members.centres(), naive_centres(&members));
    }

    #[test]
    fn a_resumed_run_has_the_same_centres() {
        let mut members = seeded(3);
        members.update(&[0, 5], &[1, 0], &[0.5, 0.25], &[0.0, 12.0]);
        let mut resumed = Members::restored(members.state(), 3).unwrap();
        members.refresh(&SAMPLES, 1);
        resumed.refresh(&SAMPLES, 1);
        assert_eq!(members, resumed);
    }

    #[test]
    fn as_many_clusters_as_different_samples_are_the_most() {
        let error = Members::start(&[1.0, 1.0, 2.0, 2.0], 1, 3, Start::Seeds, 1, 1).unwrap_err().to_string();
        assert!(error.contains("more clusters than different samples"), "{error}");
        assert!(error.ends_with("expected at most 2, found 3"), "{error}");
        assert!(Members::start(&[1.0, 1.0, 2.0, 2.0], 1, 2, Start::Seeds, 1, 1).is_ok());
    }
}
