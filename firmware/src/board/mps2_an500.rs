//! Arm's MPS2 board with the AN500 image (Cortex-M7), as QEMU's `mps2-an500` emulates it.

pub use super::emulated::{UNIT, exit};
use super::mps2;

/// The board's name.
pub const NAME: &str = "mps2-an500 (QEMU, Cortex-M7)";
/// Bytes of RAM for activations.
pub const ARENA: usize = 16 * 1024;

/// Counts instructions: timer 0, at 25 MHz.
pub type Counter = mps2::Counter<0x4000_0000, 40>;
/// The serial line: UART 0.
pub type Serial = mps2::Serial<0x4000_4000>;
