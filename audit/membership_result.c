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
static size_t pairs_of_people(const struct membership_run *run)
{
    size_t members = run->of[MEMBERS].subject_count, others = run->of[OTHERS].subject_count;
    return members < others ? members : others;
}

static struct json *rate_json(struct estimate rate, bool supported)
{
    struct json *object = bounded_json(rate);
    json_put_bool(object, "supported", supported);
    return object;
}

/* What is known of images, or of people. */
struct finding {
    struct membership_inference found;
    double by_chance; /* to tell them apart as well; NaN: of one person on a side nobody knows */
};

/* Where all are told apart that is one order of n and m people out of C(n + m, n). */
static struct finding find(const struct membership_run *run, const struct sample samples[SIDES],
                           const struct bootstrap *bootstrap)
{
    double n = (double)run->of[MEMBERS].subject_count, m = (double)run->of[OTHERS].subject_count;
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

static struct json *inference_json(const struct membership_run *run, const struct finding *finding)
{
    const struct membership_inference *found = &finding->found;
    size_t people = run->of[MEMBERS].subject_count, pairs = pairs_of_people(run);
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
    halves.images = with_exact_ends(probability_below(&images[MEMBERS], &images[OTHERS], bootstrap),
                                    halves.people[MEMBERS], bootstrap->confidence);
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
                                pairs_of_people(run), bootstrap.confidence);
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
static void warn_of_memory(struct membership_run *run, const struct finding *images,
                           const struct finding *subjects)
{
    if (tells_apart(run, images) || tells_apart(run, subjects))
        text_format(&run->warnings,
                    "the model tells images that it was trained on from others: AUC %.3f of "
                    "images, %.3f of subjects; who holds the weights can do so, too\n",
                    images->found.auc.value, subjects->found.auc.value);
}

/* Nobody is known less for having been learnt from. */
static void warn_of_reverse(struct membership_run *run, const struct finding *images,
                            const struct finding *subjects)
{
    if (pairs_of_people(run) >= FEW_PEOPLE &&
        (images->found.auc.interval.high < 0.5 || subjects->found.auc.interval.high < 0.5))
        text_format(&run->warnings,
                    "training images score lower than held-out ones (AUC %.3f of images, %.3f of "
                    "subjects), which no memory explains: the sets differ by themselves, and a "
                    "memory may be hidden by that; split one cohort at random\n",
                    images->found.auc.value, subjects->found.auc.value);
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

struct json *membership_document(struct membership_run *run)
{
    struct bootstrap bootstrap = bootstrap_for(run, run->job->candidates),
                     control = bootstrap_for(run, 1);
    struct sample images[SIDES] = { images_sample(run, MEMBERS), images_sample(run, OTHERS) },
                  subjects[SIDES] = { subjects_sample(run, MEMBERS), subjects_sample(run, OTHERS) };
    struct finding by_image = find(run, images, &bootstrap),
                   by_subject = find(run, subjects, &bootstrap);
    struct halves halves = halves_of(run, &control);
    struct estimate looks[LOOK_COUNT];
    compare_looks(run, looks);
    warn_of_memory(run, &by_image, &by_subject);
    warn_of_reverse(run, &by_image, &by_subject);
    warn_of_difference(run, looks);
    warn_of_seen(run);
    warn_of_counts(run);
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
