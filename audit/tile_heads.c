/* Which tiles of the training images may be among a probe's best subjects, by the processor: those
 * whose bound (patch_heads.h) reaches the least of its best scores are scored (tile_probe.c), all
 * others are passed over. So what is found depends on no bound, nor on how anything was rounded.
 *
 * The probes of several queries pass the tiles of a block together. */
#include "audit/tile_parts.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>

/* ---- probing --------------------------------------------------------------------------------- */

/* A probe of one of the queries, with its head. */
struct near {
    struct probes *of;
    size_t probe;
    struct panel_row row;
};

void heads_room_init(struct heads_room *room, const struct tile_search *search, size_t queries,
                     struct arena *arena)
{
    const struct patch_heads *heads = &search->heads;
    size_t probes = queries * PROBES_MOST, panels = (probes + PANEL_QUERIES - 1) / PANEL_QUERIES;
    room->probe = arena_allocate_array(arena, probes, sizeof *room->probe);
    room->near = arena_allocate_array(arena, probes, sizeof(struct near *));
    room->bytes = arena_array(arena, int8_t, probes * heads->length);
    room->panels = arena_array(arena, char, panels * heads->query_panel);
}

/* All probes' heads. Returns how many there are. */
static size_t read_probes(const struct tile_search *search, struct heads_room *room,
                          struct probes *probes, size_t queries)
{
    const struct patch_heads *heads = &search->heads;
    struct patch_making making = patch_making_new(heads, PROBES_MOST);
    size_t count = 0;
    for (size_t q = 0; q < queries; q++) {
        if (!probes[q].count)
            continue;
        patch_heads_make(heads, PANEL_OF_QUERIES, probes[q].described, probes[q].count, &making);
        for (size_t p = 0; p < probes[q].count; p++, count++) {
            int8_t *bytes = room->bytes + count * heads->length;
            memcpy(bytes, making.row[p].bytes, heads->length);
            room->probe[count] = (struct near){ &probes[q], p, making.row[p] };
            room->probe[count].row.bytes = bytes;
        }
    }
    patch_making_free(&making);
    return count;
}

/* Whether a tile whose middle lies in the block may be a match of the probe. */
static bool is_near(const struct near *near, size_t block_y, size_t block_x)
{
    const struct tile *place = &near->of->probe[near->probe].place;
    long y = place->y + TILE_SIDE / 2, x = place->x + TILE_SIDE / 2, top = (long)block_y * BLOCK,
         left = (long)block_x * BLOCK;
    return y + REACH >= top && y - REACH < top + BLOCK && x + REACH >= left &&
           x - REACH < left + BLOCK;
}

/* Puts the probes that are near a block into panels. */
static size_t take_near(const struct tile_search *search, struct heads_room *room, size_t count,
                        size_t block)
{
    const struct patch_heads *heads = &search->heads;
    size_t near = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_near(&room->probe[i], block / search->blocks_x, block % search->blocks_x))
            continue;
        panel_put(&heads->shape, PANEL_OF_QUERIES,
                  room->panels + near / PANEL_QUERIES * heads->query_panel, near % PANEL_QUERIES,
                  &room->probe[i].row);
        room->near[near++] = &room->probe[i];
    }
    return near;
}

HOT static bool any_reaches(const float bounds[PANEL_IMAGES], float bar)
{
    int reaching = 0;
    for (size_t i = 0; i < PANEL_IMAGES; i++)
        reaching |= bounds[i] >= bar;
    return reaching;
}

static float bar_of(const struct tile_search *search, const struct near *near)
{
    const struct probe *probe = &near->of->probe[near->probe];
    return probe->count > STRANGERS ? (float)(probe->hits[STRANGERS].score - search->heads.rounding)
                                    : -INFINITY;
}

/* Scores those tiles of [begin, end) that may be among the probe's best; bounds are of tiles from
 * `first` on. */
static void score_reaching(const struct tile_search *search, const struct near *near, size_t first,
                           size_t begin, size_t end, const float *bounds)
{
    float bar = bar_of(search, near);
    if (!any_reaches(bounds, bar))
        return;
    for (size_t tile = begin; tile < end; tile++)
        if (bounds[tile - first] >= bar) {
            probe_tiles(search, near->of, near->probe, tile, 1);
            bar = bar_of(search, near);
        }
}

/* The probes that were taken with tiles [begin, end) of their block. */
static void probe_block(const struct tile_search *search, const struct heads_room *room,
                        size_t near, size_t begin, size_t end)
{
    const struct patch_heads *heads = &search->heads;
    float bounds[PANEL_QUERIES * PANEL_IMAGES];
    for (size_t first = begin / PANEL_IMAGES * PANEL_IMAGES; first < end; first += PANEL_IMAGES) {
        const char *panel = patch_heads_panel(heads, first / PANEL_IMAGES);
        size_t from = begin > first ? begin : first,
               to = end < first + PANEL_IMAGES ? end : first + PANEL_IMAGES;
        for (size_t n = 0; n < near; n++) {
            if (n % PANEL_QUERIES == 0)
                heads->products->bounds(&heads->shape,
                                        room->panels + n / PANEL_QUERIES * heads->query_panel,
                                        panel, bounds);
            score_reaching(search, room->near[n], first, from, to,
                           bounds + n % PANEL_QUERIES * PANEL_IMAGES);
        }
    }
}

void tile_heads_probe(const struct tile_search *search, struct heads_room *room,
                      struct probes *probes, size_t queries)
{
    size_t count = read_probes(search, room, probes, queries);
    for (size_t b = 0; b < search->blocks_y * search->blocks_x; b++)
        if (search->block[b] < search->block[b + 1]) {
            size_t near = take_near(search, room, count, b);
            probe_block(search, room, near, search->block[b], search->block[b + 1]);
        }
}
