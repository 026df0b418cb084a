/* Memory of one request, in one list; and the two ways a request ends early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"
#include "ending.h"

typedef struct Chunk {
  struct Chunk *next;
  size_t pad; /* keeps what follows aligned */
} Chunk;

static Chunk *chunks = NULL;
Ending ending;

void *take(size_t count, size_t size) {
  if (size != 0 && count > ((size_t)1 << 32) / size) refuse("the request needs too much memory");
  Chunk *chunk = calloc(1, sizeof(Chunk) + count * size);
  if (chunk == NULL) refuse("out of memory");
  chunk->next = chunks;
  chunks = chunk;
  return chunk + 1;
}

void release_all(void) {
  while (chunks != NULL) {
    Chunk *next = chunks->next;
    free(chunks);
    chunks = next;
  }
}

_Noreturn void refuse(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(ending.text, sizeof ending.text, format, arguments);
  va_end(arguments);
  longjmp(ending.back, REFUSED);
}

_Noreturn void lack(const char *feature) {
  snprintf(ending.text, sizeof ending.text, "%s", feature);
  longjmp(ending.back, LACKING);
}
