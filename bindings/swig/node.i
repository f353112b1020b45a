/* node.i: how the ABI's arguments cross into JavaScript, through Node-API. C helpers: node/src/addon.h.
 *
 * The output is C++ because SWIG writes for node-addon-api. A conversion that fails leaves a JavaScript exception
 * pending and goes to the wrapper's `fail` label, past SWIG's own clean-up code. What needs clean-up is therefore a
 * local object with a destructor. */

%{
#include "addon.h"

namespace {
struct KnBytes : kn_bytes {
  KnBytes() { kn_bytes_clear(this); }
  ~KnBytes() { kn_bytes_free(this); }
  KnBytes(const KnBytes &) = delete;
  KnBytes &operator=(const KnBytes &) = delete;
};
}  // namespace

#define KN_RECORD_FIELD(record, field) {#field, KEEL_FIELD_VALUE(record, field)}

/* SWIG would make this file the addon's entry point. That is in addon.c, which prepares the environment's state first,
 * and then calls this. */
#undef NODE_API_MODULE
#define NODE_API_MODULE(module, init)                                       \
  extern "C" napi_value kn_raw_register(napi_env env, napi_value exports) { \
    return Napi::RegisterModule(env, exports, init);                        \
  }
%}

/* SWIG's own registration makes node-addon-api allocate something for each function, and never free it: once per
 * worker. */
%fragment("jsnapi_register_global_function", "templates") %{
  exports.Set("$jsname", Napi::Function::New<$jswrapper>(env, "$jsname"));
%}

/* JavaScript has one thread and no lock to let go: calls that must not hold up the event loop are in node/src/async.c.
 * */
%define KEEL_BLOCKING(function)
%enddef

/* --- errors ---
 * `result` is the local in which SWIG keeps what the function returned. */
%typemap(out, noblock=1) keel_status {
  $result = env.Undefined();
}
%typemap(in, numinputs=0, noblock=1) keel_error *err (keel_error error) {
  error.code = KEEL_OK;
  error.system_errno = 0;
  error.message[0] = 0;
  $1 = &error;
}
%typemap(argout, noblock=1) keel_error *err {
  if (result != KEEL_OK) {
    kn_throw(env, $1);
    SWIG_fail;
  }
}

/* Absence is an answer: a move tells whether there is a row, a view is undefined. */
%define KN_MOVES(function)
%typemap(out, noblock=1) keel_status function {
  $result = Napi::Boolean::New(env, result == KEEL_OK);
  if (result == KEEL_E_NOT_FOUND) result = KEEL_OK;
}
%enddef
KN_MOVES(keel_cursor_first)
KN_MOVES(keel_cursor_last)
KN_MOVES(keel_cursor_next)
KN_MOVES(keel_cursor_prev)
KN_MOVES(keel_cursor_seek)
KN_MOVES(keel_cursor_seek_le)
%typemap(out, noblock=1) keel_status keel_get_view {
  $result = env.Undefined();
  if (result == KEEL_E_NOT_FOUND) result = KEEL_OK;
}

/* --- handles: each is kept for its environment until the call that ends it (addon.h) --- */
%typemap(in, noblock=1) keel_db, keel_keyspace, keel_txn, keel_cursor, keel_view, keel_batch, keel_check, keel_load,
    keel_value {
  $1 = kn_handle_in(env, $input);
}
%define KN_OPENS(kind, parameter)
%typemap(in, numinputs=0, noblock=1) uint64_t *parameter (uint64_t made) {
  made = 0;
  $1 = &made;
}
%typemap(argout, noblock=1) uint64_t *parameter {
  if (result == KEEL_OK && *$1 != 0) {
    if (!kn_keep(kn_state_of(env), kind, *$1)) {
      kn_throw_no_memory(env);
      SWIG_fail;
    }
    $result = Napi::Value(env, kn_number_out(env, *$1));
  }
}
%enddef
KN_OPENS(KN_DB, out_db)
KN_OPENS(KN_KEYSPACE, out_keyspace)
KN_OPENS(KN_TXN, out_txn)
KN_OPENS(KN_CURSOR, out_cursor)
KN_OPENS(KN_VIEW, out_view)
KN_OPENS(KN_CHECK, out_check)
KN_OPENS(KN_LOAD, out_load)
KN_OPENS(KN_VALUE, out_value)
%apply uint64_t *out_db { keel_db *out_db };
%apply uint64_t *out_keyspace { keel_keyspace *out_keyspace };
%apply uint64_t *out_txn { keel_txn *out_txn };
%apply uint64_t *out_cursor { keel_cursor *out_cursor };
%apply uint64_t *out_view { keel_view *out_view };
%apply uint64_t *out_check { keel_check *out_check };
%apply uint64_t *out_load { keel_load *out_load };
%apply uint64_t *out_value { keel_value *out_value };

%define KN_ENDS(function)
%typemap(out, noblock=1) keel_status function {
  kn_ended(kn_state_of(env), arg1, result);
  $result = env.Undefined();
}
%enddef
KN_ENDS(keel_close)
KN_ENDS(keel_keyspace_close)
KN_ENDS(keel_commit)
KN_ENDS(keel_rollback)
KN_ENDS(keel_cursor_close)
KN_ENDS(keel_view_release)
KN_ENDS(keel_check_close)
KN_ENDS(keel_load_end)
KN_ENDS(keel_value_end)

/* --- numbers --- */
%typemap(in, noblock=1) uint32_t (uint64_t number), int32_t (uint64_t number) {
  if (!kn_number_in(env, $input, "$1_name", INT32_MAX, &number)) SWIG_fail;
  $1 = ($1_ltype)number;
}
%typemap(in, noblock=1) uint64_t (uint64_t number), size_t (uint64_t number) {
  if (!kn_number_in(env, $input, "$1_name", SIZE_MAX, &number)) SWIG_fail;
  $1 = ($1_ltype)number;
}
%typemap(in, noblock=1) keel_status status {
  $1 = 0;
  (void)napi_get_value_int32(env, $input, &$1);
}
%typemap(out, noblock=1) uint32_t, int32_t {
  $result = Napi::Number::New(env, (double)$1);
}
%typemap(in, numinputs=0, noblock=1) uint64_t *out_timestamp (uint64_t made), uint64_t *out_count (uint64_t made) {
  made = 0;
  $1 = &made;
}
%typemap(argout, noblock=1) uint64_t *out_timestamp, uint64_t *out_count {
  if (result == KEEL_OK) $result = Napi::Value(env, kn_number_out(env, *$1));
}
%typemap(in, numinputs=0, noblock=1) int32_t *out_enabled (int32_t enabled) {
  enabled = 0;
  $1 = &enabled;
}
%typemap(argout, noblock=1) int32_t *out_enabled {
  if (result == KEEL_OK) $result = Napi::Boolean::New(env, *$1 != 0);
}

/* --- bytes in: a string (as UTF-8) or anything that holds bytes --- */
%typemap(in, noblock=1) (const void *key, size_t key_size) (KnBytes bytes) {
  if (!kn_bytes_in(env, $input, "$1_name", false, &bytes)) SWIG_fail;
  $1 = ($1_ltype)bytes.data;
  $2 = bytes.size;
}
%apply (const void *key, size_t key_size) {
  (const void *value, size_t value_size), (const void *data, size_t data_size), (const char *name, size_t name_size),
  (const void *ops, size_t ops_size)
};
/* undefined and null are an open end. */
%typemap(in, noblock=1) (const void *from, size_t from_size) (KnBytes bytes) {
  if (!kn_bytes_in(env, $input, "$1_name", true, &bytes)) SWIG_fail;
  $1 = ($1_ltype)bytes.data;
  $2 = bytes.size;
}
%apply (const void *from, size_t from_size) {
  (const void *to, size_t to_size), (const void *lower, size_t lower_size), (const void *upper, size_t upper_size),
  (const void *prefix, size_t prefix_size)
};

/* --- text --- */
%typemap(in, noblock=1) const char *path (KnBytes text), const char *new_path (KnBytes text),
    const char *name (KnBytes text) {
  if (!kn_text_in(env, $input, "$1_name", false, &text)) SWIG_fail;
  $1 = ($1_ltype)text.data;
}
%typemap(in, noblock=1) const char *label (KnBytes text) {
  if (!kn_text_in(env, $input, "$1_name", true, &text)) SWIG_fail;
  $1 = ($1_ltype)text.data;
}
%typemap(freearg) const char *path, const char *new_path, const char *name, const char *label ""
%typemap(out, noblock=1) const char * {
  $result = Napi::String::New(env, $1);
}

/* --- records --- */
%typemap(in, numinputs=0, noblock=1) keel_stats *out_stats (keel_stats record),
    keel_checkpoint *out_checkpoint (keel_checkpoint record), keel_check_report *out_report (keel_check_report record),
    keel_load_report *out_report (keel_load_report record) {
  memset(&record, 0, sizeof record);
  record.struct_size = (uint32_t)sizeof record;
  $1 = &record;
}
%typemap(argout, noblock=1) keel_stats *out_stats {
  if (result == KEEL_OK) {
    const kn_field fields[] = {KEEL_STATS_FIELDS(KN_RECORD_FIELD, $1)};
    $result = Napi::Value(env, kn_record_out(env, fields, sizeof fields / sizeof fields[0]));
  }
}
%typemap(argout, noblock=1) keel_check_report *out_report {
  if (result == KEEL_OK) {
    const kn_field fields[] = {KEEL_CHECK_REPORT_FIELDS(KN_RECORD_FIELD, $1)};
    $result = Napi::Value(env, kn_record_out(env, fields, sizeof fields / sizeof fields[0]));
  }
}
%typemap(argout, noblock=1) keel_load_report *out_report {
  if (result == KEEL_OK) {
    const kn_field fields[] = {KEEL_LOAD_REPORT_FIELDS(KN_RECORD_FIELD, $1)};
    $result = Napi::Value(env, kn_record_out(env, fields, sizeof fields / sizeof fields[0]));
  }
}
%typemap(argout, noblock=1) keel_checkpoint *out_checkpoint {
  if (result == KEEL_OK) {
    const kn_field fields[] = {KEEL_CHECKPOINT_FIELDS(KN_RECORD_FIELD, $1)};
    $result = Napi::Value(env, kn_record_out(env, fields, sizeof fields / sizeof fields[0]));
  }
}

/* --- what is lent in C is copied in one call by node/src/reads.c --- */
%ignore keel_get;
%ignore keel_get_copy;
%ignore keel_get_part;
%ignore keel_view_data;
%ignore keel_get_many;
%ignore keel_cursor_get;
%ignore keel_cursor_next_batch;
%ignore keel_cursor_prev_batch;
%ignore keel_keyspace_list;
%ignore keel_batch_new;
%ignore keel_batch_free;
%ignore keel_batch_data;
