/* The trials of the search for copies in disguise, and the low frequencies by which they are
 * compared; see disguise.h. */
#include "audit/disguise_parts.h"

#include "base/simd.h"

#include <math.h>
#include <string.h>

enum {
    FEATURES_MOST = 100,
    SIDE_MOST = 8, /* frequencies a side */
};

/* Steps are half of what an alignment makes up for with ease, at the low frequencies that trials
 * see. Turned, enlarged or mirrored copies are found with their shift, whatever it is, by their
 * centroids; where no dark rim makes these reliable, the last row finds shifts alone. */
const struct disguise_family disguise_families[] = {
    { .name = "turned and scaled, any shift",
      .centred = true,
      .mirrors = 1 << 0 | 1 << MIRROR_X,
      .turns = 2,
      .turn_step = 2.5,
      .scales = 3,
      .scale_step = 0.04 },
    { .name = "upside down, any shift",
      .centred = true,
      .mirrors = 1 << MIRROR_Y | 1 << (MIRROR_X | MIRROR_Y) },
    { .name = "gamma, any shift",
      .centred = true,
      .mirrors = 1 << 0 | 1 << MIRROR_X,
      .gammas = 1,
      .gamma_step = 0.5 },
    { .name = "shifted", .mirrors = 1 << 0 | 1 << MIRROR_X, .shifts = 2, .shift_step = 0.03 },
};
const size_t disguise_family_count = sizeof disguise_families / sizeof *disguise_families;

/* ---- the table of trials --------------------------------------------------------------------- */

static size_t family_trials(const struct disguise_family *f)
{
    size_t shifts = 2 * (size_t)f->shifts + 1;
    return (size_t)__builtin_popcount(f->mirrors) * (2 * (size_t)f->turns + 1) *
           (2 * (size_t)f->scales + 1) * shifts * shifts * (2 * (size_t)f->gammas + 1);
}

size_t disguise_trials(void)
{
    size_t count = 0;
    for (size_t f = 0; f < disguise_family_count; f++)
        count += family_trials(&disguise_families[f]);
    return count;
}

/* The value of one step, −steps … steps, that `index` stands for; divides it off. */
static double step_of(size_t *index, int steps, double step)
{
    size_t count = 2 * (size_t)steps + 1, at = *index % count;
    *index /= count;
    return ((double)at - steps) * step;
}

static struct trial trial_of(const struct disguise_family *f, size_t index)
{
    struct trial trial = { .centred = f->centred };
    trial.angle = step_of(&index, f->turns, f->turn_step) * M_PI / 180;
    trial.log_scale = step_of(&index, f->scales, f->scale_step);
    trial.shift[0] = step_of(&index, f->shifts, f->shift_step);
    trial.shift[1] = step_of(&index, f->shifts, f->shift_step);
    trial.gamma = exp(step_of(&index, f->gammas, f->gamma_step));
    for (unsigned m = 0; m < MIRRORS; m++)
        if (f->mirrors >> m & 1 && index-- == 0)
            trial.mirror = m;
    return trial;
}

size_t trials_make(struct trial *trials)
{
    size_t count = 0, centred = 0;
    for (int c = 1; c >= 0; c--) {
        for (size_t f = 0; f < disguise_family_count; f++)
            for (size_t i = 0;
                 disguise_families[f].centred == c && i < family_trials(&disguise_families[f]); i++)
                trials[count++] = trial_of(&disguise_families[f], i);
        if (c == 1)
            centred = count;
    }
    return centred;
}

/* ---- low frequencies ------------------------------------------------------------------------- */

static float cosine(size_t k, size_t n, size_t length)
{
    return (float)(sqrt((k ? 2.0 : 1.0) / (double)length) *
                   cos(M_PI * (2 * (double)n + 1) * (double)k / (2 * (double)length)));
}

void features_init(struct features *features, const struct grid *grid, struct arena *arena)
{
    size_t side = SIDE_MOST;
    while (side > 2 && (side * side * grid->planes > FEATURES_MOST || side > grid->rows ||
                        side > grid->columns))
        side--;
    features->side = side;
    features->count = side * side * grid->planes;
    features->along_y = arena_array(arena, float, side * grid->rows);
    features->along_x = arena_array(arena, float, side * grid->columns);
    for (size_t k = 0; k < side; k++) {
        for (size_t y = 0; y < grid->rows; y++)
            features->along_y[k * grid->rows + y] = cosine(k, y, grid->rows);
        for (size_t x = 0; x < grid->columns; x++)
            features->along_x[x * side + k] = cosine(k, x, grid->columns);
    }
}

/* out (m,n) = a (m,k) · b (k,n), all small. */
HOT static void small_product(size_t m, size_t n, size_t k, const float *a, const float *b,
                              float *out)
{
    memset(out, 0, m * n * sizeof *out);
    for (size_t i = 0; i < m; i++)
        for (size_t l = 0; l < k; l++) {
            float factor = a[i * k + l];
            for (size_t j = 0; j < n; j++)
                out[i * n + j] += factor * b[l * n + j];
        }
}

void features_of(const struct features *features, const struct grid *grid, const float *cells,
                 float *between, float *out)
{
    size_t side = features->side, plane = grid->rows * grid->columns;
    double mean = 0, squares = 0;
    for (size_t p = 0; p < grid->planes; p++) {
        small_product(side, grid->columns, grid->rows, features->along_y, cells + p * plane,
                      between);
        small_product(side, side, grid->columns, between, features->along_x, out + p * side * side);
        mean += (double)out[p * side * side] / (double)grid->planes;
    }
    for (size_t p = 0; p < grid->planes; p++)
        out[p * side * side] -= (float)mean;
    for (size_t i = 0; i < features->count; i++)
        squares += (double)out[i] * (double)out[i];
    float scale = squares > 1e-12 ? (float)(1 / sqrt(squares)) : 0;
    for (size_t i = 0; i < features->count; i++)
        out[i] *= scale;
}
