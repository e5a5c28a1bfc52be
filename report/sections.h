/* The sections of a report: a table of title, audience and function. */
#ifndef REPORT_SECTIONS_H
#define REPORT_SECTIONS_H

#include "report/facts.h"
#include "report/html.h"

/* One report being written. */
struct page {
    struct html *html;
    struct facts *facts;
    bool internal;
    const char *public_sha256; /* of the other one, for the internal; else NULL */
};

struct section {
    const char *id, *title;
    bool internal_only;
    void (*write)(struct page *page);
    bool (*is_there)(const struct facts *facts); /* NULL: in every report */
};
extern const struct section sections[]; /* ended by a row without a title */

/* memorization.c, pairs.c, utility.c, fidelity.c, membership.c */
/* Whose images set the thresholds, as a person says it. */
bool has_unseen_control(const struct json *audit);
const char *control_people(const struct json *audit);
/* How many unseen patients the audit had; NaN without an audit. */
double unseen_patients(const struct json *audit);
void write_memorization(struct page *page);
void write_exposure(struct page *page);
void write_pairs(struct page *page);
void write_utility(struct page *page);
/* The mean of a number of utility.json; NaN where there is none, and in public where it is of one
 * patient alone: then it has no interval. */
double mean_for_readers(const struct page *page, const struct json *of);
bool has_fidelity(const struct facts *facts);
void write_fidelity(struct page *page);
bool has_membership(const struct facts *facts);
void write_membership(struct page *page);

/* The verdict in one word, and its class in the style. */
const char *verdict_word(const struct facts *facts);
const char *verdict_tone(const struct facts *facts);

/* A row of two cells; value NULL or NaN: a dash. */
void put_row(struct html *html, const char *name, const char *value);
void put_number_row(struct html *html, const char *name, double value);

/* Images drawn from a set, so many in a row, with a text for those who do not see them. */
void put_picture(struct page *page, const struct dataset *dataset, const size_t *images,
                 size_t count, size_t across, const char *alternative);

/* A paragraph for a reader who is no technician. */
#define put_plain(html, ...) html_put(html, "<p class=\"plain\"><b>In plain words</b>" __VA_ARGS__)

#endif
