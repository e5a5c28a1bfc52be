/* What a run's journal says of each stage: how it last went, how long it took, what it needed. */
#ifndef CMD_HISTORY_H
#define CMD_HISTORY_H

#include "stages.h"

enum { HISTORY_STAGES = 16 };

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
    uint64_t times;             /* that it was made, from beginning to end */
};

struct history {
    struct stage_history stages[HISTORY_STAGES]; /* in the order of the table of stages */
    struct arena *arena;
    uint64_t length; /* of the journal */
    struct digest head;
};

bool history_read(struct history *history, const char *run, struct arena *arena,
                  struct error *err) MUST_USE;

/* What the journal calls a stage's removal; the other events are stage_make's. */
#define EVENT_NAME_PURGED "stage purged"

/* The place of a stage in the table. */
size_t stage_place(const struct stage *stage);

#endif
