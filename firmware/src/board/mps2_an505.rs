//! Arm's MPS2 board with the AN505 image (Cortex-M33), as QEMU's `mps2-an505` emulates it.

pub use super::emulated::{UNIT, exit};
use super::mps2;

/// The board's name.
pub const NAME: &str = "mps2-an505 (QEMU, Cortex-M33)";
/// Bytes of RAM for activations.
pub const ARENA: usize = 16 * 1024;

/// Counts instructions: timer 0, at 20 MHz, where the secure world sees it.
pub type Counter = mps2::Counter<0x5000_0000, 50>;
/// The serial line: UART 0, where the secure world sees it.
pub type Serial = mps2::Serial<0x5020_0000>;
