/* safetensors files of the run directory: read with every bound checked, written whole. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "port.h"

static const char *const NAMES[] = {"F32", "F64", "I64", "U64", "U8"};
static const size_t SIZES[] = {4, 8, 8, 8, 1};

/* The bytes of a file of the run directory, after its digest was compared. */
static uint8_t *contents(const char *path, const char *sha256, size_t *size) {
  const char *name = path + 3;
  size_t safe = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
  if (strncmp(path, "in/", 3) != 0 || *name == '.' || *name == 0 || name[safe] != 0)
    refuse("tensor path: got %.100s; allowed: in/FILE", path);
  FILE *file = fopen(path, "rb");
  if (file == NULL) refuse("tensor file %.100s cannot be opened", path);
  long length = -1;
  if (fseek(file, 0, SEEK_END) == 0) length = ftell(file);
  if (length < 8 || length > 1L << 30 || fseek(file, 0, SEEK_SET) != 0) {
    fclose(file);
    refuse("tensor file %.100s has an impossible size", path);
  }
  *size = (size_t)length;
  uint8_t *bytes = take(*size, 1);
  size_t got = fread(bytes, 1, *size, file);
  fclose(file);
  uint8_t digest[32];
  char hex[65];
  Sha256 sha;
  sha256_start(&sha);
  sha256_add(&sha, bytes, got);
  sha256_end(&sha, digest);
  hex_of(digest, hex);
  if (got != *size || strcmp(hex, sha256) != 0) refuse("tensor file %.100s is not the one named", path);
  return bytes;
}

static uint64_t little(const uint8_t *bytes, size_t size) {
  uint64_t bits = 0;
  for (size_t i = size; i-- > 0;) bits = bits << 8 | bytes[i];
  return bits;
}

/* Fill `t` from its entry in the header and the data behind it. */
static void decode(Tensor *t, const Json *entry, const uint8_t *data, size_t size) {
  const Json *dtype = json_member(entry, "dtype"), *shape = json_member(entry, "shape");
  const Json *offsets = json_member(entry, "data_offsets");
  const Json *from = json_item(offsets, 0), *to = json_item(offsets, 1);
  if (dtype == NULL || dtype->kind != JSON_STRING || shape == NULL || shape->kind != JSON_LIST ||
      shape->count > MAX_DIMS || from == NULL || to == NULL || !from->whole || !to->whole)
    refuse("tensor %s: its header is malformed", t->name);
  int kind = 0;
  while (kind < 3 && strcmp(dtype->text, NAMES[kind]) != 0) kind++;
  if (kind == 3) refuse("tensor %s: got %.20s; allowed: F32, F64, I64", t->name, dtype->text);
  t->kind = (Kind)kind;
  t->size = 1;
  for (const Json *n = shape->first; n != NULL; n = n->next) {
    if (!n->whole || n->integer < 0 || n->integer > 1L << 30) refuse("tensor %s: its shape", t->name);
    t->shape[t->dims++] = n->integer;
    t->size *= n->integer;
    if (t->size > 1L << 30) refuse("tensor %s is too large", t->name);
  }
  size_t width = SIZES[kind], bytes = (size_t)t->size * width;
  if (from->integer < 0 || to->integer < from->integer || (uint64_t)to->integer > size ||
      (size_t)(to->integer - from->integer) != bytes)
    refuse("tensor %s: its offsets do not fit", t->name);
  const uint8_t *at = data + from->integer;
  if (t->kind == I64) t->i = take((size_t)t->size + 1, sizeof *t->i);
  else t->f = take((size_t)t->size + 1, sizeof *t->f);
  for (int64_t i = 0; i < t->size; i++, at += width) {
    uint64_t bits = little(at, width);
    if (t->kind == I64) {
      memcpy(t->i + i, &bits, 8);
    } else if (t->kind == F64) {
      memcpy(t->f + i, &bits, 8);
    } else {
      uint32_t narrow = (uint32_t)bits;
      float x;
      memcpy(&x, &narrow, 4);
      t->f[i] = x;
    }
    if (t->kind != I64 && !isfinite(t->f[i])) refuse("tensor %s: not finite at %ld", t->name, (long)i);
  }
}

void tensors_read(Tensors *into, const Json *references) {
  const uint8_t *bytes = NULL;
  const Json *header = NULL;
  size_t size = 0, start = 0;
  if (references == NULL || references->kind != JSON_OBJECT) refuse("tensors are missing");
  for (const Json *r = references->first; r != NULL; r = r->next) {
    const Json *tensor = json_member(r, "tensor"), *path = json_member(tensor, "path");
    const Json *name = json_member(tensor, "name"), *sha256 = json_member(tensor, "sha256");
    if (path == NULL || path->kind != JSON_STRING || name == NULL || name->kind != JSON_STRING ||
        sha256 == NULL || sha256->kind != JSON_STRING || strlen(path->text) < 4 ||
        strlen(r->key) > 200 || into->count == MAX_TENSORS)
      refuse("a reference to a tensor is malformed");
    /* A request has one file at most. */
    if (bytes == NULL) {
      bytes = contents(path->text, sha256->text, &size);
      uint64_t length = little(bytes, 8);
      if (length > size - 8) refuse("a tensor file is cut off");
      header = json_parse((const char *)bytes + 8, (size_t)length);
      start = 8 + (size_t)length;
    }
    const Json *entry = json_member(header, name->text);
    if (entry == NULL) refuse("tensor %.100s is not in its file", name->text);
    Tensor *t = &into->items[into->count++];
    strcpy(t->name, r->key);
    decode(t, entry, bytes + start, size - start);
  }
}

static void put(Text *out, uint64_t bits, size_t size) {
  for (size_t i = 0; i < size; i++) text_add(out, (char[]){(char)(bits >> 8 * i)}, 1);
}

void tensors_write(const Tensors *from, const char *path, char digest[65]) {
  Text header = {0}, data = {0}, file = {0};
  text_add(&header, "{", 1);
  for (int k = 0; k < from->count; k++) {
    const Tensor *t = &from->items[k];
    size_t begin = data.length;
    for (int64_t i = 0; i < t->size; i++) {
      uint64_t bits = 0;
      if (t->kind == F64) {
        memcpy(&bits, t->f + i, 8);
      } else if (t->kind == F32) {
        float x = (float)t->f[i];
        uint32_t narrow;
        memcpy(&narrow, &x, 4);
        bits = narrow;
      } else {
        bits = (uint64_t)t->i[i];
      }
      put(&data, bits, SIZES[t->kind]);
    }
    text_format(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", k ? "," : "", t->name,
                NAMES[t->kind]);
    for (int d = 0; d < t->dims; d++) text_format(&header, "%s%lld", d ? "," : "", (long long)t->shape[d]);
    text_format(&header, "],\"data_offsets\":[%zu,%zu]}", begin, data.length);
  }
  text_add(&header, "}", 1);
  put(&file, header.length, 8);
  text_add(&file, header.data, header.length);
  if (data.length != 0) text_add(&file, data.data, data.length);
  uint8_t sum[32];
  Sha256 sha;
  sha256_start(&sha);
  sha256_add(&sha, file.data, file.length);
  sha256_end(&sha, sum);
  hex_of(sum, digest);
  FILE *out = fopen(path, "wb");
  if (out == NULL) refuse("%s cannot be written", path);
  size_t written = fwrite(file.data, 1, file.length, out);
  if (fclose(out) != 0 || written != file.length) refuse("%s cannot be written", path);
}
