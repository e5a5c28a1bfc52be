/* lethe sample: from a trained generator to a synthetic dataset store. */
#include "command.h"
#include "plan.h"

#include "base/json.h"
#include "base/progress.h"
#include "base/text.h"
#include "plan/stage.h"

#include <inttypes.h>
#include <stdio.h>

struct options {
    const char *from, *out, *png;
    int64_t rows;
    struct sample_settings settings;
};

#define OPTION(name, kind_, ...)                                                                   \
    {                                                                                              \
        .key = #name, .kind = kind_, .offset = offsetof(struct options, name), __VA_ARGS__         \
    }

static const struct yaml_field options[] = {
    OPTION(from, YAML_STRING, .metavar = "FOLDER",
           .help = "folder of training, whose latest checkpoint is taken, or a checkpoint"),
    OPTION(out, YAML_STRING, .metavar = "STORE", .help = "folder to write; must not exist"),
    OPTION(png, YAML_STRING, .metavar = "FILE", .help = "draw images of the set, a row each"),
    OPTION(rows, YAML_INTEGER, .minimum = 1, .maximum = 1000, .metavar = "N",
           .help = "of that drawing (default 16)"),
    OPTION(settings, YAML_SECTION, .section = sample_fields),
    { 0 },
};

static void print_json(const struct sample_job *job, const struct sample_report *report)
{
    struct json *document = json_new_object();
    json_put_string(document, "store", job->out);
    json_put_integer(document, "images", job->settings->count);
    json_put_integer(document, "first", job->settings->first);
    json_put_string(document, "model", report->model);
    json_put_integer(document, "trained_steps", (int64_t)report->step);
    json_put_string(document, "weights", report->weights);
    json_put_real(document, "seconds", report->seconds);
    char *text = json_text(document);
    fputs(text, stdout);
    memory_free(text);
    json_free(document);
}

static enum exit_code run_job(struct invocation *invocation, const struct sample_job *job)
{
    struct sample_report report;
    if (!sample(job, &report, &invocation->err))
        return command_failed(invocation);
    if (invocation->json)
        print_json(job, &report);
    else
        printf("%s: %" PRId64 " images of %s after %" PRIu64 " steps\n", job->out,
               job->settings->count, report.model, report.step);
    return EXIT_YES;
}

/* The weights as training recorded them, and the settings. */
static bool inputs_digest(const struct sample_job *job, struct arena *arena, struct digest *digest,
                          struct error *err)
{
    struct digest weights;
    char hex[DIGEST_HEX];
    if (!digest_file(path_join(arena, job->from, "stage.json"), &weights, err))
        return error_prefix(err, "training has not ended");
    struct text text = { 0 };
    text_format(&text, "training %s\n", digest_hex(&weights, hex));
    yaml_describe(sample_fields, job->settings, &text);
    *digest = digest_of(text.bytes, text.length);
    text_release(&text);
    return true;
}

/* The stage of a plan: skipped while its record still holds. */
static enum exit_code run_plan(struct invocation *invocation, const struct options *values)
{
    struct release_plan plan;
    struct digest inputs;
    struct arena *arena = &invocation->arena;
    struct error *err = &invocation->err;
    if (!plan_load(invocation->operands[0], &plan, arena, err))
        return command_failed(invocation);
    struct sample_job job = { .from = path_join(arena, plan.run, "train"),
                              .out = path_join(arena, plan.run, "samples"),
                              .settings = &plan.sample,
                              .replace = true,
                              .grid = values->png,
                              .grid_rows = (size_t)values->rows };
    if (!inputs_digest(&job, arena, &inputs, err))
        return command_failed(invocation);
    if (stage_is_current(job.out, "sample", &inputs, NULL)) {
        fprintf(stderr, "lethe sample: %s is up to date\n", job.out);
        return EXIT_YES;
    }
    double started = clock_seconds();
    enum exit_code code = run_job(invocation, &job);
    if (code == EXIT_YES &&
        !stage_record(job.out, "sample", &inputs, clock_seconds() - started, err))
        return command_failed(invocation);
    return code;
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (invocation->operand_count == 1) {
        if (values->from || values->out)
            return command_refuse(invocation, "give a plan, or --from and --out, not both");
        return run_plan(invocation, values);
    }
    if (!values->from || !values->out)
        return command_refuse(invocation, "give a plan, or --from FOLDER and --out STORE");
    struct sample_job job = { .from = values->from,
                              .out = values->out,
                              .settings = &values->settings,
                              .grid = values->png,
                              .grid_rows = (size_t)values->rows };
    return run_job(invocation, &job);
}

static void set_defaults(void *values)
{
    *(struct options *)values = (struct options){ .rows = 16, .settings = sample_defaults };
}

const struct command command_sample = {
    .name = "sample",
    .operands = "PLAN | --from FOLDER --out STORE",
    .most_operands = 1,
    .summary = "draw a synthetic set from a trained generator",
    .details =
        "Image i depends on the weights, the seed and i alone, so a set may be drawn in parts.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .run = run,
};
