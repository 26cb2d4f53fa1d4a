/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A model of the cycles that a Cortex-M4 takes, as a QEMU plugin: every executed instruction costs what the tables of Arm's
 * Cortex-M4 Technical Reference Manual say (DDI 0439, "Instruction set summary" and "Load/store timings"). No measurement: what
 * it assumes and leaves out is in README.md beside it.
 *
 *     -plugin cortex_m4.so,timer=ADDRESS,out=FILE
 *
 * A region runs from the first load of the timer's value at ADDRESS after a store to it, to the next load: that is how the
 * firmware's `Counter` starts and stops. A line of FILE for each:
 *
 *     INSTRUCTIONS CYCLES BRANCHES UNALIGNED COMPUTED
 *
 * CYCLES without refills of the pipeline; BRANCHES that were taken, each a refill more; and how many of the cycles are penalties of
 * unaligned loads and of addresses that the instruction before computed.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu-plugin.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/* A load of the program counter blocks: two cycles, and three for the refill, whatever the target. */
#define LOAD_PC 5
/* 2 to 12, by the operands: the middle. Among the kernels only averages divide. */
#define DIVISION 7

struct counts {
    uint64_t instructions, cycles, branches, unaligned, computed;
};

static struct counts now, start;
static bool starting;
static uint64_t timer;
static FILE *out;
/* Where the branch that came last goes on if it is not taken; 1: there was none. */
static uint64_t fall_through = 1;

enum kind { OTHER, LOAD, STORE, BLOCK, BRANCH, BLOCK_BRANCH };

/* What matters of an instruction. */
struct instruction {
    enum kind kind;
    unsigned cycles;
    /* Registers, a bit each: those that a single load writes; that a data-processing instruction writes; that an address is
     * computed from. */
    uint32_t loads, computes, address;
    /* A single load or store that may share cycles with its neighbours: one without write-back. */
    bool pipelines;
};

#define BIT(register) (1u << ((register) & 15))
#define PC 15

static struct instruction block(unsigned registers, uint32_t address, bool loads_pc) {
    struct instruction found = { .kind = BLOCK, .cycles = 1 + registers, .address = address };
    if (loads_pc) {
        found.kind = BLOCK_BRANCH;
    }
    return found;
}

static struct instruction load(unsigned to, uint32_t address, bool writes_back) {
    if (to == PC) {
        return (struct instruction){ .kind = BLOCK, .cycles = LOAD_PC, .address = address };
    }
    return (struct instruction){
        .kind = LOAD, .cycles = 2, .loads = BIT(to), .address = address, .pipelines = !writes_back
    };
}

static struct instruction store(uint32_t address, bool by_register) {
    /* An immediate offset costs one cycle; with a register's a second one, unless a load goes before. */
    return (struct instruction){ .kind = STORE, .cycles = by_register ? 2 : 1, .address = address, .pipelines = true };
}

static struct instruction computes(uint32_t registers) {
    return (struct instruction){ .cycles = 1, .computes = registers & ~BIT(PC) };
}

static const struct instruction one_cycle = { .cycles = 1 };
static const struct instruction branch = { .kind = BRANCH, .cycles = 1 };

static struct instruction decode_16(unsigned h) {
    unsigned low = h & 7, middle = h >> 8 & 7, base = h >> 3 & 7;
    unsigned high = low | (h >> 4 & 8);
    switch (h >> 12) {
    case 0:
    case 1:
        return computes(BIT(low));
    case 2:
    case 3:
        return (h & 0xf800) == 0x2800 ? one_cycle : computes(BIT(middle));
    case 4:
        if (h < 0x4400) {
            unsigned operation = h >> 6 & 15;
            bool compares = operation == 8 || operation == 10 || operation == 11;
            return compares ? one_cycle : computes(BIT(low));
        }
        if (h >= 0x4800) {
            return load(middle, 0, false);
        }
        if (h >= 0x4700 || (high == PC && (h & 0xff00) != 0x4500)) {
            return branch;
        }
        return (h & 0xff00) == 0x4500 ? one_cycle : computes(BIT(high));
    case 5: {
        uint32_t address = BIT(base) | BIT(h >> 6 & 7);
        return (h >> 9 & 7) >= 3 ? load(low, address, false) : store(address, true);
    }
    case 6:
    case 7:
    case 8:
        return h & 0x800 ? load(low, BIT(base), false) : store(BIT(base), false);
    case 9:
        return h & 0x800 ? load(middle, BIT(13), false) : store(BIT(13), false);
    case 10:
        return computes(BIT(middle));
    case 11:
        if ((h & 0xff00) == 0xb000) {
            return computes(BIT(13));
        }
        if ((h & 0xf600) == 0xb400) {
            return block(__builtin_popcount(h & 0x1ff), BIT(13), (h & 0xff00) == 0xbd00);
        }
        if ((h & 0xf500) == 0xb100) {
            return branch;
        }
        return (h & 0xff00) == 0xb200 || (h & 0xff00) == 0xba00 ? computes(BIT(low)) : one_cycle;
    case 12:
        return block(__builtin_popcount(h & 0xff), BIT(middle), false);
    case 13:
        return (h & 0x0e00) == 0x0e00 ? one_cycle : branch;
    default:
        return branch;
    }
}

static struct instruction decode_32(unsigned h, unsigned h2) {
    unsigned base = h & 15, to = h2 >> 12, destination = h2 >> 8 & 15;
    bool is_load = h & 0x10;
    if ((h & 0xfe40) == 0xe800) {
        return block(__builtin_popcount(h2), BIT(base), is_load && h2 >> 15);
    }
    if ((h & 0xfff0) == 0xe8d0 && (h2 & 0xf0e0) == 0xf000) {
        /* A branch by a table: two cycles, one to add, three for the refill. */
        return (struct instruction){ .kind = BLOCK, .cycles = 6, .address = BIT(base) | BIT(h2) };
    }
    if ((h & 0xfe40) == 0xe840) {
        /* Exclusive ones, where neither pre-indexed nor written back. */
        return (h & 0x0120) ? block(2, BIT(base), false) : is_load ? load(to, BIT(base), false) : store(BIT(base), false);
    }
    if ((h & 0xfe00) == 0xea00) {
        return computes(BIT(destination));
    }
    if ((h & 0xfe00) == 0xec00 && (h2 & 0x0e00) == 0x0a00) {
        /* Of floating-point registers, which the kernels do not use. */
        return block(h2 & 0xff, BIT(base), false);
    }
    if ((h & 0xfe00) == 0xf800) {
        /* An immediate of 12 bits, or relative to the program counter; of 8 bits; a register. */
        bool is_long = h & 0x80 || base == PC;
        bool by_register = !is_long && !(h2 & 0x0fc0);
        bool writes_back = !is_long && !by_register && (h2 & 0x0100);
        uint32_t address = (base == PC ? 0 : BIT(base)) | (by_register ? BIT(h2) : 0);
        bool is_hint = is_load && to == PC && (h & 0x0060) != 0x0040;
        return is_hint ? one_cycle : is_load ? load(to, address, writes_back) : store(address, by_register);
    }
    if ((h & 0xf800) == 0xf000) {
        if (h2 >> 15) {
            bool is_branch = h2 & 0x5000 || (h & 0x0380) != 0x0380;
            return is_branch ? branch : one_cycle;
        }
        return computes(BIT(destination));
    }
    if ((h & 0xffd0) == 0xfb90 && (h2 & 0xf0) == 0xf0) {
        return (struct instruction){ .cycles = DIVISION, .computes = BIT(destination) };
    }
    if ((h & 0xff80) == 0xfb80) {
        return computes(BIT(destination) | BIT(to));
    }
    return (h & 0xfe00) == 0xfa00 ? computes(BIT(destination)) : one_cycle;
}

/* By its own bits, which the size that QEMU has is not: at the end of a page that includes what was looked at of the next one. */
static unsigned size_of(unsigned first) {
    return first >> 11 >= 0x1d ? 4 : 2;
}

static struct instruction decode(const uint8_t *bytes, unsigned size) {
    unsigned first = bytes[0] | bytes[1] << 8;
    return size == 2 ? decode_16(first) : decode_32(first, bytes[2] | bytes[3] << 8);
}

static void report(void) {
    fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now.instructions - start.instructions,
            now.cycles - start.cycles, now.branches - start.branches, now.unaligned - start.unaligned,
            now.computed - start.computed);
    fflush(out);
}

static void accessed(unsigned cpu, qemu_plugin_meminfo_t access, uint64_t address, void *data) {
    bool is_store = qemu_plugin_mem_is_store(access);
    if (address == timer) {
        if (is_store) {
            starting = true;
        } else if (starting) {
            starting = false;
            start = now;
        } else {
            report();
        }
    }
    /* In parts: a half-word as two bytes, a word as two half-words, or as a byte, a half-word and a byte. Stores go through the buffer. */
    if (!is_store) {
        unsigned shift = qemu_plugin_mem_size_shift(access);
        unsigned penalty = shift == 1 ? address & 1 : shift == 2 ? (address & 1 ? 2 : address >> 1 & 1) : 0;
        now.cycles += penalty;
        now.unaligned += penalty;
    }
}

static void branches(unsigned cpu, void *data) {
    fall_through = (uintptr_t)data;
}

static void begins(unsigned cpu, void *data) {
    if (fall_through != 1) {
        now.branches += fall_through != (uintptr_t)data;
        fall_through = 1;
    }
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    uint64_t at = qemu_plugin_tb_vaddr(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, begins, QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)at);
    struct instruction before = one_cycle;
    for (size_t number = 0; number < qemu_plugin_tb_n_insns(block); number++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, number);
        const uint8_t *bytes = qemu_plugin_insn_data(instruction);
        unsigned size = size_of(bytes[0] | bytes[1] << 8);
        struct instruction found = decode(bytes, size);
        at += size;
        unsigned cycles = found.cycles;
        bool follows_load = before.kind == LOAD && before.pipelines && !(before.loads & found.address);
        if (follows_load && found.pipelines && cycles > 1) {
            cycles -= 1;
        }
        if (before.computes & found.address) {
            cycles += 1;
            qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64, &now.computed, 1);
        }
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64, &now.instructions, 1);
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64, &now.cycles, cycles);
        if (found.kind == LOAD || found.kind == STORE) {
            qemu_plugin_register_vcpu_mem_cb(instruction, accessed, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
        }
        if (found.kind == BRANCH || found.kind == BLOCK_BRANCH) {
            void *next = (void *)(uintptr_t)at;
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, branches, QEMU_PLUGIN_CB_NO_REGS, next);
        }
        before = found;
    }
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    for (int number = 0; number < argc; number++) {
        if (!strncmp(argv[number], "timer=", 6)) {
            timer = strtoull(argv[number] + 6, NULL, 0);
        } else if (!strncmp(argv[number], "out=", 4)) {
            out = fopen(argv[number] + 4, "w");
        }
    }
    if (!timer || !out) {
        fprintf(stderr, "cortex_m4: expected timer=ADDRESS and out=FILE that can be written\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
