/* bindings/swig/api.gen.i: the C interface as SWIG reads it.
 *
 * Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`.
 *
 * Names of parameters are systematic, so that a typemap can match on type and name:
 *   bytes in       const void *NAME, size_t NAME_size      data, from, key, ops, to, value
 *   text in        const char *NAME, size_t NAME_size      name
 *   bytes out      const void **out_NAME, size_t *out_NAME_size (keel_view_data: out_data, out_size)
 *   handle out     keel_KIND *out_KIND
 *   number out     TYPE *out_NAME
 *   error          keel_error *err, always last
 */
typedef uint64_t keel_db;
typedef uint64_t keel_keyspace;
typedef uint64_t keel_txn;
typedef uint64_t keel_cursor;
typedef uint64_t keel_view;
typedef uint64_t keel_batch;
typedef uint64_t keel_check;
typedef uint64_t keel_load;
typedef uint64_t keel_value;
typedef int32_t keel_status;

const char *keel_version(void);
uint32_t keel_version_number(void);
keel_status keel_feature(const char *name, int32_t *out_enabled, keel_error *err);
const char *keel_status_name(keel_status status);
const char *keel_status_class(keel_status status);
int32_t keel_status_is_retryable(keel_status status);
keel_status keel_open(const char *path, const keel_options *options, keel_db *out_db, keel_error *err);
keel_status keel_close(keel_db db, keel_error *err);
keel_status keel_flush(keel_db db, keel_error *err);
keel_status keel_make_checkpoint(keel_db db, keel_error *err);
keel_status keel_compact(keel_db db, keel_error *err);
keel_status keel_set_cache_size(keel_db db, uint64_t bytes, keel_error *err);
keel_status keel_last_checkpoint(keel_db db, keel_checkpoint *out_checkpoint, keel_error *err);
keel_status keel_get_stats(keel_db db, keel_stats *out_stats, keel_error *err);
keel_status keel_verify_begin(keel_db db, keel_check *out_check, keel_error *err);
keel_status keel_salvage_begin(const char *path, const char *new_path, keel_check *out_check, keel_error *err);
keel_status keel_check_step(keel_check check, uint64_t max_bytes, keel_check_report *out_report, keel_error *err);
keel_status keel_check_problem(keel_check check, uint64_t index, void *buffer, size_t capacity, size_t *out_value_size,
                               keel_error *err);
keel_status keel_check_close(keel_check check, keel_error *err);
keel_status keel_keyspace_open(keel_db db, const char *name, size_t name_size, const keel_keyspace_options *options,
                               keel_keyspace *out_keyspace, keel_error *err);
keel_status keel_keyspace_close(keel_keyspace keyspace, keel_error *err);
keel_status keel_keyspace_drop(keel_db db, const char *name, size_t name_size, keel_error *err);
keel_status keel_keyspace_list(keel_db db, keel_batch batch, keel_error *err);
keel_status keel_begin(keel_db db, const keel_txn_options *options, keel_txn *out_txn, keel_error *err);
keel_status keel_commit(keel_txn txn, uint64_t *out_timestamp, keel_error *err);
keel_status keel_rollback(keel_txn txn, keel_error *err);
keel_status keel_get(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, const void **out_value,
                     size_t *out_value_size, keel_error *err);
keel_status keel_get_copy(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, void *buffer,
                          size_t capacity, size_t *out_value_size, keel_error *err);
keel_status keel_get_part(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t offset,
                          void *buffer, size_t capacity, size_t *out_size, uint64_t *out_value_size, keel_error *err);
keel_status keel_get_view(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, keel_view *out_view,
                          keel_error *err);
keel_status keel_view_data(keel_view view, const void **out_data, size_t *out_size, keel_error *err);
keel_status keel_view_release(keel_view view, keel_error *err);
keel_status keel_get_many(keel_txn txn, keel_keyspace keyspace, const void *keys, const uint64_t *key_offsets,
                          size_t count, keel_batch batch, keel_error *err);
keel_status keel_put(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, const void *value,
                     size_t value_size, keel_error *err);
keel_status keel_del(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, keel_error *err);
keel_status keel_del_range(keel_txn txn, keel_keyspace keyspace, const void *from, size_t from_size, const void *to,
                           size_t to_size, uint64_t *out_count, keel_error *err);
keel_status keel_write_batch(keel_txn txn, keel_keyspace keyspace, const void *ops, size_t ops_size,
                             uint64_t *out_count, keel_error *err);
keel_status keel_value_begin(keel_txn txn, keel_keyspace keyspace, const void *key, size_t key_size, uint64_t size,
                             keel_value *out_value, keel_error *err);
keel_status keel_value_write(keel_value value, const void *data, size_t data_size, keel_error *err);
keel_status keel_value_finish(keel_value value, keel_error *err);
keel_status keel_value_end(keel_value value, keel_error *err);
keel_status keel_load_begin(keel_db db, const char *name, size_t name_size, const keel_load_options *options,
                            keel_load *out_load, keel_error *err);
keel_status keel_load_put(keel_load load, const void *key, size_t key_size, const void *value, size_t value_size,
                          keel_error *err);
keel_status keel_load_batch(keel_load load, const void *ops, size_t ops_size, uint64_t *out_count, keel_error *err);
keel_status keel_load_finish(keel_load load, keel_load_report *out_report, keel_error *err);
keel_status keel_load_end(keel_load load, keel_error *err);
keel_status keel_cursor_open(keel_txn txn, keel_keyspace keyspace, const keel_cursor_options *options,
                             keel_cursor *out_cursor, keel_error *err);
keel_status keel_cursor_close(keel_cursor cursor, keel_error *err);
keel_status keel_cursor_first(keel_cursor cursor, keel_error *err);
keel_status keel_cursor_last(keel_cursor cursor, keel_error *err);
keel_status keel_cursor_next(keel_cursor cursor, keel_error *err);
keel_status keel_cursor_prev(keel_cursor cursor, keel_error *err);
keel_status keel_cursor_seek(keel_cursor cursor, const void *key, size_t key_size, keel_error *err);
keel_status keel_cursor_seek_le(keel_cursor cursor, const void *key, size_t key_size, keel_error *err);
keel_status keel_cursor_get(keel_cursor cursor, const void **out_key, size_t *out_key_size, const void **out_value,
                            size_t *out_value_size, keel_error *err);
keel_status keel_cursor_next_batch(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                   keel_error *err);
keel_status keel_cursor_prev_batch(keel_cursor cursor, size_t max_rows, size_t max_bytes, keel_batch batch,
                                   keel_error *err);
keel_status keel_batch_new(keel_batch *out_batch, keel_error *err);
keel_status keel_batch_free(keel_batch batch, keel_error *err);
keel_status keel_batch_data(keel_batch batch, keel_batch_view *out_view, keel_error *err);
