/* Parts of the CPU backend that stand in files of their own. */
#ifndef TENSOR_CPU_PARTS_H
#define TENSOR_CPU_PARTS_H

#include "tensor/schedule.h"

/* Instructions of loops over `count` ≤ LOOP_TILE values; in[] may not overlap out. */
typedef void cpu_instruction(const struct instruction *instruction, float *out,
                             const float *const *in, size_t count);
extern cpu_instruction *const cpu_instructions[];

size_t cpu_loop_scratch(const struct loop *loop);
void cpu_run_loop(const struct loop *loop, const struct run *run);

bool cpu_prepare_matrix(struct step *step, struct error *err); /* conv*, matmul */
void cpu_run_matrix(const struct step *step, const struct run *run);
void cpu_dispose_matrix(struct step *step);

bool cpu_prepare_upfirdn(struct step *step, struct error *err);
void cpu_run_upfirdn(const struct step *step, const struct run *run);
void cpu_dispose_upfirdn(struct step *step);

bool cpu_prepare_warp(struct step *step, struct error *err); /* warp and warp_dx */
void cpu_run_warp(const struct step *step, const struct run *run);
void cpu_run_warp_dx(const struct step *step, const struct run *run);

/* Rows of a type as float, and back; from and to do not overlap. */
void cpu_load_bf16(float *out, const uint16_t *in, size_t count);
void cpu_store_bf16(uint16_t *out, const float *in, size_t count);

#endif
