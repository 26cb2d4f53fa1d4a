//! BBC micro:bit (nRF51822, Cortex-M0), as QEMU's `microbit` emulates it. Registers: nRF51 Series Reference Manual, TIMER.

pub use super::emulated::{UNIT, exit};

/// The board's name.
pub const NAME: &str = "microbit (QEMU, Cortex-M0)";
/// Bytes of RAM for activations: of 16 KB, the stack wants most.
pub const ARENA: usize = 4 * 1024;

const TIMER: *mut u32 = 0x4000_8000 as *mut u32;

/// Writes the register at a byte offset.
fn write(offset: usize, value: u32) {
    // SAFETY: only called below, with the offset of one of the timer's registers; word-aligned, and none of them makes the
    // device touch memory.
    unsafe { TIMER.byte_add(offset).write_volatile(value) }
}

/// Counts executed instructions with timer 0; exact, and the same in every run. Wraps after a thousand million.
pub struct Counter(());

impl Counter {
    /// Two ticks of 16 MHz take 125 ns, an instruction 2^8 ns, see `boards/qemu`.
    const TWO_TICKS_NS: u64 = 125;
    const TWO_INSTRUCTIONS_SHIFT: u32 = 9;

    /// Starts to count.
    pub fn start() -> Self {
        write(0x508, 3); // BITMODE: 32 bits
        write(0x510, 0); // PRESCALER: none
        write(0x00c, 1); // CLEAR
        write(0x000, 1); // START
        Self(())
    }

    /// Instructions since the start, the few of the measurement itself included.
    pub fn elapsed(&self) -> u32 {
        write(0x040, 1); // CAPTURE[0]
        // SAFETY: CC[0] is a register of the timer; reading it is always allowed.
        let ticks = u64::from(unsafe { TIMER.byte_add(0x540).read_volatile() });
        ((ticks * Self::TWO_TICKS_NS + (1 << (Self::TWO_INSTRUCTIONS_SHIFT - 1))) >> Self::TWO_INSTRUCTIONS_SHIFT)
            as u32
    }
}
