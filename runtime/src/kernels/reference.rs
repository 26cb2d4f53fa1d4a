#![allow(clippy::all, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use eigenlet_shared::description::Window;
use eigenlet_shared::geometry::Shape;
use eigenlet_shared::numerics::{Output, Scale, Sum};
use eigenlet_shared::packed;

#[derive(Clone, Copy, Debug, Default)]
pub struct Rows<'a> {
    pub words: &'a [u32],
    pub rows: usize,
    pub columns: usize,
    pub biases: &'a [i32],
    pub scales: &'a [Scale],
}
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub minimum: i8,
    pub maximum: i8,
}
pub struct Slide<'a> {
    pub input: Shape,
    pub output: Shape,
    pub window: &'a Window,
    pub zero_point: i8,
}
pub const KERNELS: &str = "reference";
pub fn widen(input: &[i8], to: &mut [u32]) {
    let at = |i: usize| input.get(i).copied().unwrap_or(0) as i16 as u16 as u32;
    for (g, w) in to.chunks_exact_mut(2).enumerate() {
        w[0] = at(4 * g) | at(4 * g + 2) << 16;
        w[1] = at(4 * g + 1) | at(4 * g + 3) << 16;
    }
}
fn weight(rows: &Rows, row: usize, column: usize) -> i32 {
    let (lane, odd) = packed::lane(rows.rows, rows.columns, row, column);
    let l = (rows.words[lane / 2] >> (16 * (lane % 2))) as i16;
    packed::weights(l)[odd as usize] as i32
}
pub fn sums(rows: &Rows, x: &[u32], first: usize, sums: &mut [i32]) {
    for (i, s) in sums.iter_mut().enumerate() {
        let row = first + i;
        *s = rows.biases[row];
        for c in 0..rows.columns {
            let w = x[c / 4 * 2 + c % 2];
            let v = (w >> (16 * (c % 4 / 2))) as i16 as i32;
            *s = s.wrapping_add(weight(rows, row, c).wrapping_mul(v));
        }
    }
}
pub fn outputs(rows: &Rows, x: &[u32], first: usize, range: Range, to: &mut [i8]) {
    for (i, to) in to.iter_mut().enumerate() {
        let mut s = [0];
        sums(rows, x, first + i, &mut s);
        *to = rows.scales[first + i].output(s[0]).clamp(range.minimum, range.maximum);
    }
}
pub fn dense_at(rows: &Rows, range: Range, indices: &[u16], output: &mut [i8]) {
    for (row, to) in output.iter_mut().enumerate() {
        let mut s = rows.biases[row];
        for i in indices {
            s = s.wrapping_add(weight(rows, row, *i as usize));
        }
        *to = rows.scales[row].output(s).clamp(range.minimum, range.maximum);
    }
}
fn taps<'a>(slide: &Slide, input: &'a [i8], y: usize, x: usize) -> impl Iterator<Item = Option<&'a [i8]>> {
    let w = *slide.window;
    let s = slide.input;
    (0..w.kernel[0] as usize).flat_map(move |ky| {
        (0..w.kernel[1] as usize).map(move |kx| {
            let r = (y * w.stride[0] as usize + ky).checked_sub(w.padding[0] as usize)?;
            let c = (x * w.stride[1] as usize + kx).checked_sub(w.padding[1] as usize)?;
            if r >= s.height || c >= s.width {
                return None;
            }
            input.get((r * s.width + c) * s.channels..)?.get(..s.channels)
        })
    })
}
pub fn conv2d(
    rows: &Rows,
    slide: &Slide,
    range: Range,
    lines: core::ops::Range<usize>,
    input: &[i8],
    _scratch: &mut [u32],
    output: &mut [i8],
) {
    let c = slide.input.channels;
    for y in lines {
        for x in 0..slide.output.width {
            for o in 0..rows.rows {
                let mut s = rows.biases[o];
                for (t, tap) in taps(slide, input, y, x).enumerate() {
                    for i in 0..c {
                        let v = tap.map_or(slide.zero_point, |t| t[i]) as i32;
                        s = s.wrapping_add(weight(rows, o, t * c + i).wrapping_mul(v));
                    }
                }
                output[(y * slide.output.width + x) * rows.rows + o] =
                    rows.scales[o].output(s).clamp(range.minimum, range.maximum);
            }
        }
    }
}
pub fn depthwise_conv2d(
    weights: &[i8],
    biases: &[i32],
    scales: &[Scale],
    slide: &Slide,
    range: Range,
    lines: core::ops::Range<usize>,
    input: &[i8],
    output: &mut [i8],
) {
    let c = slide.input.channels;
    for y in lines {
        for x in 0..slide.output.width {
            for o in 0..c {
                let mut s = biases[o];
                for (t, tap) in taps(slide, input, y, x).enumerate() {
                    let v = tap.map_or(slide.zero_point, |t| t[o]) as i32;
                    s = s.wrapping_add((weights[t * c + o] as i32).wrapping_mul(v));
                }
                output[(y * slide.output.width + x) * c + o] = scales[o].output(s).clamp(range.minimum, range.maximum);
            }
        }
    }
}
pub fn max_pool2d(slide: &Slide, lines: core::ops::Range<usize>, input: &[i8], output: &mut [i8]) {
    let c = slide.input.channels;
    for y in lines {
        for x in 0..slide.output.width {
            for o in 0..c {
                output[(y * slide.output.width + x) * c + o] =
                    taps(slide, input, y, x).flatten().map(|t| t[o]).max().unwrap_or(0);
            }
        }
    }
}
pub fn average_pool2d(slide: &Slide, lines: core::ops::Range<usize>, input: &[i8], output: &mut [i8]) {
    let c = slide.input.channels;
    for y in lines {
        for x in 0..slide.output.width {
            for o in 0..c {
                let (mut s, mut n) = (0i32, 0u32);
                for t in taps(slide, input, y, x).flatten() {
                    s += t[o] as i32;
                    n += 1;
                }
                let m = (s.unsigned_abs() + n / 2) / n.max(1);
                output[(y * slide.output.width + x) * c + o] = (m as i32 * s.signum()) as i8;
            }
        }
    }
}
pub fn add(sum: &Sum, output_grid: Output, other: &[i8], output: &mut [i8]) {
    for (to, other) in output.iter_mut().zip(other) {
        *to = sum.output(*to, *other, output_grid);
    }
}
