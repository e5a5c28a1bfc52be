/* The device over CUDA: the whole contact surface with its run-time library.
 *
 * Everything is asked for on one stream, so it happens in order. What is copied in goes through
 * pieces of pinned memory, and over a second stream to memory set aside on the device, while the
 * first stream computes; only the last copy, within the device, waits for its turn there.
 */
#include "cuda/device.h"

#include "base/arena.h"
#include "cuda/compiler.h"
#include "cuda/context.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 8, STAGED_LEAST = 1 << 16, STAGED_MOST = 32 << 20 };

/* On its way to the device. */
struct slot {
    void *pinned, *staged;
    size_t capacity;
    cudaEvent_t arrived, taken;
    bool busy;
};

struct program {
    cudaLibrary_t library;
};

struct recording {
    cudaGraphExec_t graph;
};

static struct {
    int number, major;
    cudaStream_t stream, copies;
    struct slot slot[SLOTS];
    int next;
    cudaEvent_t began, ended;     /* of what is measured */
    char failure[ERROR_CAPACITY]; /* the first that was not told yet; "" while there is none */
    bool sound;                   /* there was none when recording began */
} device;

void *context_stream(void)
{
    return device.stream;
}

void device_fail(const char *what, const char *why)
{
    if (!device.failure[0])
        snprintf(device.failure, sizeof device.failure, "%s: %s", what, why);
}

bool device_has_bf16(void)
{
    return device.major >= 8;
}

bool context_tf32(void)
{
    const char *wanted = getenv("LETHE_TF32");
    return wanted && strcmp(wanted, "1") == 0;
}

static bool check(cudaError_t code, const char *what, struct error *err)
{
    return code == cudaSuccess || error_set(err, "CUDA, %s: %s (%s)", what,
                                            cudaGetErrorString(code), cudaGetErrorName(code));
}

/* For calls whose failure is told later, by device_check. */
static void note(cudaError_t code, const char *what)
{
    struct error why;
    if (code == cudaSuccess)
        return;
    error_set(&why, "%s (%s)", cudaGetErrorString(code), cudaGetErrorName(code));
    device_fail(what, why.message);
}

bool device_open(int number, struct error *err)
{
    int major = 0, minor = 0;
    if (device.stream)
        return device.number == number ||
               error_set(err, "device %d is in use; one process uses one device", device.number);
    if (!check(cudaSetDevice(number), "choosing the device", err) ||
        !check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number),
               "asking for its kind", err) ||
        !check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, number),
               "asking for its kind", err) ||
        !compiler_aim(major, minor, err) ||
        !check(cudaStreamCreateWithFlags(&device.copies, cudaStreamNonBlocking), "starting", err) ||
        !check(cudaStreamCreateWithFlags(&device.stream, cudaStreamNonBlocking), "starting", err))
        return false;
    for (int i = 0; i < SLOTS; i++)
        if (!check(cudaEventCreateWithFlags(&device.slot[i].arrived, cudaEventDisableTiming),
                   "starting", err) ||
            !check(cudaEventCreateWithFlags(&device.slot[i].taken, cudaEventDisableTiming),
                   "starting", err))
            return false;
    if (!check(cudaEventCreate(&device.began), "starting", err) ||
        !check(cudaEventCreate(&device.ended), "starting", err))
        return false;
    device.number = number;
    device.major = major;
    return true;
}

/* Memory. */

void *device_allocate(size_t bytes, const char *what, struct error *err)
{
    void *memory = NULL;
    cudaError_t code = cudaMalloc(&memory, bytes ? bytes : 1);
    if (code == cudaSuccess)
        return memory;
    (void)cudaGetLastError(); /* it is told here, and not sticky */
    error_set(err, "%s: %.1f MB of device memory cannot be had, %.1f MB are free (%s)", what,
              (double)bytes / 1e6, (double)device_available() / 1e6, cudaGetErrorString(code));
    return NULL;
}

void device_release(void *memory)
{
    if (!memory)
        return;
    device_wait();
    note(cudaFree(memory), "freeing memory");
}

size_t device_available(void)
{
    size_t available = 0, total = 0;
    return cudaMemGetInfo(&available, &total) == cudaSuccess ? available : SIZE_MAX;
}

/* Makes a slot hold so many bytes; false when they cannot be had. */
static bool reserve(struct slot *slot, size_t bytes)
{
    if (bytes <= slot->capacity)
        return true;
    cudaFreeHost(slot->pinned);
    cudaFree(slot->staged);
    *slot = (struct slot){ .arrived = slot->arrived, .taken = slot->taken };
    if (cudaMallocHost(&slot->pinned, bytes) == cudaSuccess &&
        cudaMalloc(&slot->staged, bytes) == cudaSuccess) {
        slot->capacity = bytes;
        return true;
    }
    (void)cudaGetLastError();
    return false;
}

void device_copy_in(void *to, const void *host, size_t bytes)
{
    struct slot *slot = &device.slot[device.next];
    device.next = (device.next + 1) % SLOTS;
    if (slot->busy)
        note(cudaEventSynchronize(slot->taken), "copying in");
    slot->busy = bytes <= STAGED_MOST && reserve(slot, bytes > STAGED_LEAST ? bytes : STAGED_LEAST);
    if (!slot->busy) {
        note(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, device.stream), "copying in");
        device_wait(); /* host memory is the caller's again */
        return;
    }
    memcpy(slot->pinned, host, bytes);
    note(cudaMemcpyAsync(slot->staged, slot->pinned, bytes, cudaMemcpyHostToDevice, device.copies),
         "copying in");
    note(cudaEventRecord(slot->arrived, device.copies), "copying in");
    note(cudaStreamWaitEvent(device.stream, slot->arrived, 0), "copying in");
    note(cudaMemcpyAsync(to, slot->staged, bytes, cudaMemcpyDeviceToDevice, device.stream),
         "copying in");
    note(cudaEventRecord(slot->taken, device.stream), "copying in");
}

void device_copy_out(void *host, const void *from, size_t bytes)
{
    note(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, device.stream), "copying out");
    device_wait();
}

void device_copy(void *to, const void *from, size_t bytes)
{
    note(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, device.stream), "copying");
}

void device_pin(void *host, size_t bytes, bool pinned)
{
    device_wait();
    cudaError_t code =
        pinned ? cudaHostRegister(host, bytes, cudaHostRegisterDefault) : cudaHostUnregister(host);
    if (code != cudaSuccess)
        (void)cudaGetLastError(); /* it only takes longer */
}

void device_fill(void *memory, int byte, size_t bytes)
{
    note(cudaMemsetAsync(memory, byte, bytes, device.stream), "filling memory");
}

/* What was refused (a kernel that cannot be started, a library's work) leaves a device as it was;
 * what failed while it ran does not, and waiting then fails for ever. */
static bool works(void)
{
    (void)cudaGetLastError();
    return cudaStreamSynchronize(device.stream) == cudaSuccess &&
           cudaStreamSynchronize(device.copies) == cudaSuccess;
}

bool device_check(struct error *err)
{
    note(cudaPeekAtLastError(), "the device");
    if (!device.failure[0])
        return true;
    error_set(err, "%s", device.failure);
    if (works())
        device.failure[0] = '\0';
    return false;
}

void device_wait(void)
{
    note(cudaStreamSynchronize(device.stream), "waiting");
}

bool device_time(bool (*work)(void *context), void *context, double *seconds)
{
    float milliseconds = 0;
    bool ok = cudaEventRecord(device.began, device.stream) == cudaSuccess && work(context) &&
              cudaEventRecord(device.ended, device.stream) == cudaSuccess &&
              cudaEventSynchronize(device.ended) == cudaSuccess &&
              cudaEventElapsedTime(&milliseconds, device.began, device.ended) == cudaSuccess;
    if (!ok) {
        (void)cudaStreamSynchronize(device.stream);
        (void)cudaGetLastError(); /* it is told here */
    }
    *seconds = milliseconds / 1e3;
    return ok;
}

/* Programs. */

static bool load(const char *bytes, struct program **out, struct error *err)
{
    cudaLibrary_t library;
    cudaError_t code = cudaLibraryLoadData(&library, bytes, NULL, NULL, 0, NULL, NULL, 0);
    if (!check(code, "loading a program", err)) {
        (void)cudaGetLastError(); /* it is told here, and not sticky */
        return false;
    }
    *out = memory_grow(NULL, 1, sizeof **out);
    (*out)->library = library;
    return true;
}

/* Code from the cache that cannot be loaded is damaged. */
static bool load_or_build(const char *source, struct code *code, struct program **out,
                          struct error *err)
{
    if (load(code->bytes, out, err))
        return true;
    if (!code->cached)
        return false;
    free(code->bytes);
    code->bytes = NULL;
    return compiler_build(&source, 1, true, code, err) && load(code->bytes, out, err);
}

/* Loaded by this thread, for to others the device is not this one but the first. */
bool device_compile(const char *const *sources, size_t count, struct program **programs,
                    struct error *err)
{
    struct code *codes = memory_grow(NULL, count + 1, sizeof *codes);
    bool built = compiler_build(sources, count, false, codes, err), ok = built;
    for (size_t i = 0; i < count; i++) {
        programs[i] = NULL;
        ok = ok && load_or_build(sources[i], &codes[i], &programs[i], err);
        if (built)
            free(codes[i].bytes);
    }
    for (size_t i = 0; !ok && i < count; i++) {
        device_forget(programs[i]);
        programs[i] = NULL;
    }
    free(codes);
    return ok;
}

void device_forget(struct program *program)
{
    if (!program)
        return;
    device_wait();
    note(cudaLibraryUnload(program->library), "unloading a program");
    free(program);
}

void *device_function(const struct program *program, const char *name, struct error *err)
{
    cudaKernel_t kernel = NULL;
    return check(cudaLibraryGetKernel(&kernel, program->library, name), name, err) ? kernel : NULL;
}

/* With CUDA_LAUNCH_BLOCKING=1 also that of a kernel which fails while it runs. */
static const char *name_of(const void *function)
{
    const char *name = NULL;
    return cudaFuncGetName(&name, function) == cudaSuccess && name ? name : "a kernel";
}

void device_launch(void *function, const unsigned blocks[2], const unsigned threads[2],
                   void **arguments, int count)
{
    (void)count;
    dim3 grid = { blocks[0], blocks[1], 1 }, block = { threads[0], threads[1], 1 };
    cudaError_t code = cudaLaunchKernel(function, grid, block, arguments, 0, device.stream);
    if (code != cudaSuccess)
        note(code, name_of(function));
}

/* Recordings. */

bool device_record(struct error *err)
{
    const char *wanted = getenv("LETHE_RECORD");
    if (wanted && strcmp(wanted, "0") == 0)
        return error_set(err, "recording is switched off (LETHE_RECORD=0)");
    device.sound = !device.failure[0];
    if (check(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeThreadLocal),
              "recording a step", err))
        return true;
    (void)cudaGetLastError();
    return false;
}

/* What failed while nothing was done yet is no failure of the device: the step can be run as it is.
 */
static struct recording *not_recorded(cudaGraph_t graph)
{
    if (graph)
        cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    if (device.sound)
        device.failure[0] = '\0';
    return NULL;
}

struct recording *device_recorded(struct error *err)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t made = NULL;
    bool ok = check(cudaStreamEndCapture(device.stream, &graph), "recording a step", err);
    if (ok && device.sound && device.failure[0])
        ok = error_set(err, "recording a step: %s", device.failure);
    if (!ok || !check(cudaGraphInstantiate(&made, graph, 0), "recording a step", err))
        return not_recorded(graph);
    cudaGraphDestroy(graph);
    struct recording *recording = memory_grow(NULL, 1, sizeof *recording);
    recording->graph = made;
    return recording;
}

void device_replay(const struct recording *recording)
{
    note(cudaGraphLaunch(recording->graph, device.stream), "replaying a step");
}

void device_erase(struct recording *recording)
{
    if (!recording)
        return;
    device_wait();
    note(cudaGraphExecDestroy(recording->graph), "forgetting a step");
    free(recording);
}
