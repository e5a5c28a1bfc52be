/* lethe package: from an audited synthetic set to an archive, or to the reasons why not. */
#include "candidates.h"
#include "stages.h"

#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "plan/stage.h"
#include "release/manifest.h"
#include "release/scrub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *name, *synthetic, *audit, *utility, *fidelity, *membership, *dataset, *model,
        *report, *out;
    const char *policy_file, *lint, *scrub;
    bool rebuild_check;
    struct policy_settings policy;
    struct package_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(rebuild_check, YAML_BOOL, .help = "make it once more, and compare the bytes"),
    OPTION(synthetic, YAML_STRING, .metavar = "STORE", .help = "the set to pack"),
    OPTION(audit, YAML_STRING, .metavar = "FOLDER", .help = "its audit"),
    OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "where the release goes"),
    OPTION(name, YAML_STRING, .metavar = "NAME", .help = "of the release"),
    OPTION(utility, YAML_STRING, .metavar = "FOLDER",
           .help = "what its usefulness was found to be"),
    OPTION(fidelity, YAML_STRING, .metavar = "FOLDER",
           .help = "how like patients' images its images were found to be"),
    OPTION(membership, YAML_STRING, .metavar = "FOLDER",
           .help = "what its model was found to give away"),
    OPTION(dataset, YAML_STRING, .metavar = "STORE", .help = "the data that were trained on"),
    OPTION(model, YAML_STRING, .metavar = "FOLDER", .help = "the folder of training"),
    OPTION(report, YAML_STRING, .metavar = "FILE", .help = "the public report, to be packed"),
    { .key = "policy",
      .kind = YAML_STRING,
      .offset = offsetof(struct options, policy_file),
      .metavar = "FILE",
      .help = "a plan's policy section, in a file of its own" },
    OPTION(lint, YAML_STRING, .metavar = "FOLDER",
           .help = "only look for what could tell a patient, in any folder"),
    OPTION(scrub, YAML_STRING, .metavar = "FOLDER", .help = "write a cleaned copy of that folder"),
    OPTION(policy, YAML_SECTION, .section = policy_fields),
    OPTION(settings, YAML_SECTION, .section = package_fields),
    { 0 },
};

/* ---- telling --------------------------------------------------------------------------------- */

static const char *verdict_of(const struct policy_result *result)
{
    return result->passed ? "passed" : result->measured ? "FAILED" : "MISSING";
}

static const char *limit_text(const struct policy_row *row, char text[64])
{
    snprintf(text, 64, "%s %.15g", policy_rule_words(row), row->limit);
    return text;
}

static void add_table(const struct package_report *report, struct text *out)
{
    size_t width = strlen("metric");
    char metric[256], limit[64], measured[32];
    for (size_t i = 0; i < report->result_count; i++)
        if (strlen(report->results[i].row->metric) + 10 > width)
            width = strlen(report->results[i].row->metric) + 10;
    text_format(out, "%-*s  %-16s  %-12s  %s\n", (int)width, "metric", "limit", "measured",
                "verdict");
    for (size_t i = 0; i < report->result_count; i++) {
        const struct policy_result *result = &report->results[i];
        const char *bound = result->row->bound ? policy_bound_names[result->row->bound] : "";
        snprintf(metric, sizeof metric, "%s %s", result->row->metric, bound);
        snprintf(measured, sizeof measured, "%.6g", result->value);
        if (!result->passed && strtod(measured, NULL) == result->row->limit)
            snprintf(measured, sizeof measured, "%.15g",
                     result->value); /* or it would be a riddle */
        text_format(out, "%-*s  %-16s  %-12s  %s%s%s\n", (int)width, metric,
                    limit_text(result->row, limit), result->measured ? measured : "-",
                    verdict_of(result), result->measured ? "" : ": ",
                    result->measured ? "" : result->reason);
    }
}

static void add_chain(const struct package_report *report, struct text *out)
{
    for (size_t i = 0; i < CHAIN_LINKS && report->links[i].name; i++) {
        const struct chain_link *link = &report->links[i];
        text_format(out, "%-7s  %s%s%s\n", link_state_names[link->state], link->claim,
                    link->reason ? ": " : "", link->reason ? link->reason : "");
    }
}

static void add_refusal(const struct package_report *report, struct text *out)
{
    const struct {
        bool is;
        const char *words;
    } reasons[] = { { !report->linked, "the chain of evidence is broken" },
                    { !report->passed, "the policy is not met" },
                    { !report->images, "every image was flagged, so none is left" } };
    const char *separator = "REFUSED: ";
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].is) {
            text_format(out, "%s%s", separator, reasons[i].words);
            separator = ", and ";
        }
    text_add(out, "; no archive was made\n");
}

static void summarise(const struct package_report *report, struct text *out)
{
    char size[TEXT_SHORT];
    add_chain(report, out);
    text_add(out, "\n");
    add_table(report, out);
    text_add(out, "\n");
    if (report->removed)
        text_format(out, "%zu flagged image%s left out\n", report->removed,
                    report->removed == 1 ? "" : "s");
    if (report->finding_count)
        text_format(out,
                    "%s\nREFUSED: the privacy lint found %zu thing%s that could lead back to a "
                    "patient or a machine (above)\n",
                    report->findings, report->finding_count, report->finding_count == 1 ? "" : "s");
    else if (!report->released)
        add_refusal(report, out);
    else
        text_format(out, "%s: %zu images, %zu files, %s\n", report->archive, report->images,
                    report->files, text_size(size, (double)report->result.whole.size));
}

/* Somebody may miss them in the release: the first few by name. */
static void tell_hidden(const struct package_report *report)
{
    enum { TOLD = 5 };
    size_t count = report->hidden_count;
    if (!count)
        return;
    fprintf(stderr,
            "lethe package: warning: %zu hidden file%s of what is to be included %s left out:",
            count, count == 1 ? "" : "s", count == 1 ? "is" : "are");
    for (size_t i = 0; i < count && i < TOLD; i++)
        fprintf(stderr, "%s %s", i ? "," : "", report->hidden[i]);
    if (count > TOLD)
        fprintf(stderr, " and %zu more", count - TOLD);
    fputc('\n', stderr);
}

static struct json *hidden_json(const struct package_report *report)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < report->hidden_count; i++)
        json_push_string(list, report->hidden[i]);
    return list;
}

static struct json *describe(const struct package_report *report)
{
    struct json *document = json_new_object();
    char hex[DIGEST_HEX];
    json_put_bool(document, "released", report->released);
    json_put(document, "chain", chain_json(report->links));
    json_put(document, "rows", policy_results_json(report->results, report->result_count));
    json_put_integer(document, "images", (int64_t)report->images);
    json_put_integer(document, "removed", (int64_t)report->removed);
    json_put_integer(document, "lint_findings", (int64_t)report->finding_count);
    json_put(document, "hidden_left_out", hidden_json(report));
    if (!report->released)
        return document;
    json_put_string(document, "archive", report->archive);
    json_put_string(document, "manifest", report->manifest);
    json_put_integer(document, "bytes", (int64_t)report->result.whole.size);
    json_put_string(document, "sha256", digest_hex(&report->result.whole.sha256, hex));
    json_put_string(document, "tar_sha256", digest_hex(&report->result.tar, hex));
    return document;
}

/* ---- making it once more --------------------------------------------------------------------- */

/* Another number of threads, another folder; the bytes have to be those of the manifest. */
static enum exit_code rebuild(struct stage_work *work, const struct package_job *job)
{
    struct package_job again = *job;
    struct package_report report;
    struct manifest first;
    char name[24] = ".rebuild-XXXXXX";
    char *out = path_join(work->arena, job->out, name);
    if (!manifest_load(arena_format(work->arena, "%s/%s-%s.manifest.json", job->out, job->name,
                                    job->settings->version),
                       &first, work->arena, work->err))
        return EXIT_ERROR;
    if (!mkdtemp(out)) {
        error_set_errno(work->err, "%s: cannot be made", out);
        return EXIT_ERROR;
    }
    struct package_settings settings = *job->settings;
    settings.date = NULL;
    settings.keep_tree = false;
    again.settings = &settings;
    again.created = first.created;
    again.out = out;
    parallel_set_threads(parallel_threads() == 1 ? 3 : 1);
    bool ok = package(&again, &report, work->arena, work->err);
    struct error ignored;
    if (!folder_remove(out, &ignored) && ok)
        ok = error_set(work->err, "%s", ignored.message);
    if (!ok)
        return EXIT_ERROR;
    bool tar = report.released && digest_equal(&report.result.tar, &first.tar.sha256);
    bool archive = tar && digest_equal(&report.result.whole.sha256, &first.archive.sha256);
    text_format(&work->summary, "%s: tar %s, archive %s (with %d threads)\n", first.archive.name,
                tar ? "the same" : "DIFFERS", archive ? "the same" : "DIFFERS", parallel_threads());
    work->document = json_new_object();
    json_put_bool(work->document, "tar", tar);
    json_put_bool(work->document, "archive", archive);
    return archive ? EXIT_YES : EXIT_NO;
}

static enum exit_code pack(struct stage_work *work, const struct package_job *job)
{
    struct package_report report;
    if (!package(job, &report, work->arena, work->err))
        return EXIT_ERROR;
    tell_hidden(&report);
    summarise(&report, &work->summary);
    work->document = describe(&report);
    return report.released ? EXIT_YES : EXIT_NO;
}

/* ---- the stage of a plan --------------------------------------------------------------------- */

/* SOURCE_DATE_EPOCH (reproducible-builds.org), or -1. */
static int64_t source_date(void)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    int64_t seconds;
    return text && text_to_integer(text, &seconds) && seconds >= 0 ? seconds : -1;
}

static const char *if_file(const char *path)
{
    return path_kind(path) == PATH_FILE ? path : NULL;
}

/* Whom to ask, who reviews, and when it is to be assessed again: the plan has it stand in the
 * public report, so the lint is not to find a date or an address there. */
static struct yaml_strings said_in_report(const struct report_settings *report, struct arena *arena)
{
    const char **items = arena_array(arena, const char *, report->reviewers.count + 2);
    struct yaml_strings said = { items, 0 };
    for (size_t i = 0; i < report->reviewers.count; i++)
        items[said.count++] = report->reviewers.items[i];
    if (report->contact)
        items[said.count++] = report->contact;
    if (report->reassess)
        items[said.count++] = report->reassess;
    return said;
}

/* The folder, where it is one and holds that file. */
static const char *holding(const char *folder, const char *file, struct arena *arena)
{
    return folder && if_file(path_join(arena, folder, file)) ? folder : NULL;
}

static struct package_job job_of_plan(const struct release_plan *plan, struct arena *arena)
{
    const char *utility = stage_folder(plan, "utility", arena);
    const char *fidelity = stage_folder_if_wanted(&stage_fidelity, plan, arena);
    const char *membership = stage_folder_if_wanted(&stage_membership, plan, arena);
    const char *report = stage_folder(plan, "report", arena);
    struct package_job job = {
        .name = plan->name,
        .synthetic = stage_folder(plan, "sample", arena),
        .audit = stage_folder(plan, "audit", arena),
        .utility = if_file(path_join(arena, utility, "utility.json")) ? utility : NULL,
        .fidelity = holding(fidelity, "fidelity.json", arena),
        .membership = holding(membership, "membership.json", arena),
        .dataset = stage_folder(plan, "ingest", arena),
        .model = plan->sample.made_elsewhere ? NULL : stage_folder(plan, "train", arena),
        .made_elsewhere = plan->sample.made_elsewhere != NULL,
        .report_public = if_file(path_join(arena, report, "report.public.html")),
        .report_internal = if_file(path_join(arena, report, "report.internal.html")),
        .review = if_file(path_join(arena, plan->run, "review.json")),
        .said = said_in_report(&plan->report, arena),
        .plan_sha256 = plan->sha256,
        .out = path_join(arena, plan->run, "release"),
        .created = source_date(),
        .settings = &plan->package,
        .policy = &plan->policy,
    };
    return job;
}

static bool accepts(const struct release_plan *plan, struct error *err)
{
    return (package_check(plan->name, &plan->package, err) &&
            package_check_included(&plan->package, err)) ||
           error_prefix(err, "%s", plan->path);
}

static bool add_file_digest(const char *path, struct text *inputs, struct error *err)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    if (path_kind(path) != PATH_FILE)
        return true;
    if (!digest_file(path, &digest, err))
        return false;
    text_format(inputs, "%s %s\n", path_name(path), digest_hex(&digest, hex));
    return true;
}

static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    struct digest policy;
    char hex[DIGEST_HEX];
    policy_digest(&plan->policy, &policy);
    text_format(inputs, "name %s\npolicy %s\ndate %lld\n", plan->name, digest_hex(&policy, hex),
                (long long)source_date());
    if (!add_file_digest(path_join(arena, stage_folder(plan, "utility", arena), "utility.json"),
                         inputs, err) ||
        (stage_fidelity.is_wanted(plan) &&
         !add_file_digest(path_join(arena, stage_folder(plan, "fidelity", arena), "fidelity.json"),
                          inputs, err)) ||
        (stage_membership.is_wanted(plan) &&
         !add_file_digest(
             path_join(arena, stage_folder(plan, "membership", arena), "membership.json"), inputs,
             err)) ||
        !add_file_digest(
            path_join(arena, stage_folder(plan, "report", arena), "report.internal.html"), inputs,
            err) ||
        !add_file_digest(path_join(arena, plan->run, "review.json"), inputs, err))
        return false;
    for (size_t i = 0; i < plan->package.include.count; i++) {
        struct digest digest;
        const char *path = plan->package.include.items[i];
        bool ok = path_kind(path) == PATH_FOLDER
                      ? digest_tree(path, &digest, arena, NULL, NULL, err)
                      : digest_file(path, &digest, err);
        if (!ok)
            return false;
        text_format(inputs, "%s %s\n", path_name(path), digest_hex(&digest, hex));
    }
    return true;
}

/* A plan that was changed for a trial, and back again, finds what was signed as it was. */
static bool may_replace(const struct release_plan *plan, struct arena *arena, struct error *err)
{
    return package_may_replace(path_join(arena, plan->run, "release"), plan->name,
                               plan->package.version, err);
}

static enum exit_code work_on(struct stage_work *work)
{
    struct package_job job = job_of_plan(work->plan, work->arena);
    return pack(work, &job);
}

/* lethe run packs when the plan says anything about the package; lethe package in any case. */
static bool is_wanted(const struct release_plan *plan)
{
    return !yaml_same(package_fields, &plan->package, &package_defaults);
}

const struct stage stage_package = {
    .name = "package",
    .folder = "release",
    .product = "policy.json",
    .needs = { "choose", "ingest", "train", "sample", "audit", "report" },
    .fields = package_fields,
    .settings = offsetof(struct release_plan, package),
    .of_candidate = STAGE_OF_THE_CHOSEN,
    .may_replace = may_replace,
    .in_place = true,
    .may_grow = true,
    .accepts = accepts,
    .add_inputs = add_inputs,
    .is_wanted = is_wanted,
    .run = work_on,
};

/* ---- the command ---------------------------------------------------------------------------- */

static enum exit_code run_lint(struct invocation *invocation, const struct options *values)
{
    struct text findings = { 0 };
    size_t files, count = 0;
    bool ok = values->scrub
                  ? scrub_folder(values->lint, values->scrub, &files, &findings, &invocation->err)
                  : lint_folder(values->lint, &files, &findings, &invocation->err);
    for (size_t i = 0; i < findings.length; i++)
        count += findings.bytes[i] == '\n';
    if (invocation->json) {
        struct json *document = json_new_object();
        json_put_integer(document, "files", (int64_t)files);
        json_put_integer(document, "findings", (int64_t)count);
        json_put_string(document, "lines", findings.length ? findings.bytes : "");
        command_print(document);
    } else if (findings.length) {
        fputs(findings.bytes, stdout);
    }
    text_release(&findings);
    if (!ok)
        return command_failed(invocation);
    if (!invocation->json)
        printf("%zu files, %zu findings%s\n", files, count,
               values->scrub ? " left after cleaning; the audit has to be run again over the "
                               "cleaned files, for their digests are others"
                             : "");
    return count ? EXIT_NO : EXIT_YES;
}

static enum exit_code run_alone(struct invocation *invocation, struct options *values)
{
    struct stage_work work = stage_without_plan(invocation, values->out);
    bool ok = values->policy_file ? policy_load(values->policy_file, &values->policy,
                                                &invocation->arena, &invocation->err)
                                  : policy_check(&values->policy, &invocation->err);
    if (!ok)
        return command_failed(invocation);
    struct package_job job = { .name = values->name,
                               .synthetic = values->synthetic,
                               .audit = values->audit,
                               .utility = values->utility,
                               .fidelity = values->fidelity,
                               .membership = values->membership,
                               .dataset = values->dataset,
                               .model = values->model,
                               .report_public = values->report,
                               .out = values->out,
                               .created = source_date(),
                               .settings = &values->settings,
                               .policy = &values->policy };
    enum exit_code code = values->rebuild_check ? rebuild(&work, &job) : pack(&work, &job);
    return stage_finish(invocation, &work, code);
}

static enum exit_code rebuild_plan(struct invocation *invocation)
{
    struct release_plan plan;
    struct error *err = &invocation->err;
    if (!no_settings(invocation) ||
        !plan_load(invocation->operands[0], &plan, &invocation->arena, err))
        return command_failed(invocation);
    plan = plan_of_the_chosen(&plan, &invocation->arena);
    struct package_job job = job_of_plan(&plan, &invocation->arena);
    struct stage_work work = stage_of_plan(&stage_package, &plan, &invocation->arena, err);
    return stage_finish(invocation, &work, rebuild(&work, &job));
}

static enum exit_code run(struct invocation *invocation)
{
    struct options *values = invocation->values;
    bool by_options = values->synthetic || values->audit || values->out || values->name;
    if (values->lint)
        return by_options || invocation->operand_count
                   ? command_refuse(invocation, "--lint looks at a folder and packs nothing")
                   : run_lint(invocation, values);
    if (values->scrub)
        return command_refuse(invocation, "--scrub cleans the folder that --lint names");
    if (invocation->operand_count == 1) {
        if (by_options)
            return command_refuse(invocation, "give a plan, or --synthetic, --audit, --name and "
                                              "--out, not both");
        return values->rebuild_check ? rebuild_plan(invocation)
                                     : stage_command(invocation, &stage_package);
    }
    if (!values->synthetic || !values->audit || !values->out || !values->name)
        return command_refuse(invocation, "give a plan, or --synthetic STORE, --audit FOLDER, "
                                          "--name NAME and --out FOLDER");
    return run_alone(invocation, values);
}

static void set_defaults(void *values)
{
    *(struct options *)values =
        (struct options){ .policy = policy_defaults, .settings = package_defaults };
}

const struct command command_package = {
    .name = "package",
    .operands = "PLAN | --synthetic STORE --audit FOLDER --name NAME --out FOLDER",
    .most_operands = 1,
    .summary = "pack an audited set into an archive, if it meets the policy",
    .details = "Exit code 1, and nothing but policy.json, when it does not.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
