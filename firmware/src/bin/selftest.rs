//! Checks the model in the board's slot: is it there, is it whole, does every golden vector come out right, and what does
//! it cost to run, in stack and in time? Exit status 0 only if the answers are good.
#![no_std]
#![no_main]

use core::hint::black_box;

use eigenlet_firmware::{
    board::{self, ARENA, Counter},
    entry, singleton,
    slot::{self, SlotError},
    stack,
};
use eigenlet_runtime::{Arena, Dims, EncoderError, GoldenVector, KERNELS, Model, Sample};

/// Numbers of leading dimensions, bits and local dimensions that the self-test counts.
const PREFIXES: [u16; 4] = [4, 8, 16, 32];
/// Bytes of the longest of these codes.
const CODE: usize = 4;

#[entry]
fn main() -> ! {
    let Some(arena) = singleton!(: Arena<ARENA> = Arena::new()) else { board::exit(false) };
    let arena = arena.bytes();
    // Before anything is logged: writing errors out in words takes more stack than the model.
    let ((), stack) = stack::used_by(|| use_model(arena));
    defmt::info!("eigenlet self-test on {}, kernels: {}", board::NAME, KERNELS);
    board::exit(passes(arena, stack))
}

/// Does with the model in the slot what programs do, to see what stack that takes. Errors come again in [`passes`].
fn use_model(arena: &mut [i8]) {
    let Ok(model) = slot::model() else { return };
    let _ = black_box(model.verify(arena));
    let Some(golden) = model.golden().next() else { return };
    let Ok(mut features) = model.run_sample(arena, golden.sample) else { return };
    let _ = black_box(features.embed(Dims::new(model.dims())));
    let _ = black_box(features.hash::<CODE>());
    let _ = black_box(features.assign());
    let _ = black_box(features.expert(Dims::new(model.expert_dims())));
}

/// `stack`: the bytes that [`use_model`] took.
fn passes(arena: &mut [i8], stack: usize) -> bool {
    let region = slot::region().as_ptr_range();
    let model = match slot::model() {
        Ok(model) => model,
        Err(SlotError::Absent) => {
            defmt::error!("no model: the slot at {} is erased", region.start);
            return false;
        }
        Err(SlotError::Damaged(error)) => {
            defmt::error!("no usable model in the slot at {}: {}", region.start, defmt::Display2Format(&error));
            return false;
        }
    };
    let input = model.input();
    defmt::info!("model in the slot at {}", region.start);
    defmt::info!(
        "input {}x{}x{}, {} dimensions, {} bits, {} clusters, {} multiply-accumulates, arena {} of {} bytes",
        input.height,
        input.width,
        input.channels,
        model.dims(),
        model.bits(),
        model.clusters(),
        model.macs(),
        model.arena_bytes(),
        ARENA
    );

    if model.experts() > 0 {
        defmt::info!("{} experts of {} dimensions", model.experts(), model.expert_dims());
    }

    match model.verify(arena) {
        Ok(vectors) => defmt::info!("golden vectors: all {} right", vectors),
        Err(error) => {
            defmt::error!("golden vectors: {}", defmt::Display2Format(&error));
            return false;
        }
    }
    defmt::info!("stack: {} bytes to parse, verify, embed, hash and assign, apart from the arena", stack);
    let Some(golden) = model.golden().next() else {
        return false;
    };
    if let Sample::Indices(indices) = golden.sample {
        let macs = model.macs_of_ones(indices.len(), model.dims());
        defmt::info!("golden vector 0 has {} ones: {} multiply-accumulates", indices.len(), macs);
    }
    for count in PREFIXES {
        if let Err(error) = report_cost(&model, arena, &golden, count) {
            defmt::error!("{} dimensions, bits or local dimensions: {}", count, defmt::Display2Format(&error));
            return false;
        }
    }
    true
}

/// What the first `count` dimensions, bits and local dimensions of the sample cost, layers included.
fn report_cost(model: &Model, arena: &mut [i8], golden: &GoldenVector, count: u16) -> Result<(), EncoderError> {
    if count <= model.dims() {
        let counter = Counter::start();
        black_box(model.run_sample(arena, black_box(golden.sample))?.embed(Dims::new(count))?);
        let cost = counter.elapsed();
        defmt::info!("k = {}: {} {} for the embedding", count, cost, board::UNIT);
    }
    if count <= model.bits() {
        let mut code = [0; CODE];
        let code = code.get_mut(..usize::from(count).div_ceil(8)).unwrap_or_default();
        let counter = Counter::start();
        model.run_sample(arena, black_box(golden.sample))?.hash_into(count, black_box(&mut *code))?;
        let cost = counter.elapsed();
        defmt::info!("k = {}: {} {} for the code {=[u8]:02x}", count, cost, board::UNIT, code);
    }
    if count <= model.expert_dims() {
        let counter = Counter::start();
        black_box(model.run_sample(arena, black_box(golden.sample))?.expert(Dims::new(count))?);
        let cost = counter.elapsed();
        defmt::info!("k = {}: {} {} for the expert", count, cost, board::UNIT);
    }
    Ok(())
}
