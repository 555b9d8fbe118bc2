/* An ONNX Runtime that computes nothing and writes down what it is asked, a line each, to the file FAKE_LOG names.
 * A model whose name holds "refused" is refused, one that holds "slow" takes 20 ms a run, and
 * one that holds "slower" a millisecond more each time. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *said;
static void *table[160];
static char names[] = "x";

static const char *message(void *status) { return status; }
static void *environment(int level, const char *name, void **made) { return *made = (void *)name, level == 3 ? NULL : "level"; }
static void *options(void **made) { return *made = calloc(1, 4096), NULL; }
static void *noted(char *to, const char *text) { return strcat(to, text), NULL; }
static void *no_pattern(void *to) { return noted(to, " pattern=0"); }
static void *no_arena(void *to) { return noted(to, " arena=0"); }
static void *threads(void *to, int count)
{
    char text[32];
    snprintf(text, sizeof text, " threads=%d", count);
    return noted(to, text);
}
static void *inter(void *to, int count) { return count == 1 ? NULL : "inter"; }
static void *entry(void *to, const char *key, const char *value)
{
    char text[256];
    snprintf(text, sizeof text, " %s=%s", key, value);
    return noted(to, text);
}
static void *session(void *env, const char *path, char *with, void **made)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    fprintf(said, "load %s%s\n", name, with);
    fflush(said);
    return *made = strdup(name), strstr(name, "refused") ? "it \"says\"\tno: \xc3\xa9\x01" : NULL;
}
static void *one(void *session, size_t *count) { return *count = 1, NULL; }
static void *name_of(void *session, size_t index, void *allocator, char **name) { return *name = names, NULL; }
static void *tensor(void *memory, void *data, size_t bytes, int64_t *sizes, size_t rank, int type, void **made)
{
    return *made = data, bytes == 4 && rank == 1 && type == 1 ? NULL : "tensor";
}
static void *some(void **made) { return *made = names, NULL; }
static void *memory(int kind, int type, void **made) { return some(made); }
static void *run(char *session, void *with, char **in, float **fed, size_t inputs, char **out, size_t outputs, void **made)
{
    fprintf(said, "run %s %g\n", session, *fed[0]);
    fflush(said);
    static int runs;
    if (strstr(session, "slow"))
        usleep(strstr(session, "slower") ? 1000 * ++runs : 20000);
    return *made = names, NULL;
}
static void release(void *value) { (void)value; }
static void **api(uint32_t version) { return version == 12 ? table : NULL; }

struct { void **(*get_api)(uint32_t); } base = {api};

void *OrtGetApiBase(void)
{
    said = fopen(getenv("FAKE_LOG"), "w");
    void *known[][2] = {
        {(void *)2, message}, {(void *)3, environment}, {(void *)7, session}, {(void *)9, run}, {(void *)10, options},
        {(void *)17, no_pattern}, {(void *)19, no_arena}, {(void *)24, threads}, {(void *)25, inter}, {(void *)30, one},
        {(void *)31, one}, {(void *)36, name_of}, {(void *)37, name_of}, {(void *)49, tensor}, {(void *)69, memory},
        {(void *)78, some}, {(void *)96, release}, {(void *)130, entry},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        table[(size_t)known[i][0]] = known[i][1];
    return &base;
}
