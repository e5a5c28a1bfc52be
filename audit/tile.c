/* Local copies: the tiles of all training images; see tile.h. */
#include "audit/tile.h"

#include "audit/blas.h"
#include "audit/engine.h"
#include "audit/queries.h"
#include "audit/tile_parts.h"
#include "base/parallel.h"
#include "tensor/maxima.h"

#include <math.h>
#include <string.h>

enum { SAMPLE = 1024 }; /* images from which mean and deviation are taken */

const void *tile_training_image(const struct tile_search *search, size_t id)
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
    struct patch_level level;
    for (size_t s = 0; s < used; s++) {
        if (!patch_read(grid, tile_training_image(search, s * n / used), one, &level))
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

/* Tiles, image by image. */
struct taking {
    const struct tile_search *search;
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
    double top = y / count / (double)grid->box - TILE_SIDE / 2.0,
           left = x / count / (double)grid->box - TILE_SIDE / 2.0;
    tile->y = (int16_t)fmin(fmax(0, top), (double)(grid->rows - TILE_SIDE));
    tile->x = (int16_t)fmin(fmax(0, left), (double)(grid->columns - TILE_SIDE));
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
    for (size_t id = begin; id < end; id++) {
        struct tile *taken = taking->taken[id];
        size_t *count = &taking->counts[id];
        if (!patch_read(&search->grid, tile_training_image(search, id), picture.cells,
                        &search->levels[id]))
            continue;
        picture_study(search, &picture);
        *count = picture_tiles(&search->grid, &picture, taken);
        if (search->settings.masks && search->grid.rows >= TILE_SIDE &&
            search->grid.columns >= TILE_SIDE && masked_tile(search, id, &taken[*count]))
            ++*count;
    }
    arena_release(&arena);
}

size_t tile_block(const struct tile_search *search, const struct tile *tile)
{
    return ((size_t)tile->y + TILE_SIDE / 2) / BLOCK * search->blocks_x +
           ((size_t)tile->x + TILE_SIDE / 2) / BLOCK;
}

/* Puts the tiles that were taken in order of their blocks. */
static bool sort_tiles(struct tile_search *search, const struct taking *taking, struct error *err)
{
    size_t n = search->database.count, blocks = search->blocks_y * search->blocks_x,
           filled[BLOCKS_MOST * BLOCKS_MOST] = { 0 };
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < taking->counts[i]; t++)
            search->block[tile_block(search, &taking->taken[i][t]) + 1]++;
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
            size_t b = tile_block(search, &tile);
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
    all.taken = memory_allocate(n, sizeof *all.taken, "tiles", err);
    all.counts = memory_allocate(n, sizeof *all.counts, "tiles", err);
    search->levels = memory_allocate(n, sizeof *search->levels, "tiles", err);
    bool ok = all.taken && all.counts && search->levels;
    if (ok)
        set_visit(&search->pixels, &search->database, take_range, &all);
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
    struct patch_level level;
    for (size_t id = begin; id < end; id++) {
        if (!patch_read(&search->grid, tile_training_image(search, id), cells, &level))
            continue;
        for (size_t i = job->first[id]; i < job->first[id + 1]; i++) {
            size_t at = job->order[i];
            patch_describe(&search->grid, cells, (size_t)search->tiles[at].y,
                           (size_t)search->tiles[at].x, STEP, search->rows + at * search->features);
        }
    }
    memory_free(cells);
}

static bool describe_all(struct tile_search *search, struct error *err)
{
    size_t n = search->database.count;
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
    set_forget(&search->pixels, &search->database, 0, n);
    return ok;
}

struct tile_search *tile_open(const struct image_set *queries, const struct image_set *database,
                              const struct tile_settings *settings, struct error *err)
{
    if (!queries_accept(queries, database, settings->channels, settings->other_groups, err))
        return NULL;
    struct tile_search *search = memory_allocate(1, sizeof *search, "a search", err);
    if (!search)
        return NULL;
    search->queries = *queries;
    search->database = *database;
    search->settings = *settings;
    arena_init(&search->arena);
    set_pixels(&search->pixels, database, settings->channels);
    grid_init(&search->grid, &search->pixels, database->height, database->width, TILE_GRID);
    search->features = search->grid.planes * PATCH_MEANS * PATCH_MEANS;
    search->rounding = 1.01 * maxima_sum_error(search->features) + 1e-9;
    search->blocks_y = (search->grid.rows + BLOCK - 1) / BLOCK;
    search->blocks_x = (search->grid.columns + BLOCK - 1) / BLOCK;
    search->mean = arena_array(&search->arena, float, grid_cells(&search->grid));
    search->weight = arena_array(&search->arena, float, grid_cells(&search->grid));
    bool ok = images_finite(&search->pixels, database, 0, database->count, err) &&
              blas_set_threads(1, err);
    if (ok)
        measure_usual(search);
    if (!ok || !take_all(search, err) || !describe_all(search, err) ||
        !tile_device_open(search, err) ||
        (!search->device &&
         !patch_heads_open(&search->heads, search->rows, search->count, search->features, err))) {
        tile_close(search);
        return NULL;
    }
    return search;
}

bool tile_ask(struct tile_search *search, const struct image_set *queries, bool other_groups,
              struct error *err)
{
    if (!queries_accept(queries, &search->database, search->settings.channels, other_groups, err))
        return false;
    search->queries = *queries;
    search->settings.other_groups = other_groups;
    return true;
}

void tile_close(struct tile_search *search)
{
    if (!search)
        return;
    tile_device_close(search);
    patch_heads_close(&search->heads);
    memory_free(search->levels);
    memory_free(search->tiles);
    memory_free(search->rows);
    arena_release(&search->arena);
    memory_free(search);
}
