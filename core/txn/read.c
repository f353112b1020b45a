/* core/txn/read.c: point reads of a transaction. See txn.h. */
#include <string.h>

#include "txn_private.h"

enum { READ_MANY = 128 }; /* keys that get_many looks up at a time */

void kl_txn_find_recent(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_txn_recent *out) {
  const kl_write_tree *tree = kl_write_set_tree(&txn->writes, keyspace);
  out->delta = NULL;
  out->known = true;
  if (tree != NULL) {
    const kl_write_entry *entry = kl_write_tree_find(tree, key);
    if (entry != NULL) {
      out->deleted = entry->kind == KL_VERSION_DELETE;
      out->value = kl_write_entry_value(entry);
      return;
    }
  }
  const kl_layers *layers = txn->snapshot.layers;
  kl_version version;
  out->delta = layers->active;
  if (!kl_delta_get(layers->active, keyspace, key, txn->snapshot.ts, &version)) {
    out->delta = layers->frozen;
    out->known = layers->frozen != NULL && kl_delta_get(layers->frozen, keyspace, key, txn->snapshot.ts, &version);
    if (!out->known) return;
  }
  out->deleted = version.kind == KL_VERSION_DELETE;
  out->value = version.value;
}

/* KL_OK: the run says what the transaction sees. */
static kl_status read_find_run(const kl_run *run, kl_roots *roots, uint32_t keyspace, kl_slice key, kl_txn_recent *out,
                               kl_pages **out_pages, kl_tree_pointer *out_root, kl_error *err) {
  kl_status status = kl_run_find(run, roots, keyspace, key, &out->deleted, out_root, err);
  if (status == KL_OK) out->known = out->deleted;
  if (status == KL_OK && !out->deleted) *out_pages = kl_roots_pages(roots);
  return status;
}

static bool read_find_delta(kl_txn *txn, kl_delta *delta, uint32_t keyspace, kl_slice key, kl_txn_recent *out) {
  kl_version version;
  if (delta == NULL || !kl_delta_get(delta, keyspace, key, txn->snapshot.ts, &version)) return false;
  *out = (kl_txn_recent){true, version.kind == KL_VERSION_DELETE, delta, version.value};
  return true;
}

kl_status kl_txn_find(kl_txn *txn, uint32_t keyspace, kl_slice key, bool own, kl_txn_recent *out, kl_pages **out_pages,
                      kl_tree_pointer *out_root, kl_error *err) {
  const kl_layers *layers = txn->snapshot.layers;
  const kl_write_tree *writes = own ? kl_write_set_tree(&txn->writes, keyspace) : NULL;
  const kl_write_entry *entry = writes != NULL ? kl_write_tree_find(writes, key) : NULL;
  kl_status status = KL_E_NOT_FOUND;
  *out_pages = NULL;
  *out = (kl_txn_recent){0};
  if (entry != NULL) {
    *out = (kl_txn_recent){true, entry->kind == KL_VERSION_DELETE, NULL, kl_write_entry_value(entry)};
    return KL_OK;
  }
  if (own && txn->run != NULL) {
    status = read_find_run(txn->run, txn->run_view.layers->roots, keyspace, key, out, out_pages, out_root, err);
  }
  if (status != KL_E_NOT_FOUND) return status;
  if (read_find_delta(txn, layers->active, keyspace, key, out)) return KL_OK;
  if (layers->run != NULL && layers->run->ts <= txn->snapshot.ts) {
    status = read_find_run(layers->run, layers->roots, keyspace, key, out, out_pages, out_root, err);
  }
  if (status != KL_E_NOT_FOUND) return status;
  if (read_find_delta(txn, layers->frozen, keyspace, key, out)) return KL_OK;
  return kl_txn_tree(txn, keyspace, out_pages, out_root, err);
}

/* kl_txn_find, by the short way where there are no runs. */
static kl_status read_find(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_txn_recent *out, kl_pages **out_pages,
                           kl_tree_pointer *out_root, kl_error *err) {
  if (kl_txn_has_runs(txn)) return kl_txn_find(txn, keyspace, key, true, out, out_pages, out_root, err);
  kl_txn_find_recent(txn, keyspace, key, out);
  return out->known ? KL_OK : kl_txn_tree(txn, keyspace, out_pages, out_root, err);
}

kl_roots *kl_txn_roots(kl_txn *txn) {
  return txn->snapshot.layers->roots;
}

kl_status kl_txn_tree(kl_txn *txn, uint32_t keyspace, kl_pages **out_pages, kl_tree_pointer *out_root, kl_error *err) {
  kl_roots *roots = txn->snapshot.layers->roots;
  *out_pages = NULL;
  if (roots == NULL) return KL_OK;
  kl_status status = kl_roots_find(roots, keyspace, out_root, err);
  if (status == KL_OK && !kl_tree_pointer_is_null(out_root)) *out_pages = kl_roots_pages(roots);
  return status;
}

kl_status kl_txn_exists(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_error *err) {
  kl_txn_recent recent;
  kl_pages *pages;
  kl_tree_pointer root;
  kl_status status = read_find(txn, keyspace, key, &recent, &pages, &root, err);
  if (status != KL_OK) return status;
  if (recent.known) return recent.deleted ? KL_E_NOT_FOUND : KL_OK;
  return pages != NULL ? kl_pages_contains(pages, &root, key, err) : KL_E_NOT_FOUND;
}

/* Inside of the transaction. */
static kl_status read_value(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, kl_error *err) {
  kl_status status = kl_txn_check_key(key, err);
  if (status != KL_OK) return status;
  txn->gets++;
  kl_txn_recent recent;
  kl_pages *pages;
  kl_tree_pointer root;
  status = read_find(txn, keyspace, key, &recent, &pages, &root, err);
  if (status != KL_OK) return status;
  *out_value = recent.value;
  if (recent.known) {
    if (!recent.deleted) return KL_OK;
    status = KL_E_NOT_FOUND;
  } else {
    status = pages != NULL ? kl_pages_get(pages, &root, key, &txn->held, err) : KL_E_NOT_FOUND;
    if (status == KL_OK) *out_value = txn->held.value;
  }
  return status == KL_E_NOT_FOUND ? kl_txn_not_found(err, "the key has no value") : status;
}

kl_status kl_txn_get(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice *out_value, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = read_value(txn, keyspace, key, out_value, err);
  kl_txn_leave(txn);
  return status;
}

kl_status kl_txn_get_copy(kl_txn *txn, uint32_t keyspace, kl_slice key, void *buffer, size_t capacity, size_t *out_size,
                          kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  kl_slice value;
  status = read_value(txn, keyspace, key, &value, err);
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

/* A view of a recent value points into its delta and keeps that; one of a value in the tree holds what kl_pages_hold
 * gives; one of the transaction's own write carries a copy, because the write set goes with the transaction. */
struct kl_view {
  kl_txn_manager *manager; /* a reference */
  kl_slice value;
  kl_delta *delta; /* a reference, or NULL */
  kl_held held;
  size_t size; /* of this block */
  uint8_t copy[];
};

static kl_view *read_view_new(kl_txn *txn, size_t copied, kl_error *err) {
  size_t size = sizeof(kl_view) + copied;
  kl_view *view = kl_alloc(&txn->manager->allocator, size);
  if (view == NULL) {
    (void)kl_fail(err, KL_E_NO_MEMORY, "no memory for a view (%zu bytes)", size);
    return NULL;
  }
  view->size = size;
  view->manager = txn->manager;
  kl_txn_manager_ref(view->manager);
  kl_counters_add(&view->manager->counters, TXN_VIEWS, 1);
  return view;
}

static kl_status read_view_recent(kl_txn *txn, const kl_txn_recent *recent, kl_view **out_view, kl_error *err) {
  if (recent->deleted) return KL_E_NOT_FOUND;
  bool own = recent->delta == NULL;
  kl_view *view = read_view_new(txn, own ? recent->value.size : 0, err);
  if (view == NULL) return KL_E_NO_MEMORY;
  if (own) {
    if (recent->value.size != 0) memcpy(view->copy, recent->value.data, recent->value.size);
    view->value = kl_slice_make(view->copy, recent->value.size);
  } else {
    kl_delta_ref(recent->delta);
    view->delta = recent->delta;
    view->value = recent->value;
  }
  *out_view = view;
  return KL_OK;
}

static kl_status read_view_tree(kl_txn *txn, kl_pages *pages, const kl_tree_pointer *root, kl_slice key,
                                kl_view **out_view, kl_error *err) {
  if (pages == NULL) return KL_E_NOT_FOUND;
  kl_view *view = read_view_new(txn, 0, err);
  if (view == NULL) return KL_E_NO_MEMORY;
  kl_status status = kl_pages_hold(pages, root, key, &view->held, err);
  if (status != KL_OK) {
    kl_view_release(view);
    return status;
  }
  view->value = view->held.value;
  *out_view = view;
  return KL_OK;
}

kl_status kl_txn_get_view(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_view **out_view, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = kl_txn_check_key(key, err);
  if (status == KL_OK) {
    txn->gets++;
    kl_txn_recent recent;
    kl_pages *pages;
    kl_tree_pointer root;
    status = read_find(txn, keyspace, key, &recent, &pages, &root, err);
    if (status == KL_OK) {
      status = recent.known ? read_view_recent(txn, &recent, out_view, err)
                            : read_view_tree(txn, pages, &root, key, out_view, err);
    }
    if (status == KL_E_NOT_FOUND) status = kl_txn_not_found(err, "the key has no value");
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
  kl_held_destroy(&view->held);
  kl_delta_unref(view->delta);
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

/* Some keys on their way through the layers. */
typedef struct read_many {
  kl_batch *batch;
  size_t count, done; /* rows; how many of them are in the batch */
  kl_slice keys[READ_MANY];
  kl_version versions[READ_MANY]; /* the newest one in memory; its ts is 0 where there is none */
  uint32_t missing_count;         /* rows that nothing in memory tells about, ascending */
  uint32_t missing[READ_MANY];
  kl_slice missing_keys[READ_MANY];
} read_many;

static void read_many_note_missing(read_many *many) {
  many->missing_count = 0;
  for (size_t i = 0; i < many->count; i++) {
    if (many->versions[i].ts != 0) continue;
    many->missing[many->missing_count] = (uint32_t)i;
    many->missing_keys[many->missing_count++] = many->keys[i];
  }
}

/* In memory: the transaction's own writes, then the deltas. Each is looked through for all keys side by side, so that
 * cache misses overlap. */
static void read_many_recent(kl_txn *txn, uint32_t keyspace, read_many *many) {
  const kl_layers *layers = txn->snapshot.layers;
  uint64_t ts = txn->snapshot.ts;
  kl_delta_get_many(layers->active, keyspace, many->keys, many->count, ts, many->versions);
  read_many_note_missing(many);
  if (layers->frozen != NULL && many->missing_count != 0) {
    kl_version older[READ_MANY];
    kl_delta_get_many(layers->frozen, keyspace, many->missing_keys, many->missing_count, ts, older);
    for (uint32_t i = 0; i < many->missing_count; i++) many->versions[many->missing[i]] = older[i];
  }
  const kl_write_tree *tree = kl_write_set_tree(&txn->writes, keyspace);
  if (tree == NULL && layers->frozen == NULL) return;
  for (size_t i = 0; i < many->count && tree != NULL; i++) {
    const kl_write_entry *own = kl_write_tree_find(tree, many->keys[i]);
    if (own != NULL)
      many->versions[i] = (kl_version){UINT64_MAX, (kl_version_kind)own->kind, kl_write_entry_value(own)};
  }
  read_many_note_missing(many);
}

/* Adds the rows before `end` that are not in the batch yet. */
static kl_status read_many_append(read_many *many, size_t end, kl_error *err) {
  kl_status status = KL_OK;
  for (; many->done < end && status == KL_OK; many->done++) {
    const kl_version *version = &many->versions[many->done];
    bool found = version->ts != 0 && version->kind == KL_VERSION_PUT;
    status = kl_batch_append(many->batch, many->keys[many->done], found ? version->value : kl_slice_make(NULL, 0),
                             found, err);
  }
  return status;
}

/* Of the tree: the missing key number `index`. Those before it that were not missing come first. */
static kl_status read_many_row(void *context, size_t index, bool found, kl_slice value, kl_error *err) {
  read_many *many = context;
  size_t row = many->missing[index];
  kl_status status = read_many_append(many, row, err);
  if (status != KL_OK) return status;
  many->done = row + 1;
  return kl_batch_append(many->batch, many->keys[row], found ? value : kl_slice_make(NULL, 0), found, err);
}

/* Looks up `count` <= READ_MANY keys, and adds the rows. */
static kl_status read_rows(kl_txn *txn, uint32_t keyspace, const uint8_t *keys, const uint64_t *offsets, size_t count,
                           kl_batch *batch, kl_error *err) {
  read_many many;
  many.batch = batch;
  many.count = count;
  many.done = 0;
  for (size_t i = 0; i < count; i++) {
    size_t size = (size_t)(offsets[i + 1] - offsets[i]);
    many.keys[i] = kl_slice_make(size != 0 ? keys + offsets[i] : NULL, size);
    many.versions[i].ts = 0;
  }
  read_many_recent(txn, keyspace, &many);
  kl_status status = KL_OK;
  if (many.missing_count != 0) {
    kl_pages *pages;
    kl_tree_pointer root;
    status = kl_txn_tree(txn, keyspace, &pages, &root, err);
    if (status == KL_OK && pages != NULL) {
      status = kl_pages_get_many(pages, &root, many.missing_keys, many.missing_count, read_many_row, &many, err);
    }
  }
  return status == KL_OK ? read_many_append(&many, count, err) : status;
}

/* The same one by one, where runs have a say. */
static kl_status read_rows_singly(kl_txn *txn, uint32_t keyspace, const uint8_t *keys, const uint64_t *offsets,
                                  size_t count, kl_batch *batch, kl_error *err) {
  kl_status status = KL_OK;
  for (size_t i = 0; i < count && status == KL_OK; i++) {
    size_t size = (size_t)(offsets[i + 1] - offsets[i]);
    kl_slice key = kl_slice_make(size != 0 ? keys + offsets[i] : NULL, size), value = kl_slice_make(NULL, 0);
    status = read_value(txn, keyspace, key, &value, err);
    bool found = status == KL_OK;
    txn->gets--; /* the caller counts */
    if (status == KL_OK || status == KL_E_NOT_FOUND) {
      status = kl_batch_append(batch, key, found ? value : kl_slice_make(NULL, 0), found, err);
    }
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
    status = kl_txn_has_runs(txn) ? read_rows_singly(txn, keyspace, keys, key_offsets + done, some, batch, err)
                                  : read_rows(txn, keyspace, keys, key_offsets + done, some, batch, err);
    if (status == KL_OK) txn->gets += some;
  }
  if (status != KL_OK) batch->count = 0;
  kl_txn_leave(txn);
  return status;
}
