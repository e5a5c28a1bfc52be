/* Bringing together steps that do not depend on each other; see gather.h. */
#include "tensor/gather.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

/* What steps do with a place. */
struct mark {
    bool read, written;
};

struct gathering {
    const struct backend *backend;
    const int *place;
    const size_t *held;
    size_t places;
    const struct step **waiting; /* in the order in which they came */
    size_t waiting_count, waiting_bytes;
    struct mark *marks; /* of all that waits, by place */
    struct step *done;
    size_t done_count;
};

bool step_use(const struct step *step, int i, struct use *use)
{
    if (step->loop) {
        if (i >= step->loop->operands)
            return false;
        const struct operand *operand = &step->loop->operand[i];
        *use = (struct use){ operand->buffer, operand->use != OPERAND_LOAD };
        return true;
    }
    int sources = step->node->sources;
    if (i < sources)
        *use = (struct use){ step->in[i].buffer, false };
    else
        *use = (struct use){ step->out.buffer, true };
    return i <= sources;
}

static void mark(struct gathering *g, const struct step *step)
{
    struct use use;
    for (int i = 0; step_use(step, i, &use); i++) {
        struct mark *at = &g->marks[g->place[use.buffer]];
        at->read |= !use.write;
        at->written |= use.write;
    }
}

/* Whether the step must come after one of those that were marked. */
static bool depends(const struct gathering *g, const struct step *step)
{
    struct use use;
    for (int i = 0; step_use(step, i, &use); i++) {
        const struct mark *at = &g->marks[g->place[use.buffer]];
        if (at->written || (use.write && at->read))
            return true;
    }
    return false;
}

static size_t bytes_held(const struct gathering *g, const struct step *step)
{
    struct use use;
    size_t bytes = 0;
    for (int i = 0; step_use(step, i, &use); i++)
        bytes += g->held[use.buffer];
    return bytes;
}

/* Where the step does not fit into the group of those before it, it begins another. */
static void add_to_group(struct gathering *g, const struct step *step, struct step **head,
                         size_t *taken)
{
    size_t takes = g->backend->gathers(step);
    struct step *at = &g->done[g->done_count++];
    *at = *step;
    at->together = 0;
    if (!*head || *taken + takes > g->backend->group_most) {
        *head = at;
        *taken = 0;
    }
    (*head)->together++;
    *taken += takes;
}

/* All that waits and depends on nothing that waits. */
static void let_go(struct gathering *g)
{
    struct step *head = NULL;
    size_t left = 0, taken = 0;
    memset(g->marks, 0, g->places * sizeof *g->marks);
    for (size_t i = 0; i < g->waiting_count; i++) {
        const struct step *step = g->waiting[i];
        bool stays = depends(g, step);
        mark(g, step);
        if (stays)
            g->waiting[left++] = step;
        else
            add_to_group(g, step, &head, &taken);
    }
    memset(g->marks, 0, g->places * sizeof *g->marks);
    g->waiting_count = left;
    g->waiting_bytes = 0;
    for (size_t i = 0; i < left; i++) {
        mark(g, g->waiting[i]);
        g->waiting_bytes += bytes_held(g, g->waiting[i]);
    }
}

static void defer(struct gathering *g, const struct step *step)
{
    while (g->waiting_count && g->waiting_bytes + bytes_held(g, step) > HELD_MOST)
        let_go(g);
    g->waiting[g->waiting_count++] = step;
    g->waiting_bytes += bytes_held(g, step);
    mark(g, step);
}

static void pass(struct gathering *g, const struct step *step)
{
    while (depends(g, step))
        let_go(g);
    struct step *at = &g->done[g->done_count++];
    *at = *step;
    at->together = 1;
}

void gather_steps(struct step *steps, size_t count, const struct backend *backend, const int *place,
                  const size_t *held, size_t buffers)
{
    struct gathering g = { .backend = backend, .place = place, .held = held, .places = buffers };
    g.waiting = memory_grow(NULL, count + 1, sizeof *g.waiting);
    g.marks = memory_grow(NULL, buffers + 1, sizeof *g.marks);
    g.done = memory_grow(NULL, count + 1, sizeof *g.done);
    memset(g.marks, 0, buffers * sizeof *g.marks);
    for (size_t i = 0; i < count; i++)
        if (!steps[i].once && backend->gathers(&steps[i]) && bytes_held(&g, &steps[i]) <= HELD_MOST)
            defer(&g, &steps[i]);
        else
            pass(&g, &steps[i]);
    while (g.waiting_count)
        let_go(&g);
    CHECK(g.done_count == count, "%zu of %zu steps left after gathering", g.done_count, count);
    memcpy(steps, g.done, count * sizeof *steps);
    free(g.waiting);
    free(g.marks);
    free(g.done);
}
