/* lethe run: every stage of a plan that is not up to date, in order.
 *
 * A run holds the lock of its folder, goes through the table of stages (stages.h), and makes each
 * stage whose record does not hold. So an interrupted run is continued by the same command, and a
 * changed setting makes again just what depends on it. It ends with the first stage that fails,
 * says no, or was stopped.
 */
#include "beside.h"
#include "candidates.h"
#include "history.h"
#include "run_sign.h"
#include "stages.h"

#include "base/json.h"
#include "base/progress.h"
#include "plan/stage.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

struct options {
    const char *until, *from;
    struct yaml_strings beside;
    bool dry_run;
    struct run_sign sign;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(until, YAML_STRING, .metavar = "STAGE", .help = "stop after this stage"),
    OPTION(from, YAML_STRING, .metavar = "STAGE",
           .help = "begin with this stage; those before it are taken as they are"),
    OPTION(beside, YAML_STRINGS, .metavar = "DEVICE,DEVICE",
           .help = "with an assistant (lethe assist) on each of these, while the run lasts"),
    OPTION(dry_run, YAML_BOOL, .help = "only tell what would be done, and why"),
    { .key = "key",
      .kind = YAML_STRING,
      .offset = offsetof(struct options, sign.key),
      .metavar = "KEY",
      .help = "sign what was packed with this private key: a file, or a URI for OpenSSL" },
    { .key = "role",
      .kind = YAML_CHOICE,
      .offset = offsetof(struct options, sign.role),
      .choices = role_names,
      .help = "in which role (default: producer)" },
    { .key = "passphrase_file",
      .kind = YAML_STRING,
      .offset = offsetof(struct options, sign.passphrase_file),
      .metavar = "FILE",
      .help = "its first line opens the key; default: asked for" },
    { 0 },
};

/* A run from end to end. */
struct run {
    struct invocation *invocation;
    struct release_plan plan;
    struct run_folder *folder;
    struct beside beside;      /* assistants of its own */
    size_t first, last;        /* places in the table of stages */
    const struct stage *stage; /* now */
    bool unfinished;           /* it was stopped, and will be gone on with */
    struct json *made;         /* an entry a stage, for --json */
    struct history history;
};

static bool is_wanted(const struct run *run, const struct stage *stage)
{
    return !stage->is_wanted || stage->is_wanted(&run->plan);
}

/* Choosing is no stage of a plan that has nothing to choose from. */
static bool is_shown(const struct run *run, const struct stage *stage)
{
    return stage->of_candidate != STAGE_OF_ALL_CANDIDATES || is_wanted(run, stage);
}

/* ---- what is asked for ----------------------------------------------------------------------- */

static bool find_place(const char *name, size_t *place, struct error *err)
{
    const char *names[HISTORY_STAGES];
    size_t count = 0;
    const struct stage *stage = stage_find(name);
    if (stage) {
        *place = stage_place(stage);
        return true;
    }
    for (; stages[count]; count++)
        names[count] = stages[count]->name;
    const char *nearest = text_nearest(name, names, count);
    return error_set(err, "there is no stage \"%s\"%s%s%s", name,
                     nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                     nearest ? "\"?" : "");
}

static bool find_range(struct run *run, const struct options *values, struct error *err)
{
    run->first = 0;
    for (run->last = 0; stages[run->last + 1]; run->last++)
        ;
    if ((values->from && !find_place(values->from, &run->first, err)) ||
        (values->until && !find_place(values->until, &run->last, err)))
        return false;
    return run->first <= run->last ||
           error_set(err, "--from %s comes after --until %s", values->from, values->until);
}

/* ---- a dry run ------------------------------------------------------------------------------- */

/* What is known of a stage, for one of its variants, before it is made. */
struct outlook {
    const struct stage *stage;
    const struct release_plan *plan;
    bool wanted, would_run;
    const char *why; /* NULL: it is up to date */
    const struct stage_history *past;
};

struct outlooks {
    struct outlook items[HISTORY_STAGES * CANDIDATES_MAX];
    size_t count;
};

/* A stage that reads from one that would run is not up to date by then. */
static const char *needs_made_again(const struct outlook *outlook, const struct outlooks *before,
                                    struct arena *arena)
{
    const struct stage *stage = outlook->stage;
    for (int i = 0; i < STAGE_NEEDS && stage->needs[i]; i++)
        for (size_t k = 0; k < before->count; k++) {
            const struct outlook *other = &before->items[k];
            if (strcmp(other->stage->name, stage->needs[i]) != 0 || !other->would_run)
                continue;
            if (stage->of_candidate == STAGE_OF_ALL_CANDIDATES ||
                strcmp(stage_folder_of(other->stage, other->plan, arena),
                       stage_folder_of(other->stage, outlook->plan, arena)) == 0)
                return arena_format(arena, "%s comes before it", stage->needs[i]);
        }
    return NULL;
}

static void look_at(struct run *run, struct outlook *outlook, const struct outlooks *before)
{
    struct error why;
    struct arena *arena = &run->invocation->arena;
    outlook->past =
        history_of(&run->history, outlook->stage, stage_label(outlook->stage, outlook->plan));
    outlook->wanted = is_wanted(run, outlook->stage);
    if (!outlook->wanted)
        return;
    outlook->why = needs_made_again(outlook, before, arena);
    if (!outlook->why &&
        !stage_is_done(outlook->stage, outlook->plan, STAGE_WITH_CARE, arena, &why))
        outlook->why = arena_string(arena, why.message);
    outlook->would_run = outlook->why;
}

static void look_ahead(struct run *run, struct outlooks *outlooks)
{
    outlooks->count = 0;
    for (size_t i = run->first; i <= run->last; i++) {
        const struct release_plan *variants;
        size_t count = stage_variants(stages[i], &run->plan, &variants, &run->invocation->arena);
        for (size_t v = 0; is_shown(run, stages[i]) && v < count; v++) {
            struct outlook outlook = { .stage = stages[i], .plan = &variants[v] };
            look_at(run, &outlook, outlooks);
            outlooks->items[outlooks->count++] = outlook;
        }
    }
}

static void print_outlook(const struct outlook *outlook, int width)
{
    char took[TEXT_SHORT] = "-", disk[TEXT_SHORT] = "-", memory[TEXT_SHORT] = "-";
    char name[STAGE_TITLE];
    const struct stage_history *past = outlook->past;
    if (past->seconds >= 0) {
        text_duration(took, past->seconds);
        text_size(memory, (double)past->memory);
        text_size(disk, (double)past->bytes);
    }
    printf("%-*s %-10s %-12s %-10s %-10s %s\n", width,
           stage_title(outlook->stage, outlook->plan, name),
           !outlook->wanted     ? "not wanted"
           : outlook->would_run ? "would run"
                                : "up to date",
           took, disk, memory, outlook->why ? outlook->why : "");
}

static struct json *outlook_json(const struct outlook *outlook)
{
    struct json *entry = json_new_object();
    const char *label = stage_label(outlook->stage, outlook->plan);
    json_put_string(entry, "stage", outlook->stage->name);
    if (label)
        json_put_string(entry, "candidate", label);
    json_put_bool(entry, "wanted", outlook->wanted);
    json_put_bool(entry, "would_run", outlook->would_run);
    if (outlook->why)
        json_put_string(entry, "why", outlook->why);
    if (outlook->past->seconds >= 0) {
        json_put_real(entry, "last_seconds", outlook->past->seconds);
        json_put_integer(entry, "last_bytes", outlook->past->bytes);
        json_put_integer(entry, "last_memory", outlook->past->memory);
    }
    return entry;
}

/* Bytes that are free where the run folder is, or will be. */
static double free_space(const char *folder, struct arena *arena)
{
    struct statvfs space;
    while (path_kind(folder) != PATH_FOLDER && strcmp(folder, ".") != 0)
        folder = path_parent(arena, folder);
    return statvfs(folder, &space) == 0 ? (double)space.f_bavail * (double)space.f_frsize : 0;
}

static enum exit_code dry_run(struct run *run)
{
    struct outlooks *outlooks = arena_new(&run->invocation->arena, struct outlooks);
    struct json *document = json_new_object(), *entries = json_new_array();
    double space = free_space(run->plan.run, &run->invocation->arena);
    int width = stage_title_width(&run->plan);
    char size[TEXT_SHORT];
    look_ahead(run, outlooks);
    if (!run->invocation->json)
        printf("%-*s %-10s %-12s %-10s %-10s %s\n", width, "stage", "state", "last took", "disk",
               "memory", "why");
    for (size_t i = 0; i < outlooks->count; i++)
        if (run->invocation->json)
            json_push(entries, outlook_json(&outlooks->items[i]));
        else
            print_outlook(&outlooks->items[i], width);
    if (!run->invocation->json)
        printf("%s free at %s\n", text_size(size, space), run->plan.run);
    json_put_real(document, "free_bytes", space);
    json_put(document, "stages", entries);
    if (run->invocation->json)
        command_print(document);
    else
        json_free(document);
    return EXIT_YES;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void note(struct run *run, const struct stage *stage, const struct release_plan *plan,
                 const char *state, double seconds, struct json *document)
{
    struct json *entry = json_new_object();
    const char *label = stage_label(stage, plan);
    json_put_string(entry, "stage", stage->name);
    if (label)
        json_put_string(entry, "candidate", label);
    json_put_string(entry, "state", state);
    if (seconds >= 0)
        json_put_real(entry, "seconds", seconds);
    if (document)
        json_put(entry, "result", document);
    json_push(run->made, entry);
}

/* What a stage had to tell, moved in below its name. */
static void tell_summary(const char *summary)
{
    while (summary && *summary) {
        size_t length = strcspn(summary, "\n");
        fprintf(stderr, "          %.*s\n", (int)length, summary);
        summary += length + (summary[length] == '\n');
    }
}

static bool is_only(const struct run *run, const struct stage *stage)
{
    const struct release_plan *variants;
    return stage_variants(stage, &run->plan, &variants, &run->invocation->arena) == 1;
}

static enum exit_code make(struct run *run, const struct stage *stage,
                           const struct release_plan *plan, const struct digest *inputs,
                           bool *unfinished)
{
    static const char *const states[] = {
        [EXIT_YES] = "made", [EXIT_NO] = "no", [EXIT_ERROR] = "failed", [EXIT_UNMET] = "no"
    };
    struct invocation *invocation = run->invocation;
    const struct options *values = invocation->values;
    struct stage_work work = stage_of_plan(stage, plan, &invocation->arena, &invocation->err);
    work.journal = &run->folder->journal;
    work.beside = &values->beside;
    work.beside_threads = run->beside.threads;
    work.is_only = is_only(run, stage);
    double started = clock_seconds();
    enum exit_code code = stage_make(&work, inputs);
    *unfinished = work.unfinished;
    tell_summary(work.summary.bytes);
    note(run, stage, plan, code == EXIT_YES && work.unfinished ? "stopped" : states[code],
         clock_seconds() - started, work.document);
    text_release(&work.summary);
    return code;
}

static enum exit_code make_unless_current(void *context, const struct release_plan *plan,
                                          bool *unfinished)
{
    struct run *run = context;
    const struct stage *stage = run->stage;
    struct digest inputs;
    struct error why, *err = &run->invocation->err;
    bool known;
    char name[STAGE_TITLE];
    int width = stage_title_width(&run->plan);
    *unfinished = false;
    beside_look(&run->beside);
    if (!stage_inputs(stage, plan, STAGE_WITH_CARE, &run->invocation->arena, &inputs, &known, err))
        return EXIT_ERROR;
    if (stage_is_current(stage_folder_of(stage, plan, &run->invocation->arena), stage->name,
                         &inputs, &why)) {
        fprintf(stderr, "%-*s up to date\n", width, stage_title(stage, plan, name));
        note(run, stage, plan, "up to date", -1, NULL);
        return EXIT_YES;
    }
    fprintf(stderr, "%-*s %s\n", width, stage_title(stage, plan, name), why.message);
    return make(run, stage, plan, &inputs, unfinished);
}

/* The stage, for each candidate that it is made for. */
static enum exit_code make_variants(struct run *run, const struct stage *stage, bool *unfinished)
{
    struct invocation *invocation = run->invocation;
    if (!is_wanted(run, stage)) {
        if (is_shown(run, stage))
            note(run, stage, &run->plan, "not wanted", -1, NULL);
        return EXIT_YES;
    }
    run->stage = stage;
    if (!run_folder_tell(run->folder, &run->plan, stage, stages[run->last], &invocation->err))
        return EXIT_ERROR;
    return stage_each_variant(stage, &run->plan, make_unless_current, run, unfinished,
                              &invocation->arena, &invocation->err);
}

/* How a run ended: in the journal, and in the document of --json. */
struct ending {
    const char *journal, *document;
};

static struct ending ending_of(enum exit_code code, bool unfinished)
{
    static const struct ending endings[] = { [EXIT_YES] = { "complete", "complete" },
                                             [EXIT_NO] = { "the answer is no", "no" },
                                             [EXIT_ERROR] = { "failed", "failed" },
                                             [EXIT_UNMET] = { "the answer is no", "no" } };
    return unfinished ? (struct ending){ END_NAME_STOPPED, "stopped" } : endings[code];
}

/* The details of a line about the whole run. */
static struct json *journal_details(const struct run *run)
{
    struct json *details = json_new_object();
    json_put_string(details, "plan_sha256", run->plan.sha256);
    json_put_string(details, "from", stages[run->first]->name);
    json_put_string(details, "until", stages[run->last]->name);
    return details;
}

static bool journal_start(struct run *run)
{
    return journal_add(&run->folder->journal, EVENT_NAME_RUN_STARTED, journal_details(run),
                       &run->invocation->err);
}

static bool journal_end(struct run *run, enum exit_code code, const struct ending *ending)
{
    struct json *details = journal_details(run);
    json_put_string(details, "end", ending->journal);
    return journal_add(&run->folder->journal, EVENT_NAME_RUN_ENDED, details,
                       code == EXIT_ERROR ? NULL : &run->invocation->err);
}

static enum exit_code finish(struct run *run, enum exit_code code, bool unfinished)
{
    struct invocation *invocation = run->invocation;
    const char *until = ((const struct options *)invocation->values)->until;
    const struct ending ending = ending_of(code, unfinished);
    if (!journal_end(run, code, &ending))
        code = EXIT_ERROR;
    if (invocation->json) {
        struct json *document = json_new_object();
        json_put_string(document, "run", run->plan.run);
        json_put_string(document, "end", ending.document);
        json_put(document, "stages", run->made);
        command_print(document);
    } else {
        json_free(run->made);
        if (code == EXIT_YES && !unfinished)
            printf("%s: up to date%s%s\n", run->plan.run, until ? " until " : "",
                   until ? until : "");
    }
    if (code == EXIT_ERROR)
        return command_failed(invocation);
    if (!unfinished)
        return code;
    fprintf(stderr, "lethe run: stopped; resume with: lethe run %s\n", run->plan.path);
    return EXIT_ERROR; /* what lies in run/release may be of an earlier plan */
}

/* Whether the archive that is to be signed will be there in the end. */
static bool accept_signing(const struct run *run, const struct run_sign *sign, struct error *err)
{
    const struct stage *package = stage_find("package");
    if (!sign->key || (is_wanted(run, package) && run->last >= stage_place(package)))
        return true;
    return error_set(err, "--key: nothing is packed that could be signed; the plan needs a section "
                          "package, and --until may not end before it");
}

static bool sign_packed(struct run *run, const struct run_sign *sign)
{
    struct text told = { 0 };
    const struct release_plan *plan = &run->plan;
    const char *stem = arena_format(&run->invocation->arena, "%s/release/%s-%s", plan->run,
                                    plan->name, plan->package.version);
    bool ok = run_sign(sign, stem, &run->folder->journal, &run->invocation->arena, &told,
                       &run->invocation->err);
    if (ok)
        fputs(told.bytes, stderr);
    text_release(&told);
    return ok;
}

static enum exit_code go_through(struct run *run)
{
    const struct run_sign *sign = &((const struct options *)run->invocation->values)->sign;
    enum exit_code code = EXIT_YES;
    run->made = json_new_array();
    if (!journal_start(run))
        return finish(run, EXIT_ERROR, false);
    for (size_t i = run->first; code == EXIT_YES && !run->unfinished && i <= run->last; i++)
        code = make_variants(run, stages[i], &run->unfinished);
    if (code == EXIT_YES && !run->unfinished && sign->key && !sign_packed(run, sign))
        code = EXIT_ERROR;
    return finish(run, code, run->unfinished);
}

/* Every stage has to accept the plan before the first one begins. */
static bool accept(const struct run *run, struct error *err)
{
    for (size_t i = 0; stages[i]; i++)
        if (is_wanted(run, stages[i]) && stages[i]->accepts && !stages[i]->accepts(&run->plan, err))
            return false;
    return true;
}

static enum exit_code run_command(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct run run = { .invocation = invocation };
    struct run_folder folder;
    struct error *err = &invocation->err;
    const char *path = invocation->operands[0];
    if (!plan_load(path, &run.plan, &invocation->arena, err) || !find_range(&run, values, err) ||
        !accept(&run, err) || !accept_signing(&run, &values->sign, err))
        return command_failed(invocation);
    if (values->dry_run)
        return history_read(&run.history, run.plan.run, &invocation->arena, err)
                   ? dry_run(&run)
                   : command_failed(invocation);
    const char *command = arena_format(&invocation->arena, "lethe run %s", path);
    if (!run_folder_open(&folder, &run.plan, command, err))
        return command_failed(invocation);
    run.folder = &folder;
    enum exit_code code = beside_start(&run.beside, &values->beside, path, err)
                              ? go_through(&run)
                              : command_failed(invocation);
    run_folder_close(&folder, run.unfinished);
    beside_end(&run.beside, run.unfinished);
    return code;
}

const struct command command_run_plan = {
    .name = "run",
    .operands = "PLAN",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "every stage of a plan that is not up to date, in order",
    .details = "Interrupted at any moment, the same command goes on; the outcome is the same.",
    .options = options,
    .size = sizeof(struct options),
    .goes_on = true,
    .run = run_command,
};
