//! What Arm's MPS2 boards have, as QEMU emulates them: CMSDK APB timer and UART.

/// An instruction takes 2^8 ns of the machine's time, see `boards/qemu`.
const INSTRUCTION_SHIFT: u32 = 8;

/// Reads a word register.
fn read(base: usize, word: usize) -> u32 {
    // SAFETY: only called below, with a device's base and the index of one of its registers; reads of them are always
    // allowed, and word-aligned.
    unsafe { (base as *const u32).add(word).read_volatile() }
}

/// Writes a word register.
fn write(base: usize, word: usize, value: u32) {
    // SAFETY: as for `read`; none of these registers makes the device touch memory.
    unsafe { (base as *mut u32).add(word).write_volatile(value) }
}

/// Counts executed instructions with the timer at `TIMER`, of which a tick takes `TICK_NS`; exact, and the same in every run.
/// Wraps after 2^32 ticks, 670 million instructions or more.
pub struct Counter<const TIMER: usize, const TICK_NS: u64> {
    start: u32,
}

impl<const TIMER: usize, const TICK_NS: u64> Counter<TIMER, TICK_NS> {
    /// The timer counts down.
    const VALUE: usize = 1;

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
        let ticks = u64::from(self.start.wrapping_sub(read(TIMER, Self::VALUE)));
        ((ticks * TICK_NS + (1 << (INSTRUCTION_SHIFT - 1))) >> INSTRUCTION_SHIFT) as u32
    }
}

/// The serial line to the host: the UART at `UART`.
pub struct Serial<const UART: usize>(());

impl<const UART: usize> Serial<UART> {
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
            write(UART, Self::DATA, u32::from(*byte));
        }
    }
}
