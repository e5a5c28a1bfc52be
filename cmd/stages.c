/* The table of stages, and what runs a row of it; see stages.h. */
#include "candidates.h"
#include "stages.h"

#include "base/file.h"
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
    &stage_fidelity,
    &stage_references,
    &stage_membership,
    &stage_choose,
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
    return stage_folder_of(stage, plan, arena);
}

const char *stage_folder_if_wanted(const struct stage *stage, const struct release_plan *plan,
                                   struct arena *arena)
{
    bool wanted = !stage->is_wanted || stage->is_wanted(plan);
    return wanted ? stage_folder_of(stage, plan, arena) : NULL;
}

/* ---- candidates ------------------------------------------------------------------------------ */

static bool is_made_for_each(const struct stage *stage)
{
    return stage->of_candidate >= STAGE_TRAINS_CANDIDATE &&
           stage->of_candidate <= STAGE_JUDGES_CANDIDATE;
}

const char *stage_folder_of(const struct stage *stage, const struct release_plan *plan,
                            struct arena *arena)
{
    const struct candidate *candidate = plan->candidate;
    const char *folder = plan->run;
    if (candidate && stage->of_candidate == STAGE_TRAINS_CANDIDATE)
        folder = candidate->own_training ? plan->candidates[candidate->trainer].folder : plan->run;
    else if (candidate && is_made_for_each(stage))
        folder = candidate->folder;
    return path_join(arena, folder, stage->folder);
}

const char *stage_label(const struct stage *stage, const struct release_plan *plan)
{
    const struct candidate *candidate = plan->candidate;
    if (!candidate || !is_made_for_each(stage))
        return NULL;
    if (stage->of_candidate != STAGE_TRAINS_CANDIDATE)
        return candidate->name;
    return candidate->own_training ? plan->candidates[candidate->trainer].name : NULL;
}

const char *stage_title(const struct stage *stage, const struct release_plan *plan,
                        char title[STAGE_TITLE])
{
    const char *label = stage_label(stage, plan);
    snprintf(title, STAGE_TITLE, "%s%s%s", stage->name, label ? " " : "", label ? label : "");
    return title;
}

int stage_title_width(const struct release_plan *plan)
{
    size_t longest = 0, stage = 0;
    for (size_t i = 0; i < plan->candidate_count; i++)
        if (strlen(plan->candidates[i].name) > longest)
            longest = strlen(plan->candidates[i].name);
    for (size_t i = 0; stages[i]; i++)
        if (is_made_for_each(stages[i]) && strlen(stages[i]->name) > stage)
            stage = strlen(stages[i]->name);
    return (int)(longest ? stage + 1 + longest : 9);
}

size_t stage_variants(const struct stage *stage, const struct release_plan *plan,
                      const struct release_plan **variants, struct arena *arena)
{
    bool each = is_made_for_each(stage) && plan->candidate_count;
    size_t count = 0, most = each ? plan->candidate_count : 1;
    struct release_plan *made = arena_array(arena, struct release_plan, most);
    for (size_t i = 0; each && i < most; i++)
        if (stage->of_candidate != STAGE_TRAINS_CANDIDATE || plan->candidates[i].trainer == i)
            made[count++] = candidate_variant(plan, i);
    if (!each)
        made[count++] =
            stage->of_candidate == STAGE_OF_THE_CHOSEN ? plan_of_the_chosen(plan, arena) : *plan;
    *variants = made;
    return count;
}

/* ---- one variant after the other, as they are free ------------------------------------------- */

static const char *lock_path(const struct stage *stage, const struct release_plan *plan,
                             struct arena *arena)
{
    const char *folder = stage_folder_of(stage, plan, arena);
    return arena_format(arena, "%s/.%s.taken", path_parent(arena, folder), path_name(folder));
}

enum lock_outcome stage_take(const struct stage *stage, const struct release_plan *plan,
                             const char *command, struct lock *lock, struct arena *arena,
                             struct error *err)
{
    const char *path = lock_path(stage, plan, arena);
    if (lock_is_held(path)) {
        error_set(err, "%s", lock_words(path, arena));
        return LOCK_HELD;
    }
    return folder_create(path_parent(arena, path), err) ? lock_take(lock, path, command, err)
                                                        : LOCK_FAILED;
}

void stage_waiting(const char *what, const char *whom)
{
    fprintf(stderr, "waiting for %s, on which %s works\n", what, whom);
}

/* The variants of a stage, while they are made. */
struct variants {
    const struct stage *stage;
    const struct release_plan *plans;
    const char *command;
    bool done[CANDIDATES_MAX];
    size_t count, left;
    size_t held; /* one that another process works on */
    bool told;   /* that it is waited for */
};

/* One variant, unless it is taken. */
static enum exit_code work_if_free(struct variants *variants, size_t i, stage_worker *work,
                                   void *context, bool *unfinished, struct error *err)
{
    struct lock lock = LOCK_NONE;
    struct arena arena; /* waiting takes no memory */
    arena_init(&arena);
    enum lock_outcome outcome = variants->stage->taken_whole
                                    ? stage_take(variants->stage, &variants->plans[i],
                                                 variants->command, &lock, &arena, err)
                                    : LOCK_TAKEN;
    arena_release(&arena);
    if (outcome == LOCK_HELD)
        variants->held = i;
    if (outcome != LOCK_TAKEN)
        return outcome == LOCK_HELD ? EXIT_YES : EXIT_ERROR;
    enum exit_code code = work(context, &variants->plans[i], unfinished);
    lock_release(&lock);
    variants->done[i] = true;
    variants->left--;
    variants->told = false;
    return code;
}

static void wait_for_others(struct variants *variants)
{
    struct arena arena;
    char title[STAGE_TITLE];
    const struct release_plan *plan = &variants->plans[variants->held];
    arena_init(&arena);
    if (!variants->told)
        stage_waiting(stage_title(variants->stage, plan, title),
                      lock_words(lock_path(variants->stage, plan, &arena), &arena));
    variants->told = true;
    arena_release(&arena);
    lock_pause();
}

enum exit_code stage_each_variant(const struct stage *stage, const struct release_plan *plan,
                                  stage_worker *work, void *context, bool *unfinished,
                                  struct arena *arena, struct error *err)
{
    struct variants variants = { .stage = stage };
    variants.count = variants.left = stage_variants(stage, plan, &variants.plans, arena);
    variants.command = arena_format(arena, "lethe %s", stage->name);
    enum exit_code code = EXIT_YES;
    while (variants.left) {
        size_t before = variants.left;
        for (size_t i = 0; i < variants.count; i++) {
            if (!variants.done[i])
                code = work_if_free(&variants, i, work, context, unfinished, err);
            if (code != EXIT_YES || *unfinished)
                return code;
        }
        if (variants.left == before)
            wait_for_others(&variants);
    }
    return code;
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
        const char *folder = stage_folder_of(need, plan, arena);
        struct digest product;
        char hex[DIGEST_HEX];
        if (!need_holds(need, plan, care, folder, err) ||
            !stage_product(folder, need->product, &product, err))
            return false;
        text_format(inputs, "%s %s\n", need->name, digest_hex(&product, hex));
    }
    return true;
}

/* Of every candidate where the stage is of all, under their names. */
static bool add_all_needs(const struct stage *stage, const struct release_plan *plan,
                          enum stage_care care, struct arena *arena, struct text *inputs,
                          struct error *err)
{
    if (stage->of_candidate != STAGE_OF_ALL_CANDIDATES)
        return add_needs(stage, plan, care, arena, inputs, err);
    for (size_t i = 0; i < plan->candidate_count; i++) {
        const struct release_plan variant = candidate_variant(plan, i);
        text_format(inputs, "candidate %s\n", plan->candidates[i].name);
        if (!add_needs(stage, &variant, care, arena, inputs, err))
            return false;
    }
    return true;
}

/* What being one of several candidates decides. */
static void add_candidate(const struct stage *stage, const struct release_plan *plan,
                          struct text *inputs)
{
    if (plan->candidate && stage->of_candidate == STAGE_DRAWS_CANDIDATE)
        text_format(inputs, "after images %lld\n", (long long)plan->candidate->images);
    if (plan->candidate && stage->of_candidate == STAGE_JUDGES_CANDIDATE)
        text_format(inputs, "candidates %zu\n", plan->candidate_count);
}

bool stage_inputs(const struct stage *stage, const struct release_plan *plan, enum stage_care care,
                  struct arena *arena, struct digest *digest, bool *known, struct error *err)
{
    struct text inputs = { 0 };
    *known = care == STAGE_WITH_CARE || !stage->add_inputs || stage->quick_inputs;
    bool ok = add_all_needs(stage, plan, care, arena, &inputs, err);
    add_candidate(stage, plan, &inputs);
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
    const char *folder = stage_folder_of(stage, plan, arena);
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
                                .folder = stage_folder_of(stage, plan, arena),
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

bool run_folder_tell(struct run_folder *folder, const struct release_plan *plan,
                     const struct stage *stage, const struct stage *until, struct error *err)
{
    char identity[DIGEST_HEX];
    plan_identity(plan, identity);
    return run_lock_tell(&folder->lock, identity, stage->name, until->name, err);
}

void run_folder_close(struct run_folder *folder, bool unfinished)
{
    journal_close(&folder->journal);
    (unfinished ? run_lock_leave : run_lock_release)(&folder->lock);
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

/* The details of a line about a stage: which, and of which candidate. */
static struct json *journal_details(const struct stage_work *work)
{
    struct json *details = json_new_object();
    const char *label = stage_label(work->stage, work->plan);
    json_put_string(details, "stage", work->stage->name);
    if (label)
        json_put_string(details, "candidate", label);
    return details;
}

static bool journal_start(const struct stage_work *work, const struct digest *inputs)
{
    char hex[DIGEST_HEX];
    struct json *details = journal_details(work);
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
    struct json *details = journal_details(work);
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
    bool may = !stage->may_replace || stage->may_replace(work->plan, work->arena, work->err);
    if (may && stage->in_place) /* the old record would vouch for a folder that is being changed */
        unlink(path_join(work->arena, work->folder, "stage.json"));
    progress_publish(path_join(work->arena, work->plan->run, "progress.json"));
    forget_peak();
    double started = clock_seconds();
    enum exit_code code = may ? stage->run(work) : EXIT_ERROR;
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

/* A command that makes stages of a plan. */
struct making {
    struct invocation *invocation;
    struct run_folder *folder;
    const struct stage *stage; /* now */
    struct json *documents;    /* what the works have to tell, by name; NULL: each is printed */
    bool failed;               /* and said so */
};

static enum exit_code make_unless_current(void *context, const struct release_plan *plan,
                                          bool *unfinished)
{
    struct making *making = context;
    struct invocation *invocation = making->invocation;
    struct stage_work work =
        stage_of_plan(making->stage, plan, &invocation->arena, &invocation->err);
    struct digest inputs;
    bool known;
    work.options = invocation->values;
    work.journal = &making->folder->journal;
    bool ok =
        stage_inputs(work.stage, plan, STAGE_WITH_CARE, work.arena, &inputs, &known, work.err);
    if (ok && stage_is_current(work.folder, work.stage->name, &inputs, NULL)) {
        fprintf(stderr, "lethe %s: %s is up to date\n", work.stage->name, work.folder);
        return EXIT_YES;
    }
    enum exit_code code = ok ? stage_make(&work, &inputs) : EXIT_ERROR;
    *unfinished = work.unfinished;
    if (making->documents && work.document) {
        const char *label = stage_label(work.stage, plan);
        json_put(making->documents, label ? label : work.stage->name, work.document);
        work.document = NULL;
    }
    code = stage_finish(invocation, &work, code);
    making->failed = code == EXIT_ERROR;
    if (*unfinished)
        fprintf(stderr, "resume with: lethe %s %s\n", work.stage->name, plan->path);
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

/* A stage, for each candidate where the plan has any. With `documents` these are collected there;
 * without, and with --json, several go into one document. */
static enum exit_code make_variants(struct invocation *invocation, const struct stage *stage,
                                    const struct release_plan *plan, struct run_folder *folder,
                                    struct json *documents, bool *unfinished)
{
    const struct release_plan *variants;
    size_t count = stage_variants(stage, plan, &variants, &invocation->arena);
    struct json *each = count > 1 && invocation->json ? json_new_object() : NULL;
    struct making making = { invocation, folder, stage, each ? each : documents, false };
    enum exit_code code = stage_each_variant(stage, plan, make_unless_current, &making, unfinished,
                                             &invocation->arena, &invocation->err);
    if (code == EXIT_ERROR && !making.failed)
        command_failed(invocation);
    if (each && documents)
        json_put(documents, stage->name, each);
    else if (each)
        command_print(each);
    return code;
}

static enum exit_code make_all(struct invocation *invocation, const struct stage *const *list,
                               const struct release_plan *plan, struct run_folder *folder,
                               bool *unfinished)
{
    enum exit_code code = EXIT_YES;
    *unfinished = false;
    struct json *documents = invocation->json && list[1] ? json_new_object() : NULL;
    const struct stage *last = *list;
    for (size_t i = 0; list[i]; i++)
        last = list[i];
    for (; *list && code == EXIT_YES && !*unfinished; list++)
        code = run_folder_tell(folder, plan, *list, last, &invocation->err)
                   ? make_variants(invocation, *list, plan, folder, documents, unfinished)
                   : command_failed(invocation);
    if (documents)
        command_print(documents);
    return code;
}

bool no_settings(struct invocation *invocation)
{
    return !invocation->setting ||
           error_set(&invocation->err, "--%s beside a plan would be passed over: change it in %s",
                     invocation->setting, invocation->operands[0]);
}

enum exit_code stage_commands(struct invocation *invocation, const struct stage *const *list)
{
    struct release_plan plan;
    struct run_folder folder;
    struct arena *arena = &invocation->arena;
    struct error *err = &invocation->err;
    const char *command = arena_format(arena, "lethe %s", list[0]->name);
    if (!no_settings(invocation))
        return command_failed(invocation);
    if (!plan_load(invocation->operands[0], &plan, arena, err) || !accepted(list, &plan, err) ||
        !run_folder_open(&folder, &plan, command, err))
        return command_failed(invocation);
    bool unfinished;
    enum exit_code code = make_all(invocation, list, &plan, &folder, &unfinished);
    run_folder_close(&folder, unfinished);
    return code;
}

enum exit_code stage_command(struct invocation *invocation, const struct stage *stage)
{
    const struct stage *const list[] = { stage, NULL };
    return stage_commands(invocation, list);
}
