/* The ways into the Transformer and the heads out of it (spec/model.md, spec/prefill.md). */
#include <stdio.h>
#include <string.h>

#include "port.h"

/* Rows of the segment embedding (WS-MODEL-2). */
enum { P_TEXT, O_VIDEO, O_AUDIO, O_TEXT, L_STATE, L_TEXT, Z_AUDIO, Z_VIDEO, SEGMENTS };

static const double *row_of(const Call *call, const char *name, int64_t row) {
  const Tensor *t = floats(call, name, 2);
  if (row < 0 || row >= t->shape[0]) refuse("%s: no row %ld", name, (long)row);
  return t->f + row * t->shape[1];
}

static int64_t width(const Call *call) { return floats(call, "segment_embedding", 2)->shape[1]; }

static void add_row(double *x, int64_t n, int64_t d, const double *row) {
  for (int64_t i = 0; i < n * d; i++) x[i] += row[i % d];
}

/* x [n, in] through the layer `name`, into y [n, out]. */
static void through(const Call *call, const char *name, const double *x, int64_t n, int64_t in,
                    int64_t out, double *y) {
  char weight[100], bias[100];
  snprintf(weight, sizeof weight, "%s.weight", name);
  snprintf(bias, sizeof bias, "%s.bias", name);
  linear(x, n, in, shaped(call, weight, 2, SHAPE(out, in))->f, shaped(call, bias, 1, SHAPE(out))->f, out, y);
}

static void look_up(const Call *call, const char *list, int64_t segment, double *y) {
  int64_t n = length_of(call, list), d = width(call);
  for (int64_t i = 0; i < n; i++)
    memcpy(y + i * d, row_of(call, "embed_tokens.weight", integer_at(call, list, i)),
           (size_t)d * sizeof *y);
  add_row(y, n, d, row_of(call, "segment_embedding", segment));
}

/* Video, audio, text of O (WS-MODEL-2). */
static void observation(Call *call) {
  static const struct {
    const char *signal, *layer;
    int64_t segment;
  } ways[] = {{"video", "user_video_proj", O_VIDEO}, {"audio", "user_audio_proj", O_AUDIO}};
  int64_t d = width(call), n = length_of(call, "text"), at = 0;
  for (int w = 0; w < 2; w++)
    if (has(call, ways[w].signal)) n += floats(call, ways[w].signal, 2)->shape[0];
  Tensor *x = result(call, "x", call->real, 2, SHAPE(n, d));
  for (int w = 0; w < 2; w++) {
    if (!has(call, ways[w].signal)) continue;
    const Tensor *signal = floats(call, ways[w].signal, 2);
    through(call, ways[w].layer, signal->f, signal->shape[0], signal->shape[1], d, x->f + at * d);
    add_row(x->f + at * d, signal->shape[0], d, row_of(call, "segment_embedding", ways[w].segment));
    at += signal->shape[0];
  }
  look_up(call, "text", O_TEXT, x->f + at * d);
}

/* State slots, agent text, prefill text (WS-MODEL-2). */
static void language(Call *call) {
  int64_t d = width(call);
  const Tensor *states = floats(call, "state_embedding", 2);
  if (states->shape[1] != d) refuse("state_embedding and segment_embedding do not fit");
  Tensor *state = like(call, "state", states);
  memcpy(state->f, states->f, (size_t)states->size * sizeof *state->f);
  add_row(state->f, states->shape[0], d, row_of(call, "segment_embedding", L_STATE));
  Tensor *text = result(call, "text", call->real, 2, SHAPE(length_of(call, "text"), d));
  look_up(call, "text", L_TEXT, text->f);
  Tensor *prefill = result(call, "prefill", call->real, 2, SHAPE(length_of(call, "prefill"), d));
  look_up(call, "prefill", P_TEXT, prefill->f);
}

/* Add W_2 silu(W_1 f(tau) + b_1) + b_2 to one token (WS-FLOW-5). */
static void add_tau(const Call *call, double tau, double *x) {
  int64_t dim = integer(call, "tau_dim"), d = width(call);
  if (dim < 2 || dim > 65536) refuse("tau_dim: got %ld", (long)dim);
  double *f = take((size_t)dim, sizeof *f), *inner = take((size_t)d, sizeof *inner);
  double *y = take((size_t)d, sizeof *y);
  tau_features(tau, dim, f);
  through(call, "tau_embedding.in_proj", f, 1, dim, d, inner);
  for (int64_t i = 0; i < d; i++) inner[i] = silu(inner[i]);
  through(call, "tau_embedding.out_proj", inner, 1, d, d, y);
  add_row(x, 1, d, y);
}

/* Response tokens, audio then video (WS-MODEL-3); identity tokens, picture then voice
 * (WS-PREFILL-4). */
static void response(Call *call) {
  const Tensor *audio = floats(call, "audio", 2), *video = floats(call, "video", 3);
  bool identity = strcmp(string(call, "segment"), "P") == 0;
  int64_t d = width(call), p = integer(call, "patch"), n_audio = audio->shape[0];
  if (p < 1 || video->shape[1] % p != 0 || video->shape[2] % p != 0) refuse("patch does not fit");
  int64_t n_video = video->shape[1] / p * (video->shape[2] / p), n = n_audio + n_video;
  int64_t features = video->shape[0] * p * p;
  double *tokens = take((size_t)video->size + 1, sizeof *tokens);
  patchify(video->f, video->shape[0], video->shape[1], video->shape[2], p, tokens, false);
  Tensor *x = result(call, "x", call->real, 2, SHAPE(n, d));
  double *sound = x->f + (identity ? n_video * d : 0), *picture = x->f + (identity ? 0 : n_audio * d);
  const char *rows = identity ? "identity_segment_embedding" : "segment_embedding";
  through(call, "audio_latent_proj", audio->f, n_audio, audio->shape[1], d, sound);
  add_row(sound, n_audio, d, row_of(call, rows, identity ? 1 : Z_AUDIO));
  through(call, "video_latent_proj", tokens, n_video, features, d, picture);
  add_row(picture, n_video, d, row_of(call, rows, identity ? 0 : Z_VIDEO));
  const Tensor *tau = identity ? NULL : shaped(call, "tau", 1, SHAPE(n));
  for (int64_t i = 0; i < n; i++) add_tau(call, identity ? 0 : tau->f[i], x->f + i * d);
}

/* Velocity of the audio rows, then of the video rows, unpatched (WS-MODEL-5). */
static void velocity(Call *call) {
  const Tensor *hidden = floats(call, "hidden", 2);
  int64_t n = hidden->shape[0], d = hidden->shape[1], n_audio = integer(call, "audio_tokens");
  int64_t p = integer(call, "patch"), rows = integer(call, "patch_rows"), n_video = n - n_audio;
  int64_t c_audio = floats(call, "audio_velocity_head.weight", 2)->shape[0];
  int64_t features = floats(call, "video_velocity_head.weight", 2)->shape[0];
  if (n_audio < 0 || n_video < 1 || p < 1 || p > 4096 || rows < 1 || n_video % rows != 0 ||
      features % (p * p) != 0)
    refuse("hidden states and patches do not fit");
  int64_t c = features / (p * p), cols = n_video / rows;
  Tensor *audio = result(call, "audio", call->real, 2, SHAPE(n_audio, c_audio));
  through(call, "audio_velocity_head", hidden->f, n_audio, d, c_audio, audio->f);
  double *tokens = take((size_t)(n_video * features), sizeof *tokens);
  through(call, "video_velocity_head", hidden->f + n_audio * d, n_video, d, features, tokens);
  Tensor *video = result(call, "video", call->real, 3, SHAPE(c, rows * p, cols * p));
  patchify(video->f, c, rows * p, cols * p, p, tokens, true);
}

/* WS-MODEL-4. */
static void logits(Call *call) {
  const Tensor *hidden = floats(call, "hidden", 2), *head = floats(call, "lm_head.weight", 2);
  if (hidden->shape[1] != head->shape[1]) refuse("hidden and lm_head.weight do not fit");
  Tensor *y = result(call, "logits", call->real, 2, SHAPE(hidden->shape[0], head->shape[0]));
  linear(hidden->f, hidden->shape[0], hidden->shape[1], head->f, NULL, head->shape[0], y->f);
}

const Op MODEL_OPS[] = {
    {"model.embed_observation", observation}, {"model.embed_language", language},
    {"model.embed_response", response},       {"model.velocity", velocity},
    {"model.logits", logits},                 {NULL, NULL},
};
