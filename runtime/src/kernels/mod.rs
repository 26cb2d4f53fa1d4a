//! The layers on packed rows (`eigenlet_shared::packed`): two rows of weights in every multiplication.
//!
//! Activations are widened first, from bytes to 16-bit lanes in the order of the packed columns; what then runs over the words is
//! `engine`: a few routines in assembly where the core has the DSP extension, else Rust around the sums of a quad of rows, `parts`, which are
//! assembly on other Cortex-M and safe Rust elsewhere. All give the same bytes.
//!
//! Biases hold `-zero_point * sum(weights)` already, so activations are multiplied as they lie, and padding reads as the zero
//! point. Arithmetic wraps, and lengths that do not fit leave outputs as they were: a faulty model must not stop a chip.

#[cfg(feature = "conv")]
mod add;
#[cfg(feature = "conv")]
mod conv;
#[cfg(feature = "conv")]
mod depthwise;
#[cfg(feature = "conv")]
mod pool;
mod rows;
#[cfg(feature = "indices")]
mod sparse;
mod widen;
#[cfg(feature = "conv")]
pub(crate) mod window;

// What only measurements and windows need is there, too.
#[cfg_attr(not(all(feature = "bench", feature = "conv")), allow(dead_code))]
#[cfg(eigenlet_dsp)]
#[path = "dsp.rs"]
mod engine;
#[cfg_attr(not(all(feature = "bench", feature = "conv")), allow(dead_code))]
#[cfg(not(eigenlet_dsp))]
#[path = "portable.rs"]
mod engine;
#[cfg(not(any(eigenlet_dsp, eigenlet_armv7m, eigenlet_thumb1)))]
#[path = "sums.rs"]
mod parts;
#[cfg(eigenlet_armv7m)]
#[path = "armv7m.rs"]
mod parts;
#[cfg(eigenlet_thumb1)]
#[path = "thumb1.rs"]
mod parts;

#[cfg(feature = "conv")]
use eigenlet_shared::description::Window;
use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::SIDE;

#[cfg(feature = "conv")]
pub use add::add;
#[cfg(feature = "conv")]
pub use conv::conv2d;
#[cfg(feature = "conv")]
pub use depthwise::depthwise_conv2d;
pub use engine::KERNELS;
#[cfg(feature = "conv")]
pub use pool::{average_pool2d, max_pool2d};
#[cfg(feature = "bench")]
pub use rows::dense;
pub use rows::{outputs, quad_sums};
#[cfg(feature = "indices")]
pub use sparse::dense_at;
pub use widen::{widen, widen_raw};

#[cfg(feature = "conv")]
use eigenlet_shared::geometry::Shape;

/// Rows of packed weights with their constants, for whole quads: assembly relies on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rows<'a> {
    words: &'a [u32],
    biases: &'a [i32],
    scales: &'a [Scale],
    rows: usize,
    /// Words of a quad.
    quad: usize,
}

impl<'a> Rows<'a> {
    /// So many rows, with `quad` words for every four of them: [`quad_words`](eigenlet_shared::packed::quad_words), or of the filters
    /// of a depthwise convolution [`filter_words`](eigenlet_shared::packed::filter_words). `biases` are what each row's sum starts
    /// from, `scales` how it becomes an int8 value, and empty where only sums are wanted. `None` where one is not as long as whole
    /// quads have it.
    pub fn new(words: &'a [u32], biases: &'a [i32], scales: &'a [Scale], rows: usize, quad: usize) -> Option<Self> {
        let quads = rows.div_ceil(SIDE);
        let padded = quads.checked_mul(SIDE)?;
        let is_whole = quads.checked_mul(quad) == Some(words.len())
            && biases.len() == padded
            && (scales.is_empty() || scales.len() == padded);
        is_whole.then_some(Self { words, biases, scales, rows, quad })
    }

    /// The rows from a quad on; `None` where there are none.
    pub fn from(&self, quad: usize) -> Option<Self> {
        let first = quad.checked_mul(SIDE)?;
        let rows = self.rows.checked_sub(first).filter(|rows| *rows > 0)?;
        // It is one of the quads, so this does not overflow.
        let words = self.words.get(quad.wrapping_mul(self.quad)..)?;
        let scales = self.scales.get(first..).unwrap_or_default();
        Some(Self { words, biases: self.biases.get(first..)?, scales, rows, quad: self.quad })
    }

    /// Number of rows, the outputs of a layer.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The weights.
    pub fn words(&self) -> &'a [u32] {
        self.words
    }

    /// What sums start from.
    pub fn biases(&self) -> &'a [i32] {
        self.biases
    }

    /// How sums become int8 values.
    pub fn scales(&self) -> &'a [Scale] {
        self.scales
    }
}

/// The int8 values that outputs are clamped to: from a fused ReLU's zero point up, or -127 to 127 for an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Lowest value, inclusive.
    pub minimum: i8,
    /// Highest value, inclusive.
    pub maximum: i8,
}

impl Range {
    /// All of int8, which requantisation saturates to anyway.
    pub const WHOLE: Self = Self { minimum: i8::MIN, maximum: i8::MAX };

    // One copy; and a pass of its own, since most layers need none.
    #[inline(never)]
    fn clamp(self, values: &mut [i8]) {
        if self == Self::WHOLE {
            return;
        }
        for value in values {
            *value = (*value).min(self.maximum).max(self.minimum);
        }
    }
}

/// Where a window slides.
#[cfg(feature = "conv")]
#[derive(Clone, Copy)]
pub struct Slide<'a> {
    /// The image that it slides over.
    pub input: Shape,
    /// What its positions make.
    pub output: Shape,
    /// Its size, steps and padding.
    pub window: &'a Window,
    /// What padding reads as.
    pub zero_point: i8,
}

/// The int8 values of sums, as many as there are of all three.
// One copy, for all that the engine does not finish itself.
#[cfg(any(not(eigenlet_dsp), feature = "indices"))]
#[inline(never)]
fn finish(sums: &[i32], scales: &[Scale], to: &mut [i8]) {
    for ((to, sum), scale) in to.iter_mut().zip(sums).zip(scales) {
        #[cfg(eigenlet_thumb1)]
        let output = parts::output(scale, *sum);
        #[cfg(not(eigenlet_thumb1))]
        let output = scale.output(*sum);
        *to = output;
    }
}
