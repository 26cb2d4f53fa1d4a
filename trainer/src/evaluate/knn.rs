//! Weighted k-nearest-neighbour classification by cosine similarity.
//!
//! Each of the `k` most similar gallery rows votes for its class with weight `exp(similarity / σ)` (Wu et al. 2018,
//! "Unsupervised feature learning via non-parametric instance discrimination", §3.4).

use ndarray::ArrayView2;

use super::cosine::for_each_query;

/// How many neighbours vote, and how fast a vote fades with distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knn {
    /// Neighbours that vote (all of the gallery, when it has fewer). At least 1.
    pub neighbours: usize,
    /// Temperature σ > 0 of the votes.
    pub sigma: f32,
}

impl Default for Knn {
    fn default() -> Self {
        Self { neighbours: 10, sigma: 0.1 }
    }
}

impl Knn {
    /// The class of every row of `queries` `[m, d]`, from `gallery` `[n, d]` with its labels `[n]`.
    ///
    /// Of equally similar rows the one first in the gallery is nearer; of equal votes the lower class wins.
    ///
    /// # Panics
    /// When the gallery is empty, its labels are not as many as its rows, or the widths differ.
    pub fn classify(&self, gallery: &ArrayView2<f32>, labels: &[u16], queries: &ArrayView2<f32>) -> Vec<u16> {
        assert!(!labels.is_empty() && self.neighbours > 0, "at least one neighbour must vote");
        assert_eq!(gallery.nrows(), labels.len(), "one label for every gallery row");
        for_each_query(gallery, queries, |_, similarities| self.winner(&nearest(similarities, self.neighbours), labels))
    }

    /// The class with most votes among `(similarity, gallery row)` pairs, most similar first.
    fn winner(&self, neighbours: &[(f32, usize)], labels: &[u16]) -> u16 {
        let best = neighbours[0].0;
        let mut votes: Vec<(u16, f64)> = Vec::with_capacity(neighbours.len());
        for &(similarity, row) in neighbours {
            // Relative to the best one: exp(1/σ) itself overflows for small σ.
            let vote = (f64::from(similarity - best) / f64::from(self.sigma)).exp();
            match votes.iter_mut().find(|(class, _)| *class == labels[row]) {
                Some((_, sum)) => *sum += vote,
                None => votes.push((labels[row], vote)),
            }
        }
        let better = |a: &&(u16, f64), b: &&(u16, f64)| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0));
        votes.iter().max_by(better).expect("at least one neighbour voted").0
    }
}

/// The `count` most similar gallery rows, most similar first, equals in gallery order.
fn nearest(similarities: &[f32], count: usize) -> Vec<(f32, usize)> {
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(count + 1);
    for (row, &similarity) in similarities.iter().enumerate() {
        let full = best.len() == count;
        if full && similarity <= best[count - 1].0 {
            continue;
        }
        if full {
            best.pop();
        }
        let place = best.partition_point(|&(better, _)| better >= similarity);
        best.insert(place, (similarity, row));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use std::collections::BTreeMap;

    /// Sorts everything and lets the first ones vote.
    fn naive(knn: &Knn, gallery: &Array2<f32>, labels: &[u16], query: &[f32]) -> u16 {
        let cosine = |row: &[f32]| {
            let dot: f64 = row.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let norm = |v: &[f32]| v.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>().sqrt();
            let norms = norm(row) * norm(query);
            if norms > 0.0 { dot / norms } else { 0.0 }
        };
        let mut all: Vec<(f64, usize)> =
            gallery.rows().into_iter().enumerate().map(|(i, row)| (cosine(&row.to_vec()), i)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut votes = BTreeMap::new();
        for &(similarity, row) in all.iter().take(knn.neighbours) {
            *votes.entry(labels[row]).or_insert(0.0) += (similarity / f64::from(knn.sigma)).exp();
        }
        *votes.iter().rev().max_by(|a, b| f64::total_cmp(a.1, b.1)).unwrap().0
    }

    #[test]
    fn agrees_with_sorting_everything() {
        let value = |i: usize, j: usize| (((i * 193 + j * 71 + i * i * 7) % 101) as f32) / 25.0 - 2.0;
        let gallery = Array2::from_shape_fn((150, 4), |(i, j)| value(i, j));
        let labels: Vec<u16> = (0..150).map(|i| (i * i % 5) as u16).collect();
        let queries = Array2::from_shape_fn((70, 4), |(i, j)| value(i + 1000, j));
        for neighbours in [1, 3, 10, 150, 500] {
            let knn = Knn { neighbours, sigma: 0.1 };
            let found = knn.classify(&gallery.view(), &labels, &queries.view());
            let expected: Vec<u16> =
                queries.rows().into_iter().map(|q| naive(&knn, &gallery, &labels, &q.to_vec())).collect();
            assert_eq!(found, expected, "{neighbours} neighbours");
        }
    }

    #[test]
    fn equally_similar_rows_count_in_gallery_order() {
        let gallery = array![[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]];
        let one = Knn { neighbours: 1, sigma: 0.1 };
        assert_eq!(one.classify(&gallery.view(), &[9, 1, 5], &array![[1.0, 0.0]].view()), [9]);
    }

    #[test]
    fn the_lower_class_wins_equal_votes() {
        let gallery = array![[1.0, 0.0], [1.0, 0.0]];
        let two = Knn { neighbours: 2, sigma: 0.1 };
        assert_eq!(two.classify(&gallery.view(), &[7, 3], &array![[1.0, 1.0]].view()), [3]);
    }

    #[test]
    fn a_near_neighbour_outvotes_two_far_ones() {
        let gallery = array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]];
        let query = array![[1.0, 0.5]];
        let classify = |sigma| Knn { neighbours: 3, sigma }.classify(&gallery.view(), &[1, 2, 2], &query.view());
        assert_eq!(classify(0.1), [1]);
        assert_eq!(classify(10.0), [2]);
        assert_eq!(classify(1e-4), [1], "a tiny temperature must not overflow");
    }

    #[test]
    fn a_zero_query_is_as_far_from_everything() {
        let gallery = array![[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]];
        let one = Knn { neighbours: 1, sigma: 0.1 };
        assert_eq!(one.classify(&gallery.view(), &[4, 5, 6], &array![[0.0, 0.0]].view()), [4]);
    }
}
