//! This project's int8 arithmetic against what TensorFlow Lite's own interpreter computed, byte for byte.
//!
//! The files under `tests/peers/tflite/vectors` hold what it computed; `EIGENLET_TFLITE_VECTORS=DIR` checks those in another
//! folder instead. With `--nocapture` the counts are printed.

#[cfg(feature = "bench")]
mod kernels;
mod layers;
mod vectors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layers::{Rows, accumulators, outputs, quantised_multiplier, range};
use vectors::{Case, Operator, read_all};

/// How many outputs were compared, and by how much they differ.
#[derive(Default)]
struct Tally {
    cases: usize,
    outputs: usize,
    /// Outputs that no clamp touched, which so say something about rounding.
    inside: usize,
    /// How many differ by so many steps.
    differing: BTreeMap<u8, usize>,
    /// The first case that differs, and where.
    first: Option<String>,
}

impl Tally {
    fn add(&mut self, case: &Case, found: &[i8]) {
        assert_eq!(found.len(), case.output.len(), "{case:?}");
        let [minimum, maximum] = range(case.activation, case.output_grid);
        self.cases += 1;
        self.outputs += found.len();
        self.inside += case.output.iter().filter(|output| **output > minimum && **output < maximum).count();
        for (at, (found, expected)) in found.iter().zip(&case.output).enumerate() {
            if found != expected {
                *self.differing.entry(found.abs_diff(*expected)).or_default() += 1;
                self.first
                    .get_or_insert_with(|| format!("output {at}: expected {expected}, found {found}, of {case:?}"));
            }
        }
    }
}

/// What the reference kernel of `FULLY_CONNECTED` does in later versions: one rounding, in floating point, halves away from zero.
fn rounded_in_float(case: &Case) -> Vec<i8> {
    let rows = Rows::of(case);
    let [minimum, maximum] = range(case.activation, case.output_grid).map(f64::from);
    let outputs = accumulators(case, &rows).into_iter().enumerate().map(|(at, acc)| {
        let value = (f64::from(acc) * rows.factors[at % rows.factors.len()]).round();
        (value + f64::from(case.output_grid.zero_point)).clamp(minimum, maximum) as i8
    });
    outputs.collect()
}

/// The same in the versions before: two roundings like every other layer, of a factor from a product in `f32`.
fn rounded_twice(case: &Case) -> Vec<i8> {
    let rows = Rows::of_fully_connected(case);
    let [minimum, maximum] = range(case.activation, case.output_grid);
    let outputs = accumulators(case, &rows)
        .into_iter()
        .enumerate()
        .map(|(at, acc)| rows.scales[at % rows.scales.len()].output(acc).clamp(minimum, maximum));
    outputs.collect()
}

#[test]
fn every_byte_is_tensorflow_lites() {
    let folder = match std::env::var_os("EIGENLET_TFLITE_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/tflite/vectors"),
    };
    let mut failures = Vec::new();
    for file in read_all(&folder) {
        println!("{} ({})", file.path.display(), file.producer);
        let mut tallies: BTreeMap<(Operator, &str), Tally> = BTreeMap::new();
        for case in &file.cases {
            let mut compare = |rule, found: &[i8]| tallies.entry((case.operator, rule)).or_default().add(case, found);
            compare("int8.v1", &outputs(case));
            #[cfg(feature = "bench")]
            compare("int8.v1, by the kernels", &kernels::outputs(case));
            match (case.operator, file.is_dense_float) {
                (Operator::FullyConnected, true) => compare("one rounding in float", &rounded_in_float(case)),
                (Operator::FullyConnected, false) => compare("two roundings, factor in f32", &rounded_twice(case)),
                _ => {}
            }
        }
        for ((operator, rule), tally) in tallies {
            let Tally { cases, outputs, inside, differing, first } = tally;
            println!(
                "    {operator:?} by {rule}: {cases} cases, {outputs} outputs, {inside} not clamped; differing, by steps: {differing:?}"
            );
            // A dense layer of this format rounds like all its layers, which is not quite what that operator does: how often it
            // matters depends on the factors.
            let is_near = differing.keys().all(|steps| *steps == 1);
            let is_known = operator == Operator::FullyConnected && rule.starts_with("int8.v1") && is_near;
            if !(differing.is_empty() || is_known) {
                failures.push(format!("{}: {operator:?} by {rule}: {}", file.path.display(), first.unwrap()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn real_factors_become_integers_at_their_edges() {
    let step = 2f64.powi(-31);
    assert_eq!(quantised_multiplier(0.0), (0, 0));
    assert_eq!(quantised_multiplier(0.5), (1 << 30, 0));
    assert_eq!(quantised_multiplier(0.25), (1 << 30, 1));
    assert_eq!(quantised_multiplier(0.75), (3 << 29, 0));
    assert_eq!(quantised_multiplier(3.0), (3 << 29, -2));
    // A significand that rounds up to one belongs to the next exponent.
    assert_eq!(quantised_multiplier(0.5 - step / 8.0), (1 << 30, 0));
    assert_eq!(quantised_multiplier(1.0 - step / 4.0), (1 << 30, -1));
    // Halves away from zero.
    assert_eq!(quantised_multiplier(0.75 + step / 2.0), ((3 << 29) + 1, 0));
    // The least factor that is not zero, and what is below it.
    assert_eq!(quantised_multiplier(2f64.powi(-32)), (1 << 30, 31));
    assert_eq!(quantised_multiplier(1.9 * 2f64.powi(-33)), (0, 0));
}
