//! Arm's MPS2 board with the AN386 image (Cortex-M4F), as QEMU's `mps2-an386` emulates it.
//!
//! Registers: Arm CMSDK APB timer and UART. The log leaves through semihosting.

use cortex_m_semihosting::debug;
use defmt_semihosting as _;

/// The board's name.
pub const NAME: &str = "mps2-an386 (QEMU, Cortex-M4F)";
/// What [`Counter`] counts.
pub const UNIT: &str = "instructions";

const TIMER: *mut u32 = 0x4000_0000 as *mut u32;
const UART: *mut u32 = 0x4000_4000 as *mut u32;

/// A timer tick is 40 ns (25 MHz), an instruction 2^8 ns under `-icount shift=8`.
const TICK_NS: u64 = 40;
const INSTRUCTION_SHIFT: u32 = 8;

/// Reads a word register.
fn read(base: *mut u32, word: usize) -> u32 {
    // SAFETY: only called below, with a device's base and the index of one of its registers; reads of them are always
    // allowed, and word-aligned.
    unsafe { base.add(word).read_volatile() }
}

/// Writes a word register.
fn write(base: *mut u32, word: usize, value: u32) {
    // SAFETY: as for `read`; none of these registers makes the device touch memory.
    unsafe { base.add(word).write_volatile(value) }
}

/// Counts executed instructions; exact, and the same in every run. Wraps after 670 million.
pub struct Counter {
    start: u32,
}

impl Counter {
    /// Starts to count.
    pub fn start() -> Self {
        const CTRL: usize = 0;
        const RELOAD: usize = 2;
        write(TIMER, CTRL, 0);
        write(TIMER, RELOAD, u32::MAX);
        write(TIMER, Self::VALUE, u32::MAX);
        write(TIMER, CTRL, 1);
        Self { start: read(TIMER, Self::VALUE) }
    }

    /// Instructions since the start, the few of the measurement itself included.
    pub fn elapsed(&self) -> u32 {
        let ticks = self.start.wrapping_sub(read(TIMER, Self::VALUE)) as u64;
        ((ticks * TICK_NS + (1 << (INSTRUCTION_SHIFT - 1))) >> INSTRUCTION_SHIFT) as u32
    }

    /// The timer counts down.
    const VALUE: usize = 1;
}

/// The serial line to the host: UART 0.
pub struct Serial(());

impl Serial {
    const DATA: usize = 0;
    const STATE: usize = 1;
    const TX_FULL: u32 = 1;
    const RX_FULL: u32 = 2;

    /// Switches the line on. QEMU has no use for a speed; the divider is the smallest that it accepts.
    pub fn open() -> Self {
        const CTRL: usize = 2;
        const BAUDDIV: usize = 4;
        write(UART, BAUDDIV, 16);
        write(UART, CTRL, 3);
        Self(())
    }

    /// Waits for a byte.
    pub fn read(&mut self) -> u8 {
        while read(UART, Self::STATE) & Self::RX_FULL == 0 {}
        read(UART, Self::DATA) as u8
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            while read(UART, Self::STATE) & Self::TX_FULL != 0 {}
            write(UART, Self::DATA, *byte as u32);
        }
    }
}

/// Ends the program: QEMU's exit status is 0 after success, 1 otherwise.
pub fn exit(success: bool) -> ! {
    let status = if success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE };
    loop {
        debug::exit(status);
    }
}
