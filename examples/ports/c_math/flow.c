/* Flow matching: path, velocity, loss, grids, solvers, guidance, features of tau (spec/flow.md). */
#include <math.h>
#include <string.h>

#include "port.h"

static const Tensor *same_shape(const Call *call, const char *name, const Tensor *other) {
  return shaped(call, name, other->dims, other->shape);
}

static const Tensor *real(const Call *call, const char *name) {
  const Tensor *t = given(call, name);
  if (t->f == NULL) refuse("%s: tensor %s holds no floats", call->op, name);
  return t;
}

/* (1 - tau) z_0 + tau eps (WS-FLOW-1). */
static void interpolate(Call *call) {
  const Tensor *z_0 = real(call, "z_0"), *eps = same_shape(call, "eps", z_0);
  double tau = number(call, "tau");
  Tensor *z = like(call, "z", z_0);
  for (int64_t i = 0; i < z->size; i++) z->f[i] = (1 - tau) * z_0->f[i] + tau * eps->f[i];
}

/* eps - z_0 (WS-FLOW-2). */
static void velocity_target(Call *call) {
  const Tensor *z_0 = real(call, "z_0"), *eps = same_shape(call, "eps", z_0);
  Tensor *v = like(call, "velocity", z_0);
  for (int64_t i = 0; i < v->size; i++) v->f[i] = eps->f[i] - z_0->f[i];
}

/* The mean squared error of a velocity (WS-FLOW-3). */
static void loss(Call *call) {
  const Tensor *v = real(call, "velocity"), *z_0 = same_shape(call, "z_0", v);
  const Tensor *eps = same_shape(call, "eps", v);
  double total = 0;
  for (int64_t i = 0; i < v->size; i++) {
    double error = v->f[i] - (eps->f[i] - z_0->f[i]);
    total += error * error;
  }
  result(call, "loss", call->real, 0, NULL)->f[0] = total / (double)v->size;
}

/* tau_i = (N - i) / N, each shifted once (WS-FLOW-4, WS-FLOW-9). */
static void grid(Call *call) {
  int64_t n = integer(call, "steps");
  double s = number(call, "shift");
  if (n < 1 || n > 1000000 || s <= 0) refuse("steps and shift: got %ld, %g", (long)n, s);
  Tensor *out = result(call, "grid", F64, 1, SHAPE(n + 1));
  for (int64_t i = 0; i <= n; i++) {
    double sigma = (double)(n - i) / (double)n;
    out->f[i] = s == 1 ? sigma : s * sigma / ((1 - sigma) + s * sigma);
  }
}

/* A grid from exactly 1 to exactly 0, strictly decreasing (WS-FLOW-8). */
static const Tensor *walkable(const Call *call) {
  const Tensor *t = floats(call, "grid", 1);
  bool fits = t->size > 1 && t->f[0] == 1 && t->f[t->size - 1] == 0;
  for (int64_t i = 1; i < t->size; i++) fits = fits && t->f[i] < t->f[i - 1];
  if (!fits) refuse("tau grid: allowed: strictly decreasing from exactly 1 to exactly 0");
  return t;
}

static void declared(Call *call) {
  const Tensor *t = walkable(call);
  memcpy(result(call, "grid", F64, 1, t->shape)->f, t->f, (size_t)t->size * sizeof *t->f);
}

/* z + (tau' - tau) v (WS-FLOW-4). */
static void euler_step(Call *call) {
  const Tensor *z = real(call, "z"), *v = same_shape(call, "velocity", z);
  double step = number(call, "tau_next") - number(call, "tau");
  Tensor *out = like(call, "z", z);
  for (int64_t i = 0; i < z->size; i++) out->f[i] = z->f[i] + step * v->f[i];
}

/* out = z + scale · (A state + b tau + c step). */
static void move(const Call *call, int64_t n, const double *z, double scale, const double *state,
                 double tau, int64_t step, double *out) {
  const double *A = shaped(call, "A", 2, SHAPE(n, n))->f;
  const double *b = shaped(call, "b", 1, SHAPE(n))->f, *c = shaped(call, "c", 1, SHAPE(n))->f;
  double *v = take((size_t)n, sizeof *v);
  linear(state, 1, n, A, NULL, n, v);
  for (int64_t i = 0; i < n; i++) out[i] = z[i] + scale * (v[i] + b[i] * tau + c[i] * (double)step);
}

/* Euler, or the midpoint rule with evaluations 2 i and 2 i + 1 (WS-FLOW-4, WS-FLOW-10). */
static void solve(Call *call) {
  const Tensor *audio = floats(call, "audio", 1), *video = floats(call, "video", 1);
  const Tensor *t = walkable(call);
  bool euler = strcmp(string(call, "solver"), "euler") == 0;
  int64_t n = audio->size + video->size;
  double *z = take((size_t)n + 1, sizeof *z), *half = take((size_t)n + 1, sizeof *half);
  double *next = take((size_t)n + 1, sizeof *next);
  memcpy(z, audio->f, (size_t)audio->size * sizeof *z);
  memcpy(z + audio->size, video->f, (size_t)video->size * sizeof *z);
  for (int64_t i = 0; i + 1 < t->size; i++) {
    double tau = t->f[i], after = t->f[i + 1], middle = (tau + after) / 2;
    if (euler) {
      move(call, n, z, after - tau, z, tau, i, next);
    } else {
      move(call, n, z, middle - tau, z, tau, 2 * i, half);
      move(call, n, z, after - tau, half, middle, 2 * i + 1, next);
    }
    memcpy(z, next, (size_t)n * sizeof *z);
  }
  memcpy(like(call, "audio", audio)->f, z, (size_t)audio->size * sizeof *z);
  memcpy(like(call, "video", video)->f, z + audio->size, (size_t)video->size * sizeof *z);
}

/* v_uncond + s (v_cond - v_uncond) (WS-FLOW-11). */
static void guide(Call *call) {
  const Tensor *cond = real(call, "cond"), *uncond = same_shape(call, "uncond", cond);
  double s = number(call, "scale");
  Tensor *v = like(call, "velocity", cond);
  for (int64_t i = 0; i < v->size; i++) v->f[i] = uncond->f[i] + s * (cond->f[i] - uncond->f[i]);
}

/* cos(1000 tau w_i), then sin, w_i = 10000^(-i / (dim / 2)) (WS-FLOW-5). */
void tau_features(double tau, int64_t dim, double *features) {
  int64_t half = dim / 2;
  for (int64_t i = 0; i < half; i++) {
    double angle = 1000.0 * tau * pow(10000.0, -(double)i / (double)half);
    features[i] = cos(angle);
    features[half + i] = sin(angle);
  }
}

static void features(Call *call) {
  const Tensor *tau = floats(call, "tau", 1);
  int64_t dim = integer(call, "dim");
  if (dim < 2 || dim % 2 != 0 || dim > 65536) refuse("dim: got %ld; allowed: even", (long)dim);
  Tensor *out = result(call, "features", call->real, 2, SHAPE(tau->size, dim));
  for (int64_t i = 0; i < tau->size; i++) tau_features(tau->f[i], dim, out->f + i * dim);
}

static void embedding(Call *call) {
  const Tensor *tau = floats(call, "tau", 1);
  int64_t dim = integer(call, "dim"), d = floats(call, "in_proj.weight", 2)->shape[0];
  if (dim < 2 || dim % 2 != 0 || dim > 65536) refuse("dim: got %ld; allowed: even", (long)dim);
  const double *w1 = shaped(call, "in_proj.weight", 2, SHAPE(d, dim))->f;
  const double *b1 = shaped(call, "in_proj.bias", 1, SHAPE(d))->f;
  const double *w2 = shaped(call, "out_proj.weight", 2, SHAPE(d, d))->f;
  const double *b2 = shaped(call, "out_proj.bias", 1, SHAPE(d))->f;
  Tensor *y = result(call, "y", call->real, 2, SHAPE(tau->size, d));
  double *f = take((size_t)dim, sizeof *f), *inner = take((size_t)d + 1, sizeof *inner);
  for (int64_t n = 0; n < tau->size; n++) {
    tau_features(tau->f[n], dim, f);
    linear(f, 1, dim, w1, b1, d, inner);
    for (int64_t i = 0; i < d; i++) inner[i] = silu(inner[i]);
    linear(inner, 1, d, w2, b2, d, y->f + n * d);
  }
}

const Op FLOW_OPS[] = {
    {"flow.interpolate", interpolate},
    {"flow.velocity_target", velocity_target},
    {"flow.loss", loss},
    {"flow.grid", grid},
    {"flow.declared_grid", declared},
    {"flow.euler_step", euler_step},
    {"flow.solve", solve},
    {"flow.solve_midpoint", solve},
    {"flow.guide", guide},
    {"flow.tau_features", features},
    {"flow.tau_embedding", embedding},
    {NULL, NULL},
};
