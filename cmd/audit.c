/* lethe audit: does a synthetic set hold copies of the patients that its generator was trained on?
 */
#include "stages.h"

#include "audit/memorization.h"
#include "base/file.h"
#include "base/json.h"
#include "release/policy.h"

#include <stdio.h>

struct options {
    const char *train, *synthetic, *holdout, *subjects, *holdout_subjects, *out, *policy;
    bool utility;
    const char *utility_settings;
    struct audit_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(train, YAML_STRING, .metavar = "SET",
           .help = "training images: a store, a .npy file, a folder of PNG or NIfTI"),
    OPTION(synthetic, YAML_STRING, .metavar = "SET", .help = "the images to audit, likewise"),
    OPTION(holdout, YAML_STRING, .metavar = "SET",
           .help = "images of subjects never trained on (default: the training store's own)"),
    OPTION(subjects, YAML_STRING, .metavar = "CSV",
           .help = "of training: subject a row (.npy), or file,subject (PNG)"),
    OPTION(holdout_subjects, YAML_STRING, .metavar = "CSV", .help = "of the holdout, likewise"),
    OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "folder to write; must not exist"),
    OPTION(policy, YAML_STRING, .metavar = "FILE",
           .help =
               "a policy to be recorded before anything is measured (default: lethe package's)"),
    OPTION(utility, YAML_BOOL, .help = "measure what the set is worth, too, as lethe utility does"),
    OPTION(utility_settings, YAML_STRING, .metavar = "FILE",
           .help = "what a plan's section utility would say (YAML)"),
    OPTION(settings, YAML_SECTION, .section = audit_fields),
    { 0 },
};

static enum exit_code run_job(struct stage_work *work, const struct audit_job *job)
{
    struct audit_report report;
    if (!audit(job, &report, work->err))
        return EXIT_ERROR;
    command_warn("audit", report.warnings.bytes);
    work->document = report.document; /* taken over */
    work->summary = report.summary;
    report.document = NULL;
    report.summary = (struct text){ 0 };
    audit_report_release(&report);
    return EXIT_YES;
}

/* ---- the stage of a plan ----------------------------------------------------------------------
 */

static const char *policy_sha256(const struct policy_settings *policy, char hex[DIGEST_HEX])
{
    struct digest digest;
    policy_digest(policy, &digest);
    return digest_hex(&digest, hex);
}

/* Limits stand before the audit runs: another policy, another audit. */
static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    char hex[DIGEST_HEX];
    (void)arena;
    (void)err;
    text_format(inputs, "policy %s\n", policy_sha256(&plan->policy, hex));
    return true;
}

static enum exit_code work_on(struct stage_work *work)
{
    char hex[DIGEST_HEX];
    struct audit_job job = { .train = stage_folder(work->plan, "ingest", work->arena),
                             .synthetic = stage_folder(work->plan, "sample", work->arena),
                             .out = work->folder,
                             .replace = true,
                             .plan_sha256 = work->plan->sha256,
                             .policy_sha256 = policy_sha256(&work->plan->policy, hex),
                             .candidates = work->plan->candidate_count,
                             .settings = &work->plan->audit };
    return run_job(work, &job);
}

const struct stage stage_audit = {
    .name = "audit",
    .folder = "audit",
    .product = "memorization.json",
    .needs = { "ingest", "sample" },
    .fields = audit_fields,
    .settings = offsetof(struct release_plan, audit),
    .of_candidate = STAGE_JUDGES_CANDIDATE,
    .add_inputs = add_inputs,
    .run = work_on,
};

/* ---- the command ------------------------------------------------------------------------------
 */

/* As the stages of a plan would, one after the other. */
static enum exit_code run_plan(struct invocation *invocation)
{
    static const struct stage *const alone[] = { &stage_audit, NULL };
    static const struct stage *const both[] = { &stage_audit, &stage_utility, NULL };
    const struct options *values = invocation->values;
    if (values->train || values->synthetic || values->holdout || values->subjects ||
        values->holdout_subjects || values->out)
        return command_refuse(invocation, "give a plan, or --train, --synthetic and --out, "
                                          "not both");
    if (values->utility_settings)
        return command_refuse(invocation, "--utility-settings is for sets without a plan; a plan "
                                          "has a section utility");
    return stage_commands(invocation, values->utility ? both : alone);
}

/* The settings are --utility-settings's; the seed, where these give none, the audit's. */
static bool take_utility(struct invocation *invocation, struct utility_job *job,
                         struct utility_settings *settings)
{
    const struct options *values = invocation->values;
    struct error *err = &invocation->err;
    *settings = utility_defaults;
    *job = (struct utility_job){ .dataset = values->train,
                                 .holdout = values->holdout,
                                 .synthetic = { { "", values->synthetic } },
                                 .synthetic_count = 1,
                                 .out = values->out,
                                 .settings = settings };
    if (values->utility_settings &&
        !yaml_load(values->utility_settings, utility_fields, settings, &invocation->arena, err))
        return false;
    settings->seed = settings->seed < 0 ? values->settings.seed : settings->seed;
    return utility_check(job, err);
}

/* Trainings go on in the audit's folder, beside what it found. */
static enum exit_code run_utility(struct invocation *invocation, const struct utility_job *job,
                                  struct json *documents)
{
    struct stage_work work = stage_without_plan(invocation, job->out);
    enum exit_code code = utility_measure(&work, job);
    if (documents && work.document) {
        json_put(documents, "utility", work.document);
        work.document = NULL;
    }
    code = stage_finish(invocation, &work, code);
    if (work.unfinished)
        fprintf(stderr,
                "not all trainings are done; go on with the same settings and: lethe utility "
                "--dataset %s%s%s --synthetic %s --out %s\n",
                job->dataset, job->holdout ? " --holdout " : "", job->holdout ? job->holdout : "",
                job->synthetic[0].path, job->out);
    return code;
}

static enum exit_code run_sets(struct invocation *invocation, const struct audit_job *job,
                               const struct utility_job *utility)
{
    struct stage_work work = stage_without_plan(invocation, job->out);
    enum exit_code code = run_job(&work, job);
    struct json *documents = NULL;
    if (utility && invocation->json && code == EXIT_YES) {
        documents = json_new_object();
        json_put(documents, "audit", work.document);
        work.document = NULL;
    }
    code = stage_finish(invocation, &work, code);
    if (utility && code == EXIT_YES)
        code = run_utility(invocation, utility, documents);
    if (documents)
        command_print(documents);
    return code;
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (invocation->operand_count == 1)
        return run_plan(invocation);
    if (!values->train || !values->synthetic || !values->out)
        return command_refuse(invocation,
                              "give a plan, or --train SET, --synthetic SET and --out FOLDER");
    if (values->utility_settings && !values->utility)
        return command_refuse(invocation, "--utility-settings is of no use without --utility");
    char hex[DIGEST_HEX];
    struct policy_settings policy = policy_defaults;
    if (values->policy &&
        !policy_load(values->policy, &policy, &invocation->arena, &invocation->err))
        return command_failed(invocation);
    struct utility_job utility;
    struct utility_settings utility_settings;
    if (values->utility && !take_utility(invocation, &utility, &utility_settings))
        return command_failed(invocation);
    struct audit_job job = { .train = values->train,
                             .synthetic = values->synthetic,
                             .holdout = values->holdout,
                             .subjects = values->subjects,
                             .holdout_subjects = values->holdout_subjects,
                             .out = values->out,
                             .policy_sha256 = policy_sha256(&policy, hex),
                             .settings = &values->settings };
    return run_sets(invocation, &job, values->utility ? &utility : NULL);
}

static void set_defaults(void *values)
{
    ((struct options *)values)->settings = audit_defaults;
}

const struct command command_audit = {
    .name = "audit",
    .operands = "PLAN | --train SET --synthetic SET --out FOLDER",
    .most_operands = 1,
    .summary = "find training images that a synthetic set holds copies of",
    .details =
        "Exact nearest neighbours, thresholds from unseen patients, exact bounds. Tells facts: "
        "exit code 0\nhowever many images are flagged; whether that may leave is for the "
        "policy to say.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
