/* The audit from its settings to its folder; see memorization.h. */
#include "audit/memorization.h"

#include "audit/blas.h"
#include "audit/faiss.h"
#include "audit/memorization_parts.h"
#include "base/file.h"
#include "tensor/device.h"

#include <string.h>
#include <unistd.h>

/* ---- settings -------------------------------------------------------------------------------- */

static const char *const control_names[CONTROL_COUNT + 1] = { "auto", "holdout", "matched_holdout",
                                                              "other_subjects", NULL };
static const char *const near_copies_names[NEAR_COPIES_COUNT + 1] = { "keep", "leave_out", NULL };
const char *const control_source_names[SOURCE_COUNT] = { "holdout", "other_subjects",
                                                         "matched_holdout" };

const struct audit_settings audit_defaults = {
    .neighbours = 10,
    .local = 5,
    .carlini = 50,
    .carlini_alpha = 0.5,
    .quantile = 0.999,
    .local_ratio_limit = 1,
    .duplicate = 0.99,
    .pairs = 16,
    .transforms = true,
    .tiles = true,
    .bootstrap = 1000,
    .seed = 1,
    .device = "auto",
};

#define FIELD(...) YAML_FIELD(struct audit_settings, __VA_ARGS__)

const struct yaml_field audit_fields[] = {
    FIELD(quantile, YAML_REAL, .minimum = 0.5, .maximum = 0.999999, .metavar = "Q",
          .help = "of the control, for all statistics together (default .999)"),
    FIELD(control, YAML_CHOICE, .choices = control_names,
          .help = "what sets the thresholds; matched_holdout: made as smooth as synthetic"),
    FIELD(control_near_copies, YAML_CHOICE, .choices = near_copies_names,
          .help = "of the control: images all but equal to a training image (default keep)"),
    FIELD(correlation_limit, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "R",
          .help = "flag no correlation up to this, but for 1 itself (default 0)"),
    FIELD(local_ratio_limit, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "D",
          .help = "flag no local ratio of this or more (default 1)"),
    FIELD(channels, YAML_STRINGS, .metavar = "NAME",
          .help = "channels to compare, jointly (default: all but masks)"),
    FIELD(transforms, YAML_BOOL, .help = "look for copies in disguise (default), or not"),
    FIELD(tiles, YAML_BOOL, .help = "look for pieces of training images (default), or not"),
    FIELD(per_channel, YAML_BOOL, .help = "flag by each channel alone, too"),
    FIELD(neighbours, YAML_INTEGER, .minimum = 1, .maximum = 1000, .metavar = "K",
          .help = "nearest training images to list (default 10)"),
    FIELD(local, YAML_INTEGER, .minimum = 0, .maximum = 100, .metavar = "N",
          .help = "strangers in the local ratio; 0: without it (default 5)"),
    FIELD(control_images, YAML_INTEGER, .minimum = 0, .maximum = 0x1p31, .metavar = "N",
          .help = "training images to hold against other subjects (default 0: all)"),
    FIELD(carlini, YAML_INTEGER, .minimum = 0, .maximum = 1000, .metavar = "N",
          .help = "neighbours in Carlini's rule; 0: without it (default 50)"),
    FIELD(carlini_alpha, YAML_REAL, .minimum = 0.01, .maximum = 1, .metavar = "A",
          .help = "of that rule (default .5)"),
    FIELD(duplicate, YAML_REAL, .minimum = 0.5, .maximum = 1, .metavar = "R",
          .help = "near-duplicates correlate at least so (default .99)"),
    FIELD(bootstrap, YAML_INTEGER, .minimum = 40, .maximum = 100000, .metavar = "N",
          .help = "replicates of intervals by subject (default 1000)"),
    FIELD(pairs, YAML_INTEGER, .minimum = 0, .maximum = 1000, .metavar = "N",
          .help = "worst pairs to draw (default 16)"),
    FIELD(engine, YAML_CHOICE, .choices = engine_names,
          .help = "how the search is done; the answer is the same"),
    FIELD(device, YAML_STRING, .metavar = "DEVICE",
          .help = "cpu, cuda, cuda:N or auto: a GPU where there is one (default auto)"),
    FIELD(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53, .metavar = "N",
          .help = "of what is drawn at random (default: the plan's, else 1)"),
    { 0 },
};

/* ---- duplicates ------------------------------------------------------------------------------ */

static void count_duplicates(struct audit_run *run)
{
    const struct control_values *others = &run->control[SOURCE_OTHERS];
    size_t synthetic = images_of(run, SET_SYNTHETIC)->count,
           train = images_of(run, SET_TRAIN)->count;
    run->duplicates[SET_SYNTHETIC] =
        duplicates_of(run->looks[SET_SYNTHETIC], synthetic, NULL, run->within_k ? synthetic : 0,
                      run->within.nearest, run->within_k, run->settings->duplicate);
    run->duplicates[SET_TRAIN] =
        duplicates_of(run->looks[SET_TRAIN], train, run->asked, run->asked_count,
                      others->near.nearest, others->near.k, run->settings->duplicate);
}

/* ---- the folder ------------------------------------------------------------------------------ */

static bool write_outputs(struct audit_run *run, const char *folder, struct error *err)
{
    struct pair *pairs;
    size_t count = audit_worst_pairs(run, &pairs);
    audit_describe(run, pairs, count);
    return audit_write_nearest(run, path_join(&run->arena, folder, "nearest.csv"), err) &&
           audit_draw_pairs(run, pairs, count, folder, err) &&
           json_save(run->document, path_join(&run->arena, folder, "memorization.json"), err);
}

/* All that decides about a shard's content. */
static struct digest work_tag(const struct audit_run *run)
{
    struct text text = { 0 };
    char hex[DIGEST_HEX];
    text_format(&text, "%s %s\n", MEMORIZATION_SCHEMA, LETHE_VERSION);
    yaml_describe(audit_fields, run->settings, &text);
    for (enum set_role role = 0; role < SET_COUNT; role++) {
        const struct audit_set *set = &run->sets.of[role];
        if (role == SET_HOLDOUT && !run->sets.holdout)
            continue;
        text_format(&text, "%s %s %zu\n", set_role_names[role], digest_hex(&set->digest, hex),
                    set->images.count);
        if (set->images.groups) {
            struct digest groups =
                digest_of(set->images.groups, set->images.count * sizeof *set->images.groups);
            text_format(&text, "groups %s\n", digest_hex(&groups, hex));
        }
    }
    struct digest tag = digest_of(text.bytes, text.length);
    text_release(&text);
    return tag;
}

static bool run_in(struct audit_run *run, const char *folder, struct error *err)
{
    run->passes.tag = work_tag(run);
    if (!folder_create(run->passes.folder, err))
        return false;
    if (!audit_search(run, err)) {
        rmdir(run->passes.folder); /* goes only when nothing was finished in it */
        return false;
    }
    audit_flag(run);
    count_duplicates(run);
    return write_outputs(run, folder, err);
}

static void control_release(struct control_values *control)
{
    near_release(&control->near);
    memory_free(control->correlation);
    memory_free(control->ratio);
    for (int m = 0; m < MATCHER_COUNT; m++)
        matched_release(&control->matched[m]);
}

static void run_release(struct audit_run *run)
{
    for (int source = 0; source < SOURCE_COUNT; source++)
        control_release(&run->control[source]);
    for (int role = 0; role < SET_COUNT; role++)
        memory_free(run->looks[role]);
    memory_free(run->matching.looks);
    npy_close(&run->matching.set.array);
    for (int m = 0; m < MATCHER_COUNT; m++)
        matched_release(&run->matched[m]);
    near_release(&run->synthetic);
    memory_free(run->correlation);
    memory_free(run->ratio);
    memory_free(run->reach);
    search_result_release(&run->within);
    search_result_release(&run->train_in_synthetic);
    search_result_release(&run->holdout_in_synthetic);
    search_result_release(&run->in_holdout);
    calibration_release(&run->calibration);
    sets_close(&run->sets);
    arena_release(&run->arena);
}

static void discard(const char *folder)
{
    struct error ignored; /* what failed before is told */
    if (!folder_remove(folder, &ignored))
        return;
}

/* Bad input leaves nothing behind; finished work is kept for the next run. */
static bool run_stage(struct audit_run *run, struct folder_stage *stage, struct error *err)
{
    const struct audit_job *job = run->job;
    bool fresh = path_kind(run->passes.folder) == PATH_NOTHING;
    struct sets_request request = { .train = job->train,
                                    .synthetic = job->synthetic,
                                    .holdout = job->holdout,
                                    .subjects = job->subjects,
                                    .holdout_subjects = job->holdout_subjects,
                                    .channels = &job->settings->channels,
                                    .work = run->passes.folder };
    if (!sets_open(&request, &run->sets, err)) {
        if (fresh)
            discard(run->passes.folder);
        return false;
    }
    return run_in(run, stage->partial, err);
}

/* A run that was killed between putting its folder in place and removing its work leaves both. */
static bool refuse_existing(const struct audit_job *job, const char *work, struct error *err)
{
    const char *advice = "exists already; name a folder that does not, or remove it";
    if (path_kind(work) == PATH_NOTHING)
        return error_set(err, "%s: %s", job->out, advice);
    return error_set(err, "%s: %s, and with it %s, the finished work of an audit that was stopped",
                     job->out, advice, work);
}

static bool check_job(const struct audit_job *job, const char *work, struct error *err)
{
    if (!blas_set_threads(1, err)) /* now, and not after an hour of reading */
        return false;
    const char *missing = engine_missing((enum engine)job->settings->engine);
    if (missing)
        return error_set(err, "the search engine %s cannot be used: %s",
                         engine_names[job->settings->engine], missing);
    if (path_kind(job->out) == PATH_NOTHING || job->replace)
        return true;
    return refuse_existing(job, work, err);
}

/* Which device searches: ours through its plug-in, FAISS' by FAISS, beside which the processor
 * searches for changed copies. */
static bool choose_device(struct audit_run *run, struct error *err)
{
    const char *device = run->settings->device;
    int64_t number;
    run->device_name = "cpu";
    if (run->settings->engine == ENGINE_CERTIFIED) {
        if (!device_filter(device, &run->device, err) || !device_maxima(device, &run->maxima, err))
            return false;
        run->device_name = run->device ? run->device->name : "cpu";
        return true;
    }
    if (!device_number(device, &number, err))
        return false;
    if (number == DEVICE_AUTO)
        number = flat_index_gpus() ? 0 : DEVICE_CPU;
    if (number == DEVICE_CPU)
        return true;
    if (flat_index_gpu_missing())
        return error_set(err, "--engine faiss --device %s: %s", device, flat_index_gpu_missing());
    if (number >= flat_index_gpus())
        return error_set(err, "--engine faiss --device %s: FAISS can use %d GPUs", device,
                         flat_index_gpus());
    run->faiss_gpu = 1 + (int)number;
    run->device_name = "cuda";
    return true;
}

bool audit(const struct audit_job *job, struct audit_report *report, struct error *err)
{
    struct audit_run run = { .job = job, .settings = job->settings };
    struct folder_stage stage;
    *report = (struct audit_report){ 0 };
    arena_init(&run.arena);
    run.passes.folder = arena_format(&run.arena, "%s.work", job->out);
    if (!check_job(job, run.passes.folder, err) || !choose_device(&run, err) ||
        !folder_stage_open(&stage, job->out, err)) {
        arena_release(&run.arena);
        return false;
    }
    bool ok = run_stage(&run, &stage, err);
    if (ok)
        ok = folder_stage_commit(&stage, job->replace, err);
    else
        folder_stage_abandon(&stage);
    if (ok) {
        *report = (struct audit_report){ run.document, run.summary, run.warnings };
        ok = folder_remove(run.passes.folder, err);
    } else {
        json_free(run.document);
        text_release(&run.summary);
        text_release(&run.warnings);
    }
    run_release(&run);
    return ok;
}

void audit_report_release(struct audit_report *report)
{
    json_free(report->document);
    text_release(&report->summary);
    text_release(&report->warnings);
    *report = (struct audit_report){ 0 };
}
