/* The searches of an audit, in order:
 *
 *     synthetic in train           the k nearest, the local ratio
 *     holdout in train             the same: the control
 *     matched holdout in train     the same, once it is as smooth as the synthetic images
 *     train in train               of other subjects: the other control, and authenticity's reach
 *     synthetic in synthetic       near-duplicates
 *     train, holdout in synthetic  membership inference
 *     synthetic in holdout         DCR share
 *     each channel alone           where it was asked for
 *     copies in disguise, pieces   the same images, and the control, once more by matcher.h
 */
#include "audit/memorization_parts.h"

#include "base/file.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WITHIN = 4 }; /* near-duplicates of an image that are looked for */

/* ---- what can be asked ------------------------------------------------------------------------
 */

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Images of the two subjects that have the most. */
static void largest_subjects(const struct image_set *set, size_t most[2])
{
    uint32_t *sorted = memory_grow(NULL, set->count, sizeof *sorted);
    memcpy(sorted, set->groups, set->count * sizeof *sorted);
    qsort(sorted, set->count, sizeof *sorted, by_number);
    most[0] = most[1] = 0;
    for (size_t i = 0, end; i < set->count; i = end) {
        for (end = i; end < set->count && sorted[end] == sorted[i];)
            end++;
        size_t count = end - i;
        if (count > most[0]) {
            most[1] = most[0];
            most[0] = count;
        } else if (count > most[1])
            most[1] = count;
    }
    free(sorted);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t greatest(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* How many neighbours there can be, and are wanted. Every image's local ratio is of the same number
 * of strangers, so that those of the control are like those of the synthetic set. */
static bool plan_neighbours(struct audit_run *run, struct error *err)
{
    const struct audit_set *train = &run->sets.of[SET_TRAIN];
    size_t most[2], wanted = (size_t)run->settings->neighbours, count = train->images.count;
    if (wanted > count)
        return error_set(err,
                         "%zu nearest training images of each are looked for (neighbours, by "
                         "default 10), but the training set %s has %zu; set it to at most as "
                         "many",
                         wanted, train->path, count);
    largest_subjects(&train->images, most);
    run->local = least((size_t)run->settings->local, count - most[0] - most[1]);
    run->k = least(count, greatest(greatest(wanted, run->local + 1),
                                   greatest(2, (size_t)run->settings->carlini)));
    if (run->settings->local && !run->local)
        text_add(&run->warnings,
                 "no local ratio: it takes training images of three subjects at least\n");
    return true;
}

/* ---- controls ---------------------------------------------------------------------------------
 */

static size_t count_subjects(const struct image_set *set, const uint32_t *asked, size_t count)
{
    uint32_t *groups = memory_grow(NULL, count + 1, sizeof *groups);
    size_t subjects = 0;
    for (size_t i = 0; i < count; i++)
        groups[i] = set->groups[asked ? asked[i] : i];
    qsort(groups, count, sizeof *groups, by_number);
    for (size_t i = 0; i < count; i++)
        subjects += !i || groups[i] != groups[i - 1];
    free(groups);
    return subjects;
}

/* Values by image, NAN for those that cannot serve. */
static bool take_values(struct control_values *control, const struct look *looks,
                        const uint32_t *asked, struct error *err)
{
    const struct near *near = &control->near;
    control->count = near->count;
    control->correlation = memory_allocate(near->count, sizeof(double), "a control", err);
    control->ratio =
        near->ratio ? memory_allocate(near->count, sizeof(double), "a control", err) : NULL;
    if (!control->correlation || (near->ratio && !control->ratio))
        return false;
    for (size_t i = 0; i < near->count; i++) {
        double correlation = near->nearest[i * near->k].correlation;
        bool constant = looks[asked ? asked[i] : i].constant, same = correlation == 1;
        control->constant += constant;
        control->identical += same && !constant;
        control->correlation[i] = constant || same ? NAN : correlation;
        if (control->ratio)
            control->ratio[i] = constant || same ? NAN : near->ratio[i];
    }
    control->present = true;
    return true;
}

static bool search_holdout(struct audit_run *run, struct error *err)
{
    struct control_values *control = &run->control[SOURCE_HOLDOUT];
    if (!run->sets.holdout)
        return true;
    control->subjects = run->sets.of[SET_HOLDOUT].subject_count;
    return near_find(&run->database[SET_TRAIN], "holdout", images_of(run, SET_HOLDOUT), run->k,
                     run->local, false, &control->near, err) &&
           take_values(control, run->looks[SET_HOLDOUT], NULL, err);
}

/* Roughness by image, where the values are. */
static double *roughness_of(const struct look *looks, const double *values, size_t count)
{
    double *roughness = memory_grow(NULL, count + 1, sizeof *roughness);
    for (size_t i = 0; i < count; i++)
        roughness[i] = isnan(values[i]) ? NAN : looks[i].roughness[SCALE_FINE];
    return roughness;
}

static struct likening choose_likening(const struct audit_run *run)
{
    const struct image_set *synthetic = images_of(run, SET_SYNTHETIC),
                           *holdout = images_of(run, SET_HOLDOUT);
    double *wanted = roughness_of(run->looks[SET_SYNTHETIC], run->correlation, synthetic->count),
           *there = roughness_of(run->looks[SET_HOLDOUT], run->control[SOURCE_HOLDOUT].correlation,
                                 holdout->count);
    size_t count = 0;
    for (size_t i = 0; i < synthetic->count; i++)
        if (!isnan(wanted[i]))
            wanted[count++] = wanted[i];
    struct likening change =
        likening_of(holdout, run->sets.channels, there, summarise(wanted, count).p50,
                    (uint64_t)run->settings->seed);
    free(wanted);
    free(there);
    return change;
}

/* The holdout once more, as smooth as the synthetic images. What is no stranger in the holdout is
 * none here. */
static bool search_matched(struct audit_run *run, struct error *err)
{
    struct control_values *control = &run->control[SOURCE_MATCHED];
    const struct control_values *holdout = &run->control[SOURCE_HOLDOUT];
    struct matching *matching = &run->matching;
    if (!run->sets.holdout || run->settings->control != CONTROL_MATCHED_HOLDOUT)
        return true;
    matching->change = choose_likening(run);
    if (!liken_set(images_of(run, SET_HOLDOUT), run->sets.channels, &matching->change,
                   (uint64_t)run->settings->seed,
                   path_join(&run->arena, run->passes.folder, "matched-holdout.npy"),
                   &matching->set, err))
        return false;
    matching->looks = looks_of(&matching->set.images, run->sets.channels, true, err);
    control->subjects = holdout->subjects;
    if (!matching->looks ||
        !near_find(&run->database[SET_TRAIN], control_source_names[SOURCE_MATCHED],
                   &matching->set.images, run->k, run->local, false, &control->near, err) ||
        !take_values(control, matching->looks, NULL, err))
        return false;
    control->constant = control->identical = 0;
    for (size_t i = 0; i < control->count; i++) {
        bool same = holdout->near.nearest[i * run->k].correlation == 1,
             constant = run->looks[SET_HOLDOUT][i].constant || matching->looks[i].constant;
        control->constant += constant;
        control->identical += same && !constant;
        if (constant || same)
            control->correlation[i] = NAN;
        if ((constant || same) && control->ratio)
            control->ratio[i] = NAN;
    }
    return true;
}

/* The training images to be compared with those of other subjects: all, or a random choice of so
 * many, and in any case those that are some synthetic image's nearest. */
static void choose_asked(struct audit_run *run)
{
    size_t count = images_of(run, SET_TRAIN)->count, wanted = (size_t)run->settings->control_images;
    bool *chosen = memory_grow(NULL, count, sizeof *chosen);
    size_t *order = memory_grow(NULL, count, sizeof *order);
    random_permutation((uint64_t)run->settings->seed, random_stream("audit/control"), count, order);
    for (size_t i = 0; i < count; i++)
        chosen[i] = false;
    for (size_t i = 0; i < count && (!wanted || i < wanted); i++)
        chosen[order[i]] = true;
    for (size_t i = 0; i < run->synthetic.count; i++)
        chosen[run->synthetic.nearest[i * run->synthetic.k].id] = true;
    run->asked = arena_array(&run->arena, uint32_t, count);
    for (size_t i = 0; i < count; i++)
        if (chosen[i])
            run->asked[run->asked_count++] = (uint32_t)i;
    free(chosen);
    free(order);
}

/* Some images of a set, as a set. */
static struct image_set some_of(struct audit_run *run, const struct image_set *set,
                                const uint32_t *chosen, size_t count)
{
    struct image_set some = *set;
    uint32_t *rows = arena_array(&run->arena, uint32_t, count),
             *groups = arena_array(&run->arena, uint32_t, count);
    for (size_t i = 0; i < count; i++) {
        rows[i] = set->rows ? set->rows[chosen[i]] : chosen[i];
        groups[i] = set->groups[chosen[i]];
    }
    some.count = count;
    some.rows = rows;
    some.groups = groups;
    return some;
}

struct image_set audit_control_images(struct audit_run *run, int source)
{
    return source == SOURCE_HOLDOUT ? *images_of(run, SET_HOLDOUT)
           : source == SOURCE_MATCHED
               ? run->matching.set.images
               : some_of(run, images_of(run, SET_TRAIN), run->asked, run->asked_count);
}

/* A random choice must not be joined by images that were asked for because something copied them:
 * they would be a control chosen by what is tested. */
static void leave_out_of_control(struct audit_run *run)
{
    struct control_values *control = &run->control[SOURCE_OTHERS];
    size_t wanted = (size_t)run->settings->control_images, count = images_of(run, SET_TRAIN)->count;
    if (!wanted || wanted >= count)
        return;
    size_t *order = memory_grow(NULL, count, sizeof *order);
    bool *drawn = memory_grow(NULL, count, sizeof *drawn);
    random_permutation((uint64_t)run->settings->seed, random_stream("audit/control"), count, order);
    for (size_t i = 0; i < count; i++)
        drawn[order[i]] = i < wanted;
    for (size_t i = 0; i < run->asked_count; i++)
        if (!drawn[run->asked[i]]) {
            control->correlation[i] = NAN;
            if (control->ratio)
                control->ratio[i] = NAN;
        }
    free(order);
    free(drawn);
}

static bool search_others(struct audit_run *run, struct error *err)
{
    struct control_values *control = &run->control[SOURCE_OTHERS];
    const struct image_set *train = images_of(run, SET_TRAIN);
    size_t most[2];
    run->reach = memory_allocate(train->count, sizeof *run->reach, "distances", err);
    if (!run->reach)
        return false;
    for (size_t i = 0; i < train->count; i++)
        run->reach[i] = NAN;
    largest_subjects(train, most);
    if (most[0] == train->count) /* one subject: there are no others */
        return true;
    choose_asked(run);
    struct image_set asked = some_of(run, train, run->asked, run->asked_count);
    size_t k = least(train->count - most[0], greatest(run->local + 1, WITHIN));
    if (!near_find(&run->database[SET_TRAIN], "train", &asked, k, run->local, true, &control->near,
                   err) ||
        !take_values(control, run->looks[SET_TRAIN], run->asked, err))
        return false;
    control->subjects = count_subjects(train, run->asked, run->asked_count);
    for (size_t i = 0; i < run->asked_count; i++)
        run->reach[run->asked[i]] = distance_of(control->near.nearest[i * k].correlation);
    leave_out_of_control(run);
    return true;
}

/* ---- synthetic images -------------------------------------------------------------------------
 */

static bool search_synthetic(struct audit_run *run, struct error *err)
{
    const struct image_set *synthetic = images_of(run, SET_SYNTHETIC);
    if (!near_find(&run->database[SET_TRAIN], "synthetic", synthetic, run->k, run->local, false,
                   &run->synthetic, err))
        return false;
    run->correlation = memory_allocate(synthetic->count, sizeof(double), "correlations", err);
    run->ratio = memory_allocate(synthetic->count, sizeof(double), "local ratios", err);
    if (!run->correlation || !run->ratio)
        return false;
    for (size_t i = 0; i < synthetic->count; i++) {
        bool constant = run->looks[SET_SYNTHETIC][i].constant;
        run->correlation[i] = constant ? NAN : run->synthetic.nearest[i * run->k].correlation;
        run->ratio[i] = constant || !run->local ? NAN : run->synthetic.ratio[i];
    }
    return true;
}

/* Every image a group: an image is not its own neighbour. */
static struct image_set each_its_own(struct audit_run *run, const struct image_set *set)
{
    struct image_set own = *set;
    uint32_t *groups = arena_array(&run->arena, uint32_t, set->count);
    for (size_t i = 0; i < set->count; i++)
        groups[i] = (uint32_t)i;
    own.groups = groups;
    return own;
}

static bool search_in_synthetic(struct audit_run *run, struct error *err)
{
    struct image_set *set = arena_new(&run->arena, struct image_set);
    struct database *database = &run->database[SET_SYNTHETIC];
    *set = each_its_own(run, images_of(run, SET_SYNTHETIC));
    database->images = set;
    run->within_k = least(WITHIN, set->count - 1);
    if (run->within_k &&
        !pass_run(database, "synthetic", set, run->within_k, true, &run->within, err))
        return false;
    if (!pass_run(database, "train", images_of(run, SET_TRAIN), 1, false, &run->train_in_synthetic,
                  err))
        return false;
    return !run->sets.holdout || pass_run(database, "holdout", images_of(run, SET_HOLDOUT), 1,
                                          false, &run->holdout_in_synthetic, err);
}

static bool search_in_holdout(struct audit_run *run, struct error *err)
{
    return !run->sets.holdout ||
           pass_run(&run->database[SET_HOLDOUT], "synthetic", images_of(run, SET_SYNTHETIC), 1,
                    false, &run->in_holdout, err);
}

/* ---- channels alone ---------------------------------------------------------------------------
 */

/* The nearest of each query by one channel; NAN where the channel has no variance. */
static double *by_channel(struct audit_run *run, struct database *database, const char *name,
                          const struct image_set *queries, bool other_groups, struct error *err)
{
    struct search_result result;
    double *values = NULL;
    struct look *looks = looks_of(queries, database->channels, false, err);
    if (!looks || !pass_run(database, name, queries, 1, other_groups, &result, err)) {
        memory_free(looks);
        return NULL;
    }
    values = arena_array(&run->arena, double, queries->count);
    for (size_t i = 0; i < queries->count; i++)
        values[i] = looks[i].constant ? NAN : result.nearest[i].correlation;
    search_result_release(&result);
    memory_free(looks);
    return values;
}

/* Real images that are no strangers do not count by any channel either. */
static void leave_out(const struct control_values *control, double *values)
{
    for (size_t i = 0; i < control->count; i++)
        if (isnan(control->correlation[i]) || values[i] == 1)
            values[i] = NAN;
}

/* What the channel shows of the control. An image that was changed is left out where it would be as
 * it was given. */
static double *control_by_channel(struct audit_run *run, struct database *database,
                                  struct error *err)
{
    int given = unchanged_source(run->used);
    struct image_set strangers = audit_control_images(run, given), changed;
    double *values = by_channel(run, database, control_source_names[given], &strangers,
                                given == SOURCE_OTHERS, err);
    if (!values)
        return NULL;
    leave_out(&run->control[given], values);
    if (given == run->used)
        return values;
    changed = audit_control_images(run, run->used);
    double *used = by_channel(run, database, control_source_names[run->used], &changed, false, err);
    for (size_t i = 0; used && i < changed.count; i++)
        used[i] = isnan(values[i]) ? NAN : used[i];
    return used;
}

static bool search_channel(struct audit_run *run, size_t c, struct error *err)
{
    struct database database = { .passes = &run->passes,
                                 .name = arena_format(&run->arena, "train-channel-%zu", c),
                                 .images = images_of(run, SET_TRAIN),
                                 .engine = (enum engine)run->settings->engine,
                                 .device = run->device,
                                 .faiss_gpu = run->faiss_gpu,
                                 .channels = UINT64_C(1) << c };
    struct control_values *control = &run->control[run->used];
    run->channel[c] =
        by_channel(run, &database, "synthetic", images_of(run, SET_SYNTHETIC), false, err);
    control->channel[c] = run->channel[c] ? control_by_channel(run, &database, err) : NULL;
    certificate_add(&run->database[SET_TRAIN].certificate, &database.certificate);
    database_close(&database);
    return control->channel[c] != NULL;
}

static bool search_channels(struct audit_run *run, struct error *err)
{
    bool alone = (run->sets.channels & (run->sets.channels - 1)) == 0;
    if (!run->settings->per_channel || alone || run->used == SOURCE_COUNT)
        return true;
    for (size_t c = 0; c < images_of(run, SET_TRAIN)->channels; c++)
        if ((run->sets.channels >> c & 1) && !search_channel(run, c, err))
            return false;
    return true;
}

/* ---- changed copies ---------------------------------------------------------------------------
 */

const struct matcher *const matchers[MATCHER_COUNT] = {
    [MATCH_DISGUISE] = &disguise_matcher,
    [MATCH_TILE] = &tile_matcher,
    [MATCH_LESION] = &lesion_matcher,
};

/* Images that have no correlation have no disguised one either. */
static void leave_out_matches(struct matched *matched, const double *correlation)
{
    for (size_t i = 0; i < matched->count; i++)
        if (isnan(correlation[i]))
            matched->correlation[i] = matched->ratio[i] = NAN;
}

/* The synthetic images and the control that sets thresholds go through the same search. */
static bool search_changed(struct audit_run *run, int m, struct error *err)
{
    const struct dataset *store = run->sets.of[SET_TRAIN].dataset;
    struct matcher_job job = { .passes = &run->passes,
                               .database = images_of(run, SET_TRAIN),
                               .masks = store ? store->masks : NULL,
                               .channels = run->sets.channels,
                               .device = run->maxima };
    struct control_values *control = &run->control[run->used];
    bool others = run->used == SOURCE_OTHERS;
    struct image_set strangers = audit_control_images(run, run->used);
    bool ok = matcher_run(matchers[m], &job, "synthetic", images_of(run, SET_SYNTHETIC), false,
                          &run->matched[m], err) &&
              matcher_run(matchers[m], &job, control_source_names[run->used], &strangers, others,
                          &control->matched[m], err);
    if (ok && m == MATCH_DISGUISE && run->used == SOURCE_MATCHED) /* near-copies, as given */
        ok = matcher_run(matchers[m], &job, control_source_names[SOURCE_HOLDOUT],
                         images_of(run, SET_HOLDOUT), false,
                         &run->control[SOURCE_HOLDOUT].matched[m], err);
    matcher_close(matchers[m], &job);
    if (!ok)
        return false;
    leave_out_matches(&run->matched[m], run->correlation);
    leave_out_matches(&control->matched[m], control->correlation);
    if (run->used == SOURCE_MATCHED)
        leave_out_matches(&run->control[SOURCE_HOLDOUT].matched[m],
                          run->control[SOURCE_HOLDOUT].correlation);
    return true;
}

/* What the matcher takes is there. */
static bool can_match(const struct audit_run *run, const struct matcher *matcher)
{
    const struct image_set *train = images_of(run, SET_TRAIN);
    const struct dataset *store = run->sets.of[SET_TRAIN].dataset;
    return least(train->height, train->width) >= matcher->least_side &&
           (!matcher->needs_masks || (store && store->masks)) && run->used < SOURCE_COUNT;
}

static bool search_all_changed(struct audit_run *run, struct error *err)
{
    const bool wanted[MATCHER_COUNT] = {
        [MATCH_DISGUISE] = run->settings->transforms,
        [MATCH_TILE] = run->settings->tiles,
        [MATCH_LESION] = run->settings->tiles,
    };
    for (int m = 0; m < MATCHER_COUNT; m++)
        if (wanted[m] && can_match(run, matchers[m]) && !search_changed(run, m, err))
            return false;
    return true;
}

/* ---- in order ---------------------------------------------------------------------------------
 */

/* How rough training images are is of interest only where they are the control. */
static bool look_at_all(struct audit_run *run, struct error *err)
{
    bool others = !run->sets.holdout || run->settings->control == CONTROL_OTHER_SUBJECTS;
    for (enum set_role role = 0; role < SET_COUNT; role++) {
        if (role == SET_HOLDOUT && !run->sets.holdout)
            continue;
        bool rough = role != SET_TRAIN || others;
        run->looks[role] = looks_of(images_of(run, role), run->sets.channels, rough, err);
        if (!run->looks[role])
            return false;
    }
    return true;
}

/* Before anything is searched. */
static bool check_control(const struct audit_run *run, struct error *err)
{
    int control = run->settings->control;
    if (run->sets.holdout || (control != CONTROL_HOLDOUT && control != CONTROL_MATCHED_HOLDOUT))
        return true;
    return error_set(err,
                     "the control %s was asked for, but there is no holdout: give --holdout, or a "
                     "training store with subjects kept apart",
                     control == CONTROL_HOLDOUT ? "holdout" : "matched_holdout");
}

/* The control that sets thresholds: the one asked for, or the holdout where there is one. */
static bool choose_control(struct audit_run *run, struct error *err)
{
    static const int asked[CONTROL_COUNT] = { SOURCE_COUNT, SOURCE_HOLDOUT, SOURCE_MATCHED,
                                              SOURCE_OTHERS };
    run->used = asked[run->settings->control];
    if (run->used == SOURCE_COUNT)
        for (run->used = 0; run->used < SOURCE_COUNT && !run->control[run->used].present;)
            run->used++;
    if (run->used == SOURCE_COUNT) {
        text_add(&run->warnings, "no control: there is no holdout and the training set has one "
                                 "subject, so only absolute limits can flag an image\n");
        return true;
    }
    if (run->control[run->used].present)
        return true;
    return error_set(err, "the control %s was asked for, but the training set has one subject",
                     control_source_names[run->used]);
}

static void open_databases(struct audit_run *run)
{
    for (enum set_role role = 0; role < SET_COUNT; role++)
        run->database[role] = (struct database){ .passes = &run->passes,
                                                 .name = set_role_names[role],
                                                 .images = images_of(run, role),
                                                 .engine = (enum engine)run->settings->engine,
                                                 .device = run->device,
                                                 .faiss_gpu = run->faiss_gpu,
                                                 .channels = run->sets.channels };
}

bool audit_search(struct audit_run *run, struct error *err)
{
    open_databases(run);
    bool ok = check_control(run, err) && plan_neighbours(run, err) && look_at_all(run, err) &&
              search_synthetic(run, err) && search_holdout(run, err) && search_matched(run, err) &&
              search_others(run, err) && choose_control(run, err);
    database_close(&run->database[SET_TRAIN]); /* one database in memory at a time */
    ok = ok && search_in_synthetic(run, err);
    database_close(&run->database[SET_SYNTHETIC]);
    ok = ok && search_in_holdout(run, err);
    database_close(&run->database[SET_HOLDOUT]);
    return ok && search_channels(run, err) && search_all_changed(run, err);
}
