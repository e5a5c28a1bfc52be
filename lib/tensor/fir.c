/* See fir.h. */
#include "tensor/fir.h"

#include "base/arena.h"

#include <math.h>
#include <stdlib.h>

/* Both factors are taken through the largest element; what they cannot give is told. */
static bool factorise(const struct fir *fir, float *vertical, float *horizontal)
{
    int columns = fir->columns, count = fir->rows * columns, best = 0;
    for (int i = 0; i < count; i++)
        best = fabsf(fir->matrix[i]) > fabsf(fir->matrix[best]) ? i : best;
    float pivot = fir->matrix[best];
    for (int i = 0; i < fir->rows; i++)
        vertical[i] = fir->matrix[i * columns + best % columns];
    for (int i = 0; i < columns; i++)
        horizontal[i] = pivot != 0 ? fir->matrix[best / columns * columns + i] / pivot : 0;
    for (int i = 0; i < count; i++)
        if (fabsf(vertical[i / columns] * horizontal[i % columns] - fir->matrix[i]) >
            1e-6f * fabsf(pivot))
            return false;
    return true;
}

struct fir fir_of(const struct node *node)
{
    const struct node *constant = node->src[1];
    const float *f = constant->constant.values;
    float fill = (float)constant->constant.fill;
    struct shape shape = constant->shape;
    int rows = (int)shape.size[0], columns = (int)shape.size[shape.rank - 1];
    struct fir fir = { .rows = rows, .columns = columns };
    fir.matrix = memory_grow(NULL, (size_t)(rows * columns), sizeof *fir.matrix);
    for (int i = 0; i < rows * columns; i++) {
        int at = node->upfirdn.flip ? i : rows * columns - 1 - i;
        fir.matrix[i] = shape.rank == 2 ? (f ? f[at] : fill)
                        : f             ? f[at / columns] * f[at % columns]
                                        : fill * fill;
    }
    fir.vertical = memory_grow(NULL, (size_t)rows, sizeof *fir.vertical);
    fir.horizontal = memory_grow(NULL, (size_t)columns, sizeof *fir.horizontal);
    if (!factorise(&fir, fir.vertical, fir.horizontal)) {
        free(fir.vertical);
        free(fir.horizontal);
        fir.vertical = fir.horizontal = NULL;
    }
    return fir;
}

void fir_release(struct fir *fir)
{
    free(fir->matrix);
    free(fir->vertical);
    free(fir->horizontal);
}
