/* The emulated device refuses what a real one would refuse, fail at or get wrong: else what passes
 * there would say little. Where it ends the process, a child is sent.
 */
#include "test.h"

#include "cuda/device.h"
#include "cuda/generate.h"
#include "emulation.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 64 };

static struct program *program;

/* The kernel `name` of the text after the prelude. */
static void *kernel_of(const char *text, const char *name)
{
    struct error err;
    struct text source = { 0 };
    text_add(&source, generate_prelude);
    text_add(&source, text);
    const char *sources = source.bytes;
    assert_ok(device_open(0, &err), err);
    assert_ok(device_compile(&sources, 1, &program, &err), err);
    void *kernel = device_function(program, name, &err);
    assert_ok(kernel, err);
    text_release(&source);
    return kernel;
}

static float *floats(size_t count)
{
    struct error err;
    float *memory = device_allocate(count * sizeof *memory, "numbers", &err);
    assert_ok(memory, err);
    return memory;
}

static void launch(void *kernel, unsigned blocks, unsigned pieces, unsigned threads, float *x)
{
    device_launch(kernel, (unsigned[2]){ blocks, pieces }, (unsigned[2]){ threads, 1 },
                  (void *[]){ &x }, 1);
}

/* Whether a process that does this comes to its end. */
static bool survives(void (*work)(void))
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        work();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- what ends it ---------------------------------------------------------------------------- */

static const char moving[] =
    "extern \"C\" __global__ void __launch_bounds__(64) even(float *x) {\n"
    "    float y[4]; load4(x + 4 * threadIdx.x, y); store4(x + 4 * threadIdx.x, y);\n}\n"
    "extern \"C\" __global__ void __launch_bounds__(64) odd(float *x) {\n"
    "    float y[4]; load4(x + 4 * threadIdx.x + 2, y); store1(x, y);\n}\n"
    "extern \"C\" __global__ void __launch_bounds__(64) beyond(float *x) { x[64] = 1; }\n"
    "extern \"C\" __global__ void __launch_bounds__(64) far(int *x) {\n"
    "    x[0] = x[1] * 65536 * (65536 + (int)threadIdx.x);\n}\n";

static void move_evenly(void)
{
    launch(kernel_of(moving, "even"), 1, 1, 16, floats(COUNT));
}

static void move_oddly(void)
{
    launch(kernel_of(moving, "odd"), 1, 1, 15, floats(COUNT));
}

static void reach_beyond_its_type(void)
{
    float *x = floats(COUNT);
    memset(x, 1, COUNT * sizeof *x);
    launch(kernel_of(moving, "far"), 1, 1, 1, x);
}

static void write_beside(void)
{
    float *x = floats(COUNT);
    launch(kernel_of(moving, "beyond"), 1, 1, 1, x);
    device_release(x);
}

static void start_many_pieces(void)
{
    launch(kernel_of(moving, "even"), 1, 65536, 16, floats(COUNT));
}

static void start_large_blocks(void)
{
    launch(kernel_of(moving, "even"), 1, 1, 1025, floats((size_t)4 * 1025));
}

static const char sharing[] =
    "extern \"C\" __global__ void __launch_bounds__(64) greedy(float *x) {\n"
    "    __shared__ float s[12289]; s[threadIdx.x] = 1; __syncthreads(); x[0] = s[0];\n}\n"
    "extern \"C\" __global__ void __launch_bounds__(64) half_a_warp(float *x) {\n"
    "    if (threadIdx.x % 2) x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[0], 2);\n"
    "    __syncthreads();\n}\n"
    "extern \"C\" __global__ void __launch_bounds__(64) half_a_block(float *x) {\n"
    "    if (threadIdx.x < 32) __syncthreads();\n    x[threadIdx.x] = 1;\n}\n";

static void share_too_much(void)
{
    launch(kernel_of(sharing, "greedy"), 1, 1, COUNT, floats(COUNT));
}

static void exchange_in_half_a_warp(void)
{
    launch(kernel_of(sharing, "half_a_warp"), 1, 1, COUNT, floats(COUNT));
}

static void wait_in_half_a_block(void)
{
    launch(kernel_of(sharing, "half_a_block"), 1, 1, COUNT, floats(COUNT));
}

static void record_a_first_launch(void)
{
    struct error err;
    void *kernel = kernel_of(moving, "even");
    float *x = floats(COUNT);
    assert_ok(device_record(&err), err);
    launch(kernel, 1, 1, 16, x);
}

static void record_taking_memory(void)
{
    struct error err;
    assert_ok(device_record(&err), err);
    (void)floats(COUNT);
}

static void record_waiting(void)
{
    struct error err;
    assert_ok(device_record(&err), err);
    device_wait();
}

static void what_no_device_does_ends_the_process(void **state)
{
    (void)state;
    void (*const refused[])(void) = { move_oddly,
                                      reach_beyond_its_type,
                                      write_beside,
                                      start_many_pieces,
                                      start_large_blocks,
                                      share_too_much,
                                      exchange_in_half_a_warp,
                                      wait_in_half_a_block,
                                      record_a_first_launch,
                                      record_taking_memory,
                                      record_waiting };
    assert_true(survives(move_evenly));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (survives(refused[i]))
            fail_msg("number %zu of what is forbidden went well", i);
}

/* ---- what gives other numbers ---------------------------------------------------------------- */

static const char racing[] =
    "extern \"C\" __global__ void __launch_bounds__(64) waiting(float *x) {\n"
    "    __shared__ float s[64]; s[threadIdx.x] = threadIdx.x; __syncthreads();\n"
    "    x[threadIdx.x] = s[63 - threadIdx.x];\n}\n"
    "extern \"C\" __global__ void __launch_bounds__(64) not_waiting(float *x) {\n"
    "    __shared__ float s[64]; s[threadIdx.x] = threadIdx.x;\n"
    "    x[threadIdx.x] = s[63 - threadIdx.x]; __syncthreads();\n}\n"
    "extern \"C\" __global__ void __launch_bounds__(64) only_a_warp(float *x) {\n"
    "    __shared__ float s[64]; s[threadIdx.x] = threadIdx.x;\n"
    "    __shfl_xor_sync(0xffffffffu, 0.0f, 1);\n"
    "    x[threadIdx.x] = s[63 - threadIdx.x]; __syncthreads();\n}\n"
    "extern \"C\" __global__ void __launch_bounds__(64) unwritten(float *x) {\n"
    "    __shared__ float s[64]; __syncthreads(); x[threadIdx.x] = s[threadIdx.x];\n}\n";

/* Whether all numbers are what they would be, were they passed on in time. */
static bool passes_on(const char *name)
{
    float *x = floats(COUNT);
    bool all = true;
    launch(kernel_of(racing, name), 1, 1, COUNT, x);
    for (int i = 0; i < COUNT; i++)
        all = all && x[i] == (float)(COUNT - 1 - i);
    device_release(x);
    device_forget(program);
    return all;
}

static void a_missing_barrier_shows(void **state)
{
    (void)state;
    assert_true(passes_on("waiting"));
    assert_false(passes_on("not_waiting"));
    assert_false(passes_on("only_a_warp"));
    assert_false(passes_on("unwritten"));
}

static void memory_holds_no_numbers_at_first(void **state)
{
    (void)state;
    float *x = floats(COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_true(isnan(x[i]));
    device_release(x);
}

static void a_failure_is_told_once(void **state)
{
    (void)state;
    struct error err;
    assert_true(device_check(&err));
    device_fail("a library", "refuses");
    device_fail("another", "too");
    assert_false(device_check(&err));
    assert_string_equal(err.message, "a library: refuses");
    assert_true(device_check(&err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_device_does_ends_the_process),
        cmocka_unit_test(a_missing_barrier_shows),
        cmocka_unit_test(memory_holds_no_numbers_at_first),
        cmocka_unit_test(a_failure_is_told_once),
    };
    return cmocka_run_group_tests_name("tensor/cuda_emulation", tests, NULL, NULL);
}
