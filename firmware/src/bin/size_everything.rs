//! A program that uses all of the runtime that runs models, every layer and every head, and nothing else: its flash less
//! `size_baseline`'s is the runtime's own. It is built with this package's feature `everything`.
//!
//! It also proves that the runtime cannot panic: the panic handler calls a function that is nowhere, so the program links
//! only if the optimiser found no way that leads there. Not under proof is writing errors out in words (`Display`): the
//! core library's own formatting holds panics that the optimiser cannot see to be unreachable.
#![no_std]
#![no_main]

use core::{hint::black_box, panic::PanicInfo};

use cortex_m_rt::entry;
use eigenlet_runtime::{Arena, Dims, Index, Model, Sample};

#[entry]
fn main() -> ! {
    static mut ARENA: Arena<4096> = Arena::new();
    static mut INDEX: Index<8, 64> = Index::new();
    let (blob, sample): (&[u8], &[u8]) = black_box((&[], &[]));
    let indices: &[u16] = black_box(&[]);
    loop {
        let Ok(model) = Model::parse(blob) else { continue };
        let arena = ARENA.bytes();
        let _ = black_box(&model.verify(arena));
        let _ = black_box(&model.run_sample(arena, Sample::Indices(indices)));
        let Ok(mut features) = model.run(arena, sample) else { continue };
        let _ = black_box(&features.embed(Dims::new(black_box(8))));
        let _ = black_box(&features.assign());
        let _ = black_box(&features.expert(Dims::new(black_box(4))));
        let Ok(code) = features.hash::<8>() else { continue };
        black_box(&INDEX.nearest::<5>(&code));
        let _ = black_box(&INDEX.insert(code, black_box(1)));
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
