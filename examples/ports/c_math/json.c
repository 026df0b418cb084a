/* JSON (RFC 8259): a strict reader of one value, and what replies need to write it. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

enum { MAX_NESTING = 32 };
typedef struct {
  const char *at, *end;
  int nesting;
} Reader;

static const Json *value(Reader *r);

static void skip(Reader *r) {
  while (r->at < r->end && strchr(" \t\r\n", *r->at) != NULL && *r->at != 0) r->at++;
}

static bool accept(Reader *r, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0) return false;
  r->at += length;
  return true;
}

static int hex4(Reader *r) {
  int code = 0;
  if (r->end - r->at < 4) return -1;
  for (int i = 0; i < 4; i++, r->at++) {
    const char *digits = "0123456789abcdef";
    char c = (char)(*r->at >= 'A' && *r->at <= 'F' ? *r->at + 32 : *r->at);
    const char *found = c == 0 ? NULL : strchr(digits, c);
    if (found == NULL) return -1;
    code = 16 * code + (int)(found - digits);
  }
  return code;
}

/* A code point as UTF-8; returns the bytes written, 4 at most. */
static size_t utf8(uint32_t code, char *out) {
  if (code < 0x80) return out[0] = (char)code, 1;
  size_t extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const uint32_t lead[4] = {0, 0xC0, 0xE0, 0xF0};
  out[0] = (char)(lead[extra] | code >> 6 * extra);
  for (size_t i = 1; i <= extra; i++) out[i] = (char)(0x80 | (code >> 6 * (extra - i) & 0x3F));
  return extra + 1;
}

/* The text after an opening quote; NULL if it is malformed. */
static const char *quoted(Reader *r, size_t *length) {
  const char *stop = r->at;
  while (stop < r->end && *stop != '"') stop += *stop == '\\' ? 2 : 1;
  if (stop >= r->end) return NULL;
  char *out = take((size_t)(stop - r->at) + 5, 1);
  size_t n = 0;
  while (r->at < stop) {
    unsigned char c = (unsigned char)*r->at++;
    if (c < 0x20) return NULL;
    if (c != '\\') {
      out[n++] = (char)c;
      continue;
    }
    const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t";
    char escape = *r->at++;
    const char *found = escape == 0 ? NULL : strchr(from, escape);
    if (found != NULL) {
      out[n++] = to[found - from];
    } else if (escape == 'u') {
      int code = hex4(r);
      if (code >= 0xD800 && code < 0xDC00) {
        if (!accept(r, "\\u")) return NULL;
        int low = hex4(r);
        if (low < 0xDC00 || low > 0xDFFF) return NULL;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      } else if (code < 0 || (code >= 0xDC00 && code <= 0xDFFF)) {
        return NULL;
      }
      n += utf8((uint32_t)code, out + n);
    } else {
      return NULL;
    }
  }
  r->at = stop + 1;
  *length = n;
  return out;
}

static bool numeral(Reader *r, Json *json) {
  char digits[400];
  size_t n = 0;
  while (r->at + n < r->end && n < sizeof digits - 1 && strchr("+-.0123456789eE", r->at[n]) != NULL &&
         r->at[n] != 0)
    n++;
  memcpy(digits, r->at, n);
  digits[n] = 0;
  char *stop;
  json->number = strtod(digits, &stop);
  if (n == 0 || *stop != 0 || !isfinite(json->number)) return false;
  errno = 0;
  json->integer = strtoll(digits, &stop, 10);
  json->whole = *stop == 0 && errno == 0;
  r->at += n;
  return true;
}

/* The items of a list or the members of an object, up to its closing bracket. */
static bool inside(Reader *r, Json *json, char closing) {
  Json **tail = &json->first;
  if (++r->nesting > MAX_NESTING) return false;
  skip(r);
  for (bool more = !accept(r, (char[]){closing, 0}); more; json->count++) {
    const char *key = NULL;
    size_t length = 0;
    skip(r);
    if (closing == '}') {
      if (!accept(r, "\"") || (key = quoted(r, &length)) == NULL) return false;
      skip(r);
      if (!accept(r, ":")) return false;
    }
    Json *item = (Json *)value(r);
    if (item == NULL || (key != NULL && json_member(json, key) != NULL)) return false;
    item->key = key;
    *tail = item;
    tail = &item->next;
    skip(r);
    if (accept(r, (char[]){closing, 0})) more = false;
    else if (!accept(r, ",")) return false;
  }
  r->nesting--;
  return true;
}

static const Json *value(Reader *r) {
  Json *json = take(1, sizeof *json);
  skip(r);
  if (accept(r, "null")) return json;
  if (accept(r, "true") || accept(r, "false")) {
    json->kind = JSON_BOOL;
    json->truth = r->at[-2] == 'u';
    return json;
  }
  if (accept(r, "\"")) {
    json->kind = JSON_STRING;
    json->text = quoted(r, &json->length);
    return json->text == NULL ? NULL : json;
  }
  if (accept(r, "[")) {
    json->kind = JSON_LIST;
    return inside(r, json, ']') ? json : NULL;
  }
  if (accept(r, "{")) {
    json->kind = JSON_OBJECT;
    return inside(r, json, '}') ? json : NULL;
  }
  json->kind = JSON_NUMBER;
  return numeral(r, json) ? json : NULL;
}

const Json *json_parse(const char *text, size_t length) {
  Reader r = {text, text + length, 0};
  const Json *json = value(&r);
  skip(&r);
  return r.at == r.end ? json : NULL;
}

const Json *json_member(const Json *object, const char *key) {
  if (object == NULL || object->kind != JSON_OBJECT) return NULL;
  for (const Json *m = object->first; m != NULL; m = m->next)
    if (strcmp(m->key, key) == 0) return m;
  return NULL;
}

const Json *json_item(const Json *list, int64_t index) {
  if (list == NULL || list->kind != JSON_LIST || index < 0 || index >= list->count) return NULL;
  const Json *item = list->first;
  while (index-- > 0) item = item->next;
  return item;
}

void text_add(Text *text, const char *data, size_t length) {
  if (text->length + length + 1 > text->room) {
    size_t room = 2 * (text->length + length) + 256;
    char *grown = take(room, 1);
    if (text->length != 0) memcpy(grown, text->data, text->length);
    text->data = grown;
    text->room = room;
  }
  if (length != 0) memcpy(text->data + text->length, data, length);
  text->length += length;
  text->data[text->length] = 0;
}

void text_format(Text *text, const char *format, ...) {
  char buffer[2000];
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  text_add(text, buffer, n < 0 ? 0 : (size_t)n < sizeof buffer ? (size_t)n : sizeof buffer - 1);
}

/* The code point at ``at``, whose bytes are well-formed UTF-8; ``at`` moves behind it. */
static uint32_t code_point(const char **at) {
  unsigned char lead = (unsigned char)*(*at)++;
  int extra = lead < 0xC0 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  uint32_t code = extra == 0 ? lead : lead & (0x3Fu >> extra);
  for (int i = 0; i < extra; i++) code = code << 6 | ((unsigned char)*(*at)++ & 0x3Fu);
  return code;
}

/* ASCII, everything else escaped (WS-EXCHANGE-14). */
void text_quote(Text *text, const char *data, size_t length) {
  static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
  text_add(text, "\"", 1);
  for (const char *at = data; at < data + length;) {
    uint32_t code = code_point(&at);
    const char *letter = code > 0 && code < 0x7F ? strchr(from, (int)code) : NULL;
    if (letter != NULL) text_format(text, "\\%c", to[letter - from]);
    else if (code >= 0x20 && code < 0x7F) text_format(text, "%c", (int)code);
    else if (code < 0x10000) text_format(text, "\\u%04x", code);
    else
      text_format(text, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF));
  }
  text_add(text, "\"", 1);
}

static int by_key(const void *a, const void *b) {
  return strcmp((*(const Json *const *)a)->key, (*(const Json *const *)b)->key);
}

void text_canonical(Text *text, const Json *json) {
  static const char *const words[] = {"null", "false", "true"};
  if (json->kind == JSON_STRING) {
    text_quote(text, json->text, json->length);
  } else if (json->kind == JSON_NUMBER) {
    if (!json->whole) refuse("a number of a message is not whole");
    text_format(text, "%lld", (long long)json->integer);
  } else if (json->kind == JSON_LIST || json->kind == JSON_OBJECT) {
    bool object = json->kind == JSON_OBJECT;
    const Json **items = take((size_t)json->count + 1, sizeof *items);
    int64_t n = 0;
    for (const Json *item = json->first; item != NULL; item = item->next) items[n++] = item;
    if (object) qsort(items, (size_t)n, sizeof *items, by_key);
    text_add(text, object ? "{" : "[", 1);
    for (int64_t i = 0; i < n; i++) {
      if (i > 0) text_add(text, ",", 1);
      if (object) {
        text_quote(text, items[i]->key, strlen(items[i]->key));
        text_add(text, ":", 1);
      }
      text_canonical(text, items[i]);
    }
    text_add(text, object ? "}" : "]", 1);
  } else {
    const char *word = words[json->kind == JSON_NULL ? 0 : 1 + json->truth];
    text_add(text, word, strlen(word));
  }
}
