/* A set made as smooth as another. */
#include "images.h"
#include "scratch.h"

#include "audit/liken.h"
#include "audit/roughness.h"
#include "audit/statistics.h"
#include "base/parallel.h"

enum { COUNT = 40, SIDE = 48, SEED = 11 };

static struct error err;

static const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };

static double *roughness_of(const struct image_set *set, uint64_t channels)
{
    struct pixels pixels;
    double *values = calloc(set->count, sizeof *values);
    assert_non_null(values);
    pixels_init(&pixels, set->type, set->channels, set->height * set->width, channels);
    for (size_t i = 0; i < set->count; i++)
        values[i] = image_roughness(&pixels, image_bytes(set, i), set->height, set->width, 1);
    return values;
}

static double median_of(const struct image_set *set, uint64_t channels)
{
    double *values = roughness_of(set, channels), median = summarise(values, set->count).p50;
    free(values);
    return median;
}

/* `set` likened to `like`, in a file; release with npy_close. */
static struct likened_set liken(const struct image_set *set, const struct image_set *like,
                                uint64_t channels, struct likening *change)
{
    struct likened_set likened;
    double *roughness = roughness_of(set, channels);
    *change = likening_of(set, channels, roughness, median_of(like, channels), SEED);
    assert_ok(liken_set(set, channels, change, SEED, scratch("likened.npy"), &likened, &err), err);
    free(roughness);
    return likened;
}

static void a_smooth_set_is_met_by_blur_and_a_rough_one_by_noise(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct image_set rough = images_make("r", TEXTURE_SMOOTH_AND_NOISE, COUNT, 2, SIDE, SIDE,
                                             types[t], 3),
                         smooth =
                             images_make("s", TEXTURE_SMOOTH, COUNT, 2, SIDE, SIDE, types[t], 4);
        const struct image_set *pairs[2][2] = { { &rough, &smooth }, { &smooth, &rough } };
        for (int p = 0; p < 2; p++) {
            struct likening change;
            struct likened_set likened = liken(pairs[p][0], pairs[p][1], 3, &change);
            assert_true(change.met && change.change == (p ? LIKEN_NOISE : LIKEN_BLUR));
            double wanted = median_of(pairs[p][1], 3);
            assert_float_equal(median_of(&likened.images, 3), wanted, 0.02 * wanted);
            npy_close(&likened.array);
        }
        images_free(&rough);
        images_free(&smooth);
    }
}

static void a_set_that_is_as_smooth_already_is_left_alone(void **state)
{
    (void)state;
    struct image_set set =
        images_make("set", TEXTURE_SMOOTH_AND_NOISE, COUNT, 1, SIDE, SIDE, ELEMENT_UINT8, 3);
    struct likening change;
    struct likened_set likened = liken(&set, &set, 1, &change);
    assert_true(change.met && change.change == LIKEN_NOTHING);
    for (size_t i = 0; i < COUNT; i++)
        assert_memory_equal(image_bytes(&set, i), image_bytes(&likened.images, i), SIDE * SIDE);
    npy_close(&likened.array);
    images_free(&set);
}

/* Against the Gaussian itself, of a point. */
static void blur_is_gaussian(void **state)
{
    (void)state;
    static const double sigmas[] = { 0.4, 0.8, 1.5, 3 };
    struct image_set set = images_make("set", TEXTURE_NOISE, 1, 1, 41, 41, ELEMENT_FLOAT16, 3);
    uint16_t *pixels = (uint16_t *)(void *)image_bytes(&set, 0), out[41 * 41];
    memset(pixels, 0, sizeof out);
    pixels[20 * 41 + 20] = half_from_float(1000);
    for (size_t s = 0; s < 4; s++) {
        struct likening change = { LIKEN_BLUR, sigmas[s], true };
        double sum = 0, variance = 0;
        liken_image(&set, 1, &change, SEED, 0, out);
        for (int y = 0; y < 41; y++)
            for (int x = 0; x < 41; x++) {
                double value = (double)half_to_float(out[y * 41 + x]);
                sum += value;
                variance += value * (x - 20) * (x - 20);
            }
        assert_float_equal(sum, 1000, 1);
        assert_float_equal(variance / sum, sigmas[s] * sigmas[s], 0.02 * sigmas[s] * sigmas[s]);
        if (sigmas[s] > 1)
            assert_float_equal((double)half_to_float(out[20 * 41 + 22]),
                               1000 / (6.283185307 * sigmas[s] * sigmas[s]) *
                                   exp(-2 / (sigmas[s] * sigmas[s])),
                               3);
    }
    images_free(&set);
}

static void noise_is_normal_and_of_the_deviation_that_is_told(void **state)
{
    (void)state;
    struct image_set set = images_make("set", TEXTURE_SMOOTH, 2, 1, 128, 128, ELEMENT_UINT16, 3);
    static uint16_t out[2][128 * 128];
    struct likening change = { LIKEN_NOISE, 300, true };
    double squares = 0, product = 0;
    for (size_t i = 0; i < 2; i++)
        liken_image(&set, 1, &change, SEED, i, out[i]);
    for (size_t e = 0; e < 128 * 128; e++) {
        double first = out[0][e] - (double)pixel_value(&set, 0, e),
               second = out[1][e] - (double)pixel_value(&set, 1, e);
        squares += first * first;
        product += first * second;
    }
    assert_float_equal(sqrt(squares / (128 * 128)), 300, 6);
    assert_float_equal(product / squares, 0, 0.04); /* each image has noise of its own */
    images_free(&set);
}

static void channels_that_are_not_compared_stay(void **state)
{
    (void)state;
    struct image_set set = images_make("set", TEXTURE_NOISE, 1, 3, 16, 16, ELEMENT_UINT8, 3);
    uint8_t out[3 * 256];
    struct likening change = { LIKEN_BLUR, 2, true };
    liken_image(&set, 5, &change, SEED, 0, out);
    assert_memory_equal(out + 256, image_bytes(&set, 0) + 256, 256);
    assert_memory_not_equal(out, image_bytes(&set, 0), 256);
    assert_memory_not_equal(out + 512, image_bytes(&set, 0) + 512, 256);
    images_free(&set);
}

/* A plane has no neighbours that differ by more than it does itself: nothing is as smooth. */
static void what_cannot_be_met_is_told(void **state)
{
    (void)state;
    struct image_set set =
        images_make("set", TEXTURE_NOISE, COUNT, 1, SIDE, SIDE, ELEMENT_UINT8, 3);
    double *roughness = roughness_of(&set, 1);
    struct likening change = likening_of(&set, 1, roughness, 1e-5, SEED);
    assert_true(change.change == LIKEN_BLUR && !change.met && change.sigma > 7.9);
    free(roughness);
    images_free(&set);
}

/* The largest numbers of half precision stay numbers. */
static void noise_on_large_numbers_stays_finite(void **state)
{
    (void)state;
    struct image_set set = images_make("set", TEXTURE_NOISE, 1, 1, 16, 16, ELEMENT_FLOAT16, 3);
    uint16_t *pixels = (uint16_t *)(void *)image_bytes(&set, 0), out[256];
    struct likening change = { LIKEN_NOISE, 30000, true };
    for (size_t i = 0; i < 256; i++)
        pixels[i] = half_from_float(i % 2 ? 60000 : -60000);
    liken_image(&set, 1, &change, SEED, 0, out);
    for (size_t i = 0; i < 256; i++)
        assert_true(isfinite(half_to_float(out[i])));
    images_free(&set);
}

/* Rows: images are taken from their places, and stand one after the other in the new set. */
static void threads_and_rows_change_nothing(void **state)
{
    (void)state;
    struct image_set set =
        images_make("set", TEXTURE_NOISE, COUNT, 1, SIDE, SIDE, ELEMENT_UINT8, 3);
    uint32_t rows[COUNT / 2];
    struct image_set some = set;
    for (size_t i = 0; i < COUNT / 2; i++)
        rows[i] = (uint32_t)(2 * i + 1);
    some.rows = rows;
    some.count = COUNT / 2;
    struct likening change = { LIKEN_BLUR, 1.2, true };
    static uint8_t expected[COUNT / 2][SIDE * SIDE];
    for (size_t i = 0; i < COUNT / 2; i++)
        liken_image(&set, 1, &change, SEED, 2 * i + 1, expected[i]);
    for (int threads = 1; threads <= 3; threads += 2) {
        struct likened_set likened;
        parallel_set_threads(threads);
        assert_ok(liken_set(&some, 1, &change, SEED, scratch("rows.npy"), &likened, &err), err);
        assert_int_equal(likened.images.count, COUNT / 2);
        assert_memory_equal(likened.images.images, expected, sizeof expected);
        npy_close(&likened.array);
    }
    images_free(&set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_smooth_set_is_met_by_blur_and_a_rough_one_by_noise),
        TEST(a_set_that_is_as_smooth_already_is_left_alone),
        TEST(blur_is_gaussian),
        TEST(noise_is_normal_and_of_the_deviation_that_is_told),
        TEST(channels_that_are_not_compared_stay),
        TEST(what_cannot_be_met_is_told),
        TEST(noise_on_large_numbers_stays_finite),
        TEST(threads_and_rows_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
