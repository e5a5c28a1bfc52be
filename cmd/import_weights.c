/* lethe import-weights: a published checkpoint becomes one that lethe samples from. */
#include "command.h"

#include "base/json.h"
#include "train/import.h"

#include <stdio.h>
#include <string.h>

struct options {
    const char *weights, *out, *channels;
    int64_t size;
    struct train_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(weights, YAML_STRING, .metavar = "FILE",
           .help = "safetensors: the state of G_ema, or of the averaged U-Net"),
    OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "folder to make; lethe sample takes it"),
    OPTION(size, YAML_INTEGER, .minimum = 8, .maximum = 4096, .metavar = "SIDE",
           .help = "of the images, in pixels"),
    OPTION(channels, YAML_STRING, .metavar = "NAME,NAME",
           .help = "of the images; a last one named seg is the mask"),
    OPTION(settings, YAML_SECTION, .section = train_fields),
    { 0 },
};

static void print(const struct invocation *invocation, const struct options *values,
                  const struct import_report *report)
{
    if (!invocation->json) {
        printf("%s: %zu tensors taken, %zu passed over\n", values->out, report->taken,
               report->passed_over);
        return;
    }
    struct json *document = json_new_object();
    json_put_string(document, "folder", values->out);
    json_put_integer(document, "taken", (int64_t)report->taken);
    json_put_integer(document, "passed_over", (int64_t)report->passed_over);
    command_print(document);
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (!values->weights || !values->out || !values->channels || !values->size)
        return command_refuse(invocation, "give --weights, --out, --size and --channels");
    struct import_job job = { values->weights, values->out, &values->settings, (int)values->size,
                              values->channels };
    struct import_report report = { 0 };
    bool ok = import_weights(&job, &report, &invocation->err);
    if (ok)
        print(invocation, values, &report);
    else if (report.differences.length)
        fputs(report.differences.bytes, stderr);
    import_report_release(&report);
    return ok ? EXIT_YES : command_failed(invocation);
}

static void set_defaults(void *values)
{
    ((struct options *)values)->settings = train_defaults;
}

const struct command command_import_weights = {
    .name = "import-weights",
    .summary = "take weights of the official implementations, to sample from",
    .operands = "--weights FILE --out FOLDER --size SIDE --channels NAME,NAME",
    .details = "Every tensor must be used, none be missing, and all shapes be equal; each "
               "difference is listed.\nOf the settings below only those of the network matter.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .run = run,
};
