/* Counts the instructions that an emulated program executes, by class: a plugin for QEMU's TCG, of its API versions 1
 * (QEMU 4.2 to 8.2) and later; QEMU_API says for which it is compiled, PATTERNS which words belong to which of CLASSES classes.
 *
 *     -plugin count.so,out=FILE,vcpus=0|1
 *
 * Whenever the program marks a moment (see runner.c), FILE gets a line for each virtual CPU that has executed anything:
 * kind of mark, its number, the virtual CPU, and how many instructions of each class it has executed so far. With
 * vcpus=0 all are counted as one, which is faster and right for a program of one thread.
 *
 * Copyright 2026 the edgekd authors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
 * documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
 * rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
 * persons to whom the Software is furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
 * Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
 * WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
 * COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
 * OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is used of QEMU's interface, declared here: distributions do not ship its header. */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*translated)(plugin_id, struct qemu_plugin_tb *);
typedef void (*executed)(unsigned vcpu, void *user);
typedef void (*called)(plugin_id, unsigned vcpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, executed, int flags, void *user);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, called);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
#if QEMU_API == 1
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *counter, uint64_t add);
#endif
#if QEMU_API < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *destination, size_t bytes);
#endif
EXPORT int qemu_plugin_version = QEMU_API;

enum { MARK = 0x65646b64, SCHED_GETSCHEDULER = 120, MOST_VCPUS = 256 };

static const struct {
    uint32_t mask, value;
    int class;
} patterns[] = {PATTERNS};

static uint64_t counts[MOST_VCPUS][CLASSES]; /* class 0 is every instruction */
static FILE *out;
static int by_vcpu;

static int class_of(uint32_t word)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if ((word & patterns[i].mask) == patterns[i].value)
            return patterns[i].class;
    return 0;
}

static void add(unsigned vcpu, void *block)
{
    const uint64_t *of_block = block;
    for (int class = 0; class < CLASSES; class++)
        counts[by_vcpu ? vcpu % MOST_VCPUS : 0][class] += of_block[class];
}

static void on_translated(plugin_id id, struct qemu_plugin_tb *block)
{
    uint64_t *of_block = calloc(CLASSES, sizeof *of_block); /* lives as long as the translated code */
    of_block[0] = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < of_block[0]; i++) {
        uint32_t word = 0;
#if QEMU_API < 3
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
#else
        qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i), &word, sizeof word);
#endif
        int class = class_of(word);
        if (class)
            of_block[class]++;
    }
#if QEMU_API == 1
    if (!by_vcpu) {
        for (int class = 0; class < CLASSES; class++)
            if (of_block[class])
                qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &counts[0][class], of_block[class]);
        free(of_block);
        return;
    }
#endif
    qemu_plugin_register_vcpu_tb_exec_cb(block, add, 0, of_block);
}

static void on_call(plugin_id id, unsigned vcpu, int64_t number, uint64_t magic, uint64_t kind, uint64_t which,
                    uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    if (number != SCHED_GETSCHEDULER || magic != MARK)
        return;
    flockfile(out); /* several threads may ask for the time at once */
    for (int v = 0; v < (by_vcpu ? MOST_VCPUS : 1); v++) {
        if (!counts[v][0])
            continue;
        fprintf(out, "%" PRIu64 " %" PRId64 " %d", kind, (int64_t)which, v);
        for (int class = 0; class < CLASSES; class++)
            fprintf(out, " %" PRIu64, counts[v][class]);
        fputc('\n', out);
    }
    fflush(out);
    funlockfile(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "w");
        by_vcpu |= !strcmp(argv[i], "vcpus=1");
    }
    if (!out)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, on_call);
    return 0;
}
