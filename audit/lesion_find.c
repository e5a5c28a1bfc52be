/* Where an image is most like each lesion; see lesion.h.
 *
 * The image's squares of every scale, mirrored and not, stand in panels of twelve that lie side by
 * side (patch_heads.h); those that no lesion can reach are left out. A panel of lesions passes the
 * panels in its reach for bounds. The place with the largest bound is scored, then all whose bounds
 * are neither below the best score nor below what the caller asks for; so the best place is exact,
 * and most lesions, which cannot reach that, are not scored at all. */
#include "audit/lesion_parts.h"

#include "base/simd.h"

#include <math.h>
#include <string.h>

enum {
    NOWHERE = -2,                      /* below any correlation */
    LANES = PATCH_MEANS * PATCH_MEANS, /* the means of a plane */
};

/* The image in means of scale × scale cells; returns the rows and columns of these. */
static void make_means(const struct grid *grid, const float *cells, size_t scale, float *means,
                       size_t *rows, size_t *columns)
{
    *rows = grid->rows / scale;
    *columns = grid->columns / scale;
    for (size_t p = 0; p < grid->planes; p++)
        for (size_t y = 0; y < *rows; y++)
            for (size_t x = 0; x < *columns; x++) {
                float sum = 0;
                for (size_t r = y * scale; r < (y + 1) * scale; r++)
                    for (size_t c = x * scale; c < (x + 1) * scale; c++)
                        sum += cells[(p * grid->rows + r) * grid->columns + c];
                *means++ = sum;
            }
}

/* The sum of an array, in one order; the lanes do not wait for each other. */
HOT static float sum_of_lanes(const float lane[LANES])
{
    float some[LANES / 4], few[LANES / 16];
    for (size_t i = 0; i < LANES / 4; i++)
        some[i] = (lane[i] + lane[LANES / 4 + i]) + (lane[LANES / 2 + i] + lane[LANES / 4 * 3 + i]);
    for (size_t i = 0; i < LANES / 16; i++)
        few[i] =
            (some[i] + some[LANES / 16 + i]) + (some[LANES / 8 + i] + some[LANES / 16 * 3 + i]);
    return (few[0] + few[1]) + (few[2] + few[3]);
}

/* As patch_describe does, of means that are there. False: the square is flat, the row zero. */
HOT static bool describe_square(const float *means, size_t planes, size_t rows, size_t columns,
                                size_t y, size_t x, float *row)
{
    float sum[LANES] = { 0 }, squares[LANES] = { 0 };
    size_t count = planes * LANES;
    for (size_t p = 0; p < planes; p++)
        for (size_t r = 0; r < PATCH_MEANS; r++)
            memcpy(row + p * LANES + r * PATCH_MEANS, means + (p * rows + y + r) * columns + x,
                   PATCH_MEANS * sizeof *row);
    for (size_t p = 0; p < planes; p++)
        for (size_t i = 0; i < LANES; i++)
            sum[i] += row[p * LANES + i];
    float mean = sum_of_lanes(sum) / (float)count;
    for (size_t i = 0; i < count; i++)
        row[i] -= mean;
    for (size_t p = 0; p < planes; p++)
        for (size_t i = 0; i < LANES; i++)
            squares[i] += row[p * LANES + i] * row[p * LANES + i];
    float all = sum_of_lanes(squares), scale = all > 1e-6f ? 1 / sqrtf(all) : 0;
    for (size_t i = 0; i < count; i++)
        row[i] *= scale;
    return scale > 0;
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Places along an axis that lie within reach of corners [low, high], in cells. */
static struct range within_reach(long low, long high, size_t scale, size_t places)
{
    long step = (long)scale, begin = low - REACH, end = (high + REACH) / step + 1;
    begin = begin > 0 ? (begin + step - 1) / step : 0;
    end = end < (long)places ? end : (long)places;
    return (struct range){ (size_t)begin, end > begin ? (size_t)end : (size_t)begin };
}

/* How many places there are along either axis. */
static size_t places_along(size_t cells, size_t scale)
{
    size_t means = cells / scale;
    return means < PATCH_MEANS ? 0 : means - PATCH_MEANS + 1;
}

static size_t panels_across(const struct lesion_view *view)
{
    return (view->across + PANEL_QUERIES - 1) / PANEL_QUERIES;
}

/* Of each row of places the columns that some lesion can reach. */
static void find_needed(const struct lesion_search *search, size_t scale, struct lesion_view *view)
{
    const size_t *first = search->first + (scale - 1) * BLOCKS_MOST * BLOCKS_MOST;
    for (size_t block = 0; block < search->blocks_y * search->blocks_x; block++) {
        if (first[block] == first[block + 1])
            continue;
        long top = (long)(block / search->blocks_x) * BLOCK,
             left = (long)(block % search->blocks_x) * BLOCK;
        struct range down = within_reach(top, top + BLOCK - 1, scale, view->down),
                     across = within_reach(left, left + BLOCK - 1, scale, view->across);
        for (size_t r = down.begin; r < down.end; r++) {
            struct range *needed = &view->needed[r];
            bool none = needed->begin == needed->end;
            needed->begin = none || across.begin < needed->begin ? across.begin : needed->begin;
            needed->end = none || across.end > needed->end ? across.end : needed->end;
        }
    }
}

void lesion_finder_init(struct lesion_finder *finder, const struct lesion_search *search,
                        struct arena *arena)
{
    const struct grid *grid = &search->grid;
    const struct patch_heads *heads = &search->heads;
    size_t most = 0, widest = 0;
    for (size_t v = 0; v < VIEWS; v++) {
        struct lesion_view *view = &finder->view[v];
        size_t scale = v % SCALES + 1, at = (scale - 1) * BLOCKS_MOST * BLOCKS_MOST;
        view->scale = scale;
        if (search->first[at] == search->first[at + BLOCKS_MOST * BLOCKS_MOST])
            continue;
        view->down = places_along(grid->rows, scale);
        view->across = places_along(grid->columns, scale);
        view->means = arena_array(arena, float, grid_cells(grid));
        view->needed = arena_array(arena, struct range, view->down + 1);
        view->panels =
            arena_array(arena, char, view->down *panels_across(view) * heads->query_panel + 1);
        find_needed(search, scale, view);
        widest = view->across > widest ? view->across : widest;
        most = view->down * view->across > most ? view->down * view->across : most;
    }
    finder->squares = arena_array(arena, float, (widest + 1) * search->features);
    finder->flat = arena_array(arena, bool, widest + 1);
    finder->none = arena_array(arena, int8_t, heads->length);
    finder->bounds = arena_array(arena, float, (VIEWS / SCALES * most + 1) * PANEL_IMAGES);
    finder->spots = arena_allocate_array(arena, VIEWS / SCALES * most + 1, sizeof *finder->spots);
    finder->making = patch_making_new(heads, widest + 1);
}

void lesion_finder_release(struct lesion_finder *finder)
{
    patch_making_free(&finder->making);
}

/* One row of places. A flat square's product is 0, and so is the bound of a row of zeros. */
static void put_row(const struct lesion_search *search, struct lesion_finder *finder,
                    struct lesion_view *view, size_t r)
{
    const struct patch_heads *heads = &search->heads;
    struct range needed = view->needed[r];
    char *panels = view->panels + r * panels_across(view) * heads->query_panel;
    size_t count = 0;
    for (size_t c = needed.begin; c < needed.end; c++) {
        finder->flat[c] =
            !describe_square(view->means, search->grid.planes, view->rows, view->columns, r, c,
                             finder->squares + count * search->features);
        count += !finder->flat[c];
    }
    if (count)
        patch_heads_make(heads, PANEL_OF_QUERIES, finder->squares, count, &finder->making);
    const struct panel_row none = { .bytes = finder->none }, *row = finder->making.row;
    for (size_t c = needed.begin; c < needed.end; c++)
        panel_put(&heads->shape, PANEL_OF_QUERIES, panels + c / PANEL_QUERIES * heads->query_panel,
                  c % PANEL_QUERIES, finder->flat[c] ? &none : row++);
}

static void put_squares(const struct lesion_search *search, struct lesion_finder *finder,
                        struct lesion_view *view, const float *cells)
{
    make_means(&search->grid, cells, view->scale, view->means, &view->rows, &view->columns);
    for (size_t r = 0; r < view->down; r++)
        put_row(search, finder, view, r);
}

void lesion_finder_read(const struct lesion_search *search, struct lesion_finder *finder,
                        const float *cells, const float *mirror)
{
    for (size_t v = 0; v < VIEWS; v++)
        if (finder->view[v].down)
            put_squares(search, finder, &finder->view[v], v < SCALES ? cells : mirror);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* Which places lesions of one scale can reach, each; nothing for the others of a panel. */
struct reaches {
    int32_t top[PANEL_IMAGES], bottom[PANEL_IMAGES], left[PANEL_IMAGES], right[PANEL_IMAGES];
    struct range down, across; /* all of them together */
};

static struct reaches reaches_of(const struct lesion *lesions, size_t count, size_t scale,
                                 const struct lesion_view *view)
{
    struct reaches reaches = { .down = { SIZE_MAX, 0 }, .across = { SIZE_MAX, 0 } };
    for (size_t i = 0; i < count; i++) {
        if (lesions[i].scale != scale)
            continue;
        struct range down = within_reach(lesions[i].y, lesions[i].y, scale, view->down),
                     across = within_reach(lesions[i].x, lesions[i].x, scale, view->across);
        reaches.top[i] = (int32_t)down.begin;
        reaches.bottom[i] = (int32_t)down.end;
        reaches.left[i] = (int32_t)across.begin;
        reaches.right[i] = (int32_t)across.end;
        reaches.down.begin = down.begin < reaches.down.begin ? down.begin : reaches.down.begin;
        reaches.down.end = down.end > reaches.down.end ? down.end : reaches.down.end;
        reaches.across.begin =
            across.begin < reaches.across.begin ? across.begin : reaches.across.begin;
        reaches.across.end = across.end > reaches.across.end ? across.end : reaches.across.end;
    }
    return reaches;
}

/* Each lesion's largest bound, and the first spot that has it. */
struct largest {
    float bound[PANEL_IMAGES];
    int32_t spot[PANEL_IMAGES];
};

/* A spot's bounds, of the lesions that reach it. */
HOT static void keep_bounds(const float *restrict bounds, int32_t r, int32_t c, int32_t spot,
                            const struct reaches *restrict reaches, float *restrict kept,
                            struct largest *restrict largest)
{
    for (size_t i = 0; i < PANEL_IMAGES; i++) {
        int within = (r >= reaches->top[i]) & (r < reaches->bottom[i]) & (c >= reaches->left[i]) &
                     (c < reaches->right[i]);
        float bound = within ? bounds[i] : NOWHERE;
        bool more = bound > largest->bound[i];
        kept[i] = bound;
        largest->bound[i] = more ? bound : largest->bound[i];
        largest->spot[i] = more ? spot : largest->spot[i];
    }
}

/* Adds a view's places to the finder's. Returns how many there are. */
static size_t bound_places(const struct lesion_search *search, struct lesion_finder *finder,
                           const struct lesion_view *view, const struct reaches *reaches,
                           size_t panel, size_t count, struct largest *largest)
{
    const struct patch_heads *heads = &search->heads;
    float bounds[PANEL_QUERIES * PANEL_IMAGES];
    for (size_t r = reaches->down.begin; r < reaches->down.end; r++) {
        const char *panels = view->panels + r * panels_across(view) * heads->query_panel;
        for (size_t c = reaches->across.begin; c < reaches->across.end; c++) {
            if (c == reaches->across.begin || c % PANEL_QUERIES == 0)
                heads->products->bounds(&heads->shape,
                                        panels + c / PANEL_QUERIES * heads->query_panel,
                                        patch_heads_panel(heads, panel), bounds);
            keep_bounds(bounds + c % PANEL_QUERIES * PANEL_IMAGES, (int32_t)r, (int32_t)c,
                        (int32_t)count, reaches, finder->bounds + count * PANEL_IMAGES, largest);
            finder->spots[count++] = (struct lesion_spot){ view, (int16_t)r, (int16_t)c };
        }
    }
    return count;
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* What is known of a panel's lesions when some of their places are scored. */
struct best {
    double score[PANEL_IMAGES], floor[PANEL_IMAGES];
    float bar[PANEL_IMAGES]; /* what a bound has to reach; above any of a lesion not looked for */
    size_t spot[PANEL_IMAGES];
};

static void describe_spot(const struct lesion_search *search, struct lesion_finder *finder,
                          size_t spot)
{
    const struct lesion_spot *at = &finder->spots[spot];
    describe_square(at->view->means, search->grid.planes, at->view->rows, at->view->columns,
                    (size_t)at->y, (size_t)at->x, finder->squares);
}

/* Scores the spot that was described; of equal scores the first counts. */
static void score_lesion(const struct lesion_search *search, struct lesion_finder *finder,
                         size_t lesion, size_t lane, size_t spot, struct best *best)
{
    double score =
        patch_product(finder->squares, search->rows + lesion * search->features, search->features);
    if (score < best->score[lane] || (score == best->score[lane] && spot > best->spot[lane]))
        return;
    best->score[lane] = score;
    best->spot[lane] = spot;
    best->bar[lane] = (float)(fmax(score, best->floor[lane]) - search->heads.rounding);
}

HOT static bool any_reaches(const float bounds[PANEL_IMAGES], const float bars[PANEL_IMAGES])
{
    int reaching = 0;
    for (size_t i = 0; i < PANEL_IMAGES; i++)
        reaching |= bounds[i] >= bars[i];
    return reaching;
}

/* Where their bounds are largest; first: the panel's first lesion. Whether any is looked for. */
static bool score_largest(const struct lesion_search *search, struct lesion_finder *finder,
                          size_t first, const struct largest *largest, struct best *best)
{
    bool any = false;
    for (size_t l = 0; l < PANEL_IMAGES; l++) {
        best->score[l] = NOWHERE;
        best->bar[l] = INFINITY;
        if (!(largest->bound[l] > NOWHERE &&
              (double)largest->bound[l] + search->heads.rounding >= best->floor[l]))
            continue;
        any = true;
        describe_spot(search, finder, (size_t)largest->spot[l]);
        score_lesion(search, finder, first + l, l, (size_t)largest->spot[l], best);
    }
    return any;
}

static void score_others(const struct lesion_search *search, struct lesion_finder *finder,
                         size_t first, size_t spots, const struct largest *largest,
                         struct best *best)
{
    for (size_t s = 0; s < spots; s++) {
        const float *bounds = finder->bounds + s * PANEL_IMAGES;
        if (!any_reaches(bounds, best->bar))
            continue;
        bool described = false;
        for (size_t l = 0; l < PANEL_IMAGES; l++) {
            if (bounds[l] < best->bar[l] || s == (size_t)largest->spot[l])
                continue;
            if (!described)
                describe_spot(search, finder, s);
            described = true;
            score_lesion(search, finder, first + l, l, s, best);
        }
    }
}

static struct lesion_place place_of(const struct lesion_finder *finder, size_t spot, double score)
{
    const struct lesion_spot *at = &finder->spots[spot];
    return (struct lesion_place){ (float)score, (int16_t)((size_t)at->y * at->view->scale),
                                  (int16_t)((size_t)at->x * at->view->scale),
                                  at->view - finder->view >= SCALES };
}

/* The panel's lesions of one scale; those of others reach no spot. */
static void find_scale(const struct lesion_search *search, struct lesion_finder *finder,
                       size_t panel, size_t count, size_t scale, struct best *best,
                       struct lesion_place places[PANEL_IMAGES])
{
    size_t first = panel * PANEL_IMAGES, spots = 0;
    struct largest largest;
    for (size_t l = 0; l < PANEL_IMAGES; l++)
        largest.bound[l] = NOWHERE;
    for (size_t v = scale - 1; v < VIEWS; v += SCALES) {
        const struct lesion_view *view = &finder->view[v];
        struct reaches reaches = reaches_of(search->lesions + first, count, scale, view);
        spots = bound_places(search, finder, view, &reaches, panel, spots, &largest);
    }
    if (!score_largest(search, finder, first, &largest, best))
        return;
    score_others(search, finder, first, spots, &largest, best);
    for (size_t l = 0; l < count; l++)
        if (best->score[l] >= -1 && best->score[l] >= best->floor[l])
            places[l] = place_of(finder, best->spot[l], best->score[l]);
}

void lesion_find(const struct lesion_search *search, struct lesion_finder *finder, size_t panel,
                 const double floors[PANEL_IMAGES], struct lesion_place places[PANEL_IMAGES])
{
    size_t first = panel * PANEL_IMAGES, rest = search->count - first,
           lesions = rest < PANEL_IMAGES ? rest : PANEL_IMAGES;
    struct best best;
    memcpy(best.floor, floors, sizeof best.floor);
    for (size_t i = 0; i < PANEL_IMAGES; i++)
        places[i] = (struct lesion_place){ .score = NOWHERE };
    for (size_t i = 0; i < lesions; i++) {
        const struct lesion *lesion = &search->lesions[first + i];
        if (i == 0 || lesion->scale != lesion[-1].scale) /* they are in order of their scales */
            find_scale(search, finder, panel, lesions, lesion->scale, &best, places);
    }
}
