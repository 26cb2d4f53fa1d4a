//! `eigenlet cluster`.

use std::path::{Path, PathBuf};

use ndarray::ArrayView1;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NotAKind, StrDeserializer};
use serde_json::json;

use super::progress::Bar;
use super::{DataArgs, npy, summary};
use crate::data::npy::is_npy;
use crate::data::{DataKind, DataSource, Dataset, Learn, table};
use crate::error::{Error, Result};
use crate::run::cluster::{Clustering, suggested};
use crate::run::{self, Options, Silent};

#[derive(clap::Args)]
pub struct Cluster {
    /// Samples, one a row (.npy of floats or uint8), or the name of a known data set
    data: PathBuf,
    /// Clusters
    #[arg(long, value_name = "K")]
    k: usize,
    /// Nearest neighbours that each sample is joined with
    #[arg(long, value_name = "N", default_value_t = 10)]
    neighbours: usize,
    /// Learn from four of five samples (of a known data set, from its training split) and only assign the others
    #[arg(long)]
    held_out: bool,
    /// Classes of the samples, .npy of whole numbers: only to judge the clusters by
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The run's folder [default: runs/cluster-DATA]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Of the network, the batches and k-means
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON, nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    args: DataArgs,
}

impl Cluster {
    pub fn run(self) -> Result<()> {
        let data_dir = self.args.data_dir.as_deref();
        let source = self.source()?;
        let is_table = source.kind == DataKind::Npy;
        let data = Dataset::load(&source, data_dir)?;
        let clustering = Clustering { data: source, clusters: self.k, neighbours: self.neighbours, seed: self.seed };
        let affinities = clustering.affinities(&data)?;
        let recipe = clustering.recipe(&affinities);
        let stem = self.data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("cluster-{}", stem.trim_end_matches(".npy"));
        let folder = self.out.unwrap_or_else(|| Path::new("runs").join(&name));
        let options = Options { folder: &folder, name: &name, backend: self.args.backend, data_dir, resume: false };
        let evaluated = match self.json {
            true => run::train(&recipe, &options, &mut Silent)?,
            false => run::train(&recipe, &options, &mut Bar::new(recipe.train.epochs))?,
        };

        let parts = [&evaluated.train.int8.clusters, &evaluated.test.int8.clusters];
        let in_order = |parts: [&[u16]; 2]| match is_table {
            true => table::in_order(parts[0], parts[1]),
            false => parts.concat(),
        };
        let clusters = in_order(parts.map(|part| &part[..]));
        npy::write(&folder.join("clusters.npy"), ArrayView1::from(&clusters))?;
        let mut sizes = vec![0; self.k];
        clusters.iter().for_each(|&cluster| sizes[usize::from(cluster)] += 1);
        let suggested = suggested(&affinities.eigenvalues);
        let labels = data.train.labels.as_ref().zip(data.test.labels.as_ref());
        let labels = labels.map(|(train, test)| in_order([train, test]));
        let found = labels.map(|labels| run::metrics::ClusterMatch::of(&clusters, &labels));
        if self.json {
            let mut object = json!({
                "samples": clusters.len(),
                "seed": self.seed,
                "parts": affinities.parts,
                "eigenvalues": affinities.eigenvalues,
                "suggested": suggested,
                "sizes": sizes,
            });
            if let Some(found) = found {
                object["acc"] = json!(found.acc);
                object["nmi"] = json!(found.nmi);
                object["ari"] = json!(found.ari);
            }
            say!("{object:#}");
            return Ok(());
        }
        summary::print(&evaluated.metrics, &folder);
        say!();
        if affinities.parts > 1 {
            say!("the neighbours' graph falls into {} parts that nothing joins", affinities.parts);
        }
        let shown: Vec<String> = affinities.eigenvalues.iter().map(|value| format!("{value:.4}")).collect();
        say!("eigenvalues of the walk between neighbours: {}", shown.join(" "));
        if let Some(count) = suggested {
            say!("their distance to 1 grows most after {count}: that speaks for {count} clusters");
        }
        say!("samples in each cluster: {sizes:?}");
        if let Some(found) = found {
            say!("against the classes: ACC {:.3}, NMI {:.3}, ARI {:.3}, int8", found.acc, found.nmi, found.ari);
        }
        say!("{}/clusters.npy: the cluster of every sample, in order", folder.display());
        Ok(())
    }

    fn source(&self) -> Result<DataSource> {
        let learn = if self.held_out { Learn::Train } else { Learn::All };
        if is_npy(&self.data) {
            let files = (Some(self.data.clone()), self.labels.clone());
            return Ok(DataSource {
                learn,
                train_images: files.0,
                train_labels: files.1,
                ..DataSource::new(DataKind::Npy)
            });
        }
        let name = self.data.to_string_lossy();
        let deserializer: StrDeserializer<NotAKind> = (&*name).into_deserializer();
        let kind = DataKind::deserialize(deserializer).ok();
        match kind.filter(|kind| !matches!(kind, DataKind::Npy | DataKind::Idx)) {
            Some(_) if self.labels.is_some() => {
                let what = "a known data set has its own labels";
                Err(Error::input("--labels", what, "no such option", "--labels"))
            }
            Some(kind) => Ok(DataSource { learn, ..DataSource::new(kind) }),
            None => Err(Error::input(name, "no such data", "a .npy file or the name of a known data set", "neither")),
        }
    }
}
