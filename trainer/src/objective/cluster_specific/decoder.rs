//! Decoders: what sub-models make of their codes. The first step is each sub-model's own, what follows is shared.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::{Extra, Parameters, Trainable};

/// Hidden layers between a code and a sample, a ReLU after each; without any the decoder is linear.
///
/// ```
/// use eigenlet_trainer::objective::cluster_specific::decoder::DecoderSpec;
///
/// // From a code to 100 units, to 16 maps of 7x7, to 8 maps of 14x14, to a picture of 28x28.
/// let spec: DecoderSpec = toml::from_str("units = [100]\nmaps = [16, 8]").unwrap();
/// assert!(spec.fits([28, 28, 1]).is_ok());
/// assert!(spec.fits([30, 30, 1]).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderSpec {
    /// Widths of fully connected layers, from the code on.
    pub units: Vec<usize>,
    /// Channels of the feature maps after them. Each is doubled in height and width by a transposed convolution, into the
    /// next or, the last, into the sample; an extent of 1 stays.
    pub maps: Vec<usize>,
}

/// How a transposed convolution doubles an axis: kernel, stride, padding.
const DOUBLING: [usize; 3] = [4, 2, 1];
/// How it leaves an axis of extent 1.
const STAYING: [usize; 3] = [1, 1, 0];

impl DecoderSpec {
    /// Whether codes are decoded by nothing but a matrix and a bias.
    pub fn is_linear(&self) -> bool {
        self.units.is_empty() && self.maps.is_empty()
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// A layer without units, or maps without channels.
    pub fn check(&self) -> Result<()> {
        for (key, widths) in [("units", &self.units), ("maps", &self.maps)] {
            if widths.contains(&0) {
                let place = format!("objective.family.decoder.{key}");
                return Err(Error::input(place, "an empty layer", "at least 1 in each", 0));
            }
        }
        Ok(())
    }

    /// Checks the maps against samples `[height, width, channels]`.
    ///
    /// # Errors
    /// A height or width that is not reached by doubling.
    pub fn fits(&self, [height, width, _]: [usize; 3]) -> Result<()> {
        let times = 1usize.checked_shl(self.maps.len() as u32).unwrap_or(usize::MAX);
        for (what, extent) in [("height", height), ("width", width)] {
            if extent != 1 && !extent.is_multiple_of(times) {
                let place = "objective.family.decoder.maps";
                let problem = format!("{} doublings do not give the sample's {what}", self.maps.len());
                return Err(Error::input(place, problem, format!("1, or a multiple of {times}"), extent));
            }
        }
        Ok(())
    }

    /// Height and width of the first maps, for samples that [`DecoderSpec::fits`] accepts.
    fn first_extents(&self, [height, width, _]: [usize; 3]) -> [usize; 2] {
        [height, width].map(|extent| if extent == 1 { 1 } else { extent >> self.maps.len() })
    }

    /// Widths of the fully connected steps for samples of a shape.
    fn widths(&self, shape: [usize; 3]) -> Vec<usize> {
        let last = match self.maps.first() {
            Some(channels) => channels * self.first_extents(shape).iter().product::<usize>(),
            None => shape.iter().product(),
        };
        [&self.units[..], &[last]].concat()
    }

    /// What the decoders of `clusters` sub-models learn, for samples of a shape: for each step weights and biases, of the
    /// first step each sub-model's own, one after the other. A convolution's weights are `[inputs, outputs * height * width]`.
    pub fn parameters(&self, clusters: usize, code: usize, shape: [usize; 3]) -> Vec<Extra> {
        // He et al. 2015 before a ReLU.
        let steps = self.widths(shape).len() + self.maps.len();
        let gain = |step: usize| if step + 1 == steps { 1.0 } else { 2.0 };
        let mut inputs = code;
        let mut extras = Vec::new();
        for (step, outputs) in self.widths(shape).into_iter().enumerate() {
            let own = if step == 0 { clusters } else { 1 };
            extras.push(Extra { shape: [own * inputs, outputs], deviation: (gain(step) / inputs as f64).sqrt() });
            extras.push(Extra { shape: [own, outputs], deviation: 0.0 });
            inputs = outputs;
        }
        let kernel: usize = axes(shape).iter().map(|[kernel, ..]| kernel).product();
        let seen: usize = axes(shape).iter().map(|[kernel, stride, _]| kernel / stride).product();
        let outputs = self.maps.iter().skip(1).copied().chain([shape[2]]);
        for (step, (&inputs, outputs)) in self.maps.iter().zip(outputs).enumerate() {
            let gain = gain(self.units.len() + 1 + step);
            extras.push(Extra { shape: [inputs, outputs * kernel], deviation: (gain / (inputs * seen) as f64).sqrt() });
            extras.push(Extra { shape: [1, outputs], deviation: 0.0 });
        }
        extras
    }

    /// What codes `[rows, clusters, code]` become, `[rows, clusters, values]`, with the matrices beside the encoder that
    /// [`DecoderSpec::parameters`] describes.
    pub fn decode<B: Trainable>(
        &self,
        parameters: &Parameters<B>,
        codes: Tensor<B, 3>,
        shape: [usize; 3],
    ) -> Tensor<B, 3> {
        let [rows, clusters, code] = codes.dims();
        let (units, maps) = parameters.beside.split_at(2 * (self.units.len() + 1));
        let pair = |pair: &[burn::module::Param<Tensor<B, 2>>]| (pair[0].val(), pair[1].val());
        let (weight, bias) = pair(&units[..2]);
        let own = weight.clone().reshape([clusters, code, weight.dims()[1]]);
        let first = codes.swap_dims(0, 1).matmul(own).swap_dims(0, 1) + bias.unsqueeze_dim::<3>(0);
        let mut x = first.reshape([rows * clusters, weight.dims()[1]]);
        for step in units[2..].chunks_exact(2) {
            let (weight, bias) = pair(step);
            x = relu(x).matmul(weight) + bias;
        }
        let values = shape.iter().product();
        let Some(&channels) = self.maps.first() else { return x.reshape([rows, clusters, values]) };
        let [height, width] = self.first_extents(shape);
        let mut x = x.reshape([rows * clusters, channels, height, width]);
        let [down, across] = axes(shape);
        let both = |i: usize| [down[i], across[i]];
        for step in maps.chunks_exact(2) {
            let (weight, bias) = pair(step);
            let [inputs, outputs] = [weight.dims()[0], bias.dims()[1]];
            let kernel = weight.reshape([inputs, outputs, down[0], across[0]]);
            let options = ConvTransposeOptions::new(both(1), both(2), [0, 0], [1, 1], 1);
            x = conv_transpose2d(relu(x), kernel, Some(bias.reshape([outputs])), options);
        }
        x.permute([0, 2, 3, 1]).reshape([rows, clusters, values])
    }
}

/// How height and width are doubled.
fn axes([height, width, _]: [usize; 3]) -> [[usize; 3]; 2] {
    [height, width].map(|extent| if extent == 1 { STAYING } else { DOUBLING })
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::module::Param;
    use burn::tensor::TensorData;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::network::floats;

    type Tracked = crate::backend::Flex;

    const ROWS: usize = 2;
    const CLUSTERS: usize = 3;
    const CODE: usize = 2;

    /// A step's inputs, outputs, weights and biases, in double precision.
    struct Naive {
        inputs: usize,
        outputs: usize,
        weight: Vec<f64>,
        bias: Vec<f64>,
    }

    impl Naive {
        fn dense(&self, x: &[f64], own: usize) -> Vec<f64> {
            let weight = &self.weight[own * x.len() * self.outputs..];
            let sum = |o: usize| -> f64 { x.iter().enumerate().map(|(i, x)| x * weight[i * self.outputs + o]).sum() };
            (0..self.outputs).map(|o| sum(o) + self.bias[own * self.outputs + o]).collect()
        }

        /// Each value of the maps `x` `[inputs, height, width]` is spread by its kernel over maps twice as high, and twice as
        /// wide where samples are wide.
        fn doubled(&self, x: &[f64], [height, width]: [usize; 2], is_wide: bool) -> Vec<f64> {
            let (kernel_w, stride_w, pad_w) = if is_wide { (4, 2, 1) } else { (1, 1, 0) };
            let (out_h, out_w) = (2 * height, stride_w * width);
            let outputs = self.bias.len();
            let mut sums: Vec<f64> = self.bias.iter().flat_map(|&bias| vec![bias; out_h * out_w]).collect();
            for (i, o, row, column) in places([self.inputs, outputs, height, width]) {
                for (a, b) in (0..4).flat_map(|a| (0..kernel_w).map(move |b| (a, b))) {
                    let (y, z) = ((2 * row + a).wrapping_sub(1), (stride_w * column + b).wrapping_sub(pad_w));
                    if y < out_h && z < out_w {
                        let weight = self.weight[(i * outputs + o) * 4 * kernel_w + a * kernel_w + b];
                        sums[(o * out_h + y) * out_w + z] += weight * x[(i * height + row) * width + column];
                    }
                }
            }
            sums
        }
    }

    /// All places of an array of four axes.
    fn places([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..a * b * c * d).map(move |n| (n / (b * c * d), n / (c * d) % b, n / d % c, n % d))
    }

    /// Random matrices beside an encoder, and the same for the naive steps.
    fn random(spec: &DecoderSpec, shape: [usize; 3]) -> (Parameters<Tracked>, Vec<Naive>) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut beside = Vec::new();
        for extra in spec.parameters(CLUSTERS, CODE, shape) {
            let values: Vec<f32> = (0..extra.shape[0] * extra.shape[1]).map(|_| rng.random_range(-1.0..1.0)).collect();
            beside.push((extra.shape, values));
        }
        let doubles = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
        let steps = beside.chunks_exact(2).map(|pair| Naive {
            inputs: pair[0].0[0],
            outputs: pair[0].0[1],
            weight: doubles(&pair[0].1),
            bias: doubles(&pair[1].1),
        });
        let steps = steps.collect();
        let param = |(shape, values): ([usize; 2], Vec<f32>)| {
            Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &Default::default()))
        };
        (Parameters { affines: Vec::new(), beside: beside.into_iter().map(param).collect() }, steps)
    }

    fn relu(x: Vec<f64>) -> Vec<f64> {
        x.into_iter().map(|x| x.max(0.0)).collect()
    }

    #[test]
    fn codes_are_decoded_as_naive_loops_decode_them() {
        for (units, maps, shape) in [
            (vec![], vec![], [2, 3, 1]),
            (vec![5, 4], vec![], [2, 3, 2]),
            (vec![], vec![3], [4, 6, 2]),
            (vec![4], vec![3, 2], [8, 4, 1]),
            (vec![4], vec![2, 3], [8, 1, 2]),
        ] {
            let spec = DecoderSpec { units, maps };
            spec.fits(shape).unwrap();
            let (parameters, steps) = random(&spec, shape);
            let codes: Vec<f32> = (0..ROWS * CLUSTERS * CODE).map(|i| (i as f32 * 0.7).sin()).collect();
            let tensor = TensorData::new(codes.clone(), [ROWS, CLUSTERS, CODE]);
            let found = floats(spec.decode(&parameters, Tensor::from_data(tensor, &Default::default()), shape));
            let size: usize = shape.iter().product();
            for (place, code) in codes.chunks_exact(CODE).enumerate() {
                let code: Vec<f64> = code.iter().map(|&value| f64::from(value)).collect();
                let (dense, doublings) = steps.split_at(spec.units.len() + 1);
                let mut x = dense[0].dense(&code, place % CLUSTERS);
                for step in &dense[1..] {
                    x = step.dense(&relu(x), 0);
                }
                let mut extents = spec.first_extents(shape);
                for step in doublings {
                    let is_wide = shape[1] > 1;
                    x = step.doubled(&relu(x), extents, is_wide);
                    extents = [2 * extents[0], if is_wide { 2 * extents[1] } else { 1 }];
                }
                // Maps lie one after the other; a sample's channels lie together.
                let channels = if spec.maps.is_empty() { 1 } else { shape[2] };
                let pixels = size / channels;
                for (i, found) in found[place * size..][..size].iter().enumerate() {
                    let expected = x[i % channels * pixels + i / channels];
                    assert!((f64::from(*found) - expected).abs() < 1e-4, "{spec:?} {i}: {found}, naively {expected}");
                }
            }
        }
    }

    #[test]
    fn maps_that_do_not_double_into_the_sample_are_refused() {
        let spec = DecoderSpec { units: Vec::new(), maps: vec![8, 8] };
        let error = spec.fits([28, 30, 1]).unwrap_err().to_string();
        assert!(error.starts_with("objective.family.decoder.maps: 2 doublings"), "{error}");
        assert!(error.ends_with("expected 1, or a multiple of 4, found 30"), "{error}");
        let error = DecoderSpec { units: vec![3, 0], maps: Vec::new() }.check().unwrap_err().to_string();
        assert!(error.starts_with("objective.family.decoder.units"), "{error}");
    }
}
