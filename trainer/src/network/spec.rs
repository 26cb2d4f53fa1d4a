//! What a recipe's `[network]` table says, and the plan of shapes that follows from it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The `[network]` table: a backbone, then a projector to the embedding.
///
/// ```
/// use eigenlet_trainer::network::NetworkSpec;
///
/// let spec: NetworkSpec = toml::from_str(r#"
///     layers = [
///         { kind = "conv2d", channels = 16, stride = 2 },
///         { kind = "depthwise-conv2d" },
///         { kind = "global-average-pool" },
///     ]
///     projector = 64
///     dims = 32
/// "#).unwrap();
/// let plan = spec.plan([8, 8, 1], 32).unwrap();
/// assert_eq!(plan.steps[0].output, [4, 4, 16]);
/// assert_eq!(plan.outputs(), 32);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// The backbone, from the input on. Learned layers are followed by batch norm and ReLU.
    #[serde(default)]
    pub layers: Vec<LayerSpec>,
    /// Width of the projector's hidden layer (with batch norm and ReLU); 0 leaves it out.
    #[serde(default)]
    pub projector: usize,
    /// Dimensions of the embedding.
    pub dims: usize,
}

/// One layer of the backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LayerSpec {
    /// Convolution with zero padding that keeps the size at stride 1.
    Conv2d {
        /// Output channels.
        channels: usize,
        /// Side of the square window.
        #[serde(default = "three")]
        kernel: usize,
        /// Step in both directions.
        #[serde(default = "one")]
        stride: usize,
    },
    /// Convolution along the height alone, with zero padding that keeps the size at stride 1: for series, whose height is
    /// time.
    Conv1d {
        /// Output channels.
        channels: usize,
        /// Height of the window.
        #[serde(default = "three")]
        kernel: usize,
        /// Step.
        #[serde(default = "one")]
        stride: usize,
    },
    /// Depthwise convolution with zero padding that keeps the size at stride 1.
    DepthwiseConv2d {
        /// Side of the square window.
        #[serde(default = "three")]
        kernel: usize,
        /// Step in both directions.
        #[serde(default = "one")]
        stride: usize,
    },
    /// Dense layer over all that comes in, read flat.
    Dense {
        /// Outputs.
        units: usize,
    },
    /// Largest value of each window, no padding.
    MaxPool {
        /// Side of the square window, and step.
        #[serde(default = "two")]
        kernel: usize,
    },
    /// Largest value of each window along the height, no padding.
    MaxPool1d {
        /// Height of the window, and step.
        #[serde(default = "two")]
        kernel: usize,
    },
    /// Mean of each window, no padding.
    AveragePool {
        /// Side of the square window, and step.
        #[serde(default = "two")]
        kernel: usize,
    },
    /// Mean over the whole image.
    GlobalAveragePool,
}

fn one() -> usize {
    1
}
fn two() -> usize {
    2
}
fn three() -> usize {
    3
}

/// The largest size of anything in a plan: what the blob can say.
const LARGEST: usize = u16::MAX as usize;

/// A network's steps with their shapes, height by width by channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Shape of the input.
    pub input: [usize; 3],
    /// The steps in order; the last one is the linear map to the outputs.
    pub steps: Vec<Step>,
    /// How many of the steps are the backbone: what comes before the projector.
    pub backbone: usize,
}

/// Where in a network the embedding is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// At the outputs.
    Outputs,
    /// Before the last, linear step.
    Hidden,
    /// Before the projector.
    Backbone,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is computed.
    pub operation: Operation,
    /// Shape that comes in.
    pub input: [usize; 3],
    /// Shape that goes out.
    pub output: [usize; 3],
}

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Convolution, batch norm, ReLU.
    Conv2d(Window),
    /// Depthwise convolution, batch norm, ReLU.
    DepthwiseConv2d(Window),
    /// Dense layer, batch norm, ReLU.
    Dense,
    /// Dense layer with bias and nothing behind it: the network's output.
    Linear,
    /// Largest value of each window.
    MaxPool(Window),
    /// Mean of each window.
    AveragePool(Window),
}

impl Operation {
    /// The name, as recipes and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::DepthwiseConv2d(_) => "depthwise-conv2d",
            Self::Dense => "dense",
            Self::Linear => "linear",
            Self::MaxPool(_) => "max-pool",
            Self::AveragePool(_) => "average-pool",
        }
    }
}

/// A sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal step.
    pub stride: [usize; 2],
    /// Zeros before and after: above and below, left and right.
    pub padding: [[usize; 2]; 2],
}

impl Window {
    /// Padded so that stride 1 keeps the size.
    fn same(kernel: [usize; 2], stride: [usize; 2]) -> Self {
        Self { kernel, stride, padding: kernel.map(|kernel| [(kernel - 1) / 2, kernel / 2]) }
    }

    /// No padding.
    fn tiling(kernel: [usize; 2]) -> Self {
        Self { kernel, stride: kernel, padding: [[0, 0]; 2] }
    }

    /// Output height and width for an input that the window fits.
    pub fn outputs(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| self.output(axis, size[axis]).expect("the plan has checked that the window fits"))
    }

    /// Output height or width for an input of `size` along axis `axis`; `None` where the window does not fit.
    pub fn output(&self, axis: usize, size: usize) -> Option<usize> {
        let padded = size + self.padding[axis][0] + self.padding[axis][1];
        Some(padded.checked_sub(self.kernel[axis])? / self.stride[axis] + 1)
    }

    /// Zeros above and left.
    pub fn before(&self) -> [usize; 2] {
        self.padding.map(|[before, _]| before)
    }
}

impl Step {
    /// Shape of the step's weight matrix, inputs by outputs; `None` where nothing is learned.
    pub fn weight_shape(&self) -> Option<[usize; 2]> {
        let [_, _, channels_in] = self.input;
        let [_, _, channels_out] = self.output;
        match self.operation {
            Operation::Conv2d(w) => Some([w.kernel[0] * w.kernel[1] * channels_in, channels_out]),
            Operation::DepthwiseConv2d(w) => Some([w.kernel[0] * w.kernel[1], channels_out]),
            Operation::Dense | Operation::Linear => Some([self.input.iter().product(), channels_out]),
            Operation::MaxPool(_) | Operation::AveragePool(_) => None,
        }
    }

    /// How many inputs one output reads through weights.
    pub fn fan_in(&self) -> usize {
        self.weight_shape().map_or(0, |[inputs, _]| inputs)
    }
}

impl Plan {
    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.steps.last().map_or(self.input, |step| step.output).iter().product()
    }

    /// Width of what the last, linear step reads.
    pub fn features(&self) -> usize {
        self.steps.last().map_or(self.input, |step| step.input).iter().product()
    }

    /// The plan up to where an embedding is read.
    pub fn body(&self, body: Body) -> Plan {
        let steps = match body {
            Body::Outputs => self.steps.len(),
            Body::Hidden => self.steps.len() - 1,
            Body::Backbone => self.backbone,
        };
        Plan { input: self.input, steps: self.steps[..steps].to_vec(), backbone: self.backbone }
    }

    /// Number of values that one input sample has.
    pub fn input_len(&self) -> usize {
        self.input.iter().product()
    }
}

impl NetworkSpec {
    /// The plan for inputs of a shape and as many outputs as the objective learns.
    ///
    /// # Errors
    /// A size of zero or beyond 65,535, or a window that does not fit, naming the layer.
    pub fn plan(&self, input: [usize; 3], outputs: usize) -> Result<Plan> {
        let size = |place: &str, value: usize| match value {
            1..=LARGEST => Ok(value),
            _ => Err(Error::input(place, "impossible size", format!("1 to {LARGEST}"), value)),
        };
        let mut steps = Vec::new();
        let mut shape = input;
        for (index, layer) in self.layers.iter().enumerate() {
            let place = format!("network.layers[{index}]");
            let sizes = |kernel: usize, stride: usize| {
                let kernel = small(&format!("{place}.kernel"), kernel)?;
                Ok::<_, Error>((kernel, small(&format!("{place}.stride"), stride)?))
            };
            let same = |kernel, stride| {
                let (kernel, stride) = sizes(kernel, stride)?;
                Ok::<_, Error>(Window::same([kernel, kernel], [stride, stride]))
            };
            let tiling = |kernel| Ok::<_, Error>(Window::tiling([sizes(kernel, 1)?.0; 2]));
            let operation = match *layer {
                LayerSpec::Conv2d { kernel, stride, .. } => Operation::Conv2d(same(kernel, stride)?),
                LayerSpec::Conv1d { kernel, stride, .. } => {
                    let (kernel, stride) = sizes(kernel, stride)?;
                    Operation::Conv2d(Window::same([kernel, 1], [stride, 1]))
                }
                LayerSpec::DepthwiseConv2d { kernel, stride } => Operation::DepthwiseConv2d(same(kernel, stride)?),
                LayerSpec::Dense { .. } => Operation::Dense,
                LayerSpec::MaxPool { kernel } => Operation::MaxPool(tiling(kernel)?),
                LayerSpec::MaxPool1d { kernel } => Operation::MaxPool(Window::tiling([sizes(kernel, 1)?.0, 1])),
                LayerSpec::AveragePool { kernel } => Operation::AveragePool(tiling(kernel)?),
                LayerSpec::GlobalAveragePool => {
                    small(&place, shape[0].max(shape[1]))?;
                    Operation::AveragePool(Window::tiling([shape[0], shape[1]]))
                }
            };
            let channels = match *layer {
                LayerSpec::Conv2d { channels, .. } | LayerSpec::Conv1d { channels, .. } => {
                    size(&format!("{place}.channels"), channels)?
                }
                LayerSpec::Dense { units } => size(&format!("{place}.units"), units)?,
                _ => shape[2],
            };
            let output = match operation {
                Operation::Dense | Operation::Linear => [1, 1, channels],
                Operation::Conv2d(w)
                | Operation::DepthwiseConv2d(w)
                | Operation::MaxPool(w)
                | Operation::AveragePool(w) => match (w.output(0, shape[0]), w.output(1, shape[1])) {
                    // Beyond twice the image, outer taps of a padded window would never meet it.
                    (Some(height), Some(width)) if w.kernel[0] < 2 * shape[0] && w.kernel[1] < 2 * shape[1] => {
                        [height, width, channels]
                    }
                    _ => {
                        return Err(Error::input(
                            &place,
                            "the window does not fit",
                            format!("a kernel within the layer's input of {}x{}", shape[0], shape[1]),
                            format!("{}x{}", w.kernel[0], w.kernel[1]),
                        ));
                    }
                },
            };
            steps.push(Step { operation, input: shape, output });
            shape = output;
        }
        let backbone = steps.len();
        if self.projector > 0 {
            let output = [1, 1, size("network.projector", self.projector)?];
            steps.push(Step { operation: Operation::Dense, input: shape, output });
            shape = output;
        }
        size("network.dims", self.dims)?;
        let output = [1, 1, size("the objective's outputs", outputs)?];
        steps.push(Step { operation: Operation::Linear, input: shape, output });
        Ok(Plan { input, steps, backbone })
    }
}

/// A window's side or stride: what the blob can say.
fn small(place: &str, value: usize) -> Result<usize> {
    match value {
        1..=255 => Ok(value),
        _ => Err(Error::input(place, "impossible size", "1 to 255", value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(layers: Vec<LayerSpec>) -> NetworkSpec {
        NetworkSpec { layers, projector: 8, dims: 4 }
    }

    #[test]
    fn shapes_follow_the_layers() {
        let plan = spec(vec![
            LayerSpec::Conv2d { channels: 6, kernel: 3, stride: 2 },
            LayerSpec::MaxPool { kernel: 2 },
            LayerSpec::DepthwiseConv2d { kernel: 3, stride: 1 },
            LayerSpec::GlobalAveragePool,
        ])
        .plan([9, 8, 1], 5)
        .unwrap();
        let shapes: Vec<_> = plan.steps.iter().map(|step| step.output).collect();
        assert_eq!(shapes, [[5, 4, 6], [2, 2, 6], [2, 2, 6], [1, 1, 6], [1, 1, 8], [1, 1, 5]]);
        assert_eq!(plan.steps[0].weight_shape(), Some([9, 6]));
        assert_eq!(plan.steps[2].weight_shape(), Some([9, 6]));
        let bodies = [Body::Outputs, Body::Hidden, Body::Backbone].map(|body| plan.body(body).outputs());
        assert_eq!(bodies, [5, 8, 6]);
    }

    #[test]
    fn one_dimensional_layers_leave_the_width_alone() {
        let layers = vec![LayerSpec::Conv1d { channels: 5, kernel: 5, stride: 2 }, LayerSpec::MaxPool1d { kernel: 4 }];
        let plan = spec(layers).plan([125, 1, 6], 4).unwrap();
        assert_eq!((plan.steps[0].output, plan.steps[1].output), ([63, 1, 5], [15, 1, 5]));
        assert_eq!(plan.steps[0].weight_shape(), Some([30, 5]));
    }

    #[test]
    fn impossible_shapes_name_their_layer() {
        let too_large = spec(vec![LayerSpec::MaxPool { kernel: 9 }]).plan([8, 8, 1], 4).unwrap_err();
        assert!(too_large.to_string().starts_with("network.layers[0]: the window does not fit"), "{too_large}");
        let padded = LayerSpec::Conv2d { channels: 1, kernel: 17, stride: 1 };
        assert!(spec(vec![padded]).plan([8, 8, 1], 4).unwrap_err().to_string().contains("the window does not fit"));
        let zero = spec(vec![LayerSpec::Dense { units: 0 }]).plan([8, 8, 1], 4).unwrap_err();
        assert!(zero.to_string().starts_with("network.layers[0].units: impossible size"), "{zero}");
        assert!(spec(vec![LayerSpec::Conv2d { channels: 1, kernel: 3, stride: 0 }]).plan([8, 8, 1], 4).is_err());
    }
}
