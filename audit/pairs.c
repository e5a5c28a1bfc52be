/* What an audit shows of single images: nearest.csv, and the worst pairs as strips.
 *
 * A strip has a row for each compared channel: the synthetic image, its nearest training image, and
 * the absolute difference of the two, all in the same greys. A copy in disguise has one picture
 * more, after the first: the synthetic image as it was brought to the training image, of which the
 * difference is taken. An image of somebody who was held out stands beside itself in the holdout.
 * A piece that was found is framed in both images. Small images are enlarged by whole pixels, so
 * that one sees what was compared and nothing else. */
#include "audit/engine.h"
#include "audit/memorization_parts.h"
#include "audit/tile.h"

#include "audit/disguise.h"
#include "base/file.h"
#include "data/png.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- nearest.csv ----------------------------------------------------------------------------- */

static const struct disguise_match *disguise_of(const struct audit_run *run, size_t image)
{
    const struct matched *matched = &run->matched[MATCH_DISGUISE];
    return matched->count ? (const struct disguise_match *)matched->match + image : NULL;
}

/* A further row of rank 1 for what resembles the image most once it is transformed. */
static void add_disguised(const struct audit_run *run, size_t image, struct text *text)
{
    const struct disguise_match *match = disguise_of(run, image);
    const struct audit_set *train = &run->sets.of[SET_TRAIN];
    char name[TRANSFORM_NAME];
    if (!match || isnan(run->correlation[image]) ||
        strcmp(transform_name(&match->transform, name), "none") == 0)
        return;
    text_format(text, "%llu,1,%llu,",
                (unsigned long long)set_place(&run->sets.of[SET_SYNTHETIC], image),
                (unsigned long long)set_place(train, match->id));
    text_add_csv(text, train->subjects[match->id]);
    text_format(text, ",%.17g,", match->correlation);
    text_add_csv(text, name);
    text_add(text, "\n");
}

bool audit_write_nearest(const struct audit_run *run, const char *path, struct error *err)
{
    struct file_writer writer;
    const struct audit_set *synthetic = &run->sets.of[SET_SYNTHETIC],
                           *train = &run->sets.of[SET_TRAIN];
    size_t listed = (size_t)run->settings->neighbours;
    struct text text = { 0 };
    if (!file_writer_open(&writer, path, err))
        return false;
    bool ok = true;
    text_add(&text, "synthetic,rank,training,subject,correlation,transform\n");
    for (size_t i = 0; ok && i < synthetic->images.count; i++) {
        for (size_t rank = 0; rank < listed; rank++) {
            const struct neighbour *near = &run->synthetic.nearest[i * run->k + rank];
            text_format(&text, "%llu,%zu,%llu,", (unsigned long long)set_place(synthetic, i),
                        rank + 1, (unsigned long long)set_place(train, near->id));
            text_add_csv(&text, train->subjects[near->id]);
            text_format(&text, ",%.17g,none\n", near->correlation);
        }
        add_disguised(run, i, &text);
        ok = file_writer_write(&writer, text.bytes, text.length, err);
        text_clear(&text);
    }
    text_release(&text);
    if (ok)
        return file_writer_commit(&writer, err);
    file_writer_abandon(&writer);
    return false;
}

/* ---- which pairs ----------------------------------------------------------------------------- */

struct candidate {
    size_t image;
    bool flagged;
    double correlation;
};

static int worst_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->flagged != y->flagged)
        return x->flagged ? -1 : 1;
    if (x->correlation != y->correlation)
        return x->correlation > y->correlation ? -1 : 1;
    return (x->image > y->image) - (x->image < y->image);
}

size_t audit_worst_pairs(struct audit_run *run, struct pair **pairs)
{
    size_t count = images_of(run, SET_SYNTHETIC)->count, kept = 0,
           wanted = (size_t)run->settings->pairs;
    struct candidate *order = memory_grow(NULL, count, sizeof *order);
    for (size_t i = 0; i < count; i++)
        if (!run->looks[SET_SYNTHETIC][i].constant)
            order[kept++] =
                (struct candidate){ i, run->calibration.flagged[i], run->correlation[i] };
    qsort(order, kept, sizeof *order, worst_first);
    kept = kept < wanted ? kept : wanted;
    *pairs = arena_array(&run->arena, struct pair, kept);
    for (size_t i = 0; i < kept; i++)
        (*pairs)[i] =
            (struct pair){ order[i].image,
                           arena_format(&run->arena, "pairs/%03zu-synthetic-%llu.png", i + 1,
                                        (unsigned long long)set_place(&run->sets.of[SET_SYNTHETIC],
                                                                      order[i].image)) };
    free(order);
    return kept;
}

/* ---- strips ---------------------------------------------------------------------------------- */

enum { GAP = 4, BACKGROUND = 96, SIDE_LEAST = 192 };
enum { COLUMN_SYNTHETIC, COLUMN_MOVED, COLUMN_TRAINING, COLUMN_DIFFERENCE, COLUMN_KINDS };

struct strip {
    const struct image_set *sets[2];
    size_t images[2];
    double low, high;              /* what becomes black and white, of both images */
    const struct tile_match *tile; /* to be framed, or NULL */
    float *moved; /* (compared channels, plane): the transformed synthetic image, or NULL */
    size_t zoom, channel, row;
    struct png_image png;
};

static double value_at(const struct image_set *set, size_t image, size_t channel, size_t pixel)
{
    size_t plane = set->height * set->width, place = set->rows ? set->rows[image] : image,
           at = (place * set->channels + channel) * plane + pixel;
    if (set->type == ELEMENT_UINT8)
        return set->images[at];
    uint16_t wide = ((const uint16_t *)(const void *)set->images)[at];
    return set->type == ELEMENT_UINT16 ? wide : (double)half_to_float(wide);
}

static unsigned char grey_at(const struct strip *strip, int kind, size_t pixel)
{
    size_t plane = strip->sets[0]->height * strip->sets[0]->width;
    double synthetic = value_at(strip->sets[0], strip->images[0], strip->channel, pixel),
           training = value_at(strip->sets[1], strip->images[1], strip->channel, pixel),
           moved = strip->moved ? (double)strip->moved[strip->row * plane + pixel] : synthetic,
           span = strip->high - strip->low;
    const double shown[COLUMN_KINDS] = { [COLUMN_SYNTHETIC] = synthetic - strip->low,
                                         [COLUMN_MOVED] = moved - strip->low,
                                         [COLUMN_TRAINING] = training - strip->low,
                                         [COLUMN_DIFFERENCE] = fabs(moved - training) };
    double grey = span > 0 ? floor(shown[kind] * 255 / span + 0.5) : 0;
    return (unsigned char)fmax(0, fmin(255, grey));
}

/* A white frame, a pixel of the strip wide, just outside the tile. */
static void draw_frame(struct strip *strip, size_t column, const struct tile_place *place)
{
    double zoom = (double)strip->zoom;
    long height = (long)(strip->sets[0]->height * strip->zoom),
         width = (long)(strip->sets[0]->width * strip->zoom), y0 = (long)floor(place->y * zoom) - 1,
         x0 = (long)floor(place->x * zoom) - 1, y1 = (long)ceil((place->y + place->side) * zoom),
         x1 = (long)ceil((place->x + place->side) * zoom);
    unsigned char *tile = (unsigned char *)strip->png.pixels +
                          (GAP + strip->row * ((size_t)height + GAP)) * strip->png.width + GAP +
                          column * ((size_t)width + GAP);
    for (long y = y0 < 0 ? 0 : y0; y <= y1 && y < height; y++)
        for (long x = x0 < 0 ? 0 : x0; x <= x1 && x < width; x++)
            if (y == y0 || y == y1 || x == x0 || x == x1)
                tile[(size_t)y * strip->png.width + (size_t)x] = 255;
}

static void draw_row(struct strip *strip)
{
    size_t height = strip->sets[0]->height, width = strip->sets[0]->width, zoom = strip->zoom;
    unsigned char *pixels = strip->png.pixels;
    size_t column = 0;
    for (int kind = 0; kind < COLUMN_KINDS; kind++) {
        if (kind == COLUMN_MOVED && !strip->moved)
            continue;
        for (size_t y = 0; y < height * zoom; y++) {
            size_t top = GAP + strip->row * (height * zoom + GAP) + y,
                   left = GAP + column * (width * zoom + GAP);
            unsigned char *out = pixels + top * strip->png.width + left;
            for (size_t x = 0; x < width * zoom; x++)
                out[x] = grey_at(strip, kind, y / zoom * width + x / zoom);
        }
        if (strip->tile && kind != COLUMN_DIFFERENCE)
            draw_frame(strip, column,
                       kind == COLUMN_TRAINING ? &strip->tile->training : &strip->tile->query);
        column++;
    }
}

/* The least and greatest pixel of both images over all channels that are shown: bytes keep their
 * own scale. */
static void find_range(struct strip *strip, uint64_t channels)
{
    const struct image_set *set = strip->sets[0];
    if (set->type == ELEMENT_UINT8) {
        strip->low = 0;
        strip->high = 255;
        return;
    }
    strip->low = INFINITY;
    strip->high = -INFINITY;
    for (int s = 0; s < 2; s++)
        for (size_t c = 0; c < set->channels; c++)
            for (size_t p = 0; (channels >> c & 1) && p < set->height * set->width; p++) {
                double value = value_at(strip->sets[s], strip->images[s], c, p);
                strip->low = fmin(strip->low, value);
                strip->high = fmax(strip->high, value);
            }
}

/* The synthetic image as it was brought to the training image, where that is what flagged it. */
static float *moved_image(const struct audit_run *run, size_t image)
{
    const struct image_set *set = images_of(run, SET_SYNTHETIC);
    const struct disguise_match *match = disguise_of(run, image);
    struct pixels pixels;
    if (run->found_by[image] != MATCH_DISGUISE)
        return NULL;
    pixels_init(&pixels, set->type, set->channels, set->height * set->width, run->sets.channels);
    float *moved = memory_grow(NULL, pixels.count, sizeof *moved);
    transform_apply(&pixels, set->height, set->width, set_image(&pixels, set, image),
                    &match->transform, moved);
    return moved;
}

static bool draw_pair(const struct audit_run *run, const struct pair *pair, const char *path,
                      struct error *err)
{
    const struct image_set *set = images_of(run, SET_SYNTHETIC);
    uint64_t channels = run->sets.channels;
    size_t rows = (size_t)__builtin_popcountll(channels),
           side = set->height < set->width ? set->height : set->width;
    int found_by = run->found_by[pair->synthetic];
    bool held_out = run->held_out_alone[pair->synthetic];
    struct strip strip = {
        .sets = { set, images_of(run, held_out ? SET_HOLDOUT : SET_TRAIN) },
        .images = { pair->synthetic,
                    held_out ? run->held_out_twin[pair->synthetic] : run->source[pair->synthetic] },
        .moved = moved_image(run, pair->synthetic),
        .tile = finds_pieces(found_by)
                    ? (const struct tile_match *)run->matched[found_by].match + pair->synthetic
                    : NULL,
        .zoom = side < SIDE_LEAST ? (SIDE_LEAST + side - 1) / side : 1,
    };
    size_t columns = strip.moved ? COLUMN_KINDS : COLUMN_KINDS - 1,
           width = GAP + columns * (set->width * strip.zoom + GAP),
           height = GAP + rows * (set->height * strip.zoom + GAP);
    if (width > PNG_LARGEST_SIDE || height > PNG_LARGEST_SIDE) {
        free(strip.moved);
        return error_set(err, "%s: a strip of %zu × %zu pixels cannot be drawn; set pairs to 0",
                         path, width, height);
    }
    strip.png = (struct png_image){ (uint32_t)width, (uint32_t)height, 1, 8, NULL };
    strip.png.pixels = memory_allocate(width, height, "a strip", err);
    if (!strip.png.pixels) {
        free(strip.moved);
        return false;
    }
    memset(strip.png.pixels, BACKGROUND, width * height);
    find_range(&strip, channels);
    for (size_t c = 0; c < set->channels; c++) {
        if (!(channels >> c & 1))
            continue;
        strip.channel = c;
        draw_row(&strip);
        strip.row++;
    }
    bool ok = png_write(path, &strip.png, err);
    memory_free(strip.png.pixels);
    free(strip.moved);
    return ok;
}

bool audit_draw_pairs(struct audit_run *run, const struct pair *pairs, size_t count,
                      const char *folder, struct error *err)
{
    if (count && !folder_create(path_join(&run->arena, folder, "pairs"), err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!draw_pair(run, &pairs[i], path_join(&run->arena, folder, pairs[i].png), err))
            return false;
    return true;
}
