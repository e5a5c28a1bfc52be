/* Working grids; see grid.h. */
#include "audit/grid.h"

#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16, BEFORE = 2, FRAME = 5 }; /* two rows of padding before, three behind */

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

size_t grid_padded(const struct grid *grid)
{
    return grid->planes * (grid->rows + FRAME) * (grid->columns + FRAME);
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

/* One row of cells from `height` rows of pixels. `sums` has room for a row of pixels. */
static void read_row(const struct grid *grid, const unsigned char *pixels, size_t height,
                     float *sums, float *cells)
{
    enum element_type type = grid->pixels->type;
    size_t width = grid->width, bytes = element_info[type].bytes, box = grid->box;
    memset(sums, 0, width * sizeof *sums);
    for (size_t r = 0; r < height; r++) {
        const void *row = pixels + r * width * bytes;
        if (type == ELEMENT_UINT8)
            add_u8(row, width, sums);
        else if (type == ELEMENT_UINT16)
            add_u16(row, width, sums);
        else
            add_half(row, width, sums);
    }
    for (size_t c = 0; c < grid->columns; c++) {
        size_t end = (c + 1) * box < width ? (c + 1) * box : width;
        float sum = 0;
        for (size_t i = c * box; i < end; i++)
            sum += sums[i];
        cells[c] = sum / (float)(height * (end - c * box));
    }
}

void grid_read(const struct grid *grid, const void *image, float *cells)
{
    const struct pixels *pixels = grid->pixels;
    size_t plane = grid->height * grid->width, bytes = element_info[pixels->type].bytes;
    float *sums = memory_grow(NULL, grid->width, sizeof *sums);
    for (size_t r = 0; r < pixels->run_count; r++) {
        for (size_t i = 0; i < pixels->run[r].length; i += plane) {
            const unsigned char *from =
                (const unsigned char *)image + (pixels->run[r].offset + i) * bytes;
            for (size_t y = 0; y < grid->height; y += grid->box, cells += grid->columns) {
                size_t rest = grid->height - y, height = rest < grid->box ? rest : grid->box;
                read_row(grid, from + y * grid->width * bytes, height, sums, cells);
            }
        }
    }
    memory_free(sums);
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

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

float grid_background(const struct grid *grid, const float *cells)
{
    size_t rows = grid->rows, columns = grid->columns, count = 0;
    float *rim = memory_grow(NULL, grid->planes * 2 * (rows + columns), sizeof *rim);
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++)
            for (size_t x = 0; x < columns; x++, cells++)
                if (y == 0 || x == 0 || y == rows - 1 || x == columns - 1)
                    rim[count++] = *cells;
    qsort(rim, count, sizeof *rim, by_value);
    float median = rim[count / 2];
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

/* ---- poses ----------------------------------------------------------------------------------- */

void grid_pad(const struct grid *grid, const float *cells, float background, float *padded)
{
    size_t columns = grid->columns, stride = columns + FRAME, rows = grid->rows;
    for (size_t i = 0; i < grid_padded(grid); i++)
        padded[i] = background;
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++)
            memcpy(padded + (p * (rows + FRAME) + y + BEFORE) * stride + BEFORE,
                   cells + (p * rows + y) * columns, columns * sizeof *cells);
}

/* Where row `row` is sampled: place = start + x · step, in padded cells. Beyond the limits, one
 * cell around the image, is background. */
struct line {
    float start[2], step[2];
    float limit[2];
};

/* The inverse of a pose's turn and scale: cos and sin of the angle, shrunk. */
struct turn {
    double c, s;
};

static struct turn turn_of(const struct pose *pose)
{
    double shrink = exp(-pose->log_scale);
    return (struct turn){ shrink * cos(pose->angle), shrink * sin(pose->angle) };
}

static struct line line_of(const struct grid *grid, const struct pose *pose, struct turn turn,
                           size_t row)
{
    double c = turn.c, s = turn.s, dy = (double)row - pose->shift[0] - pose->centre[0],
           dx = -pose->shift[1] - pose->centre[1];
    return (struct line){
        .start = { (float)(pose->centre[0] + c * dy - s * dx + BEFORE),
                   (float)(pose->centre[1] + s * dy + c * dx + BEFORE) },
        .step = { (float)-s, (float)c },
        .limit = { (float)(grid->rows + BEFORE), (float)(grid->columns + BEFORE) },
    };
}

static inline __attribute__((always_inline)) float clamp(float value, float high)
{
    value = value < BEFORE - 1 ? BEFORE - 1 : value;
    return value > high ? high : value;
}

/* Catmull and Rom's cubic through four values, at t in [0, 1] between the second and the third. */
static inline __attribute__((always_inline)) float cubic(float a, float b, float c, float d,
                                                         float t)
{
    return b + 0.5f * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

HOT static void sample_cubic(const float *padded, size_t stride, const struct line *line,
                             size_t count, float *out)
{
    const int row = (int)stride;
    for (size_t x = 0; x < count; x++) {
        float y_at = clamp(line->start[0] + (float)(int)x * line->step[0], line->limit[0]),
              x_at = clamp(line->start[1] + (float)(int)x * line->step[1], line->limit[1]);
        int iy = (int)y_at, ix = (int)x_at, at = (iy - 1) * row + ix - 1;
        float fy = y_at - (float)iy, fx = x_at - (float)ix;
        const float *r0 = padded, *r1 = padded + row, *r2 = padded + 2 * row,
                    *r3 = padded + 3 * row;
        out[x] = cubic(cubic(r0[at], r0[at + 1], r0[at + 2], r0[at + 3], fx),
                       cubic(r1[at], r1[at + 1], r1[at + 2], r1[at + 3], fx),
                       cubic(r2[at], r2[at + 1], r2[at + 2], r2[at + 3], fx),
                       cubic(r3[at], r3[at + 1], r3[at + 2], r3[at + 3], fx), fy);
    }
}

HOT static void sample_line(const float *padded, size_t stride, const struct line *line,
                            size_t count, float *out)
{
    for (size_t x = 0; x < count; x++) {
        float y_at = clamp(line->start[0] + (float)(int)x * line->step[0], line->limit[0]),
              x_at = clamp(line->start[1] + (float)(int)x * line->step[1], line->limit[1]);
        int iy = (int)y_at, ix = (int)x_at, at = iy * (int)stride + ix;
        float fy = y_at - (float)iy, fx = x_at - (float)ix, a = padded[at], b = padded[at + 1],
              c = padded[at + (int)stride], d = padded[at + (int)stride + 1];
        float top = a + fx * (b - a), bottom = c + fx * (d - c);
        out[x] = top + fy * (bottom - top);
    }
}

/* The slopes of the interpolated image where a row is sampled. */
HOT static void slope_line(const float *padded, size_t stride, const struct line *line,
                           size_t count, float *along_y, float *along_x)
{
    for (size_t x = 0; x < count; x++) {
        float y_at = clamp(line->start[0] + (float)(int)x * line->step[0], line->limit[0]),
              x_at = clamp(line->start[1] + (float)(int)x * line->step[1], line->limit[1]);
        int iy = (int)y_at, ix = (int)x_at, at = iy * (int)stride + ix;
        float fy = y_at - (float)iy, fx = x_at - (float)ix, a = padded[at], b = padded[at + 1],
              c = padded[at + (int)stride], d = padded[at + (int)stride + 1];
        along_x[x] = (1 - fy) * (b - a) + fy * (d - c);
        along_y[x] = (1 - fx) * (c - a) + fx * (d - b);
    }
}

static void (*const samplers[])(const float *padded, size_t stride, const struct line *line,
                                size_t count, float *out) = {
    [SAMPLE_LINES] = sample_line, [SAMPLE_CUBICS] = sample_cubic
};

void grid_warp(const struct grid *grid, const float *padded, const struct pose *pose,
               enum sampling sampling, float *out)
{
    size_t rows = grid->rows, columns = grid->columns, stride = columns + FRAME;
    struct turn turn = turn_of(pose);
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++) {
            struct line line = line_of(grid, pose, turn, y);
            samplers[sampling](padded + p * (rows + FRAME) * stride, stride, &line, columns,
                               out + (p * rows + y) * columns);
        }
}

HOT static void crop_line(const float *cells, const struct line *line, float background,
                          size_t count, float *out)
{
    for (size_t x = 0; x < count; x++) {
        float y_at = line->start[0] + (float)(int)x * line->step[0],
              x_at = line->start[1] + (float)(int)x * line->step[1];
        bool inside = (y_at >= BEFORE - 0.25f) & (x_at >= BEFORE - 0.25f) &
                      (y_at <= line->limit[0] - 0.75f) & (x_at <= line->limit[1] - 0.75f);
        out[x] = inside ? cells[x] : background;
    }
}

void grid_crop(const struct grid *grid, const float *cells, const struct pose *pose,
               float background, float *out)
{
    size_t rows = grid->rows, columns = grid->columns;
    struct turn turn = turn_of(pose);
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++) {
            struct line line = line_of(grid, pose, turn, y);
            size_t at = (p * rows + y) * columns;
            crop_line(cells + at, &line, background, columns, out + at);
        }
}

/* From slopes to derivatives by the four freedoms, in place of a row. With (r, q) the sampled place
 * less the centre: ∂/∂log_scale = (−r, −q), ∂/∂angle = (−q, r). */
HOT static void freedoms_line(const struct line *line, const float turn[2], const float centre[2],
                              float per_reach, size_t count, const float *slope_y,
                              const float *slope_x, float *const freedom[POSE_FREEDOMS])
{
    float c = turn[0], s = turn[1];
    for (size_t x = 0; x < count; x++) {
        float r = line->start[0] + (float)(int)x * line->step[0] - centre[0],
              q = line->start[1] + (float)(int)x * line->step[1] - centre[1], gy = slope_y[x],
              gx = slope_x[x];
        freedom[0][x] = -c * gy - s * gx;
        freedom[1][x] = s * gy - c * gx;
        freedom[2][x] = (r * gx - q * gy) * per_reach;
        freedom[3][x] = (-r * gy - q * gx) * per_reach;
    }
}

void grid_warp_derivatives(const struct grid *grid, const float *padded, const struct pose *pose,
                           enum sampling sampling, float *out, float *derivatives)
{
    size_t rows = grid->rows, columns = grid->columns, stride = columns + FRAME,
           cells = grid_cells(grid);
    struct turn turn = turn_of(pose);
    float cosine_sine[2] = { (float)turn.c, (float)turn.s },
          centre[2] = { (float)(pose->centre[0] + BEFORE), (float)(pose->centre[1] + BEFORE) };
    float *slopes = memory_grow(NULL, 2 * columns, sizeof *slopes);
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++) {
            struct line line = line_of(grid, pose, turn, y);
            const float *plane = padded + p * (rows + FRAME) * stride;
            size_t at = (p * rows + y) * columns;
            samplers[sampling](plane, stride, &line, columns, out + at);
            slope_line(plane, stride, &line, columns, slopes, slopes + columns);
            freedoms_line(&line, cosine_sine, centre, (float)(1 / grid_reach(grid)), columns,
                          slopes, slopes + columns,
                          (float *const[]){ derivatives + at, derivatives + cells + at,
                                            derivatives + 2 * cells + at,
                                            derivatives + 3 * cells + at });
        }
    memory_free(slopes);
}

/* ---- smoothing and correlation --------------------------------------------------------------- */

/* The middle of five rows with weights w[2] w[1] w[0] w[1] w[2]. */
HOT static void smooth_rows(const float *const row[5], const float w[3], size_t count, float *out)
{
    for (size_t x = 0; x < count; x++)
        out[x] = w[2] * (row[0][x] + row[4][x]) + w[1] * (row[1][x] + row[3][x]) + w[0] * row[2][x];
}

static void smooth(const struct grid *grid, const float *cells, const float weights[3],
                   float background, float *out)
{
    size_t rows = grid->rows, columns = grid->columns;
    float *line = memory_grow(NULL, columns + 4, sizeof *line),
          *outside = memory_grow(NULL, columns, sizeof *outside);
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

static double correlation_of(double lane[5][LANES], double n)
{
    double sum[5] = { 0 };
    for (int s = 0; s < 5; s++)
        for (int l = 0; l < LANES; l++)
            sum[s] += lane[s][l];
    double xx = n * sum[2] - sum[0] * sum[0], yy = n * sum[3] - sum[1] * sum[1],
           xy = n * sum[4] - sum[0] * sum[1];
    /* what rounding leaves of a constant image is no variance */
    if (xx <= 1e-12 * n * sum[2] || yy <= 1e-12 * n * sum[3])
        return 0;
    double r = xy / sqrt(xx * yy);
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

double float_correlation(const float *x, const float *y, size_t count)
{
    double lane[5][LANES] = { 0 };
    five_sums(x, y, count, lane);
    return correlation_of(lane, (double)count);
}

double float_correlation_inside(const float *x, const float *y, const float *inside, size_t count)
{
    enum { PART = 256 };
    double lane[5][LANES] = { 0 }, n = 0;
    float a[PART], b[PART];
    for (size_t first = 0; first < count; first += PART) {
        size_t part = count - first < PART ? count - first : PART;
        for (size_t i = 0; i < part; i++) {
            a[i] = x[first + i] * inside[first + i];
            b[i] = y[first + i] * inside[first + i];
            n += (double)inside[first + i];
        }
        five_sums(a, b, part, lane);
    }
    return correlation_of(lane, n);
}
