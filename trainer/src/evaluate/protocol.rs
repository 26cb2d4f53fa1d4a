//! The one protocol that every figure is measured by, whatever made the features.

use ndarray::{ArrayView2, Axis, concatenate, s};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{
    Codes, Contingency, FeatureCollapse, HashPoint, Itq, Knn, LinearProbe, Pca, ProbeSettings, accuracy, hash_metrics,
    kmeans, mean_average_precision, random_dims,
};
use crate::error::{Error, Result};

/// The protocol in words, for `metrics.json` and reports.
pub const PROTOCOL: &str = "gallery-queries.v1: \
    gallery = the whole training split. \
    kNN: cosine, k = 10, votes exp(similarity / 0.1), all test samples. \
    Linear probe: logistic regression on standardised features, C = 1, at most 100 steps of L-BFGS; fitted to at most \
    20,000 training samples (class-stratified, fixed seed) where features have more than 256 dimensions; where the data name \
    samples to choose settings by, C is the one of 0.001, 0.003, ... 10 that is best on these, of equals the least. \
    Clusters: k-means without labels on both splits together (at most 10,000 samples, class-stratified, fixed seed), as many \
    clusters as classes, 10 restarts, fixed seed; ACC by \
    Hungarian matching, NMI with the arithmetic mean, ARI. \
    Retrieval and codes: at most 1,000 test queries (class-stratified, fixed seed); mAP over the whole gallery, by \
    cosine after truncation with ties in gallery order, by Hamming distance with ties together; precision at 500 (the \
    whole gallery if smaller) with ties in gallery order; precision within Hamming radius 2, an empty ball counting 0. \
    Random subsets of dimensions: mean and standard deviation of 10 draws, for kNN and retrieval on at most 400 test \
    queries (class-stratified, fixed seed).";

/// Every random choice of the protocol starts here, so that figures of different runs are comparable.
const SEED: u64 = 20_130_501;

const QUERIES: usize = 1000;
const RESTARTS: usize = 10;
const CLUSTERED: usize = 10_000;
const PROBE: ProbeSettings = ProbeSettings { c: 1.0, noise: 0.0, iterations: 100 };
const PENALTIES: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
const PROBE_WIDE: usize = 256;
const PROBE_SAMPLES_WIDE: usize = 20_000;
const SUBSET_DRAWS: u64 = 10;
const SUBSET_QUERIES: usize = 400;

/// Features of one split of a data set, and its labels where there are any.
#[derive(Clone, Copy, Debug)]
pub struct Split<'a> {
    /// `[n, d]`, finite.
    pub features: ArrayView2<'a, f32>,
    /// `[n]`; any numbers.
    pub labels: Option<&'a [u16]>,
}

/// Codes of one split of a data set, and its labels where there are any.
#[derive(Clone, Copy, Debug)]
pub struct CodeSplit<'a> {
    /// `n` codes.
    pub codes: &'a Codes,
    /// `[n]`; any numbers.
    pub labels: Option<&'a [u16]>,
}

/// The figures of one embedding: fractions in [0, 1] (`ari` in [-0.5, 1]). What needs labels is absent without them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureReport {
    /// Dimensions of the features.
    pub dims: usize,
    /// kNN accuracy with all dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knn_acc: Option<f64>,
    /// Linear-probe accuracy with all dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_acc: Option<f64>,
    /// Clustering accuracy (ACC) of k-means on the leading dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_acc: Option<f64>,
    /// Normalised mutual information of the same clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nmi: Option<f64>,
    /// Adjusted Rand index of the same clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ari: Option<f64>,
    /// Retrieval mAP with all dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<f64>,
    /// The same features cut to their first dimensions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncation: Vec<TruncationPoint>,
    /// Codes made of the same features; filled in from [`evaluate_codes`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hash: Vec<HashPoint>,
    /// Label-free signs of collapse, on the test split.
    pub collapse: FeatureCollapse,
}

/// The figures of the first `dims` dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruncationPoint {
    /// Dimensions kept.
    pub dims: usize,
    /// kNN accuracy.
    pub knn_acc: f64,
    /// Retrieval mAP.
    pub map: f64,
}

/// The figures of `dims` random dimensions: mean and standard deviation over the draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubsetPoint {
    /// Dimensions drawn.
    pub dims: usize,
    /// kNN accuracy, mean.
    pub knn_acc: f64,
    /// kNN accuracy, standard deviation.
    pub knn_acc_std: f64,
    /// Retrieval mAP, mean.
    pub map: f64,
    /// Retrieval mAP, standard deviation.
    pub map_std: f64,
}

/// What an encoder is compared with, under the same protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// The flattened input itself.
    pub raw_input: FeatureReport,
    /// Principal components of the input, as many as the longest truncation or code asks for; `hash` are their signs.
    pub pca: FeatureReport,
    /// ITQ codes of the input, one rotation for each length.
    pub itq: Vec<HashPoint>,
    /// Random dimensions of the encoder's own features; filled in from [`evaluate_random_subsets`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub random_subsets: Vec<SubsetPoint>,
    /// The same network before training; filled in by the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untrained: Option<FeatureReport>,
}

/// Every figure of an embedding. `choosing` are labelled samples of the training split, not in `train`, that the linear probe's
/// penalty is chosen by. `dims` are the truncations to measure (those wider than the features are left out); k-means sees the first
/// `cluster_dims` dimensions (all, if there are fewer).
///
/// # Errors
/// When a split is empty, the widths differ, a value is not finite, or labels are not as many as samples.
pub fn evaluate_features<'a>(
    train: Split<'a>,
    choosing: Option<Split<'a>>,
    test: Split<'a>,
    dims: &[usize],
    cluster_dims: usize,
) -> Result<FeatureReport> {
    check(train, test)?;
    if let Some(choosing) = choosing {
        check(train, choosing)?;
    }
    let width = test.features.ncols();
    let mut report = FeatureReport {
        dims: width,
        knn_acc: None,
        linear_acc: None,
        cluster_acc: None,
        nmi: None,
        ari: None,
        map: None,
        truncation: Vec::new(),
        hash: Vec::new(),
        collapse: FeatureCollapse::of(&test.features),
    };
    if let Some(found) = cluster(train, test, cluster_dims.clamp(1, width)) {
        report.cluster_acc = Some(found.accuracy());
        report.nmi = Some(found.nmi());
        report.ari = Some(found.ari());
    }
    let Some(task) = Task::new(train, test, QUERIES) else { return Ok(report) };
    let full = task.truncated(width);
    report.knn_acc = Some(full.knn_acc);
    report.map = Some(full.map);
    report.linear_acc = Some(task.linear_acc(choosing));
    report.truncation = dims
        .iter()
        .filter(|&&dims| (1..=width).contains(&dims))
        .map(|&dims| if dims == width { full } else { task.truncated(dims) })
        .collect();
    Ok(report)
}

/// The retrieval figures of the first bits of codes, for each number in `bits` (those longer than the codes are left
/// out); none without labels.
///
/// # Errors
/// When a split is empty or labels are not as many as codes.
pub fn evaluate_codes(train: CodeSplit<'_>, test: CodeSplit<'_>, bits: &[usize]) -> Result<Vec<HashPoint>> {
    for (place, split) in [("training codes", train), ("test codes", test)] {
        check_count(place, split.codes.len(), split.labels)?;
    }
    let (Some(train_labels), Some(test_labels)) = (train.labels, test.labels) else { return Ok(Vec::new()) };
    let queries = stratified(test_labels, QUERIES);
    let query_codes = test.codes.select(&queries);
    let query_labels = pick(test_labels, &queries);
    let longest = train.codes.bits().min(test.codes.bits());
    let lengths = bits.iter().filter(|&&bits| (1..=longest).contains(&bits));
    Ok(lengths.map(|&bits| hash_metrics(train.codes, train_labels, &query_codes, &query_labels, bits)).collect())
}

/// The baselines that need nothing but the data: the flattened input, its principal components, and their codes.
///
/// # Errors
/// As [`evaluate_features`].
pub fn evaluate_baselines<'a>(
    train: Split<'a>,
    choosing: Option<Split<'a>>,
    test: Split<'a>,
    dims: &[usize],
    bits: &[usize],
    cluster_dims: usize,
) -> Result<Baselines> {
    let raw_input = evaluate_features(train, choosing, test, &[], usize::MAX)?;
    let longest = dims.iter().chain(bits).copied().max().unwrap_or(cluster_dims);
    let pca = Pca::fit(&train.features, longest.max(cluster_dims));
    let (train_pca, test_pca) = (pca.project(&train.features), pca.project(&test.features));
    let choosing = choosing.map(|split| (pca.project(&split.features), split.labels));
    let mut report = evaluate_features(
        Split { features: train_pca.view(), labels: train.labels },
        choosing.as_ref().map(|(features, labels)| Split { features: features.view(), labels: *labels }),
        Split { features: test_pca.view(), labels: test.labels },
        dims,
        cluster_dims,
    )?;

    let codes = |train_signs: &ArrayView2<f32>, test_signs: &ArrayView2<f32>, bits: &[usize]| {
        let (train_codes, test_codes) = (Codes::from_signs(train_signs), Codes::from_signs(test_signs));
        evaluate_codes(
            CodeSplit { codes: &train_codes, labels: train.labels },
            CodeSplit { codes: &test_codes, labels: test.labels },
            bits,
        )
    };
    report.hash = codes(&train_pca.view(), &test_pca.view(), bits)?;
    let mut itq = Vec::new();
    for &bits in bits.iter().filter(|&&bits| (1..=train_pca.ncols()).contains(&bits)) {
        let (train_pca, test_pca) = (train_pca.slice(s![.., ..bits]), test_pca.slice(s![.., ..bits]));
        let rotation = Itq::fit(&train_pca, SEED);
        itq.extend(codes(&rotation.rotate(&train_pca).view(), &rotation.rotate(&test_pca).view(), &[bits])?);
    }
    Ok(Baselines { raw_input, pca: report, itq, random_subsets: Vec::new(), untrained: None })
}

/// The figures of random dimensions of an embedding, for each number in `dims` (those wider than the features are
/// left out): what truncation would be worth if the dimensions had no order. None without labels.
///
/// # Errors
/// As [`evaluate_features`].
pub fn evaluate_random_subsets<'a>(train: Split<'a>, test: Split<'a>, dims: &[usize]) -> Result<Vec<SubsetPoint>> {
    check(train, test)?;
    let Some(task) = Task::new(train, test, SUBSET_QUERIES) else { return Ok(Vec::new()) };
    let width = test.features.ncols();
    let point = |dims: usize| {
        // There is but one way to draw all of them.
        let draws = if dims == width { 1 } else { SUBSET_DRAWS };
        let figures: Vec<(f64, f64)> =
            (0..draws).map(|draw| task.subset(&random_dims(width, dims, SEED, draw))).collect();
        let (knn_acc, knn_acc_std) = mean_and_deviation(figures.iter().map(|figure| figure.0));
        let (map, map_std) = mean_and_deviation(figures.iter().map(|figure| figure.1));
        SubsetPoint { dims, knn_acc, knn_acc_std, map, map_std }
    };
    Ok(dims.iter().filter(|&&dims| (1..=width).contains(&dims)).map(|&dims| point(dims)).collect())
}

/// Two labelled splits and the retrieval queries chosen among the test samples.
struct Task<'a> {
    train: ArrayView2<'a, f32>,
    train_labels: &'a [u16],
    test: ArrayView2<'a, f32>,
    test_labels: &'a [u16],
    queries: Vec<usize>,
}

impl<'a> Task<'a> {
    fn new(train: Split<'a>, test: Split<'a>, queries: usize) -> Option<Self> {
        let (train_labels, test_labels) = (train.labels?, test.labels?);
        let queries = stratified(test_labels, queries);
        Some(Self { train: train.features, train_labels, test: test.features, test_labels, queries })
    }

    fn truncated(&self, dims: usize) -> TruncationPoint {
        let (train, test) = (self.train.slice(s![.., ..dims]), self.test.slice(s![.., ..dims]));
        let predicted = Knn::default().classify(&train, self.train_labels, &test);
        let queries = test.select(Axis(0), &self.queries);
        TruncationPoint {
            dims,
            knn_acc: accuracy(&predicted, self.test_labels),
            map: self.map(&train, &queries.view()),
        }
    }

    /// kNN accuracy and mAP of the queries with these dimensions only.
    fn subset(&self, dims: &[usize]) -> (f64, f64) {
        let train = self.train.select(Axis(1), dims);
        let queries = self.test.select(Axis(0), &self.queries).select(Axis(1), dims);
        let predicted = Knn::default().classify(&train.view(), self.train_labels, &queries.view());
        let knn_acc = accuracy(&predicted, &pick(self.test_labels, &self.queries));
        (knn_acc, self.map(&train.view(), &queries.view()))
    }

    fn map(&self, train: &ArrayView2<f32>, queries: &ArrayView2<f32>) -> f64 {
        let labels = pick(self.test_labels, &self.queries);
        mean_average_precision(train, self.train_labels, queries, &labels, None)
    }

    fn linear_acc(&self, choosing: Option<Split>) -> f64 {
        let fitted = |features: &ArrayView2<f32>, labels: &[u16]| match choosing {
            Some(Split { features: others, labels: Some(known) }) => {
                let probes = PENALTIES.map(|c| LinearProbe::fit(features, labels, ProbeSettings { c, ..PROBE }));
                let score = |probe: &LinearProbe| accuracy(&probe.classify(&others), known);
                // The first, of equals.
                probes.into_iter().rev().max_by(|a, b| score(a).total_cmp(&score(b))).expect("there are penalties")
            }
            _ => LinearProbe::fit(features, labels, PROBE),
        };
        let probe = if self.train.ncols() > PROBE_WIDE && self.train.nrows() > PROBE_SAMPLES_WIDE {
            let samples = stratified(self.train_labels, PROBE_SAMPLES_WIDE);
            fitted(&self.train.select(Axis(0), &samples).view(), &pick(self.train_labels, &samples))
        } else {
            fitted(&self.train, self.train_labels)
        };
        accuracy(&probe.classify(&self.test), self.test_labels)
    }
}

/// k-means with as many clusters as there are classes, on both splits together; it does not see the labels.
fn cluster(train: Split<'_>, test: Split<'_>, dims: usize) -> Option<Contingency> {
    let (train_labels, test_labels) = (train.labels?, test.labels?);
    let features = concatenate![Axis(0), train.features.slice(s![.., ..dims]), test.features.slice(s![.., ..dims])];
    let labels = [train_labels, test_labels].concat();
    let samples = stratified(&labels, CLUSTERED);
    let labels = pick(&labels, &samples);
    let mut classes = labels.clone();
    classes.sort_unstable();
    classes.dedup();
    let found = kmeans(&features.select(Axis(0), &samples).view(), classes.len(), RESTARTS, SEED);
    Some(Contingency::new(&found.assignment, &labels))
}

/// At most `count` samples, ascending, from every class as many as its share (largest remainders first, the lower
/// class first among equals), at random within the class. All samples when there are no more than `count`.
fn stratified(labels: &[u16], count: usize) -> Vec<usize> {
    if labels.len() <= count {
        return (0..labels.len()).collect();
    }
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let members: Vec<Vec<usize>> = classes
        .iter()
        .map(|class| {
            let mut members: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == *class).collect();
            members.shuffle(&mut rng);
            members
        })
        .collect();
    let mut quotas: Vec<usize> = members.iter().map(|members| members.len() * count / labels.len()).collect();
    let mut by_remainder: Vec<usize> = (0..classes.len()).collect();
    by_remainder.sort_by_key(|&class| (std::cmp::Reverse(members[class].len() * count % labels.len()), class));
    let missing = count - quotas.iter().sum::<usize>();
    for class in by_remainder.into_iter().take(missing) {
        quotas[class] += 1;
    }
    let mut chosen: Vec<usize> =
        members.iter().zip(quotas).flat_map(|(members, quota)| &members[..quota]).copied().collect();
    chosen.sort_unstable();
    chosen
}

fn pick(labels: &[u16], samples: &[usize]) -> Vec<u16> {
    samples.iter().map(|&i| labels[i]).collect()
}

fn mean_and_deviation(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

fn check<'a>(train: Split<'a>, test: Split<'a>) -> Result<()> {
    for (place, split) in [("training features", train), ("test features", test)] {
        check_count(place, split.features.nrows(), split.labels)?;
        if let Some(((row, column), value)) = split.features.indexed_iter().find(|(_, value)| !value.is_finite()) {
            let found = format!("{value} in sample {row}, dimension {column}");
            return Err(Error::input(place, "bad value", "finite numbers", found));
        }
    }
    let (expected, found) = (train.features.ncols(), test.features.ncols());
    if found != expected || found == 0 {
        let expected = format!("{} dimensions, as in training", expected.max(1));
        return Err(Error::input("test features", "wrong width", expected, found));
    }
    Ok(())
}

fn check_count(place: &str, samples: usize, labels: Option<&[u16]>) -> Result<()> {
    if samples == 0 {
        return Err(Error::input(place, "nothing to evaluate", "at least one sample", 0));
    }
    match labels {
        Some(labels) if labels.len() != samples => {
            Err(Error::input(place, "wrong number of labels", samples, labels.len()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use rand::RngExt;

    /// Four classes far apart in the first two of six dimensions.
    fn corners(n: usize, seed: u64) -> (Array2<f32>, Vec<u16>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<u16> = (0..n).map(|i| 10 * (i % 4) as u16).collect();
        let features = Array2::from_shape_fn((n, 6), |(i, j)| {
            let noise: f32 = rng.random_range(-1.0..1.0);
            if j < 2 && (i % 4) >> j & 1 == 1 {
                5.0 + noise
            } else if j < 2 {
                -5.0 + noise
            } else {
                noise
            }
        });
        (features, labels)
    }

    fn split<'a>(data: &'a (Array2<f32>, Vec<u16>)) -> Split<'a> {
        Split { features: data.0.view(), labels: Some(&data.1) }
    }

    #[test]
    fn an_easy_set_has_perfect_figures() {
        let (train, test) = (corners(300, 1), corners(120, 2));
        let report = evaluate_features(split(&train), None, split(&test), &[1, 2, 4, 6, 99], 2).unwrap();
        assert_eq!(report.dims, 6);
        assert_eq!([report.knn_acc, report.linear_acc, report.cluster_acc, report.ari], [Some(1.0); 4]);
        assert!(report.nmi > Some(1.0 - 1e-9) && report.map > Some(0.95));
        let dims: Vec<usize> = report.truncation.iter().map(|point| point.dims).collect();
        assert_eq!(dims, [1, 2, 4, 6], "what is wider than the features is left out");
        assert!(report.truncation[0].map < 0.6, "one dimension cannot tell four classes apart");
        assert!(report.truncation[1].map > 0.999);
        assert_eq!(Some(report.truncation[3].map), report.map);
    }

    #[test]
    fn the_probes_penalty_is_chosen_by_the_samples_that_are_there_for_it() {
        // Few samples and many dimensions that say nothing: the weakest penalty is not the best.
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mut noisy = |n: usize| {
            let labels: Vec<u16> = (0..n).map(|i| (i % 2) as u16).collect();
            let value = |i: usize, j: usize, noise: f32| if j == 0 { labels[i] as f32 + noise } else { noise };
            (Array2::from_shape_fn((n, 40), |(i, j)| value(i, j, rng.random_range(-1.5..1.5))), labels)
        };
        let (train, choosing, test) = (noisy(30), noisy(400), noisy(400));
        let accuracy_of =
            |choosing| evaluate_features(split(&train), choosing, split(&test), &[2], 2).unwrap().linear_acc;
        let naive = PENALTIES.map(|c| {
            let probe = LinearProbe::fit(&train.0.view(), &train.1, ProbeSettings { c, ..PROBE });
            let score = |data: &(Array2<f32>, Vec<u16>)| accuracy(&probe.classify(&data.0.view()), &data.1);
            (score(&choosing), score(&test))
        });
        let best = naive.iter().fold(naive[0], |best, found| if found.0 > best.0 { *found } else { best });
        assert_eq!(accuracy_of(Some(split(&choosing))), Some(best.1));
        assert_eq!(accuracy_of(None), Some(naive[6].1));
        assert!(naive.iter().any(|found| found.0 != best.0), "the penalty matters");
    }

    #[test]
    fn without_labels_the_label_free_part_remains() {
        let (train, test) = (corners(40, 1), corners(20, 2));
        let bare = |data: &(Array2<f32>, Vec<u16>)| data.0.clone();
        let (train, test) = (bare(&train), bare(&test));
        let train = Split { features: train.view(), labels: None };
        let test = Split { features: test.view(), labels: None };
        let report = evaluate_features(train, None, test, &[2], 2).unwrap();
        assert_eq!((report.knn_acc, report.cluster_acc, report.truncation.len()), (None, None, 0));
        assert!(report.collapse.effective_rank > 1.0);
        assert!(evaluate_random_subsets(train, test, &[2]).unwrap().is_empty());
        let baselines = evaluate_baselines(train, None, test, &[2], &[2], 2).unwrap();
        assert!(baselines.itq.is_empty() && baselines.pca.hash.is_empty());
    }

    #[test]
    fn baselines_find_the_two_directions_that_matter() {
        let (train, test) = (corners(300, 3), corners(120, 4));
        let found = evaluate_baselines(split(&train), None, split(&test), &[1, 2], &[1, 2], 2).unwrap();
        assert_eq!(found.raw_input.knn_acc, Some(1.0));
        assert_eq!(found.pca.cluster_acc, Some(1.0));
        assert!(found.pca.truncation[1].map > 0.999);
        // Four codes for four classes, whichever way the axes are turned.
        assert!(found.itq[1].map > 0.999 && found.itq[0].map < 0.6, "{:?}", found.itq);
        assert_eq!(found.pca.hash.len(), 2);
    }

    #[test]
    fn random_dimensions_are_worse_than_the_first_ones_of_an_ordered_embedding() {
        let (train, test) = (corners(300, 5), corners(120, 6));
        let found = evaluate_random_subsets(split(&train), split(&test), &[2, 6]).unwrap();
        let ordered = evaluate_features(split(&train), None, split(&test), &[2], 2).unwrap();
        assert!(found[0].map < 0.8 * ordered.truncation[0].map && found[0].map_std > 0.0);
        assert_eq!((found[1].map_std, Some(found[1].map)), (0.0, ordered.map));
    }

    #[test]
    fn code_prefixes_are_measured() {
        let (train, test) = (corners(300, 7), corners(120, 8));
        let codes = (Codes::from_signs(&train.0.view()), Codes::from_signs(&test.0.view()));
        let train = CodeSplit { codes: &codes.0, labels: Some(&train.1) };
        let test = CodeSplit { codes: &codes.1, labels: Some(&test.1) };
        let found = evaluate_codes(train, test, &[1, 2, 6, 64]).unwrap();
        assert_eq!(found.iter().map(|point| point.bits).collect::<Vec<_>>(), [1, 2, 6]);
        assert_eq!(found[1].map, 1.0);
        assert!(found[0].map < 0.6 && found[2].map < 1.0);
    }

    #[test]
    fn queries_are_stratified_and_always_the_same() {
        // 70 % class 3, 20 % class 1, 10 % class 0.
        let labels: Vec<u16> = (0..5000).map(|i| [3, 3, 3, 3, 3, 3, 3, 1, 1, 0][i % 10]).collect();
        let chosen = stratified(&labels, 1000);
        assert!(chosen.is_sorted_by(|a, b| a < b) && chosen.len() == 1000);
        let of = |class| chosen.iter().filter(|&&i| labels[i] == class).count();
        assert_eq!([of(3), of(1), of(0)], [700, 200, 100]);
        assert_eq!(chosen, stratified(&labels, 1000));
        assert_eq!(stratified(&labels, 1001).len(), 1001);
        assert_eq!(stratified(&labels[..3], 1000), [0, 1, 2]);
    }

    #[test]
    fn wrong_input_is_one_clear_error() {
        let (train, test) = (corners(40, 1), corners(20, 2));
        let error = |train, test| evaluate_features(train, None, test, &[2], 2).unwrap_err().to_string();

        let short = Split { labels: Some(&test.1[..19]), ..split(&test) };
        assert_eq!(error(split(&train), short), "test features: wrong number of labels: expected 20, found 19");
        let narrow = Split { features: test.0.slice(s![.., ..5]), ..split(&test) };
        assert_eq!(
            error(split(&train), narrow),
            "test features: wrong width: expected 6 dimensions, as in training, found 5"
        );
        let mut bad = train.clone();
        bad.0[[3, 1]] = f32::NAN;
        assert_eq!(
            error(split(&bad), split(&test)),
            "training features: bad value: expected finite numbers, found NaN in sample 3, dimension 1"
        );
        let empty = Split { features: train.0.slice(s![..0, ..]), labels: None };
        assert!(error(empty, split(&test)).contains("at least one sample"));
    }

    #[test]
    fn a_report_survives_json_and_leaves_out_what_is_absent() {
        let (train, test) = (corners(40, 1), corners(20, 2));
        let report = evaluate_features(split(&train), None, split(&test), &[2], 2).unwrap();
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<FeatureReport>(&json).unwrap(), report);
        let bare = Split { labels: None, ..split(&test) };
        let json = serde_json::to_string(&evaluate_features(split(&train), None, bare, &[2], 2).unwrap()).unwrap();
        assert!(!json.contains("knn_acc") && !json.contains("null"), "{json}");
    }
}
