/* tests/unit/db/db_testing.h: short forms for tests of whole databases, on the real and on the simulated os. */
#ifndef KEEL_TESTS_DB_TESTING_H
#define KEEL_TESTS_DB_TESTING_H

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/db/db.h"
#include "tests/unit/txn/txn_testing.h"

static inline kl_db *db_open(kl_os *os, const char *path, const kl_db_options *options) {
  kl_db *db = NULL;
  kl_error err;
  assert_ok(kl_db_open(os, path, options, &db, &err), &err);
  return db;
}

static inline kl_status db_open_fails(kl_os *os, const char *path, const kl_db_options *options, kl_error *err) {
  kl_db *db = NULL;
  kl_status status = kl_db_open(os, path, options, &db, err);
  assert_int_not_equal(status, KL_OK);
  assert_int_equal(status, err->code);
  assert_true(err->message[0] != '\0');
  return status;
}

static inline void db_close(kl_db *db) {
  kl_error err;
  assert_ok(kl_db_release(db, &err), &err);
}

/* One committed row in keyspace `space`, which is created. */
static inline kl_status db_put(kl_db *db, const char *space, const char *key, const char *value,
                               kl_durability durability, kl_error *err) {
  kl_keyspace *keyspace;
  kl_status status = kl_keyspace_open(kl_db_catalogue(db), text(space), true, &keyspace, err);
  if (status != KL_OK) return status;
  kl_txn *txn;
  kl_txn_options options = {.durability = durability};
  status = kl_txn_begin(kl_db_txn_manager(db), &options, &txn, err);
  if (status == KL_OK) {
    status = kl_txn_put(txn, kl_keyspace_id(keyspace), text(key), text(value), err);
    if (status == KL_OK) status = kl_txn_commit(txn, NULL, err);
    kl_txn_release(txn);
  }
  kl_keyspace_release(keyspace);
  return status;
}

/* NULL expected: absent, or no such keyspace. */
static inline void db_assert_value(kl_db *db, const char *space, const char *key, const char *expected) {
  kl_keyspace *keyspace;
  kl_error err;
  kl_status status = kl_keyspace_open(kl_db_catalogue(db), text(space), false, &keyspace, &err);
  if (status == KL_E_KEYSPACE_NOT_FOUND && expected == NULL) return;
  assert_ok(status, &err);
  kl_txn *txn = begin_read_only(kl_db_txn_manager(db));
  assert_value(txn, kl_keyspace_id(keyspace), key, expected);
  kl_txn_release(txn);
  kl_keyspace_release(keyspace);
}

/* A folder of its own for a test on the real file system, and its removal with all files in it. */
static inline bool test_folder_make(char *path, size_t capacity) {
  (void)snprintf(path, capacity, "keel-test-XXXXXX");
  return mkdtemp(path) != NULL;
}

static inline bool test_folder_remove(const char *path) {
  DIR *folder = opendir(path);
  if (folder == NULL) return false;
  for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
    (void)unlinkat(dirfd(folder), entry->d_name, 0); /* fails for "." and ".." */
  }
  (void)closedir(folder);
  return rmdir(path) == 0;
}

#endif
