//! Sums of a quad in safe Rust.

use eigenlet_shared::packed::SIDE;

pub(super) fn part_by_one(words: &[u32], x: &[u32], [sums, _]: &mut [[i32; SIDE]; 2]) {
    add(sums, quad(words, x));
}

pub(super) fn part_by_two(words: &[u32], x: &[u32], [first, second]: &mut [[i32; SIDE]; 2]) {
    let ([a, b], [c, d]) = (pair_by_two::<0>(words, x), pair_by_two::<2>(words, x));
    add(first, joined(a, c));
    add(second, joined(b, d));
}

#[inline(always)]
fn add([a, b, c, d]: &mut [i32; SIDE], [p, q, r, s]: [i32; SIDE]) {
    *a = a.wrapping_add(p);
    *b = b.wrapping_add(q);
    *c = c.wrapping_add(r);
    *d = d.wrapping_add(s);
}

fn joined([a, b]: [i32; 2], [c, d]: [i32; 2]) -> [i32; SIDE] {
    [a, b, c, d]
}

/// Two rows' sums on their way.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// That of the even row, and 256 times the odd row's.
    both: i32,
    even: i32,
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, lane: i16, x: i16) {
        self.both = self.both.wrapping_add(i32::from(lane).wrapping_mul(x.into()));
        self.even = self.even.wrapping_add(i32::from(lane as i8).wrapping_mul(x.into()));
    }

    #[inline(always)]
    fn rows(self) -> [i32; 2] {
        [self.even, self.both.wrapping_sub(self.even) >> 8]
    }
}

// Each loop takes two columns at a time: with a whole group the compiler loads all of it first, and spills.

#[inline(never)]
fn quad(words: &[u32], x: &[u32]) -> [i32; SIDE] {
    let (lanes, _) = bytemuck::must_cast_slice::<u32, i16>(words).as_chunks::<4>();
    let (x, _) = bytemuck::must_cast_slice::<u32, i16>(x).as_chunks::<2>();
    let [mut low, mut high] = [Sums::default(); 2];
    for ([a, b, c, d], [x, y]) in lanes.iter().zip(x) {
        low.add(*a, *x);
        high.add(*c, *x);
        low.add(*b, *y);
        high.add(*d, *y);
    }
    joined(low.rows(), high.rows())
}

/// The pair of a quad whose lanes begin at `FIRST` of the four that two columns have, by two pixels.
// More would not fit the registers of an M3.
#[inline(never)]
fn pair_by_two<const FIRST: usize>(words: &[u32], x: &[u32]) -> [[i32; 2]; 2] {
    let (lanes, _) = bytemuck::must_cast_slice::<u32, i16>(words).as_chunks::<4>();
    let (x, _) = bytemuck::must_cast_slice::<u32, i16>(x).as_chunks::<4>();
    let [mut first, mut second] = [Sums::default(); 2];
    for (lanes, [x0, x1, y0, y1]) in lanes.iter().zip(x) {
        let [a, b, ..] = lanes.get(FIRST..).unwrap_or_default() else { continue };
        first.add(*a, *x0);
        second.add(*a, *y0);
        first.add(*b, *x1);
        second.add(*b, *y1);
    }
    [first.rows(), second.rows()]
}
