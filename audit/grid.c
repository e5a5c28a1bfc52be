/* Working grids; see grid.h. */
#include "audit/grid.h"

#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16 };

void grid_init(struct grid *grid, const struct pixels *pixels, size_t height, size_t width,
               size_t most)
{
    size_t longer = height > width ? height : width, box = 1;
    while ((longer + box - 1) / box > most)
        box++;
    *grid = (struct grid){ .pixels = pixels,
                           .height = height,
                           .width = width,
                           .planes = pixels->count / (height * width),
                           .rows = (height + box - 1) / box,
                           .columns = (width + box - 1) / box,
                           .box = box };
}

size_t grid_cells(const struct grid *grid)
{
    return grid->planes * grid->rows * grid->columns;
}

double grid_reach(const struct grid *grid)
{
    return (double)(grid->rows > grid->columns ? grid->rows : grid->columns) / 2;
}

/* ---- reading --------------------------------------------------------------------------------- */

HOT static void add_u8(const uint8_t *x, size_t count, float *columns)
{
    for (size_t i = 0; i < count; i++)
        columns[i] += (float)x[i];
}

HOT static void add_u16(const uint16_t *x, size_t count, float *columns)
{
    for (size_t i = 0; i < count; i++)
        columns[i] += (float)x[i];
}

static void add_half(const uint16_t *x, size_t count, float *columns)
{
    for (size_t i = 0; i < count; i++)
        columns[i] += half_to_float(x[i]);
}

/* Means of `box` sums each, over `pixels` pixels. */
static inline __attribute__((always_inline)) void means_of(const float *sums, size_t box,
                                                           size_t count, float pixels, float *cells)
{
    for (size_t c = 0; c < count; c++) {
        float sum = sums[c * box];
        for (size_t i = 1; i < box; i++)
            sum += sums[c * box + i];
        cells[c] = sum / pixels;
    }
}

HOT static void box_means(const float *sums, size_t box, size_t count, float pixels, float *cells)
{
    if (box == 2)
        means_of(sums, 2, count, pixels, cells); /* the compiler makes vectors of these */
    else if (box == 4)
        means_of(sums, 4, count, pixels, cells);
    else
        means_of(sums, box, count, pixels, cells);
}

/* `columns` cells of a row from column `left` on, from `height` rows of pixels. `sums` has room for
 * a row of pixels. */
static void read_row(const struct grid *grid, const unsigned char *pixels, size_t height,
                     size_t left, size_t columns, float *sums, float *cells)
{
    enum element_type type = grid->pixels->type;
    size_t bytes = element_info[type].bytes, box = grid->box, begin = left * box,
           end = (left + columns) * box < grid->width ? (left + columns) * box : grid->width,
           width = end - begin;
    memset(sums, 0, width * sizeof *sums);
    for (size_t r = 0; r < height; r++) {
        const void *row = pixels + (r * grid->width + begin) * bytes;
        if (type == ELEMENT_UINT8)
            add_u8(row, width, sums);
        else if (type == ELEMENT_UINT16)
            add_u16(row, width, sums);
        else
            add_half(row, width, sums);
    }
    size_t whole = width / box;
    box_means(sums, box, whole, (float)(height * box), cells);
    if (whole < columns)
        box_means(sums + whole * box, width - whole * box, 1,
                  (float)(height * (width - whole * box)), cells + whole);
}

void grid_read_part(const struct grid *grid, const void *image, size_t top, size_t left,
                    size_t rows, size_t columns, float *cells)
{
    const struct pixels *pixels = grid->pixels;
    size_t plane = grid->height * grid->width, bytes = element_info[pixels->type].bytes;
    float *sums = memory_grow(NULL, grid->width, sizeof *sums);
    for (size_t r = 0; r < pixels->run_count; r++) {
        for (size_t i = 0; i < pixels->run[r].length; i += plane) {
            const unsigned char *from =
                (const unsigned char *)image + (pixels->run[r].offset + i) * bytes;
            for (size_t row = top; row < top + rows; row++, cells += columns) {
                size_t y = row * grid->box, rest = grid->height - y,
                       height = rest < grid->box ? rest : grid->box;
                read_row(grid, from + y * grid->width * bytes, height, left, columns, sums, cells);
            }
        }
    }
    memory_free(sums);
}

void grid_read(const struct grid *grid, const void *image, float *cells)
{
    grid_read_part(grid, image, 0, 0, grid->rows, grid->columns, cells);
}

void grid_mirror(const struct grid *grid, const float *cells, unsigned mirror, float *out)
{
    size_t rows = grid->rows, columns = grid->columns;
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++) {
            const float *from =
                cells + (p * rows + (mirror & MIRROR_Y ? rows - 1 - y : y)) * columns;
            for (size_t x = 0; x < columns; x++)
                *out++ = from[mirror & MIRROR_X ? columns - 1 - x : x];
        }
}

/* The value of that rank, by Hoare's selection. */
static float select_rank(float *values, size_t count, size_t rank)
{
    size_t low = 0, high = count - 1;
    while (low < high) {
        float middle = values[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (values[i] < middle)
                i++;
            while (values[j] > middle)
                j--;
            if (i >= j)
                break;
            float held = values[i];
            values[i++] = values[j];
            values[j--] = held;
        }
        if (rank <= j)
            high = j;
        else
            low = j + 1;
    }
    return values[low];
}

float grid_background(const struct grid *grid, const float *cells)
{
    size_t rows = grid->rows, columns = grid->columns, count = 0;
    float *rim = memory_grow(NULL, grid->planes * 2 * (rows + columns), sizeof *rim);
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++, cells += columns) {
            if (y == 0 || y == rows - 1) {
                memcpy(rim + count, cells, columns * sizeof *rim);
                count += columns;
                continue;
            }
            rim[count++] = cells[0];
            if (columns > 1)
                rim[count++] = cells[columns - 1];
        }
    float median = select_rank(rim, count, count / 2);
    memory_free(rim);
    return median;
}

void grid_centroid(const struct grid *grid, const float *cells, float background, double at[2])
{
    double total = 0, sum_y = 0, sum_x = 0;
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < grid->rows; y++)
            for (size_t x = 0; x < grid->columns; x++, cells++) {
                double weight = fabs((double)(*cells - background));
                total += weight;
                sum_y += weight * (double)y;
                sum_x += weight * (double)x;
            }
    at[0] = total > 0 ? sum_y / total : ((double)grid->rows - 1) / 2;
    at[1] = total > 0 ? sum_x / total : ((double)grid->columns - 1) / 2;
}

/* ---- smoothing and correlation --------------------------------------------------------------- */

/* The middle of five rows with weights w[2] w[1] w[0] w[1] w[2]. */
HOT static void smooth_five(const float *const row[5], const float w[3], size_t count, float *out)
{
    for (size_t x = 0; x < count; x++)
        out[x] = w[2] * (row[0][x] + row[4][x]) + w[1] * (row[1][x] + row[3][x]) + w[0] * row[2][x];
}

/* The same where w[2] is 0. */
HOT static void smooth_three(const float *const row[5], const float w[3], size_t count, float *out)
{
    for (size_t x = 0; x < count; x++)
        out[x] = w[1] * (row[1][x] + row[3][x]) + w[0] * row[2][x];
}

static void smooth(const struct grid *grid, const float *cells, const float weights[3],
                   float background, float *out)
{
    size_t rows = grid->rows, columns = grid->columns;
    float *line = memory_grow(NULL, columns + 4, sizeof *line),
          *outside = memory_grow(NULL, columns, sizeof *outside);
    void (*smooth_rows)(const float *const row[5], const float w[3], size_t count, float *out) =
        weights[2] == 0 ? smooth_three : smooth_five;
    for (size_t x = 0; x < columns; x++)
        outside[x] = background;
    line[0] = line[1] = line[columns + 2] = line[columns + 3] = background;
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++) {
            const float *from[5];
            for (size_t i = 0; i < 5; i++)
                from[i] = y + i < 2 || y + i - 2 >= rows ? outside
                                                         : cells + (p * rows + y + i - 2) * columns;
            smooth_rows(from, weights, columns, line + 2);
            smooth_rows((const float *const[]){ line, line + 1, line + 2, line + 3, line + 4 },
                        weights, columns, out + (p * rows + y) * columns);
        }
    memory_free(line);
    memory_free(outside);
}

void grid_smooth(const struct grid *grid, const float *cells, float background, float *out)
{
    smooth(grid, cells, (const float[]){ 6 / 16.0f, 4 / 16.0f, 1 / 16.0f }, background, out);
}

void grid_blur(const struct grid *grid, const float *cells, float background, float *out)
{
    smooth(grid, cells, (const float[]){ 6 / 8.0f, 1 / 8.0f, 0 }, background, out);
}

/* lane[s][l]: sums of x, y, x², y², xy. */
HOT static void five_sums(const float *x, const float *y, size_t count, double lane[5][LANES])
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double a = (double)x[i + l], b = (double)y[i + l];
            lane[0][l] += a;
            lane[1][l] += b;
            lane[2][l] += a * a;
            lane[3][l] += b * b;
            lane[4][l] += a * b;
        }
    for (size_t l = 0; i < count; i++, l++) {
        double a = (double)x[i], b = (double)y[i];
        lane[0][l] += a;
        lane[1][l] += b;
        lane[2][l] += a * a;
        lane[3][l] += b * b;
        lane[4][l] += a * b;
    }
}

HOT static void two_sums(const float *x, size_t count, double lane[2][LANES])
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double a = (double)x[i + l];
            lane[0][l] += a;
            lane[1][l] += a * a;
        }
    for (size_t l = 0; i < count; i++, l++) {
        double a = (double)x[i];
        lane[0][l] += a;
        lane[1][l] += a * a;
    }
}

HOT static void products(const float *x, const float *y, size_t count, double lane[LANES])
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l] * (double)y[i + l];
    for (size_t l = 0; i < count; i++, l++)
        lane[l] += (double)x[i] * (double)y[i];
}

static double sum_of(const double lane[LANES])
{
    double sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

static double correlation_of(const struct float_moments *x, const struct float_moments *y,
                             double xy_sum, double n)
{
    double xx = n * x->squares - x->sum * x->sum, yy = n * y->squares - y->sum * y->sum,
           xy = n * xy_sum - x->sum * y->sum;
    /* what rounding leaves of a constant image is no variance */
    if (xx <= 1e-12 * n * x->squares || yy <= 1e-12 * n * y->squares)
        return 0;
    double r = xy / sqrt(xx * yy);
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

static double correlation_of_lanes(double lane[5][LANES], double n)
{
    struct float_moments x = { sum_of(lane[0]), sum_of(lane[2]) },
                         y = { sum_of(lane[1]), sum_of(lane[3]) };
    return correlation_of(&x, &y, sum_of(lane[4]), n);
}

struct float_moments float_moments(const float *x, size_t count)
{
    double lane[2][LANES] = { 0 };
    two_sums(x, count, lane);
    return (struct float_moments){ sum_of(lane[0]), sum_of(lane[1]) };
}

double float_correlation_known(const float *x, const struct float_moments *mx, const float *y,
                               const struct float_moments *my, size_t count)
{
    double lane[LANES] = { 0 };
    products(x, y, count, lane);
    return correlation_of(mx, my, sum_of(lane), (double)count);
}

double float_correlation(const float *x, const float *y, size_t count)
{
    double lane[5][LANES] = { 0 };
    five_sums(x, y, count, lane);
    return correlation_of_lanes(lane, (double)count);
}

/* Both at the places where `inside` is 1, elsewhere 0; how many places those are. */
HOT static uint32_t keep_inside(const float *restrict x, const float *restrict y,
                                const float *restrict inside, size_t count, float *restrict a,
                                float *restrict b)
{
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        a[i] = x[i] * inside[i];
        b[i] = y[i] * inside[i];
        found += inside[i] > 0;
    }
    return found;
}

double float_correlation_inside(const float *x, const float *y, const float *inside, size_t count)
{
    enum { PART = 256 };
    double lane[5][LANES] = { 0 }, n = 0;
    float a[PART], b[PART];
    for (size_t first = 0; first < count; first += PART) {
        size_t part = count - first < PART ? count - first : PART;
        n += keep_inside(x + first, y + first, inside + first, part, a, b);
        five_sums(a, b, part, lane);
    }
    return correlation_of_lanes(lane, n);
}
