/* The store of named tensors; see store.h. */
#include "tensor/store.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

struct store {
    const struct backend *backend;
    struct mixed mixed;
    enum algorithms algorithms;
    void *workspace;
    size_t workspace_bytes;
    struct arena arena; /* names and tensor structs, which so never move */
    struct tensor **tensors;
    size_t count, capacity;
};

struct store *store_new(const struct backend *backend)
{
    struct store *store = memory_grow(NULL, 1, sizeof *store);
    *store = (struct store){ .backend = backend };
    arena_init(&store->arena);
    return store;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->count; i++)
        store->backend->release(store->tensors[i]->memory);
    store->backend->release(store->workspace);
    arena_release(&store->arena);
    free(store->tensors);
    free(store);
}

const struct backend *store_backend(const struct store *store)
{
    return store->backend;
}

static bool check_available(const struct store *store, size_t bytes, struct error *err)
{
    size_t available = store->backend->available ? store->backend->available() : SIZE_MAX;
    if (available == SIZE_MAX || bytes <= available + store->workspace_bytes)
        return true;
    return error_set(
        err,
        "this plan needs %.1f MB of working memory, and %.1f MB are available: make the "
        "batch or the model smaller, or free memory",
        (double)bytes / 1e6, (double)(available + store->workspace_bytes) / 1e6);
}

bool store_reserve(struct store *store, size_t bytes, struct error *err)
{
    if (bytes <= store->workspace_bytes)
        return true;
    if (!check_available(store, bytes, err))
        return false;
    store->backend->release(store->workspace);
    store->workspace = store->backend->allocate(bytes, "the working memory of a plan", err);
    store->workspace_bytes = store->workspace ? bytes : 0;
    return store->workspace;
}

void *store_workspace(const struct store *store)
{
    return store->workspace;
}

bool store_set_precision(struct store *store, enum precision precision, struct error *err)
{
    const struct backend *backend = store->backend;
    if (precision == PRECISION_BF16 && !(backend->has_bf16 && backend->has_bf16()))
        return error_set(err,
                         "mixed precision: the backend \"%s\" has no fast bf16 arithmetic on this "
                         "machine (on CPUs it takes AVX512-BF16); use f32",
                         backend->name);
    store->mixed.precision = precision;
    return true;
}

void store_set_precision_where(struct store *store, bool (*accepts)(const char *, int64_t),
                               int64_t context)
{
    store->mixed.accepts = accepts;
    store->mixed.context = context;
}

const struct mixed *store_mixed(const struct store *store)
{
    return &store->mixed;
}

enum precision store_precision(const struct store *store)
{
    return store->mixed.precision;
}

void store_set_algorithms(struct store *store, enum algorithms algorithms)
{
    store->algorithms = algorithms;
}

enum algorithms store_algorithms(const struct store *store)
{
    return store->algorithms;
}

size_t store_count(const struct store *store)
{
    return store->count;
}

struct tensor *store_tensor(const struct store *store, size_t i)
{
    CHECK(i < store->count, "tensor %zu of %zu", i, store->count);
    return store->tensors[i];
}

struct tensor *store_find(const struct store *store, const char *name)
{
    for (size_t i = 0; i < store->count; i++)
        if (strcmp(store->tensors[i]->name, name) == 0)
            return store->tensors[i];
    return NULL;
}

struct tensor *store_require(struct store *store, const char *name, enum dtype dtype,
                             struct shape shape, struct error *err)
{
    char there[SHAPE_TEXT], asked[SHAPE_TEXT];
    struct tensor *found = store_find(store, name);
    if (found && (found->dtype != dtype || !shape_equal(found->shape, shape))) {
        error_set(err, "%s: stored as %s %s, but this model expects %s %s", name,
                  dtype_name(found->dtype), shape_text(found->shape, there), dtype_name(dtype),
                  shape_text(shape, asked));
        return NULL;
    }
    if (found)
        return found;
    size_t bytes = shape_count(shape) * store->backend->element_bytes[dtype];
    void *memory = store->backend->allocate(bytes, name, err);
    if (!memory)
        return NULL;
    ARRAY_RESERVE(store->tensors, store->count, store->capacity);
    struct tensor *tensor = arena_new(&store->arena, struct tensor);
    *tensor = (struct tensor){ arena_string(&store->arena, name), dtype, shape, memory, false };
    return store->tensors[store->count++] = tensor;
}

void store_write(struct store *store, struct tensor *tensor, const void *host)
{
    store->backend->copy_in(tensor->memory, host, tensor->dtype, shape_count(tensor->shape));
    tensor->written = true;
}

void store_read(const struct store *store, const struct tensor *tensor, void *host)
{
    store->backend->copy_out(host, tensor->memory, tensor->dtype, shape_count(tensor->shape));
}

bool store_check(const struct store *store, struct error *err)
{
    return store->backend->finish(err);
}
