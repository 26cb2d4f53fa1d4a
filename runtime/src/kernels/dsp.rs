//! The kernels for cores with the DSP extension (Cortex-M4, M7, M33 and on): each `smlad` multiplies two lanes, so four weights.
//!
//! A few routines in assembly, since no compiler keeps a quad's sums for two pixels in the fourteen registers that there are. Each has a
//! section of its own, so that a program that calls none of them has none of them. The functions around them check every
//! length before: what the assembly reads and writes lies within the slices, whatever they hold.
#![allow(unsafe_code)] // the only module with any

use core::arch::global_asm;
use core::ops::Range;
use core::ptr;

use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE};

#[cfg(feature = "conv")]
use super::depthwise::{Path, Taps};
use super::widen::lanes;

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
/// The same by two pixels, where a turn costs one instruction more.
const UNROLL_TWO: usize = 8;
const _: () = assert!(UNROLL.is_power_of_two() && (EXACT_COLUMNS / SIDE).is_multiple_of(UNROLL));
const _: () = assert!(UNROLL_TWO.is_power_of_two() && (EXACT_COLUMNS / SIDE).is_multiple_of(UNROLL_TWO));

global_asm!(
    cpu!(),
    ".syntax unified",
    ".thumb",
    // A sum in `v` becomes its int8 value: `mult`, `add` and `shift` of its scale, `t` to spare. What `Scale::output` says, in the registers.
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
    "push {{r4, r5, lr}}",
    "lsrs r1, r1, #1",
    "bcc 1f",
    "ldr r3, [r0], #4",
    "sxtb16 r12, r3",
    "sxtb16 r3, r3, ror #8",
    "strd r12, r3, [r2], #8",
    "beq 2f",
    "1:",
    "ldr r4, [r0], #4",
    "ldr r12, [r0], #4",
    "sxtb16 r3, r4",
    "sxtb16 r4, r4, ror #8",
    "sxtb16 r5, r12",
    "sxtb16 r12, r12, ror #8",
    "stm r2!, {{r3, r4, r5, r12}}",
    "subs r1, #1",
    "bne 1b",
    "2:",
    "pop {{r4, r5, pc}}",
    ".size eigenlet_widen, . - eigenlet_widen",
    //
    // Bytes of two windows to lanes. r0, r1 from, r2 bytes of a row (4 or more), r3 to; on the stack rows (not 0), and the bytes between the end
    // of a row and the next. What of a row is less than a group waits in r10 and r11, r12 bits of it, for the beginning of the next one.
    ".section .text.eigenlet_widen_windows,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_widen_windows",
    ".type eigenlet_widen_windows,%function",
    ".thumb_func",
    "eigenlet_widen_windows:",
    "push {{r4-r12, lr}}",
    "ldrd r8, r9, [sp, #40]",
    "mov r12, #0",
    "2:",
    "subs lr, r2, #4",
    "cmp r12, #0",
    "beq 1f",
    "ldr r6, [r0]",
    "ldr r7, [r1]",
    "rsb r4, r12, #32",
    "lsr r4, r4, #3",
    "lsl r6, r6, r12",
    "lsl r7, r7, r12",
    "orr r6, r6, r10",
    "orr r7, r7, r11",
    "add r0, r0, r4",
    "add r1, r1, r4",
    "sub lr, r2, r4",
    "b 3f",
    "1:",
    "ldr r6, [r0], #4",
    "ldr r7, [r1], #4",
    "3:",
    "sxtb16 r4, r6",
    "sxtb16 r5, r7",
    "sxtb16 r6, r6, ror #8",
    "sxtb16 r7, r7, ror #8",
    "stm r3!, {{r4-r7}}",
    "subs lr, lr, #4",
    "bge 1b",
    "adds lr, lr, #4",
    "lsls r12, lr, #3",
    "beq 4f",
    "add r0, r0, lr",
    "add r1, r1, lr",
    "ldr r10, [r0, #-4]",
    "ldr r11, [r1, #-4]",
    "rsb r4, r12, #32",
    "lsr r10, r10, r4",
    "lsr r11, r11, r4",
    "4:",
    "add r0, r0, r9",
    "add r1, r1, r9",
    "subs r8, r8, #1",
    "bne 2b",
    "cmp r12, #0",
    "beq 5f",
    "sxtb16 r4, r10",
    "sxtb16 r5, r11",
    "sxtb16 r6, r10, ror #8",
    "sxtb16 r7, r11, ror #8",
    "stm r3!, {{r4-r7}}",
    "5:",
    "pop {{r4-r12, pc}}",
    ".size eigenlet_widen_windows, . - eigenlet_widen_windows",
    //
    // Rows of bytes as they lie. r0 from, r1 to, r2 rows, r3 bytes of a row (neither 0); on the stack the bytes between the end of a row and the
    // next, there and here. What is left of a row at its end is copied together with bytes before it, by the same loop.
    ".section .text.eigenlet_copy_rows,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_copy_rows",
    ".type eigenlet_copy_rows,%function",
    ".thumb_func",
    "eigenlet_copy_rows:",
    "push {{r4-r10, lr}}",
    "ldrd r8, r9, [sp, #32]",
    "2:",
    "subs r4, r3, #16",
    "blt 3f",
    "1:",
    "ldr r5, [r0]",
    "ldr r6, [r0, #4]",
    "ldr r7, [r0, #8]",
    "ldr r10, [r0, #12]",
    "adds r0, #16",
    "str r5, [r1]",
    "str r6, [r1, #4]",
    "str r7, [r1, #8]",
    "str r10, [r1, #12]",
    "adds r1, #16",
    "subs r4, #16",
    "bge 1b",
    "cmn r4, #16",
    "beq 6f",
    "add r0, r4",
    "add r1, r4",
    "movs r4, #0",
    "b 1b",
    "3:",
    "adds r4, #12",
    "blt 7f",
    "4:",
    "ldr r5, [r0], #4",
    "str r5, [r1], #4",
    "subs r4, #4",
    "bge 4b",
    "cmn r4, #4",
    "beq 6f",
    "add r0, r4",
    "add r1, r4",
    "movs r4, #0",
    "b 4b",
    "7:",
    "movs r4, #0",
    "5:",
    "ldrb r5, [r0], #1",
    "strb r5, [r1], #1",
    "adds r4, #1",
    "cmp r4, r3",
    "bne 5b",
    "6:",
    "add r0, r8",
    "add r1, r9",
    "subs r2, #1",
    "bne 2b",
    "pop {{r4-r10, pc}}",
    ".size eigenlet_copy_rows, . - eigenlet_copy_rows",
    //
    // Four channels of a depthwise convolution, pixel after pixel. r0 a `Depthwise`, r1 to, r2 x.
    ".section .text.eigenlet_depthwise,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_depthwise",
    ".type eigenlet_depthwise,%function",
    ".thumb_func",
    "eigenlet_depthwise:",
    "push {{r4-r11, lr}}",
    // On the stack: x, taps, biases, scales, to, rows, pixels, from a pixel to the next in x, and in to.
    "sub sp, #36",
    "ldm r0, {{r3, r4, r5, r6, r7, r8, r9, r10, r11, r12}}",
    "strd r2, r3, [sp]",
    "strd r4, r5, [sp, #8]",
    "strd r1, r6, [sp, #16]",
    "strd r7, r8, [sp, #24]",
    "str r9, [sp, #32]",
    "mov r2, r10",
    "mov lr, r11",
    // Where the taps of a row are entered: one is 36 bytes of code.
    "rsb r12, r12, #{columns}",
    "movs r0, #36",
    "adr r1, 1f",
    "mla r12, r12, r0, r1",
    "add r12, #1",
    "3:",
    "ldrd r0, r1, [sp]",
    "ldr r8, [sp, #8]",
    "ldr r3, [sp, #20]",
    "ldm r8, {{r4, r5, r6, r7}}",
    "2:",
    "bx r12",
    ".p2align 2",
    "1:",
    ".rept {columns}",
    "ldr.w r8, [r0]",
    "add.w r0, r0, r2",
    "ldrd r10, r11, [r1], #8",
    "sxtb16 r9, r8",
    "sxtb16 r8, r8, ror #8",
    "smlabb r4, r9, r10, r4",
    "smlatt r6, r9, r10, r6",
    "smlabb r5, r8, r11, r5",
    "smlatt r7, r8, r11, r7",
    ".endr",
    "add r0, lr",
    "subs r3, #1",
    "bne 2b",
    "ldrd r8, r9, [sp, #12]",
    "ldm r8!, {{r0, r1, r3}}",
    "eigenlet_requantise r4, r10, r0, r1, r3",
    "strb r4, [r9]",
    "ldm r8!, {{r0, r1, r3}}",
    "eigenlet_requantise r5, r10, r0, r1, r3",
    "strb r5, [r9, #1]",
    "ldm r8!, {{r0, r1, r3}}",
    "eigenlet_requantise r6, r10, r0, r1, r3",
    "strb r6, [r9, #2]",
    "ldm r8!, {{r0, r1, r3}}",
    "eigenlet_requantise r7, r10, r0, r1, r3",
    "strb r7, [r9, #3]",
    "ldr r0, [sp]",
    "ldrd r1, r3, [sp, #28]",
    "add r0, r1",
    "str r0, [sp]",
    "add r9, r3",
    "ldr r0, [sp, #24]",
    "str r9, [sp, #16]",
    "subs r0, #1",
    "str r0, [sp, #24]",
    "bne 3b",
    "add sp, #36",
    "pop {{r4-r11, pc}}",
    ".size eigenlet_depthwise, . - eigenlet_depthwise",
    //
    // The two below: r0 a `Job`, r1 to, r2 x.
    //
    // Sums run from the even rows' biases. At the end of a part of the columns, what the odd rows have of it goes to their sums on the stack, and
    // the lanes' sums begin again as the even rows' are.
    //
    // Blocks by one pixel.
    ".section .text.eigenlet_quads,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quads",
    ".type eigenlet_quads,%function",
    ".thumb_func",
    "eigenlet_quads:",
    "push {{r4-r11, lr}}",
    "ldm r0, {{r3, r4, r5, r6, r7, r8, r9}}",
    // Where the loop is entered: as many groups are skipped as the first turn lacks. A group is 8 bytes of x, 56 of code.
    "rsbs r0, r3, #0",
    "ubfx r0, r0, #3, #{unroll_bits}",
    "mov r10, #56",
    "adr r12, 1f",
    "mla r11, r0, r10, r12",
    "cmp r9, #0",
    "itt ne",
    "adrne.w r11, 6f",
    "movne r12, r11",
    "orr r11, r11, #1",
    "orr r12, r12, #1",
    "add r10, r2, r3",
    "add r3, r2, r4",
    // On the stack: to, x, the end of its first part, biases, scales, the end of the words, the odd rows' sums, where the loop is entered, and
    // where at the next part.
    "push {{r1, r2, r3, r5, r6, r7, r8, r9, r11, r12}}",
    "mov r4, r5",
    "mov r1, r8",
    "2:",
    "ldm r4, {{r3, r11, r12, lr}}",
    "strd r11, lr, [sp, #24]",
    "ldrd r0, r2, [sp, #4]",
    "mov r11, r3",
    "mov lr, r12",
    "ldr pc, [sp, #32]",
    // r3 and r12: the even rows' sums; r11 and lr: both rows' of a lane.
    ".p2align 2",
    "1:",
    ".rept {unroll}",
    "ldrd r4, r5, [r0], #8",
    "ldm.w r1!, {{r6, r7, r8, r9}}",
    "smlad r11, r6, r4, r11",
    "sxtb16 r6, r6",
    "smlad r3, r6, r4, r3",
    "smlad lr, r7, r4, lr",
    "sxtb16 r7, r7",
    "smlad r12, r7, r4, r12",
    "smlad r11, r8, r5, r11",
    "sxtb16 r8, r8",
    "smlad r3, r8, r5, r3",
    "smlad lr, r9, r5, lr",
    "sxtb16 r9, r9",
    "smlad r12, r9, r5, r12",
    ".endr",
    "cmp r0, r2",
    "bne 1b",
    "7:",
    "ldrd r4, r5, [sp, #24]",
    "sub r11, r11, r3",
    "sub lr, lr, r12",
    "add r11, r4, r11, asr #8",
    "add lr, r5, lr, asr #8",
    "cmp r0, r10",
    "bne 5f",
    "ldrd r4, r5, [sp, #12]",
    "ldr r0, [sp]",
    "adds r4, #16",
    "cbnz r5, 4f",
    "stm r0!, {{r3, r11, r12, lr}}",
    "b 3f",
    "4:",
    "ldm r5!, {{r6, r7, r8}}",
    "eigenlet_requantise r3, r9, r6, r7, r8",
    "strb r3, [r0], #1",
    "ldm r5!, {{r6, r7, r8}}",
    "eigenlet_requantise r11, r9, r6, r7, r8",
    "strb r11, [r0], #1",
    "ldm r5!, {{r6, r7, r8}}",
    "eigenlet_requantise r12, r9, r6, r7, r8",
    "strb r12, [r0], #1",
    "ldm r5!, {{r6, r7, r8}}",
    "eigenlet_requantise lr, r9, r6, r7, r8",
    "strb lr, [r0], #1",
    "3:",
    "str r0, [sp]",
    "strd r4, r5, [sp, #12]",
    "ldr r6, [sp, #20]",
    "cmp r1, r6",
    "bne 2b",
    "add sp, #40",
    "pop {{r4-r11, pc}}",
    // The next part.
    "5:",
    "strd r11, lr, [sp, #24]",
    "mov r11, r3",
    "mov lr, r12",
    "add r2, r2, #{part} * 2",
    "ldr pc, [sp, #36]",
    // A pair.
    "6:",
    "ldrd r4, r5, [r0], #8",
    "ldrd r6, r7, [r1], #8",
    "smlad r11, r6, r4, r11",
    "sxtb16 r6, r6",
    "smlad r3, r6, r4, r3",
    "smlad r11, r7, r5, r11",
    "sxtb16 r7, r7",
    "smlad r3, r7, r5, r3",
    "cmp r0, r2",
    "bne 6b",
    "b 7b",
    ".size eigenlet_quads, . - eigenlet_quads",
    //
    // Blocks by two pixels, for outputs only.
    ".section .text.eigenlet_quads_by_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quads_by_two",
    ".type eigenlet_quads_by_two,%function",
    ".thumb_func",
    "eigenlet_quads_by_two:",
    "push {{r4-r11, lr}}",
    "ldm r0, {{r3, r4, r5, r6, r7, r8, r9, r10}}",
    // As above: a group is 16 bytes of x, 96 of code.
    "rsbs r0, r3, #0",
    "ubfx r0, r0, #4, #{unroll_two_bits}",
    "mov r11, #96",
    "adr r12, 1f",
    "mla r11, r0, r11, r12",
    "cmp r9, #0",
    "itt ne",
    "adrne.w r11, 6f",
    "movne r12, r11",
    "orr r11, r11, #1",
    "orr r12, r12, #1",
    // On the stack: the end of the part, the end of the words, the two pixels' outputs, where the loop is entered, and where at the next part,
    // x, biases, what of x follows its first part, scales, the end of that part, the end of x, the odd rows' biases, and their sums over the parts so far.
    "sub sp, #72",
    "add r4, r2, r4",
    "strd r4, r7, [sp]",
    "add r7, r1, r10",
    "strd r1, r7, [sp, #8]",
    "strd r11, r12, [sp, #16]",
    "strd r2, r5, [sp, #24]",
    "add r3, r2, r3",
    "subs r0, r3, r4",
    "strd r0, r6, [sp, #32]",
    "strd r4, r3, [sp, #40]",
    "mov r1, r8",
    "2:",
    "ldrd r0, r6, [sp, #24]",
    "ldm r6!, {{r2, r3, r8, r9}}",
    "strd r3, r9, [sp, #48]",
    "str r6, [sp, #28]",
    "mov r3, r2",
    "mov r10, r2",
    "mov r11, r2",
    "mov r9, r8",
    "mov r12, r8",
    "mov lr, r8",
    "ldr pc, [sp, #16]",
    // r2, r8 and r10, r12: the even rows' sums, for either pixel; r3, r9 and r11, lr: both rows' of a lane.
    ".p2align 2",
    "1:",
    ".rept {unroll_two} * 2",
    "ldrd r4, r5, [r0], #8",
    "ldrd r6, r7, [r1], #8",
    "smlad r3, r6, r4, r3",
    "smlad r11, r6, r5, r11",
    "sxtb16 r6, r6",
    "smlad r2, r6, r4, r2",
    "smlad r10, r6, r5, r10",
    "smlad r9, r7, r4, r9",
    "smlad lr, r7, r5, lr",
    "sxtb16 r7, r7",
    "smlad r8, r7, r4, r8",
    "smlad r12, r7, r5, r12",
    ".endr",
    "ldr r4, [sp]",
    "cmp r0, r4",
    "bne 1b",
    "7:",
    "ldrd r4, r5, [sp, #48]",
    "ldrd r6, r7, [sp, #32]",
    "sub r3, r3, r2",
    "sub r9, r9, r8",
    "sub r11, r11, r10",
    "sub lr, lr, r12",
    "cbz r6, 5f",
    // One of several parts.
    "mov r6, r4",
    "mov r7, r5",
    "push {{r1}}",
    "ldr r1, [sp, #44]",
    "cmp r0, r1",
    "itt ne",
    "ldrdne r4, r5, [sp, #60]",
    "ldrdne r6, r7, [sp, #68]",
    "add r4, r4, r3, asr #8",
    "add r5, r5, r9, asr #8",
    "add r6, r6, r11, asr #8",
    "add r7, r7, lr, asr #8",
    "ldr r3, [sp, #48]",
    "cmp r0, r3",
    "pop {{r1}}",
    "beq 8f",
    "strd r4, r5, [sp, #56]",
    "strd r6, r7, [sp, #64]",
    "add r3, r0, #{part} * 4",
    "str r3, [sp]",
    "mov r3, r2",
    "mov r9, r8",
    "mov r11, r10",
    "mov lr, r12",
    "ldr pc, [sp, #20]",
    "5:",
    "add r3, r4, r3, asr #8",
    "add r9, r5, r9, asr #8",
    "add r11, r4, r11, asr #8",
    "add lr, r5, lr, asr #8",
    "9:",
    "ldm r7!, {{r0, r4, r5}}",
    "eigenlet_requantise r2, r6, r0, r4, r5",
    "eigenlet_requantise r10, r6, r0, r4, r5",
    "ldm r7!, {{r0, r4, r5}}",
    "eigenlet_requantise r3, r6, r0, r4, r5",
    "eigenlet_requantise r11, r6, r0, r4, r5",
    "ldm r7!, {{r0, r4, r5}}",
    "eigenlet_requantise r8, r6, r0, r4, r5",
    "eigenlet_requantise r12, r6, r0, r4, r5",
    "ldm r7!, {{r0, r4, r5}}",
    "eigenlet_requantise r9, r6, r0, r4, r5",
    "eigenlet_requantise lr, r6, r0, r4, r5",
    "ldrd r4, r5, [sp, #8]",
    "strb r2, [r4], #1",
    "strb r3, [r4], #1",
    "strb r8, [r4], #1",
    "strb r9, [r4], #1",
    "strb r10, [r5], #1",
    "strb r11, [r5], #1",
    "strb r12, [r5], #1",
    "strb lr, [r5], #1",
    "str r7, [sp, #36]",
    "strd r4, r5, [sp, #8]",
    "ldr r6, [sp, #4]",
    "cmp r1, r6",
    "bne 2b",
    "add sp, #72",
    "pop {{r4-r11, pc}}",
    // The last of several parts.
    "8:",
    "mov r3, r4",
    "mov r9, r5",
    "mov r11, r6",
    "mov lr, r7",
    "ldr r6, [sp, #40]",
    "str r6, [sp]",
    "ldr r7, [sp, #36]",
    "b 9b",
    // A pair.
    "6:",
    "ldrd r6, r7, [r1], #8",
    "ldrd r4, r5, [r0], #8",
    "smlad r3, r6, r4, r3",
    "smlad r11, r6, r5, r11",
    "sxtb16 r6, r6",
    "smlad r2, r6, r4, r2",
    "smlad r10, r6, r5, r10",
    "ldrd r4, r5, [r0], #8",
    "smlad r3, r7, r4, r3",
    "smlad r11, r7, r5, r11",
    "sxtb16 r7, r7",
    "smlad r2, r7, r4, r2",
    "smlad r10, r7, r5, r10",
    "ldr r4, [sp]",
    "cmp r0, r4",
    "bne 6b",
    "b 7b",
    ".size eigenlet_quads_by_two, . - eigenlet_quads_by_two",
    ".text",
    unroll = const UNROLL,
    unroll_bits = const UNROLL.ilog2(),
    unroll_two = const UNROLL_TWO,
    unroll_two_bits = const UNROLL_TWO.ilog2(),
    part = const EXACT_COLUMNS,
    columns = const MAX_COLUMNS,
);

/// What a routine goes over, apart from the activations and the outputs; its fields in the order in which the assembly loads them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Job {
    /// Bytes of the widened pixels, whole groups, not 0.
    x_bytes: usize,
    /// Those of the first part: all others are `EXACT_COLUMNS`.
    first_bytes: usize,
    biases: *const i32,
    /// Null where `to` is for sums.
    scales: *const Scale,
    words_end: *const u32,
    words: *const u32,
    /// Whether a block is a pair: what becomes of its last two rows means nothing.
    is_pair: usize,
    /// From the first pixel's outputs to the second's, in bytes.
    stride: usize,
}

impl Job {
    /// Blocks over so many words of `x`, without words and constants yet.
    fn new(pixels: Pixels, x_words: usize) -> Self {
        let x_bytes = x_words.wrapping_mul(4);
        // A column has two bytes for each pixel.
        let of_column = if pixels.is_two { 2 } else { 1 };
        let columns = x_bytes >> of_column;
        let last = columns % EXACT_COLUMNS;
        let first = if last > 0 || columns == 0 { last } else { EXACT_COLUMNS };
        Self {
            x_bytes,
            first_bytes: first << of_column,
            biases: ptr::null(),
            scales: ptr::null(),
            words_end: ptr::null(),
            words: ptr::null(),
            is_pair: 0,
            stride: size_of::<[i32; SIDE]>(),
        }
    }
}

/// What four channels of a depthwise convolution are made of; its fields in the order in which the assembly loads them.
#[repr(C)]
struct Depthwise {
    taps: *const Tap,
    biases: *const i32,
    scales: *const Scale,
    /// Rows of the window, and pixels: neither 0.
    rows: usize,
    pixels: usize,
    /// Bytes from a pixel to the next, in the image and in the outputs.
    advance: usize,
    to_advance: usize,
    /// Bytes from a column to the next, and between the end of a row of the window and the next row.
    step: usize,
    between: usize,
    columns: usize,
}

type Routine = unsafe extern "C" fn(job: *const Job, to: *mut u8, x: *const u32);

unsafe extern "C" {
    fn eigenlet_widen(from: *const i8, groups: usize, to: *mut u32);
    fn eigenlet_widen_windows(
        first: *const i8,
        second: *const i8,
        row: usize,
        to: *mut u32,
        rows: usize,
        between: usize,
    );
    fn eigenlet_depthwise(job: *const Depthwise, to: *mut i8, x: *const i8);
    fn eigenlet_copy_rows(
        from: *const i8,
        to: *mut i8,
        rows: usize,
        bytes: usize,
        between: usize,
        between_copies: usize,
    );
    fn eigenlet_quads(job: *const Job, to: *mut u8, x: *const u32);
    fn eigenlet_quads_by_two(job: *const Job, to: *mut u8, x: *const u32);
}

#[inline(always)]
pub(super) fn widen(groups: &[[i8; SIDE]], to: &mut [[u32; 2]]) {
    let count = groups.len().min(to.len());
    if count > 0 {
        // SAFETY: it reads `count` groups of 4 bytes, at any alignment, and writes as many of 2 words: no more than the slices have.
        unsafe { eigenlet_widen(groups.as_ptr().cast(), count, to.as_mut_ptr().cast()) }
    }
}

/// Widens two inputs of one length.
#[inline(always)]
pub(super) fn widen_two(first: &[[i8; SIDE]], second: &[[i8; SIDE]], to: &mut [[u32; 4]]) {
    let (first, second) = (first.as_flattened(), second.as_flattened());
    let row = first.len().min(second.len());
    Windows::new([1, row, row]).widen(first, second, to.as_flattened_mut());
}

/// What is to be checked of windows, checked once.
pub(super) struct Windows {
    /// Rows, values in a row, and values between its end and the next; no rows where there is nothing to do.
    rows: usize,
    row: usize,
    between: usize,
    /// Where a window's last row ends, and the words of two windows.
    reach: usize,
    words: usize,
}

impl Windows {
    /// Windows of `rows` rows, each `row` values, at least a group, and `line` values from one to the next.
    #[inline(always)]
    pub(super) fn new([rows, row, line]: [usize; 3]) -> Self {
        let reach = line.checked_mul(rows.wrapping_sub(1)).and_then(|before| before.checked_add(row));
        let is_possible = reach.is_some() && row >= SIDE && row <= line;
        Self {
            rows: if is_possible { rows } else { 0 },
            row,
            between: line.wrapping_sub(row),
            reach: reach.unwrap_or(0),
            // Below `reach` times four, in whole groups of four words.
            words: rows.wrapping_mul(row).div_ceil(SIDE).saturating_mul(4),
        }
    }

    /// Widens two windows; whether all is there. Columns that the last group lacks read as 0.
    #[inline(always)]
    pub(super) fn widen(&self, first: &[i8], second: &[i8], to: &mut [u32]) -> bool {
        let Self { rows, row, between, reach, words } = *self;
        if rows == 0 || first.len() < reach || second.len() < reach || to.len() < words {
            return false;
        }
        // SAFETY: of either window it reads `rows` rows of `row` bytes, the last of which ends at `reach`, by words that lie within a row;
        // it writes four words for each group of them.
        unsafe { eigenlet_widen_windows(first.as_ptr(), second.as_ptr(), row, to.as_mut_ptr(), rows, between) }
        true
    }
}

/// The most columns of a window that `depthwise` is for.
pub(super) const MAX_COLUMNS: usize = 5;

/// A tap's weights for four channels.
pub(super) type Tap = [u32; 2];

#[inline(always)]
pub(super) fn tap(weights: [i8; SIDE]) -> Tap {
    lanes(weights)
}

#[cfg(feature = "conv")]
/// Four channels of a depthwise convolution, over pixels whose windows are all there.
#[inline(never)]
pub(super) fn depthwise(taps: &Taps, path: &Path, x: &[i8], to: &mut [i8]) {
    let Path { pixels, advance, to_advance, line, step } = *path;
    let [rows, columns] = taps.size;
    // Where the last of something ends, four bytes long if nothing else is in it.
    let reach = |count: usize, of_one: usize, rest: usize| count.checked_sub(1)?.checked_mul(of_one)?.checked_add(rest);
    let of_row = reach(columns, step, SIDE);
    let of_window = of_row.and_then(|of_row| reach(rows, line, of_row));
    let of_x = of_window.and_then(|of_window| reach(pixels, advance, of_window));
    let of_to = reach(pixels, to_advance, SIDE);
    let Some((of_x, of_to)) = of_x.zip(of_to) else { return };
    let between = line.wrapping_sub(columns.wrapping_mul(step));
    if of_x > x.len() || of_to > to.len() || columns > MAX_COLUMNS || rows.wrapping_mul(columns) > taps.taps.len() {
        return;
    }
    let job = Depthwise {
        taps: taps.taps.as_ptr(),
        biases: taps.biases.as_ptr(),
        scales: taps.scales.as_ptr(),
        rows,
        pixels,
        advance,
        to_advance,
        step,
        between,
        columns,
    };
    // SAFETY: for each pixel it reads as many taps as the window has, four biases and scales, and of `x` four bytes for each tap, the last of
    // which end at `of_x`; it writes four bytes for each pixel, the last of which end at `of_to`. No count is 0: `reach` would be `None`.
    unsafe { eigenlet_depthwise(&job, to.as_mut_ptr(), x.as_ptr()) }
}

/// Copies `rows` rows of so many values, `from_line` and `to_line` values from one to the next, if all is there.
// The library's copy takes three times as long where bytes are not aligned.
#[inline(always)]
pub(super) fn copy_rows(from: &[i8], to: &mut [i8], [rows, values]: [usize; 2], [from_line, to_line]: [usize; 2]) {
    let fits = |line: usize, length: usize| {
        let reach = line.checked_mul(rows.wrapping_sub(1)).and_then(|before| before.checked_add(values));
        values <= line && reach.is_some_and(|reach| reach <= length)
    };
    if rows > 0 && values > 0 && fits(from_line, from.len()) && fits(to_line, to.len()) {
        let (between, between_copies) = (from_line.wrapping_sub(values), to_line.wrapping_sub(values));
        // SAFETY: of either slice it touches `rows` rows of `values` bytes, at any alignment, the last of which ends within it.
        unsafe { eigenlet_copy_rows(from.as_ptr(), to.as_mut_ptr(), rows, values, between, between_copies) }
    }
}

/// How many pixels are computed at once, with the routine for them: a program that names only `ONE` links only that.
#[derive(Clone, Copy)]
pub(super) struct Pixels {
    pub(super) is_two: bool,
    routine: Routine,
}

pub(super) const ONE: Pixels = Pixels { is_two: false, routine: eigenlet_quads };
pub(super) const TWO: Pixels = Pixels { is_two: true, routine: eigenlet_quads_by_two };

/// The blocks of a layer from a quad on: what is to be checked of them is checked once.
pub(super) struct Quads<'a> {
    job: Job,
    pixels: Pixels,
    /// Words of `x` that the job is for; more than any slice has where there is nothing to do.
    x_words: usize,
    /// Rows of the quads, and outputs from a pixel's first to the end of the last pixel's.
    rows: usize,
    reach: usize,
    rest: Option<Rest<'a>>,
}

/// Last rows, less than a quad. Constants are there for a quad's.
struct Rest<'a> {
    words: &'a [u32],
    is_pair: bool,
    rows: usize,
    biases: [i32; SIDE],
    scales: [Scale; SIDE],
}

impl<'a> Quads<'a> {
    /// As many of the `wanted` rows as have all of their words, `x_words` over all pixels for each, and constants. A second
    /// pixel's outputs begin `wanted` after the first's. Without scales it is for sums, and for whole quads.
    #[inline(always)]
    pub(super) fn new(
        words: &'a [u32],
        pixels: Pixels,
        x_words: usize,
        biases: &'a [i32],
        scales: Option<&'a [Scale]>,
        wanted: usize,
    ) -> Self {
        let is_two = pixels.is_two;
        let x_words = if x_words.is_multiple_of(if is_two { 4 } else { 2 }) { x_words } else { 0 };
        let count = wanted.min(biases.len()).min(scales.map_or(usize::MAX, <[Scale]>::len)) / SIDE;
        // A quad has two words for each word of one pixel.
        let of_quad = if is_two { x_words } else { x_words.wrapping_mul(2) };
        let of_all = count.checked_mul(of_quad).and_then(|length| words.get(..length)).unwrap_or_default();
        let rows = if of_all.is_empty() { 0 } else { count.wrapping_mul(SIDE) };
        let left = wanted.wrapping_sub(rows);
        let biases_left = biases.get(rows..).unwrap_or_default();
        let scales_left = scales.and_then(|scales| scales.get(rows..)).unwrap_or_default();
        let is_pair = biases_left.len() <= 2;
        let of_rest = if is_pair { of_quad / 2 } else { of_quad };
        let words_left = words.get(of_all.len()..).and_then(|words| words.get(..of_rest)).unwrap_or_default();
        let is_there = left < SIDE && left <= biases_left.len() && left <= scales_left.len() && !words_left.is_empty();
        let rest = (left > 0 && is_there).then(|| Rest {
            words: words_left,
            is_pair,
            rows: left,
            biases: padded(biases_left),
            scales: padded(scales_left),
        });
        let done = if rest.is_some() { wanted } else { rows };
        let Range { start: words, end: words_end } = of_all.as_ptr_range();
        let of_value = if scales.is_some() { 1 } else { 4 };
        let job = Job {
            biases: biases.as_ptr(),
            scales: scales.map_or(ptr::null(), <[Scale]>::as_ptr),
            words_end,
            words,
            stride: wanted.wrapping_mul(of_value),
            ..Job::new(pixels, x_words)
        };
        let reach = if is_two && done > 0 { wanted.wrapping_add(done) } else { done };
        // No slice has so many words: there is nothing to do.
        let x_words = if done > 0 { x_words } else { usize::MAX };
        Self { job, pixels, x_words, rows, reach, rest }
    }

    /// Computes the outputs over widened pixels, and says of how many rows.
    #[inline(always)]
    pub(super) fn outputs(&self, x: &[u32], to: &mut [i8]) -> usize {
        if self.job.scales.is_null() || x.len() != self.x_words || to.len() < self.reach {
            return 0;
        }
        if self.rows > 0 {
            // SAFETY: the routine reads all of `x`, which is as long as the job's, again for each quad, and, by `new`, no further than
            // words, biases and scales reach; it writes a byte for each row and pixel, up to `reach`.
            unsafe { (self.pixels.routine)(&self.job, to.as_mut_ptr().cast(), x.as_ptr()) }
        }
        let Some(rest) = &self.rest else { return self.rows };
        self.last(rest, x, to);
        self.rows.wrapping_add(rest.rows)
    }

    #[inline(never)]
    fn last(&self, rest: &Rest, x: &[u32], to: &mut [i8]) {
        let mut outputs = [[0; SIDE]; 2];
        let Range { start: words, end: words_end } = rest.words.as_ptr_range();
        let job = Job {
            biases: rest.biases.as_ptr(),
            scales: rest.scales.as_ptr(),
            words_end,
            words,
            is_pair: rest.is_pair.into(),
            stride: SIDE,
            ..self.job
        };
        // SAFETY: as above, with the words of one block, constants for four rows, and room for four bytes of each pixel.
        unsafe { (self.pixels.routine)(&job, outputs.as_mut_ptr().cast(), x.as_ptr()) }
        let mut to = to.get_mut(self.rows..).unwrap_or_default();
        for [a, b, c, _] in outputs.iter().take(if self.pixels.is_two { 2 } else { 1 }) {
            // As many as there are, one by one: a loop would become a call that costs more.
            match (to.get_mut(..rest.rows)).unwrap_or_default() {
                [x] => *x = *a,
                [x, y] => (*x, *y) = (*a, *b),
                [x, y, z] => (*x, *y, *z) = (*a, *b, *c),
                _ => {}
            }
            to = to.get_mut(self.job.stride..).unwrap_or_default();
        }
    }

    /// The sums of whole quads.
    #[inline(always)]
    pub(super) fn sums(&self, x: &[u32], to: &mut [i32]) -> usize {
        if self.rows == 0 || !self.job.scales.is_null() || x.len() != self.x_words || to.len() < self.reach {
            return 0;
        }
        // SAFETY: as for `outputs`; without scales it reads none, and writes a word for each row and pixel.
        unsafe { (self.pixels.routine)(&self.job, to.as_mut_ptr().cast(), x.as_ptr()) }
        self.rows
    }
}

/// Constants for four rows, where there may be fewer.
#[inline(always)]
fn padded<T: Copy + Default>(from: &[T]) -> [T; SIDE] {
    core::array::from_fn(|row| from.get(row).copied().unwrap_or_default())
}

/// Adds the sums of a quad's four rows, or of a pair's two to the first places, for one pixel. Two are never left to this: `Quads` does all
/// rows of their layers.
pub(super) fn block(is_quad: bool, pixels: Pixels, words: &[u32], x: &[u32], sums: &mut [[i32; SIDE]; 2]) {
    // A quad has two words for each word of a pixel, a pair one.
    let of_block = x.len().wrapping_shl(is_quad.into());
    let is_whole = !pixels.is_two && !x.is_empty() && x.len().is_multiple_of(2);
    let Some(words) = words.get(..of_block).filter(|_| is_whole) else { return };
    let [to, _] = sums;
    let biases = *to;
    let Range { start: words, end: words_end } = words.as_ptr_range();
    let is_pair = (!is_quad).into();
    let job = Job { biases: biases.as_ptr(), words_end, words, is_pair, ..Job::new(pixels, x.len()) };
    // SAFETY: the routine reads all of `x`, which is whole groups and not empty, the words of the block, and four biases; without scales it
    // writes four sums.
    unsafe { (pixels.routine)(&job, to.as_mut_ptr().cast(), x.as_ptr()) }
}
