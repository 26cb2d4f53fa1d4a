//! Adam, SGD with momentum, and LARS behind one type. Adam and SGD are burn's; LARS is not in burn.

use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{Adam, AdamConfig, GradientsParams, LearningRate, Optimizer as _, Sgd, SgdConfig, SimpleOptimizer};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Record, Recorder};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::encoder::Parameters;

/// A recipe's `[train.optimizer]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Adam (Kingma and Ba 2015).
    Adam {
        /// Peak learning rate.
        rate: f64,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Peak learning rate.
        rate: f64,
        /// Weight of the past gradients.
        #[serde(default = "nine_tenths")]
        momentum: f64,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// LARS (You et al. 2017).
    Lars {
        /// Peak learning rate.
        rate: f64,
        /// Weight of the past gradients.
        #[serde(default = "nine_tenths")]
        momentum: f64,
        /// L2 penalty on matrices, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn nine_tenths() -> f64 {
    0.9
}

impl OptimizerSpec {
    /// Peak learning rate.
    pub fn rate(&self) -> f64 {
        match *self {
            Self::Adam { rate, .. } | Self::Sgd { rate, .. } | Self::Lars { rate, .. } => rate,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        let (rate, momentum, decay) = match *self {
            Self::Adam { rate, weight_decay } => (rate, 0.0, weight_decay),
            Self::Sgd { rate, momentum, weight_decay } | Self::Lars { rate, momentum, weight_decay } => {
                (rate, momentum, weight_decay)
            }
        };
        let place = |key: &str| format!("train.optimizer.{key}");
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(Error::input(place("rate"), "impossible value", "a positive number", rate));
        }
        if !(0.0..1.0).contains(&momentum) {
            return Err(Error::input(place("momentum"), "impossible value", "0 to below 1", momentum));
        }
        if !(decay >= 0.0 && decay.is_finite()) {
            return Err(Error::input(place("weight_decay"), "impossible value", "0 or more", decay));
        }
        Ok(())
    }
}

/// The optimiser of a network's parameters `M`, with its state.
pub enum Optimizer<B: AutodiffBackend, M: AutodiffModule<B> = Parameters<B>> {
    /// Adam.
    Adam(OptimizerAdaptor<Adam, M, B>),
    /// SGD.
    Sgd(OptimizerAdaptor<Sgd<B::InnerBackend>, M, B>),
    /// LARS.
    Lars(OptimizerAdaptor<Lars, M, B>),
}

impl<B: AutodiffBackend, M: AutodiffModule<B>> Optimizer<B, M> {
    /// With an empty state.
    pub fn new(spec: &OptimizerSpec) -> Self {
        let decay = |weight: f64| (weight > 0.0).then(|| WeightDecayConfig::new(weight as f32));
        match *spec {
            OptimizerSpec::Adam { weight_decay, .. } => {
                Self::Adam(AdamConfig::new().with_epsilon(1e-8).with_weight_decay(decay(weight_decay)).init())
            }
            OptimizerSpec::Sgd { momentum, weight_decay, .. } => {
                let momentum = MomentumConfig { momentum, dampening: 0.0, nesterov: false };
                let config = SgdConfig::new().with_momentum(Some(momentum));
                Self::Sgd(config.with_weight_decay(decay(weight_decay)).init())
            }
            OptimizerSpec::Lars { momentum, weight_decay, .. } => {
                Self::Lars(OptimizerAdaptor::from(Lars { momentum, weight_decay }))
            }
        }
    }

    /// The optimiser's name, as recipes write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adam(_) => "adam",
            Self::Sgd(_) => "sgd",
            Self::Lars(_) => "lars",
        }
    }

    /// One step.
    pub fn step(&mut self, rate: f64, parameters: M, gradients: GradientsParams) -> M {
        match self {
            Self::Adam(inner) => inner.step(rate, parameters, gradients),
            Self::Sgd(inner) => inner.step(rate, parameters, gradients),
            Self::Lars(inner) => inner.step(rate, parameters, gradients),
        }
    }

    /// The state as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        fn bytes<B: AutodiffBackend, R: Record<B>>(record: R) -> Vec<u8> {
            BinBytesRecorder::<FullPrecisionSettings>::default()
                .record(record, ())
                .expect("recording to memory does not fail")
        }
        match self {
            Self::Adam(inner) => bytes::<B, _>(inner.to_record()),
            Self::Sgd(inner) => bytes::<B, _>(inner.to_record()),
            Self::Lars(inner) => bytes::<B, _>(inner.to_record()),
        }
    }

    /// The optimiser with a state that [`Optimizer::to_bytes`] gave; `None` where the bytes are no such state.
    pub fn load(self, bytes: Vec<u8>, device: &B::Device) -> Option<Self> {
        fn record<B: AutodiffBackend, R: Record<B>>(bytes: Vec<u8>, device: &B::Device) -> Option<R> {
            BinBytesRecorder::<FullPrecisionSettings>::default().load(bytes, device).ok()
        }
        Some(match self {
            Self::Adam(inner) => Self::Adam(inner.load_record(record::<B, _>(bytes, device)?)),
            Self::Sgd(inner) => Self::Sgd(inner.load_record(record::<B, _>(bytes, device)?)),
            Self::Lars(inner) => Self::Lars(inner.load_record(record::<B, _>(bytes, device)?)),
        })
    }
}

/// Trust coefficient of LARS.
const TRUST: f64 = 1e-3;

/// LARS: for tensors of more than one axis the gradient, with weight decay, is scaled by
/// `TRUST * |p| / |g + decay * p|` (1 where either norm is 0); then momentum.
#[derive(Clone, Debug)]
pub struct Lars {
    momentum: f64,
    weight_decay: f64,
}

/// LARS's state for one tensor.
#[derive(Record, Clone)]
pub struct LarsState<B: Backend, const D: usize> {
    /// Running sum of scaled gradients.
    pub velocity: Tensor<B, D>,
}

impl<B: Backend> SimpleOptimizer<B> for Lars {
    type State<const D: usize> = LarsState<B, D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<LarsState<B, D>>,
    ) -> (Tensor<B, D>, Option<LarsState<B, D>>) {
        let gradient = match D {
            0 | 1 => gradient,
            _ => {
                let decayed = gradient + tensor.clone() * self.weight_decay;
                let norm = |x: Tensor<B, D>| x.square().sum().sqrt();
                let (weight, slope) = (norm(tensor.clone()), norm(decayed.clone()));
                let zero = weight.clone().equal_elem(0.0).bool_or(slope.clone().equal_elem(0.0));
                let trust = (weight * TRUST / slope).mask_fill(zero, 1.0);
                decayed * trust.reshape([1; D])
            }
        };
        let velocity = match state {
            Some(state) => state.velocity * self.momentum + gradient,
            None => gradient,
        };
        (tensor - velocity.clone() * rate, Some(LarsState { velocity }))
    }

    fn to_device<const D: usize>(state: LarsState<B, D>, device: &B::Device) -> LarsState<B, D> {
        LarsState { velocity: state.velocity.to_device(device) }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::module::Param;

    use super::*;
    use crate::network::encoder::Affine;

    type Tracked = crate::backend::Flex;

    /// A matrix and a bias.
    fn parameters(weight: [f32; 4], bias: [f32; 2]) -> Parameters<Tracked> {
        let [a, b, c, d] = weight;
        let weight = Param::from_data([[a, b], [c, d]], &Default::default());
        let bias = Some(Param::from_data(bias, &Default::default()));
        Parameters { affines: vec![Affine { weight, bias, norm: None }], beside: Vec::new() }
    }

    fn values(parameters: &Parameters<Tracked>) -> ([f32; 4], [f32; 2]) {
        let affine = &parameters.affines[0];
        let weight = affine.weight.val().into_data().to_vec::<f32>().unwrap();
        let bias = affine.bias.as_ref().unwrap().val().into_data().to_vec::<f32>().unwrap();
        (weight.try_into().unwrap(), bias.try_into().unwrap())
    }

    /// A step with the given gradients.
    fn step(
        optimizer: &mut Optimizer<Tracked>,
        rate: f64,
        parameters: Parameters<Tracked>,
        weight: [f32; 4],
        bias: [f32; 2],
    ) -> Parameters<Tracked> {
        let [a, b, c, d] = weight;
        let affine = &parameters.affines[0];
        let weight = Tensor::from_data([[a, b], [c, d]], &Default::default());
        let bias = Tensor::from_data(bias, &Default::default());
        let loss = (affine.weight.val() * weight).sum() + (affine.bias.as_ref().unwrap().val() * bias).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &parameters);
        optimizer.step(rate, parameters, gradients)
    }

    fn assert_close<const N: usize>(found: [f32; N], expected: [f64; N]) {
        for (a, b) in found.iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() < 1e-6, "found {found:?}, expected {expected:?}");
        }
    }

    const WEIGHT: [f32; 4] = [3.0, 0.0, 0.0, 4.0];
    const BIAS: [f32; 2] = [1.0, -2.0];
    const SLOPES: [([f32; 4], [f32; 2]); 2] =
        [([1.0, -2.0, 0.5, 0.0], [0.5, -1.0]), ([-0.5, 1.0, 2.0, 1.0], [2.0, 0.25])];

    #[test]
    fn lars_scales_the_gradient_of_a_matrix_by_its_trust_and_leaves_the_bias_alone() {
        let (momentum, decay, rates) = (0.9, 0.1, [2.0, 0.5]);
        let spec = OptimizerSpec::Lars { rate: 1.0, momentum, weight_decay: decay };
        let mut optimizer = Optimizer::new(&spec);
        let mut found = parameters(WEIGHT, BIAS);

        let (mut weight, mut bias) = (WEIGHT.map(f64::from), BIAS.map(f64::from));
        let (mut speed, mut bias_speed) = ([0.0; 4], [0.0; 2]);
        let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        for ((slopes, bias_slopes), rate) in SLOPES.into_iter().zip(rates) {
            found = step(&mut optimizer, rate, found, slopes, bias_slopes);

            let decayed: Vec<f64> = (0..4).map(|i| f64::from(slopes[i]) + decay * weight[i]).collect();
            let trust = 0.001 * norm(&weight) / norm(&decayed);
            for i in 0..4 {
                speed[i] = momentum * speed[i] + trust * decayed[i];
                weight[i] -= rate * speed[i];
            }
            for i in 0..2 {
                bias_speed[i] = momentum * bias_speed[i] + f64::from(bias_slopes[i]);
                bias[i] -= rate * bias_speed[i];
            }
            let (found_weight, found_bias) = values(&found);
            assert_close(found_weight, weight);
            assert_close(found_bias, bias);
        }
    }

    #[test]
    fn lars_trusts_fully_where_a_norm_is_zero() {
        let spec = OptimizerSpec::Lars { rate: 1.0, momentum: 0.9, weight_decay: 0.0 };
        let from_zero = step(&mut Optimizer::new(&spec), 0.1, parameters([0.0; 4], BIAS), [1.0, 2.0, 3.0, 4.0], BIAS);
        assert_close(values(&from_zero).0, [-0.1, -0.2, -0.3, -0.4]);
        let no_slope = step(&mut Optimizer::new(&spec), 0.1, parameters(WEIGHT, BIAS), [0.0; 4], [0.0; 2]);
        assert_close(values(&no_slope).0, WEIGHT.map(f64::from));
    }

    #[test]
    fn sgd_adds_decay_to_the_gradient_and_remembers_past_ones() {
        let (momentum, decay, rate) = (0.8, 0.1, 0.5);
        let mut optimizer = Optimizer::new(&OptimizerSpec::Sgd { rate, momentum, weight_decay: decay });
        let mut found = parameters(WEIGHT, BIAS);
        let (mut weight, mut speed) = (WEIGHT.map(f64::from), [0.0; 4]);
        let (mut bias, mut bias_speed) = (BIAS.map(f64::from), [0.0; 2]);
        for (slopes, bias_slopes) in SLOPES {
            found = step(&mut optimizer, rate, found, slopes, bias_slopes);
            for i in 0..4 {
                speed[i] = momentum * speed[i] + f64::from(slopes[i]) + decay * weight[i];
                weight[i] -= rate * speed[i];
            }
            for i in 0..2 {
                bias_speed[i] = momentum * bias_speed[i] + f64::from(bias_slopes[i]) + decay * bias[i];
                bias[i] -= rate * bias_speed[i];
            }
            assert_close(values(&found).0, weight);
            assert_close(values(&found).1, bias);
        }
    }

    #[test]
    fn adam_divides_the_mean_gradient_by_its_root_mean_square() {
        let (decay, rate) = (0.1, 0.05);
        let mut optimizer = Optimizer::new(&OptimizerSpec::Adam { rate, weight_decay: decay });
        let mut found = parameters(WEIGHT, BIAS);
        let mut weight = WEIGHT.map(f64::from);
        let (mut mean, mut square) = ([0.0; 4], [0.0; 4]);
        for (time, (slopes, bias_slopes)) in (1..).zip(SLOPES) {
            found = step(&mut optimizer, rate, found, slopes, bias_slopes);
            for i in 0..4 {
                let slope = f64::from(slopes[i]) + decay * weight[i];
                mean[i] = 0.9 * mean[i] + 0.1 * slope;
                square[i] = 0.999 * square[i] + 0.001 * slope * slope;
                let (mean, square) = (mean[i] / (1.0 - 0.9f64.powi(time)), square[i] / (1.0 - 0.999f64.powi(time)));
                weight[i] -= rate * mean / (square.sqrt() + 1e-8);
            }
            // Adam's moments lose a few digits in f32: 1 - 0.999^t is a difference of numbers near 1.
            for (a, b) in values(&found).0.iter().zip(weight) {
                assert!((f64::from(*a) - b).abs() < 1e-5, "{found:?}, expected {weight:?}");
            }
        }
    }

    #[test]
    fn impossible_settings_name_their_key() {
        for (table, key) in [
            ("kind = 'adam'\nrate = 0.0", "rate"),
            ("kind = 'sgd'\nrate = 0.1\nmomentum = 1.0", "momentum"),
            ("kind = 'lars'\nrate = 0.1\nweight_decay = -1.0", "weight_decay"),
        ] {
            let error = toml::from_str::<OptimizerSpec>(table).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("train.optimizer.{key}: impossible value")), "{error}");
        }
        assert!(toml::from_str::<OptimizerSpec>("kind = 'adam'\nrate = 0.1\nmomentum = 0.9").is_err());
    }
}
