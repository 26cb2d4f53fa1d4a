//! A program that uses the whole of the runtime and nothing else: its flash less `size_baseline`'s is the runtime's own.
//!
//! It also proves that the runtime cannot panic: the panic handler calls a function that is nowhere, so the program links
//! only if the optimiser found no way that leads there.
#![no_std]
#![no_main]

use core::{hint::black_box, panic::PanicInfo};

use cortex_m_rt::entry;
use eigenlet_runtime::{Dims, Encoder, Index, Model, Sample};

#[entry]
fn main() -> ! {
    let (blob, sample): (&[u8], &[u8]) = black_box((&[], &[]));
    let indices: &[u16] = black_box(&[]);
    let mut index = Index::<8, 64>::new();
    loop {
        let Ok(model) = Model::parse(blob) else {
            continue;
        };
        let Ok(mut encoder) = Encoder::<4096>::new(&model) else {
            continue;
        };
        let _ = black_box(encoder.verify());
        let _ = black_box(encoder.run_sample(Sample::Indices(indices)));
        let _ = black_box(encoder.embed(sample, Dims::new(black_box(8))));
        let _ = black_box(encoder.assign(sample));
        let _ = black_box(encoder.expert(sample, Dims::new(black_box(4))));
        if let Ok(code) = encoder.hash::<8>(sample) {
            black_box(index.nearest::<5>(&code));
            let _ = black_box(index.insert(code, black_box(1)));
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    unsafe extern "C" {
        fn the_runtime_can_panic() -> !;
    }
    // SAFETY: never linked, so never called.
    unsafe { the_runtime_can_panic() }
}
