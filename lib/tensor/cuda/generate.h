/* Kernels for a device, as text: what a fused loop, a filter, a random leaf or a change of layout
 * is in CUDA C. Nothing here needs CUDA, so the texts are made, and run on the processor by an
 * emulation (tests/tensor/cuda), on machines that have no device.
 *
 *     struct kernel kernel;
 *     generate_loop(step->loop, "k7", &source, &kernel);
 *
 * Sizes, strides and constants stand in the text as numbers: the compiler turns divisions by them
 * into multiplications and drops what is zero. All texts of a plan are one program, compiled once.
 *
 * A loop without reductions: a thread for four neighbouring elements where all that is dense allows
 * it (for eight where some are bf16, so that it moves 16 bytes at once), or for one; and for four
 * rows of these where rows have operands in common, which it then reads once. With
 * reductions: a block holds some kept elements and, for each, some lanes that share what is
 * reduced, four or eight neighbours at a time, too; lanes sum in float in a fixed order and meet in
 * a tree in shared memory. Where there are few kept elements the reduced part is cut into pieces
 * whose sums go to scratch memory, and a second kernel adds these in double, in an order of its
 * own. Nothing is atomic and nothing depends on the device, so results repeat bit for bit.
 */
#ifndef CUDA_GENERATE_H
#define CUDA_GENERATE_H

#include "base/text.h"
#include "tensor/schedule.h"

enum { KERNEL_NAME = 32, KERNEL_THREADS = 256 };

/* How a kernel is launched. Its arguments are the addresses of its operands, each with the
 * operand's offset added, then (where it has pieces) the scratch memory. */
struct kernel {
    char name[KERNEL_NAME], finish[KERNEL_NAME]; /* finish: "" when there is no second kernel */
    unsigned blocks, pieces, finish_blocks;
    unsigned threads[2];
    int arguments;
    size_t scratch; /* bytes */
};

/* What all the others use: types, loads and stores, elementary functions, random numbers. */
extern const char generate_prelude[];
extern const char *const generate_types[DTYPE_COUNT];

void generate_loop(const struct loop *loop, const char *name, struct text *source,
                   struct kernel *kernel);

/* A step and those that are done together with it, loops all of them, as one kernel (group.c),
 * whose blocks are shared out among the loops. One argument: a struct of the addresses of all
 * operands, loop after loop. loop_groups: how many of these the loop has; 0: it is better off
 * alone. */
enum { GROUP_ARGUMENTS = 500 }; /* of 8 bytes; every device gives a kernel 4,096 bytes */
size_t loop_groups(const struct loop *loop);
void generate_group(const struct step *step, const char *name, struct text *source,
                    struct kernel *kernel);

/* Arguments: x, y. The filter stands in the text. */
void generate_upfirdn(const struct step *step, const char *name, struct text *source,
                      struct kernel *kernel);

/* A filtered activation (tensor/filtered.h) in one kernel. Arguments: the images, y. */
bool filtered_suits(const struct node *node);
void generate_filtered(const struct step *step, const char *name, struct text *source,
                       struct kernel *kernel);

/* warp and warp_dx. Arguments: x, the matrices, y. */
void generate_warp(const struct step *step, const char *name, struct text *source,
                   struct kernel *kernel);
void generate_warp_dx(const struct step *step, const char *name, struct text *source,
                      struct kernel *kernel);

/* Attention (tensor/graph.h) in one kernel; views may lie in any way. Arguments: the sources, y. */
enum { ATTENTION_WIDTH = 128, ATTENTION_TOKENS = 1 << 20 }; /* at most */
bool attention_suits(const struct node *node);
double attention_flops(const struct step *step);

/* The same for a library (libraries.h); false where it lies as no library takes it, where something
 * is added to scores, and in f32. */
struct heads;
bool attention_as_heads(const struct step *step, struct heads *heads);
void generate_attention(const struct step *step, const char *name, struct text *source,
                        struct kernel *kernel);
void generate_attention_gradient(const struct step *step, const char *name, struct text *source,
                                 struct kernel *kernel);
void generate_attention_added_gradient(const struct step *step, const char *name,
                                       struct text *source, struct kernel *kernel);

/* Any of the three convolutions, matmul and linear, slowly, for what the libraries do not take;
 * views may lie in any way. Arguments: the sources, the result. */
void generate_convolution(const struct step *step, const char *name, struct text *source,
                          struct kernel *kernel);
void generate_product(const struct step *step, const char *name, struct text *source,
                      struct kernel *kernel);

/* Arguments: y, and three numbers of 64 bits in device memory: seed, step, part. */
void generate_random(const struct step *step, const char *name, struct text *source,
                     struct kernel *kernel);

/* Copies view `from` to view `to`, of one shape; types may differ. Arguments: from, to. */
void generate_copy(const struct view *from, const struct view *to, const char *name,
                   struct text *source, struct kernel *kernel);

#endif
