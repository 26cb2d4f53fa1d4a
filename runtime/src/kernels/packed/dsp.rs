//! The kernels for cores with the DSP extension (Cortex-M4, M7, M33 and on): each `smlad` multiplies two lanes, so four weights.
//!
//! Five routines in assembly, since no compiler keeps a quad's sums for two pixels in the fourteen registers that there are. Each has a
//! section of its own, so that a program that calls none of them has none of them. The functions around them check every
//! length before: what the assembly reads and writes lies within the slices, whatever they hold.
#![allow(unsafe_code)] // the only module with any

use core::arch::global_asm;

use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::SIDE;

/// Which kernels these are.
#[cfg(not(eigenlet_armv8m))]
pub const KERNELS: &str = "packed lanes, Armv7E-M DSP";
#[cfg(eigenlet_armv8m)]
pub const KERNELS: &str = "packed lanes, Armv8-M DSP";

/// For Armv8-M, a core that has the extension: the compiler was not told of it.
#[cfg(not(eigenlet_armv8m))]
macro_rules! cpu {
    () => {
        ""
    };
}
#[cfg(eigenlet_armv8m)]
macro_rules! cpu {
    () => {
        ".cpu cortex-m33"
    };
}

/// Groups of columns in the loops over quads. More gain little: each quad enters a loop in its middle for what its number of groups
/// leaves over.
const UNROLL: usize = 4;
const _: () = assert!(UNROLL.is_power_of_two());

global_asm!(
    cpu!(),
    ".syntax unified",
    ".thumb",
    // A sum in `v` becomes its int8 value: `mult`, `add` and `shift` of its scale, `t` to spare. What `requantise` says, in the registers.
    ".macro eigenlet_requantise v, t, mult, add, shift",
    "lsl \\v, \\v, #1",
    "smmlar \\t, \\v, \\mult, \\add",
    "add \\v, \\t, \\v, asr #31",
    "asr \\v, \\v, \\shift",
    "ssat \\v, #8, \\v",
    ".endm",
    //
    // Bytes to lanes. r0 from, r1 groups (not 0), r2 to.
    ".section .text.eigenlet_widen,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_widen",
    ".type eigenlet_widen,%function",
    ".thumb_func",
    "eigenlet_widen:",
    "1:",
    "ldr r3, [r0], #4",
    "sxtb16 r12, r3",
    "sxtb16 r3, r3, ror #8",
    "strd r12, r3, [r2], #8",
    "subs r1, #1",
    "bne 1b",
    "bx lr",
    ".size eigenlet_widen, . - eigenlet_widen",
    //
    // Bytes of two pixels to lanes. r0, r1 from, r2 groups (not 0), r3 to.
    ".section .text.eigenlet_widen_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_widen_two",
    ".type eigenlet_widen_two,%function",
    ".thumb_func",
    "eigenlet_widen_two:",
    "push {{r4-r7, lr}}",
    "1:",
    "ldr r6, [r0], #4",
    "ldr r7, [r1], #4",
    "sxtb16 r4, r6",
    "sxtb16 r5, r7",
    "sxtb16 r6, r6, ror #8",
    "sxtb16 r7, r7, ror #8",
    "stm r3!, {{r4-r7}}",
    "subs r2, #1",
    "bne 1b",
    "pop {{r4-r7, pc}}",
    ".size eigenlet_widen_two, . - eigenlet_widen_two",
    //
    // Quads by one pixel. r0 x, r1 words, r2 the end of x, r3 to; on the stack biases, scales (0: sums are stored), the end of the words.
    ".section .text.eigenlet_quads,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quads",
    ".type eigenlet_quads,%function",
    ".thumb_func",
    "eigenlet_quads:",
    "push {{r4-r11, lr}}",
    // Where the loop is entered: as many groups are skipped as the last turn lacks. A group is 8 bytes of x, 56 of code.
    "subs r4, r0, r2",
    "ubfx r4, r4, #3, #{unroll_bits}",
    "movs r5, #56",
    "adr r10, 1f",
    "mla r10, r4, r5, r10",
    "orr r10, r10, #1",
    "push {{r0, r3}}",
    "ldr r4, [sp, #44]",
    "2:",
    "ldr r11, [r4]",
    "ldr lr, [r4, #8]",
    "ldr r0, [sp]",
    "mov r3, r11",
    "mov r12, lr",
    "bx r10",
    // r3 and r12: both rows' sums of a lane; r11 and lr: the even row's.
    ".p2align 2",
    "1:",
    ".rept {unroll}",
    "ldrd r4, r5, [r0], #8",
    "ldm.w r1!, {{r6, r7, r8, r9}}",
    "smlad r3, r6, r4, r3",
    "sxtb16 r6, r6",
    "smlad r11, r6, r4, r11",
    "smlad r12, r7, r4, r12",
    "sxtb16 r7, r7",
    "smlad lr, r7, r4, lr",
    "smlad r3, r8, r5, r3",
    "sxtb16 r8, r8",
    "smlad r11, r8, r5, r11",
    "smlad r12, r9, r5, r12",
    "sxtb16 r9, r9",
    "smlad lr, r9, r5, lr",
    ".endr",
    "cmp r0, r2",
    "bne 1b",
    "ldrd r4, r5, [sp, #44]",
    "ldr r6, [r4, #4]",
    "ldr r7, [r4, #12]",
    "sub r3, r3, r11",
    "sub r12, r12, lr",
    "add r3, r6, r3, asr #8",
    "add r12, r7, r12, asr #8",
    "adds r4, #16",
    "ldr r0, [sp, #4]",
    "cmp r5, #0",
    "beq 4f",
    "ldm r5!, {{r6, r7, r8}}",
    "eigenlet_requantise r11, r9, r6, r7, r8",
    "strb r11, [r0], #1",
    "ldm r5!, {{r6, r7, r8}}",
    "eigenlet_requantise r3, r9, r6, r7, r8",
    "strb r3, [r0], #1",
    "ldm r5!, {{r6, r7, r8}}",
    "eigenlet_requantise lr, r9, r6, r7, r8",
    "strb lr, [r0], #1",
    "ldm r5!, {{r6, r7, r8}}",
    "eigenlet_requantise r12, r9, r6, r7, r8",
    "strb r12, [r0], #1",
    "3:",
    "str r0, [sp, #4]",
    "strd r4, r5, [sp, #44]",
    "ldr r6, [sp, #52]",
    "cmp r1, r6",
    "bne 2b",
    "add sp, #8",
    "pop {{r4-r11, pc}}",
    "4:",
    "strd r11, r3, [r0], #8",
    "strd lr, r12, [r0], #8",
    "b 3b",
    ".size eigenlet_quads, . - eigenlet_quads",
    //
    // Quads by two pixels. r0 x, r1 words, r2 the end of x, r3 the first pixel's outputs; on the stack the second's, biases, scales
    // (0: sums are stored), the end of the words.
    ".section .text.eigenlet_quads_by_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quads_by_two",
    ".type eigenlet_quads_by_two,%function",
    ".thumb_func",
    "eigenlet_quads_by_two:",
    "push {{r4-r11, lr}}",
    "ldr r4, [sp, #36]",
    // As above: a group is 16 bytes of x, 96 of code.
    "subs r5, r0, r2",
    "ubfx r5, r5, #4, #{unroll_bits}",
    "movs r6, #96",
    "adr r7, 1f",
    "mla r7, r5, r6, r7",
    "adds r7, #1",
    "push {{r0, r2, r3, r4, r7}}",
    "2:",
    "ldr r6, [sp, #60]",
    "ldr r8, [r6]",
    "ldr r12, [r6, #8]",
    "ldr r0, [sp]",
    "mov r2, r8",
    "mov r3, r8",
    "mov r9, r8",
    "mov r10, r12",
    "mov r11, r12",
    "mov lr, r12",
    "ldr pc, [sp, #16]",
    // r2, r3 and r10, r11: both rows' sums of a lane, for either pixel; r8, r9 and r12, lr: the even row's.
    ".p2align 2",
    "1:",
    ".rept {unroll} * 2",
    "ldrd r4, r5, [r0], #8",
    "ldrd r6, r7, [r1], #8",
    "smlad r2, r6, r4, r2",
    "smlad r3, r6, r5, r3",
    "sxtb16 r6, r6",
    "smlad r8, r6, r4, r8",
    "smlad r9, r6, r5, r9",
    "smlad r10, r7, r4, r10",
    "smlad r11, r7, r5, r11",
    "sxtb16 r7, r7",
    "smlad r12, r7, r4, r12",
    "smlad lr, r7, r5, lr",
    ".endr",
    "ldr r4, [sp, #4]",
    "cmp r0, r4",
    "bne 1b",
    "ldrd r6, r7, [sp, #60]",
    "ldr r4, [r6, #4]",
    "ldr r5, [r6, #12]",
    "sub r2, r2, r8",
    "sub r3, r3, r9",
    "sub r10, r10, r12",
    "sub r11, r11, lr",
    "add r2, r4, r2, asr #8",
    "add r3, r4, r3, asr #8",
    "add r10, r5, r10, asr #8",
    "add r11, r5, r11, asr #8",
    "adds r6, #16",
    "str r6, [sp, #60]",
    "cmp r7, #0",
    "beq 4f",
    "ldm r7!, {{r0, r4, r5}}",
    "eigenlet_requantise r8, r6, r0, r4, r5",
    "eigenlet_requantise r9, r6, r0, r4, r5",
    "ldm r7!, {{r0, r4, r5}}",
    "eigenlet_requantise r2, r6, r0, r4, r5",
    "eigenlet_requantise r3, r6, r0, r4, r5",
    "ldm r7!, {{r0, r4, r5}}",
    "eigenlet_requantise r12, r6, r0, r4, r5",
    "eigenlet_requantise lr, r6, r0, r4, r5",
    "ldm r7!, {{r0, r4, r5}}",
    "eigenlet_requantise r10, r6, r0, r4, r5",
    "eigenlet_requantise r11, r6, r0, r4, r5",
    "ldrd r4, r5, [sp, #8]",
    "strb r8, [r4], #1",
    "strb r2, [r4], #1",
    "strb r12, [r4], #1",
    "strb r10, [r4], #1",
    "strb r9, [r5], #1",
    "strb r3, [r5], #1",
    "strb lr, [r5], #1",
    "strb r11, [r5], #1",
    "3:",
    "strd r4, r5, [sp, #8]",
    "str r7, [sp, #64]",
    "ldr r6, [sp, #68]",
    "cmp r1, r6",
    "bne 2b",
    "add sp, #20",
    "pop {{r4-r11, pc}}",
    "4:",
    "ldrd r4, r5, [sp, #8]",
    "strd r8, r2, [r4], #8",
    "strd r12, r10, [r4], #8",
    "strd r9, r3, [r5], #8",
    "strd lr, r11, [r5], #8",
    "b 3b",
    ".size eigenlet_quads_by_two, . - eigenlet_quads_by_two",
    //
    // The sums of one pair by one pixel. r0 x, r1 words, r2 the end of x, r3 to.
    ".section .text.eigenlet_pair,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_pair",
    ".type eigenlet_pair,%function",
    ".thumb_func",
    "eigenlet_pair:",
    "push {{r3-r8, lr}}",
    "movs r3, #0",
    "mov r12, r3",
    // An odd number of groups begins in the middle.
    "subs r4, r2, r0",
    "lsls r4, r4, #28",
    "bmi 2f",
    "1:",
    "ldrd r4, r5, [r0], #8",
    "ldrd r6, r7, [r1], #8",
    "smlad r3, r6, r4, r3",
    "sxtb16 r6, r6",
    "smlad r12, r6, r4, r12",
    "smlad r3, r7, r5, r3",
    "sxtb16 r7, r7",
    "smlad r12, r7, r5, r12",
    "2:",
    "ldrd r4, r5, [r0], #8",
    "ldrd r6, r7, [r1], #8",
    "smlad r3, r6, r4, r3",
    "sxtb16 r6, r6",
    "smlad r12, r6, r4, r12",
    "smlad r3, r7, r5, r3",
    "sxtb16 r7, r7",
    "smlad r12, r7, r5, r12",
    "cmp r0, r2",
    "bne 1b",
    "sub r3, r3, r12",
    "asrs r3, r3, #8",
    "ldr r0, [sp]",
    "strd r12, r3, [r0]",
    "pop {{r3-r8, pc}}",
    ".size eigenlet_pair, . - eigenlet_pair",
    //
    // The sums of one pair by two pixels. r0 x, r1 words, r2 the end of x, r3 to.
    ".section .text.eigenlet_pair_by_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_pair_by_two",
    ".type eigenlet_pair_by_two,%function",
    ".thumb_func",
    "eigenlet_pair_by_two:",
    "push {{r3-r9, lr}}",
    "movs r3, #0",
    "mov r12, r3",
    "mov r8, r3",
    "mov r9, r3",
    "1:",
    "ldrd r6, r7, [r1], #8",
    "ldrd r4, r5, [r0], #8",
    "smlad r3, r6, r4, r3",
    "smlad r8, r6, r5, r8",
    "sxtb16 r6, r6",
    "smlad r12, r6, r4, r12",
    "smlad r9, r6, r5, r9",
    "ldrd r4, r5, [r0], #8",
    "smlad r3, r7, r4, r3",
    "smlad r8, r7, r5, r8",
    "sxtb16 r7, r7",
    "smlad r12, r7, r4, r12",
    "smlad r9, r7, r5, r9",
    "cmp r0, r2",
    "bne 1b",
    "sub r3, r3, r12",
    "sub r8, r8, r9",
    "asrs r3, r3, #8",
    "asr r8, r8, #8",
    "ldr r0, [sp]",
    "strd r12, r3, [r0]",
    "strd r9, r8, [r0, #16]",
    "pop {{r3-r9, pc}}",
    ".size eigenlet_pair_by_two, . - eigenlet_pair_by_two",
    ".text",
    unroll = const UNROLL,
    unroll_bits = const UNROLL.ilog2(),
);

unsafe extern "C" {
    fn eigenlet_widen(from: *const i8, groups: usize, to: *mut u32);
    fn eigenlet_widen_two(first: *const i8, second: *const i8, groups: usize, to: *mut u32);
    /// `to` are `i8`, or `i32` where `scales` is null.
    fn eigenlet_quads(
        x: *const u32,
        words: *const u32,
        x_end: *const u32,
        to: *mut u8,
        biases: *const i32,
        scales: *const Scale,
        words_end: *const u32,
    );
    fn eigenlet_quads_by_two(
        x: *const u32,
        words: *const u32,
        x_end: *const u32,
        to: *mut u8,
        and_to: *mut u8,
        biases: *const i32,
        scales: *const Scale,
        words_end: *const u32,
    );
    fn eigenlet_pair(x: *const u32, words: *const u32, x_end: *const u32, to: *mut i32);
    fn eigenlet_pair_by_two(x: *const u32, words: *const u32, x_end: *const u32, to: *mut i32);
}

#[inline(always)]
pub(super) fn widen(groups: &[[i8; SIDE]], to: &mut [[u32; 2]]) {
    let count = groups.len().min(to.len());
    if count > 0 {
        // SAFETY: it reads `count` groups of 4 bytes, at any alignment, and writes as many of 2 words: no more than the slices have.
        unsafe { eigenlet_widen(groups.as_ptr().cast(), count, to.as_mut_ptr().cast()) }
    }
}

#[inline(always)]
pub(super) fn widen_two(first: &[[i8; SIDE]], second: &[[i8; SIDE]], to: &mut [[u32; 4]]) {
    let count = first.len().min(second.len()).min(to.len());
    if count > 0 {
        // SAFETY: as for `widen`, with 4 words for a group of each.
        unsafe { eigenlet_widen_two(first.as_ptr().cast(), second.as_ptr().cast(), count, to.as_mut_ptr().cast()) }
    }
}

/// Outputs of whole quads, as many as are done: all of `to`, in multiples of four, that words and constants reach for.
#[inline(always)]
pub(super) fn outputs<const PIXELS: usize>(
    words: &[u32],
    x: &[u32],
    biases: &[i32],
    scales: &[Scale],
    mut to: [&mut [i8]; PIXELS],
) -> usize {
    let wanted = to.iter().map(|to| to.len()).fold(scales.len(), usize::min);
    let Some(Run { x, words, rows }) = Run::new(words, x, PIXELS, wanted, biases) else { return 0 };
    match &mut to[..] {
        // SAFETY: by `Run`, it reads the whole of `x` again for each quad of `words`, and four biases, four scales; it writes four bytes.
        // There are `rows` of each.
        [to] => unsafe {
            let (biases, scales) = (biases.as_ptr(), scales.as_ptr());
            eigenlet_quads(x.start, words.start, x.end, to.as_mut_ptr().cast(), biases, scales, words.end);
        },
        // SAFETY: the same, and four bytes for each pixel.
        [to, and_to] => unsafe {
            let (to, and_to) = (to.as_mut_ptr().cast(), and_to.as_mut_ptr().cast());
            let (biases, scales) = (biases.as_ptr(), scales.as_ptr());
            eigenlet_quads_by_two(x.start, words.start, x.end, to, and_to, biases, scales, words.end);
        },
        _ => return 0,
    }
    rows
}

/// Sums of whole quads by one pixel, as many as are done: as for `outputs`.
#[inline(always)]
pub(super) fn sums(words: &[u32], x: &[u32], biases: &[i32], to: &mut [i32]) -> usize {
    let Some(Run { x, words, rows }) = Run::new(words, x, 1, to.len(), biases) else { return 0 };
    // SAFETY: as for `outputs`, but without scales it writes four words for each quad; `to` has `rows`.
    unsafe {
        let (biases, scales) = (biases.as_ptr(), core::ptr::null());
        eigenlet_quads(x.start, words.start, x.end, to.as_mut_ptr().cast(), biases, scales, words.end);
    }
    rows
}

/// The sums of a quad's four rows, for each pixel, biases left out.
#[inline(always)]
pub(super) fn quad<const PIXELS: usize>(words: &[u32], x: &[u32]) -> [[i32; SIDE]; PIXELS] {
    let biases = [0; SIDE];
    let mut sums = [[0; SIDE]; PIXELS];
    let Some(Run { x, words, .. }) = Run::new(words, x, PIXELS, SIDE, &biases) else { return sums };
    let (biases, scales) = (biases.as_ptr(), core::ptr::null());
    match &mut sums[..] {
        // SAFETY: as for `sums`, with one quad and its four words.
        [to] => unsafe {
            eigenlet_quads(x.start, words.start, x.end, to.as_mut_ptr().cast(), biases, scales, words.end);
        },
        // SAFETY: the same, with four words for each pixel.
        [to, and_to] => unsafe {
            let (to, and_to) = (to.as_mut_ptr().cast(), and_to.as_mut_ptr().cast());
            eigenlet_quads_by_two(x.start, words.start, x.end, to, and_to, biases, scales, words.end);
        },
        _ => {}
    }
    sums
}

/// The sums of a pair's two rows, in the first two places, for each pixel.
#[inline(always)]
pub(super) fn pair<const PIXELS: usize>(words: &[u32], x: &[u32]) -> [[i32; SIDE]; PIXELS] {
    let mut sums = [[0; SIDE]; PIXELS];
    let of_group = 2usize.wrapping_mul(PIXELS);
    let is_whole = x.len().is_multiple_of(of_group) && !x.is_empty();
    if !is_whole || words.len().checked_mul(PIXELS).is_none_or(|reach| reach < x.len()) {
        return sums;
    }
    let (x, words, to) = (x.as_ptr_range(), words.as_ptr(), sums.as_mut_ptr().cast());
    match PIXELS {
        // SAFETY: it reads the whole of `x`, which is not empty and of whole groups, and two words for each of its groups; it writes two
        // words.
        1 => unsafe { eigenlet_pair(x.start, words, x.end, to) },
        // SAFETY: the same, and it writes the second pixel's two words from the fourth on.
        2 => unsafe { eigenlet_pair_by_two(x.start, words, x.end, to) },
        _ => {}
    }
    sums
}

/// What the assembly goes over: all of `x`, for one quad of `words` after another.
struct Run {
    x: core::ops::Range<*const u32>,
    words: core::ops::Range<*const u32>,
    /// Rows of the quads.
    rows: usize,
}

impl Run {
    /// As many quads of the `wanted` rows as there are words and biases for; `None` where that is none, or where `x` is empty or no whole
    /// groups of columns.
    #[inline(always)]
    fn new(words: &[u32], x: &[u32], pixels: usize, wanted: usize, biases: &[i32]) -> Option<Self> {
        let columns = x.len().checked_div(pixels)?.wrapping_mul(2);
        if columns == 0 || !x.len().is_multiple_of(pixels.wrapping_mul(2)) {
            return None;
        }
        // As many words as rows by columns, four in each.
        let wanted = wanted.min(biases.len()) / SIDE;
        let words = words.get(..wanted.checked_mul(columns)?)?;
        (wanted > 0).then(|| Self { x: x.as_ptr_range(), words: words.as_ptr_range(), rows: wanted.wrapping_mul(SIDE) })
    }
}
