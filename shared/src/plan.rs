//! Laying out the arena: where each layer reads, works and writes, so that little RAM serves all.
//!
//! Every tensor lives from the layer that writes it to the last one that reads it. The largest is placed first, each at the lowest
//! place where it meets none that lives at the same time: the greedy planning by size of Pisarchyk and Lee, "Efficient Memory
//! Management for Deep Neural Net Inference", 2020.

use alloc::vec::Vec;
use core::fmt;

use crate::description::{Description, Layer, MAX_LAYERS, Operation, Places, Raw};
use crate::geometry::Shape;
use crate::packed::{patch_words, widened_words};

/// Every place is a multiple of this many bytes: words are read there.
const ALIGNMENT: usize = 4;

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// A layer's window does not fit its input, or a size is 0 or too large; the layer's number, from 0. The heads' is the number
    /// of layers.
    Geometry(usize),
    /// A layer reads a tensor that is none, or of another size.
    Tensor(usize),
}

/// One piece of the arena, for some of the time. A layer takes two moments: in the first it reads its input, in the second it
/// writes its output.
struct Piece {
    bytes: usize,
    first: usize,
    last: usize,
    place: usize,
}

/// What a layer hands on: its size, and the piece where it lies, unless the caller has it.
#[derive(Clone, Copy)]
struct Tensor {
    shape: Shape,
    piece: Option<usize>,
}

/// Fills in all places of a description, and gives the bytes of the arena.
///
/// Before, [`Add::other`](crate::description::Add::other) and the output's place of a [`Operation::Recall`] are numbers of tensors: 0 is
/// the sample, `n` what the `n`-th layer gives.
///
/// # Errors
/// [`PlanError`]; the description is as before.
pub fn place(description: &mut Description) -> Result<usize, PlanError> {
    let layers = description.layers.len();
    let [height, width, channels] = description.input.shape.map(usize::from);
    let sample = Shape::new(height, width, channels).ok_or(PlanError::Geometry(0))?;
    let mut pieces: Vec<Piece> = Vec::new();
    let mut new = |bytes: usize, first: usize, last: usize| {
        pieces.push(Piece { bytes, first, last, place: 0 });
        pieces.len() - 1
    };
    // A first layer that is dense reads the sample where it lies.
    let is_read_in_place = matches!(first_operation(description), Some(Operation::Dense(_)));
    let input = (!is_read_in_place).then(|| new(sample.len(), 0, 0));
    let mut tensors = alloc::vec![Tensor { shape: sample, piece: input }];
    // Which moments each tensor is read at; pieces' lives follow.
    let mut reads: Vec<(usize, usize)> = Vec::new();
    let mut scratches = Vec::new();
    for (number, layer) in description.layers.iter().enumerate() {
        let (reading, writing) = (2 * number, 2 * number + 1);
        let before = tensors.len() - 1;
        let Tensor { shape, piece } = tensors[before];
        let mut scratch = None;
        let mut output = |shape: Option<Shape>| {
            let shape = shape.ok_or(PlanError::Geometry(number))?;
            Ok(Tensor { shape, piece: Some(new(shape.len(), writing, writing)) })
        };
        let tensor = match &layer.operation {
            Operation::Dense(dense) => {
                reads.push((before, reading));
                let tensor = output(Shape::vector(dense.outputs.into()))?;
                if number > 0 || description.input.raw == Raw::U8 {
                    scratch = Some(new(4 * widened_words(shape.len()), reading, writing));
                }
                tensor
            }
            Operation::Conv2d(conv) => {
                reads.push((before, writing));
                let tensor = output(shape.under(&conv.window, conv.outputs.into()))?;
                scratch = Some(new(4 * patch_words(&conv.window, shape.channels), reading, writing));
                tensor
            }
            Operation::DepthwiseConv2d(conv) => {
                reads.push((before, writing));
                output(shape.under(&conv.window, shape.channels))?
            }
            Operation::MaxPool2d(window) | Operation::AveragePool2d(window) => {
                reads.push((before, writing));
                output(shape.under(window, shape.channels))?
            }
            Operation::Add(add) => {
                let other = tensors.get(add.other as usize).filter(|other| other.shape == shape);
                if other.and_then(|other| other.piece).is_none() || piece.is_none() {
                    return Err(PlanError::Tensor(number));
                }
                reads.extend([(before, writing), (add.other as usize, writing)]);
                Tensor { shape, piece }
            }
            Operation::Recall(_) => {
                let tensor = tensors.get(layer.places.output as usize).filter(|tensor| tensor.piece.is_some());
                *tensor.ok_or(PlanError::Tensor(number))?
            }
        };
        tensors.push(tensor);
        scratches.push(scratch);
    }
    let features = tensors[layers];
    reads.push((layers, 2 * layers + 1));
    // Heads may be asked for one after another: all that they need stays.
    let widened = new(4 * widened_words(features.shape.len()), 2 * layers, 2 * layers + 1);
    let dims = |head: &Option<crate::description::Embedding>| head.map_or(0, |head| usize::from(head.count));
    let dims = dims(&description.embedding).max(dims(&description.experts));
    let embedding = new(dims, 2 * layers, 2 * layers + 1);

    for (tensor, moment) in reads {
        if let Some(piece) = tensors[tensor].piece {
            pieces[piece].last = pieces[piece].last.max(moment);
        }
    }
    let arena = settle(&mut pieces);

    let place = |piece: Option<usize>| piece.map_or(0, |piece| pieces[piece].place as u32);
    description.input.place = place(input);
    for (number, layer) in description.layers.iter_mut().enumerate() {
        layer.places = Places { output: place(tensors[number + 1].piece), scratch: place(scratches[number]) };
        if let Operation::Add(add) = &mut layer.operation {
            add.other = place(tensors[add.other as usize].piece);
        }
    }
    description.heads = Places { output: place(Some(embedding)), scratch: place(Some(widened)) };
    Ok(arena)
}

fn first_operation<'d>(description: &'d Description) -> Option<&'d Operation> {
    description.layers.first().map(|Layer { operation, .. }| operation)
}

/// Places every piece, and gives where the last one ends.
fn settle(pieces: &mut [Piece]) -> usize {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|number| core::cmp::Reverse(pieces[*number].bytes));
    let mut settled: Vec<usize> = Vec::new();
    for number in order {
        let piece = &pieces[number];
        let meets = |other: &&usize| pieces[**other].first <= piece.last && piece.first <= pieces[**other].last;
        let mut taken: Vec<(usize, usize)> = settled
            .iter()
            .filter(meets)
            .map(|other| (pieces[*other].place, pieces[*other].place + pieces[*other].bytes))
            .collect();
        taken.sort_unstable();
        let mut place = 0;
        for (start, end) in taken {
            if place + piece.bytes > start {
                place = place.max(end.next_multiple_of(ALIGNMENT));
            }
        }
        pieces[number].place = place;
        settled.push(number);
    }
    pieces.iter().map(|piece| piece.place + piece.bytes).max().unwrap_or(0)
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry(layer) => write!(f, "layer {layer} of at most {MAX_LAYERS}: its sizes do not fit"),
            Self::Tensor(layer) => write!(f, "layer {layer}: expected an earlier tensor of the same size, found none"),
        }
    }
}

impl core::error::Error for PlanError {}
