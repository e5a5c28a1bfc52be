/* X.509 and RFC 3161 with authorities that the openssl command makes, in folders of their own. */
#include "test.h"

#include "base/file.h"
#include "release/sign.h"
#include "release/world.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct world world;

/* Runs a shell script in the world's folder; `$1` is the folder. */
static void shell(const char *script)
{
    char *command = arena_format(&world.arena, "cd %s && ( %s ) >log 2>&1", world.folder, script);
    if (system(command) != 0) {
        size_t size;
        char *log = file_read(world_path(&world, "log"), 100000, &size, &world.err);
        fail_msg("%s: %s", script, log);
    }
}

/* A root, an intermediate, signers, and a timestamp authority. */
static const char authorities[] =
    "export OPENSSL_CONF=/dev/null; "
    "key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1.key; }; "
    "issue() { openssl req -new -config req.cnf -key $1.key -subj \"$2\" -out $1.csr; "
    "  openssl x509 -req -in $1.csr -CA $3.pem -CAkey $3.key -CAcreateserial -days $5 "
    "    -extfile ext.cnf -extensions $4 -out $1.pem; }; "
    "printf '[req]\\ndistinguished_name=dn\\n[dn]\\n' > req.cnf; "
    "printf '[ca]\\nbasicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign\\n"
    "subjectKeyIdentifier=hash\\nauthorityKeyIdentifier=keyid\\n"
    "[signer]\\nbasicConstraints=CA:FALSE\\nkeyUsage=critical,digitalSignature\\n"
    "extendedKeyUsage=codeSigning\\nsubjectKeyIdentifier=hash\\nauthorityKeyIdentifier=keyid\\n"
    "[web]\\nbasicConstraints=CA:FALSE\\nkeyUsage=critical,digitalSignature\\n"
    "extendedKeyUsage=serverAuth\\nsubjectKeyIdentifier=hash\\nauthorityKeyIdentifier=keyid\\n"
    "[tsa]\\nbasicConstraints=CA:FALSE\\nkeyUsage=critical,digitalSignature\\n"
    "extendedKeyUsage=critical,timeStamping\\nsubjectKeyIdentifier=hash\\n"
    "authorityKeyIdentifier=keyid\\n' > ext.cnf; "
    "for name in root middle steward web tsa; do key $name; done; "
    "openssl req -x509 -new -config req.cnf -key root.key -subj /CN=root -days 30 -out root.pem "
    "  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign "
    "  -addext subjectKeyIdentifier=hash; "
    "issue middle /CN=middle root ca 30; issue steward '/O=Hospital/CN=Jane Doe' middle signer 2; "
    "issue web /CN=web middle web 2; issue tsa /CN=tsa root tsa 30; "
    "cat steward.pem middle.pem > chain.pem; cat web.pem middle.pem > web-chain.pem; "
    "printf '[tsa]\\ndefault_tsa=t\\n[t]\\nserial=serial\\nsigner_cert=tsa.pem\\nsigner_key=tsa.key\\n"
    "signer_digest=sha256\\ndefault_policy=1.2.3.4\\ndigests=sha256\\naccuracy=secs:1\\n"
    "ess_cert_id_chain=no\\ness_cert_id_alg=sha256\\n' > tsa.cnf; echo 01 > serial";

static int64_t now(void)
{
    return (int64_t)time(NULL);
}

static struct trust_authority authority(const char *file, const char *name, enum role role)
{
    size_t size;
    char *pem = file_read(world_path(&world, file), 100000, &size, &world.err);
    struct trust_authority made = { .name = name, .role = role };
    made.authority = authority_parse(pem, size, file, &world.err);
    assert_ok(made.authority, world.err);
    memory_free(pem);
    return made;
}

static int begin(void **state)
{
    (void)state;
    world_begin(&world);
    world_pack(&world, NULL);
    shell(authorities);
    struct trust *trust = &world.trust;
    trust->key_count = 0;
    memset(trust->require, 0, sizeof trust->require);
    trust->require[ROLE_STEWARD] = 1;
    trust->authorities = arena_array(&world.arena, struct trust_authority, 1);
    trust->authorities[0] = authority("root.pem", "hospital", ROLE_STEWARD);
    trust->authority_count = 1;
    trust->timestamps = arena_array(&world.arena, struct trust_authority, 1);
    trust->timestamps[0] = authority("root.pem", "tsa", ROLE_PRODUCER);
    trust->timestamp_count = 1;
    return 0;
}

static int end(void **state)
{
    (void)state;
    authority_free(world.trust.authorities[0].authority);
    authority_free(world.trust.timestamps[0].authority);
    world_end(&world);
    return 0;
}

static bool sign(const char *key, const char *chain, bool request)
{
    struct signed_files written;
    struct sign_job job = { .archive = world_path(&world, "brain-1.0.tar.zst"),
                            .certificates = world_path(&world, chain),
                            .says = world_says(ROLE_STEWARD),
                            .request = request };
    job.says.created = now() - 10;
    job.says.expires = INT64_MAX;
    struct key *private_key = key_open_private(world_path(&world, key), NULL, &world.err);
    assert_ok(private_key, world.err);
    job.key = private_key;
    bool ok = sign_release(&job, &written, &world.result.findings, &world.arena, &world.err);
    key_free(private_key);
    return ok;
}

static enum answer verify_at(int64_t moment)
{
    struct verify_job job = { .archive = world_path(&world, "brain-1.0.tar.zst"),
                              .trust = &world.trust,
                              .now = moment };
    verification_release(&world.result);
    assert_ok(verify(&job, &world.result, &world.arena, &world.err), world.err);
    return world.result.answer;
}

static void told(const char *problem)
{
    assert_true(world.result.findings.count > 0);
    assert_contains(world.result.findings.items[0].text, problem);
}

static void a_chain_to_a_trusted_authority_counts(void **state)
{
    (void)state;
    assert_ok(sign("steward.key", "chain.pem", false), world.err);
    assert_int_equal(verify_at(now()), ANSWER_YES);
    assert_string_equal(world.result.signers[0].identity, "O=Hospital,CN=Jane Doe");
    assert_string_equal(world.result.signers[0].name, "hospital");
}

static void an_authority_may_be_trusted_for_one_subject_alone(void **state)
{
    (void)state;
    assert_ok(sign("steward.key", "chain.pem", false), world.err);
    world.trust.authorities[0].subject = "O=Hospital,CN=Jane Doe";
    assert_int_equal(verify_at(now()), ANSWER_YES);
    world.trust.authorities[0].subject = "O=Hospital,CN=John Doe";
    assert_int_equal(verify_at(now()), ANSWER_NO);
    told("is trusted for O=Hospital,CN=John Doe alone");
}

static void an_expired_certificate_does_not_count(void **state)
{
    (void)state;
    assert_ok(sign("steward.key", "chain.pem", false), world.err);
    assert_int_equal(verify_at(now() + 3 * 86400), ANSWER_NO);
    told("certificate has expired");
}

static void a_certificate_for_something_else_does_not_count(void **state)
{
    (void)state;
    assert_ok(sign("web.key", "web-chain.pem", false), world.err);
    assert_int_equal(verify_at(now()), ANSWER_NO);
    told("may not sign code or data");
}

static void another_authority_s_certificate_does_not_count(void **state)
{
    (void)state;
    assert_ok(sign("steward.key", "chain.pem", false), world.err);
    authority_free(world.trust.authorities[0].authority);
    world.trust.authorities[0] = authority("web.pem", "other", ROLE_STEWARD);
    assert_int_equal(verify_at(now()), ANSWER_NO);
    told("does not lead to the authority");
}

static void a_certificate_of_another_key_is_not_signed_with(void **state)
{
    (void)state;
    assert_false(sign("web.key", "chain.pem", false));
    assert_contains(world.err.message, "the first certificate is not that of the key");
}

/* What an authority answers, made by `openssl ts`, added to the bundle. */
static void stamp(void)
{
    char *bundle = world_path(&world, "brain-1.0.steward.audit.sigstore.json");
    assert_ok(sign("steward.key", "chain.pem", true), world.err);
    shell("OPENSSL_CONF=/dev/null openssl ts -reply -config tsa.cnf "
          "-queryfile brain-1.0.steward.audit.sigstore.json.tsq -out answer.tsr");
    assert_ok(sign_add_timestamp(bundle, world_path(&world, "answer.tsr"), &world.err), world.err);
}

static void a_timestamp_outlives_the_certificate(void **state)
{
    (void)state;
    stamp();
    assert_int_equal(verify_at(now() + 3 * 86400), ANSWER_NO); /* of the files there is none */
    unlink(world_path(&world, "brain-1.0.steward.files.sigstore.json"));
    assert_int_equal(verify_at(now() + 3 * 86400), ANSWER_YES);
    assert_true(world.result.signers[0].stamped > now() - 600);
}

static void a_timestamp_by_a_stranger_is_refused(void **state)
{
    (void)state;
    stamp();
    authority_free(world.trust.timestamps[0].authority);
    world.trust.timestamps[0] = authority("web.pem", "other", ROLE_PRODUCER);
    assert_int_equal(verify_at(now()), ANSWER_NO);
    told("the timestamp does not hold");
}

static void a_timestamp_over_another_signature_is_not_added(void **state)
{
    (void)state;
    stamp();
    unlink(world_path(&world, "brain-1.0.steward.audit.sigstore.json"));
    unlink(world_path(&world, "brain-1.0.steward.files.sigstore.json"));
    assert_ok(sign("steward.key", "chain.pem", false), world.err);
    assert_false(sign_add_timestamp(world_path(&world, "brain-1.0.steward.audit.sigstore.json"),
                                    world_path(&world, "answer.tsr"), &world.err));
    assert_contains(world.err.message, "not a timestamp over that signature");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_chain_to_a_trusted_authority_counts),
        TEST(an_authority_may_be_trusted_for_one_subject_alone),
        TEST(an_expired_certificate_does_not_count),
        TEST(a_certificate_for_something_else_does_not_count),
        TEST(another_authority_s_certificate_does_not_count),
        TEST(a_certificate_of_another_key_is_not_signed_with),
        TEST(a_timestamp_outlives_the_certificate),
        TEST(a_timestamp_by_a_stranger_is_refused),
        TEST(a_timestamp_over_another_signature_is_not_added),
    };
    key_ignore_configuration(); /* as lethe-verify: certificates have to work without it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
