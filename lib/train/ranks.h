/* Processes that compute one training together, each on a device of its own: each takes parts of
 * every batch, and they add up what these found out (data parallelism; an all-reduce).
 *
 *     rank 0 (the training)            ranks 1 … count - 1 (shared.h)
 *     images of a step  ── memory that all share ──▶
 *     computes a part                  each computes a part         into its place of that memory
 *     ───────────────────────── ranks_meet ─────────────────────────
 *     each adds up a range of the elements of all places, in the order of the parts
 *     ───────────────────────── ranks_meet ─────────────────────────
 *     each takes the sum, and does the step's update by itself
 *
 * All hold the same tensors, and as the sum is the same for all, they stay the same: nothing else
 * is ever sent about. Sums are those of one process that computes the parts in turn, bit for bit,
 * so a training may go on with more or fewer processes.
 *
 * They are told what to do over a socket each, by rank 0 alone; a process that ends, however that
 * happens, closes its own, so nobody waits for it. Rank 0 is told why; the others end with rank 0.
 * It is for one machine: numbers go through memory that is shared, one copy to it and one from it.
 */
#ifndef TRAIN_RANKS_H
#define TRAIN_RANKS_H

#include "base/digest.h"

#include <sys/types.h>

struct store;

enum { RANKS_MAX = 64 };

/* How the process of a rank is started: it is to call shared_serve with these, `channel` and
 * `memory` being open files that it inherits. */
struct rank {
    int rank, count;
    const char *device;
    int threads;
    int channel, memory;
};
typedef bool rank_starter(const struct rank *rank, pid_t *process, struct error *err);

/* The devices beside the training's own, one process each, which have `threads` each. */
struct train_beside {
    const char *const *devices;
    size_t count;
    int threads;
    rank_starter *start;
};

/* What the shared memory has room for, in floats (int32 too). */
struct ranks_layout {
    size_t terms, images; /* of all parts; of a batch */
    size_t width;         /* of what a part finds out */
    size_t largest;       /* tensor, in bytes: values are spread by this memory too */
};

struct rank_peer {
    int channel;          /* -1: closed, as it has ended */
    pid_t process;        /* 0: it has ended */
    const char *device;   /* the caller's string */
    struct digest digest; /* of its last answer */
};

struct ranks {
    int rank, count;
    struct rank_peer peers[RANKS_MAX]; /* of rank 0: the others, by rank - 1; else rank 0 alone */
    size_t peer_count;
    int memory;
    struct ranks_layout layout;
    void *area;
    size_t bytes;
    void (*pin)(void *area, size_t bytes, bool pinned); /* the device's; NULL: it has none */
    float *terms, *images, *sum, *places;               /* places: `count` of `width` */
};

/* Rank 0: starts the others, one for each device. NULL and a message where that fails. */
struct ranks *ranks_open(const struct train_beside *beside, struct error *err) MUST_USE;
/* Of another rank, in its own process. */
struct ranks *ranks_join(const struct rank *rank) MUST_USE;
/* Ends the others, and waits until they are gone. NULL is fine. */
void ranks_close(struct ranks *ranks);

/* Rank 0: takes memory for what will be mapped later. */
bool ranks_reserve(const struct ranks *ranks, const struct ranks_layout *layout,
                   struct error *err) MUST_USE;
/* Makes the shared memory, or takes part in it once rank 0 has made it. */
bool ranks_map(struct ranks *ranks, const struct ranks_layout *layout, struct error *err) MUST_USE;

/* ---- orders and answers ---------------------------------------------------------------------- */

enum order_kind {
    ORDER_SETTINGS, /* by ranks_send_text: what is trained */
    ORDER_STAGE,    /* make the plans of this step's stage, and map the memory */
    ORDER_VALUES,   /* take the tensors [from,to) from the memory */
    ORDER_STEP,     /* the step's images lie in the memory */
    ORDER_COMPARE,  /* answer the digest of all tensors */
    ORDER_GO        /* all have met */
};
struct order {
    int32_t kind;
    int32_t channels, size; /* ORDER_SETTINGS */
    uint64_t step, from, to;
};

/* Rank 0: to all; and an answer from each, of which the first that is no ends it with its message.
 */
bool ranks_order(struct ranks *ranks, const struct order *order, struct error *err) MUST_USE;
bool ranks_send_text(struct ranks *ranks, const struct order *order, const char *text,
                     struct error *err) MUST_USE;
bool ranks_gather(struct ranks *ranks, struct error *err) MUST_USE;

/* Others: the next order. False where rank 0 is gone, which is how a rank ends. */
bool ranks_await(struct ranks *ranks, struct order *order);
bool ranks_await_text(struct ranks *ranks, struct order *order, char *text, size_t capacity);
/* `why` NULL: it is done. `digest` may be NULL. */
void ranks_answer(struct ranks *ranks, const struct error *why, const struct digest *digest);

/* All of them, until each has come. `ok`: what was to be done until now is; else err says why not,
 * and rank 0 learns of it. False: somebody could not, or is gone. */
bool ranks_meet(struct ranks *ranks, bool ok, struct error *err) MUST_USE;

/* ---- numbers --------------------------------------------------------------------------------- */

/* Between two meetings: this rank's range of `sum`, over the places of ranks 0 … count - 1, in this
 * order; `first`: sums begin with these. */
void ranks_add(struct ranks *ranks, int count, bool first);

/* Rank 0: gives all others the values of its tensors, but for those that
 * checkpoints pass over. Others: takes those that an order names. */
bool ranks_spread(struct ranks *ranks, const struct store *store, struct error *err) MUST_USE;
void ranks_take(struct ranks *ranks, struct store *store, const struct order *order);

/* SHA-256 over the values of a store's tensors, but for such ones. */
struct digest ranks_digest(const struct store *store);

#endif
