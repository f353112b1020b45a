/* core/txn/read.c: point reads of a transaction. See txn.h. */
#include <string.h>

#include "txn_private.h"

enum { READ_MANY = 128 }; /* keys that get_many looks up at a time */

bool kl_txn_lookup(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, bool *out_own) {
  const kl_write_tree *tree = kl_write_set_tree(&txn->writes, keyspace);
  if (tree != NULL) {
    const kl_write_entry *entry = kl_write_tree_find(tree, key);
    if (entry != NULL) {
      *out_own = true;
      *out_value = kl_write_entry_value(entry);
      return entry->kind != KL_VERSION_DELETE;
    }
  }
  kl_version version;
  if (!kl_delta_get(txn->delta, keyspace, key, txn->snapshot.ts, &version)) return false;
  *out_own = false;
  *out_value = version.value;
  return version.kind != KL_VERSION_DELETE;
}

/* Inside of the transaction. */
static kl_status read_value(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, bool *out_own,
                            kl_error *err) {
  kl_status status = kl_txn_check_key(key, err);
  if (status != KL_OK) return status;
  txn->gets++;
  if (kl_txn_lookup(txn, keyspace, key, out_value, out_own)) return KL_OK;
  return kl_txn_not_found(err, "the key has no value");
}

kl_status kl_txn_get(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  bool own;
  status = read_value(txn, keyspace, key, out_value, &own, err);
  kl_txn_leave(txn);
  return status;
}

kl_status kl_txn_get_copy(kl_txn *txn, uint32_t keyspace, kl_slice key, void *buffer, size_t capacity, size_t *out_size,
                          kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  bool own;
  kl_slice value;
  status = read_value(txn, keyspace, key, &value, &own, err);
  if (status == KL_OK) {
    size_t size = value.size < capacity ? value.size : capacity;
    if (size != 0) memcpy(buffer, value.data, size);
    *out_size = value.size;
    if (value.size > capacity) {
      status = kl_fail(err, KL_E_BUFFER_SIZE, "the value has %zu bytes, and the buffer has room for %zu", value.size,
                       capacity);
    }
  }
  kl_txn_leave(txn);
  return status;
}

/* A view of a committed value points into the delta, which the manager holds; a view of the transaction's own write
 * carries a copy, because the write set goes with the transaction. */
struct kl_view {
  kl_txn_manager *manager; /* a reference */
  kl_slice value;
  size_t size; /* of this block */
  uint8_t copy[];
};

kl_status kl_txn_get_view(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_view **out_view, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  bool own;
  kl_slice value;
  status = read_value(txn, keyspace, key, &value, &own, err);
  if (status == KL_OK) {
    size_t size = sizeof(kl_view) + (own ? value.size : 0);
    kl_view *view = kl_alloc(&txn->manager->allocator, size);
    if (view == NULL) {
      status = kl_fail(err, KL_E_NO_MEMORY, "no memory for a view (%zu bytes)", size);
    } else {
      if (own && value.size != 0) memcpy(view->copy, value.data, value.size);
      view->manager = txn->manager;
      view->value = own ? kl_slice_make(view->copy, value.size) : value;
      view->size = size;
      kl_txn_manager_ref(view->manager);
      kl_counters_add(&view->manager->counters, TXN_VIEWS, 1);
      *out_view = view;
    }
  }
  kl_txn_leave(txn);
  return status;
}

kl_slice kl_view_value(const kl_view *view) {
  return view->value;
}

void kl_view_release(kl_view *view) {
  if (view == NULL) return;
  kl_txn_manager *manager = view->manager;
  kl_counters_add(&manager->counters, TXN_VIEWS, (uint64_t)0 - 1);
  kl_free(&manager->allocator, view, view->size);
  kl_txn_manager_unref(manager);
}

static kl_status read_check_offsets(const uint64_t *key_offsets, size_t count, kl_error *err) {
  for (size_t i = 0; i < count; i++) {
    if (key_offsets[i + 1] < key_offsets[i]) {
      return kl_fail(err, KL_E_INVALID, "the offset of key %zu lies behind that of key %zu", i, i + 1);
    }
    if (key_offsets[i + 1] - key_offsets[i] > KL_MAX_KEY) {
      return kl_fail(err, KL_E_KEY_SIZE, "key %zu has %llu bytes; at most %d are possible", i,
                     (unsigned long long)(key_offsets[i + 1] - key_offsets[i]), KL_MAX_KEY);
    }
  }
  return KL_OK;
}

/* Looks up `count` <= READ_MANY keys side by side, so that the delta can overlap their cache misses, and adds the
 * rows. */
static kl_status read_rows(kl_txn *txn, uint32_t keyspace, const uint8_t *keys, const uint64_t *offsets, size_t count,
                           kl_batch *batch, kl_error *err) {
  kl_slice wanted[READ_MANY] = {{NULL, 0}};
  kl_version versions[READ_MANY];
  for (size_t i = 0; i < count; i++) {
    size_t size = (size_t)(offsets[i + 1] - offsets[i]);
    wanted[i] = kl_slice_make(size != 0 ? keys + offsets[i] : NULL, size);
  }
  kl_delta_get_many(txn->delta, keyspace, wanted, count, txn->snapshot.ts, versions);
  const kl_write_tree *tree = kl_write_set_tree(&txn->writes, keyspace);
  kl_status status = KL_OK;
  for (size_t i = 0; i < count && status == KL_OK; i++) {
    const kl_write_entry *own = tree != NULL ? kl_write_tree_find(tree, wanted[i]) : NULL;
    bool found = own != NULL ? own->kind == KL_VERSION_PUT : versions[i].ts != 0 && versions[i].kind == KL_VERSION_PUT;
    kl_slice value = {NULL, 0};
    if (found) value = own != NULL ? kl_write_entry_value(own) : versions[i].value;
    status = kl_batch_append(batch, wanted[i], value, found, err);
  }
  return status;
}

kl_status kl_txn_get_many(kl_txn *txn, uint32_t keyspace, const void *keys, const uint64_t *key_offsets, size_t count,
                          kl_batch *batch, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = kl_batch_start(batch, err);
  if (status == KL_OK) status = read_check_offsets(key_offsets, count, err);
  for (size_t done = 0; done < count && status == KL_OK; done += READ_MANY) {
    size_t some = count - done < READ_MANY ? count - done : READ_MANY;
    status = read_rows(txn, keyspace, keys, key_offsets + done, some, batch, err);
    if (status == KL_OK) txn->gets += some;
  }
  if (status != KL_OK) batch->count = 0;
  kl_txn_leave(txn);
  return status;
}
