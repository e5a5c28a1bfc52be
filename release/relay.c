/* See relay.h. */
#include "release/relay.h"

#include "base/arena.h"

#include <stdlib.h>

/* Waits for the next buffer; false at the end. */
static bool wait_for(struct relay_taker *taker)
{
    struct relay *relay = taker->relay;
    pthread_mutex_lock(&relay->lock);
    while (taker->taken == relay->sent && !relay->ended && !relay->stopped)
        pthread_cond_wait(&relay->filled, &relay->lock);
    bool more = taker->taken < relay->sent && !relay->stopped;
    pthread_mutex_unlock(&relay->lock);
    return more;
}

static void *run(void *argument)
{
    struct relay_taker *taker = argument;
    struct relay *relay = taker->relay;
    while (wait_for(taker)) {
        size_t at = taker->taken % RELAY_BUFFERS;
        bool ok = taker->take(taker->context, relay->buffers[at], relay->sizes[at]);
        pthread_mutex_lock(&relay->lock);
        taker->taken++;
        relay->stopped = relay->stopped || !ok;
        if (!ok)
            pthread_cond_broadcast(&relay->filled);
        pthread_cond_signal(&relay->freed);
        pthread_mutex_unlock(&relay->lock);
    }
    return NULL;
}

void relay_start(struct relay *relay, relay_take *const *takes, size_t count, void *context)
{
    *relay = (struct relay){ .taker_count = count };
    CHECK(count <= RELAY_MOST_TAKERS, "%zu takers", count);
    pthread_mutex_init(&relay->lock, NULL);
    pthread_cond_init(&relay->filled, NULL);
    pthread_cond_init(&relay->freed, NULL);
    relay->buffers[0] = memory_grow(NULL, RELAY_BUFFERS, RELAY_SIZE);
    for (size_t i = 1; i < RELAY_BUFFERS; i++)
        relay->buffers[i] = relay->buffers[0] + i * RELAY_SIZE;
    for (size_t i = 0; i < count; i++) {
        struct relay_taker *taker = &relay->takers[i];
        *taker = (struct relay_taker){ .relay = relay, .take = takes[i], .context = context };
        CHECK(pthread_create(&taker->thread, NULL, run, taker) == 0, "no more threads");
    }
}

static uint64_t slowest(const struct relay *relay)
{
    uint64_t least = relay->sent;
    for (size_t i = 0; i < relay->taker_count; i++)
        if (relay->takers[i].taken < least)
            least = relay->takers[i].taken;
    return least;
}

unsigned char *relay_buffer(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    while (relay->sent - slowest(relay) == RELAY_BUFFERS && !relay->stopped)
        pthread_cond_wait(&relay->freed, &relay->lock);
    bool stopped = relay->stopped;
    pthread_mutex_unlock(&relay->lock);
    return stopped ? NULL : relay->buffers[relay->sent % RELAY_BUFFERS];
}

void relay_send(struct relay *relay, size_t size)
{
    pthread_mutex_lock(&relay->lock);
    relay->sizes[relay->sent % RELAY_BUFFERS] = size;
    relay->sent++;
    pthread_cond_broadcast(&relay->filled);
    pthread_mutex_unlock(&relay->lock);
}

bool relay_finish(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->ended = true;
    pthread_cond_broadcast(&relay->filled);
    pthread_mutex_unlock(&relay->lock);
    for (size_t i = 0; i < relay->taker_count; i++)
        pthread_join(relay->takers[i].thread, NULL);
    free(relay->buffers[0]);
    pthread_mutex_destroy(&relay->lock);
    pthread_cond_destroy(&relay->filled);
    pthread_cond_destroy(&relay->freed);
    return !relay->stopped;
}
