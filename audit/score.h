/* Folders of masks held against each other: the metrics of overlap.h, subject by subject.
 *
 *     struct score_job job = { .truth = "labels", .prediction = "predictions" };
 *     struct score score;
 *     ok = score_folders(&job, &score, err);
 *     … score.rows[subject * score.class_count + class].value[METRIC_DICE] …
 *     score_release(&score);
 *
 * A mask is a NIfTI file; its subject is the name without .nii, .nii.gz and what marks a mask:
 * _seg, -seg, _dseg, _mask, _label, _pred. Where any file of a folder carries such a mark, those
 * that do not are images and passed over. Folders inside are searched too.
 */
#ifndef AUDIT_SCORE_H
#define AUDIT_SCORE_H

#include "audit/overlap.h"
#include "data/layout.h"

enum score_regions { REGIONS_AUTO, REGIONS_NONE, REGIONS_BRATS, REGIONS_BRATS2023, REGIONS_COUNT };
extern const char *const score_regions_names[REGIONS_COUNT + 1];

struct score_job {
    const char *truth, *prediction; /* folders */
    struct yaml_strings classes;    /* "NAME=1+2", "4"; none: every label that occurs */
    int regions;                    /* enum score_regions */
};

struct score_subject {
    const char *name, *truth, *prediction; /* paths within the folders */
    double spacing[3];
    bool assumed; /* neither file states a spacing: 1 mm */
};

struct score {
    struct score_subject *subjects;
    size_t subject_count;
    struct label_set *classes; /* classes, then regions */
    size_t class_count, region_count;
    struct overlap *rows;              /* subjects × classes */
    struct overlap_summary *summaries; /* by class */
    bool occurs[256];                  /* the labels of the truth */
    size_t ignored;                    /* NIfTI files that are no masks */
    struct problems problems;
    struct arena arena;
};

/* False: either err says why, or score->problems lists what is wrong with which subject (a mask
 * that has no partner, another grid, voxels that are no labels) and err sums up. */
bool score_folders(const struct score_job *job, struct score *score, struct error *err) MUST_USE;
void score_release(struct score *score);

/* A class as it is written on a command line, "NAME=1+2" or "4". */
bool label_set_parse(const char *text, struct label_set *set, struct arena *arena,
                     struct error *err) MUST_USE;

/* As CSV, a line for each subject and class; as JSON, schema lethe/score/1. */
bool score_save_csv(const struct score *score, const char *path, struct error *err) MUST_USE;
struct json *score_json(const struct score *score) MUST_USE;

#endif
