//! Retrieval by Hamming distance between binary codes: mean average precision, precision at 500, precision within
//! radius 2.
//!
//! Distances are small integers, so ties are the rule and the way they are treated makes the figure:
//! - mAP treats all items at one distance as retrieved together: each relevant one of them counts with the precision
//!   of everything up to and including that distance. It depends on no order of the gallery.
//! - Precision at 500 takes items at equal distance in gallery order.
//! - Precision within radius 2 takes the whole ball; an empty ball counts as 0.

use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Items that precision at 500 looks at (the whole gallery, when it has fewer).
const TOP: usize = 500;

/// Largest distance inside the ball.
const RADIUS: usize = 2;

/// Binary codes, as the chip makes them: bit `j` of a code is bit `j % 8`, counted from the least significant, of its
/// byte `j / 8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    bits: usize,
    bytes: Vec<u8>,
}

impl Codes {
    /// Codes of `bits` bits each from packed rows of `⌈bits / 8⌉` bytes. Bits past the last one are ignored.
    ///
    /// # Errors
    /// When `bits` is 0 or the bytes are not whole rows; `place` is where the bytes are from.
    pub fn from_bytes(place: &str, bits: usize, bytes: Vec<u8>) -> Result<Self> {
        if bits == 0 {
            return Err(Error::input(place, "wrong number of bits", "at least 1", bits));
        }
        if !bytes.len().is_multiple_of(bits.div_ceil(8)) {
            let expected = format!("a multiple of {} for codes of {bits} bits", bits.div_ceil(8));
            return Err(Error::input(place, "wrong number of bytes", expected, bytes.len()));
        }
        Ok(Self { bits, bytes })
    }

    /// One code for each row of `features` `[n, bits]`: bit `j` is set where column `j` is greater than 0.
    ///
    /// # Panics
    /// When there are no columns.
    pub fn from_signs(features: &ArrayView2<f32>) -> Self {
        let bits = features.ncols();
        assert!(bits > 0, "a code needs at least one bit");
        let mut bytes = vec![0; features.nrows() * bits.div_ceil(8)];
        for (row, code) in features.rows().into_iter().zip(bytes.chunks_exact_mut(bits.div_ceil(8))) {
            for (j, _) in row.iter().enumerate().filter(|&(_, &value)| value > 0.0) {
                code[j / 8] |= 1 << (j % 8);
            }
        }
        Self { bits, bytes }
    }

    /// Adds the codes of `others` behind these.
    ///
    /// # Panics
    /// When they have another number of bits.
    pub fn append(&mut self, others: &Self) {
        assert_eq!(self.bits, others.bits, "codes of one length");
        self.bytes.extend_from_slice(&others.bytes);
    }

    /// The bits in another order: bit `j` of the result is bit `order[j]`.
    ///
    /// # Panics
    /// When the order is empty, or names a bit that is not there.
    pub fn reordered(&self, order: &[usize]) -> Self {
        let stride = order.len().div_ceil(8);
        let mut bytes = vec![0; self.len() * stride];
        for (code, new) in self.rows().zip(bytes.chunks_exact_mut(stride)) {
            for (j, &bit) in order.iter().enumerate() {
                new[j / 8] |= (code[bit / 8] >> (bit % 8) & 1) << (j % 8);
            }
        }
        Self { bits: order.len(), bytes }
    }

    /// Bits of each code.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.bits.div_ceil(8)
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of every code.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.bits.div_ceil(8))
    }

    /// The codes with these numbers, in this order.
    ///
    /// # Panics
    /// When a number is too large.
    pub fn select(&self, numbers: &[usize]) -> Self {
        let stride = self.bits.div_ceil(8);
        let bytes = numbers.iter().flat_map(|&i| &self.bytes[i * stride..(i + 1) * stride]).copied().collect();
        Self { bits: self.bits, bytes }
    }

    /// The first `bits` bits of every code, in 64-bit words.
    fn words(&self, bits: usize) -> Vec<Vec<u64>> {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        let prefix = |row: &[u8]| {
            let mut words: Vec<u64> = row[..bits.div_ceil(8)].chunks(8).map(word).collect();
            if let (Some(last), 1..) = (words.last_mut(), bits % 64) {
                *last &= (1 << (bits % 64)) - 1;
            }
            words
        };
        self.rows().map(prefix).collect()
    }
}

/// The figures of codes of one length. All are means over the queries, in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HashPoint {
    /// Bits of the code that were compared.
    pub bits: usize,
    /// Mean average precision over the whole gallery, ties together.
    pub map: f64,
    /// Precision among the 500 nearest (all, when the gallery has fewer), ties in gallery order.
    pub precision_at_500: f64,
    /// Precision among the items at distance 2 or less; 0 when there are none.
    pub precision_r2: f64,
}

/// Ranks the gallery for every query by the Hamming distance between the first `bits` bits of their codes.
///
/// # Panics
/// When `bits` is 0 or more than either side has, or labels are not as many as codes.
pub fn hash_metrics(
    gallery: &Codes,
    gallery_labels: &[u16],
    queries: &Codes,
    query_labels: &[u16],
    bits: usize,
) -> HashPoint {
    assert!(bits > 0 && bits <= gallery.bits.min(queries.bits), "codes must have the bits that are compared");
    assert_eq!(gallery.len(), gallery_labels.len(), "one label for every gallery code");
    assert_eq!(queries.len(), query_labels.len(), "one label for every query");
    let gallery = gallery.words(bits);
    let figures: Vec<[f64; 3]> = queries
        .words(bits)
        .par_iter()
        .zip(query_labels)
        .map(|(query, label)| {
            let distance = |code: &Vec<u64>| code.iter().zip(query).map(|(a, b)| (a ^ b).count_ones() as usize).sum();
            let distances: Vec<usize> = gallery.iter().map(distance).collect();
            let relevant = |item: usize| gallery_labels[item] == *label;
            let shells = Shells::new(&distances, bits, relevant);
            [
                shells.average_precision(),
                shells.precision_at(TOP, &distances, relevant),
                shells.precision_within(RADIUS),
            ]
        })
        .collect();
    let mean = |k: usize| figures.iter().map(|figure| figure[k]).sum::<f64>() / figures.len().max(1) as f64;
    HashPoint { bits, map: mean(0), precision_at_500: mean(1), precision_r2: mean(2) }
}

/// How many items, and relevant items, lie at each distance from a query.
struct Shells {
    items: Vec<usize>,
    relevant: Vec<usize>,
}

impl Shells {
    fn new(distances: &[usize], bits: usize, relevant: impl Fn(usize) -> bool) -> Self {
        let mut shells = Self { items: vec![0; bits + 1], relevant: vec![0; bits + 1] };
        for (item, &distance) in distances.iter().enumerate() {
            shells.items[distance] += 1;
            shells.relevant[distance] += usize::from(relevant(item));
        }
        shells
    }

    /// Σ over distances of (share of the relevant items at this distance) · (precision up to this distance).
    fn average_precision(&self) -> f64 {
        let (mut items, mut hits, mut sum) = (0, 0, 0.0);
        for (&here, &relevant) in self.items.iter().zip(&self.relevant) {
            items += here;
            hits += relevant;
            sum += relevant as f64 * hits as f64 / items.max(1) as f64;
        }
        sum / hits.max(1) as f64
    }

    fn precision_at(&self, top: usize, distances: &[usize], relevant: impl Fn(usize) -> bool) -> f64 {
        let top = top.min(distances.len());
        let (mut items, mut hits) = (0, 0);
        for (distance, &here) in self.items.iter().enumerate() {
            if items + here > top {
                // Only some of this shell fit: the first ones in the gallery.
                let shell = (0..distances.len()).filter(|&item| distances[item] == distance);
                hits += shell.take(top - items).filter(|&item| relevant(item)).count();
                break;
            }
            items += here;
            hits += self.relevant[distance];
        }
        hits as f64 / top.max(1) as f64
    }

    fn precision_within(&self, radius: usize) -> f64 {
        let within = |counts: &[usize]| counts.iter().take(radius + 1).sum::<usize>();
        within(&self.relevant) as f64 / within(&self.items).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn pseudo_random_features(n: usize, d: usize, shift: usize) -> Array2<f32> {
        Array2::from_shape_fn((n, d), |(i, j)| ((((i + shift) * 7919 + j * 104_729) % 1009) as f32) - 504.0)
    }

    fn naive_distance(a: &[f32], b: &[f32]) -> usize {
        a.iter().zip(b).filter(|(a, b)| (**a > 0.0) != (**b > 0.0)).count()
    }

    /// Each figure from its definition, one threshold or item at a time.
    fn naive(distances: &[usize], relevant: &[bool]) -> [f64; 3] {
        let precision =
            |items: &[usize]| items.iter().filter(|&&item| relevant[item]).count() as f64 / items.len().max(1) as f64;
        let within = |radius: usize| (0..distances.len()).filter(|&i| distances[i] <= radius).collect::<Vec<_>>();
        let hits: Vec<usize> = (0..distances.len()).filter(|&i| relevant[i]).collect();
        let map = hits.iter().map(|&i| precision(&within(distances[i]))).sum::<f64>() / hits.len().max(1) as f64;
        let mut order: Vec<usize> = (0..distances.len()).collect();
        order.sort_by_key(|&i| (distances[i], i));
        order.truncate(500);
        [map, precision(&order), precision(&within(2))]
    }

    #[test]
    fn agrees_with_the_definitions_on_every_prefix() {
        for (n, d) in [(620, 9), (130, 70)] {
            let gallery = pseudo_random_features(n, d, 0);
            let queries = pseudo_random_features(15, d, 3);
            let labels: Vec<u16> = (0..n).map(|i| (i * i % 7) as u16).collect();
            let query_labels: Vec<u16> = (0..15).map(|i| i % 9).collect();
            let codes = (Codes::from_signs(&gallery.view()), Codes::from_signs(&queries.view()));
            for bits in (1..=d).filter(|bits| bits % 8 <= 1 || *bits == d) {
                let found = hash_metrics(&codes.0, &labels, &codes.1, &query_labels, bits);
                let mut expected = [0.0; 3];
                for (query, &label) in queries.rows().into_iter().zip(&query_labels) {
                    let query = &query.to_vec()[..bits];
                    let distance = |row: ndarray::ArrayView1<f32>| naive_distance(&row.to_vec()[..bits], query);
                    let distances: Vec<usize> = gallery.rows().into_iter().map(distance).collect();
                    let relevant: Vec<bool> = labels.iter().map(|&other| other == label).collect();
                    for (sum, figure) in expected.iter_mut().zip(naive(&distances, &relevant)) {
                        *sum += figure / 15.0;
                    }
                }
                for (a, b) in [found.map, found.precision_at_500, found.precision_r2].iter().zip(expected) {
                    assert!((a - b).abs() < 1e-12, "{bits} bits of {d}: {found:?}, by definition {expected:?}");
                }
            }
        }
    }

    #[test]
    fn average_precision_is_that_of_scikit_learn() {
        // average_precision_score of scikit-learn 1.9.1, with 1 / (1 + distance) as the score.
        let distances = [0, 1, 1, 2, 2, 2, 3, 5, 5, 8];
        let relevant = [true, false, true, true, false, true, false, true, false, true];
        let shells = Shells::new(&distances, 8, |item| relevant[item]);
        assert!((shells.average_precision() - 0.6925925925925925).abs() < 1e-12);
    }

    #[test]
    fn hand_made_codes_have_the_figures_worked_out_by_hand() {
        // Distances 0, 1, 1, 4 from the query.
        let gallery = Codes::from_bytes("codes", 4, vec![0b0000, 0b0001, 0b1000, 0b1111]).unwrap();
        let query = Codes::from_bytes("codes", 4, vec![0b0000]).unwrap();
        let found = hash_metrics(&gallery, &[1, 1, 0, 1], &query, &[1], 4);
        assert!((found.map - (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0).abs() < 1e-12);
        assert_eq!(found.precision_at_500, 0.75);
        assert_eq!(found.precision_r2, 2.0 / 3.0);
    }

    #[test]
    fn an_empty_ball_counts_as_zero() {
        let gallery = Codes::from_bytes("codes", 8, vec![0xff; 3]).unwrap();
        let query = Codes::from_bytes("codes", 8, vec![0]).unwrap();
        assert_eq!(hash_metrics(&gallery, &[1; 3], &query, &[1], 8).precision_r2, 0.0);
    }

    #[test]
    fn map_does_not_depend_on_the_order_of_the_gallery() {
        let gallery = Codes::from_bytes("codes", 2, (0..40).map(|i| i % 4).collect()).unwrap();
        let labels: Vec<u16> = (0..40).map(|i| (i / 4) % 3).collect();
        let order: Vec<usize> = (0..40).rev().collect();
        let reversed: Vec<u16> = labels.iter().rev().copied().collect();
        let (a, b) = (hash_metrics(&gallery, &labels, &gallery, &labels, 2), {
            hash_metrics(&gallery.select(&order), &reversed, &gallery, &labels, 2)
        });
        assert!((a.map - b.map).abs() < 1e-12);
    }

    #[test]
    fn bits_are_packed_least_significant_first() {
        let codes = Codes::from_signs(&array![[1.0, 0.0, -1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]].view());
        assert_eq!(codes.rows().next(), Some(&[0b1000_1001, 0b01][..]));
        assert_eq!((codes.bits(), codes.len()), (10, 1));
    }

    #[test]
    fn bytes_that_are_not_whole_rows_are_refused() {
        let error = Codes::from_bytes("codes.npy", 9, vec![0; 3]).unwrap_err().to_string();
        assert!(error.contains("codes.npy") && error.contains("multiple of 2"), "{error}");
        assert!(Codes::from_bytes("codes.npy", 0, vec![]).is_err());
    }
}
