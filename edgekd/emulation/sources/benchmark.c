/* The benchmark of a board without Python: what edgekd/benchmark_program.py does, for ONNX Runtime alone.
 *
 *     benchmark SPEC RESULT
 *     benchmark        prints the machine's present state, as RESULT has it
 *
 * SPEC holds words, each with a zero byte behind it: warmup=N min_runs=N min_seconds=S max_seconds=S resumable=0|1, then
 * of each model: model=FILE, which begins it, inputs=FILE, the raw tensors of one sample, tensor=TYPE:D0,D1,... for each
 * of these, threads=N [arena=0] [memory_pattern=0] [entry=KEY=VALUE]... and session=JSON, which RESULT repeats. RESULT
 * is the other program's, and what is said there of stages, turns, thinning, and of its folder, holds here. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <time.h>

#include "result.h"

enum { WINDOW = 5 }; /* runs whose median tells whether it is steady */

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

static void reached(int stage)
{
    result.peak_kib[result.weighed++] = peak_kib();
    result.stage = stage;
    save(NULL);
}

static void *grown(void *list, size_t bytes)
{
    void *larger = realloc(list, bytes);
    if (!larger)
        fail(WRONG, "samples", strerror(ENOMEM));
    return larger;
}

static void parse_of_model(struct model *one, const char *key, char *value)
{
    if (!strcmp(key, "inputs")) one->inputs = value;
    else if (!strcmp(key, "tensor")) add_tensor(&one->feed, value);
    else if (!strcmp(key, "threads")) one->threads = atoi(value);
    else if (!strcmp(key, "arena")) one->no_arena = !atoi(value);
    else if (!strcmp(key, "memory_pattern")) one->no_memory_pattern = !atoi(value);
    else if (!strcmp(key, "entry") && one->entry_count < MOST) one->entries[one->entry_count++] = value;
    else if (!strcmp(key, "session")) one->described = value;
    else fail(WRONG, "spec", key);
}

static void parse(const char *path)
{
    size_t size;
    char *words = read_whole(path, &size);
    if (!words)
        fail(WRONG, "spec", strerror(errno));
    for (char *key = words; key < words + size;) {
        char *next = key + strlen(key) + 1, *value = strchr(key, '=');
        if (!value)
            fail(WRONG, "spec", key);
        *value++ = 0;
        if (!strcmp(key, "warmup")) spec.warmup = strtoull(value, NULL, 10);
        else if (!strcmp(key, "min_runs")) spec.min_runs = strtoull(value, NULL, 10);
        else if (!strcmp(key, "min_seconds")) spec.min_seconds = atof(value);
        else if (!strcmp(key, "max_seconds")) spec.max_seconds = atof(value);
        else if (!strcmp(key, "resumable")) spec.resumable = atoi(value);
        else if (!strcmp(key, "model") && spec.model_count < MODELS) spec.models[spec.model_count++].path = value;
        else if (spec.model_count) parse_of_model(&spec.models[spec.model_count - 1], key, value);
        else fail(WRONG, "spec", key);
        key = next;
    }
}

static void load(struct model *one, void *environment)
{
    int64_t start = nanoseconds(CLOCK_MONOTONIC);
    void *options = session_options(one->threads, one->entries, one->entry_count);
    if (one->no_arena)
        CALL(DISABLE_CPU_MEM_ARENA, (void *), options);
    if (one->no_memory_pattern)
        CALL(DISABLE_MEM_PATTERN, (void *), options);
    one->session = open_session(environment, one->path, options);
    one->load_ms = (double)(nanoseconds(CLOCK_MONOTONIC) - start) / 1e6;
    tie(&one->feed, one->session);
    FILE *file = fopen(one->inputs, "rb");
    if (!file || fread(one->feed.data, 1, one->feed.sample_bytes, file) != one->feed.sample_bytes)
        fail(WRONG, "inputs", "the file cannot be read, or is too short");
    fclose(file);
    result.loaded++;
}

/* Runs once; returns wall time, and puts process CPU time into `cpu`. */
static int64_t timed(struct model *one, int64_t *cpu)
{
    int64_t cpu_begin = nanoseconds(CLOCK_PROCESS_CPUTIME_ID), wall = nanoseconds(CLOCK_MONOTONIC);
    run(&one->feed, one->session);
    release_outputs(&one->feed);
    wall = nanoseconds(CLOCK_MONOTONIC) - wall;
    *cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
    return wall;
}

static int64_t median(const int64_t *window)
{
    int64_t sorted[WINDOW];
    for (int i = 0, at; i < WINDOW; i++) {
        for (at = i; at && sorted[at - 1] > window[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = window[i];
    }
    return sorted[WINDOW / 2];
}

static void warm_up(struct model *one)
{
    int64_t walls[2 * WINDOW], cpu, end = nanoseconds(CLOCK_MONOTONIC) + (int64_t)(spec.max_seconds * 1e9);
    while (one->warmup_runs < spec.warmup && nanoseconds(CLOCK_MONOTONIC) < end) {
        memmove(walls, walls + 1, sizeof walls - sizeof *walls);
        walls[2 * WINDOW - 1] = timed(one, &cpu);
        if (++one->warmup_runs < 2 * WINDOW)
            continue;
        double before = (double)median(walls), last = (double)median(walls + WINDOW);
        if (fabs(last - before) <= 0.05 * before)
            break;
    }
    result.warmed++;
}

static void note_conditions(void)
{
    result.conditions = grown(result.conditions, (result.condition_count + 1) * sizeof *result.conditions);
    result.conditions[result.condition_count++] = conditions();
}

static void keep(void)
{
    result.kept = result.runs;
    if (result.weighed == STEADY) /* the first time: what is kept here is no need of the model's */
        result.peak_kib[result.weighed++] = peak_kib();
    save(NULL);
}

static void measure(void)
{
    note_conditions();
    long preempted = involuntary_switches();
    int64_t start = nanoseconds(CLOCK_MONOTONIC);
    for (int more = 1; more;) {
        if (result.runs == result.room) {
            result.room = result.room ? 2 * result.room : 1024;
            for (size_t i = 0; i < spec.model_count; i++) {
                spec.models[i].wall = grown(spec.models[i].wall, result.room * sizeof(int64_t));
                spec.models[i].cpu = grown(spec.models[i].cpu, result.room * sizeof(int64_t));
            }
        }
        for (size_t i = 0; i < spec.model_count; i++) { /* A B B A */
            struct model *one = &spec.models[result.runs % 2 ? spec.model_count - 1 - i : i];
            one->wall[result.runs] = timed(one, &one->cpu[result.runs]);
        }
        result.runs++;
        result.seconds = (double)(nanoseconds(CLOCK_MONOTONIC) - start) / 1e9;
        more = result.seconds < spec.max_seconds &&
               (result.runs < spec.min_runs || result.seconds < spec.min_seconds);
        if (result.seconds > (double)result.condition_count || !more) {
            result.preempted = involuntary_switches() - preempted;
            note_conditions();
            if (more && spec.resumable)
                keep();
        }
    }
}

int main(int count, char **arguments)
{
    if (count != 3) {
        struct conditions now = conditions();
        write_conditions(stdout, &now);
        return fflush(stdout) != 0;
    }
    result.path = arguments[2];
    snprintf(result.part, sizeof result.part, "%s.part", result.path);
    read_line("/proc/sys/kernel/random/boot_id", result.boot_id, sizeof result.boot_id);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files then is an error like a full disk */
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    save(NULL);
    parse(arguments[1]);
    void *environment = load_runtime("libonnxruntime.so");
    reached(LOAD);
    for (size_t i = 0; i < spec.model_count; i++)
        load(&spec.models[i], environment);
    reached(FIRST);
    for (int64_t cpu; result.begun < (int)spec.model_count; result.begun++)
        spec.models[result.begun].first_ms = (double)timed(&spec.models[result.begun], &cpu) / 1e6;
    reached(STEADY);
    for (size_t i = 0; i < spec.model_count; i++)
        warm_up(&spec.models[i]);
    measure();
    result.stage = DONE;
    keep();
    _exit(0); /* the runtime takes its time over tidying up */
}
