/* The ways of cpu_tile.c for one element type, which includes this file once for each, with
 *
 *     TYPE        as it lies in memory
 *     IN, OUT     a value of it as float, and back
 *     NAME(way)   what its functions are called
 */

HOT static void NAME(load_lines)(float *restrict out, const void *memory, const struct placing *at,
                                 size_t rows, size_t columns)
{
    bool one = joined(at, rows, columns);
    size_t lines = one ? 1 : rows, length = one ? rows * columns : columns;
    for (size_t r = 0; r < lines; r++, out += length) {
        const TYPE *from = (const TYPE *)memory + row_place(at, r);
        MOVE_ROW(out, from, length, IN);
    }
}

HOT static void NAME(store_lines)(void *memory, const float *restrict in, const struct placing *at,
                                  size_t rows, size_t columns)
{
    bool one = joined(at, rows, columns);
    size_t lines = one ? 1 : rows, length = one ? rows * columns : columns;
    for (size_t r = 0; r < lines; r++, in += length) {
        TYPE *restrict to = (TYPE *)memory + row_place(at, r);
        MOVE_ROW(to, in, length, OUT);
    }
}

HOT static void NAME(load_spread)(float *restrict out, const void *memory, const struct placing *at,
                                  size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++, out += columns) {
        float value = IN(((const TYPE *)memory)[row_place(at, r)]);
        size_t c = 0;
        for (; c + CPU_LANES <= columns; c += CPU_LANES)
            for (size_t lane = 0; lane < CPU_LANES; lane++)
                out[c + lane] = value;
        for (; c < columns; c++)
            out[c] = value;
    }
}

HOT static void NAME(load_scattered)(float *restrict out, const void *memory,
                                     const struct placing *at, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++, out += columns) {
        const TYPE *from = (const TYPE *)memory + row_place(at, r);
        for (size_t c = 0; c < columns; c++)
            out[c] = IN(from[at->column_at[c]]);
    }
}

HOT static void NAME(store_scattered)(void *memory, const float *restrict in,
                                      const struct placing *at, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++, in += columns) {
        TYPE *to = (TYPE *)memory + row_place(at, r);
        for (size_t c = 0; c < columns; c++)
            to[at->column_at[c]] = OUT(in[c]);
    }
}

/* A block where rows and columns both have CPU_BLOCK. */
CPU_VECTOR void NAME(load_block)(float *restrict out, const TYPE *from, const int64_t *column_at,
                                 size_t stride)
{
    cpu_line line[CPU_BLOCK];
    for (size_t c = 0; c < CPU_BLOCK; c++)
        NAME(cpu_line_from)(&line[c], from + column_at[c]);
    cpu_turn(line);
    for (size_t r = 0; r < CPU_BLOCK; r++)
        memcpy(out + r * stride, &line[r], sizeof line[r]);
}

CPU_VECTOR void NAME(store_block)(TYPE *to, const float *restrict in, const int64_t *column_at,
                                  size_t stride)
{
    cpu_line line[CPU_BLOCK];
    for (size_t r = 0; r < CPU_BLOCK; r++)
        memcpy(&line[r], in + r * stride, sizeof line[r]);
    cpu_turn(line);
    for (size_t c = 0; c < CPU_BLOCK; c++)
        NAME(cpu_line_to)(to + column_at[c], &line[c]);
}

/* What is left over beside blocks is moved element by element. */
HOT static void NAME(load_turned)(float *restrict out, const void *memory, const struct placing *at,
                                  size_t rows, size_t columns)
{
    const TYPE *from = memory;
    size_t whole_rows = rows - rows % CPU_BLOCK, c = 0;
    for (; c + CPU_BLOCK <= columns; c += CPU_BLOCK)
        for (size_t r = 0; r < whole_rows; r += CPU_BLOCK)
            NAME(load_block)(out + r * columns + c, from + r, at->column_at + c, columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = r < whole_rows ? c : 0; k < columns; k++)
            out[r * columns + k] = IN(from[at->column_at[k] + (int64_t)r]);
}

HOT static void NAME(store_turned)(void *memory, const float *restrict in, const struct placing *at,
                                   size_t rows, size_t columns)
{
    TYPE *to = memory;
    size_t whole_rows = rows - rows % CPU_BLOCK, c = 0;
    for (; c + CPU_BLOCK <= columns; c += CPU_BLOCK)
        for (size_t r = 0; r < whole_rows; r += CPU_BLOCK)
            NAME(store_block)(to + r, in + r * columns + c, at->column_at + c, columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = r < whole_rows ? c : 0; k < columns; k++)
            to[at->column_at[k] + (int64_t)r] = OUT(in[r * columns + k]);
}

#undef TYPE
#undef IN
#undef OUT
#undef NAME
