//! Laying out the arena: where each layer reads, works and writes, so that little RAM serves all.
//!
//! Every tensor lives from the layer that writes it to the last one that reads it, and scratch as long as its layer. Two layouts
//! are tried, and the smaller one is taken:
//!
//! * from the largest piece to the smallest, each at the lowest place where it meets none that lives at the same time: the greedy
//!   planning by size of Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020;
//! * layer by layer, an output at the other end of the arena than its input. A chain of layers so takes no more than the layer that
//!   takes most, which no layout can do without; by size, it may take more.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use crate::description::{Description, Embedding, Layer, Operation, Places, Raw};
use crate::geometry::{Shape, taps};
use crate::packed::{patch_words, widened_words};

/// Every place is a multiple of this many bytes: scratch is words, and tensors are read by words.
const ALIGNMENT: usize = 4;

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// A layer's window does not fit its input, or a size is 0 or too large; the layer's number, from 0.
    Geometry(usize),
    /// A layer, of that number, reads an earlier tensor that is none or of another size, that is not in the arena (the sample
    /// before a dense layer), that an addition has overwritten, or that is the layer's own input.
    Tensor(usize),
}

/// One piece of the arena, for some of the time. A layer takes two moments: in the first it may read its input, in the second it
/// writes its output.
struct Piece {
    bytes: usize,
    first: usize,
    last: usize,
    /// Whether it goes to the arena's upper end, where ends alternate.
    is_high: bool,
    /// Scratch goes where tensors leave room.
    is_scratch: bool,
    /// Additions that changed what it holds.
    changes: usize,
}

/// What a layer hands on: its shape, the piece where it lies, unless the caller has it, and that piece's changes before it.
#[derive(Clone, Copy)]
struct Tensor {
    shape: Shape,
    piece: Option<usize>,
    changes: usize,
}

/// What was seen so far of a description.
struct Plan {
    pieces: Vec<Piece>,
    /// 0 is the sample, `n` what the `n`-th layer gives.
    tensors: Vec<Tensor>,
}

impl Plan {
    fn piece(&mut self, bytes: usize, first: usize, last: usize, is_high: bool, is_scratch: bool) -> usize {
        self.pieces.push(Piece { bytes, first, last, is_high, is_scratch, changes: 0 });
        self.pieces.len() - 1
    }

    fn scratch(&mut self, words: usize, layer: usize) -> Option<usize> {
        Some(self.piece(size_of::<u32>() * words, 2 * layer, 2 * layer + 1, false, true))
    }

    /// A new tensor, which lives from `moment` on.
    fn tensor(&mut self, shape: Shape, moment: usize, is_high: bool) -> Tensor {
        Tensor { shape, piece: Some(self.piece(shape.len(), moment, moment, is_high, false)), changes: 0 }
    }

    /// A tensor is read at that moment.
    fn read(&mut self, tensor: Tensor, moment: usize) {
        if let Some(piece) = tensor.piece {
            self.pieces[piece].last = self.pieces[piece].last.max(moment);
        }
    }

    fn is_high(&self, tensor: Tensor) -> bool {
        tensor.piece.is_some_and(|piece| self.pieces[piece].is_high)
    }

    /// An earlier tensor of that shape, and its piece, if it still is there.
    fn earlier(&self, number: u32, shape: Shape) -> Option<(Tensor, usize)> {
        let tensor = *self.tensors.get(number as usize)?;
        let piece = tensor.piece?;
        let is_there = tensor.shape == shape && tensor.changes == self.pieces[piece].changes;
        is_there.then_some((tensor, piece))
    }

    /// What the layer of that number gives for `input`, and its scratch.
    fn layer(
        &mut self,
        number: usize,
        input: Tensor,
        raw: Raw,
        layer: &Layer,
    ) -> Result<(Tensor, Option<usize>), PlanError> {
        let (reading, writing) = (2 * number, 2 * number + 1);
        let Tensor { shape, .. } = input;
        let geometry = PlanError::Geometry(number);
        let (mut scratch, is_high) = (None, !self.is_high(input));
        let shape = match &layer.operation {
            Operation::Dense(dense) => {
                let output = Shape::vector(dense.outputs.into()).ok_or(geometry)?;
                // A sample of indices is read as it is.
                if number > 0 || raw == Raw::U8 {
                    scratch = self.scratch(widened_words(shape.len()), number);
                }
                // The input is widened, and then no longer needed: the output may take its place.
                self.read(input, reading);
                return Ok((self.tensor(output, writing, !is_high), scratch));
            }
            Operation::Conv2d(conv) => {
                let columns = taps(&conv.window, shape.channels).ok_or(geometry)?;
                scratch = self.scratch(patch_words(columns), number);
                shape.under(&conv.window, conv.outputs.into())
            }
            Operation::DepthwiseConv2d(conv) => shape.under(&conv.window, shape.channels),
            Operation::MaxPool2d(window) | Operation::AveragePool2d(window) => shape.under(window, shape.channels),
            Operation::Add(add) => {
                let (other, place) = self.earlier(add.other, shape).ok_or(PlanError::Tensor(number))?;
                let piece = input.piece.filter(|piece| *piece != place).ok_or(PlanError::Tensor(number))?;
                self.read(other, writing);
                self.read(input, writing);
                self.pieces[piece].changes += 1;
                return Ok((Tensor { changes: self.pieces[piece].changes, ..input }, None));
            }
            Operation::Recall(recall) => {
                let [height, width, channels] = recall.shape.map(usize::from);
                let shape = Shape::new(height, width, channels).ok_or(geometry)?;
                let (tensor, _) = self.earlier(layer.places.output, shape).ok_or(PlanError::Tensor(number))?;
                return Ok((tensor, None));
            }
        };
        let shape = shape.ok_or(geometry)?;
        self.read(input, writing);
        Ok((self.tensor(shape, writing, is_high), scratch))
    }
}

/// Fills in all places of a description, and gives the bytes of the arena.
///
/// Before, [`Add::other`](crate::description::Add::other) and the output's place of a [`Operation::Recall`] are numbers of
/// tensors: 0 is the sample, `n` what the `n`-th layer gives. An addition overwrites its input, which later layers then cannot have.
///
/// # Errors
/// [`PlanError`]; the description is as before.
pub fn place(description: &mut Description) -> Result<usize, PlanError> {
    let layers = description.layers.len();
    let [height, width, channels] = description.input.shape.map(usize::from);
    let shape = Shape::new(height, width, channels).ok_or(PlanError::Geometry(0))?;
    let mut plan = Plan { pieces: Vec::new(), tensors: Vec::new() };
    // A first layer that is dense reads the sample where it lies.
    let is_read_in_place =
        description.layers.first().is_some_and(|layer| matches!(layer.operation, Operation::Dense(_)));
    let mut tensor =
        if is_read_in_place { Tensor { shape, piece: None, changes: 0 } } else { plan.tensor(shape, 0, false) };
    plan.tensors.push(tensor);
    let mut scratches = Vec::new();
    for (number, layer) in description.layers.iter().enumerate() {
        let scratch;
        (tensor, scratch) = plan.layer(number, tensor, description.input.raw, layer)?;
        plan.tensors.push(tensor);
        scratches.push(scratch);
    }
    // Heads may be asked for one after another: all that they need stays.
    plan.read(tensor, 2 * layers + 1);
    let widened = plan.scratch(widened_words(tensor.shape.len()), layers);
    let dims = |head: &Option<Embedding>| head.map_or(0, |head| usize::from(head.count));
    let dims = dims(&description.embedding).max(dims(&description.experts));
    let is_high = !plan.is_high(tensor);
    let embedding = (dims > 0).then(|| plan.piece(dims, 2 * layers, 2 * layers + 1, is_high, false));

    let (places, arena) = settle(&plan.pieces);
    let place = |piece: Option<usize>| piece.map_or(0, |piece| places[piece] as u32);
    let tensors: Vec<u32> = plan.tensors.iter().map(|tensor| place(tensor.piece)).collect();
    description.input.place = tensors[0];
    for ((layer, output), scratch) in description.layers.iter_mut().zip(&tensors[1..]).zip(scratches) {
        layer.places = Places { output: *output, scratch: place(scratch) };
        if let Operation::Add(add) = &mut layer.operation {
            add.other = tensors[add.other as usize];
        }
    }
    description.heads = Places { output: place(embedding), scratch: place(widened) };
    Ok(arena)
}

impl Piece {
    /// Bytes up to where another piece can begin.
    fn room(&self) -> usize {
        self.bytes.next_multiple_of(ALIGNMENT)
    }

    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// A place for every piece, and where the last one ends.
fn settle(pieces: &[Piece]) -> (Vec<usize>, usize) {
    let mut by_size: Vec<usize> = (0..pieces.len()).collect();
    by_size.sort_by_key(|number| Reverse(pieces[*number].bytes));
    let mut by_layer: Vec<usize> = (0..pieces.len()).collect();
    by_layer.sort_by_key(|number| pieces[*number].is_scratch);
    // What lives at any one moment needs room, and the most does where something begins.
    let live = |moment: usize| {
        let pieces = pieces.iter().filter(|piece| (piece.first..=piece.last).contains(&moment));
        pieces.map(Piece::room).sum()
    };
    let most = pieces.iter().map(|piece| live(piece.first)).max().unwrap_or(0);

    let end = |places: &[usize]| places.iter().zip(pieces).map(|(place, piece)| place + piece.bytes).max().unwrap_or(0);
    let layouts = [arrange(pieces, &by_size, None), arrange(pieces, &by_layer, Some(most))];
    let layouts = layouts.into_iter().flatten().map(|places| (end(&places), places));
    let (arena, places) = layouts.min_by_key(|(end, _)| *end).expect("without a limit, every piece finds room");
    (places, arena)
}

/// Places for pieces in that order, each as low as it can be; or in so many bytes, where there is room, those that are high as high
/// as they can be.
fn arrange(pieces: &[Piece], order: &[usize], limit: Option<usize>) -> Option<Vec<usize>> {
    let mut places: Vec<Option<usize>> = alloc::vec![None; pieces.len()];
    for number in order {
        let piece = &pieces[*number];
        let mut taken: Vec<(usize, usize)> = (places.iter().zip(pieces))
            .filter(|(_, other)| piece.meets(other))
            .filter_map(|(place, other)| place.map(|place| (place, place + other.room())))
            .collect();
        taken.sort_unstable();
        let bound = limit.unwrap_or(usize::MAX);
        taken.push((bound, bound));
        let mut free = 0;
        let mut fits = Vec::new();
        for (start, end) in taken {
            if start.saturating_sub(free) >= piece.room() {
                fits.push((free, start - piece.room()));
            }
            free = free.max(end);
        }
        let is_high = piece.is_high && limit.is_some();
        places[*number] = if is_high { fits.last().map(|(_, high)| *high) } else { fits.first().map(|(low, _)| *low) };
        places[*number]?;
    }
    places.into_iter().collect()
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry(layer) => write!(f, "layer {layer}: its window does not fit, or a size is 0 or too large"),
            Self::Tensor(layer) => {
                write!(f, "layer {layer}: expected an earlier tensor of the same size that is still there, found none")
            }
        }
    }
}

impl core::error::Error for PlanError {}
