/* What a bound of heads promises: no product of two descriptions is above it, whatever they are. */
#include "test.h"

#include "audit/blas.h"
#include "audit/patch_heads.h"
#include "base/arena.h"
#include "base/random.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { KNOWN = 20 * PANEL_IMAGES + 5, ASKED = 5 * PANEL_QUERIES, LONGEST = 700 };
static float known[KNOWN * LONGEST], asked[ASKED * LONGEST];

/* A unit vector to single precision, or zeros. */
static void make_unit(float *row, size_t length)
{
    double square = 0;
    for (size_t i = 0; i < length; i++)
        square += (double)row[i] * (double)row[i];
    for (size_t i = 0; i < length && square > 0; i++)
        row[i] = (float)((double)row[i] / sqrt(square));
}

static double normal(const char *stream, size_t at)
{
    return random_normal(3, random_stream(stream), at);
}

/* Rows of noise; of few directions and a little noise; of one coefficient; of zeros; of a first
 * half alone. */
static void make_known(size_t length)
{
    memset(known, 0, sizeof known);
    for (size_t r = 0; r < KNOWN; r++) {
        float *row = known + r * length;
        for (size_t i = 0; i < length; i++) {
            double noise = normal("noise", r * length + i),
                   wave = cos((double)((1 + r % 3) * i) * 0.1) + 0.01 * noise;
            row[i] = (float)(r % 5 == 0                     ? noise
                             : r % 5 == 1                   ? wave
                             : r % 5 == 4 && 2 * i < length ? noise
                                                            : 0);
        }
        if (r % 5 == 2)
            row[r % length] = r % 2 ? 1 : -1;
        make_unit(row, length);
    }
}

/* Copies of known rows, turned round, and nearly; noise; zeros; what known rows have nothing of, so
 * that heads are all but nothing, down to denormal numbers. */
static void make_asked(size_t length)
{
    memset(asked, 0, sizeof asked);
    for (size_t q = 0; q < ASKED; q++) {
        float *row = asked + q * length;
        const float *like = known + q * 7 % KNOWN * length;
        for (size_t i = 0; i < length; i++) {
            double noise = normal("asked", q * length + i);
            row[i] = q % 6 == 0   ? like[i]
                     : q % 6 == 1 ? -like[i]
                     : q % 6 == 2 ? like[i] + (float)(0.02 * noise)
                     : q % 6 == 3 ? (float)noise
                                  : 0;
        }
        if (q % 6 == 4) {
            row[length - 1] = 1;
            row[0] = (float)ldexp(1, -120 - (int)(q % 29));
        }
        make_unit(row, length);
    }
}

static double product(const float *x, const float *y, size_t length)
{
    double sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

/* Of all pairs; `tight`: the most that a bound is above its product on average. */
static void check_pairs(const struct patch_heads *heads, double tight)
{
    struct patch_making making = patch_making_new(heads, ASKED);
    char *panel = memory_grow(NULL, 1, heads->query_panel);
    float bounds[PANEL_QUERIES * PANEL_IMAGES];
    double excess = 0;
    patch_heads_make(heads, PANEL_OF_QUERIES, asked, ASKED, &making);
    for (size_t q = 0; q < ASKED; q += PANEL_QUERIES) {
        memset(panel, 0, heads->query_panel);
        for (size_t i = 0; i < PANEL_QUERIES; i++)
            panel_put(&heads->shape, PANEL_OF_QUERIES, panel, i, &making.row[q + i]);
        for (size_t k = 0; k < KNOWN; k++) {
            if (k % PANEL_IMAGES == 0)
                heads->products->bounds(&heads->shape, panel,
                                        patch_heads_panel(heads, k / PANEL_IMAGES), bounds);
            for (size_t i = 0; i < PANEL_QUERIES; i++) {
                double bound = (double)bounds[i * PANEL_IMAGES + k % PANEL_IMAGES],
                       exact = product(asked + (q + i) * heads->features,
                                       known + k * heads->features, heads->features);
                assert_true(exact <= bound + heads->rounding); /* and no NaN */
                excess += bound - exact;
            }
        }
    }
    excess /= ASKED * KNOWN;
    if (excess > tight)
        fail_msg("of %zu features: bounds lie %.3f above products", heads->features, excess);
    memory_free(panel);
    patch_making_free(&making);
}

static void no_product_is_above_its_bound(void **state)
{
    static const size_t lengths[] = { 32, 33, 64, 100, 256, 407, LONGEST };
    struct patch_heads heads;
    struct error err;
    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        make_known(lengths[l]);
        make_asked(lengths[l]);
        assert_ok(patch_heads_open(&heads, known, KNOWN, lengths[l], &err), err);
        assert_in_range(heads.length, 32, PATCH_HEAD_MOST);
        /* Where a head knows all of a description there is little but the bytes' rounding. */
        check_pairs(&heads, lengths[l] <= 33 ? 0.1 : 0.7);
        patch_heads_close(&heads);
    }
}

/* Few, equal, or all zeros: there are not as many directions as a head has coefficients. */
static void so_do_those_of_few_directions(void **state)
{
    struct patch_heads heads;
    struct error err;
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        memset(known, 0, sizeof known);
        for (size_t r = 0; kind && r < KNOWN; r++)
            known[r * 100 + r % 2] = 1;
        make_asked(100);
        assert_ok(patch_heads_open(&heads, known, KNOWN, 100, &err), err);
        check_pairs(&heads, 1);
        patch_heads_close(&heads);
    }
}

int main(void)
{
    struct error err;
    if (!blas_set_threads(1, &err))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_product_is_above_its_bound),
        cmocka_unit_test(so_do_those_of_few_directions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
