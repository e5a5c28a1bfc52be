/* Whole steps of `lethe train`, against those of the PyTorch twins (tests/parity).
 *
 *     bench_train [--json FILE] [--steps N] [--no-peer]
 *
 * Ours: reading the batch from a store (ahead, as training does), all phases with their optimisers,
 * the running averages; what lib/train does for a step, without pictures and checkpoints. The
 * twin's: the same networks and batch, its images already in memory. The cases are those of
 * bench_engine, which times the plans alone: what lies between the two is what lib/train costs.
 * StyleGAN 2 is without path length and with R1 in each step, so that a step is always the same
 * work.
 */
#include "bench.h"

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "data/dataset.h"
#include "train/batches.h"
#include "train/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WARM_UP = 2, STEPS_MAX = 1000, BATCH = 16, SIDE = 64, CHANNELS = 5, IMAGES = 256 };
static const double GOAL = 1.6; /* times the twin's images a second */

struct options {
    int steps;
    bool no_peer;
};

static const char *const mult[] = { "1", "2", "2" }, *const attention[] = { "16" };

static struct train_settings settings_of(int model)
{
    struct train_settings settings = train_defaults;
    settings.model = model;
    settings.device = "cpu";
    settings.batch = BATCH;
    settings.ddpm.base = 64;
    settings.ddpm.blocks = 2;
    settings.ddpm.heads = 1;
    settings.ddpm.dropout = 0;
    settings.ddpm.mult = (struct yaml_strings){ (const char **)(uintptr_t)mult, 3 };
    settings.ddpm.attention = (struct yaml_strings){ (const char **)(uintptr_t)attention, 1 };
    settings.stylegan2.channel_base = 4096;
    settings.stylegan2.channel_max = 256;
    settings.stylegan2.r1_interval = 1;
    settings.stylegan2.path_weight = 0;
    return settings;
}

/* A store of noise; what images show does not matter here. */
static void write_store(const char *path)
{
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    static uint8_t image[CHANNELS * SIDE * SIDE];
    struct error err;
    struct dataset_writer writer;
    struct dataset_format format = { .role = ROLE_REAL,
                                     .channels = CHANNELS,
                                     .height = SIDE,
                                     .width = SIDE,
                                     .channel_names = names,
                                     .type = ELEMENT_UINT8 };
    bool ok = dataset_writer_open(&writer, path, &format, &err);
    for (uint64_t i = 0; ok && i < IMAGES; i++) {
        for (size_t k = 0; k < sizeof image; k++)
            image[k] = (uint8_t)random_bits(1, i, k);
        struct dataset_image row = { "s", 0, SPLIT_TRAIN, "s", "" };
        ok = dataset_writer_append(&writer, image, NULL, &row, &err);
    }
    if (!ok || !dataset_writer_commit(&writer, json_new_object(), false, &err))
        bench_fail("%s", err.message);
}

/* ---- the twin -------------------------------------------------------------------------------- */

static double number_in(const char *line, const char *key)
{
    struct error err;
    double value;
    struct json *answer = json_parse(line, strlen(line), "the twin's answer", &err);
    if (!answer || !json_get_real(answer, key, &value, &err))
        bench_fail("%s", err.message);
    json_free(answer);
    return value;
}

static void start_twin(struct peer *peer, const char *name)
{
    char batch[16], line[4096];
    snprintf(batch, sizeof batch, "%d", BATCH);
    peer_start(peer, (const char *[]){ LETHE_PYTHON, LETHE_TWIN, name, "--dtype", "f32", "--batch",
                                       batch, "--best", NULL });
    if (!fgets(line, sizeof line, peer->from)) /* it says when it is ready */
        bench_fail("the twin of %s ended; is python3-torch installed?", name);
}

/* ---- a case ---------------------------------------------------------------------------------- */

static void run_case(struct bench *bench, const struct options *options, int model,
                     const char *store)
{
    struct error err;
    struct runner runner;
    struct peer peer;
    double ours[STEPS_MAX], theirs[STEPS_MAX], waited = 0;
    struct train_settings settings = settings_of(model);
    struct batches_options input = { .seed = 1 };
    struct batches *batches = batches_open(store, &input, &err);
    if (!batches)
        bench_fail("%s", err.message);
    struct feed_source source = batches_feed(batches);
    struct feed *feed = feed_open(&source, 0, BATCH, &err);
    if (!feed || !runner_init(&runner, &settings, CHANNELS, SIDE, &err) ||
        !runner_begin(&runner, &err))
        bench_fail("%s", err.message);
    if (!options->no_peer)
        start_twin(&peer, model_names[model]);
    for (int i = -WARM_UP; i < options->steps; i++) {
        double started = bench_seconds(), before = feed_waited(feed);
        if (!runner_step(&runner, (uint64_t)(i + WARM_UP), feed_next(feed), NULL, &err))
            bench_fail("%s", err.message);
        double mine = bench_seconds() - started;
        double other = options->no_peer ? NAN : number_in(peer_ask(&peer, "step 1\n"), "seconds");
        if (i < 0)
            continue;
        ours[i] = mine;
        theirs[i] = other;
        waited += feed_waited(feed) - before;
    }
    if (!isfinite(runner.terms[0][0]))
        bench_fail("%s: training has diverged", model_names[model]);
    double mine = bench_median(ours, (size_t)options->steps);
    double other = options->no_peer ? NAN : bench_median(theirs, (size_t)options->steps);
    bench_row(bench, &(struct bench_row){ model_names[model], "images/s", BATCH / mine,
                                          BATCH / other, "PyTorch", other / mine, GOAL });
    bench_row(bench, &(struct bench_row){ model_names[model], "ms waited for input a step",
                                          1e3 * waited / options->steps, NAN, "", NAN, NAN });
    if (!options->no_peer)
        peer_stop(&peer);
    feed_close(feed);
    batches_free(batches);
    runner_release(&runner);
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct error err;
    struct options options = { .steps = 10 };
    char folder[] = "/tmp/lethe-bench-XXXXXX", store[64];
    const struct bench_option table[] = {
        { "--steps", "N", "steps that are measured (10)", BENCH_NUMBER, &options.steps },
        { "--no-peer", NULL, "ours alone", BENCH_FLAG, &options.no_peer },
        { 0 },
    };
    bench_begin(&bench, "train", table, argc, argv);
    if (options.steps < 1 || options.steps > STEPS_MAX)
        bench_fail("--steps takes 1 to %d", STEPS_MAX);
    if (!mkdtemp(folder))
        bench_fail("%s cannot be made", folder);
    snprintf(store, sizeof store, "%s/store", folder);
    write_store(store);
    for (int model = 0; model < MODEL_COUNT; model++)
        run_case(&bench, &options, model, store);
    if (!folder_remove(folder, &err))
        bench_fail("%s", err.message);
    bench_end(&bench);
    return 0;
}
