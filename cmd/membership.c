/* lethe membership: does the model itself give away whom it was trained on? */
#include "candidates.h"
#include "stages.h"

#include "audit/membership.h"
#include "audit/statistics.h"
#include "base/file.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct options {
    const char *from, *dataset, *holdout, *out;
    struct yaml_strings reference;
    int weights;
    struct membership_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(from, YAML_STRING, .metavar = "FOLDER",
           .help = "folder of training, whose latest checkpoint is taken, or a checkpoint"),
    OPTION(weights, YAML_CHOICE, .choices = weights_names,
           .help = "which checkpoint of the folder; best: by validation loss, ddpm only"),
    OPTION(dataset, YAML_STRING, .metavar = "STORE", .help = "what the model was trained on"),
    OPTION(holdout, YAML_STRING, .metavar = "STORE",
           .help = "images of subjects never trained on (default: the dataset's own)"),
    OPTION(reference, YAML_STRINGS, .metavar = "FOLDER,FOLDER",
           .help = "trained beside it (lethe train --reference): calibrate scores by these"),
    OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "for the results; one is gone on with"),
    OPTION(settings, YAML_SECTION, .section = membership_fields),
    { 0 },
};

/* ---- telling --------------------------------------------------------------------------------- */

static double number(const struct json *object, const char *key)
{
    double value;
    return json_as_real(json_member(object, key), &value) ? value : NAN;
}

/* A value in 10 columns and its interval in 20, rounded so that it bounds. */
static void add_number(struct text *out, const struct json *of)
{
    char low[TEXT_SHORT], high[TEXT_SHORT], both[3 * TEXT_SHORT] = "–";
    if (!isnan(number(of, "lower95")))
        snprintf(both, sizeof both, "%s … %s", text_lower_bound(low, number(of, "lower95")),
                 text_upper_bound(high, number(of, "upper95")));
    text_format(out, "  %8.3f  %*s", number(of, "value"), 19 + 2, both);
}

static bool is_supported(const struct json *rate)
{
    return number(rate, "supported") == 1;
}

/* One measure of images and of subjects, side by side. */
static void add_measure(struct text *out, const struct json *document, const char *key,
                        const char *name)
{
    const struct json *images = json_member(json_member(document, "images"), key),
                      *subjects = json_member(json_member(document, "subjects"), key);
    bool rate = json_has(images, "supported");
    text_format(out, "%-22s", name);
    add_number(out, images);
    add_number(out, subjects);
    if (rate && (!is_supported(images) || !is_supported(subjects)))
        text_format(out, "  too few held-out %s for such a rate",
                    is_supported(images) ? "subjects" : "images");
    text_add(out, "\n");
}

static void add_chance(struct text *out, const struct json *document)
{
    static const char *const units[] = { "images", "subjects" };
    text_format(out, "%-22s", "AUC as high by chance");
    for (int u = 0; u < 2; u++) {
        double chance = number(json_member(document, units[u]), "by_chance");
        char shown[TEXT_SHORT] = "–";
        if (!isnan(chance))
            snprintf(shown, sizeof shown, "%.3g", chance);
        text_format(out, "  %*s%*s", isnan(chance) ? 8 + 2 : 8, shown, u ? 0 : 21, "");
    }
    text_add(out, "\n");
}

static void add_control(struct text *out, const struct json *control)
{
    if (!json_value_is_object(control))
        return;
    text_format(out, "%-22s", "AUC of held-out halves");
    add_number(out, json_member(json_member(control, "images"), "auc"));
    add_number(out, json_member(json_member(control, "subjects"), "auc"));
    text_add(out, "\n");
}

/* All that was measured by scores of one kind. */
static void add_found(struct text *out, const struct json *of, const char *interval)
{
    text_format(out, "%-22s  %8s  %19s  %8s  %19s\n", "", "images", interval, "subjects", interval);
    add_measure(out, of, "auc", "AUC");
    add_chance(out, of);
    add_measure(out, of, "tpr_at_1_percent", "found, 1 % wrongly");
    add_measure(out, of, "tpr_at_0_1_percent", "found, 0.1 % wrongly");
    add_control(out, json_member(of, "control"));
}

static void add_calibrated(struct text *out, const struct json *calibrated, const char *interval)
{
    size_t count = json_length(json_member(calibrated, "references"));
    const struct json *left = json_member(calibrated, "not_judged");
    text_format(out, "beside %zu %s that left the patient out", count,
                count == 1 ? "reference" : "references");
    if (number(left, "train") + number(left, "holdout") > 0)
        text_format(out, " (%.0f and %.0f images were left out by none)", number(left, "train"),
                    number(left, "holdout"));
    text_add(out, "\n");
    add_found(out, calibrated, interval);
}

static void describe(const char *folder, const struct json *document, struct text *out)
{
    const struct json *model = json_member(document, "model"),
                      *counts = json_member(document, "counts"),
                      *train = json_member(counts, "train"),
                      *holdout = json_member(counts, "holdout");
    double candidates = number(document, "candidates");
    char interval[TEXT_SHORT];
    snprintf(interval, sizeof interval, "%.3g %% interval",
             100 * joint_confidence(isnan(candidates) ? 1 : (size_t)candidates));
    text_format(out, "%s: %s after %.0f steps, scores by %s\n", folder,
                json_as_string(json_member(model, "name")), number(model, "step"),
                json_as_string(json_member(model, "score")));
    text_format(out, "%.0f training images of %.0f subjects against %.0f held-out images of %.0f\n",
                number(train, "scored"), number(train, "subjects"), number(holdout, "scored"),
                number(holdout, "subjects"));
    add_found(out, document, interval);
    if (json_has(document, "calibrated"))
        add_calibrated(out, json_member(document, "calibrated"), interval);
    text_add(out, "(an AUC of .5 would be a model whose scores tell nobody from others)\n");
}

static enum exit_code measure(struct stage_work *work, const struct membership_job *job)
{
    struct membership_report report;
    if (!membership(job, &report, work->err))
        return EXIT_ERROR;
    command_warn("membership", report.warnings.bytes);
    describe(job->out, report.document, &work->summary);
    work->document = report.document; /* taken over */
    report.document = NULL;
    membership_report_release(&report);
    return EXIT_YES;
}

/* ---- the stage of a plan --------------------------------------------------------------------- */

static enum exit_code work_on(struct stage_work *work)
{
    const struct release_plan *plan = work->plan;
    struct membership_job job = { .weights = plan->sample.weights,
                                  .train = stage_folder(plan, "ingest", work->arena),
                                  .references = references_of(plan, work->arena),
                                  .out = work->folder,
                                  .candidates = plan->candidate_count,
                                  .settings = &plan->membership };
    return stage_weights(work, &job.from) ? measure(work, &job) : EXIT_ERROR;
}

static bool accepts(const struct release_plan *plan, struct error *err)
{
    static const char calibrated[] = "membership.calibrated.";
    const struct policy_row *rows = plan->policy.rows.items;
    for (size_t i = 0; i < plan->policy.rows.count; i++)
        if (!plan->references.count && text_starts_with(rows[i].metric, calibrated))
            return error_set(
                err,
                "%s: policy row %zu: %s is measured beside references; ask for a pair: "
                "references: { count: 2 }",
                plan->path, i + 1, rows[i].metric);
    return !plan->sample.made_elsewhere || !stage_membership.is_wanted(plan) ||
           error_set(err,
                     "%s: membership asks the model itself, and sample: { made_elsewhere } takes a "
                     "set whose model is not here",
                     plan->path);
}

/* Which checkpoint it is, as for drawing; checkpoints themselves are what training made. */
static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    (void)arena;
    (void)err;
    text_format(inputs, "weights %s\nimages %" PRId64 "\n", weights_names[plan->sample.weights],
                plan->candidate ? plan->candidate->images : 0);
    if (plan->references.count) /* their folder may hold more, which were asked for once */
        text_format(inputs, "references %" PRId64 "\n", plan->references.count);
    return true;
}

/* Scores take time: lethe run has them computed where the plan's section says anything about it,
 * there are references, or the policy has a row that would fail without. */
static bool is_wanted(const struct release_plan *plan)
{
    struct membership_settings silent = membership_defaults;
    silent.seed = plan->membership.seed; /* may be the plan's own */
    return plan->references.count || !yaml_same(membership_fields, &plan->membership, &silent) ||
           plan_policy_asks(plan, "membership");
}

const struct stage stage_membership = {
    .name = "membership",
    .folder = "membership",
    .product = "membership.json",
    .needs = { "ingest", "train", "references" },
    .fields = membership_fields,
    .settings = offsetof(struct release_plan, membership),
    .of_candidate = STAGE_JUDGES_CANDIDATE,
    .in_place = true,
    .accepts = accepts,
    .add_inputs = add_inputs,
    .quick_inputs = true,
    .is_wanted = is_wanted,
    .run = work_on,
};

/* ---- the command ----------------------------------------------------------------------------- */

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (invocation->operand_count == 1) {
        if (values->from || values->dataset || values->holdout || values->out || values->weights ||
            values->reference.count)
            return command_refuse(invocation, "give a plan, or --from, --dataset and --out, not "
                                              "both");
        return stage_command(invocation, &stage_membership);
    }
    if (!values->from || !values->dataset || !values->out)
        return command_refuse(invocation,
                              "give a plan, or --from FOLDER, --dataset STORE and --out "
                              "FOLDER");
    struct membership_job job = { .from = values->from,
                                  .weights = values->weights,
                                  .train = values->dataset,
                                  .holdout = values->holdout,
                                  .references = values->reference,
                                  .out = values->out,
                                  .settings = &values->settings };
    struct stage_work work = stage_without_plan(invocation, values->out);
    return stage_finish(invocation, &work, measure(&work, &job));
}

static void set_defaults(void *values)
{
    ((struct options *)values)->settings = membership_defaults;
}

const struct command command_membership = {
    .name = "membership",
    .operands = "PLAN | --from FOLDER --dataset STORE --out FOLDER",
    .most_operands = 1,
    .summary = "measure whether a model gives away whom it was trained on",
    .details =
        "The model is asked about each image of training, and of subjects never trained on; how\n"
        "well the answers tell them apart. Ctrl-C or a crash lose little: the same command goes\n"
        "on. About the weights, not about images that were drawn.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
