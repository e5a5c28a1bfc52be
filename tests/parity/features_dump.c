/* For the comparison with PyTorch: features of the planes of an array.
 *
 *     features_dump NETWORK WEIGHTS|random PLANES.npy DEVICE > features     (count,2048) of float32
 */
#include "audit/features.h"
#include "base/arena.h"
#include "data/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int network_of(const char *name)
{
    for (int i = 0; i < FEATURE_NETWORKS; i++)
        if (strcmp(feature_network_names[i], name) == 0)
            return i;
    fprintf(stderr, "features_dump: there is no network %s\n", name);
    exit(2);
}

static bool dump(int kind, const char *weights, const struct npy *array, const char *device,
                 struct error *err)
{
    bool random = strcmp(weights, "random") == 0;
    struct feature_settings settings = { random ? "" : weights, device, kind };
    size_t count = array->shape[0], height = array->shape[1], width = array->shape[2];
    struct feature_network *network =
        feature_network_open(&settings, array->type, height, width, err);
    if (!network)
        return false;
    const void **planes = memory_grow(NULL, count, sizeof *planes);
    float *values = memory_grow(NULL, count * FEATURES, sizeof *values);
    for (size_t i = 0; i < count; i++)
        planes[i] = array->data + i * height * width * element_info[array->type].bytes;
    bool ok = feature_network_run(network, planes, count, values, err);
    if (ok)
        fwrite(values, sizeof *values, count * FEATURES, stdout);
    feature_network_free(network);
    free(planes);
    free(values);
    return ok;
}

int main(int argc, char **argv)
{
    struct npy array;
    struct error err;
    if (argc != 5) {
        fputs("usage: features_dump NETWORK WEIGHTS|random PLANES.npy DEVICE\n", stderr);
        return 2;
    }
    bool ok = npy_open(&array, argv[3], &err);
    if (ok) {
        ok = array.rank == 3 ? dump(network_of(argv[1]), argv[2], &array, argv[4], &err)
                             : error_set(&err, "%s: expected (N,H,W)", argv[3]);
        npy_close(&array);
    }
    if (!ok)
        fprintf(stderr, "features_dump: %s\n", err.message);
    return ok ? 0 : 1;
}
