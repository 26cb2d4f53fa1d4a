//! Accuracy where there is no test split: every sample is classified once, by a probe that was fitted without it.

use ndarray::{ArrayView2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{LinearProbe, ProbeSettings, accuracy};

/// How the probe of a fold is fitted.
const PROBE: ProbeSettings = ProbeSettings { c: 1.0, noise: 0.0, iterations: 100 };

/// The fold of each sample, from 0 to below `count`. Folds differ by at most one in the number of samples, and in that of each
/// class; equal seeds give equal folds.
///
/// # Panics
/// When `count` is 0.
pub fn stratified_folds(labels: &[u16], count: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.shuffle(&mut rng);
    order.sort_by_key(|&sample| labels[sample]);
    let mut folds = vec![0; labels.len()];
    for (place, sample) in order.into_iter().enumerate() {
        folds[sample] = place % count;
    }
    folds
}

/// For each of `count` folds, which `folds` says of each row of `features` `[n, d]`: the accuracy in `[0, 1]` on its samples of a
/// linear probe fitted to all others.
///
/// # Panics
/// When the lengths differ, or a fold holds no sample or all of them.
pub fn cross_validated(features: &ArrayView2<f32>, labels: &[u16], folds: &[usize], count: usize) -> Vec<f64> {
    assert_eq!(features.nrows(), folds.len(), "a fold for every row");
    assert_eq!(labels.len(), folds.len(), "a fold for every label");
    let of_fold = |fold: usize| {
        let part = |inside: bool| {
            let samples: Vec<usize> = (0..folds.len()).filter(|&sample| (folds[sample] == fold) == inside).collect();
            let labels: Vec<u16> = samples.iter().map(|&sample| labels[sample]).collect();
            (features.select(Axis(0), &samples), labels)
        };
        let ((fitted, fitted_labels), (left_out, truth)) = (part(false), part(true));
        assert!(!truth.is_empty(), "fold {fold} holds samples");
        let probe = LinearProbe::fit(&fitted.view(), &fitted_labels, PROBE);
        accuracy(&probe.classify(&left_out.view()), &truth)
    };
    (0..count).map(of_fold).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn folds_share_samples_and_classes_alike() {
        let labels: Vec<u16> = (0..103).map(|i| [5, 5, 5, 2, 9][i % 5]).collect();
        for count in [2, 7, 10, 103] {
            let folds = stratified_folds(&labels, count, 1);
            let sizes = |class: Option<u16>| {
                let mut sizes = vec![0; count];
                for (fold, label) in folds.iter().zip(&labels) {
                    sizes[*fold] += usize::from(class.is_none_or(|class| class == *label));
                }
                (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap())
            };
            for class in [None, Some(2), Some(5), Some(9)] {
                let (least, most) = sizes(class);
                assert!(most - least <= 1, "{count} folds, class {class:?}: {least} to {most}");
            }
        }
    }

    #[test]
    fn a_seed_says_which_folds() {
        let labels: Vec<u16> = (0..50).map(|i| i % 3).collect();
        assert_eq!(stratified_folds(&labels, 5, 1), stratified_folds(&labels, 5, 1));
        assert_ne!(stratified_folds(&labels, 5, 1), stratified_folds(&labels, 5, 2));
    }

    #[test]
    fn samples_are_judged_by_probes_that_have_not_seen_them() {
        // One column says the class; the others, one for each sample, would let a probe learn its own samples by heart.
        let labels: Vec<u16> = (0..40).map(|i| i % 2).collect();
        let folds = stratified_folds(&labels, 10, 3);
        let told = Array2::from_shape_fn((40, 1), |(i, _)| f32::from(labels[i]));
        assert_eq!(cross_validated(&told.view(), &labels, &folds, 10), [1.0; 10]);
        let by_heart = Array2::<f32>::eye(40);
        let found = cross_validated(&by_heart.view(), &labels, &folds, 10);
        assert!(found.iter().sum::<f64>() / 10.0 < 0.8, "{found:?}");
    }
}
