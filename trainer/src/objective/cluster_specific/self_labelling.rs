//! SeLa's classifiers: a sub-model's loss for a sample is the cross-entropy of its classes with a label that it gave the
//! sample itself.
//!
//! ```text
//! l_ij = - (log p_j(y_ij | x_i) + log p_j(y_ij | x_i+)) / 2            p_j = softmax of sub-model j's outputs
//! ```
//!
//! Every so many epochs the labels are made anew, by optimal transport ([`sinkhorn`](super::super::sinkhorn)) of each
//! sub-model's members alone: its classes are used alike among them. What solves it is a decision rule, `log p` plus an offset
//! for each class, and the label of a sample that is no member is what the same rule says of it. A sample that is not learned
//! from has no stored label; there the rule says one from its views.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use ndarray::{Axis, s};
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::sela::{changed, random_labels, read_all};
use super::super::sinkhorn::Sinkhorn;
use super::{Case, Family, Losses, Pass};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Trainable, floats};

/// Settings of the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSelaSpec {
    /// How hard the transport is, above 0: a sub-model's labels cost at most `log(code) / lambda` more than its best ones.
    pub lambda: f64,
    /// Epochs from one making of labels to the next, from 1; the first is before the first batch.
    pub every: usize,
    /// Views of a sample over which `log p` is averaged for its labels, first and second ones in turn; 0 takes the sample as
    /// it is.
    pub label_views: usize,
    /// Relative error of a class's share at which the transport stops, above 0.
    pub tolerance: f64,
    /// Iterations after which it stops all the same.
    pub iterations: usize,
}

impl Default for ClusterSelaSpec {
    fn default() -> Self {
        Self { lambda: 25.0, every: 1, label_views: 2, tolerance: 0.01, iterations: 2000 }
    }
}

/// Largest `lambda` and `tolerance`: beyond it, arithmetic fails before anything gets harder.
const LARGEST: f64 = 1e6;

impl ClusterSelaSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        let place = |key: &str| format!("objective.family.{key}");
        for (key, value, least, most) in [
            ("every", self.every, 1, 1_000_000),
            ("label_views", self.label_views, 0, 1000),
            ("iterations", self.iterations, 1, 1_000_000),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Error::input(place(key), "impossible value", format!("{least} to {most}"), value));
            }
        }
        for (key, value) in [("lambda", self.lambda), ("tolerance", self.tolerance)] {
            if !(value > 0.0 && value <= LARGEST) {
                let expected = format!("above 0, at most {LARGEST}");
                return Err(Error::input(place(key), "impossible value", expected, value));
            }
        }
        Ok(())
    }
}

/// The family with its labels.
pub struct SelfLabelling {
    spec: ClusterSelaSpec,
    /// One for each sub-model.
    teachers: Vec<Teacher>,
    classes: usize,
}

/// What one sub-model is taught.
#[derive(Clone, Debug, PartialEq)]
struct Teacher {
    /// The class of every sample; empty before the first batch.
    labels: Vec<u32>,
    /// Of the last coupling, for the next one to start from and for the decision rule; of mean 0.
    log_alpha: Vec<f32>,
    /// Share of the samples whose label the last coupling changed.
    changed: f32,
}

impl SelfLabelling {
    /// At the start of training, for so many sub-models of so many classes.
    pub fn new(spec: ClusterSelaSpec, clusters: usize, classes: usize) -> Self {
        let teacher = Teacher { labels: Vec::new(), log_alpha: vec![0.0; classes], changed: 0.0 };
        Self { spec, teachers: vec![teacher; clusters], classes }
    }

    /// The label of each sample under each sub-model, one sample after the other: of training samples the stored ones.
    fn stored(&self, samples: &[u32]) -> Vec<u32> {
        let labels = |&sample: &u32| self.teachers.iter().map(move |teacher| teacher.labels[sample as usize]);
        samples.iter().flat_map(labels).collect()
    }

    /// What the decision rules say of `log p`, `[n, clusters, classes]`, in the same order.
    fn decided(&self, log_p: &[f32]) -> Vec<u32> {
        let label = |(i, row): (usize, &[f32])| {
            let offsets = &self.teachers[i % self.teachers.len()].log_alpha;
            let score = |class: usize| row[class] + offsets[class] / self.spec.lambda as f32;
            (1..row.len()).fold(0, |best, class| if score(class) > score(best) { class } else { best }) as u32
        };
        log_p.chunks_exact(self.classes).enumerate().map(label).collect()
    }
}

impl<B: Trainable> Family<B> for SelfLabelling {
    fn views(&self) -> &'static [View] {
        &[View::First, View::Second, View::Plain]
    }

    fn prepare(&mut self, pass: &Pass<B>) -> Result<()> {
        let Pass { source, assignments, position, device, outputs } = *pass;
        let (clusters, classes, n) = (self.teachers.len(), self.classes, source.len());
        let shares = vec![1.0 / classes as f64; classes];
        for (j, teacher) in self.teachers.iter_mut().enumerate().filter(|(_, teacher)| teacher.labels.is_empty()) {
            teacher.labels = random_labels(n, &shares, position.seed, j);
        }
        let every = self.spec.every as u64;
        if !position.epoch.is_multiple_of(every) {
            return Ok(());
        }
        let read = |images: Tensor<B::InnerBackend, 4>| {
            let rows = images.dims()[0];
            log_softmax(outputs(images), 2).reshape([rows, clusters * classes])
        };
        let ClusterSelaSpec { lambda, label_views, tolerance, iterations, .. } = self.spec;
        let log_p = read_all::<B>(source, label_views, position.seed, position.epoch / every + 1, device, read)?;
        for (j, teacher) in self.teachers.iter_mut().enumerate() {
            let members: Vec<usize> = (0..n).filter(|&i| assignments[i] as usize == j).collect();
            // Nobody to be alike among: the rule stays as it is.
            if members.is_empty() {
                teacher.changed = 0.0;
                continue;
            }
            let all = log_p.slice(s![.., j * classes..(j + 1) * classes]);
            let own = all.select(Axis(0), &members);
            let start: Vec<f64> = teacher.log_alpha.iter().map(|&value| f64::from(value)).collect();
            let coupling = Sinkhorn { lambda, tolerance, iterations }.couple(own.view(), &shares, &start);
            let labels = coupling.labels_of(all, &teacher.labels);
            *teacher = Teacher {
                changed: changed(&teacher.labels, &labels),
                log_alpha: coupling.log_alpha.iter().map(|&value| value as f32).collect(),
                labels,
            };
        }
        Ok(())
    }

    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B> {
        let log_p = log_softmax(case.outputs(case.images.clone().narrow(0, 0, 2 * n)), 2);
        let log_p = (log_p.clone().narrow(0, 0, n) + log_p.narrow(0, n, n)) / 2.0;
        let [_, clusters, classes] = log_p.dims();
        let labels = match &case.known {
            Some(known) => self.stored(known.samples),
            None => self.decided(&floats(log_p.clone().inner())),
        };
        let targets = TensorData::new(super::one_hot(&labels, classes), [n, clusters, classes]);
        let targets = Tensor::<B, 3>::from_data(targets, &log_p.device());
        let changed = self.teachers.iter().map(|teacher| teacher.changed).sum::<f32>() / clusters as f32;
        let terms = vec![("changed", Tensor::from_floats([changed], &log_p.device()))];
        Losses { terms, ..Losses::of(-(log_p * targets).sum_dim(2).reshape([n, clusters])) }
    }

    fn state(&self) -> State {
        let mut state = State::new();
        for (j, teacher) in self.teachers.iter().enumerate() {
            // Classes are far below 2^24: exact.
            let labels = teacher.labels.iter().map(|&label| label as f32).collect();
            state.insert(format!("labels.{j}"), labels);
            state.insert(format!("log_alpha.{j}"), teacher.log_alpha.clone());
            state.insert(format!("changed.{j}"), vec![teacher.changed]);
        }
        state
    }

    fn restore(&mut self, mut state: State) {
        for (j, teacher) in self.teachers.iter_mut().enumerate() {
            let mut take = |name: &str| state.remove(&format!("{name}.{j}")).unwrap_or_default();
            teacher.labels = take("labels").into_iter().map(|label| label as u32).collect();
            teacher.log_alpha = take("log_alpha");
            teacher.changed = take("changed").first().copied().unwrap_or_default();
        }
    }
}
