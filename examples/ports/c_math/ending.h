/* Where a request that ends early jumps to: main.c sets `back`, memory.c jumps. */
#ifndef ENDING_H
#define ENDING_H

#include <setjmp.h>

enum { REFUSED = 1, LACKING = 2 };
typedef struct {
  jmp_buf back;
  char text[400];
} Ending;
extern Ending ending;

#endif
