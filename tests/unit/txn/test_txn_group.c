/* tests/unit/txn/test_txn_group.c: what happens inside one commit group, made to happen.
 *
 * A first commit is held in its log write, and with it the commit turn, until the others stand in the queue; so the
 * next group is exactly those others, and the first of them leads. Then each thing that can befall a member, or all
 * of them, is tried. */
#include "core/os/sim/sim.h"
#include "core/os/thread.h"
#include "core/txn/commit_request.h"
#include "core/txn/txn_private.h"
#include "txn_testing.h"

enum { MEMBERS = 3 };

typedef struct member {
  kl_txn *txn;
  kl_status status;
  kl_error error;
  uint64_t ts;
  kl_thread *thread;
} member;

typedef struct stage {
  kl_sim *sim;
  kl_wal *wal;
  kl_txn_manager *manager;
  member first, members[MEMBERS];
} stage;

/* The write of the simulated os, with a gate in front. */
static kl_status (*real_write)(kl_os *, kl_file *, const kl_slice *, size_t, uint64_t, kl_error *);
static _Atomic bool gate_closed, at_the_gate;

static kl_status gated_write(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                             kl_error *err) {
  if (atomic_load(&gate_closed)) {
    atomic_store(&at_the_gate, true);
    while (atomic_load(&gate_closed)) kl_thread_yield();
  }
  return real_write(os, file, parts, count, offset, err);
}

static void stage_open(stage *s, uint64_t memory_limit) {
  memset(s, 0, sizeof *s);
  kl_error err;
  assert_ok(kl_sim_new(3, &s->sim, &err), &err);
  kl_os *os = kl_sim_os(s->sim);
  real_write = os->write;
  os->write = os->overwrite = gated_write;
  kl_wal_options wal_options = {.segment_size = UINT64_C(65536), .prewrite = true};
  assert_ok(kl_wal_create(os, "test-wal", &wal_options, &s->wal, &err), &err);
  kl_txn_manager_options options = {.durability = KL_DURABILITY_NONE, .memory_limit = memory_limit};
  assert_ok(kl_txn_manager_new(os, &options, &s->manager, &err), &err);
  kl_txn_manager_start(s->manager, s->wal, 0);
  kl_txn *txn = begin(s->manager); /* so that the log has prepared its first segment */
  put(txn, 1, "warm", "up");
  (void)commit(txn);
}

static void stage_close(stage *s) {
  kl_txn_release(s->first.txn);
  for (int i = 0; i < MEMBERS; i++) kl_txn_release(s->members[i].txn);
  kl_txn_manager_close(s->manager);
  kl_wal_close(s->wal);
  kl_txn_manager_unref(s->manager);
  assert_int_equal(kl_sim_live_bytes(s->sim), 0);
  kl_sim_free(s->sim);
}

static kl_txn *begin_with(stage *s, kl_durability durability) {
  kl_txn *txn;
  kl_error err;
  kl_txn_options options = {.durability = durability};
  assert_ok(kl_txn_begin(s->manager, &options, &txn, &err), &err);
  return txn;
}

static void run_member(void *context) {
  member *m = context;
  m->status = kl_txn_commit(m->txn, &m->ts, &m->error);
}

static void start_member(member *m) {
  kl_error err;
  assert_ok(kl_thread_start(kl_os_posix(), "test-member", run_member, m, &m->thread, &err), &err);
}

/* How many stand in the queue. Safe while the turn is held at the gate: nobody takes the queue then. */
static int queue_length(stage *s) {
  int length = 0;
  kl_commit_request *request = atomic_load(&s->manager->pipeline.queue);
  for (; request != NULL; request = request->next) length++;
  return length;
}

/* Runs the first commit up to the gate, lines up the members in order behind it, calls `then`, and lets them go. */
static void stage_run(stage *s, void (*then)(stage *s)) {
  atomic_store(&at_the_gate, false);
  atomic_store(&gate_closed, true);
  start_member(&s->first);
  while (!atomic_load(&at_the_gate)) kl_thread_yield();
  for (int i = 0; i < MEMBERS; i++) {
    start_member(&s->members[i]);
    while (queue_length(s) != i + 1) kl_thread_yield();
  }
  if (then != NULL) then(s);
  atomic_store(&gate_closed, false);
  kl_thread_join(s->first.thread);
  for (int i = 0; i < MEMBERS; i++) kl_thread_join(s->members[i].thread);
}

static void assert_committed(stage *s, const char *key, const char *expected) {
  kl_txn *txn = begin_read_only(s->manager);
  assert_value(txn, 1, key, expected);
  kl_txn_release(txn);
}

static const char *const own_keys[MEMBERS] = {"key0", "key1", "key2"};

/* Everybody writes a key of his own. */
static void begin_all(stage *s, kl_durability durability) {
  s->first.txn = begin_with(s, KL_DURABILITY_NONE);
  put(s->first.txn, 1, "first", "1");
  for (int i = 0; i < MEMBERS; i++) {
    s->members[i].txn = begin_with(s, durability);
    put(s->members[i].txn, 1, own_keys[i], "1");
  }
}

static void test_one_batch(void **state) {
  (void)state;
  stage s;
  stage_open(&s, 0);
  begin_all(&s, KL_DURABILITY_DEFAULT);
  kl_wal_stats before, after;
  kl_wal_get_stats(s.wal, &before);
  stage_run(&s, NULL);
  kl_wal_get_stats(s.wal, &after);
  assert_int_equal(after.appends - before.appends, 2); /* the first commit, and all others in one */
  assert_int_equal(s.first.ts, KL_TS_EMPTY + 2);
  for (int i = 0; i < MEMBERS; i++) { /* timestamps in order of arrival */
    assert_ok(s.members[i].status, &s.members[i].error);
    assert_int_equal(s.members[i].ts, s.first.ts + 1 + (uint64_t)i);
    assert_committed(&s, own_keys[i], "1");
  }
  stage_close(&s);
}

/* Members of all durabilities in one group: one sync, which all wait for. */
static void test_mixed_durabilities(void **state) {
  (void)state;
  stage s;
  stage_open(&s, 0);
  begin_all(&s, KL_DURABILITY_NONE);
  kl_txn_release(s.members[1].txn);
  s.members[1].txn = begin_with(&s, KL_DURABILITY_FULL);
  put(s.members[1].txn, 1, own_keys[1], "1");
  kl_txn_release(s.members[2].txn);
  s.members[2].txn = begin_with(&s, KL_DURABILITY_GROUP);
  put(s.members[2].txn, 1, own_keys[2], "1");
  stage_run(&s, NULL);
  kl_wal_stats stats;
  kl_wal_get_stats(s.wal, &stats);
  assert_int_equal(stats.durable_lsn, stats.tail_lsn);
  for (int i = 0; i < MEMBERS; i++) assert_ok(s.members[i].status, &s.members[i].error);
  stage_close(&s);
}

/* Two members write one key: the first of them wins, whether it leads or follows. The one who loses may be the
 * leader, too, against a commit that is not in the delta yet. */
static void run_conflict(int winner, int loser) {
  stage s;
  stage_open(&s, 0);
  begin_all(&s, KL_DURABILITY_FULL);
  kl_txn *strong = winner < 0 ? s.first.txn : s.members[winner].txn;
  put(strong, 1, "contended", "winner");
  put(s.members[loser].txn, 1, "contended", "loser");
  stage_run(&s, NULL);
  assert_ok(s.first.status, &s.first.error);
  for (int i = 0; i < MEMBERS; i++) {
    assert_int_equal(s.members[i].status, i == loser ? KL_E_CONFLICT : KL_OK);
    assert_committed(&s, own_keys[i], i == loser ? NULL : "1");
  }
  assert_committed(&s, "contended", "winner");
  stage_close(&s);
}

static void test_conflicts_inside(void **state) {
  (void)state;
  run_conflict(0, 1);
  run_conflict(0, 2);
  run_conflict(1, 2);
  run_conflict(-1, 0); /* the leader is refused and leads all the same */
  run_conflict(-1, 1);
}

/* All members are refused: a group without a commit. */
static void test_all_refused(void **state) {
  (void)state;
  stage s;
  stage_open(&s, 0);
  begin_all(&s, KL_DURABILITY_FULL);
  for (int i = 0; i < MEMBERS; i++) put(s.members[i].txn, 1, "first", "loser");
  stage_run(&s, NULL);
  for (int i = 0; i < MEMBERS; i++) assert_int_equal(s.members[i].status, KL_E_CONFLICT);
  assert_committed(&s, "first", "1");
  stage_close(&s);
}

static void disk_becomes_full(stage *s) {
  kl_sim_inject(s->sim, KL_SIM_FAULT_DISK_FULL, kl_sim_operations(s->sim) + 1);
}

/* A disk that is full refuses the whole group, and only that: the same commits work when there is space. */
static void test_full_disk(void **state) {
  (void)state;
  stage s;
  stage_open(&s, 0);
  begin_all(&s, KL_DURABILITY_NONE);
  static char large[400000];
  memset(large, 'x', sizeof large - 1);
  for (int i = 0; i < MEMBERS; i++) put(s.members[i].txn, 1, own_keys[i], large); /* more than the log has prepared */
  stage_run(&s, disk_becomes_full);
  assert_ok(s.first.status, &s.first.error);
  kl_error err;
  for (int i = 0; i < MEMBERS; i++) {
    assert_int_equal(s.members[i].status, KL_E_DISK_FULL);
    assert_committed(&s, own_keys[i], NULL);
  }
  assert_ok(kl_txn_manager_check(s.manager, &err), &err);
  kl_sim_give_space(s.sim);
  for (int i = 0; i < MEMBERS; i++) {
    kl_txn *again = begin_with(&s, KL_DURABILITY_FULL);
    put(again, 1, own_keys[i], "again");
    (void)commit(again); /* no conflict with what did not happen */
    assert_committed(&s, own_keys[i], "again");
  }
  stage_close(&s);
}

static void sync_breaks(stage *s) {
  kl_sim_inject(s->sim, KL_SIM_FAULT_SYNC_FAILS, kl_sim_operations(s->sim) + 1);
}

/* The sync fails: nobody of the group knows, and nothing of it is ever seen; what came before stays. */
static void test_failed_sync(void **state) {
  (void)state;
  stage s;
  stage_open(&s, 0);
  begin_all(&s, KL_DURABILITY_FULL);
  stage_run(&s, sync_breaks);
  assert_ok(s.first.status, &s.first.error);
  kl_error err;
  for (int i = 0; i < MEMBERS; i++) {
    assert_int_equal(s.members[i].status, KL_E_COMMIT_UNKNOWN);
    assert_int_equal(s.members[i].error.code, KL_E_COMMIT_UNKNOWN);
    assert_committed(&s, own_keys[i], NULL);
  }
  assert_committed(&s, "first", "1");
  kl_txn *txn;
  assert_int_equal(kl_txn_manager_check(s.manager, &err), KL_E_POISONED);
  assert_int_equal(kl_txn_begin(s.manager, NULL, &txn, &err), KL_E_POISONED);
  stage_close(&s);
}

/* One member is too large for the memory that is left: it is refused, the others are not. */
static void test_memory_limit(void **state) {
  (void)state;
  stage s;
  stage_open(&s, 300000);
  begin_all(&s, KL_DURABILITY_FULL);
  static char large[400000];
  memset(large, 'x', sizeof large - 1);
  put(s.members[1].txn, 1, own_keys[1], large);
  stage_run(&s, NULL);
  for (int i = 0; i < MEMBERS; i++) {
    assert_int_equal(s.members[i].status, i == 1 ? KL_E_LIMIT : KL_OK);
    assert_committed(&s, own_keys[i], i == 1 ? NULL : "1");
  }
  stage_close(&s);
}

/* The manager is poisoned while the members stand in the queue: they are refused, and nothing was written. */
static void poison_now(stage *s) {
  kl_error reason;
  (void)kl_fail(&reason, KL_E_INTERNAL, "the test says so");
  kl_txn_manager_poison(s->manager, &reason);
}

static void test_poisoned_in_the_queue(void **state) {
  (void)state;
  stage s;
  stage_open(&s, 0);
  begin_all(&s, KL_DURABILITY_FULL);
  stage_run(&s, poison_now);
  assert_ok(s.first.status, &s.first.error); /* it was on the log before, and is published */
  assert_committed(&s, "first", "1");
  for (int i = 0; i < MEMBERS; i++) {
    assert_int_equal(s.members[i].status, KL_E_POISONED);
    assert_non_null(strstr(s.members[i].error.message, "the test says so"));
  }
  stage_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_batch),        cmocka_unit_test(test_mixed_durabilities),
      cmocka_unit_test(test_conflicts_inside), cmocka_unit_test(test_all_refused),
      cmocka_unit_test(test_full_disk),        cmocka_unit_test(test_failed_sync),
      cmocka_unit_test(test_memory_limit),     cmocka_unit_test(test_poisoned_in_the_queue)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
