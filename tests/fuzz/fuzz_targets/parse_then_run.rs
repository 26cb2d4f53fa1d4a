//! Bytes are a model, or an error; a model runs, and uses every head that it has. The checksum is made right first, so that the fuzzer
//! gets past it.
#![no_main]

use eigenlet_runtime::{Dims, Head, Model, Raw, Sample, Stream};
use eigenlet_shared::blob::crc32;
use eigenlet_shared::writer::AlignedBytes;
use libfuzzer_sys::fuzz_target;

/// Multiply-accumulates and bytes past which a model is not run: a hostile one would take minutes.
const WORK: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Some(crc) = bytes.get(20..).map(crc32) {
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    }
    let bytes = AlignedBytes::from(&bytes[..]);
    let Ok(model) = Model::parse(&bytes) else { return };
    let heads = [Head::Embedding, Head::Hash, Head::Clusters, Head::Experts].map(|head| model.head_macs(head));
    let work = heads.iter().fold(model.macs(), |sum, macs| sum.saturating_add(*macs));
    // A pooling window costs no multiply-accumulates, and up to its area for each byte of the arena.
    if work > WORK || model.arena_bytes() > 1 << 14 || model.weight_bytes() > 1 << 20 {
        return;
    }
    let mut memory = vec![0u32; model.arena_bytes().div_ceil(4)];
    let arena = bytemuck::cast_slice_mut(&mut memory);
    let _ = model.verify(arena);
    let values = vec![77; model.input_len()];
    let indices: Vec<u16> = (0..model.input_len().min(9) as u16).collect();
    let sample = match model.raw() {
        Raw::U8 => Sample::Bytes(&values),
        Raw::Indices => Sample::Indices(&indices),
    };
    let mut features = model.run_sample(arena, sample).expect("a sample of the model's own form");
    let _ = features.embed(Dims::new(model.dims()));
    let _ = features.expert(Dims::new(model.expert_dims()));
    let _ = features.hash_into(model.bits(), &mut vec![0; usize::from(model.bits()).div_ceil(8)]);
    let (early, whole) = (features.assign_early(), features.assign());
    assert_eq!(early.map(|early| early.id).ok(), whole.map(|whole| whole.id.into()).ok());
    if model.stream_bytes() > 0 && model.stream_bytes() <= 1 << 14 {
        let mut stream = Stream::<{ 1 << 14 }>::new(&model).expect("room for it");
        let _ = stream.push(&values);
    }
});
