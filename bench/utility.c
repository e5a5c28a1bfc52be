/* The utility audit's own work: the distance transform beside SciPy's, and augmentation alone.
 * Training throughput beside the PyTorch twins is bench_engine's (cases unet and swin). */
#include "bench.h"

#include "audit/distance.h"
#include "base/arena.h"
#include "train/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3 };

static uint8_t *draw_mask(const size_t shape[3])
{
    size_t i = 0;
    long columns = (long)shape[0], rows = (long)shape[1], planes = (long)shape[2];
    uint8_t *mask = malloc(shape[0] * shape[1] * shape[2]);
    for (long z = 0; z < planes; z++)
        for (long y = 0; y < rows; y++)
            for (long x = 0; x < columns; x++) {
                long dx = 4 * x - 2 * columns, dy = 4 * y - 2 * rows;
                bool inside = dx * dx * rows * rows * 4 + dy * dy * columns * columns * 4 <
                              columns * rows * columns * rows;
                bool middle = labs(2 * z - planes) < planes / 2;
                mask[i++] = (inside && middle) || x % 61 + y % 53 + z % 47 == 0;
            }
    return mask;
}

static void distances(struct bench *bench)
{
    const size_t shape[3] = { 240, 240, 155 };
    const double spacing[3] = { 0.9, 1, 1.2 };
    double ours[ROUNDS], theirs[ROUNDS];
    struct error err;
    struct peer peer;
    char name[64];
    uint8_t *mask = draw_mask(shape);
    double *squared = malloc(shape[0] * shape[1] * shape[2] * sizeof *squared);
    peer_start(&peer, (const char *[]){ "/usr/bin/python3", "bench/scipy_peer.py", NULL });
    snprintf(name, sizeof name, "SciPy %.40s", peer_ask(&peer, ""));
    for (int i = 0; i < ROUNDS; i++) {
        double started = bench_seconds();
        if (!distance_squared(mask, shape, spacing, squared, &err))
            bench_fail("%s", err.message);
        ours[i] = bench_seconds() - started;
        theirs[i] = peer_number(&peer, "edt 240 240 155\n");
    }
    peer_stop(&peer);
    free(mask);
    free(squared);
    double us = bench_median(ours, ROUNDS), them = bench_median(theirs, ROUNDS);
    bench_row(bench, &(struct bench_row){ "distance transform 240x240x155", "s", us, them, name,
                                          them / us, 1 });
}

/* Images of four channels, one thread: what a core gives. */
static void augmentation(struct bench *bench, size_t size)
{
    enum { CHANNELS = 4, IMAGES = 64 };
    double rates[ROUNDS];
    char name[64];
    size_t values = CHANNELS * size * size;
    float *image = malloc(values * sizeof *image);
    float *scratch = malloc(augment_scratch(CHANNELS, size) * sizeof *scratch);
    uint8_t *labels = calloc(size, size);
    for (int round = 0; round < ROUNDS; round++) {
        double spent = 0;
        for (uint64_t k = 0; k < IMAGES; k++) {
            for (size_t i = 0; i < values; i++)
                image[i] = (float)(i * 7919 % 1009) / 1009;
            double started = bench_seconds();
            augment_image(&augment_usual, 1, k, CHANNELS, size, image, labels, scratch);
            spent += bench_seconds() - started;
        }
        rates[round] = IMAGES / spent;
    }
    free(image);
    free(scratch);
    free(labels);
    snprintf(name, sizeof name, "augmentation %zux%zu, 4 channels", size, size);
    bench_row(bench, &(struct bench_row){ name, "images/s", bench_median(rates, ROUNDS), NAN, NULL,
                                          NAN, NAN });
}

int main(int argc, char **argv)
{
    struct bench bench;
    bench_begin(&bench, "utility", NULL, argc, argv);
    distances(&bench);
    augmentation(&bench, 64);
    augmentation(&bench, 256);
    bench_end(&bench);
    return 0;
}
