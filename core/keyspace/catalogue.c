/* core/keyspace/catalogue.c: opening, creating, dropping and listing keyspaces. See keyspace.h.
 *
 * Two locks. `changing` is held by whoever creates or drops a keyspace, or opens one that nobody has open: it makes
 * "look, then create" one step, and lasts as long as the commit. `table` guards the table of open keyspaces and is
 * held for a few instructions. Order: changing, then table. */
#include "keyspace.h"

#include <stdatomic.h>
#include <string.h>

#include "../base/assert.h"
#include "../base/crc32c.h"
#include "../os/thread.h"
#include "../txn/manager.h"
#include "record.h"

enum { CATALOGUE_BUCKETS = 256 };

struct kl_keyspace {
  kl_catalogue *catalogue;
  kl_keyspace *next;   /* in its bucket; guarded by catalogue->table */
  uint64_t references; /* likewise */
  _Atomic bool dropped;
  uint32_t id;
  uint32_t name_size;
  uint8_t name[];
};

struct kl_catalogue {
  kl_txn_manager *manager; /* a reference */
  kl_allocator *allocator;
  kl_mutex changing;
  kl_mutex table;
  kl_keyspace *buckets[CATALOGUE_BUCKETS]; /* open and not dropped, by name */
};

static kl_slice catalogue_next_id_key(void) {
  static const uint8_t catalogue_next_id_bytes[1] = {CATALOGUE_NEXT_ID_KEY};
  return kl_slice_make(catalogue_next_id_bytes, sizeof catalogue_next_id_bytes);
}

static kl_status catalogue_unreadable(kl_status status, const kl_error *cause, kl_error *err) {
  return kl_fail_errno(err, status, cause->system_errno, "cannot read the catalogue: %s", cause->message);
}

/* 1 while there is no record: no keyspace has been created yet. */
static kl_status catalogue_read_next_id(kl_txn *txn, uint32_t *out, kl_error *err) {
  kl_slice value;
  kl_error cause;
  kl_status status = kl_txn_get(txn, KL_CATALOGUE_KEYSPACE, catalogue_next_id_key(), &value, &cause);
  if (status == KL_OK) return catalogue_next_id_decode(value, out, err);
  if (status != KL_E_NOT_FOUND) return catalogue_unreadable(status, &cause, err);
  *out = KL_CATALOGUE_KEYSPACE + 1;
  return KL_OK;
}

/* KL_E_KEYSPACE_NOT_FOUND when there is none of that name. */
static kl_status catalogue_read(kl_txn *txn, kl_slice name, catalogue_record *out, kl_error *err) {
  uint8_t key[CATALOGUE_NAME_KEY_MAX];
  kl_slice value;
  kl_error cause;
  kl_status status = kl_txn_get(txn, KL_CATALOGUE_KEYSPACE, catalogue_name_key(name, key), &value, &cause);
  if (status == KL_OK) return catalogue_record_decode(value, out, err);
  if (status != KL_E_NOT_FOUND) return catalogue_unreadable(status, &cause, err);
  return kl_fail(err, KL_E_KEYSPACE_NOT_FOUND, "there is no keyspace \"%.*s\"", (int)name.size,
                 (const char *)name.data);
}

static kl_status catalogue_begin(kl_catalogue *catalogue, bool read_only, kl_txn **out, kl_error *err) {
  kl_txn_options options = {.read_only = read_only, .label = "keel catalogue", .uncounted = true};
  return kl_txn_begin(catalogue->manager, &options, out, err);
}

kl_status kl_catalogue_new(kl_txn_manager *manager, kl_allocator *allocator, kl_catalogue **out, kl_error *err) {
  kl_catalogue *catalogue = kl_alloc(allocator, sizeof *catalogue);
  if (catalogue == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the catalogue of keyspaces");
  catalogue->manager = manager;
  catalogue->allocator = allocator;
  kl_status status = kl_mutex_init(&catalogue->changing, err);
  if (status != KL_OK) goto no_changing;
  status = kl_mutex_init(&catalogue->table, err);
  if (status != KL_OK) goto no_table;
  /* A catalogue that cannot be read is better found now than at the first name. */
  kl_txn *txn;
  uint32_t next_id;
  status = catalogue_begin(catalogue, true, &txn, err);
  if (status == KL_OK) {
    status = catalogue_read_next_id(txn, &next_id, err);
    kl_txn_release(txn);
  }
  if (status != KL_OK) goto unreadable;
  kl_txn_manager_ref(manager);
  *out = catalogue;
  return KL_OK;
unreadable:
  kl_mutex_destroy(&catalogue->table);
no_table:
  kl_mutex_destroy(&catalogue->changing);
no_changing:
  kl_free(allocator, catalogue, sizeof *catalogue);
  return status;
}

void kl_catalogue_free(kl_catalogue *catalogue) {
  if (catalogue == NULL) return;
  kl_txn_manager *manager = catalogue->manager;
  kl_mutex_destroy(&catalogue->table);
  kl_mutex_destroy(&catalogue->changing);
  kl_free(catalogue->allocator, catalogue, sizeof *catalogue);
  kl_txn_manager_unref(manager);
}

static kl_keyspace **catalogue_bucket(kl_catalogue *catalogue, kl_slice name) {
  return &catalogue->buckets[kl_crc32c(0, name.data, name.size) % CATALOGUE_BUCKETS];
}

/* The keyspace if somebody has it open, with one more reference. */
static kl_keyspace *catalogue_find_open(kl_catalogue *catalogue, kl_slice name) {
  kl_mutex_lock(&catalogue->table);
  kl_keyspace *keyspace = *catalogue_bucket(catalogue, name);
  while (keyspace != NULL && !kl_slice_equal(kl_keyspace_name(keyspace), name)) keyspace = keyspace->next;
  if (keyspace != NULL) keyspace->references++;
  kl_mutex_unlock(&catalogue->table);
  return keyspace;
}

/* Under `table`. Takes it out of the table if it is there. */
static void catalogue_unlink(kl_catalogue *catalogue, kl_keyspace *keyspace) {
  kl_keyspace **link = catalogue_bucket(catalogue, kl_keyspace_name(keyspace));
  while (*link != NULL && *link != keyspace) link = &(*link)->next;
  if (*link != NULL) *link = keyspace->next;
}

static size_t catalogue_keyspace_size(size_t name_size) {
  return sizeof(kl_keyspace) + name_size;
}

/* Puts a keyspace of that name, with one reference, into the table; its id follows. */
static kl_keyspace *catalogue_keyspace_new(kl_catalogue *catalogue, kl_slice name) {
  kl_keyspace *keyspace = kl_alloc(catalogue->allocator, catalogue_keyspace_size(name.size));
  if (keyspace == NULL) return NULL;
  keyspace->catalogue = catalogue;
  keyspace->references = 1;
  keyspace->name_size = (uint32_t)name.size;
  memcpy(keyspace->name, name.data, name.size);
  return keyspace;
}

/* In a transaction that writes: the next id, for the catalogue's row `key`. */
static kl_status catalogue_write_new(kl_catalogue *catalogue, kl_txn *txn, kl_slice key, bool is_load,
                                     catalogue_record *out, kl_error *err) {
  kl_status status = catalogue_read_next_id(txn, &out->id, err);
  if (status != KL_OK) return status;
  if (out->id == UINT32_MAX)
    return kl_fail(err, KL_E_LIMIT, "the database has had %u keyspaces, which is the limit", out->id);
  out->created_ns = kl_os_wall_ns(kl_txn_manager_os(catalogue->manager));
  uint8_t load_key[CATALOGUE_LOAD_KEY], record[CATALOGUE_RECORD_SIZE], next_id[CATALOGUE_NEXT_ID_SIZE];
  if (is_load) key = catalogue_load_key(out->id, load_key);
  catalogue_record_encode(out, record);
  catalogue_next_id_encode(out->id + 1, next_id);
  status = kl_txn_put(txn, KL_CATALOGUE_KEYSPACE, key, kl_slice_make(record, sizeof record), err);
  if (status != KL_OK) return status;
  return kl_txn_put(txn, KL_CATALOGUE_KEYSPACE, catalogue_next_id_key(), kl_slice_make(next_id, sizeof next_id), err);
}

/* Under `changing`: finds the record, or creates it. */
static kl_status catalogue_read_or_create(kl_catalogue *catalogue, kl_slice name, bool create, catalogue_record *out,
                                          kl_error *err) {
  kl_txn *txn;
  bool writable = create && !kl_txn_manager_is_read_only(catalogue->manager);
  kl_status status = catalogue_begin(catalogue, true, &txn, err);
  if (status != KL_OK) return status;
  status = catalogue_read(txn, name, out, err);
  kl_txn_release(txn);
  if (status != KL_E_KEYSPACE_NOT_FOUND || !create) return status;
  if (!writable) {
    return kl_fail(err, KL_E_KEYSPACE_NOT_FOUND,
                   "there is no keyspace \"%.*s\", and the database is open read-only, so it cannot be created",
                   (int)name.size, (const char *)name.data);
  }
  status = catalogue_begin(catalogue, false, &txn, err);
  if (status != KL_OK) return status;
  uint8_t key[CATALOGUE_NAME_KEY_MAX];
  status = catalogue_write_new(catalogue, txn, catalogue_name_key(name, key), false, out, err);
  if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
  kl_txn_release(txn);
  return status;
}

kl_status kl_keyspace_open(kl_catalogue *catalogue, kl_slice name, bool create, kl_keyspace **out, kl_error *err) {
  kl_status status = catalogue_name_check(name, err);
  if (status != KL_OK) return status;
  *out = catalogue_find_open(catalogue, name);
  if (*out != NULL) return KL_OK;
  kl_mutex_lock(&catalogue->changing);
  *out = catalogue_find_open(catalogue, name); /* opened while we waited? */
  if (*out == NULL) {
    /* The object first: once the keyspace is created, nothing can fail any more. */
    kl_keyspace *keyspace = catalogue_keyspace_new(catalogue, name);
    catalogue_record record;
    if (keyspace == NULL) {
      status = kl_fail(err, KL_E_NO_MEMORY, "no memory to open a keyspace");
    } else {
      status = catalogue_read_or_create(catalogue, name, create, &record, err);
    }
    if (status == KL_OK) {
      keyspace->id = record.id;
      kl_mutex_lock(&catalogue->table);
      kl_keyspace **bucket = catalogue_bucket(catalogue, name);
      keyspace->next = *bucket;
      *bucket = keyspace;
      kl_mutex_unlock(&catalogue->table);
      *out = keyspace;
    } else {
      kl_free(catalogue->allocator, keyspace, catalogue_keyspace_size(name.size));
    }
  }
  kl_mutex_unlock(&catalogue->changing);
  return status;
}

void kl_keyspace_release(kl_keyspace *keyspace) {
  if (keyspace == NULL) return;
  kl_catalogue *catalogue = keyspace->catalogue;
  kl_mutex_lock(&catalogue->table);
  KL_ASSERT(keyspace->references != 0);
  bool last = --keyspace->references == 0;
  if (last) catalogue_unlink(catalogue, keyspace);
  kl_mutex_unlock(&catalogue->table);
  if (last) kl_free(catalogue->allocator, keyspace, catalogue_keyspace_size(keyspace->name_size));
}

uint32_t kl_keyspace_id(const kl_keyspace *keyspace) {
  return keyspace->id;
}
kl_slice kl_keyspace_name(const kl_keyspace *keyspace) {
  return kl_slice_make(keyspace->name, keyspace->name_size);
}

kl_status kl_keyspace_check(const kl_keyspace *keyspace, kl_error *err) {
  /* Relaxed: it orders nothing. A write that slips through is found by validation (TXN-9). */
  if (!atomic_load_explicit(&keyspace->dropped, memory_order_relaxed)) return KL_OK;
  return kl_fail(err, KL_E_KEYSPACE_NOT_FOUND, "keyspace \"%.*s\" has been dropped", (int)keyspace->name_size,
                 (const char *)keyspace->name);
}

/* In a transaction that writes. */
static kl_status catalogue_write_marker(kl_catalogue *catalogue, kl_txn *txn, uint32_t id, kl_error *err) {
  uint8_t marker[KL_DROP_MARKER_SIZE], value[CATALOGUE_DROP_SIZE];
  kl_drop_marker_encode(id, marker);
  catalogue_drop_encode(kl_os_wall_ns(kl_txn_manager_os(catalogue->manager)), value);
  return kl_txn_put(txn, KL_CATALOGUE_KEYSPACE, kl_slice_make(marker, sizeof marker),
                    kl_slice_make(value, sizeof value), err);
}

/* In a transaction that writes: takes the record away and leaves the marker. */
static kl_status catalogue_write_drop(kl_catalogue *catalogue, kl_txn *txn, kl_slice name, kl_error *err) {
  catalogue_record record;
  uint8_t key[CATALOGUE_NAME_KEY_MAX];
  kl_status status = catalogue_read(txn, name, &record, err);
  if (status == KL_OK) status = kl_txn_delete(txn, KL_CATALOGUE_KEYSPACE, catalogue_name_key(name, key), err);
  return status == KL_OK ? catalogue_write_marker(catalogue, txn, record.id, err) : status;
}

/* Under `changing`: the keyspace of that name was dropped. */
static void catalogue_mark_dropped(kl_catalogue *catalogue, kl_slice name) {
  kl_mutex_lock(&catalogue->table);
  kl_keyspace *keyspace = *catalogue_bucket(catalogue, name);
  while (keyspace != NULL && !kl_slice_equal(kl_keyspace_name(keyspace), name)) keyspace = keyspace->next;
  if (keyspace != NULL) {
    atomic_store_explicit(&keyspace->dropped, true, memory_order_relaxed);
    catalogue_unlink(catalogue, keyspace); /* its owners keep the object; the name is free for a new keyspace */
  }
  kl_mutex_unlock(&catalogue->table);
}

kl_status kl_keyspace_drop(kl_catalogue *catalogue, kl_slice name, kl_error *err) {
  kl_status status = catalogue_name_check(name, err);
  if (status != KL_OK) return status;
  kl_txn *txn;
  kl_mutex_lock(&catalogue->changing);
  status = catalogue_begin(catalogue, false, &txn, err);
  if (status == KL_OK) {
    status = catalogue_write_drop(catalogue, txn, name, err);
    if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
    kl_txn_release(txn);
  }
  if (status == KL_OK) catalogue_mark_dropped(catalogue, name);
  kl_mutex_unlock(&catalogue->changing);
  return status;
}

/* Calls `visit` with the key of every row that begins with `prefix`, in order. */
static kl_status catalogue_walk(kl_catalogue *catalogue, uint8_t prefix,
                                kl_status (*visit)(void *context, kl_slice key, kl_error *err), void *context,
                                kl_error *err) {
  const uint8_t catalogue_names_from[1] = {prefix}, catalogue_names_to[1] = {(uint8_t)(prefix + 1)};
  kl_txn *txn;
  kl_status status = catalogue_begin(catalogue, true, &txn, err);
  if (status != KL_OK) return status;
  kl_cursor *cursor;
  status = kl_cursor_open(txn, KL_CATALOGUE_KEYSPACE, kl_slice_make(catalogue_names_from, 1),
                          kl_slice_make(catalogue_names_to, 1), &cursor, err);
  if (status == KL_OK) {
    kl_error end;
    while (status == KL_OK) {
      kl_slice key, value;
      status = kl_cursor_next(cursor, &end);
      if (status != KL_OK) break;
      status = kl_cursor_get(cursor, &key, &value, &end);
      if (status != KL_OK) break;
      status = visit(context, key, &end);
    }
    if (status == KL_E_NOT_FOUND) {
      status = KL_OK;
    } else if (err != NULL) {
      *err = end;
    }
    kl_cursor_close(cursor);
  }
  kl_txn_release(txn);
  return status;
}

static kl_status catalogue_visit_list(void *context, kl_slice key, kl_error *err) {
  kl_slice name = kl_slice_make((const uint8_t *)key.data + 1, key.size - 1);
  return kl_batch_append(context, name, kl_slice_make(NULL, 0), true, err);
}

kl_status kl_keyspace_list(kl_catalogue *catalogue, kl_batch *batch, kl_error *err) {
  kl_status status = kl_batch_start(batch, err);
  if (status == KL_OK) status = catalogue_walk(catalogue, CATALOGUE_NAME_PREFIX, catalogue_visit_list, batch, err);
  if (status != KL_OK) batch->count = 0;
  return status;
}

static kl_status catalogue_visit_count(void *context, kl_slice key, kl_error *err) {
  (void)key;
  (void)err;
  ++*(uint64_t *)context;
  return KL_OK;
}

kl_status kl_keyspace_count(kl_catalogue *catalogue, uint64_t *out_count, kl_error *err) {
  *out_count = 0;
  return catalogue_walk(catalogue, CATALOGUE_NAME_PREFIX, catalogue_visit_count, out_count, err);
}

/* -------- loads -------- */

static kl_status catalogue_begin_durable(kl_catalogue *catalogue, kl_txn **out, kl_error *err) {
  kl_txn_options options = {.label = "keel load", .uncounted = true, .durability = KL_DURABILITY_FULL};
  return kl_txn_begin(catalogue->manager, &options, out, err);
}

kl_status kl_keyspace_load_check(kl_catalogue *catalogue, kl_slice name, kl_error *err) {
  kl_txn *txn;
  catalogue_record record;
  kl_status status = catalogue_name_check(name, err);
  if (status == KL_OK) status = catalogue_begin(catalogue, true, &txn, err);
  if (status != KL_OK) return status;
  status = catalogue_read(txn, name, &record, err);
  kl_txn_release(txn);
  if (status == KL_E_KEYSPACE_NOT_FOUND) return KL_OK;
  if (status != KL_OK) return status;
  return kl_fail(err, KL_E_EXISTS, "there is a keyspace \"%.*s\" already; load under another name, or replace it",
                 (int)name.size, (const char *)name.data);
}

kl_status kl_keyspace_load_begin(kl_catalogue *catalogue, uint32_t *out_id, kl_error *err) {
  kl_txn *txn;
  catalogue_record record;
  kl_mutex_lock(&catalogue->changing);
  kl_status status = catalogue_begin_durable(catalogue, &txn, err);
  if (status == KL_OK) {
    status = catalogue_write_new(catalogue, txn, kl_slice_make(NULL, 0), true, &record, err);
    if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
    kl_txn_release(txn);
  }
  kl_mutex_unlock(&catalogue->changing);
  if (status == KL_OK) *out_id = record.id;
  return status;
}

/* In a transaction that writes: they are no loads any more. */
static kl_status catalogue_write_ends(kl_catalogue *catalogue, kl_txn *txn, const uint32_t *ids, size_t count,
                                      bool drop, kl_error *err) {
  uint8_t key[CATALOGUE_LOAD_KEY];
  kl_status status = KL_OK;
  for (size_t i = 0; i < count && status == KL_OK; i++) {
    status = kl_txn_delete(txn, KL_CATALOGUE_KEYSPACE, catalogue_load_key(ids[i], key), err);
    if (status == KL_OK && drop) status = catalogue_write_marker(catalogue, txn, ids[i], err);
  }
  return status;
}

/* In a transaction that writes: the load's keyspace gets the name. *out_dropped: another one had it. */
static kl_status catalogue_write_name(kl_catalogue *catalogue, kl_txn *txn, uint32_t id, kl_slice name, bool replace,
                                      bool *out_dropped, kl_error *err) {
  uint8_t key[CATALOGUE_NAME_KEY_MAX], bytes[CATALOGUE_RECORD_SIZE];
  catalogue_record record = {id, kl_os_wall_ns(kl_txn_manager_os(catalogue->manager))}, old;
  kl_status status = catalogue_read(txn, name, &old, err);
  *out_dropped = status == KL_OK;
  if (status == KL_OK && !replace) {
    return kl_fail(err, KL_E_EXISTS, "a keyspace \"%.*s\" was created while the load ran; replace it, or drop it",
                   (int)name.size, (const char *)name.data);
  }
  if (status != KL_OK && status != KL_E_KEYSPACE_NOT_FOUND) return status;
  status = *out_dropped ? catalogue_write_marker(catalogue, txn, old.id, err) : KL_OK;
  if (status != KL_OK) return status;
  catalogue_record_encode(&record, bytes);
  return kl_txn_put(txn, KL_CATALOGUE_KEYSPACE, catalogue_name_key(name, key), kl_slice_make(bytes, sizeof bytes), err);
}

kl_status kl_keyspace_load_finish(kl_catalogue *catalogue, uint32_t id, kl_slice name, bool replace,
                                  const uint32_t *others, size_t other_count, kl_error *err) {
  kl_txn *txn;
  bool dropped = false;
  kl_mutex_lock(&catalogue->changing);
  kl_status status = catalogue_begin_durable(catalogue, &txn, err);
  if (status == KL_OK) {
    status = catalogue_write_name(catalogue, txn, id, name, replace, &dropped, err);
    if (status == KL_OK) status = catalogue_write_ends(catalogue, txn, &id, 1, false, err);
    if (status == KL_OK) status = catalogue_write_ends(catalogue, txn, others, other_count, true, err);
    if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
    kl_txn_release(txn);
  }
  if (status == KL_OK && dropped) catalogue_mark_dropped(catalogue, name);
  kl_mutex_unlock(&catalogue->changing);
  return status;
}

kl_status kl_keyspace_load_abandon(kl_catalogue *catalogue, const uint32_t *ids, size_t count, kl_error *err) {
  kl_txn *txn;
  if (count == 0) return KL_OK;
  kl_mutex_lock(&catalogue->changing);
  kl_status status = catalogue_begin_durable(catalogue, &txn, err);
  if (status == KL_OK) {
    status = catalogue_write_ends(catalogue, txn, ids, count, true, err);
    if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
    kl_txn_release(txn);
  }
  kl_mutex_unlock(&catalogue->changing);
  return status;
}

typedef struct catalogue_ids {
  uint32_t list[64];
  size_t count;
  bool (*keep)(void *context, uint32_t id);
  void *context;
} catalogue_ids;

static kl_status catalogue_visit_load(void *context, kl_slice key, kl_error *err) {
  catalogue_ids *ids = context;
  if (ids->count == sizeof ids->list / sizeof ids->list[0]) return KL_OK; /* the next round's */
  kl_status status = catalogue_load_key_decode(key, &ids->list[ids->count], err);
  ids->count += status == KL_OK && !ids->keep(ids->context, ids->list[ids->count]);
  return status;
}

kl_status kl_keyspace_load_sweep(kl_catalogue *catalogue, bool (*keep)(void *context, uint32_t id), void *context,
                                 uint64_t *out_count, kl_error *err) {
  kl_status status;
  catalogue_ids ids = {.keep = keep, .context = context};
  *out_count = 0;
  do {
    ids.count = 0;
    status = catalogue_walk(catalogue, CATALOGUE_LOAD_PREFIX, catalogue_visit_load, &ids, err);
    if (status == KL_OK) status = kl_keyspace_load_abandon(catalogue, ids.list, ids.count, err);
    *out_count += ids.count;
  } while (status == KL_OK && ids.count != 0);
  return status;
}
