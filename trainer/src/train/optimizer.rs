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

/// The optimiser of a network's parameters, with its state.
pub enum Optimizer<B: AutodiffBackend> {
    /// Adam.
    Adam(OptimizerAdaptor<Adam, Parameters<B>, B>),
    /// SGD.
    Sgd(OptimizerAdaptor<Sgd<B::InnerBackend>, Parameters<B>, B>),
    /// LARS.
    Lars(OptimizerAdaptor<Lars, Parameters<B>, B>),
}

impl<B: AutodiffBackend> Optimizer<B>
where
    Parameters<B>: AutodiffModule<B>,
{
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

    /// One step.
    pub fn step(&mut self, rate: f64, parameters: Parameters<B>, gradients: GradientsParams) -> Parameters<B> {
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
