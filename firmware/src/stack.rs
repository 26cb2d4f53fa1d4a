//! How much stack something takes: the free stack is painted before, and searched for what is left of the paint afterwards.

use core::{arch::asm, ptr};

/// No return address, and hardly a value that a program keeps.
const PAINT: u32 = 0xcccc_cccc;

/// Runs something, and says how many bytes of stack it took at the most, those included that calling it takes.
// Not inlined, nor is what it calls: the stack that `run` takes has to lie below this function's own.
#[inline(never)]
pub fn used_by<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let top = pointer();
    paint();
    let result = below(run);
    (result, top.addr().saturating_sub(lowest_used().addr()))
}

/// How many bytes of stack are in use where this is called.
#[inline(always)]
pub fn depth() -> usize {
    unsafe extern "C" {
        static _stack_start: u32;
    }
    (&raw const _stack_start).addr().saturating_sub(pointer().addr())
}

#[inline(never)]
fn below<T>(run: impl FnOnce() -> T) -> T {
    run()
}

/// The end of the stack, where everything else that lies in RAM begins.
fn bottom() -> *mut u32 {
    unsafe extern "C" {
        static mut _stack_end: u32;
    }
    &raw mut _stack_end
}

/// The stack pointer: what lies below is free.
#[inline(always)]
fn pointer() -> *mut u32 {
    let pointer: *mut u32;
    // SAFETY: it copies a register into another.
    unsafe {
        #[cfg(target_arch = "arm")]
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "riscv32")]
        asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// Paints the free stack.
// In assembly: the compiler may move the stack pointer anywhere between two statements.
#[inline(never)]
fn paint() {
    // SAFETY: words between the stack's end and its pointer are nobody's. No interrupt takes them meanwhile: the programs
    // use none.
    unsafe {
        #[cfg(target_arch = "arm")]
        asm!(
            "mov {end}, sp",
            "2:",
            "cmp {word}, {end}",
            "bhs 3f",
            "str {paint}, [{word}]",
            "adds {word}, #4",
            "b 2b",
            "3:",
            word = inout(reg) bottom() => _,
            paint = in(reg) PAINT,
            end = out(reg) _,
            options(nostack),
        );
        #[cfg(target_arch = "riscv32")]
        asm!(
            "2:",
            "bgeu {word}, sp, 3f",
            "sw {paint}, 0({word})",
            "addi {word}, {word}, 4",
            "j 2b",
            "3:",
            word = inout(reg) bottom() => _,
            paint = in(reg) PAINT,
            options(nostack),
        );
    }
}

/// The lowest word that is not painted.
#[inline(never)]
fn lowest_used() -> *const u32 {
    let (mut word, end) = (bottom().cast_const(), pointer().cast_const());
    // SAFETY: `paint` wrote every word below the pointer that it had, and what ran since wrote others: all of them can be read.
    while word < end && unsafe { ptr::read_volatile(word) } == PAINT {
        word = word.wrapping_add(1);
    }
    word
}
