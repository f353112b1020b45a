/* node/src/async.c: the calls that wait for a disk, as promises.
 *
 * open_async, close_async, flush_async, make_checkpoint_async, compact_async, commit_async, keyspace_open_async,
 * keyspace_drop_async, and those of checks and loads run the same ABI functions as their synchronous namesakes on a
 * thread of Node's pool, and settle a promise on the environment's thread. SWIG wraps calls that return; these are
 * written by hand.
 *
 * A job belongs to the environment's thread before and after it runs, and to one pool thread while it runs; Node hands
 * it over and back. The pool thread touches the job's own fields and the ABI only, never JavaScript. When an
 * environment ends while jobs run (a worker is terminated), Node first waits for them and calls kn_job_done with an
 * environment in which no JavaScript can run: the promise stays unsettled, since nobody is left to hear it, and what
 * the job opened is closed. */
#include <stdlib.h>
#include <string.h>

#include "addon.h"
#include "records.gen.h"

typedef enum kn_job_kind {
  KN_JOB_OPEN,
  KN_JOB_CLOSE,
  KN_JOB_FLUSH,
  KN_JOB_CHECKPOINT,
  KN_JOB_COMPACT,
  KN_JOB_COMMIT,
  KN_JOB_KEYSPACE_OPEN,
  KN_JOB_KEYSPACE_DROP,
  KN_JOB_VERIFY_BEGIN,
  KN_JOB_SALVAGE_BEGIN,
  KN_JOB_CHECK_STEP,
  KN_JOB_CHECK_CLOSE,
  KN_JOB_LOAD_BATCH,
  KN_JOB_LOAD_FINISH,
  KN_JOB_LOAD_END
} kn_job_kind;

typedef struct kn_job {
  kn_job_kind kind;
  kn_state *state;
  napi_async_work work;
  napi_deferred deferred;
  uint64_t handle; /* what the call is about */
  keel_options options;
  keel_keyspace_options keyspace_options;
  kn_bytes text;     /* a path, a keyspace's name, or rows; it may point into itself, so a job stays where it is */
  kn_bytes new_path; /* likewise */
  napi_ref memory;   /* keeps the Buffer into which `text` points; NULL: none */
  uint64_t amount;   /* bytes of a step */
  uint64_t result;   /* what was opened, the commit's timestamp, or a number of rows */
  union {
    keel_check_report check;
    keel_load_report load;
  } report;
  keel_status status;
  keel_error error;
} kn_job;

static void kn_job_free(napi_env env, kn_job *job) {
  if (job->memory != NULL) (void)napi_delete_reference(env, job->memory);
  kn_bytes_free(&job->text);
  kn_bytes_free(&job->new_path);
  kn_state_unref(job->state);
  free(job);
}

/* On a pool thread. */
static void kn_job_run(napi_env env, void *data) {
  kn_job *job = data;
  (void)env;
  switch (job->kind) {
    case KN_JOB_OPEN:
      job->status = keel_open(job->text.data, &job->options, &job->result, &job->error);
      break;
    case KN_JOB_CLOSE:
      job->status = keel_close(job->handle, &job->error);
      break;
    case KN_JOB_FLUSH:
      job->status = keel_flush(job->handle, &job->error);
      break;
    case KN_JOB_CHECKPOINT:
      job->status = keel_make_checkpoint(job->handle, &job->error);
      break;
    case KN_JOB_COMPACT:
      job->status = keel_compact(job->handle, &job->error);
      break;
    case KN_JOB_COMMIT:
      job->status = keel_commit(job->handle, &job->result, &job->error);
      break;
    case KN_JOB_KEYSPACE_OPEN:
      job->status = keel_keyspace_open(job->handle, job->text.data, job->text.size, &job->keyspace_options,
                                       &job->result, &job->error);
      break;
    case KN_JOB_KEYSPACE_DROP:
      job->status = keel_keyspace_drop(job->handle, job->text.data, job->text.size, &job->error);
      break;
    case KN_JOB_VERIFY_BEGIN:
      job->status = keel_verify_begin(job->handle, &job->result, &job->error);
      break;
    case KN_JOB_SALVAGE_BEGIN:
      job->status = keel_salvage_begin(job->text.data, job->new_path.data, &job->result, &job->error);
      break;
    case KN_JOB_CHECK_STEP:
      job->report.check.struct_size = (uint32_t)sizeof job->report.check;
      job->status = keel_check_step(job->handle, job->amount, &job->report.check, &job->error);
      break;
    case KN_JOB_CHECK_CLOSE:
      job->status = keel_check_close(job->handle, &job->error);
      break;
    case KN_JOB_LOAD_BATCH:
      job->status = keel_load_batch(job->handle, job->text.data, job->text.size, &job->result, &job->error);
      break;
    case KN_JOB_LOAD_FINISH:
      job->report.load.struct_size = (uint32_t)sizeof job->report.load;
      job->status = keel_load_finish(job->handle, &job->report.load, &job->error);
      break;
    case KN_JOB_LOAD_END:
      job->status = keel_load_end(job->handle, &job->error);
      break;
  }
}

/* What kind of handle the job opens; 0: none. */
static kn_kind kn_job_opens(const kn_job *job) {
  switch (job->kind) {
    case KN_JOB_OPEN:
      return KN_DB;
    case KN_JOB_KEYSPACE_OPEN:
      return KN_KEYSPACE;
    case KN_JOB_VERIFY_BEGIN:
    case KN_JOB_SALVAGE_BEGIN:
      return KN_CHECK;
    default:
      return (kn_kind)0;
  }
}

static bool kn_job_ends(const kn_job *job) {
  return job->kind == KN_JOB_CLOSE || job->kind == KN_JOB_COMMIT || job->kind == KN_JOB_CHECK_CLOSE ||
         job->kind == KN_JOB_LOAD_END;
}

#define KN_RECORD_FIELD(record, field) \
  { #field, KEEL_FIELD_VALUE(record, field) }

/* What the promise is resolved with. NULL with an exception pending. */
static napi_value kn_job_value(napi_env env, const kn_job *job) {
  napi_value value = NULL;
  if (job->kind == KN_JOB_CHECK_STEP) {
    const kn_field fields[] = {KEEL_CHECK_REPORT_FIELDS(KN_RECORD_FIELD, &job->report.check)};
    return kn_record_out(env, fields, sizeof fields / sizeof fields[0]);
  }
  if (job->kind == KN_JOB_LOAD_FINISH) {
    const kn_field fields[] = {KEEL_LOAD_REPORT_FIELDS(KN_RECORD_FIELD, &job->report.load)};
    return kn_record_out(env, fields, sizeof fields / sizeof fields[0]);
  }
  if (kn_job_opens(job) != 0 || job->kind == KN_JOB_COMMIT || job->kind == KN_JOB_LOAD_BATCH) {
    return kn_number_out(env, job->result);
  }
  return napi_get_undefined(env, &value) == napi_ok ? value : NULL;
}

static void kn_job_settle(napi_env env, kn_job *job) {
  napi_value value = NULL;
  if (job->status != KEEL_OK) {
    value = kn_error_new(env, &job->error);
    if (value != NULL) (void)napi_reject_deferred(env, job->deferred, value);
    return;
  }
  value = kn_job_value(env, job);
  if (value != NULL) (void)napi_resolve_deferred(env, job->deferred, value);
}

/* On the environment's thread again. */
static void kn_job_done(napi_env env, napi_status cancelled, void *data) {
  kn_job *job = data;
  if (cancelled != napi_ok) { /* it never ran: only an environment that ends cancels */
    job->status = KEEL_E_CANCELLED;
    job->error = (keel_error){.code = KEEL_E_CANCELLED, .message = "the environment is ending; the call was not made"};
  } else if (kn_job_opens(job) != 0 && job->status == KEEL_OK) {
    if (!kn_keep(job->state, kn_job_opens(job), job->result)) {
      job->status = KEEL_E_NO_MEMORY;
      job->error = (keel_error){.code = KEEL_E_NO_MEMORY, .message = "out of memory for a handle; it is closed again"};
    }
  } else if (kn_job_ends(job)) {
    kn_ended(job->state, job->handle, job->status);
  }
  kn_job_settle(env, job);
  (void)napi_delete_async_work(env, job->work);
  kn_job_free(env, job);
}

static kn_job *kn_job_new(napi_env env, kn_job_kind kind) {
  kn_state *state = kn_state_of(env);
  kn_job *job = state == NULL ? NULL : calloc(1, sizeof *job);
  if (job == NULL) {
    kn_throw_no_memory(env);
    return NULL;
  }
  kn_state_ref(state);
  job->kind = kind;
  job->state = state;
  return job;
}

/* Queues the job and returns its promise; frees it when that fails, with an exception pending. */
static napi_value kn_job_start(napi_env env, kn_job *job) {
  napi_value name = NULL, promise = NULL;
  bool made = napi_create_string_utf8(env, "keel", NAPI_AUTO_LENGTH, &name) == napi_ok &&
              napi_create_async_work(env, NULL, name, kn_job_run, kn_job_done, job, &job->work) == napi_ok;
  if (made && napi_create_promise(env, &job->deferred, &promise) == napi_ok) {
    if (napi_queue_async_work(env, job->work) == napi_ok) return promise;
    job->status = KEEL_E_CLOSED;
    job->error = (keel_error){.code = KEEL_E_CLOSED, .message = "the environment is ending"};
    kn_job_settle(env, job); /* a deferred must not be left behind */
  }
  if (made) (void)napi_delete_async_work(env, job->work);
  kn_job_free(env, job);
  return promise;
}

/* open_async(path, flags, durability, pageSize, groupIntervalMs, fileMode, logSegmentSize, memoryLimit, cacheSize,
 * deltaSize, drainThreads): promise of a database, with the arguments of the raw open. */
static napi_value kn_open_async(napi_env env, napi_callback_info info) {
  static const char *const names[] = {"flags",          "durability",  "pageSize",  "groupIntervalMs", "fileMode",
                                      "logSegmentSize", "memoryLimit", "cacheSize", "deltaSize",       "drainThreads"};
  enum { NUMBERS = 10, NARROW = 5 };
  napi_value arguments[1 + NUMBERS];
  uint64_t numbers[NUMBERS];
  size_t given = 1 + NUMBERS;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok) return NULL;
  for (size_t i = 0; i < NUMBERS; i++) {
    if (!kn_number_in(env, arguments[1 + i], names[i], i < NARROW ? UINT32_MAX : UINT64_MAX, &numbers[i])) return NULL;
  }
  kn_job *job = kn_job_new(env, KN_JOB_OPEN);
  if (job == NULL) return NULL;
  if (!kn_text_in(env, arguments[0], "path", false, &job->text)) {
    kn_job_free(env, job);
    return NULL;
  }
  job->options.struct_size = (uint32_t)sizeof job->options;
  job->options.flags = (uint32_t)numbers[0];
  job->options.durability = (uint32_t)numbers[1];
  job->options.page_size = (uint32_t)numbers[2];
  job->options.group_interval_ms = (uint32_t)numbers[3];
  job->options.file_mode = (uint32_t)numbers[4];
  job->options.log_segment_size = numbers[5];
  job->options.memory_limit = numbers[6];
  job->options.cache_size = numbers[7];
  job->options.delta_size = numbers[8];
  job->options.drain_threads = numbers[9];
  return kn_job_start(env, job);
}

static napi_value kn_handle_async(napi_env env, napi_callback_info info, kn_job_kind kind) {
  napi_value handle = NULL;
  size_t given = 1;
  if (napi_get_cb_info(env, info, &given, &handle, NULL, NULL) != napi_ok) return NULL;
  kn_job *job = kn_job_new(env, kind);
  if (job == NULL) return NULL;
  job->handle = kn_handle_in(env, handle);
  return kn_job_start(env, job);
}

/* close_async(db), flush_async(db), make_checkpoint_async(db), compact_async(db): promises of nothing. */
static napi_value kn_close_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_CLOSE);
}

static napi_value kn_flush_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_FLUSH);
}

static napi_value kn_make_checkpoint_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_CHECKPOINT);
}

static napi_value kn_compact_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_COMPACT);
}

/* verify_begin_async(db): promise of a check. check_close_async(check), load_end_async(load): promises of nothing. */
static napi_value kn_verify_begin_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_VERIFY_BEGIN);
}

static napi_value kn_check_close_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_CHECK_CLOSE);
}

static napi_value kn_load_end_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_LOAD_END);
}

/* load_finish_async(load): promise of the report. */
static napi_value kn_load_finish_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_LOAD_FINISH);
}

/* salvage_begin_async(path, newPath): promise of a check. */
static napi_value kn_salvage_begin_async(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t given = 2;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok) return NULL;
  kn_job *job = kn_job_new(env, KN_JOB_SALVAGE_BEGIN);
  if (job == NULL) return NULL;
  if (!kn_text_in(env, arguments[0], "path", false, &job->text) ||
      !kn_text_in(env, arguments[1], "newPath", false, &job->new_path)) {
    kn_job_free(env, job);
    return NULL;
  }
  return kn_job_start(env, job);
}

/* check_step_async(check, maxBytes): promise of the report. */
static napi_value kn_check_step_async(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  uint64_t amount = 0;
  size_t given = 2;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok) return NULL;
  if (!kn_number_in(env, arguments[1], "maxBytes", UINT64_MAX, &amount)) return NULL;
  kn_job *job = kn_job_new(env, KN_JOB_CHECK_STEP);
  if (job == NULL) return NULL;
  job->handle = kn_handle_in(env, arguments[0]);
  job->amount = amount;
  return kn_job_start(env, job);
}

/* load_batch_async(load, ops): promise of the number of rows. The caller keeps the Buffer to itself, and leaves it as it
 * is until the promise is settled. */
static napi_value kn_load_batch_async(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t given = 2;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok) return NULL;
  kn_job *job = kn_job_new(env, KN_JOB_LOAD_BATCH);
  if (job == NULL) return NULL;
  job->handle = kn_handle_in(env, arguments[0]);
  if (!kn_bytes_in(env, arguments[1], "ops", false, &job->text)) {
    kn_job_free(env, job);
    return NULL;
  }
  napi_valuetype type = napi_undefined;
  bool kept = napi_typeof(env, arguments[1], &type) == napi_ok &&
              (type != napi_object || napi_create_reference(env, arguments[1], 1, &job->memory) == napi_ok);
  if (!kept) {
    kn_job_free(env, job);
    kn_throw_no_memory(env);
    return NULL;
  }
  return kn_job_start(env, job);
}

/* commit_async(txn): promise of the commit's timestamp. */
static napi_value kn_commit_async(napi_env env, napi_callback_info info) {
  return kn_handle_async(env, info, KN_JOB_COMMIT);
}

/* A job about a keyspace by its name. */
static napi_value kn_keyspace_async(napi_env env, napi_callback_info info, kn_job_kind kind) {
  napi_value arguments[3];
  uint64_t flags = 0;
  size_t given = 3;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok) return NULL;
  if (!kn_number_in(env, arguments[2], "flags", UINT32_MAX, &flags)) return NULL;
  kn_job *job = kn_job_new(env, kind);
  if (job == NULL) return NULL;
  job->handle = kn_handle_in(env, arguments[0]);
  job->keyspace_options.struct_size = (uint32_t)sizeof job->keyspace_options;
  job->keyspace_options.flags = (uint32_t)flags;
  if (!kn_bytes_in(env, arguments[1], "name", false, &job->text)) {
    kn_job_free(env, job);
    return NULL;
  }
  return kn_job_start(env, job);
}

/* keyspace_open_async(db, name, flags): promise of a keyspace. */
static napi_value kn_keyspace_open_async(napi_env env, napi_callback_info info) {
  return kn_keyspace_async(env, info, KN_JOB_KEYSPACE_OPEN);
}

/* keyspace_drop_async(db, name): promise of nothing. */
static napi_value kn_keyspace_drop_async(napi_env env, napi_callback_info info) {
  return kn_keyspace_async(env, info, KN_JOB_KEYSPACE_DROP);
}

bool kn_async_register(napi_env env, napi_value exports) {
  static const napi_property_descriptor functions[] = {
      {"open_async", NULL, kn_open_async, NULL, NULL, NULL, napi_default, NULL},
      {"close_async", NULL, kn_close_async, NULL, NULL, NULL, napi_default, NULL},
      {"flush_async", NULL, kn_flush_async, NULL, NULL, NULL, napi_default, NULL},
      {"make_checkpoint_async", NULL, kn_make_checkpoint_async, NULL, NULL, NULL, napi_default, NULL},
      {"compact_async", NULL, kn_compact_async, NULL, NULL, NULL, napi_default, NULL},
      {"commit_async", NULL, kn_commit_async, NULL, NULL, NULL, napi_default, NULL},
      {"keyspace_open_async", NULL, kn_keyspace_open_async, NULL, NULL, NULL, napi_default, NULL},
      {"keyspace_drop_async", NULL, kn_keyspace_drop_async, NULL, NULL, NULL, napi_default, NULL},
      {"verify_begin_async", NULL, kn_verify_begin_async, NULL, NULL, NULL, napi_default, NULL},
      {"salvage_begin_async", NULL, kn_salvage_begin_async, NULL, NULL, NULL, napi_default, NULL},
      {"check_step_async", NULL, kn_check_step_async, NULL, NULL, NULL, napi_default, NULL},
      {"check_close_async", NULL, kn_check_close_async, NULL, NULL, NULL, napi_default, NULL},
      {"load_batch_async", NULL, kn_load_batch_async, NULL, NULL, NULL, napi_default, NULL},
      {"load_finish_async", NULL, kn_load_finish_async, NULL, NULL, NULL, napi_default, NULL},
      {"load_end_async", NULL, kn_load_end_async, NULL, NULL, NULL, napi_default, NULL},
  };
  return napi_define_properties(env, exports, sizeof functions / sizeof functions[0], functions) == napi_ok;
}
