/* Exact correlations; see exact.h.
 *
 * The product of 8-bit pixels runs on VNNI where the processor has it (64 products an
 * instruction). VNNI multiplies unsigned by signed bytes, so Σ(x − 128)y is summed, and 128 Σy is
 * added at the end: whole numbers, hence the same value as the plain loop's. All pairs of many
 * images go to AMX where there is one (amx.h): the same whole numbers. */
#include "audit/exact.h"

#include "audit/amx.h"
#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define WITH_VNNI
#include <immintrin.h>
#endif

typedef unsigned __int128 wide;
typedef __int128 signed_wide;

void pixels_init(struct pixels *pixels, enum element_type type, size_t channel_count,
                 size_t plane_elements, uint64_t channels)
{
    CHECK(channel_count <= CHANNELS_MAX, "%zu channels", channel_count);
    *pixels = (struct pixels){ .type = type };
    pixels->image_bytes = channel_count * plane_elements * element_info[type].bytes;
    for (size_t c = 0; c < channel_count; c++) {
        if (!(channels >> c & 1))
            continue;
        if (c == 0 || !(channels >> (c - 1) & 1))
            pixels->run[pixels->run_count++].offset = c * plane_elements;
        pixels->run[pixels->run_count - 1].length += plane_elements;
        pixels->count += plane_elements;
    }
    CHECK(pixels->count, "no channel is used");
}

/* ---- products of whole numbers --------------------------------------------------------------- */

/* x and y of a tile that VNNI computes: eight sums, and strips of 64 x in the second cache. */
enum { FEW_X = 64, FEW_Y = 8 };

/* Partial sums stay below 2^32: 2^15 products of at most 2^16. */
enum { RUN_U8 = 1 << 15 };

HOT static uint32_t product_u8_short(const uint8_t *x, const uint8_t *y, size_t count)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (uint32_t)x[i] * y[i];
    return sum;
}

static uint64_t product_u8_plain(const uint8_t *x, const uint8_t *y, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i += RUN_U8)
        sum += product_u8_short(x + i, y + i, count - i < RUN_U8 ? count - i : RUN_U8);
    return sum;
}

HOT static uint64_t product_u16(const uint16_t *x, const uint16_t *y, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (uint64_t)x[i] * y[i];
    return sum;
}

#ifdef WITH_VNNI
static bool have_vnni(void)
{
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
}

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

/* Σ(x − 128)y. Lanes are emptied every 2^16 pixels: half of these times 2^15 is 2^30, so that even
 * the sum of a register's lanes stays below 2^31. */
VNNI static int64_t product_vnni(const uint8_t *x, const uint8_t *y, size_t count)
{
    const __m512i middle = _mm512_set1_epi8((char)-128);
    int64_t sum = 0;
    for (size_t begin = 0; begin < count; begin += 1 << 16) {
        size_t end = count - begin < 1 << 16 ? count : begin + (1 << 16), i = begin;
        __m512i even = _mm512_setzero_si512(), odd = even;
        for (; i + 128 <= end; i += 128) {
            __m512i a = _mm512_xor_si512(_mm512_loadu_si512(x + i), middle),
                    b = _mm512_xor_si512(_mm512_loadu_si512(x + i + 64), middle);
            even = _mm512_dpbusd_epi32(even, _mm512_loadu_si512(y + i), a);
            odd = _mm512_dpbusd_epi32(odd, _mm512_loadu_si512(y + i + 64), b);
        }
        for (; i < end; i += 64) { /* bytes beyond the end are read as zero: they add nothing */
            __mmask64 mask = end - i < 64 ? ((__mmask64)1 << (end - i)) - 1 : ~(__mmask64)0;
            __m512i a = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, x + i), middle);
            even = _mm512_dpbusd_epi32(even, _mm512_maskz_loadu_epi8(mask, y + i), a);
        }
        sum += _mm512_reduce_add_epi32(even);
        sum += _mm512_reduce_add_epi32(odd);
    }
    return sum;
}

/* Σx and Σx², in one pass: bytes are added by eights, squares as Σ(x − 128)x + 128 Σx. */
VNNI static void sums_vnni(const uint8_t *x, size_t count, uint64_t *sum, uint64_t *squares)
{
    const __m512i middle = _mm512_set1_epi8((char)-128), zero = _mm512_setzero_si512();
    int64_t shifted = 0;
    uint64_t plain = 0;
    for (size_t begin = 0; begin < count; begin += 1 << 16) {
        size_t end = count - begin < 1 << 16 ? count : begin + (1 << 16);
        __m512i eights = zero, lanes = zero;
        for (size_t i = begin; i < end; i += 64) { /* bytes beyond the end are read as zero */
            __mmask64 mask = end - i < 64 ? ((__mmask64)1 << (end - i)) - 1 : ~(__mmask64)0;
            __m512i a = _mm512_maskz_loadu_epi8(mask, x + i);
            eights = _mm512_add_epi64(eights, _mm512_sad_epu8(a, zero));
            lanes = _mm512_dpbusd_epi32(lanes, a, _mm512_xor_si512(a, middle));
        }
        plain += (uint64_t)_mm512_reduce_add_epi64(eights);
        shifted += _mm512_reduce_add_epi32(lanes);
    }
    *sum += plain;
    *squares += (uint64_t)(shifted + 128 * (int64_t)plain);
}

/* sum[j] += Σ(x − 128)y[j] of eight y at once, pixels [begin, end): x is loaded once for eight. */
VNNI static void products_vnni(const uint8_t *x, const uint8_t *const y[FEW_Y], size_t begin,
                               size_t end, int64_t sum[FEW_Y])
{
    const __m512i middle = _mm512_set1_epi8((char)-128);
    const uint8_t *y0 = y[0], *y1 = y[1], *y2 = y[2], *y3 = y[3], *y4 = y[4], *y5 = y[5],
                  *y6 = y[6], *y7 = y[7];
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0,
            s7 = s0;
    size_t i = begin;
#define ADD(j) s##j = _mm512_dpbusd_epi32(s##j, _mm512_loadu_si512(y##j + i), a)
    for (; i + 64 <= end; i += 64) {
        __m512i a = _mm512_xor_si512(_mm512_loadu_si512(x + i), middle);
        ADD(0), ADD(1), ADD(2), ADD(3), ADD(4), ADD(5), ADD(6), ADD(7);
    }
#undef ADD
    __m512i lanes[FEW_Y] = { s0, s1, s2, s3, s4, s5, s6, s7 };
    for (int j = 0; j < FEW_Y; j++)
        sum[j] += _mm512_reduce_add_epi32(lanes[j]);
    for (; i < end; i++)
        for (int j = 0; j < FEW_Y; j++)
            sum[j] += ((int64_t)x[i] - 128) * y[j][i];
}
/* sum[j] += Σ x (y[j] − 128) of four y at once, over some blocks of a strip; those of x are packed.
 */
VNNI static void four_vnni(const uint8_t *x, const uint8_t *const y[4], uint64_t blocks,
                           int64_t sum[4])
{
    const __m512i middle = _mm512_set1_epi8((char)-128);
    const uint8_t *y0 = y[0], *y1 = y[1], *y2 = y[2], *y3 = y[3];
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
#define ADD(j)                                                                                     \
    s##j = _mm512_dpbusd_epi32(s##j, a, _mm512_xor_si512(_mm512_loadu_si512(y##j + i), middle))
    for (; blocks; blocks &= blocks - 1, x += EXACT_BLOCK) {
        size_t i = (size_t)__builtin_ctzll(blocks) * EXACT_BLOCK;
        __m512i a = _mm512_loadu_si512(x);
        ADD(0), ADD(1), ADD(2), ADD(3);
    }
#undef ADD
    sum[0] += _mm512_reduce_add_epi32(s0);
    sum[1] += _mm512_reduce_add_epi32(s1);
    sum[2] += _mm512_reduce_add_epi32(s2);
    sum[3] += _mm512_reduce_add_epi32(s3);
}
#else
static bool have_vnni(void)
{
    return false;
}
static void four_vnni(const uint8_t *x, const uint8_t *const y[4], uint64_t blocks, int64_t sum[4])
{
    (void)x, (void)y, (void)blocks, (void)sum;
    BUG("no VNNI");
}
static int64_t product_vnni(const uint8_t *x, const uint8_t *y, size_t count)
{
    (void)x, (void)y, (void)count;
    BUG("no VNNI");
}
static void sums_vnni(const uint8_t *x, size_t count, uint64_t *sum, uint64_t *squares)
{
    (void)x, (void)count, (void)sum, (void)squares;
    BUG("no VNNI");
}
static void products_vnni(const uint8_t *x, const uint8_t *const y[FEW_Y], size_t begin, size_t end,
                          int64_t sum[FEW_Y])
{
    (void)x, (void)y, (void)begin, (void)end, (void)sum;
    BUG("no VNNI");
}
#endif

static const void *run_start(const struct pixels *pixels, size_t run, const void *image)
{
    return (const char *)image + pixels->run[run].offset * element_info[pixels->type].bytes;
}

/* Σxy of whole numbers. */
static uint64_t product_whole(const struct pixels *pixels, const void *x, const struct moments *mx,
                              const void *y, const struct moments *my)
{
    bool vnni = pixels->type == ELEMENT_UINT8 && have_vnni();
    if (my->end - my->begin > mx->end - mx->begin)
        return product_whole(pixels, y, my, x,
                             mx); /* y is the one with fewer pixels that are not 0 */
    uint64_t sum = vnni ? 128 * my->sum : 0;
    for (size_t r = 0; r < pixels->run_count; r++) {
        size_t offset = pixels->run[r].offset, last = offset + pixels->run[r].length,
               begin = my->begin > offset ? my->begin : offset,
               end = my->end < last ? my->end : last;
        if (begin >= end)
            continue;
        if (vnni)
            sum += (uint64_t)product_vnni((const uint8_t *)x + begin, (const uint8_t *)y + begin,
                                          end - begin);
        else if (pixels->type == ELEMENT_UINT8)
            sum += product_u8_plain((const uint8_t *)x + begin, (const uint8_t *)y + begin,
                                    end - begin);
        else
            sum +=
                product_u16((const uint16_t *)x + begin, (const uint16_t *)y + begin, end - begin);
    }
    return sum;
}

/* ---- half precision -------------------------------------------------------------------------- */

enum { LANES = 16, STRIP = 1024 };

/* To float, as half_to_float, on whole strips: finite numbers only. Subnormal halves come out right
 * because the multiplication by 2^112 normalises them. */
HOT static void halves_to_floats(const uint16_t *half, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        union {
            uint32_t bits;
            float value;
        } shifted = { .bits = (uint32_t)(half[i] & 0x7fff) << 13 }, result;
        result.value = shifted.value * 0x1p112f;
        result.bits |= (uint32_t)(half[i] & 0x8000) << 16;
        out[i] = result.value;
    }
}

/* lane[l] += Σ (x − mean_x)(y − mean_y) over the elements l, l + LANES, …, ascending. */
HOT static void centred_products(const float *x, double mean_x, const float *y, double mean_y,
                                 size_t count, double lane[LANES])
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += ((double)x[i + l] - mean_x) * ((double)y[i + l] - mean_y);
    for (size_t l = 0; i < count; i++, l++)
        lane[l] += ((double)x[i] - mean_x) * ((double)y[i] - mean_y);
}

static double product_half(const struct pixels *pixels, const void *x, double mean_x, const void *y,
                           double mean_y)
{
    double lane[LANES] = { 0 }, sum = 0;
    float a[STRIP], b[STRIP];
    for (size_t r = 0; r < pixels->run_count; r++) {
        const uint16_t *from_x = run_start(pixels, r, x), *from_y = run_start(pixels, r, y);
        for (size_t i = 0; i < pixels->run[r].length; i += STRIP) {
            size_t rest = pixels->run[r].length - i, count = rest < STRIP ? rest : STRIP;
            halves_to_floats(from_x + i, a, count);
            halves_to_floats(from_y + i, b, count);
            centred_products(a, mean_x, b, mean_y, count, lane);
        }
    }
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

static bool moments_half(const struct pixels *pixels, const void *image, struct moments *moments)
{
    double sum = 0;
    for (size_t r = 0; r < pixels->run_count; r++) {
        const uint16_t *x = run_start(pixels, r, image);
        for (size_t i = 0; i < pixels->run[r].length; i++) {
            if ((x[i] & 0x7c00) == 0x7c00)
                return false;
            sum += (double)half_to_float(x[i]);
        }
    }
    moments->mean = sum / (double)pixels->count;
    moments->spread = product_half(pixels, image, moments->mean, image, moments->mean);
    return true;
}

/* ---- moments and correlations ---------------------------------------------------------------- */

HOT static void sums_u8(const uint8_t *x, size_t count, uint64_t *sum, uint64_t *squares)
{
    for (size_t i = 0; i < count; i += RUN_U8) {
        size_t end = count - i < RUN_U8 ? count : i + RUN_U8;
        uint32_t s = 0, q = 0;
        for (size_t p = i; p < end; p++) {
            s += x[p];
            q += (uint32_t)x[p] * x[p];
        }
        *sum += s;
        *squares += q;
    }
}

HOT static void sums_u16(const uint16_t *x, size_t count, uint64_t *sum, uint64_t *squares)
{
    uint64_t s = 0, q = 0;
    for (size_t i = 0; i < count; i++) {
        s += x[i];
        q += (uint64_t)x[i] * x[i];
    }
    *sum += s;
    *squares += q;
}

/* The elements between the first and the last that are not 0, of those that are used. */
static const uint8_t zeros[64];
static void find_support(const struct pixels *pixels, const uint8_t *image, struct moments *moments)
{
    size_t last = pixels->run_count - 1, begin = pixels->run[0].offset,
           end = pixels->run[last].offset + pixels->run[last].length;
    moments->begin = begin;
    moments->end = end;
    if (pixels->type != ELEMENT_UINT8)
        return;
    while (begin + 64 <= end && memcmp(image + begin, zeros, sizeof zeros) == 0)
        begin += 64;
    while (begin < end && image[begin] == 0)
        begin++;
    while (end >= begin + 64 && memcmp(image + end - 64, zeros, sizeof zeros) == 0)
        end -= 64;
    while (end > begin && image[end - 1] == 0)
        end--;
    moments->begin = begin;
    moments->end = end;
}

bool exact_moments(const struct pixels *pixels, const void *image, struct moments *moments)
{
    *moments = (struct moments){ 0 };
    if (pixels->type == ELEMENT_FLOAT16)
        return moments_half(pixels, image, moments);
    for (size_t r = 0; r < pixels->run_count; r++) {
        const void *x = run_start(pixels, r, image);
        if (pixels->type == ELEMENT_UINT8 && have_vnni())
            sums_vnni(x, pixels->run[r].length, &moments->sum, &moments->squares);
        else if (pixels->type == ELEMENT_UINT8)
            sums_u8(x, pixels->run[r].length, &moments->sum, &moments->squares);
        else
            sums_u16(x, pixels->run[r].length, &moments->sum, &moments->squares);
    }
    find_support(pixels, image, moments);
    moments->mean = (double)moments->sum / (double)pixels->count;
    moments->spread =
        (double)((wide)pixels->count * moments->squares - (wide)moments->sum * moments->sum);
    return true;
}

static bool same_pixels(const struct pixels *pixels, const void *x, const void *y)
{
    for (size_t r = 0; r < pixels->run_count; r++)
        if (memcmp(run_start(pixels, r, x), run_start(pixels, r, y),
                   pixels->run[r].length * element_info[pixels->type].bytes) != 0)
            return false;
    return true;
}

static double ratio(double product, const struct moments *mx, const struct moments *my)
{
    double r = product / sqrt(mx->spread * my->spread);
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

/* From Σxy. */
static double ratio_whole(size_t count, uint64_t product, const struct moments *mx,
                          const struct moments *my)
{
    signed_wide cross =
        (signed_wide)((wide)count * product) - (signed_wide)((wide)mx->sum * my->sum);
    return ratio((double)cross, mx, my);
}

double exact_correlation(const struct pixels *pixels, const void *x, const struct moments *mx,
                         const void *y, const struct moments *my)
{
    if (mx->spread == 0 || my->spread == 0)
        return mx->spread == my->spread && same_pixels(pixels, x, y);
    if (pixels->type == ELEMENT_FLOAT16)
        return ratio(product_half(pixels, x, mx->mean, y, my->mean), mx, my);
    return ratio_whole(pixels->count, product_whole(pixels, x, mx, y, my), mx, my);
}

/* ---- some pairs ------------------------------------------------------------------------------ */

size_t exact_words(const struct pixels *pixels)
{
    bool vnni = pixels->type == ELEMENT_UINT8 && have_vnni();
    return vnni ? (pixels->image_bytes + EXACT_STRIP - 1) / EXACT_STRIP : 0;
}

/* The whole blocks of a run: [first, end). */
struct whole_blocks {
    size_t first, end;
};
static struct whole_blocks whole_blocks(const struct pixels *pixels, size_t run)
{
    size_t begin = pixels->run[run].offset, end = begin + pixels->run[run].length,
           first = (begin + EXACT_BLOCK - 1) / EXACT_BLOCK, last = end / EXACT_BLOCK;
    return (struct whole_blocks){ first, last < first ? first : last };
}

size_t exact_blocks(const struct pixels *pixels, const void *image, uint64_t *blocks)
{
    size_t count = 0;
    memset(blocks, 0, exact_words(pixels) * sizeof *blocks);
    for (size_t r = 0; r < pixels->run_count && exact_words(pixels); r++) {
        struct whole_blocks whole = whole_blocks(pixels, r);
        for (size_t b = whole.first; b < whole.end; b++) {
            uint64_t part[EXACT_BLOCK / 8];
            memcpy(part, (const char *)image + b * EXACT_BLOCK, sizeof part);
            bool any = (part[0] | part[1] | part[2] | part[3] | part[4] | part[5] | part[6] |
                        part[7]) != 0;
            blocks[b / 64] |= (uint64_t)any << b % 64;
            count += any;
        }
    }
    return count * EXACT_BLOCK;
}

void exact_pack(const struct pixels *pixels, const void *image, const uint64_t *blocks,
                uint8_t *packed)
{
    const char *from = image;
    for (size_t w = 0; w < exact_words(pixels); w++, from += EXACT_STRIP)
        for (uint64_t left = blocks[w]; left; left &= left - 1, packed += EXACT_BLOCK)
            memcpy(packed, from + (size_t)__builtin_ctzll(left) * EXACT_BLOCK, EXACT_BLOCK);
}

/* Σ x (y − 128) over what lies in no whole block. */
static int64_t product_of_edges(const struct pixels *pixels, const uint8_t *x, const uint8_t *y)
{
    int64_t sum = 0;
    for (size_t r = 0; r < pixels->run_count; r++) {
        struct whole_blocks blocks = whole_blocks(pixels, r);
        size_t begin = pixels->run[r].offset, end = begin + pixels->run[r].length,
               first = blocks.first * EXACT_BLOCK < end ? blocks.first * EXACT_BLOCK : end,
               last = blocks.end > blocks.first ? blocks.end * EXACT_BLOCK : first;
        if (begin < first)
            sum += product_vnni(y + begin, x + begin, first - begin);
        if (last < end)
            sum += product_vnni(y + last, x + last, end - last);
    }
    return sum;
}

/* The number of pairs from `at` on that have the same x, at most four. */
static size_t same_x(const struct exact_pair *pairs, size_t at, size_t count)
{
    size_t n = 1;
    while (n < 4 && at + n < count && pairs[at + n].x == pairs[at].x)
        n++;
    return n;
}

/* How far strips lie apart where they are copied to: never the same place of the first cache. */
enum { STRIP_STRIDE = EXACT_STRIP + EXACT_BLOCK };

static void copy_strips(const struct exact_image *y, size_t y_count, size_t offset, uint64_t blocks,
                        uint8_t *strips)
{
    enum { AHEAD = 2 };
    for (size_t j = 0; j < y_count; j++) {
        const uint8_t *from = (const uint8_t *)y[j].image + offset,
                      *next =
                          (const uint8_t *)y[j + AHEAD < y_count ? j + AHEAD : j].image + offset;
        uint8_t *to = strips + j * STRIP_STRIDE;
        for (uint64_t left = blocks; left; left &= left - 1) {
            size_t at = (size_t)__builtin_ctzll(left) * EXACT_BLOCK;
            __builtin_prefetch(next + at);
            memcpy(to + at, from + at, EXACT_BLOCK);
        }
    }
}

/* One strip of all pairs. at[x]: where it begins among what was packed of x. */
static void strip_of_pairs(const struct exact_image *x, const size_t *at, const uint8_t *strips,
                           size_t strip, const struct exact_pair *pairs, size_t count, int64_t *sum)
{
    for (size_t p = 0, n; p < count; p += n) {
        size_t i = pairs[p].x;
        const uint8_t *from[4];
        int64_t four[4] = { 0 };
        n = same_x(pairs, p, count);
        if (p + n < count && pairs[p + n].x != i) { /* the next is on its way meanwhile */
            size_t next = pairs[p + n].x,
                   bytes = (size_t)__builtin_popcountll(x[next].blocks[strip]) * EXACT_BLOCK;
            for (size_t b = 0; b < bytes; b += EXACT_BLOCK)
                __builtin_prefetch(x[next].packed + at[next] + b);
        }
        for (size_t j = 0; j < 4; j++)
            from[j] = strips + pairs[p + (j < n ? j : 0)].y * (size_t)STRIP_STRIDE;
        four_vnni(x[i].packed + at[i], from, x[i].blocks[strip], four);
        for (size_t j = 0; j < n; j++)
            sum[p + j] += four[j];
    }
}

static void products_of_pairs(const struct pixels *pixels, const struct exact_image *x,
                              const struct exact_image *y, size_t y_count,
                              const struct exact_pair *pairs, size_t count, int64_t *sum)
{
    uint8_t *strips = memory_grow(NULL, y_count, STRIP_STRIDE);
    size_t at[EXACT_PAIRS_X] = { 0 };
    for (size_t p = 0; p < count; p++)
        sum[p] = product_of_edges(pixels, x[pairs[p].x].image, y[pairs[p].y].image);
    for (size_t strip = 0; strip < exact_words(pixels); strip++) {
        uint64_t blocks = 0;
        for (size_t p = 0; p < count; p++)
            blocks |= x[pairs[p].x].blocks[strip];
        copy_strips(y, y_count, strip * EXACT_STRIP, blocks, strips);
        strip_of_pairs(x, at, strips, strip, pairs, count, sum);
        for (size_t p = 0; p < count; p++)
            if (p + 1 == count || pairs[p + 1].x != pairs[p].x)
                at[pairs[p].x] +=
                    (size_t)__builtin_popcountll(x[pairs[p].x].blocks[strip]) * EXACT_BLOCK;
    }
    free(strips);
}

void exact_pairs(const struct pixels *pixels, const struct exact_image *x,
                 const struct exact_image *y, size_t y_count, const struct exact_pair *pairs,
                 size_t count, double *r)
{
    CHECK(count <= EXACT_PAIRS, "%zu pairs", count);
    bool vnni = exact_words(pixels);
    int64_t sum[EXACT_PAIRS];
    if (vnni)
        products_of_pairs(pixels, x, y, y_count, pairs, count, sum);
    for (size_t p = 0; p < count; p++) {
        const struct exact_image *of_x = &x[pairs[p].x], *of_y = &y[pairs[p].y];
        const struct moments *mx = of_x->moments, *my = of_y->moments;
        bool plain = mx->spread == 0 || my->spread == 0 || !vnni;
        r[p] = plain ? exact_correlation(pixels, of_x->image, mx, of_y->image, my)
                     : ratio_whole(pixels->count, (uint64_t)sum[p] + 128 * mx->sum, mx, my);
    }
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* Pixels are taken in strips of 4 KiB, so that eight strips of y fill the first cache while the x
 * pass by. */
static void products_of_few(const struct pixels *pixels, const void *const *x, size_t x_count,
                            const void *const *y, int64_t sum[FEW_X][FEW_Y])
{
    enum { BYTES = 4096 };
    for (size_t r = 0; r < pixels->run_count; r++) {
        const uint8_t *from[FEW_Y];
        for (int j = 0; j < FEW_Y; j++)
            from[j] = run_start(pixels, r, y[j]);
        size_t length = pixels->run[r].length;
        for (size_t begin = 0; begin < length; begin += BYTES) {
            size_t end = length - begin < BYTES ? length : begin + BYTES;
            for (size_t i = 0; i < x_count; i++)
                products_vnni(run_start(pixels, r, x[i]), from, begin, end, sum[i]);
        }
    }
}

/* sum[i * y_count + j] = Σ x[i] y[j] of 8-bit images, at most FEW_X and FEW_Y. */
static void products_by_vnni(const struct pixels *pixels, const void *const *x, size_t x_count,
                             const void *const *y, const struct moments *const *my, size_t y_count,
                             uint64_t *sum)
{
    const void *eight[FEW_Y];
    int64_t shifted[FEW_X][FEW_Y] = { 0 };
    for (size_t j = 0; j < FEW_Y; j++)
        eight[j] = y[j < y_count ? j : 0];
    products_of_few(pixels, x, x_count, eight, shifted);
    for (size_t i = 0; i < x_count; i++)
        for (size_t j = 0; j < y_count; j++)
            sum[i * y_count + j] = (uint64_t)shifted[i][j] + 128 * my[j]->sum;
}

struct exact_tile_size exact_tile_size(const struct pixels *pixels)
{
    enum { MOST = 64 << 20, LEAST = 16 }; /* bytes of images y; images */
    if (pixels->type != ELEMENT_UINT8 || !amx_usable())
        return (struct exact_tile_size){ FEW_X, FEW_Y };
    size_t y = MOST / pixels->image_bytes / LEAST * LEAST;
    y = y < LEAST ? LEAST : y < EXACT_TILE_Y ? y : EXACT_TILE_Y;
    return (struct exact_tile_size){ EXACT_TILE_X, y };
}

void exact_tile(const struct pixels *pixels, const void *const *x, const struct moments *const *mx,
                size_t x_count, const void *const *y, const struct moments *const *my,
                size_t y_count, double *r)
{
    struct exact_tile_size most = exact_tile_size(pixels);
    CHECK(x_count <= most.x && y_count <= most.y && y_count, "a tile of %zu × %zu", x_count,
          y_count);
    bool bytes = pixels->type == ELEMENT_UINT8 && have_vnni();
    uint64_t *sum = memory_grow(NULL, x_count * y_count, sizeof *sum);
    if (bytes && amx_usable())
        amx_products(pixels, x, x_count, y, y_count, sum);
    else if (bytes)
        products_by_vnni(pixels, x, x_count, y, my, y_count, sum);
    for (size_t i = 0; i < x_count; i++) {
        for (size_t j = 0; j < y_count; j++) {
            bool plain = mx[i]->spread == 0 || my[j]->spread == 0 || !bytes;
            r[i * y_count + j] =
                plain ? exact_correlation(pixels, x[i], mx[i], y[j], my[j])
                      : ratio_whole(pixels->count, sum[i * y_count + j], mx[i], my[j]);
        }
    }
    free(sum);
}
