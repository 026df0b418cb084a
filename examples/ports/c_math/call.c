/* What a formula sees of its request: arguments and arrays by name, their shapes checked. */
#include <stdio.h>
#include <string.h>

#include "port.h"

const Json *argument(const Call *call, const char *name) {
  const Json *found = json_member(call->arguments, name);
  if (found == NULL) refuse("%s: argument %s is missing", call->op, name);
  return found;
}

double number(const Call *call, const char *name) {
  const Json *found = argument(call, name);
  if (found->kind != JSON_NUMBER) refuse("%s: argument %s is no number", call->op, name);
  return found->number;
}

static int64_t whole(const Call *call, const char *name, const Json *found) {
  if (found == NULL || found->kind != JSON_NUMBER || !found->whole)
    refuse("%s: argument %s is no whole number", call->op, name);
  return found->integer;
}

int64_t integer(const Call *call, const char *name) {
  return whole(call, name, argument(call, name));
}

bool truth(const Call *call, const char *name) {
  const Json *found = argument(call, name);
  if (found->kind != JSON_BOOL) refuse("%s: argument %s is no boolean", call->op, name);
  return found->truth;
}

const char *string(const Call *call, const char *name) {
  const Json *found = argument(call, name);
  if (found->kind != JSON_STRING) refuse("%s: argument %s is no text", call->op, name);
  return found->text;
}

int64_t length_of(const Call *call, const char *name) {
  const Json *found = argument(call, name);
  if (found->kind != JSON_LIST) refuse("%s: argument %s is no list", call->op, name);
  return found->count;
}

int64_t integer_at(const Call *call, const char *name, int64_t index) {
  return whole(call, name, json_item(argument(call, name), index));
}

static const Tensor *find(const Call *call, const char *name) {
  for (int i = 0; i < call->in.count; i++)
    if (strcmp(call->in.items[i].name, name) == 0) return &call->in.items[i];
  return NULL;
}

bool has(const Call *call, const char *name) { return find(call, name) != NULL; }

const Tensor *given(const Call *call, const char *name) {
  const Tensor *found = find(call, name);
  if (found == NULL) refuse("%s: tensor %s is missing", call->op, name);
  return found;
}

static const Tensor *of(const Call *call, const char *name, int dims, bool real) {
  const Tensor *found = given(call, name);
  if (found->dims != dims || (found->f != NULL) != real)
    refuse("%s: tensor %s: got %d axes; allowed: %d of %s", call->op, name, found->dims, dims,
           real ? "floats" : "integers");
  return found;
}

const Tensor *floats(const Call *call, const char *name, int dims) {
  return of(call, name, dims, true);
}

const Tensor *integers(const Call *call, const char *name, int dims) {
  return of(call, name, dims, false);
}

const Tensor *shaped(const Call *call, const char *name, int dims, const int64_t *shape) {
  const Tensor *found = floats(call, name, dims);
  for (int d = 0; d < dims; d++)
    if (found->shape[d] != shape[d])
      refuse("%s: tensor %s: got %ld on axis %d; allowed: %ld", call->op, name,
             (long)found->shape[d], d, (long)shape[d]);
  return found;
}

Tensor *result(Call *call, const char *name, Kind kind, int dims, const int64_t *shape) {
  if (call->out.count == MAX_TENSORS) refuse("%s: too many results", call->op);
  Tensor *t = &call->out.items[call->out.count++];
  snprintf(t->name, sizeof t->name, "%s", name);
  t->kind = kind;
  t->dims = dims;
  t->size = 1;
  for (int d = 0; d < dims; d++) {
    if (shape[d] < 0) refuse("%s: the sizes do not fit", call->op);
    t->shape[d] = shape[d];
    t->size *= shape[d];
  }
  if (kind == F32 || kind == F64) t->f = take((size_t)t->size + 1, sizeof *t->f);
  else t->i = take((size_t)t->size + 1, sizeof *t->i);
  return t;
}

Tensor *bytes_result(Call *call, const char *name, const void *data, size_t size) {
  Tensor *t = result(call, name, U8, 1, SHAPE((int64_t)size));
  for (size_t i = 0; i < size; i++) t->i[i] = ((const uint8_t *)data)[i];
  return t;
}

Tensor *like(Call *call, const char *name, const Tensor *other) {
  return result(call, name, call->real, other->dims, other->shape);
}
