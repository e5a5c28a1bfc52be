/* Folders of masks: partners, geometry, what is refused. */
#include "scratch.h"

#include "audit/score.h"
#include "base/json.h"
#include "data/nifti.h"

#include <math.h>

enum { SIDE = 6, VOXELS = SIDE * SIDE * SIDE };

/* A mask whose first `ones` voxels are `label`. */
static void write_mask(const char *path, uint8_t label, size_t ones, double spacing)
{
    uint8_t voxels[VOXELS] = { 0 };
    struct nifti_output output = { .shape = { SIDE, SIDE, SIDE }, .type = VOXEL_UINT8 };
    struct error err;
    memset(voxels, label, ones);
    output.voxels = voxels;
    nifti_lps_affine((double[]){ spacing, spacing, spacing }, (double[]){ 0, 0, 0 }, output.affine);
    assert_ok(nifti_write(path, &output, &err), err);
}

static int make_folders(void **state)
{
    struct error err;
    return scratch_make(state) || !folder_create(scratch("truth/a"), &err) ||
           !folder_create(scratch("pred"), &err);
}

static bool score(struct score *result, struct yaml_strings classes, struct error *err)
{
    static char truth[600], prediction[600];
    snprintf(truth, sizeof truth, "%s", scratch("truth"));
    snprintf(prediction, sizeof prediction, "%s", scratch("pred"));
    return score_folders(&(struct score_job){ truth, prediction, classes, REGIONS_AUTO }, result,
                         err);
}

static void masks_pair_by_their_subject(void **state)
{
    (void)state;
    struct score result;
    struct error err;
    write_mask(scratch("truth/a/a_seg.nii.gz"), 4, 10, 2);
    write_mask(scratch("truth/a/a_t1.nii.gz"), 9, 10, 2); /* an image: no mark of a mask */
    write_mask(scratch("truth/b-seg.nii"), 1, 4, 2);
    write_mask(scratch("pred/a.nii.gz"), 4, 5, 2);
    write_mask(scratch("pred/b.nii.gz"), 1, 4, 2);
    assert_ok(score(&result, (struct yaml_strings){ 0 }, &err), err);
    assert_int_equal(result.subject_count, 2);
    assert_int_equal(result.ignored, 1);
    assert_int_equal(result.class_count, 5); /* 1, 4, whole, core, enhancing */
    assert_int_equal(result.region_count, 3);
    assert_string_equal(result.classes[1].name, "4");
    const struct overlap *a = &result.rows[1];
    assert_true(fabs(a->value[METRIC_DICE] - 2 * 5.0 / 15) < 1e-15);
    assert_true(fabs(a->value[METRIC_VOLUME_DIFFERENCE] + 5 * 8.0 / 1000) < 1e-12);
    assert_int_equal(result.summaries[1].both_empty, 1);
    score_release(&result);
}

static void every_lonely_mask_is_named(void **state)
{
    (void)state;
    struct score result;
    struct error err;
    write_mask(scratch("truth/a.nii"), 1, 3, 1);
    write_mask(scratch("truth/b.nii"), 1, 3, 1);
    write_mask(scratch("pred/b.nii"), 1, 3, 1);
    write_mask(scratch("pred/c.nii"), 1, 3, 1);
    assert_false(score(&result, (struct yaml_strings){ 0 }, &err));
    assert_int_equal(result.problems.count, 2);
    assert_string_equal(result.problems.items[0].subject, "a");
    assert_string_equal(result.problems.items[1].subject, "c");
    score_release(&result);
}

static void a_subject_with_two_masks_is_named_on_either_side(void **state)
{
    (void)state;
    struct score result;
    struct error err;
    write_mask(scratch("truth/a.nii"), 1, 3, 1);
    write_mask(scratch("truth/a.nii.gz"), 1, 3, 1);
    write_mask(scratch("truth/b.nii"), 1, 3, 1);
    write_mask(scratch("pred/a.nii"), 1, 3, 1);
    write_mask(scratch("pred/b.nii"), 1, 3, 1);
    write_mask(scratch("pred/b.nii.gz"), 1, 3, 1);
    assert_false(score(&result, (struct yaml_strings){ 0 }, &err));
    assert_int_equal(result.problems.count, 2);
    assert_string_equal(result.problems.items[0].file, "a.nii.gz");
    assert_contains(result.problems.items[0].reason, "a second mask of this subject in ");
    assert_string_equal(result.problems.items[1].file, "b.nii.gz");
    assert_contains(result.problems.items[1].reason, "pred: b.nii");
    score_release(&result);
}

/* A cohort may be a folder of links, here as for ingest. */
static void masks_in_linked_folders_are_found(void **state)
{
    (void)state;
    struct score result;
    struct error err;
    write_mask(scratch("truth/a/a_seg.nii"), 1, 3, 1);
    assert_ok(folder_create(scratch("elsewhere/a"), &err), err);
    write_mask(scratch("elsewhere/a/a_seg.nii"), 1, 3, 1);
    assert_int_equal(symlink(scratch("elsewhere/a"), scratch("pred/a")), 0);
    assert_ok(score(&result, (struct yaml_strings){ 0 }, &err), err);
    assert_int_equal(result.subject_count, 1);
    score_release(&result);
}

static void other_grids_are_refused(void **state)
{
    (void)state;
    struct score result;
    struct error err;
    write_mask(scratch("truth/a.nii"), 1, 3, 1);
    write_mask(scratch("pred/a.nii"), 1, 3, 1.5);
    assert_false(score(&result, (struct yaml_strings){ 0 }, &err));
    assert_int_equal(result.problems.count, 1);
    assert_contains(result.problems.items[0].reason, "different grids");
    score_release(&result);
}

static void a_class_that_never_occurs_is_told(void **state)
{
    (void)state;
    struct score result;
    struct error err;
    const char *asked[] = { "tumour=1+4", "7" };
    write_mask(scratch("truth/a.nii"), 1, 3, 1);
    write_mask(scratch("pred/a.nii"), 1, 3, 1);
    assert_ok(score(&result, (struct yaml_strings){ asked, 2 }, &err), err);
    assert_true(result.summaries[0].metric[METRIC_DICE].mean == 1);
    assert_int_equal(result.summaries[1].metric[METRIC_DICE].count, 0);
    assert_true(isnan(result.summaries[1].metric[METRIC_DICE].mean));
    struct json *document = score_json(&result);
    bool occurs = true;
    assert_ok(json_get_bool(json_at(json_get_array(document, "classes", &err), 1),
                            "occurs_in_truth", &occurs, &err),
              err);
    assert_false(occurs);
    json_free(document);
    score_release(&result);
}

static void voxels_that_are_no_labels_are_refused(void **state)
{
    (void)state;
    struct score result;
    struct error err;
    float voxels[VOXELS] = { 0.5f };
    struct nifti_output output = { .shape = { SIDE, SIDE, SIDE },
                                   .type = VOXEL_FLOAT32,
                                   .voxels = voxels };
    nifti_lps_affine((double[]){ 1, 1, 1 }, (double[]){ 0, 0, 0 }, output.affine);
    assert_ok(nifti_write(scratch("truth/a.nii"), &output, &err), err);
    write_mask(scratch("pred/a.nii"), 1, 3, 1);
    assert_false(score(&result, (struct yaml_strings){ 0 }, &err));
    assert_contains(result.problems.items[0].reason, "is 0.5; labels are whole numbers");
    score_release(&result);
}

static void classes_are_parsed_strictly(void **state)
{
    (void)state;
    struct arena arena;
    struct label_set set;
    struct error err;
    arena_init(&arena);
    assert_ok(label_set_parse("core=1+4", &set, &arena, &err), err);
    assert_string_equal(set.name, "core");
    assert_true(set.holds[1] && set.holds[4] && !set.holds[2] && !set.holds[0]);
    static const char *const wrong[] = { "0", "256", "core=", "core=1+", "=1", "1;2", "x", "" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(label_set_parse(wrong[i], &set, &arena, &err));
    arena_release(&arena);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folders, scratch_remove)
    const struct CMUnitTest tests[] = {
        TEST(masks_pair_by_their_subject),
        TEST(every_lonely_mask_is_named),
        TEST(a_subject_with_two_masks_is_named_on_either_side),
        TEST(masks_in_linked_folders_are_found),
        TEST(other_grids_are_refused),
        TEST(a_class_that_never_occurs_is_told),
        TEST(voxels_that_are_no_labels_are_refused),
        cmocka_unit_test(classes_are_parsed_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
