//! `eigenlet export`.

use std::path::PathBuf;

use eigenlet_runtime::Model;

use super::DataArgs;
use super::progress::Bar;
use crate::error::{Error, Result};
use crate::files;
use crate::quantize::{HashHead, Heads, Quality};
use crate::recipe::{ExportSpec, whole_ids};
use crate::run::encoded;
use crate::run::folder::RunFolder;
use crate::run::metrics::Metrics;
use crate::run::{self, Options};

#[derive(clap::Args)]
pub struct Export {
    /// The folder of a finished run
    run: PathBuf,
    /// Dimensions of the embedding [default: the recipe's]
    #[arg(long, value_name = "K")]
    dims: Option<usize>,
    /// Bits of the hash code, 0 for none [default: the recipe's]
    #[arg(long, value_name = "B")]
    bits: Option<usize>,
    /// Where the blob goes
    #[arg(short, long, value_name = "FILE", default_value = "model.eigenlet")]
    output: PathBuf,
    #[command(flatten)]
    data: DataArgs,
}

impl Export {
    pub fn run(self) -> Result<()> {
        let options = Options {
            folder: &self.run,
            name: "",
            backend: self.data.backend,
            data_dir: self.data.data_dir.as_deref(),
            resume: true,
        };
        self.check()?;
        let blob = run::encode(&options, &mut Bar::new(0), |recipe, data, encoded| {
            let usual = recipe.export.heads(&recipe.objective, encoded.dims());
            let asked = ExportSpec { dims: self.dims.or(recipe.export.dims), ..recipe.export.clone() };
            let cut = asked.heads(&recipe.objective, encoded.dims());
            // Bits that are signs of single dimensions go with them.
            let most = if cut.hash == (HashHead::Functions { leading: 0 }) { cut.dims } else { usize::MAX };
            let heads = Heads { bits: self.bits.unwrap_or(usual.bits.min(most)), ..cut };
            let lowered = encoded.lower(recipe, data, heads)?;
            lowered.blob(&encoded::provenance(recipe, data), &self.quality(heads, usual))
        })?;
        files::write_bytes(&self.output, &blob)?;
        let model = Model::parse(&blob).map_err(|error| Error::Check(error.to_string()))?;
        say!(
            "{}: {} dimensions, {} bits, {} bytes of flash, arena {} bytes",
            self.output.display(),
            model.dims(),
            model.bits(),
            blob.len(),
            model.arena_bytes()
        );
        Ok(())
    }

    /// Refuses, before any work, what no model of this run can have.
    fn check(&self) -> Result<()> {
        let recipe = RunFolder::finished(&self.run)?.recipe;
        let most = recipe.network.dims;
        let dims = self.dims.unwrap_or(most);
        if !(1..=most).contains(&dims) {
            return Err(Error::input("--dims", "the model has not as many", format!("1 to {most}"), dims));
        }
        let most = match recipe.export.heads(&recipe.objective, dims).hash {
            HashHead::Native => recipe.objective.native_bits(),
            HashHead::Functions { leading: 0 } => dims,
            HashHead::Functions { .. } => u16::MAX.into(),
        };
        if let (Some(bits), HashHead::Native) = (self.bits, recipe.export.heads(&recipe.objective, dims).hash) {
            whole_ids("--bits", &recipe.objective, bits)?;
        }
        match self.bits {
            Some(bits) if bits > most => Err(Error::input("--bits", "not so many", format!("at most {most}"), bits)),
            _ => Ok(()),
        }
    }

    /// What was measured of the run, with its `usual` heads, and still holds with these: prefixes do not change when a model
    /// is cut, unless too few dimensions are left for the hash's own.
    fn quality(&self, heads: Heads, usual: Heads) -> Quality {
        let metrics = std::fs::read_to_string(self.run.join("metrics.json")).ok();
        let metrics = metrics.and_then(|text| serde_json::from_str::<Metrics>(&text).ok());
        let mut quality = metrics.map(|metrics| Quality::of(&metrics.int8)).unwrap_or_default();
        quality.truncation.retain(|point| usize::from(point.dims) <= heads.dims);
        quality.hash.retain(|point| usize::from(point.bits) <= heads.bits && heads.hash == usual.hash);
        quality
    }
}
