/* A device that is not there (cuda/device.h, cuda/libraries.h): memory that nobody looks into, runs
 * of which nothing comes. What a test is about, programs, launches or convolutions, it brings
 * itself.
 */
#include "test.h"

#include "cuda/device.h"
#include "cuda/libraries.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

void device_forget(struct program *program)
{
    free(program);
}

void *device_function(const struct program *program, const char *name, struct error *err)
{
    (void)err, (void)name;
    return (void *)(uintptr_t)program;
}

bool device_open(int number, struct error *err)
{
    (void)number, (void)err;
    return true;
}

/* Memory of the benchmark's sizes is asked for, and never touched. */
void *device_allocate(size_t bytes, const char *what, struct error *err)
{
    (void)what, (void)err;
    return malloc(bytes ? bytes : 1);
}

void device_release(void *memory)
{
    free(memory);
}

size_t device_available(void)
{
    return SIZE_MAX;
}

void device_copy_in(void *device, const void *host, size_t bytes)
{
    (void)device, (void)host, (void)bytes;
}

void device_copy_out(void *host, const void *device, size_t bytes)
{
    (void)device;
    memset(host, 0, bytes);
}

void device_pin(void *host, size_t bytes, bool pinned)
{
    (void)host, (void)bytes, (void)pinned;
}

void device_copy(void *to, const void *from, size_t bytes)
{
    (void)to, (void)from, (void)bytes;
}

void device_fill(void *memory, int byte, size_t bytes)
{
    (void)memory, (void)byte, (void)bytes;
}

bool device_check(struct error *err)
{
    (void)err;
    return true;
}

void device_wait(void) {}

void device_fail(const char *what, const char *why)
{
    fail_msg("%s: %s", what, why);
}

bool device_has_bf16(void)
{
    return true;
}

bool device_record(struct error *err)
{
    (void)err;
    return true;
}

struct recording *device_recorded(struct error *err)
{
    (void)err;
    return memory_grow(NULL, 1, 1);
}

void device_replay(const struct recording *recording)
{
    (void)recording;
}

void device_erase(struct recording *recording)
{
    free(recording);
}

bool product_prepare(const struct product *product, void **state, size_t *scratch,
                     struct error *err)
{
    *scratch = 0;
    err->message[0] = '\0';
    if (product->inner == 1)
        return false;
    *state = memory_grow(NULL, 1, 1);
    return true;
}

void product_run(void *state, const void *a, const void *b, const void *bias, void *d,
                 void *scratch)
{
    (void)state, (void)a, (void)b, (void)bias, (void)d, (void)scratch;
}

void product_dispose(void *state)
{
    free(state);
}
