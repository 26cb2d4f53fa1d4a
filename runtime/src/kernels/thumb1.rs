//! Sums of a quad for Cortex-M0 and M0+: Thumb-1 multiplies in place, two operands at a time, in eight registers. So a quad by one pixel is
//! best: its four sums lie in high registers, which an addition reaches, and weights are what products overwrite.
//!
//! The function around the assembly checks every length before: what the assembly reads lies within the slices, whatever they hold.
#![allow(unsafe_code)] // apart from the assembly for other cores, no module has any

use core::arch::global_asm;

use eigenlet_shared::numerics::Scale;
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
    // The sums of a quad. r0 words, r1 x, r2 its end, r3 bytes from a word of x to the pixel's next; on the stack the sums to add to.
    ".section .text.eigenlet_quad,\"ax\",%progbits",
    ".p2align 1",
    ".global eigenlet_quad",
    ".type eigenlet_quad,%function",
    ".thumb_func",
    "eigenlet_quad:",
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
    "1:",
    ".rept 2",
    "eigenlet_x",
    "ldm r0!, {{r4, r5}}",
    "eigenlet_columns r4, r8, r9",
    "eigenlet_columns r5, r10, r11",
    ".endr",
    "cmp r1, lr",
    "bne 1b",
    "ldr r4, [sp, #36]",
    "mov r0, r9",
    "mov r1, r8",
    "subs r1, r1, r0",
    "asrs r1, r1, #8",
    "mov r2, r11",
    "mov r3, r10",
    "subs r3, r3, r2",
    "asrs r3, r3, #8",
    "ldm r4!, {{r5-r7}}",
    "adds r0, r0, r5",
    "adds r1, r1, r6",
    "adds r2, r2, r7",
    "ldr r5, [r4]",
    "adds r3, r3, r5",
    "subs r4, #12",
    "stm r4!, {{r0-r3}}",
    "pop {{r4-r7}}",
    "mov r8, r4",
    "mov r9, r5",
    "mov r10, r6",
    "mov r11, r7",
    "pop {{r4-r7, pc}}",
    ".size eigenlet_quad, . - eigenlet_quad",
    ".text",
);

unsafe extern "C" {
    fn eigenlet_quad(words: *const u32, x: *const u32, x_end: *const u32, step: usize, to: *mut i32);
}

/// [`Scale::output`] by four products of half-words: there is no instruction for a product of 64 bits, and the library's is for more of them.
#[inline(always)]
pub(super) fn output(scale: &Scale, acc: i32) -> i8 {
    let doubled = acc.wrapping_shl(1);
    let (a, b) = (doubled >> 16, doubled as u32 & 0xffff);
    // The multiplier is not below 0.
    let (c, d) = ((scale.multiplier as u32) >> 16, scale.multiplier as u32 & 0xffff);
    let (ad, bc) = (a.wrapping_mul(d as i32), b.wrapping_mul(c));
    // Below 2^18; the rounding's half included.
    let low = (b.wrapping_mul(d) >> 16).wrapping_add(ad as u32 & 0xffff).wrapping_add(bc & 0xffff).wrapping_add(0x8000);
    let high = a
        .wrapping_mul(c as i32)
        .wrapping_add(ad >> 16)
        .wrapping_add((bc >> 16) as i32)
        .wrapping_add((low >> 16) as i32);
    scale.shifted(doubled, high)
}

/// Adds the sums of a quad's rows by a pixel: the only one, or that of two alternating ones.
#[inline(never)]
fn quad(words: &[u32], x: &[u32], is_two: bool, pixel: usize, sums: &mut [i32; SIDE]) {
    let count = x.len().wrapping_shr(is_two.into());
    let is_whole = count > 0 && count.is_multiple_of(2) && pixel <= is_two.into();
    // A quad has two words for each word of a pixel.
    if is_whole && count.wrapping_mul(2) <= words.len() {
        let from = x.as_ptr().wrapping_add(pixel);
        let end = from.wrapping_add(count.wrapping_shl(is_two.into()));
        let step = size_of::<u32>().wrapping_shl(is_two.into());
        // SAFETY: it reads every `step` bytes of `x` from the pixel's first word on, `count` words in all, the last of them within `x`, and
        // twice as many of the quad; it adds to four sums.
        unsafe { eigenlet_quad(words.as_ptr(), from, end, step, sums.as_mut_ptr()) }
    }
}

pub(super) fn part_by_one(words: &[u32], x: &[u32], [sums, _]: &mut [[i32; SIDE]; 2]) {
    quad(words, x, false, 0, sums);
}

pub(super) fn part_by_two(words: &[u32], x: &[u32], [first, second]: &mut [[i32; SIDE]; 2]) {
    quad(words, x, true, 0, first);
    quad(words, x, true, 1, second);
}
