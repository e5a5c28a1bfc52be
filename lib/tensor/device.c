/* Devices by name; see device.h. */
#include "tensor/device.h"

#include "base/plugin.h"
#include "base/text.h"
#include "cuda/plugin.h"
#include "tensor/cpu.h"

#include <string.h>

const struct cuda_plugin *device_plugin(struct error *reason)
{
    static const struct cuda_build build = CUDA_BUILD;
    const struct cuda_plugin *plugin = plugin_open(CUDA_PLUGIN_FILE, CUDA_PLUGIN_SYMBOL, reason);
    if (!plugin || memcmp(&plugin->build, &build, sizeof build) == 0)
        return plugin;
    error_set(reason, "%s is of another build than the program beside it", CUDA_PLUGIN_FILE);
    return NULL;
}

/* The plug-in, when it can use device `number`. */
static const struct cuda_plugin *plugin_for(int64_t number, struct error *err)
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
        return plugin;
    return NULL;
}

bool device_number(const char *device, int64_t *number, struct error *err)
{
    *number = 0;
    if (strcmp(device, "cpu") == 0)
        *number = DEVICE_CPU;
    else if (strcmp(device, "auto") == 0)
        *number = DEVICE_AUTO;
    else if (strcmp(device, "cuda") != 0 &&
             !(text_starts_with(device, "cuda:") &&
               text_to_integer(device + strlen("cuda:"), number) && *number >= 0))
        return error_set(err, "there is no device \"%s\"; there are cpu, cuda, cuda:N and auto",
                         device);
    return true;
}

/* The plug-in for the word; NULL with *ok where the processor is to do it, else with a message. */
static const struct cuda_plugin *plugin_of(const char *device, int64_t *number, bool *ok,
                                           struct error *err)
{
    *ok = device_number(device, number, err);
    if (!*ok || *number == DEVICE_CPU)
        return NULL;
    const struct cuda_plugin *plugin = plugin_for(*number == DEVICE_AUTO ? 0 : *number, err);
    *ok = plugin || *number == DEVICE_AUTO;
    if (!*ok)
        error_prefix(err, "--device %s (lethe doctor tells more)", device);
    return plugin;
}

const struct backend *device_backend(const char *device, struct error *err)
{
    int64_t number;
    bool ok;
    const struct cuda_plugin *plugin = plugin_of(device, &number, &ok, err);
    if (!plugin)
        return ok ? &cpu_backend : NULL;
    const struct backend *cuda = plugin->open(number == DEVICE_AUTO ? 0 : (int)number, err);
    if (cuda || number == DEVICE_AUTO)
        return cuda ? cuda : &cpu_backend;
    error_prefix(err, "--device %s (lethe doctor tells more)", device);
    return NULL;
}

/* What there is to say when the plug-in was asked for its methods. */
static bool answered(const char *device, bool ok, bool missing, struct error *err)
{
    return missing ? error_prefix(err, "--device %s (lethe doctor tells more)", device) : ok;
}

bool device_filter(const char *device, const struct filter_methods **filter, struct error *err)
{
    int64_t number;
    bool ok;
    const struct cuda_plugin *plugin = plugin_of(device, &number, &ok, err);
    *filter = plugin ? plugin->filter(number == DEVICE_AUTO ? 0 : (int)number, err) : NULL;
    return answered(device, ok, plugin && !*filter && number != DEVICE_AUTO, err);
}

bool device_maxima(const char *device, const struct maxima_methods **maxima, struct error *err)
{
    int64_t number;
    bool ok;
    const struct cuda_plugin *plugin = plugin_of(device, &number, &ok, err);
    *maxima = plugin ? plugin->maxima(number == DEVICE_AUTO ? 0 : (int)number, err) : NULL;
    return answered(device, ok, plugin && !*maxima && number != DEVICE_AUTO, err);
}
