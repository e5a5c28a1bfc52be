/* Words that could lead back to a patient, in text: the part of the lint that reads. Internal to
 * release/lint.c. */
#ifndef RELEASE_LINT_WORDS_H
#define RELEASE_LINT_WORDS_H

#include "base/text.h"

struct words; /* opaque: names of the source, and what is allowed */
struct words *words_new(void) MUST_USE;
void words_free(struct words *words);
void words_add_source(struct words *words, const char *name);
void words_allow(struct words *words, const char *text);

/* What kind of text it is. In prose a number of eight digits is most often just a number; in a file
 * name, a cell or a JSON string that looks like a date it is one. */
enum words_kind { WORDS_PROSE, WORDS_VALUES };

/* Adds a line "WHERE: WHAT" for each find. */
void words_scan(const struct words *words, enum words_kind kind, const char *where,
                const char *text, size_t length, struct text *findings);

#endif
