/* The stage ledger: what a stage made, from what, so that it need not be made again.
 *
 *     if (stage_is_current("run/dataset", "ingest", &inputs, NULL))
 *         return …nothing to do…;
 *     … write the outputs into run/dataset …
 *     stage_record("run/dataset", "ingest", &inputs, seconds, false, err);
 *
 * The record is FOLDER/stage.json, written last and atomically: the tool's version, a digest of
 * everything that decides about the outputs (settings and inputs), and the outputs with their
 * digests. A stage is current while all of that still holds; these records form the chain of
 * evidence from the scans to the release.
 */
#ifndef PLAN_STAGE_H
#define PLAN_STAGE_H

#include "base/digest.h"

#define STAGE_SCHEMA "lethe/stage/1"

/* Whether the folder holds a finished run of the stage, by this version, from these inputs, whose
 * outputs are all there, unchanged. When not, `reason` (if wanted) says why. */
bool stage_is_current(const char *folder, const char *stage, const struct digest *inputs,
                      struct error *reason);

/* Whether the folder holds a finished run of the stage whose outputs are all there, unchanged,
 * whatever it was made from. When not, `reason` (if wanted) says why. */
bool stage_is_intact(const char *folder, const char *stage, struct error *reason);

/* The same from names and sizes alone: a moment where the above reads every byte. */
bool stage_looks_intact(const char *folder, const char *stage, struct error *reason);

/* The digest of the recorded outputs whose path begins with `prefix`: what later stages depend on.
 * Neither the time that the stage took nor other outputs show in it. */
bool stage_product(const char *folder, const char *prefix, struct digest *digest,
                   struct error *err) MUST_USE;

/* What the record tells. */
struct stage_summary {
    char version[32], inputs[DIGEST_HEX];
    double seconds;
    uint64_t files, bytes; /* of the outputs */
};
bool stage_read(const char *folder, struct stage_summary *summary, struct error *err) MUST_USE;

/* Records that the stage is done. With `may_grow` files that come into the folder later, as
 * signatures do, change nothing; else they mean that it is no longer what was made. */
bool stage_record(const char *folder, const char *stage, const struct digest *inputs,
                  double seconds, bool may_grow, struct error *err) MUST_USE;

#endif
