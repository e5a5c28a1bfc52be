/* Alignment; see align.h.
 *
 * Gauss and Newton: near a pose the moved image is w + J d for a small change d of its four
 * freedoms, so the fixed image is fitted by a w + b + J e with six unknowns, by least squares, and
 * d = e / a. Gain a and offset b come out by the way, for correlation does not see them. A step
 * that does not raise the correlation is halved, at last given up.
 *
 * A pose that was found before the gamma and the blur makes up for them where it can (a copy that
 * was blurred seems turned a little), and gamma and blur can be mistaken for each other. So gamma
 * and blur are found by turns, from two starts, and the pose climbs once more with them. A second
 * round of this changes little. */
#include "audit/align.h"

#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEPS = 10,
    HALVINGS = 3,
    UNKNOWNS = POSE_FREEDOMS + 2,
    LANES = 16,
    GAMMA_STEPS = 6,
    BLURS = 12,
    TURNS = 4
};

/* ---- gamma ----------------------------------------------------------------------------------- */

enum { LEVELS = 1024 };

HOT static void look_up(const float *values, size_t count, float low, float high,
                        const float *table, float *out)
{
    float range = high - low, scale = LEVELS / range;
    for (size_t i = 0; i < count; i++) {
        float at = (values[i] - low) * scale;
        at = at < 0 ? 0 : at > LEVELS ? LEVELS : at;
        int level = (int)at;
        out[i] =
            low + range * (table[level] + (at - (float)level) * (table[level + 1] - table[level]));
    }
}

/* share^gamma of LEVELS + 1 shares from 0 to 1, the last twice. */
static void fill_table(double gamma, float table[LEVELS + 2])
{
    for (int l = 0; l <= LEVELS; l++)
        table[l] = (float)pow((double)l / LEVELS, gamma);
    table[LEVELS + 1] = table[LEVELS];
}

void gamma_apply(const float *values, size_t count, float low, float high, double gamma, float *out)
{
    float table[LEVELS + 2];
    if (gamma == 1 || !(high > low)) {
        memmove(out, values, count * sizeof *out);
        return;
    }
    fill_table(gamma, table);
    look_up(values, count, low, high, table, out);
}

static double gamma_of(int step)
{
    return exp2((double)step / GAMMA_STEPS);
}

/* The same for a gamma of a table of the room. */
static void apply_step(const struct align_room *room, const struct align_image *moving, int step,
                       size_t count, float *out)
{
    if (moving->high > moving->low)
        look_up(room->moved, count, moving->low, moving->high,
                room->gammas + (size_t)(step + GAMMA_STEPS) * (LEVELS + 2), out);
    else
        memmove(out, room->moved, count * sizeof *out);
}

void align_room_init(struct align_room *room, const struct grid *grid)
{
    size_t cells = grid_cells(grid);
    room->moved = memory_grow(NULL, cells, sizeof(float));
    room->softened = memory_grow(NULL, cells, sizeof(float));
    room->cropped = memory_grow(NULL, cells, sizeof(float));
    room->trial = memory_grow(NULL, cells, sizeof(float));
    room->toned = memory_grow(NULL, cells, sizeof(float));
    room->soft[0] = memory_grow(NULL, cells, sizeof(float));
    room->soft[1] = memory_grow(NULL, cells, sizeof(float));
    room->changed = memory_grow(NULL, grid_padded(grid), sizeof(float));
    room->derivatives = memory_grow(NULL, POSE_FREEDOMS * cells, sizeof(float));
    room->gammas = memory_grow(NULL, (2 * GAMMA_STEPS + 1) * (LEVELS + 2), sizeof(float));
    for (int step = -GAMMA_STEPS; step <= GAMMA_STEPS; step++)
        fill_table(gamma_of(step), room->gammas + (size_t)(step + GAMMA_STEPS) * (LEVELS + 2));
}

void align_room_release(struct align_room *room)
{
    memory_free(room->moved);
    memory_free(room->softened);
    memory_free(room->cropped);
    memory_free(room->trial);
    memory_free(room->toned);
    memory_free(room->soft[0]);
    memory_free(room->soft[1]);
    memory_free(room->changed);
    memory_free(room->derivatives);
    memory_free(room->gammas);
    *room = (struct align_room){ 0 };
}

/* Over the cells that count. */
static double correlate(const struct align_image *fixed, const float *x, const float *y,
                        size_t count)
{
    return fixed->inside ? float_correlation_inside(x, y, fixed->inside, count)
                         : float_correlation(x, y, count);
}

/* What is done to the values of the two images: the moving one's gamma, by its step, and how often
 * the fixed one is blurred. */
struct tone {
    int step, blur;
    double correlation;
};

/* The gamma that suits the softened fixed image: up or down from the present one in steps of a
 * sixth of an octave, as long as it helps. */
static bool improve_gamma(const struct grid *grid, const struct align_image *moving,
                          const struct align_image *fixed, struct align_room *room,
                          struct tone *tone)
{
    size_t cells = grid_cells(grid);
    const int first = tone->step;
    for (int direction = -1; direction <= 1 && tone->step == first; direction += 2)
        for (int step = first + direction; abs(step) <= GAMMA_STEPS; step += direction) {
            apply_step(room, moving, step, cells, room->trial);
            double r = correlate(fixed, room->trial, room->softened, cells);
            if (r <= tone->correlation)
                break;
            *tone = (struct tone){ step, tone->blur, r };
        }
    apply_step(room, moving, tone->step, cells, room->toned);
    return tone->step != first;
}

/* The blur that suits the moved image with its gamma: from none on a little further, as long as it
 * helps. */
static bool improve_blur(const struct grid *grid, const struct align_image *fixed,
                         struct align_room *room, struct tone *tone)
{
    size_t cells = grid_cells(grid);
    int before = tone->blur;
    struct tone best = { tone->step, 0, correlate(fixed, room->toned, room->cropped, cells) };
    memcpy(room->softened, room->cropped, cells * sizeof(float));
    while (best.blur < BLURS) {
        grid_blur(grid, room->softened, fixed->background, room->trial);
        double r = correlate(fixed, room->toned, room->trial, cells);
        if (r <= best.correlation)
            break;
        best = (struct tone){ tone->step, best.blur + 1, r };
        memcpy(room->softened, room->trial, cells * sizeof(float));
    }
    *tone = best;
    return best.blur != before;
}

/* Gamma and blur by turns: each can be mistaken for the other. */
static struct tone find_tone(const struct grid *grid, const struct align_image *moving,
                             const struct align_image *fixed, bool blur_first,
                             struct align_room *room)
{
    size_t bytes = grid_cells(grid) * sizeof(float);
    struct tone tone = { 0, 0, correlate(fixed, room->moved, room->cropped, grid_cells(grid)) };
    memcpy(room->toned, room->moved, bytes);
    memcpy(room->softened, room->cropped, bytes);
    bool changed = !blur_first || improve_blur(grid, fixed, room, &tone);
    for (int turn = 0; turn < TURNS && changed; turn++) {
        /* the first gamma was held against values that no table has clamped: once more */
        bool gamma = improve_gamma(grid, moving, fixed, room, &tone) && turn == 0;
        changed = improve_blur(grid, fixed, room, &tone) || gamma;
    }
    return tone;
}

static void swap(float **a, float **b)
{
    float *held = *a;
    *a = *b;
    *b = held;
}

static void improve_tone(const struct grid *grid, const struct align_image *moving,
                         const struct align_image *fixed, bool thorough, struct align_room *room,
                         struct alignment *alignment)
{
    struct tone tone = find_tone(grid, moving, fixed, false, room);
    if (thorough) {
        struct tone gamma_first = tone;
        swap(&room->toned, &room->soft[0]);
        swap(&room->softened, &room->soft[1]);
        tone = find_tone(grid, moving, fixed, true, room);
        if (gamma_first.correlation > tone.correlation) {
            tone = gamma_first;
            swap(&room->toned, &room->soft[0]);
            swap(&room->softened, &room->soft[1]);
        }
    }
    alignment->gamma = gamma_of(tone.step);
    alignment->blur = tone.blur;
    alignment->correlation = tone.correlation;
    memcpy(room->moved, room->toned, grid_cells(grid) * sizeof(float));
}

/* ---- the pose -------------------------------------------------------------------------------- */

HOT static double dot(const float *x, const float *y, size_t count)
{
    float lane[LANES] = { 0 };
    double sum = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += x[i + l] * y[i + l];
    for (size_t l = 0; i < count; i++, l++)
        lane[l] += x[i] * y[i];
    for (size_t l = 0; l < LANES; l++)
        sum += (double)lane[l];
    return sum;
}

HOT static double sum_of(const float *x, size_t count)
{
    float lane[LANES] = { 0 };
    double sum = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += x[i + l];
    for (size_t l = 0; i < count; i++, l++)
        lane[l] += x[i];
    for (size_t l = 0; l < LANES; l++)
        sum += (double)lane[l];
    return sum;
}

/* Solves a symmetric system in place by Cholesky; false when it is not positive definite. */
static bool solve(double a[UNKNOWNS][UNKNOWNS], double b[UNKNOWNS])
{
    for (int i = 0; i < UNKNOWNS; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = a[i][j];
            for (int k = 0; k < j; k++)
                sum -= a[i][k] * a[j][k];
            if (i == j && !(sum > 1e-9 * fabs(a[i][i])))
                return false;
            a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
        }
    }
    for (int i = 0; i < UNKNOWNS; i++) {
        for (int k = 0; k < i; k++)
            b[i] -= a[i][k] * b[k];
        b[i] /= a[i][i];
    }
    for (int i = UNKNOWNS; i-- > 0;) {
        for (int k = i + 1; k < UNKNOWNS; k++)
            b[i] -= a[k][i] * b[k];
        b[i] /= a[i][i];
    }
    return true;
}

static void multiply(const float *x, const float *y, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = x[i] * y[i];
}

/* The change of the four freedoms that fits best. Columns of the system: w, 1, J; where not all
 * cells count, each times `inside`. Leaves room->trial and room->derivatives so. */
static bool newton_step(const struct align_image *fixed, struct align_room *room, size_t cells,
                        double step[POSE_FREEDOMS])
{
    const float *column[UNKNOWNS] = { room->moved, fixed->inside }, *inside = fixed->inside;
    double a[UNKNOWNS][UNKNOWNS], b[UNKNOWNS];
    for (int f = 0; f < POSE_FREEDOMS; f++) {
        float *derivative = room->derivatives + (size_t)f * cells;
        if (inside)
            multiply(derivative, inside, cells, derivative);
        column[2 + f] = derivative;
    }
    if (inside) {
        multiply(room->moved, inside, cells, room->trial);
        column[0] = room->trial;
    }
    for (int i = 0; i < UNKNOWNS; i++) {
        for (int j = 0; j <= i; j++)
            a[i][j] = i == 1 && j == 1 ? (inside ? sum_of(inside, cells) : (double)cells)
                      : i == 1         ? sum_of(column[j], cells)
                      : j == 1         ? sum_of(column[i], cells)
                                       : dot(column[i], column[j], cells);
        b[i] = column[i] ? dot(column[i], room->cropped, cells) : sum_of(room->cropped, cells);
    }
    if (!solve(a, b) || !(b[0] > 0))
        return false;
    for (int f = 0; f < POSE_FREEDOMS; f++)
        step[f] = b[2 + f] / b[0];
    return true;
}

static struct pose moved_pose(const struct grid *grid, struct pose pose,
                              const double step[POSE_FREEDOMS], double share)
{
    double reach = grid_reach(grid);
    pose.shift[0] += share * step[0];
    pose.shift[1] += share * step[1];
    pose.angle += share * step[2] / reach;
    pose.log_scale += share * step[3] / reach;
    return pose;
}

static bool within(const struct pose *pose, const struct pose *start,
                   const struct align_limits *limits)
{
    return fabs(pose->angle) <= limits->angle && fabs(pose->log_scale) <= limits->log_scale &&
           fabs(pose->shift[0] - start->shift[0]) <= limits->drift &&
           fabs(pose->shift[1] - start->shift[1]) <= limits->drift;
}

/* The moved image, into `out`, and what the fixed one is compared with. */
static void place(const struct grid *grid, const struct align_image *moving,
                  const struct align_image *fixed, const struct pose *pose, struct align_room *room,
                  float *out)
{
    grid_warp(grid, moving->cells, pose, room->sampling, out);
    grid_crop(grid, out, pose, fixed->background, out);
    grid_crop(grid, fixed->cells, pose, fixed->background, room->cropped);
}

static double correlation_at(const struct grid *grid, const struct align_image *moving,
                             const struct align_image *fixed, const struct pose *pose,
                             struct align_room *room)
{
    place(grid, moving, fixed, pose, room, room->trial);
    return correlate(fixed, room->trial, room->cropped, grid_cells(grid));
}

/* Takes the step, or a part of it, if that raises the correlation. */
static bool try_step(const struct grid *grid, const struct align_image *moving,
                     const struct align_image *fixed, const struct align_limits *limits,
                     const struct pose *start, const double step[POSE_FREEDOMS],
                     struct align_room *room, struct alignment *alignment)
{
    double share = 1;
    for (int h = 0; h <= HALVINGS; h++, share /= 2) {
        struct pose pose = moved_pose(grid, alignment->pose, step, share);
        if (!within(&pose, start, limits))
            continue;
        double r = correlation_at(grid, moving, fixed, &pose, room);
        if (r > alignment->correlation) {
            alignment->correlation = r;
            alignment->pose = pose;
            return true;
        }
    }
    return false;
}

/* Everything at the pose: the moved image, its derivatives (0 where it was cropped). */
static void move(const struct grid *grid, const struct align_image *moving,
                 const struct align_image *fixed, const struct pose *pose, struct align_room *room)
{
    size_t cells = grid_cells(grid);
    grid_warp_derivatives(grid, moving->cells, pose, room->sampling, room->moved,
                          room->derivatives);
    grid_crop(grid, room->moved, pose, fixed->background, room->moved);
    grid_crop(grid, fixed->cells, pose, fixed->background, room->cropped);
    for (size_t f = 0; f < POSE_FREEDOMS; f++)
        grid_crop(grid, room->derivatives + f * cells, pose, 0, room->derivatives + f * cells);
}

/* Newton's steps from the pose on, as long as they help. Leaves the moved image and the cropped
 * fixed one in the room. */
static void climb(const struct grid *grid, const struct align_image *moving,
                  const struct align_image *fixed, const struct align_limits *limits,
                  const struct pose *start, struct align_room *room, struct alignment *alignment)
{
    size_t cells = grid_cells(grid);
    double step[POSE_FREEDOMS];
    for (int s = 0; s <= STEPS; s++) {
        move(grid, moving, fixed, &alignment->pose, room);
        if (s == 0)
            alignment->correlation = correlate(fixed, room->moved, room->cropped, cells);
        double before = alignment->correlation;
        if (s == STEPS || !newton_step(fixed, room, cells, step))
            break;
        if (!try_step(grid, moving, fixed, limits, start, step, room, alignment)) {
            grid_crop(grid, fixed->cells, &alignment->pose, fixed->background, room->cropped);
            break;
        }
        if (alignment->correlation - before < 1e-5 * (1 - before))
            s = STEPS - 1; /* one more round leaves the moved image in place */
    }
}

/* The fixed image as soft, and the moving one with the gamma, that were found: a pose that was
 * found without them makes up for them where it can. */
static void climb_again(const struct grid *grid, const struct align_image *moving,
                        const struct align_image *fixed, const struct align_limits *limits,
                        const struct pose *start, struct align_room *room,
                        struct alignment *alignment)
{
    struct align_image soft = *fixed, changed = *moving;
    float *from = room->soft[0], *to = room->soft[1];
    memcpy(from, fixed->cells, grid_cells(grid) * sizeof *from);
    for (int b = 0; b < alignment->blur; b++) {
        grid_blur(grid, from, fixed->background, to);
        swap(&from, &to);
    }
    soft.cells = from;
    if (alignment->gamma != 1) {
        gamma_apply(moving->cells, grid_padded(grid), moving->low, moving->high, alignment->gamma,
                    room->changed);
        changed.cells = room->changed;
    }
    climb(grid, &changed, &soft, limits, start, room, alignment);
}

void align(const struct grid *grid, const struct align_image *moving,
           const struct align_image *fixed, const struct align_limits *limits,
           struct align_room *room, struct alignment *alignment)
{
    struct pose start = alignment->pose;
    room->sampling = SAMPLE_LINES;
    climb(grid, moving, fixed, limits, &start, room, alignment);
    improve_tone(grid, moving, fixed, limits->thorough, room, alignment);
    if (!limits->thorough)
        return;
    room->sampling = SAMPLE_CUBICS;
    climb_again(grid, moving, fixed, limits, &start, room, alignment);
    place(grid, moving, fixed, &alignment->pose, room, room->moved);
    improve_tone(grid, moving, fixed, true, room, alignment);
}

double align_pieces(const struct grid *grid, const struct align_pieces *pieces,
                    const struct align_limits *limits, struct align_room *room)
{
    size_t count = grid_cells(grid);
    double middle = ((double)grid->rows - 1) / 2, mean = 0;
    for (size_t i = 0; i < count; i++)
        mean += (double)pieces->fixed[i] / (double)count;
    struct align_image fixed = { .cells = pieces->fixed,
                                 .background = (float)mean,
                                 .inside = pieces->inside },
                       moving = { .cells = pieces->padded, .background = (float)mean };
    struct alignment alignment = { .pose = { .centre = { middle, middle } } };
    moving.low = moving.high = pieces->moving[0];
    for (size_t i = 0; i < count; i++) {
        moving.low = fminf(moving.low, pieces->moving[i]);
        moving.high = fmaxf(moving.high, pieces->moving[i]);
    }
    grid_pad(grid, pieces->moving, (float)mean, pieces->padded);
    align(grid, &moving, &fixed, limits, room, &alignment);
    grid_smooth(grid, room->moved, (float)mean, pieces->smooth_moved);
    grid_smooth(grid, room->softened, (float)mean, pieces->smooth_fixed);
    return alignment.correlation;
}
