/* Bytes and counts that cross between the roles (spec/streaming.md, spec/exchange.md). */
#include <stdlib.h>
#include <string.h>

#include "port.h"

static void put(Text *out, uint64_t bits, size_t size) {
  for (size_t i = 0; i < size; i++) text_add(out, (char[]){(char)(bits >> 8 * i)}, 1);
}

/* `n` numbers from `at` on, little-endian, in the dtype of the session. */
static void numbers(const Call *call, Text *out, const Tensor *t, int64_t at, int64_t n) {
  for (int64_t i = at; i < at + n; i++) {
    uint64_t bits = 0;
    if (t->i != NULL) {
      put(out, (uint64_t)t->i[i], 8);
    } else if (call->real == F64) {
      memcpy(&bits, t->f + i, 8);
      put(out, bits, 8);
    } else {
      float x = (float)t->f[i];
      uint32_t narrow;
      memcpy(&narrow, &x, 4);
      put(out, narrow, 4);
    }
  }
}

static void digest_of(Call *call, const Text *bytes) {
  uint8_t sum[32];
  Sha256 sha;
  sha256_start(&sha);
  sha256_add(&sha, bytes->data, bytes->length);
  sha256_end(&sha, sum);
  bytes_result(call, "sha256", sum, 32);
}

enum { ROW = 8 };
typedef struct {
  const int64_t *row;
  int64_t index;
} Entry;

static int canonical(const void *a, const void *b) {
  const int64_t *x = ((const Entry *)a)->row, *y = ((const Entry *)b)->row;
  static const int columns[] = {0, 1, 3}; /* unit, segment, slot */
  for (int c = 0; c < 3; c++)
    if (x[columns[c]] != y[columns[c]]) return x[columns[c]] < y[columns[c]] ? -1 : 1;
  return 0;
}

/* rows [n, 8], keys and values [layers, heads, n, d] of a request. */
static const Tensor *cache(const Call *call, const Tensor **keys, const Tensor **values) {
  const Tensor *rows = integers(call, "rows", 2);
  *keys = floats(call, "keys", 4);
  *values = shaped(call, "values", 4, (*keys)->shape);
  if (rows->shape[1] != ROW || (*keys)->shape[2] != rows->shape[0]) refuse("rows, keys and values do not fit");
  return rows;
}

/* WS-STREAMING-6. */
static void kv_digest(Call *call) {
  const Tensor *keys, *values, *rows = cache(call, &keys, &values), *both[2] = {keys, values};
  Entry *kept = take((size_t)rows->shape[0] + 1, sizeof *kept);
  int64_t n = 0, d = keys->shape[3], up_to = integer(call, "up_to_unit");
  for (int64_t i = 0; i < rows->shape[0]; i++)
    if (rows->i[i * ROW] <= up_to) kept[n++] = (Entry){rows->i + i * ROW, i};
  qsort(kept, (size_t)n, sizeof *kept, canonical);
  Text bytes = {0};
  for (int64_t i = 0; i < n; i++) numbers(call, &bytes, rows, kept[i].index * ROW, ROW);
  for (int t = 0; t < 2; t++)
    for (int64_t head = 0; head < keys->shape[0] * keys->shape[1]; head++)
      for (int64_t i = 0; i < n; i++)
        numbers(call, &bytes, both[t], (head * rows->shape[0] + kept[i].index) * d, d);
  digest_of(call, &bytes);
}

/* WS-STREAMING-12. */
static void output_digest(Call *call) {
  static const char *const names[] = {"audio", "video"};
  Text bytes = {0};
  int64_t k = 0, units = length_of(call, "text");
  for (const Json *text = argument(call, "text")->first; text != NULL; text = text->next, k++) {
    for (const Json *id = text->first; id != NULL; id = id->next) put(&bytes, (uint64_t)id->integer, 8);
    for (int m = 0; m < 2; m++) {
      if (!has(call, names[m])) continue;
      const Tensor *t = given(call, names[m]);
      if (t->f == NULL || t->dims < 1 || t->shape[0] != units) refuse("%s does not fit the units", names[m]);
      numbers(call, &bytes, t, k * (t->size / units), t->size / units);
    }
  }
  digest_of(call, &bytes);
}

/* Rows, keys, values of some layers and heads (WS-EXCHANGE-4). */
static void slice_payload(Call *call) {
  const Tensor *keys, *values, *rows = cache(call, &keys, &values), *both[2] = {keys, values};
  int64_t from[2], to[2], block = rows->shape[0] * keys->shape[3];
  static const char *const ranges[] = {"layers", "heads"};
  for (int r = 0; r < 2; r++) {
    from[r] = integer_at(call, ranges[r], 0);
    to[r] = integer_at(call, ranges[r], 1);
    if (from[r] < 0 || to[r] > keys->shape[r] || from[r] > to[r]) refuse("%s do not fit", ranges[r]);
  }
  Text bytes = {0};
  numbers(call, &bytes, rows, 0, rows->size);
  for (int t = 0; t < 2; t++)
    for (int64_t layer = from[0]; layer < to[0]; layer++)
      for (int64_t head = from[1]; head < to[1]; head++)
        numbers(call, &bytes, both[t], (layer * keys->shape[1] + head) * block, block);
  bytes_result(call, "payload", bytes.data, bytes.length);
}

static void latents_payload(Call *call) {
  static const char *const names[] = {"audio", "video"};
  Text bytes = {0};
  for (int m = 0; m < 2; m++)
    if (has(call, names[m])) {
      const Tensor *t = floats(call, names[m], 2 + m);
      numbers(call, &bytes, t, 0, t->size);
    }
  bytes_result(call, "payload", bytes.data, bytes.length);
}

typedef struct {
  int64_t at[4];
  const char *digest;
} Part;

static int ascending(const void *a, const void *b) {
  const Part *x = a, *y = b;
  for (int i = 0; i < 4; i++)
    if (x->at[i] != y->at[i]) return x->at[i] < y->at[i] ? -1 : 1;
  return strcmp(x->digest, y->digest);
}

/* One line a part, in ascending order (WS-EXCHANGE-5). */
static void slice_digest(Call *call) {
  int64_t n = length_of(call, "parts"), k = 0;
  Part *parts = take((size_t)n + 1, sizeof *parts);
  for (const Json *part = argument(call, "parts")->first; part != NULL; part = part->next, k++) {
    const Json *layers = json_member(part, "layers"), *heads = json_member(part, "heads");
    const Json *digest = json_member(part, "digest");
    for (int i = 0; i < 4; i++) {
      const Json *edge = json_item(i < 2 ? layers : heads, i % 2);
      if (edge == NULL || !edge->whole) refuse("a part has no ranges");
      parts[k].at[i] = edge->integer;
    }
    if (digest == NULL || digest->kind != JSON_STRING || strlen(digest->text) > 64) refuse("a part has no digest");
    parts[k].digest = digest->text;
  }
  qsort(parts, (size_t)n, sizeof *parts, ascending);
  Text lines = {0};
  for (k = 0; k < n; k++)
    text_format(&lines, "%lld %lld %lld %lld %s\n", (long long)parts[k].at[0], (long long)parts[k].at[1],
                (long long)parts[k].at[2], (long long)parts[k].at[3], parts[k].digest);
  digest_of(call, &lines);
}

/* Segments, lengths and bytes of a slice (WS-EXCHANGE-3, WS-EXCHANGE-4). */
static void header(Call *call) {
  enum { P, O, L, Z };
  static const char *const names[] = {"P", "O", "L", "Z"};
  int64_t tokens[4], segments[4][2], count = 0, total = 0, counted = 0, k = integer(call, "unit");
  for (int s = 0; s < 4; s++) {
    const Json *n = json_member(argument(call, "tokens"), names[s]);
    if (n == NULL || !n->whole) refuse("tokens: no %s", names[s]);
    tokens[s] = n->integer;
  }
  bool sequential = strcmp(string(call, "schedule"), "sequential") == 0;
  int64_t units = truth(call, "snapshot") ? k + 1 : 1;
  int64_t responses = truth(call, "snapshot") ? (sequential ? k : k + 1) : sequential && k > 0;
#define ADD(segment, times) (segments[count][0] = segment, segments[count++][1] = (times) * tokens[segment])
  if (truth(call, "snapshot")) ADD(P, 1);
  else if (responses > 0) ADD(Z, 1);
  if (k >= 0) {
    ADD(O, units);
    ADD(L, units);
    if (truth(call, "snapshot")) ADD(Z, responses);
  }
#undef ADD
  for (int64_t s = 0; s < count; s++) {
    total += segments[s][1];
    if (segments[s][0] != Z || sequential) counted += segments[s][1];
  }
  int64_t after = tokens[P] + (k + 1) * (tokens[O] + tokens[L]) + (sequential && k > 0 ? k * tokens[Z] : 0);
  int64_t layers = integer_at(call, "layers", 1) - integer_at(call, "layers", 0);
  int64_t heads = integer_at(call, "heads", 1) - integer_at(call, "heads", 0);
  const char *dtype = string(call, "dtype");
  int64_t size = strcmp(dtype, "float64") == 0 ? 8 : strcmp(dtype, "float32") == 0 ? 4 : 2;
  memcpy(result(call, "segments", I64, 2, SHAPE(count, 2))->i, segments, (size_t)count * sizeof *segments);
  memcpy(result(call, "lengths", I64, 1, SHAPE(3))->i, SHAPE(total, after - counted, after), 3 * sizeof(int64_t));
  result(call, "byte_count", I64, 0, NULL)->i[0] =
      total * ROW * 8 + 2 * layers * heads * total * integer(call, "head_dim") * size;
}

/* SHA-256 in hex, a space, canonical JSON, a line feed (WS-EXCHANGE-14). */
static void line(Call *call) {
  Text json = {0}, out = {0};
  text_canonical(&json, argument(call, "message"));
  uint8_t sum[32];
  char hex[65];
  Sha256 sha;
  sha256_start(&sha);
  sha256_add(&sha, json.data, json.length);
  sha256_end(&sha, sum);
  hex_of(sum, hex);
  text_format(&out, "%s ", hex);
  text_add(&out, json.data, json.length);
  text_add(&out, "\n", 1);
  bytes_result(call, "line", out.data, out.length);
}

const Op EXCHANGE_OPS[] = {
    {"streaming.kv_digest", kv_digest},
    {"streaming.output_digest", output_digest},
    {"exchange.slice_payload", slice_payload},
    {"exchange.latents_payload", latents_payload},
    {"exchange.slice_digest", slice_digest},
    {"exchange.header", header},
    {"exchange.line", line},
    {NULL, NULL},
};
