//! The kernels for cores with the DSP extension (Cortex-M4, M7, M33 and on): each `smlad` multiplies two lanes, so four weights.
//!
//! A few routines in assembly, since no compiler keeps a quad's sums for two pixels in the fourteen registers that there are. Each has a
//! section of its own, so that a program that calls none of them has none of them. The functions around them check every
//! length before: what the assembly reads and writes lies within the slices, whatever they hold.
#![allow(unsafe_code)] // apart from the assembly for other cores, no module has any

use core::arch::global_asm;
use core::ptr;

use eigenlet_shared::numerics::Scale;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE};

use super::Rows;

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
/// Taps of a row in the loop over filters, entered in its middle likewise: windows are seldom wider.
const TAPS: usize = 5;
const _: () = assert!(EXACT_COLUMNS.is_power_of_two());
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
    // r3: bytes of the widened pixels for a quad of r10 words, which has one for each column; a column has two bytes in each pixel. r4: those
    // of the first part, since all others are of `EXACT_COLUMNS`.
    ".macro eigenlet_widened shift",
    "lsl r3, r10, #\\shift",
    "ubfx r4, r10, #0, #{part_bits}",
    "cmp r4, #0",
    "it eq",
    "moveq r4, #{part}",
    "lsl r4, r4, #\\shift",
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
    // The three below: r0 `Tables`, r1 to, r2 x; the first one, too: r3 a `Window`.
    //
    // Filters over a window as it lies, four channels after another.
    ".section .text.eigenlet_filters,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_filters",
    ".type eigenlet_filters,%function",
    ".thumb_func",
    "eigenlet_filters:",
    "push {{r4-r11, lr}}",
    "ldm r0, {{r5-r8}}",
    "ldm r3, {{r3, r4, r10, r11, r12}}",
    // Where a row is entered: as many taps are skipped as its first turn lacks. One is 36 bytes of code.
    "adr r0, 1f",
    "mov lr, #36",
    "mla r11, r11, lr, r0",
    "orr r11, r11, #1",
    "mov lr, r3",
    // On the stack: to, x, biases, scales, the end of the words, rows, where one is entered, its other turns.
    "push {{r1, r2, r5, r6, r7, r10, r11, r12}}",
    "mov r1, r8",
    "mov r2, r4",
    "3:",
    "ldrd r0, r8, [sp, #4]",
    "ldr r3, [sp, #20]",
    "ldm r8!, {{r4-r7}}",
    "str r8, [sp, #8]",
    "2:",
    "ldr r12, [sp, #28]",
    "ldr pc, [sp, #24]",
    ".p2align 2",
    "1:",
    ".rept {taps}",
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
    "subs r12, #1",
    "bge 1b",
    "add r0, lr",
    "subs r3, #1",
    "bne 2b",
    "ldr r8, [sp, #12]",
    "ldr r9, [sp]",
    "ldm r8!, {{r0, r3, r12}}",
    "eigenlet_requantise r4, r10, r0, r3, r12",
    "strb r4, [r9], #1",
    "ldm r8!, {{r0, r3, r12}}",
    "eigenlet_requantise r5, r10, r0, r3, r12",
    "strb r5, [r9], #1",
    "ldm r8!, {{r0, r3, r12}}",
    "eigenlet_requantise r6, r10, r0, r3, r12",
    "strb r6, [r9], #1",
    "ldm r8!, {{r0, r3, r12}}",
    "eigenlet_requantise r7, r10, r0, r3, r12",
    "strb r7, [r9], #1",
    "ldr r0, [sp, #4]",
    "ldr r3, [sp, #16]",
    "str r8, [sp, #12]",
    "str r9, [sp]",
    "adds r0, #4",
    "str r0, [sp, #4]",
    "cmp r1, r3",
    "bne 3b",
    "add sp, #32",
    "pop {{r4-r11, pc}}",
    ".size eigenlet_filters, . - eigenlet_filters",
    //
    // Sums run from the even rows' biases. At the end of a part of the columns, what the odd rows have of it goes to their sums on the stack, and
    // the lanes' sums begin again as the even rows' are.
    //
    // Quads by one pixel.
    ".section .text.eigenlet_quads,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quads",
    ".type eigenlet_quads,%function",
    ".thumb_func",
    "eigenlet_quads:",
    "push {{r4-r11, lr}}",
    "ldm r0, {{r5-r10}}",
    "eigenlet_widened 1",
    // Where the loop is entered: as many groups are skipped as the first turn lacks. A group is 8 bytes of x, 56 of code.
    "rsbs r0, r3, #0",
    "ubfx r0, r0, #3, #{unroll_bits}",
    "mov r10, #56",
    "adr r11, 1f",
    "mla r11, r0, r10, r11",
    "orr r11, r11, #1",
    "add r10, r2, r3",
    "add r3, r2, r4",
    // On the stack: to, x, the end of its first part, biases, scales, the end of the words, the odd rows' sums, where the loop is entered.
    "push {{r1, r2, r3, r5, r6, r7, r8, r9, r11}}",
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
    "add sp, #36",
    "pop {{r4-r11, pc}}",
    // The next part.
    "5:",
    "strd r11, lr, [sp, #24]",
    "mov r11, r3",
    "mov lr, r12",
    "add r2, r2, #{part} * 2",
    "b 1b",
    ".size eigenlet_quads, . - eigenlet_quads",
    //
    // Quads by two pixels, for outputs only.
    ".section .text.eigenlet_quads_by_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quads_by_two",
    ".type eigenlet_quads_by_two,%function",
    ".thumb_func",
    "eigenlet_quads_by_two:",
    "push {{r4-r11, lr}}",
    "ldm r0, {{r5-r10}}",
    "eigenlet_widened 2",
    // As above: a group is 16 bytes of x, 96 of code.
    "rsbs r0, r3, #0",
    "ubfx r0, r0, #4, #{unroll_two_bits}",
    "mov r11, #96",
    "adr r12, 1f",
    "mla r11, r0, r11, r12",
    "orr r11, r11, #1",
    // On the stack: the end of the part, the end of the words, the two pixels' outputs, where the loop is entered, x, biases, what of x
    // follows its first part, scales, the end of that part, the end of x, the odd rows' biases, and their sums over the parts so far.
    "sub sp, #68",
    "add r4, r2, r4",
    "strd r4, r7, [sp]",
    "add r9, r1, r9",
    "strd r1, r9, [sp, #8]",
    "strd r11, r2, [sp, #16]",
    "add r3, r2, r3",
    "subs r0, r3, r4",
    "strd r5, r0, [sp, #24]",
    "strd r6, r4, [sp, #32]",
    "str r3, [sp, #40]",
    "mov r1, r8",
    "2:",
    "ldrd r0, r6, [sp, #20]",
    "ldm r6!, {{r2, r3, r8, r9}}",
    "strd r3, r9, [sp, #44]",
    "str r6, [sp, #24]",
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
    "ldrd r4, r5, [sp, #44]",
    "ldrd r6, r7, [sp, #28]",
    "sub r3, r3, r2",
    "sub r9, r9, r8",
    "sub r11, r11, r10",
    "sub lr, lr, r12",
    "cbz r6, 5f",
    // One of several parts.
    "mov r6, r4",
    "mov r7, r5",
    "push {{r1}}",
    "ldr r1, [sp, #40]",
    "cmp r0, r1",
    "itt ne",
    "ldrdne r4, r5, [sp, #56]",
    "ldrdne r6, r7, [sp, #64]",
    "add r4, r4, r3, asr #8",
    "add r5, r5, r9, asr #8",
    "add r6, r6, r11, asr #8",
    "add r7, r7, lr, asr #8",
    "ldr r3, [sp, #44]",
    "cmp r0, r3",
    "pop {{r1}}",
    "beq 8f",
    "strd r4, r5, [sp, #52]",
    "strd r6, r7, [sp, #60]",
    "add r3, r0, #{part} * 4",
    "str r3, [sp]",
    "mov r3, r2",
    "mov r9, r8",
    "mov r11, r10",
    "mov lr, r12",
    "b 1b",
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
    "str r7, [sp, #32]",
    "strd r4, r5, [sp, #8]",
    "ldr r6, [sp, #4]",
    "cmp r1, r6",
    "bne 2b",
    "add sp, #68",
    "pop {{r4-r11, pc}}",
    // The last of several parts.
    "8:",
    "mov r3, r4",
    "mov r9, r5",
    "mov r11, r6",
    "mov lr, r7",
    "ldr r6, [sp, #36]",
    "str r6, [sp]",
    "ldr r7, [sp, #32]",
    "b 9b",
    ".size eigenlet_quads_by_two, . - eigenlet_quads_by_two",
    ".text",
    unroll = const UNROLL,
    unroll_bits = const UNROLL.ilog2(),
    unroll_two = const UNROLL_TWO,
    unroll_two_bits = const UNROLL_TWO.ilog2(),
    part = const EXACT_COLUMNS,
    part_bits = const EXACT_COLUMNS.ilog2(),
    taps = const TAPS,
);

/// Quads of rows that a routine goes over; its fields in the order in which the assembly loads them.
#[repr(C)]
struct Tables {
    biases: *const i32,
    /// Null where `to` is for sums.
    scales: *const Scale,
    words_end: *const u32,
    /// At least a quad's.
    words: *const u32,
    /// From the first pixel's outputs to the second's, in bytes.
    stride: usize,
    /// Words of a quad.
    quad: usize,
}

/// How filters lie over an image, likewise.
#[repr(C)]
struct Window {
    /// Bytes between the end of a row and the next.
    between: usize,
    /// Bytes from a column to the next.
    step: usize,
    /// Not 0.
    rows: usize,
    /// The taps that a row's first turn lacks, and the turns after it.
    lacking: usize,
    turns: usize,
}

type Routine = unsafe extern "C" fn(tables: *const Tables, to: *mut u8, x: *const u8, window: *const Window);

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
    fn eigenlet_copy_rows(
        from: *const i8,
        to: *mut i8,
        rows: usize,
        bytes: usize,
        between: usize,
        between_copies: usize,
    );
    fn eigenlet_filters(tables: *const Tables, to: *mut u8, x: *const u8, window: *const Window);
    fn eigenlet_quads(tables: *const Tables, to: *mut u8, x: *const u8, window: *const Window);
    fn eigenlet_quads_by_two(tables: *const Tables, to: *mut u8, x: *const u8, window: *const Window);
}

#[inline(always)]
pub(super) fn widen(groups: &[[i8; SIDE]], to: &mut [[u32; 2]]) {
    let count = groups.len().min(to.len());
    if count > 0 {
        // SAFETY: it reads `count` groups of 4 bytes, at any alignment, and writes as many of 2 words: no more than the slices have.
        unsafe { eigenlet_widen(groups.as_ptr().cast(), count, to.as_mut_ptr().cast()) }
    }
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
    #[inline(never)]
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

    /// Where the last window ends of which so many begin behind the first, each `advance` values behind the one before.
    fn end(&self, behind: usize, advance: usize) -> Option<usize> {
        advance.checked_mul(behind)?.checked_add(self.reach)
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
    count: usize,
    routine: Routine,
}

pub(super) const ONE: Pixels = Pixels { count: 1, routine: eigenlet_quads };
pub(super) const TWO: Pixels = Pixels { count: 2, routine: eigenlet_quads_by_two };

/// Rows with the routine that makes outputs of them.
struct Work<'a> {
    rows: Rows<'a>,
    /// Whole quads of the wanted rows.
    tables: Tables,
    pixels: Pixels,
    /// Outputs of a pixel.
    wanted: usize,
    /// Bytes from what of the activations a quad reads to what the next one does.
    advance: usize,
    /// The least bytes of the activations; more than there can be where there is nothing to do.
    reach: usize,
}

impl<'a> Work<'a> {
    /// The first `wanted` rows; none where there are fewer, or no scales.
    // One copy for all layers.
    #[inline(never)]
    fn new(rows: &Rows<'a>, pixels: Pixels, wanted: usize, advance: usize, reach: usize) -> Self {
        let is_possible = wanted <= rows.rows && !rows.scales.is_empty();
        let tables = tables(rows, 0, wanted / SIDE, wanted);
        Self { rows: *rows, tables, pixels, wanted, advance, reach: if is_possible { reach } else { usize::MAX } }
    }

    /// Computes the outputs; nothing where `to` is not as long as those of all pixels.
    ///
    /// # Safety
    /// `x` has `reach` bytes, for words on a multiple of 4; `window` is what the routine reads.
    #[inline(always)]
    unsafe fn run(&self, x: *const u8, window: *const Window, to: &mut [i8]) {
        if to.len() != self.wanted.wrapping_mul(self.pixels.count) {
            return;
        }
        if self.wanted >= SIDE {
            // SAFETY: by `Rows`, there are words, biases and scales of so many quads, at least one; `to` has a byte for each of their rows and
            // each pixel.
            unsafe { (self.pixels.routine)(&self.tables, to.as_mut_ptr().cast(), x, window) }
        }
        if !self.wanted.is_multiple_of(SIDE) {
            // SAFETY: what is wanted for this is, too.
            unsafe { self.last(x, window, to) }
        }
    }

    /// The outputs at the end, less than four.
    ///
    /// # Safety
    /// As for `run`.
    #[inline(never)]
    unsafe fn last(&self, x: *const u8, window: *const Window, to: &mut [i8]) {
        let mut outputs = [[0i8; SIDE]; 2];
        let quad = self.wanted / SIDE;
        let tables = tables(&self.rows, quad, 1, SIDE);
        let x = x.wrapping_add(quad.wrapping_mul(self.advance));
        // SAFETY: by `Rows`, there are words, biases and scales for one more quad, whose outputs are four bytes of each pixel.
        unsafe { (self.pixels.routine)(&tables, outputs.as_mut_ptr().cast(), x, window) }
        let mut first = quad.wrapping_mul(SIDE);
        for outputs in outputs.iter().take(self.pixels.count) {
            let to = to.get_mut(first..).unwrap_or_default().iter_mut();
            to.zip(outputs).take(self.wanted % SIDE).for_each(|(to, output)| *to = *output);
            first = first.wrapping_add(self.wanted);
        }
    }
}

/// So many quads from one on, which are there.
#[inline(always)]
fn tables(rows: &Rows, quad: usize, count: usize, stride: usize) -> Tables {
    let (first, of_quad) = (quad.wrapping_mul(SIDE), rows.quad);
    let words = rows.words.as_ptr().wrapping_add(quad.wrapping_mul(of_quad));
    Tables {
        biases: rows.biases.as_ptr().wrapping_add(first),
        scales: rows.scales.as_ptr().wrapping_add(first),
        words_end: words.wrapping_add(count.wrapping_mul(of_quad)),
        words,
        stride,
        quad: of_quad,
    }
}

/// Bytes of widened pixels that rows have weights for; more than there can be where the rows are not packed as quads of some columns.
#[inline(always)]
fn widened_bytes(rows: &Rows, pixels: usize) -> usize {
    // A quad has a word for each column, which takes two bytes in each pixel. Two pixels' are as many as the quad's own.
    if rows.quad > 0 && rows.quad.is_multiple_of(SIDE) {
        rows.quad.wrapping_mul(pixels).wrapping_mul(2)
    } else {
        usize::MAX
    }
}

/// Rows over widened pixels.
pub(super) struct Layer<'a>(Work<'a>);

impl<'a> Layer<'a> {
    /// The first `wanted` rows.
    #[inline(always)]
    pub(super) fn new(rows: &Rows<'a>, pixels: Pixels, wanted: usize) -> Self {
        Self(Work::new(rows, pixels, wanted, 0, widened_bytes(rows, pixels.count)))
    }

    /// The outputs over the words of one pixel, or of two that alternate.
    #[cfg_attr(feature = "conv", inline(never))]
    #[cfg_attr(not(feature = "conv"), inline(always))]
    pub(super) fn outputs(&self, x: &[u32], to: &mut [i8]) {
        if size_of_val(x) >= self.0.reach {
            // SAFETY: so long is it, and these routines read no window.
            unsafe { self.0.run(x.as_ptr().cast(), ptr::null(), to) }
        }
    }

    /// The outputs of pairs of windows, each `advance` values behind the one before; whether all is there.
    #[cfg(feature = "conv")]
    #[inline(always)]
    pub(super) fn pairs(
        &self,
        windows: &Windows,
        x: &[i8],
        advance: usize,
        scratch: &mut [u32],
        to: &mut [i8],
    ) -> bool {
        let pair = self.0.wanted.wrapping_mul(2).max(1);
        let behind = (to.len() / pair).wrapping_mul(2).wrapping_sub(1);
        let is_there = windows.end(behind, advance).is_some_and(|end| end <= x.len());
        let fits = scratch.len() >= windows.words && size_of_val(scratch) >= self.0.reach;
        if !is_there || !fits || windows.rows == 0 {
            return false;
        }
        let Windows { rows, row, between, .. } = *windows;
        let (mut x, widened) = (x.as_ptr(), scratch.as_mut_ptr());
        for to in to.chunks_exact_mut(pair) {
            let second = x.wrapping_add(advance);
            // SAFETY: as for `Windows::widen`, and for `outputs`: of so many pairs even the last window lies in `x`.
            unsafe {
                eigenlet_widen_windows(x, second, row, widened, rows, between);
                self.0.run(widened.cast(), ptr::null(), to);
            }
            x = second.wrapping_add(advance);
        }
        true
    }
}

/// The sums of the first quad's rows over the words of a pixel, biases included.
#[inline(always)]
pub(super) fn sums(rows: &Rows, x: &[u32], to: &mut [i32; SIDE]) {
    if rows.words.is_empty() || size_of_val(x) < widened_bytes(rows, 1) {
        return;
    }
    let tables = Tables { scales: ptr::null(), ..tables(rows, 0, 1, 0) };
    // SAFETY: `x` is so long, and by `Rows` there are words and biases of a quad; without scales the routine writes its sums.
    unsafe { eigenlet_quads(&tables, to.as_mut_ptr().cast(), x.as_ptr().cast(), ptr::null()) }
}

/// Filters over windows as they lie: channels beside each other.
#[cfg(feature = "conv")]
pub(super) struct Filters<'a> {
    work: Work<'a>,
    window: Window,
}

#[cfg(feature = "conv")]
impl<'a> Filters<'a> {
    /// Over windows of so many rows and columns, with `line` values from a row to the next.
    #[inline(never)]
    pub(super) fn new(rows: &Rows<'a>, [height, width]: [usize; 2], line: usize) -> Self {
        const ROUTINE: Pixels = Pixels { count: 1, routine: eigenlet_filters };
        let channels = rows.rows;
        let turns = width.wrapping_sub(1) / TAPS;
        let window = Window {
            between: line.wrapping_sub(channels.wrapping_mul(width)),
            step: channels,
            rows: height,
            lacking: turns.wrapping_add(1).wrapping_mul(TAPS).wrapping_sub(width),
            turns,
        };
        // Four bytes are read at every tap, beginning with every fourth channel.
        let end =
            |of_one: usize, count: usize, rest: usize| of_one.checked_mul(count.checked_sub(1)?)?.checked_add(rest);
        let reach = end(channels, width, channels.next_multiple_of(SIDE)).and_then(|row| end(line, height, row));
        let reach = reach.filter(|_| rows.quad.is_multiple_of(2) && height.checked_mul(width) == Some(rows.quad / 2));
        Self { work: Work::new(rows, ROUTINE, channels, SIDE, reach.unwrap_or(usize::MAX)), window }
    }

    /// The outputs of pixels whose windows begin with `x`, each `advance` values behind the one before; whether all is there.
    #[inline(never)]
    pub(super) fn outputs(&self, x: &[i8], advance: usize, to: &mut [i8]) -> bool {
        let pixel = self.work.wanted.max(1);
        let behind = advance.checked_mul((to.len() / pixel).wrapping_sub(1));
        let end = behind.and_then(|behind| behind.checked_add(self.work.reach));
        if end.is_none_or(|end| end > x.len()) {
            return false;
        }
        let mut x = x.as_ptr();
        for to in to.chunks_exact_mut(pixel) {
            // SAFETY: even the last window's `reach` bytes lie in `x`, and filters read this window.
            unsafe { self.work.run(x.cast(), &self.window, to) }
            x = x.wrapping_add(advance);
        }
        true
    }
}
