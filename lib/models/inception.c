/* Inception v3; see inception.h. Sides are those of images of 299². */
#include "models/inception.h"

#include "nn/layer.h"
#include "nn/resample.h"

#include <math.h>

/* How a convolution treats the image's side s: to s, s - size + 1, or about s/2. */
enum fit { SAME, INSIDE, HALVED };

static const double EPSILON = 1e-3; /* of every batch normalisation */

/* The convolution of a unit, which has no bias. */
static struct node *convolve(struct node *x, int outputs, int rows, int columns, enum fit fit)
{
    struct shape shape = SHAPE(outputs, dim(x, 1), rows, columns);
    int down = fit == SAME ? rows / 2 : 0, across = fit == SAME ? columns / 2 : 0;
    graph_push(x->graph, "conv");
    struct node *weight =
        t_parameter(x->graph, "weight", initial_kaiming(x->graph, "weight", shape, M_SQRT2));
    graph_pop(x->graph);
    return t_conv(x, weight, .stride = fit == HALVED ? 2 : 1,
                  .pads = { { down, down }, { across, across } });
}

static struct node *activate(struct node *x)
{
    return t_relu(nn_batch_norm(x, "bn", NULL, .epsilon = EPSILON));
}

/* Convolution, batch normalisation, ReLU: (N,I,s,s) → (N,outputs,…). */
static struct node *unit_of(struct node *x, const char *name, int outputs, int rows, int columns,
                            enum fit fit)
{
    graph_push(x->graph, "%s", name);
    x = activate(convolve(x, outputs, rows, columns, fit));
    graph_pop(x->graph);
    return x;
}

static struct node *unit(struct node *x, const char *name, int outputs, int rows, int columns)
{
    return unit_of(x, name, outputs, rows, columns, SAME);
}

/* The published network takes means over 3 × 3 pixels first and then convolves by 1 × 1; the two
 * commute, as the means keep constants, and this order is the cheaper: there are fewer outputs. */
static struct node *unit_of_means(struct node *x, int outputs)
{
    graph_push(x->graph, "branch_pool");
    x = activate(nn_average_pool3(convolve(x, outputs, 1, 1, SAME)));
    graph_pop(x->graph);
    return x;
}

/* (N,3,299,299) → (N,192,35,35). */
static struct node *stem(struct node *x)
{
    x = unit_of(x, "Conv2d_1a_3x3", 32, 3, 3, HALVED);  /* (N,32,149,149)  */
    x = unit_of(x, "Conv2d_2a_3x3", 32, 3, 3, INSIDE);  /* (N,32,147,147)  */
    x = unit(x, "Conv2d_2b_3x3", 64, 3, 3);             /* (N,64,147,147)  */
    x = nn_max_pool3(x, .stride = 2);                   /* (N,64,73,73)    */
    x = unit(x, "Conv2d_3b_1x1", 80, 1, 1);             /* (N,80,73,73)    */
    x = unit_of(x, "Conv2d_4a_3x3", 192, 3, 3, INSIDE); /* (N,192,71,71)  */
    return nn_max_pool3(x, .stride = 2);
}

/* (N,I,35,35) → (N,224+means,35,35). */
static struct node *block_a(struct node *x, const char *name, int means)
{
    graph_push(x->graph, "%s", name);
    struct node *one = unit(x, "branch1x1", 64, 1, 1);
    struct node *five = unit(x, "branch5x5_1", 48, 1, 1);
    five = unit(five, "branch5x5_2", 64, 5, 5);
    struct node *three = unit(x, "branch3x3dbl_1", 64, 1, 1);
    three = unit(three, "branch3x3dbl_2", 96, 3, 3);
    three = unit(three, "branch3x3dbl_3", 96, 3, 3);
    struct node *y = t_concat(1, one, five, three, unit_of_means(x, means));
    graph_pop(x->graph);
    return y;
}

/* (N,288,35,35) → (N,768,17,17). */
static struct node *block_b(struct node *x, const char *name)
{
    graph_push(x->graph, "%s", name);
    struct node *three = unit_of(x, "branch3x3", 384, 3, 3, HALVED);
    struct node *twice = unit(x, "branch3x3dbl_1", 64, 1, 1);
    twice = unit(twice, "branch3x3dbl_2", 96, 3, 3);
    twice = unit_of(twice, "branch3x3dbl_3", 96, 3, 3, HALVED);
    struct node *y = t_concat(1, three, twice, nn_max_pool3(x, .stride = 2));
    graph_pop(x->graph);
    return y;
}

/* (N,768,17,17) → the same; convolutions of 7 × 7 in two factors of `width` channels. */
static struct node *block_c(struct node *x, const char *name, int width)
{
    graph_push(x->graph, "%s", name);
    struct node *one = unit(x, "branch1x1", 192, 1, 1);
    struct node *once = unit(x, "branch7x7_1", width, 1, 1);
    once = unit(once, "branch7x7_2", width, 1, 7);
    once = unit(once, "branch7x7_3", 192, 7, 1);
    struct node *twice = unit(x, "branch7x7dbl_1", width, 1, 1);
    twice = unit(twice, "branch7x7dbl_2", width, 7, 1);
    twice = unit(twice, "branch7x7dbl_3", width, 1, 7);
    twice = unit(twice, "branch7x7dbl_4", width, 7, 1);
    twice = unit(twice, "branch7x7dbl_5", 192, 1, 7);
    struct node *y = t_concat(1, one, once, twice, unit_of_means(x, 192));
    graph_pop(x->graph);
    return y;
}

/* (N,768,17,17) → (N,1280,8,8). */
static struct node *block_d(struct node *x, const char *name)
{
    graph_push(x->graph, "%s", name);
    struct node *three = unit(x, "branch3x3_1", 192, 1, 1);
    three = unit_of(three, "branch3x3_2", 320, 3, 3, HALVED);
    struct node *seven = unit(x, "branch7x7x3_1", 192, 1, 1);
    seven = unit(seven, "branch7x7x3_2", 192, 1, 7);
    seven = unit(seven, "branch7x7x3_3", 192, 7, 1);
    seven = unit_of(seven, "branch7x7x3_4", 192, 3, 3, HALVED);
    struct node *y = t_concat(1, three, seven, nn_max_pool3(x, .stride = 2));
    graph_pop(x->graph);
    return y;
}

/* Both directions of a 3 × 3 convolution, side by side: (N,I,8,8) → (N,768,8,8). */
static struct node *spread(struct node *x, const char *across, const char *down)
{
    return t_concat(1, unit(x, across, 384, 1, 3), unit(x, down, 384, 3, 1));
}

/* (N,I,8,8) → (N,2048,8,8). The second of the two takes maxima where the first takes means. */
static struct node *block_e(struct node *x, const char *name, bool maxima)
{
    graph_push(x->graph, "%s", name);
    struct node *one = unit(x, "branch1x1", 320, 1, 1);
    struct node *three = unit(x, "branch3x3_1", 384, 1, 1);
    three = spread(three, "branch3x3_2a", "branch3x3_2b");
    struct node *twice = unit(x, "branch3x3dbl_1", 448, 1, 1);
    twice = unit(twice, "branch3x3dbl_2", 384, 3, 3);
    twice = spread(twice, "branch3x3dbl_3a", "branch3x3dbl_3b");
    struct node *pooled =
        maxima ? unit(nn_max_pool3(x, .pad = 1), "branch_pool", 192, 1, 1) : unit_of_means(x, 192);
    struct node *y = t_concat(1, one, three, twice, pooled);
    graph_pop(x->graph);
    return y;
}

struct node *inception_build(struct node *x)
{
    CHECK(x->shape.rank == 4 && dim(x, 1) == 3 && dim(x, 2) >= INCEPTION_LEAST &&
              dim(x, 3) >= INCEPTION_LEAST,
          "Inception takes three channels of at least %d × %d pixels", INCEPTION_LEAST,
          INCEPTION_LEAST);
    x = stem(x);                     /* (N,192,35,35)  */
    x = block_a(x, "Mixed_5b", 32);  /* (N,256,35,35)  */
    x = block_a(x, "Mixed_5c", 64);  /* (N,288,35,35)  */
    x = block_a(x, "Mixed_5d", 64);  /* (N,288,35,35)  */
    x = block_b(x, "Mixed_6a");      /* (N,768,17,17)  */
    x = block_c(x, "Mixed_6b", 128); /* (N,768,17,17)  */
    x = block_c(x, "Mixed_6c", 160);
    x = block_c(x, "Mixed_6d", 160);
    x = block_c(x, "Mixed_6e", 192);
    x = block_d(x, "Mixed_7a");        /* (N,1280,8,8)   */
    x = block_e(x, "Mixed_7b", false); /* (N,2048,8,8)   */
    x = block_e(x, "Mixed_7c", true);
    return t_reshape(t_mean(x, AXES(2, 3)), SHAPE(dim(x, 0), INCEPTION_FEATURES));
}

struct node *inception_prepare(struct node *planes)
{
    int64_t n = dim(planes, 0);
    struct node *x = nn_bicubic(planes, INCEPTION_SIDE, INCEPTION_SIDE); /* (N,299,299) */
    x = t_affine(t_clamp(x, 0, 255), 1 / 128.0, -1);
    x = t_reshape(x, SHAPE(n, 1, INCEPTION_SIDE, INCEPTION_SIDE));
    return t_broadcast(x, SHAPE(n, 3, INCEPTION_SIDE, INCEPTION_SIDE));
}
