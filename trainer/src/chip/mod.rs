//! Whether a model fits a chip, and about what it costs there, before anything is flashed.
//!
//! Flash and RAM are counted. Instructions are estimated: what the kernels do for a model is counted (`eigenlet_runtime::Work`), and
//! what each of that takes is fitted to QEMU's counts of instructions, for each core (`trainer/assets/chips.toml`). Cycles are no
//! more than these times a factor, where one is known.

use std::collections::BTreeMap;

use eigenlet_runtime::{Kernels, Model};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The table of chips and cores.
const TABLE: &str = include_str!("../../assets/chips.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    chip: BTreeMap<String, Chip>,
    core: BTreeMap<String, Core>,
    /// Instructions for each of what a count of `Work` counts, on each core.
    instructions: BTreeMap<String, BTreeMap<String, f64>>,
}

/// A chip.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Chip {
    /// Which core it has.
    pub core: String,
    /// KiB.
    pub flash: usize,
    /// KiB.
    pub ram: usize,
    /// MHz.
    pub clock: f64,
}

/// What the runtime costs on a core.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Core {
    /// Bytes of flash of the whole runtime, optimised for size.
    text: usize,
    /// Bytes of stack to parse a model and run all of its heads.
    stack: usize,
    /// Whether it runs the kernels for the DSP extension.
    dsp: bool,
    /// Cycles for an instruction, where a model of the core is known.
    cycles: Option<f64>,
}

/// What a model takes on a chip.
#[derive(Clone, Debug, Serialize)]
pub struct Fit {
    /// The chip's name.
    pub name: String,
    /// The chip.
    pub chip: Chip,
    /// Bytes of flash: the model, and the whole runtime.
    pub flash: usize,
    /// Bytes of RAM: the arena, and the stack to run it.
    pub ram: usize,
    /// Whether both are there.
    pub fits: bool,
    /// Instructions of one embedding of all dimensions, layers included: an estimate.
    pub instructions: u64,
    /// Cycles of the same, where a factor is known: an estimate of an estimate.
    pub cycles: Option<u64>,
}

fn table() -> Result<Table> {
    toml::from_str(TABLE).map_err(|error| Error::Check(format!("the table of chips: {error}")))
}

/// What a model of so many bytes takes on the chip of that name.
///
/// # Errors
/// A name that is none.
pub fn fit(model: &Model, bytes: usize, name: &str) -> Result<Fit> {
    let mut table = table()?;
    let names = table.chip.keys().cloned().collect::<Vec<_>>().join(", ");
    let chip =
        table.chip.remove(name).ok_or_else(|| Error::input("--chip", "not a chip that is known", names, name))?;
    let core = table.core(&chip.core)?;
    let (flash, ram) = (bytes + core.text, model.arena_bytes() + core.stack);
    // Of indices, about a hundredth is set.
    let instructions = table.instructions(model, &chip.core, model.input_len() / 100, model.dims())?;
    Ok(Fit {
        name: name.into(),
        fits: flash <= chip.flash << 10 && ram <= chip.ram << 10,
        flash,
        ram,
        instructions: instructions as u64,
        cycles: core.cycles.map(|factor| (factor * instructions) as u64),
        chip,
    })
}

/// About how many instructions the layers and the first `dims` dimensions of an embedding take on a core, by its name in the table of
/// chips; where samples are indices, of one with so many ones.
///
/// # Errors
/// A core that is none.
pub fn instructions(model: &Model, core: &str, ones: usize, dims: u16) -> Result<u64> {
    Ok(table()?.instructions(model, core, ones, dims)? as u64)
}

impl Table {
    fn core(&self, name: &str) -> Result<&Core> {
        self.core.get(name).ok_or_else(|| Error::Check(format!("the table of chips has no {name}")))
    }

    fn instructions(&self, model: &Model, core: &str, ones: usize, dims: u16) -> Result<f64> {
        let kernels = if self.core(core)?.dsp { Kernels::Dsp } else { Kernels::Portable };
        let of_one = |count: &str| self.instructions.get(count)?.get(core);
        model.work(kernels, ones, dims).counts().into_iter().try_fold(0.0, |sum, (name, count)| {
            let of_one =
                of_one(name).ok_or_else(|| Error::Check(format!("the table of chips has no {name} of {core}")))?;
            Ok(sum + of_one * count)
        })
    }
}

#[cfg(test)]
mod tests {
    use eigenlet_runtime::Work;

    use super::*;

    #[test]
    fn every_chip_has_a_core_of_the_table() {
        let table = table().unwrap();
        assert!(table.chip.len() >= 10);
        for (name, chip) in &table.chip {
            assert!(table.core(&chip.core).unwrap().text > 4096, "{name}");
        }
    }

    #[test]
    fn every_core_has_a_number_for_everything_that_is_counted() {
        let table = table().unwrap();
        let mut names: Vec<&str> = table.instructions.keys().map(String::as_str).collect();
        let mut counted = Work::NAMES.to_vec();
        names.sort_unstable();
        counted.sort_unstable();
        assert_eq!(names, counted, "tests/scripts/calibrate writes them");
        for (name, cores) in &table.instructions {
            assert!(cores.keys().eq(table.core.keys()), "{name}: {cores:?}");
            assert!(cores.values().all(|number| *number >= 0.0), "{name}: {cores:?}");
        }
        let number = |count: &str, core: &str| table.instructions[count][core];
        for core in table.core.keys() {
            assert!(number("quad_group", core) > 8.0, "16 multiply-accumulates on {core}");
        }
    }
}
