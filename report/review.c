/* A reviewer's marks; see review.h. */
#include "report/review.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

const char *const mark_names[MARK_COUNT] = { "copy", "not_a_copy", "unsure", "unmarked" };
enum { NOTE_LONGEST = 4000 };

static bool mark_of(const char *name, enum mark *mark)
{
    for (*mark = 0; *mark < MARK_COUNT; ++*mark)
        if (strcmp(name, mark_names[*mark]) == 0)
            return true;
    return false;
}

/* Whether the audit lists this pair. */
static bool is_audited(const struct json *pairs, int64_t synthetic, int64_t training)
{
    for (size_t i = 0; pairs && i < json_length(pairs); i++) {
        int64_t one, other;
        if (json_get_integer(json_at(pairs, i), "synthetic", &one, NULL) &&
            json_get_integer(json_at(pairs, i), "training", &other, NULL) && one == synthetic &&
            other == training)
            return true;
    }
    return false;
}

static bool is_repeated(const struct json *marks, size_t place, int64_t synthetic)
{
    for (size_t i = 0; i < place; i++) {
        int64_t before;
        if (json_get_integer(json_at(marks, i), "synthetic", &before, NULL) && before == synthetic)
            return true;
    }
    return false;
}

static bool take_mark(const struct json *marks, size_t place, const struct json *pairs,
                      struct review *review, struct json *taken, struct error *err)
{
    int64_t synthetic, training;
    enum mark mark;
    const struct json *entry = json_at(marks, place);
    const char *name = json_get_string(entry, "mark", err);
    const char *note = name ? json_get_string(entry, "note", err) : NULL;
    if (!note || !json_get_integer(entry, "synthetic", &synthetic, err) ||
        !json_get_integer(entry, "training", &training, err))
        return error_prefix(err, "mark %zu", place + 1);
    if (!mark_of(name, &mark))
        return error_set(err, "mark %zu: \"%s\" is none of copy, not_a_copy, unsure, unmarked",
                         place + 1, name);
    if (strlen(note) > NOTE_LONGEST)
        return error_set(err, "mark %zu: a note of %zu bytes, at most %d are taken", place + 1,
                         strlen(note), NOTE_LONGEST);
    if (!is_audited(pairs, synthetic, training))
        return error_set(
            err, "mark %zu: the audit has no pair of synthetic image %lld and training image %lld",
            place + 1, (long long)synthetic, (long long)training);
    if (is_repeated(marks, place, synthetic))
        return error_set(err, "mark %zu: synthetic image %lld is marked twice", place + 1,
                         (long long)synthetic);
    struct json *out = json_new_object();
    json_put_integer(out, "synthetic", synthetic);
    json_put_integer(out, "training", training);
    json_put_string(out, "mark", name);
    json_put_string(out, "note", note);
    json_push(taken, out);
    review->counts[mark]++;
    return true;
}

struct json *review_counts(const struct review *review)
{
    struct json *counts = json_new_object();
    for (int mark = 0; mark < MARK_COUNT; mark++)
        json_put_integer(counts, mark_names[mark], (int64_t)review->counts[mark]);
    return counts;
}

static bool same_audit(const struct json *file, const char *path, const char *memorization,
                       struct error *err)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    const char *stated = json_get_string(file, "memorization_sha256", err);
    if (!stated || !digest_file(memorization, &digest, err))
        return false;
    return strcmp(stated, digest_hex(&digest, hex)) == 0 ||
           error_set(
               err,
               "%s: these marks are about another audit (%.12s…, this one is %.12s…): open the "
               "report of this run and review it again",
               path, stated, hex);
}

static bool take_all(const struct json *file, const struct json *audit, struct review *review,
                     struct arena *arena, struct error *err)
{
    const char *reviewer = json_get_string(file, "reviewer", err);
    const struct json *marks = reviewer ? json_get_array(file, "marks", err) : NULL;
    const struct json *pairs = json_member(audit, "pairs");
    if (!marks)
        return false;
    if (!*reviewer || strlen(reviewer) > 200)
        return error_set(err, "the reviewer's name is missing, or longer than 200 bytes");
    struct json *taken = json_new_array();
    bool ok = true;
    for (size_t i = 0; ok && i < json_length(marks); i++)
        ok = take_mark(marks, i, pairs, review, taken, err);
    if (!ok) {
        json_free(taken);
        return false;
    }
    review->reviewer = arena_string(arena, reviewer);
    review->document = json_new_object();
    json_put_string(review->document, "schema", REVIEW_SCHEMA);
    json_put_string(review->document, "memorization_sha256",
                    json_get_string(file, "memorization_sha256", NULL));
    if (marks_set(audit))
        json_put_string(review->document, "synthetic_sha256", marks_set(audit));
    json_put_string(review->document, "reviewer", reviewer);
    json_put(review->document, "counts", review_counts(review));
    json_put(review->document, "marks", taken);
    return true;
}

bool review_read(const char *path, const char *memorization, struct review *review,
                 struct arena *arena, struct error *err)
{
    *review = (struct review){ 0 };
    struct json *file = json_load_schema(path, REVIEW_SCHEMA, err);
    struct json *audit = file ? json_load_schema(memorization, "lethe/memorization/1", err) : NULL;
    bool ok = audit && same_audit(file, path, memorization, err) &&
              (take_all(file, audit, review, arena, err) || error_prefix(err, "%s", path));
    json_free(file);
    json_free(audit);
    return ok;
}
