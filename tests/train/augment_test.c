/* Augmentation: a function of seed and number; labels follow images; 0 stays background's. */
#include "test.h"

#include "train/augment.h"

#include <math.h>

enum { SIZE = 48, CHANNELS = 2, PIXELS = SIZE * SIZE };

struct example {
    float image[CHANNELS * PIXELS];
    uint8_t labels[PIXELS];
};
static float scratch[16 * PIXELS];

/* A bright disc off the centre, which is also what is labelled; the second channel is its double.
 */
static void draw_disc(struct example *example)
{
    for (int p = 0; p < PIXELS; p++) {
        int x = p % SIZE - 30, y = p / SIZE - 20;
        bool inside = x * x + y * y < 81;
        example->image[p] = inside ? 0.5f : 0;
        example->image[PIXELS + p] = inside ? 1 : 0;
        example->labels[p] = inside ? 3 : 0;
    }
}

static struct augment only(enum change change, double low, double high)
{
    struct augment augment = { 0 };
    augment.change[change].probability = 1;
    augment.change[change].low = low;
    augment.change[change].high = high;
    return augment;
}

static struct example changed(const struct augment *augment, uint64_t seed, uint64_t k)
{
    struct example example;
    draw_disc(&example);
    assert_true(augment_scratch(CHANNELS, SIZE) <= sizeof scratch / sizeof *scratch);
    augment_image(augment, seed, k, CHANNELS, SIZE, example.image, example.labels, scratch);
    return example;
}

static void an_image_is_a_function_of_seed_and_number(void **state)
{
    (void)state;
    struct example a = changed(&augment_usual, 1, 77);
    memset(scratch, 0x55, sizeof scratch); /* whatever lay there */
    struct example again = changed(&augment_usual, 1, 77), other = changed(&augment_usual, 2, 77);
    assert_memory_equal(&a, &again, sizeof a);
    assert_memory_not_equal(&a, &other, sizeof a);
    int different = 0;
    for (uint64_t k = 0; k < 20; k++) {
        struct example next = changed(&augment_usual, 1, k);
        different += memcmp(&a, &next, sizeof a) != 0;
    }
    assert_true(different > 15);
}

static void nothing_changes_where_nothing_is_asked(void **state)
{
    (void)state;
    struct example plain, same = changed(&augment_none, 1, 5);
    draw_disc(&plain);
    assert_memory_equal(&plain, &same, sizeof plain);
    struct augment still = only(CHANGE_ROTATION, 0, 0);
    same = changed(&still, 1, 5);
    assert_memory_equal(&plain, &same, sizeof plain);
}

static void labels_go_where_the_image_goes(void **state)
{
    (void)state;
    static const struct {
        enum change change;
        double low, high;
    } spatial[] = { { CHANGE_MIRROR, 0, 0 },
                    { CHANGE_ROTATION, -30, 30 },
                    { CHANGE_SCALING, 0.8, 1.2 },
                    { CHANGE_ELASTIC, 0.02, 0.04 } };
    for (size_t i = 0; i < sizeof spatial / sizeof *spatial; i++)
        for (uint64_t k = 0; k < 10; k++) {
            struct augment augment = only(spatial[i].change, spatial[i].low, spatial[i].high);
            struct example e = changed(&augment, 4, k);
            for (int p = 0; p < PIXELS; p++) {
                assert_true(e.labels[p] == 0 || e.labels[p] == 3); /* never between */
                if (e.image[p] > 0.5f - 1e-6f) /* the disc's inside, wherever it is now */
                    assert_int_equal(e.labels[p], 3);
                if (e.image[p] == 0)
                    assert_int_equal(e.labels[p], 0);
                assert_true(fabsf(e.image[PIXELS + p] - 2 * e.image[p]) < 1e-6f);
            }
        }
}

static void mirrors_exchange_left_and_right(void **state)
{
    (void)state;
    struct augment augment = only(CHANGE_MIRROR, 0, 0);
    struct example plain, mirrored = changed(&augment, 1, 1);
    draw_disc(&plain);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            assert_int_equal(mirrored.labels[y * SIZE + x], plain.labels[y * SIZE + SIZE - 1 - x]);
}

static void a_rotation_turns_by_its_angle(void **state)
{
    (void)state;
    struct augment augment = only(CHANGE_ROTATION, 90, 90);
    struct example turned = changed(&augment, 1, 1);
    size_t count = 0;
    double x = 0, y = 0;
    for (int p = 0; p < PIXELS; p++)
        if (turned.labels[p]) {
            x += p % SIZE, y += p / SIZE;
            count++;
        }
    /* (30, 20) about (23.5, 23.5): (6.5, −3.5) becomes (3.5, 6.5) or its opposite */
    double dx = x / (double)count - 23.5, dy = y / (double)count - 23.5;
    assert_true(fabs(fabs(dx) - 3.5) < 0.2 && fabs(fabs(dy) - 6.5) < 0.2 && dx * dy > 0);
}

static double mean_of_plane(const float *plane, double *deviation)
{
    double sum = 0, squares = 0;
    for (int p = 0; p < PIXELS; p++)
        sum += (double)plane[p], squares += (double)plane[p] * (double)plane[p];
    *deviation = sqrt(squares / PIXELS - sum / PIXELS * (sum / PIXELS));
    return sum / PIXELS;
}

static void intensities_change_as_they_say(void **state)
{
    (void)state;
    struct example plain, e;
    double before, after;
    draw_disc(&plain);
    double mean = mean_of_plane(plain.image, &before);

    struct augment augment = only(CHANGE_CONTRAST, 0.5, 0.5);
    e = changed(&augment, 1, 1);
    assert_true(fabs(mean_of_plane(e.image, &after) - mean) < 1e-4);
    assert_true(fabs(after / before - 0.5) < 1e-3);

    augment = only(CHANGE_GAMMA, 2, 2);
    draw_disc(&e);
    e.image[0] = 0.25f; /* half of the range */
    augment_image(&augment, 1, 1, 1, SIZE, e.image, e.labels, scratch);
    assert_true(fabsf(e.image[0] - 0.125f) < 1e-6f && e.image[1] == 0);

    augment = only(CHANGE_NOISE, 0.3, 0.3);
    e = changed(&augment, 1, 1);
    for (int p = 0; p < PIXELS; p++)
        e.image[p] -= plain.image[p];
    assert_true(fabs(mean_of_plane(e.image, &after)) < 0.02 * before);
    assert_true(fabs(after / before - 0.3) < 0.02);

    augment = only(CHANGE_BLUR, 1, 1);
    e = changed(&augment, 1, 1);
    assert_true(fabs(mean_of_plane(e.image, &after) - mean) < 1e-4 && after < before);

    augment = only(CHANGE_LOW_RESOLUTION, 0.5, 0.5);
    e = changed(&augment, 1, 1);
    assert_true(fabs(mean_of_plane(e.image, &after) - mean) < 2e-3 && after < before);
    assert_memory_equal(e.labels, plain.labels, PIXELS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_a_function_of_seed_and_number),
        cmocka_unit_test(nothing_changes_where_nothing_is_asked),
        cmocka_unit_test(labels_go_where_the_image_goes),
        cmocka_unit_test(mirrors_exchange_left_and_right),
        cmocka_unit_test(a_rotation_turns_by_its_angle),
        cmocka_unit_test(intensities_change_as_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
