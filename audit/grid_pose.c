/* What poses make of images on working grids; see grid.h.
 *
 * All planes are sampled at the same places. So these are worked out once a row, and padded cells
 * lie with four planes beside each other: what a cell is made of comes in loads of four planes,
 * where gathering from planes apart loads every value by itself. An image of one plane stays as it
 * is and is gathered from. Values come of the same operations in the same order either way. */
#include "audit/grid.h"

#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BEFORE = 2, /* two rows of padding before, */
    FRAME = 5,  /* three behind */
    TOGETHER = 4,
    ABREAST = 8, /* cells of a row that are sampled at once */
};

/* Planes that lie beside each other; of the last group some may be missing. */
static size_t together(const struct grid *grid)
{
    return grid->planes == 1 ? 1 : TOGETHER;
}

static size_t group_count(const struct grid *grid)
{
    return (grid->planes + together(grid) - 1) / together(grid);
}

/* Floats of a group, padded. */
static size_t group_padded(const struct grid *grid)
{
    return together(grid) * (grid->rows + FRAME) * (grid->columns + FRAME);
}

size_t grid_padded(const struct grid *grid)
{
    return group_count(grid) * group_padded(grid);
}

void grid_pad(const struct grid *grid, const float *cells, float background, float *padded)
{
    size_t columns = grid->columns, stride = columns + FRAME, rows = grid->rows,
           beside = together(grid);
    for (size_t i = 0; i < grid_padded(grid); i++)
        padded[i] = background;
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < rows; y++) {
            float *to = padded + p / beside * group_padded(grid) +
                        ((y + BEFORE) * stride + BEFORE) * beside + p % beside;
            for (size_t x = 0; x < columns; x++)
                to[x * beside] = *cells++;
        }
}

/* ---- where a row is sampled ------------------------------------------------------------------ */

/* Where row `row` is sampled: place = start + x · step, in padded cells. Beyond the limits, one
 * cell around the image, is background. */
struct line {
    float start[2], step[2];
    float limit[2];
};

/* The inverse of a pose's turn and scale: cos and sin of the angle, shrunk. */
struct turn {
    double c, s;
};

static struct turn turn_of(const struct pose *pose)
{
    double shrink = exp(-pose->log_scale);
    return (struct turn){ shrink * cos(pose->angle), shrink * sin(pose->angle) };
}

static struct line line_of(const struct grid *grid, const struct pose *pose, struct turn turn,
                           size_t row)
{
    double c = turn.c, s = turn.s, dy = (double)row - pose->shift[0] - pose->centre[0],
           dx = -pose->shift[1] - pose->centre[1];
    return (struct line){
        .start = { (float)(pose->centre[0] + c * dy - s * dx + BEFORE),
                   (float)(pose->centre[1] + s * dy + c * dx + BEFORE) },
        .step = { (float)-s, (float)c },
        .limit = { (float)(grid->rows + BEFORE), (float)(grid->columns + BEFORE) },
    };
}

/* Columns [begin, end). */
struct span {
    size_t begin, end;
};

static bool samples_within(const struct line *line, size_t x)
{
    float y_at = line->start[0] + (float)(int)x * line->step[0],
          x_at = line->start[1] + (float)(int)x * line->step[1];
    return y_at >= BEFORE - 0.25f && x_at >= BEFORE - 0.25f && y_at <= line->limit[0] - 0.75f &&
           x_at <= line->limit[1] - 0.75f;
}

/* Where the line lies within the image: an image is convex. */
static struct span span_of(const struct line *line, size_t columns)
{
    struct span span = { 0, columns };
    while (span.begin < span.end && !samples_within(line, span.begin))
        span.begin++;
    while (span.begin < span.end && !samples_within(line, span.end - 1))
        span.end--;
    return span;
}

/* Buffers for a row: where its cells are sampled, the padded cell before and how far behind it; and
 * what comes of it. There is room for some more cells, so that they are sampled by ABREAST. */
struct row_room {
    size_t stride; /* of lines */
    int *at;
    float *fy, *fx;
    float *lines; /* (2 TOGETHER, stride) */
};

static void row_room_init(struct row_room *room, const struct grid *grid)
{
    size_t stride = (grid->columns + ABREAST - 1) / ABREAST * ABREAST;
    room->stride = stride;
    room->at = memory_grow(NULL, stride, sizeof *room->at);
    room->fy = memory_grow(NULL, (2 + 2 * TOGETHER) * stride, sizeof *room->fy);
    room->fx = room->fy + stride;
    room->lines = room->fx + stride;
}

static void row_room_release(struct row_room *room)
{
    memory_free(room->at);
    memory_free(room->fy);
}

static inline __attribute__((always_inline)) float clamp(float value, float high)
{
    value = value < BEFORE - 1 ? BEFORE - 1 : value;
    return value > high ? high : value;
}

HOT static void locate(const struct line *line, int stride, struct span span, int *restrict at,
                       float *restrict fy, float *restrict fx)
{
    for (size_t x = span.begin; x < span.end; x++) {
        float y_at = clamp(line->start[0] + (float)(int)x * line->step[0], line->limit[0]),
              x_at = clamp(line->start[1] + (float)(int)x * line->step[1], line->limit[1]);
        int iy = (int)y_at, ix = (int)x_at;
        at[x] = iy * stride + ix;
        fy[x] = y_at - (float)iy;
        fx[x] = x_at - (float)ix;
    }
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* A row of a group of planes, from its padded cells, into the room's lines. `stride`: cells from
 * one padded row to the next. */
typedef void sampler(const float *padded, size_t stride, const struct row_room *room,
                     struct span span);

/* Catmull and Rom's cubic through four values, at t in [0, 1] between the second and the third; of
 * floats or vectors. */
#define CUBIC(a, b, c, d, t)                                                                       \
    ((b) + 0.5f * (t) *                                                                            \
               ((c) - (a) +                                                                        \
                (t) * (2 * (a)-5 * (b) + 4 * (c) - (d) + (t) * (3 * ((b) - (c)) + (d) - (a)))))

HOT static void lines_of_one(const float *padded, size_t stride, const struct row_room *room,
                             struct span span)
{
    for (size_t x = span.begin; x < span.end; x++) {
        int at = room->at[x];
        float fy = room->fy[x], fx = room->fx[x], a = padded[at], b = padded[at + 1],
              c = padded[at + (int)stride], d = padded[at + (int)stride + 1];
        float top = a + fx * (b - a), bottom = c + fx * (d - c);
        room->lines[x] = top + fy * (bottom - top);
    }
}

HOT static void cells_of_one(const float *padded, size_t stride, const struct row_room *room,
                             struct span span)
{
    (void)stride;
    for (size_t x = span.begin; x < span.end; x++)
        room->lines[x] = padded[room->at[x]];
}

/* The slopes of the interpolated image: the first lines along y, TOGETHER further on along x. */
HOT static void slopes_of_one(const float *padded, size_t stride, const struct row_room *room,
                              struct span span)
{
    float *along_y = room->lines, *along_x = room->lines + TOGETHER * room->stride;
    for (size_t x = span.begin; x < span.end; x++) {
        int at = room->at[x];
        float fy = room->fy[x], fx = room->fx[x], a = padded[at], b = padded[at + 1],
              c = padded[at + (int)stride], d = padded[at + (int)stride + 1];
        along_x[x] = (1 - fy) * (b - a) + fy * (d - c);
        along_y[x] = (1 - fx) * (c - a) + fx * (d - b);
    }
}

/* Of four planes, a cell and two. */
typedef float four __attribute__((vector_size(16)));
typedef float eight __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) four four_at(const float *values)
{
    four v;
    memcpy(&v, values, sizeof v);
    return v;
}

#define BESIDE(a, b)           __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#define TWO_AT(p, q, offset)   BESIDE(four_at((p) + (offset)), four_at((q) + (offset)))
#define TWO_OF(a, b)           BESIDE(((four){ a, a, a, a }), ((four){ b, b, b, b }))
#define HALF(v, a, b, c, d)    __builtin_shufflevector(v, v, a, b, c, d)
#define PICK(u, v, a, b, c, d) __builtin_shufflevector(u, v, a, b, c, d)

/* to[i][j] = from[j][i] */
static inline __attribute__((always_inline)) void transpose(const four from[4], four to[4])
{
    four ab = PICK(from[0], from[1], 0, 4, 1, 5), cd = PICK(from[2], from[3], 0, 4, 1, 5),
         ef = PICK(from[0], from[1], 2, 6, 3, 7), gh = PICK(from[2], from[3], 2, 6, 3, 7);
    to[0] = PICK(ab, cd, 0, 1, 4, 5);
    to[1] = PICK(ab, cd, 2, 3, 6, 7);
    to[2] = PICK(ef, gh, 0, 1, 4, 5);
    to[3] = PICK(ef, gh, 2, 3, 6, 7);
}

/* Four cells of four planes into the planes' lines. */
static inline __attribute__((always_inline)) void put_cells(const four cell[4], float *lines,
                                                            size_t stride)
{
    four plane[TOGETHER];
    transpose(cell, plane);
    for (size_t p = 0; p < TOGETHER; p++)
        memcpy(lines + p * stride, &plane[p], sizeof plane[p]);
}

/* Eight cells at a time: the four before, at and behind each of a row come in one load. */
HOT static void cubics_of_one(const float *padded, size_t stride, const struct row_room *room,
                              struct span span)
{
    for (size_t x = span.begin; x < span.end; x += ABREAST) {
        eight fx = TWO_AT(room->fx + x, room->fx + x + 4, 0),
              fy = TWO_AT(room->fy + x, room->fy + x + 4, 0), value[4], result;
        for (size_t r = 0; r < 4; r++) {
            four cell[ABREAST], tap[ABREAST];
            for (size_t c = 0; c < ABREAST; c++)
                cell[c] = four_at(padded + (size_t)room->at[x + c] + r * stride - stride - 1);
            transpose(cell, tap);
            transpose(cell + 4, tap + 4);
            eight a = BESIDE(tap[0], tap[4]), b = BESIDE(tap[1], tap[5]),
                  c = BESIDE(tap[2], tap[6]), d = BESIDE(tap[3], tap[7]);
            value[r] = CUBIC(a, b, c, d, fx);
        }
        result = CUBIC(value[0], value[1], value[2], value[3], fy);
        memcpy(room->lines + x, &result, sizeof result);
    }
}

HOT static void cubics_of_four(const float *padded, size_t stride, const struct row_room *room,
                               struct span span)
{
    const size_t row = stride * TOGETHER, before = row + TOGETHER;
    for (size_t x = span.begin; x < span.end; x += 4) {
        four cell[4];
        for (size_t c = 0; c < 4; c += 2) {
            const float *p = padded + (size_t)room->at[x + c] * TOGETHER - before,
                        *q = padded + (size_t)room->at[x + c + 1] * TOGETHER - before;
            eight fx = TWO_OF(room->fx[x + c], room->fx[x + c + 1]),
                  fy = TWO_OF(room->fy[x + c], room->fy[x + c + 1]), value[4];
            for (size_t r = 0; r < 4; r++) {
                eight a = TWO_AT(p, q, r * row), b = TWO_AT(p, q, r * row + 4),
                      d = TWO_AT(p, q, r * row + 8), e = TWO_AT(p, q, r * row + 12);
                value[r] = CUBIC(a, b, d, e, fx);
            }
            eight two = CUBIC(value[0], value[1], value[2], value[3], fy);
            cell[c] = HALF(two, 0, 1, 2, 3);
            cell[c + 1] = HALF(two, 4, 5, 6, 7);
        }
        put_cells(cell, room->lines + x, room->stride);
    }
}

HOT static void lines_of_four(const float *padded, size_t stride, const struct row_room *room,
                              struct span span)
{
    const size_t row = stride * TOGETHER;
    for (size_t x = span.begin; x < span.end; x += 4) {
        four cell[4];
        for (size_t c = 0; c < 4; c += 2) {
            const float *p = padded + (size_t)room->at[x + c] * TOGETHER,
                        *q = padded + (size_t)room->at[x + c + 1] * TOGETHER;
            eight fx = TWO_OF(room->fx[x + c], room->fx[x + c + 1]),
                  fy = TWO_OF(room->fy[x + c], room->fy[x + c + 1]), a = TWO_AT(p, q, 0),
                  b = TWO_AT(p, q, 4), d = TWO_AT(p, q, row), e = TWO_AT(p, q, row + 4);
            eight top = a + fx * (b - a), bottom = d + fx * (e - d),
                  two = top + fy * (bottom - top);
            cell[c] = HALF(two, 0, 1, 2, 3);
            cell[c + 1] = HALF(two, 4, 5, 6, 7);
        }
        put_cells(cell, room->lines + x, room->stride);
    }
}

HOT static void cells_of_four(const float *padded, size_t stride, const struct row_room *room,
                              struct span span)
{
    (void)stride;
    for (size_t x = span.begin; x < span.end; x += 4) {
        four cell[4];
        for (size_t c = 0; c < 4; c++)
            cell[c] = four_at(padded + (size_t)room->at[x + c] * TOGETHER);
        put_cells(cell, room->lines + x, room->stride);
    }
}

HOT static void slopes_of_four(const float *padded, size_t stride, const struct row_room *room,
                               struct span span)
{
    const size_t row = stride * TOGETHER;
    for (size_t x = span.begin; x < span.end; x += 4) {
        four along_y[4], along_x[4];
        for (size_t c = 0; c < 4; c += 2) {
            const float *p = padded + (size_t)room->at[x + c] * TOGETHER,
                        *q = padded + (size_t)room->at[x + c + 1] * TOGETHER;
            eight fx = TWO_OF(room->fx[x + c], room->fx[x + c + 1]),
                  fy = TWO_OF(room->fy[x + c], room->fy[x + c + 1]), a = TWO_AT(p, q, 0),
                  b = TWO_AT(p, q, 4), d = TWO_AT(p, q, row), e = TWO_AT(p, q, row + 4);
            eight two_x = (1 - fy) * (b - a) + fy * (e - d),
                  two_y = (1 - fx) * (d - a) + fx * (e - b);
            along_x[c] = HALF(two_x, 0, 1, 2, 3);
            along_x[c + 1] = HALF(two_x, 4, 5, 6, 7);
            along_y[c] = HALF(two_y, 0, 1, 2, 3);
            along_y[c + 1] = HALF(two_y, 4, 5, 6, 7);
        }
        put_cells(along_y, room->lines + x, room->stride);
        put_cells(along_x, room->lines + TOGETHER * room->stride + x, room->stride);
    }
}

/* Beside those of grid.h. */
enum { SAMPLE_CELLS = SAMPLE_CUBICS + 1, SAMPLE_SLOPES, SAMPLERS };

static sampler *const samplers[][SAMPLERS] = {
    { lines_of_one, cubics_of_one, cells_of_one, slopes_of_one },
    { lines_of_four, cubics_of_four, cells_of_four, slopes_of_four },
};

/* Whether each place is that of a cell, so that its value is the cell's, whatever the sampling. */
static bool on_cells(const struct line *line)
{
    return line->step[0] == 0 && line->step[1] == 1 && line->start[0] == floorf(line->start[0]) &&
           line->start[1] == floorf(line->start[1]);
}

/* As many cells as are sampled at once, and again. */
static struct span abreast(struct span span)
{
    return (struct span){ span.begin / ABREAST * ABREAST,
                          (span.end + ABREAST - 1) / ABREAST * ABREAST };
}

/* The span of a row, and the background about it; `from` may be `to`. */
static void put_row(const float *from, struct span span, float background, size_t columns,
                    float *to)
{
    for (size_t x = 0; x < span.begin; x++)
        to[x] = background;
    if (from != to)
        memcpy(to + span.begin, from + span.begin, (span.end - span.begin) * sizeof *to);
    for (size_t x = span.end; x < columns; x++)
        to[x] = background;
}

static void warp_row(const struct grid *grid, const float *padded, const struct line *line,
                     struct span span, enum sampling sampling, float background, size_t y,
                     struct row_room *room, float *out)
{
    size_t columns = grid->columns, stride = columns + FRAME, beside = together(grid);
    int how = on_cells(line) ? (int)SAMPLE_CELLS : (int)sampling;
    locate(line, (int)stride, abreast(span), room->at, room->fy, room->fx);
    for (size_t g = 0; g < group_count(grid); g++) {
        samplers[beside > 1][how](padded + g * group_padded(grid), stride, room, abreast(span));
        for (size_t p = g * beside; p < grid->planes && p < (g + 1) * beside; p++)
            put_row(room->lines + p % beside * room->stride, span, background, columns,
                    out + (p * grid->rows + y) * columns);
    }
}

static void crop_row(const struct grid *grid, const float *cells, struct span span,
                     float background, size_t y, float *out)
{
    for (size_t p = 0; p < grid->planes; p++) {
        size_t at = (p * grid->rows + y) * grid->columns;
        put_row(cells + at, span, background, grid->columns, out + at);
    }
}

void grid_warp(const struct grid *grid, const float *padded, const struct pose *pose,
               enum sampling sampling, float *out)
{
    struct turn turn = turn_of(pose);
    struct row_room room;
    row_room_init(&room, grid);
    for (size_t y = 0; y < grid->rows; y++) {
        struct line line = line_of(grid, pose, turn, y);
        warp_row(grid, padded, &line, (struct span){ 0, grid->columns }, sampling, 0, y, &room,
                 out);
    }
    row_room_release(&room);
}

void grid_crop(const struct grid *grid, const float *cells, const struct pose *pose,
               float background, float *out)
{
    struct turn turn = turn_of(pose);
    for (size_t y = 0; y < grid->rows; y++) {
        struct line line = line_of(grid, pose, turn, y);
        crop_row(grid, cells, span_of(&line, grid->columns), background, y, out);
    }
}

void grid_place(const struct grid *grid, const float *padded, const float *cells,
                const struct pose *pose, enum sampling sampling, float background, float *moved,
                float *cropped)
{
    struct turn turn = turn_of(pose);
    struct row_room room;
    row_room_init(&room, grid);
    for (size_t y = 0; y < grid->rows; y++) {
        struct line line = line_of(grid, pose, turn, y);
        struct span span = span_of(&line, grid->columns);
        warp_row(grid, padded, &line, span, sampling, background, y, &room, moved);
        crop_row(grid, cells, span, background, y, cropped);
    }
    row_room_release(&room);
}

/* ---- derivatives ----------------------------------------------------------------------------- */

/* From slopes to derivatives by the four freedoms, in place of a row. With (r, q) the sampled place
 * less the centre: ∂/∂log_scale = (−r, −q), ∂/∂angle = (−q, r). */
HOT static void freedoms_line(const struct line *line, const float turn[2], const float centre[2],
                              float per_reach, struct span span, const float *restrict slope_y,
                              const float *restrict slope_x, float *restrict along_y,
                              float *restrict along_x, float *restrict by_angle,
                              float *restrict by_scale)
{
    float c = turn[0], s = turn[1];
    for (size_t x = span.begin; x < span.end; x++) {
        float r = line->start[0] + (float)(int)x * line->step[0] - centre[0],
              q = line->start[1] + (float)(int)x * line->step[1] - centre[1], gy = slope_y[x],
              gx = slope_x[x];
        along_y[x] = -c * gy - s * gx;
        along_x[x] = s * gy - c * gx;
        by_angle[x] = (r * gx - q * gy) * per_reach;
        by_scale[x] = (-r * gy - q * gx) * per_reach;
    }
}

void grid_derivatives(const struct grid *grid, const float *padded, const struct pose *pose,
                      float *derivatives)
{
    size_t rows = grid->rows, columns = grid->columns, stride = columns + FRAME,
           cells = grid_cells(grid), beside = together(grid);
    struct turn turn = turn_of(pose);
    const float cosine_sine[2] = { (float)turn.c, (float)turn.s },
                centre[2] = { (float)(pose->centre[0] + BEFORE),
                              (float)(pose->centre[1] + BEFORE) };
    struct row_room room;
    row_room_init(&room, grid);
    for (size_t y = 0; y < rows; y++) {
        struct line line = line_of(grid, pose, turn, y);
        struct span span = span_of(&line, columns);
        locate(&line, (int)stride, abreast(span), room.at, room.fy, room.fx);
        for (size_t p = 0; p < grid->planes; p++) {
            const float *slopes = room.lines + p % beside * room.stride;
            float *at = derivatives + (p * rows + y) * columns;
            if (p % beside == 0)
                samplers[beside > 1][SAMPLE_SLOPES](padded + p / beside * group_padded(grid),
                                                    stride, &room, abreast(span));
            freedoms_line(&line, cosine_sine, centre, (float)(1 / grid_reach(grid)), span, slopes,
                          slopes + TOGETHER * room.stride, at, at + cells, at + 2 * cells,
                          at + 3 * cells);
            for (size_t f = 0; f < POSE_FREEDOMS; f++)
                put_row(at + f * cells, span, 0, columns, at + f * cells);
        }
    }
    row_room_release(&room);
}
