/* Local copies: an image's tiles, its probes, against those of the training images; see tile.h.
 *
 * Bounds propose, whoever computes them: tile_heads.c or a device. The scores that decide are sums
 * in double precision, in one order, of the few that may be among a probe's best. So what is found
 * depends neither on the processor nor on a device. */
#include "audit/tile_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AGREEMENT = 2 }; /* cells by which the ways of two tiles may differ */

/* ---- probes ---------------------------------------------------------------------------------- */

void probes_init(struct probes *probes, const struct tile_search *search, struct arena *arena)
{
    *probes =
        (struct probes){ .probe = arena_array(arena, struct probe, PROBES_MOST),
                         .described = arena_array(arena, float, PROBES_MOST * search->features) };
}

void probes_take(const struct tile_search *search, struct picture *picture, bool mirrored,
                 struct probes *probes)
{
    struct tile taken[TAKEN];
    picture_study(search, picture);
    size_t count = picture_tiles(&search->grid, picture, taken);
    for (size_t t = 0; t < count; t++) {
        size_t at = probes->count++;
        probes->probe[at] = (struct probe){ .place = taken[t], .mirrored = mirrored, .order = at };
        patch_describe(&search->grid, picture->cells, (size_t)taken[t].y, (size_t)taken[t].x, STEP,
                       probes->described + at * search->features);
    }
}

/* ---- scores ---------------------------------------------------------------------------------- */

static bool better(const struct hit *a, const struct hit *b)
{
    return a->score > b->score || (a->score == b->score && a->tile < b->tile);
}

/* Puts a score among the best subjects of a probe. */
static void note_hit(struct probe *probe, struct hit hit)
{
    size_t place = 0;
    while (place < probe->count && probe->hits[place].group != hit.group)
        place++;
    if (place == probe->count && probe->count <= STRANGERS)
        probe->count++;
    else if (!better(&hit, &probe->hits[place = place < STRANGERS ? place : STRANGERS]))
        return;
    for (; place > 0 && better(&hit, &probe->hits[place - 1]); place--)
        probe->hits[place] = probe->hits[place - 1];
    probe->hits[place] = hit;
}

static bool may_match(const struct tile_search *search, const struct probes *probes,
                      const struct probe *probe, const struct tile *tile)
{
    return abs(tile->y - probe->place.y) <= REACH && abs(tile->x - probe->place.x) <= REACH &&
           !(search->settings.other_groups && tile->group == probes->own);
}

double probe_bar(const struct tile_search *search, const struct probe *probe)
{
    return probe->count > STRANGERS ? probe->hits[STRANGERS].score - search->rounding : -INFINITY;
}

/* A tile's score, noted; −∞ where the probe cannot be a match of it. */
static double probe_tile(const struct tile_search *search, struct probes *probes, size_t probe,
                         size_t tile)
{
    struct probe *of = &probes->probe[probe];
    if (!may_match(search, probes, of, &search->tiles[tile]))
        return -INFINITY;
    double score = patch_product(probes->described + probe * search->features,
                                 search->rows + tile * search->features, search->features);
    note_hit(of, (struct hit){ score, search->tiles[tile].group, tile });
    return score;
}

double probe_tiles(const struct tile_search *search, struct probes *probes, size_t probe,
                   size_t first, size_t count)
{
    double most = -INFINITY;
    for (size_t tile = first; tile < first + count; tile++)
        most = fmax(most, probe_tile(search, probes, probe, tile));
    return most;
}

/* ---- which are worth a closer look ----------------------------------------------------------- */

bool probes_agree(const struct probe *a, const struct tile *tile_a, const struct probe *b,
                  const struct tile *tile_b)
{
    int y = tile_a->y - a->place.y - (tile_b->y - b->place.y),
        x = tile_a->x - a->place.x - (tile_b->x - b->place.x);
    return tile_a->group == tile_b->group && a->mirrored == b->mirrored && abs(y) <= AGREEMENT &&
           abs(x) <= AGREEMENT;
}

static double rough_ratio(const struct probe *probe)
{
    double sum = 0;
    for (size_t h = 1; h < probe->count; h++)
        sum += sqrt(fmax(0, 1 - probe->hits[h].score)) / (double)(probe->count - 1);
    return sum > 0 ? sqrt(fmax(0, 1 - probe->hits[0].score)) / sum : 1;
}

static int by_ratio(const void *a, const void *b)
{
    const struct probe *x = a, *y = b;
    if (x->ratio != y->ratio)
        return x->ratio < y->ratio ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Ratios of all from their descriptions, each joined with its best witness'. */
void probes_rank(const struct tile_search *search, struct probes *probes)
{
    double alone[PROBES_MOST];
    for (size_t p = 0; p < probes->count; p++)
        alone[p] = probes->probe[p].count > 1 ? rough_ratio(&probes->probe[p]) : 1;
    for (size_t p = 0; p < probes->count; p++) {
        double witness = 1;
        struct probe *probe = &probes->probe[p];
        for (size_t o = 0; probe->count && o < probes->count; o++) {
            const struct probe *other = &probes->probe[o];
            if (o != p && other->count &&
                probes_agree(probe, &search->tiles[probe->hits[0].tile], other,
                             &search->tiles[other->hits[0].tile]))
                witness = fmin(witness, alone[o]);
        }
        probe->ratio = sqrt(alone[p] * witness);
    }
    if (probes->count)
        qsort(probes->probe, probes->count, sizeof *probes->probe, by_ratio);
}
