/* flat.i: functions of the ABI whose C form takes an option struct, with the options as arguments.
 *
 * Shared by all languages; the typemaps of the language apply to these as to every other function. A zero (or NULL)
 * option means the default, as it does in the struct. */

%rename("open") keel_flat_open;
%rename("keyspace_open") keel_flat_keyspace_open;
%rename("begin") keel_flat_begin;
%rename("load_begin") keel_flat_load_begin;
%rename("cursor_open") keel_flat_cursor_open;
#ifndef SWIGGO /* go.i has its own */
%rename("check_problem") keel_flat_check_problem;
#endif

%{
#ifdef __cplusplus
#define KEEL_FLAT_THREAD_LOCAL thread_local
#else
#define KEEL_FLAT_THREAD_LOCAL _Thread_local
#endif
%}

%inline %{
static keel_status keel_flat_open(const char *path, uint32_t flags, uint32_t durability, uint32_t page_size,
                                  uint32_t group_interval_ms, uint32_t file_mode, uint64_t log_segment_size,
                                  uint64_t memory_limit, uint64_t cache_size, uint64_t delta_size, uint64_t drain_threads,
                                  keel_db *out_db, keel_error *err) {
  keel_options options;
  memset(&options, 0, sizeof options);
  options.struct_size = (uint32_t)sizeof options;
  options.flags = flags;
  options.durability = durability;
  options.page_size = page_size;
  options.group_interval_ms = group_interval_ms;
  options.file_mode = file_mode;
  options.log_segment_size = log_segment_size;
  options.memory_limit = memory_limit;
  options.cache_size = cache_size;
  options.delta_size = delta_size;
  options.drain_threads = drain_threads;
  return keel_open(path, &options, out_db, err);
}

static keel_status keel_flat_keyspace_open(keel_db db, const char *name, size_t name_size, uint32_t flags,
                                           keel_keyspace *out_keyspace, keel_error *err) {
  keel_keyspace_options options;
  memset(&options, 0, sizeof options);
  options.struct_size = (uint32_t)sizeof options;
  options.flags = flags;
  return keel_keyspace_open(db, name, name_size, &options, out_keyspace, err);
}

static keel_status keel_flat_load_begin(keel_db db, const char *name, size_t name_size, uint32_t flags,
                                        uint64_t buffer_size, keel_load *out_load, keel_error *err) {
  keel_load_options options;
  memset(&options, 0, sizeof options);
  options.struct_size = (uint32_t)sizeof options;
  options.flags = flags;
  options.buffer_size = buffer_size;
  return keel_load_begin(db, name, name_size, &options, out_load, err);
}

static keel_status keel_flat_begin(keel_db db, uint32_t flags, uint32_t isolation, uint32_t durability,
                                   const char *label, keel_txn *out_txn, keel_error *err) {
  keel_txn_options options;
  memset(&options, 0, sizeof options);
  options.struct_size = (uint32_t)sizeof options;
  options.flags = flags;
  options.isolation = isolation;
  options.durability = durability;
  options.label = label;
  return keel_begin(db, &options, out_txn, err);
}

static keel_status keel_flat_cursor_open(keel_txn txn, keel_keyspace keyspace, const void *lower, size_t lower_size,
                                         const void *upper, size_t upper_size, const void *prefix, size_t prefix_size,
                                         keel_cursor *out_cursor, keel_error *err) {
  keel_cursor_options options;
  memset(&options, 0, sizeof options);
  options.struct_size = (uint32_t)sizeof options;
  options.lower = lower;
  options.lower_size = lower_size;
  options.upper = upper;
  options.upper_size = upper_size;
  options.prefix = prefix;
  options.prefix_size = prefix_size;
  return keel_cursor_open(txn, keyspace, &options, out_cursor, err);
}

/* The text of a problem; "" when there is none of that number. It stays until this thread asks again, and the language
 * copies it at once: nothing borrowed gets out. */
static const char *keel_flat_check_problem(keel_check check, uint64_t index) {
  static KEEL_FLAT_THREAD_LOCAL char text[KEEL_CHECK_TEXT_SIZE];
  size_t size;
  if (keel_check_problem(check, index, text, sizeof text, &size, NULL) != KEEL_OK) text[0] = 0;
  return text;
}
%}
