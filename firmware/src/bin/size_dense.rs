//! The smallest useful program: it parses a model, embeds a sample, hashes it, remembers the code and finds the nearest ones.
//! Its flash less `size_baseline`'s is what a model of dense layers takes of the runtime. It is built without this package's
//! feature `everything`, and links only if nothing of it can panic: see `size_everything`.
#![no_std]
#![no_main]

use core::{hint::black_box, panic::PanicInfo};

use cortex_m_rt::entry;
use eigenlet_runtime::{Arena, Dims, Index, Model};

#[entry]
fn main() -> ! {
    static mut ARENA: Arena<4096> = Arena::new();
    static mut INDEX: Index<8, 64> = Index::new();
    let (blob, sample): (&[u8], &[u8]) = black_box((&[], &[]));
    loop {
        let Ok(model) = Model::parse(blob) else { continue };
        let Ok(mut features) = model.run(ARENA.bytes(), sample) else { continue };
        let _ = black_box(&features.embed(Dims::new(black_box(8))));
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
