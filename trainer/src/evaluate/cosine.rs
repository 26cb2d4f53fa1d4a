//! Cosine similarity of every query with the whole gallery, a block of queries at a time.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Queries in one matrix product: enough to use the gallery's cache lines more than once, few enough to keep the
/// block of similarities small.
const QUERIES_AT_ONCE: usize = 64;

/// The rows of `features` `[n, d]`, each divided by its Euclidean norm. A row of zeros stays zero: its similarity
/// with everything is 0.
pub fn unit_rows(features: &ArrayView2<f32>) -> Array2<f32> {
    let mut unit = features.as_standard_layout().into_owned();
    unit.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut row| {
        let norm = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.mapv_inplace(|value| (f64::from(value) / norm) as f32);
        }
    });
    unit
}

/// Calls `judge(query, similarities)` for every query, in parallel, where `similarities[g]` in [-1, 1] is the cosine
/// of the query and the gallery row `g`; returns the answers in the order of the queries.
///
/// # Panics
/// When gallery and queries differ in width.
pub fn for_each_query<T: Send>(
    gallery: &ArrayView2<f32>,
    queries: &ArrayView2<f32>,
    judge: impl Fn(usize, &[f32]) -> T + Sync,
) -> Vec<T> {
    assert_eq!(gallery.ncols(), queries.ncols(), "gallery and queries must have the same width");
    let (gallery, queries) = (unit_rows(gallery), unit_rows(queries));
    let blocks: Vec<ArrayView2<f32>> = queries.axis_chunks_iter(Axis(0), QUERIES_AT_ONCE).collect();
    let buffer = || Array2::<f32>::zeros((QUERIES_AT_ONCE, gallery.nrows()));
    let answers: Vec<Vec<T>> = blocks
        .par_iter()
        .enumerate()
        .map_init(buffer, |buffer, (block, queries)| {
            let mut similarities = buffer.slice_mut(s![..queries.nrows(), ..]);
            general_mat_mul(1.0, queries, &gallery.t(), 0.0, &mut similarities);
            let rows = similarities.rows().into_iter().enumerate();
            rows.map(|(row, similarities)| {
                let similarities = similarities.to_slice().expect("the buffer is row-major");
                judge(block * QUERIES_AT_ONCE + row, similarities)
            })
            .collect()
        })
        .collect();
    answers.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_have_unit_norm_and_zeros_stay_zero() {
        let unit = unit_rows(&array![[3.0, 4.0], [0.0, 0.0], [-1e-30, 0.0]].view());
        assert_eq!(unit, array![[0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]]);
    }

    #[test]
    fn similarities_are_cosines_for_any_number_of_queries() {
        let row = |i: usize, j: usize| ((i * 7 + j * 3) % 11) as f32 - 4.5;
        let gallery = Array2::from_shape_fn((13, 3), |(i, j)| row(i, j));
        for (count, width) in [(0, 3), (1, 3), (QUERIES_AT_ONCE, 1), (QUERIES_AT_ONCE + 1, 2)] {
            let gallery = gallery.slice(s![.., ..width]);
            let queries = Array2::from_shape_fn((count, width), |(i, j)| row(i + 5, j + 1));
            let found = for_each_query(&gallery, &queries.view(), |query, row| (query, row.to_vec()));
            assert_eq!(found.len(), count);
            for (i, (query, similarities)) in found.iter().enumerate() {
                assert_eq!(i, *query);
                for (g, &similarity) in similarities.iter().enumerate() {
                    let (a, b) = (queries.row(i), gallery.row(g));
                    let cosine = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt();
                    assert!((similarity - cosine).abs() < 1e-6);
                }
            }
        }
    }
}
