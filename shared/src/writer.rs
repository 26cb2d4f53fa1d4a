//! Writing a blob on a host: the data section grows piece by piece, then the description seals it.

use alloc::vec::Vec;
use core::ops::Deref;

use bytemuck::{NoUninit, Pod, Zeroable};

use crate::blob::{ALIGNMENT, HEADER, crc32, header};
use crate::description::{Card, Description, IndexList};
use crate::numerics::{Scale, Sum};
use crate::packed;

/// Every piece of the data section begins on a multiple of this many bytes: enough for each table, and a chip loads int8
/// weights a word at a time from there.
const PIECE_ALIGNMENT: usize = 4;

/// Collects the data section of a blob. Each `push` returns the offset that the description is to hold.
#[derive(Clone, Debug, Default)]
pub struct BlobWriter {
    data: Vec<u8>,
}

impl BlobWriter {
    /// An empty data section.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends prototypes or centres.
    pub fn push_i8(&mut self, values: &[i8]) -> u32 {
        self.push(values)
    }

    /// Appends weights `[rows][columns]`, packed as kernels read them.
    ///
    /// # Panics
    /// Where they are not whole rows.
    pub fn push_packed(&mut self, weights: &[i8], columns: usize) -> u32 {
        self.push(&packed::pack(weights, columns))
    }

    /// Appends weights `[blocks][rows][columns]`, packed block by block: experts, or the heads of a product code.
    ///
    /// # Panics
    /// Where they are not whole blocks.
    pub fn push_blocks(&mut self, weights: &[i8], rows: usize, columns: usize) -> u32 {
        assert!(weights.len().is_multiple_of(rows * columns), "whole blocks, found {} weights", weights.len());
        let blocks = weights.chunks_exact(rows * columns);
        self.push(&blocks.flat_map(|block| packed::pack(block, columns)).collect::<Vec<u32>>())
    }

    /// Appends a depthwise convolution's weights `[taps][channels]`, packed.
    ///
    /// # Panics
    /// Where they are not whole taps.
    pub fn push_filters(&mut self, weights: &[i8], channels: usize) -> u32 {
        self.push(&packed::pack_filters(weights, channels))
    }

    /// Appends raw golden samples of bytes.
    pub fn push_u8(&mut self, values: &[u8]) -> u32 {
        self.push(values)
    }

    /// Appends raw golden samples that are given by indices, each sample's rising.
    pub fn push_indices<T: AsRef<[u16]>>(&mut self, samples: &[T]) -> u32 {
        let list = |indices: &T| {
            let indices = indices.as_ref();
            IndexList { offset: self.push(indices), count: length(indices.len()) }
        };
        let lists: Vec<IndexList> = samples.iter().map(list).collect();
        self.push(&lists)
    }

    /// Appends the outputs for the golden samples, in these samples' order.
    pub fn push_golden(&mut self, outputs: &[GoldenOutputs]) -> u32 {
        self.push(&outputs.iter().flat_map(GoldenOutputs::record).collect::<Vec<u8>>())
    }

    /// Appends biases of blocks of so many rows, each up to whole quads.
    ///
    /// # Panics
    /// Where they are not whole blocks.
    pub fn push_biases(&mut self, biases: &[i32], rows: usize) -> u32 {
        self.push_constants(biases, rows)
    }

    /// Appends eigenvalues.
    pub fn push_f32(&mut self, values: &[f32]) -> u32 {
        self.push(values)
    }

    /// Appends the scales of a layer's, an embedding's or the experts' blocks of so many rows, each up to whole quads.
    ///
    /// # Panics
    /// Where they are not whole blocks.
    pub fn push_scales(&mut self, scales: &[Scale], rows: usize) -> u32 {
        self.push_constants(scales, rows)
    }

    /// What is missing to a multiple of four rows has the last row's constants: they are lawful, and nobody reads what comes of them.
    fn push_constants<T: NoUninit>(&mut self, values: &[T], rows: usize) -> u32 {
        assert!(values.len().is_multiple_of(rows), "whole blocks of {rows} rows, found {} constants", values.len());
        let places = 0..rows.next_multiple_of(packed::SIDE);
        let block = |block: &[T]| places.clone().map(|row| block[row.min(rows - 1)]).collect::<Vec<T>>();
        self.push(&values.chunks_exact(rows).flat_map(block).collect::<Vec<T>>())
    }

    /// Appends the constants of an addition.
    pub fn push_sum(&mut self, sum: Sum) -> u32 {
        self.push(&[sum])
    }

    fn push<T: NoUninit>(&mut self, values: &[T]) -> u32 {
        self.data.resize(self.data.len().next_multiple_of(PIECE_ALIGNMENT), 0);
        let offset = length(self.data.len());
        self.data.extend_from_slice(bytemuck::cast_slice(values));
        offset
    }

    /// The whole blob. It is what the description says: nothing is checked here, `Model::parse` does that.
    ///
    /// # Panics
    /// Where the blob would be longer than 4 GiB.
    pub fn finish(&self, description: &Description) -> AlignedBytes {
        let description = postcard::to_allocvec(description).expect("memory is all that this needs");
        let data_offset = (HEADER + description.len()).next_multiple_of(ALIGNMENT);
        let sections = [length(description.len()), length(data_offset), length(self.data.len())];
        length(data_offset + self.data.len());
        let sealed = |crc| header(sections[0], sections[1], sections[2], crc);

        let mut blob = Vec::from(sealed(0));
        blob.extend_from_slice(&description);
        blob.resize(data_offset, 0);
        blob.extend_from_slice(&self.data);
        let crc = crc32(&blob[20..]);
        blob[..HEADER].copy_from_slice(&sealed(crc));
        AlignedBytes::from(&blob[..])
    }
}

/// What a model gives for a golden sample; empty or `None` where it lacks the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoldenOutputs {
    /// All dimensions.
    pub embedding: Vec<i8>,
    /// All bits, in `bits.div_ceil(8)` bytes.
    pub code: Vec<u8>,
    /// The cluster's id.
    pub cluster: Option<u16>,
    /// The least residual; `None` also where clusters are chosen otherwise.
    pub score: Option<u32>,
    /// All dimensions by the cluster's expert.
    pub expert: Vec<i8>,
}

impl GoldenOutputs {
    /// The bytes, as [`Golden::outputs`](crate::description::Golden::outputs) says.
    fn record(&self) -> Vec<u8> {
        let Self { embedding, code, cluster, score, expert } = self;
        let (cluster, score) = (cluster.map(u16::to_le_bytes), score.map(u32::to_le_bytes));
        let mut record: Vec<u8> = Vec::new();
        record.extend_from_slice(bytemuck::cast_slice(embedding));
        record.extend(code);
        record.extend(cluster.iter().flatten());
        record.extend(score.iter().flatten());
        record.extend_from_slice(bytemuck::cast_slice(expert));
        record
    }
}

/// A model card as a [`Description`] holds it.
pub fn encode_card(card: &Card) -> Vec<u8> {
    postcard::to_allocvec(card).expect("memory is all that this needs")
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a blob is shorter than 4 GiB")
}

/// Bytes on a 16-byte boundary, as a blob has to lie: a file read on a host comes here first.
///
/// ```
/// use eigenlet_shared::blob::Blob;
/// use eigenlet_shared::writer::AlignedBytes;
///
/// let file = std::fs::read("Cargo.toml").unwrap();
/// assert!(Blob::parse(&AlignedBytes::from(&file[..])).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct AlignedBytes {
    blocks: Vec<Block>,
    length: usize,
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(16))]
struct Block([u8; ALIGNMENT]);

impl From<&[u8]> for AlignedBytes {
    fn from(bytes: &[u8]) -> Self {
        let length = bytes.len();
        let mut blocks = alloc::vec![Block::zeroed(); length.div_ceil(ALIGNMENT)];
        bytemuck::cast_slice_mut::<Block, u8>(&mut blocks)[..length].copy_from_slice(bytes);
        Self { blocks, length }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.length]
    }
}
