/* The training cases of cases.py a second time: the recipes of lib/train, which users train with,
 * under the settings of the case. The parity tests replay the twin's draws; others draw anew.
 *
 *     struct parity_case of;
 *     case_open(&of, "unet", CASE_SETTINGS, &(struct case_options){ .batch = 8 }, &err);
 *     struct plan *plan = training_plan(&of.training, i, store, &err);      // train/runner.h
 *     case_close(&of);
 *
 * Phases and terms have cases.py's names.
 */
#ifndef TESTS_PARITY_CASE_H
#define TESTS_PARITY_CASE_H

#include "base/json.h"
#include "train/runner.h"

enum { CASE_OUTPUTS = 3 };

/* What the networks give for given draws, under export.py's names. */
struct named_output {
    const char *name;
    struct node *value;
};

struct case_options {
    int batch;
    int64_t steps; /* that learning rates are scheduled over; 0: many */
    double rate;   /* factor on the learning rates; 0: 1 */
    bool replay;   /* draws are inputs, not random leaves; and there are outputs */
    bool path;     /* stylegan2: with the path length phase */
    bool learned;  /* ddpm: learned variances */
    bool rotation; /* stylegan3: R */
};

struct parity_case {
    struct training training;
    struct named_output outputs[CASE_OUTPUTS];
    int output_count;
    bool bare;  /* parameters are named as within the twin's network "model" */
    int layers; /* stylegan, stylegan2: styles of an image */
    struct arena arena;
};

/* Builds a case, "unet", "swin", "ddpm", "progan", "stylegan", "stylegan2" or "stylegan3", from
 * cases.py's settings as JSON; "ddpm-learned", "stylegan2-path" and "stylegan3-r" are these with an
 * option. */
bool case_open(struct parity_case *of, const char *name, const struct json *settings,
               const struct case_options *options, struct error *err) MUST_USE;
void case_close(struct parity_case *of);

/* The same at one of cases.py's sizes: of the benchmark on processors, of exports and their
 * replays, of the benchmark on GPUs (the presets' and the study's networks at 256²). */
enum case_size { CASE_BENCHMARK, CASE_SMALL, CASE_LARGE, CASE_SIZES };
bool case_open_usual(struct parity_case *of, const char *name, enum case_size size,
                     const struct case_options *options, struct error *err) MUST_USE;

/* Whether a tensor is a network's own: no moment, no average, no other state of training. */
bool case_owns(const struct parity_case *of, const char *tensor);
/* The engine's name of what the twin calls "model.NAME", "G.NAME", "D.NAME"; and the reverse. */
const char *case_name(const struct parity_case *of, const char *name);
const char *case_twin_name(const struct parity_case *of, const char *name, char twin[256]);

/* Replaying: the twin's name of an input, and what the input is where the twin drew `value`. */
const char *case_draw_name(const struct node *input, char name[256]);
double case_draw(const struct parity_case *of, const struct node *input, double value);

#endif
