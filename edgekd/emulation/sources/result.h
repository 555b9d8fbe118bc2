/* What a benchmark is told, what it has found so far, and writing that. */
#pragma once
#include <stdio.h>
#include <unistd.h>

#include "machine.h"
#include "runtime.h"

enum { MODELS = 8, KEPT_SAMPLES = 5000 };
static const char *const stages[] = {"import", "load", "first", "steady", "done"};
enum { IMPORT, LOAD, FIRST, STEADY, DONE };

struct model {
    const char *path, *inputs, *described;
    char *entries[MOST];
    size_t entry_count;
    int threads, no_arena, no_memory_pattern;
    struct feed feed;
    void *session;
    double load_ms, first_ms;
    size_t warmup_runs;
    int64_t *wall, *cpu; /* nanoseconds */
};

static struct {
    size_t warmup, min_runs, model_count;
    double min_seconds, max_seconds;
    int resumable;
    struct model models[MODELS];
} spec;

static struct {
    const char *path;
    char part[4096], boot_id[64];
    int stage, weighed, loaded, begun, warmed;
    long peak_kib[DONE];
    size_t runs, kept, room, condition_count;
    double seconds;
    long preempted;
    struct conditions *conditions;
} result;

/* As JSON; what is not ASCII becomes "?", for a runtime's message may hold anything. */
static void write_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (c < ' ')
            fprintf(file, "\\u%04x", c);
        else
            fputc(c < 127 ? c : '?', file);
    }
    fputc('"', file);
}

static void write_samples(FILE *file, const char *name, const int64_t *samples)
{
    size_t step = (result.kept + KEPT_SAMPLES - 1) / KEPT_SAMPLES | 1; /* odd: both orders of a pair stay */
    fprintf(file, ", \"%s\": [", name);
    for (size_t i = 0; i < result.kept; i += step)
        fprintf(file, "%s%.6f", i ? ", " : "", (double)samples[i] / 1e6);
    fputc(']', file);
}

static void write_model(FILE *file, int index)
{
    struct model *one = &spec.models[index];
    fprintf(file, "%s{\"session\": %s, \"load_ms\": %.6f", index ? ", " : "", one->described, one->load_ms);
    if (index < result.begun)
        fprintf(file, ", \"first_ms\": %.6f", one->first_ms);
    if (index < result.warmed)
        fprintf(file, ", \"warmup_runs\": %zu", one->warmup_runs);
    if (result.kept) {
        write_samples(file, "wall_ms", one->wall);
        write_samples(file, "cpu_ms", one->cpu);
    }
    fputc('}', file);
}

static void save(const char *error)
{
    FILE *file = fopen(result.part, "w");
    if (file) {
        fprintf(file, "{\"stage\": \"%s\", \"boot_id\": ", stages[result.stage]);
        *result.boot_id ? write_string(file, result.boot_id) : (void)fputs("null", file);
        fputs(", \"memory\": {", file);
        for (int i = 0; i < result.weighed; i++)
            fprintf(file, "%s\"%s\": %ld", i ? ", " : "", stages[i], result.peak_kib[i]);
        fputs("}, \"models\": [", file);
        for (int i = 0; i < result.loaded; i++)
            write_model(file, i);
        fputc(']', file);
        if (result.kept) {
            fprintf(file, ", \"runs\": %zu, \"seconds\": %.9f, \"preempted\": %ld, \"conditions\": [", result.runs,
                    result.seconds, result.preempted);
            for (size_t i = 0; i < result.condition_count; i++) {
                fputs(i ? ", " : "", file);
                write_conditions(file, &result.conditions[i]);
            }
            fputc(']', file);
        }
        if (error) {
            fputs(", \"error\": ", file);
            write_string(file, error);
        }
        fputs("}\n", file);
        int failed = ferror(file);
        if (!fclose(file) && !failed && !rename(result.part, result.path))
            return;
    }
    perror(result.path);
    _exit(1); /* nobody waits for this any more, or there is no room */
}

static _Noreturn void fail(int status, const char *what, const char *why)
{
    char words[2048];
    snprintf(words, sizeof words, "%s%s%s", status == WRONG ? what : "", status == WRONG ? ": " : "", why);
    save(words);
    _exit(1);
}
