//! Sums of a quad for cores of the Armv7-M and Armv8-M mainline architectures without the DSP extension (Cortex-M3): a load extends the sign of
//! a lane, and a multiplication adds, so by two pixels a multiply-accumulate costs less than two instructions. No compiler keeps a quad's sums
//! for two pixels in the fourteen registers that there are.
//!
//! The function around the assembly checks every length before: what the assembly reads lies within the slices, whatever they hold.
#![allow(unsafe_code)] // apart from the assembly for other cores, no module has any

use core::arch::global_asm;

use eigenlet_shared::packed::SIDE;

global_asm!(
    ".syntax unified",
    ".thumb",
    // The lane at `w`, loaded already to r4, by one pixel's value in r6, to both rows' sums of the lane and the even row's; r5 to spare.
    ".macro eigenlet_lane both, even",
    "sxtb r5, r4",
    "mla \\both, r4, r6, \\both",
    "mla \\even, r5, r6, \\even",
    ".endm",
    // The same by two pixels' values, in r6 and r7.
    ".macro eigenlet_lane_by_two both, even, second_both, second_even",
    "eigenlet_lane \\both, \\even",
    "mla \\second_both, r4, r7, \\second_both",
    "mla \\second_even, r5, r7, \\second_even",
    ".endm",
    // A column of a quad: its lanes `w` bytes behind the group, and 4 more.
    ".macro eigenlet_column x, w",
    "ldrsh r6, [r1, #\\x - 8]",
    "ldrsh r4, [r0, #\\w - 16]",
    "eigenlet_lane r3, r8",
    "ldrsh r4, [r0, #\\w - 12]",
    "eigenlet_lane r9, r10",
    ".endm",
    ".macro eigenlet_column_by_two x, w",
    "ldrsh r6, [r1, #\\x - 16]",
    "ldrsh r7, [r1, #\\x - 12]",
    "ldrsh r4, [r0, #\\w - 16]",
    "eigenlet_lane_by_two r2, r3, r10, r11",
    "ldrsh r4, [r0, #\\w - 12]",
    "eigenlet_lane_by_two r8, r9, r12, lr",
    ".endm",
    // To what is in r4's place: the two rows of a lane's sums.
    ".macro eigenlet_store both, even",
    "ldrd r5, r6, [r4]",
    "sub \\both, \\both, \\even",
    "add r5, r5, \\even",
    "add r6, r6, \\both, asr #8",
    "strd r5, r6, [r4], #8",
    ".endm",
    //
    // r0 words, r1 x, r2 its end, r3 to.
    ".section .text.eigenlet_quad,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quad",
    ".type eigenlet_quad,%function",
    ".thumb_func",
    "eigenlet_quad:",
    "push {{r3-r10, lr}}",
    "movs r3, #0",
    "mov r8, r3",
    "mov r9, r3",
    "mov r10, r3",
    "1:",
    "adds r0, #16",
    "adds r1, #8",
    "eigenlet_column 0, 0",
    "eigenlet_column 2, 2",
    "eigenlet_column 4, 8",
    "eigenlet_column 6, 10",
    "cmp r1, r2",
    "bne 1b",
    "ldr r4, [sp]",
    "eigenlet_store r3, r8",
    "eigenlet_store r9, r10",
    "pop {{r3-r10, pc}}",
    ".size eigenlet_quad, . - eigenlet_quad",
    //
    // The same by two pixels, whose words alternate.
    ".section .text.eigenlet_quad_by_two,\"ax\",%progbits",
    ".p2align 2",
    ".global eigenlet_quad_by_two",
    ".type eigenlet_quad_by_two,%function",
    ".thumb_func",
    "eigenlet_quad_by_two:",
    "push {{r2-r11, lr}}",
    "movs r2, #0",
    "mov r3, r2",
    "mov r8, r2",
    "mov r9, r2",
    "mov r10, r2",
    "mov r11, r2",
    "mov r12, r2",
    "mov lr, r2",
    "1:",
    "adds r0, #16",
    "adds r1, #16",
    "eigenlet_column_by_two 0, 0",
    "eigenlet_column_by_two 2, 2",
    "eigenlet_column_by_two 8, 8",
    "eigenlet_column_by_two 10, 10",
    "ldr r4, [sp]",
    "cmp r1, r4",
    "bne 1b",
    "ldr r4, [sp, #4]",
    "eigenlet_store r2, r3",
    "eigenlet_store r8, r9",
    "eigenlet_store r10, r11",
    "eigenlet_store r12, lr",
    "pop {{r2-r11, pc}}",
    ".size eigenlet_quad_by_two, . - eigenlet_quad_by_two",
    ".text",
);

type Routine = unsafe extern "C" fn(words: *const u32, x: *const u32, x_end: *const u32, to: *mut i32);

unsafe extern "C" {
    fn eigenlet_quad(words: *const u32, x: *const u32, x_end: *const u32, to: *mut i32);
    fn eigenlet_quad_by_two(words: *const u32, x: *const u32, x_end: *const u32, to: *mut i32);
}

/// Adds the sums of a quad's rows over the words of so many pixels, for which the routine is.
#[inline(always)]
fn quad(words: &[u32], x: &[u32], pixels: usize, routine: Routine, sums: &mut [[i32; SIDE]; 2]) {
    // A group has two words for each pixel, and four of the quad.
    let of_group = pixels.wrapping_mul(2).max(1);
    if !x.is_empty() && x.len().is_multiple_of(of_group) && words.len() / SIDE >= x.len() / of_group {
        // SAFETY: it reads all of `x`, which is whole groups, and as many groups of the quad; it adds to four sums for each pixel.
        unsafe { routine(words.as_ptr(), x.as_ptr(), x.as_ptr_range().end, sums.as_flattened_mut().as_mut_ptr()) }
    }
}

pub(super) fn part_by_one(words: &[u32], x: &[u32], sums: &mut [[i32; SIDE]; 2]) {
    quad(words, x, 1, eigenlet_quad, sums);
}

pub(super) fn part_by_two(words: &[u32], x: &[u32], sums: &mut [[i32; SIDE]; 2]) {
    quad(words, x, 2, eigenlet_quad_by_two, sums);
}
