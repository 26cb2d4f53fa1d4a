//! What stopping early saves: on every image, the cluster and the nearest of 256 remembered codes, computed until they are certain,
//! against the whole computation. Where an answer differs, the status is 1.
//!
//!     cargo run --release -p eigenlet-trainer --example early_exit MODEL.eigenlet IMAGES-idx3-ubyte[.gz]

use std::path::Path;
use std::process::ExitCode;

use eigenlet_runtime::{Head, Index, Model};
use eigenlet_shared::description::Clusters;
use eigenlet_shared::writer::AlignedBytes;
use eigenlet_trainer::data::idx;
use eigenlet_trainer::error::{Error, Result};
use eigenlet_trainer::inference;

/// Codes that are remembered: those of the first images.
const GALLERY: usize = 256;
/// Bytes of the longest code.
const BYTES: usize = 8;

/// Answers, how many were those of the whole computation, and what was computed for them.
#[derive(Default)]
struct Tally {
    answers: usize,
    equal: usize,
    computed: usize,
    stopped: usize,
}

impl Tally {
    fn add(&mut self, found: u32, expected: u32, computed: u16, all: u16) {
        self.answers += 1;
        self.equal += usize::from(found == expected);
        self.computed += usize::from(computed);
        self.stopped += usize::from(computed < all);
    }

    /// Prints what was found, `macs` being the multiply-accumulates of all rows and `layers` those before.
    fn print(&self, what: &str, all: u16, macs: u64, layers: u64) {
        let share = 1.0 - self.computed as f64 / (self.answers * usize::from(all)).max(1) as f64;
        println!(
            "{what}: {} of {} equal; {:.2} of {all} computed, {} stopped early; {:.1} % of the head's multiply-accumulates \
             saved, {:.2} % of all",
            self.equal,
            self.answers,
            self.computed as f64 / self.answers.max(1) as f64,
            self.stopped,
            100.0 * share,
            100.0 * share * macs as f64 / (layers + macs) as f64
        );
    }
}

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn measure() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, images] = &arguments[..] else {
        return Err(Error::input("arguments", "a wrong number", "MODEL and IMAGES", arguments.len()));
    };
    let bytes = std::fs::read(path).map_err(|error| Error::reading(Path::new(path), error))?;
    let bytes = AlignedBytes::from(&bytes[..]);
    let model = Model::parse(&bytes).map_err(|error| Error::input(path, error, "a model", "another file"))?;
    let images = idx::images(Path::new(images))?;
    let rows = images.rows();
    let bits = model.bits();
    // Prototypes compare their first dimensions.
    let description = inference::description(&model)?;
    let Some(Clusters::Prototypes { dims, .. }) = description.clusters else {
        return Err(Error::input(path, "no prototypes", "clusters by prototypes", "another head, or none"));
    };
    if usize::from(bits) != 8 * BYTES {
        return Err(Error::input(path, "another length of code", format!("{} bits", 8 * BYTES), bits));
    }
    let mut memory = inference::arena(&model);
    let arena: &mut [i8] = bytemuck::cast_slice_mut(&mut memory);
    let fault = |error| Error::Check(format!("{error}"));
    let mut index = Index::<BYTES, GALLERY>::new();
    for (row, id) in rows.iter().take(GALLERY).zip(0..) {
        let code = model.run(arena, row).map_err(fault)?.hash::<BYTES>().map_err(fault)?;
        index.insert(code, id).map_err(|full| Error::Check(format!("{full}")))?;
    }
    let (mut clusters, mut neighbours) = (Tally::default(), Tally::default());
    for row in &rows {
        let mut features = model.run(arena, row).map_err(fault)?;
        let early = features.assign_early().map_err(fault)?;
        clusters.add(early.id, features.assign().map_err(fault)?.id.into(), early.computed, dims);
        let code = features.hash::<BYTES>().map_err(fault)?;
        let expected = index.nearest::<1>(&code).first().map_or(0, |hit| hit.id);
        let early = features.nearest_early(&index).map_err(fault)?;
        neighbours.add(early.map_or(u32::MAX, |early| early.id), expected, early.map_or(0, |e| e.computed), bits);
    }
    let layers = model.macs_for(0);
    let row = model.features() as u64;
    println!("{} images, {} multiply-accumulates in the layers", rows.len(), layers);
    clusters.print("clusters", dims, row * u64::from(dims), layers);
    neighbours.print("nearest codes", bits, model.head_macs(Head::Hash), layers);
    Ok(clusters.equal == clusters.answers && neighbours.equal == neighbours.answers)
}
