/* Batches: what is shown, in which order, and that position alone decides. */
#include "scratch.h"

#include "fixture.h"
#include "train/batches.h"

enum { COUNT = 10, CHANNELS = 2, SIDE = 8, PIXELS = SIDE * SIDE, TRAINED = 7 };
static const struct fixture usual = {
    .count = COUNT, .channels = CHANNELS, .height = SIDE, .width = SIDE, .masks = 1
};

static struct batches *open_batches(const struct fixture *fixture,
                                    const struct batches_options *options)
{
    struct error err;
    if (path_kind(scratch("store")) == PATH_NOTHING)
        assert_ok(fixture_write(fixture, scratch("store"), &err), err);
    struct batches *batches = batches_open(scratch("store"), options, &err);
    assert_ok(batches, err);
    return batches;
}

static void expect_refusal(const struct fixture *fixture, bool masks, const char *part)
{
    struct error err;
    assert_ok(fixture_write(fixture, scratch("store"), &err), err);
    assert_null(batches_open(scratch("store"), &(struct batches_options){ .masks = masks }, &err));
    assert_contains(err.message, part);
}

static void an_epoch_shows_each_training_image_once(void **state)
{
    (void)state;
    struct batches *batches = open_batches(&usual, &(struct batches_options){ .seed = 5 });
    assert_int_equal(batches_format(batches)->count, TRAINED);
    for (uint64_t epoch = 0; epoch < 5; epoch++) {
        int shown[COUNT] = { 0 };
        bool mirrored;
        for (uint64_t k = 0; k < TRAINED; k++)
            shown[batches_source(batches, epoch * TRAINED + k, &mirrored)]++;
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(shown[i], !fixture_held_out(&usual, i));
    }
    batches_free(batches);
}

static void epochs_and_seeds_have_orders_of_their_own(void **state)
{
    (void)state;
    struct batches *one = open_batches(&usual, &(struct batches_options){ .seed = 5 });
    struct batches *other = open_batches(&usual, &(struct batches_options){ .seed = 6 });
    int between_epochs = 0, between_seeds = 0;
    bool mirrored;
    for (uint64_t k = 0; k < TRAINED; k++) {
        size_t image = batches_source(one, k, &mirrored);
        assert_false(mirrored);
        between_seeds += image != batches_source(other, k, &mirrored);
        between_epochs += image != batches_source(one, TRAINED + k, &mirrored);
    }
    assert_true(between_epochs > 0);
    assert_true(between_seeds > 0);
    batches_free(one);
    batches_free(other);
}

static void a_position_is_all_that_decides(void **state)
{
    (void)state;
    enum { ALL = 40, VALUES = (CHANNELS + 1) * PIXELS };
    struct batches_options options = { .masks = true, .mirror = true, .seed = 9 };
    struct batches *unbroken = open_batches(&usual, &options);
    static float whole[ALL * VALUES], part[ALL * VALUES];
    batches_read(unbroken, 0, ALL, whole);
    for (uint64_t first = 0; first < ALL; first += 3) { /* a run resumed at each of these */
        struct batches *resumed = open_batches(&usual, &options);
        batches_read(resumed, first, ALL - first, part);
        assert_memory_equal(part, whole + first * VALUES, (ALL - first) * VALUES * sizeof *part);
        batches_free(resumed);
    }
    batches_free(unbroken);
}

/* Image k as it must be: out of the formulas of the fixture. */
static void check_image(const float *image, size_t source, bool mirrored)
{
    for (size_t c = 0; c <= CHANNELS; c++)
        for (size_t y = 0; y < SIDE; y++)
            for (size_t x = 0; x < SIDE; x++) {
                size_t from = mirrored ? SIDE - 1 - x : x;
                unsigned value = c < CHANNELS ? fixture_value(source, c, y, from)
                                              : 51 * fixture_label(source, y, from);
                assert_float_equal(image[(c * SIDE + y) * SIDE + x], value / 127.5 - 1, 1e-6);
            }
}

static void check_all(const struct fixture *fixture)
{
    enum { ALL = 400, VALUES = (CHANNELS + 1) * PIXELS };
    struct batches_options options = { .masks = true, .mirror = true, .seed = 2 };
    struct batches *batches = open_batches(fixture, &options);
    static float images[ALL * VALUES];
    int mirrors = 0;
    batches_read(batches, 0, ALL, images);
    for (size_t k = 0; k < ALL; k++) {
        bool mirrored;
        size_t source = batches_source(batches, k, &mirrored);
        check_image(images + k * VALUES, source, mirrored);
        mirrors += mirrored;
    }
    assert_in_range(mirrors, 150, 250); /* five standard deviations */
    batches_free(batches);
}

static void images_and_masks_become_greys_within_one_and_half_are_mirrored(void **state)
{
    (void)state;
    check_all(&usual);
}

static void images_of_16_bits_become_the_same_greys(void **state)
{
    (void)state;
    struct fixture wide = usual;
    wide.wide = 1;
    check_all(&wide);
}

static void the_mask_is_the_last_channel_when_asked_for(void **state)
{
    (void)state;
    struct batches *with = open_batches(&usual, &(struct batches_options){ .masks = true });
    struct batches *without = open_batches(&usual, &(struct batches_options){ 0 });
    assert_int_equal(batches_format(with)->channels, CHANNELS + 1);
    assert_string_equal(batches_format(with)->channel_names[CHANNELS], "seg");
    assert_true(batches_format(with)->masks);
    assert_int_equal(batches_format(without)->channels, CHANNELS);
    assert_false(batches_format(without)->masks);
    batches_free(with);
    batches_free(without);
}

static void a_label_that_no_grey_stands_for_is_refused(void **state)
{
    (void)state;
    struct fixture strange = usual;
    strange.strange = 1;
    expect_refusal(&strange, true, "image 2 has the label 7");
    struct batches *batches = open_batches(&strange, &(struct batches_options){ 0 });
    assert_non_null(batches); /* without masks it does not matter */
    batches_free(batches);
}

static void data_without_training_images_are_refused(void **state)
{
    (void)state;
    struct fixture held = usual;
    held.no_train = 1;
    expect_refusal(&held, true, "none of its 10 images is in the split train");
}

static void images_that_are_not_square_are_refused(void **state)
{
    (void)state;
    struct fixture oblong = usual;
    oblong.width = 16;
    expect_refusal(&oblong, true, "8 × 16");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_epoch_shows_each_training_image_once),
        TEST(epochs_and_seeds_have_orders_of_their_own),
        TEST(a_position_is_all_that_decides),
        TEST(images_and_masks_become_greys_within_one_and_half_are_mirrored),
        TEST(images_of_16_bits_become_the_same_greys),
        TEST(the_mask_is_the_last_channel_when_asked_for),
        TEST(a_label_that_no_grey_stands_for_is_refused),
        TEST(data_without_training_images_are_refused),
        TEST(images_that_are_not_square_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
