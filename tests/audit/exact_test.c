#include "images.h"

#include "audit/exact.h"
#include "base/parallel.h"

static double exact_pair(const struct image_set *set, size_t i, size_t j, uint64_t channels)
{
    struct pixels pixels;
    struct moments mx, my;
    pixels_init(&pixels, set->type, set->channels, set->height * set->width, channels);
    assert_true(exact_moments(&pixels, image_bytes(set, i), &mx));
    assert_true(exact_moments(&pixels, image_bytes(set, j), &my));
    return exact_correlation(&pixels, image_bytes(set, i), &mx, image_bytes(set, j), &my);
}

static const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };

static void correlations_agree_with_extended_precision(void **state)
{
    (void)state;
    static const size_t sizes[][2] = { { 1, 2 }, { 7, 9 }, { 8, 8 }, { 33, 61 }, { 256, 256 } };
    for (size_t t = 0; t < 3; t++) {
        for (size_t s = 0; s < 5; s++) {
            struct image_set set = images_make("set", TEXTURE_SMOOTH_AND_NOISE, 3, 3, sizes[s][0],
                                               sizes[s][1], types[t], 7 + s);
            for (uint64_t channels = 1; channels < 8; channels++)
                for (size_t i = 0; i < 3; i++)
                    assert_float_equal(exact_pair(&set, i, 2, channels),
                                       slow_correlation(&set, i, &set, 2, channels), 1e-12);
            images_free(&set);
        }
    }
}

static void an_image_correlates_exactly_1_with_itself_and_minus_1_with_its_negative(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct image_set set = images_make("set", TEXTURE_NOISE, 2, 1, 31, 17, types[t], 3);
        assert_true(exact_pair(&set, 0, 0, 1) == 1);
        if (types[t] == ELEMENT_UINT8) {
            for (size_t e = 0; e < 31 * 17; e++)
                image_bytes(&set, 1)[e] = (uint8_t)(255 - image_bytes(&set, 0)[e]);
            assert_true(exact_pair(&set, 0, 1, 1) == -1);
        }
        images_free(&set);
    }
}

static void extreme_pixels_do_not_overflow(void **state)
{
    (void)state;
    for (size_t t = 0; t < 2; t++) {
        struct image_set set = images_make("set", TEXTURE_NOISE, 2, 4, 512, 512, types[t], 3);
        size_t bytes = 4 * 512 * 512 * element_info[types[t]].bytes;
        memset(image_bytes(&set, 0), 255, bytes);
        memset(image_bytes(&set, 1), 255, bytes);
        memset(image_bytes(&set, 0), 0, 2);
        memset(image_bytes(&set, 1), 0, 2);
        memset(image_bytes(&set, 1) + bytes / 2, 0, bytes / 2);
        assert_float_equal(exact_pair(&set, 0, 1, 15), slow_correlation(&set, 0, &set, 1, 15),
                           1e-12);
        images_free(&set);
    }
}

static void without_variance_the_correlation_is_0_but_1_with_the_same_pixels(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct image_set set = images_make("set", TEXTURE_NOISE, 4, 2, 9, 9, types[t], 3);
        size_t bytes = 2 * 81 * element_info[types[t]].bytes;
        memset(image_bytes(&set, 1), 0, bytes);
        memset(image_bytes(&set, 2), 0, bytes);
        memset(image_bytes(&set, 3), 0x31, bytes);
        assert_true(exact_pair(&set, 0, 1, 3) == 0);
        assert_true(exact_pair(&set, 1, 0, 3) == 0);
        assert_true(exact_pair(&set, 1, 2, 3) == 1);
        assert_true(exact_pair(&set, 1, 3, 3) == 0);
        assert_true(exact_pair(&set, 3, 3, 3) == 1);
        images_free(&set);
    }
}

static void tiles_give_the_same_bits_as_single_pairs(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct image_set set = images_make("set", TEXTURE_NOISE, 71, 3, 13, 29, types[t], 5);
        memset(image_bytes(&set, 65), 0, 3 * 13 * 29 * element_info[types[t]].bytes);
        struct pixels pixels;
        struct moments moments[71];
        const struct moments *m[71];
        const void *images[71];
        double r[EXACT_TILE_X * EXACT_TILE_Y];
        pixels_init(&pixels, set.type, 3, 13 * 29, 5);
        for (size_t i = 0; i < 71; i++) {
            images[i] = image_bytes(&set, i);
            m[i] = &moments[i];
            assert_true(exact_moments(&pixels, images[i], &moments[i]));
        }
        for (size_t y_count = 1; y_count <= 7; y_count += 3) {
            exact_tile(&pixels, images, m, 64, images + 64, m + 64, y_count, r);
            for (size_t i = 0; i < 64; i++)
                for (size_t j = 0; j < y_count; j++)
                    assert_true(r[i * y_count + j] == exact_correlation(&pixels, images[i], m[i],
                                                                        images[64 + j], m[64 + j]));
        }
        images_free(&set);
    }
}

static void pixels_that_are_not_finite_are_told(void **state)
{
    (void)state;
    struct image_set set = images_make("set", TEXTURE_NOISE, 1, 2, 8, 8, ELEMENT_FLOAT16, 3);
    uint16_t *words = (uint16_t *)(void *)image_bytes(&set, 0);
    struct pixels all, first;
    struct moments moments;
    pixels_init(&all, ELEMENT_FLOAT16, 2, 64, 3);
    pixels_init(&first, ELEMENT_FLOAT16, 2, 64, 1);
    words[100] = 0x7e00; /* NaN, in the second channel */
    assert_false(exact_moments(&all, words, &moments));
    assert_true(exact_moments(&first, words, &moments));
    words[100] = 0xfc00; /* −∞ */
    assert_false(exact_moments(&all, words, &moments));
    images_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(correlations_agree_with_extended_precision),
        cmocka_unit_test(an_image_correlates_exactly_1_with_itself_and_minus_1_with_its_negative),
        cmocka_unit_test(extreme_pixels_do_not_overflow),
        cmocka_unit_test(without_variance_the_correlation_is_0_but_1_with_the_same_pixels),
        cmocka_unit_test(tiles_give_the_same_bits_as_single_pairs),
        cmocka_unit_test(pixels_that_are_not_finite_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
