/* The loop: a request a line on standard input, a reply a line on standard output. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ending.h"
#include "port.h"

enum { MAX_LINE = 16 << 20 };
static const char *const FEATURES[] = {"math", "midpoint", "media", "float32", "float64"};
static const Op *const TOPICS[] = {RECIPE_OPS, LAYOUT_OPS, BACKBONE_OPS, MODEL_OPS,    FLOW_OPS,
                                   CODEC_OPS,  ENCODER_OPS, TEXT_OPS,     EXCHANGE_OPS, MEDIA_OPS};

static void math(const Json *request, int64_t id, Text *reply) {
  const Json *op = json_member(request, "op"), *dtype = json_member(request, "dtype");
  if (op == NULL || op->kind != JSON_STRING || dtype == NULL || dtype->kind != JSON_STRING)
    refuse("math: op and dtype are texts");
  Call *call = take(1, sizeof *call);
  call->op = op->text;
  if (strcmp(dtype->text, "float32") == 0) call->real = F32;
  else if (strcmp(dtype->text, "float64") == 0) call->real = F64;
  else lack(dtype->text);
  call->arguments = json_member(request, "arguments");
  for (size_t t = 0; t < sizeof TOPICS / sizeof *TOPICS; t++)
    for (const Op *known = TOPICS[t]; known->name != NULL; known++)
      if (strcmp(known->name, op->text) == 0) {
        char path[40], digest[65];
        tensors_read(&call->in, json_member(request, "tensors"));
        known->answer(call);
        snprintf(path, sizeof path, "out/%lld.safetensors", (long long)id);
        tensors_write(&call->out, path, digest);
        text_format(reply, "\"ok\":{\"tensors\":{");
        for (int i = 0; i < call->out.count; i++) {
          const char *name = call->out.items[i].name;
          text_format(reply, "%s\"%s\":{\"tensor\":{\"path\":\"%s\",\"name\":\"%s\",\"sha256\":\"%s\"}}",
                      i ? "," : "", name, path, name, digest);
        }
        text_format(reply, "}}");
        return;
      }
  lack(op->text);
}

static void hello(Text *reply) {
  text_format(reply, "\"ok\":{\"name\":\"c-math\",\"version\":\"1\",\"protocol\":1,"
                     "\"profiles\":[\"math\"],\"dtypes\":[\"float32\",\"float64\"],"
                     "\"deterministic\":true,\"features\":[\"math\",\"midpoint\",\"media\"],"
                     "\"exact_split\":false}");
}

static void supports(const Json *request, Text *reply) {
  const Json *feature = json_member(request, "feature");
  bool known = false;
  for (size_t i = 0; i < sizeof FEATURES / sizeof *FEATURES; i++)
    known |= feature != NULL && feature->kind == JSON_STRING && strcmp(feature->text, FEATURES[i]) == 0;
  text_format(reply, "\"ok\":{\"supported\":%s}", known ? "true" : "false");
}

/* One request to its reply; true if it was the last. */
static bool answer(const char *line, size_t length) {
  volatile int64_t id = 1;
  volatile bool last = false;
  Text reply = {0};
  int how = setjmp(ending.back);
  if (how == 0) {
    const Json *request = json_parse(line, length);
    const Json *number = json_member(request, "id"), *command = json_member(request, "command");
    if (number == NULL || !number->whole || command == NULL || command->kind != JSON_STRING)
      refuse("request: not an object with an id and a command");
    id = number->integer;
    const char *name = command->text;
    text_format(&reply, "{\"id\":%lld,", (long long)id);
    if (strcmp(name, "hello") == 0) hello(&reply);
    else if (strcmp(name, "supports") == 0) supports(request, &reply);
    else if (strcmp(name, "math") == 0) math(request, id, &reply);
    else if (strcmp(name, "stop") == 0) text_format(&reply, "\"ok\":{}"), last = true;
    else lack(name);
    text_format(&reply, "}\n");
  } else {
    char text[sizeof ending.text];
    snprintf(text, sizeof text, "%s", ending.text);
    reply = (Text){0};
    text_format(&reply, "{\"id\":%lld,\"%s\":{\"%s\":", (long long)id,
                how == REFUSED ? "error" : "unsupported",
                how == REFUSED ? "kind\":\"refused\",\"message" : "feature");
    text_quote(&reply, text, strlen(text));
    text_format(&reply, "}}\n");
  }
  fwrite(reply.data, 1, reply.length, stdout);
  fflush(stdout);
  release_all();
  return last;
}

int main(void) {
  const char *directory = getenv("WANSTREAMER_RUN_DIR");
  if (directory != NULL && chdir(directory) != 0) {
    fprintf(stderr, "c-math: cannot enter %s\n", directory);
    return 2;
  }
  char *line = NULL;
  size_t room = 0;
  ssize_t length;
  while ((length = getline(&line, &room, stdin)) > 0) {
    if (length > MAX_LINE) {
      fprintf(stderr, "c-math: a line of %zd bytes\n", length);
      return 2;
    }
    if (answer(line, (size_t)length)) break;
  }
  free(line);
  return 0;
}
