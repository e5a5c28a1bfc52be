/* Writing the payload; see payload.h.
 *
 * Items (an image, or a shard of them) are written in parallel, each by one thread from start to
 * end: encoded in memory, linted, digested, written. What they leave (the files' digests and the
 * findings) has its place beforehand, so the result does not depend on the threads. */
#include "release/payload.h"

#include "base/parallel.h"
#include "base/progress.h"
#include "data/nifti.h"
#include "data/png.h"

#include <ctype.h>
#include <stdatomic.h>
#include <string.h>

enum { SHARD = 256, PNG_FOLDER = 1000 };

const char *const payload_format_names[PAYLOAD_COUNT + 1] = { "nifti", "png", "npy", NULL };

struct writing {
    const struct payload *payload;
    const struct payload_settings *settings;
    struct tree *tree;
    const char **names;      /* of channels in file names; the last: of labels */
    size_t files_each;       /* per item */
    const char **paths;      /* items × files_each */
    struct tree_file *files; /* the same; path NULL: none */
    struct text *findings;   /* items */
    struct progress progress;
    struct error *err;
    atomic_bool failed;
    atomic_flag failing;
};

/* ---- names ----------------------------------------------------------------------------------- */

const char *payload_suffix(const char *channel, struct arena *arena)
{
    static const struct {
        const char *channel, *suffix;
    } known[] = {
        { "t1", "T1w" },
        { "t1w", "T1w" },
        { "t1n", "T1w" },
        { "t2", "T2w" },
        { "t2w", "T2w" },
        { "t1ce", "ce-gadolinium_T1w" },
        { "t1c", "ce-gadolinium_T1w" },
        { "t1gd", "ce-gadolinium_T1w" },
        { "flair", "FLAIR" },
        { "t2f", "FLAIR" },
        { "pd", "PDw" },
        { "t2star", "T2starw" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(known[i].channel, channel) == 0)
            return known[i].suffix;
    char *suffix = arena_string(arena, channel), *out = suffix;
    for (const char *at = channel; *at; at++)
        if (isalnum((unsigned char)*at))
            *out++ = *at;
    *out = '\0';
    return *suffix ? suffix : "image";
}

/* Two channels may not end up with one name. */
static bool name_channels(struct writing *writing, struct error *err)
{
    const struct dataset *store = writing->payload->store;
    struct arena *arena = &writing->tree->arena;
    bool bids = writing->settings->format == PAYLOAD_NIFTI;
    writing->names = arena_array(arena, const char *, store->channels + 1);
    writing->names[store->channels] = bids ? "dseg" : "seg";
    for (size_t i = 0; i < store->channels; i++) {
        const char *channel = store->channel_names[i];
        writing->names[i] = payload_suffix(channel, arena);
        if (!bids) {
            char *plain = arena_string(arena, writing->names[i]);
            for (char *at = plain; *at; at++)
                *at = (char)tolower((unsigned char)*at);
            writing->names[i] = plain;
        }
        for (size_t j = 0; j < i; j++)
            if (strcasecmp(writing->names[i], writing->names[j]) == 0)
                return error_set(err, "%s: the channels \"%s\" and \"%s\" would both be called %s",
                                 store->path, store->channel_names[j], channel, writing->names[i]);
    }
    return true;
}

static const char *path_of(const struct writing *writing, size_t item, size_t file)
{
    struct arena *arena = &writing->tree->arena;
    size_t image = writing->payload->images[item];
    const char *name = writing->names[file];
    if (writing->settings->format == PAYLOAD_NPY)
        return arena_format(arena, "data/sourcedata/npy/synth-%s-%05zu.npy",
                            file ? "labels" : "images", item);
    if (writing->settings->format == PAYLOAD_PNG)
        return arena_format(arena, "data/sourcedata/png/%03zu/synth%08zu_%s.png",
                            image / PNG_FOLDER, image, name);
    return arena_format(arena, "data/sub-synth%08zu/anat/sub-synth%08zu_%s.nii.gz", image, image,
                        name);
}

/* All of them beforehand: the threads share no arena. */
static void name_files(struct writing *writing, size_t items)
{
    for (size_t item = 0; item < items; item++)
        for (size_t file = 0; file < writing->files_each; file++)
            writing->paths[item * writing->files_each + file] = path_of(writing, item, file);
}

/* ---- one image ------------------------------------------------------------------------------- */

static size_t pixels_of(const struct dataset *store)
{
    return store->height * store->width;
}

static const unsigned char *plane_of(const struct dataset *store, size_t image, size_t channel)
{
    size_t bytes = element_info[store->type].bytes;
    return store->images + (image * store->channels + channel) * pixels_of(store) * bytes;
}

static bool put(struct writing *writing, size_t item, size_t file, void *bytes, size_t size,
                struct error *err)
{
    size_t place = item * writing->files_each + file;
    if (!bytes)
        return false;
    bool ok = tree_write(writing->tree, writing->paths[place], bytes, size, &writing->files[place],
                         &writing->findings[item], err);
    memory_free(bytes);
    return ok;
}

static float *halves_to_floats(const unsigned char *plane, size_t count, struct error *err)
{
    float *values = memory_allocate(count, sizeof *values, "an image", err);
    for (size_t i = 0; values && i < count; i++) {
        uint16_t half;
        memcpy(&half, plane + 2 * i, 2);
        values[i] = half_to_float(half);
    }
    return values;
}

static void *encode_nifti(const struct writing *writing, const void *plane, enum voxel_type type,
                          bool labels, size_t *size, struct error *err)
{
    const struct dataset *store = writing->payload->store;
    const struct payload_settings *settings = writing->settings;
    struct nifti_output output = {
        .shape = { (int64_t)store->width, (int64_t)store->height, 1 },
        .type = type,
        .voxels = plane,
        .descrip = SYNTHETIC_PHRASE,
        .intent_name = SYNTHETIC_NAME,
        .labels = labels,
    };
    /* The middle of the image is the origin, as good a place as any for a head that never was. */
    const double spacing[3] = { settings->spacing, settings->spacing, settings->thickness };
    const double origin[3] = { spacing[0] * (double)(store->width - 1) / 2,
                               spacing[1] * (double)(store->height - 1) / 2, 0 };
    nifti_lps_affine(spacing, origin, output.affine);
    return nifti_encode(&output, true, size, err);
}

static void *nifti_channel(const struct writing *writing, size_t image, size_t channel,
                           size_t *size, struct error *err)
{
    const struct dataset *store = writing->payload->store;
    const unsigned char *plane = plane_of(store, image, channel);
    if (store->type != ELEMENT_FLOAT16)
        return encode_nifti(writing, plane,
                            store->type == ELEMENT_UINT8 ? VOXEL_UINT8 : VOXEL_UINT16, false, size,
                            err);
    float *values = halves_to_floats(plane, pixels_of(store), err);
    void *bytes = values ? encode_nifti(writing, values, VOXEL_FLOAT32, false, size, err) : NULL;
    memory_free(values);
    return bytes;
}

static void *encode_png(const struct dataset *store, const void *plane, int bits, size_t *size,
                        struct error *err)
{
    static const struct png_text marker = { SYNTHETIC_KEYWORD, SYNTHETIC_PHRASE };
    const struct png_image image = { .width = (uint32_t)store->width,
                                     .height = (uint32_t)store->height,
                                     .channels = 1,
                                     .bits = bits,
                                     .pixels = (void *)(uintptr_t)plane };
    return png_encode(&image, &marker, size, err);
}

/* What a PNG file cannot hold is not cut: that would be another image than the audited one. */
static bool check_greys(const struct dataset *store, const float *values, size_t image,
                        size_t channel, struct error *err)
{
    for (size_t i = 0; i < pixels_of(store); i++)
        if (!(values[i] >= 0 && values[i] <= 1))
            return error_set(err,
                             "image %zu, channel %s: a value of %g; PNG files hold 0 … 1, and to "
                             "cut it would change what was audited: package with format nifti or "
                             "npy, or scale the set before it is audited",
                             image, store->channel_names[channel], (double)values[i]);
    return true;
}

/* Half precision runs from 0 to 1 (dataset store); it becomes 16 bit. */
static void *png_channel(const struct writing *writing, size_t image, size_t channel, size_t *size,
                         struct error *err)
{
    const struct dataset *store = writing->payload->store;
    const unsigned char *plane = plane_of(store, image, channel);
    if (store->type != ELEMENT_FLOAT16)
        return encode_png(store, plane, store->type == ELEMENT_UINT8 ? 8 : 16, size, err);
    size_t count = pixels_of(store);
    float *values = halves_to_floats(plane, count, err);
    uint16_t *greys = memory_allocate(count, sizeof *greys, "an image", err);
    bool ok = values && greys && check_greys(store, values, image, channel, err);
    for (size_t i = 0; ok && i < count; i++)
        greys[i] = (uint16_t)(values[i] * 65535 + 0.5f);
    void *bytes = ok ? encode_png(store, greys, 16, size, err) : NULL;
    memory_free(values);
    memory_free(greys);
    return bytes;
}

static bool write_image(struct writing *writing, size_t item, struct error *err)
{
    const struct dataset *store = writing->payload->store;
    size_t image = writing->payload->images[item], size = 0;
    bool nifti = writing->settings->format == PAYLOAD_NIFTI;
    for (size_t i = 0; i < store->channels; i++) {
        void *bytes = (nifti ? nifti_channel : png_channel)(writing, image, i, &size, err);
        if (!put(writing, item, i, bytes, size, err))
            return false;
    }
    if (!store->masks)
        return true;
    const uint8_t *labels = store->masks + image * pixels_of(store);
    void *bytes = nifti ? encode_nifti(writing, labels, VOXEL_UINT8, true, &size, err)
                        : encode_png(store, labels, 8, &size, err);
    return put(writing, item, store->channels, bytes, size, err);
}

/* ---- a shard --------------------------------------------------------------------------------- */

static unsigned char *shard_bytes(const struct writing *writing, size_t first, size_t count,
                                  bool labels, size_t *size, struct error *err)
{
    const struct dataset *store = writing->payload->store;
    enum element_type type = labels ? ELEMENT_UINT8 : store->type;
    size_t shape[] = { count, store->channels, store->height, store->width };
    size_t item = pixels_of(store) * (labels ? 1 : store->channels * element_info[type].bytes);
    *size = NPY_WRITTEN_HEADER + count * item;
    unsigned char *bytes = memory_allocate(*size, 1, "a shard of images", err);
    if (!bytes)
        return NULL;
    if (labels) {
        memcpy(shape + 1, (size_t[]){ store->height, store->width }, 2 * sizeof *shape);
        npy_header(type, 3, shape, (char *)bytes);
    } else {
        npy_header(type, 4, shape, (char *)bytes);
    }
    for (size_t i = 0; i < count; i++)
        memcpy(bytes + NPY_WRITTEN_HEADER + i * item,
               (labels ? store->masks : store->images) + writing->payload->images[first + i] * item,
               item);
    return bytes;
}

static bool write_shard(struct writing *writing, size_t shard, struct error *err)
{
    size_t first = shard * SHARD, left = writing->payload->count - first;
    size_t count = left < SHARD ? left : SHARD;
    for (size_t labels = 0; labels < (writing->payload->store->masks ? 2 : 1); labels++) {
        size_t size;
        unsigned char *bytes = shard_bytes(writing, first, count, labels, &size, err);
        if (!put(writing, shard, labels, bytes, size, err))
            return false;
    }
    return true;
}

/* Which image of the store each row of the shards is. */
static bool write_index(const struct writing *writing, struct error *err)
{
    struct text text = { 0 };
    text_add(&text, "shard,row,image\n");
    for (size_t i = 0; i < writing->payload->count; i++)
        text_format(&text, "%zu,%zu,%zu\n", i / SHARD, i % SHARD, writing->payload->images[i]);
    bool ok = tree_add(writing->tree, "data/sourcedata/npy/synth-index.csv", text.bytes,
                       text.length, err);
    text_release(&text);
    return ok;
}

/* ---- all ------------------------------------------------------------------------------------- */

static void write_item(void *context, size_t item)
{
    struct writing *writing = context;
    struct error err;
    if (atomic_load(&writing->failed))
        return;
    bool shards = writing->settings->format == PAYLOAD_NPY;
    if (!(shards ? write_shard : write_image)(writing, item, &err)) {
        if (!atomic_flag_test_and_set(&writing->failing))
            *writing->err = err;
        atomic_store(&writing->failed, true);
    }
    progress_add(&writing->progress, 1);
}

static void collect(struct writing *writing, size_t items)
{
    for (size_t item = 0; item < items; item++) {
        for (size_t i = 0; i < writing->files_each; i++)
            if (writing->files[item * writing->files_each + i].path)
                tree_append(writing->tree, &writing->files[item * writing->files_each + i]);
        if (writing->findings[item].length)
            text_add(&writing->tree->findings, writing->findings[item].bytes);
        text_release(&writing->findings[item]);
    }
}

bool payload_write(const struct payload *payload, const struct payload_settings *settings,
                   struct tree *tree, struct error *err)
{
    bool shards = settings->format == PAYLOAD_NPY;
    size_t items = shards ? (payload->count + SHARD - 1) / SHARD : payload->count;
    struct writing writing = { .payload = payload,
                               .settings = settings,
                               .tree = tree,
                               .files_each = shards ? 2 : payload->store->channels + 1,
                               .err = err,
                               .failing = ATOMIC_FLAG_INIT };
    if (!name_channels(&writing, err))
        return false;
    writing.files = memory_allocate(items * writing.files_each, sizeof *writing.files,
                                    "the list of files", err);
    writing.paths = memory_allocate(items * writing.files_each, sizeof *writing.paths,
                                    "the list of files", err);
    writing.findings = memory_allocate(items, sizeof *writing.findings, "the findings", err);
    bool ok = writing.files && writing.paths && writing.findings;
    if (ok) {
        name_files(&writing, items);
        progress_begin(&writing.progress, "package", shards ? "shards" : "images", items);
        parallel_items(items, write_item, &writing);
        progress_end(&writing.progress);
        collect(&writing, items);
        ok = !atomic_load(&writing.failed) && (!shards || write_index(&writing, err));
    }
    memory_free(writing.files);
    memory_free(writing.paths);
    memory_free(writing.findings);
    return ok;
}
