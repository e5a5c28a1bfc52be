/* lethe references: the models that membership compares with, trained beside the one of a plan.
 *
 * Each is a training in a folder of its own, RUN/references/1, 2 …, that goes on like any other.
 * Checkpoints of candidates are made and kept in them, too, so that each candidate is compared with
 * references that were trained for as many steps. */
#include "stages.h"

#include "base/file.h"
#include "base/json.h"
#include "train/train.h"

#include <inttypes.h>

/* The folder of one of them; from 1. */
static const char *folder_of(const char *references, int64_t number, struct arena *arena)
{
    return arena_format(arena, "%s/%" PRId64, references, number);
}

struct yaml_strings references_of(const struct release_plan *plan, struct arena *arena)
{
    size_t count = (size_t)plan->references.count;
    const char **folders = arena_array(arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        folders[i] = folder_of(stage_folder(plan, "references", arena), (int64_t)i + 1, arena);
    return (struct yaml_strings){ folders, count };
}

static struct json *describe(const struct train_job *job, const struct train_report *report)
{
    struct json *document = json_new_object();
    json_put_integer(document, "reference", (int64_t)job->reference);
    json_put_string(document, "folder", job->out);
    json_put_bool(document, "complete", report->end == TRAIN_COMPLETE);
    json_put_integer(document, "step", (int64_t)report->step);
    json_put_integer(document, "images", (int64_t)report->images);
    return document;
}

/* One of them; those that have come to their end are passed over. */
static bool train_one(struct stage_work *work, const struct train_job *job, struct json *list)
{
    struct train_report report;
    char duration[TEXT_SHORT];
    if (train_is_complete(job))
        return true;
    if (!train(job, &report, work->err))
        return error_prefix(work->err, "reference %" PRIu64, job->reference);
    work->unfinished = report.end != TRAIN_COMPLETE;
    json_push(list, describe(job, &report));
    text_format(&work->summary, "%s: %s, %" PRIu64 " images in %" PRIu64 " steps (%s)\n", job->out,
                work->unfinished ? "stopped" : "trained", report.images, report.step,
                text_duration(duration, report.seconds));
    return true;
}

static enum exit_code work_on(struct stage_work *work)
{
    const struct release_plan *plan = work->plan;
    struct train_job job = { .dataset = stage_folder(plan, "ingest", work->arena),
                             .settings = &plan->train };
    struct json *list = json_new_array();
    bool ok = train_prepare(work, job.dataset);
    for (int64_t number = 1; ok && !work->unfinished && number <= plan->references.count;
         number++) {
        job.reference = (uint64_t)number;
        job.out = folder_of(work->folder, number, work->arena);
        ok = train_one(work, &job, list);
    }
    work->document = json_new_object();
    json_put(work->document, "trained", list);
    return ok ? EXIT_YES : EXIT_ERROR;
}

static bool is_wanted(const struct release_plan *plan)
{
    return plan->references.count;
}

static bool accepts(const struct release_plan *plan, struct error *err)
{
    if (!plan->references.count)
        return error_set(
            err, "%s: no references are asked for; references: { count: 2 } asks for a pair",
            plan->path);
    return !plan->sample.made_elsewhere ||
           error_set(err,
                     "%s: references are compared with the model itself, and sample: { "
                     "made_elsewhere } takes a set whose model is not here",
                     plan->path);
}

/* They are trained as the model is. */
static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    (void)arena;
    (void)err;
    yaml_describe(train_fields, &plan->train, inputs);
    return true;
}

const struct stage stage_references = {
    .name = "references",
    .folder = "references",
    .product = "",
    .needs = { "ingest" },
    .fields = reference_fields,
    .settings = offsetof(struct release_plan, references),
    .of_candidate = STAGE_TRAINS_CANDIDATE,
    .in_place = true,
    .accepts = accepts,
    .add_inputs = add_inputs,
    .quick_inputs = true,
    .is_wanted = is_wanted,
    .run = work_on,
};

static enum exit_code run(struct invocation *invocation)
{
    return stage_command(invocation, &stage_references);
}

const struct command command_references = {
    .name = "references",
    .operands = "PLAN",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "train the models that membership compares a plan's model with",
    .details =
        "As many as references: { count } says, with the settings of train, each on half of all\n"
        "people. Interrupted at any moment, the same command goes on.",
    .goes_on = true,
    .run = run,
};
