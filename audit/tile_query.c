/* Local copies: what an image's tiles are matches of, looked at closely; see tile.h. */
#include "audit/align.h"
#include "audit/engine.h"
#include "audit/queries.h"
#include "audit/tile_parts.h"

#include <math.h>
#include <string.h>

enum {
    ALIGNED = 16,  /* tiles of a query that are looked at closely */
    TOGETHER = 16, /* queries that a thread compares with the training images at once */
    WINDOWS = 2,
};

/* What is looked at closely is the tile, and a larger window about it. */
static const size_t window_sides[WINDOWS] = { TILE_SIDE, 24 };
static const struct align_limits window_limits = { .angle = 0.14, .log_scale = 0.2, .drift = 3 };

/* ---- a query --------------------------------------------------------------------------------- */

struct room {
    struct picture picture, mirror;
    float *moving, *padded, *fixed, *smooth_moved, *smooth_fixed;
    struct align_room align[WINDOWS];
    struct grid window[WINDOWS];
    struct arena arena;
};

static void room_init(struct room *room, const struct tile_search *search)
{
    const struct grid *grid = &search->grid;
    memset(room, 0, sizeof *room);
    arena_init(&room->arena);
    picture_init(&room->picture, grid, &room->arena);
    picture_init(&room->mirror, grid, &room->arena);
    for (int w = 0; w < WINDOWS; w++) {
        size_t side = window_sides[w];
        room->window[w] = (struct grid){ .pixels = &search->pixels,
                                         .height = side,
                                         .width = side,
                                         .planes = grid->planes,
                                         .rows = side,
                                         .columns = side,
                                         .box = 1 };
        align_room_init(&room->align[w], &room->window[w]);
    }
    const struct grid *largest = &room->window[WINDOWS - 1];
    room->padded = arena_array(&room->arena, float, grid_padded(largest));
    room->moving = arena_array(&room->arena, float, grid_cells(largest));
    room->fixed = arena_array(&room->arena, float, grid_cells(largest));
    room->smooth_moved = arena_array(&room->arena, float, grid_cells(largest));
    room->smooth_fixed = arena_array(&room->arena, float, grid_cells(largest));
}

static void room_release(struct room *room)
{
    for (int w = 0; w < WINDOWS; w++)
        align_room_release(&room->align[w]);
    arena_release(&room->arena);
}

/* ---- a closer look --------------------------------------------------------------------------- */

/* Correlations of the aligned windows about two tiles, as they are and smoothed. */
static void compare(const struct tile_search *search, struct room *room, int w, const float *cells,
                    const struct tile *place, const struct tile *tile, double r[2])
{
    const struct grid *window = &room->window[w];
    size_t side = window_sides[w];
    long rim = (long)(side - TILE_SIDE) / 2;
    patch_cut_image(&search->grid, tile_training_image(search, tile->id), &search->levels[tile->id],
                    tile->y - rim, tile->x - rim, side, room->fixed);
    patch_cut(&search->grid, cells, place->y - rim, place->x - rim, side, room->moving);
    const struct align_pieces pieces = { .fixed = room->fixed,
                                         .moving = room->moving,
                                         .padded = room->padded,
                                         .smooth_moved = room->smooth_moved,
                                         .smooth_fixed = room->smooth_fixed };
    r[0] = align_pieces(window, &pieces, &window_limits, &room->align[w]);
    r[1] = float_correlation(room->smooth_moved, room->smooth_fixed, grid_cells(window));
}

static struct tile_place place_of(const struct grid *grid, const struct tile *tile, size_t side,
                                  bool mirrored)
{
    double box = (double)grid->box, rim = ((double)side - TILE_SIDE) / 2,
           left = ((double)tile->x - rim) * box, whole = (double)side * box;
    if (mirrored)
        left = (double)grid->columns * box - left - whole;
    return (struct tile_place){ ((double)tile->y - rim) * box, left, whole };
}

/* The best of a probe's subjects in one view, and its distance over the mean of the others'. */
static double closer_ratio(const double r[STRANGERS + 1], size_t count, size_t *best)
{
    double sum = 0;
    *best = 0;
    for (size_t h = 1; h < count; h++)
        *best = r[h] > r[*best] ? h : *best;
    for (size_t h = 0; h < count; h++)
        sum += h == *best ? 0 : distance_of(r[h]) / (double)(count - 1);
    return sum > 0 ? distance_of(r[*best]) / sum : 1;
}

/* What a close look at a probe found. */
struct finding {
    double ratio, correlation;
    const struct probe *probe;
    const struct tile *tile;
    size_t side;
};

/* The view of a probe that gives the smallest ratio. */
static struct finding look_closely(const struct tile_search *search, struct room *room,
                                   const struct probe *probe)
{
    const float *cells = probe->mirrored ? room->mirror.cells : room->picture.cells;
    struct finding finding = { .ratio = INFINITY };
    double r[2 * WINDOWS][STRANGERS + 1];
    for (size_t h = 0; h < probe->count; h++) {
        const struct tile *tile = &search->tiles[probe->hits[h].tile];
        for (int w = 0; w < WINDOWS; w++) {
            double views[2];
            compare(search, room, w, cells, &probe->place, tile, views);
            r[2 * w][h] = views[0];
            r[2 * w + 1][h] = views[1];
        }
    }
    for (int view = 0; view < 2 * WINDOWS; view++) {
        size_t best;
        double ratio = closer_ratio(r[view], probe->count, &best);
        if (ratio < finding.ratio)
            finding =
                (struct finding){ ratio, r[view / 2 * 2][best], probe,
                                  &search->tiles[probe->hits[best].tile], window_sides[view / 2] };
    }
    return finding;
}

/* Each finding with the one that bears it out best; a ratio of 1 where none does. */
static void judge(const struct tile_search *search, const struct finding *findings, size_t count,
                  struct tile_match *match)
{
    for (size_t i = 0; i < count; i++) {
        const struct finding *f = &findings[i];
        double witness = 1;
        for (size_t j = 0; j < count; j++)
            if (j != i && probes_agree(f->probe, f->tile, findings[j].probe, findings[j].tile))
                witness = fmin(witness, findings[j].ratio);
        double ratio = sqrt(f->ratio * witness);
        if (ratio >= match->local_ratio)
            continue;
        *match =
            (struct tile_match){ .correlation = f->correlation,
                                 .local_ratio = ratio,
                                 .id = f->tile->id,
                                 .mirrored = f->probe->mirrored,
                                 .query = place_of(&search->grid, &f->probe->place, f->side,
                                                   f->probe->mirrored),
                                 .training = place_of(&search->grid, f->tile, f->side, false) };
    }
}

/* ---- a query, in steps ----------------------------------------------------------------------- */

/* The query and its mirror image; false where there is nothing to be seen. */
static bool read_query(const struct tile_search *search, struct room *room, size_t query)
{
    const void *image = set_image(&search->pixels, &search->queries, query);
    struct patch_level level;
    if (!patch_read(&search->grid, image, room->picture.cells, &level))
        return false;
    grid_mirror(&search->grid, room->picture.cells, MIRROR_X, room->mirror.cells);
    return true;
}

static void take_query(const struct tile_search *search, struct room *room, size_t query,
                       struct probes *probes)
{
    probes->count = 0;
    probes->own = search->queries.groups ? search->queries.groups[query] : 0;
    if (!read_query(search, room, query))
        return;
    probes_take(search, &room->picture, false, probes);
    probes_take(search, &room->mirror, true, probes);
}

/* What the probes' hits come to; the query is read. */
static void judge_query(const struct tile_search *search, struct room *room, struct probes *probes,
                        struct tile_match *match)
{
    struct finding findings[ALIGNED];
    size_t found = 0;
    *match = (struct tile_match){ .local_ratio = 1 };
    probes_rank(search, probes);
    for (size_t p = 0; p < probes->count && p < ALIGNED; p++)
        if (probes->probe[p].count > 1)
            findings[found++] = look_closely(search, room, &probes->probe[p]);
    judge(search, findings, found, match);
}

/* ---- running --------------------------------------------------------------------------------- */

struct run_job {
    const struct tile_search *search;
    size_t first;
    struct tile_match *match;
    struct probes *probes; /* of each query */
};

static void take_range(void *context, size_t begin, size_t end)
{
    struct run_job *job = context;
    struct room room;
    room_init(&room, job->search);
    for (size_t i = begin; i < end; i++)
        take_query(job->search, &room, job->first + i, &job->probes[i]);
    room_release(&room);
}

static void judge_range(void *context, size_t begin, size_t end)
{
    struct run_job *job = context;
    struct room room;
    room_init(&room, job->search);
    for (size_t i = begin; i < end; i++) {
        if (job->probes[i].count)
            read_query(job->search, &room, job->first + i);
        judge_query(job->search, &room, &job->probes[i], &job->match[i]);
    }
    room_release(&room);
}

/* All of it, by the processor. */
static void run_range(void *context, size_t begin, size_t end)
{
    struct run_job *job = context, part = *job;
    struct heads_room room;
    struct probes probes[TOGETHER];
    struct arena arena;
    arena_init(&arena);
    heads_room_init(&room, job->search, TOGETHER, &arena);
    for (size_t i = 0; i < TOGETHER; i++)
        probes_init(&probes[i], job->search, &arena);
    for (size_t first = begin; first < end; first += TOGETHER) {
        size_t count = end - first < TOGETHER ? end - first : TOGETHER;
        part.first = job->first + first;
        part.match = job->match + first;
        part.probes = probes;
        take_range(&part, 0, count);
        tile_heads_probe(job->search, &room, probes, count);
        judge_range(&part, 0, count);
    }
    arena_release(&arena);
}

static bool answer(const struct run_job *job, size_t count,
                   void (*body)(void *job, size_t begin, size_t end), struct error *err)
{
    const struct tile_search *search = job->search;
    struct run_job own = *job;
    return queries_answer(&search->pixels, &search->queries, &search->database, job->first, count,
                          body, &own, err);
}

/* As many queries as the device compares at once. */
static bool run_on_device(struct run_job *job, size_t count, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    job->probes = arena_array(&arena, struct probes, count);
    for (size_t i = 0; i < count; i++)
        probes_init(&job->probes[i], job->search, &arena);
    bool ok = answer(job, count, take_range, err) &&
              tile_device_probe(job->search, job->probes, count, err) &&
              answer(job, count, judge_range, err);
    arena_release(&arena);
    return ok;
}

bool tile_run(struct tile_search *search, size_t first, size_t count, struct tile_match *match,
              struct error *err)
{
    struct run_job job = { search, first, match, NULL };
    if (!search->device)
        return answer(&job, count, run_range, err);
    for (size_t done = 0, most = tile_device_queries(search), part; done < count; done += part) {
        part = count - done < most ? count - done : most;
        job.first = first + done;
        job.match = match + done;
        if (!run_on_device(&job, part, err))
            return false;
    }
    return true;
}
