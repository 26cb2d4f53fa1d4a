//! [`Kernels`](super::kernels::Kernels) as plain loops over host memory, for the CPU backends.
//!
//! Work is cut into pieces of fixed size, so that results do not depend on the number of threads.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::kernels::{EPSILON, NormRelu, NormReluInputs};
use super::spec::Window;

/// Rows that one piece of work holds.
const PIECE: usize = 1024;

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> TensorData {
    let data = tensor.into_data();
    match data.dtype {
        burn::tensor::DType::F32 => data,
        _ => data.convert::<f32>(),
    }
}

fn floats(data: &TensorData) -> &[f32] {
    data.as_slice().expect("converted to f32")
}

/// One window row of one output pixel: which part of the patch and which part of an image row it covers.
///
/// Taps in a row of an NHWC image are neighbours in memory, so that a patch is a few straight copies.
struct Segment {
    /// Offset in the patch.
    patch: usize,
    /// Offset in the image.
    image: usize,
    /// Values.
    length: usize,
}

/// The segments of the patch at output pixel `(y, x)` that lie inside the image.
fn segments(shape: [usize; 3], window: &Window, y: usize, x: usize) -> impl Iterator<Item = Segment> {
    let [height, width, channels] = shape;
    let [kernel_height, kernel_width] = window.kernel;
    let [above, before] = window.before();
    let (top, left) = (y * window.stride[0], x * window.stride[1]);
    let first = before.saturating_sub(left).min(kernel_width);
    let last = (width + before).saturating_sub(left).clamp(first, kernel_width);
    (0..kernel_height).filter_map(move |tap| {
        let row = (top + tap).checked_sub(above).filter(|&row| row < height)?;
        (last > first).then(|| Segment {
            patch: (tap * kernel_width + first) * channels,
            image: (row * width + left + first - before) * channels,
            length: (last - first) * channels,
        })
    })
}

/// See [`Kernels::gather`](super::kernels::Kernels::gather).
pub fn gather<B: Backend>(images: Tensor<B, 4>, window: &Window) -> Tensor<B, 2> {
    let device = images.device();
    let [n, height, width, channels] = images.dims();
    let [rows, columns] = window.outputs([height, width]);
    let patch = window.kernel[0] * window.kernel[1] * channels;
    let data = values(images);
    let images = floats(&data);
    let mut patches = vec![0.0; n * rows * columns * patch];
    patches.par_chunks_mut(rows * columns * patch).zip(images.par_chunks(height * width * channels)).for_each(
        |(patches, image)| {
            for (pixel, patch) in patches.chunks_mut(patch).enumerate() {
                for part in segments([height, width, channels], window, pixel / columns, pixel % columns) {
                    patch[part.patch..][..part.length].copy_from_slice(&image[part.image..][..part.length]);
                }
            }
        },
    );
    Tensor::from_data(TensorData::new(patches, [n * rows * columns, patch]), &device)
}

/// See [`Kernels::scatter`](super::kernels::Kernels::scatter).
pub fn scatter<B: Backend>(patches: Tensor<B, 2>, shape: [usize; 4], window: &Window) -> Tensor<B, 4> {
    let device = patches.device();
    let [n, height, width, channels] = shape;
    let [rows, columns] = window.outputs([height, width]);
    let patch = window.kernel[0] * window.kernel[1] * channels;
    let data = values(patches);
    let patches = floats(&data);
    let mut images = vec![0.0f32; n * height * width * channels];
    images.par_chunks_mut(height * width * channels).zip(patches.par_chunks(rows * columns * patch)).for_each(
        |(image, patches)| {
            for (pixel, patch) in patches.chunks(patch).enumerate() {
                for part in segments([height, width, channels], window, pixel / columns, pixel % columns) {
                    let from = &patch[part.patch..][..part.length];
                    image[part.image..][..part.length].iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        },
    );
    Tensor::from_data(TensorData::new(images, shape), &device)
}

/// Column sums of `[rows, channels]` pieces, added in order in f64.
fn column_sums(channels: usize, pieces: impl IndexedParallelIterator<Item = Vec<f32>>) -> Vec<f64> {
    pieces.collect::<Vec<_>>().into_iter().fold(vec![0.0; channels], |mut sums, piece| {
        sums.iter_mut().zip(piece).for_each(|(sum, value)| *sum += f64::from(value));
        sums
    })
}

/// Mean and biased variance of each column.
fn moments(x: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let rows = (x.len() / channels) as f64;
    let sums = column_sums(
        channels,
        x.par_chunks(PIECE * channels).map(|piece| {
            let mut sums = vec![0.0f32; channels];
            for row in piece.chunks_exact(channels) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            sums
        }),
    );
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / rows) as f32).collect();
    let squares = column_sums(
        channels,
        x.par_chunks(PIECE * channels).map(|piece| {
            let mut sums = vec![0.0f32; channels];
            for row in piece.chunks_exact(channels) {
                sums.iter_mut().zip(row).zip(&mean).for_each(|((sum, x), mean)| *sum += (x - mean) * (x - mean));
            }
            sums
        }),
    );
    let variance = squares.iter().map(|sum| (sum / rows) as f32).collect();
    (mean, variance)
}

/// `1 / sqrt(variance + epsilon)`.
fn inverse_deviations(variance: &[f32]) -> Vec<f32> {
    variance.iter().map(|variance| 1.0 / (variance + EPSILON as f32).sqrt()).collect()
}

/// See [`Kernels::norm_relu`](super::kernels::Kernels::norm_relu).
pub fn norm_relu<B: Backend>(x: Tensor<B, 2>, gamma: Tensor<B, 1>, beta: Tensor<B, 1>) -> NormRelu<B> {
    let device = x.device();
    let [rows, channels] = x.dims();
    let (x, gamma, beta) = (values(x), values(gamma), values(beta));
    let (x, gamma, beta) = (floats(&x), floats(&gamma), floats(&beta));
    let (mean, variance) = moments(x, channels);
    let scale: Vec<f32> = inverse_deviations(&variance).iter().zip(gamma).map(|(i, g)| i * g).collect();
    let mut y = vec![0.0; rows * channels];
    y.par_chunks_mut(PIECE * channels).zip(x.par_chunks(PIECE * channels)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for c in 0..channels {
                y[c] = ((x[c] - mean[c]) * scale[c] + beta[c]).max(0.0);
            }
        }
    });
    let row = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [channels]), &device);
    NormRelu {
        y: Tensor::from_data(TensorData::new(y, [rows, channels]), &device),
        mean: row(mean),
        variance: row(variance),
    }
}

/// See [`Kernels::norm_relu_backward`](super::kernels::Kernels::norm_relu_backward).
pub fn norm_relu_backward<B: Backend>(saved: NormReluInputs<B>, gradient: Tensor<B, 2>) -> NormReluInputs<B> {
    let device = gradient.device();
    let [rows, channels] = gradient.dims();
    let (x, gamma, beta) = (values(saved.x), values(saved.gamma), values(saved.beta));
    let gradient = values(gradient);
    let (x, gamma, beta, gradient) = (floats(&x), floats(&gamma), floats(&beta), floats(&gradient));
    let (mean, variance) = moments(x, channels);
    let inverse = inverse_deviations(&variance);
    // The slope behind the ReLU, and the normalised input.
    let at = |c: usize, x: f32, gradient: f32| {
        let unit = (x - mean[c]) * inverse[c];
        let slope = if unit * gamma[c] + beta[c] > 0.0 { gradient } else { 0.0 };
        (unit, slope)
    };
    let sums = column_sums(
        2 * channels,
        x.par_chunks(PIECE * channels).zip(gradient.par_chunks(PIECE * channels)).map(|(x, gradient)| {
            let mut sums = vec![0.0f32; 2 * channels];
            let (shift, weight) = sums.split_at_mut(channels);
            for (x, gradient) in x.chunks_exact(channels).zip(gradient.chunks_exact(channels)) {
                for c in 0..channels {
                    let (unit, slope) = at(c, x[c], gradient[c]);
                    shift[c] += slope;
                    weight[c] += slope * unit;
                }
            }
            sums
        }),
    );
    let (shift, weight) = sums.split_at(channels);
    let n = rows as f64;
    let means = |sums: &[f64]| -> Vec<f32> { sums.iter().map(|sum| (sum / n) as f32).collect() };
    let (mean_shift, mean_weight) = (means(shift), means(weight));
    let mut slopes = vec![0.0; rows * channels];
    slopes
        .par_chunks_mut(PIECE * channels)
        .zip(x.par_chunks(PIECE * channels).zip(gradient.par_chunks(PIECE * channels)))
        .for_each(|(out, (x, gradient))| {
            let rows = x.chunks_exact(channels).zip(gradient.chunks_exact(channels));
            for (out, (x, gradient)) in out.chunks_exact_mut(channels).zip(rows) {
                for c in 0..channels {
                    let (unit, slope) = at(c, x[c], gradient[c]);
                    out[c] = (slope - mean_shift[c] - unit * mean_weight[c]) * (gamma[c] * inverse[c]);
                }
            }
        });
    let row = |values: &[f64]| {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [channels]), &device)
    };
    NormReluInputs {
        x: Tensor::from_data(TensorData::new(slopes, [rows, channels]), &device),
        gamma: row(weight),
        beta: row(shift),
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::super::kernels::tensor;
    use super::super::kernels::tests::{Plain, assert_close, random, values, windows};
    use super::*;

    #[test]
    fn gather_and_scatter_equal_the_tensor_operations() {
        for (shape, window) in windows() {
            let what = format!("{shape:?} {window:?}");
            let images = random::<Plain, 4>(shape, 1);
            let patches = gather(images.clone(), &window);
            assert_eq!(values(patches.clone()), values(tensor::gather(images, &window)), "{what}");

            let slopes = random::<Plain, 2>(patches.dims(), 2);
            let (fast, slow) = (scatter(slopes.clone(), shape, &window), tensor::scatter(slopes, shape, &window));
            assert_eq!(fast.dims(), shape);
            // A pixel's taps are added in another order.
            assert_close(&values(slow), &values(fast), 1e-6, &what);
        }
    }

    /// Rows below, at and above the size of a piece; a channel far from zero and a constant one.
    #[test]
    fn norm_relu_equals_the_tensor_operations_forward_and_back() {
        for (rows, channels) in [(1, 2), (2, 3), (33, 7), (PIECE, 4), (PIECE + 1, 4), (3 * PIECE + 5, 1)] {
            let mut x = values(random::<Plain, 2>([rows, channels], 1));
            x.chunks_exact_mut(channels).for_each(|row| {
                row[0] += 3.0;
                if channels > 2 {
                    row[1] = 0.25;
                }
            });
            let inputs = || NormReluInputs::<Plain> {
                x: Tensor::from_data(TensorData::new(x.clone(), [rows, channels]), &Default::default()),
                gamma: random::<Plain, 1>([channels], 2) + 1.5,
                beta: random::<Plain, 1>([channels], 3),
            };
            let what = |part| format!("{rows} rows, {channels} channels: {part}");
            let [fast, slow] = [norm_relu, tensor::norm_relu].map(|norm| {
                let inputs = inputs();
                norm(inputs.x, inputs.gamma, inputs.beta)
            });
            assert_close(&values(slow.y), &values(fast.y), 1e-4, &what("y"));
            assert_close(&values(slow.mean), &values(fast.mean), 1e-4, &what("mean"));
            assert_close(&values(slow.variance), &values(fast.variance), 1e-4, &what("variance"));

            let gradient = || random::<Plain, 2>([rows, channels], 4);
            let fast = norm_relu_backward(inputs(), gradient());
            let slow = tensor::norm_relu_backward(inputs(), gradient());
            assert_close(&values(slow.x), &values(fast.x), 1e-4, &what("slope of x"));
            assert_close(&values(slow.gamma), &values(fast.gamma), 1e-4, &what("slope of gamma"));
            assert_close(&values(slow.beta), &values(fast.beta), 1e-4, &what("slope of beta"));
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
            pool.install(|| {
                let [rows, channels] = [5 * PIECE + 3, 6];
                let x = random::<Plain, 2>([rows, channels], 1);
                let (gamma, beta) = (random::<Plain, 1>([channels], 2), random::<Plain, 1>([channels], 3));
                let out = norm_relu(x.clone(), gamma.clone(), beta.clone());
                let back = norm_relu_backward(NormReluInputs { x, gamma, beta }, random([rows, channels], 4));
                [values(out.y), values(out.mean), values(out.variance), values(back.x), values(back.gamma)]
                    .concat()
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<u32>>()
            })
        };
        assert_eq!(on(1), on(3));
    }
}
