//! QEMU's own machine `virt` with a 32-bit RISC-V core (RV32IMAC).

use riscv::register::minstret;

pub use super::emulated::{UNIT, exit};

/// The board's name.
pub const NAME: &str = "virt-riscv32 (QEMU, RV32IMAC)";
/// Bytes of RAM for activations.
pub const ARENA: usize = 16 * 1024;

/// Counts executed instructions with the core's own counter, which steps by one an instruction where that takes 1 ns of the
/// machine's time, see `boards/qemu`; exact, and the same in every run. Wraps after 4 thousand million.
pub struct Counter {
    start: usize,
}

impl Counter {
    /// Starts to count.
    pub fn start() -> Self {
        Self { start: minstret::read() }
    }

    /// Instructions since the start, the few of the measurement itself included.
    pub fn elapsed(&self) -> u32 {
        minstret::read().wrapping_sub(self.start) as u32
    }
}
