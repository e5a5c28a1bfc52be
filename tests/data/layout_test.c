#include "cohort.h"

#include "data/layout.h"

static struct error err;
static struct arena arena;
static struct problems problems;
static struct scan_list list;

static int setup(void **state)
{
    arena_init(&arena);
    problems_init(&problems);
    if (scratch_make(state))
        return -1;
    make_folder("scans");
    return 0;
}

static int teardown(void **state)
{
    arena_release(&arena);
    problems_release(&problems);
    return scratch_remove(state);
}

/* Layouts look at names alone. */
static void touch(const char *name)
{
    char path[300];
    struct arena here;
    arena_init(&here);
    snprintf(path, sizeof path, "scans/%s", name);
    assert_ok(folder_create(path_parent(&here, scratch(path)), &err), err);
    write_text(scratch(path), "");
    arena_release(&here);
}

static void touch_all(const char *const *names)
{
    for (; *names; names++)
        touch(*names);
}

static bool find(enum layout layout, struct yaml_strings channels, const char *mask)
{
    struct layout_request request = { scratch("scans"), layout, channels, mask, false };
    return layout_find(&request, &list, &problems, &arena, &err);
}

static bool find_auto(void)
{
    return find(LAYOUT_AUTO, (struct yaml_strings){ 0 }, NULL);
}

static void assert_scan(size_t i, const char *subject, const char *session, const char *first,
                        const char *mask)
{
    assert_true(i < list.count);
    assert_string_equal(list.scans[i].subject, subject);
    assert_string_equal(list.scans[i].session, session);
    assert_string_equal(list.scans[i].files[0], first);
    if (mask)
        assert_string_equal(list.scans[i].mask, mask);
    else
        assert_null(list.scans[i].mask);
}

/* ---- brats ----------------------------------------------------------------------------------- */

static void brats_2020_and_2021_are_recognised(void **state)
{
    (void)state;
    touch_all((const char *[]){ "BraTS20_Training_001/BraTS20_Training_001_t1.nii",
                                "BraTS20_Training_001/BraTS20_Training_001_t1ce.nii",
                                "BraTS20_Training_001/BraTS20_Training_001_t2.nii",
                                "BraTS20_Training_001/BraTS20_Training_001_flair.nii",
                                "BraTS20_Training_001/BraTS20_Training_001_seg.nii",
                                "BraTS2021_00000_t1.nii.gz", "BraTS2021_00000_t1ce.nii.gz",
                                "BraTS2021_00000_t2.nii.gz", "BraTS2021_00000_FLAIR.NII.GZ",
                                "BraTS2021_00000_seg.nii.gz", "name_mapping.csv", NULL });
    assert_ok(find_auto(), err);
    assert_int_equal(list.layout, LAYOUT_BRATS);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.subject_count, 2);
    assert_int_equal(list.ignored, 1);
    assert_int_equal(problems.count, 0);
    assert_scan(0, "BraTS2021_00000", "", "BraTS2021_00000_t1.nii.gz",
                "BraTS2021_00000_seg.nii.gz");
    assert_string_equal(list.scans[0].files[3], "BraTS2021_00000_FLAIR.NII.GZ");
    assert_scan(1, "BraTS20_Training_001", "", "BraTS20_Training_001/BraTS20_Training_001_t1.nii",
                "BraTS20_Training_001/BraTS20_Training_001_seg.nii");
    assert_string_equal(list.scans[1].files[1],
                        "BraTS20_Training_001/BraTS20_Training_001_t1ce.nii");
}

static void touch_2023(const char *scan)
{
    static const char *const suffixes[] = { "t1n", "t1c", "t2w", "t2f", "seg" };
    char name[100];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%s-%s.nii.gz", scan, suffixes[i]);
        touch(name);
    }
}

static void time_points_of_brats_2023_are_one_subject(void **state)
{
    (void)state;
    touch_2023("BraTS-GLI-00005-000");
    touch_2023("BraTS-GLI-00005-001");
    touch_2023("BraTS-GLI-00006-000");
    assert_ok(find_auto(), err);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.subject_count, 2);
    assert_scan(0, "BraTS-GLI-00005", "000", "BraTS-GLI-00005-000-t1n.nii.gz",
                "BraTS-GLI-00005-000-seg.nii.gz");
    assert_scan(1, "BraTS-GLI-00005", "001", "BraTS-GLI-00005-001-t1n.nii.gz",
                "BraTS-GLI-00005-001-seg.nii.gz");
    assert_string_equal(list.scans[2].files[1], "BraTS-GLI-00006-000-t1c.nii.gz");
}

static void a_number_alone_is_no_time_point(void **state)
{
    (void)state;
    touch_2023("sub-001");
    touch_2023("sub-002");
    touch_2023("Foo-00001-abc");
    assert_ok(find_auto(), err);
    assert_int_equal(list.subject_count, 3);
    assert_string_equal(list.scans[0].subject, "Foo-00001-abc");
    assert_string_equal(list.scans[1].subject, "sub-001");
}

static void only_the_channels_asked_for_are_needed_in_their_order(void **state)
{
    (void)state;
    touch_all((const char *[]){ "A_flair.nii", "A_t1.nii", "A_t2.nii", NULL });
    struct yaml_strings channels = { (const char *[]){ "flair", "t1" }, 2 };
    assert_ok(find(LAYOUT_AUTO, channels, NULL), err);
    assert_int_equal(list.channel_count, 2);
    assert_scan(0, "A", "", "A_flair.nii", NULL);
    assert_false(list.masks);
    channels.items[1] = "t9";
    assert_false(find(LAYOUT_BRATS, channels, NULL));
    assert_contains(err.message, "the channel \"t9\" is not of the layout brats");
    channels.items[1] = "flair";
    assert_false(find(LAYOUT_BRATS, channels, NULL));
    assert_contains(err.message, "the channel \"flair\" is named twice");
}

static void masks_are_all_or_none(void **state)
{
    (void)state;
    touch_all((const char *[]){ "A_t1.nii", "A_seg.nii", "B_t1.nii", NULL });
    struct yaml_strings channels = { (const char *[]){ "t1" }, 1 };
    assert_ok(find(LAYOUT_BRATS, channels, NULL), err);
    assert_int_equal(list.count, 1);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.items[0].subject, "B");
    struct layout_request request = { scratch("scans"), LAYOUT_BRATS, channels, NULL, true };
    assert_ok(layout_find(&request, &list, &problems, &arena, &err), err);
    assert_int_equal(list.count, 2);
    assert_int_equal(problems.count, 1);
    assert_false(list.masks);
}

/* ---- bids ------------------------------------------------------------------------------------ */

static void bids_sessions_contrast_and_derived_masks_are_found(void **state)
{
    (void)state;
    touch_all((const char *[]){
        "dataset_description.json", "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_ce-gd_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz", "sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_ce-gd_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_T2w.nii.gz", "sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii.gz",
        "derivatives/seg/sub-01/ses-a/sub-01_ses-a_dseg.nii.gz",
        "derivatives/seg/sub-01/ses-b/sub-01_ses-b_dseg.nii.gz",
        "derivatives/other/sub-01/sub-01_ses-a_desc-preproc_T1w.nii.gz",
        "site/derivatives/other/sub-01/sub-01_ses-a_desc-preproc_T1w.nii.gz",
        "sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.nii.gz", NULL });
    assert_ok(find_auto(), err);
    assert_int_equal(list.layout, LAYOUT_BIDS);
    assert_int_equal(problems.count, 0);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.subject_count, 1);
    assert_scan(0, "sub-01", "a", "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
                "derivatives/seg/sub-01/ses-a/sub-01_ses-a_dseg.nii.gz");
    assert_string_equal(list.scans[0].files[1], "sub-01/ses-a/anat/sub-01_ses-a_ce-gd_T1w.nii.gz");
    assert_scan(1, "sub-01", "b", "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz",
                "derivatives/seg/sub-01/ses-b/sub-01_ses-b_dseg.nii.gz");
}

/* So what a segmenter says of a scan pairs with the mask that the layout has of it. */
static void scans_are_named_as_their_files_begin(void **state)
{
    (void)state;
    static const struct {
        enum layout layout;
        struct scan scan;
        const char *name;
    } rows[] = {
        { LAYOUT_BRATS,
          { .subject = "BraTS20_Training_001", .session = "" },
          "BraTS20_Training_001" },
        { LAYOUT_BRATS, { .subject = "BraTS-GLI-00005", .session = "100" }, "BraTS-GLI-00005-100" },
        { LAYOUT_BIDS, { .subject = "sub-01", .session = "" }, "sub-01" },
        { LAYOUT_BIDS, { .subject = "sub-01", .session = "b" }, "sub-01_ses-b" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(scan_name(rows[i].layout, &rows[i].scan, &arena), rows[i].name);
}

static void masks_found_twice_may_be_left_out(void **state)
{
    (void)state;
    touch_all((const char *[]){ "sub-1/sub-1_T1w.nii", "derivatives/a/sub-1/sub-1_dseg.nii",
                                "derivatives/a/sub-1/sub-1_desc-brain_mask.nii", NULL });
    assert_ok(find(LAYOUT_BIDS, (struct yaml_strings){ (const char *[]){ "t1" }, 1 }, NULL), err);
    assert_int_equal(problems.count, 1);
    assert_contains(problems.items[0].reason, "or leave all out with masks: none");
}

/* A folder of scans in another format is not one of scans with other names. */
static void formats_that_are_not_read_are_named_with_a_remedy(void **state)
{
    (void)state;
    touch_all(
        (const char *[]){ "S1/S1_t1.nrrd", "S1/IM001.dcm", "S1/IM002.DCM", "notes.txt", NULL });
    assert_false(find_auto());
    assert_contains(err.message, "no scans recognised among 4 files; 2 are DICOM, which are not "
                                 "read: convert them to NIfTI, as with dcm2niix");
    assert_false(find(LAYOUT_BRATS, (struct yaml_strings){ 0 }, NULL));
    assert_contains(err.message, "layout brats among 4 files; 2 are DICOM");
}

/* A patient whose scans are of another format is not left out without a word. */
static void scans_beside_others_that_are_not_read_are_told(void **state)
{
    (void)state;
    struct yaml_strings t1 = { (const char *[]){ "t1" }, 1 };
    touch_all((const char *[]){ "S1/S1_t1.nii", "notes.txt", NULL });
    assert_ok(find(LAYOUT_AUTO, t1, NULL), err);
    assert_null(list.foreign);
    touch_all((const char *[]){ "S2/S2_t1.hdr", "S2/S2_t1.img", NULL });
    assert_ok(find(LAYOUT_AUTO, t1, NULL), err);
    assert_int_equal(list.count, 1);
    assert_contains(list.foreign, "2 are pairs of NIfTI or ANALYZE, which are not read: make one");
}

static void two_runs_of_one_modality_are_a_problem(void **state)
{
    (void)state;
    touch_all((const char *[]){ "sub-1/sub-1_run-1_T1w.nii", "sub-1/sub-1_run-2_T1w.nii", NULL });
    assert_ok(find(LAYOUT_BIDS, (struct yaml_strings){ (const char *[]){ "t1" }, 1 }, NULL), err);
    assert_int_equal(list.count, 0);
    assert_int_equal(problems.count, 1);
    assert_contains(problems.items[0].reason, "found twice");
}

/* ---- glob ------------------------------------------------------------------------------------ */

static void captures_group_files_and_order_slices_by_number(void **state)
{
    (void)state;
    touch_all((const char *[]){ "p1/v1/t1/10.png", "p1/v1/t2/10.png", "p1/v1/t1/9.png",
                                "p1/v1/t2/9.png", "p1/v1/mask/9.png", "p1/v1/mask/10.png", NULL });
    struct yaml_strings channels = { (const char *[]){ "t2={subject}/{session}/t2/{slice}.png",
                                                       "t1={subject}/{session}/t1/{slice}.png" },
                                     2 };
    assert_ok(find(LAYOUT_GLOB, channels, "{subject}/{session}/mask/{slice}.png"), err);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.channels[0], "t2");
    assert_scan(0, "p1", "v1", "p1/v1/t2/9.png", "p1/v1/mask/9.png");
    assert_scan(1, "p1", "v1", "p1/v1/t2/10.png", "p1/v1/mask/10.png");
    assert_int_equal(list.scans[0].slice, 9);
    assert_int_equal(list.scans[1].slice, 10);
}

static void a_glob_channel_needs_a_name_and_a_subject(void **state)
{
    (void)state;
    touch("x");
    assert_false(find(LAYOUT_GLOB, (struct yaml_strings){ 0 }, NULL));
    assert_contains(err.message, "the layout glob needs channels");
    assert_false(find(LAYOUT_GLOB, (struct yaml_strings){ (const char *[]){ "t1" }, 1 }, NULL));
    assert_contains(err.message, "expected NAME=PATTERN");
    assert_false(find(LAYOUT_GLOB, (struct yaml_strings){ (const char *[]){ "t1=*" }, 1 }, NULL));
    assert_contains(err.message, "with {subject} in the pattern");
}

static void globs_match_as_documented(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path, *subject, *session; /* subject NULL: no match */
    } rows[] = {
        { "{subject}_t1.nii", "a_t1.nii", "a", NULL },
        { "{subject}_t1.nii", "x/a_t1.nii", NULL, NULL },
        { "**/{subject}_t1.nii", "x/y/sub01_t1.nii", "sub01", NULL },
        { "**/{subject}_t1.nii", "sub01_t1.nii", "sub01", NULL },
        { "**/{subject}/t1.nii", "x/y/sub01/t1.nii", "sub01", NULL },
        { "**/{subject}/t1.nii", "x/y/sub01/my_t1.nii", NULL, NULL },
        { "{subject}/**/t1.nii", "a/b/c/t1.nii", "a", NULL },
        { "{subject}/**/t1.nii", "a/t1.nii", "a", NULL },
        { "{subject}/**/t1.nii", "a/b/not1.nii", NULL, NULL },
        { "{subject}/**", "a/b/c", "a", NULL },
        { "{subject}/{subject}_t1.nii", "a/a_t1.nii", "a", NULL },
        { "{subject}/{subject}_t1.nii", "a/b_t1.nii", NULL, NULL },
        { "{subject}_{session}.nii", "a_b_c.nii", "a_b", "c" },
        { "*/{subject}.nii", "x/a.nii", "a", NULL },
        { "*/{subject}.nii", "x/y/a.nii", NULL, NULL },
        { "?/{subject}.nii", "x/a.nii", "a", NULL },
        { "?/{subject}.nii", "xy/a.nii", NULL, NULL },
        { "{subject}/{slice}.png", "a/007.png", "a", NULL },
        { "{subject}/{slice}.png", "a/x7.png", NULL, NULL },
        { "{subject}.nii", ".nii", NULL, NULL },
        { "{unknown}/{subject}", "{unknown}/a", "a", NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct glob_captures captures = { 0 };
        bool matches = glob_match(rows[i].pattern, rows[i].path, &captures, &arena);
        if (matches != (rows[i].subject != NULL))
            fail_msg("%s %s", rows[i].pattern, rows[i].path);
        if (!matches)
            continue;
        assert_string_equal(captures.subject, rows[i].subject);
        if (rows[i].session)
            assert_string_equal(captures.session, rows[i].session);
    }
}

/* ---- links ----------------------------------------------------------------------------------- */

static void linked_files_are_found(void **state)
{
    (void)state;
    make_folder("elsewhere");
    write_text(scratch("elsewhere/x.nii"), "");
    assert_int_equal(symlink("../elsewhere/x.nii", scratch("scans/A_t1.nii")), 0);
    assert_ok(find(LAYOUT_BRATS, (struct yaml_strings){ (const char *[]){ "t1" }, 1 }, NULL), err);
    assert_scan(0, "A", "", "A_t1.nii", NULL);
}

static const char *reason_of(const char *subject, const char *file)
{
    for (size_t i = 0; i < problems.count; i++)
        if (strcmp(problems.items[i].subject, subject) == 0 &&
            strcmp(problems.items[i].file, file) == 0)
            return problems.items[i].reason;
    return "no such problem";
}

/* Cohorts are often folders of links to a disk that may not be there. */
static void a_link_that_leads_nowhere_is_told_as_that(void **state)
{
    (void)state;
    for (int s = 0; s < 4; s++)
        for (int c = 0; c < 5; c++) {
            static const char *const names[] = { "t1", "t1ce", "t2", "flair", "seg" };
            touch(arena_format(&arena, "S%d/S%d_%s.nii.gz", s, s, names[c]));
        }
    struct {
        const char *target, *link;
    } links[] = { { "/gone/S1_t2.nii.gz", "scans/S1/S1_t2.nii.gz" },
                  { "/gone/S2_seg.nii.gz", "scans/S2/S2_seg.nii.gz" },
                  { "/gone/S9", "scans/S9" },              /* it was a subject */
                  { "/gone/README", "scans/README.md" } }; /* and this was none */
    for (size_t i = 0; i < 4; i++) {
        unlink(scratch(links[i].link));
        assert_int_equal(symlink(links[i].target, scratch(links[i].link)), 0);
    }
    assert_ok(find_auto(), err);
    assert_int_equal(problems.count, 3);
    assert_string_equal(
        reason_of("S1", "S1/S1_t2.nii.gz"),
        "a link that leads nowhere (/gone/S1_t2.nii.gz: No such file or directory)");
    assert_contains(reason_of("S2", "S2/S2_seg.nii.gz"), "a link that leads nowhere");
    assert_contains(reason_of("S9", "S9"), "a link that leads nowhere (/gone/S9: ");
    assert_int_equal(list.count, 2);
}

static void a_folder_of_nothing_but_dead_links_says_so(void **state)
{
    (void)state;
    assert_int_equal(symlink("/gone/S1_t1.nii", scratch("scans/S1_t1.nii")), 0);
    assert_false(find_auto());
    assert_contains(err.message, "no scans recognised among 0 files, and 1 link leads nowhere, as "
                                 "S1_t1.nii: a link that leads nowhere (/gone/S1_t1.nii: No such");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(brats_2020_and_2021_are_recognised),
        TEST(time_points_of_brats_2023_are_one_subject),
        TEST(a_number_alone_is_no_time_point),
        TEST(only_the_channels_asked_for_are_needed_in_their_order),
        TEST(masks_are_all_or_none),
        TEST(bids_sessions_contrast_and_derived_masks_are_found),
        TEST(scans_are_named_as_their_files_begin),
        TEST(masks_found_twice_may_be_left_out),
        TEST(formats_that_are_not_read_are_named_with_a_remedy),
        TEST(scans_beside_others_that_are_not_read_are_told),
        TEST(two_runs_of_one_modality_are_a_problem),
        TEST(captures_group_files_and_order_slices_by_number),
        TEST(a_glob_channel_needs_a_name_and_a_subject),
        TEST(globs_match_as_documented),
        TEST(linked_files_are_found),
        TEST(a_link_that_leads_nowhere_is_told_as_that),
        TEST(a_folder_of_nothing_but_dead_links_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
