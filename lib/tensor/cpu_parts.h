/* Parts of the CPU backend that stand in files of their own. */
#ifndef TENSOR_CPU_PARTS_H
#define TENSOR_CPU_PARTS_H

#include "tensor/schedule.h"

/* Instructions of loops over `count` ≤ LOOP_TILE values; in[] may not overlap out. */
typedef void cpu_instruction(const struct instruction *instruction, float *out,
                             const float *const *in, size_t count);
extern cpu_instruction *const cpu_instructions[];

/* Where the elements of a tile lie in memory: row r and column c at row(r) + column(c), a multiple
 * of r or from a table. */
struct placing {
    int64_t row, column;
    const int64_t *row_at, *column_at; /* NULL: multiples */
};

enum placed { PLACED_IN_LINES, PLACED_SPREAD, PLACED_TURNED, PLACED_SCATTERED, PLACINGS };

/* Between memory and dense floats. Turned and scattered ones want a table of columns. */
typedef void cpu_load(float *out, const void *memory, const struct placing *at, size_t rows,
                      size_t columns);
typedef void cpu_store(void *memory, const float *in, const struct placing *at, size_t rows,
                       size_t columns);
extern cpu_load *const cpu_loads[PLACINGS][DTYPE_COUNT];
extern cpu_store *const cpu_stores[PLACINGS][DTYPE_COUNT];

/* A reduction: of a tile [whether rows are reduced][whether columns are], and of two results. */
struct cpu_reduction {
    void (*tile[2][2])(double *to, const float *in, size_t rows, size_t columns);
    void (*join)(double *to, const double *part, size_t count);
    double least; /* what it begins with */
};
extern const struct cpu_reduction cpu_sum, cpu_max;

bool cpu_prepare_loop(struct step *step, struct error *err);
void cpu_run_loop(const struct step *step, const struct run *run);
void cpu_dispose_loop(struct step *step);

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
