//! The trained network as plain arrays, in the blob's weight order.

use ndarray::{Array1, Array2};

use crate::network::Encoder;
use crate::network::encoder::Affine;
use crate::network::kernels::{EPSILON, Kernels};
use crate::network::spec::{Operation, Plan, Step};
use crate::order::Ordering;

/// A network without batch norm: its last step gives ordered functions.
#[derive(Clone, Debug)]
pub struct FloatModel {
    /// Shapes. The last step has as many outputs as there are ordered functions.
    pub plan: Plan,
    /// Weights of the steps that have any, in order.
    pub weights: Vec<Weights>,
    /// Eigenvalue of each ordered function, not rising.
    pub eigenvalues: Vec<f64>,
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
    /// Folds batch norm into the weights before it, and the ordering into the last step, of which the first `dims`
    /// functions stay (all, where there are fewer).
    pub fn new<B: Kernels>(encoder: &Encoder<B>, ordering: &Ordering, dims: usize) -> Self {
        let mut affines = encoder.parameters.affines.iter();
        let mut weights: Vec<Weights> = encoder
            .plan
            .steps
            .iter()
            .filter(|step| step.weight_shape().is_some())
            .map(|step| fold(step, affines.next().expect("one affine for each step with weights")))
            .collect();

        let dims = dims.min(ordering.kept());
        let last = weights.pop().expect("a plan ends with a linear step");
        let (weight, bias) = ordering.fold_into(&last.weight.t(), &last.bias.view());
        weights.push(Weights {
            weight: weight.slice(ndarray::s![.., ..dims]).t().as_standard_layout().to_owned(),
            bias: bias.slice(ndarray::s![..dims]).to_owned(),
        });

        let mut plan = encoder.plan.clone();
        if let Some(step) = plan.steps.last_mut() {
            step.output = [1, 1, dims];
        }
        Self { plan, weights, eigenvalues: ordering.eigenvalues[..dims].to_vec() }
    }
}

fn fold<B: Kernels>(step: &Step, affine: &Affine<B>) -> Weights {
    let floats = |data: burn::tensor::TensorData| data.convert::<f32>().to_vec::<f32>().expect("converted to f32");
    let [inputs, outputs] = affine.weight.val().dims();
    let weight = Array2::from_shape_vec((inputs, outputs), floats(affine.weight.val().into_data()))
        .expect("as many values as the shape says");
    let row = |data| Array1::from_vec(floats(data));
    let (weight, bias) = match (&affine.norm, &affine.bias) {
        (Some(norm), _) => {
            let variance = row(norm.running_var.value_sync().into_data());
            let scale = row(norm.gamma.val().into_data()) / (variance + EPSILON as f32).mapv(f32::sqrt);
            let mean = row(norm.running_mean.value_sync().into_data());
            (weight * &scale, row(norm.beta.val().into_data()) - mean * &scale)
        }
        (None, Some(bias)) => (weight, row(bias.val().into_data())),
        (None, None) => (weight, Array1::zeros(outputs)),
    };
    let weight = match step.operation {
        Operation::DepthwiseConv2d(_) => weight,
        _ => weight.t().as_standard_layout().to_owned(),
    };
    Weights { weight, bias }
}
