/* lethe segment: label scans with a trained segmenter. */
#include "command.h"

#include "audit/predict.h"
#include "base/json.h"

#include <stdio.h>

struct options {
    const char *weights, *source, *out, *device;
    struct yaml_strings channels;
    int64_t canvas;
    int layout;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

/* The first of layout_names: those of volumes. */
static const char *const volume_layouts[] = { "auto", "brats", "bids", "glob", NULL };

static const struct yaml_field options[] = {
    OPTION(weights, YAML_STRING, .metavar = "FOLDER",
           .help = "a training of lethe utility (trials/NAME), or a checkpoint"),
    OPTION(source, YAML_STRING, .metavar = "FOLDER", .help = "scans, as lethe ingest reads them"),
    OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "folder to write; must not exist"),
    OPTION(layout, YAML_CHOICE, .choices = volume_layouts,
           .help = "how files are named; auto recognises all but glob"),
    OPTION(channels, YAML_STRINGS, .metavar = "NAME=PATTERN",
           .help = "glob: those of the training, in their order, with a pattern each"),
    OPTION(canvas, YAML_INTEGER, .minimum = 0, .maximum = 32768, .metavar = "PIXELS",
           .help =
               "as ingested with; 0: the size of training where planes fit, else the power of two"),
    OPTION(device, YAML_STRING, .metavar = "DEVICE",
           .help = "cpu, cuda, cuda:N or auto: a GPU where there is one (default auto)"),
    { 0 },
};

static void print_json(const struct options *values, const struct predict_report *report, bool ok)
{
    struct json *document = json_new_object();
    json_put_bool(document, "ok", ok);
    if (ok)
        json_put_string(document, "folder", values->out);
    json_put_integer(document, "scans", (int64_t)report->scans);
    json_put_integer(document, "planes", (int64_t)report->planes);
    json_put_integer(document, "spacing_assumed", (int64_t)report->assumed);
    json_put(document, "problems", problems_json(&report->problems));
    command_print(document);
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (!values->weights || !values->source || !values->out)
        return command_refuse(invocation,
                              "give --weights FOLDER, --source FOLDER and --out FOLDER");
    struct predict_job job = {
        .weights = values->weights,
        .source = values->source,
        .out = values->out,
        .layout = (enum layout)values->layout,
        .channels = values->channels,
        .canvas = values->canvas,
        .device = values->device,
    };
    struct predict_report report;
    bool ok = predict_folder(&job, &report, &invocation->err);
    for (size_t i = 0; i < report.problems.count; i++)
        fprintf(stderr, "%s: %s %s\n", report.problems.items[i].subject,
                report.problems.items[i].file, report.problems.items[i].reason);
    if (ok && report.assumed)
        fprintf(stderr, "lethe segment: %zu scans state no spacing; their masks are of 1 mm\n",
                report.assumed);
    if (invocation->json)
        print_json(values, &report, ok);
    else if (ok)
        printf("%s: masks of %zu scans, %zu planes\n", values->out, report.scans, report.planes);
    predict_report_release(&report);
    return ok ? EXIT_YES : command_failed(invocation);
}

const struct command command_segment = {
    .name = "segment",
    .operands = "--weights FOLDER --source FOLDER --out FOLDER",
    .summary = "label scans with a trained segmenter, as NIfTI masks",
    .details =
        "Masks have the shape, spacing and place of their scans: lay them over in any viewer.",
    .options = options,
    .size = sizeof(struct options),
    .run = run,
};
