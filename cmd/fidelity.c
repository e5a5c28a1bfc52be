/* lethe fidelity: do synthetic images look like patients' images, and are they as varied? */
#include "stages.h"

#include "audit/fidelity.h"
#include "audit/statistics.h"
#include "base/file.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct options {
    const char *train, *synthetic, *holdout, *subjects, *holdout_subjects, *out;
    struct fidelity_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(train, YAML_STRING, .metavar = "SET",
           .help = "training images: a store, a .npy file, a folder of PNG or NIfTI"),
    OPTION(synthetic, YAML_STRING, .metavar = "SET", .help = "the images to measure, likewise"),
    OPTION(holdout, YAML_STRING, .metavar = "SET",
           .help = "images of subjects never trained on (default: the training store's own)"),
    OPTION(subjects, YAML_STRING, .metavar = "CSV",
           .help = "of training: subject a row (.npy), or file,subject (PNG)"),
    OPTION(holdout_subjects, YAML_STRING, .metavar = "CSV", .help = "of the holdout, likewise"),
    OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "for the results; one is gone on with"),
    OPTION(settings, YAML_SECTION, .section = fidelity_fields),
    { 0 },
};

/* ---- telling --------------------------------------------------------------------------------- */

static double number(const struct json *object, const char *key)
{
    double value;
    return json_as_real(json_member(object, key), &value) ? value : NAN;
}

/* Right-aligned in so many columns; `wider`: bytes of the words that take none. */
static void add_cell(struct text *out, int columns, const char *words, size_t wider)
{
    text_format(out, "  %*s", columns + (int)wider, words);
}

/* A value, or a dash, and its interval, rounded so that it bounds; FID has none. */
static void add_number(struct text *out, const struct json *of, double value)
{
    char middle[TEXT_SHORT], low[TEXT_SHORT], high[TEXT_SHORT], both[3 * TEXT_SHORT] = "";
    snprintf(middle, sizeof middle, isnan(value) ? "–" : "%.4g", value);
    add_cell(out, 10, middle, isnan(value) ? strlen("–") - 1 : 0);
    if (!isnan(number(of, "lower95")))
        snprintf(both, sizeof both, "%s … %s", text_lower_bound(low, number(of, "lower95")),
                 text_upper_bound(high, number(of, "upper95")));
    add_cell(out, 23, both, *both ? strlen("…") - 1 : 0);
}

static bool add_measure(void *context, const char *name, const struct json *measure)
{
    struct text *out = context;
    const struct json *control = json_member(measure, "control");
    text_format(out, "%-15s", name);
    add_number(out, measure, number(measure, "value"));
    add_number(out, control,
               json_value_is_object(control) ? number(control, "value")
                                             : number(measure, "control"));
    while (out->bytes[out->length - 1] == ' ')
        out->bytes[--out->length] = '\0';
    text_add(out, "\n");
    return true;
}

/* As others give the inception score. */
static void add_splits(struct text *out, const struct json *score)
{
    const struct json *set = json_member(score, "splits"),
                      *control = json_member(json_member(score, "control"), "splits");
    if (isnan(number(set, "mean")))
        return;
    text_format(out, "inception score of %.0f splits: %.3f ± %.3f", number(set, "count"),
                number(set, "mean"), number(set, "sd"));
    if (!isnan(number(control, "mean")))
        text_format(out, "; control %.3f ± %.3f", number(control, "mean"), number(control, "sd"));
    text_add(out, "\n");
}

static void describe(const char *folder, const struct json *document, struct text *out)
{
    static const char *const against[][2] = { { "holdout", "held-out" },
                                              { "training", "training" } };
    const struct json *features = json_member(document, "features");
    bool random = number(features, "random") == 1;
    double candidates = number(document, "candidates");
    char interval[TEXT_SHORT];
    snprintf(interval, sizeof interval, "%.3g %% interval",
             100 * joint_confidence(isnan(candidates) ? 1 : (size_t)candidates));
    size_t channels = json_length(json_member(document, "channels"));
    text_format(out, "%s: %zu channel%s, features of %s with %s weights\n", folder, channels,
                channels == 1 ? "" : "s, averaged",
                json_as_string(json_member(features, "backbone")), random ? "random" : "trained");
    for (size_t a = 0; a < 2; a++) {
        const struct json *mean = json_member(json_member(document, "mean"), against[a][0]),
                          *of = json_member(json_member(document, "compared"), against[a][0]);
        if (!json_value_is_object(mean))
            continue;
        double subjects = number(of, "reference_subjects");
        text_format(out, "%.0f synthetic images against %.0f %s images of %.0f subject%s\n",
                    number(of, "images"), number(of, "reference_images"), against[a][1], subjects,
                    subjects == 1 ? "" : "s");
        text_format(out, "%-15s  %10s  %23s  %10s  %23s\n", "", "synthetic", interval, "control",
                    interval);
        json_each(mean, add_measure, out);
        add_splits(out, json_member(mean, "inception_score"));
    }
    text_add(out, "control: as many real images in place of the synthetic ones; lower is better "
                  "for kid and fid\n");
    if (json_has(features, "no_classes"))
        text_format(out, "inception_score: %s\n",
                    json_as_string(json_member(features, "no_classes")));
}

static enum exit_code measure(struct stage_work *work, const struct fidelity_job *job)
{
    struct fidelity_report report;
    if (!fidelity(job, &report, work->err))
        return EXIT_ERROR;
    command_warn("fidelity", report.warnings.bytes);
    describe(job->out, report.document, &work->summary);
    work->document = report.document; /* taken over */
    report.document = NULL;
    fidelity_report_release(&report);
    return EXIT_YES;
}

/* ---- the stage of a plan --------------------------------------------------------------------- */

static enum exit_code work_on(struct stage_work *work)
{
    struct fidelity_job job = { .train = stage_folder(work->plan, "ingest", work->arena),
                                .synthetic = stage_folder(work->plan, "sample", work->arena),
                                .out = work->folder,
                                .candidates = work->plan->candidate_count,
                                .settings = &work->plan->fidelity };
    return measure(work, &job);
}

static bool accepts(const struct release_plan *plan, struct error *err)
{
    return fidelity_settings_check(&plan->fidelity, err) ||
           error_prefix(err, "%s: fidelity", plan->path);
}

/* What the file of weights holds; where it lies is a setting. */
static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    const char *weights = fidelity_weights(&plan->fidelity);
    (void)arena;
    if (!weights)
        return true;
    if (!digest_file(weights, &digest, err))
        return false;
    text_format(inputs, "weights %s\n", digest_hex(&digest, hex));
    return true;
}

/* Features take time: lethe run has them computed where the plan's section says anything about it,
 * or the policy has a row that would fail without. */
static bool is_wanted(const struct release_plan *plan)
{
    struct fidelity_settings silent = fidelity_defaults;
    silent.seed = plan->fidelity.seed; /* may be the plan's own */
    return !yaml_same(fidelity_fields, &plan->fidelity, &silent) ||
           plan_policy_asks(plan, "fidelity");
}

const struct stage stage_fidelity = {
    .name = "fidelity",
    .folder = "fidelity",
    .product = "fidelity.json",
    .needs = { "ingest", "sample" },
    .fields = fidelity_fields,
    .settings = offsetof(struct release_plan, fidelity),
    .of_candidate = STAGE_JUDGES_CANDIDATE,
    .in_place = true,
    .accepts = accepts,
    .add_inputs = add_inputs,
    .is_wanted = is_wanted,
    .run = work_on,
};

/* ---- the command ----------------------------------------------------------------------------- */

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (invocation->operand_count == 1) {
        if (values->train || values->synthetic || values->holdout || values->subjects ||
            values->holdout_subjects || values->out)
            return command_refuse(invocation, "give a plan, or --train, --synthetic and --out, "
                                              "not both");
        return stage_command(invocation, &stage_fidelity);
    }
    if (!values->train || !values->synthetic || !values->out)
        return command_refuse(invocation,
                              "give a plan, or --train SET, --synthetic SET and --out FOLDER");
    struct fidelity_job job = { .train = values->train,
                                .synthetic = values->synthetic,
                                .holdout = values->holdout,
                                .subjects = values->subjects,
                                .holdout_subjects = values->holdout_subjects,
                                .out = values->out,
                                .settings = &values->settings };
    struct stage_work work = stage_without_plan(invocation, values->out);
    return stage_finish(invocation, &work, measure(&work, &job));
}

static void set_defaults(void *values)
{
    ((struct options *)values)->settings = fidelity_defaults;
}

const struct command command_fidelity = {
    .name = "fidelity",
    .operands = "PLAN | --train SET --synthetic SET --out FOLDER",
    .most_operands = 1,
    .summary = "measure whether a set looks like patients' images, and is as varied",
    .details =
        "Held against images never trained on, beside as many real ones as a control. Ctrl-C\n"
        "or a crash lose little: the same command goes on. No measure of privacy.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
