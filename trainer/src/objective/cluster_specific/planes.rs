//! Clusters that are planes, by exact alternation (Bradley and Mangasarian 2000, "k-plane clustering"): each cluster's mean and
//! leading principal components, then each sample to the plane that it is nearest to. Linear autoencoders have the same
//! optima, and reach them from here; from random directions they would first learn whatever the seeds gave them.

use nalgebra::DMatrix;
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::data::spread;
use crate::evaluate::{kmeans, kmeans_seeds};
use crate::objective::Experts;
use crate::order::symmetric_eigen;

/// How often alternation starts from the samples nearest to each of some seeds, which planes that cross need, and from the
/// clusters of k-means, which groups need. The best end of all is taken.
const DRAWS: u64 = 5;
/// Alternations after which a start ends even if samples still move.
const ALTERNATIONS: usize = 30;
/// Samples that planes are found on, at most.
const SAMPLES: usize = 1000;

/// The planes' common form: a mean, and orthonormal rows.
struct Plane {
    mean: Array1<f32>,
    /// `[dims, size]`
    directions: Array2<f32>,
}

/// The cluster of each row of `samples` `[n, size]`, of `clusters` planes with `dims` dimensions: of several starts the one
/// whose samples lie nearest to their planes.
pub fn planes(samples: &ArrayView2<f32>, clusters: usize, dims: usize, seed: u64) -> Vec<u32> {
    let some: Vec<usize> = spread(samples.nrows(), SAMPLES.max(clusters)).collect();
    let some = samples.select(Axis(0), &some);
    let mut best: Option<(f64, Vec<Plane>)> = None;
    for draw in 0..DRAWS {
        let seeds = kmeans_seeds(&some.view(), clusters, seed, draw).1;
        let groups = kmeans(&some.view(), clusters, 1, seed.wrapping_add(draw)).assignment;
        for first in [seeds, groups] {
            let end = alternate(&some.view(), first, clusters, dims);
            if best.as_ref().is_none_or(|best| end.0 < best.0) {
                best = Some(end);
            }
        }
    }
    let (_, planes) = best.expect("there are several starts");
    nearest(samples, &planes).0
}

/// From first assignments to the planes at the end, with the sum of squared distances to them.
fn alternate(samples: &ArrayView2<f32>, mut assignments: Vec<u32>, clusters: usize, dims: usize) -> (f64, Vec<Plane>) {
    let mut planes: Vec<Plane> = Vec::new();
    let mut distance = f64::INFINITY;
    for _ in 0..ALTERNATIONS {
        for cluster in 0..clusters {
            let own: Vec<usize> = (0..assignments.len()).filter(|&i| assignments[i] == cluster as u32).collect();
            // A cluster that lost all its samples keeps its plane.
            if own.is_empty() && cluster < planes.len() {
                continue;
            }
            let plane = principal(&samples.select(Axis(0), &own).view(), dims);
            match planes.get_mut(cluster) {
                Some(known) => *known = plane,
                None => planes.push(plane),
            }
        }
        let (next, sum) = nearest(samples, &planes);
        distance = sum;
        if next == assignments {
            break;
        }
        assignments = next;
    }
    (distance, planes)
}

/// The plane of the leading principal components of `rows`; as many as there are rows for, where `dims` are more.
fn principal(rows: &ArrayView2<f32>, dims: usize) -> Plane {
    let size = rows.ncols();
    let mean = rows.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(size));
    let centred = rows - &mean;
    // The smaller of the two products has the same eigenvalues but for zeros.
    let tall = rows.nrows() > size;
    let product = if tall { centred.t().dot(&centred) } else { centred.dot(&centred.t()) };
    let n = product.nrows();
    let (values, vectors) = symmetric_eigen(&DMatrix::from_fn(n, n, |i, j| f64::from(product[[i, j]])));
    let kept = (0..n).filter(|&k| values[k] > 1e-9 * values[0].max(f64::MIN_POSITIVE)).take(dims).collect::<Vec<_>>();
    let mut directions = Array2::zeros((kept.len(), size));
    for (mut direction, &k) in directions.outer_iter_mut().zip(&kept) {
        let vector = Array1::from_shape_fn(n, |i| vectors[(i, k)] as f32);
        let along = if tall { vector } else { centred.t().dot(&vector) };
        let length = along.dot(&along).sqrt();
        direction.assign(&(along / length));
    }
    Plane { mean, directions }
}

/// The nearest plane of every sample, of equals the first, and the sum of squared distances.
fn nearest(samples: &ArrayView2<f32>, planes: &[Plane]) -> (Vec<u32>, f64) {
    let mut found = vec![(0u32, f32::INFINITY); samples.nrows()];
    for (id, plane) in planes.iter().enumerate() {
        let centred = samples - &plane.mean;
        let along = centred.dot(&plane.directions.t());
        for (i, best) in found.iter_mut().enumerate() {
            let (row, along) = (centred.row(i), along.row(i));
            // Rounding can leave less than nothing.
            let distance = (row.dot(&row) - along.dot(&along)).max(0.0);
            if distance < best.1 {
                *best = (id as u32, distance);
            }
        }
    }
    let sum = found.iter().map(|(_, distance)| f64::from(*distance)).sum();
    (found.into_iter().map(|(id, _)| id).collect(), sum)
}

/// The planes that linear decoders span: `decoder` is `[clusters * dims][size]`, `offsets` `[clusters][size]` what each adds to
/// its centre. Rows are orthonormal, by Gram-Schmidt in the decoder's order.
pub fn experts(decoder: &[f32], centres: &[f32], offsets: &[f32], count: usize, dims: usize) -> Experts {
    let size = decoder.len() / (count * dims);
    let points: Vec<f32> = centres.iter().zip(offsets).map(|(centre, offset)| centre + offset).collect();
    let (mut weight, mut bias) = (Vec::with_capacity(decoder.len()), Vec::with_capacity(count * dims));
    for (rows, point) in decoder.chunks_exact(dims * size).zip(points.chunks_exact(size)) {
        let rows = DMatrix::from_fn(size, dims, |i, k| f64::from(rows[k * size + i]));
        let basis = rows.qr().q();
        for direction in basis.column_iter() {
            let at_point: f64 = direction.iter().zip(point).map(|(a, &b)| a * f64::from(b)).sum();
            weight.extend(direction.iter().map(|&value| value as f32));
            bias.push(-at_point as f32);
        }
    }
    Experts { count, dims, weight, bias, points: Some(points) }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Points on two crossing lines in the plane, `y = x` and `y = 4 - x`, in turn.
    fn crossing() -> Array2<f32> {
        Array2::from_shape_fn((40, 2), |(i, axis)| {
            let along = (i / 2) as f32 * 0.31 - 3.1;
            match (i % 2, axis) {
                (_, 0) => 2.0 + along,
                (0, _) => 2.0 + along,
                _ => 2.0 - along,
            }
        })
    }

    #[test]
    fn crossing_lines_are_told_apart() {
        let found = planes(&crossing().view(), 2, 1, 1);
        for i in 2..40 {
            // The two points at the crossing itself belong to either.
            if (i / 2) != 10 {
                assert_eq!(found[i], found[i % 2], "point {i}: {found:?}");
            }
        }
        assert_ne!(found[0], found[1]);
    }

    #[test]
    fn experts_are_an_orthonormal_basis_of_what_the_decoder_spans() {
        let decoder = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 3.0, 3.0];
        let found = experts(&decoder, &[1.0; 6], &[0.5; 6], 2, 2);
        assert_eq!(found.points, Some(vec![1.5; 6]));
        for (expert, rows) in found.weight.chunks_exact(6).enumerate() {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            assert!((dot(&rows[..3], &rows[..3]) - 1.0).abs() < 1e-6 && dot(&rows[..3], &rows[3..]).abs() < 1e-6);
            let outside = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]][expert];
            assert!(dot(&rows[..3], &outside).abs() < 1e-6 && dot(&rows[3..], &outside).abs() < 1e-6);
            for k in 0..2 {
                let at_point = dot(&rows[3 * k..3 * k + 3], &[1.5; 3]) + found.bias[2 * expert + k];
                assert!(at_point.abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_plane_without_dimensions_is_a_mean() {
        let samples = array![[0.0, 0.0], [0.0, 2.0], [9.0, 9.0], [9.0, 11.0]];
        let found = planes(&samples.view(), 2, 0, 1);
        assert_eq!(found[0], found[1]);
        assert_eq!(found[2], found[3]);
        assert_ne!(found[0], found[2]);
    }

    #[test]
    fn the_plane_is_the_same_from_either_product() {
        let rows = Array2::from_shape_fn((6, 4), |(i, j)| ((i * 7 + j * 3) as f32 * 0.9).sin());
        let tall = principal(&rows.view(), 2);
        // The same rows twice: more rows than columns, and the same directions.
        let twice = ndarray::concatenate![Axis(0), rows.slice(ndarray::s![..3, ..]), rows.slice(ndarray::s![..3, ..])];
        let wide = principal(&rows.slice(ndarray::s![..3, ..]), 2);
        let tall_twice = principal(&twice.view(), 2);
        for k in 0..2 {
            let cosine = wide.directions.row(k).dot(&tall_twice.directions.row(k)).abs();
            assert!((cosine - 1.0).abs() < 1e-4, "direction {k}: cosine {cosine}");
        }
        assert_eq!(tall.directions.nrows(), 2);
    }

    #[test]
    fn alternation_never_moves_samples_away_from_their_planes() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let samples = Array2::from_shape_simple_fn((90, 5), || rng.random_range(-1.0f32..1.0));
        let mut assignments = kmeans_seeds(&samples.view(), 3, 1, 0).1;
        let mut before = f64::INFINITY;
        for step in 0..10 {
            let planes: Vec<Plane> = (0..3)
                .map(|cluster| {
                    let own: Vec<usize> = (0..90).filter(|&i| assignments[i] == cluster).collect();
                    principal(&samples.select(Axis(0), &own).view(), 2)
                })
                .collect();
            let (next, distance) = nearest(&samples.view(), &planes);
            assert!(distance > 0.0 && distance <= before * (1.0 + 1e-5), "step {step}: {distance} after {before}");
            (assignments, before) = (next, distance);
        }
    }
}
