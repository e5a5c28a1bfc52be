/* A store of named tensors: what outlives a step. Parameters, moments, running averages.
 *
 *     struct store *store = store_new(&ref_backend);
 *     struct tensor *w = store_find(store, "conv0.weight");
 *     store_write(store, w, values);
 *
 * Plans find their parameters here by name, and add those that are missing, still without a
 * value: running a plan that reads one is an error until it was written, or assigned by a plan.
 */
#ifndef TENSOR_STORE_H
#define TENSOR_STORE_H

#include "tensor/backend.h"
#include "tensor/precision.h"

struct tensor {
    const char *name;
    enum dtype dtype;
    struct shape shape;
    void *memory; /* of the backend, dense */
    bool written;
};

struct store;

struct store *store_new(const struct backend *backend);
void store_free(struct store *store); /* with all tensors; NULL is fine */

const struct backend *store_backend(const struct store *store);

/* Memory that the plans of a store share for what does not outlive a run, of at least so many
 * bytes; so plans of one store are run one after another. A larger request may move it. NULL and a
 * message when it cannot be had. store_workspace gives what is there. */
bool store_reserve(struct store *store, size_t bytes, struct error *err) MUST_USE;
void *store_workspace(const struct store *store);

/* In which precision the plans of this store do their matrix work, from now on; see precision.h.
 * False and a message where the backend gains nothing from it on this machine. */
bool store_set_precision(struct store *store, enum precision precision, struct error *err) MUST_USE;
/* Only in layers whose scope `accepts` says yes to; those of others stay f32. */
void store_set_precision_where(struct store *store, bool (*accepts)(const char *, int64_t),
                               int64_t context);
enum precision store_precision(const struct store *store);
const struct mixed *store_mixed(const struct store *store);

/* How the plans of this store that are made from now on choose algorithms; deterministic at first.
 * Backends that have no choice ignore it. */
void store_set_algorithms(struct store *store, enum algorithms algorithms);
enum algorithms store_algorithms(const struct store *store);

size_t store_count(const struct store *store);
struct tensor *store_tensor(const struct store *store, size_t i);       /* in order of adding */
struct tensor *store_find(const struct store *store, const char *name); /* NULL: none */

/* The tensor of that name, added when there is none. NULL and a message when one of another dtype
 * or shape is there, or memory runs out. */
struct tensor *store_require(struct store *store, const char *name, enum dtype dtype,
                             struct shape shape, struct error *err) MUST_USE;

/* All elements, from and to host memory in the tensor's own dtype. */
void store_write(struct store *store, struct tensor *tensor, const void *host);
void store_read(const struct store *store, const struct tensor *tensor, void *host);

/* To be asked after reading, as plan_check (plan.h): whether the device has not failed since. */
bool store_check(const struct store *store, struct error *err) MUST_USE;

#endif
