/* What ingest makes of good input: splits, tables, flat images, records. The images themselves are
 * held against NumPy in protocol_test.py, bad input is in ingest_bad_test.c. */
#include "cohort.h"

#include "base/json.h"
#include "base/parallel.h"
#include "data/npy.h"
#include "data/png.h"

#include <time.h>

static struct error err;
static struct ingest_report report;
static struct dataset dataset;

static void ingest_to(const struct ingest_settings *settings, const char *name)
{
    assert_ok(ingest(settings, scratch(name), false, &report, &err), err);
    ingest_report_release(&report);
}

static void expect_error(const struct ingest_settings *settings, const char *message)
{
    assert_false(ingest(settings, scratch("store"), false, &report, &err));
    if (report.problems.count)
        assert_contains(report.problems.items[0].reason, message);
    else
        assert_contains(err.message, message);
    ingest_report_release(&report);
    assert_int_equal(path_kind(scratch("store")), PATH_NOTHING);
    assert_int_equal(path_kind(scratch("store.partial")), PATH_NOTHING);
}

static void open_store(const char *name)
{
    assert_ok(dataset_open(&dataset, scratch(name), &err), err);
    assert_ok(dataset_verify(&dataset, &err), err);
}

static void assert_same_files(const char *a, const char *b)
{
    char command[1200];
    snprintf(command, sizeof command, "diff -r '%s' '%s' >/dev/null", scratch(a), scratch(b));
    assert_int_equal(system(command), 0);
}

/* ---- splits ---------------------------------------------------------------------------------- */

/* The splits of subjects S1 … S9, as one letter each; asserts that no subject has two. */
static void splits_of(const char *name, char letters[10])
{
    static const char letter[] = "thvn";
    open_store(name);
    memset(letters, ' ', 9);
    letters[9] = '\0';
    for (size_t i = 0; i < dataset.count; i++) {
        char *at = &letters[dataset.index[i].subject[1] - '1'];
        assert_true(*at == ' ' || *at == letter[dataset.index[i].split]);
        *at = letter[dataset.index[i].split];
    }
    dataset_close(&dataset);
}

static int count_of(const char *letters, char letter)
{
    int count = 0;
    for (; *letters; letters++)
        count += *letters == letter;
    return count;
}

static void splits_are_by_subject_with_the_right_shares_and_by_seed(void **state)
{
    (void)state;
    char first[10], again[10], other[10];
    struct ingest_settings settings = cohort_settings();
    write_cohort(9);
    settings.holdout = 0.34;
    settings.validation = 0.2;
    ingest_to(&settings, "first");
    ingest_to(&settings, "again");
    splits_of("first", first);
    splits_of("again", again);
    assert_string_equal(first, again);
    assert_int_equal(count_of(first, 'h'), 3);
    assert_int_equal(count_of(first, 'v'), 2);
    assert_int_equal(count_of(first, 't'), 4);
    int differ = 0;
    for (settings.seed = 1; settings.seed < 4; settings.seed++) {
        char name[8];
        snprintf(name, sizeof name, "s%d", (int)settings.seed);
        ingest_to(&settings, name);
        splits_of(name, other);
        assert_int_equal(count_of(other, 'h'), 3);
        differ += strcmp(first, other) != 0;
    }
    assert_true(differ > 0);
}

static void small_shares_hold_out_at_least_one(void **state)
{
    (void)state;
    char letters[10];
    struct ingest_settings settings = cohort_settings();
    write_cohort(2);
    settings.holdout = 0.01;
    ingest_to(&settings, "store");
    splits_of("store", letters);
    assert_int_equal(count_of(letters, 'h'), 1);
    settings.validation = 0.01;
    assert_false(ingest(&settings, scratch("more"), false, &report, &err));
    assert_contains(err.message, "2 subjects are too few to hold out 1 and validate on 1");
    ingest_report_release(&report);
}

static void a_split_file_decides_and_is_checked(void **state)
{
    (void)state;
    char letters[10], file[100];
    struct ingest_settings settings = cohort_settings();
    write_cohort(3);
    snprintf(file, sizeof file, "%s", scratch("split.csv"));
    settings.split_file = file;
    write_text(file, "subject,split\nS1,train\nS2,holdout\n");
    expect_error(&settings, "the subject S3 has no row");
    write_text(file, "subject,split\nS1,train\nS2,holdout\nS3,test\n");
    expect_error(&settings, "row 3: the split \"test\" is none of");
    write_text(file, "subject,split\nS1,train\nS2,holdout\nS3,train\nS1,holdout\n");
    expect_error(&settings, "two rows for the subject S1");
    write_text(file, "\xef\xbb\xbfsplit,subject,note\r\nholdout,S3,\"a,b\"\r\nvalidation,S1,\r\n"
                     "train,S2,x\r\nnone,S7,\r\n");
    ingest_to(&settings, "store");
    splits_of("store", letters);
    assert_string_equal(letters, "vth      ");
}

/* ---- records --------------------------------------------------------------------------------- */

static void the_store_depends_on_content_alone(void **state)
{
    (void)state;
    char moved[100];
    struct ingest_settings settings = cohort_settings();
    write_cohort(5);
    parallel_set_threads(1);
    ingest_to(&settings, "one");
    sleep(1); /* so that a time in it would show */
    parallel_set_threads(3);
    assert_int_equal(rename(scratch("scans"), scratch("moved")), 0);
    snprintf(moved, sizeof moved, "%s/", scratch("moved"));
    settings.source = moved;
    ingest_to(&settings, "two");
    assert_same_files("one", "two");
    char command[700];
    snprintf(command, sizeof command,
             "grep -rqE '%s|[0-9]{2}:[0-9]{2}' %s/index.csv %s/dataset.json", scratch_folder,
             scratch("one"), scratch("one"));
    assert_int_not_equal(system(command), 0);
}

static void a_store_is_private(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    write_cohort(2);
    mode_t before = umask(0);
    ingest_to(&settings, "store");
    umask(before);
    assert_int_equal(mode_of(scratch("store")), 0700);
    assert_int_equal(mode_of(scratch("store/images.npy")), 0600);
    assert_int_equal(mode_of(scratch("store/masks.npy")), 0600);
    assert_int_equal(mode_of(scratch("store/index.csv")), 0600);
    assert_int_equal(mode_of(scratch("store/dataset.json")), 0600);
}

static void names_with_commas_quotes_and_lines_come_back(void **state)
{
    (void)state;
    static const char *const names[] = { "a,b", "c\"d", "e\nf", "ü ' g" };
    struct ingest_settings settings = cohort_settings();
    for (int i = 0; i < 4; i++)
        write_subject(names[i], i);
    ingest_to(&settings, "store");
    open_store("store");
    for (size_t i = 0; i < dataset.count; i++)
        assert_string_equal(dataset.index[i].subject, names[i / COHORT_Z]);
    dataset_close(&dataset);
}

static void replacing_exchanges_the_store(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    write_cohort(2);
    ingest_to(&settings, "store");
    write_cohort(3);
    assert_ok(ingest(&settings, scratch("store"), true, &report, &err), err);
    ingest_report_release(&report);
    open_store("store");
    assert_int_equal(dataset.count, 3 * COHORT_Z);
    dataset_close(&dataset);
    assert_int_equal(names_in(scratch_folder), 2);
}

static void the_digest_of_inputs_follows_settings_and_contents(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings(), other = settings;
    struct digest first, second;
    write_cohort(2);
    assert_ok(ingest_inputs_digest(&settings, &first, &err), err);
    assert_ok(ingest_inputs_digest(&settings, &second, &err), err);
    assert_true(digest_equal(&first, &second));
    other.keep_share = 0.2;
    assert_ok(ingest_inputs_digest(&other, &second, &err), err);
    assert_false(digest_equal(&first, &second));
    PATCH("scans/S2/S2_t1.nii", 360, int16_t, 5);
    assert_ok(ingest_inputs_digest(&settings, &second, &err), err);
    assert_false(digest_equal(&first, &second));
}

/* ---- settings that contradict each other ----------------------------------------------------- */

static void contradictions_are_refused(void **state)
{
    (void)state;
    static const char *const bad_labels[] = { "1", "256" };
    struct ingest_settings settings = cohort_settings();
    write_cohort(2);
    settings.size = 32;
    expect_error(&settings, "size 32: expected 8 to 16, the canvas");
    settings = cohort_settings();
    settings.canvas = 12;
    expect_error(&settings, "planes of 12 × 14 do not fit the canvas of 12");
    settings = cohort_settings();
    settings.labels = (struct yaml_strings){ (const char **)bad_labels, 2 };
    expect_error(&settings, "labels: \"256\" is not a whole number from 0 to 255");
    settings = cohort_settings();
    settings.keep_channel = "t3";
    expect_error(&settings, "keep_channel: there is no channel \"t3\"");
    settings = cohort_settings();
    settings.source = "";
    expect_error(&settings, "source: say which folder");
    settings = cohort_settings();
    settings.holdout = settings.validation = 0.5;
    expect_error(&settings, "2 subjects are too few");
}

static void the_keep_rules_threshold_is_exact(void **state)
{
    (void)state;
    /* 530 of 2703 is exactly 50 of 255: not above. One more is. */
    struct ingest_settings settings = cohort_settings();
    int16_t voxels[16 * 16 * 2];
    struct nifti_output output = { { 16, 16, 2 }, VOXEL_INT16, voxels, { { 0 } } };
    for (int i = 0; i < 512; i++)
        voxels[i] = i < 256 ? 530 : 531;
    voxels[0] = 2703;
    nifti_lps_affine((double[]){ 1, 1, 1 }, (double[]){ 0, 0, 0 }, output.affine);
    make_folder("scans");
    assert_ok(nifti_write(scratch("scans/A_t1.nii"), &output, &err), err);
    assert_ok(nifti_write(scratch("scans/B_t1.nii"), &output, &err), err);
    settings.channels = (struct yaml_strings){ (const char *[]){ "t1" }, 1 };
    ingest_to(&settings, "store");
    open_store("store");
    assert_int_equal(dataset.count, 2);
    assert_int_equal(dataset.index[0].slice, 1);
    dataset_close(&dataset);
}

/* ---- flat images ----------------------------------------------------------------------------- */

/* nibabel saves floats as integers times a slope, and 255 · (1 / 255) is not quite 1. */
static void labels_that_are_whole_but_for_rounding_come_in(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    write_cohort(2);
    write_mask("scans/S1/S1_seg.nii", 255);
    PATCH("scans/S1/S1_seg.nii", 112, float, 4.0F / 255);
    write_mask("scans/S2/S2_seg.nii", 2);
    PATCH("scans/S2/S2_seg.nii", 112, float, 0.9999F / 2);
    ingest_to(&settings, "store");
    open_store("store");
    size_t place = (16 - COHORT_Y) / 2 * 16 + (16 - COHORT_X) / 2 + 16 + 1;
    assert_int_equal(dataset.masks[place], 4);
    assert_int_equal(dataset.masks[COHORT_Z * 16 * 16 + place], 1);
    dataset_close(&dataset);
}

/* What is done to images and seen in none of them: for whoever runs it to read. */
static void the_report_tells_what_became_black_and_how_large_pixels_are(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    int16_t voxels[COHORT_X * COHORT_Y * COHORT_Z];
    struct nifti_output output = {
        { COHORT_X, COHORT_Y, COHORT_Z }, VOXEL_INT16, voxels, { { 0 } }
    };
    static const char *const suffixes[] = { "t1", "t1ce", "t2", "flair", "seg" };
    write_cohort(3);
    for (int i = 0; i < 5; i++) { /* S2: 0.5 mm across, and −500 to 1000 */
        char name[64];
        for (int k = 0; k < COHORT_X * COHORT_Y * COHORT_Z; k++)
            voxels[k] = i == 4 ? 0 : k == 9 ? -500 : 1000;
        nifti_lps_affine((double[]){ 0.5, 1, 4 }, (double[]){ 0, 0, 0 }, output.affine);
        snprintf(name, sizeof name, "scans/S2/S2_%s.nii", suffixes[i]);
        assert_ok(nifti_write(scratch(name), &output, &err), err);
    }
    assert_ok(ingest(&settings, scratch("store"), false, &report, &err), err);
    assert_string_equal(report.below.subject, "S2");
    assert_true(report.below.value == 0.5);
    assert_string_equal(report.least_pixel.subject, "S2");
    assert_true(report.least_pixel.value == 0.5);
    assert_string_equal(report.greatest_pixel.subject, "S1");
    assert_true(report.greatest_pixel.value == 1); /* in the plane: slices may be thick */
    ingest_report_release(&report);
}

static void write_png(const char *name, int channels, int bits, unsigned value)
{
    unsigned char pixels[8 * 8 * 4 * 2];
    struct png_image image = { 8, 8, channels, bits, pixels };
    for (int i = 0; i < 8 * 8 * channels; i++)
        if (bits == 8)
            pixels[i] = (unsigned char)value;
        else
            memcpy(pixels + 2 * i, &(uint16_t){ (uint16_t)value }, 2);
    assert_ok(png_write(scratch(name), &image, &err), err);
}

static void grey_pngs_of_8_and_16_bits_come_in_as_they_are(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    settings.role = ROLE_SYNTHETIC;
    make_folder("scans");
    write_png("scans/a.png", 1, 8, 77);
    write_png("scans/b.PNG", 1, 16, 65535);
    write_png("scans/c.png", 1, 16, 257 * 30 + 128);
    write_png("scans/d.png", 1, 16, 257 * 30 + 129);
    ingest_to(&settings, "store");
    open_store("store");
    static const unsigned char expected[] = { 77, 255, 30, 31 };
    assert_int_equal(dataset.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(dataset.images[64 * i + 9], expected[i]);
        assert_int_equal(dataset.index[i].split, SPLIT_NONE);
    }
    assert_string_equal(dataset.index[1].source, "b.PNG");
    dataset_close(&dataset);
    settings.type = 1; /* uint16 */
    ingest_to(&settings, "wide");
    open_store("wide");
    assert_int_equal(((const uint16_t *)(const void *)dataset.images)[64 * 2], 257 * 30 + 128);
    dataset_close(&dataset);
}

/* One pixel of a grey image, written with the channels of a colour one; `alpha` 0: none. */
static void write_colour_png(const char *name, const unsigned char colour[3], unsigned char alpha)
{
    int channels = alpha ? 4 : 3;
    unsigned char pixels[8 * 8 * 4];
    struct png_image image = { 8, 8, channels, 8, pixels };
    memset(pixels, alpha ? alpha : 40, sizeof pixels);
    for (size_t i = 0; i < 64; i++)
        memcpy(pixels + i * (size_t)channels, i == 9 ? colour : (const unsigned char[3]){ 0 }, 3);
    assert_ok(png_write(scratch(name), &image, &err), err);
}

static void pngs_whose_colours_are_alike_are_grey(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    settings.role = ROLE_SYNTHETIC;
    make_folder("scans");
    write_colour_png("scans/a.png", (const unsigned char[]){ 77, 77, 77 }, 0);
    write_colour_png("scans/b.png", (const unsigned char[]){ 78, 78, 78 }, 255);
    write_png("scans/c.png", 3, 16, 257 * 79);
    write_png("scans/d.png", 1, 8, 80);
    ingest_to(&settings, "store");
    open_store("store");
    assert_int_equal(dataset.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(dataset.images[64 * i + 9], 77 + i);
    assert_int_equal(dataset.images[8], 0);
    assert_int_equal(dataset.images[64 + 63], 0);
    dataset_close(&dataset);
}

static void colour_and_planes_of_pngs_are_refused(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    make_folder("scans");
    write_colour_png("scans/a.png", (const unsigned char[]){ 77, 77, 78 }, 0);
    write_png("scans/b.png", 1, 8, 77);
    expect_error(&settings, "a PNG of 3 channels; one grey image a channel is expected");
    write_colour_png("scans/a.png", (const unsigned char[]){ 77, 77, 77 }, 254);
    expect_error(&settings, "a PNG of 4 channels; one grey image a channel is expected");
    assert_int_equal(unlink(scratch("scans/a.png")), 0);
    write_png("scans/c.png", 1, 8, 77);
    settings.plane = PLANE_CORONAL;
    expect_error(&settings, "single images have one plane only");
}

/* Centred in the canvas of the others, a smaller one would hide the copy that it is. Of real images
 * sizes may differ, as those of scans do. */
static void a_synthetic_set_of_several_sizes_is_refused(void **state)
{
    (void)state;
    unsigned char pixels[8 * 6] = { 0 };
    struct png_image narrow = { 6, 8, 1, 8, pixels };
    struct ingest_settings settings = cohort_settings();
    settings.role = ROLE_SYNTHETIC;
    make_folder("scans");
    write_png("scans/a.png", 1, 8, 77);
    write_png("scans/b.png", 1, 8, 77);
    assert_ok(png_write(scratch("scans/c.png"), &narrow, &err), err);
    expect_error(&settings, "an image of 8 × 6; the first of the set has 8 × 8");
    settings.canvas = 16;
    expect_error(&settings, "an image of 8 × 6; the first of the set has 8 × 8");
    settings.canvas = 0;
    settings.role = ROLE_REAL;
    ingest_to(&settings, "store");
}

static void write_array(const char *name, enum element_type type, int rank, const size_t *shape,
                        const void *items, size_t count)
{
    struct npy_writer writer;
    assert_ok(npy_writer_open(&writer, scratch(name), type, rank, shape, &err), err);
    assert_ok(npy_writer_append(&writer, items, count, &err), err);
    assert_ok(npy_writer_commit(&writer, &err), err);
}

static void arrays_with_masks_and_subjects_come_in(void **state)
{
    (void)state;
    static float images[4][2][8][8];
    static uint8_t masks[4][8][8];
    char file[100];
    struct ingest_settings settings = cohort_settings();
    for (int i = 0; i < 4 * 2 * 64; i++)
        ((float *)images)[i] = (float)(i % 256);
    masks[2][3][4] = 4;
    make_folder("scans");
    write_array("scans/images.npy", ELEMENT_FLOAT32, 3, (size_t[]){ 2, 8, 8 }, images, 4);
    write_array("scans/masks.npy", ELEMENT_UINT8, 2, (size_t[]){ 8, 8 }, masks, 4);
    snprintf(file, sizeof file, "%s", scratch("subjects.csv"));
    settings.subjects_file = file;
    write_text(file, "subject\np\nq\np\n");
    expect_error(&settings, "3 rows for 4 images");
    write_text(file, "subject\np\nq\n\"\"\nq\n");
    expect_error(&settings, "row 3 has no subject");
    write_text(file, "subject\np\nq\np\nq\n");
    ingest_to(&settings, "store");
    open_store("store");
    assert_int_equal(dataset.channels, 2);
    for (size_t i = 0; i < 4 * 2 * 64; i++)
        assert_int_equal(dataset.images[i], i % 256);
    assert_memory_equal(dataset.masks, masks, sizeof masks);
    assert_int_equal(dataset.index[0].split, dataset.index[2].split);
    assert_int_equal(dataset.index[1].split, dataset.index[3].split);
    assert_int_not_equal(dataset.index[0].split, dataset.index[1].split);
    const struct json *splits =
        json_get(json_get(dataset.description, "origin", &err), "splits", &err);
    int64_t subjects;
    assert_true(json_get_integer(json_get(splits, "train", &err), "subjects", &subjects, &err));
    assert_int_equal(subjects, 1);
    dataset_close(&dataset);
}

static void arrays_that_hold_no_images_are_refused(void **state)
{
    (void)state;
    static float fractions[2][8][8];
    struct ingest_settings settings = cohort_settings();
    make_folder("scans");
    write_array("scans/images.npy", ELEMENT_UINT8, 2, (size_t[]){ 0, 8 }, "", 5);
    expect_error(&settings, "the shape holds a 0");
    write_array("scans/images.npy", ELEMENT_UINT8, 3, (size_t[]){ 0, 8, 8 }, "", 5);
    expect_error(&settings, "the shape holds a 0");
    write_array("scans/images.npy", ELEMENT_UINT8, 1, (size_t[]){ 8 }, "12345678", 1);
    expect_error(&settings, "2 dimensions; expected (N,H,W) or (N,C,H,W)");
    write_array("scans/images.npy", ELEMENT_FLOAT32, 3, (size_t[]){ 8, 8, 1 }, fractions, 2);
    expect_error(&settings, "its last axis has 1 elements, so it is (N,H,W,C); expected (N,C,H,W)");
    fractions[0][0][0] = 0.5F;
    write_array("scans/images.npy", ELEMENT_FLOAT32, 2, (size_t[]){ 8, 8 }, fractions, 2);
    expect_error(&settings, "values from 0 to 0.5; without scaling 0 to 255 are expected");
    fractions[0][0][0] = -0.5F;
    write_array("scans/images.npy", ELEMENT_FLOAT32, 2, (size_t[]){ 8, 8 }, fractions, 2);
    expect_error(&settings, "values from -0.5 to 0");
}

static void many_pngs_with_subjects_take_no_time(void **state)
{
    (void)state;
    enum { IMAGES = 3000 };
    char file[100], name[64];
    struct ingest_settings settings = cohort_settings();
    make_folder("scans");
    write_png("scans/00000.png", 1, 8, 9);
    snprintf(file, sizeof file, "%s", scratch("subjects.csv"));
    FILE *table = fopen(file, "w");
    fprintf(table, "file,subject\n");
    for (int i = 0; i < IMAGES; i++) {
        snprintf(name, sizeof name, "scans/%05d.png", i);
        assert_true(!i || link(scratch("scans/00000.png"), scratch(name)) == 0);
        fprintf(table, "%05d.png,\"p, %d\"\n", i, i / 10);
    }
    assert_int_equal(fclose(table), 0);
    settings.subjects_file = file;
    ingest_to(&settings, "store");
    open_store("store");
    assert_int_equal(dataset.count, IMAGES);
    assert_string_equal(dataset.index[1234].subject, "p, 123");
    dataset_close(&dataset);
    write_text(file, "file,subject\n00000.png,p\n");
    assert_false(ingest(&settings, scratch("more"), false, &report, &err));
    assert_contains(err.message, "no row for the file 00001.png");
    ingest_report_release(&report);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(splits_are_by_subject_with_the_right_shares_and_by_seed),
        TEST(small_shares_hold_out_at_least_one),
        TEST(a_split_file_decides_and_is_checked),
        TEST(the_store_depends_on_content_alone),
        TEST(a_store_is_private),
        TEST(names_with_commas_quotes_and_lines_come_back),
        TEST(replacing_exchanges_the_store),
        TEST(the_digest_of_inputs_follows_settings_and_contents),
        TEST(contradictions_are_refused),
        TEST(the_keep_rules_threshold_is_exact),
        TEST(labels_that_are_whole_but_for_rounding_come_in),
        TEST(the_report_tells_what_became_black_and_how_large_pixels_are),
        TEST(grey_pngs_of_8_and_16_bits_come_in_as_they_are),
        TEST(pngs_whose_colours_are_alike_are_grey),
        TEST(a_synthetic_set_of_several_sizes_is_refused),
        TEST(colour_and_planes_of_pngs_are_refused),
        TEST(arrays_with_masks_and_subjects_come_in),
        TEST(arrays_that_hold_no_images_are_refused),
        TEST(many_pngs_with_subjects_take_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
