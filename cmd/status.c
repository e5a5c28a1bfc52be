/* lethe status: the stages of a plan, their state, time and size; live while a run goes on. */
#include "curves.h"
#include "history.h"
#include "stages.h"

#include "base/json.h"
#include "plan/stage.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
    bool verify, journal, follow, curves, stopped;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(verify, YAML_BOOL,
           .help = "read every file, where otherwise names and sizes are believed"),
    OPTION(journal, YAML_BOOL,
           .help = "check the journal's chain, and hold it against what the report states"),
    OPTION(follow, YAML_BOOL, .help = "go on telling until the run has ended"),
    OPTION(curves, YAML_BOOL, .help = "draw how the training goes, or went"),
    OPTION(stopped, YAML_BOOL,
           .help = "only whether it was stopped, and the same command goes on: exit code 0 or 1"),
    { 0 },
};

enum state {
    STATE_DONE,
    STATE_STALE,
    STATE_TO_DO,
    STATE_RUNNING,
    STATE_STOPPED,
    STATE_FAILED,
    STATE_NO,
    STATE_PURGED,
    STATE_KEPT,
    STATE_UNWANTED,
    STATE_COUNT
};
static const char *const state_names[STATE_COUNT] = {
    "up to date", "stale",   "to do",  "running", "stopped",
    "failed",     "said no", "purged", "kept",    "not wanted",
};

struct view {
    struct release_plan plan;
    struct run_holder holder;
    struct history history;
    struct json *progress;  /* of the stage that is running; NULL: not told */
    struct run_unit *units; /* that others than the run work on */
    size_t unit_count;
    enum stage_care care;
    struct arena *arena;
};

/* ---- looking --------------------------------------------------------------------------------- */

/* Whether it is whole, and a stage that it needs was removed on purpose. */
static bool was_made_from_purged(const struct view *view, const struct stage *stage,
                                 const struct release_plan *plan)
{
    struct error why;
    if (!stage_looks_intact(stage_folder_of(stage, plan, view->arena), stage->name, &why))
        return false;
    for (size_t i = 0; i < STAGE_NEEDS && stage->needs[i]; i++) {
        const struct stage *need = stage_find(stage->needs[i]);
        if (history_of(&view->history, need, stage_label(need, plan))->last == EVENT_PURGED)
            return true;
    }
    return false;
}

/* The state of a stage, and in words what there is to say. */
static enum state look_at(const struct view *view, const struct stage *stage,
                          const struct release_plan *plan, const char **words)
{
    const struct stage_history *past = history_of(&view->history, stage, stage_label(stage, plan));
    struct error why;
    *words = "";
    if (stage->is_wanted && !stage->is_wanted(&view->plan))
        return STATE_UNWANTED;
    if (past->last == EVENT_STARTED && view->holder.is_held)
        return STATE_RUNNING;
    if (past->last == EVENT_PURGED)
        return STATE_PURGED;
    if (stage_is_done(stage, plan, view->care, view->arena, &why))
        return STATE_DONE; /* whatever was tried, and taken back, in between */
    if (past->last == EVENT_FAILED || past->last == EVENT_NO) {
        *words = past->message ? past->message : "";
        return past->last == EVENT_NO ? STATE_NO : STATE_FAILED;
    }
    if (past->last == EVENT_STARTED || past->last == EVENT_STOPPED) {
        *words = past->last == EVENT_STOPPED ? "goes on when run again"
                                             : "was interrupted; goes on when run again";
        return STATE_STOPPED;
    }
    if (past->last == EVENT_NONE)
        return STATE_TO_DO;
    if (was_made_from_purged(view, stage, plan))
        return STATE_KEPT;
    *words = arena_string(view->arena, why.message);
    return STATE_STALE;
}

/* "3200/10000 images, 12 s left" of the stage that is running. */
static const char *progress_words(const struct view *view)
{
    int64_t done, total;
    double seconds;
    char left[TEXT_SHORT];
    const char *unit = view->progress ? json_get_string(view->progress, "unit", NULL) : NULL;
    if (!unit || !json_get_integer(view->progress, "done", &done, NULL) ||
        !json_get_integer(view->progress, "total", &total, NULL) ||
        !json_get_real(view->progress, "seconds", &seconds, NULL))
        return "";
    if (!total || !done)
        return arena_format(view->arena, "%lld %s", (long long)done, unit);
    text_duration(left, seconds * (double)(total - done) / (double)done);
    return arena_format(view->arena, "%lld/%lld %s, %s left", (long long)done, (long long)total,
                        unit, left);
}

static struct json *load_progress(const struct view *view)
{
    size_t size;
    const char *path = path_join(view->arena, view->plan.run, "progress.json");
    char *bytes = view->holder.is_held ? file_read(path, 4096, &size, NULL) : NULL;
    struct json *progress = bytes ? json_parse(bytes, size, path, NULL) : NULL;
    memory_free(bytes);
    return progress;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void print_stage(const struct view *view, const struct stage *stage,
                        const struct release_plan *plan, struct json *entries)
{
    (void)entries;
    char took[TEXT_SHORT] = "-", size[TEXT_SHORT] = "-";
    char name[STAGE_TITLE];
    const char *words;
    const struct stage_history *past = history_of(&view->history, stage, stage_label(stage, plan));
    enum state state = look_at(view, stage, plan, &words);
    if (past->seconds >= 0 && state != STATE_RUNNING) {
        text_duration(took, past->seconds);
        text_size(size, (double)past->bytes);
    }
    if (state == STATE_RUNNING)
        words = progress_words(view);
    printf("%-*s %-11s %-12s %-10s %-21s%s%s\n", stage_title_width(&view->plan),
           stage_title(stage, plan, name), state_names[state], took, size,
           past->time ? past->time : "-", *words ? " " : "", words);
}

/* Calls visit for each stage, and for each of its candidates where the plan has any. Choosing is no
 * stage of a plan that has nothing to choose from. */
typedef void stage_visitor(const struct view *view, const struct stage *stage,
                           const struct release_plan *plan, struct json *entries);
static size_t each_stage(const struct view *view, stage_visitor *visit, struct json *entries)
{
    size_t total = 0;
    for (size_t i = 0; stages[i]; i++) {
        const struct release_plan *variants;
        if (stages[i]->of_candidate == STAGE_OF_ALL_CANDIDATES && !view->plan.candidate_count)
            continue;
        size_t count = stage_variants(stages[i], &view->plan, &variants, view->arena);
        for (size_t v = 0; visit && v < count; v++)
            visit(view, stages[i], &variants[v], entries);
        total += count;
    }
    return total;
}

static void print_assistants(const struct view *view)
{
    for (size_t i = 0; i < view->unit_count; i++)
        printf("assisting: process %lld on %s since %s (%s): %s\n",
               (long long)view->units[i].process, view->units[i].host, view->units[i].since,
               view->units[i].command, view->units[i].path);
}

static void print_text(const struct view *view)
{
    printf("%-*s %-11s %-12s %-10s %s\n", stage_title_width(&view->plan), "stage", "state", "took",
           "size", "when");
    each_stage(view, print_stage, NULL);
    if (view->holder.is_held)
        printf("running: process %lld on %s since %s (%s)\n", (long long)view->holder.process,
               view->holder.host, view->holder.since, view->holder.command);
    print_assistants(view);
}

static struct json *assistants_json(const struct view *view)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < view->unit_count; i++) {
        struct json *entry = json_new_object();
        json_put_string(entry, "unit", view->units[i].path);
        json_put_integer(entry, "process", view->units[i].process);
        json_put_string(entry, "host", view->units[i].host);
        json_put_string(entry, "since", view->units[i].since);
        json_put_string(entry, "command", view->units[i].command);
        json_push(list, entry);
    }
    return list;
}

static void push_stage(const struct view *view, const struct stage *stage,
                       const struct release_plan *plan, struct json *entries)
{
    const char *label = stage_label(stage, plan);
    const struct stage_history *past = history_of(&view->history, stage, label);
    struct json *entry = json_new_object();
    const char *words;
    enum state state = look_at(view, stage, plan, &words);
    json_put_string(entry, "stage", stage->name);
    if (label)
        json_put_string(entry, "candidate", label);
    json_put_string(entry, "state", state_names[state]);
    if (*words)
        json_put_string(entry, "why", words);
    if (past->time)
        json_put_string(entry, "time", past->time);
    if (past->seconds >= 0) {
        json_put_real(entry, "seconds", past->seconds);
        json_put_integer(entry, "bytes", past->bytes);
        json_put_integer(entry, "memory", past->memory);
    }
    json_push(entries, entry);
}

/* For scripts: a run that failed has the same exit code as one that was stopped. */
static bool was_stopped(const struct view *view)
{
    return !view->holder.is_held && view->history.stopped;
}

static void print_json(const struct view *view)
{
    struct json *document = json_new_object(), *entries = json_new_array();
    json_put_string(document, "run", view->plan.run);
    json_put_bool(document, "running", view->holder.is_held);
    json_put_bool(document, "stopped", was_stopped(view));
    each_stage(view, push_stage, entries);
    json_put(document, "stages", entries);
    json_put(document, "assistants", assistants_json(view));
    command_print(document);
}

/* What the run itself works on is told by its stages. */
static void find_assistants(struct view *view)
{
    const struct run_holder *run = &view->holder;
    struct run_unit *units;
    size_t count = run_units(view->plan.run, &units, view->arena);
    view->units = units;
    view->unit_count = 0;
    for (size_t i = 0; i < count; i++)
        if (!run->is_held || units[i].process != run->process ||
            strcmp(units[i].host, run->host) != 0)
            units[view->unit_count++] = units[i];
}

static bool look(struct view *view, struct error *err)
{
    run_lock_holder(view->plan.run, &view->holder, view->arena);
    view->progress = load_progress(view);
    find_assistants(view);
    return history_read(&view->history, view->plan.run, view->arena, err);
}

/* On a terminal the table stands still and its numbers change. Each look has memory of its own: a
 * training is followed for days. */
static bool follow(struct view *view, struct error *err)
{
    size_t stage_rows = 2 + each_stage(view, NULL, NULL);
    struct arena arena;
    bool ok = true;
    arena_init(&arena);
    view->arena = &arena;
    while (ok && view->holder.is_held) {
        struct timespec second = { .tv_sec = 1 };
        fflush(stdout);
        nanosleep(&second, NULL);
        size_t rows = stage_rows + view->unit_count;
        json_free(view->progress);
        arena_release(&arena);
        ok = look(view, err);
        if (ok && isatty(STDOUT_FILENO))
            printf("\033[%zuA\033[J", rows);
        if (ok)
            print_text(view);
    }
    arena_release(&arena);
    return ok;
}

/* ---- the journal ----------------------------------------------------------------------------- */

/* Length and head as the report states them, held against the journal. */
static bool holds_report(const struct release_plan *plan, struct arena *arena, bool *stated,
                         struct error *err)
{
    const char *path = path_join(arena, plan->run, "report/report.json");
    int64_t length;
    struct digest head;
    *stated = path_kind(path) == PATH_FILE;
    if (!*stated)
        return true;
    struct json *report = json_load(path, err);
    const struct json *journal = report ? json_get(report, "journal", err) : NULL;
    const char *hex = journal ? json_get_string(journal, "head", err) : NULL;
    bool ok = hex && json_get_integer(journal, "length", &length, err) &&
              (digest_from_hex(hex, &head) || error_set(err, "%s: the head is no digest", path)) &&
              journal_states(plan->run, (uint64_t)length, &head, err);
    json_free(report);
    return ok;
}

static enum exit_code check_journal(struct invocation *invocation, const struct release_plan *plan)
{
    uint64_t length;
    struct digest head;
    char hex[DIGEST_HEX];
    bool stated;
    struct error *err = &invocation->err;
    if (!journal_read(plan->run, NULL, NULL, &length, &head, err) ||
        !holds_report(plan, &invocation->arena, &stated, err)) {
        command_failed(invocation);
        return EXIT_NO;
    }
    struct json *document = json_new_object();
    json_put_integer(document, "length", (int64_t)length);
    json_put_string(document, "head", digest_hex(&head, hex));
    json_put_bool(document, "report_agrees", stated);
    if (invocation->json) {
        command_print(document);
        return EXIT_YES;
    }
    json_free(document);
    printf("%s/journal.jsonl: %llu lines, the chain is whole%s\nhead %s\n", plan->run,
           (unsigned long long)length,
           stated ? ", and what the report states of it holds"
                  : "; no report states its length yet",
           hex);
    return EXIT_YES;
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool draw_one(const struct view *view, const struct release_plan *plan, struct error *err)
{
    struct metrics losses;
    const char *folder = stage_folder(plan, "train", view->arena);
    if (!metrics_read(path_join(view->arena, folder, "metrics.jsonl"), &losses, err))
        return error_prefix(err, "no training to draw yet");
    printf("\n");
    curves_print(&losses, stdout);
    metrics_release(&losses);
    return true;
}

static bool draw_curves(const struct view *view, struct error *err)
{
    const struct release_plan *variants;
    const struct stage *train = stage_find("train");
    size_t count = stage_variants(train, &view->plan, &variants, view->arena);
    bool ok = true;
    for (size_t v = 0; ok && v < count; v++) {
        const char *label = stage_label(train, &variants[v]);
        if (label)
            printf("\n%s", label);
        ok = draw_one(view, &variants[v], err);
    }
    return ok;
}

static enum exit_code tell_stopped(struct invocation *invocation, const struct view *view)
{
    bool stopped = was_stopped(view);
    if (invocation->json) {
        struct json *document = json_new_object();
        json_put_bool(document, "stopped", stopped);
        command_print(document);
    } else {
        printf("%s: %s\n", view->plan.run,
               stopped                ? "stopped; the same command goes on"
               : view->holder.is_held ? "running"
                                      : "not stopped");
    }
    return stopped ? EXIT_YES : EXIT_NO;
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct view view = { .arena = &invocation->arena,
                         .care = values->verify ? STAGE_WITH_CARE : STAGE_AT_A_GLANCE };
    struct error *err = &invocation->err;
    if (!plan_load(invocation->operands[0], &view.plan, &invocation->arena, err))
        return command_failed(invocation);
    if (values->journal)
        return check_journal(invocation, &view.plan);
    bool ok = look(&view, err);
    if (ok && values->stopped) {
        json_free(view.progress);
        return tell_stopped(invocation, &view);
    }
    if (ok)
        (invocation->json ? print_json : print_text)(&view);
    if (ok && values->curves && !invocation->json)
        ok = draw_curves(&view, err);
    if (ok && values->follow && !invocation->json)
        ok = follow(&view, err);
    json_free(view.progress);
    return ok ? EXIT_YES : command_failed(invocation);
}

const struct command command_status = {
    .name = "status",
    .operands = "PLAN",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "what is done, stale, running, and how long is left",
    .options = options,
    .size = sizeof(struct options),
    .run = run,
};
