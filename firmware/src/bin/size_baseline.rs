//! A program that does nothing: what it takes in flash is not the runtime's. See `size_dense` and `size_everything`.
#![no_std]
#![no_main]

use core::{hint::black_box, panic::PanicInfo};

use cortex_m_rt::entry;

#[entry]
fn main() -> ! {
    loop {
        black_box(());
    }
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}
