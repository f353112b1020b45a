/* tests/unit/txn/test_snapshot.c: the registry of live snapshots (TXN-6), alone and from several threads. */
#include <stdlib.h>

#include "core/os/thread.h"
#include "core/txn/inflight.h"
#include "core/txn/snapshot.h"
#include "failing_allocator.h"
#include "txn_testing.h"

static _Atomic(kl_layers *) no_layers;

static void test_oldest_and_growth(void **state) {
  (void)state;
  enum { COUNT = 5000 };
  _Atomic uint64_t visible = 10;
  kl_snapshot_registry registry;
  kl_error err;
  assert_ok(kl_snapshot_registry_init(&registry, kl_allocator_libc(), &visible, &no_layers, &err), &err);
  assert_int_equal(kl_snapshot_oldest_ts(&registry), 10);
  kl_snapshot *snapshots = calloc(COUNT, sizeof *snapshots);
  assert_non_null(snapshots);
  for (uint64_t i = 0; i < COUNT; i++) {
    atomic_store(&visible, 10 + i);
    assert_ok(kl_snapshot_begin(&registry, 1000 + i, i == 0 ? "the first" : "another", &snapshots[i], &err), &err);
    assert_int_equal(snapshots[i].ts, 10 + i);
  }
  kl_snapshot_summary summary;
  for (uint64_t i = 0; i < COUNT; i++) {
    assert_int_equal(kl_snapshot_oldest_ts(&registry), 10 + i);
    if (i % 1000 == 0) {
      kl_snapshot_summarise(&registry, &summary);
      assert_int_equal(summary.live, COUNT - i);
      assert_int_equal(summary.oldest_ts, 10 + i);
      assert_int_equal(summary.oldest_begin_ns, 1000 + i);
      assert_string_equal(summary.oldest_label, i == 0 ? "the first" : "another");
    }
    kl_snapshot_end(&snapshots[i]);
  }
  assert_int_equal(kl_snapshot_oldest_ts(&registry), 10 + COUNT - 1);
  kl_snapshot_summarise(&registry, &summary);
  assert_int_equal(summary.live, 0);
  free(snapshots);
  kl_snapshot_registry_destroy(&registry);
}

static void test_long_label_is_cut(void **state) {
  (void)state;
  _Atomic uint64_t visible = 1;
  kl_snapshot_registry registry;
  kl_snapshot snapshot;
  kl_snapshot_summary summary;
  kl_error err;
  assert_ok(kl_snapshot_registry_init(&registry, kl_allocator_libc(), &visible, &no_layers, &err), &err);
  assert_ok(kl_snapshot_begin(&registry, 5, "0123456789012345678901234567890123456789", &snapshot, &err), &err);
  kl_snapshot_summarise(&registry, &summary);
  assert_string_equal(summary.oldest_label, "0123456789012345678901234567890");
  kl_snapshot_end(&snapshot);
  kl_snapshot_registry_destroy(&registry);
}

/* When the table cannot grow, every slot that there is gets used before a beginning fails. */
static void test_no_memory(void **state) {
  (void)state;
  failing_allocator failing;
  failing_allocator_init(&failing);
  _Atomic uint64_t visible = 1;
  kl_snapshot_registry registry;
  kl_snapshot snapshots[64], more;
  kl_error err;
  assert_ok(kl_snapshot_registry_init(&registry, &failing.base, &visible, &no_layers, &err), &err);
  for (int i = 0; i < 64; i++) {
    failing_allocator_arm(&failing, 1);
    assert_ok(kl_snapshot_begin(&registry, 5, NULL, &snapshots[i], &err), &err);
  }
  failing_allocator_arm(&failing, 1);
  assert_int_equal(kl_snapshot_begin(&registry, 5, NULL, &more, &err), KL_E_NO_MEMORY);
  assert_ok(kl_snapshot_begin(&registry, 5, NULL, &more, &err), &err); /* memory is back */
  kl_snapshot_end(&more);
  for (int i = 0; i < 64; i++) kl_snapshot_end(&snapshots[i]);
  kl_snapshot_registry_destroy(&registry);
  assert_int_equal(atomic_load(&failing.live_bytes), 0);
}

typedef struct race {
  kl_snapshot_registry registry;
  _Atomic uint64_t visible;
  _Atomic bool stop;
  _Atomic uint64_t reclaimed; /* a reclaimer has freed everything below */
  _Atomic uint64_t broken, begun;
} race;

static void race_reader(void *context) {
  race *r = context;
  while (!atomic_load(&r->stop)) {
    kl_snapshot held[3];
    for (int i = 0; i < 3; i++) {
      if (kl_snapshot_begin(&r->registry, 1, "reader", &held[i], NULL) != KL_OK) atomic_fetch_add(&r->broken, 1);
    }
    for (int i = 0; i < 3; i++) {
      if (atomic_load(&r->reclaimed) > held[i].ts) atomic_fetch_add(&r->broken, 1);
      kl_snapshot_end(&held[i]);
      atomic_fetch_add(&r->begun, 1);
    }
  }
}

/* A reclaimer trusts kl_snapshot_oldest_ts while readers come and go and time advances: no reader is ever below it. */
static void test_reclaimer_never_overtakes(void **state) {
  (void)state;
  static race r;
  kl_error err;
  atomic_store(&r.visible, 1);
  assert_ok(kl_snapshot_registry_init(&r.registry, kl_allocator_libc(), &r.visible, &no_layers, &err), &err);
  kl_thread *threads[3];
  for (int i = 0; i < 3; i++) {
    assert_ok(kl_thread_start(kl_os_posix(), "test-reader", race_reader, &r, &threads[i], &err), &err);
  }
  for (int i = 0; i < 30000 || atomic_load(&r.begun) < 1000; i++) {
    atomic_fetch_add(&r.visible, 1);
    uint64_t oldest = kl_snapshot_oldest_ts(&r.registry);
    if (oldest > atomic_load(&r.reclaimed)) atomic_store(&r.reclaimed, oldest);
  }
  atomic_store(&r.stop, true);
  for (int i = 0; i < 3; i++) kl_thread_join(threads[i]);
  assert_int_equal(atomic_load(&r.broken), 0);
  kl_snapshot_registry_destroy(&r.registry);
}

/* The table of keys in flight: finds the newest timestamp, forgets what is visible, takes back what was withdrawn. */
static void test_inflight(void **state) {
  (void)state;
  failing_allocator failing;
  failing_allocator_init(&failing);
  kl_inflight table;
  kl_inflight_init(&table, &failing.base);
  assert_int_equal(kl_inflight_find(&table, 42), 0);
  failing_allocator_arm(&failing, 1);
  assert_false(kl_inflight_reserve(&table, 1, 1));
  uint64_t visible = 1;
  for (uint64_t ts = 2; ts < 3000; ts++) {
    assert_true(kl_inflight_reserve(&table, 10, visible));
    for (uint64_t i = 0; i < 10; i++) kl_inflight_add(&table, ts * 10 + i, ts);
    if (ts > 40) visible = ts - 40;
    for (uint64_t old = visible + 1; old <= ts; old++) assert_int_equal(kl_inflight_find(&table, old * 10 + 3), old);
  }
  assert_true(table.capacity <= 4096); /* what is visible has been forgotten */
  kl_inflight_withdraw(&table, 29990, 2999);
  assert_true(kl_inflight_find(&table, 29990) <= 1);
  assert_int_equal(kl_inflight_find(&table, 29991), 2999);
  assert_true(kl_inflight_reserve(&table, 100000, 2999)); /* a large commit */
  assert_true(table.capacity >= 200000);
  for (uint64_t i = 0; i < 100000; i++) kl_inflight_add(&table, i, 3000);
  assert_true(kl_inflight_reserve(&table, 100000, 3000)); /* another, and the first has become visible */
  assert_int_equal(kl_inflight_find(&table, 5), 0);
  kl_inflight_destroy(&table);
  assert_int_equal(atomic_load(&failing.live_bytes), 0);
}

/* Keys that differ in one byte, in length or in keyspace have different hashes: a clash would refuse commits. */
static void test_hash(void **state) {
  (void)state;
  enum { KEYS = 3 * 41 * 256 };
  uint64_t *hashes = calloc(KEYS, sizeof *hashes);
  assert_non_null(hashes);
  size_t count = 0;
  uint8_t key[40] = {0};
  for (uint32_t keyspace = 0; keyspace < 3; keyspace++) {
    for (size_t size = 0; size <= 40; size++) {
      for (unsigned last = 0; last < (size == 0 ? 1U : 256U); last++) {
        if (size != 0) key[size - 1] = (uint8_t)last;
        hashes[count++] = kl_inflight_hash(77, keyspace, kl_slice_make(key, size));
      }
      if (size != 0) key[size - 1] = 0;
    }
  }
  for (size_t i = 0; i < count; i += 7) {
    for (size_t j = i + 1; j < count; j++) assert_true(hashes[i] != hashes[j]);
  }
  free(hashes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_oldest_and_growth), cmocka_unit_test(test_long_label_is_cut),
      cmocka_unit_test(test_no_memory),         cmocka_unit_test(test_reclaimer_never_overtakes),
      cmocka_unit_test(test_inflight),          cmocka_unit_test(test_hash)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
