//! Models to calibrate estimates of instructions with, and what the kernels do for them: `tests/scripts/calibrate` has them run on
//! emulated boards, and fits.
//!
//!     cargo run --release -p eigenlet-runtime --features card --example calibration -- FOLDER [MODEL.eigenlet]…
//!
//! Writes random models into FOLDER, and prints a line for each number of dimensions that the firmware's self-test counts, of
//! theirs and of each MODEL: the file, the dimensions, the kernels, and the counts of `Work`, each behind its name, with tabs between.

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::{env, fs};

use common::{ClusterPlan, HashPlan, ModelPlan, Plan, Random, TestModel, output_shape};
use eigenlet_runtime::{Kernels, Model, Sample};
use eigenlet_shared::description::{Raw, Window};
use eigenlet_shared::writer::AlignedBytes;

/// Dimensions that the self-test counts.
const PREFIXES: [u16; 4] = [4, 8, 16, 32];
/// Models of a layer of each kind, or two: what is fitted to.
const LAYERS: usize = 26;
/// Whole networks: what the fit is judged by.
const NETWORKS: usize = 30;
/// Bytes of activations that most boards have room for, and that all have.
const ROOM: usize = 16 * 1024;
const SMALL: usize = 4 * 1024;

fn main() {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().expect("usage: calibration FOLDER [MODEL.eigenlet]…");
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).expect("the folder can be made");
    let mut random = Random(11);
    for (name, kind) in KINDS {
        let mut number = 0;
        while number < LAYERS {
            let room = if number % 2 == 0 { SMALL } else { ROOM };
            number += usize::from(write(folder, &format!("{name}-{number}"), room, kind(&mut random), &mut random));
        }
    }
    let mut number = 0;
    while number < NETWORKS {
        let room = if number % 2 == 0 { SMALL } else { ROOM };
        number += usize::from(write(folder, &format!("network-{number}"), room, network(&mut random), &mut random));
    }
    for path in arguments {
        let bytes = fs::read(&path).expect("the model is readable");
        print(path.as_ref(), &AlignedBytes::from(&bytes[..]));
    }
}

/// An input and layers.
type Layers = ([u16; 3], Vec<Plan>);
type Kind = fn(&mut Random) -> Layers;

/// The kind whose samples are indices.
const INDICES: &str = "indices";

const KINDS: [(&str, Kind); 8] = [
    ("dense", dense),
    (INDICES, indices),
    ("convolution", convolution),
    ("pointwise", pointwise),
    ("depthwise", depthwise),
    ("pool", pool),
    ("sum", sum),
    ("bare", bare),
];

/// Writes a model with random constants, if it has room; whether it was written.
fn write(folder: &Path, name: &str, room: usize, (input, layers): Layers, random: &mut Random) -> bool {
    let rows = PREFIXES[random.below(4)];
    let (hash, clusters, experts) = heads(random);
    let plan = ModelPlan {
        input,
        raw: if name.starts_with(INDICES) { Raw::Indices } else { Raw::U8 },
        layers,
        rows,
        hash,
        clusters,
        experts,
        golden: 1,
        seed: random.next(),
    };
    let (mut shape, mut largest) = (input.map(usize::from), 0);
    for layer in &plan.layers {
        shape = if let Plan::Recall(_) = layer { shape } else { output_shape(shape, layer) };
        largest = largest.max(shape.iter().product());
    }
    // Before anything is computed.
    if largest > room {
        return false;
    }
    let blob = TestModel::new(&plan).blob;
    let Ok(model) = Model::parse(&blob) else { return false };
    if model.arena_bytes() > room {
        return false;
    }
    let path = folder.join(format!("{name}.eigenlet"));
    fs::write(&path, &*blob).expect("the folder is writable");
    print(&path, &blob);
    true
}

/// Heads beside the embedding: they are not run, but read.
fn heads(random: &mut Random) -> (Option<HashPlan>, Option<ClusterPlan>, u16) {
    let thresholds = Some(HashPlan::Thresholds(8));
    match random.below(5) {
        0 => (None, None, 0),
        1 => (thresholds, None, 0),
        2 => (thresholds, Some(ClusterPlan::Prototypes { count: 3, dims: 4 }), 0),
        3 => (thresholds, Some(ClusterPlan::Residual(3)), 4),
        _ => (Some(HashPlan::Product { heads: 2, classes: 4 }), Some(ClusterPlan::Head(1)), 0),
    }
}

/// What the kernels do for a model.
fn print(path: &Path, blob: &[u8]) {
    let model = Model::parse(blob).expect("a model that is valid");
    let ones = match model.golden().next().expect("a golden vector").sample {
        Sample::Indices(indices) => indices.len(),
        Sample::Bytes(_) => 0,
    };
    for dims in PREFIXES.into_iter().filter(|dims| *dims <= model.dims()) {
        for (word, kernels) in [("dsp", Kernels::Dsp), ("portable", Kernels::Portable)] {
            let counts = model.work(kernels, ones, dims).counts().map(|(name, count)| format!("{name}\t{count}"));
            println!("{}\t{dims}\t{word}\t{}", path.display(), counts.join("\t"));
        }
    }
}

fn one_of<const N: usize, T: Copy>(random: &mut Random, values: [T; N]) -> T {
    values[random.below(N)]
}

/// A side of an image, small ones more often.
fn side(random: &mut Random) -> u16 {
    one_of(random, [3, 4, 5, 6, 7, 8, 8, 9, 10, 12, 13, 14, 16, 20, 28])
}

fn channels(random: &mut Random) -> u16 {
    one_of(random, [1, 2, 3, 4, 5, 6, 8, 8, 12, 15, 16, 16, 24, 32])
}

/// An image that a window of some size has room in.
fn image(random: &mut Random) -> [u16; 3] {
    let height = side(random);
    let width = if random.below(3) == 0 { side(random) } else { height };
    [height, width, channels(random)]
}

/// A window, padded as it stands, to keep the size, or not at all.
fn window(random: &mut Random, kernel: [u8; 2]) -> Window {
    let stride = one_of(random, [[1, 1], [1, 1], [1, 1], [2, 2], [2, 2], [2, 1]]);
    let [height, width] = kernel;
    let padding = match random.below(4) {
        0 => [0; 4],
        // All that is needed for a stride of 2 and an even side.
        1 => [(height - 1) / 2, (width - 1) / 2, height / 2, width / 2],
        _ => [height / 2, width / 2, (height - 1) / 2, (width - 1) / 2],
    };
    Window { kernel, stride, padding }
}

fn dense(random: &mut Random) -> Layers {
    let inputs = one_of(
        random,
        [[1, 1, 24], [1, 1, 63], [1, 1, 128], [8, 8, 1], [8, 8, 3], [1, 1, 513], [16, 16, 3], [28, 28, 1]],
    );
    let outputs = |random: &mut Random| one_of(random, [5, 10, 16, 31, 32, 62, 64, 99, 100]);
    let mut layers = vec![Plan::Dense(outputs(random))];
    for _ in 0..random.below(3) {
        layers.push(Plan::Dense(outputs(random)));
    }
    (inputs, layers)
}

/// A dense layer over few ones or many.
fn indices(random: &mut Random) -> Layers {
    let inputs = one_of(random, [64, 200, 333, 784]);
    ([1, 1, inputs], vec![Plan::Dense(one_of(random, [8, 10, 31, 62, 64]))])
}

fn convolution(random: &mut Random) -> Layers {
    let input = image(random);
    let kernel = one_of(random, [[3, 3], [3, 3], [3, 3], [5, 5], [3, 1], [1, 3], [2, 2], [1, 5]]);
    let kernel = fitting(kernel, input);
    (input, vec![Plan::Conv2d(channels(random), window(random, kernel))])
}

/// A kernel no larger than the image.
fn fitting([height, width]: [u8; 2], input: [u16; 3]) -> [u8; 2] {
    [height.min(input[0] as u8), width.min(input[1] as u8)]
}

fn pointwise(random: &mut Random) -> Layers {
    let stride = one_of(random, [[1, 1], [1, 1], [1, 1], [2, 2]]);
    (image(random), vec![Plan::Conv2d(channels(random), Window { kernel: [1, 1], stride, padding: [0; 4] })])
}

fn depthwise(random: &mut Random) -> Layers {
    let input = image(random);
    let kernel = fitting(one_of(random, [[3, 3], [3, 3], [3, 3], [5, 5], [3, 1], [2, 2], [7, 7]]), input);
    (input, vec![Plan::DepthwiseConv2d(window(random, kernel))])
}

fn pool(random: &mut Random) -> Layers {
    let input = image(random);
    let kernel = fitting(one_of(random, [[2, 2], [2, 2], [3, 3], [2, 1], [4, 4]]), input);
    let window = Window { stride: one_of(random, [kernel, kernel, [1, 1]]), ..window(random, kernel) };
    (input, vec![if random.below(2) == 0 { Plan::MaxPool2d(window) } else { Plan::AveragePool2d(window) }])
}

/// A residual block.
fn sum(random: &mut Random) -> Layers {
    let input = image(random);
    let same = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
    let branch = if random.below(2) == 0 { Plan::Conv2d(input[2], same) } else { Plan::DepthwiseConv2d(same) };
    (input, vec![branch, Plan::Add(0)])
}

/// No layer at all.
fn bare(random: &mut Random) -> Layers {
    (image(random), Vec::new())
}

/// A small network as they are trained: convolutions, pooling, a dense layer or none.
fn network(random: &mut Random) -> Layers {
    let input =
        [one_of(random, [8, 8, 12, 14, 16, 28]), one_of(random, [8, 8, 12, 14, 16, 28]), one_of(random, [1, 1, 2, 3])];
    let mut shape = input.map(usize::from);
    let mut layers = Vec::new();
    let push = |layers: &mut Vec<Plan>, shape: &mut [usize; 3], layer: Plan| {
        *shape = output_shape(*shape, &layer);
        layers.push(layer);
    };
    let same = |stride: [u8; 2]| Window { kernel: [3, 3], stride, padding: [1; 4] };
    let outputs = one_of(random, [8, 8, 12, 16]);
    let stride = one_of(random, [[1, 1], [1, 1], [2, 2]]);
    push(&mut layers, &mut shape, Plan::Conv2d(outputs, same(stride)));
    for _ in 0..random.below(4) {
        let stride = one_of(random, [[1, 1], [2, 2], [2, 2]]);
        let outputs = one_of(random, [8, 10, 16, 24, 32]);
        match random.below(4) {
            0 if shape[0] > 1 && shape[1] > 1 => {
                let halves = Window { kernel: [2, 2], stride: [2, 2], padding: [0; 4] };
                push(&mut layers, &mut shape, Plan::MaxPool2d(halves));
            }
            1 => {
                push(&mut layers, &mut shape, Plan::DepthwiseConv2d(same(stride)));
                let point = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4] };
                push(&mut layers, &mut shape, Plan::Conv2d(outputs, point));
            }
            2 => {
                let from = layers.len();
                let branch = Plan::Conv2d(shape[2] as u16, same([1, 1]));
                push(&mut layers, &mut shape, branch);
                layers.push(Plan::Add(from));
            }
            _ => push(&mut layers, &mut shape, Plan::Conv2d(outputs, same(stride))),
        }
    }
    match random.below(3) {
        0 => {
            let all = Window { kernel: [shape[0] as u8, shape[1] as u8], stride: [1, 1], padding: [0; 4] };
            push(&mut layers, &mut shape, Plan::AveragePool2d(all));
        }
        1 => push(&mut layers, &mut shape, Plan::Dense(one_of(random, [24, 32, 64]))),
        _ => {}
    }
    (input, layers)
}
