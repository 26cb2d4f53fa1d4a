//! A whole small product around the model in the board's slot: holds it to its golden vectors, remembers 256 images by their
//! codes, finds others among them, and says what memory that took. Made for `mnist-neural-eigenmap-small`; any model of images runs that its
//! memory has room for. Exit status 0 only if the golden vectors come out right and what is found is what was asked for.
#![no_std]
#![no_main]

use eigenlet_firmware::{
    board::{self, Counter},
    entry, singleton, slot, stack,
};
use eigenlet_runtime::{Arena, Code, EncoderError, Index, Model, Sample, Shape};

/// Bytes for activations: what `eigenlet inspect` prints.
const ARENA: usize = 3176;
/// Bytes of an image.
const IMAGE: usize = 28 * 28;
/// Bytes of a code.
const CODE: usize = 4;
/// Codes that are remembered.
const CODES: usize = 256;
/// How far the golden samples' remembered copies are moved, down and to the right: sixteen copies of each.
const MOVES: [isize; 4] = [-2, -1, 1, 2];
/// Nearest codes that are looked for.
const NEAREST: usize = 5;

/// All memory but the stack.
struct Memory {
    arena: Arena<ARENA>,
    index: Index<CODE, CODES>,
    image: [u8; IMAGE],
}

#[entry]
fn main() -> ! {
    let memory = singleton!(: Memory = Memory { arena: Arena::new(), index: Index::new(), image: [0; IMAGE] });
    let Some(memory) = memory else { board::exit(false) };
    let caller = stack::depth();
    let (passed, stack) = stack::used_by(|| demonstrate(memory));
    defmt::info!("stack: {} bytes in all, this log included", caller + stack);
    board::exit(passed)
}

/// Does everything, and says whether it went well.
fn demonstrate(memory: &mut Memory) -> bool {
    defmt::info!("eigenlet demo on {}", board::NAME);
    defmt::info!(
        "memory: arena {}, index {}, image {}, together {} bytes",
        size_of_val(&memory.arena),
        size_of_val(&memory.index),
        size_of_val(&memory.image),
        size_of_val(memory)
    );
    let Ok(model) = slot::model() else {
        defmt::error!("no usable model in the slot; the self-test says why");
        return false;
    };
    let (image, arena) = (model.input_len(), model.arena_bytes());
    if image > IMAGE || arena > ARENA {
        defmt::error!(
            "room for images of {} and an arena of {} bytes, the model wants {} and {}",
            IMAGE,
            ARENA,
            image,
            arena
        );
        return false;
    }
    let Ok(vectors) = model.verify(memory.arena.bytes()) else {
        defmt::error!("a golden vector is wrong; the self-test says which");
        return false;
    };
    defmt::info!("golden vectors: all {} right", vectors);
    let Ok(found) = remember(&model, memory).and_then(|()| search(&model, memory)) else {
        defmt::error!("the model gives no code of {} bytes for a golden sample", CODE);
        return false;
    };
    // By chance it would be one in as many as there are samples.
    found.total > 0 && found.right * 2 > found.total
}

/// Fills the index with the codes of moved golden samples; a code's id is its sample's number.
fn remember(model: &Model, memory: &mut Memory) -> Result<(), EncoderError> {
    let shape = model.input();
    let moves = || MOVES.into_iter().flat_map(|down| MOVES.map(|right| (down, right)));
    for (number, golden) in (0u32..).zip(model.golden()) {
        let Sample::Bytes(sample) = golden.sample else { continue };
        for (down, right) in moves() {
            let Some(image) = memory.image.get_mut(..sample.len()) else { continue };
            shift(sample, shape, down, right, image);
            let code = hash(model, &mut memory.arena, image)?;
            if memory.index.insert(code, number).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// How often what was found was right.
struct Found {
    right: u32,
    total: u32,
}

/// Looks for the golden samples as they are, none of which the index has seen.
fn search(model: &Model, memory: &mut Memory) -> Result<Found, EncoderError> {
    let mut found = Found { right: 0, total: 0 };
    for (number, golden) in (0u32..).zip(model.golden()) {
        let Sample::Bytes(sample) = golden.sample else { continue };
        let counter = Counter::start();
        let code = hash(model, &mut memory.arena, sample)?;
        let hashed = counter.elapsed();
        let counter = Counter::start();
        let hits = memory.index.nearest::<NEAREST>(&code);
        let searched = counter.elapsed();
        if number == 0 {
            defmt::info!("{} {} for a code {=[u8]:02x}", hashed, board::UNIT, code.0);
            defmt::info!("{} {} to find the {} nearest of {}", searched, board::UNIT, NEAREST, memory.index.len());
        }
        found.total += hits.len() as u32;
        found.right += hits.iter().filter(|hit| hit.id == number).count() as u32;
    }
    defmt::info!("of {} codes found, {} are of the same image, moved", found.total, found.right);
    Ok(found)
}

fn hash(model: &Model, arena: &mut Arena<ARENA>, image: &[u8]) -> Result<Code<CODE>, EncoderError> {
    model.run(arena.bytes(), image)?.hash::<CODE>()
}

/// Moves an image down and to the right; what comes in from outside is 0.
fn shift(image: &[u8], shape: Shape, down: isize, right: isize, moved: &mut [u8]) {
    let (width, channels) = (shape.width.max(1), shape.channels.max(1));
    for (position, value) in moved.iter_mut().enumerate() {
        let (pixel, channel) = (position / channels, position % channels);
        let from = |at: usize, by: isize, size: usize| at.checked_add_signed(by.wrapping_neg()).filter(|at| *at < size);
        let (row, column) = (from(pixel / width, down, shape.height), from(pixel % width, right, width));
        let source = row.zip(column).map(|(row, column)| (row * width + column) * channels + channel);
        *value = source.and_then(|source| image.get(source)).copied().unwrap_or_default();
    }
}
