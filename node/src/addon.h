/* node/src/addon.h: what the Node binding's C files share with each other and with the generated raw layer.
 *
 * The addon is three parts in one file: the engine (the amalgamation), the raw layer that SWIG writes (raw_wrap.cxx:
 * every function of the C ABI under its own name), and this plain C, which holds what SWIG cannot: conversions between
 * JavaScript values and the ABI's argument shapes, errors, asynchronous calls, and the record of the handles that an
 * environment holds.
 *
 * Environments. Node loads an addon once per process and initialises it once per environment: the main thread is one,
 * each worker thread is another. Everything an environment owns hangs off its kn_state, and nothing here is shared
 * between environments except the list through which a napi_env finds its state.
 *
 * Handles. An environment that ends (a worker that returns, or is terminated in the middle of a call) runs no
 * JavaScript any more, so no finaliser can close what it had open. Therefore each handle that a raw call hands out is
 * kept in the environment's kn_state until the call that ends it, and the environment's cleanup hook closes the rest.
 *
 * Thread rules: every function runs on its environment's own thread. */
#ifndef KEEL_NODE_ADDON_H
#define KEEL_NODE_ADDON_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- environments and handles (addon.c) --------------------------------------------------------------------------- */

typedef enum kn_kind {
  KN_DB = 1,
  KN_KEYSPACE,
  KN_TXN,
  KN_CURSOR,
  KN_VIEW,
  KN_BATCH,
  KN_CHECK,
  KN_LOAD,
  KN_VALUE
} kn_kind;

typedef struct kn_state kn_state;

/* The state of an environment, or NULL when it has ended or never loaded the addon. */
kn_state *kn_state_of(napi_env env);
/* One more and one fewer user of the state: an asynchronous call may outlive its environment's cleanup hook. */
void kn_state_ref(kn_state *state);
void kn_state_unref(kn_state *state);

/* Keeps `handle` until kn_forget or the end of the environment, whichever is first. When it cannot (out of memory, or
 * the environment has ended) it closes the handle and returns false. */
bool kn_keep(kn_state *state, kn_kind kind, uint64_t handle);
void kn_forget(kn_state *state, uint64_t handle);
/* After a call that ends `handle`: forgets it, unless `status` says that the call did not get to it. */
void kn_ended(kn_state *state, uint64_t handle, keel_status status);
/* Closes everything that is kept. Errors have nowhere to go and are dropped. */
void kn_close_kept(kn_state *state);
size_t kn_kept_count(const kn_state *state);

/* The environment's own batch, which no JavaScript ever sees, so that what it lends cannot be taken back while it is
 * copied. 0 with an exception pending when it cannot be made. */
keel_batch kn_batch_of(napi_env env);
/* After a use that left `bytes` in it: keeps its memory for the next use, unless it is much. */
void kn_batch_done(napi_env env, uint64_t bytes);

/* The generated raw layer: defines every function of the ABI on `exports`. */
napi_value kn_raw_register(napi_env env, napi_value exports);
/* async.c, reads.c: define their functions on `exports`; false with an exception pending. */
bool kn_async_register(napi_env env, napi_value exports);
bool kn_reads_register(napi_env env, napi_value exports);

/* Where get() leaves small values: a Buffer of JavaScript's that it gave with setScratch. NULL and 0 before that. */
void *kn_scratch_of(napi_env env, size_t *out_size);

/* --- errors (convert.c) ------------------------------------------------------------------------------------------- */

/* A KeelError (the class that JavaScript gave to setErrorClass), not thrown yet. NULL with an exception pending when
 * the environment cannot make one. */
napi_value kn_error_new(napi_env env, const keel_error *err);
/* Throws a KeelError for `err`. */
void kn_throw(napi_env env, const keel_error *err);
/* Throws KEEL_E_INVALID, "<name>: <what>". */
void kn_throw_invalid(napi_env env, const char *name, const char *what);
/* Throws KEEL_E_NO_MEMORY. */
void kn_throw_no_memory(napi_env env);

/* The constructor that kn_error_new uses, kept in the state. NULL when JavaScript has set none. */
napi_value kn_error_class(napi_env env);

/* --- values in (convert.c): false with an exception pending ------------------------------------------------------- */

/* Room that a converted argument may need until the call has returned. `data` points into the caller's JavaScript
 * value, into `local`, or into `heap`; none of them moves while no JavaScript runs, and none runs during a call. */
typedef struct kn_bytes {
  const void *data; /* NULL: undefined or null was given, where that is allowed */
  size_t size;
  void *heap;
  char local[1032]; /* a string key of the greatest size, and what V8 wants for a terminator, fits */
} kn_bytes;

/* A string (as UTF-8), Buffer, typed array, DataView or ArrayBuffer. With `optional`, undefined and null too.
 * kn_bytes_free is needed after failure, too, and is harmless on a cleared one: call kn_bytes_clear first. */
void kn_bytes_clear(kn_bytes *bytes);
bool kn_bytes_in(napi_env env, napi_value value, const char *name, bool optional, kn_bytes *bytes);
void kn_bytes_free(kn_bytes *bytes);

/* A JavaScript array of what kn_bytes_in takes, packed as keel_get_many wants it. */
typedef struct kn_packed {
  size_t count, size, capacity;
  uint8_t *data;
  uint64_t *offsets; /* count + 1 */
} kn_packed;
void kn_packed_clear(kn_packed *packed);
bool kn_packed_in(napi_env env, napi_value value, const char *name, kn_packed *packed);
void kn_packed_free(kn_packed *packed);

/* A handle. What is no whole number of 53 bits becomes 0, which the engine answers with KEEL_E_HANDLE. */
uint64_t kn_handle_in(napi_env env, napi_value value);
/* A whole number in [0, max]; undefined is 0. */
bool kn_number_in(napi_env env, napi_value value, const char *name, uint64_t max, uint64_t *out);
/* A string without zero characters, as terminated UTF-8 in `bytes`; undefined and null are NULL with `optional`. */
bool kn_text_in(napi_env env, napi_value value, const char *name, bool optional, kn_bytes *bytes);

/* --- values out (convert.c): NULL with an exception pending ------------------------------------------------------- */

/* A Buffer with a copy. Never an external ArrayBuffer: V8's sandbox refuses memory that is not its own. */
napi_value kn_buffer_out(napi_env env, const void *data, size_t size);
/* A number; counters and timestamps stay far below 2^53. */
napi_value kn_number_out(napi_env env, uint64_t value);
/* A struct that the library fills, as an object with the fields' names. A value of more than 53 bits is a bigint. */
typedef struct kn_field {
  const char *name;
  uint64_t value;
} kn_field;
napi_value kn_record_out(napi_env env, const kn_field *fields, size_t count);

#ifdef __cplusplus
}
#endif

#endif
