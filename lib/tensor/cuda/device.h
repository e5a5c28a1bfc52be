/* A device: memory, programs, and one stream in which everything happens in the order asked for.
 *
 * device.c is this over CUDA's run-time, and the whole contact surface with it; an emulation on the
 * processor (tests/tensor/cuda/emulation.c) lets all that is above it be tested without one.
 */
#ifndef CUDA_DEVICE_H
#define CUDA_DEVICE_H

#include "base/error.h"

#include <stdint.h>

/* Starts using device `number` (0, 1, …). */
bool device_open(int number, struct error *err) MUST_USE;

void *device_allocate(size_t bytes, const char *what, struct error *err) MUST_USE;
void device_release(void *memory); /* NULL is fine */
size_t device_available(void);

/* Host memory may be used again when these return; the copy to the device comes after what was
 * asked for before, and on a stream of its own as far as that allows. */
void device_copy_in(void *device, const void *host, size_t bytes);
void device_copy_out(void *host, const void *device, size_t bytes);
void device_copy(void *to, const void *from, size_t bytes); /* within the device */
void device_fill(void *memory, int byte, size_t bytes);

/* Host memory of the caller's that copies can then reach without another copy, or no longer: before
 * it is given back. Where that is refused, copies are as before. */
void device_pin(void *host, size_t bytes, bool pinned);

/* Whether nothing has failed since the last time; does not wait. A device that failed for good does
 * so each time. */
bool device_check(struct error *err) MUST_USE;
void device_wait(void);
/* Keeps the first failure for device_check. */
void device_fail(const char *what, const char *why);
bool device_has_bf16(void);

/* How long the device takes for what `work` asks of it, in seconds. False where that fails, which
 * is no failure of the device. Not while a run is recorded. */
bool device_time(bool (*work)(void *context), void *context, double *seconds) MUST_USE;

/* Programs of kernels, one a source, compiled at the same time (cuda/compiler.h). False where one
 * fails; then there are none. */
struct program;
bool device_compile(const char *const *sources, size_t count, struct program **programs,
                    struct error *err) MUST_USE;
void device_forget(struct program *program); /* NULL is fine */
void *device_function(const struct program *program, const char *name, struct error *err) MUST_USE;
/* arguments[i] points to the i-th argument, of 8 bytes; or, where these lie side by side, to the
 * i-th member of the only argument. */
void device_launch(void *function, const unsigned blocks[2], const unsigned threads[2],
                   void **arguments, int count);

/* What is asked for between the two is noted instead of done, and can then be done at once, again
 * and again. Where that fails (a library may do what cannot be recorded), nothing was done, and it
 * is no failure of the device. LETHE_RECORD=0 has it fail always. */
struct recording;
bool device_record(struct error *err) MUST_USE;
struct recording *device_recorded(struct error *err) MUST_USE;
void device_replay(const struct recording *recording);
void device_erase(struct recording *recording); /* NULL is fine */

#endif
