/* lethe purge: after a release, removes what was derived from patients.
 *
 * What goes: the dataset store, the weights (which may hold patients), all audit and utility
 * results that name subjects or show their images, those of fidelity (unfinished ones hold features
 * of images), the internal report, and trainings that were set aside, and all of candidates that
 * were not chosen. What stays: the release, the synthetic set, the public report, the journal. The
 * scans themselves are not in the run folder and are not touched.
 */
#include "candidates.h"
#include "history.h"
#include "stages.h"

#include "base/json.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    bool yes, abandon;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(yes, YAML_BOOL, .help = "remove; without it the list is only shown"),
    OPTION(abandon, YAML_BOOL, .help = "even though nothing was released"),
    { 0 },
};

/* Paths in the run folder that hold what came from patients; a name that ends in ".*" stands for
 * any number after it. `stage` is what is then journalled as purged. */
static const struct {
    const char *path, *stage;
} derived[] = {
    { "dataset", "ingest" },
    { "dataset.partial", NULL },
    { "dataset.replaced", NULL },
    { "model", "train" },
    { "model.*", NULL },
    { "references", "references" },
    { "references.*", NULL },
    { "audit", "audit" },
    { "audit.partial", NULL },
    { "audit.replaced", NULL },
    { "audit.work", NULL },
    { "utility", "utility" },
    { "utility.partial", NULL },
    { "utility.replaced", NULL },
    { "fidelity", "fidelity" },
    { "membership", "membership" },
    { "report/report.internal.html", NULL },
    { "report.internal.html", NULL },
    { "report.internal.pdf", NULL },
    { "review.json", NULL },
};
enum { DERIVED = sizeof derived / sizeof *derived };

enum { PURGE_MAX = 512 };

struct purge {
    struct invocation *invocation;
    struct release_plan plan;
    struct removal {
        const char *path, *stage, *candidate; /* stage and candidate NULL: of none */
    } removals[PURGE_MAX];
    size_t count;
    double bytes;
};

static double file_size(const char *path)
{
    struct file_map map;
    if (!file_map_open(&map, path, NULL))
        return 0;
    double size = (double)map.size;
    file_map_close(&map);
    return size;
}

/* Bytes of a file, or of all files in a folder; 0 where there is nothing. */
static double size_of(const char *path, struct arena *arena)
{
    char **files;
    size_t count;
    double total = 0;
    if (path_kind(path) == PATH_FILE)
        return file_size(path);
    if (!folder_walk(path, arena, &files, &count, NULL))
        return 0;
    for (size_t i = 0; i < count; i++)
        total += file_size(path_join(arena, path, files[i]));
    return total;
}

static void add(struct purge *purge, const char *path, const char *stage, const char *candidate)
{
    CHECK(purge->count < PURGE_MAX, "more than %d things to purge", (int)PURGE_MAX);
    purge->removals[purge->count++] = (struct removal){ path, stage, candidate };
    purge->bytes += size_of(path, &purge->invocation->arena);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in a folder in byte order, but for hidden ones; a folder that is missing has none. */
static size_t names_in(const char *path, const char ***names, struct arena *arena)
{
    DIR *folder = opendir(path);
    size_t count = 0;
    *names = arena_array(arena, const char *, PURGE_MAX);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        CHECK(count < PURGE_MAX, "more than %d names in %s", (int)PURGE_MAX, path);
        if (*entry->d_name != '.')
            (*names)[count++] = arena_string(arena, entry->d_name);
    }
    if (folder)
        closedir(folder);
    qsort(*names, count, sizeof **names, by_name);
    return count;
}

/* Names in the run folder that begin as `pattern` does before its star. */
static void add_numbered(struct purge *purge, const char *pattern)
{
    struct arena *arena = &purge->invocation->arena;
    const char **names;
    size_t length = strlen(pattern) - 1, count = names_in(purge->plan.run, &names, arena);
    int64_t number;
    for (size_t i = 0; i < count; i++)
        if (strncmp(names[i], pattern, length) == 0 && text_to_integer(names[i] + length, &number))
            add(purge, path_join(arena, purge->plan.run, names[i]), NULL, NULL);
}

static const char *stage_of_folder(const char *folder)
{
    for (size_t i = 0; stages[i]; i++)
        if (strcmp(stages[i]->folder, folder) == 0)
            return stages[i]->name;
    return NULL;
}

/* Everything of every candidate, but of the one chosen the synthetic set stays, as it does without
 * candidates. Sets that were not released go: nobody vouches for them. */
static void list_candidates(struct purge *purge)
{
    struct arena *arena = &purge->invocation->arena;
    const struct candidate *chosen = plan_of_the_chosen(&purge->plan, arena).candidate;
    const char *folder = path_join(arena, purge->plan.run, "candidates"), **names, **parts;
    size_t count = names_in(folder, &names, arena);
    for (size_t i = 0; i < count; i++) {
        const char *path = path_join(arena, folder, names[i]);
        size_t part_count = names_in(path, &parts, arena);
        bool is_chosen = chosen && strcmp(chosen->name, names[i]) == 0;
        for (size_t k = 0; k < part_count; k++)
            if (!is_chosen || strcmp(parts[k], "synthetic") != 0)
                add(purge, path_join(arena, path, parts[k]), stage_of_folder(parts[k]), names[i]);
    }
}

static void list(struct purge *purge)
{
    for (size_t i = 0; i < DERIVED; i++) {
        const char *path = path_join(&purge->invocation->arena, purge->plan.run, derived[i].path);
        if (text_ends_with(derived[i].path, ".*"))
            add_numbered(purge, derived[i].path);
        else if (path_kind(path) != PATH_NOTHING || access(path, F_OK) == 0)
            add(purge, path, derived[i].stage, NULL);
    }
    list_candidates(purge);
}

static bool remove_one(const char *path, struct error *err)
{
    if (unlink(path) == 0)
        return true;
    return folder_remove(path, err);
}

/* The journal first: if removing is interrupted, it tells that it had begun. */
static bool remove_all(const struct purge *purge, struct journal *journal, struct error *err)
{
    struct json *details = json_new_object(), *paths = json_new_array();
    for (size_t i = 0; i < purge->count; i++)
        json_push_string(paths, purge->removals[i].path);
    json_put(details, "paths", paths);
    if (!journal_add(journal, "purge started", details, err))
        return false;
    for (size_t i = 0; i < purge->count; i++) {
        const struct removal *removal = &purge->removals[i];
        if (!remove_one(removal->path, err))
            return false;
        if (!removal->stage)
            continue;
        details = json_new_object();
        json_put_string(details, "stage", removal->stage);
        if (removal->candidate)
            json_put_string(details, "candidate", removal->candidate);
        if (!journal_add(journal, EVENT_NAME_PURGED, details, err))
            return false;
    }
    details = json_new_object();
    json_put_real(details, "bytes", purge->bytes);
    return journal_add(journal, "purged", details, err);
}

/* Whether something was released from this run, by the ledger of the last stage. */
static bool is_released(const struct purge *purge, struct error *reason)
{
    struct arena *arena = &purge->invocation->arena;
    const char *folder = path_join(arena, purge->plan.run, "release");
    char **files;
    size_t count;
    if (path_kind(folder) == PATH_FOLDER && folder_walk(folder, arena, &files, &count, NULL))
        for (size_t i = 0; i < count; i++)
            if (text_ends_with(files[i], ".manifest.json"))
                return true;
    return error_set(reason,
                     "%s: nothing was released yet, and without what would be removed nothing can "
                     "be; to give the run up all the same: --abandon",
                     folder);
}

/* Assistants end a moment after their run; what they still write would stay. */
static bool nobody_works(const struct purge *purge, struct error *err)
{
    struct run_unit *units;
    if (!run_units(purge->plan.run, &units, &purge->invocation->arena))
        return true;
    return error_set(
        err,
        "%s/%s: process %lld on %s still works on it (%s); wait until it has ended, or "
        "end it",
        purge->plan.run, units->path, (long long)units->process, units->host, units->command);
}

static void print(const struct purge *purge, bool removed)
{
    char size[TEXT_SHORT];
    if (purge->invocation->json) {
        struct json *document = json_new_object(), *paths = json_new_array();
        for (size_t i = 0; i < purge->count; i++)
            json_push_string(paths, purge->removals[i].path);
        json_put_bool(document, "removed", removed);
        json_put_real(document, "bytes", purge->bytes);
        json_put(document, "paths", paths);
        command_print(document);
        return;
    }
    for (size_t i = 0; i < purge->count; i++)
        printf("%s %s\n", removed ? "removed" : "would remove", purge->removals[i].path);
    printf("%s in all%s\n", text_size(size, purge->bytes),
           removed ? "" : "; with --yes they are removed");
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct purge purge = { .invocation = invocation };
    struct run_folder folder;
    struct error *err = &invocation->err;
    if (!plan_load(invocation->operands[0], &purge.plan, &invocation->arena, err) ||
        (!values->abandon && !is_released(&purge, err)))
        return command_failed(invocation);
    list(&purge);
    if (values->yes && purge.count) {
        if (!run_folder_open(&folder, &purge.plan, "lethe purge", err))
            return command_failed(invocation);
        bool ok = nobody_works(&purge, err) && remove_all(&purge, &folder.journal, err);
        run_folder_close(&folder, false);
        if (!ok)
            return command_failed(invocation);
    }
    print(&purge, values->yes);
    return EXIT_YES;
}

const struct command command_purge = {
    .name = "purge",
    .operands = "PLAN",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "after a release, remove what was derived from patients",
    .details = "The release, the synthetic set, the public report and the journal stay.",
    .options = options,
    .size = sizeof(struct options),
    .run = run,
};
