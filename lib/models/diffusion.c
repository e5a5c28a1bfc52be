/* The forward process and the loss of denoising diffusion; see diffusion.h. */
#include "models/diffusion.h"

#include "base/arena.h"
#include "nn/loss.h"

#include <math.h>
#include <stdlib.h>

static double linear_beta(int t, int steps)
{
    double first = 0.1 / steps, last = 20.0 / steps;
    return steps > 1 ? first + (last - first) * t / (steps - 1) : first;
}

static double cosine_alpha_bar(int t, int steps)
{
    double c = cos(((double)t / steps + 0.008) / 1.008 * M_PI / 2);
    return c * c;
}

static double cosine_beta(int t, int steps)
{
    return fmin(1 - cosine_alpha_bar(t + 1, steps) / cosine_alpha_bar(t, steps), 0.999);
}

void diffusion_init(struct diffusion *diffusion, enum schedule schedule, int steps)
{
    static double (*const beta_of[])(int t, int steps) = { linear_beta, cosine_beta };
    CHECK(steps > 1, "diffusion of %d steps", steps);
    double *table = memory_grow(NULL, 5 * (size_t)steps, sizeof *table);
    *diffusion = (struct diffusion){
        steps, table, table + steps, table + 2 * steps, table + 3 * steps, table + 4 * steps
    };
    double before = 1;
    for (int t = 0; t < steps; t++) {
        double beta = beta_of[schedule](t, steps), now = before * (1 - beta);
        diffusion->beta[t] = beta;
        diffusion->alpha_bar[t] = now;
        diffusion->posterior_variance[t] = beta * (1 - before) / (1 - now);
        diffusion->mean_x0[t] = beta * sqrt(before) / (1 - now);
        diffusion->mean_xt[t] = (1 - before) * sqrt(1 - beta) / (1 - now);
        before = now;
    }
}

void diffusion_release(struct diffusion *diffusion)
{
    free(diffusion->beta);
    *diffusion = (struct diffusion){ 0 };
}

/* Looking tables up. */

struct lookup {
    const struct diffusion *diffusion;
    struct node *at; /* one-hot (N,steps) */
};

static struct lookup lookup(const struct diffusion *diffusion, struct node *t)
{
    return (struct lookup){ diffusion, t_one_hot(t, diffusion->steps) };
}

/* value(diffusion, t) for each image, (N,1,1,1). Not a matrix product, which a plan may choose to
 * do in low precision. */
static struct node *look_up(const struct lookup *lookup,
                            double (*value)(const struct diffusion *diffusion, int t))
{
    int steps = lookup->diffusion->steps;
    float *high = memory_grow(NULL, 2 * (size_t)steps, sizeof *high), *low = high + steps;
    for (int t = 0; t < steps; t++) {
        double exact = value(lookup->diffusion, t);
        high[t] = (float)exact;
        low[t] = (float)(exact - (double)high[t]);
    }
    struct graph *graph = lookup->at->graph;
    struct node *table =
        t_add(t_constant(graph, SHAPE(steps), high), t_constant(graph, SHAPE(steps), low));
    free(high);
    return t_reshape(t_dot(lookup->at, table, AXES(1)), SHAPE(dim(lookup->at, 0), 1, 1, 1));
}

static double signal(const struct diffusion *d, int t)
{
    return sqrt(d->alpha_bar[t]);
}

static double noise_level(const struct diffusion *d, int t)
{
    return sqrt(1 - d->alpha_bar[t]);
}

struct node *diffusion_noised(const struct diffusion *diffusion, struct node *x0, struct node *t,
                              struct node *noise)
{
    struct lookup at = lookup(diffusion, t);
    return t_add(t_mul(x0, look_up(&at, signal)), t_mul(noise, look_up(&at, noise_level)));
}

/* The variational bound. */

static double inverse_signal(const struct diffusion *d, int t)
{
    return sqrt(1 / d->alpha_bar[t]);
}

static double inverse_noise(const struct diffusion *d, int t)
{
    return sqrt(1 / d->alpha_bar[t] - 1);
}

static double mean_x0(const struct diffusion *d, int t)
{
    return d->mean_x0[t];
}

static double mean_xt(const struct diffusion *d, int t)
{
    return d->mean_xt[t];
}

/* The posterior's variance at t = 0 is zero, so its logarithm is taken from t = 1. */
static double log_posterior(const struct diffusion *d, int t)
{
    return log(d->posterior_variance[t ? t : 1]);
}

static double log_beta(const struct diffusion *d, int t)
{
    return log(d->beta[t]);
}

/* The normal distribution function by its tanh approximation. */
static struct node *normal_cdf(struct node *v)
{
    struct node *cubic = t_add(v, t_scale(t_mul(t_square(v), v), 0.044715));
    return t_affine(t_tanh(t_scale(cubic, sqrt(2 / M_PI))), 0.5, 0.5);
}

static struct node *safe_log(struct node *p)
{
    return t_log(t_maximum(p, t_full(p->graph, p->shape, 1e-12)));
}

/* log P of the 1/255-wide bin around x in [-1,1] under a normal, elementwise; the outer bins are
 * open (Ho et al., eq. 13). */
static struct node *log_likelihood(struct node *x, struct node *mean, struct node *log_sigma)
{
    struct node *scale = t_exp(t_neg(log_sigma)), *centred = t_sub(x, mean);
    struct node *upper = normal_cdf(t_mul(t_shift(centred, 1 / 255.0), scale));
    struct node *lower = normal_cdf(t_mul(t_shift(centred, -1 / 255.0), scale));
    struct node *first = t_greater(t_full(x->graph, x->shape, -0.999), x);
    struct node *last = t_greater(x, t_full(x->graph, x->shape, 0.999));
    struct node *inner =
        t_where(last, safe_log(t_affine(lower, -1, 1)), safe_log(t_sub(upper, lower)));
    return t_where(first, safe_log(upper), inner);
}

/* KL of two normals, elementwise, from the difference of their means and log variances: of the
 * true posterior to the model's. */
static struct node *divergence(struct node *difference, struct node *low, struct node *log_variance)
{
    struct node *ratio = t_exp(t_sub(low, log_variance));
    struct node *distance = t_mul(t_square(difference), t_exp(t_neg(log_variance)));
    struct node *logs = t_shift(t_sub(log_variance, low), -1);
    return t_scale(t_add(t_add(logs, ratio), distance), 0.5);
}

/* (N,C,H,W): the bound in nats, at t = 0 the negative log likelihood, else the divergence. */
static struct node *bound(const struct diffusion *diffusion, struct node *x0, struct node *xt,
                          struct node *t, struct node *epsilon, struct node *fraction)
{
    struct lookup at = lookup(diffusion, t);
    struct node *guess =
        t_sub(t_mul(xt, look_up(&at, inverse_signal)), t_mul(epsilon, look_up(&at, inverse_noise)));
    struct node *of_x0 = look_up(&at, mean_x0), *of_xt = t_mul(xt, look_up(&at, mean_xt));
    struct node *mean = t_add(t_mul(guess, of_x0), of_xt);
    struct node *truth = t_add(t_mul(x0, of_x0), of_xt);
    struct node *low = look_up(&at, log_posterior), *high = look_up(&at, log_beta);
    struct node *log_variance =
        t_add(t_mul(t_affine(fraction, 0.5, 0.5), high), t_mul(t_affine(fraction, -0.5, 0.5), low));
    struct node *first = t_reshape(t_slice(at.at, 1, 0, 1), SHAPE(dim(x0, 0), 1, 1, 1));
    struct node *likelihood = log_likelihood(x0, mean, t_scale(log_variance, 0.5));
    return t_where(first, t_neg(likelihood), divergence(t_sub(truth, mean), low, log_variance));
}

struct diffusion_terms diffusion_loss(const struct diffusion *diffusion, struct node *x0,
                                      struct node *xt, struct node *t, struct node *noise,
                                      struct node *output)
{
    int64_t channels = dim(x0, 1);
    struct node *epsilon = t_slice(output, 1, 0, channels);
    struct diffusion_terms terms = { loss_mse(noise, epsilon), NULL };
    if (dim(output, 1) == channels)
        return terms;
    struct node *fraction = t_slice(output, 1, channels, 2 * channels);
    struct node *nats = bound(diffusion, x0, xt, t, t_detach(epsilon), fraction);
    terms.bound = t_scale(t_mean_all(nats), diffusion->steps / 1000.0 / M_LN2);
    return terms;
}
