/* Processes that compute one training together; see ranks.h. */
#include "train/ranks.h"

#include "base/allowance.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/text.h"
#include "tensor/store.h"
#include "train/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ALIGNMENT = 64 };

/* Seconds that the others are given to end by themselves. */
static const double PATIENCE = 10;

struct answer {
    int32_t done;
    struct digest digest;
    char message[ERROR_CAPACITY]; /* sent up to its end */
};

/* ---- beginning and end ----------------------------------------------------------------------- */

static bool start_rank(struct ranks *ranks, struct rank rank, rank_starter *start,
                       struct error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set_errno(err, "no process can be started for %s", rank.device);
    struct rank_peer *peer = &ranks->peers[ranks->peer_count];
    *peer = (struct rank_peer){ .channel = ends[0], .device = rank.device };
    rank.channel = ends[1];
    bool ok = start(&rank, &peer->process, err);
    close(ends[1]);
    if (ok)
        ranks->peer_count++;
    else
        close(ends[0]);
    return ok;
}

struct ranks *ranks_open(const struct train_beside *beside, struct error *err)
{
    size_t count = beside->count;
    struct ranks *ranks = memory_grow(NULL, 1, sizeof *ranks);
    *ranks = (struct ranks){ .count = (int)count + 1, .memory = -1 };
    bool ok = count < RANKS_MAX ||
              error_set(err, "%zu devices; there can be %d beside the first", count, RANKS_MAX - 1);
    if (ok) {
        ranks->memory = memfd_create("lethe train", MFD_CLOEXEC);
        ok = ranks->memory >= 0 || error_set_errno(err, "no memory can be shared with processes");
    }
    for (size_t i = 0; ok && i < count; i++) {
        struct rank rank = { .rank = (int)i + 1,
                             .count = ranks->count,
                             .device = beside->devices[i],
                             .threads = beside->threads,
                             .memory = ranks->memory };
        ok = start_rank(ranks, rank, beside->start, err);
    }
    if (ok)
        return ranks;
    ranks_close(ranks);
    return NULL;
}

struct ranks *ranks_join(const struct rank *rank)
{
    struct ranks *ranks = memory_grow(NULL, 1, sizeof *ranks);
    *ranks = (struct ranks){ .rank = rank->rank,
                             .count = rank->count,
                             .peers = { { .channel = rank->channel } },
                             .peer_count = 1,
                             .memory = rank->memory };
    return ranks;
}

/* Whether a process, which nothing keeps any more, has ended by itself before that time; else it is
 * killed. */
static bool end_process(pid_t process, double until, int *status)
{
    static const struct timespec moment = { 0, 1000000 };
    bool in_time = true;
    while (waitpid(process, status, WNOHANG) == 0) {
        if (clock_seconds() > until) {
            kill(process, SIGKILL);
            in_time = false;
        }
        nanosleep(&moment, NULL);
    }
    return in_time;
}

static void unmap(struct ranks *ranks)
{
    if (ranks->area && ranks->pin)
        ranks->pin(ranks->area, ranks->bytes, false);
    if (ranks->area)
        munmap(ranks->area, ranks->bytes);
    ranks->area = NULL;
}

void ranks_close(struct ranks *ranks)
{
    if (!ranks)
        return;
    int status;
    double until = clock_seconds() + PATIENCE;
    for (size_t i = 0; i < ranks->peer_count; i++)
        if (ranks->peers[i].channel >= 0)
            close(ranks->peers[i].channel);
    for (size_t i = 0; i < ranks->peer_count; i++)
        if (ranks->peers[i].process)
            (void)end_process(ranks->peers[i].process, until, &status);
    unmap(ranks);
    if (ranks->memory >= 0)
        close(ranks->memory);
    free(ranks);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Where each array lies; returns all bytes. */
static size_t lay_out(const struct ranks *ranks, const struct ranks_layout *layout, size_t at[4])
{
    const size_t floats[] = { layout->terms, layout->images, layout->width,
                              layout->width * (size_t)ranks->count };
    size_t bytes = 0;
    for (int i = 0; i < 4; i++) {
        at[i] = bytes;
        bytes += aligned(floats[i] * sizeof(float));
    }
    return bytes > layout->largest ? bytes : layout->largest;
}

/* All of it is taken now: what cannot be had is told, and no write to it fails later. */
static bool reserve(const struct ranks *ranks, size_t bytes, struct error *err)
{
    struct stat now;
    struct allowance allowance;
    size_t taken = fstat(ranks->memory, &now) == 0 ? (size_t)now.st_size : 0;
    char needed[TEXT_SHORT], left[TEXT_SHORT];
    allowance_read(&allowance, "");
    text_size(needed, (double)bytes);
    text_size(left, (double)allowance.memory_left);
    if (bytes > taken && bytes - taken > allowance.memory_left)
        return error_set(err,
                         "%d processes exchange gradients by %s of memory of the host, of which %s "
                         "are left: fewer devices take less",
                         ranks->count, needed, left);
    do
        errno = posix_fallocate(ranks->memory, 0, (off_t)bytes);
    while (errno == EINTR); /* a signal is for between two steps */
    return !errno || error_set_errno(err, "%s of shared memory cannot be had", needed);
}

bool ranks_reserve(const struct ranks *ranks, const struct ranks_layout *layout, struct error *err)
{
    size_t at[4];
    return reserve(ranks, lay_out(ranks, layout, at), err);
}

bool ranks_map(struct ranks *ranks, const struct ranks_layout *layout, struct error *err)
{
    size_t at[4], bytes = lay_out(ranks, layout, at);
    if (!ranks->rank && !reserve(ranks, bytes, err))
        return false;
    unmap(ranks);
    void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ranks->memory, 0);
    if (area == MAP_FAILED)
        return error_set_errno(err, "shared memory cannot be used");
    ranks->layout = *layout;
    ranks->area = area;
    ranks->bytes = bytes;
    if (ranks->pin)
        ranks->pin(area, bytes, true);
    float **const arrays[] = { &ranks->terms, &ranks->images, &ranks->sum, &ranks->places };
    for (int i = 0; i < 4; i++)
        *arrays[i] = (float *)(void *)((char *)area + at[i]);
    return true;
}

/* ---- orders and answers ---------------------------------------------------------------------- */

static bool send_all(int channel, struct iovec *pieces, size_t count)
{
    ssize_t sent;
    struct msghdr message = { .msg_iov = pieces, .msg_iovlen = count };
    do
        sent = sendmsg(channel, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

/* Bytes of the message; 0: the other side is gone, or with MSG_DONTWAIT: there is none. */
static size_t receive(int channel, struct iovec *pieces, size_t count, int flags)
{
    ssize_t got;
    struct msghdr message = { .msg_iov = pieces, .msg_iovlen = count };
    do
        got = recvmsg(channel, &message, flags);
    while (got < 0 && errno == EINTR);
    return got < 0 || (message.msg_flags & MSG_TRUNC) ? 0 : (size_t)got;
}

/* Whether a process that is gone has said why, and nobody has heard it yet. That it is gone is told
 * first where it had not read all that it was sent, so it is asked once more. */
static bool has_said_why(const struct rank_peer *peer, struct answer *answer)
{
    struct iovec piece = { answer, sizeof *answer };
    for (int left = 2; left;)
        if (!receive(peer->channel, &piece, 1, MSG_DONTWAIT))
            left--;
        else if (!answer->done)
            return true;
    return false;
}

/* Why a process can no longer be spoken to. It has ended, or is about to; in any case it ends now.
 */
static bool tell_end(struct rank_peer *peer, struct error *err)
{
    int status = -1;
    pid_t process = peer->process;
    struct answer answer;
    if (has_said_why(peer, &answer))
        return error_set(err, "%s: %s", peer->device, answer.message);
    close(peer->channel);
    *peer = (struct rank_peer){ .channel = -1, .device = peer->device };
    if (!end_process(process, clock_seconds() + PATIENCE, &status))
        return error_set(err, "the process on %s does not answer", peer->device);
    if (WIFSIGNALED(status))
        return error_set(err,
                         "the process on %s was ended by signal %d%s; the same command goes on",
                         peer->device, WTERMSIG(status),
                         WTERMSIG(status) == SIGKILL ? " (for want of memory?)" : "");
    return error_set(err, "the process on %s has ended with exit code %d", peer->device,
                     WEXITSTATUS(status));
}

bool ranks_send_text(struct ranks *ranks, const struct order *order, const char *text,
                     struct error *err)
{
    struct iovec pieces[] = { { (void *)(uintptr_t)order, sizeof *order },
                              { (void *)(uintptr_t)text, text ? strlen(text) + 1 : 0 } };
    for (size_t i = 0; i < ranks->peer_count; i++)
        if (!send_all(ranks->peers[i].channel, pieces, text ? 2 : 1))
            return errno == EMSGSIZE ? error_set(err, "these settings are too long for processes")
                                     : tell_end(&ranks->peers[i], err);
    return true;
}

bool ranks_order(struct ranks *ranks, const struct order *order, struct error *err)
{
    return ranks_send_text(ranks, order, NULL, err);
}

static bool hear(struct rank_peer *peer, struct error *err)
{
    struct answer answer;
    struct iovec piece = { &answer, sizeof answer };
    if (!receive(peer->channel, &piece, 1, 0))
        return tell_end(peer, err);
    peer->digest = answer.digest;
    return answer.done || error_set(err, "%s: %s", peer->device, answer.message);
}

/* In the order in which they come: the end of one is not missed while another takes long. */
bool ranks_gather(struct ranks *ranks, struct error *err)
{
    struct pollfd awaited[RANKS_MAX];
    size_t left = ranks->peer_count;
    for (size_t i = 0; i < left; i++)
        awaited[i] = (struct pollfd){ .fd = ranks->peers[i].channel, .events = POLLIN };
    while (left) {
        if (poll(awaited, ranks->peer_count, -1) < 0)
            continue; /* a signal is for between two steps */
        for (size_t i = 0; i < ranks->peer_count; i++) {
            if (!awaited[i].revents)
                continue;
            if (!hear(&ranks->peers[i], err))
                return false;
            awaited[i].events = 0; /* of its end poll tells all the same */
            left--;
        }
    }
    return true;
}

bool ranks_await_text(struct ranks *ranks, struct order *order, char *text, size_t capacity)
{
    struct iovec pieces[] = { { order, sizeof *order }, { text, capacity } };
    size_t got = receive(ranks->peers[0].channel, pieces, text ? 2 : 1, 0);
    return got >= sizeof *order && (!text || got > sizeof *order);
}

bool ranks_await(struct ranks *ranks, struct order *order)
{
    return ranks_await_text(ranks, order, NULL, 0);
}

void ranks_answer(struct ranks *ranks, const struct error *why, const struct digest *digest)
{
    struct answer answer = { .done = !why };
    size_t length = why ? strlen(why->message) : 0;
    if (why)
        memcpy(answer.message, why->message, length + 1);
    if (digest)
        answer.digest = *digest;
    struct iovec piece = { &answer, offsetof(struct answer, message) + length + 1 };
    (void)!send_all(ranks->peers[0].channel, &piece, 1); /* where rank 0 is gone, all is over */
}

bool ranks_meet(struct ranks *ranks, bool ok, struct error *err)
{
    struct order go = { .kind = ORDER_GO };
    if (!ranks->rank)
        return ok && ranks_gather(ranks, err) && ranks_order(ranks, &go, err);
    ranks_answer(ranks, ok ? NULL : err, NULL);
    if (!ok)
        return false;
    return (ranks_await(ranks, &go) && go.kind == ORDER_GO) ||
           error_set(err, "the training has ended");
}

/* ---- numbers --------------------------------------------------------------------------------- */

struct adding {
    float *sum;
    const float *places;
    size_t width, from; /* a place's; the first element of the range */
    int count;
    bool first;
};

/* As the engine sums up parts: it begins with 0 + the first. */
static void add_range(void *context, size_t begin, size_t end)
{
    const struct adding *adding = context;
    float *sum = adding->sum + adding->from;
    for (int k = 0; k < adding->count; k++) {
        const float *place = adding->places + (size_t)k * adding->width + adding->from;
        if (adding->first && k == 0)
            for (size_t i = begin; i < end; i++)
                sum[i] = 0.0F + place[i];
        else
            for (size_t i = begin; i < end; i++)
                sum[i] += place[i];
    }
}

void ranks_add(struct ranks *ranks, int count, bool first)
{
    size_t width = ranks->layout.width, all = (size_t)ranks->count, rank = (size_t)ranks->rank;
    size_t from = width / all * rank + (rank < width % all ? rank : width % all);
    size_t share = width / all + (rank < width % all);
    struct adding adding = { ranks->sum, ranks->places, width, from, count, first };
    parallel_ranges(share, 4096, add_range, &adding);
}

static size_t bytes_of(const struct tensor *tensor)
{
    return shape_count(tensor->shape) * dtype_bytes(tensor->dtype);
}

bool ranks_spread(struct ranks *ranks, const struct store *store, struct error *err)
{
    struct order order = { .kind = ORDER_VALUES };
    while (order.from < store_count(store)) {
        size_t used = 0;
        for (order.to = order.from; order.to < store_count(store); order.to++) {
            const struct tensor *tensor = store_tensor(store, order.to);
            if (checkpoint_passes_over(tensor))
                continue;
            if (used && used + bytes_of(tensor) > ranks->bytes)
                break;
            store_read(store, tensor, (char *)ranks->area + used);
            used += aligned(bytes_of(tensor));
        }
        if (!store_check(store, err) || !ranks_order(ranks, &order, err) ||
            !ranks_gather(ranks, err))
            return false;
        order.from = order.to;
    }
    return true;
}

void ranks_take(struct ranks *ranks, struct store *store, const struct order *order)
{
    size_t used = 0;
    for (size_t i = order->from; i < order->to; i++) {
        struct tensor *tensor = store_tensor(store, i);
        if (checkpoint_passes_over(tensor))
            continue;
        store_write(store, tensor, (const char *)ranks->area + used);
        used += aligned(bytes_of(tensor));
    }
}

struct digest ranks_digest(const struct store *store)
{
    struct digest_state *state = digest_begin();
    for (size_t i = 0; i < store_count(store); i++) {
        const struct tensor *tensor = store_tensor(store, i);
        if (checkpoint_passes_over(tensor))
            continue;
        void *value = memory_grow(NULL, bytes_of(tensor), 1);
        store_read(store, tensor, value);
        digest_add(state, value, bytes_of(tensor));
        free(value);
    }
    return digest_end(state);
}
