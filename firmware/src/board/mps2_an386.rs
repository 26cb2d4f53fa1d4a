//! Arm's MPS2 board with the AN386 image (Cortex-M4F), as QEMU's `mps2-an386` emulates it.

pub use super::emulated::{UNIT, exit};
use super::mps2;

/// The board's name.
pub const NAME: &str = "mps2-an386 (QEMU, Cortex-M4F)";
/// Bytes of RAM for activations.
pub const ARENA: usize = 16 * 1024;

/// Counts instructions: timer 0, at 25 MHz.
pub type Counter = mps2::Counter<0x4000_0000, 40>;
/// The serial line: UART 0.
pub type Serial = mps2::Serial<0x4000_4000>;
