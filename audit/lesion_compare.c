/* A close look at a lesion in an image; see lesion.h. */
#include "audit/lesion_parts.h"

#include "audit/engine.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>

enum {
    WINDOW_MOST = 8 * SCALES + 2 * RIM,
};

/* A cell of more is not background, in units of the image's root mean square. */
#define LEAST_LIGHT 0.1f

static const struct align_limits limits = { .angle = 0.14, .log_scale = 0.2, .drift = 3 };

void lesion_room_init(struct lesion_room *room, const struct lesion_search *search)
{
    const struct grid *grid = &search->grid;
    size_t window = grid->planes * WINDOW_MOST * WINDOW_MOST;
    float **const buffers[] = { &room->both,   &room->fixed,        &room->inside,
                                &room->moving, &room->smooth_moved, &room->smooth_fixed };
    memset(room, 0, sizeof *room);
    arena_init(&room->arena);
    room->cells = arena_array(&room->arena, float, grid_cells(grid));
    room->mirror = arena_array(&room->arena, float, grid_cells(grid));
    lesion_finder_init(&room->finder, search, &room->arena);
    for (size_t b = 0; b < sizeof buffers / sizeof *buffers; b++)
        *buffers[b] = arena_array(&room->arena, float, window);
    for (size_t s = 0; s < SCALES; s++) {
        size_t side = square_side(s + 1) + 2 * RIM;
        room->window[s] = (struct grid){ .pixels = &search->pixels,
                                         .height = side,
                                         .width = side,
                                         .planes = grid->planes,
                                         .rows = side,
                                         .columns = side,
                                         .box = 1 };
        align_room_init(&room->align[s], &room->window[s]);
    }
    room->padded = arena_array(&room->arena, float, grid_padded(&room->window[SCALES - 1]));
}

void lesion_room_release(struct lesion_room *room)
{
    for (size_t s = 0; s < SCALES; s++)
        align_room_release(&room->align[s]);
    lesion_finder_release(&room->finder);
    arena_release(&room->arena);
}

bool lesion_read(const struct lesion_search *search, struct lesion_room *room, const void *image)
{
    struct patch_level level;
    if (!patch_read(&search->grid, image, room->cells, &level))
        return false;
    grid_mirror(&search->grid, room->cells, MIRROR_X, room->mirror);
    return true;
}

void lesion_take(const struct lesion_search *search, struct lesion_room *room, const float *cells)
{
    memcpy(room->cells, cells, grid_cells(&search->grid) * sizeof *cells);
    grid_mirror(&search->grid, room->cells, MIRROR_X, room->mirror);
}

/* ---- a closer look --------------------------------------------------------------------------- */

size_t lesion_labels(const struct lesion_search *search, size_t id, long y, long x, size_t side,
                     float *cells)
{
    const struct grid *grid = &search->grid;
    const uint32_t *rows = search->database.rows;
    const uint8_t *mask =
        search->settings.masks + (rows ? rows[id] : id) * grid->height * grid->width;
    size_t found = 0;
    for (long r = y; r < y + (long)side; r++)
        for (long c = x; c < x + (long)side; c++) {
            size_t labelled = 0, pixels = 0;
            bool within = r >= 0 && c >= 0 && r < (long)grid->rows && c < (long)grid->columns;
            for (size_t i = 0; within && i < grid->box * grid->box; i++) {
                size_t py = (size_t)r * grid->box + i / grid->box,
                       px = (size_t)c * grid->box + i % grid->box;
                if (py >= grid->height || px >= grid->width)
                    continue;
                pixels++;
                labelled += mask[py * grid->width + px] != 0;
            }
            bool inside = pixels && 2 * labelled >= pixels;
            found += inside;
            *cells++ = inside;
        }
    return found;
}

/* Grown by one cell: a lesion's edge is part of what it looks like. `from` is one cell larger on
 * all sides. */
static void grow(const float *from, size_t side, float *to)
{
    size_t stride = side + 2;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            const float *at = from + (y + 1) * stride + x + 1;
            to[y * side + x] = at[0] + at[-1] + at[1] + *(at - stride) + at[stride] > 0 ? 1 : 0;
        }
}

void lesion_fix(const struct lesion_search *search, struct lesion_room *room,
                const struct lesion *lesion)
{
    const struct grid *window = &room->window[lesion->scale - 1];
    size_t side = window->rows, plane = side * side;
    long y = lesion->y - RIM, x = lesion->x - RIM;
    patch_cut_image(&search->grid, set_image(&search->pixels, &search->database, lesion->id),
                    &lesion->level, y, x, side, room->fixed);
    lesion_labels(search, lesion->id, y - 1, x - 1, side + 2, room->padded);
    grow(room->padded, side, room->inside);
    for (size_t p = 1; p < window->planes; p++)
        memcpy(room->inside + p * plane, room->inside, plane * sizeof(float));
}

/* light = the largest size of a cell's values. */
HOT static void lightest(const float *cells, size_t planes, size_t plane, float *light)
{
    for (size_t i = 0; i < plane; i++)
        light[i] = fabsf(cells[i]);
    for (size_t p = 1; p < planes; p++)
        for (size_t i = 0; i < plane; i++) {
            float value = fabsf(cells[p * plane + i]);
            light[i] = value > light[i] ? value : light[i];
        }
}

/* 1 where a cell is inside and has light, 0 elsewhere, in place of the light; how many are. */
HOT static size_t keep_inside(const float *inside, size_t plane, float *light)
{
    uint32_t found = 0;
    for (size_t i = 0; i < plane; i++) {
        bool both = (inside[i] > 0) & (light[i] > LEAST_LIGHT);
        light[i] = both ? 1 : 0;
        found += both;
    }
    return found;
}

/* The cells that are compared: the lesion's own, and of these only where the image is not
 * background, for what does not fit into a head was cut. How many. */
static size_t both_inside(const struct lesion_room *room, const struct grid *window)
{
    size_t plane = window->rows * window->columns;
    lightest(room->moving, window->planes, plane, room->both);
    size_t found = keep_inside(room->inside, plane, room->both);
    for (size_t p = 1; p < window->planes; p++)
        memcpy(room->both + p * plane, room->both, plane * sizeof(float));
    return found;
}

static size_t inside_count(const struct lesion_room *room, const struct grid *window)
{
    size_t found = 0;
    for (size_t i = 0; i < window->rows * window->columns; i++)
        found += room->inside[i] > 0;
    return found;
}

void lesion_settle(const struct lesion_search *search, struct lesion_room *room,
                   const struct lesion *lesion, struct lesion_place *place, double r[NEARNESSES])
{
    const struct grid *window = &room->window[lesion->scale - 1];
    const float *cells = place->mirrored ? room->mirror : room->cells;
    size_t side = window->rows, whole = inside_count(room, window);
    long reach = lesion->scale, y = place->y, x = place->x;
    r[SETTLED] = -1;
    for (long dy = -reach; dy <= reach; dy++)
        for (long dx = -reach; dx <= reach; dx++) {
            patch_cut(&search->grid, cells, y + dy - RIM, x + dx - RIM, side, room->moving);
            if (2 * both_inside(room, window) < whole)
                continue;
            double moved =
                float_correlation_inside(room->moving, room->fixed, room->both, grid_cells(window));
            if (moved <= r[SETTLED])
                continue;
            r[SETTLED] = moved;
            place->y = (int16_t)(y + dy);
            place->x = (int16_t)(x + dx);
        }
}

void lesion_align(const struct lesion_search *search, struct lesion_room *room,
                  const struct lesion *lesion, const struct lesion_place *place,
                  double r[NEARNESSES])
{
    const struct grid *window = &room->window[lesion->scale - 1];
    size_t side = window->rows;
    patch_cut(&search->grid, place->mirrored ? room->mirror : room->cells, place->y - RIM,
              place->x - RIM, side, room->moving);
    if (2 * both_inside(room, window) < inside_count(room, window)) {
        r[ALIGNED] = r[SMOOTHED] = -1;
        return;
    }
    const struct align_pieces pieces = { .fixed = room->fixed,
                                         .moving = room->moving,
                                         .inside = room->both,
                                         .padded = room->padded,
                                         .smooth_moved = room->smooth_moved,
                                         .smooth_fixed = room->smooth_fixed };
    r[ALIGNED] = align_pieces(window, &pieces, &limits, &room->align[lesion->scale - 1]);
    r[SMOOTHED] = float_correlation_inside(room->smooth_moved, room->smooth_fixed, room->both,
                                           grid_cells(window));
}
