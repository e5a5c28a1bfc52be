/* What a report is made from; see facts.h. */
#include "report/facts.h"

#include "base/text.h"
#include "release/choice.h"

#include <math.h>
#include <string.h>

/* ---- looking up ------------------------------------------------------------------------------ */

const struct json *fact(const struct json *root, const char *path)
{
    char key[64];
    while (root && *path) {
        size_t length = strcspn(path, ".");
        CHECK(length < sizeof key, "a key of %zu bytes", length);
        memcpy(key, path, length);
        key[length] = 0;
        root = json_member(root, key);
        path += length + (path[length] == '.');
    }
    return root;
}

double fact_number(const struct json *root, const char *path)
{
    double number;
    const struct json *value = fact(root, path);
    return value && json_as_real(value, &number) ? number : NAN;
}

const char *fact_string(const struct json *root, const char *path)
{
    const struct json *value = fact(root, path);
    return value ? json_as_string(value) : NULL;
}

const char *fact_digest(struct facts *facts, const char *path)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    if (!path || path_kind(path) != PATH_FILE || !digest_file(path, &digest, NULL))
        return NULL;
    return arena_string(&facts->arena, digest_hex(&digest, hex));
}

bool fact_is_flagged(const struct facts *facts, int64_t image)
{
    const struct json *images = fact(facts->memorization, "flagged.images");
    for (size_t i = 0; images && i < json_length(images); i++) {
        int64_t flagged;
        if (json_as_integer(json_at(images, i), &flagged) && flagged == image)
            return true;
    }
    return false;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* A document that may be missing, but not damaged. */
static bool load(const char *path, const char *schema, struct json **document, struct error *err)
{
    *document = NULL;
    if (!path || path_kind(path) != PATH_FILE)
        return true;
    *document = json_load_schema(path, schema, err);
    return *document;
}

static bool open_set(const char *path, struct dataset *dataset, bool *has, struct error *err)
{
    *has = path && dataset_is(path);
    if (!*has)
        return true;
    *has = dataset_open(dataset, path, err);
    return *has;
}

/* As the package step will judge: where the policy has flagged images left out, of what is left. */
static bool judge(struct facts *facts, const char *memorization, struct error *err)
{
    if (!load(memorization, "lethe/memorization/1", &facts->judged, err))
        return false;
    const struct policy_evidence evidence = { facts->judged, facts->utility, facts->fidelity,
                                              facts->membership };
    facts->passed = policy_judge(facts->job->policy, &evidence, &facts->arena, &facts->results);
    facts->result_count = facts->job->policy->rows.count;
    facts->marked = marks_judge(facts->review, facts->memorization,
                                facts->job->policy->quarantine != QUARANTINE_DROP,
                                &facts->marked_reason, &facts->arena);
    double flagged = fact_number(facts->memorization, "flagged.count");
    facts->all_flagged = facts->job->policy->quarantine == QUARANTINE_DROP && flagged > 0 &&
                         flagged == fact_number(facts->memorization, "counts.synthetic");
    facts->passed = facts->passed && facts->marked != MARKS_COPIES && !facts->all_flagged;
    return true;
}

bool facts_open(struct facts *facts, const struct report_job *job, struct error *err)
{
    *facts = (struct facts){ .job = job };
    arena_init(&facts->arena);
    const char *memorization =
        job->audit ? path_join(&facts->arena, job->audit, "memorization.json") : NULL;
    const char *utility =
        job->utility ? path_join(&facts->arena, job->utility, "utility.json") : NULL;
    const char *fidelity =
        job->fidelity ? path_join(&facts->arena, job->fidelity, "fidelity.json") : NULL;
    const char *membership =
        job->membership ? path_join(&facts->arena, job->membership, "membership.json") : NULL;
    bool ok = load(memorization, "lethe/memorization/1", &facts->memorization, err) &&
              load(utility, "lethe/utility/2", &facts->utility, err) &&
              load(fidelity, "lethe/fidelity/2", &facts->fidelity, err) &&
              load(membership, "lethe/membership/1", &facts->membership, err) &&
              load(job->review, REVIEW_SCHEMA, &facts->review, err) &&
              load(job->choice, CHOICE_SCHEMA, &facts->choice, err) &&
              open_set(job->dataset, &facts->real, &facts->has_real, err) &&
              open_set(job->synthetic, &facts->synthetic, &facts->has_synthetic, err);
    ok = ok && judge(facts, memorization, err);
    if (!ok)
        facts_close(facts);
    return ok;
}

void facts_close(struct facts *facts)
{
    json_free(facts->memorization);
    json_free(facts->judged);
    json_free(facts->utility);
    json_free(facts->fidelity);
    json_free(facts->membership);
    json_free(facts->review);
    json_free(facts->choice);
    if (facts->has_real)
        dataset_close(&facts->real);
    if (facts->has_synthetic)
        dataset_close(&facts->synthetic);
    arena_release(&facts->arena);
}
