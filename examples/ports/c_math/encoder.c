/* The audio front end: window, mel filters, log-mel frames (spec/encoder.md). */
#include <math.h>
#include <string.h>

#include "port.h"

static const double PI = 3.14159265358979323846, RATE = 16000;

static int64_t size_of(const Call *call, const char *name) {
  int64_t n = integer(call, name);
  if (n < 1 || n > 65536) refuse("%s: got %ld; allowed: 1 to 65536", name, (long)n);
  return n;
}

/* The periodic Hann window (WS-ENCODER-3). */
static void window_into(double *hann, int64_t n) {
  for (int64_t i = 0; i < n; i++) hann[i] = 0.5 - 0.5 * cos(2 * PI * (double)i / (double)n);
}

static void window(Call *call) {
  int64_t n = size_of(call, "window");
  window_into(result(call, "hann", call->real, 1, SHAPE(n))->f, n);
}

/* Triangles of peak 1 between edges equally spaced in mel (WS-ENCODER-4). */
static void filters_into(double *filters, int64_t mels, int64_t n) {
  double top = 2595 * log10(1 + 8000 / 700.0);
  double *edge = take((size_t)mels + 2, sizeof *edge);
  for (int64_t m = 0; m < mels + 2; m++)
    edge[m] = 700 * (pow(10, top * (double)m / (double)(mels + 1) / 2595) - 1);
  for (int64_t m = 0; m < mels; m++)
    for (int64_t j = 0; j <= n / 2; j++) {
      double f = (double)j * RATE / (double)n;
      double rise = (f - edge[m]) / (edge[m + 1] - edge[m]);
      double fall = (edge[m + 2] - f) / (edge[m + 2] - edge[m + 1]);
      filters[m * (n / 2 + 1) + j] = fmax(0, fmin(rise, fall));
    }
}

static void filters(Call *call) {
  int64_t mels = size_of(call, "mels"), n = size_of(call, "window");
  filters_into(result(call, "filters", call->real, 2, SHAPE(mels, n / 2 + 1))->f, mels, n);
}

/* Frames that end with their own hop, zeros before unit 0. A stream needs the last window - hop
 * samples of its past, which here are still in the whole signal, so the plan only has to be one
 * (WS-ENCODER-2, WS-ENCODER-5). */
static void log_mel(Call *call) {
  const Tensor *x = floats(call, "samples", 1);
  int64_t mels = size_of(call, "mels"), n = size_of(call, "window"), hop = size_of(call, "hop");
  int64_t planned = 0, chunks = length_of(call, "plan");
  for (int64_t i = 0; i < chunks; i++) {
    int64_t chunk = integer_at(call, "plan", i);
    if (chunk < 1 || chunk % hop != 0) refuse("chunk: got %ld; allowed: a multiple of %ld", (long)chunk, (long)hop);
    planned += chunk;
  }
  if (hop > n || x->size < 1 || x->size % hop != 0 || (chunks > 0 && planned != x->size))
    refuse("samples: got %ld; allowed: a positive multiple of %ld", (long)x->size, (long)hop);
  int64_t frames = x->size / hop, bins = n / 2 + 1;
  double *hann = take((size_t)n, sizeof *hann), *power = take((size_t)bins, sizeof *power);
  double *weights = take((size_t)(mels * bins), sizeof *weights);
  double *turn = take((size_t)(2 * n), sizeof *turn);
  window_into(hann, n);
  filters_into(weights, mels, n);
  for (int64_t i = 0; i < n; i++) {
    turn[2 * i] = cos(2 * PI * (double)i / (double)n);
    turn[2 * i + 1] = sin(2 * PI * (double)i / (double)n);
  }
  Tensor *out = result(call, "features", call->real, 2, SHAPE(mels, frames));
  for (int64_t f = 0; f < frames; f++) {
    int64_t start = (f + 1) * hop - n;
    for (int64_t j = 0; j < bins; j++) {
      double real = 0, imaginary = 0;
      for (int64_t i = start < 0 ? -start : 0; i < n; i++) {
        double sample = x->f[start + i] * hann[i];
        real += sample * turn[2 * (i * j % n)];
        imaginary += sample * turn[2 * (i * j % n) + 1];
      }
      power[j] = real * real + imaginary * imaginary;
    }
    for (int64_t m = 0; m < mels; m++) {
      double total = 0;
      for (int64_t j = 0; j < bins; j++) total += weights[m * bins + j] * power[j];
      out->f[m * frames + f] = (log10(fmax(total, 1e-10)) + 4) / 4;
    }
  }
}

const Op ENCODER_OPS[] = {
    {"encoder.hann", window}, {"encoder.mel_filters", filters}, {"encoder.log_mel", log_mel},
    {NULL, NULL},
};
