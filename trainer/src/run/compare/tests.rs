use super::*;
use crate::evaluate::{Baselines, FeatureCollapse, FeatureReport, HashPoint, TruncationPoint};
use crate::quantize::Agreement;
use crate::run::metrics::{self, Assignments, BlobCost, ClusterMatch, OrderingReport};

const RECIPE: &str = "digits-neural-eigenmap";

fn entry(name: &str, settings: &[&str]) -> Entry {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let recipe = Recipe::load(RECIPE, &settings).unwrap();
    Entry { name: name.into(), folder: format!("runs/{name}-seed{}", recipe.seed).into(), recipe }
}

fn report(knn_acc: f64) -> FeatureReport {
    FeatureReport {
        dims: 32,
        knn_acc: Some(knn_acc),
        linear_acc: Some(0.7),
        cluster_acc: Some(0.6),
        nmi: Some(0.5),
        ari: Some(0.4),
        map: Some(0.35),
        truncation: [8, 32].map(|dims| TruncationPoint { dims, knn_acc: 0.5, map: 0.01 * dims as f64 }).to_vec(),
        hash: [16, 32]
            .map(|bits| HashPoint { bits, map: 0.02 * bits as f64, precision_at_500: 0.3, precision_r2: 0.2 })
            .to_vec(),
        collapse: FeatureCollapse { dims: 32, effective_rank: 3.2, dead_dims: vec![] },
    }
}

fn metrics(seed: u64, knn_acc: f64) -> Metrics {
    Metrics {
        schema: metrics::SCHEMA.into(),
        objective: "neural-eigenmap".into(),
        dataset: "digits".into(),
        dataset_sha256: "00ff".into(),
        learn: crate::data::Learn::Train,
        seed,
        backend: "flex".into(),
        epochs: 5,
        wall_s: 12.0,
        samples_per_s: 1000.0,
        waiting: 0.02,
        protocol: "way.v1: one. Two.".into(),
        float: report(knn_acc + 0.01),
        int8: report(knn_acc),
        baselines: Baselines {
            raw_input: FeatureReport { truncation: vec![], hash: vec![], dims: 64, ..report(0.9) },
            pca: report(0.8),
            itq: report(0.8).hash,
            random_subsets: vec![],
            untrained: None,
        },
        assignments: None,
        experts: None,
        agreement: Agreement { bits: Some(0.991), clusters: Some(0.98), cosine: 0.9991 },
        layers: vec![],
        ordering: OrderingReport { eigenvalues: vec![], exact: None, dropped: 0, constant: None },
        blob: BlobCost { bytes: 27_955, macs: 123_456, arena_bytes: 2560 },
        warnings: vec![],
    }
}

fn compared(runs: &[(Entry, Metrics)]) -> Comparison {
    let measured: Vec<Measured> =
        runs.iter().map(|(entry, metrics)| Measured { entry, metrics: metrics.clone() }).collect();
    Comparison::new(&measured)
}

fn names(table: &Table) -> Vec<&str> {
    table.rows.iter().map(|row| row.name.as_str()).collect()
}

const BASELINES: [&str; 3] = ["PCA, 32 dimensions", "PCA and ITQ", "raw input, 64 dimensions"];

#[test]
fn the_deviation_is_the_samples() {
    let figure = Figure::over([2.0, 4.0, 9.0]);
    // (9 + 1 + 16) / 2
    assert_eq!((figure.mean, figure.deviation), (Some(5.0), Some(13f64.sqrt())));
    assert_eq!(Figure::over([2.0]), Figure { values: vec![Some(2.0)], mean: Some(2.0), deviation: None });
}

#[test]
fn a_seed_without_a_value_leaves_no_mean() {
    let figure = Figure::over([Some(2.0), None]);
    assert_eq!(figure, Figure { values: vec![Some(2.0), None], mean: None, deviation: None });
    assert_eq!(Figure::over([None::<f64>; 0]), Figure::default());
}

#[test]
fn runs_of_one_recipe_are_one_row_whatever_their_seeds_names_and_order() {
    let comparison = compared(&[
        (entry("b", &["seed=3"]), metrics(3, 0.9)),
        (entry("other", &["train.epochs=7"]), metrics(1, 0.7)),
        (entry("c", &["seed=2"]), metrics(2, 0.8)),
    ]);
    let [table] = &comparison.tables[..] else { panic!("{comparison:?}") };
    assert_eq!(names(table), [&["c", "other"][..], &BASELINES].concat());
    let seeds: Vec<u64> = table.rows[0].runs.iter().map(|run| run.seed).collect();
    assert_eq!(seeds, [2, 3]);
    let knn = &table.rows[0].int8.as_ref().unwrap().knn_acc;
    assert_eq!(knn.values, [Some(0.8), Some(0.9)]);
    assert!((knn.mean.unwrap() - 0.85).abs() < 1e-12 && (knn.deviation.unwrap() - 0.005f64.sqrt()).abs() < 1e-12);
}

#[test]
fn each_data_set_has_its_table() {
    let on = |dataset: &str, sha256: &str| {
        let metrics = Metrics { dataset: dataset.into(), dataset_sha256: sha256.into(), ..metrics(1, 0.5) };
        (entry(dataset, &[]), metrics)
    };
    let comparison = compared(&[on("digits", "aa"), on("mnist", "bb"), on("digits", "cc"), on("mnist", "bb")]);
    let tables: Vec<(&str, &str, usize)> = comparison
        .tables
        .iter()
        .map(|table| (table.dataset.as_str(), table.dataset_sha256.as_str(), table.rows[0].runs.len()))
        .collect();
    assert_eq!(tables, [("digits", "aa", 1), ("mnist", "bb", 2), ("digits", "cc", 1)]);
    let text = comparison.text();
    assert!(text.contains("# digits\n\ndata sha256 aa") && text.contains("# mnist\n\ndata sha256 bb"), "{text}");
}

#[test]
fn rows_of_one_name_are_called_by_their_folders() {
    let second = Entry { folder: "elsewhere/a".into(), ..entry("a", &["train.epochs=7"]) };
    let comparison = compared(&[(entry("a", &[]), metrics(1, 0.5)), (second, metrics(1, 0.5))]);
    assert_eq!(names(&comparison.tables[0])[..2], ["runs/a-seed1", "elsewhere/a"]);
}

#[test]
fn own_clusters_are_judged_where_every_seed_has_them() {
    let judged = |acc| ClusterMatch { acc, nmi: 0.2, ari: 0.1 };
    let own =
        Assignments { by: "native".into(), clusters: 12, float: judged(0.25), int8: judged(0.3), all: judged(0.9) };
    let with = |seed| Metrics { assignments: Some(own.clone()), ..metrics(seed, 0.5) };
    let row = |second: Metrics| {
        let runs = [(entry("a", &["seed=1"]), with(1)), (entry("a", &["seed=2"]), second)];
        compared(&runs).tables.remove(0).rows.remove(0)
    };
    let acc = |row: &Row| (row.int8.as_ref().unwrap().cluster_acc.mean, row.float.cluster_acc.mean);
    let (all, some) = (row(with(2)), row(metrics(2, 0.5)));
    assert_eq!((all.clusters_by.as_deref(), acc(&all)), (Some("native, 12"), (Some(0.3), Some(0.25))));
    assert_eq!((some.clusters_by.as_deref(), acc(&some)), (Some("k-means"), (Some(0.6), Some(0.6))));
}

#[test]
fn the_pca_row_is_the_widest_with_the_sizes_of_all() {
    let mut wide = metrics(1, 0.5);
    wide.baselines.pca = FeatureReport { dims: 128, knn_acc: Some(0.85), ..report(0.0) };
    wide.baselines.pca.truncation = vec![TruncationPoint { dims: 16, knn_acc: 0.5, map: 0.5 }];
    let runs = [(entry("a", &[]), metrics(1, 0.5)), (entry("b", &["train.epochs=7"]), wide)];
    let comparison = compared(&runs);
    let pca = &comparison.tables[0].rows[2];
    assert_eq!((pca.name.as_str(), pca.float.knn_acc.mean), ("PCA, 128 dimensions", Some(0.85)));
    let sizes: Vec<usize> = pca.float.truncation.iter().map(|point| point.size).collect();
    assert_eq!(sizes, [8, 16, 32]);
}

#[test]
fn the_text_is_a_table_with_a_line_for_each_network() {
    let runs = [(entry("a|b", &["seed=1"]), metrics(1, 0.7)), (entry("a|b", &["seed=2"]), metrics(2, 0.8))];
    let text = compared(&runs).text();
    assert!(text.contains("data sha256 00ff") && text.contains("protocol way.v1 ") && text.contains("by flex"));
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    let cells = |line: usize| -> Vec<&str> {
        // What stands before the first and behind the last bar is empty.
        let cells: Vec<&str> = lines[line].split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        cells
    };
    assert_eq!(lines.len(), 2 + 2 + 3, "{text}");
    assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
    let heads = "recipe, seeds, as, kNN, linear, ACC, NMI, ARI, clusters by, mAP 16 bits, mAP 64 bits, mAP 8 dims, \
                 mAP 16 dims, mAP 32 dims, mAP all dims, flash, RAM, training";
    assert_eq!(cells(0).iter().map(|head| head.replace(',', "")).collect::<Vec<_>>().join(", "), heads);
    let int8 = "a\\|b (neural-eigenmap); 1, 2; int8; 0.750 ± 0.071; 0.700 ± 0.000; 0.600 ± 0.000; 0.500 ± 0.000; 0.400 ± 0.000; k-means; \
                0.320 ± 0.000; –; 0.080 ± 0.000; –; 0.320 ± 0.000; 0.350 ± 0.000; 27955 ± 0; 2560 ± 0; 12 ± 0";
    assert_eq!(cells(2).join("; "), int8);
    let float = "; ; float; 0.760 ± 0.071; 0.700 ± 0.000; 0.600 ± 0.000; 0.500 ± 0.000; 0.400 ± 0.000; ; \
                 0.320 ± 0.000; –; 0.080 ± 0.000; –; 0.320 ± 0.000; 0.350 ± 0.000; ; ; ";
    assert_eq!(cells(3).join("; "), float);
    assert!(
        compared(&[(entry("a-neural-eigenmap-of-my-own", &[]), metrics(1, 0.5))])
            .text()
            .contains("| a-neural-eigenmap-of-my-own |")
    );
    let seen = Metrics { learn: crate::data::Learn::All, ..metrics(1, 0.5) };
    assert!(compared(&[(entry("a", &[]), seen)]).text().contains("| a (neural-eigenmap, transductive) |"));
    let itq = "PCA and ITQ; ; float; –; –; –; –; –; ; 0.320; –; –; –; –; –; ; ; ";
    assert_eq!(cells(5).join("; "), itq);
}

#[test]
fn what_is_written_holds_every_seed_and_is_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [(entry("a", &["seed=1"]), metrics(1, 0.7)), (entry("a", &["seed=2"]), metrics(2, 0.8))];
    let out = folder.path().join("new").join("compare");
    let write = || {
        compared(&runs).write(&out).unwrap();
        ["compare.md", "compare.json", "compare.svg"].map(|name| std::fs::read_to_string(out.join(name)).unwrap())
    };
    let first = write();
    assert_eq!(write(), first);
    let [page, json, svg] = &first;
    assert!(page.starts_with(&compared(&runs).text()) && page.ends_with("(compare.svg)\n"), "{page}");
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let row = &json["tables"][0]["rows"][0];
    assert_eq!(row["int8"]["knn_acc"]["values"], serde_json::json!([0.7, 0.8]));
    assert_eq!((row["runs"][1]["seed"].as_u64(), row["runs"][1]["folder"].as_str()), (Some(2), Some("runs/a-seed2")));
    for text in ["dimensions kept", "bits kept", "PCA, 32 dimensions", "raw input, 64 dimensions"] {
        assert!(svg.contains(text), "no {text:?}");
    }
}

#[test]
fn a_row_s_name_is_escaped_in_the_drawing() {
    let svg = chart::svg(&compared(&[(entry("a<b", &[]), metrics(1, 0.5))]).tables).unwrap();
    assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
}

#[test]
fn without_labels_there_are_dashes_and_no_curves() {
    let blank = FeatureReport {
        knn_acc: None,
        linear_acc: None,
        cluster_acc: None,
        nmi: None,
        ari: None,
        map: None,
        truncation: vec![],
        hash: vec![],
        ..report(0.0)
    };
    let mut unlabelled = Metrics { float: blank.clone(), int8: blank.clone(), ..metrics(1, 0.0) };
    unlabelled.baselines =
        Baselines { raw_input: blank.clone(), pca: blank, itq: vec![], random_subsets: vec![], untrained: None };
    let comparison = compared(&[(entry("a", &[]), unlabelled)]);
    assert_eq!(comparison.tables[0].rows[0].clusters_by, None);
    assert!(comparison.text().contains("–") && !comparison.text().contains("NaN"));
    assert_eq!(chart::svg(&comparison.tables).unwrap().matches("not measured").count(), 2);
}

// --- Arguments

fn refused(arguments: &[&str], seeds: &[u64], settings: &[&str], out: &Path) -> String {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<String>>();
    entries(&owned(arguments), seeds, &owned(settings), out).unwrap_err().to_string()
}

/// A run's folder with a recipe, and metrics where there are any.
fn run_folder(folder: &Path, entry: &Entry, metrics: Option<&Metrics>) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("recipe.toml"), entry.recipe.resolved()).unwrap();
    if let Some(metrics) = metrics {
        std::fs::write(folder.join("metrics.json"), serde_json::to_string(metrics).unwrap()).unwrap();
    }
}

#[test]
fn a_recipe_gives_a_run_for_each_seed_and_a_folder_the_run_that_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let held = folder.path().join("mine-seed7");
    run_folder(&held, &entry("", &["seed=7", "train.epochs=3"]), Some(&metrics(7, 0.5)));
    let arguments = [RECIPE.to_string(), held.display().to_string()];
    let found = entries(&arguments, &[5, 4], &["train.epochs=2".into()], folder.path()).unwrap();
    let shown: Vec<(&str, u64, usize, bool)> = found
        .iter()
        .map(|entry| (entry.name.as_str(), entry.recipe.seed, entry.recipe.train.epochs, entry.is_finished()))
        .collect();
    assert_eq!(shown, [(RECIPE, 5, 2, false), (RECIPE, 4, 2, false), ("mine", 7, 3, true)]);
    assert_eq!(found[0].folder, folder.path().join(format!("{RECIPE}-seed5")));
    assert_eq!(found[2].metrics().unwrap(), metrics(7, 0.5));
    assert_eq!(entries(&arguments[..1], &[], &[], folder.path()).unwrap()[0].recipe.seed, 1);
}

#[test]
fn wrong_arguments_are_refused_before_any_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let out = folder.path().join("out");
    let unknown = refused(&["no-such"], &[], &[], &out);
    assert!(unknown.starts_with("no-such: neither a run nor a recipe: expected") && unknown.contains(RECIPE));
    let empty = refused(&[&path("")], &[], &[], &out);
    assert!(empty.contains("not a run: expected the folder of a run") && empty.contains("no recipe.toml"), "{empty}");
    assert_eq!(refused(&[RECIPE], &[1, 2, 1], &[], &out), "--seeds: a seed twice: expected each seed once, found 1");

    run_folder(Path::new(&path("begun")), &entry("", &[]), None);
    assert!(refused(&[&path("begun")], &[], &[], &out).contains("the run is not finished: expected"));
    run_folder(Path::new(&path("done")), &entry("", &[]), Some(&metrics(1, 0.5)));
    for (seeds, settings, option) in [(&[1][..], &[][..], "--seeds"), (&[], &["train.epochs=2"], "--set")] {
        let message = refused(&[&path("done")], seeds, settings, &out);
        assert!(message.starts_with(&format!("{option}: nothing to be trained: expected a recipe")), "{message}");
    }
    for twice in [[RECIPE, RECIPE], [&path("done"), &path("done")], [&path("done"), RECIPE]] {
        assert!(refused(&twice, &[], &[], &out).contains("the same run twice: expected each recipe once"));
    }
    let recipe = entry("", &["train.epochs=9"]).recipe.resolved();
    std::fs::write(path(&format!("{RECIPE}.toml")), recipe).unwrap();
    let one_name = refused(&[RECIPE, &path(&format!("{RECIPE}.toml"))], &[], &[], &out);
    assert!(one_name.contains("two runs for one folder: expected recipes of different names"), "{one_name}");

    run_folder(&out.join(format!("{RECIPE}-seed1")), &entry("", &["train.epochs=3"]), None);
    let other = refused(&[RECIPE], &[], &[], &out);
    assert!(other.contains("cannot resume") && other.contains("instead of `epochs = 3`"), "{other}");
}

#[test]
fn figures_of_another_protocol_or_version_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = Metrics { protocol: "way.v1: one. Three.".into(), ..metrics(2, 0.5) };
    let runs = [("one", metrics(1, 0.5)), ("two", other)].map(|(name, metrics)| {
        let entry = entry(name, &[&format!("seed={}", metrics.seed)]);
        let entry = Entry { folder: folder.path().join(name), ..entry };
        run_folder(&entry.folder, &entry, Some(&metrics));
        entry
    });
    for error in [check(&runs).unwrap_err(), Comparison::load(&runs).unwrap_err()] {
        let message = error.to_string();
        assert!(message.starts_with(&runs[1].folder.display().to_string()), "{message}");
        assert!(message.contains("expected `Two.`, as in ") && message.ends_with("found `Three.`"), "{message}");
    }
    let untrained = Entry { folder: folder.path().join("next"), ..entry("next", &["seed=3"]) };
    let message = check(&[runs[0].clone(), untrained]).unwrap_err().to_string();
    assert!(message.contains("expected `gallery-queries") && message.contains("found `way.v1: one`"), "{message}");
    assert!(check(&runs[..1]).is_ok());

    std::fs::write(runs[0].folder.join("metrics.json"), "{\"schema\": \"eigenlet.metrics.v0\"}").unwrap();
    let message = check(&runs[..1]).unwrap_err().to_string();
    assert!(message.contains("not this version's metrics: expected eigenlet.metrics.v1"), "{message}");
}
