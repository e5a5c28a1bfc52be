/* Batches read ahead; see feed.h. Two buffers: one is being trained on, the other being filled. */
#include "train/feed.h"

#include "base/progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct feed {
    struct batches *batches;
    uint64_t first; /* of the batch that is read next */
    size_t count;
    float *buffer[2];
    int filling;       /* the buffer that the thread has, or had, to fill */
    bool full, ending; /* it is; the thread is to end */
    double waited;
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

static void *read_ahead(void *context)
{
    struct feed *feed = context;
    pthread_mutex_lock(&feed->mutex);
    while (!feed->ending) {
        if (feed->full) {
            pthread_cond_wait(&feed->changed, &feed->mutex);
            continue;
        }
        float *buffer = feed->buffer[feed->filling];
        pthread_mutex_unlock(&feed->mutex);
        batches_read(feed->batches, feed->first, feed->count, buffer);
        pthread_mutex_lock(&feed->mutex);
        feed->first += feed->count;
        feed->full = true;
        pthread_cond_broadcast(&feed->changed);
    }
    pthread_mutex_unlock(&feed->mutex);
    return NULL;
}

struct feed *feed_open(struct batches *batches, uint64_t first, size_t count, struct error *err)
{
    const struct batches_format *format = batches_format(batches);
    size_t values = count * format->channels * format->size * format->size;
    struct feed *feed = memory_grow(NULL, 1, sizeof *feed);
    *feed = (struct feed){ .batches = batches, .first = first, .count = count };
    pthread_mutex_init(&feed->mutex, NULL);
    pthread_cond_init(&feed->changed, NULL);
    for (int i = 0; i < 2; i++)
        feed->buffer[i] = memory_allocate(values, sizeof(float), "a batch of images", err);
    bool ok = feed->buffer[0] && feed->buffer[1];
    if (ok) {
        errno = pthread_create(&feed->thread, NULL, read_ahead, feed);
        feed->running = errno == 0;
        ok = feed->running || error_set_errno(err, "no thread to read images with");
    }
    if (ok)
        return feed;
    feed_close(feed);
    return NULL;
}

const float *feed_next(struct feed *feed)
{
    double started = clock_seconds();
    pthread_mutex_lock(&feed->mutex);
    while (!feed->full)
        pthread_cond_wait(&feed->changed, &feed->mutex);
    const float *images = feed->buffer[feed->filling];
    feed->filling = !feed->filling;
    feed->full = false;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->mutex);
    feed->waited += clock_seconds() - started;
    return images;
}

double feed_waited(const struct feed *feed)
{
    return feed->waited;
}

void feed_close(struct feed *feed)
{
    if (!feed)
        return;
    if (feed->running) {
        pthread_mutex_lock(&feed->mutex);
        feed->ending = true;
        pthread_cond_broadcast(&feed->changed);
        pthread_mutex_unlock(&feed->mutex);
        pthread_join(feed->thread, NULL);
    }
    pthread_mutex_destroy(&feed->mutex);
    pthread_cond_destroy(&feed->changed);
    memory_free(feed->buffer[0]);
    memory_free(feed->buffer[1]);
    free(feed);
}
