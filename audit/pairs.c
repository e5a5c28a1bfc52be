/* What an audit shows of single images: nearest.csv, and the worst pairs as strips.
 *
 * A strip has a row for each compared channel: the synthetic image, its nearest training image, and
 * the absolute difference of the two, all in the same greys. Small images are enlarged by whole
 * pixels, so that one sees what was compared and nothing else. */
#include "audit/memorization_parts.h"

#include "base/file.h"
#include "data/png.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- nearest.csv ------------------------------------------------------------------------------
 */

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
            text_format(&text, ",%.17g,identity\n", near->correlation);
        }
        ok = file_writer_write(&writer, text.bytes, text.length, err);
        text_clear(&text);
    }
    text_release(&text);
    if (ok)
        return file_writer_commit(&writer, err);
    file_writer_abandon(&writer);
    return false;
}

/* ---- which pairs ------------------------------------------------------------------------------
 */

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

/* ---- strips -----------------------------------------------------------------------------------
 */

enum { GAP = 4, BACKGROUND = 96, SIDE_LEAST = 192, COLUMNS = 3 };

struct strip {
    const struct image_set *sets[2];
    size_t images[2];
    double low, high; /* what becomes black and white, of both images */
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

/* The grey of a tile's pixel: column 0 and 1 the images, 2 their difference. */
static unsigned char grey_at(const struct strip *strip, size_t column, size_t pixel)
{
    double value[2], span = strip->high - strip->low;
    for (int s = 0; s < 2; s++)
        value[s] = value_at(strip->sets[s], strip->images[s], strip->channel, pixel);
    double shown = column < 2 ? value[column] - strip->low : fabs(value[0] - value[1]);
    return (unsigned char)(span > 0 ? fmin(255, floor(shown * 255 / span + 0.5)) : 0);
}

static void draw_row(struct strip *strip)
{
    size_t height = strip->sets[0]->height, width = strip->sets[0]->width, zoom = strip->zoom;
    unsigned char *pixels = strip->png.pixels;
    for (size_t column = 0; column < COLUMNS; column++)
        for (size_t y = 0; y < height * zoom; y++) {
            size_t top = GAP + strip->row * (height * zoom + GAP) + y,
                   left = GAP + column * (width * zoom + GAP);
            unsigned char *out = pixels + top * strip->png.width + left;
            for (size_t x = 0; x < width * zoom; x++)
                out[x] = grey_at(strip, column, y / zoom * width + x / zoom);
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

static bool draw_pair(const struct audit_run *run, const struct pair *pair, const char *path,
                      struct error *err)
{
    const struct image_set *set = images_of(run, SET_SYNTHETIC);
    uint64_t channels = run->sets.channels;
    size_t rows = (size_t)__builtin_popcountll(channels),
           side = set->height < set->width ? set->height : set->width;
    struct strip strip = {
        .sets = { set, images_of(run, SET_TRAIN) },
        .images = { pair->synthetic, run->synthetic.nearest[pair->synthetic * run->k].id },
        .zoom = side < SIDE_LEAST ? (SIDE_LEAST + side - 1) / side : 1,
    };
    size_t width = GAP + COLUMNS * (set->width * strip.zoom + GAP),
           height = GAP + rows * (set->height * strip.zoom + GAP);
    if (width > PNG_LARGEST_SIDE || height > PNG_LARGEST_SIDE)
        return error_set(err, "%s: a strip of %zu × %zu pixels cannot be drawn; set pairs to 0",
                         path, width, height);
    strip.png = (struct png_image){ (uint32_t)width, (uint32_t)height, 1, 8, NULL };
    strip.png.pixels = memory_allocate(width, height, "a strip", err);
    if (!strip.png.pixels)
        return false;
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
