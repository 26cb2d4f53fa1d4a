//! Retrieval by cosine similarity: mean average precision.

use ndarray::ArrayView2;

use super::cosine::for_each_query;

/// Bits of a sort key that one pass of the radix sort looks at.
const DIGIT_BITS: usize = 11;
const DIGIT_MASK: usize = (1 << DIGIT_BITS) - 1;

/// Mean over the queries of the average precision of the gallery ranked by cosine similarity.
///
/// The average precision of a query is the mean, over the relevant (equally labelled) items retrieved, of
/// `hits so far / rank`; a query without a hit has 0. `top` keeps only that many of the ranking; `None` ranks the
/// whole gallery. Of equally similar items the one first in the gallery ranks higher. To truncate an embedding pass
/// its first columns: rows are normalised here, after truncation.
///
/// `gallery` is `[n, d]`, `queries` `[m, d]`; the result is in [0, 1], and 0 without queries.
///
/// # Panics
/// When labels are not as many as rows, or the widths differ.
pub fn mean_average_precision(
    gallery: &ArrayView2<f32>,
    gallery_labels: &[u16],
    queries: &ArrayView2<f32>,
    query_labels: &[u16],
    top: Option<usize>,
) -> f64 {
    assert_eq!(gallery.nrows(), gallery_labels.len(), "one label for every gallery row");
    assert_eq!(queries.nrows(), query_labels.len(), "one label for every query");
    let top = top.unwrap_or(gallery.nrows());
    let precisions = for_each_query(gallery, queries, |query, similarities| {
        let relevant = |item: usize| gallery_labels[item] == query_labels[query];
        average_precision(&ranking(similarities, relevant)[..top.min(similarities.len())])
    });
    precisions.iter().sum::<f64>() / precisions.len().max(1) as f64
}

/// The gallery from the most similar item to the least, as sort keys whose low half is 1 for a relevant item. A radix
/// sort, because it leaves equals in gallery order without having to carry their numbers.
fn ranking(similarities: &[f32], relevant: impl Fn(usize) -> bool) -> Vec<u64> {
    let key = |(item, &similarity)| u64::from(descending(similarity)) << 32 | u64::from(relevant(item));
    let mut keys: Vec<u64> = similarities.iter().enumerate().map(key).collect();
    let mut sorted = vec![0; keys.len()];
    for shift in (32..64).step_by(DIGIT_BITS) {
        let digit = |key: u64| (key >> shift) as usize & DIGIT_MASK;
        let mut starts = [0; DIGIT_MASK + 2];
        for &key in &keys {
            starts[digit(key) + 1] += 1;
        }
        for value in 1..starts.len() {
            starts[value] += starts[value - 1];
        }
        for &key in &keys {
            let place = &mut starts[digit(key)];
            sorted[*place] = key;
            *place += 1;
        }
        std::mem::swap(&mut keys, &mut sorted);
    }
    keys
}

/// A number that is smaller for a larger similarity, and equal for 0 and -0.
fn descending(similarity: f32) -> u32 {
    let bits = (similarity + 0.0).to_bits();
    if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) }
}

fn average_precision(ranking: &[u64]) -> f64 {
    let mut hits = 0.0;
    let mut sum = 0.0;
    for (place, key) in ranking.iter().enumerate() {
        if key & 1 == 1 {
            hits += 1.0;
            sum += hits / (place + 1) as f64;
        }
    }
    if hits > 0.0 { sum / hits } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use std::cmp::Ordering;

    /// Sorts the whole gallery by f64 cosine; precision at every hit, counted afresh.
    fn naive(gallery: &Array2<f32>, labels: &[u16], query: &[f32], label: u16, top: usize) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let cosine = |row: &[f32]| dot(row, query) / (dot(row, row) * dot(query, query)).sqrt();
        let mut order: Vec<usize> = (0..labels.len()).collect();
        let similarity: Vec<f64> = gallery.rows().into_iter().map(|row| cosine(&row.to_vec())).collect();
        order.sort_by(|&a, &b| similarity[b].total_cmp(&similarity[a]));
        order.truncate(top);
        let hit = |&place: &usize| labels[order[place]] == label;
        let places: Vec<usize> = (0..order.len()).filter(hit).collect();
        let precision = |&place: &usize| (0..=place).filter(hit).count() as f64 / (place + 1) as f64;
        if places.is_empty() { 0.0 } else { places.iter().map(precision).sum::<f64>() / places.len() as f64 }
    }

    #[test]
    fn agrees_with_the_definition() {
        let value = |i: usize, j: usize| (((i * 193 + j * 71 + i * i * 7) % 101) as f32) / 25.0 - 2.0;
        let gallery = Array2::from_shape_fn((99, 3), |(i, j)| value(i, j));
        let labels: Vec<u16> = (0..99).map(|i| (i * i % 5) as u16).collect();
        let queries = Array2::from_shape_fn((40, 3), |(i, j)| value(i + 500, j));
        let query_labels: Vec<u16> = (0..40).map(|i| (i % 6) as u16).collect();
        for top in [1, 7, 99] {
            let found = mean_average_precision(&gallery.view(), &labels, &queries.view(), &query_labels, Some(top));
            let each = queries.rows().into_iter().zip(&query_labels);
            let sum: f64 = each.map(|(q, &label)| naive(&gallery, &labels, &q.to_vec(), label, top)).sum();
            assert!((found - sum / 40.0).abs() < 1e-9, "top {top}: {found} and {}", sum / 40.0);
        }
    }

    #[test]
    fn a_hand_made_ranking_has_the_precision_worked_out_by_hand() {
        let gallery = array![[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.3]];
        let query = array![[2.0, 0.0]];
        let map = |top| mean_average_precision(&gallery.view(), &[1, 0, 1, 1], &query.view(), &[1], top);
        assert!((map(None) - (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0).abs() < 1e-12);
        assert_eq!(map(Some(2)), 1.0);
        let none = mean_average_precision(&gallery.view(), &[1, 0, 1, 1], &query.view(), &[7], None);
        assert_eq!(none, 0.0);
    }

    #[test]
    fn equally_similar_items_rank_in_gallery_order() {
        let gallery = Array2::from_elem((3, 2), 1.0);
        let map =
            |labels: [u16; 3]| mean_average_precision(&gallery.view(), &labels, &array![[1.0, 0.0]].view(), &[1], None);
        assert_eq!(map([1, 0, 0]), 1.0);
        assert_eq!(map([0, 0, 1]), 1.0 / 3.0);
    }

    #[test]
    fn keys_sort_as_similarities_do() {
        let values = [-1.0, -0.5, -1e-30, -0.0, 0.0, 1e-30, 0.5, 1.0_f32];
        for a in values {
            for b in values {
                let expected = b.partial_cmp(&a).unwrap_or(Ordering::Equal);
                assert_eq!(descending(a).cmp(&descending(b)), expected, "{a} and {b}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let gallery = Array2::from_shape_fn((500, 8), |(i, j)| ((i * 31 + j * 17) as f32).sin());
        let labels: Vec<u16> = (0..500).map(|i| i % 4).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| mean_average_precision(&gallery.view(), &labels, &gallery.view(), &labels, None))
        };
        assert_eq!(run(1), run(3));
    }
}
