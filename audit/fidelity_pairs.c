/* Every pair of two sets' images: sums of their kernel, nearest ones, who lies within whose radius.
 *
 * Pairs come in tiles of products, in double precision, a row of tiles a thread at a time: what is
 * made of an image of the first set is made by one thread, in the order of the second set, so the
 * number of threads changes nothing. No matrix of all pairs is kept. */
#include "audit/fidelity_parts.h"

#include "audit/blas.h"
#include "base/arena.h"
#include "base/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE = 256 };

struct pass;
struct tile {
    size_t row, rows, column, columns; /* images of a, of b */
    const double *products;            /* (rows,TILE) */
};
struct pass {
    const struct feature_sample *a, *b;
    void (*visit)(const struct pass *pass, const struct tile *tile);
    const struct units *a_units, *b_units; /* what visitors take and make; some of these */
    const struct surroundings *a_around, *b_around;
    double *row_sums;          /* (a, units of b) */
    struct surroundings *find; /* of a */
    struct meeting *meetings;  /* of a */
};

static void take_rows(const struct feature_sample *sample, size_t first, size_t count, double *out)
{
    const float *from = sample->values + first * sample->width;
    for (size_t i = 0; i < count * sample->width; i++)
        out[i] = from[i];
}

static size_t at_most(size_t count, size_t most)
{
    return count < most ? count : most;
}

static void visit_range(void *context, size_t begin, size_t end)
{
    const struct pass *pass = context;
    size_t width = pass->a->width;
    double *a = memory_grow(NULL, TILE * width, sizeof *a),
           *b = memory_grow(NULL, TILE * width, sizeof *b),
           *products = memory_grow(NULL, (size_t)TILE * TILE, sizeof *products);
    for (size_t t = begin; t < end; t++) {
        struct tile tile = { .row = t * TILE, .products = products };
        tile.rows = at_most(pass->a->count - tile.row, TILE);
        take_rows(pass->a, tile.row, tile.rows, a);
        for (; tile.column < pass->b->count; tile.column += TILE) {
            tile.columns = at_most(pass->b->count - tile.column, TILE);
            take_rows(pass->b, tile.column, tile.columns, b);
            blas_product_transposed_double(tile.rows, tile.columns, width, a, width, b, width,
                                           products, TILE);
            pass->visit(pass, &tile);
        }
    }
    free(a);
    free(b);
    free(products);
}

static void visit_pairs(struct pass *pass)
{
    parallel_ranges((pass->a->count + TILE - 1) / TILE, 1, visit_range, pass);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static void add_kernel(const struct pass *pass, const struct tile *tile)
{
    const struct units *a = pass->a_units, *b = pass->b_units;
    double width = (double)pass->a->width;
    bool within = pass->a == pass->b;
    for (size_t i = 0; i < tile->rows; i++) {
        double *sums = pass->row_sums + (tile->row + i) * b->count;
        for (size_t k = 0; k < tile->columns; k++) {
            size_t x = tile->row + i, y = tile->column + k;
            double base = tile->products[i * TILE + k] / width + 1;
            if (!within || a->group[x] != b->group[y])
                sums[b->unit[y]] += base * base * base;
        }
    }
}

/* Pairs of images of one person are none. */
static void count_pairs(struct kernel_sums *sums, const struct units *a, const struct units *b,
                        bool within)
{
    for (size_t g = 0; g < sums->rows; g++)
        for (size_t h = 0; h < sums->columns; h++)
            sums->pairs[g * sums->columns + h] = a->size[g] * b->size[h];
    if (!within)
        return;
    size_t *images = memory_grow(NULL, a->groups, sizeof *images),
           *unit_of = memory_grow(NULL, a->groups, sizeof *unit_of);
    memset(images, 0, a->groups * sizeof *images);
    for (size_t i = 0; i < a->images; i++) {
        images[a->group[i]]++;
        unit_of[a->group[i]] = a->unit[i];
    }
    for (size_t g = 0; g < a->groups; g++)
        sums->pairs[unit_of[g] * sums->columns + unit_of[g]] -=
            (double)images[g] * (double)images[g];
    free(images);
    free(unit_of);
}

bool kernel_sums_init(struct kernel_sums *sums, const struct feature_sample *a,
                      const struct units *a_units, const struct feature_sample *b,
                      const struct units *b_units, struct error *err)
{
    *sums = (struct kernel_sums){ a_units->count, b_units->count, NULL, NULL };
    double *rows =
        memory_allocate(a->count * b_units->count, sizeof *rows, "sums of the kernel", err);
    if (!rows)
        return false;
    struct pass pass = { .a = a, .b = b, .visit = add_kernel, .row_sums = rows };
    pass.a_units = a_units;
    pass.b_units = b_units;
    visit_pairs(&pass);
    size_t cells = sums->rows * sums->columns;
    sums->sum = memory_grow(NULL, cells, sizeof *sums->sum);
    sums->pairs = memory_grow(NULL, cells, sizeof *sums->pairs);
    memset(sums->sum, 0, cells * sizeof *sums->sum);
    for (size_t i = 0; i < a->count; i++)
        for (size_t u = 0; u < sums->columns; u++)
            sums->sum[a_units->unit[i] * sums->columns + u] += rows[i * sums->columns + u];
    count_pairs(sums, a_units, b_units, a == b);
    memory_free(rows);
    return true;
}

void kernel_sums_release(struct kernel_sums *sums)
{
    free(sums->sum);
    free(sums->pairs);
    *sums = (struct kernel_sums){ 0 };
}

/* ---- distances ------------------------------------------------------------------------------- */

/* Rounding must not decide whether an image lies on the edge of a radius that it defines. */
static const double ROUNDING = 1e-12;

static double distance_squared(double product, double square_a, double square_b)
{
    return square_a + square_b - 2 * product;
}

static void keep_nearest(const struct pass *pass, const struct tile *tile)
{
    const double *square = pass->find->square;
    const uint32_t *group = pass->a_units->group;
    for (size_t i = 0; i < tile->rows; i++) {
        size_t x = tile->row + i;
        double *nearest = pass->find->radius[x];
        for (size_t k = 0; k < tile->columns; k++) {
            size_t y = tile->column + k, place = BALL_NEIGHBOURS;
            double d = distance_squared(tile->products[i * TILE + k], square[x], square[y]);
            if (group[x] == group[y])
                continue;
            /* NAN: there is none yet */
            while (place && !(nearest[place - 1] <= d))
                place--;
            if (place == BALL_NEIGHBOURS)
                continue;
            memmove(nearest + place + 1, nearest + place,
                    (BALL_NEIGHBOURS - 1 - place) * sizeof *nearest);
            nearest[place] = d;
        }
    }
}

void surroundings_init(struct surroundings *around, const struct feature_sample *sample,
                       const struct units *units)
{
    size_t width = sample->width;
    around->square = memory_grow(NULL, sample->count, sizeof *around->square);
    around->radius = memory_grow(NULL, sample->count, sizeof *around->radius);
    for (size_t i = 0; i < sample->count; i++) {
        around->square[i] = 0;
        for (size_t f = 0; f < width; f++)
            around->square[i] +=
                (double)sample->values[i * width + f] * (double)sample->values[i * width + f];
        for (int n = 0; n < BALL_NEIGHBOURS; n++)
            around->radius[i][n] = NAN;
    }
    struct pass pass = { .a = sample, .b = sample, .visit = keep_nearest, .find = around };
    pass.a_units = units;
    visit_pairs(&pass);
}

void surroundings_release(struct surroundings *around)
{
    free(around->square);
    free(around->radius);
    *around = (struct surroundings){ 0 };
}

static void meet(const struct pass *pass, const struct tile *tile)
{
    const struct surroundings *a = pass->a_around, *b = pass->b_around;
    for (size_t i = 0; i < tile->rows; i++) {
        size_t x = tile->row + i;
        struct meeting *meeting = &pass->meetings[x];
        for (size_t k = 0; k < tile->columns; k++) {
            size_t y = tile->column + k;
            double d = distance_squared(tile->products[i * TILE + k], a->square[x], b->square[y]) -
                       ROUNDING * (a->square[x] + b->square[y]);
            meeting->inside |= d <= b->radius[y][MANIFOLD_NEIGHBOURS - 1];
            meeting->balls += d <= b->radius[y][BALL_NEIGHBOURS - 1];
            meeting->reached |= d <= a->radius[x][BALL_NEIGHBOURS - 1];
        }
    }
}

void meetings(const struct feature_sample *a, const struct surroundings *a_around,
              const struct feature_sample *b, const struct surroundings *b_around,
              struct meeting *out)
{
    memset(out, 0, a->count * sizeof *out);
    struct pass pass = { .a = a, .b = b, .visit = meet, .meetings = out };
    pass.a_around = a_around;
    pass.b_around = b_around;
    visit_pairs(&pass);
}
