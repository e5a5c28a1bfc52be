/* Pictures and validation while training goes on; see preview.h. */
#include "train/preview.h"

#include "data/sheet.h"
#include "train/batches.h"
#include "train/generator.h"
#include "train/sampler.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* Enough for a picture that tells; a few seconds where sampling with all steps takes minutes. */
enum { DDIM_STEPS = 25 };

struct preview {
    struct generator *generator;
    const char *folder; /* of the pictures */
    float *batch, *held_out;
    size_t held_out_count;
    uint8_t *image, *mask; /* a batch, decoded */
    struct arena arena;
};

static bool has_split(const char *store, enum split split, bool *has, struct error *err)
{
    struct dataset dataset;
    if (!dataset_open(&dataset, store, err))
        return false;
    *has = false;
    for (size_t i = 0; i < dataset.count; i++)
        *has = *has || dataset.index[i].split == split;
    dataset_close(&dataset);
    return true;
}

static bool read_held_out(struct preview *preview, const char *store, enum split split,
                          const struct train_settings *settings,
                          const struct checkpoint_record *record, struct error *err)
{
    struct batches_options options = { .masks = record->masks, .seed = 1, .split = split };
    struct batches *batches = batches_open(store, &options, err);
    if (!batches)
        return false;
    const struct batches_format *format = batches_format(batches);
    size_t wanted = (size_t)settings->validate;
    preview->held_out_count = wanted < format->count ? wanted : format->count;
    preview->held_out = memory_allocate(
        preview->held_out_count, format->channels * format->size * format->size * sizeof(float),
        "the images of validation", err);
    if (preview->held_out)
        batches_read(batches, 0, preview->held_out_count, preview->held_out);
    batches_free(batches);
    return preview->held_out;
}

static bool choose_held_out(struct preview *preview, const char *store,
                            const struct train_settings *settings,
                            const struct checkpoint_record *record, struct error *err)
{
    static const enum split splits[] = { SPLIT_VALIDATION, SPLIT_HOLDOUT };
    if (!settings->validate || !generator_validates(preview->generator))
        return true;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        bool has;
        if (!has_split(store, splits[i], &has, err))
            return false;
        if (has)
            return read_held_out(preview, store, splits[i], settings, record, err);
    }
    return true;
}

static bool set_aside(struct preview *preview, struct error *err)
{
    const struct generator_format *format = generator_format(preview->generator);
    size_t values = GENERATOR_BATCH * format->channels * format->size * format->size;
    preview->batch = memory_allocate(values, sizeof(float), "a batch of samples", err);
    preview->image = memory_allocate(values, 1, "a batch of samples", err);
    preview->mask = memory_allocate(values, 1, "a batch of samples", err);
    return preview->batch && preview->image && preview->mask;
}

struct preview *preview_open(const char *dataset, const char *out,
                             const struct train_settings *settings,
                             const struct checkpoint_record *record, struct error *err)
{
    struct draw_options options = { .seed = 1,
                                    .sampler = SAMPLER_DDIM,
                                    .steps = DDIM_STEPS,
                                    .truncation = 1,
                                    .device = settings->device };
    struct preview *preview = memory_grow(NULL, 1, sizeof *preview);
    *preview = (struct preview){ 0 };
    arena_init(&preview->arena);
    preview->folder = path_join(&preview->arena, out, "samples");
    preview->generator = generator_beside(settings, record, &options, err);
    if (preview->generator && set_aside(preview, err) &&
        choose_held_out(preview, dataset, settings, record, err))
        return preview;
    preview_free(preview);
    return NULL;
}

void preview_free(struct preview *preview)
{
    if (!preview)
        return;
    generator_free(preview->generator);
    memory_free(preview->batch);
    memory_free(preview->image);
    memory_free(preview->mask);
    memory_free(preview->held_out);
    arena_release(&preview->arena);
    free(preview);
}

/* The samples as a store in memory, which is what contact sheets are drawn of. */
static struct dataset as_dataset(struct preview *preview)
{
    const struct generator_format *format = generator_format(preview->generator);
    size_t pixels = format->size * format->size, greys = format->channels - format->masks;
    for (size_t i = 0; i < GENERATOR_BATCH; i++)
        sample_decode(format, preview->batch + i * format->channels * pixels,
                      preview->image + i * greys * pixels, preview->mask + i * pixels);
    return (struct dataset){ .count = GENERATOR_BATCH,
                             .channels = greys,
                             .height = format->size,
                             .width = format->size,
                             .type = ELEMENT_UINT8,
                             .images = preview->image,
                             .masks = format->masks ? preview->mask : NULL };
}

bool preview_draw(struct preview *preview, const struct store *training, uint64_t step,
                  struct error *err)
{
    struct arena arena;
    if (!generator_follow(preview->generator, training, step, err) ||
        !folder_create(preview->folder, err) ||
        !generator_draw(preview->generator, 0, preview->batch, err))
        return false;
    struct dataset samples = as_dataset(preview);
    arena_init(&arena);
    const char *path = arena_format(&arena, "%s/step-%012" PRIu64 ".png", preview->folder, step);
    bool ok = sheet_write(&samples, sheet_rows(&samples, samples.count), path, err);
    arena_release(&arena);
    return ok;
}

bool preview_validate(struct preview *preview, const struct store *training, uint64_t step,
                      double *loss, struct error *err)
{
    *loss = NAN;
    if (!preview->held_out_count)
        return true;
    return generator_follow(preview->generator, training, step, err) &&
           generator_validate(preview->generator, preview->held_out, preview->held_out_count, loss,
                              err);
}
