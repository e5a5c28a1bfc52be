/* Local copies on a device, which rules out all but a few of an image's pairs of tiles with the
 * training images'.
 *
 * Training images' tiles lie in order of their blocks, and 64 of them that follow each other are a
 * run (tensor/maxima.h). A probe can be a match of tiles of nine blocks only: those about its own,
 * three rows of three, of which each lies together. So probes are put in order of their blocks, and
 * those of one block are asked for the same runs, together. Of each run comes back how large its
 * largest score with the probe is. Then here, of each probe:
 *
 *     best   the SEEDS runs that may hold the largest scores: their tiles' exactly, which gives
 *            what a further run must reach
 *     left   the runs that may reach that: their tiles' exactly
 *
 * The device decides only which scores are computed, and it may only err on one side, by rounding:
 * so hits are those of the processor, bit for bit. Each run that is computed proves the device
 * right or wrong. */
#include "audit/tile_parts.h"
#include "base/parallel.h"
#include "tensor/maxima.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    SEEDS = 12,
    ROWS = 3,               /* of blocks about a probe */
    TIMES = 128,            /* queries at once: a shard of matcher.c */
    VALUES_MOST = 64 << 20, /* of them; so many floats are held here, too */
};

/* Runs that lie together. */
struct stretch {
    size_t run, runs;
};

struct tile_device {
    const struct maxima_methods *methods;
    struct maxima_plan plan;
    struct maxima *maxima;
    struct maxima_place *places; /* of the training images' tiles */
};

/* ---- the training images' tiles -------------------------------------------------------------- */

/* The runs that hold all tiles of the blocks about one, in order, none twice. Returns how many
 * stretches. */
static size_t stretches_about(const struct tile_search *search, size_t block,
                              struct stretch stretch[ROWS])
{
    size_t across = search->blocks_x, by = block / across, bx = block % across, count = 0,
           left = bx ? bx - 1 : 0, right = bx + 1 < across ? bx + 1 : bx, after = 0;
    for (size_t y = by ? by - 1 : 0; y <= by + 1 && y < search->blocks_y; y++) {
        size_t begin = search->block[y * across + left],
               end = search->block[y * across + right + 1], first = begin / MAXIMA_RUN,
               last = (end + MAXIMA_RUN - 1) / MAXIMA_RUN;
        first = first < after ? after : first;
        if (begin == end || first >= last)
            continue;
        stretch[count++] = (struct stretch){ first, last - first };
        after = last;
    }
    return count;
}

static size_t most_runs(const struct tile_search *search)
{
    size_t most = 0;
    for (size_t b = 0; b < search->blocks_y * search->blocks_x; b++) {
        struct stretch stretch[ROWS];
        size_t runs = 0, count = stretches_about(search, b, stretch);
        for (size_t s = 0; s < count; s++)
            runs += stretch[s].runs;
        most = runs > most ? runs : most;
    }
    return most;
}

static struct maxima_columns columns_of(const struct tile_search *search)
{
    return (struct maxima_columns){ search->rows, search->device->places };
}

static bool open_device(struct tile_search *search, struct error *err)
{
    struct tile_device *device = search->device;
    size_t values = PROBES_MOST * most_runs(search), fit = VALUES_MOST / values;
    struct maxima_size size = { .columns = search->count,
                                .length = search->features,
                                .reach = REACH,
                                .queries = PROBES_MOST,
                                .values = values,
                                .items = PROBES_MOST * ROWS,
                                .times = fit < 1       ? 1
                                         : fit > TIMES ? TIMES
                                                       : fit,
                                .memory = search->settings.device_memory };
    device->places = memory_allocate(search->count, sizeof *device->places, "places of tiles", err);
    if (!device->places || !device->methods->plan(&size, &device->plan, err) ||
        !(device->maxima = device->methods->open(&device->plan, err)))
        return false;
    for (size_t i = 0; i < search->count; i++) {
        const struct tile *tile = &search->tiles[i];
        device->places[i] = (struct maxima_place){ tile->y, tile->x, tile->group, 0 };
    }
    struct maxima_columns columns = columns_of(search);
    if (device->plan.resident)
        device->methods->set_columns(device->maxima, &columns);
    return true;
}

/* Of so few subjects a probe may keep one's best match however bad it is, and nothing is ruled out.
 */
static bool few_subjects(const struct tile_search *search)
{
    uint32_t group[STRANGERS + 2];
    size_t known = 0;
    for (size_t i = 0; i < search->count && known < STRANGERS + 2; i++) {
        size_t g = 0;
        while (g < known && group[g] != search->tiles[i].group)
            g++;
        if (g == known)
            group[known++] = search->tiles[i].group;
    }
    return known < STRANGERS + 2;
}

bool tile_device_open(struct tile_search *search, struct error *err)
{
    if (!search->settings.device || few_subjects(search))
        return true;
    search->device = memory_allocate(1, sizeof *search->device, "a search", err);
    if (!search->device)
        return false;
    *search->device = (struct tile_device){ .methods = search->settings.device };
    return open_device(search, err);
}

void tile_device_close(struct tile_search *search)
{
    struct tile_device *device = search->device;
    if (!device)
        return;
    device->methods->close(device->maxima);
    memory_free(device->places);
    memory_free(device);
}

size_t tile_device_queries(const struct tile_search *search)
{
    return search->device->plan.times;
}

/* ---- what is asked --------------------------------------------------------------------------- */

/* All probes of some queries, by their blocks. */
struct asking {
    const struct tile_search *search;
    struct probes *probes;
    size_t count;
    struct maxima_question question;
    float *rows; /* what the question points to */
    struct maxima_place *places;
    struct maxima_item *items;
    struct stretch (*stretch)[ROWS]; /* of each block */
    size_t *stretches;
    size_t (*value)[ROWS]; /* of each probe (query, PROBES_MOST): where its maxima begin */
    size_t *order;         /* probes by their blocks, as indices of `value` */
    float *values;
    atomic_bool broken; /* a score was above its run's maximum */
    struct arena arena;
};

static size_t block_of(const struct asking *asking, size_t at)
{
    return tile_block(asking->search,
                      &asking->probes[at / PROBES_MOST].probe[at % PROBES_MOST].place);
}

static void sort_probes(struct asking *asking)
{
    size_t begin[BLOCKS_MOST * BLOCKS_MOST + 1] = { 0 }, blocks = asking->search->blocks_y *
                                                                  asking->search->blocks_x;
    for (size_t q = 0; q < asking->count; q++)
        for (size_t p = 0; p < asking->probes[q].count; p++)
            begin[block_of(asking, q * PROBES_MOST + p) + 1]++;
    for (size_t b = 0; b < blocks; b++)
        begin[b + 1] += begin[b];
    asking->question.queries = begin[blocks];
    for (size_t q = 0; q < asking->count; q++)
        for (size_t p = 0; p < asking->probes[q].count; p++) {
            size_t at = q * PROBES_MOST + p;
            asking->order[begin[block_of(asking, at)]++] = at;
        }
}

static void copy_probes(struct asking *asking)
{
    const struct tile_search *search = asking->search;
    size_t d = search->features;
    for (size_t i = 0; i < asking->question.queries; i++) {
        const struct probes *probes = &asking->probes[asking->order[i] / PROBES_MOST];
        size_t p = asking->order[i] % PROBES_MOST;
        memcpy(asking->rows + i * d, probes->described + p * d, d * sizeof *asking->rows);
        asking->places[i] =
            (struct maxima_place){ probes->probe[p].place.y, probes->probe[p].place.x, probes->own,
                                   search->settings.other_groups };
    }
}

/* Probes [first, end) in order, which are of one block, for one of its stretches. */
static void ask(struct asking *asking, size_t first, size_t end, const struct stretch *stretch,
                size_t s)
{
    struct maxima_question *question = &asking->question;
    for (size_t at = first; at < end; at += MAXIMA_GROUP) {
        size_t queries = end - at < MAXIMA_GROUP ? end - at : MAXIMA_GROUP;
        asking->items[question->items++] =
            (struct maxima_item){ at, queries, stretch->run, stretch->runs, question->values };
        for (size_t i = 0; i < queries; i++, question->values += stretch->runs)
            asking->value[asking->order[at + i]][s] = question->values;
    }
}

static void make_items(struct asking *asking)
{
    for (size_t first = 0, end; first < asking->question.queries; first = end) {
        size_t block = block_of(asking, asking->order[first]);
        for (end = first + 1;
             end < asking->question.queries && block_of(asking, asking->order[end]) == block;)
            end++;
        asking->stretches[block] = stretches_about(asking->search, block, asking->stretch[block]);
        for (size_t s = 0; s < asking->stretches[block]; s++)
            ask(asking, first, end, &asking->stretch[block][s], s);
    }
}

static void asking_init(struct asking *asking)
{
    struct arena *arena = &asking->arena;
    const struct tile_search *search = asking->search;
    size_t most = asking->count * PROBES_MOST, blocks = search->blocks_y * search->blocks_x;
    arena_init(arena);
    asking->rows = arena_array(arena, float, most * search->features);
    asking->places = arena_array(arena, struct maxima_place, most);
    asking->items = arena_array(arena, struct maxima_item, most * ROWS);
    asking->stretch = arena_allocate_array(arena, blocks, sizeof *asking->stretch);
    asking->stretches = arena_array(arena, size_t, blocks);
    asking->value = arena_allocate_array(arena, most, sizeof *asking->value);
    asking->order = arena_array(arena, size_t, most);
    asking->question = (struct maxima_question){ .rows = asking->rows,
                                                 .places = asking->places,
                                                 .item = asking->items };
    sort_probes(asking);
    copy_probes(asking);
    make_items(asking);
}

/* ---- what is answered ------------------------------------------------------------------------ */

struct run {
    float bound;
    size_t run;
};

/* A run's tiles, exactly. */
static void look_into(struct asking *asking, struct probes *probes, size_t probe, size_t run,
                      float bound)
{
    const struct tile_search *search = asking->search;
    size_t first = run * MAXIMA_RUN, left = search->count - first;
    double most = probe_tiles(search, probes, probe, first, left < MAXIMA_RUN ? left : MAXIMA_RUN);
    if (!(most <= (double)bound + search->rounding)) /* or not a number */
        atomic_store(&asking->broken, true);
}

/* Inserts into the largest, in descending order. */
static void keep_run(struct run *best, size_t *count, struct run run)
{
    if (run.bound == -INFINITY || (*count == SEEDS && run.bound <= best[SEEDS - 1].bound))
        return;
    size_t place = *count < SEEDS ? (*count)++ : SEEDS - 1;
    for (; place > 0 && run.bound > best[place - 1].bound; place--)
        best[place] = best[place - 1];
    best[place] = run;
}

static void answer_probe(struct asking *asking, size_t query, size_t p)
{
    const struct tile_search *search = asking->search;
    struct probes *probes = &asking->probes[query];
    const struct probe *probe = &probes->probe[p];
    size_t block = tile_block(search, &probe->place), seeds = 0, at = query * PROBES_MOST + p;
    struct run seed[SEEDS];
    for (size_t s = 0; s < asking->stretches[block]; s++) {
        const struct stretch *stretch = &asking->stretch[block][s];
        const float *bound = asking->values + asking->value[at][s];
        for (size_t r = 0; r < stretch->runs; r++)
            keep_run(seed, &seeds, (struct run){ bound[r], stretch->run + r });
    }
    for (size_t i = 0; i < seeds; i++)
        look_into(asking, probes, p, seed[i].run, seed[i].bound);
    float last = seeds ? seed[seeds - 1].bound : -INFINITY;
    for (size_t s = 0; s < asking->stretches[block]; s++) {
        const struct stretch *stretch = &asking->stretch[block][s];
        const float *bound = asking->values + asking->value[at][s];
        for (size_t r = 0; r < stretch->runs; r++)
            if (bound[r] != -INFINITY && !(bound[r] > last) &&
                !((double)bound[r] < probe_bar(search, probe)))
                look_into(asking, probes, p, stretch->run + r, bound[r]);
    }
}

static void answer_query(void *context, size_t query)
{
    struct asking *asking = context;
    for (size_t p = 0; p < asking->probes[query].count; p++)
        answer_probe(asking, query, p);
}

bool tile_device_probe(const struct tile_search *search, struct probes *probes, size_t count,
                       struct error *err)
{
    struct asking asking = { .search = search, .probes = probes, .count = count };
    struct tile_device *device = search->device;
    struct maxima_columns columns = columns_of(search);
    asking_init(&asking);
    asking.values =
        memory_allocate(asking.question.values + 1, sizeof *asking.values, "maxima", err);
    bool ok = asking.values &&
              device->methods->find(device->maxima, &asking.question, &columns, asking.values, err);
    if (ok)
        parallel_items(count, answer_query, &asking);
    memory_free(asking.values);
    arena_release(&asking.arena);
    return ok && (!asking.broken ||
                  error_set(err,
                            "the device gave a maximum below a score that it is to bound: its "
                            "products are off by more than %.1g; search with --device cpu",
                            search->rounding));
}
