/* membership.json: how well scores tell members from others, what that rests on, and what it has to
 * be read with; and the tables of images and of people. */
#include "audit/measured.h"
#include "audit/membership_run.h"

#include "base/file.h"
#include "base/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const look_names[LOOK_COUNT] = { "mean", "contrast", "roughness" };

static struct bootstrap bootstrap_for(const struct membership_run *run, size_t intervals)
{
    return (struct bootstrap){ (uint64_t)run->settings->seed, (size_t)run->settings->bootstrap,
                               joint_confidence(intervals) };
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* Values to be drawn by person; the library calls low values members'. */
static struct sample sample_of_values(struct membership_run *run, const double *values,
                                      const uint32_t *groups, size_t count, double sign)
{
    double *kept = arena_array(&run->arena, double, count + 1);
    uint32_t *whose = arena_array(&run->arena, uint32_t, count + 1);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            kept[n] = sign * values[i];
            whose[n++] = groups[i];
        }
    return (struct sample){ kept, whose, n };
}

static struct sample images_sample(struct membership_run *run, enum member_side side)
{
    const struct member_set *of = &run->of[side];
    return sample_of_values(run, of->scores, of->groups, of->count, -1);
}

/* One value a person: the mean score of the images. */
static struct sample subjects_sample(struct membership_run *run, enum member_side side)
{
    const struct member_set *of = &run->of[side];
    double *values = arena_array(&run->arena, double, of->subject_count);
    for (size_t i = 0; i < of->subject_count; i++)
        values[i] = -of->subjects[i].score;
    return (struct sample){ values, NULL, of->subject_count };
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Where all is told apart, or nothing found, no resampling differs, however few the people are.
 * Then the interval is the exact one, of people as one trial each: of an AUC as many as pairs can
 * be made of, of a rate the members. */
static struct estimate with_exact_ends(struct estimate of, size_t people, double confidence)
{
    if (of.interval.low == of.interval.high && (of.value == 0 || of.value == 1))
        of.interval = clopper_pearson(of.value == 1 ? people : 0, people, confidence);
    return of;
}

static struct json *rate_json(struct estimate rate, bool supported)
{
    struct json *object = bounded_json(rate);
    json_put_bool(object, "supported", supported);
    return object;
}

/* Whether an AUC is higher than chance explains: its interval leaves .5 out, or everybody is told
 * apart, which of n and m people who are all alike chance does in one of C(n + m, n) orders. */
static bool tells_apart(const struct membership_run *run, struct estimate auc)
{
    double n = (double)run->of[MEMBERS].subject_count, m = (double)run->of[OTHERS].subject_count,
           by_chance = exp(lgamma(n + 1) + lgamma(m + 1) - lgamma(n + m + 1));
    return auc.value == 1 ? n > 1 && m > 1 && by_chance < 0.025 : auc.interval.low > 0.5;
}

static struct json *inference_json(const struct membership_run *run,
                                   const struct membership_inference *found)
{
    size_t people = run->of[MEMBERS].subject_count, others = run->of[OTHERS].subject_count,
           pairs = people < others ? people : others;
    double confidence = joint_confidence(run->job->candidates);
    struct json *object = json_new_object();
    json_put_integer(object, "members", (int64_t)found->members);
    json_put_integer(object, "non_members", (int64_t)found->others);
    json_put_bool(object, "tells_apart", tells_apart(run, found->auc));
    json_put(object, "auc", bounded_json(with_exact_ends(found->auc, pairs, confidence)));
    json_put(object, "tpr_at_1_percent",
             rate_json(with_exact_ends(found->tpr_1, people, confidence), found->supported_1));
    json_put(object, "tpr_at_0_1_percent",
             rate_json(with_exact_ends(found->tpr_01, people, confidence), found->supported_01));
    return object;
}

static bool excludes(struct interval interval, double value)
{
    return interval.low > value || interval.high < value;
}

/* ---- the two controls ------------------------------------------------------------------------ */

/* Half of the held-out subjects, drawn by the seed, in the place of members. */
struct halves {
    struct estimate images, subjects;
    size_t people[SIDES];
};

static struct halves halves_of(struct membership_run *run, const struct bootstrap *bootstrap)
{
    const struct member_set *of = &run->of[OTHERS];
    size_t people = of->subject_count, *order = memory_grow(NULL, people, sizeof *order);
    enum member_side *half = memory_grow(NULL, people, sizeof *half);
    struct halves halves = { .people = { people / 2, people - people / 2 } };
    struct sample images[SIDES], subjects[SIDES];
    random_permutation((uint64_t)run->settings->seed, random_stream("membership/halves"), people,
                       order);
    for (size_t i = 0; i < people; i++)
        half[order[i]] = i < people / 2 ? MEMBERS : OTHERS;
    for (enum member_side side = 0; side < SIDES; side++) {
        double *values = arena_array(&run->arena, double, people + 1),
               *scores = arena_array(&run->arena, double, of->count + 1);
        uint32_t *groups = arena_array(&run->arena, uint32_t, of->count + 1);
        images[side] = (struct sample){ scores, groups, 0 };
        subjects[side] = (struct sample){ values, NULL, 0 };
        for (size_t i = 0; i < people; i++)
            if (half[i] == side)
                values[subjects[side].count++] = -of->subjects[i].score;
        for (size_t i = 0; i < of->count; i++)
            if (half[of->subject[i]] == side) {
                groups[images[side].count] = of->groups[i];
                scores[images[side].count++] = -of->scores[i];
            }
    }
    halves.images = probability_below(&images[MEMBERS], &images[OTHERS], bootstrap);
    halves.subjects =
        with_exact_ends(probability_below(&subjects[MEMBERS], &subjects[OTHERS], bootstrap),
                        halves.people[MEMBERS], bootstrap->confidence);
    free(order);
    free(half);
    return halves;
}

static struct json *halves_json(const struct halves *halves)
{
    struct json *object = json_new_object(), *images = json_new_object(),
                *subjects = json_new_object();
    if (!halves->people[MEMBERS]) {
        json_free(object);
        json_free(images);
        json_free(subjects);
        return NULL;
    }
    json_put(images, "auc", bounded_json(halves->images));
    json_put(subjects, "auc", bounded_json(halves->subjects));
    json_put(object, "images", images);
    json_put(object, "subjects", subjects);
    return object;
}

/* The probability that a training image has less of it than a held-out one has: .5 where the sets
 * were made alike. The intervals hold together. */
static void compare_looks(struct membership_run *run, struct estimate looks[LOOK_COUNT])
{
    struct bootstrap bootstrap = bootstrap_for(run, LOOK_COUNT);
    for (enum look look = 0; look < LOOK_COUNT; look++) {
        struct sample sample[SIDES];
        for (enum member_side side = 0; side < SIDES; side++) {
            const struct member_set *of = &run->of[side];
            sample[side] = sample_of_values(run, of->looks[look], of->groups, of->count, 1);
        }
        looks[look] = (struct estimate){ NAN, { NAN, NAN } };
        if (sample[MEMBERS].count && sample[OTHERS].count)
            looks[look] = probability_below(&sample[MEMBERS], &sample[OTHERS], &bootstrap);
    }
}

static struct json *looks_json(const struct estimate looks[LOOK_COUNT])
{
    struct json *object = json_new_object();
    for (enum look look = 0; look < LOOK_COUNT; look++)
        json_put(object, look_names[look], bounded_json(looks[look]));
    return object;
}

/* ---- by time --------------------------------------------------------------------------------- */

/* What each time would tell alone: for looking at, since the best of many would flatter. */
static struct json *times_json(struct membership_run *run)
{
    struct json *list = json_new_array();
    const struct bootstrap once = { 0, 0, 0.95 };
    for (size_t n = 0; run->times && n < run->numbers; n++) {
        struct sample sample[SIDES];
        for (enum member_side side = 0; side < SIDES; side++) {
            const struct member_set *of = &run->of[side];
            double *losses = arena_array(&run->arena, double, of->count + 1);
            for (size_t i = 0; i < of->count; i++)
                losses[i] = of->numbers[i * run->numbers + n];
            sample[side] = (struct sample){ losses, of->groups, of->count };
        }
        struct json *object = json_new_object();
        json_put_integer(object, "time", run->times[n]);
        json_put_real(object, "auc",
                      probability_below(&sample[MEMBERS], &sample[OTHERS], &once).value);
        json_push(list, object);
    }
    return list;
}

/* ---- what they rest on ----------------------------------------------------------------------- */

static struct json *model_object(const struct membership_run *run)
{
    const struct generator_format *format = run->format;
    struct json *object = json_new_object();
    char hex[DIGEST_HEX];
    json_put_string(object, "name", format->model);
    json_put_string(object, "score", run->times ? "denoising loss" : "discriminator");
    json_put_integer(object, "step", (int64_t)format->step);
    json_put_integer(object, "side", (int64_t)format->side);
    json_put_bool(object, "mirror", format->mirror);
    json_put_string(object, "weights", digest_hex(&format->weights, hex));
    json_put_string(object, "checkpoint", path_name(format->checkpoint));
    json_put_string(object, "checkpoint_sha256", digest_hex(&run->checkpoint, hex));
    json_put_string(object, "device", format->device);
    if (run->times)
        json_put_integer(object, "steps", run->steps);
    return object;
}

static struct json *settings_object(const struct membership_run *run)
{
    struct json *object = json_new_object();
    json_put_integer(object, "draws", run->settings->draws);
    json_put_integer(object, "images", run->settings->images);
    json_put_integer(object, "bootstrap", run->settings->bootstrap);
    json_put_integer(object, "seed", run->settings->seed);
    return object;
}

static struct json *counts_object(const struct membership_run *run)
{
    struct json *object = json_new_object();
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        struct json *set = json_new_object();
        json_put_integer(set, "images", (int64_t)of->set->images.count);
        json_put_integer(set, "scored", (int64_t)of->count);
        json_put_integer(set, "subjects", (int64_t)of->subject_count);
        json_put(object, set_role_names[member_roles[side]], set);
    }
    return object;
}

static struct json *inputs_object(const struct membership_run *run)
{
    struct json *object = json_new_object();
    for (enum member_side side = 0; side < SIDES; side++)
        json_put(object, set_role_names[member_roles[side]], set_json(run->of[side].set));
    return object;
}

/* ---- warnings -------------------------------------------------------------------------------- */

static const char *const side_words[SIDES] = { [MEMBERS] = "training", [OTHERS] = "held-out" };

static void warn_of_people(struct membership_run *run)
{
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        if (!of->set->subjects_known)
            text_format(&run->warnings,
                        "the %s set does not tell whose images it holds, so each counts as "
                        "somebody else's: intervals are too narrow, and nothing is known of "
                        "patients\n",
                        side_words[side]);
        else if (of->subject_count < FEW_PEOPLE)
            text_format(&run->warnings,
                        "the %s set is of %zu %s: intervals resampled from fewer than %d are too "
                        "narrow\n",
                        side_words[side], of->subject_count,
                        of->subject_count == 1 ? "person" : "people", (int)FEW_PEOPLE);
    }
}

static void warn_of_weights(struct membership_run *run)
{
    if (run->imported)
        text_add(&run->warnings,
                 "the weights were imported: nothing here shows that they were trained on this "
                 "training set, and the numbers mean something only if they were\n");
    if (run->job->weights == WEIGHTS_BEST)
        text_add(&run->warnings,
                 "the checkpoint was chosen for its low loss on images that training did not show; "
                 "where these are the held-out ones, their scores are a little too good\n");
}

static void warn_of_difference(struct membership_run *run, const struct estimate looks[LOOK_COUNT])
{
    for (enum look look = 0; look < LOOK_COUNT; look++)
        if (excludes(looks[look].interval, 0.5))
            text_format(&run->warnings,
                        "training and held-out images differ by themselves: their %s alone tells "
                        "them apart with an AUC of %.2f, so scores may, too, without a memory of "
                        "anybody; split one cohort at random\n",
                        look_names[look], fmax(looks[look].value, 1 - looks[look].value));
}

/* Halves of fewer people differ more often than their intervals allow for; that people are few is
 * told elsewhere. */
static void warn_of_halves(struct membership_run *run, const struct halves *halves)
{
    if (run->of[OTHERS].subject_count < FEW_PEOPLE)
        return;
    if (excludes(halves->images.interval, 0.5) || excludes(halves->subjects.interval, 0.5))
        text_format(&run->warnings,
                    "two halves of the held-out subjects, none of whom the model saw, score "
                    "differently (AUC %.2f of images, %.2f of subjects); chance does that once in "
                    "twenty times, and else the intervals are not to be trusted\n",
                    halves->images.value, halves->subjects.value);
}

/* What an audit is made to find out. */
static void warn_of_memory(struct membership_run *run, const struct membership_inference *images,
                           const struct membership_inference *subjects)
{
    if (tells_apart(run, images->auc) || tells_apart(run, subjects->auc))
        text_format(&run->warnings,
                    "the model tells images that it was trained on from others: AUC %.3f of "
                    "images, %.3f of subjects; who holds the weights can do so, too\n",
                    images->auc.value, subjects->auc.value);
}

/* ---- the document ---------------------------------------------------------------------------- */

struct json *membership_document(struct membership_run *run)
{
    struct bootstrap bootstrap = bootstrap_for(run, run->job->candidates),
                     control = bootstrap_for(run, 1);
    struct sample images[SIDES] = { images_sample(run, MEMBERS), images_sample(run, OTHERS) },
                  subjects[SIDES] = { subjects_sample(run, MEMBERS), subjects_sample(run, OTHERS) };
    struct membership_inference by_image = membership_inference(&images[MEMBERS], &images[OTHERS],
                                                                &bootstrap),
                                by_subject = membership_inference(&subjects[MEMBERS],
                                                                  &subjects[OTHERS], &bootstrap);
    struct halves halves = halves_of(run, &control);
    struct estimate looks[LOOK_COUNT];
    compare_looks(run, looks);
    warn_of_memory(run, &by_image, &by_subject);
    warn_of_difference(run, looks);
    warn_of_halves(run, &halves);
    warn_of_people(run);
    warn_of_weights(run);
    struct json *document = json_new_object(), *tool = json_new_object();
    json_put_string(document, "schema", MEMBERSHIP_SCHEMA);
    if (run->job->candidates > 1) /* intervals hold for so many models together */
        json_put_integer(document, "candidates", (int64_t)run->job->candidates);
    json_put_string(tool, "version", LETHE_VERSION);
    json_put(document, "tool", tool);
    json_put(document, "settings", settings_object(run));
    json_put(document, "model", model_object(run));
    json_put(document, "counts", counts_object(run));
    json_put(document, "warnings", lines_json(&run->warnings, &run->arena));
    json_put(document, "images", inference_json(run, &by_image));
    json_put(document, "subjects", inference_json(run, &by_subject));
    struct json *found = halves_json(&halves);
    if (found)
        json_put(document, "control", found);
    else
        json_put_null(document, "control");
    json_put(document, "difference", looks_json(looks));
    if (run->times)
        json_put(document, "times", times_json(run));
    json_put(document, "inputs", inputs_object(run));
    return document;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Digits that read back exactly would tell more than a score does. */
#define SCORE "%.9g"

static void add_image(const struct membership_run *run, enum member_side side, size_t i,
                      struct text *table)
{
    const struct member_set *of = &run->of[side];
    uint64_t row = set_place(of->set, of->images[i]);
    text_format(table, "%s,%" PRIu64 ",", set_role_names[member_roles[side]], row);
    text_add_csv(table, of->set->subjects[of->images[i]]);
    text_format(table, ",%" PRId64 "," SCORE, of->set->dataset->index[row].slice, of->scores[i]);
    for (size_t n = 0; run->times && n < run->numbers; n++)
        text_format(table, "," SCORE, of->numbers[i * run->numbers + n]);
    text_add(table, "\n");
}

/* How many of the held-out subjects score less: of one of these, those but itself. */
static double share_below_score(const struct membership_run *run, enum member_side side,
                                double score)
{
    const struct member_set *others = &run->of[OTHERS];
    size_t of = others->subject_count - (side == OTHERS), below = 0;
    for (size_t i = 0; i < others->subject_count; i++)
        below += others->subjects[i].score < score;
    return of ? (double)below / (double)of : NAN;
}

static bool save(const struct membership_run *run, const char *name, struct text *table,
                 struct arena *arena, struct error *err)
{
    bool ok = file_write(path_join(arena, run->job->out, name), table->bytes, table->length, err);
    text_release(table);
    return ok;
}

bool membership_write_tables(struct membership_run *run, struct error *err)
{
    struct text images = { 0 }, subjects = { 0 };
    text_add(&images, "set,image,subject,slice,score");
    for (size_t n = 0; run->times && n < run->numbers; n++)
        text_format(&images, ",loss_at_%d", run->times[n]);
    text_add(&images, "\n");
    text_add(&subjects, "set,subject,images,score,held_out_below\n");
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        for (size_t i = 0; i < of->count; i++)
            add_image(run, side, i, &images);
        for (size_t i = 0; i < of->subject_count; i++) {
            text_format(&subjects, "%s,", set_role_names[member_roles[side]]);
            text_add_csv(&subjects, of->subjects[i].name);
            text_format(&subjects, ",%zu," SCORE ",%.4f\n", of->subjects[i].images,
                        of->subjects[i].score, share_below_score(run, side, of->subjects[i].score));
        }
    }
    bool ok = save(run, "scores.csv", &images, &run->arena, err);
    ok = save(run, "subjects.csv", &subjects, &run->arena, ok ? err : NULL) && ok;
    return ok;
}
