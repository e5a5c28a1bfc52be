/* What attention sends back, of up to 64 tokens by 64 and in bf16, as CUDA C; see generate.h.
 *
 * A block of 128 threads has a whole head: q, k, v and g (what is sent back to the result) lie in
 * shared memory, weights and what is sent back to them never leave registers. Nothing is kept from
 * the forward pass: scores, maxima and sums are made again, exactly as they were, from q and k.
 *
 *     P = softmax(scale·q·kᵀ + added)   dP = g·vᵀ   dS = P ⊙ (dP − Σ over keys P ⊙ dP)
 *
 * A warp has 16 rows of them, spread as results of mma are. Products over keys (dq = dS·k) take
 * them from there; those over queries (dv = Pᵀ·g, dk = dSᵀ·q) want them across, so P and then dS
 * pass through a tile of shared memory.
 *
 * What is sent back to what was added is dS itself, summed over matrices: a second kernel makes it
 * again, each block for some of them, in order, since the first has no place for sums in f32.
 *
 * With heads 64 wide this is 46 KB of shared memory, of the 48 KB that need not be asked for.
 */
#include "cuda/attention.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    TILE = ATTENTION_TRAINED,
    LINE = TILE + 8
}; /* tokens of a head; elements between rows across */

/* across: with the tile for transposes. */
static void add_memory(struct text *source, bool across)
{
    text_format(source,
                "    __shared__ __align__(16) bf16 sq[%d * ROW], sk[%d * ROW], sv[%d * ROW],\n"
                "                                  sg[%d * ROW];\n"
                "    const int warp = thread / 32, group = thread %% 32 / 4;\n"
                "    const int pair = thread %% 4 * 2, first = 0;\n",
                TILE, TILE, TILE, TILE);
    if (across)
        text_format(source,
                    "    enum { LINE = %d };\n"
                    "    __shared__ __align__(16) bf16 st[%d * LINE];\n",
                    LINE, TILE);
}

/* The four matrices of the head `index`. */
static void add_fills(struct text *source, const struct attention *a, const char *index)
{
    const struct panel *sources[ATTENTION_PANELS + 1];
    static const char *const to[] = { "sq", "sk", "sv", "sg" };
    attention_sources(a, sources);
    for (int i = 0; sources[i]; i++)
        attention_add_base(source, sources[i], index);
    for (int i = 0; i < 4; i++)
        attention_add_fill(source, a, sources[i], to[i], false, "first");
    text_add(source, "    __syncthreads();\n");
}

/* s: P, and e: dS, of the warp's rows. Rows beyond the last are zero. */
static void add_weights(struct text *source, const struct attention *a)
{
    text_add(source,
             "    float s[8][4] = { { 0 } }, e[8][4] = { { 0 } };\n"
             "    for (int c = 0; c < DEEP / 16; c++) {\n"
             "        u32 u[4], w[4];\n"
             "        UNROLL for (int r = 0; r < 4; r++) {\n"
             "            const int at = (warp * 16 + group + r % 2 * 8) * ROW + c * 16 + pair\n"
             "                           + r / 2 * 8;\n"
             "            u[r] = two_at(sq + at); w[r] = two_at(sg + at);\n"
             "        }\n"
             "        UNROLL for (int n = 0; n < 8; n++) {\n"
             "            const int at = (n * 8 + group) * ROW + c * 16 + pair;\n"
             "            const u32 to_k[2] = { two_at(sk + at), two_at(sk + at + 8) };\n"
             "            const u32 to_v[2] = { two_at(sv + at), two_at(sv + at + 8) };\n"
             "            multiply(s[n], u, to_k);\n"
             "            multiply(e[n], w, to_v);\n"
             "        }\n    }\n"
             "    UNROLL for (int h = 0; h < 2; h++) {\n"
             "        const int query = warp * 16 + group + h * 8;\n"
             "        float top = -infinity();\n"
             "        UNROLL for (int n = 0; n < 16; n++) {\n"
             "            const int key = n / 2 * 8 + pair + n % 2;\n"
             "            float score = s[n / 2][2 * h + n % 2];\n");
    attention_add_score(source, a);
    text_format(source,
                "            s[n / 2][2 * h + n %% 2] = score;\n"
                "            top = larger(top, score);\n        }\n"
                "        UNROLL for (int apart = 2; apart; apart /= 2)\n"
                "            top = larger(top, __shfl_xor_sync(0xffffffffu, top, apart));\n"
                "        const float base = top == -infinity() ? 0 : top;\n"
                "        float sum = 0, mean = 0;\n"
                "        UNROLL for (int n = 0; n < 16; n++) {\n"
                "            const float p = expf(s[n / 2][2 * h + n %% 2] - base);\n"
                "            s[n / 2][2 * h + n %% 2] = p;\n"
                "            sum += p;\n        }\n"
                "        UNROLL for (int apart = 2; apart; apart /= 2)\n"
                "            sum += __shfl_xor_sync(0xffffffffu, sum, apart);\n"
                "        UNROLL for (int n = 0; n < 16; n++) {\n"
                "            const float p = query < %" PRId64
                " ? s[n / 2][2 * h + n %% 2] / sum : 0;\n"
                "            s[n / 2][2 * h + n %% 2] = p;\n"
                "            mean += p * e[n / 2][2 * h + n %% 2];\n        }\n"
                "        UNROLL for (int apart = 2; apart; apart /= 2)\n"
                "            mean += __shfl_xor_sync(0xffffffffu, mean, apart);\n"
                "        UNROLL for (int n = 0; n < 16; n++)\n"
                "            e[n / 2][2 * h + n %% 2] = s[n / 2][2 * h + n %% 2]\n"
                "                                      * (e[n / 2][2 * h + n %% 2] - mean);\n"
                "    }\n",
                a->q.tokens);
}

/* Writes `out` to one of the three parts of the result. */
static void add_part(struct text *source, const struct attention *a, int part)
{
    attention_add_rows(source, a, a->node->attention.factor[part], part * a->y.view->stride[0]);
    text_add(source, "    }\n");
}

/* dq = dS·k: the rows are where they are needed. */
static void add_to_queries(struct text *source, const struct attention *a)
{
    text_add(
        source,
        "    {\n    float out[DEEP / 8][4] = { { 0 } };\n"
        "    UNROLL for (int c = 0; c < 4; c++) {\n"
        "        u32 u[4];\n"
        "        UNROLL for (int r = 0; r < 4; r++)\n"
        "            u[r] = two_of(e[2 * c + r / 2][r % 2 * 2], e[2 * c + r / 2][r % 2 * 2 + 1]);\n"
        "        UNROLL for (int n = 0; n < DEEP / 8; n++) {\n"
        "            const bf16 *at = sk + (c * 16 + pair) * ROW + n * 8 + group;\n"
        "            const u32 w[2] = { two_down(at, ROW), two_down(at + 8 * ROW, ROW) };\n"
        "            multiply(out[n], u, w);\n"
        "        }\n    }\n");
    add_part(source, a, 0);
}

/* The transpose of `weights`, by what lies in `factor`. */
static void add_across(struct text *source, const struct attention *a, const char *weights,
                       const char *factor, int part)
{
    text_format(source,
                "    UNROLL for (int n = 0; n < 16; n++)\n"
                "        UNROLL for (int h = 0; h < 2; h++)\n"
                "            st[(n / 2 * 8 + pair + n %% 2) * LINE + warp * 16 + group + h * 8] =\n"
                "                to_bf16(%s[n / 2][2 * h + n %% 2]);\n"
                "    __syncthreads();\n"
                "    {\n    float out[DEEP / 8][4] = { { 0 } };\n"
                "    UNROLL for (int c = 0; c < 4; c++) {\n"
                "        u32 u[4];\n"
                "        UNROLL for (int r = 0; r < 4; r++)\n"
                "            u[r] = two_at(st + (warp * 16 + group + r %% 2 * 8) * LINE + c * 16\n"
                "                          + pair + r / 2 * 8);\n"
                "        UNROLL for (int n = 0; n < DEEP / 8; n++) {\n"
                "            const bf16 *at = %s + (c * 16 + pair) * ROW + n * 8 + group;\n"
                "            const u32 w[2] = { two_down(at, ROW), two_down(at + 8 * ROW, ROW) };\n"
                "            multiply(out[n], u, w);\n"
                "        }\n    }\n",
                weights, factor);
    add_part(source, a, part);
}

void generate_attention_gradient(const struct step *step, const char *name, struct text *source,
                                 struct kernel *kernel)
{
    struct attention a = attention_of(step);
    *kernel = (struct kernel){ .threads = { ATTENTION_THREADS, 1 },
                               .arguments = step->node->sources + 1,
                               .blocks = (unsigned)attention_heads(&a),
                               .pieces = 1 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    attention_add_head(source, &a, name);
    add_memory(source, true);
    attention_add_base(source, &a.y, "blockIdx.x");
    add_fills(source, &a, "blockIdx.x");
    add_weights(source, &a);
    add_to_queries(source, &a);
    add_across(source, &a, "s", "sg", 2);
    text_add(source, "    __syncthreads();\n");
    add_across(source, &a, "e", "sq", 1);
    text_add(source, "}\n");
}

/* A block: some groups' matrices of one place, one after the other. */
void generate_attention_added_gradient(const struct step *step, const char *name,
                                       struct text *source, struct kernel *kernel)
{
    struct attention a = attention_of(step);
    int64_t groups = step->node->attention.groups, parts = step->out.shape.size[0],
            places = attention_heads(&a) / groups, each = (groups + parts - 1) / parts;
    *kernel = (struct kernel){ .threads = { ATTENTION_THREADS, 1 },
                               .arguments = step->node->sources + 1,
                               .blocks = (unsigned)(parts * places),
                               .pieces = 1 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    attention_add_head(source, &a, name);
    add_memory(source, false);
    attention_add_base(source, &a.y, "blockIdx.x");
    text_format(source,
                "    const long long place = blockIdx.x %% %" PRId64
                "u, begin = blockIdx.x / %" PRId64 "u * %" PRId64 "ll;\n"
                "    float sum_of[8][4] = { { 0 } };\n"
                "    for (long long i = begin; i < begin + %" PRId64 " && i < %" PRId64 "; i++) {\n"
                "    const long long head = i * %" PRId64 " + place;\n"
                "    __syncthreads();\n",
                places, places, each, each, groups, places);
    add_fills(source, &a, "head");
    add_weights(source, &a);
    text_format(source,
                "    UNROLL for (int n = 0; n < 8; n++)\n"
                "        UNROLL for (int r = 0; r < 4; r++) sum_of[n][r] += e[n][r];\n"
                "    }\n"
                "    UNROLL for (int n = 0; n < 8; n++)\n"
                "        UNROLL for (int r = 0; r < 4; r++) {\n"
                "            const int row = warp * 16 + group + r / 2 * 8;\n"
                "            const int column = n * 8 + pair + r %% 2;\n"
                "            if (row < %" PRId64 " && column < %" PRId64 ")\n"
                "                store1(y + at_y + (long long)row * %" PRId64
                " + (long long)column * %" PRId64 ", &sum_of[n][r]);\n"
                "        }\n}\n",
                a.y.tokens, a.y.width, a.y.token, a.y.step);
}
