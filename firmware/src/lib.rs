//! What the firmware's programs share: the board, the model's slot, and what happens when something goes wrong.
#![no_std]

pub mod board;
pub mod slot;

use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, exception};

/// Bytes of activations that the programs have room for. A model that needs more is refused with both numbers.
pub const ARENA: usize = 16 * 1024;

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    board::exit(false)
}

/// A processor fault: a stack overflow, or an access to memory that is not there.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    defmt::error!("hard fault at {=u32:#010x}, called from {=u32:#010x}", frame.pc(), frame.lr());
    board::exit(false)
}
