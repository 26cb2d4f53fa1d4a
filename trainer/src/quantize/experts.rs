//! Experts: for each cluster a few rows over the features, ordered, and the gate that says whose a sample is.
//!
//! A sample's exact cluster is the objective's own rule, which may need decoders. A chip has none, so it goes by a gate:
//!
//! * where clusters are planes among the features (linear autoencoders without layers), the distance to the plane, which is
//!   that rule in closed form;
//! * elsewhere a linear classifier of the features that was fitted to the exact clusters of training samples.

use eigenlet_shared::description::class_bits;
use nalgebra::DMatrix;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::calibrate::clipping;
use super::float_model::Weights;
use super::native::largest;
use crate::data::spread;
use crate::evaluate::{Codes, LinearProbe, ProbeSettings};
use crate::objective::Experts;
use crate::order::symmetric_eigen;

/// Samples at most that a linear gate is fitted to.
const GATE_SAMPLES: usize = 8192;
/// Steps of L-BFGS at most for it.
const GATE_STEPS: u64 = 200;
/// The logit of a cluster without samples, far below any other.
const NEVER: f32 = -50.0;

/// Experts over the features that the heads read.
#[derive(Clone, Debug)]
pub struct ExpertHeads {
    /// Number of experts.
    pub count: usize,
    /// Dimensions of each one's representation.
    pub dims: usize,
    /// `[count * dims, features]`: the rows of expert 0, the most important first, then those of expert 1, and so on.
    pub rows: Weights,
    /// Variance of each row's output over the expert's own training samples, not rising inside an expert.
    pub eigenvalues: Vec<f32>,
    /// Largest magnitude of a representation that its int8 grid covers.
    pub reach: f32,
    /// Whose a sample is.
    pub gate: Gate,
}

/// Whose a sample is.
#[derive(Clone, Debug)]
pub enum Gate {
    /// The expert whose plane is nearest; a point of each plane, `[count, features]`. An expert's rows are orthonormal.
    Residual {
        /// The means of the experts' samples, moved onto their planes.
        points: Array2<f32>,
    },
    /// The largest of these rows' outputs.
    Linear(Weights),
}

impl Gate {
    /// The name, as metrics write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Residual { .. } => "residual",
            Self::Linear(_) => "linear",
        }
    }
}

impl ExpertHeads {
    /// Orders each expert's representation by its principal components over its own samples, and finds the gate. `features`
    /// `[n, features]` are training samples', `ids` their exact clusters, `noise` what a chip adds to features, as a part of
    /// their root mean square.
    pub fn new(experts: &Experts, features: &ArrayView2<f32>, ids: &[u16], noise: f64) -> Self {
        let Experts { count, dims, .. } = *experts;
        let size = features.ncols();
        let weight = Array2::from_shape_vec((count * dims, size), experts.weight.clone()).expect("whole rows");
        let mut rows = Weights { weight, bias: Array1::from_vec(experts.bias.clone()) };
        let mut points = experts
            .points
            .as_ref()
            .map(|points| Array2::from_shape_vec((count, size), points.clone()).expect("one point for each expert"));
        let mut eigenvalues = vec![0.0; count * dims];
        for expert in 0..count {
            let own: Vec<usize> = (0..ids.len()).filter(|&i| usize::from(ids[i]) == expert).collect();
            if own.len() < 2 {
                continue;
            }
            let span = s![expert * dims..(expert + 1) * dims, ..];
            let before = rows.weight.slice(span).to_owned();
            let bias = rows.bias.slice(s![expert * dims..(expert + 1) * dims]).to_owned();
            let outputs = features.select(Axis(0), &own).dot(&before.t()) + &bias;
            let mean = outputs.mean_axis(Axis(0)).expect("samples");
            let centred = &outputs - &mean;
            let product = centred.t().dot(&centred) / own.len() as f32;
            let (values, vectors) = symmetric_eigen(&DMatrix::from_fn(dims, dims, |i, j| f64::from(product[[i, j]])));
            let turn = Array2::from_shape_fn((dims, dims), |(k, i)| vectors[(i, k)] as f32);
            rows.weight.slice_mut(span).assign(&turn.dot(&before));
            rows.bias.slice_mut(s![expert * dims..(expert + 1) * dims]).assign(&turn.dot(&(&bias - &mean)));
            for (k, value) in values.iter().enumerate() {
                eigenvalues[expert * dims + k] = value.max(0.0) as f32;
            }
            if let Some(points) = &mut points {
                // Along the plane to where the outputs' mean is: the plane stays the same.
                let along = before.t().dot(&mean);
                points.row_mut(expert).scaled_add(1.0, &along);
            }
        }
        let gate = match points {
            Some(points) => Gate::Residual { points },
            None => Gate::Linear(linear_gate(count, features, ids, noise)),
        };
        let mut heads = Self { count, dims, rows, eigenvalues, reach: 1.0, gate };
        let magnitudes: Vec<f32> = heads.local(features, ids).iter().map(|value| value.abs()).collect();
        heads.reach = clipping(&magnitudes, 127.0);
        heads
    }

    /// Bits of the whole code: an id, then a sign for each dimension.
    pub fn bits(&self) -> usize {
        usize::from(class_bits(self.count as u16)) + self.dims
    }

    /// The expert of each row of `features` `[n, features]`.
    pub fn clusters(&self, features: &ArrayView2<f32>) -> Vec<u16> {
        match &self.gate {
            Gate::Linear(rows) => rows.outputs(features).outer_iter().map(|row| largest(row.iter().copied())).collect(),
            Gate::Residual { points } => {
                let residuals = self.residuals(points, features);
                residuals.outer_iter().map(|row| largest(row.iter().map(|residual| -residual))).collect()
            }
        }
    }

    /// How far each row of `features` lies from the nearest plane, squared; `None` where clusters are no planes.
    pub fn scores(&self, features: &ArrayView2<f32>) -> Option<Vec<f32>> {
        let Gate::Residual { points } = &self.gate else { return None };
        let residuals = self.residuals(points, features);
        Some(residuals.outer_iter().map(|row| row.iter().copied().fold(f32::INFINITY, f32::min)).collect())
    }

    /// Squared distances `[n, count]` to the planes.
    fn residuals(&self, points: &Array2<f32>, features: &ArrayView2<f32>) -> Array2<f32> {
        let along = self.rows.outputs(features);
        Array2::from_shape_fn((features.nrows(), self.count), |(i, expert)| {
            let from = &features.row(i) - &points.row(expert);
            let along = along.slice(s![i, expert * self.dims..(expert + 1) * self.dims]);
            from.dot(&from) - along.dot(&along)
        })
    }

    /// Each row's representation by its own expert, `[n, dims]`; `ids` say whose it is.
    pub fn local(&self, features: &ArrayView2<f32>, ids: &[u16]) -> Array2<f32> {
        let all = self.rows.outputs(features);
        let own = |(i, k)| all[[i, usize::from(ids[i]) * self.dims + k]];
        Array2::from_shape_fn((features.nrows(), self.dims), own)
    }

    /// Each row's code: the id, lowest bit first, then the signs of its representation.
    pub fn codes(&self, features: &ArrayView2<f32>, ids: &[u16]) -> Codes {
        let local = self.local(features, ids);
        let width = self.bits() - self.dims;
        let bit = |(i, bit): (usize, usize)| match bit < width {
            true => f32::from(ids[i] >> bit & 1),
            false => local[[i, bit - width]],
        };
        Codes::from_signs(&Array2::from_shape_fn((local.nrows(), self.bits()), bit).view())
    }
}

/// Logits `[count, features]` fitted to clusters by multinomial logistic regression.
fn linear_gate(count: usize, features: &ArrayView2<f32>, ids: &[u16], noise: f64) -> Weights {
    let some: Vec<usize> = spread(features.nrows(), GATE_SAMPLES).collect();
    let labels: Vec<u16> = some.iter().map(|&i| ids[i]).collect();
    let features = features.select(Axis(0), &some);
    let mean_square =
        features.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / features.len().max(1) as f64;
    let settings = ProbeSettings { c: 1.0, noise: noise * mean_square.sqrt(), iterations: GATE_STEPS };
    let probe = LinearProbe::fit(&features.view(), &labels, settings);
    let mut gate = Weights { weight: Array2::zeros((count, features.ncols())), bias: Array1::from_elem(count, NEVER) };
    for (class, weight, bias) in probe.logits() {
        gate.weight.row_mut(class.into()).assign(&weight);
        gate.bias[usize::from(class)] = bias;
    }
    gate
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// Points on two lines in the plane, along x through the origin and along y through (10, 0), away from their crossing.
    fn lines(planes: bool) -> (Experts, Array2<f32>, Vec<u16>) {
        let features = Array2::from_shape_fn((40, 2), |(i, axis)| {
            let along = (i / 2) as f32 - 9.0;
            match (i % 2, axis) {
                (0, 0) => 0.25 * along,
                (0, _) => 0.1 * (i as f32).sin(),
                (_, 0) => 10.0 + 0.1 * (i as f32).cos(),
                _ => along + 15.0,
            }
        });
        let ids = (0..40).map(|i| i % 2).collect();
        let experts = Experts {
            count: 2,
            dims: 1,
            weight: vec![1.0, 0.0, 0.0, 1.0],
            bias: vec![0.0, 0.0],
            points: planes.then(|| vec![0.0, 0.0, 10.0, 0.0]),
        };
        (experts, features, ids)
    }

    #[test]
    fn both_gates_find_the_clusters() {
        for planes in [true, false] {
            let (experts, features, ids) = lines(planes);
            let heads = ExpertHeads::new(&experts, &features.view(), &ids, 0.0);
            assert_eq!(heads.clusters(&features.view()), ids, "{}", heads.gate.name());
            assert_eq!(heads.scores(&features.view()).is_some(), planes);
        }
    }

    #[test]
    fn the_score_is_the_squared_distance_to_the_nearest_line() {
        let (experts, features, ids) = lines(true);
        let heads = ExpertHeads::new(&experts, &features.view(), &ids, 0.0);
        let found = heads.scores(&array![[3.0, 2.0], [9.0, 30.0]].view()).unwrap();
        assert!((found[0] - 4.0).abs() < 1e-4 && (found[1] - 1.0).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn representations_are_centred_and_ordered_by_variance() {
        let features = Array2::from_shape_fn((50, 3), |(i, axis)| {
            ((i * (axis + 3) * 7) as f32 * 0.37).sin() * [0.2, 3.0, 1.0][axis] + 5.0
        });
        let experts = Experts {
            count: 1,
            dims: 2,
            weight: vec![1.0, 0.0, 0.0, 0.0, 0.6, 0.8],
            bias: vec![0.5, -0.5],
            points: None,
        };
        let ids = vec![0; 50];
        let heads = ExpertHeads::new(&experts, &features.view(), &ids, 0.0);
        let local = heads.local(&features.view(), &ids);
        for k in 0..2 {
            let column = local.column(k);
            assert!(column.mean().unwrap().abs() < 1e-4);
            let variance = column.dot(&column) / 50.0;
            assert!((variance / heads.eigenvalues[k] - 1.0).abs() < 1e-3, "{k}: {variance}");
        }
        assert!(heads.eigenvalues[0] > heads.eigenvalues[1]);
        assert!((local.column(0).dot(&local.column(1)) / 50.0).abs() < 1e-4 * heads.eigenvalues[0]);
    }

    #[test]
    fn a_code_is_the_id_and_then_the_signs() {
        let (mut experts, features, ids) = lines(true);
        experts.count = 2;
        let heads = ExpertHeads::new(&experts, &features.view(), &ids, 0.0);
        let codes = heads.codes(&features.view(), &ids);
        assert_eq!((codes.bits(), heads.bits()), (2, 2));
        let local = heads.local(&features.view(), &ids);
        for (i, code) in codes.rows().enumerate() {
            assert_eq!(code[0], (ids[i] as u8) | u8::from(local[[i, 0]] > 0.0) << 1);
        }
    }
}
