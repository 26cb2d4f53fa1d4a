//! What the firmware's programs share: the board, the model's slot, and what happens when something goes wrong.
//!
//! Programs take `entry` and `singleton` from here: the processor's runtime has them, whichever it is.
#![no_std]
// The programs that measure sizes are built without a board, and share nothing.
#![cfg(feature = "board")]

pub mod board;
pub mod slot;
pub mod stack;

use core::panic::PanicInfo;

#[cfg(target_arch = "arm")]
pub use cortex_m::singleton;
#[cfg(target_arch = "arm")]
pub use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
pub use riscv::singleton;
#[cfg(target_arch = "riscv32")]
pub use riscv_rt::entry;

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    board::exit(false)
}

/// A processor fault: a stack overflow, or an access to memory that is not there.
#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    defmt::error!("hard fault at {=u32:#010x}, called from {=u32:#010x}", frame.pc(), frame.lr());
    board::exit(false)
}

/// A processor fault, as on Arm.
#[cfg(target_arch = "riscv32")]
#[unsafe(export_name = "ExceptionHandler")]
fn exception(_: &riscv_rt::TrapFrame) -> ! {
    use riscv::register::{mcause, mepc};
    defmt::error!("exception {=usize} at {=usize:#010x}", mcause::read().code(), mepc::read());
    board::exit(false)
}
