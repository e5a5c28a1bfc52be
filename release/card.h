/* What a release says of itself: the metadata files of the tree, for people and for machines.
 *
 *     data/README.md                 the data card
 *     data/LICENSE, CITATION.cff     under what terms, and how to cite
 *     data/dataset_description.json, participants.tsv, participants.json, .bidsignore     BIDS
 *     data/ro-crate-metadata.json    RO-Crate 1.1
 *     data/croissant.json            Croissant 1.0
 *     data/aida.md                   a record for the AIDA Data Hub: front matter
 *     bagit.txt, bag-info.txt, manifest-*.txt, tagmanifest-*.txt      RFC 8493
 *
 * All text is UTF-8, JSON has its keys in byte order, and nothing depends on the locale, the clock
 * or the machine.
 */
#ifndef RELEASE_CARD_H
#define RELEASE_CARD_H

#include "base/yaml.h"
#include "release/payload.h"
#include "release/policy.h"

/* What the steward says; NULL where nothing is said. */
struct card_settings {
    const char *title, *description, *licence, *publisher, *contact, *url, *organ, *modality;
    struct yaml_strings creators, keywords;
    bool skull_stripped;
};

struct card {
    const char *name, *version;
    const struct card_settings *settings;
    const struct payload *payload;
    const struct payload_settings *format;
    int64_t created; /* seconds since 1970 */
    const struct policy_result *results;
    size_t result_count, removed;
    const char *model; /* how the images were made, or NULL */
    bool report;       /* whether data/report.html is there */
};

/* The date of the release, "2026-11-22". Returns `text`. */
const char *card_date(int64_t created, char text[16]);
/* The moment at which such a day begins; refused where there is no such day from 1970 on. */
bool card_day(const char *date, int64_t *created, struct error *err) MUST_USE;

/* Adds what stands in data/ beside the payload, which has been written. */
bool card_write(const struct card *card, struct tree *tree, struct error *err) MUST_USE;

/* Adds the bag's own files; last, for they list all others. Leaves the tree in byte order. */
bool bag_write(const struct card *card, struct tree *tree, struct error *err) MUST_USE;

#endif
