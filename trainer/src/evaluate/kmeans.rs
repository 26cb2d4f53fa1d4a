//! k-means: Lloyd's iterations from k-means++ starts (Arthur and Vassilvitskii 2007), the best of several restarts.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::covariance::mean;

/// Lloyd's iterations after which a restart ends even if samples still move.
const ITERATIONS: usize = 100;

/// Rows one task works on. Fixed, so that the order of additions does not depend on the number of threads.
const CHUNK: usize = 512;

/// The clusters found.
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// `[clusters, d]`.
    pub centroids: Array2<f32>,
    /// The cluster of every sample, in `0..clusters`; of equally near centroids the first.
    pub assignment: Vec<u32>,
    /// Sum of squared distances of the samples to their centroids.
    pub inertia: f64,
}

/// Clusters the rows of `features` `[n, d]`; of `restarts` runs the one with the least inertia (the first, of equals).
///
/// # Panics
/// When there are no restarts, no clusters, or more clusters than samples.
pub fn kmeans(features: &ArrayView2<f32>, clusters: usize, restarts: usize, seed: u64) -> KMeans {
    assert!(restarts > 0 && clusters > 0, "at least one run and one cluster");
    assert!(clusters <= features.nrows(), "no more clusters than samples");
    // Around their mean the samples are small, and so is the rounding of |x|² − 2 x·c + |c|².
    let mean = mean(features);
    let centred = features - &mean;

    let run = |restart: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(restart as u64);
        lloyd(&centred, plus_plus(&centred, clusters, &mut rng))
    };
    let mut best = run(0);
    for restart in 1..restarts {
        let other = run(restart);
        if other.inertia < best.inertia {
            best = other;
        }
    }
    best.centroids += &mean;
    best
}

/// A k-means++ start without Lloyd's iterations: the seeds `[clusters, d]`, and the nearest one of every row of `features`.
/// Each number `draw` gives another start.
///
/// # Panics
/// When there are no clusters.
pub fn seeds(features: &ArrayView2<f32>, clusters: usize, seed: u64, draw: u64) -> (Array2<f32>, Vec<u32>) {
    assert!(clusters > 0, "at least one cluster");
    let mean = mean(features);
    let centred = features - &mean;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(draw);
    let seeds = plus_plus(&centred, clusters, &mut rng);
    let nearest = assign(&centred, &seeds);
    (seeds + &mean, nearest)
}

/// The k-means++ start: each next centroid is a sample drawn with probability proportional to its squared distance to
/// the nearest centroid so far.
fn plus_plus(features: &Array2<f32>, clusters: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
    let n = features.nrows();
    let mut centroids = Array2::zeros((clusters, features.ncols()));
    let mut nearest = vec![f64::INFINITY; n];
    let mut chosen = rng.random_range(0..n);
    for cluster in 0..clusters {
        centroids.row_mut(cluster).assign(&features.row(chosen));
        let centroid = centroids.row(cluster);
        nearest.par_iter_mut().enumerate().for_each(|(i, nearest)| {
            *nearest = nearest.min(squared_distance(features.row(i), centroid));
        });
        let total: f64 = nearest.iter().sum();
        chosen = if total > 0.0 { draw(&nearest, rng.random::<f64>() * total) } else { rng.random_range(0..n) };
    }
    centroids
}

/// The first index at which the running sum of `weights` exceeds `target`.
fn draw(weights: &[f64], target: f64) -> usize {
    let mut sum = 0.0;
    let found = weights.iter().position(|weight| {
        sum += weight;
        sum > target
    });
    // Rounding can leave the target at the very end.
    found.or_else(|| weights.iter().rposition(|&weight| weight > 0.0)).unwrap_or(0)
}

/// Lloyd's iterations until no sample changes its cluster.
fn lloyd(features: &Array2<f32>, mut centroids: Array2<f32>) -> KMeans {
    let mut assignment = assign(features, &centroids);
    for _ in 0..ITERATIONS {
        centroids = means(features, &assignment, centroids);
        let next = assign(features, &centroids);
        if next == assignment {
            break;
        }
        assignment = next;
    }
    let inertia = distances(features, &assignment, &centroids).iter().sum();
    KMeans { centroids, assignment, inertia }
}

/// The nearest centroid of every sample.
fn assign(features: &Array2<f32>, centroids: &Array2<f32>) -> Vec<u32> {
    let norms: Array1<f32> = centroids.rows().into_iter().map(|c| c.dot(&c)).collect();
    let chunks: Vec<ArrayView2<f32>> = features.axis_chunks_iter(Axis(0), CHUNK).collect();
    let parts: Vec<Vec<u32>> = chunks
        .par_iter()
        .map(|rows| {
            // |x|² is the same for every centroid.
            let distances = rows.dot(&centroids.t()) * -2.0 + &norms;
            let nearest = |row: ArrayView1<f32>| {
                (1..row.len()).fold(0, |best, cluster| if row[cluster] < row[best] { cluster } else { best }) as u32
            };
            distances.rows().into_iter().map(nearest).collect()
        })
        .collect();
    parts.concat()
}

/// The mean of every cluster. A cluster without samples restarts at the sample that is farthest from its centroid
/// (each such cluster at another sample).
fn means(features: &Array2<f32>, assignment: &[u32], previous: Array2<f32>) -> Array2<f32> {
    let (clusters, d) = previous.dim();
    let chunks: Vec<_> = features.axis_chunks_iter(Axis(0), CHUNK).zip(assignment.chunks(CHUNK)).collect();
    let sums: Vec<Array2<f64>> = chunks
        .par_iter()
        .map(|(rows, assignment)| {
            let mut sums = Array2::zeros((clusters, d));
            for (row, &cluster) in rows.rows().into_iter().zip(*assignment) {
                sums.row_mut(cluster as usize).zip_mut_with(&row, |sum, &value| *sum += f64::from(value));
            }
            sums
        })
        .collect();
    let mut sizes = vec![0_usize; clusters];
    for &cluster in assignment {
        sizes[cluster as usize] += 1;
    }
    let mut centroids = previous.clone();
    let sum = sums.into_iter().reduce(|a, b| a + b).expect("at least one sample");
    for (cluster, &size) in sizes.iter().enumerate().filter(|&(_, &size)| size > 0) {
        centroids.row_mut(cluster).assign(&sum.row(cluster).mapv(|sum| (sum / size as f64) as f32));
    }

    let empty: Vec<usize> = (0..clusters).filter(|&cluster| sizes[cluster] == 0).collect();
    if !empty.is_empty() {
        let distances = distances(features, assignment, &centroids);
        let mut worst: Vec<usize> = (0..assignment.len()).collect();
        worst.sort_by(|&a, &b| distances[b].total_cmp(&distances[a]).then(a.cmp(&b)));
        for (cluster, sample) in empty.into_iter().zip(worst) {
            centroids.row_mut(cluster).assign(&features.row(sample));
        }
    }
    centroids
}

/// Squared distance of every sample to the centroid it is assigned to.
fn distances(features: &Array2<f32>, assignment: &[u32], centroids: &Array2<f32>) -> Vec<f64> {
    let distance = |i: usize| squared_distance(features.row(i), centroids.row(assignment[i] as usize));
    (0..assignment.len()).into_par_iter().map(distance).collect()
}

fn squared_distance(a: ArrayView1<f32>, b: ArrayView1<f32>) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn blobs(per_blob: usize, seed: u64) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let centres = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0], [5.0, 30.0]];
        Array2::from_shape_fn((5 * per_blob, 2), |(i, j)| centres[i % 5][j] + rng.random_range(-1.0..1.0))
    }

    /// Lloyd's iterations one sample at a time, all in f64.
    fn naive_lloyd(features: &Array2<f32>, start: &Array2<f32>) -> (Vec<u32>, f64) {
        let x = features.mapv(f64::from);
        let mut centroids = start.mapv(f64::from);
        let mut assignment: Vec<u32> = Vec::new();
        loop {
            let distance = |i: usize, c: usize| (&x.row(i) - &centroids.row(c)).mapv(|v| v * v).sum();
            let nearest = |i: usize| {
                let clusters = 0..centroids.nrows();
                clusters.min_by(|&a, &b| distance(i, a).total_cmp(&distance(i, b))).unwrap() as u32
            };
            let next: Vec<u32> = (0..x.nrows()).map(nearest).collect();
            let inertia = (0..x.nrows()).map(|i| distance(i, next[i] as usize)).sum();
            if next == assignment {
                return (assignment, inertia);
            }
            assignment = next;
            for c in 0..centroids.nrows() {
                let members: Vec<usize> = (0..x.nrows()).filter(|&i| assignment[i] as usize == c).collect();
                centroids.row_mut(c).assign(&x.select(Axis(0), &members).mean_axis(Axis(0)).unwrap());
            }
        }
    }

    #[test]
    fn separated_blobs_are_found() {
        let features = blobs(200, 1);
        let found = kmeans(&features.view(), 5, 5, 7);
        for i in 0..features.nrows() {
            assert_eq!(found.assignment[i], found.assignment[i % 5]);
        }
        let mut clusters = found.assignment[..5].to_vec();
        clusters.sort_unstable();
        assert_eq!(clusters, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn agrees_with_the_naive_iterations_from_the_same_start() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let features = Array2::from_shape_fn((900, 3), |_| rng.random_range(-1.0_f32..1.0));
        let start = plus_plus(&features, 6, &mut rng);
        let (assignment, inertia) = naive_lloyd(&features, &start);
        let found = lloyd(&features, start);
        assert_eq!(found.assignment, assignment);
        assert!((found.inertia - inertia).abs() < 1e-4 * inertia);
    }

    #[test]
    fn more_restarts_are_never_worse() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let features = Array2::from_shape_fn((300, 2), |_| rng.random_range(-1.0_f32..1.0));
        let inertia = |restarts| kmeans(&features.view(), 8, restarts, 1).inertia;
        assert!(inertia(10) <= inertia(3) && inertia(3) <= inertia(1));
    }

    #[test]
    fn an_empty_cluster_restarts_at_the_worst_fitted_sample() {
        let features = array![[0.0], [1.0], [9.0]];
        let moved = means(&features, &[0, 0, 0], array![[0.0], [100.0]]);
        assert_eq!(moved, array![[10.0 / 3.0], [9.0]]);
    }

    #[test]
    fn fewer_distinct_samples_than_clusters_end_well() {
        let features = Array2::from_elem((6, 2), 3.0);
        let found = kmeans(&features.view(), 4, 2, 1);
        assert_eq!(found.inertia, 0.0);
        assert!(found.centroids.iter().all(|&value| value == 3.0));
    }

    #[test]
    fn the_centroids_are_where_the_samples_are() {
        let found = kmeans(&array![[1000.0, -5.0], [1002.0, -5.0]].view(), 1, 1, 0);
        assert_eq!(found.centroids, array![[1001.0, -5.0]]);
        assert_eq!(found.inertia, 2.0);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let features = blobs(300, 9);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| kmeans(&features.view(), 7, 3, 11))
        };
        assert_eq!(run(1), run(3));
    }
}
