//! Shapes of images, and what a window makes of them.

use crate::description::Window;

/// The most values that anything has: the same bound on every target.
const MOST: usize = i32::MAX as usize;

/// An image's height, width and channels, none of them 0; values lie in that order (NHWC), and number less than 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values a pixel.
    pub channels: usize,
}

impl Shape {
    /// The shape of an image; `None` where it has no values or more than 2^31 - 1.
    // One copy for all layers.
    #[inline(never)]
    pub fn new(height: usize, width: usize, channels: usize) -> Option<Self> {
        // What does not fit a usize is too much in any case.
        let length = height.saturating_mul(width).saturating_mul(channels);
        (length > 0 && length <= MOST).then_some(Self { height, width, channels })
    }

    /// A vector: 1 by 1 by `length`.
    pub fn vector(length: usize) -> Option<Self> {
        Self::new(1, 1, length)
    }

    /// Number of values.
    #[allow(clippy::len_without_is_empty)] // it never is
    pub fn len(self) -> usize {
        self.height.wrapping_mul(self.width).wrapping_mul(self.channels)
    }

    /// The shape that is left when `window` slides over this one and each of its positions gives `channels` values.
    /// `None` where the window has no size, no step or no room, or where a position could see nothing but padding.
    // One copy for all layers.
    #[inline(never)]
    pub fn under(self, window: &Window, channels: usize) -> Option<Self> {
        let [kernel_height, kernel_width] = window.kernel;
        let [stride_down, stride_right] = window.stride;
        let [top, left, bottom, right] = window.padding;
        Self::new(
            positions(self.height, kernel_height, stride_down, top, bottom)?,
            positions(self.width, kernel_width, stride_right, left, right)?,
            channels,
        )
    }
}

/// `(size + before + after - kernel) / stride + 1`.
fn positions(size: usize, kernel: u8, stride: u8, before: u8, after: u8) -> Option<usize> {
    if before >= kernel || after >= kernel {
        return None;
    }
    size.checked_add(before.into())?
        .checked_add(after.into())?
        .checked_sub(kernel.into())?
        .checked_div(stride.into())?
        .checked_add(1)
}

/// Weights of a filter: a window over so many channels. `None` from 2^31 on.
pub fn taps(window: &Window, channels: usize) -> Option<usize> {
    let [height, width] = window.kernel;
    let taps = usize::from(height).wrapping_mul(width.into()).saturating_mul(channels);
    (taps <= MOST).then_some(taps)
}
