/* The stages of a release: a table, and what runs a row of it.
 *
 * A stage is a row: what it is called, its folder in the run folder, the stages that it reads from,
 * the section of the plan that decides about it, and a function that does the work. From the row
 * come `lethe NAME PLAN`, its place in `lethe run`, its line in `lethe status`, and the digest that
 * tells whether it is up to date:
 *
 *     the product of each stage that it needs    what their records (plan/stage.h) say was made
 *     its settings                               the plan's section, spelled out
 *     whatever `add_inputs` adds                 e.g. the names and contents of the scans
 *
 *     static enum exit_code work(struct stage_work *work) { … writes into work->folder … }
 *     const struct stage stage_sample = { .name = "sample", .folder = "synthetic", … };
 *
 *     if (invocation->operand_count == 1)
 *         return stage_command(invocation, &stage_sample);
 */
#ifndef CMD_STAGES_H
#define CMD_STAGES_H

#include "command.h"
#include "plan.h"

#include "base/digest.h"
#include "base/text.h"
#include "plan/journal.h"
#include "plan/lock.h"

enum { STAGE_NEEDS = 8 };

/* One stage being worked on. */
struct stage_work {
    const struct stage *stage;
    const struct release_plan *plan;
    const char *folder;      /* of the stage */
    const void *options;     /* of the stage's own command; NULL within lethe run */
    struct journal *journal; /* of the run; NULL without a plan */
    struct arena *arena;
    struct error *err;
    const char *command; /* whose work it is, for who waits for it; NULL: the stage's */
    /* lethe run's: devices that a stage may compute on as well, and the threads of each; or NULL. */
    const struct yaml_strings *beside;
    int beside_threads;
    bool is_only;          /* of lethe run and who assists: no other candidate has such a stage */
    struct json *document; /* to be set: what --json tells */
    struct text summary;   /* to be filled: the same in words, in lines */
    bool unfinished;       /* to be set when the work was stopped and will go on: no record */
};

/* What candidates (candidates.h) are to a stage. */
enum stage_of_candidate {
    STAGE_BEFORE_CANDIDATES,
    STAGE_TRAINS_CANDIDATE, /* made for each, those of one training together */
    STAGE_DRAWS_CANDIDATE,  /* made for each, of the checkpoint that it names */
    STAGE_JUDGES_CANDIDATE, /* made for each, with intervals that hold for all together */
    STAGE_OF_ALL_CANDIDATES,
    STAGE_OF_THE_CHOSEN,
};

struct stage {
    const char *name;                /* of the stage, and of its command */
    const char *folder;              /* in the run folder */
    const char *product;             /* what later stages depend on: outputs whose path begins so */
    const char *needs[STAGE_NEEDS];  /* stages, by name */
    const struct yaml_field *fields; /* the settings that decide: a section of the plan … */
    size_t settings;                 /* … and where it stands in struct release_plan */
    bool may_grow; /* files that come into the folder later, as signatures do, change nothing */
    enum stage_of_candidate of_candidate;
    /* Whether what the folder holds may be given up for something new; NULL: it always may.
     * Refused, it stays as it is, with its record. */
    bool (*may_replace)(const struct release_plan *plan, struct arena *arena, struct error *err);
    bool in_place; /* the work goes on in an existing folder; others exchange theirs at the end */
    /* Refuses, before anything is written, what cannot be worked on. */
    bool (*accepts)(const struct release_plan *plan, struct error *err);
    /* What else decides about the outcome, as lines. */
    bool (*add_inputs)(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err);
    bool quick_inputs; /* add_inputs takes no time: it is asked at a glance, too */
    /* Whether this plan asks for the stage; NULL: every plan does. */
    bool (*is_wanted)(const struct release_plan *plan);
    enum exit_code (*run)(struct stage_work *work);
    bool taken_whole; /* a variant of it is a unit of work that can be taken (base/lock.h) */
    /* For who assists a run (assist.c): works on a unit of it that nobody has taken, on the device, or
     * the plan's where that is NULL; *worked tells whether there was one. It leaves the stage to be
     * finished, and recorded, by the run. NULL: there are no units. */
    bool (*assist)(struct stage_work *work, const char *device, bool *worked);
};

/* one a line, by name */
/* clang-format off */
extern const struct stage
    stage_audit,
    stage_choose,
    stage_fidelity,
    stage_ingest,
    stage_membership,
    stage_package,
    stage_references,
    stage_report,
    stage_sample,
    stage_train,
    stage_utility;
/* clang-format on */
extern const struct stage *const stages[]; /* in order; NULL-terminated */

/* The stage of that name, or NULL. */
const struct stage *stage_find(const char *name);

/* The folder of a stage, of the candidate that the plan is about; the stage by its name. */
const char *stage_folder(const struct release_plan *plan, const char *name, struct arena *arena);
const char *stage_folder_of(const struct stage *stage, const struct release_plan *plan,
                            struct arena *arena);
/* NULL where the plan does not ask for the stage. */
const char *stage_folder_if_wanted(const struct stage *stage, const struct release_plan *plan,
                                   struct arena *arena);

/* sample.c: the folder of training, or in it the checkpoint that the plan's candidate asks for. */
bool stage_weights(const struct stage_work *work, const char **from) MUST_USE;

/* train.c: the folder of a stage that trains, new or with what can go on; what was trained on other
 * data, or by other settings, is set aside. */
bool train_prepare(const struct stage_work *work, const char *dataset) MUST_USE;

/* references.c: the folders of those that the plan asks for. */
struct yaml_strings references_of(const struct release_plan *plan, struct arena *arena);

/* The plans that a stage is made with: one for each of its candidates, in order; else the plan
 * itself, told what was chosen where that comes first. Returns how many; they belong to the arena.
 */
size_t stage_variants(const struct stage *stage, const struct release_plan *plan,
                      const struct release_plan **variants, struct arena *arena);

/* Calls `work` for each of these plans in order, with its unit of work taken where it is one. Those
 * that other processes work on are come back to; where there are only such left, that is said, and
 * they are waited for. Ends with the first that is not made, or is left unfinished. */
typedef enum exit_code stage_worker(void *context, const struct release_plan *variant,
                                    bool *unfinished);
enum exit_code stage_each_variant(const struct stage *stage, const struct release_plan *plan,
                                  stage_worker *work, void *context, bool *unfinished,
                                  struct arena *arena, struct error *err);

/* Takes a variant of a stage that is taken whole. The lock is beside its folder, hidden, for the
 * folder may be moved. */
enum lock_outcome stage_take(const struct stage *stage, const struct release_plan *plan,
                             const char *command, struct lock *lock, struct arena *arena,
                             struct error *err) MUST_USE;

/* Says on standard error that `what` is waited for, on which `whom` works. */
void stage_waiting(const char *what, const char *whom);

/* "sample", or "sample early" of a candidate; returns `title`. And the widest of a plan. */
enum { STAGE_TITLE = 64 };
const char *stage_title(const struct stage *stage, const struct release_plan *plan,
                        char title[STAGE_TITLE]);
int stage_title_width(const struct release_plan *plan);

/* The name of the candidate whose work it is alone; NULL: there is none, or several share it. */
const char *stage_label(const struct stage *stage, const struct release_plan *plan);

/* The digest of all that decides about a stage. Fails where one that it needs has not been made.
 * With care every file that it depends on is read; at a glance records are believed, and what takes
 * long (has add_inputs) cannot be told: *digest is then not set and *known false. */
enum stage_care { STAGE_WITH_CARE, STAGE_AT_A_GLANCE };
bool stage_inputs(const struct stage *stage, const struct release_plan *plan, enum stage_care care,
                  struct arena *arena, struct digest *digest, bool *known,
                  struct error *err) MUST_USE;

/* Whether the stage is up to date; when not, `reason` says why. */
bool stage_is_done(const struct stage *stage, const struct release_plan *plan, enum stage_care care,
                   struct arena *arena, struct error *reason);

/* Whether the command line has none of the settings that a plan holds: beside a plan they would be
 * passed over, so the commands below refuse them. */
bool no_settings(struct invocation *invocation);

/* `lethe NAME PLAN`: loads the plan, locks the run folder, and makes the stage unless it is up to
 * date. */
enum exit_code stage_command(struct invocation *invocation, const struct stage *stage);
/* The same for several, in order, up to the first that is not made; NULL-terminated. With --json
 * one document holds those of the stages that were made, by name. */
enum exit_code stage_commands(struct invocation *invocation, const struct stage *const *list);

/* A run folder that is being worked in: locked, its journal open. */
struct run_folder {
    struct run_lock lock;
    struct journal journal;
};
bool run_folder_open(struct run_folder *folder, const struct release_plan *plan,
                     const char *command, struct error *err) MUST_USE;
void run_folder_close(struct run_folder *folder, bool unfinished); /* it will be gone on with */
/* Tells assistants which stage has come, and which is the last that is asked for. */
bool run_folder_tell(struct run_folder *folder, const struct release_plan *plan,
                     const struct stage *stage, const struct stage *until,
                     struct error *err) MUST_USE;

/* Makes one stage whose inputs are known, records it, and journals that. The run folder is locked.
 */
enum exit_code stage_make(struct stage_work *work, const struct digest *inputs);

/* A work on a stage of a plan, and one by options alone, into a folder that these name. */
struct stage_work stage_of_plan(const struct stage *stage, const struct release_plan *plan,
                                struct arena *arena, struct error *err);
struct stage_work stage_without_plan(struct invocation *invocation, const char *folder);

/* What a utility audit did, into the work: its document and summary, or that it is unfinished. */
enum exit_code utility_measure(struct stage_work *work, const struct utility_job *job);

/* Prints what the work has to tell, as the invocation wants it, and why it failed where it did;
 * frees what it holds, and returns the code. */
enum exit_code stage_finish(struct invocation *invocation, struct stage_work *work,
                            enum exit_code code);

#endif
