#![no_std]
#![no_main]
use core::{hint::black_box, panic::PanicInfo};
use cortex_m_rt::entry;
use eigenlet_runtime::{Dims, Encoder, Index, Model};
#[entry]
fn main() -> ! {
    let (blob, sample): (&[u8], &[u8]) = black_box((&[], &[]));
    let mut index = Index::<8, 64>::new();
    loop {
        let Ok(model) = Model::parse(blob) else { continue };
        let Ok(mut encoder) = Encoder::<4096>::new(&model) else { continue };
        let _ = black_box(encoder.embed(sample, Dims::new(black_box(8))));
        if let Ok(code) = encoder.hash::<8>(sample) {
            black_box(index.nearest::<5>(&code));
            let _ = black_box(index.insert(code, black_box(1)));
        }
    }
}
#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    unsafe extern "C" { fn the_runtime_can_panic() -> !; }
    unsafe { the_runtime_can_panic() }
}
