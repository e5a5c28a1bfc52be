/* Roughness; see roughness.h. */
#include "audit/roughness.h"

#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>

enum { LANES = 16 }; /* of sums: their order depends on no processor */

const size_t roughness_steps[SCALE_COUNT] = { 1, 4 };

HOT static void row_u8(const uint8_t *x, size_t count, double *row)
{
    for (size_t i = 0; i < count; i++)
        row[i] = x[i];
}

HOT static void row_u16(const uint16_t *x, size_t count, double *row)
{
    for (size_t i = 0; i < count; i++)
        row[i] = x[i];
}

static void row_half(const uint16_t *x, size_t count, double *row)
{
    for (size_t i = 0; i < count; i++)
        row[i] = (double)half_to_float(x[i]);
}

static void read_row(enum element_type type, const void *plane, size_t first, size_t count,
                     double *row)
{
    if (type == ELEMENT_UINT8)
        row_u8((const uint8_t *)plane + first, count, row);
    else if (type == ELEMENT_UINT16)
        row_u16((const uint16_t *)plane + first, count, row);
    else
        row_half((const uint16_t *)plane + first, count, row);
}

/* Adds Σ (x_i − y_i)². Of 8 bits, or of a million pixels of 16, nothing is rounded. */
HOT static void add_differences(const double *x, const double *y, size_t count, double lane[LANES])
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double difference = x[i + l] - y[i + l];
            lane[l] += difference * difference;
        }
    for (; i < count; i++)
        lane[i % LANES] += (x[i] - y[i]) * (x[i] - y[i]);
}

/* Σ (x_i − x_j)² over the neighbours of a channel. `rows`: room for step + 1, used in turn. */
static double neighbours(enum element_type type, const void *plane, size_t height, size_t width,
                         size_t step, double *rows)
{
    double lane[LANES] = { 0 }, sum = 0;
    for (size_t y = 0; y < height; y++) {
        double *row = rows + y % (step + 1) * width, *above = rows + (y + 1) % (step + 1) * width;
        read_row(type, plane, y * width, width, row);
        if (width > step)
            add_differences(row, row + step, width - step, lane);
        if (y >= step)
            add_differences(row, above, width, lane);
    }
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

static size_t pairs_along(size_t length, size_t step)
{
    return length > step ? length - step : 0;
}

double image_roughness(const struct pixels *pixels, const void *image, size_t height, size_t width,
                       size_t step)
{
    size_t elements = height * width,
           pairs = height * pairs_along(width, step) + width * pairs_along(height, step);
    double *rows = memory_grow(NULL, (step + 1) * width, sizeof *rows), near = 0, spread = 0;
    struct pixels channel;
    pixels_init(&channel, pixels->type, 1, elements, 1);
    for (size_t r = 0; r < pixels->run_count; r++)
        for (size_t i = 0; i < pixels->run[r].length; i += elements) {
            const char *plane = (const char *)image +
                                (pixels->run[r].offset + i) * element_info[pixels->type].bytes;
            struct moments moments;
            if (!exact_moments(&channel, plane, &moments))
                continue;
            near += neighbours(pixels->type, plane, height, width, step, rows);
            spread += pixels->type == ELEMENT_FLOAT16 ? moments.spread
                                                      : moments.spread / (double)elements;
        }
    free(rows);
    return spread > 0 && pairs ? (double)(elements - 1) * near / (2 * (double)pairs * spread) : NAN;
}
