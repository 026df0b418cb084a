/* Clock, token table, positions and visibility: integers only (spec/clock.md, layout.md,
 * positions.md, visibility.md). */
#include <string.h>

#include "port.h"

static const int64_t UNIT_NS = 160000000;
enum { TICKS = 4 };
enum { P, O, L, Z };
enum { TEXT, STATE, AUDIO, VIDEO };
enum { UNIT, SEGMENT, MODALITY, SLOT, T, H, W, PAD, NOISY, STEP, COLUMNS };

/* WS-CLOCK-1, WS-CLOCK-5. */
static void times(Call *call) {
  const Tensor *units = integers(call, "units", 1);
  Tensor *start = result(call, "start_ns", I64, 1, units->shape);
  Tensor *available = result(call, "available_ns", I64, 1, units->shape);
  for (int64_t i = 0; i < units->size; i++) {
    start->i[i] = units->i[i] * UNIT_NS;
    available->i[i] = (units->i[i] + 1) * UNIT_NS;
  }
}

/* WS-CLOCK-6. */
static void covering(Call *call) {
  const Tensor *durations = integers(call, "durations_ns", 1);
  Tensor *units = result(call, "units", I64, 1, durations->shape);
  for (int64_t i = 0; i < units->size; i++)
    units->i[i] = (durations->i[i] + UNIT_NS - 1) / UNIT_NS;
}

/* Rows in the making. */
typedef struct {
  int64_t (*cells)[COLUMNS];
  double *tau;
  int64_t count, room, slot;
  int64_t unit, segment, noisy, step;
  double when;
} Table;

static void add(Table *table, int64_t modality, int64_t t, int64_t row, int64_t col, bool pad) {
  if (table->count == table->room) {
    int64_t room = 2 * table->room + 64;
    int64_t(*cells)[COLUMNS] = take((size_t)room, sizeof *cells);
    double *tau = take((size_t)room, sizeof *tau);
    if (table->count > 0) {
      memcpy(cells, table->cells, (size_t)table->count * sizeof *cells);
      memcpy(tau, table->tau, (size_t)table->count * sizeof *tau);
    }
    table->cells = cells;
    table->tau = tau;
    table->room = room;
  }
  int64_t cell[COLUMNS] = {table->unit, table->segment, modality, table->slot++, t,
                           t + row,     t + col,        pad,      table->noisy,  table->step};
  memcpy(table->cells[table->count], cell, sizeof cell);
  table->tau[table->count++] = table->when;
}

static void begin(Table *table, int64_t unit, int64_t segment) {
  table->unit = unit;
  table->segment = segment;
  table->slot = table->noisy = 0;
  table->step = -1;
  table->when = 0;
}

/* A latent frame, row by row, at the first tick of its unit (WS-POSITIONS-3). */
static void picture(Table *table, const Call *call, int64_t t) {
  for (int64_t r = 0; r < integer(call, "patch_rows"); r++)
    for (int64_t c = 0; c < integer(call, "patch_cols"); c++) add(table, VIDEO, t, r, c, false);
}

static void sound(Table *table, int64_t t, int64_t ticks) {
  for (int64_t i = 0; i < ticks; i++) add(table, AUDIO, t + i, 0, 0, false);
}

static void response(Table *table, const Call *call, const Json *on, int64_t t) {
  if (json_member(on, "agent_audio")->truth) sound(table, t, TICKS);
  if (json_member(on, "agent_video")->truth) picture(table, call, t);
}

/* WS-LAYOUT-1 to 6, WS-PREFILL-1, WS-PREFILL-2, WS-POSITIONS-1 to 3. */
static void rows(Call *call) {
  static const char *const sides[] = {"user_text",  "user_audio",  "user_video",
                                      "agent_text", "agent_audio", "agent_video"};
  const Json *on = argument(call, "modalities");
  for (int i = 0; i < 6; i++)
    if (json_member(on, sides[i]) == NULL) refuse("modalities: %s is missing", sides[i]);
  Table table = {0};
  int64_t base = integer(call, "prompt_tokens"), voice = integer(call, "voice_ticks");
  begin(&table, -1, P);
  for (int64_t i = 0; i < base; i++) add(&table, TEXT, i, 0, 0, false);
  if (truth(call, "identity_image")) {
    picture(&table, call, base);
    base += TICKS;
  }
  sound(&table, base, voice);
  base += voice;
  for (int64_t k = 0; k < length_of(call, "user_tokens"); k++) {
    int64_t t = base + TICKS * k, states = integer(call, "state_slots");
    begin(&table, k, O);
    if (json_member(on, "user_video")->truth) picture(&table, call, t);
    if (json_member(on, "user_audio")->truth) sound(&table, t, TICKS);
    if (json_member(on, "user_text")->truth)
      for (int64_t i = 0; i < integer(call, "user_text_slots"); i++)
        add(&table, TEXT, t + i, 0, 0, i >= integer_at(call, "user_tokens", k));
    begin(&table, k, L);
    int64_t words = json_member(on, "agent_text")->truth ? integer(call, "agent_text_slots") : 0;
    for (int64_t i = 0; i < states + words; i++)
      add(&table, i < states ? STATE : TEXT, t + i, 0, 0, false);
    begin(&table, k, Z);
    response(&table, call, on, t);
    for (int64_t step = 0; step < length_of(call, "noisy_tau"); step++) {
      begin(&table, k, Z);
      table.noisy = 1;
      table.step = step;
      table.when = json_item(argument(call, "noisy_tau"), step)->number;
      response(&table, call, on, t);
    }
  }
  Tensor *kind = result(call, "kind", I64, 2, SHAPE(table.count, 4));
  Tensor *position = result(call, "position", I64, 2, SHAPE(table.count, 3));
  Tensor *state = result(call, "state", I64, 2, SHAPE(table.count, 3));
  Tensor *tau = result(call, "tau", F64, 1, SHAPE(table.count));
  for (int64_t n = 0; n < table.count; n++) {
    const int64_t *cell = table.cells[n];
    memcpy(kind->i + 4 * n, cell, 4 * sizeof *cell);
    memcpy(position->i + 3 * n, cell + T, 3 * sizeof *cell);
    memcpy(state->i + 3 * n, cell + PAD, 3 * sizeof *cell);
    tau->f[n] = table.tau[n];
  }
}

/* May `q` attend to `k`? (WS-VISIBILITY-1) */
bool visible(const int64_t *q, const int64_t *k, int64_t lag) {
  if (k[PAD]) return false;
  bool same = k[UNIT] == q[UNIT], inside;
  switch (k[SEGMENT]) {
  case P: /* WS-VISIBILITY-3 */
    return q[SEGMENT] != P || k[SLOT] <= q[SLOT] || (k[MODALITY] == VIDEO && q[MODALITY] == VIDEO);
  case O: /* WS-VISIBILITY-4, WS-VISIBILITY-5 */
    inside = q[SEGMENT] != O || k[MODALITY] != TEXT || (q[MODALITY] == TEXT && k[SLOT] <= q[SLOT]);
    break;
  case L: /* WS-VISIBILITY-6 */
    inside = q[SEGMENT] == Z || (q[SEGMENT] == L && k[SLOT] <= q[SLOT]);
    break;
  default: /* WS-VISIBILITY-7 to 9 */
    if (same && q[SEGMENT] == Z) return k[NOISY] == q[NOISY] && k[STEP] == q[STEP];
    return q[SEGMENT] != P && !k[NOISY] && k[UNIT] < q[UNIT] - (q[SEGMENT] == Z ? 0 : lag);
  }
  return q[SEGMENT] != P && (k[UNIT] < q[UNIT] || (same && inside));
}

static void mask(Call *call) {
  const Tensor *queries = integers(call, "queries", 2), *keys = integers(call, "keys", 2);
  if (queries->shape[1] != COLUMNS || keys->shape[1] != COLUMNS) refuse("rows have ten columns");
  int64_t n = queries->shape[0], m = keys->shape[0], lag = integer(call, "lag");
  Tensor *seen = result(call, "mask", I64, 2, SHAPE(n, m));
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < m; j++)
      seen->i[i * m + j] = visible(queries->i + i * COLUMNS, keys->i + j * COLUMNS, lag);
}

const Op LAYOUT_OPS[] = {
    {"clock.times", times}, {"clock.units_covering", covering}, {"layout.rows", rows},
    {"visibility.mask", mask}, {NULL, NULL},
};
