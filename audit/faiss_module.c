/* The FAISS module; see faiss_module.h. This file and faiss_shim.cpp are the whole contact surface
 * with FAISS. */
#include "audit/faiss_module.h"

#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#ifdef LETHE_FAISS_GPU
#include <faiss/c_api/gpu/GpuAutoTune_c.h>
#include <faiss/c_api/gpu/StandardGpuResources_c.h>
int faiss_get_num_gpus(int *count); /* its own header cannot be included once it is installed */
#else
typedef struct FaissStandardGpuResources FaissStandardGpuResources; /* never made */
#endif

#include <stdlib.h>

struct flat_index {
    FaissIndex *index;
    FaissStandardGpuResources *resources; /* of a GPU; NULL: on the processor */
};

#ifdef LETHE_FAISS_GPU
static int count_gpus(void)
{
    int count = 0;
    return faiss_get_num_gpus(&count) == 0 ? count : 0;
}

static const char *move_to(struct flat_index *flat, int gpu)
{
    FaissGpuIndex *moved = NULL;
    if (faiss_StandardGpuResources_new(&flat->resources) != 0 ||
        faiss_index_cpu_to_gpu((FaissGpuResourcesProvider *)flat->resources, gpu, flat->index,
                               &moved) != 0)
        return faiss_get_last_error();
    faiss_Index_free(flat->index);
    flat->index = (FaissIndex *)moved;
    return NULL;
}

static void free_resources(struct flat_index *flat)
{
    if (flat->resources)
        faiss_StandardGpuResources_free(flat->resources);
}
#else
#define count_gpus NULL

static const char *move_to(struct flat_index *flat, int gpu)
{
    (void)flat, (void)gpu;
    return "this FAISS was built without GPUs";
}

static void free_resources(struct flat_index *flat)
{
    (void)flat;
}
#endif

static void discard(struct flat_index *flat)
{
    if (!flat)
        return;
    faiss_Index_free(flat->index);
    free_resources(flat); /* an index needs them to its end */
    free(flat);
}

static const char *make(struct flat_index **out, size_t dimensions, int gpu)
{
    FaissIndexFlatIP *made = NULL;
    if (faiss_IndexFlatIP_new_with(&made, (idx_t)dimensions) != 0)
        return faiss_get_last_error();
    struct flat_index *flat = calloc(1, sizeof *flat);
    if (!flat) {
        faiss_Index_free((FaissIndex *)made);
        return "out of memory";
    }
    flat->index = (FaissIndex *)made;
    const char *why = gpu == FAISS_CPU ? NULL : move_to(flat, gpu);
    if (why)
        discard(flat);
    else
        *out = flat;
    return why;
}

static const char *add(struct flat_index *flat, size_t count, const float *vectors)
{
    return faiss_Index_add(flat->index, (idx_t)count, vectors) == 0 ? NULL : faiss_get_last_error();
}

static const char *search(const struct flat_index *flat, size_t count, const float *vectors,
                          size_t k, float *scores, int64_t *ids)
{
    return faiss_Index_search(flat->index, (idx_t)count, vectors, (idx_t)k, scores, ids) == 0
               ? NULL
               : faiss_get_last_error();
}

extern const struct faiss_module lethe_faiss_module;

__attribute__((visibility("default")))
const struct faiss_module lethe_faiss_module = { LETHE_VERSION,
                                                 sizeof(struct faiss_module),
                                                 "FAISS " LETHE_FAISS,
                                                 count_gpus,
                                                 make,
                                                 discard,
                                                 add,
                                                 search };
