/* What every file of the port shares: memory of one request, JSON, tensors, SHA-256, the call.
 *
 * Everything is computed in double; results are rounded once, when they are written. A request that
 * does not fit leaves by `refuse`, which jumps back to the loop of main.c; all memory of a request
 * is freed there, so nothing else frees anything. */
#ifndef PORT_H
#define PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- memory.c --- */
void *take(size_t count, size_t size); /* zeroed; lives until the end of the request */
void release_all(void);
_Noreturn void refuse(const char *format, ...); /* the reply "error", kind "refused" */
_Noreturn void lack(const char *feature);       /* the reply "unsupported" */

/* --- sha256.c --- */
typedef struct {
  uint32_t state[8];
  uint64_t length;
  uint8_t block[64];
} Sha256;
void sha256_start(Sha256 *sha);
void sha256_add(Sha256 *sha, const void *data, size_t size);
void sha256_end(Sha256 *sha, uint8_t digest[32]);
void hex_of(const uint8_t digest[32], char text[65]);

/* --- json.c --- */
typedef enum { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_LIST, JSON_OBJECT } JsonKind;
typedef struct Json {
  JsonKind kind;
  bool truth;
  double number;
  int64_t integer; /* of a number without fraction or exponent */
  bool whole;
  const char *text; /* UTF-8; may hold NUL, so `length` counts */
  size_t length;
  const char *key; /* of a member of an object */
  struct Json *first, *next;
  int64_t count; /* items or members */
} Json;
const Json *json_parse(const char *text, size_t length); /* NULL: not JSON */
const Json *json_member(const Json *object, const char *key);
const Json *json_item(const Json *list, int64_t index);

/* A growing text, for replies and canonical JSON. */
typedef struct {
  char *data;
  size_t length, room;
} Text;
void text_add(Text *text, const char *data, size_t length);
void text_format(Text *text, const char *format, ...);
void text_quote(Text *text, const char *data, size_t length);
void text_canonical(Text *text, const Json *value); /* sorted keys, no spaces */

/* --- tensors.c --- */
typedef enum { F32, F64, I64, U64, U8 } Kind;
enum { MAX_DIMS = 8, MAX_TENSORS = 256 };
typedef struct {
  char name[201];
  Kind kind;
  int dims;
  int64_t shape[MAX_DIMS], size;
  double *f;  /* F32 and F64 */
  int64_t *i; /* I64, U64 and U8 */
} Tensor;
typedef struct {
  Tensor items[MAX_TENSORS];
  int count;
} Tensors;
void tensors_read(Tensors *into, const Json *references);
void tensors_write(const Tensors *from, const char *path, char digest[65]);

/* --- call.c --- */
typedef struct {
  const char *op;
  Kind real; /* of results: F32 or F64, by the dtype of the request */
  const Json *arguments;
  Tensors in, out;
} Call;
const Json *argument(const Call *call, const char *name);
double number(const Call *call, const char *name);
int64_t integer(const Call *call, const char *name);
bool truth(const Call *call, const char *name);
const char *string(const Call *call, const char *name);
int64_t integer_at(const Call *call, const char *name, int64_t index); /* of a list */
int64_t length_of(const Call *call, const char *name);
bool has(const Call *call, const char *name);                  /* a tensor */
const Tensor *given(const Call *call, const char *name);       /* of any shape */
const Tensor *floats(const Call *call, const char *name, int dims);
const Tensor *integers(const Call *call, const char *name, int dims);
const Tensor *shaped(const Call *call, const char *name, int dims, const int64_t *shape);
Tensor *result(Call *call, const char *name, Kind kind, int dims, const int64_t *shape);
Tensor *bytes_result(Call *call, const char *name, const void *data, size_t size);
Tensor *like(Call *call, const char *name, const Tensor *other); /* a float result of its shape */

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

/* --- the formulas, by topic --- */
typedef struct {
  const char *name;
  void (*answer)(Call *call);
} Op;
extern const Op RECIPE_OPS[], LAYOUT_OPS[], BACKBONE_OPS[], MODEL_OPS[], FLOW_OPS[], CODEC_OPS[],
    ENCODER_OPS[], TEXT_OPS[], EXCHANGE_OPS[], MEDIA_OPS[];

/* Shared between topics. */
double silu(double x);                                                     /* codec.c */
bool visible(const int64_t *query, const int64_t *key, int64_t lag);       /* layout.c */
void linear(const double *x, int64_t n, int64_t in, const double *weight, const double *bias,
            int64_t out, double *y);                                       /* backbone.c */
void tau_features(double tau, int64_t dim, double *features);              /* flow.c */
void patchify(const double *z, int64_t c, int64_t rows, int64_t cols, int64_t p, double *tokens,
              bool back);                                                  /* codec.c */
uint64_t recipe_word(const char *name, size_t length, uint64_t n);         /* recipe.c */

#endif
