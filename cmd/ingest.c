/* lethe ingest: from a folder of scans to a dataset store. */
#include "command.h"
#include "plan.h"

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/text.h"
#include "plan/stage.h"

#include <stdio.h>
#include <string.h>

struct options {
    const char *out;
    struct ingest_settings settings;
};

static const struct yaml_field options[] = {
    { .key = "out",
      .kind = YAML_STRING,
      .offset = offsetof(struct options, out),
      .metavar = "STORE",
      .help = "folder to write; must not exist" },
    { .key = "settings",
      .kind = YAML_SECTION,
      .offset = offsetof(struct options, settings),
      .section = ingest_fields },
    { 0 },
};

static void print_json(const char *out, const struct ingest_report *report, bool ok)
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
    command_print(document);
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

static void print_summary(const char *out, const struct ingest_report *report)
{
    printf("%s: %zu images of %zu subjects (layout %s)\n", out, report->images, report->subjects,
           report->layout);
    for (int split = 0; split < SPLIT_COUNT; split++)
        if (report->subjects_in[split] && split != SPLIT_NONE)
            printf("  %-10s %6zu images of %zu subjects\n", split_names[split],
                   report->images_in[split], report->subjects_in[split]);
}

static enum exit_code write_store(struct invocation *invocation,
                                  const struct ingest_settings *settings, const char *out,
                                  bool replace)
{
    struct ingest_report report;
    bool ok = ingest(settings, out, replace, &report, &invocation->err);
    print_problems(&report.problems, ok);
    if (invocation->json)
        print_json(out, &report, ok);
    else if (ok)
        print_summary(out, &report);
    ingest_report_release(&report);
    return ok ? EXIT_YES : command_failed(invocation);
}

/* The stage of a plan: skipped while its record still holds. */
static enum exit_code run_plan(struct invocation *invocation, const char *path)
{
    struct release_plan plan;
    struct digest inputs;
    struct error *err = &invocation->err;
    if (!plan_load(path, &plan, &invocation->arena, err))
        return command_failed(invocation);
    if (path_is_inside(plan.run, plan.ingest.source))
        return command_refuse(
            invocation,
            "the run folder %s lies among the scans (%s), which would then change "
            "with every run; set run to a folder elsewhere",
            plan.run, plan.ingest.source);
    if (!ingest_inputs_digest(&plan.ingest, &inputs, err) || !folder_create(plan.run, err))
        return command_failed(invocation);
    const char *out = path_join(&invocation->arena, plan.run, "dataset");
    if (stage_is_current(out, "ingest", &inputs, NULL)) {
        fprintf(stderr, "lethe ingest: %s is up to date\n", out);
        return EXIT_YES;
    }
    double started = clock_seconds();
    enum exit_code code = write_store(invocation, &plan.ingest, out, true);
    if (code == EXIT_YES && !stage_record(out, "ingest", &inputs, clock_seconds() - started, err))
        return command_failed(invocation);
    return code;
}

/* An option beside a plan would be silently passed over. */
static bool are_defaults(const struct ingest_settings *settings)
{
    struct text given = { 0 }, defaults = { 0 };
    yaml_describe(ingest_fields, settings, &given);
    yaml_describe(ingest_fields, &ingest_defaults, &defaults);
    bool same = strcmp(given.bytes, defaults.bytes) == 0;
    text_release(&given);
    text_release(&defaults);
    return same;
}

static enum exit_code run(struct invocation *invocation)
{
    struct options *values = invocation->values;
    if (invocation->operand_count == 1) {
        if (values->out || !are_defaults(&values->settings))
            return command_refuse(invocation, "give a plan, or --source and --out with the options "
                                              "that a plan would hold, not both");
        return run_plan(invocation, invocation->operands[0]);
    }
    if (!*values->settings.source || !values->out)
        return command_refuse(invocation, "give a plan, or --source FOLDER and --out STORE");
    return write_store(invocation, &values->settings, values->out, false);
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
    .run = run,
};
