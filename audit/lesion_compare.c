/* An image against the lesions of the training images; see lesion.h. */
#include "audit/lesion_parts.h"

#include "audit/blas.h"
#include "audit/engine.h"

#include <math.h>
#include <string.h>

enum {
    PIECE = 64,                    /* lesions in one matrix product */
    NEAR_MOST = BLOCK + 2 * REACH, /* cells a side that the lesions of a block may reach */
    WINDOW_MOST = 8 * SCALES + 2 * RIM,
};

/* A cell of more is not background, in units of the image's root mean square. */
#define LEAST_LIGHT 0.1f

static const struct align_limits limits = { .angle = 0.14, .log_scale = 0.2, .drift = 3 };

void lesion_room_init(struct lesion_room *room, const struct lesion_search *search)
{
    const struct grid *grid = &search->grid;
    size_t places = grid->rows * grid->columns,
           window = grid->planes * (WINDOW_MOST + 3) * (WINDOW_MOST + 3); /* padded */
    float **const buffers[] = { &room->both,        &room->fixed,  &room->inside,
                                &room->moving,      &room->padded, &room->smooth_moved,
                                &room->smooth_fixed };
    memset(room, 0, sizeof *room);
    arena_init(&room->arena);
    room->cells = arena_array(&room->arena, float, grid_cells(grid));
    room->mirror = arena_array(&room->arena, float, grid_cells(grid));
    room->training = arena_array(&room->arena, float, grid_cells(grid));
    room->means = arena_array(&room->arena, float, grid_cells(grid));
    room->squares = arena_array(&room->arena, float, places * search->features);
    room->near = arena_array(&room->arena, float, NEAR_MOST *NEAR_MOST * search->features);
    room->scores = arena_array(&room->arena, float, PIECE *NEAR_MOST *NEAR_MOST);
    room->places = arena_array(&room->arena, struct lesion_place, search->count + 1);
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
}

void lesion_room_release(struct lesion_room *room)
{
    for (size_t s = 0; s < SCALES; s++)
        align_room_release(&room->align[s]);
    arena_release(&room->arena);
}

bool lesion_read(const struct lesion_search *search, struct lesion_room *room, const void *image)
{
    if (!patch_read(&search->grid, image, room->cells))
        return false;
    grid_mirror(&search->grid, room->cells, MIRROR_X, room->mirror);
    return true;
}

/* ---- all squares of an image ----------------------------------------------------------------- */

/* The image in means of scale × scale cells; returns the rows and columns of these. */
static void make_means(const struct grid *grid, const float *cells, size_t scale, float *means,
                       size_t *rows, size_t *columns)
{
    *rows = grid->rows / scale;
    *columns = grid->columns / scale;
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < *rows; y++)
            for (size_t x = 0; x < *columns; x++) {
                float sum = 0;
                for (size_t r = y * scale; r < (y + 1) * scale; r++)
                    for (size_t c = x * scale; c < (x + 1) * scale; c++)
                        sum += cells[(p * grid->rows + r) * grid->columns + c];
                *means++ = sum;
            }
}

/* As patch_describe does, of means that are there. */
static void describe_square(const float *means, size_t planes, size_t rows, size_t columns,
                            size_t y, size_t x, float *row)
{
    enum { SQUARE = PATCH_MEANS * PATCH_MEANS };
    float sum = 0, squares = 0, count = (float)(planes * SQUARE);
    for (size_t p = 0; p < planes; p++)
        for (size_t r = 0; r < PATCH_MEANS; r++) {
            const float *from = means + (p * rows + y + r) * columns + x;
            float *to = row + p * SQUARE + r * PATCH_MEANS;
            for (size_t c = 0; c < PATCH_MEANS; c++) {
                to[c] = from[c];
                sum += from[c];
            }
        }
    for (size_t i = 0; i < planes * SQUARE; i++) {
        row[i] -= sum / count;
        squares += row[i] * row[i];
    }
    float scale = squares > 1e-6f ? 1 / sqrtf(squares) : 0;
    for (size_t i = 0; i < planes * SQUARE; i++)
        row[i] *= scale;
}

struct squares {
    size_t scale, down, across; /* so many places, `scale` cells from one to the next */
};

static struct squares describe_squares(const struct lesion_search *search, struct lesion_room *room,
                                       const float *cells, size_t scale)
{
    size_t rows, columns;
    make_means(&search->grid, cells, scale, room->means, &rows, &columns);
    struct squares squares = { .scale = scale };
    if (rows < PATCH_MEANS || columns < PATCH_MEANS)
        return squares;
    squares.down = rows - PATCH_MEANS + 1;
    squares.across = columns - PATCH_MEANS + 1;
    float *row = room->squares;
    for (size_t y = 0; y < squares.down; y++)
        for (size_t x = 0; x < squares.across; x++, row += search->features)
            describe_square(room->means, search->grid.planes, rows, columns, y, x, row);
    return squares;
}

/* Places [begin, end) along an axis that lie within reach of corners [low, high], in cells. */
struct range {
    size_t begin, end;
};

static struct range within_reach(long low, long high, size_t scale, size_t places)
{
    long step = (long)scale, begin = low - REACH, end = (high + REACH) / step + 1;
    begin = begin > 0 ? (begin + step - 1) / step : 0;
    end = end < (long)places ? end : (long)places;
    return (struct range){ (size_t)begin, end > begin ? (size_t)end : (size_t)begin };
}

/* The best of the scores that lie within the lesion's reach; `down` and `across` say which places
 * the scores are of. */
static void note_place(const struct squares *squares, const struct lesion *lesion,
                       struct range down, struct range across, const float *scores, bool mirrored,
                       struct lesion_place *place)
{
    struct range y = within_reach(lesion->y, lesion->y, squares->scale, squares->down),
                 x = within_reach(lesion->x, lesion->x, squares->scale, squares->across);
    for (size_t r = y.begin; r < y.end; r++)
        for (size_t c = x.begin; c < x.end; c++) {
            float score = scores[(r - down.begin) * (across.end - across.begin) + c - across.begin];
            if (score > place->score)
                *place = (struct lesion_place){ score, (int16_t)(r * squares->scale),
                                                (int16_t)(c * squares->scale), mirrored };
        }
}

/* The lesions of one scale and block against all places that they may reach. */
static void find_block(const struct lesion_search *search, struct lesion_room *room,
                       const struct squares *squares, size_t block, bool mirrored)
{
    size_t d = search->features, at = (squares->scale - 1) * BLOCKS_MOST * BLOCKS_MOST + block;
    long top = (long)(block / search->blocks_x) * BLOCK,
         left = (long)(block % search->blocks_x) * BLOCK;
    if (search->first[at] == search->first[at + 1])
        return;
    struct range down = within_reach(top, top + BLOCK - 1, squares->scale, squares->down),
                 across = within_reach(left, left + BLOCK - 1, squares->scale, squares->across);
    size_t width = across.end - across.begin, places = (down.end - down.begin) * width;
    for (size_t r = down.begin; r < down.end; r++)
        memcpy(room->near + (r - down.begin) * width * d,
               room->squares + (r * squares->across + across.begin) * d, width * d * sizeof(float));
    for (size_t first = search->first[at]; places && first < search->first[at + 1];
         first += PIECE) {
        size_t rest = search->first[at + 1] - first, count = rest < PIECE ? rest : PIECE;
        blas_product_transposed(count, places, d, search->rows + first * d, d, room->near, d,
                                room->scores, places);
        for (size_t l = 0; l < count; l++)
            note_place(squares, &search->lesions[first + l], down, across,
                       room->scores + l * places, mirrored, &room->places[first + l]);
    }
}

void lesion_find(const struct lesion_search *search, struct lesion_room *room)
{
    for (size_t l = 0; l < search->count; l++)
        room->places[l] = (struct lesion_place){ .score = -2 };
    for (int mirrored = 0; mirrored < 2; mirrored++)
        for (size_t scale = 1; scale <= SCALES; scale++) {
            size_t at = (scale - 1) * BLOCKS_MOST * BLOCKS_MOST;
            if (search->first[at] == search->first[at + BLOCKS_MOST * BLOCKS_MOST])
                continue;
            struct squares squares =
                describe_squares(search, room, mirrored ? room->mirror : room->cells, scale);
            for (size_t b = 0; squares.down && b < search->blocks_y * search->blocks_x; b++)
                find_block(search, room, &squares, b, mirrored);
        }
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
    patch_read(&search->grid, set_image(&search->pixels, &search->database, lesion->id),
               room->training);
    patch_cut(&search->grid, room->training, y, x, side, room->fixed);
    lesion_labels(search, lesion->id, y - 1, x - 1, side + 2, room->padded);
    grow(room->padded, side, room->inside);
    for (size_t p = 1; p < window->planes; p++)
        memcpy(room->inside + p * plane, room->inside, plane * sizeof(float));
}

/* The cells that are compared: the lesion's own, and of these only where the image is not
 * background, for what does not fit into a head was cut. How many. */
static size_t both_inside(const struct lesion_room *room, const struct grid *window)
{
    size_t plane = window->rows * window->columns, found = 0;
    for (size_t i = 0; i < plane; i++) {
        float light = 0;
        for (size_t p = 0; p < window->planes; p++)
            light = fmaxf(light, fabsf(room->moving[p * plane + i]));
        bool both = room->inside[i] > 0 && light > LEAST_LIGHT;
        for (size_t p = 0; p < window->planes; p++)
            room->both[p * plane + i] = both;
        found += both;
    }
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
