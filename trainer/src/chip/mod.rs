//! Whether a model fits a chip, and about what it costs there, before anything is flashed.
//!
//! Flash and RAM are counted. Instructions are estimated, by a model with a few numbers for each core that are fitted to counts in
//! QEMU (`trainer/assets/chips.toml`); cycles are no more than these times a factor, where one is known.

use std::collections::BTreeMap;

use eigenlet_runtime::{Model, Raw};
use eigenlet_shared::description::{Operation, Window};
use eigenlet_shared::geometry::Shape;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::inference;

/// The table of chips and cores.
const TABLE: &str = include_str!("../../assets/chips.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    chip: BTreeMap<String, Chip>,
    core: BTreeMap<String, Core>,
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
    /// Cycles for an instruction, where a model of the core is known.
    cycles: Option<f64>,
    dense: Dense,
    conv: Conv,
    depthwise: Depthwise,
    pool: Pool,
}

/// Instructions of a dense layer, or of a head's rows.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Dense {
    mac: f64,
    output: f64,
}

/// Instructions of a convolution: by multiply-accumulates, by outputs, and by the values of the patches that are gathered.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Conv {
    mac: f64,
    output: f64,
    patch: f64,
}

/// Instructions of a depthwise convolution.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Depthwise {
    mac: f64,
}

/// Instructions of a pooling layer, by the values that windows see.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Pool {
    value: f64,
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
    let Table { mut chip, core } = table()?;
    let names = chip.keys().cloned().collect::<Vec<_>>().join(", ");
    let chip = chip.remove(name).ok_or_else(|| Error::input("--chip", "not a chip that is known", names, name))?;
    let core = core.get(&chip.core).ok_or_else(|| Error::Check(format!("the table of chips has no {}", chip.core)))?;
    let (flash, ram) = (bytes + core.text, model.arena_bytes() + core.stack);
    let instructions = instructions(model, core)?;
    Ok(Fit {
        name: name.into(),
        fits: flash <= chip.flash << 10 && ram <= chip.ram << 10,
        chip,
        flash,
        ram,
        instructions: instructions as u64,
        cycles: core.cycles.map(|factor| (factor * instructions) as u64),
    })
}

/// Instructions of one embedding of all dimensions.
fn instructions(model: &Model, core: &Core) -> Result<f64> {
    let description = inference::description(model)?;
    let mut shape = model.input();
    let mut sum = 0.0;
    for (number, layer) in description.layers.iter().enumerate() {
        let input = shape;
        let under = |window: &Window, channels| input.under(window, channels).unwrap_or(input);
        let area = |window: &Window| window.kernel.iter().map(|side| f64::from(*side)).product::<f64>();
        match &layer.operation {
            Operation::Dense(dense) => {
                shape = Shape::vector(dense.outputs.into()).unwrap_or(input);
                // Of indices, only those that are set are read: about a hundredth.
                let inputs = if number == 0 && model.raw() == Raw::Indices { input.len() / 100 } else { input.len() };
                sum += dense_cost(core, inputs, dense.outputs.into());
            }
            Operation::Conv2d(conv) => {
                shape = under(&conv.window, conv.outputs.into());
                let patch = area(&conv.window) * input.channels as f64 * (shape.height * shape.width) as f64;
                let Conv { mac, output, patch: gathered } = core.conv;
                sum += patch * (f64::from(conv.outputs) * mac + gathered) + shape.len() as f64 * output;
            }
            Operation::DepthwiseConv2d(conv) => {
                shape = under(&conv.window, input.channels);
                sum += area(&conv.window) * shape.len() as f64 * core.depthwise.mac;
            }
            Operation::MaxPool2d(window) | Operation::AveragePool2d(window) => {
                shape = under(window, input.channels);
                sum += area(window) * shape.len() as f64 * core.pool.value;
            }
            Operation::Add(_) => sum += shape.len() as f64 * core.pool.value,
            Operation::Recall(recall) => {
                let [height, width, channels] = recall.shape.map(usize::from);
                shape = Shape::new(height, width, channels).unwrap_or(input);
            }
        }
    }
    Ok(sum + dense_cost(core, shape.len(), model.dims().into()))
}

fn dense_cost(core: &Core, inputs: usize, outputs: usize) -> f64 {
    inputs as f64 * outputs as f64 * core.dense.mac + outputs as f64 * core.dense.output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chip_has_a_core_of_the_table() {
        let Table { chip, core } = table().unwrap();
        assert!(chip.len() >= 10);
        for (name, chip) in chip {
            let core = &core[&chip.core];
            assert!(core.dense.mac > 0.5 && core.conv.mac > 0.5 && core.text > 4096, "{name}");
        }
    }
}
