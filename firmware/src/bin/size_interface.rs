//! A program that uses the whole of the runtime's interface, what tools and curious people ask included.
//!
//! It proves that the runtime cannot panic: the panic handler calls a function that is nowhere, so the program links
//! only if the optimiser found no way that leads there. Not under proof is writing errors out in words (`Display`): the
//! core library's own formatting holds panics that the optimiser cannot see to be unreachable.
#![no_std]
#![no_main]

use core::{hint::black_box, panic::PanicInfo};

use cortex_m_rt::entry;
use eigenlet_runtime::{Arena, Code, Dims, Encoder, EncoderError, Head, Hit, Index, Model, Sample, Stream, nearest_in};

const DIMS: usize = 32;

#[entry]
fn main() -> ! {
    let blob = eigenlet_runtime::include_model!("../../../runtime/tests/tiny.eigenlet");
    let mut index = Index::<8, 64>::new();
    let mut arena = Arena::<4096>::new();
    loop {
        let Ok(model) = Model::parse(black_box(blob)) else { continue };
        look_at(&model);
        let _ = black_box(borrow_arena(&model, arena.bytes(), &index));
        let Ok(mut encoder) = Encoder::new(&model) else { continue };
        let _ = black_box(own_arena(&mut encoder, &mut index));
        search(&index);
        let _ = black_box(slide(&model));
        #[cfg(feature = "float")]
        use_floats(&model);
    }
}

/// A value that the optimiser knows nothing of.
fn any<T: Copy>(value: T) -> T {
    black_box(value)
}

/// Everything that a model says of itself.
fn look_at(model: &Model) {
    black_box((model.input(), model.input().len(), model.input_len(), model.raw(), model.golden_count()));
    black_box((model.features(), model.dims(), model.bits(), model.clusters(), model.experts(), model.expert_dims()));
    black_box((model.input_scale(), model.input_offset(), model.scale(), model.expert_scale()));
    black_box((model.eigenvalues(), model.expert_eigenvalues(any(1))));
    black_box((model.arena_bytes(), model.weight_bytes(), model.stream_bytes(), model.macs_of_lines(any(3))));
    black_box((model.macs(), model.macs_for(any(8)), model.macs_of_ones(any(8), any(8))));
    for head in [Head::Embedding, Head::Hash, Head::Clusters, Head::Experts] {
        black_box(model.head_macs(head));
    }
    for golden in model.golden() {
        black_box((golden, golden.sample.raw()));
    }
}

/// Running a model in an arena that is borrowed.
fn borrow_arena(model: &Model, arena: &mut [i8], index: &Index<8, 64>) -> Result<(), EncoderError> {
    let _ = black_box(model.verify(arena));
    let mut embedding = [0; DIMS];
    let mut code = [0; DIMS / 8];
    let mut features = model.run(arena, any(&[]))?;
    black_box(features.values());
    black_box(features.embed(Dims::new(any(8)))?);
    features.embed_into(black_box(&mut embedding))?;
    black_box(features.hash::<8>()?);
    features.hash_into(any(8), black_box(&mut code))?;
    black_box(features.assign()?);
    black_box(features.expert(Dims::new(any(8)))?);
    black_box((features.assign_early()?, features.nearest_early(index)?));
    let indices = any(Sample::Indices(&[]));
    black_box(model.run_sample(arena, indices)?.into_embedding(Dims::new(any(8)))?);
    black_box(model.run_sample(arena, indices)?.into_expert(Dims::new(any(8)))?);
    Ok(())
}

/// Running a model in an encoder's own arena.
fn own_arena(encoder: &mut Encoder<4096>, index: &mut Index<8, 64>) -> Result<(), EncoderError> {
    let sample = any(&[][..]);
    let _ = black_box(encoder.verify());
    black_box(encoder.model());
    black_box(encoder.run(sample)?);
    black_box(encoder.run_sample(any(Sample::Bytes(&[])))?);
    black_box(encoder.embed(sample, Dims::new(any(8)))?);
    black_box(encoder.assign(sample)?);
    black_box(encoder.expert(sample, Dims::new(any(4)))?);
    let _ = black_box(index.insert(encoder.hash(sample)?, any(1)));
    Ok(())
}

/// A sample that slides.
fn slide(model: &Model) -> Result<(), EncoderError> {
    let mut stream = Stream::<4096>::new(model)?;
    black_box(stream.push(any(&[]))?.is_some());
    stream.clear();
    Ok(())
}

/// Codes, and the nearest among them.
fn search(index: &Index<8, 64>) {
    let (code, other) = any((Code([1; 8]), Code([2; 8])));
    black_box((code.distance(&other), code.prefix_distance(&other, any(12))));
    black_box((index.len(), index.is_empty(), index.nearest::<5>(&code)));
    let mut hits = [Hit { distance: 0, id: 0 }; 5];
    black_box(nearest_in(any(&[]), any(&[]), &mut hits));
    black_box(hits);
}

#[cfg(feature = "float")]
fn use_floats(model: &Model) {
    let mut unit = [0.0; DIMS];
    black_box(model.raw_value(any(0.5)));
    eigenlet_runtime::unit_norm(any(&[]), black_box(&mut unit));
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    unsafe extern "C" {
        fn the_runtime_can_panic() -> !;
    }
    // SAFETY: never linked, so never called.
    unsafe { the_runtime_can_panic() }
}
