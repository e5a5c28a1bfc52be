/* Buffers handed from one thread to several, each of which sees all bytes, in order.
 *
 *     relay_start(&relay, (relay_take *[]){ hash_tar, walk_tar }, 2, &job);
 *     while ((buffer = relay_buffer(&relay))) {
 *         … fill RELAY_SIZE bytes or fewer …
 *         relay_send(&relay, n);
 *     }
 *     ok = relay_finish(&relay);
 *
 * A ring of fixed buffers, so memory is constant: the sender waits while the slowest taker is a
 * whole ring behind. A taker that returns false stops all: relay_buffer returns NULL from then on.
 */
#ifndef RELEASE_RELAY_H
#define RELEASE_RELAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 256 KiB a buffer: larger than the pieces in which zstd gives its output (128 KiB), and eight of
 * them still fit a processor's second-level cache of 2 MB. */
enum { RELAY_SIZE = 1 << 18, RELAY_BUFFERS = 8, RELAY_MOST_TAKERS = 2 };

typedef bool relay_take(void *context, const unsigned char *bytes, size_t size);

struct relay {
    unsigned char *buffers[RELAY_BUFFERS]; /* one block, at the first */
    size_t sizes[RELAY_BUFFERS];
    uint64_t sent;
    bool ended, stopped;
    size_t taker_count;
    struct relay_taker {
        struct relay *relay;
        relay_take *take;
        void *context;
        uint64_t taken;
        pthread_t thread;
    } takers[RELAY_MOST_TAKERS];
    pthread_mutex_t lock;
    pthread_cond_t filled, freed; /* for takers; for the sender */
};

void relay_start(struct relay *relay, relay_take *const *takes, size_t count, void *context);
/* The buffer to fill next; NULL when a taker has stopped. */
unsigned char *relay_buffer(struct relay *relay);
void relay_send(struct relay *relay, size_t size);
/* Waits until all has been taken. False when a taker stopped. */
bool relay_finish(struct relay *relay);

#endif
