/* softmax(scale·q·kᵀ + added)·v in one kernel, as CUDA C; see generate.h.
 *
 * A block of 128 threads has some tokens of one head (q), and walks over all others (k, v) in tiles
 * that lie in shared memory. Scores never leave the block: each row keeps its maximum and its sum
 * so far, and what was gathered before is faded when the maximum rises (Milakov and Gimelshein
 * 2018; Dao et al. 2022). Sums are f32, in an order that depends on the shapes alone.
 *
 *   f32   32 tokens against 32; 16 threads for four rows, each with two scores of a row
 *   bf16  64 tokens against 64; a warp for 16 rows, products on tensor cores (mma m16n8k16), whose
 *         result lies across a warp's registers just as the next product wants its first factor
 *
 * At a width of 128, the most that is taken, this is 38 KB and 36 KB of shared memory: below the
 * 48 KB that every device gives without being asked.
 */
#include "cuda/attention.h"
#include "cuda/libraries.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *type_name(const struct panel *panel)
{
    return panel->view->dtype == DTYPE_BF16 ? "bf16" : "float";
}

static struct panel panel_of(const struct view *view, bool turned, const char *name)
{
    int first = view->shape.rank - (turned ? 1 : 2), second = view->shape.rank - (turned ? 2 : 1);
    struct panel panel = { .view = view,
                           .tokens = view->shape.size[first],
                           .width = view->shape.size[second],
                           .token = view->stride[first],
                           .step = view->stride[second] };
    snprintf(panel.name, sizeof panel.name, "%s", name);
    return panel;
}

struct attention attention_of(const struct step *step)
{
    static const char *const names[ATTENTION_ADDED] = { "a0", "a1" };
    unsigned turned = step->node->attention.turned;
    bool gradient = step->node->op != OP_ATTENTION;
    int first = gradient ? 4 : 3;
    struct attention a = { .node = step->node, .count = step->node->sources - first };
    a.q = panel_of(&step->in[0], turned & ATTENTION_Q, "q");
    a.k = panel_of(&step->in[1], turned & ATTENTION_K, "k");
    a.v = panel_of(&step->in[2], turned & ATTENTION_V, "v");
    a.y = panel_of(&step->out, !gradient && turned & ATTENTION_Y, "y");
    if (gradient)
        a.g = panel_of(&step->in[3], turned & ATTENTION_Y, "g");
    for (int i = 0; i < a.count; i++)
        a.added[i] = panel_of(&step->in[first + i], false, names[i]);
    bool half = step->node->attention.half;
    int unit = half ? 16 : ATTENTION_VECTOR;
    a.deep = ((int)a.q.width + unit - 1) / unit * unit;
    a.tile = half ? 64 : 32;
    /* So many that neighbouring rows begin four banks apart. */
    a.row = a.deep + (half ? 8 : 4);
    a.across = half ? a.tile + 8 : a.row;
    return a;
}

int64_t attention_heads(const struct attention *a)
{
    return (int64_t)shape_count(a->q.view->shape) / (a->q.tokens * a->q.width);
}

/* The matrix's number, cut along the axes in front. */
void attention_add_base(struct text *source, const struct panel *panel, const char *index)
{
    const struct view *view = panel->view;
    text_format(source, "    long long at_%s = 0; { long long rest = %s;", panel->name, index);
    for (int axis = view->shape.rank - 3; axis >= 0; axis--)
        if (view->shape.size[axis] > 1)
            text_format(
                source, " at_%s += rest %% %" PRId64 " * %" PRId64 "ll; rest /= %" PRId64 ";",
                panel->name, view->shape.size[axis], view->stride[axis], view->shape.size[axis]);
    text_add(source, " (void)rest; }\n");
}

/* Whether four neighbours along the axis of this stride and size can be read as one. */
static bool suits_vector(const struct panel *panel, int64_t along, int64_t size, int64_t other)
{
    const struct view *view = panel->view;
    bool suits = along == 1 && size % ATTENTION_VECTOR == 0 && other % ATTENTION_VECTOR == 0 &&
                 view->offset % ATTENTION_VECTOR == 0;
    for (int axis = 0; axis < view->shape.rank - 2; axis++)
        suits =
            suits && (view->shape.size[axis] == 1 || view->stride[axis] % ATTENTION_VECTOR == 0);
    return suits;
}

void attention_add_fill(struct text *source, const struct attention *a, const struct panel *panel,
                        const char *to, bool across, const char *first)
{
    bool wide = suits_vector(panel, panel->step, panel->width, panel->token);
    bool tall = !wide && suits_vector(panel, panel->token, panel->tokens, panel->step);
    int vector = wide || tall ? ATTENTION_VECTOR : 1, per = (tall ? a->tile : a->deep) / vector;
    text_format(source, "    for (int e = thread; e < %d; e += %d) {\n", a->tile * a->deep / vector,
                ATTENTION_THREADS);
    text_format(source,
                tall ? "        const int column = e / %d, row = e %% %d * %d;\n"
                     : "        const int row = e / %d, column = e %% %d * %d;\n",
                per, per, vector);
    text_format(source,
                "        float x[%d] = { 0 };\n"
                "        if (%s + row < %" PRId64 " && column < %" PRId64 ")\n"
                "            load%d(%s + at_%s + (long long)(%s + row) * %" PRId64
                " + (long long)column * %" PRId64 ", x);\n",
                vector, first, panel->tokens, panel->width, vector, panel->name, panel->name, first,
                panel->token, panel->step);
    bool lies = vector == 1 || wide != across; /* in shared memory, too, the four are neighbours */
    if (lies)
        text_format(source,
                    across ? "        store%d(%s + column * %d + row, x);\n    }\n"
                           : "        store%d(%s + row * %d + column, x);\n    }\n",
                    vector, to, across ? a->across : a->row);
    else
        text_format(source,
                    across ? "        UNROLL for (int i = 0; i < %d; i++)\n"
                             "            store1(%s + (column + i) * %d + row, x + i);\n    }\n"
                           : "        UNROLL for (int i = 0; i < %d; i++)\n"
                             "            store1(%s + (row + i) * %d + column, x + i);\n    }\n",
                    vector, to, across ? a->across : a->row);
}

void attention_add_score(struct text *source, const struct attention *a)
{
    text_format(source,
                "            if (key >= %" PRId64 ") score = -infinity();\n"
                "            else {\n"
                "                const long long row = query < %" PRId64 " ? query : %" PRId64 ";\n"
                "                (void)row;\n                score *= %.9ef;\n",
                a->k.tokens, a->q.tokens, a->q.tokens - 1, a->node->attention.scale);
    for (int i = 0; i < a->count; i++) {
        const struct panel *p = &a->added[i];
        text_format(source,
                    "                { float x[1]; load1(%s + at_%s + row * %" PRId64
                    " + (long long)key * %" PRId64 ", x); score += x[0]; }\n",
                    p->name, p->name, p->token, p->step);
    }
    text_add(source, "            }\n");
}

void attention_sources(const struct attention *a, const struct panel *sources[ATTENTION_PANELS + 1])
{
    int count = 0;
    sources[count++] = &a->q;
    sources[count++] = &a->k;
    sources[count++] = &a->v;
    if (a->g.view)
        sources[count++] = &a->g;
    for (int i = 0; i < a->count; i++)
        sources[count++] = &a->added[i];
    sources[count] = NULL;
}

void attention_add_head(struct text *source, const struct attention *a, const char *name)
{
    const struct panel *sources[ATTENTION_PANELS + 1];
    attention_sources(a, sources);
    text_format(source, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", ATTENTION_THREADS,
                name);
    for (int i = 0; sources[i]; i++)
        text_format(source, "const %s *%s, ", type_name(sources[i]), sources[i]->name);
    text_format(source,
                "%s *y)\n{\n    enum { ROW = %d, DEEP = %d };\n"
                "    const int thread = threadIdx.x;\n    (void)thread;\n",
                type_name(&a->y), a->row, a->deep);
}

/* Where the block's matrices begin, and which tokens are its own. */
static void add_places(struct text *source, const struct attention *a)
{
    const struct panel *sources[ATTENTION_PANELS + 1];
    attention_sources(a, sources);
    for (int i = 0; sources[i]; i++)
        attention_add_base(source, sources[i], "blockIdx.x");
    attention_add_base(source, &a->y, "blockIdx.x");
    text_format(source, "    const int first = blockIdx.y * %d;\n", a->tile);
}

/* The result's element of `query` and `column`, out of `value`. */
static void add_result(struct text *source, const struct attention *a)
{
    text_format(source,
                "            if (query < %" PRId64 " && column < %" PRId64 ")\n"
                "                store1(y + at_y + (long long)query * %" PRId64
                " + (long long)column * %" PRId64 ", &value);\n",
                a->q.tokens, a->y.width, a->y.token, a->y.step);
}

/* f32. Thread: rows 4·(thread / 16) …, and of these the scores lane, lane + 16, and of the result
 * columns 4·lane …, 64 + 4·lane …. */
static void add_single(struct text *source, const struct attention *a)
{
    int groups = (a->deep + 63) / 64;
    text_format(source,
                "    enum { GROUPS = %d, P = 36 };\n"
                "    __shared__ __align__(16) float sq[32 * ROW], sk[32 * ROW], sp[32 * P];\n"
                "    const int lane = thread %% 16, rows = thread / 16 * 4;\n"
                "    float most[4], sum[4], out[4][4 * GROUPS];\n"
                "    UNROLL for (int i = 0; i < 4; i++) {\n"
                "        most[i] = -infinity(); sum[i] = 0;\n"
                "        UNROLL for (int c = 0; c < 4 * GROUPS; c++) out[i][c] = 0;\n"
                "    }\n",
                groups);
    attention_add_fill(source, a, &a->q, "sq", false, "first");
    text_format(source,
                "    for (int begin = 0; begin < %" PRId64 "; begin += 32) {\n"
                "    __syncthreads();\n",
                a->k.tokens);
    attention_add_fill(source, a, &a->k, "sk", false, "begin");
    text_add(
        source,
        "    __syncthreads();\n"
        "    float s[4][2] = { { 0 } };\n"
        "    for (int c = 0; c < DEEP; c += 4) {\n"
        "        float u[4][4], w[2][4];\n"
        "        UNROLL for (int i = 0; i < 4; i++) load4(sq + (rows + i) * ROW + c, u[i]);\n"
        "        UNROLL for (int j = 0; j < 2; j++) load4(sk + (lane + 16 * j) * ROW + c, w[j]);\n"
        "        UNROLL for (int i = 0; i < 4; i++)\n"
        "            UNROLL for (int j = 0; j < 2; j++)\n"
        "                UNROLL for (int t = 0; t < 4; t++) s[i][j] += u[i][t] * w[j][t];\n"
        "    }\n"
        "    UNROLL for (int i = 0; i < 4; i++) {\n"
        "        const int query = first + rows + i;\n"
        "        UNROLL for (int j = 0; j < 2; j++) {\n"
        "            const int key = begin + lane + 16 * j;\n"
        "            float score = s[i][j];\n");
    attention_add_score(source, a);
    text_add(
        source,
        "            s[i][j] = score;\n        }\n"
        "        float top = larger(larger(most[i], s[i][0]), s[i][1]);\n"
        "        UNROLL for (int apart = 8; apart; apart /= 2)\n"
        "            top = larger(top, __shfl_xor_sync(0xffffffffu, top, apart));\n"
        "        const float base = top == -infinity() ? 0 : top, fade = expf(most[i] - base);\n"
        "        float part = 0;\n"
        "        UNROLL for (int j = 0; j < 2; j++) {\n"
        "            const float p = expf(s[i][j] - base);\n"
        "            sp[(rows + i) * P + lane + 16 * j] = p;\n"
        "            part += p;\n        }\n"
        "        UNROLL for (int apart = 8; apart; apart /= 2)\n"
        "            part += __shfl_xor_sync(0xffffffffu, part, apart);\n"
        "        most[i] = top; sum[i] = sum[i] * fade + part;\n"
        "        UNROLL for (int c = 0; c < 4 * GROUPS; c++) out[i][c] *= fade;\n"
        "    }\n"
        "    __syncthreads();\n");
    attention_add_fill(source, a, &a->v, "sk", false, "begin");
    text_add(source,
             "    __syncthreads();\n"
             "    for (int n = 0; n < 32; n += 4) {\n"
             "        float p[4][4];\n"
             "        UNROLL for (int i = 0; i < 4; i++) load4(sp + (rows + i) * P + n, p[i]);\n"
             "        UNROLL for (int t = 0; t < 4; t++)\n"
             "            UNROLL for (int g = 0; g < GROUPS; g++) {\n"
             "                float w[4] = { 0 };\n"
             "                if (4 * (lane + 16 * g) < DEEP)\n"
             "                    load4(sk + (n + t) * ROW + 4 * (lane + 16 * g), w);\n"
             "                UNROLL for (int i = 0; i < 4; i++)\n"
             "                    UNROLL for (int c = 0; c < 4; c++)\n"
             "                        out[i][4 * g + c] += p[i][t] * w[c];\n"
             "            }\n    }\n    }\n"
             "    UNROLL for (int i = 0; i < 4; i++)\n"
             "        UNROLL for (int c = 0; c < 4 * GROUPS; c++) {\n"
             "            const int query = first + rows + i;\n"
             "            const int column = 4 * (lane + c / 4 * 16) + c % 4;\n"
             "            const float value = out[i][c] / sum[i];\n");
    add_result(source, a);
    text_add(source, "        }\n}\n");
}

/* Whether two neighbours of a row can be written as one. */
static bool suits_pairs(const struct panel *panel)
{
    const struct view *view = panel->view;
    bool suits = view->dtype == DTYPE_BF16 && panel->step == 1 && panel->width % 2 == 0 &&
                 panel->token % 2 == 0 && view->offset % 2 == 0;
    for (int axis = 0; axis < view->shape.rank - 2; axis++)
        suits = suits && (view->shape.size[axis] == 1 || view->stride[axis] % 2 == 0);
    return suits;
}

void attention_add_rows(struct text *source, const struct attention *a, double factor,
                        int64_t offset)
{
    const struct panel *y = &a->y;
    text_format(
        source,
        "    UNROLL for (int n = 0; n < DEEP / 8; n++)\n"
        "        UNROLL for (int h = 0; h < 2; h++) {\n"
        "            const int row = first + warp * 16 + group + h * 8;\n"
        "            const int column = n * 8 + pair;\n"
        "            const float x[2] = { out[n][2 * h] * %.9ef, out[n][2 * h + 1] * %.9ef };\n"
        "            %s *const at = y + at_y + %" PRId64 "ll + (long long)row * %" PRId64
        " + (long long)column * %" PRId64 ";\n",
        factor, factor, type_name(y), offset, y->token, y->step);
    if (suits_pairs(y))
        text_format(source,
                    "            if (row < %" PRId64 " && column < %" PRId64 ")\n"
                    "                *(u32 *)at = two_of(x[0], x[1]);\n        }\n",
                    y->tokens, y->width);
    else
        text_format(source,
                    "            UNROLL for (int i = 0; i < 2; i++)\n"
                    "                if (row < %" PRId64 " && column + i < %" PRId64 ")\n"
                    "                    store1(at + i * %" PRId64 ", x + i);\n        }\n",
                    y->tokens, y->width, y->step);
}

/* bf16. Of a warp's 16 rows a thread has `group` and `group` + 8 (h = 0, 1), and of every 8 columns
 * `pair` and `pair` + 1: that is how results of mma lie. */
static void add_half(struct text *source, const struct attention *a)
{
    text_format(
        source,
        "    enum { ACROSS = %d };\n"
        "    __shared__ __align__(16) bf16 sk[64 * ROW], sv[DEEP * ACROSS];\n"
        "    const int warp = thread / 32, group = thread %% 32 / 4, pair = thread %% 4 * 2;\n",
        a->across);
    attention_add_fill(source, a, &a->q, "sk", false, "first");
    text_format(source,
                "    __syncthreads();\n"
                "    u32 u[DEEP / 16][4];\n"
                "    UNROLL for (int c = 0; c < DEEP / 16; c++)\n"
                "        UNROLL for (int r = 0; r < 4; r++)\n"
                "            u[c][r] = two_at(sk + (warp * 16 + group + r %% 2 * 8) * ROW\n"
                "                             + c * 16 + pair + r / 2 * 8);\n"
                "    float most[2], sum[2] = { 0 }, out[DEEP / 8][4] = { { 0 } };\n"
                "    most[0] = most[1] = -infinity();\n"
                "    for (int begin = 0; begin < %" PRId64 "; begin += 64) {\n"
                "    __syncthreads();\n",
                a->k.tokens);
    attention_add_fill(source, a, &a->k, "sk", false, "begin");
    attention_add_fill(source, a, &a->v, "sv", true, "begin");
    text_add(source, "    __syncthreads();\n"
                     "    float s[8][4] = { { 0 } };\n"
                     "    UNROLL for (int n = 0; n < 8; n++)\n"
                     "        UNROLL for (int c = 0; c < DEEP / 16; c++) {\n"
                     "            const bf16 *at = sk + (n * 8 + group) * ROW + c * 16 + pair;\n"
                     "            const u32 w[2] = { two_at(at), two_at(at + 8) };\n"
                     "            multiply(s[n], u[c], w);\n"
                     "        }\n"
                     "    UNROLL for (int h = 0; h < 2; h++) {\n"
                     "        const int query = first + warp * 16 + group + h * 8;\n"
                     "        float top = most[h];\n"
                     "        UNROLL for (int n = 0; n < 16; n++) {\n"
                     "            const int key = begin + n / 2 * 8 + pair + n % 2;\n"
                     "            float score = s[n / 2][2 * h + n % 2];\n");
    attention_add_score(source, a);
    text_add(
        source,
        "            s[n / 2][2 * h + n % 2] = score;\n"
        "            top = larger(top, score);\n        }\n"
        "        UNROLL for (int apart = 2; apart; apart /= 2)\n"
        "            top = larger(top, __shfl_xor_sync(0xffffffffu, top, apart));\n"
        "        const float base = top == -infinity() ? 0 : top, fade = expf(most[h] - base);\n"
        "        float part = 0;\n"
        "        UNROLL for (int n = 0; n < 16; n++) {\n"
        "            const float p = expf(s[n / 2][2 * h + n % 2] - base);\n"
        "            s[n / 2][2 * h + n % 2] = p;\n"
        "            part += p;\n        }\n"
        "        UNROLL for (int apart = 2; apart; apart /= 2)\n"
        "            part += __shfl_xor_sync(0xffffffffu, part, apart);\n"
        "        most[h] = top; sum[h] = sum[h] * fade + part;\n"
        "        UNROLL for (int n = 0; n < DEEP / 8; n++) {\n"
        "            out[n][2 * h] *= fade; out[n][2 * h + 1] *= fade;\n        }\n"
        "    }\n"
        "    UNROLL for (int c = 0; c < 4; c++) {\n"
        "        u32 p[4];\n"
        "        UNROLL for (int r = 0; r < 4; r++)\n"
        "            p[r] = two_of(s[2 * c + r / 2][r % 2 * 2], s[2 * c + r / 2][r % 2 * 2 + 1]);\n"
        "        UNROLL for (int n = 0; n < DEEP / 8; n++) {\n"
        "            const bf16 *at = sv + (n * 8 + group) * ACROSS + c * 16 + pair;\n"
        "            const u32 w[2] = { two_at(at), two_at(at + 8) };\n"
        "            multiply(out[n], p, w);\n"
        "        }\n    }\n    }\n"
        "    UNROLL for (int n = 0; n < DEEP / 8; n++)\n"
        "        UNROLL for (int r = 0; r < 4; r++) out[n][r] /= sum[r / 2];\n");
    attention_add_rows(source, a, 1, 0);
    text_add(source, "}\n");
}

bool attention_suits(const struct node *node)
{
    unsigned turned = node->attention.turned;
    const struct node *q = node->src[0], *k = node->src[1];
    int64_t width = dim(q, turned & ATTENTION_Q ? -2 : -1),
            tokens = dim(q, turned & ATTENTION_Q ? -1 : -2),
            others = dim(k, turned & ATTENTION_K ? -1 : -2);
    int64_t heads = (int64_t)shape_count(q->shape) / (width * tokens);
    if (node->attention.trained && (!node->attention.half || width > ATTENTION_TRAINED ||
                                    tokens > ATTENTION_TRAINED || others > ATTENTION_TRAINED))
        return false;
    return width <= ATTENTION_WIDTH && heads <= INT32_MAX && tokens <= ATTENTION_TOKENS &&
           others <= ATTENTION_TOKENS;
}

void generate_attention(const struct step *step, const char *name, struct text *source,
                        struct kernel *kernel)
{
    struct attention a = attention_of(step);
    *kernel = (struct kernel){ .threads = { ATTENTION_THREADS, 1 },
                               .arguments = step->node->sources + 1 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    kernel->blocks = (unsigned)attention_heads(&a);
    kernel->pieces = (unsigned)((a.q.tokens + a.tile - 1) / a.tile);
    attention_add_head(source, &a, name);
    add_places(source, &a);
    (a.node->attention.half ? add_half : add_single)(source, &a);
}

/* The axes in front of the matrices, those of size 1 left out: how many, at most two. */
static int leading_axes(const struct view *view, int64_t size[2], int64_t stride[2])
{
    int count = 0;
    for (int axis = 0; axis < view->shape.rank - 2; axis++) {
        if (view->shape.size[axis] == 1)
            continue;
        if (count == 2)
            return 3;
        size[count] = view->shape.size[axis];
        stride[count++] = view->stride[axis];
    }
    return count;
}

/* One of the tensors as the library takes it: as the heads that were found so far, if any. */
static bool add_heads(const struct panel *panel, int which, struct heads *heads)
{
    enum { LINE = 8, GRID = 65535 }; /* so many in 16 bytes; so many blocks along an axis */
    const struct view *view = panel->view;
    int64_t size[2] = { 1, 1 }, stride[2] = { 0, 0 };
    if (view->dtype != DTYPE_BF16 || panel->step != 1 || view->offset % LINE ||
        panel->token % LINE || leading_axes(view, size, stride) > 2)
        return false;
    for (int i = 0; i < 2; i++) {
        if (stride[i] % LINE || size[i] > GRID)
            return false;
        heads->stride[which][i] = size[i] == 1 ? panel->tokens * panel->token : stride[i];
    }
    heads->stride[which][2] = panel->token;
    heads->stride[which][3] = 1;
    bool alike = which == 0 || (heads->groups == size[0] && heads->heads == size[1]);
    heads->groups = size[0];
    heads->heads = size[1];
    return alike;
}

bool attention_as_heads(const struct step *step, struct heads *heads)
{
    struct attention a = attention_of(step);
    const struct panel *panel[4] = { &a.q, &a.k, &a.v, &a.y };
    *heads = (struct heads){ .tokens = a.q.tokens,
                             .others = a.k.tokens,
                             .width = a.q.width,
                             .scale = a.node->attention.scale };
    bool suits = a.node->attention.half && a.count == 0 && a.q.width % 8 == 0;
    for (int i = 0; i < 4; i++)
        suits = suits && add_heads(panel[i], i, heads);
    return suits;
}

double attention_flops(const struct step *step)
{
    struct attention a = attention_of(step);
    enum op_id op = step->node->op; /* products: */
    int products = op == OP_ATTENTION ? 2 : op == OP_ATTENTION_GRADIENT ? 5 : 2;
    return 2 * products * (double)attention_heads(&a) * (double)a.q.tokens * (double)a.k.tokens *
           (double)a.q.width;
}
