/* One measuring of fidelity while it runs: shared by the files that draw, compute and write. */
#ifndef AUDIT_FIDELITY_RUN_H
#define AUDIT_FIDELITY_RUN_H

#include "audit/features.h"
#include "audit/fidelity.h"
#include "audit/fidelity_measures.h"
#include "audit/sets.h"
#include "base/progress.h"

/* What the synthetic images are held against, and whose images take their place as the control. */
enum against { AGAINST_HOLDOUT, AGAINST_TRAINING, AGAINST_COUNT };
extern const struct against_info {
    const char *name; /* key of the document */
    enum set_role reference, control;
    const char *words; /* "the held-out images" */
} against_info[AGAINST_COUNT];

enum side { SIDE_SYNTHETIC, SIDE_CONTROL, SIDE_COUNT };

/* The images of a set that are looked at, drawn by the seed. */
struct drawn {
    size_t count;
    uint32_t *images; /* ascending: their places in the set */
    uint32_t *rank;   /* of each, in the order of drawing: the first n are those of rank < n */
    uint32_t *groups; /* of each; NULL: each of somebody else */
    uint64_t
        outside; /* values, in the channels compared, that no grey between black and white is */
};

struct compared {
    bool done, with_control;
    size_t images, reference_images, people[SIDE_COUNT], reference_people;
};

struct fidelity_run {
    const struct fidelity_job *job;
    const struct fidelity_settings *settings;
    struct sets sets;
    struct drawn drawn[SET_COUNT];
    struct feature_network *network;
    size_t channels[64], channel_count; /* that are compared */
    const char *work, *features;        /* folders */
    struct compared compared[AGAINST_COUNT];
    double *numbers; /* see numbers_of */
    struct text warnings;
    struct arena arena;
};

static inline size_t stride_of(const struct fidelity_run *run)
{
    return 1 + (size_t)run->settings->bootstrap;
}

/* (MEASURE_ROWS, stride) of a channel, by its place among those compared; the place after the last
 * is the mean's. */
static inline double *numbers_of(const struct fidelity_run *run, size_t channel,
                                 enum against against, enum side side)
{
    size_t place = (channel * AGAINST_COUNT + against) * SIDE_COUNT + side;
    return run->numbers + place * MEASURE_ROWS * stride_of(run);
}

/* fidelity_features.c: a channel of an image of a set; and the features (count,FEATURES) of the
 * drawn images of a set, in one channel: what is computed stays in run->features until the run is
 * over. */
const void *fidelity_plane(const struct audit_set *set, uint32_t image, size_t channel);
bool fidelity_features_open(struct fidelity_run *run, struct error *err) MUST_USE;
bool fidelity_features_of(struct fidelity_run *run, enum set_role role, size_t channel,
                          struct progress *progress, float *values, struct error *err) MUST_USE;

/* fidelity_result.c: fidelity.json; says in run->warnings what it has to be read with. */
struct json *fidelity_document(struct fidelity_run *run);

#endif
