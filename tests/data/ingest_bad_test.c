/* Bad input, one test each: every bad subject is listed with file and reason and nothing is
 * written; with on_bad skip it is left out and recorded. */
#include "cohort.h"

#include "base/json.h"
#include "base/parallel.h"
#include "data/gzip.h"

#include <math.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct error err;

/* The file of S2 that is damaged in most tests. */
static const char victim[] = "scans/S2/S2_t2.nii";

static int setup(void **state)
{
    if (scratch_make(state))
        return -1;
    write_cohort(4);
    return 0;
}

static void assert_problem(const struct problems *problems, const char *file, const char *reason)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];
        if (!strcmp(problem->subject, "S2") && !strcmp(problem->file, file) &&
            strstr(problem->reason, reason))
            return;
    }
    fail_msg("no problem of S2, file \"%s\", with \"%s\"; the first of %zu: %s, %s: %s", file,
             reason, problems->count, problems->count ? problems->items[0].subject : "",
             problems->count ? problems->items[0].file : "",
             problems->count ? problems->items[0].reason : "");
}

static void assert_skipped(const char *reason)
{
    struct dataset dataset;
    assert_ok(dataset_open(&dataset, scratch("store"), &err), err);
    assert_ok(dataset_verify(&dataset, &err), err);
    for (size_t i = 0; i < dataset.count; i++)
        assert_string_not_equal(dataset.index[i].subject, "S2");
    const struct json *origin = json_get(dataset.description, "origin", &err);
    const struct json *skipped = json_get_array(origin, "skipped", &err);
    bool found = false;
    for (size_t i = 0; i < json_length(skipped); i++) {
        assert_string_equal(json_get_string(json_at(skipped, i), "subject", &err), "S2");
        found = found || strstr(json_get_string(json_at(skipped, i), "reason", &err), reason);
    }
    assert_true(found);
    dataset_close(&dataset);
}

/* S2 alone is bad, for this file (relative to the source; "" for none) and this reason. */
static void expect_bad(const char *file, const char *reason)
{
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    assert_false(ingest_cohort(&settings, &report, &err));
    assert_contains(err.message, "1 bad subject; nothing was written");
    assert_problem(&report.problems, file, reason);
    ingest_report_release(&report);
    assert_int_equal(names_in(scratch_folder), 1); /* the scans */
    settings.on_bad = ON_BAD_SKIP;
    assert_ok(ingest_cohort(&settings, &report, &err), err);
    assert_problem(&report.problems, file, reason);
    assert_int_equal(report.subjects, 3);
    ingest_report_release(&report);
    assert_skipped(reason);
}

static void expect_bad_victim(const char *reason)
{
    expect_bad(victim + strlen("scans/"), reason);
}

/* ---- gzip ------------------------------------------------------------------------------------ */

/* Replaces the victim by a .gz of itself; keeps `keep` bytes of it, or all if 0. */
static void pack_victim(size_t drop, long damaged_byte)
{
    size_t size, packed_size;
    char path[512];
    char *bytes = file_read(scratch(victim), 1 << 20, &size, &err);
    assert_ok(bytes, err);
    unsigned char *packed = gzip_compress(bytes, size, 6, &packed_size, &err);
    assert_ok(packed, err);
    if (damaged_byte)
        packed[damaged_byte] ^= 0x55;
    snprintf(path, sizeof path, "%s.gz", scratch(victim));
    assert_ok(file_write(path, packed, packed_size - drop, &err), err);
    assert_int_equal(unlink(scratch(victim)), 0);
    memory_free(bytes);
    memory_free(packed);
}

static void truncated_gzip_is_listed(void **state)
{
    (void)state;
    pack_victim(100, 0);
    expect_bad("S2/S2_t2.nii.gz", "damaged or truncated gzip data");
}

static void corrupt_gzip_is_listed(void **state)
{
    (void)state;
    pack_victim(0, 200);
    expect_bad("S2/S2_t2.nii.gz", "damaged or truncated gzip data");
}

/* A header of a small volume, and far more behind it: refused at its size, not at the machine's. */
static void far_more_than_the_header_asks_for_is_listed(void **state)
{
    (void)state;
    assert_int_equal(truncate(scratch(victim), 40 << 20), 0);
    size_t size, packed_size;
    char path[512];
    char *bytes = file_read(scratch(victim), 1 << 30, &size, &err);
    assert_ok(bytes, err);
    unsigned char *packed = gzip_compress(bytes, size, 1, &packed_size, &err);
    assert_ok(packed, err);
    snprintf(path, sizeof path, "%s.gz", scratch(victim));
    assert_ok(file_write(path, packed, packed_size, &err), err);
    assert_int_equal(unlink(scratch(victim)), 0);
    memory_free(bytes);
    memory_free(packed);
    expect_bad("S2/S2_t2.nii.gz", "which is the limit");
}

static void an_empty_file_is_listed(void **state)
{
    (void)state;
    write_text(scratch(victim), "");
    expect_bad_victim("0 bytes, too short");
}

static void a_file_that_is_no_image_is_listed(void **state)
{
    (void)state;
    char text[400] = { 0 };
    memset(text, 'x', sizeof text - 1);
    write_text(scratch(victim), text);
    expect_bad_victim("not a NIfTI file");
}

/* ---- headers that lie ------------------------------------------------------------------------ */

#define HEADER_TEST(name, offset, type, value, reason)                                             \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        PATCH(victim, offset, type, value);                                                        \
        expect_bad_victim(reason);                                                                 \
    }

HEADER_TEST(no_dimensions_are_listed, 40, int16_t, 0, "dim[0], the number of dimensions, is 0")
HEADER_TEST(eight_dimensions_are_listed, 40, int16_t, 8, "is 8; expected 1 to 7")
HEADER_TEST(minus_three_dimensions_are_listed, 40, int16_t, -3, "is -3; expected 1 to 7")
HEADER_TEST(an_extent_of_zero_is_listed, 44, int16_t, 0, "dim[2] is 0; expected at least 1")
HEADER_TEST(a_negative_extent_is_listed, 44, int16_t, -12, "dim[2] is -12")
HEADER_TEST(more_voxels_than_bytes_are_listed, 44, int16_t, 32767, "truncated, or the header")
HEADER_TEST(an_unknown_datatype_is_listed, 70, int16_t, 5, "the datatype 5 is unknown")
HEADER_TEST(complex_voxels_are_listed, 70, int16_t, 32, "the datatype is 32 (complex64)")
HEADER_TEST(bits_that_differ_from_the_type_are_listed, 72, int16_t, 8, "bitpix is 8")
HEADER_TEST(voxels_beyond_the_end_are_listed, 108, float, 1e6F, "vox_offset is 1000000")
HEADER_TEST(voxels_inside_the_header_are_listed, 108, float, 16, "vox_offset is 16")
HEADER_TEST(voxels_at_half_a_byte_are_listed, 108, float, 352.5F, "vox_offset is 352.5")
HEADER_TEST(voxels_at_no_number_are_listed, 108, float, NAN, "vox_offset is ")
HEADER_TEST(a_transform_that_is_no_number_is_listed, 280, float, INFINITY, "the sform holds")
HEADER_TEST(spacing_that_is_no_number_is_listed, 80, float, NAN, "pixdim[1]")
HEADER_TEST(scaling_by_no_number_is_listed, 116, float, NAN, "scl_inter is not a finite number")

static void a_singular_transform_is_listed(void **state)
{
    (void)state;
    float rows[12] = { 0 };
    patch(victim, 280, rows, sizeof rows);
    expect_bad_victim("the transform to millimetres is singular");
}

static void a_product_that_overflows_is_listed(void **state)
{
    (void)state;
    int16_t dim[8] = { 4, 32767, 32767, 32767, 32767, 1, 1, 1 };
    patch(victim, 40, dim, sizeof dim);
    expect_bad_victim("truncated, or the header is wrong");
}

static void a_product_beyond_64_bits_is_listed(void **state)
{
    (void)state;
    unsigned char bytes[544] = { 0x1c, 2, 0, 0, 'n', '+', '2', 0, '\r', '\n', 032, '\n' };
    int64_t dim[8] = { 4, INT64_MAX / 2, 5, 7, 1, 1, 1, 1 };
    int16_t type[2] = { 4, 16 };
    memcpy(bytes + 12, type, sizeof type);
    memcpy(bytes + 16, dim, sizeof dim);
    assert_ok(file_write(scratch(victim), bytes, sizeof bytes, &err), err);
    expect_bad_victim("more than can be addressed");
}

static void a_series_of_volumes_is_listed(void **state)
{
    (void)state;
    int16_t dim[8] = { 4, COHORT_X, COHORT_Y, 1, COHORT_Z, 1, 1, 1 };
    patch(victim, 40, dim, sizeof dim);
    expect_bad_victim("a series of 5 volumes; one 3-D volume is expected: split it");
}

/* ---- voxels ---------------------------------------------------------------------------------- */

static void write_floats(float special)
{
    float voxels[COHORT_X * COHORT_Y * COHORT_Z];
    struct nifti_output output = {
        { COHORT_X, COHORT_Y, COHORT_Z }, VOXEL_FLOAT32, voxels, { { 0 } }
    };
    for (int i = 0; i < COHORT_X * COHORT_Y * COHORT_Z; i++)
        voxels[i] = 5;
    voxels[3 + COHORT_X * (4 + COHORT_Y * 2)] = special;
    nifti_lps_affine((double[]){ 1, 1, 1 }, (double[]){ 0, 0, 0 }, output.affine);
    assert_ok(nifti_write(scratch(victim), &output, &err), err);
}

static void a_voxel_that_is_no_number_is_listed(void **state)
{
    (void)state;
    write_floats(NAN);
    expect_bad_victim("voxel (3, 4, 2) is NaN");
}

/* Counted along the axes of the file, by which any viewer finds it. */
static void a_voxel_is_named_as_the_file_has_it(void **state)
{
    (void)state;
    static const char *const suffixes[] = { "t1", "t1ce", "t2", "flair" };
    float transform[12] = { 0, 1, 0, 0, /**/ 0, 0, -1, 0, /**/ -1, 0, 0, 0 };
    struct volume volume;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    char name[64];
    write_floats(NAN);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "scans/S2/S2_%s.nii", suffixes[i]);
        patch(name, 280, transform, sizeof transform);
    }
    patch("scans/S2/S2_seg.nii", 280, transform, sizeof transform);
    assert_ok(nifti_read(&volume, scratch(victim), &err), err);
    assert_int_equal(volume.shape[0], COHORT_Y);
    assert_int_equal(volume.shape[1], COHORT_Z);
    volume_release(&volume);
    assert_false(ingest_cohort(&settings, &report, &err));
    assert_problem(&report.problems, victim + strlen("scans/"), "voxel (3, 4, 2) is NaN");
    ingest_report_release(&report);
}

static void an_infinite_voxel_is_listed(void **state)
{
    (void)state;
    write_floats(-INFINITY);
    expect_bad_victim("voxel (3, 4, 2) is infinite");
}

static void write_constant(const char *name, int16_t value, const int64_t shape[3], double shift)
{
    int16_t voxels[20 * 20 * 20];
    struct nifti_output output = {
        { shape[0], shape[1], shape[2] }, VOXEL_INT16, voxels, { { 0 } }
    };
    for (int i = 0; i < 20 * 20 * 20; i++)
        voxels[i] = value;
    nifti_lps_affine((double[]){ 1, 1, 1 }, (double[]){ shift, 0, 0 }, output.affine);
    assert_ok(nifti_write(scratch(name), &output, &err), err);
}

static const int64_t usual[3] = { COHORT_X, COHORT_Y, COHORT_Z };

static void an_empty_volume_is_listed(void **state)
{
    (void)state;
    write_constant(victim, 0, usual, 0);
    expect_bad_victim("empty: no voxel is above 0");
}

static void a_volume_below_zero_is_listed(void **state)
{
    (void)state;
    write_constant(victim, -7, usual, 0);
    expect_bad_victim("empty: no voxel is above 0");
}

static void a_volume_of_one_value_is_listed(void **state)
{
    (void)state;
    write_constant(victim, 9, usual, 0);
    expect_bad_victim("every voxel is 9: there is no image in it");
}

/* 14 × 5 of a canvas of 16 × 16 are 27 %. */
static void a_plane_too_narrow_for_the_keep_rule_is_told_as_that(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    settings.plane = PLANE_CORONAL;
    settings.keep_share = 0.3;
    assert_false(ingest_cohort(&settings, &report, &err));
    assert_contains(report.problems.items[0].reason,
                    "no slice is kept: coronal planes of 5 × 14 are 27 % of the canvas of 16, and "
                    "keep_share asks for more than 30 %; set plane");
    ingest_report_release(&report);
}

static void a_t1_without_a_bright_slice_is_listed(void **state)
{
    (void)state;
    write_constant("scans/S2/S2_t1.nii", 1, usual, 0);
    PATCH("scans/S2/S2_t1.nii", 352, int16_t, 30000);
    expect_bad("S2/S2_t1.nii", "no slice is kept: none has more than 15 % of its pixels above 50");
}

/* ---- grids, files, labels -------------------------------------------------------------------- */

static void a_modality_of_another_shape_is_listed(void **state)
{
    (void)state;
    write_constant(victim, 9, (int64_t[]){ COHORT_X, COHORT_Y, COHORT_Z + 1 }, 0);
    expect_bad_victim("the grid is 14 × 12 × 6, expected 14 × 12 × 5");
}

static void a_modality_in_another_place_is_listed(void **state)
{
    (void)state;
    write_constant(victim, 9, usual, 0.5);
    expect_bad_victim("the grid lies up to 0.5 mm away");
}

static void a_mask_of_another_shape_is_listed(void **state)
{
    (void)state;
    write_constant("scans/S2/S2_seg.nii", 1, (int64_t[]){ COHORT_X + 1, COHORT_Y, COHORT_Z }, 0);
    expect_bad("S2/S2_seg.nii", "the grid is 15 × 12 × 5");
}

static void planes_larger_than_the_canvas_are_listed(void **state)
{
    (void)state;
    static const char *const suffixes[] = { "t1", "t1ce", "t2", "flair", "seg" };
    char name[64];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "scans/S2/S2_%s.nii", suffixes[i]);
        write_constant(name, 4, (int64_t[]){ 17, 12, 5 }, 0);
    }
    expect_bad("S2/S2_t1.nii", "planes of 12 × 17 do not fit the canvas of 16");
}

static void a_missing_modality_is_listed(void **state)
{
    (void)state;
    assert_int_equal(unlink(scratch(victim)), 0);
    expect_bad("", "the modality t2 is missing");
}

static void a_missing_mask_is_listed(void **state)
{
    (void)state;
    assert_int_equal(unlink(scratch("scans/S2/S2_seg.nii")), 0);
    expect_bad("", "the mask is missing, though other subjects have one");
}

static void a_label_outside_the_set_is_listed(void **state)
{
    (void)state;
    write_mask("scans/S2/S2_seg.nii", 3);
    expect_bad("S2/S2_seg.nii", "the label 3 at row 1, column 1 of slice 0 is not allowed");
}

static void a_label_that_is_no_whole_number_is_listed(void **state)
{
    (void)state;
    write_floats(1);
    assert_int_equal(rename(scratch(victim), scratch("scans/S2/S2_seg.nii")), 0);
    write_scan(victim, 9);
    PATCH("scans/S2/S2_seg.nii", 352, float, 0.5F);
    expect_bad("S2/S2_seg.nii", "the value 0.5 at row 0, column 0 of slice 0 is no label");
}

static void a_subject_found_twice_is_listed(void **state)
{
    (void)state;
    make_folder("scans/copy");
    write_scan("scans/copy/S2_t2.nii", 9);
    expect_bad("copy/S2_t2.nii", "found twice: S2/S2_t2.nii claims the same place");
}

static void a_name_that_is_not_utf8_is_listed(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    write_scan("scans/S\xff_t1.nii", 1);
    assert_false(ingest_cohort(&settings, &report, &err));
    assert_int_equal(report.problems.count, 1);
    assert_contains(report.problems.items[0].reason, "the name is not UTF-8");
    ingest_report_release(&report);
}

/* ---- many at once ---------------------------------------------------------------------------- */

static void every_bad_subject_is_listed_in_order(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    assert_int_equal(unlink(scratch("scans/S4/S4_flair.nii")), 0);
    PATCH("scans/S1/S1_t1.nii", 40, int16_t, 9); /* the very first file, too */
    PATCH("scans/S1/S1_t2.nii", 40, int16_t, 9);
    write_mask("scans/S3/S3_seg.nii", 77);
    assert_false(ingest_cohort(&settings, &report, &err));
    assert_contains(err.message, "3 bad subjects; nothing was written");
    static const char *const expected[] = { "S1/S1_t1.nii", "S1/S1_t2.nii", "S3/S3_seg.nii", "" };
    assert_int_equal(report.problems.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(report.problems.items[i].file, expected[i]);
    ingest_report_release(&report);
    assert_int_equal(names_in(scratch_folder), 1);
}

static void when_every_file_is_bad_each_is_listed(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    static const char *const suffixes[] = { "t1", "t1ce", "t2", "flair", "seg" };
    for (int i = 0; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof name, "scans/S%d/S%d_%s.nii", i / 5 + 1, i / 5 + 1, suffixes[i % 5]);
        write_text(scratch(name), "x");
    }
    assert_false(ingest_cohort(&settings, &report, &err));
    assert_contains(err.message, "4 bad subjects");
    assert_int_equal(report.problems.count, 20);
    ingest_report_release(&report);
    settings.on_bad = ON_BAD_SKIP;
    assert_false(ingest_cohort(&settings, &report, &err));
    assert_contains(err.message, "no image is left: every subject was skipped");
    ingest_report_release(&report);
    assert_int_equal(names_in(scratch_folder), 1);
}

static void a_split_that_was_skipped_whole_is_an_error(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    char name[64];
    int holdout = 0;
    for (int i = 1; i <= 4 && !holdout; i++) { /* who it is depends on the seed */
        snprintf(name, sizeof name, "store%d", i);
        struct dataset dataset;
        assert_ok(ingest(&settings, scratch(name), false, &report, &err), err);
        ingest_report_release(&report);
        assert_ok(dataset_open(&dataset, scratch(name), &err), err);
        for (size_t image = 0; image < dataset.count; image++)
            if (dataset.index[image].split == SPLIT_HOLDOUT)
                holdout = dataset.index[image].subject[1] - '0';
        dataset_close(&dataset);
    }
    snprintf(name, sizeof name, "scans/S%d/S%d_t1.nii", holdout, holdout);
    write_text(scratch(name), "x");
    settings.on_bad = ON_BAD_SKIP;
    assert_false(ingest_cohort(&settings, &report, &err));
    assert_contains(err.message, "every subject of the split holdout was skipped");
    ingest_report_release(&report);
    assert_int_equal(path_kind(scratch("store")), PATH_NOTHING);
}

/* ---- the folder ------------------------------------------------------------------------------ */

static void expect_error(const struct ingest_settings *settings, const char *message)
{
    struct ingest_report report;
    assert_false(ingest_cohort(settings, &report, &err));
    assert_contains(err.message, message);
    ingest_report_release(&report);
    assert_int_equal(path_kind(scratch("store")), PATH_NOTHING);
    assert_int_equal(path_kind(scratch("store.partial")), PATH_NOTHING);
}

static void a_folder_without_a_subject_is_an_error(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    make_folder("empty");
    write_text(scratch("empty/notes.txt"), "nothing");
    settings.source = scratch("empty");
    expect_error(&settings, "empty: no scans recognised among 1 files");
    settings.layout = LAYOUT_BRATS;
    expect_error(&settings, "empty: no subject found in the layout brats among 1 files");
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    settings.source = scratch("absent");
    expect_error(&settings, "absent: there is no such folder");
}

static void a_file_in_the_folders_place_is_an_error(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    settings.source = scratch(victim);
    expect_error(&settings, "S2_t2.nii: is a file; give the folder that it is in");
}

/* As a user who may not read it: root may read everything. */
static void a_folder_that_may_not_be_read_is_an_error(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        assert_int_equal(chmod(scratch_folder, 0777), 0);
        assert_int_equal(chmod(scratch("scans"), 0755), 0);
    }
    assert_int_equal(chmod(scratch("scans/S2"), 0), 0);
    pid_t child = fork();
    if (child == 0) {
        struct ingest_settings settings = cohort_settings();
        struct ingest_report report;
        if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(9);
        parallel_set_threads(1);
        bool ok = ingest_cohort(&settings, &report, &err);
        bool told = strstr(err.message, "scans/S2: cannot list this folder: Permission denied");
        _exit(ok ? 1 : told ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(scratch("scans/S2"), 0700), 0);
    assert_int_equal(status, 0);
    assert_int_equal(names_in(scratch_folder), 1);
}

static void a_store_is_no_source(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    assert_ok(ingest(&settings, scratch("first"), false, &report, &err), err);
    ingest_report_release(&report);
    settings.source = scratch("first");
    expect_error(&settings, "first: is a dataset store already");
}

/* ---- a full disk ----------------------------------------------------------------------------- */

static void files_that_may_not_grow_leave_nothing(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct ingest_settings settings = cohort_settings();
        struct ingest_report report;
        struct rlimit limit = { 10000, 10000 };
        parallel_set_threads(1); /* the threads of before are not in the child */
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit))
            _exit(9);
        bool ok = ingest_cohort(&settings, &report, &err);
        _exit(ok ? 1 : strstr(err.message, "File too large") ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(names_in(scratch_folder), 1);
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    make_folder("disk");
    if (mount("tmpfs", scratch("disk"), "tmpfs", 0, "size=12k") != 0)
        skip(); /* needs root and the right to mount */
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    bool ok = ingest(&settings, scratch("disk/store"), false, &report, &err);
    ingest_report_release(&report);
    int left = names_in(scratch("disk"));
    assert_int_equal(umount(scratch("disk")), 0);
    assert_false(ok);
    assert_contains(err.message, "No space left on device");
    assert_int_equal(left, 0);
}

/* ---- what stands in the way ------------------------------------------------------------------ */

static void an_existing_folder_is_never_written_into(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    make_folder("store");
    write_text(scratch("store/mine"), "kept");
    for (int replace = 0; replace < 2; replace++) {
        assert_false(ingest(&settings, scratch("store"), replace, &report, &err));
        assert_contains(err.message, "store: exists already");
        ingest_report_release(&report);
        assert_file_holds(scratch("store/mine"), "kept");
    }
}

static void the_scans_themselves_are_never_replaced(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    assert_false(ingest(&settings, settings.source, true, &report, &err));
    assert_contains(err.message, "scans: exists already and is no dataset store");
    ingest_report_release(&report);
    assert_int_equal(names_in(scratch("scans")), 4);
}

static void a_failure_leaves_the_store_that_was_to_be_replaced(void **state)
{
    (void)state;
    struct ingest_settings settings = cohort_settings();
    struct ingest_report report;
    struct dataset dataset;
    assert_ok(ingest_cohort(&settings, &report, &err), err);
    ingest_report_release(&report);
    write_text(scratch(victim), "x");
    assert_false(ingest(&settings, scratch("store"), true, &report, &err));
    ingest_report_release(&report);
    assert_ok(dataset_open(&dataset, scratch("store"), &err), err);
    assert_ok(dataset_verify(&dataset, &err), err);
    assert_int_equal(dataset.count, 4 * COHORT_Z);
    dataset_close(&dataset);
    assert_int_equal(names_in(scratch_folder), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(truncated_gzip_is_listed),
        TEST(far_more_than_the_header_asks_for_is_listed),
        TEST(corrupt_gzip_is_listed),
        TEST(an_empty_file_is_listed),
        TEST(a_file_that_is_no_image_is_listed),
        TEST(no_dimensions_are_listed),
        TEST(eight_dimensions_are_listed),
        TEST(minus_three_dimensions_are_listed),
        TEST(an_extent_of_zero_is_listed),
        TEST(a_negative_extent_is_listed),
        TEST(more_voxels_than_bytes_are_listed),
        TEST(a_product_that_overflows_is_listed),
        TEST(a_product_beyond_64_bits_is_listed),
        TEST(an_unknown_datatype_is_listed),
        TEST(complex_voxels_are_listed),
        TEST(bits_that_differ_from_the_type_are_listed),
        TEST(voxels_beyond_the_end_are_listed),
        TEST(voxels_inside_the_header_are_listed),
        TEST(voxels_at_half_a_byte_are_listed),
        TEST(voxels_at_no_number_are_listed),
        TEST(a_transform_that_is_no_number_is_listed),
        TEST(a_singular_transform_is_listed),
        TEST(spacing_that_is_no_number_is_listed),
        TEST(scaling_by_no_number_is_listed),
        TEST(a_series_of_volumes_is_listed),
        TEST(a_voxel_that_is_no_number_is_listed),
        TEST(a_voxel_is_named_as_the_file_has_it),
        TEST(an_infinite_voxel_is_listed),
        TEST(an_empty_volume_is_listed),
        TEST(a_volume_below_zero_is_listed),
        TEST(a_volume_of_one_value_is_listed),
        TEST(a_plane_too_narrow_for_the_keep_rule_is_told_as_that),
        TEST(a_t1_without_a_bright_slice_is_listed),
        TEST(a_modality_of_another_shape_is_listed),
        TEST(a_modality_in_another_place_is_listed),
        TEST(a_mask_of_another_shape_is_listed),
        TEST(planes_larger_than_the_canvas_are_listed),
        TEST(a_missing_modality_is_listed),
        TEST(a_missing_mask_is_listed),
        TEST(a_label_outside_the_set_is_listed),
        TEST(a_label_that_is_no_whole_number_is_listed),
        TEST(a_subject_found_twice_is_listed),
        TEST(a_name_that_is_not_utf8_is_listed),
        TEST(every_bad_subject_is_listed_in_order),
        TEST(when_every_file_is_bad_each_is_listed),
        TEST(a_split_that_was_skipped_whole_is_an_error),
        TEST(a_folder_without_a_subject_is_an_error),
        TEST(a_folder_that_is_not_there_is_an_error),
        TEST(a_file_in_the_folders_place_is_an_error),
        TEST(a_folder_that_may_not_be_read_is_an_error),
        TEST(a_store_is_no_source),
        TEST(files_that_may_not_grow_leave_nothing),
        TEST(a_full_disk_leaves_nothing),
        TEST(an_existing_folder_is_never_written_into),
        TEST(the_scans_themselves_are_never_replaced),
        TEST(a_failure_leaves_the_store_that_was_to_be_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
