/* Text: tokens from logits, the queue of what was typed, the bytes tokenizer (spec/text.md). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

enum { BYTES = 256, EOS = 257, WAIT = 258, VOCABULARY = 263, BUDGET = 4096 };

/* The largest logit, the lowest id among equals (WS-STREAMING-7). */
static int64_t largest(const double *logits, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

static void greedy(Call *call) {
  const Tensor *logits = floats(call, "logits", 2);
  Tensor *ids = result(call, "ids", I64, 1, logits->shape);
  if (logits->shape[1] < 1) refuse("logits of an empty vocabulary");
  for (int64_t i = 0; i < ids->size; i++) ids->i[i] = largest(logits->f + i * logits->shape[1], logits->shape[1]);
}

typedef struct {
  double logit, p;
  int64_t id;
} Candidate;

static int likelier(const void *a, const void *b) {
  const Candidate *x = a, *y = b;
  if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
  return x->id < y->id ? -1 : 1;
}

/* What may be drawn, the likeliest first (WS-TEXT-2). */
static int64_t choose(const Call *call, const Tensor *logits, Candidate **found) {
  int64_t n = logits->size, top_k = integer(call, "top_k");
  double temperature = number(call, "temperature"), top_p = number(call, "top_p"), total = 0;
  if (n < 1 || temperature <= 0 || top_k < 0 || !(top_p > 0 && top_p <= 1)) refuse("sampling does not fit");
  Candidate *all = *found = take((size_t)n, sizeof *all);
  for (int64_t i = 0; i < n; i++) all[i] = (Candidate){logits->f[i], 0, i};
  qsort(all, (size_t)n, sizeof *all, likelier);
  if (top_k > 0 && top_k < n) n = top_k;
  for (int64_t i = 0; i < n; i++) total += all[i].p = exp((all[i].logit - all[0].logit) / temperature);
  for (int64_t i = 0; i < n; i++) all[i].p /= total;
  if (top_p < 1) {
    int64_t kept = 0;
    for (double sum = 0; kept < n && sum < top_p; kept++) sum += all[kept].p;
    n = kept;
  }
  total = 0;
  for (int64_t i = 0; i < n; i++) total += all[i].p;
  for (int64_t i = 0; i < n; i++) all[i].p /= total;
  return n;
}

static void candidates(Call *call) {
  Candidate *all;
  int64_t n = choose(call, floats(call, "logits", 1), &all);
  Tensor *ids = result(call, "ids", I64, 1, SHAPE(n)), *p = result(call, "p", F64, 1, SHAPE(n));
  for (int64_t i = 0; i < n; i++) {
    ids->i[i] = all[i].id;
    p->f[i] = all[i].p;
  }
}

/* The first whose cumulative probability exceeds u times the sum (WS-TEXT-3). */
static int64_t drawn(const Candidate *all, int64_t n, double u) {
  double total = 0, sum = 0;
  for (int64_t i = 0; i < n; i++) total += all[i].p;
  for (int64_t i = 0; i < n; i++)
    if ((sum += all[i].p) > u * total) return all[i].id;
  return all[n - 1].id;
}

static void draw(Call *call) {
  const Tensor *u = floats(call, "u", 1);
  Candidate *all;
  int64_t n = choose(call, floats(call, "logits", 1), &all);
  Tensor *ids = result(call, "ids", I64, 1, u->shape);
  for (int64_t i = 0; i < u->size; i++) ids->i[i] = drawn(all, n, u->f[i]);
}

/* The token of the slot after those said (WS-TEXT-1, WS-TEXT-6). */
static void next(Call *call) {
  const Tensor *logits = floats(call, "logits", 1), *u = floats(call, "u", 1);
  int64_t slot = length_of(call, "said");
  Tensor *ids = result(call, "ids", I64, 1, SHAPE(1));
  for (int64_t i = 0; i < slot; i++)
    if (integer_at(call, "said", i) == EOS) {
      ids->i[0] = WAIT;
      return;
    }
  if (number(call, "temperature") == 0) {
    ids->i[0] = largest(logits->f, logits->size);
    return;
  }
  if (slot >= u->size) refuse("u: got %ld numbers", (long)u->size);
  Candidate *all;
  int64_t n = choose(call, logits, &all);
  ids->i[0] = drawn(all, n, u->f[slot]);
}

/* Oldest first, as many a unit as there are slots; a burst is taken whole or refused (WS-TEXT-4,
 * WS-TEXT-5). */
static void queue(Call *call) {
  const Json *units = argument(call, "bursts");
  int64_t slots = integer(call, "slots"), n = length_of(call, "bursts"), count = 0, k = 0;
  if (slots < 1 || slots > BUDGET) refuse("slots: got %ld", (long)slots);
  int64_t *waiting = take(BUDGET, sizeof *waiting);
  Tensor *said = result(call, "units", I64, 2, SHAPE(n, slots));
  for (const Json *unit = units->first; unit != NULL; unit = unit->next, k++) {
    for (const Json *burst = unit->first; burst != NULL; burst = burst->next) {
      if (burst->count > BUDGET - count) refuse("typed text: got %ld tokens; allowed: at most %ld",
                                                (long)burst->count, (long)(BUDGET - count));
      for (const Json *id = burst->first; id != NULL; id = id->next) {
        if (!id->whole || id->integer < 0 || id->integer >= VOCABULARY)
          refuse("typed text: got %ld; allowed: token ids 0 to %d", (long)id->integer, VOCABULARY - 1);
        waiting[count++] = id->integer;
      }
    }
    int64_t taken = count < slots ? count : slots;
    for (int64_t i = 0; i < slots; i++) said->i[k * slots + i] = i < taken ? waiting[i] : -1;
    memmove(waiting, waiting + taken, (size_t)(count - taken) * sizeof *waiting);
    count -= taken;
  }
  Tensor *rest = result(call, "waiting", I64, 1, SHAPE(count));
  memcpy(rest->i, waiting, (size_t)count * sizeof *waiting);
}

/* One id a UTF-8 byte (WS-PRESETS-4). */
static void encode(Call *call) {
  const Json *text = argument(call, "text");
  string(call, "text");
  Tensor *ids = result(call, "ids", I64, 1, SHAPE((int64_t)text->length));
  for (int64_t i = 0; i < ids->size; i++) ids->i[i] = (uint8_t)text->text[i];
}

/* Bytes of a well-formed character at `b`, 0 if there is none. */
static size_t character(const uint8_t *b, size_t left) {
  if (b[0] < 0x80) return 1;
  size_t length = b[0] >= 0xC2 && b[0] < 0xE0 ? 2 : (b[0] & 0xF0) == 0xE0 ? 3 : b[0] >= 0xF0 && b[0] < 0xF5 ? 4 : 0;
  if (length == 0 || length > left) return 0;
  for (size_t i = 1; i < length; i++)
    if ((b[i] & 0xC0) != 0x80) return 0;
  if ((b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xED && b[1] > 0x9F) || (b[0] == 0xF0 && b[1] < 0x90) ||
      (b[0] == 0xF4 && b[1] > 0x8F))
    return 0;
  return length;
}

/* Without special and unused ids; malformed bytes become U+FFFD (WS-PRESETS-4). */
static void decode(Call *call) {
  uint8_t *bytes = take((size_t)length_of(call, "ids") + 1, 1);
  size_t n = 0;
  for (const Json *id = argument(call, "ids")->first; id != NULL; id = id->next)
    if (id->whole && id->integer >= 0 && id->integer < BYTES) bytes[n++] = (uint8_t)id->integer;
  Text out = {0};
  for (size_t i = 0; i < n;) {
    size_t length = character(bytes + i, n - i);
    if (length == 0) text_add(&out, "\xEF\xBF\xBD", 3);
    else text_add(&out, (const char *)bytes + i, length);
    i += length == 0 ? 1 : length;
  }
  bytes_result(call, "utf8", out.data, out.length);
}

const Op TEXT_OPS[] = {
    {"text.greedy", greedy}, {"text.candidates", candidates}, {"text.draw", draw},
    {"text.next", next},     {"text.queue", queue},           {"text.encode", encode},
    {"text.decode", decode}, {NULL, NULL},
};
