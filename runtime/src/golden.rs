//! The golden vectors that a model carries.

use eigenlet_shared::reader::{ClustersRecord, EmbeddingRecord, InputRecord, head};

use crate::model::{Data, Fault, Model, clusters};
use crate::sample::Sample;

/// A sample and the outputs that every implementation must give for it; `None` where the model lacks the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoldenVector<'a> {
    /// The sample, in the form of the model's input.
    pub sample: Sample<'a>,
    /// All dimensions.
    pub embedding: Option<&'a [i8]>,
    /// All bits, in `bits.div_ceil(8)` bytes.
    pub code: Option<&'a [u8]>,
    /// The cluster's id.
    pub cluster: Option<u16>,
    /// All local dimensions, by the cluster's expert.
    pub expert: Option<&'a [i8]>,
    /// What the cluster's centre and expert leave unexplained; `None` also where clusters are chosen otherwise.
    pub score: Option<u32>,
}

impl<'a> Model<'a> {
    /// The golden vectors.
    pub fn golden(&self) -> impl Iterator<Item = GoldenVector<'a>> {
        let (clusters, scores) = (self.clusters() > 0, self.scores());
        let mut golden = self.golden_records();
        core::iter::from_fn(move || {
            // In the order of a record.
            golden.advance().then(|| GoldenVector {
                sample: golden.sample,
                embedding: golden.take(golden.dims.into()).map(bytemuck::must_cast_slice),
                code: golden.take(usize::from(golden.bits).div_ceil(8)),
                cluster: clusters.then(|| golden.number(CLUSTER) as u16),
                score: scores.then(|| golden.number(SCORE)),
                expert: golden.take(golden.expert_dims.into()).map(bytemuck::must_cast_slice),
            })
        })
    }

    /// Checks that the golden vectors are there: not what they say, nor whether indices rise, which is looked at when they run.
    pub(crate) fn check_golden(&self) -> Result<(), Fault> {
        let mut golden = self.golden_records();
        while golden.advance() {}
        golden.data.fault
    }

    /// The golden vectors, before the first one.
    // One copy for those who check and those who run.
    #[inline(never)]
    pub(crate) fn golden_records(&self) -> Golden<'a> {
        let dims = EmbeddingRecord::of(&self.numbers(head::EMBEDDING)).count;
        let bits = self.bits();
        let mut width = dims.wrapping_add(u32::from(bits).wrapping_add(7) / 8);
        let numbers = self.numbers(head::CLUSTERS);
        let clusters = ClustersRecord::of(&numbers);
        if clusters.is_there != 0 {
            width = width.wrapping_add(CLUSTER);
        }
        if clusters.kind == clusters::RESIDUAL {
            width = width.wrapping_add(SCORE);
        }
        // Read in one go: the experts' dimensions are their second number, and the golden record follows the experts.
        const { assert!(head::EXPERTS + 7 == head::GOLDEN) };
        let [expert_dims, .., count, samples, outputs] = self.numbers(head::EXPERTS.wrapping_add(1));
        width = width.wrapping_add(expert_dims);
        let InputRecord { shape: [height, rows, channels], raw, .. } = self.input_record();
        Golden {
            data: self.data(),
            length: height.wrapping_mul(rows).wrapping_mul(channels),
            samples,
            outputs,
            width,
            count,
            done: 0,
            sample: if raw == 0 { Sample::Bytes(&[]) } else { Sample::Indices(&[]) },
            record: &[],
            dims: dims as u16,
            bits,
            expert_dims: expert_dims as u16,
        }
    }
}

/// Golden vectors, one after another: the model's numbers are read once for all of them.
pub(crate) struct Golden<'a> {
    data: Data<'a>,
    /// Bytes of a sample that is not indexed.
    length: u32,
    samples: u32,
    outputs: u32,
    /// Bytes of a record.
    width: u32,
    count: u32,
    /// How many there were, the one at hand among them.
    pub done: u32,
    /// The one at hand; before the first one, of the same form.
    pub sample: Sample<'a>,
    /// What is left of its outputs.
    record: &'a [u8],
    pub dims: u16,
    pub bits: u16,
    pub expert_dims: u16,
}

/// Bytes of a cluster's id in a record.
pub(crate) const CLUSTER: u32 = 2;
/// Bytes of a score.
pub(crate) const SCORE: u32 = 4;

impl<'a> Golden<'a> {
    /// Goes on to the next one, and says whether there is one.
    // One copy, as for `golden_records`.
    #[inline(never)]
    pub fn advance(&mut self) -> bool {
        let number = self.done;
        if number >= self.count {
            return false;
        }
        self.done = number.wrapping_add(1);
        let is_indexed = cfg!(feature = "indices") && matches!(self.sample, Sample::Indices(_));
        let data = &mut self.data;
        self.record = data.bytes(self.outputs, number, self.width.into(), 1);
        let (mut offset, mut block, mut length, mut unit) = (self.samples, number, u64::from(self.length), 1);
        if is_indexed {
            // An `IndexList`.
            let list = data.words(offset, number, 2, 1).first_chunk();
            let [first, count] = list.copied().unwrap_or_default();
            unit = size_of::<u16>();
            (offset, block, length) = (first, 0, u64::from(count).wrapping_mul(unit as u64));
        }
        let values = data.bytes(offset, block, length, unit);
        self.sample = if is_indexed {
            Sample::Indices(bytemuck::try_cast_slice(values).unwrap_or_default())
        } else {
            Sample::Bytes(values)
        };
        true
    }

    /// The next number of the record, which has so many bytes.
    pub fn number(&mut self, width: u32) -> u32 {
        let (mut number, mut shift) = (0u32, 0u32);
        while shift < width.wrapping_mul(8) {
            let [byte, rest @ ..] = self.record else { break };
            self.record = rest;
            number |= u32::from(*byte).wrapping_shl(shift);
            shift = shift.wrapping_add(8);
        }
        number
    }

    /// The next bytes of the record; `None` where there are none to take.
    fn take(&mut self, width: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.record.split_at_checked(width)?;
        self.record = rest;
        (width > 0).then_some(taken)
    }
}
