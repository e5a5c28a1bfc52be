/* The FAISS module: lethe-faiss.so, with FAISS and what FAISS needs. Nothing else is linked with
 * any of it.
 *
 * This table is the whole interface between the two. A module of another build is refused instead
 * of misread. What fails returns FAISS' own words, valid until the next call on the same thread;
 * NULL: done.
 */
#ifndef AUDIT_FAISS_MODULE_H
#define AUDIT_FAISS_MODULE_H

#include <stddef.h>
#include <stdint.h>

#define FAISS_MODULE_FILE   "lethe-faiss.so"
#define FAISS_MODULE_SYMBOL "lethe_faiss_module"

enum { FAISS_CPU = -1 }; /* instead of the number of a GPU */

struct flat_index;

struct faiss_module {
    char build[16]; /* LETHE_VERSION */
    size_t size;    /* of this table */

    const char *version; /* "FAISS 1.7.3" */
    int (*gpus)(void);   /* NULL: this FAISS was built without */

    /* An empty index; on that GPU or FAISS_CPU. */
    const char *(*make)(struct flat_index **index, size_t dimensions, int gpu);
    void (*discard)(struct flat_index *index); /* NULL is fine */
    const char *(*add)(struct flat_index *index, size_t count, const float *vectors);
    const char *(*search)(const struct flat_index *index, size_t count, const float *vectors,
                          size_t k, float *scores, int64_t *ids);
};

#endif
