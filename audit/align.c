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
    GAMMAS = 2 * GAMMA_STEPS + 1,
    BLURS = 12,
    TURNS = 4
};

/* ---- gamma ----------------------------------------------------------------------------------- */

enum { LEVELS = 1024 };

HOT static void look_up_some(const float *values, size_t count, float low, float high,
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

HOT static bool none_above(const float *values, size_t count, float low)
{
    int above = 0;
    for (size_t i = 0; i < count; i++)
        above |= values[i] > low;
    return !above;
}

/* Of most images a good part is as dark as can be, which stays so. */
static void look_up(const float *values, size_t count, float low, float high, const float *table,
                    float *out)
{
    enum { PART = 64 };
    for (size_t first = 0; first < count; first += PART) {
        size_t part = count - first < PART ? count - first : PART;
        if (!none_above(values + first, part, low))
            look_up_some(values + first, part, low, high, table, out + first);
        else
            for (size_t i = first; i < first + part; i++)
                out[i] = low;
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
                       const float *values, size_t count, float *out)
{
    if (moving->high > moving->low)
        look_up(values, count, moving->low, moving->high,
                room->gammas + (size_t)(step + GAMMA_STEPS) * (LEVELS + 2), out);
    else
        memcpy(out, values, count * sizeof *out);
}

void align_room_init(struct align_room *room, const struct grid *grid)
{
    size_t cells = grid_cells(grid);
    room->moved = memory_grow(NULL, cells, sizeof(float));
    room->cropped = memory_grow(NULL, cells, sizeof(float));
    room->trial = memory_grow(NULL, cells, sizeof(float));
    room->toned = memory_grow(NULL, GAMMAS * cells, sizeof(float));
    room->soft = memory_grow(NULL, BLURS * cells, sizeof(float));
    room->changed = memory_grow(NULL, grid_padded(grid), sizeof(float));
    room->derivatives = memory_grow(NULL, POSE_FREEDOMS * cells, sizeof(float));
    room->gammas = memory_grow(NULL, GAMMAS * (LEVELS + 2), sizeof(float));
    for (int step = -GAMMA_STEPS; step <= GAMMA_STEPS; step++)
        fill_table(gamma_of(step), room->gammas + (size_t)(step + GAMMA_STEPS) * (LEVELS + 2));
}

void align_room_release(struct align_room *room)
{
    memory_free(room->moved);
    memory_free(room->cropped);
    memory_free(room->trial);
    memory_free(room->toned);
    memory_free(room->soft);
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

/* What is done to the values of the two images: the moving one's gamma, by its step (UNTOUCHED: as
 * it was moved, which no table has clamped), and how often the fixed one is blurred. */
struct tone {
    int step, blur;
    double correlation;
};
enum { UNTOUCHED = GAMMA_STEPS + 1 };

/* Tones of one moved and one cropped image. Searches come by the same ones again and again, so what
 * was made and compared is kept: toned images and blurs in the room. */
struct tones {
    const struct grid *grid;
    const struct align_image *moving, *fixed;
    struct align_room *room;
    bool made[GAMMAS + 1];
    int blurs; /* made so far; −1: not even none */
    struct float_moments toned[GAMMAS + 1], softened[BLURS + 1];
    double correlation[GAMMAS + 1][BLURS + 1]; /* −2: not compared yet */
};

static struct tones tones_of(const struct grid *grid, const struct align_image *moving,
                             const struct align_image *fixed, struct align_room *room)
{
    struct tones tones = { grid, moving, fixed, room, .blurs = -1 };
    for (int step = 0; step <= GAMMAS; step++)
        for (int blur = 0; blur <= BLURS; blur++)
            tones.correlation[step][blur] = -2;
    return tones;
}

static const float *toned(struct tones *tones, int step)
{
    struct align_room *room = tones->room;
    size_t cells = grid_cells(tones->grid), at = (size_t)(step + GAMMA_STEPS);
    float *image = step == UNTOUCHED ? room->moved : room->toned + at * cells;
    if (!tones->made[at]) {
        if (step != UNTOUCHED)
            apply_step(room, tones->moving, step, room->moved, cells, image);
        tones->toned[at] = float_moments(image, cells);
        tones->made[at] = true;
    }
    return image;
}

static const float *softened(struct tones *tones, int blur)
{
    struct align_room *room = tones->room;
    size_t cells = grid_cells(tones->grid);
    float *image = blur ? room->soft + (size_t)(blur - 1) * cells : room->cropped;
    if (tones->blurs < blur) {
        if (blur)
            grid_blur(tones->grid, softened(tones, blur - 1), tones->fixed->background, image);
        tones->softened[blur] = float_moments(image, cells);
        tones->blurs = blur;
    }
    return image;
}

static double tone_correlation(struct tones *tones, int step, int blur)
{
    size_t cells = grid_cells(tones->grid), at = (size_t)(step + GAMMA_STEPS);
    double *r = &tones->correlation[at][blur];
    if (*r < -1) {
        const float *x = toned(tones, step), *y = softened(tones, blur);
        *r = tones->fixed->inside
                 ? float_correlation_inside(x, y, tones->fixed->inside, cells)
                 : float_correlation_known(x, &tones->toned[at], y, &tones->softened[blur], cells);
    }
    return *r;
}

/* The gamma that suits the softened fixed image: up or down from the present one in steps of a
 * sixth of an octave, as long as it helps. */
static bool improve_gamma(struct tones *tones, struct tone *tone)
{
    const int first = tone->step == UNTOUCHED ? 0 : tone->step;
    tone->step = first;
    for (int direction = -1; direction <= 1 && tone->step == first; direction += 2)
        for (int step = first + direction; abs(step) <= GAMMA_STEPS; step += direction) {
            double r = tone_correlation(tones, step, tone->blur);
            if (r <= tone->correlation)
                break;
            *tone = (struct tone){ step, tone->blur, r };
        }
    return tone->step != first;
}

/* The blur that suits the moved image with its gamma: from none on a little further, as long as it
 * helps. */
static bool improve_blur(struct tones *tones, struct tone *tone)
{
    int before = tone->blur;
    struct tone best = { tone->step, 0, tone_correlation(tones, tone->step, 0) };
    while (best.blur < BLURS) {
        double r = tone_correlation(tones, tone->step, best.blur + 1);
        if (r <= best.correlation)
            break;
        best = (struct tone){ tone->step, best.blur + 1, r };
    }
    *tone = best;
    return best.blur != before;
}

/* Gamma and blur by turns: each can be mistaken for the other. */
static struct tone find_tone(struct tones *tones, bool blur_first)
{
    struct tone tone = { UNTOUCHED, 0, tone_correlation(tones, UNTOUCHED, 0) };
    bool changed = !blur_first || improve_blur(tones, &tone);
    for (int turn = 0; turn < TURNS && changed; turn++) {
        /* the first gamma was held against values that no table has clamped: once more */
        bool gamma = improve_gamma(tones, &tone) && turn == 0;
        changed = improve_blur(tones, &tone) || gamma;
    }
    return tone;
}

/* Leaves the images with what was found in the room; returns the step of gamma. */
static int improve_tone(const struct grid *grid, const struct align_image *moving,
                        const struct align_image *fixed, bool thorough, struct align_room *room,
                        struct alignment *alignment)
{
    struct tones tones = tones_of(grid, moving, fixed, room);
    struct tone tone = find_tone(&tones, false);
    if (thorough) {
        struct tone blur_first = find_tone(&tones, true);
        if (!(tone.correlation > blur_first.correlation))
            tone = blur_first;
    }
    int step = tone.step == UNTOUCHED ? 0 : tone.step;
    alignment->gamma = gamma_of(step);
    alignment->blur = tone.blur;
    alignment->correlation = tone.correlation;
    room->softened = softened(&tones, tone.blur);
    if (tone.step != UNTOUCHED)
        memcpy(room->moved, toned(&tones, tone.step), grid_cells(grid) * sizeof(float));
    return step;
}

/* ---- the pose -------------------------------------------------------------------------------- */

enum { OTHERS = POSE_FREEDOMS + 2 };

/* The sums of x and of its products with others, in lanes. */
HOT static void add_sums(const float *x, const float *const y[OTHERS], size_t first, size_t end,
                         float lanes[OTHERS + 1][LANES])
{
    float lane[OTHERS + 1][LANES];
    memcpy(lane, lanes, sizeof lane);
    size_t i = first;
    for (; i + LANES <= end; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            float value = x[i + l];
            lane[OTHERS][l] += value;
            for (size_t o = 0; o < OTHERS; o++)
                lane[o][l] += value * y[o][i + l];
        }
    for (size_t l = 0; i < end; i++, l++) {
        lane[OTHERS][l] += x[i];
        for (size_t o = 0; o < OTHERS; o++)
            lane[o][l] += x[i] * y[o][i];
    }
    memcpy(lanes, lane, sizeof lane);
}

/* The sum of each column (the last of its row) and those of its products with the others: by parts
 * of the columns that stay in the first cache. */
static void sums_of(const float *const column[UNKNOWNS], const float *const others[OTHERS],
                    size_t count, double sums[UNKNOWNS][OTHERS + 1])
{
    enum { PART = 1024 };
    float lanes[UNKNOWNS][OTHERS + 1][LANES] = { 0 };
    for (size_t first = 0; first < count; first += PART)
        for (int c = 0; c < UNKNOWNS; c++)
            add_sums(column[c], others, first, first + PART < count ? first + PART : count,
                     lanes[c]);
    for (int c = 0; c < UNKNOWNS; c++)
        for (int o = 0; o <= OTHERS; o++) {
            sums[c][o] = 0;
            for (int l = 0; l < LANES; l++)
                sums[c][o] += (double)lanes[c][o][l];
        }
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
    /* the column of ones is not laid down: its products are the sums, and the place is free for
     * what is fitted */
    enum { SUM = OTHERS, FITTED = OTHERS - 1 };
    const float *inside = fixed->inside,
                *column[UNKNOWNS] = { room->moved, inside ? inside : room->cropped };
    double a[UNKNOWNS][UNKNOWNS], b[UNKNOWNS], sums[UNKNOWNS][OTHERS + 1];
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
    sums_of(column,
            (const float *const[OTHERS]){ column[0], column[2], column[3], column[4], column[5],
                                          room->cropped },
            cells, sums);
    for (int i = 0; i < UNKNOWNS; i++) {
        for (int j = 0; j <= i; j++)
            a[i][j] = sums[i][j > 1 ? j - 1 : j == 1 ? SUM : 0];
        b[i] = sums[i][FITTED];
    }
    a[1][0] = sums[0][SUM];
    if (!inside) {
        a[1][1] = (double)cells;
        b[1] = sums[1][SUM];
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

/* Takes the step, or a part of it, if that raises the correlation: then the moved image and what it
 * is compared with are in place. */
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
        grid_place(grid, moving->cells, fixed->cells, &pose, room->sampling, fixed->background,
                   room->trial, room->cropped);
        double r = correlate(fixed, room->trial, room->cropped, grid_cells(grid));
        if (r > alignment->correlation) {
            float *held = room->moved;
            room->moved = room->trial;
            room->trial = held;
            alignment->correlation = r;
            alignment->pose = pose;
            return true;
        }
    }
    return false;
}

/* The moved image, and what it is compared with. */
static void place(const struct grid *grid, const struct align_image *moving,
                  const struct align_image *fixed, const struct pose *pose, struct align_room *room)
{
    grid_place(grid, moving->cells, fixed->cells, pose, room->sampling, fixed->background,
               room->moved, room->cropped);
}

/* Newton's steps from the pose on, as long as they help. Leaves the moved image and the cropped
 * fixed one in the room. */
static void climb(const struct grid *grid, const struct align_image *moving,
                  const struct align_image *fixed, const struct align_limits *limits,
                  const struct pose *start, struct align_room *room, struct alignment *alignment)
{
    double step[POSE_FREEDOMS];
    place(grid, moving, fixed, &alignment->pose, room);
    alignment->correlation = correlate(fixed, room->moved, room->cropped, grid_cells(grid));
    for (int s = 0; s < STEPS; s++) {
        double before = alignment->correlation;
        grid_derivatives(grid, moving->cells, &alignment->pose, room->derivatives);
        if (!newton_step(fixed, room, grid_cells(grid), step))
            return;
        if (!try_step(grid, moving, fixed, limits, start, step, room, alignment)) {
            grid_crop(grid, fixed->cells, &alignment->pose, fixed->background, room->cropped);
            return;
        }
        if (alignment->correlation - before < 1e-5 * (1 - before))
            return;
    }
}

/* The fixed image as soft, and the moving one with the gamma, that were found: a pose that was
 * found without them makes up for them where it can. */
static void climb_again(const struct grid *grid, const struct align_image *moving,
                        const struct align_image *fixed, const struct align_limits *limits,
                        const struct pose *start, int step, struct align_room *room,
                        struct alignment *alignment)
{
    struct align_image soft = *fixed, changed = *moving;
    for (int b = 0; b < alignment->blur; b++) {
        float *blurred = room->soft + (size_t)b * grid_cells(grid);
        grid_blur(grid, soft.cells, fixed->background, blurred);
        soft.cells = blurred;
    }
    if (step != 0) {
        apply_step(room, moving, step, moving->cells, grid_padded(grid), room->changed);
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
    int step = improve_tone(grid, moving, fixed, limits->thorough, room, alignment);
    if (!limits->thorough)
        return;
    room->sampling = SAMPLE_CUBICS;
    climb_again(grid, moving, fixed, limits, &start, step, room, alignment);
    place(grid, moving, fixed, &alignment->pose, room);
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
