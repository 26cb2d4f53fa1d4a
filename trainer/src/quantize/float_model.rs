//! The trained network as plain arrays, in the blob's weight order.

use ndarray::{Array1, Array2, s};

use super::native::NativeHeads;
use crate::network::encoder::Affine;
use crate::network::kernels::{EPSILON, Kernels};
use crate::network::spec::{Operation, Plan, Step};
use crate::network::{Body, Encoder, floats};
use crate::objective::Native;
use crate::order::Ordering;

/// A network without batch norm: its last step gives ordered functions.
#[derive(Clone, Debug)]
pub struct FloatModel {
    /// Shapes. The last step is linear and has as many outputs as there are ordered functions.
    pub plan: Plan,
    /// Weights of the steps that have any, in order.
    pub weights: Vec<Weights>,
    /// Eigenvalue of each ordered function, not rising.
    pub eigenvalues: Vec<f64>,
    /// What the network's own outputs say, from the same features that the last step reads.
    pub native: NativeHeads,
}

/// Weights of one step.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Convolution and dense `[outputs, inputs]`; depthwise `[taps, channels]`.
    pub weight: Array2<f32>,
    /// `[outputs]`.
    pub bias: Array1<f32>,
}

impl FloatModel {
    /// Folds batch norm into the weights before it. The ordering of what `body` gives is folded into the last step, or, where
    /// the body ends before that, takes its place; the first `dims` functions stay (all, where there are fewer).
    pub fn new<B: Kernels>(
        encoder: &Encoder<B>,
        body: Body,
        ordering: &Ordering,
        dims: usize,
        native: &Native,
    ) -> Self {
        let mut affines = encoder.parameters.affines.iter();
        let mut weights: Vec<Weights> = encoder
            .plan
            .steps
            .iter()
            .filter(|step| step.weight_shape().is_some())
            .map(|step| fold(step, affines.next().expect("one affine for each step with weights")))
            .collect();
        let outputs = weights.pop().expect("a plan ends with a linear step");

        let dims = dims.min(ordering.kept());
        let mut plan = encoder.plan.body(body);
        plan.steps.retain(|step| step.operation != Operation::Linear);
        weights.truncate(plan.steps.iter().filter(|step| step.weight_shape().is_some()).count());
        let (weight, bias) = match body {
            Body::Outputs => ordering.fold_into(&outputs.weight.t(), &outputs.bias.view()),
            Body::Hidden | Body::Backbone => ordering.affine(),
        };
        let input = plan.steps.last().map_or(plan.input, |step| step.output);
        plan.steps.push(Step { operation: Operation::Linear, input, output: [1, 1, dims] });
        weights.push(Weights {
            weight: weight.slice(s![.., ..dims]).t().as_standard_layout().to_owned(),
            bias: bias.slice(s![..dims]).to_owned(),
        });
        let native = match body {
            Body::Hidden => NativeHeads::new(&outputs, native),
            Body::Outputs | Body::Backbone => NativeHeads::default(),
        };
        Self { plan, weights, eigenvalues: ordering.eigenvalues[..dims].to_vec(), native }
    }
}

fn fold<B: Kernels>(step: &Step, affine: &Affine<B>) -> Weights {
    let [inputs, outputs] = affine.weight.val().dims();
    let weight = Array2::from_shape_vec((inputs, outputs), floats(affine.weight.val()))
        .expect("as many values as the shape says");
    let row = |tensor| Array1::from_vec(floats::<B, 1>(tensor));
    let (weight, bias) = match (&affine.norm, &affine.bias) {
        (Some(norm), _) => {
            let variance = row(norm.running_var.value_sync());
            let scale = row(norm.gamma.val()) / (variance + EPSILON as f32).mapv(f32::sqrt);
            let mean = row(norm.running_mean.value_sync());
            (weight * &scale, row(norm.beta.val()) - mean * &scale)
        }
        (None, Some(bias)) => (weight, row(bias.val())),
        (None, None) => (weight, Array1::zeros(outputs)),
    };
    let weight = match step.operation {
        Operation::DepthwiseConv2d(_) => weight,
        _ => weight.t().as_standard_layout().to_owned(),
    };
    Weights { weight, bias }
}
