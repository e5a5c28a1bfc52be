/* What the cases of bench_release share. */
#ifndef BENCH_RELEASE_PARTS_H
#define BENCH_RELEASE_PARTS_H

#include "bench.h"

#include "base/arena.h"

#define RELEASE_FOLDER "build/bench/release"
enum { RELEASE_FILES = 5000, RELEASE_SIDE = 256 };

/* Writes `count` slices into RELEASE_FOLDER/NAME/images, unless the folder is there. */
void release_make_tree(struct arena *arena, const char *name, size_t count);

/* Runs a shell command, or fails. */
void release_run(const char *command);

void bench_package(struct bench *bench, struct arena *arena);

#endif
