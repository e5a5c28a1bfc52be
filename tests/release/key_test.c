#include "test.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "release/base64.h"
#include "release/key.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error err;
static struct arena arena;
static char folder[64];

static int begin(void **state)
{
    (void)state;
    arena_init(&arena);
    strcpy(folder, "/tmp/lethe-key-XXXXXX");
    return !mkdtemp(folder);
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return !folder_remove(folder, &err);
}

static char right[] = "right", wrong[] = "wrong";

static bool ask_from_text(void *context, char *phrase, size_t capacity, struct error *error)
{
    (void)error;
    snprintf(phrase, capacity, "%s", (const char *)context);
    return true;
}

static struct key *new_key(enum key_kind kind)
{
    struct key *key = key_generate(kind, &err);
    assert_ok(key, err);
    return key;
}

static void what_a_key_signs_it_verifies_and_no_other_bytes(void **state)
{
    (void)state;
    for (int kind = 0; kind < KEY_KIND_COUNT; kind++) {
        struct key *key = new_key((enum key_kind)kind), *other = new_key((enum key_kind)kind);
        struct signature signature;
        assert_ok(key_sign(key, "message", 7, &signature, &err), err);
        assert_true(key_verify(key, "message", 7, signature.bytes, signature.size));
        assert_false(key_verify(key, "messagf", 7, signature.bytes, signature.size));
        assert_false(key_verify(key, "message", 6, signature.bytes, signature.size));
        assert_false(key_verify(other, "message", 7, signature.bytes, signature.size));
        for (size_t bit = 0; bit < 8 * signature.size; bit++) {
            signature.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_false(key_verify(key, "message", 7, signature.bytes, signature.size));
            signature.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        for (size_t size = 0; size < signature.size; size++)
            assert_false(key_verify(key, "message", 7, signature.bytes, size));
        key_free(key);
        key_free(other);
    }
}

static void signatures_turn_into_raw_numbers_and_verify_as_such(void **state)
{
    (void)state;
    static const size_t sizes[] = { 64, 64, 96 };
    for (int kind = 0; kind < KEY_KIND_COUNT; kind++) {
        struct key *key = new_key((enum key_kind)kind);
        struct signature signature, raw;
        assert_ok(key_sign(key, "message", 7, &signature, &err), err);
        assert_ok(signature_to_raw(key, &signature, &raw, &err), err);
        assert_int_equal(raw.size, sizes[kind]);
        assert_true(key_verify_raw(key, "message", 7, raw.bytes, raw.size));
        raw.bytes[raw.size - 1] ^= 1;
        assert_false(key_verify_raw(key, "message", 7, raw.bytes, raw.size));
        key_free(key);
    }
}

static void a_saved_key_opens_with_its_passphrase_alone(void **state)
{
    (void)state;
    struct key *key = new_key(KEY_P256);
    char *path = path_join(&arena, folder, "a.key");
    struct stat status;
    assert_ok(key_save_private(key, path, "right", &err), err);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    struct key *again = key_open_private(path, &(struct passphrase){ ask_from_text, right }, &err);
    assert_ok(again, err);
    struct digest a = key_fingerprint(key), b = key_fingerprint(again);
    assert_true(digest_equal(&a, &b));
    assert_null(key_open_private(path, &(struct passphrase){ ask_from_text, wrong }, &err));
    assert_contains(err.message, "is the passphrase right?");
    assert_null(key_open_private(path, NULL, &err));
    assert_contains(err.message, "no passphrase is at hand");
    key_free(key);
    key_free(again);
}

static void encryption_is_aes_256_with_scrypt(void **state)
{
    (void)state;
    struct key *key = new_key(KEY_ED25519);
    char *path = path_join(&arena, folder, "a.key");
    assert_ok(key_save_private(key, path, "right", &err), err);
    FILE *pipe = popen(arena_format(&arena, "openssl asn1parse -in %s", path), "r");
    struct text shown = { 0 };
    char line[256];
    while (fgets(line, sizeof line, pipe))
        text_add(&shown, line);
    assert_int_equal(pclose(pipe), 0);
    assert_contains(shown.bytes, "scrypt");
    assert_contains(shown.bytes, ":aes-256-cbc");
    text_release(&shown);
    key_free(key);
}

static void a_key_opens_by_its_uri(void **state)
{
    (void)state;
    struct key *key = new_key(KEY_P256);
    char *path = path_join(&arena, folder, "a.key");
    assert_ok(key_save_private(key, path, "right", &err), err);
    struct key *again = key_open_private(arena_format(&arena, "file:%s", path),
                                         &(struct passphrase){ ask_from_text, right }, &err);
    assert_ok(again, err);
    struct digest a = key_fingerprint(key), b = key_fingerprint(again);
    assert_true(digest_equal(&a, &b));
    assert_null(key_open_private("nothing:token=x", NULL, &err));
    assert_contains(err.message, "is the provider for it installed");
    key_free(key);
    key_free(again);
}

static void a_fingerprint_is_the_digest_of_the_public_key_file(void **state)
{
    (void)state;
    struct key *key = new_key(KEY_P256);
    const char *pem = key_public_pem(key, &arena);
    struct digest expected = digest_of(pem, strlen(pem)), seen;
    struct key *again = key_parse_public(pem, strlen(pem), "x.pub", &err);
    assert_ok(again, err);
    seen = key_fingerprint(again);
    assert_true(digest_equal(&expected, &seen));
    key_free(key);
    key_free(again);
}

static void public_keys_are_written_as_openssl_writes_them(void **state)
{
    (void)state;
    char *path = path_join(&arena, folder, "a.key");
    for (int kind = 0; kind < KEY_KIND_COUNT; kind++) {
        struct key *key = new_key((enum key_kind)kind);
        char theirs[1024];
        assert_ok(key_save_private(key, path, NULL, &err), err);
        FILE *pipe = popen(arena_format(&arena, "openssl pkey -in %s -pubout", path), "r");
        size_t size = fread(theirs, 1, sizeof theirs - 1, pipe);
        theirs[size] = '\0';
        assert_int_equal(pclose(pipe), 0);
        assert_string_equal(key_public_pem(key, &arena), theirs);
        key_free(key);
    }
}

/* A public key of any kind whose bytes were changed is another key or none, never a crash. */
static void points_off_the_curve_are_no_keys(void **state)
{
    (void)state;
    static const enum key_kind curves[] = { KEY_P256, KEY_P384 };
    for (int i = 0; i < 2; i++) {
        struct key *key = new_key(curves[i]);
        char *pem = arena_string(&arena, key_public_pem(key, &arena));
        char *digit = strstr(pem, "-----END") - 8; /* within the last bytes of y */
        *digit = *digit == 'A' ? 'B' : 'A';
        assert_null(key_parse_public(pem, strlen(pem), "x.pub", &err));
        assert_contains(err.message, "x.pub: the public key there cannot be read");
        key_free(key);
    }
}

/* The same point, compressed and not, as openssl writes them. */
static void one_key_has_one_fingerprint_however_it_is_written(void **state)
{
    (void)state;
    struct key *key = new_key(KEY_P256);
    char *plain = path_join(&arena, folder, "a.pub"),
         *short_form = path_join(&arena, folder, "b.pub");
    const char *pem = key_public_pem(key, &arena);
    assert_ok(file_write(plain, pem, strlen(pem), &err), err);
    assert_int_equal(
        system(arena_format(&arena,
                            "openssl ec -pubin -in %s -conv_form compressed -out %s 2>/dev/null",
                            plain, short_form)),
        0);
    struct key *again = key_load_public(short_form, &err);
    assert_ok(again, err);
    struct digest a = key_fingerprint(key), b = key_fingerprint(again);
    assert_true(digest_equal(&a, &b));
    key_free(key);
    key_free(again);
}

static void other_keys_and_other_files_are_refused(void **state)
{
    (void)state;
    char *path = path_join(&arena, folder, "rsa.key"),
         *public_path = path_join(&arena, folder, "rsa.pub");
    assert_int_equal(system(arena_format(&arena,
                                         "openssl genrsa -out %s 2048 2>/dev/null && "
                                         "openssl rsa -in %s -pubout -out %s 2>/dev/null",
                                         path, path, public_path)),
                     0);
    assert_null(key_open_private(path, NULL, &err));
    assert_contains(err.message, "neither a P-256, nor an Ed25519");
    assert_null(key_load_public(public_path, &err));
    assert_contains(err.message, "neither a P-256, nor an Ed25519");
    assert_null(key_load_public(path, &err));
    assert_contains(err.message, "no public key in PEM there");
    assert_null(key_open_private(public_path, NULL, &err));
    assert_contains(err.message, "no private key");
    struct key *key = new_key(KEY_P256);
    const char *pem = key_public_pem(key, &arena);
    char *twice = arena_format(&arena, "%s%s", pem, pem);
    assert_null(key_parse_public(twice, strlen(twice), "x.pub", &err));
    assert_contains(err.message, "expected one public key");
    key_free(key);
}

static unsigned char *from_hex(const char *hex, size_t *size)
{
    *size = strlen(hex) / 2;
    unsigned char *bytes = arena_allocate(&arena, *size + 1);
    for (size_t i = 0; i < *size; i++)
        bytes[i] = (unsigned char)strtoul((char[]){ hex[2 * i], hex[2 * i + 1], 0 }, NULL, 16);
    return bytes;
}

/* "acceptable" does not occur in these two files: each test is valid or invalid. */
static void wycheproof(const char *path, int64_t expected_tests)
{
    struct json *root = json_load(path, &err);
    assert_ok(root, err);
    const struct json *groups = json_get_array(root, "testGroups", &err);
    int64_t tests = 0;
    for (size_t g = 0; g < json_length(groups); g++) {
        const struct json *group = json_at(groups, g), *list = json_get_array(group, "tests", &err);
        const char *pem = json_get_string(group, "publicKeyPem", &err);
        struct key *key = key_parse_public(pem, strlen(pem), "wycheproof", &err);
        assert_ok(key, err);
        for (size_t t = 0; t < json_length(list); t++, tests++) {
            const struct json *test = json_at(list, t);
            int64_t number;
            assert_true(json_get_integer(test, "tcId", &number, &err));
            size_t message_size, signature_size;
            unsigned char *message = from_hex(json_get_string(test, "msg", &err), &message_size);
            unsigned char *signature =
                from_hex(json_get_string(test, "sig", &err), &signature_size);
            bool valid = !strcmp(json_get_string(test, "result", &err), "valid");
            if (key_verify(key, message, message_size, signature, signature_size) != valid)
                fail_msg("%s: test %d is %s", path, (int)number, valid ? "valid" : "invalid");
        }
        key_free(key);
    }
    assert_int_equal(tests, expected_tests);
    json_free(root);
}

static void wycheproof_agrees_on_p256(void **state)
{
    (void)state;
    wycheproof(LETHE_GOLDEN "/wycheproof/ecdsa_secp256r1_sha256_test.json", 484);
}

static void wycheproof_agrees_on_ed25519(void **state)
{
    (void)state;
    wycheproof(LETHE_GOLDEN "/wycheproof/ed25519_test.json", 151);
}

static void base64_reads_what_it_writes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *text;
    } vectors[] = { { "", "" },
                    { "f", "Zg==" },
                    { "fo", "Zm8=" },
                    { "foo", "Zm9v" },
                    { "foob", "Zm9vYg==" },
                    { "fooba", "Zm9vYmE=" },
                    { "foobar", "Zm9vYmFy" },
                    { "\xfb\xff", "+/8=" } }; /* RFC 4648, section 10 */
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        size_t size;
        assert_string_equal(base64_text(&arena, vectors[i].bytes, strlen(vectors[i].bytes)),
                            vectors[i].text);
        unsigned char *bytes = base64_bytes(&arena, vectors[i].text, &size);
        assert_non_null(bytes);
        assert_int_equal(size, strlen(vectors[i].bytes));
        assert_memory_equal(bytes, vectors[i].bytes, size);
    }
}

static void base64_takes_one_spelling_in_either_alphabet(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "Zg",   "Zg=",  "Zh==", "Zm9=",     "Zg== ", " Zg==",  "Zg==\n",
        "Z===", "====", "+_8=", "Zg==Zg==", "Zm8*",  "Zm\x80v"
    };
    size_t size;
    assert_non_null(base64_bytes(&arena, "-_8=", &size));
    assert_int_equal(size, 2);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (base64_bytes(&arena, refused[i], &size))
            fail_msg("accepted: %s", refused[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_key_signs_it_verifies_and_no_other_bytes, begin,
                                        end),
        cmocka_unit_test_setup_teardown(signatures_turn_into_raw_numbers_and_verify_as_such, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_saved_key_opens_with_its_passphrase_alone, begin, end),
        cmocka_unit_test_setup_teardown(encryption_is_aes_256_with_scrypt, begin, end),
        cmocka_unit_test_setup_teardown(a_key_opens_by_its_uri, begin, end),
        cmocka_unit_test_setup_teardown(a_fingerprint_is_the_digest_of_the_public_key_file, begin,
                                        end),
        cmocka_unit_test_setup_teardown(public_keys_are_written_as_openssl_writes_them, begin, end),
        cmocka_unit_test_setup_teardown(points_off_the_curve_are_no_keys, begin, end),
        cmocka_unit_test_setup_teardown(one_key_has_one_fingerprint_however_it_is_written, begin,
                                        end),
        cmocka_unit_test_setup_teardown(other_keys_and_other_files_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(wycheproof_agrees_on_p256, begin, end),
        cmocka_unit_test_setup_teardown(wycheproof_agrees_on_ed25519, begin, end),
        cmocka_unit_test_setup_teardown(base64_reads_what_it_writes, begin, end),
        cmocka_unit_test_setup_teardown(base64_takes_one_spelling_in_either_alphabet, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
