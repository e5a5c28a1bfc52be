/* lethe sample: from a trained generator to a synthetic dataset store. */
#include "candidates.h"
#include "stages.h"

#include "base/json.h"
#include "base/text.h"
#include "train/elsewhere.h"
#include "train/join.h"
#include "train/train.h"

#include <inttypes.h>
#include <string.h>

struct options {
    const char *from, *out, *png;
    struct yaml_strings join;
    int64_t rows;
    struct sample_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(from, YAML_STRING, .metavar = "FOLDER",
           .help = "folder of training, whose latest checkpoint is taken, or a checkpoint"),
    OPTION(out, YAML_STRING, .metavar = "STORE", .help = "folder to write; must not exist"),
    OPTION(join, YAML_STRINGS, .metavar = "STORE,STORE",
           .help = "instead of drawing: parts of a set, in order, to put together"),
    OPTION(png, YAML_STRING, .metavar = "FILE",
           .help = "draw images of the set, a row each; of candidates, FILE-NAME"),
    OPTION(rows, YAML_INTEGER, .minimum = 1, .maximum = 1000, .metavar = "N",
           .help = "of that drawing (default 16)"),
    OPTION(settings, YAML_SECTION, .section = sample_fields),
    { 0 },
};

static struct json *describe(const struct sample_job *job, const struct sample_report *report)
{
    struct json *document = json_new_object();
    json_put_string(document, "store", job->out);
    json_put_integer(document, "images", job->settings->count);
    json_put_integer(document, "first", job->settings->first);
    json_put_string(document, "model", report->model);
    json_put_integer(document, "trained_steps", (int64_t)report->step);
    json_put_integer(document, "side", (int64_t)report->side);
    json_put_string(document, "weights", report->weights);
    json_put_real(document, "seconds", report->seconds);
    return document;
}

static enum exit_code draw(struct stage_work *work, const struct sample_job *job)
{
    struct sample_report report;
    if (!sample(job, &report, work->err))
        return EXIT_ERROR;
    work->document = describe(job, &report);
    text_format(&work->summary, "%s: %" PRId64 " images of %s after %" PRIu64 " steps\n", job->out,
                job->settings->count, report.model, report.step);
    if (report.side < report.size)
        text_format(
            &work->summary,
            "%s: the model has grown to %zu × %zu so far; pixels are repeated to %zu × %zu\n",
            job->out, report.side, report.side, report.size, report.size);
    return EXIT_YES;
}

/* A set made elsewhere is taken as it is. */
static enum exit_code take(struct stage_work *work, const char *store, bool replace)
{
    size_t count;
    if (!sample_elsewhere(store, work->folder, replace, &count, work->err))
        return EXIT_ERROR;
    work->document = json_new_object();
    json_put_string(work->document, "store", work->folder);
    json_put_integer(work->document, "images", (int64_t)count);
    json_put_string(work->document, "made_elsewhere", store);
    text_format(&work->summary, "%s: %zu images made elsewhere (%s)\n", work->folder, count, store);
    return EXIT_YES;
}

/* A set made elsewhere may change there: then it is taken anew. */
static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    const char *store = plan->sample.made_elsewhere;
    if (!store)
        return true;
    if (!digest_file(path_join(arena, store, "dataset.json"), &digest, err))
        return error_prefix(err, "sample.made_elsewhere");
    text_format(inputs, "made elsewhere %s\n", digest_hex(&digest, hex));
    return true;
}

bool stage_weights(const struct stage_work *work, const char **from)
{
    const struct candidate *candidate = work->plan->candidate;
    *from = stage_folder(work->plan, "train", work->arena);
    if (!candidate || !candidate->images)
        return true;
    return train_checkpoint(*from, (uint64_t)candidate->images, work->arena, from, work->err) ||
           error_prefix(work->err, "the candidate %s", candidate->name);
}

/* The picture asked for; of each candidate one, by its name. */
static const char *picture(const struct stage_work *work, const char *png)
{
    if (!png || !work->plan->candidate)
        return png;
    size_t stem = strlen(png) - (text_ends_with(png, ".png") ? strlen(".png") : 0);
    return arena_format(work->arena, "%.*s-%s%s", (int)stem, png, work->plan->candidate->name,
                        png + stem);
}

/* The stage of a plan. */
static enum exit_code work_on(struct stage_work *work)
{
    const struct options *values = work->options;
    const char *from;
    if (work->plan->sample.made_elsewhere)
        return take(work, work->plan->sample.made_elsewhere, true);
    if (!stage_weights(work, &from))
        return EXIT_ERROR;
    struct sample_job job = { .from = from,
                              .out = work->folder,
                              .settings = &work->plan->sample,
                              .replace = true,
                              .waiting = stage_waiting };
    if (values) {
        job.grid = picture(work, values->png);
        job.grid_rows = (size_t)values->rows;
    }
    return draw(work, &job);
}

/* The run begins the drawing, and writes the store. */
static bool assist(struct stage_work *work, const char *device, bool *worked)
{
    struct sample_settings settings = work->plan->sample;
    uint64_t drawn = 0;
    const char *from;
    if (settings.made_elsewhere)
        return true;
    if (!stage_weights(work, &from))
        return false;
    if (device)
        settings.device = device;
    struct sample_job job = {
        .from = from, .out = work->folder, .settings = &settings, .command = work->command
    };
    bool ok = sample_assist(&job, &drawn, work->err);
    *worked = drawn;
    return ok;
}

const struct stage stage_sample = {
    .name = "sample",
    .folder = "synthetic",
    .product = "dataset.json",
    .needs = { "train" },
    .fields = sample_fields,
    .settings = offsetof(struct release_plan, sample),
    .add_inputs = add_inputs,
    .quick_inputs = true,
    .of_candidate = STAGE_DRAWS_CANDIDATE,
    .run = work_on,
    .assist = assist,
};

static enum exit_code join(struct invocation *invocation, const struct options *values)
{
    size_t count;
    struct stage_work work = stage_without_plan(invocation, values->out);
    bool ok = sample_join(values->join.items, values->join.count, values->out, &count, work.err);
    if (ok) {
        work.document = json_new_object();
        json_put_string(work.document, "store", values->out);
        json_put_integer(work.document, "images", (int64_t)count);
        text_format(&work.summary, "%s: %zu images of %zu parts\n", values->out, count,
                    values->join.count);
    }
    return stage_finish(invocation, &work, ok ? EXIT_YES : EXIT_ERROR);
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (values->join.count) {
        if (invocation->operand_count || values->from || !values->out)
            return command_refuse(invocation,
                                  "--join takes --out STORE, and neither plan nor --from");
        return join(invocation, values);
    }
    if (invocation->operand_count == 1) {
        if (values->from || values->out)
            return command_refuse(invocation, "give a plan, or --from and --out, not both");
        return stage_command(invocation, &stage_sample);
    }
    if (values->settings.made_elsewhere && values->out && !values->from) {
        struct stage_work work = stage_without_plan(invocation, values->out);
        return stage_finish(invocation, &work, take(&work, values->settings.made_elsewhere, false));
    }
    if (!values->from || !values->out || values->settings.made_elsewhere)
        return command_refuse(invocation, "give a plan, or --from FOLDER and --out STORE, or "
                                          "--made-elsewhere STORE and --out STORE");
    struct sample_job job = { .from = values->from,
                              .out = values->out,
                              .settings = &values->settings,
                              .grid = values->png,
                              .grid_rows = (size_t)values->rows };
    struct stage_work work = stage_without_plan(invocation, values->out);
    return stage_finish(invocation, &work, draw(&work, &job));
}

static void set_defaults(void *values)
{
    *(struct options *)values = (struct options){ .rows = 16, .settings = sample_defaults };
}

const struct command command_sample = {
    .name = "sample",
    .operands = "PLAN | --from FOLDER --out STORE | --join STORE,… --out STORE",
    .most_operands = 1,
    .summary = "draw a synthetic set from a trained generator",
    .details =
        "Image i depends on the weights, the seed and i alone, so a set may be drawn in parts.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
