/* References: which checkpoints these are, whom they learnt from, what a score is beside theirs.
 *
 * Who learnt from whom is worked out anew from seed, number and names, and has to be what the
 * checkpoint says: so nobody is calibrated by a model that did see the person. */
#include "audit/membership_run.h"

#include "base/file.h"
#include "train/batches.h"
#include "train/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- which ----------------------------------------------------------------------------------- */

/* A checkpoint; of a folder that after as many steps as the model's, else the latest. */
static bool find_checkpoint(struct membership_run *run, const char *from,
                            struct member_reference *reference, struct error *err)
{
    reference->checkpoint = from;
    if (path_kind(from) != PATH_FOLDER)
        return true;
    const char *folder = path_join(&run->arena, from, "checkpoints");
    if (checkpoint_after(folder, run->format->step, &run->arena, &reference->checkpoint, NULL))
        return true;
    if (!checkpoint_latest(folder, &run->arena, &reference->checkpoint, err))
        return false;
    return reference->checkpoint ||
           error_set(err, "%s: no checkpoint; lethe train --reference K trains a reference", from);
}

/* What decides about a training, of a checkpoint's record; its seed, too. */
static bool settings_of(const struct checkpoint_record *record, const char *path, uint64_t *seed,
                        struct text *out, struct arena *arena, struct error *err)
{
    struct train_settings settings;
    if (!train_settings_parse(record->settings, path, &settings, arena, err))
        return false;
    train_settings_text(&settings, true, out);
    *seed = (uint64_t)settings.seed;
    return true;
}

/* Whether it was trained as the model was; where not, the first line that differs. */
static bool same_training(const char *model, const char *settings, const char *path,
                          const char *reference, struct error *err)
{
    size_t at = 0;
    for (size_t i = 0; settings[i] && settings[i] == model[i]; i++)
        at = settings[i] == '\n' ? i + 1 : at;
    if (strcmp(settings, model) == 0)
        return true;
    at += strspn(settings + at, " ");
    return error_set(
        err,
        "%s: was trained with \"%.*s\", %s with \"%.*s\"; a reference has the settings "
        "of the model beside which it stands",
        reference, (int)strcspn(settings + at, "\n"), settings + at, path,
        (int)strcspn(model + at, "\n"), model + at);
}

static bool check_settings(struct membership_run *run, const struct checkpoint_record *record,
                           const struct member_reference *reference, uint64_t *seed,
                           struct error *err)
{
    struct checkpoint_record model;
    struct text of_model = { 0 }, settings = { 0 };
    const char *path = run->format->checkpoint;
    bool ok = checkpoint_read(path, &model, &run->arena, err) &&
              settings_of(&model, path, seed, &of_model, &run->arena, err) &&
              settings_of(record, reference->checkpoint, seed, &settings, &run->arena, err) &&
              same_training(of_model.bytes, settings.bytes, path, reference->checkpoint, err);
    text_release(&of_model);
    text_release(&settings);
    return ok;
}

static bool check_half(const struct checkpoint_record *record, uint64_t seed,
                       const struct dataset *train, struct member_reference *reference,
                       struct error *err)
{
    if (!reference_draw(train, seed, reference->number, &reference->drawn, err))
        return false;
    return strcmp(record->half, reference->drawn.half) == 0 ||
           error_set(err,
                     "%s: the people whom it says it learnt from (%.12s…) are not those whom "
                     "reference %" PRIu64 " has to learn from (%.12s…)",
                     reference->checkpoint, record->half, reference->number, reference->drawn.half);
}

static bool check_number(const struct membership_run *run, const struct member_reference *reference,
                         struct error *err)
{
    if (!reference->number)
        return error_set(err,
                         "%s: no reference, but trained on the whole training set; lethe train "
                         "--reference K trains one",
                         reference->checkpoint);
    for (size_t r = 0; r < run->reference_count; r++)
        if (run->references[r].number == reference->number)
            return error_set(err, "%s: is reference %" PRIu64 ", as is %s", reference->checkpoint,
                             reference->number, run->references[r].checkpoint);
    return true;
}

static bool find_reference(struct membership_run *run, const char *from,
                           struct member_reference *reference, struct error *err)
{
    struct checkpoint_record record;
    uint64_t seed;
    const struct dataset *train = run->of[MEMBERS].set->dataset;
    if (!find_checkpoint(run, from, reference, err) ||
        !checkpoint_read(reference->checkpoint, &record, &run->arena, err))
        return false;
    reference->number = record.reference;
    reference->step = record.step;
    if (!check_number(run, reference, err))
        return false;
    if (strcmp(record.dataset, run->format->dataset) != 0)
        return error_set(err, "%s: was trained on another dataset than %s", reference->checkpoint,
                         run->format->checkpoint);
    return check_settings(run, &record, reference, &seed, err) &&
           check_half(&record, seed, train, reference, err) &&
           digest_file(reference->checkpoint, &reference->digest, err);
}

bool membership_find_references(struct membership_run *run, struct error *err)
{
    const struct yaml_strings *from = &run->job->references;
    if (from->count > REFERENCES_MOST)
        return error_set(err, "%zu references; there can be %d", from->count, REFERENCES_MOST);
    run->references = arena_array(&run->arena, struct member_reference, from->count + 1);
    for (size_t i = 0; i < from->count; i++, run->reference_count++) {
        struct member_reference *reference = &run->references[run->reference_count];
        if (!find_reference(run, from->items[i], reference, err)) {
            reference_release(&reference->drawn);
            return false;
        }
    }
    return true;
}

void membership_release_references(struct membership_run *run)
{
    for (size_t r = 0; r < run->reference_count; r++)
        reference_release(&run->references[r].drawn);
}

/* ---- whom they judge ------------------------------------------------------------------------- */

bool membership_reference_learns(const struct member_reference *reference,
                                 const struct member_set *of, size_t image)
{
    return reference->drawn.learns[set_place(of->set, of->images[image])];
}

/* The images that it learnt from. */
static size_t learnt_by(const struct membership_run *run, const bool *learns,
                        struct look *const looks[SIDES], struct look *learnt)
{
    size_t count = 0;
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct audit_set *set = run->of[side].set;
        for (size_t i = 0; i < set->images.count; i++)
            if (learns[set_place(set, i)])
                learnt[count++] = looks[side][i];
    }
    return count;
}

/* Marks whose images are, pixel by pixel, among these, though the reference has not their name. */
static void mark_copies(const struct audit_set *set, const bool *learns, const struct look *looks,
                        const struct look *learnt, size_t count, bool *copied)
{
    size_t *twins = memory_grow(NULL, set->images.count, sizeof *twins);
    images_in(looks, set->images.count, learnt, count, twins);
    for (size_t i = 0; i < set->images.count; i++)
        if (twins[i] != NO_TWIN && !learns[set_place(set, i)])
            copied[set->images.groups[i]] = true;
    free(twins);
}

/* All that these people have counts as learnt from. */
static void learn_copied(const struct audit_set *set, const bool *copied, bool *learns)
{
    for (size_t i = 0; i < set->images.count; i++)
        if (copied[set->images.groups[i]])
            learns[set_place(set, i)] = true;
}

/* Somebody who stands in the store under two names may have been left out by one of them and learnt
 * from by the other; a reference that saw the person judges neither. */
void membership_know_copies(struct membership_run *run, struct look *const looks[SIDES])
{
    size_t rows = run->of[MEMBERS].set->images.count + run->of[OTHERS].set->images.count;
    struct look *learnt = memory_grow(NULL, rows, sizeof *learnt);
    bool *copied = memory_grow(NULL, rows, sizeof *copied), /* by person; there are no more */
        *ever = arena_array(&run->arena, bool, rows);
    for (size_t r = 0; r < run->reference_count; r++) {
        bool *learns = run->references[r].drawn.learns;
        size_t count = learnt_by(run, learns, looks, learnt);
        memset(copied, 0, rows * sizeof *copied);
        for (enum member_side side = 0; side < SIDES; side++)
            mark_copies(run->of[side].set, learns, looks[side], learnt, count, copied);
        for (enum member_side side = 0; side < SIDES; side++)
            learn_copied(run->of[side].set, copied, learns);
        for (size_t p = 0; p < rows; p++)
            ever[p] |= copied[p];
    }
    for (size_t p = 0; p < rows; p++)
        run->copied += ever[p];
    free(copied);
    free(learnt);
}

bool membership_check_judged(const struct membership_run *run, struct error *err)
{
    for (enum member_side side = 0; run->reference_count && side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        size_t judged = 0;
        for (size_t i = 0; i < of->count; i++)
            for (size_t r = 0; r < run->reference_count; r++)
                judged += !membership_reference_learns(&run->references[r], of, i);
        if (!judged)
            return error_set(
                err,
                "the references learnt from everybody in the %s set, so none can judge "
                "it; give both of a pair, as 1 and 2",
                set_role_names[member_roles[side]]);
    }
    return true;
}

/* How much higher the model scores than a reference, on average of all images that this left out,
 * whoever is in training. What a discriminator says has no zero: the level of one may lie three
 * deviations of its scores above another's, and people would differ by who judges them. */
static long double level_of(const struct membership_run *run, size_t r)
{
    long double sum = 0;
    size_t count = 0;
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        for (size_t i = 0; i < of->count; i++) {
            double score = of->beside[r * of->count + i];
            sum += isnan(score) ? 0 : (long double)of->scores[i] - score;
            count += !isnan(score);
        }
    }
    return count ? sum / count : 0;
}

/* What the model says more of an image than models do that never saw the person. */
static double calibrated(const struct membership_run *run, const long double *levels,
                         const struct member_set *of, size_t i)
{
    long double sum = 0;
    size_t count = 0;
    for (size_t r = 0; r < run->reference_count; r++) {
        double score = of->beside[r * of->count + i];
        sum += isnan(score) ? 0 : score + levels[r];
        count += !isnan(score);
    }
    return count ? (double)(of->scores[i] - sum / count) : NAN;
}

void membership_calibrate(struct membership_run *run)
{
    long double levels[REFERENCES_MOST];
    for (size_t r = 0; r < run->reference_count; r++)
        levels[r] = level_of(run, r);
    for (enum member_side side = 0; side < SIDES; side++) {
        struct member_set *of = &run->of[side];
        for (size_t i = 0; of->calibrated && i < of->count; i++)
            of->calibrated[i] = calibrated(run, levels, of, i);
    }
}
