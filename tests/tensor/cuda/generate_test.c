/* Loops as text: what the compiler is promised, and how wide memory is read. That the texts compute
 * what they should is tested by running them (emulation.h).
 */
#include "test.h"

#include "cuda/generate.h"
#include "tensor/graph.h"

enum { LOAD, OTHER, STORE, OPERANDS };

/* y = x + b over rows × columns: b is one row, or lies like x. */
struct sum {
    struct operand operand[OPERANDS];
    struct instruction add;
    struct loop loop;
};

static void sum_init(struct sum *sum, enum dtype dtype, int64_t rows, int64_t columns)
{
    *sum = (struct sum){ .add = { .op = OP_ADD, .out = OPERANDS, .in = { LOAD, OTHER } } };
    for (int k = 0; k < OPERANDS; k++)
        sum->operand[k] = (struct operand){ .use = k == STORE ? OPERAND_STORE : OPERAND_LOAD,
                                            .dtype = k == OTHER ? DTYPE_F32 : dtype,
                                            .buffer = k,
                                            .row = k == OTHER ? 0 : columns,
                                            .column = 1,
                                            .direct = dtype == DTYPE_F32,
                                            .value = OPERANDS };
    sum->loop = (struct loop){ .rows = rows,
                               .columns = columns,
                               .operands = OPERANDS,
                               .operand = sum->operand,
                               .registers = 1,
                               .instructions = 1,
                               .instruction = &sum->add };
}

static struct kernel generate(const struct sum *sum, struct text *text)
{
    struct kernel kernel;
    *text = (struct text){ 0 };
    generate_loop(&sum->loop, "k", text, &kernel);
    return kernel;
}

/* Whether the text has these words. */
static bool says(const struct sum *sum, const char *words)
{
    struct text text;
    (void)generate(sum, &text);
    bool found = strstr(text.bytes, words);
    text_release(&text);
    return found;
}

static void what_is_only_read_is_promised_to_be(void **state)
{
    (void)state;
    struct sum sum;
    sum_init(&sum, DTYPE_F32, 16, 64);
    assert_true(says(&sum, "const float *__restrict__ p0"));
    assert_true(says(&sum, "const float *__restrict__ p1"));
}

static void what_is_updated_in_place_is_not(void **state)
{
    (void)state;
    struct sum sum;
    sum_init(&sum, DTYPE_F32, 16, 64);
    sum.operand[STORE].direct = false; /* as plan.c leaves it */
    assert_true(says(&sum, "const float *p0"));
    assert_true(says(&sum, "const float *__restrict__ p1")); /* it lies otherwise */
    sum_init(&sum, DTYPE_F32, 16, 64);
    sum.operand[OTHER].buffer = sum.operand[STORE].buffer;
    sum.operand[OTHER].offset = 16 * 64; /* beside it, in one buffer */
    assert_true(says(&sum, "const float *p1"));
}

static void much_bf16_is_moved_by_sixteen_bytes(void **state)
{
    (void)state;
    struct sum sum;
    sum_init(&sum, DTYPE_BF16, 1 << 14, 256);
    assert_true(says(&sum, "load8(p0") && says(&sum, "store8(p2"));
    sum.loop.rows = 64; /* too little to leave threads enough */
    assert_true(says(&sum, "load4(p0"));
    sum.operand[LOAD].offset = 2;
    assert_true(says(&sum, "load1(p0"));
    sum_init(&sum, DTYPE_F32, 1 << 14, 256);
    assert_true(says(&sum, "load4(p0"));
}

/* b is read once for four rows. */
static void what_rows_have_in_common_is_read_once(void **state)
{
    (void)state;
    struct sum sum;
    sum_init(&sum, DTYPE_F32, 1 << 14, 256);
    assert_true(says(&sum, "turn < 4"));
    sum.operand[OTHER].row = 256;
    assert_false(says(&sum, "turn <"));
    sum.operand[OTHER].row = 0;
    sum.loop.rows = 1 << 10; /* too little to leave threads enough */
    assert_false(says(&sum, "turn <"));
}

/* Threads side by side take numbers that lie side by side. */
static void what_lies_along_rows_is_walked_along_rows(void **state)
{
    (void)state;
    struct sum sum;
    sum_init(&sum, DTYPE_F32, 1 << 10, 64);
    assert_true(says(&sum, "column = rest_index % 16;")); /* by four */
    for (int k = 0; k < OPERANDS; k++) {
        sum.operand[k].row = 1;
        sum.operand[k].column = 1 << 10;
    }
    assert_true(says(&sum, "column = rest_index % 256;"));
    assert_true(says(&sum, "row = rest_index;"));
    sum.operand[STORE].row = 64; /* a store decides less */
    sum.operand[STORE].column = 1;
    sum.operand[OTHER] = sum.operand[STORE];
    sum.operand[OTHER].use = OPERAND_LOAD;
    sum.operand[OTHER].row = sum.operand[OTHER].column = 0;
    assert_true(says(&sum, "column = rest_index % 1024;"));
    sum.operand[OTHER].column = 1; /* than a load */
    assert_true(says(&sum, "column = rest_index % 64;"));
}

/* Reductions over all rows: each thread has neighbouring columns, and enough blocks share the rows.
 */
static void sums_read_neighbours_at_once(void **state)
{
    (void)state;
    struct sum sum;
    struct text text;
    sum_init(&sum, DTYPE_F32, 1 << 14, 256);
    sum.loop.row_reduced = true;
    sum.operand[STORE].use = OPERAND_SUM;
    sum.operand[STORE].row = 0;
    struct kernel kernel = generate(&sum, &text);
    assert_non_null(strstr(text.bytes, "load4(p0"));
    text_release(&text);
    assert_true(kernel.finish[0] && kernel.pieces > 1);
    assert_in_range(kernel.blocks * kernel.pieces, 396, 528);
    assert_int_equal(kernel.scratch, kernel.pieces * 256 * sizeof(float));
}

/* Steps of loops that are done together; group_generate makes their kernel. */
enum { MEMBERS = 4 };

struct group {
    struct sum sum[MEMBERS];
    struct step step[MEMBERS];
};

static void group_init(struct group *group)
{
    for (int i = 0; i < MEMBERS; i++) {
        sum_init(&group->sum[i], DTYPE_F32, 1, 64 << i);
        group->sum[i].loop.rows = 1;
        group->step[i] = (struct step){ .loop = &group->sum[i].loop, .together = i ? 0 : MEMBERS };
    }
}

static struct kernel group_generate(const struct group *group, struct text *text)
{
    struct kernel kernel;
    *text = (struct text){ 0 };
    generate_group(group->step, "k", text, &kernel);
    return kernel;
}

static int occurrences(const char *text, const char *words)
{
    int count = 0;
    while ((text = strstr(text, words))) {
        text += strlen(words);
        count++;
    }
    return count;
}

/* 64, 128, 256 and 512 numbers, by four: a block each; the code stands there once. */
static void loops_that_differ_in_length_stand_there_once(void **state)
{
    (void)state;
    struct group group;
    struct text text;
    group_init(&group);
    struct kernel kernel = group_generate(&group, &text);
    assert_int_equal(occurrences(text.bytes, "__global__"), 1);
    assert_int_equal(occurrences(text.bytes, "block = blockIdx.x -"), MEMBERS);
    assert_int_equal(occurrences(text.bytes, "load4(p0"), 1);
    assert_int_equal(kernel.blocks, MEMBERS);
    assert_int_equal(kernel.arguments, MEMBERS * OPERANDS);
    text_release(&text);
}

static void loops_of_other_kinds_stand_beside_them(void **state)
{
    (void)state;
    struct group group;
    struct text text;
    group_init(&group);
    group.sum[1].add.op = OP_SUB;
    group.sum[2].loop.rows = 1 << 9; /* sums of all rows */
    group.sum[2].loop.row_reduced = true;
    group.sum[2].operand[STORE].use = OPERAND_SUM;
    group.sum[2].operand[STORE].row = 0;
    struct kernel kernel = group_generate(&group, &text);
    assert_int_equal(occurrences(text.bytes, "    case "), 3);
    assert_int_equal(occurrences(text.bytes, "__shared__"), 1);
    assert_true(kernel.blocks > MEMBERS);
    assert_true(kernel.pieces == 1 && !kernel.finish[0] && !kernel.scratch);
    text_release(&text);
}

static void what_is_large_is_done_alone(void **state)
{
    (void)state;
    struct sum sum;
    sum_init(&sum, DTYPE_F32, 16, 64);
    assert_int_equal(loop_groups(&sum.loop), OPERANDS);
    sum_init(&sum, DTYPE_F32, 1 << 15, 64); /* 17 MB */
    assert_int_equal(loop_groups(&sum.loop), 0);
    sum_init(&sum, DTYPE_F32, 1 << 12, 64); /* two kernels, as it is summed in pieces */
    sum.loop.row_reduced = true;
    sum.operand[STORE].use = OPERAND_SUM;
    sum.operand[STORE].row = 0;
    assert_int_equal(loop_groups(&sum.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_only_read_is_promised_to_be),
        cmocka_unit_test(what_is_updated_in_place_is_not),
        cmocka_unit_test(much_bf16_is_moved_by_sixteen_bytes),
        cmocka_unit_test(what_rows_have_in_common_is_read_once),
        cmocka_unit_test(what_lies_along_rows_is_walked_along_rows),
        cmocka_unit_test(sums_read_neighbours_at_once),
        cmocka_unit_test(loops_that_differ_in_length_stand_there_once),
        cmocka_unit_test(loops_of_other_kinds_stand_beside_them),
        cmocka_unit_test(what_is_large_is_done_alone),
    };
    return cmocka_run_group_tests_name("tensor/cuda_generate", tests, NULL, NULL);
}
