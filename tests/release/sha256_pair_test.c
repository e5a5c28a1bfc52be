/* Held against OpenSSL's digests, on the processor's instructions and without them. */
#include "test.h"

#include "base/random.h"
#include "release/sha256_pair.h"

enum { LONGEST = 5000 };

static unsigned char bytes[LONGEST];

static uint64_t draws;
static size_t draw(size_t bound)
{
    return random_below(3, 5, draws++, bound);
}

static void check(const struct digest *seen, const unsigned char *from, size_t size)
{
    struct digest expected = digest_of(from, size);
    if (!digest_equal(seen, &expected))
        fail_msg("another digest of %zu bytes", size);
}

/* Adds bytes from..to in pieces of random length. */
static void add(struct sha256_pair *pair, size_t from, size_t to)
{
    while (from < to) {
        size_t part = 1 + draw(draw(3) ? 200 : to - from);
        part = part < to - from ? part : to - from;
        sha256_pair_add(pair, bytes + from, part);
        from += part;
    }
}

static void every_length_has_openssl_s_digest(void)
{
    for (size_t size = 0; size <= 300; size++) {
        struct sha256_pair *pair = sha256_pair_begin();
        sha256_pair_open(pair);
        add(pair, 0, size);
        struct digest inner = sha256_pair_close(pair), outer = sha256_pair_end(pair);
        check(&inner, bytes, size);
        check(&outer, bytes, size);
    }
}

/* As in a tar: inner digests one after another, each from a block's beginning on. */
static void inner_digests_begin_and_end_within_the_outer(void)
{
    for (int round = 0; round < 300; round++) {
        struct sha256_pair *pair = sha256_pair_begin();
        size_t at = 0;
        while (at < LONGEST - 1500) {
            size_t gap = 64 * draw(9), size = draw(800), from = at + gap;
            add(pair, at, from);
            sha256_pair_open(pair);
            add(pair, from, from + size);
            struct digest inner = sha256_pair_close(pair);
            check(&inner, bytes + from, size);
            at = (from + size + 63) / 64 * 64;
            add(pair, from + size, at);
        }
        struct digest outer = sha256_pair_end(pair);
        check(&outer, bytes, at);
    }
}

static void run_all(void)
{
    for (size_t i = 0; i < LONGEST; i++)
        bytes[i] = (unsigned char)random_below(1, 2, i, 256);
    every_length_has_openssl_s_digest();
    inner_digests_begin_and_end_within_the_outer();
}

static void digests_agree_with_openssl(void **state)
{
    (void)state;
    if (!sha256_pair_is_fast())
        skip();
    run_all();
}

static void digests_agree_without_the_instructions_too(void **state)
{
    (void)state;
    sha256_pair_force_plain(true);
    assert_false(sha256_pair_is_fast());
    run_all();
    sha256_pair_force_plain(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_agree_with_openssl),
        cmocka_unit_test(digests_agree_without_the_instructions_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
