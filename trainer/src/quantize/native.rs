//! Clusters and codes that a network's own outputs say: logits whose largest is the cluster, signs that are bits.

use eigenlet_shared::description::class_bits;
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};

use super::experts::ExpertHeads;
use super::float_model::Weights;
use crate::evaluate::Codes;
use crate::objective::{Native, NativeBits};

/// The rows of a network's last step that say something by themselves.
#[derive(Clone, Debug, Default)]
pub struct NativeHeads {
    /// One row a cluster; the largest output is the cluster.
    pub clusters: Option<Weights>,
    /// A hash code.
    pub code: Option<NativeCode>,
    /// Clusters with representations of their own; then the clusters and the code are theirs.
    pub experts: Option<ExpertHeads>,
}

/// A hash code that a network's outputs say.
#[derive(Clone, Debug)]
pub enum NativeCode {
    /// One row a bit, which is 1 where the output is above zero.
    Signs(Weights),
    /// `heads` groups of `classes` rows; the code is the number of the largest output of each group.
    Product {
        /// Groups.
        heads: usize,
        /// Rows in each.
        classes: usize,
        /// The rows, group by group.
        rows: Weights,
    },
}

impl NativeHeads {
    /// From the network's last step, `[outputs, features]`.
    pub fn new(last: &Weights, native: &Native) -> Self {
        let clusters = native.clusters.as_ref().map(|logits| {
            let rows = logits.rows.clone();
            let mut weights = Weights {
                weight: last.weight.slice(s![rows.clone(), ..]).to_owned(),
                bias: last.bias.slice(s![rows]).to_owned(),
            };
            weights.bias.iter_mut().zip(&logits.offsets).for_each(|(bias, offset)| *bias += offset);
            weights
        });
        let code = native.bits.as_ref().map(|bits| match bits {
            NativeBits::Signs => NativeCode::Signs(last.clone()),
            NativeBits::Product { heads, classes, offsets } => {
                let mut rows = last.clone();
                rows.bias.iter_mut().zip(offsets).for_each(|(bias, offset)| *bias += offset);
                NativeCode::Product { heads: *heads, classes: *classes, rows }
            }
        });
        Self { clusters, code, experts: None }
    }

    /// Puts the bits of a code of signs in another order; an order of [`informative_order`]'s.
    pub fn reorder(&mut self, order: &[usize]) {
        if let Some(NativeCode::Signs(rows)) = &mut self.code {
            rows.weight = rows.weight.select(Axis(0), order);
            rows.bias = rows.bias.select(Axis(0), order);
        }
    }

    /// The cluster of each row of `features` `[n, features]`, in float.
    pub fn clusters(&self, features: &ArrayView2<f32>) -> Option<Vec<u16>> {
        if let Some(experts) = &self.experts {
            return Some(experts.clusters(features));
        }
        let logits = self.clusters.as_ref()?.outputs(features);
        Some(logits.outer_iter().map(|row| largest(row.iter().copied())).collect())
    }

    /// The code of each row of `features` `[n, features]`, in float.
    pub fn codes(&self, features: &ArrayView2<f32>) -> Option<Codes> {
        if let Some(experts) = &self.experts {
            return Some(experts.codes(features, &experts.clusters(features)));
        }
        Some(match self.code.as_ref()? {
            NativeCode::Signs(rows) => Codes::from_signs(&rows.outputs(features).view()),
            NativeCode::Product { heads, classes, rows } => {
                let outputs = rows.outputs(features);
                let width = id_bits(*classes);
                let signs: Vec<Array2<f32>> = (0..*heads)
                    .map(|head| {
                        let logits = outputs.slice(s![.., head * classes..(head + 1) * classes]);
                        let ids: Vec<u16> = logits.outer_iter().map(|row| largest(row.iter().copied())).collect();
                        Array2::from_shape_fn((ids.len(), width), |(i, bit)| f32::from(ids[i] >> bit & 1))
                    })
                    .collect();
                let views: Vec<ArrayView2<f32>> = signs.iter().map(|bits| bits.view()).collect();
                let all = concatenate(Axis(1), &views).expect("one row for each sample");
                Codes::from_signs(&all.view())
            }
        })
    }
}

impl NativeCode {
    /// Bits of the code.
    pub fn bits(&self) -> usize {
        match self {
            Self::Signs(rows) => rows.bias.len(),
            Self::Product { heads, classes, .. } => heads * id_bits(*classes),
        }
    }
}

/// An order of bits in which any prefix says much: each next bit is the one whose entropy, less what it shares with each bit
/// before it, is the largest (the pairwise approximation of the information of a code, Hu et al. 2017, equation 9).
/// `codes` are those of training samples. Bits that learning left in no order thereby get one; ties go to the lower bit.
pub fn informative_order(codes: &Codes) -> Vec<usize> {
    let bits = codes.bits();
    let n = codes.len().max(1) as f64;
    let mut ones = vec![0u32; bits];
    let mut both = Array2::<u32>::zeros((bits, bits));
    for code in codes.rows() {
        let set: Vec<usize> = (0..bits).filter(|bit| code[bit / 8] >> (bit % 8) & 1 == 1).collect();
        for (place, &a) in set.iter().enumerate() {
            ones[a] += 1;
            for &b in &set[place + 1..] {
                both[[a, b]] += 1;
                both[[b, a]] += 1;
            }
        }
    }
    let entropy = |shares: &[f64]| -> f64 { shares.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum() };
    let share = |bit: usize| f64::from(ones[bit]) / n;
    let alone = |bit: usize| entropy(&[share(bit), 1.0 - share(bit)]);
    let shared = |a: usize, b: usize| {
        let (pa, pb, p11) = (share(a), share(b), f64::from(both[[a, b]]) / n);
        alone(a) + alone(b) - entropy(&[p11, pa - p11, pb - p11, 1.0 - pa - pb + p11])
    };
    let mut worth: Vec<f64> = (0..bits).map(alone).collect();
    let mut left: Vec<usize> = (0..bits).collect();
    let mut order = Vec::with_capacity(bits);
    while let Some(place) = (0..left.len()).reduce(|best, i| if worth[left[i]] > worth[left[best]] { i } else { best })
    {
        let next = left.remove(place);
        left.iter().for_each(|&bit| worth[bit] -= shared(bit, next));
        order.push(next);
    }
    order
}

/// Bits of an id among `classes`.
pub fn id_bits(classes: usize) -> usize {
    class_bits(classes as u16).into()
}

impl Weights {
    /// `[n, outputs]` for `features` `[n, inputs]`.
    pub(super) fn outputs(&self, features: &ArrayView2<f32>) -> Array2<f32> {
        features.dot(&self.weight.t()) + &self.bias
    }
}

/// The number of the largest value; the first, of equals.
pub fn largest(values: impl Iterator<Item = f32>) -> u16 {
    let start = (0, f32::NEG_INFINITY);
    values.enumerate().fold(start, |best, (i, value)| if value > best.1 { (i as u16, value) } else { best }).0
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::objective::ClusterLogits;

    fn last() -> Weights {
        Weights { weight: array![[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], bias: array![0.0, 0.5, 0.0, 0.0] }
    }

    #[test]
    fn the_largest_of_the_chosen_outputs_with_its_offset_is_the_cluster() {
        let logits = ClusterLogits { rows: 1..3, offsets: vec![-0.5, 0.25] };
        let heads = NativeHeads::new(&last(), &Native { clusters: Some(logits), bits: None });
        // Logits: x1 and 0.25 - x0.
        let found = heads.clusters(&array![[0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.25, 0.0]].view());
        assert_eq!(found, Some(vec![0, 1, 0, 0]));
        assert!(heads.codes(&array![[0.0, 1.0]].view()).is_none());
    }

    #[test]
    fn a_product_code_is_the_ids_one_after_another_lowest_bit_first() {
        let bits = NativeBits::Product { heads: 2, classes: 2, offsets: vec![0.0, 0.0, 0.0, 0.1] };
        let heads = NativeHeads::new(&last(), &Native { clusters: None, bits: Some(bits) });
        // First head: x0 against x1 + 0.5; second: -x0 against 0.1 - x1.
        let codes = heads.codes(&array![[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]].view()).unwrap();
        assert_eq!(codes.bits(), 2);
        assert_eq!(codes.rows().collect::<Vec<_>>(), [&[0b10][..], &[0b01], &[0b01]]);
        assert_eq!(heads.code.unwrap().bits(), 2);
        assert_eq!([1, 2, 3, 4, 5, 128].map(id_bits), [0, 1, 2, 2, 3, 7]);
    }

    #[test]
    fn a_bit_that_repeats_another_and_one_that_never_changes_come_last() {
        // Bits: constant, balanced, its copy, rare, balanced and independent.
        let codes: Vec<u8> =
            (0..16u8).map(|i| (i & 1) << 1 | (i & 1) << 2 | u8::from(i == 3) << 3 | (i >> 1 & 1) << 4).collect();
        let codes = Codes::from_bytes("test", 5, codes).unwrap();
        assert_eq!(informative_order(&codes), [1, 4, 3, 0, 2]);
        let reordered = codes.reordered(&[4, 1]);
        assert_eq!(reordered.rows().nth(3), Some(&[0b11][..]));
        assert_eq!(reordered.rows().nth(1), Some(&[0b10][..]));
    }

    #[test]
    fn signs_are_bits() {
        let heads = NativeHeads::new(&last(), &Native { clusters: None, bits: Some(NativeBits::Signs) });
        let codes = heads.codes(&array![[1.0, -1.0]].view()).unwrap();
        assert_eq!(codes.rows().collect::<Vec<_>>(), [&[0b1001][..]]);
    }
}
