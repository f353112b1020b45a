/* node/src/addon.c: the addon's entry point, and what each environment owns. */
#include "addon.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct kn_state {
  napi_env env; /* NULL once the environment has ended */
  pthread_t thread;
  size_t refs;
  napi_ref error_class; /* NULL until setErrorClass */
  napi_ref scratch;     /* keeps the memory below; NULL until setScratch */
  void *scratch_data;
  size_t scratch_size;
  /* Open addressing with linear probing; an entry is a handle with its kind in the top byte, 0 is empty. */
  uint64_t *kept;
  size_t kept_count, kept_capacity; /* the capacity is 0 or a power of two, at most 3/4 full */
  keel_batch batch;                 /* 0 until it is needed */
  kn_state *next;
};

/* A batch that grew beyond this for one large answer is given back. */
enum { KN_BATCH_KEEP = 4 << 20 };

/* The states of the process. Initialising an addon and ending an environment are rare, and so is a look-up that misses
 * the cache below; they may happen on several threads at once. */
static pthread_mutex_t kn_states_lock = PTHREAD_MUTEX_INITIALIZER;
static kn_state *kn_states;

/* An environment stays on its thread, so one remembered pair saves the lock on every call. It is emptied before its
 * environment's address can be used again. */
static _Thread_local napi_env kn_cached_env;
static _Thread_local kn_state *kn_cached_state;

kn_state *kn_state_of(napi_env env) {
  if (kn_cached_env == env) return kn_cached_state;
  pthread_mutex_lock(&kn_states_lock);
  kn_state *state = kn_states;
  while (state != NULL && state->env != env) state = state->next;
  pthread_mutex_unlock(&kn_states_lock);
  if (state != NULL) {
    kn_cached_env = env;
    kn_cached_state = state;
  }
  return state;
}

void kn_state_ref(kn_state *state) {
  state->refs++;
}

void kn_state_unref(kn_state *state) {
  if (--state->refs != 0) return;
  free(state->kept);
  free(state);
}

/* --- kept handles ------------------------------------------------------------------------------------------------- */

enum { KN_KIND_SHIFT = 56 };
#define KN_HANDLE_MASK ((UINT64_C(1) << KN_KIND_SHIFT) - 1)

static size_t kn_slot_of(uint64_t handle, size_t capacity) {
  return (size_t)((handle * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (capacity - 1);
}

static void kn_insert(uint64_t *table, size_t capacity, uint64_t entry) {
  size_t slot = kn_slot_of(entry & KN_HANDLE_MASK, capacity);
  while (table[slot] != 0) slot = (slot + 1) & (capacity - 1);
  table[slot] = entry;
}

static bool kn_grow(kn_state *state) {
  size_t capacity = state->kept_capacity == 0 ? 64 : state->kept_capacity * 2;
  uint64_t *table = calloc(capacity, sizeof *table);
  if (table == NULL) return false;
  for (size_t i = 0; i < state->kept_capacity; i++) {
    if (state->kept[i] != 0) kn_insert(table, capacity, state->kept[i]);
  }
  free(state->kept);
  state->kept = table;
  state->kept_capacity = capacity;
  return true;
}

static void kn_close(kn_kind kind, uint64_t handle) {
  switch (kind) {
    case KN_DB:
      (void)keel_close(handle, NULL);
      break;
    case KN_KEYSPACE:
      (void)keel_keyspace_close(handle, NULL);
      break;
    case KN_TXN:
      (void)keel_rollback(handle, NULL);
      break;
    case KN_CURSOR:
      (void)keel_cursor_close(handle, NULL);
      break;
    case KN_VIEW:
      (void)keel_view_release(handle, NULL);
      break;
    case KN_BATCH:
      (void)keel_batch_free(handle, NULL);
      break;
    case KN_CHECK:
      (void)keel_check_close(handle, NULL);
      break;
    case KN_LOAD:
      (void)keel_load_end(handle, NULL);
      break;
    case KN_VALUE:
      (void)keel_value_end(handle, NULL);
      break;
  }
}

bool kn_keep(kn_state *state, kn_kind kind, uint64_t handle) {
  bool room =
      state != NULL && state->env != NULL && (state->kept_count + 1 <= state->kept_capacity / 4 * 3 || kn_grow(state));
  if (!room) {
    kn_close(kind, handle);
    return false;
  }
  kn_insert(state->kept, state->kept_capacity, handle | ((uint64_t)kind << KN_KIND_SHIFT));
  state->kept_count++;
  return true;
}

void kn_forget(kn_state *state, uint64_t handle) {
  if (state == NULL || state->kept_count == 0) return;
  size_t mask = state->kept_capacity - 1;
  size_t hole = kn_slot_of(handle, state->kept_capacity);
  while (state->kept[hole] != 0 && (state->kept[hole] & KN_HANDLE_MASK) != handle) hole = (hole + 1) & mask;
  if (state->kept[hole] == 0) return;
  /* Close the gap, so that no look-up stops at it: move back each follower that does not already stand in its own run.
   * */
  for (size_t next = (hole + 1) & mask; state->kept[next] != 0; next = (next + 1) & mask) {
    size_t home = kn_slot_of(state->kept[next] & KN_HANDLE_MASK, state->kept_capacity);
    if (((next - home) & mask) < ((next - hole) & mask)) continue;
    state->kept[hole] = state->kept[next];
    hole = next;
  }
  state->kept[hole] = 0;
  state->kept_count--;
}

void kn_ended(kn_state *state, uint64_t handle, keel_status status) {
  if (status != KEEL_E_CONCURRENT_USE) kn_forget(state, handle);
}

void kn_close_kept(kn_state *state) {
  uint64_t *kept = state->kept;
  size_t capacity = state->kept_capacity;
  state->kept = NULL;
  state->kept_count = state->kept_capacity = 0;
  /* Databases last: a database that closes while nothing else holds its engine ends it here, on this thread. */
  for (int databases = 0; databases < 2; databases++) {
    for (size_t i = 0; i < capacity; i++) {
      kn_kind kind = (kn_kind)(kept[i] >> KN_KIND_SHIFT);
      if (kept[i] != 0 && (kind == KN_DB) == (databases == 1)) kn_close(kind, kept[i] & KN_HANDLE_MASK);
    }
  }
  free(kept);
}

size_t kn_kept_count(const kn_state *state) {
  return state->kept_count;
}

keel_batch kn_batch_of(napi_env env) {
  kn_state *state = kn_state_of(env);
  keel_error error = {.code = KEEL_E_CLOSED, .message = "the environment is ending"};
  if (state != NULL && state->batch != 0) return state->batch;
  if (state == NULL || keel_batch_new(&state->batch, &error) != KEEL_OK) {
    kn_throw(env, &error);
    return 0;
  }
  return state->batch;
}

void kn_batch_done(napi_env env, uint64_t bytes) {
  kn_state *state = kn_state_of(env);
  if (state == NULL || bytes <= KN_BATCH_KEEP) return;
  (void)keel_batch_free(state->batch, NULL);
  state->batch = 0;
}

/* --- the life of an environment ----------------------------------------------------------------------------------- */

napi_value kn_error_class(napi_env env) {
  kn_state *state = kn_state_of(env);
  napi_value class = NULL;
  if (state == NULL || state->error_class == NULL) return NULL;
  return napi_get_reference_value(env, state->error_class, &class) == napi_ok ? class : NULL;
}

void *kn_scratch_of(napi_env env, size_t *out_size) {
  kn_state *state = kn_state_of(env);
  *out_size = state == NULL ? 0 : state->scratch_size;
  return state == NULL ? NULL : state->scratch_data;
}

static void kn_environment_ends(void *arg) {
  kn_state *state = arg;
  pthread_mutex_lock(&kn_states_lock);
  kn_state **link = &kn_states;
  while (*link != state) link = &(*link)->next;
  *link = state->next;
  pthread_mutex_unlock(&kn_states_lock);
  if (kn_cached_state == state) {
    kn_cached_env = NULL;
    kn_cached_state = NULL;
  }
  if (state->error_class != NULL) (void)napi_delete_reference(state->env, state->error_class);
  if (state->scratch != NULL) (void)napi_delete_reference(state->env, state->scratch);
  state->error_class = state->scratch = NULL;
  state->scratch_size = 0;
  kn_close_kept(state);
  if (state->batch != 0) (void)keel_batch_free(state->batch, NULL);
  state->batch = 0;
  state->env = NULL;
  kn_state_unref(state);
}

static kn_state *kn_state_new(napi_env env) {
  kn_state *state = calloc(1, sizeof *state);
  if (state == NULL) return NULL;
  state->env = env;
  state->thread = pthread_self();
  state->refs = 1;
  if (napi_add_env_cleanup_hook(env, kn_environment_ends, state) != napi_ok) {
    free(state);
    return NULL;
  }
  pthread_mutex_lock(&kn_states_lock);
  state->next = kn_states;
  kn_states = state;
  pthread_mutex_unlock(&kn_states_lock);
  return state;
}

/* setErrorClass(class): what every failed call throws, as new class(message, status, errno). */
static napi_value kn_set_error_class(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value class = NULL;
  kn_state *state = kn_state_of(env);
  if (state == NULL || napi_get_cb_info(env, info, &count, &class, NULL, NULL) != napi_ok) return NULL;
  if (state->error_class != NULL) (void)napi_delete_reference(env, state->error_class);
  state->error_class = NULL;
  if (napi_create_reference(env, class, 1, &state->error_class) != napi_ok) {
    kn_throw_invalid(env, "setErrorClass", "expected a class");
  }
  return NULL;
}

/* setScratch(buffer): where get() leaves small values (reads.c). The caller keeps it to itself, so that nobody
 * detaches it. */
static napi_value kn_set_scratch(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value buffer = NULL;
  bool is_buffer = false;
  kn_state *state = kn_state_of(env);
  if (state == NULL || napi_get_cb_info(env, info, &count, &buffer, NULL, NULL) != napi_ok) return NULL;
  if (napi_is_buffer(env, buffer, &is_buffer) != napi_ok) return NULL;
  state->scratch_size = 0;
  if (state->scratch != NULL) (void)napi_delete_reference(env, state->scratch);
  state->scratch = NULL;
  if (!is_buffer || napi_create_reference(env, buffer, 1, &state->scratch) != napi_ok) {
    kn_throw_invalid(env, "setScratch", "expected a Buffer");
    return NULL;
  }
  (void)napi_get_buffer_info(env, buffer, &state->scratch_data, &state->scratch_size);
  return NULL;
}

/* process.exit() on the main thread ends the process without running the cleanup hooks of the main environment. The
 * databases are safe then as after any crash, but this leaves them in order: closed, and without a log to replay. An
 * 'exit' listener would come too early, before those of the program, which may still use the database. Only
 * environments of the thread that exits are touched: any other one may be in use. */
static void kn_process_exits(void) {
  pthread_mutex_lock(&kn_states_lock);
  for (kn_state *state = kn_states; state != NULL; state = state->next) {
    if (pthread_equal(state->thread, pthread_self())) kn_close_kept(state);
  }
  pthread_mutex_unlock(&kn_states_lock);
}

/* openHandles(): how many handles this environment holds: the leak tests' witness. */
static napi_value kn_open_handles(napi_env env, napi_callback_info info) {
  (void)info;
  kn_state *state = kn_state_of(env);
  return kn_number_out(env, state == NULL ? 0 : kn_kept_count(state));
}

static void kn_watch_exit(void) {
  (void)atexit(kn_process_exits);
}

NAPI_MODULE_INIT() {
  static const napi_property_descriptor own[] = {
      {"setErrorClass", NULL, kn_set_error_class, NULL, NULL, NULL, napi_default, NULL},
      {"setScratch", NULL, kn_set_scratch, NULL, NULL, NULL, napi_default, NULL},
      {"openHandles", NULL, kn_open_handles, NULL, NULL, NULL, napi_default, NULL},
  };
  /* SWIG's start-up code fills tables that all environments share, without a lock of its own. */
  static pthread_mutex_t raw_lock = PTHREAD_MUTEX_INITIALIZER;
  static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&exit_once, kn_watch_exit);
  if (kn_state_of(env) == NULL && kn_state_new(env) == NULL) {
    napi_throw_error(env, "KEEL_E_NO_MEMORY", "keel: out of memory while loading the addon");
    return NULL;
  }
  pthread_mutex_lock(&raw_lock);
  napi_value raw = kn_raw_register(env, exports);
  pthread_mutex_unlock(&raw_lock);
  if (raw == NULL) return NULL;
  if (napi_define_properties(env, exports, sizeof own / sizeof own[0], own) != napi_ok) return NULL;
  if (!kn_async_register(env, exports) || !kn_reads_register(env, exports)) return NULL;
  return exports;
}
