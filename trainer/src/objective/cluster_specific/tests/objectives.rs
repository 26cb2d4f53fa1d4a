//! Families that are objectives of this crate, wrapped: with one cluster they are the plain objective.

use ndarray::ArrayView2;

use super::super::imsat::ClusterImsatSpec;
use super::super::self_labelling::{ClusterSelaSpec, SelfLabelling};
use super::*;
use crate::objective::ObjectiveSpec;
use crate::objective::imsat::{ImsatClusterSpec, Perturbation, SmoothnessSpec};
use crate::objective::neural_eigenmap::{NeuralEigenmapSpec, Penalty};
use crate::objective::sela::SelaSpec;
use crate::train::source::views_of;

/// Three clusters; the second has no members.
const MEMBERS: [u32; ROWS] = [0, 2, 0, 2, 0, 0, 2];

fn eigenmap(penalty: Penalty) -> FamilySpec {
    FamilySpec::NeuralEigenmap(NeuralEigenmapSpec { penalty, alpha: 0.7, ..Default::default() })
}

fn imsat() -> FamilySpec {
    FamilySpec::Imsat(ClusterImsatSpec { lambda: 0.3, mu: 2.0 })
}

fn sela(every: usize) -> FamilySpec {
    FamilySpec::Sela(ClusterSelaSpec { every, ..Default::default() })
}

fn spec(clusters: usize, code: usize, family: FamilySpec) -> ClusterSpecificSpec {
    ClusterSpecificSpec { clusters, code, family, ..Default::default() }
}

/// A family's losses for views that differ, for whose members there are.
fn learned(spec: &ClusterSpecificSpec, state: State) -> Example {
    let mut family = spec.build_family::<Tracked>();
    family.restore(state);
    let members = if spec.clusters == 1 { [0; ROWS] } else { MEMBERS };
    example_of(spec, family.as_ref(), random(family.views().len() * ROWS * SIZE, 30), Some(&members))
}

impl Example {
    /// Sub-model `j`'s outputs for a view of sample `i`.
    fn outputs(&self, view: usize, i: usize, j: usize) -> Vec<f64> {
        self.encode(&self.off_centre(view * ROWS + i, j), j, CODE)
    }

    fn log_softmax(&self, view: usize, i: usize, j: usize) -> Vec<f64> {
        let logits = self.outputs(view, i, j);
        let log_sum = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        logits.into_iter().map(|logit| logit - log_sum).collect()
    }

    /// The members of a cluster of [`MEMBERS`], or of the only one.
    fn members(&self, j: usize) -> Vec<usize> {
        (0..ROWS).filter(|&i| self.clusters() == 1 || MEMBERS[i] as usize == j).collect()
    }
}

#[test]
fn eigenmap_losses_are_the_changes_of_functions_of_unit_moment_over_members() {
    for (clusters, penalty) in [(1, Penalty::Fixed), (3, Penalty::Fixed), (3, Penalty::Eigenvalue)] {
        let example = learned(&spec(clusters, CODE, eigenmap(penalty)), State::new());
        let psi = |view: usize, i: usize, j: usize| -> Vec<f64> {
            let own = example.members(j);
            // Without members the whole batch counts.
            let own = if own.is_empty() { (0..ROWS).collect() } else { own };
            let square = |k: usize| {
                let sum: f64 =
                    own.iter().flat_map(|&i| [0, 1].map(|view| example.outputs(view, i, j)[k].powi(2))).sum();
                sum / (2 * own.len()) as f64
            };
            example.outputs(view, i, j).into_iter().enumerate().map(|(k, z)| z / square(k).sqrt()).collect()
        };
        example.check(&example.losses, |i, j| square(&differences(&psi(0, i, j), &psi(1, i, j))) / 2.0);

        let mut penalties = 0.0;
        for j in 0..clusters {
            let own = example.members(j);
            let moment = |views: [usize; 2], [a, b]: [usize; 2]| {
                let product = |&i: &usize| psi(views[0], i, j)[a] * psi(views[1], i, j)[b];
                own.iter().map(product).sum::<f64>() / own.len() as f64
            };
            if own.is_empty() {
                continue;
            }
            let mut sum = 0.0;
            for (a, b) in (0..CODE).flat_map(|b| (0..b).map(move |a| (a, b))) {
                let weight = match penalty {
                    Penalty::Fixed => 1.0,
                    Penalty::Eigenvalue => 1.0 / moment([0, 1], [a, a]).max(0.01),
                };
                sum += weight * (moment([0, 1], [a, b]).powi(2) + moment([1, 0], [a, b]).powi(2));
            }
            penalties += own.len() as f64 / ROWS as f64 * 0.7 / 2.0 * sum;
        }
        let found = example.batch.unwrap();
        assert!((found - penalties).abs() < 1e-4, "{clusters} {penalty:?}: {found}, naively {penalties}");
    }
}

#[test]
fn imsat_losses_are_uncertainty_and_change_and_members_share_their_classes() {
    for clusters in CLUSTERS {
        let example = learned(&spec(clusters, CODE, imsat()), State::new());
        // The first view is the moved one.
        example.check(&example.losses, |i, j| {
            let (moved, clean) = (example.log_softmax(0, i, j), example.log_softmax(1, i, j));
            let entropy: f64 = clean.iter().map(|log| -log.exp() * log).sum();
            let change: f64 = clean.iter().zip(&moved).map(|(clean, moved)| clean.exp() * (clean - moved)).sum();
            0.3 * entropy + change
        });
        let mut expected = 0.0;
        for j in 0..clusters {
            let own = example.members(j);
            for k in (0..CODE).filter(|_| !own.is_empty()) {
                let mean = own.iter().map(|&i| example.log_softmax(1, i, j)[k].exp()).sum::<f64>() / own.len() as f64;
                expected += own.len() as f64 / ROWS as f64 * 0.3 * 2.0 * mean * (mean * CODE as f64).ln();
            }
        }
        let found = example.batch.unwrap();
        assert!((found - expected).abs() < 1e-5, "{clusters}: {found}, naively {expected}");
    }
}

#[test]
fn self_labelling_losses_are_cross_entropies_with_each_sub_models_labels() {
    for clusters in CLUSTERS {
        let label = |i: usize, j: usize| (i + j) % 3 % CODE;
        let state = (0..clusters).flat_map(|j| {
            let labels: Vec<f32> = (0..ROWS).map(|i| label(i, j) as f32).collect();
            [(format!("labels.{j}"), labels), (format!("log_alpha.{j}"), vec![0.0; CODE])]
        });
        let example = learned(&spec(clusters, CODE, sela(1)), state.collect());
        let cross_entropy = |i: usize, j: usize| {
            let views = [0, 1].map(|view| -example.log_softmax(view, i, j)[label(i, j)]);
            (views[0] + views[1]) / 2.0
        };
        example.check(&example.losses, cross_entropy);
        assert!(example.batch.is_none());
    }
}

#[test]
fn labels_are_alike_among_members_and_for_all_others_what_the_same_rule_says() {
    const CLASSES: usize = 3;
    const LAMBDA: f64 = 50.0;
    let groups = Groups::new();
    let n = groups.len();
    let own = ClusterSelaSpec { lambda: LAMBDA, label_views: 0, tolerance: 1e-6, iterations: 100_000, every: 2 };
    let mut family = SelfLabelling::new(own, 2, CLASSES);
    let assignments: Vec<u32> = (0..n as u32).map(|i| u32::from(i % 5 == 0)).collect();
    let directions = random(SIZE * 2 * CLASSES, 40);
    let outputs = |images: Tensor<Plain, 4>| {
        let rows = images.dims()[0];
        let logits = images.reshape([rows, SIZE]).matmul(tensor(&directions, [SIZE, 2 * CLASSES]));
        logits.reshape([rows, 2, CLASSES])
    };
    let mut prepare = |epoch| {
        let position = Position { seed: 1, seen: 0, total: 1, epoch };
        let device = Default::default();
        let pass = Pass::<Tracked> {
            source: &groups,
            assignments: &assignments,
            position,
            device: &device,
            outputs: &outputs,
        };
        family.prepare(&pass).unwrap();
        Family::<Tracked>::state(&family)
    };
    let state = prepare(0);
    assert_eq!(prepare(1), state, "labels are made every other epoch");
    let logits = |i: usize, j: usize, class: usize| -> f64 {
        let sample = &groups.values[i * SIZE..][..SIZE];
        let column = j * CLASSES + class;
        sample.iter().enumerate().map(|(k, x)| f64::from(x * directions[k * 2 * CLASSES + column])).sum()
    };
    for j in 0..2 {
        let (labels, log_alpha) = (&state[&format!("labels.{j}")], &state[&format!("log_alpha.{j}")]);
        let score = |i: usize, class: usize| logits(i, j, class) + f64::from(log_alpha[class]) / LAMBDA;
        for (i, &label) in labels.iter().enumerate() {
            assert!((0..CLASSES).all(|class| score(i, class) <= score(i, label as usize) + 1e-5), "{j}, sample {i}");
        }
        let members: Vec<usize> = (0..n).filter(|&i| assignments[i] as usize == j).collect();
        for class in 0..CLASSES {
            let size = members.iter().filter(|&&i| labels[i] as usize == class).count();
            let share = members.len() as f64 / CLASSES as f64;
            assert!((size as f64 - share).abs() <= 2.0, "{j}, class {class}: {size} of {}", members.len());
        }
    }
}

/// [`Groups`] whose perturbed views differ a little.
struct Moving(Groups);

impl Source for Moving {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.0.shape()
    }

    fn view(&self, view: View, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
        let key = match view {
            View::Plain => return self.0.view(view, seed, epoch, samples),
            View::First => 100,
            View::Second => 200,
        };
        let noise = random(self.0.values.len(), (seed ^ epoch).wrapping_add(key));
        let values: Vec<f32> = self.0.values.iter().zip(noise).map(|(value, noise)| value + 0.2 * noise).collect();
        Groups { values }.view(view, seed, epoch, samples)
    }
}

impl Moving {
    /// All samples, after the epoch's preparation.
    fn batch(&self, objective: &mut dyn Objective<Tracked>, encoder: &Encoder<Tracked>, epoch: u64) -> Batch<Tracked> {
        let samples: Vec<u32> = (0..self.len() as u32).collect();
        let position = Position { seed: 1, seen: epoch * self.len() as u64, total: 1000, epoch };
        objective.prepare(encoder, self, position, &Default::default()).unwrap();
        let views = objective.views();
        let images = tensor(&views_of(self, views, 1, epoch, &samples), [views.len() * self.len(), 1, 1, SIZE]);
        Batch { images, samples, position }
    }
}

/// A network with a layer, which reads samples as they are.
fn layered(outputs: usize, seed: u64) -> Encoder<Tracked> {
    let network: NetworkSpec = toml::from_str("layers = [{ kind = \"dense\", units = 6 }]\ndims = 2").unwrap();
    Encoder::new(network.plan([1, 1, SIZE], outputs).unwrap(), seed, &Default::default())
}

#[test]
fn one_cluster_is_the_plain_objective_and_its_gradient() {
    const CLASSES: usize = 3;
    let smoothness = SmoothnessSpec { perturbation: Perturbation::Affine, ..Default::default() };
    let plain_imsat = ImsatClusterSpec { clusters: CLASSES, lambda: 0.3, mu: 2.0, smoothness, ..Default::default() };
    let plain_sela = SelaSpec { heads: 1, classes: CLASSES, updates: 1, ..Default::default() };
    let alike = |penalty| {
        let FamilySpec::NeuralEigenmap(own) = eigenmap(penalty) else { unreachable!() };
        // One output for each function of either.
        (eigenmap(penalty), ObjectiveSpec::NeuralEigenmap(own), CLASSES as f64)
    };
    for (family, plain, constant) in [
        alike(Penalty::Fixed),
        alike(Penalty::Eigenvalue),
        (imsat(), ObjectiveSpec::ImsatCluster(plain_imsat), 0.0),
        (sela(1), ObjectiveSpec::Sela(plain_sela), 0.0),
    ] {
        let own = ObjectiveSpec::ClusterSpecific(spec(1, CLASSES, family));
        let source = Moving(Groups::new());
        let [found, expected] = [&own, &plain].map(|objective| {
            let (mut objective, encoder) = (objective.build::<Tracked>(), layered(CLASSES, 1));
            let batch = source.batch(objective.as_mut(), &encoder, 0);
            let total = objective.loss(&encoder, batch).total;
            let gradients = total.backward();
            let slopes = [0, 1].map(|step| encoder.parameters.affines[step].weight.val().grad(&gradients).unwrap());
            (value(total), slopes.map(floats).concat())
        });
        assert!((found.0 - expected.0 - constant).abs() < 1e-5, "{}: {} and {}", own.name(), found.0, expected.0);
        assert!(expected.1.iter().any(|slope| slope.abs() > 1e-3), "{}", own.name());
        for (found, expected) in found.1.iter().zip(&expected.1) {
            assert!((found - expected).abs() < 1e-4, "{}: slope {found}, plainly {expected}", own.name());
        }
    }
}

#[test]
fn taken_up_after_any_epoch_they_go_on_as_they_would_have() {
    for family in [eigenmap(Penalty::Eigenvalue), imsat(), sela(2)] {
        let spec = ClusterSpecificSpec { hold: 0.0, pull: 0.5, ..spec(3, 2, family) };
        let source = Moving(Groups::new());
        let mut straight = ClusterSpecific::<Tracked>::new(spec.clone());
        let mut broken = ClusterSpecific::<Tracked>::new(spec.clone());
        for epoch in 0..5 {
            let [a, b] = [&mut straight, &mut broken].map(|objective| {
                // Another network at each step, as if it had learned.
                let encoder = layered(6, epoch);
                let batch = source.batch(objective, &encoder, epoch);
                let total = value(objective.loss(&encoder, batch).total);
                let rule = tensor(&views_of(&source, &objective.rule_views(), 1, 9, &[5, 1, 2]), {
                    [3 * objective.views().len(), 1, 1, SIZE]
                });
                (total, objective.assign(&encoder, rule, None).unwrap(), objective.experts(&encoder))
            });
            assert_eq!(a, b, "{}, epoch {epoch}", spec.name());
            assert_eq!(straight.state(), broken.state(), "{}, epoch {epoch}", spec.name());
            let state = broken.state();
            broken = ClusterSpecific::new(spec.clone());
            broken.restore(state, &Default::default());
        }
    }
}

#[test]
fn shipped_functions_vary_as_much_as_their_eigenvalues_say() {
    let spec = ClusterSpecificSpec { hold: 0.9, ..spec(3, 2, eigenmap(Penalty::Eigenvalue)) };
    let source = Moving(Groups::new());
    let (mut objective, encoder) = (ClusterSpecific::<Tracked>::new(spec), layered(6, 1));
    let batch = source.batch(&mut objective, &encoder, 0);
    let both = batch.images.clone().narrow(0, 0, 2 * source.len());
    let position = batch.position;
    let assigned: Vec<u32> = objective.members().unwrap().assignments().to_vec();
    let known = batch.samples.clone();
    let _ = objective.loss(&encoder, Batch { images: batch.images, samples: known, position });

    let experts = objective.experts(&encoder).unwrap();
    let features = floats(encoder.features(both, Mode::Probe).inner());
    let features = ArrayView2::from_shape((2 * source.len(), 6), &features).unwrap();
    let eigenvalues = &objective.state()["family.eigenvalues"];
    for (row, weight) in experts.weight.chunks_exact(6).enumerate() {
        let own: Vec<f64> = (0..2 * source.len())
            .filter(|i| assigned[i % source.len()] as usize == row / 2)
            .map(|i| features.row(i).iter().zip(weight).map(|(x, w)| f64::from(x * w)).sum::<f64>())
            .map(|output| output + f64::from(experts.bias[row]))
            .collect();
        let moment = square(&own) / own.len() as f64;
        let expected = f64::from(eigenvalues[row].max(0.0));
        assert!((moment - expected).abs() < 1e-4, "output {row}: {moment}, eigenvalue {expected}");
    }
}

#[test]
fn what_a_wrapped_objective_cannot_be_is_refused_by_name() {
    let message = |family: &str| {
        let text = format!("code = 4\nfamily = {{ {family} }}");
        toml::from_str::<ClusterSpecificSpec>(&text).unwrap().check().unwrap_err().to_string()
    };
    for (key, family) in [
        ("alpha", "kind = \"neural-eigenmap\", alpha = 0.0"),
        ("momentum", "kind = \"neural-eigenmap\", momentum = 1.0"),
        ("lambda", "kind = \"imsat\", lambda = -1.0"),
        ("mu", "kind = \"imsat\", mu = nan"),
        ("lambda", "kind = \"sela\", lambda = 0.0"),
        ("every", "kind = \"sela\", every = 0"),
        ("label_views", "kind = \"sela\", label_views = 100000"),
        ("tolerance", "kind = \"sela\", tolerance = -1.0"),
        ("iterations", "kind = \"sela\", iterations = 0"),
    ] {
        let found = message(family);
        assert!(found.starts_with(&format!("objective.family.{key}: impossible value: expected")), "{found}");
    }
    for (family, most) in [(eigenmap(Penalty::Fixed), 9), (imsat(), 10), (sela(1), 10)] {
        // Ten samples for each of ten clusters.
        assert!(spec(10, most, family.clone()).fits(100, 100).is_ok());
        let error = spec(10, most + 1, family.clone()).fits(100, 100).unwrap_err().to_string();
        assert!(error.starts_with("objective.code: a cluster has "), "{error}");
        assert!(error.contains(&format!("expected at most {most}")), "{error}");
        let perturbs = ObjectiveSpec::ClusterSpecific(spec(10, 2, family.clone())).perturbs_first();
        assert_eq!(perturbs, family == imsat());
    }
    for family in [imsat(), sela(1)] {
        let error = spec(10, 1, family).check().unwrap_err().to_string();
        assert!(error.starts_with("objective.code: impossible value: expected at least 2"), "{error}");
    }
}
