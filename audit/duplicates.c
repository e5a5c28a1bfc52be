/* Duplicates; see duplicates.h. */
#include "audit/duplicates.h"

#include "audit/queries.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- looks ----------------------------------------------------------------------------------- */

struct looking {
    const struct image_set *set;
    struct pixels pixels;
    struct look *looks;
    bool rough; /* as of looks_of */
    _Atomic size_t not_finite;
};

static void look_at(void *context, size_t begin, size_t end)
{
    struct looking *looking = context;
    const struct image_set *set = looking->set;
    const struct pixels *pixels = &looking->pixels;
    size_t bytes = element_info[pixels->type].bytes;
    for (size_t i = begin; i < end; i++) {
        const unsigned char *image = set_image(pixels, set, i);
        struct moments moments;
        if (!exact_moments(pixels, image, &moments)) {
            size_t least = atomic_load(&looking->not_finite);
            while (i < least && !atomic_compare_exchange_weak(&looking->not_finite, &least, i))
                ;
            continue;
        }
        struct digest_state *state = digest_begin();
        for (size_t run = 0; run < pixels->run_count; run++)
            digest_add(state, image + pixels->run[run].offset * bytes,
                       pixels->run[run].length * bytes);
        struct look *look = &looking->looks[i];
        *look = (struct look){ digest_end(state), moments.spread == 0, { NAN, NAN } };
        for (int s = 0; looking->rough && s < SCALE_COUNT; s++)
            look->roughness[s] =
                image_roughness(pixels, image, set->height, set->width, roughness_steps[s]);
    }
}

struct look *looks_of(const struct image_set *set, uint64_t channels, bool rough, struct error *err)
{
    struct looking looking = { .set = set, .rough = rough, .not_finite = SIZE_MAX };
    pixels_init(&looking.pixels, set->type, set->channels, set->height * set->width, channels);
    looking.looks = memory_allocate(set->count, sizeof *looking.looks, "digests of images", err);
    if (!looking.looks)
        return NULL;
    set_visit(&looking.pixels, set, look_at, &looking);
    if (looking.not_finite == SIZE_MAX)
        return looking.looks;
    error_set(err,
              "%s: image %zu has a pixel that is infinite or not a number; images must be finite "
              "to be compared",
              set->name, (size_t)looking.not_finite);
    memory_free(looking.looks);
    return NULL;
}

/* ---- equal images ---------------------------------------------------------------------------- */

struct known_image {
    struct digest digest;
    size_t place;
};

static int by_digest(const void *a, const void *b)
{
    return memcmp(((const struct known_image *)a)->digest.bytes,
                  ((const struct known_image *)b)->digest.bytes, DIGEST_BYTES);
}

static int by_digest_and_place(const void *a, const void *b)
{
    const struct known_image *x = a, *y = b;
    int order = by_digest(a, b);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* Images with variance, sorted. Returns how many. */
static size_t sorted_images(const struct look *looks, size_t count, struct known_image **sorted)
{
    size_t kept = 0;
    *sorted = memory_grow(NULL, count + 1, sizeof **sorted);
    for (size_t i = 0; i < count; i++)
        if (!looks[i].constant)
            (*sorted)[kept++] = (struct known_image){ looks[i].digest, i };
    qsort(*sorted, kept, sizeof **sorted, by_digest_and_place);
    return kept;
}

/* Keeps the first of those that are equal. Returns how many. */
static size_t first_of_each(struct known_image *sorted, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!kept || by_digest(&sorted[kept - 1], &sorted[i]) != 0)
            sorted[kept++] = sorted[i];
    return kept;
}

size_t images_in(const struct look *images, size_t count, const struct look *others,
                 size_t other_count, size_t *twins)
{
    struct known_image *sorted;
    size_t all = sorted_images(others, other_count, &sorted), found = 0;
    size_t kept = first_of_each(sorted, all);
    for (size_t i = 0; i < count; i++) {
        const struct known_image wanted = { .digest = images[i].digest };
        const struct known_image *twin =
            images[i].constant ? NULL : bsearch(&wanted, sorted, kept, sizeof *sorted, by_digest);
        found += twin != NULL;
        twins[i] = twin ? twin->place : NO_TWIN;
    }
    free(sorted);
    return found;
}

static size_t repeated(const struct look *looks, size_t count)
{
    struct known_image *sorted;
    size_t kept = sorted_images(looks, count, &sorted), found = 0;
    for (size_t i = 1; i < kept; i++)
        found += by_digest(&sorted[i - 1], &sorted[i]) == 0;
    free(sorted);
    return found;
}

/* ---- near-duplicates ------------------------------------------------------------------------- */

struct edge {
    uint32_t a, b; /* a < b */
};

static int by_ends(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    if (x->a != y->a)
        return x->a < y->a ? -1 : 1;
    return (x->b > y->b) - (x->b < y->b);
}

/* The root of an image's group; paths are halved on the way. */
static uint32_t root_of(uint32_t *parent, uint32_t image)
{
    while (parent[image] != image)
        image = parent[image] = parent[parent[image]];
    return image;
}

/* Groups of images linked by edges. */
static void count_groups(struct duplicates *duplicates, const struct edge *edges, size_t count,
                         size_t images)
{
    uint32_t *parent = memory_grow(NULL, 2 * images + 1, sizeof *parent), *size = parent + images;
    for (size_t i = 0; i < images; i++) {
        parent[i] = (uint32_t)i;
        size[i] = 0;
    }
    for (size_t e = 0; e < count; e++)
        parent[root_of(parent, edges[e].a)] = root_of(parent, edges[e].b);
    for (size_t i = 0; i < images; i++)
        size[root_of(parent, (uint32_t)i)]++;
    for (size_t i = 0; i < images; i++) {
        if (size[i] < 2)
            continue;
        duplicates->groups++;
        duplicates->images += size[i];
        if (size[i] > duplicates->largest)
            duplicates->largest = size[i];
    }
    free(parent);
}

struct duplicates duplicates_of(const struct look *looks, size_t images, const uint32_t *asked,
                                size_t count, const struct neighbour *nearest, size_t k,
                                double limit)
{
    struct duplicates duplicates = { .searched = count,
                                     .complete = true,
                                     .identical = repeated(looks, images) };
    struct edge *edges = NULL;
    size_t found = 0, capacity = 0;
    for (size_t q = 0; q < count; q++) {
        uint32_t image = asked ? asked[q] : (uint32_t)q;
        size_t near = 0;
        for (; !looks[image].constant && near < k; near++) {
            const struct neighbour *other = &nearest[q * k + near];
            if (!(other->correlation >= limit))
                break;
            uint32_t id = (uint32_t)other->id;
            ARRAY_RESERVE(edges, found, capacity);
            edges[found++] = image < id ? (struct edge){ image, id } : (struct edge){ id, image };
        }
        duplicates.complete &= near < k;
    }
    if (found)
        qsort(edges, found, sizeof *edges, by_ends);
    for (size_t e = 0; e < found; e++) /* a pair may stand in both its images' lists */
        if (!e || by_ends(&edges[e - 1], &edges[e]) != 0)
            edges[duplicates.pairs++] = edges[e];
    count_groups(&duplicates, edges, duplicates.pairs, images);
    free(edges);
    return duplicates;
}
