//! Runs the kernels on packed rows against plain loops, on random layers, and counts what whole layers of known shapes cost.
//! Exit status 0 only if every value is right.
#![no_std]
#![no_main]

use core::hint::black_box;

use eigenlet_firmware::{
    board::{self, Counter},
    entry, singleton,
};
use eigenlet_runtime::Shape;
use eigenlet_runtime::kernels::{self, KERNELS, Range, Rows, Slide};
use eigenlet_shared::description::Window;
use eigenlet_shared::numerics::{Output, Scale, Sum};
use eigenlet_shared::packed::{
    filter_patch_words, filter_words, lane, patch_words, quad_words, weights, widened_words, words,
};
use naive::{Random, Values};

#[path = "../../../runtime/tests/naive/mod.rs"]
mod naive;

/// Random layers that are checked.
const LAYERS: u32 = 2000;

/// The longest side of an image that is measured, and the channels of a pointwise convolution: what fits in memory.
const SIDE: usize = if cfg!(small_ram) { 12 } else { 16 };
const POINTS: usize = if cfg!(small_ram) { 24 } else { 32 };
/// The largest dense layer: inputs and outputs.
const WIDE: [usize; 2] = [784, if cfg!(small_ram) { 100 } else { 400 }];

/// Activations of an image, in and out; widened ones; packed rows of convolutions; weights as they lie.
const INPUT: usize = SIDE * SIDE * 16;
const OUTPUT: usize = SIDE * SIDE * POINTS;
const SCRATCH: usize = 840;
const WORDS: usize = 1040;
const WEIGHTS: usize = 144;

struct Buffers {
    input: [i8; INPUT],
    output: [i8; OUTPUT],
    scratch: [u32; SCRATCH],
    words: [u32; WORDS],
    weights: [i8; WEIGHTS],
}

/// Weights and constants of the dense layers, in flash. A chip without room for the words of a whole layer uses a part.
static FLASH_WORDS: [u32; WIDE[0] * WIDE[1] / 4] = random_words();
static BIASES: [i32; WIDE[1]] = random_biases();
static SCALES: [Scale; WIDE[1]] = random_scales();

const fn step(mut state: u32) -> u32 {
    state ^= state << 13;
    state ^= state >> 17;
    state ^ state << 5
}

/// Words of weights from -127 to 127.
#[allow(long_running_const_eval)]
const fn random_words<const COUNT: usize>() -> [u32; COUNT] {
    let mut words = [0; COUNT];
    let (mut state, mut at) = (1, 0);
    while at < COUNT {
        state = step(state);
        let [a, b, c, d] = state.to_le_bytes();
        words[at] = packed_lane(a, b) | packed_lane(c, d) << 16;
        at += 1;
    }
    words
}

const fn packed_lane(even: u8, odd: u8) -> u32 {
    let (even, odd) = ((even % 255) as i32 - 127, (odd % 255) as i32 - 127);
    (256 * odd + even) as u16 as u32
}

/// Small ones mostly, and such as leave a sum just within its bound.
const fn random_biases<const COUNT: usize>() -> [i32; COUNT] {
    const ROOM: i32 = (1 << 30) - 1 - 1024 * 127 * 128;
    let mut biases = [0; COUNT];
    let (mut state, mut at) = (2, 0);
    while at < COUNT {
        state = step(state);
        biases[at] = match state >> 29 {
            0 => ROOM,
            1 => -ROOM,
            _ => (state as i32) >> 14,
        };
        at += 1;
    }
    biases
}

const fn random_scales<const COUNT: usize>() -> [Scale; COUNT] {
    let mut scales = [Scale::new(0, 1, 0); COUNT];
    let (mut state, mut at) = (3, 0);
    while at < COUNT {
        state = step(state);
        let multiplier = if state % 16 == 0 { 0 } else { (1 << 30) | (state >> 2) as i32 };
        scales[at] = Scale::new(multiplier, 1 + (state % 22) as i32, -7);
        at += 1;
    }
    scales
}

#[entry]
fn main() -> ! {
    defmt::info!("kernels on {}: {}", board::NAME, KERNELS);
    let buffers = singleton!(: Buffers = Buffers {
        input: [0; INPUT],
        output: [0; OUTPUT],
        scratch: [0; SCRATCH],
        words: [0; WORDS],
        weights: [0; WEIGHTS],
    });
    let Some(buffers) = buffers else { board::exit(false) };
    board::exit(random_layers(buffers) && misfits(buffers) && measured_layers(buffers));
}

/// The weight of a row and a column of packed rows.
fn weight(rows: &Rows, columns: usize, row: usize, column: usize) -> i8 {
    let (at, is_odd) = lane(columns, row, column);
    weights((rows.words()[at / 2] >> (16 * (at % 2))) as i16)[usize::from(is_odd)]
}

/// Rows with constants from flash, from the quad of that number on.
fn with_constants(words: &[u32], first: usize, rows: usize, quad: usize) -> Rows<'_> {
    let constants = 4 * first..4 * (first + rows.div_ceil(4));
    Rows::new(words, &BIASES[constants.clone()], &SCALES[constants], rows, quad).unwrap()
}

fn any_constants(random: &mut Random, rows: usize) -> usize {
    random.between(0, BIASES.len() / 4 - rows.div_ceil(4))
}

/// Packs random weights, for as many rows and columns as `words` holds.
fn random_rows<'a>(random: &mut Random, values: Values, count: usize, columns: usize, to: &'a mut [u32]) -> Rows<'a> {
    let to = &mut to[..words(count, columns)];
    to.fill(0);
    for row in 0..count {
        for column in 0..columns {
            let mut value = [0];
            values.fill(-127, random, &mut value);
            let value = if matches!(values, Values::Alternating) && (row + column) % 2 == 0 { 127 } else { value[0] };
            let (at, is_odd) = lane(columns, row, column);
            let lanes: &mut u32 = &mut to[at / 2];
            let shift = 16 * (at % 2);
            let old = (*lanes >> shift) as u16;
            let new = old.wrapping_add((i16::from(value) * if is_odd { 256 } else { 1 }) as u16);
            *lanes = *lanes & !(0xffff << shift) | u32::from(new) << shift;
        }
    }
    with_constants(to, any_constants(random, count), count, quad_words(columns))
}

fn dense_sum(rows: &Rows, row: usize, x: &[i8]) -> i32 {
    let product = |(column, value): (usize, &i8)| i32::from(weight(rows, x.len(), row, column)) * i32::from(*value);
    let products = x.iter().enumerate().map(product);
    products.fold(rows.biases()[row], i32::wrapping_add)
}

/// An output of a convolution, from packed rows.
fn conv_output(rows: &Rows, slide: &Slide, range: Range, input: &[i8], [y, x, row]: [usize; 3]) -> i8 {
    let [height, width] = slide.window.kernel.map(usize::from);
    let columns = height * width * slide.input.channels;
    let mut sum = rows.biases()[row];
    let mut column = 0;
    for tap_y in 0..slide.window.kernel[0].into() {
        for tap_x in 0..slide.window.kernel[1].into() {
            for channel in 0..slide.input.channels {
                let value = naive::seen(slide, input, [y, x], [tap_y, tap_x], channel).unwrap_or(slide.zero_point);
                sum = sum.wrapping_add(i32::from(weight(rows, columns, row, column)) * i32::from(value));
                column += 1;
            }
        }
    }
    naive::requantised(sum, &rows.scales()[row], range)
}

fn random_layers(buffers: &mut Buffers) -> bool {
    let random = &mut Random(0x9e37_79b9);
    for layer in 0..LAYERS {
        let is_right = match layer % 8 {
            1 => random_indices(random, buffers),
            3 => random_sum(random, buffers),
            0 | 2 | 4 => random_dense(random, buffers),
            _ => random_window(random, buffers),
        };
        if !is_right {
            defmt::error!("layer {} of {} differs", layer, LAYERS);
            return false;
        }
    }
    defmt::info!("{} random layers: all right", LAYERS);
    true
}

fn any_values(random: &mut Random) -> Values {
    if random.below(2) == 0 { Values::Any } else { Values::ALL[random.below(4) as usize] }
}

fn any_range(random: &mut Random) -> Range {
    match random.below(3) {
        0 => Range::WHOLE,
        1 => Range { minimum: -127, maximum: 127 },
        _ => Range { minimum: (random.next() >> 24) as i8, maximum: 127 },
    }
}

fn random_dense(random: &mut Random, Buffers { input, output, scratch, words, .. }: &mut Buffers) -> bool {
    let is_wide = random.below(4) == 0;
    let columns = if is_wide { random.between(500, 1030) } else { random.between(1, 70) };
    let count = random.between(1, (WORDS / quad_words(columns) * 4).min(15));
    let (of_weights, of_inputs, range) = (any_values(random), any_values(random), any_range(random));
    let rows = random_rows(random, of_weights, count, columns, words);
    let start = random.between(0, 3);
    let x = &mut input[start..][..columns];
    of_inputs.fill(-128, random, x);
    let scratch = &mut scratch[..widened_words(columns)];
    let output = &mut output[..count];
    kernels::dense(&rows, range, x, scratch, output);
    let mut sums = [0; 16];
    for (quad, sums) in sums[..count.next_multiple_of(4)].chunks_exact_mut(4).enumerate() {
        sums.copy_from_slice(&kernels::quad_sums(&rows, scratch, quad));
    }
    let sums = &sums[..count];
    for (row, (output, found)) in output.iter().zip(sums.iter()).enumerate() {
        let sum = dense_sum(&rows, row, x);
        let expected = naive::requantised(sum, &rows.scales()[row], range);
        if *found != sum || *output != expected {
            defmt::error!(
                "dense {}x{} row {}: {} not {}, {} not {}",
                columns,
                count,
                row,
                found,
                sum,
                output,
                expected
            );
            return false;
        }
    }
    let quad = random.between(0, (count - 1) / 4);
    let first = 4 * quad;
    let wanted = random.between(1, count - first);
    let mut outputs = [0; 16];
    let Some(rest) = rows.from(quad) else { return false };
    kernels::outputs(&rest, scratch, range, &mut outputs[..wanted]);
    let is_right = outputs[..wanted] == output[first..][..wanted];
    if !is_right {
        defmt::error!("dense {}x{}: rows {} to {} alone differ", columns, count, first, first + wanted);
    }
    is_right
}

/// A dense layer over few ones among many zeros.
fn random_indices(random: &mut Random, Buffers { input, output, words, .. }: &mut Buffers) -> bool {
    let (columns, count) = (random.between(1, 120), random.between(1, 15));
    let (of_weights, range) = (any_values(random), any_range(random));
    let rows = random_rows(random, of_weights, count, columns, words);
    let x = &mut input[..columns];
    let mut indices = [0; 120];
    let (every, mut ones) = (random.between(1, 9) as u32, 0);
    for (column, x) in x.iter_mut().enumerate() {
        *x = i8::from(random.below(every) == 0);
        if *x == 1 {
            indices[ones] = column as u16;
            ones += 1;
        }
    }
    let output = &mut output[..count];
    kernels::dense_at(&rows, range, &indices[..ones], output);
    let expected = |row: usize| naive::requantised(dense_sum(&rows, row, x), &rows.scales()[row], range);
    let is_right = (0..count).all(|row| output[row] == expected(row));
    if !is_right {
        defmt::error!("dense {}x{} over {} indices differs", columns, count, ones);
    }
    is_right
}

/// The sum of two images.
fn random_sum(random: &mut Random, Buffers { input, output, .. }: &mut Buffers) -> bool {
    let any_i8 = |random: &mut Random| (random.next() >> 24) as i8;
    let any_factor = |random: &mut Random| (1 << 30) | (random.next() >> 2) as i32;
    let sum = Sum {
        zero_points: [any_i8(random).into(), any_i8(random).into()],
        multipliers: [any_factor(random), any_factor(random)],
        shifts: [random.between(0, 6) as i32, random.between(0, 6) as i32],
        multiplier: any_factor(random),
        shift: random.between(15, 22) as i32,
    };
    let range = any_range(random);
    let grid = Output { zero_point: any_i8(random), minimum: range.minimum, maximum: range.maximum };
    let count = random.between(1, 100);
    let (first, other) = input.split_at_mut(count);
    let (other, found) = (&mut other[..count], &mut output[..count]);
    any_values(random).fill(-128, random, first);
    any_values(random).fill(-128, random, other);
    found.copy_from_slice(first);
    kernels::add(&sum, grid, other, found);
    let is_right = (0..count).all(|at| found[at] == naive::sum_of_two(&sum, grid, first[at], other[at]));
    if !is_right {
        defmt::error!("a sum of {} values differs", count);
    }
    is_right
}

fn random_window(random: &mut Random, Buffers { input, output, scratch, words, weights }: &mut Buffers) -> bool {
    let kernels = [[1, 1], [1, 1], [3, 3], [3, 3], [5, 5], [5, 1], [1, 3], [2, 4]];
    // Now and then, sums over two pixels of so many columns that they are folded on the way.
    let is_wide = random.below(16) == 0;
    let kernel = if is_wide { [1, 1] } else { kernels[random.below(8) as usize] };
    let padding = |random: &mut Random, kernel: u8| random.below(kernel.into()) as u8;
    let window = Window {
        kernel,
        stride: if is_wide { [1, 1] } else { [random.between(1, 2) as u8, random.between(1, 2) as u8] },
        padding: [
            padding(random, kernel[0]),
            padding(random, kernel[1]),
            padding(random, kernel[0]),
            padding(random, kernel[1]),
        ],
    };
    let [height, width] = kernel.map(usize::from);
    let channels = if is_wide { random.between(505, 560) } else { random.between(1, 9) };
    let longest = if is_wide { 2 } else { 7 };
    let shape = Shape { height: random.between(height, longest), width: random.between(width, longest), channels };
    let outputs = random.between(1, (WORDS / quad_words(height * width * channels) * 4).min(11));
    let of_output = |channels: usize| {
        let [top, left, bottom, right] = window.padding.map(usize::from);
        let [down, across] = window.stride.map(usize::from);
        Shape {
            height: (shape.height + top + bottom - height) / down + 1,
            width: (shape.width + left + right - width) / across + 1,
            channels,
        }
    };
    let slide =
        Slide { input: shape, output: of_output(outputs), window: &window, zero_point: (random.next() >> 24) as i8 };
    let range = any_range(random);
    let start = random.between(0, 3);
    let x = &mut input[start..][..shape.len()];
    any_values(random).fill(-128, random, x);
    let lines = random.between(0, slide.output.height - 1);
    let lines = lines..random.between(lines + 1, slide.output.height);

    let of_weights = any_values(random);
    let rows = random_rows(random, of_weights, outputs, height * width * channels, words);
    let to = &mut output[..slide.output.len()];
    to.fill(77);
    kernels::conv2d(&rows, &slide, range, lines.clone(), x, &mut scratch[..patch_words(&window, channels)], to);
    let is_right = check("conv", &slide, &lines, to, &|at| conv_output(&rows, &slide, range, x, at));
    if is_wide {
        return is_right;
    }
    let slide = Slide { output: of_output(channels), ..slide };
    let to = &mut output[..slide.output.len()];
    let weights = &mut weights[..(height * width * channels).min(WEIGHTS)];
    if weights.len() < height * width * channels {
        return is_right;
    }
    of_weights.fill(-127, random, weights);
    let first = any_constants(random, channels);
    let rows = filters(weights, channels, first, words);
    to.fill(77);
    let scratch = &mut scratch[..filter_patch_words(&window, channels)];
    kernels::depthwise_conv2d(&rows, &slide, range, lines.clone(), x, scratch, to);
    let is_right = is_right
        && check("depthwise conv", &slide, &lines, to, &|at| {
            naive::depthwise_conv2d(weights, rows.biases(), rows.scales(), &slide, range, x, at)
        });
    to.fill(77);
    kernels::max_pool2d(&slide, lines.clone(), x, to);
    let is_right = is_right && check("max pool", &slide, &lines, to, &|at| naive::pool2d(&slide, x, at)[0]);
    to.fill(77);
    kernels::average_pool2d(&slide, lines.clone(), x, to);
    is_right && check("average pool", &slide, &lines, to, &|at| naive::pool2d(&slide, x, at)[1])
}

/// Packs filters `[taps][channels]`, with constants from the quad of that number on.
fn filters<'a>(weights: &[i8], channels: usize, first: usize, to: &'a mut [u32]) -> Rows<'a> {
    let quad = filter_words(weights.len() / channels);
    let to = &mut to[..channels.div_ceil(4) * quad];
    for (number, to) in to.chunks_exact_mut(2).enumerate() {
        let (four, tap) = (number * 2 / quad, number % (quad / 2));
        let lane = |channel: usize| {
            let channel = 4 * four + channel;
            let weight = if channel < channels { weights[tap * channels + channel] } else { 0 };
            u32::from(i16::from(weight) as u16)
        };
        to[0] = lane(0) | lane(2) << 16;
        to[1] = lane(1) | lane(3) << 16;
    }
    with_constants(to, first, channels, quad)
}

/// Whether the lines are what is expected, and nothing else was written.
fn check(
    layer: &str,
    slide: &Slide,
    lines: &core::ops::Range<usize>,
    found: &[i8],
    expected: &dyn Fn([usize; 3]) -> i8,
) -> bool {
    for (at, found) in found.iter().enumerate() {
        let (pixel, channel) = (at / slide.output.channels, at % slide.output.channels);
        let at = [pixel / slide.output.width, pixel % slide.output.width, channel];
        let expected = if lines.contains(&at[0]) { expected(at) } else { 77 };
        if *found != expected {
            let [h, w] = slide.window.kernel;
            let Shape { height, width, channels } = slide.input;
            defmt::error!(
                "{} {}x{} over {}x{}x{}: {} not {} at {}",
                layer,
                h,
                w,
                height,
                width,
                channels,
                found,
                expected,
                at
            );
            return false;
        }
    }
    true
}

/// Shapes and lengths that do not belong together: no kernel stops, and nothing outside the slices is written.
fn misfits(Buffers { input, output, scratch, words, .. }: &mut Buffers) -> bool {
    const GUARD: i8 = 77;
    const WORD_GUARD: u32 = 0xdead_beef;
    let random = &mut Random(0x2545_f491);
    Values::Any.fill(-128, random, input);
    words.iter_mut().for_each(|word| *word = random.next());
    output.fill(GUARD);
    scratch.fill(WORD_GUARD);
    for case in 0..LAYERS {
        let kernel = [random.between(0, 5) as u8, random.between(0, 5) as u8];
        let [height, width] = kernel.map(usize::from);
        // Nearly what belongs together, more often than chance would have it.
        let rows = random.between(0, 11);
        let quad = if random.below(2) == 0 { random.between(0, 60) } else { 2 * height * width + random.between(0, 1) };
        let padded = rows.next_multiple_of(4);
        let scales = if random.below(2) == 0 { padded } else { 0 };
        let table = Rows::new(&words[..padded / 4 * quad], &BIASES[..padded], &SCALES[..scales], rows, quad).unwrap();
        let x = &input[random.between(0, 3)..][..random.between(0, 400)];
        let (length, room) = (random.between(0, 100), random.between(0, 400));
        let to = &mut output[..length];
        let work = &mut scratch[..room];
        kernels::dense(&table, Range::WHOLE, x, work, to);
        kernels::outputs(&table, work, Range::WHOLE, to);
        kernels::quad_sums(&table, work, random.between(0, 3));
        kernels::dense_at(&table, Range::WHOLE, &[0, 1, 7, 39, 65_535], to);
        let mut byte = |most: u32| random.below(most + 1) as u8;
        let window = Window { kernel, stride: [byte(2), byte(2)], padding: [byte(2), byte(2), byte(255), byte(255)] };
        let mut shape = || {
            let channels = if random.below(2) == 0 { random.between(0, 9) } else { rows };
            Shape { height: random.between(0, 6), width: random.between(0, 6), channels }
        };
        let slide = Slide { input: shape(), output: shape(), window: &window, zero_point: 3 };
        let lines = random.between(0, 4)..random.between(0, 4);
        kernels::conv2d(&table, &slide, Range::WHOLE, lines.clone(), x, work, to);
        kernels::depthwise_conv2d(&table, &slide, Range::WHOLE, lines.clone(), x, work, to);
        kernels::max_pool2d(&slide, lines.clone(), x, to);
        kernels::average_pool2d(&slide, lines, x, to);
        let is_whole = output[length..].iter().all(|value| *value == GUARD);
        if !is_whole || scratch[room..].iter().any(|word| *word != WORD_GUARD) {
            defmt::error!("misfit {} of {} wrote where nothing is its own", case, LAYERS);
            return false;
        }
        output[..length].fill(GUARD);
        scratch[..room].fill(WORD_GUARD);
    }
    defmt::info!("{} misfits: nothing written outside", LAYERS);
    true
}

fn measured_layers(buffers: &mut Buffers) -> bool {
    let small = SIDE;
    dense(buffers, 256, 64)
        && dense(buffers, 255, 63)
        && dense(buffers, WIDE[0], WIDE[1])
        && conv(buffers, [3, 3], [small, small, 16], 16)
        && conv(buffers, [3, 3], [small - 1, small - 1, 15], 15)
        && conv(buffers, [1, 1], [small, small, 16], POINTS)
        && conv(buffers, [5, 1], [64, 1, 16], 32)
        && depthwise(buffers, [small, small, 16])
        && pools(buffers, [small, small, 16])
}

// The figures come in the words that `tests/scripts/budgets` looks for.

fn dense(Buffers { input, output, scratch, .. }: &mut Buffers, columns: usize, count: usize) -> bool {
    let x = &mut input[..columns];
    Values::Any.fill(-128, &mut Random(5), x);
    let rows = with_constants(&FLASH_WORDS[..words(count, columns)], 0, count, quad_words(columns));
    let scratch = &mut scratch[..widened_words(columns)];
    let output = &mut output[..count];
    let (rows, x) = black_box((&rows, &*x));
    let counter = Counter::start();
    kernels::dense(rows, Range::WHOLE, x, scratch, output);
    let cost = counter.elapsed();
    defmt::info!(
        "kernel dense_{}x{}: {} multiply-accumulates, {} {}",
        columns,
        count,
        columns * count,
        cost,
        board::UNIT
    );
    let expected = |row: usize| naive::requantised(dense_sum(rows, row, x), &rows.scales()[row], Range::WHOLE);
    (0..count).all(|row| output[row] == expected(row))
}

/// A window of stride 1 that is padded to give as many pixels as it gets, over its longer sides.
fn same(kernel: [u8; 2]) -> Window {
    let [height, width] = kernel.map(|size| size / 2);
    Window { kernel, stride: [1, 1], padding: [height, width, height, width] }
}

fn conv(buffers: &mut Buffers, kernel: [u8; 2], shape: [usize; 3], count: usize) -> bool {
    let Buffers { input, output, scratch, words, .. } = buffers;
    let [height, width, channels] = shape;
    let window = same(kernel);
    let slide = Slide {
        input: Shape { height, width, channels },
        output: Shape { height, width, channels: count },
        window: &window,
        zero_point: -128,
    };
    let x = &mut input[..slide.input.len()];
    let random = &mut Random(6);
    Values::Any.fill(-128, random, x);
    let taps = kernel.map(usize::from).iter().product::<usize>() * channels;
    let rows = random_rows(random, Values::Any, count, taps, words);
    let output = &mut output[..slide.output.len()];
    let scratch = &mut scratch[..patch_words(&window, channels)];
    let (rows, slide, x) = black_box((&rows, &slide, &*x));
    let counter = Counter::start();
    kernels::conv2d(rows, slide, Range::WHOLE, 0..height, x, scratch, output);
    let cost = counter.elapsed();
    let (macs, [tall, wide]) = (height * width * count * taps, kernel);
    if width == 1 {
        defmt::info!(
            "kernel conv1d_{}x{}x{}_{}: {} multiply-accumulates, {} {}",
            tall,
            height,
            channels,
            count,
            macs,
            cost,
            board::UNIT
        );
    } else {
        defmt::info!(
            "kernel conv{}x{}_{}x{}x{}_{}: {} multiply-accumulates, {} {}",
            tall,
            wide,
            height,
            width,
            channels,
            count,
            macs,
            cost,
            board::UNIT
        );
    }
    check("conv", slide, &(0..height), output, &|at| conv_output(rows, slide, Range::WHOLE, x, at))
}

fn pools(buffers: &mut Buffers, [height, width, channels]: [usize; 3]) -> bool {
    let Buffers { input, output, .. } = buffers;
    let window = Window { kernel: [2, 2], stride: [2, 2], padding: [0; 4] };
    let image = Shape { height, width, channels };
    let halved = Shape { height: height / 2, width: width / 2, channels };
    let slide = Slide { input: image, output: halved, window: &window, zero_point: -128 };
    let x = &mut input[..image.len()];
    Values::Any.fill(-128, &mut Random(8), x);
    let output = &mut output[..halved.len()];
    let (slide, x, lines) = black_box((&slide, &*x, 0..halved.height));
    let counter = Counter::start();
    kernels::max_pool2d(slide, lines.clone(), x, output);
    let cost = counter.elapsed();
    defmt::info!("pool maxpool2_{}x{}x{}: {} {}", height, width, channels, cost, board::UNIT);
    let is_right = check("max pool", slide, &lines, output, &|at| naive::pool2d(slide, x, at)[0]);
    let counter = Counter::start();
    kernels::average_pool2d(slide, lines.clone(), x, output);
    let cost = counter.elapsed();
    defmt::info!("pool averagepool2_{}x{}x{}: {} {}", height, width, channels, cost, board::UNIT);
    is_right && check("average pool", slide, &lines, output, &|at| naive::pool2d(slide, x, at)[1])
}

fn depthwise(buffers: &mut Buffers, shape: [usize; 3]) -> bool {
    let Buffers { input, output, scratch, words, weights } = buffers;
    let [height, width, channels] = shape;
    let window = same([3, 3]);
    let image = Shape { height, width, channels };
    let slide = Slide { input: image, output: image, window: &window, zero_point: -128 };
    let x = &mut input[..image.len()];
    let random = &mut Random(7);
    Values::Any.fill(-128, random, x);
    let weights = &mut weights[..9 * channels];
    Values::Any.fill(-127, random, weights);
    let rows = filters(weights, channels, 0, words);
    let scratch = &mut scratch[..filter_patch_words(&window, channels)];
    let output = &mut output[..image.len()];
    let (rows, slide, x) = black_box((&rows, &slide, &*x));
    let counter = Counter::start();
    kernels::depthwise_conv2d(rows, slide, Range::WHOLE, 0..height, x, scratch, output);
    let cost = counter.elapsed();
    defmt::info!(
        "kernel depthwise3x3_{}x{}x{}: {} multiply-accumulates, {} {}",
        height,
        width,
        channels,
        image.len() * 9,
        cost,
        board::UNIT
    );
    check("depthwise conv", slide, &(0..height), output, &|at| {
        naive::depthwise_conv2d(weights, rows.biases(), rows.scales(), slide, Range::WHOLE, x, at)
    })
}
