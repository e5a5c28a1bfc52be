/* How a training ended, and where it is. */
#ifndef TRAIN_REPORT_H
#define TRAIN_REPORT_H

#include <stdint.h>

enum train_end { TRAIN_COMPLETE, TRAIN_SIGNAL, TRAIN_TIME, TRAIN_END_COUNT };

struct train_report {
    enum train_end end;
    uint64_t step, images; /* done in all */
    uint64_t resumed_at;   /* the step that this call began with */
    double seconds;        /* of this call */
    char checkpoint[1024]; /* the last that was written, or found */
};

#endif
