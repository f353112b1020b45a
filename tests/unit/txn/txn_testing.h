/* tests/unit/txn/txn_testing.h: a manager without a log, and short forms for tests of core/txn. */
#ifndef KEEL_TESTS_TXN_TESTING_H
#define KEEL_TESTS_TXN_TESTING_H

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/txn/manager.h"
#include "core/txn/txn.h"

static inline kl_slice text(const char *s) {
  return kl_slice_make(s, strlen(s));
}

static inline void assert_ok_at(kl_status status, const kl_error *err, const char *file, int line) {
  if (status == KL_OK) return;
  (void)fprintf(stderr, "%s:%d: %s: %s\n", file, line, kl_status_name(status), err->message);
  _fail(file, line);
}
#define assert_ok(call, err) assert_ok_at((call), (err), __FILE__, __LINE__)

static inline void assert_slice(kl_slice got, const char *expected) {
  assert_int_equal(got.size, strlen(expected));
  if (got.size != 0) assert_memory_equal(got.data, expected, got.size);
}

/* An open manager over `os`, without a log. */
static inline kl_txn_manager *manager_open(kl_os *os, const kl_txn_manager_options *options) {
  static const kl_txn_manager_options none;
  kl_txn_manager *manager;
  kl_error err;
  assert_ok(kl_txn_manager_new(os, options != NULL ? options : &none, &manager, &err), &err);
  kl_txn_manager_start(manager, NULL, 0);
  return manager;
}

static inline void manager_close(kl_txn_manager *manager) {
  kl_txn_manager_close(manager);
  kl_txn_manager_unref(manager);
}

static inline kl_txn *begin(kl_txn_manager *manager) {
  kl_txn *txn;
  kl_error err;
  assert_ok(kl_txn_begin(manager, NULL, &txn, &err), &err);
  return txn;
}

static inline kl_txn *begin_read_only(kl_txn_manager *manager) {
  kl_txn *txn;
  kl_error err;
  kl_txn_options options = {.read_only = true};
  assert_ok(kl_txn_begin(manager, &options, &txn, &err), &err);
  return txn;
}

static inline uint64_t commit(kl_txn *txn) {
  uint64_t ts = 0;
  kl_error err;
  assert_ok(kl_txn_commit(txn, &ts, &err), &err);
  kl_txn_release(txn);
  return ts;
}

static inline void put(kl_txn *txn, uint32_t keyspace, const char *key, const char *value) {
  kl_error err;
  assert_ok(kl_txn_put(txn, keyspace, text(key), text(value), &err), &err);
}

static inline void delete_key(kl_txn *txn, uint32_t keyspace, const char *key) {
  kl_error err;
  assert_ok(kl_txn_delete(txn, keyspace, text(key), &err), &err);
}

/* NULL expected: the key has no value. */
static inline void assert_value(kl_txn *txn, uint32_t keyspace, const char *key, const char *expected) {
  kl_slice value;
  kl_error err;
  kl_status status = kl_txn_get(txn, keyspace, text(key), &value, &err);
  if (expected == NULL) {
    assert_int_equal(status, KL_E_NOT_FOUND);
    return;
  }
  assert_ok(status, &err);
  assert_slice(value, expected);
}

#endif
