/* Patches; see patch.h. */
#include "audit/patch.h"

#include <math.h>

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

bool patch_read(const struct grid *grid, const void *image, float *cells)
{
    grid_read(grid, image, cells);
    return normalise(grid, cells);
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

void patch_cut(const struct grid *grid, const float *cells, long y, long x, size_t side, float *out)
{
    for (size_t p = 0; p < grid->planes; p++)
        for (long r = y; r < y + (long)side; r++)
            for (long c = x; c < x + (long)side; c++) {
                bool inside = r >= 0 && c >= 0 && r < (long)grid->rows && c < (long)grid->columns;
                *out++ =
                    inside ? cells[(p * grid->rows + (size_t)r) * grid->columns + (size_t)c] : 0;
            }
}
