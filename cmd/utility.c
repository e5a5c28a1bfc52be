/* lethe utility: how well segmenters trained on a synthetic set do on real patients. */
#include "candidates.h"
#include "stages.h"

#include "audit/utility.h"
#include "base/json.h"
#include "plan/stage.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct options {
    const char *dataset, *holdout, *out;
    struct yaml_strings synthetic;
    struct utility_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(dataset, YAML_STRING, .metavar = "STORE",
           .help = "real images: the split train to learn from, holdout to be tested on"),
    OPTION(holdout, YAML_STRING, .metavar = "STORE",
           .help = "another store to be tested on (default: the dataset's own holdout)"),
    OPTION(synthetic, YAML_STRINGS, .metavar = "STORE",
           .help = "synthetic images; several as NAME=STORE"),
    OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "for the results; one is gone on with"),
    OPTION(settings, YAML_SECTION, .section = utility_fields),
    { 0 },
};

/* "NAME=STORE", or STORE where it is the only one. */
static bool take_stores(const struct yaml_strings *list, struct utility_job *job,
                        struct arena *arena, struct error *err)
{
    if (list->count > UTILITY_STORES)
        return error_set(err, "synthetic: %zu stores; at most %d can be given", list->count,
                         UTILITY_STORES);
    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        size_t length = equals ? (size_t)(equals - list->items[i]) : 0;
        if (list->count > 1 && !length)
            return error_set(err,
                             "synthetic: \"%s\" has no name; of several stores give each as "
                             "NAME=STORE",
                             list->items[i]);
        const char *name = arena_substring(arena, list->items[i], length);
        if (name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")])
            return error_set(err,
                             "synthetic: the name \"%s\"; letters, digits, _, - and . are "
                             "allowed",
                             name);
        job->synthetic[i] = (struct utility_store){ name, equals ? equals + 1 : list->items[i] };
    }
    job->synthetic_count = list->count;
    return true;
}

static double number(const struct json *object, const char *key)
{
    double value = 0;
    return json_get_real(object, key, &value, NULL) ? value : NAN;
}

/* "   0.812", or a dash where it is not defined. */
static void add_cell(struct text *out, int width, double value)
{
    if (isnan(value))
        text_format(out, "%*s–", width - 1, "");
    else
        text_format(out, "%*.3f", width, value);
}

static void add_interval(struct text *out, const struct json *of)
{
    text_add(out, "  ");
    add_cell(out, 6, number(of, "lower95"));
    text_add(out, " … ");
    add_cell(out, 6, number(of, "upper95"));
}

/* The entry of a list that is of the same kind, or NULL. */
static const struct json *entry_of(const struct json *list, const struct json *kind)
{
    static const char *const keys[] = { "source", "model", "augmentation" };
    for (size_t i = 0; i < json_length(list); i++) {
        bool same = true;
        for (int key = 0; key < 3; key++)
            same = same && strcmp(json_get_string(json_at(list, i), keys[key], NULL),
                                  json_get_string(kind, keys[key], NULL)) == 0;
        if (same)
            return json_at(list, i);
    }
    return NULL;
}

static void add_kind(struct text *out, const struct json *kind, const struct json *relative)
{
    const struct json *dice = json_get(kind, "dice", NULL);
    text_format(out, "%-24s %-5s %-6s ", json_get_string(kind, "source", NULL),
                json_get_string(kind, "model", NULL), json_get_string(kind, "augmentation", NULL));
    add_cell(out, 8, number(dice, "mean"));
    text_add(out, "  ");
    add_cell(out, 6, number(dice, "sd"));
    add_interval(out, dice);
    if (relative) {
        text_add(out, "  ");
        add_cell(out, 8, number(relative, "mean"));
        add_interval(out, relative);
    }
    text_add(out, "\n");
}

/* What the intervals rest on. */
static void add_tested(struct text *out, const struct json *counts)
{
    int64_t subjects = 0, scans = 0;
    (void)json_get_integer(counts, "holdout_subjects", &subjects, NULL);
    (void)json_get_integer(counts, "holdout_scans", &scans, NULL);
    text_format(out, "tested on %" PRId64 " subject%s", subjects, subjects == 1 ? "" : "s");
    if (scans != subjects)
        text_format(out, " (%" PRId64 " scans)", scans);
    if (subjects < UTILITY_SUBJECTS_FEW)
        text_add(out, subjects == 1 ? "; one alone gives no interval"
                                    : "; of so few, intervals are too narrow");
    text_add(out, "\n");
}

/* A line a kind of training: Dice with its interval, and relative to real images. */
static void summarise(const struct json *document, struct text *out)
{
    const struct json *summary = json_get_array(document, "summary", NULL);
    const struct json *relative = json_get_array(document, "relative_dice", NULL);
    text_format(out, "%-24s %-5s %-6s %8s  %6s  %15s  %8s  %15s\n", "source", "model", "augm.",
                "Dice", "sd", "95 % interval", "relative", "95 % interval");
    for (size_t i = 0; i < json_length(summary); i++)
        add_kind(out, json_at(summary, i), entry_of(relative, json_at(summary, i)));
    add_tested(out, json_get(document, "counts", NULL));
}

enum exit_code utility_measure(struct stage_work *work, const struct utility_job *job)
{
    struct utility_report report;
    if (!utility(job, &report, work->err))
        return EXIT_ERROR;
    text_format(&work->summary, "%s: %zu of %zu trainings done\n", job->out, report.done,
                report.trials);
    work->unfinished = !report.complete;
    if (report.complete) {
        summarise(report.document, &work->summary);
        work->document = report.document;
        report.document = NULL;
    }
    utility_report_release(&report);
    return EXIT_YES;
}

/* The finished audits of the plan's other candidates: what they trained on real images alone is
 * what this one would. */
_Static_assert((int)CANDIDATES_MAX <= (int)UTILITY_STORES, "each candidate may be a lender");
typedef bool is_whole(const char *folder, const char *stage, struct error *reason);
static void find_lenders(const struct stage_work *work, is_whole *whole, struct utility_job *job)
{
    for (size_t i = 0; i < work->plan->candidate_count; i++) {
        struct release_plan other = candidate_variant(work->plan, i);
        const char *folder = stage_folder(&other, "utility", work->arena);
        if (strcmp(folder, work->folder) != 0 && whole(folder, "utility", NULL))
            job->lenders[job->lender_count++] = folder;
    }
}

static struct utility_job job_of(const struct stage_work *work,
                                 const struct utility_settings *settings)
{
    return (struct utility_job){
        .dataset = stage_folder(work->plan, "ingest", work->arena),
        .synthetic = { { "", stage_folder(work->plan, "sample", work->arena) } },
        .synthetic_count = 1,
        .out = work->folder,
        .candidates = work->plan->candidate_count,
        .settings = settings
    };
}

/* The stage of a plan. */
static enum exit_code work_on(struct stage_work *work)
{
    struct utility_job job = job_of(work, &work->plan->utility);
    job.waiting = stage_waiting;
    find_lenders(work, stage_is_intact, &job);
    return utility_measure(work, &job);
}

/* What is trained on real images alone is trained for the first candidate, and lent to the others
 * when that one's audit is finished. */
static bool assist(struct stage_work *work, const char *device, bool *worked)
{
    struct utility_settings settings = work->plan->utility;
    struct utility_job job = job_of(work, &settings);
    job.command = work->command;
    job.lent_only = work->plan->candidate && work->plan->candidate != work->plan->candidates;
    settings.time_limit = 0; /* of the run */
    if (device)
        settings.device = device;
    find_lenders(work, stage_looks_intact, &job);
    return utility_assist(&job, worked, work->err);
}

static bool accepts(const struct release_plan *plan, struct error *err)
{
    return utility_settings_check(&plan->utility, err) || error_prefix(err, "%s", plan->path);
}

/* Training takes long: lethe run does it where the plan's section says anything about it, or the
 * policy has a row that would fail without. */
static bool is_wanted(const struct release_plan *plan)
{
    struct utility_settings silent = utility_defaults;
    silent.seed = plan->utility.seed; /* may be the plan's own */
    return !yaml_same(utility_fields, &plan->utility, &silent) || plan_policy_asks(plan, "utility");
}

const struct stage stage_utility = {
    .name = "utility",
    .folder = "utility",
    .product = "utility.json",
    .needs = { "ingest", "sample" },
    .fields = utility_fields,
    .settings = offsetof(struct release_plan, utility),
    .of_candidate = STAGE_JUDGES_CANDIDATE,
    .in_place = true,
    .accepts = accepts,
    .is_wanted = is_wanted,
    .run = work_on,
    .assist = assist,
};

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (invocation->operand_count == 1) {
        if (values->dataset || values->holdout || values->out || values->synthetic.count)
            return command_refuse(invocation,
                                  "give a plan, or --dataset, --synthetic and --out, not both");
        return stage_command(invocation, &stage_utility);
    }
    if (!values->dataset || !values->out)
        return command_refuse(invocation, "give a plan, or --dataset STORE --synthetic STORE "
                                          "--out FOLDER");
    struct utility_job job = { .dataset = values->dataset,
                               .holdout = values->holdout,
                               .out = values->out,
                               .settings = &values->settings };
    if (!take_stores(&values->synthetic, &job, &invocation->arena, &invocation->err))
        return command_failed(invocation);
    struct stage_work work = stage_without_plan(invocation, values->out);
    enum exit_code code = stage_finish(invocation, &work, utility_measure(&work, &job));
    if (work.unfinished)
        fprintf(stderr, "lethe utility: not all trainings are done; the same command goes on\n");
    return code;
}

static void set_defaults(void *values)
{
    ((struct options *)values)->settings = utility_defaults;
}

const struct command command_utility = {
    .name = "utility",
    .operands = "PLAN | --dataset STORE --synthetic STORE --out FOLDER",
    .most_operands = 1,
    .summary = "measure what a synthetic set is worth: train segmenters, test on real patients",
    .details = "Ctrl-C, a time limit or a crash lose little: the same command goes on. Several\n"
               "processes may work in one folder, each takes the next training.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
