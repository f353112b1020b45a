/* core/txn/txn.c: the life of a transaction: begin, write, end. See txn.h. Reading is in read.c and cursor.c. */
#include "txn.h"

#include "../base/assert.h"
#include "sources.h"
#include "txn_private.h"

static kl_status txn_check_options(const kl_txn_manager *manager, const kl_txn_options *options, kl_error *err) {
  switch (options->isolation) {
    case KL_ISOLATION_DEFAULT:
    case KL_ISOLATION_SNAPSHOT:
    /* These three get snapshot isolation, the next stronger level that exists. */
    case KL_ISOLATION_READ_COMMITTED:
    case KL_ISOLATION_REPEATABLE_READ:
    case KL_ISOLATION_READ_UNCOMMITTED:
      break;
    case KL_ISOLATION_SERIALIZABLE:
      return kl_fail(err, KL_E_UNSUPPORTED,
                     "serializable isolation is stronger than what this version gives; ask for snapshot isolation");
    default:
      return kl_fail(err, KL_E_INVALID, "unknown isolation %d", (int)options->isolation);
  }
  if (options->durability > KL_DURABILITY_NONE) {
    return kl_fail(err, KL_E_INVALID, "unknown durability %d", (int)options->durability);
  }
  if (!options->read_only && manager->options.read_only) {
    return kl_fail(err, KL_E_READ_ONLY, "the database is open read-only; begin the transaction as read-only");
  }
  return KL_OK;
}

static kl_txn *txn_new(kl_txn_manager *manager) {
  kl_txn *txn = kl_alloc(&manager->allocator, sizeof *txn);
  if (txn == NULL) return NULL;
  kl_txn_manager_ref(manager);
  txn->manager = manager;
  kl_write_set_init(&txn->writes, &manager->allocator);
  return txn;
}

static void txn_free(kl_txn *txn) {
  kl_txn_manager *manager = txn->manager;
  kl_write_set_destroy(&txn->writes);
  kl_held_destroy(&txn->held);
  kl_free(&manager->allocator, txn, sizeof *txn);
  kl_txn_manager_unref(manager);
}

static kl_txn *txn_spares_closed(kl_txn_manager *manager) {
  return (kl_txn *)(void *)manager;
}

static kl_txn_spare *txn_spare(kl_txn_manager *manager) {
  return &manager->spares[kl_thread_hint() & (TXN_SPARES - 1)];
}

static kl_txn *txn_take_spare(kl_txn_manager *manager) {
  kl_txn_spare *spare = txn_spare(manager);
  kl_txn *txn = atomic_load_explicit(&spare->txn, memory_order_relaxed);
  if (txn == NULL || txn == txn_spares_closed(manager)) return NULL;
  /* Acquire: what its last user left. That it may have been taken and put back since the load does no harm. */
  if (!atomic_compare_exchange_strong_explicit(&spare->txn, &txn, NULL, memory_order_acquire, memory_order_relaxed)) {
    return NULL;
  }
  return txn;
}

/* Nobody refers to the transaction any more. */
static void txn_keep_or_free(kl_txn *txn) {
  kl_txn *none = NULL;
  if (!atomic_compare_exchange_strong_explicit(&txn_spare(txn->manager)->txn, &none, txn, memory_order_release,
                                               memory_order_relaxed)) {
    txn_free(txn);
  }
}

void kl_txn_close_spares(kl_txn_manager *manager) {
  for (int i = 0; i < TXN_SPARES; i++) {
    kl_txn *txn = atomic_exchange_explicit(&manager->spares[i].txn, txn_spares_closed(manager), memory_order_acquire);
    if (txn != NULL && txn != txn_spares_closed(manager)) txn_free(txn);
  }
}

kl_status kl_txn_begin(kl_txn_manager *manager, const kl_txn_options *options, kl_txn **out_txn, kl_error *err) {
  static const kl_txn_options txn_default_options;
  if (options == NULL) options = &txn_default_options;
  if (!atomic_load_explicit(&manager->open, memory_order_acquire)) {
    return kl_fail(err, KL_E_CLOSED, "the database is closed");
  }
  kl_status status = txn_check_options(manager, options, err);
  if (status == KL_OK && !options->read_only) status = kl_txn_manager_check(manager, err);
  if (status != KL_OK) return status;
  kl_txn *txn = txn_take_spare(manager);
  if (txn == NULL) txn = txn_new(manager);
  if (txn == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a transaction");
  /* Of the time nothing is asked but how old the oldest snapshot is. */
  uint64_t now_ns = kl_os_monotonic_coarse_ns(manager->os);
  status = kl_snapshot_begin(&manager->snapshots, now_ns, options->label, &txn->snapshot, err);
  if (status != KL_OK) {
    txn_keep_or_free(txn);
    return status;
  }
  atomic_store_explicit(&txn->references, 1, memory_order_relaxed);
  txn->state = KL_TXN_ACTIVE;
  txn->read_only = options->read_only;
  txn->uncounted = options->uncounted;
  txn->durability = options->durability == KL_DURABILITY_DEFAULT ? manager->options.durability : options->durability;
  txn->gets = txn->puts = txn->deletes = txn->cursor_steps = 0;
  txn->cursors = NULL;
  *out_txn = txn;
  return KL_OK;
}

kl_status kl_txn_enter(kl_txn *txn, kl_error *err) {
  /* Acquire: what the thread before did. */
  if (atomic_exchange_explicit(&txn->busy, 1, memory_order_acquire) != 0) {
    return kl_fail(err, KL_E_CONCURRENT_USE, "another thread is using the transaction at this moment");
  }
  if (txn->state != KL_TXN_ACTIVE) {
    const char *how = txn->state == KL_TXN_COMMITTED ? "committed" : "rolled back";
    kl_txn_leave(txn);
    return kl_fail(err, KL_E_FINISHED, "the transaction has been %s", how);
  }
  return KL_OK;
}

/* Gives back everything but the object itself. */
static void txn_end(kl_txn *txn, kl_txn_state state) {
  kl_txn_manager *manager = txn->manager;
  size_t reserved = txn->writes.arena.bytes_reserved;
  bool is_much =
      reserved > TXN_SPARE_MEMORY ||
      (manager->options.spill != NULL && reserved > manager->options.spill_size / 2); /* the next would move at once */
  if (is_much) {
    kl_write_set_destroy(&txn->writes);
    kl_write_set_init(&txn->writes, &manager->allocator);
  } else if (reserved != 0) {
    kl_write_set_reset(&txn->writes);
  }
  if (txn->run != NULL) kl_txn_leave_run(txn, state == KL_TXN_COMMITTED);
  kl_pages_part_free(txn->part);
  txn->part = NULL;
  kl_held_clear(&txn->held); /* while the snapshot keeps what it holds on to */
  const kl_layers *layers = txn->snapshot.layers;
  kl_snapshot_end(&txn->snapshot);
  /* Perhaps the last to read them. Only compared, not looked into: they may be gone already. */
  if (layers != atomic_load_explicit(&manager->layers.current, memory_order_relaxed)) {
    kl_layers_collect(&manager->layers);
  }
  txn->state = state;
  if (txn->uncounted) return;
  if (txn->gets != 0) kl_counters_add(&manager->operations, TXN_GETS, txn->gets);
  if (txn->puts != 0) kl_counters_add(&manager->operations, TXN_PUTS, txn->puts);
  if (txn->deletes != 0) kl_counters_add(&manager->operations, TXN_DELETES, txn->deletes);
  if (txn->cursor_steps != 0) kl_counters_add(&manager->operations, TXN_CURSOR_STEPS, txn->cursor_steps);
}

kl_status kl_txn_commit(kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  kl_txn_manager *manager = txn->manager;
  uint64_t ts = 0;
  unsigned counter = TXN_COMMITS_READ_ONLY;
  if (txn->run != NULL) {
    status = kl_txn_commit_run(txn, &ts, err);
  } else if (txn->writes.count != 0) {
    status = kl_commit_run(txn, &ts, err);
    counter = status == KL_OK ? TXN_COMMITS : status == KL_E_CONFLICT ? TXN_CONFLICTS : TXN_ROLLBACKS;
  }
  kl_counters_add(&manager->counters, counter, 1);
  if (status == KL_OK && out_ts != NULL) *out_ts = ts;
  txn_end(txn, status == KL_OK ? KL_TXN_COMMITTED : KL_TXN_ROLLED_BACK);
  kl_txn_leave(txn);
  return status;
}

kl_status kl_txn_rollback(kl_txn *txn, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  if (!txn->uncounted) kl_counters_add(&txn->manager->counters, TXN_ROLLBACKS, 1);
  txn_end(txn, KL_TXN_ROLLED_BACK);
  kl_txn_leave(txn);
  return KL_OK;
}

void kl_txn_unref(kl_txn *txn) {
  /* Release: our use ends before; acquire: the one that frees has seen all others end. */
  if (atomic_fetch_sub_explicit(&txn->references, 1, memory_order_acq_rel) != 1) return;
  txn_keep_or_free(txn);
}

void kl_txn_release(kl_txn *txn) {
  if (txn == NULL) return;
  kl_status status = kl_txn_rollback(txn, NULL);
  /* Its owner uses it no more; only cursors that it left open may be inside, and those only to find that it has ended.
   * The state has not changed since our last use, so that reading it without having entered is no race. */
  KL_ASSERT(status != KL_E_CONCURRENT_USE || txn->state != KL_TXN_ACTIVE);
  (void)status;
  kl_txn_unref(txn);
}

kl_txn_manager *kl_txn_get_manager(kl_txn *txn) {
  return txn->manager;
}
bool kl_txn_is_read_only(const kl_txn *txn) {
  return txn->read_only;
}

kl_status kl_txn_check_key(kl_slice key, kl_error *err) {
  if (key.size <= KL_MAX_KEY) return KL_OK;
  return kl_fail(err, KL_E_KEY_SIZE, "the key has %zu bytes; at most %d are possible", key.size, KL_MAX_KEY);
}

/* Before the first write to a keyspace: was it dropped before our snapshot? A drop after it is the commit's to find. */
static kl_status txn_check_keyspace(kl_txn *txn, uint32_t keyspace, kl_error *err) {
  if (keyspace == 0 || kl_write_set_tree(&txn->writes, keyspace) != NULL) return KL_OK;
  uint8_t marker[KL_DROP_MARKER_SIZE];
  kl_drop_marker_encode(keyspace, marker);
  kl_status status = kl_txn_exists(txn, 0, kl_slice_make(marker, sizeof marker), err);
  if (status == KL_E_NOT_FOUND) return KL_OK;
  if (status != KL_OK) return status;
  return kl_fail(err, KL_E_KEYSPACE_NOT_FOUND, "keyspace %u has been dropped", keyspace);
}

kl_status kl_txn_check_value(kl_slice value, kl_error *err) {
  if (value.size <= KL_MAX_VALUE) return KL_OK;
  return kl_fail(err, KL_E_VALUE_SIZE, "the value has %zu bytes; at most %zu are possible", value.size, KL_MAX_VALUE);
}

/* Its writes could not be moved to the file, several times over. */
static kl_status txn_check_room(const kl_txn *txn, kl_error *err) {
  const kl_txn_manager_options *options = &txn->manager->options;
  uint64_t bytes = txn->writes.arena.bytes_reserved;
  if (options->spill == NULL || bytes / TXN_SPILL_LEEWAY <= options->spill_size) return KL_OK;
  return kl_fail(
      err, KL_E_LIMIT,
      "the transaction has %llu bytes of writes in memory, and they could not be moved to the file; make room "
      "there, or roll back",
      (unsigned long long)bytes);
}

kl_status kl_txn_check_write(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err) {
  if (txn->read_only) return kl_fail(err, KL_E_READ_ONLY, "the transaction was begun as read-only");
  kl_status status = kl_txn_check_key(key, err);
  if (status == KL_OK) status = txn_check_keyspace(txn, keyspace, err);
  return status == KL_OK ? txn_check_room(txn, err) : status;
}

/* Inside of the transaction. */
static kl_status txn_write(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_version_kind kind, kl_slice value,
                           kl_error *err) {
  kl_status status = kl_txn_check_write(txn, keyspace, key, err);
  if (status == KL_OK) status = kl_write_set_write(&txn->writes, keyspace, key, kind, value, err);
  return status;
}

kl_status kl_txn_put(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice value, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = kl_txn_check_value(value, err);
  if (status == KL_OK && kl_txn_is_large(txn, value.size)) {
    status = kl_txn_put_large(txn, keyspace, key, value, err);
    kl_txn_leave(txn);
    return status;
  }
  if (status == KL_OK) status = txn_write(txn, keyspace, key, KL_VERSION_PUT, value, err);
  if (status == KL_OK) txn->puts++;
  if (status == KL_OK && kl_txn_wants_spill(txn)) status = kl_txn_spill(txn, err);
  kl_txn_leave(txn);
  return status;
}

kl_status kl_txn_delete(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = txn_write(txn, keyspace, key, KL_VERSION_DELETE, kl_slice_make(NULL, 0), err);
  if (status == KL_OK) txn->deletes++;
  if (status == KL_OK && kl_txn_wants_spill(txn)) status = kl_txn_spill(txn, err);
  kl_txn_leave(txn);
  return status;
}

/* From `from` on, until all is deleted or the writes are to be moved: then *out_left is the key that was deleted last, in `left`. The
 * sources hold on to the keys while the write set grows. */
static kl_status txn_delete_some(kl_txn *txn, uint32_t keyspace, kl_slice from, kl_slice to, uint64_t *count,
                                 uint8_t left[KL_MAX_KEY], kl_slice *out_left, kl_error *err) {
  kl_txn_sources sources;
  kl_status status = kl_txn_sources_init(&sources, txn, keyspace, err);
  if (status != KL_OK) return status;
  kl_merge *merge = &sources.merge;
  status = from.data == NULL ? kl_merge_first(merge, err) : kl_merge_seek_ge(merge, from, err);
  while (status == KL_OK && merge->current != NULL) {
    kl_slice key = merge->current->key;
    if (to.data != NULL && kl_slice_compare(key, to) >= 0) break;
    status = txn_write(txn, keyspace, key, KL_VERSION_DELETE, kl_slice_make(NULL, 0), err);
    if (status != KL_OK) break;
    ++*count;
    if (kl_txn_wants_spill(txn)) {
      if (key.size != 0) memcpy(left, key.data, key.size);
      *out_left = kl_slice_make(left, key.size);
      break;
    }
    status = kl_merge_refresh(merge, &sources.own.source, key, err);
    if (status == KL_OK) status = kl_merge_next(merge, key, err);
  }
  kl_txn_sources_destroy(&sources);
  return status;
}

static kl_status txn_delete_rows(kl_txn *txn, uint32_t keyspace, kl_slice from, kl_slice to, uint64_t *count,
                                 kl_error *err) {
  uint8_t left[KL_MAX_KEY];
  for (;;) {
    kl_slice at = kl_slice_make(NULL, 0);
    kl_status status = txn_delete_some(txn, keyspace, from, to, count, left, &at, err);
    if (status != KL_OK || at.data == NULL) return status;
    status = kl_txn_spill(txn, err);
    if (status != KL_OK) return status;
    from = at; /* it is deleted: the first row that is seen lies behind it */
  }
}

kl_status kl_txn_delete_range(kl_txn *txn, uint32_t keyspace, kl_slice from, kl_slice to, uint64_t *out_count,
                              kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  uint64_t count = 0;
  if (txn->read_only) status = kl_fail(err, KL_E_READ_ONLY, "the transaction was begun as read-only");
  if (status == KL_OK) status = kl_txn_check_key(from, err);
  if (status == KL_OK) status = kl_txn_check_key(to, err);
  if (status == KL_OK) status = txn_delete_rows(txn, keyspace, from, to, &count, err);
  txn->deletes += count;
  if (out_count != NULL) *out_count = count;
  kl_txn_leave(txn);
  return status;
}
