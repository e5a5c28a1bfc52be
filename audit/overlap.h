/* How well a predicted mask agrees with the true one: overlap and distances between surfaces.
 *
 *     struct label_pair pair = { truth, prediction, { 240, 240, 155 }, { 1, 1, 1 } };
 *     struct label_set core = label_set_of("core", 2, (const uint8_t[]){ 1, 4 });
 *     struct overlap overlap;
 *     ok = overlap_measure(&pair, &core, &overlap, err);
 *     … overlap.value[METRIC_DICE] …
 *
 * With T the truth, P the prediction and | | counting voxels:
 *
 *     dice                2|T∩P| / (|T|+|P|)
 *     hausdorff_max, _95  mm; over the distances of T's surface from P's and of P's from T's, taken
 *                         together, the greatest and the 95th percentile (linear interpolation)
 *     precision, recall   |T∩P| / |P|,  |T∩P| / |T|
 *     volume_difference   ml; that of P minus that of T
 *
 * The surface of a mask is its voxels with a face that belongs to a voxel outside the mask, or to
 * the volume's border: MedPy's definition (medpy.metric.binary, connectivity 1), and so is the
 * percentile. Axes with a single voxel are left out: one plane is a 2-D image.
 *
 * Empty masks: what a formula makes 0/0 of, and a distance from nothing, is undefined, NaN, and so
 * left out of means. That is dice, precision and recall where both are empty; precision where P is;
 * recall where T is; distances where either is. Dice is 0 where one is empty and the other not.
 */
#ifndef AUDIT_OVERLAP_H
#define AUDIT_OVERLAP_H

#include "base/error.h"

#include <stdint.h>

enum metric {
    METRIC_DICE,
    METRIC_HAUSDORFF_MAX,
    METRIC_HAUSDORFF_95,
    METRIC_PRECISION,
    METRIC_RECALL,
    METRIC_VOLUME_DIFFERENCE,
    METRIC_COUNT
};

struct metric_info {
    const char *name, *unit; /* "" of a share */
};
extern const struct metric_info metrics[METRIC_COUNT];

/* Labels that together are one class or region. */
struct label_set {
    const char *name;
    bool holds[256];
};
struct label_set label_set_of(const char *name, size_t count, const uint8_t *labels);

/* The regions of the BraTS challenges: whole tumour, core, enhancing. Until 2021 enhancing tumour
 * is label 4, from 2023 on it is 3. */
enum { REGION_COUNT = 3 };
extern const struct region_scheme {
    const char *name;
    uint8_t labels[REGION_COUNT][3]; /* 0 ends a list */
} region_schemes[];
extern const char *const region_names[REGION_COUNT];
/* The scheme that these labels show by themselves: until 2021's, where 4 is among them and none but
 * 1, 2 and 4. Labels 1, 2 and 3 may be anything, so 2023's has to be asked for. NULL otherwise. */
const struct region_scheme *region_scheme_of(const bool occurs[256]);
struct label_set region_set(const struct region_scheme *scheme, int region);

struct label_pair {
    const uint8_t *truth, *prediction; /* labels, x fastest */
    size_t shape[3];                   /* along x, y, z */
    double spacing[3];                 /* mm */
};

struct overlap {
    size_t truth, prediction, common; /* voxels */
    double value[METRIC_COUNT];
};

/* False where memory runs out. */
bool overlap_measure(const struct label_pair *pair, const struct label_set *labels,
                     struct overlap *overlap, struct error *err) MUST_USE;

/* Many subjects: of each metric those that define it, and how often a mask was empty. */
struct overlap_summary {
    size_t subjects;
    size_t both_empty, truth_empty, prediction_empty; /* each subject at most once */
    struct {
        size_t count;
        double mean, sd; /* NaN without a value; sd of a sample: NaN of one value, too */
    } metric[METRIC_COUNT];
};
struct overlap_summary overlap_summarise(const struct overlap *overlaps, size_t count,
                                         size_t stride);

/* Mean and deviation, as above, of the values that are not NaN. Returns how many. */
size_t mean_of(const double *values, size_t count, double *mean, double *sd);

/* {subjects, empty: {both, truth, prediction}, dice: {count, mean, sd}, …}. */
struct json;
struct json *overlap_summary_json(const struct overlap_summary *summary) MUST_USE;

#endif
