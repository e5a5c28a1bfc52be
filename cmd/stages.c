/* The table of stages, and what runs a row of it; see stages.h. */
#include "stages.h"

#include "base/json.h"
#include "base/progress.h"
#include "plan/stage.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct stage *const stages[] = {
    /* one a line, in the order that they run */
    /* clang-format off */
    &stage_ingest,
    &stage_train,
    &stage_sample,
    &stage_audit,
    &stage_utility,
    &stage_report,
    &stage_package,
    NULL,
    /* clang-format on */
};

const struct stage *stage_find(const char *name)
{
    for (const struct stage *const *stage = stages; *stage; stage++)
        if (strcmp((*stage)->name, name) == 0)
            return *stage;
    return NULL;
}

const char *stage_folder(const struct release_plan *plan, const char *name, struct arena *arena)
{
    const struct stage *stage = stage_find(name);
    CHECK(stage, "there is no stage %s", name);
    return path_join(arena, plan->run, stage->folder);
}

/* ---- what a stage is made from --------------------------------------------------------------- */

/* Whether what a stage reads from is there. With care its files are held against its record:
 * nothing is made from what is not what it says. */
static bool need_holds(const struct stage *need, const struct release_plan *plan,
                       enum stage_care care, const char *folder, struct error *err)
{
    struct error why;
    if (care == STAGE_AT_A_GLANCE ? stage_looks_intact(folder, need->name, &why)
                                  : stage_is_intact(folder, need->name, &why))
        return true;
    return error_set(err, "%s: %s; make it with: lethe %s %s", folder, why.message, need->name,
                     plan->path);
}

/* A line for each stage that this one reads from. */
static bool add_needs(const struct stage *stage, const struct release_plan *plan,
                      enum stage_care care, struct arena *arena, struct text *inputs,
                      struct error *err)
{
    for (int i = 0; i < STAGE_NEEDS && stage->needs[i]; i++) {
        const struct stage *need = stage_find(stage->needs[i]);
        CHECK(need, "the stage %s needs %s, which is no stage", stage->name, stage->needs[i]);
        if (need->is_wanted && !need->is_wanted(plan))
            continue;
        const char *folder = path_join(arena, plan->run, need->folder);
        struct digest product;
        char hex[DIGEST_HEX];
        if (!need_holds(need, plan, care, folder, err) ||
            !stage_product(folder, need->product, &product, err))
            return false;
        text_format(inputs, "%s %s\n", need->name, digest_hex(&product, hex));
    }
    return true;
}

bool stage_inputs(const struct stage *stage, const struct release_plan *plan, enum stage_care care,
                  struct arena *arena, struct digest *digest, bool *known, struct error *err)
{
    struct text inputs = { 0 };
    *known = care == STAGE_WITH_CARE || !stage->add_inputs || stage->quick_inputs;
    bool ok = add_needs(stage, plan, care, arena, &inputs, err);
    if (ok && stage->fields)
        yaml_describe(stage->fields, (const char *)plan + stage->settings, &inputs);
    ok = ok && (!stage->add_inputs || !*known || stage->add_inputs(plan, arena, &inputs, err));
    if (ok && *known)
        *digest = digest_of(inputs.bytes ? inputs.bytes : "", inputs.length);
    text_release(&inputs);
    return ok;
}

bool stage_is_done(const struct stage *stage, const struct release_plan *plan, enum stage_care care,
                   struct arena *arena, struct error *reason)
{
    const char *folder = path_join(arena, plan->run, stage->folder);
    struct stage_summary summary;
    struct digest inputs;
    char hex[DIGEST_HEX];
    bool known;
    if (!stage_inputs(stage, plan, care, arena, &inputs, &known, reason))
        return false;
    if (care == STAGE_WITH_CARE)
        return stage_is_current(folder, stage->name, &inputs, reason);
    if (!stage_looks_intact(folder, stage->name, reason) || !stage_read(folder, &summary, reason))
        return false;
    if (strcmp(summary.version, LETHE_VERSION) != 0)
        return error_set(reason, "version was %s, is now %s", summary.version, LETHE_VERSION);
    return !known || strcmp(summary.inputs, digest_hex(&inputs, hex)) == 0 ||
           error_set(reason, "its settings or its inputs have changed");
}

/* ---- making it ------------------------------------------------------------------------------- */

struct stage_work stage_of_plan(const struct stage *stage, const struct release_plan *plan,
                                struct arena *arena, struct error *err)
{
    return (struct stage_work){ .stage = stage,
                                .plan = plan,
                                .folder = path_join(arena, plan->run, stage->folder),
                                .arena = arena,
                                .err = err };
}

struct stage_work stage_without_plan(struct invocation *invocation, const char *folder)
{
    return (struct stage_work){ .folder = folder,
                                .options = invocation->values,
                                .arena = &invocation->arena,
                                .err = &invocation->err };
}

enum exit_code stage_finish(struct invocation *invocation, struct stage_work *work,
                            enum exit_code code)
{
    if (invocation->json && work->document)
        command_print(work->document);
    else
        json_free(work->document);
    if (!invocation->json && work->summary.bytes)
        fputs(work->summary.bytes, stdout);
    text_release(&work->summary);
    return code == EXIT_ERROR ? command_failed(invocation) : code;
}

/* ---- the run folder -------------------------------------------------------------------------- */

bool run_folder_open(struct run_folder *folder, const struct release_plan *plan,
                     const char *command, struct error *err)
{
    if (!run_lock_take(&folder->lock, plan->run, command, err))
        return false;
    if (journal_open(&folder->journal, plan->run, err))
        return true;
    run_lock_release(&folder->lock);
    return false;
}

void run_folder_close(struct run_folder *folder)
{
    journal_close(&folder->journal);
    run_lock_release(&folder->lock);
}

/* The most memory that this process took since `forget_peak`; 0 where the kernel does not say. */
static int64_t peak_memory(void)
{
    char line[128];
    long long kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %lld kB", &kilobytes) == 1)
            break;
    if (status)
        fclose(status);
    return kilobytes * 1024;
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5\n", file);
        fclose(file);
    }
}

/* Every setting of the plan, as lines, with defaults spelled out. */
static void put_settings(struct json *details, const struct stage *stage,
                         const struct release_plan *plan)
{
    struct text settings = { 0 };
    if (stage->fields)
        yaml_describe(stage->fields, (const char *)plan + stage->settings, &settings);
    if (settings.bytes)
        json_put_string(details, "settings", settings.bytes);
    text_release(&settings);
}

static bool journal_start(const struct stage_work *work, const struct digest *inputs)
{
    char hex[DIGEST_HEX];
    struct json *details = json_new_object();
    json_put_string(details, "stage", work->stage->name);
    json_put_string(details, "plan", work->plan->path);
    json_put_string(details, "plan_sha256", work->plan->sha256);
    json_put_string(details, "inputs", digest_hex(inputs, hex));
    put_settings(details, work->stage, work->plan);
    return journal_add(work->journal, "stage started", details, work->err);
}

static bool journal_end(const struct stage_work *work, enum exit_code code, double seconds)
{
    static const char *const events[] = { [EXIT_YES] = "stage ended",
                                          [EXIT_NO] = "stage said no",
                                          [EXIT_ERROR] = "stage failed",
                                          [EXIT_UNMET] = "stage said no" };
    struct stage_summary summary;
    struct json *details = json_new_object();
    json_put_string(details, "stage", work->stage->name);
    json_put_real(details, "seconds", seconds);
    json_put_integer(details, "memory", peak_memory());
    if (code == EXIT_ERROR)
        json_put_string(details, "message", work->err->message);
    else if (!work->unfinished && stage_read(work->folder, &summary, NULL)) {
        json_put_integer(details, "files", (int64_t)summary.files);
        json_put_integer(details, "bytes", (int64_t)summary.bytes);
    }
    return journal_add(work->journal,
                       code == EXIT_YES && work->unfinished ? "stage stopped" : events[code],
                       details, code == EXIT_ERROR ? NULL : work->err);
}

enum exit_code stage_make(struct stage_work *work, const struct digest *inputs)
{
    const struct stage *stage = work->stage;
    if (!journal_start(work, inputs))
        return EXIT_ERROR;
    if (stage->in_place) /* the old record would vouch for a folder that is being changed */
        unlink(path_join(work->arena, work->folder, "stage.json"));
    progress_publish(path_join(work->arena, work->plan->run, "progress.json"));
    forget_peak();
    double started = clock_seconds();
    enum exit_code code = stage->run(work);
    double seconds = clock_seconds() - started;
    progress_publish(NULL);
    if (code == EXIT_YES && !work->unfinished &&
        !stage_record(work->folder, stage->name, inputs, seconds, stage->may_grow, work->err))
        code = EXIT_ERROR;
    if (!journal_end(work, code, seconds))
        code = EXIT_ERROR;
    return code;
}

/* ---- a stage's own command ------------------------------------------------------------------- */

/* With `documents` what the work has to tell is collected there, under the stage's name. */
static enum exit_code make_unless_current(struct invocation *invocation, struct stage_work *work,
                                          struct json *documents)
{
    struct digest inputs;
    bool known;
    bool ok = stage_inputs(work->stage, work->plan, STAGE_WITH_CARE, work->arena, &inputs, &known,
                           work->err);
    if (ok && stage_is_current(work->folder, work->stage->name, &inputs, NULL)) {
        fprintf(stderr, "lethe %s: %s is up to date\n", work->stage->name, work->folder);
        return EXIT_YES;
    }
    enum exit_code code = ok ? stage_make(work, &inputs) : EXIT_ERROR;
    bool unfinished = work->unfinished;
    if (documents && work->document) {
        json_put(documents, work->stage->name, work->document);
        work->document = NULL;
    }
    code = stage_finish(invocation, work, code);
    if (unfinished)
        fprintf(stderr, "resume with: lethe %s %s\n", work->stage->name, work->plan->path);
    return code;
}

static bool accepted(const struct stage *const *list, const struct release_plan *plan,
                     struct error *err)
{
    for (; *list; list++)
        if ((*list)->accepts && !(*list)->accepts(plan, err))
            return false;
    return true;
}

static enum exit_code make_all(struct invocation *invocation, const struct stage *const *list,
                               const struct release_plan *plan, struct journal *journal)
{
    enum exit_code code = EXIT_YES;
    bool unfinished = false;
    struct json *documents = invocation->json && list[1] ? json_new_object() : NULL;
    for (; *list && code == EXIT_YES && !unfinished; list++) {
        struct stage_work work = stage_of_plan(*list, plan, &invocation->arena, &invocation->err);
        work.options = invocation->values;
        work.journal = journal;
        code = make_unless_current(invocation, &work, documents);
        unfinished = work.unfinished;
    }
    if (documents)
        command_print(documents);
    return code;
}

enum exit_code stage_commands(struct invocation *invocation, const struct stage *const *list)
{
    struct release_plan plan;
    struct run_folder folder;
    struct arena *arena = &invocation->arena;
    struct error *err = &invocation->err;
    const char *command = arena_format(arena, "lethe %s", list[0]->name);
    if (!plan_load(invocation->operands[0], &plan, arena, err) || !accepted(list, &plan, err) ||
        !run_folder_open(&folder, &plan, command, err))
        return command_failed(invocation);
    enum exit_code code = make_all(invocation, list, &plan, &folder.journal);
    run_folder_close(&folder);
    return code;
}

enum exit_code stage_command(struct invocation *invocation, const struct stage *stage)
{
    const struct stage *const list[] = { stage, NULL };
    return stage_commands(invocation, list);
}
