/* The machine and this process as files and the kernel tell them, and how RESULT says it. */
#pragma once
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

/* Load, highest clock, highest temperature, throttling bits; NAN is what no file tells. */
struct conditions {
    double load, clock_mhz, temperature_c, throttled;
};

static char *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t room = 0;
    *size = 0;
    while (file && !feof(file) && !ferror(file)) {
        char *larger = realloc(text, room += 65536);
        if (!larger)
            break;
        text = larger;
        *size += fread(text + *size, 1, room - 1 - *size, file);
        text[*size] = 0;
    }
    if (file)
        fclose(file);
    return text;
}

static void read_line(const char *path, char *line, size_t room)
{
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, (int)room, file))
        *line = 0;
    line[strcspn(line, "\n")] = 0;
    if (file)
        fclose(file);
}

/* The highest number in files of this pattern. */
static double highest(const char *pattern, int base, double unit)
{
    double found = NAN;
    glob_t paths;
    if (glob(pattern, 0, NULL, &paths) == 0) {
        for (size_t i = 0; i < paths.gl_pathc; i++) {
            char line[64] = "", *end;
            read_line(paths.gl_pathv[i], line, sizeof line);
            double value = (double)strtoll(line, &end, base) / unit;
            if (end != line && !(value <= found))
                found = value;
        }
        globfree(&paths);
    }
    return found;
}

static struct conditions conditions(void)
{
    struct sysinfo now;
    struct conditions found = {
        .load = sysinfo(&now) ? 0 : (double)now.loads[0] / (1 << SI_LOAD_SHIFT),
        .clock_mhz = highest("/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq", 10, 1e3),
        .temperature_c = highest("/sys/class/thermal/thermal_zone*/temp", 10, 1e3),
        .throttled = highest("/sys/devices/platform/soc/soc:firmware/get_throttled", 16, 1),
    };
    return found;
}

static void write_conditions(FILE *file, const struct conditions *now)
{
    const char *names[] = {"clock_mhz", "temperature_c", "throttled"};
    double values[] = {now->clock_mhz, now->temperature_c, now->throttled};
    fprintf(file, "{\"load\": %.2f", now->load);
    for (int i = 0; i < 3; i++)
        if (!isnan(values[i]))
            fprintf(file, ", \"%s\": %.3f", names[i], values[i]);
    fputc('}', file);
}

/* Peak resident set of this process in KiB. */
static long peak_kib(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;
    while (file && !kib && fgets(line, sizeof line, file))
        if (!strncmp(line, "VmHWM:", 6))
            kib = strtol(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return kib;
}

static long involuntary_switches(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_nivcsw;
}
