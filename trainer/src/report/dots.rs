//! Samples as the dots of a chart, coloured by what is known of them.

use super::Gallery;
use super::plot::{Ink, Layer, Mark};
use crate::data::spread;

/// The most dots in a chart; of more samples, some are drawn, evenly spread.
const MOST: usize = 2000;

/// Steps in which values are coloured, an odd number: the middle one is around 0.
const STEPS: i32 = 11;

/// The size of a value that has full colour: a cosine of unit mean square reaches 1.41.
pub const FULL: f64 = 1.5;

/// Some samples of one split, or of several.
pub struct Dots<'a> {
    galleries: Vec<Gallery<'a>>,
    shown: Vec<Dot<'a>>,
    all: usize,
}

/// One of them.
#[derive(Clone, Copy)]
pub struct Dot<'a> {
    /// The split that it is from.
    pub split: Gallery<'a>,
    /// Its place there.
    pub sample: usize,
}

impl Dot<'_> {
    /// The value of a function at it.
    pub fn function(&self, function: usize) -> f64 {
        self.split.float[[self.sample, function]].into()
    }
}

impl<'a> Dots<'a> {
    /// Of all samples of these splits.
    pub fn of(galleries: Vec<Gallery<'a>>) -> Self {
        let all = galleries.iter().map(|split| split.samples.len()).sum();
        let dot = |mut sample: usize| {
            let mut splits = galleries.iter();
            let split = splits.find(|split| {
                let is_here = sample < split.samples.len();
                sample -= if is_here { 0 } else { split.samples.len() };
                is_here
            });
            Dot { split: *split.expect("no sample lies beyond the last split"), sample }
        };
        Self { shown: spread(all, MOST).map(dot).collect(), all, galleries }
    }

    /// Those that are drawn.
    pub fn shown(&self) -> &[Dot<'a>] {
        &self.shown
    }

    /// How many of these are drawn: `2000 of 60000 nodes`, `all 300 nodes`.
    pub fn share(&self, what: &str) -> String {
        let (shown, all) = (self.shown.len(), self.all);
        if shown < all { format!("{shown} of {all} {what}") } else { format!("all {all} {what}") }
    }

    /// In the colours of the classes, of the clusters where there are no labels, in one colour where there are neither; and what
    /// the colours are.
    pub fn by_group(&self, at: impl Fn(&Dot) -> (f64, f64)) -> (Vec<Layer>, &'static str) {
        let labels = |dot: &Dot| dot.split.labels.map(|labels| labels[dot.sample]);
        if self.galleries.iter().all(|split| split.labels.is_some()) {
            let what = "Colours are labels, which training never saw.";
            return (self.grouped(at, |dot| labels(dot).unwrap_or_default()), what);
        }
        if self.has_clusters() {
            return (self.by_cluster(at), "Colours are clusters; the set has no labels.");
        }
        let points = self.shown.iter().map(at).collect();
        let plain = Layer { name: String::new(), ink: Ink::INT8, mark: Mark::Dots, points };
        (vec![plain], "The set has no labels.")
    }

    /// Whether all samples have clusters.
    pub fn has_clusters(&self) -> bool {
        self.galleries.iter().all(|split| split.clusters.len() == split.samples.len())
    }

    /// In the colours of the clusters, which all samples must have.
    pub fn by_cluster(&self, at: impl Fn(&Dot) -> (f64, f64)) -> Vec<Layer> {
        self.grouped(at, |dot| dot.split.clusters[dot.sample])
    }

    fn grouped(&self, at: impl Fn(&Dot) -> (f64, f64), group: impl Fn(&Dot) -> u16) -> Vec<Layer> {
        let mut groups: Vec<u16> = self.shown.iter().map(&group).collect();
        groups.sort_unstable();
        groups.dedup();
        let (coloured, others) = groups.split_at(groups.len().min(Ink::CLASSES.len()));
        let layer = |name: String, ink: Ink, chosen: &[u16]| {
            let points = self.shown.iter().filter(|dot| chosen.contains(&group(dot))).map(&at).collect();
            Layer { name, ink, mark: Mark::Dots, points }
        };
        let mut layers: Vec<Layer> =
            coloured.iter().zip(Ink::CLASSES).map(|(group, ink)| layer(group.to_string(), ink, &[*group])).collect();
        if !others.is_empty() {
            layers.push(layer("others".into(), Ink::RAW, others));
        }
        layers
    }

    /// In colours that run from `-FULL` or less over 0 to `FULL` or more.
    pub fn by_value(&self, at: impl Fn(&Dot) -> (f64, f64), value: impl Fn(&Dot) -> f64) -> Vec<Layer> {
        let half = STEPS / 2;
        let step =
            |dot: &Dot| (value(dot) / FULL * f64::from(half)).round().clamp(f64::from(-half), f64::from(half)) as i32;
        let steps: Vec<i32> = self.shown.iter().map(step).collect();
        // The strongest colours are the foremost.
        let mut order: Vec<i32> = (-half..=half).collect();
        order.sort_by_key(|step| -step.abs());
        let layer = |step: i32| Layer {
            name: String::new(),
            ink: Ink::diverging(f64::from(step) / f64::from(half)),
            mark: Mark::Dots,
            points: self.shown.iter().zip(&steps).filter(|(_, of)| **of == step).map(|(dot, _)| at(dot)).collect(),
        };
        order.into_iter().map(layer).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::data::Samples;

    /// What a gallery of samples of one value borrows.
    struct Split(Samples, Array2<i8>, Array2<f32>);

    impl Split {
        fn of(values: &[f32]) -> Self {
            let n = values.len();
            let samples = Samples { shape: [1, 1, 1], raw: vec![0; n] };
            Self(samples, Array2::zeros((n, 1)), Array2::from_shape_fn((n, 1), |(i, _)| values[i]))
        }

        fn gallery<'a>(&'a self, clusters: &'a [u16]) -> Gallery<'a> {
            let Self(samples, embeddings, float) = self;
            Gallery { samples, labels: None, embeddings: embeddings.view(), float: float.view(), clusters }
        }
    }

    fn at(dot: &Dot) -> (f64, f64) {
        (dot.function(0), 0.0)
    }

    #[test]
    fn dots_run_through_all_splits_and_many_are_thinned_out() {
        let (first, second) = (Split::of(&[1.0, 2.0]), Split::of(&[3.0]));
        let dots = Dots::of(vec![first.gallery(&[]), second.gallery(&[])]);
        assert_eq!(dots.shown().iter().map(|dot| dot.function(0)).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
        assert_eq!(dots.share("nodes"), "all 3 nodes");
        let many = Split::of(&vec![0.0; 3 * MOST]);
        let dots = Dots::of(vec![many.gallery(&[]), first.gallery(&[])]);
        assert_eq!((dots.shown().len(), dots.share("samples")), (MOST, "2000 of 6002 samples".into()));
        assert_eq!(dots.shown()[1].sample, 3);
    }

    #[test]
    fn colours_say_the_size_of_a_value() {
        let split = Split::of(&[-9.0, -FULL as f32, 0.0, 0.1, 9.0]);
        let layers = Dots::of(vec![split.gallery(&[])]).by_value(at, |dot| dot.function(0));
        let of = |value: f64| layers.iter().find(|layer| layer.ink == Ink::diverging(value)).unwrap().points.len();
        assert_eq!([of(-1.0), of(0.0), of(1.0)], [2, 2, 1]);
        assert_eq!(layers.iter().map(|layer| layer.points.len()).sum::<usize>(), 5);
    }

    #[test]
    fn the_first_ten_clusters_have_colours_of_their_own() {
        let split = Split::of(&[0.0; 24]);
        let clusters: Vec<u16> = (0..24).map(|sample| sample % 12).collect();
        let dots = Dots::of(vec![split.gallery(&clusters)]);
        let (layers, what) = dots.by_group(at);
        assert_eq!((layers.len(), layers[10].points.len()), (11, 4));
        assert_eq!((layers[9].name.as_str(), layers[10].name.as_str()), ("9", "others"));
        assert!(what.starts_with("Colours are clusters"));
        assert_eq!(Dots::of(vec![split.gallery(&[])]).by_group(at).0.len(), 1);
    }
}
