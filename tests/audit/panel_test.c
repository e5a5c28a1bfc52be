#include "test.h"

#include "audit/panel.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One side's rows: bytes from −127 to 127, the extremes more often than the rest. */
struct rows {
    int8_t *bytes;
    struct panel_row *row;
    size_t count, length;
};

static struct rows make_rows(const struct panel_shape *shape, size_t count, uint64_t seed)
{
    struct rows rows = { .count = count, .length = shape->end[PANEL_PARTS - 1] };
    rows.bytes = calloc(count, rows.length);
    rows.row = calloc(count, sizeof *rows.row);
    for (size_t i = 0; i < count; i++) {
        int8_t *bytes = rows.bytes + i * rows.length;
        for (size_t b = 0; b < rows.length; b++) {
            double at = random_uniform(seed, i, b);
            bytes[b] = (int8_t)(at < .2 ? -127 : at > .8 ? 127 : 420 * (at - .5));
        }
        rows.row[i].bytes = bytes;
        for (size_t p = 0; p < PANEL_PARTS; p++)
            rows.row[i].scale[p] = (float)random_uniform(seed + 1, i, p) / 100;
        for (size_t t = 0; t < PANEL_TERMS; t++)
            rows.row[i].term[t] = (float)random_uniform(seed + 2, i, t);
    }
    return rows;
}

static void free_rows(struct rows *rows)
{
    free(rows->bytes);
    free(rows->row);
}

/* The product of two rows by its definition, and the sum of the sizes of its addends. */
static double slow_product(const struct panel_shape *shape, const struct panel_row *x,
                           const struct panel_row *y, double *size)
{
    double sum = 0;
    *size = 0;
    for (size_t p = 0, begin = 0; p < PANEL_PARTS; begin = shape->end[p++]) {
        double part = 0;
        for (size_t i = begin; i < shape->end[p]; i++)
            part += (double)x->bytes[i] * y->bytes[i];
        sum += (double)x->scale[p] * (double)y->scale[p] * part;
        *size += fabs((double)x->scale[p] * (double)y->scale[p] * part);
    }
    for (size_t t = 0; t < shape->terms; t++) {
        sum += (double)x->term[t] * (double)y->term[t];
        *size += (double)x->term[t] * (double)y->term[t];
    }
    return sum;
}

static void *fill_panel(const struct panel_shape *shape, enum panel_side side,
                        const struct rows *rows)
{
    void *panel = calloc(1, panel_size(shape, side));
    for (size_t i = 0; i < rows->count; i++)
        panel_put(shape, side, panel, i, &rows->row[i]);
    return panel;
}

/* Within the bound that set_rounding of heads.c counts with: 19 roundings of each addend. */
static void check_shape(const size_t length[PANEL_PARTS], size_t terms, size_t images)
{
    struct panel_shape shape = panel_shape_of(length, terms);
    struct rows x = make_rows(&shape, PANEL_QUERIES, 5), y = make_rows(&shape, images, 9);
    void *queries = fill_panel(&shape, PANEL_OF_QUERIES, &x),
         *panel = fill_panel(&shape, PANEL_OF_IMAGES, &y);
    float out[PANEL_QUERIES * PANEL_IMAGES];
    for (int w = 0; w < PANEL_WAYS; w++) {
        if (!panel_ways[w].usable())
            continue;
        panel_ways[w].bounds(&shape, queries, panel, out);
        for (size_t q = 0; q < PANEL_QUERIES; q++)
            for (size_t i = 0; i < images; i++) {
                double size, exact = slow_product(&shape, &x.row[q], &y.row[i], &size),
                             found = (double)out[q * PANEL_IMAGES + i];
                if (!(fabs(found - exact) <= 19 * 0x1p-24 * size))
                    fail_msg("%s: %zu with %zu is %.9g, not %.9g", panel_ways[w].name, q, i, found,
                             exact);
            }
    }
    free(queries);
    free(panel);
    free_rows(&x);
    free_rows(&y);
}

static void all_pairs_of_two_panels_are_multiplied_in_every_way(void **state)
{
    (void)state;
    check_shape((const size_t[]){ 64, 128, 192, 768 }, PANEL_TERMS, PANEL_IMAGES);
    check_shape((const size_t[]){ 192, 384, 576, 2304 }, PANEL_TERMS, 7);
    check_shape((const size_t[]){ 5, 16, 1, 0 }, PANEL_TERMS, 3);
    check_shape((const size_t[]){ 16, 80, 0, 0 }, 3, PANEL_IMAGES);
}

static void products_of_bytes_are_exact_in_every_way(void **state)
{
    (void)state;
    enum { MOST = 1 << 16 };
    int8_t *x = malloc(MOST), *y = malloc(MOST);
    static const size_t counts[] = { 0, 64, 128, 256, 320, 1024, 3136, MOST };
    for (int extreme = 0; extreme < 3; extreme++) {
        for (size_t i = 0; i < MOST; i++) {
            x[i] = (int8_t)(extreme ? 127 : (int)(random_bits(1, 2, i) % 255) - 127);
            y[i] = (int8_t)(extreme ? (extreme == 1 ? 127 : -127)
                                    : (int)(random_bits(1, 3, i) % 255) - 127);
        }
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            int32_t expected = 0, sum = 0;
            for (size_t i = 0; i < counts[c]; i++) {
                expected += x[i] * y[i];
                sum += x[i];
            }
            for (int w = 0; w < PANEL_WAYS; w++)
                if (panel_ways[w].usable())
                    assert_int_equal(panel_ways[w].product(x, 128 * sum, y, counts[c]), expected);
        }
    }
    free(x);
    free(y);
}

static void every_processor_has_a_way(void **state)
{
    (void)state;
    assert_true(panel_ways[PANEL_WAYS - 1].usable());
    assert_true(panel_products()->usable());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pairs_of_two_panels_are_multiplied_in_every_way),
        cmocka_unit_test(products_of_bytes_are_exact_in_every_way),
        cmocka_unit_test(every_processor_has_a_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
