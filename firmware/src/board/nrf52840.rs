//! Nordic's nRF52840 DK (Cortex-M4F). Registers: nRF52840 Product Specification, UART and GPIO.
//!
//! The log leaves through RTT. The serial line is the DK's USB port: P0.06 out, P0.08 in, 115,200 baud, 8N1.

use cortex_m::peripheral::{DCB, DWT};
use cortex_m_semihosting::debug;
use defmt_rtt as _;

/// The board's name.
pub const NAME: &str = "nRF52840 DK (Cortex-M4F)";
/// What [`Counter`] counts.
pub const UNIT: &str = "cycles";

/// Bytes of RAM for activations.
pub const ARENA: usize = 16 * 1024;

const UART: *mut u32 = 0x4000_2000 as *mut u32;
const GPIO: *mut u32 = 0x5000_0000 as *mut u32;

/// Reads the register at a byte offset.
fn read(base: *mut u32, offset: usize) -> u32 {
    // SAFETY: only called below, with a device's base and the offset of one of its registers; word-aligned.
    unsafe { base.byte_add(offset).read_volatile() }
}

/// Writes the register at a byte offset.
fn write(base: *mut u32, offset: usize, value: u32) {
    // SAFETY: as for `read`; none of these registers makes the device touch memory.
    unsafe { base.byte_add(offset).write_volatile(value) }
}

/// Counts processor cycles with the core's own counter. Wraps after 67 s at 64 MHz.
pub struct Counter {
    start: u32,
}

impl Counter {
    /// Starts to count.
    pub fn start() -> Self {
        // SAFETY: nothing else in these programs uses DCB or DWT.
        let mut core = unsafe { cortex_m::Peripherals::steal() };
        core.DCB.enable_trace();
        core.DWT.enable_cycle_counter();
        Self { start: DWT::cycle_count() }
    }

    /// Cycles since the start, the few of the measurement itself included.
    pub fn elapsed(&self) -> u32 {
        DWT::cycle_count().wrapping_sub(self.start)
    }
}

/// The serial line to the host: UART 0.
pub struct Serial(());

impl Serial {
    const EVENTS_RXDRDY: usize = 0x108;
    const EVENTS_TXDRDY: usize = 0x11c;
    const RXD: usize = 0x518;
    const TXD: usize = 0x51c;

    /// Switches the line on.
    pub fn open() -> Self {
        const OUT_PIN: u32 = 6;
        const IN_PIN: u32 = 8;
        const BAUD_115200: u32 = 0x01d7_e000;
        write(GPIO, 0x508, 1 << OUT_PIN); // OUTSET: the line idles high
        write(GPIO, 0x518, 1 << OUT_PIN); // DIRSET
        write(UART, 0x50c, OUT_PIN); // PSEL.TXD
        write(UART, 0x514, IN_PIN); // PSEL.RXD
        write(UART, 0x524, BAUD_115200);
        write(UART, 0x500, 4); // ENABLE
        write(UART, 0x000, 1); // STARTRX
        write(UART, 0x008, 1); // STARTTX
        Self(())
    }

    /// Waits for a byte.
    pub fn read(&mut self) -> u8 {
        while read(UART, Self::EVENTS_RXDRDY) == 0 {}
        write(UART, Self::EVENTS_RXDRDY, 0);
        read(UART, Self::RXD) as u8
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            write(UART, Self::EVENTS_TXDRDY, 0);
            write(UART, Self::TXD, *byte as u32);
            while read(UART, Self::EVENTS_TXDRDY) == 0 {}
        }
    }
}

/// Ends the program. Under a debug probe it reports success or failure there; alone, the board sleeps.
pub fn exit(success: bool) -> ! {
    if DCB::is_debugger_attached() {
        debug::exit(if success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    }
    loop {
        cortex_m::asm::wfi();
    }
}
