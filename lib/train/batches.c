/* Batches of real images; see batches.h. */
#include "train/batches.h"

#include "base/random.h"
#include "base/text.h"
#include "train/reference.h"

#include <stdlib.h>
#include <string.h>

enum { LABEL_MOST = 5, GREY_OF_LABEL = 51 };

struct batches {
    struct dataset store;
    struct batches_options options;
    struct batches_format format;
    size_t *rows;  /* of the store: the images of the split */
    size_t *order; /* of `epoch`: a permutation of the rows */
    uint64_t epoch;
    struct arena arena;
};

static bool add_digest(void *context, const char *name, const struct json *value)
{
    const char *hex = json_as_string(value);
    text_format(context, "%s %s\n", name, hex ? hex : "");
    return true;
}

/* One digest of those of the files, which are stated in dataset.json. */
bool training_digest(const struct dataset *store, char hex[DIGEST_HEX], struct error *err)
{
    struct text lines = { 0 };
    const struct json *files = json_get(store->description, "files", err);
    if (!files)
        return false;
    json_each(files, add_digest, &lines);
    struct digest digest = digest_of(lines.bytes, lines.length);
    text_release(&lines);
    digest_hex(&digest, hex);
    return true;
}

static bool digest_store(struct batches *batches, struct error *err)
{
    char hex[DIGEST_HEX];
    if (!training_digest(&batches->store, hex, err))
        return false;
    batches->format.digest = arena_string(&batches->arena, hex);
    return true;
}

static bool check_labels(const struct batches *batches, struct error *err)
{
    const struct dataset *store = &batches->store;
    size_t pixels = store->height * store->width;
    for (size_t i = 0; i < batches->format.count; i++) {
        const uint8_t *mask = store->masks + batches->rows[i] * pixels;
        for (size_t p = 0; p < pixels; p++)
            if (mask[p] > LABEL_MOST)
                return error_set(
                    err,
                    "%s: image %zu has the label %d; masks are generated as grey "
                    "%d · label, so labels go to %d: train without masks (masks: none)",
                    store->path, batches->rows[i], mask[p], GREY_OF_LABEL, LABEL_MOST);
    }
    return true;
}

/* The images of the people whom a reference learns from. */
static bool choose_reference(struct batches *batches, struct error *err)
{
    const struct batches_options *options = &batches->options;
    struct reference reference;
    if (!reference_draw(&batches->store, options->seed, options->reference, &reference, err))
        return false;
    for (size_t i = 0; i < batches->store.count; i++)
        if (reference.learns[i])
            batches->rows[batches->format.count++] = i;
    batches->format.half = arena_string(&batches->arena, reference.half);
    reference_release(&reference);
    return true;
}

static bool choose_rows(struct batches *batches, struct error *err)
{
    const struct dataset *store = &batches->store;
    batches->rows = memory_allocate(store->count, sizeof(size_t), "the order of images", err);
    batches->order = memory_allocate(store->count, sizeof(size_t), "the order of images", err);
    if (!batches->rows || !batches->order)
        return false;
    if (batches->options.reference)
        return choose_reference(batches, err);
    for (size_t i = 0; i < store->count; i++)
        if (store->index[i].split == batches->options.split)
            batches->rows[batches->format.count++] = i;
    if (!batches->format.count)
        return error_set(err, "%s: none of its %zu images is in the split %s", store->path,
                         store->count, split_names[batches->options.split]);
    return true;
}

static void name_channels(struct batches *batches)
{
    const struct dataset *store = &batches->store;
    struct batches_format *format = &batches->format;
    format->masks = batches->options.masks && store->masks;
    format->channels = store->channels + format->masks;
    format->size = store->width;
    const char **names = arena_array(&batches->arena, const char *, format->channels);
    for (size_t c = 0; c < store->channels; c++)
        names[c] = store->channel_names[c];
    if (format->masks)
        names[store->channels] = "seg";
    format->channel_names = names;
}

static void draw_order(struct batches *batches, uint64_t epoch)
{
    random_permutation(batches->options.seed, random_stream("train.order") + epoch,
                       batches->format.count, batches->order);
    batches->epoch = epoch;
}

static bool open_dataset(struct batches *batches, const char *path, struct error *err)
{
    if (!dataset_open(&batches->store, path, err))
        return false;
    const struct dataset *store = &batches->store;
    if (store->height != store->width)
        return error_set(err,
                         "%s: images of %zu × %zu; generators need square ones: ingest with "
                         "a canvas",
                         path, store->height, store->width);
    name_channels(batches);
    return digest_store(batches, err) && choose_rows(batches, err) &&
           (!batches->format.masks || check_labels(batches, err));
}

struct batches *batches_open(const char *store, const struct batches_options *options,
                             struct error *err)
{
    struct batches *batches = memory_grow(NULL, 1, sizeof *batches);
    *batches = (struct batches){ .options = *options };
    arena_init(&batches->arena);
    if (!open_dataset(batches, store, err)) {
        batches_free(batches);
        return NULL;
    }
    draw_order(batches, 0);
    return batches;
}

void batches_free(struct batches *batches)
{
    if (!batches)
        return;
    dataset_close(&batches->store);
    memory_free(batches->rows);
    memory_free(batches->order);
    arena_release(&batches->arena);
    free(batches);
}

const struct batches_format *batches_format(const struct batches *batches)
{
    return &batches->format;
}

size_t batches_source(struct batches *batches, uint64_t k, bool *mirrored)
{
    uint64_t epoch = k / batches->format.count, at = k % batches->format.count;
    if (epoch != batches->epoch)
        draw_order(batches, epoch);
    *mirrored = batches->options.mirror &&
                (random_bits(batches->options.seed, random_stream("train.mirror"), k) & 1);
    return batches->rows[batches->order[at]];
}

/* ---- pixels ---------------------------------------------------------------------------------- */

/* Values that stand for 0 … 1, by type. */
static void read_uint8(const void *from, size_t count, float *out)
{
    const uint8_t *value = from;
    for (size_t i = 0; i < count; i++)
        out[i] = (float)value[i] * (2 / 255.0f) - 1;
}

static void read_uint16(const void *from, size_t count, float *out)
{
    const uint16_t *value = from;
    for (size_t i = 0; i < count; i++)
        out[i] = (float)value[i] * (2 / 65535.0f) - 1;
}

static void read_float16(const void *from, size_t count, float *out)
{
    const uint16_t *value = from;
    for (size_t i = 0; i < count; i++)
        out[i] = half_to_float(value[i]) * 2 - 1;
}

static void read_labels(const uint8_t *label, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(label[i] * GREY_OF_LABEL) * (2 / 255.0f) - 1;
}

static void mirror_rows(float *image, size_t rows, size_t width)
{
    for (float *row = image; row < image + rows * width; row += width)
        for (size_t x = 0; x < width / 2; x++) {
            float left = row[x];
            row[x] = row[width - 1 - x];
            row[width - 1 - x] = left;
        }
}

void training_image(const struct dataset *store, size_t row, bool masks, bool mirrored, float *out)
{
    static void (*const read[ELEMENT_TYPE_COUNT])(const void *, size_t, float *) = {
        [ELEMENT_UINT8] = read_uint8,
        [ELEMENT_UINT16] = read_uint16,
        [ELEMENT_FLOAT16] = read_float16,
    };
    size_t pixels = store->height * store->width, values = store->channels * pixels;
    read[store->type](store->images + row * values * element_info[store->type].bytes, values, out);
    if (masks)
        read_labels(store->masks + row * pixels, pixels, out + values);
    if (mirrored)
        mirror_rows(out, (store->channels + masks) * store->height, store->width);
}

void batches_read(struct batches *batches, uint64_t first, size_t count, float *images)
{
    size_t values = batches->format.channels * batches->format.size * batches->format.size;
    for (size_t i = 0; i < count; i++) {
        bool mirrored;
        size_t source = batches_source(batches, first + i, &mirrored);
        training_image(&batches->store, source, batches->format.masks, mirrored,
                       images + i * values);
    }
}

static void read_for_feed(void *context, uint64_t first, size_t count, float *images,
                          int32_t *labels)
{
    (void)labels;
    batches_read(context, first, count, images);
}

struct feed_source batches_feed(struct batches *batches)
{
    const struct batches_format *format = batches_format(batches);
    return (struct feed_source){ .context = batches,
                                 .read = read_for_feed,
                                 .values = format->channels * format->size * format->size };
}
