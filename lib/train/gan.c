/* What StyleGAN 2 and 3 are trained with; see gan.h. */
#include "train/gan.h"

#include "models/ada.h"
#include "nn/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AUGMENT_INTERVAL = 4 };

bool gan_check(const struct train_settings *settings, int size, struct error *err)
{
    if (size < 8 || size > 1024 || (size & (size - 1)))
        return error_set(err,
                         "images of side %d; it takes a power of 2 from 8 to 1024: ingest with "
                         "such a canvas or size",
                         size);
    return recipe_check_groups(settings, size, STYLEGAN2_STDDEV_GROUP, err);
}

/* ---- what the discriminator sees ------------------------------------------------------------- */

static struct node *within(struct node *x, double low, double high)
{
    struct node *least = nn_number(x->graph, low), *most = nn_number(x->graph, high);
    x = t_where(t_greater(x, least), x, least);
    return t_where(t_greater(x, most), most, x);
}

/* 2^-(distance/sigma)², 0 beyond three sigma. */
static struct node *bell(struct node *distance, struct node *sigma)
{
    static const double LEAST = 1e-3; /* so that sigma may be 0: then distances up to 0 remain */
    struct node *square = t_square(t_div(distance, within(sigma, LEAST, 1e9)));
    struct node *beyond = t_greater(distance, t_scale(sigma, 3));
    return t_where(beyond, t_zeros_like(square), t_exp(t_scale(square, -M_LN2)));
}

/* |i - k| for i < rows, k < columns, the first row beginning at `from`. */
static struct node *distances(struct graph *graph, int rows, int columns, int from)
{
    size_t count = (size_t)(rows * columns);
    float *distance = memory_grow(NULL, count, sizeof *distance);
    for (int i = 0; i < rows * columns; i++)
        distance[i] = fabsf((float)(from + i / columns - i % columns));
    struct node *table = t_constant(graph, SHAPE(rows, columns), distance);
    free(distance);
    return table;
}

/* A product with a matrix along each axis, so that sigma may change from step to step. */
struct node *gan_blur(struct node *x, struct node *sigma, double most)
{
    int side = (int)dim(x, 3), reach = (int)floor(3 * most);
    struct node *taps = bell(distances(x->graph, 2 * reach + 1, 1, -reach), sigma);
    struct node *matrix = bell(distances(x->graph, side, side, 0), sigma); /* symmetric */
    matrix = t_div(matrix, t_sum_all(taps));
    x = t_transpose(t_matmul(x, matrix));
    return t_transpose(t_matmul(x, matrix));
}

const char *gan_name(const struct gan *gan, const struct phase *phase, const char *name)
{
    return arena_format(&gan->training->arena, "%s.%s", phase->name, name);
}

struct node *gan_discriminate(const struct gan *gan, const struct phase *phase, struct node *x,
                              const char *what)
{
    if (gan->sigma)
        x = gan_blur(x, gan->sigma, gan->blur_sigma);
    if (gan->p)
        x = ada_augment(x, gan->p,
                        arena_format(&gan->training->arena, "%s.augment.%s", phase->name, what));
    graph_push(gan->training->graph, "D");
    struct node *logits = stylegan2_discriminate(&gan->discriminator, x);
    graph_pop(gan->training->graph);
    return logits;
}

/* The steps so far; a state, so that a resumed run goes on with its blur. */
static struct node *blur_steps(const struct gan *gan)
{
    return t_state(gan->training->graph, "blur.steps", nn_number(gan->training->graph, 0));
}

void gan_begin(struct gan *gan)
{
    struct graph *graph = gan->training->graph;
    if (gan->augments)
        gan->p = t_state(graph, "augment.p", nn_number(graph, 0));
    if (gan->blur_sigma > 0 && gan->blur_kimg > 0) {
        double share = (double)gan->training->batch / (gan->blur_kimg * 1000);
        gan->sigma = t_scale(within(t_affine(blur_steps(gan), -share, 1), 0, 1), gan->blur_sigma);
    }
}

/* ---- adaptive augmentation ------------------------------------------------------------------- */

/* Signs of D(real) are summed up over the steps between two adjustments (r_t of the paper). */
static void note_signs(struct gan *gan, struct phase *phase, struct node *real)
{
    struct graph *graph = gan->training->graph;
    struct node *zero = nn_number(graph, 0);
    struct node *sum = t_state(graph, "augment.signs", zero),
                *count = t_state(graph, "augment.count", zero);
    struct node *mean = t_reshape(t_mean(t_greater(real, zero), AXES_ALL), SHAPE());
    updates_add(&phase->each, sum, t_add(sum, t_affine(mean, 2, -1)));
    updates_add(&phase->each, count, t_shift(count, 1));
}

/* p moves towards more augmentation while the discriminator is surer of training images than the
 * target, else towards less, at the rate that takes `augment_kimg` from 0 to 1. */
static void add_augment_phase(struct gan *gan)
{
    struct graph *graph = gan->training->graph;
    struct phase *phase = training_phase(gan->training, "augment", AUGMENT_INTERVAL);
    struct node *zero = nn_number(graph, 0);
    struct node *sum = t_state(graph, "augment.signs", zero),
                *count = t_state(graph, "augment.count", zero);
    struct node *r = t_div(sum, within(count, 1, 1e9));
    double step = (double)gan->training->batch * AUGMENT_INTERVAL / (gan->augment_kimg * 1000);
    struct node *more = t_greater(r, nn_number(graph, gan->augment_target)); /* 0 or 1 */
    struct node *p = within(t_add(gan->p, t_scale(t_affine(more, 2, -1), step)), 0, 1);
    phase_term(phase, "r", r, 0);
    phase_term(phase, "p", p, 0);
    updates_add(&phase->updates, gan->p, p);
    updates_add(&phase->updates, sum, zero);
    updates_add(&phase->updates, count, zero);
}

/* ---- the phases ------------------------------------------------------------------------------ */

void gan_finish(const struct gan *gan, struct phase *phase, const char *network)
{
    bool generator = strcmp(network, "G.") == 0;
    double k = (double)(generator ? gan->g_interval : gan->r1_interval);
    double rate = generator ? gan->g_rate : gan->d_rate, share = k > 0 ? k / (k + 1) : 1;
    phase_differentiate(gan->training, phase, network);
    optimise_adam(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                  nn_number(gan->training->graph, rate * share), .beta2 = pow(0.99, share),
                  .name = generator ? "adam_G" : "adam_D");
}

struct phase *gan_train_generator(struct gan *gan)
{
    struct phase *phase = training_phase(gan->training, "Gmain", 1);
    struct node *images = gan->generate(gan, phase, gan->training->part, true);
    phase_term(phase, "g", loss_real(gan_discriminate(gan, phase, images, "fake")), 1);
    gan_finish(gan, phase, "G.");
    return phase;
}

void gan_train_discriminator(struct gan *gan)
{
    struct training *training = gan->training;
    struct phase *phase = training_phase(training, "Dmain", 1);
    struct node *images = gan->generate(gan, phase, training->part, false);
    struct node *fake = gan_discriminate(gan, phase, images, "fake");
    struct node *real = gan_discriminate(gan, phase, training->real, "real");
    phase_term(phase, "d_fake", loss_fake(fake), 1);
    phase_term(phase, "d_real", loss_real(real), 1);
    if (gan->p)
        note_signs(gan, phase, real);
    gan_finish(gan, phase, "D.");
    if (gan->r1_interval > 0) {
        phase = training_phase(training, "Dr1", gan->r1_interval);
        real = gan_discriminate(gan, phase, training->real, "real");
        phase_term(phase, "r1", penalty_r1(real, training->real),
                   gan->gamma / 2 * (double)gan->r1_interval);
        gan_finish(gan, phase, "D.");
    }
    if (gan->p)
        add_augment_phase(gan);
}

void gan_average(struct gan *gan, const struct phase *of)
{
    struct phase *phase = training_phase(gan->training, "average", 1);
    average_parameters(&phase->updates, of->parameters, of->parameter_count, gan->training->decay);
    if (gan->sigma) /* after the last phase that this step blurs in */
        updates_add(&phase->updates, blur_steps(gan), t_shift(blur_steps(gan), 1));
}

double gan_decay(double batch, double half_life_kimg, double ramp, uint64_t step)
{
    double half_life = half_life_kimg * 1000;
    if (ramp > 0)
        half_life = fmin(half_life, ramp * batch * (double)step);
    return pow(0.5, batch / fmax(half_life, 1e-8));
}

/* ---- precision ------------------------------------------------------------------------------- */

bool gan_block_accepts_bf16(const char *scope, int64_t least)
{
    for (const char *at = strchr(scope, 'b'); at; at = strchr(at + 1, 'b')) {
        char *end;
        if (at != scope && at[-1] != '.')
            continue;
        long side = strtol(at + 1, &end, 10);
        if (end > at + 1 && (*end == '.' || !*end))
            return side >= least;
    }
    return false;
}

int64_t gan_bf16_least(int size, int64_t resolutions)
{
    int64_t least = size;
    for (int64_t i = 1; i < resolutions && least > 8; i++)
        least /= 2;
    return least;
}
