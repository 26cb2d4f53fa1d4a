//! What a model costs to keep and to run. Worked out when it is asked for: a chip that does not ask does not pay.

use bytemuck::cast_slice;
use eigenlet_shared::description::{Clusters, Hash, Raw};

use crate::model::{Model, Tables};
use crate::verify::Head;

impl<'a> Model<'a> {
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
                Raw::Indices if number == 0 => (step.output.len() as u64).saturating_mul(ones as u64),
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
            Head::Hash => match self.description().hash {
                Some(Hash::Experts { rows: bits, .. }) => {
                    self.head_macs(Head::Clusters).saturating_add(rows(bits.into()))
                }
                Some(Hash::Thresholds { .. } | Hash::Product { .. }) | None => rows(self.tables().hash.constants.len()),
            },
            Head::Clusters => match self.description().clusters {
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

    /// Bytes of flash that running reads: weights, constants, prototypes, centres. A head's table that lies in an earlier head's is
    /// counted once.
    pub fn weight_bytes(&self) -> usize {
        let layers = self.steps().flatten().map(|step| {
            step.weighted().map_or(0, |table| table.weights.len().saturating_add(size_of_val(table.channels)))
        });
        let tables = self.head_tables();
        let heads = tables.iter().enumerate().map(|(number, table)| {
            let shared = tables.iter().take(number).any(|earlier| holds(earlier, table));
            if shared { 0 } else { table.len() }
        });
        layers.chain(heads).fold(0, usize::saturating_add)
    }

    /// The bytes of all tables of all heads.
    fn head_tables(&self) -> [&'a [u8]; 8] {
        let Tables { embedding, experts, hash, clusters } = self.tables();
        let tables =
            [embedding, experts, hash, clusters].map(|rows| [cast_slice(rows.values), cast_slice(rows.constants)]);
        let [[a, b], [c, d], [e, f], [g, h]] = tables;
        [a, b, c, d, e, f, g, h]
    }
}

/// Whether `outer` covers the memory of `inner`.
fn holds(outer: &[u8], inner: &[u8]) -> bool {
    let (outer, inner) = (outer.as_ptr_range(), inner.as_ptr_range());
    outer.start <= inner.start && inner.end <= outer.end
}
