/* What control groups and /proc/meminfo tell; see allowance.h. Not every machine has them, so
 * what cannot be read allows everything. */
#include "base/allowance.h"

#include "base/error.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { LINE = 4096 }; /* of /proc; also as long as a path may be */

/* The files of one version. Version 1 has a tree for each controller, version 2 one for all. */
struct version {
    const char *system, *memory, *processor; /* of its mounts: type, and their options */
    const char *limits[3], *used;
    const char *given_up[2]; /* in memory.stat: pages of files */
    const char *quota, *period;
};

static const struct version versions[] = {
    { .system = "cgroup2",
      .limits = { "memory.max", "memory.high" }, /* beyond `high` it is slowed to a standstill */
      .used = "memory.current",
      .given_up = { "inactive_file ", "active_file " },
      .quota = "cpu.max" }, /* "QUOTA PERIOD" */
    { .system = "cgroup",
      .memory = "memory",
      .processor = "cpu",
      .limits = { "memory.limit_in_bytes" },
      .used = "memory.usage_in_bytes",
      .given_up = { "total_inactive_file ", "total_active_file " },
      .quota = "cpu.cfs_quota_us",
      .period = "cpu.cfs_period_us" },
};

/* The number after a key at the beginning of a line; SIZE_MAX: none, as "max" and -1 are. */
static size_t read_number(const char *folder, const char *name, const char *key)
{
    char path[LINE], line[256];
    long long number = -1;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    while (file && number < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0 &&
            sscanf(line + strlen(key), "%lld", &number) != 1)
            number = -1;
    if (file)
        fclose(file);
    return number < 0 ? SIZE_MAX : (size_t)number;
}

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- one group ------------------------------------------------------------------------------- */

static void take_memory(struct allowance *allowance, const struct version *version,
                        const char *group)
{
    size_t limit = SIZE_MAX, used = read_number(group, version->used, "");
    for (int i = 0; version->limits[i]; i++)
        limit = at_most(limit, read_number(group, version->limits[i], ""));
    if (limit >= SIZE_MAX / 4 || used == SIZE_MAX) /* version 1 has a number for "no limit" */
        return;
    for (int i = 0; i < 2; i++) {
        size_t pages = read_number(group, "memory.stat", version->given_up[i]);
        used -= pages < SIZE_MAX ? at_most(pages, used) : 0;
    }
    allowance->is_group = allowance->is_group || limit < allowance->memory;
    allowance->memory = at_most(allowance->memory, limit);
    allowance->memory_left = at_most(allowance->memory_left, limit > used ? limit - used : 0);
}

static void take_quota(struct allowance *allowance, const struct version *version,
                       const char *group)
{
    char path[LINE];
    long long quota = -1, period = 0;
    snprintf(path, sizeof path, "%s/%s", group, version->quota);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    int told = fscanf(file, "%lld %lld", &quota, &period);
    fclose(file);
    size_t apart = version->period ? read_number(group, version->period, "") : SIZE_MAX;
    if (apart < LLONG_MAX)
        period = (long long)apart;
    if (told < 1 || quota <= 0 || period <= 0)
        return;
    long long cores = (quota - 1) / period + 1;
    if (cores < allowance->cores)
        allowance->cores = (int)cores;
}

/* ---- the groups of this process -------------------------------------------------------------- */

/* Whether a list with commas, as "rw,cpu,cpuacct", has the word. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ',') && (!at[length] || strchr(",\n ", at[length])))
            return true;
    return false;
}

/* The path of this process's group in the tree of a controller; NULL: of version 2. */
static bool find_group(const char *root, const char *controller, char group[LINE])
{
    char path[LINE], line[LINE], controllers[LINE];
    bool found = false;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        *controllers = '\0'; /* "4:cpu,cpuacct:/jobs/7", of version 2 "0::/jobs/7" */
        if (sscanf(line, "%*d::%[^\n]", group) == 1)
            found = !controller;
        else if (controller && sscanf(line, "%*d:%[^:]:%[^\n]", controllers, group) == 2)
            found = has_word(controllers, controller);
    }
    if (file)
        fclose(file);
    return found;
}

/* Where that tree is mounted, and the uppermost group there: in a container that is its own. */
static bool find_mount(const char *root, const char *system, const char *controller, char top[LINE],
                       char mount[LINE])
{
    char path[LINE], line[LINE], type[64], options[LINE];
    bool found = false;
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        const char *rest = strstr(line, " - ");
        found = rest && sscanf(line, "%*s %*s %*s %s %s", top, mount) == 2 &&
                sscanf(rest, " - %63s %*s %s", type, options) == 2 && strcmp(type, system) == 0 &&
                (!controller || has_word(options, controller));
    }
    if (file)
        fclose(file);
    return found;
}

typedef void group_reader(struct allowance *allowance, const struct version *version,
                          const char *group);

/* From the process's own group up to the uppermost one that is to be seen. */
static void each_group(const char *root, const struct version *version, const char *controller,
                       group_reader *take, struct allowance *allowance)
{
    char group[LINE], top[LINE], mount[LINE], path[3 * LINE];
    if (!find_group(root, controller, group) ||
        !find_mount(root, version->system, controller, top, mount))
        return;
    size_t above = strcmp(top, "/") == 0 ? 0 : strlen(top);
    size_t least = (size_t)snprintf(path, sizeof path, "%s%s", root, mount);
    if (strncmp(group, top, above) == 0)
        snprintf(path + least, sizeof path - least, "%s", group + above);
    for (;;) {
        take(allowance, version, path);
        char *slash = strrchr(path + least, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

static size_t of_machine(const char *root, const char *key)
{
    char folder[LINE];
    snprintf(folder, sizeof folder, "%s/proc", root);
    size_t kib = read_number(folder, "meminfo", key);
    return kib < SIZE_MAX / 1024 ? kib * 1024 : SIZE_MAX;
}

void allowance_read(struct allowance *allowance, const char *root)
{
    *allowance = (struct allowance){ .cores = INT_MAX,
                                     .memory = of_machine(root, "MemTotal:"),
                                     .memory_left = of_machine(root, "MemAvailable:") };
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        const struct version *version = &versions[i];
        each_group(root, version, version->memory, take_memory, allowance);
        each_group(root, version, version->processor, take_quota, allowance);
    }
}
