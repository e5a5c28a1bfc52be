/* Local copies; see tile.h. */
#include "audit/tile.h"

#include "audit/align.h"
#include "audit/blas.h"
#include "audit/engine.h"
#include "base/arena.h"
#include "base/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GRID = 128, /* cells a side at most */
    SIDE = 16,  /* of a tile, in cells */
    SPOTS = 8,  /* a tile is described by so many means a side */
    STEP = SIDE / SPOTS,
    TAKEN = 48, /* tiles of an image at most */
    APART = 4,  /* cells between tiles, along one axis at least */
    INNER = 5,  /* sides of the squares whose difference makes a spot */
    OUTER = 11,
    STRANGERS = 5,
    BLOCK = 16, /* cells a side: tiles of a block lie together in memory */
    BLOCKS_MOST = GRID / BLOCK,
    REACH = 16,    /* cells that a piece may have moved along each axis */
    ALIGNED = 16,  /* tiles of a query that are looked at closely */
    SAMPLE = 1024, /* images from which mean and deviation are taken */
    PREPARE = 512,
    PIECE = 2048,  /* tiles in one matrix product */
    AGREEMENT = 2, /* cells by which the ways of two tiles may differ */
    WINDOWS = 2,
    PROBES_MOST = 2 * TAKEN,
};

/* What is looked at closely is the tile, and a larger window about it. */
static const size_t window_sides[WINDOWS] = { SIDE, 24 };
static const struct align_limits window_limits = { .angle = 0.14, .log_scale = 0.2, .drift = 3 };

/* Rules for a tile: the least standard deviation of its first channel, in units of the image's root
 * mean square, and the least share of cells that differ from the background. */
#define LEAST_DEVIATION 0.1
#define LEAST_LIGHT     0.7
#define ODD_MOST        10.0f /* one cell counts no more than so many standard deviations */

struct tile {
    uint32_t id, group;
    int16_t y, x; /* upper left corner, in cells */
};

struct tile_search {
    struct image_set queries, database;
    struct tile_settings settings;
    struct pixels pixels;
    struct grid grid;
    size_t features;
    size_t blocks_y, blocks_x;
    float *mean, *weight; /* of normalised cells: mean, 1 / standard deviation */
    size_t count;         /* tiles of all training images, in order of their blocks */
    struct tile *tiles;
    float *rows;                                 /* (count, features) */
    size_t block[BLOCKS_MOST * BLOCKS_MOST + 1]; /* where blocks begin */
    struct arena arena;
};

/* An image as tiles are taken from it. */
struct picture {
    float *cells;    /* normalised: the background is 0, the root mean square 1 */
    float *odd;      /* how far each place is from the mean, over all planes */
    float *light;    /* 1 where it differs from the background */
    float *spot;     /* how much a small square differs from a larger one about it */
    double *sum_odd; /* (rows + 1, columns + 1): sums over rectangles from the corner */
    double *sum_light;
    double *sum, *squares;
};

/* ---- pictures ---------------------------------------------------------------------------------
 */

static void picture_init(struct picture *picture, const struct grid *grid, struct arena *arena)
{
    size_t places = grid->rows * grid->columns, corners = (grid->rows + 1) * (grid->columns + 1);
    picture->cells = arena_array(arena, float, grid_cells(grid));
    picture->odd = arena_array(arena, float, places);
    picture->light = arena_array(arena, float, places);
    picture->spot = arena_array(arena, float, places);
    picture->sum_odd = arena_array(arena, double, corners);
    picture->sum_light = arena_array(arena, double, corners);
    picture->sum = arena_array(arena, double, corners);
    picture->squares = arena_array(arena, double, corners);
}

/* Background 0, root mean square 1. False where there is nothing but background. */
static bool normalise(const struct grid *grid, float *cells)
{
    size_t count = grid_cells(grid);
    float background = grid_background(grid, cells);
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        cells[i] -= background;
        squares += (double)cells[i] * (double)cells[i];
    }
    if (!(squares > 0))
        return false;
    float scale = (float)sqrt((double)count / squares);
    for (size_t i = 0; i < count; i++)
        cells[i] *= scale;
    return true;
}

static bool read_picture(const struct grid *grid, const void *image, float *cells)
{
    grid_read(grid, image, cells);
    return normalise(grid, cells);
}

/* sum[(y + 1), (x + 1)] = Σ values over rows ≤ y and columns ≤ x. */
static void integrate(size_t rows, size_t columns, const float *values, bool squared, double *sum)
{
    size_t stride = columns + 1;
    memset(sum, 0, stride * sizeof *sum);
    for (size_t y = 0; y < rows; y++) {
        double line = 0;
        sum[(y + 1) * stride] = 0;
        for (size_t x = 0; x < columns; x++) {
            double value = (double)values[y * columns + x];
            line += squared ? value * value : value;
            sum[(y + 1) * stride + x + 1] = sum[y * stride + x + 1] + line;
        }
    }
}

static double over_square(const double *sum, size_t columns, size_t y, size_t x, size_t side)
{
    size_t stride = columns + 1;
    return sum[(y + side) * stride + x + side] - sum[y * stride + x + side] -
           sum[(y + side) * stride + x] + sum[y * stride + x];
}

/* Adds, where both squares fit in, (mean of the inner − mean of the outer)². */
static void add_spots(const struct grid *grid, const double *sum, float *spot)
{
    for (size_t y = OUTER / 2; y + OUTER / 2 < grid->rows; y++)
        for (size_t x = OUTER / 2; x + OUTER / 2 < grid->columns; x++) {
            double inner = over_square(sum, grid->columns, y - INNER / 2, x - INNER / 2, INNER) /
                           (INNER * INNER),
                   outer = over_square(sum, grid->columns, y - OUTER / 2, x - OUTER / 2, OUTER) /
                           (OUTER * OUTER);
            spot[y * grid->columns + x] += (float)((inner - outer) * (inner - outer));
        }
}

/* What is odd about a picture, its spots, and what the rules need. */
static void study(const struct tile_search *search, struct picture *picture)
{
    const struct grid *grid = &search->grid;
    size_t rows = grid->rows, columns = grid->columns, places = rows * columns;
    memset(picture->odd, 0, places * sizeof *picture->odd);
    memset(picture->light, 0, places * sizeof *picture->light);
    memset(picture->spot, 0, places * sizeof *picture->spot);
    for (size_t p = grid->planes; p-- > 0;) { /* the first plane's sums stay, for the rules */
        const float *cells = picture->cells + p * places, *mean = search->mean + p * places,
                    *weight = search->weight + p * places;
        for (size_t i = 0; i < places; i++) {
            float odd = fabsf(cells[i] - mean[i]) * weight[i];
            picture->odd[i] += odd < ODD_MOST ? odd : ODD_MOST;
            if (fabsf(cells[i]) > 0.1f)
                picture->light[i] = 1;
        }
        integrate(rows, columns, cells, false, picture->sum);
        add_spots(grid, picture->sum, picture->spot);
    }
    integrate(rows, columns, picture->cells, true, picture->squares);
    integrate(rows, columns, picture->odd, false, picture->sum_odd);
    integrate(rows, columns, picture->light, false, picture->sum_light);
}

static bool may_be_taken(const struct grid *grid, const struct picture *picture, size_t y, size_t x)
{
    double cells = SIDE * SIDE, mean = over_square(picture->sum, grid->columns, y, x, SIDE) / cells,
           variance =
               over_square(picture->squares, grid->columns, y, x, SIDE) / cells - mean * mean;
    return variance >= LEAST_DEVIATION * LEAST_DEVIATION &&
           over_square(picture->sum_light, grid->columns, y, x, SIDE) >= LEAST_LIGHT * cells;
}

/* No place within two cells has more. */
static bool is_spot(const struct grid *grid, const float *spot, size_t y, size_t x)
{
    float here = spot[y * grid->columns + x];
    for (size_t r = y - 2; r <= y + 2; r++)
        for (size_t c = x - 2; c <= x + 2; c++)
            if (spot[r * grid->columns + c] > here)
                return false;
    return here > 0;
}

struct spot {
    double odd;
    struct tile tile;
};

static int by_oddness(const void *a, const void *b)
{
    const struct spot *x = a, *y = b;
    if (x->odd != y->odd)
        return x->odd > y->odd ? -1 : 1;
    return x->tile.y != y->tile.y ? x->tile.y - y->tile.y : x->tile.x - y->tile.x;
}

/* The oddest tiles about spots. Returns how many. */
static size_t take_tiles(const struct grid *grid, const struct picture *picture,
                         struct tile taken[TAKEN])
{
    size_t found = 0, capacity = 0, count = 0, half = SIDE / 2;
    struct spot *spots = NULL;
    for (size_t y = half; y + half < grid->rows; y++)
        for (size_t x = half; x + half < grid->columns; x++) {
            if (!is_spot(grid, picture->spot, y, x) ||
                !may_be_taken(grid, picture, y - half, x - half))
                continue;
            ARRAY_RESERVE(spots, found, capacity);
            spots[found++] =
                (struct spot){ .odd = over_square(picture->sum_odd, grid->columns, y - half,
                                                  x - half, SIDE),
                               .tile = { .y = (int16_t)(y - half), .x = (int16_t)(x - half) } };
        }
    if (found)
        qsort(spots, found, sizeof *spots, by_oddness);
    for (size_t s = 0; s < found && count < TAKEN; s++) {
        bool apart = true;
        for (size_t t = 0; t < count; t++)
            apart &= abs(taken[t].y - spots[s].tile.y) >= APART ||
                     abs(taken[t].x - spots[s].tile.x) >= APART;
        if (apart)
            taken[count++] = spots[s].tile;
    }
    memory_free(spots);
    return count;
}

/* SPOTS × SPOTS means of each plane, centred over all, as a unit vector. The tile lies within the
 * grid. */
static void describe(const struct grid *grid, const float *cells, const struct tile *tile,
                     float *row)
{
    size_t features = grid->planes * SPOTS * SPOTS;
    double mean = 0, squares = 0;
    for (size_t i = 0; i < features; i++) {
        size_t p = i / (SPOTS * SPOTS), top = (size_t)tile->y + i / SPOTS % SPOTS * STEP,
               left = (size_t)tile->x + i % SPOTS * STEP;
        float sum = 0;
        for (size_t r = top; r < top + STEP; r++)
            for (size_t c = left; c < left + STEP; c++)
                sum += cells[(p * grid->rows + r) * grid->columns + c];
        row[i] = sum;
        mean += (double)sum / (double)features;
    }
    for (size_t i = 0; i < features; i++) {
        row[i] -= (float)mean;
        squares += (double)row[i] * (double)row[i];
    }
    float scale = squares > 1e-9 ? (float)(1 / sqrt(squares)) : 0;
    for (size_t i = 0; i < features; i++)
        row[i] *= scale;
}

/* ---- the training images ----------------------------------------------------------------------
 */

static const void *training_image(const struct tile_search *search, size_t id)
{
    return set_image(&search->pixels, &search->database, id);
}

/* Mean and 1/deviation of each cell. The deviation is never taken below a twentieth of the image's
 * root mean square: where all images agree, a grey level more or less is not odd. */
static void measure_usual(struct tile_search *search)
{
    const struct grid *grid = &search->grid;
    size_t n = search->database.count, cells = grid_cells(grid), used = n < SAMPLE ? n : SAMPLE,
           counted = 0;
    float *one = memory_grow(NULL, cells, sizeof *one);
    for (size_t s = 0; s < used; s++) {
        if (!read_picture(grid, training_image(search, s * n / used), one))
            continue;
        counted++;
        for (size_t i = 0; i < cells; i++) {
            search->mean[i] += one[i];
            search->weight[i] += one[i] * one[i];
        }
    }
    for (size_t i = 0; counted && i < cells; i++) {
        float mean = search->mean[i] / (float)counted,
              variance = search->weight[i] / (float)counted - mean * mean;
        search->mean[i] = mean;
        search->weight[i] = 1 / sqrtf(variance > 0.0025f ? variance : 0.0025f);
    }
    memory_free(one);
}

/* Tiles of images [first, first + count), image by image. */
struct taking {
    const struct tile_search *search;
    size_t first;
    struct tile (*taken)[TAKEN + 1];
    size_t *counts;
};

/* A tile about the middle of an image's labels; false where there are none. */
static bool masked_tile(const struct tile_search *search, size_t id, struct tile *tile)
{
    const struct grid *grid = &search->grid;
    const uint32_t *rows = search->database.rows;
    const uint8_t *mask =
        search->settings.masks + (rows ? rows[id] : id) * grid->height * grid->width;
    double count = 0, y = 0, x = 0;
    for (size_t i = 0; i < grid->height * grid->width; i++)
        if (mask[i]) {
            count++;
            y += (double)(i / grid->width);
            x += (double)(i % grid->width);
        }
    if (count == 0)
        return false;
    double top = y / count / (double)grid->box - SIDE / 2.0,
           left = x / count / (double)grid->box - SIDE / 2.0;
    tile->y = (int16_t)fmin(fmax(0, top), (double)(grid->rows - SIDE));
    tile->x = (int16_t)fmin(fmax(0, left), (double)(grid->columns - SIDE));
    return true;
}

static void take_range(void *context, size_t begin, size_t end)
{
    struct taking *taking = context;
    const struct tile_search *search = taking->search;
    struct picture picture;
    struct arena arena;
    arena_init(&arena);
    picture_init(&picture, &search->grid, &arena);
    for (size_t i = begin; i < end; i++) {
        size_t id = taking->first + i;
        taking->counts[i] = 0;
        if (!read_picture(&search->grid, training_image(search, id), picture.cells))
            continue;
        study(search, &picture);
        taking->counts[i] = take_tiles(&search->grid, &picture, taking->taken[i]);
        if (search->settings.masks && search->grid.rows >= SIDE && search->grid.columns >= SIDE &&
            masked_tile(search, id, &taking->taken[i][taking->counts[i]]))
            taking->counts[i]++;
    }
    arena_release(&arena);
}

static size_t block_of(const struct tile_search *search, const struct tile *tile)
{
    return ((size_t)tile->y + SIDE / 2) / BLOCK * search->blocks_x +
           ((size_t)tile->x + SIDE / 2) / BLOCK;
}

/* Puts the tiles that were taken in order of their blocks. */
static bool sort_tiles(struct tile_search *search, const struct taking *taking, struct error *err)
{
    size_t n = search->database.count, blocks = search->blocks_y * search->blocks_x,
           filled[BLOCKS_MOST * BLOCKS_MOST] = { 0 };
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < taking->counts[i]; t++)
            search->block[block_of(search, &taking->taken[i][t]) + 1]++;
    for (size_t b = 0; b < blocks; b++)
        search->block[b + 1] += search->block[b];
    search->count = search->block[blocks];
    search->tiles = memory_allocate(search->count + 1, sizeof *search->tiles, "tiles", err);
    search->rows = memory_allocate((search->count + 1) * search->features, sizeof(float),
                                   "descriptions of tiles", err);
    if (!search->tiles || !search->rows)
        return false;
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < taking->counts[i]; t++) {
            struct tile tile = taking->taken[i][t];
            size_t b = block_of(search, &tile);
            tile.id = (uint32_t)i;
            tile.group = search->database.groups ? search->database.groups[i] : (uint32_t)i;
            search->tiles[search->block[b] + filled[b]++] = tile;
        }
    return true;
}

static bool take_all(struct tile_search *search, struct error *err)
{
    size_t n = search->database.count;
    struct taking all = { .search = search };
    struct search view = { .pixels = search->pixels };
    all.taken = memory_allocate(n, sizeof *all.taken, "tiles", err);
    all.counts = memory_allocate(n, sizeof *all.counts, "tiles", err);
    bool ok = all.taken && all.counts;
    for (size_t first = 0; ok && first < n; first += PREPARE) {
        size_t count = n - first < PREPARE ? n - first : PREPARE;
        struct taking part = { search, first, all.taken + first, all.counts + first };
        parallel_ranges(count, 8, take_range, &part);
        images_forget(&view, &search->database, first, count);
    }
    ok = ok && sort_tiles(search, &all, err);
    memory_free(all.taken);
    memory_free(all.counts);
    return ok;
}

/* Which tiles are an image's, so that each image is read once. */
struct describing {
    struct tile_search *search;
    size_t *first; /* image i's are order[first[i]] … order[first[i + 1] − 1] */
    uint32_t *order;
};

static void describe_range(void *context, size_t begin, size_t end)
{
    struct describing *job = context;
    struct tile_search *search = job->search;
    float *cells = memory_grow(NULL, grid_cells(&search->grid), sizeof *cells);
    for (size_t id = begin; id < end; id++) {
        if (!read_picture(&search->grid, training_image(search, id), cells))
            continue;
        for (size_t i = job->first[id]; i < job->first[id + 1]; i++) {
            size_t at = job->order[i];
            describe(&search->grid, cells, &search->tiles[at],
                     search->rows + at * search->features);
        }
    }
    memory_free(cells);
}

static bool describe_all(struct tile_search *search, struct error *err)
{
    size_t n = search->database.count;
    struct search view = { .pixels = search->pixels };
    struct describing job = { .search = search };
    job.first = memory_allocate(n + 2, sizeof *job.first, "tiles", err);
    job.order = memory_allocate(search->count + 1, sizeof *job.order, "tiles", err);
    bool ok = job.first && job.order;
    for (size_t i = 0; ok && i < search->count; i++)
        job.first[search->tiles[i].id + 2]++;
    for (size_t i = 2; ok && i < n + 2; i++)
        job.first[i] += job.first[i - 1];
    for (size_t i = 0; ok && i < search->count; i++)
        job.order[job.first[search->tiles[i].id + 1]++] = (uint32_t)i;
    if (ok)
        parallel_ranges(n, 16, describe_range, &job);
    memory_free(job.first);
    memory_free(job.order);
    images_forget(&view, &search->database, 0, n);
    return ok;
}

static bool check_finite(const struct tile_search *search, const struct image_set *set,
                         size_t first, size_t count, struct error *err)
{
    struct search view = { .pixels = search->pixels };
    if (set->type != ELEMENT_FLOAT16)
        return true;
    struct moments *moments = memory_allocate(count, sizeof *moments, "moments", err);
    bool ok = moments && moments_of(&view, set, first, count, moments, err);
    memory_free(moments);
    return ok;
}

struct tile_search *tile_open(const struct image_set *queries, const struct image_set *database,
                              const struct tile_settings *settings, struct error *err)
{
    CHECK(!settings->other_groups || (queries->groups && database->groups), "no groups are known");
    if (!search_check(queries, database, settings->channels, err))
        return NULL;
    struct tile_search *search = memory_allocate(1, sizeof *search, "a search", err);
    if (!search)
        return NULL;
    search->queries = *queries;
    search->database = *database;
    search->settings = *settings;
    arena_init(&search->arena);
    pixels_init(&search->pixels, database->type, database->channels,
                database->height * database->width,
                settings->channels ? settings->channels : UINT64_MAX);
    grid_init(&search->grid, &search->pixels, database->height, database->width, GRID);
    search->features = search->grid.planes * SPOTS * SPOTS;
    search->blocks_y = (search->grid.rows + BLOCK - 1) / BLOCK;
    search->blocks_x = (search->grid.columns + BLOCK - 1) / BLOCK;
    search->mean = arena_array(&search->arena, float, grid_cells(&search->grid));
    search->weight = arena_array(&search->arena, float, grid_cells(&search->grid));
    blas_set_threads(1);
    bool ok = check_finite(search, database, 0, database->count, err);
    if (ok)
        measure_usual(search);
    if (!ok || !take_all(search, err) || !describe_all(search, err)) {
        tile_close(search);
        return NULL;
    }
    return search;
}

bool tile_ask(struct tile_search *search, const struct image_set *queries, bool other_groups,
              struct error *err)
{
    CHECK(!other_groups || (queries->groups && search->database.groups), "no groups are known");
    if (!search_check(queries, &search->database, search->settings.channels, err))
        return false;
    search->queries = *queries;
    search->settings.other_groups = other_groups;
    return true;
}

void tile_close(struct tile_search *search)
{
    if (!search)
        return;
    memory_free(search->tiles);
    memory_free(search->rows);
    arena_release(&search->arena);
    memory_free(search);
}

/* ---- a query ----------------------------------------------------------------------------------
 */

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
    study(search, picture);
    size_t count = take_tiles(&search->grid, picture, taken);
    for (size_t t = 0; t < count; t++) {
        size_t at = room->probe_count++;
        room->probes[at] = (struct probe){ .place = taken[t], .mirrored = mirrored, .order = at };
        describe(&search->grid, picture->cells, &taken[t], room->described + at * search->features);
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

/* ---- a closer look ----------------------------------------------------------------------------
 */

static void cut_out(const struct grid *grid, const float *cells, long y, long x, size_t side,
                    float *out)
{
    for (size_t p = 0; p < grid->planes; p++)
        for (long r = y; r < y + (long)side; r++)
            for (long c = x; c < x + (long)side; c++) {
                bool inside = r >= 0 && c >= 0 && r < (long)grid->rows && c < (long)grid->columns;
                *out++ =
                    inside ? cells[(p * grid->rows + (size_t)r) * grid->columns + (size_t)c] : 0;
            }
}

/* Correlations of the aligned windows about two tiles, as they are and smoothed. */
static void compare(const struct tile_search *search, struct room *room, int w, const float *cells,
                    const struct tile *place, const struct tile *tile, double r[2])
{
    const struct grid *window = &room->window[w];
    struct align_room *align_room = &room->align[w];
    size_t side = window_sides[w], count = grid_cells(window);
    long rim = (long)(side - SIDE) / 2;
    double middle = ((double)side - 1) / 2, mean = 0;
    cut_out(&search->grid, room->training, tile->y - rim, tile->x - rim, side, room->fixed);
    cut_out(&search->grid, cells, place->y - rim, place->x - rim, side, room->moving);
    for (size_t i = 0; i < count; i++)
        mean += (double)room->fixed[i] / (double)count;
    struct align_image fixed = { .cells = room->fixed, .background = (float)mean },
                       moving = { .cells = room->padded, .background = (float)mean };
    struct alignment alignment = { .pose = { .centre = { middle, middle } } };
    moving.low = moving.high = room->moving[0];
    for (size_t i = 0; i < count; i++) {
        moving.low = fminf(moving.low, room->moving[i]);
        moving.high = fmaxf(moving.high, room->moving[i]);
    }
    grid_pad(window, room->moving, (float)mean, room->padded);
    align(window, &moving, &fixed, &window_limits, align_room, &alignment);
    r[0] = alignment.correlation;
    grid_smooth(window, align_room->moved, (float)mean, room->smooth_moved);
    grid_smooth(window, align_room->softened, (float)mean, room->smooth_fixed);
    r[1] = float_correlation(room->smooth_moved, room->smooth_fixed, count);
}

static double distance(double correlation)
{
    return sqrt(2 * (1 - correlation));
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
        sum += h == *best ? 0 : distance(r[h]) / (double)(count - 1);
    return sum > 0 ? distance(r[*best]) / sum : 1;
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
        read_picture(&search->grid, training_image(search, tile->id), room->training);
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
    if (!read_picture(grid, image, room->picture.cells))
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

/* ---- running ----------------------------------------------------------------------------------
 */

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
    CHECK(count && first <= search->queries.count && count <= search->queries.count - first,
          "queries %zu … %zu of %zu", first, first + count, search->queries.count);
    struct run_job job = { search, first, match };
    struct search view = { .pixels = search->pixels };
    if (!check_finite(search, &search->queries, first, count, err))
        return false;
    blas_set_threads(1);
    parallel_ranges(count, 4, run_range, &job);
    images_forget(&view, &search->queries, first, count);
    images_forget(&view, &search->database, 0, search->database.count);
    return true;
}
