/* Geary's contiguity ratio. */
#include "images.h"

#include "audit/roughness.h"
#include "base/parallel.h"

static double roughness_at(const struct image_set *set, size_t image, uint64_t channels,
                           size_t step)
{
    struct pixels pixels;
    pixels_init(&pixels, set->type, set->channels, set->height * set->width, channels);
    return image_roughness(&pixels, image_bytes(set, image), set->height, set->width, step);
}

static double roughness_of(const struct image_set *set, size_t image, uint64_t channels)
{
    return roughness_at(set, image, channels, 1);
}

static long double squared(long double value)
{
    return value * value;
}

/* By the definition, in extended precision. */
static double slow_roughness(const struct image_set *set, size_t image, uint64_t channels,
                             size_t step)
{
    size_t pairs = 0;
    size_t h = set->height, w = set->width;
    long double near = 0, spread = 0;
    for (size_t c = 0; c < set->channels; c++) {
        long double mean = 0;
        size_t at = c * h * w;
        if (!(channels >> c & 1))
            continue;
        for (size_t e = 0; e < h * w; e++)
            mean += pixel_value(set, image, at + e) / (long double)(h * w);
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++) {
                long double value = pixel_value(set, image, at + y * w + x);
                spread += squared(value - mean);
                if (x + step < w)
                    near += squared(value - pixel_value(set, image, at + y * w + x + step));
                if (y + step < h)
                    near += squared(value - pixel_value(set, image, at + (y + step) * w + x));
                pairs += (x + step < w) + (y + step < h);
            }
    }
    size_t used = (size_t)__builtin_popcountll(channels & ((1u << set->channels) - 1));
    return (double)((long double)((h * w - 1) * used) * near / (2 * (long double)pairs * spread));
}

static const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };

static void it_is_what_its_definition_says(void **state)
{
    static const size_t sizes[][2] = { { 1, 5 }, { 5, 1 }, { 2, 2 }, { 7, 33 }, { 64, 48 } };
    (void)state;
    for (size_t t = 0; t < 3; t++)
        for (size_t s = 0; s < 5; s++) {
            struct image_set set = images_make("set", TEXTURE_SMOOTH_AND_NOISE, 2, 3, sizes[s][0],
                                               sizes[s][1], types[t], 5 + s);
            for (uint64_t channels = 1; channels < 8; channels++)
                for (size_t step = 1; step < 5; step += 3) {
                    double seen = roughness_at(&set, 1, channels, step);
                    if (step < sizes[s][0] || step < sizes[s][1])
                        assert_float_equal(seen, slow_roughness(&set, 1, channels, step), 1e-12);
                    else
                        assert_true(isnan(seen));
                }
            images_free(&set);
        }
}

static void noise_has_1_and_a_smooth_image_next_to_0(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct image_set noise = images_make("n", TEXTURE_NOISE, 1, 1, 128, 128, types[t], 9),
                         smooth = images_make("s", TEXTURE_SMOOTH, 1, 1, 128, 128, types[t], 9);
        assert_float_equal(roughness_of(&noise, 0, 1), 1, 0.03);
        assert_in_range((size_t)(1e6 * roughness_of(&smooth, 0, 1)), 1, 50000);
        images_free(&noise);
        images_free(&smooth);
    }
}

static void gain_and_offset_change_nothing(void **state)
{
    (void)state;
    struct image_set set = images_make("set", TEXTURE_NOISE, 2, 1, 16, 16, ELEMENT_UINT16, 3);
    uint16_t *from = (uint16_t *)(void *)image_bytes(&set, 0),
             *to = (uint16_t *)(void *)image_bytes(&set, 1);
    for (size_t i = 0; i < 256; i++) {
        from[i] &= 0x0fff;
        to[i] = (uint16_t)(7 * from[i] + 100);
    }
    assert_float_equal(roughness_of(&set, 0, 1), roughness_of(&set, 1, 1), 1e-14);
    images_free(&set);
}

static void without_variance_or_neighbours_there_is_none(void **state)
{
    (void)state;
    struct image_set set = images_make("set", TEXTURE_NOISE, 1, 2, 8, 8, ELEMENT_UINT8, 3),
                     single = images_make("one", TEXTURE_NOISE, 1, 2, 1, 1, ELEMENT_UINT8, 3);
    memset(image_bytes(&set, 0), 77, 64);
    assert_true(isnan(roughness_of(&set, 0, 1)));
    assert_float_equal(roughness_of(&set, 0, 3), roughness_of(&set, 0, 2), 1e-15);
    assert_true(isnan(roughness_of(&single, 0, 3)));
    images_free(&set);
    images_free(&single);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_its_definition_says),
        cmocka_unit_test(noise_has_1_and_a_smooth_image_next_to_0),
        cmocka_unit_test(gain_and_offset_change_nothing),
        cmocka_unit_test(without_variance_or_neighbours_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
