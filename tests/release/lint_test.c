/* What the privacy lint finds, one leak at a time, and what it leaves in peace. */
#include "test.h"

#include "base/arena.h"
#include "data/gzip.h"
#include "data/nifti.h"
#include "data/npy.h"
#include "data/png.h"
#include "release/lint.h"

static struct error err;
static struct lint *lint;
static struct text findings;

static int setup(void **state)
{
    (void)state;
    lint = lint_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lint_free(lint);
    text_release(&findings);
    return 0;
}

static void expect(const char *path, const void *bytes, size_t size, const char *found)
{
    text_clear(&findings);
    bool clean = lint_file(lint, path, bytes, size, &findings);
    assert_true(clean == !found);
    if (found)
        assert_contains(findings.bytes, found);
    else if (findings.length)
        fail_msg("%s", findings.bytes);
}

static void expect_text(const char *path, const char *text, const char *found)
{
    expect(path, text, strlen(text), found);
}

/* ---- NIfTI ----------------------------------------------------------------------------------- */

static unsigned char *volume(size_t *size)
{
    static const uint8_t voxels[4 * 4 * 2];
    static const double spacing[3] = { 1, 1, 1 }, origin[3];
    struct nifti_output output = { .shape = { 4, 4, 2 },
                                   .type = VOXEL_UINT8,
                                   .voxels = voxels,
                                   .descrip = SYNTHETIC_PHRASE,
                                   .intent_name = SYNTHETIC_NAME };
    nifti_lps_affine(spacing, origin, output.affine);
    unsigned char *bytes = nifti_encode(&output, false, size, &err);
    assert_ok(bytes, err);
    return bytes;
}

static void our_own_volumes_are_clean(void **state)
{
    (void)state;
    size_t size, packed_size;
    unsigned char *bytes = volume(&size);
    expect("a.nii", bytes, size, NULL);
    unsigned char *packed = gzip_compress(bytes, size, 6, &packed_size, &err);
    expect("a.nii.gz", packed, packed_size, NULL);
    memory_free(packed);
    memory_free(bytes);
}

static void every_free_byte_of_a_header_is_found(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        const char *found;
    } leaks[] = {
        { 4, "data_type" },   { 14, "db_name" },         { 31, "db_name" },
        { 32, "extents" },    { 36, "session_error" },   { 39, "dim_info" },
        { 56, "intent_p1" },  { 74, "slice_start" },     { 120, "slice_end" },
        { 124, "cal_max" },   { 132, "slice_duration" }, { 136, "toffset" },
        { 140, "glmax" },     { 148, "descrip" },        { 227, "descrip" },
        { 228, "aux_file" },  { 328, "intent_name" },    { 343, "intent_name" },
        { 348, "extension" }, { 349, "gap between" },
    };
    for (size_t i = 0; i < sizeof leaks / sizeof *leaks; i++) {
        size_t size;
        unsigned char *bytes = volume(&size);
        bytes[leaks[i].offset] ^= 0x40;
        expect("a.nii", bytes, size, leaks[i].found);
        memory_free(bytes);
    }
}

static void numbers_of_axes_that_are_not_there_are_found(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = volume(&size);
    bytes[40 + 2 * 6] = 77; /* dim[6] */
    expect("a.nii", bytes, size, "an axis 6");
    memory_free(bytes);
    bytes = volume(&size);
    bytes[76 + 4 * 7] = 77; /* pixdim[7] */
    expect("a.nii", bytes, size, "an axis 7");
    memory_free(bytes);
}

static void bytes_before_and_after_the_voxels_are_found(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = volume(&size);
    unsigned char *longer = memory_allocate(size + 32, 1, "bytes", &err);
    memcpy(longer, bytes, size);
    expect("a.nii", longer, size + 5, "5 bytes follow the last voxel");
    memcpy(longer, bytes, 352);
    memcpy(longer + 352 + 16, bytes + 352, size - 352);
    const float offset = 368;
    memcpy(longer + 108, &offset, 4);
    expect("a.nii", longer, size + 16, NULL); /* an empty gap says nothing */
    longer[360] = 'x';
    expect("a.nii", longer, size + 16, "gap between");
    memory_free(longer);
    memory_free(bytes);
}

static void names_times_and_more_members_in_gzip_are_found(void **state)
{
    (void)state;
    size_t size, packed_size;
    unsigned char *bytes = volume(&size);
    unsigned char *packed = gzip_compress(bytes, size, 6, &packed_size, &err);
    unsigned char *two = memory_allocate(2 * packed_size, 1, "bytes", &err);
    memcpy(two, packed, packed_size);
    two[4] = 1;
    expect("a.nii.gz", two, packed_size, "holds a time");
    two[4] = 0;
    two[3] = 8;
    memmove(two + 16, two + 10, packed_size - 10);
    memcpy(two + 10, "Smith", 6);
    expect("a.nii.gz", two, packed_size + 6, "holds a file name");
    memcpy(two, packed, packed_size);
    static const unsigned char empty[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff,
                                           3,    0,    0, 0, 0, 0, 0, 0, 0, 0 };
    memcpy(two + packed_size, empty, sizeof empty);
    expect("a.nii.gz", two, packed_size + sizeof empty, "2 gzip members");
    expect("a.nii.gz", bytes, size, "no gzip");
    memory_free(two);
    memory_free(packed);
    memory_free(bytes);
}

/* ---- PNG, .npy ------------------------------------------------------------------------------- */

static void a_png_holds_nothing_but_pixels_and_the_marker(void **state)
{
    (void)state;
    static const uint8_t pixels[16];
    const struct png_image image = { 4, 4, 1, 8, (void *)(uintptr_t)pixels };
    const struct png_text marker = { SYNTHETIC_KEYWORD, SYNTHETIC_PHRASE };
    const struct png_text other = { SYNTHETIC_KEYWORD, "Anna Karlsson" };
    size_t size;
    unsigned char *bytes = png_encode(&image, &marker, &size, &err);
    expect("a.png", bytes, size, NULL);
    expect("a.png", bytes, size - 1, "ends before its end");
    unsigned char *longer = memory_allocate(size + 3, 1, "bytes", &err);
    memcpy(longer, bytes, size);
    expect("a.png", longer, size + 3, "3 bytes follow the image");
    memory_free(longer);
    memory_free(bytes);
    bytes = png_encode(&image, &other, &size, &err);
    expect("a.png", bytes, size, "chunk tEXt");
    memory_free(bytes);
}

static void an_array_holds_nothing_after_its_data(void **state)
{
    (void)state;
    unsigned char bytes[NPY_WRITTEN_HEADER + 9] = { 0 };
    npy_header(ELEMENT_UINT8, 1, (size_t[]){ 8 }, (char *)bytes);
    expect("a.npy", bytes, sizeof bytes - 1, NULL);
    expect("a.npy", bytes, sizeof bytes, "cannot be read");
}

/* ---- words ----------------------------------------------------------------------------------- */

static void names_of_the_source_are_found_wherever_they_stand(void **state)
{
    (void)state;
    lint_add_source(lint, "BraTS20_Training_001");
    lint_add_source(lint, "scans/Karlsson/Karlsson_t1.nii.gz");
    expect_text("a.txt", "made from BraTS20_Training_001.", "a name of the source data");
    expect_text("a.txt", "see brats20_training_001_t1.nii", "\"brats20_training_001\"");
    expect_text("a.txt", "the case of Karlsson, in t1", "\"Karlsson\"");
    expect_text("a.json", "{ \"x\": [ { \"BraTS20_Training_001\": 1 } ] }", "BraTS20_Training_001");
    expect_text("a.json", "{ \"x\": \"of Karlsson\" }", "\"Karlsson\"");
    expect_text("data/BraTS20_Training_001/x.txt", "", "a name of the source data");
    expect_text("a.csv", "id,x\nBraTS20_Training_001,1\n", "a name of the source data");
    expect_text("a.html", "<p title=\"Karlsson\">", "\"Karlsson\"");
    expect_text("a.txt", "BraTS20_Training_002, Training, t1, scans, nii", NULL);
}

static void names_too_plain_to_tell_anybody_are_passed_over(void **state)
{
    (void)state;
    lint_add_source(lint, "7");
    lint_add_source(lint, "t1");
    lint_add_source(lint, "train/flair.nii.gz");
    expect_text("a.txt", "7 images in t1 and flair for train", NULL);
}

static void dates_and_personal_numbers_are_found(void **state)
{
    (void)state;
    static const char *const found[] = { "born 1957-03-12", "on 2019/11/03.", "12.03.1957",
                                         "03/12/1957",      "12/31/1999",     "570312-1234",
                                         "19570312-1234",   "570312+1234",    "2019-11-03T12:00" };
    static const char *const clean[] = { "version 1.2.3", "1957-13-12",  "0.12.1957",
                                         "12-03",         "123456-7890", "size 20190101",
                                         "2201-01-01",    "x1957-03-12", "1957-03-123" };
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        expect_text("a.md", found[i], i < 5 || i > 7 ? "a date" : "a personal number");
    for (size_t i = 0; i < sizeof clean / sizeof *clean; i++)
        expect_text("a.md", clean[i], NULL);
    expect_text("a.csv", "scan,20190101\n", "a date"); /* in a cell it is no size */
    expect_text("scan_20190101.txt", "", "a date");
    expect_text("a.json", "{ \"bytes\": 20190101 }", NULL);
}

static void identifiers_addresses_and_paths_are_found(void **state)
{
    (void)state;
    expect_text("a.md", "UID 1.2.840.113619.2.55.3 of", "a DICOM identifier");
    expect_text("a.md", "ask anna@hospital.se for", "an e-mail address");
    expect_text("a.md", "from /home/anna/scans", "a path of a machine");
    expect_text("a.md", "from \"C:\\scans\\x\"", "a path of a machine");
    expect_text("a.md", "from \\\\server\\scans", "a path of a machine");
    expect_text("a.md", "file:///srv", "a path of a machine");
    expect_text("a.html", "<p>and/or</p> https://x.org/a/b <a href='b/c'>", NULL);
    expect_text("a.json", "{ \"@id\": \"./\", \"@type\": \"x\" }", NULL);
}

static void what_the_steward_publishes_is_allowed(void **state)
{
    (void)state;
    lint_allow(lint, "2026-11-22");
    lint_allow(lint, "Data Hub <hub@hospital.se>");
    expect_text("a.md", "Released 2026-11-22, ask hub@hospital.se", NULL);
    expect_text("a.md", "Released 2026-11-23", "a date");
    expect_text("a.md", "ask other@hospital.se", "an e-mail address");
}

static void what_cannot_be_looked_into_is_reported(void **state)
{
    (void)state;
    expect_text("a.pdf", "x", "of a kind that the lint cannot look into");
    expect_text("a.dcm", "x", "of a kind that the lint cannot look into");
    expect_text("a.json", "{ \"a\": ", "cannot be read");
    expect_text("a.nii", "short", "cannot be read");
    expect_text("a.txt", "\xff\xfe", "not UTF-8");
}

static void images_inside_a_page_are_passed_over(void **state)
{
    (void)state;
    expect_text("a.html", "<img src=\"data:image/png;base64,aa/home/bb 1957-03-12\">", NULL);
    expect_text("a.html", "<img src=\"data:image/png;base64,aa\">1957-03-12", "a date");
}

static void what_is_added_may_be_a_document_but_no_image(void **state)
{
    (void)state;
    static const struct {
        const char *path, *text, *found;
    } cases[] = {
        { "a.md", "How these images were made.", NULL },
        { "a.png", "", "a.png: images that were not audited; only documents may be added" },
        { "a.nii.gz", "", "images that were not audited" },
        { "a.nii", "", "images that were not audited" },
        { "a.npy", "", "images that were not audited" },
        { "a.html", "<img src=\"data:image/png;base64,aa\">", "a file embedded in it" },
        { "a.json", "{\"x\": \"data:image/png;base64,aa\"}", "a file embedded in it" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text_clear(&findings);
        bool clean =
            lint_document(lint, cases[i].path, cases[i].text, strlen(cases[i].text), &findings);
        assert_true(clean == !cases[i].found);
        if (cases[i].found)
            assert_contains(findings.bytes, cases[i].found);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(our_own_volumes_are_clean),
        TEST(every_free_byte_of_a_header_is_found),
        TEST(numbers_of_axes_that_are_not_there_are_found),
        TEST(bytes_before_and_after_the_voxels_are_found),
        TEST(names_times_and_more_members_in_gzip_are_found),
        TEST(a_png_holds_nothing_but_pixels_and_the_marker),
        TEST(an_array_holds_nothing_after_its_data),
        TEST(names_of_the_source_are_found_wherever_they_stand),
        TEST(names_too_plain_to_tell_anybody_are_passed_over),
        TEST(dates_and_personal_numbers_are_found),
        TEST(identifiers_addresses_and_paths_are_found),
        TEST(what_the_steward_publishes_is_allowed),
        TEST(what_cannot_be_looked_into_is_reported),
        TEST(images_inside_a_page_are_passed_over),
        TEST(what_is_added_may_be_a_document_but_no_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
