/* For the comparisons with other implementations: reads cases, writes what overlap.h and distance.h
 * make of them.
 *
 * A case on standard input: three int32, the shape along x, y and z; three float64, the spacing;
 * the true and the predicted mask, a byte a voxel, x fastest. On standard output, float64: the
 * metrics in the order of enum metric, then every voxel's distance² from the true mask.
 */
#include "audit/distance.h"
#include "audit/overlap.h"
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>

static void must_read(void *bytes, size_t size)
{
    CHECK(fread(bytes, 1, size, stdin) == size, "a case that is cut short");
}

static void answer(const int32_t size[3])
{
    static const struct label_set one = { "1", { [1] = true } };
    struct label_pair pair = { 0 };
    struct overlap overlap;
    struct error err;
    size_t voxels = 1;
    for (int axis = 0; axis < 3; axis++)
        voxels *= pair.shape[axis] = (size_t)size[axis];
    must_read(pair.spacing, sizeof pair.spacing);
    uint8_t *masks = malloc(2 * voxels);
    double *squared = malloc(voxels * sizeof *squared);
    must_read(masks, 2 * voxels);
    pair.truth = masks;
    pair.prediction = masks + voxels;
    CHECK(overlap_measure(&pair, &one, &overlap, &err) &&
              distance_squared(pair.truth, pair.shape, pair.spacing, squared, &err),
          "%s", err.message);
    fwrite(overlap.value, sizeof(double), METRIC_COUNT, stdout);
    fwrite(squared, sizeof(double), voxels, stdout);
    free(masks);
    free(squared);
}

int main(void)
{
    int32_t size[3];
    while (fread(size, sizeof size, 1, stdin) == 1)
        answer(size);
    return 0;
}
