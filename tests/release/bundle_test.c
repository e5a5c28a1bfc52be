#include "own_arena.h"

#include "base/file.h"
#include "base/json.h"
#include "release/base64.h"
#include "release/bundle.h"
#include "release/certificate.h"
#include "release/statement.h"

#include "base/text.h"

#include <stdio.h>

/* A P-256 key out of the numbers of a point: the fixed beginning of its SubjectPublicKeyInfo, then
 * 4, x, y. */
static struct key *key_of_point(const unsigned char x[32], const unsigned char y[32])
{
    static const unsigned char begin_of_key[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a,
                                                  0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
                                                  0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
                                                  0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };
    struct text der = { 0 };
    text_add_bytes(&der, begin_of_key, sizeof begin_of_key);
    text_add_bytes(&der, x, 32);
    text_add_bytes(&der, y, 32);
    char *pem = arena_format(&arena, "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n",
                             base64_text(&arena, der.bytes, der.length));
    struct key *key = key_parse_public(pem, strlen(pem), "point", &err);
    assert_ok(key, err);
    text_release(&der);
    return key;
}

/* Decimal to 32 bytes, by long multiplication. */
static void from_decimal(const char *digits, unsigned char bytes[32])
{
    memset(bytes, 0, 32);
    for (; *digits; digits++) {
        unsigned carry = (unsigned)(*digits - '0');
        for (int i = 31; i >= 0; i--) {
            carry += bytes[i] * 10U;
            bytes[i] = (unsigned char)carry;
            carry >>= 8;
        }
    }
}

static void dsse_s_own_example_encodes_and_verifies(void **state)
{
    (void)state;
    struct json *vector = json_load(LETHE_GOLDEN "/dsse/vector.json", &err);
    assert_ok(vector, err);
    unsigned char x[32], y[32];
    size_t size;
    const char *payload = json_get_string(vector, "payload_utf8", &err);
    struct text encoded = { 0 };
    dsse_encode(&encoded, json_get_string(vector, "payloadType", &err), payload, strlen(payload));
    assert_string_equal(encoded.bytes, json_get_string(vector, "pae_utf8", &err));
    from_decimal(json_get_string(vector, "x", &err), x);
    from_decimal(json_get_string(vector, "y", &err), y);
    struct key *key = key_of_point(x, y);
    unsigned char *signature = base64_bytes(&arena, json_get_string(vector, "sig", &err), &size);
    assert_non_null(signature);
    assert_true(key_verify_raw(key, encoded.bytes, encoded.length, signature, size));
    encoded.bytes[0] ^= 1;
    assert_false(key_verify_raw(key, encoded.bytes, encoded.length, signature, size));
    text_release(&encoded);
    key_free(key);
    json_free(vector);
}

static bool load(const char *name, struct bundle *bundle)
{
    return bundle_load(path_join(&arena, LETHE_GOLDEN "/model-signing", name), bundle, &arena,
                       &err);
}

static bool verifies(const struct bundle *bundle, const struct key *key)
{
    struct text encoded = { 0 };
    dsse_encode(&encoded, BUNDLE_PAYLOAD_TYPE, bundle->payload.bytes, bundle->payload.size);
    bool ok = key_verify(key, encoded.bytes, encoded.length, bundle->signature.bytes,
                         bundle->signature.size);
    text_release(&encoded);
    return ok;
}

/* Both bundles were signed by one key; the certificate holds it, and the other bundle's hint is its
 * fingerprint. */
static void model_signing_s_valid_bundles_verify(void **state)
{
    (void)state;
    struct bundle by_key, by_certificate;
    struct statement statement;
    char hex[DIGEST_HEX];
    assert_ok(load("valid/key.bundle.json", &by_key), err);
    assert_ok(load("valid/certificate.bundle.json", &by_certificate), err);
    assert_int_equal(by_certificate.certificate_count, 2);
    struct key *key = certificate_public_key(&by_certificate.certificates[0], &err);
    assert_ok(key, err);
    assert_int_equal(key_kind(key), KEY_P384);
    struct digest fingerprint = key_fingerprint(key);
    assert_string_equal(by_key.hint, digest_hex(&fingerprint, hex));
    assert_true(verifies(&by_key, key));
    assert_true(verifies(&by_certificate, key));
    assert_ok(
        statement_parse(by_key.payload.bytes, by_key.payload.size, "x", &statement, &arena, &err),
        err);
    assert_int_equal(statement.kind, STATEMENT_FILES);
    assert_int_equal(statement.file_count, 2);
    assert_string_equal(statement.files[0].path, "signme-1");
    key_free(key);
}

static void model_signing_s_chain_leads_to_its_issuer(void **state)
{
    (void)state;
    struct bundle bundle;
    const char *subject;
    assert_ok(load("valid/certificate.bundle.json", &bundle), err);
    char *pem = arena_format(
        &arena, "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n",
        base64_text(&arena, bundle.certificates[1].bytes, bundle.certificates[1].size));
    struct authority *authority = authority_parse(pem, strlen(pem), "ca", &err);
    assert_ok(authority, err);
    struct key *key =
        certificate_key(bundle.certificates, 1, authority, 1800000000, &subject, &arena, &err);
    assert_ok(key, err);
    assert_string_equal(subject, "CN=intermediate-ca");
    assert_true(verifies(&bundle, key));
    key_free(key);
    assert_null(certificate_key(bundle.certificates, 1, authority, 1, &subject, &arena, &err));
    assert_contains(err.message, "not yet valid");
    authority_free(authority);
}

static void model_signing_s_invalid_bundles_are_refused(void **state)
{
    (void)state;
    struct bundle bundle;
    struct statement statement;
    assert_false(load("invalid/empty.bundle.json", &bundle));
    assert_contains(err.message, "not valid JSON");
    assert_false(load("invalid/missing-envelope.bundle.json", &bundle));
    assert_contains(err.message, "\"dsseEnvelope\" is missing");
    assert_false(load("invalid/missing-verification-material.bundle.json", &bundle));
    assert_contains(err.message, "\"verificationMaterial\" is missing");
    assert_ok(load("invalid-payload/wrong-predicate.bundle.json", &bundle), err);
    assert_false(
        statement_parse(bundle.payload.bytes, bundle.payload.size, "x", &statement, &arena, &err));
    assert_contains(err.message, "predicate type \"https://example.com/wrong-predicate/v1.0\"");
}

static void a_root_digest_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct bundle bundle;
    struct statement statement;
    assert_ok(load("valid/key.bundle.json", &bundle), err);
    char *text = arena_substring(&arena, (const char *)bundle.payload.bytes, bundle.payload.size);
    char *digest = strstr(text, "92745110");
    *digest = '8';
    assert_false(statement_parse(text, strlen(text), "x", &statement, &arena, &err));
    assert_contains(err.message, "the subject's digest is not that of the resources");
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    struct bundle bundle = { .payload = { (const unsigned char *)"{}", 2 },
                             .signature = { (const unsigned char *)"sig", 3 },
                             .timestamps = { { (const unsigned char *)"stamp", 5 } },
                             .timestamp_count = 1,
                             .certificates = { { (const unsigned char *)"one", 3 },
                                               { (const unsigned char *)"two", 3 } },
                             .certificate_count = 2 },
                  seen;
    struct text text = { 0 };
    bundle_write(&bundle, &text);
    assert_ok(bundle_parse(text.bytes, text.length, "x.json", &seen, &arena, &err), err);
    assert_null(seen.hint);
    assert_int_equal(seen.certificate_count, 2);
    assert_memory_equal(seen.certificates[1].bytes, "two", 3);
    assert_int_equal(seen.timestamp_count, 1);
    assert_memory_equal(seen.timestamps[0].bytes, "stamp", 5);
    assert_memory_equal(seen.payload.bytes, "{}", 2);
    text_release(&text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, own_arena_begin, own_arena_end)
    const struct CMUnitTest tests[] = {
        TEST(dsse_s_own_example_encodes_and_verifies),
        TEST(model_signing_s_valid_bundles_verify),
        TEST(model_signing_s_chain_leads_to_its_issuer),
        TEST(model_signing_s_invalid_bundles_are_refused),
        TEST(a_root_digest_that_does_not_fit_is_refused),
        TEST(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
