#include "test.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "release/sample.h"

#include "own_arena.h"

#include <stdio.h>

static struct text written(const struct manifest *manifest)
{
    struct text text = { 0 };
    if (!manifest_write(manifest, &text, &err))
        fail_msg("%s", err.message);
    return text;
}

static void refused(const char *document, size_t size, const char *reason)
{
    struct manifest manifest;
    if (manifest_parse(document, size, "x.json", &manifest, &arena, &err))
        fail_msg("accepted, though: %s", reason);
    assert_contains(err.message, "x.json");
    assert_contains(err.message, reason);
}

/* The sample with one piece of text replaced. */
static void refused_with(const char *old, const char *new, const char *reason)
{
    struct manifest sample = sample_manifest(&arena);
    struct text text = written(&sample);
    char *at = strstr(text.bytes, old);
    assert_non_null(at);
    struct text changed = { 0 };
    text_add_bytes(&changed, text.bytes, (size_t)(at - text.bytes));
    text_add(&changed, new);
    text_add(&changed, at + strlen(old));
    refused(changed.bytes, changed.length, reason);
    text_release(&changed);
    text_release(&text);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    struct manifest sample = sample_manifest(&arena), seen;
    sample.claims.verdict = VERDICT_WARNED;
    struct text text = written(&sample), again;
    if (!manifest_parse(text.bytes, text.length, "x.json", &seen, &arena, &err))
        fail_msg("%s", err.message);
    assert_string_equal(seen.root, "brain-1.0");
    assert_string_equal(seen.tool_version, "0.1.0");
    assert_int_equal(seen.created, 1767225600);
    assert_int_equal(seen.file_count, 4);
    assert_string_equal(seen.files[3].path, "data/ro-crate-metadata.json");
    assert_int_equal(seen.files[3].size, 3);
    assert_true(digest_equal(&seen.files[3].digest, &sample.files[3].digest));
    assert_true(digest_equal(&seen.tar.sha256, &sample.tar.sha256));
    assert_true(seen.claims.known[CLAIM_PLAN] && !seen.claims.known[CLAIM_POLICY]);
    assert_int_equal(seen.claims.verdict, VERDICT_WARNED);
    again = written(&seen);
    assert_string_equal(text.bytes, again.bytes);
    text_release(&text);
    text_release(&again);
}

/* A key of its own where fidelity was measured; else the form of before, byte for byte. */
static void the_digest_of_fidelity_stands_there_or_not_at_all(void **state)
{
    (void)state;
    struct manifest sample = sample_manifest(&arena), seen;
    struct text without = written(&sample);
    assert_null(strstr(without.bytes, "fidelity"));
    sample.claims.known[CLAIM_FIDELITY] = true;
    sample.claims.sha256[CLAIM_FIDELITY] = sample.tar.sha256;
    struct text text = written(&sample);
    assert_ok(manifest_parse(text.bytes, text.length, "x.json", &seen, &arena, &err), err);
    assert_true(seen.claims.known[CLAIM_FIDELITY]);
    assert_true(digest_equal(&seen.claims.sha256[CLAIM_FIDELITY], &sample.tar.sha256));
    assert_true(strstr(text.bytes, "dataset_sha256") < strstr(text.bytes, "fidelity_sha256") &&
                strstr(text.bytes, "fidelity_sha256") < strstr(text.bytes, "memorization_sha256"));
    refused_with("    \"memorization_sha256\"",
                 "    \"fidelity_sha256\": null,\n    \"memorization_sha256\"", "expected `\"`");
    text_release(&text);
    text_release(&without);
}

static void so_does_the_digest_of_membership(void **state)
{
    (void)state;
    struct manifest sample = sample_manifest(&arena), seen;
    struct text without = written(&sample);
    assert_null(strstr(without.bytes, "membership"));
    sample.claims.known[CLAIM_MEMBERSHIP] = true;
    sample.claims.sha256[CLAIM_MEMBERSHIP] = sample.tar.sha256;
    struct text text = written(&sample);
    assert_ok(manifest_parse(text.bytes, text.length, "x.json", &seen, &arena, &err), err);
    assert_true(seen.claims.known[CLAIM_MEMBERSHIP] && !seen.claims.known[CLAIM_FIDELITY]);
    assert_true(digest_equal(&seen.claims.sha256[CLAIM_MEMBERSHIP], &sample.tar.sha256));
    assert_true(strstr(text.bytes, "dataset_sha256") < strstr(text.bytes, "membership_sha256") &&
                strstr(text.bytes, "membership_sha256") <
                    strstr(text.bytes, "memorization_sha256"));
    text_release(&text);
    text_release(&without);
}

static void the_form_is_json_with_sorted_keys(void **state)
{
    (void)state;
    struct manifest sample = sample_manifest(&arena);
    struct manifest_volume volumes[] = { { "brain-1.0.tar.zst.001", 300, sample.tar.sha256 },
                                         { "brain-1.0.tar.zst.002", 45, sample.tar.sha256 } };
    sample.volumes = volumes;
    sample.volume_count = 2;
    struct text text = written(&sample);
    struct json *root = json_parse(text.bytes, text.length, "x.json", &err);
    assert_non_null(root);
    assert_string_equal(json_get_string(root, "schema", &err), "lethe/manifest/1");
    assert_string_equal(json_get_string(root, "created", &err), "2026-01-01T00:00:00Z");
    assert_int_equal(json_length(json_get_array(root, "files", &err)), 4);
    assert_int_equal(json_length(json_get_array(root, "volumes", &err)), 2);
    json_free(root);
    struct manifest seen;
    assert_true(manifest_parse(text.bytes, text.length, "x.json", &seen, &arena, &err));
    assert_int_equal(seen.volumes[1].size, 45);
    text_release(&text);
}

static void another_way_to_write_the_same_is_refused(void **state)
{
    (void)state;
    refused_with("\"path\": ", "\"path\":", "x.json:17:13: not the canonical form");
    refused_with("{\n", "{\r\n", "expected `\"archive\": `");
    refused_with("\"size\": 19}", "\"size\": 019}", "a whole number without zeros in front");
    refused_with("\"size\": 19}", "\"size\": 19.0}", "expected `}`");
    refused_with("\"size\": 19}", "\"size\": 1900000000000000000}", "a size below 10^18");
    refused_with("\"size\": 19}", "\"size\": -19}", "a whole number");
    refused_with("bagit.txt", "bagit\\u002etxt", "expected `\"`");
    refused_with("\"volumes\": []\n}\n", "\"volumes\": []\n}", "expected `}");
    refused_with("\"volumes\": []\n}\n", "\"volumes\": []\n}\n\n", "the end of the file");
    refused_with("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "a time like");
    refused_with("2026-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "a time like");
    refused_with("2026-01-01T00:00:00Z", " 2026-1-1T00:00:00Z", "a time like");
}

static void unknown_doubled_and_missing_keys_are_refused(void **state)
{
    (void)state;
    refused_with("  \"name\": \"brain\",\n", "  \"name\": \"brain\",\n  \"name\": \"brain\",\n",
                 "expected `\"root\": `");
    refused_with("  \"name\": \"brain\",\n", "", "expected `\"name\": `");
    refused_with("  \"name\": \"brain\",\n", "  \"extra\": 1,\n  \"name\": \"brain\",\n",
                 "expected `\"name\": `");
    refused_with("lethe/manifest/1", "lethe/manifest/2", "lethe/manifest/1");
    refused_with("\"verdict\": \"PASSED\"", "\"verdict\": \"passed\"", "PASSED, WARNED or FAILED");
}

static void digests_are_lower_case_and_whole(void **state)
{
    (void)state;
    struct manifest sample = sample_manifest(&arena);
    char hex[DIGEST_HEX];
    digest_hex(&sample.tar.sha256, hex);
    char upper[DIGEST_HEX];
    for (int i = 0; i < DIGEST_HEX; i++)
        upper[i] = hex[i] >= 'a' ? (char)(hex[i] - 32) : hex[i];
    refused_with(hex, upper, "64 digits 0-9a-f");
    refused_with(hex, hex + 1, "64 digits 0-9a-f");
}

/* The sample with one path replaced; sizes are made to add up. */
static void refused_path(size_t file, const char *path, const char *reason)
{
    struct manifest sample = sample_manifest(&arena);
    struct text text = { 0 };
    sample.files[file].path = path;
    if (manifest_write(&sample, &text, &err))
        fail_msg("accepted: %s", path);
    assert_contains(err.message, reason);
    text_release(&text);
}

static void names_that_escape_or_surprise_are_refused(void **state)
{
    (void)state;
    refused_path(0, "../bagit.txt", "a part that ends in \".\"");
    refused_path(0, "a/../bagit.txt", "a part that ends in \".\"");
    refused_path(0, "./bagit.txt", "a part that ends in \".\"");
    refused_path(0, "/etc/passwd", "an empty part");
    refused_path(0, "a//b", "an empty part");
    refused_path(0, "bagit/", "an empty part");
    refused_path(0, "", "an empty part");
    refused_path(0, "-rf", "begins with \"-\"");
    refused_path(0, "a/-rf", "begins with \"-\"");
    refused_path(0, "bag it.txt", "a character other than");
    refused_path(0, "C:bagit.txt", "a character other than");
    refused_path(0, "a\\b", "a character other than");
    refused_path(0, "bagit\xcc\x81.txt", "a character other than");
    refused_path(0, "bagit\n.txt", "a character other than");
    refused_path(0, "a/aux", "name of a device");
    refused_path(0, "NUL.txt", "name of a device");
    refused_path(0, "b/com1.log", "name of a device");
    refused_path(0, "bagit.", "ends in \".\"");
}

static void paths_stand_in_byte_order_and_once(void **state)
{
    (void)state;
    refused_path(2, "data/images/0001.nii.gz", "does not come after");
    refused_path(2, "data/images/0000.nii.gz", "does not come after");
}

static void names_alike_but_for_case_are_refused(void **state)
{
    (void)state;
    refused_path(0, "DATA/ro-crate-metadata.json", "differ only in upper and lower case");
    refused_path(0, "Data/z.txt", "differ only in upper and lower case");
    refused_path(1, "data/images/0002.NII.gz", "differ only in upper and lower case");
}

static void a_file_is_not_a_folder_too(void **state)
{
    (void)state;
    refused_path(0, "data", "is a file and a folder");
    refused_path(0, "DATA", "is a file and a folder");
    refused_path(3, "data/images/0002.nii.gz/x", "is a file and a folder");
}

static void sizes_add_up_to_the_tar(void **state)
{
    (void)state;
    struct manifest sample = sample_manifest(&arena);
    struct text text = { 0 };
    sample.tar.size += 512;
    assert_false(manifest_write(&sample, &text, &err));
    assert_contains(err.message, "but its files make");
    sample = sample_manifest(&arena);
    sample.files[1].size = UINT64_C(1) << 33;
    assert_false(manifest_write(&sample, &text, &err));
    assert_contains(err.message, "less than 8 GiB");
    text_release(&text);
}

static void volumes_are_ordered_and_add_up_to_the_archive(void **state)
{
    (void)state;
    struct manifest sample = sample_manifest(&arena);
    struct manifest_volume volumes[] = { { "brain-1.0.tar.zst.001", 300, sample.tar.sha256 },
                                         { "brain-1.0.tar.zst.002", 44, sample.tar.sha256 } };
    struct text text = { 0 };
    sample.volumes = volumes;
    sample.volume_count = 2;
    assert_false(manifest_write(&sample, &text, &err));
    assert_contains(err.message, "the volumes have 344 bytes, the archive 345");
    volumes[1].size = 45;
    volumes[1].name = volumes[0].name;
    assert_false(manifest_write(&sample, &text, &err));
    assert_contains(err.message, "does not come after");
    sample.volume_count = 1;
    assert_false(manifest_write(&sample, &text, &err));
    assert_contains(err.message, "at least two");
    text_release(&text);
}

static void names_of_root_and_archive_follow_from_name_and_version(void **state)
{
    (void)state;
    refused_with("\"root\": \"brain-1.0\"", "\"root\": \"brain-1.1\"", "is not \"brain-1.0\"");
    refused_with("brain-1.0.tar.zst", "brain-1.0.tar.gz", "is not \"brain-1.0.tar.zst\"");
    refused_with("\"version\": \"1.0\",\n", "\"version\": \"1.0,\n", "expected `\"`");
    refused_with("\"name\": \"brain\"", "\"name\": \"..\"", "name");
    refused_with("\"version\": \"0.1.0\"", "\"version\": \"\"", "tool");
}

static void every_cut_and_every_changed_bit_is_refused_or_tells_something_else(void **state)
{
    (void)state;
    struct manifest sample = sample_manifest(&arena), seen;
    struct text text = written(&sample);
    for (size_t size = 0; size < text.length; size++)
        refused(text.bytes, size, "x.json");
    for (size_t bit = 0; bit < 8 * text.length; bit++) {
        text.bytes[bit / 8] ^= (char)(1 << bit % 8);
        if (manifest_parse(text.bytes, text.length, "x.json", &seen, &arena, &err)) {
            struct text again = written(&seen); /* the one canonical form of what it now says */
            assert_memory_equal(again.bytes, text.bytes, text.length);
            text_release(&again);
        }
        text.bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    text_release(&text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, own_arena_begin, own_arena_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read_again),
        TEST(the_digest_of_fidelity_stands_there_or_not_at_all),
        TEST(so_does_the_digest_of_membership),
        TEST(the_form_is_json_with_sorted_keys),
        TEST(another_way_to_write_the_same_is_refused),
        TEST(unknown_doubled_and_missing_keys_are_refused),
        TEST(digests_are_lower_case_and_whole),
        TEST(names_that_escape_or_surprise_are_refused),
        TEST(paths_stand_in_byte_order_and_once),
        TEST(names_alike_but_for_case_are_refused),
        TEST(a_file_is_not_a_folder_too),
        TEST(sizes_add_up_to_the_tar),
        TEST(volumes_are_ordered_and_add_up_to_the_archive),
        TEST(names_of_root_and_archive_follow_from_name_and_version),
        TEST(every_cut_and_every_changed_bit_is_refused_or_tells_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
