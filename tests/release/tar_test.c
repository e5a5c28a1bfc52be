#include "test.h"

#include "base/file.h"
#include "base/text.h"
#include "release/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct error err;
static const unsigned char zeros[TAR_END];

/* The whole tar of the sample. */
static struct text sample_tar(const struct manifest *manifest)
{
    struct text tar = { 0 };
    struct tar_walk walk;
    struct tar_entry entry;
    unsigned char header[TAR_BLOCK];
    tar_walk_begin(&walk, manifest->root, manifest->files, manifest->file_count);
    while (tar_walk_next(&walk, &entry)) {
        tar_header(&entry, manifest->created, header);
        text_add_bytes(&tar, header, TAR_BLOCK);
        if (!entry.folder)
            text_add(&tar, sample_contents[entry.file]);
        text_add_bytes(&tar, zeros, tar_padding(entry.size));
    }
    text_add_bytes(&tar, zeros, TAR_END);
    return tar;
}

static void folders_come_once_before_what_is_in_them(void **state)
{
    (void)state;
    static const char *const expected[] = { "brain-1.0/",
                                            "brain-1.0/bagit.txt",
                                            "brain-1.0/data/",
                                            "brain-1.0/data/images/",
                                            "brain-1.0/data/images/0001.nii.gz",
                                            "brain-1.0/data/images/0002.nii.gz",
                                            "brain-1.0/data/ro-crate-metadata.json" };
    struct arena arena;
    struct tar_walk walk;
    struct tar_entry entry;
    arena_init(&arena);
    struct manifest sample = sample_manifest(&arena);
    tar_walk_begin(&walk, sample.root, sample.files, sample.file_count);
    for (size_t i = 0; i < 7; i++) {
        assert_true(tar_walk_next(&walk, &entry));
        assert_string_equal(entry.path, expected[i]);
        assert_int_equal(entry.folder, expected[i][strlen(expected[i]) - 1] == '/');
    }
    assert_false(tar_walk_next(&walk, &entry));
    arena_release(&arena);
}

static void folders_whose_names_share_a_beginning_are_two(void **state)
{
    (void)state;
    struct digest_entry files[] = { { "a-b/x", 0, { { 0 } } },
                                    { "a/x", 0, { { 0 } } },
                                    { "ab/c/d/x", 0, { { 0 } } },
                                    { "ab/e/d/x", 0, { { 0 } } } };
    static const char expected[] =
        "r/ r/a-b/ r/a-b/x r/a/ r/a/x r/ab/ r/ab/c/ r/ab/c/d/ r/ab/c/d/x r/ab/e/ r/ab/e/d/ "
        "r/ab/e/d/x ";
    struct text seen = { 0 };
    struct tar_walk walk;
    struct tar_entry entry;
    tar_walk_begin(&walk, "r", files, 4);
    while (tar_walk_next(&walk, &entry))
        text_format(&seen, "%s ", entry.path);
    assert_string_equal(seen.bytes, expected);
    text_release(&seen);
}

static void gnu_tar_lists_it_as_it_was_meant(void **state)
{
    (void)state;
    char path[] = "/tmp/lethe-tar-XXXXXX", line[256];
    struct arena arena;
    arena_init(&arena);
    struct manifest sample = sample_manifest(&arena);
    struct text tar = sample_tar(&sample), listed = { 0 };
    assert_int_equal(tar.length, sample.tar.size);
    int descriptor = mkstemp(path);
    assert_int_equal(write(descriptor, tar.bytes, tar.length), tar.length);
    close(descriptor);
    char *command =
        arena_format(&arena, "TZ=UTC tar --full-time --numeric-owner -tvf %s 2>&1", path);
    FILE *pipe = popen(command, "r"); /* GNU tar is what recipients have */
    while (fgets(line, sizeof line, pipe))
        text_add(&listed, line);
    assert_int_equal(pclose(pipe), 0);
    assert_string_equal(
        listed.bytes,
        "drwxr-xr-x 0/0               0 2026-01-01 00:00:00 brain-1.0/\n"
        "-rw-r--r-- 0/0              19 2026-01-01 00:00:00 brain-1.0/bagit.txt\n"
        "drwxr-xr-x 0/0               0 2026-01-01 00:00:00 brain-1.0/data/\n"
        "drwxr-xr-x 0/0               0 2026-01-01 00:00:00 brain-1.0/data/images/\n"
        "-rw-r--r-- 0/0               3 2026-01-01 00:00:00 brain-1.0/data/images/0001.nii.gz\n"
        "-rw-r--r-- 0/0               0 2026-01-01 00:00:00 brain-1.0/data/images/0002.nii.gz\n"
        "-rw-r--r-- 0/0               3 2026-01-01 00:00:00 brain-1.0/data/ro-crate-metadata.json\n");
    unlink(path);
    text_release(&tar);
    text_release(&listed);
    arena_release(&arena);
}

/* A name of `count` letters. */
static char *letters(struct arena *arena, size_t count)
{
    char *name = arena_allocate(arena, count + 1);
    memset(name, 'x', count);
    return name;
}

static void long_paths_are_cut_at_a_slash_or_refused(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    unsigned char header[TAR_BLOCK];
    assert_true(tar_path_fits("r", letters(&arena, 98)));
    assert_true(tar_path_fits("r", letters(&arena, 100)));
    assert_false(tar_path_fits("r", letters(&arena, 101)));
    char *both = arena_format(&arena, "%s/%s", letters(&arena, 97), letters(&arena, 100));
    assert_true(tar_path_fits("r", both));
    assert_false(tar_path_fits("r", arena_format(&arena, "%s/x", letters(&arena, 100))));
    assert_false(tar_path_fits(letters(&arena, 156), letters(&arena, 100)));
    struct tar_entry entry = { .size = 7 };
    sprintf(entry.path, "r/%s", both);
    tar_header(&entry, 0, header);
    assert_memory_equal(header + 345, entry.path, 99);
    assert_memory_equal(header, entry.path + 100, 100);
    arena_release(&arena);
}

/* Every byte of a header is compared, so there is something to say about each. */
static void every_difference_of_a_header_is_told(void **state)
{
    (void)state;
    unsigned char expected[TAR_BLOCK], found[TAR_BLOCK];
    struct tar_entry entry = { .path = "r/a", .size = 7 };
    tar_header(&entry, 0, expected);
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        memcpy(found, expected, TAR_BLOCK);
        found[i] ^= 1;
        tar_explain(found, expected, &err);
        if (!strstr(err.message, "expected"))
            fail_msg("byte %zu: %s", i, err.message);
    }
    memcpy(found, expected, TAR_BLOCK);
    found[156] = '2';
    tar_explain(found, expected, &err);
    assert_string_equal(err.message, "a symbolic link (\"r/a\"), expected a file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_come_once_before_what_is_in_them),
        cmocka_unit_test(folders_whose_names_share_a_beginning_are_two),
        cmocka_unit_test(gnu_tar_lists_it_as_it_was_meant),
        cmocka_unit_test(long_paths_are_cut_at_a_slash_or_refused),
        cmocka_unit_test(every_difference_of_a_header_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
