/* lethe ingest: from a folder of scans to a dataset store. */
#include "stages.h"

#include "base/file.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>

struct options {
    const char *out;
    struct ingest_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(out, YAML_STRING, .metavar = "STORE", .help = "folder to write; must not exist"),
    OPTION(settings, YAML_SECTION, .section = ingest_fields),
    { 0 },
};

static struct json *describe(const char *out, const struct ingest_report *report, bool ok)
{
    struct json *document = json_new_object(), *splits = json_new_object();
    json_put_bool(document, "ok", ok);
    if (ok)
        json_put_string(document, "store", out);
    json_put_string(document, "layout", report->layout ? report->layout : "");
    json_put_integer(document, "subjects", (int64_t)report->subjects);
    json_put_integer(document, "images", (int64_t)report->images);
    for (int split = 0; split < SPLIT_COUNT; split++)
        if (report->subjects_in[split])
            json_put_integer(splits, split_names[split], (int64_t)report->images_in[split]);
    json_put(document, "images_in", splits);
    json_put(document, "problems", problems_json(&report->problems));
    return document;
}

/* Every problem, a line each, by subject. */
static void print_problems(const struct problems *problems, bool skipped)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];
        fprintf(stderr, "%s %s: %s%s%s\n", skipped ? "skipped" : "bad subject", problem->subject,
                problem->file, *problem->file ? ": " : "", problem->reason);
    }
}

static void summarise(const char *out, const struct ingest_report *report, struct text *summary)
{
    text_format(summary, "%s: %zu images of %zu subject%s (layout %s)\n", out, report->images,
                report->subjects, report->subjects == 1 ? "" : "s", report->layout);
    for (int split = 0; split < SPLIT_COUNT; split++)
        if (report->subjects_in[split] && split != SPLIT_NONE)
            text_format(summary, "  %-10s %6zu images of %zu subject%s\n", split_names[split],
                        report->images_in[split], report->subjects_in[split],
                        report->subjects_in[split] == 1 ? "" : "s");
}

/* Of 0 … 255: images of 16 bits that stay below have fewer bits than that, 12 often. */
enum { LEAST_OF_RANGE = 64 };
/* Overshoot of a resampling stays above −5 % of the maximum; z-scores and CT do not. */
static const double below_most = 0.05;
/* Scanners of one protocol differ by less in the side of a pixel. */
static const double pixel_ratio_most = 1.25;

/* What was done that is not wrong, and may not be what was meant. */
static void print_notes(const struct ingest_report *report)
{
    if (report->foreign)
        fprintf(stderr, "of the files in the source %s\n", report->foreign);
    if (report->subjects_unknown)
        fprintf(stderr,
                "no subjects are known, so each image counts as a subject of its own: slices of "
                "one patient may stand in training and in the holdout, which makes the thresholds "
                "of an audit too lenient. Say whose they are with --subjects-file\n");
    if (report->deep > 0 && report->deep < LEAST_OF_RANGE)
        fprintf(stderr,
                "the brightest pixel of these 16-bit images is %.0f of 65535, so a store of uint8 "
                "keeps %.0f greys of them. Multiply all images, those to be compared with them "
                "too, by one number so that they fill the range, or give --type uint16\n",
                257 * report->deep, floor(report->deep + 0.5) + 1);
    if (report->below.value > below_most)
        fprintf(stderr,
                "values below 0 become black: those of %s reach %.0f %% as far below 0 as what "
                "becomes 255 lies above. Where they mean something (CT, z-scores), shift and cut "
                "all volumes to a range from 0 up before\n",
                report->below.subject, 100 * report->below.value);
    if (report->greatest_pixel.value > pixel_ratio_most * report->least_pixel.value)
        fprintf(stderr,
                "pixels are %.3g mm (%s) to %.3g mm (%s) a side, and an image keeps those of its "
                "scan: heads come out stretched, or of other sizes. Resample all scans to one "
                "spacing before, or choose another --plane\n",
                report->least_pixel.value, report->least_pixel.subject,
                report->greatest_pixel.value, report->greatest_pixel.subject);
}

static enum exit_code write_store(struct stage_work *work, const struct ingest_settings *settings,
                                  bool replace)
{
    struct ingest_report report;
    bool ok = ingest(settings, work->folder, replace, &report, work->err);
    print_problems(&report.problems, ok);
    if (ok)
        print_notes(&report);
    if (report.partly_skipped)
        fprintf(stderr,
                "of %zu of these subjects other scans are in the store; a subject is left out as a "
                "whole by taking it out of the source\n",
                report.partly_skipped);
    work->document = describe(work->folder, &report, ok);
    if (ok)
        summarise(work->folder, &report, &work->summary);
    ingest_report_release(&report);
    return ok ? EXIT_YES : EXIT_ERROR;
}

/* ---- the stage of a plan --------------------------------------------------------------------- */

static bool accepts(const struct release_plan *plan, struct error *err)
{
    return !path_is_inside(plan->run, plan->ingest.source) ||
           error_set(err,
                     "the run folder %s lies among the scans (%s), which would then change "
                     "with every run; set run to a folder elsewhere",
                     plan->run, plan->ingest.source);
}

/* Settings, names and contents of the scans. */
static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    (void)arena;
    if (!ingest_inputs_digest(&plan->ingest, &digest, err))
        return false;
    text_format(inputs, "scans %s\n", digest_hex(&digest, hex));
    return true;
}

static enum exit_code work_on(struct stage_work *work)
{
    return write_store(work, &work->plan->ingest, true);
}

const struct stage stage_ingest = {
    .name = "ingest",
    .folder = "dataset",
    .product = "dataset.json",
    .accepts = accepts,
    .add_inputs = add_inputs,
    .run = work_on,
};

/* ---- the command ----------------------------------------------------------------------------- */

static enum exit_code run(struct invocation *invocation)
{
    struct options *values = invocation->values;
    if (invocation->operand_count == 1) {
        if (values->out)
            return command_refuse(invocation, "give a plan, or --source and --out, not both");
        return stage_command(invocation, &stage_ingest);
    }
    if (!*values->settings.source || !values->out)
        return command_refuse(invocation, "give a plan, or --source FOLDER and --out STORE");
    struct stage_work work = stage_without_plan(invocation, values->out);
    return stage_finish(invocation, &work, write_store(&work, &values->settings, false));
}

static void set_defaults(void *values)
{
    ((struct options *)values)->settings = ingest_defaults;
}

const struct command command_ingest = {
    .name = "ingest",
    .operands = "PLAN | --source FOLDER --out STORE",
    .most_operands = 1,
    .summary = "turn a folder of scans into a dataset store, split by subject",
    .details = "Every bad subject is listed and nothing is written, unless --on-bad skip.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
