/* The training cases of cases.py a second time, on the engine: the same networks, losses, draws and
 * optimisers, phase by phase. The parity tests replay the twin's draws; the benchmark draws anew.
 *
 *     struct training training;
 *     training_init(&training, "unet", CASE_SETTINGS, &(struct case_options){ .batch = 8 }, &err);
 *     struct plan *plan = training_plan(&training, i, store, &err);     // phase i, with its
 * updates training_release(&training);
 *
 * Names are cases.py's: networks "model", or "G" and "D"; phases; terms; draws, which are inputs
 * of the graph under their own names when they are replayed.
 */
#ifndef TESTS_PARITY_CASE_H
#define TESTS_PARITY_CASE_H

#include "base/arena.h"
#include "base/json.h"
#include "models/diffusion.h"
#include "nn/optimiser.h"

enum { CASE_PHASES = 5, CASE_TERMS = 3, CASE_OUTPUTS = 3 };

struct term {
    const char *name;
    struct node *value; /* a scalar */
    double weight;
};

struct phase {
    const char *name;
    struct term terms[CASE_TERMS];
    int term_count;
    struct node **parameters, **gradients; /* of the weighted terms' sum */
    size_t parameter_count;
    struct updates updates;
};

/* What the networks give for given draws, under export.py's names. */
struct named_output {
    const char *name;
    struct node *value;
};

struct case_options {
    int batch;
    double rate;  /* factor on the learning rates; 0: 1 */
    bool replay;  /* draws are inputs, not random leaves */
    bool path;    /* stylegan2: with the path length phase */
    bool learned; /* ddpm: learned variances */
};

struct training {
    struct graph *graph;
    struct arena arena;
    struct case_options options;
    struct phase phases[CASE_PHASES]; /* the last has no terms: what follows the optimisers */
    int phase_count;
    struct named_output outputs[CASE_OUTPUTS];
    int output_count;
    struct diffusion diffusion; /* ddpm */
    double images_seen;         /* stylegan2's average */
};

/* Builds a case, "unet", "ddpm" or "stylegan2", from cases.py's settings as a JSON object. */
bool training_init(struct training *training, const char *name, const struct json *settings,
                   const struct case_options *options, struct error *err) MUST_USE;
void training_release(struct training *training);

/* The settings of cases.py's benchmark, and of its small size, as JSON text, and their batch. */
const char *training_benchmark(const char *name, int *batch);
const char *training_small(const char *name, int *batch);

/* The plan of a phase: its terms as outputs, its updates assigned. */
struct plan *training_plan(const struct training *training, int phase, struct store *store,
                           struct error *err) MUST_USE;

/* A plan that gives all parameters and all state their first values. */
struct plan *training_plan_initial(const struct training *training, struct store *store,
                                   struct error *err) MUST_USE;

/* To be written before each step to the input "decay", where the graph has it: the moving
 * average's decay. Counts the images of the step. */
float training_next_decay(struct training *training);

#endif
