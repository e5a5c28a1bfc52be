/* The other devices of a training that several share: a process each, which this program becomes by
 * `lethe train-rank …`. Nobody types that, so no table lists it.
 *
 *     struct train_beside beside = train_rank_beside(&devices, threads);
 *     struct train_job job = { …, .beside = &beside };
 */
#ifndef CMD_TRAIN_RANK_H
#define CMD_TRAIN_RANK_H

#include "base/yaml.h"
#include "train/ranks.h"

#define TRAIN_RANK "train-rank"

struct train_beside train_rank_beside(const struct yaml_strings *devices, int threads);

/* The program's main, when it is one of these: its arguments after the word. */
int train_rank(int argc, char **argv);

#endif
