/* Reductions of a tile: each adds to (or raises) what earlier tiles left, in double. Within a tile
 * they are taken in float: of a row in 16 lanes, of columns row by row. */
#include "tensor/cpu_math.h"
#include "tensor/cpu_parts.h"
#include "tensor/cpu_vector.h"

#include "base/simd.h"

/* Sums. */

/* The lanes of whole blocks, added up in their order to the sum of what is left. */
CPU_VECTOR void add_lanes(cpu_lanes *lane, const float *in, size_t count)
{
    for (size_t i = 0; i + CPU_LANES <= count; i += CPU_LANES) {
        cpu_lanes block;
        memcpy(&block, in + i, sizeof block);
        *lane += block;
    }
}

CPU_VECTOR float sum_rest(const float *in, size_t count)
{
    float sum = 0;
    for (size_t i = count - count % CPU_LANES; i < count; i++)
        sum += in[i];
    return sum;
}

/* Adds floats to doubles as vectors: compilers take a vector's elements one by one. */
CPU_VECTOR void add_line(double *sum, const float *part)
{
    cpu_double_line total;
    cpu_line line;
    memcpy(&total, sum, sizeof total);
    memcpy(&line, part, sizeof line);
    total += __builtin_convertvector(line, cpu_double_line);
    memcpy(sum, &total, sizeof total);
}

HOT static void sum_all(double *sum, const float *in, size_t rows, size_t columns)
{
    size_t count = rows * columns;
    cpu_lanes lane = { 0 };
    add_lanes(&lane, in, count);
    float total = sum_rest(in, count);
    for (size_t k = 0; k < CPU_LANES; k++)
        total += lane[k];
    *sum += (double)total;
}

/* Rows are summed eight at a time: their lanes are turned, so that all eight are added up at once,
 * each in the order that it would have by itself. */
HOT static void sum_rows(double *sum, const float *in, size_t rows, size_t columns)
{
    size_t r = 0;
    for (; r + CPU_BLOCK <= rows; r += CPU_BLOCK, in += CPU_BLOCK * columns) {
        cpu_line half[2][CPU_BLOCK], total;
        float rest[CPU_BLOCK];
        for (size_t k = 0; k < CPU_BLOCK; k++) {
            cpu_lanes lane = { 0 };
            add_lanes(&lane, in + k * columns, columns);
            rest[k] = sum_rest(in + k * columns, columns);
            memcpy(&half[0][k], &lane, sizeof half[0][k]);
            memcpy(&half[1][k], (const char *)&lane + sizeof half[0][k], sizeof half[1][k]);
        }
        memcpy(&total, rest, sizeof total);
        for (size_t h = 0; h < 2; h++) {
            cpu_turn(half[h]);
            for (size_t k = 0; k < CPU_BLOCK; k++)
                total += half[h][k];
        }
        add_line(sum + r, (const float *)&total);
    }
    for (; r < rows; r++, in += columns)
        sum_all(&sum[r], in, 1, columns);
}

/* Sums of columns, in blocks that stay in registers. */
HOT static void sum_columns(double *sum, const float *in, size_t rows, size_t columns)
{
    size_t c = 0;
    for (; c + CPU_LANES <= columns; c += CPU_LANES) {
        cpu_lanes part = { 0 };
        for (size_t r = 0; r < rows; r++) {
            cpu_lanes row;
            memcpy(&row, in + r * columns + c, sizeof row);
            part += row;
        }
        add_line(sum + c, (const float *)&part);
        add_line(sum + c + CPU_BLOCK, (const float *)&part + CPU_BLOCK);
    }
    for (; c < columns; c++) {
        float part = 0;
        for (size_t r = 0; r < rows; r++)
            part += in[r * columns + c];
        sum[c] += (double)part;
    }
}

HOT static void sum_none(double *restrict sum, const float *in, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows * columns; i++)
        sum[i] += (double)in[i];
}

/* Maxima. A NaN stays. */

static void raise(double *max, float value)
{
    if (value != value || (double)value > *max)
        *max = (double)value;
}

CPU_MATH larger(float value, float max)
{
    return chosen(value > max || value != value, value, max);
}

/* Lanes that compare by themselves: vector code, and a NaN stays in its lane. */
CPU_VECTOR float max_row(const float *in, size_t count)
{
    float lane[CPU_LANES], max = -INFINITY;
    for (size_t k = 0; k < CPU_LANES; k++)
        lane[k] = -INFINITY;
    size_t i = 0;
    for (; i + CPU_LANES <= count; i += CPU_LANES)
        for (size_t k = 0; k < CPU_LANES; k++)
            lane[k] = larger(in[i + k], lane[k]);
    for (; i < count; i++)
        max = larger(in[i], max);
    for (size_t k = 0; k < CPU_LANES; k++)
        max = larger(lane[k], max);
    return max;
}

/* Eight rows at a time, like sums. */
HOT static void max_rows(double *max, const float *in, size_t rows, size_t columns)
{
    size_t r = 0, whole = columns - columns % CPU_BLOCK;
    for (; whole && r + CPU_BLOCK <= rows; r += CPU_BLOCK, in += CPU_BLOCK * columns) {
        cpu_line line[CPU_BLOCK], highest;
        float of_row[CPU_BLOCK];
        for (size_t k = 0; k < CPU_BLOCK; k++)
            of_row[k] = max_row(in + k * columns + whole, columns - whole);
        memcpy(&highest, of_row, sizeof highest);
        for (size_t c = 0; c < whole; c += CPU_BLOCK) {
            for (size_t k = 0; k < CPU_BLOCK; k++)
                memcpy(&line[k], in + k * columns + c, sizeof line[k]);
            cpu_turn(line);
            for (size_t k = 0; k < CPU_BLOCK; k++)
                cpu_raise_line(&highest, &line[k]);
        }
        memcpy(of_row, &highest, sizeof of_row);
        for (size_t k = 0; k < CPU_BLOCK; k++)
            raise(&max[r + k], of_row[k]);
    }
    for (; r < rows; r++, in += columns)
        raise(&max[r], max_row(in, columns));
}

HOT static void max_all(double *max, const float *in, size_t rows, size_t columns)
{
    raise(max, max_row(in, rows * columns));
}

HOT static void max_none(double *max, const float *in, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows * columns; i++) {
        double value = (double)in[i];
        max[i] = value > max[i] || value != value ? value : max[i];
    }
}

HOT static void max_columns(double *max, const float *in, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            double value = (double)in[r * columns + c];
            max[c] = value > max[c] || value != value ? value : max[c];
        }
}

/* Joining what units put aside. */

HOT static void join_sums(double *restrict sum, const double *part, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += part[i];
}

HOT static void join_maxima(double *restrict max, const double *part, size_t count)
{
    for (size_t i = 0; i < count; i++)
        max[i] = part[i] > max[i] || part[i] != part[i] ? part[i] : max[i];
}

const struct cpu_reduction cpu_sum = {
    .tile = { { sum_none, sum_rows }, { sum_columns, sum_all } },
    .join = join_sums,
    .least = 0,
};

const struct cpu_reduction cpu_max = {
    .tile = { { max_none, max_rows }, { max_columns, max_all } },
    .join = join_maxima,
    .least = -INFINITY,
};
