/* Philox4x32-10 and the distributions drawn from it; see random.h.
 *
 * Counter words: index (low, high), stream (low, high). Key: the seed. One call of the bijection
 * serves one double-precision value, or four values of the float fills; the fills and the single
 * draws are separate sequences (bit 63 of the index tells them apart).
 */
#include "base/random.h"

#include "base/error.h"

#include <math.h>

enum { ROUNDS = 10 };

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t output[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* the golden ratio, and √3 − 1: Weyl sequences of the paper */
        k1 += 0xBB67AE85u;
    }
    output[0] = c0;
    output[1] = c1;
    output[2] = c2;
    output[3] = c3;
}

static void words_at(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4])
{
    uint32_t counter[4] = { (uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream,
                            (uint32_t)(stream >> 32) };
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    philox4x32(counter, key, out);
}

uint64_t random_stream(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const unsigned char *byte = (const unsigned char *)name; *byte; byte++)
        hash = (hash ^ *byte) * 0x100000001b3u;
    return hash;
}

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t word[4];
    words_at(seed, stream, index, word);
    return (uint64_t)word[1] << 32 | word[0];
}

double random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(random_bits(seed, stream, index) >> 11) * 0x1p-53;
}

double random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t word[4];
    words_at(seed, stream, index, word);
    uint64_t first = (uint64_t)word[1] << 32 | word[0], second = (uint64_t)word[3] << 32 | word[2];
    double radius = sqrt(-2 * log(((double)(first >> 11) + 0.5) * 0x1p-53)); /* never log(0) */
    return radius * cos(2 * M_PI * ((double)(second >> 11) * 0x1p-53));
}

uint64_t random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound)
{
    CHECK(bound > 0, "random_below with a bound of 0");
    /* Lemire's method. A rejected draw (probability < bound / 2^64) goes through the bijection
     * once more: no other stream or index is drawn upon, so no caller's numbers are used twice. */
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t word[4];
    for (words_at(seed, stream, index, word);; philox4x32(word, key, word)) {
        uint64_t bits = (uint64_t)word[1] << 32 | word[0];
        unsigned __int128 product = (unsigned __int128)bits * bound;
        if ((uint64_t)product >= -bound % bound)
            return (uint64_t)(product >> 64);
    }
}

void random_permutation(uint64_t seed, uint64_t stream, size_t count, size_t *permutation)
{
    for (size_t i = 0; i < count; i++)
        permutation[i] = i;
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)random_below(seed, stream, i, i);
        size_t swapped = permutation[i - 1];
        permutation[i - 1] = permutation[j];
        permutation[j] = swapped;
    }
}

/* Four floats for one counter value. */
typedef void quad(const uint32_t word[4], float out[4]);

static void quad_uniform(const uint32_t word[4], float out[4])
{
    for (int i = 0; i < 4; i++)
        out[i] = (float)(word[i] >> 8) * 0x1p-24f;
}

static void quad_normal(const uint32_t word[4], float out[4])
{
    for (int i = 0; i < 4; i += 2) {
        float radius = sqrtf(-2 * logf(((float)(word[i] >> 9) + 0.5f) * 0x1p-23f));
        float angle = (float)(2 * M_PI * 0x1p-32) * (float)word[i + 1];
        out[i] = radius * cosf(angle);
        out[i + 1] = radius * sinf(angle);
    }
}

static void fill(uint64_t seed, uint64_t stream, uint64_t first, size_t count, float *out,
                 quad *draw)
{
    const uint64_t fills = UINT64_C(1) << 63;
    uint64_t end = first + count;
    for (uint64_t block = first / 4; block * 4 < end; block++) {
        uint32_t word[4];
        float value[4];
        words_at(seed, stream, block | fills, word);
        draw(word, value);
        for (uint64_t lane = 0; lane < 4; lane++) {
            uint64_t position = block * 4 + lane;
            if (position >= first && position < end)
                out[position - first] = value[lane];
        }
    }
}

void random_fill_uniform(uint64_t seed, uint64_t stream, uint64_t first, size_t count, float *out)
{
    fill(seed, stream, first, count, out, quad_uniform);
}

void random_fill_normal(uint64_t seed, uint64_t stream, uint64_t first, size_t count, float *out)
{
    fill(seed, stream, first, count, out, quad_normal);
}
