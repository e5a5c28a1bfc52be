/* Copies in disguise: what an image is a copy of; see disguise.h. */
#include "audit/align.h"
#include "audit/blas.h"
#include "audit/disguise_parts.h"
#include "audit/engine.h"
#include "audit/queries.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STRANGERS = 5,     /* subjects beside the nearest one that a local ratio is taken from */
    BEST = 8,          /* candidates whatever their subject: a subject's slices look alike */
    SCORE_TILE = 1024, /* training images whose scores stay in the second cache */
    VIEWS = 2,         /* as it is, and smoothed */
    CANDIDATES = BEST + STRANGERS + 1,
};

/* ---- a query --------------------------------------------------------------------------------- */

/* What a thread needs, for one query at a time. */
struct room {
    float *rows;   /* the trials' features (trials, features) */
    float *scores; /* (trials, SCORE_TILE) */
    float *best;   /* (database): over all trials; below −1: not allowed */
    struct {
        float value;
        uint32_t id;
    } * group_best;
    float *coarse_cells, *coarse_mirror, *coarse_padded, *coarse_warped, *between;
    float *fine_cells, *fine_mirror, *fine_padded[MIRRORS], *fixed, *smooth_fixed, *smooth_moved;
    float *whole_cells, *whole_mirror, *whole_fixed, *whole_moved, *whole_cropped;
    float *whole_padded[2]; /* as it is; with the gamma that was found */
    float whole_outside;    /* the background of whole_fixed */
    struct align_room align;
    struct arena arena;
};

static float *floats(struct room *room, size_t count)
{
    return arena_array(&room->arena, float, count);
}

static void room_init(struct room *room, const struct disguise_search *search)
{
    const struct grid *coarse = &search->coarse, *fine = &search->fine, *whole = &search->whole;
    *room = (struct room){ 0 };
    arena_init(&room->arena);
    room->rows = floats(room, search->trial_count * search->features.count);
    room->scores = floats(room, search->trial_count * SCORE_TILE);
    room->best = floats(room, search->database.count);
    room->group_best =
        arena_allocate_array(&room->arena, search->group_count, sizeof *room->group_best);
    room->coarse_cells = floats(room, grid_cells(coarse));
    room->coarse_mirror = floats(room, grid_cells(coarse));
    room->coarse_padded = floats(room, grid_padded(coarse));
    room->coarse_warped = floats(room, grid_cells(coarse));
    room->between = floats(room, search->features.side * coarse->columns);
    room->fine_cells = floats(room, grid_cells(fine));
    room->fine_mirror = floats(room, grid_cells(fine));
    for (int m = 0; m < MIRRORS; m++)
        room->fine_padded[m] = floats(room, grid_padded(fine));
    room->fixed = floats(room, grid_cells(fine));
    room->smooth_fixed = floats(room, grid_cells(fine));
    room->smooth_moved = floats(room, grid_cells(fine));
    room->whole_cells = floats(room, grid_cells(whole));
    room->whole_mirror = floats(room, grid_cells(whole));
    for (int g = 0; g < 2; g++)
        room->whole_padded[g] = floats(room, grid_padded(whole));
    room->whole_fixed = floats(room, grid_cells(whole));
    room->whole_moved = floats(room, grid_cells(whole));
    room->whole_cropped = floats(room, grid_cells(whole));
    align_room_init(&room->align, fine);
}

static void room_release(struct room *room)
{
    align_room_release(&room->align);
    arena_release(&room->arena);
}

HOT static void range_of(const float *values, size_t count, float *low, float *high)
{
    enum { LANES = 16 };
    float least[LANES], most[LANES];
    for (size_t l = 0; l < LANES; l++)
        least[l] = most[l] = values[0];
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            least[l] = values[i + l] < least[l] ? values[i + l] : least[l];
            most[l] = values[i + l] > most[l] ? values[i + l] : most[l];
        }
    for (; i < count; i++) {
        least[0] = values[i] < least[0] ? values[i] : least[0];
        most[0] = values[i] > most[0] ? values[i] : most[0];
    }
    for (size_t l = 1; l < LANES; l++) {
        least[0] = least[l] < least[0] ? least[l] : least[0];
        most[0] = most[l] > most[0] ? most[l] : most[0];
    }
    *low = least[0];
    *high = most[0];
}

/* The features of all trials of a query, from its coarse cells. */
static void make_trials(const struct disguise_search *search, struct room *room)
{
    const struct grid *grid = &search->coarse;
    size_t cells = grid_cells(grid);
    double middle[2], longer = 2 * grid_reach(grid);
    float low, high, background = grid_background(grid, room->coarse_cells);
    range_of(room->coarse_cells, cells, &low, &high);
    middle_of(grid, middle);
    unsigned mirror = UINT32_MAX;
    double gamma = 0;
    struct pose centred = { 0 };
    for (size_t t = 0; t < search->trial_count; t++) {
        const struct trial *trial = &search->trials[t];
        if (trial->mirror != mirror || trial->gamma != gamma) {
            mirror = trial->mirror;
            gamma = trial->gamma;
            float outside;
            grid_mirror(grid, room->coarse_cells, mirror, room->coarse_mirror);
            gamma_apply(room->coarse_mirror, cells, low, high, gamma, room->coarse_mirror);
            gamma_apply(&background, 1, low, high, gamma, &outside);
            grid_centroid(grid, room->coarse_mirror, outside, centred.centre);
            grid_pad(grid, room->coarse_mirror, outside, room->coarse_padded);
        }
        struct pose pose = centred;
        pose.angle = trial->angle;
        pose.log_scale = trial->log_scale;
        for (int a = 0; a < 2; a++)
            pose.shift[a] = trial->centred ? middle[a] - pose.centre[a] : trial->shift[a] * longer;
        grid_warp(grid, room->coarse_padded, &pose, SAMPLE_LINES, room->coarse_warped);
        features_of(&search->features, grid, room->coarse_warped, room->between,
                    room->rows + t * search->features.count);
    }
}

HOT static void raise(const float *scores, size_t count, float *best)
{
    for (size_t j = 0; j < count; j++)
        best[j] = scores[j] > best[j] ? scores[j] : best[j];
}

/* Each training image's largest correlation over all trials. */
static void score_database(const struct disguise_search *search, struct room *room, size_t query)
{
    size_t n = search->database.count, d = search->features.count, centred = search->centred_count;
    for (size_t begin = 0; begin < n; begin += SCORE_TILE) {
        size_t count = n - begin < SCORE_TILE ? n - begin : SCORE_TILE;
        blas_product_transposed(centred, count, d, room->rows, d, search->rows[1] + begin * d, d,
                                room->scores, SCORE_TILE);
        blas_product_transposed(search->trial_count - centred, count, d, room->rows + centred * d,
                                d, search->rows[0] + begin * d, d,
                                room->scores + centred * SCORE_TILE, SCORE_TILE);
        memcpy(room->best + begin, room->scores, count * sizeof *room->best);
        for (size_t t = 1; t < search->trial_count; t++)
            raise(room->scores + t * SCORE_TILE, count, room->best + begin);
    }
    if (!search->settings.other_groups)
        return;
    uint32_t own = disguise_group(search, query);
    for (size_t j = 0; j < n; j++)
        if (search->groups[j] == own)
            room->best[j] = -2;
}

/* The trial in which a training image scored best. */
static const struct trial *best_trial(const struct disguise_search *search, const struct room *room,
                                      size_t id)
{
    size_t d = search->features.count, best = 0;
    float most = -2;
    for (size_t t = 0; t < search->trial_count; t++) {
        const float *x = room->rows + t * d, *y = search->rows[search->trials[t].centred] + id * d;
        float sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += x[i] * y[i];
        if (sum > most) {
            most = sum;
            best = t;
        }
    }
    return &search->trials[best];
}

/* ---- candidates ------------------------------------------------------------------------------ */

struct candidate {
    size_t id;
    uint32_t group;
    unsigned mirror;
    struct alignment alignment;
    double view[VIEWS]; /* correlations on the grid, and on the smoothed grid */
};

/* Inserts into a list of the largest scores, the lower id first among equals. */
static void keep_best(const float *best, size_t id, size_t *list, size_t *count, size_t most)
{
    if (best[id] < -1 || (*count == most && best[id] <= best[list[most - 1]]))
        return;
    size_t place = *count < most ? (*count)++ : most - 1;
    for (; place > 0 && best[id] > best[list[place - 1]]; place--)
        list[place] = list[place - 1];
    list[place] = id;
}

/* Ids of candidates: the BEST of all, then the best of each of the STRANGERS + 1 best groups. */
static size_t choose_candidates(const struct disguise_search *search, struct room *room,
                                size_t list[CANDIDATES])
{
    size_t n = search->database.count, count = 0, leaders[STRANGERS + 1], leading = 0;
    for (size_t g = 0; g < search->group_count; g++)
        room->group_best[g].value = -2;
    for (size_t j = 0; j < n; j++) {
        keep_best(room->best, j, list, &count, BEST);
        uint32_t g = search->groups[j];
        if (room->best[j] > room->group_best[g].value) {
            room->group_best[g].value = room->best[j];
            room->group_best[g].id = (uint32_t)j;
        }
    }
    for (size_t g = 0; g < search->group_count; g++)
        if (room->group_best[g].value > -2)
            keep_best(room->best, room->group_best[g].id, leaders, &leading, STRANGERS + 1);
    for (size_t l = 0; l < leading; l++) {
        bool listed = false;
        for (size_t c = 0; c < count; c++)
            listed |= list[c] == leaders[l];
        if (!listed)
            list[count++] = leaders[l];
    }
    return count;
}

/* Padded fine cells of every mirror of the query. */
static void make_mirrors(const struct disguise_search *search, struct room *room,
                         double centroid[MIRRORS][2])
{
    const struct grid *grid = &search->fine;
    float background = grid_background(grid, room->fine_cells);
    for (unsigned m = 0; m < MIRRORS; m++) {
        grid_mirror(grid, room->fine_cells, m, room->fine_mirror);
        grid_centroid(grid, room->fine_mirror, background, centroid[m]);
        grid_pad(grid, room->fine_mirror, background, room->fine_padded[m]);
    }
}

static void align_candidate(const struct disguise_search *search, struct room *room,
                            double centroid[MIRRORS][2], struct align_image *moving,
                            struct candidate *candidate)
{
    const struct grid *grid = &search->fine;
    double longer = 2 * grid_reach(grid), place[2];
    const struct align_limits limits = { DISGUISE_DEGREES * M_PI / 180, log(DISGUISE_SCALE),
                                         DISGUISE_DRIFT * longer, true };
    const struct trial *trial = best_trial(search, room, candidate->id);
    struct pose *pose = &candidate->alignment.pose;
    grid_read(grid, set_image(&search->pixels, &search->database, candidate->id), room->fixed);
    struct align_image fixed = { .cells = room->fixed,
                                 .background = grid_background(grid, room->fixed) };
    grid_centroid(grid, room->fixed, fixed.background, place);
    candidate->mirror = trial->mirror;
    *pose = (struct pose){ .angle = trial->angle, .log_scale = trial->log_scale };
    for (int a = 0; a < 2; a++) {
        pose->centre[a] = centroid[trial->mirror][a];
        pose->shift[a] = trial->centred ? place[a] - pose->centre[a] : trial->shift[a] * longer;
    }
    moving->cells = room->fine_padded[trial->mirror];
    align(grid, moving, &fixed, &limits, &room->align, &candidate->alignment);
    candidate->view[0] = candidate->alignment.correlation;
    grid_smooth(grid, room->align.softened, fixed.background, room->smooth_fixed);
    grid_smooth(grid, room->align.moved, fixed.background, room->smooth_moved);
    candidate->view[1] =
        float_correlation(room->smooth_moved, room->smooth_fixed, grid_cells(grid));
}

/* The distance to the nearest candidate over the mean of the next STRANGERS groups, in one view. */
static double ratio_of(const struct candidate *candidates, size_t count, int view, size_t *nearest)
{
    double others[STRANGERS], sum = 0;
    uint32_t groups[STRANGERS + 1];
    size_t found = 0, best = 0;
    for (size_t c = 1; c < count; c++)
        if (candidates[c].view[view] > candidates[best].view[view])
            best = c;
    groups[0] = candidates[best].group;
    while (found < STRANGERS) {
        size_t next = count;
        for (size_t c = 0; c < count; c++) {
            bool known = false;
            for (size_t g = 0; g <= found; g++)
                known |= candidates[c].group == groups[g];
            if (!known && (next == count || candidates[c].view[view] > candidates[next].view[view]))
                next = c;
        }
        if (next == count)
            break;
        others[found++] = distance_of(candidates[next].view[view]);
        groups[found] = candidates[next].group;
    }
    *nearest = best;
    for (size_t i = 0; i < found; i++)
        sum += others[i];
    return found && sum > 0 ? distance_of(candidates[best].view[view]) / (sum / (double)found) : 1;
}

/* ---- the value over all pixels --------------------------------------------------------------- */

static struct pose whole_pose(const struct transform *transform, const double centre[2])
{
    return (struct pose){ .angle = transform->degrees * M_PI / 180,
                          .log_scale = log(transform->scale),
                          .shift = { transform->shift_y, transform->shift_x },
                          .centre = { centre[0], centre[1] } };
}

/* Reads the pair that is compared, as all tries need it. */
static void whole_read(const struct disguise_search *search, struct room *room, size_t query,
                       const struct candidate *candidate)
{
    const struct grid *grid = &search->whole;
    size_t cells = grid_cells(grid);
    float low, high;
    grid_read(grid, set_image(&search->pixels, &search->queries, query), room->whole_cells);
    grid_read(grid, set_image(&search->pixels, &search->database, candidate->id),
              room->whole_fixed);
    room->whole_outside = grid_background(grid, room->whole_fixed);
    range_of(room->whole_cells, cells, &low, &high);
    grid_mirror(grid, room->whole_cells, candidate->mirror, room->whole_mirror);
    grid_pad(grid, room->whole_mirror, grid_background(grid, room->whole_mirror),
             room->whole_padded[0]);
    if (candidate->alignment.gamma == 1)
        return;
    gamma_apply(room->whole_mirror, cells, low, high, candidate->alignment.gamma,
                room->whole_mirror);
    grid_pad(grid, room->whole_mirror, grid_background(grid, room->whole_mirror),
             room->whole_padded[1]);
}

static double whole_correlation(const struct disguise_search *search, struct room *room,
                                const struct transform *transform, const double centre[2])
{
    const struct grid *grid = &search->whole;
    struct pose pose = whole_pose(transform, centre);
    grid_place(grid, room->whole_padded[transform->gamma != 1], room->whole_fixed, &pose,
               SAMPLE_CUBICS, room->whole_outside, room->whole_moved, room->whole_cropped);
    return float_correlation(room->whole_moved, room->whole_cropped, grid_cells(grid));
}

/* The mirrored image's centroid, as the alignment sees it: on the fine grid. */
static void whole_centre(const struct grid *whole, const struct grid *fine, const void *image,
                         unsigned mirror, double centre[2])
{
    float *cells = memory_grow(NULL, 2 * grid_cells(fine), sizeof *cells),
          *mirrored = cells + grid_cells(fine);
    grid_read(fine, image, cells);
    grid_mirror(fine, cells, mirror, mirrored);
    grid_centroid(fine, mirrored, grid_background(fine, cells), centre);
    for (int a = 0; a < 2; a++)
        centre[a] = between_grids(fine, whole, centre[a]);
    free(cells);
}

void transform_apply(const struct pixels *pixels, size_t height, size_t width, const void *image,
                     const struct transform *transform, float *out)
{
    struct grid whole, fine;
    grid_init(&whole, pixels, height, width, height > width ? height : width);
    grid_init(&fine, pixels, height, width, FINE);
    size_t cells = grid_cells(&whole);
    float *read = memory_grow(NULL, cells, sizeof *read),
          *padded = memory_grow(NULL, grid_padded(&whole), sizeof *padded), low, high;
    double centre[2];
    whole_centre(&whole, &fine, image, transform->mirror, centre);
    struct pose pose = whole_pose(transform, centre);
    grid_read(&whole, image, read);
    range_of(read, cells, &low, &high);
    grid_mirror(&whole, read, transform->mirror, out);
    gamma_apply(out, cells, low, high, transform->gamma, out);
    grid_pad(&whole, out, grid_background(&whole, out), padded);
    grid_warp(&whole, padded, &pose, SAMPLE_CUBICS, out);
    free(read);
    free(padded);
}

/* What remains when small parts are left out: no turn below half a degree, no scale below one
 * hundredth, whole pixels. */
static struct transform simpler(struct transform t)
{
    if (fabs(t.degrees) < 0.5)
        t.degrees = 0;
    if (fabs(t.scale - 1) < 0.01)
        t.scale = 1;
    t.shift_y = round(t.shift_y) + 0.0;
    t.shift_x = round(t.shift_x) + 0.0;
    return t;
}

/* The transformation that was found and the plainer ones near it: whichever gives most. */
static void finish_match(const struct disguise_search *search, struct room *room, size_t query,
                         const struct candidate *candidate, struct disguise_match *match)
{
    const struct grid *fine = &search->fine, *whole = &search->whole;
    const struct pose *pose = &candidate->alignment.pose;
    double box = (double)fine->box, centre[2] = { between_grids(fine, whole, pose->centre[0]),
                                                  between_grids(fine, whole, pose->centre[1]) };
    struct transform found = { .mirror = candidate->mirror,
                               .gamma = candidate->alignment.gamma,
                               .scale = exp(pose->log_scale),
                               .degrees = pose->angle * 180 / M_PI,
                               .shift_y = pose->shift[0] * box,
                               .shift_x = pose->shift[1] * box },
                     plain = simpler(found),
                     tries[] = { { .mirror = found.mirror, .gamma = 1, .scale = 1 },
                                 { .mirror = found.mirror, .gamma = found.gamma, .scale = 1 },
                                 { .mirror = found.mirror,
                                   .gamma = 1,
                                   .scale = 1,
                                   .shift_y = plain.shift_y,
                                   .shift_x = plain.shift_x },
                                 plain,
                                 found };
    whole_read(search, room, query, candidate);
    match->id = candidate->id;
    match->correlation = -2;
    for (size_t t = 0; t < sizeof tries / sizeof *tries; t++) {
        double r = whole_correlation(search, room, &tries[t], centre);
        if (r > match->correlation) {
            match->correlation = r;
            match->transform = tries[t];
        }
    }
}

static void search_query(const struct disguise_search *search, struct room *room, size_t query,
                         struct disguise_match *match)
{
    const void *image = set_image(&search->pixels, &search->queries, query);
    struct candidate candidates[CANDIDATES];
    size_t list[CANDIDATES], nearest[VIEWS];
    double centroid[MIRRORS][2], ratio[VIEWS];
    struct align_image moving = { 0 };
    *match = (struct disguise_match){ 0, 1, 0, { .gamma = 1, .scale = 1 } };
    grid_read(&search->coarse, image, room->coarse_cells);
    grid_read(&search->fine, image, room->fine_cells);
    range_of(room->fine_cells, grid_cells(&search->fine), &moving.low, &moving.high);
    if (!(moving.high > moving.low))
        return;
    make_trials(search, room);
    score_database(search, room, query);
    size_t count = choose_candidates(search, room, list);
    make_mirrors(search, room, centroid);
    for (size_t c = 0; c < count; c++) {
        candidates[c] = (struct candidate){ .id = list[c], .group = search->groups[list[c]] };
        align_candidate(search, room, centroid, &moving, &candidates[c]);
    }
    for (int v = 0; v < VIEWS; v++)
        ratio[v] = ratio_of(candidates, count, v, &nearest[v]);
    int view = ratio[1] < ratio[0];
    finish_match(search, room, query, &candidates[nearest[view]], match);
    match->local_ratio = ratio[view];
}

/* ---- running --------------------------------------------------------------------------------- */

struct run_job {
    const struct disguise_search *search;
    size_t first;
    struct disguise_match *match;
};

static void run_range(void *context, size_t begin, size_t end)
{
    struct run_job *job = context;
    struct room room;
    room_init(&room, job->search);
    for (size_t i = begin; i < end; i++)
        search_query(job->search, &room, job->first + i, &job->match[i]);
    room_release(&room);
}

bool disguise_run(struct disguise_search *search, size_t first, size_t count,
                  struct disguise_match *match, struct error *err)
{
    struct run_job job = { search, first, match };
    return queries_answer(&search->pixels, &search->queries, &search->database, first, count,
                          run_range, &job, err);
}
