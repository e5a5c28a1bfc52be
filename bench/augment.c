/* Adaptive augmentation and its gradient, beside PyTorch doing the same (augment_peer.py): all of
 * it at p = 1, so every image is moved. What the discriminator pays for each batch that it sees. */
#include "bench.h"

#include "base/random.h"
#include "models/ada.h"
#include "tensor/compose.h"
#include "tensor/cpu.h"
#include "tensor/gradient.h"
#include "tensor/plan.h"

#include <math.h>
#include <stdlib.h>

enum { ROUNDS = 9, WARM_UP = 2 };
static const float ALWAYS = 1;

/* The gradient of ½ Σ y², y the augmented images; p and the images are written. */
static struct plan *plan_of(struct graph *graph, struct store *store, const int64_t size[4])
{
    struct error err;
    struct node *x =
        t_input(graph, "x", DTYPE_F32, SHAPE(size[0], size[1], size[2], size[3])); /* (N,C,S,S) */
    struct node *p = t_input(graph, "p", DTYPE_F32, SHAPE()), *dx;
    struct node *y = ada_augment(x, p, "bench");
    grad_seeded(y, t_detach(y), &x, 1, &dx);
    struct plan *plan = plan_create(store, &dx, 1, NULL, 0, &err);
    if (!plan)
        bench_fail("%s", err.message);
    size_t count = shape_count(x->shape);
    float *images = malloc(count * sizeof *images);
    random_fill_normal(1, 2, 0, count, images);
    plan_write(plan, x, images);
    plan_write(plan, p, &ALWAYS);
    free(images);
    return plan;
}

static double seconds_of(struct plan *plan, int turn)
{
    struct error err;
    double started = bench_seconds();
    if (!plan_run(plan, (uint64_t)turn, 1, &err))
        bench_fail("%s", err.message);
    return bench_seconds() - started;
}

static void run_case(struct bench *bench, struct peer *peer, const char *peer_name,
                     const int64_t size[4])
{
    char name[64], ask[64];
    double ours[ROUNDS], theirs[ROUNDS];
    struct graph *graph = graph_new();
    struct store *store = store_new(&cpu_backend);
    struct plan *plan = plan_of(graph, store, size);
    snprintf(name, sizeof name, "%d × %d × %d²", (int)size[0], (int)size[1], (int)size[2]);
    snprintf(ask, sizeof ask, "%d %d %d\n", (int)size[0], (int)size[1], (int)size[2]);
    for (int i = -WARM_UP; i < ROUNDS; i++) {
        double us = seconds_of(plan, i + WARM_UP), them = peer_number(peer, ask);
        if (i >= 0) {
            ours[i] = us;
            theirs[i] = them;
        }
    }
    double us = bench_median(ours, ROUNDS), them = bench_median(theirs, ROUNDS);
    bench_row(bench, &(struct bench_row){ name, "s", us, them, peer_name, them / us, 1 });
    plan_free(plan);
    store_free(store);
    graph_free(graph);
}

int main(int argc, char **argv)
{
    static const int64_t sizes[][4] = { { 16, 5, 64, 64 },
                                        { 16, 1, 256, 256 },
                                        { 4, 5, 256, 256 } };
    char name[64];
    struct bench bench;
    struct peer peer;
    bench_begin(&bench, "augment", NULL, argc, argv);
    peer_start(&peer, (const char *[]){ "/usr/bin/python3", "bench/augment_peer.py", NULL });
    snprintf(name, sizeof name, "PyTorch %.40s", peer_ask(&peer, ""));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        run_case(&bench, &peer, name, sizes[i]);
    peer_stop(&peer);
    bench_end(&bench);
    return 0;
}
