/* What an attacker can put into an archive, a manifest or a bundle, each by hand.
 *
 * In the tests of archives the attacker even has the signers' keys: manifest and signatures fit
 * what is packed, digest for digest, so that nothing but the form of the archive can be the reason
 * why it is refused. Each must be refused, nothing may be written. */
#include "test.h"

#include "base/file.h"
#include "base/json.h"
#include "release/base64.h"
#include "release/bundle.h"
#include "release/own_world.h"
#include "release/tar.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Signed as it is packed, verified, refused, and nothing written. */
static void refused_when_packed(const struct packing *packing, const char *problem)
{
    world_pack(&world, packing);
    world_sign_both(&world);
    world_expect(&world, ANSWER_NO, problem);
    assert_int_equal(path_kind(world.extract), PATH_NOTHING);
    assert_int_equal(path_kind(world_path(&world, "out.partial")), PATH_NOTHING);
}

/* ---- entries of the tar ---------------------------------------------------------------------- */

/* The header of the entry with this path, from the root on. */
static unsigned char *header_of(const char *path)
{
    struct tar_walk walk;
    struct tar_entry entry;
    size_t at = 0;
    tar_walk_begin(&walk, world.manifest.root, world.manifest.files, world.manifest.file_count);
    while (tar_walk_next(&walk, &entry)) {
        if (!strcmp(entry.path, path))
            return (unsigned char *)world.tar.bytes + at;
        at += TAR_BLOCK + entry.size + tar_padding(entry.size);
    }
    fail_msg("no entry %s", path);
    return NULL;
}

/* With the sum that makes other tars accept it. */
static void fix_checksum(unsigned char *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
    header[155] = ' ';
}

static const char victim[] = "brain-1.0/data/images/0002.nii.gz"; /* an empty file */

static void refused_as_type(char type, const char *link, const char *words)
{
    unsigned char *header = header_of(victim);
    header[156] = (unsigned char)type;
    memcpy(header + 157, link, strlen(link));
    fix_checksum(header);
    refused_when_packed(NULL, words);
}

static void a_symbolic_link_out_of_the_folder(void **state)
{
    (void)state;
    refused_as_type('2', "../../../../tmp/lethe-escaped", "a symbolic link");
}

static void a_symbolic_link_within(void **state)
{
    (void)state;
    refused_as_type('2', "0001.nii.gz", "a symbolic link");
}

static void a_hard_link(void **state)
{
    (void)state;
    refused_as_type('1', "/etc/passwd", "a hard link");
}

static void a_device(void **state)
{
    (void)state;
    refused_as_type('3', "", "a character device");
}

static void a_block_device(void **state)
{
    (void)state;
    refused_as_type('4', "", "a block device");
}

static void a_fifo(void **state)
{
    (void)state;
    refused_as_type('6', "", "a fifo");
}

static void a_contiguous_file(void **state)
{
    (void)state;
    refused_as_type('7', "", "a contiguous file");
}

static void a_file_in_the_form_of_old_tar(void **state)
{
    (void)state;
    refused_as_type('\0', "", "in the form of old tar");
}

static void a_pax_header(void **state)
{
    (void)state;
    refused_as_type('x', "", "a pax header");
}

static void a_global_pax_header(void **state)
{
    (void)state;
    refused_as_type('g', "", "a global pax header");
}

static void a_gnu_long_name(void **state)
{
    (void)state;
    refused_as_type('L', "", "a GNU long name");
}

static void a_gnu_sparse_file(void **state)
{
    (void)state;
    refused_as_type('S', "", "a GNU sparse file");
}

static void a_type_that_does_not_exist(void **state)
{
    (void)state;
    refused_as_type('Z', "", "an entry of unknown type");
}

static void a_folder_where_a_file_was_signed(void **state)
{
    (void)state;
    refused_as_type('5', "", "a folder");
}

static void refused_as_name(const char *name)
{
    unsigned char *header = header_of(victim);
    memset(header, 0, 100);
    memcpy(header, name, strlen(name));
    fix_checksum(header);
    refused_when_packed(NULL, "the header's name is");
}

static void a_name_that_climbs_out(void **state)
{
    (void)state;
    refused_as_name("brain-1.0/../../../tmp/lethe-escaped");
}

static void an_absolute_name(void **state)
{
    (void)state;
    refused_as_name("/tmp/lethe-escaped");
}

static void a_name_beside_the_root_folder(void **state)
{
    (void)state;
    refused_as_name("elsewhere/0002.nii.gz");
}

static void the_name_of_another_entry_again(void **state)
{
    (void)state;
    refused_as_name("brain-1.0/data/images/0001.nii.gz");
}

static void a_name_that_differs_in_case(void **state)
{
    (void)state;
    refused_as_name("brain-1.0/data/images/0002.NII.GZ");
}

static void a_name_with_a_zero_byte_and_more_behind(void **state)
{
    (void)state;
    unsigned char *header = header_of(victim);
    memcpy(header + 40, "hidden", 6);
    fix_checksum(header);
    refused_when_packed(NULL, "the header's name is");
}

static void names_equal_after_unicode_normalisation(void **state)
{
    (void)state;
    struct text text = { 0 };
    world.manifest.files[1].path = "data/e\xcc\x81";
    world.manifest.files[2].path = "data/\xc3\xa9";
    assert_false(manifest_write(&world.manifest, &text, &world.err));
    assert_contains(world.err.message, "is not a portable path");
    text_release(&text);
}

static void a_prefix_that_leads_elsewhere(void **state)
{
    (void)state;
    unsigned char *header = header_of(victim);
    memcpy(header + 345, "../..", 5);
    fix_checksum(header);
    refused_when_packed(NULL, "the header's name prefix is");
}

static void a_program_that_runs_as_root(void **state)
{
    (void)state;
    unsigned char *header = header_of(victim);
    memcpy(header + 100, "0004755", 7);
    fix_checksum(header);
    refused_when_packed(NULL, "the header's mode is");
}

static void a_name_of_the_person_who_packed_it(void **state)
{
    (void)state;
    unsigned char *header = header_of(victim);
    memcpy(header + 265, "jane.doe", 8);
    fix_checksum(header);
    refused_when_packed(NULL, "the header's owner's name is");
}

static void bytes_hidden_at_the_end_of_a_header(void **state)
{
    (void)state;
    unsigned char *header = header_of(victim);
    memcpy(header + 500, "hidden bytes", 12);
    fix_checksum(header);
    refused_when_packed(NULL, "the header's unused end is");
}

static void bytes_hidden_in_the_padding_of_a_file(void **state)
{
    (void)state;
    unsigned char *header = header_of("brain-1.0/data/images/0001.nii.gz");
    header[TAR_BLOCK + 3] = 'x';
    refused_when_packed(NULL, "0001.nii.gz: the padding after it is not zero");
}

static void bytes_hidden_in_the_end_of_the_tar(void **state)
{
    (void)state;
    world.tar.bytes[world.tar.length - 1] = 'x';
    refused_when_packed(NULL, "the end of the tar is not zero");
}

static void a_second_tar_after_the_end(void **state)
{
    (void)state;
    struct text twice = { 0 };
    text_add_bytes(&twice, world.tar.bytes, world.tar.length);
    text_add_bytes(&twice, world.tar.bytes, world.tar.length);
    text_release(&world.tar);
    world.tar = twice;
    refused_when_packed(NULL, "does not tell the size of the signed tar");
    refused_when_packed(&(struct packing){ .no_size = true }, "does not tell the size");
}

static void zero_blocks_after_the_end(void **state)
{
    (void)state;
    static const char zeros[10240];
    text_add_bytes(&world.tar, zeros, sizeof zeros);
    refused_when_packed(NULL, "does not tell the size of the signed tar");
}

static void an_entry_more_than_was_signed(void **state)
{
    (void)state;
    struct text longer = { 0 };
    text_add_bytes(&longer, world.tar.bytes, world.tar.length - TAR_END);
    text_add_bytes(&longer, header_of("brain-1.0/bagit.txt"), 2 * TAR_BLOCK);
    text_add_bytes(&longer, world.tar.bytes + world.tar.length - TAR_END, TAR_END);
    text_release(&world.tar);
    world.tar = longer;
    refused_when_packed(NULL, "does not tell the size of the signed tar");
}

static void a_file_less_than_was_signed(void **state)
{
    (void)state;
    world.tar.length -= TAR_END + 2 * TAR_BLOCK;
    refused_when_packed(NULL, "does not tell the size of the signed tar");
}

static void two_files_that_changed_places(void **state)
{
    (void)state;
    unsigned char *a = header_of("brain-1.0/bagit.txt");
    unsigned char *b = header_of("brain-1.0/data/ro-crate-metadata.json"), swap[TAR_BLOCK];
    memcpy(swap, a + TAR_BLOCK, TAR_BLOCK);
    memcpy(a + TAR_BLOCK, b + TAR_BLOCK, TAR_BLOCK);
    memcpy(b + TAR_BLOCK, swap, TAR_BLOCK);
    refused_when_packed(NULL, "brain-1.0/bagit.txt: its SHA-256 is not the manifest's");
}

/* ---- the zstd frame -------------------------------------------------------------------------- */

static const unsigned char skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 'd', 'a', 't', 'a' };

static void a_skippable_frame_in_front(void **state)
{
    (void)state;
    refused_when_packed(&(struct packing){ .before = skippable, .before_size = sizeof skippable },
                        "it is not a zstd frame");
}

static void a_skippable_frame_behind(void **state)
{
    (void)state;
    refused_when_packed(&(struct packing){ .after = skippable, .after_size = sizeof skippable },
                        "bytes follow the end of its zstd frame");
}

static void one_byte_behind_the_frame(void **state)
{
    (void)state;
    refused_when_packed(&(struct packing){ .after = "", .after_size = 1 },
                        "bytes follow the end of its zstd frame");
}

static void a_second_frame(void **state)
{
    (void)state;
    size_t size;
    world_pack(&world, NULL);
    char *frame = file_read(world_path(&world, "brain-1.0.tar.zst"), 100000, &size, &world.err);
    refused_when_packed(&(struct packing){ .after = frame, .after_size = size },
                        "bytes follow the end of its zstd frame");
    memory_free(frame);
}

static void a_frame_without_checksum(void **state)
{
    (void)state;
    refused_when_packed(&(struct packing){ .no_checksum = true }, "has no checksum");
}

static void a_frame_without_size(void **state)
{
    (void)state;
    refused_when_packed(&(struct packing){ .no_size = true }, "does not tell the size");
}

static void a_frame_that_wants_all_memory(void **state)
{
    (void)state;
    static const unsigned char frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xc4, 0xa8, 0, 0x18, 0, 0,
                                           0,    0,    0,    0,    0,    0,    0, 0,    0, 0 };
    refused_when_packed(&(struct packing){ .before = frame, .before_size = sizeof frame },
                        "asks for a window above 8 MiB");
}

static void a_frame_that_wants_a_dictionary(void **state)
{
    (void)state;
    static const unsigned char frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xc5, 0x58, 1, 0, 0, 0,
                                           0,    0,    0,    0,    0,    0,    0, 0, 0, 0 };
    refused_when_packed(&(struct packing){ .before = frame, .before_size = sizeof frame },
                        "asks for a dictionary");
}

static void a_bomb(void **state)
{
    (void)state;
    size_t bytes = (size_t)1 << 26; /* over 10,000 : 1, and then with the signed size as its own */
    struct text zeros = { memory_grow(NULL, bytes, 1), bytes, bytes };
    memset(zeros.bytes, 0, bytes);
    struct text canonical = world.tar;
    world.tar = zeros;
    refused_when_packed(NULL, "does not tell the size of the signed tar");
    size_t size;
    char *frame = file_read(world_path(&world, "brain-1.0.tar.zst"), 1000000, &size, &world.err);
    assert_non_null(frame); /* the size in the frame's header, 4 bytes after the window's */
    uint32_t lie = (uint32_t)world.manifest.tar.size;
    memcpy(frame + ((unsigned char)frame[4] & 0x20 ? 5 : 6), &lie, 4);
    world.tar = canonical;
    world.manifest.archive.size = size;
    world.manifest.archive.sha256 = digest_of(frame, size);
    world_write(&world, "brain-1.0.tar.zst", frame, size);
    world_write_manifest(&world);
    world_sign_both(&world);
    world_expect(&world, ANSWER_NO, "brain-1.0.tar.zst:");
    assert_int_equal(path_kind(world.extract), PATH_NOTHING);
    memory_free(frame);
    text_release(&zeros);
}

static void an_archive_that_is_cut(void **state)
{
    (void)state;
    refused_when_packed(&(struct packing){ .cut = 1 }, "its zstd frame is cut short");
    refused_when_packed(&(struct packing){ .cut = 100 }, "missing");
}

static void an_empty_archive(void **state)
{
    (void)state;
    world_write(&world, "brain-1.0.tar.zst", "", 0);
    world_expect(&world, ANSWER_NO, "0 bytes, but");
}

static void another_compression_of_the_same_tar(void **state)
{
    (void)state;
    world_pack(&world, &(struct packing){ .window_log = 12, .keep_digests = true });
    world_sign_both(&world);
    struct packing other = { .after = "x", .after_size = 1, .keep_digests = true };
    world_pack(&world, &other);
    world_expect(&world, ANSWER_NO, "but");
}

/* ---- manifest and bundles -------------------------------------------------------------------- */

static char *read_text(const char *name, size_t *size)
{
    char *bytes = file_read(world_path(&world, name), 1000000, size, &world.err);
    assert_ok(bytes, world.err);
    return bytes;
}

static const char producer[] = "brain-1.0.producer.audit.sigstore.json";
static const char auditor[] = "brain-1.0.auditor.audit.sigstore.json";

/* The producer's bundle with one piece of text replaced. */
static void refused_with(const char *old, const char *new, const char *problem)
{
    size_t size;
    char *bytes = read_text(producer, &size), *at = strstr(bytes, old);
    struct text changed = { 0 };
    assert_non_null(at);
    text_add_bytes(&changed, bytes, (size_t)(at - bytes));
    text_add(&changed, new);
    text_add(&changed, at + strlen(old));
    world_write(&world, producer, changed.bytes, changed.length);
    world_expect(&world, ANSWER_NO, problem);
    world_write(&world, producer, bytes, size);
    text_release(&changed);
    memory_free(bytes);
}

static void a_manifest_written_otherwise(void **state)
{
    (void)state;
    size_t size;
    char *bytes = read_text("brain-1.0.manifest.json", &size);
    bytes[size - 1] = ' ';
    world_write(&world, "brain-1.0.manifest.json", bytes, size);
    world_expect(&world, ANSWER_NO, "not the canonical form");
    memory_free(bytes);
}

static void the_manifest_of_an_older_release(void **state)
{
    (void)state;
    world.manifest.claims.verdict = VERDICT_WARNED;
    world_write_manifest(&world);
    world_expect(&world, ANSWER_NO, "it is about another brain-1.0.manifest.json");
}

static void the_payload_of_one_bundle_with_the_signature_of_another(void **state)
{
    (void)state;
    struct bundle a, b;
    struct text out = { 0 };
    assert_true(bundle_load(world_path(&world, producer), &a, &world.arena, &world.err));
    assert_true(bundle_load(world_path(&world, auditor), &b, &world.arena, &world.err));
    a.payload = b.payload;
    bundle_write(&a, &out);
    world_write(&world, producer, out.bytes, out.length);
    world_expect(&world, ANSWER_NO, "the signature of \"producer\" does not hold");
    text_release(&out);
}

static void a_bundle_under_another_role_s_name(void **state)
{
    (void)state;
    size_t size;
    char *bytes = read_text(producer, &size);
    world_write(&world, auditor, bytes, size);
    world_expect(&world, ANSWER_UNMET, "signed by 0 auditors, but 1 required");
    memory_free(bytes);
}

static void another_key_s_hint(void **state)
{
    (void)state;
    char a[DIGEST_HEX], b[DIGEST_HEX];
    digest_hex(&world.trust.keys[0].fingerprint, a);
    digest_hex(&world.trust.keys[1].fingerprint, b);
    refused_with(a, b, "the signature of \"auditor\" does not hold");
}

static void a_hint_in_capital_letters(void **state)
{
    (void)state;
    char a[DIGEST_HEX], b[DIGEST_HEX];
    digest_hex(&world.trust.keys[0].fingerprint, a);
    for (int i = 0; i < DIGEST_HEX; i++)
        b[i] = a[i] >= 'a' ? (char)(a[i] - 32) : a[i];
    refused_with(a, b, "signed by a key that is not trusted");
}

static void another_payload_type(void **state)
{
    (void)state;
    refused_with("application/vnd.in-toto+json", "application/vnd.in-toto+jsom", "payloadType is");
}

static void another_media_type(void **state)
{
    (void)state;
    refused_with("bundle.v0.3+json", "bundle.v0.2+json", "mediaType is");
}

static void a_keyid_to_be_believed(void **state)
{
    (void)state;
    refused_with("\"keyid\": \"\"", "\"keyid\": \"producer\"", "\"keyid\" is not empty");
}

static void a_second_signature(void **state)
{
    (void)state;
    refused_with("\"signatures\": [", "\"signatures\": [{\"sig\": \"AAAA\"},", "2 signatures");
}

static void no_signature(void **state)
{
    (void)state;
    world_sign_text(&world, producer, "{}", 0);
    refused_with("\"signatures\": [", "\"signatures\": [], \"x\": [", "not a key that is known");
    world_expect(&world, ANSWER_NO, "statement");
}

static void a_key_of_json_twice(void **state)
{
    (void)state;
    refused_with(
        "\"payloadType\":", "\"payload\": \"e30=\", \"payloadType\":", "duplicate object key");
}

static void a_key_that_nobody_knows(void **state)
{
    (void)state;
    refused_with("\"tlogEntries\":", "\"trustMe\": true, \"tlogEntries\":",
                 "\"trustMe\" is not a key that is known here");
}

static void an_entry_of_a_log_that_nobody_can_check(void **state)
{
    (void)state;
    refused_with("\"tlogEntries\": []", "\"tlogEntries\": [{}]", "transparency log");
}

static void base64_with_blanks(void **state)
{
    (void)state;
    refused_with("\"payload\": \"", "\"payload\": \" ", "\"payload\" is not base64");
}

static void a_timestamp_that_is_none(void **state)
{
    (void)state;
    refused_with("\"tlogEntries\": []",
                 "\"tlogEntries\": [], \"timestampVerificationData\": {\"rfc3161Timestamps\": "
                 "[{\"signedTimestamp\": \"MAA=\"}]}",
                 "names no authority for those");
}

static void bytes_behind_the_document(void **state)
{
    (void)state;
    size_t size;
    char *bytes = read_text(producer, &size);
    char *longer = arena_format(&world.arena, "%s{}", bytes);
    world_write(&world, producer, longer, strlen(longer));
    world_expect(&world, ANSWER_NO, "not valid JSON");
    memory_free(bytes);
}

/* Signatures that a careless verifier takes: none, zeros, r and s without their frame. */
static void refused_signature(const void *bytes, size_t size)
{
    struct bundle bundle;
    struct text out = { 0 };
    assert_true(bundle_load(world_path(&world, producer), &bundle, &world.arena, &world.err));
    bundle.signature = (struct blob){ bytes, size };
    bundle_write(&bundle, &out);
    world_write(&world, producer, out.bytes, out.length);
    world_expect(&world, ANSWER_NO, "the signature of \"producer\" does not hold");
    text_release(&out);
}

static void signatures_of_zeros(void **state)
{
    (void)state;
    static const unsigned char zeros[72], der[] = { 0x30, 6, 2, 1, 0, 2, 1, 0 },
                                          ones[] = { 0x30, 6, 2, 1, 1, 2, 1, 1 };
    refused_signature(zeros, 1);
    refused_signature(zeros, 64);
    refused_signature(der, sizeof der);
    refused_signature(ones, sizeof ones);
}

static void a_raw_signature_where_der_belongs(void **state)
{
    (void)state;
    struct bundle bundle;
    struct signature signature = { 0 }, raw;
    assert_true(bundle_load(world_path(&world, producer), &bundle, &world.arena, &world.err));
    memcpy(signature.bytes, bundle.signature.bytes, bundle.signature.size);
    signature.size = bundle.signature.size;
    assert_true(signature_to_raw(world.keys[0], &signature, &raw, &world.err));
    refused_signature(raw.bytes, raw.size);
}

static void bytes_behind_a_signature(void **state)
{
    (void)state;
    struct bundle bundle;
    unsigned char longer[SIGNATURE_CAPACITY] = { 0 };
    assert_true(bundle_load(world_path(&world, producer), &bundle, &world.arena, &world.err));
    memcpy(longer, bundle.signature.bytes, bundle.signature.size);
    refused_signature(longer, bundle.signature.size + 1);
}

/* Statements by somebody who holds a key, but says something that does not fit. */
static void refused_statement(const char *old, const char *new, enum answer answer,
                              const char *problem)
{
    struct statement says = world_says(ROLE_PRODUCER);
    struct statement_release release = world_release(&world);
    char *text = statement_audit(&release, &says, NULL), *at = strstr(text, old);
    struct text changed = { 0 };
    assert_non_null(at);
    text_add_bytes(&changed, text, (size_t)(at - text));
    text_add(&changed, new);
    text_add(&changed, at + strlen(old));
    world_sign_text(&world, producer, changed.bytes, 0);
    world_expect(&world, answer, problem);
    text_release(&changed);
    memory_free(text);
}

static void a_statement_of_another_kind(void **state)
{
    (void)state;
    refused_statement("test-result/v0.1", "vuln/v0.1", ANSWER_NO, "predicate type");
    refused_statement("Statement/v1", "Statement/v0.1", ANSWER_NO, "type \"https://in-toto.io");
}

static void a_statement_about_another_archive(void **state)
{
    (void)state;
    refused_statement("brain-1.0.tar.zst", "brain-2.0.tar.zst", ANSWER_NO,
                      "it is about \"brain-2.0.tar.zst\"");
}

static void a_statement_in_a_role_of_somebody_else(void **state)
{
    (void)state;
    refused_statement("\"role\": \"producer\"", "\"role\": \"auditor\"", ANSWER_UNMET,
                      "is not trusted as auditor");
    refused_statement("\"role\": \"producer\"", "\"role\": \"root\"", ANSWER_NO, "role \"root\"");
}

static void a_statement_with_less_or_more_subjects(void **state)
{
    (void)state;
    refused_statement("\"subject\": [",
                      "\"subject\": [{\"name\": \"x\", \"digest\": {\"sha256\": "
                      "\"0000000000000000000000000000000000000000000000000000000000000000\"}},",
                      ANSWER_NO, "it is about");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, own_world_extracted, own_world_end)
    const struct CMUnitTest tests[] = {
        TEST(a_symbolic_link_out_of_the_folder),
        TEST(a_symbolic_link_within),
        TEST(a_hard_link),
        TEST(a_device),
        TEST(a_block_device),
        TEST(a_fifo),
        TEST(a_contiguous_file),
        TEST(a_file_in_the_form_of_old_tar),
        TEST(a_pax_header),
        TEST(a_global_pax_header),
        TEST(a_gnu_long_name),
        TEST(a_gnu_sparse_file),
        TEST(a_type_that_does_not_exist),
        TEST(a_folder_where_a_file_was_signed),
        TEST(a_name_that_climbs_out),
        TEST(an_absolute_name),
        TEST(a_name_beside_the_root_folder),
        TEST(the_name_of_another_entry_again),
        TEST(a_name_that_differs_in_case),
        TEST(a_name_with_a_zero_byte_and_more_behind),
        TEST(names_equal_after_unicode_normalisation),
        TEST(a_prefix_that_leads_elsewhere),
        TEST(a_program_that_runs_as_root),
        TEST(a_name_of_the_person_who_packed_it),
        TEST(bytes_hidden_at_the_end_of_a_header),
        TEST(bytes_hidden_in_the_padding_of_a_file),
        TEST(bytes_hidden_in_the_end_of_the_tar),
        TEST(a_second_tar_after_the_end),
        TEST(zero_blocks_after_the_end),
        TEST(an_entry_more_than_was_signed),
        TEST(a_file_less_than_was_signed),
        TEST(two_files_that_changed_places),
        TEST(a_skippable_frame_in_front),
        TEST(a_skippable_frame_behind),
        TEST(one_byte_behind_the_frame),
        TEST(a_second_frame),
        TEST(a_frame_without_checksum),
        TEST(a_frame_without_size),
        TEST(a_frame_that_wants_all_memory),
        TEST(a_frame_that_wants_a_dictionary),
        TEST(a_bomb),
        TEST(an_archive_that_is_cut),
        TEST(an_empty_archive),
        TEST(another_compression_of_the_same_tar),
        TEST(a_manifest_written_otherwise),
        TEST(the_manifest_of_an_older_release),
        TEST(the_payload_of_one_bundle_with_the_signature_of_another),
        TEST(a_bundle_under_another_role_s_name),
        TEST(another_key_s_hint),
        TEST(a_hint_in_capital_letters),
        TEST(another_payload_type),
        TEST(another_media_type),
        TEST(a_keyid_to_be_believed),
        TEST(a_second_signature),
        TEST(no_signature),
        TEST(a_key_of_json_twice),
        TEST(a_key_that_nobody_knows),
        TEST(an_entry_of_a_log_that_nobody_can_check),
        TEST(base64_with_blanks),
        TEST(a_timestamp_that_is_none),
        TEST(bytes_behind_the_document),
        TEST(signatures_of_zeros),
        TEST(a_raw_signature_where_der_belongs),
        TEST(bytes_behind_a_signature),
        TEST(a_statement_of_another_kind),
        TEST(a_statement_about_another_archive),
        TEST(a_statement_in_a_role_of_somebody_else),
        TEST(a_statement_with_less_or_more_subjects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
