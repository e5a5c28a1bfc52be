/* The privacy lint: what in a file could lead back to a patient or to the machine that it came
 * from.
 *
 *     struct lint *lint = lint_new();
 *     lint_add_source(lint, "BraTS20_Training_001");     // a name of the source data
 *     lint_allow(lint, "2026-11-22");                    // what the steward means to publish
 *     struct text findings = { 0 };
 *     lint_file(lint, "data/README.md", bytes, size, &findings);   // "PATH: WHAT" a line
 *     lint_free(lint);
 *
 * Structure first, by a format's own rules: NIfTI's free-text fields, unused header bytes,
 * extensions, the gap before the voxels and what follows the last; gzip's name, comment, time and
 * extra members; PNG's ancillary chunks and what follows the last; .npy headers that hold more than
 * they need. Then words, in file names, JSON strings and keys, and text: names of the source data,
 * dates, personal numbers, DICOM UIDs, e-mail addresses, absolute paths. What it does not know how
 * to look into it reports, so nothing passes unseen. It is a net, not a proof: burnt-in text in
 * pixels, for one, is not seen.
 */
#ifndef RELEASE_LINT_H
#define RELEASE_LINT_H

#include "base/text.h"

/* The phrases that mark a file as synthetic, and the only free text that a NIfTI or PNG may hold.
 */
#define SYNTHETIC_PHRASE  "Synthetic image made by a generative model; it shows no patient."
#define SYNTHETIC_NAME    "synthetic"
#define SYNTHETIC_KEYWORD "Source"

struct lint; /* opaque */
struct lint *lint_new(void) MUST_USE;
void lint_free(struct lint *lint);

/* A subject's name or a path of the source data: it, or for a path any part of it that could tell a
 * subject, may not stand as a word of its own anywhere. Case does not matter. Names that are too
 * short or too plain to mean anything ("7", "t1") are passed over. */
void lint_add_source(struct lint *lint, const char *name);

/* Whatever stands in this text may be published. */
void lint_allow(struct lint *lint, const char *text);

/* Adds one line a finding, "PATH: WHAT". Safe to call from several threads. Returns whether the
 * file is clean. */
bool lint_file(const struct lint *lint, const char *path, const void *bytes, size_t size,
               struct text *findings);

/* Likewise for what a steward adds to a release. It may be a document; what holds pixels was not
 * audited, and what is embedded nobody can look into, so either is a finding. */
bool lint_document(const struct lint *lint, const char *path, const void *bytes, size_t size,
                   struct text *findings);

#endif
