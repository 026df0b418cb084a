/* Pixels, samples, the frame a tick shows, fitted sizes, resampling (spec/media.md). */
#include <math.h>
#include <string.h>

#include "port.h"

static const int64_t TICK_NS = 40000000, TARGET_HZ = 16000;
static const double PI = 3.14159265358979323846;

static int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; } /* a / b, rounded up; a >= 0 */

/* x / 127.5 - 1 in float (WS-MEDIA-5). */
static void to_signal(Call *call) {
  const Tensor *pixels = integers(call, "pixels", 4);
  int64_t n = pixels->shape[0], h = pixels->shape[1], w = pixels->shape[2], c = pixels->shape[3];
  Tensor *video = result(call, "video", F32, 4, SHAPE(n, c, h, w));
  for (int64_t i = 0; i < pixels->size; i++) {
    int64_t frame = i / (h * w * c), point = i / c % (h * w), channel = i % c;
    video->f[(frame * c + channel) * h * w + point] = (float)pixels->i[i] / 127.5f - 1.0f;
  }
}

/* round((clip(x) + 1) 127.5), ties to even (WS-MEDIA-14). */
static void to_pixels(Call *call) {
  const Tensor *video = floats(call, "video", 4);
  int64_t n = video->shape[0], c = video->shape[1], h = video->shape[2], w = video->shape[3];
  Tensor *pixels = result(call, "pixels", U8, 4, SHAPE(n, h, w, c));
  for (int64_t i = 0; i < video->size; i++) {
    int64_t frame = i / (c * h * w), channel = i / (h * w) % c, point = i % (h * w);
    double x = fmin(fmax(video->f[i], -1), 1);
    pixels->i[(frame * h * w + point) * c + channel] = (int64_t)nearbyint((x + 1) * 127.5);
  }
}

static void to_samples(Call *call) {
  const Tensor *audio = floats(call, "audio", 1);
  Tensor *samples = result(call, "samples", F32, 1, audio->shape);
  for (int64_t i = 0; i < audio->size; i++) samples->f[i] = fmin(fmax(audio->f[i], -1), 1);
}

/* The last frame that has begun by the middle of each tick (WS-MEDIA-2, WS-MEDIA-3). */
static void shown(Call *call) {
  const Tensor *start = integers(call, "start_ns", 1), *end = integers(call, "end_ns", 1);
  int64_t newest = 0, stop = 0, last = -1;
  if (end->size != start->size) refuse("start_ns and end_ns do not fit");
  bool *kept = take((size_t)start->size + 1, sizeof *kept);
  for (int64_t i = 0; i < start->size; i++) {
    kept[i] = start->i[i] >= newest;
    if (!kept[i]) continue;
    newest = start->i[i];
    stop = end->i[i];
  }
  int64_t ticks = stop <= TICK_NS / 2 ? 0 : up(stop - TICK_NS / 2, TICK_NS), next = 0;
  Tensor *frames = result(call, "frames", I64, 1, SHAPE(ticks));
  for (int64_t n = 0; n < ticks; n++) {
    for (; next < start->size && (!kept[next] || start->i[next] <= n * TICK_NS + TICK_NS / 2); next++)
      if (kept[next]) last = next;
    frames->i[n] = last;
  }
}

/* a / b to the nearest integer, halves up, at least 1. */
static int64_t side(int64_t a, int64_t b) {
  int64_t rounded = (2 * a + b) / (2 * b);
  return rounded < 1 ? 1 : rounded;
}

/* WS-MEDIA-4. */
static void fitted_size(Call *call) {
  int64_t across = integer(call, "width") * integer_at(call, "aspect", 0);
  int64_t down = integer(call, "height") * integer_at(call, "aspect", 1);
  int64_t w = integer(call, "frame_width"), h = integer(call, "frame_height");
  if (across < 1 || down < 1 || w < 1 || h < 1) refuse("sizes are positive");
  Tensor *size = result(call, "size", I64, 1, SHAPE(2));
  bool wide = across * h >= w * down;
  size->i[0] = wide ? w : side(across * h, down);
  size->i[1] = wide ? side(w * down, across) : h;
}

/* The Hann-windowed sinc of six zero crossings. */
static double kernel(double t) {
  double c = cos(PI * t / 12);
  return t == 0 ? 1 : sin(PI * t) / (PI * t) * c * c;
}

/* (B / F) sum x[m] h(B (m / F - (n - D) / G)), positions in integers (WS-MEDIA-6, WS-MEDIA-7). */
static void resample(Call *call) {
  const Tensor *x = floats(call, "x", 1);
  int64_t rate = integer(call, "rate"), planned = 0, pieces = length_of(call, "plan");
  for (int64_t i = 0; i < pieces; i++) planned += integer_at(call, "plan", i);
  if (rate < 4000 || rate > 768000 || (pieces > 0 && planned != x->size)) refuse("rate or plan do not fit");
  int64_t cutoff = 99 * (rate < TARGET_HZ ? rate : TARGET_HZ); /* hundredths of a hertz */
  int64_t delay = up(600 * TARGET_HZ, cutoff), reach = up(600 * rate, cutoff);
  Tensor *y = result(call, "y", F64, 1, SHAPE(up(x->size * TARGET_HZ, rate)));
  for (int64_t n = 0; n < y->size; n++) {
    if (rate == TARGET_HZ) {
      y->f[n] = x->f[n];
      continue;
    }
    int64_t place = (n - delay) * rate, first = place / TARGET_HZ - reach - 1; /* in 1 / G samples */
    for (int64_t m = first < 0 ? 0 : first; m < x->size && m <= first + 2 * reach + 2; m++) {
      int64_t offset = m * TARGET_HZ - place;
      double t = (double)(offset * cutoff) / (100.0 * (double)rate * (double)TARGET_HZ);
      if (fabs(t) < 6) y->f[n] += x->f[m] * (double)cutoff / (100.0 * (double)rate) * kernel(t);
    }
  }
}

const Op MEDIA_OPS[] = {
    {"media.to_signal", to_signal}, {"media.to_pixels", to_pixels},
    {"media.to_samples", to_samples}, {"media.shown", shown},
    {"media.fitted_size", fitted_size}, {"media.resample", resample},
    {NULL, NULL},
};
