/* Membership from its settings to its document; see membership.h. */
#include "audit/membership.h"

#include "audit/membership_run.h"
#include "audit/roughness.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/random.h"
#include "train/batches.h"
#include "train/checkpoint.h"
#include "train/drawn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- settings -------------------------------------------------------------------------------- */

const struct membership_settings membership_defaults = {
    .device = "auto",
    .draws = 4,
    .images = 10000,
    .bootstrap = 1000,
    .seed = -1,
};

#define FIELD(...) YAML_FIELD(struct membership_settings, __VA_ARGS__)

const struct yaml_field membership_fields[] = {
    FIELD(draws, YAML_INTEGER, .minimum = 1, .maximum = 1000, .metavar = "N",
          .help = "ddpm: of noise for each image, at each of 8 times (default 4)"),
    FIELD(images, YAML_INTEGER, .minimum = 0, .maximum = 1e7, .metavar = "N",
          .help = "drawn of each set at most (default 10000); 0: all"),
    FIELD(device, YAML_STRING, .metavar = "DEVICE",
          .help = "cpu, cuda, cuda:N or auto: a GPU where there is one (default auto)"),
    FIELD(bootstrap, YAML_INTEGER, .minimum = 120, .maximum = 100000, .metavar = "N",
          .help = "resamplings of patients for intervals (default 1000)"),
    FIELD(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p52, .metavar = "N",
          .help = "of what is drawn at random (default: the plan's, else 1)"),
    { 0 },
};

/* ---- whose images ---------------------------------------------------------------------------- */

const enum set_role member_roles[SIDES] = { [MEMBERS] = SET_TRAIN, [OTHERS] = SET_HOLDOUT };

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Held-out images that are, pixel by pixel, images of training were not held out, whatever name
 * they have: among those whom the model never saw they would hide what it remembers. `twins` gets
 * NO_TWIN of all others. */
static bool find_seen(struct membership_run *run, struct look *const looks[SIDES], size_t **twins,
                      struct error *err)
{
    size_t count = run->of[OTHERS].set->images.count;
    *twins = memory_grow(NULL, count, sizeof **twins);
    run->seen =
        images_in(looks[OTHERS], count, looks[MEMBERS], run->of[MEMBERS].set->images.count, *twins);
    return run->seen < count ||
           error_set(err,
                     "%s: every held-out image is, pixel by pixel, one that the model was trained "
                     "on, so there is nothing to compare with; hold out other people",
                     run->of[OTHERS].set->path);
}

/* As many as are wanted, drawn by the seed. twins: as of find_seen; NULL: all may be drawn. */
static void draw(struct membership_run *run, enum member_side side, const size_t *twins)
{
    struct member_set *of = &run->of[side];
    const struct image_set *images = &of->set->images;
    size_t limit = (size_t)run->settings->images, there = images->count - (twins ? run->seen : 0),
           *order, drawn = 0;
    of->count = limit && limit < there ? limit : there;
    of->images = arena_array(&run->arena, uint32_t, of->count);
    of->groups = arena_array(&run->arena, uint32_t, of->count);
    order = memory_grow(NULL, images->count, sizeof *order);
    random_permutation((uint64_t)run->settings->seed,
                       random_stream(arena_format(&run->arena, "membership/images/%s",
                                                  set_role_names[member_roles[side]])),
                       images->count, order);
    for (size_t i = 0; drawn < of->count; i++)
        if (!twins || twins[order[i]] == NO_TWIN)
            of->images[drawn++] = (uint32_t)order[i];
    qsort(of->images, of->count, sizeof *of->images, ascending);
    for (size_t i = 0; i < of->count; i++)
        of->groups[i] = images->groups[of->images[i]];
    free(order);
}

/* Subjects are numbered in byte order of their names (sets.c). */
static void gather_subjects(struct membership_run *run, struct member_set *of)
{
    uint32_t *numbers = memory_grow(NULL, of->count, sizeof *numbers);
    memcpy(numbers, of->groups, of->count * sizeof *numbers);
    qsort(numbers, of->count, sizeof *numbers, ascending);
    for (size_t i = 0; i < of->count; i++)
        if (!i || numbers[i] != numbers[i - 1])
            numbers[of->subject_count++] = numbers[i];
    of->subjects = arena_array(&run->arena, struct member_subject, of->subject_count);
    of->subject = arena_array(&run->arena, uint32_t, of->count);
    for (size_t i = 0; i < of->count; i++) {
        const uint32_t *at =
            bsearch(&of->groups[i], numbers, of->subject_count, sizeof *numbers, ascending);
        of->subject[i] = (uint32_t)(at - numbers);
        of->subjects[of->subject[i]].name = of->set->subjects[of->images[i]];
        of->subjects[of->subject[i]].images++;
    }
    free(numbers);
}

static bool needs_store(const char *path, struct error *err)
{
    return dataset_is(path) ||
           error_set(err,
                     "%s: no dataset store; a model is asked about images as it was trained "
                     "on them: lethe ingest makes a store",
                     path);
}

static bool open_sets(struct membership_run *run, struct error *err)
{
    static const struct yaml_strings all_channels = { 0 };
    const struct membership_job *job = run->job;
    struct sets_request request = {
        .train = job->train, .holdout = job->holdout, .channels = &all_channels, .work = job->out
    };
    if (job->holdout && job->references.count)
        return error_set(err,
                         "%s: nobody there was in any reference, but half of the training set was "
                         "in each, which would tell them apart; references are for people whom the "
                         "dataset itself holds out",
                         job->holdout);
    if (!needs_store(job->train, err) || (job->holdout && !needs_store(job->holdout, err)) ||
        !sets_open(&request, &run->sets, err))
        return false;
    if (!run->sets.holdout)
        return error_set(err,
                         "%s: no images are held out, and without images that the model never saw "
                         "there is nothing to compare with: ingest with a holdout, or give one",
                         job->train);
    for (enum member_side side = 0; side < SIDES; side++)
        run->of[side].set = &run->sets.of[member_roles[side]];
    return true;
}

static bool look_for_copies(struct membership_run *run, struct look *looks[SIDES],
                            struct error *err)
{
    for (enum member_side side = 0; side < SIDES; side++) {
        looks[side] = looks_of(&run->of[side].set->images, run->sets.channels, false, err);
        if (!looks[side])
            return false;
    }
    return true;
}

static bool choose_images(struct membership_run *run, struct error *err)
{
    struct look *looks[SIDES] = { NULL };
    size_t *twins = NULL;
    bool ok = look_for_copies(run, looks, err) && find_seen(run, looks, &twins, err);
    if (ok)
        membership_know_copies(run, looks);
    for (enum member_side side = 0; ok && side < SIDES; side++) {
        draw(run, side, side == OTHERS ? twins : NULL);
        gather_subjects(run, &run->of[side]);
    }
    for (enum member_side side = 0; side < SIDES; side++)
        memory_free(looks[side]);
    free(twins);
    return ok;
}

/* ---- the model ------------------------------------------------------------------------------- */

/* The images have to be those that it was trained on, and like them. */
static bool check_belonging(struct membership_run *run, struct error *err)
{
    const struct generator_format *format = run->format;
    const struct dataset *train = run->of[MEMBERS].set->dataset,
                         *others = run->of[OTHERS].set->dataset;
    char digest[DIGEST_HEX];
    if (train->channels + format->masks != format->channels || train->width != format->size ||
        train->height != format->size)
        return error_set(err,
                         "%s has %zu channels of %zu × %zu; %s was trained on %zu of %zu × %zu%s",
                         train->path, train->channels, train->height, train->width,
                         format->checkpoint, format->channels - format->masks, format->size,
                         format->size, format->masks ? ", and masks" : "");
    if (format->masks && (!train->masks || !others->masks))
        return error_set(err, "%s: no masks, which %s was trained on, too",
                         train->masks ? others->path : train->path, format->checkpoint);
    run->imported = strcmp(format->dataset, CHECKPOINT_IMPORTED) == 0;
    if (!training_digest(train, digest, err))
        return false;
    return run->imported || strcmp(digest, format->dataset) == 0 ||
           error_set(err,
                     "%s is not what %s was trained on (its files' digest is %.12s…, the "
                     "checkpoint's %.12s…): membership is asked of the very training set",
                     train->path, format->checkpoint, digest, format->dataset);
}

static struct draw_options draw_options_of(const struct membership_run *run)
{
    return (struct draw_options){ .seed = (uint64_t)run->settings->seed,
                                  .truncation = 1,
                                  .weights = run->job->weights,
                                  .device = run->settings->device };
}

static bool open_model(struct membership_run *run, struct error *err)
{
    const struct draw_options options = draw_options_of(run);
    run->generator = generator_open_to_score(run->job->from, &options, run->settings->draws, err);
    if (!run->generator)
        return false;
    run->format = generator_format(run->generator);
    if (run->format->reference)
        return error_set(err,
                         "%s: a reference, trained on half of all people; membership is asked of a "
                         "model of the training set, and references are given by --reference",
                         run->format->checkpoint);
    run->numbers = generator_score_count(run->generator);
    run->times = generator_score_times(run->generator, &run->steps);
    run->once = arena_array(&run->arena, double, run->numbers);
    return check_belonging(run, err) && digest_file(run->format->checkpoint, &run->checkpoint, err);
}

/* ---- scoring --------------------------------------------------------------------------------- */

enum { BLOCK = 64 }; /* images: what a kill may lose */

/* All that decides about a number. */
static const char *key_of_work(const struct membership_run *run, struct arena *arena)
{
    struct text text = { 0 };
    char hex[DIGEST_HEX];
    text_format(&text, "%s %s\n%s %s\n%lld %lld\n", MEMBERSHIP_SCHEMA, LETHE_VERSION,
                digest_hex(&run->format->weights, hex), run->settings->device,
                (long long)run->settings->seed, (long long)run->settings->draws);
    for (enum member_side side = 0; side < SIDES; side++) {
        const struct member_set *of = &run->of[side];
        struct digest images = digest_of(of->images, of->count * sizeof *of->images);
        text_format(&text, "%s %s", set_role_names[member_roles[side]],
                    digest_hex(&of->set->digest, hex));
        text_format(&text, " %zu %s\n", of->count, digest_hex(&images, hex));
    }
    for (size_t r = 0; r < run->reference_count; r++)
        text_format(&text, "reference %s\n", digest_hex(&run->references[r].digest, hex));
    const char *key = arena_string(arena, text.bytes);
    text_release(&text);
    return key;
}

/* One of the models: the one that is asked about, or a reference. */
struct asked {
    struct generator *generator;
    const struct member_reference *reference; /* NULL: it is none */
    uint64_t place;                           /* 0; of references from 1 on */
};

/* The numbers of an image; where training mirrors images, of both ways round, averaged. */
static bool score_image(struct membership_run *run, struct generator *generator,
                        const struct audit_set *set, uint32_t image, float *pixels, double *numbers,
                        struct error *err)
{
    double *once = run->once;
    int ways = 1 + run->format->mirror;
    memset(numbers, 0, run->numbers * sizeof *numbers);
    for (int way = 0; way < ways; way++) {
        training_image(set->dataset, set_place(set, image), run->format->masks, way, pixels);
        if (!generator_score(generator, pixels, once, err))
            return false;
        for (size_t n = 0; n < run->numbers; n++) {
            if (!isfinite(once[n]))
                return error_set(err,
                                 "%s: what it says of image %llu of %s is not finite; these "
                                 "weights compute nothing",
                                 generator_format(generator)->checkpoint,
                                 (unsigned long long)set_place(set, image), set->path);
            numbers[n] += once[n] / ways;
        }
    }
    return true;
}

/* Nobody asks a reference about what it learnt from. */
static void leave_out(const struct membership_run *run, double *numbers)
{
    for (size_t n = 0; n < run->numbers; n++)
        numbers[n] = NAN;
}

static bool score_block(struct membership_run *run, const struct asked *asked,
                        const struct member_set *of, size_t first, size_t count, double *numbers,
                        struct error *err)
{
    const struct generator_format *format = run->format;
    size_t values = format->channels * format->size * format->size;
    float *pixels = memory_reserve(values, sizeof *pixels, "an image", err);
    bool ok = pixels;
    for (size_t i = 0; ok && i < count; i++, numbers += run->numbers)
        if (asked->reference && membership_reference_learns(asked->reference, of, first + i))
            leave_out(run, numbers);
        else
            ok = score_image(run, asked->generator, of->set, of->images[first + i], pixels, numbers,
                             err);
    memory_free(pixels);
    return ok;
}

/* High where the model knows an image. Losses of different times differ by orders of magnitude, and
 * what one image is harder than another multiplies them: so their logarithms are averaged. */
static double score_of(const struct membership_run *run, const double *numbers)
{
    double sum = 0;
    if (!run->times || isnan(*numbers))
        return *numbers;
    for (size_t n = 0; n < run->numbers; n++)
        sum -= log(fmax(numbers[n], 1e-30));
    return sum / (double)run->numbers;
}

/* With digits to spare, so that means of equal scores are equal, however many images people have:
 * else rounding would tell people apart where the model does not. Of what is not judged NaN. */
static void average(const struct member_set *of, const double *values, long double *sums)
{
    for (size_t s = 0; s < of->subject_count; s++)
        sums[s] = 0;
    for (size_t i = 0; i < of->count; i++)
        sums[of->subject[i]] += values[i];
    for (size_t s = 0; s < of->subject_count; s++)
        sums[s] /= of->subjects[s].images;
}

static void average_subjects(struct member_set *of)
{
    long double *means = memory_grow(NULL, of->subject_count, sizeof *means);
    average(of, of->scores, means);
    for (size_t s = 0; s < of->subject_count; s++)
        of->subjects[s].score = (double)means[s];
    if (of->calibrated)
        average(of, of->calibrated, means);
    for (size_t s = 0; s < of->subject_count; s++)
        of->subjects[s].calibrated = of->calibrated ? (double)means[s] : NAN;
    free(means);
}

/* The numbers of one side's images by one of the models. */
static bool number_side(struct membership_run *run, enum member_side side,
                        const struct asked *asked, const struct drawn *drawn, double *numbers,
                        struct progress *progress, struct error *err)
{
    const struct member_set *of = &run->of[side];
    for (size_t first = 0; first < of->count; first += BLOCK) {
        size_t count = of->count - first < BLOCK ? of->count - first : BLOCK;
        double *block = numbers + first * run->numbers;
        uint64_t models = run->reference_count + 1,
                 place = (first / BLOCK * models + asked->place) * SIDES + side;
        if (!drawn_read(drawn, place, (unsigned char *)block) &&
            !(score_block(run, asked, of, first, count, block, err) &&
              drawn_write(drawn, place, (const unsigned char *)block, err)))
            return false;
        progress_add(progress, count);
    }
    return true;
}

static bool score_side(struct membership_run *run, enum member_side side, const struct asked *asked,
                       const struct drawn *drawn, struct progress *progress, struct error *err)
{
    struct member_set *of = &run->of[side];
    size_t room = (of->count + BLOCK - 1) / BLOCK * BLOCK;
    double *numbers =
               memory_allocate(room * run->numbers, sizeof(double), "the scores of images", err),
           *scores = asked->reference ? of->beside + (asked->place - 1) * of->count : of->scores;
    bool ok = numbers && number_side(run, side, asked, drawn, numbers, progress, err);
    for (size_t i = 0; ok && i < of->count; i++)
        scores[i] = score_of(run, numbers + i * run->numbers);
    if (!asked->reference)
        of->numbers = numbers;
    else
        memory_free(numbers);
    return ok;
}

static bool set_aside(struct membership_run *run, struct error *err)
{
    static const char *const what = "the scores of images";
    for (enum member_side side = 0; side < SIDES; side++) {
        struct member_set *of = &run->of[side];
        of->scores =
            memory_allocate(of->count, (run->reference_count + 2) * sizeof(double), what, err);
        if (!of->scores)
            return false;
        of->beside = of->scores + of->count;
        of->calibrated =
            run->reference_count ? of->beside + run->reference_count * of->count : NULL;
    }
    return true;
}

static bool score_by(struct membership_run *run, const struct asked *asked,
                     const struct drawn *drawn, struct progress *progress, struct error *err)
{
    bool ok = true;
    for (enum member_side side = 0; ok && side < SIDES; side++)
        ok = score_side(run, side, asked, drawn, progress, err);
    return ok;
}

/* References have the settings of the model, so that their scores are of the same form. */
static bool score_by_reference(struct membership_run *run, size_t r, const struct drawn *drawn,
                               struct progress *progress, struct error *err)
{
    const struct member_reference *reference = &run->references[r];
    const struct draw_options options = draw_options_of(run);
    struct asked asked = { .reference = reference, .place = r + 1 };
    asked.generator =
        generator_open_to_score(reference->checkpoint, &options, run->settings->draws, err);
    bool ok = asked.generator && score_by(run, &asked, drawn, progress, err);
    generator_free(asked.generator);
    return ok;
}

static bool score_all(struct membership_run *run, struct drawn *drawn, struct error *err)
{
    struct progress progress;
    const struct asked model = { .generator = run->generator };
    if (!set_aside(run, err))
        return false;
    progress_begin(&progress, "membership", "images",
                   (run->of[MEMBERS].count + run->of[OTHERS].count) * (run->reference_count + 1));
    bool ok = score_by(run, &model, drawn, &progress, err);
    for (size_t r = 0; ok && r < run->reference_count; r++)
        ok = score_by_reference(run, r, drawn, &progress, err);
    progress_end(&progress);
    if (!ok)
        return false;
    membership_calibrate(run);
    for (enum member_side side = 0; side < SIDES; side++)
        average_subjects(&run->of[side]);
    return true;
}

/* ---- what images are without a model --------------------------------------------------------- */

struct looking {
    const struct membership_run *run;
    struct member_set *of;
    struct pixels pixels;
};

static void look_at(void *context, size_t begin, size_t end)
{
    const struct looking *looking = context;
    const struct pixels *pixels = &looking->pixels;
    const struct image_set *images = &looking->of->set->images;
    for (size_t i = begin; i < end; i++) {
        const void *image = images->images + set_place(looking->of->set, looking->of->images[i]) *
                                                 pixels->image_bytes;
        struct moments moments;
        double mean = NAN, contrast = NAN;
        if (exact_moments(pixels, image, &moments)) {
            bool whole = pixels->type != ELEMENT_FLOAT16;
            double n = (double)pixels->count;
            mean = whole ? (double)moments.sum / n : moments.mean;
            contrast = sqrt(moments.spread / (whole ? n * n : n));
        }
        looking->of->looks[LOOK_MEAN][i] = mean;
        looking->of->looks[LOOK_CONTRAST][i] = contrast;
        looking->of->looks[LOOK_ROUGHNESS][i] =
            isnan(mean) ? NAN
                        : image_roughness(pixels, image, images->height, images->width,
                                          roughness_steps[SCALE_FINE]);
    }
}

static void look_at_all(struct membership_run *run)
{
    for (enum member_side side = 0; side < SIDES; side++) {
        struct looking looking = { .run = run, .of = &run->of[side] };
        const struct image_set *images = &looking.of->set->images;
        for (enum plain_look look = 0; look < LOOK_COUNT; look++)
            looking.of->looks[look] = arena_array(&run->arena, double, looking.of->count);
        pixels_init(&looking.pixels, images->type, images->channels, images->height * images->width,
                    run->sets.channels);
        parallel_ranges(looking.of->count, 1, look_at, &looking);
    }
}

/* ---- the folder ------------------------------------------------------------------------------ */

static bool measure(struct membership_run *run, struct membership_report *report, struct error *err)
{
    struct drawn drawn;
    size_t bytes = BLOCK * run->numbers * sizeof(double);
    const char *out = run->job->out;
    if (!drawn_open(&drawn, path_join(&run->arena, out, "scores"), key_of_work(run, &run->arena),
                    bytes, err))
        return false;
    bool ok = score_all(run, &drawn, err);
    if (ok) {
        look_at_all(run);
        report->document = membership_document(run);
        report->warnings = run->warnings;
        run->warnings = (struct text){ 0 };
        ok = membership_write_tables(run, err) &&
             json_save(report->document, path_join(&run->arena, out, "membership.json"), err) &&
             drawn_remove(&drawn, err);
    }
    drawn_close(&drawn);
    return ok;
}

static void release(struct membership_run *run)
{
    generator_free(run->generator);
    membership_release_references(run);
    sets_close(&run->sets);
    for (enum member_side side = 0; side < SIDES; side++) {
        memory_free(run->of[side].numbers);
        memory_free(run->of[side].scores);
    }
    text_release(&run->warnings);
    arena_release(&run->arena);
}

bool membership(const struct membership_job *job, struct membership_report *report,
                struct error *err)
{
    struct membership_settings settings = *job->settings;
    settings.seed = settings.seed < 0 ? 1 : settings.seed;
    struct membership_run run = { .job = job, .settings = &settings };
    *report = (struct membership_report){ 0 };
    arena_init(&run.arena);
    int lock = -1;
    bool ok = folder_lock(job->out, &lock, err);
    bool opened = ok && open_sets(&run, err) && open_model(&run, err) &&
                  membership_find_references(&run, err) && choose_images(&run, err) &&
                  membership_check_judged(&run, err);
    if (ok && !opened)
        rmdir(job->out); /* what was refused leaves nothing behind: it goes only when it is empty */
    ok = opened && measure(&run, report, err);
    if (!ok)
        membership_report_release(report);
    release(&run);
    folder_unlock(lock);
    return ok;
}

void membership_report_release(struct membership_report *report)
{
    json_free(report->document);
    text_release(&report->warnings);
    *report = (struct membership_report){ 0 };
}
