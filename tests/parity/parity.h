/* What the parity tests share: reading the twins' vectors in double precision, and moving doubles
 * in and out of plans and stores.
 *
 * The reference backend keeps every element as a double, so there values pass at full precision;
 * other backends get and give them in the tensor's own type.
 */
#ifndef TESTS_PARITY_PARITY_H
#define TESTS_PARITY_PARITY_H

#include "base/arena.h"
#include "data/safetensors.h"
#include "tensor/plan.h"
#include "tensor/ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline double vector_value(const struct tensor_entry *vector, size_t i)
{
    if (vector->type == ELEMENT_FLOAT64)
        return ((const double *)vector->data)[i];
    if (vector->type == ELEMENT_FLOAT32)
        return ((const float *)vector->data)[i];
    CHECK(vector->type == ELEMENT_INT64, "%s: an element type that no twin writes", vector->name);
    return (double)((const int64_t *)vector->data)[i];
}

static inline struct shape vector_shape(const struct tensor_entry *vector)
{
    struct shape shape = { .rank = vector->rank };
    for (int axis = 0; axis < vector->rank; axis++)
        shape.size[axis] = (int64_t)vector->shape[axis];
    return shape;
}

/* Values as host memory in the dtype; to be freed. */
static inline void *narrow(const double *values, size_t count, enum dtype dtype)
{
    char *host = malloc(count * 4);
    for (size_t i = 0; i < count; i++)
        if (dtype == DTYPE_I32)
            ((int32_t *)(void *)host)[i] = (int32_t)values[i];
        else
            ((float *)(void *)host)[i] = (float)values[i];
    return host;
}

/* Elements [first, first + count) of a vector, as host memory in the dtype; to be freed. */
static inline void *vector_host(const struct tensor_entry *vector, size_t first, size_t count,
                                enum dtype dtype)
{
    char *host = malloc(count * 4);
    for (size_t i = 0; i < count; i++) {
        double value = vector_value(vector, first + i);
        if (dtype == DTYPE_I32)
            ((int32_t *)(void *)host)[i] = (int32_t)value;
        else
            ((float *)(void *)host)[i] = (float)value;
    }
    return host;
}

static inline void refine(const struct backend *backend, void *memory,
                          const struct tensor_entry *vector, size_t first, size_t count)
{
    for (size_t i = 0; backend == &ref_backend && memory && i < count; i++)
        ((double *)memory)[i] = vector_value(vector, first + i);
}

/* Writes elements from `first` on to an input, to a parameter. */
static inline void write_input(struct plan *plan, const struct backend *backend,
                               const struct node *input, const struct tensor_entry *vector,
                               size_t first)
{
    size_t count = shape_count(input->shape);
    void *host = vector_host(vector, first, count, input->dtype);
    plan_write(plan, input, host);
    refine(backend, plan_memory(plan, input), vector, first, count);
    free(host);
}

static inline void write_tensor(struct store *store, struct tensor *tensor,
                                const struct tensor_entry *vector)
{
    size_t count = shape_count(tensor->shape);
    void *host = vector_host(vector, 0, count, tensor->dtype);
    store_write(store, tensor, host);
    refine(store_backend(store), tensor->memory, vector, 0, count);
    free(host);
}

/* An output, a tensor as doubles; to be freed. */
static inline double *widen(float *host, size_t count)
{
    double *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = host[i];
    free(host);
    return values;
}

static inline double *read_output(const struct plan *plan, const struct backend *backend,
                                  const struct node *output)
{
    size_t count = shape_count(output->shape);
    if (backend == &ref_backend)
        return memcpy(malloc(count * sizeof(double)), plan_memory(plan, output),
                      count * sizeof(double));
    float *host = malloc(count * sizeof *host);
    plan_read(plan, output, host);
    return widen(host, count);
}

static inline double *read_tensor(const struct store *store, const struct tensor *tensor)
{
    size_t count = shape_count(tensor->shape);
    if (store_backend(store) == &ref_backend)
        return memcpy(malloc(count * sizeof(double)), tensor->memory, count * sizeof(double));
    float *host = malloc(count * sizeof *host);
    store_read(store, tensor, host);
    return widen(host, count);
}

/* How far values are from a vector's: the largest difference, the largest value, and the mean
 * squares of both. */
struct distance {
    double difference, largest, square, square_value;
    size_t count;
};

static inline void distance_add(struct distance *distance, const double *value,
                                const struct tensor_entry *vector, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double expected = vector_value(vector, first + i), d = fabs(value[i] - expected);
        distance->difference = d <= distance->difference ? distance->difference : d; /* NaN too */
        distance->largest = fmax(distance->largest, fabs(expected));
        distance->square += d * d;
        distance->square_value += expected * expected;
    }
    distance->count += count;
}

#endif
