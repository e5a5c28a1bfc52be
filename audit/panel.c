/* Products of panels; see panel.h. */
#include "audit/panel.h"

#include "base/error.h"
#include "base/simd.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define WITH_VNNI
#include <immintrin.h>
#endif

/* ---- layout -----------------------------------------------------------------------------------
 */

struct panel_shape panel_shape_of(const size_t length[PANEL_PARTS], size_t terms)
{
    struct panel_shape shape = { .terms = terms };
    size_t end = 0;
    CHECK(terms <= PANEL_TERMS, "%zu terms", terms);
    for (size_t p = 0; p < PANEL_PARTS; p++) {
        end += (length[p] + 3) / 4 * 4;
        shape.end[p] = end;
        if (length[p])
            shape.parts = p + 1;
    }
    return shape;
}

size_t panel_width(enum panel_side side)
{
    return side == PANEL_OF_QUERIES ? PANEL_QUERIES : PANEL_IMAGES;
}

static size_t numbers_offset(const struct panel_shape *shape, size_t width)
{
    return shape->end[PANEL_PARTS - 1] * width;
}

size_t panel_size(const struct panel_shape *shape, enum panel_side side)
{
    size_t width = panel_width(side),
           bytes = numbers_offset(shape, width) +
                   (2 * shape->parts + shape->terms) * width * sizeof(float);
    return (bytes + 63) / 64 * 64;
}

/* The numbers behind the bytes. */
struct numbers {
    const float *scale, *term;
    const int32_t *middle;
};

static struct numbers numbers_of(const struct panel_shape *shape, const void *panel, size_t width)
{
    const float *scale =
        (const float *)(const void *)((const char *)panel + numbers_offset(shape, width));
    const float *term = scale + shape->parts * width;
    return (struct numbers){ scale, term,
                             (const int32_t *)(const void *)(term + shape->terms * width) };
}

void panel_put(const struct panel_shape *shape, enum panel_side side, void *panel, size_t place,
               const struct panel_row *row)
{
    size_t width = panel_width(side), offset = numbers_offset(shape, width), begin = 0;
    uint8_t *bytes = (uint8_t *)panel + 4 * place;
    float *scale = (float *)(void *)((char *)panel + offset), *term = scale + shape->parts * width;
    int32_t *middle = (int32_t *)(void *)(term + shape->terms * width);
    uint32_t more = side == PANEL_OF_IMAGES ? 0x80808080 : 0; /* a byte plus 128, as unsigned */
    for (size_t p = 0; p < shape->parts; begin = shape->end[p++]) {
        int32_t sum = 0;
        for (size_t i = begin; i < shape->end[p]; i += 4) {
            uint32_t four;
            memcpy(&four, row->bytes + i, 4);
            four ^= more;
            memcpy(bytes + i * width, &four, 4);
            sum += row->bytes[i] + row->bytes[i + 1] + row->bytes[i + 2] + row->bytes[i + 3];
        }
        scale[p * width + place] = row->scale[p];
        middle[p * width + place] = 128 * sum;
    }
    for (size_t t = 0; t < shape->terms; t++)
        term[t * width + place] = row->term[t];
}

/* ---- plain loops ------------------------------------------------------------------------------
 */

static bool always(void)
{
    return true;
}

HOT static int32_t sum_plain(const int8_t *x, const int8_t *y, size_t count)
{
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (int32_t)x[i] * y[i];
    return sum;
}

static int32_t product_plain(const int8_t *x, int32_t middle, const int8_t *y, size_t count)
{
    (void)middle;
    return sum_plain(x, y, count);
}

/* What a way without VNNI computes: sum[q][i] = Σ q i of steps [begin, end) of four bytes. */
typedef int32_t panel_sums[PANEL_QUERIES][PANEL_IMAGES];
typedef void sums_function(const int8_t *queries, const uint8_t *images, size_t begin, size_t end,
                           panel_sums sum);

HOT static void sums_plain(const int8_t *queries, const uint8_t *images, size_t begin, size_t end,
                           panel_sums sum)
{
    memset(sum, 0, sizeof(panel_sums));
    for (size_t s = begin; s < end; s++) {
        const uint8_t *four = images + (size_t)4 * PANEL_IMAGES * s;
        for (size_t j = 0; j < PANEL_QUERIES; j++) {
            const int8_t *q = queries + 4 * (PANEL_QUERIES * s + j);
            int32_t q0 = q[0], q1 = q[1], q2 = q[2], q3 = q[3];
            for (size_t i = 0; i < PANEL_IMAGES; i++)
                sum[j][i] += q0 * (four[4 * i] - 128) + q1 * (four[4 * i + 1] - 128) +
                             q2 * (four[4 * i + 2] - 128) + q3 * (four[4 * i + 3] - 128);
        }
    }
}

HOT static void add_terms(const struct numbers *of_query, const struct numbers *of_image,
                          size_t terms, size_t q, float *row)
{
    for (size_t i = 0; i < PANEL_IMAGES; i++)
        row[i] = 0;
    for (size_t t = 0; t < terms; t++)
        for (size_t i = 0; i < PANEL_IMAGES; i++)
            row[i] += of_query->term[t * PANEL_QUERIES + q] * of_image->term[t * PANEL_IMAGES + i];
}

HOT static void add_part(const struct numbers *of_query, const struct numbers *of_image, size_t p,
                         size_t q, const int32_t *sum, float *row)
{
    for (size_t i = 0; i < PANEL_IMAGES; i++)
        row[i] += of_query->scale[p * PANEL_QUERIES + q] * of_image->scale[p * PANEL_IMAGES + i] *
                  (float)sum[i];
}

static void bounds_by(sums_function *sums, const struct panel_shape *shape, const void *queries,
                      const void *images, float *out)
{
    struct numbers of_query = numbers_of(shape, queries, PANEL_QUERIES),
                   of_image = numbers_of(shape, images, PANEL_IMAGES);
    for (size_t q = 0; q < PANEL_QUERIES; q++)
        add_terms(&of_query, &of_image, shape->terms, q, out + q * PANEL_IMAGES);
    for (size_t p = 0, begin = 0; p < shape->parts; begin = shape->end[p++] / 4) {
        panel_sums sum;
        sums(queries, images, begin, shape->end[p] / 4, sum);
        for (size_t q = 0; q < PANEL_QUERIES; q++)
            add_part(&of_query, &of_image, p, q, sum[q], out + q * PANEL_IMAGES);
    }
}

static void bounds_plain(const struct panel_shape *shape, const void *queries, const void *images,
                         float out[PANEL_QUERIES * PANEL_IMAGES])
{
    bounds_by(sums_plain, shape, queries, images, out);
}

/* ---- AVX2 -------------------------------------------------------------------------------------
 */

#ifdef WITH_VNNI
#define AVX2 __attribute__((target("avx2")))

static bool avx2_usable(void)
{
    return __builtin_cpu_supports("avx2");
}

/* Four queries with sixteen images. Bytes are multiplied as |i| and ±q, unsigned by signed: two
 * such products of at most 127² fit 16 bits. */
AVX2 static void sums_of_four(const int8_t *queries, const uint8_t *images, size_t begin,
                              size_t end, int32_t (*sum)[PANEL_IMAGES])
{
    const __m256i middle = _mm256_set1_epi8((char)-128), ones = _mm256_set1_epi16(1);
    __m256i low0 = _mm256_setzero_si256(), low1 = low0, low2 = low0, low3 = low0, high0 = low0,
            high1 = low0, high2 = low0, high3 = low0;
    for (size_t s = begin; s < end; s++) {
        const __m256i *at = (const __m256i *)(const void *)(images + (size_t)4 * PANEL_IMAGES * s);
        __m256i low = _mm256_xor_si256(_mm256_loadu_si256(at), middle),
                high = _mm256_xor_si256(_mm256_loadu_si256(at + 1), middle),
                low_size = _mm256_abs_epi8(low), high_size = _mm256_abs_epi8(high);
#define ADD(q)                                                                                     \
    {                                                                                              \
        int32_t four;                                                                              \
        memcpy(&four, queries + 4 * (PANEL_QUERIES * s + (q)), 4);                                 \
        __m256i of = _mm256_set1_epi32(four);                                                      \
        __m256i a = _mm256_maddubs_epi16(low_size, _mm256_sign_epi8(of, low)),                     \
                b = _mm256_maddubs_epi16(high_size, _mm256_sign_epi8(of, high));                   \
        low##q = _mm256_add_epi32(low##q, _mm256_madd_epi16(a, ones));                             \
        high##q = _mm256_add_epi32(high##q, _mm256_madd_epi16(b, ones));                           \
    }
        ADD(0) ADD(1) ADD(2) ADD(3)
#undef ADD
    }
#define STORE(q)                                                                                   \
    _mm256_storeu_si256((__m256i *)(void *)sum[q], low##q);                                        \
    _mm256_storeu_si256((__m256i *)(void *)(sum[q] + 8), high##q);
    STORE(0) STORE(1) STORE(2) STORE(3)
#undef STORE
}

static void sums_avx2(const int8_t *queries, const uint8_t *images, size_t begin, size_t end,
                      panel_sums sum)
{
    for (size_t i = 0; i < PANEL_IMAGES; i += 16)
        for (size_t q = 0; q < PANEL_QUERIES; q += 4)
            sums_of_four(queries + 4 * q, images + 4 * i, begin, end,
                         (int32_t(*)[PANEL_IMAGES])(void *)&sum[q][i]);
}

static void bounds_avx2(const struct panel_shape *shape, const void *queries, const void *images,
                        float out[PANEL_QUERIES * PANEL_IMAGES])
{
    bounds_by(sums_avx2, shape, queries, images, out);
}
#else
static bool avx2_usable(void)
{
    return false;
}
#define bounds_avx2 bounds_plain
#endif

/* ---- VNNI -------------------------------------------------------------------------------------
 */

#ifdef WITH_VNNI
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

static bool vnni_usable(void)
{
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
}

/* Four sums, since each waits four cycles for itself. */
VNNI static int32_t product_vnni(const int8_t *x, int32_t middle, const int8_t *y, size_t count)
{
    const __m512i half = _mm512_set1_epi8((char)-128);
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
#define ADD(j)                                                                                     \
    s##j = _mm512_dpbusd_epi32(s##j, _mm512_xor_si512(_mm512_loadu_si512(y + i + 64 * (j)), half), \
                               _mm512_loadu_si512(x + i + 64 * (j)))
    for (; i + 256 <= count; i += 256)
        ADD(0), ADD(1), ADD(2), ADD(3);
    for (; i < count; i += 64)
        ADD(0);
#undef ADD
    return _mm512_reduce_add_epi32(
               _mm512_add_epi32(_mm512_add_epi32(s0, s1), _mm512_add_epi32(s2, s3))) -
           middle;
}

/* sum += products of bytes (unsigned) and four (signed). Not by the intrinsic: gcc 12 moves its
 * sums from register to register and half of them to memory, which takes twice the time. */
#define ADD_PRODUCTS(sum, bytes, four)                                                             \
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(four))

#define TWELVE(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

/* Adds the products of one part, steps [begin, end) of four bytes, to `out`. */
VNNI static void part_vnni(const struct numbers *of_query, const struct numbers *of_image, size_t p,
                           const int8_t *queries, const uint8_t *images, size_t begin, size_t end,
                           float *out)
{
    const int32_t *middle = of_query->middle + p * PANEL_QUERIES;
    const float *scale = of_query->scale + p * PANEL_QUERIES,
                *scales = of_image->scale + p * PANEL_IMAGES;
#define BEGIN(q) __m512i low##q = _mm512_set1_epi32(-middle[q]), high##q = low##q;
    TWELVE(BEGIN)
#undef BEGIN
    for (size_t s = begin; s < end; s++) {
        const int32_t *fours = (const int32_t *)(const void *)(queries + 4 * PANEL_QUERIES * s);
        const uint8_t *at = images + (size_t)4 * PANEL_IMAGES * s;
        __m512i low = _mm512_loadu_si512(at), high = _mm512_loadu_si512(at + 64);
#define ADD(q)                                                                                     \
    {                                                                                              \
        __m512i four = _mm512_set1_epi32(fours[q]);                                                \
        ADD_PRODUCTS(low##q, low, four);                                                           \
        ADD_PRODUCTS(high##q, high, four);                                                         \
    }
        TWELVE(ADD)
#undef ADD
    }
    __m512 low_scale = _mm512_loadu_ps(scales), high_scale = _mm512_loadu_ps(scales + 16);
#define CLOSE(q)                                                                                   \
    {                                                                                              \
        __m512 of = _mm512_set1_ps(scale[q]);                                                      \
        float *at = out + (q)*PANEL_IMAGES;                                                        \
        _mm512_storeu_ps(at, _mm512_fmadd_ps(_mm512_mul_ps(of, low_scale),                         \
                                             _mm512_cvtepi32_ps(low##q), _mm512_loadu_ps(at)));    \
        _mm512_storeu_ps(at + 16,                                                                  \
                         _mm512_fmadd_ps(_mm512_mul_ps(of, high_scale),                            \
                                         _mm512_cvtepi32_ps(high##q), _mm512_loadu_ps(at + 16)));  \
    }
    TWELVE(CLOSE)
#undef CLOSE
}

VNNI static void terms_vnni(const struct numbers *of_query, const struct numbers *of_image,
                            size_t terms, float *out)
{
    for (size_t q = 0; q < PANEL_QUERIES; q++) {
        __m512 low = _mm512_setzero_ps(), high = low;
        for (size_t t = 0; t < terms; t++) {
            __m512 of = _mm512_set1_ps(of_query->term[t * PANEL_QUERIES + q]);
            const float *at = of_image->term + t * PANEL_IMAGES;
            low = _mm512_fmadd_ps(of, _mm512_loadu_ps(at), low);
            high = _mm512_fmadd_ps(of, _mm512_loadu_ps(at + 16), high);
        }
        _mm512_storeu_ps(out + q * PANEL_IMAGES, low);
        _mm512_storeu_ps(out + q * PANEL_IMAGES + 16, high);
    }
}

static void bounds_vnni(const struct panel_shape *shape, const void *queries, const void *images,
                        float out[PANEL_QUERIES * PANEL_IMAGES])
{
    struct numbers of_query = numbers_of(shape, queries, PANEL_QUERIES),
                   of_image = numbers_of(shape, images, PANEL_IMAGES);
    terms_vnni(&of_query, &of_image, shape->terms, out);
    for (size_t p = 0, begin = 0; p < shape->parts; begin = shape->end[p++] / 4)
        part_vnni(&of_query, &of_image, p, queries, images, begin, shape->end[p] / 4, out);
}
#else
static bool vnni_usable(void)
{
    return false;
}
#define bounds_vnni  bounds_plain
#define product_vnni product_plain
#endif

const struct panel_products panel_ways[PANEL_WAYS] = {
    { "vnni", vnni_usable, bounds_vnni, product_vnni },
    { "avx2", avx2_usable, bounds_avx2, product_plain },
    { "plain", always, bounds_plain, product_plain },
};

const struct panel_products *panel_products(void)
{
    const struct panel_products *way = panel_ways;
    while (!way->usable())
        way++;
    return way;
}
