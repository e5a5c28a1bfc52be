/* What a report is made from: every document of a run, opened once. */
#ifndef REPORT_FACTS_H
#define REPORT_FACTS_H

#include "base/json.h"
#include "data/dataset.h"
#include "release/marks.h"
#include "report/report.h"

struct facts {
    const struct report_job *job;
    struct json *memorization, *utility, *fidelity, *membership; /* NULL: not there */
    struct json *review, *choice;
    struct dataset real, synthetic;
    bool has_real, has_synthetic;
    struct json *judged; /* memorization as the policy sees it: without what is left out */
    struct policy_result *results;
    size_t result_count;
    enum marks_state marked; /* what the reviewer's marks mean, and of whom */
    const char *marked_reason;
    bool all_flagged;   /* and all are to be left out: nothing would be released */
    bool passed;        /* every row, no copy was seen, and something is left */
    const char *advice; /* lines; NULL: there is none */
    struct arena arena;
};

bool facts_open(struct facts *facts, const struct report_job *job, struct error *err) MUST_USE;
void facts_close(struct facts *facts);

/* The value at a path of keys, "flagged.fraction"; NULL or NaN when there is none. */
const struct json *fact(const struct json *root, const char *path);
double fact_number(const struct json *root, const char *path);
const char *fact_string(const struct json *root, const char *path);

/* The digest of a file as hexadecimal, or NULL where there is no such file; in the arena. */
const char *fact_digest(struct facts *facts, const char *path);

/* Whether the audit flagged a synthetic image. */
bool fact_is_flagged(const struct facts *facts, int64_t image);

#endif
