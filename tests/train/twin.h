/* The parity tests' cases, which agree with PyTorch, trained for a few steps: what recipes are held
 * against. Hides parity/case.h, whose types have the names of train/recipe.h's. */
#ifndef TESTS_TRAIN_TWIN_H
#define TESTS_TRAIN_TWIN_H

#include "tensor/store.h"

struct twin_run {
    const char *name, *settings; /* of the case; settings as JSON */
    int batch;
    bool learned, path; /* as of case_options */
    const float *real;  /* (batch,…), the same at each step */
    int steps;
    uint64_t seed;
};

/* The store after the steps, all phases at each; NULL and a message. */
struct store *twin_train(const struct twin_run *run, struct error *err);

#endif
