//! One figure over the seeds.

use serde::Serialize;

/// A figure of every seed, their mean and their spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    /// One value for each seed; `None` where it was not measured.
    pub values: Vec<Option<f64>>,
    /// Their mean; `None` where there is none, or one is missing.
    pub mean: Option<f64>,
    /// Their sample standard deviation (over n − 1); `None` for fewer than two.
    pub deviation: Option<f64>,
}

/// Retrieval mAP with so many dimensions or bits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MapAt {
    /// Leading dimensions, or bits.
    pub size: usize,
    /// mAP.
    pub map: Figure,
}

impl Figure {
    /// Of one value for each seed.
    pub fn over(values: impl IntoIterator<Item = impl Into<Option<f64>>>) -> Self {
        let values: Vec<Option<f64>> = values.into_iter().map(Into::into).collect();
        let known: Vec<f64> = values.iter().copied().flatten().collect();
        let n = known.len();
        if n == 0 || n < values.len() {
            return Self { values, mean: None, deviation: None };
        }
        let mean = known.iter().sum::<f64>() / n as f64;
        let squares: f64 = known.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Self { values, mean: Some(mean), deviation }
    }
}

/// The figure of this size; an empty one, where it was not measured.
pub fn at(points: &[MapAt], size: usize) -> Figure {
    points.iter().find(|point| point.size == size).map(|point| point.map.clone()).unwrap_or_default()
}
