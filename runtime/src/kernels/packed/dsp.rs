//! The kernels for cores with the DSP extension (Cortex-M4, M7, M33 and on): each `smlad` multiplies two lanes, so four weights.
//!
//! Five routines in assembly, since no compiler keeps a quad's sums for two pixels in the fourteen registers that there are. Each has a
//! section of its own, so that a program that calls none of them has none of them. The functions around them check every
//! length before: what the assembly reads and writes lies within the slices, whatever they hold.
#![allow(unsafe_code)] // the only module with any

use core::arch::global_asm;
use core::marker::PhantomData;
use core::ops::Range;

use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE};

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
    // Bytes of two pixels to lanes. r0, r1 from, r2 groups in a row (not 0), r3 to; on the stack rows (not 0), and the bytes between the end
    // of a row and the next.
    ".section .text.eigenlet_widen_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_widen_two",
    ".type eigenlet_widen_two,%function",
    ".thumb_func",
    "eigenlet_widen_two:",
    "push {{r4-r9, lr}}",
    "ldrd r8, r9, [sp, #28]",
    "2:",
    "mov r12, r2",
    "1:",
    "ldr r6, [r0], #4",
    "ldr r7, [r1], #4",
    "sxtb16 r4, r6",
    "sxtb16 r5, r7",
    "sxtb16 r6, r6, ror #8",
    "sxtb16 r7, r7, ror #8",
    "stm r3!, {{r4-r7}}",
    "subs r12, r12, #1",
    "bne 1b",
    "add r0, r0, r9",
    "add r1, r1, r9",
    "subs r8, r8, #1",
    "bne 2b",
    "pop {{r4-r9, pc}}",
    ".size eigenlet_widen_two, . - eigenlet_widen_two",
    //
    // Bytes as they lie. r0 from, r1 bytes (4 or more), r2 to. The last word may overlap the one before.
    ".section .text.eigenlet_copy,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_copy",
    ".type eigenlet_copy,%function",
    ".thumb_func",
    "eigenlet_copy:",
    "subs r1, #4",
    "ldr r12, [r0, r1]",
    "str r12, [r2, r1]",
    "it eq",
    "bxeq lr",
    "1:",
    "ldr r3, [r0], #4",
    "str r3, [r2], #4",
    "subs r1, #4",
    "bhi 1b",
    "bx lr",
    ".size eigenlet_copy, . - eigenlet_copy",
    //
    // A pixel of a depthwise convolution, four channels at a time. r0 a `Depthwise`, r1 to, r2 x.
    ".section .text.eigenlet_depthwise,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_depthwise",
    ".type eigenlet_depthwise,%function",
    ".thumb_func",
    "eigenlet_depthwise:",
    "push {{r4-r11, lr}}",
    "ldm r0, {{r3, r4, r5, r6, r7, r8, r9, r10}}",
    // On the stack: x, weights, biases, scales, to, blocks, rows, columns.
    "sub sp, #32",
    "strd r2, r8, [sp]",
    "strd r9, r10, [sp, #8]",
    "strd r1, r3, [sp, #16]",
    "strd r4, r5, [sp, #24]",
    "mov r3, r6",
    "mov lr, r7",
    "3:",
    "ldrd r0, r1, [sp]",
    "add r8, r0, #4",
    "add r9, r1, #4",
    "strd r8, r9, [sp]",
    "ldr r8, [sp, #8]",
    "ldr r12, [sp, #24]",
    "ldm r8!, {{r4, r5, r6, r7}}",
    "str r8, [sp, #8]",
    "2:",
    "ldr r2, [sp, #28]",
    "1:",
    "ldr r8, [r0]",
    "ldr r9, [r1]",
    "add r0, r0, r3",
    "add r1, r1, r3",
    "sxtb16 r10, r8",
    "sxtb16 r11, r9",
    "smlabb r4, r10, r11, r4",
    "smlatt r6, r10, r11, r6",
    "sxtb16 r10, r8, ror #8",
    "sxtb16 r11, r9, ror #8",
    "smlabb r5, r10, r11, r5",
    "smlatt r7, r10, r11, r7",
    "subs r2, r2, #1",
    "bne 1b",
    "add r0, r0, lr",
    "subs r12, r12, #1",
    "bne 2b",
    "ldrd r8, r9, [sp, #12]",
    "ldm r8!, {{r0, r1, r2}}",
    "eigenlet_requantise r4, r10, r0, r1, r2",
    "strb r4, [r9], #1",
    "ldm r8!, {{r0, r1, r2}}",
    "eigenlet_requantise r5, r10, r0, r1, r2",
    "strb r5, [r9], #1",
    "ldm r8!, {{r0, r1, r2}}",
    "eigenlet_requantise r6, r10, r0, r1, r2",
    "strb r6, [r9], #1",
    "ldm r8!, {{r0, r1, r2}}",
    "eigenlet_requantise r7, r10, r0, r1, r2",
    "strb r7, [r9], #1",
    "strd r8, r9, [sp, #12]",
    "ldr r0, [sp, #20]",
    "subs r0, r0, #1",
    "str r0, [sp, #20]",
    "bne 3b",
    "add sp, #32",
    "pop {{r4-r11, pc}}",
    ".size eigenlet_depthwise, . - eigenlet_depthwise",
    //
    // The four below: r0 a `Job`, r1 to, r2 x.
    //
    // Quads by one pixel.
    ".section .text.eigenlet_quads,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quads",
    ".type eigenlet_quads,%function",
    ".thumb_func",
    "eigenlet_quads:",
    "push {{r4-r11, lr}}",
    "ldm r0!, {{r3, r4, r5, r6}}",
    "ldr r7, [r0]",
    // Where the loop is entered: as many groups are skipped as the last turn lacks. A group is 8 bytes of x, 56 of code.
    "rsbs r8, r3, #0",
    "ubfx r8, r8, #3, #{unroll_bits}",
    "movs r0, #56",
    "adr r10, 1f",
    "mla r10, r8, r0, r10",
    "orr r10, r10, #1",
    // On the stack: x, to, biases, scales, the end of the words.
    "mov r0, r2",
    "add r2, r2, r3",
    "mov r3, r1",
    "mov r1, r7",
    "push {{r0, r3, r4, r5, r6}}",
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
    "ldrd r4, r5, [sp, #8]",
    "ldr r6, [r4, #4]",
    "ldr r7, [r4, #12]",
    "sub r3, r3, r11",
    "sub r12, r12, lr",
    "add r3, r6, r3, asr #8",
    "add r12, r7, r12, asr #8",
    "adds r4, #16",
    "ldr r0, [sp, #4]",
    "cbnz r5, 4f",
    "ldrd r6, r7, [r0]",
    "add r6, r6, r11",
    "add r7, r7, r3",
    "strd r6, r7, [r0], #8",
    "ldrd r6, r7, [r0]",
    "add r6, r6, lr",
    "add r7, r7, r12",
    "strd r6, r7, [r0], #8",
    "b 3f",
    "4:",
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
    "strd r4, r5, [sp, #8]",
    "ldr r6, [sp, #16]",
    "cmp r1, r6",
    "bne 2b",
    "add sp, #20",
    "pop {{r4-r11, pc}}",
    ".size eigenlet_quads, . - eigenlet_quads",
    //
    // Quads by two pixels.
    ".section .text.eigenlet_quads_by_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quads_by_two",
    ".type eigenlet_quads_by_two,%function",
    ".thumb_func",
    "eigenlet_quads_by_two:",
    "push {{r4-r11, lr}}",
    "ldr r3, [r0], #4",
    "ldm r0, {{r7, r8, r9, r10, r11}}",
    "mov r4, r1",
    "add r5, r1, r11",
    "mov r1, r10",
    // As above: a group is 16 bytes of x, 96 of code.
    "rsbs r6, r3, #0",
    "ubfx r6, r6, #4, #{unroll_bits}",
    "movs r0, #96",
    "adr r12, 1f",
    "mla r6, r6, r0, r12",
    "adds r6, #1",
    "add r3, r2, r3",
    // On the stack: x, its end, the two pixels' outputs, where the loop is entered, biases, scales, the end of the words.
    // Above it: the odd rows' biases of a quad.
    "sub sp, #8",
    "push {{r2-r9}}",
    "2:",
    "ldr r6, [sp, #20]",
    "ldm r6!, {{r8, r9, r12, lr}}",
    "strd r9, lr, [sp, #32]",
    "str r6, [sp, #20]",
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
    "ldrd r4, r5, [sp, #32]",
    "ldr r7, [sp, #24]",
    "sub r2, r2, r8",
    "sub r3, r3, r9",
    "sub r10, r10, r12",
    "sub r11, r11, lr",
    "add r2, r4, r2, asr #8",
    "add r3, r4, r3, asr #8",
    "add r10, r5, r10, asr #8",
    "add r11, r5, r11, asr #8",
    "cbnz r7, 4f",
    "ldrd r4, r5, [sp, #8]",
    "ldrd r0, r6, [r4]",
    "add r0, r0, r8",
    "add r6, r6, r2",
    "strd r0, r6, [r4], #8",
    "ldrd r0, r6, [r4]",
    "add r0, r0, r12",
    "add r6, r6, r10",
    "strd r0, r6, [r4], #8",
    "ldrd r0, r6, [r5]",
    "add r0, r0, r9",
    "add r6, r6, r3",
    "strd r0, r6, [r5], #8",
    "ldrd r0, r6, [r5]",
    "add r0, r0, lr",
    "add r6, r6, r11",
    "strd r0, r6, [r5], #8",
    "b 3f",
    "4:",
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
    "str r7, [sp, #24]",
    "ldr r6, [sp, #28]",
    "cmp r1, r6",
    "bne 2b",
    "add sp, #40",
    "pop {{r4-r11, pc}}",
    ".size eigenlet_quads_by_two, . - eigenlet_quads_by_two",
    //
    // The sums of one pair by one pixel.
    ".section .text.eigenlet_pair,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_pair",
    ".type eigenlet_pair,%function",
    ".thumb_func",
    "eigenlet_pair:",
    "push {{r1, r4-r7, lr}}",
    "ldr r4, [r0]",
    "ldr r1, [r0, #16]",
    "mov r0, r2",
    "add r2, r2, r4",
    "movs r3, #0",
    "mov r12, r3",
    // An odd number of groups begins in the middle.
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
    "pop {{r0}}",
    "ldrd r1, r2, [r0]",
    "add r1, r1, r12",
    "add r2, r2, r3",
    "strd r1, r2, [r0]",
    "pop {{r4-r7, pc}}",
    ".size eigenlet_pair, . - eigenlet_pair",
    //
    // The sums of one pair by two pixels.
    ".section .text.eigenlet_pair_by_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_pair_by_two",
    ".type eigenlet_pair_by_two,%function",
    ".thumb_func",
    "eigenlet_pair_by_two:",
    "push {{r1, r4-r9, lr}}",
    "ldr r4, [r0]",
    "ldr r1, [r0, #16]",
    "mov r0, r2",
    "add r2, r2, r4",
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
    "pop {{r0}}",
    "ldrd r1, r2, [r0]",
    "add r1, r1, r12",
    "add r2, r2, r3",
    "strd r1, r2, [r0]",
    "ldrd r1, r2, [r0, #16]",
    "add r1, r1, r9",
    "add r2, r2, r8",
    "strd r1, r2, [r0, #16]",
    "pop {{r4-r9, pc}}",
    ".size eigenlet_pair_by_two, . - eigenlet_pair_by_two",
    ".text",
    unroll = const UNROLL,
    unroll_bits = const UNROLL.ilog2(),
);

/// What a routine goes over, apart from the activations and the outputs; its fields in the order in which the assembly loads them.
#[repr(C)]
struct Job {
    /// Bytes of the widened pixels, whole groups, not 0.
    x_bytes: usize,
    biases: *const i32,
    /// Null where sums are added to what `to` has, and no outputs are stored.
    scales: *const Scale,
    words_end: *const u32,
    words: *const u32,
    /// From the first pixel's outputs to the second's, in bytes.
    stride: usize,
}

/// What a pixel of a depthwise convolution is made of; its fields in the order in which the assembly loads them.
#[repr(C)]
struct Depthwise {
    /// Blocks of four channels, rows and columns of the window: none of them 0.
    blocks: usize,
    rows: usize,
    columns: usize,
    /// Bytes from a column to the next, and between the last column of a row and the next row.
    step: usize,
    between: usize,
    weights: *const i8,
    biases: *const i32,
    scales: *const Scale,
}

type Routine = unsafe extern "C" fn(job: *const Job, to: *mut u8, x: *const u32);

unsafe extern "C" {
    fn eigenlet_widen(from: *const i8, groups: usize, to: *mut u32);
    fn eigenlet_widen_two(
        first: *const i8,
        second: *const i8,
        groups: usize,
        to: *mut u32,
        rows: usize,
        between: usize,
    );
    fn eigenlet_depthwise(job: *const Depthwise, to: *mut i8, x: *const i8);
    fn eigenlet_copy(from: *const i8, bytes: usize, to: *mut i8);
    fn eigenlet_quads(job: *const Job, to: *mut u8, x: *const u32);
    fn eigenlet_quads_by_two(job: *const Job, to: *mut u8, x: *const u32);
    fn eigenlet_pair(job: *const Job, to: *mut u8, x: *const u32);
    fn eigenlet_pair_by_two(job: *const Job, to: *mut u8, x: *const u32);
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
        unsafe {
            eigenlet_widen_two(first.as_ptr().cast(), second.as_ptr().cast(), count, to.as_mut_ptr().cast(), 1, 0)
        }
    }
}

/// Widens two windows of `rows` rows, each `row` values, whole groups, and `line` values from one to the next; whether all is there.
#[inline(always)]
pub(super) fn widen_windows(first: &[i8], second: &[i8], [rows, row, line]: [usize; 3], to: &mut [u32]) -> bool {
    let reach = line.checked_mul(rows.wrapping_sub(1)).and_then(|before| before.checked_add(row));
    let Some(reach) = reach.filter(|_| rows > 0 && row > 0 && row <= line && row.is_multiple_of(SIDE)) else {
        return false;
    };
    // Below what was just computed without overflow.
    let words = rows.wrapping_mul(row);
    if first.len() < reach || second.len() < reach || to.len() < words {
        return false;
    }
    let (groups, between) = (row / SIDE, line.wrapping_sub(row));
    // SAFETY: of either window it reads `rows` rows of `row` bytes, the last of which ends at `reach`, and it writes as many words.
    unsafe { eigenlet_widen_two(first.as_ptr(), second.as_ptr(), groups, to.as_mut_ptr(), rows, between) }
    true
}

/// Whether `depthwise` does anything.
pub(super) const IS_DEPTHWISE: bool = true;

/// A pixel of a depthwise convolution whose window, `rows` by `columns` with `line` values from a row to the next, lies in the image and
/// begins with `x`: as many channels as are done.
#[inline(always)]
pub(super) fn depthwise(
    weights: &[i8],
    biases: &[i32],
    scales: &[Scale],
    [rows, columns, line]: [usize; 3],
    x: &[i8],
    to: &mut [i8],
) -> usize {
    let step = to.len();
    let done = step.wrapping_sub(step % SIDE);
    // Where the last tap's channels end.
    let reach = |taps: usize, of_tap: usize| Some(taps.checked_sub(1)?.checked_mul(of_tap)?.checked_add(step)?);
    let Some((of_row, of_weights)) = reach(columns, step).zip(reach(rows.wrapping_mul(columns), step)) else {
        return 0;
    };
    let Some(of_x) = rows.checked_sub(1).and_then(|rows| rows.checked_mul(line)?.checked_add(of_row)) else { return 0 };
    let fits = of_x <= x.len() && of_weights <= weights.len() && done <= biases.len() && done <= scales.len();
    let Some(between) = line.checked_sub(of_row).filter(|_| fits && done > 0) else { return 0 };
    let job = Depthwise {
        blocks: done / SIDE,
        rows,
        columns,
        step,
        between,
        weights: weights.as_ptr(),
        biases: biases.as_ptr(),
        scales: scales.as_ptr(),
    };
    // SAFETY: it reads four bytes of each tap for each block of channels, no further than `of_x` and `of_weights`, four biases and four
    // scales for each block, and writes four bytes for each.
    unsafe { eigenlet_depthwise(&job, to.as_mut_ptr(), x.as_ptr()) }
    done
}

/// Copies values to the beginning of `to`, where they fit.
// The library's copy takes three times as long where bytes are not aligned.
#[inline(always)]
pub(super) fn copy(to: &mut [i8], from: &[i8]) {
    let Some(to) = to.get_mut(..from.len()) else { return };
    if from.len() >= 4 {
        // SAFETY: both slices have that many bytes, at least a word's, at any alignment, and are apart from each other.
        unsafe { eigenlet_copy(from.as_ptr(), from.len(), to.as_mut_ptr()) }
    } else {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    }
}

/// How many pixels are computed at once, with the routines for them: a program that names only `ONE` links only its routines.
#[derive(Clone, Copy)]
pub(super) struct Pixels {
    pub(super) is_two: bool,
    quads: Routine,
    pair: Routine,
}

pub(super) const ONE: Pixels = Pixels { is_two: false, quads: eigenlet_quads, pair: eigenlet_pair };
pub(super) const TWO: Pixels = Pixels { is_two: true, quads: eigenlet_quads_by_two, pair: eigenlet_pair_by_two };

/// Whole quads of a layer: what is to be checked of them is checked once.
pub(super) struct Quads<'a> {
    job: Job,
    /// Words of `x` that the job is for: 0 where there is nothing to do.
    x_words: usize,
    /// Rows of the quads, and outputs from a pixel's first to the end of the last pixel's.
    rows: usize,
    reach: usize,
    routine: Routine,
    _of: PhantomData<&'a [u32]>,
}

impl<'a> Quads<'a> {
    /// As many of the `wanted` rows as are whole quads with all of their words, `x_words` over all pixels for each, and constants. A second
    /// pixel's outputs begin `wanted` after the first's. Without scales it is for sums.
    pub(super) fn new(
        words: &'a [u32],
        pixels: Pixels,
        x_words: usize,
        biases: &'a [i32],
        scales: Option<&'a [Scale]>,
        wanted: usize,
    ) -> Self {
        let is_two = pixels.is_two;
        let x_words = if x_words % 4 == 0 || !is_two && x_words % 2 == 0 { x_words } else { 0 };
        let count = wanted.min(biases.len()).min(scales.map_or(usize::MAX, <[Scale]>::len)) / SIDE;
        // A quad has two words for each word of one pixel.
        let of_quad = if is_two { x_words } else { x_words.wrapping_mul(2) };
        let of_all = count.checked_mul(of_quad).and_then(|length| words.get(..length)).unwrap_or_default();
        let rows = if of_all.is_empty() { 0 } else { count.wrapping_mul(SIDE) };
        let Range { start: words, end: words_end } = of_all.as_ptr_range();
        let of_value = if scales.is_some() { 1 } else { 4 };
        let job = Job {
            x_bytes: x_words.wrapping_mul(4),
            biases: biases.as_ptr(),
            scales: scales.map_or(core::ptr::null(), <[Scale]>::as_ptr),
            words_end,
            words,
            stride: wanted.wrapping_mul(of_value),
        };
        Self {
            job,
            x_words,
            rows,
            reach: if is_two { wanted.wrapping_add(rows) } else { rows },
            routine: pixels.quads,
            _of: PhantomData,
        }
    }

    /// Computes the outputs over widened pixels, and says of how many rows.
    #[inline(always)]
    pub(super) fn outputs(&self, x: &[u32], to: &mut [i8]) -> usize {
        if self.rows == 0 || self.job.scales.is_null() || x.len() != self.x_words || to.len() < self.reach {
            return 0;
        }
        // SAFETY: the routine reads all of `x`, which is as long as the job's, again for each quad, and, by `new`, no further than words,
        // biases and scales reach; it writes a byte for each row and pixel, up to `reach`.
        unsafe { (self.routine)(&self.job, to.as_mut_ptr().cast(), x.as_ptr()) }
        self.rows
    }

    /// The same for sums.
    #[inline(always)]
    pub(super) fn sums(&self, x: &[u32], to: &mut [i32]) -> usize {
        if self.rows == 0 || !self.job.scales.is_null() || x.len() != self.x_words || to.len() < self.reach {
            return 0;
        }
        to.fill(0);
        // SAFETY: as for `outputs`; without scales it reads none, and adds to a word for each row and pixel.
        unsafe { (self.routine)(&self.job, to.as_mut_ptr().cast(), x.as_ptr()) }
        self.rows
    }
}

/// Adds the sums of a quad's four rows, or of a pair's two to the first places, for each of one or two pixels; biases left out.
pub(super) fn block(is_quad: bool, pixels: Pixels, words: &[u32], x: &[u32], sums: &mut [[i32; SIDE]; 2]) {
    let is_two = pixels.is_two;
    // A quad has two words for each word of one pixel, a pair one.
    let words_of = |x: &[u32]| x.len().wrapping_shl(is_quad.into()).wrapping_shr(is_two.into());
    let is_whole = x.len().is_multiple_of(if is_two { 4 } else { 2 }) && words.len() >= words_of(x);
    if !is_whole {
        return;
    }
    let biases = [0; SIDE];
    let mut job = Job {
        x_bytes: 0,
        biases: biases.as_ptr(),
        scales: core::ptr::null(),
        words_end: words.as_ptr(),
        words: words.as_ptr(),
        stride: size_of::<[i32; SIDE]>(),
    };
    let routine = if is_quad { pixels.quads } else { pixels.pair };
    // So few columns that the two sums of a lane can be told apart.
    for x in x.chunks(if is_two { EXACT_COLUMNS } else { EXACT_COLUMNS / 2 }) {
        job.x_bytes = size_of_val(x);
        job.words = job.words_end;
        // SAFETY: the words of all parts of `x` are `words_of(x)`, and there are so many.
        job.words_end = unsafe { job.words.add(words_of(x)) };
        // SAFETY: the routine reads all of this part, which is whole groups and not empty, its words, and four biases; without scales it
        // adds to no more than four sums for each pixel, the second's after the first's four.
        unsafe { routine(&job, sums.as_mut_ptr().cast(), x.as_ptr()) }
    }
}
