/* Heads of patches; see patch_heads.h. */
#include "audit/patch_heads.h"

#include "audit/blas.h"
#include "audit/patch.h"
#include "base/arena.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/simd.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    COARSE = 16,    /* coefficients of the first part; they are the largest */
    FEWEST = 32,    /* coefficients of a head: so many … */
    SHARE = 4,      /* … and this share of the description, up to PATCH_HEAD_MOST */
    SAMPLE = 4096,  /* descriptions that choose B */
    ROUNDS = 10,    /* of orthogonal iteration */
    TOGETHER = 512, /* heads that are computed at once; a multiple of PANEL_IMAGES */
};

#define UNIT (1 + 0x1p-14) /* at least a unit vector's square, whatever summed it up */

/* Terms of a bound: of a query's row, of an image's. */
enum { ERROR_OF_QUERY, ERROR_OF_IMAGE, REST, TERMS };

/* ---- the basis ------------------------------------------------------------------------------- */

/* Rows made orthonormal, one after the other; one that depends on those before becomes zero. */
static void orthonormalise(double *rows, size_t count, size_t length)
{
    for (size_t r = 0; r < count; r++) {
        double *row = rows + r * length, before = 0, norm = 0;
        for (size_t i = 0; i < length; i++)
            before += row[i] * row[i];
        for (int again = 0; again < 2; again++) /* once leaves what rounding brings back */
            for (size_t o = 0; o < r; o++) {
                const double *other = rows + o * length;
                double product = 0;
                for (size_t i = 0; i < length; i++)
                    product += row[i] * other[i];
                for (size_t i = 0; i < length; i++)
                    row[i] -= product * other[i];
            }
        for (size_t i = 0; i < length; i++)
            norm += row[i] * row[i];
        double scale = norm > 1e-20 * before && norm > 0 ? 1 / sqrt(norm) : 0;
        for (size_t i = 0; i < length; i++)
            row[i] *= scale;
    }
}

/* Bounds ‖B Bᵀ − 1‖ over rows that are not zero, by Gershgorin's circles. */
static double excess_of(const double *rows, size_t count, size_t length)
{
    double most = 0;
    for (size_t r = 0; r < count; r++) {
        double circle = 0, self = 0;
        for (size_t o = 0; o < count; o++) {
            double product = 0;
            for (size_t i = 0; i < length; i++)
                product += rows[r * length + i] * rows[o * length + i];
            if (o == r)
                self = product;
            else
                circle += fabs(product);
        }
        most = fmax(most, circle + (self > 0 ? fabs(self - 1) : 0));
    }
    return most;
}

/* Towards the directions in which the known descriptions have most energy. How near it comes
 * decides how fast a search is, nothing else. */
static bool choose_basis(struct patch_heads *heads, const float *rows, struct error *err)
{
    size_t d = heads->features, k = heads->length,
           used = heads->count < SAMPLE ? heads->count : SAMPLE;
    double *sample = memory_allocate(d * (used + 1), sizeof *sample, "heads of patches", err),
           *moments = memory_allocate(d * d, sizeof *moments, "heads of patches", err),
           *basis = memory_allocate(k * d, sizeof *basis, "heads of patches", err),
           *next = memory_allocate(k * d, sizeof *next, "heads of patches", err);
    heads->basis = memory_allocate(k * d, sizeof *heads->basis, "heads of patches", err);
    bool ok = sample && moments && basis && next && heads->basis;
    for (size_t s = 0; ok && s < used; s++)
        for (size_t i = 0; i < d; i++)
            sample[i * used + s] = (double)rows[s * heads->count / used * d + i];
    if (ok && used)
        blas_product_transposed_double(d, d, used, sample, used, sample, used, moments, d);
    for (size_t i = 0; ok && i < k * d; i++)
        basis[i] = random_normal(1, random_stream("audit/heads of patches"), i);
    for (int round = 0; ok && round < ROUNDS; round++) {
        blas_product_transposed_double(k, d, d, basis, d, moments, d, next, d);
        memcpy(basis, next, k * d * sizeof *next);
        orthonormalise(basis, k, d);
    }
    for (size_t i = 0; ok && i < k * d; i++)
        basis[i] = (double)(heads->basis[i] = (float)basis[i]);
    heads->excess = ok ? excess_of(basis, k, d) + 1e-12 : 0;
    memory_free(sample);
    memory_free(moments);
    memory_free(basis);
    memory_free(next);
    return ok;
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* At least the value, in single precision. */
static float up(double value)
{
    return (float)(value * (1 + 1e-6));
}

HOT static float largest(const float *values, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++) {
        float size = fabsf(values[i]);
        most = size > most ? size : most;
    }
    return most;
}

/* bytes = round(values · per), of sizes up to 127; rest = what scale · bytes leaves. No branch: one
 * that signs decide is foretold as often as a coin. */
HOT static void quantise(const float *restrict values, size_t count, float per, float scale,
                         int8_t *restrict bytes, float *restrict rest)
{
    for (size_t i = 0; i < count; i++) {
        float at = values[i] * per;
        int byte = (int)(at + copysignf(0.5f, at));
        bytes[i] = (int8_t)byte;
        rest[i] = values[i] - scale * (float)byte;
    }
}

/* A row of a panel from a description and its head. bytes: (length). */
static struct panel_row make_row(const struct patch_heads *heads, enum panel_side side,
                                 const float *described, const float *head, int8_t *bytes)
{
    struct panel_row row = { .bytes = bytes };
    float rest[PATCH_HEAD_MOST];
    for (size_t p = 0; p < heads->shape.parts; p++) {
        size_t begin = p ? heads->shape.end[p - 1] : 0, count = heads->shape.end[p] - begin;
        float scale = up((double)largest(head + begin, count) / 127);
        row.scale[p] = scale;
        float per = scale >= FLT_MIN ? 1 / scale : 0; /* a denormal's inverse may be infinite */
        quantise(head + begin, count, per, scale, bytes + begin, rest + begin);
    }
    double known = sqrt(patch_product(head, head, heads->length)),
           left = sqrt(patch_product(rest, rest, heads->length)),
           all = known > 0.1 ? UNIT /* no zero, so there is no need to ask */
                             : patch_product(described, described, heads->features),
           loss = heads->loss * sqrt(all), least = fmax(0, known - loss);
    /* The rest was rounded, twice, to 2^-24 of what it was taken from. */
    double error = left + 0x1p-22 * known + loss + 1e-12;
    bool query = side == PANEL_OF_QUERIES;
    row.term[ERROR_OF_QUERY] = up(query ? error : known + loss);
    row.term[ERROR_OF_IMAGE] = up(query ? known + error : error);
    row.term[REST] = up(sqrt(fmax(0, all - least * least) + 1.01 * heads->excess));
    return row;
}

struct patch_making patch_making_new(const struct patch_heads *heads, size_t most)
{
    return (struct patch_making){ .heads = memory_grow(NULL, most * heads->length, sizeof(float)),
                                  .bytes = memory_grow(NULL, most, heads->length),
                                  .row = memory_grow(NULL, most, sizeof(struct panel_row)) };
}

void patch_making_free(struct patch_making *making)
{
    memory_free(making->heads);
    memory_free(making->bytes);
    memory_free(making->row);
}

void patch_heads_make(const struct patch_heads *heads, enum panel_side side, const float *rows,
                      size_t count, struct patch_making *making)
{
    size_t d = heads->features, length = heads->length;
    blas_product_transposed(count, length, d, rows, d, heads->basis, d, making->heads, length);
    for (size_t i = 0; i < count; i++)
        making->row[i] = make_row(heads, side, rows + i * d, making->heads + i * length,
                                  making->bytes + i * length);
}

struct putting {
    const struct patch_heads *heads;
    const float *rows;
};

static void put_rows(void *context, size_t item)
{
    const struct putting *putting = context;
    const struct patch_heads *heads = putting->heads;
    size_t first = item * TOGETHER, left = heads->count - first,
           count = left < TOGETHER ? left : TOGETHER;
    struct patch_making making = patch_making_new(heads, count);
    patch_heads_make(heads, PANEL_OF_IMAGES, putting->rows + first * heads->features, count,
                     &making);
    for (size_t i = 0; i < count; i++)
        panel_put(&heads->shape, PANEL_OF_IMAGES,
                  heads->panels + (first + i) / PANEL_IMAGES * heads->image_panel,
                  (first + i) % PANEL_IMAGES, &making.row[i]);
    patch_making_free(&making);
}

bool patch_heads_open(struct patch_heads *heads, const float *rows, size_t count, size_t features,
                      struct error *err)
{
    size_t length = FEWEST + features / SHARE;
    *heads =
        (struct patch_heads){ .features = features,
                              .length = length < PATCH_HEAD_MOST ? length / 4 * 4 : PATCH_HEAD_MOST,
                              .products = panel_products(),
                              .count = count };
    heads->shape = panel_shape_of((const size_t[]){ COARSE, heads->length - COARSE, 0, 0 }, TERMS);
    heads->query_panel = panel_size(&heads->shape, PANEL_OF_QUERIES);
    heads->image_panel = panel_size(&heads->shape, PANEL_OF_IMAGES);
    heads->panels = memory_allocate((count + PANEL_IMAGES) / PANEL_IMAGES, heads->image_panel,
                                    "heads of patches", err);
    if (!heads->panels || !choose_basis(heads, rows, err))
        return false;
    /* Each coefficient is a sum of `features` products in any order (Higham's γ). */
    double nu = (double)features * 0x1p-24;
    heads->loss = 1.01 * nu / (1 - nu) * sqrt((double)heads->length * (1 + heads->excess));
    /* Sums of panels (tests/audit/panel_test.c), whose addends' sizes are 4 together at most, and a
     * bar in single precision. */
    heads->rounding = 19 * 0x1p-24 * 4 + 1.01 * heads->excess + 0x1p-22;
    struct putting putting = { heads, rows };
    parallel_items((count + TOGETHER - 1) / TOGETHER, put_rows, &putting);
    return true;
}

void patch_heads_close(struct patch_heads *heads)
{
    memory_free(heads->panels);
    memory_free(heads->basis);
    *heads = (struct patch_heads){ 0 };
}
