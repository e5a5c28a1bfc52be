/* Fidelity: whether synthetic images look like patients' images, and are as varied, by features of
 * a network that was trained on neither.
 *
 *     struct fidelity_job job = { .train = "run/dataset", .synthetic = "run/synthetic",
 *                                 .out = "run/fidelity", .settings = &settings };
 *     struct fidelity_report report;
 *     ok = fidelity(&job, &report, err);
 *     fidelity_report_release(&report);
 *
 * The synthetic set is held against two references, each with a control: real images that take the
 * place of the synthetic ones, as many of them, so that it can be seen what a perfect generator
 * would get from so few images of so few patients.
 *
 *     reference     control         says
 *     holdout       training set    how like new patients' images the synthetic ones are
 *     training      holdout         the same of the images learnt from: better than the control
 *                                   means nearer to them than new patients are
 *
 * Measures (fidelity_measures.h) are computed for every channel alone, the plane given to the
 * network thrice as grey, and averaged over channels; masks are left out.
 *
 * Folder:  fidelity.json (schema lethe/fidelity/2); while unfinished work/, where features stand
 * that are computed already: a run that was killed goes on with them.
 *
 * The same inputs, settings and device give the same bytes, interrupted or not. This is no measure
 * of privacy: copies of patients are very like patients' images.
 */
#ifndef AUDIT_FIDELITY_H
#define AUDIT_FIDELITY_H

#include "base/json.h"
#include "base/text.h"
#include "base/yaml.h"

#define FIDELITY_SCHEMA "lethe/fidelity/2"

/* The plan's section `fidelity`, and the command line. */
struct fidelity_settings {
    int network;         /* enum feature_network_kind (audit/features.h) */
    const char *weights; /* a file (audit/features.h); "random" or NULL: random ones */
    const char *device;  /* as device_backend takes it (tensor/device.h) */
    struct yaml_strings channels;
    int64_t images;          /* of each set at most, 0: all */
    int64_t bootstrap, seed; /* seed −1: the plan's, else 1 */
};
extern const struct fidelity_settings fidelity_defaults;
extern const struct yaml_field fidelity_fields[];

/* The file that weights come from; NULL: random ones. */
const char *fidelity_weights(const struct fidelity_settings *settings);
/* Refuses weights that are not there. */
bool fidelity_settings_check(const struct fidelity_settings *settings, struct error *err) MUST_USE;

struct fidelity_job {
    const char *train, *synthetic, *holdout; /* as of audit_job (memorization.h) */
    const char *subjects, *holdout_subjects; /* CSV files, or NULL */
    const char *out;
    size_t candidates; /* as of audit_job */
    const struct fidelity_settings *settings;
};

struct fidelity_report {
    struct json *document; /* what stands in fidelity.json */
    struct text warnings;  /* a line each */
};

bool fidelity(const struct fidelity_job *job, struct fidelity_report *report,
              struct error *err) MUST_USE;
void fidelity_report_release(struct fidelity_report *report);

#endif
