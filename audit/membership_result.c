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

/* Scores of one kind, and what they say: those of the model, or the calibrated ones. */
struct comparison {
    const char *name; /* of these scores, in warnings */
    /* Of images and of people, NaN where they are not judged; and how many people are. */
    const double *images[SIDES], *people[SIDES];
    size_t people_count[SIDES];
    struct finding {
        struct membership_inference found;
        double
            by_chance; /* to tell them apart as well; NaN: of one person on a side nobody knows */
    } by_image, by_subject;
    struct halves {
        struct estimate images, subjects;
        size_t people[SIDES];
    } halves;
};

/* Values to be drawn by person, or each alone; the library calls low values members'. */
static struct sample sample_of_values(struct membership_run *run, const double *values,
                                      const uint32_t *groups, size_t count, double sign)
{
    double *kept = arena_array(&run->arena, double, count + 1);
    uint32_t *whose = groups ? arena_array(&run->arena, uint32_t, count + 1) : NULL;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            kept[n] = sign * values[i];
            if (groups)
                whose[n] = groups[i];
            n++;
        }
    return (struct sample){ kept, whose, n };
}

static struct sample images_sample(struct membership_run *run, const struct comparison *comparison,
                                   enum member_side side)
{
    const struct member_set *of = &run->of[side];
    return sample_of_values(run, comparison->images[side], of->groups, of->count, -1);
}

/* One value a person: the mean score of the images. */
static struct sample subjects_sample(struct membership_run *run,
                                     const struct comparison *comparison, enum member_side side)
{
    return sample_of_values(run, comparison->people[side], NULL, run->of[side].subject_count, -1);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Where all is told apart, nothing found, or every score the same, no resampling differs, however
 * few the people are. Then people are one trial each (of an AUC as many as pairs can be made of, of
 * a rate the members), none of which came out otherwise: a share of them may, which the exact
 * interval bounds, and whose own value lies anywhere from 0 to 1. */
static struct estimate with_exact_ends(struct estimate of, size_t people, double confidence)
{
    if (of.interval.low == of.interval.high) {
        double otherwise = clopper_pearson(0, people, confidence).high,
               low = of.value * (1 - otherwise);
        of.interval = (struct interval){ low, low + otherwise };
    }
    return of;
}

/* One of each side, nobody twice. */
static size_t pairs_of_people(const size_t people[SIDES])
{
    return people[MEMBERS] < people[OTHERS] ? people[MEMBERS] : people[OTHERS];
}

static struct json *rate_json(struct estimate rate, bool supported)
{
    struct json *object = bounded_json(rate);
    json_put_bool(object, "supported", supported);
    return object;
}

/* Where all are told apart that is one order of n and m people out of C(n + m, n). */
static struct finding find(const struct comparison *comparison, const struct sample samples[SIDES],
                           const struct bootstrap *bootstrap)
{
    double n = (double)comparison->people_count[MEMBERS],
           m = (double)comparison->people_count[OTHERS];
    struct finding finding = {
        .found = membership_inference(&samples[MEMBERS], &samples[OTHERS], bootstrap),
        .by_chance = chance_of_exchange(&samples[MEMBERS], &samples[OTHERS], bootstrap)
    };
    if (finding.found.auc.value == 1 && !isnan(finding.by_chance))
        finding.by_chance = exp(lgamma(n + 1) + lgamma(m + 1) - lgamma(n + m + 1));
    return finding;
}

/* Whether an AUC is higher than chance explains: with candidates, than it explains of any. */
static bool tells_apart(const struct membership_run *run, const struct finding *finding)
{
    return finding->by_chance < (1 - joint_confidence(run->job->candidates)) / 2;
}

static struct json *inference_json(const struct membership_run *run,
                                   const struct comparison *comparison,
                                   const struct finding *finding)
{
    const struct membership_inference *found = &finding->found;
    size_t people = comparison->people_count[MEMBERS],
           pairs = pairs_of_people(comparison->people_count);
    double confidence = joint_confidence(run->job->candidates);
    struct json *object = json_new_object();
    json_put_integer(object, "members", (int64_t)found->members);
    json_put_integer(object, "non_members", (int64_t)found->others);
    json_put_bool(object, "tells_apart", tells_apart(run, finding));
    json_put_real(object, "by_chance", finding->by_chance);
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

/* Which of the held-out subjects are in the place of members: half of those who are judged, drawn
 * by the seed. */
static void draw_halves(const struct membership_run *run, const double *people, size_t judged,
                        enum member_side *half)
{
    size_t count = run->of[OTHERS].subject_count, *order = memory_grow(NULL, count, sizeof *order),
           *place = memory_grow(NULL, count, sizeof *place), next = 0;
    random_permutation((uint64_t)run->settings->seed, random_stream("membership/halves"), judged,
                       order);
    for (size_t i = 0; i < judged; i++)
        place[order[i]] = i;
    for (size_t i = 0; i < count; i++)
        half[i] = !isnan(people[i]) && place[next++] < judged / 2 ? MEMBERS : OTHERS;
    free(order);
    free(place);
}

/* What one of the halves holds. */
static void fill_half(struct membership_run *run, const struct comparison *comparison,
                      const enum member_side *half, enum member_side side, struct sample *images,
                      struct sample *subjects)
{
    const struct member_set *of = &run->of[OTHERS];
    double *scores = arena_array(&run->arena, double, of->count + 1),
           *people = arena_array(&run->arena, double, of->subject_count + 1);
    for (size_t i = 0; i < of->count; i++)
        scores[i] = half[of->subject[i]] == side ? comparison->images[OTHERS][i] : NAN;
    for (size_t i = 0; i < of->subject_count; i++)
        people[i] = half[i] == side ? comparison->people[OTHERS][i] : NAN;
    *images = sample_of_values(run, scores, of->groups, of->count, -1);
    *subjects = sample_of_values(run, people, NULL, of->subject_count, -1);
}

static struct halves halves_of(struct membership_run *run, const struct comparison *comparison,
                               const struct bootstrap *bootstrap)
{
    size_t people = comparison->people_count[OTHERS];
    enum member_side *half = memory_grow(NULL, run->of[OTHERS].subject_count, sizeof *half);
    struct halves halves = { .people = { people / 2, people - people / 2 } };
    struct sample images[SIDES], subjects[SIDES];
    draw_halves(run, comparison->people[OTHERS], people, half);
    for (enum member_side side = 0; side < SIDES; side++)
        fill_half(run, comparison, half, side, &images[side], &subjects[side]);
    halves.images = with_exact_ends(probability_below(&images[MEMBERS], &images[OTHERS], bootstrap),
                                    halves.people[MEMBERS], bootstrap->confidence);
    halves.subjects =
        with_exact_ends(probability_below(&subjects[MEMBERS], &subjects[OTHERS], bootstrap),
                        halves.people[MEMBERS], bootstrap->confidence);
    free(half);
    return halves;
}

static struct json *halves_json(const struct halves *halves)
{
    if (!halves->people[MEMBERS])
        return NULL;
    struct json *object = json_new_object(), *images = json_new_object(),
                *subjects = json_new_object();
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
    const size_t people[SIDES] = { run->of[MEMBERS].subject_count, run->of[OTHERS].subject_count };
    for (enum plain_look look = 0; look < LOOK_COUNT; look++) {
        struct sample sample[SIDES];
        for (enum member_side side = 0; side < SIDES; side++) {
            const struct member_set *of = &run->of[side];
            sample[side] = sample_of_values(run, of->looks[look], of->groups, of->count, 1);
        }
        looks[look] = (struct estimate){ NAN, { NAN, NAN } };
        if (sample[MEMBERS].count && sample[OTHERS].count)
            looks[look] =
                with_exact_ends(probability_below(&sample[MEMBERS], &sample[OTHERS], &bootstrap),
                                pairs_of_people(people), bootstrap.confidence);
    }
}

static struct json *looks_json(const struct estimate looks[LOOK_COUNT])
{
    struct json *object = json_new_object();
    for (enum plain_look look = 0; look < LOOK_COUNT; look++)
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
        if (side == OTHERS)
            json_put_integer(set, "identical", (int64_t)run->seen);
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

/* Where all images are told apart it is said of few people, too, of whom an interval says little: a
 * score that does so as well is then no sign of a memory. */
static bool differs(struct estimate look)
{
    bool all = !isnan(look.interval.low) && (look.value == 0 || look.value == 1);
    return all || excludes(look.interval, 0.5);
}

static void warn_of_difference(struct membership_run *run, const struct estimate looks[LOOK_COUNT])
{
    for (enum plain_look look = 0; look < LOOK_COUNT; look++)
        if (differs(looks[look]))
            text_format(&run->warnings,
                        "training and held-out images differ by themselves: their %s alone tells "
                        "them apart with an AUC of %.2f, so scores may, too, without a memory of "
                        "anybody; split one cohort at random\n",
                        look_names[look], fmax(looks[look].value, 1 - looks[look].value));
}

/* Halves of fewer people differ more often than their intervals allow for; that people are few is
 * told elsewhere. */
static void warn_of_halves(struct membership_run *run, const struct comparison *comparison)
{
    const struct halves *halves = &comparison->halves;
    if (comparison->people_count[OTHERS] < FEW_PEOPLE)
        return;
    if (excludes(halves->images.interval, 0.5) || excludes(halves->subjects.interval, 0.5))
        text_format(&run->warnings,
                    "two halves of the held-out subjects, none of whom the model saw, %sscore "
                    "differently (AUC %.2f of images, %.2f of subjects); chance does that once in "
                    "twenty times, and else the intervals are not to be trusted\n",
                    comparison->name, halves->images.value, halves->subjects.value);
}

/* What an audit is made to find out. */
static void warn_of_memory(struct membership_run *run, const struct comparison *comparison)
{
    const struct finding *images = &comparison->by_image, *subjects = &comparison->by_subject;
    if (tells_apart(run, images) || tells_apart(run, subjects))
        text_format(&run->warnings,
                    "%sthe model tells images that it was trained on from others: AUC %.3f of "
                    "images, %.3f of subjects; who holds the weights can do so, too\n",
                    comparison->name, images->found.auc.value, subjects->found.auc.value);
}

/* Nobody is known less for having been learnt from. */
static void warn_of_reverse(struct membership_run *run, const struct comparison *comparison)
{
    const struct finding *images = &comparison->by_image, *subjects = &comparison->by_subject;
    if (pairs_of_people(comparison->people_count) >= FEW_PEOPLE &&
        (images->found.auc.interval.high < 0.5 || subjects->found.auc.interval.high < 0.5))
        text_format(&run->warnings,
                    "%straining images score lower than held-out ones (AUC %.3f of images, %.3f of "
                    "subjects), which no memory explains: the sets differ by themselves, and a "
                    "memory may be hidden by that; split one cohort at random\n",
                    comparison->name, images->found.auc.value, subjects->found.auc.value);
}

static void warn_of_references(struct membership_run *run, const struct comparison *calibrated)
{
    for (size_t r = 0; r < run->reference_count; r++)
        if (run->references[r].step != run->format->step)
            text_format(&run->warnings,
                        "reference %" PRIu64 " was trained for %" PRIu64 " steps and the model for "
                        "%" PRIu64 ": scores are calibrated less well than they could be\n",
                        run->references[r].number, run->references[r].step, run->format->step);
    size_t people[SIDES];
    for (enum member_side side = 0; side < SIDES; side++)
        people[side] = run->of[side].subject_count - calibrated->people_count[side];
    if (people[MEMBERS] + people[OTHERS])
        text_format(
            &run->warnings,
            "%zu of the training and %zu of the held-out subjects are not judged by "
            "calibrated scores, as every reference learnt from them; give both of each pair "
            "of references\n",
            people[MEMBERS], people[OTHERS]);
    if (run->copied)
        text_format(&run->warnings,
                    "%zu subjects have images that are, pixel by pixel, other people's of training "
                    "or holdout: they do not count as left out by references that learnt from "
                    "those; list nobody under two names\n",
                    run->copied);
}

static int by_count(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static size_t median_images(const struct member_set *of)
{
    size_t *counts = memory_grow(NULL, of->subject_count, sizeof *counts);
    for (size_t i = 0; i < of->subject_count; i++)
        counts[i] = of->subjects[i].images;
    qsort(counts, of->subject_count, sizeof *counts, by_count);
    size_t median = counts[of->subject_count / 2];
    free(counts);
    return median;
}

/* Scores lie askew, and a mean of few of them more so than one of many: of exponential scores one
 * lies above the mean of many with a probability of .37, and nobody was remembered. */
static void warn_of_counts(struct membership_run *run)
{
    size_t members = median_images(&run->of[MEMBERS]), others = median_images(&run->of[OTHERS]);
    if (members >= 2 * others || others >= 2 * members)
        text_format(&run->warnings,
                    "patients are compared by means of unlike numbers of images, %zu in training "
                    "and %zu held out (medians), and may be told apart by that alone; score all "
                    "(images: 0), and hold out patients with as many\n",
                    members, others);
}

static void warn_of_seen(struct membership_run *run)
{
    if (run->seen)
        text_format(&run->warnings,
                    "%zu of the held-out images %s, pixel by pixel, of the training set, under "
                    "other people's names: the model saw them, so they are left out\n",
                    run->seen, run->seen == 1 ? "is one" : "are images");
}

/* ---- the document ---------------------------------------------------------------------------- */

static struct comparison compare(struct membership_run *run, struct comparison comparison)
{
    struct bootstrap bootstrap = bootstrap_for(run, run->job->candidates),
                     control = bootstrap_for(run, 1);
    struct sample images[SIDES], subjects[SIDES];
    for (enum member_side side = 0; side < SIDES; side++) {
        images[side] = images_sample(run, &comparison, side);
        subjects[side] = subjects_sample(run, &comparison, side);
        comparison.people_count[side] = subjects[side].count;
    }
    comparison.by_image = find(&comparison, images, &bootstrap);
    comparison.by_subject = find(&comparison, subjects, &bootstrap);
    comparison.halves = halves_of(run, &comparison, &control);
    return comparison;
}

static struct comparison compare_scores(struct membership_run *run)
{
    struct comparison comparison = { .name = "" };
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        double *people = arena_array(&run->arena, double, of->subject_count);
        for (size_t i = 0; i < of->subject_count; i++)
            people[i] = of->subjects[i].score;
        comparison.images[side] = of->scores;
        comparison.people[side] = people;
    }
    return compare(run, comparison);
}

static struct comparison compare_calibrated(struct membership_run *run)
{
    struct comparison comparison = { .name = "beside references " };
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        double *people = arena_array(&run->arena, double, of->subject_count);
        for (size_t i = 0; i < of->subject_count; i++)
            people[i] = of->subjects[i].calibrated;
        comparison.images[side] = of->calibrated;
        comparison.people[side] = people;
    }
    return compare(run, comparison);
}

/* Images, subjects and the control, into the document itself or a part of it. */
static void put_comparison(const struct membership_run *run, const struct comparison *comparison,
                           struct json *object)
{
    json_put(object, "images", inference_json(run, comparison, &comparison->by_image));
    json_put(object, "subjects", inference_json(run, comparison, &comparison->by_subject));
    struct json *halves = halves_json(&comparison->halves);
    if (halves)
        json_put(object, "control", halves);
    else
        json_put_null(object, "control");
}

static struct json *references_json(const struct membership_run *run)
{
    struct json *list = json_new_array();
    char hex[DIGEST_HEX];
    for (size_t r = 0; r < run->reference_count; r++) {
        const struct member_reference *reference = &run->references[r];
        struct json *object = json_new_object();
        json_put_integer(object, "reference", (int64_t)reference->number);
        json_put_integer(object, "subjects", (int64_t)reference->drawn.people);
        json_put_string(object, "half", reference->drawn.half);
        json_put_integer(object, "step", (int64_t)reference->step);
        json_put_string(object, "checkpoint", path_name(reference->checkpoint));
        json_put_string(object, "checkpoint_sha256", digest_hex(&reference->digest, hex));
        json_push(list, object);
    }
    return list;
}

static struct json *calibrated_json(const struct membership_run *run,
                                    const struct comparison *calibrated)
{
    struct json *object = json_new_object(), *left = json_new_object();
    for (enum member_side side = 0; side < SIDES; side++)
        json_put_integer(
            left, set_role_names[member_roles[side]],
            (int64_t)(run->of[side].count - (side == MEMBERS ? calibrated->by_image.found.members
                                                             : calibrated->by_image.found.others)));
    json_put(object, "references", references_json(run));
    json_put(object, "not_judged", left);
    put_comparison(run, calibrated, object);
    return object;
}

static void warn_of_comparison(struct membership_run *run, const struct comparison *comparison)
{
    warn_of_memory(run, comparison);
    warn_of_reverse(run, comparison);
}

struct json *membership_document(struct membership_run *run)
{
    bool beside = run->reference_count;
    struct comparison scores = compare_scores(run),
                      calibrated = beside ? compare_calibrated(run) : (struct comparison){ 0 };
    struct estimate looks[LOOK_COUNT];
    compare_looks(run, looks);
    warn_of_comparison(run, &scores);
    if (beside)
        warn_of_comparison(run, &calibrated);
    warn_of_difference(run, looks);
    warn_of_seen(run);
    warn_of_counts(run);
    warn_of_halves(run, &scores);
    if (beside) {
        warn_of_halves(run, &calibrated);
        warn_of_references(run, &calibrated);
    }
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
    put_comparison(run, &scores, document);
    if (beside)
        json_put(document, "calibrated", calibrated_json(run, &calibrated));
    json_put(document, "difference", looks_json(looks));
    if (run->times)
        json_put(document, "times", times_json(run));
    json_put(document, "inputs", inputs_object(run));
    return document;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Digits that read back exactly would tell more than a score does. */
#define SCORE "%.9g"

/* Nothing where a reference learnt from the image, or all did. */
static void add_score(double score, struct text *table)
{
    text_add(table, ",");
    if (!isnan(score))
        text_format(table, SCORE, score);
}

static void add_image(const struct membership_run *run, enum member_side side, size_t i,
                      struct text *table)
{
    const struct member_set *of = &run->of[side];
    uint64_t row = set_place(of->set, of->images[i]);
    text_format(table, "%s,%" PRIu64 ",", set_role_names[member_roles[side]], row);
    text_add_csv(table, of->set->subjects[of->images[i]]);
    text_format(table, ",%" PRId64 "," SCORE, of->set->dataset->index[row].slice, of->scores[i]);
    if (of->calibrated)
        add_score(of->calibrated[i], table);
    for (size_t r = 0; r < run->reference_count; r++)
        add_score(of->beside[r * of->count + i], table);
    for (size_t n = 0; run->times && n < run->numbers; n++)
        text_format(table, "," SCORE, of->numbers[i * run->numbers + n]);
    text_add(table, "\n");
}

static double score_of_subject(const struct member_subject *subject, bool calibrated)
{
    return calibrated ? subject->calibrated : subject->score;
}

/* How many of the held-out subjects score less: of one of these, those but itself. */
static double share_below_score(const struct membership_run *run, enum member_side side,
                                double score, bool calibrated)
{
    const struct member_set *others = &run->of[OTHERS];
    size_t of = 0, below = 0;
    for (size_t i = 0; i < others->subject_count; i++) {
        double other = score_of_subject(&others->subjects[i], calibrated);
        of += !isnan(other);
        below += other < score;
    }
    of -= side == OTHERS;
    return of ? (double)below / (double)of : NAN;
}

static void add_subject(const struct membership_run *run, enum member_side side, size_t i,
                        struct text *table)
{
    const struct member_subject *subject = &run->of[side].subjects[i];
    text_format(table, "%s,", set_role_names[member_roles[side]]);
    text_add_csv(table, subject->name);
    text_format(table, ",%zu," SCORE ",%.4f", subject->images, subject->score,
                share_below_score(run, side, subject->score, false));
    if (isnan(subject->calibrated))
        text_add(table, run->reference_count ? ",," : "");
    else
        text_format(table, "," SCORE ",%.4f", subject->calibrated,
                    share_below_score(run, side, subject->calibrated, true));
    text_add(table, "\n");
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
    if (run->reference_count)
        text_add(&images, ",calibrated");
    for (size_t r = 0; r < run->reference_count; r++)
        text_format(&images, ",reference_%" PRIu64, run->references[r].number);
    for (size_t n = 0; run->times && n < run->numbers; n++)
        text_format(&images, ",loss_at_%d", run->times[n]);
    text_add(&images, "\n");
    text_add(&subjects, "set,subject,images,score,held_out_below");
    text_add(&subjects, run->reference_count ? ",calibrated,calibrated_held_out_below\n" : "\n");
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        for (size_t i = 0; i < of->count; i++)
            add_image(run, side, i, &images);
        for (size_t i = 0; i < of->subject_count; i++)
            add_subject(run, side, i, &subjects);
    }
    bool ok = save(run, "scores.csv", &images, &run->arena, err);
    ok = save(run, "subjects.csv", &subjects, &run->arena, ok ? err : NULL) && ok;
    return ok;
}
