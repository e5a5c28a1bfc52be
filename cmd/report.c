/* lethe report: what a reviewer reads, and what may be shown to everybody. */
#include "candidates.h"
#include "history.h"
#include "stages.h"

#include "base/json.h"
#include "report/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
    bool pdf;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(pdf, YAML_BOOL, .help = "print both reports to PDF too, through Chromium"),
    { 0 },
};

/* ---- the stage ------------------------------------------------------------------------------- */

/* What the report is about beside the stages before it: the policy, the plan, a reviewer's marks.
 */
static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    const char *review = path_join(arena, plan->run, "review.json");
    policy_digest(&plan->policy, &digest);
    text_format(inputs, "name %s\nplan %s\npolicy %s\n", plan->name, plan->sha256,
                digest_hex(&digest, hex));
    if (path_kind(review) == PATH_FILE) {
        if (!digest_file(review, &digest, err))
            return false;
        text_format(inputs, "review %s\n", digest_hex(&digest, hex));
    }
    return true;
}

/* Links at the top of the run folder, where people look. */
static bool link_reports(const struct stage_work *work)
{
    static const char *const names[] = { "report.public.html", "report.internal.html",
                                         "report.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *link = path_join(work->arena, work->plan->run, names[i]);
        const char *temporary = arena_format(work->arena, "%s.link", link);
        const char *target = arena_format(work->arena, "report/%s", names[i]);
        unlink(temporary);
        if (symlink(target, temporary) != 0 || rename(temporary, link) != 0)
            return error_set_errno(work->err, "%s: cannot be linked", link);
    }
    return true;
}

static struct json *describe(const struct stage_work *work, const struct report_result *result)
{
    struct json *document = json_load(path_join(work->arena, work->folder, "report.json"), NULL);
    if (!document)
        document = json_new_object();
    json_put_string(document, "folder", work->folder);
    json_put_integer(document, "rows", (int64_t)result->rows);
    json_put_integer(document, "rows_passed", (int64_t)result->rows_passed);
    return document;
}

static void summarise(struct stage_work *work, const struct report_result *result)
{
    text_format(&work->summary, "%s: %s, %zu of %zu conditions met\n", work->folder,
                result->passed ? "passed" : "not passed", result->rows_passed, result->rows);
    for (const char *line = result->advice.bytes; line && *line;) {
        size_t length = strcspn(line, "\n");
        text_format(&work->summary, "  - %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static const char *folder_if_wanted(const struct stage_work *work, const char *name)
{
    return stage_folder_if_wanted(stage_find(name), work->plan, work->arena);
}

/* Candidates that were audited in this run and that the plan names no more: what was looked at and
 * left out is to be seen, too. NULL: there is none. */
static const char *dropped(const struct release_plan *plan, const struct history *history,
                           struct arena *arena)
{
    const char *names = NULL;
    for (const struct history_entry *entry = history->entries; entry; entry = entry->next) {
        bool is_named = !entry->label || strcmp(entry->stage->name, "audit") != 0;
        for (size_t i = 0; !is_named && i < plan->candidate_count; i++)
            is_named = strcmp(plan->candidates[i].name, entry->label) == 0;
        if (!is_named && entry->past.tries)
            names = names ? arena_format(arena, "%s, %s", entry->label, names) : entry->label;
    }
    return names;
}

static struct report_job job_of(const struct stage_work *work, const struct history *history,
                                struct text *settings, char *head)
{
    const struct release_plan *plan = work->plan;
    const char *model = folder_if_wanted(work, "train");
    train_settings_text(&plan->train, false, settings);
    digest_hex(&work->journal->head, head);
    return (struct report_job){
        .name = plan->name,
        .plan_sha256 = plan->sha256,
        .dataset = folder_if_wanted(work, "ingest"),
        .model = model,
        .synthetic = stage_folder(plan, "sample", work->arena),
        .audit = folder_if_wanted(work, "audit"),
        .utility = folder_if_wanted(work, "utility"),
        .fidelity = folder_if_wanted(work, "fidelity"),
        .membership = folder_if_wanted(work, "membership"),
        .generator = model ? model_names[plan->train.model] : NULL,
        .train_settings = model ? settings->bytes : NULL,
        .review = path_join(work->arena, plan->run, "review.json"),
        .dropped = dropped(plan, history, work->arena),
        .choice =
            plan->candidate
                ? path_join(work->arena, stage_folder(plan, "choose", work->arena), "choice.json")
                : NULL,
        .licence = plan->package.card.licence,
        .settings = &plan->report,
        .policy = &plan->policy,
        .journal_length = work->journal->length,
        .journal_head = head,
        .trainings = history_tries(history, "train"),
        .samplings = history_tries(history, "sample"),
        .audits = history_tries(history, "audit"),
        .out = work->folder,
    };
}

static enum exit_code work_on(struct stage_work *work)
{
    struct text settings = { 0 };
    char head[DIGEST_HEX];
    struct report_result result;
    struct history history;
    if (!history_read(&history, work->plan->run, work->arena, work->err))
        return EXIT_ERROR;
    struct report_job job = job_of(work, &history, &settings, head);
    bool ok = report_write(&job, &result, work->err) && link_reports(work);
    if (ok) {
        work->document = describe(work, &result);
        summarise(work, &result);
    }
    text_release(&result.advice);
    text_release(&settings);
    return ok ? EXIT_YES : EXIT_ERROR;
}

const struct stage stage_report = {
    .name = "report",
    .folder = "report",
    .product = "report.public.html", /* report.json tells the journal's length: never the same */
    .needs = { "choose", "ingest", "train", "sample", "audit", "utility", "fidelity",
               "membership" },
    .fields = report_fields,
    .settings = offsetof(struct release_plan, report),
    .of_candidate = STAGE_OF_THE_CHOSEN,
    .add_inputs = add_inputs,
    .run = work_on,
};

/* ---- PDF ------------------------------------------------------------------------------------- */

static const char *find_printer(void)
{
    static const char *const names[] = { "/usr/bin/chromium", "/usr/bin/chromium-browser",
                                         "/usr/bin/google-chrome" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (access(names[i], X_OK) == 0)
            return names[i];
    return NULL;
}

/* Prints one page; the browser writes beside the place and the file is then moved there. */
static bool print_pdf(const char *printer, const char *html, struct arena *arena, struct error *err)
{
    int status;
    char *whole = realpath(html, NULL);
    if (!whole)
        return error_set_errno(err, "%s", html);
    const char *pdf = arena_format(arena, "%.*s.pdf", (int)(strlen(html) - strlen(".html")), html);
    const char *profile = arena_format(arena, "%s.profile", pdf);
    const char *partial = arena_format(arena, "%s.partial", pdf);
    const char *const arguments[] = { printer,
                                      "--headless",
                                      "--disable-gpu",
                                      geteuid() == 0 ? "--no-sandbox" : "--disable-extensions",
                                      "--no-pdf-header-footer",
                                      arena_format(arena, "--user-data-dir=%s", profile),
                                      arena_format(arena, "--print-to-pdf=%s", partial),
                                      arena_format(arena, "file://%s", whole),
                                      NULL };
    free(whole);
    fflush(NULL); /* or the child would write again what waits to be written */
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) && freopen("/dev/null", "w", stdout))
            execv(printer, (char *const *)arguments);
        _exit(127);
    }
    bool ok = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
              WEXITSTATUS(status) == 0 && path_kind(partial) == PATH_FILE &&
              rename(partial, pdf) == 0;
    return (folder_remove(profile, err) && ok) ||
           error_set(err, "%s: %s could not print it", pdf, printer);
}

static enum exit_code print_all(struct invocation *invocation)
{
    struct release_plan plan;
    const char *printer = find_printer();
    if (!printer)
        return command_refuse(invocation, "there is no Chromium to print with; install the package "
                                          "chromium, or print the page from any browser");
    if (!plan_load(invocation->operands[0], &plan, &invocation->arena, &invocation->err))
        return command_failed(invocation);
    const char *folder = stage_folder(&plan, "report", &invocation->arena);
    for (int i = 0; i < 2; i++) {
        const char *html = path_join(&invocation->arena, folder,
                                     i ? "report.internal.html" : "report.public.html");
        if (!print_pdf(printer, path_join(&invocation->arena, plan.run, path_name(html)),
                       &invocation->arena, &invocation->err))
            return command_failed(invocation);
    }
    return EXIT_YES;
}

/* ---- the command ----------------------------------------------------------------------------- */

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    enum exit_code code = stage_command(invocation, &stage_report);
    return code == EXIT_YES && values->pdf ? print_all(invocation) : code;
}

const struct command command_report = {
    .name = "report",
    .operands = "PLAN",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "write the report: one for the reviewer, one for everybody",
    .options = options,
    .size = sizeof(struct options),
    .goes_on = true,
    .run = run,
};
