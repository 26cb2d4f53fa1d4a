//! The kernels on packed rows against plain loops, on random shapes and on values at their extremes.
#![cfg(feature = "bench")]

mod naive;

use eigenlet_runtime::Shape;
use eigenlet_runtime::kernels::{self, Range, Rows, Slide};
use eigenlet_shared::description::Window;
use eigenlet_shared::numerics::{Output, Scale, Sum};
use eigenlet_shared::packed::{
    filter_patch_words, filter_words, pack, pack_filters, patch_words, quad_words, widened_words,
};
use naive::{Random, Values, any_scale, requantised};
use proptest::prelude::*;

/// A layer's weights and constants.
struct Table {
    weights: Vec<i8>,
    words: Vec<u32>,
    biases: Vec<i32>,
    scales: Vec<Scale>,
    rows: usize,
    columns: usize,
}

impl Table {
    fn any(random: &mut Random, values: Values, rows: usize, columns: usize) -> Self {
        let mut weights = vec![0; rows * columns];
        values.fill(-127, random, &mut weights);
        // Anything that keeps the sum within its bound.
        let room = (1u32 << 30) - 1 - (columns as u32) * 127 * 128;
        let bias = |random: &mut Random| match random.below(4) {
            0 => room as i32,
            1 => -(room as i32),
            _ => random.below(65_536) as i32 - 32_768,
        };
        let zero_point = random.next() as i8;
        let padded = rows.next_multiple_of(4);
        Self {
            words: pack(&weights, columns),
            weights,
            biases: (0..padded).map(|_| bias(random)).collect(),
            scales: (0..padded).map(|_| any_scale(random, zero_point)).collect(),
            rows,
            columns,
        }
    }

    fn rows(&self) -> Rows<'_> {
        let Self { words, biases, scales, rows, columns, .. } = self;
        Rows::new(words, biases, scales, *rows, quad_words(*columns)).unwrap()
    }

    fn sum(&self, row: usize, x: &[i8]) -> i32 {
        naive::sum(&self.weights, self.columns, &self.biases, row, x)
    }
}

fn values() -> impl Strategy<Value = Values> {
    prop::sample::select(&Values::ALL[..])
}

fn ranges() -> impl Strategy<Value = Range> {
    let of = |minimum, maximum| Range { minimum, maximum };
    prop_oneof![Just(Range::WHOLE), Just(of(-127, 127)), (-128i8..=127).prop_map(move |minimum| of(minimum, 127))]
}

fn inputs(random: &mut Random, values: Values, length: usize) -> Vec<i8> {
    let mut x = vec![0; length];
    values.fill(-128, random, &mut x);
    x
}

/// Few columns mostly, and numbers around those at which sums are folded.
fn columns() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1usize..80, 1 => 505usize..520, 1 => 1020usize..1030, 1 => Just(784usize)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn dense_layers_and_their_prefixes(
        seed in 1u32.., rows in 1usize..20, columns in columns(), of in (values(), values()), range in ranges(),
        from in any::<prop::sample::Index>(), count in any::<prop::sample::Index>(), align in 0usize..4,
    ) {
        let random = &mut Random(seed);
        let table = Table::any(random, of.0, rows, columns);
        let input = inputs(random, of.1, columns + align);
        let x = &input[align..];
        let expected: Vec<i32> = (0..rows).map(|row| table.sum(row, x)).collect();
        let outputs: Vec<i8> = (0..rows).map(|row| requantised(expected[row], &table.scales[row], range)).collect();

        let mut scratch = vec![0xdead_beef; widened_words(columns)];
        let mut found = vec![0; rows];
        kernels::dense(&table.rows(), range, x, &mut scratch, &mut found);
        prop_assert_eq!(&found, &outputs);

        let quad = from.index(rows.div_ceil(4));
        let from = 4 * quad;
        let count = count.index(rows - from) + 1;
        let mut found = vec![0; count];
        kernels::outputs(&table.rows().from(quad).unwrap(), &scratch, range, &mut found);
        prop_assert_eq!(&found, &outputs[from..from + count]);
        let sums = kernels::quad_sums(&table.rows(), &scratch, quad);
        let there = (rows - from).min(4);
        prop_assert_eq!(&sums[..there], &expected[from..from + there]);
        prop_assert_eq!(kernels::quad_sums(&table.rows(), &scratch, rows.div_ceil(4)), [0; 4]);
    }

    #[test]
    fn layers_over_indices(seed in 1u32.., rows in 1usize..12, columns in 1usize..200, of in values(), range in ranges(), every in 1u32..9) {
        let random = &mut Random(seed);
        let table = Table::any(random, of, rows, columns);
        let indices: Vec<u16> = (0..columns as u16).filter(|_| random.below(every) == 0).collect();
        let mut x = vec![0; columns];
        indices.iter().for_each(|index| x[usize::from(*index)] = 1);
        let expected: Vec<i8> = (0..rows).map(|row| requantised(table.sum(row, &x), &table.scales[row], range)).collect();
        let mut found = vec![0; rows];
        kernels::dense_at(&table.rows(), range, &indices, &mut found);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn windows(
        seed in 1u32.., kernel in prop::sample::select(vec![[1u8, 1], [3, 3], [5, 5], [3, 1], [5, 1], [1, 4], [2, 3]]),
        stride in [1u8..4, 1u8..4], padding in [0u8..5, 0u8..5, 0u8..5, 0u8..5],
        size in [1usize..12, 1usize..12, 1usize..10], outputs in 1usize..10, of in (values(), values()), range in ranges(),
        zero_point in any::<i8>(), lines in any::<[prop::sample::Index; 2]>(), width_is_kernel in any::<bool>(),
    ) {
        let [kernel_height, kernel_width] = kernel;
        let [top, left, bottom, right] = padding;
        let (top, bottom) = (top % kernel_height, bottom % kernel_height);
        let (left, right) = if width_is_kernel { (0, 0) } else { (left % kernel_width, right % kernel_width) };
        let window = Window { kernel, stride, padding: [top, left, bottom, right] };
        let [height, width, channels] = size;
        let width = if width_is_kernel { kernel_width.into() } else { width };
        let positions = |size: usize, kernel: u8, stride: u8, padding: u8| {
            (size + usize::from(padding)).checked_sub(kernel.into()).map(|room| room / usize::from(stride) + 1)
        };
        let out_height = positions(height, kernel_height, stride[0], top + bottom);
        let out_width = positions(width, kernel_width, stride[1], left + right);
        let (Some(out_height), Some(out_width)) = (out_height, out_width) else { return Ok(()) };
        let random = &mut Random(seed);
        let input = inputs(random, of.0, height * width * channels);
        let shape = Shape { height, width, channels };
        let mut lines = lines.map(|index| index.index(out_height + 1));
        lines.sort();
        let lines = lines[0]..lines[1];

        let slide = |channels| {
            Slide { input: shape, output: Shape { height: out_height, width: out_width, channels }, window: &window, zero_point }
        };
        let check = |slide: Slide, found: &[i8], expected: &dyn Fn([usize; 3]) -> i8| {
            for (at, found) in found.iter().enumerate() {
                let (pixel, channel) = (at / slide.output.channels, at % slide.output.channels);
                let at = [pixel / out_width, pixel % out_width, channel];
                let expected = if lines.contains(&at[0]) { expected(at) } else { 77 };
                prop_assert_eq!(*found, expected, "{:?} {:?} {:?} of {:?}", at, window, shape, lines);
            }
            Ok(())
        };

        let conv = slide(outputs);
        let table = Table::any(random, of.1, outputs, usize::from(kernel_height) * usize::from(kernel_width) * channels);
        let mut scratch = vec![0xdead_beef; patch_words(&window, channels)];
        let mut found = vec![77; conv.output.len()];
        kernels::conv2d(&table.rows(), &conv, range, lines.clone(), &input, &mut scratch, &mut found);
        check(conv, &found, &|at| naive::conv2d(&table.weights, &table.biases, &table.scales, &conv, range, &input, at))?;

        let same = slide(channels);
        let taps = usize::from(kernel_height) * usize::from(kernel_width);
        let table = Table::any(random, of.1, channels, taps);
        let Table { weights, biases, scales, .. } = &table;
        let words = pack_filters(weights, channels);
        let rows = Rows::new(&words, biases, scales, channels, filter_words(taps)).unwrap();
        let mut scratch = vec![0xdead_beef; filter_patch_words(&window, channels)];
        let mut found = vec![77; same.output.len()];
        kernels::depthwise_conv2d(&rows, &same, range, lines.clone(), &input, &mut scratch, &mut found);
        check(same, &found, &|at| naive::depthwise_conv2d(weights, biases, scales, &same, range, &input, at))?;

        let mut found = vec![77; same.output.len()];
        kernels::max_pool2d(&same, lines.clone(), &input, &mut found);
        check(same, &found, &|at| naive::pool2d(&same, &input, at)[0])?;
        let mut found = vec![77; same.output.len()];
        kernels::average_pool2d(&same, lines.clone(), &input, &mut found);
        check(same, &found, &|at| naive::pool2d(&same, &input, at)[1])?;
    }

    /// Lengths that do not belong together stop nothing.
    #[test]
    fn lengths_that_do_not_fit(
        seed in 1u32.., rows in 0usize..12, quad in 0usize..40, lengths in [0usize..40, 0usize..40, 0usize..40],
        window in any::<[u8; 8]>(), sizes in [0usize..5, 0usize..5, 0usize..5, 0usize..5, 0usize..5, 0usize..5], lines in [0usize..5, 0usize..5],
        has_scales in any::<bool>(),
    ) {
        let random = &mut Random(seed);
        let padded = rows.next_multiple_of(4);
        let words: Vec<u32> = (0..padded / 4 * quad).map(|_| random.next()).collect();
        let biases: Vec<i32> = (0..padded).map(|_| random.next() as i32).collect();
        let scale = |random: &mut Random| Scale { multiplier: random.next() as i32, addend: random.next() as i32, shift: random.next() as i32 };
        let scales: Vec<Scale> = (0..if has_scales { padded } else { 0 }).map(|_| scale(random)).collect();
        let input = inputs(random, Values::Any, lengths[0] * 3);
        let mut output = vec![0; lengths[1]];
        let mut scratch = vec![0; lengths[1] * 7 + lengths[2]];
        let table = Rows::new(&words, &biases, &scales, rows, quad).unwrap();
        kernels::dense(&table, Range::WHOLE, &input, &mut scratch, &mut output);
        kernels::outputs(&table, &words, Range::WHOLE, &mut output);
        kernels::quad_sums(&table, &scratch, lengths[1]);
        kernels::quad_sums(&table, &words, usize::MAX / 4);
        kernels::dense_at(&table, Range::WHOLE, &[0, 1, 7, 39, 65_535], &mut output);
        let [kernel, stride] = [[window[0] % 6, window[1] % 6], [window[2], window[3] % 3]];
        let window = Window { kernel, stride, padding: [window[4], window[5] % 3, window[6], window[7]] };
        let shape = |at: usize| Shape { height: sizes[at], width: sizes[at + 1], channels: sizes[at + 2] };
        let slide = Slide { input: shape(0), output: shape(3), window: &window, zero_point: 3 };
        let lines = lines[0]..lines[1];
        kernels::conv2d(&table, &slide, Range::WHOLE, lines.clone(), &input, &mut scratch, &mut output);
        kernels::depthwise_conv2d(&table, &slide, Range::WHOLE, lines.clone(), &input, &mut scratch, &mut output);
        kernels::max_pool2d(&slide, lines.clone(), &input, &mut output);
        kernels::average_pool2d(&slide, lines, &input, &mut output);
    }

    /// Tables are refused that are shorter or longer than whole quads of rows have them.
    #[test]
    fn tables_are_whole_quads(rows in 0usize..12, quad in 0usize..20, more in [-1isize..2, -1isize..2, -1isize..2], huge in any::<[usize; 2]>()) {
        let padded = rows.next_multiple_of(4);
        let lengths = [padded / 4 * quad, padded, padded];
        let found: Vec<usize> = (0..3).map(|at| lengths[at].saturating_add_signed(more[at])).collect();
        let words = vec![0; found[0]];
        let biases = vec![0; found[1]];
        let scales = vec![Scale::new(0, 1, 0); found[2]];
        let is_there = Rows::new(&words, &biases, &scales, rows, quad).is_some();
        prop_assert_eq!(is_there, found[..2] == lengths[..2] && (found[2] == padded || found[2] == 0));
        prop_assert!(Rows::new(&words, &biases, &scales, huge[0].max(100), huge[1]).is_none());
    }
}

/// The constants that TensorFlow Lite derives from three scales.
fn addition(scales: [f64; 3], zero_points: [i8; 3]) -> Sum {
    let fixed = |real: f64| {
        let shift = (-real.log2()).floor().max(0.0) as i32;
        ((real * f64::from(1u32 << shift) * f64::from(1u32 << 31)).round().min(f64::from(i32::MAX)) as i32, shift)
    };
    let twice_the_larger = 2.0 * scales[0].max(scales[1]);
    let operands = [0, 1].map(|at| fixed(scales[at] / twice_the_larger));
    let (multiplier, shift) = fixed(twice_the_larger / scales[2] / f64::from(1u32 << Sum::LEFT_SHIFT));
    let sum = Sum {
        zero_points: [zero_points[0].into(), zero_points[1].into()],
        multipliers: operands.map(|(multiplier, _)| multiplier),
        shifts: operands.map(|(_, shift)| shift),
        multiplier,
        shift,
    };
    assert!(sum.is_lawful());
    sum
}

#[test]
fn residual_additions_are_the_rounded_real_sums() {
    for scales in [[0.1, 0.1, 0.2], [0.05, 0.3, 0.31], [1.0, 0.01, 0.5], [0.02, 0.02, 0.02]] {
        for zero_points in [[0, 0, 0], [-128, 127, 5], [3, -7, -128]] {
            let constants = addition(scales, zero_points);
            for a in i8::MIN..=i8::MAX {
                let all: Vec<i8> = (i8::MIN..=i8::MAX).collect();
                let mut found = vec![a; 256];
                let grid = Output { zero_point: zero_points[2], minimum: -128, maximum: 127 };
                kernels::add(&constants, grid, &all, &mut found);
                for (b, found) in all.iter().zip(&found) {
                    let real =
                        |value: i8, at: usize| f64::from(i16::from(value) - i16::from(zero_points[at])) * scales[at];
                    let exact =
                        ((real(a, 0) + real(*b, 1)) / scales[2] + f64::from(zero_points[2])).clamp(-128.0, 127.0);
                    assert!(
                        (f64::from(*found) - exact).abs() < 0.501,
                        "{a} + {b} by {scales:?}: {found}, exactly {exact}"
                    );
                }
            }
        }
    }
}
