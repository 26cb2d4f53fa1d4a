//! Sums of a block for Cortex-M0 and M0+: Thumb-1 multiplies in place, two operands at a time, in eight registers. So a quad by one pixel is
//! best: its four sums lie in high registers, which an addition reaches, and weights are what products overwrite.
//!
//! The function around the assembly checks every length before: what the assembly reads lies within the slices, whatever they hold.
#![allow(unsafe_code)] // apart from this and the DSP's, no module has any

use core::arch::global_asm;

use eigenlet_shared::packed::SIDE;

global_asm!(
    ".syntax unified",
    ".thumb",
    // Two columns' weights of two rows in w, by x in r2 and r3, to both rows' sums of a lane and the even row's; r6 and r7 to spare.
    ".macro eigenlet_columns w, both, even",
    "sxth r6, \\w",
    "sxtb r7, \\w",
    "muls r6, r2, r6",
    "muls r7, r2, r7",
    "add \\both, r6",
    "add \\even, r7",
    "asrs \\w, \\w, #16",
    "sxtb r7, \\w",
    "muls \\w, r3, \\w",
    "muls r7, r3, r7",
    "add \\both, \\w",
    "add \\even, r7",
    ".endm",
    ".macro eigenlet_x",
    "ldr r3, [r1]",
    "add r1, r12",
    "sxth r2, r3",
    "asrs r3, r3, #16",
    ".endm",
    //
    // The sums of a block. r0 words, r1 x, r2 its end, r3 bytes from a word of x to the pixel's next; on the stack to, and whether it is a quad.
    ".section .text.eigenlet_block,\"ax\",%progbits",
    ".p2align 1",
    ".global eigenlet_block",
    ".type eigenlet_block,%function",
    ".thumb_func",
    "eigenlet_block:",
    "push {{r4-r7, lr}}",
    "mov r4, r8",
    "mov r5, r9",
    "mov r6, r10",
    "mov r7, r11",
    "push {{r4-r7}}",
    "mov r12, r3",
    "mov lr, r2",
    "movs r4, #0",
    "mov r8, r4",
    "mov r9, r4",
    "mov r10, r4",
    "mov r11, r4",
    "ldr r4, [sp, #40]",
    "cmp r4, #0",
    "beq 2f",
    "1:",
    ".rept 2",
    "eigenlet_x",
    "ldm r0!, {{r4, r5}}",
    "eigenlet_columns r4, r8, r9",
    "eigenlet_columns r5, r10, r11",
    ".endr",
    "cmp r1, lr",
    "bne 1b",
    "b 3f",
    "2:",
    "eigenlet_x",
    "ldm r0!, {{r4}}",
    "eigenlet_columns r4, r8, r9",
    "cmp r1, lr",
    "bne 2b",
    "3:",
    "ldr r4, [sp, #36]",
    "mov r0, r9",
    "mov r1, r8",
    "subs r1, r1, r0",
    "asrs r1, r1, #8",
    "mov r2, r11",
    "mov r3, r10",
    "subs r3, r3, r2",
    "asrs r3, r3, #8",
    "stm r4!, {{r0-r3}}",
    "pop {{r4-r7}}",
    "mov r8, r4",
    "mov r9, r5",
    "mov r10, r6",
    "mov r11, r7",
    "pop {{r4-r7, pc}}",
    ".size eigenlet_block, . - eigenlet_block",
    ".text",
);

unsafe extern "C" {
    fn eigenlet_block(words: *const u32, x: *const u32, x_end: *const u32, step: usize, to: *mut i32, is_quad: u32);
}

/// The sums of a quad's rows, or of a pair's in the first places, by a pixel: the only one, or that of two alternating ones.
#[inline(never)]
fn block(is_quad: bool, words: &[u32], x: &[u32], is_two: bool, pixel: usize) -> [i32; SIDE] {
    let mut sums = [0; SIDE];
    let count = x.len().wrapping_shr(is_two.into());
    // As many words as the pixels have, or twice that.
    let of_block = count.wrapping_shl(is_quad.into());
    let fits = count > 0 && count.is_multiple_of(2) && pixel <= is_two.into() && of_block <= words.len();
    if fits {
        let from = x.as_ptr().wrapping_add(pixel);
        let end = from.wrapping_add(count.wrapping_shl(is_two.into()));
        let step = size_of::<u32>().wrapping_shl(is_two.into());
        // SAFETY: it reads every `step` bytes of `x` from the pixel's first word on, `count` words in all, the last of them within `x`, and
        // `of_block` words of the block; it writes four sums.
        unsafe { eigenlet_block(words.as_ptr(), from, end, step, sums.as_mut_ptr(), is_quad.into()) }
    }
    sums
}

pub(super) fn part_by_one(is_quad: bool, words: &[u32], x: &[u32]) -> [[i32; SIDE]; 2] {
    [block(is_quad, words, x, false, 0), [0; SIDE]]
}

pub(super) fn part_by_two(is_quad: bool, words: &[u32], x: &[u32]) -> [[i32; SIDE]; 2] {
    [0, 1].map(|pixel| block(is_quad, words, x, true, pixel))
}
