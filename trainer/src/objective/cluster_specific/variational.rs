//! Variational autoencoders (Kingma and Welling 2014): a sub-model's loss for a sample is its negative evidence lower bound,
//! in nats, divided by the number of values.
//!
//! ```text
//! q_j(z | x) = N(mu, exp(log_variance)),  p(z) = N(0, 1)
//! bits:    p_j(x | z) = Bernoulli(sigmoid(decode_j(z)))
//! numbers: p_j(x | z) = N(c_j + decode_j(z), deviation^2)
//! l_ij = (-ln p_j(x | z) + beta KL(q_j || p)) / d
//! ```

use burn::tensor::activation::{sigmoid, softplus};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::decoder::DecoderSpec;
use super::{Case, Family, Losses, normal};
use crate::augment::View;
use crate::error::{Error, Result};
use crate::network::{Encoder, Trainable};

/// Settings of the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VariationalSpec {
    /// Hidden layers of the decoders.
    pub decoder: DecoderSpec,
    /// Weight of the divergence, above 0; at 1 the loss is the evidence lower bound.
    pub beta: f64,
    /// How values are distributed.
    pub likelihood: Likelihood,
    /// Standard deviation of `numbers`, above 0.
    pub deviation: f64,
}

/// How a sample's values are distributed around what is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Likelihood {
    /// Each value is the probability of a bit: for values in `[0, 1]`, mostly near their ends.
    Bits,
    /// Normal.
    Numbers,
}

impl Default for VariationalSpec {
    fn default() -> Self {
        let decoder = DecoderSpec { units: vec![64], maps: Vec::new() };
        Self { decoder, beta: 1.0, likelihood: Likelihood::Numbers, deviation: 0.1 }
    }
}

/// Log-variances are held between these: a deviation of 0.0067 to 148.
const LOG_VARIANCE: [f64; 2] = [-10.0, 10.0];

impl VariationalSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A hidden layer without units, a `beta` or `deviation` that is not positive.
    pub fn check(&self) -> Result<()> {
        self.decoder.check()?;
        for (key, value) in [("beta", self.beta), ("deviation", self.deviation)] {
            if !(value > 0.0 && value.is_finite()) {
                let place = format!("objective.family.{key}");
                return Err(Error::input(place, "impossible value", "a positive number", value));
            }
        }
        Ok(())
    }

    /// `-ln p(x | z)` of each sample under each sub-model, `[n, clusters]`.
    fn misfit<B: Trainable>(&self, case: &Case<B>, decoded: Tensor<B, 3>, samples: Tensor<B, 2>) -> Tensor<B, 2> {
        let [n, clusters, size] = decoded.dims();
        let misfit = match self.likelihood {
            // -x ln s - (1 - x) ln(1 - s) = softplus(logit) - x logit. Logits are not values: no centre is added.
            Likelihood::Bits => softplus(decoded.clone(), 1.0) - decoded * samples.unsqueeze_dim::<3>(1),
            Likelihood::Numbers => {
                let constant = (2.0 * std::f64::consts::PI).ln() / 2.0 + self.deviation.ln();
                (decoded - case.from_centres(samples)).square() / (2.0 * self.deviation.powi(2)) + constant
            }
        };
        misfit.sum_dim(2).reshape([n, clusters]) / size as f64
    }
}

/// `KL(N(mu, exp(log_variance)) || N(0, 1))`, summed over the last axis: `[n, clusters]`.
pub fn divergence<B: Trainable>(mu: Tensor<B, 3>, log_variance: Tensor<B, 3>) -> Tensor<B, 2> {
    let [n, clusters, _] = mu.dims();
    let terms = mu.square() + log_variance.clone().exp() - log_variance - 1.0;
    terms.sum_dim(2).reshape([n, clusters]) / 2.0
}

impl<B: Trainable> Family<B> for VariationalSpec {
    fn views(&self) -> &'static [View] {
        &[View::Plain]
    }

    fn losses(&self, case: &Case<B>, n: usize) -> Losses<B> {
        let outputs = case.outputs(case.images.clone());
        let [_, clusters, width] = outputs.dims();
        let code = width / 2;
        let mu = outputs.clone().narrow(2, 0, code);
        let log_variance = outputs.narrow(2, code, code).clamp(LOG_VARIANCE[0], LOG_VARIANCE[1]);
        // Assignments of a trained model are those of the mean: no chance in them.
        let codes = match case.position {
            None => mu.clone(),
            Some(position) => {
                let draws = normal(position.seed, position.seen, n * clusters * code);
                let draws = Tensor::from_data(TensorData::new(draws, [n, clusters, code]), &mu.device());
                mu.clone() + (log_variance.clone() / 2.0).exp() * draws
            }
        };
        let samples = case.flat(0, n);
        let size = samples.dims()[1] as f64;
        let misfit = self.misfit(case, case.decoded(&self.decoder, codes), samples);
        let divergence = divergence(mu, log_variance) / size;
        let terms = vec![("divergence", divergence.clone().inner().mean())];
        Losses { terms, ..Losses::of(misfit + divergence * self.beta) }
    }
    fn draw(&self, encoder: &Encoder<B>, centres: Tensor<B, 2>, codes: Tensor<B, 3>) -> Option<Tensor<B, 3>> {
        let decoded = self.decoder.decode(&encoder.parameters, codes, encoder.plan.input);
        // The most probable values: what chance adds to each alone would hide them.
        let values = match self.likelihood {
            Likelihood::Bits => sigmoid(decoded),
            Likelihood::Numbers => decoded + centres.unsqueeze_dim::<3>(0),
        };
        Some(values.swap_dims(0, 1))
    }
}
