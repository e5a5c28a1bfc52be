/* The table of stages, and what runs a row of it; see stages.h. */
#include "stages.h"

#include "base/json.h"
#include "base/progress.h"
#include "plan/stage.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct stage *const stages[] = { &stage_ingest, &stage_train, &stage_sample, NULL };

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

/* A line for each stage that this one reads from. Its files are held against its record first:
 * nothing is made from what is not what it says. */
static bool add_needs(const struct stage *stage, const struct release_plan *plan,
                      struct arena *arena, struct text *inputs, struct error *err)
{
    for (int i = 0; i < STAGE_NEEDS && stage->needs[i]; i++) {
        const struct stage *need = stage_find(stage->needs[i]);
        CHECK(need, "the stage %s needs %s, which is no stage", stage->name, stage->needs[i]);
        if (need->is_wanted && !need->is_wanted(plan))
            continue;
        const char *folder = path_join(arena, plan->run, need->folder);
        struct digest product;
        char hex[DIGEST_HEX];
        struct error why;
        if (!stage_is_intact(folder, need->name, &why))
            return error_set(err, "%s: %s; make it with: lethe %s %s", folder, why.message,
                             need->name, plan->path);
        if (!stage_product(folder, need->product, &product, err))
            return false;
        text_format(inputs, "%s %s\n", need->name, digest_hex(&product, hex));
    }
    return true;
}

bool stage_inputs(const struct stage *stage, const struct release_plan *plan, struct arena *arena,
                  struct digest *digest, struct error *err)
{
    struct text inputs = { 0 };
    bool ok = add_needs(stage, plan, arena, &inputs, err);
    if (ok && stage->fields)
        yaml_describe(stage->fields, (const char *)plan + stage->settings, &inputs);
    ok = ok && (!stage->add_inputs || stage->add_inputs(plan, arena, &inputs, err));
    if (ok)
        *digest = digest_of(inputs.bytes ? inputs.bytes : "", inputs.length);
    text_release(&inputs);
    return ok;
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

enum exit_code stage_make(struct stage_work *work, const struct digest *inputs)
{
    const struct stage *stage = work->stage;
    if (stage->in_place) /* the old record would vouch for a folder that is being changed */
        unlink(path_join(work->arena, work->folder, "stage.json"));
    double started = clock_seconds();
    enum exit_code code = stage->run(work);
    if (code == EXIT_YES && !work->unfinished &&
        !stage_record(work->folder, stage->name, inputs, clock_seconds() - started, work->err))
        return EXIT_ERROR;
    return code;
}

/* ---- a stage's own command ------------------------------------------------------------------- */

static enum exit_code make_unless_current(struct invocation *invocation, struct stage_work *work)
{
    struct digest inputs;
    bool ok = stage_inputs(work->stage, work->plan, work->arena, &inputs, work->err);
    if (ok && stage_is_current(work->folder, work->stage->name, &inputs, NULL)) {
        fprintf(stderr, "lethe %s: %s is up to date\n", work->stage->name, work->folder);
        return EXIT_YES;
    }
    enum exit_code code = ok ? stage_make(work, &inputs) : EXIT_ERROR;
    bool unfinished = work->unfinished;
    code = stage_finish(invocation, work, code);
    if (unfinished)
        fprintf(stderr, "resume with: lethe %s %s\n", work->stage->name, work->plan->path);
    return code;
}

enum exit_code stage_command(struct invocation *invocation, const struct stage *stage)
{
    struct release_plan plan;
    struct run_lock lock;
    struct arena *arena = &invocation->arena;
    struct error *err = &invocation->err;
    const char *command = arena_format(arena, "lethe %s", stage->name);
    if (!plan_load(invocation->operands[0], &plan, arena, err) ||
        (stage->accepts && !stage->accepts(&plan, err)) ||
        !run_lock_take(&lock, plan.run, command, err))
        return command_failed(invocation);
    struct stage_work work = stage_of_plan(stage, &plan, arena, err);
    work.options = invocation->values;
    enum exit_code code = make_unless_current(invocation, &work);
    run_lock_release(&lock);
    return code;
}
