/* Codecs: causal convolution, blocks, posterior, latent statistics, patches (spec/codec.md).
 * A signal is [channels, time] or [channels, time, height, width]; one axis is two of size 1 more. */
#include <math.h>
#include <string.h>

#include "port.h"

static const double NORM_EPS = 1e-6;

typedef struct {
  int64_t c, t, h, w;
  double *x;
} Signal;

typedef struct {
  int64_t in, out, kernel[3], stride[3];
  const double *weight, *bias;
} Conv;

static int64_t axis(const Tensor *t, int d, int offset) {
  return d + offset < t->dims ? t->shape[d + offset] : 1;
}

static Signal signal_of(const Call *call, const char *name) {
  const Tensor *x = given(call, name);
  if (x->f == NULL || (x->dims != 2 && x->dims != 4)) refuse("%s: got %d axes; allowed: 2, 4", name, x->dims);
  return (Signal){x->shape[0], x->shape[1], axis(x, 2, 0), axis(x, 3, 0), x->f};
}

static Signal blank(int64_t c, int64_t t, int64_t h, int64_t w) {
  if (c < 0 || t < 0 || h < 0 || w < 0) refuse("the sizes of a signal do not fit");
  return (Signal){c, t, h, w, take((size_t)(c * t * h * w + 1), sizeof(double))};
}

static double *at(const Signal *s, int64_t c, int64_t t, int64_t h, int64_t w) {
  return s->x + ((c * s->t + t) * s->h + h) * s->w + w;
}

static void hand_out(Call *call, const char *name, const Signal *s, int dims) {
  const int64_t shape[] = {s->c, s->t, s->h, s->w};
  result(call, name, call->real, dims, shape)->f = s->x;
}

/* Steps from `from` to `to` of a signal. */
static Signal cut(const Signal *s, int64_t from, int64_t to) {
  Signal part = blank(s->c, to - from, s->h, s->w);
  for (int64_t c = 0; c < s->c; c++)
    memcpy(at(&part, c, 0, 0, 0), at(s, c, from, 0, 0),
           (size_t)((to - from) * s->h * s->w) * sizeof *s->x);
  return part;
}

static Signal joined(const Signal *a, const Signal *b) {
  Signal all = blank(a->c, a->t + b->t, a->h, a->w);
  for (int64_t c = 0; c < a->c; c++) {
    if (a->t > 0) memcpy(at(&all, c, 0, 0, 0), at(a, c, 0, 0, 0), (size_t)(a->t * a->h * a->w) * sizeof *a->x);
    if (b->t > 0) memcpy(at(&all, c, a->t, 0, 0), at(b, c, 0, 0, 0), (size_t)(b->t * b->h * b->w) * sizeof *b->x);
  }
  return all;
}

static Conv conv_of(const Call *call, const char *weight, const char *bias, const int64_t *stride,
                    int axes) {
  const Tensor *w = floats(call, weight, 2 + axes);
  Conv conv = {.in = w->shape[1], .out = w->shape[0], .weight = w->f};
  for (int d = 0; d < 3; d++) {
    conv.kernel[d] = axis(w, d, 2);
    conv.stride[d] = d < axes ? stride[d] : 1;
    if (conv.stride[d] < 1 || conv.kernel[d] < conv.stride[d] ||
        (d > 0 && (conv.kernel[d] - conv.stride[d]) % 2 != 0))
      refuse("%s: kernel and stride do not fit", weight);
  }
  conv.bias = shaped(call, bias, 1, SHAPE(conv.out))->f;
  return conv;
}

/* One chunk; `past` holds the last k - s inputs and is replaced (WS-CODEC-3, WS-CODEC-5). */
static Signal convolve(const Conv *conv, const Signal *chunk, Signal *past) {
  Signal x = joined(past, chunk);
  const int64_t *k = conv->kernel, *s = conv->stride;
  int64_t pad_h = (k[1] - s[1]) / 2, pad_w = (k[2] - s[2]) / 2;
  if (chunk->c != conv->in || chunk->t < 1 || chunk->t % s[0] || chunk->h % s[1] || chunk->w % s[2])
    refuse("a chunk of %ld steps does not fit the stride", (long)chunk->t);
  Signal y = blank(conv->out, chunk->t / s[0], chunk->h / s[1], chunk->w / s[2]);
  for (int64_t o = 0; o < y.c; o++)
    for (int64_t t = 0; t < y.t; t++)
      for (int64_t h = 0; h < y.h; h++)
        for (int64_t w = 0; w < y.w; w++) {
          double total = conv->bias[o];
          const double *tap = conv->weight + o * conv->in * k[0] * k[1] * k[2];
          for (int64_t c = 0; c < conv->in; c++)
            for (int64_t j = 0; j < k[0]; j++)
              for (int64_t a = 0; a < k[1]; a++)
                for (int64_t b = 0; b < k[2]; b++, tap++) {
                  int64_t row = h * s[1] + a - pad_h, col = w * s[2] + b - pad_w;
                  if (row < 0 || row >= x.h || col < 0 || col >= x.w) continue;
                  total += *tap * *at(&x, c, t * s[0] + j, row, col);
                }
          *at(&y, o, t, h, w) = total;
        }
  *past = cut(&x, x.t - (k[0] - s[0]), x.t);
  return y;
}

/* Before unit 0 a convolution sees zeros at its own input (WS-CODEC-4). */
static Signal before(const Conv *conv, const Signal *x) {
  return blank(conv->in, conv->kernel[0] - conv->stride[0], x->h, x->w);
}

static int64_t chunk_length(const Call *call, int64_t n, const Signal *x, int64_t done) {
  int64_t length = length_of(call, "plan") == 0 ? x->t : integer_at(call, "plan", n);
  if (length < 1 || length > x->t - done) refuse("plan: a chunk of %ld steps does not fit", (long)length);
  return length;
}

static void conv(Call *call) {
  Signal x = signal_of(call, "x");
  int axes = given(call, "x")->dims - 1;
  int64_t stride[3] = {1, 1, 1};
  for (int d = 0; d < axes; d++) stride[d] = integer_at(call, "stride", d);
  Conv layer = conv_of(call, "weight", "bias", stride, axes);
  if (layer.in != x.c) refuse("x and weight do not fit");
  Signal past = before(&layer, &x), y = blank(layer.out, 0, x.h / stride[1], x.w / stride[2]);
  for (int64_t done = 0, n = 0; done < x.t; n++) {
    int64_t length = chunk_length(call, n, &x, done);
    Signal chunk = cut(&x, done, done + length), part = convolve(&layer, &chunk, &past);
    y = joined(&y, &part);
    done += length;
  }
  hand_out(call, "y", &y, axes + 1);
}

/* weight · x / sqrt(mean over the channels + 1e-6), at each point (WS-CODEC-7). */
static Signal normed(const Signal *x, const double *weight) {
  Signal y = blank(x->c, x->t, x->h, x->w);
  int64_t points = x->t * x->h * x->w;
  for (int64_t n = 0; n < points; n++) {
    double total = 0;
    for (int64_t c = 0; c < x->c; c++) total += x->x[c * points + n] * x->x[c * points + n];
    double root = sqrt(total / (double)x->c + NORM_EPS);
    for (int64_t c = 0; c < x->c; c++) y.x[c * points + n] = x->x[c * points + n] / root * weight[c];
  }
  return y;
}

static void channel_norm(Call *call) {
  Signal x = signal_of(call, "x"), y = normed(&x, shaped(call, "weight", 1, SHAPE(x.c))->f);
  hand_out(call, "y", &y, given(call, "x")->dims);
}

double silu(double x) {
  double e = exp(-fabs(x));
  return x >= 0 ? x / (1 + e) : x * (e / (1 + e));
}

static void silu_all(Call *call) {
  const Tensor *x = given(call, "x");
  if (x->f == NULL) refuse("x holds no floats");
  Tensor *y = like(call, "y", x);
  for (int64_t i = 0; i < x->size; i++) y->f[i] = silu(x->f[i]);
}

/* x + conv2(silu(norm2(conv1(silu(norm1(x)))))) (WS-CODEC-7). */
static void residual(Call *call) {
  Signal x = signal_of(call, "x");
  int axes = given(call, "x")->dims - 1;
  const int64_t one[3] = {1, 1, 1};
  Conv first = conv_of(call, "conv1.weight", "conv1.bias", one, axes);
  Conv second = conv_of(call, "conv2.weight", "conv2.bias", one, axes);
  const double *norm1 = shaped(call, "norm1.weight", 1, SHAPE(x.c))->f;
  const double *norm2 = shaped(call, "norm2.weight", 1, SHAPE(x.c))->f;
  if (first.in != x.c || first.out != x.c || second.in != x.c || second.out != x.c)
    refuse("x and the convolutions do not fit");
  Signal past1 = before(&first, &x), past2 = before(&second, &x), all = blank(x.c, 0, x.h, x.w);
  for (int64_t done = 0, n = 0; done < x.t; n++) {
    int64_t length = chunk_length(call, n, &x, done), size = x.c * length * x.h * x.w;
    Signal chunk = cut(&x, done, done + length), y = normed(&chunk, norm1);
    for (int64_t i = 0; i < size; i++) y.x[i] = silu(y.x[i]);
    y = convolve(&first, &y, &past1);
    y = normed(&y, norm2);
    for (int64_t i = 0; i < size; i++) y.x[i] = silu(y.x[i]);
    y = convolve(&second, &y, &past2);
    for (int64_t i = 0; i < size; i++) y.x[i] += chunk.x[i];
    all = joined(&all, &y);
    done += length;
  }
  hand_out(call, "y", &all, axes + 1);
}

/* Channel ((j p + r) p + q) c + i of (t, h, w) is channel i of (s t + j, p h + r, p w + q). */
static void upsample(Call *call) {
  Signal x = signal_of(call, "x");
  int dims = given(call, "x")->dims;
  int64_t s = integer(call, "time"), p = dims == 2 ? 1 : integer(call, "side");
  if (s < 1 || p < 1 || s > 4096 || p > 4096 || x.c % (s * p * p) != 0) refuse("x does not fit the factors");
  int64_t c = x.c / (s * p * p);
  Signal y = blank(c, s * x.t, p * x.h, p * x.w);
  for (int64_t i = 0; i < c; i++)
    for (int64_t t = 0; t < y.t; t++)
      for (int64_t h = 0; h < y.h; h++)
        for (int64_t w = 0; w < y.w; w++)
          *at(&y, i, t, h, w) = *at(&x, ((t % s * p + h % p) * p + w % p) * c + i, t / s, h / p, w / p);
  hand_out(call, "y", &y, dims);
}

/* Channel i of pixel (p h + r, p w + q) is channel (r p + q) c + i of (h, w). */
static void space_to_depth(Call *call) {
  Signal x = signal_of(call, "x");
  int64_t p = integer(call, "side");
  if (p < 1 || p > 4096 || x.h % p != 0 || x.w % p != 0) refuse("x does not fit the side");
  Signal y = blank(x.c * p * p, x.t, x.h / p, x.w / p);
  for (int64_t o = 0; o < y.c; o++)
    for (int64_t t = 0; t < y.t; t++)
      for (int64_t h = 0; h < y.h; h++)
        for (int64_t w = 0; w < y.w; w++)
          *at(&y, o, t, h, w) =
              *at(&x, o % x.c, t, p * h + o / x.c / p, p * w + o / x.c % p);
  hand_out(call, "y", &y, 4);
}

/* Tokens of p x p latent pixels, row by row; features: channel, row, column (WS-CODEC-13). */
void patchify(const double *z, int64_t c, int64_t rows, int64_t cols, int64_t p, double *tokens,
              bool back) {
  for (int64_t i = 0; i < c; i++)
    for (int64_t h = 0; h < rows; h++)
      for (int64_t w = 0; w < cols; w++) {
        int64_t pixel = (i * rows + h) * cols + w, token = h / p * (cols / p) + w / p;
        int64_t feature = (token * c + i) * p * p + h % p * p + w % p;
        if (back) ((double *)z)[pixel] = tokens[feature];
        else tokens[feature] = z[pixel];
      }
}

static void to_patches(Call *call) {
  const Tensor *z = floats(call, "z", 3);
  int64_t p = integer(call, "patch"), c = z->shape[0], rows = z->shape[1], cols = z->shape[2];
  if (p < 1 || rows % p != 0 || cols % p != 0) refuse("z does not fit the patch");
  const int64_t shape[] = {rows / p * (cols / p), c * p * p};
  patchify(z->f, c, rows, cols, p, result(call, "tokens", call->real, 2, shape)->f, false);
}

static void from_patches(Call *call) {
  const Tensor *tokens = floats(call, "tokens", 2);
  int64_t p = integer(call, "patch"), rows = integer(call, "patch_rows"), n = tokens->shape[0];
  if (p < 1 || p > 4096 || rows < 1 || n % rows != 0 || tokens->shape[1] % (p * p) != 0)
    refuse("tokens do not fit the patch");
  const int64_t shape[] = {tokens->shape[1] / (p * p), rows * p, n / rows * p};
  Tensor *z = result(call, "z", call->real, 3, shape);
  patchify(z->f, shape[0], shape[1], shape[2], p, tokens->f, true);
}

/* Mean, and log-variance clamped to [-30, 20] (WS-CODEC-10). */
static void posterior(Call *call) {
  const Tensor *moments = given(call, "moments");
  if (moments->f == NULL || moments->dims < 1 || moments->shape[0] % 2 != 0) refuse("moments do not fit");
  int64_t shape[MAX_DIMS], half = moments->size / 2;
  memcpy(shape, moments->shape, sizeof shape);
  shape[0] /= 2;
  Tensor *mean = result(call, "mean", call->real, moments->dims, shape);
  Tensor *log_variance = result(call, "log_variance", call->real, moments->dims, shape);
  for (int64_t i = 0; i < half; i++) {
    mean->f[i] = moments->f[i];
    log_variance->f[i] = fmin(fmax(moments->f[half + i], -30), 20);
  }
}

typedef double Change(double x, double mu, double sigma);

static double mean_in(double x, double mu, double sigma) { return (x - mu) / sigma; }
static double variance_in(double x, double mu, double sigma) { return (void)mu, x - 2 * log(sigma); }
static double out_again(double x, double mu, double sigma) { return x * sigma + mu; }

/* `change` on every element, with the statistics of its channel (WS-CODEC-11). */
static void by_channel(Call *call, const char *name, Change *change) {
  const Tensor *x = given(call, name);
  if (x->f == NULL || x->dims < 1 || x->shape[0] < 1) refuse("%s does not fit", name);
  int64_t c = x->shape[0], points = x->size / c;
  const double *mu = shaped(call, "latent_mean", 1, SHAPE(c))->f;
  const double *sigma = shaped(call, "latent_std", 1, SHAPE(c))->f;
  Tensor *y = like(call, name, x);
  for (int64_t i = 0; i < x->size; i++) y->f[i] = change(x->f[i], mu[i / points], sigma[i / points]);
}

static void normalise(Call *call) {
  by_channel(call, "mean", mean_in);
  by_channel(call, "log_variance", variance_in);
}

static void denormalise(Call *call) { by_channel(call, "z", out_again); }

const Op CODEC_OPS[] = {
    {"codec.conv", conv},
    {"codec.channel_norm", channel_norm},
    {"codec.silu", silu_all},
    {"codec.residual", residual},
    {"codec.upsample", upsample},
    {"codec.space_to_depth", space_to_depth},
    {"codec.patchify", to_patches},
    {"codec.unpatchify", from_patches},
    {"codec.posterior", posterior},
    {"codec.normalise", normalise},
    {"codec.denormalise", denormalise},
    {NULL, NULL},
};
