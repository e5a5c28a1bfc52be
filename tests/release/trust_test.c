#include "test.h"

#include "base/file.h"
#include "base/text.h"
#include "release/trust.h"

#include <stdio.h>

static struct error err;
static struct arena arena;
static struct trust trust;
static char *pem; /* of a key, indented as a block in YAML */

static int begin(void **state)
{
    (void)state;
    arena_init(&arena);
    struct key *key = key_generate(KEY_P256, &err);
    struct text text = { 0 };
    for (const char *at = key_public_pem(key, &arena); *at; at++) {
        text_add(&text, at == strstr(at, "-----BEGIN") ? "      " : "");
        text_add_bytes(&text, at, 1);
        text_add(&text, *at == '\n' && at[1] && at[1] != '-' ? "      " : "");
        text_add(&text, *at == '\n' && at[1] == '-' ? "      " : "");
    }
    pem = arena_string(&arena, text.bytes);
    text_release(&text);
    key_free(key);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static bool parse(const char *document)
{
    return trust_parse(document, strlen(document), "trust.yaml", NULL, &trust, &arena, &err);
}

static void refused(const char *document, const char *reason)
{
    if (parse(document))
        fail_msg("accepted: %s", document);
    assert_contains(err.message, "trust.yaml");
    assert_contains(err.message, reason);
}

/* A document with one key in a role and more lines about it. */
static char *with_key(const char *require, const char *role, const char *more)
{
    return arena_format(&arena,
                        "schema: lethe/trust/1\nrequire: { %s }\nkeys:\n  - name: a\n    role: %s\n"
                        "%s    pem: |\n%s",
                        require, role, more, pem);
}

static void a_file_with_keys_is_read(void **state)
{
    (void)state;
    assert_ok(
        parse(with_key("producer: 1", "producer", "    from: 2026-01-01\n    until: 2026-12-31\n")),
        err);
    assert_int_equal(trust.key_count, 1);
    assert_string_equal(trust.keys[0].name, "a");
    assert_int_equal(trust.keys[0].role, ROLE_PRODUCER);
    assert_int_equal(trust.keys[0].from, 1767225600);
    assert_int_equal(trust.keys[0].until, 1798761599); /* the last second of the day */
    assert_int_equal(trust.require[ROLE_PRODUCER], 1);
    assert_int_equal(trust.require[ROLE_AUDITOR], 0);
    assert_true(trust.distinct);
    trust_release(&trust);
}

static void files_are_found_beside_the_trust_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/lethe-trust-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct key *key = key_generate(KEY_ED25519, &err);
    const char *text = key_public_pem(key, &arena);
    const char *document = "schema: lethe/trust/1\nrequire: { auditor: 1 }\nkeys:\n"
                           "  - { name: b, role: auditor, file: b.pub }\n";
    char *path = path_join(&arena, folder, "trust.yaml");
    assert_true(file_write(path_join(&arena, folder, "b.pub"), text, strlen(text), &err));
    assert_true(file_write(path, document, strlen(document), &err));
    assert_ok(trust_load(path, &trust, &arena, &err), err);
    struct digest expected = key_fingerprint(key);
    assert_true(digest_equal(&trust.keys[0].fingerprint, &expected));
    trust_release(&trust);
    key_free(key);
    assert_true(folder_remove(folder, &err));
}

static void mistakes_are_refused_with_their_place(void **state)
{
    (void)state;
    refused("", "empty");
    refused("schema: lethe/trust/2\nrequire: { producer: 1 }\n", "schema \"lethe/trust/2\"");
    refused("schema: lethe/trust/1\nrequires: { producer: 1 }\n", "trust.yaml:2:1");
    refused("schema: lethe/trust/1\n", "require");
    refused(with_key("producer: 1", "boss", ""), "boss");
    refused(with_key("producer: 1", "producer", "    rolle: auditor\n"), "rolle");
    refused(with_key("producer: 1", "producer", "    until: tomorrow\n"),
            "neither a day like 2026-01-31");
    refused(with_key("producer: 1", "producer", "    file: a.pub\n"), "either \"file\" or \"pem\"");
    refused(
        "schema: lethe/trust/1\nrequire: { producer: 1 }\nkeys:\n  - { name: a, role: producer, "
        "pem: nothing }\n",
        "no public key in PEM");
}

static void what_nobody_could_meet_is_refused(void **state)
{
    (void)state;
    refused(with_key("producer: 2", "producer", ""), "2 keys of role producer, but only 1");
    refused(with_key("auditor: 1", "producer", ""), "1 keys of role auditor, but only 0");
}

static void what_everything_would_meet_is_refused(void **state)
{
    (void)state;
    refused(with_key("producer: 0", "producer", ""), "no signature at all");
    refused(with_key("", "producer", ""), "no signature at all");
    refused(with_key("producer: -1", "producer", ""), "-1");
}

static void the_same_key_twice_in_a_role_is_refused(void **state)
{
    (void)state;
    char *document = arena_format(&arena, "%s  - name: b\n    role: producer\n    pem: |\n%s",
                                  with_key("producer: 2", "producer", ""), pem);
    refused(document, "the same key as \"a\"");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_file_with_keys_is_read),
        TEST(files_are_found_beside_the_trust_file),
        TEST(mistakes_are_refused_with_their_place),
        TEST(what_nobody_could_meet_is_refused),
        TEST(what_everything_would_meet_is_refused),
        TEST(the_same_key_twice_in_a_role_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
