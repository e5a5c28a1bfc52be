/* cuDNN of a device that is not there (cuda/libraries.h): it takes every convolution but those that
 * the real one does not, and nothing comes of them.
 */
#include "cuda/libraries.h"

#include "base/arena.h"

#include <stdlib.h>

bool convolution_prepare(const struct convolution *convolution, void **state, size_t *scratch,
                         struct error *err)
{
    *scratch = 0;
    err->message[0] = '\0';
    if (convolution->geometry.pad[0][0] != convolution->geometry.pad[0][1])
        return false;
    *state = memory_grow(NULL, 1, 1);
    return true;
}

void convolution_run(void *state, void *image, void *weight, void *output, void *scratch)
{
    (void)state, (void)image, (void)weight, (void)output, (void)scratch;
}

void convolution_dispose(void *state)
{
    free(state);
}

/* None: so that our own kernel is compiled wherever there is attention. */
bool attention_prepare(const struct heads *heads, void **state, size_t *scratch, struct error *err)
{
    (void)heads, (void)state, (void)scratch, (void)err;
    return false;
}

void attention_run(void *state, void *q, void *k, void *v, void *y, void *scratch)
{
    (void)state, (void)q, (void)k, (void)v, (void)y, (void)scratch;
}

void attention_dispose(void *state)
{
    (void)state;
}
