//! The command line, end to end: the real program, on small and on foreign data, with good and with bad input.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use eigenlet_runtime::{Dims, Model, Sample};
use eigenlet_shared::writer::AlignedBytes;
use eigenlet_tests::cli::{command, copy_folder, done, ended, files_in, idx, npy, npy_file, refused};
use eigenlet_tests::random_model::{Random, forged};
use eigenlet_trainer::data::digits;
use ndarray::{Array, Array2, ArrayD};
use serde_json::Value;
use tempfile::TempDir;

const RECIPE: &str = "digits-neural-eigenmap";
const DIMS: usize = 16;
const EPOCHS: usize = 3;

/// The shipped recipe made small enough for a test: its network, views and data cut down.
const SMALL: [&str; 22] = [
    "--set",
    "network.layers=[{kind='conv2d',channels=8,stride=2},{kind='depthwise-conv2d'}]",
    "--set",
    "network.projector=24",
    "--set",
    "network.dims=16",
    "--set",
    "train.epochs=3",
    "--set",
    "train.warmup=1",
    "--set",
    "train.batch=100",
    "--set",
    "data.limit_train=600",
    "--set",
    "data.limit_test=150",
    "--set",
    "order.passes=1",
    "--set",
    "evaluate.dims=[4,8,16]",
    "--set",
    "evaluate.bits=[8,16]",
];

/// The small recipe, more epochs than one can miss, and less to measure behind them.
const LONG: [&str; 8] = [
    "--set",
    "train.epochs=24",
    "--set",
    "data.limit_train=1200",
    "--set",
    "data.limit_test=50",
    "--set",
    "evaluate.dims=[8]",
];
const LONG_EPOCHS: usize = 24;

fn text(path: &Path) -> &str {
    path.to_str().expect("tests lie in folders with plain names")
}

/// Arguments that train the small recipe into `out`, with what a test adds.
fn train<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", RECIPE][..], &SMALL, more, &["--out", text(out)]].concat()
}

/// A finished run of the small recipe, which no test changes.
fn finished() -> &'static Path {
    static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-finished-run");
        let _ = fs::remove_dir_all(&folder);
        done(&train(&folder, &[]));
        folder
    });
    &RUN
}

/// A folder of the test's own with a copy of the finished run in `run`.
fn copy_of_finished() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("run");
    copy_folder(finished(), &run);
    (folder, run)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn model_bytes(run: &Path) -> Vec<u8> {
    fs::read(run.join("model.eigenlet")).unwrap()
}

/// Lines of `metrics.jsonl`, without the times, which no two runs share.
fn epochs(run: &Path) -> Vec<Value> {
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let parse = |line: &str| -> Value {
        let mut epoch: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for time in ["wall_s", "waiting"] {
            epoch.as_object_mut().unwrap().remove(time).unwrap_or_else(|| panic!("{time} in {line}"));
        }
        epoch
    };
    log.lines().map(parse).collect()
}

fn assert_epochs_are_counted_once(run: &Path, expected: usize) {
    let numbers: Vec<u64> = epochs(run).iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=expected as u64).collect::<Vec<_>>());
}

/// Test images of the digits and their number.
fn samples() -> (Vec<u8>, usize) {
    let (_, test) = digits::splits().unwrap();
    (test.samples.raw.clone(), test.samples.len())
}

// --- A run and what is made of it

#[test]
fn a_run_folder_holds_what_the_contract_says() {
    let run = finished();
    let mut names: Vec<String> =
        fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = ["checkpoint", "metrics.json", "metrics.jsonl", "model.eigenlet", "recipe.toml", "report.html"];
    assert_eq!(names, expected);
    assert_epochs_are_counted_once(run, EPOCHS);
    assert!(fs::read_dir(run.join("checkpoint")).unwrap().count() > 0);
    let recipe = fs::read_to_string(run.join("recipe.toml")).unwrap();
    assert!(recipe.contains("epochs = 3") && recipe.contains("dims = 16"), "{recipe}");
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("</html>") && report.contains("<svg"), "{} bytes", report.len());
}

#[test]
fn metrics_json_has_the_keys_of_the_contract() {
    let metrics = json(&finished().join("metrics.json"));
    for key in ["schema", "objective", "dataset", "backend", "protocol"] {
        assert!(metrics[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {}", metrics[key]);
    }
    assert_eq!((&metrics["objective"], &metrics["dataset"]), (&"neural-eigenmap".into(), &"digits".into()));
    assert_eq!((metrics["seed"].as_u64(), metrics["epochs"].as_u64()), (Some(1), Some(EPOCHS as u64)));
    for key in ["wall_s", "samples_per_s"] {
        assert!(metrics[key].as_f64().unwrap() > 0.0, "{key}");
    }
    for key in ["bytes", "macs", "arena_bytes"] {
        assert!(metrics["blob"][key].as_u64().unwrap() > 0, "blob.{key}");
    }
    assert_eq!(metrics["blob"]["bytes"].as_u64(), Some(model_bytes(finished()).len() as u64));
    let fraction = |value: &Value, key: &str| {
        assert!(value[key].as_f64().is_some_and(|number| (0.0..=1.0).contains(&number)), "{key}: {}", value[key]);
    };
    for key in ["bits", "clusters", "cosine"] {
        fraction(&metrics["agreement"], key);
    }
    for side in ["float", "int8"] {
        let side = &metrics[side];
        for key in ["knn_acc", "linear_acc", "cluster_acc", "nmi", "map"] {
            fraction(side, key);
        }
        assert!(side["ari"].as_f64().is_some_and(|ari| (-1.0..=1.0).contains(&ari)));
        let points = |list: &str, size: &str| -> Vec<u64> {
            side[list].as_array().unwrap().iter().map(|point| point[size].as_u64().unwrap()).collect()
        };
        assert_eq!(points("truncation", "dims"), [4, 8, 16]);
        assert_eq!(points("hash", "bits"), [8, 16]);
        for point in side["truncation"].as_array().unwrap() {
            fraction(point, "knn_acc");
            fraction(point, "map");
        }
        for point in side["hash"].as_array().unwrap() {
            fraction(point, "map");
            fraction(point, "precision_at_500");
            fraction(point, "precision_r2");
        }
    }
}

#[test]
fn verify_says_ok_on_one_line() {
    let said = done(&["verify", text(&finished().join("model.eigenlet"))]);
    assert!(said.starts_with("verify ok: 16 golden vectors"), "{said}");
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn inspect_json_is_the_model_in_one_object() {
    let model = finished().join("model.eigenlet");
    let object: Value = serde_json::from_str(&done(&["inspect", "--json", text(&model)])).unwrap();
    let metrics = json(&finished().join("metrics.json"));
    assert_eq!(object["blob"], metrics["blob"]);
    assert_eq!(object["dims"].as_u64(), Some(DIMS as u64));
    assert_eq!(object["input"], serde_json::json!([8, 8, 1]));
    assert!(done(&["inspect", text(&model)]).contains(&format!("{} bytes", metrics["blob"]["bytes"])));
}

#[test]
fn inspect_says_whether_a_model_fits_a_chip() {
    let model = finished().join("model.eigenlet");
    let object: Value =
        serde_json::from_str(&done(&["inspect", text(&model), "--json", "--chip", "nrf52840"])).unwrap();
    let chip = &object["chip"];
    assert_eq!((&chip["fits"], &chip["chip"]["core"]), (&Value::from(true), &Value::from("cortex-m4")));
    assert!(chip["flash"].as_u64() > object["blob"]["bytes"].as_u64());
    assert!(chip["ram"].as_u64() > object["blob"]["arena_bytes"].as_u64());
    // Packed lanes take less than one instruction for a multiply-accumulate where rows are long; here they are short, and each layer
    // takes some to be found.
    let macs = object["blob"]["macs"].as_u64().unwrap();
    assert!((macs / 2..macs * 6 + 20_000).contains(&chip["instructions"].as_u64().unwrap()), "{chip}");
    assert!(done(&["inspect", text(&model), "--chip", "nrf52840"]).contains("nrf52840 (cortex-m4): fits"));
    refused(&["inspect", text(&model), "--chip", "z80"], &["--chip", "nrf52840", "z80"]);
}

#[test]
fn eval_json_prints_the_metrics_that_training_wrote_and_nothing_else() {
    let (_folder, run) = copy_of_finished();
    let without_times = |mut metrics: Value| {
        for time in ["wall_s", "samples_per_s", "waiting"] {
            metrics.as_object_mut().unwrap().remove(time).unwrap();
        }
        metrics
    };
    let printed: Value = serde_json::from_str(&done(&["eval", text(&run), "--json"])).unwrap();
    assert_eq!(without_times(printed.clone()), without_times(json(&finished().join("metrics.json"))));
    assert_eq!(printed, json(&run.join("metrics.json")));
    assert_eq!(model_bytes(&run), model_bytes(finished()));
}

#[test]
fn export_gives_the_runs_own_model_or_a_smaller_one_that_begins_the_same() {
    let folder = TempDir::new().unwrap();
    let [same, small] = ["same.eigenlet", "small.eigenlet"].map(|name| folder.path().join(name));
    done(&["export", text(finished()), "-o", text(&same)]);
    let whole = finished().join("model.eigenlet");
    assert_eq!(fs::read(&same).unwrap(), fs::read(&whole).unwrap());

    let (raw, count) = samples();
    let input = folder.path().join("samples.npy");
    npy_file(&input, &Array::from_shape_vec((count, 64), raw).unwrap());
    let outputs = |model: &Path, what: &str| -> PathBuf {
        let output = folder.path().join("output.npy");
        done(&[what, text(model), text(&input), "-o", text(&output)]);
        output
    };
    let (embeddings, codes): (ArrayD<i8>, ArrayD<u8>) = (npy(&outputs(&whole, "embed")), npy(&outputs(&whole, "hash")));
    for dims in [12, 8] {
        done(&["export", text(finished()), "--dims", &dims.to_string(), "--bits", "8", "-o", text(&small)]);
        assert!(fs::metadata(&small).unwrap().len() < fs::metadata(&whole).unwrap().len());
        done(&["verify", text(&small)]);
        let found: ArrayD<i8> = npy(&outputs(&small, "embed"));
        assert!(found == embeddings.slice(ndarray::s![.., ..dims]).into_dyn(), "{dims} dimensions");
        let found: ArrayD<u8> = npy(&outputs(&small, "hash"));
        assert_eq!(found.shape(), [count, 1]);
        // Bits are made of the first 10 dimensions: only where these are left are they the same bits.
        assert!(dims < 10 || found == codes.slice(ndarray::s![.., ..1]).into_dyn(), "{dims} dimensions");
    }
}

#[test]
fn embed_hash_and_assign_give_what_the_runtime_gives_for_npy_and_idx() {
    let path = finished().join("model.eigenlet");
    let blob = AlignedBytes::from(&fs::read(&path).unwrap()[..]);
    let model = Model::parse(&blob).unwrap();
    let (raw, count) = samples();
    let mut arena = vec![0; model.arena_bytes()];
    let (mut embeddings, mut codes, mut clusters) = (Vec::<i8>::new(), Vec::<u8>::new(), Vec::<i32>::new());
    for sample in raw.chunks(64) {
        let mut features = model.run(&mut arena, sample).unwrap();
        embeddings.extend(features.embed(Dims::new(DIMS as u16)).unwrap());
        let mut code = [0; 2];
        features.hash_into(16, &mut code).unwrap();
        codes.extend(code);
        clusters.push(i32::from(features.assign().unwrap().id));
    }

    let folder = TempDir::new().unwrap();
    let inputs = ["flat.npy", "image.npy", "image.idx", "image.idx.gz"].map(|name| folder.path().join(name));
    npy_file(&inputs[0], &Array::from_shape_vec((count, 64), raw.clone()).unwrap());
    npy_file(&inputs[1], &Array::from_shape_vec((count, 8, 8), raw.clone()).unwrap());
    fs::write(&inputs[2], idx(&[count, 8, 8], &raw)).unwrap();
    fs::write(&inputs[3], gzip(&idx(&[count, 8, 8], &raw))).unwrap();
    for input in &inputs {
        let output = folder.path().join("output.npy");
        let run = |what: &str| done(&[what, text(&path), text(input), "-o", text(&output)]);
        run("embed");
        assert_eq!(npy::<i8>(&output), ArrayD::from_shape_vec(vec![count, DIMS], embeddings.clone()).unwrap());
        run("hash");
        assert_eq!(npy::<u8>(&output), ArrayD::from_shape_vec(vec![count, 2], codes.clone()).unwrap());
        run("assign");
        assert_eq!(npy::<i32>(&output), ArrayD::from_shape_vec(vec![count], clusters.clone()).unwrap());
    }
}

#[test]
fn experts_say_what_the_runtime_says() {
    let folder = TempDir::new().unwrap();
    let (run, output) = (folder.path().join("run"), folder.path().join("output.npy"));
    done(&["train", "digits-cluster-specific-ae", "--set", "train.epochs=1", "--out", text(&run)]);
    let (model, input) = (run.join("model.eigenlet"), folder.path().join("samples.npy"));
    let (raw, count) = samples();
    npy_file(&input, &Array::from_shape_vec((count, 64), raw.clone()).unwrap());
    let files = [text(&model), text(&input), "-o", text(&output)];
    for dims in [4, 2] {
        done(&[&["embed", "--expert", "--dims", &dims.to_string()], &files[..]].concat());
        let found: ArrayD<i8> = npy(&output);
        assert_eq!(found.shape(), [count, dims]);
        let blob = AlignedBytes::from(&fs::read(&model).unwrap()[..]);
        let parsed = Model::parse(&blob).unwrap();
        let mut arena = vec![0; parsed.arena_bytes()];
        for (sample, row) in raw.chunks(64).zip(found.rows()) {
            let expert = parsed.run(&mut arena, sample).unwrap().into_expert(Dims::new(dims as u16)).unwrap();
            assert_eq!(expert.embedding, row.to_vec());
        }
    }
    refused(&[&["embed", "--expert", "--dims", "5"], &files[..]].concat(), &["--expert", "1 to 4", "found 5"]);
    let plain = finished().join("model.eigenlet");
    let command = ["embed", "--expert", text(&plain), text(&input), "-o", text(&output)];
    refused(&command, &["--expert", "no such head"]);
}

#[test]
fn fewer_dimensions_and_bits_are_the_beginning_of_all() {
    let model = finished().join("model.eigenlet");
    let folder = TempDir::new().unwrap();
    let [input, output] = ["samples.npy", "output.npy"].map(|name| folder.path().join(name));
    let (raw, count) = samples();
    npy_file(&input, &Array::from_shape_vec((count, 64), raw).unwrap());
    let run = |what: &[&str]| done(&[what, &[text(&model), text(&input), "-o", text(&output)]].concat());
    run(&["embed"]);
    let embeddings: ArrayD<i8> = npy(&output);
    run(&["hash"]);
    let codes: ArrayD<u8> = npy(&output);
    for size in [1, 5, 8, 11, 16] {
        let number = size.to_string();
        run(&["embed", "--dims", &number]);
        assert_eq!(npy::<i8>(&output), embeddings.slice(ndarray::s![.., ..size]).into_dyn());
        run(&["hash", "--bits", &number]);
        let expected = Array2::from_shape_fn((count, usize::div_ceil(size, 8)), |(row, byte)| {
            let kept = (size - 8 * byte).min(8);
            codes[[row, byte]] & (0xff >> (8 - kept)) as u8
        });
        assert_eq!(npy::<u8>(&output), expected.into_dyn());
    }
}

#[test]
fn search_equals_a_naive_search() {
    let folder = TempDir::new().unwrap();
    let [gallery, query, output] = ["gallery.npy", "query.npy", "hits.npy"].map(|name| folder.path().join(name));
    let mut random = Random::new(5);
    for (codes, queries, width, k) in [(57, 9, 3, 10), (40, 5, 1, 40), (1, 1, 8, 1), (200, 20, 2, 7)] {
        let mut list = |count: usize| Array2::from_shape_vec((count, width), random.bytes(count * width)).unwrap();
        let (stored, asked) = (list(codes), list(queries));
        npy_file(&gallery, &stored);
        npy_file(&query, &asked);
        let number = k.to_string();
        done(&["search", "--gallery", text(&gallery), "--query", text(&query), "-k", &number, "-o", text(&output)]);
        let mut expected = Vec::new();
        for code in asked.rows() {
            let distance =
                |id: usize| -> i32 { stored.row(id).iter().zip(code).map(|(a, b)| (a ^ b).count_ones() as i32).sum() };
            let mut all: Vec<(i32, i32)> = (0..codes).map(|id| (distance(id), id as i32)).collect();
            all.sort_unstable();
            expected.extend(all[..k].iter().flat_map(|(distance, id)| [*id, *distance]));
        }
        assert_eq!(npy::<i32>(&output), ArrayD::from_shape_vec(vec![queries, k, 2], expected).unwrap());
    }
}

#[test]
fn compare_trains_each_seed_once_and_then_says_the_same_again() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("compare");
    let call = |arguments: &[&'static str]| {
        [&["compare"][..], arguments, &SMALL, &["--set", "train.epochs=2", "--out", text(&out)]].concat()
    };
    let arguments = [&call(&[RECIPE])[..], &["--seeds", "1,2", text(finished())]].concat();
    let said = done(&arguments);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with('|')).collect();
    // Heads and rule; int8 and float of two recipes; PCA, its rotation, the input.
    assert_eq!(lines.len(), 2 + 2 * 2 + 3, "{said}");
    assert!(lines[2].contains(RECIPE) && lines[2].contains(" 1, 2 ") && lines[2].contains(" ± "), "{said}");
    assert!(lines[4].contains("cli-finished-run") && !lines[4].contains(" ± "), "{said}");
    let metrics = json(&finished().join("metrics.json"));
    for fact in ["gallery-queries.v1", metrics["dataset_sha256"].as_str().unwrap()] {
        assert!(said.contains(fact), "no {fact} in {said}");
    }

    let row = &json(&out.join("compare.json"))["tables"][0]["rows"][0];
    for (place, seed) in [1, 2].into_iter().enumerate() {
        let run = out.join(format!("{RECIPE}-seed{seed}"));
        assert_epochs_are_counted_once(&run, 2);
        assert_eq!(
            (row["runs"][place]["seed"].as_u64(), row["runs"][place]["folder"].as_str()),
            (Some(seed), run.to_str())
        );
        let measured = json(&run.join("metrics.json"))["int8"]["knn_acc"].as_f64().unwrap();
        assert!((row["int8"]["knn_acc"]["values"][place].as_f64().unwrap() - measured).abs() < 1e-12);
    }
    assert!(fs::read_to_string(out.join("compare.svg")).unwrap().starts_with("<svg"));
    assert!(
        said.starts_with(fs::read_to_string(out.join("compare.md")).unwrap().split("![").next().unwrap().trim_end())
    );

    // A run that were trained again would have other times in its log.
    let before = files_in(&out);
    assert_eq!(done(&arguments), said);
    assert!(files_in(&out) == before, "the second call changed a file in {}", out.display());

    refused(&[&call(&[RECIPE])[..], &["--seeds", "1,1"]].concat(), &["--seeds", "expected each seed once, found 1"]);
    refused(&[&call(&[RECIPE])[..], &["--seeds", ""]].concat(), &["--seeds"]);
    refused(&call(&["no-such-recipe"]), &["no-such-recipe", "neither a run nor a recipe", RECIPE]);
    refused(&[&call(&[RECIPE])[..], &["--set", "train.batch=50"]].concat(), &["cannot resume", "batch = 50"]);
    refused(&["compare", text(folder.path()), "--out", text(&out)], &["not a run", "no recipe.toml"]);
    assert!(files_in(&out) == before);
}

// --- Whole graphs

/// Arguments of a training short enough for a test, with what a test adds.
fn graphs<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let short = ["train.epochs=2", "train.batch=8", "network.units=4", "evaluate.folds=2"];
    let short = short.into_iter().flat_map(|setting| ["--set", setting]);
    ["graphs", data].into_iter().chain(short).chain(more.iter().copied()).collect()
}

#[test]
fn graphs_prints_a_row_for_each_baseline_and_each_beta() {
    let generated = ["--graphs", "4", "--nodes", "16,20", "--seeds", "1,2", "--beta", "0,1"];
    let said = done(&graphs("families", &generated));
    for row in ["degree histogram", "sum of node features", "untrained", "beta = 0", "beta = 1"] {
        assert!(said.lines().any(|line| line.starts_with(row) && line.contains(" ± ")), "no {row} in {said}");
    }
    let in_json = graphs("families", &[&generated[..], &["--json"]].concat());
    let found: Value = serde_json::from_str(&done(&in_json)).expect("JSON and nothing else");
    assert_eq!((found["graphs"].as_u64(), found["classes"].as_u64()), (Some(16), Some(4)));
    let rows = found["rows"].as_array().unwrap();
    assert_eq!((rows.len(), rows[3]["beta"].as_f64(), rows[4]["beta"].as_f64()), (5, Some(0.0), Some(1.0)));
    assert!(rows.iter().all(|row| (0.0..=1.0).contains(&row["accuracy"]["mean"].as_f64().unwrap())));
    assert_eq!(done(&in_json), done(&in_json));
}

#[test]
fn graphs_reads_a_collection_with_classes_and_without() {
    let folder = TempDir::new().unwrap();
    // Triangles and paths of three, by turns.
    let edges: String = (0..8)
        .map(|graph| {
            let [a, b, c] = [1, 2, 3].map(|node| 3 * graph + node);
            if graph % 2 == 0 { format!("{a}, {b}\n{b}, {c}\n{a}, {c}\n") } else { format!("{a}, {b}\n{b}, {c}\n") }
        })
        .collect();
    let write =
        |part: &str, content: String| fs::write(folder.path().join(format!("SET_{part}.txt")), content).unwrap();
    write("A", edges);
    write("graph_indicator", (1..=8).map(|graph| format!("{graph}\n{graph}\n{graph}\n")).collect());
    let out = folder.path().join("z.npy");
    let said = done(&graphs(text(folder.path()), &["-o", text(&out)]));
    assert!(said.starts_with("8 graphs of 24 nodes") && said.contains("degree histogram"), "{said}");
    let representations: ArrayD<f32> = npy(&out);
    assert_eq!(representations.shape(), [8, 12]);
    let row = |graph: usize| representations.index_axis(ndarray::Axis(0), graph).to_owned();
    assert!((row(0) - row(2)).iter().all(|difference| difference.abs() < 1e-4), "alike graphs, alike rows");
    assert!((row(0) - row(1)).iter().any(|difference| difference.abs() > 1e-2));

    write("graph_labels", (0..8).map(|graph| format!("{}\n", graph % 2)).collect());
    let said = done(&graphs(text(folder.path()), &[]));
    assert!(said.lines().any(|line| line.starts_with("degree histogram") && line.contains("1.000")), "{said}");
}

#[test]
fn graphs_refuses_what_cannot_be_trained_by_name() {
    let folder = TempDir::new().unwrap();
    refused(&graphs(text(folder.path()), &[]), &["not one collection of graphs", "_graph_indicator.txt", "found none"]);
    refused(&graphs(text(&folder.path().join("nowhere")), &[]), &["nowhere", "cannot read"]);
    refused(&graphs(text(folder.path()), &["--graphs", "3"]), &["--graphs", "expected families"]);
    refused(&graphs("families", &["--nodes", "16"]), &["--nodes", "not two numbers"]);
    refused(&graphs("families", &["--nodes", "9,16"]), &["graph families", "at least 16", "[9, 16]"]);
    refused(&graphs("families", &["--beta", "1,-1"]), &["objective.beta", "0 or a positive number", "-1"]);
    refused(&graphs("families", &["--set", "objective.beta=-1"]), &["objective.beta", "0 or a positive number", "-1"]);
    refused(&graphs("families", &["--set", "objective.gamma=1"]), &["objective.gamma"]);
    refused(&graphs("families", &["--beta", "0,1", "-o", "z.npy"]), &["--output", "one of --beta", "2 and 1"]);
    refused(&graphs("families", &["--graphs", "0"]), &["train.batch", "at least 2 samples"]);
}

// --- Data that the recipe has never seen

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Images of 12x10 in four classes, a bright spot in one quarter or another, as IDX files in a folder: the paths of train
/// images, train labels, test images and test labels. The training images are gzipped.
fn foreign_files(folder: &Path) -> [PathBuf; 4] {
    let mut random = Random::new(11);
    let paths = ["train.gz", "train-labels", "test", "test-labels.gz"].map(|name| folder.join(name));
    for (count, [images, labels]) in [(300, [&paths[0], &paths[1]]), (80, [&paths[2], &paths[3]])] {
        let (mut raw, mut classes) = (Vec::new(), Vec::new());
        for number in 0..count {
            let class = number % 4;
            let (top, left) = (class / 2 * 6 + random.bits() as usize % 3, class % 2 * 5 + random.bits() as usize % 2);
            let noise = random.bytes(120);
            raw.extend(noise.iter().enumerate().map(|(pixel, noise)| {
                let inside = (top..top + 4).contains(&(pixel / 10)) && (left..left + 4).contains(&(pixel % 10));
                noise / 8 + if inside { 180 } else { 0 }
            }));
            classes.push(class as u8);
        }
        for (path, bytes) in [(images, idx(&[count, 12, 10], &raw)), (labels, idx(&[count], &classes))] {
            let zipped = path.extension().is_some();
            fs::write(path, if zipped { gzip(&bytes) } else { bytes }).unwrap();
        }
    }
    paths
}

/// `--set` arguments that name files as the data.
fn data_settings(files: &[(&str, &Path)]) -> Vec<String> {
    let named = files.iter().map(|(key, path)| format!("data.{key}={}", path.display()));
    std::iter::once("data.kind=idx".to_string())
        .chain(named)
        .flat_map(|setting| ["--set".to_string(), setting])
        .collect()
}

fn as_text(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// The shipped recipe with its own network, and nothing changed but how long it takes.
const SHORT: [&str; 8] =
    ["--set", "train.epochs=2", "--set", "train.warmup=0", "--set", "order.passes=1", "--set", "evaluate.dims=[8,32]"];

#[test]
fn the_digits_recipe_runs_on_images_of_another_size_with_labels() {
    let folder = TempDir::new().unwrap();
    let [train, train_labels, test, test_labels] = &foreign_files(folder.path());
    let settings = data_settings(&[
        ("train_images", train),
        ("train_labels", train_labels),
        ("test_images", test),
        ("test_labels", test_labels),
    ]);
    let run = folder.path().join("run");
    done(&[&["train", RECIPE][..], &SHORT, &as_text(&settings), &["--out", text(&run)]].concat());
    let metrics = json(&run.join("metrics.json"));
    assert!(metrics["int8"]["knn_acc"].as_f64().unwrap() > 0.5, "{}", metrics["int8"]["knn_acc"]);
    let model = run.join("model.eigenlet");
    done(&["verify", text(&model)]);
    let output = folder.path().join("output.npy");
    done(&["embed", text(&model), text(train), "-o", text(&output)]);
    assert_eq!(npy::<i8>(&output).shape(), [300, 32]);
}

#[test]
fn the_digits_recipe_runs_on_images_of_another_size_without_labels() {
    let folder = TempDir::new().unwrap();
    let [train, train_labels, test, test_labels] = &foreign_files(folder.path());
    let images = [("train_images", train.as_path()), ("test_images", test.as_path())];
    let runs =
        [("none", None), ("train", Some(("train_labels", train_labels))), ("test", Some(("test_labels", test_labels)))];
    let mut models = Vec::new();
    for (name, labels) in runs {
        let labels = labels.map(|(key, path)| (key, path.as_path()));
        let settings = data_settings(&images.into_iter().chain(labels).collect::<Vec<_>>());
        let run = folder.path().join(format!("run-{name}"));
        done(&[&["train", RECIPE][..], &SHORT, &as_text(&settings), &["--out", text(&run)]].concat());
        let metrics = json(&run.join("metrics.json"));
        for side in ["float", "int8"] {
            assert!(metrics[side]["knn_acc"].is_null() && metrics[side]["map"].is_null(), "{name}: {metrics}");
        }
        assert!(metrics["agreement"]["cosine"].as_f64().unwrap() > 0.9);
        assert!(metrics["int8"]["collapse"]["effective_rank"].as_f64().unwrap() > 1.0);
        done(&["verify", text(&run.join("model.eigenlet"))]);
        let small = folder.path().join("small.eigenlet");
        done(&["export", text(&run), "--dims", "4", "-o", text(&small)]);
        done(&["verify", text(&small)]);
        models.push(model_bytes(&run));
    }
    done(&["eval", text(&folder.path().join("run-none"))]);
    // Only the card may know of labels, by the data's digest.
    let embeddings = |model: &[u8]| -> Vec<Vec<i8>> {
        let model = AlignedBytes::from(model);
        let model = Model::parse(&model).unwrap();
        model.golden().map(|golden| golden.embedding.unwrap().to_vec()).collect()
    };
    assert_eq!(embeddings(&models[0]), embeddings(&models[1]), "labels reached the training");
}

// --- Interrupted and repeated runs

/// Kills the process at once (`kill -9`) or asks it to stop (Ctrl-C).
fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Starts a command without hearing it.
fn started(arguments: &[&str]) -> Child {
    command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lines that the log holds so far.
fn logged(run: &Path) -> usize {
    fs::read(run.join("metrics.jsonl")).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
}

/// Waits until `count` epochs are logged, and a little more.
fn wait_for_epochs(child: &mut Child, run: &Path, count: usize, more: Duration) {
    let started = Instant::now();
    while logged(run) < count {
        assert!(child.try_wait().unwrap().is_none(), "ended before epoch {count}");
        assert!(started.elapsed() < Duration::from_secs(60), "no epoch {count} after a minute");
        thread::sleep(Duration::from_micros(300));
    }
    thread::sleep(more);
}

#[test]
fn a_run_killed_at_any_moment_resumes_to_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    done(&train(&whole, &LONG));
    assert_epochs_are_counted_once(&whole, LONG_EPOCHS);

    let again = train(&killed, &[&LONG[..], &["--resume"]].concat());
    let mut random = Random::new(std::process::id());
    let mut moment = |most: u32| Duration::from_micros((random.bits() % (1000 * most)).into());
    let mut inside = 0;
    for count in [0, 1, 2, 5, 9, 14, 20, LONG_EPOCHS, LONG_EPOCHS] {
        let mut child = started(&again);
        // Epochs that a kill lost are trained again: not more than are there.
        wait_for_epochs(&mut child, &killed, count, moment(if count == LONG_EPOCHS { 300 } else { 40 }));
        signal(&child, "-KILL");
        child.wait().unwrap();
        inside += usize::from((1..LONG_EPOCHS).contains(&logged(&killed)));
    }
    assert!(inside >= 3, "only {inside} kills fell into the training");
    done(&again);
    assert_epochs_are_counted_once(&killed, LONG_EPOCHS);
    assert_eq!(epochs(&killed), epochs(&whole));
    assert_eq!(model_bytes(&killed), model_bytes(&whole));
}

#[test]
fn ctrl_c_leaves_a_run_that_resumes_to_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    done(&train(&whole, &LONG));
    let mut child = command(&train(&stopped, &LONG)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_epochs(&mut child, &stopped, 4, Duration::from_millis(5));
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.lines().last().unwrap().contains("--resume"), "{said}");
    assert!(!stopped.join("model.eigenlet").exists());
    done(&train(&stopped, &[&LONG[..], &["--resume"]].concat()));
    assert_eq!(epochs(&stopped), epochs(&whole));
    assert_eq!(model_bytes(&stopped), model_bytes(&whole));
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let run_with = |name: &str, threads: &str, more: &[&str]| {
        let run = folder.path().join(name);
        let mut command = command(&train(&run, more));
        command.env("RAYON_NUM_THREADS", threads);
        let ended = ended(command);
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        (model_bytes(&run), epochs(&run))
    };
    let first = (model_bytes(finished()), epochs(finished()));
    for threads in ["1", "2", "5"] {
        assert_eq!(run_with(threads, threads, &[]), first, "{threads} threads");
    }
    let other = run_with("other", "2", &["--seed", "2"]);
    assert_ne!(other.0, first.0);
    assert_ne!(other.1, first.1);
}

// --- Bad models

/// Every command that reads a model, with something to write where it writes.
fn model_commands<'a>(model: &'a Path, input: &'a Path, output: &'a Path) -> Vec<Vec<&'a str>> {
    let (model, input, output) = (text(model), text(input), text(output));
    vec![
        vec!["verify", model],
        vec!["inspect", model],
        vec!["inspect", "--json", model],
        vec!["embed", model, input, "-o", output],
        vec!["hash", model, input, "-o", output],
        vec!["assign", model, input, "-o", output],
    ]
}

/// Every command refuses these bytes as a model; its output, which is there already, stays as it is.
fn assert_no_command_takes(folder: &Path, bytes: &[u8], fragments: &[&str]) {
    let [model, input, output] = ["bad.eigenlet", "samples.npy", "output.npy"].map(|name| folder.join(name));
    fs::write(&model, bytes).unwrap();
    npy_file(&input, &Array2::<u8>::zeros((2, 64)));
    fs::write(&output, "what was there").unwrap();
    for command in model_commands(&model, &input, &output) {
        refused(&command, &[&[text(&model), "expected", "found"][..], fragments].concat());
        assert_eq!(fs::read(&output).unwrap(), b"what was there");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 3, "something was left behind");
}

#[test]
fn a_model_cut_short_anywhere_is_refused() {
    let folder = TempDir::new().unwrap();
    let model = model_bytes(finished());
    for length in [1, 7, 8, 9, 20, 31, 32, 33, 100, model.len() / 2, model.len() - 1] {
        let fragments: &[&str] = if length < 32 { &[] } else { &["cut short"] };
        assert_no_command_takes(folder.path(), &model[..length], fragments);
    }
    let bad = folder.path().join("bad.eigenlet");
    for length in (0..model.len()).step_by(97) {
        fs::write(&bad, &model[..length]).unwrap();
        refused(&["verify", text(&bad)], &[text(&bad), "expected", "found"]);
    }
}

#[test]
fn a_model_with_any_bit_flipped_is_refused() {
    let folder = TempDir::new().unwrap();
    let model = model_bytes(finished());
    let flipped = |place: usize, bit: usize| {
        let mut bytes = model.clone();
        bytes[place] ^= 1 << bit;
        bytes
    };
    for (place, bit) in [(0, 0), (8, 1), (12, 3), (16, 7), (20, 0), (40, 4), (model.len() - 1, 7)] {
        assert_no_command_takes(folder.path(), &flipped(place, bit), &[]);
    }
    let bad = folder.path().join("bad.eigenlet");
    // The minor version (bytes 10 and 11) may be any: a reader ignores it.
    let places = (0..10).chain(12..64).chain((64..model.len()).step_by(61));
    for (number, place) in places.enumerate() {
        fs::write(&bad, flipped(place, number % 8)).unwrap();
        refused(&["verify", text(&bad)], &[text(&bad), "expected", "found"]);
    }
}

#[test]
fn a_model_of_a_newer_format_is_refused_with_both_versions() {
    let folder = TempDir::new().unwrap();
    let mut model = model_bytes(finished());
    model[8] = 7;
    assert_no_command_takes(folder.path(), &model, &["too new", "expected major version 1", "found version 7"]);
}

#[test]
fn files_that_are_no_models_are_refused() {
    let folder = TempDir::new().unwrap();
    assert_no_command_takes(folder.path(), b"", &[]);
    assert_no_command_takes(folder.path(), &[0x7f; 5000], &["not an Eigenlet model"]);
    assert_no_command_takes(
        folder.path(),
        b"\x7fELF\x02\x01\x01 and then some more, longer than a header",
        &["EIGENLET"],
    );
    let [missing, output] = ["missing.eigenlet", "none.npy"].map(|name| folder.path().join(name));
    for command in model_commands(&missing, &missing, &output) {
        refused(&command, &[text(&missing), "cannot read"]);
    }
    assert!(!output.exists());
}

#[test]
fn verify_fails_with_status_1_where_a_golden_vector_does_not_come_out() {
    let model = AlignedBytes::from(&model_bytes(finished())[..]);
    let parsed = Model::parse(&model).unwrap();
    let golden = parsed.golden().nth(3).unwrap();
    let embedding = golden.embedding.unwrap().as_ptr() as usize - model.as_ptr() as usize;
    let code = golden.code.unwrap().as_ptr() as usize - model.as_ptr() as usize;
    let folder = TempDir::new().unwrap();
    let wrong = folder.path().join("wrong.eigenlet");
    for place in [embedding + 2, code] {
        fs::write(&wrong, forged(&model, place, 0x04)).unwrap();
        let ended = ended(command(&["verify", text(&wrong)]));
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("golden vector 3") && ended.stderr.contains("expected"), "{}", ended.stderr);
    }
}

// --- Bad recipes

/// Training is refused on one line with `fragments`, and leaves no folder.
fn assert_training_refused(folder: &Path, recipe: &str, more: &[&str], fragments: &[&str]) {
    let out = folder.join("refused");
    refused(&[&["train", recipe][..], more, &["--out", text(&out)]].concat(), fragments);
    assert!(!out.exists(), "{more:?}: left {}", out.display());
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let cases: [(&str, &[&str]); 18] = [
        ("train.epoch=3", &["unknown field `epoch`", "expected", "`epochs`"]),
        ("sede=3", &["unknown field `sede`", "expected", "`seed`"]),
        ("data.kind=svhn", &["unknown variant `svhn`", "expected", "`digits`"]),
        ("train.epochs=-3", &["train.epochs", "expected a whole number, 0 or more, found -3"]),
        ("network.dims=-3", &["network.dims", "expected a whole number, 0 or more, found -3"]),
        ("network.projector=-1", &["network.projector", "expected a whole number, 0 or more, found -1"]),
        ("train.epochs=many", &["train.epochs", "expected a whole number, 0 or more", "many"]),
        ("train.epochs=0", &["train.epochs", "expected 1 to", "found 0"]),
        ("evaluate.dims=[8,0]", &["evaluate.dims", "expected at least 1", "found 0"]),
        ("train.batch=1", &["train.batch", "expected at least 2", "found 1"]),
        ("network.dims=0", &["network.dims", "expected 1 to 65535", "found 0"]),
        ("network.layers=[{kind='max-pool',kernel=9}]", &["network.layers[0]", "8x8", "found 9x9"]),
        ("network.layers=[{kind='conv2d',channels=0}]", &["network.layers[0].channels", "expected 1 to", "found 0"]),
        ("network.layers=[{kind='conv3d'}]", &["unknown variant `conv3d`", "expected", "`conv2d`"]),
        ("train.optimizer.rate=-1", &["train.optimizer.rate", "expected a positive number", "found -1"]),
        ("augment.first.shear=7", &["augment.first.shear", "expected", "found 7"]),
        ("train.epochs", &["--set", "expected key=value", "found train.epochs"]),
        ("train.epochs.more=3", &["--set", "`epochs`", "is no table"]),
    ];
    for (setting, fragments) in cases {
        assert_training_refused(folder.path(), RECIPE, &["--set", setting], fragments);
    }
}

#[test]
fn clusters_that_no_data_could_fill_are_refused_before_training() {
    let folder = TempDir::new().unwrap();
    let recipe = "digits-cluster-specific-ae";
    let cases: [(&str, &[&str]); 7] = [
        ("objective.clusters=0", &["objective.clusters", "expected 1 to 65535, found 0"]),
        ("objective.clusters=1348", &["objective.clusters", "expected at most one for each of 1347", "found 1348"]),
        ("objective.code=0", &["objective.code", "expected at least 1, found 0"]),
        ("objective.code=64", &["objective.code", "clusters would mean nothing", "expected below 64, found 64"]),
        ("objective.hold=1", &["objective.hold", "expected 0 to below 1, found 1"]),
        ("objective.family.decoder.maps=[4,4,4,4]", &["objective.family.decoder.maps", "multiple of 16", "found 8"]),
        ("objective.separate=true", &["network", "a multiple of objective.clusters = 10", "found no layer"]),
    ];
    for (setting, fragments) in cases {
        assert_training_refused(folder.path(), recipe, &["--set", setting], fragments);
    }

    // Forty images, of three kinds.
    let images: Vec<u8> = (0..40).flat_map(|i| [i % 3 * 100; 64]).collect();
    let file = folder.path().join("images");
    fs::write(&file, idx(&[40, 8, 8], &images)).unwrap();
    let data: Vec<String> = [("train_images", &file), ("test_images", &file)]
        .iter()
        .flat_map(|(key, path)| ["--set".to_string(), format!("data.{key}={}", text(path))])
        .chain(["--set".into(), "data.kind=idx".into()])
        .collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let told = ["objective.clusters", "more clusters than different samples", "expected at most 3, found 10"];
    assert_training_refused(folder.path(), recipe, &data, &told);
}

#[test]
fn recipes_that_are_none_are_refused() {
    let folder = TempDir::new().unwrap();
    let refuse = |recipe: &str, fragments: &[&str]| assert_training_refused(folder.path(), recipe, &[], fragments);
    refuse("no-such-recipe", &["no-such-recipe", "expected a file, or one of the shipped recipes", RECIPE]);
    refuse(text(folder.path()), &[text(folder.path()), "cannot read"]);
    let file = folder.path().join("my.toml");
    let cases: [(&[u8], &[&str]); 5] = [
        (b"seed = 1\nsede = 2\n", &["my.toml:2", "unknown field `sede`", "expected"]),
        (b"seed = 1\ntrain = [[[\n", &["my.toml:2"]),
        (b"This is no recipe.", &["my.toml:1", "expected", "found"]),
        (b"", &["my.toml", "missing field `data`"]),
        (b"\xff\xfe\x00", &["my.toml", "cannot read"]),
    ];
    for (bytes, fragments) in cases {
        fs::write(&file, bytes).unwrap();
        refuse(text(&file), fragments);
    }
}

#[test]
fn heads_that_no_training_could_fill_are_refused_before_it() {
    let folder = TempDir::new().unwrap();
    for (setting, place) in [
        ("export.dims=33", "export.dims"),
        ("export.bits=33", "export.bits"),
        ("export.clusters=5000", "export.clusters"),
    ] {
        let settings =
            ["--set", setting, "--set", "export.hash_dims=0", "--set", "train.epochs=1", "--set", "train.warmup=0"];
        assert_training_refused(folder.path(), RECIPE, &settings, &[place, "expected at most", "found"]);
    }
}

#[test]
fn a_backend_that_this_build_does_not_hold_is_refused_before_anything_is_written() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    for backend in ["ndarray", "candle", "cuda", "wgpu"] {
        let ended = ended(command(&train(&out, &["--backend", backend])));
        if ended.status == Some(2) {
            assert!(ended.stderr.contains(backend) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
            assert!(!out.exists(), "--backend {backend} left {}", out.display());
        } else {
            fs::remove_dir_all(&out).unwrap();
        }
    }
}

// --- Bad data

#[test]
fn a_missing_data_folder_names_the_files_and_where_to_get_them() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let name = "train-images-idx3-ubyte";
    let place = data.join("mnist").join(name);
    let mnist = ["--set", "data.kind=mnist"];
    let told = [name, "t10k-labels-idx1-ubyte", "https://", "--data-dir", "EIGENLET_DATA", "expected", "found"];
    assert_training_refused(folder.path(), RECIPE, &mnist, &told);
    let there = [&mnist[..], &["--data-dir", text(&data)]].concat();
    assert_training_refused(folder.path(), RECIPE, &there, &[&told[..], &[text(&place)]].concat());
    fs::create_dir_all(data.join("mnist")).unwrap();
    assert_training_refused(folder.path(), RECIPE, &there, &[&told[..], &[text(&place), "none of them"]].concat());
}

#[test]
fn damaged_idx_files_are_refused() {
    let folder = TempDir::new().unwrap();
    let [train, train_labels, test, test_labels] = &foreign_files(folder.path());
    let good = [
        ("train_images", train.as_path()),
        ("train_labels", train_labels),
        ("test_images", test),
        ("test_labels", test_labels),
    ];
    let bad = folder.path().join("bad");
    let refuse = |key: &str, bytes: &[u8], fragments: &[&str]| {
        fs::write(&bad, bytes).unwrap();
        let files = good.map(|(known, path)| (known, if known == key { bad.as_path() } else { path }));
        let fragments = [&[text(&bad), "expected", "found"][..], fragments].concat();
        assert_training_refused(folder.path(), RECIPE, &as_text(&data_settings(&files)), &fragments);
    };
    let [zipped, plain, labels] = [train, test, train_labels].map(|path| fs::read(path).unwrap());
    for length in [0, 3, 4, 11, 16, 17, plain.len() - 1] {
        refuse("test_images", &plain[..length], &[]);
    }
    for length in [1, 5, zipped.len() / 2, zipped.len() - 1] {
        refuse("train_images", &zipped[..length], &[]);
    }
    refuse("test_images", &[&plain[..], b"x"].concat(), &["after the last value"]);
    refuse("train_images", b"P5 12 10 255\n", &["not an IDX file"]);
    refuse("train_labels", &labels[..labels.len() - 1], &["cut short"]);
    refuse("train_labels", &idx(&[299], &[0; 299]), &["labels", "expected 300", "found 299"]);
    refuse("test_labels", &idx(&[300], &[0; 300]), &["labels", "expected 80", "found 300"]);
    refuse("test_images", &idx(&[80, 10, 12], &[0; 9600]), &["shape", "12x10x1", "10x12x1"]);
    refuse("train_labels", &idx(&[300, 1, 1, 1], &[0; 300]), &["dimensions"]);
    let missing = data_settings(&[("train_images", train), ("test_images", Path::new("no/such/file"))]);
    assert_training_refused(folder.path(), RECIPE, &as_text(&missing), &["no/such/file", "cannot read"]);
    let unnamed = data_settings(&[("train_images", train)]);
    assert_training_refused(folder.path(), RECIPE, &as_text(&unnamed), &["data.test_images", "expected", "found"]);
}

#[test]
fn samples_that_do_not_fit_the_model_are_refused() {
    let folder = TempDir::new().unwrap();
    let model = finished().join("model.eigenlet");
    let [npy_path, idx_path, output] =
        ["samples.npy", "samples.idx", "output.npy"].map(|name| folder.path().join(name));
    let refuse = |input: &Path, fragments: &[&str]| {
        for what in ["embed", "hash", "assign"] {
            let fragments = [&[text(input), "expected", "found"][..], fragments].concat();
            refused(&[what, text(&model), text(input), "-o", text(&output)], &fragments);
            assert!(!output.exists());
        }
    };
    npy_file(&npy_path, &Array2::from_elem((3, 64), f32::NAN));
    refuse(&npy_path, &["not a number", "NaN"]);
    npy_file(&npy_path, &Array2::<i8>::zeros((3, 64)));
    refuse(&npy_path, &["uint8", "found i1"]);
    for shape in [vec![3, 63], vec![64], vec![3, 8, 9], vec![3, 4, 16], vec![3, 8, 8, 2]] {
        npy_file(&npy_path, &ArrayD::<u8>::zeros(shape));
        refuse(&npy_path, &["8x8x1"]);
    }
    npy_file(&npy_path, &Array2::<u8>::zeros((3, 64)));
    let whole = fs::read(&npy_path).unwrap();
    for length in [0, 5, 9, 40, 128, whole.len() - 1] {
        fs::write(&npy_path, &whole[..length]).unwrap();
        refuse(&npy_path, &[]);
    }
    // A header that promises far more than there is must not cost that memory.
    let header = String::from_utf8_lossy(&whole[10..128]).replace("(3, 64)", "(999999999999, 64)");
    fs::write(&npy_path, [&whole[..10], &header.as_bytes()[..118], &whole[128..]].concat()).unwrap();
    refuse(&npy_path, &[]);
    fs::write(&idx_path, idx(&[3, 12, 10], &[0; 360])).unwrap();
    refuse(&idx_path, &["8x8x1"]);
    fs::write(&idx_path, idx(&[3, 8, 8], &[0; 100])).unwrap();
    refuse(&idx_path, &["cut short"]);

    npy_file(&npy_path, &Array2::<u8>::zeros((3, 64)));
    for (what, option, size) in [("embed", "--dims", "17"), ("embed", "--dims", "0"), ("hash", "--bits", "17")] {
        refused(&[what, text(&model), text(&npy_path), option, size, "-o", text(&output)], &[option, "1 to 16", size]);
    }
    let nowhere = folder.path().join("no/such/folder/output.npy");
    refused(&["embed", text(&model), text(&npy_path), "-o", text(&nowhere)], &[text(&nowhere), "cannot write"]);
    assert!(!output.exists() && !folder.path().join("no").exists());
}

#[test]
fn codes_that_do_not_fit_each_other_are_refused() {
    let folder = TempDir::new().unwrap();
    let [gallery, query, output] = ["gallery.npy", "query.npy", "hits.npy"].map(|name| folder.path().join(name));
    npy_file(&gallery, &Array2::<u8>::zeros((5, 2)));
    let refuse = |k: &str, fragments: &[&str]| {
        let arguments = ["search", "--gallery", text(&gallery), "--query", text(&query), "-k", k, "-o", text(&output)];
        refused(&arguments, &[&["expected", "found"][..], fragments].concat());
        assert!(!output.exists());
    };
    npy_file(&query, &Array2::<u8>::zeros((4, 2)));
    refuse("6", &["-k", "1 to the gallery's 5", "found 6"]);
    refuse("0", &["-k", "found 0"]);
    npy_file(&query, &Array2::<u8>::zeros((4, 3)));
    refuse("2", &[text(&query), "2 bytes", "found 3"]);
    npy_file(&query, &Array2::<i32>::zeros((4, 2)));
    refuse("2", &[text(&query), "uint8"]);
    npy_file(&query, &ArrayD::<u8>::zeros(vec![4]));
    refuse("2", &[text(&query), "[n, bytes]"]);
    npy_file(&query, &ArrayD::<u8>::zeros(vec![4, 0]));
    refuse("2", &[text(&query)]);
}

// --- Bad folders

#[test]
fn a_folder_that_holds_a_run_is_not_trained_over() {
    let (_folder, run) = copy_of_finished();
    let before = files_in(&run);
    refused(&train(&run, &[]), &[text(&run), "holds a run", "expected", "--resume", "found"]);
    assert_eq!(files_in(&run), before);
    refused(
        &train(&run, &["--resume", "--seed", "9"]),
        &["cannot resume", "expected", "found", "seed = 9", "seed = 1"],
    );
    let other = ["--resume", "--set", "train.batch=50"];
    refused(&train(&run, &other), &["cannot resume", "batch = 50", "batch = 100"]);
    refused(&["train", RECIPE, "--resume", "--out", text(&run)], &["cannot resume", "without `limit_train = 600`"]);
    assert_eq!(files_in(&run), before);
}

#[test]
fn a_folder_without_a_finished_run_is_neither_evaluated_nor_exported() {
    let (folder, run) = copy_of_finished();
    let blob = folder.path().join("blob.eigenlet");
    let refuse = |run: &Path, fragments: &[&str]| {
        for arguments in
            [vec!["eval", text(run)], vec!["eval", text(run), "--json"], vec!["export", text(run), "-o", text(&blob)]]
        {
            refused(&arguments, &[&[text(run), "expected", "found"][..], fragments].concat());
            assert!(!blob.exists());
        }
    };
    let [empty, missing] = ["empty", "missing"].map(|name| folder.path().join(name));
    fs::create_dir(&empty).unwrap();
    refuse(&empty, &["recipe.toml"]);
    refuse(&missing, &["nothing there"]);
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);

    // The same run with one epoch to go: as if it had been interrupted.
    let recipe = fs::read_to_string(run.join("recipe.toml")).unwrap();
    fs::write(run.join("recipe.toml"), recipe.replace("epochs = 3", "epochs = 4")).unwrap();
    let before = files_in(&run);
    refuse(&run, &["not finished", "expected 4", "--resume", "found 3"]);
    fs::remove_dir_all(run.join("checkpoint")).unwrap();
    refuse(&run, &["not finished", "found 0"]);
    fs::write(run.join("recipe.toml"), "seed = ").unwrap();
    refuse(&run, &["recipe.toml"]);
    for (path, bytes) in files_in(&run).iter().filter(|(path, _)| !path.ends_with("recipe.toml")) {
        assert_eq!(before.get(path), Some(bytes), "{}", path.display());
    }
}

#[test]
fn export_refuses_what_the_model_does_not_have() {
    let (folder, run) = copy_of_finished();
    let blob = folder.path().join("blob.eigenlet");
    let refuse = |sizes: &[&str], fragments: &[&str]| {
        let arguments = [&["export", text(&run)][..], sizes, &["-o", text(&blob)]].concat();
        refused(&arguments, &[&["expected", "found"][..], fragments].concat());
        assert!(!blob.exists());
    };
    refuse(&["--dims", "17"], &["--dims", "1 to 16", "found 17"]);
    refuse(&["--dims", "0"], &["--dims", "found 0"]);
    refuse(&["--bits", "65536"], &["--bits", "at most 65535", "found 65536"]);
    let recipe = fs::read_to_string(run.join("recipe.toml")).unwrap();
    fs::write(run.join("recipe.toml"), recipe.replace("hash_dims = 10", "hash_dims = 0")).unwrap();
    refuse(&["--dims", "8", "--bits", "9"], &["--bits", "at most 8", "found 9"]);
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "a file, no folder").unwrap();
    let below = file.join("run");
    refused(&train(&below, &[]), &[text(&below), "cannot write"]);
    let blob = file.join("blob.eigenlet");
    let ended = ended(command(&["export", text(finished()), "-o", text(&blob)]));
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""), "{}", ended.stderr);
    assert!(
        ended.stderr.lines().last().unwrap().starts_with(&format!("eigenlet: {}", blob.display())),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read(&file).unwrap(), b"a file, no folder");
}

#[test]
fn a_damaged_checkpoint_is_refused_and_nothing_is_lost() {
    let (folder, run) = copy_of_finished();
    let checkpoint = {
        let mut files = fs::read_dir(run.join("checkpoint")).unwrap();
        files.next().unwrap().unwrap().path()
    };
    let whole = fs::read(&checkpoint).unwrap();
    let blob = folder.path().join("blob.eigenlet");
    let refuse = |bytes: &[u8], place: &str, fragments: &[&str]| {
        fs::write(&checkpoint, bytes).unwrap();
        let before = files_in(&run);
        for arguments in
            [train(&run, &["--resume"]), vec!["eval", text(&run)], vec!["export", text(&run), "-o", text(&blob)]]
        {
            refused(&arguments, &[&[place, "expected", "found"][..], fragments].concat());
            assert!(!blob.exists());
        }
        assert_eq!(files_in(&run), before);
    };
    for length in [0, 1, 31, 32, 33, whole.len() / 2, whole.len() - 1] {
        refuse(&whole[..length], text(&checkpoint), &["damaged"]);
    }
    for place in [0, 31, 32, 40, whole.len() / 3, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x10;
        refuse(&flipped, text(&checkpoint), &["damaged"]);
    }

    // A whole checkpoint, but of other networks.
    for network in ["network.projector=20", "network.layers=[]", "network.dims=12"] {
        let other = folder.path().join("other");
        done(&train(&other, &["--set", network]));
        let foreign = fs::read(other.join("checkpoint").join(checkpoint.file_name().unwrap())).unwrap();
        refuse(&foreign, "checkpoint", &["does not fit"]);
        fs::remove_dir_all(&other).unwrap();
    }

    fs::write(&checkpoint, &whole).unwrap();
    done(&train(&run, &["--resume"]));
    assert_eq!(model_bytes(&run), model_bytes(finished()));
}

// --- Bad usage

#[test]
fn wrong_usage_is_refused_on_one_line_that_shows_the_right_one() {
    let model = finished().join("model.eigenlet");
    refused(&["verify"], &["<MODEL>", "Usage: eigenlet verify"]);
    refused(&["verify", text(&model), "--fast"], &["--fast", "Usage: eigenlet verify"]);
    refused(&["frobnicate"], &["frobnicate", "Usage: eigenlet"]);
    refused(&["train", RECIPE, "--seed", "x"], &["--seed", "x"]);
    refused(&["train", RECIPE, "--backend", "abacus"], &["abacus", "--backend", "flex"]);
    refused(&["search", "-k", "3"], &["--gallery", "--query", "Usage: eigenlet search"]);
    assert_eq!(ended(command(&[])).status, Some(2));
    assert!(done(&["--help"]).contains("train"));
    assert!(done(&["--version"]).starts_with("eigenlet "));
}

// --- Spectra and spectral clustering

/// Two groups of points in the plane, one after the other, the second far from the first.
fn two_groups(count: usize) -> Array2<f32> {
    let mut random = Random::new(5);
    let mut coordinate = |place: usize| 4.0 * (place / count) as f32 + f32::from(random.bytes(1)[0]) / 255.0;
    Array2::from_shape_fn((2 * count, 2), |(place, _)| coordinate(place))
}

#[test]
fn clusters_of_samples_come_in_their_order_with_a_model_that_assigns() {
    let folder = TempDir::new().unwrap();
    let [data, labels, run] = ["data.npy", "labels.npy", "run"].map(|name| folder.path().join(name));
    npy_file(&data, &two_groups(60));
    npy_file(&labels, &Array::from_shape_fn(120, |place| (place / 60) as i64));
    let arguments = ["cluster", text(&data), "--k", "2", "--neighbours", "8", "--labels", text(&labels)];
    let printed = done(&[&arguments[..], &["--json", "--out", text(&run)]].concat());
    let found: Value = serde_json::from_str(&printed).expect("JSON alone");
    assert_eq!(found["samples"], 120);
    assert_eq!(found["acc"], 1.0);
    assert_eq!([&found["suggested"], &found["parts"]], [2, 2]);
    let clusters: ArrayD<u16> = npy(&run.join("clusters.npy"));
    let (first, second) = clusters.as_slice().unwrap().split_at(60);
    assert!(first.iter().all(|&id| id == first[0]) && second.iter().all(|&id| id == 1 - first[0]));
    done(&["verify", text(&run.join("model.eigenlet"))]);
    refused(&[&arguments[..], &["--out", text(&run)]].concat(), &["run"]);
}

#[test]
fn a_spectrum_is_the_exact_one_where_that_is_known() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data.npy");
    // Under a linear kernel, the eigenvalues are the mean squares along the axes.
    let scale = |column| [3.0, 2.0, 1.0][column];
    npy_file(&data, &Array2::from_shape_fn((60, 3), |(i, j)| if i % 3 == j { scale(j) * 3f64.sqrt() } else { 0.0 }));
    let arguments = ["spectrum", text(&data), "--kernel", "poly", "--degree", "1", "--k", "3", "--exact", "--json"];
    let found: Value = serde_json::from_str(&done(&arguments)).expect("JSON alone");
    for (j, expected) in [9.0, 4.0, 1.0].into_iter().enumerate() {
        let value = |key: &str| found[key][j].as_f64().unwrap_or(f64::NAN);
        // Samples are held as f32.
        assert!((value("exact") / expected - 1.0).abs() < 1e-6, "{found}");
        assert!((value("learned") / expected - 1.0).abs() < 0.01 && value("alignment") > 0.99, "{found}");
    }
}

#[test]
fn a_peculiar_graph_is_described_and_its_spectrum_learned() {
    let folder = TempDir::new().unwrap();
    let (data, edges) = (folder.path().join("data.npy"), folder.path().join("edges.csv"));
    npy_file(&data, &Array2::<f32>::eye(30));
    // A triangle, a pair, and nodes alone; an edge given three times and a self loop.
    fs::write(&edges, "from,to\n0,1\n1,0\n0,1\n1,2\n2,0\n3,4\n5,5\n").unwrap();
    let found = done(&["spectrum", text(&data), "--kernel", "graph", "--edges", text(&edges), "--k", "3", "--exact"]);
    let survey =
        "30 nodes, 4 edges, 27 connected component(s), 25 isolated node(s), 1 duplicate edge(s), 1 self loop(s)";
    assert!(found.contains(survey), "{found}");
    assert!(found.contains("the kernel is not positive: its least eigenvalue is -1.0"), "a pair is bipartite: {found}");
}

#[test]
fn questions_about_spectra_that_make_no_sense_are_refused() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (data, square, indefinite) = (file("data.npy"), file("square.npy"), file("asymmetric.npy"));
    npy_file(&data, &two_groups(20));
    npy_file(&square, &Array2::<f64>::eye(3));
    npy_file(&indefinite, &Array2::from_shape_fn((40, 40), |(i, j)| i as f64 - j as f64));
    npy_file(&file("flat.npy"), &Array::from_vec(vec![1.0_f32; 40]));
    npy_file(&file("nan.npy"), &Array2::from_elem((40, 2), f32::NAN));
    let spectrum = |data: &Path, more: &[&str], fragments: &[&str]| {
        refused(&[&["spectrum", text(data)], more].concat(), fragments);
    };
    spectrum(&data, &["--kernel", "rbf"], &["--length: --kernel rbf needs it"]);
    spectrum(&data, &["--kernel", "rbf", "--length", "0"], &["--kernel.length", "a positive number"]);
    spectrum(
        &data,
        &["--kernel", "rbf", "--length", "1", "--degree", "2"],
        &["--degree: --kernel rbf has no such option"],
    );
    spectrum(&data, &["--kernel", "cosine", "--k", "0"], &["--k", "1 to"]);
    spectrum(&data, &["--kernel", "cosine", "--k", "39"], &["--k", "1 to 29"]);
    spectrum(&data, &["--kernel", "matrix", "--gram", text(&square)], &["square.npy", "40"]);
    spectrum(&data, &["--kernel", "matrix", "--gram", text(&indefinite)], &["asymmetric.npy", "symmetric"]);
    spectrum(&data, &["--kernel", "neighbours", "--neighbours", "40"], &["--neighbours", "1 to 39", "found 40"]);
    spectrum(&data, &["--kernel", "graph"], &["--edges: --kernel graph needs it"]);
    for (edges, fragments) in [
        ("0 1\n1 40\n", ["edges.txt:2", "no such node", "below 40, found 40"]),
        ("0 1 2.5\n1 2 -1\n", ["edges.txt:2", "wrong weight", "a weight of 0 or more, found -1"]),
        (
            "0 1 2.5\n1 0 1.5\n",
            ["edges.txt", "asymmetric weights between nodes 0 and 1", "2.5 from 0 to 1, 1.5 from 1 to 0"],
        ),
        ("0 1 2.5\n1 2\n", ["edges.txt:2", "no weight", "one, as above"]),
    ] {
        fs::write(file("edges.txt"), edges).unwrap();
        spectrum(&data, &["--kernel", "graph", "--edges", text(&file("edges.txt"))], &fragments);
    }
    spectrum(&file("nan.npy"), &["--kernel", "cosine"], &["nan.npy", "finite numbers"]);
    spectrum(&file("absent.npy"), &["--kernel", "cosine"], &["absent.npy"]);

    let out = file("run");
    let cluster = |data: &Path, more: &[&str], fragments: &[&str]| {
        refused(&[&["cluster", text(data), "--out", text(&out)], more].concat(), fragments);
        assert!(!out.exists(), "nothing is written");
    };
    cluster(&data, &["--k", "1"], &["--k", "2 to"]);
    cluster(&data, &["--k", "40"], &["--k", "2 to"]);
    cluster(&data, &["--k", "2", "--neighbours", "40"], &["--neighbours", "1 to 39"]);
    cluster(&data, &["--k", "2", "--labels", text(&square)], &["square.npy", "wrong type of values"]);
    cluster(&file("flat.npy"), &["--k", "2"], &["flat.npy", "not a list of samples"]);
    cluster(Path::new("nothing-known"), &["--k", "2"], &["nothing-known", "the name of a known data set"]);
}

/// Two groups of nodes: edges run within groups, and most of a node's words are its group's. The folder holds `edges.npy`,
/// `features.npy` and `recipe.toml`.
fn a_graph(folder: &Path) -> PathBuf {
    let mut random = Random::new(3);
    let mut below = |bound: usize| random.bits() as usize % bound;
    let (nodes, words) = (80, 40);
    let edges: Vec<u32> = (0..300)
        .flat_map(|edge| {
            let group = edge % 2 * nodes / 2;
            [(group + below(nodes / 2)) as u32, (group + below(nodes / 2)) as u32]
        })
        .collect();
    let mut features = Array2::<u8>::zeros((nodes, words));
    for node in 0..nodes {
        (0..8).for_each(|_| features[[node, 2 * node / nodes * words / 2 + below(words / 2)]] = 1);
        features[[node, below(words)]] = 1;
    }
    npy_file(&folder.join("edges.npy"), &Array2::from_shape_vec((300, 2), edges).unwrap());
    npy_file(&folder.join("features.npy"), &features);
    npy_file(&folder.join("labels.npy"), &Array::from_shape_fn(nodes, |node| (2 * node / nodes) as i64));
    let recipe = folder.join("recipe.toml");
    let text = format!(
        "data = {{ kind = 'nodes', learn = 'all', edges = '{0}/edges.npy', features = '{0}/features.npy', labels = '{0}/labels.npy' }}
        pairs = {{ kind = 'graph', steps = 2 }}
        network = {{ layers = [{{ kind = 'dense', units = 16 }}], dims = 4 }}
        objective = {{ kind = 'neural-eigenmap' }}
        train = {{ epochs = 20, batch = 64, optimizer = {{ kind = 'adam', rate = 1e-2 }} }}
        export = {{ clusters = 2, cluster_dims = 1 }}",
        folder.display()
    );
    fs::write(&recipe, text).unwrap();
    recipe
}

#[test]
fn nodes_of_a_graph_are_encoded_by_their_features_alone() {
    let folder = TempDir::new().unwrap();
    let (recipe, run) = (a_graph(folder.path()), folder.path().join("run"));
    done(&["train", text(&recipe), "--out", text(&run)]);
    assert_eq!(json(&run.join("metrics.json"))["assignments"]["int8"]["acc"], 1.0);
    let model = run.join("model.eigenlet");
    done(&["verify", text(&model)]);

    // The host's commands take whole rows, and give what the runtime gives for the indices of their ones.
    let output = folder.path().join("z.npy");
    done(&["embed", text(&model), text(&folder.path().join("features.npy")), "-o", text(&output)]);
    let bytes = AlignedBytes::from(&fs::read(&model).unwrap()[..]);
    let model = Model::parse(&bytes).unwrap();
    let features: ArrayD<u8> = npy(&folder.path().join("features.npy"));
    let found: ArrayD<i8> = npy(&output);
    let mut arena = vec![0; model.arena_bytes()];
    for (row, found) in features.outer_iter().zip(found.outer_iter()) {
        let ones: Vec<u16> = (0..).zip(&row).filter(|(_, value)| **value == 1).map(|(index, _)| index).collect();
        let mut features = model.run_sample(&mut arena, Sample::Indices(&ones)).unwrap();
        assert_eq!(features.embed(Dims::new(4)).unwrap(), found.as_slice().unwrap());
    }
    assert!(model.macs_of_ones(9, 4) < model.macs() / 3);
}

#[test]
fn graphs_that_are_none_are_refused_before_training() {
    let folder = TempDir::new().unwrap();
    let recipe = a_graph(folder.path());
    let other = folder.path().join("other.npy");
    let refuse = |setting: &str, fragments: &[&str]| {
        assert_training_refused(folder.path(), text(&recipe), &["--set", setting], fragments);
    };
    let edges = format!("data.edges='{}'", text(&other));
    npy_file(&other, &Array2::from_shape_vec((2, 2), vec![0_u32, 1, 1, 80]).unwrap());
    refuse(&edges, &["other.npy", "80"]);
    npy_file(&other, &Array2::from_shape_vec((1, 2), vec![0_i64, -2]).unwrap());
    refuse(&edges, &["other.npy", "-2"]);
    npy_file(&other, &Array2::<u32>::zeros((0, 2)));
    refuse(&edges, &["edge"]);
    refuse("data.learn=train", &["data.learn: the graph joins the samples of both splits"]);
    refuse("pairs.steps=0", &["pairs.steps", "at least 1"]);
    refuse("pairs.self_loops=2", &["expected a boolean", "[pairs]"]);
    refuse("data.outliers=[1]", &["data.outliers"]);
    npy_file(&other, &Array2::<u8>::zeros((79, 40)));
    refuse(&format!("data.features='{}'", text(&other)), &["edges.npy", "no such node", "below 79, found 79"]);
}
