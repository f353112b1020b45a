/* core/txn/value.c: values that are read and written in parts. See txn.h. */
#include "../drain/extent_writer.h"
#include "txn_private.h"

_Static_assert(KL_MAX_VALUE == KL_PAGES_WHOLE, "what is written as a whole can be read as a whole");
_Static_assert(KL_MAX_LARGE_VALUE == KL_EXTENT_LENGTH_MOST, "longest value");

/* -------- reading -------- */

/* Inside of the transaction. */
static kl_status value_get_part(kl_txn *txn, uint32_t keyspace, kl_slice key, uint64_t offset, void *buffer,
                                size_t capacity, size_t *out_got, uint64_t *out_size, kl_error *err) {
  kl_txn_recent recent;
  kl_pages *pages;
  kl_tree_pointer root;
  kl_status status = kl_txn_find(txn, keyspace, key, true, &recent, &pages, &root, err);
  if (status != KL_OK) return status;
  if (recent.known) {
    if (recent.deleted) return KL_E_NOT_FOUND;
    uint64_t left = offset < recent.value.size ? recent.value.size - offset : 0;
    *out_size = recent.value.size;
    *out_got = left < capacity ? (size_t)left : capacity;
    if (*out_got != 0) memcpy(buffer, (const uint8_t *)recent.value.data + offset, *out_got);
    return KL_OK;
  }
  if (pages == NULL) return KL_E_NOT_FOUND;
  return kl_pages_get_part(pages, &root, key, offset, buffer, capacity, &txn->part, out_got, out_size, err);
}

kl_status kl_txn_get_part(kl_txn *txn, uint32_t keyspace, kl_slice key, uint64_t offset, void *buffer, size_t capacity,
                          size_t *out_got, uint64_t *out_size, kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = kl_txn_check_key(key, err);
  if (status == KL_OK) {
    txn->gets++;
    status = value_get_part(txn, keyspace, key, offset, buffer, capacity, out_got, out_size, err);
    if (status == KL_E_NOT_FOUND) status = kl_txn_not_found(err, "the key has no value");
  }
  kl_txn_leave(txn);
  return status;
}

/* -------- writing -------- */

struct kl_value_writer {
  kl_txn *txn; /* a reference */
  uint32_t keyspace;
  uint64_t size;
  bool finished; /* the value is the transaction's */
  /* One of the two: small values are collected, large ones go to where they stay. */
  size_t used;
  uint8_t *buffer;
  kl_extent_writer *extent;
  bool complete; /* all of it is in the file */
  size_t key_size;
  uint8_t key[KL_MAX_KEY];
};

/* Inside of the transaction: what is in the file, whole, becomes a row of its run. */
static kl_status value_settle_extent(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_extent_writer *extent,
                                     bool *out_taken, kl_error *err) {
  kl_tree_extent taken_extent;
  *out_taken = false;
  kl_status status = kl_txn_check_write(txn, keyspace, key, err);
  if (status != KL_OK) return status;
  status = kl_txn_put_extent(txn, keyspace, key, kl_extent_writer_extent(extent), out_taken, err);
  if (*out_taken) kl_extent_writer_take(extent, &taken_extent);
  txn->puts += status == KL_OK;
  return status;
}

kl_status kl_txn_put_large(kl_txn *txn, uint32_t keyspace, kl_slice key, kl_slice value, kl_error *err) {
  kl_extent_writer *extent;
  bool taken;
  kl_status status = kl_txn_check_write(txn, keyspace, key, err); /* before a long write */
  if (status != KL_OK) return status;
  status = kl_extent_writer_begin(kl_roots_pages(txn->snapshot.layers->roots), value.size, &extent, err);
  if (status != KL_OK) return status;
  status = kl_extent_writer_write(extent, value.data, value.size, err);
  if (status == KL_OK) status = kl_extent_writer_finish(extent, NULL, err);
  if (status == KL_OK) status = value_settle_extent(txn, keyspace, key, extent, &taken, err);
  kl_extent_writer_free(extent);
  return status;
}

/* What was written becomes a write of the transaction, in place of any that it has of the key. */
static kl_status value_settle(kl_value_writer *writer, kl_error *err) {
  kl_txn *txn = writer->txn;
  kl_slice key = kl_slice_make(writer->key, writer->key_size);
  if (writer->extent == NULL) {
    return kl_txn_put(txn, writer->keyspace, key, kl_slice_make(writer->buffer, writer->used), err);
  }
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  bool taken;
  status = value_settle_extent(txn, writer->keyspace, key, writer->extent, &taken, err);
  writer->finished |= taken; /* also after a failure: the bytes are a tree's now, and go with the transaction's run */
  kl_txn_leave(txn);
  return status;
}

/* Inside of the transaction, whose snapshot has the pages. */
static kl_status value_writer_open(kl_value_writer *writer, kl_error *err) {
  kl_txn *txn = writer->txn;
  if (!kl_txn_is_large(txn, writer->size)) {
    if (writer->size == 0) return KL_OK;
    if (writer->size > KL_MAX_VALUE) {
      return kl_fail(err, KL_E_LIMIT, "a database in memory holds values of up to %zu bytes; this one has %llu",
                     KL_MAX_VALUE, (unsigned long long)writer->size);
    }
    writer->buffer = kl_alloc(&txn->manager->allocator, (size_t)writer->size);
    if (writer->buffer != NULL) return KL_OK;
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for a value of %llu bytes; free some",
                   (unsigned long long)writer->size);
  }
  return kl_extent_writer_begin(kl_roots_pages(txn->snapshot.layers->roots), writer->size, &writer->extent, err);
}

static kl_status value_begin(kl_txn *txn, uint32_t keyspace, kl_slice key, uint64_t size, kl_value_writer **out_writer,
                             kl_error *err) {
  kl_status status = kl_txn_check_key(key, err);
  if (status != KL_OK) return status;
  if (txn->read_only) return kl_fail(err, KL_E_READ_ONLY, "the transaction was begun as read-only");
  if (size > KL_MAX_LARGE_VALUE) {
    return kl_fail(err, KL_E_VALUE_SIZE, "the value is to have %llu bytes; at most %llu are possible",
                   (unsigned long long)size, (unsigned long long)KL_MAX_LARGE_VALUE);
  }
  kl_value_writer *writer = kl_alloc(&txn->manager->allocator, sizeof *writer);
  if (writer == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to write a value; free some");
  writer->txn = txn;
  writer->keyspace = keyspace;
  writer->size = size;
  writer->key_size = key.size;
  if (key.size != 0) memcpy(writer->key, key.data, key.size);
  status = value_writer_open(writer, err);
  if (status != KL_OK) {
    kl_free(&txn->manager->allocator, writer, sizeof *writer);
    return status;
  }
  atomic_fetch_add_explicit(&txn->references, 1, memory_order_relaxed);
  *out_writer = writer;
  return KL_OK;
}

kl_status kl_value_begin(kl_txn *txn, uint32_t keyspace, kl_slice key, uint64_t size, kl_value_writer **out_writer,
                         kl_error *err) {
  kl_status status = kl_txn_enter(txn, err);
  if (status != KL_OK) return status;
  status = value_begin(txn, keyspace, key, size, out_writer, err);
  kl_txn_leave(txn);
  return status;
}

static kl_status value_check_open(const kl_value_writer *writer, kl_error *err) {
  if (!writer->finished) return KL_OK;
  return kl_fail(err, KL_E_FINISHED, "the value is finished; begin another one");
}

/* Inside of the transaction. */
static kl_status value_write(kl_value_writer *writer, const void *bytes, size_t size, kl_error *err) {
  kl_status status = value_check_open(writer, err);
  if (status != KL_OK) return status;
  if (writer->extent != NULL) return kl_extent_writer_write(writer->extent, bytes, size, err);
  if (size > writer->size - writer->used) {
    return kl_fail(err, KL_E_INVALID, "a value of %llu bytes was begun; %zu more than the %zu that it has are too many",
                   (unsigned long long)writer->size, size, writer->used);
  }
  if (size != 0) memcpy(writer->buffer + writer->used, bytes, size);
  writer->used += size;
  return KL_OK;
}

kl_status kl_value_write(kl_value_writer *writer, const void *bytes, size_t size, kl_error *err) {
  kl_status status = kl_txn_enter(writer->txn, err);
  if (status != KL_OK) return status;
  status = value_write(writer, bytes, size, err);
  kl_txn_leave(writer->txn);
  return status;
}

/* Inside of the transaction: all bytes are there, and in the file if it is to go there. */
static kl_status value_complete(kl_value_writer *writer, kl_error *err) {
  kl_status status = value_check_open(writer, err);
  if (status != KL_OK || writer->complete) return status;
  if (writer->extent != NULL) {
    status = kl_extent_writer_finish(writer->extent, NULL, err);
    writer->complete = status == KL_OK;
    return status;
  }
  if (writer->used == writer->size) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "a value of %llu bytes was begun, and %zu were written; write the others",
                 (unsigned long long)writer->size, writer->used);
}

kl_status kl_value_finish(kl_value_writer *writer, kl_error *err) {
  kl_status status = kl_txn_enter(writer->txn, err);
  if (status != KL_OK) return status;
  status = value_complete(writer, err);
  kl_txn_leave(writer->txn);
  if (status == KL_OK) status = value_settle(writer, err);
  writer->finished |= status == KL_OK;
  return status;
}

void kl_value_free(kl_value_writer *writer) {
  if (writer == NULL) return;
  kl_txn *txn = writer->txn;
  kl_extent_writer_free(writer->extent);
  if (writer->buffer != NULL) kl_free(&txn->manager->allocator, writer->buffer, (size_t)writer->size);
  kl_free(&txn->manager->allocator, writer, sizeof *writer);
  kl_txn_unref(txn);
}
