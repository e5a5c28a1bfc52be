/* Pasted lesions: those of the training images, and their strangers; see lesion.h. */
#include "audit/lesion.h"

#include "audit/blas.h"
#include "audit/engine.h"
#include "audit/queries.h"
#include "audit/lesion_parts.h"
#include "base/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE = 192,     /* training images among which strangers are looked for */
    TOGETHER = 32,    /* of these at a time */
    NOMINATED = 128,  /* lesions whose own cells are compared with an image's */
    OF_A_SUBJECT = 3, /* … of one subject at most: its slices show the same lesion */
    FINALISTS = 8,    /* … and with which it is aligned */
};

#define LEAST_COVER     0.6 /* of a square, by the lesion */
#define LEAST_DEVIATION 0.1 /* of its cells, in units of the image's root mean square */

/* ---- which lesions there are ----------------------------------------------------------------- */

/* Σ labels over rows < y and columns < x. */
static void integrate(const float *labels, size_t rows, size_t columns, uint32_t *sum)
{
    size_t stride = columns + 1;
    memset(sum, 0, stride * sizeof *sum);
    for (size_t y = 0; y < rows; y++) {
        uint32_t line = 0;
        sum[(y + 1) * stride] = 0;
        for (size_t x = 0; x < columns; x++) {
            line += labels[y * columns + x] > 0;
            sum[(y + 1) * stride + x + 1] = sum[y * stride + x + 1] + line;
        }
    }
}

/* The square of that scale that holds most of the lesion, the first of equals; how much. */
static size_t best_square(const struct grid *grid, const uint32_t *sum, size_t scale,
                          struct lesion *lesion)
{
    size_t side = square_side(scale), stride = grid->columns + 1, most = 0;
    for (size_t y = 0; y + side <= grid->rows; y++)
        for (size_t x = 0; x + side <= grid->columns; x++) {
            size_t held = sum[(y + side) * stride + x + side] - sum[y * stride + x + side] -
                          sum[(y + side) * stride + x] + sum[y * stride + x];
            if (held <= most)
                continue;
            most = held;
            lesion->y = (int16_t)y;
            lesion->x = (int16_t)x;
        }
    return most;
}

static bool varies(const struct grid *grid, const float *cells, const struct lesion *lesion)
{
    size_t side = square_side(lesion->scale), places = grid->rows * grid->columns;
    for (size_t p = 0; p < grid->planes; p++) {
        double sum = 0, squares = 0, count = (double)(side * side);
        for (size_t i = 0; i < side * side; i++) {
            size_t y = (size_t)lesion->y + i / side, x = (size_t)lesion->x + i % side;
            double value = (double)cells[p * places + y * grid->columns + x];
            sum += value;
            squares += value * value;
        }
        if (squares / count - sum / count * (sum / count) >= LEAST_DEVIATION * LEAST_DEVIATION)
            return true;
    }
    return false;
}

struct taking {
    const struct lesion_search *search;
    /* By image: the largest square that its lesion all but fills; scale 0: there is none. */
    struct lesion *taken;
};

static void take_range(void *context, size_t begin, size_t end)
{
    struct taking *taking = context;
    const struct lesion_search *search = taking->search;
    const struct grid *grid = &search->grid;
    size_t longer = grid->rows > grid->columns ? grid->rows : grid->columns;
    float *cells = memory_grow(NULL, grid_cells(grid), sizeof *cells),
          *labels = memory_grow(NULL, longer * longer, sizeof *labels);
    uint32_t *sum = memory_grow(NULL, (longer + 1) * (longer + 1), sizeof *sum);
    for (size_t id = begin; id < end; id++) {
        struct lesion *lesion = &taking->taken[id];
        *lesion = (struct lesion){ .id = (uint32_t)id };
        lesion->group = search->database.groups ? search->database.groups[id] : (uint32_t)id;
        if (!lesion_labels(search, id, 0, 0, longer, labels))
            continue;
        if (grid->columns < longer) /* rows of `longer` labels: close the gaps */
            for (size_t y = 1; y < grid->rows; y++)
                memmove(labels + y * grid->columns, labels + y * longer,
                        grid->columns * sizeof *labels);
        integrate(labels, grid->rows, grid->columns, sum);
        for (size_t scale = SCALES; scale > 0 && !lesion->scale; scale--)
            if ((double)best_square(grid, sum, scale, lesion) >=
                LEAST_COVER * (double)(square_side(scale) * square_side(scale)))
                lesion->scale = (uint8_t)scale;
        if (lesion->scale && (!patch_read(grid, set_image(&search->pixels, &search->database, id),
                                          cells, &lesion->level) ||
                              !varies(grid, cells, lesion)))
            lesion->scale = 0;
    }
    memory_free(cells);
    memory_free(labels);
    memory_free(sum);
}

static size_t block_of(const struct lesion_search *search, const struct lesion *lesion)
{
    return ((size_t)lesion->scale - 1) * BLOCKS_MOST * BLOCKS_MOST +
           (size_t)lesion->y / BLOCK * search->blocks_x + (size_t)lesion->x / BLOCK;
}

/* Those that are there, in order of their scales and blocks. */
static bool sort_lesions(struct lesion_search *search, const struct lesion *taken,
                         struct error *err)
{
    enum { BLOCKS = SCALES * BLOCKS_MOST * BLOCKS_MOST };
    size_t n = search->database.count, filled[BLOCKS] = { 0 };
    for (size_t i = 0; i < n; i++)
        if (taken[i].scale)
            search->first[block_of(search, &taken[i]) + 1]++;
    for (size_t b = 0; b < BLOCKS; b++)
        search->first[b + 1] += search->first[b];
    search->count = search->first[BLOCKS];
    search->lesions = memory_allocate(search->count + 1, sizeof *search->lesions, "lesions", err);
    search->rows = memory_allocate((search->count + 1) * search->features, sizeof(float),
                                   "descriptions of lesions", err);
    if (!search->lesions || !search->rows)
        return false;
    for (size_t i = 0; i < n; i++)
        if (taken[i].scale) {
            size_t b = block_of(search, &taken[i]);
            search->lesions[search->first[b] + filled[b]++] = taken[i];
        }
    return true;
}

static void describe_range(void *context, size_t begin, size_t end)
{
    struct lesion_search *search = context;
    float *cells = memory_grow(NULL, grid_cells(&search->grid), sizeof *cells);
    struct patch_level level;
    for (size_t l = begin; l < end; l++) {
        const struct lesion *lesion = &search->lesions[l];
        patch_read(&search->grid, set_image(&search->pixels, &search->database, lesion->id), cells,
                   &level);
        patch_describe(&search->grid, cells, (size_t)lesion->y, (size_t)lesion->x, lesion->scale,
                       search->rows + l * search->features);
    }
    memory_free(cells);
}

static bool take_lesions(struct lesion_search *search, struct error *err)
{
    struct lesion *taken = memory_allocate(search->database.count, sizeof *taken, "lesions", err);
    if (!taken)
        return false;
    struct taking taking = { search, taken };
    set_visit(&search->pixels, &search->database, take_range, &taking);
    bool ok = sort_lesions(search, taken, err);
    if (ok)
        parallel_ranges(search->count, 8, describe_range, search);
    memory_free(taken);
    return ok &&
           patch_heads_open(&search->heads, search->rows, search->count, search->features, err);
}

/* ---- strangers ------------------------------------------------------------------------------- */

struct asking {
    struct lesion_search *search;
    size_t first, count;         /* of the sample */
    struct lesion_place *places; /* (count, lesions) */
    float *cells;                /* of all of the sample, at their levels */
};

static size_t sample_size(const struct lesion_search *search)
{
    return search->database.count < SAMPLE ? search->database.count : SAMPLE;
}

static size_t sampled(const struct lesion_search *search, size_t s)
{
    return s * search->database.count / sample_size(search);
}

static uint32_t group_of(const struct lesion_search *search, size_t id)
{
    return search->database.groups ? search->database.groups[id] : (uint32_t)id;
}

/* What an image of that subject must score to be among a lesion's nearest strangers. */
static double stranger_floor(const struct lesion *lesion, uint32_t group)
{
    return lesion->group == group      ? INFINITY
           : lesion->strangers == KEPT ? (double)lesion->stranger[KEPT - 1].place.score
                                       : -INFINITY;
}

static void find_range(void *context, size_t begin, size_t end)
{
    struct asking *asking = context;
    const struct lesion_search *search = asking->search;
    struct lesion_room room;
    lesion_room_init(&room, search);
    for (size_t i = begin; i < end; i++) {
        size_t s = asking->first + i, id = sampled(search, s), cells = grid_cells(&search->grid);
        struct lesion_place *places = asking->places + i * search->count;
        bool seen = lesion_read(search, &room, set_image(&search->pixels, &search->database, id));
        memcpy(asking->cells + s * cells, room.cells, cells * sizeof(float));
        if (seen)
            lesion_finder_read(search, &room.finder, room.cells, room.mirror);
        for (size_t first = 0; first < search->count; first += PANEL_IMAGES) {
            double floors[PANEL_IMAGES];
            size_t rest = search->count - first;
            for (size_t l = 0; l < PANEL_IMAGES; l++)
                floors[l] = l < rest && seen
                                ? stranger_floor(&search->lesions[first + l], group_of(search, id))
                                : INFINITY;
            struct lesion_place panel[PANEL_IMAGES];
            lesion_find(search, &room.finder, first / PANEL_IMAGES, floors, panel);
            memcpy(places + first, panel,
                   (rest < PANEL_IMAGES ? rest : PANEL_IMAGES) * sizeof *panel);
        }
    }
    lesion_room_release(&room);
}

/* Puts an image among the nearest strangers; one a subject. */
static void note_stranger(struct lesion *lesion, struct stranger stranger)
{
    size_t place = 0, known = lesion->strangers;
    for (size_t s = 0; s < lesion->strangers; s++)
        if (lesion->stranger[s].group == stranger.group)
            known = s;
    if (known < lesion->strangers) {
        if (stranger.place.score <= lesion->stranger[known].place.score)
            return;
        place = known;
    } else if (lesion->strangers < KEPT) {
        place = lesion->strangers++;
    } else if (stranger.place.score > lesion->stranger[KEPT - 1].place.score) {
        place = KEPT - 1;
    } else {
        return;
    }
    for (; place > 0 && stranger.place.score > lesion->stranger[place - 1].place.score; place--)
        lesion->stranger[place] = lesion->stranger[place - 1];
    lesion->stranger[place] = stranger;
}

static void note_range(void *context, size_t begin, size_t end)
{
    struct asking *asking = context;
    struct lesion_search *search = asking->search;
    for (size_t l = begin; l < end; l++)
        for (size_t i = 0; i < asking->count; i++) {
            size_t id = sampled(search, asking->first + i);
            struct stranger stranger = { .sample = (uint32_t)(asking->first + i),
                                         .group = group_of(search, id),
                                         .place = asking->places[i * search->count + l] };
            if (stranger.group != search->lesions[l].group && stranger.place.score >= -1)
                note_stranger(&search->lesions[l], stranger);
        }
}

static void compare_range(void *context, size_t begin, size_t end)
{
    const struct asking *asking = context;
    struct lesion_search *search = asking->search;
    struct lesion_room room;
    lesion_room_init(&room, search);
    for (size_t l = begin; l < end; l++) {
        struct lesion *lesion = &search->lesions[l];
        lesion_fix(search, &room, lesion);
        for (size_t s = 0; s < lesion->strangers; s++) {
            struct stranger *stranger = &lesion->stranger[s];
            double r[NEARNESSES] = { (double)stranger->place.score };
            lesion_take(search, &room,
                        asking->cells + stranger->sample * grid_cells(&search->grid));
            lesion_settle(search, &room, lesion, &stranger->place, r);
            lesion_align(search, &room, lesion, &stranger->place, r);
            for (int n = 0; n < NEARNESSES; n++)
                stranger->distance[n] = (float)distance_of(r[n]);
        }
    }
    lesion_room_release(&room);
}

static bool find_strangers(struct lesion_search *search, struct error *err)
{
    struct asking asking = { .search = search };
    size_t sample = sample_size(search);
    asking.places = memory_allocate(TOGETHER * (search->count + 1), sizeof *asking.places,
                                    "strangers of lesions", err);
    asking.cells = memory_allocate(sample * grid_cells(&search->grid) + 1, sizeof *asking.cells,
                                   "strangers of lesions", err);
    bool ok = asking.places && asking.cells;
    for (asking.first = 0; ok && asking.first < sample; asking.first += asking.count) {
        asking.count = sample - asking.first < TOGETHER ? sample - asking.first : TOGETHER;
        parallel_ranges(asking.count, 4, find_range, &asking);
        parallel_ranges(search->count, 64, note_range, &asking);
    }
    if (ok)
        parallel_ranges(search->count, 16, compare_range, &asking);
    memory_free(asking.places);
    memory_free(asking.cells);
    set_forget(&search->pixels, &search->database, 0, search->database.count);
    return ok;
}

/* ---- opening --------------------------------------------------------------------------------- */

struct lesion_search *lesion_open(const struct image_set *queries, const struct image_set *database,
                                  const struct lesion_settings *settings, struct error *err)
{
    CHECK(settings->masks, "lesions are known by masks");
    if (!queries_accept(queries, database, settings->channels, settings->other_groups, err))
        return NULL;
    struct lesion_search *search = memory_allocate(1, sizeof *search, "a search", err);
    if (!search)
        return NULL;
    search->queries = *queries;
    search->database = *database;
    search->settings = *settings;
    set_pixels(&search->pixels, database, settings->channels);
    grid_init(&search->grid, &search->pixels, database->height, database->width, LESION_GRID);
    search->features = search->grid.planes * PATCH_MEANS * PATCH_MEANS;
    search->blocks_y = (search->grid.rows + BLOCK - 1) / BLOCK;
    search->blocks_x = (search->grid.columns + BLOCK - 1) / BLOCK;
    if (!blas_set_threads(1, err) ||
        !images_finite(&search->pixels, database, 0, database->count, err) ||
        !take_lesions(search, err) || !find_strangers(search, err)) {
        lesion_close(search);
        return NULL;
    }
    return search;
}

bool lesion_ask(struct lesion_search *search, const struct image_set *queries, bool other_groups,
                struct error *err)
{
    if (!queries_accept(queries, &search->database, search->settings.channels, other_groups, err))
        return false;
    search->queries = *queries;
    search->settings.other_groups = other_groups;
    return true;
}

void lesion_close(struct lesion_search *search)
{
    if (!search)
        return;
    patch_heads_close(&search->heads);
    memory_free(search->lesions);
    memory_free(search->rows);
    memory_free(search);
}

/* ---- a query --------------------------------------------------------------------------------- */

/* The distances of the nearest strangers, who are not of the query's own subject (SIZE_MAX: it has
 * none). */
struct strangers {
    double sum, count;
};

static struct strangers strangers_of(const struct lesion *lesion, size_t own,
                                     enum nearness nearness)
{
    struct strangers strangers = { 0, 0 };
    for (size_t s = 0; s < lesion->strangers && strangers.count < STRANGERS; s++)
        if (lesion->stranger[s].group != own) {
            strangers.sum += (double)lesion->stranger[s].distance[nearness];
            strangers.count++;
        }
    return strangers;
}

/* A distance over their mean; NAN where there is none. */
static double ratio_of(const struct lesion *lesion, double correlation, size_t own,
                       enum nearness nearness)
{
    struct strangers strangers = strangers_of(lesion, own, nearness);
    return strangers.sum > 0 ? distance_of(correlation) * strangers.count / strangers.sum
                             : (double)NAN;
}

struct nominee {
    size_t lesion;
    double ratio; /* so far */
    struct lesion_place place;
};

/* Keeps the smallest ratios, and of one subject no more than OF_A_SUBJECT. */
static void nominate(const struct lesion_search *search, struct nominee nominee,
                     struct nominee nominees[NOMINATED], size_t *count)
{
    uint32_t group = search->lesions[nominee.lesion].group;
    size_t alike = 0, worst = *count;
    for (size_t i = 0; i < *count; i++)
        if (search->lesions[nominees[i].lesion].group == group) {
            alike++;
            worst = i; /* they are in order */
        }
    size_t place = alike == OF_A_SUBJECT ? worst : *count < NOMINATED ? *count : NOMINATED - 1;
    if (place < *count && !(nominee.ratio < nominees[place].ratio))
        return;
    *count += place == *count;
    for (; place > 0 && nominee.ratio < nominees[place - 1].ratio; place--)
        nominees[place] = nominees[place - 1];
    nominees[place] = nominee;
}

static struct tile_place place_of(const struct grid *grid, size_t side, long y, long x,
                                  bool mirrored)
{
    double box = (double)grid->box;
    if (mirrored)
        x = (long)grid->columns - x - (long)side;
    return (struct tile_place){ (double)y * box, (double)x * box, (double)side * box };
}

/* What an image must score for a lesion to be nominated: its ratio is to be below `worst`. */
static double nominee_floor(const struct lesion *lesion, size_t own, double worst)
{
    struct strangers strangers = strangers_of(lesion, own, DESCRIBED);
    if (lesion->group == own || !(strangers.sum > 0))
        return INFINITY;
    double distance = worst * strangers.sum / strangers.count;
    return 1 - distance * distance / 2 - 1e-6; /* less what rounding makes of it */
}

/* The lesions that stand out by their descriptions, in order. */
static size_t nominate_all(const struct lesion_search *search, struct lesion_room *room, size_t own,
                           struct nominee nominees[NOMINATED])
{
    size_t count = 0;
    for (size_t first = 0; first < search->count; first += PANEL_IMAGES) {
        double floors[PANEL_IMAGES],
            worst = count == NOMINATED ? nominees[NOMINATED - 1].ratio : INFINITY;
        struct lesion_place places[PANEL_IMAGES];
        for (size_t l = 0; l < PANEL_IMAGES; l++)
            floors[l] = first + l < search->count
                            ? nominee_floor(&search->lesions[first + l], own, worst)
                            : INFINITY;
        lesion_find(search, &room->finder, first / PANEL_IMAGES, floors, places);
        for (size_t l = 0; l < PANEL_IMAGES && first + l < search->count; l++)
            if (places[l].score >= -1) {
                double ratio =
                    ratio_of(&search->lesions[first + l], (double)places[l].score, own, DESCRIBED);
                nominate(search, (struct nominee){ first + l, ratio, places[l] }, nominees, &count);
            }
    }
    return count;
}

static int by_ratio(const void *a, const void *b)
{
    const struct nominee *x = a, *y = b;
    if (x->ratio != y->ratio)
        return x->ratio < y->ratio ? -1 : 1;
    return (x->lesion > y->lesion) - (x->lesion < y->lesion);
}

/* Those that still do when the lesions' own cells are compared come first. */
static void settle_all(const struct lesion_search *search, struct lesion_room *room, size_t own,
                       struct nominee *nominees, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct lesion *lesion = &search->lesions[nominees[i].lesion];
        double r[NEARNESSES];
        lesion_fix(search, room, lesion);
        lesion_settle(search, room, lesion, &nominees[i].place, r);
        nominees[i].ratio = ratio_of(lesion, r[SETTLED], own, SETTLED);
    }
    if (count)
        qsort(nominees, count, sizeof *nominees, by_ratio);
}

/* The closer look at one lesion: its ratio, where it is the smallest so far. */
static void judge(const struct lesion_search *search, struct lesion_room *room,
                  const struct nominee *nominee, size_t own, struct tile_match *match)
{
    const struct lesion *lesion = &search->lesions[nominee->lesion];
    const struct lesion_place *place = &nominee->place;
    size_t side = square_side(lesion->scale);
    double r[NEARNESSES];
    lesion_fix(search, room, lesion);
    lesion_align(search, room, lesion, place, r);
    double ratio = fmin(ratio_of(lesion, r[ALIGNED], own, ALIGNED),
                        ratio_of(lesion, r[SMOOTHED], own, SMOOTHED));
    if (!(ratio < match->local_ratio))
        return;
    *match = (struct tile_match){
        .correlation = r[ALIGNED],
        .local_ratio = ratio,
        .id = lesion->id,
        .mirrored = place->mirrored,
        .query = place_of(&search->grid, side, place->y, place->x, place->mirrored),
        .training = place_of(&search->grid, side, lesion->y, lesion->x, false)
    };
}

static void search_query(const struct lesion_search *search, struct lesion_room *room, size_t query,
                         struct tile_match *match)
{
    struct nominee nominees[NOMINATED];
    size_t own = search->settings.other_groups ? search->queries.groups[query] : SIZE_MAX;
    *match = (struct tile_match){ .local_ratio = 1 };
    if (!lesion_read(search, room, set_image(&search->pixels, &search->queries, query)))
        return;
    lesion_finder_read(search, &room->finder, room->cells, room->mirror);
    size_t count = nominate_all(search, room, own, nominees);
    settle_all(search, room, own, nominees, count);
    for (size_t i = 0; i < count && i < FINALISTS; i++)
        judge(search, room, &nominees[i], own, match);
}

struct run_job {
    const struct lesion_search *search;
    size_t first;
    struct tile_match *match;
};

static void run_range(void *context, size_t begin, size_t end)
{
    struct run_job *job = context;
    struct lesion_room room;
    lesion_room_init(&room, job->search);
    for (size_t i = begin; i < end; i++)
        search_query(job->search, &room, job->first + i, &job->match[i]);
    lesion_room_release(&room);
}

bool lesion_run(struct lesion_search *search, size_t first, size_t count, struct tile_match *match,
                struct error *err)
{
    struct run_job job = { search, first, match };
    return queries_answer(&search->pixels, &search->queries, &search->database, first, count,
                          run_range, &job, err);
}
