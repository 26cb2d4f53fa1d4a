//! Mean and covariance of features.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Columns whose covariances one task computes.
const COLUMNS: usize = 64;

/// Rows whose products are summed in `f32` before they are added up in `f64`.
const ROWS: usize = 512;

/// Mean of every column of `features` `[n, d]`; zeros for no rows.
pub fn mean(features: &ArrayView2<f32>) -> Array1<f32> {
    let n = features.nrows().max(1) as f64;
    let sum = features.fold_axis(Axis(0), 0.0_f64, |sum, &value| sum + f64::from(value));
    sum.mapv(|sum| (sum / n) as f32)
}

/// `centredᵀ · centred / n`, `[d, d]`: the covariance of features whose mean was subtracted.
pub fn covariance(centred: &ArrayView2<f32>) -> Array2<f64> {
    let (n, d) = centred.dim();
    let mut covariance = Array2::<f64>::zeros((d, d));
    covariance.axis_chunks_iter_mut(Axis(0), COLUMNS).into_par_iter().enumerate().for_each(|(block, mut part)| {
        let columns = block * COLUMNS..block * COLUMNS + part.nrows();
        for rows in centred.axis_chunks_iter(Axis(0), ROWS) {
            let products = rows.slice(s![.., columns.clone()]).t().dot(&rows);
            part.zip_mut_with(&products, |sum, &product| *sum += f64::from(product));
        }
    });
    covariance / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition() {
        let features = Array2::from_shape_fn((1100, 70), |(i, j)| ((i * 31 + j * 17) as f32).sin() + j as f32);
        let mean = mean(&features.view());
        let found = covariance(&(&features - &mean).view());
        let x = features.mapv(f64::from);
        let m = x.mean_axis(Axis(0)).unwrap();
        for (i, j) in [(0, 0), (3, 69), (69, 3), (64, 64)] {
            let products = x.rows().into_iter().map(|row| (row[i] - m[i]) * (row[j] - m[j]));
            let expected = products.sum::<f64>() / 1100.0;
            assert!((found[[i, j]] - expected).abs() < 1e-5);
        }
    }
}
