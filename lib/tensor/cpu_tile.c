/* Moving a tile of a loop between memory and the worker's scratch; see schedule.h.
 *
 * In scratch a tile is dense floats, row after row. How it lies in memory decides the way, once,
 * when a loop is prepared; so nothing is asked for each element:
 *
 *     lines     elements of a row are neighbours; rows that follow one another are one long row
 *     spread    one value for a whole row (loads alone)
 *     turned    elements of a column are neighbours: moved in blocks that are turned in registers,
 *               so that each line of the cache is touched by one block of columns alone
 *     scattered none of these: the place of each column is in a table
 */
#include "tensor/cpu_math.h"
#include "tensor/cpu_parts.h"
#include "tensor/cpu_vector.h"

#include "base/simd.h"

CPU_VECTOR int64_t row_place(const struct placing *at, size_t row)
{
    return at->row_at ? at->row_at[row] : (int64_t)row * at->row;
}

/* Rows that lie as one. */
static bool joined(const struct placing *at, size_t rows, size_t columns)
{
    return rows == 1 || (!at->row_at && at->row == (int64_t)columns);
}

/* A row in whole vectors, then what is left. */
#define MOVE_ROW(to, from, count, convert)                                                         \
    do {                                                                                           \
        size_t done = 0;                                                                           \
        for (; done + CPU_LANES <= (count); done += CPU_LANES)                                     \
            for (size_t lane = 0; lane < CPU_LANES; lane++)                                        \
                (to)[done + lane] = convert((from)[done + lane]);                                  \
        for (; done < (count); done++)                                                             \
            (to)[done] = convert((from)[done]);                                                    \
    } while (0)

#define TYPE      float
#define IN(x)     (x)
#define OUT(x)    (x)
#define NAME(way) way##_f32
#include "tensor/cpu_tile_ways.h"

#define TYPE      uint16_t
#define IN(x)     cpu_from_bf16(x)
#define OUT(x)    cpu_bf16(x)
#define NAME(way) way##_bf16
#include "tensor/cpu_tile_ways.h"

#define TYPE      int32_t
#define IN(x)     ((float)(x))
#define OUT(x)    ((int32_t)(x))
#define NAME(way) way##_i32
#include "tensor/cpu_tile_ways.h"

#define EACH_TYPE(way)                                                                             \
    {                                                                                              \
        [DTYPE_F32] = way##_f32, [DTYPE_BF16] = way##_bf16, [DTYPE_I32] = way##_i32                \
    }

cpu_load *const cpu_loads[PLACINGS][DTYPE_COUNT] = {
    [PLACED_IN_LINES] = EACH_TYPE(load_lines),
    [PLACED_SPREAD] = EACH_TYPE(load_spread),
    [PLACED_TURNED] = EACH_TYPE(load_turned),
    [PLACED_SCATTERED] = EACH_TYPE(load_scattered),
};

cpu_store *const cpu_stores[PLACINGS][DTYPE_COUNT] = {
    [PLACED_IN_LINES] = EACH_TYPE(store_lines),
    [PLACED_TURNED] = EACH_TYPE(store_turned),
    [PLACED_SCATTERED] = EACH_TYPE(store_scattered),
};
