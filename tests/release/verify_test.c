#include "test.h"

#include "base/file.h"
#include "release/own_world.h"

#include <stdio.h>
#include <unistd.h>

static void yes(void)
{
    enum answer answer = world_verify(&world);
    if (!world.told)
        fail_msg("could not tell: %s", world.err.message);
    if (answer != ANSWER_YES)
        fail_msg("%s", world.result.findings.items[0].text);
}

static void a_release_signed_by_all_that_are_required_verifies(void **state)
{
    (void)state;
    yes();
    assert_int_equal(world.result.signer_count, 2);
    assert_string_equal(world.result.signers[0].file, "brain-1.0.auditor.audit.sigstore.json");
    assert_string_equal(world.result.signers[0].name, "auditor");
    assert_true(world.result.signers[0].counts);
}

static void bundles_over_the_files_are_verified_too(void **state)
{
    (void)state;
    world_sign(&world, STATEMENT_FILES, ROLE_PRODUCER, 0);
    yes();
    assert_int_equal(world.result.signer_count, 3);
}

static void a_split_archive_verifies_from_any_of_its_volumes(void **state)
{
    (void)state;
    world_pack(&world, &(struct packing){ .volume_size = 100 });
    world_sign_both(&world);
    assert_true(world.manifest.volume_count >= 3);
    yes();
    unlink(world_path(&world, "brain-1.0.tar.zst.002"));
    world_verify(&world);
    assert_false(world.told);
    assert_contains(world.err.message, "brain-1.0.tar.zst.002: cannot be opened");
}

static void a_changed_volume_is_named(void **state)
{
    (void)state;
    world_pack(&world, &(struct packing){ .volume_size = 100 });
    world_sign_both(&world);
    char *path = world_path(&world, "brain-1.0.tar.zst.002");
    size_t size;
    char *bytes = file_read(path, 1000, &size, &world.err);
    bytes[50] ^= 1;
    assert_true(file_write(path, bytes, size, &world.err));
    memory_free(bytes);
    world_expect(&world, ANSWER_NO, "brain-1.0.tar.zst.002: its SHA-256 is not the manifest's");
}

static void without_a_signature_nothing_is_told(void **state)
{
    (void)state;
    world_pack(&world, NULL);
    world_verify(&world);
    assert_false(world.told);
    assert_contains(world.err.message, "no signature beside it");
}

static void a_missing_role_is_authentic_but_not_enough(void **state)
{
    (void)state;
    unlink(world_path(&world, "brain-1.0.auditor.audit.sigstore.json"));
    world_expect(&world, ANSWER_UNMET, "signed by 0 auditors, but 1 required");
}

static void a_signature_over_the_files_alone_fills_no_role(void **state)
{
    (void)state;
    unlink(world_path(&world, "brain-1.0.auditor.audit.sigstore.json"));
    world_sign(&world, STATEMENT_FILES, ROLE_AUDITOR, 1);
    world_expect(&world, ANSWER_UNMET, "signed by 0 auditors, but 1 required");
}

static void a_key_counts_in_its_own_role_alone(void **state)
{
    (void)state;
    world_sign(&world, STATEMENT_AUDIT, ROLE_AUDITOR, 0);
    world_expect(&world, ANSWER_UNMET, "\"producer\" is not trusted as auditor");
}

static void one_key_in_two_roles_counts_once(void **state)
{
    (void)state;
    world.trust.keys[2] = world.trust.keys[0];
    world.trust.keys[2].role = ROLE_AUDITOR;
    world_sign(&world, STATEMENT_AUDIT, ROLE_AUDITOR, 0);
    world_expect(&world, ANSWER_UNMET, "but 1 required");
    world.trust.distinct = false;
    yes();
}

static void two_statements_by_one_key_count_once(void **state)
{
    (void)state;
    world.trust.require[ROLE_PRODUCER] = 2;
    size_t size;
    char *bytes = file_read(world_path(&world, "brain-1.0.producer.audit.sigstore.json"), 100000,
                            &size, &world.err);
    world_write(&world, "brain-1.0.producer-again.audit.sigstore.json", bytes, size);
    memory_free(bytes);
    world_expect(&world, ANSWER_UNMET, "signed by 1 producer, but 2 required");
}

static void a_stranger_s_signature_is_refused_not_passed_over(void **state)
{
    (void)state;
    world_sign(&world, STATEMENT_AUDIT, ROLE_STEWARD, 2);
    world.trust.key_count = 2;
    world_expect(&world, ANSWER_NO, "signed by a key that is not trusted");
}

/* Whoever can pack and sign can lay down a release whose bundles are all passed over: nothing of it
 * is authentic. */
static void a_release_that_the_one_key_did_not_sign_is_not_authentic(void **state)
{
    (void)state;
    world.trust.any_role = true;
    memset(world.trust.require, 0, sizeof world.trust.require);
    world.trust.key_count = 1;
    yes();
    world.trust.keys[0] = world.trust.keys[2];
    world_expect(&world, ANSWER_NO, "it is not signed by this key, but by others (2 bundles)");
}

static void an_expired_statement_is_authentic_but_not_enough(void **state)
{
    (void)state;
    struct statement says = world_says(ROLE_PRODUCER);
    struct statement_release release = world_release(&world);
    says.expires = WORLD_NOW - 1;
    char *text = statement_audit(&release, &says, NULL);
    world_sign_text(&world, "brain-1.0.producer.audit.sigstore.json", text, 0);
    memory_free(text);
    world_expect(&world, ANSWER_UNMET,
                 "the statement of the producer expired at 2026-05-28T20:26:39Z");
}

static void a_statement_from_the_future_is_not_enough(void **state)
{
    (void)state;
    struct statement says = world_says(ROLE_PRODUCER);
    struct statement_release release = world_release(&world);
    says.created = WORLD_NOW + 1;
    char *text = statement_audit(&release, &says, NULL);
    world_sign_text(&world, "brain-1.0.producer.audit.sigstore.json", text, 0);
    memory_free(text);
    world_expect(&world, ANSWER_UNMET, "from the future");
}

static void a_key_past_its_end_does_not_count(void **state)
{
    (void)state;
    world.trust.keys[0].until = WORLD_NOW - 1;
    world_expect(&world, ANSWER_UNMET, "unless a timestamp shows that it signed before");
    world.trust.keys[0].until = WORLD_NOW;
    yes();
    world.trust.keys[0].from = WORLD_NOW - 500; /* the statement is of 1000 s before */
    world_expect(&world, ANSWER_UNMET, "counts only from");
}

static void an_audit_that_failed_is_not_enough(void **state)
{
    (void)state;
    world.manifest.claims.verdict = VERDICT_FAILED;
    world_pack(&world, NULL);
    world_sign_both(&world);
    world_expect(&world, ANSWER_UNMET, "the producer says that the audit FAILED");
}

static void a_verdict_other_than_the_manifest_s_is_not_enough(void **state)
{
    (void)state;
    struct statement says = world_says(ROLE_PRODUCER);
    struct statement_release release = world_release(&world);
    says.verdict = VERDICT_WARNED;
    char *text = statement_audit(&release, &says, NULL);
    world_sign_text(&world, "brain-1.0.producer.audit.sigstore.json", text, 0);
    memory_free(text);
    world_expect(&world, ANSWER_UNMET, "the producer says WARNED, the manifest PASSED");
}

static void a_withdrawal_by_any_trusted_key_is_honoured(void **state)
{
    (void)state;
    world_sign(&world, STATEMENT_WITHDRAWAL, ROLE_STEWARD, 2);
    world_expect(
        &world, ANSWER_UNMET,
        "withdrawn by the steward \"steward\" at 2026-05-28T20:10:00Z: a subject took back "
        "consent");
    world.trust.keys[2].until = 0; /* whoever may no longer sign may still take back */
    world_expect(&world, ANSWER_UNMET, "withdrawn by the steward");
}

static void a_stranger_s_withdrawal_is_not_believed(void **state)
{
    (void)state;
    world_sign(&world, STATEMENT_WITHDRAWAL, ROLE_STEWARD, 2);
    world.trust.key_count = 2;
    world_expect(&world, ANSWER_NO, "signed by a key that is not trusted");
}

static void statements_about_another_release_are_refused(void **state)
{
    (void)state;
    struct statement_release release = world_release(&world);
    struct statement says = world_says(ROLE_PRODUCER);
    release.manifest_digest.bytes[0] ^= 1;
    char *text = statement_audit(&release, &says, NULL);
    world_sign_text(&world, "brain-1.0.producer.audit.sigstore.json", text, 0);
    memory_free(text);
    world_expect(&world, ANSWER_NO, "it is about another brain-1.0.manifest.json");
}

static void every_bad_file_is_named(void **state)
{
    (void)state;
    struct digest tar = world.manifest.tar.sha256;
    *world_find(&world, "BagIt-Version") = 'b';
    *world_find(&world, "{}\n") = '[';
    world_pack(&world, &(struct packing){ .keep_digests = true });
    assert_true(digest_equal(&tar, &world.manifest.tar.sha256));
    world_sign_both(&world);
    world_expect(&world, ANSWER_NO, "brain-1.0/bagit.txt: its SHA-256 is not the manifest's");
    world_expect(&world, ANSWER_NO, "brain-1.0/data/ro-crate-metadata.json: its SHA-256");
    world_expect(&world, ANSWER_NO, "the SHA-256 of the tar in it is not the manifest's");
}

/* "1.0" begins like "1.0.1", and both may lie in one folder. */
static void bundles_of_a_longer_version_are_no_matter(void **state)
{
    (void)state;
    world_write(&world, "brain-1.0.1.producer.audit.sigstore.json", "{}", 2);
    world_write(&world, "brain-1.0.1.steward.withdrawal.sigstore.json", "{}", 2);
    yes();
    world_write(&world, "brain-1.0.steward-second.audit.sigstore.json", "{}", 2);
    world_expect(&world, ANSWER_NO, "brain-1.0.steward-second.audit.sigstore.json: ");
}

static void an_archive_of_another_name_is_refused(void **state)
{
    (void)state;
    struct verify_job job = { .archive = world_path(&world, "other-1.0.tar.zst"),
                              .manifest = world_path(&world, "brain-1.0.manifest.json"),
                              .bundles = (const char *[]){ world_path(
                                  &world, "brain-1.0.producer.audit.sigstore.json") },
                              .bundle_count = 1,
                              .trust = &world.trust,
                              .now = WORLD_NOW };
    rename(world_path(&world, "brain-1.0.tar.zst"), job.archive);
    assert_true(verify(&job, &world.result, &world.arena, &world.err));
    assert_int_equal(world.result.answer, ANSWER_NO);
    assert_contains(world.result.findings.items[0].text,
                    "the signed archive is called brain-1.0.tar.zst");
}

/* ---- extracting ------------------------------------------------------------------------------ */

static void what_verified_is_extracted_for_its_owner_alone(void **state)
{
    (void)state;
    char **files;
    size_t count, size;
    world.extract = world_path(&world, "out");
    yes();
    assert_true(folder_walk(world.extract, &world.arena, &files, &count, &world.err));
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(files[i], world.manifest.files[i].path);
        char *bytes =
            file_read(path_join(&world.arena, world.extract, files[i]), 100, &size, &world.err);
        assert_int_equal(size, world.manifest.files[i].size);
        assert_string_equal(bytes, world.contents[i]);
        memory_free(bytes);
    }
    assert_int_equal(
        system(arena_format(&world.arena, "test -z \"$(find %s -perm /077)\"", world.extract)), 0);
}

static void nothing_is_left_where_anything_failed(void **state)
{
    (void)state;
    world.extract = world_path(&world, "out");
    world.trust.require[ROLE_STEWARD] = 1;
    world_expect(&world, ANSWER_UNMET, "0 stewards");
    assert_int_equal(path_kind(world.extract), PATH_NOTHING);
    assert_int_equal(path_kind(world_path(&world, "out.partial")), PATH_NOTHING);
    *world_find(&world, "BagIt-Version") = 'b';
    world_pack(&world, &(struct packing){ .keep_digests = true });
    world_expect(&world, ANSWER_NO, "bagit.txt");
    assert_int_equal(path_kind(world.extract), PATH_NOTHING);
    assert_int_equal(path_kind(world_path(&world, "out.partial")), PATH_NOTHING);
}

static void an_existing_folder_or_link_is_never_written_to(void **state)
{
    (void)state;
    world.extract = world_path(&world, "out");
    assert_int_equal(symlink("/tmp", world.extract), 0);
    world_verify(&world);
    assert_false(world.told);
    assert_contains(world.err.message, "exists already");
    unlink(world.extract);
    assert_true(folder_create(world.extract, &world.err));
    world_verify(&world);
    assert_false(world.told);
    assert_contains(world.err.message, "exists already");
}

static void a_link_in_place_of_the_partial_folder_is_not_followed(void **state)
{
    (void)state;
    char *elsewhere = world_path(&world, "elsewhere");
    world.extract = world_path(&world, "out");
    assert_true(folder_create(elsewhere, &world.err));
    assert_int_equal(symlink(elsewhere, world_path(&world, "out.partial")), 0);
    world_verify(&world);
    assert_false(world.told);
    assert_int_equal(rmdir(elsewhere), 0); /* still empty */
}

int main(void)
{
#define SIGNED(test) cmocka_unit_test_setup_teardown(test, own_world_signed, own_world_end)
    const struct CMUnitTest tests[] = {
        SIGNED(a_release_signed_by_all_that_are_required_verifies),
        SIGNED(bundles_over_the_files_are_verified_too),
        cmocka_unit_test_setup_teardown(a_split_archive_verifies_from_any_of_its_volumes,
                                        own_world_begin, own_world_end),
        cmocka_unit_test_setup_teardown(a_changed_volume_is_named, own_world_begin, own_world_end),
        cmocka_unit_test_setup_teardown(without_a_signature_nothing_is_told, own_world_begin,
                                        own_world_end),
        SIGNED(a_missing_role_is_authentic_but_not_enough),
        SIGNED(a_signature_over_the_files_alone_fills_no_role),
        SIGNED(a_key_counts_in_its_own_role_alone),
        SIGNED(one_key_in_two_roles_counts_once),
        SIGNED(two_statements_by_one_key_count_once),
        SIGNED(a_stranger_s_signature_is_refused_not_passed_over),
        SIGNED(a_release_that_the_one_key_did_not_sign_is_not_authentic),
        SIGNED(an_expired_statement_is_authentic_but_not_enough),
        SIGNED(a_statement_from_the_future_is_not_enough),
        SIGNED(a_key_past_its_end_does_not_count),
        SIGNED(an_audit_that_failed_is_not_enough),
        SIGNED(a_verdict_other_than_the_manifest_s_is_not_enough),
        SIGNED(a_withdrawal_by_any_trusted_key_is_honoured),
        SIGNED(a_stranger_s_withdrawal_is_not_believed),
        SIGNED(statements_about_another_release_are_refused),
        SIGNED(every_bad_file_is_named),
        SIGNED(bundles_of_a_longer_version_are_no_matter),
        SIGNED(an_archive_of_another_name_is_refused),
        SIGNED(what_verified_is_extracted_for_its_owner_alone),
        SIGNED(nothing_is_left_where_anything_failed),
        SIGNED(an_existing_folder_or_link_is_never_written_to),
        SIGNED(a_link_in_place_of_the_partial_folder_is_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
