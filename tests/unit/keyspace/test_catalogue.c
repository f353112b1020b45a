/* tests/unit/keyspace/test_catalogue.c: opening, creating, dropping, listing, and all of it at once. */
#include <stdlib.h>

#include "core/keyspace/keyspace.h"
#include "core/os/thread.h"
#include "failing_allocator.h"
#include "tests/unit/txn/txn_testing.h"

enum { THREADS = 4 };

static kl_catalogue *catalogue_open(kl_txn_manager *manager) {
  kl_catalogue *catalogue;
  kl_error err;
  assert_ok(kl_catalogue_new(manager, kl_txn_manager_allocator(manager), &catalogue, &err), &err);
  return catalogue;
}

static kl_keyspace *keyspace_open(kl_catalogue *catalogue, const char *name) {
  kl_keyspace *keyspace;
  kl_error err;
  assert_ok(kl_keyspace_open(catalogue, text(name), true, &keyspace, &err), &err);
  return keyspace;
}

static void test_open_create_list(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_catalogue *catalogue = catalogue_open(manager);
  kl_keyspace *keyspace;
  kl_error err;
  uint64_t count;
  assert_int_equal(kl_keyspace_open(catalogue, text("users"), false, &keyspace, &err), KL_E_KEYSPACE_NOT_FOUND);
  assert_int_equal(kl_keyspace_open(catalogue, text("\xff"), true, &keyspace, &err), KL_E_INVALID);
  kl_keyspace *users = keyspace_open(catalogue, "users"), *again = keyspace_open(catalogue, "users");
  kl_keyspace *orders = keyspace_open(catalogue, "orders"), *nul;
  assert_ptr_equal(users, again);
  assert_int_equal(kl_keyspace_id(users), 1);
  assert_int_equal(kl_keyspace_id(orders), 2);
  assert_slice(kl_keyspace_name(users), "users");
  assert_ok(kl_keyspace_open(catalogue, kl_slice_make("o\0x", 3), true, &nul, &err), &err);
  assert_int_equal(kl_keyspace_id(nul), 3);
  kl_batch batch;
  kl_batch_init(&batch, kl_allocator_libc());
  assert_ok(kl_keyspace_list(catalogue, &batch, &err), &err);
  assert_int_equal(batch.count, 3);
  assert_int_equal(batch.key_offsets[3], 14);
  assert_memory_equal(batch.keys, "o\0xordersusers", 14);
  assert_int_equal(batch.value_offsets[3], 0);
  assert_ok(kl_keyspace_count(catalogue, &count, &err), &err);
  assert_int_equal(count, 3);
  kl_keyspace_release(users);
  kl_keyspace_release(again);
  kl_keyspace_release(orders);
  kl_keyspace_release(nul);
  kl_keyspace_release(NULL);
  assert_ok(kl_keyspace_open(catalogue, text("users"), false, &keyspace, &err), &err); /* found in the database */
  assert_int_equal(kl_keyspace_id(keyspace), 1);
  kl_keyspace_release(keyspace);
  kl_batch_destroy(&batch);
  kl_catalogue_free(catalogue);
  manager_close(manager);
}

/* What the catalogue reads for itself is nothing that a user did. Its commits are commits. */
static void test_statistics(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_catalogue *catalogue = catalogue_open(manager);
  kl_error err;
  uint64_t count;
  kl_batch batch;
  kl_batch_init(&batch, kl_allocator_libc());
  kl_keyspace_release(keyspace_open(catalogue, "users"));
  kl_keyspace_release(keyspace_open(catalogue, "users"));
  assert_ok(kl_keyspace_list(catalogue, &batch, &err), &err);
  assert_ok(kl_keyspace_count(catalogue, &count, &err), &err);
  assert_ok(kl_keyspace_drop(catalogue, text("users"), &err), &err);
  assert_int_equal(kl_keyspace_drop(catalogue, text("users"), &err), KL_E_KEYSPACE_NOT_FOUND);
  kl_txn_manager_stats stats;
  kl_txn_manager_get_stats(manager, &stats);
  assert_int_equal(stats.commits, 2);
  assert_int_equal(stats.commits_read_only, 0);
  assert_int_equal(stats.rollbacks, 0);
  assert_int_equal(stats.gets, 0);
  assert_int_equal(stats.puts, 0);
  assert_int_equal(stats.deletes, 0);
  assert_int_equal(stats.cursor_steps, 0);
  kl_batch_destroy(&batch);
  kl_catalogue_free(catalogue);
  manager_close(manager);
}

static void test_drop(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_catalogue *catalogue = catalogue_open(manager);
  kl_error err;
  assert_int_equal(kl_keyspace_drop(catalogue, text("users"), &err), KL_E_KEYSPACE_NOT_FOUND);
  kl_keyspace *users = keyspace_open(catalogue, "users");
  uint32_t id = kl_keyspace_id(users);
  kl_txn *txn = begin(manager);
  put(txn, id, "ann", "1");
  (void)commit(txn);
  kl_txn *reader = begin_read_only(manager), *writer = begin(manager);
  put(writer, id, "bob", "2");
  assert_ok(kl_keyspace_check(users, &err), &err);
  assert_ok(kl_keyspace_drop(catalogue, text("users"), &err), &err);
  assert_int_equal(kl_keyspace_check(users, &err), KL_E_KEYSPACE_NOT_FOUND);
  assert_value(reader, id, "ann", "1"); /* what a snapshot shows does not change */
  assert_int_equal(kl_txn_commit(writer, NULL, &err), KL_E_CONFLICT);
  kl_txn_release(writer);
  kl_txn_release(reader);
  assert_int_equal(kl_keyspace_drop(catalogue, text("users"), &err), KL_E_KEYSPACE_NOT_FOUND);
  /* The name is free; ids are not used again, so that old rows cannot show up under the new keyspace. */
  kl_keyspace *fresh = keyspace_open(catalogue, "users");
  assert_ptr_not_equal(fresh, users);
  assert_int_equal(kl_keyspace_id(fresh), id + 1);
  assert_ok(kl_keyspace_check(fresh, &err), &err);
  txn = begin(manager);
  assert_value(txn, kl_keyspace_id(fresh), "ann", NULL);
  put(txn, kl_keyspace_id(fresh), "cid", "3");
  (void)commit(txn);
  kl_keyspace_release(users);
  kl_keyspace_release(fresh);
  kl_catalogue_free(catalogue);
  manager_close(manager);
}

/* A transaction may write to a keyspace that was created after it began. */
static void test_younger_than_the_snapshot(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_catalogue *catalogue = catalogue_open(manager);
  kl_txn *txn = begin(manager);
  kl_keyspace *keyspace = keyspace_open(catalogue, "late");
  put(txn, kl_keyspace_id(keyspace), "a", "1");
  (void)commit(txn);
  kl_keyspace_release(keyspace);
  kl_catalogue_free(catalogue);
  manager_close(manager);
}

static void test_read_only(void **state) {
  (void)state;
  kl_txn_manager_options options = {.read_only = true};
  kl_txn_manager *manager = manager_open(kl_os_posix(), &options);
  kl_catalogue *catalogue = catalogue_open(manager);
  kl_keyspace *keyspace;
  kl_error err;
  assert_int_equal(kl_keyspace_open(catalogue, text("users"), true, &keyspace, &err), KL_E_KEYSPACE_NOT_FOUND);
  assert_non_null(strstr(err.message, "read-only"));
  assert_int_equal(kl_keyspace_drop(catalogue, text("users"), &err), KL_E_READ_ONLY);
  kl_catalogue_free(catalogue);
  manager_close(manager);
}

/* A catalogue with a damaged or newer record is refused, not guessed at. */
static void test_damaged_records(void **state) {
  (void)state;
  kl_txn_manager *manager = manager_open(kl_os_posix(), NULL);
  kl_catalogue *catalogue = catalogue_open(manager), *other;
  kl_keyspace *keyspace;
  kl_error err;
  kl_txn *txn = begin(manager);
  put(txn, 0, "nbad", "junk");
  assert_ok(kl_txn_put(txn, 0, text("nnew"), kl_slice_make("\x09\x00\x00\x00", 4), &err), &err);
  (void)commit(txn);
  assert_int_equal(kl_keyspace_open(catalogue, text("bad"), true, &keyspace, &err), KL_E_VERSION);
  assert_int_equal(kl_keyspace_open(catalogue, text("new"), true, &keyspace, &err), KL_E_VERSION);
  txn = begin(manager);
  assert_ok(kl_txn_put(txn, 0, text("m"), kl_slice_make("\x01\x00\x00\x00\x00\x00\x00\x00", 8), &err), &err);
  (void)commit(txn);
  assert_int_equal(kl_keyspace_open(catalogue, text("fresh"), true, &keyspace, &err), KL_E_CORRUPT);
  assert_int_equal(kl_catalogue_new(manager, kl_allocator_libc(), &other, &err), KL_E_CORRUPT);
  kl_catalogue_free(catalogue);
  manager_close(manager);
}

/* Every allocation of opening, listing and dropping fails in turn; afterwards the same call works. */
static void test_no_memory(void **state) {
  (void)state;
  failing_allocator failing;
  failing_allocator_init(&failing);
  kl_os os = *kl_os_posix();
  os.allocator = &failing.base;
  uint64_t failed = 0;
  bool struck = true;
  for (uint64_t n = 1; struck; n++) {
    kl_txn_manager *manager = manager_open(&os, NULL);
    kl_catalogue *catalogue = catalogue_open(manager);
    kl_keyspace *keyspace = NULL;
    kl_error err;
    failing_allocator_arm(&failing, n);
    for (int round = 0; round < 3; round++) {
      kl_status status;
      while ((status = kl_keyspace_open(catalogue, text("users"), true, &keyspace, &err)) == KL_E_NO_MEMORY) failed++;
      assert_ok(status, &err);
      kl_keyspace_release(keyspace);
      kl_batch batch;
      kl_batch_init(&batch, &failing.base);
      while ((status = kl_keyspace_list(catalogue, &batch, &err)) == KL_E_NO_MEMORY) failed++;
      assert_ok(status, &err);
      assert_int_equal(batch.count, 1);
      kl_batch_destroy(&batch);
      while ((status = kl_keyspace_drop(catalogue, text("users"), &err)) == KL_E_NO_MEMORY) failed++;
      assert_ok(status, &err);
    }
    kl_catalogue_free(catalogue);
    manager_close(manager);
    assert_int_equal(atomic_load(&failing.live_bytes), 0);
    struck = atomic_load(&failing.count) >= atomic_load(&failing.fail_at);
  }
  assert_true(failed > 10);
}

typedef struct shared {
  kl_txn_manager *manager;
  kl_catalogue *catalogue;
  _Atomic uint64_t errors, created, dropped, written;
  _Atomic uint32_t ids[200];
} shared;

static void create_worker(void *context) {
  shared *s = context;
  for (int i = 0; i < 200; i++) {
    char name[24];
    (void)snprintf(name, sizeof name, "keyspace%d", i);
    kl_keyspace *keyspace;
    if (kl_keyspace_open(s->catalogue, text(name), true, &keyspace, NULL) != KL_OK) {
      atomic_fetch_add(&s->errors, 1);
      continue;
    }
    uint32_t none = 0, id = kl_keyspace_id(keyspace);
    if (!atomic_compare_exchange_strong(&s->ids[i], &none, id) && none != id) atomic_fetch_add(&s->errors, 1);
    kl_keyspace_release(keyspace);
  }
}

/* All who create one name at once get one keyspace. */
static void test_concurrent_creation(void **state) {
  (void)state;
  static shared s;
  kl_thread *threads[THREADS];
  kl_error err;
  s.manager = manager_open(kl_os_posix(), NULL);
  s.catalogue = catalogue_open(s.manager);
  for (int i = 0; i < THREADS; i++) {
    assert_ok(kl_thread_start(kl_os_posix(), "test-create", create_worker, &s, &threads[i], &err), &err);
  }
  for (int i = 0; i < THREADS; i++) kl_thread_join(threads[i]);
  assert_int_equal(atomic_load(&s.errors), 0);
  uint64_t count;
  assert_ok(kl_keyspace_count(s.catalogue, &count, &err), &err);
  assert_int_equal(count, 200);
  kl_catalogue_free(s.catalogue);
  manager_close(s.manager);
}

static void drop_worker(void *context) {
  shared *s = context;
  for (int i = 0; i < 300; i++) {
    kl_keyspace *keyspace;
    if (kl_keyspace_open(s->catalogue, text("contended"), true, &keyspace, NULL) != KL_OK) {
      atomic_fetch_add(&s->errors, 1);
      continue;
    }
    kl_txn *txn;
    if (kl_txn_begin(s->manager, NULL, &txn, NULL) != KL_OK) atomic_fetch_add(&s->errors, 1);
    char key[24];
    (void)snprintf(key, sizeof key, "%p-%d", (void *)&key, i);
    kl_status status = kl_txn_put(txn, kl_keyspace_id(keyspace), text(key), text("x"), NULL);
    if (i % 3 == 0) {
      kl_status drop = kl_keyspace_drop(s->catalogue, text("contended"), NULL);
      if (drop != KL_OK && drop != KL_E_KEYSPACE_NOT_FOUND) atomic_fetch_add(&s->errors, 1);
      if (drop == KL_OK) atomic_fetch_add(&s->dropped, 1);
    }
    uint64_t ts = 0;
    if (status == KL_OK) status = kl_txn_commit(txn, &ts, NULL);
    if (status == KL_OK) {
      /* It counted: so the keyspace was there at that moment, and its drop, if any, is later. */
      atomic_fetch_add(&s->written, 1);
      uint8_t marker[KL_DROP_MARKER_SIZE];
      kl_drop_marker_encode(kl_keyspace_id(keyspace), marker);
      kl_delta *delta = kl_txn_manager_delta(s->manager);
      uint64_t dropped = kl_delta_newest_ts(delta, 0, kl_slice_make(marker, sizeof marker));
      if (dropped != 0 && dropped < ts) atomic_fetch_add(&s->errors, 1);
    } else if (status != KL_E_CONFLICT && status != KL_E_KEYSPACE_NOT_FOUND) {
      atomic_fetch_add(&s->errors, 1);
    }
    kl_txn_release(txn);
    kl_keyspace_release(keyspace);
  }
}

/* No write to a keyspace is ordered behind its drop (TXN-9). */
static void test_drop_against_writes(void **state) {
  (void)state;
  static shared s;
  kl_thread *threads[THREADS];
  kl_error err;
  s.manager = manager_open(kl_os_posix(), NULL);
  s.catalogue = catalogue_open(s.manager);
  for (int i = 0; i < THREADS; i++) {
    assert_ok(kl_thread_start(kl_os_posix(), "test-drop", drop_worker, &s, &threads[i], &err), &err);
  }
  for (int i = 0; i < THREADS; i++) kl_thread_join(threads[i]);
  assert_int_equal(atomic_load(&s.errors), 0);
  assert_true(atomic_load(&s.dropped) > 10);
  assert_true(atomic_load(&s.written) > 10);
  kl_catalogue_free(s.catalogue);
  manager_close(s.manager);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open_create_list),   cmocka_unit_test(test_drop),
      cmocka_unit_test(test_statistics),         cmocka_unit_test(test_younger_than_the_snapshot),
      cmocka_unit_test(test_read_only),          cmocka_unit_test(test_damaged_records),
      cmocka_unit_test(test_no_memory),          cmocka_unit_test(test_concurrent_creation),
      cmocka_unit_test(test_drop_against_writes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
