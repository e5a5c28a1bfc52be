/* The driver's library (libcuda.so.1) of a device that is not there, for cuDNN: some of its engines
 * are compiled while they are built, and then loaded. Loading succeeds here, since nothing is run;
 * whatever else is asked of it finds no device.
 */

#pragma GCC visibility push(default)

/* Of a library that was loaded, and of a kernel in it. */
static int place;

enum { SUCCESS = 0, NO_DEVICE = 100 };

int cuLibraryLoadData(void **library);
int cuLibraryLoadData(void **library)
{
    *library = &place;
    return SUCCESS;
}

int cuLibraryGetKernel(void **kernel);
int cuLibraryGetKernel(void **kernel)
{
    *kernel = &place;
    return SUCCESS;
}

int cuKernelGetAttribute(int *value);
int cuKernelGetAttribute(int *value)
{
    *value = 0;
    return SUCCESS;
}

#define ALWAYS(name, answer)                                                                       \
    int name(void);                                                                                \
    int name(void)                                                                                 \
    {                                                                                              \
        return answer;                                                                             \
    }

ALWAYS(cuKernelSetAttribute, SUCCESS)
ALWAYS(cuLibraryUnload, SUCCESS)
ALWAYS(cuCtxGetCurrent, NO_DEVICE)
ALWAYS(cuCtxGetLimit, NO_DEVICE)
ALWAYS(cuCtxPopCurrent, NO_DEVICE)
ALWAYS(cuCtxPushCurrent, NO_DEVICE)
ALWAYS(cuDeviceGet, NO_DEVICE)
ALWAYS(cuDeviceGetCount, NO_DEVICE)
ALWAYS(cuDriverGetVersion, NO_DEVICE)
ALWAYS(cuGetErrorName, NO_DEVICE)
ALWAYS(cuGetErrorString, NO_DEVICE)
ALWAYS(cuInit, NO_DEVICE)
ALWAYS(cuLaunchCooperativeKernel, NO_DEVICE)
ALWAYS(cuLaunchKernel, NO_DEVICE)
ALWAYS(cuLaunchKernelEx, NO_DEVICE)
ALWAYS(cuLibraryLoadFromFile, NO_DEVICE)
ALWAYS(cuLinkAddData, NO_DEVICE)
ALWAYS(cuLinkComplete, NO_DEVICE)
ALWAYS(cuLinkCreate, NO_DEVICE)
ALWAYS(cuLinkDestroy, NO_DEVICE)
ALWAYS(cuOccupancyMaxPotentialClusterSize, NO_DEVICE)
ALWAYS(cuStreamGetCtx, NO_DEVICE)
