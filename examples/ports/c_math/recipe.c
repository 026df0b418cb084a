/* The integer recipe: words, numbers, weights and their digest (spec/recipe.md). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

/* Word n of the stream called `name` (WS-RECIPE-1). */
uint64_t recipe_word(const char *name, size_t length, uint64_t n) {
  uint8_t digest[32];
  Sha256 sha;
  sha256_start(&sha);
  sha256_add(&sha, name, length);
  sha256_end(&sha, digest);
  uint64_t z = 0;
  for (int i = 7; i >= 0; i--) z = z << 8 | digest[i];
  z += (n + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

/* (-1, 1) in 24 bits (WS-RECIPE-2). */
static double uniform(const char *name, size_t length, uint64_t i) {
  int64_t top = (int64_t)(recipe_word(name, length, i) >> 40);
  return (double)(2 * top + 1 - (1 << 24)) / (1 << 24);
}

/* Twelve lanes of three words, less their mean (WS-RECIPE-4). */
static double gaussian(const char *name, size_t length, uint64_t i) {
  int64_t total = 0;
  for (uint64_t j = 0; j < 3; j++) {
    uint64_t word = recipe_word(name, length, 3 * i + j);
    for (int lane = 0; lane < 64; lane += 16) total += word >> lane & 0xFFFF;
  }
  return (double)(total - 6 * 65535) / (1 << 16);
}

static void stream(Call *call, Tensor *out, double (*element)(const char *, size_t, uint64_t)) {
  const Json *name = argument(call, "name");
  string(call, "name");
  for (int64_t i = 0; i < out->size; i++) {
    uint64_t n = (uint64_t)(integer(call, "start") + i);
    if (element == NULL) out->i[i] = (int64_t)recipe_word(name->text, name->length, n);
    else out->f[i] = element(name->text, name->length, n);
  }
}

static void words(Call *call) {
  stream(call, result(call, "words", U64, 1, SHAPE(integer(call, "count"))), NULL);
}

static void uniforms(Call *call) {
  stream(call, result(call, "values", F64, 1, SHAPE(integer(call, "count"))), uniform);
}

static void gaussians(Call *call) {
  stream(call, result(call, "values", F64, 1, SHAPE(integer(call, "count"))), gaussian);
}

static bool ends(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

/* norm, norm1, norm2, ... and then .weight */
static bool is_norm(const char *name) {
  if (!ends(name, ".weight")) return false;
  const char *stop = name + strlen(name) - strlen(".weight");
  while (stop > name && stop[-1] >= '0' && stop[-1] <= '9') stop--;
  return stop - name >= 4 && strncmp(stop - 4, "norm", 4) == 0;
}

/* Kind, gain and center of the first rule that fits (WS-RECIPE-3). */
static bool rule(const char *name, double *gain, double *center) {
  static const struct {
    const char *ends[2];
    double gain, center;
    bool uniform;
  } rules[] = {
      {{"latent_std", NULL}, 0.25, 1.0, false},
      {{"latent_mean", NULL}, 0.25, 0.0, false},
      {{".q_norm.weight", ".k_norm.weight"}, 0.25, 1.5, false},
      {{NULL, NULL}, 0.25, 1.0, false}, /* is_norm */
      {{".bias", NULL}, 0.125, 0.0, false},
      {{"segment_embedding", NULL}, 0.5, 0.0, false},
      {{"embedding", "embed_tokens.weight"}, 1.5, 0.0, false},
      {{"lm_head.weight", NULL}, 4.0, 0.0, true},
      {{".q_proj.weight", ".k_proj.weight"}, 1.5, 0.0, true},
      {{"decoder.head.weight", NULL}, 0.5, 0.0, true},
      {{"velocity_head.weight", NULL}, 1.0, 0.0, true},
      {{"weight", NULL}, 1.0, 0.0, true},
  };
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    bool fits = i == 3 && is_norm(name);
    for (int k = 0; k < 2; k++) fits |= rules[i].ends[k] != NULL && ends(name, rules[i].ends[k]);
    *gain = rules[i].gain;
    *center = rules[i].center;
    if (fits) return rules[i].uniform;
  }
  refuse("weight name: got %.100s; allowed: one that a rule of WS-RECIPE-3 matches", name);
}

static Tensor *filled(Call *call, const char *name, const char *list) {
  int64_t shape[MAX_DIMS], dims = length_of(call, list);
  if (dims > MAX_DIMS) refuse("%s: too many axes", call->op);
  for (int64_t d = 0; d < dims; d++) shape[d] = integer_at(call, list, d);
  return result(call, name, call->real, (int)dims, shape);
}

/* One rounding an operation, then float32, then the dtype (WS-RECIPE-5, WS-RECIPE-6). */
static void weight(Call *call) {
  const char *name = string(call, "name");
  Tensor *out = filled(call, "weight", "shape");
  char full[300];
  int length = snprintf(full, sizeof full, "weights/%.250s", name);
  double gain, center, fan_in = 1;
  bool scaled = rule(name, &gain, &center);
  for (int d = 1; d < out->dims; d++) fan_in *= (double)out->shape[d];
  double bound = scaled ? sqrt(3.0 / fan_in) * gain : gain;
  for (int64_t i = 0; i < out->size; i++)
    out->f[i] = (float)(center + bound * uniform(full, (size_t)length, (uint64_t)i));
}

static void noise(Call *call) {
  char name[200];
  int length = snprintf(name, sizeof name, "noise/%lld/%lld/%.50s", (long long)integer(call, "seed"),
                        (long long)integer(call, "unit"), string(call, "modality"));
  Tensor *out = filled(call, "noise", "shape");
  for (int64_t i = 0; i < out->size; i++) out->f[i] = gaussian(name, (size_t)length, (uint64_t)i);
}

/* 53 bits in [0, 1) (WS-RECIPE-8). */
static void text_numbers(Call *call) {
  char name[100];
  int length = snprintf(name, sizeof name, "text/%lld/%lld", (long long)integer(call, "seed"),
                        (long long)integer(call, "unit"));
  Tensor *out = result(call, "u", F64, 1, SHAPE(integer(call, "slots")));
  for (int64_t i = 0; i < out->size; i++)
    out->f[i] = (double)(recipe_word(name, (size_t)length, (uint64_t)i) >> 11) / 9007199254740992.0;
}

typedef struct {
  const Json *name;
  const Tensor *weight;
} Named;

static int by_name(const void *a, const void *b) {
  /* UTF-8 in the order of its bytes is in the order of code points. */
  return strcmp(((const Named *)a)->name->text, ((const Named *)b)->name->text);
}

/* Name, shape and little-endian binary32 of every weight, by name (WS-RECIPE-7). */
static void digest(Call *call) {
  int64_t n = length_of(call, "names");
  Named *all = take((size_t)n + 1, sizeof *all);
  for (int64_t i = 0; i < n; i++) {
    char key[30];
    snprintf(key, sizeof key, "%lld", (long long)i);
    all[i] = (Named){json_item(argument(call, "names"), i), given(call, key)};
    if (all[i].name->kind != JSON_STRING || all[i].weight->f == NULL) refuse("names: not all texts");
  }
  qsort(all, (size_t)n, sizeof *all, by_name);
  Sha256 sha;
  uint8_t sum[32];
  sha256_start(&sha);
  for (int64_t i = 0; i < n; i++) {
    const Tensor *t = all[i].weight;
    Text line = {0};
    text_add(&line, all[i].name->text, all[i].name->length);
    text_add(&line, "\n", 1);
    for (int d = 0; d < t->dims; d++) text_format(&line, "%s%lld", d ? "," : "", (long long)t->shape[d]);
    text_add(&line, "\n", 1);
    sha256_add(&sha, line.data, line.length);
    for (int64_t k = 0; k < t->size; k++) {
      float x = (float)t->f[k];
      uint32_t bits;
      memcpy(&bits, &x, 4);
      uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                          (uint8_t)(bits >> 24)};
      sha256_add(&sha, bytes, 4);
    }
  }
  sha256_end(&sha, sum);
  bytes_result(call, "sha256", sum, 32);
}

const Op RECIPE_OPS[] = {
    {"recipe.words", words},   {"recipe.uniform", uniforms}, {"recipe.gaussian", gaussians},
    {"recipe.weight", weight}, {"recipe.noise", noise},      {"recipe.text_numbers", text_numbers},
    {"recipe.digest", digest}, {NULL, NULL},
};
