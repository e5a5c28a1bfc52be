/* ResNet-50; see resnet50.h. Sides are those of images of 224². */
#include "models/resnet50.h"

#include "nn/layer.h"
#include "nn/resample.h"

#include <math.h>

/* Without a bias: (N,I,s,s) → (N,outputs,s/stride,s/stride). */
static struct node *convolve(struct node *x, const char *name, int outputs, int size, int stride)
{
    struct shape shape = SHAPE(outputs, dim(x, 1), size, size);
    graph_push(x->graph, "%s", name);
    struct node *weight =
        t_parameter(x->graph, "weight", initial_kaiming(x->graph, "weight", shape, M_SQRT2));
    graph_pop(x->graph);
    return t_conv(x, weight, .stride = stride, .pad = size / 2);
}

/* (N,I,s,s) → (N,4 width,s/stride,s/stride).
 *
 * `summed`: how many values of variance 1 x is the sum of. Where batch normalisation keeps running
 * statistics, those of what is made of x say the same, so that each branch adds 1; and so they do
 * here before any training. (Otherwise each of the 16 sums would double the variance of random
 * weights. De and Smith, NeurIPS 2020; Brock, De and Smith, ICLR 2021.) */
static struct node *bottleneck(struct node *x, int width, int stride, bool project, int summed)
{
    struct node *y = convolve(x, "conv1", width, 1, 1);
    y = t_relu(nn_batch_norm(y, "bn1", NULL, .variance = summed));
    y = convolve(y, "conv2", width, 3, stride);
    y = t_relu(nn_batch_norm(y, "bn2", NULL));
    y = nn_batch_norm(convolve(y, "conv3", 4 * width, 1, 1), "bn3", NULL);
    if (project) {
        graph_push(x->graph, "downsample");
        x = convolve(x, "0", 4 * width, 1, stride);
        x = nn_batch_norm(x, "1", NULL, .variance = summed);
        graph_pop(x->graph);
    }
    return t_relu(t_add(y, x));
}

/* Blocks of which the first projects; summed: of x, and then of what comes out. */
static struct node *stage(struct node *x, const char *name, int blocks, int width, int stride,
                          int *summed)
{
    for (int b = 0; b < blocks; b++) {
        graph_push(x->graph, "%s.%d", name, b);
        x = bottleneck(x, width, b ? 1 : stride, b == 0, *summed);
        graph_pop(x->graph);
        *summed = b ? *summed + 1 : 2;
    }
    return x;
}

struct node *resnet50_build(struct node *x)
{
    int summed = 1;
    CHECK(x->shape.rank == 4 && dim(x, 1) == 3 && dim(x, 2) >= RESNET50_LEAST &&
              dim(x, 3) >= RESNET50_LEAST,
          "ResNet-50 takes three channels of at least %d × %d pixels", RESNET50_LEAST,
          RESNET50_LEAST);
    x = convolve(x, "conv1", 64, 7, 2); /* (N,64,112,112)  */
    x = t_relu(nn_batch_norm(x, "bn1", NULL));
    x = nn_max_pool3(x, .stride = 2, .pad = 1); /* (N,64,56,56)    */
    x = stage(x, "layer1", 3, 64, 1, &summed);  /* (N,256,56,56)   */
    x = stage(x, "layer2", 4, 128, 2, &summed); /* (N,512,28,28)   */
    x = stage(x, "layer3", 6, 256, 2, &summed); /* (N,1024,14,14)  */
    x = stage(x, "layer4", 3, 512, 2, &summed); /* (N,2048,7,7)    */
    return t_reshape(t_mean(x, AXES(2, 3)), SHAPE(dim(x, 0), RESNET50_FEATURES));
}

struct node *resnet50_prepare(struct node *planes)
{
    int64_t n = dim(planes, 0);
    struct node *x = nn_bilinear(planes, RESNET50_SIDE, RESNET50_SIDE); /* (N,224,224) */
    x = t_affine(t_clamp(x, 0, 255), 1 / 127.5, -1);
    x = t_reshape(x, SHAPE(n, 1, RESNET50_SIDE, RESNET50_SIDE));
    return t_broadcast(x, SHAPE(n, 3, RESNET50_SIDE, RESNET50_SIDE));
}
