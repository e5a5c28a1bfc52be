/* Devices by name; see device.h. The plug-in is looked for beside the binary, nowhere else: what is
 * loaded into the process that handles patients' images must not depend on a search path. */
#include "tensor/device.h"

#include "base/file.h"
#include "base/text.h"
#include "cuda/plugin.h"
#include "tensor/cpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct cuda_plugin *device_plugin(struct error *reason)
{
    static const struct cuda_build build = CUDA_BUILD;
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof CUDA_PLUGIN_FILE - 1);
    path[length > 0 ? length : 0] = '\0';
    strcpy(path + (path_name(path) - path), CUDA_PLUGIN_FILE);
    if (path_kind(path) != PATH_FILE) {
        error_set(reason, "no GPU plug-in beside the binary");
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct cuda_plugin *plugin = library ? dlsym(library, CUDA_PLUGIN_SYMBOL) : NULL;
    if (!plugin)
        error_set(reason, "%s", dlerror());
    else if (memcmp(&plugin->build, &build, sizeof build) != 0)
        error_set(reason, "%s is of another build than the program beside it", path);
    else
        return plugin;
    return NULL;
}

static const struct backend *open_cuda(int64_t number, struct error *err)
{
    char message[256] = "";
    const struct cuda_plugin *plugin = device_plugin(err);
    if (!plugin)
        return NULL;
    int count = plugin->devices(message, sizeof message);
    if (count == 0)
        error_set(err, "%s", message);
    else if (number >= count)
        error_set(err, "there is no device %lld: %d can be used", (long long)number, count);
    else
        return plugin->open((int)number, err);
    return NULL;
}

const struct backend *device_backend(const char *device, struct error *err)
{
    int64_t number = 0;
    if (strcmp(device, "cpu") == 0)
        return &cpu_backend;
    if (strcmp(device, "auto") == 0) {
        const struct backend *cuda = open_cuda(0, NULL);
        return cuda ? cuda : &cpu_backend;
    }
    bool numbered = text_starts_with(device, "cuda:") &&
                    text_to_integer(device + strlen("cuda:"), &number) && number >= 0;
    if (!numbered && strcmp(device, "cuda") != 0) {
        error_set(err, "there is no device \"%s\"; there are cpu, cuda, cuda:N and auto", device);
        return NULL;
    }
    const struct backend *cuda = open_cuda(number, err);
    if (!cuda)
        error_prefix(err, "--device %s (lethe doctor tells more)", device);
    return cuda;
}
