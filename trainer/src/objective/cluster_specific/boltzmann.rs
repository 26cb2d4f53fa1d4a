//! Restricted Boltzmann machines, trained by contrastive divergence (Hinton 2002).
//!
//! ```text
//! bits:    F_j(v) = -a.v - sum_h softplus(b_jh + w_jh.v)
//! numbers: F_j(v) = |v - c_j - a|^2 / 2 - sum_h softplus(b_jh + w_jh.(v - c_j))        values in units of `deviation`
//! l_ij = F_j(v) - F_j(v after k steps of machine j)                                    the chain's end is a constant
//! ```
//!
//! Free energies of two machines differ by the unknown logarithms of their partition functions, so assignments compare
//! something else: how well a machine gives a sample back from its hidden units' probabilities.

use burn::tensor::activation::{sigmoid, softplus};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{Case, Family, Frame, Losses, Position};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Extra, Trainable};

/// Settings of the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BoltzmannSpec {
    /// Steps of the chain, from 1.
    pub steps: usize,
    /// What the visible units are.
    pub visible: Visible,
    /// Standard deviation of `numbers`, above 0.
    pub deviation: f64,
}

/// What visible units are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visible {
    /// Bits; a value in `[0, 1]` counts as the probability of one. Centres are not subtracted: differences are no bits.
    Bits,
    /// Normal numbers about the centre.
    Numbers,
}

impl Default for BoltzmannSpec {
    fn default() -> Self {
        Self { steps: 1, visible: Visible::Bits, deviation: 1.0 }
    }
}

impl BoltzmannSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// No steps, a `deviation` that is not positive.
    pub fn check(&self) -> Result<()> {
        if !(1..=1000).contains(&self.steps) {
            return Err(Error::input("objective.family.steps", "impossible value", "1 to 1000", self.steps));
        }
        if !(self.deviation > 0.0 && self.deviation.is_finite()) {
            let what = "impossible value";
            return Err(Error::input("objective.family.deviation", what, "a positive number", self.deviation));
        }
        Ok(())
    }
}

/// What machines learn beside weights and hidden biases: the visible bias, which all share.
pub fn visible_bias(size: usize) -> Vec<Extra> {
    vec![Extra { shape: [1, size], deviation: 0.0 }]
}

/// The machines, side by side: `K` of them over `d` visible and `h` hidden units each.
pub struct Machines<B: Backend> {
    /// `[K, d, h]`
    pub weights: Tensor<B, 3>,
    /// `[K, 1, h]`
    pub hidden: Tensor<B, 3>,
    /// `[1, 1, d]`
    pub visible: Tensor<B, 3>,
    /// What visible units are.
    pub kind: Visible,
}

impl<B: Backend> Machines<B> {
    /// Hidden units' inputs, `[K, n, h]`, for visible units `[K, n, d]`.
    pub fn inputs(&self, visible: Tensor<B, 3>) -> Tensor<B, 3> {
        visible.matmul(self.weights.clone()) + self.hidden.clone()
    }

    /// The free energy, `[K, n]`.
    pub fn free_energy(&self, visible: Tensor<B, 3>) -> Tensor<B, 2> {
        let [machines, n, _] = visible.dims();
        let own = match self.kind {
            Visible::Bits => -(visible.clone() * self.visible.clone()),
            Visible::Numbers => (visible.clone() - self.visible.clone()).square() / 2.0,
        };
        let hidden = softplus(self.inputs(visible), 1.0).sum_dim(2);
        (own.sum_dim(2) - hidden).reshape([machines, n])
    }

    /// What visible units become on average, `[K, n, d]`, for hidden units `[K, n, h]`.
    pub fn visible_mean(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        let inputs = hidden.matmul(self.weights.clone().swap_dims(1, 2)) + self.visible.clone();
        match self.kind {
            Visible::Bits => sigmoid(inputs),
            Visible::Numbers => inputs,
        }
    }

    /// Where chains of `steps` steps of block Gibbs sampling end that begin at `visible`, `[K, n, d]`.
    pub fn chain(&self, visible: Tensor<B, 3>, steps: usize, seed: u64, seen: u64) -> Tensor<B, 3> {
        let mut chance = Chance::new(seed, seen);
        (0..steps).fold(visible, |visible, _| self.step(visible, &mut chance))
    }

    fn step(&self, visible: Tensor<B, 3>, chance: &mut Chance) -> Tensor<B, 3> {
        let hidden = chance.bits(sigmoid(self.inputs(visible)));
        let mean = self.visible_mean(hidden);
        match self.kind {
            Visible::Bits => chance.bits(mean),
            Visible::Numbers => chance.normal(mean),
        }
    }

    /// How far `visible` is from what its hidden probabilities give back, per value, `[K, n]`: cross-entropy in nats of bits,
    /// half the squared error of numbers.
    pub fn misfit(&self, visible: Tensor<B, 3>) -> Tensor<B, 2> {
        let [machines, n, size] = visible.dims();
        let hidden = sigmoid(self.inputs(visible.clone()));
        let inputs = hidden.matmul(self.weights.clone().swap_dims(1, 2)) + self.visible.clone();
        let misfit = match self.kind {
            Visible::Bits => softplus(inputs.clone(), 1.0) - inputs * visible,
            Visible::Numbers => (inputs - visible).square() / 2.0,
        };
        misfit.sum_dim(2).reshape([machines, n]) / size as f64
    }
}

/// Random numbers that depend on nothing but the run's seed and the batch.
struct Chance(ChaCha8Rng);

impl Chance {
    fn new(seed: u64, seen: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(seen);
        Self(rng)
    }

    fn like<B: Backend>(&mut self, shape: &Tensor<B, 3>, mut draw: impl FnMut(&mut ChaCha8Rng) -> f32) -> Tensor<B, 3> {
        let dims = shape.dims();
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| draw(&mut self.0)).collect();
        Tensor::from_data(TensorData::new(values, dims), &shape.device())
    }

    fn bits<B: Backend>(&mut self, probabilities: Tensor<B, 3>) -> Tensor<B, 3> {
        let draws = self.like(&probabilities, |rng| rng.random());
        draws.lower(probabilities).float()
    }

    fn normal<B: Backend>(&mut self, means: Tensor<B, 3>) -> Tensor<B, 3> {
        let draws = self.like(&means, |rng| StandardNormal.sample(rng));
        means + draws
    }
}

impl<B: Trainable> Family<B> for BoltzmannSpec {
    fn views(&self) -> &'static [View] {
        &[View::Plain]
    }

    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B> {
        let clusters = case.clusters();
        let last = case.encoder.parameters.affines.last().expect("a plan ends with a linear step");
        let [size, outputs] = last.weight.val().dims();
        let hidden = outputs / clusters;
        let machines = Machines {
            weights: last.weight.val().reshape([size, clusters, hidden]).permute([1, 0, 2]),
            hidden: last.bias.as_ref().expect("the output has a bias").val().reshape([clusters, 1, hidden]),
            visible: case.encoder.parameters.beside[0].val().reshape([1, 1, size]),
            kind: self.visible,
        };
        let seen = case.flat(0, n);
        let visible = match self.visible {
            Visible::Bits => seen.unsqueeze_dim::<3>(0).expand([clusters, n, size]),
            Visible::Numbers => (case.from_centres(seen) / self.deviation).swap_dims(0, 1),
        };
        let constant = machines.constant();
        let energy = machines.free_energy(visible.clone());
        let matrix = match case.position {
            None => energy,
            Some(Position { seed, seen, .. }) => {
                let end = constant.chain(visible.clone().inner(), self.steps, seed, seen);
                energy - machines.free_energy(Tensor::from_inner(end))
            }
        };
        let rule = constant.misfit(visible.inner()).transpose();
        let terms = vec![("reconstruction", rule.clone().min_dim(1).mean())];
        Losses { rule: Some(rule), terms, ..Losses::of(matrix.transpose() / size as f64) }
    }

    fn frame(&self) -> Frame {
        match self.visible {
            Visible::Bits => Frame { centred: false, unit: 1.0 },
            Visible::Numbers => Frame { centred: true, unit: self.deviation },
        }
    }
}

impl<B: Trainable> Machines<B> {
    /// The same machines without gradients.
    fn constant(&self) -> Machines<B::InnerBackend> {
        Machines {
            weights: self.weights.clone().inner(),
            hidden: self.hidden.clone().inner(),
            visible: self.visible.clone().inner(),
            kind: self.kind,
        }
    }
}
