/* Patches; see patch.h. */
#include "audit/patch.h"

#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 };

bool patch_read(const struct grid *grid, const void *image, float *cells, struct patch_level *level)
{
    size_t count = grid_cells(grid);
    double squares = 0;
    grid_read(grid, image, cells);
    *level = (struct patch_level){ .background = grid_background(grid, cells) };
    for (size_t i = 0; i < count; i++) {
        cells[i] -= level->background;
        squares += (double)cells[i] * (double)cells[i];
    }
    if (!(squares > 0))
        return false;
    level->scale = (float)sqrt((double)count / squares);
    for (size_t i = 0; i < count; i++)
        cells[i] *= level->scale;
    return true;
}

void patch_describe(const struct grid *grid, const float *cells, size_t y, size_t x, size_t step,
                    float *row)
{
    size_t features = grid->planes * PATCH_MEANS * PATCH_MEANS;
    double mean = 0, squares = 0;
    for (size_t i = 0; i < features; i++) {
        size_t p = i / (PATCH_MEANS * PATCH_MEANS), top = y + i / PATCH_MEANS % PATCH_MEANS * step,
               left = x + i % PATCH_MEANS * step;
        float sum = 0;
        for (size_t r = top; r < top + step; r++)
            for (size_t c = left; c < left + step; c++)
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

HOT double patch_product(const float *x, const float *y, size_t count)
{
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l] * (double)y[i + l];
    for (size_t l = 0; i < count; i++, l++)
        lane[l] += (double)x[i] * (double)y[i];
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

/* The rows and columns of a square that lie within the grid, counted in the square. */
struct span {
    size_t begin, end;
};

static struct span span_of(long first, size_t side, size_t length)
{
    long begin = first < 0 ? -first : 0, end = (long)length - first;
    end = end < (long)side ? end : (long)side;
    return (struct span){ (size_t)begin, end > begin ? (size_t)end : (size_t)begin };
}

void patch_cut(const struct grid *grid, const float *cells, long y, long x, size_t side, float *out)
{
    struct span down = span_of(y, side, grid->rows), across = span_of(x, side, grid->columns);
    memset(out, 0, grid->planes * side * side * sizeof *out);
    if (across.begin == across.end)
        return;
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t r = down.begin; r < down.end; r++)
            memcpy(out + (p * side + r) * side + across.begin,
                   cells + (p * grid->rows + (size_t)(y + (long)r)) * grid->columns +
                       (size_t)(x + (long)across.begin),
                   (across.end - across.begin) * sizeof *out);
}

void patch_cut_image(const struct grid *grid, const void *image, const struct patch_level *level,
                     long y, long x, size_t side, float *out)
{
    struct span down = span_of(y, side, grid->rows), across = span_of(x, side, grid->columns);
    size_t rows = down.end - down.begin, columns = across.end - across.begin;
    memset(out, 0, grid->planes * side * side * sizeof *out);
    if (!rows || !columns)
        return;
    float *part = memory_grow(NULL, grid->planes * rows * columns, sizeof *part), *from = part;
    grid_read_part(grid, image, (size_t)(y + (long)down.begin), (size_t)(x + (long)across.begin),
                   rows, columns, part);
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t r = down.begin; r < down.end; r++)
            for (size_t c = across.begin; c < across.end; c++)
                out[(p * side + r) * side + c] = (*from++ - level->background) * level->scale;
    memory_free(part);
}
