/* Loops that do not depend on each other as one kernel; see generate.h.
 *
 * A plan has hundreds of loops that take a device less time than starting them does: updates of
 * small parameters, casts of weights, gradients of gains summed over a few images. Here they share
 * the blocks of one grid: the first loop has the first so many, and so on. Which loop a block
 * belongs to is found by halving, in numbers that stand in the code, so nothing is read for it.
 * Loops that are alike but for how many elements they have (the updates of all vectors) stand there
 * once; so what takes the compiler time are the ways of looping, not the loops.
 *
 *     int kind, block, count, first;
 *     if (blockIdx.x < 12) { kind = 0; block = blockIdx.x; count = 3000; first = 0; }
 *     else { kind = 0; block = blockIdx.x - 12; count = 512; first = 13; }
 *     char *const *at = places.at + first;
 *     switch (kind) { case 0: { const float *p0 = (const float *)at[0]; … } break; }
 */
#include "cuda/generate_part.h"

#include "base/arena.h"
#include "tensor/profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What moves more takes a device so much longer than the 2 µs of a start that it is done alone. */
enum { BYTES_MOST = 16 << 20 };

struct member {
    struct part part;
    int kind;
    int first_argument;
    unsigned first_block;
};

/* The different loops of a group. */
struct kinds {
    struct text *plain; /* tables and body, under one name */
    size_t count, capacity;
    struct text tables, cases;
};

size_t loop_groups(const struct loop *loop)
{
    bool suits = loop_bytes(loop) <= BYTES_MOST && loop->operands <= GROUP_ARGUMENTS &&
                 loop_suits_part(loop);
    return suits ? (size_t)loop->operands : 0;
}

/* Which kind of loop it is; one that is not there yet is added. */
static int kind_of(struct kinds *kinds, const struct loop *loop, const char *group,
                   struct part *part)
{
    struct text plain = { 0 }, tables = { 0 };
    char name[2 * KERNEL_NAME];
    *part = generate_part(loop, "k", &tables, &plain);
    if (tables.length)
        text_add(&plain, tables.bytes);
    text_release(&tables);
    for (size_t i = 0; i < kinds->count; i++)
        if (strcmp(kinds->plain[i].bytes, plain.bytes) == 0) {
            text_release(&plain);
            return (int)i;
        }
    ARRAY_RESERVE(kinds->plain, kinds->count, kinds->capacity);
    kinds->plain[kinds->count] = plain;
    snprintf(name, sizeof name, "%s_%zu", group, kinds->count);
    text_format(&kinds->cases, "    case %zu: {\n", kinds->count);
    (void)generate_part(loop, name, &kinds->tables, &kinds->cases);
    text_add(&kinds->cases, "    } break;\n");
    return (int)kinds->count++;
}

static void release_kinds(struct kinds *kinds)
{
    for (size_t i = 0; i < kinds->count; i++)
        text_release(&kinds->plain[i]);
    free(kinds->plain);
    text_release(&kinds->tables);
    text_release(&kinds->cases);
}

/* Finds the member that a block belongs to. */
static void add_search(struct text *source, const struct member *members, size_t from, size_t to)
{
    size_t middle = from + (to - from) / 2;
    if (to - from == 1) {
        const struct member *m = &members[from];
        text_format(source,
                    "    { kind = %d; block = blockIdx.x - %u; count = %" PRId64
                    "; first = %d; }\n",
                    m->kind, m->first_block, m->part.count, m->first_argument);
        return;
    }
    text_format(source, "    if (blockIdx.x < %u) {\n", members[middle].first_block);
    add_search(source, members, from, middle);
    text_add(source, "    } else {\n");
    add_search(source, members, middle, to);
    text_add(source, "    }\n");
}

static void add_kernel(struct text *source, const struct kinds *kinds, const struct member *members,
                       size_t count, const struct kernel *kernel, int sums)
{
    if (kinds->tables.length)
        text_add(source, kinds->tables.bytes);
    text_format(source,
                "extern \"C\" __global__ void __launch_bounds__(%d) %s("
                "const GRID_CONSTANT places<%d> places)\n"
                "{\n    int kind, block, count, first;\n",
                KERNEL_THREADS, kernel->name, kernel->arguments);
    if (sums)
        text_format(source, "    __shared__ float sums[%d][%d];\n", sums, KERNEL_THREADS);
    add_search(source, members, 0, count);
    text_add(source, "    char *const *at = places.at + first;\n    switch (kind) {\n");
    text_add(source, kinds->cases.bytes);
    text_add(source, "    }\n}\n");
}

void generate_group(const struct step *step, const char *name, struct text *source,
                    struct kernel *kernel)
{
    struct kinds kinds = { 0 };
    struct member *members = memory_grow(NULL, step->together, sizeof *members);
    int sums = 0;
    *kernel = (struct kernel){ .pieces = 1, .threads = { KERNEL_THREADS, 1 } };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    for (size_t i = 0; i < step->together; i++) {
        struct member *member = &members[i];
        *member =
            (struct member){ .first_argument = kernel->arguments, .first_block = kernel->blocks };
        member->kind = kind_of(&kinds, step[i].loop, name, &member->part);
        kernel->arguments += step[i].loop->operands;
        kernel->blocks += member->part.blocks;
        sums = sums > member->part.sums ? sums : member->part.sums;
    }
    add_kernel(source, &kinds, members, step->together, kernel, sums);
    release_kinds(&kinds);
    free(members);
}
