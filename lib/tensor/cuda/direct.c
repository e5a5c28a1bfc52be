/* Convolutions and products as plain loops, for what the libraries do not take; see generate.h.
 *
 * A thread for each number of the result, sums in double, in the order of the loops. Sources and
 * result may be of any type and lie in any way. This is slow, and right: what matters is that no
 * network fails on a device for one rare layer (padding that differs on two sides, say).
 */
#include "cuda/generate.h"

#include <inttypes.h>
#include <stdio.h>

/* Which tensor each of the three arguments is, and what the result's four indices are called. */
static const struct way {
    int image, weight, output; /* arguments: 0 and 1 the sources, 2 the result */
    const char *indices[4];
} ways[OP_COUNT] = {
    [OP_CONV] = { 0, 1, 2, { "n", "o", "y", "x" } },
    [OP_CONV_DX] = { 2, 1, 0, { "n", "c", "v", "h" } },
    [OP_CONV_DW] = { 0, 2, 1, { "o", "i", "ky", "kx" } },
};

static const char *type_name(const struct view *view)
{
    return view->dtype == DTYPE_BF16 ? "bf16" : "float";
}

static void add_place(struct text *source, const struct view *view, const char *const index[4])
{
    text_add(source, "0");
    for (int axis = 0; axis < 4; axis++)
        if (view->shape.size[axis] > 1)
            text_format(source, " + (long long)%s * %" PRId64 "ll", index[axis],
                        view->stride[axis]);
}

/* v = y·stride + ky·dilation − pad, and h likewise: sought from y, or y from v. */
static void add_pixel(struct text *source, const struct conv *conv, const struct view *image,
                      const struct view *output, bool seek_output)
{
    static const char *const names[2][3] = { { "v", "y", "ky" }, { "h", "x", "kx" } };
    for (int i = 0; i < 2; i++) {
        const char *pixel = names[i][0], *place = names[i][1], *tap = names[i][2];
        if (seek_output)
            text_format(source,
                        "        const int at_%s = %s + %d - %s * %d;\n"
                        "        if (at_%s < 0 || at_%s %% %d) continue;\n"
                        "        const int %s = at_%s / %d;\n"
                        "        if (%s >= %" PRId64 ") continue;\n",
                        place, pixel, conv->pad[i][0], tap, conv->dilation[i], place, place,
                        conv->stride[i], place, place, conv->stride[i], place,
                        output->shape.size[2 + i]);
        else
            text_format(source,
                        "        const int %s = %s * %d + %s * %d - %d;\n"
                        "        if (%s < 0 || %s >= %" PRId64 ") continue;\n",
                        pixel, place, conv->stride[i], tap, conv->dilation[i], conv->pad[i][0],
                        pixel, pixel, image->shape.size[2 + i]);
    }
}

static void add_loop(struct text *source, const char *name, int64_t count)
{
    text_format(source, "    for (int %s = 0; %s < %" PRId64 "; %s++)\n", name, name, count, name);
}

/* The loops over what is summed, in which all indices but v, h or y, x are known: n, o (an output
 * channel), c (an image's), i (c within its group). */
static void add_sum(struct text *source, const struct step *step, const struct view *image,
                    const struct view *weight, const struct view *output)
{
    const struct conv *conv = &step->node->conv;
    int64_t inputs = weight->shape.size[1], outputs = weight->shape.size[0] / conv->groups;
    enum op_id op = step->node->op;
    if (op == OP_CONV_DW) {
        add_loop(source, "n", image->shape.size[0]);
        add_loop(source, "y", output->shape.size[2]);
        add_loop(source, "x", output->shape.size[3]);
    } else {
        add_loop(source, op == OP_CONV ? "i" : "e", op == OP_CONV ? inputs : outputs);
        add_loop(source, "ky", weight->shape.size[2]);
        add_loop(source, "kx", weight->shape.size[3]);
    }
    text_add(source, "    {\n");
    if (op == OP_CONV_DX)
        text_format(source,
                    "        const int i = c %% %" PRId64 ", o = c / %" PRId64 " * %" PRId64
                    " + e;\n",
                    inputs, inputs, outputs);
    else
        text_format(source, "        const int c = o / %" PRId64 " * %" PRId64 " + i;\n", outputs,
                    inputs);
    add_pixel(source, conv, image, output, op == OP_CONV_DX);
}

void generate_convolution(const struct step *step, const char *name, struct text *source,
                          struct kernel *kernel)
{
    static const char *const image_index[4] = { "n", "c", "v", "h" },
                             *const weight_index[4] = { "o", "i", "ky", "kx" },
                             *const output_index[4] = { "n", "o", "y", "x" };
    const struct way *way = &ways[step->node->op];
    const struct view *view[3] = { &step->in[0], &step->in[1], &step->out };
    const char *const *index[3];
    size_t count = shape_count(step->out.shape);
    index[way->image] = image_index;
    index[way->weight] = weight_index;
    index[way->output] = output_index;
    *kernel = (struct kernel){ .pieces = 1, .threads = { KERNEL_THREADS, 1 }, .arguments = 3 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    kernel->blocks = (unsigned)((count + KERNEL_THREADS - 1) / KERNEL_THREADS);
    text_format(source,
                "extern \"C\" __global__ void __launch_bounds__(%d) %s("
                "const %s *__restrict__ a, const %s *__restrict__ b, "
                "%s *result)\n{\n"
                "    u64 rest = (u64)blockIdx.x * %d + threadIdx.x;\n"
                "    if (rest >= %zuull) return;\n",
                KERNEL_THREADS, name, type_name(view[0]), type_name(view[1]), type_name(view[2]),
                KERNEL_THREADS, count);
    for (int axis = 3; axis >= 0; axis--)
        text_format(source, "    const int %s = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n",
                    way->indices[axis], step->out.shape.size[axis], step->out.shape.size[axis]);
    text_add(source, "    double sum = 0; float p[1], q[1];\n");
    add_sum(source, step, view[way->image], view[way->weight], view[way->output]);
    text_add(source, "        load1(a + (");
    add_place(source, view[0], index[0]);
    text_add(source, "), p); load1(b + (");
    add_place(source, view[1], index[1]);
    text_add(source, "), q);\n        sum += (double)p[0] * q[0];\n    }\n    p[0] = (float)sum;\n"
                     "    store1(result + (");
    add_place(source, view[2], way->indices);
    text_add(source, "), p);\n}\n");
}

/* Adds where the matrix of the result's head, `head`, begins in a source. */
static void add_start(struct text *source, const struct view *view, const char *name)
{
    text_format(source, "    { u64 head = rest;");
    for (int axis = view->shape.rank - 3; axis >= 0; axis--)
        text_format(source,
                    " %s += (long long)(head %% %" PRId64 ") * %" PRId64 "; head /= %" PRId64 ";",
                    name, view->shape.size[axis], view->stride[axis], view->shape.size[axis]);
    text_add(source, " (void)head; }\n");
}

void generate_product(const struct step *step, const char *name, struct text *source,
                      struct kernel *kernel)
{
    const struct node *node = step->node;
    const struct view *a = &step->in[0], *b = &step->in[1], *y = &step->out,
                      *bias = node->sources == 3 ? &step->in[2] : NULL;
    int last = y->shape.rank - 1, row = last - 1;
    bool at = node->transpose.a, bt = node->transpose.b;
    size_t count = shape_count(y->shape);
    *kernel = (struct kernel){ .pieces = 1, .threads = { KERNEL_THREADS, 1 } };
    kernel->arguments = node->sources + 1;
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    kernel->blocks = (unsigned)((count + KERNEL_THREADS - 1) / KERNEL_THREADS);
    text_format(source,
                "extern \"C\" __global__ void __launch_bounds__(%d) %s("
                "const %s *__restrict__ a, const %s *__restrict__ b, ",
                KERNEL_THREADS, name, type_name(a), type_name(b));
    if (bias)
        text_format(source, "const %s *bias, ", type_name(bias));
    text_format(source,
                "%s *y)\n{\n    u64 rest = (u64)blockIdx.x * %d + threadIdx.x;\n"
                "    if (rest >= %zuull) return;\n"
                "    const long long c = (long long)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    const long long r = (long long)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    a += r * %" PRId64 "; b += c * %" PRId64 "; y += r * %" PRId64
                " + c * %" PRId64 ";\n",
                type_name(y), KERNEL_THREADS, count, y->shape.size[last], y->shape.size[last],
                y->shape.size[row], y->shape.size[row], a->stride[at ? last : row],
                b->stride[bt ? row : last], y->stride[row], y->stride[last]);
    add_start(source, a, "a");
    add_start(source, b, "b");
    add_start(source, y, "y");
    text_format(source,
                "    double sum = 0; float p[1], q[1];\n"
                "    for (long long k = 0; k < %" PRId64 "; k++) {\n"
                "        load1(a + k * %" PRId64 ", p); load1(b + k * %" PRId64 ", q);\n"
                "        sum += (double)p[0] * q[0];\n    }\n",
                a->shape.size[at ? row : last], a->stride[at ? row : last],
                b->stride[bt ? last : row]);
    if (bias)
        text_format(source, "    load1(bias + c * %" PRId64 ", p); sum += p[0];\n",
                    bias->stride[bias->shape.rank - 1]);
    text_add(source, "    p[0] = (float)sum;\n    store1(y, p);\n}\n");
}
