//! What a graph costs: time and memory of building a block model and of learning from each of its edges once, for more and more nodes.
//!
//!     cargo run --release -p eigenlet-trainer --example graph_cost [NODES…]

use std::time::Instant;

use eigenlet_trainer::augment::Views;
use eigenlet_trainer::backend::Flex;
use eigenlet_trainer::data::Samples;
use eigenlet_trainer::error::Result;
use eigenlet_trainer::graph::generate::BlockModel;
use eigenlet_trainer::network::spec::LayerSpec;
use eigenlet_trainer::network::{Encoder, NetworkSpec};
use eigenlet_trainer::objective::ObjectiveSpec;
use eigenlet_trainer::objective::neural_eigenmap::NeuralEigenmapSpec;
use eigenlet_trainer::train::optimizer::OptimizerSpec;
use eigenlet_trainer::train::pairs::{PairsSpec, Steps};
use eigenlet_trainer::train::source::Augmented;
use eigenlet_trainer::train::{Epoch, TrainSpec, Trainee, Watch, fit};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Mean neighbours of a node within its block and in the other: ten edges a node.
const NEIGHBOURS: [f64; 2] = [16.0, 4.0];
/// Features of a node.
const FEATURES: usize = 16;

struct Unwatched;

impl Watch<Flex> for Unwatched {
    fn epoch(&mut self, _: &Trainee<Flex>, _: &Epoch) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<()> {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|nodes| nodes.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { asked };
    println!(
        "{:>9} {:>10} {:>9} {:>9} {:>14} {:>9}",
        "nodes", "edges", "graph, s", "epoch, s", "edges a second", "peak, MB"
    );
    for nodes in sizes {
        let start = Instant::now();
        let model = BlockModel::with_mean_degrees(vec![nodes / 2, nodes - nodes / 2], NEIGHBOURS[0], NEIGHBOURS[1], 1);
        let (graph, survey, blocks) = model.sample()?;
        let built = start.elapsed().as_secs_f64();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let raw = blocks.iter().flat_map(|&block| {
            let middle = 100 + 50 * block as u8;
            std::array::from_fn::<u8, FEATURES, _>(|_| rng.random_range(0..100) + middle)
        });
        let samples = Samples { shape: [1, 1, FEATURES], raw: raw.collect() };
        let views = Augmented::new(&samples, u8::MAX, &Views::default())?;
        let steps = Steps::new(views, &graph, &PairsSpec::Graph { self_loops: false, steps: 1 })?;

        let objective = ObjectiveSpec::NeuralEigenmap(NeuralEigenmapSpec::default());
        let network = NetworkSpec { layers: vec![LayerSpec::Dense { units: 32 }], projector: 0, dims: 4 };
        let plan = network.plan(samples.shape, objective.outputs(network.dims))?;
        let optimizer = OptimizerSpec::Adam { rate: 1e-3, weight_decay: 0.0 };
        let train = TrainSpec { epochs: 1, batch: 1024, warmup: 0, final_rate: 1.0, optimizer };
        let device = Default::default();
        let trainee = Trainee::new(Encoder::<Flex>::new(plan, 1, &device), objective.build::<Flex>(), &train);
        let start = Instant::now();
        fit(trainee, &steps, &train, 1, &device, &mut Unwatched)?;
        let learned = start.elapsed().as_secs_f64();
        let rate = survey.edges as f64 / learned;
        println!("{nodes:>9} {:>10} {built:>9.2} {learned:>9.1} {rate:>14.0} {:>9}", survey.edges, peak_megabytes());
    }
    Ok(())
}

/// The most memory that this process has held so far, where the system says it.
fn peak_megabytes() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|value| value.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kilobytes.map_or("?".into(), |kilobytes| (kilobytes / 1024).to_string())
}
