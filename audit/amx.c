/* Products of many images by tiles; see amx.h.
 *
 * x's strips are packed as first operands: 16 images × 64 pixels are a tile as they lie. y's are
 * packed as second operands, whose rows hold four pixels of each of 16 images: a tile turned about
 * its diagonal, by fours. Two by two tiles of either side are multiplied at a time, so each that is
 * loaded is used twice; their sums of 32 bits are kept in memory from strip to strip, and added to
 * those of 64 before they could overflow.
 *
 *     packed:  (tiles of 16 images, blocks of 64 pixels, 1 KiB), zeros where there is nothing
 *     sums:    (tiles of x, tiles of y, 16, 16)
 */
#include "audit/amx.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILES __attribute__((target("avx512f,avx512bw,amx-tile,amx-int8")))

static bool has_tiles(void)
{
    enum { LEAF = 7, TILE = 1 << 24, BYTES = 1 << 25 };              /* of EDX */
    enum { ASK = 0x1023 /* ARCH_REQ_XCOMP_PERM */, TILE_DATA = 18 }; /* XFEATURE_XTILEDATA */
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx512bw") && __get_cpuid_count(LEAF, 0, &a, &b, &c, &d) &&
           (d & TILE) && (d & BYTES) && syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
}

bool amx_usable(void)
{
    static _Atomic int known; /* 0: not yet; threads that ask at once find the same */
    if (!known)
        known = has_tiles() ? 1 : -1;
    return known > 0;
}

enum {
    SIDE = 16,  /* images of a tile */
    BLOCK = 64, /* pixels of one */
    TILE_BYTES = SIDE * BLOCK,
    STRIP_BLOCKS = 16,  /* of 256 and 512 images: 256 and 512 KiB packed */
    SAFE_BLOCKS = 1024, /* 2^16 products of at most 255² stay below 2^32 */
};

/* ---- packing ----------------------------------------------------------------------------------
 */

/* A strip: pixels [begin, end), in bytes from an image's beginning. */
struct strip {
    size_t begin, end;
};

static size_t blocks_of(struct strip strip)
{
    return (strip.end - strip.begin + BLOCK - 1) / BLOCK;
}

/* The block's pixels of an image, zeros beyond the strip and where there is no image. */
TILES static __m512i block_of(const void *image, struct strip strip, size_t block)
{
    size_t at = strip.begin + block * BLOCK, left = strip.end - at;
    __mmask64 mask = left < BLOCK ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0;
    return image ? _mm512_maskz_loadu_epi8(mask, (const char *)image + at) : _mm512_setzero_si512();
}

static const void *image_or_none(const void *const *images, size_t count, size_t at)
{
    return at < count ? images[at] : NULL;
}

TILES static void pack_rows(const void *const *images, size_t count, size_t tiles,
                            struct strip strip, uint8_t *packed)
{
    size_t blocks = blocks_of(strip);
    for (size_t i = 0; i < tiles * SIDE; i++) {
        const void *image = image_or_none(images, count, i);
        uint8_t *to = packed + i / SIDE * blocks * TILE_BYTES + i % SIDE * BLOCK;
        for (size_t b = 0; b < blocks; b++, to += TILE_BYTES)
            _mm512_store_si512(to, block_of(image, strip, b));
    }
}

/* Sixteen rows of sixteen fours become columns. */
TILES static void turn(const __m512i row[SIDE], uint8_t *to)
{
    __m512i two[SIDE], four[SIDE];
    for (int i = 0; i < SIDE; i += 2) {
        two[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        two[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < SIDE; i += 4) {
        four[i] = _mm512_unpacklo_epi64(two[i], two[i + 2]);
        four[i + 1] = _mm512_unpackhi_epi64(two[i], two[i + 2]);
        four[i + 2] = _mm512_unpacklo_epi64(two[i + 1], two[i + 3]);
        four[i + 3] = _mm512_unpackhi_epi64(two[i + 1], two[i + 3]);
    }
    /* four[i + c]: column 4 l + c of rows i … i + 3 in its quarter l */
    enum { EVEN = 0x88, ODD = 0xdd };
    for (int c = 0; c < 4; c++) {
        __m512i even = _mm512_shuffle_i32x4(four[c], four[4 + c], EVEN),
                more_even = _mm512_shuffle_i32x4(four[8 + c], four[12 + c], EVEN),
                odd = _mm512_shuffle_i32x4(four[c], four[4 + c], ODD),
                more_odd = _mm512_shuffle_i32x4(four[8 + c], four[12 + c], ODD);
        _mm512_store_si512(to + BLOCK * c, _mm512_shuffle_i32x4(even, more_even, EVEN));
        _mm512_store_si512(to + BLOCK * (4 + c), _mm512_shuffle_i32x4(odd, more_odd, EVEN));
        _mm512_store_si512(to + BLOCK * (8 + c), _mm512_shuffle_i32x4(even, more_even, ODD));
        _mm512_store_si512(to + BLOCK * (12 + c), _mm512_shuffle_i32x4(odd, more_odd, ODD));
    }
}

TILES static void pack_columns(const void *const *images, size_t count, size_t tiles,
                               struct strip strip, uint8_t *packed)
{
    size_t blocks = blocks_of(strip);
    for (size_t t = 0; t < tiles; t++)
        for (size_t b = 0; b < blocks; b++, packed += TILE_BYTES) {
            __m512i row[SIDE];
            for (size_t i = 0; i < SIDE; i++)
                row[i] = block_of(image_or_none(images, count, t * SIDE + i), strip, b);
            turn(row, packed);
        }
}

/* ---- products ---------------------------------------------------------------------------------
 */

/* Layout of the instruction's operand: all eight tiles whole. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} whole_tiles = {
    .palette = 1,
    .row_bytes = { BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, BLOCK },
    .rows = { SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE },
};

typedef uint32_t tile_sums[SIDE][SIDE];

/* Adds the products of two tiles of x with two of y; `step`: bytes from a tile to the next. */
TILES static void multiply(const uint8_t *x, const uint8_t *y, size_t step, size_t blocks,
                           tile_sums *upper, tile_sums *lower)
{
    _tile_loadd(0, upper[0], BLOCK);
    _tile_loadd(1, upper[1], BLOCK);
    _tile_loadd(2, lower[0], BLOCK);
    _tile_loadd(3, lower[1], BLOCK);
    for (size_t b = 0; b < blocks; b++, x += TILE_BYTES, y += TILE_BYTES) {
        _tile_loadd(4, x, BLOCK);
        _tile_loadd(6, y, BLOCK);
        _tile_dpbuud(0, 4, 6);
        _tile_loadd(7, y + step, BLOCK);
        _tile_dpbuud(1, 4, 7);
        _tile_loadd(5, x + step, BLOCK);
        _tile_dpbuud(2, 5, 6);
        _tile_dpbuud(3, 5, 7);
    }
    _tile_stored(0, upper[0], BLOCK);
    _tile_stored(1, upper[1], BLOCK);
    _tile_stored(2, lower[0], BLOCK);
    _tile_stored(3, lower[1], BLOCK);
}

/* What a call works with; numbers of tiles are even. */
struct work {
    const struct pixels *pixels;
    const void *const *x, *const *y;
    size_t x_count, y_count, x_tiles, y_tiles;
    uint8_t *packed_x, *packed_y;
    tile_sums *sums;
    size_t pending; /* blocks that sums hold */
    uint64_t *out;
};

static void empty_sums(struct work *work)
{
    for (size_t i = 0; i < work->x_count; i++)
        for (size_t j = 0; j < work->y_count; j++)
            work->out[i * work->y_count + j] +=
                work->sums[i / SIDE * work->y_tiles + j / SIDE][i % SIDE][j % SIDE];
    memset(work->sums, 0, work->x_tiles * work->y_tiles * sizeof *work->sums);
    work->pending = 0;
}

TILES static void add_strip(struct work *work, struct strip strip)
{
    size_t blocks = blocks_of(strip), step = blocks * TILE_BYTES;
    if (work->pending + blocks > SAFE_BLOCKS)
        empty_sums(work);
    work->pending += blocks;
    pack_rows(work->x, work->x_count, work->x_tiles, strip, work->packed_x);
    pack_columns(work->y, work->y_count, work->y_tiles, strip, work->packed_y);
    _tile_loadconfig(&whole_tiles);
    for (size_t j = 0; j < work->y_tiles; j += 2)
        for (size_t i = 0; i < work->x_tiles; i += 2) {
            tile_sums *upper = work->sums + i * work->y_tiles + j;
            multiply(work->packed_x + i * step, work->packed_y + j * step, step, blocks, upper,
                     upper + work->y_tiles);
        }
    _tile_release();
}

static size_t tiles_for(size_t count)
{
    return (count + 2 * SIDE - 1) / (2 * SIDE) * 2;
}

/* Room whose beginning lies where a cache's line begins. */
static void *line_aligned(size_t bytes)
{
    void *room = aligned_alloc(BLOCK, bytes);
    CHECK(room, "no memory for %zu bytes of tiles", bytes);
    return room;
}

void amx_products(const struct pixels *pixels, const void *const *x, size_t x_count,
                  const void *const *y, size_t y_count, uint64_t *sum)
{
    enum { STRIP = STRIP_BLOCKS * BLOCK };
    CHECK(amx_usable() && pixels->type == ELEMENT_UINT8, "no AMX for these images");
    struct work work = {
        pixels, x,    y,    x_count, y_count, tiles_for(x_count), tiles_for(y_count),
        NULL,   NULL, NULL, 0,       sum
    };
    size_t pairs = work.x_tiles * work.y_tiles;
    work.packed_x = line_aligned(work.x_tiles * STRIP_BLOCKS * TILE_BYTES);
    work.packed_y = line_aligned(work.y_tiles * STRIP_BLOCKS * TILE_BYTES);
    work.sums = line_aligned(pairs * sizeof *work.sums);
    memset(work.sums, 0, pairs * sizeof *work.sums);
    memset(sum, 0, x_count * y_count * sizeof *sum);
    for (size_t r = 0; r < pixels->run_count; r++) {
        size_t begin = pixels->run[r].offset, end = begin + pixels->run[r].length;
        for (; begin < end; begin += STRIP)
            add_strip(&work, (struct strip){ begin, end - begin < STRIP ? end : begin + STRIP });
    }
    empty_sums(&work);
    free(work.packed_x);
    free(work.packed_y);
    free(work.sums);
}
#else
bool amx_usable(void)
{
    return false;
}

void amx_products(const struct pixels *pixels, const void *const *x, size_t x_count,
                  const void *const *y, size_t y_count, uint64_t *sum)
{
    (void)pixels, (void)x, (void)x_count, (void)y, (void)y_count, (void)sum;
    BUG("no AMX");
}
#endif
