/* The two worlds of bench_audit-power; see power.h. */
#include "power.h"

#include "bench.h"

#include "base/file.h"
#include "data/dataset.h"
#include "data/gzip.h"

#include <string.h>

#define FOLDER   "build/bench/audit-power"
#define TEMPLATE "/usr/share/mricron/templates/ch2bet.nii.gz"
#define FASHION  "/usr/share/datasets/fashion-mnist/"
enum { FLAIR = 3 };

unsigned char *power_room(size_t images, size_t plane)
{
    struct error err;
    unsigned char *room = memory_allocate(images, plane, "images", &err);
    if (!room)
        bench_fail("%s", err.message);
    return room;
}

struct image_set power_set(const char *name, unsigned char *images, size_t count, size_t side)
{
    return (struct image_set){ .name = name,
                               .images = images,
                               .count = count,
                               .channels = 1,
                               .height = side,
                               .width = side,
                               .type = ELEMENT_UINT8 };
}

static unsigned char *idx_images(const char *path, size_t count)
{
    enum { HEADER = 16, PLANE = 28 * 28 };
    struct error err;
    size_t size, packed_size;
    char *packed = file_read(path, 1 << 28, &packed_size, &err);
    unsigned char *bytes =
        packed ? gzip_decompress(packed, packed_size, 1 << 28, path, &size, &err) : NULL;
    if (!bytes)
        bench_fail("%s (package dataset-fashion-mnist)", err.message);
    if (size != HEADER + count * PLANE)
        bench_fail("%s: %zu bytes instead of %zu images", path, size, count);
    unsigned char *images = power_room(count, PLANE);
    memcpy(images, bytes + HEADER, count * PLANE);
    memory_free(packed);
    memory_free(bytes);
    return images;
}

size_t power_fashion_control = 20000;

static void make_fashion(struct world *world, size_t divisor)
{
    enum { ALL = 60000, TRAIN = 8000, CLEAN = 2000, PLANE = 28 * 28 };
    size_t control = power_fashion_control;
    if (control < 1 || control > ALL - TRAIN - CLEAN)
        bench_fail("--control %zu: between 1 and %d", control, ALL - TRAIN - CLEAN);
    unsigned char *images = idx_images(FASHION "train-images-idx3-ubyte.gz", ALL);
    world->side = 28;
    world->train = power_set("train", images, TRAIN, 28);
    world->control = power_set("control", images + (size_t)TRAIN * PLANE, control / divisor, 28);
    world->clean = power_set("clean", images + (TRAIN + control) * PLANE, CLEAN / divisor, 28);
}

/* The set of images whose subject's number is in [first, end), subjects numbered as they come. */
static struct image_set pick(struct world *world, const struct dataset *store, const char *name,
                             size_t first, size_t end, uint8_t **masks)
{
    size_t plane = store->height * store->width, count = 0, subject = 0, *from;
    from = memory_grow(NULL, store->count, sizeof *from);
    uint32_t *groups = arena_array(&world->arena, uint32_t, store->count);
    for (size_t i = 0; i < store->count; i++) {
        subject += i && strcmp(store->index[i].subject, store->index[i - 1].subject) != 0;
        if (subject < first || subject >= end)
            continue;
        groups[count] = (uint32_t)subject;
        from[count++] = i;
    }
    unsigned char *images = power_room(count, plane);
    if (masks)
        *masks = power_room(count, plane);
    for (size_t i = 0; i < count; i++) {
        memcpy(images + i * plane, store->images + (from[i] * store->channels + FLAIR) * plane,
               plane);
        if (masks)
            memcpy(*masks + i * plane, store->masks + from[i] * plane, plane);
    }
    memory_free(from);
    struct image_set set = power_set(name, images, count, store->height);
    set.groups = groups;
    return set;
}

static void make_heads(struct world *world, size_t divisor)
{
    struct dataset store;
    struct error err;
    if (!folder_create(FOLDER, &err))
        bench_fail("%s", err.message);
    if (!dataset_is(FOLDER "/heads")) {
        fprintf(stderr, "bench: making 200 heads, once; this takes minutes\n");
        if (path_kind(FOLDER "/cohort") == PATH_NOTHING)
            bench_peak_memory((const char *[]){ "build/lethe", "phantom", "--subjects", "200",
                                                "--size", "128", "--template", TEMPLATE, "--out",
                                                FOLDER "/cohort", "--quiet", NULL });
        bench_peak_memory((const char *[]){ "build/lethe", "ingest", "--source", FOLDER "/cohort",
                                            "--out", FOLDER "/heads", "--quiet", NULL });
    }
    if (!dataset_open(&store, FOLDER "/heads", &err))
        bench_fail("%s", err.message);
    uint8_t *masks;
    world->side = store.height;
    world->train = pick(world, &store, "train", 0, 50, &masks);
    world->control = pick(world, &store, "control", 50, 50 + 110 / divisor, NULL);
    world->clean = pick(world, &store, "clean", 160, 160 + 40 / divisor, NULL);
    world->masks = masks;
    dataset_close(&store);
}

const struct world_row power_worlds[WORLDS] = {
    [FASHION_WORLD] = { "fashion", make_fashion },
    [HEADS_WORLD] = { "heads", make_heads },
};
