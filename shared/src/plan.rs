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
use crate::geometry::Shape;
use crate::packed::{filter_patch_words, patch_words, widened_words};

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
                scratch = self.scratch(patch_words(&conv.window, shape.channels), number);
                shape.under(&conv.window, conv.outputs.into())
            }
            Operation::DepthwiseConv2d(conv) => {
                scratch = self.scratch(filter_patch_words(&conv.window, shape.channels), number);
                shape.under(&conv.window, shape.channels)
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{
        Add, Conv2d, Dense, DepthwiseConv2d, Golden, Input, Layers, MAX_LAYERS, Recall, Rows, Window,
    };
    use crate::numerics::Output;

    /// xorshift32.
    struct Random(u32);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            self.0 as usize % end
        }

        fn size(&mut self, most: usize) -> u16 {
            (1 + self.below(most)) as u16
        }
    }

    const GRID: Output = Output { zero_point: 0, minimum: -128, maximum: 127 };
    const SAME: Window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };

    fn dense(outputs: u16) -> Operation {
        Operation::Dense(Dense { outputs, rows: Rows::default(), output: GRID })
    }

    fn conv(outputs: u16, window: Window) -> Operation {
        Operation::Conv2d(Conv2d { outputs, window, rows: Rows::default(), output: GRID })
    }

    fn add(other: usize) -> Operation {
        Operation::Add(Add { other: other as u32, sum: 0, output: GRID })
    }

    fn description(shape: [u16; 3], raw: Raw, rows: u16) -> Description<'static> {
        Description {
            input: Input { shape, place: 0, raw, scale: 1.0, offset: 0.0 },
            layers: Layers::new(),
            heads: Places::default(),
            embedding: (rows > 0).then(|| Embedding { count: rows, ..Embedding::default() }),
            hash: None,
            clusters: None,
            experts: None,
            golden: Golden::default(),
            card: &[],
        }
    }

    /// Appends a layer; a recalled tensor's number goes where its place will stand.
    fn push(description: &mut Description, operation: Operation, tensor: usize) {
        let places = Places { output: tensor as u32, scratch: 0 };
        description.layers.push(Layer { places, operation }).unwrap();
    }

    /// The shape after each layer, the sample's first, by the definition of each.
    fn shapes(description: &Description) -> Vec<[usize; 3]> {
        let mut shapes = alloc::vec![description.input.shape.map(usize::from)];
        for layer in &description.layers {
            let [height, width, channels] = shapes[shapes.len() - 1];
            let side = |size: usize, axis: usize, window: &Window| {
                let padding = usize::from(window.padding[axis]) + usize::from(window.padding[axis + 2]);
                (size + padding - usize::from(window.kernel[axis])) / usize::from(window.stride[axis]) + 1
            };
            let under = |window: &Window, channels| [side(height, 0, window), side(width, 1, window), channels];
            shapes.push(match &layer.operation {
                Operation::Dense(dense) => [1, 1, dense.outputs.into()],
                Operation::Conv2d(conv) => under(&conv.window, conv.outputs.into()),
                Operation::DepthwiseConv2d(conv) => under(&conv.window, channels),
                Operation::MaxPool2d(window) | Operation::AveragePool2d(window) => under(window, channels),
                Operation::Add(_) => [height, width, channels],
                Operation::Recall(recall) => recall.shape.map(usize::from),
            });
        }
        shapes
    }

    fn length(shape: [usize; 3]) -> usize {
        shape.iter().product()
    }

    /// Bytes of scratch of the layers and of the heads, as `FORMAT.md` counts them.
    fn scratches(description: &Description) -> Vec<usize> {
        let shapes = shapes(description);
        let widened = |shape| length(shape).div_ceil(4) * 8;
        let layers =
            description.layers.iter().zip(&shapes).enumerate().map(|(number, (layer, input))| match &layer.operation {
                Operation::Dense(_) if number == 0 && description.input.raw == Raw::Indices => 0,
                Operation::Dense(_) => widened(*input),
                Operation::Conv2d(conv) => {
                    let [height, width] = conv.window.kernel.map(usize::from);
                    24 * (height * width * input[2]).div_ceil(4)
                }
                Operation::DepthwiseConv2d(conv) => {
                    let [height, width] = conv.window.kernel.map(usize::from);
                    (height * width * input[2] + 3).div_ceil(4) * 4
                }
                _ => 0,
            });
        layers.chain([widened(shapes[shapes.len() - 1])]).collect()
    }

    /// What is in the arena: for each byte, which tensor's it is (0 the sample, `n` what the `n`-th layer gave) and which byte.
    struct Marks(Vec<Option<(usize, usize)>>);

    impl Marks {
        fn write(&mut self, place: u32, length: usize, tensor: usize) {
            (0..length).for_each(|byte| self.0[place as usize + byte] = Some((tensor, byte)));
        }

        fn check(&self, place: u32, length: usize, tensor: usize) {
            for byte in 0..length {
                assert_eq!(self.0[place as usize + byte], Some((tensor, byte)));
            }
        }
    }

    /// Runs a plan: whatever a layer reads must be what was written there as that, and nothing else may have been since; what it works
    /// on while it reads and writes is spoilt. `before` has numbers of tensors where `after` has places.
    fn simulate(before: &Description, after: &Description, arena: usize) {
        let shapes = shapes(before);
        let lengths: Vec<usize> = shapes.iter().map(|shape| length(*shape)).collect();
        let scratches = scratches(before);
        let mut marks = Marks(alloc::vec![None; arena]);
        let spoil = |marks: &mut Marks, place: u32, length: usize| {
            assert_eq!(place % 4, 0);
            (0..length).for_each(|byte| marks.0[place as usize + byte] = None);
        };
        // Which tensor is at hand, as it was written: a recalled one keeps its name. And where it lies.
        let mut names = alloc::vec![0];
        let mut place = after.input.place;
        if !matches!(before.layers.first().map(|layer| layer.operation), Some(Operation::Dense(_))) {
            marks.write(place, lengths[0], 0);
        }
        for (number, (old, new)) in before.layers.iter().zip(&after.layers).enumerate() {
            let (input, name) = (lengths[number], names[number]);
            let mut result = number + 1;
            let Places { output, scratch } = new.places;
            match (&old.operation, &new.operation) {
                (Operation::Dense(_), _) => {
                    // Read to its end, into scratch, before anything is written.
                    if number > 0 {
                        marks.check(place, input, name);
                    }
                    spoil(&mut marks, scratch, scratches[number]);
                    if number > 0 {
                        // Scratch did not lie where the input did.
                        marks.check(place, input, name);
                    }
                    marks.write(output, lengths[number + 1], result);
                    let (start, end) = (scratch as usize, scratch as usize + scratches[number]);
                    assert!(marks.0[start..end].iter().all(Option::is_none), "scratch is written over");
                }
                (Operation::Add(old), Operation::Add(new)) => {
                    marks.check(place, input, name);
                    marks.check(new.other, input, names[old.other as usize]);
                    assert_eq!(output, place, "in the input's place");
                    marks.write(output, input, result);
                    marks.check(new.other, input, names[old.other as usize]);
                }
                (Operation::Recall(_), _) => {
                    // Reads nothing: whether it still is there is seen where it is read.
                    result = names[old.places.output as usize];
                }
                _ => {
                    // Written while the input still is read, with scratch in use: all three stay whole.
                    spoil(&mut marks, scratch, scratches[number]);
                    marks.write(output, lengths[number + 1], result);
                    marks.check(place, input, name);
                    let (start, end) = (scratch as usize, scratch as usize + scratches[number]);
                    assert!(marks.0[start..end].iter().all(Option::is_none), "scratch is written over");
                }
            }
            names.push(result);
            place = output;
        }
        let (features, name) = (lengths[lengths.len() - 1], names[names.len() - 1]);
        let rows = before.embedding.as_ref().map_or(0, |embedding| embedding.count.into());
        let scratch = scratches[scratches.len() - 1];
        spoil(&mut marks, after.heads.scratch, scratch);
        marks.write(after.heads.output, rows, usize::MAX);
        marks.check(place, features, name);
        let (start, end) = (after.heads.scratch as usize, after.heads.scratch as usize + scratch);
        assert!(marks.0[start..end].iter().all(Option::is_none), "the heads' scratch is written over");
        let reached =
            after.layers.iter().zip(&lengths[1..]).map(|(layer, length)| layer.places.output as usize + length);
        assert!(reached.max().unwrap_or(0) <= arena);
    }

    /// A chain of layers of every kind that reads nothing but its predecessor's output.
    fn chain(random: &mut Random) -> Description<'static> {
        let shape = [random.size(9), random.size(9), random.size(5)];
        let raw = if random.below(4) == 0 { Raw::Indices } else { Raw::U8 };
        let mut description = description(shape, raw, random.below(70) as u16);
        let count = random.below(9);
        for number in 0..count {
            let [height, width, _] = *shapes(&description).last().unwrap();
            let mut side = |size: usize| {
                let kernel = random.size(4) as usize;
                let padding = random.below(kernel).max(kernel.saturating_sub(size));
                (kernel as u8, random.size(2) as u8, padding.min(kernel - 1) as u8)
            };
            let (down, across) = (side(height), side(width));
            let window = Window {
                kernel: [down.0, across.0],
                stride: [down.1, across.1],
                padding: [down.2, across.2, down.2, across.2],
            };
            let depthwise = DepthwiseConv2d { window, rows: Rows::default(), output: GRID };
            let kind = if raw == Raw::Indices && number == 0 { 0 } else { random.below(6) };
            push(
                &mut description,
                match kind {
                    0 => dense(random.size(300)),
                    1 | 2 => conv(random.size(20), window),
                    3 => Operation::DepthwiseConv2d(depthwise),
                    4 => Operation::MaxPool2d(window),
                    _ => Operation::AveragePool2d(window),
                },
                0,
            );
        }
        description
    }

    /// What the layer, or the head, that takes most takes, each piece rounded up to words: its input and its scratch, and its
    /// output beside them; a dense layer's output may lie where its input does.
    fn largest_layer(description: &Description) -> usize {
        let lengths: Vec<usize> = shapes(description).iter().map(|shape| length(*shape).next_multiple_of(4)).collect();
        let scratches = scratches(description);
        let rows = description.embedding.as_ref().map_or(0, |embedding| usize::from(embedding.count));
        let heads = lengths[lengths.len() - 1] + scratches[scratches.len() - 1] + rows.next_multiple_of(4);
        let layers = description.layers.iter().enumerate().map(|(number, layer)| {
            let (input, output, scratch) = (lengths[number], lengths[number + 1], scratches[number]);
            match layer.operation {
                Operation::Dense(_) if number == 0 => output + scratch,
                Operation::Dense(_) => input.max(output) + scratch,
                _ => input + output + scratch,
            }
        });
        layers.max().unwrap_or(0).max(heads)
    }

    #[test]
    fn a_chain_takes_what_its_largest_layer_takes() {
        let random = &mut Random(7);
        for _ in 0..3000 {
            let before = chain(random);
            let mut after = before.clone();
            let arena = place(&mut after).unwrap();
            simulate(&before, &after, arena);
            let most = largest_layer(&before);
            assert!(arena <= most && arena + 4 > most, "{arena} bytes for {most}: {before:?}");
        }
    }

    /// The largest two tensors begin at 0 where size decides, and the third-largest behind one of them: across the place where the
    /// small one between the others would have gone.
    #[test]
    fn a_chain_that_does_not_nest_by_size_takes_no_more() {
        let mut before = description([44, 44, 1], Raw::U8, 0);
        let pixel = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4] };
        push(&mut before, Operation::MaxPool2d(Window { stride: [1, 11], ..pixel }), 0);
        push(&mut before, conv(9, pixel), 0);
        push(&mut before, conv(10, pixel), 0);
        // What the heads take, too, is little then.
        push(&mut before, Operation::MaxPool2d(Window { stride: [44, 4], ..pixel }), 0);
        let mut after = before.clone();
        let arena = place(&mut after).unwrap();
        simulate(&before, &after, arena);
        assert_eq!(arena, largest_layer(&before));
    }

    /// Layers of every kind, additions of earlier tensors and returns to them. The second number is the most that lives at a time.
    fn residual(random: &mut Random) -> (Description<'static>, usize) {
        let shape = [random.size(7), random.size(7), random.size(4)];
        let mut description = description(shape, Raw::U8, random.below(40) as u16);
        // Of each tensor, where it was written first; additions end that.
        let mut owners = alloc::vec![0];
        let mut dead = Vec::new();

        for number in 0..1 + random.below(20) {
            let shapes = shapes(&description);
            let shape = shapes[number];
            let is_dense_first = |description: &Description| {
                matches!(description.layers.first().map(|layer| layer.operation), Some(Operation::Dense(_)))
            };
            let there: Vec<usize> = (0..=number)
                .filter(|tensor| !dead.contains(tensor) && (*tensor > 0 || number > 0 && !is_dense_first(&description)))
                .collect();
            let others: Vec<usize> = (there.iter().copied())
                .filter(|tensor| shapes[*tensor] == shape && owners[*tensor] != owners[number])
                .collect();
            let kind = random.below(9);
            let mut owner = number + 1;
            match kind {
                0 => push(&mut description, dense(random.size(60)), 0),
                1..=3 => {
                    let outputs = if random.below(2) == 0 { shape[2] as u16 } else { random.size(8) };
                    push(&mut description, conv(outputs, SAME), 0);
                }
                4 => push(&mut description, Operation::MaxPool2d(Window { stride: [2, 2], ..SAME }), 0),
                5 if !there.is_empty() => {
                    let tensor = there[random.below(there.len())];
                    owner = owners[tensor];
                    let recall = Recall { shape: shapes[tensor].map(|side| side as u16), zero_point: 0 };
                    push(&mut description, Operation::Recall(recall), tensor);
                }
                _ if !others.is_empty() => {
                    let other = others[random.below(others.len())];
                    owner = owners[number];
                    dead.extend((0..=number).filter(|tensor| owners[*tensor] == owner));
                    push(&mut description, add(other), 0);
                }
                _ => {
                    let depthwise = DepthwiseConv2d { window: SAME, rows: Rows::default(), output: GRID };
                    push(&mut description, Operation::DepthwiseConv2d(depthwise), 0);
                }
            }
            owners.push(owner);
        }
        let most = most_alive(&description, &owners);
        (description, most)
    }

    /// The most bytes that must be there at a time: no plan can do with less. `owners` names the place of each tensor.
    fn most_alive(description: &Description, owners: &[usize]) -> usize {
        let lengths: Vec<usize> = shapes(description).iter().map(|shape| length(*shape)).collect();
        let scratches = scratches(description);
        let layers = description.layers.len();
        let starts_dense = matches!(description.layers.first().map(|layer| layer.operation), Some(Operation::Dense(_)));
        // The last layer, the heads being one, that has to find a place as it was, and whether all through.
        let uses = |owner: usize, at: usize, second: bool| {
            (at..=layers).any(|reader| {
                let operation = description.layers.get(reader).map(|layer| layer.operation);
                let of_input = owners[reader] == owner;
                match operation {
                    Some(Operation::Dense(_)) => of_input && (reader > at || !second),
                    Some(Operation::Add(add)) => of_input || owners[add.other as usize] == owner,
                    Some(Operation::Recall(_)) => false,
                    Some(_) | None => of_input,
                }
            })
        };
        let mut most = 0;
        for (at, scratch) in scratches.into_iter().enumerate() {
            for second in [false, true] {
                let mut sum = scratch;
                for (owner, length) in lengths.iter().enumerate() {
                    let is_first = owners[owner] == owner && !(owner == 0 && starts_dense);
                    let is_being_written = second && owner == at + 1;
                    if is_first && (is_being_written || owner <= at && uses(owner, at, second)) {
                        sum += length;
                    }
                }
                if at == layers {
                    sum += description.embedding.as_ref().map_or(0, |embedding| usize::from(embedding.count));
                }
                most = most.max(sum);
            }
        }
        most
    }

    #[test]
    fn nothing_is_overwritten_while_a_later_layer_reads_it() {
        let random = &mut Random(11);
        let (mut adds, mut recalls, mut tight) = (0, 0, 0);
        const CASES: usize = 3000;
        for _ in 0..CASES {
            let (before, most) = residual(random);
            let mut after = before.clone();
            let arena = place(&mut after).unwrap();
            simulate(&before, &after, arena);
            let count =
                |kind: fn(&Operation) -> bool| before.layers.iter().filter(|layer| kind(&layer.operation)).count();
            adds += count(|operation| matches!(operation, Operation::Add(_)));
            recalls += count(|operation| matches!(operation, Operation::Recall(_)));
            assert!(arena >= most, "{arena} bytes cannot hold {most}: {before:?}");
            tight += usize::from(arena < most + most / 10);
        }
        assert!(adds > CASES / 2 && recalls > CASES / 2, "{adds} additions, {recalls} recalled");
        assert!(tight > CASES * 9 / 10, "{tight} of {CASES} within a tenth of the least possible");
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_nothing_changes() {
        let planned = |input: [u16; 3], layers: &[(Operation, usize)]| {
            let mut before = description(input, Raw::U8, 3);
            layers.iter().for_each(|(operation, tensor)| push(&mut before, *operation, *tensor));
            let mut after = before.clone();
            let outcome = place(&mut after).map(|_| ());
            if outcome.is_err() {
                assert_eq!(before, after);
            }
            outcome
        };
        let image = [4, 4, 2];
        let same = (conv(2, SAME), 0);
        let recall = |shape, tensor| (Operation::Recall(Recall { shape, zero_point: 0 }), tensor);
        let sum = |other| (add(other), 0);
        assert_eq!(planned(image, &[same, sum(0)]), Ok(()));
        assert_eq!(planned([0, 4, 2], &[same]), Err(PlanError::Geometry(0)));
        let wide = Window { kernel: [9, 1], ..SAME };
        assert_eq!(planned(image, &[same, (conv(2, wide), 0)]), Err(PlanError::Geometry(1)));
        assert_eq!(planned(image, &[same, (dense(0), 0)]), Err(PlanError::Geometry(1)));

        assert_eq!(planned(image, &[same, sum(1)]), Err(PlanError::Tensor(1)), "itself");
        assert_eq!(planned(image, &[same, sum(2)]), Err(PlanError::Tensor(1)), "a later one");
        assert_eq!(planned(image, &[same, (conv(3, SAME), 0), sum(1)]), Err(PlanError::Tensor(2)), "another size");
        assert_eq!(planned(image, &[(dense(32), 0), sum(0)]), Err(PlanError::Tensor(1)), "a sample outside the arena");
        assert_eq!(planned(image, &[(dense(32), 0), recall(image, 0)]), Err(PlanError::Tensor(1)));
        assert_eq!(planned(image, &[same, recall([4, 2, 4], 0)]), Err(PlanError::Tensor(1)), "another shape");
        assert_eq!(planned(image, &[same, recall(image, 0)]), Ok(()));
        assert_eq!(planned(image, &[same, recall(image, 2)]), Err(PlanError::Tensor(1)));
        assert_eq!(planned(image, &[same, recall([0, 4, 2], 0)]), Err(PlanError::Geometry(1)));
        // The first addition overwrites the first convolution's output, by either of its names.
        assert_eq!(planned(image, &[same, sum(0), same, sum(1)]), Err(PlanError::Tensor(3)), "overwritten");
        assert_eq!(planned(image, &[same, sum(0), same, sum(2)]), Ok(()), "the sum itself");
        assert_eq!(
            planned(image, &[same, same, recall(image, 1), sum(2), recall(image, 1)]),
            Err(PlanError::Tensor(4))
        );
        assert_eq!(
            planned(image, &[same, same, recall(image, 1), sum(1)]),
            Err(PlanError::Tensor(3)),
            "itself recalled"
        );
    }

    #[test]
    fn as_many_layers_as_there_can_be_are_placed() {
        let mut before = description([6, 6, 2], Raw::U8, 9);
        push(&mut before, conv(2, SAME), 0);
        while before.layers.len() + 3 <= MAX_LAYERS {
            let start = before.layers.len();
            push(&mut before, conv(2, SAME), 0);
            push(&mut before, conv(2, SAME), 0);
            push(&mut before, add(start), 0);
        }
        let mut after = before.clone();
        let arena = place(&mut after).unwrap();
        simulate(&before, &after, arena);
        // Three images, and the patches of a convolution.
        assert_eq!(arena, 3 * 72 + 24 * 5);
    }
}
