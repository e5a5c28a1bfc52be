/* lethe assist: works on what a run has to do, beside it: on other devices, on other machines.
 *
 * A run and its assistants know of each other by the run folder alone. The run's lock (plan/lock.h)
 * tells the plan, the stage that it has come to and the one that it ends with; units of work (a
 * training, a batch of a drawing, a trial) have locks of their own (base/lock.h). An assistant
 * takes one unit after the other from the table of stages and writes what is the unit's; stages are
 * finished and recorded by the run, which does whatever nobody else does. So assistants may come,
 * go and be killed at any time.
 *
 * While it works on a unit, a thread watches the run: where that has ended, has begun again from
 * another plan, or has gone back behind the stages that the unit was made from, the work is
 * interrupted, as by a signal.
 */
#include "candidates.h"
#include "history.h"
#include "stages.h"

#include "base/json.h"
#include "base/progress.h"
#include "tensor/device.h"
#include "train/interrupt.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *device;
    double time_limit, wait;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(device, YAML_STRING, .metavar = "DEVICE",
           .help = "cpu, cuda, cuda:N or auto (default: what the plan says)"),
    OPTION(time_limit, YAML_REAL, .minimum = 0, .maximum = 1e7, .metavar = "MINUTES",
           .help = "end after this time; 0: no limit"),
    OPTION(wait, YAML_REAL, .minimum = 0, .maximum = 1e7, .metavar = "MINUTES",
           .help = "for a run to begin, or one that was stopped to go on (default 10)"),
    { 0 },
};

/* ---- the run --------------------------------------------------------------------------------- */

enum run_state {
    RUN_AWAY,    /* there is none, or it was stopped or killed; it may come */
    RUN_ENDED,   /* there was one */
    RUN_UNKNOWN, /* something holds the folder that has not said what it does */
    RUN_OTHER,   /* of another version or plan */
    RUN_ON,
};

struct sight {
    enum run_state state;
    size_t stage, until; /* RUN_ON: places in the table of stages */
    char who[512];       /* tells one run from another */
};

struct assist {
    struct invocation *invocation;
    const struct options *options;
    struct release_plan plan;
    char identity[DIGEST_HEX];
    const char *command;
    char seen[512]; /* the run that was seen last; "": none yet */
    double deadline, away_since, started;
    struct json *units; /* what was worked on, for --json */
    /* What the thread that watches shares with the one that works. */
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    bool working, given_up; /* given_up: the thread that watches interrupted the work */
    size_t stage;           /* of the run when the unit was taken */
};

static bool find_place(const char *name, size_t *place)
{
    const struct stage *stage = name ? stage_find(name) : NULL;
    if (stage)
        *place = stage_place(stage);
    return stage;
}

static enum run_state state_of(const struct assist *assist, const struct run_holder *holder,
                               struct sight *sight, struct error *err)
{
    if (!holder->is_held)
        return !holder->was_killed && *assist->seen ? RUN_ENDED : RUN_AWAY;
    if (!holder->plan)
        return RUN_UNKNOWN;
    if (strcmp(holder->version, LETHE_VERSION) != 0) {
        error_set(err, "the run in %s is of version %s, this is %s: assist it with its own version",
                  assist->plan.run, holder->version, LETHE_VERSION);
        return RUN_OTHER;
    }
    if (strcmp(holder->plan, assist->identity) != 0) {
        error_set(
            err,
            "the run in %s goes by another plan than %s as it was read here; once they are the "
            "same, start lethe assist again",
            assist->plan.run, assist->plan.path);
        return RUN_OTHER;
    }
    bool known =
        find_place(holder->stage, &sight->stage) && find_place(holder->until, &sight->until);
    return known ? RUN_ON : RUN_UNKNOWN;
}

/* What can be seen of the run; of RUN_OTHER `err` tells more. */
static struct sight look(const struct assist *assist, struct error *err)
{
    struct sight sight = { .state = RUN_AWAY };
    struct run_holder holder;
    struct arena arena;
    arena_init(&arena);
    run_lock_holder(assist->plan.run, &holder, &arena);
    sight.state = state_of(assist, &holder, &sight, err);
    snprintf(sight.who, sizeof sight.who, "%lld %s %s", (long long)holder.process, holder.host,
             holder.since);
    arena_release(&arena);
    return sight;
}

static bool is_out_of_time(const struct assist *assist)
{
    return assist->deadline > 0 && clock_seconds() >= assist->deadline;
}

/* ---- watching -------------------------------------------------------------------------------- */

/* Whether the unit is to be given up: its run has ended, or what holds the folder is not that run.
 * While the run is away the work goes on. What is unknown may be a run that is just beginning: it
 * is given until the next look. */
static bool is_to_stop(const struct assist *assist, int *doubts)
{
    struct error ignored;
    struct sight sight = look(assist, &ignored);
    *doubts = sight.state == RUN_UNKNOWN ? *doubts + 1 : 0;
    return is_out_of_time(assist) || sight.state == RUN_ENDED || sight.state == RUN_OTHER ||
           *doubts > 1 || (sight.state == RUN_ON && sight.stage < assist->stage);
}

static void *watch(void *context)
{
    struct assist *assist = context;
    struct timespec next;
    int doubts = 0;
    pthread_mutex_lock(&assist->mutex);
    while (assist->working) {
        clock_gettime(CLOCK_REALTIME, &next);
        next.tv_sec += 1;
        pthread_cond_timedwait(&assist->ended, &assist->mutex, &next);
        if (assist->working && is_to_stop(assist, &doubts)) {
            assist->given_up = true;
            interrupt();
        }
    }
    pthread_mutex_unlock(&assist->mutex);
    return NULL;
}

/* ---- one unit -------------------------------------------------------------------------------- */

/* Whether a stage is made, and what it is made from: the run has passed by it, or recorded it. */
static bool is_made(const struct stage *stage, const struct release_plan *plan,
                    const struct sight *sight, struct arena *arena)
{
    if (stage_place(stage) < sight->stage)
        return true;
    for (int i = 0; i < STAGE_NEEDS && stage->needs[i]; i++)
        if (!is_made(stage_find(stage->needs[i]), plan, sight, arena))
            return false;
    return stage_is_done(stage, plan, STAGE_AT_A_GLANCE, arena, NULL);
}

static bool may_work(const struct stage *stage, const struct release_plan *plan,
                     const struct sight *sight, struct arena *arena)
{
    for (int i = 0; i < STAGE_NEEDS && stage->needs[i]; i++)
        if (!is_made(stage_find(stage->needs[i]), plan, sight, arena))
            return false;
    return !stage_is_done(stage, plan, STAGE_AT_A_GLANCE, arena, NULL);
}

static void note(struct assist *assist, const struct stage *stage, const struct release_plan *plan,
                 double seconds)
{
    char title[STAGE_TITLE], duration[TEXT_SHORT];
    const char *label = stage_label(stage, plan);
    struct json *entry = json_new_object();
    fprintf(stderr, "%-*s %s\n", stage_title_width(&assist->plan), stage_title(stage, plan, title),
            text_duration(duration, seconds));
    json_put_string(entry, "stage", stage->name);
    if (label)
        json_put_string(entry, "candidate", label);
    json_put_real(entry, "seconds", seconds);
    json_push(assist->units, entry);
}

/* Takes a unit of the stage, where there is a free one, and works on it, watched. */
static bool work_on(struct assist *assist, const struct stage *stage,
                    const struct release_plan *plan, bool is_only, struct arena *arena,
                    bool *worked)
{
    struct error *err = &assist->invocation->err;
    struct stage_work work = stage_of_plan(stage, plan, arena, err);
    double started = clock_seconds();
    work.command = assist->command;
    work.is_only = is_only;
    bool ok = stage->assist(&work, assist->options->device, worked) ||
              error_prefix(err, "%s", stage->name);
    if (*worked)
        note(assist, stage, plan, clock_seconds() - started);
    return ok;
}

/* The first unit that is free, in the order of the stages. */
static bool work_on_any(struct assist *assist, const struct sight *sight, struct arena *arena,
                        bool *worked)
{
    for (size_t i = sight->stage; i <= sight->until; i++) {
        const struct release_plan *variants;
        if (!stages[i]->assist || (stages[i]->is_wanted && !stages[i]->is_wanted(&assist->plan)))
            continue;
        size_t count = stage_variants(stages[i], &assist->plan, &variants, arena);
        for (size_t v = 0; v < count && !*worked && !interrupted(); v++)
            if (may_work(stages[i], &variants[v], sight, arena) &&
                !work_on(assist, stages[i], &variants[v], count == 1, arena, worked))
                return false;
    }
    return true;
}

/* The same with a thread that watches the run. *stopped: somebody else interrupted it. */
static bool work_watched(struct assist *assist, const struct sight *sight, bool *worked,
                         bool *stopped)
{
    struct interrupts before;
    struct arena arena;
    pthread_t watcher;
    arena_init(&arena);
    interrupts_catch(&before);
    assist->working = true;
    assist->given_up = false;
    assist->stage = sight->stage;
    bool watched = pthread_create(&watcher, NULL, watch, assist) == 0;
    bool ok = watched ? work_on_any(assist, sight, &arena, worked)
                      : error_set(&assist->invocation->err, "no thread can be started");
    pthread_mutex_lock(&assist->mutex);
    assist->working = false;
    pthread_cond_signal(&assist->ended);
    pthread_mutex_unlock(&assist->mutex);
    if (watched)
        pthread_join(watcher, NULL);
    *stopped = interrupted() && !assist->given_up;
    interrupts_restore(&before);
    arena_release(&arena);
    return ok;
}

/* ---- from beginning to end ------------------------------------------------------------------- */

enum { PAUSES_MOST = 32 };

/* A little longer each time that there was nothing to do, or until the run has gone on. */
static void rest(const struct assist *assist, const struct sight *before, int *pauses)
{
    struct error ignored;
    for (int i = 0; i < *pauses; i++) {
        lock_pause();
        struct sight now = look(assist, &ignored);
        if (now.state != before->state || now.stage != before->stage || is_out_of_time(assist))
            break;
    }
    *pauses = *pauses < PAUSES_MOST ? 2 * *pauses : PAUSES_MOST;
}

static bool is_waited_for_too_long(struct assist *assist, const struct sight *sight)
{
    double now = clock_seconds();
    if (sight->state != RUN_AWAY)
        assist->away_since = now;
    return sight->state == RUN_AWAY && now - assist->away_since >= 60 * assist->options->wait;
}

/* A run is believed at second sight: one that has just taken the lock may not have said yet who it
 * is, where another was killed. */
static bool is_known(struct assist *assist, const struct sight *sight)
{
    bool known = strcmp(assist->seen, sight->who) == 0;
    snprintf(assist->seen, sizeof assist->seen, "%s", sight->who);
    return known;
}

/* Until there is nothing more to wait for; *why says what. */
static bool work_along(struct assist *assist, const char **why)
{
    int pauses = 1;
    size_t stage = 0;
    for (;;) {
        bool worked = false, stopped = false;
        struct sight sight = look(assist, &assist->invocation->err);
        if (sight.state == RUN_OTHER)
            return false;
        if (sight.state == RUN_ENDED || is_waited_for_too_long(assist, &sight) ||
            is_out_of_time(assist)) {
            *why = sight.state == RUN_ENDED ? "the run has ended"
                   : is_out_of_time(assist) ? "the time limit"
                   : *assist->seen          ? "the run was stopped, and has not gone on"
                                            : "no run has begun";
            return true;
        }
        if (sight.state == RUN_ON && is_known(assist, &sight) &&
            !work_watched(assist, &sight, &worked, &stopped))
            return false;
        if (stopped)
            return error_set(&assist->invocation->err, "stopped; the same command goes on");
        if (worked || stage != sight.stage)
            pauses = 1;
        stage = sight.stage;
        if (!worked)
            rest(assist, &sight, &pauses);
    }
}

static enum exit_code finish(struct assist *assist, bool ok, const char *why)
{
    if (!ok) {
        json_free(assist->units);
        return command_failed(assist->invocation);
    }
    if (assist->invocation->json) {
        struct json *document = json_new_object();
        json_put_string(document, "run", assist->plan.run);
        json_put_string(document, "end", why);
        json_put(document, "units", assist->units);
        command_print(document);
        return EXIT_YES;
    }
    size_t count = json_length(assist->units);
    printf("%s: %s; worked %zu time%s%s%s\n", assist->plan.run, why, count, count == 1 ? "" : "s",
           assist->options->device ? " on " : "",
           assist->options->device ? assist->options->device : "");
    json_free(assist->units);
    return EXIT_YES;
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct assist assist = { .invocation = invocation,
                             .options = values,
                             .mutex = PTHREAD_MUTEX_INITIALIZER,
                             .ended = PTHREAD_COND_INITIALIZER };
    const char *path = invocation->operands[0], *why = "";
    if (!plan_load(path, &assist.plan, &invocation->arena, &invocation->err) ||
        (values->device && !device_backend(values->device, &invocation->err)))
        return command_failed(invocation);
    plan_identity(&assist.plan, assist.identity);
    assist.command = arena_format(&invocation->arena, "lethe assist %s", path);
    assist.units = json_new_array();
    assist.started = assist.away_since = clock_seconds();
    if (values->time_limit > 0)
        assist.deadline = assist.started + 60 * values->time_limit;
    bool ok = work_along(&assist, &why);
    return finish(&assist, ok, why);
}

static void set_defaults(void *values)
{
    *(struct options *)values = (struct options){ .wait = 10 };
}

const struct command command_assist = {
    .name = "assist",
    .operands = "PLAN",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "work beside a run of the plan, on another device or machine",
    .details =
        "Takes trainings, drawings and trials that nobody works on, until the run has ended.\n"
        "It may be started before the run, and killed at any time.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
