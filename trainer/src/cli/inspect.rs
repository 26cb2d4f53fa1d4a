//! `eigenlet inspect`.

use std::path::PathBuf;

use eigenlet_runtime::{Head, Model, Raw};
use eigenlet_shared::description::{Card, Description, Operation};
use serde_json::{Value, json};

use super::model_file;
use crate::chip::{self, Fit};
use crate::error::{Error, Result};
use crate::inference::{description, heads_in_words};

#[derive(clap::Args)]
pub struct Inspect {
    /// The model, *.eigenlet
    model: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Say whether it fits this chip, and about what it costs there; a name that is none lists all
    #[arg(long, value_name = "NAME")]
    chip: Option<String>,
}

impl Inspect {
    pub fn run(self) -> Result<()> {
        let bytes = model_file::read(&self.model)?;
        let model = model_file::parse(&self.model, &bytes)?;
        let card = model
            .card()
            .map_err(|error| Error::input(self.model.display(), error, "a model card", "one that does not decode"))?;
        let description = description(&model)?;
        let fit = self.chip.map(|name| chip::fit(&model, bytes.len(), &name)).transpose()?;
        match self.json {
            true => {
                let mut object = object(&model, &description, &card, bytes.len());
                if let Some(fit) = fit {
                    object["chip"] = json!(fit);
                }
                say!("{object:#}");
            }
            false => {
                print(&model, &description, &card, bytes.len());
                if let Some(fit) = fit {
                    print_fit(&fit);
                }
            }
        }
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn layer(operation: &Operation) -> (&'static str, String) {
    let window = |window: &eigenlet_shared::description::Window| {
        let ([height, width], [down, across]) = (window.kernel, window.stride);
        format!("{height}x{width}, stride {down}x{across}, padding {:?}", window.padding)
    };
    match operation {
        Operation::Dense(dense) => ("dense", format!("{} outputs", dense.outputs)),
        Operation::Conv2d(conv) => ("conv2d", format!("{} outputs, {}", conv.outputs, window(&conv.window))),
        Operation::DepthwiseConv2d(conv) => ("depthwise-conv2d", window(&conv.window)),
        Operation::MaxPool2d(pool) => ("max-pool", window(pool)),
        Operation::AveragePool2d(pool) => ("average-pool", window(pool)),
        Operation::Add(_) => ("add", "an earlier layer's output".into()),
        Operation::Recall(recall) => ("recall", format!("an earlier output of {:?}", recall.shape)),
    }
}

/// Prefixes at which costs are shown.
fn prefixes(dims: u16) -> Vec<u16> {
    let mut prefixes: Vec<u16> = (0..).map(|power| 4u16 << power).take_while(|&prefix| prefix < dims).collect();
    prefixes.push(dims);
    prefixes
}

fn object(model: &Model, description: &Description, card: &Card, bytes: usize) -> Value {
    let layers: Vec<Value> = description
        .layers
        .iter()
        .map(|each| layer(&each.operation))
        .map(|(kind, shape)| json!({"kind": kind, "shape": shape}))
        .collect();
    let macs: Vec<Value> =
        prefixes(model.dims()).into_iter().map(|dims| json!({"dims": dims, "macs": model.macs_for(dims)})).collect();
    json!({
        "objective": card.objective,
        "dataset": card.dataset,
        "dataset_sha256": hexadecimal(&card.dataset_sha256),
        "recipe_sha256": hexadecimal(&card.recipe_sha256),
        "seed": card.seed,
        "producer": card.producer,
        "input": description.input.shape,
        "layers": layers,
        "dims": model.dims(),
        "bits": model.bits(),
        "clusters": model.clusters(),
        "hash_head": {"kind": heads_in_words(description).0, "macs": model.head_macs(Head::Hash)},
        "cluster_head": {"kind": heads_in_words(description).1, "macs": model.head_macs(Head::Clusters)},
        "experts": {"count": model.experts(), "dims": model.expert_dims(), "macs": model.head_macs(Head::Experts)},
        "scale": model.scale(),
        "eigenvalues": model.eigenvalues(),
        "golden_vectors": model.golden_count(),
        "blob": {"bytes": bytes, "macs": model.macs(), "arena_bytes": model.arena_bytes()},
        "macs_by_dims": macs,
        "truncation": card.truncation.iter().map(|point| json!({"dims": point.dims, "knn_acc": point.knn_acc, "map": point.map})).collect::<Vec<_>>(),
        "hash": card.hash.iter().map(|point| json!({"bits": point.bits, "map": point.map})).collect::<Vec<_>>(),
    })
}

fn print(model: &Model, description: &Description, card: &Card, bytes: usize) {
    let [height, width, channels] = description.input.shape;
    say!("{} on {} (seed {}), by {}", card.objective, card.dataset, card.seed, card.producer);
    let values = match model.raw() {
        Raw::U8 => "raw bytes",
        Raw::Indices => "zeros and ones, given by the indices of the ones",
    };
    say!("input       {height} x {width} x {channels} {values}");
    for each in &description.layers {
        let (kind, shape) = layer(&each.operation);
        say!("layer       {kind}: {shape}");
    }
    say!("outputs     {} dimensions, {} bits, {} clusters", model.dims(), model.bits(), model.clusters());
    let (hash, clusters) = heads_in_words(description);
    say!("code        {hash}: {} multiply-accumulates behind the layers", model.head_macs(Head::Hash));
    say!("clusters    {clusters}: {} multiply-accumulates behind the layers", model.head_macs(Head::Clusters));
    if model.experts() > 0 {
        let (count, dims) = (model.experts(), model.expert_dims());
        say!(
            "experts     {count} of {dims} dimensions: {} multiply-accumulates behind the layers",
            model.head_macs(Head::Experts)
        );
    }
    say!("flash       {bytes} bytes for the model");
    say!("RAM         {} bytes: const ARENA: usize = {};", model.arena_bytes(), model.arena_bytes());
    for dims in prefixes(model.dims()) {
        let quality = card.truncation.iter().find(|point| point.dims == dims);
        let quality =
            quality.map_or(String::new(), |point| format!("   kNN {:.4}  mAP {:.4}", point.knn_acc, point.map));
        say!("{dims:>4} dims   {:>9} multiply-accumulates{quality}", model.macs_for(dims));
    }
    for point in &card.hash {
        say!("{:>4} bits   mAP {:.4}", point.bits, point.map);
    }
    say!("golden      {} vectors", model.golden_count());
    say!("data        sha256 {}", hexadecimal(&card.dataset_sha256));
    say!("recipe      sha256 {}", hexadecimal(&card.recipe_sha256));
}

fn print_fit(fit: &Fit) {
    let Fit { name, chip, flash, ram, fits, instructions, cycles } = fit;
    let verdict = if *fits { "fits" } else { "DOES NOT FIT" };
    say!("chip        {name} ({}): {verdict}", chip.core);
    say!("            flash {flash} of {} bytes: the model, and all of the runtime", chip.flash << 10);
    say!("            RAM {ram} of {} bytes: the arena, and the stack to run it", chip.ram << 10);
    say!("            about {instructions} instructions for all dimensions, by a fit to counts in QEMU");
    if let Some(cycles) = cycles {
        let milliseconds = *cycles as f64 / chip.clock / 1e3;
        say!("            about {cycles} cycles, an estimate: {milliseconds:.1} ms at {} MHz", chip.clock);
    }
}
