/* Local copies: an image's tiles against those of the training images; see tile.h. */
#include "audit/align.h"
#include "audit/blas.h"
#include "audit/engine.h"
#include "audit/queries.h"
#include "audit/tile_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STRANGERS = 5,
    REACH = 16,    /* cells that a piece may have moved along each axis */
    ALIGNED = 16,  /* tiles of a query that are looked at closely */
    PIECE = 2048,  /* tiles in one matrix product */
    AGREEMENT = 2, /* cells by which the ways of two tiles may differ */
    WINDOWS = 2,
    PROBES_MOST = 2 * TAKEN,
};

/* What is looked at closely is the tile, and a larger window about it. */
static const size_t window_sides[WINDOWS] = { SIDE, 24 };
static const struct align_limits window_limits = { .angle = 0.14, .log_scale = 0.2, .drift = 3 };

/* ---- a query --------------------------------------------------------------------------------- */

/* One subject's best match of a query's tile. */
struct hit {
    float score;
    uint32_t group;
    size_t tile; /* of the training images' */
};

/* A tile of a query with its best subjects, in order. */
struct probe {
    struct tile place;
    bool mirrored;
    size_t count;
    struct hit hits[STRANGERS + 1];
    double ratio; /* from the descriptions, with a witness */
    size_t order; /* in which probes were made */
};

struct room {
    struct picture picture, mirror;
    struct probe probes[PROBES_MOST];
    size_t probe_count;
    float *described; /* (PROBES_MOST, features) */
    float *near;      /* the same, of probes that reach a block */
    float *scores;    /* (PROBES_MOST, PIECE) */
    float *training;
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
    room->described = arena_array(&room->arena, float, PROBES_MOST * search->features);
    room->near = arena_array(&room->arena, float, PROBES_MOST * search->features);
    room->scores = arena_array(&room->arena, float, PROBES_MOST *PIECE);
    room->training = arena_array(&room->arena, float, grid_cells(grid));
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

/* Puts a score among the best subjects of a probe. */
static void note_hit(struct probe *probe, struct hit hit)
{
    size_t place = 0, known = probe->count;
    for (size_t h = 0; h < probe->count; h++)
        if (probe->hits[h].group == hit.group)
            known = h;
    if (known < probe->count) {
        if (hit.score <= probe->hits[known].score)
            return;
        place = known;
    } else if (probe->count <= STRANGERS) {
        place = probe->count++;
    } else {
        place = STRANGERS;
    }
    for (; place > 0 && hit.score > probe->hits[place - 1].score; place--)
        probe->hits[place] = probe->hits[place - 1];
    probe->hits[place] = hit;
}

/* Probes that a tile whose middle lies in the block may be a match of. */
static size_t probes_near(const struct room *room, size_t block_y, size_t block_x,
                          size_t near[PROBES_MOST])
{
    size_t count = 0;
    for (size_t p = 0; p < room->probe_count; p++) {
        long y = room->probes[p].place.y + SIDE / 2, x = room->probes[p].place.x + SIDE / 2,
             top = (long)block_y * BLOCK, left = (long)block_x * BLOCK;
        if (y + REACH >= top && y - REACH < top + BLOCK && x + REACH >= left &&
            x - REACH < left + BLOCK)
            near[count++] = p;
    }
    return count;
}

/* Notes what tiles [first, first + count) score with a probe. */
static void note_scores(const struct tile_search *search, struct probe *probe, const float *scores,
                        size_t first, size_t count, uint32_t own)
{
    for (size_t j = 0; j < count; j++) {
        const struct tile *tile = &search->tiles[first + j];
        if ((probe->count > STRANGERS && scores[j] <= probe->hits[STRANGERS].score) ||
            abs(tile->y - probe->place.y) > REACH || abs(tile->x - probe->place.x) > REACH ||
            (search->settings.other_groups && tile->group == own))
            continue;
        note_hit(probe, (struct hit){ scores[j], tile->group, first + j });
    }
}

/* Every probe against every tile within reach, block by block. */
static void probe_database(const struct tile_search *search, struct room *room, uint32_t own)
{
    size_t d = search->features, near[PROBES_MOST];
    for (size_t b = 0; b < search->blocks_y * search->blocks_x; b++) {
        size_t begin = search->block[b], end = search->block[b + 1],
               probes = probes_near(room, b / search->blocks_x, b % search->blocks_x, near);
        for (size_t p = 0; p < probes; p++)
            memcpy(room->near + p * d, room->described + near[p] * d, d * sizeof(float));
        for (size_t first = begin; probes && first < end; first += PIECE) {
            size_t count = end - first < PIECE ? end - first : PIECE;
            blas_product_transposed(probes, count, d, room->near, d, search->rows + first * d, d,
                                    room->scores, PIECE);
            for (size_t p = 0; p < probes; p++)
                note_scores(search, &room->probes[near[p]], room->scores + p * PIECE, first, count,
                            own);
        }
    }
}

static void take_probes(const struct tile_search *search, struct room *room,
                        struct picture *picture, bool mirrored)
{
    struct tile taken[TAKEN];
    picture_study(search, picture);
    size_t count = picture_tiles(&search->grid, picture, taken);
    for (size_t t = 0; t < count; t++) {
        size_t at = room->probe_count++;
        room->probes[at] = (struct probe){ .place = taken[t], .mirrored = mirrored, .order = at };
        patch_describe(&search->grid, picture->cells, (size_t)taken[t].y, (size_t)taken[t].x, STEP,
                       room->described + at * search->features);
    }
}

/* Whether two pairs of tiles, one of the query and one of a training image each, tell of one piece:
 * the same subject, mirrored or not alike, and moved by the same way. */
static bool agree(const struct probe *a, const struct tile *tile_a, const struct probe *b,
                  const struct tile *tile_b)
{
    int y = tile_a->y - a->place.y - (tile_b->y - b->place.y),
        x = tile_a->x - a->place.x - (tile_b->x - b->place.x);
    return tile_a->group == tile_b->group && a->mirrored == b->mirrored && abs(y) <= AGREEMENT &&
           abs(x) <= AGREEMENT;
}

static double rough_ratio(const struct probe *probe)
{
    double sum = 0;
    for (size_t h = 1; h < probe->count; h++)
        sum += sqrt(fmax(0, 1 - (double)probe->hits[h].score)) / (double)(probe->count - 1);
    return sum > 0 ? sqrt(fmax(0, 1 - (double)probe->hits[0].score)) / sum : 1;
}

static int by_ratio(const void *a, const void *b)
{
    const struct probe *x = a, *y = b;
    if (x->ratio != y->ratio)
        return x->ratio < y->ratio ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Ratios of all probes from their descriptions, each joined with its best witness': which probes
 * are worth a closer look. */
static void rank_probes(const struct tile_search *search, struct room *room)
{
    double alone[PROBES_MOST];
    for (size_t p = 0; p < room->probe_count; p++)
        alone[p] = room->probes[p].count > 1 ? rough_ratio(&room->probes[p]) : 1;
    for (size_t p = 0; p < room->probe_count; p++) {
        double witness = 1;
        struct probe *probe = &room->probes[p];
        for (size_t o = 0; probe->count && o < room->probe_count; o++) {
            const struct probe *other = &room->probes[o];
            if (o != p && other->count &&
                agree(probe, &search->tiles[probe->hits[0].tile], other,
                      &search->tiles[other->hits[0].tile]))
                witness = fmin(witness, alone[o]);
        }
        probe->ratio = sqrt(alone[p] * witness);
    }
    if (room->probe_count)
        qsort(room->probes, room->probe_count, sizeof *room->probes, by_ratio);
}

/* ---- a closer look --------------------------------------------------------------------------- */

/* Correlations of the aligned windows about two tiles, as they are and smoothed. */
static void compare(const struct tile_search *search, struct room *room, int w, const float *cells,
                    const struct tile *place, const struct tile *tile, double r[2])
{
    const struct grid *window = &room->window[w];
    size_t side = window_sides[w];
    long rim = (long)(side - SIDE) / 2;
    patch_cut(&search->grid, room->training, tile->y - rim, tile->x - rim, side, room->fixed);
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
    double box = (double)grid->box, rim = ((double)side - SIDE) / 2,
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
        patch_read(&search->grid, tile_training_image(search, tile->id), room->training);
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
            if (j != i && agree(f->probe, f->tile, findings[j].probe, findings[j].tile))
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

static void search_query(const struct tile_search *search, struct room *room, size_t query,
                         struct tile_match *match)
{
    const struct grid *grid = &search->grid;
    const void *image = set_image(&search->pixels, &search->queries, query);
    uint32_t own = search->queries.groups ? search->queries.groups[query] : 0;
    *match = (struct tile_match){ .local_ratio = 1 };
    if (!patch_read(grid, image, room->picture.cells))
        return;
    grid_mirror(grid, room->picture.cells, MIRROR_X, room->mirror.cells);
    room->probe_count = 0;
    take_probes(search, room, &room->picture, false);
    take_probes(search, room, &room->mirror, true);
    probe_database(search, room, own);
    rank_probes(search, room);
    struct finding findings[ALIGNED];
    size_t found = 0;
    for (size_t p = 0; p < room->probe_count && p < ALIGNED; p++)
        if (room->probes[p].count > 1)
            findings[found++] = look_closely(search, room, &room->probes[p]);
    judge(search, findings, found, match);
}

/* ---- running --------------------------------------------------------------------------------- */

struct run_job {
    const struct tile_search *search;
    size_t first;
    struct tile_match *match;
};

static void run_range(void *context, size_t begin, size_t end)
{
    struct run_job *job = context;
    struct room room;
    room_init(&room, job->search);
    for (size_t i = begin; i < end; i++)
        search_query(job->search, &room, job->first + i, &job->match[i]);
    room_release(&room);
}

bool tile_run(struct tile_search *search, size_t first, size_t count, struct tile_match *match,
              struct error *err)
{
    struct run_job job = { search, first, match };
    return queries_answer(&search->pixels, &search->queries, &search->database, first, count,
                          run_range, &job, err);
}
