/* Ingest: from a folder of scans to a dataset store.
 *
 *     struct ingest_settings settings = ingest_defaults;
 *     settings.source = "MICCAI_BraTS2020_TrainingData";
 *     struct ingest_report report;
 *     ok = ingest(&settings, "run/dataset", false, &report, err);
 *     … report.problems …
 *     ingest_report_release(&report);
 *
 * The defaults are the protocol of Usman Akbar et al. (Sci Data 11:259, 2024): every modality is
 * scaled by its volume's maximum to 0 … 255, planes are padded to 256 × 256, an axial slice is kept
 * if more than 15 % of its padded pixels have T1 > 50, and subjects, never slices, are split.
 *
 * Scans are read in parallel and written in the order of subjects, so the store does not depend on
 * the number of threads; memory is bounded by one volume and its kept slices a thread.
 */
#ifndef DATA_INGEST_H
#define DATA_INGEST_H

#include "base/digest.h"
#include "data/layout.h"
#include "data/dataset.h"
#include "data/volume.h"

enum intensity {
    INTENSITY_AUTO,
    INTENSITY_MAXIMUM,
    INTENSITY_PERCENTILE,
    INTENSITY_NONE,
    INTENSITY_COUNT
};
enum masks { MASKS_AUTO, MASKS_REQUIRED, MASKS_NONE, MASKS_COUNT };
enum on_bad { ON_BAD_FAIL, ON_BAD_SKIP, ON_BAD_COUNT };

/* Defaults and meaning of each stand in ingest_fields, which serves the plan, the command line
 * and the help. */
struct ingest_settings {
    const char *source, *mask_pattern, *keep_channel, *split_file, *subjects_file;
    struct yaml_strings channels, labels;
    int layout, role, plane, intensity, masks, type, on_bad; /* the enums */
    double percentile, keep_share, keep_above, holdout, validation;
    int64_t canvas, size, seed;
};
extern const struct ingest_settings ingest_defaults;
extern const struct yaml_field ingest_fields[];

/* The most extreme of all scans, and whose it is; NULL: there was none. */
struct extreme {
    double value;
    const char *subject;
};

struct ingest_report {
    struct problems problems; /* by subject; with on_bad skip these were left out */
    size_t subjects, images;  /* written */
    size_t partly_skipped;    /* subjects with a scan left out, and others written */
    size_t images_in[SPLIT_COUNT], subjects_in[SPLIT_COUNT];
    size_t scans_seen;
    bool subjects_unknown; /* real images, each of which counts as a subject of its own */
    double deep;           /* as in scan.h, of all that became bytes; 0: there are none such */
    struct extreme least_pixel, greatest_pixel; /* sides of a pixel in mm, where files say it */
    struct extreme below; /* as in scan.h: how far below 0 values lie, which become black */
    const char *layout;   /* the name of the one that was used */
    const char *foreign;  /* as in layout.h */
};

/* Writes the store. False: either err says why, or report->problems lists the bad subjects (and
 * err sums up); in both cases nothing was written. `replace` exchanges an existing store (and
 * nothing else). */
bool ingest(const struct ingest_settings *settings, const char *out, bool replace,
            struct ingest_report *report, struct error *err) MUST_USE;
void ingest_report_release(struct ingest_report *report);

/* The digest of everything that decides about the store: settings, and the names and contents of
 * the source's files. For telling whether a store is up to date. */
bool ingest_inputs_digest(const struct ingest_settings *settings, struct digest *digest,
                          struct error *err) MUST_USE;

#endif
