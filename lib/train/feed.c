/* Batches read ahead; see feed.h. Two buffers: one is being trained on, the other being filled. */
#include "train/feed.h"

#include "base/parallel.h"
#include "base/progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct feed {
    struct feed_source source;
    uint64_t first; /* of the batch that is read next */
    size_t count;
    float *images[2];
    int32_t *labels[2]; /* NULL: the source has none */
    int filling;        /* the buffer that the thread has, or had, to fill */
    bool full, ending;  /* it is; the thread is to end */
    double waited;
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

static void *read_ahead(void *context)
{
    struct feed *feed = context;
    const struct feed_source *source = &feed->source;
    if (!source->team)
        parallel_alone();
    pthread_mutex_lock(&feed->mutex);
    while (!feed->ending) {
        if (feed->full) {
            pthread_cond_wait(&feed->changed, &feed->mutex);
            continue;
        }
        int filling = feed->filling;
        pthread_mutex_unlock(&feed->mutex);
        source->read(source->context, feed->first, feed->count, feed->images[filling],
                     feed->labels[filling]);
        pthread_mutex_lock(&feed->mutex);
        feed->first += feed->count;
        feed->full = true;
        pthread_cond_broadcast(&feed->changed);
    }
    pthread_mutex_unlock(&feed->mutex);
    return NULL;
}

/* Room for a batch of `each` values of 4 bytes an image. */
static void *room(const struct feed *feed, size_t each, const char *what, struct error *err)
{
    size_t values; /* more than can be counted: so much is asked for as is refused */
    if (!size_multiply(feed->count, each, &values))
        values = SIZE_MAX;
    return memory_allocate(values, 4, what, err);
}

static bool take_memory(struct feed *feed, struct error *err)
{
    const struct feed_source *source = &feed->source;
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) {
        feed->images[i] = room(feed, source->values, "a batch of images", err);
        ok = feed->images[i];
        if (ok && source->labels)
            ok = (feed->labels[i] = room(feed, source->labels, "a batch of labels", err));
    }
    return ok;
}

struct feed *feed_open(const struct feed_source *source, uint64_t first, size_t count,
                       struct error *err)
{
    struct feed *feed = memory_grow(NULL, 1, sizeof *feed);
    *feed = (struct feed){ .source = *source, .first = first, .count = count };
    pthread_mutex_init(&feed->mutex, NULL);
    pthread_cond_init(&feed->changed, NULL);
    bool ok = take_memory(feed, err);
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
    const float *images = feed->images[feed->filling];
    feed->filling = !feed->filling;
    feed->full = false;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->mutex);
    feed->waited += clock_seconds() - started;
    return images;
}

/* The buffer that is not being filled. */
const int32_t *feed_labels(const struct feed *feed)
{
    return feed->labels[!feed->filling];
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
    for (int i = 0; i < 2; i++) {
        memory_free(feed->images[i]);
        memory_free(feed->labels[i]);
    }
    free(feed);
}
