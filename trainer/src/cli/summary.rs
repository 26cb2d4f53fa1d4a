//! What a run amounts to, on one screen.

use std::path::Path;

use crate::data::Learn;
use crate::evaluate::{FeatureReport, HashPoint};
use crate::run::metrics::{ClusterMatch, Metrics};

/// Prints the table of a run.
pub fn print(metrics: &Metrics, folder: &Path) {
    let dims: Vec<usize> = metrics.int8.truncation.iter().map(|point| point.dims).collect();
    let bits: Vec<usize> = metrics.int8.hash.iter().map(|point| point.bits).collect();
    say!();
    if metrics.int8.knn_acc.is_some() {
        table(
            "retrieval mAP by dimensions kept",
            &dims,
            &[
                ("int8, as on the chip", &|dims| map_at(&metrics.int8, dims)),
                ("float", &|dims| map_at(&metrics.float, dims)),
                ("random dimensions", &|dims| {
                    metrics.baselines.random_subsets.iter().find(|point| point.dims == dims).map(|point| point.map)
                }),
                ("untrained network", &|dims| {
                    metrics.baselines.untrained.as_ref().and_then(|report| map_at(report, dims))
                }),
                ("PCA", &|dims| map_at(&metrics.baselines.pca, dims)),
            ],
        );
        table(
            "retrieval mAP by bits kept",
            &bits,
            &[
                ("int8, as on the chip", &|bits| bits_at(&metrics.int8.hash, bits)),
                ("float", &|bits| bits_at(&metrics.float.hash, bits)),
                ("PCA and ITQ", &|bits| bits_at(&metrics.baselines.itq, bits)),
                ("PCA signs", &|bits| bits_at(&metrics.baselines.pca.hash, bits)),
            ],
        );
        say!("{:<24}{:>8}{:>8}{:>8}{:>8}{:>8}", "all dimensions", "kNN", "linear", "ACC", "NMI", "mAP");
        whole("int8, as on the chip", &metrics.int8);
        whole("float", &metrics.float);
        if let Some(untrained) = &metrics.baselines.untrained {
            whole("untrained network", untrained);
        }
        whole("PCA", &metrics.baselines.pca);
        whole("raw input", &metrics.baselines.raw_input);
        say!();
    }
    if let Some(found) = &metrics.assignments {
        let ClusterMatch { acc, nmi, ari } = found.int8;
        say!(
            "{} clusters ({}): ACC {acc:.3}, NMI {nmi:.3}, ARI {ari:.3} on the test split; ACC {:.3} on both",
            found.clusters,
            found.by,
            found.all.acc
        );
    }
    let agreement = &metrics.agreement;
    let share = |share: Option<f64>, what: &str| share.map(|share| format!("{:.1} % of {what}", 100.0 * share));
    let shares = [share(agreement.bits, "bits equal"), share(agreement.clusters, "clusters")];
    let cosine = format!("cosine {:.4}", agreement.cosine);
    let parts: Vec<String> = shares.into_iter().flatten().chain([cosine]).collect();
    say!("int8 against float: {}", parts.join(", "));
    if let Some(experts) = &metrics.experts {
        let exact = experts.exact.map_or(String::new(), |exact| {
            format!(", whose ACC is {:.3}, NMI {:.3}, ARI {:.3}", exact.acc, exact.nmi, exact.ari)
        });
        say!(
            "experts of {} dimensions: the {} gate is {:.1} % the objective's own clusters{exact}",
            experts.dims,
            experts.gate,
            100.0 * experts.agreement
        );
        say!("loss of the test split, each sample under its own expert: {:.5}", experts.loss);
        if let Some(found) = &experts.outliers {
            let blob = found.blob.map_or("-".into(), |area| format!("{area:.3}"));
            say!(
                "outliers of {:?}: AUROC {:.3}, of the blob {blob}; nearest neighbour {:.3}",
                found.classes,
                found.own,
                found.nearest
            );
        }
    }
    let cost = &metrics.blob;
    say!(
        "on the chip: {} bytes of flash, {} bytes of RAM (const ARENA), {} multiply-accumulates",
        cost.bytes,
        cost.arena_bytes,
        cost.macs
    );
    say!(
        "training: {} epochs in {:.0} s, {:.0} samples a second, {:.1} % of it waiting for views",
        metrics.epochs,
        metrics.wall_s,
        metrics.samples_per_s,
        100.0 * metrics.waiting
    );
    if metrics.ordering.dropped > 0 {
        let (dropped, kept) = (metrics.ordering.dropped, metrics.ordering.eigenvalues.len());
        say!("ordering: {dropped} directions that the outputs do not span are left out, {kept} dimensions are kept");
    }
    if metrics.learn == Learn::All {
        say!("the test split was learned from too: its figures are transductive");
    }
    for warning in &metrics.warnings {
        say!("warning: {warning}");
    }
    say!("{0}/model.eigenlet  {0}/metrics.json  {0}/report.html", folder.display());
}

fn map_at(report: &FeatureReport, dims: usize) -> Option<f64> {
    report.truncation.iter().find(|point| point.dims == dims).map(|point| point.map)
}

fn bits_at(points: &[HashPoint], bits: usize) -> Option<f64> {
    points.iter().find(|point| point.bits == bits).map(|point| point.map)
}

/// A row's name, and its figure for a column.
type Row<'a> = (&'a str, &'a dyn Fn(usize) -> Option<f64>);

fn table(title: &str, columns: &[usize], rows: &[Row]) {
    let heads: String = columns.iter().map(|column| format!("{column:>8}")).collect();
    say!("{title:<34}{heads}");
    for (name, value) in rows {
        let cells: String = columns.iter().map(|&column| cell(value(column))).collect();
        say!("  {name:<32}{cells}");
    }
    say!();
}

fn whole(name: &str, report: &FeatureReport) {
    let cells: String =
        [report.knn_acc, report.linear_acc, report.cluster_acc, report.nmi, report.map].into_iter().map(cell).collect();
    say!("  {name:<22}{cells}");
}

fn cell(value: Option<f64>) -> String {
    value.map_or(format!("{:>8}", "-"), |value| format!("{value:>8.3}"))
}
