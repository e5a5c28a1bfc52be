/* See sha256_pair.h. FIPS 180-4; the instructions are Intel's SHA extensions. */
#include "release/sha256_pair.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64 };

struct sha256_pair {
    bool fast, open;
    /* fast: */
    uint32_t outer[8], inner[8];
    unsigned char rest[BLOCK]; /* bytes that do not fill a block yet: the same for both */
    size_t rest_size;
    uint64_t outer_size, inner_size;
    /* otherwise: */
    struct digest_state *plain_outer, *plain_inner;
};

static atomic_bool plain_is_forced;

void sha256_pair_force_plain(bool off)
{
    atomic_store(&plain_is_forced, off);
}

/* ---- the compression function ---------------------------------------------------------------- */

static const uint32_t start[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

#if defined(__x86_64__)
#include <immintrin.h>

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define SHA_CODE __attribute__((target("sha,sse4.1,ssse3")))

/* A state as the instructions want it: a, b, e, f in one register, c, d, g, h in the other. */
struct lanes {
    __m128i abef, cdgh;
};

SHA_CODE static inline struct lanes load(const uint32_t state[8])
{
    __m128i abcd = _mm_loadu_si128((const __m128i *)state);
    __m128i efgh = _mm_loadu_si128((const __m128i *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(abcd, 0xb1), efgh_turned = _mm_shuffle_epi32(efgh, 0x1b);
    return (struct lanes){ _mm_alignr_epi8(cdab, efgh_turned, 8),
                           _mm_blend_epi16(efgh_turned, cdab, 0xf0) };
}

SHA_CODE static inline void store(struct lanes lanes, uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(lanes.abef, 0x1b), dchg = _mm_shuffle_epi32(lanes.cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Four rounds; `words` are four of the schedule with their constants added. */
SHA_CODE static inline struct lanes four_rounds(struct lanes s, __m128i words)
{
    s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, words);
    s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, _mm_shuffle_epi32(words, 0x0e));
    return s;
}

SHA_CODE static inline struct lanes add(struct lanes a, struct lanes b)
{
    return (struct lanes){ _mm_add_epi32(a.abef, b.abef), _mm_add_epi32(a.cdgh, b.cdgh) };
}

/* The next four words of the schedule from the sixteen before. */
SHA_CODE static inline __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    return _mm_sha256msg2_epu32(sum, w3);
}

/* `count` blocks into one state, or with `inner` into two. */
SHA_CODE static inline void take_blocks(uint32_t outer[8], uint32_t inner[8], bool both,
                                        const unsigned char *bytes, size_t count)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i *constants = (const __m128i *)round_constants;
    struct lanes a = load(outer), b = both ? load(inner) : a;
    for (; count--; bytes += BLOCK) {
        struct lanes a_before = a, b_before = b;
        __m128i w[4];
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)bytes + i), big_endian);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i words = _mm_add_epi32(w[i % 4], constants[i]);
            a = four_rounds(a, words);
            if (both)
                b = four_rounds(b, words);
            w[i % 4] = next_words(w[i % 4], w[(i + 1) % 4], w[(i + 2) % 4], w[(i + 3) % 4]);
        }
        a = add(a, a_before);
        b = add(b, b_before);
    }
    store(a, outer);
    if (both)
        store(b, inner);
}

SHA_CODE static void compress_one(uint32_t state[8], const unsigned char *bytes, size_t count)
{
    take_blocks(state, NULL, false, bytes, count);
}

SHA_CODE static void compress_two(uint32_t outer[8], uint32_t inner[8], const unsigned char *bytes,
                                  size_t count)
{
    take_blocks(outer, inner, true, bytes, count);
}

#include <cpuid.h>

/* Leaf 7: EBX bit 29 is SHA; leaf 1: ECX bit 19 is SSE4.1, bit 9 SSSE3. */
bool sha256_pair_is_fast(void)
{
    unsigned a, b = 0, c = 0, d;
    bool sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1U << 29);
    bool sse = __get_cpuid(1, &a, &b, &c, &d) && (c & 1U << 19) && (c & 1U << 9);
    return sha && sse && !atomic_load(&plain_is_forced);
}

#else /* other processors take OpenSSL's digests */

static void compress_one(uint32_t state[8], const unsigned char *bytes, size_t count)
{
    (void)state, (void)bytes, (void)count;
}

static void compress_two(uint32_t outer[8], uint32_t inner[8], const unsigned char *bytes,
                         size_t count)
{
    (void)outer, (void)inner, (void)bytes, (void)count;
}

bool sha256_pair_is_fast(void)
{
    return false;
}
#endif

/* ---- bytes and digests ----------------------------------------------------------------------- */

struct sha256_pair *sha256_pair_begin(void)
{
    struct sha256_pair *pair = memory_grow(NULL, 1, sizeof *pair);
    *pair = (struct sha256_pair){ .fast = sha256_pair_is_fast() };
    memcpy(pair->outer, start, sizeof start);
    if (!pair->fast)
        pair->plain_outer = digest_begin();
    return pair;
}

static void take(struct sha256_pair *pair, const unsigned char *bytes, size_t blocks)
{
    if (pair->open)
        compress_two(pair->outer, pair->inner, bytes, blocks);
    else
        compress_one(pair->outer, bytes, blocks);
}

static void add_fast(struct sha256_pair *pair, const unsigned char *bytes, size_t size)
{
    pair->outer_size += size;
    pair->inner_size += size;
    if (pair->rest_size) {
        size_t part = BLOCK - pair->rest_size < size ? BLOCK - pair->rest_size : size;
        memcpy(pair->rest + pair->rest_size, bytes, part);
        pair->rest_size += part;
        bytes += part;
        size -= part;
        if (pair->rest_size < BLOCK)
            return;
        take(pair, pair->rest, 1);
    }
    take(pair, bytes, size / BLOCK);
    pair->rest_size = size % BLOCK;
    if (pair->rest_size)
        memcpy(pair->rest, bytes + size - pair->rest_size, pair->rest_size);
}

void sha256_pair_add(struct sha256_pair *pair, const void *bytes, size_t size)
{
    if (!size)
        return;
    if (pair->fast) {
        add_fast(pair, bytes, size);
        return;
    }
    digest_add(pair->plain_outer, bytes, size);
    if (pair->open)
        digest_add(pair->plain_inner, bytes, size);
}

void sha256_pair_open(struct sha256_pair *pair)
{
    CHECK(!pair->open && !pair->rest_size, "an inner digest that begins within a block");
    pair->open = true;
    pair->inner_size = 0;
    memcpy(pair->inner, start, sizeof start);
    if (!pair->fast)
        pair->plain_inner = digest_begin();
}

/* The end of a message: a one, zeros, its length in bits; then the state as bytes. */
static struct digest finish(const uint32_t state[8], const unsigned char *rest, size_t rest_size,
                            uint64_t size)
{
    unsigned char last[2 * BLOCK] = { 0 };
    uint32_t words[8];
    struct digest digest;
    size_t blocks = rest_size + 9 > BLOCK ? 2 : 1;
    memcpy(words, state, sizeof words);
    memcpy(last, rest, rest_size);
    last[rest_size] = 0x80;
    for (size_t i = 0; i < 8; i++)
        last[blocks * BLOCK - 1 - i] = (unsigned char)(size * 8 >> 8 * i);
    compress_one(words, last, blocks);
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        digest.bytes[i] = (unsigned char)(words[i / 4] >> (24 - 8 * (i % 4)));
    return digest;
}

struct digest sha256_pair_close(struct sha256_pair *pair)
{
    CHECK(pair->open, "no inner digest is open");
    pair->open = false;
    if (pair->fast)
        return finish(pair->inner, pair->rest, pair->rest_size, pair->inner_size);
    struct digest_state *inner = pair->plain_inner;
    pair->plain_inner = NULL;
    return digest_end(inner);
}

struct digest sha256_pair_end(struct sha256_pair *pair)
{
    if (pair->open)
        sha256_pair_close(pair);
    struct digest digest = pair->fast
                               ? finish(pair->outer, pair->rest, pair->rest_size, pair->outer_size)
                               : digest_end(pair->plain_outer);
    free(pair);
    return digest;
}
