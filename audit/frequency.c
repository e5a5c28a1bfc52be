/* Low frequencies of images; see frequency.h.
 *
 * A transform of N samples is folded: the odd frequencies see only differences of mirrored samples,
 * the even ones are a transform of N/2 sums. Each fold halves the work of what remains, so K of N
 * frequencies cost a matrix product of K/2 × N/2, one of K/4 × N/4, …, and not K × N.
 *
 * Error: row r of a pass is a sum of n_r products after f_r folds, so whatever order BLAS adds in,
 * it is off by at most γ(n_r + f_r + 3) |d_r|ᵀ|x| with γ(m) = mu/(1 − mu), u = 2^-24 (Higham,
 * Accuracy and Stability of Numerical Algorithms, 3.1). Rows have norm 1, so a pass is off by at
 * most √Σγ_r² ‖x‖ over all its rows. */
#include "audit/frequency.h"

#include "audit/blas.h"
#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>

enum { FOLDS_MAX = 8 };

/* One pass: `count` of the frequencies of `length` samples. */
struct pass {
    size_t length, count, folds;
    float *odd[FOLDS_MAX]; /* fold f: count_f / 2 rows of length_f / 2 */
    float *rest;           /* what the folds leave */
    double error;
};

struct frequency {
    const struct pixels *pixels;
    size_t height, width, planes, box;
    struct pass vertical, horizontal;
    double error;
    struct arena arena;
};

static double gamma_bound(double count)
{
    double u = 0x1p-24;
    return count * u / (1 - count * u);
}

/* Frequency k of `length` samples at sample n, in the orthonormal basis of `whole` samples. */
static float cosine(size_t k, size_t n, size_t length, size_t whole)
{
    double scale = k == 0 ? 1 : sqrt(2);
    return (float)(scale / sqrt((double)whole) *
                   cos(M_PI * (2 * (double)n + 1) * (double)k / (2 * (double)length)));
}

static float *cosines(struct arena *arena, size_t first, size_t step, size_t rows, size_t columns,
                      size_t length, size_t whole)
{
    float *table = arena_array(arena, float, rows *columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t n = 0; n < columns; n++)
            table[r * columns + n] = cosine(first + r * step, n, length, whole);
    return table;
}

static void pass_init(struct pass *pass, struct arena *arena, size_t length, size_t count)
{
    *pass = (struct pass){ .length = length, .count = count };
    size_t n = length, k = count;
    double squares = 0;
    for (; pass->folds < FOLDS_MAX && n % 2 == 0 && n >= 16 && k >= 8; pass->folds++) {
        pass->odd[pass->folds] = cosines(arena, 1, 2, k / 2, n / 2, n, length);
        double bound = gamma_bound((double)(n / 2 + pass->folds + 4));
        squares += (double)(k / 2) * bound * bound;
        n /= 2;
        k = (k + 1) / 2;
    }
    pass->rest = cosines(arena, 0, 1, k, n, n, length);
    double bound = gamma_bound((double)(n + pass->folds + 3));
    squares += (double)k * bound * bound;
    pass->error = sqrt(squares);
}

struct frequency *frequency_new(const struct pixels *pixels, size_t height, size_t width,
                                struct error *err)
{
    struct frequency *frequency = memory_allocate(1, sizeof *frequency, "frequency tables", err);
    if (!frequency)
        return NULL;
    size_t box = 1;
    while (height % (2 * box) == 0 && width % (2 * box) == 0 &&
           height / (2 * box) >= 2 * FREQUENCIES && width / (2 * box) >= 2 * FREQUENCIES)
        box *= 2;
    *frequency = (struct frequency){ .pixels = pixels,
                                     .height = height,
                                     .width = width,
                                     .planes = pixels->count / (height * width),
                                     .box = box };
    arena_init(&frequency->arena);
    size_t rows = height / box, columns = width / box;
    pass_init(&frequency->vertical, &frequency->arena, rows,
              rows < FREQUENCIES ? rows : FREQUENCIES);
    pass_init(&frequency->horizontal, &frequency->arena, columns,
              columns < FREQUENCIES ? columns : FREQUENCIES);
    double boxes = gamma_bound((double)(box * box) + 3), vertical = frequency->vertical.error,
           horizontal = frequency->horizontal.error, scaling = gamma_bound(4);
    frequency->error = 1.01 * ((1 + boxes) * (1 + vertical) * (1 + horizontal) * (1 + scaling) - 1);
    return frequency;
}

void frequency_free(struct frequency *frequency)
{
    if (frequency)
        arena_release(&frequency->arena);
    memory_free(frequency);
}

size_t frequency_count(const struct frequency *frequency)
{
    return frequency->planes * frequency->vertical.count * frequency->horizontal.count;
}

double frequency_error(const struct frequency *frequency)
{
    return frequency->error;
}

size_t frequency_workspace(const struct frequency *frequency)
{
    size_t grid = frequency->vertical.length * frequency->horizontal.length;
    return (3 * grid + 4 * frequency->width) * sizeof(float);
}

/* ---- pixels to boxes ------------------------------------------------------------------------- */

/* out[i] = Σ over the box (x − mean) / box, from the sums of each column over the box's rows. */
static inline __attribute__((always_inline)) void close_boxes(const float *columns, size_t count,
                                                              size_t box, float mean, float *out)
{
    float scale = 1 / (float)box, offset = mean * (float)(box * box);
    for (size_t i = 0; i < count; i++) {
        float sum = columns[i * box];
        for (size_t b = 1; b < box; b++)
            sum += columns[i * box + b];
        out[i] = (sum - offset) * scale;
    }
}

HOT static void close_row(const float *columns, size_t count, size_t box, float mean, float *out)
{
    if (box == 1)
        close_boxes(columns, count, 1, mean, out);
    else if (box == 2)
        close_boxes(columns, count, 2, mean, out);
    else
        close_boxes(columns, count, box, mean, out);
}

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

/* Half precision is centred before it is summed: its sums would not be exact. */
static void add_half(const uint16_t *x, size_t count, double mean, float *columns)
{
    for (size_t i = 0; i < count; i++)
        columns[i] += (float)((double)half_to_float(x[i]) - mean);
}

/* A row of boxes of 2 × 2 pixels of 8 bits, centred. */
HOT static void close_pairs(const uint8_t *top, const uint8_t *bottom, size_t count, float mean,
                            float *out)
{
    float offset = 4 * mean;
    for (size_t i = 0; i < count; i++) {
        int sum = top[2 * i] + top[2 * i + 1] + bottom[2 * i] + bottom[2 * i + 1];
        out[i] = ((float)sum - offset) * 0.5f;
    }
}

/* One channel on the grid of boxes, centred. Sums of whole numbers are exact (below 2^24). */
static void boxes(const struct frequency *frequency, const void *plane, double mean, float *columns,
                  float *grid)
{
    size_t width = frequency->width, box = frequency->box, count = frequency->horizontal.length;
    enum element_type type = frequency->pixels->type;
    for (size_t row = 0; row < frequency->vertical.length; row++) {
        if (box == 2 && type == ELEMENT_UINT8) {
            const uint8_t *top = (const uint8_t *)plane + 2 * row * width;
            close_pairs(top, top + width, count, (float)mean, grid + row * count);
            continue;
        }
        memset(columns, 0, width * sizeof *columns);
        for (size_t r = row * box; r < (row + 1) * box; r++) {
            if (type == ELEMENT_UINT8)
                add_u8((const uint8_t *)plane + r * width, width, columns);
            else if (type == ELEMENT_UINT16)
                add_u16((const uint16_t *)plane + r * width, width, columns);
            else
                add_half((const uint16_t *)plane + r * width, width, mean, columns);
        }
        close_row(columns, count, box, type == ELEMENT_FLOAT16 ? 0 : (float)mean,
                  grid + row * count);
    }
}

/* ---- transforms ------------------------------------------------------------------------------ */

/* Mirrored rows: their differences into `difference`, their sums where the upper ones were. */
HOT static void fold(float *samples, size_t length, size_t columns, float *difference)
{
    for (size_t i = 0; i < length / 2; i++) {
        float *top = samples + i * columns, *bottom = samples + (length - 1 - i) * columns,
              *out = difference + i * columns;
        for (size_t c = 0; c < columns; c++) {
            float t = top[c], b = bottom[c];
            out[c] = t - b;
            top[c] = t + b;
        }
    }
}

/* Along the rows of samples (length, columns), which are used up: out (count, columns). */
static void transform(const struct pass *pass, float *samples, size_t columns, float *difference,
                      float *out)
{
    size_t n = pass->length, k = pass->count, stride = columns;
    for (size_t f = 0; f < pass->folds; f++) {
        fold(samples, n, columns, difference);
        blas_product(k / 2, columns, n / 2, pass->odd[f], n / 2, difference, columns, out + stride,
                     2 * stride);
        n /= 2;
        k = (k + 1) / 2;
        stride *= 2;
    }
    blas_product(k, columns, n, pass->rest, n, samples, columns, out, stride);
}

/* Four floats, which any processor we run on can shuffle. */
typedef float four __attribute__((vector_size(16)));

static four load_four(const float *from)
{
    four values;
    memcpy(&values, from, sizeof values);
    return values;
}

static void store_four(float *to, four values)
{
    memcpy(to, &values, sizeof values);
}

static void transpose_four(const float *in, size_t columns, float *out, size_t rows)
{
    four a = load_four(in), b = load_four(in + columns), c = load_four(in + 2 * columns),
         d = load_four(in + 3 * columns);
    four ac = __builtin_shufflevector(a, c, 0, 4, 1, 5),
         bd = __builtin_shufflevector(b, d, 0, 4, 1, 5),
         ca = __builtin_shufflevector(a, c, 2, 6, 3, 7),
         db = __builtin_shufflevector(b, d, 2, 6, 3, 7);
    store_four(out, __builtin_shufflevector(ac, bd, 0, 4, 1, 5));
    store_four(out + rows, __builtin_shufflevector(ac, bd, 2, 6, 3, 7));
    store_four(out + 2 * rows, __builtin_shufflevector(ca, db, 0, 4, 1, 5));
    store_four(out + 3 * rows, __builtin_shufflevector(ca, db, 2, 6, 3, 7));
}

static void transpose(const float *in, size_t rows, size_t columns, float *out)
{
    size_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
    for (size_t r = 0; r < whole_rows; r += 4)
        for (size_t c = 0; c < whole_columns; c += 4)
            transpose_four(in + r * columns + c, columns, out + c * rows + r, rows);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            out[c * rows + r] = in[r * columns + c];
}

/* What the lowest coefficient lacks because boxes were centred by a number of single precision,
 * which moves them all alike and so no other coefficient. Half precision is centred in double. */
static double missed_by_centring(const struct frequency *frequency, double mean)
{
    double box = (double)frequency->box,
           boxes = (double)(frequency->vertical.length * frequency->horizontal.length);
    if (frequency->pixels->type == ELEMENT_FLOAT16)
        return 0;
    return ((double)((float)mean * (float)(box * box)) - mean * box * box) / box * sqrt(boxes);
}

/* One channel's coefficients, not yet divided by the image's norm. */
static void transform_plane(const struct frequency *frequency, float *workspace, const void *plane,
                            double mean, float *out)
{
    const struct pass *vertical = &frequency->vertical, *horizontal = &frequency->horizontal;
    size_t grid = vertical->length * horizontal->length;
    float *samples = workspace, *difference = samples + grid, *result = difference + grid,
          *columns = result + grid;
    boxes(frequency, plane, mean, columns, samples);
    transform(vertical, samples, horizontal->length, difference, result);
    transpose(result, vertical->count, horizontal->length, samples);
    transform(horizontal, samples, vertical->count, difference, out);
    if (frequency->planes == 1) /* the mean of the plane is the mean of the image */
        out[0] = 0;
    else
        out[0] = (float)((double)out[0] + missed_by_centring(frequency, mean));
}

bool frequency_transform(const struct frequency *frequency, void *workspace, const void *image,
                         const struct moments *moments, float *coefficients)
{
    const struct pixels *pixels = frequency->pixels;
    size_t elements = frequency->height * frequency->width,
           bytes = element_info[pixels->type].bytes,
           each = frequency->vertical.count * frequency->horizontal.count, plane = 0;
    /* ‖x − mean‖², and how far the mean in single precision may move it. */
    double squares = pixels->type == ELEMENT_FLOAT16 ? moments->spread
                                                     : moments->spread / (double)pixels->count,
           moved = moments->mean * 0x1p-24;
    if (moved * moved * (double)pixels->count > 1e-3 * squares)
        return false;
    for (size_t r = 0; r < pixels->run_count; r++)
        for (size_t i = 0; i < pixels->run[r].length; i += elements, plane++)
            transform_plane(frequency, workspace,
                            (const char *)image + (pixels->run[r].offset + i) * bytes,
                            moments->mean, coefficients + plane * each);
    float scale = (float)(1 / sqrt(squares));
    for (size_t i = 0; i < plane * each; i++)
        coefficients[i] *= scale;
    return true;
}
