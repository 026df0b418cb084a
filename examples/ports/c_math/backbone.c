/* The Transformer: rotation, norm, attention, feed-forward, layers (spec/positions.md,
 * spec/backbone.md). Arrays are row-major; a block of n tokens is [n, width]. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "port.h"

typedef struct {
  int64_t heads, kv_heads, head_dim, width;
  double eps;
  bool qk_norm, bias;
} Sizes;

/* Cosine and sine of every token and frequency, [n, head_dim / 2] (WS-POSITIONS-4, -5). */
static void factors(const Call *call, const int64_t *positions, int64_t stride, int64_t n,
                    double *cosine, double *sine) {
  int64_t half = integer(call, "head_dim") / 2;
  int64_t first = integer_at(call, "sections", 0), second = integer_at(call, "sections", 1);
  if (first < 0 || second < 0 || first + second + integer_at(call, "sections", 2) != half)
    refuse("sections: got others than add up to head_dim / 2");
  for (int64_t row = 0; row < n; row++)
    for (int64_t i = 0; i < half; i++) {
      int axis = i < first ? 0 : i < first + second ? 1 : 2;
      double omega = pow(number(call, "theta"), -2.0 * (double)i / (double)(2 * half));
      double angle = (double)positions[row * stride + axis] * omega;
      cosine[row * half + i] = cos(angle);
      sine[row * half + i] = sin(angle);
    }
}

/* Rotate the pairs (x_i, x_{i + half}) of one head (WS-POSITIONS-6). */
static void rotate(double *x, int64_t half, const double *cosine, const double *sine) {
  for (int64_t i = 0; i < half; i++) {
    double a = x[i], b = x[i + half];
    x[i] = a * cosine[i] - b * sine[i];
    x[i + half] = b * cosine[i] + a * sine[i];
  }
}

/* x / sqrt(mean(x²) + eps) · weight over d (WS-BACKBONE-2). */
static void rms_norm(const double *x, const double *weight, int64_t d, double eps, double *y) {
  double total = 0;
  for (int64_t i = 0; i < d; i++) total += x[i] * x[i];
#ifdef BROKEN_EPS
  double root = sqrt(total / (double)d) + eps; /* a known defect, for the suite to find */
#else
  double root = sqrt(total / (double)d + eps);
#endif
  for (int64_t i = 0; i < d; i++) y[i] = x[i] / root * weight[i];
}

/* y [n, out] = x [n, in] weight [out, in]ᵀ + bias. */
void linear(const double *x, int64_t n, int64_t in, const double *weight, const double *bias,
            int64_t out, double *y) {
  for (int64_t row = 0; row < n; row++)
    for (int64_t o = 0; o < out; o++) {
      double total = bias == NULL ? 0 : bias[o];
      for (int64_t i = 0; i < in; i++) total += x[row * in + i] * weight[o * in + i];
      y[row * out + o] = total;
    }
}

/* One query over m keys; `seen` is its row of the mask (WS-BACKBONE-4). */
static void attend(const double *q, const double *k, const double *v, const int64_t *seen, int64_t m,
                   int64_t d, double *y) {
  double *score = take((size_t)m + 1, sizeof *score), top = -INFINITY, total = 0;
  for (int64_t j = 0; j < m; j++) {
    if (!seen[j]) continue;
    for (int64_t i = 0; i < d; i++) score[j] += q[i] * k[j * d + i];
    score[j] /= sqrt((double)d);
    if (score[j] > top) top = score[j];
  }
  memset(y, 0, (size_t)d * sizeof *y);
  for (int64_t j = 0; j < m; j++) {
    if (!seen[j]) continue;
    double weight = exp(score[j] - top);
    total += weight;
    for (int64_t i = 0; i < d; i++) y[i] += weight * v[j * d + i];
  }
  for (int64_t i = 0; i < d; i++) y[i] /= total;
}

static void rotary_factors(Call *call) {
  const Tensor *positions = integers(call, "positions", 2);
  int64_t n = positions->shape[0], half = integer(call, "head_dim") / 2;
  if (positions->shape[1] != 3 || half < 1) refuse("positions are [n, 3]");
  Tensor *cosine = result(call, "cos", call->real, 2, SHAPE(n, half));
  Tensor *sine = result(call, "sin", call->real, 2, SHAPE(n, half));
  factors(call, positions->i, 3, n, cosine->f, sine->f);
}

static void rotate_all(Call *call) {
  const Tensor *x = floats(call, "x", 3), *positions = integers(call, "positions", 2);
  int64_t heads = x->shape[0], n = x->shape[1], d = x->shape[2], half = d / 2;
  if (positions->shape[0] != n || positions->shape[1] != 3 || d != integer(call, "head_dim"))
    refuse("x and positions do not fit");
  double *cosine = take((size_t)(n * half + 1), sizeof *cosine);
  double *sine = take((size_t)(n * half + 1), sizeof *sine);
  factors(call, positions->i, 3, n, cosine, sine);
  Tensor *y = like(call, "y", x);
  memcpy(y->f, x->f, (size_t)x->size * sizeof *x->f);
  for (int64_t h = 0; h < heads; h++)
    for (int64_t row = 0; row < n; row++)
      rotate(y->f + (h * n + row) * d, half, cosine + row * half, sine + row * half);
}

static void norm(Call *call) {
  const Tensor *x = given(call, "x"), *weight = floats(call, "weight", 1);
  int64_t d = weight->size;
  if (x->f == NULL || x->dims < 1 || d < 1 || x->shape[x->dims - 1] != d) refuse("x and weight do not fit");
  Tensor *y = like(call, "y", x);
  for (int64_t at = 0; at < x->size; at += d)
    rms_norm(x->f + at, weight->f, d, number(call, "eps"), y->f + at);
}

static void attend_all(Call *call) {
  const Tensor *q = floats(call, "q", 3), *mask = integers(call, "mask", 2);
  int64_t heads = q->shape[0], n = q->shape[1], d = q->shape[2], m = mask->shape[1];
  int64_t kv = floats(call, "k", 3)->shape[0];
  const Tensor *k = shaped(call, "k", 3, SHAPE(kv, m, d));
  const Tensor *v = shaped(call, "v", 3, SHAPE(kv, m, d));
  if (mask->shape[0] != n || kv < 1 || heads % kv != 0) refuse("q, k and mask do not fit");
  Tensor *y = like(call, "y", q);
  for (int64_t h = 0; h < heads; h++) {
    int64_t own = h * kv / heads * m * d;
    for (int64_t row = 0; row < n; row++) {
      int64_t at = (h * n + row) * d;
      attend(q->f + at, k->f + own, v->f + own, mask->i + row * m, m, d, y->f + at);
    }
  }
}

static const double *weight_of(const Call *call, const char *at, const char *name, int dims,
                               const int64_t *shape) {
  char full[200];
  snprintf(full, sizeof full, "%s%s", at, name);
  return shaped(call, full, dims, shape)->f;
}

/* q, k or v of n tokens, [heads, n, head_dim]; q and k normalised and rotated (WS-BACKBONE-3). */
static double *projected(const Call *call, const char *at, char which, const Sizes *s,
                         const double *x, int64_t n, const double *cosine, const double *sine) {
  int64_t heads = which == 'q' ? s->heads : s->kv_heads, d = s->head_dim, out = heads * d;
  char name[40];
  snprintf(name, sizeof name, "%c_proj.weight", which);
  const double *weight = weight_of(call, at, name, 2, SHAPE(out, s->width)), *bias = NULL;
  snprintf(name, sizeof name, "%c_proj.bias", which);
  if (s->bias) bias = weight_of(call, at, name, 1, SHAPE(out));
  double *flat = take((size_t)(n * out + 1), sizeof *flat);
  double *split = take((size_t)(n * out + 1), sizeof *split);
  linear(x, n, s->width, weight, bias, out, flat);
  snprintf(name, sizeof name, "%c_norm.weight", which);
  for (int64_t h = 0; h < heads; h++)
    for (int64_t row = 0; row < n; row++) {
      double *own = split + (h * n + row) * d;
      memcpy(own, flat + row * out + h * d, (size_t)d * sizeof *own);
      if (which == 'v') continue;
      if (s->qk_norm) rms_norm(own, weight_of(call, at, name, 1, SHAPE(d)), d, s->eps, own);
      rotate(own, d / 2, cosine + row * (d / 2), sine + row * (d / 2));
    }
  return split;
}

static Sizes sizes(const Call *call, int64_t width) {
  Sizes s = {integer(call, "n_heads"),  integer(call, "n_kv_heads"), integer(call, "head_dim"), width,
             number(call, "eps"),       truth(call, "qk_norm"),      truth(call, "qkv_bias")};
  if (s.heads < 1 || s.heads > 4096 || s.kv_heads < 1 || s.heads % s.kv_heads != 0 ||
      s.head_dim < 2 || s.head_dim % 2 != 0 || s.head_dim > 65536)
    refuse("heads, kv_heads and head_dim do not fit");
  return s;
}

/* Attention of a block over itself; `k` and `v` are handed out for the cache. */
static void attention(const Call *call, const char *at, const Sizes *s, const double *x, int64_t n,
                      const int64_t *positions, int64_t stride, const int64_t *mask, double *y,
                      double **k, double **v) {
  int64_t d = s->head_dim, wide = s->heads * d;
  double *cosine = take((size_t)(n * d + 1), sizeof *cosine);
  double *sine = take((size_t)(n * d + 1), sizeof *sine);
  factors(call, positions, stride, n, cosine, sine);
  double *q = projected(call, at, 'q', s, x, n, cosine, sine);
  *k = projected(call, at, 'k', s, x, n, cosine, sine);
  *v = projected(call, at, 'v', s, x, n, cosine, sine);
  double *all = take((size_t)(n * wide + 1), sizeof *all);
  for (int64_t h = 0; h < s->heads; h++) {
    int64_t own = h * s->kv_heads / s->heads * n * d;
    for (int64_t row = 0; row < n; row++)
      attend(q + (h * n + row) * d, *k + own, *v + own, mask + row * n, n, d, all + row * wide + h * d);
  }
  linear(all, n, wide, weight_of(call, at, "o_proj.weight", 2, SHAPE(s->width, wide)), NULL, s->width, y);
}

static void attention_alone(Call *call) {
  const Tensor *x = floats(call, "x", 2), *positions = integers(call, "positions", 2);
  const Tensor *mask = integers(call, "mask", 2);
  int64_t n = x->shape[0];
  if (positions->shape[0] != n || positions->shape[1] != 3 || mask->shape[0] != n || mask->shape[1] != n)
    refuse("x, positions and mask do not fit");
  Sizes s = sizes(call, x->shape[1]);
  double *keys, *values;
  attention(call, "", &s, x->f, n, positions->i, 3, mask->i, like(call, "y", x)->f, &keys, &values);
  const int64_t shape[] = {s.kv_heads, n, s.head_dim};
  result(call, "k", call->real, 3, shape)->f = keys;
  result(call, "v", call->real, 3, shape)->f = values;
}

/* W_down(silu(W_gate x) · W_up x) (WS-BACKBONE-5). */
static void mlp(const Call *call, const char *at, const double *x, int64_t n, int64_t d, double *y) {
  char name[200];
  snprintf(name, sizeof name, "%sgate_proj.weight", at);
  int64_t wide = floats(call, name, 2)->shape[0];
  double *gate = take((size_t)(n * wide + 1), sizeof *gate);
  double *up = take((size_t)(n * wide + 1), sizeof *up);
  linear(x, n, d, weight_of(call, at, "gate_proj.weight", 2, SHAPE(wide, d)), NULL, wide, gate);
  linear(x, n, d, weight_of(call, at, "up_proj.weight", 2, SHAPE(wide, d)), NULL, wide, up);
  for (int64_t i = 0; i < n * wide; i++) gate[i] = silu(gate[i]) * up[i];
  linear(gate, n, wide, weight_of(call, at, "down_proj.weight", 2, SHAPE(d, wide)), NULL, d, y);
}

static void swiglu(Call *call) {
  const Tensor *x = floats(call, "x", 2);
  mlp(call, "", x->f, x->shape[0], x->shape[1], like(call, "y", x)->f);
}

/* Every layer, then one more norm (WS-BACKBONE-1). */
static void run(Call *call) {
  const Tensor *x = floats(call, "x", 2), *rows = integers(call, "rows", 2);
  int64_t n = x->shape[0], d = x->shape[1], lag = integer(call, "lag");
  if (rows->shape[0] != n || rows->shape[1] != 10) refuse("rows are [n, 10]");
  Sizes s = sizes(call, d);
  int64_t *mask = take((size_t)(n * n + 1), sizeof *mask);
  for (int64_t i = 0; i < n * n; i++)
    mask[i] = visible(rows->i + i / n * 10, rows->i + i % n * 10, lag);
  double *h = take((size_t)(n * d + 1), sizeof *h), *normed = take((size_t)(n * d + 1), sizeof *h);
  double *y = take((size_t)(n * d + 1), sizeof *y), *keys, *values;
  memcpy(h, x->f, (size_t)(n * d) * sizeof *h);
  for (int64_t layer = 0; layer < integer(call, "n_layers"); layer++)
    for (int part = 0; part < 2; part++) {
      char at[60], name[120];
      snprintf(at, sizeof at, "layers.%lld.", (long long)layer);
      const char *before = part == 0 ? "input_layernorm.weight" : "post_attention_layernorm.weight";
      const double *weight = weight_of(call, at, before, 1, SHAPE(d));
      for (int64_t row = 0; row < n; row++)
        rms_norm(h + row * d, weight, d, s.eps, normed + row * d);
      snprintf(name, sizeof name, "%s%s", at, part == 0 ? "self_attn." : "mlp.");
      if (part == 0) attention(call, name, &s, normed, n, rows->i + 4, 10, mask, y, &keys, &values);
      else mlp(call, name, normed, n, d, y);
      for (int64_t i = 0; i < n * d; i++) h[i] += y[i];
    }
  Tensor *hidden = like(call, "hidden", x);
  for (int64_t row = 0; row < n; row++)
    rms_norm(h + row * d, shaped(call, "norm.weight", 1, SHAPE(d))->f, d, s.eps, hidden->f + row * d);
}

const Op BACKBONE_OPS[] = {
    {"positions.rotary_factors", rotary_factors},
    {"positions.rotate", rotate_all},
    {"backbone.rms_norm", norm},
    {"backbone.attend", attend_all},
    {"backbone.attention", attention_alone},
    {"backbone.swiglu", swiglu},
    {"backbone.run", run},
    {NULL, NULL},
};
