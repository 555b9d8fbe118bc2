/* ONNX Runtime's C API, as far as the kit's programs need it.
 *
 * Functions are called by their index in the runtime's table, which only ever grows: no header of its is needed. */
#pragma once
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { /* indices in OrtApi */
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    ENABLE_PROFILING = 14,
    DISABLE_MEM_PATTERN = 17,
    DISABLE_CPU_MEM_ARENA = 19,
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
enum { API_VERSION = 12, ERROR = 3, MOST = 256, MOST_DIMENSIONS = 16 };
enum { WRONG = 1, REFUSED = 2 }; /* why a program fails: what it was told, or the runtime */

/* Each program's own way to say why it fails, and to end. */
static _Noreturn void fail(int status, const char *what, const char *why);

struct api_base {
    void **(*get_api)(uint32_t version);
};

static void **api;
/* bytes of one element, by ONNX element type */
static const size_t element_bytes[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2};

static void check(void *status, const char *what)
{
    if (status)
        fail(REFUSED, what, ((const char *(*)(void *))api[GET_ERROR_MESSAGE])(status));
}
#define CALL(index, types, ...) check(((void *(*)types)api[index])(__VA_ARGS__), #index)

struct tensor {
    int type;
    size_t rank, bytes;
    int64_t sizes[MOST_DIMENSIONS];
};

/* What a session is fed and gives: the tensors of one sample, raw and one after the other in `data`. */
struct feed {
    size_t tensor_count, sample_bytes, output_count;
    struct tensor tensors[MOST];
    char *data, *input_names[MOST], *output_names[MOST];
    void *inputs[MOST], *outputs[MOST];
};

static int is_number(int type)
{
    return type >= 0 && (size_t)type < sizeof element_bytes / sizeof *element_bytes && element_bytes[type];
}

/* Takes TYPE:D0,D1,... */
static void add_tensor(struct feed *feed, const char *text)
{
    struct tensor *one = &feed->tensors[feed->tensor_count];
    char *end;
    if (feed->tensor_count == MOST || !is_number(one->type = (int)strtol(text, &end, 10)))
        fail(WRONG, "tensor", text);
    one->bytes = element_bytes[one->type];
    while (*end && end[1]) {
        if (one->rank == MOST_DIMENSIONS)
            fail(WRONG, "tensor", text);
        one->sizes[one->rank] = strtoll(end + 1, &end, 10);
        one->bytes *= (size_t)one->sizes[one->rank++];
    }
    feed->tensor_count++;
    feed->sample_bytes += one->bytes;
}

static void *load_runtime(const char *library)
{
    void *loaded = dlopen(library, RTLD_LAZY | RTLD_GLOBAL), *environment;
    if (!loaded)
        fail(REFUSED, "library", dlerror());
    struct api_base *(*base)(void) = (struct api_base * (*)(void)) dlsym(loaded, "OrtGetApiBase");
    api = base ? base()->get_api(API_VERSION) : NULL;
    if (!api)
        fail(REFUSED, "library", "it is no ONNX Runtime of version 1.12 or later");
    CALL(CREATE_ENV, (int, const char *, void **), ERROR, "edgekd", &environment);
    return environment;
}

/* Each entry is KEY=VALUE. */
static void *session_options(int threads, char *const *entries, size_t entry_count)
{
    void *options;
    CALL(CREATE_SESSION_OPTIONS, (void **), &options);
    CALL(SET_INTRA_OP_NUM_THREADS, (void *, int), options, threads);
    CALL(SET_INTER_OP_NUM_THREADS, (void *, int), options, 1);
    for (size_t i = 0; i < entry_count; i++) {
        char key[1024], *value = strchr(entries[i], '=');
        if (!value || (size_t)(value - entries[i]) >= sizeof key)
            fail(WRONG, "entry", entries[i]);
        memcpy(key, entries[i], (size_t)(value - entries[i]));
        key[value - entries[i]] = 0;
        CALL(ADD_SESSION_CONFIG_ENTRY, (void *, const char *, const char *), options, key, value + 1);
    }
    return options;
}

static void *open_session(void *environment, const char *model, void *options)
{
    void *session;
    CALL(CREATE_SESSION, (void *, const char *, void *, void **), environment, model, options, &session);
    return session;
}

/* Makes room for one sample and ties it to the inputs of the session. */
static void tie(struct feed *feed, void *session)
{
    void *allocator, *memory;
    size_t input_count, at = 0;
    CALL(GET_ALLOCATOR, (void **), &allocator);
    CALL(CREATE_CPU_MEMORY_INFO, (int, int, void **), 0, 0, &memory);
    CALL(SESSION_GET_INPUT_COUNT, (void *, size_t *), session, &input_count);
    CALL(SESSION_GET_OUTPUT_COUNT, (void *, size_t *), session, &feed->output_count);
    feed->data = malloc(feed->sample_bytes + 64);
    if (input_count != feed->tensor_count || feed->output_count > MOST || !feed->data)
        fail(WRONG, "tensor", "not one for each input of the model, or too many outputs");
    for (size_t i = 0; i < input_count; i++) {
        struct tensor *one = &feed->tensors[i];
        CALL(SESSION_GET_INPUT_NAME, (void *, size_t, void *, char **), session, i, allocator, &feed->input_names[i]);
        CALL(CREATE_TENSOR_WITH_DATA, (void *, void *, size_t, int64_t *, size_t, int, void **), memory,
             feed->data + at, one->bytes, one->sizes, one->rank, one->type, &feed->inputs[i]);
        at += one->bytes;
    }
    for (size_t i = 0; i < feed->output_count; i++)
        CALL(SESSION_GET_OUTPUT_NAME, (void *, size_t, void *, char **), session, i, allocator,
             &feed->output_names[i]);
}

static void run(struct feed *feed, void *session)
{
    CALL(RUN, (void *, void *, char **, void **, size_t, char **, size_t, void **), session, NULL, feed->input_names,
         feed->inputs, feed->tensor_count, feed->output_names, feed->output_count, feed->outputs);
}

static void release_outputs(struct feed *feed)
{
    for (size_t i = 0; i < feed->output_count; i++) {
        ((void (*)(void *))api[RELEASE_VALUE])(feed->outputs[i]);
        feed->outputs[i] = NULL; /* else the runtime would write the next run's there */
    }
}
