/* The plug-in's table; see plugin.h. Whole contact surface with CUDA's run-time, cuBLAS and cuDNN
 * as far as asking for devices and versions goes. */
#include "cuda/plugin.h"

#include "cuda/backend.h"
#include "cuda/filter.h"
#include "cuda/maxima.h"

#include <stdio.h>

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn_version.h>

/* Declared here, since cudnn.h as a whole does not compile as strict C17. */
size_t cudnnGetVersion(void);

static int devices(char *message, size_t size)
{
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code == cudaSuccess && count > 0)
        return count;
    snprintf(message, size, "%s",
             code == cudaSuccess ? "no CUDA device" : cudaGetErrorString(code));
    return 0;
}

static void describe(int device, char *text, size_t size)
{
    struct cudaDeviceProp properties;
    cudaError_t code = cudaGetDeviceProperties(&properties, device);
    if (code != cudaSuccess) {
        snprintf(text, size, "device %d: %s", device, cudaGetErrorString(code));
        return;
    }
    snprintf(text, size, "%s, compute capability %d.%d, %.1f GB", properties.name, properties.major,
             properties.minor, (double)properties.totalGlobalMem / 1e9);
}

static void libraries(char *text, size_t size)
{
    int runtime = 0;
    size_t blas = cublasLtGetVersion(), dnn = cudnnGetVersion();
    cudaRuntimeGetVersion(&runtime);
    snprintf(text, size, "CUDA %d.%d, cuBLAS %zu.%zu.%zu, cuDNN %zu.%zu.%zu", runtime / 1000,
             runtime % 1000 / 10, blas / 10000, blas / 100 % 100, blas % 100, dnn / 10000,
             dnn / 100 % 100, dnn % 100);
}

extern const struct cuda_plugin lethe_cuda_plugin;
__attribute__((visibility("default"))) const struct cuda_plugin lethe_cuda_plugin = {
    .build = CUDA_BUILD,
    .devices = devices,
    .describe = describe,
    .libraries = libraries,
    .open = cuda_backend_open,
    .filter = cuda_filter_open,
    .maxima = cuda_maxima_open,
};
