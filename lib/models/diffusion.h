/* The forward process of denoising diffusion and its training loss (Ho et al. 2020; Nichol and
 * Dhariwal 2021). Times t (N), i32, run from 0, the least noise, to steps-1.
 *
 *     struct diffusion diffusion;
 *     diffusion_init(&diffusion, SCHEDULE_LINEAR, 1000);
 *     struct node *xt = diffusion_noised(&diffusion, x0, t, noise);
 *     struct diffusion_terms terms =
 *         diffusion_loss(&diffusion, x0, xt, t, noise, ddpm_build(&ddpm, xt, t));
 *     diffusion_release(&diffusion);
 *
 * Tables are computed in double precision. In a graph they are looked up as the sum of two single
 * precision tables, so that backends of higher precision see their full value.
 */
#ifndef MODELS_DIFFUSION_H
#define MODELS_DIFFUSION_H

#include "tensor/graph.h"

enum schedule { SCHEDULE_LINEAR, SCHEDULE_COSINE };

struct diffusion {
    int steps;
    /* By time, t = 0 … steps-1. α̅ is the product of 1-β so far; the posterior q(x_{t-1}|x_t,x_0)
     * has mean mean_x0·x0 + mean_xt·xt and variance posterior_variance. */
    double *beta, *alpha_bar, *posterior_variance, *mean_x0, *mean_xt;
};

/* linear: β from .1/steps to 20/steps (Ho et al., section 4, for 1000). cosine: Nichol and
 * Dhariwal, eq. 17, β at most .999. */
void diffusion_init(struct diffusion *diffusion, enum schedule schedule, int steps);
void diffusion_release(struct diffusion *diffusion);

/* x_t of q(x_t|x_0), eq. 4 of Ho et al.: all (N,C,H,W), noise standard normal. */
struct node *diffusion_noised(const struct diffusion *diffusion, struct node *x0, struct node *t,
                              struct node *noise);

/* The loss terms, scalars; the loss is their sum. `bound` is NULL unless the network gives the
 * variance's fraction too (2C channels): then it is steps/1000 times the variational bound in bits
 * a dimension, its gradient stopped at the mean (Nichol and Dhariwal, section 3.1). */
struct diffusion_terms {
    struct node *mse, *bound;
};
struct diffusion_terms diffusion_loss(const struct diffusion *diffusion, struct node *x0,
                                      struct node *xt, struct node *t, struct node *noise,
                                      struct node *output);

#endif
