/* Runs one ONNX model on ONNX Runtime's C API, as little else as can be, so that it starts fast under emulation.
 *
 *     runner library=LIB model=MODEL inputs=FILE tensor=TYPE:D0,D1,... [tensor=...]
 *            [samples=1] [warmup=0] [threads=1] [entry=KEY=VALUE]... [outputs=FILE] [profile=PREFIX]
 *
 * FILE of inputs holds the raw tensors of one sample after the other, in the order of the model's inputs, each of the
 * ONNX element type and shape that its `tensor` says. FILE of outputs gets, for every output of every sample, the
 * element type (int32), the rank (int32), the sizes (int64 each) and the raw elements. The first sample is also what
 * warms up. With `profile`, all is done again in a session that writes the runtime's profile; its file's name and when it
 * began, in nanoseconds, go to stdout. There time is no time: each question for it is answered one microsecond later
 * than the one before, and is marked, so that counts can be taken between them.
 *
 *     runner        prints what the processor says it is: HWCAP, HWCAP2 and MIDR_EL1, hexadecimal
 *
 * Exit status 1: what the arguments or files say is wrong; 2: the runtime refuses; the reason is on stderr. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime.h"

enum { MARK = 0x65646b64 };
enum { MARK_BEGIN, MARK_END, MARK_TICK }; /* kinds of marks */

static int asked_for_ticks;
static _Atomic int64_t ticks;

static void mark(int kind, int64_t number) { syscall(SYS_sched_getscheduler, MARK, kind, number); }

static _Noreturn void fail(int status, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    fflush(stderr);
    _exit(status);
}

/* Takes the place of the C library's, for the runtime too: a program's own symbols come first. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!asked_for_ticks)
        return (int)syscall(SYS_clock_gettime, clock, now);
    int64_t tick = atomic_fetch_add(&ticks, 1);
    mark(MARK_TICK, tick);
    now->tv_sec = 1000000 + tick / 1000000;
    now->tv_nsec = tick % 1000000 * 1000;
    return 0;
}

struct request {
    const char *library, *model, *inputs, *outputs, *profile;
    char *entries[MOST];
    int samples, warmup, threads;
    size_t entry_count;
    struct feed feed;
};

static void parse(struct request *asked, int count, char **arguments)
{
    asked->samples = asked->threads = 1;
    for (int i = 1; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value)
            fail(WRONG, "argument", arguments[i]);
        *value++ = 0;
        const char *key = arguments[i];
        if (!strcmp(key, "library")) asked->library = value;
        else if (!strcmp(key, "model")) asked->model = value;
        else if (!strcmp(key, "inputs")) asked->inputs = value;
        else if (!strcmp(key, "outputs")) asked->outputs = value;
        else if (!strcmp(key, "profile")) asked->profile = value;
        else if (!strcmp(key, "samples")) asked->samples = atoi(value);
        else if (!strcmp(key, "warmup")) asked->warmup = atoi(value);
        else if (!strcmp(key, "threads")) asked->threads = atoi(value);
        else if (!strcmp(key, "entry") && asked->entry_count < MOST) asked->entries[asked->entry_count++] = value;
        else if (!strcmp(key, "tensor")) add_tensor(&asked->feed, value);
        else fail(WRONG, "argument", key);
    }
    if (!asked->library || !asked->model || !asked->inputs)
        fail(WRONG, "argument", "library, model and inputs are needed");
}

static void *open_model(struct request *asked, void *environment, int profiled)
{
    void *options = session_options(asked->threads, asked->entries, asked->entry_count);
    asked_for_ticks = profiled;
    if (profiled)
        CALL(ENABLE_PROFILING, (void *, const char *), options, asked->profile);
    return open_session(environment, asked->model, options);
}

static void write_outputs(FILE *file, void **values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *info, *data;
        int type;
        size_t rank, bytes;
        int64_t sizes[MOST_DIMENSIONS];
        CALL(GET_TENSOR_TYPE_AND_SHAPE, (void *, void **), values[i], &info);
        CALL(GET_TENSOR_ELEMENT_TYPE, (void *, int *), info, &type);
        CALL(GET_DIMENSIONS_COUNT, (void *, size_t *), info, &rank);
        if (rank > MOST_DIMENSIONS || !is_number(type))
            fail(REFUSED, "outputs", "an output is no tensor of numbers");
        CALL(GET_DIMENSIONS, (void *, int64_t *, size_t), info, sizes, rank);
        CALL(GET_TENSOR_MUTABLE_DATA, (void *, void **), values[i], &data);
        bytes = element_bytes[type];
        for (size_t d = 0; d < rank; d++)
            bytes *= (size_t)sizes[d];
        int32_t head[] = {type, (int32_t)rank};
        if (fwrite(head, sizeof head, 1, file) != 1 || fwrite(sizes, sizeof *sizes, rank, file) != rank ||
            fwrite(data, 1, bytes, file) != bytes)
            fail(WRONG, "outputs", "the file cannot be written");
        ((void (*)(void *))api[RELEASE_TENSOR_INFO])(info);
    }
}

static void run_samples(struct request *asked, void *session, const char *outputs_path)
{
    struct feed *feed = &asked->feed;
    tie(feed, session);
    FILE *from = fopen(asked->inputs, "rb"), *to = outputs_path ? fopen(outputs_path, "wb") : NULL;
    if (!from || (outputs_path && !to))
        fail(WRONG, "inputs", "the file of inputs or outputs cannot be opened");
    for (int at = -asked->warmup; at < asked->samples; at++) {
        if ((at <= 0 && fseek(from, 0, SEEK_SET)) || fread(feed->data, 1, feed->sample_bytes, from) != feed->sample_bytes)
            fail(WRONG, "inputs", "the file is too short");
        mark(MARK_BEGIN, at);
        run(feed, session);
        mark(MARK_END, at);
        if (to && at >= 0)
            write_outputs(to, feed->outputs, feed->output_count);
        release_outputs(feed);
    }
    if (to && fclose(to))
        fail(WRONG, "outputs", "the file cannot be written");
    fclose(from);
}

static void end_profile(void *session)
{
    void *allocator;
    uint64_t start;
    char *name;
    CALL(GET_ALLOCATOR, (void **), &allocator);
    CALL(GET_PROFILING_START, (void *, uint64_t *), session, &start);
    CALL(SESSION_END_PROFILING, (void *, void *, char **), session, allocator, &name);
    printf("%s\n%llu\n", name, (unsigned long long)start);
}

static void describe_processor(void)
{
    uint64_t midr;
    __asm__("mrs %0, MIDR_EL1" : "=r"(midr));
    printf("%lx %lx %llx\n", getauxval(AT_HWCAP), getauxval(AT_HWCAP2), (unsigned long long)midr);
}

int main(int count, char **arguments)
{
    if (count == 1) {
        describe_processor();
        return 0;
    }
    static struct request asked;
    parse(&asked, count, arguments);
    void *environment = load_runtime(asked.library), *session = open_model(&asked, environment, 0);
    run_samples(&asked, session, asked.outputs);
    if (asked.profile) {
        ((void (*)(void *))api[RELEASE_SESSION])(session);
        session = open_model(&asked, environment, 1);
        run_samples(&asked, session, NULL);
        end_profile(session);
    }
    fflush(stdout);
    _exit(0); /* nothing to tidy up, and the runtime takes its time over it */
}
