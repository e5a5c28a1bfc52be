/* Known answers: FIPS 180-4's examples, as NIST publishes them; and coreutils' sha256sum. */
#include "scratch.h"

#include "base/digest.h"
#include "base/parallel.h"

static struct error err;

static const char *hex_of(struct digest digest)
{
    static char hex[DIGEST_HEX];
    return digest_hex(&digest, hex);
}

static const char empty_hex[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char abc_hex[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void sha256_gives_the_published_answers(void **state)
{
    (void)state;
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_string_equal(hex_of(digest_of("", 0)), empty_hex);
    assert_string_equal(hex_of(digest_of("abc", 3)), abc_hex);
    assert_string_equal(hex_of(digest_of(two_blocks, 56)),
                        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void pieces_give_the_digest_of_the_whole(void **state)
{
    (void)state;
    struct digest_state *digest = digest_begin();
    static char a[997];
    memset(a, 'a', sizeof a);
    for (size_t left = 1000000, piece; left > 0; left -= piece) {
        piece = left < sizeof a ? left : sizeof a;
        digest_add(digest, a, piece);
    }
    assert_string_equal(hex_of(digest_end(digest)),
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void hexadecimal_goes_both_ways_and_nothing_else_passes(void **state)
{
    (void)state;
    struct digest digest, again = digest_of("abc", 3);
    char wrong[DIGEST_HEX];
    assert_true(digest_from_hex(abc_hex, &digest));
    assert_true(digest_equal(&digest, &again));
    digest.bytes[31] ^= 1;
    assert_false(digest_equal(&digest, &again));
    strcpy(wrong, abc_hex);
    wrong[0] = 'B';
    assert_false(digest_from_hex(wrong, &digest));
    wrong[0] = 'g';
    assert_false(digest_from_hex(wrong, &digest));
    assert_false(digest_from_hex(abc_hex + 1, &digest));
    assert_false(digest_from_hex("", &digest));
}

/* Sizes around the read buffer's, against an independent program. */
static void files_have_the_digest_that_sha256sum_prints(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 262143, 262144, 262145, 1000000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct digest digest;
        char *bytes = malloc(sizes[i] + 1), command[600], printed[100] = { 0 };
        for (size_t j = 0; j < sizes[i]; j++)
            bytes[j] = (char)(j * 31 >> 3);
        assert_ok(file_write(scratch("x"), bytes, sizes[i], &err), err);
        assert_ok(digest_file(scratch("x"), &digest, &err), err);
        snprintf(command, sizeof command, "sha256sum < '%s'", scratch("x"));
        FILE *pipe = popen(command, "r");
        assert_int_equal(fscanf(pipe, "%99s", printed), 1);
        pclose(pipe);
        assert_string_equal(hex_of(digest), printed);
        free(bytes);
    }
}

static struct digest tree(void)
{
    struct arena arena;
    struct digest digest;
    arena_init(&arena);
    assert_ok(digest_tree(scratch_folder, &digest, &arena, NULL, NULL, &err), err);
    arena_release(&arena);
    return digest;
}

static void make_tree(void)
{
    assert_ok(folder_create(scratch("a/b"), &err), err);
    for (int i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof name, i % 2 ? "a/%d" : "a/b/%d", i);
        write_text(scratch(name), name);
    }
}

static void a_trees_digest_does_not_depend_on_the_threads(void **state)
{
    (void)state;
    make_tree();
    parallel_set_threads(1);
    struct digest first = tree();
    for (int threads = 2; threads <= 5; threads++) {
        parallel_set_threads(threads);
        struct digest again = tree();
        assert_true(digest_equal(&first, &again));
    }
}

static void a_trees_digest_is_that_of_its_lines(void **state)
{
    (void)state;
    char lines[400];
    write_text(scratch("empty"), "");
    assert_ok(folder_create(scratch("sub"), &err), err);
    write_text(scratch("sub/abc"), "abc");
    snprintf(lines, sizeof lines, "%s  0  empty\n%s  3  sub/abc\n", empty_hex, abc_hex);
    struct digest expected = digest_of(lines, strlen(lines)), found = tree();
    assert_true(digest_equal(&expected, &found));
}

static void a_trees_digest_changes_with_name_content_and_size(void **state)
{
    (void)state;
    make_tree();
    struct digest seen[5];
    seen[0] = tree();
    assert_int_equal(rename(scratch("a/1"), scratch("a/renamed")), 0);
    seen[1] = tree();
    write_text(scratch("a/3"), "A/3");
    seen[2] = tree();
    assert_int_equal(truncate(scratch("a/5"), 100), 0);
    seen[3] = tree();
    assert_int_equal(unlink(scratch("a/7")), 0);
    seen[4] = tree();
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++)
            assert_false(digest_equal(&seen[i], &seen[j]));
}

/* Without escapes these two lists would be the same bytes. */
static void a_line_end_in_a_name_cannot_forge_an_entry(void **state)
{
    (void)state;
    char name[200];
    struct digest_entry two[2] = { { "x", 0, digest_of("", 0) }, { "y", 3, digest_of("abc", 3) } };
    snprintf(name, sizeof name, "x\n%s  3  y", abc_hex);
    struct digest_entry one = { name, 0, digest_of("", 0) };
    struct digest honest = digest_of_entries(two, 2), forged = digest_of_entries(&one, 1);
    assert_false(digest_equal(&honest, &forged));
    struct digest_entry slash = { "a\\nb", 0, digest_of("", 0) },
                        end = { "a\nb", 0, digest_of("", 0) };
    honest = digest_of_entries(&slash, 1), forged = digest_of_entries(&end, 1);
    assert_false(digest_equal(&honest, &forged));
}

static void the_first_missing_file_is_named_whatever_the_threads(void **state)
{
    (void)state;
    struct digest_entry entries[40];
    char names[40][32];
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "file-%02d", i);
        entries[i].path = names[i];
        if (i != 17 && i != 18 && i != 33)
            write_text(scratch(names[i]), "x");
    }
    for (int round = 0; round < 50; round++) {
        parallel_set_threads(1 + round % 4);
        assert_false(digest_files(scratch_folder, entries, 40, &err));
        assert_contains(err.message, "file-17: cannot open: No such file");
    }
    parallel_set_threads(2);
    assert_false(digest_files(scratch_folder, entries, 40, NULL));
}

static void only_regular_files_have_a_digest(void **state)
{
    (void)state;
    struct digest digest;
    assert_int_equal(mkfifo(scratch("fifo"), 0600), 0);
    assert_false(digest_file(scratch("fifo"), &digest, &err));
    assert_contains(err.message, "fifo: not a regular file");
    assert_false(digest_file(scratch_folder, &digest, &err));
    assert_contains(err.message, "not a regular file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sha256_gives_the_published_answers),
        TEST(pieces_give_the_digest_of_the_whole),
        TEST(hexadecimal_goes_both_ways_and_nothing_else_passes),
        TEST(files_have_the_digest_that_sha256sum_prints),
        TEST(a_trees_digest_does_not_depend_on_the_threads),
        TEST(a_trees_digest_is_that_of_its_lines),
        TEST(a_trees_digest_changes_with_name_content_and_size),
        TEST(a_line_end_in_a_name_cannot_forge_an_entry),
        TEST(the_first_missing_file_is_named_whatever_the_threads),
        TEST(only_regular_files_have_a_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
