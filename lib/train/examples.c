/* Labelled images for training a segmenter; see examples.h. */
#include "train/examples.h"

#include "base/parallel.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct examples {
    struct example_set *sets; /* own */
    size_t set_count, count;
    struct examples_options options;
    struct classes classes;
    struct augment augment;
    size_t *order; /* of `epoch` */
    uint64_t epoch;
    size_t *partner; /* shuffled: whose mask each image gets */
    float *work;     /* planes and scratch of `work_images` images */
    uint8_t *masks;
    size_t work_images;
};

struct classes classes_of(const bool occurs[256])
{
    struct classes classes = { .count = 1 };
    for (int label = 1; label < 256 && classes.count < CLASSES_MOST; label++)
        if (occurs[label]) {
            classes.class_of[label] = (uint8_t)classes.count;
            classes.label[classes.count++] = (uint8_t)label;
        }
    return classes;
}

/* ---- which ----------------------------------------------------------------------------------- */

static void draw_order(struct examples *examples, uint64_t epoch)
{
    random_permutation(examples->options.seed, random_stream("examples.order") + epoch,
                       examples->count, examples->order);
    examples->epoch = epoch;
}

bool examples_agree(const struct dataset *store, const struct dataset *other, struct error *err)
{
    if (store->width != other->width || store->height != other->height ||
        store->channels != other->channels)
        return error_set(err, "%s: %zu channels of %zu × %zu, but %s has %zu of %zu × %zu",
                         store->path, store->channels, store->height, store->width, other->path,
                         other->channels, other->height, other->width);
    for (size_t c = 0; c < store->channels; c++)
        if (strcmp(store->channel_names[c], other->channel_names[c]) != 0)
            return error_set(err, "%s: its channel %zu is %s, but %s in %s", store->path, c,
                             store->channel_names[c], other->channel_names[c], other->path);
    return true;
}

static bool check_set(const struct example_set *set, const struct example_set *first, size_t size,
                      struct error *err)
{
    const struct dataset *store = set->store;
    if (!store->masks)
        return error_set(err, "%s: has no masks; a segmenter learns from masks", store->path);
    if (store->height != store->width || store->width > size)
        return error_set(err, "%s: images of %zu × %zu; expected squares of at most %zu",
                         store->path, store->height, store->width, size);
    return examples_agree(store, first->store, err);
}

/* No image keeps its own mask: each takes that of the next in a random cycle. */
static void draw_partners(struct examples *examples)
{
    size_t n = examples->count, *cycle = examples->order;
    random_permutation(examples->options.seed, random_stream("examples.partner"), n, cycle);
    for (size_t i = 0; i < n; i++)
        examples->partner[cycle[i]] = cycle[(i + 1) % n];
}

struct examples *examples_new(const struct example_set *sets, size_t count,
                              const struct examples_options *options, struct error *err)
{
    struct examples *examples = memory_grow(NULL, 1, sizeof *examples);
    *examples = (struct examples){ .options = *options, .classes = *options->classes };
    examples->augment = options->augment ? *options->augment : augment_none;
    examples->sets = memory_grow(NULL, count, sizeof *sets);
    memcpy(examples->sets, sets, count * sizeof *sets);
    examples->set_count = count;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = check_set(&sets[i], &sets[0], options->size, err);
        examples->count += sets[i].count;
    }
    if (ok && !examples->count)
        ok = error_set(err, "%s: no image to train on", sets[0].store->path);
    examples->order =
        ok ? memory_allocate(examples->count, 2 * sizeof(size_t), "the order of images", err)
           : NULL;
    if (!examples->order) {
        examples_free(examples);
        return NULL;
    }
    examples->partner = examples->order + examples->count;
    draw_partners(examples);
    draw_order(examples, 0);
    return examples;
}

void examples_free(struct examples *examples)
{
    if (!examples)
        return;
    free(examples->sets);
    free(examples->work);
    free(examples->masks);
    memory_free(examples->order);
    free(examples);
}

/* The store and the row of one of all images. */
static const struct dataset *locate(const struct examples *examples, size_t image, size_t *row)
{
    const struct example_set *set = examples->sets;
    for (; image >= set->count; set++)
        image -= set->count;
    *row = set->rows ? set->rows[image] : image;
    return set->store;
}

/* ---- pixels ---------------------------------------------------------------------------------- */

void example_planes(const struct dataset *store, size_t row, float *out)
{
    size_t count = store->channels * store->height * store->width;
    const unsigned char *from = store->images + row * count * element_info[store->type].bytes;
    const uint16_t *wide = (const uint16_t *)(const void *)from;
    for (size_t i = 0; i < count; i++)
        out[i] = store->type == ELEMENT_UINT8    ? (float)from[i] / 255
                 : store->type == ELEMENT_UINT16 ? (float)wide[i] / 65535
                                                 : half_to_float(wide[i]);
}

void example_prepare(const float *planes, size_t channels, size_t height, size_t width,
                     size_t padded_height, size_t padded_width, float *out)
{
    size_t pixels = height * width;
    for (size_t c = 0; c < channels; c++, planes += pixels) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < pixels; i++)
            sum += (double)planes[i];
        double mean = sum / (double)pixels;
        for (size_t i = 0; i < pixels; i++)
            squares += ((double)planes[i] - mean) * ((double)planes[i] - mean);
        double deviation = sqrt(squares / (double)pixels);
        float scale = deviation > 0 ? (float)(1 / deviation) : 0, shift = (float)mean;
        for (size_t y = 0; y < padded_height; y++)
            for (size_t x = 0; x < padded_width; x++)
                *out++ = ((y < height && x < width ? planes[y * width + x] : 0) - shift) * scale;
    }
}

/* The mask of the image's partner, moved round by a draw of its own. */
static void read_wrong_mask(const struct examples *examples, size_t image, uint8_t *out)
{
    uint64_t seed = examples->options.seed, stream = random_stream("examples.move");
    size_t row;
    const struct dataset *store = locate(examples, examples->partner[image], &row);
    size_t side = store->width;
    size_t down = random_below(seed, stream, 3 * image, side);
    size_t right = random_below(seed, stream, 3 * image + 1, side);
    bool mirrored = random_bits(seed, stream, 3 * image + 2) & 1;
    const uint8_t *mask = store->masks + row * side * side;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            size_t from = (x + right) % side;
            out[y * side + x] =
                mask[(y + down) % side * side + (mirrored ? side - 1 - from : from)];
        }
}

struct reading {
    struct examples *examples;
    uint64_t first;
    float *images;
    int32_t *labels;
    size_t *chosen; /* of all images, by place in the batch */
};

static size_t work_floats(const struct dataset *store)
{
    return store->channels * store->width * store->width +
           augment_scratch(store->channels, store->width);
}

static void read_one(void *context, size_t place)
{
    const struct reading *reading = context;
    struct examples *examples = reading->examples;
    size_t row, image = reading->chosen[place], size = examples->options.size;
    const struct dataset *store = locate(examples, image, &row);
    size_t side = store->width, pixels = side * side;
    float *planes = examples->work + place * work_floats(store);
    uint8_t *mask = examples->masks + place * pixels;
    example_planes(store, row, planes);
    if (examples->options.shuffled)
        read_wrong_mask(examples, image, mask);
    else
        memcpy(mask, store->masks + row * pixels, pixels);
    augment_image(&examples->augment, examples->options.seed, reading->first + place,
                  store->channels, side, planes, mask, planes + store->channels * pixels);
    example_prepare(planes, store->channels, side, side, size, size,
                    reading->images + place * store->channels * size * size);
    int32_t *labels = reading->labels + place * size * size;
    for (size_t y = 0; y < size; y++)
        for (size_t x = 0; x < size; x++)
            labels[y * size + x] =
                y < side && x < side ? examples->classes.class_of[mask[y * side + x]] : 0;
}

static void reserve(struct examples *examples, size_t count)
{
    const struct dataset *store = examples->sets[0].store;
    if (examples->work_images >= count)
        return;
    examples->work = memory_grow(examples->work, count * work_floats(store), sizeof(float));
    examples->masks = memory_grow(examples->masks, count * store->width * store->width, 1);
    examples->work_images = count;
}

void examples_read(struct examples *examples, uint64_t first, size_t count, float *images,
                   int32_t *labels)
{
    size_t *chosen = memory_grow(NULL, count, sizeof *chosen);
    struct reading reading = { examples, first, images, labels, chosen };
    reserve(examples, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t epoch = (first + i) / examples->count;
        if (epoch != examples->epoch)
            draw_order(examples, epoch);
        chosen[i] = examples->order[(first + i) % examples->count];
    }
    parallel_items(count, read_one, &reading);
    free(chosen);
}

static void read_for_feed(void *context, uint64_t first, size_t count, float *images,
                          int32_t *labels)
{
    examples_read(context, first, count, images, labels);
}

struct feed_source examples_feed(struct examples *examples)
{
    size_t pixels = examples->options.size * examples->options.size;
    return (struct feed_source){ .context = examples,
                                 .read = read_for_feed,
                                 .values = examples->sets[0].store->channels * pixels,
                                 .labels = pixels };
}
