//! Everything that a resumed run needs to continue to the same bytes, in one file.

use std::path::Path;

use burn::module::Module;
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Trainee;
use crate::error::{Error, Result};
use crate::network::Trainable;
use crate::objective::State;

/// A run after some epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Epochs done.
    pub epochs: usize,
    /// Which network and optimiser it is of, as [`subject`] says it.
    subject: String,
    /// burn's record of the parameters, full precision.
    parameters: Vec<u8>,
    /// burn's record of the optimiser, full precision.
    optimizer: Vec<u8>,
    /// The objective's own state.
    objective: State,
}

impl Checkpoint {
    /// Of a trainee as it is.
    pub fn of<B: Trainable>(trainee: &Trainee<B>) -> Self {
        let parameters = BinBytesRecorder::<FullPrecisionSettings>::default()
            .record(Module::<B>::into_record(trainee.encoder.parameters.clone()), ())
            .expect("recording to memory does not fail");
        Self {
            epochs: trainee.epochs,
            subject: subject(trainee),
            parameters,
            optimizer: trainee.optimizer.to_bytes(),
            objective: trainee.objective.state(),
        }
    }

    /// Puts the checkpoint into a fresh trainee of the same recipe.
    ///
    /// # Errors
    /// A checkpoint of another network or optimiser.
    pub fn restore<B: Trainable>(self, mut trainee: Trainee<B>, device: &B::Device) -> Result<Trainee<B>> {
        let expected = subject(&trainee);
        let found = self.subject.clone();
        let other = || Error::input("checkpoint", "it does not fit the recipe", &expected, &found);
        if found != expected {
            return Err(other());
        }
        let record =
            BinBytesRecorder::<FullPrecisionSettings>::default().load(self.parameters, device).map_err(|_| other())?;
        trainee.encoder.parameters = trainee.encoder.parameters.load_record(record);
        trainee.optimizer = trainee.optimizer.load(self.optimizer, device).ok_or_else(other)?;
        trainee.objective.restore(self.objective, device);
        trainee.epochs = self.epochs;
        Ok(trainee)
    }

    /// Writes the file beside its place and renames it, so that there is always a whole one.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> Result<()> {
        let body = postcard::to_stdvec(self).expect("encoding to memory does not fail");
        let digest = Sha256::digest(&body);
        crate::files::write_beside(path, |file| {
            file.write_all(&digest)?;
            file.write_all(&body)
        })
    }

    /// Reads a file that [`Checkpoint::write`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or whose digest does not match.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::reading(path, error))?;
        let damaged = || {
            let expected = "a checkpoint whose digest matches";
            Error::input(path.display(), "the checkpoint is damaged", expected, format!("{} bytes", bytes.len()))
        };
        let (digest, body) = bytes.split_at_checked(32).ok_or_else(damaged)?;
        if digest != &Sha256::digest(body)[..] {
            return Err(damaged());
        }
        postcard::from_bytes(body).map_err(|_| damaged())
    }
}

/// The version of what is recorded: one more with every change to the records' fields.
const VERSION: u32 = 2;

/// The version, the optimiser and the layers with weights. burn's records do not say what they are of, and loading one into
/// another network or optimiser panics.
fn subject<B: Trainable>(trainee: &Trainee<B>) -> String {
    let steps = trainee.encoder.plan.steps.iter();
    let layers = steps.filter_map(|step| {
        let [inputs, outputs] = step.weight_shape()?;
        Some(format!(", {} {inputs}x{outputs}", step.operation.name()))
    });
    let beside = trainee.encoder.parameters.beside.iter().map(|matrix| {
        let [rows, columns] = matrix.val().dims();
        format!(", beside {rows}x{columns}")
    });
    std::iter::once(format!("version {VERSION}, {}", trainee.optimizer.name())).chain(layers).chain(beside).collect()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::augment::View;
    use crate::backend::Flex;
    use crate::network::encoder::Parameters;
    use crate::network::spec::LayerSpec;
    use crate::network::{Encoder, NetworkSpec};
    use crate::objective::ObjectiveSpec;
    use crate::objective::neural_eigenmap::NeuralEigenmapSpec;
    use crate::train::optimizer::OptimizerSpec;
    use crate::train::source::Source;
    use crate::train::{Epoch, TrainSpec, Watch, fit};

    /// Two noisy numbers about each sample.
    struct Noise;

    impl Source for Noise {
        fn len(&self) -> usize {
            50
        }

        fn shape(&self) -> [usize; 3] {
            [1, 1, 2]
        }

        fn view(&self, view: View, seed: u64, epoch: u64, samples: &[u32]) -> Vec<f32> {
            let value = |sample: u32, axis: u64| {
                let key = seed * 7 + epoch * 31 + view as u64 * 13 + u64::from(sample) * 3 + axis;
                ((sample + axis as u32) as f32).sin() + 0.3 * (key as f32).cos()
            };
            samples.iter().flat_map(|&sample| [value(sample, 0), value(sample, 1)]).collect()
        }
    }

    /// Keeps the checkpoint after one epoch.
    struct Keep {
        epoch: usize,
        kept: Option<Checkpoint>,
    }

    impl Watch<Flex> for Keep {
        fn epoch(&mut self, trainee: &Trainee<Flex>, epoch: &Epoch) -> Result<()> {
            if epoch.epoch == self.epoch {
                self.kept = Some(trainee.checkpoint());
            }
            Ok(())
        }
    }

    const ADAM: OptimizerSpec = OptimizerSpec::Adam { rate: 0.01, weight_decay: 0.01 };
    const SGD: OptimizerSpec = OptimizerSpec::Sgd { rate: 0.1, momentum: 0.9, weight_decay: 0.01 };
    const LARS: OptimizerSpec = OptimizerSpec::Lars { rate: 1.0, momentum: 0.9, weight_decay: 0.01 };

    fn spec(optimizer: &OptimizerSpec) -> TrainSpec {
        TrainSpec { epochs: 6, batch: 16, warmup: 2, final_rate: 0.1, optimizer: optimizer.clone() }
    }

    fn fresh(optimizer: &OptimizerSpec, units: usize, seed: u64) -> Trainee<Flex> {
        let network = NetworkSpec { layers: vec![LayerSpec::Dense { units }], projector: 5, dims: 2 };
        let encoder = Encoder::new(network.plan([1, 1, 2], network.dims + 1).unwrap(), seed, &Default::default());
        let objective = ObjectiveSpec::NeuralEigenmap(NeuralEigenmapSpec::default()).build::<Flex>();
        Trainee::new(encoder, objective, &spec(optimizer))
    }

    /// Trains to the end, keeping the checkpoint after the third epoch.
    fn trained(trainee: Trainee<Flex>, optimizer: &OptimizerSpec) -> (Trainee<Flex>, Option<Checkpoint>) {
        let mut keep = Keep { epoch: 3, kept: None };
        let trainee = fit(trainee, &Noise, &spec(optimizer), 4, &Default::default(), &mut keep).unwrap();
        (trainee, keep.kept)
    }

    /// Every bit of every tensor, running moments included, and the objective's state.
    fn bits(trainee: &Trainee<Flex>) -> (Vec<Vec<u32>>, State) {
        fn bits<const D: usize>(tensor: burn::tensor::Tensor<Flex, D>) -> Vec<u32> {
            tensor.into_data().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
        }
        let Parameters { affines, beside } = &trainee.encoder.parameters;
        let mut all: Vec<_> = beside.iter().map(|matrix| bits(matrix.val())).collect();
        for affine in affines {
            all.push(bits(affine.weight.val()));
            all.extend(affine.bias.as_ref().map(|bias| bits(bias.val())));
            if let Some(norm) = &affine.norm {
                all.extend([bits(norm.gamma.val()), bits(norm.beta.val())]);
                all.extend([bits(norm.running_mean.value_sync()), bits(norm.running_var.value_sync())]);
            }
        }
        (all, trainee.objective.state())
    }

    #[test]
    fn a_resumed_run_ends_with_the_bytes_of_one_that_never_stopped() {
        let folder = tempfile::tempdir().unwrap();
        for optimizer in [ADAM, SGD, LARS] {
            let (straight, checkpoint) = trained(fresh(&optimizer, 6, 1), &optimizer);
            let path = folder.path().join("checkpoint");
            checkpoint.expect("the third epoch came").write(&path).unwrap();

            // Fresh weights of another seed, so that nothing comes from them.
            let resumed = fresh(&optimizer, 6, 2);
            let resumed = resumed.resume(Checkpoint::read(&path).unwrap(), &Default::default()).unwrap();
            assert_eq!(resumed.epochs, 3);
            assert_ne!(bits(&resumed), bits(&straight), "{optimizer:?}: three epochs change something");
            let (resumed, _) = trained(resumed, &optimizer);
            assert_eq!(bits(&resumed), bits(&straight), "{optimizer:?}");
        }
    }

    #[test]
    fn the_same_seed_trains_to_the_same_bytes() {
        for optimizer in [ADAM, SGD, LARS] {
            let run = |seed| bits(&trained(fresh(&optimizer, 6, seed), &optimizer).0);
            assert_eq!(run(1), run(1), "{optimizer:?}");
            assert_ne!(run(1), run(2), "{optimizer:?}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_network_or_optimiser_is_refused() {
        let (_, checkpoint) = trained(fresh(&ADAM, 6, 1), &ADAM);
        let checkpoint = checkpoint.unwrap();
        let refused = |trainee: Trainee<Flex>| match trainee.resume(checkpoint.clone(), &Default::default()) {
            Ok(_) => panic!("the checkpoint was taken"),
            Err(error) => error.to_string(),
        };
        for (other, subject) in [
            (fresh(&ADAM, 7, 1), "adam, dense 2x7, dense 7x5, linear 5x3"),
            (fresh(&SGD, 6, 1), "sgd, dense 2x6, dense 6x5, linear 5x3"),
            (fresh(&LARS, 6, 1), "lars, dense 2x6, dense 6x5, linear 5x3"),
        ] {
            let found = "adam, dense 2x6, dense 6x5, linear 5x3";
            let [expected, found] = [subject, found].map(|subject| format!("version {VERSION}, {subject}"));
            let told = format!("checkpoint: it does not fit the recipe: expected {expected}, found {found}");
            assert_eq!(refused(other), told);
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let checkpoint = fresh(&ADAM, 6, 1).checkpoint();
        checkpoint.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint);

        let bytes = std::fs::read(&path).unwrap();
        for at in [0, 31, 32, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            let error = Checkpoint::read(&path).unwrap_err().to_string();
            assert!(error.contains("the checkpoint is damaged"), "{error}");
        }
        for length in [0, 31, 32, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(Checkpoint::read(&path).is_err(), "{length} bytes");
        }
        assert!(Checkpoint::read(&folder.path().join("missing")).is_err());
    }
}
