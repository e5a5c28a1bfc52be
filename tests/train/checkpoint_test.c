/* Checkpoints: all or nothing, in and out. */
#include "scratch.h"

#include "base/digest.h"
#include "tensor/ref.h"
#include "train/checkpoint.h"

#include <math.h>

static const struct checkpoint_record record = { .step = 12,
                                                 .images = 96,
                                                 .settings = "model: ddpm\n",
                                                 .dataset = "abc",
                                                 .channels = "t1,seg",
                                                 .masks = true,
                                                 .channel_count = 2,
                                                 .size = 8 };

static void add(struct store *store, const char *name, struct shape shape, float first)
{
    struct error err;
    float values[64];
    struct tensor *tensor = store_require(store, name, DTYPE_F32, shape, &err);
    assert_ok(tensor, err);
    for (size_t i = 0; i < shape_count(shape); i++)
        values[i] = first + (float)i;
    store_write(store, tensor, values);
}

static struct store *two_tensors(float first)
{
    struct store *store = store_new(&ref_backend);
    add(store, "a", SHAPE(2, 3), first);
    add(store, "b.scalar", SHAPE(), first + 0.5f);
    return store;
}

static const char *save(const struct store *store, uint64_t step, int64_t keep)
{
    static char path[600];
    struct error err;
    struct checkpoint_record at = record;
    at.step = step;
    assert_ok(checkpoint_save(scratch(""), store, &at, keep, &err), err);
    snprintf(path, sizeof path, "%s/step-%012llu.safetensors", scratch_folder,
             (unsigned long long)step);
    return path;
}

static void assert_value(const struct store *store, const char *name, float expected)
{
    float values[64];
    store_read(store, store_find(store, name), values);
    assert_true(values[0] == expected);
}

static void expect_refusal(struct store *store, const char *path, const char *part)
{
    struct error err;
    assert_false(checkpoint_load(path, store, &err));
    assert_contains(err.message, part);
    assert_contains(err.message, path);
    store_free(store);
}

static void a_checkpoint_gives_back_what_was_saved(void **state)
{
    (void)state;
    struct error err;
    struct store *saved = two_tensors(3), *loaded = two_tensors(-8);
    assert_ok(checkpoint_load(save(saved, 12, 1), loaded, &err), err);
    assert_value(loaded, "a", 3);
    assert_value(loaded, "b.scalar", 3.5f);
    store_free(saved);
    store_free(loaded);
}

static void its_record_reads_back(void **state)
{
    (void)state;
    struct error err;
    struct arena arena;
    struct checkpoint_record read;
    struct store *store = two_tensors(3);
    arena_init(&arena);
    assert_ok(checkpoint_read(save(store, 12, 1), &read, &arena, &err), err);
    assert_int_equal(read.step, 12);
    assert_int_equal(read.images, 96);
    assert_string_equal(read.settings, record.settings);
    assert_string_equal(read.dataset, "abc");
    assert_string_equal(read.channels, "t1,seg");
    assert_true(read.masks);
    assert_int_equal(read.channel_count, 2);
    assert_int_equal(read.size, 8);
    assert_int_equal(read.reference, 0);
    assert_null(read.half);
    arena_release(&arena);
    store_free(store);
}

static void that_of_a_reference_says_whose(void **state)
{
    (void)state;
    struct error err;
    struct arena arena;
    struct checkpoint_record read, saved = record;
    struct store *store = two_tensors(3);
    arena_init(&arena);
    saved.reference = 2;
    saved.half = "def";
    assert_ok(checkpoint_save(scratch(""), store, &saved, 1, &err), err);
    assert_ok(checkpoint_read(scratch("step-000000000012.safetensors"), &read, &arena, &err), err);
    assert_int_equal(read.reference, 2);
    assert_string_equal(read.half, "def");
    arena_release(&arena);
    store_free(store);
}

static void a_missing_tensor_is_refused(void **state)
{
    (void)state;
    struct store *saved = two_tensors(0), *more = two_tensors(0);
    add(more, "c", SHAPE(1), 0);
    expect_refusal(more, save(saved, 1, 1), "no tensor \"c\"");
    store_free(saved);
}

static void a_tensor_left_over_is_refused(void **state)
{
    (void)state;
    struct store *saved = two_tensors(0), *less = store_new(&ref_backend);
    add(less, "a", SHAPE(2, 3), 0);
    expect_refusal(less, save(saved, 1, 1), "the tensor \"b.scalar\" is none that the settings");
    store_free(saved);
}

static void a_tensor_of_another_shape_is_refused(void **state)
{
    (void)state;
    struct store *saved = two_tensors(0), *turned = store_new(&ref_backend);
    add(turned, "a", SHAPE(3, 2), 0);
    add(turned, "b.scalar", SHAPE(), 0);
    expect_refusal(turned, save(saved, 1, 1), "the tensor \"a\" is of another type or shape");
    store_free(saved);
}

static void a_file_cut_short_is_refused(void **state)
{
    (void)state;
    struct store *saved = two_tensors(0);
    const char *path = save(saved, 1, 1);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - 4), 0);
    expect_refusal(two_tensors(0), path, "");
    store_free(saved);
}

static void values_that_are_not_finite_never_replace_good_ones(void **state)
{
    (void)state;
    struct error err;
    struct arena arena;
    const char *latest;
    struct store *store = two_tensors(1);
    const char *good = save(store, 5, 1);
    add(store, "a", SHAPE(2, 3), NAN);
    struct checkpoint_record next = record;
    next.step = 6;
    assert_false(checkpoint_save(scratch(""), store, &next, 1, &err));
    assert_contains(err.message, "a holds");
    assert_contains(err.message, "diverged");
    arena_init(&arena);
    assert_ok(checkpoint_latest(scratch(""), &arena, &latest, &err), err);
    assert_string_equal(path_name(latest), path_name(good));
    assert_int_equal(names_in(scratch_folder), 1);
    arena_release(&arena);
    store_free(store);
}

static void the_latest_are_kept(void **state)
{
    (void)state;
    struct error err;
    struct arena arena;
    const char *latest;
    struct store *store = two_tensors(1);
    for (uint64_t step = 8; step <= 12; step++) /* one digit, then two */
        save(store, step, 3);
    arena_init(&arena);
    assert_ok(checkpoint_latest(scratch(""), &arena, &latest, &err), err);
    assert_string_equal(path_name(latest), "step-000000000012.safetensors");
    assert_int_equal(names_in(scratch_folder), 3);
    assert_int_equal(path_kind(scratch("step-000000000010.safetensors")), PATH_FILE);
    arena_release(&arena);
    store_free(store);
}

static void a_folder_without_checkpoints_has_no_latest(void **state)
{
    (void)state;
    struct error err;
    struct arena arena;
    const char *latest = "";
    arena_init(&arena);
    assert_ok(checkpoint_latest(scratch("nowhere"), &arena, &latest, &err), err);
    assert_null(latest);
    write_text(scratch(".step-1.safetensors.Xyz"), "a killed run's");
    assert_ok(checkpoint_latest(scratch(""), &arena, &latest, &err), err);
    assert_null(latest);
    arena_release(&arena);
}

static const char *other_name(const void *context, const char *tensor, struct arena *arena)
{
    return arena_format(arena, "%s%s", (const char *)context, tensor);
}

static void some_tensors_load_under_other_names_and_are_digested(void **state)
{
    (void)state;
    struct error err;
    struct digest first, second, changed;
    struct store *saved = two_tensors(1), *wanted = store_new(&ref_backend);
    add(wanted, "scalar", SHAPE(), 0);
    const char *path = save(saved, 1, 1);
    assert_ok(checkpoint_load_some(path, wanted, other_name, "b.", &first, &err), err);
    assert_value(wanted, "scalar", 1.5f);
    assert_ok(checkpoint_load_some(path, wanted, other_name, "b.", &second, &err), err);
    assert_true(digest_equal(&first, &second));
    add(saved, "b.scalar", SHAPE(), 2);
    path = save(saved, 1, 1);
    assert_ok(checkpoint_load_some(path, wanted, other_name, "b.", &changed, &err), err);
    assert_false(digest_equal(&first, &changed));
    assert_false(checkpoint_load_some(path, wanted, other_name, "x.", &changed, &err));
    assert_contains(err.message, "no tensor \"x.scalar\"");
    store_free(saved);
    store_free(wanted);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_checkpoint_gives_back_what_was_saved),
        TEST(its_record_reads_back),
        TEST(that_of_a_reference_says_whose),
        TEST(a_missing_tensor_is_refused),
        TEST(a_tensor_left_over_is_refused),
        TEST(a_tensor_of_another_shape_is_refused),
        TEST(a_file_cut_short_is_refused),
        TEST(values_that_are_not_finite_never_replace_good_ones),
        TEST(the_latest_are_kept),
        TEST(a_folder_without_checkpoints_has_no_latest),
        TEST(some_tensors_load_under_other_names_and_are_digested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
