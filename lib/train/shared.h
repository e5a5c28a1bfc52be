/* A training that several devices share: what beside the training's own process there is to it.
 *
 *     struct ranks *ranks = shared_open(&beside, &runner, err);   // processes, one a device
 *     runner.ranks = ranks;                                       // runner.h has steps shared
 *     … runner_step(&runner, …) …
 *     ranks_close(ranks);
 *
 * and in each of these processes
 *
 *     if (!shared_serve(&rank, &err)) …                           // until the training ends
 */
#ifndef TRAIN_SHARED_H
#define TRAIN_SHARED_H

#include "train/ranks.h"

struct runner;

/* Starts them, with the runner's settings and of images as its; returns once each has made its
 * plans. NULL and a message: a batch of too few parts, a device that cannot be had, has too little
 * memory, or is of another kind than the runner's. */
struct ranks *shared_open(const struct train_beside *beside, const struct runner *runner,
                          struct error *err) MUST_USE;

/* The life of such a process. False and a message, which rank 0 has been told, where it could not
 * do its part. */
bool shared_serve(const struct rank *rank, struct error *err) MUST_USE;

#endif
