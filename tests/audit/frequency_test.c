#include "images.h"

#include "audit/blas.h"
#include "audit/certified.h"
#include "audit/frequency.h"

#include <stdio.h>

/* The coefficient (kx, ky) of a channel by its definition: the unit image against the product of
 * two cosines that are constant over boxes. */
static double slow_coefficient(const struct image_set *set, const struct moments *moments,
                               size_t channel, size_t kx, size_t ky, size_t box)
{
    size_t h = set->height / box, w = set->width / box, plane = set->height * set->width;
    double sum = 0, squares = set->type == ELEMENT_FLOAT16
                                  ? moments->spread
                                  : moments->spread / (double)(set->channels * plane);
    for (size_t y = 0; y < set->height; y++) {
        for (size_t x = 0; x < set->width; x++) {
            double cy = cos(M_PI * (2 * (double)(y / box) + 1) * (double)ky / (2 * (double)h)),
                   cx = cos(M_PI * (2 * (double)(x / box) + 1) * (double)kx / (2 * (double)w));
            sum +=
                cx * cy *
                ((double)pixel_value(set, 0, channel * plane + y * set->width + x) - moments->mean);
        }
    }
    return sum * sqrt((ky ? 2.0 : 1.0) / (double)h) * sqrt((kx ? 2.0 : 1.0) / (double)w) /
           (double)box / sqrt(squares);
}

static void check_coefficients(size_t channels, size_t height, size_t width, size_t box,
                               enum element_type type)
{
    struct image_set set =
        images_make("set", TEXTURE_SMOOTH_AND_NOISE, 1, channels, height, width, type, 5);
    struct pixels pixels;
    struct moments moments;
    struct error err;
    pixels_init(&pixels, type, channels, height * width, UINT64_MAX);
    assert_true(exact_moments(&pixels, image_bytes(&set, 0), &moments));
    struct frequency *frequency = frequency_new(&pixels, height, width, &err);
    assert_ok(frequency, err);
    size_t rows = height / box < FREQUENCIES ? height / box : FREQUENCIES,
           columns = width / box < FREQUENCIES ? width / box : FREQUENCIES;
    assert_int_equal(frequency_count(frequency), channels * rows * columns);
    float *coefficients = calloc(frequency_count(frequency), sizeof *coefficients);
    void *workspace = calloc(1, frequency_workspace(frequency));
    assert_true(
        frequency_transform(frequency, workspace, image_bytes(&set, 0), &moments, coefficients));
    size_t step = height > 100 ? 7 : 1; /* the slow sums take their time */
    for (size_t c = 0; c < channels; c++)
        for (size_t ky = 0; ky < rows; ky += step)
            for (size_t kx = 0; kx < columns; kx += step)
                assert_float_equal(coefficients[(c * columns + kx) * rows + ky],
                                   slow_coefficient(&set, &moments, c, kx, ky, box),
                                   frequency_error(frequency));
    assert_true(frequency_error(frequency) < 2e-4);
    free(workspace);
    free(coefficients);
    frequency_free(frequency);
    images_free(&set);
}

static void coefficients_are_those_of_the_definition(void **state)
{
    (void)state;
    struct error err;
    assert_ok(blas_set_threads(1, &err), err); /* otherwise a search sees to it */
    check_coefficients(1, 8, 8, 1, ELEMENT_UINT8);
    check_coefficients(3, 31, 17, 1, ELEMENT_UINT8);
    check_coefficients(2, 48, 64, 1, ELEMENT_UINT16);
    check_coefficients(2, 20, 33, 1, ELEMENT_FLOAT16);
    check_coefficients(1, 256, 256, 2, ELEMENT_UINT8);
    check_coefficients(1, 240, 256, 1, ELEMENT_UINT8);
}

/* Random pairs, every level: lower ≤ exact ≤ upper, and levels tighten what they know. */
static void check_bounds(enum texture texture, size_t channels, size_t height, size_t width,
                         enum element_type type, uint64_t seed)
{
    enum { COUNT = 24 };
    struct image_set set = images_make("set", texture, COUNT, channels, height, width, type, seed);
    size_t bytes = channels * height * width * element_info[type].bytes;
    memset(image_bytes(&set, 3), 0, bytes);                    /* no variance */
    memcpy(image_bytes(&set, 5), image_bytes(&set, 4), bytes); /* a duplicate */
    memset(image_bytes(&set, 6), 0x35, bytes);
    image_bytes(&set, 6)[0] = 0x36; /* hardly any variance */
    struct search_settings settings = { .neighbours = 1 };
    struct error err;
    struct search *search = search_open(&set, &set, &settings, &err);
    assert_ok(search, err);
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < COUNT; j++) {
            double exact = slow_correlation(&set, i, &set, j, UINT64_MAX), lower, upper;
            for (size_t level = 0; certified_bounds(search, level, i, j, &lower, &upper); level++) {
                if (i == 3 || i == 6 || j == 3 || j == 6) /* by rule, or evaluated anyway */
                    exact = j == 3 || i == 3 ? 0 : exact;
                if (exact < lower - 1e-9 || exact > upper + 1e-9)
                    fail_msg("level %zu, pair %zu %zu: %.9g not in %.9g … %.9g", level, i, j, exact,
                             lower, upper);
            }
        }
    }
    search_close(search);
    images_free(&set);
}

static void bounds_hold_at_every_level(void **state)
{
    (void)state;
    for (enum texture texture = 0; texture <= TEXTURE_SMOOTH_AND_NOISE; texture++) {
        check_bounds(texture, 1, 8, 8, ELEMENT_UINT8, 1);
        check_bounds(texture, 1, 64, 64, ELEMENT_UINT8, 2);
        check_bounds(texture, 4, 50, 41, ELEMENT_UINT8, 3);
        check_bounds(texture, 2, 40, 40, ELEMENT_UINT16, 4);
        check_bounds(texture, 1, 40, 48, ELEMENT_FLOAT16, 5);
        check_bounds(texture, 1, 256, 256, ELEMENT_UINT8, 6);
    }
}

static void a_16_bit_image_that_hardly_varies_is_bounded_by_nothing(void **state)
{
    (void)state;
    struct image_set set = images_make("set", TEXTURE_SMOOTH, 4, 1, 64, 64, ELEMENT_UINT16, 3);
    uint16_t *flat = (uint16_t *)(void *)image_bytes(&set, 1);
    for (size_t e = 0; e < 64 * 64; e++)
        flat[e] = 65000;
    flat[17] = 65001;
    struct search_settings settings = { .neighbours = 4 };
    struct error err;
    struct search *search = search_open(&set, &set, &settings, &err);
    assert_ok(search, err);
    for (size_t i = 0; i < 4; i++) {
        double lower, upper, exact = slow_correlation(&set, i, &set, 1, 1);
        assert_true(certified_bounds(search, 0, i, 1, &lower, &upper));
        assert_true(lower - 1e-9 <= exact && exact <= upper + 1e-9);
    }
    search_close(search);
    images_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coefficients_are_those_of_the_definition),
        cmocka_unit_test(bounds_hold_at_every_level),
        cmocka_unit_test(a_16_bit_image_that_hardly_varies_is_bounded_by_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
