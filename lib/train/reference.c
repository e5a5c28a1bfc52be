/* Who is in which half; see reference.h. */
#include "train/reference.h"

#include "base/random.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(...) YAML_FIELD(struct reference_settings, __VA_ARGS__)

const struct yaml_field reference_fields[] = {
    FIELD(count, YAML_INTEGER, .minimum = 0, .maximum = REFERENCES_MOST, .metavar = "N",
          .help = "trained, each on half of all people, in pairs: 2, 4 …; 0: none"),
    { 0 },
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_asked_about(const struct dataset_image *image)
{
    return image->split == SPLIT_TRAIN || image->split == SPLIT_HOLDOUT;
}

/* The names of those in training or held out, each once, in byte order. */
static size_t people_of(const struct dataset *store, const char **names)
{
    size_t rows = 0, count = 0;
    for (size_t i = 0; i < store->count; i++)
        if (is_asked_about(&store->index[i]))
            names[rows++] = store->index[i].subject;
    qsort(names, rows, sizeof *names, by_name);
    for (size_t i = 0; i < rows; i++)
        if (!count || strcmp(names[i], names[count - 1]) != 0)
            names[count++] = names[i];
    return count;
}

static bool holds_out(const struct dataset *store)
{
    for (size_t i = 0; i < store->count; i++)
        if (store->index[i].split == SPLIT_HOLDOUT)
            return true;
    return false;
}

/* Marks one half of a permutation: of an odd number of people the first has one more. */
static size_t mark_half(bool *chosen, size_t count, uint64_t seed, uint64_t number)
{
    size_t *order = memory_grow(NULL, count, sizeof *order), first = (count + 1) / 2, marked = 0;
    bool is_first = number % 2;
    random_permutation(seed, random_stream("train.reference") + (number - 1) / 2, count, order);
    for (size_t i = 0; i < count; i++) {
        chosen[order[i]] = (i < first) == is_first;
        marked += chosen[order[i]];
    }
    free(order);
    return marked;
}

static void digest_names(const char *const *names, const bool *chosen, size_t count,
                         char hex[DIGEST_HEX])
{
    struct text lines = { 0 };
    for (size_t i = 0; i < count; i++)
        if (chosen[i])
            text_format(&lines, "%s\n", names[i]);
    struct digest digest = digest_of(lines.bytes ? lines.bytes : "", lines.length);
    digest_hex(&digest, hex);
    text_release(&lines);
}

static bool mark_rows(const struct dataset *store, const char *const *names, const bool *chosen,
                      size_t count, struct reference *reference, struct error *err)
{
    reference->learns =
        memory_allocate(store->count, sizeof(bool), "whom a reference learns from", err);
    for (size_t i = 0; reference->learns && i < store->count; i++) {
        const char *const *who =
            is_asked_about(&store->index[i])
                ? bsearch(&store->index[i].subject, names, count, sizeof *names, by_name)
                : NULL;
        reference->learns[i] = who && chosen[who - names];
    }
    return reference->learns;
}

bool reference_draw(const struct dataset *store, uint64_t seed, uint64_t number,
                    struct reference *reference, struct error *err)
{
    *reference = (struct reference){ 0 };
    if (!holds_out(store))
        return error_set(
            err,
            "%s: no images are held out; a reference is for membership, which compares "
            "training with people who are: ingest with a holdout",
            store->path);
    const char **names = memory_grow(NULL, store->count, sizeof *names);
    size_t count = people_of(store, names);
    bool *chosen = memory_grow(NULL, count, sizeof *chosen);
    reference->people = mark_half(chosen, count, seed, number);
    digest_names(names, chosen, count, reference->half);
    bool ok = reference->people
                  ? mark_rows(store, names, chosen, count, reference, err)
                  : error_set(err, "%s: of one person there is no second half to learn from",
                              store->path);
    free(chosen);
    free(names);
    return ok;
}

void reference_release(struct reference *reference)
{
    memory_free(reference->learns);
    *reference = (struct reference){ 0 };
}
