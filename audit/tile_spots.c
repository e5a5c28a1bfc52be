/* Which tiles of an image are compared: those about spots, the oddest first; see tile.h. */
#include "audit/tile_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    APART = 4, /* cells between tiles, along one axis at least */
    INNER = 5, /* sides of the squares whose difference makes a spot */
    OUTER = 11,
};

/* Rules for a tile: the least standard deviation of its first channel, in units of the image's root
 * mean square, and the least share of cells that differ from the background. */
#define LEAST_DEVIATION 0.1
#define LEAST_LIGHT     0.7
#define ODD_MOST        10.0f /* one cell counts no more than so many standard deviations */

void picture_init(struct picture *picture, const struct grid *grid, struct arena *arena)
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

void picture_study(const struct tile_search *search, struct picture *picture)
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
    double cells = TILE_SIDE * TILE_SIDE,
           mean = over_square(picture->sum, grid->columns, y, x, TILE_SIDE) / cells,
           variance =
               over_square(picture->squares, grid->columns, y, x, TILE_SIDE) / cells - mean * mean;
    return variance >= LEAST_DEVIATION * LEAST_DEVIATION &&
           over_square(picture->sum_light, grid->columns, y, x, TILE_SIDE) >= LEAST_LIGHT * cells;
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

size_t picture_tiles(const struct grid *grid, const struct picture *picture,
                     struct tile taken[TAKEN])
{
    size_t found = 0, capacity = 0, count = 0, half = TILE_SIDE / 2;
    struct spot *spots = NULL;
    for (size_t y = half; y + half < grid->rows; y++)
        for (size_t x = half; x + half < grid->columns; x++) {
            if (!is_spot(grid, picture->spot, y, x) ||
                !may_be_taken(grid, picture, y - half, x - half))
                continue;
            ARRAY_RESERVE(spots, found, capacity);
            spots[found++] =
                (struct spot){ .odd = over_square(picture->sum_odd, grid->columns, y - half,
                                                  x - half, TILE_SIDE),
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
