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
            parameters,
            optimizer: trainee.optimizer.to_bytes(),
            objective: trainee.objective.state(),
        }
    }

    /// Puts the checkpoint into a fresh trainee of the same recipe.
    ///
    /// # Errors
    /// A checkpoint of another network.
    pub fn restore<B: Trainable>(self, mut trainee: Trainee<B>, device: &B::Device) -> Result<Trainee<B>> {
        let other = || {
            let expected = "a checkpoint of this recipe's network and optimiser";
            Error::input("checkpoint", "it does not fit the recipe", expected, "another one")
        };
        let record =
            BinBytesRecorder::<FullPrecisionSettings>::default().load(self.parameters, device).map_err(|_| other())?;
        let parameters = trainee.encoder.parameters.clone().load_record(record);
        let shapes = |parameters: &crate::network::encoder::Parameters<B>| -> Vec<[usize; 2]> {
            parameters.affines.iter().map(|affine| affine.weight.val().dims()).collect()
        };
        if shapes(&parameters) != shapes(&trainee.encoder.parameters) {
            return Err(other());
        }
        trainee.encoder.parameters = parameters;
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
