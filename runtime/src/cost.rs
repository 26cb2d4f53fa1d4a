//! What a model costs to keep and to run. Worked out when it is asked for: a chip that does not ask does not pay.

use bytemuck::cast_slice;
use eigenlet_shared::description::Raw;
use eigenlet_shared::reader::{ClustersRecord, EmbeddingRecord, HashRecord, head};

use crate::kernels::Rows;
use crate::model::{Model, clusters, hash};
use crate::verify::Head;

impl Model<'_> {
    /// Multiply-accumulates of one whole embedding, layers included, or of the layers alone where the model has none; those
    /// with padding are counted. Where samples are indices, this is the most, of a sample of ones alone:
    /// [`Model::macs_of_ones`] says what others cost.
    pub fn macs(&self) -> u64 {
        self.macs_for(self.dims())
    }

    /// Multiply-accumulates of the layers and of the first `dims` dimensions; where samples are indices, the most, as for
    /// [`Model::macs`].
    pub fn macs_for(&self, dims: u16) -> u64 {
        self.macs_of_ones(self.input_len(), dims)
    }

    /// As [`Model::macs_for`], of a sample with so many ones where samples are indices: the first layer adds one weight to each
    /// of its outputs for each of them. Samples of bytes all cost the same.
    pub fn macs_of_ones(&self, ones: usize, dims: u16) -> u64 {
        let ones = ones.min(self.input_len());
        let mut number = 0u32;
        let layers = self.steps().map(|step| {
            number = number.wrapping_add(1);
            match self.raw() {
                Raw::Indices if number == 1 => (step.output.shape.len() as u64).saturating_mul(ones as u64),
                Raw::Indices | Raw::U8 => step.macs(),
            }
        });
        let layers = layers.fold(0u64, u64::saturating_add);
        let rows = u64::from(dims.min(self.dims()));
        layers.saturating_add(rows.saturating_mul(self.features() as u64))
    }

    /// Multiply-accumulates of one whole output of a head, without the layers; 0 where the model lacks the head. Prototypes
    /// cost the dimensions that they compare, residuals all rows of all experts, and both one for each difference that is
    /// squared. Experts, and codes by them, cost the choice of the cluster and one expert's rows.
    pub fn head_macs(&self, of: Head) -> u64 {
        let rows = |rows: u32| u64::from(rows).saturating_mul(self.features() as u64);
        let hash = self.numbers(head::HASH);
        let hash = HashRecord::of(&hash);
        let clusters = self.numbers(head::CLUSTERS);
        let clusters = ClustersRecord::of(&clusters);
        let expert_dims = u32::from(self.expert_dims());
        match of {
            Head::Embedding => rows(self.dims().into()),
            Head::Hash => match hash.kind {
                hash::EXPERTS => self.head_macs(Head::Clusters).saturating_add(rows(hash.rows)),
                hash::PRODUCT => rows(hash.heads.saturating_mul(hash.classes)),
                _ => rows(hash.rows),
            },
            Head::Clusters => match clusters.kind {
                clusters::LINEAR => rows(clusters.count),
                clusters::RESIDUAL => rows(clusters.count.saturating_mul(expert_dims.saturating_add(1))),
                _ => rows(clusters.dims).saturating_add(u64::from(clusters.count).saturating_mul(clusters.dims.into())),
            },
            Head::Experts if expert_dims == 0 => 0,
            Head::Experts => self.head_macs(Head::Clusters).saturating_add(rows(expert_dims)),
        }
    }

    /// Bytes of flash that running reads: weights, constants, prototypes, centres. Weights or biases that a head shares with
    /// an earlier one are counted once.
    pub fn weight_bytes(&self) -> usize {
        let none = Rows::default();
        let layers = self.steps().map(|step| step.table_bytes());
        let block = |first, number| self.block(&mut self.data(), EmbeddingRecord::of(&self.numbers(first)), number);
        let embedding = block(head::EMBEDDING, 0);
        let numbers = self.numbers(head::HASH);
        let hash = HashRecord::of(&numbers);
        let count = match hash.kind {
            hash::THRESHOLDS => hash.is_there,
            _ => hash.heads,
        };
        let hashes = || (0..count).map(|number| self.hash_rows(&mut self.data(), hash, number));
        let own = layers
            .chain(hashes().map(|head| bytes(&head, &embedding)))
            .chain([bytes(&embedding, &none)])
            .fold(0, usize::saturating_add);
        #[cfg(feature = "clusters")]
        {
            let numbers = self.numbers(head::CLUSTERS);
            let clusters = ClustersRecord::of(&numbers);
            let experts = (0..self.experts().into()).map(|expert| block(head::EXPERTS, expert));
            let is_linear = clusters.kind == clusters::LINEAR;
            let prototypes = if is_linear { 0 } else { self.prototypes(&mut self.data(), clusters).len() };
            let rows = if is_linear { self.cluster_rows(&mut self.data(), clusters) } else { none };
            let shared = hashes().find(|head| head.words().as_ptr_range() == rows.words().as_ptr_range());
            experts
                .map(|expert| bytes(&expert, &none))
                .chain([bytes(&rows, &shared.unwrap_or_default()), prototypes])
                .fold(own, usize::saturating_add)
        }
        #[cfg(not(feature = "clusters"))]
        own
    }
}

/// Bytes of a head's tables, but for those that lie in another's.
fn bytes(rows: &Rows, other: &Rows) -> usize {
    let own = |table: &[u8], other: &[u8]| {
        let (outer, inner) = (other.as_ptr_range(), table.as_ptr_range());
        if outer.start <= inner.start && inner.end <= outer.end { 0 } else { table.len() }
    };
    own(cast_slice(rows.words()), cast_slice(other.words()))
        .saturating_add(own(cast_slice(rows.biases()), cast_slice(other.biases())))
        .saturating_add(size_of_val(rows.scales()))
}
