//! Every backend that runs on a CPU trains alike: the same seed gives the same loss, step by step, but for rounding.

use eigenlet_trainer::augment::Views;
use eigenlet_trainer::backend::{Candle, Flex, NdArray};
use eigenlet_trainer::data::{DataKind, DataSource, Dataset};
use eigenlet_trainer::error::Result;
use eigenlet_trainer::network::spec::LayerSpec;
use eigenlet_trainer::network::{Encoder, NetworkSpec, Trainable};
use eigenlet_trainer::objective::ObjectiveSpec;
use eigenlet_trainer::train::optimizer::OptimizerSpec;
use eigenlet_trainer::train::source::Augmented;
use eigenlet_trainer::train::{Epoch, TrainSpec, Trainee, Watch, fit};

const STEPS: usize = 50;
const SAMPLES: usize = 256;

/// Keeps the loss of every epoch, with one batch an epoch that of every step, and the size of the largest number that went
/// into any: a loss that is a small difference of large terms is rounded as they are.
#[derive(Default)]
struct Losses {
    losses: Vec<f64>,
    scale: f64,
}

impl<B: Trainable> Watch<B> for Losses {
    fn epoch(&mut self, _: &Trainee<B>, epoch: &Epoch) -> Result<()> {
        self.losses.push(epoch.loss);
        let terms = epoch.terms.values().chain([&epoch.loss]);
        self.scale = terms.fold(self.scale, |largest, term| largest.max(term.abs()));
        Ok(())
    }
}

fn losses<B: Trainable>(objective: &ObjectiveSpec, device: &B::Device) -> Losses {
    let digits = DataSource { limit_train: Some(SAMPLES), ..DataSource::new(DataKind::Digits) };
    let data = Dataset::load(&digits, None).expect("the digits are shipped");
    let views: Views = toml::from_str(
        "kind = 'image'\n[first]\nshift = 0.5\nrotate = 8.0\n[second]\nshift = 0.8\nrotate = 10.0\nnoise = 0.05",
    )
    .expect("a table");
    let source = Augmented::new(&data.train.samples, data.raw_max, &views).expect("settings in their ranges");
    let network = NetworkSpec {
        layers: vec![
            LayerSpec::Conv2d { channels: 8, kernel: 3, stride: 2 },
            LayerSpec::DepthwiseConv2d { kernel: 3, stride: 1 },
            LayerSpec::MaxPool { kernel: 2 },
        ],
        projector: 24,
        dims: 8,
    };
    let plan = network.plan(data.train.samples.shape, objective.outputs(network.dims)).expect("the network fits");
    let encoder = Encoder::<B>::new(plan, 1, device).with_output_gain(objective.output_gain());
    let optimizer = OptimizerSpec::Sgd { rate: 0.02, momentum: 0.9, weight_decay: 1e-4 };
    let spec = TrainSpec { epochs: STEPS, batch: SAMPLES, warmup: 5, final_rate: 1e-3, optimizer };
    let trainee = Trainee::new(encoder, objective.build::<B>(), &spec);
    let mut losses = Losses::default();
    fit(trainee, &source, &spec, 1, device, &mut losses).expect("training succeeds");
    losses
}

#[test]
fn the_first_fifty_losses_of_every_objective_agree_on_all_cpu_backends() {
    for text in [
        "kind = 'neural-eigenmap'",
        "kind = 'sela'\nheads = 2\nclasses = 10\nupdates = 4",
        "kind = 'imsat-cluster'\n[smoothness]\nperturbation = 'vat-affine'",
        "kind = 'imsat-hash'\nbits = 8",
        "kind = 'hard-negative'\noutputs = 16",
        "kind = 'barlow-twins'\noutputs = 16",
        "kind = 'spectral-contrastive'",
    ] {
        let objective: ObjectiveSpec = toml::from_str(text).expect("an objective");
        let Losses { losses: flex, scale } = losses::<Flex>(&objective, &Default::default());
        assert!(flex.windows(2).any(|pair| pair[0] != pair[1]), "{text}: something is learned");
        for (name, others) in [
            ("ndarray", losses::<NdArray>(&objective, &Default::default()).losses),
            ("candle", losses::<Candle>(&objective, &Default::default()).losses),
        ] {
            let worst = flex.iter().zip(&others).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f64::max);
            println!("{}: {name} against flex: {worst:.1e} of the largest term", objective.name());
            assert_eq!(others.len(), STEPS);
            assert!(worst < 1e-4, "{text}: {name} is {worst:.1e} away from flex: {flex:?} {others:?}");
        }
    }
}
