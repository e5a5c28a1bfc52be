/* The candidates of a plan; see candidates.h. */
#include "candidates.h"

#include "base/file.h"
#include "base/json.h"
#include "release/choice.h"

#include <inttypes.h>
#include <string.h>

static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
enum { NAME_LENGTH = 24 };

/* A name becomes a folder, and stands in the public report: nobody's name, and short. */
static bool check_name(const struct train_candidate *rows, size_t i, struct error *err)
{
    const char *name = rows[i].name;
    if (!*name || strlen(name) > NAME_LENGTH || name[strspn(name, name_bytes)])
        return error_set(err,
                         "the candidate's name \"%s\": lower-case letters, digits and - were "
                         "expected, at most %d",
                         name, (int)NAME_LENGTH);
    for (size_t k = 0; k < i; k++)
        if (strcmp(rows[k].name, name) == 0)
            return error_set(err, "two candidates are called \"%s\"", name);
    return true;
}

static bool same_training(const struct train_candidate *a, const struct train_candidate *b)
{
    return a->settings && b->settings ? strcmp(a->settings, b->settings) == 0
                                      : a->settings == b->settings;
}

static bool check_images(const struct candidate *candidate, const struct release_plan *plan,
                         struct error *err)
{
    if (candidate->images && candidate->train.images && candidate->images > candidate->train.images)
        return error_set(err,
                         "the candidate %s is to be taken after %" PRId64
                         " images, but its training ends after %" PRId64,
                         candidate->name, candidate->images, candidate->train.images);
    if (candidate->images && plan->sample.weights == WEIGHTS_BEST)
        return error_set(err,
                         "the candidate %s is to be taken after %" PRId64
                         " images, and sample: { weights: best } asks for another checkpoint",
                         candidate->name, candidate->images);
    return true;
}

/* Rows of the same training as row i. */
static struct yaml_rows rows_of_training(const struct yaml_rows *all, size_t i, struct arena *arena)
{
    const struct train_candidate *rows = all->items;
    struct train_candidate *same = arena_array(arena, struct train_candidate, all->count);
    struct yaml_rows found = { same, 0 };
    for (size_t k = 0; k < all->count; k++)
        if (same_training(&rows[i], &rows[k]))
            same[found.count++] = rows[k];
    return found;
}

static bool load_one(struct release_plan *plan, const struct yaml_rows *all, size_t i,
                     struct arena *arena, struct error *err)
{
    const struct train_candidate *rows = all->items;
    struct candidate *candidate = &plan->candidates[i];
    *candidate = (struct candidate){
        .name = rows[i].name,
        .folder = path_join(arena, path_join(arena, plan->run, "candidates"), rows[i].name),
        .images = rows[i].images,
        .own_training = rows[i].settings,
        .train = plan->train,
    };
    candidate->train.candidates = (struct yaml_rows){ 0 };
    while (!same_training(&rows[candidate->trainer], &rows[i]))
        candidate->trainer++;
    const char *path = rows[i].settings;
    if (path && *path != '/')
        path = path_join(arena, path_parent(arena, plan->path), path);
    if (path && !yaml_load(path, train_fields, &candidate->train, arena, err))
        return false;
    if (candidate->train.candidates.count)
        return error_set(err, "%s: candidates stand in the plan alone", path);
    candidate->train.candidates = rows_of_training(all, i, arena);
    return check_images(candidate, plan, err);
}

/* The intervals of so many candidates reach further out into the replicates (joint_confidence). */
static bool check_counts(const struct release_plan *plan, size_t count, struct error *err)
{
    if (count > CANDIDATES_MAX)
        return error_set(err, "%zu candidates; at most %d can be tried", count,
                         (int)CANDIDATES_MAX);
    const struct {
        const char *section;
        int64_t bootstrap;
    } resampled[] = {
        { "audit", plan->audit.bootstrap },
        { "fidelity", plan->fidelity.bootstrap },
        { "membership", plan->membership.bootstrap },
    };
    for (size_t i = 0; i < sizeof resampled / sizeof *resampled; i++)
        if (resampled[i].bootstrap < 40 * (int64_t)count)
            return error_set(err,
                             "intervals that hold for %zu candidates together need "
                             "%s: { bootstrap: %zu } at least, not %" PRId64,
                             count, resampled[i].section, 40 * count, resampled[i].bootstrap);
    return true;
}

bool candidates_load(struct release_plan *plan, struct arena *arena, struct error *err)
{
    const struct yaml_rows all = plan->train.candidates;
    if (!all.count)
        return true;
    if (plan->sample.made_elsewhere)
        return error_set(err, "candidates are of generators trained here, and sample: "
                              "{ made_elsewhere } takes a set that was not");
    if (!check_counts(plan, all.count, err))
        return false;
    plan->candidates = arena_array(arena, struct candidate, all.count);
    for (size_t i = 0; i < all.count; i++)
        if (!check_name(all.items, i, err) || !load_one(plan, &all, i, arena, err))
            return false;
    plan->candidate_count = all.count;
    return true;
}

struct release_plan candidate_variant(const struct release_plan *plan, size_t i)
{
    struct release_plan variant = *plan;
    variant.candidate = &plan->candidates[i];
    variant.train = plan->candidates[i].train;
    return variant;
}

struct release_plan plan_of_the_chosen(const struct release_plan *plan, struct arena *arena)
{
    struct release_plan variant = *plan;
    const char *path = path_join(arena, plan->run, "choice/choice.json");
    if (!plan->candidate_count || path_kind(path) != PATH_FILE)
        return variant;
    struct json *choice = json_load_schema(path, CHOICE_SCHEMA, NULL);
    const char *chosen = choice ? json_get_string(choice, "chosen", NULL) : NULL;
    for (size_t i = 0; chosen && i < plan->candidate_count; i++)
        if (strcmp(plan->candidates[i].name, chosen) == 0)
            variant = candidate_variant(plan, i);
    json_free(choice);
    return variant;
}
