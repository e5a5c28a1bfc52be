/* The device over CUDA: the whole contact surface with its run-time library and with NVRTC.
 *
 * Everything is asked for on one stream, so it happens in order. What is copied in goes through
 * pieces of pinned memory, and over a second stream to memory set aside on the device, while the
 * first stream computes; only the last copy, within the device, waits for its turn there.
 *
 * Compiled programs are files of the cache folder, named by the digest of their text, the options,
 * and the compiler's version; a file that cannot be read or written only costs the compilation.
 */
#include "cuda/device.h"

#include "base/arena.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "cuda/context.h"

#include <cuda_runtime_api.h>
#include <nvrtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 8, STAGED_LEAST = 1 << 16, STAGED_MOST = 32 << 20, CACHED_MOST = 1 << 28 };

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
    cudaEvent_t began, ended; /* of what is measured */
    char architecture[40];    /* the compiler's option */
    bool portable;     /* the compiler does not know the device: PTX, which the driver compiles */
    char failure[256]; /* the first one; "" while there is none */
    bool sound;        /* there was none when recording began */
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
    return code == cudaSuccess || error_set(err, "CUDA, %s: %s", what, cudaGetErrorString(code));
}

/* For calls whose failure is told later, by device_check. */
static void note(cudaError_t code, const char *what)
{
    if (code != cudaSuccess)
        device_fail(what, cudaGetErrorString(code));
}

/* Machine code for the device where the compiler can make it; for one newer than the compiler, PTX
 * of the newest kind that it knows, which the driver turns into machine code when it is loaded. */
static bool choose_architecture(int major, int minor, struct error *err)
{
    int kind = 10 * major + minor, count = 0, newest = 0;
    bool known = false;
    nvrtcResult code = nvrtcGetNumSupportedArchs(&count);
    int *kinds = memory_grow(NULL, (size_t)count + 1, sizeof *kinds);
    if (code == NVRTC_SUCCESS)
        code = nvrtcGetSupportedArchs(kinds);
    for (int i = 0; code == NVRTC_SUCCESS && i < count; i++) {
        known = known || kinds[i] == kind;
        newest = kinds[i] > newest ? kinds[i] : newest;
    }
    free(kinds);
    if (code != NVRTC_SUCCESS)
        return error_set(err, "NVRTC: %s", nvrtcGetErrorString(code));
    if (!known && kind < newest)
        return error_set(err,
                         "the device is of compute capability %d.%d, for which this CUDA compiler "
                         "makes no code any more",
                         major, minor);
    device.portable = !known;
    snprintf(device.architecture, sizeof device.architecture, "--gpu-architecture=%s_%d",
             known ? "sm" : "compute", known ? kind : newest);
    return true;
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
        !choose_architecture(major, minor, err) ||
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

void device_fill(void *memory, int byte, size_t bytes)
{
    note(cudaMemsetAsync(memory, byte, bytes, device.stream), "filling memory");
}

bool device_check(struct error *err)
{
    note(cudaPeekAtLastError(), "the device");
    return !device.failure[0] || error_set(err, "%s", device.failure);
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

static const char *const options_after[] = { "--std=c++17", "--fmad=true", "-default-device",
                                             "--disable-warnings" };
enum { OPTIONS = 1 + sizeof options_after / sizeof *options_after };

static char *cache_path(struct arena *arena, const char *source)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int major = 0, minor = 0;
    char hex[DIGEST_HEX];
    struct text key = { 0 };
    if (!(cache && *cache) && !(home && *home))
        return NULL;
    nvrtcVersion(&major, &minor);
    text_format(&key, "nvrtc %d.%d %s\n%s", major, minor, device.architecture, source);
    struct digest digest = digest_of(key.bytes, key.length);
    text_release(&key);
    const char *folder = cache && *cache ? arena_format(arena, "%s/lethe", cache)
                                         : arena_format(arena, "%s/.cache/lethe", home);
    return folder_create(folder, NULL)
               ? arena_format(arena, "%s/%s.cubin", folder, digest_hex(&digest, hex))
               : NULL;
}

static nvrtcResult translate(nvrtcProgram program)
{
    const char *options[OPTIONS] = { device.architecture };
    memcpy(options + 1, options_after, sizeof options_after);
    return nvrtcCompileProgram(program, OPTIONS, options);
}

static nvrtcResult fetch(nvrtcProgram program, char **binary, size_t *size)
{
    nvrtcResult code =
        device.portable ? nvrtcGetPTXSize(program, size) : nvrtcGetCUBINSize(program, size);
    if (code != NVRTC_SUCCESS)
        return code;
    *binary = memory_grow(NULL, *size + 1, 1);
    (*binary)[*size] = '\0';
    return device.portable ? nvrtcGetPTX(program, *binary) : nvrtcGetCUBIN(program, *binary);
}

static void tell_log(nvrtcProgram program, nvrtcResult code, struct error *err)
{
    size_t length = 0;
    char *log = NULL;
    if (program && nvrtcGetProgramLogSize(program, &length) == NVRTC_SUCCESS) {
        log = memory_grow(NULL, length + 1, 1);
        log[length] = '\0';
        if (nvrtcGetProgramLog(program, log) != NVRTC_SUCCESS)
            *log = '\0';
    }
    error_set(err, "NVRTC: %s: %.1500s", nvrtcGetErrorString(code), log ? log : "");
    free(log);
}

static bool compile(const char *source, char **binary, size_t *size, struct error *err)
{
    nvrtcProgram program = NULL;
    nvrtcResult code = nvrtcCreateProgram(&program, source, "plan.cu", 0, NULL, NULL);
    if (code == NVRTC_SUCCESS)
        code = translate(program);
    if (code == NVRTC_SUCCESS)
        code = fetch(program, binary, size);
    if (code != NVRTC_SUCCESS)
        tell_log(program, code, err);
    if (program)
        nvrtcDestroyProgram(&program);
    return code == NVRTC_SUCCESS;
}

static struct program *load(const void *binary, struct error *err)
{
    cudaLibrary_t library;
    cudaError_t code = cudaLibraryLoadData(&library, binary, NULL, NULL, 0, NULL, NULL, 0);
    if (!check(code, "loading a program", err)) {
        (void)cudaGetLastError(); /* a damaged file of the cache is compiled again */
        return NULL;
    }
    struct program *program = memory_grow(NULL, 1, sizeof *program);
    program->library = library;
    return program;
}

struct program *device_compile(const char *source, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    char *path = cache_path(&arena, source), *binary = NULL;
    size_t size = 0;
    struct program *program = NULL;
    char *cached =
        path && path_kind(path) == PATH_FILE ? file_read(path, CACHED_MOST, &size, NULL) : NULL;
    if (cached)
        program = load(cached, NULL);
    free(cached);
    if (!program && compile(source, &binary, &size, err)) {
        program = load(binary, err);
        if (program && path)
            (void)!file_write(path, binary, size, NULL);
    }
    free(binary);
    arena_release(&arena);
    return program;
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

void device_launch(void *function, const unsigned blocks[2], const unsigned threads[2],
                   void **arguments, int count)
{
    (void)count;
    dim3 grid = { blocks[0], blocks[1], 1 }, block = { threads[0], threads[1], 1 };
    note(cudaLaunchKernel(function, grid, block, arguments, 0, device.stream), "starting a kernel");
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
