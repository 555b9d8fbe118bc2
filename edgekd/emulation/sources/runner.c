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
 * Exit status 1: what the arguments or files say is wrong; 2: the runtime refuses; the reason is on stderr.
 *
 * Functions are called by their index in the runtime's table, which only ever grows: no header is needed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { /* indices in OrtApi */
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    ENABLE_PROFILING = 14,
    SET_INTRA_OP_NUM_THREADS = 24,
    SET_INTER_OP_NUM_THREADS = 25,
    SESSION_GET_INPUT_COUNT = 30,
    SESSION_GET_OUTPUT_COUNT = 31,
    SESSION_GET_INPUT_NAME = 36,
    SESSION_GET_OUTPUT_NAME = 37,
    CREATE_TENSOR_WITH_DATA = 49,
    GET_TENSOR_MUTABLE_DATA = 51,
    GET_TENSOR_ELEMENT_TYPE = 60,
    GET_DIMENSIONS_COUNT = 61,
    GET_DIMENSIONS = 62,
    GET_TENSOR_TYPE_AND_SHAPE = 65,
    CREATE_CPU_MEMORY_INFO = 69,
    GET_ALLOCATOR = 78,
    RELEASE_SESSION = 95,
    RELEASE_VALUE = 96,
    RELEASE_TENSOR_INFO = 99,
    SESSION_END_PROFILING = 110,
    ADD_SESSION_CONFIG_ENTRY = 130,
    GET_PROFILING_START = 146,
};
enum { API_VERSION = 12, ERROR = 3, MOST = 256, MOST_DIMENSIONS = 16, MARK = 0x65646b64 };
enum { MARK_BEGIN, MARK_END, MARK_TICK }; /* kinds of marks */

struct api_base {
    void **(*get_api)(uint32_t version);
};

static void **api;
static int asked_for_ticks;
static _Atomic int64_t ticks;
/* bytes of one element, by ONNX element type */
static const size_t element_bytes[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2};

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

static void check(void *status, const char *what)
{
    if (status)
        fail(2, what, ((const char *(*)(void *))api[GET_ERROR_MESSAGE])(status));
}
#define CALL(index, types, ...) check(((void *(*)types)api[index])(__VA_ARGS__), #index)

struct tensor {
    int type;
    size_t rank, bytes;
    int64_t sizes[MOST_DIMENSIONS];
};

struct request {
    const char *library, *model, *inputs, *outputs, *profile;
    char *entries[MOST], *entry_values[MOST];
    int samples, warmup, threads, entry_count;
    size_t tensor_count, sample_bytes;
    struct tensor tensors[MOST];
};

static struct tensor parse_tensor(const char *text)
{
    struct tensor parsed = {0};
    char *end;
    parsed.type = (int)strtol(text, &end, 10);
    if (parsed.type < 0 || (size_t)parsed.type >= sizeof element_bytes / sizeof *element_bytes ||
        !element_bytes[parsed.type])
        fail(1, "tensor", text);
    parsed.bytes = element_bytes[parsed.type];
    while (*end && end[1]) {
        if (parsed.rank == MOST_DIMENSIONS)
            fail(1, "tensor", text);
        parsed.sizes[parsed.rank] = strtoll(end + 1, &end, 10);
        parsed.bytes *= (size_t)parsed.sizes[parsed.rank++];
    }
    return parsed;
}

static struct request parse(int count, char **arguments)
{
    struct request asked = {.samples = 1, .threads = 1};
    for (int i = 1; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value)
            fail(1, "argument", arguments[i]);
        *value++ = 0;
        const char *key = arguments[i];
        if (!strcmp(key, "library")) asked.library = value;
        else if (!strcmp(key, "model")) asked.model = value;
        else if (!strcmp(key, "inputs")) asked.inputs = value;
        else if (!strcmp(key, "outputs")) asked.outputs = value;
        else if (!strcmp(key, "profile")) asked.profile = value;
        else if (!strcmp(key, "samples")) asked.samples = atoi(value);
        else if (!strcmp(key, "warmup")) asked.warmup = atoi(value);
        else if (!strcmp(key, "threads")) asked.threads = atoi(value);
        else if (!strcmp(key, "entry") && asked.entry_count < MOST) asked.entries[asked.entry_count++] = value;
        else if (!strcmp(key, "tensor") && asked.tensor_count < MOST) {
            asked.tensors[asked.tensor_count] = parse_tensor(value);
            asked.sample_bytes += asked.tensors[asked.tensor_count++].bytes;
        } else fail(1, "argument", key);
    }
    if (!asked.library || !asked.model || !asked.inputs)
        fail(1, "argument", "library, model and inputs are needed");
    return asked;
}

static void *load_runtime(struct request *asked)
{
    void *library = dlopen(asked->library, RTLD_LAZY | RTLD_GLOBAL);
    if (!library)
        fail(2, "library", dlerror());
    struct api_base *(*base)(void) = (struct api_base * (*)(void)) dlsym(library, "OrtGetApiBase");
    api = base ? base()->get_api(API_VERSION) : NULL;
    if (!api)
        fail(2, "library", "it is no ONNX Runtime of version 1.12 or later");
    void *environment;
    CALL(CREATE_ENV, (int, const char *, void **), ERROR, "edgekd", &environment);
    for (int i = 0; i < asked->entry_count; i++) {
        char *value = strchr(asked->entries[i], '=');
        if (!value)
            fail(1, "entry", asked->entries[i]);
        *value = 0;
        asked->entry_values[i] = value + 1;
    }
    return environment;
}

static void *open_session(struct request *asked, void *environment, int profiled)
{
    void *options, *session;
    CALL(CREATE_SESSION_OPTIONS, (void **), &options);
    CALL(SET_INTRA_OP_NUM_THREADS, (void *, int), options, asked->threads);
    CALL(SET_INTER_OP_NUM_THREADS, (void *, int), options, 1);
    for (int i = 0; i < asked->entry_count; i++)
        CALL(ADD_SESSION_CONFIG_ENTRY, (void *, const char *, const char *), options, asked->entries[i],
             asked->entry_values[i]);
    asked_for_ticks = profiled;
    if (profiled)
        CALL(ENABLE_PROFILING, (void *, const char *), options, asked->profile);
    CALL(CREATE_SESSION, (void *, const char *, void *, void **), environment, asked->model, options, &session);
    return session;
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
        if (rank > MOST_DIMENSIONS || type < 0 || (size_t)type >= sizeof element_bytes / sizeof *element_bytes ||
            !element_bytes[type])
            fail(2, "outputs", "an output is no tensor of numbers");
        CALL(GET_DIMENSIONS, (void *, int64_t *, size_t), info, sizes, rank);
        CALL(GET_TENSOR_MUTABLE_DATA, (void *, void **), values[i], &data);
        bytes = element_bytes[type];
        for (size_t d = 0; d < rank; d++)
            bytes *= (size_t)sizes[d];
        int32_t head[] = {type, (int32_t)rank};
        if (fwrite(head, sizeof head, 1, file) != 1 || fwrite(sizes, sizeof *sizes, rank, file) != rank ||
            fwrite(data, 1, bytes, file) != bytes)
            fail(1, "outputs", "the file cannot be written");
        ((void (*)(void *))api[RELEASE_TENSOR_INFO])(info);
    }
}

static void run_samples(struct request *asked, void *session, const char *outputs_path)
{
    void *allocator, *memory, *inputs[MOST], *outputs[MOST];
    char *input_names[MOST], *output_names[MOST], *data = malloc(asked->sample_bytes + 64);
    size_t input_count, output_count;
    CALL(GET_ALLOCATOR, (void **), &allocator);
    CALL(CREATE_CPU_MEMORY_INFO, (int, int, void **), 0, 0, &memory);
    CALL(SESSION_GET_INPUT_COUNT, (void *, size_t *), session, &input_count);
    CALL(SESSION_GET_OUTPUT_COUNT, (void *, size_t *), session, &output_count);
    if (input_count != asked->tensor_count || output_count > MOST || !data)
        fail(1, "tensor", "not one for each input of the model, or too many outputs");
    size_t at = 0;
    for (size_t i = 0; i < input_count; i++) {
        struct tensor *one = &asked->tensors[i];
        CALL(SESSION_GET_INPUT_NAME, (void *, size_t, void *, char **), session, i, allocator, &input_names[i]);
        CALL(CREATE_TENSOR_WITH_DATA, (void *, void *, size_t, int64_t *, size_t, int, void **), memory, data + at,
             one->bytes, one->sizes, one->rank, one->type, &inputs[i]);
        at += one->bytes;
    }
    for (size_t i = 0; i < output_count; i++)
        CALL(SESSION_GET_OUTPUT_NAME, (void *, size_t, void *, char **), session, i, allocator, &output_names[i]);
    FILE *from = fopen(asked->inputs, "rb"), *to = outputs_path ? fopen(outputs_path, "wb") : NULL;
    if (!from || (outputs_path && !to))
        fail(1, "inputs", "the file of inputs or outputs cannot be opened");
    for (int run = -asked->warmup; run < asked->samples; run++) {
        if ((run <= 0 && fseek(from, 0, SEEK_SET)) || fread(data, 1, asked->sample_bytes, from) != asked->sample_bytes)
            fail(1, "inputs", "the file is too short");
        memset(outputs, 0, sizeof outputs);
        mark(MARK_BEGIN, run);
        CALL(RUN, (void *, void *, char **, void **, size_t, char **, size_t, void **), session, NULL, input_names,
             inputs, input_count, output_names, output_count, outputs);
        mark(MARK_END, run);
        if (to && run >= 0)
            write_outputs(to, outputs, output_count);
        for (size_t i = 0; i < output_count; i++)
            ((void (*)(void *))api[RELEASE_VALUE])(outputs[i]);
    }
    if (to && fclose(to))
        fail(1, "outputs", "the file cannot be written");
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
    struct request asked = parse(count, arguments);
    void *environment = load_runtime(&asked), *session = open_session(&asked, environment, 0);
    run_samples(&asked, session, asked.outputs);
    if (asked.profile) {
        ((void (*)(void *))api[RELEASE_SESSION])(session);
        session = open_session(&asked, environment, 1);
        run_samples(&asked, session, NULL);
        end_profile(session);
    }
    fflush(stdout);
    _exit(0); /* nothing to tidy up, and the runtime takes its time over it */
}
