//! What a model costs to keep and to run. Worked out when it is asked for: a chip that does not ask does not pay.

use bytemuck::cast_slice;
use eigenlet_shared::description::{Clusters, Hash, Raw};

use crate::kernels::Rows;
use crate::model::Model;
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
        let layers = self.steps().flatten().enumerate().fold(0u64, |sum, (number, step)| {
            let macs = match self.raw() {
                Raw::Indices if number == 0 => (step.output.shape.len() as u64).saturating_mul(ones as u64),
                Raw::Indices | Raw::U8 => step.macs(),
            };
            sum.saturating_add(macs)
        });
        let rows = u64::from(dims.min(self.dims()));
        layers.saturating_add(rows.saturating_mul(self.features() as u64))
    }

    /// Multiply-accumulates of one whole output of a head, without the layers; 0 where the model lacks the head. Prototypes
    /// cost the dimensions that they compare, residuals all rows of all experts, and both one for each difference that is
    /// squared. Experts, and codes by them, cost the choice of the cluster and one expert's rows.
    pub fn head_macs(&self, head: Head) -> u64 {
        let rows = |rows: usize| (rows as u64).saturating_mul(self.features() as u64);
        match head {
            Head::Embedding => rows(self.dims().into()),
            Head::Hash => match self.hash_head() {
                Some(Hash::Experts { rows: bits, .. }) => {
                    self.head_macs(Head::Clusters).saturating_add(rows(bits.into()))
                }
                Some(Hash::Thresholds { bits, .. }) => rows(bits.into()),
                Some(Hash::Product { heads, classes, .. }) => rows(usize::from(heads).saturating_mul(classes.into())),
                None => 0,
            },
            Head::Clusters => match self.cluster_head() {
                Some(Clusters::Linear { count, .. }) => rows(count.into()),
                Some(Clusters::Prototypes { count, dims, .. }) => {
                    rows(dims.into()).saturating_add(u64::from(count).saturating_mul(dims.into()))
                }
                Some(Clusters::Residual { count, .. }) => {
                    rows(usize::from(count).saturating_mul(usize::from(self.expert_dims()).saturating_add(1)))
                }
                None => 0,
            },
            Head::Experts if self.experts() == 0 => 0,
            Head::Experts => self.head_macs(Head::Clusters).saturating_add(rows(self.expert_dims().into())),
        }
    }

    /// Bytes of flash that running reads: weights, constants, prototypes, centres. Weights or biases that a head shares with
    /// an earlier one are counted once.
    pub fn weight_bytes(&self) -> usize {
        let layers = self.steps().flatten().map(|step| step.table_bytes()).fold(0, usize::saturating_add);
        let hash = match self.hash_head() {
            Some(Hash::Thresholds { .. }) => 1,
            Some(Hash::Product { heads, .. }) => heads.into(),
            Some(Hash::Experts { .. }) | None => 0,
        };
        let embedding = self.embedding_rows();
        let heads = || (0..hash).map(|head| self.hash_rows(head).unwrap_or_default());
        let experts = (0..self.experts()).map(|expert| self.expert_rows(expert));
        let clusters = self.cluster_rows();
        let shared = heads().find(|head| holds(head, &clusters)).unwrap_or_default();
        let of_heads = experts
            .map(|expert| bytes(&expert, &Rows::default()))
            .chain(heads().map(|head| bytes(&head, &embedding)))
            .chain([bytes(&embedding, &Rows::default()), bytes(&clusters, &shared)]);
        let prototypes = self.prototypes().unwrap_or_default().len();
        of_heads.fold(layers.saturating_add(prototypes), usize::saturating_add)
    }
}

/// Bytes of a head's tables, but for those that lie in another's.
fn bytes(rows: &Rows, other: &Rows) -> usize {
    let own = |table: &[u8], other: &[u8]| {
        let (outer, inner) = (other.as_ptr_range(), table.as_ptr_range());
        if outer.start <= inner.start && inner.end <= outer.end { 0 } else { table.len() }
    };
    own(cast_slice(rows.words), cast_slice(other.words))
        .saturating_add(own(cast_slice(rows.biases), cast_slice(other.biases)))
        .saturating_add(size_of_val(rows.scales))
}

/// Whether one head's weights are the other's.
fn holds(outer: &Rows, inner: &Rows) -> bool {
    outer.words.as_ptr_range() == inner.words.as_ptr_range()
}
