/* Lowering a rewritten graph: which values get memory, in which layout, and which are views of
 * others or exist only inside a loop. The result is a list of jobs, which fuse.h joins and turns
 * into the steps of a schedule.
 */
#ifndef TENSOR_LOWER_H
#define TENSOR_LOWER_H

#include "tensor/layout.h"
#include "tensor/precision.h"

enum { USER_NONE = -1, USER_MANY = -2 };

/* What is known of a node while a plan is made. */
struct value {
    struct node *node;
    bool needed;
    bool addressed;     /* it must have a view: something else than a loop reads it */
    bool image;         /* a convolution reads it: channels-last */
    int weights;        /* of its readers those that are convolutions and take it for weights */
    bool root;          /* read after the run: never in less precision than it has */
    bool virtual;       /* exists only within loops */
    int user;           /* the one job that reads it, by its node's id; USER_NONE, USER_MANY */
    int readers;        /* nodes that have it as a source */
    int length;         /* of its expression, down to what has memory for certain */
    int reads;          /* of memory, in that expression, numbers included */
    int cost, loads;    /* to compute it from what is likely to have memory; full-size ones read */
    int load[2];        /* their ids */
    int last_user;      /* the highest id that reads it, through loops and views */
    size_t last_read;   /* jobs when it was last read */
    bool stored;        /* by a loop of its own, which can be run again */
    struct cuts cuts;   /* that its expression takes */
    struct view view;   /* when not virtual; may turn into that of a copy in another layout */
    struct view origin; /* what it was first */
};

/* What a loop reads from memory. Kept with the job, as a value may move to another layout for the
 * jobs that come after. */
struct read {
    const struct node *node;
    struct view view;
};

/* A loop with one result, or a matrix op or random leaf. */
struct job {
    const struct node *node;
    bool loop;
    const struct node *expression; /* what the loop evaluates … */
    bool evaluated;                /* … even though that has memory: this job fills it */
    bool alone;                    /* in no other's loop: it is made anew just where it is needed */
    bool ordered;                  /* comes after all jobs before it that write the same buffer */
    struct cuts cuts;
    int cost;
    int reads, capacity;
    struct read *read;
    struct view *in, out;
};

struct lowering {
    struct arena *arena;
    enum precision precision;
    bool weights_last;           /* the backend's */
    const size_t *element_bytes; /* likewise, by dtype */
    const struct graph *graph;
    struct value *values;
    size_t count;
    struct job *jobs;
    size_t job_count, job_capacity;
    struct buffer *buffers;
    size_t buffer_count, buffer_capacity;
    unsigned char *seen;
};

/* Roots are nodes of the rewritten graph. roots_at[i]: a dense row-major view of each; a root that
 * is a leaf is copied when `fresh` says so, else its own view is given. */
void lower_graph(struct lowering *lowering, const struct graph *graph, struct node *const *roots,
                 const bool *fresh, size_t count, struct view *roots_at);

/* Whether the node is evaluated inside a loop that reads it, rather than read from memory. */
bool lower_is_inline(const struct lowering *lowering, const struct node *node);

#endif
