/* FAISS, when it is asked for; see faiss.h. */
#include "audit/faiss.h"

#include "audit/blas.h"
#include "audit/faiss_module.h"
#include "base/plugin.h"

#include <string.h>

static struct error reason; /* why there is no module */

/* OpenBLAS comes first, with what it has to be told before it starts: FAISS is linked with it. */
static const struct faiss_module *load(void)
{
    if (!blas_set_threads(1, &reason)) {
        error_set(&reason, "OpenBLAS, which it needs, cannot be used (lethe doctor tells why)");
        return NULL;
    }
    const struct faiss_module *module =
        plugin_open(FAISS_MODULE_FILE, FAISS_MODULE_SYMBOL, &reason);
    if (!module)
        error_set(&reason,
                  "%s; install libfaiss-dev and g++, then configure and build again, or use the "
                  "engine certified, which gives the same answer",
                  reason.message);
    else if (strcmp(module->build, LETHE_VERSION) == 0 && module->size == sizeof *module)
        return module;
    else
        error_set(&reason, "%s is of another build than the program; build or install both anew",
                  FAISS_MODULE_FILE);
    return NULL;
}

static const struct faiss_module *module_of(void)
{
    static const struct faiss_module *module;
    if (!module)
        module = load();
    return module;
}

const char *faiss_missing(void)
{
    return module_of() ? NULL : reason.message;
}

const char *faiss_version(void)
{
    const struct faiss_module *module = module_of();
    return module ? module->version : "none";
}

const char *flat_index_gpu_missing(void)
{
    const struct faiss_module *module = module_of();
    if (!module)
        return faiss_missing();
    return module->gpus ? NULL
                        : "this FAISS has no GPU: its C library was built without "
                          "(faiss/c_api/gpu); use the engine certified, which has, or --device cpu";
}

int flat_index_gpus(void)
{
    const struct faiss_module *module = module_of();
    return module && module->gpus ? module->gpus() : 0;
}

static bool make(struct flat_index **index, size_t dimensions, int gpu, struct error *err)
{
    const struct faiss_module *module = module_of();
    if (!module)
        return error_set(err, "there is no FAISS: %s", faiss_missing());
    const char *why = module->make(index, dimensions, gpu);
    return !why || error_set(err, "FAISS cannot make an index%s: %s",
                             gpu == FAISS_CPU ? "" : " on the GPU", why);
}

bool flat_index_new(struct flat_index **index, size_t dimensions, struct error *err)
{
    return make(index, dimensions, FAISS_CPU, err);
}

bool flat_index_new_on(struct flat_index **index, size_t dimensions, int gpu, struct error *err)
{
    if (flat_index_gpu_missing())
        return error_set(err, "%s", flat_index_gpu_missing());
    return make(index, dimensions, gpu, err);
}

void flat_index_free(struct flat_index *index)
{
    if (index)
        module_of()->discard(index);
}

bool flat_index_add(struct flat_index *index, size_t count, const float *vectors, struct error *err)
{
    const char *why = module_of()->add(index, count, vectors);
    return !why || error_set(err, "FAISS cannot add images to its index: %s", why);
}

bool flat_index_search(const struct flat_index *index, size_t count, const float *vectors, size_t k,
                       float *scores, int64_t *ids, struct error *err)
{
    const char *why = module_of()->search(index, count, vectors, k, scores, ids);
    return !why || error_set(err, "FAISS cannot search: %s", why);
}
