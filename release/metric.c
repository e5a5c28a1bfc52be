/* Whether there can be a metric; see metric.h. */
#include "release/metric.h"

#include "base/arena.h"
#include "base/text.h"

#include <string.h>

/* ---- paths ----------------------------------------------------------------------------------- */

bool metric_next_step(const char **path, struct metric_step *step)
{
    const char *at = *path;
    *step = (struct metric_step){ .key = at, .key_length = strcspn(at, ".[") };
    at += step->key_length;
    if (*at == '[') {
        step->entry = at + 1;
        step->entry_length = strcspn(step->entry, "]");
        at = step->entry + step->entry_length;
        if (*at++ != ']')
            return false;
    }
    bool last = !*at;
    if (!step->key_length || (step->entry && !step->entry_length) || (!last && *at != '.') ||
        (!last && !at[1]))
        return false;
    *path = last ? at : at + 1;
    return true;
}

static bool is_well_formed(const char *metric)
{
    struct metric_step step;
    size_t steps = 0;
    while (*metric) {
        if (!metric_next_step(&metric, &step))
            return false;
        steps++;
    }
    return steps >= 2;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool names(const char *pattern, const char *word)
{
    size_t stem = strcspn(pattern, "*");
    return pattern[stem] ? strncmp(pattern, word, stem) == 0 : strcmp(pattern, word) == 0;
}

/* "; did you mean "x"?", or what there is instead: "; there are x, y, z". */
static const char *instead(const char *word, const char *const *there, size_t count,
                           struct arena *arena)
{
    const char *nearest = text_nearest(word, there, count);
    struct text list = { 0 };
    for (size_t i = 0; i < count; i++)
        text_format(&list, "%s%s", i ? ", " : "", there[i]);
    const char *words =
        nearest ? arena_format(arena, "; did you mean \"%s\"?", nearest)
                : arena_format(arena, "; there %s %s", count == 1 ? "is" : "are", list.bytes);
    text_release(&list);
    return words;
}

static const char *other_keys(const char *word, const struct metric_member *members,
                              struct arena *arena)
{
    size_t count = 0;
    while (members[count].key)
        count++;
    const char **keys = arena_array(arena, const char *, count);
    for (size_t i = 0; i < count; i++)
        keys[i] = members[i].key;
    return instead(word, keys, count, arena);
}

static const struct metric_member *member_of(const struct metric_member *members, const char *key)
{
    for (; members->key; members++)
        if (names(members->key, key))
            return members;
    return NULL;
}

/* ---- one step -------------------------------------------------------------------------------- */

/* Where a walk along a metric stands. */
struct place {
    const char *document;
    const char *path; /* so far, for messages; "" at the document itself */
    const struct metric_member *members, *at;
    struct arena arena;
};

/* "flagged of memorization.json" */
static const char *here(struct place *place)
{
    return *place->path ? arena_format(&place->arena, "%s of %s.json", place->path, place->document)
                        : arena_format(&place->arena, "%s.json", place->document);
}

/* One "key=value" of a selector. */
static bool check_choice(struct place *place, char *choice, struct error *err)
{
    char *equals = strchr(choice, '=');
    size_t count = 0;
    if (!equals)
        return error_set(err, "[%s] picks nothing; expected a number or KEY=VALUE", choice);
    *equals = '\0';
    const struct metric_member *member = member_of(place->at->members, choice);
    if (!member)
        return error_set(err, "no entry of %s has \"%s\"%s", here(place), choice,
                         other_keys(choice, place->at->members, &place->arena));
    if (member->kind != METRIC_NUMBER && member->kind != METRIC_TEXT)
        return error_set(err, "\"%s\" of %s is no value that could pick an entry", choice,
                         here(place));
    for (; member->values && member->values[count]; count++)
        if (names(member->values[count], equals + 1))
            return true;
    return !count ||
           error_set(err, "\"%s\" of %s never is \"%s\"%s", choice, here(place), equals + 1,
                     instead(equals + 1, member->values, count, &place->arena));
}

static bool check_entry(struct place *place, const struct metric_step *step, struct error *err)
{
    char *selector = arena_substring(&place->arena, step->entry, step->entry_length);
    int64_t number;
    if (place->at->kind < METRIC_NUMBERS)
        return error_set(err, "%s is no list, so [%s] picks nothing", here(place), selector);
    if (text_to_integer(selector, &number))
        return number >= 0 || error_set(err, "entries are counted from 0, not [%s]", selector);
    if (place->at->kind != METRIC_OBJECTS)
        return error_set(err, "entries of %s are picked by number, not by [%s]", here(place),
                         selector);
    for (char *choice = selector, *next; choice; choice = next) {
        next = strchr(choice, ',');
        if (next)
            *next++ = '\0';
        if (!check_choice(place, choice, err))
            return false;
    }
    return true;
}

static bool check_step(struct place *place, const struct metric_step *step, struct error *err)
{
    const char *key = arena_substring(&place->arena, step->key, step->key_length);
    const struct metric_member *member = place->members ? member_of(place->members, key) : NULL;
    if (!place->members)
        return error_set(err, "nothing stands below %s", here(place));
    if (!member)
        return error_set(err, "%s never has \"%s\"%s", here(place), key,
                         other_keys(key, place->members, &place->arena));
    place->path = arena_format(&place->arena, "%s%s%s", place->path, *place->path ? "." : "", key);
    place->at = member;
    if (step->entry && !check_entry(place, step, err))
        return false;
    place->members = member->members;
    if (!step->entry && member->kind >= METRIC_NUMBERS)
        return error_set(err, "%s is a list; pick an entry, as in %s[%s]", here(place), key,
                         member->kind != METRIC_OBJECTS         ? "0"
                         : member_of(member->members, "source") ? "source=synthetic"
                         : member_of(member->members, "name")   ? "name=…"
                                                                : "0");
    return true;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The number that has an interval among these, or NULL. */
static const char *bounded_of(const struct metric_member *members)
{
    for (; members && members->key; members++)
        if (members->bounded)
            return members->key;
    return NULL;
}

/* `siblings`: what stands beside the last key. */
static bool check_end(struct place *place, const struct metric_member *siblings, bool entry,
                      bool bounded, struct error *err)
{
    const struct metric_member *at = place->at;
    bool object = at->kind == METRIC_OBJECT || (entry && at->kind == METRIC_OBJECTS);
    if (object && bounded && bounded_of(at->members))
        return true;
    if (object || at->kind == METRIC_TEXT || at->kind == METRIC_TEXTS)
        return error_set(err, "%s is no number%s", here(place),
                         object ? other_keys("", at->members, &place->arena) : "");
    if (!bounded || at->bounded || strcmp(at->key, "lower95") == 0 ||
        strcmp(at->key, "upper95") == 0)
        return true;
    const char *other = bounded_of(siblings);
    return error_set(err, "%s has no 95 %% interval%s%s%s", here(place),
                     other ? "; the one that stands beside it is of \"" : ", only a value",
                     other ? other : "", other ? "\"" : "");
}

static bool walk(struct place *place, const char *keys, bool bounded, struct error *err)
{
    const struct metric_member *siblings = place->members;
    struct metric_step step = { 0 };
    while (*keys) {
        siblings = place->members;
        CHECK(metric_next_step(&keys, &step), "a metric that is well formed");
        if (!check_step(place, &step, err))
            return false;
    }
    return check_end(place, siblings, step.entry, bounded, err);
}

static const struct metric_document *document_of(const char *metric)
{
    for (size_t i = 0; i < METRIC_DOCUMENTS; i++) {
        size_t length = strlen(metric_documents[i].name);
        if (strncmp(metric, metric_documents[i].name, length) == 0 && metric[length] == '.')
            return &metric_documents[i];
    }
    return NULL;
}

static bool refuse_document(const char *metric, struct arena *arena, struct error *err)
{
    const char *there[METRIC_DOCUMENTS];
    for (size_t i = 0; i < METRIC_DOCUMENTS; i++)
        there[i] = metric_documents[i].name;
    const char *word = arena_substring(arena, metric, strcspn(metric, ".["));
    const char *nearest = text_nearest(word, there, METRIC_DOCUMENTS);
    return error_set(err,
                     "\"%s\" is of no document that is measured; a metric begins with "
                     "memorization, utility, fidelity or membership%s%s%s",
                     metric, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                     nearest ? "\"?" : "");
}

bool metric_check(const char *metric, bool bounded, struct error *err)
{
    if (!is_well_formed(metric))
        return error_set(err,
                         "\"%s\" is no metric; expected a document and keys, as in "
                         "memorization.flagged.fraction",
                         metric);
    struct place place = { .path = "" };
    arena_init(&place.arena);
    const struct metric_document *document = document_of(metric);
    bool ok = document;
    if (ok) {
        place.document = document->name;
        place.members = document->members;
        ok = walk(&place, metric + strlen(document->name) + 1, bounded, err) ||
             error_prefix(err, "\"%s\" can never be measured", metric);
    } else
        ok = refuse_document(metric, &place.arena, err);
    arena_release(&place.arena);
    return ok;
}
