/* What a run's journal says of each stage, and of each candidate's: how it last went, how long it
 * took, what it needed. */
#ifndef CMD_HISTORY_H
#define CMD_HISTORY_H

#include "stages.h"

enum { HISTORY_STAGES = 16, HISTORY_TRIES = 256 };

enum stage_event {
    EVENT_NONE,
    EVENT_STARTED, /* and not ended: it is running, or was killed */
    EVENT_STOPPED, /* will go on when run again */
    EVENT_ENDED,
    EVENT_NO, /* the answer was no */
    EVENT_FAILED,
    EVENT_PURGED, /* what it made was removed, after a release */
    EVENT_COUNT
};

struct stage_history {
    enum stage_event last;
    const char *time, *message; /* of the last event; message NULL: none */
    double seconds;             /* of the last whole one, its stopped parts added; < 0: none yet */
    int64_t memory, bytes;      /* of that: at most; what it left on disk */
    double stopped_seconds;     /* of parts since */
    const char *inputs[HISTORY_TRIES]; /* of what it was begun with, each once */
    uint64_t tries;                    /* of these: going on after a stop is no other try */
};

/* A stage, or a stage of one candidate (stage_label). */
struct history_entry {
    const struct stage *stage;
    const char *label; /* NULL: none */
    struct stage_history past;
    struct history_entry *next;
};

struct history {
    struct history_entry *entries; /* of what the journal speaks of */
    struct arena *arena;
    uint64_t length; /* of the journal */
    struct digest head;
    bool in_run;  /* the last lethe run has not ended: it goes on, or was killed */
    bool stopped; /* what was begun last was stopped, or killed: the same command goes on */
};

bool history_read(struct history *history, const char *run, struct arena *arena,
                  struct error *err) MUST_USE;

/* What there is of a stage; where the journal does not speak of it, nothing has happened. */
const struct stage_history *history_of(const struct history *history, const struct stage *stage,
                                       const char *label);

/* With how many different inputs and settings a stage was begun, for whichever candidate. However
 * often a run is interrupted, these are the same. */
uint64_t history_tries(const struct history *history, const char *stage);

/* What the journal calls a stage's removal; the other events are stage_make's. */
#define EVENT_NAME_PURGED "stage purged"

/* What it calls the two ends of a run, and the end of one that was stopped. */
#define EVENT_NAME_RUN_STARTED "run started"
#define EVENT_NAME_RUN_ENDED   "run ended"
#define END_NAME_STOPPED       "stopped"

/* The place of a stage in the table. */
size_t stage_place(const struct stage *stage);

#endif
