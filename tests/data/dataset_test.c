/* Stores that were damaged after they were written. */
#include "cohort.h"

#include "data/dataset.h"

static struct error err;
static struct dataset dataset;

static int setup(void **state)
{
    if (scratch_make(state))
        return -1;
    write_cohort(2);
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    assert_ok(ingest_cohort(&settings, &report, &err), err);
    ingest_report_release(&report);
    return 0;
}

static void expect_refused(const char *message)
{
    assert_false(dataset_open(&dataset, scratch("store"), &err));
    assert_contains(err.message, "not a complete dataset store");
    assert_contains(err.message, message);
}

static void expect_changed(const char *message)
{
    assert_ok(dataset_open(&dataset, scratch("store"), &err), err);
    assert_false(dataset_verify(&dataset, &err));
    assert_contains(err.message, message);
    dataset_close(&dataset);
}

/* Puts `to` in the place of `from` in dataset.json. */
static void edit_description(const char *from, const char *to)
{
    size_t size;
    char *bytes = file_read(scratch("store/dataset.json"), 1 << 20, &size, &err);
    assert_ok(bytes, err);
    char *at = strstr(bytes, from);
    assert_non_null(at);
    FILE *file = fopen(scratch("store/dataset.json"), "w");
    fwrite(bytes, 1, (size_t)(at - bytes), file);
    fprintf(file, "%s%s", to, at + strlen(from));
    assert_int_equal(fclose(file), 0);
    memory_free(bytes);
}

static void a_whole_store_opens(void **state)
{
    (void)state;
    assert_ok(dataset_open(&dataset, scratch("store/"), &err), err);
    assert_ok(dataset_verify(&dataset, &err), err);
    assert_int_equal(dataset.count, 2 * COHORT_Z);
    assert_int_equal(dataset.channels, 4);
    assert_string_equal(dataset.channel_names[1], "t1ce");
    assert_int_equal(dataset.index[COHORT_Z].slice, 0);
    dataset_close(&dataset);
}

static void a_store_that_lacks_a_file_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = { "images.npy", "masks.npy", "index.csv", "dataset.json" };
    for (int i = 0; i < 4; i++) {
        char path[100];
        snprintf(path, sizeof path, "store/%s", names[i]);
        assert_int_equal(rename(scratch(path), scratch("aside")), 0);
        expect_refused(names[i]);
        assert_int_equal(rename(scratch("aside"), scratch(path)), 0);
    }
    assert_false(dataset_open(&dataset, scratch("absent"), &err));
}

static void masks_that_nobody_told_of_are_refused(void **state)
{
    (void)state;
    edit_description("\"masks\": true", "\"masks\": false");
    expect_refused("masks.npy: not told of in dataset.json");
}

static void a_shortened_array_is_refused(void **state)
{
    (void)state;
    assert_int_equal(truncate(scratch("store/images.npy"), 500), 0);
    expect_refused("images.npy: the shape asks for");
}

static void an_index_of_other_length_is_refused(void **state)
{
    (void)state;
    FILE *file = fopen(scratch("store/index.csv"), "a");
    fprintf(file, "10,S9,0,train,x,y\n");
    assert_int_equal(fclose(file), 0);
    expect_refused("index.csv: 11 rows for 10 images");
}

static void an_index_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    write_text(scratch("store/index.csv"), "image,subject,slice,split,source\n");
    expect_refused("there is no column \"sha256\"");
    char text[1000] = "image,subject,slice,split,source,sha256\n";
    for (int i = 0; i < 10; i++)
        strcat(text, i == 3 ? "3,S,0,tests,a,b\n" : "0,S,0,train,a,b\n");
    write_text(scratch("store/index.csv"), text);
    expect_refused("index.csv:3: image, slice or split is not valid");
}

static void a_description_that_tells_otherwise_is_refused(void **state)
{
    (void)state;
    edit_description("\"images\": 10", "\"images\": 11");
    expect_refused("dataset.json tells of 11 images of 16 × 16, uint8");
}

static void another_schema_is_refused(void **state)
{
    (void)state;
    edit_description("lethe/dataset/1", "lethe/dataset/2");
    expect_refused("lethe/dataset/2");
}

static void a_changed_pixel_is_noticed(void **state)
{
    (void)state;
    PATCH("store/images.npy", 1000, char, 1);
    expect_changed("images.npy: changed since the store was written");
}

static void a_changed_label_is_noticed(void **state)
{
    (void)state;
    PATCH("store/masks.npy", 1000, char, 9);
    expect_changed("masks.npy: changed since the store was written");
}

static void a_digest_that_is_gone_is_noticed(void **state)
{
    (void)state;
    edit_description("\"masks.npy\"", "\"other.npy\"");
    expect_changed("masks.npy: no SHA-256 of it in dataset.json");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_whole_store_opens),
        TEST(a_store_that_lacks_a_file_is_refused),
        TEST(masks_that_nobody_told_of_are_refused),
        TEST(a_shortened_array_is_refused),
        TEST(an_index_of_other_length_is_refused),
        TEST(an_index_that_makes_no_sense_is_refused),
        TEST(a_description_that_tells_otherwise_is_refused),
        TEST(another_schema_is_refused),
        TEST(a_changed_pixel_is_noticed),
        TEST(a_changed_label_is_noticed),
        TEST(a_digest_that_is_gone_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
