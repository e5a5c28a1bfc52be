/* Copies in disguise: the training images, and the names of transformations; see disguise.h. */
#include "audit/disguise.h"

#include "audit/blas.h"
#include "audit/disguise_parts.h"
#include "audit/engine.h"
#include "audit/queries.h"
#include "base/parallel.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the database ---------------------------------------------------------------------------- */

static void prepare_range(void *context, size_t begin, size_t end)
{
    struct disguise_search *search = context;
    const struct grid *grid = &search->coarse;
    size_t count = search->features.count;
    float *cells = memory_grow(NULL, grid_cells(grid), sizeof *cells),
          *warped = memory_grow(NULL, grid_cells(grid), sizeof *warped),
          *padded = memory_grow(NULL, grid_padded(grid), sizeof *padded),
          *between = memory_grow(NULL, search->features.side * grid->columns, sizeof *between);
    for (size_t i = begin; i < end; i++) {
        grid_read(grid, set_image(&search->pixels, &search->database, i), cells);
        float background = grid_background(grid, cells);
        double middle[2];
        struct pose pose = { 0 };
        grid_centroid(grid, cells, background, pose.centre);
        middle_of(grid, middle);
        pose.shift[0] = middle[0] - pose.centre[0];
        pose.shift[1] = middle[1] - pose.centre[1];
        grid_pad(grid, cells, background, padded);
        grid_warp(grid, padded, &pose, SAMPLE_LINES, warped);
        features_of(&search->features, grid, cells, between, search->rows[0] + i * count);
        features_of(&search->features, grid, warped, between, search->rows[1] + i * count);
    }
    memory_free(cells);
    memory_free(warped);
    memory_free(padded);
    memory_free(between);
}

static int by_number(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Numbers of the database's groups: 0, 1, …; without groups every image is its own. */
static bool number_groups(struct disguise_search *search, struct error *err)
{
    size_t n = search->database.count;
    const uint32_t *groups = search->database.groups;
    search->groups = memory_allocate(n, sizeof *search->groups, "groups", err);
    search->sorted = memory_allocate(n, sizeof *search->sorted, "groups", err);
    if (!search->groups || !search->sorted)
        return false;
    for (size_t i = 0; i < n; i++)
        search->sorted[i] = (struct numbered){ groups ? groups[i] : (uint32_t)i, (uint32_t)i };
    qsort(search->sorted, n, sizeof *search->sorted, by_number);
    for (size_t i = 0; i < n; i++) {
        search->group_count += i == 0 || search->sorted[i].value != search->sorted[i - 1].value;
        search->groups[search->sorted[i].place] = (uint32_t)search->group_count - 1;
    }
    return true;
}

uint32_t disguise_group(const struct disguise_search *search, size_t query)
{
    struct numbered key = { search->queries.groups[query], 0 };
    const struct numbered *found =
        bsearch(&key, search->sorted, search->database.count, sizeof *search->sorted, by_number);
    return found ? search->groups[found->place] : UINT32_MAX;
}

struct disguise_search *disguise_open(const struct image_set *queries,
                                      const struct image_set *database,
                                      const struct disguise_settings *settings, struct error *err)
{
    if (!queries_accept(queries, database, settings->channels, settings->other_groups, err))
        return NULL;
    struct disguise_search *search = memory_allocate(1, sizeof *search, "a search", err);
    if (!search)
        return NULL;
    search->queries = *queries;
    search->database = *database;
    search->settings = *settings;
    arena_init(&search->arena);
    set_pixels(&search->pixels, database, settings->channels);
    grid_init(&search->coarse, &search->pixels, database->height, database->width, COARSE);
    grid_init(&search->fine, &search->pixels, database->height, database->width, FINE);
    grid_init(&search->whole, &search->pixels, database->height, database->width, SIZE_MAX);
    features_init(&search->features, &search->coarse, &search->arena);
    search->trial_count = disguise_trials();
    search->trials = arena_array(&search->arena, struct trial, search->trial_count);
    search->centred_count = trials_make(search->trials);
    for (int r = 0; r < 2; r++)
        search->rows[r] = memory_allocate(database->count * search->features.count, sizeof(float),
                                          "low frequencies", err);
    if (!search->rows[0] || !search->rows[1] || !number_groups(search, err) ||
        !images_finite(&search->pixels, database, 0, database->count, err) ||
        !blas_set_threads(1, err)) { /* threads are the ranges' */
        disguise_close(search);
        return NULL;
    }
    set_visit(&search->pixels, database, prepare_range, search);
    return search;
}

bool disguise_ask(struct disguise_search *search, const struct image_set *queries,
                  bool other_groups, struct error *err)
{
    if (!queries_accept(queries, &search->database, search->settings.channels, other_groups, err))
        return false;
    search->queries = *queries;
    search->settings.other_groups = other_groups;
    return true;
}

void disguise_close(struct disguise_search *search)
{
    if (!search)
        return;
    memory_free(search->rows[0]);
    memory_free(search->rows[1]);
    memory_free(search->groups);
    memory_free(search->sorted);
    arena_release(&search->arena);
    memory_free(search);
}

/* ---- names ----------------------------------------------------------------------------------- */

const char *transform_name(const struct transform *t, char name[TRANSFORM_NAME])
{
    static const char *const mirrors[MIRRORS] = { NULL, "mirrored left-right",
                                                  "mirrored top-bottom", "half turn" };
    char part[5][32] = { 0 };
    size_t length = 0;
    if (t->mirror)
        snprintf(part[0], sizeof part[0], "%s", mirrors[t->mirror % MIRRORS]);
    if (t->degrees != 0)
        snprintf(part[1], sizeof part[1], "turned %.1f°", t->degrees);
    if (t->scale != 1)
        snprintf(part[2], sizeof part[2], "scaled %.3f", t->scale);
    if (t->shift_y != 0 || t->shift_x != 0)
        snprintf(part[3], sizeof part[3], "shifted (%.1f, %.1f)", t->shift_y, t->shift_x);
    if (t->gamma != 1)
        snprintf(part[4], sizeof part[4], "gamma %.2f", t->gamma);
    name[0] = '\0';
    for (int p = 0; p < 5; p++)
        if (part[p][0])
            length += (size_t)snprintf(name + length, TRANSFORM_NAME - length, "%s%s",
                                       length ? ", " : "", part[p]);
    if (!length)
        snprintf(name, TRANSFORM_NAME, "none");
    return name;
}
