/* Losses and penalties as graph. All give scalars of rank 0, unless they say otherwise.
 *
 *     struct node *loss = t_add(loss_dice(logits, labels), loss_cross_entropy(logits, labels));
 *
 * A penalty differentiates a network's output; its own gradient is then taken like any other's.
 */
#ifndef NN_LOSS_H
#define NN_LOSS_H

#include "tensor/compose.h"

/* logits (N,K,…), labels i32 (N,…) of 0 … K-1.
 *
 * Cross entropy: −mean over positions of log softmax(logits)[label]. Soft Dice over the whole
 * batch, background included (Milletari et al. 2016): −mean over classes of (2 Σ p y + s) /
 * (Σ p + Σ y + s), p = softmax(logits), y one-hot, s = 1e-5. */
#define loss_cross_entropy(logits, labels) loss_cross_entropy_at(HERE, logits, labels)
#define loss_dice(logits, labels)          loss_dice_at(HERE, logits, labels)
struct node *loss_cross_entropy_at(struct site at, struct node *logits, struct node *labels);
struct node *loss_dice_at(struct site at, struct node *logits, struct node *labels);

/* mean (a − b)². */
#define loss_mse(a, b) loss_mse_at(HERE, a, b)
struct node *loss_mse_at(struct site at, struct node *a, struct node *b);

/* Logistic loss of a discriminator's logits (Goodfellow et al. 2014): mean softplus(−D) wants them
 * judged real, mean softplus(D) fake. The generator's non-saturating loss is loss_real of D(G(z)).
 */
#define loss_real(logits) loss_logistic_at(HERE, logits, -1)
#define loss_fake(logits) loss_logistic_at(HERE, logits, 1)
struct node *loss_logistic_at(struct site at, struct node *logits, double sign);

/* Mean over images of ‖∂ΣD/∂x‖² (Mescheder et al. 2018): x (N,…) is the node that the logits were
 * made of. R1's loss is γ/2 of it, at real images. */
#define penalty_r1(logits, x) penalty_r1_at(HERE, logits, x)
struct node *penalty_r1_at(struct site at, struct node *logits, struct node *x);

/* Mean over images of (‖∂ΣD/∂x‖ − 1)² (Gulrajani et al. 2017), at x between real and fake, which
 * `between` makes: a + mix·(b − a), mix (N,1,1,1) uniform in [0,1). WGAN-GP's loss is λ times it.
 */
#define penalty_wgan(logits, x) penalty_wgan_at(HERE, logits, x)
#define between(a, b, mix)      between_at(HERE, a, b, mix)
struct node *penalty_wgan_at(struct site at, struct node *logits, struct node *x);
struct node *between_at(struct site at, struct node *a, struct node *b, struct node *mix);

/* Path lengths (Karras et al. 2020, section 3.2): (N) of √(mean over layers of ‖Jᵀy‖²), with
 * y = direction/√(H·W), direction standard normal of the images' shape; images (N,C,H,W) were made
 * of styles (N,L,w). */
#define path_lengths(images, styles, direction) path_lengths_at(HERE, images, styles, direction)
struct node *path_lengths_at(struct site at, struct node *images, struct node *styles,
                             struct node *direction);

/* Mean of (length − new mean)²; *mean, a scalar, comes in as the mean so far and leaves as the new
 * one, moved by `decay` towards this batch's, to be assigned to the state it was read from. */
#define penalty_path(lengths, mean, decay) penalty_path_at(HERE, lengths, mean, decay)
struct node *penalty_path_at(struct site at, struct node *lengths, struct node **mean,
                             double decay);

#endif
